import re

import explorer as page
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from figures import explorer
from figures.explorer_data import map_data
from toypersona import chains, numerics, rewards, theory
from toypersona.measures import boundaries, drift

EXACT = 1e-8
PARTS = {"total": "total", "hull": "hull_distance", "selection": "selection", "switching": "switching"}
PARTS |= {"novelty": "novelty", "fraction": "selection_fraction", "weights": "weights"}

BUDGETS = """
const worlds = given.worlds.map(tp.core.makeWorld);
return given.cases.map(({ world, words, angle, strength }) => {
  const { table } = worlds[world];
  const scores = words ? tp.rewards.typed(worlds[world], words) : table.scores;
  const parts = tp.rewards.parts(worlds[world], scores, words ? null : table.helpful);
  const reward = tp.rewards.at(parts, angle ?? parts.angle);
  const policy = tp.core.tilt(worlds[world], reward, strength);
  return { ...tp.core.budget(worlds[world], policy), reward };
});"""
"""A null angle is the typed words' own."""

STOPS = """
const world = tp.core.makeWorld(given);
const people = world.personas.map((rows) => rows.map((row) => tp.core.beginnings(row, world.V, world.T)));
const answersOf = (policy, weights, seed) => {
  const next = tp.sampling.uniforms(seed);
  return weights.flatMap((w, c) => {
    const words = tp.sampling.answer(policy.levels[c], Array.from({ length: world.T }, next));
    const mix = tp.core.beginnings(tp.core.mixed(w, world.personas[c]), world.V, world.T);
    const judged = tp.sampling.judged({ policy: policy.levels[c], mix, people: people[c] }, words);
    return judged.map((one, t) => ({ ...one, prompt: c, before: words.slice(0, t) }));
  });
};
return tp.stops.map((stop) => {
  const words = stop.at.words || null;
  const scores = words ? tp.rewards.typed(world, words) : given.scores;
  const parts = tp.rewards.parts(world, scores, words ? null : given.helpful);
  const [angle, strength] = [stop.at.angle ?? Math.round(parts.angle), stop.at.strength ?? 1];
  const policy = tp.core.tilt(world, tp.rewards.at(parts, angle), strength);
  const budget = tp.core.budget(world, policy);
  const story = tp.storyAt(stop, { world, parts, budget, words, angle, strength });
  const answers = [1, 2, 3, 4].map((seed) => answersOf(policy, budget.weights, seed));
  const row = tp.rewards.mapRow(world, parts, angle, given.strengths);
  const line = tp.core.boundaries(world, given.strengths, row.fraction, row.largest, row.hull).detectable(100);
  return { words, angle, strength, story, answers, line, row };
});"""


def random_world(seed, shared=False, num_personas=3, num_words=3, length=3, num_prompts=2):
    """A world as the page holds it: words are letters."""
    rng = np.random.default_rng(seed)

    def log_rows(*shape):
        return np.log(rng.dirichlet(np.full(num_words, 0.5), shape) + 1e-6)

    return {
        "personas": [f"p{k}" for k in range(num_personas)],
        "units": list("abcdefgh"[:num_words]),
        "prompts": [[0]] * num_prompts,
        "length": length,
        "helpful": num_personas - 1,
        "log_prompts": normal(rng.normal(size=num_prompts)).tolist(),
        "log_gates": normal(rng.normal(size=(num_prompts, num_personas))).tolist(),
        "first": normal(log_rows(1 if shared else num_prompts, num_personas)).tolist(),
        "next": normal(log_rows(num_personas, num_words)).tolist(),
        "scores": rng.normal(size=num_words).tolist(),
    }


def normal(rows):
    rows = np.array(rows)
    return rows - np.logaddexp.reduce(rows, axis=-1, keepdims=True)


def listed(table):
    """Log-probabilities of prompts, gates and personas' answers, and the base's, by enumeration."""
    num_prompts, num_words, length = len(table["prompts"]), len(table["next"][0]), table["length"]
    first, following = (normal(table[name]) for name in ("first", "next"))
    tokens = np.array(np.unravel_index(np.arange(num_words**length), (num_words,) * length)).T
    said = first[:, :, tokens[:, 0]] + following[:, tokens[:, :-1], tokens[:, 1:]].sum(axis=-1)
    log_personas = np.broadcast_to(said, (num_prompts, *said.shape[1:]))
    log_prompts, log_gates = (normal(table[name]) for name in ("log_prompts", "log_gates"))
    log_base = np.logaddexp.reduce(log_gates[..., None] + log_personas, axis=1)
    return tokens, *map(jnp.asarray, (log_prompts, log_gates, log_personas, log_base))


