"""Fine-tuning on somebody's lines, few or many, and whether a persona that was trained away comes back by it.

All of it is SFT (``rules.imitation.sft``), followed from a base or from what some rule has made of it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains, hulls, numerics, trajectories
from toypersona.bases import Base
from toypersona.rules import imitation
from toypersona.trajectories import MakeRule
from toypersona.types import Key, Params, Scalar

NUM_LINES = 4096
"""Lines that are read to bring a persona back."""


def stranger(key: Key, base: Base, persona: int) -> Float[Array, "C N"]:
    """What somebody answers who says a persona's words in each other's places: as predictable, and like nobody.

    Args:
        key: draws which word takes which place, the same after everything that was said.
        base: its personas are of any kind.
        persona: the number of the one whose words are permuted. After what it never says, every word is as likely.
    """
    _, log_next = chains.histories(base.log_personas[:, persona], base.num_words, base.length)
    known = jnp.where(jnp.isneginf(log_next).all(axis=-1, keepdims=True), -jnp.log(base.num_words), log_next)
    permuted = jax.random.permutation(key, known, axis=-1, independent=False)
    return jax.vmap(chains.listed, (0, None))(permuted, base.length)


def on_lines(
    key: Key,
    base: Base,
    log_demonstrators: Float[Array, "D C N"],
    num_lines: Sequence[int],
    *,
    steps: Int[Array, " R"],
    learning_rate: Scalar,
) -> tuple[Float[Array, "D L R C N"], Float[Array, "D L R"]]:
    """SFT from the base on few to many lines of several demonstrators.

    Args:
        key: draws lines and batches; fewer lines of a demonstrator are the first ones of more.
        base: where SFT starts.
        log_demonstrators: log-probabilities of those who write the lines [D, C, N].
        num_lines: L numbers of lines.
        steps: after which to record, increasing [R].
        learning_rate: step length.

    Returns:
        The policies on the way, and KL(demonstrator‖policy) in nats.
    """
    task, most = base.task(jnp.zeros_like(base.log_base)), max(num_lines)

    def on(inputs: tuple[Array, Array]) -> tuple[Float[Array, "L R C N"], Float[Array, "L R"]]:
        log_demonstrator, number = inputs
        line_key, walk_key = jax.random.split(jax.random.fold_in(key, number))
        lines = imitation.demonstrations(line_key, log_demonstrator, base.log_prompts, base.responses, most)

        def walk(num: Int[Array, ""]) -> Float[Array, "R C N"]:
            make_rule = lambda size: imitation.sft(task, *lines, learning_rate=size, num_lines=num)  # noqa: E731
            return base.follow(make_rule, key=walk_key, marks=learning_rate * steps, max_step=learning_rate)

        paths = jax.lax.map(walk, jnp.asarray(num_lines))

        def missed(log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
            return numerics.expectation(base.log_prompts, numerics.kl_divergence(log_demonstrator, log_policy))

        return paths, jax.vmap(jax.vmap(missed))(paths)

    return jax.lax.map(on, (log_demonstrators, jnp.arange(log_demonstrators.shape[0])))


def at_drifts(
    key: Key,
    base: Base,
    rules: Sequence[tuple[MakeRule, Scalar]],
    drifts: Float[Array, " D"],
    *,
    steps: Int[Array, " R"],
) -> Params:
    """Parameters on the paths of some rules from the base, where they have spent the same drift.

    Args:
        key: for rules that sample.
        base: where the paths start.
        rules: L rules, each with its learning rate.
        drifts: levels of KL(policy‖base), nats, above 0 [D].
        steps: after which there is a record, increasing [R].

    Returns:
        At the records whose drifts are nearest to the levels, in the logarithm: parameters with a leading axis L·D, one
        rule after the other.
    """
    tuned = []
    for (make_rule, learning_rate), own_key in zip(rules, jax.random.split(key, len(rules)), strict=True):
        walk = {"key": own_key, "marks": learning_rate * steps, "max_step": learning_rate}
        path, _, _ = trajectories.follow(make_rule, lambda params: params, base.params, **walk)
        spent = jax.lax.map(lambda params: base.spent(base.law(params)), path)
        nearest = jnp.argmin(abs(jnp.log(spent[None] / drifts[:, None])), axis=1)
        tuned.append(jax.tree.map(lambda x, at=nearest: x[at], path))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *tuned)


class Called(NamedTuple):
    """A persona that is asked for, at prompts as it opens them.

    Attributes:
        base: where everybody still is.
        persona: its number.
        log_prompts: log-probability of each prompt where the persona opens it [C].
    """

    base: Base
    persona: int
    log_prompts: Float[Array, " C"]

    @property
    def log_persona(self) -> Float[Array, "C N"]:
        """What the persona answers, log-probabilities in nats."""
        return self.base.log_personas[:, self.persona]

    @property
    def gate(self) -> Float[Array, ""]:
        """Its gate in the base at these prompts."""
        return jnp.exp(self.log_prompts) @ jnp.exp(self.base.log_gates[:, self.persona])

    def presence(self, log_policy: Float[Array, "C N"]) -> Float[Array, " T"]:
        """Its weight in the mix nearest to how a policy goes on after none, one, ... of its words [T].

        Averaged over what it would say.
        """
        num_prompts, num_personas = self.base.log_gates.shape
        after = []
        for said in range(self.base.length):
            shape = (num_prompts, self.base.num_words**said, -1)
            personas = jnp.moveaxis(self.base.log_personas.reshape(num_prompts, num_personas, *shape[1:]), 1, 2)
            begun = jax.nn.logsumexp(personas, axis=-1)
            rest = jax.nn.log_softmax(log_policy.reshape(shape), axis=-1), personas - begun[..., None]
            flat = (x.reshape(-1, *x.shape[2:]) for x in rest)
            weights = hulls.project_batch(*flat, tolerance=1e-9).weights.reshape(num_prompts, -1, num_personas)
            log_weight = begun[..., self.persona] + self.log_prompts[:, None]
            after.append((jnp.exp(log_weight) * weights[..., self.persona]).sum())
        return jnp.stack(after)

    def absence(self, log_policy: Float[Array, "C N"], log_wanted: Float[Array, "C N"]) -> Float[Array, ""]:
        """KL(wanted‖policy) in nats at these prompts: how far they are from being answered as somebody would."""
        return numerics.expectation(self.log_prompts, numerics.kl_divergence(log_wanted, log_policy))

    def by_name(self, params: Params) -> dict[str, Array]:
        """What a network says to these prompts when it is called by the persona's name; of no network, nothing.

        Returns:
            ``name_absence``, KL(base called by name‖called by name), and for comparison ``nobody_absence``,
            KL(base called by nobody‖called by nobody): how much of what they were is lost, nats.
        """
        said, base = self.base.speakers.called, self.base
        if said is None:
            return {}
        named = lambda at: jax.vmap(said, (None, 0))(at, base.prompts)[:, self.persona]  # noqa: E731
        laws = {"name": (named(base.params), named(params)), "nobody": (base.law(base.params), base.law(params))}
        return {f"{who}_absence": self.absence(after, before) for who, (before, after) in laws.items()}

    def bring_back(
        self,
        key: Key,
        params: Params,
        log_wanted: Float[Array, "C N"],
        *,
        steps: Int[Array, " R"],
        learning_rate: Scalar,
    ) -> tuple[Float[Array, " R"], Float[Array, " R"]]:
        """SFT on somebody's lines at these prompts.

        Args:
            key: draws lines and batches.
            params: where SFT starts.
            log_wanted: log-probabilities of whoever writes the lines [C, N].
            steps: after which to record, increasing [R].
            learning_rate: step length.

        Returns:
            The ``absence`` of who is wanted, and the drift since the start at these prompts, both in nats [R].
        """
        base = self.base
        line_key, walk_key = jax.random.split(key)
        lines = imitation.demonstrations(line_key, log_wanted, self.log_prompts, base.responses, NUM_LINES)
        start, task = base.law(params), base.task(jnp.zeros_like(base.log_base))

        def measure(params: Params) -> tuple[Array, Array]:
            log_policy = base.law(params)
            moved = numerics.expectation(self.log_prompts, numerics.kl_divergence(log_policy, start))
            return self.absence(log_policy, log_wanted), moved

        make_rule = lambda size: imitation.sft(task, *lines, learning_rate=size)  # noqa: E731
        walk = {"key": walk_key, "marks": learning_rate * steps, "max_step": learning_rate}
        return trajectories.follow(make_rule, measure, params, **walk)[0]

    def left(self, key: Key, params: Params, **walk: Any) -> dict[str, Array]:
        """What is left of the persona at some parameters, and what brings it back.

        Arguments as in ``bring_back``.

        Returns:
            The drift ``spent`` in nats, its selection fraction ``tuned_fraction``, ``tuned_certified``; ``presence``
            [T] and ``absence`` (nats); ``back_absence`` and ``back_nats`` [R] of ``bring_back`` on its own lines; of a
            network those of ``by_name``.
        """
        log_policy = self.base.law(params)
        spent = self.base.budget(log_policy)
        back_absence, back_nats = self.bring_back(key, params, self.log_persona, **walk)
        return {
            "spent": spent.total,
            "tuned_fraction": spent.selection_fraction,
            "tuned_certified": spent.certified,
            "presence": self.presence(log_policy),
            "absence": self.absence(log_policy, self.log_persona),
            "back_absence": back_absence,
            "back_nats": back_nats,
            **self.by_name(params),
        }


def called(base: Base, persona: int) -> Called:
    """The persona number ``persona`` of a base, asked for."""
    return Called(base, persona, jax.nn.log_softmax(base.log_prompts + base.log_gates[:, persona]))
