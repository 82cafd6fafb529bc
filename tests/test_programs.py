import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.experimental.compilation_cache import compilation_cache

from toypersona import programs, sweeps
from toypersona.programs import CPU_BATCH, CPU_OPTIONS, Begun, Plan

AXES = {"strength": np.linspace(0.0, 1.0, 11)}


def experiment(key, *, strength):
    return {"value": jnp.tanh(strength * jax.random.normal(key, (50,))), "is": strength > 0.5}


def run(out=None, **changed):
    given = {"seeds": range(3), "progress": False, "out": out}
    return sweeps.run(experiment, AXES, **given | changed)


def dtypes(*names):
    return tuple((name, jnp.asarray(0 if name == "seed" else 0.5).dtype) for name in sorted(("seed", *names)))


@pytest.fixture
def program():
    return programs.trace(experiment, dtypes("strength"), ())


@pytest.fixture
def lean(monkeypatch, program):
    """Its options, which the flags of tests would leave empty."""
    monkeypatch.setenv("XLA_FLAGS", "")
    return programs.lean_options(program.closed)


def first(size):
    return {"seed": np.arange(size), "strength": np.linspace(0.0, 1.0, size)}


@pytest.mark.slow_but("plan1", "plan4")
@pytest.mark.parametrize("plan", [Plan(8, 8), Plan(9, 3), Plan(40, 4), Plan(4, 1), Plan(64, 32, CPU_OPTIONS)])
def test_every_plan_computes_the_same(monkeypatch, plan):
    monkeypatch.setattr(programs, "measured", lambda *_: Begun(plan))
    found, expected = run(), run(chunk=1)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-13)
    np.testing.assert_array_equal(found["is"], expected["is"])


def test_a_plan_goes_through_json():
    stored = {"chunk": 8, "batch": 4, "options": [["name", 1], ["other", "text"]]}
    assert Plan.of(stored) == Plan(8, 4, (("name", 1), ("other", "text")))
    assert Plan.of(stored)._asdict()["options"] == (("name", 1), ("other", "text"))


def test_a_plan_is_measured_as_it_is(program, lean):
    plan = programs.measured(program, first, 100_000, jax.devices()[0]).plan
    assert plan.chunk % plan.batch == 0 and plan.batch in (1, CPU_BATCH)
    assert plan.options == (CPU_OPTIONS if plan.batch == CPU_BATCH else lean)


def test_options_of_large_programs_are_others(monkeypatch):
    def doubled(x):
        return jax.lax.fori_loop(0, 3, lambda _, x: 2 * x, x)

    level, old = {"xla_backend_optimization_level": 1}, {"xla_cpu_use_fusion_emitters": False}
    few = jax.make_jaxpr(doubled)(1.0)
    inner = programs.num_equations(few)
    assert inner > len(few.eqns)
    for again in (doubled, jax.checkpoint(doubled)):
        many = jax.make_jaxpr(lambda x, again=again: again(x) + again(x))(1.0)
        assert programs.num_equations(many) >= 2 * inner + 1
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(programs, "MOST_EQUATIONS", inner)
    assert dict(programs.lean_options(few)) == (level | old if jax.__version__.startswith("0.10.") else level)
    assert dict(programs.lean_options(many)) == level
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    assert programs.lean_options(few) == ()


class Machine:
    """A clock, and programs that take a known time to compile and to run a batch."""

    def __init__(self, monkeypatch, program, compiling, point, batch):
        self.now, self.program, self.calls = 0.0, program, []
        self.compiling, self.point, self.batch = compiling, point, batch
        program.compiling.clear()
        monkeypatch.setattr(programs, "compiled", self.compiled)
        monkeypatch.setattr(programs.time, "perf_counter", lambda: self.now)

    def compiled(self, program, batch, options, device):
        assert program is self.program
        self.calls.append((batch, options))
        self.now += self.compiling

        def evaluate(points):
            assert {len(values) for values in points.values()} == {batch}
            self.now += self.point if batch == 1 else self.batch
            return {}

        return evaluate


class Elsewhere:
    platform = "gpu"


HERE = type("Here", (), {"platform": "cpu"})()