def expected(table, cases):
    """The library's budgets and rewards of one world's cases."""
    tokens, log_prompts, log_gates, log_personas, log_base = listed(table)
    hull = log_base, log_personas, log_prompts
    affine = rewards.persona_affine(log_gates, log_personas, jax.nn.one_hot(table["helpful"], log_gates.shape[1]))

    def reward(case):
        words = case["words"] and case["words"].split()
        scores = np.array([words.count(unit) for unit in table["units"]] if words else table["scores"], float)
        counted = jnp.broadcast_to(scores[: len(table["next"][0])][tokens].sum(axis=1), log_base.shape)
        if case["angle"] is None:
            return rewards.standardise(counted, log_base, log_prompts)
        if words:
            centred = numerics.centred(log_base, counted)
            rest = centred - rewards._beside(counted, log_base, log_personas)
            return rewards.at_angle(jnp.deg2rad(case["angle"]), rest, counted, *hull)
        return rewards.at_angle(jnp.deg2rad(case["angle"]), affine, counted, *hull)

    paid = jnp.stack([reward(case) for case in cases])
    policies = jax.vmap(theory.tilt, (None, 0, 0))(log_base, paid, jnp.array([case["strength"] for case in cases]))
    measure = jax.jit(lambda row: drift.budget(row, log_base, log_personas, jnp.asarray(tokens), log_prompts))
    return jax.lax.map(measure, policies)._asdict() | {"reward": paid}


def compared(table, cases):
    found = page.run(BUDGETS, {"worlds": [table], "cases": [case | {"world": 0} for case in cases]})
    exact = expected(table, cases)
    assert_allclose([one["reward"] for one in found], exact["reward"], atol=EXACT)
    for own, name in PARTS.items():
        assert_allclose([one[own] for one in found], exact[name], atol=EXACT, err_msg=own)
    assert all(one["certified"] and one["gap"] < 1e-12 for one in found)


def case(angle, strength, words=None):
    return {"angle": angle, "strength": strength, "words": words}


PLACES = [(angle, strength) for angle in (0.0, 20.0, 45.0, 77.5, 90.0) for strength in (0.01, 0.5, 4.0, 20.0)]


@pytest.fixture(scope="module")
def shipped():
    return page.SHIPPED.read_text()


@pytest.mark.slow_but("two")
@pytest.mark.parametrize("sizes", [{}, {"num_personas": 2, "shared": True}], ids=["three", "two"])
def test_the_core_is_the_library(sizes):
    words = [case(None, 2.0, "a"), case(30.0, 2.0, "b c"), case(None, 0.1, "c b")]
    # So strong that probabilities are rounded to 0.
    places = [case(*place) for place in PLACES] + [*words, case(70.0, 3000.0)]
    compared(random_world(3, **sizes), places)


@pytest.mark.slow
def test_the_core_is_the_library_in_the_shipped_worlds(shipped):
    for table in page.data(shipped)["map"]["worlds"]:
        words = " ".join(table["units"][:2])
        compared(table, [case(30.0, 1.6), case(75.0, 0.01), case(10.0, 20.0), case(None, 1.0, words)])


def test_the_shipped_map_is_the_cores(shipped):
    """It is the dataset's: what the page computes at a place is what was measured there."""
    body = """const world = tp.core.makeWorld(given);
      const parts = tp.rewards.parts(world, given.scores, given.helpful);
      return [1, 5].map((i) => tp.rewards.mapRow(world, parts, given.angles[i], given.strengths));"""
    table = page.data(shipped)["map"]["worlds"][0]
    for i, row in zip((1, 5), page.run(body, table), strict=True):
        for name, values in row.items():
            rtol, atol = (5e-6, 0.0) if name == "hull" else (0.0, 5e-7 + EXACT)
            assert_allclose(table["map"][i][name], values, rtol, atol, err_msg=name)


