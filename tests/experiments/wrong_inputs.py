"""A hundred wrong inputs, as people type them, with the sentence that each gets; "…" stands for anything.

Run as a program it gives all of them, in a process that has not imported jax, and prints what each got.
"""

import contextlib
import importlib
import io
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

SEEDS = "one or more different whole numbers from 0 to 4,294,967,295"
LISTED = "only 1,048,576 can be listed: use a shorter length, or sample and call measures.sampled.budget_from_samples."
GOES_ON = "goes on and computes what is lacking"

COMMANDS = [
    # What is no number, or none that a run could be made with.
    ("phase_diagram", "--length two", "--length has to be a whole number, not 'two'."),
    ("phase_diagram", "--length", "--length has to be a whole number, not nothing."),
    ("phase_diagram", "--length 2.5", "--length has to be a whole number, not '2.5'."),
    ("phase_diagram", "--length 1e3", "--length has to be a whole number, not '1e3'."),
    ("phase_diagram", "--length 2 3", "--length has to be a whole number, not 2 3."),
    ("phase_diagram", "--length 0", "--length has to be from 1 to 20, not 0."),
    ("phase_diagram", "--length 99999999999999999999", "--length has to be from 1 to 20, not 99999999999999999999."),
    ("phase_diagram", "--length 9", f"12 words and length 9 make 5,159,780,352 responses; {LISTED}"),
    ("phase_diagram", "--strengths 1 inf", "--strengths has to be finite, not 1.0 inf."),
    ("phase_diagram", "--strengths 0.1 nan", "--strengths has to be finite, not 0.1 nan."),
    ("phase_diagram", "--strengths 2 1", "--strengths has to be 3 or more increasing numbers above 0, not 2.0 1.0."),
    ("phase_diagram", "--strengths -1 2", "--strengths has to be 3 or more increasing numbers above 0, not -1.0 2.0."),
    ("phase_diagram", "--strengths 1 2 1e300", "--strengths has to be at most 1e+12, not 1.0 2.0 1e+300."),
    (
        "phase_diagram",
        "--strengths 1 2 1e12",
        "--gradients.natural-step 0.4 takes 2.5e+12 steps to 1e+12, and 10,000,000 are allowed: …",
    ),
    ("phase_diagram", "--strengths weak strong", "--strengths has to be a list of numbers, not 'weak' 'strong'."),
    ("phase_diagram", "--angles nan", "--angles has to be finite, not nan."),
    ("phase_diagram", "--angles 100", "--angles has to be increasing degrees from 0 to 90, not 100.0."),
    ("phase_diagram", "--angles", "--angles has to be increasing degrees from 0 to 90, not nothing."),
    ("phase_diagram", "--seeds 12345678901234567890", f"--seeds has to be {SEEDS}, not 12345678901234567890."),
    ("phase_diagram", "--seeds -1", f"--seeds has to be {SEEDS}, not -1."),
    ("phase_diagram", "--seeds 1 1", f"--seeds has to be {SEEDS}, not 1 1."),
    ("phase_diagram", "--seeds 0.5", "--seeds has to be a list of whole numbers, not '0.5'."),
    ("phase_diagram", "--chunk 0", "--chunk has to be from 1 to 10,000,000, not 0."),
    ("phase_diagram", "--chunk many", "--chunk has to be a whole number, not 'many'."),
    ("phase_diagram", "--part 1", "--part has to be two whole numbers, not 1."),
    ("phase_diagram", "--part 4 4", "--part has to be i n with 0 <= i < n, not 4 4."),
    (
        "phase_diagram",
        "--progress yes",
        "No flag takes 'yes': settings are given as --NAME VALUE, switches as --NAME.",
    ),
    ("phase_diagram", "--network.width 30", "--network.width has to be a multiple of --network.num-heads, 4, not 30."),
    ("phase_diagram", "--network.num-steps 20", "--network.kept has to end before --network.num-steps, 20."),
    ("phase_diagram", "--policy transformer --network.tagged 0", "Nobody can be called by name if no line names its…"),
    ("phase_diagram", "--policy gpt", "--policy has to be one of mixture, transformer, not 'gpt'."),
    ("phase_diagram", "--noise.num-runs 1000000000000", "--noise.num-runs has to be from 1 to 100,000, not 1000000…"),
    ("phase_diagram", "--gradients.vanilla-step 1e-300", "--gradients.vanilla-step 1e-300 takes 2e+302 steps to 200…"),
    ("phase_diagram", "--gradients.natural-step -1", "--gradients.natural-step has to be above 0, not -1.0."),
    ("phase_diagram", "--pretraining.learning-rate nan", "--pretraining.learning-rate has to be finite, not nan."),
    ("phase_diagram", "--pretraining.num-lines 0", "--pretraining.num-lines has to be from 1 to 1,000,000, not 0."),
    (
        "phase_diagram",
        "--pretraining.num-lines 1000000 --pretraining.line-length 4000",
        "1,000,000 lines of 4,000 units make more than the 50,000,000 units of text that are allowed: …",
    ),
    # Names.
    ("phase_diagram", "--angels 3", "Unknown flag --angels: did you mean --angles?"),
    ("phase_diagram", "--num-lines 3", "Unknown flag --num-lines: did you mean --pretraining.num-lines?"),
    ("phase_diagram", "--verbose", "Unknown flag --verbose: --help lists them all."),
    ("phase_diagram", "--preset quik", "Unknown preset 'quik': did you mean quick?"),
    ("phase_diagram", "--preset", "--preset has to be one name, not nothing."),
    ("phase_diagram", "--world speaker", "Unknown world 'speaker': did you mean speakers?"),
    ("phase_diagram", "--world alice", "Unknown world 'alice': it is one of larry_bob_alice, speakers, markov, text…"),
    ("phase_diagram", "--helpful alicia", "--helpful has to be a persona of the world, not 'alicia': did you mean al…"),
    ("phase_diagram", "--world markov --helpful alice", "--helpful …, not 'alice': it is one of A, B, C."),
    ("phase_diagram", "--world speakers --helpful bob", "--helpful …: it is one of iago, falstaff, rosalind."),
    ("phase_diagram", "--pretraining.gate Network", "--pretraining.gate has to be one of auto, network, table, prior…"),
    ("phase_diagram", "--feature wrods", "Unknown --feature 'wrods': did you mean words?"),
    ("phase_diagram", "--feature nicety", "Unknown --feature 'nicety': it is one of words, brevity, exploit, FILE…"),
    # The user's own files.
    ("phase_diagram", "--feature mine.py", "--feature has to be FILE.py:FUNCTION, not 'mine.py'."),
    ("phase_diagram", "--feature nowhere.py:f", "--feature names the file nowhere.py, which is not a Python file th…"),
    ("phase_diagram", "--feature {tmp}/mine.py:frendly", "{tmp}/mine.py has no function 'frendly' for --feature: did…"),
    ("phase_diagram", "--feature {tmp}/torn.py:f", "--feature names {tmp}/torn.py, which fails when imported: Synta…"),
    ("phase_diagram", "--feature {tmp}/leaves.py:f", "--feature names {tmp}/leaves.py, which fails when imported: Sy…"),
    ("rules", "--own {tmp}/mine.py:number", "{tmp}/mine.py has no function 'number' for --own: it is one of friendly."),
    ("rules", "--own my_rule", "--own has to be FILE.py:FUNCTION, not 'my_rule'."),
    ("phase_diagram", "--world text:", "The world text:FOLDER has to name its folder, with a .txt file of lines for …"),
    ("phase_diagram", "--world text:{tmp}/nowhere", "There is no folder {tmp}/nowhere: name one with a .txt file …"),
    ("phase_diagram", "--world text:{tmp}/alone", "{tmp}/alone holds 1 .txt files: a world needs 2 to 8, one a perso…"),
    ("phase_diagram", "--world text:{tmp}/crowd", "{tmp}/crowd holds 9 .txt files: a world needs 2 to 8, one a perso…"),
    ("phase_diagram", "--world text:{tmp}/pair --helpful carol", "--helpful …, not 'carol': it is one of ann, ben."),
    ("phase_diagram", "--world speakers --options.speakers iago", "A world needs from 2 to 8 different speakers, not…"),
    # Folders to write to, and files to read.
    ("phase_diagram", "--out {tmp}/file", "Cannot write to {tmp}/file (Not a directory): choose another folder."),
    ("phase_diagram", "--out {tmp}/file/sub", "Cannot write to {tmp}/file/sub (Not a directory): choose another fo…"),
    ("phase_diagram", "--out", "--out has to be a path, not nothing."),
    ("phase_diagram", "--config nowhere.toml", "Cannot read the settings file nowhere.toml: it is no file."),
    ("phase_diagram", "--config {tmp}/latin.toml", "Cannot read the settings file {tmp}/latin.toml: it is no text in…"),
    ("phase_diagram", "--config", "--config has to be one file, not nothing."),
    # Worlds that are none.
    ("phase_diagram", "--options.text.max-units 100000000000", "--options.text.max-units has to be from 2 to 4,096,…"),
    ("phase_diagram", "--options.markov.concentration 0", "--options.markov.concentration has to be from 0.001 to 1…"),
    ("phase_diagram", "--options.markov.num-personas 1", "--options.markov.num-personas has to be from 2 to 8, not …"),
    ("phase_diagram", "--world markov --options.markov.num-prompts 99", "8 words make 64 prompts of 2, fewer than 9…"),
    (
        "phase_diagram",
        "--world markov --options.markov.num-words 900 --options.markov.order 3 --length 1",
        "Tables of 900 next words after every 3 of 900 units have 2.0e+12 entries for 3 personas, and 67,108,864 …",
    ),
    # What the other experiments refuse.
    ("persona_gain", "--policy transformer", "Both gates of a mixture are fitted here: leave out --policy transf…"),
    ("detectors", "--policy mixture", "--policy has to be both, not 'mixture'."),
    ("detectors", "--samples 4 6", "--samples has to be increasing multiples of 4, not 4 6."),
    ("detectors", "--num-runs 20 --alpha 0.01", "--num-runs 20 cannot show a level of 0.01: use more, or raise it."),
    ("transformer", "--policy mixture", "--policy has to be one of transformer, not 'mixture'."),
    ("transformer", "--widths 16 64 0", "--widths has to be whole numbers from 1 to 10,000,000, not 16 64 0."),
    ("transformer", "--widths 16 30", "--network.width has to be a multiple of --network.num-heads, 4, not 30."),
    ("transformer", "--length 1", "--length has to be 2 or more: histories are held out by their first word."),
    ("transformer", "--widths 30", "--network.width has to be a multiple of --network.num-heads, 4, not 30."),
    ("transformer", "--tagged 0 2", "--tagged has to be increasing shares from 0 to below 1, not 0.0 2.0."),
    ("transformer", "--tagged 0 0.1", "--tagged has to name --network.tagged, 0.5, with which RL goes on."),
    ("transformer", "--every 3", "--every has to divide --num-steps, 14."),
    ("transformer", "--network.kept 10 20", "--network.kept has to begin with 0, the untrained network."),
    ("transformer", "--drifts 0.1 0.2 0.3", "--drifts has to double at every step."),
    ("literature", "--policy transformer", "Both gates of a mixture are fitted here: leave out --policy transf…"),
    ("pretraining", "--policy transformer", "Gates and experts are recovered here from lines of which nobody says wh…"),
    ("amplification", "--policy transformer", "Right personas compete here for the gates of a mixture: leave out --p…"),
    ("natural_rewards", "--policy transformer", "Responses of any length are listed here, and a transformer reads no…"),
    ("horizon", "--policy transformer", "At any length only the chains of a mixture's experts are known exactly: lea…"),
    ("amplification", "--wrong larri", "--wrong has to be a persona of the world, not 'larri': did you mean larry?"),
    ("amplification", "--seeds 1", "--seeds has to be two or more: what is sampled is compared by its spread."),
    ("amplification", "--num-runs 0", "--num-runs has to be from 1 to 100,000, not 0."),
    ("rl_curves", "--policy transformer", "The gradient of every response is written out here: leave out --policy t…"),
    ("rl_curves", "--num-steps 4", "--num-steps has to be --num-records or more, not 4."),
    ("rl_curves", "--seeds 1", "--seeds has to be two or more: what is sampled is compared by its spread."),
    ("rl_curves", "--times 2 1", "--times has to be 3 or more increasing numbers above 0, not 2.0 1.0."),
    ("literature", "--spread larri", "--spread has to be a persona of the world, not 'larri': did you mean larry?"),
    ("literature", "--num-steps 4", "--num-steps has to be --num-records or more, not 4."),
    ("literature", "--num-rewarded 0", "--num-rewarded has to be from 1 to 10,000,000, not 0."),
    ("literature", "--gold.times 1 2", "--gold.strengths, --gold.nums and --gold.times have to be equally many."),
    ("literature", "--assistants.bad 0.5 1", "--assistants.bad has to be below 1, not 0.5 1.0."),
    ("amplification", "--world markov --options.markov.num-personas 2", "Several right personas and a wrong one mak…"),
    ("exploit", "--masses 0.1 0.6", "--masses has to be below 1/2, not 0.1 0.6."),
    ("exploit", "--masses 0 0.1", "--masses has to be 2 or more increasing numbers above 0, not 0.0 0.1."),
    ("exploit", "--bonus 0", "--bonus has to be above 0, not 0.0."),
    ("exploit", "--length 40", "--length has to be from 1 to 20, not 40."),
    ("exploit", "--word-mass 1e-200", "--word-mass 1e-200 makes phrases of 6 words rarer than 1e-300."),
    ("exploit", "--lengths 1 2 40", f"4 words and length 40 make 4^40 responses; {LISTED}"),
    ("codes", "--worths 0.4 0.9", "--worths has to be 2 or more increasing numbers from 0.5 to 1, not 0.4 0.9."),
    ("codes", "--num-bits 1", "--num-bits has to be from 2 to 4, not 1."),
    ("codes", "--length-costs 0 0.4", "--length-costs has to be 2 or more increasing numbers above 0, not 0.0 0.4."),
    ("hints", "--fines 0.1 0.2", "--fines has to be 0, for comparison, and then one or more increasing numbers, not …"),
    ("hints", "--options.num-bits 4", "--options has to keep hints, every row and up to 3 bits: their responses are …"),
    ("hints", "--pretraining.gate table", "--pretraining.gate has to be prior, not table: gates see no bits here."),
    ("hints", "--options.hint-seen everywhere", "--options.hint-seen has to be 'first thought': what is seen …"),
    ("hints", "--options.no-hints", "--options has to keep hints, every row and up to 3 bits: their responses are …"),
    ("hints", "--options.hint-wrong 1.5", "--options.hint-wrong has to be between 0 and 1, not 1.5."),
    ("hints", "--num-measured 10", "--num-measured has to be from 100 to 100,000, not 10."),
    ("hull_choices", "--angles 0 45", "--angles has to be two or more between 0 and 90 degrees."),
    ("hull_choices", "--shares 0.1 1", "--shares has to be below 1."),
    ("hull_choices", "--num-samples 5", "--num-samples has to be an even number from 4 to 100,000, not 5."),
    ("natural_rewards", "--right 1", "--right has to be between 0 and 1, not 1.0."),
    ("natural_rewards", "--longest 1", "--longest has to be from 2 to 20, not 1."),
    ("next_token", "--strong 0.005 1", "--strong has to begin above the last of --weak, 0.01."),
    ("next_token", "--weak 0.01 0.02", "--weak has to be 3 or more increasing numbers above 0, not 0.01 0.02."),
    ("next_token", "--from-model yes", "No flag takes 'yes': settings are given as --NAME VALUE, switches as --NAME."),
    ("language_model", "--nats 0.6 0.3", "--nats has to be 2 or more increasing numbers above 0, not 0.6 0.3."),
    ("language_model", "--nats 0.01 0.3", "--nats has to be from 0.05 to 1.5, not 0.01 0.3."),
    ("language_model", "--nats 0.3 4", "--nats has to be from 0.05 to 1.5, not 0.3 4.0."),
    ("language_model", "--best-of 1 2", "--best-of has to be 1 or more increasing whole numbers above 1, not 1 2."),
    ("language_model", "--best-of 2 200", "--best-of has to be from 2 to 16, not 2 200."),
    ("horizon", "--world larry_bob_alice", "Responses of this world end, so they do not grow with T: use --world mar…"),
    ("horizon", "--sampled-lengths 5 6", "--sampled-lengths have to be among --lengths, but 5 6 are not."),
    ("horizon", "--lengths 4 4", "--lengths has to be 2 or more increasing whole numbers above 0, not 4 4."),
    ("horizon", "--num-samples 5", "--num-samples has to be an even number from 4 to 100,000, not 5."),
    ("horizon", "--num-samples 1000000000000", "--num-samples has to be an even number from 4 to 100,000, not 100000…"),
    ("leash", "--masses 1e-12 0.1", "--max-step 0.2 takes 7.5e+12 steps to 1.5e+12, and 10,000,000 are allowed: …"),
    ("leash", "--lock-in.gaps 1 2 3", "--lock-in.gaps has to be below 2, not 1.0 2.0 3.0."),
    ("leash", "--masses 0.1 0.9", "--masses has to be below 1/2, not 0.1 0.9."),
    ("leash", "--times 1 2 3", "--times and --natural-times have to be equally many."),
    ("overoptimisation", "--nums 1 2", "--nums has to be 2 or more increasing numbers above 1, not 1.0 2.0."),
    ("overoptimisation", "--angle nan", "--angle has to be finite, not nan."),
    ("overoptimisation", "--nums 2 3", "--strengths, --nums and --times have to be equally many."),
    ("overoptimisation", "--sizes 0 1", "--sizes has to be 2 or more increasing numbers above 0, not 0.0 1.0."),
    ("persona_gain", "--angles 0 45", "--angles has to lie between 0 and 90 degrees: there S is 1 or 0 whatever kapp…"),
    ("pretraining", "--amounts 10 20000000", "--amounts has to be 10,000,000 at most, not 10 20000000."),
    ("pretraining", "--helpful bob", "Unknown flag --helpful: --help lists them all."),
    ("reasoning", "--other-bits 2 2", "--other-bits has to be different numbers from 1 to 4, not 2 2."),
    ("reasoning", "--other-bits 3", "--other-bits have to be others than --num-bits, 3."),
    ("reasoning", "--num-bits 5", "--num-bits has to be from 1 to 4, not 5."),
    ("reasoning", "--length-costs 0.1 0.4", "--length-costs has to be 0, for comparison, and then one or more incre…"),
    ("reasoning", "--pretraining.gate network", "--pretraining.gate has to be prior, not network: gates see no bits …"),
    ("reasoning", "--pretraining.line-length 80", "--pretraining.line-length has to be from 2 to 65, not 80."),
    ("reasoning", "--training.num-samples 0", "--training.num-samples has to be from 2 to 100,000, not 0."),
    ("reasoning", "--long.num-measured 5000", "--long.num-measured has to be from 2 to 4,096, not 5000."),
    ("reasoning", "--long.num-bits 1", "--long.num-bits has to be from 2 to 64, not 1."),
    ("reasoning", "--long.num-thoughts 3", "--long.num-thoughts has to be an even number from 4 to 100,000, not 3."),
    ("rules", "--drifts 0", "--drifts has to be 1 or more increasing numbers above 0, not 0.0."),
    ("rules", "--rates 1 0.2", "--rates has to be 1 or more increasing numbers above 0, not 1.0 0.2."),
    ("rules", "--angle 91", "--angle has to be degrees from 0 to 90, not 91.0."),
    ("rules", "--num-records 1", "--num-records has to be from 2 to 10,000,000, not 1."),
    ("rules", "--num-steps 5", "--num-steps has to be at least as many as --num-records, 10, not 5."),
    ("rules", "--seeds 1 2", "--seeds has to be three or more: rules are compared by their spread."),
    ("sft", "--called larri", "--called has to be a persona of the world, not 'larri': did you mean larry?"),
    ("sft", "--lines 8 2", "--lines has to be 2 or more increasing whole numbers above 0, not 8 2."),
    ("sft", "--helpful larry", "--helpful and --called have to be two different personas."),
    ("weak_limit", "--num-words 60 --length 5", f"60 words and length 5 make 777,600,000 responses; {LISTED}"),
    ("weak_limit", "--drifts 0.1 0.2 0.3 0.4", "--drifts has to double at every step."),
    ("weak_limit", "--num-worlds 0", "--num-worlds has to be from 1 to 100,000, not 0."),
    # Stores that are no longer what they were.
    ("weak_limit", "--out {tmp}/cut", "{tmp}/cut/weak_limit.zarr/total/c/0 was cut short to 5 of 16 bytes: copy it a…"),
    ("weak_limit", "--out {tmp}/lost", GOES_ON),
    ("weak_limit", "--out {tmp}/torn", "{tmp}/torn/weak_limit.zarr exists and is no dataset of a sweep, or a damaged…"),
    ("weak_limit", "--out {tmp}/whole --num-words 5", "{tmp}/whole/weak_limit.zarr holds another run (num_words is 4…"),
]  # fmt: skip

