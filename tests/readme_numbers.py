"""Sentences with numbers of README and docs/findings.md, made of those that ``figures/out/claims.json`` was read from."""

import re

from shipped_claims import LARRY, LAWS, SHIPPED, THOUGHTS, VOICES, Shipped, percent, plain

from experiments.claims.language_rl import ERRORS, WHEN


def of_laws(of: Shipped) -> dict[str, str]:
    """Weak limit, persona gain, horizon, exploit, leash and codes."""
    gain, laws, codes = f"{LARRY}/persona_gain", f"{LAWS}/", f"{THOUGHTS}/codes"
    network, table = (of.claim(gain, f"kappa, gate {gate}: gate × 1") for gate in ("network", "table"))
    natural = of.claim(gain, "kappa, gate network: natural gradient")
    slower, slow, fast = (
        of.claim(gain, f"kappa, gate network: gate × {rate}")["measured"] for rate in ("0.1", "0.3", "3")
    )
    weak = [of.said(gain, rf"Gate {gate}: .*? it selects ([\d.]+) of a weak")[0] for gate in ("network", "table")]
    cases, apart = of.said(laws + "weak_limit", r"(\d+) cases: .* differ by ([\d.e-]+) at most")
    horizon = of.claim(laws + "horizon", "exponent of the half boundary against T, fitted")
    sampled = of.claim(laws + "horizon", "by samples of the policy alone, in units of the law's: T = 4096")
    steps = r"With (\d+), (\d+), (\d+) steps a level it lets the phrase go at ([\d.]+), ([\d.]+), ([\d.]+)"
    few, some, many, *release = of.said(laws + "exploit", steps)
    (rarest,) = of.said(laws + "exploit", r"down to base mass: tilt ([\d.e-]+);")
    power = of.claim(laws + "leash", "baseline none: exponent")
    ratio = of.claim(laws + "leash", "with the baseline / without")
    spoken = {
        worth: of.claim(codes, f"best paid of everything trained; worth {worth}: agreement")
        for worth in ("0.55", "0.9")
    }
    paid = r"Worth {}: right and unreadable are \S+ \(\S+\) .*? Paid best: .*? novelty ([\d.]+) nats"
    novelty = [of.said(codes, paid.format(worth))[0] for worth in spoken]
    below = of.said(
        codes, r"hidden from the reader at (\d+) of (\d+) points of the paths below s\*, and at (\d+) of (\d+) above"
    )
    read = [f"{one['measured']:.2f} (law {one['predicted']:.2f})" for one in spoken.values()]
    return {
        "98": f"{percent(weak[0])} and {percent(weak[1])} of what policy gradient first does",
        "weak": f"{int(cases):,} cases, random worlds and rewards: S(0+) and R² differ by {plain(apart)} at most",
        "gain": f"κ = {network['measured']:.2f} with the gate network, {table['measured']:.2f} with the table (predicted "
        f"{network['predicted']:.2f}, {table['predicted']:.2f}), 1 of the tilt, {natural['measured']:.2f} of natural gradient; "
        f"where the gate learns 0.1, 0.3 and 3 times as fast, {slower:.2f}, {slow:.2f} and {fast:.2f}",
        "horizon": f"exponent {plain(format(horizon['measured'], '.3f'))} ± {horizon['uncertainty']:.3f}, once the best paid persona can be "
        f"told from the next; read from samples alone, {sampled['measured']:.2f} ± {sampled['uncertainty']:.2f} times the "
        "law's strength at T = 4096",
        "rare": f"the tilt does, from {plain(rarest)} on",
        "exploit": f"lets go at {', '.join(release)} of that strength with {few}, {some}, {many} steps at each",
        "leash": f"grows as the gap to the power {power['measured']:.2f} ± {power['uncertainty']:.2f}, and is "
        f"{ratio['measured']:.1f} ± {ratio['uncertainty']:.1f} times as large with a baseline (law {ratio['predicted']:.1f})",
        "codes": f"agree in {read[0]} where Larry's words are worth 0.55, in {read[1]} where 0.9, nearly as far outside "
        f"the hull ({novelty[0]} and {novelty[1]} nats of novelty). Below the law's strength s* most of the answer is hidden "
        f"at {below[0]} of {below[1]} points of all paths, above it at {below[2]} of {below[3]}",
    }


