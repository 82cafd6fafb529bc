// Five places on the map that tell the story. Every number in their sentences is computed here, from what is shown.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

/** A stop: where it is, and two sentences about what is there; `b` is the budget, `world` the world. */
tp.stops = [
  {
    name: "Weak: it chooses",
    at: { angle: 15, strength: 0.3 },
    text: ({ b, who }) =>
      `Paid mostly for being ${who}, and not much: ${tp.percent(b.fraction)} of what RL changes is selection. ` +
      `The dots move toward ${who}, and the answers are what somebody here would say.`,
  },
  {
    name: "Stronger: nobody is left to choose",
    at: { angle: 15, strength: 2.1 },
    text: ({ b, who, corner }) =>
      `At ${corner} prompts the nearest mix is now ${who} almost alone, so that there is no more to choose. ` +
      `${tp.number(b.selection)} of ${tp.number(b.total)} nats are selection, but the rest has begun: ${tp.number(b.novelty)} nats are novelty.`,
  },
  {
    name: "Strong: what nobody says",
    at: { angle: 30, strength: 8 },
    text: ({ b, draws }) =>
      `Selection ends at ${tp.number(b.selection)} nats, for nobody can be chosen more than always; novelty grew to ${tp.number(b.novelty)}. ` +
      `The outlined words are said more than twice as often as any of these people, so any mix of them, says them there: ${draws} show it.`,
  },
  {
    name: "Weak is not enough",
    at: { angle: 75, strength: 0.3 },
    text: ({ b, draws }) =>
      `Now words are paid for, whoever says them, and even weak RL is only ${tp.percent(b.fraction)} selection. ` +
      `But it moved by ${tp.number(b.total)} nats only, so that it takes ${draws} to notice.`,
  },
  {
    name: "A reward of your own",
    at: { words: "help you" },
    text: ({ b, words, own }) =>
      `A reward that counts “${words.split(" ").join("” and “")}” lies at ${tp.number(own)}° to the people: weak RL on it is ` +
      `${tp.percent(Math.cos((own * Math.PI) / 180) ** 2)} selection (cos²), and here it is ${tp.percent(b.fraction)}. Type words of your own and see.`,
  },
];

/**
 * How many answers show that no mix says this, in words, by the law of the map's dotted lines. It is made for more
 * answers than the mixes of all prompts have free weights.
 */
tp.answersNeeded = (world, hull) => {
  const needed = tp.core.nats(world) / hull;
  return needed > world.C * (world.K - 1) ? `about ${tp.count(Math.ceil(needed), "answer")}` : "a few answers";
};

/** The sentences of a stop, or of any place, from what was computed there. */
tp.storyAt = (stop, { world, parts, budget, words, angle, strength }) => {
  const who = tp.name(world.table.personas[world.table.helpful]);
  const reached = budget.weights.filter((w) => w[world.table.helpful] > 0.95).length;
  const facts = {
    b: budget,
    who,
    words,
    own: parts.angle,
    draws: tp.answersNeeded(world, budget.hull),
    corner: `${reached} of ${world.C}`,
  };
  if (stop) return stop.text(facts);
  const share = (name) => `${tp.percent(Math.max(budget[name], 0) / budget.total)} ${name}`;
  return `At ${tp.chosen(angle)}° and strength ${tp.chosen(strength)}: ${share("selection")}, ${share("switching")}, ${share("novelty")}, of ${tp.number(budget.total)} nats.`;
};
