"""Imports point down only, from what is computed to what it is computed from; nothing is read in two places."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"toypersona.types", "toypersona.limits", "toypersona.outputs", "toypersona.transcripts", "toypersona.readers"},
    {"toypersona.files", "toypersona.provenance"},
    {"toypersona.numerics", "toypersona.interior_point", "toypersona.options", "toypersona.datasets"},
    {"toypersona.chains", "toypersona.hulls", "toypersona.linear_programme", "toypersona.simplex"},
    {"toypersona.alpha_divergences", "toypersona.common_odds", "toypersona.lanes"},
    {"toypersona.tilted", "toypersona.parity", "toypersona.worlds", "toypersona.detection"},
    {"toypersona.policies", "toypersona.rewards", "toypersona.theory", "toypersona.long_answers"},
    {"toypersona.pretraining", "toypersona.rules", "toypersona.measures", "toypersona.programs", "toypersona.spoken"},
    {"toypersona.voice_training"},
    {"toypersona.trajectories", "toypersona.grids", "toypersona.artefacts", "toypersona.reports"},
    {"toypersona.kl_estimators", "toypersona.leashes", "toypersona.resampled", "toypersona.voice_drift"},
    {"toypersona.sweeps", "toypersona.report_words", "toypersona.report_figure"},
    {"toypersona.bases", "toypersona.command"},
    {"toypersona.rules.catalogue", "toypersona.lock_in", "toypersona.thinkers", "toypersona.horizons"},
    {"toypersona.defences", "toypersona.competition", "toypersona.first_order", "toypersona.fine_tuning"},
    {"toypersona.right_answers", "toypersona.takeover", "toypersona.comparison", "toypersona.codes"},
    {"toypersona.unrewarded", "toypersona.proxies", "toypersona.inoculation", "toypersona.rl_curves"},
    {"toypersona.hull_choices", "toypersona.natural_rewards"},
    {"toypersona.persona_choices", "toypersona.networks"},
    {"toypersona.network_walks", "toypersona.alarms"},
    {"experiments.shared"},
    {"experiments", "benchmarks"},
]
"""From the lowest; a module imports from lower layers, and from its own entry."""

WITHOUT_JAX = {
    "toypersona.command",
    "toypersona.datasets",
    "toypersona.detection",
    "toypersona.files",
    "toypersona.limits",
    "toypersona.measures.boundaries",
    "toypersona.measures.curves",
    "toypersona.measures.equal_drift",
    "toypersona.options",
    "toypersona.outputs",
    "toypersona.provenance",
    "toypersona.readers.arrays",
    "toypersona.readers.joined",
    "toypersona.readers.json_lines",
    "toypersona.report_figure",
    "toypersona.report_words",
    "toypersona.transcripts",
    "toypersona.worlds.encodings",
    "toypersona.worlds.lines",
    "toypersona.worlds.names",
    "toypersona.worlds.voices",
}
OVER_ALL = {"rungs", "style", "pages", "captions", "gallery", "labels", "rules_by_world", "claims_table", "explorer"}
"""Modules of figures that draw no experiment of their own."""

EXPLORER = {"explorer_data", "explorer_measured", "explorer_thoughts"}
PAGES = {"literature_table", "presence", "rl_curves_page", "rule_groups", "rules_along", "rules_table"} | EXPLORER
"""Modules of figures that hold a part of one, as those named *_panels do."""

CLAIMS = {"experiments.claims", *(f"experiments.shared.{name}" for name in ("claim", "oracle", "repeated", "terminal"))}
"""What claims and figures may import of the experiments."""
FILES = sorted(
    path for part in ("toypersona", "experiments", "figures", "benchmarks") for path in (ROOT / part).rglob("*.py")
)

TOOLS = {"job_array", "results"}
"""Commands that compute no dataset of their own."""


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
    """The entry of LAYERS that a dotted name belongs to, the longest that fits."""
    entries = (entry for layer in LAYERS for entry in layer if name == entry or name.startswith(entry + "."))
    return max(entries, key=len, default=None)


def rank(entry: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if entry in layer)


def imports(what: set[str], modules: list[str]) -> bool:
    """Whether any of these packages is imported with the modules."""
    code = f"import sys, {', '.join(modules)}; sys.exit(bool({what} & sys.modules.keys()))"
    return bool(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = unit(module(path))
    for name in imported(path):
        other = unit(name)
        if module(path).startswith(("figures", "experiments.claims")):
            open_to = WITHOUT_JAX | CLAIMS
            allowed = name in open_to or name.startswith(tuple(f"{entry}." for entry in open_to))
            assert other is None or allowed, f"{path} imports {name}"
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
        assert not re.search(r"""\[["'](experts|gate)["']\]""", path.read_text()), "a policy's parameters are its own"
    assert not any(n.startswith("flax.nnx") for n in names)
    reads = name.startswith("toypersona.readers.") or name.rpartition(".")[2] in ("datasets", "files", "provenance")
    if name.startswith("toypersona") and not reads:
        assert not any(n.startswith(("zarr", "xarray.open", "json", "orbax")) for n in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small(path):
    is_command = path.parent == ROOT / "experiments"
    assert len(path.read_text().splitlines()) <= (150 if is_command else 350)


@pytest.mark.slow
def test_figures_claims_and_settings_leave_jax_alone():
    claims = [f"experiments.claims.{path.stem}" for path in (ROOT / "experiments" / "claims").glob("[a-z]*.py")]
    figures = [f"figures.{path.stem}" for path in (ROOT / "figures").glob("[a-z]*.py")]
    assert not imports({"jax"}, [*sorted(WITHOUT_JAX), *claims, *figures])
    assert imports({"jax"}, ["toypersona.sweeps"])


def test_commands_answer_before_they_import_what_takes_long():
    commands = [f"experiments.{path.stem}" for path in (ROOT / "experiments").glob("[a-z]*.py")]
    slow = {"flax", "jax", "matplotlib", "optax", "pandas", "scipy", "xarray", "zarr"}
    assert not imports(slow, commands)
    assert imports({"xarray", "zarr"}, ["toypersona.datasets"])


def test_every_command_has_its_claims_and_its_figure():
    commands = {path.stem for path in (ROOT / "experiments").glob("[a-z]*.py")} - TOOLS
    assert {path.stem for path in (ROOT / "experiments" / "claims").glob("[a-z]*.py")} == commands
    figures = {path.stem for path in (ROOT / "figures").glob("[a-z]*.py") if not path.stem.endswith("_panels")}
    assert figures - OVER_ALL - PAGES == commands


def test_no_two_modules_of_a_layer_share_a_name():
    for layer in ("toypersona", "experiments", "figures"):
        stems = [path.stem for path in FILES if path.is_relative_to(ROOT / layer) and "claims" not in path.parts]
        stems = [stem for stem in stems if stem not in ("__init__", "catalogue")]
        assert len(stems) == len(set(stems)), sorted(stem for stem in stems if stems.count(stem) > 1)


def test_the_rules_see_through_a_planted_violation(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from toypersona import sweeps\n")
    assert imported(planted) == {"toypersona.sweeps"}
    assert rank("toypersona.sweeps") > rank("toypersona.rules")
    assert unit("toypersona.rules.catalogue") != unit("toypersona.rules.gradient")
