// What is typed, chosen and slid beside the map.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

/** Two sliders that do what the dot does, in `root`; `moved(patch)` takes what they say. Returns their update. */
tp.sliders = (root, moved) => {
  let [low, high] = [0.01, 20];
  const slider = (id, max, set) => {
    const input = tp.html("input", { type: "range", id, min: 0, max, oninput: () => moved(set(Number(input.value))) });
    root.append(tp.html("label", { for: id }, `${id} `, input));
    return input;
  };
  root.classList.add("sliders");
  const angle = slider("angle", 90, (value) => ({ map_angle: value }));
  const strength = slider("strength", 100, (value) => ({
    map_strength: Number((low * (high / low) ** (value / 100)).toPrecision(3)),
  }));
  return (now, strengths) => {
    [low, high] = [strengths[0], strengths[strengths.length - 1]];
    angle.value = now.angle;
    strength.value = (100 * Math.log(now.strength / low)) / Math.log(high / low);
    angle.setAttribute("aria-valuetext", `${tp.chosen(now.angle)} degrees`);
    strength.setAttribute("aria-valuetext", tp.chosen(now.strength));
  };
};

/**
 * The people and the words that are paid for, in `root`. `check(text)` throws one sentence for words that cannot be
 * paid for; `moved(patch)` takes what was chosen.
 */
tp.rewardForm = (root, tables, check, moved) => {
  const box = tp.html("input", { type: "text", id: "words", autocomplete: "off" });
  const known = tp.html("p", { class: "note" });
  const mistake = tp.html("p", { class: "error", role: "alert" });
  const progress = tp.html("p", { class: "note", role: "status" });
  const people = tp.html(
    "select",
    { id: "world", onchange: () => moved({ map_world: people.value, map_words: null }) },
    tables.map((table) => tp.html("option", { value: table.name }, table.title)),
  );
  const back = tp.html("button", { type: "button", id: "unpay", onclick: () => paid("") }, "As it was");

  function paid(text) {
    box.value = text;
    mistake.textContent = "";
    moved({ map_words: text });
  }

  function submit(event) {
    event.preventDefault();
    const text = box.value.trim();
    try {
      if (text) check(text);
      paid(text);
    } catch (error) {
      mistake.textContent = error.message;
    }
  }

  root.append(
    tp.html(
      "form",
      { class: "own", onsubmit: submit },
      tables.length > 1 ? tp.html("label", { for: "world" }, "people ", people) : null,
      tp.html("label", { for: "words" }, "pay for words of your own ", box),
      tp.html("button", { type: "submit", id: "pay" }, "Pay"),
      back,
      known,
      mistake,
      progress,
    ),
  );
  return {
    /** What is paid for now. */
    show(world, words, own) {
      people.value = world.table.name;
      if (document.activeElement !== box) box.value = words;
      const units = world.table.units.slice(0, world.V).filter((unit) => unit !== ".");
      known.textContent = `They say: ${units.join(" ")}`;
      box.placeholder = `such as: ${units.slice(-2).join(" ")}`;
      back.hidden = !own;
    },
    mistake: (text) => (mistake.textContent = text),
    progress: (text) => (progress.textContent = text),
  };
};

/** What the two ends of the angle pay for. */
tp.angleWords = (world, scores, own) => {
  const { units, personas, helpful } = world.table;
  if (own)
    return (
      "At 0° RL is paid for what the people differ in, of these words; at 90° for the rest, which tells nobody from " +
      "another. Dotted: your reward as it is."
    );
  const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 3);
  const words = best.map((word) => units[word]).join(", ");
  return `At 0° RL is paid for being ${tp.name(personas[helpful])}, at 90° for words that tell nobody from another: ${words} pay most.`;
};
