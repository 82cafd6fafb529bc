"""Training on some prompts only: what is forgotten at the others, and how far a persona that is paid spreads to them.

The others keep their place in every array and have probability 0 while a rule trains, so that no rule sees them.
"""

from collections.abc import Mapping
from typing import NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics, rewards, theory
from toypersona.bases import Base
from toypersona.measures import drift, first_choice, support
from toypersona.rules import catalogue, imitation, reinforce
from toypersona.trajectories import MakeRule
from toypersona.transcripts import END
from toypersona.types import Key, Scalar
from toypersona.worlds.world import log_responsibilities

OUTSIDE = 2.0
"""Of an outsider's lines: in proportion to ``exp(2 reward)``, whoever talks like that or not."""


def _on_an_outsider_s(setup: catalogue.Setup) -> MakeRule:
    """SFT on the lines of somebody who is paid as well, and is nobody in the base."""
    demonstrator = jax.nn.log_softmax(OUTSIDE * setup.reward)
    return catalogue.RULES["SFT"].make(setup._replace(demonstrator=demonstrator))


RULES = {
    **{name: rule for name, rule in catalogue.RULES.items() if name not in catalogue.CONTROLS},
    **catalogue.EXACT_GRADIENTS,
    "SFT, outsider": catalogue.RULES["SFT"]._replace(make=_on_an_outsider_s),
}
"""Of the catalogue all that learn something, and SFT on the lines of an outsider."""

TILTS = 0.1, 10.0
"""Weakest and strongest tilt that is put beside the rules."""

WAYS = ("SFT", "RL")
NUM_SAMPLES = 8
"""Responses to each prompt at every step of RL."""


class Split(NamedTuple):
    """A base where only the rewarded prompts occur, and the same base where only the others do."""

    rewarded: Base
    others: Base

    def measured(
        self, log_policy: Float[Array, "C N"], reward: Float[Array, "C N"], right: Float[Array, "C N"], said: Scalar
    ) -> dict[str, Array]:
        """What the literature plots of a policy.

        Args:
            log_policy: log pi(x|c) [C, N].
            reward: [C, N].
            right: 1 where a response is right [C, N].
            said: the probability from which a response counts as said.

        Returns:
            At the rewarded prompts KL(policy‖base) (``from_base``), KL(base‖policy) (``to_base``), ``reward``,
            ``token_entropy``, ``selection_fraction`` and ``certified``, ``support.Counts`` and
            ``first_choice.FirstChoice``; at the others what is ``forgotten`` and ``altered``.
        """
        new, units = self.rewarded, self.rewarded.labels.units
        mix, from_base = nearest(new, log_policy), new.spent(log_policy)
        still = from_base <= drift.UNMOVED
        mean = lambda values: numerics.expectation(new.log_prompts, values)  # noqa: E731
        words = {"num_words": new.num_words, "length": new.length, "end": units.index(END) if END in units else None}
        against = log_policy, new.log_base
        return {
            "from_base": from_base,
            "to_base": mean(numerics.kl_divergence(new.log_base, log_policy)),
            "reward": new.mean(log_policy, reward),
            "token_entropy": mean(numerics.entropy(log_policy)) / new.length,
            # As in a drift budget: what has not moved has selected all of it.
            "selection_fraction": jnp.where(still, 1.0, 1 - mix.distance / jnp.where(still, 1.0, from_base)),
            "certified": mix.certified,
            "forgotten": forgotten(self.others, log_policy),
            "altered": altered(self.others, log_policy),
            **support.counts(*against, right, new.log_prompts, threshold=said)._asdict(),
            **first_choice.first_choice(*against, new.log_prompts, **words)._asdict(),
        }


def split(key: Key, base: Base, num_rewarded: int) -> Split:
    """A random choice of the prompts that are rewarded.

    Raises:
        ValueError: none is left for one of the two.
    """
    num_prompts = base.log_prompts.shape[0]
    if not 0 < num_rewarded < num_prompts:
        raise ValueError(f"Of {num_prompts} prompts from 1 to {num_prompts - 1} can be rewarded, not {num_rewarded}.")
    rewarded = jax.random.permutation(key, num_prompts) < num_rewarded
    some = lambda which: base._replace(  # noqa: E731
        log_prompts=jax.nn.log_softmax(jnp.where(which, base.log_prompts, -jnp.inf))
    )
    return Split(some(rewarded), some(~rewarded))


def heard(base: Base, log_policy: Float[Array, "C N"]) -> Float[Array, "C K"]:
    """How often a listener who knows the base hears each persona: ``E_pi[P(k|c, x)]``, the gates under the base."""
    posterior = jnp.exp(log_responsibilities(base.log_gates, base.log_personas))
    return jnp.einsum("cn,ckn->ck", jnp.exp(log_policy), posterior)