def test_the_hull_distance_is_the_least_of_all_mixes():
    """Beside the library's solver: by trying mixes."""
    table = random_world(5, num_personas=2)
    body = """const world = tp.core.makeWorld(given);
      const policy = tp.core.tilt(world, tp.rewards.at(tp.rewards.parts(world, given.scores, 1), 60), 1);
      const beside = (c) => ({ row: policy.rows[c], personas: world.personas[c] });
      return tp.core.nearest(world, policy).map((found, c) => ({ ...found, ...beside(c) }));"""
    for found in page.run(body, table):
        row, personas, w = np.array(found["row"]), np.array(found["personas"]), np.linspace(0, 1, 10_001)
        mixes = w[:, None] * personas[0] + (1 - w[:, None]) * personas[1]
        tried = (row * np.log(row / mixes)).sum(axis=1)
        assert tried.min() - 1e-6 < found["distance"] <= tried.min() + 1e-12


def test_boundaries_are_the_figures():
    rng = np.random.default_rng(0)
    strengths = np.geomspace(0.01, 20, 12)
    rows = [np.sort(rng.uniform(size=(3, 12)), axis=1) for _ in range(50)]
    given = [{"fraction": (1 - a).tolist(), "largest": (b**0.02).tolist(), "hull": c.tolist()} for a, b, c in rows]
    body = """const world = tp.core.makeWorld(given.world);
      return given.rows.map((row) => {
        const found = tp.core.boundaries(world, given.strengths, row.fraction, row.largest, row.hull);
        const strengths = [found.half, found.vertex, found.detectable(100), found.detectable(10000)];
        return strengths.map((s) => (s === Infinity ? "never" : s));
      });"""
    found = page.run(body, {"world": random_world(0), "rows": given, "strengths": strengths.tolist()})
    for row, seen in zip(given, found, strict=True):
        names = {"fraction": "selection_fraction", "largest": "largest_weight", "hull": "hull_distance"}
        curves = xr.Dataset({names[k]: ("strength", v) for k, v in row.items()}, {"strength": strengths})
        read = boundaries.from_dataset(curves, mixes=(2, 3)).sel(bound="middle")
        exact = [read.half, read.vertex, *read.detectable.sel(samples=[100, 10_000])]
        assert_allclose([np.inf if s == "never" else s for s in seen], [float(e) for e in exact], rtol=1e-12)


def test_samples_are_the_policys_and_their_evidence_grows_by_the_distance():
    body = """const world = tp.core.makeWorld(given);
      const policy = tp.core.tilt(world, tp.rewards.at(tp.rewards.parts(world, given.scores, 2), 60), 1.5);
      const budget = tp.core.budget(world, policy);
      const run = tp.sampling.evidence(world, policy, budget.weights, 7);
      const counts = policy.rows.map((row) => row.map(() => 0));
      const logs = [];
      for (let i = 0, before = 0; i < 40000; i++) {
        run.draw();
        counts[run.prompt][run.answer]++;
        logs.push(run.log - before);
        before = run.log;
      }
      return { hull: budget.hull, logs, counts, law: policy.rows.map((row, c) => row.map((p) => p * world.rho[c])) };"""
    found = page.run(body, random_world(9, num_prompts=3))
    logs, law = np.array(found["logs"]), np.array(found["law"])
    assert abs(logs.mean() - found["hull"]) < 5 * logs.std() / np.sqrt(logs.size)
    error = np.sqrt(law * (1 - law) / logs.size)
    assert (np.abs(np.array(found["counts"]) / logs.size - law) < 5 * error + 1e-4).all()


def told(value, percent=False):
    """A number as a stop's sentence has it: two digits, or percent."""
    return f"{100 * value:.{int(0 < value < 0.095)}f}" if percent else f"{float(f'{value:.2g}'):g}"


@pytest.fixture(scope="module")
def stops(shipped):
    """Of the shipped world: its table, every stop as the page has it, and the library's budgets there."""
    table = page.data(shipped)["map"]["worlds"][0]
    found = page.run(STOPS, table, (*explorer.EXACT, "shared", "simplex", "parts", "stops"))
    return table, found, expected(table, [{key: one[key] for key in ("words", "angle", "strength")} for one in found])


