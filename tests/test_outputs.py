import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import outputs
from toypersona.measures import drift, faithfulness, hints, sampled, support
from toypersona.outputs import Output, named


def test_an_array_gets_dimensions_coordinates_a_name_and_units():
    one = named(np.ones((2, 3, 4)), "log-probability", "nats", rule=["tilt", "sft"], prompt=None)
    assert (one.dims, one.long_name, one.units) == (("rule", "prompt"), "log-probability", "nats")
    assert one.coords["rule"].tolist() == ["tilt", "sft"] and set(one.coords) == {"rule"}
    np.testing.assert_array_equal(one.value, np.ones((2, 3, 4)))


def test_every_value_of_a_dict_gets_the_same_dimensions():
    both = named({"total": np.ones(2), "weights": np.ones((2, 3, 4))}, strength=[0.1, 1.0])
    assert [both[name].dims for name in both] == [("strength",), ("strength",)]
    assert outputs.described("weights", both["weights"]).dims == ("strength", "prompt", "persona")


def test_names_nest_the_outer_ones_first_and_the_inner_words_stay():
    inner = named(np.ones((2, 3)), "drift", "nats", record=[1, 2, 3])
    outer = named({"x": named(np.ones((5, 2, 3)), "drift", "nats", rule=["a", "b"], record=[1, 2, 3])}, seed=None)["x"]
    assert outer.dims == ("seed", "rule", "record") and outer.coords["record"].tolist() == [1, 2, 3]
    assert (outer.long_name, outer.units) == ("drift", "nats")
    renamed = named(inner, "other", "bits")
    assert (renamed.long_name, renamed.units, renamed.dims) == ("other", "bits", ("record",))
    assert named(inner, record=[7, 8]).coords["record"].tolist() == [1, 2, 3], "the inner coordinates stay"


def test_traced_values_are_named():
    @jax.jit
    def traced(x):
        return named({"total": x}, record=[1, 2])["total"].value + 1

    np.testing.assert_array_equal(traced(jnp.zeros(2)), [1, 1])


def test_the_glossary_knows_a_standard_error_and_a_prefix():
    total, error = outputs.quantity("total"), outputs.quantity("total_se")
    assert error == total._replace(long_name=f"{total.long_name} (standard error)")
    assert outputs.quantity("long_accuracy").long_name == f"{outputs.quantity('accuracy').long_name} (long)"
    assert outputs.quantity("by_hand_total").long_name == f"{total.long_name} (by hand)"
    assert outputs.quantity("sampled_recall_se").long_name.endswith("(sampled) (standard error)")
    assert outputs.quantity("something_else") == outputs.Quantity("something else")


@pytest.mark.parametrize(
    "measure", [drift.DriftBudget, sampled.SampledBudget, support.Support, hints.HintUse, faithfulness.Faithfulness]
)
def test_the_glossary_knows_what_the_library_measures(measure):
    for name in measure._fields:
        assert name.removesuffix("_se") in outputs.QUANTITIES


def test_axes_are_named_by_hand_then_by_the_glossary_then_by_number():
    assert outputs.described("weights", np.ones((2, 3))).dims == ("prompt", "persona")
    assert outputs.described("weights", np.ones((2, 3, 4))).dims == tuple(f"weights_dim_{i}" for i in range(3))
    by_prompt = Output(np.ones((5, 2, 3)), ("prompt",))
    assert outputs.described("weights", by_prompt).dims == ("prompt", "weights_dim_0", "weights_dim_1")
    swapped = Output(np.ones((3, 2)), ("persona",))
    assert outputs.described("weights", swapped).dims == ("persona", "prompt"), "what is named is not named twice"
    assert outputs.described("x", 1.0).dims == ()


def test_own_words_go_before_the_glossary_s():
    known = outputs.described("total", named(1.0, "my drift"))
    assert (known.long_name, known.units) == ("my drift", outputs.quantity("total").units)
    assert outputs.described("total", named(1.0, units="bits")).units == "bits"
    assert outputs.described("total", named(1.0, units="")).units == ""
    assert outputs.described("total_se", np.ones(())).long_name == outputs.quantity("total_se").long_name


def test_outputs_are_read_without_jax():
    code = "import sys, toypersona.outputs; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
