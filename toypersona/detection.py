"""How many samples tell a policy from every mix of K personas at C prompts: the law of the e-value (nats).

The likelihood-ratio e-value of n samples, ``E = prod pi / max_w prod m_w``, the weights free at every prompt, is far
from the hull's corners and at small distance d (the mean over prompts of the hull distance)::

    ln E  ~  Normal(n d - C (K - 1)/2,  2 n d + C (K - 1)/2)

The log-likelihood ratio against the nearest mix has mean n d and, where the two laws are close, variance 2 n d; the
mix that is fitted beats the nearest by half a chi-square of C (K - 1) degrees of freedom (Wilks 1938). So it passes
ln(1/alpha) about half of the time from ::

    n d >= ln(1/alpha) + C (K - 1)/2

on: Stein's bound for a null that is known (Cover and Thomas 2006, theorem 11.8.3), and the price of not knowing which
mix it is. Where d is above half a nat and a prompt has a few samples only, the variance is less and a fit of so few is
cheaper, so that the power is more than the law says. In numpy, for figures and claims without jax.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Num
from scipy import special

Numbers = float | int | np.number | Num[np.ndarray, "..."]


class Law(NamedTuple):
    """Mean and variance of ln E, nats and squared nats."""

    mean: Numbers
    variance: Numbers


class Boundary(NamedTuple):
    """Nats that n samples have to have, ``n d``, for even odds of an alarm.

    Attributes:
        stein: ln(1/alpha), what a known null takes.
        unknown_mix: C (K - 1)/2, the price of fitting a mix at every prompt.
    """

    stein: float
    unknown_mix: float

    @property
    def nats(self) -> float:
        """Both together."""
        return self.stein + self.unknown_mix


def boundary(alpha: float, num_prompts: int, num_personas: int) -> Boundary:
    """From how many nats of all samples together, n times the hull distance, a policy outside is detectable.

    Args:
        alpha: false alarms that are allowed, in (0, 1).
        num_prompts: C, with weights of their own; 1 for one mix at all prompts or one that is known, with K = 1.
        num_personas: K.

    Raises:
        ValueError: no such level, or no prompts or personas.
    """
    _check(alpha, num_prompts, num_personas)
    return Boundary(-math.log(alpha), num_prompts * (num_personas - 1) / 2)


def law(num_samples: Numbers, distance: Numbers, num_prompts: int, num_personas: int) -> Law:
    """Mean and variance of ln E.

    Args:
        num_samples: n, at all prompts together.
        distance: d, nats a sample.
        num_prompts: C.
        num_personas: K.

    Raises:
        ValueError: no prompts or personas.
    """
    _check(0.5, num_prompts, num_personas)
    nats, price = np.multiply(num_samples, distance), num_prompts * (num_personas - 1) / 2
    return Law(nats - price, 2 * nats + price)


def power(
    num_samples: Numbers, distance: Numbers, num_prompts: int, num_personas: int, *, alpha: float = 0.05
) -> Numbers:
    """Probability of an alarm, ``E >= 1/alpha``, by the normal law; 1/2 on the boundary.

    At ``n d = 0``, where the law is half a chi-square and no normal one, there are none: the e-value is at most 1.
    Arguments as in ``law`` and ``boundary``.

    Raises:
        ValueError: as ``boundary``.
    """
    _check(alpha, num_prompts, num_personas)
    mean, variance = law(num_samples, distance, num_prompts, num_personas)
    above = mean + math.log(alpha)
    return np.where(
        np.multiply(num_samples, distance) > 0, special.ndtr(above / np.sqrt(np.maximum(variance, 1e-300))), 0
    )


def stopping_time(distance: Numbers, *, alpha: float = 0.05) -> Numbers:
    """About how many samples an e-process of growth d a sample takes to pass ln(1/alpha), ``ln(1/alpha)/d``.

    It has overshot by then, by no more than one sample's log ratio (Wald 1945); inf at distance 0.

    Raises:
        ValueError: no such level.
    """
    _check(alpha, 1, 1)
    nats = np.asarray(distance, float)
    return np.where(nats > 0, -math.log(alpha) / np.where(nats > 0, nats, 1.0), np.inf)


def _check(alpha: float, num_prompts: int, num_personas: int) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: a level of false alarms lies between 0 and 1, such as 0.05.")
    if num_prompts < 1 or num_personas < 1:
        raise ValueError(f"{num_prompts} prompts and {num_personas} personas: there has to be at least one of each.")
