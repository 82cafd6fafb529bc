// Every prompt answered by each person, the base, the policy and the nearest mix, with the same dice.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

/** The table of answers, in `root`. */
tp.answers = (root) => {
  const table = tp.html("table", { class: "answers" });
  root.append(table);
  let fixed = null; // what does not change with the policy

  function prepared(world, seed) {
    const next = tp.sampling.uniforms(seed);
    const dice = world.base.map(() => Array.from({ length: world.T }, next));
    const voices = world.base.map((base, c) => [...world.personas[c], base]);
    const said = voices.map((rows, c) =>
      rows.map((row) => tp.sampling.answer(tp.core.beginnings(row, world.V, world.T), dice[c])),
    );
    return { world, seed, dice, said };
  }

  const spelt = (world, words) => {
    const units = words.map((word) => world.table.units[word]);
    const end = units.indexOf(".");
    return end < 0 ? units : units.slice(0, end);
  };

  const plain = (world, words) => spelt(world, words).join(world.table.separator) || "(silence)";

  /** The policy's words, each coloured by how much likelier it is than in the nearest mix. */
  function coloured(world, words, policy, mix) {
    const [own, mixed] = [tp.sampling.wordProbabilities(policy, words), tp.sampling.wordProbabilities(mix, words)];
    const units = spelt(world, words);
    const shown = units.length ? units : ["(silence)"];
    return shown.flatMap((unit, t) => {
      const said = `“${unit}” here: ${tp.percent(own[t])} by the policy, ${tp.percent(mixed[t])} by the nearest mix`;
      return [t ? world.table.separator : null, tp.word(unit, own[t] / mixed[t], said)];
    });
  }

  return (world, policy, budget, seed) => {
    if (!fixed || fixed.world !== world || fixed.seed !== seed) fixed = prepared(world, seed);
    const names = [...world.table.personas.map(tp.name), "base", "policy", "nearest mix"];
    const head = tp.html(
      "tr",
      {},
      ["prompt", ...names].map((name) => tp.html("th", { scope: "col" }, name)),
    );
    const rows = world.table.prompts.map((prompt, c) => {
      const mix = tp.core.beginnings(tp.core.mixed(budget.weights[c], world.personas[c]), world.V, world.T);
      const answers = [
        ...fixed.said[c].map((words) => plain(world, words)),
        tp.html(
          "span",
          {},
          coloured(world, tp.sampling.answer(policy.levels[c], fixed.dice[c]), policy.levels[c], mix),
        ),
        plain(world, tp.sampling.answer(mix, fixed.dice[c])),
      ];
      const asked = prompt.map((unit) => world.table.units[unit]).join(world.table.separator);
      return tp.html(
        "tr",
        {},
        tp.html("th", { scope: "row" }, tp.html("span", { class: "number" }, String(c + 1)), ` ${asked}`),
        answers.map((answer, i) =>
          tp.html("td", { "data-who": names[i], class: names[i] === "policy" ? "policy" : null }, answer),
        ),
      );
    });
    table.replaceChildren(tp.html("thead", {}, head), tp.html("tbody", {}, rows));
  };
};
