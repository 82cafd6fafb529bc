import jax
import jax.numpy as jnp
import numpy as np

from toypersona import theory, trajectories
from toypersona.rules import base, tilting


def test_records_sit_where_the_step_sizes_put_them():
    log_base = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (2, 5)))
    reward = jax.random.normal(jax.random.key(1), (2, 5))
    strengths = jnp.array([0.1, 0.4, 2.0])
    measured, _, final = trajectories.run(
        lambda size: tilting.tilting(reward, strength=size),
        lambda params: params,
        log_base,
        key=jax.random.key(2),
        marks=strengths,
        max_step=0.15,
    )
    for strength, log_policy in zip(strengths, measured, strict=True):
        np.testing.assert_allclose(log_policy, theory.tilt(log_base, reward, strength), rtol=1e-10)
    np.testing.assert_array_equal(final.params, measured[-1])


def test_steps_between_marks_are_equal_and_short_enough_and_keys_never_repeat():
    """A rule that counts its steps and their lengths, and folds its keys into its parameters."""

    def make_rule(size):
        def update(key, state):
            drawn = jax.random.uniform(key)
            count, travelled, drawn_sum = state.params
            return base.RuleState((count + 1, travelled + size, drawn_sum + drawn)), {"size": size, "drawn": drawn}

        return base.UpdateRule(base.RuleState, update)

    (count, travelled, drawn), info, _ = trajectories.run(
        make_rule, lambda p: p, (jnp.array(0), jnp.array(0.0), jnp.array(0.0)),
        key=jax.random.key(0), marks=jnp.array([0.1, 0.35, 2.0]), max_step=0.1,
    )  # fmt: skip
    np.testing.assert_array_equal(count, [1, 4, 21])
    np.testing.assert_allclose(travelled, [0.1, 0.35, 2.0])
    np.testing.assert_allclose(info["size"], [0.1, 0.25 / 3, 1.65 / 17])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(21))
    np.testing.assert_allclose(drawn[-1], jax.vmap(jax.random.uniform)(keys).sum())


def test_what_is_trained_in_float32_is_measured_in_float64():
    params = {"x": jnp.float32(0.1), "count": jnp.int32(3)}

    def make_rule(step):
        def update(key, state):
            x, count = state.params["x"], state.params["count"]
            return base.RuleState({"x": x + step.astype(jnp.float32), "count": count + 1}), {}

        return base.UpdateRule(base.RuleState, update)

    measured, _, final = trajectories.run(
        make_rule, lambda p: p, params, key=jax.random.key(0), marks=jnp.array([0.5]), max_step=1.0
    )
    assert (measured["x"].dtype, measured["count"].dtype) == (jnp.float64, jnp.int32)
    assert final.params["x"].dtype == jnp.float32
    assert measured["x"][0] == float(np.float32(0.1) + np.float32(0.5))
