// The nearest mix of every prompt, between the personas, and its path as RL grows stronger.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

/** The drawing of a world's mixes in `root`: K corners, of which every mix is a weighted mean. */
tp.simplex = (root) => {
  const [middle, radius] = [{ x: 170, y: 168 }, 130];
  const drawing = tp.svg("svg", { viewBox: "0 0 340 270", class: "simplex", role: "img" });
  const frame = tp.svg("g");
  const paths = tp.svg("g");
  const dots = tp.svg("g");
  drawing.append(frame, paths, dots);
  root.append(drawing);
  let corners = [];
  const place = (weights) => {
    const sum = (axis) => weights.reduce((total, w, k) => total + w * corners[k][axis], 0).toFixed(1);
    return [sum("x"), sum("y")];
  };

  return {
    /** A new world: its corners, and where the base is at every prompt. */
    world(world) {
      const names = world.table.personas.map(tp.name);
      corners = names.map((_, k) => {
        const turn = (2 * Math.PI * k) / names.length - Math.PI / 2;
        return { x: middle.x + radius * Math.cos(turn), y: middle.y + radius * Math.sin(turn) };
      });
      frame.replaceChildren(
        tp.svg("path", {
          d: `M${corners.map((corner) => `${corner.x.toFixed(1)} ${corner.y.toFixed(1)}`).join("L")}Z`,
          class: "hull",
        }),
        ...names.map((name, k) => {
          const above = corners[k].y < middle.y;
          return tp.svg(
            "text",
            { x: corners[k].x, y: corners[k].y + (above ? -10 : 20), "text-anchor": "middle", class: "corner" },
            name,
          );
        }),
        ...world.gates.map((gate) => {
          const [cx, cy] = place(gate);
          return tp.svg("circle", { cx, cy, r: 3.5, class: "start" });
        }),
      );
      paths.replaceChildren();
    },
    /** The paths of all prompts: [strength][C] weights, or nothing while they are not known. */
    path(along) {
      if (!along) return paths.replaceChildren();
      const lines = along[0].map((_, c) => `M${along.map((weights) => place(weights[c]).join(" ")).join("L")}`);
      return paths.replaceChildren(...lines.map((d) => tp.svg("path", { d, class: "way" })));
    },
    /** The nearest mix of every prompt, now; prompts whose mixes lie together share a dot. */
    mixes(world, weights) {
      const groups = [];
      weights.forEach((w, c) => {
        const [x, y] = place([...w]).map(Number);
        const near = groups.find((group) => Math.hypot(group.x - x, group.y - y) < 11);
        if (near) near.members.push(c);
        else groups.push({ x, y, members: [c] });
      });
      dots.replaceChildren(
        ...groups.map(({ x, y, members }) => {
          const text = members.length === weights.length ? "all" : members.map((c) => c + 1).join(",");
          return tp.svg(
            "g",
            { transform: `translate(${x} ${y})`, class: "mix" },
            tp.svg("title", {}, members.map((c) => `${c + 1}: ${tp.mixText(world, weights[c])}`).join("\n")),
            tp.svg("ellipse", { rx: 5.5 + 2.8 * text.length, ry: 8.5 }),
            tp.svg("text", { y: 3.5, "text-anchor": "middle" }, text),
          );
        }),
      );
      drawing.setAttribute(
        "aria-label",
        `The nearest mix at each prompt. ${weights.map((w, c) => `Prompt ${c + 1}: ${tp.mixText(world, w)}`).join(". ")}`,
      );
    },
  };
};

/** A person's name as it is written. */
tp.name = (persona) => persona[0].toUpperCase() + persona.slice(1);

/** Weights in words: Larry 3%, Bob 10%, Alice 87%. */
tp.mixText = (world, weights) =>
  world.table.personas.map((name, k) => `${tp.name(name)} ${tp.percent(weights[k])}`).join(", ");
