// Rewards and the map that each of them makes, exactly as toypersona/rewards.py: runs wherever core.js does.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
tp.rewards = (() => {
  /** Mean 0 under the base at every prompt; exactly 0 where it is constant up to rounding. */
  function centred(world, values) {
    return values.map((row, c) => {
      const base = world.base[c];
      const likeliest = base.reduce((best, p, x) => (p > base[best] ? x : best), 0);
      const above = row.map((value) => value - row[likeliest]);
      const mean = above.reduce((sum, value, x) => sum + base[x] * value, 0);
      const rest = above.map((value) => value - mean);
      const square = (sum, value, x) => sum + base[x] * value * value;
      const constant = rest.reduce(square, 0) <= (4 * 2 ** -52) ** 2 * row.reduce(square, 0);
      return constant ? rest.fill(0) : rest;
    });
  }

  /** E_c E_base[values²]. */
  const power = (world, values) =>
    values.reduce(
      (sum, row, c) => sum + world.rho[c] * row.reduce((s, value, x) => s + world.base[c][x] * value * value, 0),
      0,
    );

  /** Mean 0 at every prompt and variance 1 over all, as rewards.standardise. */
  function standardised(world, values) {
    const rest = centred(world, values);
    const size = Math.sqrt(power(world, rest)) || 1;
    return rest.map((row) => row.map((value) => value / size));
  }

  /** The part of values, centred ones, that is orthogonal, under the base, to all that the personas can be paid for. */
  function beside(world, values) {
    return values.map((row, c) => {
      const base = world.base[c];
      const product = (a, b) => a.reduce((sum, value, x) => sum + base[x] * value * b[x], 0);
      const directions = [];
      const without = (row) => {
        // Twice: the second pass takes away what rounding left in the first.
        for (let pass = 0; pass < 2; pass++)
          for (const direction of directions) {
            const along = product(row, direction);
            row = row.map((value, x) => value - along * direction[x]);
          }
        return row;
      };
      for (const persona of world.personas[c]) {
        const ratio = persona.map((p, x) => (base[x] > 0 ? p / base[x] : 0));
        const size = Math.sqrt(product(ratio, ratio));
        const own = without(ratio);
        const left = Math.sqrt(product(own, own));
        if (left > 1e-10 * size) directions.push(own.map((value) => value / left));
      }
      const alone = without(row);
      return product(alone, alone) <= 4e-19 * product(values[c], values[c]) ? alone.fill(0) : alone;
    });
  }

  /** How likely a persona is to have written each answer: P(k|c, x) [C, N]. */
  const author = (world, k) =>
    world.base.map((row, c) =>
      row.map((p, x) => (p > 0 ? (world.gates[c][k] * world.personas[c][k][x]) / p : world.gates[c][k])),
    );

  /** The sum of word scores of every answer [N]. */
  function wordCount(world, scores) {
    let sums = new Float64Array(1);
    for (let t = 0; t < world.T; t++) {
      const longer = new Float64Array(sums.length * world.V);
      for (let i = 0; i < longer.length; i++) longer[i] = sums[Math.floor(i / world.V)] + scores[i % world.V];
      sums = longer;
    }
    return sums;
  }

  /**
   * The two parts of a reward, standardised: `beside`, the part of the words' scores that no persona could be paid for,
   * and `affine`, the answers of persona `helpful`; or, where that is null, the rest of the words' scores, so that
   * at `angle`, in degrees, the reward is the words' own.
   */
  function parts(world, scores, helpful) {
    const counted = wordCount(world, scores);
    const feature = centred(
      world,
      world.base.map(() => counted),
    );
    const left = beside(world, feature);
    const rest = () => feature.map((row, c) => row.map((value, x) => value - left[c][x]));
    const share = power(world, left) / (power(world, feature) || 1);
    return {
      affine: standardised(world, helpful === null ? rest() : author(world, helpful)),
      beside: standardised(world, left),
      angle: (Math.asin(Math.sqrt(Math.min(share, 1))) * 180) / Math.PI,
    };
  }

  /** cos(angle) · affine + sin(angle) · beside [C, N]; degrees. */
  function at(parts, degrees) {
    const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
    return parts.affine.map((row, c) => row.map((value, x) => cos * value + sin * parts.beside[c][x]));
  }

  /** One score a word for words that were typed: 1 for those, 0 for all others. Throws one sentence. */
  function typed(world, text) {
    const known = world.table.units.slice(0, world.V);
    // Without what is written around words: the end of an answer, ".", is no word.
    const words = text
      .toLowerCase()
      .split(/\s+|[,;]/)
      .map((word) => word.replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, ""))
      .filter(Boolean);
    if (!words.length) throw new Error("Type at least one word that somebody says here.");
    const unknown = words.filter((word) => !known.includes(word));
    if (unknown.length) throw new Error(`Nobody here says “${unknown.join("”, “")}”: choose among ${known.filter((word) => word !== ".").join(" ")}`);
    const scores = known.map((word) => words.filter((one) => one === word).length);
    if (Math.max(...scores) === Math.min(...scores))
      throw new Error("A reward that pays every word alike pays nothing: leave some words out.");
    return scores;
  }

  /** One row of the map: what its shade and its boundaries are read from, at one angle and every strength. */
  function mapRow(world, parts, angle, strengths) {
    const reward = at(parts, angle);
    const found = strengths.map((strength) => tp.core.budget(world, tp.core.tilt(world, reward, strength)));
    return {
      fraction: found.map((b) => b.fraction),
      largest: found.map((b) => b.largest),
      hull: found.map((b) => b.hull),
    };
  }

  return { parts, at, typed, mapRow };
})();