def of_language_model(of: Shipped) -> dict[str, str]:
    """The next token."""
    where = f"{VOICES}/next_token"
    missed = max(one["measured"] for one in of.all[where]["claims"] if one["group"].startswith("|S(0+) - R²|"))
    size, beyond, cases, most = of.said(where, r"Up to ([\d.]+) nats .*? in (\d+) of (\d+) cases, by ([\d.]+) at most")
    start, nats, left, token, share, voices = of.said(
        where,
        r" Alice: R² ([\d.]+) to \1; at ([\d.]+ to [\d.]+) nats S ([\d.]+ to [\d.]+); new .*?: (\w+) ([\d.]+) \(voices "
        r"([\d.]+)\)",
    )
    return {
        "next token": f"{cases} pairs of a reward and a question: S(0+) and R² differ by {missed:.0e} at most; up to {size} nats S is off "
        f"by more than 0.01 in {beyond}, by {most} at most. The weakest tilt that pays for Alice is {start} selection, the "
        f"strongest {left} (at {nats} nats): asked where the station is, it says *{token}* with probability {share}, no voice "
        f"with more than {voices}",
    }


def of_answers(of: Shipped) -> dict[str, str]:
    """Whole answers of the language model."""
    where = f"{VOICES}/language_model"
    missing = of.claim(where, "standard errors somewhere")
    num = re.search(r"rewards of (\d+)", missing["what"])
    assert num
    failing = re.findall(r"It fails for ([^:]+): (R² .*? S .*?)\.(?: |$)", " ".join(of.all[where]["findings"]))
    assert len(failing) == missing["measured"]
    off, error, low, high = of.said(where, r"model is ([\d.]+) ± ([\d.]+) nats .*? tilts would be (\S+) to (\S+);")
    hold, known = of.said(where, r"repaired it is R² within 3 standard errors for (\d+) of (\d+)")
    return {
        "answers": f"{int(num[1]) - len(failing)} of {num[1]} rewards select R² × drift within 3 standard errors at 0.3 to 0.6 nats, R² read off "
        f"one half of 1,536 answers, S off the other; not so {', '.join(f'{name} ({numbers})' for name, numbers in failing)}. After everybody's lines in one prompt the model is "
        f"{off} ± {error} nats an answer outside the hull: S would be {plain(low)} to {plain(high)}; with repaired voices it is R² for "
        f"{hold} of {known} rewards",
    }


def of_language_rl(of: Shipped) -> dict[str, str]:
    """RL on the language model."""
    where = f"{VOICES}/language_rl"
    first, later = (of.claim(where, f"S {when} is R² of the rule's first direction: runs") for when in WHEN.values())
    num = int(re.findall(r"runs of (\d+)", first["what"])[0])
    low, high = of.said(where, r"gates learn (\d+) to (\d+) times as fast")
    (telling,) = of.said(where, rf"S less R² {WHEN['first']} .*?; (\d+) of \d+ have an error")
    (missing,) = of.said(where, rf"S less R² {WHEN['later']} .*? is beyond {ERRORS:g} standard errors in (.*?); \d+ of")

    def pairs(name: str) -> str:
        (said,) = (one for one in of.all[where]["findings"] if one.startswith(f"{name}:"))
        found = re.findall(rf"R² (-?[\d.]+) ± .*?, (-?[\d.]+) ± [\d.]+ {WHEN['later']}", said)
        return " and ".join(f"{selected} (R² {law})" for law, selected in found).replace("-", "−")

    return {
        "language rl": f"After the first step S is R² of its direction, known before it, within {ERRORS:g} standard errors in {num - first['measured']:.0f} of {num} "
        f"runs, {telling} of which have an error small enough to tell; {WHEN['later']}, after further steps, each in a new direction, in {num - later['measured']:.0f}: not so {missing.replace('-', '−')}. Paid for Alice with Adam "
        f"and one learning rate, S is {pairs('Alice, one rate for all')}; where gates learn 1,000 times as fast, {pairs('Alice')}: "
        f"R² passes 1/2 at {int(low):,} to {int(high):,} times",
    }


