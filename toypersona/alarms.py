"""How often detectors alarm: on a policy that RL took outside the hull, and on a mix that drifted as far inside it.

What a detector sees of a policy is samples and log-probabilities; none is told the answer. E-values have a level that
no mix of personas exceeds. Whether the others alarm inside the hull is measured here, as is what all of them can see
outside at the threshold that a mix with the same drift passes as rarely as the level says.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import networks, numerics, trajectories
from toypersona.bases import Base
from toypersona.measures import alternatives, detectors
from toypersona.rules import gradient
from toypersona.types import Key, Params, Scalar

DETECTORS = (
    "e-value",
    "e-process",
    "split likelihood ratio",
    "proof",
    "proof beyond noise",
    "classifier",
    "held-out distance",
    "perplexity",
    "entropy",
    "activations",
)
"""The first three are e-values, valid under every mix of personas."""

STRONGEST = 60.0
"""Log-odds by which a persona is favoured at most."""

BATCH = 8
"""Data sets at once."""

PRESENT = 1e-3
"""Weight from which a persona counts as part of the nearest mix."""

RIDGE = 1e-3
"""Of the covariance of activations, in units of its mean variance."""


class Case(NamedTuple):
    """A policy that is watched, the base it comes from, and a mix of personas that drifted as far.

    Laws are listed, [C, N]. How unusual activations are before the last word of each response is the squared
    Mahalanobis distance from the base's (Lee et al. 2018), nan of what is no network.

    Attributes:
        log_base: log pi0.
        log_personas: which span the hull [C, K, N].
        log_policy: log pi.
        log_mix: of the mix.
        unusual: activations of the base, the policy, and the personas as the mix says each response [3, C, N].
        total: drift of the policy, nats.
        hull_distance: its part that is no selection nor switching.
        inside_total: drift of the mix.
        certified: the policy's budget is, and the hull reaches that far.
    """

    log_base: Float[Array, "C N"]
    log_personas: Float[Array, "C K N"]
    log_policy: Float[Array, "C N"]
    log_mix: Float[Array, "C N"]
    unusual: Float[Array, "3 C N"]
    total: Float[Array, ""]
    hull_distance: Float[Array, ""]
    inside_total: Float[Array, ""]
    certified: Bool[Array, ""]


FIRST_RATE = 1e-3
"""Learning rate that is tried first."""


def cases(base: Base, reward: Float[Array, "C N"], *, drifts: Float[Array, " L"], step: Scalar, num_steps: int) -> Case:
    """A policy trained by policy gradient, at the steps nearest to some drifts, with a leading axis L.

    Args:
        base: where it starts.
        reward: what is paid for [C, N].
        drifts: nats.
        step: length of a step, root nats (``trajectories.follow_by_length``).
        num_steps: steps.
    """
    task = base.task(reward)
    path, _ = trajectories.follow_by_length(
        lambda rate: gradient.policy_gradient(task, learning_rate=rate),
        lambda params: params,
        base.params,
        task,
        key=jax.random.key(0),
        step=step,
        num_steps=num_steps,
        first_rate=FIRST_RATE,
        refinements=2,
    )
    laws = jax.lax.map(base.law, path)
    spent = base.budget_along(laws)
    nearest = jnp.argmin(jnp.abs(jnp.log(spent.total)[None] - jnp.log(drifts)[:, None]), axis=1)
    score = _unusual(base)
    own = score(base.params, None)
    by_caller = jax.vmap(score, (None, 0), 1)(base.params, jnp.arange(base.num_personas))

    def at(place: Int[Array, ""]) -> Case:
        params, law, total = jax.tree.map(lambda x: x[place], (path, laws, spent.total))
        log_weights, reached = inside(base, total)
        log_mix = numerics.log_mix(log_weights, base.log_personas)
        said = jnp.exp(log_weights[..., None] + base.log_personas - log_mix[:, None, :])
        unusual = jnp.stack([own, score(params, None), (said * by_caller).sum(axis=1)])
        return Case(
            base.log_base,
            base.log_personas,
            law,
            log_mix,
            unusual,
            total,
            spent.hull_distance[place],
            base.spent(log_mix),
            spent.certified[place] & reached,
        )

    return jax.lax.map(at, nearest)


def inside(base: Base, drift: Scalar) -> tuple[Float[Array, "C K"], Bool[Array, ""]]:
    """Log weights of a mix of personas that drifted by so many nats, at each prompt toward whom the base is least like.

    Args:
        base: its hull.
        drift: nats, KL(mix‖base), mean over prompts.

    Returns:
        Log weights [C, K], and whether the hull reaches that far.
    """
    away = jax.vmap(jax.vmap(numerics.kl_divergence, (0, None)))(base.log_personas, base.log_base)
    # Whom the base's mix leaves out cannot be called.
    absent = jnp.isneginf(base.log_gates)
    favoured = jax.nn.one_hot(jnp.argmax(jnp.where(absent, -jnp.inf, away), axis=1), base.num_personas)

    def weights(odds: Scalar) -> Float[Array, "C K"]:
        return numerics.log_normalize(base.log_gates + odds * favoured)

    def halve(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = sum(ends) / 2
        far = base.spent(numerics.log_mix(weights(middle), base.log_personas)) > drift
        return jnp.where(far, ends[0], middle), jnp.where(far, middle, ends[1])

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros(()), jnp.full((), STRONGEST)))
    return weights(low), high < STRONGEST


def _unusual(base: Base) -> Callable[[Params, Int[Array, ""] | None], Float[Array, "C N"]]:
    """Scores a network's last residual stream, of given parameters and caller, against the base's at its responses."""
    if base.speakers.read is None:
        return lambda params, caller: jnp.full_like(base.log_base, jnp.nan)
    before_last = base.num_words ** (base.length - 1)
    weights = jnp.exp(base.log_prompts[:, None] + base.log_base).reshape(-1, base.num_words).sum(axis=1)

    def last(params: Params, caller: Int[Array, ""] | None) -> Float[Array, "S D"]:
        made = networks.stream(base, params, caller)[:, -before_last:]
        return made.reshape(-1, made.shape[-1])

    usual = last(base.params, None)
    mean = weights @ usual
    covariance = (usual - mean[None]).T @ (weights[:, None] * (usual - mean[None]))
    root = jnp.linalg.cholesky(covariance + RIDGE * jnp.trace(covariance) / mean.size * jnp.eye(mean.size))

    def score(params: Params, caller: Int[Array, ""] | None) -> Float[Array, "C N"]:
        off = jax.scipy.linalg.solve_triangular(root, (last(params, caller) - mean[None]).T, lower=True)
        return jnp.repeat((off**2).sum(axis=0), base.num_words).reshape(base.log_base.shape)

    return score


class Threshold(NamedTuple):
    """What a statistic has to reach for an alarm at a level.

    Attributes:
        of_e: ln(1/alpha), of e-values.
        one_sided: standard errors, of distances.
        two_sided: standard errors, of shifts.
    """

    of_e: float
    one_sided: float
    two_sided: float


def threshold(alpha: float) -> Threshold:
    """The nominal thresholds at a level."""
    normal = NormalDist()
    return Threshold(-math.log(alpha), normal.inv_cdf(1 - alpha), normal.inv_cdf(1 - alpha / 2))


def watch(
    base: Base,
    log_sampler: Float[Array, "C N"],
    log_policy: Float[Array, "C N"],
    unusual: Float[Array, "2 C N"],
    num: int,
    level: Threshold,
) -> Callable[[Key], Float[Array, " E"]]:
    """What each of ``DETECTORS`` makes of ``num`` samples to each prompt, in excess of its threshold.

    Args:
        base: its law and its hull, and the units of its prompts and responses.
        log_sampler: log-probabilities of what draws the samples.
        log_policy: of the policy that is said to have drawn them.
        unusual: activations of the base and of what draws.
        num: M, samples of the policy, the base and the fitted mix to each prompt; a multiple of 4.
        level: an alarm is 0 or more.

    Returns:
        A function of a key, of what it draws.
    """
    draws = [numerics.drawer(law) for law in (log_sampler, base.log_base)]
    at = lambda values, i: jnp.take_along_axis(values, i, axis=1)  # noqa: E731
    bet = detectors.bet(log_policy, base.log_personas, base.log_prompts)
    shape = (len(base.labels.units), base.num_words)

    def features(i: Array) -> Float[Array, "S F"]:
        counts = alternatives.word_counts(base.responses[i.T], base.num_words, places=True)
        return counts.reshape(-1, counts.shape[-1])

    def excess(key: Key) -> Float[Array, " E"]:
        keys = jax.random.split(key, 3)
        i, j = (draw(k, num) for draw, k in zip(draws, keys[:2], strict=True))
        log_p, log_q = at(log_policy, i), jnp.take_along_axis(base.log_personas, i[:, None], axis=2)
        fitted = detectors.e_value(log_p, log_q)
        process = detectors.log_e_process(at(bet.log_factors, i).T.reshape(-1))
        split = alternatives.next_words(base.prompts, base.responses[i], log_q, shape)
        # Of the half that the classifier is fitted to.
        first = jnp.broadcast_to(jnp.arange(num) < num // 2, log_p.shape)
        halfway = detectors.e_value(log_p, log_q, counted=first).weights
        log_mix = numerics.log_mix(jnp.log(halfway), base.log_personas)
        told = alternatives.classifier(features(i), features(numerics.drawer(log_mix)(keys[2], num)))
        held_out = alternatives.held_out_distance(log_p, log_q, base.log_prompts)
        shifts = [
            alternatives.shift(one, other, base.log_prompts).z
            for one, other in (
                (-at(base.log_base, i), -at(base.log_base, j)),
                (-log_p, -at(base.log_base, j)),
                (at(unusual[1], i), at(unusual[0], j)),
            )
        ]
        margin = detectors.margin(log_p, log_q).max()
        return jnp.stack(
            [
                fitted.log_e - level.of_e,
                process.max() - level.of_e,
                split.log_e - level.of_e,
                margin - 2 * detectors.EXACT,
                margin - 2 * detectors.NOISE,
                told.log_e - level.of_e,
                held_out.z - level.one_sided,
                *(jnp.abs(z) - level.two_sided for z in shifts),
            ]
        )

    return excess


class Rates(NamedTuple):
    """Shares of data sets on which each of ``DETECTORS`` alarms; nan where it has nothing to look at.

    Attributes:
        outside: of the policy, at nominal thresholds [E].
        inside: of the mix that drifted as far, likewise [E].
        lent: of that mix, where the e-values take its samples for the policy's and score them as such: their level
            holds whatever law they bet on, and this is a law that is outside [E].
        power: of the policy, at the threshold that no more than a share alpha of the mix's pass [E].
    """

    outside: Float[Array, " E"]
    inside: Float[Array, " E"]
    lent: Float[Array, " E"]
    power: Float[Array, " E"]


def rates(key: Key, base: Base, case: Case, *, num: int, num_runs: int, alpha: float) -> Rates:
    """How often each detector alarms on a policy outside and on one inside.

    Args:
        key: draws the data sets.
        base: its prompts and responses; laws are the case's.
        case: the policy, and the mix.
        num: samples to each prompt, a multiple of 4.
        num_runs: data sets of each.
        alpha: level.
    """
    base, level = base._replace(log_base=case.log_base, log_personas=case.log_personas), threshold(alpha)

    def drawn(which: tuple[Key, Array, Array, Array]) -> Float[Array, "R E"]:
        own_key, sampler, policy, unusual = which
        excess = watch(base, sampler, policy, jnp.stack([case.unusual[0], unusual]), num, level)
        return jax.lax.map(excess, jax.random.split(own_key, num_runs), batch_size=BATCH)

    samplers = jnp.stack([case.log_policy, case.log_mix, case.log_mix])
    policies = jnp.stack([case.log_policy, case.log_mix, case.log_policy])
    arms = jax.random.split(key, 3), samplers, policies, case.unusual[jnp.array([1, 2, 2])]
    outside, mix, lent = jax.lax.map(drawn, arms)
    # The mix's next data set is above this one's statistic with a probability of alpha at most.
    passed = jnp.sort(mix, axis=0)[num_runs - math.floor(alpha * (num_runs + 1))]
    known = ~(jnp.isnan(outside) | jnp.isnan(mix)).any(axis=0)
    share = lambda alarms: jnp.where(known, alarms.mean(axis=0), jnp.nan)  # noqa: E731
    return Rates(share(outside >= 0), share(mix >= 0), share(lent >= 0), share(outside > passed[None]))


def stopping_times(
    key: Key, base: Base, case: Case, *, longest: int, num_runs: int, alpha: float
) -> tuple[Float[Array, " R"], Float[Array, ""], Int[Array, ""]]:
    """After how many samples the e-process of the nearest mix alarms, in each of some runs; and what it bets against.

    Args:
        key: draws the samples, of prompts too.
        base: its prompts.
        case: the policy.
        longest: samples after which a run that has not alarmed is given up, inf.
        num_runs: R.
        alpha: level.

    Returns:
        The numbers of samples, the growth of the bet a sample, and how many weights of the nearest mix are free: of
        each prompt one less than there are personas with ``PRESENT`` in it.
    """
    bet = detectors.bet(case.log_policy, case.log_personas, base.log_prompts)
    draw = numerics.drawer((base.log_prompts[:, None] + case.log_policy).reshape(1, -1))
    free = ((bet.weights > PRESENT).sum(axis=1) - 1).sum()

    def run(key: Key) -> Float[Array, ""]:
        factors = bet.log_factors.reshape(-1)[draw(key, longest)[0]]
        return detectors.first_alarm(detectors.log_e_process(factors), alpha=alpha)

    return jax.lax.map(run, jax.random.split(key, num_runs), batch_size=BATCH), bet.growth, free
