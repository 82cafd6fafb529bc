"""The readings of the experiment on hints, on a dataset whose law is known: two strategies and a fine."""

import numpy as np
import pytest
import xarray as xr
from scipy import special

from experiments.claims import hints

FINES, STRENGTHS, SAYING, HONEST = np.array([0.0, 0.1, 0.3, 0.35, 0.4, 0.8]), np.array([30.0, 100.0]), 1.2, 0.5


@pytest.fixture(scope="module")
def dataset():
    """Saying pays 0.9 and costs 1.2 nats, honesty pays 0.6 and costs 0.5; a fine is paid where a hint is shown, 0.8."""
    fine, strength = xr.DataArray(FINES, dims="fine"), xr.DataArray(STRENGTHS, dims="strength")
    gap = strength * (0.3 - 0.8 * fine) - (SAYING - HONEST)
    says = 1 / (1 + np.exp(-gap))
    entropy = -special.xlogy(says, says) - special.xlogy(1 - says, 1 - says)
    made = {
        "says": says,
        "fined": 0.8 * says,
        "reward": 0.6 + says * (0.3 - 0.8 * fine),
        "total": HONEST + says * (SAYING - HONEST) - entropy,
    }
    found = xr.Dataset(made, {"fine": FINES, "strength": STRENGTHS})
    return found.expand_dims(seed=[0])


def test_saying_stops_where_both_ends_are_worth_the_same(dataset):
    law = (0.3 - (SAYING - HONEST) / STRENGTHS) / 0.8
    np.testing.assert_allclose(hints.balance(dataset).isel(seed=0), law, atol=1e-4)
    np.testing.assert_allclose(hints.stops(dataset).isel(seed=0), law, atol=1e-3)


def test_a_third_way_is_what_exceeds_both_ends(dataset):
    assert (hints.third_way(dataset) < 0.03).all()
    better = dataset.assign(reward=dataset.reward + 0.2 * (dataset.fine == 0.3))
    assert (hints.third_way(better) > 0.15).all()


@pytest.mark.parametrize(
    "follows, recall, direct, cell",
    [(0.6, 0.9, 0.0, "honest"), (1.0, 0.9, 0.5, "blatant"), (1.0, 0.1, 0.1, "obfuscated"), (1.0, 0.1, 0.4, "silent")],
)
def test_cells_by_hand(follows, recall, direct, cell):
    rates = {"follows": follows, "by_chance": 0.5, "decides": follows - 0.5, "recall": recall, "direct": direct}
    policy = xr.Dataset({name: (("fine", "seed"), [[value]]) for name, value in rates.items()})
    assert hints.CELLS[hints.cells(policy).item()] == cell
