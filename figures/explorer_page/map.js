// The first tab: the map, the mixes, the parts and the answers of one place, all from the exact core.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
tp.tabs = tp.tabs || {};
tp.tabs.map = (() => {
  const FIRST = { angle: 30, strength: 8 };
  const view = {};
  const worlds = {};
  let [data, state, changed] = [];
  let shown = {}; // what the last drawing was made from
  let worker = null;
  let slice = 0;
  let gliding = 0;

  /** What the address says, with what it leaves out. */
  function place() {
    const names = data.worlds.map((table) => table.name);
    const number = (key, low, high, otherwise) => {
      const value = Number.parseFloat(state[key]);
      return Number.isFinite(value) ? Math.min(Math.max(value, low), high) : otherwise;
    };
    const world = names.includes(state.map_world) ? state.map_world : names[0];
    const strengths = data.worlds[names.indexOf(world)].strengths;
    return {
      world,
      words: (state.map_words || "").trim(),
      angle: number("map_angle", 0, 90, FIRST.angle),
      strength: number("map_strength", strengths[0], strengths[strengths.length - 1], FIRST.strength),
      seed: Math.floor(number("map_dice", 1, 1e6, 1)),
      stop: tp.stops[number("map_stop", 1, tp.stops.length, 0) - 1],
    };
  }

  function mount(root, given, now, change) {
    [data, state, changed] = [given, now, change];
    if (!data.worlds.length) {
      root.append(tp.sentence("error", "No map was computed when this page was written."));
      return;
    }
    const pane = (name, title, ...children) => tp.html("section", { class: `pane ${name}`, "aria-label": title }, tp.html("h2", {}, title), ...children);
    const [bar, heat, mixes, parts, answers] = Array.from({ length: 5 }, () => tp.html("div"));
    view.story = tp.html("p", { class: "story", id: "story" });
    view.calm = tp.html("p", { class: "unseen", role: "status" });
    root.append(
      stopButtons(),
      view.story,
      view.calm,
      bar,
      tp.html(
        "div",
        { class: "panes" },
        pane("left", "Drag the dot: how RL is paid, and how hard", heat, angleNote(), sliders()),
        pane("middle", "The nearest mix of people at each prompt", mixes, tp.html("p", { class: "note" }, "Of all mixes of these people the one that talks most like the trained model. Ring: before RL. Line: its way as RL grows stronger. Numbers: the prompts of the table below."), ownWords()),
        pane("right", "What RL changed, in three parts", parts),
      ),
      pane("said", "What they answer", tp.wordLegend(), answers, diceButton()),
    );
    view.heat = tp.heat(heat, (angle, strength) => moved({ map_angle: angle, map_strength: strength }));
    view.simplex = tp.simplex(mixes);
    view.parts = tp.budgetTable(bar, parts);
    view.draws = tp.draws(parts);
    view.answers = tp.answers(answers);
    if (!Object.keys(state).some((key) => key.startsWith("map_"))) opening();
  }

  /** A change by the reader: no stop any more, and no glide. */
  function moved(patch) {
    cancelAnimationFrame(gliding);
    changed({ map_stop: null, ...patch });
  }

  /** The first view shows the way from choosing to novelty by itself, once. */
  function opening() {
    changed({ map_stop: 3 });
    glide({ angle: 15, strength: 0.1 }, FIRST, 3000);
  }

  /** Moves the dot from one place to another, unless motion is not wanted. */
  function glide(from, to, duration) {
    cancelAnimationFrame(gliding);
    const set = (angle, strength) => changed({ map_angle: angle, map_strength: strength });
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return set(to.angle, to.strength);
    const start = performance.now();
    const step = (time) => {
      const t = Math.min(Math.max((time - start) / duration, 0), 1);
      const along = t * t * (3 - 2 * t);
      if (t < 1) gliding = requestAnimationFrame(step);
      const strength = from.strength * (to.strength / from.strength) ** along;
      if (t === 1) set(to.angle, to.strength);
      else set(from.angle + along * (to.angle - from.angle), strength);
    };
    gliding = requestAnimationFrame(step);
    return undefined;
  }

  function stopButtons() {
    view.stops = tp.stops.map((stop, i) =>
      tp.html(
        "button",
        { type: "button", id: `stop-${i + 1}`, "aria-label": `${i + 1} ${stop.name}`, onclick: () => toStop(stop, i) },
        tp.html("b", {}, String(i + 1)),
        tp.html("span", { class: "name" }, ` ${stop.name}`),
      ),
    );
    return tp.html("div", { class: "stops", role: "group", "aria-label": "Five stops that tell the story" }, view.stops);
  }

  function toStop(stop, i) {
    const from = place();
    changed({ map_stop: i + 1, map_world: null, map_words: stop.at.words });
    const own = stop.at.words && tp.rewards.parts(worldOf(data.worlds[0].name), scoresOf(place()), null).angle;
    glide(from, { angle: stop.at.angle ?? Math.round(own), strength: stop.at.strength ?? 1 }, 700);
  }

  const angleNote = () => (view.angleNote = tp.html("p", { class: "note" }));

  /** What the two ends of the angle pay for. */
  function angleWords(world, scores, own) {
    const who = own ? "what the people differ in, of these words" : `being ${tp.name(world.table.personas[world.table.helpful])}`;
    const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 3).map((word) => world.table.units[word]);
    const what = own ? "the rest, which tells nobody from another" : `words that tell nobody from another: ${best.join(", ")} pay most`;
    return `At 0° RL is paid for ${who}, at 90° for ${what}.${own ? " Dotted: your reward as it is." : ""}`;
  }

  function sliders() {
    const slider = (id, label, max, set) => {
      const input = tp.html("input", { type: "range", id, min: 0, max, step: 1, oninput: () => moved(set(Number(input.value))) });
      return [input, tp.html("label", { for: id }, label, input)];
    };
    const range = () => data.worlds.find((table) => table.name === place().world).strengths;
    const strengthAt = (value) => {
      const [low, high] = [range()[0], range()[range().length - 1]];
      return Number((low * (high / low) ** (value / 100)).toPrecision(3));
    };
    const [angle, first] = slider("angle", "angle ", 90, (value) => ({ map_angle: value }));
    const [strength, second] = slider("strength", "strength ", 100, (value) => ({ map_strength: strengthAt(value) }));
    view.slide = ({ angle: a, strength: s }) => {
      const [low, high] = [range()[0], range()[range().length - 1]];
      angle.value = a;
      strength.value = (100 * Math.log(s / low)) / Math.log(high / low);
      angle.setAttribute("aria-valuetext", `${tp.number(a, 3)} degrees`);
      strength.setAttribute("aria-valuetext", tp.number(s));
    };
    return tp.html("div", { class: "sliders" }, first, second);
  }

  function ownWords() {
    const box = tp.html("input", { type: "text", id: "words", placeholder: "such as: help you", autocomplete: "off", spellcheck: "false" });
    view.box = box;
    view.known = tp.html("p", { class: "note" });
    const back = () => {
      box.value = "";
      moved({ map_words: null });
    };
    view.unpay = tp.html("button", { type: "button", id: "unpay", onclick: back }, "As it was");
    view.mistake = tp.html("p", { class: "error", role: "alert" });
    view.progress = tp.html("p", { class: "note", role: "status" });
    const world = tp.html(
      "select",
      { id: "world", onchange: () => moved({ map_world: world.value, map_words: null }) },
      data.worlds.map((table) => tp.html("option", { value: table.name }, table.title)),
    );
    view.world = world;
    const submit = (event) => {
      event.preventDefault();
      try {
        if (box.value.trim()) tp.rewards.typed(worldOf(place().world), box.value);
        moved({ map_words: box.value.trim() || null });
        view.mistake.textContent = "";
      } catch (error) {
        view.mistake.textContent = error.message;
      }
    };
    return tp.html(
      "form",
      { class: "own", onsubmit: submit },
      data.worlds.length > 1 ? tp.html("label", { for: "world" }, "people ", world) : null,
      tp.html("label", { for: "words" }, "pay for words of your own ", box),
      tp.html("button", { type: "submit", id: "pay" }, "Pay"),
      view.unpay,
      view.known,
      view.mistake,
      view.progress,
    );
  }

  const diceButton = () =>
    tp.html("p", {}, tp.html("button", { type: "button", id: "dice", onclick: () => moved({ map_dice: place().seed + 1, map_stop: state.map_stop }) }, "Other answers"), tp.html("span", { class: "note" }, " Base: the model before RL. Policy: after it. All columns are drawn with the same dice."));

  const worldOf = (name) => (worlds[name] = worlds[name] || tp.core.makeWorld(data.worlds.find((table) => table.name === name)));

  /** Scores of the words that are paid for; an unknown word in an address is said, and the world's own are taken. */
  function scoresOf({ world, words }) {
    if (!words) return worldOf(world).table.scores;
    try {
      return tp.rewards.typed(worldOf(world), words);
    } catch (error) {
      view.mistake.textContent = error.message;
      return worldOf(world).table.scores;
    }
  }

  function update() {
    if (!data.worlds.length) return;
    const now = place();
    const anew = shown.world !== now.world || shown.words !== now.words;
    if (anew) newReward(now);
    const { world, parts } = shown.made;
    const reward = anew || shown.angle !== now.angle ? tp.rewards.at(parts, now.angle) : shown.reward;
    const same = !anew && shown.angle === now.angle && shown.strength === now.strength;
    const policy = same ? shown.policy : tp.core.tilt(world, reward, now.strength);
    const budget = same ? shown.budget : tp.core.budget(world, policy);
    if (anew || shown.angle !== now.angle) followPath(world, reward);
    shown = { ...shown, ...now, made: shown.made, world: now.world, reward, policy, budget };
    view.heat.place(now.angle, now.strength);
    view.slide(now);
    view.simplex.mixes(world, budget.weights);
    view.parts(budget);
    view.draws(world, policy, budget);
    view.answers(world, policy, budget, now.seed);
    tell(now, { world, parts, budget, words: now.words, angle: now.angle, strength: now.strength });
  }

  function tell(now, facts) {
    view.story.textContent = tp.storyAt(now.stop, facts);
    view.stops.forEach((button, i) => button.setAttribute("aria-pressed", tp.stops[i] === now.stop));
    clearTimeout(view.later);
    view.later = setTimeout(() => (view.calm.textContent = tp.storyAt(now.stop, facts)), 700);
  }

  /** Another world or reward: its parts at once, its map from the dataset or, for words that were typed, a worker. */
  function newReward(now) {
    const world = worldOf(now.world);
    const { table } = world;
    view.mistake.textContent = "";
    const scores = scoresOf(now);
    const own = scores !== table.scores;
    const parts = tp.rewards.parts(world, scores, own ? null : table.helpful);
    shown = { ...shown, made: { world, parts } };
    view.simplex.world(world);
    view.world.value = now.world;
    if (document.activeElement !== view.box) view.box.value = now.words;
    view.known.textContent = `They say: ${table.units.slice(0, world.V).filter((unit) => unit !== ".").join(" ")}`;
    if (worker) worker.terminate();
    worker = null;
    const map = { angles: table.angles, strengths: table.strengths, rows: [] };
    const draw = () => view.heat.draw(world, map, own ? parts.angle : null);
    view.angleNote.textContent = angleWords(world, scores, own);
    view.unpay.hidden = !own;
    view.progress.textContent = own ? "Computing the map." : "";
    if (own)
      compute(table, scores, (i, row) => {
        map.rows[i] = row;
        const done = i + 1 === map.angles.length;
        view.progress.textContent = done ? "This is the map of your reward." : `Computing the map: ${i + 1} of ${map.angles.length} angles.`;
        draw();
      });
    else map.rows = table.map;
    draw();
  }

  /** The map of typed words, angle by angle, in a worker made of the core's own text. */
  function compute(table, scores, row) {
    const work = ({ data: { table, scores } }) => {
      const world = tp.core.makeWorld(table);
      const parts = tp.rewards.parts(world, scores, null);
      table.angles.forEach((angle, i) => postMessage([i, tp.rewards.mapRow(world, parts, angle, table.strengths)]));
    };
    const text = (name) => document.getElementById(name).textContent;
    const source = `${text("core")}\n${text("rewards")}\nonmessage = ${work};`;
    worker = new Worker(URL.createObjectURL(new Blob([source])));
    worker.onmessage = ({ data: [i, found] }) => row(i, found);
    worker.postMessage({ table, scores });
  }

  /** The way of every mix along the strengths at this angle, in slices while nobody drags. */
  function followPath(world, reward) {
    clearTimeout(slice);
    const along = [world.gates];
    const strengths = world.table.strengths;
    const next = () => {
      const policy = tp.core.tilt(world, reward, strengths[along.length - 1]);
      along.push(tp.core.nearest(world, policy).map((found) => [...found.weights]));
      if (along.length <= strengths.length) slice = setTimeout(next, 0);
      else view.simplex.path(along);
    };
    slice = setTimeout(next, 120);
  }

  return { title: "The map", mount, update };
})();
