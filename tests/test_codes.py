"""Law L7 against brute force over keys, enumerated bases, and the world's constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import codes, thinkers
from toypersona.options import ReasoningOptions
from toypersona.policies import mixture
from toypersona.worlds import reasoning


def base_of(num_bits, worth=0.55):
    """The world's own personas, in no need of a fit."""
    options = ReasoningOptions(num_bits=num_bits, worth=worth)
    table = reasoning.reasoning(options)[0].log_experts.table
    return thinkers.base(options, mixture.params_of(jnp.zeros(3), jnp.where(jnp.isneginf(table), 0.0, table)))


def of_constants(worth, num_thoughts, step=0.55, num_words=6, num_voices=3):
    """Log-masses and trusts of the cheap codes from the world's constants, as ``codes`` derives them."""
    often = lambda p: (1 - reasoning.SLIP) * p + reasoning.SLIP / num_words  # noqa: E731
    both = lambda p: (p, 1 - p)  # noqa: E731
    keep, trust = (p * worth + (1 - p) * (1 - worth) for p in (step, reasoning.ANSWER))
    log_masses, trusts = [], []
    for code in codes.CHEAP:
        last = code.opposite ^ (code.exchanged and num_thoughts % 2 == 0)
        trusts.append(both(trust)[last])
        first, on = often(both(step)[code.opposite]), often(both(keep)[code.exchanged])
        log_masses.append(np.log(first / num_voices * trusts[-1]) + (num_thoughts - 1) * np.log(on))
    return jnp.array(log_masses), jnp.array(trusts)


def test_codes_are_spelt():
    base = base_of(3)
    place = int(np.flatnonzero((np.asarray(base.prompts[:, :3]) - 6 == [1, 0, 1]).all(axis=1))[0])
    said = {code.name: [base.labels.units[i] for i in codes.spelt(base, code)[place]] for code in codes.CODES}
    assert said == {
        "alice, own": ["odd", "odd", "even", "even"],
        "bob, own": ["odd-thanks", "odd-thanks", "even-thanks", "even"],
        "larry, own": ["ugh", "ugh", "meh", "even"],
        "larry, opposite": ["meh", "meh", "ugh", "even"],
        "larry, own, exchanged": ["ugh", "meh", "meh", "even"],
        "larry, opposite, exchanged": ["meh", "ugh", "ugh", "even"],
    }


def test_the_law_is_the_best_of_all_keys():
    rng = np.random.default_rng(0)
    log_masses, trusts, costs, pressure = rng.normal(-4, 1, 4), rng.uniform(size=4), rng.uniform(size=4), 1.7
    law = codes.law(jnp.asarray(log_masses), jnp.asarray(trusts), jnp.asarray(costs), pressure)

    def unpaid(logits):
        q = np.exp(logits - np.logaddexp.reduce(logits))
        return q @ (np.log(q) - log_masses) + pressure * q @ costs

    best = optimize.minimize(unpaid, np.zeros(4), tol=1e-12).x
    q = np.exp(best - np.logaddexp.reduce(best))
    np.testing.assert_allclose(law.weights, q, atol=1e-6)
    np.testing.assert_allclose(law.divergence, q @ (np.log(q) - log_masses), atol=1e-6)
    np.testing.assert_allclose(law.divergence, -(q @ log_masses) - law.key_entropy, atol=1e-6)
    np.testing.assert_allclose([law.agreement, law.cost], [q @ trusts, q @ costs], atol=1e-6)


def test_a_code_that_may_not_be_used_is_not():
    law = codes.law(jnp.array([-1.0, -jnp.inf, -2.0]), jnp.array([0.9, 0.1, 0.5]), jnp.zeros(3), 1.0)
    assert law.weights[1] == 0 and np.isfinite(law.divergence) and 0.5 < law.agreement < 0.9


@pytest.mark.slow_but("2-0.55")
@pytest.mark.parametrize("num_bits, worth", [(1, 0.7), (2, 0.55), (3, 0.8)])
def test_what_the_base_says_of_codes_is_what_its_constants_say(num_bits, worth):
    """Up to what other voices slip into."""
    read = codes.read_off(base_of(num_bits, worth), codes.CHEAP)
    log_masses, trusts = of_constants(worth, num_bits)
    np.testing.assert_allclose(read["log_masses"], log_masses, atol=0.05)
    np.testing.assert_allclose(read["trusts"], trusts, atol=1e-3)
    np.testing.assert_allclose(read["costs"], 0.2)


@pytest.mark.parametrize("worth", [0.5, 0.55, 0.9])
def test_own_and_opposite_convention_differ_by_delta_whatever_the_number_of_thoughts(worth):
    r = 0.97 * worth + 0.03 * (1 - worth)
    slips = (0.95 * 0.55 + 0.05 / 6) / (0.95 * 0.45 + 0.05 / 6)
    for num_thoughts in (1, 2, 5):
        log_masses, trusts = of_constants(worth, num_thoughts)
        delta = np.log(slips) + np.log(r / (1 - r))
        np.testing.assert_allclose(log_masses[0] - log_masses[1], delta, rtol=1e-9)
        two = codes.law(log_masses[:2], trusts[:2], jnp.zeros(2), 0.0)
        q = 1 / (1 + np.exp(-delta))
        np.testing.assert_allclose(two.agreement, q * r + (1 - q) * (1 - r), rtol=1e-9)


@pytest.mark.parametrize("num_bits", [1, 2, 3])
def test_a_policy_built_of_codes_says_them(num_bits):
    base, chosen = base_of(num_bits), codes.CHEAP[:3]
    said = jax.jit(lambda params: codes.masses(base, params, codes.CODES))(codes.built(base, chosen))
    expected = np.where(np.isin(np.arange(6), [2, 3, 4]), 1 / 3, 0.0)
    # With one thought nothing is exchanged: the third code is the first.
    expected = [0, 0, 2 / 3, 1 / 3, 2 / 3, 1 / 3] if num_bits == 1 else expected
    np.testing.assert_allclose(said, expected, atol=0.02)
