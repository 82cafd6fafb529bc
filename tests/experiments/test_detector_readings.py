"""What is read of detectors, from made-up alarms whose laws are known; an error in any of them is seen."""

import drawn
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from experiments.claims import detectors as readings
from figures import detectors as figure
from figures import style
from toypersona import alarms, datasets, detection

SEEDS, ANGLES, AIMS, SAMPLES = 3, np.array([0.0, 60.0]), np.array([0.1, 0.8, 2.0]), np.array([4, 64, 256])
SETTINGS = {"alpha": 0.05, "stop_alpha": 1e-6, "longest": 4000}
DETECTORS = list(alarms.DETECTORS[:-1])


@pytest.fixture
def dataset(monkeypatch):
    """Powers and stopping times of the laws; no e-value alarms inside, perplexity and entropy always do from .8 on."""
    rng = np.random.default_rng(0)
    config = {"settings": SETTINGS, "num_prompts": 6, "num_personas": 3}
    monkeypatch.setattr(datasets, "config_of", lambda dataset: config)
    coords = {"seed": range(SEEDS), "kind": ["mixture", "transformer"], "angle": ANGLES, "aim": AIMS}
    cases = tuple(coords)
    shape = SEEDS, 2, 2, 3
    distance = 0.02 * np.exp(rng.normal(size=shape))
    total = np.broadcast_to(AIMS, shape) + 0.0
    law = detection.stopping_time(distance, alpha=1e-6)
    reached = total < 1
    made = xr.Dataset(
        {
            "total": (cases, total),
            "hull_distance": (cases, distance),
            "growth": (cases, distance),
            "stopped": (cases, np.minimum(law, 4000) * (1 + 0.01 * rng.normal(size=shape))),
            "inside_total": (cases, total),
            "free_weights": (cases, np.full(shape, 12)),
            "certified": (cases, reached),
        },
        coords | {"samples": SAMPLES, "detector": DETECTORS},
    )
    power = readings.power_law(made)
    wolf = (made.detector == "perplexity") | (made.detector == "entropy")
    inside = (1.0 * wolf) * (made.aim > 0.5) + 0 * power
    made = made.assign(outside=power + 0 * inside, power=power + 0 * inside, inside=inside, lent=0 * inside + 0.01)
    of_network = inside.sel(kind="transformer", detector="entropy", drop=True)
    return made.assign(activations_inside=of_network, activations_outside=of_network, activations_power=0 * of_network)


def failed(dataset):
    return [claim.what for claim in readings.claims(dataset) if not claim.holds]


def test_what_is_true_holds_where_the_hull_reaches_as_far(dataset):
    assert not failed(dataset)
    assert readings.strongest(dataset).aim == 0.8
    said = " ".join(readings.findings(dataset))
    assert "Transformer, 1,536 samples near 0.8 nats" in said and "activations 1.00 ± 0.00 / 0.00 ± 0.00" in said
    assert "Detectable from n d = 9 nats on" in said


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (lambda d: d.assign(lent=d.lent.where(d.detector != "e-value", 0.1)), "e-value, 64 samples a prompt: share"),
        (lambda d: d.assign(outside=d.outside + 0.2), "by tenths of it"),
        (lambda d: d.assign(inside_total=1.1 * d.inside_total), "log of the mix's drift"),
        (lambda d: d.assign(stopped=1.3 * d.stopped), "transformer: stopping time"),
        (lambda d: d.assign(inside=0 * d.inside), "mixture, perplexity: share without"),
        (lambda d: d.assign(activations_inside=0 * d.activations_inside), "transformer, activations: share without"),
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
