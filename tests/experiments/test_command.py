import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from written import files

from experiments import job_array, phase_diagram, pretraining
from experiments.shared import claim, command, oracle, user_code
from toypersona import datasets, provenance
from toypersona.options import Pretraining
from toypersona.rules import catalogue

ROOT = Path(__file__).parents[2]
SMALL = "--length 2 --angles 0 30 --seeds 0 --strengths 0.01 0.02 1.0 4.0 --noise.num-runs 2 --noise.num-steps 5"
PRETRAINING = "--amounts 200 2000 --seeds 0"
QUICKLY = (
    "--no-progress --chunk 2 --pretraining.num-lines 1000 --pretraining.num-steps 200 --pretraining.num-restarts 1"
)


def start(name, *arguments):
    """As a user does; no figure, no dataset is made by anything but the command."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "COLUMNS": "120"}
    command = [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def refusal(arguments, capsys):
    """The one sentence that a map refuses its arguments with."""
    code, said = small.run(phase_diagram, f"{QUICKLY} {arguments}", capsys)
    assert code == 2 and len(said.err.strip().splitlines()) == 1
    return said.err.strip()


@pytest.fixture(scope="module")
def small_map(tmp_path_factory):
    out = tmp_path_factory.mktemp("map")
    return out, start("phase_diagram", "--out", out, *SMALL.split(), *QUICKLY.split())


@pytest.fixture(scope="module")
def small_pretraining(tmp_path_factory):
    out = tmp_path_factory.mktemp("pretraining")
    return out, start("pretraining", "--out", out, *PRETRAINING.split(), *QUICKLY.split())


@pytest.mark.slow
def test_a_small_map_keeps_its_claims(small_map):
    out, finished = small_map
    claims = json.loads((out / "phase_diagram.claims.json").read_text())
    # One draw has no standard error.
    failed = [claim["what"] for claim in claims if not claim["holds"] and claim["freedom"] is None]
    assert not failed, finished.stderr
    fields = {
        "what",
        "predicted",
        "measured",
        "uncertainty",
        "allowance",
        "freedom",
        "holds",
        "relation",
        "can_tell",
        "group",
        "kind",
        "fails_at",
    }
    assert fields == set(claims[0])
    assert "predicted" in finished.stdout and "mostly persona selection" in " ".join(finished.stdout.split())
    checks = [claim["holds"] for claim in claims if claim["kind"] in ("theorem", "identity")]
    assert f"{sum(checks)} of {len(checks)} checks hold" in finished.stdout
    dataset = datasets.load(out / "phase_diagram.zarr")
    assert dataset.selection_fraction.dims == ("angle", "seed", "rule", "strength")
    assert list(dataset.rule.values) == list(catalogue.strength_rules())
    np.testing.assert_allclose(dataset.weak_limit.squeeze(), [1, 0.75], atol=1e-8)
    gates = dataset.hull_distance.sel(rule=["natural/gates", "vanilla/gates"])
    assert gates.max() < 1e-8 < dataset.hull_distance.sel(rule="tilt").max()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["--angles 0 60", "--seeds 1", "--feature brevity"])
def test_another_run_in_the_same_folder_is_refused(small_map, change, capsys):
    out, _ = small_map
    before = (out / "phase_diagram.claims.json").read_bytes()
    said = refusal(f"--out {out} {SMALL} {change}", capsys)
    assert "holds another run" in said and "nothing was overwritten" in said
    assert said.endswith(f"rm -r {out / 'phase_diagram.zarr'}")
    assert (out / "phase_diagram.claims.json").read_bytes() == before


@pytest.mark.slow
def test_figures_of_a_small_map_are_the_same_bytes_again(small_map, tmp_path):
    data, _ = small_map
    command = [sys.executable, "-W", "error", "-m", "figures.phase_diagram", "--data", str(data)]
    for folder in ("a", "b"):
        subprocess.run([*command, "--out", str(tmp_path / folder)], cwd=ROOT, check=True, capture_output=True)
    made = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert made == [f"phase_diagram{part}.{kind}" for part in ("", "_rules") for kind in ("md", "pdf", "png")]
    for name in made:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
def test_a_small_pretraining_run_and_its_figure(small_pretraining, tmp_path):
    data, finished = small_pretraining
    assert "unlabelled lines of larry_bob_alice" in finished.stdout, finished.stderr
    dataset = datasets.load(data / "pretraining.zarr")
    assert dataset.policy_divergence.values[1] < dataset.policy_divergence.values[0]
    small.draw(pretraining, data, tmp_path)
    assert (tmp_path / "pretraining.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_feature_that_leaves_nothing_beside_the_personas_is_refused(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def constant(prompt, response):\n    return 1.0\n")
    said = refusal(f"--out {tmp_path / 'out'} --length 2 --seeds 0 --feature {file}:constant", capsys)
    assert "can be paid for all of --feature" in said and not (tmp_path / "out").exists()


def test_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.parse("experiments.phase_diagram", phase_diagram.__doc__ or "", phase_diagram.PRESETS, ["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for flag in ("--preset", "--out", "--world", "--angles", "--strengths", "--feature", "--pretraining.num-lines"):
        assert flag in said


def test_settings_come_from_preset_then_file_then_flags(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('angles = [10.0, 20.0]\nworld = "markov"\n[pretraining]\nnum_lines = 7\n')
    parsed = command.parse(
        "p", "", phase_diagram.PRESETS, ["--preset", "paper", "--config", str(file), "--world", "speakers"]
    )
    assert parsed.preset == "paper" and parsed.noise.num_runs == 64
    assert parsed.angles == (10.0, 20.0) and parsed.pretraining.num_lines == 7
    assert parsed.world == "speakers"
    file.write_text("angels = [1.0]\n")
    with pytest.raises(ValueError, match="mine.toml, line 1: Unknown setting 'angels': did you mean angles?"):
        command.parse("p", "", phase_diagram.PRESETS, ["--config", str(file)])


@pytest.mark.parametrize(
    "text, message",
    [
        ('strengths = "strong"', "line 1: strengths has to be a list of numbers, not 'strong'"),
        ('strengths = ["weak", "strong"]', "line 1: strengths has to be a list of numbers, not"),
        ('chunk = "many"', "line 1: chunk has to be a whole number, not 'many'"),
        ("\nseeds = [0.5, 1]", "line 2: seeds has to be a list of whole numbers, not"),
        ("length = 2.5", "line 1: length has to be a whole number, not 2.5"),
        ("progress = 3", "line 1: progress has to be true or false, not 3"),
        ("pretraining = 3", "line 1: pretraining has to be a table, not 3"),
        ("[noise]\nnum_runs = 0", "line 2: noise.num_runs has to be from 1 to 100,000, not 0"),
        ("[noise]\nnum-runs = 0", "line 2: noise.num_runs has to be from 1 to 100,000, not 0"),
        ("noise.num-runs = 0", "line 1: noise.num_runs has to be from 1 to 100,000, not 0"),
        ("angles = [10.0, inf]", "line 1: angles has to be finite"),
    ],
)
def test_a_settings_file_is_checked_as_flags_are(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(f"{text}\n")
    with pytest.raises(ValueError, match=message):
        command.parse("p", "", phase_diagram.PRESETS, ["--config", str(file)])


def test_wrong_settings_are_refused_before_jax_is_imported(tmp_path):
    code = (
        "import sys\nfrom experiments import phase_diagram as e\nfrom experiments.shared import command\n"
        f"try: command.main(e.NAME, '', e.PRESETS, e.run, ['--out', {str(tmp_path / 'out')!r}, '--angles', '100'])\n"
        "except SystemExit as stop: sys.exit(stop.code + 10 * ('jax' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 2


@pytest.mark.slow
def test_a_finished_run_is_opened_without_jax_and_claims_the_same(small_map):
    out, first = small_map
    settings = [*SMALL.split(), *QUICKLY.split()]
    code = (
        "import sys\nfrom experiments import phase_diagram as e\nfrom experiments.shared import command\n"
        f"try: command.main(e.NAME, '', e.PRESETS, e.run, ['--out', {str(out)!r}, *{settings!r}])\n"
        "except SystemExit as stop: sys.exit(stop.code + 10 * ('jax' in sys.modules))"
    )
    environment = os.environ | {"COLUMNS": "120"}
    again = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == first.returncode, again.stderr
    assert again.stdout == first.stdout


@pytest.mark.parametrize(
    "error, sentence",
    [
        (OSError("Cannot write to x (No space left on device): make room."), "Cannot write to x (No space left"),
        (OSError(28, "No space left on device", "x/y.json"), "x/y.json: No space left on device."),
        (MemoryError(), "This run needs more memory than there is: choose smaller sizes, or a smaller --chunk."),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "This run needs more memory than"),
    ],
)
def test_a_full_disk_or_memory_is_one_sentence(tmp_path, monkeypatch, capsys, error, sentence):
    def fails(_):
        raise error

    monkeypatch.setattr(phase_diagram, "run", fails)
    assert refusal(f"--out {tmp_path}", capsys).startswith(f"error: {sentence}")


def test_an_error_of_ours_is_not_taken_for_a_full_memory(tmp_path, monkeypatch, capsys):
    def fails(_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(phase_diagram, "run", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        refusal(f"--out {tmp_path}", capsys)


def test_claims_of_a_folder_that_nobody_can_write_to_are_printed(tmp_path):
    (tmp_path / "file").touch()
    said = command._kept([claim.at_most("identity", "", 1.0, 1.0)], tmp_path / "file" / "x.claims.json")
    assert said.startswith("claims not written to") and "irectory" in said or "exists" in said


@pytest.mark.slow
def test_a_run_of_other_code_is_opened_and_says_so(small_map, monkeypatch, capsys):
    out, _ = small_map
    monkeypatch.setattr(provenance, "code_sha256", lambda: "another")
    monkeypatch.setattr(phase_diagram, "run", None)
    code, said = small.run(phase_diagram, f"--out {out} {SMALL} {QUICKLY}", capsys)
    assert code in (0, 1) and "was computed by other code than today's" in said.out


def test_a_changed_file_of_the_user_s_is_another_run(tmp_path, capsys):
    """Whatever the run computed."""
    file = tmp_path / "mine.py"
    file.write_text("def friends(prompt, response):\n    return response.count('friend')\n")
    given = ["--no-progress", *QUICKLY.split()[1:], "--out", str(tmp_path), "--feature", f"{file}:friends"]
    settings = command.parse("", "", phase_diagram.PRESETS, given)
    command.sweep(phase_diagram.NAME, settings, lambda key: {"one": 1.0}, {})
    file.write_text("def friends(prompt, response):\n    return 2 * len(response)\n")
    assert "what --feature names has changed" in refusal(" ".join(given[1:]), capsys)


@pytest.mark.slow
def test_every_variable_is_drawn_with_its_label(small_map):
    dataset = datasets.load(small_map[0] / "phase_diagram.zarr")
    for name, values in dataset.data_vars.items():
        assert values.attrs.get("long_name"), name
    assert dataset.hull_distance.attrs["units"] == "nats"
    assert dataset.weights.dims[-2:] == ("prompt", "persona") and list(dataset.persona) == ["larry", "bob", "alice"]


@pytest.mark.slow
def test_standard_claims_see_what_is_wrong(small_map):
    dataset = datasets.load(small_map[0] / "phase_diagram.zarr").load()
    assert all(each.holds for each in claim.standard(dataset))
    wrong = {
        "selection + switching": dataset.assign(selection=dataset.selection + 1e-9),
        "most negative": dataset.assign(novelty=-dataset.novelty, switching=dataset.switching + 2 * dataset.novelty),
        "certified": dataset.assign(certified=dataset.certified & (dataset.strength < 1)),
        "diverged": dataset.assign(diverged=dataset.diverged | True),
    }
    for name, changed in wrong.items():
        (failed,) = (each.what for each in claim.standard(changed) if not each.holds)
        assert name in failed


def test_the_independent_solver_knows_a_curve_in_closed_form():
    """One persona: nothing is selection."""
    log_base = np.log(np.full((1, 4), 0.25))
    solver = oracle.Tilt(np.arange(4.0)[None], log_base, log_base[None], np.zeros(1))
    fractions, weights = solver.curves((0.1, 1.0))
    np.testing.assert_allclose(fractions, 0.0, atol=1e-9)
    np.testing.assert_allclose(weights, 1.0)


def test_the_independent_solver_knows_personas_who_share_no_word():
    """Two of two words each: RL changes how often each speaks, which is selection, and what each then says."""
    reward, gates, rho = np.array([[0.0, 1.0, 3.0, 0.5], [2.0, 0.0, 0.0, 0.0]]), [0.8, 0.4], np.array([0.9, 0.1])
    personas = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    base = np.array([[gate, 1 - gate] @ personas for gate in gates])
    with np.errstate(divide="ignore"):
        solver = oracle.Tilt(reward, np.log(base), np.log(np.stack([personas] * 2)), np.log(rho))
    ((fraction,), (weight,)) = solver.curves((0.7,))
    said = base * np.exp(0.7 * reward)
    said /= said.sum(axis=1, keepdims=True)
    weights = said.reshape(2, 2, 2).sum(axis=2)
    total = rho @ (said * np.log(said / base)).sum(axis=1)
    moved = rho @ (weights * np.log(weights / np.stack([gates, 1 - np.array(gates)], axis=1))).sum(axis=1)
    assert fraction == pytest.approx(moved / total, abs=1e-6) and 0.2 < fraction < 0.8
    assert weight == pytest.approx(rho @ weights.max(axis=1), abs=1e-4)


@pytest.mark.slow
def test_a_users_own_feature_sees_words(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def friends(prompt, response):\n    return response.count('friend') + (prompt[0] == 'oi')\n")
    config = phase_diagram.Config(length=2, seeds=(0,), pretraining=Pretraining(100, num_steps=5, num_restarts=1))
    pretrained = config.pretrained()
    value = user_code.feature(f"{file}:friends", pretrained)(jax.random.key(0), pretrained.base(0), 0)
    units, responses = pretrained.labels.units, pretrained.responses
    friend, oi = units.index("friend"), units.index("oi")
    unsaid = jnp.cumsum(responses == units.index("."), axis=1) > 0
    expected = ((responses == friend) & ~unsaid).sum(1)[None, :] + (pretrained.world.prompts[0, :, :1] == oi)
    np.testing.assert_array_equal(value, expected)
    for value in ("float('nan')", "'friend'", "None"):
        file.write_text(f"def bad(prompt, response):\n    return {value}\n")
        with pytest.raises(ValueError, match=r"returned .* for \['.*\] and .*, not a finite number"):
            user_code.feature(f"{file}:bad", pretrained)


def test_presets_exist():
    for name in job_array.experiments():
        assert set(importlib.import_module(f"experiments.{name}").PRESETS) >= {"quick", "paper"}


@pytest.mark.slow
def test_a_local_job_array_makes_the_bytes_of_one_process(small_pretraining, tmp_path):
    alone, _ = small_pretraining
    given = ["--out", tmp_path, *PRETRAINING.split(), *QUICKLY.split()]
    finished = start("job_array", "pretraining", "--tasks", 2, "--cluster", "local", "--", *given)
    assert finished.returncode == 0, finished.stderr
    assert f"When all are done: {sys.executable} -m experiments.pretraining --out {tmp_path}" in finished.stdout
    assert files(tmp_path / "pretraining.zarr") == files(alone / "pretraining.zarr")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            "phase_diagrm --tasks 2",
            "Unknown experiment 'phase_diagrm': did you mean phase_diagram?",
        ),
        ("phase_diagram --tasks 0", "--tasks has to be from 1 to 10,000, not 0."),
        ("phase_diagram --tasks 2 -- --part 0 2", "leave it out"),
        ("phase_diagram --tasks 2 -- --preset papr", "did you mean paper?"),
    ],
)
def test_a_job_array_with_wrong_input_submits_nothing(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        job_array.main(arguments.split())
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and message in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("options, message", [("local --options gpu", "'gpu' need"), ("slurm", 'not detect "srun"')])
def test_what_the_scheduler_refuses_is_one_sentence(tmp_path, options, message):
    given = f"phase_diagram --tasks 2 --cluster {options} -- --out {tmp_path}"
    refused = start("job_array", *given.split())
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert "submitit refuses --cluster or --options:" in refused.stderr and message in refused.stderr
    assert not list(tmp_path.rglob("*submitted*"))
