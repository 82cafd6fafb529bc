"""The evidence in a log of samples that a policy is no mix of personas: ``detectors.e_value``, also of repaired ones.

Personas that were repaired (``hulls.repaired``) hang on m*, the mix nearest to the base, which is fitted to the base's
samples: an error in it moves every term the same way. To first order the move is normal with a known spread s, so that
``log E >= L + z s`` has a probability of at most ``exp(-L) + exp(-z^2/2)``; both are made equal.
"""

import jax
import jax.numpy as jnp
import numpy as np

from toypersona.measures import detectors
from toypersona.readers.tables import Scores

ACTIVE = 1e-6
"""Smallest weight of a persona that is in the base's mix."""


_compiled = jax.jit(detectors.e_value)


def e_value(samples: Scores) -> detectors.EValue:
    """That what said the samples is no mix of the personas, with the mix that is likeliest to have said them."""
    return _compiled(jnp.asarray(samples.log_policy), jnp.asarray(samples.log_personas))


def misdrawn(samples: Scores) -> float:
    """Ln of an e-value against samples' having been drawn from the policy that scores them, nats.

    ``prod_i (1 + q(x_i)/pi(x_i))/2``, q the mean of the base and the personas: no law q has a mean of q/pi above 1
    under pi. Another temperature for sampling than for scoring, or another model, makes it large.
    """
    others = np.concatenate([samples.log_base[:, None], samples.log_personas], axis=1)
    ratio = np.logaddexp.reduce(others, axis=1) - np.log(others.shape[1]) - samples.log_policy
    return float((np.logaddexp(0.0, ratio) - np.log(2)).sum())


def log_evidence_repaired(samples: Scores, base_samples: Scores, weights: np.ndarray) -> float:
    """``ln E`` against mixes of repaired personas, nats: none exceeds L more often than ``exp(-L)``, to first order.

    Args:
        samples: what the policy said.
        base_samples: what the base said, by which the personas were repaired.
        weights: of m*, the base's mix [C, K].
    """
    ratio = float(e_value(samples._replace(log_policy=samples.log_policy - repair(samples, weights))).log_e)
    if not 0 < ratio < np.inf:
        return ratio
    spread = np.sqrt(sum(map(_variance, samples.log_personas, base_samples.log_personas, weights)))
    deviations = np.sqrt(spread**2 + 2 * ratio) - spread
    return float(deviations**2 / 2 - np.log(2))


def _variance(log_personas: np.ndarray, log_base_personas: np.ndarray, weights: np.ndarray) -> float:
    """Of ``sum_i log m*(x_i)`` over what the base might have said instead, at one prompt.

    With ``r_k = q_k/m*`` a sample of the base moves w* by ``H^-1 (r - 1)/B``, ``H = mean[r r^T]``.
    """
    active = weights > ACTIVE
    log_mixes = [
        np.logaddexp.reduce(np.log(weights[active])[:, None] + q[active]) for q in (log_personas, log_base_personas)
    ]
    said, base = (np.exp(q[active] - m) for q, m in zip((log_personas, log_base_personas), log_mixes, strict=True))
    moved = np.linalg.pinv(base @ base.T / base.shape[1]) @ (base - 1) / base.shape[1]
    return float(((said.sum(axis=1) @ moved) ** 2).sum())


def repair(samples: Scores, weights: np.ndarray | None) -> np.ndarray:
    """Log pi0/m* of responses [C, M], by which repaired personas exceed those given; 0 without weights of m* [C, K].

    What the base cannot say, no repaired persona can.
    """
    if weights is None:
        return np.zeros_like(samples.log_policy)
    mix = log_mix(samples, weights)
    unsaid = np.isneginf(samples.log_base) | np.isneginf(mix)
    return np.where(unsaid, -np.inf, samples.log_base - np.where(unsaid, 0.0, mix))


def log_mix(samples: Scores, weights: np.ndarray) -> np.ndarray:
    """Log-probabilities of responses under the mix of the personas given by weights [C, K], nats [C, M]."""
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(np.log(weights)[:, :, None] + samples.log_personas, axis=1)
