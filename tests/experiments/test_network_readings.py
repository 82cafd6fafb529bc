"""What is read of networks, from made-up numbers whose laws are known; an error in any of them is seen."""

import drawn
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from experiments.claims import transformer as readings
from figures import style
from figures import transformer as figure
from toypersona import datasets

SEEDS, ANGLES, DRIFTS = 6, np.array([0.0, 30.0, 60.0, 90.0]), np.array([0.005, 0.01, 0.02])
NETWORKS, WAYS = ["0 of lines named", "0.5 of lines named"], ["after 0 steps", "trained", "table"]
RULES = ["SGD", "Adam", "RLOO", "GRPO", "natural gradient"]
HALF = {"tilt": 2.2, **dict.fromkeys(RULES, 2.0), "untrained features": 0.0, "table": 1.2, "mixture": 9.0}


@pytest.fixture
def dataset(monkeypatch):
    """S(0+) of the network is .3 above the tilt; along every walk S falls by 1/4 a nat, and is 1/2 at ``HALF``."""
    rng = np.random.default_rng(0)
    noise = lambda *shape: 0.01 * rng.normal(size=(SEEDS, *shape))  # noqa: E731
    gain = np.zeros((2, 3, 2, 4))
    gain[1, 1], gain[0, 1, 1], gain[1, 0], gain[1, 2] = 0.3, 0.2, -0.1, -0.05
    limit = np.cos(np.deg2rad(ANGLES)) ** 2 + gain + noise(2, 3, 2, 4)
    total = np.broadcast_to(np.arange(1, 15) * 0.2, (SEEDS, 1, 9, 14))
    half = np.array(list(HALF.values()))[:, None]
    fraction = 0.5 - (total - half) / 4 - np.where(half == 0, 0.3, 0.0)
    first = np.array([[0.7, 0.6, 0.8]]) + noise(1, 3)
    off = np.cumsum(np.abs(noise(1, 5, 14)) + 0.01, axis=-1)
    made = {
        "limit": (("network", "way", "feature", "angle"), limit),
        "limit_by_name": (("way", "feature", "angle"), limit[:, 1]),
        "early_limit": (("network", "early", "feature", "angle"), limit[:, :, :1]),
        "base_misfit": (("network", "span"), np.abs(noise(2, 3))),
        "first_order": (("walked", "kind"), first),
        "first_selection_fraction": (("walked", "kind", "drift"), first[..., None] + DRIFTS),
        "total": (("walked", "walk", "record"), total),
        "selection_fraction": (("walked", "walk", "record"), fraction + noise(1, 9, 14) * 0),
        "novelty": (("walked", "walk", "record"), 0.3 * total + np.abs(noise(1, 9, 14))),
        "hull_distance": (("walked", "walk", "record"), 0.5 * total + np.abs(noise(1, 9, 14))),
        "off": (("walked", "rule", "record"), off),
        "reading": (("walked", "rule", "record"), 0.5 + noise(1, 5, 14)),
        "readable": (("reader", "held_out"), noise(3, 2)),
        **{name: ((), noise()) for name in ("unseen", "seen", "others")},
    }
    coords = {"seed": range(SEEDS), "angle": ANGLES, "walked": [30.0], "network": NETWORKS, "way": WAYS, "early": [0]}
    coords |= {"feature": ["feature", "noise"], "kind": ["vanilla", "adam", "natural"], "drift": DRIFTS}
    coords |= {"walk": list(HALF), "rule": RULES, "record": range(1, 15), "span": ["truth", "names", "own prompts"]}
    coords |= {
        "reader": ["network", "untrained network", "last word and position"],
        "held_out": ["histories", "prompt"],
    }
    monkeypatch.setattr(datasets, "settings_of", lambda dataset: {"network": {"tagged": 0.5}})
    return xr.Dataset({name: (("seed", *dims), values) for name, (dims, values) in made.items()}, coords)


def failed(dataset):
    return [claim.what for claim in readings.claims(dataset) if not claim.holds]


def test_what_is_true_holds_and_is_read_as_it_is(dataset):
    assert not failed(dataset)
    halves = readings.halves(dataset).mean("seed")
    for walk, nats in HALF.items():
        np.testing.assert_allclose(halves.sel(walk=walk), min(nats, 2.8), atol=1e-6)
    gains = readings.gains(dataset)
    np.testing.assert_allclose(gains["the tilt"].sel(angle=60, feature="feature").mean(), 0.3, atol=0.02)
    said = " ".join(readings.findings(dataset))
    assert "60 degrees: weak plain gradient selects, tilt 0.25, the network 0.55" in said
    assert "tilt 2.20 ± 0.00, SGD 2.00" in said and "drift taken out" in said


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda d: d.assign(first_order=d.first_order * 1.001), "|S(0+) - R²|, SGD"),
        (
            lambda d: d.assign(limit=d.limit.where(d.network != NETWORKS[1], d.limit - 0.32)),
            "the tilt less the network",
        ),
        (
            lambda d: d.assign(limit=d.limit.isel(network=[1, 0]).assign_coords(network=NETWORKS)),
            "with 0 of lines named",
        ),
        (lambda d: d.assign(selection_fraction=1 - d.selection_fraction), "SGD on untrained features less SGD"),
    ],
)
def test_an_error_is_seen(dataset, broken, complaint):
    assert any(complaint in what for what in failed(broken(dataset)))


@pytest.mark.slow
def test_it_is_drawn(dataset):
    with mpl.rc_context():
        style._use()
        for page in figure.draw(dataset).values():
            drawn.assert_drawn(page, dataset)
