"use strict";
tp.tabs = tp.tabs || {};
tp.tabs.thoughts = {
  title: "The thoughts",
  mount(root) {
    root.append(tp.html("p", {}, "The thoughts."));
  },
  update() {},
};