SETTINGS = [
    ("angles = [", "Cannot read the settings file {toml}: Invalid value (at end of document)."),
    ('angles = "x"', "{toml}, line 1: angles has to be a list of numbers, not 'x'."),
    ("angles = 30.0", "{toml}, line 1: angles has to be a list of numbers, not 30.0."),
    ("# mine\n\nangles = [nan]", "{toml}, line 3: angles has to be finite, not nan."),
    ("strengths = [[1, 2], [3]]", "{toml}, line 1: strengths has to be a list of numbers, not [1, 2] [3]."),
    ("length = 3.0", "{toml}, line 1: length has to be a whole number, not 3.0."),
    ("length = 1979-05-27", "{toml}, line 1: length has to be a whole number, not 1979-05-27."),
    ("chunk = true", "{toml}, line 1: chunk has to be a whole number, not True."),
    ("part = [0]", "{toml}, line 1: part has to be two whole numbers, not 0."),
    ("seeds = [12345678901234567890]", "{toml}, line 1: seeds has to be " + SEEDS + ", not 12345678901234567890."),
    ("[noise]\nnum-runs = 0", "{toml}, line 2: noise.num_runs has to be from 1 to 100,000, not 0."),
    ("[noise]\nnum_run = 3", "{toml}, line 2: Unknown setting 'num_run': did you mean num_runs?"),
    ("noise = 3", "{toml}, line 1: noise has to be a table, not 3."),
    ("[noise]\nnum-runs = 2\nnum_runs = 3", "{toml}, line 2: noise.num_runs is given twice: leave one out."),
    ('preset = "paper"', "{toml}, line 1: preset is a flag and no setting of a file: give --preset."),
    ('helpful = "alicia"', "--helpful has to be a persona of the world, not 'alicia': did you mean alice?"),
    ('out = "a\\u0000b"', "Cannot write to a\0b (embedded null byte): choose another folder."),
]
"""TOML files for phase_diagram."""

