"""Dynamic programming against lists of every prompt and every response."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, numerics, parity
from toypersona.measures import faithfulness as measures
from toypersona.options import ReasoningOptions
from toypersona.worlds import reasoning
from toypersona.worlds import world as worlds

COSTS = jnp.array([1.0, 1.0, 2.0, 2.0, 0.2, 0.2])


totals = jax.jit(parity.totals, static_argnums=(4, 5))


def policy(seed, labels, noise=1.0):
    """The world's personas with every table and the gate moved at random; nobody answers in thought words."""
    world, _ = reasoning.reasoning()
    table = world.log_experts.table
    gate_key, key = jax.random.split(jax.random.key(seed))
    moved = jax.nn.log_softmax(table + noise * jax.random.normal(key, table.shape))
    return jax.nn.log_softmax(jax.random.normal(gate_key, (3,))), chains.Reading(moved)


def problem(num_bits, seed):
    world, labels = reasoning.reasoning(ReasoningOptions(num_bits=num_bits))
    alphabet = parity.Alphabet(*(labels.units.index(unit) for unit in ("0", "1", "=")))
    log_gate, tables = policy(seed, labels)
    listed = worlds.log_personas(world._replace(log_experts=tables), num_bits + 1)
    gates = jnp.broadcast_to(log_gate, world.log_gates.shape)
    joint = measures.split_responses(gates, listed, 6, 2)
    return world, labels, alphabet, log_gate, tables, listed, joint


@pytest.mark.slow_but("0-2", "1-3")
@pytest.mark.parametrize("num_bits", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_totals_are_those_of_every_response_to_every_prompt(num_bits, seed):
    world, labels, alphabet, log_gate, tables, listed, joint = problem(num_bits, seed)
    own = totals(log_gate, tables, world.log_experts, COSTS, alphabet, num_bits)
    rho, gate = jnp.exp(world.log_prompts), jnp.exp(log_gate)
    right = reasoning.right_answers(labels, world.prompts)
    responses = chains.outcomes(6, num_bits + 1)
    probs = jnp.einsum("k,ckn->cn", gate, jnp.exp(listed))
    accuracy = rho @ (probs * (responses[None, :, -1] == right[:, None])).sum(axis=1)
    cost = rho @ (probs @ COSTS[responses[:, :-1]].mean(axis=1))
    apart = numerics.kl_divergence(listed, worlds.log_personas(world, num_bits + 1))
    np.testing.assert_allclose(own.accuracy, accuracy, atol=1e-12)
    np.testing.assert_allclose(own.cost, cost, atol=1e-12)
    np.testing.assert_allclose(own.distortion, rho @ apart @ gate, rtol=1e-10)


@pytest.mark.slow_but("1")
@pytest.mark.parametrize("num_bits", [1, 3])
def test_the_joint_law_of_given_thoughts_is_that_of_every_prompt(num_bits):
    world, labels, alphabet, log_gate, tables, _, joint = problem(num_bits, 2)
    every = chains.outcomes(6, num_bits)
    by_steps = jax.jit(jax.vmap(lambda z: parity.log_joint(log_gate, tables, z, alphabet)))(every)
    right = np.asarray(reasoning.right_answers(labels, world.prompts))
    listed = np.exp(np.asarray(joint)) * np.exp(np.asarray(world.log_prompts))[:, None, None, None]
    by_parity = np.stack([listed[right == answer].sum(axis=0) for answer in (0, 1)])
    np.testing.assert_allclose(jnp.exp(by_steps), by_parity.transpose(2, 1, 0, 3), atol=1e-14, rtol=1e-10)


@pytest.mark.slow
def test_information_needs_no_prompt_listed():
    """Read, coded and keyed by dynamic programming over every thought sequence, and from listed prompts."""
    world, _, alphabet, log_gate, tables, _, joint = problem(3, 3)
    base_listed = measures.split_responses(world.log_gates, worlds.log_personas(world, 4), 6, 2)
    every = chains.outcomes(6, 3)

    def by_steps(gate, tables):
        made = jax.vmap(lambda z: parity.log_joint(gate, tables, z, alphabet))(every)
        return jnp.moveaxis(jax.nn.logsumexp(made, axis=2), 0, 1)

    reader = measures.reader(by_steps(world.log_gates[0], world.log_experts))
    own = measures.information(by_steps(log_gate, tables), reader)
    rho = world.log_prompts[:, None, None, None]
    listed = measures.information(jax.nn.logsumexp(joint + rho, axis=0), measures.reader(base_listed + rho))
    for name, value in listed.items():
        np.testing.assert_allclose(own[name], value, atol=1e-10)


def test_long_thoughts_as_by_hand():
    """Sixty bits, which nobody can list, of a chain that notes the parity and slips with probability q: the sixty slips
    cancel but for (1 - 2q)^60.
    """
    q, num_bits = 0.01, 60
    table = np.full((1, 5, 5, 2), 0.5)
    for before, bit in itertools.product(range(5), (0, 1)):
        noted = before if before < 2 else 0
        table[0, 2 + bit, before] = q
        table[0, 2 + bit, before, noted ^ bit] = 1 - q
    table[0, 4, :2] = np.eye(2)
    reading = chains.Reading(jnp.log(jnp.asarray(table)))
    made = parity.totals(jnp.zeros(1), reading, reading, jnp.array([1.0, 3.0]), parity.Alphabet(2, 3, 4), num_bits)
    np.testing.assert_allclose(made.accuracy, 0.5 + 0.5 * (1 - 2 * q) ** num_bits, rtol=1e-12)
    np.testing.assert_allclose([made.cost, made.distortion], [2.0, 0.0], atol=1e-12)


def test_messages_are_distributions_at_every_step():
    _, labels = reasoning.reasoning()
    log_gate, tables = policy(5, labels)
    messages = jax.jit(lambda t: parity.forward(t, parity.Alphabet(6, 7, 8), 500))(tables)
    np.testing.assert_allclose(messages.sum(axis=(2, 3)), 1.0, rtol=1e-9)


@pytest.mark.slow
def test_accuracy_has_the_gradient_of_finite_differences():
    world, labels = reasoning.reasoning()
    alphabet = parity.Alphabet(*(labels.units.index(unit) for unit in ("0", "1", "=")))
    possible = jnp.isfinite(world.log_experts.table)
    direction = jax.random.normal(jax.random.key(6), possible.shape)

    def accuracy(step):
        logits = jnp.where(possible, world.log_experts.table + step * direction, -jnp.inf)
        tables = chains.Reading(jax.nn.log_softmax(logits))
        return parity.totals(world.log_gates[0], tables, world.log_experts, COSTS, alphabet, 3).accuracy

    numeric = (accuracy(1e-5) - accuracy(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jvp(accuracy, (0.0,), (1.0,))[1], numeric, rtol=1e-7)


def test_what_nobody_can_sum_is_refused():
    flat = jnp.zeros((1, 5, 5, 2))
    for tables in (flat, chains.Reading(flat[0])):
        with pytest.raises(ValueError, match="for chains.Reading of order 1: pass tables"):
            parity.forward(tables, parity.Alphabet(2, 3, 4), 3)
