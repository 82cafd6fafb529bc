// Answers drawn with dice from a seed, and the evidence that no mix of the personas gave them.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
tp.sampling = (() => {
  /** Uniform numbers in [0, 1) from a seed (a 32-bit mixing function of a counter). */
  function uniforms(seed) {
    let state = (seed * 0x9e3779b9 + 0x6d2b79f5) | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** An answer drawn word by word with one uniform number a word, and each word's probability given those before. */
  function answer(levels, draws) {
    const V = levels[1].length;
    const words = [];
    let history = 0;
    for (let t = 1; t < levels.length; t++) {
      const goal = draws[t - 1] * levels[t - 1][history];
      let [word, sum] = [0, 0];
      for (let v = 0; v < V; v++) {
        const mass = levels[t][history * V + v];
        if (mass > 0) word = v;
        sum += mass;
        if (sum > goal && mass > 0) break;
      }
      words.push(word);
      history = history * V + word;
    }
    return words;
  }

  /** Probability of each word of an answer given the words before it [T]. */
  function wordProbabilities(levels, words) {
    const V = levels[1].length;
    let history = 0;
    return words.map((word, t) => {
      const before = levels[t][history];
      history = history * V + word;
      return before > 0 ? levels[t + 1][history] / before : 0;
    });
  }

  /** Times as often as anybody, from which a word is called novel: less is not seen in a few answers. */
  const NOVEL = 2;

  /**
   * Each word of an answer given those before it: its probability by the policy, the nearest mix and the person who
   * would say it `most`, and whether it is `novel`: as no mix says a word more often than all of its people, the
   * policy then says it more than twice as often as any mix. `levels`: of {policy, mix, people: [K]}.
   */
  function judged(levels, words) {
    const [policy, mix, ...people] = [levels.policy, levels.mix, ...levels.people].map((one) =>
      wordProbabilities(one, words),
    );
    return words.map((word, t) => {
      const most = Math.max(...people.map((each) => each[t]));
      return { word, policy: policy[t], mix: mix[t], most, novel: policy[t] > NOVEL * most };
    });
  }

  /**
   * Samples of a policy, one at a time, and the evidence that no mix of the personas said them: ln of the product of
   * pi/m over all answers, m the nearest mix of each prompt. It passes ln 20 for a mix once in twenty at most.
   */
  function evidence(world, policy, weights, seed) {
    const next = uniforms(seed);
    const mixes = weights.map((w, c) => tp.core.mixed(w, world.personas[c]));
    const run = { count: 0, log: 0, prompt: 0, answer: 0 };
    run.draw = () => {
      let u = next();
      let c = 0;
      while (c < world.C - 1 && u >= world.rho[c]) u -= world.rho[c++];
      const words = answer(policy.levels[c], Array.from({ length: world.T }, next));
      const x = words.reduce((place, word) => place * world.V + word, 0);
      Object.assign(run, { count: run.count + 1, prompt: c, answer: x });
      run.log += Math.log(policy.rows[c][x] / mixes[c][x]);
      return run;
    };
    return run;
  }

  return { uniforms, answer, wordProbabilities, judged, evidence };
})();
