"""A report on a toy says what is exactly so, within its errors; its parts against closed forms and SciPy."""

import exported
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from toypersona import report_figure, report_words, reports
from toypersona.measures import drift, evidence
from toypersona.readers import arrays, json_lines, tables
from toypersona.readers.tables import Scores

NAMES = ("total", "hull_distance", "selection", "selection_fraction")
NUM = 60
WEIGHTS = exported.weights()
PARTS = ("total", "selection", "hull_distance", "switching", "novelty")


def read(path, rows, **how):
    header = None if how.get("pool") else {"toypersona": 1, "prompt_weights": WEIGHTS}
    return tables.tables(json_lines.read(exported.write(path / "run.jsonl", rows, header)), **how)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def tilted(folder):
    return reports.report(read(folder, exported.lines(NUM))[0])


def close(report, exact, names=NAMES, most=5):
    for name in names:
        value, error = report.value(name)
        assert abs(value - float(getattr(exact, name))) < most * error, name
        assert 0 < error < 0.5 * (1.0 if name == "selection_fraction" else float(exact.total)), f"no power: {name}"


def test_the_budget_is_the_exact_one_within_its_errors(tilted):
    close(tilted, exported.toy()[2])
    assert tilted.trusted and tilted.base_inside
    assert tilted.log_evidence == float(evidence.e_value(tilted.table.samples).log_e) > 0
    np.testing.assert_allclose(tilted.pooled_weights.sum(), 1)


@pytest.mark.slow
def test_its_intervals_cover_the_exact_budget(folder):
    """From file to report: 1.96 standard errors cover about 95 of 100 draws."""
    exact = exported.toy()[2]
    inside = dict.fromkeys(NAMES, 0)
    for seed in range(100):
        found = reports.report(read(folder, exported.lines(NUM, seed=seed, tokens=False))[0])
        for name in NAMES:
            value, error = found.value(name)
            inside[name] += abs(value - float(getattr(exact, name))) < 1.96 * error
    assert min(inside.values()) >= 88, inside


@pytest.mark.slow
def test_with_next_words_switching_is_told_from_novelty(folder):
    base, policy, exact = exported.toy()
    rng = np.random.default_rng(0)
    laws = {"policy": policy, "base": np.asarray(base.log_base)}
    picks = {
        name: np.stack([rng.choice(law.shape[1], NUM, p=np.exp(each)) for each in law]) for name, law in laws.items()
    }
    take = lambda law, who: np.take_along_axis(np.asarray(law), picks[who], axis=-1)  # noqa: E731
    personas = {who: np.stack([take(base.log_personas[:, k], who) for k in range(3)], axis=1) for who in laws}
    after = [
        next_words(law, np.asarray(base.responses)[picks["policy"]])
        for law in (policy, *np.moveaxis(np.asarray(base.log_personas), 1, 0))
    ]
    np.savez(
        folder / "run.npz",
        log_policy=take(policy, "policy"), log_base=take(base.log_base, "policy"), log_personas=personas["policy"],
        base_log_base=take(base.log_base, "base"), base_log_personas=personas["base"],
        log_prompts=np.asarray(base.log_prompts), next_policy=after[0], next_personas=np.stack(after[1:], axis=3),
    )  # fmt: skip
    found = reports.report(arrays.read(folder / "run.npz"))
    close(found, exact, (*NAMES, "switching", "novelty"))
    assert "switching: a persona changes" in report_words.table(found)


def next_words(log_law, said):
    """Log-probabilities of every next word along the responses said [C, M, T, V]."""
    num_words = round(log_law.shape[1] ** (1 / exported.LENGTH))
    law = np.exp(log_law).reshape(len(log_law), *[num_words] * exported.LENGTH)
    after = []
    for t in range(exported.LENGTH):
        level = law.sum(axis=tuple(range(t + 2, exported.LENGTH + 1)))
        level = np.log(level / level.sum(axis=-1, keepdims=True)).reshape(len(law), -1, num_words)
        history = said[..., :t] @ num_words ** np.arange(t - 1, -1, -1) if t else np.zeros(said.shape[:2], int)
        after.append(np.take_along_axis(level, history[..., None], axis=1))
    return np.stack(after, axis=2)


