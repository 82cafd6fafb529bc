"""Follow an update rule and record measures on the way: the one place where rules and measures meet."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona.rules.base import RuleState, UpdateRule
from toypersona.types import Key, Params, Scalar

MeasureFn = Callable[[Params], Any]
"""Any pytree of arrays from the parameters, which arrive in float64 where that is enabled, however they are trained."""


def run(
    make_rule: Callable[[Float[Array, ""]], UpdateRule],
    measure: MeasureFn,
    params: Params,
    *,
    key: Key,
    marks: Float[Array, " R"],
    max_step: Scalar,
) -> tuple[Any, dict[str, Array], RuleState]:
    """Record a measure where the step sizes add up to each of R marks.

    Args:
        make_rule: builds the rule from its (traced) step size.
        measure: what to record of the parameters.
        params: where the path starts; the start itself is not recorded.
        key: for rules that sample.
        marks: positions along the path [R], positive and increasing, in units of step size.
        max_step: between two marks the steps are equal, and none is longer than this.

    Returns:
        The measures with a leading axis R, the info of the last step before each mark likewise, and the final state.
    """

    def stretch(state: RuleState, inputs: tuple[Array, Array, Array]) -> tuple[RuleState, Any]:
        step_size, num_steps, first = inputs
        rule = make_rule(step_size)

        def step(i: Int[Array, ""], carry: tuple) -> tuple:
            return rule.update(jax.random.fold_in(key, first + i), carry[0])

        unknown = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(rule.update, key, state)[1])
        state, info = jax.lax.fori_loop(0, num_steps, step, (state, unknown))
        return state, (measure(_widened(state.params)), info)

    lengths = jnp.diff(marks, prepend=0.0)
    # Rounding must not turn ten whole steps into eleven.
    num_steps = jnp.maximum(jnp.ceil(lengths / max_step * (1 - 1e-5)), 1).astype(int)
    step_sizes = lengths / num_steps
    firsts = jnp.cumsum(num_steps) - num_steps
    start = make_rule(step_sizes[0]).init(params)
    final, (measures, infos) = jax.lax.scan(stretch, start, (step_sizes, num_steps, firsts))
    return measures, infos, final


def _widened(params: Params) -> Params:
    """In float32 a divergence below 1e-7 would be rounding error, even between parameters that are known exactly."""
    widest = jnp.result_type(float)
    return jax.tree.map(lambda x: x.astype(widest) if jnp.issubdtype(x.dtype, jnp.floating) else x, params)
