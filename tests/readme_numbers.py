"""The sentences of the README that have numbers, made from the datasets that ``figures/out/claims.json`` was read from."""

import json
import re
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "figures" / "out" / "claims.json"

LARRY, LAWS, THOUGHTS = "larry_bob_alice", "laws", "thoughts"


class Shipped:
    """Claims and findings by the folder and name of their dataset."""

    def __init__(self) -> None:
        """Of the shipped file."""
        self.all: dict[str, Any] = json.loads(SHIPPED.read_text())

    def claim(self, where: str, what: str) -> dict[str, Any]:
        """The one claim whose group and text contain this."""
        found = [one for one in self.all[where]["claims"] if what in f"{one['group']}: {one['what']}"]
        assert len(found) == 1, (where, what, [one["what"] for one in found])
        return found[0]

    def said(self, where: str, pattern: str) -> tuple[str, ...]:
        """The groups of a pattern in the findings."""
        text = " ".join(self.all[where]["findings"])
        found = re.search(pattern, text)
        assert found is not None, (where, pattern)
        return found.groups()

    def counts(self, kind: str) -> tuple[int, int]:
        """How many claims of a kind hold, and how many there are, in all datasets."""
        of = [one for each in self.all.values() for one in each["claims"] if one["kind"] == kind]
        return sum(one["holds"] for one in of), len(of)


def percent(number: str | float) -> str:
    """A share as a percentage."""
    return f"{float(number):.0%}"


