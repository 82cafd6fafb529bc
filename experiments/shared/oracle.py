"""Hull distances and boundaries by other means, to check the library's against: NumPy, SciPy's SLSQP, root finding.

Shares no code with what it checks.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, brentq, minimize
from scipy.special import logsumexp, rel_entr


class Tilt:
    """``pi0 exp(s r)/Z`` and its projection onto the persona hull."""

    def __init__(
        self, reward: np.ndarray, log_base: np.ndarray, log_personas: np.ndarray, log_prompts: np.ndarray
    ) -> None:
        """Reward [C, N], log pi0 [C, N], log p_k [C, K, N], log rho(c) [C]."""
        self.reward, self.log_base = reward, log_base
        self.personas, self.rho = np.exp(log_personas), np.exp(log_prompts)

    def selection_fraction(self, strength: float) -> float:
        """S at one strength."""
        log_policy, fits = self._project(strength)
        total = self.rho @ (np.exp(log_policy) * (log_policy - self.log_base)).sum(axis=1)
        return float(1 - self.rho @ [fit.fun for fit in fits] / total)

    def largest_weight(self, strength: float) -> float:
        """max_k w*_k(c), averaged over prompts."""
        return float(self.rho @ [fit.x.max() / fit.x.sum() for fit in self._project(strength)[1]])

    def _project(self, strength: float) -> tuple[np.ndarray, list[OptimizeResult]]:
        log_policy = self.log_base + strength * self.reward
        log_policy = log_policy - logsumexp(log_policy, axis=1, keepdims=True)
        return log_policy, [nearest(np.exp(p), q) for p, q in zip(log_policy, self.personas, strict=True)]

    def crossing(self, gap: Callable[[float], float], strengths: tuple[float, ...]) -> float:
        """Where ``gap`` first rises through 0: 0 if it has before the first strength, inf if not by the last."""
        if gap(strengths[0]) >= 0:
            return 0.0
        for low, high in zip(strengths, strengths[1:], strict=False):
            if gap(high) >= 0:
                return float(np.asarray(brentq(gap, low, high)))
        return np.inf

    def half(self, strengths: tuple[float, ...]) -> float:
        """The strength at which S falls through 1/2."""
        return self.crossing(lambda s: 0.5 - self.selection_fraction(s), strengths)

    def vertex(self, strengths: tuple[float, ...]) -> float:
        """The strength at which the largest weight reaches 0.99."""
        return self.crossing(lambda s: self.largest_weight(s) - 0.99, strengths)


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
