"""Precision: every part of the drift budget against 80-bit arithmetic, from strong training down to 1e-10 nats.

The same log-probabilities are measured by the library, by the textbook formulas in float64, and in long double, where
weights are polished by Newton's method on the faces that the library found. Then a policy is trained in float32 and
measured along its path. Exits with an error where the library is off by more than one part in a thousand.
"""

from benchmarks import measure

# isort: split
import jax
import jax.numpy as jnp
import numpy as np

from toypersona import chains, hulls, theory, trajectories
from toypersona.measures import drift
from toypersona.policies import mixture
from toypersona.rules import gradient
from toypersona.rules.rule import Task, UpdateRule

K, V, T = 4, 8, 3
PARTS = ("total", "hull_distance", "token_hull_distance", "selection", "switching")
ALLOWED, SMALLEST = 1e-3, 1e-10
Long = np.longdouble
WEIGHTS = jax.jit(lambda log_p, log_components: hulls.project_batch(log_p, log_components).weights)


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Gaussian elimination, because NumPy's has no long double."""
    a, b = matrix.copy(), right.copy()
    for i in range(len(b)):
        top = i + np.argmax(np.abs(a[i:, i]))
        a[[i, top]], b[[i, top]] = a[[top, i]], b[[top, i]]
        for j in range(i + 1, len(b)):
            factor = a[j, i] / a[i, i]
            a[j, i:] -= factor * a[i, i:]
            b[j] -= factor * b[i]
    for i in reversed(range(len(b))):
        b[i] = (b[i] - a[i, i + 1 :] @ b[i + 1 :]) / a[i, i]
    return b


def long_distance(p: np.ndarray, q: np.ndarray, weights: np.ndarray) -> Long:
    """min_w KL(p ‖ w q), from weights that are nearly right."""
    chosen = weights > 1e-6
    while True:
        w, some = weights[chosen].astype(Long), q[chosen]
        for _ in range(5):
            mix = w @ some
            w = w + _solved((some * (p / mix**2)) @ some.T, some @ (p / mix) - 1)
        if (w > 0).all():
            return (p * np.log(p / (w @ some))).sum()
        chosen[np.flatnonzero(chosen)[w <= 0]] = False


def long_budget(p: np.ndarray, base: np.ndarray, q: np.ndarray) -> dict[str, float]:
    """The budget in long double: p [N], base [N], q [K, N]."""
    narrow_p, narrow_q = np.log(p.astype(float)), np.log(q.astype(float))
    total = (p * np.log(p / base)).sum()
    d_prompt = long_distance(p, q, np.asarray(WEIGHTS(narrow_p[None], narrow_q))[0])
    d_token = Long(0)
    for position in range(T):
        tree = (V**position, V, -1)
        nexts, others = p.reshape(tree).sum(-1), q.reshape(K, *tree).sum(-1)
        mass = nexts.sum(-1)
        nexts, others = nexts / mass[:, None], np.moveaxis(others / others.sum(-1, keepdims=True), 0, 1)
        weights = np.asarray(WEIGHTS(np.log(nexts.astype(float)), np.log(others.astype(float))))
        d_token += sum(m * long_distance(*one) for m, *one in zip(mass, nexts, others, weights, strict=True))
    found = (total, d_prompt, d_token, total - d_prompt, d_prompt - d_token)
    return dict(zip(PARTS, map(float, found), strict=True))


def compare(title: str, rows: list[tuple[dict, dict, dict]]) -> dict[str, dict[str, float]]:
    """Print and return the worst relative errors among values of at least ``SMALLEST`` nats.

    Args:
        title: what was measured.
        rows: (true, ours, textbook) at every strength.
    """
    print(f"\n{title}\n{'':22s}{'smallest, nats':>16s}{'ours':>12s}{'textbook':>12s}")
    worst = {}
    for part in PARTS:
        seen = [row for row in rows if row[0][part] >= SMALLEST]
        worst[part] = {"smallest": min(row[0][part] for row in seen)}
        for name, which in (("ours", 1), ("textbook", 2)):
            if part in rows[0][which]:
                worst[part][name] = max(abs(row[which][part] / row[0][part] - 1) for row in seen)
        print(
            f"{part:22s}{worst[part]['smallest']:16.1e}" + "".join(f"{e:12.1e}" for e in list(worst[part].values())[1:])
        )
    return worst


def _spent(log_policy: jax.Array, log_base: jax.Array, log_personas: jax.Array) -> drift.DriftBudget:
    return drift.budget(log_policy[None], log_base[None], log_personas[None], chains.outcomes(V, T), jnp.zeros(1))


def _parts(spent: drift.DriftBudget) -> dict[str, float]:
    return {part: float(getattr(spent, part)) for part in PARTS}


