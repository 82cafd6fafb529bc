"""Every way to train that the experiment ``rules`` compares, each with its learning rate and what is known of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from experiments import features
from toypersona import theory
from toypersona.policies import mixture
from toypersona.policies.base import Policy
from toypersona.rules import advantages, clipped, divergences, gradient, imitation, preferences, reinforce
from toypersona.rules.base import UpdateRule
from toypersona.types import Key, Params, Scalar

NUM_SAMPLES = 8
"""Responses to each prompt at every step of a sampled rule."""

KL = 0.3
"""Of rules with a penalty on KL(pi‖pi0)."""

NUM_LINES = 4096
"""Demonstrations and judged pairs that offline rules are given."""


class Problem(NamedTuple):
    """What there is to train on.

    Attributes:
        policy: of the mixture, with all parameters free.
        params: the base's.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        responses: all of them [N, T].
        log_base: [C, N].
        log_helpful: the helpful persona's responses [C, N].
        reward: [C, N].
        right: 1 where a response counts as right [C, N].
        key: for demonstrations and pairs, where there are any.
    """

    policy: Policy
    params: Params
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    responses: Int[Array, "N T"]
    log_base: Float[Array, "C N"]
    log_helpful: Float[Array, "C N"]
    reward: Float[Array, "C N"]
    right: Float[Array, "C N"]
    key: Key | None = None

    def given(self) -> tuple[Policy, Array, Array, Callable[[Array, Array], Array]]:
        """The first arguments of a sampled rule."""
        return self.policy, self.prompts, self.log_prompts, self.pay

    def exact(self) -> tuple[Policy, Array, Array, Array]:
        """The first arguments of an exact rule."""
        return self.policy, self.prompts, self.log_prompts, self.reward

    def place(self, tokens: Int[Array, " T"]) -> Int[Array, ""]:
        """Where in the list of responses one stands."""
        num_words = round(self.responses.shape[0] ** (1 / tokens.shape[0]))
        return tokens @ num_words ** jnp.arange(tokens.shape[0] - 1, -1, -1)

    def pay(self, prompt_index: Int[Array, ""], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        """The reward of one response."""
        return self.reward[prompt_index, self.place(tokens)]


Make = Callable[[Problem], Callable[[Scalar], UpdateRule]]


class Trainer(NamedTuple):
    """A way to train.

    Attributes:
        make: ``(problem) -> (learning rate) -> UpdateRule``; data is drawn by the first call.
        rate: learning rate at factor 1, at which a few hundred steps spend about a nat.
        exact: its exact counterpart.
        oracle: the independent implementation that its step agrees with in tests.
        knob: what sets its strength beside learning rate and steps.
    """

    make: Make
    rate: float
    exact: str = ""
    oracle: str = ""
    knob: str = ""


def _sampled(rule: Callable[..., UpdateRule], **how: Any) -> Make:
    how = {"num_samples": NUM_SAMPLES} | how
    return lambda problem: lambda rate: rule(*problem.given(), learning_rate=rate, **how)


def _to_base(rule: Callable[..., UpdateRule], **how: Any) -> Make:
    return lambda problem: _sampled(rule, ref_params=problem.params, **how)(problem)


def _clipped_adam(rate: Scalar) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(0.1), optax.adam(rate))


def _gates_only(problem: Problem) -> Callable[[Scalar], UpdateRule]:
    gates = mixture.scoped(problem.policy, mixture.SCOPES["gates"])
    return _sampled(reinforce.rloo)(problem._replace(policy=gates))


def _rejection(problem: Problem) -> Callable[[Scalar], UpdateRule]:
    keep = advantages.accepted(0.5)
    return _sampled(imitation.expert_iteration, keep=keep, num_epochs=2)(problem._replace(reward=problem.right))


def _dpo(beta: float) -> Make:
    def make(problem: Problem) -> Callable[[Scalar], UpdateRule]:
        who = problem.policy, problem.params, problem.prompts, problem.log_prompts
        assert problem.key is not None
        pairs = preferences.sample_pairs(problem.key, *who, problem.pay, NUM_LINES)
        how = {"beta": beta, "ref_params": problem.params}
        return lambda rate: preferences.dpo(problem.policy, problem.prompts, pairs, learning_rate=rate, **how)

    return make


def demonstrations(
    key: Key, log_persona: Float[Array, "C N"], log_prompts: Float[Array, " C"], responses: Int[Array, "N T"], num: int
) -> tuple[Int[Array, " M"], Int[Array, "M T"]]:
    """What one persona answers to M prompts: prompt indices and responses."""
    prompt_key, response_key = jax.random.split(key)
    which = jax.random.categorical(prompt_key, log_prompts, shape=(num,))
    return which, responses[jax.random.categorical(response_key, log_persona[which])]


def _sft(num_lines: int) -> Make:
    def make(problem: Problem) -> Callable[[Scalar], UpdateRule]:
        given = problem.log_helpful, problem.log_prompts, problem.responses
        assert problem.key is not None
        which, tokens = demonstrations(problem.key, *given, num_lines)
        return lambda rate: imitation.sft(problem.policy, problem.prompts[which], tokens, learning_rate=rate)

    return make


def _paid_by_chance(problem: Problem) -> Callable[[Scalar], UpdateRule]:
    nothing = problem._replace(reward=jnp.zeros_like(problem.reward))
    return _sampled(reinforce.rloo, reward_noise=1.0)(nothing)


def _paid_alike(**how: Any) -> Make:
    def make(problem: Problem) -> Callable[[Scalar], UpdateRule]:
        return _sampled(reinforce.reinforce, **how)(problem._replace(reward=jnp.ones_like(problem.reward)))

    return make


def _best_of_n_exact(problem: Problem) -> Callable[[Scalar], UpdateRule]:
    law = theory.best_of_n(problem.log_base, problem.reward, NUM_SAMPLES)
    who = problem.policy, problem.prompts, problem.log_prompts
    return lambda rate: imitation.match(*who, lambda _: law, learning_rate=rate)


_EXACT = "policy gradient"
_ALL = "rlax, TRL, Tunix"
TRAINERS = {
    _EXACT: Trainer(lambda problem: lambda rate: gradient.policy_gradient(*problem.exact(), learning_rate=rate), 0.5),
    "REINFORCE": Trainer(_sampled(reinforce.reinforce), 0.5, _EXACT, "rlax"),
    "REINFORCE, mean": Trainer(
        _sampled(reinforce.reinforce, advantage=advantages.centred), 0.5, f"{_EXACT} × (M−1)/M", "TRL, Tunix"
    ),
    "RLOO": Trainer(_sampled(reinforce.rloo), 0.5, _EXACT, _ALL, "M"),
    "RLOO, KL in reward": Trainer(
        _to_base(reinforce.rloo, kl_coefficient=KL),
        0.5,
        f"{_EXACT} with KL; on a table the tilt",
        "TRL",
        "β",
    ),
    "RLOO, k2 in loss": Trainer(
        _to_base(reinforce.rloo, kl_coefficient=KL, kl_loss=divergences.k2),
        0.5,
        f"{_EXACT} with KL",
        "enumeration",
        "β",
    ),
    "RLOO, k1 in loss": Trainer(
        _to_base(reinforce.rloo, kl_coefficient=KL, kl_loss=divergences.k1), 0.5, _EXACT, "Tunix", "β, in vain"
    ),
    "RLOO, entropy": Trainer(
        _sampled(reinforce.rloo, entropy_coefficient=0.3), 0.5, f"{_EXACT} with KL to uniform", "rlax", "its weight"
    ),
    "RLOO, clipped Adam": Trainer(_sampled(reinforce.rloo, optimizer=_clipped_adam), 0.02, "", "optax", "norm"),
    "RLOO, gates only": Trainer(_gates_only, 2.0, f"{_EXACT} on the gates", "enumeration", "scope"),
    "GRPO": Trainer(_sampled(clipped.grpo), 0.5, f"{_EXACT} / standard deviation, M → ∞", "TRL, Tunix", "M"),
    "GRPO, M = 2": Trainer(_sampled(clipped.grpo, num_samples=2), 0.5, "", "TRL, Tunix", "M"),
    "GRPO, k3 in loss": Trainer(
        _to_base(clipped.grpo, kl_coefficient=KL), 0.5, "KL(base‖policy) of each next word", "TRL, Tunix", "β"
    ),
    "Dr. GRPO": Trainer(_sampled(clipped.grpo, normalise=False), 0.5, f"{_EXACT} × (M−1)/M", "TRL, Tunix", "M"),
    "PPO, token": Trainer(_sampled(clipped.ppo_clip), 0.2, f"first epoch: {_EXACT}", "TRL, Tunix", "clip range"),
    "PPO, token, 16 epochs": Trainer(
        _sampled(clipped.ppo_clip, num_epochs=16), 0.1, f"first epoch: {_EXACT}", "TRL, Tunix", "epochs"
    ),
    "PPO, sequence": Trainer(
        _sampled(clipped.ppo_clip, level="sequence"), 0.2, f"first epoch: {_EXACT}", "rlax, TRL", "clip range"
    ),
    "expert iteration": Trainer(
        _sampled(imitation.expert_iteration, num_epochs=2),
        0.2,
        "exact imitation of its best",
        "enumeration",
        "n, epochs",
    ),
    "rejection": Trainer(_rejection, 1.0, f"first epoch: {_EXACT} on passing", "REINFORCE", "threshold"),
    "best of 8": Trainer(_to_base(imitation.best_of_n), 0.5, "best of 8, exact", "enumeration", "n"),
    "best of 8, exact": Trainer(_best_of_n_exact, 0.5, "", "every draw of n", "n"),
    "best of 64": Trainer(_to_base(imitation.best_of_n, num_samples=64), 0.5, "exact imitation", "enumeration", "n"),
    "DPO": Trainer(_dpo(0.5), 4.0, "on a table the tilt", "TRL, Tunix", "β"),
    "DPO, β = 0.1": Trainer(_dpo(0.1), 20.0, "on a table the tilt", "TRL, Tunix", "β"),
    "SFT": Trainer(_sft(NUM_LINES), 0.5, "exact imitation", "enumeration", "demonstrations"),
    "SFT, 64 lines": Trainer(_sft(64), 0.5, "exact imitation", "enumeration", "demonstrations"),
    "paid by chance": Trainer(_paid_by_chance, 0.5),
    "paid alike": Trainer(_paid_alike(), 0.5),
    "paid alike, RLOO": Trainer(_paid_alike(advantage=advantages.leave_one_out), 0.5),
}
CONTROLS = ("paid by chance", "paid alike", "paid alike, RLOO")


def own(name: str) -> Trainer:
    """A user's rule, ``FILE.py:FUNCTION``.

    ``FUNCTION(policy, params, prompts, log_prompts, reward, learning_rate) -> UpdateRule``, ``reward(prompt index,
    tokens [T]) -> []`` and ``params`` the base's.

    Raises:
        ValueError: no such file or function.
    """
    function = features.imported("own", name)

    def make(problem: Problem) -> Callable[[Scalar], UpdateRule]:
        given = problem.policy, problem.params, problem.prompts, problem.log_prompts, problem.pay

        def at(rate: Scalar) -> UpdateRule:
            made = function(*given, rate)
            if not isinstance(made, UpdateRule):
                raise ValueError(
                    f"--own {name} returned {type(made).__name__}, not a toypersona.rules.base.UpdateRule."
                )
            return made

        return at

    return Trainer(make, 0.5)
