import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from toypersona import programs, sweeps
from toypersona.programs import Plan

AXES = {"strength": np.linspace(0.0, 1.0, 11)}


def experiment(key, *, strength):
    return {"value": jnp.tanh(strength * jax.random.normal(key, (50,))), "is": strength > 0.5}


def run(out=None, **changed):
    given = {"seeds": range(3), "progress": False, "out": out}
    return sweeps.run(experiment, AXES, **given | changed)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("cache"), jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(folder))
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def program():
    return programs.trace(
        experiment, tuple((name, jnp.asarray(v).dtype) for name, v in (("seed", 1), ("strength", 0.5))), ()
    )


def first(size):
    return {"seed": np.arange(size), "strength": np.linspace(0.0, 1.0, size)}


def candidates(monkeypatch, *found):
    monkeypatch.setattr(compiling, "CPU_CANDIDATES", found)
    monkeypatch.setattr(compiling, "TUNING_SHARE", np.inf)


@pytest.mark.parametrize("plan", [Plan(8, 8, 8), Plan(9, 3, 9), Plan(9, 4, 40), Plan(4, 1, 4), Plan(33, 32, 64)])
def test_every_plan_computes_the_same(monkeypatch, plan):
    monkeypatch.setattr(compiling, "measured", lambda *_: plan)
    found, expected = run(), run(chunk=1)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-13)
    np.testing.assert_array_equal(found["is"], expected["is"])


def test_what_was_measured_is_remembered(monkeypatch, program):
    device = jax.devices()[0]
    made = programs.measured(program, first, 1000, device)
    assert made.chunk % made.batch == 0
    assert made.batch <= made.chunk <= 1000 + made.batch
    monkeypatch.setattr(compiling, "_rates", None)
    assert programs.measured(program, first, 1000, device) == made
    with pytest.raises(TypeError):
        programs.measured(program, first, 10_000, device)


def test_a_corrupt_memory_is_measured_anew(cache, program):
    (cache / programs.PLANS).write_text('{"torn')
    made = programs.measured(program, first, 100, jax.devices()[0])
    assert programs.measured(program, first, 100, jax.devices()[0]) == made


def test_an_option_that_the_compiler_refuses_is_dropped(monkeypatch, program):
    bogus = (("xla_no_such_option", True),)
    candidates(monkeypatch, (8, bogus), (4, bogus), (4, ()))
    assert programs.measured(program, first, 100, jax.devices()[0])[1::2] == (4, ())
    candidates(monkeypatch, (4, ()), (8, bogus))
    assert programs.measured(program, first, 1000, jax.devices()[0])[1::2] == (4, ())


def test_an_option_that_the_compiler_takes_is_tried(monkeypatch, program):
    taken = (("xla_cpu_prefer_vector_width", 512),)
    candidates(monkeypatch, (4, taken))
    assert programs.measured(program, first, 100, jax.devices()[0])[1::2] == (4, taken)


def test_measuring_takes_no_more_than_its_share(monkeypatch, program):
    seen = []
    compiled = programs.compiled
    monkeypatch.setattr(compiling, "compiled", lambda *given: seen.append(given) or compiled(*given))
    monkeypatch.setattr(compiling, "TUNING_SHARE", 0.0)
    programs.measured(program, first, 1000, jax.devices()[0])
    assert len(seen) == 1


def test_the_outputs_of_a_block_are_bounded(monkeypatch, program):
    candidates(monkeypatch, (4, ()))
    # 50 float64 and two flags a point.
    monkeypatch.setattr(compiling, "BLOCK_BYTES", 402 * 10)
    assert programs.measured(program, first, 10**6, jax.devices()[0]).chunk == 8
    monkeypatch.setattr(compiling, "BLOCK_BYTES", 1)
    assert programs.measured(program, first, 10**7, jax.devices()[0]).chunk == 4


def test_an_interrupted_sweep_goes_on_as_it_was_measured_then(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "measured", lambda *_: Plan(6, 3, 9))
    write, blocks = sweeps.datasets.write_block, []

    def interrupted(store, region, values):
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(region)
        write(store, region, values)

    with monkeypatch.context() as patch:
        patch.setattr(sweeps.datasets, "write_block", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run.zarr")
    whole = run()
    monkeypatch.setattr(compiling, "measured", None)
    xr.testing.assert_identical(run(tmp_path / "run.zarr"), whole)


def test_an_unfinished_sweep_is_not_continued_in_another_way(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "measured", lambda *_: Plan(6, 3, 9))
    monkeypatch.setattr(sweeps.datasets, "write_block", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run.zarr")
    with pytest.raises(sweeps.datasets.RunMismatch, match="plan.batch is 3 there and 6 here"):
        run(tmp_path / "run.zarr", chunk=6)


def test_programs_are_told_apart_by_what_they_compute(program):
    dtypes = program.arguments
    again = programs.trace(lambda key, *, strength: experiment(key, strength=strength), dtypes, ())
    other = programs.trace(lambda key, *, strength: experiment(key, strength=2 * strength), dtypes, ())
    assert again.fingerprint == program.fingerprint != other.fingerprint
