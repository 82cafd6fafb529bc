"""The page on reading one's own RL curves: questions from trainers' issue trackers; its numbers are the dataset's."""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from scipy import stats

from experiments.claims import rl_curves as readings
from figures.literature_table import number
from toypersona import datasets

TRACKERS = {
    "trl": "huggingface/trl",
    "verl": "verl-project/verl",
    "OpenRLHF": "OpenRLHF/OpenRLHF",
    "open-instruct": "allenai/open-instruct",
    "open-r1": "huggingface/open-r1",
    "NeMo RL": "NVIDIA-NeMo/RL",
    "rllm": "rllm-org/rllm",
}
TRUE = "KL(policy‖base)"


def asked(*threads: tuple[str, int]) -> str:
    """Links to threads, by tracker and number; GitHub sends the number of a pull request on to it."""
    links = (f"[{name} #{at}](https://github.com/{TRACKERS[name]}/issues/{at})" for name, at in threads)
    return f"*Asked in {', '.join(links)}.*"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def plain(values: xr.DataArray, digits: int = 2) -> str:
    """Mean over draws, without the sign of what is rounded to 0."""
    return f"{round(readings.mean(values), digits) + 0.0:.{digits}f}"


def signed(values: xr.DataArray, digits: int = 2) -> str:
    """Mean over draws with its sign."""
    return f"{readings.mean(values):+.{digits}f}"


def _negative(dataset: xr.Dataset) -> list[str]:
    size, often = dataset.batch.values[-1], 0.05
    product = 2 * stats.norm.isf(often) ** 2
    small, large = dataset.isel(time=1), dataset.isel(time=-1)
    own = dataset.logged_negative.sel(sampler="the policy", estimator="k1", level="response")
    first = table(
        ("exact KL, nats a response", "words below 0", "responses below 0", f"batches of {size} below 0", "law"),
        (
            (
                plain(dataset.path_drift.sel(time=time), 3),
                *(plain(values.sel(time=time)) for values in (dataset.negative_tokens, own)),
                *(plain(values.sel(time=time, batch=size)) for values in (dataset.negative, dataset.negative_law)),
            )
            for time in dataset.time.values
        ),
    )
    by = lambda at, name, who: signed(at.logged_mean.sel(sampler=who, estimator=name, level="token"))  # noqa: E731
    drifts = [plain(at.path_drift) for at in (small, large)]
    second = table(
        ("who sampled", *(f"{name}, KL is {drift}" for drift in drifts for name in ("k1", "k3"))),
        (
            (who, *(by(at, name, who) for at in (small, large) for name in ("k1", "k3")))
            for who in dataset.sampler.values
        ),
    )
    return [
        "## 1. Why is my KL negative?",
        asked(("trl", 351), ("trl", 925), ("open-instruct", 1473)),
        "",
        "**Noise, if it is small and changes sign; somebody else's samples, if it stays.** What is logged is k1, the "
        "mean of log π/π₀ over samples. Near the base it has mean KL and variance 2 KL, so the mean of n responses is "
        f"negative with probability Φ(−√(n KL/2)): in more than {often:.0%} of the batches where KL is below "
        f"{product:.1f}/n nats.",
        "",
        *first,
        "",
        "If responses come from another sampler q than the π that is scored, k1 has the mean **KL(q‖base) − "
        "KL(q‖policy)**, exactly, and is negative whenever q is nearer to the base: stale weights; early in training "
        "also a hot temperature or a smallest length. Sharper sampling (low temperature, top-k) makes it too large. k3 "
        "cannot be negative, so it hides this, and off-policy it explodes.",
        "",
        *second,
        "",
        "*Do:* compare log-probabilities of sampler and trainer on the same tokens before anything else; look at "
        "mean ± standard error; do not switch to k3 or |k1| to silence a warning.",
    ]


def _entropy(dataset: xr.Dataset) -> list[str]:
    gained = readings.entropy_gained(dataset)
    times, same = dataset.time.values, np.sign(gained.isel(time=0)) == np.sign(dataset.surprise)
    least = float(abs(gained.isel(time=0)).where(~same).max())
    rows = (
        (name, signed(dataset.surprise.sel(asked=name)), *(signed(gained.sel(asked=name, time=time)) for time in times))
        for name in dataset.asked.values
    )
    return [
        "## 2. Why does entropy rise?",
        asked(("verl", 2738), ("verl", 651)),
        "",
        "**Because what is paid surprises the model more than what it says by itself.** To first order entropy "
        "changes by Cov(reward, −log π): a base that is narrow, paid for something outside of its habits, gets "
        "broader first and narrower once the new habit is learnt. By itself rising entropy is neither exploration "
        "nor a bug.",
        "",
        *table(("paid for", "Cov(r, −log π₀)", *(f"gained by time {time:g}" for time in times)), rows),
        "",
        f"(nats; the base has {plain(dataset.base_entropy)}; exact policy gradient. At the first time the sign is "
        f"Cov's in {int(same.sum())} of {same.size} draws and rewards; the others move by {least:.3f} nats at most.)",
        "",
        "*Do:* log Cov(advantage, −log π) of every batch, from numbers that you have already: it says which way "
        "entropy goes next, and which responses push it.",
    ]


