// What all tabs draw with: elements, numbers, colours, and words coloured by who would say them.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

/** An HTML element: tp.html("p", {class: "note", onclick: f}, "text", child, ...). */
tp.html = (tag, attributes = {}, ...children) => tp.fill(document.createElement(tag), attributes, children);

/** An SVG element; the namespace is read from a parsed <svg>, so that no address stands in the page. */
tp.svg = (tag, attributes = {}, ...children) => {
  if (!tp.svg.space) {
    const parsed = document.createElement("div");
    parsed.innerHTML = "<svg></svg>";
    tp.svg.space = parsed.firstChild.namespaceURI;
  }
  return tp.fill(document.createElementNS(tp.svg.space, tag), attributes, children);
};

/** Sets attributes (functions become listeners: onclick) and appends children (strings become text). */
tp.fill = (element, attributes, children = []) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

/** A number as people read it: 0.0123, 1.23, 12.3, 1,230. */
tp.number = (value, digits = 2) => {
  if (Number.isNaN(value)) return "unknown";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const rounded = Number(value.toPrecision(digits));
  if (rounded === 0) return "0";
  const size = Math.abs(rounded);
  if (size < 1e-4) {
    const [front, power] = rounded.toExponential(digits - 1).split("e-");
    return `${front.replace("-", "−")}·10⁻${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
  }
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return rounded
    .toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    .replace("-", "−");
};

/** A number that was chosen, to three digits, without zeros at its end: 30, 0.25. */
tp.chosen = (value) => String(Number(value.toPrecision(3)));

/** A number of things: 1 answer, 74 answers, 1,230 answers. */
tp.count = (value, thing) => {
  const whole = Math.max(1, Math.round(value));
  return `${tp.number(whole, Math.min(String(whole).length, 3))} ${thing}${whole === 1 ? "" : "s"}`;
};

/** A share as percent. */
tp.percent = (value) => `${(100 * value).toFixed(value > 0 && value < 0.095 ? 1 : 0)}%`;

/** Okabe and Ito's colours, as in the figures. */
tp.colours = { blue: "#0072B2", orange: "#E69F00", green: "#009E73", red: "#D55E00", purple: "#CC79A7" };

/** One colour for each part of the drift, the same on every tab. */
tp.parts = { selection: tp.colours.blue, switching: tp.colours.orange, novelty: tp.colours.red };

/** A colour in CSS from [red, green, blue, 255]. */
tp.rgb = (colour) => `rgb(${colour.slice(0, 3).join(",")})`;

/** Cividis at t from 0 to 1, [red, green, blue, 255]: the colours of every map. */
tp.cividis = (() => {
  const stops = [0x00224e, 0x123570, 0x3b496c, 0x575d6d, 0x707173, 0x8a8678, 0xa59c74, 0xc3b369, 0xe1cc55, 0xfee838];
  const parts = (hex) => [hex >> 16, (hex >> 8) & 255, hex & 255];
  return (t) => {
    const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    const [a, b] = [parts(stops[i]), parts(stops[i + 1])];
    return [...a.map((x, j) => Math.round(x + (at - i) * (b[j] - x))), 255];
  };
})();

/** Times as likely from which a word is coloured in full: one false alarm in twenty. */
tp.FULL = 20;

/**
 * A word coloured by ratio = p_policy / p_mix of it, given the words before: neutral at 1, orange where the policy says
 * it more often than the nearest mix of the personas, blue where less. `detail` is said by a screen reader and on hover;
 * a `novel` word has an outline.
 */
tp.word = (text, ratio, detail, novel = false) => {
  const size = ratio > 0 ? Math.min(Math.abs(Math.log(ratio)) / Math.log(tp.FULL), 1) : 1;
  const kind = size < 0.1 ? "" : ratio > 1 ? " more" : " less";
  const said = detail || `${tp.number(ratio)} times as likely as in the nearest mix`;
  return tp.html(
    "span",
    { class: `word${kind}${novel ? " new" : ""}`, style: `--size:${size.toFixed(3)}`, title: said },
    text,
  );
};

/** What the colours of words mean; `outline` says what an outline does, where words have one. */
tp.wordLegend = (outline) =>
  tp.html(
    "p",
    { class: "legend" },
    "Words: ",
    tp.word("as the nearest mix", 1),
    " ",
    tp.word("3 times as likely", 3),
    " ",
    tp.word(`${tp.FULL} times or more`, tp.FULL),
    " ",
    tp.word("a third as likely", 1 / 3),
    outline && [" ", tp.word("outlined", 1, outline, true), `: ${outline}.`],
  );

/** Lets a tab show that something failed, in one sentence. */
tp.sentence = (kind, text) => tp.html("p", { class: kind, role: kind === "error" ? "alert" : "status" }, text);
