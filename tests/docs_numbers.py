"""What the pages of docs/ say was found, made of what ``figures/out/claims.json`` was read from."""

import re

import readme_numbers
from readme_numbers import LARRY, LAWS, MODELS, Shipped, plain


def of_weak_rl(of: Shipped) -> list[str]:
    """Weak limit, persona gain, factorisation."""
    median = {
        rule: of.said(f"{LAWS}/weak_limit", rf"{rule}: S\(0\+\) from .*?, median ([\d.]+)\.")[0]
        for rule in ("tilt", "vanilla/both", "vanilla/experts", "vanilla/gates")
    }
    gain = f"{LARRY}/persona_gain"
    (tilt,) = of.said(gain, r"Gate network: .*? where the tilt selects ([\d.]+)\.")
    misses = (
        r"by up to (\d+)% \(gate network; (\d+)% with gate × 0\.03\) and (\d+)% \(gate table; (\d+)% with gate × 0\.03"
    )
    network, network_slow, table, table_slow = of.said(gain, misses)
    random = of.said("markov/persona_gain", misses)
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
        f"Median S(0+) of these random rewards: the tilt {median['tilt']}, policy gradient on gates and experts "
        f"{median['vanilla/both']}, on the experts alone {median['vanilla/experts']}, on the gates alone "
        f"{median['vanilla/gates']}",
        f"|S(0+) − R²| is {plain(format(missed, '.0e'))} at most",
        f"the tilt selects {readme_numbers.percent(tilt)}",
        f"misses κ, mean over draws, by up to {network}% with a gate network, {table}% with a table (in a random world "
        f"{random[0]}% and {random[2]}%)",
        f"Where the gate learns 0.03 times as fast, one number misses κ by {network_slow}% with a gate network, "
        f"{table_slow}% with a table (in a random world {random[1]}% and {random[3]}%)",
        f"{leaves} of the direction that a persona reward gives them leaves the hull",
        f"at 0° a weak drift is {zero} selection",
        f"exceed the bound by {above:.1f} standard errors at most",
        f"lie within {either:.1f} standard errors of it",
    ]


def of_strong_rl(of: Shipped) -> list[str]:
    """Horizon, exploit, leash, best of n, detection."""
    exploit, leash, best = f"{LAWS}/exploit", f"{LAWS}/leash", f"{LARRY}/overoptimisation"
    (strength,) = of.said(f"{LAWS}/horizon", r"(An answer of \d+ words is mostly .*? \(medians over draws\))")
    horizon = re.sub(r"\d{5,}", lambda number: f"{int(number[0]):,}", strength)
    (short,) = of.said(f"{LAWS}/horizon", r"(Weak RL of answers shorter .*? than the personas do)")
    takeover = of.said(
        exploit, r"A phrase of base mass ([\d.]+) takes over at strength ([\d.]+), one of (\S+) at (\d+): "
    )
    natural, vanilla = of.said(exploit, r"natural/both ([\d.e-]+\d); .*?vanilla/both ([\d.e-]+\d)")
    within, times = of.said(exploit, r"Found within (\d+) times that strength \(vanilla: .*? up to (\d+) times")
    found = of.said(
        leash,
        r"A right answer of probability ([\d.]+) takes .*? time of (\S+) to find, natural gradient ([\d.]+)\. "
        r"Of several .*? at odds of (\S+) against .*?, of ([\d.]+) under natural gradient\.",
    )
    rate, above = of.said(leash, r"at one of ([\d.]+) the threshold is ([\d.]+) times the law's")
    (name,) = (c["what"] for c in of.all[best]["claims"] if "/ its bound at n" in c["what"])
    num, bound = re.findall(r"n = ([\d.]+)", name)[0], of.claim(best, "/ its bound at n")["measured"]
    return [
        horizon,
        short,
        f"A phrase of base mass {takeover[0]} that pays Δ = 1 more takes over at strength {takeover[1]}, one of "
        f"{plain(takeover[2])} at {takeover[3]}",
        f"Within {within} times the law's strength (policy gradient: learning rate × steps up to {times} times as "
        f"much) gates and experts together found the phrase down to base mass {natural} by natural gradient, {vanilla} "
        "by policy gradient",
        f"A right answer of probability {found[0]} takes policy gradient a time of {plain(found[1])} to find, natural "
        f"gradient {found[2]}",
        f"Of several right answers the second likeliest ends at odds of {plain(found[3])} against the first under "
        f"policy gradient, of {found[4]} under natural gradient",
        f"at a learning rate of {rate} the threshold is {above} times the law's",
        f"KL is {bound:.3f} of it at n = {float(num):.2f} with normal errors",
    ]


def of_power(of: Shipped) -> list[str]:
    """The e-value's law, in the world of the map and in a random one."""
    number = r"(\d\.\d+) ± (\d\.\d+)"
    fits = rf"power exceeds its normal law by {number}, mean; with 16 and more a case misses it by {number}"
    few, error, many, error_many = of.said(f"{LARRY}/detectors", fits)
    random = of.said("markov/detectors", fits)
    assert float(error_many) == 0, "else it can be printed as it is"
    worst, other = (of.claim(f"{world}/detectors", "power - normal law by tenths") for world in (LARRY, "markov"))
    stop = of.claim(f"{LARRY}/detectors", "mixture: stopping time")
    return [
        f"From 16 samples a prompt on a case misses the law's power by {many} (standard error below 0.005), in a "
        f"random world by {random[2]} ± {random[3]}; in the worst tenth of powers the mean is off by "
        f"{worst['measured']:.3f} and {other['measured']:.3f}",
        f"in a random world power exceeds the law by {random[0]} ± {random[1]} with 4 samples a prompt; with the "
        f"people of the map by {few} ± {error}, no more than it is off with many samples",
        f"stops after {stop['measured']:.2f} ± {stop['uncertainty']:.2f} times ln(1/α)/d samples",
    ]


def detectors_table(of: Shipped) -> list[str]:
    """Rows of docs/detectors.md: of each detector and model, alarms inside / power outside."""
    columns = [readme_numbers.alarms(of, world, model) for world in (LARRY, "markov") for model in MODELS]
    return [
        f"| {name} | {' | '.join(' / '.join(each[name]) if name in each else '–' for each in columns)} |"
        for name in columns[1]
    ]


def sentences() -> list[str]:
    """Each sentence, or the part of one that has numbers; those of the README among them."""
    of, readme = Shipped(), readme_numbers.sentences()
    law, _, rest = readme["detectors"].partition("mixes")
    assert law == "not from what people watch: of "
    inside, _, seen = rest.partition("; ")
    shown, _, better = seen.partition(". ")
    return [
        *of_weak_rl(of),
        *of_strong_rl(of),
        *of_power(of),
        *detectors_table(of),
        f"mixes{inside}",
        shown,
        *re.split(r"[.;] (?=[a-zA-Z])", better),
        *(part for name, text in readme.items() if name != "detectors" for part in re.split(r"\. (?=[A-Z])", text)),
    ]