def _pulls(dataset: xr.Dataset) -> list[str]:
    at = dataset.isel(time=2)
    own = {way: target for target, ways in readings.ITS_OWN.items() for way in ways}
    named = {
        TRUE: "KL(policy‖base)",
        "KL(base‖policy)": "KL(base‖policy)",
        "its next words": "KL(policy‖base) of next words",
        "next words, reversed": "KL(base‖policy) of next words",
    }
    rows = (
        (
            way,
            named[own[way]] if way in own else "nothing",
            plain(at.pull_size.sel(way=way)),
            plain(at.pull_cosine.sel(way=way, target=TRUE)) if way in own else "—",
            plain(at.pull_missed.sel(way=way, target=TRUE)),
            plain(at.pull_noise.sel(way=way), 1),
        )
        for way in dataset.way.values
    )
    logged = at.sel(sampler="the policy")
    cell = lambda name, level: " ± ".join(  # noqa: E731
        plain(values.sel(estimator=name, level=level)) for values in (logged.logged_mean, logged.logged_spread)
    )
    values = ((name, *(cell(name, level) for level in dataset.level.values)) for name in dataset.estimator.values)
    first, last = dataset.isel(time=0), dataset.isel(time=-1)
    off = lambda at: plain(at.pull_missed.sel(target=TRUE, way=readings.BY_K3))  # noqa: E731
    return [
        "## 3. k1, k2 or k3?",
        asked(("trl", 4967), ("NeMo RL", 2506), ("OpenRLHF", 1101), ("trl", 2562)),
        "",
        f"**To log: k1 and k3 are unbiased, k2 is not. To differentiate: k1 does nothing, k3 pulls at the other "
        f"divergence, k2 of whole responses is right.** At an exact KL of {plain(at.path_drift)} nats, mean ± standard "
        "deviation of one response:",
        "",
        *table(("estimator", "words added up", "whole response"), values),
        "",
        "And their gradients, on average over all responses, against that of KL(policy‖base), whose length is 1:",
        "",
        *table(
            ("penalty", "is on average the gradient of", "length", "cosine", "missed by", "noise of one response"), rows
        ),
        "",
        "*By token* forgets that a word decides which words come next: little is lost. *Corrected* is DeepSeek-V3.2's "
        "importance weight. k3's pull is 1 − π₀/π: never above 1 on what RL made likely, without bound on what it made "
        f"rare. It misses {off(last)} of the gradient at {plain(last.path_drift)} nats, {off(first)} at "
        f"{plain(first.path_drift, 3)}: near the base all are alike.",
        "",
        "*Do:* k1 in the reward or k2 in the loss; log k3 beside it.",
    ]  # fmt: skip


def _held(share: float) -> str:
    """A note on a leash that does not hold at every prompt."""
    if share > 0.995:
        return ""
    return f" (holds at {share:.0%} of prompts)" if share > 0.005 else " (never holds)"


def _leashes(dataset: xr.Dataset) -> list[str]:
    rows = (
        (
            f"{paid}, β = {beta:g}",
            *(
                f"{plain(at.end_paid.sel(end=end))} at {plain(at.end_drift.sel(end=end))}"
                + _held(readings.mean(at.end_holds.sel(end=end)))
                for end in dataset.end.values
            ),
        )
        for paid in dataset.paid.values
        for beta in dataset.beta.values
        for at in [dataset.sel(paid=paid, beta=beta)]
    )
    end = dataset.isel(record=-1)
    by = lambda rule: f"{plain(end.rule_paid.sel(rule=rule))} for {plain(end.rule_drift.sel(rule=rule))} nats"  # noqa: E731
    least, coefficient = dataset.least_beta.sel(paid="right or wrong"), datasets.config_of(dataset)["kl_coefficient"]
    return [
        "## 4. KL in the reward or in the loss?",
        asked(("verl", 3276), ("verl", 455), ("OpenRLHF", 768)),
        "",
        "**The same, if the loss has k2 and rewards are not divided by their spread; otherwise three different "
        "leashes.** Where training ends, reward at KL in nats, in closed form:",
        "",
        *table(("reward", *(str(end) for end in dataset.end.values)), rows),
        "",
        "*Holds* means that the penalty stops training before only the best paid answers are left. Elsewhere training "
        "ends with the best paid answers alone: at all prompts (*never holds*), or at all but the share named.",
        "",
        "With k3 in the loss the policy ends at β π₀/(λ − r), λ the number at which these probabilities add up to 1 "
        "(one for each prompt), not at the tilt π₀ exp(r/β): what is paid best is "
        "hardly held, however rare it was. GRPO divides rewards by their standard deviation σ, and a KL in the reward "
        "with them, which ends the same, but not a KL in the loss: as answers get alike σ falls and the leash gets "
        f"longer. For right-or-wrong rewards and large groups it holds from β = {number(least)} on; below, until all "
        f"answers of a group are alike. Sampled RLOO agrees (β = {coefficient:g}, standardised reward): KL in the "
        f"reward ends at {by('RLOO, KL in reward')}, k2 in the loss at {by('RLOO, k2 in loss')}; k1 in the loss at "
        f"{by('RLOO, k1 in loss')}, no KL at {by('RLOO')}.",
        "",
        "*Do:* say β together with where it stands and what rewards are divided by; it is not the same number.",
    ]


