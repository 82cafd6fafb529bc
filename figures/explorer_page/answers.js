// Every prompt answered by each person, the base, the policy and the nearest mix, with the same dice.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

const END = ".";

/** The table of answers, in `root`. */
tp.answers = (root) => {
  const table = tp.html("table", { class: "answers" });
  root.append(table);
  let fixed = null; // what does not change with the policy

  function prepared(world, seed) {
    const next = tp.sampling.uniforms(seed);
    const dice = world.base.map(() => Array.from({ length: world.T }, next));
    const voices = world.base.map((base, c) =>
      [...world.personas[c], base].map((row) => tp.core.beginnings(row, world.V, world.T)),
    );
    const said = voices.map((levels, c) => levels.map((each) => tp.sampling.answer(each, dice[c])));
    return { world, seed, dice, said, people: voices.map((levels) => levels.slice(0, -1)) };
  }

  /** The words of an answer up to its end, as they are shown, each with the space before it. */
  function spelt(world, words) {
    const units = words.map((word) => world.table.units[word]);
    const shown = units[0] === END ? ["(silence)"] : units.slice(0, (units.indexOf(END) + 1 || units.length));
    return shown.map((unit, t) => [t && unit !== END ? world.table.separator : "", unit]);
  }

  const plain = (world, words) => spelt(world, words).flat().join("");

  /** The policy's words, each coloured by how much likelier it is than in the nearest mix. */
  function coloured(world, levels, words) {
    const each = tp.sampling.judged(levels, words);
    return spelt(world, words).map(([space, unit], t) => {
      const { policy, mix, most, novel } = each[t];
      const what = unit === END ? "The end" : `“${unit}”`;
      const said =
        `${what} here: ${tp.percent(policy)} by the policy, ${tp.percent(mix)} by the nearest mix, ` +
        `${tp.percent(most)} by the person who says it most`;
      return [space, tp.word(unit === END ? "\u00a0.\u00a0" : unit, policy / mix, said, novel)];
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
      const levels = { policy: policy.levels[c], mix, people: fixed.people[c] };
      const answers = [
        ...fixed.said[c].map((words) => plain(world, words)),
        tp.html("span", {}, coloured(world, levels, tp.sampling.answer(levels.policy, fixed.dice[c])).flat()),
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
