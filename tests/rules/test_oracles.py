"""One step on the same batch as rlax and distrax, run here, and as TRL and Tunix, whose numbers are in ``oracles/``."""

import functools
import json
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampled import LOG_PROMPTS, PARAMS, PLACES, POLICY, PROMPTS, REF, REWARD, TASK, steps

from toypersona import chains
from toypersona.policies.policy import Policy
from toypersona.rules import advantages, clipped, divergences, preferences, reinforce, rollouts
from toypersona.rules.rule import Task

ORACLES = {
    name: json.loads((Path(__file__).parent / "oracles" / f"{name}.json").read_text()) for name in ("trl", "tunix")
}
EPSILON, BETA = 0.2, 0.1


@pytest.fixture
def rlax():
    with warnings.catch_warnings():
        # TensorFlow Probability, below distrax, still uses what jax has deprecated.
        warnings.simplefilter("ignore")
        import rlax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        yield rlax


@pytest.fixture
def distrax(rlax):
    import distrax

    with jax.numpy_rank_promotion("allow"):
        yield distrax


def inputs(library):
    given = {name: jnp.asarray(values) for name, values in ORACLES[library]["inputs"].items()}
    return given, given["prompts"][:, None]


def table_log_probs(table, prompt, tokens):
    return chains.token_log_probs(jax.nn.log_softmax(table), prompt, tokens)


def unused(*_):
    raise AssertionError("not asked for")


BIGRAM = Policy(
    init=unused,
    log_prob=lambda *given: table_log_probs(*given).sum(),
    token_log_probs=table_log_probs,
    log_probs=unused,
    probs=unused,
    sample=unused,
)