def test_many_short_points_are_computed_side_by_side_with_the_fast_options(monkeypatch, program, lean):
    machine = Machine(monkeypatch, program, compiling=1.0, point=1e-3, batch=2e-3)
    plan = programs.measured(program, first, 10_000, HERE).plan
    assert machine.calls == [(1, lean), (CPU_BATCH, CPU_OPTIONS)]
    # As many batches as fit into two seconds, but no more points than there are.
    assert plan == Plan(CPU_BATCH * (10_000 // CPU_BATCH), CPU_BATCH, CPU_OPTIONS)
    assert programs.measured(program, first, 100_000, HERE).plan.chunk == CPU_BATCH * 1000


@pytest.mark.parametrize("seconds, num_blocks", [(0.0625, 32), (3.0, 1)])
def test_long_points_are_computed_one_by_one_and_compiled_once(monkeypatch, program, lean, seconds, num_blocks):
    machine = Machine(monkeypatch, program, compiling=1.0, point=seconds, batch=0.0)
    assert programs.measured(program, first, 10_000, HERE).plan == Plan(num_blocks, 1, lean)
    assert machine.calls == [(1, lean)]


def test_few_short_points_are_not_worth_compiling_again(monkeypatch, program, lean):
    machine = Machine(monkeypatch, program, compiling=1.0, point=1e-3, batch=2e-3)
    # Compiling and the two first runs took 1.002 s, a thousand points take 1 s.
    assert programs.measured(program, first, 1000, HERE).plan == Plan(1000, 1, lean)
    assert machine.calls == [(1, lean)]
    assert programs.measured(program, first, 1003, HERE).plan.batch == CPU_BATCH


def test_the_plan_is_the_same_where_this_process_has_compiled_the_program(monkeypatch, program, lean):
    machine = Machine(monkeypatch, program, compiling=1.0, point=1e-3, batch=2e-3)
    for machine.compiling in (1.0, 0.0):
        assert programs.measured(program, first, 1000, HERE).plan == Plan(1000, 1, lean)


def test_the_plan_is_the_same_where_the_program_was_kept_on_disk(monkeypatch, program, lean):
    machine, compiled = Machine(monkeypatch, program, compiling=0.25, point=1e-3, batch=2e-3), programs.compiled

    def kept(*given):
        jax.monitoring.record_event_duration_secs(programs.SAVED, 0.75)
        return compiled(*given)

    monkeypatch.setattr(programs, "compiled", kept)
    for _ in range(2):
        assert programs.measured(program, first, 1000, HERE).plan == Plan(1000, 1, lean)
    assert machine.calls == 2 * [(1, lean)]


def test_what_jax_records_of_a_program_kept_on_disk(tmp_path):
    settings = {"jax_compilation_cache_dir": str(tmp_path), "jax_persistent_cache_min_compile_time_secs": 0.0}
    before = {name: getattr(jax.config, name) for name in settings}
    code = lambda x: jnp.cos(x) * jnp.float32(0.123)  # noqa: E731
    try:
        jax.tree.map(jax.config.update, list(settings), list(settings.values()))
        compilation_cache.reset_cache()
        with programs._saved() as first_time:
            jax.jit(code).lower(1.0).compile()
        jax.clear_caches()
        with programs._saved() as again:
            jax.jit(code).lower(1.0).compile()
    finally:
        jax.tree.map(jax.config.update, list(before), list(before.values()))
        compilation_cache.reset_cache()
    assert (len(first_time), len(again)) == (0, 1)


def test_what_was_computed_to_measure_is_not_computed_again(monkeypatch):
    asked, compiled, measured = [], programs.compiled, programs.measured

    def counted(*given):
        evaluate = compiled(*given)
        return lambda points: asked.append(points) or evaluate(points)

    monkeypatch.setattr(programs, "compiled", counted)
    # However short, as if it were long.
    monkeypatch.setattr(programs, "HEAVY", 0.0)
    monkeypatch.setattr(programs, "BLOCK_SECONDS", 0.0)
    found = run()
    assert len(asked) == found.value[..., 0].size
    # The same plan without what it was measured on.
    monkeypatch.setattr(programs, "measured", lambda *given: Begun(measured(*given).plan))
    xr.testing.assert_identical(found.drop_attrs(), run().drop_attrs())


def test_elsewhere_a_batch_is_large_from_the_start(monkeypatch, program):
    machine = Machine(monkeypatch, program, compiling=1.0, point=1e-3, batch=0.5)
    assert programs.measured(program, first, 50_000, Elsewhere()).plan == Plan(4 * programs.BATCH, programs.BATCH)
    assert machine.calls == [(programs.BATCH, ())]
    assert programs.measured(program, first, 10, Elsewhere()).plan == Plan(10, 10)


def test_the_outputs_of_a_block_are_bounded(monkeypatch, program):
    Machine(monkeypatch, program, compiling=1.0, point=1e-3, batch=1e-3)
    # 50 float64 and two flags a point.
    monkeypatch.setattr(programs, "BLOCK_BYTES", 402 * 100)
    assert programs.measured(program, first, 10**6, HERE).plan.chunk == 96
    monkeypatch.setattr(programs, "BLOCK_BYTES", 402 * 10)
    assert programs.measured(program, first, 10**6, HERE).plan == Plan(10, 10, CPU_OPTIONS)
    monkeypatch.setattr(programs, "BLOCK_BYTES", 1)
    assert programs.measured(program, first, 10**7, HERE).plan == Plan(1, 1, CPU_OPTIONS)


def test_a_block_has_no_more_than_so_many_points(monkeypatch, program):
    Machine(monkeypatch, program, compiling=1.0, point=1e-9, batch=1e-9)
    monkeypatch.setattr(programs, "MOST_POINTS", 100)
    assert programs.measured(program, first, 10**9, HERE).plan.chunk == 96


def test_an_option_that_the_compiler_refuses_is_dropped_and_one_that_it_takes_is_used(program):
    device, points = jax.devices()[0], first(4)
    expected = programs.compiled(program, 4, (), device)(points)
    for options in ((("xla_no_such_option", True),), CPU_OPTIONS):
        found = programs.compiled(program, 4, options, device)(points)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-13)


def test_what_the_compiler_is_asked_for(monkeypatch, program):
    asked, stages = [], jax.stages.Lowered
    real = stages.compile
    monkeypatch.setattr(stages, "compile", lambda self, *given: asked.append(given) or real(self, *given))
    # A program of its own, or a compiled one would be found.
    other = programs.trace(lambda key, *, strength: experiment(key, strength=strength), dtypes("strength"), ())
    programs.compiled(other, 4, CPU_OPTIONS, jax.devices()[0])
    assert asked == [(dict(CPU_OPTIONS),)]


def test_an_error_that_no_option_made_is_one(monkeypatch, program):
    def fails(*_):
        raise jax.errors.JaxRuntimeError("no memory")

    monkeypatch.setattr(jax.stages.Lowered, "compile", fails)
    other = programs.trace(lambda key, *, strength: experiment(key, strength=strength), dtypes("strength"), ())
    for options in ((), CPU_OPTIONS):
        with pytest.raises(jax.errors.JaxRuntimeError, match="no memory"):
            programs.compiled(other, 3, options, jax.devices()[0])


def test_an_interrupted_sweep_goes_on_as_it_was_measured_then(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "measured", lambda *_: Begun(Plan(6, 3, CPU_OPTIONS)))
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
    monkeypatch.setattr(programs, "measured", None)
    xr.testing.assert_identical(run(tmp_path / "run.zarr"), whole)


def test_an_unfinished_sweep_is_not_continued_in_another_way(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "measured", lambda *_: Begun(Plan(6, 3)))
    monkeypatch.setattr(sweeps.datasets, "write_block", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run.zarr")
    with pytest.raises(sweeps.datasets.RunMismatch, match="plan.batch is 3 there and 6 here"):
        run(tmp_path / "run.zarr", chunk=6)


def test_programs_are_told_apart_by_what_they_compute(program):
    again = programs.trace(lambda key, *, strength: experiment(key, strength=strength), program.arguments, ())
    other = programs.trace(lambda key, *, strength: experiment(key, strength=2 * strength), program.arguments, ())
    assert again.fingerprint == program.fingerprint != other.fingerprint


def with_array(array):
    return lambda key, *, strength: {"value": strength * jax.jit(lambda x: x @ array)(jnp.ones(3))}


def test_arrays_inside_however_deep_and_arguments_tell_programs_apart():
    arrays = np.arange(3.0), np.array([0.0, 1.0, 2.0 + 1e-15]), np.arange(3.0)
    first, other, same = (programs.trace(with_array(x), dtypes("strength"), ()).fingerprint for x in arrays)
    assert first == same != other
    closed = jax.make_jaxpr(lambda x: x + 1)(jnp.zeros(2))
    plain, one, key = (
        programs.fingerprint(closed, given) for given in ((), (jnp.zeros(2),), (jax.random.key(0), jnp.zeros(2)))
    )
    assert len({plain, one, key, programs.fingerprint(closed, (jax.random.key(1), jnp.zeros(2)))}) == 4
    assert programs.fingerprint(closed, (jnp.zeros(2),)) == one


def test_a_program_calls_its_function_with_scalars_by_name(program):
    values = program({"seed": jnp.asarray(3), "strength": jnp.asarray(0.7)})
    expected = experiment(jax.random.key(3), strength=jnp.asarray(0.7))
    np.testing.assert_allclose(values["value"], expected["value"], rtol=1e-13)
    assert values["is"] and not values["diverged"]
    assert set(values) == set(program.outputs) == {"value", "is", "diverged"}
    assert program.outputs["value"].value.shape == (50,) and program.outputs["value"].dims == ("value_dim_0",)
