"""Follow an update rule and record measures on the way: the one place where rules and measures meet."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, Float, Int

from toypersona import lanes, numerics
from toypersona.policies.policy import all_log_probs, with_frozen
from toypersona.rules.rule import RuleState, Task, UpdateRule
from toypersona.types import Key, Params, Scalar

MeasureFn = Callable[[Params], Any]
"""Any pytree of arrays from the parameters, which arrive in float64 where that is enabled, however they are trained."""

MakeRule = Callable[[Any], UpdateRule]
"""``(step size, traced) -> UpdateRule``."""

Start = Callable[[Any, Any], UpdateRule]
"""``(learning rate, beta) -> UpdateRule``: a rule with a penalty of beta on KL(pi‖pi0)."""


def follow(
    make_rule: MakeRule, measure: MeasureFn, params: Params, *, key: Key, marks: Float[Array, " R"], max_step: Scalar
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
        The measures with a leading axis R, the info of the last step before each mark likewise (of a ``residual`` the
        largest since the mark before), and the final state.
    """

    def to_mark(state: RuleState, inputs: tuple[Array, Array, Array]) -> tuple[RuleState, Any]:
        step_size, num_steps, first = inputs
        state, info = stretch(make_rule(step_size), key, state, first, num_steps)
        return state, (measure(_widened(state.params)), info)

    lengths = jnp.diff(marks, prepend=0.0)
    # Rounding must not turn ten whole steps into eleven.
    num_steps = jnp.maximum(jnp.ceil(lengths / max_step * (1 - 1e-5)), 1).astype(int)
    step_sizes = lengths / num_steps
    firsts = jnp.cumsum(num_steps) - num_steps
    start = make_rule(step_sizes[0]).init(params)
    final, (measures, infos) = jax.lax.scan(to_mark, start, (step_sizes, num_steps, firsts))
    return measures, infos, final


def stretch(
    rule: UpdateRule, key: Key, state: RuleState, first: Int[Array, ""], num_steps: Int[Array, ""]
) -> tuple[RuleState, dict[str, Array]]:
    """All steps between two records, in one function: what a kernel for a whole trajectory would take the place of.

    Args:
        rule: what a step is.
        key: of the whole path.
        state: before the first of these steps.
        first: its number along the path, which makes its key.
        num_steps: at least 1.

    Returns:
        The state after the last step and its info, of a ``residual`` the largest.
    """
    update, shapes = jax.make_jaxpr(rule.update, return_shape=True)(key, state)
    # A call that vmaps in its own way would count as the key's use.
    given, tree = jax.tree.flatten(((jax.random.key_data(key), state, first, num_steps), update.consts))

    def steps(*given: Array) -> tuple[RuleState, dict[str, Array]]:
        (data, state, first, num_steps), consts = jax.tree.unflatten(tree, given)
        own_key = jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))

        def step(i: Int[Array, ""], carry: tuple) -> tuple:
            inputs = jax.tree.leaves((jax.random.fold_in(own_key, first + i), carry[0]))
            outputs = jaxpr_as_fun(ClosedJaxpr(update.jaxpr, consts))(*inputs)
            state, info = jax.tree.unflatten(jax.tree.structure(shapes), outputs)
            worst = {"residual": jnp.maximum(carry[1]["residual"], info["residual"])} if "residual" in info else {}
            return state, info | worst

        unknown = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes[1])
        return jax.lax.fori_loop(0, num_steps, step, (state, unknown))

    return lanes.laid_out_once(steps)(*given)


def _widened(params: Params) -> Params:
    """In float32 a divergence below 1e-7 would be rounding error, even between parameters that are known exactly."""
    widest = jnp.result_type(float)
    return jax.tree.map(lambda x: x.astype(widest) if jnp.issubdtype(x.dtype, jnp.floating) else x, params)


