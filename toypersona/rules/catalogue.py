"""Every rule by name: its learning rate, what sets its strength, and what it agrees with."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from toypersona import theory, trajectories
from toypersona.bases import Base
from toypersona.policies import mixture
from toypersona.rules import advantages, clipped, divergences, gradient, imitation, preferences, reinforce, tilting
from toypersona.rules.rule import Task, UpdateRule
from toypersona.trajectories import MakeRule
from toypersona.types import Key, Scalar

NUM_SAMPLES = 8
"""Responses to each prompt at every step of a sampled rule."""

KL = 0.3
"""Of rules with a penalty on KL(pi‖pi0)."""

PLAIN_DAMPING = 0.1
"""Of the natural gradient of policies without a chart: a network's is the tilt already, and solved in tens of steps."""

NUM_LINES = 4096
"""Demonstrations and judged pairs that offline rules are given."""


class Setup(NamedTuple):
    """What a rule of the catalogue starts from.

    Attributes:
        base: where it starts.
        reward: of every response [C, N].
        demonstrator: log-probability of each response by whoever demonstrates, for SFT [C, N].
        right: 1 where a response passes, for rejection sampling [C, N].
        key: draws demonstrations and judged pairs.
    """

    base: Base
    reward: Float[Array, "C N"]
    demonstrator: Float[Array, "C N"]
    right: Float[Array, "C N"]
    key: Key


Make = Callable[[Setup], MakeRule]
"""``(setup) -> (learning rate) -> UpdateRule``; data is drawn by the first call."""


class Entry(NamedTuple):
    """One rule.

    Attributes:
        make: makes it.
        rate: learning rate at factor 1, at which a few hundred steps spend about a nat.
        exact: its exact counterpart.
        oracle: the independent implementation that its step agrees with in tests.
        knob: what sets its strength beside learning rate and steps.
        scope: what it trains, by the name that it has in ``policies.policy.Speakers``.
    """

    make: Make
    rate: float
    exact: str = ""
    oracle: str = ""
    knob: str = ""
    scope: str = "both"


def _sampled(rule: Callable[..., UpdateRule], *, scope: str = "both", **hyperparameters: Any) -> Make:
    chosen = {"num_samples": NUM_SAMPLES} | hyperparameters
    return lambda setup: lambda rate: rule(setup.base.task(setup.reward, scope), learning_rate=rate, **chosen)


def _to_base(rule: Callable[..., UpdateRule], **hyperparameters: Any) -> Make:
    return lambda setup: _sampled(rule, ref_params=setup.base.params, **hyperparameters)(setup)


def _paid(reward: Callable[[Setup], Array], make: Make) -> Make:
    return lambda setup: make(setup._replace(reward=reward(setup)))


def _exact(rule: Callable[..., UpdateRule], **hyperparameters: Any) -> Make:
    return lambda setup: lambda rate: rule(setup.base.task(setup.reward), learning_rate=rate, **hyperparameters)


def _clipped_adam(rate: Scalar) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.1), optax.adam(rate))


def _dpo(beta: float) -> Make:
    def make(setup: Setup) -> MakeRule:
        task, params = setup.base.task(setup.reward), setup.base.params
        pairs = preferences.sample_pairs(setup.key, task, params, NUM_LINES)
        return lambda rate: preferences.dpo(task, pairs, learning_rate=rate, beta=beta, ref_params=params)

    return make


def _sft(num_lines: int) -> Make:
    def make(setup: Setup) -> MakeRule:
        base = setup.base
        lines = imitation.demonstrations(setup.key, setup.demonstrator, base.log_prompts, base.responses, num_lines)
        return lambda rate: imitation.sft(base.task(setup.reward), *lines, learning_rate=rate)

    return make


def _best_of_n_exact(setup: Setup) -> MakeRule:
    target = theory.best_of_n(setup.base.log_base, setup.reward, NUM_SAMPLES)
    return lambda rate: imitation.match(setup.base.task(setup.reward), lambda _: target, learning_rate=rate)


