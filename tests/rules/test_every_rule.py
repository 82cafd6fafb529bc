"""Every rule of the catalogue where something has probability 0, all is paid alike, or numbers are narrow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases
from toypersona.rules import catalogue
from toypersona.worlds import markov

RULES = catalogue.RULES | catalogue.EXACT_GRADIENTS
CASES = ("ordinary", "a prompt of probability 0", "paid alike", "a word of probability 0")


@functools.cache
def by_case():
    """A base, and what each of ``CASES`` has for prompts, reward and parameters."""
    base = bases.true(*markov.markov(jax.random.key(3), num_personas=2, num_words=3, num_prompts=3), 2)
    reward = jax.random.normal(jax.random.key(4), base.log_base.shape)
    unasked = jnp.array([jnp.log(0.7), jnp.log(0.3), -jnp.inf])
    # Nobody ever says word 1.
    silent = base.params | {"experts": base.params["experts"].at[..., 1].set(-jnp.inf)}
    return base, (
        (base.log_prompts, reward, base.params),
        (unasked, reward.at[2].set(jnp.nan), base.params),
        (base.log_prompts, jnp.full_like(reward, 1 / 3), base.params),
        (base.log_prompts, reward, silent),
    )


def walked(name, dtype=jnp.float64):
    """Parameters after three steps, in every case, at learning rates 0 and that of the catalogue [2, cases, ...]."""
    given, cases = by_case()
    stacked = jax.tree.map(lambda *x: jnp.stack(x).astype(dtype), *cases)

    def one(rate, case):
        log_prompts, reward, params = case
        base = bases.frozen(given.speakers, params, given.labels, given.prompts, log_prompts, given.responses)
        setup = catalogue.Setup(base, reward, base.log_personas[:, -1], reward, jax.random.key(0))
        rule = RULES[name].make(setup)(rate * jnp.asarray(RULES[name].rate, dtype))
        keys = jax.random.split(jax.random.key(1), 3)
        return jax.lax.scan(lambda state, key: (rule.update(key, state)[0], None), rule.init(params), keys)[0].params

    # One after the other: a batch of them would take longer to compile than all of them to run.
    each = lambda rate: jax.lax.map(lambda case: one(rate, case), stacked)  # noqa: E731
    return jax.jit(lambda rates: jax.lax.map(each, rates))(jnp.array([0.0, 1.0], dtype)), stacked[2]


def check(name, dtype):
    after, before = walked(name, dtype)
    for still, start in zip(jax.tree.leaves(jax.tree.map(lambda x: x[0], after)), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(still, start)
    for moved, start in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        assert moved.dtype == dtype
        np.testing.assert_array_equal(jnp.isfinite(moved[1]), jnp.isfinite(start))
    gates = after["gate"]["personas"][1] - before["gate"]["personas"]
    assert (gates[CASES.index("a prompt of probability 0"), 2] == 0).all()
    if name not in catalogue.CONTROLS:
        part = "gate" if name == "RLOO, gates only" else "experts"
        moved, start = jax.tree.leaves(after[part])[0][1, 0], jax.tree.leaves(before[part])[0][0]
        assert jnp.abs(moved - start).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_what_has_probability_0_moves_nothing_and_makes_nothing_nan(name):
    check(name, jnp.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RLOO, KL in reward", "GRPO, k3 in loss", "PPO, sequence", "natural gradient"])
def test_in_float32(name):
    check(name, jnp.float32)
