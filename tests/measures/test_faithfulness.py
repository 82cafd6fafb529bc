"""Measures of thoughts against sums written out in NumPy, closed forms, and samples."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.shared import oracle
from toypersona.measures import faithfulness as measures

C, K, Z, Y = 4, 3, 5, 2
RIGHT = jnp.array([0, 1, 1, 0])
LOG_PROMPTS = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
COSTS = jnp.arange(5.0)


def random_joint(seed, scale=1.0):
    logits = scale * jax.random.normal(jax.random.key(seed), (C, K * Z * Y))
    return jax.nn.log_softmax(logits).reshape(C, K, Z, Y)


def whole(log_joint):
    """P(c, k, z, y)."""
    return np.exp(np.asarray(log_joint)) * np.exp(np.asarray(LOG_PROMPTS))[:, None, None, None]


def mutual_information(joint):
    """I(row; column) of a table, in nats, term by term."""
    rows, columns = joint.sum(1), joint.sum(0)
    return sum(
        joint[i, j] * np.log(joint[i, j] / rows[i] / columns[j])
        for i in range(len(rows))
        for j in range(len(columns))
        if joint[i, j] > 0
    )


@jax.jit
def measure(log_joint, log_base=None, right=RIGHT):
    log_base = random_joint(99) if log_base is None else log_base
    return measures.faithfulness(log_joint, log_base, right, COSTS, LOG_PROMPTS, num_thoughts=2)


sampled = jax.jit(lambda samples: measures.faithfulness_from_samples(samples, num_answers=2))


@pytest.mark.parametrize("seed", range(5))
def test_everything_as_by_hand(seed):
    log_joint, log_base = random_joint(seed, 2.0), random_joint(seed + 50)
    made = measure(log_joint, log_base)
    joint, base = whole(log_joint), whole(log_base)
    reader = base.sum((0, 1)) / base.sum((0, 1, 3))[:, None]
    answered, given = joint.sum((1, 2)), joint.sum((0, 1))
    shares = given.sum(0)
    np.testing.assert_allclose(made.accuracy, sum(answered[c, RIGHT[c]] for c in range(C)), rtol=1e-12)
    np.testing.assert_allclose(made.cost, joint.sum((0, 1, 3)) @ np.arange(5.0), rtol=1e-12)
    np.testing.assert_allclose(made.answer_entropy, -(shares * np.log(shares)).sum(), rtol=1e-12)
    np.testing.assert_allclose(made.read, made.answer_entropy + (given * np.log(reader)).sum(), atol=1e-12)
    np.testing.assert_allclose(made.agreement, (given * reader).sum(), rtol=1e-12)
    np.testing.assert_allclose(made.read + made.coded, mutual_information(given), atol=1e-12)
    by_persona = joint.sum(0).reshape(K * Z, Y)
    np.testing.assert_allclose(made.read + made.coded + made.keyed, mutual_information(by_persona), atol=1e-12)
    assert made.certified and made.coded > 0 and made.keyed > 0
    said, voices = np.exp(log_joint).sum((1, 3)), np.exp(log_base).sum(3)
    voices = voices / voices.sum(2, keepdims=True)
    apart = sum(np.exp(LOG_PROMPTS[c]) * oracle.nearest(said[c], voices[c]).fun for c in range(C))
    np.testing.assert_allclose(made.thought_hull_distance, apart / 2, atol=1e-7)


def test_reliance_as_by_hand():
    log_joint = random_joint(1, 2.0)
    joint, rho = np.exp(np.asarray(log_joint)), np.exp(np.asarray(LOG_PROMPTS))
    expected = 0.0
    for c in range(C):
        others = [d for d in range(C) if RIGHT[d] != RIGHT[c]]
        for k in range(K):
            weights = rho[others] * joint[others, k].sum((1, 2))
            weights = weights / weights.sum()
            own, speaks = joint[c, k].sum(0) / joint[c, k].sum(), joint[c, k].sum()
            answers = joint[c, k] / joint[c, k].sum(1, keepdims=True)
            swapped = sum(w * joint[d, k].sum(1) / joint[d, k].sum() for w, d in zip(weights, others, strict=True))
            expected += rho[c] * speaks * 0.5 * np.abs(swapped @ answers - own).sum()
    np.testing.assert_allclose(measure(log_joint).reliance, expected, rtol=1e-12)


def certain(thought, answer, speaks=(1.0, 0.0, 0.0)):
    """One thought (of 0 and 1) at each prompt and one answer after each thought, both up to 1e-14."""
    joint = np.zeros((C, K, Z, Y))
    for c in range(C):
        for k in range(K):
            for z in (0, 1):
                joint[c, k, z, answer(k, z)] = speaks[k] * (1 - 1e-14 if z == thought(c, k) else 1e-14)
    with np.errstate(divide="ignore"):
        return jnp.log(jnp.asarray(joint))


def test_three_ways_to_know_the_answer():
    """The base notes the right answer in thoughts 0 and 1 and then gives it with probability 0.9; a policy does so
    always, or notes the other one, or lets the persona decide which of them means what.
    """
    base = np.zeros((C, K, Z, Y))
    for c, right in enumerate(np.asarray(RIGHT)):
        base[c, :, right, right], base[c, :, right, 1 - right] = 0.3, 0.1 / 3
    with np.errstate(divide="ignore"):
        base = jnp.log(jnp.asarray(base))
    h = np.log(2)
    plain = measure(certain(lambda c, k: int(RIGHT[c]), lambda k, z: z), base)
    np.testing.assert_allclose([plain.read, plain.coded, plain.keyed], [h + np.log(0.9), -np.log(0.9), 0], atol=1e-12)
    np.testing.assert_allclose([plain.accuracy, plain.agreement, plain.reliance], [1, 0.9, 1], atol=1e-12)
    coded = measure(certain(lambda c, k: 1 - int(RIGHT[c]), lambda k, z: 1 - z), base)
    np.testing.assert_allclose([coded.read, coded.coded, coded.keyed], [h + np.log(0.1), -np.log(0.1), 0], atol=1e-12)
    np.testing.assert_allclose([coded.accuracy, coded.agreement, coded.reliance], [1, 0.1, 1], atol=1e-12)
    assert np.isinf(coded.thought_hull_distance) and not coded.certified
    keyed = certain(lambda c, k: (int(RIGHT[c]) + k) % 2, lambda k, z: (z + k) % 2, (0.5, 0.5, 0.0))
    keyed = measure(keyed, random_joint(3, 0.0))
    np.testing.assert_allclose([keyed.read, keyed.coded, keyed.keyed], [0, 0, h], atol=1e-12)
    np.testing.assert_allclose([keyed.accuracy, keyed.agreement, keyed.reliance], [1, 0.5, 1], atol=1e-12)


def test_a_policy_that_merely_stops_slipping_has_no_code():
    """The base notes the right answer and answers by its note, each with a slip now and then; the policy never slips:
    all that the reader does not get is that it could have been surer. One that exchanges the notes has a code.
    """

    def notes(slips, swapped=False):
        joint = np.zeros((C, K, Z, Y))
        for c, right in enumerate(np.asarray(RIGHT)):
            for note in (0, 1):
                meant = 1 - note if swapped else note
                noted = 1 - slips if meant == right else slips
                joint[c, :, note, meant] += noted * (1 - slips) / 3
                joint[c, :, note, 1 - meant] += noted * slips / 3
        with np.errstate(divide="ignore"):
            return jnp.log(jnp.asarray(joint))

    base = notes(0.1)
    plain = measure(notes(0.0), base)
    np.testing.assert_allclose(plain.coded, -np.log(0.9), rtol=1e-12)
    np.testing.assert_allclose([plain.sharpening, plain.code], [plain.coded, 0], atol=1e-12)
    swapped = measure(notes(0.0, swapped=True), base)
    np.testing.assert_allclose(swapped.code, np.log(2), rtol=1e-9)
    np.testing.assert_allclose(swapped.sharpening + swapped.code, -np.log(0.1), rtol=1e-9)


@pytest.mark.slow
def test_a_hundred_random_policies_keep_the_bounds():
    joints = jax.vmap(lambda key: jax.nn.log_softmax(3 * jax.random.normal(key, (C, K * Z * Y))))(
        jax.random.split(jax.random.key(8), 100)
    ).reshape(100, C, K, Z, Y)
    made = jax.jit(jax.vmap(measure))(joints)
    assert (made.sharpening >= 0).all() and (made.code >= 0).all()
    assert (made.coded >= 0).all() and (made.keyed >= -1e-15).all() and made.certified.all()
    assert (made.read + made.coded + made.keyed <= made.answer_entropy + 1e-12).all()
    assert (made.reliance >= 0).all() and (made.reliance <= 1).all()
    assert (made.thought_hull_distance >= -1e-12).all() and (made.gap <= 1e-11).all()


def test_the_base_is_readable_and_codes_nothing():
    base = random_joint(99)
    made = measure(base, base)
    np.testing.assert_allclose([made.thought_hull_distance, made.coded], 0, atol=1e-11)


def test_coded_information_keeps_its_digits_near_zero():
    """Second order in a small change of the answers: halving it quarters the information, down to 1e-15 nats."""
    base = random_joint(99)
    tilt = jnp.broadcast_to(jnp.array([1.0, -1.0]), base.shape)
    mass = jax.nn.logsumexp(base, axis=-1, keepdims=True)
    moved = [jax.nn.log_softmax(base + size * tilt, axis=-1) + mass for size in (2e-7, 1e-7)]
    sizes = [measure(joint, base).coded for joint in moved]
    assert 0 < sizes[1] < 1e-13
    np.testing.assert_allclose(sizes[0] / sizes[1], 4.0, rtol=1e-4)


def test_prompts_with_one_right_answer_have_nothing_to_swap_with():
    assert measure(random_joint(0), random_joint(1), jnp.zeros(C, int)).reliance == 0


def test_responses_are_split_before_the_answer():
    log_experts = jnp.log(jnp.arange(1.0, 28.0)).reshape(1, 1, 27)
    made = measures.split_responses(jnp.zeros((1, 1)), log_experts, 3, 2)
    assert made.shape == (1, 1, 9, 2)
    np.testing.assert_allclose(jnp.exp(made[0, 0, 4]), [13, 14])
    with pytest.raises(ValueError, match="27 responses of 4 words do not end in 2 answers"):
        measures.split_responses(jnp.zeros((1, 1)), log_experts, 4, 2)


def draw(log_joint, log_base, number, seed=0):
    """Samples of a listed policy, their log-probabilities looked up."""
    joint, base = whole(log_joint), whole(log_base)
    rng = np.random.default_rng(seed)
    places = rng.choice(joint.size, number, p=joint.reshape(-1) / joint.sum())
    c, k, z, y = np.unravel_index(places, joint.shape)
    given, reader = joint.sum((0, 1)), base.sum((0, 1))
    other = np.asarray(jax.jit(measures.swaps)(jax.random.key(seed), RIGHT[c], jnp.asarray(k)))
    answers = joint[c, k, z[other]] / joint[c, k, z[other]].sum(1, keepdims=True)
    by_persona = joint.sum(0)
    return measures.ThoughtSamples(
        answers=jnp.asarray(y),
        right=RIGHT[c],
        costs=COSTS[z],
        log_reader=jnp.log(reader[z, y] / reader[z].sum(1)),
        log_thoughts=jnp.log(given[z, y] / given[z].sum(1)),
        log_persona=jnp.log(by_persona[k, z, y] / by_persona[k, z].sum(1)),
        partners=jnp.asarray(other),
        swapped=jnp.asarray((rng.random(number) > answers[:, 0]).astype(int)),
    )


def test_samples_estimate_the_exact_measures_within_their_standard_errors():
    log_joint, log_base = random_joint(1, 2.0), random_joint(99)
    exact = measure(log_joint, log_base)
    made = sampled(draw(log_joint, log_base, 8000))
    for name in ("accuracy", "cost", "answer_entropy", "read", "coded", "keyed", "agreement"):
        error = made[f"{name}_se"]
        assert abs(made[name] - getattr(exact, name)) < 5 * error + 1e-6, name
        assert 0 <= error < 0.05
    assert made["reliance"] - 5 * made["reliance_se"] < exact.reliance


def test_sampled_reliance_is_exact_where_swaps_take_from_the_right_answer():
    listed = jnp.exp(certain(lambda c, k: int(RIGHT[c]), lambda k, z: z, (0.2, 0.3, 0.5)))
    log_joint = jnp.log(0.7 * listed + 0.01)
    exact = measure(log_joint).reliance
    made = sampled(draw(log_joint, random_joint(99), 8000))
    assert abs(made["reliance"] - exact) < 5 * made["reliance_se"] and exact > 20 * made["reliance_se"]


@pytest.mark.slow
def test_the_standard_error_of_reliance_is_its_spread_over_repeated_draws():
    """Partners are shared: taken as independent, the terms would seem a third less noisy."""
    log_joint = random_joint(1, 2.0)
    made = [sampled(draw(log_joint, random_joint(99), 1000, seed)) for seed in range(200)]
    spread = np.std([x["reliance"] for x in made], ddof=1)
    stated = np.sqrt(np.mean([x["reliance_se"] ** 2 for x in made]))
    assert abs(stated / spread - 1) < 5 / np.sqrt(2 * 200)
    keyed = np.std([x["keyed"] for x in made], ddof=1) / np.mean([x["keyed_se"] for x in made])
    assert abs(keyed - 1) < 5 / np.sqrt(2 * 200)


@pytest.mark.parametrize("num", [50, *(pytest.param(n, marks=pytest.mark.slow) for n in (200, 1000))])
def test_intervals_cover(num):
    """Of every estimate, with uneven prompts; a mean that is never negative is skewed where samples are few."""
    log_joint, log_base = random_joint(2, 4.0), random_joint(99)
    joint, base = (jnp.exp(x + LOG_PROMPTS[:, None, None, None]) for x in (log_joint, log_base))
    given, reader, by_persona = joint.sum((0, 1)), base.sum((0, 1)), joint.sum(0)

    def one(key):
        place_key, swap_key, answer_key = jax.random.split(key, 3)
        places = jax.random.categorical(place_key, jnp.log(joint).reshape(-1), shape=(num,))
        c, k, z, y = jnp.unravel_index(places, joint.shape)
        partners = measures.swaps(swap_key, RIGHT[c], k)
        log_reader, log_thoughts = (jnp.log(x[z, y] / x[z].sum(1)) for x in (reader, given))
        log_persona = jnp.log(by_persona[k, z, y] / by_persona[k, z].sum(1))
        swapped = jax.random.categorical(answer_key, jnp.log(joint[c, k, z[partners]]))
        samples = measures.ThoughtSamples(
            y, RIGHT[c], COSTS[z], log_reader, log_thoughts, log_persona, partners, swapped
        )
        return measures.faithfulness_from_samples(samples, num_answers=2)

    made, exact = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 400)), measure(log_joint, log_base)
    for name in ("accuracy", "cost", "answer_entropy", "read", "coded", "keyed", "agreement"):
        apart, error = made[name] - getattr(exact, name), made[f"{name}_se"]
        covered = (abs(apart) < 1.96 * error).mean()
        assert (0.92 if num > 50 else 0.9) < covered < 0.985, (name, covered)
        assert abs(apart.std() / jnp.sqrt((error**2).mean()) - 1) < 0.12, name


def counted(right):
    """Samples that differ in their answers only, of which the first ``right`` are 1."""
    answers = (jnp.arange(10) < right).astype(int)
    nothing = jnp.zeros(10)
    return measures.ThoughtSamples(
        answers, jnp.ones(10, int), nothing, nothing, nothing, nothing, jnp.arange(10), jnp.ones(10, int)
    )


def test_the_entropy_of_answers_is_put_right_for_few_samples():
    """Summed over all that ten answers can be: nearer to H(Y) than without the correction, which lacks 1/2M."""
    made = [sampled(counted(right)) for right in range(11)]
    shares = np.arange(11) / 10
    plain = -np.nan_to_num(
        shares * np.log(np.maximum(shares, 1e-300)) + (1 - shares) * np.log1p(-shares.clip(max=0.99999))
    )
    for p in (0.3, 0.5):
        chances = np.array([math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(11)])
        entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
        bias = chances @ np.array([x["answer_entropy"] for x in made]) - entropy
        assert abs(bias) < 0.25 * abs(chances @ plain - entropy) and abs(chances @ plain - entropy) > 0.04


def test_errors_are_not_0_where_answers_are_all_right_or_as_frequent():
    all_right, even = sampled(counted(10)), sampled(counted(5))
    np.testing.assert_allclose(all_right["accuracy_se"], np.sqrt(12 / 14 * 2 / 14 / 10), rtol=1e-12)
    np.testing.assert_allclose(even["answer_entropy_se"], np.sqrt(1 / 200), rtol=1e-12)
    np.testing.assert_allclose(even["read_se"], np.sqrt(1 / 200), rtol=1e-12)


@pytest.mark.slow
def test_information_has_the_gradient_of_finite_differences():
    log_base, direction = random_joint(99), jax.random.normal(jax.random.key(5), (C, K, Z, Y))

    def parts(step):
        moved = jax.nn.log_softmax((random_joint(1) + step * direction).reshape(C, -1)).reshape(C, K, Z, Y)
        made = measure(moved, log_base)
        return jnp.stack([made.read, made.coded, made.code, made.keyed, made.thought_hull_distance, made.reliance])

    numeric = (parts(1e-5) - parts(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jvp(parts, (0.0,), (1.0,))[1], numeric, rtol=1e-5, atol=1e-8)


def test_swaps_find_the_same_persona_with_another_answer_each_as_often():
    right, personas = jnp.array([0, 1, 1, 0, 1, 2]), jnp.array([0, 0, 0, 0, 2, 0])
    found = np.asarray(
        jax.vmap(lambda key: measures.swaps(key, right, personas))(jax.random.split(jax.random.key(0), 3000))
    )
    for i, fits in enumerate(([1, 2, 5], [0, 3, 5], [0, 3, 5], [1, 2, 5], [4], [0, 1, 2, 3])):
        names, counts = np.unique(found[:, i], return_counts=True)
        assert names.tolist() == fits
        assert (np.abs(counts - 3000 / len(fits)) < 5 * np.sqrt(3000 / len(fits))).all()


def test_one_sample_has_no_standard_error():
    one = draw(random_joint(1), random_joint(99), 1)
    with pytest.raises(ValueError, match="two or more samples, not 1"):
        measures.faithfulness_from_samples(one, num_answers=2)


def test_shapes_that_do_not_fit_are_one_sentence():
    """In a process of its own: here jaxtyping would speak first."""
    code = """
