"""What is shipped: a wheel in an environment of its own, with what it says that it depends on and nothing else."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import exported
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SITE = Path(sysconfig.get_path("purelib"))
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
"""Beside the package, all that a wheel is built of."""

WITHIN = """
import contextlib, io, json, runpy, sys
from importlib import resources

said = io.StringIO()
sys.argv = [{script!r}, "measure", {run!r}, "--json", "-", "--no-figure"]
with contextlib.redirect_stdout(said):
    try:
        runpy.run_path({script!r}, run_name="__main__")
    except SystemExit as stopped:
        code = stopped.code
lines = resources.files("toypersona.worlds") / "lines"
data = {{f"{{one.name}}/{{text.name}}": text.read_text("utf-8") for one in lines.iterdir() for text in one.iterdir()}}
files = sorted({{getattr(module, "__file__", None) or "" for module in [*sys.modules.values()]}})
print(json.dumps({{"code": code, "said": said.getvalue(), "data": data, "files": files, "modules": [*sys.modules]}}))
"""
"""Runs the console script as it was installed, and says what was imported on the way."""


def depended_on(requirements):
    """Distributions that these need, and what those need, here and now: no extras but those asked for."""
    found, left = {}, [Requirement(each) for each in requirements]
    while left:
        one = left.pop()
        name, extras = canonicalize_name(one.name), sorted(one.extras)
        if name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or []:
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ["", *extras]):
                other.marker = None
                left.append(other)
    return found


def link(distributions, folder):
    """Everything that these distributions installed, and nothing of others, as links in a folder."""
    folder.mkdir()
    tops = {file.parts[0] for each in distributions for file in each.files or []} - {"..", "__pycache__"}
    for top in tops:
        (folder / top).symlink_to(SITE / top)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of a copy, so that nothing is left beside the sources, and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "toypersona", source / "toypersona", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        shutil.copy(ROOT / name, source)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", "-q", *offline, "-w", str(folder), str(source)]
    subprocess.run(command, check=True, env=own_environment())
    (found,) = folder.glob("*.whl")
    return found


def own_environment():
    """Without the paths of the checkout, the test run's settings of jax, or a GPU."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JAX", "XLA", "CUDA"))}


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A fresh environment in which the wheel is installed beside what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = ["install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, env=own_environment())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    link(depended_on(project["dependencies"]).values(), folder / "dependencies")
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{folder / 'dependencies'}\n")
    return folder


@pytest.mark.slow
def test_it_holds_the_package_and_its_data_and_nothing_else(wheel):
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert {name.parts[0].partition("-")[0] for name in names} == {"toypersona"}
    inside = {str(name) for name in names if ".dist-info" not in name.parts[0]}
    package = [path for path in (ROOT / "toypersona").rglob("*") if path.suffix in (".py", ".txt")]
    assert inside == {str(path.relative_to(ROOT)) for path in package}


@pytest.mark.slow
def test_it_measures_a_file_in_an_environment_of_its_own(environment, tmp_path):
    run = exported.write(tmp_path / "run.jsonl.gz", exported.lines(40), {"toypersona": 1, "temperature": 1.0})
    program = WITHIN.format(script=str(environment / "bin" / "toypersona"), run=str(run))
    command = [environment / "bin" / "python", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, env=own_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["code"] == 0, found["said"]
    (step,) = json.loads(found["said"])["steps"]
    exact = float(exported.toy()[2].total)
    value, error = step["estimates"]["total"].values()
    assert abs(value - exact) < 5 * error
    assert any(name.startswith(str(environment / "lib")) and "/toypersona/" in name for name in found["files"])
    assert not [name for name in found["files"] if name.startswith(f"{ROOT}/") and not name.startswith(f"{SITE}/")]
    tops = {name.partition(".")[0] for name in found["modules"]}
    assert "jax" in tops
    assert not tops & {"experiments", "figures", "benchmarks", "tests", "nvidia", "beartype", "pytest"}
    assert not [name for name in tops if "cuda" in name.lower() or "__editable__" in name]
    texts = (ROOT / "toypersona" / "worlds" / "lines").rglob("*.txt")
    assert found["data"] == {f"{path.parent.name}/{path.name}": path.read_text("utf-8") for path in texts}


@pytest.mark.slow
def test_no_gpu_is_among_what_it_depends_on():
    """In the environment there are links to what the project names, and to no part of jax for GPUs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = set(depended_on(project["dependencies"]))
    assert {"jax", "jaxlib", "numpy"} <= names
    assert not [name for name in names if "cuda" in name or "nvidia" in name]
