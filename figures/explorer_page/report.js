// Reads what `toypersona measure FILE --json REPORT` writes, or says in one sentence why it cannot. No DOM.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
(() => {
  const COMMAND = "toypersona measure FILE --json REPORT.json";
  const MOST_BYTES = 20e6;
  const ESTIMATES = ["total", "selection", "hull_distance", "switching", "novelty", "selection_fraction", "base_distance"];
  const OLDEST = "0.1.0";

  const fail = (sentence) => {
    throw new Error(sentence);
  };
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isScored = (value) => isObject(value) && ("log_probs" in value || (value.toypersona === 1 && !("steps" in value)));

  /** A sentence about a file that is too large to be one, before it is read; null if it is not. */
  const tooLarge = (name, bytes) =>
    bytes > MOST_BYTES
      ? `${name} has ${Math.round(bytes / 1e6).toLocaleString("en-US")} MB, which no report has: choose the file that ${COMMAND} wrote.`
      : null;

  function parsed(text, name) {
    if (!text.trim()) fail(`${name} is empty: choose the file that ${COMMAND} wrote.`);
    if (/^(PK|\u001f|\u0089PNG|%PDF)|\u0000/.test(text)) fail(`${name} is no text: choose the JSON file that ${COMMAND} wrote.`);
    try {
      return JSON.parse(text);
    } catch {
      // Told apart below.
    }
    let first = null;
    try {
      first = JSON.parse(text.trim().split("\n", 1)[0]);
    } catch {
      first = null;
    }
    if (isScored(first)) return first;
    if (/[:[,]\s*-?(NaN|Infinity)\s*[,\]}\n]/.test(text)) {
      fail(`${name} has NaN or Infinity, which JSON does not know and the command never writes: measure again with ${COMMAND}.`);
    }
    if (/^\s*\{/.test(text) && !/\}\s*$/.test(text)) fail(`${name} breaks off in the middle: copy or write it again.`);
    return fail(`${name} is no JSON: choose the file that ${COMMAND} wrote.`);
  }

  /** A number as reports have it: null for unknown, text for infinite. */
  function number(value, what, name) {
    if (value === null) return NaN;
    if (value === "inf" || value === "-inf") return value === "inf" ? Infinity : -Infinity;
    if (typeof value === "number") return value;
    return fail(`${name} is damaged: ${what} is ${JSON.stringify(value).slice(0, 40)} and has to be a number.`);
  }

  /** Reads one step. */
  function step(given, at, version, name) {
    const damaged = (what) => fail(`${name} is damaged: in step ${at + 1}, ${what}.`);
    const of = (key) => {
      if (key in given) return given[key];
      return fail(`${name} lacks ${key} in step ${at + 1}: it was written by toypersona ${version}, and this page reads ${OLDEST} and later, so measure again.`);
    };
    const numberOf = (value, what) => number(value, what, name);
    const estimate = (pair, what) => {
      if (!isObject(pair)) damaged(`${what} is no estimate`);
      return { value: numberOf(pair.value, `${what}.value`), error: numberOf(pair.std_error, `${what}.std_error`) };
    };
    if (!isObject(given)) damaged("there are no numbers");
    const personas = of("personas");
    if (!Array.isArray(personas) || !personas.length || personas.some((each) => typeof each !== "string")) damaged("personas are no names");
    const mix = (weights, what) => {
      if (!isObject(weights)) damaged(`${what} are no weights`);
      return personas.map((persona) => numberOf(persona in weights ? weights[persona] : "missing", `${what} of ${persona}`));
    };
    const mixes = (key) => {
      if (!isObject(of(key))) damaged(`${key} are no weights`);
      return new Map(Object.entries(given[key]).map(([prompt, weights]) => [prompt, mix(weights, key)]));
    };
    const list = (key) => (Array.isArray(of(key)) ? given[key] : damaged(`${key} is no list`));
    const word = (each) => ({
      word: String(each.word),
      nats: numberOf(each.nats, "nats of a word"),
      ratio: numberOf(each.ratio, "ratio of a word"),
      num: numberOf(each.num, "count of a word"),
    });
    const estimates = of("estimates");
    if (!isObject(estimates)) damaged("estimates are missing");
    if (!isObject(of("prompts"))) damaged("prompts are missing");
    const rewards = of("rewards");
    const floor = of("noise_floor");
    const [weights, before] = [mixes("weights"), mixes("base_weights")];
    for (const prompt of Object.keys(given.prompts)) {
      if (!weights.has(prompt) || !before.has(prompt)) damaged(`prompt “${prompt.slice(0, 40)}” has no mix`);
    }
    return {
      step: of("step"),
      numSamples: numberOf(of("num_samples"), "num_samples"),
      numBaseSamples: numberOf(of("num_base_samples"), "num_base_samples"),
      personas,
      prompts: new Map(Object.entries(given.prompts).map(([prompt, p]) => [prompt, numberOf(p, "weight of a prompt")])),
      estimates: Object.fromEntries(
        ESTIMATES.map((key) => [key, key in estimates ? estimate(estimates[key], key) : fail(`${name} lacks the estimate ${key}: measure again with toypersona ${OLDEST} or later.`)]),
      ),
      baseInside: of("base_inside") === true,
      certified: of("certified") === true,
      repaired: of("repaired") === true,
      pooled: of("pooled") === true,
      weights,
      before,
      pooledWeights: mix(of("pooled_weights"), "pooled_weights"),
      logEvidence: numberOf(of("log_evidence"), "log_evidence"),
      evidence: String(of("evidence_in_words")),
      proofs: numberOf(of("proofs"), "proofs"),
      responses: list("responses").map((each) => ({ prompt: String(each.prompt), response: String(each.response), nats: numberOf(each.nats, "nats of a response") })),
      words: list("words").map(word),
      floor: floor === null ? null : numberOf(floor.total, "noise floor"),
      rewards: rewards === null ? null : { policy: estimate(rewards.policy, "reward"), base: estimate(rewards.base, "reward") },
      notes: list("notes").map(String),
    };
  }

  /**
   * Reads a report.
   * @param {string} text what the file holds
   * @param {string} name of the file, for the sentence
   * @returns {{version: string, steps: object[]}} steps in the order of training; unknown numbers are NaN
   * @throws {Error} one sentence
   */
  function read(text, name) {
    const content = parsed(text, name);
    if (isScored(content)) {
      fail(`${name} has the scored responses themselves: measure them first with ${COMMAND.replace("FILE", name)}, then choose that report.`);
    }
    if (!isObject(content) || !("toypersona" in content) || !Array.isArray(content.steps)) {
      fail(`${name} is JSON, but no report: choose the file that ${COMMAND} wrote.`);
    }
    if (!content.steps.length) fail(`${name} has no steps: nothing was measured.`);
    const version = String(content.toypersona);
    const steps = content.steps.map((each, i) => step(each, i, version, name));
    return { version, steps: steps.sort((a, b) => (a.step ?? 0) - (b.step ?? 0)) };
  }

  tp.report = { read, tooLarge };
})();
