"""Hull distances, and S along the tilt, by other means to check the library's against: NumPy and SciPy's SLSQP.

Shares no code with what it checks.
"""

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import logsumexp, rel_entr


class Tilt:
    """``pi0 exp(s r)/Z`` and its projection onto the persona hull."""

    def __init__(
        self, reward: np.ndarray, log_base: np.ndarray, log_personas: np.ndarray, log_prompts: np.ndarray
    ) -> None:
        """Reward [C, N], log pi0 [C, N], log p_k [C, K, N], log rho(c) [C]."""
        self.reward, self.log_base = reward, log_base
        self.personas, self.rho = np.exp(log_personas), np.exp(log_prompts)

    def curves(self, strengths: tuple[float, ...]) -> tuple[list[float], list[float]]:
        """S and the largest weight, max_k w*_k(c) averaged over prompts, at every strength."""
        fractions, weights = [], []
        for strength in strengths:
            log_policy = self.log_base + strength * self.reward
            log_policy = log_policy - np.asarray(logsumexp(log_policy, axis=1, keepdims=True))
            fits = [nearest(np.exp(p), q) for p, q in zip(log_policy, self.personas, strict=True)]
            total = self.rho @ (np.exp(log_policy) * (log_policy - self.log_base)).sum(axis=1)
            fractions.append(float(1 - self.rho @ [fit.fun for fit in fits] / total))
            weights.append(float(self.rho @ [fit.x.max() / fit.x.sum() for fit in fits]))
        return fractions, weights


def nearest(p: np.ndarray, personas: np.ndarray) -> OptimizeResult:
    """``min_w KL(p‖w·personas)`` over the simplex, by SLSQP from the uniform mix; p [N], personas [K, N].

    Returns SciPy's result: ``fun`` the distance in nats, ``x`` the weights [K].
    """
    num, said = len(personas), p > 0
    p, personas = p[said], personas[:, said]

    def divergence(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m = w @ personas
        return rel_entr(p, m).sum(), -(personas @ (p / m))

    return minimize(
        divergence,
        np.full(num, 1 / num),
        jac=True,
        method="SLSQP",
        bounds=[(1e-15, 1.0)] * num,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-14, "maxiter": 500},
    )
