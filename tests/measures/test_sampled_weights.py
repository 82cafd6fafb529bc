"""Tilts measured from samples of the base, against worlds whose responses are listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_drift import BUDGET, LOG_PROMPTS, C, K, N
from test_sampled import FITTED

from toypersona import numerics, theory
from toypersona.measures import sampled
from toypersona.measures.sampled import Samples

NUM, NUM_DRAWS = 480, 200
DRAWN = ("base", "strata")


def problem():
    """Personas who share little, their even mix, and a reward that is mostly, but not only, for who talks."""
    keys = jax.random.split(jax.random.key(4))
    log_personas = jax.nn.log_softmax(2.5 * jax.random.normal(keys[0], (C, K, N)))
    log_base = numerics.log_mix(jnp.full((C, K), -jnp.log(K)), log_personas)
    reward = 1.2 * jnp.exp(log_personas[:, 0] - log_base) + 0.6 * jax.random.normal(keys[1], (C, N))
    return log_base, log_personas, reward


STRENGTHS = jnp.array([0.15, 0.9])
STRATA = jnp.asarray(np.broadcast_to(np.arange(NUM) * K // NUM, (C, NUM)))


def base_samples(key, kind, log_base, log_personas, reward):
    """Samples of the base, of its own or of each persona as many, one after another."""
    by = jnp.repeat(log_personas, NUM // K, axis=1) if kind == "strata" else jnp.repeat(log_base[:, None], NUM, axis=1)
    picks = jax.random.categorical(key, by)
    take = lambda x: jnp.take_along_axis(x, picks, axis=-1)  # noqa: E731
    personas = jnp.take_along_axis(log_personas, jnp.broadcast_to(picks[:, None], (C, K, NUM)), axis=-1)
    drawn = Samples(take(log_base), take(log_base), personas, strata=STRATA if kind == "strata" else None)
    return drawn, take(reward)


def tilted(drawn, reward, strength):
    """The constant that log-probabilities lack is of no account."""
    return drawn._replace(log_policy=drawn.log_base + strength * reward - 7.0, log_weights=strength * reward - 7.0)


@pytest.fixture(scope="module")
def many():
    """Estimates from many draws [strength, draw] by kind, and the exact values."""
    log_base, log_personas, reward = problem()
    found = {}
    for kind in DRAWN:

        def one(key, kind=kind):
            drawn, paid = base_samples(key, kind, log_base, log_personas, reward)
            budget = lambda s: sampled.budget_from_samples(tilted(drawn, paid, s), drawn, LOG_PROMPTS)  # noqa: E731
            return jax.vmap(budget)(STRENGTHS)

        keys = jax.random.split(jax.random.key(3), NUM_DRAWS)
        quick = {"xla_backend_optimization_level": 1}
        found[kind] = jax.jit(lambda keys, one=one: jax.lax.map(one, keys), compiler_options=quick)(keys)
    laws = jnp.stack([theory.tilt(log_base, reward, s) for s in STRENGTHS])
    return found, [BUDGET(law, log_base, log_personas) for law in laws]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("at", [0, 1])
def test_errors_of_a_tilt_are_the_spread_over_draws(many, at, kind):
    found, exact = jax.tree.map(lambda x: x[:, at], many[0][kind]), many[1][at]
    assert found.certified.all() and found.base_inside.mean() > 0.97
    for name in FITTED:
        apart, error = getattr(found, name) - getattr(exact, name), getattr(found, f"{name}_se")
        assert abs(apart.mean()) < 0.4 * apart.std(), (name, apart.mean() / apart.std())
        assert 0.85 < error.mean() / apart.std() < 1.18, (name, error.mean() / apart.std())
        assert 0.9 < (abs(apart) < 1.96 * error).mean() < 0.985, name


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1])
def test_strata_make_it_more_certain_than_draws_of_the_mix(many, at):
    base, strata = (many[0][kind].selection[:, at] for kind in DRAWN)
    assert strata.std() < 0.96 * base.std(), strata.std() / base.std()
