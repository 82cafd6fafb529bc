// Exact numbers, and nothing else: runs in a page, in a worker and under node. All divergences are in nats.
// A world: C prompts, K personas that are Markov chains over V words, T words an answer, N = V^T answers in
// lexicographic order. The formulas are those of toypersona/hulls.py, measures/drift.py and measures/boundaries.py.
"use strict";
var tp = (globalThis.tp = globalThis.tp || {});
tp.core = (() => {
  const CERTAIN = 1e-9; // nats: a distance whose gap is at most this is certified
  const GOAL = 1e-13; // nats: the gap at which the solver stops
  const NEWTON = 10; // steps of the faster method before the surer one
  const ROUNDS = 70; // steps of both
  const UNMOVED = 1e-12; // nats of drift below which S is 1: rounding would decide it
  const UNREACHED = 1e-16; // probability of a history below which it adds nothing that could be seen

  /** Probabilities that sum to one from logarithms that were rounded. */
  function normal(logs) {
    const row = Float64Array.from(logs, Math.exp);
    const sum = row.reduce((a, b) => a + b);
    return row.map((p) => p / sum);
  }

  /** A world of {personas, units, prompts, length, log_prompts, log_gates, first [C or 1, K, V], next [K, V, V]}. */
  function makeWorld(table) {
    const [K, V, T, C] = [table.personas.length, table.next[0].length, table.length, table.prompts.length];
    const first = table.first.map((rows) => rows.map(normal));
    const next = table.next.map((rows) => Float64Array.from(rows.flatMap((row) => [...normal(row)])));
    const listed = first.map((rows) => rows.map((row, k) => multiplied(row, next[k], V, T)));
    const shared = first.length === 1;
    const of = (parts) => (shared ? Array(C).fill(parts[0]) : parts);
    const gates = table.log_gates.map(normal);
    const world = { table, K, V, T, C, N: V ** T, rho: normal(table.log_prompts), gates, next };
    world.first = of(first);
    world.personas = of(listed);
    world.base = gates.map((w, c) => mixed(w, world.personas[c]));
    world.logBase = world.base.map((row) => row.map(Math.log));
    return world;
  }

  /** Probabilities of all answers of a chain [V^T]. */
  function multiplied(first, next, V, T) {
    let row = first;
    for (let t = 1; t < T; t++) {
      const longer = new Float64Array(row.length * V);
      for (let i = 0; i < row.length; i++)
        for (let v = 0; v < V; v++) longer[i * V + v] = row[i] * next[(i % V) * V + v];
      row = longer;
    }
    return row;
  }

  /** sum_k w_k p_k [N]. */
  function mixed(weights, components) {
    const row = new Float64Array(components[0].length);
    for (let k = 0; k < weights.length; k++)
      for (let x = 0, w = weights[k], p = components[k]; x < row.length; x++) row[x] += w * p[x];
    return row;
  }

  /** One outcome's part of KL(p‖q), p (expm1(-l) + l): never negative, and exact where p is close to q. */
  function divergence(p, q) {
    if (p === 0) return q;
    const l = Math.log(p / q);
    return l < -1 ? q - p + p * l : p * (Math.expm1(-l) + l);
  }

  /** Solves the symmetric K x K system in place, row by row in `a`; the answer is in `b`. */
  function solve(a, b, K) {
    for (let i = 0; i < K; i++) {
      const pivot = a[i * K + i] || 1e-300;
      for (let j = i + 1; j < K; j++) {
        const factor = a[j * K + i] / pivot;
        for (let l = i; l < K; l++) a[j * K + l] -= factor * a[i * K + l];
        b[j] -= factor * b[i];
      }
    }
    for (let i = K - 1; i >= 0; i--) {
      for (let j = i + 1; j < K; j++) b[i] -= a[i * K + j] * b[j];
      b[i] /= a[i * K + i] || 1e-300;
    }
  }

  /**
   * min_w KL(p ‖ sum_k w_k q_k) over the simplex. The certificate of any w: with c_k = sum_x p q_k/m the distance is
   * above the least one by log max_k c_k at most. Steps of a projected Newton method, which is fast from near by, and
   * where these do not arrive, of a primal-dual interior-point method.
   * p: [n] from `from`; q: K arrays [n] from `at`; goal: nats of the gap. Returns {weights, distance, gap}.
   */
  function project(p, from, q, at, n, goal = GOAL) {
    const K = q.length;
    const { w, z, c, step, H, best } = scratch(K);
    w.fill(1 / K);
    z.fill(1 / K);
    let least = Infinity;
    let interior = false;
    for (let round = 0; round < ROUNDS; round++) {
      slopes(p, from, q, at, n, w, c, H);
      let most = c[0];
      for (let k = 1; k < K; k++) most = Math.max(most, c[k]);
      if (most < least) {
        least = most;
        best.set(w);
      }
      if (Math.log(most) <= goal) break;
      // A mix that cannot say what p says has no step, and some cycle: the other method starts inside.
      if (!interior && (round === NEWTON || !Number.isFinite(most))) {
        interior = true;
        w.fill(1 / K);
      } else if (interior) advance(w, z, c, H, step, K);
      else newton(w, c, H, step, K);
    }
    let distance = 0;
    for (let x = 0; x < n; x++) {
      let m = 0;
      for (let k = 0; k < K; k++) m += best[k] * q[k][at + x];
      distance += divergence(p[from + x], m);
    }
    return { weights: best.slice(), distance, gap: Math.max(Math.log(least), 0) };
  }

  /** Room for one problem of K components at a time. */
  const rooms = {};
  function scratch(K) {
    const room = () => new Float64Array(K);
    return (rooms[K] = rooms[K] || {
      w: room(),
      z: room(),
      c: room(),
      step: room(),
      best: room(),
      H: new Float64Array(K * K),
    });
  }

  /** c_k = sum_x p q_k/m [K] and H_kl = sum_x p q_k q_l/m² [K, K]. */
  function slopes(p, from, q, at, n, w, c, H) {
    const K = q.length;
    if (K === 3) return slopesOfThree(p, from, q, at, n, w, c, H);
    c.fill(0);
    H.fill(0);
    for (let x = 0; x < n; x++) {
      const mass = p[from + x];
      if (mass === 0) continue;
      let m = 0;
      for (let k = 0; k < K; k++) m += w[k] * q[k][at + x];
      for (let k = 0; k < K; k++) {
        const share = q[k][at + x] / m;
        c[k] += mass * share;
        for (let l = 0; l < K; l++) H[k * K + l] += (mass * share * q[l][at + x]) / m;
      }
    }
    return undefined;
  }

  /** The same for three components, several times as fast. */
  function slopesOfThree(p, from, q, at, n, w, c, H) {
    const q0 = q[0];
    const q1 = q[1];
    const q2 = q[2];
    let [c0, c1, c2, h00, h01, h02, h11, h12, h22] = [0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (let x = at, y = from; x < at + n; x++, y++) {
      const mass = p[y];
      if (mass === 0) continue;
      const inverse = 1 / (w[0] * q0[x] + w[1] * q1[x] + w[2] * q2[x]);
      const a = q0[x] * inverse;
      const b = q1[x] * inverse;
      const d = q2[x] * inverse;
      c0 += mass * a;
      c1 += mass * b;
      c2 += mass * d;
      h00 += mass * a * a;
      h01 += mass * a * b;
      h02 += mass * a * d;
      h11 += mass * b * b;
      h12 += mass * b * d;
      h22 += mass * d * d;
    }
    c[0] = c0;
    c[1] = c1;
    c[2] = c2;
    H[0] = h00;
    H[1] = H[3] = h01;
    H[2] = H[6] = h02;
    H[4] = h11;
    H[5] = H[7] = h12;
    H[8] = h22;
  }

  /** One projected Newton step: weights that it would take to 0 or below are held there, the others move. */
  function newton(w, c, H, step, K) {
    for (let k = 0; k < K; k++) {
      const held = w[k] * H[k * K + k] <= 1 - c[k];
      step[k] = held ? -w[k] : c[k] - 1;
      if (!held) continue;
      // Its own row and column say no more than that; the diagonal, which is read above, is still its own.
      for (let l = 0; l < K; l++) if (l !== k) H[k * K + l] = H[l * K + k] = 0;
      H[k * K + k] = 1;
    }
    solve(H, step, K);
    let sum = 0;
    for (let k = 0; k < K; k++) sum += w[k] = Math.max(w[k] + step[k], 0);
    for (let k = 0; k < K; k++) w[k] = sum > 0 ? w[k] / sum : 1 / K;
  }

  /** One step of the interior-point method; the weights are divided by their sum, which the optimum makes 1. */
  function advance(w, z, c, H, step, K) {
    let mu = 0;
    for (let k = 0; k < K; k++) mu += (w[k] * z[k]) / K;
    const target = Math.min(0.2 * mu, mu ** 1.5);
    for (let k = 0; k < K; k++) {
      H[k * K + k] += z[k] / w[k];
      step[k] = c[k] - 1 + target / w[k];
    }
    solve(H, step, K);
    let along = 1;
    for (let k = 0; k < K; k++) {
      c[k] = (target - z[k] * step[k]) / w[k] - z[k]; // the step of z
      if (step[k] < 0) along = Math.min(along, (-0.995 * w[k]) / step[k]);
      if (c[k] < 0) along = Math.min(along, (-0.995 * z[k]) / c[k]);
    }
    let sum = 0;
    for (let k = 0; k < K; k++) {
      w[k] += along * step[k];
      z[k] += along * c[k];
      sum += w[k];
    }
    for (let k = 0; k < K; k++) w[k] /= sum;
  }

  /** Probabilities of all beginnings of 0..T words, from those of answers: levels[t] is [V^t]. */
  function beginnings(row, V, T) {
    const levels = Array(T + 1);
    levels[T] = row;
    for (let t = T - 1; t >= 0; t--) {
      levels[t] = new Float64Array(V ** t);
      for (let i = 0; i < levels[t + 1].length; i++) levels[t][Math.floor(i / V)] += levels[t + 1][i];
    }
    return levels;
  }

  /** base · exp(s · reward): {rows [C, N], levels [C][T + 1]}. */
  function tilt(world, reward, strength) {
    const rows = world.logBase.map((logs, c) => {
      let top = -Infinity;
      const row = logs.map((l, x) => {
        const value = l === -Infinity ? l : l + strength * reward[c][x];
        if (value > top) top = value;
        return value;
      });
      let sum = 0;
      for (let x = 0; x < row.length; x++) sum += row[x] = Math.exp(row[x] - top);
      for (let x = 0; x < row.length; x++) row[x] /= sum;
      return row;
    });
    return { rows, levels: rows.map((row) => beginnings(row, world.V, world.T)) };
  }

  /** The nearest mix of a policy at every prompt: [C] of {weights, distance, gap}. */
  const nearest = (world, policy) => policy.rows.map((row, c) => project(row, 0, world.personas[c], 0, world.N));

  /** E_c sum_h pi(h|c) of the distance of the next word's law from the personas' mixes, and of its gap. */
  function tokenHull(world, policy) {
    const { V, T, K } = world;
    const law = new Float64Array(V);
    let [distance, gap] = [0, 0];
    for (let c = 0; c < world.C; c++)
      for (let t = 0; t < T; t++) {
        const [here, then] = [policy.levels[c][t], policy.levels[c][t + 1]];
        for (let h = 0; h < here.length; h++) {
          if (here[h] < UNREACHED) continue;
          for (let v = 0; v < V; v++) law[v] = then[h * V + v] / here[h];
          const said = t === 0 ? world.first[c] : world.next;
          const found = project(law, 0, said, t === 0 ? 0 : (h % V) * V, V, Math.min(GOAL / here[h], CERTAIN));
          distance += world.rho[c] * here[h] * found.distance;
          gap += world.rho[c] * here[h] * found.gap;
        }
      }
    return { distance, gap };
  }

  /** The drift budget of a policy, as measures.drift.budget. */
  function budget(world, policy, prompt = nearest(world, policy)) {
    const mean = (values) => values.reduce((sum, value, c) => sum + world.rho[c] * value, 0);
    const total = mean(
      policy.rows.map((row, c) => row.reduce((sum, p, x) => sum + divergence(p, world.base[c][x]), 0)),
    );
    const token = tokenHull(world, policy);
    const hull = mean(prompt.map((found) => found.distance));
    const gap = Math.max(mean(prompt.map((found) => found.gap)), token.gap);
    const selection = total - hull;
    return {
      total,
      hull,
      selection,
      switching: hull - token.distance,
      novelty: token.distance,
      fraction: total <= UNMOVED ? 1 : selection / total,
      weights: prompt.map((found) => found.weights),
      largest: mean(prompt.map((found) => Math.max(...found.weights))),
      gap,
      certified: gap <= CERTAIN,
    };
  }

  /** The first strength at which values reach a level from below, linear in its logarithm; 0 if at once, ∞ if never. */
  function crossing(strengths, values, level) {
    const at = values.findIndex((value) => value >= level);
    if (at <= 0) return at === 0 ? 0 : Infinity;
    const [low, high] = [values[at - 1], values[at]];
    const share = Number.isFinite(low) && high > low ? (level - low) / (high - low) : 1;
    return strengths[at - 1] * (strengths[at] / strengths[at - 1]) ** share;
  }

  /** Nats that samples need before they show an exit at odds of 1 in 20, where the mix has to be found from them too. */
  const nats = (world) => Math.log(20) + (world.C * (world.K - 1)) / 2;

  /** The boundaries along one row of the map, as measures.boundaries: {half, vertex, detectable(n)}. */
  function boundaries(world, strengths, fraction, largest, hull) {
    const told = hull.map((d) => Math.log(Math.max(d, 1e-300)));
    return {
      half: crossing(
        strengths,
        fraction.map((s) => -s),
        -0.5,
      ),
      vertex: crossing(
        strengths,
        largest.map((w) => -Math.sqrt(Math.max(1 - w, 0))),
        -Math.sqrt(1 - 0.99),
      ),
      detectable: (samples) => crossing(strengths, told, Math.log(nats(world) / samples)),
    };
  }

  return { makeWorld, mixed, project, beginnings, tilt, nearest, budget, crossing, nats, boundaries };
})();
