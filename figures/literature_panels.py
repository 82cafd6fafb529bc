"""The eight panels of the literature's figure: each the curve of a paper, in this world."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import literature as readings
from figures import style
from toypersona.measures import curves, equal_drift

RULES = {
    "policy gradient": "blue",
    "RLOO": "purple",
    "GRPO": "red",
    "RLOO, KL in reward": "green",
    "best of 8": "black",
    "SFT": "orange",
}
GATES = {"network": ("blue", "o"), "table": ("orange", "^")}
WAYS = {"SFT": "--", "RL": "-"}


def _rules(dataset: xr.Dataset) -> dict[str, str]:
    return {rule: colour for rule, colour in RULES.items() if rule in dataset.rule.values}


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """Reward against entropy with the fitted law, first draw, gate network."""
    for rule, colour in _rules(dataset).items():
        here = dataset.sel(gate="network", rule=rule).isel(seed=0)
        price, ceiling = curves.entropy_law(here.token_entropy.values, here.reward.values).coefficients
        entropy = np.linspace(here.token_entropy.min().item(), here.token_entropy.max().item(), 50)
        axis.plot(here.token_entropy, here.reward, "o", ms=2.5, color=style.COLOURS[colour], label=rule)
        axis.plot(entropy, ceiling - price * np.exp(entropy), ":", lw=0.8, color=style.COLOURS[colour])
    axis.set(xlabel="entropy, nats/token", ylabel="reward, std. dev.")
    axis.legend()


def draw_gold(axis: Axes, dataset: xr.Dataset) -> None:
    """Gold along policy gradient and best of n under normal errors with both forms, first draw."""
    for rule, colour in {"policy gradient": "blue", "best of n": "orange"}.items():
        here = dataset.sel(error="normal", gold_rule=rule).isel(seed=0)
        root = np.sqrt(here.gold_drift.values)
        axis.plot(root, here.gold, "o", ms=2, color=style.COLOURS[colour], label=rule)
        at = np.linspace(root[0], root[-1], 100)
        first, second = (form(root, here.gold.values).coefficients for form in (curves.best_of_n_form, curves.rl_form))
        axis.plot(at, at * (first[0] - first[1] * at), "-", lw=0.8, color=style.COLOURS[colour])
        axis.plot(at, at * (second[0] - second[1] * np.log(at)), ":", lw=1.0, color=style.COLOURS[colour])
    axis.plot([], [], "k-", lw=0.8, label="d (α − β d)")
    axis.plot([], [], "k:", lw=1.0, label="d (α − β ln d)")
    axis.set(xlabel="d, √nats", ylabel="gold, std. dev.")
    axis.legend()


def draw_forgotten(axis: Axes, dataset: xr.Dataset) -> None:
    """What is forgotten against KL(base‖policy): every rule and record, means over draws."""
    mean = readings.learnt(dataset).mean("seed")
    for gate, (colour, marker) in GATES.items():
        here = mean.sel(gate=gate)
        axis.plot(
            here.to_base.values.ravel(), here.forgotten.values.ravel(), marker, ms=1.8, color=style.COLOURS[colour]
        )
        axis.plot([], [], marker, ms=3, color=style.COLOURS[colour], label=f"gate {gate}")
    axis.set(xscale="log", xlabel="KL(base‖policy), nats", ylabel="answers by another persona")
    axis.legend()


def draw_equal_reward(axis: Axes, dataset: xr.Dataset) -> None:
    """What is forgotten against the reward: SFT and RL, means over draws."""
    mean = dataset.mean("seed")
    for rule, colour in _rules(dataset).items():
        for gate, dash in zip(GATES, ("-", ":"), strict=True):
            here, label = mean.sel(rule=rule, gate=gate), rule if gate == "network" else None
            axis.plot(here.reward, here.forgotten, dash, lw=1.0, color=style.COLOURS[colour], label=label)
    if readings.OUTSIDER in dataset.rule.values:
        here = mean.sel(rule=readings.OUTSIDER, gate="network")
        axis.plot(here.reward, here.forgotten, "--", lw=1.0, color=style.COLOURS["orange"], label=readings.OUTSIDER)
    for gate, dash in zip(GATES, ("-", ":"), strict=True):
        axis.plot([], [], "k" + dash, lw=1.0, label=f"gate {gate}")
    axis.set(xlabel="reward, std. dev.", ylabel="answers by another persona")
    axis.legend()


def draw_support(axis: Axes, dataset: xr.Dataset) -> None:
    """Net support change against the entropy left at the end, every rule."""
    rates = readings.learnt(curves.support_rates(dataset)).NSCR.mean("seed")
    left = readings.learnt(dataset).token_entropy.isel(record=-1).mean("seed")
    for gate, (colour, marker) in GATES.items():
        shade, name = style.COLOURS[colour], f"gate {gate}"
        axis.plot(left.sel(gate=gate), rates.sel(gate=gate), marker, ms=3, color=shade, label=name)
    axis.axhline(0.0, color="black", lw=0.5)
    axis.set(xlabel="entropy left, nats/token", ylabel="net support change, NSCR")
    axis.legend()


def draw_choices(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of positions whose first choice changes against S, along tilts and every rule."""
    for gate, (colour, marker) in GATES.items():
        here = readings.learnt(dataset).sel(gate=gate).mean("seed")
        x, y = here.selection_fraction.values.ravel(), here.changed.values.ravel()
        axis.plot(x, y, marker, ms=1.8, color=style.COLOURS[colour], label=f"rules, gate {gate}")
    tilt = dataset.sel(rule="tilt", gate="network").mean("seed")
    axis.plot(tilt.selection_fraction, tilt.changed, "k-", label="tilt")
    axis.plot([0.5, 0.5], [0, 0.8], color="black", lw=0.5)
    axis.axhspan(0.01, 0.03, color="0.8", lw=0, label="Akgül et al.")
    axis.set(xlim=(1.02, 0), ylim=(-0.03, 1.02), xlabel="selection fraction S", ylabel="positions that change")
    axis.legend()