JOBS = [
    ("--tasks 2", "Unknown experiment '': it is one of amplification, codes, …"),
    ("phase_diagrm --tasks 2", "Unknown experiment 'phase_diagrm': did you mean phase_diagram?"),
    ("phase_diagram", "--tasks has to be from 1 to 10,000, not 0."),
    ("--tasks two phase_diagram", "--tasks has to be a whole number, not 'two'."),
    ("phase_diagram --tasks 2 --cluster lsf", "--cluster has to be one of slurm, local, not 'lsf'."),
    ("phase_diagram --tasks 2 --minute 9", "Unknown flag --minute: did you mean --minutes?"),
    ("phase_diagram --tasks 2 -- --part=0 2", "A job array gives every task its --part itself: leave it out."),
    ("phase_diagram --tasks 2 -- --length two", "--length has to be a whole number, not 'two'."),
    ("phase_diagram --tasks 2 -- --out {tmp}/file", "Cannot write to {tmp}/file (Not a directory): choose another f…"),
]

FIGURES = [
    ("rules", "", "the following arguments are required: --data, --out."),
    ("rules", "--data", "argument --data: expected one argument."),
    ("rules", "--data {tmp}/nowhere --out {tmp}/x", "There is no dataset at {tmp}/nowhere/rules.zarr: run the experi…"),
    ("weak_limit", "--data {tmp}/cut --out {tmp}/x", "{tmp}/cut/weak_limit.zarr/total/c/0 was cut short to 5 of 16…"),
    ("weak_limit", "--data {tmp}/lost --out {tmp}/x", "{tmp}/lost/weak_limit.zarr lacks 2 of 2 points: run the sam…"),
    ("weak_limit", "--data {tmp}/whole --out {tmp}/file", "Cannot write to {tmp}/file (Not a directory): choose ano…"),
]