def textbook(log_policy: np.ndarray, log_base: np.ndarray, log_personas: np.ndarray) -> dict[str, float]:
    """Sum p (log p - log q) with the library's weights, in the arrays' own precision; no token hull."""
    weights = np.asarray(WEIGHTS(log_policy[None].astype(float), log_personas.astype(float)))[0]
    p, mix = np.exp(log_policy), weights.astype(log_policy.dtype) @ np.exp(log_personas)
    total, d_prompt = (float((p * (log_policy - other)).sum()) for other in (log_base, np.log(mix)))
    return {"total": total, "hull_distance": d_prompt, "selection": total - d_prompt}


def along_the_tilt(strengths: np.ndarray) -> dict:
    """Float64 throughout."""
    keys = jax.random.split(jax.random.key(0), 3)
    tables = jax.nn.log_softmax(jax.random.normal(keys[0], (K, V, V)))
    log_personas = jax.vmap(lambda table: chains.log_probs(table, jnp.zeros(1, int), T))(tables)
    log_base = jax.nn.logsumexp(jax.nn.log_softmax(jax.random.normal(keys[1], (K, 1)), axis=0) + log_personas, axis=0)
    reward = jax.random.normal(keys[2], (V**T,))
    measured = jax.jit(_spent)
    rows = []
    for strength in strengths:
        given = theory.tilt(log_base[None], reward[None], strength)[0], log_base, log_personas
        wide = [np.exp(np.asarray(x).astype(Long)) for x in given]
        p, base, q = (x / x.sum(-1, keepdims=True) for x in wide)
        rows.append((long_budget(p, base, q), _parts(measured(*given)), textbook(*map(np.asarray, given))))
    return compare("float64, exponential tilt", rows)


def trained_in_float32(marks: np.ndarray) -> dict:
    """Parameters and gradients in float32, measured by ``trajectories``; the textbook column is float32 too."""
    prompts, log_prompts = jnp.zeros((1, 1), int), jnp.zeros(1, jnp.float32)
    speakers = mixture.mixture(prompts, num_personas=K, num_units=V, num_words=V, length=T, gate="table")
    params = jax.tree.map(lambda x: x.astype(jnp.float32), speakers.policy.init(jax.random.key(0)))
    reward = jax.random.normal(jax.random.key(1), (1, V**T), jnp.float32)

    def rule(step: jax.Array) -> UpdateRule:
        rate = step.astype(jnp.float32)
        return gradient.policy_gradient(Task(speakers.policy, prompts, log_prompts, reward), learning_rate=rate)

    wide = jax.tree.map(lambda x: x.astype(float), params)
    log_base, log_personas = speakers.policy.log_probs(wide, prompts[0]), speakers.log_personas(wide, prompts[0])
    (measured, kept), _, _ = trajectories.follow(
        rule,
        lambda now: (_spent(speakers.policy.log_probs(now, prompts[0]), log_base, log_personas), now),
        params,
        key=jax.random.key(0),
        marks=jnp.asarray(marks),
        max_step=0.5,
    )

    def exact(now: dict) -> tuple[np.ndarray, np.ndarray]:
        gate, tables = (
            np.exp(np.asarray(x).astype(Long)) for x in (mixture.gate_logits(now)[0], mixture.expert_logits(now))
        )
        tables /= tables.sum(-1, keepdims=True)
        q = tables[:, 0]
        for _ in range(T - 1):
            q = (q.reshape(K, -1, V, 1) * tables[:, None]).reshape(K, -1)
        return gate / gate.sum() @ q, q

    base, personas = exact(wide)
    narrow = [np.asarray(x).astype(np.float32) for x in (log_base, log_personas)]
    rows = []
    for i in range(len(marks)):
        now = jax.tree.map(lambda x, i=i: x[i], kept)
        low = jax.tree.map(lambda x: x.astype(jnp.float32), now)
        log_policy = np.asarray(speakers.policy.log_probs(low, prompts[0]))
        rows.append(
            (
                long_budget(exact(now)[0], base, personas),
                _parts(jax.tree.map(lambda x, i=i: x[i], measured)),
                textbook(log_policy, *narrow),
            )
        )
    return compare("trained in float32, vanilla policy gradient", rows)


def main(num: int) -> dict:
    """Both comparisons."""
    found = {
        "tilt": along_the_tilt(np.geomspace(3e-5, 1, num)),
        "float32": trained_in_float32(np.geomspace(1e-4, 10, num)),
    }
    largest = max(part["ours"] for parts in found.values() for part in parts.values())
    line = measure.line("precision", {"largest relative error": largest}, relative_errors=found)
    if largest > ALLOWED:
        raise SystemExit(f"The library is off by more than {ALLOWED:g}.")
    return line


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    jax.config.update("jax_enable_x64", True)
    measure.keep([main(40 if chosen.full else 12)], chosen.out)
