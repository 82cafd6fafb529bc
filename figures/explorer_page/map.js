"use strict";
tp.tabs = tp.tabs || {};
tp.tabs.map = {
  title: "The map",
  mount(root) {
    root.append(tp.html("p", {}, "The map."));
  },
  update() {},
};
