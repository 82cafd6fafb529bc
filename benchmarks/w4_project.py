"""W4: many independent projections onto a hull of K personas over 512 outcomes, certified. float64.

First the share that is certified at 1e-9 nats on seven families of problems, then projections per second at K = 8 and
tolerance 1e-6, cold and from the weights of a neighbouring problem, beside general solvers and fixed-point iterations.
As on a map of policies, the problems of a family share their hull; one row of ours makes no use of that.
"""

from benchmarks import measure

# isort: split
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from toypersona import hulls

N = 512
FAMILIES = ("interior", "sparse", "tiny weight", "collinear", "dependent", "similar", "off hull")


def problems(family: str, num: int, num_personas: int, num_hulls: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities p [B, N] and personas [H, K, N]; H is B or 1."""
    rng = np.random.default_rng([num_personas, FAMILIES.index(family)])
    personas = np.exp(2 * rng.normal(size=(num_hulls, num_personas, N)))
    weights = rng.dirichlet(np.ones(num_personas), num)
    if family == "sparse":
        weights[:, num_personas // 2 :] = 0
    if family == "tiny weight":
        weights[:, 1:] *= 1e-7
    if family == "similar":
        personas = np.exp(1e-3 * np.log(personas)) * personas[:, :1]
    personas /= personas.sum(-1, keepdims=True)
    if family == "collinear":
        personas[:, 1] = (personas[:, 0] + personas[:, 2]) / 2
    if family == "dependent":
        personas[:, -1] = personas[:, :-1].mean(axis=1)
    weights /= weights.sum(-1, keepdims=True)
    p = np.einsum("bk,bkn->bn", weights, np.broadcast_to(personas, (num, *personas.shape[1:])))
    if family == "off hull":
        p = p * np.exp(rng.normal(size=p.shape))
    return p / p.sum(-1, keepdims=True), personas


def certified_shares(num: int) -> dict[str, float]:
    """The share certified at 1e-9, by family and K; printed."""
    solve = jax.jit(lambda p, q: hulls.project_batch(p, q, tolerance=1e-9).certified)
    shares = {}
    print(f"share certified at 1e-9 nats, {num} problems each\n{'K':16s}" + "".join(f"{f:>13s}" for f in FAMILIES))
    for k in (3, 4, 8, 16):
        row = {
            f"{family}, K={k}": float(solve(*map(np.log, problems(family, num, k, num))).mean()) for family in FAMILIES
        }
        print(f"{k:<16d}" + "".join(f"{share:13.2%}" for share in row.values()))
        shares |= row
    return shares


def ours(p: np.ndarray, q: np.ndarray, tolerance: float, warm: np.ndarray | None) -> Callable[[], np.ndarray]:
    """The library on p [F, B, N] and hulls q [F, K, N], or hulls of their own [F, B, K, N]."""
    given = jax.device_put((np.log(p), np.log(q), warm))

    def family(given: tuple) -> jax.Array:
        p, q, start = given
        return hulls.project_batch(p, q, tolerance=tolerance, initial_weights=start).distance

    solve = jax.jit(lambda *given: jax.lax.map(family, given)).lower(*given).compile()
    return lambda: np.asarray(solve(*given))


def by_family(solve: Callable, p: np.ndarray, q: np.ndarray, **how: Any) -> Callable[[], np.ndarray]:
    """A solver of batches (p [B, N], q [K, N]) on p [F, B, N] and q [F, K, N]."""
    return lambda: np.stack([solve(some, hull, **how) for some, hull in zip(p, q, strict=True)])


def slsqp(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """SciPy, one problem at a time, with gradient."""

    def loss(w: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray]:
        m = w @ q
        return float(p @ np.log(p / m)), -(q @ (p / m))

    k = len(q)
    constraint = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    start = np.full(k, 1 / k)
    given = {"bounds": [(1e-12, 1)] * k, "constraints": constraint, "options": {"ftol": 1e-10, "maxiter": 300}}
    return np.array([minimize(loss, start, one, jac=True, method="SLSQP", **given).fun for one in p])


def _em(w: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return w * ((p / (w @ q)) @ q.T)


def fixed_point(p: np.ndarray, q: np.ndarray, squared: bool, tolerance: float) -> np.ndarray:
    """EM, or SQUAREM's extrapolation of it (Varadhan and Roland 2008), batched, until certified or 2,000 iterations."""
    w = np.full((len(p), len(q)), 1 / len(q))
    for _ in range(2000):
        once = _em(w, p, q)
        if np.log((once / np.maximum(w, 1e-300)).max()) <= tolerance:
            break
        if squared:
            twice = _em(once, p, q)
            r, v = once - w, twice - 2 * once + w
            length = -np.sqrt((r**2).sum(-1) / np.maximum((v**2).sum(-1), 1e-300))[:, None]
            jumped = w - 2 * np.minimum(length, -1) * r + np.minimum(length, -1) ** 2 * v
            once = _em(np.where((jumped > 0).all(-1, keepdims=True), jumped, twice), p, q)
            once /= once.sum(-1, keepdims=True)
        w = once
    return (p * np.log(p / (w @ q))).sum(-1)


def numpy_interior_point(p: np.ndarray, q: np.ndarray, tolerance: float) -> np.ndarray:
    """The library's algorithm without its corrector, batched by hand, the shared hull's products in a table too."""
    num, k = len(p), len(q)
    products = (q[:, None] * q[None]).reshape(k * k, -1).T.copy()
    w, s = np.full((num, k), 1 / k), np.full((num, k), 0.3)
    for _ in range(60):
        m = w @ q
        hessian = ((p / m**2) @ products).reshape(num, k, k)
        c = np.einsum("bkj,bj->bk", hessian, w)
        if np.log(c.max()) <= tolerance:
            break
        mu = 0.1 * (w * s).sum(-1, keepdims=True) / k
        right = mu / w - s - (1 - c - s)
        dw = np.linalg.solve(hessian + np.eye(k) * (s / w)[:, None], right[..., None])[..., 0]
        ds = mu / w - s - s / w * dw
        w = w + np.minimum(1, 0.995 / np.maximum((-dw / w).max(-1, keepdims=True), 1e-9)) * dw
        s = s + np.minimum(1, 0.995 / np.maximum((-ds / s).max(-1, keepdims=True), 1e-9)) * ds
        w /= w.sum(-1, keepdims=True)
    return (p * np.log(p / (w @ q))).sum(-1)


def cvxpy_clarabel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """An exponential-cone program, canonicalised once for each hull."""
    cp: Any = importlib.import_module("cvxpy")
    w, target = cp.Variable(len(q), nonneg=True), cp.Parameter(q.shape[1], nonneg=True)
    program = cp.Problem(cp.Maximize(target @ cp.log(q.T @ w)), [cp.sum(w) == 1])
    found = []
    for one in p:
        target.value = one
        program.solve(solver=cp.CLARABEL)
        found.append(one @ np.log(one) - program.value)
    return np.array(found)


def newton_steps(p: np.ndarray, q: np.ndarray, tolerance: float, warm: np.ndarray) -> float:
    """Mean number of Newton steps that a problem needs: the sum, over m, of the share not certified after m."""

    @jax.jit
    def certified(most: jax.Array) -> jax.Array:
        def one(p: jax.Array, q: jax.Array, start: jax.Array) -> jax.Array:
            return hulls.project(p, q, tolerance=tolerance, initial_weights=start, max_iterations=most).certified

        return jax.vmap(jax.vmap(one, (0, None, 0)))(*map(jnp.asarray, (np.log(p), np.log(q), warm))).mean()

    return float(sum(1 - certified(jnp.asarray(m)) for m in range(40)))


def main(num: int, rounds: int, shares_of: int) -> dict:
    """Certified shares, then rates."""
    shares = certified_shares(shares_of)
    tolerance, k = 1e-6, 8
    each = num // len(FAMILIES)
    parts = [problems(family, each, k, 1) for family in FAMILIES]
    p, q = np.stack([p for p, _ in parts]), np.concatenate([q for _, q in parts])
    # The neighbour that a warm start comes from: the step before on a trajectory.
    near = p * np.exp(0.01 * np.random.default_rng(2).normal(size=p.shape))
    near = np.log(near / near.sum(-1, keepdims=True))
    solve = jax.jit(jax.vmap(lambda p, q: hulls.project_batch(p, q, tolerance=tolerance).weights))
    warm = np.asarray(solve(near, np.log(q)))
    few = max(1, each // 200)
    own = np.broadcast_to(q[:, None], (len(q), each, *q.shape[1:]))
    peers = {
        "ours, warm": measure.prepared(lambda: ours(p, q, tolerance, warm), p[..., 0].size),
        "ours, cold": measure.prepared(lambda: ours(p, q, tolerance, None), p[..., 0].size),
        "ours, warm, each with a hull of its own": measure.prepared(
            lambda: ours(p, own, tolerance, warm), p[..., 0].size
        ),
        "numpy, batched interior point": measure.Peer(
            by_family(numpy_interior_point, p, q, tolerance=tolerance), p[..., 0].size
        ),
        "scipy SLSQP": measure.Peer(by_family(slsqp, p[:, :few], q), few * len(q)),
    }
    if measure.installed("cvxpy"):
        peers["cvxpy, Clarabel"] = measure.Peer(by_family(cvxpy_clarabel, p[:, :few], q), few * len(q))
    else:
        print("cvxpy is not installed (make peers): its row is missing.")
    measure.check(peers, 1e-5)
    for name, squared in (("EM", False), ("SQUAREM", True)):
        peers[f"{name}, batched (gives up uncertified)"] = measure.Peer(
            by_family(fixed_point, p[:, :few], q, squared=squared, tolerance=tolerance), few * len(q)
        )
    steps = newton_steps(p[:, :100], q, tolerance, warm[:, :100])
    measured, roofs = measure.rates(peers, rounds), measure.roofs()
    # The mix, and a row of the Hessian for every pair of personas. A float64 product runs at half the float32 roof.
    flop = steps * N * (2 * k + k * (k + 1))
    share = flop * np.median(measured["ours, warm"]) / 1e9 / (roofs["gemm_gflop_s"] / 2)
    print(f"{steps:.1f} Newton steps a projection from a warm start, {share:.0%} of the matrix product's peak")
    return measure.report(
        f"w4_project N={N} K={k} tolerance={tolerance:g}",
        peers,
        measured,
        "projections",
        roofs=roofs,
        newton_steps=steps,
        share_of_gemm_peak=share,
        certified_at_1e_9=shares,
    )


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    jax.config.update("jax_enable_x64", True)
    measure.keep([main(20_000, 5, 1000) if chosen.full else main(1_400, 3, 60)], chosen.out)
