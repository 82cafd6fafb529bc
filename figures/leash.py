"""L5: time to find a rare right answer, which right answer survives, both divergences, and lock-in by noise."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import leash as readings
from experiments.shared.claim import over_draws
from figures import style
from figures.pages import Page, Panel, lettered
from toypersona.measures import boundaries

LOOKS = {"vanilla": ("blue", "-"), "natural": ("orange", "--")}


def draw_times(axis: Axes, dataset: xr.Dataset) -> None:
    """Time to probability one half against the base's."""
    one = dataset.isel(seed=0)
    times = readings.half_times(dataset) * one.law_time
    for rule, (colour, dash) in LOOKS.items():
        axis.plot(one.mass, one.law_time.sel(rule=rule), dash, color=style.COLOURS[colour], label=f"{rule}: law")
        axis.plot(one.mass, times.sel(rule=rule), "o", color=style.COLOURS[colour], ms=4)
    axis.set(xscale="log", yscale="log", xlabel="base probability p₀", ylabel="learning rate × steps to ½")
    axis.legend()


def draw_discovery(axis: Axes, dataset: xr.Dataset) -> None:
    """The right answer's probability on the way, for every base probability."""
    one = dataset.isel(seed=0)
    for rule, (colour, dash) in LOOKS.items():
        for mass in one.mass.values:
            label = rule if mass == one.mass.values[0] else None
            axis.plot(one.fraction, one.found.sel(rule=rule, mass=mass), dash, color=style.COLOURS[colour], label=label)
    axis.plot(1.0, 0.5, "kx", label="law")
    axis.set(xlabel="time / law's time to ½", ylabel="the right answer's probability")
    axis.legend()


def _against_wrong(axis: Axes, ylabel: str) -> None:
    axis.set(xscale="log", yscale="log", xlabel="probability of a wrong answer", ylabel=ylabel)
    axis.invert_xaxis()


def draw_odds(axis: Axes, dataset: xr.Dataset) -> None:
    """Odds of the other right answers against the likeliest."""
    one = dataset.isel(seed=0)
    for rule, (colour, _) in LOOKS.items():
        for other in range(one.sizes["other"]):
            here = one.sel(rule=rule).isel(other=other)
            wrong = 1 - here.right
            axis.plot(wrong, here.odds, "o", color=style.COLOURS[colour], ms=2.5, label=None if other else rule)
            axis.plot(wrong, here.odds_law, "k:", lw=0.8, label="law" if rule == "natural" and other else None)
    _against_wrong(axis, "odds of other right answers")
    axis.legend()


def draw_divergences(axis: Axes, dataset: xr.Dataset) -> None:
    """KL(policy‖base) is bounded, KL(base‖policy) is not."""
    one = dataset.isel(seed=0)
    for rule, (colour, _) in LOOKS.items():
        here = one.sel(rule=rule)
        wrong = 1 - here.right
        axis.plot(wrong, here.from_base, "-", color=style.COLOURS[colour], label=f"{rule}: KL(policy‖base)")
        axis.plot(wrong, here.to_base, "--", color=style.COLOURS[colour], label=f"{rule}: KL(base‖policy)")
        axis.axhline(float(here.limit_from_base), color=style.COLOURS[colour], lw=0.5, ls=":")
    _against_wrong(axis, "nats")
    axis.set_ylim(1e-3, 50)
    axis.legend()