LOADED = [
    ("nowhere.zarr", "There is no dataset at {tmp}/nowhere.zarr: run the experiment with --out {tmp} first."),
    ("file", "{tmp}/file exists and is no dataset of a sweep, or a damaged one; nothing was overwritten: …"),
    ("torn/weak_limit.zarr", "{tmp}/torn/weak_limit.zarr exists and is no dataset of a sweep, or a damaged one; …"),
]

SWEPT = [
    ({"chunk": 0}, "A sweep's chunk is a whole number of points from 1 on, not 0."),
    ({"chunk": "many"}, "A sweep's chunk is a whole number of points from 1 on, not 'many'."),
    ({"axes": [0.1, 1.0]}, "A sweep's axes are values by name, such as {{'strength': [0.1, 1.0]}}, not [0.1, 1.0]."),
    ({"axes": {"a": [1.0, float("nan")]}}, "The sweep's axis 'a' has a nan in it: leave it out."),
    ({"axes": {"a": ["x"]}}, "The sweep's axis 'a' has to be a list of one or more numbers, not of shape (1,) and t…"),
    ({"seeds": [-1]}, "A sweep's seeds are whole numbers from 0 to 4,294,967,295: choose others."),
    ({"part": (1,)}, "A sweep's part is (i, n) with 0 <= i < n, not (1,)."),
    ({"experiment_fn": "mine"}, "A sweep's function is one of a key and the axes by name, not 'mine'."),
    ({"out": "{tmp}/file/run.zarr"}, "Cannot write to {tmp}/file (Not a directory): choose another folder."),
]
"""Arguments of ``sweeps.run``, which imports jax; its function is never called."""