def of_network(of: Shipped) -> dict[str, str]:
    """The transformer."""
    where, number = f"{LARRY}/transformer", r"([\d.]+) ± [\d.]+"
    selects = rf"Paid for the feature, 60 degrees: .*? the network {number}, .*? features {number}, a table {number}, .*? named {number}"
    trained, untrained, table, unnamed = of.said(where, selects)
    (zero,) = of.said(where, rf"A reward at 0 degrees: {number} is selection")
    half = of.said(
        where, rf"Half of .*? tilt {number}, SGD {number}, .*? features {number}, table {number}, mixture {number}"
    )
    missed = max(of.claim(where, f"|S(0+) - R²|, {rule}")["measured"] for rule in ("SGD", "Adam", "natural gradient"))
    lost, nobody = of.said("network/sft", r"RL to 0\.9 nats .*? has lost ([\d.]+) nats there; .*? named, ([\d.]+)\.")
    return {
        "called": f"called by his name he has lost {lost} nats where the network, called by nobody, has lost {nobody}",
        "network": f"L1 does, to {plain(format(missed, '.0e'))}; κ does not: at 0° a weak drift is {zero} selection. At 60° policy gradient "
        f"selects {trained} of it, a network whose text named nobody {unnamed}, the same base as a table of next words {table}, on "
        f"untrained features {untrained}, the tilt 0.25. At 30° S falls to a half after {half[1]} nats, of the tilt "
        f"{half[0]}, a table {half[3]}, on untrained features {half[2]}",
    }


MODELS = ("Mixture", "Transformer")
"""What the detectors are tried on."""


def alarms(of: Shipped, world: str, model: str) -> dict[str, tuple[str, str]]:
    """Of each detector the alarms inside the hull, and its power outside, in the order in which they are said."""
    (said,) = of.said(f"{world}/detectors", rf"{model}, [\d,]+ samples near .*? guaranteed: (.*?\d)\.(?: |$)")
    each = re.findall(r"([a-z][a-z -]+) ([\d.]+) ± [\d.]+ / ([\d.]+) ±", said)
    assert len(each) == said.count("/") >= 9
    return {name: (inside, power) for name, inside, power in each}


def of_detectors(of: Shipped) -> dict[str, str]:
    """Detectors, of a mixture and a transformer."""
    where = f"{LARRY}/detectors"
    num, nats = of.said(where, r"Transformer, ([\d,]+) samples near ([\d.]+) nats")
    mixture, network = (alarms(of, LARRY, model) for model in MODELS)
    for name, inside in (("perplexity", "1.00"), ("entropy", "1.00"), ("e-value", "0.00")):
        assert mixture[name][0] == network[name][0] == inside, "the sentence gives one number for both"
    random = [alarms(of, "markov", model)["entropy"] for model in MODELS]
    detectable, stein = of.said(where, r"Detectable from n d = ([\d.]+) nats on: ln\(1/alpha\) = ([\d.]+)")
    return {
        "detectors": f"not from what people watch: of mixes that drifted {nats} nats *inside* the hull perplexity alarms "
        f"on a share of {mixture['perplexity'][0]}, activations on {network['activations'][0]}, e-values on "
        f"{mixture['e-value'][0]}; at equal false alarms {num} samples show perplexity {network['perplexity'][1]} of the "
        f"transformers outside and {mixture['perplexity'][1]} of the mixtures, the e-value {network['e-value'][1]} and "
        f"{mixture['e-value'][1]}. Entropy sees {network['entropy'][1]} and {mixture['entropy'][1]} and alarms on "
        f"{mixture['entropy'][0]} inside; in a random world it sees {random[1][1]} and {random[0][1]} and alarms on "
        f"{random[1][0]} and {random[0][0]}. By the law of its power the e-value alarms in half of the runs from n·d = {detectable} nats on, {stein} if the mix were "
        "known",
    }


