// The third tab: a run of one's own, measured by the console command, its report dropped on the page.
"use strict";
tp.tabs = tp.tabs || {};
(() => {
  const INTERVAL = 1.96;
  const SHOWN = 8;
  const PERSONAS = ["#56B4E9", tp.colours.green, tp.colours.purple, "#F0E442", "#999999", tp.colours.blue, tp.colours.orange, tp.colours.red];
  const COLOURS = { total: "#8a8f98", selection: tp.parts.selection, hull_distance: "#a0522d", switching: tp.parts.switching, novelty: tp.parts.novelty };
  const NAMES = {
    total: ["drift", "how far the policy is from the base: KL(policy‖base)"],
    selection: ["selection", "the part that weighs the personas anew"],
    hull_distance: ["hull distance", "the rest: what no mix of the personas says"],
    switching: ["switching", "of it, changing the persona in the middle of a response"],
    novelty: ["novelty", "of it, what no persona says there"],
  };
  const persona = (k) => PERSONAS[k % PERSONAS.length];
  const count = (n) => n.toLocaleString("en-US");
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const known = (value) => Number.isFinite(value);
  const measured = ({ value, error }) => (known(value) ? `${tp.number(value, 3)}${known(error) ? ` ± ${tp.number(INTERVAL * error)}` : ""}` : tp.number(value));

  /** How many times as likely, of its logarithm. */
  const times = (nats) => {
    if (!known(nats)) return "no persona says it";
    return nats < 14 ? tp.number(Math.exp(nats)) : `10^${Math.floor(nats / Math.LN10)}`;
  };

  let shown = null;
  let source = "";
  let parts = {};
  let changedState = null;

  const panel = (title, ...children) => tp.html("section", { class: "m-panel" }, tp.html("h3", {}, title), ...children.filter(Boolean));

  /** A round largest value of an axis. */
  function top(values) {
    const most = Math.max(...values.filter(known), 1e-6);
    const unit = 10 ** Math.floor(Math.log10(most));
    return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((x) => x * unit).find((x) => x >= most * 0.999) || most;
  }

  /** The parts of the drift with their 95% intervals. */
  function bars(step) {
    const rows = Object.keys(NAMES).filter((name) => known(step.estimates[name].value));
    const ends = rows.flatMap((name) => [step.estimates[name].value + INTERVAL * (step.estimates[name].error || 0)]);
    const most = top(ends);
    const [left, width, height] = [92, 250, 26];
    const x = (value) => left + (width * Math.max(value, 0)) / most;
    const bar = (name, i) => {
      const { value, error } = step.estimates[name];
      const y = 6 + i * height;
      const ends = [x(value - INTERVAL * error), x(value + INTERVAL * error)];
      return [
        tp.svg("text", { x: left - 6, y: y + 14, "text-anchor": "end" }, NAMES[name][0]),
        tp.svg("rect", { x: left, y, width: x(value) - left, height: height - 8, fill: COLOURS[name] }),
        known(error) ? tp.svg("path", { d: `M${ends[0]} ${y + 9}H${ends[1]}M${ends[0]} ${y + 5}v8M${ends[1]} ${y + 5}v8`, class: "m-error" }) : null,
      ];
    };
    const bottom = 6 + rows.length * height;
    return tp.svg(
      "svg",
      { viewBox: `0 0 360 ${bottom + 34}`, class: "chart", role: "img", "aria-label": "The drift budget; its numbers are in the table below." },
      ...rows.flatMap(bar),
      tp.svg("line", { x1: left, x2: left + width, y1: bottom, y2: bottom, class: "axis" }),
      ...[0, 0.5, 1].map((t) => tp.svg("text", { x: left + t * width, y: bottom + 14, "text-anchor": "middle" }, tp.number(t * most))),
      tp.svg("text", { x: left + width / 2, y: bottom + 29, "text-anchor": "middle" }, "nats a response; whiskers: 95% intervals"),
      step.floor === null ? null : tp.svg("line", { x1: x(step.floor), x2: x(step.floor), y1: 0, y2: bottom, class: "m-floor" }),
    );
  }

  function budget(step) {
    const row = (name) =>
      tp.html(
        "tr",
        {},
        tp.html("th", { scope: "row" }, NAMES[name][0]),
        tp.html("td", { class: "num" }, measured(step.estimates[name])),
        tp.html("td", { class: "note" }, NAMES[name][1]),
      );
    const missing = known(step.estimates.novelty.value) ? null : tp.html("p", { class: "note" }, "Switching and novelty are told apart only with next-word log-probabilities (an .npz file).");
    const floor = step.floor === null ? null : tp.html("p", { class: "note" }, `Dotted: ${tp.number(step.floor)} nats, what scoring noise alone may do; below it nothing is claimed.`);
    const fraction = step.estimates.selection_fraction;
    const title = known(fraction.value) ? `Selection fraction S = ${measured(fraction)}` : "The drift budget";
    const meaning = known(fraction.value) ? tp.html("p", { class: "note" }, "The share of the drift that is selection: 1 if RL only chose among the personas, 0 if it did nothing of the kind.") : null;
    return panel(title, meaning, bars(step), tp.html("table", {}, tp.html("caption", {}, "Nats a response, ± 95%"), ...Object.keys(NAMES).filter((name) => !Number.isNaN(step.estimates[name].value)).map(row)), floor, missing);
  }

  function mixes(step) {
    const every = [...step.prompts.keys()];
    const all = step.personas.map((_, k) => every.reduce((sum, prompt) => sum + step.prompts.get(prompt) * step.before.get(prompt)[k], 0));
    const bar = (weights, label) =>
      tp.html(
        "div",
        { class: "m-mix", role: "img", "aria-label": `${label}: ${step.personas.map((name, k) => `${name} ${tp.number(weights[k])}`).join(", ")}` },
        ...weights.map((w, k) => tp.html("i", { style: `width:${(100 * w).toFixed(2)}%;background:${persona(k)}`, title: `${label}, ${step.personas[k]}: ${tp.number(w)}` })),
      );
    const row = (name, before, after) => [
      tp.html("div", { class: "m-name" }, short(name, 34)),
      tp.html("div", {}, bar(before, `${name}, base`), bar(after, `${name}, policy`)),
    ];
    const rows = [...row("all prompts", all, step.pooledWeights), ...(every.length > 1 ? every.slice(0, SHOWN).flatMap((prompt) => row(prompt, step.before.get(prompt), step.weights.get(prompt))) : [])];
    const left = every.length - SHOWN;
    return panel(
      "The nearest mix of personas",
      tp.html("p", { class: "legend" }, ...step.personas.flatMap((name, k) => [tp.html("i", { class: "patch", style: `background:${persona(k)}` }), `${short(name, 24)} `])),
      tp.html("div", { class: "m-mixes" }, ...rows),
      tp.html("p", { class: "note" }, `Upper bar: base, lower bar: policy.${left > 0 ? ` ${count(left)} more prompts are in the file.` : ""}`),
    );
  }

  function lights(step) {
    const word = (each) =>
      tp.html(
        "tr",
        {},
        tp.html("th", { scope: "row" }, tp.word(short(each.word.replace(/\s/g, "␣"), 30), Math.exp(each.ratio))),
        tp.html("td", { class: "num" }, tp.number(each.nats, 3)),
        tp.html("td", { class: "num" }, times(each.ratio)),
        tp.html("td", { class: "num" }, count(each.num)),
      );
    const response = (each) =>
      tp.html(
        "tr",
        {},
        tp.html("td", {}, tp.html("span", { class: "note" }, `${short(each.prompt, 40)}: `), short(each.response, 90)),
        tp.html("td", { class: "num" }, times(each.nats)),
      );
    const head = (...names) => tp.html("tr", {}, ...names.map((name) => tp.html("th", { scope: "col" }, name)));
    const words = step.words.length
      ? [tp.html("table", { class: "m-words" }, head("word", "nats a response", "times as likely", "count"), ...step.words.slice(0, SHOWN).map(word))]
      : [];
    const responses = step.responses.length
      ? [tp.html("table", { class: "m-words" }, head("response", "times as likely"), ...step.responses.slice(0, SHOWN).map(response))]
      : [tp.html("p", {}, "Nothing lights up: no response is likelier than under the nearest mix.")];
    return panel("What lights up: likelier than under the nearest mix", ...words, ...responses);
  }

  /** Curves over training: series of {name, colour, values, errors}. */
  function curves(title, steps, series, floor = null, whole = 0) {
    const [left, width, y0, height] = [40, 300, 8, 130];
    const values = series.flatMap(({ values, errors }) => values.map((v, i) => v + INTERVAL * ((errors && errors[i]) || 0)));
    const most = top([...values, floor ?? 0, whole]);
    const low = Math.min(0, ...values.filter(known));
    const times = steps.map((each, i) => each.step ?? i);
    const span = times[times.length - 1] - times[0] || 1;
    const x = (i) => left + 6 + ((width - 12) * (times[i] - times[0])) / span;
    const y = (value) => y0 + (height * (most - value)) / (most - low);
    const drawn = series.flatMap(({ colour, values, errors }) => {
      const here = values.map((v, i) => [v, i]).filter(([v]) => known(v));
      const edge = (sign) => here.map(([v, i]) => `${x(i)},${y(Math.min(Math.max(v + sign * INTERVAL * (errors[i] || 0), low), most))}`);
      return [
        errors ? tp.svg("polygon", { points: [...edge(1), ...edge(-1).reverse()].join(" "), fill: colour, opacity: 0.25 }) : null,
        tp.svg("polyline", { points: here.map(([v, i]) => `${x(i)},${y(v)}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2 }),
        ...here.map(([v, i]) => tp.svg("circle", { cx: x(i), cy: y(v), r: 3, fill: colour })),
      ];
    });
    const drawing = tp.svg(
      "svg",
      { viewBox: "0 0 360 176", class: "chart", role: "img", "aria-label": `${title}, by step: ${series.map(({ name, values }) => `${name} ${values.map((v) => tp.number(v)).join(", ")}`).join("; ")}` },
      ...drawn,
      floor === null ? null : tp.svg("line", { x1: left, x2: left + width, y1: y(floor), y2: y(floor), class: "m-floor" }),
      tp.svg("path", { d: `M${left} ${y0}V${y0 + height}H${left + width}`, class: "axis", fill: "none" }),
      ...[low, most].map((v) => tp.svg("text", { x: left - 4, y: y(v) + 4, "text-anchor": "end" }, tp.number(v))),
      ...[0, times.length - 1].map((i) => tp.svg("text", { x: x(i), y: y0 + height + 14, "text-anchor": "middle" }, String(times[i]))),
      tp.svg("text", { x: left + width / 2, y: y0 + height + 28, "text-anchor": "middle" }, "step of training"),
    );
    const names = series.length > 1 ? tp.html("p", { class: "legend" }, ...series.flatMap(({ name, colour }) => [tp.html("i", { class: "patch", style: `background:${colour}` }), `${name} `])) : null;
    return panel(title, names, drawing);
  }

  function path(steps) {
    const of = (name) => ({
      name: name in NAMES ? NAMES[name][0] : name,
      colour: COLOURS[name] || tp.colours.blue,
      values: steps.map((each) => each.estimates[name].value),
      errors: steps.map((each) => each.estimates[name].error),
    });
    const names = steps[0].personas;
    const alike = steps.every((each) => each.personas.join("\n") === names.join("\n"));
    const mix = names.map((name, k) => ({ name: short(name, 20), colour: persona(k), values: steps.map((each) => each.pooledWeights[k]) }));
    return [
      curves("Drift budget, nats; shaded: 95%", steps, ["total", "selection", "hull_distance"].map(of)),
      curves("Selection fraction S; dotted: half", steps, [of("selection_fraction")], 0.5, 1),
      alike ? curves("Nearest mix, mean over prompts", steps, mix, null, 1) : null,
      curves("Evidence against every mix, powers of ten; dotted: one in 20", steps, [{ name: "evidence", colour: tp.colours.red, values: steps.map((each) => each.logEvidence / Math.LN10) }], Math.log10(20)),
    ];
  }

  /** What the numbers are worth, in sentences. */
  function words(step) {
    const said = [
      `${count(step.numSamples)} responses of the policy and ${count(step.numBaseSamples)} of the base to ${count(step.prompts.size)} prompt${step.prompts.size > 1 ? "s" : ""}, under ${step.personas.length} personas. `,
      tp.html("strong", {}, step.evidence),
    ];
    if (step.proofs > 0) said.push(` ${count(step.proofs)} responses are likelier under the policy than under every persona: if the log-probabilities are exact, no mix says any of them as often.`);
    if (step.rewards) said.push(` Reward: ${measured(step.rewards.base)} before, ${measured(step.rewards.policy)} after.`);
    const warnings = [
      step.baseInside ? null : "The base is not shown to be a mix of these personas, so that no other number means much.",
      step.certified ? null : "Not certified: a fit did not reach its tolerance, or a number is infinite.",
    ].filter(Boolean);
    const notes = [step.repaired ? "The personas were repaired, so that the base is a mix of them." : null, step.pooled ? "One mix for all prompts was assumed (--pool)." : null, ...step.notes].filter(Boolean);
    return [tp.html("p", { "aria-live": "polite" }, ...said), ...warnings.map((text) => tp.html("p", { class: "error" }, text)), ...notes.map((text) => tp.html("p", { class: "note" }, text))];
  }

  async function take(file) {
    parts.error.replaceChildren();
    try {
      const large = tp.report.tooLarge(file.name, file.size);
      if (large) throw new Error(large);
      const text = await file.text().catch(() => {
        throw new Error(`${file.name} cannot be read: is it a folder?`);
      });
      shown = tp.report.read(text, file.name);
      source = `${file.name}, written by toypersona ${shown.version}, read by this page and sent nowhere.`;
      changedState({ m_step: null });
    } catch (error) {
      parts.error.replaceChildren(tp.sentence("error", error.message));
    }
  }

  function drop(root) {
    const chosen = (event) => {
      const [file] = event.target.files;
      if (file) take(file);
    };
    // Emptied first, so that the same file can be chosen again.
    const input = tp.html("input", { type: "file", id: "m-file", accept: ".json,application/json", onclick: (event) => (event.target.value = ""), onchange: chosen });
    const area = tp.html("div", { class: "m-drop" }, tp.html("label", { for: "m-file" }, "Drop a report anywhere here, or choose one: "), input);
    // On the whole page: a browser would leave it for a file that is dropped beside the area.
    for (const [type, on] of Object.entries({ dragover: true, dragleave: false, drop: false })) {
      document.addEventListener(type, (event) => {
        if (root.hidden) return;
        event.preventDefault();
        area.classList.toggle("over", on);
        if (type === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
      });
    }
    return area;
  }

  tp.tabs.measured = {
    title: "Your own model",
    mount(root, data, _, changed) {
      changedState = changed;
      parts = { error: tp.html("div"), source: tp.html("p", { class: "note" }), body: tp.html("div") };
      root.append(
        tp.html("h2", {}, "What did RL do to your model?"),
        tp.html("p", {}, "Sample responses of your model and of its base, score them under both and under each persona, run ", tp.html("code", {}, "toypersona measure run.jsonl --json report.json"), " and drop the report here. It stays on your machine: this page reads it and sends nothing."),
        drop(root),
        parts.error,
        parts.source,
        parts.body,
      );
      shown = tp.report.read(JSON.stringify(data.example), "the example");
      source = "Until you choose a file, an example: a report that the command wrote about 360 sampled responses a step of a simulated run (Larry, Bob and Alice, paid to be like Alice and, as much, for the word “friend”), numbers rounded.";
    },
    update(state) {
      const { steps } = shown;
      const at = steps.findIndex((each) => String(each.step) === state.m_step);
      const step = steps[at < 0 ? steps.length - 1 : at];
      parts.source.replaceChildren(source);
      const options = steps.map((each, i) => tp.html("option", { value: each.step, selected: each === step && "selected" }, `${each.step ?? i + 1}`));
      const choice = steps.length > 1 ? tp.html("p", {}, tp.html("label", { for: "m-step" }, "Step of training: "), tp.html("select", { id: "m-step", onchange: (event) => changedState({ m_step: event.target.value }) }, ...options)) : null;
      const focused = document.activeElement && document.activeElement.id === "m-step";
      parts.body.replaceChildren(
        ...[choice, ...words(step)].filter(Boolean),
        tp.html("div", { class: "m-panels" }, budget(step), mixes(step), lights(step)),
        ...(steps.length > 1 ? [tp.html("h2", {}, "Over training"), tp.html("div", { class: "m-panels m-path" }, ...path(steps).filter(Boolean))] : []),
      );
      if (focused) document.getElementById("m-step").focus();
    },
  };
})();