_rejection = _sampled(imitation.expert_iteration, keep=advantages.accepted(0.5), num_epochs=2)
_chance = _sampled(reinforce.rloo, reward_noise=1.0)
_alike = lambda setup: jnp.ones_like(setup.reward)  # noqa: E731
_EXACT = "policy gradient"
_ALL = "rlax, TRL, Tunix"
RULES = {
    _EXACT: Entry(_exact(gradient.policy_gradient), 0.5),
    "REINFORCE": Entry(_sampled(reinforce.reinforce), 0.5, _EXACT, "rlax"),
    "REINFORCE, mean": Entry(
        _sampled(reinforce.reinforce, advantage=advantages.centred), 0.5, f"{_EXACT} × (M−1)/M", "TRL, Tunix"
    ),
    "RLOO": Entry(_sampled(reinforce.rloo), 0.5, _EXACT, _ALL, "M"),
    "RLOO, KL in reward": Entry(
        _to_base(reinforce.rloo, kl_coefficient=KL), 0.5, f"{_EXACT} with KL; on a table the tilt", "TRL", "β"
    ),
    "RLOO, k2 in loss": Entry(
        _to_base(reinforce.rloo, kl_coefficient=KL, kl_loss=divergences.k2),
        0.5,
        f"{_EXACT} with KL",
        "enumeration",
        "β",
    ),
    "RLOO, k1 in loss": Entry(
        _to_base(reinforce.rloo, kl_coefficient=KL, kl_loss=divergences.k1), 0.5, _EXACT, "Tunix", "β, in vain"
    ),
    "RLOO, entropy": Entry(
        _sampled(reinforce.rloo, entropy_coefficient=0.3), 0.5, f"{_EXACT} with KL to uniform", "rlax", "its weight"
    ),
    "RLOO, clipped Adam": Entry(_sampled(reinforce.rloo, optimizer=_clipped_adam), 0.02, "", "optax", "norm"),
    "RLOO, gates only": Entry(
        _sampled(reinforce.rloo, scope="gates"), 2.0, f"{_EXACT} on the gates", "enumeration", "scope", scope="gates"
    ),
    "GRPO": Entry(_sampled(clipped.grpo), 0.5, f"{_EXACT} / standard deviation, M → ∞", "TRL, Tunix", "M"),
    "GRPO, M = 2": Entry(_sampled(clipped.grpo, num_samples=2), 0.5, "", "TRL, Tunix", "M"),
    "GRPO, k3 in loss": Entry(
        _to_base(clipped.grpo, kl_coefficient=KL),
        0.5,
        "KL(base‖policy) of each next word",
        "TRL before 1.10, Tunix",
        "β",
    ),
    "GRPO, corrected k3": Entry(
        _to_base(clipped.grpo, kl_coefficient=KL, kl_corrected=True),
        0.5,
        "KL(policy‖base) of each next word",
        "TRL since 1.10",
        "β",
    ),
    "Dr. GRPO": Entry(_sampled(clipped.grpo, normalise=False), 0.5, f"{_EXACT} × (M−1)/M", "TRL, Tunix", "M"),
    "PPO, token": Entry(_sampled(clipped.ppo_clip), 0.2, f"first epoch: {_EXACT}", "TRL, Tunix", "clip range"),
    "PPO, token, 16 epochs": Entry(
        _sampled(clipped.ppo_clip, num_epochs=16), 0.1, f"first epoch: {_EXACT}", "TRL, Tunix", "epochs"
    ),
    "PPO, sequence": Entry(
        _sampled(clipped.ppo_clip, level="sequence"), 0.2, f"first epoch: {_EXACT}", "rlax, TRL", "clip range"
    ),
    "expert iteration": Entry(
        _sampled(imitation.expert_iteration, num_epochs=2),
        0.2,
        "exact imitation of its best",
        "enumeration",
        "n, epochs",
    ),
    "rejection": Entry(
        _paid(lambda setup: setup.right, _rejection), 1.0, f"first epoch: {_EXACT} on passing", "REINFORCE", "threshold"
    ),
    "best of 8": Entry(_to_base(imitation.best_of_n), 0.5, "best of 8, exact", "enumeration", "n"),
    "best of 8, exact": Entry(_best_of_n_exact, 0.5, "", "every draw of n", "n"),
    "best of 64": Entry(_to_base(imitation.best_of_n, num_samples=64), 0.5, "exact imitation", "enumeration", "n"),
    "DPO": Entry(_dpo(0.5), 4.0, "on a table the tilt", "TRL, Tunix", "β"),
    "DPO, β = 0.1": Entry(_dpo(0.1), 20.0, "on a table the tilt", "TRL, Tunix", "β"),
    "SFT": Entry(_sft(NUM_LINES), 0.5, "exact imitation", "enumeration", "demonstrations"),
    "SFT, 64 lines": Entry(_sft(64), 0.5, "exact imitation", "enumeration", "demonstrations"),
    "paid by chance": Entry(_paid(lambda setup: jnp.zeros_like(setup.reward), _chance), 0.5),
    "paid alike": Entry(_paid(_alike, _sampled(reinforce.reinforce)), 0.5),
    "paid alike, RLOO": Entry(_paid(_alike, _sampled(reinforce.reinforce, advantage=advantages.leave_one_out)), 0.5),
}
"""What the experiment ``rules`` compares."""

