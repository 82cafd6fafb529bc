// The drift in three parts, and the samples that would show the part that no mix explains.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});

tp.MEANINGS = {
  selection: "choosing among the people: more of one, less of another",
  switching: "changing from one person to another in mid-answer",
  novelty: "saying what none of them would say there",
};
tp.ODDS = 20;
tp.RUNS = 20;
tp.MOST = 200000; // answers after which a run is given up

/** The bar of a budget, in `top`, and its table, in `root`. */
tp.budgetTable = (top, root) => {
  const names = Object.keys(tp.MEANINGS);
  const pieces = names.map((name) => tp.html("span", { class: `piece ${name}` }));
  const cells = names.map((name) => [tp.html("td"), tp.html("td")]);
  const total = tp.html("td");
  const proof = tp.html("p", { class: "note" });
  top.append(tp.html("div", { class: "bar", "aria-hidden": "true" }, pieces));
  root.append(
    tp.html(
      "table",
      { class: "parts" },
      tp.html(
        "thead",
        {},
        tp.html(
          "tr",
          {},
          ...["part of the drift", "nats", "share"].map((text) => tp.html("th", { scope: "col" }, text)),
        ),
      ),
      tp.html(
        "tbody",
        {},
        names.map((name, i) =>
          tp.html(
            "tr",
            {},
            tp.html("th", { scope: "row" }, tp.html("b", { class: name }, name), `: ${tp.MEANINGS[name]}`),
            cells[i],
          ),
        ),
        tp.html(
          "tr",
          { class: "sum" },
          tp.html("th", { scope: "row" }, "all: how far the answers moved from the base (KL; 1 nat is 1.44 bits)"),
          total,
          tp.html("td"),
        ),
      ),
    ),
    proof,
  );
  return (budget) => {
    names.forEach((name, i) => {
      const share = budget.total > 0 ? Math.max(budget[name], 0) / budget.total : 0;
      pieces[i].style.width = `${100 * share}%`;
      pieces[i].textContent = share > 0.3 ? `${name} ${tp.percent(share)}` : share > 0.14 ? tp.percent(share) : "";
      cells[i][0].textContent = tp.number(Math.max(budget[name], 0));
      cells[i][1].textContent = tp.percent(share);
    });
    total.textContent = tp.number(budget.total);
    const bound = tp.number(Math.max(budget.gap, 1e-12), 1);
    proof.textContent = `${budget.certified ? "Proven to" : "Not certain here, only to"} ${bound} nats: no mix comes nearer than the one found. All answers are counted, none are sampled: every number is exact.`;
  };
};

/** The button that draws answers until their evidence against every mix is 1 in 20, in `root`. */
tp.draws = (root) => {
  const law = tp.html("p");
  const told = tp.html("p", { role: "status" });
  const chart = tp.svg("svg", {
    viewBox: "0 0 300 70",
    preserveAspectRatio: "none",
    class: "walk",
    "aria-hidden": "true",
  });
  const button = tp.html(
    "button",
    { type: "button", id: "draw", onclick: run },
    "Draw answers until it shows, 20 times",
  );
  root.append(law, button, chart, told);
  let now = null;
  let seed = 0;
  let timer = 0;
  const wanted = () => Math.log(tp.ODDS) / now.budget.hull;

  function run() {
    clearTimeout(timer);
    button.disabled = true;
    const goal = Math.log(tp.ODDS);
    const runs = Array.from({ length: tp.RUNS }, () => ({
      each: tp.sampling.evidence(now.world, now.policy, now.budget.weights, ++seed),
      walk: [0],
    }));
    let at = 0;
    const slice = () => {
      const until = performance.now() + 12;
      while (at < runs.length && performance.now() < until) {
        const { each, walk } = runs[at];
        for (let i = 0; i < 100 && each.log < goal && each.count < tp.MOST; i++) walk.push(each.draw().log);
        if (each.log >= goal || each.count >= tp.MOST) at++;
      }
      const sofar = `${at} of ${runs.length} runs are done.`;
      if (told.textContent !== sofar) told.textContent = sofar;
      if (at < runs.length) timer = setTimeout(slice, 0);
      else finished(runs);
    };
    slice();
  }

  function finished(runs) {
    button.disabled = false;
    const counts = runs.map(({ each }) => each.count);
    const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
    const first = runs[0].each;
    const odds = Math.exp(Math.min(first.log, 700));
    const short = counts.filter((count) => count >= tp.MOST).length;
    told.textContent =
      `After ${tp.count(first.count, "answer")}: a mix would come this far once in ${tp.number(odds)} times at most. ` +
      `${runs.length} such runs took ${tp.count(mean, "answer")} on average${short ? `, ${short} of them given up` : ""}.`;
    draw(runs.map(({ walk }) => walk));
  }

  /** The evidence after each answer of every run, the first one in colour, with the line that they have to pass. */
  function draw(walks) {
    const [low, high] = [
      Math.min(...walks.map((walk) => Math.min(...thinned(walk).map((p) => p[1])))),
      1.3 * Math.log(tp.ODDS),
    ];
    const longest = Math.max(...walks.map((walk) => walk.length - 1));
    const y = (value) => 66 - (62 * (Math.min(value, high) - low)) / (high - low);
    const path = (walk, kind) =>
      tp.svg("path", {
        d: `M${thinned(walk)
          .map(([i, value]) => `${((300 * i) / longest).toFixed(1)} ${y(value).toFixed(1)}`)
          .join("L")}`,
        class: kind,
      });
    chart.replaceChildren(
      ...walks.slice(1).map((walk) => path(walk, "path faint")),
      path(walks[0], "path"),
      tp.svg("path", { d: `M0 ${y(Math.log(tp.ODDS)).toFixed(1)}H300`, class: "goal" }),
    );
  }

  /** At most 300 points of a walk, and its last one. */
  function thinned(walk) {
    const every = Math.ceil(walk.length / 300);
    return walk.map((value, i) => [i, value]).filter(([i]) => i % every === 0 || i === walk.length - 1);
  }

  return (world, policy, budget) => {
    const same = now && now.policy === policy;
    now = { world, policy, budget };
    if (same) return;
    clearTimeout(timer);
    seed = 0;
    told.textContent = "";
    chart.replaceChildren();
    const never = wanted() > tp.MOST / 4;
    button.disabled = never;
    law.textContent = never
      ? `How many answers would show that no mix says this? More than ${tp.count(tp.MOST / 4, "answer")}: as good as inside.`
      : `How many answers show, at odds of 1 in ${tp.ODDS}, that no mix says this? The law: about ${tp.count(Math.ceil(wanted()), "answer")} ` +
        `against the nearest mix, ${tp.answersNeeded(world, budget.hull)} if its ${world.C * (world.K - 1)} weights have to be found from them too (the map’s lines).`;
  };
};