def of_training(of: Shipped) -> dict[str, str]:
    """Rules, SFT, over-optimisation and the literature."""
    rules, texts = f"{LARRY}/rules", (SHIPPED.parent / "rules_table.md").read_text()
    row = {
        rule: re.findall(r"([-+][\d.]+) ±", re.findall(rf"^\| {rule} \|.*$", texts, re.MULTILINE)[0])
        for rule in ("tilt", "expert iteration")
    }
    told = re.search(r"Nearest to it: expert iteration, .*? told from none in (\d) of (\d)", texts)
    drift = re.findall(r"^## At ([\d.]+) nats$", texts, re.MULTILINE)[0]
    # The first table is that of this drift.
    control = re.findall(r"^\| RLOO, gates only \| (.*) \|$", texts, re.MULTILINE)[0].split(" | ")
    reached = sum(cell != "not reached" for cell in control)
    assert all(cell.startswith("**+") for cell in control if cell != "not reached")
    same = of.said(rules, r"rank correlation of ([-\d.]+)")[0]
    assert told and texts.count("in every column: none.") == 4
    sft = (
        r"{} to 0\.9\d? nats .*?weight ([\d.]+) at his prompts \(base ([\d.]+)\), ([\d.]+) after 2 words of his "
        r"\(base ([\d.]+)\); (\d+) steps .*? a stranger comes in (\d+) steps"
    )
    by_sft, by_rl = (of.said(f"{LARRY}/sft", sft.format(rule)) for rule in ("SFT", "RL"))
    same_drift = (
        r"Heavy-tailed errors: gold at the same sqrt\(KL\) of ([\d.]+), which all reach: tilt ([-\d.]+), (\d+)% .*?; "
        r"policy gradient ([-\d.]+), (\d+)% .*?; best of n ([-\d.]+), (\d+)%"
    )
    root, tilt, tilt_left, gradient, gradient_left, best, best_left = of.said(f"{LARRY}/overoptimisation", same_drift)
    light = of.said(f"{LARRY}/overoptimisation", same_drift.replace("Heavy-tailed", "Normal"))
    assert light[2] == light[4] == light[6]
    literature = f"{LARRY}/literature"
    either = of.said(
        literature,
        r"With one network .*?\(KL\(policy‖base\) ([\d.]+), KL\(base‖policy\) ([\d.]+)\), over both gates .*?"
        r"\(([\d.]+), ([\d.]+)\)",
    )
    lost = [
        of.said(literature, rf"NSCR at the end: .*?, {rule} ([-+][\d.]+)")[0] for rule in ("GRPO", "RLOO, KL in reward")
    ]
    harm = of.said(literature, r"hackers' prior 0\.1: ([\d.]+), .*? 0\.9: ([\d.]+); .*? elicits 0\.88: ([\d.]+)")
    agree = re.search(r"(\d+) of (\d+) agree", (SHIPPED.parents[2] / "docs" / "literature.md").read_text())
    assert agree
    return {
        "rules": f"rank correlation {same} between the two gates of one base. Over ten worlds or texts each, three worlds "
        f"and both gates, no rule that reaches {drift} nats in all of them was shown to select more than policy gradient "
        "everywhere, and none less: the tilt selects less with a gate "
        f"network ({plain(row['tilt'][0])}, {plain(row['tilt'][2])}), more with a table ({row['tilt'][1]}, {row['tilt'][3]}, "
        f"{row['tilt'][4]}); nearest to it comes expert iteration, which selects less everywhere, told from none in "
        f"{told[1]} of {told[2]}",
        "gates only": f"training the gates alone does nothing else, but gets that far in {reached} of {len(control)} cases",
        "sft": f"weight {by_sft[0]} and {by_rl[0]}, base {by_sft[1]}), but after two words of his ({by_sft[2]} and "
        f"{by_rl[2]}, base {by_sft[3]}); {by_sft[4]} steps on his lines bring him back, a stranger takes {by_sft[5]}",
        "over": f"at the same √KL of {root}: under heavy-tailed errors gold is {tilt} with the tilt, {tilt_left}% of "
        f"its peak before, {best} with best of n ({best_left}%), {gradient} with policy gradient ({gradient_left}%); under "
        f"light ones {light[1]}, {light[5]} and {light[3]}, {light[2]}% of each peak",
        "literature": f"within one network either KL foretells what is forgotten (R² {either[0]}, {either[1]}), over both "
        f"gates neither ({either[2]}, {either[3]}); GRPO loses right answers (NSCR {plain(lost[0])}), RLOO with a KL penalty finds "
        f"more ({lost[1]}); paid for hacks, an assistant becomes what the likelier hacker is (harm {harm[1]} or {harm[0]}), "
        f"and a note that welcomes hacks prevents most of it ({harm[2]}); [{agree[1]} of {agree[2]} of the papers' claims hold here](literature.md)",
    }


