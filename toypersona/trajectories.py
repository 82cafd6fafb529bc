"""Follow an update rule and record measures on the way: the one place where rules and measures meet."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from toypersona.rules.base import RuleState, UpdateRule
from toypersona.types import Key, Params

MeasureFn = Callable[[Params], Any]
"""Any pytree of arrays from the parameters."""


def run(
    make_rule: Callable[[Float[Array, ""]], UpdateRule],
    measure: MeasureFn,
    params: Params,
    *,
    key: Key,
    step_sizes: Float[Array, " R"],
    steps_per_record: int,
) -> tuple[Any, dict[str, Array], RuleState]:
    """Record a measure R times along a rule's path, ``steps_per_record`` updates apart.

    Args:
        make_rule: builds the rule from its (traced) step size.
        measure: what to record of the parameters.
        params: where the path starts; the start itself is not recorded.
        key: for rules that sample.
        step_sizes: one for each stretch between two records [R]: uneven records need no uneven steps.
        steps_per_record: updates in each stretch.

    Returns:
        The measures with a leading axis R, the last step's info of each stretch likewise, and the final state.
    """

    def stretch(state: RuleState, inputs: tuple[Float[Array, ""], Key]) -> tuple[RuleState, Any]:
        step_size, stretch_key = inputs
        rule = make_rule(step_size)
        state, infos = jax.lax.scan(lambda s, k: rule.update(k, s), state, jax.random.split(stretch_key, steps_per_record))
        return state, (measure(state.params), jax.tree.map(lambda x: x[-1], infos))

    start = make_rule(step_sizes[0]).init(params)
    final, (measures, infos) = jax.lax.scan(stretch, start, (step_sizes, jax.random.split(key, len(step_sizes))))
    return measures, infos, final
