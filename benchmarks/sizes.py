"""Sizes: what more personas and more responses cost, in memory, rate and compile time, up to where sampling takes over.

A row is a process of its own, in float64 on one core. Where responses can be listed it takes exact policy gradient
steps of several configurations side by side, as a sweep would compile them, and certified projections onto the hull;
where they are too many, steps of REINFORCE with 64 samples and drift budgets from 256. The peak counts Python and XLA.
"""

from benchmarks import measure

# isort: split
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from toypersona import chains, hulls, numerics, options, programs
from toypersona.measures import sampled
from toypersona.policies import mixture
from toypersona.policies.policy import Speakers
from toypersona.rules import gradient, reinforce
from toypersona.rules.rule import Task

STEPS, SIDE_BY_SIDE, SAMPLES, MEASURED = 20, 8, 64, 256
PROMPTS = jnp.zeros((1, 1), int)
QUICK = ((4, 8, 3), (64, 10, 5), (4, 50, 8))
FULL = tuple((num, V, T) for num in (4, 16, 64) for V, T in ((8, 3), (8, 4), (10, 5), (50, 8)))
"""Personas, words and length of a row."""

COLUMNS = {
    "steps_compile_s": "compile s",
    "steps": "steps/s",
    "measures_compile_s": "compile s",
    "measures": "budgets/s",
}


Given = tuple[Any, ...]
"""Arrays of a problem: arguments of what is compiled, which would fold them otherwise."""


def speakers(num_personas: int, num_words: int, length: int) -> Speakers:
    """A mixture of bigram experts that knows one prompt."""
    sizes = {"num_personas": num_personas, "num_units": num_words, "num_words": num_words, "length": length}
    return mixture.mixture(PROMPTS, gate="table", **sizes)  # pyright: ignore[reportArgumentType]


def exact(model: Speakers, params: Any) -> tuple[Given, dict[str, Callable[..., jax.Array]]]:
    """A problem, and functions of a key and the problem by name."""

    def steps(key: jax.Array, params: Any, log_base: jax.Array, _: jax.Array) -> jax.Array:
        task = Task(model.policy, PROMPTS, jnp.zeros(1), jax.random.normal(key, (1, log_base.shape[0])))
        given = {"learning_rate": 0.1, "kl_coefficient": 0.1, "log_base": log_base[None]}
        rule = gradient.policy_gradient(task, **given)
        start = rule.init(params)
        return mixture.expert_logits(
            jax.lax.fori_loop(0, STEPS, lambda i, state: rule.update(key, state)[0], start).params
        )

    def measures(key: jax.Array, _: Any, log_base: jax.Array, log_personas: jax.Array) -> jax.Array:
        moved = jax.nn.log_softmax(log_base + 0.3 * jax.random.normal(key, log_base.shape))
        return hulls.project(moved, log_personas).distance

    listed = model.policy.log_probs(params, PROMPTS[0]), model.log_personas(params, PROMPTS[0])
    return (params, *listed), {"steps": steps, "measures": measures}


def by_samples(model: Speakers, params: Any) -> tuple[Given, dict[str, Callable[..., jax.Array]]]:
    """As ``exact``, of responses that are only drawn."""
    task = Task(model.policy, PROMPTS, jnp.zeros(1), lambda _, tokens: (tokens == 0).mean())

    def steps(key: jax.Array, params: Any) -> jax.Array:
        rule = reinforce.reinforce(task, learning_rate=0.1, num_samples=SAMPLES)
        after = lambda i, state: rule.update(jax.random.fold_in(key, i), state)[0]  # noqa: E731
        return mixture.expert_logits(jax.lax.fori_loop(0, STEPS, after, rule.init(params)).params)

    def drawn(key: jax.Array, gate: jax.Array, params: Any) -> sampled.Samples:
        tables, base_gate = jax.nn.log_softmax(mixture.expert_logits(params)), mixture.gate_logits(params)
        said = lambda gate: mixture.params_of(gate, tables)  # noqa: E731
        keys = jax.random.split(key, MEASURED)
        tokens = jax.vmap(model.policy.sample, (0, None, None))(keys, said(gate), PROMPTS[0])
        each = jax.vmap(lambda table: jax.vmap(chains.log_prob, (None, None, 0))(table, PROMPTS[0], tokens))(tables)
        mixed = lambda gate: numerics.log_mix(jax.nn.log_softmax(gate[0]), each)[None]  # noqa: E731
        return sampled.Samples(mixed(gate), mixed(base_gate), each[None])

    def measures(key: jax.Array, params: Any) -> jax.Array:
        keys, base_gate = jax.random.split(key, 3), mixture.gate_logits(params)
        gate = jax.random.normal(keys[0], base_gate.shape)
        given = drawn(keys[1], gate, params), drawn(keys[2], base_gate, params)
        return sampled.budget_from_samples(*given, jnp.zeros(1)).total

    return (params,), {"steps": steps, "measures": measures}


def work(num_personas: int, num_words: int, length: int) -> None:
    """One row in this process, as JSON."""
    model = speakers(num_personas, num_words, length)
    kind = exact if num_words**length <= options.MOST_LISTED else by_samples
    given, functions = kind(model, model.policy.init(jax.random.key(0)))
    keys, found = jax.random.split(jax.random.key(1), SIDE_BY_SIDE), {}
    for name, function in functions.items():
        start = time.perf_counter()
        every = jax.vmap(function, (0, *[None] * len(given)))
        run = programs.made(every, programs.CPU_OPTIONS if name == "steps" else (), keys, *given)
        found[f"{name}_compile_s"] = time.perf_counter() - start
        units = SIDE_BY_SIDE * (STEPS if name == "steps" else 1)
        found[name] = units / measure.best_of(lambda run=run: run(keys, *given), 3)
    print(json.dumps(found | {"peak_mb": measure.peak_bytes() / 1e6}))


def main(sizes: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Every size, and a table."""
    heads = ("personas", "responses", "", *COLUMNS.values(), "peak MB")
    print("{:>9s}{:>17s}{:>9s}{:>11s}{:>11s}{:>11s}{:>11s}{:>9s}".format(*heads))
    rows = []
    for num_personas, num_words, length in sizes:
        row = measure.process("benchmarks.sizes", num_personas, num_words, length)
        num = num_words**length
        rows.append({"personas": num_personas, "words": num_words, "length": length} | row)
        said = f"{num:,}" if num <= options.MOST_LISTED else f"{num:.0e}"
        how = "listed" if num <= options.MOST_LISTED else "sampled"
        numbers = "".join(f"{row[name]:11,.1f}" for name in COLUMNS)
        print(f"{num_personas:9d}{said:>17s}{how:>9s}{numbers}{row['peak_mb']:9,.0f}", flush=True)
    said = lambda row: "K={personas} V={words} T={length}".format(**row)  # noqa: E731
    rates = {f"{COLUMNS[name]}, {said(row)}": row[name] for row in rows for name in ("steps", "measures")}
    return measure.line("sizes", rates, rows=rows)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if sys.argv[1:2] == ["--work"]:
        work(*map(int, sys.argv[2:]))
    else:
        chosen = measure.arguments(__doc__)
        measure.keep([main(FULL if chosen.full else QUICK)], chosen.out)
