"""Figures of made-up datasets: rules in their groups, and titles that say what the numbers are."""

import drawn
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from experiments.claims import rules as readings
from figures import amplification, pages, rule_groups, rules_by_world, weak_limit
from toypersona.rules import catalogue

pytestmark = pytest.mark.usefixtures("looks")


def by_rule(values: dict[str, float]) -> xr.DataArray:
    return xr.DataArray([*values.values()], {"rule": [*values]}, "rule")


def test_every_rule_that_is_compared_is_in_one_group():
    listed = [rule for rules in rule_groups.GROUPS.values() for rule in rules]
    compared = {"tilt", *catalogue.RULES} - {rule_groups.REFERENCE, *catalogue.CONTROLS}
    assert sorted(listed) == sorted(compared)


def test_rules_are_in_order_within_their_groups_and_unknown_ones_are_the_user_s():
    groups = rule_groups.grouped(by_rule({"mine": 0.0, "SFT": np.inf, "tilt": 0.1, "RLOO": 0.3, "GRPO": -0.2}))
    assert groups == {
        "follow policy gradient": ["GRPO", "RLOO"],
        "imitate a persona": ["SFT"],
        "the optimum": ["tilt"],
        "yours": ["mine"],
    }
    rules, names = rule_groups.heights(groups)
    order = sorted({**rules, **names}, key=lambda name: -{**rules, **names}[name])
    assert order == [name for group, members in groups.items() for name in (group, *members)]
    assert np.diff(sorted([*rules.values(), *names.values()])).min() > 0.8
    narrow, rows = rule_groups.narrow_heights(groups)
    assert all(abs(narrow[rule] - rows[group]) < 0.36 for group, members in groups.items() for rule in members)
    assert len({*narrow.values()}) == len(narrow) and [*rows.values()] == [0, -1, -2, -3]


def test_only_rules_that_are_told_from_the_reference_have_a_colour():
    values = {"RLOO": (-0.1, 0.01), "GRPO": (0.2, 0.01), "SFT": (0.5, 0.2), "DPO": (np.nan, np.nan)}
    compared = xr.Dataset(
        {"difference": by_rule({rule: d for rule, (d, _) in values.items()}),
         "half": by_rule(dict.fromkeys(values, 0.05)),
         "p": by_rule({rule: p for rule, (_, p) in values.items()})}
    )  # fmt: skip
    axis = plt.figure().add_subplot()
    rows = rule_groups.draw_rows(axis, rule_groups.grouped(compared.difference.fillna(np.inf)), ["DPO"])
    rule_groups.draw_differences(axis, compared, rows, "o")
    points = {
        sign: dict(zip(*container[0].get_data(), strict=True))
        for sign, container in zip(rule_groups.COLOURS, axis.containers, strict=True)
    }
    assert points[-1] == {-0.1: rows["RLOO"]} and points[1] == {0.2: rows["GRPO"]}
    assert {0.5} == {x for x in points[0] if np.isfinite(x)}
    weights = {label.get_text(): label.get_fontproperties().get_weight() for label in axis.get_yticklabels()}
    assert weights["DPO"] == "bold" and weights["RLOO"] == "normal"


def world(gates: dict[str, dict[str, float]], seed: int) -> xr.Dataset:
    """Ten draws in which each rule selects so much more than policy gradient, by gate."""
    rng, rules = np.random.default_rng(seed), ["policy gradient", *next(iter(gates.values())), "control"]
    common = rng.normal(0, 0.2, 10)
    values = [
        [0.5 + common + apart.get(rule, 0.0) + rng.normal(0, 0.01, 10) for rule in rules] for apart in gates.values()
    ]
    coords = {"gate": [*gates], "rule": rules, "level": [0.9]}
    fraction = xr.DataArray(np.array(values)[..., None], coords=coords, dims=("gate", "rule", "seed", "level"))
    provenance = {"config": {"controls": ["control"], "settings": {}}}
    return xr.Dataset({"fraction": fraction}, attrs={"provenance": provenance})


def test_worlds_stand_side_by_side_and_their_titles_name_who_selects_least(monkeypatch):
    read = lambda dataset: {"drift": dataset.fraction, "paid": dataset.fraction}  # noqa: E731
    monkeypatch.setattr(readings, "selected", read)
    of_each = {
        "one/rules": world(
            {"network": {"tilt": -0.3, "SFT": 0.1, "DPO": -0.1}, "table": {"tilt": 0.1, "DPO": -0.2}}, 0
        ),
        "two/rules": world({"table": {"tilt": 0.2, "SFT": -0.3, "DPO": -0.1}}, 1),
    }
    made = rules_by_world.draw(of_each)
    page = made[""]
    assert isinstance(page, pages.Page)
    titles = [panel.title for panel in page.panels.values()]
    assert titles == [
        "one: least selected by tilt (gate network), DPO (gate table)",
        "two: least selected by SFT (gate table)",
    ]
    assert "- Select less than policy gradient in every column: DPO." in page.more
    assert "- Select more than policy gradient in every column: none." in page.more
    assert "| tilt | **-0.30 ± 0.01** | **+0.10 ± 0.01** |" in str(made["_table.md"]) and "control" not in str(
        made["_table.md"]
    )
    drawn.assert_drawn(page, of_each)
    # A rule that is not told from the reference is not named, nor is one told to select more.
    noisy = world({"table": {"tilt": 0.2, "SFT": 0.0}}, 2)
    titles = [panel.title for panel in rules_by_world.draw({"one/rules": noisy})[""].panels.values()]  # pyright: ignore
    assert titles == ["one: no rule selects less than policy gradient"]
    other = noisy.assign_coords(level=[0.5])
    with pytest.raises(ValueError, match=r"compare their rules at 0\.5 nats and at 0\.9 nats"):
        rules_by_world.draw({"one/rules": noisy, "two/rules": other})