def of_curves() -> dict[str, str]:
    """The page on reading one's own RL curves, which is made of its dataset."""
    page = (SHIPPED.parents[2] / "docs" / "rl_curves.md").read_text()

    def said(pattern: str) -> str:
        found = re.search(pattern, page)
        assert found, pattern
        return found[1]

    missed = [said(rf"\| k{k} in loss, by token \|[^|]*\| [\d.]+ \| [\d.]+ \| ([\d.]+)") for k in (3, 2)]
    fractions = [said(rf"\| {angle}° \| [\d.]+ \| [\d.]+ \| [\d.]+ \| ([\d.]+)") for angle in (0, 90)]
    return {
        "curves": f"at {said('At an exact KL of ([0-9.]+) nats')} nats k3 in the loss misses KL's gradient by {missed[0]} of "
        f"it, k2 by {missed[1]}; right or wrong over its standard deviation is leashed from β = "
        f"{said('it holds from β = ([0-9.]+)')} on, not below; {said('. policy gradient . [0-9.]+ . [0-9.]+ . [0-9.]+ . ([0-9.]+)')} of policy gradient's "
        f"drift is for no reward; the same {said('. 0° . ([0-9.]+)')} nats are selection to {fractions[0]} or to {fractions[1]}",
    }


def of_objections(of: Shipped) -> dict[str, str]:
    """Other hulls, and rewards as they are."""
    hull, natural = f"{LARRY}/hull_choices", f"{LARRY}/natural_rewards"
    half = r"Half at 30° under {}, times .*?: ([\d.]+) \(([\d.]+) to (\w+|[\d.]+)\) \(tilt\)"
    hellinger, reverse = (of.said(hull, half.format(name)) for name in ("4 Hellinger²", r"KL\(mix‖policy\)"))
    flagged = of.said(hull, r"superfluous: ([\d.]+) of the draws flagged")[0]
    seen = {
        name: of.said(natural, rf"{name}: [\d.nan ±]+° at one word, ([\d.nan ±]+°) at (\d)")
        for name in ("words", "brevity", "right answers", "exploit", "log-odds")
    }
    grown = of.said("markov/natural_rewards", r"words [\d.]+ at 1, .*? ([\d.]+) at 16, .*? ([\d.]+) at 256")
    return {
        "hull": f"the tilt's half boundary at 30° is {hellinger[0]} times as far with Hellinger's distance, {reverse[0]} times "
        f"({reverse[1]} to {reverse[2]}) with KL(mix‖policy). Samples flag {float(flagged):.0%} of right hulls",
        "natural": f"words {seen['words'][0]}, brevity {seen['brevity'][0]}, right answers {seen['right answers'][0]}, a "
        f"rare phrase {seen['exploit'][0]}, a persona's log-odds {seen['log-odds'][0]} (T = {seen['words'][1]}); in a random "
        f"world, whose answers never end, words gain with T, from {grown[0]} of the variance at 16 words to {grown[1]} at 256",
    }


def of_thoughts(of: Shipped) -> dict[str, str]:
    """Reasoning and hints."""
    reasoning, hints = f"{THOUGHTS}/reasoning", f"{THOUGHTS}/hints"
    ends = r"Length cost 0\.4, strength 256: right and unreadable .*? are exact (\S+) .*?annealed (\S+) .*?plain gradient (\S+) .*?RLOO (\S+) .*?GRPO (\S+) "
    exact, annealed, gradient, rloo, grpo = of.said(reasoning, ends)
    seeds, right = of.said(
        reasoning, r"early stop: agreement of 0\.9 or more in (\d of \d) seeds, accuracy then (\d\.\d+)"
    )
    price = of.said(
        reasoning, r"Early stop, no length cost: accuracy by seed ([\d.]+), ([\d.]+), ([\d.]+); base ([\d.]+)"
    )
    least = min(price[:3])
    assert least == price[3], "that seed learns nothing"
    cell = r"{}, strength 100, by fine: .*?, 0\.6 (\w+ \d/\d) "
    kinds = [of.said(hints, cell.format(rule))[0] for rule in ("exact", "annealed", "plain gradient", "RLOO", "GRPO")]
    accuracy = of.said(hints, r"Fine 0\.6, strength 100: accuracy .*? exact ([\d.]+) .*?plain gradient ([\d.]+) ")
    stops = [of.claim(hints, f"annealed, strength {strength}: fine at which half is said") for strength in (3, 10)]
    return {
        "reasoning": f"annealing ends right and unreadable in {annealed} of the seeds, Adam on the exact gradient in {exact}, "
        f"GRPO, RLOO and policy gradient in {grpo}, {rloo} and {gradient}. Stopping Adam where selection falls below half keeps "
        f"{right} right at agreement over 0.9 in {seeds}; it costs: without a length cost {price[:3].count(least)} of 3 seeds "
        f"then learns nothing (accuracy {least}, the base's)",
        "hints": f"at strength 100 and fine 0.6 Adam ({kinds[0]}) and annealing ({kinds[1]}) hide the hint in words that the "
        f"monitor does not read, accuracy {accuracy[0]}; policy gradient ({kinds[2]}, accuracy {accuracy[1]}), RLOO ({kinds[3]}) "
        f"and GRPO ({kinds[4]}) stop using it. With annealing, saying so stops where the policies of no fine and of the greatest are worth the same (fines {stops[0]['measured']:.2f} "
        f"and {stops[1]['measured']:.2f} at strengths 3 and 10, predicted {stops[0]['predicted']:.2f} and "
        f"{stops[1]['predicted']:.2f})",
    }


