// The map: what is left of selection at every strength and angle, its boundaries, and one dot to drag.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

tp.LINES = [
  { label: "half of the drift is selection", take: (b) => b.half, class: "half" },
  { label: "nobody left to choose: one person has 99% of the nearest mix", take: (b) => b.vertex, class: "vertex" },
  { label: "100 answers show that no mix talks like that", take: (b) => b.detectable(100), class: "told" },
  { label: "10,000 answers show it", take: (b) => b.detectable(10000), class: "told many" },
];

/** One row of a map at any angle: what was computed at the angles below and above it, in proportion. */
function between(map, angle) {
  const i = Math.min(Math.max(map.angles.findIndex((a) => a >= angle) - 1, 0), map.angles.length - 2);
  const up = (angle - map.angles[i]) / (map.angles[i + 1] - map.angles[i]);
  const [low, high] = [map.rows[i], map.rows[i + 1]];
  if (!low || !high) return null;
  const along = (name) => low[name].map((value, j) => (1 - up) * value + up * high[name][j]);
  return { fraction: along("fraction"), largest: along("largest"), hull: along("hull") };
}

/** The map's drawing in `root`; `moved(angle, strength)` is called when the dot is dragged or stepped. */
tp.heat = (root, moved) => {
  const [left, top, width, height] = [46, 10, 360, 250];
  let strengths = [0.01, 20];
  const span = () => Math.log(strengths[strengths.length - 1] / strengths[0]);
  const xOf = (s) => left + (width * Math.log(s / strengths[0])) / span();
  const yOf = (angle) => top + height * (1 - angle / 90);
  const at = { angle: 0, strength: 1 };

  const canvas = tp.html("canvas", { width: 180, height: 126, "aria-hidden": "true" });
  const lines = tp.svg("g");
  const dot = tp.svg("circle", { r: 9, class: "dot" });
  const handle = tp.svg(
    "g",
    {
      tabindex: 0,
      role: "slider",
      id: "dot",
      "aria-label": "The dot on the map: left and right for strength, up and down for the angle",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      onkeydown: stepped,
    },
    dot,
  );
  const axes = tp.svg("g", { class: "axes" });
  const drawing = tp.svg(
    "svg",
    { viewBox: `0 0 ${left + width + 8} ${top + height + 42}`, onpointerdown: grabbed, onpointermove: dragged },
    axes,
    lines,
    handle,
  );
  const progress = tp.html("p", { class: "progress", role: "status" });
  const frame = tp.html("div", { class: "heat" }, canvas, drawing, progress);
  const legend = tp.html(
    "ul",
    { class: "lines" },
    ...tp.LINES.map((line) =>
      tp.html(
        "li",
        {},
        tp.svg(
          "svg",
          { viewBox: "0 0 28 8", class: "swatch" },
          tp.svg("path", { d: "M1 4H27", class: `line ${line.class}` }),
        ),
        line.label,
      ),
    ),
  );
  root.append(frame, shades(), legend);

  function shades() {
    const gradient = Array.from({ length: 11 }, (_, i) => tp.rgb(tp.cividis(i / 10))).join(",");
    return tp.html(
      "p",
      { class: "shades" },
      "Share of selection S: 0 ",
      tp.html("span", { class: "ramp", style: `background:linear-gradient(90deg,${gradient})` }),
      " 1",
    );
  }

  function drawAxes() {
    const marks = [0.01, 0.1, 1, 10].filter((s) => s >= strengths[0] * 0.999 && s <= strengths[strengths.length - 1]);
    const text = (x, y, said, anchor = "middle") => tp.svg("text", { x, y, "text-anchor": anchor }, said);
    axes.replaceChildren(
      tp.svg("rect", { x: left, y: top, width, height, class: "edge" }),
      ...marks.map((s) => text(xOf(s), top + height + 15, String(s))),
      ...[0, 30, 60, 90].map((angle) => text(left - 5, yOf(angle) + 4, `${angle}°`, "end")),
      text(left + width / 2, top + height + 33, "strength of RL, 1/β: weak to strong"),
      tp.svg(
        "text",
        { transform: `translate(11 ${top + height / 2}) rotate(-90)`, "text-anchor": "middle" },
        "angle of the reward",
      ),
    );
  }

  /** S at any place, linear in angle and log strength between the places that were computed. */
  function shade(map) {
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    const last = map.strengths.length - 1;
    const columns = Array.from({ length: canvas.width }, (_, x) => {
      const s = strengths[0] * Math.exp((span() * (x + 0.5)) / canvas.width);
      const j =
        Math.min(
          Math.max(
            map.strengths.findIndex((value) => value >= s),
            1,
          ),
          last,
        ) - 1;
      return [j, Math.log(s / map.strengths[j]) / Math.log(map.strengths[j + 1] / map.strengths[j])];
    });
    for (let y = 0; y < canvas.height; y++) {
      const row = between(map, 90 * (1 - (y + 0.5) / canvas.height));
      for (let x = 0; x < canvas.width; x++) {
        const [j, along] = columns[x];
        const colour = row
          ? tp.cividis(row.fraction[j] + along * (row.fraction[j + 1] - row.fraction[j]))
          : [128, 128, 128, 60];
        picture.data.set(colour, 4 * (y * canvas.width + x));
      }
    }
    context.putImageData(picture, 0, 0);
  }

  /** A boundary from angle to angle; where it is passed from the start it begins at the map's edge. */
  function boundary(rows, line) {
    let path = "";
    let open = false;
    rows.forEach((row, angle) => {
      const s = row ? line.take(row) : Infinity;
      const known = s > 0 && s < Infinity;
      if (known || (open && s === 0))
        path += `${open ? "L" : "M"}${xOf(s || strengths[0]).toFixed(1)} ${yOf(angle).toFixed(1)}`;
      open = known;
    });
    return [tp.svg("path", { d: path, class: "halo" }), tp.svg("path", { d: path, class: `line ${line.class}` })];
  }

  function grabbed(event) {
    drawing.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    dragged(event);
  }

  function dragged(event) {
    if (!(event.buttons & 1)) return;
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    go(((top + height - place.y) * 90) / height, strengths[0] * Math.exp(((place.x - left) * span()) / width));
  }

  function stepped(event) {
    const size = event.shiftKey ? 1 : 5;
    const steps = { ArrowUp: [size, 0], ArrowDown: [-size, 0], ArrowRight: [0, size], ArrowLeft: [0, -size] }[
      event.key
    ];
    if (!steps) return;
    event.preventDefault();
    go(at.angle + steps[0], at.strength * Math.exp((steps[1] * span()) / 100));
  }

  function go(angle, strength) {
    const clipped = Math.min(Math.max(strength, strengths[0]), strengths[strengths.length - 1]);
    // At once, not when it is drawn: a second key may come before.
    Object.assign(at, {
      angle: Math.round(2 * Math.min(Math.max(angle, 0), 90)) / 2,
      strength: Number(clipped.toPrecision(3)),
    });
    moved(at.angle, at.strength);
  }

  return {
    /** Draws a map of a world: {angles, strengths, rows}, a row with fraction, largest and hull; missing ones are grey. */
    draw(world, map, own) {
      strengths = map.strengths;
      drawAxes();
      shade(map);
      const rows = Array.from({ length: 91 }, (_, angle) => between(map, angle)).map(
        (row) => row && tp.core.boundaries(world, strengths, row.fraction, row.largest, row.hull),
      );
      const mark = own === null ? [] : [tp.svg("path", { d: `M${left} ${yOf(own)}h${width}`, class: "own-angle" })];
      lines.replaceChildren(...tp.LINES.flatMap((line) => boundary(rows, line)), ...mark);
    },
    /** Says over the map how far it is. */
    progress: (text) => (progress.textContent = text),
    /** Moves the dot. */
    place(angle, strength) {
      Object.assign(at, { angle, strength });
      handle.setAttribute("transform", `translate(${xOf(strength).toFixed(1)} ${yOf(angle).toFixed(1)})`);
      handle.setAttribute("aria-valuenow", Math.round((100 * Math.log(strength / strengths[0])) / span()));
      handle.setAttribute("aria-valuetext", `strength ${tp.chosen(strength)}, angle ${tp.chosen(angle)} degrees`);
    },
  };
};