def sentences() -> dict[str, str]:
    """By a name, each sentence, or the part of one that has numbers."""
    of = Shipped()
    gain, law = f"{LARRY}/persona_gain", lambda name: f"{LAWS}/{name}"
    network, table = (of.claim(gain, f"kappa, gate {gate}: gate × 1") for gate in ("network", "table"))
    natural = of.claim(gain, "kappa, gate network: natural gradient")
    weak = [of.said(gain, rf"Gate {gate}: .*? it selects ([\d.]+) of a weak")[0] for gate in ("network", "table")]
    horizon = of.claim(law("horizon"), "exponent of the half boundary against T, fitted")
    sampled = of.claim(
        law("horizon"), "The half boundary by samples of the policy alone, in units of the law's: T = 4096"
    )
    release = of.said(
        law("exploit"), r"With (\d+), (\d+), (\d+) steps a level it lets the phrase go at ([\d.]+), ([\d.]+), ([\d.]+)"
    )
    power = of.claim(law("leash"), "baseline none: exponent")
    ratio = of.claim(law("leash"), "with the baseline / without")
    weak_limit = of.said(law("weak_limit"), r"(\d+) cases: .* differ by ([\d.e-]+) at most")
    rules = f"{LARRY}/rules"
    share = lambda gate, rule: of.said(rules, rf"Gate {gate}: Share of .*? {re.escape(rule)} ([\d.]+) ±")[0]  # noqa: E731
    by_gate = {
        rule: " and ".join(percent(share(gate, rule)) for gate in ("network", "table"))
        for rule in ("policy gradient", "tilt", "rejection")
    }
    same = of.said(rules, r"rank correlation of ([-\d.]+)")[0]
    table_of_rules = (SHIPPED.parent / "rules.md").read_text()
    less, more = (
        [
            names.split(", ")
            for names in re.findall(rf"Select {word} than policy gradient in every column: (.*?)\.\n", table_of_rules)
        ]
        for word in ("less", "more")
    )
    sft = f"{LARRY}/sft"
    after = {
        rule: of.said(
            sft,
            rf"{rule} to 0\.9\d? nats .*? weight ([\d.]+) at his prompts \(base ([\d.]+)\), ([\d.]+) after 2 words of his \(base ([\d.]+)\); (\d+) steps .*? a stranger comes in (\d+) steps",
        )
        for rule in ("SFT", "RL")
    }
    gold = of.said(
        f"{LARRY}/overoptimisation",
        r"Student errors: gold left at the same sqrt\(KL\) of ([\d.]+), which all reach: tilt ([-\d.]+), .*?; policy gradient ([-\d.]+), .*?; best of n ([-\d.]+),",
    )
    literature = f"{LARRY}/literature"
    one = of.said(
        literature,
        r"With one network .*? \(KL\(policy‖base\) ([\d.]+), KL\(base‖policy\) ([\d.]+)\), over both gates .*? \(([\d.]+), ([\d.]+)\)",
    )
    lost = {
        rule: of.said(literature, rf"NSCR at the end: .*?{re.escape(rule)} ([-+][\d.]+)")[0]
        for rule in (", GRPO", ", RLOO, KL in reward")
    }
    harm = of.said(literature, r"hackers' prior 0\.1: ([\d.]+), .*? 0\.9: ([\d.]+); .*? elicits 0\.88: ([\d.]+)")
    agree = re.search(r"(\d+) of (\d+) agree", (SHIPPED.parents[2] / "docs" / "literature.md").read_text())
    assert agree is not None
    hull = f"{LARRY}/hull_choices"
    halves = [
        of.said(hull, rf"Half at 30° under {name}, times .*?: ([\d.]+) \(([\d.]+) to (\w+|[\d.]+)\) \(tilt\)")
        for name in ("4 Hellinger²", r"KL\(mix‖policy\)")
    ]
    angles = {
        name: of.said(f"{LARRY}/natural_rewards", rf"{name}: (\d+)° at one word, (\d+)° at (\d)")
        for name in ("words", "brevity", "exploit", "right answers")
    }
    grown = of.said("markov/natural_rewards", r"words ([\d.]+) at 1, .*? ([\d.]+) at 16, .*? ([\d.]+) at 256")
    codes = f"{THOUGHTS}/codes"
    read = {
        worth: of.said(
            codes,
            rf"Worth {worth}: right and unreadable are (\d+/\d+ \([\d.–]+\)) .*? Paid best: .*? agreement ([\d.]+), novelty ([\d.]+) nats",
        )
        for worth in ("0.55", "0.9")
    }
    law_of = {worth: of.claim(codes, f"best paid, worth {worth}: agreement") for worth in ("0.55", "0.9")}
    hidden = of.said(codes, r"hidden from the reader at (\d+) of (\d+) points of the paths below")
    reasoning = f"{THOUGHTS}/reasoning"
    unread = of.said(
        reasoning,
        r"Length cost 0\.4, strength 256: right and unreadable .*? are exact (\S+) \((\S+)\), annealed (\S+) \((\S+)\), plain gradient (\S+) \((\S+)\), RLOO (\S+) \(\S+\), GRPO (\S+) \(",
    )
    stop = of.said(reasoning, r"early stop: agreement of 0\.9 or more in (\d of \d) seeds, accuracy then ([\d.]+)")
    hints = f"{THOUGHTS}/hints"
    cell = lambda rule, fine: of.said(hints, rf"{rule}, strength 100, by fine: .*?{fine} (\w+ \d/\d)[,\s(]")[0]  # noqa: E731
    right = of.said(hints, r"Fine 0\.6, strength 100: accuracy .*? exact ([\d.]+) .*? plain gradient ([\d.]+) ")
    predictions, findings = of.counts("prediction"), of.counts("finding")
    return {
        "@pg98": percent(weak[0]),
        "@pg52": percent(weak[1]),
        "@weak": f"{weak_limit[0]} cases, random worlds and rewards: S(0+) and R² differ by {weak_limit[1]} at most",
        "@gain": f"κ = {network['measured']:.2f} with the gate network, {table['measured']:.2f} with the table (predicted "
        f"{network['predicted']:.2f} and {table['predicted']:.2f}), 1 of the tilt, {natural['measured']:.2f} of natural "
        "gradient; a gate that learns 10 times as fast has a κ about 10 times smaller. Experts alone have no such number",
        "@horizon": f"once the best paid persona can be told from the next: exponent {horizon['measured']:.3f} ± "
        f"{horizon['uncertainty']:.3f}; read from samples alone {sampled['measured']:.2f} ± {sampled['uncertainty']:.2f} times "
        "the law's strength at T = 4096. With equally paid personas, or only the last word paid, no stretch of selection",
        "@exploit": "the tilt does, from 1e-12 on; training gates never; vanilla gradient lags: made weaker again it lets "
        f"go at {release[3]}, {release[4]}, {release[5]} of that strength with {release[0]}, {release[1]}, {release[2]} "
        "steps at each (ε = 0.01)",
        "@leash": f"times within 1%; that learning rate grows as the gap to the power {power['measured']:.2f} ± "
        f"{power['uncertainty']:.2f}, and a baseline makes it {ratio['measured']:.1f} ± {ratio['uncertainty']:.1f} times as "
        f"large (law {ratio['predicted']:.1f}) where steps are small",
    }