def test_tokens_add_up_to_their_response_and_are_those_of_the_mix_as_a_law(tilted):
    base, policy, _ = exported.toy()
    weights = np.asarray(tilted.budget.weights)
    mix = np.log(np.einsum("ck,ckn->cn", weights, np.exp(np.asarray(base.log_personas))))
    expected = exported.by_token(policy) - exported.by_token(mix)
    spelt = [" ".join(base.labels.units[u] for u in said) for said in np.asarray(base.responses)]
    ratio = reports.to_mix(tilted.table.samples, weights, None)
    for c, row in enumerate(tilted.table.responses):
        for i, one in enumerate(row[:10]):
            tokens = reports._token_ratios(one, weights[c], None)
            np.testing.assert_allclose(tokens, expected[c, spelt.index(one.text)], atol=1e-9)
            np.testing.assert_allclose(tokens.sum(), ratio[c, i], atol=1e-9)
    assert tilted.words and [w.nats for w in tilted.words] == sorted((w.nats for w in tilted.words), reverse=True)
    brightest = np.unravel_index(ratio.argmax(), ratio.shape)
    assert (
        tilted.lit[0].nats == ratio.max()
        and tilted.lit[0].response == tilted.table.responses[brightest[0]][brightest[1]].text
    )


def test_a_response_likelier_than_under_every_persona_is_counted(tilted):
    samples = tilted.table.samples
    assert tilted.proofs == (samples.log_policy > samples.log_personas.max(axis=1) + reports.CLEAR).sum() > 0


def test_a_proof_is_likelier_by_twice_what_scoring_again_changes(tilted):
    table = tilted.table
    samples = table.samples
    margin = samples.log_policy - samples.log_personas.max(axis=1)
    again = samples._replace(log_policy=samples.log_policy - 0.01, log_personas=samples.log_personas.copy())
    again.log_personas[2, 1, 3] -= 0.4
    least = np.minimum(margin, again.log_policy - again.log_personas.max(axis=1))
    expected = (least > 0.8).sum()
    assert 0 < expected < (least > reports.CLEAR).sum(), "noise of 0.4 nats of a persona undoes some of them"
    assert reports._proofs(table, table._replace(samples=again)) == expected
    assert reports._proofs(table, table) == reports._proofs(table, None) == tilted.proofs
    again.log_personas[2, 1, 3] = -np.inf
    assert reports._proofs(table, table._replace(samples=again)) == 0, "an engine may be wrong by any number of nats"
    both = table._replace(samples=again)
    assert reports._proofs(both, both) > 0, "what is impossible in both scorings is no change"


@pytest.fixture(scope="module")
def repaired():
    """A base that is no mix of the personas, its tilt, and rows of both."""
    base, policy, _ = exported.toy()
    away = np.asarray(jax.random.normal(jax.random.key(5), base.log_base.shape))
    law = lambda x: np.asarray(jax.nn.log_softmax(x))  # noqa: E731
    outside = law(np.asarray(base.log_base) + 0.4 * away)
    moved = law(policy + 0.4 * away)
    exact = drift.budget(
        jnp.asarray(moved), jnp.asarray(outside), base.log_personas, base.responses, base.log_prompts, repair=True
    )
    return outside, moved, exact


@pytest.mark.slow
def test_a_base_outside_is_seen_and_repaired(folder, repaired):
    outside, moved, exact = repaired
    table = read(folder, exported.lines(NUM, policy=moved, log_base=outside))[0]
    plain = reports.report(table)
    assert not plain.base_inside and not plain.trusted
    found = reports.report(table, repair=True)
    close(found, exact, most=6)
    assert found.proofs is None and 0 < found.log_evidence < plain.log_evidence
    assert found.trusted and found.value("misfit")[0] > 3 * found.value("misfit")[1]
    text = " ".join(report_words.table(found).split())
    assert "They are repaired" in text and "proof" not in text
    assert "at most one in 1,000,000 that a mix of the personas looks this strange (to first order" in text
    assert table.responses is not None
    row = table.responses[0][0]
    tokens = reports._token_ratios(row, found.budget.weights[0], found.base_weights[0])
    ratio = reports.to_mix(table.samples, np.asarray(found.budget.weights), found.base_weights)
    np.testing.assert_allclose(tokens.sum(), ratio[0, 0], atol=1e-9)


