import jax.numpy as jnp
import numpy as np
import pytest
from sweeping import COORDS, run, weights_named, weights_twice

from toypersona import sweeps
from toypersona.outputs import Output, named

BAD_NAMES = {
    "number of dimensions": ({"experiment_fn": weights_named(a=None, b=None, c=None)}, "2 axes and is named with 3"),
    "dimension twice": ({"experiment_fn": weights_twice}, r"rename \['weights'\]"),
    "dimension is axis": ({"experiment_fn": weights_named(order=None, a=None)}, r"rename \['order'\]"),
    "dimension is output": ({"experiment_fn": weights_named(a=None, reward=None)}, r"rename \['reward'\]"),
    "dimension is a constant": (
        {"experiment_fn": weights_named(a=None, b=None), "constants": {"b": np.ones(3)}},
        r"rename \['b'\]",
    ),
    "two sizes": (
        {"experiment_fn": weights_named(a=None, count_dim_0=None)},
        "The dimension 'count_dim_0' of '.*' has other places than that of another output",
    ),
    "other coordinates": (
        {"experiment_fn": weights_named(**COORDS), "constants": {"table": named(np.ones(2), rule=["a", "b"])}},
        "The dimension 'rule' of 'weights' has other places than that of another output",
    ),
    "coordinate's length": (
        {"experiment_fn": weights_named(rule=["a"], b=None)},
        r"'rule' has 2 places .* shape \(1,\)",
    ),
    "coordinate's type": (
        {"experiment_fn": weights_named(rule=np.array(["a", "b"], object), b=None)},
        "'rule' has 2 places .* type object",
    ),
    "constant is an output": ({"constants": {"reward": np.ones(2)}}, r"rename \['reward'\]"),
    "constant along another grid": (
        {"constants": {"table": named(np.ones(2), order=[1, 3])}},
        "The dimension 'order' of 'table' has other places than that of another output",
    ),
    "constant along a part of the grid": (
        {"constants": {"table": named(np.ones(1), order=None)}},
        r"'order' has 1 places in 'table' and a coordinate of shape \(2,\)",
    ),
    "config": ({"config": {"where": object()}}, "config has to be JSON"),
    "infinite": ({"infinite": ("rewrad",)}, r"infinite names \['rewrad'\]"),
}


@pytest.mark.slow_but("dimension is axis", "two sizes", "other coordinates", "infinite")
@pytest.mark.parametrize("what", BAD_NAMES)
def test_bad_names_stop_before_anything_is_written(tmp_path, what):
    changed, message = BAD_NAMES[what]
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path / "run.zarr", **changed)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "returned",
    [lambda: jnp.ones(3), lambda: {"a": {"b": jnp.ones(3)}}, lambda: {"a": "text"}, lambda: {}, lambda: None],
)
def test_what_is_no_dict_of_arrays(returned):
    with pytest.raises(TypeError, match="has to return a dict of one or more arrays by name"):
        sweeps.run(lambda key: returned(), {}, seeds=[0], chunk=1, progress=False)


@pytest.mark.parametrize("name", ["done", "diverged", "seed", "x", "a/b"])
def test_reserved_and_impossible_output_names(name):
    with pytest.raises(ValueError, match=f"rename .*'{name}'"):
        sweeps.run(lambda key, x: {name: x}, {"x": [1.0]}, seeds=[0], chunk=1, progress=False)


@pytest.mark.parametrize("cast", [lambda key: jnp.bfloat16(1), lambda key: key])
def test_types_no_dataset_holds(cast):
    with pytest.raises(ValueError, match="'a' is of type .*: cast it"):
        sweeps.run(lambda key: {"a": cast(key)}, {}, seeds=[0], chunk=1, progress=False)


def test_constants_and_words_are_kept_with_the_numbers(tmp_path):
    table = named(np.arange(6.0).reshape(2, 3), "a table", "nats", rule=COORDS["rule"], unit=None)
    along = named(np.array([5.0, 6.0]), order=None)
    constants = {"table": table, "weights_of_all": named(np.ones(3), persona=COORDS["persona"]), "along": along}
    for out in (None, tmp_path / "run.zarr"):
        dataset = run(out, constants=constants)
        assert dataset.along.sel(order=2) == 6
        assert dataset.table.dims == ("rule", "unit")
        assert dataset.table.attrs == {"long_name": "a table", "units": "nats"}
        np.testing.assert_array_equal(dataset.table.sel(rule="vanilla/gates"), [3, 4, 5])
        assert dataset.weights_of_all.dims == ("persona",)
        assert dataset.weights.attrs == {"long_name": "weight"}
        assert dataset.reward.attrs == {"long_name": "mean reward"}
        assert dataset.strength.attrs["long_name"] == "strength s = 1/β"


def test_dimensions_of_the_glossary_are_named_by_it():
    def budgets(key, *, strength):
        both = {"weights": jnp.ones((2, 4, 3)), "total": jnp.ones(2)}
        return named(both, record=[1, 5])

    dataset = sweeps.run(budgets, {"strength": [0.5]}, seeds=[0], chunk=1, progress=False)
    assert dataset.weights.dims == ("strength", "seed", "record", "prompt", "persona")
    assert dataset.total.dims == ("strength", "seed", "record") and dataset.record.values.tolist() == [1, 5]
    assert dataset.total.attrs["units"] == "nats"


def test_an_output_may_be_made_by_hand():
    by_hand = lambda key: {"x": Output(jnp.arange(2), ("a",), {"a": np.array(["b", "c"])})}  # noqa: E731
    dataset = sweeps.run(by_hand, {}, seeds=[0], chunk=1, progress=False)
    assert dataset.x.sel(a="c").values.tolist() == [1]