def step_length(
    log_after: Float[Array, "C N"], log_before: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """How far a step moved the policy: ``sqrt(E_c E_pi[d²])``, d the change of log pi, in root nats.

    For a small step it is ``sqrt(2 KL)``, whatever the parametrisation.
    """
    moved = jnp.where(jnp.isneginf(log_before), 0.0, log_after - log_before)
    return jnp.sqrt(numerics.expectation(log_prompts, numerics.expectation(log_before, moved**2)))


def follow_by_length(
    make_rule: MakeRule,
    measure: MeasureFn,
    params: Params,
    task: Task,
    *,
    key: Key,
    step: Scalar,
    num_steps: int,
    every: int = 1,
    first_rate: Scalar = 1.0,
    refinements: int = 4,
) -> tuple[Any, dict[str, Array]]:
    """Follow a rule in steps of equal length, so that rules can be compared without a learning rate for each.

    Every step is taken with the learning rate that gave the last one its length, measured by ``step_length`` and
    repeated with a corrected rate: for small steps the length is proportional to the rate.

    Args:
        make_rule: builds the rule from its (traced) learning rate.
        measure: as in ``follow``.
        params: as in ``follow``.
        task: whose policy is followed, and at which prompts it is measured.
        key: for rules that sample.
        step: length of a step, root nats.
        num_steps: a multiple of ``every``.
        every: steps from one record to the next.
        first_rate: the learning rate to try first.
        refinements: times that every step is repeated with a corrected rate, each as dear as a step; 0 takes it with
            the rate of the last one.

    Returns:
        The measures with a leading axis, and for each record the ``length`` of the last step and its ``learning_rate``.

    Raises:
        ValueError: ``num_steps`` is no multiple of ``every``.
    """
    if num_steps % every:
        raise ValueError(f"A record after every {every} steps does not divide {num_steps} steps: choose a divisor.")

    law = lambda state: all_log_probs(task.policy, state.params, task.prompts)  # noqa: E731

    def one(carry: tuple[RuleState, Array, Array], index: Int[Array, ""]) -> tuple[tuple, Array]:
        state, rate, before = carry
        own_key = jax.random.fold_in(key, index)

        def taken(number: Int[Array, ""], last: tuple) -> tuple:
            # The last try corrects this one: in a loop, so that rule and law are compiled once.
            _, rate, length, _ = last
            known = (number > 0) & (length > 0)
            rate = jnp.where(known, rate * step / jnp.where(known, length, 1.0), rate)
            after, _ = make_rule(rate).update(jax.random.clone(own_key), state)
            made = law(after)
            return after, rate, step_length(made, before, task.log_prompts), made

        untried = state, rate, jnp.zeros_like(rate), before
        after, rate, length, made = jax.lax.fori_loop(0, refinements + 1, taken, untried)
        return (after, rate, made), length

    def to_record(carry: tuple, indices: Int[Array, " every"]) -> tuple[Any, Any]:
        carry, lengths = jax.lax.scan(one, carry, indices)
        return carry, (measure(_widened(carry[0].params)), {"length": lengths[-1], "learning_rate": carry[1]})

    rate = jnp.asarray(first_rate, jnp.result_type(float))
    start = make_rule(rate).init(params)
    return jax.lax.scan(to_record, (start, rate, law(start)), jnp.arange(num_steps).reshape(-1, every))[1]


def by_scope(walk: Callable[[Task], Any], task: Task, scopes: Mapping[str, Any]) -> Any:
    """``walk(task)`` under every scope of training, with a leading axis in their order; compiled once.

    One after the other: side by side, every solve would go on until that of the slowest scope is done.
    The task comes with all parameters free; scopes are named as in ``policies.policy.Speakers``.
    """
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *scopes.values())
    return jax.lax.map(lambda scope: walk(task._replace(policy=with_frozen(task.policy, scope))), stacked)


def from_base(
    start: Start,
    params: Params,
    strengths: Float[Array, " S"],
    *,
    key: Key,
    learning_rate: Scalar,
    num_steps: int,
    num_marks: int = 1,
) -> Params:
    """From the base's parameters to every strength s = 1/beta [S] at once, in ``num_steps`` steps for each.

    The key is split among the strengths. Returns parameters at ``num_marks`` equally spaced marks, the last one at the
    end, [S, num_marks, ...].
    """
    marks = learning_rate * num_steps * jnp.arange(1, num_marks + 1) / num_marks
    walk = lambda strength, key: _path(start, strength, params, key, marks, learning_rate)  # noqa: E731
    return jax.vmap(walk)(strengths, jax.random.split(key, strengths.shape[0]))


def annealed(
    start: Start, params: Params, strengths: Float[Array, " S"], *, key: Key, learning_rate: Scalar, num_steps: int
) -> Params:
    """From each strength to the next: parameters at the end of each, [S, 1, ...]; arguments as in ``from_base``."""
    marks = learning_rate * num_steps * jnp.ones(1)

    def stronger(params: Params, at: tuple[Array, Key]) -> tuple[Params, Params]:
        path = _path(start, at[0], params, at[1], marks, learning_rate)
        return jax.tree.map(lambda x: x[0], path), path

    return jax.lax.scan(stronger, params, (strengths, jax.random.split(key, strengths.shape[0])))[1]


def _path(start: Start, strength: Scalar, params: Params, key: Key, marks: Float[Array, " R"], rate: Scalar) -> Params:
    make_rule = lambda step: start(step, 1 / strength)  # noqa: E731
    return follow(make_rule, lambda params: params, params, key=key, marks=marks, max_step=rate)[0]
