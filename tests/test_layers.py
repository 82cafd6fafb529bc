"""Imports point down only (DESIGN section 8)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"toypersona.types"},
    {"toypersona.numerics"},
    {"toypersona.chains", "toypersona.transfer", "toypersona.hulls"},
    {"toypersona.thoughts"},
    {"toypersona.worlds", "toypersona.policies", "toypersona.rewards", "toypersona.theory", "toypersona.directions"},
    {"toypersona.pretraining", "toypersona.sft", "toypersona.rules", "toypersona.measures"},
    {"toypersona.trajectories"},
    {"toypersona.datasets"},
    {"toypersona.programs"},
    {"toypersona.sweeps"},
    {"experiments", "benchmarks"},
]
FOR_FIGURES = {"toypersona.datasets", "toypersona.measures", "toypersona.measures.boundaries"}
FILES = sorted(
    path for part in ("toypersona", "experiments", "figures", "benchmarks") for path in (ROOT / part).rglob("*.py")
)


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def unit(name: str) -> str | None:
    """The entry of LAYERS that a dotted name belongs to."""
    entries = (entry for layer in LAYERS for entry in layer)
    return next((e for e in entries if name == e or name.startswith(e + ".")), None)


def rank(entry: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if entry in layer)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = unit(module(path))
    for name in imported(path):
        other = unit(name)
        if module(path).startswith("figures"):
            assert not name.startswith(("jax", "flax", "optax", "experiments")), f"a figure imports {name}"
            assert other is None or name in FOR_FIGURES, f"a figure imports {name}"
        elif own is not None and other is not None and other != own:
            assert rank(other) < rank(own), f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_of_the_package_has_a_layer(path):
    name = module(path)
    assert name in ("toypersona",) or name.startswith("figures") or unit(name) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_flax_stays_in_policies_and_files_in_datasets(path):
    name = module(path)
    names = imported(path)
    if not name.startswith("toypersona.policies"):
        assert not any(n.startswith("flax") for n in names)
    assert not any(n.startswith("flax.nnx") for n in names)
    if name.startswith("toypersona") and name != "toypersona.datasets":
        assert not any(n.startswith(("zarr", "xarray.open", "json")) for n in names)


def test_what_figures_import_leaves_jax_alone():
    code = f"import sys, {', '.join(sorted(FOR_FIGURES))}; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_rules_see_through_a_planted_violation(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from toypersona import sweeps\n")
    assert imported(planted) == {"toypersona.sweeps"}
    assert rank("toypersona.sweeps") > rank("toypersona.rules")