def draw_lock_in(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of REINFORCE's runs without a baseline that settle on the worse answer, with 95% intervals, and the law."""
    share, error = (values.sel(baseline="none") for values in readings.wrong_share(dataset))
    for gap, colour in zip(dataset.gap.values, style.COLOURS.values(), strict=False):
        shares, errors = share.sel(gap=gap), error.sel(gap=gap)
        axis.errorbar(dataset.rate, shares, errors, fmt="o", ms=2.5, lw=0.8, color=colour, label=f"{gap:g}")
    axis.plot(dataset.rate, dataset.noise_law.isel(seed=0, baseline=0, gap=0), "k:", label="law")
    axis.axhline(boundaries.WRONG, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="learning rate / (gap / E[r²])", ylabel="runs settled on the worse")
    style.ticks(axis.xaxis, [0.5, 1, 2, 4])
    axis.legend(title="reward gap")


def draw_threshold(axis: Axes, dataset: xr.Dataset) -> None:
    """The learning rate at which one run of ten is wrong, against the gap."""
    for baseline, colour, name in zip(dataset.baseline.values, ("green", "blue"), ("E[r²]", "Var(r)"), strict=True):
        rates = readings.threshold_rates(dataset).sel(baseline=baseline)
        low, middle, high = (rates.sel(bound=bound) for bound in boundaries.BOUNDS)
        look = {"fmt": "s", "ms": 3.5, "color": style.COLOURS[colour], "label": f"baseline: {baseline}"}
        axis.errorbar(dataset.gap, middle, [middle - low, high - middle], **look)
        law = dataset.threshold.sel(baseline=baseline).isel(seed=0)
        axis.plot(dataset.gap, law, ":", color=style.COLOURS[colour], label=f"law: gap / {name}")
    axis.set(xscale="log", yscale="log", xlabel="reward gap", ylabel="learning rate, 1 in 10 wrong")
    style.ticks(axis.xaxis, dataset.gap.values)
    style.ticks(axis.yaxis, [0.01, 0.03, 0.1, 0.3, 1.0])
    axis.set_ylim(bottom=0.01)
    axis.legend()


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    one, last, first = dataset.isel(seed=0), dataset.isel(record=-1).mean("seed"), "Drawn: the first draw"
    rare, draws = one.mass.values[0], f"{dataset.sizes['seed']} draws"
    times = readings.half_times(dataset)
    took = (times * one.law_time).sel(mass=rare)
    yield Panel(
        draw_times,
        f"A right answer of {rare:g} takes "
        + ", ".join(f"{float(f'{took.sel(rule=rule).item():.2g}'):,g} ({rule})" for rule in LOOKS),
        "Learning rate × steps until the right answer has probability ½, against its probability in the base: measured "
        "(points) and by the law (lines); the same in every draw.",
    )
    low, high = times.min().item(), times.max().item()
    yield Panel(
        draw_discovery,
        f"All reach ½ at {low:.2f} to {high:.2f} of the law's time",
        "The right answer's probability against time, in units of the law's time to ½, for each base probability; "
        "the same in every draw.",
    )
    odds = last.odds.isel(other=0)
    yield Panel(
        draw_odds,
        "The second right answer ends at odds of "
        + ", ".join(f"{odds.sel(rule=rule).item():.2g} ({rule})" for rule in LOOKS),
        "Of several right answers that pay the same, the odds of each other one against the likeliest, while wrong "
        f"answers vanish (to the right); dotted: the laws. {first}; the title: means over {draws}.",
    )
    spent = [f"{last[name].sel(rule='natural').item():.2g}" for name in ("from_base", "to_base")]
    yield Panel(
        draw_divergences,
        f"Natural gradient ends at KL(policy‖base) = {spent[0]}, KL(base‖policy) = {spent[1]} nats",
        "Both divergences while wrong answers vanish; thin dotted: the limits of KL(policy‖base), while "
        f"KL(base‖policy) has none. {first}; the title: means over {draws}.",
    )
    share, _ = readings.wrong_share(dataset)
    missed = abs(share - dataset.noise_law.isel(seed=0)).sel(baseline="none").max().item()
    pooled, bars = f"all {dataset.sizes['seed']} draws pooled", "Bars: 95% interval of the share of runs (binomial)."
    yield Panel(
        draw_lock_in,
        f"Share of runs that settle on the worse of two answers: the law is {missed:.2g} off at most",
        f"Share of REINFORCE's runs, without a baseline, that settle on the worse of two answers, against the learning "
        f"rate in units of the law's, gap / E[r²]; {pooled}.",
        bars,
    )
    slope, error, _ = over_draws(readings.exponents(dataset).sel(baseline="none"))
    yield Panel(
        draw_threshold,
        f"The learning rate that noise allows grows as the gap to the {slope:.2f} ± {error:.1g}",
        f"Learning rate from which one run of ten settles on the worse answer, without and with the mean reward as "
        f"baseline, against the gap between the answers' rewards; {pooled}. The power: ± its standard error.",
        "Bars: 95% interval, from that of the shares.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    return {"": Page("L5: finding, keeping and missing right answers", lettered(*_panels(dataset)), "abc;def", 5.4)}


if __name__ == "__main__":
    style.main("leash", draw, __doc__)