def assert_same(library, name, value, scale=1.0):
    """Loss and gradient are minus ``scale`` times our objective's at the table."""
    stored = ORACLES[library]["variants"][name]
    table = inputs(library)[0]["table"]
    ours, gradient = jax.value_and_grad(value)(table)
    np.testing.assert_allclose(-scale * ours, stored["loss"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(-scale * gradient, stored["gradient"], rtol=1e-9, atol=1e-9)


def on_batch(library, objective, credit):
    given, prompts = inputs(library)
    tokens = given["tokens"]
    log_old, log_ref = (
        rollouts.token_log_probs(BIGRAM, given[name], prompts, tokens) for name in ("old_table", "ref_table")
    )
    if callable(credit):
        credit = credit(given["rewards"], log_old, log_ref)
    batch = rollouts.Batch(tokens, jnp.asarray(credit), log_old, log_ref)
    even = jnp.log(jnp.full(2, 0.5))
    task = Task(BIGRAM, prompts, even, given["rewards"])
    return lambda table: rollouts.value(objective, task, table, batch)


TOKENS, RESPONSE, MEAN = (clipped.clipped(EPSILON, level=level) for level in clipped.LEVELS)
BY_K3 = rollouts.penalised(TOKENS, BETA, divergences.k3, by_token=True)
BY_CORRECTED_K3 = rollouts.penalised(TOKENS, BETA, divergences.k3, by_token=True, corrected=True)
BY_K1 = rollouts.penalised(TOKENS, BETA, divergences.k1, by_token=True)


@pytest.mark.parametrize(
    "name, objective, credit, scale",
    [
        ("grpo", BY_K3, lambda rewards, *_: advantages.normalised(rewards), 1 / 3),
        ("grpo_corrected", BY_CORRECTED_K3, lambda rewards, *_: advantages.normalised(rewards), 1 / 3),
        ("dr_grpo", TOKENS, lambda rewards, *_: advantages.centred(rewards), 1 / 3),
        ("gspo", MEAN, lambda rewards, *_: advantages.normalised(rewards), 1.0),
        (
            "rloo",
            RESPONSE,
            lambda rewards, old, ref: advantages.leave_one_out(rewards - BETA * (old - ref).sum(axis=-1)),
            1.0,
        ),
    ],
)
def test_trl(name, objective, credit, scale):
    assert_same("trl", name, on_batch("trl", objective, credit), scale)


@pytest.mark.parametrize(
    "name, objective, advantage",
    [
        ("grpo", BY_K3, advantages.normalised),
        ("grpo_k1", BY_K1, advantages.normalised),
        ("dr_grpo", TOKENS, advantages.centred),
        ("rloo", TOKENS, advantages.leave_one_out),
        ("gspo_token", MEAN, advantages.normalised),
        ("ppo", TOKENS, advantages.normalised),
    ],
)
def test_tunix(name, objective, advantage):
    credit = ORACLES["tunix"]["variants"][name]["advantages"]
    # Tunix adds 1e-6 to the standard deviation, we and TRL 1e-4.
    np.testing.assert_allclose(advantage(inputs("tunix")[0]["rewards"]), credit, rtol=2e-4)
    if name == "ppo":
        # It divides by the number of tokens plus 1e-8.
        assert_same("tunix", name, on_batch("tunix", objective, credit), 1 / 3 / (1 + 1e-8 / 24))
    else:
        assert_same("tunix", name, on_batch("tunix", objective, credit), 1.0 if objective is MEAN else 1 / 3)


@pytest.mark.parametrize("library", ["trl", "tunix"])
def test_dpo(library):
    given, prompts = inputs(library)

    def value(table):
        def ratio(which):
            tokens = given["tokens"][jnp.arange(2), given[which]]
            log_prob = jax.vmap(BIGRAM.log_prob, (None, 0, 0))
            return log_prob(table, prompts, tokens) - log_prob(given["ref_table"], prompts, tokens)

        return preferences.preference(ratio("chosen"), ratio("rejected"), 0.3).mean()

    assert_same(library, "dpo", value)


def drawn(num):
    """The responses of ``steps(rule, 1)``, whose key this repeats [C, M], and what they pay."""
    key = jax.random.split(jax.random.split(jax.random.key(5), 1)[0])[0]
    places = rollouts.sample(key, POLICY, PARAMS, PROMPTS, num) @ PLACES
    return places, jnp.take_along_axis(REWARD, places, axis=1)


@pytest.mark.slow_but("raw")
@pytest.mark.parametrize("advantage", [advantages.raw, advantages.leave_one_out, advantages.normalised])
def test_reinforce_as_rlax(rlax, advantage):
    places, paid = drawn(5)
    rule = reinforce.reinforce(TASK, learning_rate=1.0, num_samples=5, advantage=advantage)

    def loss(logits):
        each = jax.vmap(
            lambda row, action, credit: rlax.policy_gradient_loss(
                jnp.broadcast_to(row, (5, 9)), action, credit, jnp.ones(5)
            )
        )
        return jnp.exp(LOG_PROMPTS) @ each(logits, places, advantage(paid))

    np.testing.assert_allclose(steps(rule, 1)[0], -jax.grad(loss)(PARAMS).reshape(-1), atol=1e-12)


@pytest.mark.slow
def test_two_epochs_of_ppo_as_rlax(rlax):
    places, paid = drawn(5)
    rate = 2.0
    rule = clipped.ppo_clip(TASK, learning_rate=rate, num_samples=5, num_epochs=2, level="sequence")
    log_old = jnp.take_along_axis(jax.nn.log_softmax(PARAMS), places, axis=1)

    def loss(logits):
        ratios = jnp.exp(jnp.take_along_axis(jax.nn.log_softmax(logits), places, axis=1) - log_old)
        surrogate = functools.partial(rlax.clipped_surrogate_pg_loss, epsilon=EPSILON)
        return jnp.exp(LOG_PROMPTS) @ jax.vmap(surrogate)(ratios, advantages.leave_one_out(paid))

    once = PARAMS - rate * jax.grad(loss)(PARAMS)
    twice = once - rate * jax.grad(loss)(once)
    np.testing.assert_allclose(steps(rule, 1)[0], (twice - PARAMS).reshape(-1), atol=1e-12)
    assert jnp.abs(twice - PARAMS - 2 * (once - PARAMS)).max() > 0.1, "nothing was clipped"


@pytest.mark.slow
def test_the_entropy_bonus_as_rlax(rlax):
    """On average: it is paid at the samples, rlax differentiates the entropy itself."""
    how = {"learning_rate": 1.0, "num_samples": 4}
    paid, alone = (
        steps(reinforce.reinforce(TASK, entropy_coefficient=coefficient, **how), 20_000) for coefficient in (0.8, 0.0)
    )
    bonus = paid - alone

    def loss(logits):
        return jnp.exp(LOG_PROMPTS) @ jax.vmap(lambda row: rlax.entropy_loss(row[None], jnp.ones(1)))(logits)

    target = -0.8 * jax.grad(loss)(PARAMS).reshape(-1)
    error = bonus.std(0) / jnp.sqrt(20_000)
    assert jnp.abs((bonus.mean(0) - target) / error).max() < 5


@pytest.mark.slow
def test_divergences_and_token_log_probs_as_distrax(distrax):
    tokens = rollouts.sample(jax.random.key(1), POLICY, PARAMS, PROMPTS, 6)
    first = jax.nn.logsumexp(PARAMS.reshape(2, 3, 3), axis=2)
    by_token = jnp.stack(
        [
            jax.vmap(lambda row, x: distrax.Categorical(logits=row).log_prob(x))(first, tokens[..., 0]),
            jax.vmap(lambda rows, x: distrax.Categorical(logits=rows[x[:, 0]]).log_prob(x[:, 1]))(
                PARAMS.reshape(2, 3, 3), tokens
            ),
        ],
        axis=-1,
    )
    np.testing.assert_allclose(rollouts.token_log_probs(POLICY, PARAMS, PROMPTS, tokens), by_token, atol=1e-12)
    whole, base = distrax.Categorical(logits=PARAMS), distrax.Categorical(logits=REF)
    log_ratio = jax.nn.log_softmax(PARAMS) - jax.nn.log_softmax(REF)
    for estimator in (divergences.k1, divergences.k3):
        np.testing.assert_allclose((whole.probs * estimator(log_ratio)).sum(-1), whole.kl_divergence(base), rtol=1e-12)
