// Reads what `toypersona measure FILE --json REPORT` writes, or says in one sentence why it cannot. No DOM.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
(() => {
  const COMMAND = "toypersona measure FILE --json REPORT.json";
  const MOST_BYTES = 20e6;
  const ESTIMATES = ["total", "selection", "hull_distance", "switching", "novelty", "selection_fraction"];
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

  /** What takes the parts out of one step, or says what is wrong with them. */
  function taker(given, at, version, name) {
    const damaged = (what) => fail(`${name} is damaged: in step ${at + 1}, ${what}.`);
    const of = (key) =>
      key in given
        ? given[key]
        : fail(`${name} lacks ${key} in step ${at + 1}: it was written by toypersona ${version}, and this page reads ${OLDEST} and later, so measure again.`);
    const numberIn = (parent, key, what) => number(isObject(parent) && key in parent ? parent[key] : "missing", what, name);
    const objectAt = (key) => (isObject(of(key)) ? given[key] : damaged(`${key} are missing`));
    const listAt = (key) => (Array.isArray(of(key)) ? given[key] : damaged(`${key} is no list`));
    const rowsAt = (key) => listAt(key).map((each) => (isObject(each) ? each : damaged(`${key} are damaged`)));
    const estimate = (pair, what) =>
      isObject(pair)
        ? { value: numberIn(pair, "value", `${what}.value`), error: numberIn(pair, "std_error", `${what}.std_error`) }
        : damaged(`${what} is no estimate`);
    return { damaged, of, numberIn, objectAt, listAt, rowsAt, estimate };
  }

  /** The mixes of a step, the numbers of each in the order of the personas. */
  function mixesOf(take) {
    const personas = take.listAt("personas");
    if (!personas.length || personas.some((each) => typeof each !== "string")) take.damaged("personas are no names");
    const mix = (weights, what) =>
      isObject(weights) ? personas.map((persona) => take.numberIn(weights, persona, `${what} of ${persona}`)) : take.damaged(`${what} are no weights`);
    const mixes = (key) => new Map(Object.entries(take.objectAt(key)).map(([prompt, weights]) => [prompt, mix(weights, key)]));
    const found = { personas, weights: mixes("weights"), before: mixes("base_weights"), pooledWeights: mix(take.of("pooled_weights"), "pooled_weights") };
    for (const prompt of Object.keys(take.objectAt("prompts"))) {
      if (!found.weights.has(prompt) || !found.before.has(prompt)) take.damaged(`prompt “${prompt.slice(0, 40)}” has no mix`);
    }
    return found;
  }

  /** Reads one step. */
  function step(given, at, version, name) {
    const take = taker(given, at, version, name);
    if (!isObject(given)) take.damaged("there are no numbers");
    const numberAt = (key) => number(take.of(key), key, name);
    const estimates = take.objectAt("estimates");
    const estimateAt = (key) =>
      key in estimates ? take.estimate(estimates[key], key) : fail(`${name} lacks the estimate ${key}: measure again with toypersona ${OLDEST} or later.`);
    const lit = (each, names, what) => Object.fromEntries(names.map((key) => [key, take.numberIn(each, key, `${key} of a ${what}`)]));
    const [rewards, floor] = [take.of("rewards"), take.of("noise_floor")];
    return {
      ...mixesOf(take),
      step: take.of("step") === null ? null : numberAt("step"),
      numSamples: numberAt("num_samples"),
      numBaseSamples: numberAt("num_base_samples"),
      prompts: new Map(Object.keys(given.prompts).map((prompt) => [prompt, take.numberIn(given.prompts, prompt, "weight of a prompt")])),
      estimates: Object.fromEntries(ESTIMATES.map((key) => [key, estimateAt(key)])),
      baseInside: take.of("base_inside") === true,
      certified: take.of("certified") === true,
      repaired: take.of("repaired") === true,
      pooled: take.of("pooled") === true,
      logEvidence: numberAt("log_evidence"),
      evidence: String(take.of("evidence_in_words")),
      proofs: numberAt("proofs"),
      responses: take.rowsAt("responses").map((each) => ({ prompt: String(each.prompt), response: String(each.response), ...lit(each, ["nats"], "response") })),
      words: take.rowsAt("words").map((each) => ({ word: String(each.word), ...lit(each, ["nats", "ratio", "num"], "word") })),
      floor: floor === null ? null : take.numberIn(floor, "total", "noise floor"),
      rewards: rewards === null ? null : { policy: take.estimate(rewards.policy, "reward"), base: take.estimate(rewards.base, "reward") },
      notes: take.listAt("notes").map(String),
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
