import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.measures import first_choice

WORDS, LENGTH, END = 3, 3, 2


def laws(seed, num_prompts=2):
    keys = jax.random.split(jax.random.key(seed), 2)
    return (jax.nn.log_softmax(2 * jax.random.normal(key, (num_prompts, WORDS**LENGTH))) for key in keys)


def by_hand(policy, base, rho, end):
    """Every history in turn, and every pair of positions."""
    found = []
    for c, length in itertools.product(range(len(rho)), range(LENGTH)):
        for begun in itertools.product(range(WORDS), repeat=length):
            if end is not None and end in begun:
                continue
            after = [law[c].reshape((WORDS,) * LENGTH)[begun].reshape(WORDS, -1).sum(1) for law in (policy, base)]
            before = after[1] / after[1].sum()
            new, old = after[0].argmax(), before.argmax()
            entropy = -(before * np.log(before)).sum()
            found.append((rho[c] * after[0].sum(), new != old, 1 + (before > before[new]).sum(), entropy))
    weight, changed, rank, entropy = map(np.array, zip(*found, strict=True))
    weight = weight / weight.sum()
    at = weight * changed
    pairs = np.multiply.outer(at, weight * ~changed)
    larger = np.greater.outer(entropy, entropy) + 0.5 * np.equal.outer(entropy, entropy)
    return at.sum(), (at * rank).sum() / at.sum(), (pairs * larger).sum() / pairs.sum()


@pytest.mark.slow_but("None")
@pytest.mark.parametrize("end", [END, None])
def test_every_history_and_every_pair_in_turn(end):
    for seed in range(5):
        log_policy, log_base = laws(seed)
        rho = np.array([0.3, 0.7])
        sizes = {"num_words": WORDS, "length": LENGTH, "end": end}
        found = first_choice.first_choice(log_policy, log_base, jnp.log(jnp.asarray(rho)), **sizes)
        wanted = by_hand(np.exp(log_policy), np.exp(log_base), rho, end)
        np.testing.assert_allclose((found.changed, found.rank, found.auc), wanted, rtol=1e-10)


@pytest.mark.slow
def test_the_base_changes_nothing_and_prompts_that_do_not_occur_do_not_count():
    log_policy, log_base = laws(0)
    sizes = {"num_words": WORDS, "length": LENGTH, "end": END}
    same = first_choice.first_choice(log_base, log_base, jnp.log(jnp.array([0.3, 0.7])), **sizes)
    assert tuple(map(float, same)) == (0, 1, 1, 0.5)
    half = first_choice.first_choice(log_policy, log_base, jnp.array([-jnp.inf, 0.0]), **sizes)
    alone = first_choice.first_choice(log_policy[1:], log_base[1:], jnp.zeros(1), **sizes)
    np.testing.assert_allclose(half, alone, rtol=1e-12)
