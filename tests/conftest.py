"""Every test runs on the CPU in float64, with warnings, implicit rank promotion and key reuse as errors."""

import ctypes
import gc
import os
import sys
from importlib import metadata
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is LLVM's: these leave out what only makes programs faster, here and in processes started here.
FLAGS = ["--xla_backend_optimization_level=0"]
if metadata.version("jax").startswith("0.10."):
    # Later ones abort on a flag that they no longer know.
    FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# Every program, however small: most are needed by many tests, in both processes, in those started here, and after some
# were dropped.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax  # noqa: E402  (the platform has to be chosen before jax is imported)
import pytest  # noqa: E402

# Programs are many small objects: at the default thresholds a tenth of the time goes into looking through them.
gc.set_threshold(100_000, 20, 50)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

MOST_BYTES, GROWTH = 1.1e9, 1.5e8
"""Memory above which a test process drops its compiled programs, and by how much it has to have grown since."""

FLOOR = [0]
"""What was left the last time."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a test that is ``slow_but`` for some cases, all others are slow."""
    for item in items:
        usual = item.get_closest_marker("slow_but")
        if usual and item.callspec.id not in usual.args:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def compiled_programs_are_dropped():
    """Of all tests together they fill gigabytes in every process."""
    yield
    used = _resident()
    if used > max(MOST_BYTES, FLOOR[0] + GROWTH):
        if programs := sys.modules.get("toypersona.programs"):
            programs.trace.cache_clear()
            programs.compiled.cache_clear()
        jax.clear_caches()
        gc.collect()
        # The allocator keeps what was freed unless it is asked to give it back.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        FLOOR[0] = _resident()


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture
def nothing_computed(monkeypatch):
    """Whatever is not kept is an error."""

    def never(*_):
        raise AssertionError("was computed")

    monkeypatch.setattr("toypersona.artefacts.jaxpr_as_fun", lambda closed: never)
