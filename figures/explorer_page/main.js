// The shell: tabs, and the state of the page in its address.
"use strict";
(() => {
  const names = Object.keys(tp.tabs);
  const state = { tab: names[0] };
  const mounted = {};
  let asked = 0;
  let saving = 0;

  /** The state that an address holds; values are text. */
  function read() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    for (const name of Object.keys(state)) if (!(name in given)) delete state[name];
    Object.assign(state, given);
    if (!names.includes(state.tab)) state.tab = names[0];
  }

  function save() {
    saving = 0;
    history.replaceState(null, "", `#${new URLSearchParams(state)}`);
  }

  /** Takes new values into the state, draws once a frame and writes the address once it is quiet. */
  function changed(patch) {
    for (const [name, value] of Object.entries(patch)) {
      if (value === null || value === undefined || value === "") delete state[name];
      else state[name] = String(value);
    }
    if (!asked) asked = requestAnimationFrame(draw);
    clearTimeout(saving);
    saving = setTimeout(save, 150);
  }

  function draw() {
    asked = 0;
    for (const name of names) {
      const here = name === state.tab;
      document.getElementById(`tab-${name}`).setAttribute("aria-selected", here);
      document.getElementById(`tab-${name}`).tabIndex = here ? 0 : -1;
      document.getElementById(`panel-${name}`).hidden = !here;
    }
    const tab = tp.tabs[state.tab];
    if (!mounted[state.tab]) {
      mounted[state.tab] = true;
      tab.mount(document.getElementById(`panel-${state.tab}`), tp.data[state.tab], state, changed);
    }
    tab.update(state);
  }

  function moved(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const ends = { Home: 0, End: names.length - 1 };
    if (!step && !(event.key in ends)) return;
    event.preventDefault();
    const at = step ? (names.indexOf(state.tab) + step + names.length) % names.length : ends[event.key];
    changed({ tab: names[at] });
    document.getElementById(`tab-${names[at]}`).focus();
  }

  for (const name of names) {
    const { title } = tp.tabs[name];
    document
      .getElementById("tablist")
      .append(
        tp.html(
          "button",
          {
            role: "tab",
            id: `tab-${name}`,
            "aria-controls": `panel-${name}`,
            onclick: () => changed({ tab: name }),
            onkeydown: moved,
          },
          title,
        ),
      );
    document
      .getElementById("panels")
      .append(
        tp.html("section", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabindex: 0 }),
      );
  }
  addEventListener("hashchange", () => {
    // What moves by itself, and what is about to be written, would take the place of the address.
    for (const name of names) tp.tabs[name].stay?.();
    clearTimeout(saving);
    read();
    draw();
  });
  read();
  draw();
})();
