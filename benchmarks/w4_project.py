"""W4: many independent projections onto a hull of K personas over 512 outcomes, certified. float64.

First the share that is certified at 1e-9 nats on seven families of problems, then projections per second at K = 8 and
tolerance 1e-6, cold and from the weights of a neighbouring problem, beside general solvers and fixed-point iterations.
"""

from benchmarks import measure

# isort: split
from collections.abc import Callable

import jax
import numpy as np
from scipy.optimize import minimize

from toypersona import hulls

N = 512
FAMILIES = ("interior", "sparse", "tiny weight", "collinear", "dependent", "similar", "off hull")


def problems(family: str, num: int, num_personas: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities p [B, N] and personas [B, K, N]."""
    rng = np.random.default_rng([seed, num_personas, FAMILIES.index(family)])
    personas = np.exp(2 * rng.normal(size=(num, num_personas, N)))
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
    p = np.einsum("bk,bkn->bn", weights / weights.sum(-1, keepdims=True), personas)
    if family == "off hull":
        p = p * np.exp(rng.normal(size=p.shape))
    return p / p.sum(-1, keepdims=True), personas


def certified_shares(num: int) -> dict[str, float]:
    """The share certified at 1e-9, by family and K; printed."""
    solve = jax.jit(lambda p, q: hulls.project_batch(p, q, tolerance=1e-9).certified)
    shares = {}
    print(f"share certified at 1e-9 nats, {num} problems each\n{'K':16s}" + "".join(f"{f:>13s}" for f in FAMILIES))
    for k in (3, 4, 8, 16):
        row = {f"{family}, K={k}": float(solve(*map(np.log, problems(family, num, k))).mean()) for family in FAMILIES}
        print(f"{k:<16d}" + "".join(f"{share:13.2%}" for share in row.values()))
        shares |= row
    return shares


def ours(p: np.ndarray, q: np.ndarray, tolerance: float, warm: np.ndarray | None) -> Callable[[], np.ndarray]:
    """The library, from the middle or from given weights."""
    given = jax.device_put((np.log(p), np.log(q), warm))
    solve = jax.jit(lambda p, q, w: hulls.project_batch(p, q, tolerance=tolerance, initial_weights=w).distance)
    return lambda: np.asarray(solve(*given))


def slsqp(p: np.ndarray, q: np.ndarray) -> Callable[[], np.ndarray]:
    """SciPy, one problem at a time, with gradient."""

    def one(p: np.ndarray, q: np.ndarray) -> float:
        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            m = w @ q
            return float(p @ np.log(p / m)), -(q @ (p / m))

        k = len(q)
        constraint = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
        start = np.full(k, 1 / k)
        options = {"ftol": 1e-10, "maxiter": 300}
        return minimize(
            loss, start, jac=True, method="SLSQP", bounds=[(1e-12, 1)] * k, constraints=constraint, options=options
        ).fun

    return lambda: np.array([one(*pair) for pair in zip(p, q, strict=True)])


def _em(w: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    m = np.einsum("bk,bkn->bn", w, q)
    return w * np.einsum("bkn,bn->bk", q, p / m)


def fixed_point(p: np.ndarray, q: np.ndarray, squared: bool, tolerance: float) -> Callable[[], np.ndarray]:
    """EM, or SQUAREM's extrapolation of it (Varadhan and Roland 2008), batched, until certified or 2,000 iterations."""

    def run() -> np.ndarray:
        w = np.full(q.shape[:2], 1 / q.shape[1])
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
        return (p * np.log(p / np.einsum("bk,bkn->bn", w, q))).sum(-1)

    return run


def numpy_interior_point(p: np.ndarray, q: np.ndarray, tolerance: float) -> Callable[[], np.ndarray]:
    """The library's algorithm without its corrector, batched by hand."""

    def run() -> np.ndarray:
        num, k, _ = q.shape
        w, s = np.full((num, k), 1 / k), np.full((num, k), 0.3)
        for _ in range(60):
            m = np.einsum("bk,bkn->bn", w, q)
            hessian = (q * (p / m**2)[:, None]) @ q.transpose(0, 2, 1)
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
        return (p * np.log(p / np.einsum("bk,bkn->bn", w, q))).sum(-1)

    return run


def cvxpy_clarabel(p: np.ndarray, q: np.ndarray) -> Callable[[], np.ndarray]:
    """The same problem as a parametrised exponential-cone program."""
    import cvxpy as cp  # pyright: ignore[reportMissingImports]

    def one(p: np.ndarray, q: np.ndarray) -> float:
        w = cp.Variable(len(q), nonneg=True)
        program = cp.Problem(cp.Maximize(p @ cp.log(q.T @ w)), [cp.sum(w) == 1])
        program.solve(solver=cp.CLARABEL)
        return float(p @ np.log(p) - program.value)

    return lambda: np.array([one(*pair) for pair in zip(p, q, strict=True)])


def main(num: int, rounds: int, shares_of: int) -> dict:
    """Certified shares, then rates."""
    shares = certified_shares(shares_of)
    tolerance, k = 1e-6, 8
    parts = [problems(family, num // len(FAMILIES), k) for family in FAMILIES]
    order = np.random.default_rng(1).permutation(sum(len(p) for p, _ in parts))
    p, q = (np.concatenate(part)[order] for part in zip(*parts, strict=True))
    # The neighbour that a warm start comes from: the step before on a trajectory.
    near = p * np.exp(0.01 * np.random.default_rng(2).normal(size=p.shape))
    before = np.log(near / near.sum(-1, keepdims=True))
    warm = np.asarray(jax.jit(lambda p, q: hulls.project_batch(p, q, tolerance=tolerance).weights)(before, np.log(q)))
    few = max(7, num // 200)
    peers = {
        "ours, warm": measure.prepared(lambda: ours(p, q, tolerance, warm), len(p)),
        "ours, cold": measure.prepared(lambda: ours(p, q, tolerance, None), len(p)),
        "numpy, batched interior point": measure.Peer(
            numpy_interior_point(p[: 16 * few], q[: 16 * few], tolerance), 16 * few
        ),
        "scipy SLSQP": measure.Peer(slsqp(p[:few], q[:few]), few),
    }
    if measure.installed("cvxpy"):
        peers["cvxpy, Clarabel"] = measure.Peer(cvxpy_clarabel(p[:few], q[:few]), few)
    else:
        print("cvxpy is not installed (make peers): its row is missing.")
    measure.check(peers, 1e-5)
    peers["EM, batched (gives up uncertified)"] = measure.Peer(fixed_point(p[:few], q[:few], False, tolerance), few)
    peers["SQUAREM, batched (gives up uncertified)"] = measure.Peer(fixed_point(p[:few], q[:few], True, tolerance), few)
    return measure.report(
        f"w4_project N={N} K={k} tolerance={tolerance:g}",
        peers,
        measure.rates(peers, rounds),
        "projections",
        roofs=measure.roofs(),
        certified_at_1e_9=shares,
    )


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    jax.config.update("jax_enable_x64", True)
    measure.keep([main(20_000, 5, 1000) if chosen.full else main(2_100, 3, 100)], chosen.out)
