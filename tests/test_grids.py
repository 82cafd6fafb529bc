import numpy as np
import pytest
from sweeping import AXES, run

from toypersona import grids


def test_blocks_partition_any_grid():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
        chunk = int(rng.integers(1, 40))
        block = grids.block_shape(shape, chunk)
        assert 1 <= np.prod(block) <= chunk
        cut = [i for i, (length, size) in enumerate(zip(block, shape, strict=True)) if length < size]
        if cut:
            assert block[: cut[-1]] == (1,) * cut[-1]
            assert (block[cut[-1]] + 1) * np.prod(block[cut[-1] + 1 :]) > chunk or shape[cut[-1]] > block[cut[-1]]
        visits = np.zeros(shape, int)
        for region in grids.regions(shape, block):
            visits[region] += 1
        assert (visits == 1).all()


def test_blocks_are_equal_parts_with_the_last_axes_whole():
    assert grids.block_shape((7, 3), 8) == (2, 3)
    assert grids.block_shape((5, 100), 64) == (1, 50)
    assert grids.block_shape((2, 3), 1000) == (2, 3)


def never(key, *, strength, order):
    raise AssertionError("was called")


BAD = {
    "chunk": ({"chunk": 0}, "chunk is a whole number of points from 1 on, not 0"),
    "nan": ({"axes": AXES | {"order": np.array([1.0, np.nan])}}, "axis 'order' has a nan in it"),
    "seeds below 0": ({"seeds": (-1, 2)}, "seeds are whole numbers from 0 to 4,294,967,295"),
    "seeds of 20 digits": ({"seeds": (12345678901234567890,)}, "seeds are whole numbers from 0 to 4,294,967,295"),
    "seeds of 30 digits": ({"seeds": (10**30,)}, "axis 'seed' .* integers"),
    "endless": ({"axes": {"order": np.arange(40_000), "strength": np.arange(40_000)}}, "at most 1,000,000,000 points"),
    "part beyond": ({"part": (2, 2)}, r"part is \(i, n\) with 0 <= i < n"),
    "empty axis": ({"axes": AXES | {"order": np.array([])}}, "axis 'order' .* one or more numbers"),
    "table": ({"axes": AXES | {"order": np.ones((2, 2))}}, r"axis 'order' .* not of shape \(2, 2\)"),
    "scalar": ({"axes": AXES | {"order": 1.0}}, r"axis 'order' .* not of shape \(\)"),
    "words": ({"axes": AXES | {"order": np.array(["a"])}}, "axis 'order' .* numbers"),
    "repeated": ({"axes": AXES | {"order": np.array([1, 1])}}, "axis 'order' repeats"),
    "no seeds": ({"seeds": ()}, "axis 'seed' .* one or more integers"),
    "repeated seeds": ({"seeds": (1, 2, 1)}, "axis 'seed' repeats"),
    "fractional seeds": ({"seeds": np.array([0.5])}, "axis 'seed' .* integers"),
    "seed as axis": ({"axes": AXES | {"seed": np.array([1])}}, "seeds are given as seeds"),
    "unknown axis": ({"axes": AXES | {"strenght": np.array([1])}}, "do not fit its function .*strenght"),
    "missing axis": ({"axes": {"order": np.array([1])}}, "do not fit its function .*strength"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_grids_stop_before_the_function_is_called(tmp_path, what):
    changed, message = BAD[what]
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path / "run.zarr", **{"experiment_fn": never, **changed})
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())
