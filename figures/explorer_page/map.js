// The first tab: the map, the mixes, the parts and the answers of one place, all from the exact core.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
tp.tabs = tp.tabs || {};
tp.tabs.map = (() => {
  const FIRST = { angle: 30, strength: 8 };
  const MIXES =
    "Of all mixes of these people the one that talks most like the trained model. Ring: before RL. Line: its way as RL " +
    "grows stronger. Numbers: the prompts of the table below.";
  const DICE = "Base: the model before RL. Policy: after it. All columns are drawn with the same dice.";
  const OUTLINED = "said more than twice as often as any of these people, so any mix of them, says it there";
  const view = {};
  const worlds = {};
  let [data, state, changed] = [];
  let shown = {}; // what the last drawing was made from
  let worker = null;
  let slice = 0;
  let gliding = 0; // the frame that was asked for while the dot moves by itself

  /** What the address says, with what it leaves out. */
  function place() {
    const names = data.worlds.map((table) => table.name);
    const number = (key, low, high, otherwise) => {
      const value = Number.parseFloat(state[key]);
      return Number.isFinite(value) ? Math.min(Math.max(value, low), high) : otherwise;
    };
    const world = names.includes(state.map_world) ? state.map_world : names[0];
    const strengths = data.worlds[names.indexOf(world)].strengths;
    const now = {
      world,
      words: (state.map_words || "").trim(),
      angle: number("map_angle", 0, 90, FIRST.angle),
      strength: number("map_strength", strengths[0], strengths[strengths.length - 1], FIRST.strength),
      seed: Math.floor(number("map_dice", 1, 1e6, 1)),
    };
    return { ...now, stop: stopAt(now, tp.stops[Math.floor(number("map_stop", 1, tp.stops.length, 0)) - 1]) };
  }

  /** Where a stop is, all of it. */
  function placeOf({ at }) {
    const world = data.worlds[0].name;
    if (!at.words) return { world, words: "", angle: at.angle, strength: at.strength };
    const own = tp.rewards.parts(worldOf(world), tp.rewards.typed(worldOf(world), at.words), null).angle;
    return { world, words: at.words, angle: Math.round(own), strength: 1 };
  }

  /** The stop itself where the page is at it, or on its way to it; its sentence is true nowhere else. */
  function stopAt(now, stop) {
    if (!stop || gliding) return stop;
    stop.place = stop.place || placeOf(stop);
    return Object.entries(stop.place).every(([name, value]) => now[name] === value) ? stop : undefined;
  }

  /** Drops words from the state, and the stop they belong to, that nobody here says; returns the sentence about them. */
  function refused() {
    const { world, words } = place();
    try {
      if (words) tp.rewards.typed(worldOf(world), words);
      return "";
    } catch (error) {
      changed({ map_words: null, map_stop: null });
      return error.message;
    }
  }

  function mount(root, given, now, change) {
    [data, state, changed] = [given, now, change];
    if (!data.worlds.length) {
      root.append(tp.sentence("error", "No map was computed when this page was written."));
      return;
    }
    const [bar, heat, slides, mixes, form, parts, answers] = Array.from({ length: 7 }, () => tp.html("div"));
    view.story = tp.html("p", { class: "story", id: "story" });
    view.calm = tp.html("p", { class: "unseen", role: "status" });
    view.ends = tp.html("p", { class: "note" });
    root.append(
      stopButtons(),
      view.story,
      view.calm,
      bar,
      tp.html(
        "div",
        { class: "panes" },
        pane("left", "Drag the dot: how RL is paid, and how hard", heat, view.ends, slides),
        pane("middle", "The nearest mix of people at each prompt", mixes, note(MIXES), form),
        pane("right", "What RL changed, in three parts", parts),
      ),
      pane("said", "What they answer", tp.wordLegend(OUTLINED), answers, dice()),
    );
    view.heat = tp.heat(heat, (angle, strength) => moved({ map_angle: angle, map_strength: strength }));
    view.slide = tp.sliders(slides, moved);
    view.simplex = tp.simplex(mixes);
    view.form = tp.rewardForm(form, data.worlds, (text) => tp.rewards.typed(worldOf(place().world), text), moved);
    view.parts = tp.budgetTable(bar, parts);
    view.draws = tp.draws(parts);
    view.answers = tp.answers(answers);
    if (!Object.keys(state).some((key) => key.startsWith("map_"))) opening();
  }

  const note = (text) => tp.html("p", { class: "note" }, text);

  const pane = (name, title, ...children) =>
    tp.html("section", { class: `pane ${name}`, "aria-label": title }, tp.html("h2", {}, title), ...children);

  /** The button that throws the dice again, at the same place. */
  function dice() {
    const again = () => changed({ map_dice: place().seed + 1 });
    return tp.html(
      "p",
      {},
      tp.html("button", { type: "button", id: "dice", onclick: again }, "Other answers"),
      note(DICE),
    );
  }

  /** A change by the reader: no stop any more, and no glide. */
  function moved(patch) {
    stay();
    changed({ map_stop: null, ...patch });
  }

  function stay() {
    cancelAnimationFrame(gliding);
    gliding = 0;
  }

  /** The first view shows the way from choosing to novelty by itself, once. */
  function opening() {
    changed({ map_stop: 3 });
    glide({ angle: 15, strength: 0.1 }, FIRST, 3000);
  }

  /** Moves the dot from one place to another, in milliseconds, unless motion is not wanted. */
  function glide(from, to, duration) {
    stay();
    const start = performance.now();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (time) => {
      const t = still ? 1 : Math.min(Math.max((time - start) / duration, 0), 1);
      const along = t * t * (3 - 2 * t);
      gliding = t < 1 ? requestAnimationFrame(step) : 0;
      const strength = t < 1 ? from.strength * (to.strength / from.strength) ** along : to.strength;
      changed({ map_angle: from.angle + along * (to.angle - from.angle), map_strength: strength });
    };
    step(start);
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
    return tp.html(
      "div",
      { class: "stops", role: "group", "aria-label": "Five stops that tell the story" },
      view.stops,
    );
  }

  function toStop(stop, i) {
    const from = place();
    stop.place = stop.place || placeOf(stop);
    changed({ map_stop: i + 1, map_world: null, map_words: stop.at.words });
    glide(from, stop.place, 700);
  }

  const worldOf = (name) =>
    (worlds[name] = worlds[name] || tp.core.makeWorld(data.worlds.find((table) => table.name === name)));

  function update() {
    if (!data.worlds.length) return;
    const mistake = refused();
    const now = place();
    const anew = shown.world !== now.world || shown.words !== now.words;
    if (anew) newReward(now);
    if (mistake) view.form.mistake(mistake);
    const { world, parts } = shown.made;
    const reward = anew || shown.angle !== now.angle ? tp.rewards.at(parts, now.angle) : shown.reward;
    const same = !anew && shown.angle === now.angle && shown.strength === now.strength;
    const policy = same ? shown.policy : tp.core.tilt(world, reward, now.strength);
    const budget = same ? shown.budget : tp.core.budget(world, policy);
    if (anew || shown.angle !== now.angle) followPath(world, reward);
    shown = { ...shown, ...now, made: shown.made, world: now.world, reward, policy, budget };
    view.heat.place(now.angle, now.strength);
    view.slide(now, world.table.strengths);
    view.simplex.mixes(world, budget.weights);
    view.parts(budget);
    view.draws(world, policy, budget);
    view.answers(world, policy, budget, now.seed);
    tell(now, { world, parts, budget, words: now.words, angle: now.angle, strength: now.strength });
  }

  /** The sentences: a stop's own once the dot is there. A screen reader is told when nothing moves. */
  function tell(now, facts) {
    view.story.textContent = tp.storyAt(gliding ? undefined : now.stop, facts);
    view.stops.forEach((button, i) => button.setAttribute("aria-pressed", tp.stops[i] === now.stop));
    clearTimeout(view.later);
    view.later = setTimeout(() => (view.calm.textContent = view.story.textContent), 700);
  }

  /** Another world or reward: its parts at once; its map too if the page holds it, and if not, from a worker. */
  function newReward(now) {
    const world = worldOf(now.world);
    const { table } = world;
    view.form.mistake("");
    const own = Boolean(now.words);
    const scores = own ? tp.rewards.typed(world, now.words) : table.scores;
    const helpful = own ? null : table.helpful;
    const parts = tp.rewards.parts(world, scores, helpful);
    shown = { ...shown, made: { world, parts } };
    view.simplex.world(world);
    view.form.show(world, now.words, own);
    view.ends.textContent = tp.angleWords(world, scores, own);
    const map = { angles: table.angles, strengths: table.strengths, rows: (!own && table.map) || [] };
    const draw = () => view.heat.draw(world, map, own ? parts.angle : null);
    draw();
    if (worker) worker.terminate();
    worker = map.rows.length ? null : compute(table, scores, helpful);
    view.form.progress("");
    view.heat.progress(worker ? "Computing the map." : "");
    if (!worker) return;
    worker.onmessage = ({ data: [i, row] }) => {
      map.rows[i] = row;
      const [done, all] = [i + 1, map.angles.length];
      view.heat.progress(done < all ? `Computing the map: ${done} of ${all} angles.` : "");
      if (done === all) view.form.progress(`This is the map of ${own ? "your reward" : table.title}.`);
      draw();
    };
  }

  /** A worker made of the core's own text, which posts the map of a reward angle by angle. */
  function compute(table, scores, helpful) {
    const work = ({ data: { table, scores, helpful } }) => {
      const world = tp.core.makeWorld(table);
      const parts = tp.rewards.parts(world, scores, helpful);
      table.angles.forEach((angle, i) => postMessage([i, tp.rewards.mapRow(world, parts, angle, table.strengths)]));
    };
    const text = (name) => document.getElementById(name).textContent;
    const source = `${text("core")}\n${text("rewards")}\nonmessage = ${work};`;
    const made = new Worker(URL.createObjectURL(new Blob([source])));
    made.postMessage({ table, scores, helpful });
    return made;
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

  return { title: "The map", mount, update, stay };
})();