def noisy(rows, size, seed):
    """The same rows scored by an engine that is wrong by ``size`` nats a response."""
    rng = np.random.default_rng(seed)
    jitter = lambda x: min(float(np.sum(x) + size * rng.normal()), 0.0)  # noqa: E731
    changed = []
    for row in rows:
        scores = row["log_probs"]
        own = {name: jitter(scores[name]) for name in ("policy", "base")}
        personas = {name: jitter(values) for name, values in scores["personas"].items()}
        one = {name: value for name, value in row.items() if name != "tokens"}
        if row["sampled_from"] == "base":
            own["policy"] = own["base"]
        changed.append(one | {"log_probs": own | {"personas": personas}})
    return changed


def test_scoring_twice_gives_the_floor_below_which_nothing_is_claimed(folder):
    rows = exported.lines(NUM, policy=np.asarray(exported.toy()[0].log_base))
    first, again = (read(folder, noisy(rows, 0.2, seed))[0] for seed in (1, 2))
    found = reports.report(first, again=again)
    assert found.floor is not None
    total, error = found.value("total")
    assert 0.02 < total < found.floor.total < 0.2, "noise of 0.2 nats makes drift of 0.04 of none"
    assert total > 3 * error, "which its own error does not know"
    text = report_words.table(found)
    assert text.count("not claimed") >= 3
    assert found.log_evidence < found.floor.log_evidence
    exact = reports.report(*read(folder, rows), again=read(folder, rows)[0])
    assert exact.floor == (0, 0, 0, 0, 0)


@pytest.mark.slow
def test_pooled_prompts_share_one_mix(folder):
    """A base with a mix of its own at every prompt is none of one mix for all, and is repaired."""
    base = exported.toy()[0]
    anew = np.log([2.0, 1.0, 0.5])
    gates = np.asarray(base.log_gates) + anew
    gates = np.exp(gates) / np.exp(gates).sum(axis=1, keepdims=True)
    policy = np.log(np.einsum("ck,ckn->cn", gates, np.exp(np.asarray(base.log_personas))))
    table = read(folder, exported.lines(NUM, policy=policy), pool=True)[0]
    assert not reports.report(table).base_inside
    found = reports.report(table, repair=True)
    assert found.trusted and found.budget.weights.shape == (1, 3)
    (selection, error), (fraction, spread) = (found.value(name) for name in ("selection", "selection_fraction"))
    assert selection > 3 * error and fraction > 0.5 + spread
    assert "one mix is assumed for all 6 prompts" in " ".join(report_words.table(found).split())


def test_rewards_are_means_over_prompts_with_errors(folder):
    rows = exported.lines(NUM)
    for i, row in enumerate(rows):
        row["reward"] = i % 3
    found = reports.report(read(folder, rows)[0])
    rho = np.array(list(WEIGHTS.values()))
    assert found.rewards is not None
    (mean, error), _ = found.rewards
    given = np.array([row["reward"] for row in rows[: 6 * NUM]]).reshape(6, NUM)
    np.testing.assert_allclose(mean, rho @ given.mean(axis=1))
    np.testing.assert_allclose(error, np.sqrt(rho**2 @ given.var(axis=1, ddof=1) / NUM))
    assert "reward: " in report_words.table(found)


def test_evidence_is_said_in_words():
    said = {0.5: "2", 8.0: "3,000", 13.0: "440,000", 230.3: "10^100"}
    assert {x: report_words.times(x) for x in said} == said
    assert [report_words.number(*x) for x in ((0.0123, 0.0045), (12.3, 4.5), (1e-9, 0.0), (np.inf, 1.0))] == [
        "0.0123",
        "12.3",
        "0",
        "infinite",
    ]


def floor_of(nats):
    return reports.Floor(0.0, 0.0, 0.0, 0.0, nats)


def said_of(report, log_evidence, noise=None, pooled=0):
    table = report.table._replace(pooled=pooled)
    floor = None if noise is None else floor_of(noise)
    return report_words.sentence(report._replace(log_evidence=log_evidence, floor=floor, table=table))


