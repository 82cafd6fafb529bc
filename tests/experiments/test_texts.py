"""People's own lines: bases that are made of them, or a refusal that says what to do."""

import jax.numpy as jnp
import own_texts
import pytest
import small
import xarray as xr

from experiments import phase_diagram
from experiments.shared import claim, settings, user_code
from toypersona import datasets
from toypersona.options import Pretraining, TextOptions, WorldOptions


def base_of(folder, **text):
    given = {"options": WorldOptions(text=TextOptions(**text)), "pretraining": Pretraining(num_lines=3000)}
    return settings.WorldSettings(world=f"text:{folder}", **given).pretrained()


@pytest.fixture
def kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "CACHE", tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", own_texts.SETS)
def test_bases_are_the_people_or_refused_with_what_helps(tmp_path, kept_apart, name):
    """At default settings, here of fewer lines, gates were 5 to 21 nats off, and nothing said so."""
    folder = own_texts.write(tmp_path / name, name)
    try:
        found = base_of(folder)
    except ValueError as refused:
        assert "Pretraining did not find the people who wrote these lines" in str(refused)
        assert "use --options.text.unit character" in str(refused)
    else:
        assert found.recovery.gate_divergence.max() < 0.05
    helped = base_of(folder, unit="character")
    assert helped.recovery.gate_divergence.max() < 0.005
    assert helped.recovery.expert_divergence.max() < 0.02


@pytest.fixture
def alike(tmp_path):
    """Two people who talk alike."""
    folder = tmp_path / "own:lines"
    folder.mkdir()
    for name in ("ann", "BEN"):
        lines = [f"hey {word} you" for word in ("yes", "no", "oh", "well")] * 3
        (folder / f"{name}.txt").write_text("\n".join([*lines, f"hey {name}"]))
    return folder


@pytest.mark.slow
def test_a_hopeless_base_stops_the_run_before_the_map(tmp_path, kept_apart, capsys):
    """It was mapped, all claims true."""
    folder = own_texts.write(tmp_path / "professions", "professions")
    few = "--length 2 --pretraining.num-lines 40 --pretraining.most-restarts 2 --pretraining.num-restarts 1"
    code, printed = small.run(phase_diagram, f"--world text:{folder} --out {folder / 'out'} {few}", capsys)
    assert code == 2 and printed.out == ""
    assert printed.err.startswith("Read carpenter: ")
    assert "of what nurse says is left out" in printed.err
    assert printed.err.splitlines()[-1].startswith("error: Pretraining did not find the people who wrote these lines")
    assert not (folder / "out" / "phase_diagram.zarr").exists()


def test_what_a_base_missed_decides(tmp_path, alike, monkeypatch):
    """Gates and experts each, of any text; what nobody shares and a gate that was chosen are named."""
    from toypersona import bases, pretraining

    def found(gates, experts):
        recovery = pretraining.Recovery(*map(jnp.array, (experts, gates, [0.0, 0.0])))
        return type("Found", (), {"recovery": recovery, "labels": type("Labels", (), {"personas": ("BEN", "ann")})})

    def missed(gates, experts, **options):
        monkeypatch.setattr(bases, "pretrained", lambda *_, **__: found(gates, experts))
        return settings.WorldSettings(world=f"text:{alike}", **options).pretrained()

    fine = [[0.1, 0.2], [0.0, 0.1]]
    missed([0.01, 0.05], fine)
    with pytest.raises(ValueError, match=r"lines: gates are 0.06 nats off \(allowed: 0.05\); "):
        missed([0.01, 0.06], fine)
    with pytest.raises(ValueError, match=r"expert for BEN is 0.3 nats per token off \(allowed: 0.25\); keep more"):
        missed([0.01, 0.05], [[0.1, 0.2], [0.3, 0.1]])
    with pytest.raises(ValueError, match="leave out --pretraining.gate, or keep"):
        missed([0.01, 0.06], fine, pretraining=Pretraining(gate="network"))
    with pytest.raises(ValueError, match="; bring more lines of each"):
        missed([1.0, 1.0], fine, options=WorldOptions(text=TextOptions(unit="character")))
    (alike / "ann.txt").write_text("oi you\n" * 3)
    with pytest.raises(ValueError, match="nobody opens a line as another does, and gates are"):
        missed([1.0, 1.0], fine)


def test_texts_are_read_before_anything_is_computed(alike):
    (alike / "cy.TXT").write_bytes("schöne grüße\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"cy.TXT is not in UTF-8, it seems to be in cp1252"):
        settings.WorldSettings(world=f"text:{alike}").check()
    (alike / "cy.TXT").write_text(" \n")
    with pytest.raises(ValueError, match=r"cy.TXT is empty"):
        settings.WorldSettings(world=f"text:{alike}").check()
    (alike / "cy.TXT").unlink()
    with pytest.raises(ValueError, match=r"8 words and length 8 make 16,777,216 responses"):
        settings.WorldSettings(world=f"text:{alike}", length=8).check()


def test_a_changed_text_is_another_run_even_in_a_folder_with_a_colon(alike):
    before = user_code.sha256(f"text:{alike}")
    (alike / "ann.txt").rename(alike / "ann.TXT")
    (alike / "ann.TXT").write_text("hey you")
    assert before and user_code.sha256(f"text:{alike}") not in (before, None)


def test_what_bases_missed_is_claimed_of_every_world_of_people():
    def claimed(world, gates, experts):
        dataset = xr.Dataset(
            {
                "gate_divergence": ("seed", gates),
                "expert_divergence": (("seed", "persona"), experts),
                datasets.DIVERGED: ("seed", [False, False]),
            },
            {"persona": ["ann", "ben"]},
        )
        dataset.attrs |= {"provenance": {"config": {"settings": {"world": world}}}}
        return {each.what: each.holds for each in claim.standard(dataset) if "error" in each.what}

    gates, ann, ben = claimed("text:own", [0.01, 0.02], [[0.01, 0.05], [0.09, 0.02]]).values()
    assert gates and ann and ben
    assert list(claimed("speakers", [0.01, 0.04], [[0.01, 0.05], [0.2, 0.02]]).values()) == [False, False, True]
    assert claimed("larry_bob_alice", [0.01, 0.04], [[0.01, 0.05], [0.2, 0.02]]) == {}
