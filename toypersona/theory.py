"""Closed forms, to be drawn over measurements. All in nats.

- L1, weak limit: infinitely weak RL selects as much as the personas explain of the direction in which the rule moves
  the policy, ``S(0+) = R²`` (``weak_limit``).
- Persona gain: ``S(0+) = 1/(1 + kappa² tan² theta)``, kappa a number of the rule's kernel (``persona_gain``).
- L2, factorisation: a tilted base is a mix of tilted personas, ``pi0 exp(s r)/Z = sum_k a_k p_k^s`` (``factorise``).
- L3, horizon: where personas are Markov chains and each word pays, hull distance runs on s sqrt(T) and selection on s T
  (``horizon``; ``long_answers`` has its limit).
- L4, exploit: an answer of base probability eps that pays Delta more takes over at ``beta = Delta / ln((1 - eps)/eps)``
  (``exploit``).
- L5, leash: vanilla policy gradient finds an answer of base probability p0 in a time of 1/p0 and keeps the likeliest of
  several right ones, natural gradient in ln(1/p0) and keeps all (``time_to_half``, ``surviving_odds``); a sampled rule
  settles on a worse answer from a learning rate in proportion to the reward gap (``lock_in``, ``noise_threshold``).
- L6, best of n: ``KL(best of n‖base) <= ln n - (n - 1)/n`` (``best_of_n``, ``best_of_n_bound``).
- L7, codes: codes that pay the same are mixed by their odds in the base, and who speaks is the key (``codes``).

They share no code with ``measures``; ``weak_limit`` shares the least-squares fit of ``hulls`` with ``rewards``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import hulls, numerics, tilted
from toypersona.tilted import PaidMixture
from toypersona.types import Scalar


def tilt(
    log_base: Float[Array, "*batch N"], reward: Float[Array, "*batch N"], strength: Scalar
) -> Float[Array, "*batch N"]:
    """Log-probabilities of the KL-regularised optimum ``pi0 exp(s r) / Z``, of strength s = 1/beta."""
    # What the base cannot say no finite strength makes possible, whatever it would pay.
    paid = jnp.where(jnp.isneginf(log_base), 0.0, strength * reward)
    return numerics.log_normalize(log_base + paid)


def weak_limit(
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """The selection fraction of an infinitely weak tilt (law L1).

    To second order in s, ``total = s²/2 Var(r)`` and projecting removes the part of r that the personas' likelihood
    ratios explain, so S(0+) is the R² of that regression; numerators and denominators are pooled over prompts. A rule
    that moves log pi along another direction than the reward has the R² of that direction: pass ``first_order.first``
    as ``reward``.

    Args:
        log_base: log pi0 [C, N], inside the hull with all gates positive.
        log_personas: log p_k(x|c) [C, K, N].
        reward: [C, N].
        log_prompts: log rho(c) [C].

    Returns:
        R² in [0, 1]; nan for a reward that is constant for every prompt, which moves nothing.
    """
    centred = numerics.centred(log_base, reward)
    fitted = jax.vmap(hulls.tangent_fit)(log_base, log_personas, centred)
    explained, all_of_it = (
        numerics.expectation(log_prompts, numerics.expectation(log_base, x**2)) for x in (fitted, centred)
    )
    return explained / all_of_it


def angle(weak_limit: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The reward's angle to the personas, ``arccos sqrt(R²)``, in radians: 0 is all selection, pi/2 none."""
    return jnp.arccos(jnp.sqrt(jnp.clip(weak_limit, min=0.0, max=1.0)))