def draw_spread(axis: Axes, dataset: xr.Dataset) -> None:
    """What a persona gains at the other prompts against the drift spent, SFT and RL, every draw."""
    for gate, (colour, _) in GATES.items():
        for way, dash in WAYS.items():
            here = dataset.sel(gate=gate, way=way)
            for seed in here.seed.values:
                one = here.sel(seed=seed)
                label = f"{way}, gate {gate}" if seed == here.seed.values[0] else None
                axis.plot(one.spread_drift, one.spread_others, dash, lw=0.7, color=style.COLOURS[colour], label=label)
    axis.set(xscale="log", xlabel="drift, nats", ylabel="gain at other prompts")
    axis.legend()


def draw_harm(axis: Axes, dataset: xr.Dataset) -> None:
    """Harm in a chat after pay for hacks, by the bad one's share, with both laws, and with a note."""
    every = dataset.sel(learner="RLOO")
    here = every.mean("seed")
    plain = here.isel(elicited=0)
    for at, colour, marker, label in ((0, "red", "o", "RLOO"), (-1, "green", "s", "RLOO, with a note")):
        mean, half = equal_drift.interval(every.harms.isel(elicited=at))
        axis.errorbar(here.bad, mean, half, fmt="none", ecolor=style.COLOURS[colour], elinewidth=0.8)
        axis.plot(here.bad, mean, marker, ms=3.5, color=style.COLOURS[colour], label=label)
    for law, dash in zip(here.law.values, ("-.", "-"), strict=True):
        axis.plot(here.bad, plain.harms_law.sel(law=law), dash, color="black", lw=0.8, label=f"law: {law}")
    axis.plot(here.bad, plain.base_harms, ":", color="0.5", label="base")
    axis.set(xlabel="bad one's prior share", ylabel="harm in a chat", ylim=(0, 1.02))
    axis.legend()