def test_the_title_of_what_the_law_misses_is_the_largest_of_all_cases():
    rng, rules = np.random.default_rng(0), ["tilt", "vanilla/gates", "vanilla/experts", "adam/both"]
    drift = np.array([0.005, 0.01, 0.02, 0.04])
    predicted = xr.DataArray(rng.uniform(0, 1, (5, 3, 4)), dims=("world", "seed", "rule"), coords={"rule": rules})
    measured = predicted + xr.DataArray(0.1 * drift, {"drift": drift}, "drift")
    planted = xr.zeros_like(predicted)
    planted[3, 1, 2] = -7e-4
    dataset = xr.Dataset({"predicted": predicted, "selection_fraction": measured + planted}).assign_coords(
        world=range(5), seed=range(3)
    )
    page = weak_limit.draw(dataset)[""]
    assert page.panels["b"].title == "The law R² misses none of 60 cases by more than 7.0e-04"
    assert page.panels["c"].title.endswith("to the power 1.00")
    beyond = dataset.assign(selection_fraction=measured + 3 * planted)
    title = weak_limit.draw(beyond)[""].panels["b"].title
    assert title == "The law R² misses 1 of 60 cases by more than 0.001, the worst by 2.1e-03"
    drawn.assert_drawn(page, dataset)


def competition(end: dict[str, float]) -> xr.Dataset:
    """Two prompts, three draws, two records; the likeliest begins at 0.6 and has so much in the end, by rule."""
    rules, base = [*amplification.LOOKS], 0.6
    share = np.empty((3, len(rules), 2, 2))
    share[:, :, 0], share[:, :, 1] = base, np.array([end.get(rule, base) for rule in rules])[None, :, None]
    dims, seeds = ("seed", "rule", "record", "prompt"), [0, 1, 2]
    shares = xr.DataArray(share, dims=dims, coords={"rule": rules, "record": [1, 1000], "seed": seeds})
    paid, direction = ["helpfulness", "what is rare"], ["tilt", "vanilla/gates"]
    change = xr.DataArray(
        np.array([[-0.1, 0.2], [0.3, 0.4]])[None] + np.zeros((3, 1, 1)),
        {"seed": seeds, "paid": paid, "direction": direction},
        ("seed", "paid", "direction"),
    )
    largest = xr.ufuncs.maximum(shares, 1 - shares).mean("prompt")
    law = xr.full_like(shares.isel(rule=0, drop=True), base)
    variables = {
        "share": shares, "largest": largest, "won": (shares.isel(record=-1, drop=True) > 0.5).astype(float),
        "law": law, "natural_law": law, "base_share": law.isel(record=0, drop=True), "change": change,
        "formula": change,
    }  # fmt: skip
    settings = {"settings": {"num_steps": 1000}}
    return xr.Dataset(variables, attrs={"provenance": {"config": settings}})


def test_titles_say_which_rules_leave_one_and_where_entropy_rises():
    dataset = competition({"GRPO": 0.01, "expert iteration": 0.99, "policy gradient": 0.8, "RLOO": 0.8})
    titles = [panel.title for panel in amplification.draw(dataset)[""].panels.values()]
    assert titles == [
        "One right persona wins under GRPO and expert iteration; all stay under natural gradient and RLOO, KL in "
        "reward",
        "How often the winner is not the base's likeliest: GRPO 100%, expert iteration 0%",
        "Paid for what is rare, entropy rises by any rule",
    ]
    drawn.assert_drawn(amplification.draw(dataset)[""], dataset)
    # Up at one prompt and down at the other is not to stay.
    swapped = dataset.share.sel(rule="natural gradient", record=1000).copy(data=[[0.4, 0.8]] * 3)
    share = dataset.share.where(~((dataset.share.rule == "natural gradient") & (dataset.share.record == 1000)), swapped)
    title = amplification.draw(dataset.assign(share=share))[""].panels["a"].title
    assert title.endswith("all stay under RLOO, KL in reward")
    other = competition(dict.fromkeys(amplification.LOOKS, 0.8)).assign(change=-abs(dataset.change))
    titles = [panel.title for panel in amplification.draw(other)[""].panels.values()]
    assert titles[0] == "One right persona wins under no rule; all stay under no rule"
    assert titles[2] == "Entropy's first change"