def degrees(
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """Where a reward lies on the map: its angle to the personas in degrees, nothing taken away from it or added.

    0 for a reward that only says who should be talking, 90 for one that prefers no persona's answers to another's; nan
    for one that is constant for every prompt. Arguments as in ``weak_limit``; of samples drawn from the base, pass
    ``-log M`` for log pi0 and the samples' ``log p_k/pi0 - log M``.
    """
    return jnp.rad2deg(angle(weak_limit(log_base, log_personas, reward, log_prompts)))


class PersonaGain(NamedTuple):
    """How a rule's kernel ``J M J^T (rho pi0 ·)`` moves what some persona is, and what no persona is.

    Where d_u and d_v are its directions for a persona-affine reward u and one v orthogonal to the personas, a rule that
    is linear in the reward moves log pi along ``cos(theta) d_u + sin(theta) d_v`` for the reward at angle theta.

    Attributes:
        explained: ``<P d, P d>`` of (d_u, d_v), P the projection on what personas explain, squared root nats [2, 2].
        unexplained: ``<Q d, Q d>``, Q = 1 - P [2, 2].
        rayleigh: ``<v, d_v> / <u, d_u>``: kappa where u and v are eigenfunctions of the kernel, below it otherwise.
    """

    explained: Float[Array, "2 2"]
    unexplained: Float[Array, "2 2"]
    rayleigh: Float[Array, ""]

    @property
    def kappa(self) -> Float[Array, ""]:
        """``|Q d_v| / |P d_u|``: 1 for the tilt; below 1 weak RL is more persona selection than the tilt."""
        return jnp.sqrt(self.unexplained[1, 1] / self.explained[0, 0])

    def curve(self, theta: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """The law, ``S(0+) = 1/(1 + kappa² tan² theta)`` at angles in radians: exact if P d_v = 0 and Q d_u = 0."""
        return jnp.cos(theta) ** 2 / (jnp.cos(theta) ** 2 + self.kappa**2 * jnp.sin(theta) ** 2)


def persona_gain(
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    rewards: Float[Array, "2 C N"],
    directions: Float[Array, "2 C N"],
    log_prompts: Float[Array, " C"],
) -> PersonaGain:
    """The persona gain of a rule before any step of it; inner products are ``E_c Cov_pi0``.

    Arguments as in ``weak_limit``, but u and v, the rewards of ``rewards.at_angle`` at 0 and 90 degrees, and d_u and
    d_v, ``first_order.first`` of each.
    """
    centred = directions - jax.vmap(numerics.expectation, (None, 0))(log_base, directions)[..., None]
    inside = jax.vmap(jax.vmap(hulls.tangent_fit), (None, None, 0))(log_base, log_personas, centred)
    mass = jnp.exp(log_prompts[:, None] + log_base)
    gram = lambda x, y: jnp.einsum("cn,icn,jcn->ij", mass, x, y)  # noqa: E731
    own = jnp.diagonal(gram(rewards, centred))
    return PersonaGain(gram(inside, inside), gram(centred - inside, centred - inside), own[1] / own[0])


class Factors(NamedTuple):
    """A tilt as a mix of tilted personas.

    Attributes:
        log_weights: log a_k(c), what selection moves [C, K].
        log_personas: log p_k^s, what distortion moves [C, K, N].
        distortion: ``sum_k a_k KL(p_k^s‖p_k)``, averaged over prompts: bounds the hull distance, and is equal to it
            once personas can be told apart.
        total: KL(tilt‖pi0), averaged over prompts: ``KL(a‖g) + distortion``.
    """

    log_weights: Float[Array, "C K"]
    log_personas: Float[Array, "C K N"]
    distortion: Float[Array, ""]
    total: Float[Array, ""]


def factorise(
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    strength: Scalar,
    log_prompts: Float[Array, " C"],
) -> Factors:
    """``pi0 exp(s r)/Z = sum_k a_k p_k^s`` with ``p_k^s = p_k exp(s r)/Z_k`` and ``a_k ∝ g_k Z_k`` (law L2).

    Tilting does not touch who wrote a given response, so the chain rule of KL over (persona, response) gives the total;
    dropping the persona can only lose divergence, so distortion bounds the distance to ``sum_k a_k p_k``, a hull point.
    Arguments as in ``weak_limit`` and ``tilt``; ``log_gates`` is log g_k(c).
    """
    joint = log_personas + jnp.where(jnp.isneginf(log_personas), 0.0, strength * reward[:, None])
    log_partition = jax.nn.logsumexp(joint, axis=-1)
    log_weights = numerics.log_normalize(log_gates + log_partition)
    # Whoever can say nothing stays as he is: -inf less -inf would be nan.
    tilted = joint - jnp.where(jnp.isneginf(log_partition), 0.0, log_partition)[..., None]
    moved = numerics.expectation(log_weights, numerics.kl_divergence(tilted, log_personas))
    chosen = numerics.kl_divergence(log_weights, log_gates)
    distortion, selection = (numerics.expectation(log_prompts, nats) for nats in (moved, chosen))
    return Factors(log_weights, tilted, distortion, selection + distortion)


class Horizon(NamedTuple):
    """A tilt as a mix of tilted personas at each of L lengths.

    Attributes:
        total: KL(tilt‖pi0), as in ``Factors`` [L].
        distortion: likewise [L].
        selection_fraction: ``KL(a‖g) / total``: S where personas can be told apart, a lower bound elsewhere [L]; nan
            where every word pays the same, or the strength is 0, and nothing moves.
        weights: a_k(c) [L, C, K].
    """

    total: Float[Array, " L"]
    distortion: Float[Array, " L"]
    selection_fraction: Float[Array, " L"]
    weights: Float[Array, "L C K"]


def horizon(
    mixture: PaidMixture, strength: Scalar | Float[Array, " L"], lengths: Sequence[int], *, last_only: bool = False
) -> Horizon:
    """The tilt by a reward per word, at any length (law L3): ``factorise``, its sums by transfer matrices; float64.

    ``KL(p_k^s‖p_k) = s E_{p_k^s}[r] - log Z_k``, both from ``tilted.moments``.

    Args:
        mixture: the base, and what each word pays.
        strength: s > 0, one for all lengths or one for each [L].
        lengths: T, as many as wanted.
        last_only: pay for the last word only, a reward that does not grow with the response.

    Raises:
        ValueError: chains without memory, lengths below 1, or strengths that are not as many as lengths.
    """
    log_gates, log_experts, prompts, log_prompts, scores = mixture
    # Only differences tilt: a large constant would leave nothing but its rounding.
    above = scores - scores[0]
    one = lambda table, prompt: tilted.moments(table, prompt, above, strength, lengths, last_only=last_only)  # noqa: E731
    per_persona = jax.vmap(jax.vmap(one, in_axes=(0, None)), in_axes=(None, 0))
    log_partition, mean = (jnp.moveaxis(x, -1, 0) for x in per_persona(log_experts, prompts))
    log_weights = numerics.log_normalize(log_gates[None] + log_partition)
    moved = numerics.expectation(log_weights, jnp.reshape(strength, (-1, 1, 1)) * mean - log_partition)
    chosen = numerics.kl_divergence(log_weights, jnp.broadcast_to(log_gates, log_weights.shape))
    rho = jnp.broadcast_to(log_prompts, moved.shape)
    distortion, selection = (numerics.expectation(rho, nats) for nats in (moved, chosen))
    total = selection + distortion
    # Both are then differences of roundings.
    still = numerics.alike(scores) | (jnp.asarray(strength) == 0)
    return Horizon(total, distortion, jnp.where(still, jnp.nan, selection / total), jnp.exp(log_weights))


class Takeover(NamedTuple):
    """Where an exploit has probability 1/2: ``s_c = 1/beta_c``, and the slope of its probability in log s there."""

    strength: Float[Array, "*batch"]
    sharpness: Float[Array, "*batch"]


def exploit(log_mass: Float[Array, "*batch"], bonus: Scalar) -> Takeover:
    """An answer of base mass eps that pays Delta more than all others takes over at ``beta_c`` (law L4).

    ``beta_c = Delta / ln((1 - eps)/eps)``, because its odds under the tilt are ``eps/(1 - eps) exp(s Delta)``; the
    slope is ``ln((1 - eps)/eps) / 4``, so an answer of T unlikely words takes over T times as sharply.

    Args:
        log_mass: ln eps; above ln 1/2 the strength is negative: it is there from the start.
        bonus: Delta > 0, in the reward's units.
    """
    log_odds = jnp.log(-jnp.expm1(log_mass)) - log_mass
    return Takeover(log_odds / bonus, log_odds / 4)


class Times(NamedTuple):
    """Learning rate times steps, in the limit of small ones."""

    vanilla: Float[Array, "*batch"]
    natural: Float[Array, "*batch"]


def time_to_half(mass: Float[Array, "*batch"], num_others: Scalar) -> Times:
    """How long policy gradient takes to find the one right answer among equally likely wrong ones (law L5).

    On softmax logits the vanilla gradient gives ``dp/dt = p² (1-p)² (1 + 1/m)``, m wrong answers, so about 1/p; the
    natural gradient ``dp/dt = p (1-p)``, so about ln(1/p) (Agarwal et al. 2021; Mei et al. 2020). Integrated.

    Args:
        mass: the right answer's probability under the base, in (0, 1/2].
        num_others: m.
    """
    # Both vanish at 1/2: in these forms nothing cancels there.
    log_odds = jnp.log1p((1 - 2 * mass) / mass)
    return Times(((1 - 2 * mass) / (mass * (1 - mass)) + 2 * log_odds) / (1 + 1 / num_others), log_odds)


def surviving_odds(log_best: Float[Array, ""], log_others: Float[Array, " M"], rise: Scalar) -> Float[Array, " M"]:
    """Odds of other right answers against the likeliest after vanilla policy gradient raised its logit (law L5).

    All right answers share ``theta' exp(-theta)``, so that differences of ``exp(-theta)`` are conserved: as the logit
    of the likeliest grows without bound its odds do too, and it is the only one that survives. Natural gradient adds
    the same to all their logits: it keeps the odds of the base for ever.

    Args:
        log_best: log-probability of the likeliest right answer under the base.
        log_others: of the other right ones [M]; nan for one that is likelier still.
        rise: how much its logit has grown, of any size.
    """
    # 1 / (1 + (exp(behind) - 1) exp(rise)), whose exponentials may overflow; answers as likely keep odds of 1.
    behind = log_best - log_others
    return jnp.where(behind == 0, 1.0, jax.nn.sigmoid(-(behind + jnp.log(-jnp.expm1(-behind)) + rise)))


def lock_in(gap: Scalar, mean_square: Scalar, learning_rate: Scalar, *, share: Scalar = 0.9) -> Float[Array, ""]:
    """Probability that REINFORCE settles on the worse of two equally likely answers before the better (small gaps).

    A step of learning rate a moves the difference of logits by ``2 a p (1-p) gap`` on average, with variance
    ``4 a² p (1-p) E[r²]``: a diffusion whose scale function is ``exp(-gap z / (a E[r²]))``. A share q is reached at
    ``z = ± ln(q/(1-q))``.

    Args:
        gap: difference of the mean rewards, > 0.
        mean_square: E[r²] under equal chances, of the reward less its baseline; not much changed by the gap. Without
            gap and noise it never settles: nan.
        learning_rate: a.
        share: q, the probability that counts as settled.
    """
    return jax.nn.sigmoid(-gap / (learning_rate * mean_square) * jnp.log(share / (1 - share)))


def noise_threshold(
    gap: Float[Array, "*batch"], mean_square: Float[Array, "*batch"], *, share: Scalar = 0.9, wrong: Scalar = 0.1
) -> Float[Array, "*batch"]:
    """The learning rate at which ``lock_in`` is ``wrong``: ``gap / E[r²]`` at the default shares."""
    return gap / mean_square * jnp.log(share / (1 - share)) / jnp.log((1 - wrong) / wrong)


def best_of_n(
    log_base: Float[Array, "*batch N"], reward: Float[Array, "*batch N"], num: Scalar
) -> Float[Array, "*batch N"]:
    """Log-probabilities of the best of n independent responses, n >= 1 any real number (law L6).

    The best pays r with probability ``F(r)^n - F(r-)^n``, F the reward's distribution function under the base; those
    that pay the same keep their odds: of several best the first is taken.
    """

    def one(log_base: Float[Array, " N"], reward: Float[Array, " N"]) -> Float[Array, " N"]:
        order = jnp.argsort(reward)
        paid, base = reward[order], jnp.exp(log_base[order])
        first = jnp.searchsorted(paid, paid, side="left")
        level = jax.ops.segment_sum(base, first, base.shape[0])[first]
        below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(base)])[first]
        last = jnp.searchsorted(paid, paid, side="right")
        above = jnp.concatenate([jnp.cumsum(base[::-1])[::-1], jnp.zeros(1)])[last]
        # F^n - F(r-)^n without cancellation where a level is rare; F from the smaller of its two sides, as n magnifies
        # its rounding.
        up_to = jnp.minimum(below + level, 1.0)
        part = jnp.clip(level / jnp.where(up_to > 0, up_to, 1.0), max=1.0)
        log_up_to = jnp.where(above < 0.5, jnp.log1p(-jnp.minimum(above, 0.5)), jnp.log(up_to))
        log_won = num * log_up_to + jnp.log(-jnp.expm1(num * jnp.log1p(-part)))
        log_law = jnp.where(level > 0, log_base[order] - jnp.log(level) + log_won, -jnp.inf)
        return jnp.zeros_like(log_law).at[order].set(log_law)

    flat = jax.vmap(one)(log_base.reshape(-1, log_base.shape[-1]), reward.reshape(-1, reward.shape[-1]))
    return numerics.log_normalize(flat.reshape(log_base.shape))


def best_of_n_bound(num: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``ln n - (n - 1)/n`` nats, which KL(best of n‖base) never exceeds (Beirami et al. 2024).

    It is reached where rewards are continuous: no response has mass of its own, no two pay the same.
    """
    return jnp.log(num) - (num - 1) / num