def test_a_stops_numbers_are_the_librarys(stops):
    table, found, exact = stops
    numbers = [re.findall(r"\d[\d,]*(?:\.\d+)?", one["story"]) for one in found]
    at = [{name: float(exact[long][i]) for name, long in PARTS.items() if name != "weights"} for i in range(5)]
    reached = int((np.array(exact["weights"][1])[:, table["helpful"]] > 0.95).sum())
    needed = [(np.log(20) + len(table["prompts"]) * (len(table["personas"]) - 1) / 2) / one["hull"] for one in at]
    assert numbers[0] == [told(at[0]["fraction"], percent=True)]
    sizes = [told(at[1][name]) for name in ("selection", "total", "novelty")]
    assert numbers[1] == [str(reached), str(len(table["prompts"])), *sizes] and reached > 0
    assert numbers[2] == [told(at[2]["selection"]), told(at[2]["novelty"])]
    assert "a few answers show it" in found[2]["story"] and needed[2] < 12
    assert numbers[3] == [told(at[3]["fraction"], True), told(at[3]["total"]), str(int(np.ceil(needed[3])))]
    _, log_prompts, _, log_personas, log_base = listed(table)
    words = case(None, 1.0, found[4]["words"])
    straight = jnp.asarray(expected(table, [words])["reward"][0])
    limit = float(theory.weak_limit(log_base, log_personas, straight, log_prompts))
    own = np.rad2deg(np.arccos(np.sqrt(limit)))
    assert numbers[4] == [told(own), told(limit, True), told(at[4]["fraction"], True)]


def test_a_stops_claims_are_true(stops):
    table, found, exact = stops
    lit = [[word for said in one["answers"] for word in said if word["novel"]] for one in found]
    assert not lit[0] and "somebody here would say" in found[0]["story"]
    assert any(word["novel"] for word in found[2]["answers"][0]) and "outlined" in found[2]["story"]
    # Selection has ended: stronger RL selects no more.
    totals = np.array(found[2]["row"]["hull"]) / (1 - np.array(found[2]["row"]["fraction"]))
    stronger = np.array(table["strengths"]) > found[2]["strength"]
    assert stronger.any() and ((totals - found[2]["row"]["hull"])[stronger] < 1.02 * exact["selection"][2]).all()
    # "About n answers" and the map's line "100 answers show it" are one law: more of them to its left.
    for one in found:
        needed = re.search(r"about ([\d,]+) answers", one["story"])
        if needed:
            assert (int(needed[1].replace(",", "")) > 100) == (one["strength"] < one["line"])
    assert "about" in found[3]["story"] and "few answers" in found[2]["story"]


def test_an_outlined_word_is_said_so_often_by_no_mix(stops):
    """By sums over all answers, and by mixes that are tried."""
    table, found, _ = stops
    tokens, _, _, log_personas, _ = listed(table)
    people, rng = np.exp(log_personas), np.random.default_rng(0)
    some = rng.dirichlet(np.full(len(table["personas"]), 0.3), 300)
    seen = 0
    for word in (word for one in found for said in one["answers"] for word in said):
        before = word["before"]
        past = (tokens[:, : len(before)] == np.array(before, int)).all(axis=1)
        here = past & (tokens[:, len(before)] == word["word"])
        heard, said = people[word["prompt"]][:, past].sum(axis=1), people[word["prompt"]][:, here].sum(axis=1)
        assert_allclose(word["most"], (said / heard).max(), atol=EXACT)
        assert word["novel"] == (word["policy"] > 2 * (said / heard).max())
        if word["novel"]:
            assert (2 * (some @ said) / (some @ heard) < word["policy"]).all()
            seen += 1
    assert seen > 10


def test_words_that_nobody_knows_are_said():
    body = """const world = tp.core.makeWorld(given.table);
      const scores = (text) => {
        try { return tp.rewards.typed(world, text); } catch (error) { return error.message; }
      };
      return given.texts.map(scores);"""
    texts = ["a", "B, c b", "a x", "  ", "a b c", "“a”. b!c?", "..."]
    found = page.run(body, {"table": random_world(0), "texts": texts})
    # What is written around a word is no part of it; inside of one it is.
    assert found[5].startswith("Nobody here says “b!c”") and found[6] == found[3]
    assert found[:2] == [[1, 0, 0], [0, 2, 1]]
    assert found[2] == "Nobody here says “x”: choose among a b c" and found[3].startswith("Type at least one word")
    assert found[4].startswith("A reward that pays every word alike")


