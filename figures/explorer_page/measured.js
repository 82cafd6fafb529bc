"use strict";
tp.tabs = tp.tabs || {};
tp.tabs.measured = {
  title: "Your own model",
  mount(root) {
    root.append(tp.html("p", {}, "Your own model."));
  },
  update() {},
};
