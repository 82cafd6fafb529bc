"""What the pages of docs/ say was found, made of what ``figures/out/claims.json`` was read from."""

import re

import readme_numbers
from readme_numbers import LARRY, LAWS, Shipped


def of_weak_rl(of: Shipped) -> list[str]:
    """Weak limit, persona gain, factorisation."""
    median = {
        rule: of.said(f"{LAWS}/weak_limit", rf"{rule}: S\(0\+\) from .*?, median ([\d.]+)\.")[0]
        for rule in ("tilt", "vanilla/both", "vanilla/experts", "vanilla/gates")
    }
    gain = f"{LARRY}/persona_gain"
    (tilt,) = of.said(gain, r"Gate network: .*? where the tilt selects ([\d.]+)\.")
    network, table = of.said(gain, r"by up to (\d+)% \(gate network; .*?\) and (\d+)% \(gate table")
    (leaves,) = of.said(gain, r"no such number: ([\d.]+) of the direction")
    horizon = f"{LAWS}/horizon"
    above = of.claim(horizon, "sampled hull distance - its bound, largest")["measured"]
    either = of.claim(horizon, "longest sampled: hull distance - bound, either way")["measured"]
    missed = max(
        of.claim(f"{LARRY}/transformer", f"|S(0+) - R²|, {rule}")["measured"]
        for rule in ("SGD", "Adam", "natural gradient")
    )
    (zero,) = of.said(f"{LARRY}/transformer", r"A reward at 0 degrees: ([\d.]+) ± [\d.]+ is selection")
    return [
        f"Median S(0+) of these random rewards: the tilt {median['tilt']}, plain policy gradient on gates and experts "
        f"{median['vanilla/both']}, on the experts alone {median['vanilla/experts']}, on the gates alone "
        f"{median['vanilla/gates']}",
        f"|S(0+) − R²| is {missed:.0e} at most",
        f"the tilt selects {readme_numbers.percent(tilt)}",
        f"misses κ, mean over draws, by up to {network}% with a gate network, {table}% with a table",
        f"{leaves} of the direction that a persona reward gives them leaves the hull",
        f"at 0° a weak drift is {zero} selection",
        f"exceed the bound by {above:.1f} standard errors at most",
        f"lie within {either:.1f} standard errors of it",
    ]


def of_strong_rl(of: Shipped) -> list[str]:
    """Horizon, exploit, leash, best of n, detection."""
    exploit, leash, best = f"{LAWS}/exploit", f"{LAWS}/leash", f"{LARRY}/overoptimisation"
    (horizon,) = of.said(f"{LAWS}/horizon", r"(An answer of \d+ words is mostly .*? \(medians over draws\))")
    (short,) = of.said(f"{LAWS}/horizon", r"(Weak RL of answers shorter .*? than the personas do)")
    (takeover,) = of.said(exploit, r"(A phrase of base mass .*? at \d+): ")
    natural, vanilla = of.said(exploit, r"natural/both ([\d.e-]+\d); .*?vanilla/both ([\d.e-]+\d)")
    within, times = of.said(exploit, r"Found within (\d+) times that strength \(vanilla: .*? up to (\d+) times")
    found = of.said(
        leash, r"(A right answer of .*? find, natural gradient [\d.]+)\. (Of several .*?natural gradient)\."
    )
    rate, above = of.said(leash, r"at one of ([\d.]+) the threshold is ([\d.]+) times the law's")
    (name,) = (c["what"] for c in of.all[best]["claims"] if "/ its bound at n" in c["what"])
    num, bound = re.findall(r"n = ([\d.]+)", name)[0], of.claim(best, "/ its bound at n")["measured"]
    number = r"(\d\.\d+) ± (\d\.\d+)"
    fits = rf"power exceeds its normal law by {number}, mean; with 16 and more a case misses it by {number}"
    few, error, many, error_many = of.said(f"{LARRY}/detectors", fits)
    stop = of.claim(f"{LARRY}/detectors", "mixture: stopping time")
    return [
        horizon,
        short,
        takeover,
        f"Within {within} times the law's strength (vanilla: learning rate × steps up to {times} times as much) gates "
        f"and experts together found the phrase down to base mass {natural} by natural gradient, {vanilla} by vanilla "
        "gradient",
        *found,
        f"at a learning rate of {rate} the threshold is {above} times the law's",
        f"KL is {bound:.3f} of it at n = {float(num):.2f} with normal errors",
        f"With 16 and more samples a prompt a case misses the law by {many} ± {error_many}; with 4 the power exceeds "
        f"it by {few} ± {error}, mean",
        f"stops after {stop['measured']:.2f} ± {stop['uncertainty']:.2f} times ln(1/α)/d samples",
    ]


def sentences() -> list[str]:
    """Each sentence, or the part of one that has numbers; those of the README among them."""
    of, readme = Shipped(), readme_numbers.sentences()
    law, _, rest = readme["detectors"].partition("mixes")
    assert law == "not from what people watch: of "
    inside, _, seen = rest.partition("; ")
    return [
        *of_weak_rl(of),
        *of_strong_rl(of),
        f"mixes{inside}",
        *seen.split(". "),
        *(part for name, text in readme.items() if name != "detectors" for part in re.split(r"\. (?=[A-Z])", text)),
    ]