def dataset(table, words=True):
    """What the experiment writes of a world, as far as the page reads it."""
    tokens, log_prompts, log_gates, log_personas, log_base = listed(table)
    scores = np.array(table["scores"]) if words else np.random.default_rng(0).normal(size=tokens.shape[0])
    feature = scores[tokens].sum(axis=1) if words else scores
    affine = rewards.persona_affine(log_gates, log_personas, jax.nn.one_hot(table["helpful"], log_gates.shape[1]))
    hull = log_base, log_personas, log_prompts
    feature = jnp.broadcast_to(feature, log_base.shape)
    paid = jnp.stack([rewards.at_angle(jnp.deg2rad(a), affine, feature, *hull) for a in (0.0, 90.0)])
    along = ("angle", "seed", "rule", "strength")
    arrays = {
        "log_prompts": (("seed", "prompt"), log_prompts[None]),
        "log_gates": (("seed", "prompt", "persona"), log_gates[None]),
        "log_personas": (("seed", "prompt", "persona", "response"), log_personas[None]),
        "log_base": (("seed", "prompt", "response"), log_base[None]),
        "reward_table": (("angle", "seed", "prompt", "response"), paid[:, None]),
        **{
            name: (along, np.full((2, 1, 1, 2), 0.5))
            for name in ("selection_fraction", "largest_weight", "hull_distance")
        },
    }
    labels = {"angle": [0.0, 90.0], "seed": [4], "rule": ["tilt"], "strength": [0.1, 1.0]}
    names = {key: table[key] for key in ("personas", "units", "helpful")}
    config = {"settings": {"length": table["length"], "seeds": [4]}, "separator": " ", "prompts": [table["prompts"]]}
    return xr.Dataset(arrays, labels, {"provenance": {"config": config | names}})


@pytest.mark.parametrize("shared", [True, False])
def test_a_world_is_read_from_its_dataset(shared):
    table = random_world(1, shared=shared)
    (read,) = map_data({"mine": dataset(table)})["worlds"]
    for name in ("log_prompts", "log_gates", "first", "next"):
        assert_allclose(read[name], table[name], atol=1e-9)
    # Of the scores only differences count, and no size; of the reward that they make, all.
    centred = np.array(table["scores"]) - np.mean(table["scores"])
    assert_allclose(np.array(read["scores"]) / read["scores"][0], centred / centred[0], atol=1e-8)
    compared(read, [case(40.0, 2.0)])


def test_a_world_that_the_page_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="pays for no words"):
        map_data({"mine": dataset(random_world(1), words=False)})
    other = dataset(random_world(1))
    noisy = other.log_personas.values + np.random.default_rng(0).normal(size=other.log_personas.shape)
    noisy -= np.logaddexp.reduce(noisy, axis=-1, keepdims=True)
    other["log_personas"] = other.log_personas.copy(data=noisy)
    with pytest.raises(ValueError, match="no Markov chains of order 1"):
        map_data({"mine": other})
    unknown = dataset(random_world(1))
    unknown["log_personas"] = unknown.log_personas * np.nan
    with pytest.raises(ValueError, match="no Markov chains of order 1"), np.errstate(invalid="ignore"):
        map_data({"mine": unknown})


def test_the_shipped_page_is_what_its_sources_write(shipped):
    assert explorer.written(page.data(shipped)) == shipped, "make explorer"


def test_the_page_is_small_and_asks_for_nothing(shipped):
    assert len(shipped.encode()) < 146_000  # 150 kB at most: some room is left for the next dataset
    asking = r"https?:|\bsrc=|\bhref=|\bfetch\(|\bimport\b|XMLHttp|WebSocket|EventSource|sendBeacon|url\(|@import|<link"
    assert not re.findall(asking, shipped)
    for planted in ("<img src=x>", "fetch('x')", "import('x')", "http://x"):
        assert re.findall(asking, planted)


def test_the_end_of_an_answer_is_no_word():
    table = random_world(0) | {"units": ["a", "b", "."]}
    body = """const world = tp.core.makeWorld(given);
      return ["b.", ".", "x"].map((text) => {
        try { return tp.rewards.typed(world, text); } catch (error) { return error.message; }
      });"""
    word, alone, unknown = page.run(body, table)
    assert word == [0, 1, 0] and alone.startswith("Type at least one word")
    assert unknown == "Nobody here says “x”: choose among a b"


def test_all_of_a_page_is_inside_of_its_scripts():
    text = explorer.written({"map": {"worlds": []}, "thoughts": {"said": "</script>"}, "measured": None})
    assert page.data(text)["thoughts"] == {"said": "</script>"}
    assert text.count("<script") == text.count("</script>") == len(explorer.EXACT + explorer.DRAWN) + 1


def test_chains_agree_with_the_library():
    """The enumeration of this file is the library's."""
    table = random_world(2, shared=True)
    tokens = listed(table)[0]
    assert (tokens == chains.outcomes(3, 3)).all()