class Reached(Exception):
    """Input was taken for right."""


def reached(*_, **__):
    raise Reached


def prepare(tmp):
    """Files and stores that are not what they should be."""
    from experiments import weak_limit
    from experiments.shared import command
    from toypersona import datasets, provenance
    from toypersona.outputs import Output

    (tmp / "file").write_text("dear to me")
    (tmp / "mine.py").write_text("number = 3\n\n\ndef friendly(prompt, response):\n    return 1.0\n")
    (tmp / "torn.py").write_text("def f(:\n")
    (tmp / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (tmp / "latin.toml").write_bytes('helpful = "é"'.encode("latin-1"))
    for folder, names in {"alone": ["ann"], "pair": ["ann", "ben"], "crowd": list("abcdefghi")}.items():
        (tmp / folder).mkdir()
        for name in names:
            (tmp / folder / f"{name}.txt").write_text("hey you\n")
    layout = datasets.Layout(
        coords={"seed": np.arange(2)},
        variables={"total": Output(np.zeros(()), ("seed",)), "diverged": Output(np.zeros((), bool), ("seed",))},
        block={"seed": 2},
    )
    store = tmp / "whole" / "weak_limit.zarr"
    made_by = provenance.of(command.provenance(weak_limit.PRESETS["quick"]), [0, 1])
    datasets.create(store, layout, made_by, {})
    datasets.write_block(store, (slice(0, 2),), {"total": np.zeros(2), "diverged": np.zeros(2, bool)})
    for copy in ("cut", "lost", "torn"):
        shutil.copytree(tmp / "whole", tmp / copy)
    with open(tmp / "cut" / store.name / "total" / "c" / "0", "r+b") as file:
        file.truncate(5)
    (tmp / "lost" / store.name / "total" / "c" / "0").unlink()
    (tmp / "torn" / store.name / "zarr.json").write_text('{"zarr_format": 3,')


def said(call):
    """What a call that has to be refused says, and after how many CPU seconds."""
    start, err = time.process_time(), io.StringIO()
    try:
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
            call()
        sentence = "nothing"
    except SystemExit as stopped:
        sentence = f"exit {stopped.code}: {err.getvalue().strip()}"
    except Reached:
        sentence = GOES_ON
    except Exception as error:
        sentence = f"{type(error).__name__}: {error}"
    return sentence, time.process_time() - start


def expected(sentence, tmp, kind="exit 2: error"):
    """A sentence of the tables as ``said`` returns it."""
    text = sentence.format(tmp=tmp, toml=tmp / "mine.toml")
    return text if text == GOES_ON else f"{kind}: {text}"


def cases(tmp):
    """Every case that needs no jax: what is given, the sentence expected, and the call."""
    from experiments import job_array, phase_diagram
    from experiments.shared import command
    from figures import style
    from toypersona import datasets

    def run(name, given):
        module = importlib.import_module(f"experiments.{name}")
        given = given if "--out" in given else [*given, "--out", str(tmp / "out")]
        return lambda: command.main(name, module.__doc__, module.PRESETS, reached, given)

    def settings(text):
        (tmp / "mine.toml").write_text(text)
        given = ["--config", str(tmp / "mine.toml")]
        return command.main("phase_diagram", "", phase_diagram.PRESETS, reached, given)

    def draw(name, given):
        sys.argv = [f"figures.{name}", *given]
        style.main(name, reached, "")

    command._configure = lambda *_, **__: None
    for name, given, sentence in COMMANDS:
        yield f"{name} {given}", expected(sentence, tmp), run(name, given.format(tmp=tmp).split())
    for text, sentence in SETTINGS:
        yield f"phase_diagram --config: {text}", expected(sentence, tmp), lambda text=text: settings(text)
    for given, sentence in JOBS:
        words = given.format(tmp=tmp).split()
        yield f"job_array {given}", expected(sentence, tmp), lambda words=words: job_array.main(words)
    for name, given, sentence in FIGURES:
        words = given.format(tmp=tmp).split()
        yield f"figures.{name} {given}", expected(sentence, tmp), lambda name=name, words=words: draw(name, words)
    for path, sentence in LOADED:
        kind = "ValueError" if path == "nowhere.zarr" else "RunMismatch"
        yield f"datasets.load {path}", expected(sentence, tmp, kind), lambda path=path: datasets.load(tmp / path)


def swept(tmp):
    """The cases of ``sweeps.run``."""
    from toypersona import sweeps

    right = {"experiment_fn": lambda key, *, a: reached(), "axes": {"a": [1.0]}, "seeds": [0]}
    for changed, sentence in SWEPT:
        given = {name: value.format(tmp=tmp) if name == "out" else value for name, value in changed.items()}
        call = lambda given=given: sweeps.run(**{**right, **given})  # noqa: E731
        yield f"sweeps.run {changed}", expected(sentence, tmp, "ValueError"), call


def titles():
    """Every case by its number, as ``main`` numbers them."""
    given = [f"{name} {words}" for name, words, _ in COMMANDS] + [text for text, _ in SETTINGS]
    given += [words for words, _ in JOBS] + [f"figures.{name} {words}" for name, words, _ in FIGURES]
    return [*given, *(path for path, _ in LOADED), *(str(changed) for changed, _ in SWEPT)]


def main(tmp):
    """Print what every case got, and whether jax was imported before it had to be."""
    prepare(tmp)
    before = sorted(tmp.rglob("*"))
    outcomes = [(title, sentence, *said(call)) for title, sentence, call in cases(tmp)]
    imported = "jax" in sys.modules
    outcomes += [(title, sentence, *said(call)) for title, sentence, call in swept(tmp)]
    left = sorted({*tmp.rglob("*")} - {*before, tmp / "mine.toml", *tmp.rglob("__pycache__"), *tmp.rglob("*.pyc")})
    print(json.dumps({"outcomes": outcomes, "jax": imported, "left": [str(path) for path in left]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