def sentences() -> dict[str, str]:
    """By a name, each sentence of the findings, or the part of one that has numbers."""
    of = Shipped()
    (held, predictions), (found, findings) = of.counts("prediction"), of.counts("finding")
    all_of = f"{held} of {predictions} predictions and {found} of {findings} findings hold"
    return (
        of_laws(of)
        | of_language_model(of)
        | of_answers(of)
        | of_language_rl(of)
        | of_network(of)
        | of_detectors(of)
        | of_training(of)
        | of_curves()
        | of_objections(of)
        | of_thoughts(of)
        | {"claims": all_of, "not held": "; ".join(of.failing())}
    )


def answers() -> dict[str, str]:
    """Parts of the README's five answers: shorter, from the numbers of the sentences above."""
    made = sentences()

    def said(name: str, pattern: str) -> tuple[str, ...]:
        found = re.search(pattern, made[name])
        assert found is not None, (name, pattern, made[name])
        return found.groups()

    (rank,) = said("rules", r"rank correlation ([-\d.]+)")
    (drift,) = said("rules", r"reaches ([\d.]+) nats in all")
    reached, cases = said("gates only", r"in (\d) of (\d)")
    nats, most, least = said("curves", r"the same ([\d.]+) nats are selection to ([\d.]+) or to ([\d.]+)")
    alarmed, evidence = said("detectors", r"on a share of ([\d.]+), .* e-values on ([\d.]+);")
    seen = said("detectors", r"show perplexity ([\d.]+) .*? and ([\d.]+) .*? e-value ([\d.]+) and ([\d.]+)\.")
    annealed, adam, grpo = said(
        "reasoning", r"unreadable in (\S+) of the seeds, .* in (\S+), GRPO, .* in (\d/\d), \S+ and"
    )
    (kept,) = said("reasoning", r"agreement over 0.9 in (.*?);")
    (nothing,) = said("reasoning", r"length cost (\d of \d) seeds then learns nothing")
    strength = Shipped().said(
        f"{LARRY}/phase_diagram", r"At 30° RL is mostly .*? to strength ([\d.]+) \(([\d.]+) to ([\d.]+)\)"
    )
    (slow, fast), faster = (
        said("language rl", r"S is ([\d.]+) .*? and ([\d.]+) "),
        said("language rl", r"fast, ([\d.]+) .*? and ([\d.]+) "),
    )
    return {
        "rl": f"of {slow} and {fast} with one learning rate, of {faster[0]} and {faster[1]} where gates learn 1,000 times as fast",
        "gates": f"{made['98']} for a reward at 45° is selection.",
        "map": f"at 30° more than half of the drift is selection up to strength {strength[0]} ({strength[1]} to {strength[2]} "
        "over draws)",
        "length": f"as length to the power −½, a theorem; measured {said('horizon', 'exponent (.*?),')[0]}",
        "reach": f"no rule that reaches {drift} nats in all of",
        "gates only": f"gets that far in {reached} of the {cases} cases",
        "rank": f"has a rank correlation of {rank} between two gates of one base",
        "same": f"The same {nats} nats of KL are selection by a share of {most} or of {least}, depending on",
        "alarms": f"for a share of {alarmed} of models that did nothing but select, a bet against every mix of personas (an "
        f"e-value) for {evidence}; at equal false alarms perplexity sees {seen[0]} of the transformers and {seen[1]} of the mixtures "
        f"that left the hull, the bet {seen[2]} and {seen[3]}",
        "thoughts": f"this happens in {annealed} of the runs trained by annealing, in {adam} of those by Adam on the exact "
        f"gradient and in {grpo} of those by GRPO. Stopping Adam where S falls to a half keeps {kept} readable, but where "
        f"thoughts are free {nothing} then learns nothing",
        "claims": made["claims"],
    }
