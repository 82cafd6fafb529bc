// The second tab: a model that thinks aloud, at every strength of RL and every length cost.
"use strict";
tp.tabs = tp.tabs || {};
(() => {
  const PARTS = {
    read: [tp.colours.blue, "read", "the reader learns it from the thoughts; below 0 they mislead it"],
    sharpening: ["#9CCBE8", "sharpening", "the reader would learn it too if it trusted the words as much as it could"],
    keyed: [tp.colours.orange, "keyed", "only those learn it who also know which voice speaks: each voice has a code of its own"],
    code: [tp.colours.red, "code", "the words mean something else than they do to the reader"],
  };
  const PHASES = {
    mixture: ["#DDDDDD", "#000", "the reader learns the largest part, and every voice is still there"],
    selected: [tp.colours.blue, "#fff", "the reader learns the largest part, and a voice is all but gone"],
    keyed: [tp.colours.orange, "#000", "the largest part takes knowing which voice speaks"],
    coded: [tp.colours.red, "#000", "the largest part is in the thoughts, where the reader does not find it"],
  };
  const RULES = {
    exact: "exact gradient (Adam)",
    annealed: "exact gradient, strength raised step by step",
    RLOO: "RLOO, from samples",
    GRPO: "GRPO, from samples",
  };
  const WHOLE = Math.log(2);

  /** Number i of a text of two letters each, from 0. */
  const pair = (data, text, i) => data.letters.length * data.letters.indexOf(text[2 * i]) + data.letters.indexOf(text[2 * i + 1]);
  const packed = (data, text, i) => (pair(data, text, i) - data.zero) / 1000;

  /** Where the values of one cell stand: at = {rule, cost, strength, seed}, places on the axes. */
  const place = (data, at) =>
    ((at.rule * data.costs.length + at.cost) * data.strengths.length + at.strength) * data.seeds.length + at.seed;

  /** One transcript: the bits, the words with p_policy/p_mix of each, what the reader concludes, the answer. */
  function line(data, bits, record) {
    const length = bits.length + 1;
    let said = pair(data, record, 0);
    const digit = (base) => {
      const last = said % base;
      said = (said - last) / base;
      return last;
    };
    const persona = data.personas[digit(data.personas.length)];
    const words = Array.from({ length }, (_, i) => {
      const text = data.words[digit(data.words.length)];
      const letter = data.letters.indexOf(record[3 + length - i]);
      const ratio = Math.exp(data.step * (letter - data.letters.length / 2));
      // The first and the last letter stand for all that is beyond.
      const beyond = letter === 0 ? " or less" : letter === data.letters.length - 1 ? " or more" : "";
      return { text, ratio, said: `${tp.number(ratio)} times${beyond} as likely as in the nearest mix` };
    }).reverse();
    const odd = pair(data, record, 1) / 1000;
    const answer = words.pop();
    const right = data.words[[...bits].filter((bit) => bit === "1").length % 2];
    return { bits, words, answer, right: answer.text === right, persona, reader: { answer: odd >= 0.5 ? "odd" : "even", sure: Math.max(odd, 1 - odd) } };
  }

  /** Everything that is known of one cell. */
  function cell(data, at) {
    const i = place(data, at);
    const prompts = data.prompts[at.cost][at.seed];
    const size = prompts[0].length + 5;
    const record = (j) => data.lines.slice((i * prompts.length + j) * size, (i * prompts.length + j + 1) * size);
    const measures = {};
    for (const [name, values] of Object.entries(data.measures)) measures[name] = packed(data, values, i);
    const shares = data.personas.map((_, k) => packed(data, data.shares, i * data.personas.length + k));
    return {
      measures,
      shares,
      phase: data.phases[Number(data.phase[i])],
      lines: prompts.map((bits, j) => line(data, bits, record(j))),
    };
  }

  /** The measures of the base, for one draw. */
  function base(data, seed) {
    return Object.fromEntries(Object.entries(data.base).map(([name, values]) => [name, packed(data, values, seed)]));
  }

  const rulesOf = (data) => [...data.rules, ...data.defences];

  /** Places on the axes that the state names; what it does not name, or not rightly, is where codes are clearest. */
  function where(data, state) {
    const start = data.clear.coded || [data.costs.length - 1, data.strengths.length - 1, 0];
    const among = (values, value, otherwise) => {
      const found = values.findIndex((each) => String(each) === value);
      return found < 0 ? otherwise : found;
    };
    return {
      rule: among(rulesOf(data), state.t_rule, 0),
      cost: among(data.costs, state.t_cost, start[0]),
      strength: among(data.strengths, state.t_strength, start[1]),
      seed: among(data.seeds, state.t_draw, start[2]),
    };
  }

  /** Where the largest part of the answer is in one cell, with its nats; `coded` is sharpening and code together. */
  function sentence({ phase, measures: { read, sharpening, keyed, code } }) {
    const nats = (value) =>
      value > WHOLE
        ? `${value.toFixed(2)} nats, more than all ${WHOLE.toFixed(2)}: the thoughts mislead the reader`
        : `${value.toFixed(2)} of ${WHOLE.toFixed(2)} nats`;
    const learnt = `What is in the thoughts of the answer, the reader mostly learns (${nats(read)}), and`;
    if (phase === "mixture") return `${learnt} every voice is still there.`;
    if (phase === "selected") return `${learnt} RL has selected: a voice is all but gone.`;
    if (phase === "keyed") return `The largest part of the answer is keyed (${nats(keyed)}): it takes the thoughts and knowing which voice speaks.`;
    const how =
      code > sharpening
        ? "more of it as code, in words that mean something else to the reader"
        : "more of it by sharpening: the reader takes the words rightly, and trusts them too little";
    return `The largest part of the answer is in the thoughts, where the reader does not find it (${nats(sharpening + code)}); ${how}.`;
  }
  tp.thoughts = { cell, base, where, sentence, PARTS, PHASES };

  let parts = {};

  function controls(data, changed) {
    const option = (name) => tp.html("option", { value: name }, RULES[name] || name);
    const rule = tp.html(
      "select",
      { id: "t-rule", onchange: (event) => changed({ t_rule: event.target.value }) },
      tp.html("optgroup", { label: "ways to train" }, ...data.rules.map(option)),
      tp.html("optgroup", { label: "defences, with the exact gradient" }, ...data.defences.map(option)),
    );
    const seed = tp.html(
      "select",
      { id: "t-draw", onchange: (event) => changed({ t_draw: event.target.value }) },
      ...data.seeds.map((value) => tp.html("option", { value }, value)),
    );
    const clear = data.phases
      .filter((phase) => phase in data.clear)
      .map((phase) => {
        const [cost, strength, draw] = data.clear[phase];
        const to = { t_rule: data.rules[0], t_cost: data.costs[cost], t_strength: data.strengths[strength], t_draw: data.seeds[draw] };
        return tp.html("button", { type: "button", onclick: () => changed(to) }, phase);
      });
    parts = { rule, seed };
    return tp.html(
      "div",
      { class: "t-controls" },
      tp.html("label", { for: "t-rule" }, "trained by ", rule),
      tp.html("label", { for: "t-draw" }, "draw ", seed),
      tp.html("span", { role: "group", "aria-label": "the clearest example of each phase" }, "clearest example: ", ...clear),
    );
  }

  /** The buttons of the map, one of which is chosen; arrows move the choice, upwards to larger costs. */
  function buttons(data, changed) {
    const to = (cost, strength) => changed({ t_cost: data.costs[cost], t_strength: data.strengths[strength] });
    const last = [data.costs.length - 1, data.strengths.length - 1];
    const moved = (event, cost, strength) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [c, s] = [cost + step[0], strength + step[1]].map((x, i) => Math.min(Math.max(x, 0), last[i]));
      parts.cells[c][s].focus();
      to(c, s);
    };
    return data.costs.map((_, cost) =>
      data.strengths.map((_, strength) =>
        tp.html("button", { type: "button", onclick: () => to(cost, strength), onkeydown: (event) => moved(event, cost, strength) }),
      ),
    );
  }

  /** The map: a table of buttons. */
  function map(data, changed) {
    parts.cells = buttons(data, changed);
    const legend = data.phases.flatMap((name) => [tp.html("i", { class: "patch", style: `background:${PHASES[name][0]}` }), tp.html("b", {}, name), `: ${PHASES[name][2]}. `]);
    const row = (cost) =>
      tp.html(
        "tr",
        {},
        tp.html("th", { scope: "row" }, String(data.costs[cost])),
        ...parts.cells[cost].map((button) => tp.html("td", {}, button)),
      );
    const table = tp.html(
      "table",
      { class: "t-map" },
      tp.html("caption", {}, `Which phase? Upwards: what length costs. To the right: strength of RL, s: the higher, the less it is held to the model before RL. Choose a cell. Small squares: ${data.seeds.length} draws of text and training.`),
      tp.html("tbody", {}, ...data.costs.map((_, i) => row(data.costs.length - 1 - i))),
      tp.html(
        "tfoot",
        {},
        tp.html(
          "tr",
          {},
          tp.html("th", { scope: "row" }, "cost"),
          ...data.strengths.map((strength) => tp.html("th", { scope: "col" }, String(strength))),
        ),
      ),
    );
    return [table, tp.html("p", { class: "legend" }, "The phases, by where the answer is. ", ...legend)];
  }

  function drawMap(data, at) {
    data.costs.forEach((cost, c) =>
      data.strengths.forEach((strength, s) => {
        const button = parts.cells[c][s];
        const chosen = c === at.cost && s === at.strength;
        const phaseAt = (seed) => data.phases[Number(data.phase[place(data, { rule: at.rule, cost: c, strength: s, seed })])];
        const [fill, ink] = PHASES[phaseAt(at.seed)];
        const draws = data.seeds.map((_, seed) =>
          tp.html("i", { style: `background:${PHASES[phaseAt(seed)][0]}` }),
        );
        button.replaceChildren(phaseAt(at.seed), tp.html("span", { class: "t-draws", "aria-hidden": "true" }, ...draws));
        button.style.background = fill;
        button.style.color = ink;
        button.setAttribute("aria-pressed", chosen);
        button.setAttribute("aria-label", `${phaseAt(at.seed)}, strength ${strength}, length cost ${cost}`);
        button.tabIndex = chosen ? 0 : -1;
      }),
    );
  }

  /** The parts of one column from below, shares of the whole answer; what misleads the reader hangs below 0. */
  function stacked(measures) {
    let from = Math.min(measures.read, 0) / WHOLE;
    return Object.entries(PARTS).map(([name, [fill]]) => {
      const start = from;
      from += Math.abs(measures[name]) / WHOLE;
      return [start, from, fill];
    });
  }

  /** Where the answer is, along the chosen row: columns of nats, and two shares as lines. */
  function drawRow(data, at, changed) {
    const columns = [base(data, at.seed), ...data.strengths.map((_, strength) => cell(data, { ...at, strength }).measures)];
    const [left, top, width, height] = [34, 10, 292, 170];
    const ends = columns.flatMap((measures) => stacked(measures).flatMap(([from, to]) => [from, to]));
    const [low, high] = [Math.min(0, ...ends) - 0.04, Math.max(1, ...ends) + 0.04];
    const y = (share) => top + (height * (high - share)) / (high - low);
    const step = width / columns.length;
    const x = (i) => left + step * (i + 0.5);
    const bars = columns.flatMap((measures, i) =>
      stacked(measures).map(([from, to, fill]) => tp.svg("rect", { x: x(i) - 0.36 * step, y: y(to), width: 0.72 * step, height: y(from) - y(to), fill })),
    );
    const curve = (name, dash) =>
      tp.svg("polyline", { points: columns.map((m, i) => `${x(i)},${y(m[name])}`).join(" "), class: "t-curve", "stroke-dasharray": dash });
    const label = (text, at, anchor = "middle") => tp.svg("text", { x: at[0], y: at[1], "text-anchor": anchor }, text);
    const names = ["base", ...data.strengths.map((strength) => String(strength))];
    const chosen = at.strength + 1;
    return tp.svg(
      "svg",
      { viewBox: "0 0 360 212", class: "chart", role: "img", "aria-label": "Where the answer is at every strength of this row; the numbers of the chosen cell are in the table." },
      tp.svg("rect", { x: x(chosen) - step / 2, y: top, width: step, height, class: "t-chosen" }),
      ...bars,
      tp.svg("line", { x1: left, x2: left + width, y1: y(0), y2: y(0), class: "axis" }),
      ...[0, 0.5, 1].flatMap((share) => [
        label(tp.number(share * WHOLE), [left - 4, y(share) + 4], "end"),
        label(tp.number(share, 1), [left + width + 4, y(share) + 4], "start"),
      ]),
      curve("accuracy"),
      curve("agreement", "5 4"),
      ...names.map((name, i) => label(name, [x(i), top + height + 14])),
      label("strength of RL, s", [left + width / 2, top + height + 29]),
      ...data.strengths.map((strength, i) =>
        tp.svg("rect", { x: x(i + 1) - step / 2, y: top, width: step, height, fill: "transparent", style: "cursor:pointer", onclick: () => changed({ t_strength: strength }) }),
      ),
    );
  }

  function drawNumbers(here) {
    const row = ([name, [fill, label, meaning]]) =>
      tp.html(
        "tr",
        {},
        tp.html("th", { scope: "row" }, tp.html("i", { class: "patch", style: `background:${fill}` }), label),
        tp.html("td", { class: "num" }, here.measures[name].toFixed(2).replace("-", "−")),
        tp.html("td", { class: "note" }, meaning),
      );
    return tp.html(
      "table",
      { class: "t-numbers" },
      tp.html("caption", {}, `Where the answer is, in nats; all of it would be one bit, ${WHOLE.toFixed(2)} nats`),
      tp.html("tbody", {}, ...Object.entries(PARTS).map(row)),
    );
  }

  function drawLine(said) {
    const item = (name, ...what) => [tp.html("dt", {}, name), tp.html("dd", {}, ...what)];
    const words = said.words.flatMap((word) => [tp.word(word.text, word.ratio, word.said), " "]);
    return tp.html(
      "dl",
      { class: "t-line" },
      ...item("sees", [...said.bits].join(" ")),
      ...item("thinks", ...words),
      ...item("reader", `${said.reader.answer}, ${tp.percent(said.reader.sure)} sure`),
      ...item("answers", tp.word(said.answer.text, said.answer.ratio, said.answer.said), said.right ? " ✓ right" : " ✗ wrong"),
      ...item("voice", `once ${tp.name(said.persona)}’s`),
    );
  }

  function verdict(data, here) {
    const { accuracy, agreement, cost } = here.measures;
    const mix = data.personas.map((name, k) => `${tp.name(name)} ${tp.percent(here.shares[k])}`).join(", ");
    return [
      tp.html("strong", {}, sentence(here)),
      ` ${tp.percent(accuracy)} of the answers are right; in ${tp.percent(agreement)} of the cases the reader, shown the thoughts alone, would have said the same (chance: 50%). `,
      `The nearest mix of the voices before RL: ${mix}. A thought is ${tp.number(cost)} long on average (Alice’s words are 1).`,
    ];
  }

  let changedState = null;
  tp.tabs.thoughts = {
    title: "The thoughts",
    mount(root, data, _, changed) {
      changedState = changed;
      if (!data) {
        root.append(tp.sentence("note", "The dataset of the thoughts was not there when this page was written."));
        return;
      }
      const bits = { 2: "two", 3: "three", 4: "four" }[data.prompts[0][0][0].length] || "some";
      root.append(
        tp.html("h2", {}, "RL can make the answers right and the thoughts unreadable"),
        tp.html(
          "p",
          {},
          `A small model sees ${bits} bits and says whether the number of ones is even or odd. Before that it thinks aloud, a word for each bit; its words are its only memory. Alice thinks “even” or “odd”, Bob “even-thanks” or “odd-thanks” at twice the length, Larry mumbles “meh” or “ugh”, which are short and tell little. RL may change each of these voices. It pays for right answers; the length of the thoughts costs. The `,
          tp.html("em", {}, "reader"),
          " is the model before RL. It sees the thoughts alone, and says what the answer will be.",
        ),
        controls(data, changed),
      );
      parts.verdict = tp.html("p", { "aria-live": "polite", class: "t-verdict" });
      parts.row = tp.html("div");
      parts.numbers = tp.html("div");
      parts.lines = tp.html("div", { class: "t-lines" });
      root.append(
        tp.html("div", { class: "t-top" }, tp.html("div", {}, ...map(data, changed), parts.numbers), tp.html("div", {}, parts.row, tp.html("p", { class: "legend" }, "Columns, left scale: nats of the answer. Right scale: share of answers that are right (line) and that are the reader’s too (dashed)."))),
        parts.verdict,
        tp.html("h2", {}, "What it says, and what the reader makes of it"),
        parts.lines,
        tp.wordLegend(),
      );
    },
    update(state) {
      const data = tp.data.thoughts;
      if (!data) return;
      const at = where(data, state);
      const here = cell(data, at);
      parts.rule.value = rulesOf(data)[at.rule];
      parts.seed.value = data.seeds[at.seed];
      drawMap(data, at);
      parts.row.replaceChildren(drawRow(data, at, changedState));
      parts.verdict.replaceChildren(...verdict(data, here));
      parts.numbers.replaceChildren(drawNumbers(here));
      parts.lines.replaceChildren(...here.lines.map(drawLine));
    },
  };
})();