def _flat(dataset: xr.Dataset) -> list[str]:
    end, grown = dataset.isel(record=-1), readings.flat(dataset)
    share = readings.unpaid_share(end)
    rows = (
        (
            rule,
            plain((end.rule_paid / end.most_paid).sel(rule=rule)),
            plain(end.rule_drift.sel(rule=rule)),
            plain(end.least.sel(rule=rule)),
            plain(share.sel(rule=rule)),
        )
        for rule in dataset.rule.values
    )
    exact, chance = "policy gradient", "paid by chance"
    return [
        "## 5. Why is reward flat while KL grows?",
        asked(("trl", 204), ("rllm", 94)),
        "",
        "**Because drift goes on that no reward pays for: lock-in, and noise.** Of all policies with your reward the "
        "tilt has the least KL; what you spend beyond it is KL(policy‖that tilt), exactly. Right or wrong, after "
        f"{dataset.record.values[-1]} steps:",
        "",
        *table(("rule", "reward, of the most", "KL, nats", "needed for it", "share unpaid"), rows),
        "",
        "Lock-in: exact policy gradient keeps right answers that were likely, and drops others that pay the same: "
        f"{plain(readings.among_right(dataset).sel(rule=exact))} of its unpaid drift is among right answers. After it "
        f"has {readings.FLAT:.0%} of the most its reward grows by {plain(grown.earned.sel(rule=exact))} of it, KL by "
        f"{plain(grown.spent.sel(rule=exact))} nats. Noise: a rule paid by chance earns nothing and drifts "
        f"{number(end.rule_drift.sel(rule=chance))} nats all the same.",
        "",
        "*Do:* stop at the bend; right-or-wrong rewards of base accuracy p and accuracy a need "
        "a ln(a/p) + (1−a) ln((1−a)/(1−p)) nats, and a KL far above that is not for the reward. A leash cuts lock-in.",
    ]


def _same(dataset: xr.Dataset) -> list[str]:
    at = dataset.isel(drift=-1)
    rows = (
        (
            f"{angle:g}°",
            *(plain(at[name].sel(angle=angle)) for name in ("total", "same_paid", "same_entropy")),
            *(plain(at[name].sel(angle=angle)) for name in ("selection_fraction", "switching", "novelty")),
        )
        for angle in dataset.angle.values
    )
    return [
        "## 6. What does the same KL mean?",
        asked(("open-r1", 373), ("verl", 651)),
        "",
        "**It can be another mix of voices that the base had, or words that none of them says; KL, reward and entropy "
        "do not tell.** Tilts that spend the same KL, from a reward for one persona (0°) to one that tells no persona "
        "from another (90°):",
        "",
        *table(("paid at", "KL, nats", "reward", "entropy", "selection S", "switching, nats", "novelty, nats"), rows),
        "",
        "*Do:* score samples under prompts for each persona and run `toypersona measure` ([how](scoring.md)).",
    ]


PARTS = (_negative, _entropy, _pulls, _leashes, _flat, _same)


def page(dataset: xr.Dataset) -> str:
    """All questions, in Markdown."""
    world, length = (datasets.settings_of(dataset)[name] for name in ("world", "length"))
    lines = [
        "# Reading your own RL curves",
        "",
        "Six questions that are loud in the issue trackers of RL trainers, each with an answer and a twin in which "
        f"every number is exact: all responses of the world {world} are listed, and only where samples are the "
        "question are there any. Written by `figures.rl_curves` from the dataset of `experiments.rl_curves`: means "
        f"over {dataset.sizes['seed']} draws, ± half a 95% interval. π is the policy, π₀ the base. The formulas hold "
        "for any model, the sizes for this one.",
        "",
        f"KL is *a response*: log π/π₀ summed over all words of a response, here {length} with its end mark if it ends "
        "before, averaged over what the policy says and over prompts, in nats. Trainers that average over words "
        "instead log a number that is smaller by the length of the responses.",
        "",
        f"![The same questions, drawn](../figures/out/{world}/rl_curves.png)",
    ]
    for part in PARTS:
        lines += ["", *part(dataset)]
    return "\n".join(lines) + "\n"