EXACT_GRADIENTS = {
    "policy gradient, KL": Entry(
        lambda setup: _exact(gradient.policy_gradient, kl_coefficient=KL, log_base=setup.base.log_base)(setup), 0.5
    ),
    "natural gradient": Entry(_exact(gradient.natural_gradient), 0.05),
}
"""Exact rules that only some experiments use."""

CONTROLS = ("paid by chance", "paid alike", "paid alike, RLOO")


def described(rules: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """What a table says of rules, and of the tilt, which is none of them but what many aim at."""
    known = {name: dict(zip(rule._fields[1:], rule[1:], strict=True)) for name, rule in rules.items()}
    return {"tilt": {"exact": "", "oracle": "closed form", "knob": "β"}} | known


def own(function: Callable[..., UpdateRule], name: str) -> Entry:
    """A user's rule: ``(task, ref_params, learning_rate) -> UpdateRule``, called ``name`` in an error."""

    def make(setup: Setup) -> MakeRule:
        def at(rate: Scalar) -> UpdateRule:
            rule = function(setup.base.task(setup.reward), setup.base.params, rate)
            if not isinstance(rule, UpdateRule):
                raise ValueError(f"{name} returned {type(rule).__name__}, not a toypersona.rules.rule.UpdateRule.")
            return rule

        return at

    return Entry(make, 0.5)


def strength_rules(scopes: Iterable[str] = tuple(mixture.SCOPES)) -> tuple[str, ...]:
    """Names of the exact rules that have a strength, in the order of ``along_strengths``: tilt, natural/gates, ..."""
    return ("tilt", *(f"{rule}/{scope}" for rule in ("natural", "vanilla") for scope in scopes))


def along_strengths(
    base: Base,
    reward: Float[Array, "C N"],
    strengths: Float[Array, " R"],
    *,
    natural_step: Scalar,
    vanilla_time: Scalar,
    vanilla_step: Scalar,
) -> tuple[Float[Array, "L R C N"], Float[Array, "L R"]]:
    """The policies along the tilt, and along natural and vanilla policy gradient in every scope.

    Args:
        base: where they start.
        reward: [C, N].
        strengths: s of the tilt; learning rate times steps of natural gradient [R].
        natural_step: longest step of natural gradient, which is damped by ``PLAIN_DAMPING`` if there is no chart.
        vanilla_time: vanilla gradient is recorded where learning rate times steps is this times the strength.
        vanilla_step: its longest step.

    Returns:
        Log pi(x|c), and of natural gradient the largest ``residual`` of any step since the last strength; 0 for rules
        that solve nothing.
    """
    task = base.task(reward)
    key, tilt_by = jax.random.key(0), lambda step: tilting.tilting(task, strength=step)
    tilt, _, _ = trajectories.follow(tilt_by, lambda x: x, base.log_base, key=key, marks=strengths, max_step=jnp.inf)

    def walk(rule: Callable[..., UpdateRule], marks: Float[Array, " R"], max_step: Scalar) -> tuple[Array, Array]:
        def follow(task: Task) -> tuple[Float[Array, "R C N"], Float[Array, " R"]]:
            make_rule = lambda step: rule(task, learning_rate=step)  # noqa: E731
            way = {"key": key, "marks": marks, "max_step": max_step}
            path, info, _ = trajectories.follow(make_rule, base.law, base.params, **way)
            return path, info.get("residual", jnp.zeros_like(marks))

        return trajectories.by_scope(follow, task, base.speakers.scopes)

    damping = gradient.DAMPING if base.policy.chart else PLAIN_DAMPING
    natural = walk(functools.partial(gradient.natural_gradient, damping=damping), strengths, natural_step)
    vanilla = walk(gradient.policy_gradient, vanilla_time * strengths, vanilla_step)
    alone = tilt[None], jnp.zeros_like(strengths)[None]
    paths, residuals = (jnp.concatenate(x) for x in zip(alone, natural, vanilla, strict=True))
    return paths, residuals