def forgotten(base: Base, log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
    """The share of the answers that another persona gives than the base would let speak.

    It is the total variation between who is heard and who was called, and linear in the policy's probabilities up to
    its absolute values: neither direction of KL is in it.
    """
    moved = jnp.abs(heard(base, log_policy) - jnp.exp(base.log_gates)).sum(axis=1) / 2
    return numerics.expectation(base.log_prompts, moved)


def altered(base: Base, log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
    """The total variation between the responses of policy and base."""
    moved = jnp.abs(jnp.exp(log_policy) - jnp.exp(base.log_base)).sum(axis=1) / 2
    return numerics.expectation(base.log_prompts, moved)


class Nearest(NamedTuple):
    """The nearest mix of the personas at prompts that occur.

    Attributes:
        weights: of each persona, averaged over prompts [K].
        distance: KL(policy‖mix), nats.
        certified: whether every projection reached its tolerance.
    """

    weights: Float[Array, " K"]
    distance: Float[Array, ""]
    certified: Bool[Array, ""]


def nearest(base: Base, log_policy: Float[Array, "C N"]) -> Nearest:
    """The nearest mix, without the parts of a drift budget."""
    return _averaged(base, jax.vmap(hulls.project)(log_policy, base.log_personas))


def _averaged(base: Base, found: hulls.Projection) -> Nearest:
    """Over the prompts of the base, from the projection at each."""
    distance = numerics.expectation(base.log_prompts, found.distance - found.rounding)
    return Nearest(base.rho @ found.weights, distance, (found.certified | (base.rho == 0)).all())


def followed(
    setup: catalogue.Setup, parts: Split, rules: Mapping[str, catalogue.Entry], steps: np.ndarray, said: Scalar
) -> dict[str, Float[Array, "L R"]]:
    """What is measured along the tilt, and along every rule's path on the rewarded prompts.

    Args:
        setup: what rules start from; its key is for all of them, and each does the same whatever it is compared with.
        parts: the base at the prompts rewarded, and at the others.
        rules: by name; L is one more, the tilts come first. These leave the other prompts alone.
        steps: after which to record, increasing [R].
        said: the probability from which a response counts as said.

    Returns:
        As ``Split.measured``, each [L, R].
    """
    base, reward = parts.rewarded, setup.reward

    def walk(name: str, rule: catalogue.Entry) -> Float[Array, "R C N"]:
        own = jax.random.fold_in(jax.random.clone(setup.key), crc32(name.encode()))
        data_key, walk_key = jax.random.split(own)
        way = {"marks": rule.rate * jnp.asarray(steps), "max_step": rule.rate}
        return base.follow(rule.make(setup._replace(key=data_key)), key=walk_key, **way)

    def tilt(strength: Array) -> Float[Array, "C N"]:
        return jnp.where(base.rho[:, None] > 0, theory.tilt(base.log_base, reward, strength), base.log_base)

    tilts = jax.lax.map(tilt, jnp.geomspace(*TILTS, len(steps)))
    paths = jnp.stack([tilts, *(walk(name, rule) for name, rule in rules.items())])
    measure = lambda log_policy: parts.measured(log_policy, reward, setup.right, said)  # noqa: E731
    return jax.lax.map(lambda path: jax.lax.map(measure, path), paths)


def spreading(
    key: Key, parts: Split, persona: int, rates: Float[Array, " R"], *, num_steps: int, num_rewarded: int
) -> dict[str, Array]:
    """SFT on a persona's lines and RLOO for its answers, which read equally many responses in equally many steps.

    Args:
        key: draws the lines, as many as RL samples, and the samples.
        parts: the base at the prompts rewarded, and at the others.
        persona: the number of the one who demonstrates, and is paid for.
        rates: learning rates [R].
        num_steps: of both.
        num_rewarded: prompts that occur.

    Returns:
        At the end of each of ``WAYS`` [W, R]: ``spread_drift``, nats spent at the rewarded prompts, the weight that the
        persona gained in the nearest mix there (``spread_rewarded``) and at the others (``spread_others``), and
        ``spread_certified``.
    """
    new, each = parts.rewarded, NUM_SAMPLES * num_rewarded
    line_key, walk_key = jax.random.split(key)
    affine = rewards.persona_affine(new.log_gates, new.log_personas, jax.nn.one_hot(persona, new.num_personas))
    task = new.task(rewards.standardise(affine, new.log_base, new.log_prompts))
    mine = new.log_personas[:, persona]
    lines = imitation.demonstrations(line_key, mine, new.log_prompts, new.responses, num_steps * each)
    makers = (
        lambda rate: imitation.sft(task, *lines, learning_rate=rate, batch_size=each),
        lambda rate: reinforce.rloo(task, learning_rate=rate, num_samples=NUM_SAMPLES),
    )

    def end(make_rule: MakeRule, rate: Array) -> Float[Array, "C N"]:
        way = {"marks": jnp.reshape(rate * num_steps, (1,)), "max_step": rate}
        return new.follow(make_rule, key=jax.random.clone(walk_key), **way)[0]

    def measured(log_policy: Float[Array, "C N"]) -> dict[str, Array]:
        found = jax.vmap(hulls.project)(log_policy, new.log_personas)
        here, there = (_averaged(part, found) for part in parts)
        return {
            "spread_drift": new.spent(log_policy),
            "spread_rewarded": here.weights[persona],
            "spread_others": there.weights[persona],
            "spread_certified": here.certified & there.certified,
        }

    ends = jnp.stack([jax.lax.map(lambda rate, make=make: end(make, rate), rates) for make in makers])
    # The base first: weights are told from its own.
    made = jax.lax.map(measured, jnp.concatenate([new.log_base[None], ends.reshape(-1, *ends.shape[2:])]))
    made |= {name: made[name] - made[name][0] for name in ("spread_rewarded", "spread_others")}
    return {name: x[1:].reshape(ends.shape[:2]) for name, x in made.items()}