def test_pooled_the_odds_are_those_of_one_mix_for_all_prompts(tilted):
    """A mix that depends on the prompt may look strange to it, and is inside."""
    assert "at most one in 3,000 that one mix for all prompts looks this strange" in said_of(tilted, 8.0, pooled=6)
    assert "nothing speaks against one mix for all prompts" in said_of(tilted, -1.0, pooled=6)
    assert "that a mix of the personas looks this strange" in said_of(tilted, 8.0)
    pooled = tilted._replace(table=tilted.table._replace(pooled=6))
    assert "that one mix for all prompts looks this strange" in report_words.jsonable(pooled)["evidence_in_words"]
    assert "that one mix for all prompts looks this strange" in " ".join(report_words.table(pooled).split())


def test_evidence_that_is_not_a_number_is_not_known(tilted):
    assert "After 360 samples: not known" in said_of(tilted, np.nan)
    assert "nothing speaks against" in said_of(tilted, 0.0) and "for sure" in said_of(tilted, np.inf)


def test_the_odds_are_what_is_left_of_the_evidence_beyond_scoring_noise(tilted):
    assert "at most one in 3,000" in said_of(tilted, 20.0, noise=12.0)
    assert "12.0 of 20.0 nats taken off" in said_of(tilted, 20.0, noise=12.0)
    weak = (
        "not told yet: a mix of the personas looks this strange in up to 14% of such samples, 18.0 of 20.0 nats taken"
    )
    assert weak in said_of(tilted, 20.0, noise=18.0)
    assert "in up to 78% of such samples; more samples may tell" in said_of(tilted, 0.25)
    assert "at most one in 20 that" in said_of(tilted, 3.0)
    for log_evidence, noise in ((12.0, 12.0), (8.0, 12.0), (np.inf, np.inf), (8.0, np.nan)):
        said = said_of(tilted, log_evidence, noise)
        assert "scoring noise alone may do that" in said and "one in" not in said
    assert "for sure" in said_of(tilted, np.inf, noise=3.0)


def test_samples_drawn_at_another_temperature_than_scored_are_noticed():
    """Under the policy that drew them no other law is likelier in the mean; level one in a thousand."""
    base, tilted, _ = exported.toy()
    law = np.asarray(tilted)
    rng = np.random.default_rng(0)
    places = np.stack([rng.choice(law.shape[1], 40, p=np.exp(row) / np.exp(row).sum()) for row in law])
    at = lambda x: np.take_along_axis(np.asarray(x), places, axis=-1)  # noqa: E731
    log_personas = np.stack([at(base.log_personas[:, k]) for k in range(3)], axis=1)
    right = Scores(at(law), at(base.log_base), log_personas)
    assert evidence.misdrawn(right) < np.log(1000)
    assert evidence.misdrawn(right._replace(log_policy=right.log_policy / 0.7)) > 20


@pytest.mark.slow
def test_a_missing_persona_is_noticed_whatever_the_error_of_the_distance(folder, tilted):
    """The evidence is enough of what the base says and nobody who is left says as often."""
    rows = exported.lines(NUM, tokens=False)
    for row in rows:
        row["log_probs"]["personas"].pop("alice")
    report = reports.report(read(folder, rows)[0])
    assert report.base_evidence > 100 and tilted.base_evidence <= 1e-6
    unsure = report._replace(budget=report.budget._replace(base_inside=np.array(True)))
    assert not unsure.base_inside and not unsure.trusted


def test_a_panel_with_nothing_to_draw_says_so(tilted):
    axes = Figure().subplots(1, 3)
    dark = tilted._replace(words=[], lit=[])
    impossible = tilted.table.samples._replace(log_policy=np.full_like(tilted.table.samples.log_policy, -np.inf))
    report_figure._words(axes[0], dark)
    report_figure._ratios(axes[1], tilted._replace(table=tilted.table._replace(samples=impossible)))
    report_figure._budget(axes[2], tilted._replace(budget=tilted.budget._replace(**dict.fromkeys(PARTS, np.inf))))
    said = [text.get_text() for axis in axes for text in axis.texts]
    assert [each.split()[0] for each in said] == ["Nothing", "Of", "No"]
    report_figure._words(full := Figure().subplots(), tilted)
    assert not full.texts and full.patches