import jax.numpy as jnp
from toypersona.measures import faithfulness, hints
joint, two, three = jnp.zeros((4, 3, 5, 2)), jnp.zeros(2, int), jnp.zeros(3, int)
samples = faithfulness.ThoughtSamples(two, two, jnp.zeros(3), two, two, two, two, two)
for wrong in (
    lambda: faithfulness.faithfulness(joint, joint, three, jnp.zeros(5), jnp.zeros(4), num_thoughts=2),
    lambda: faithfulness.faithfulness_from_samples(samples, num_answers=2),
    lambda: hints.hint_use(hints.Laws(joint, joint, three, three, jnp.zeros(5, bool), jnp.zeros(4))),
    lambda: hints.hint_use_from_samples(hints.HintSamples(two, two > 0, two, two, two, two, three)),
):
    try:
        wrong()
    except ValueError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" ")[0] for line in said] == ["log_joint", "There", "log_with", "There"]
    assert "right (3,)" in said[0] and "{'costs': (3,)} are not" in said[1] and "hints (3,)" in said[2]
    assert "{'right': (3,)} are not" in said[3]


@pytest.mark.parametrize(
    "field, value, complaint",
    [
        ("answers", 2, r"answers are numbered from 0 to 1, not from \d to 2"),
        ("partners", -1, "partners are numbered from 0 to 99, not from -1 to"),
        ("log_reader", 0.5, "log_reader has to be log-probabilities, nats of 0 or less, not 0.5"),
    ],
)
def test_values_that_cannot_be_are_refused(field, value, complaint):
    samples = draw(random_joint(1), random_joint(99), 100)
    wrong = samples._replace(**{field: getattr(samples, field).at[3].set(value)})
    with pytest.raises(ValueError, match=complaint):
        measures.faithfulness_from_samples(wrong, num_answers=2)


def test_samples_that_are_their_own_partners_are_independent():
    samples = draw(random_joint(1), random_joint(99), 500)._replace(partners=jnp.arange(500))
    made = sampled(samples)
    terms = (samples.answers == samples.right).astype(float) - (samples.swapped == samples.right)
    np.testing.assert_allclose(made["reliance_se"], terms.std() / np.sqrt(500), rtol=1e-9)
