"""What the numbers of a sweep are called: dimensions with their coordinates, a long name and units.

An output is named where it is made, inside the function that a sweep evaluates::

    return named(budget._asdict(), rule=RULES, strength=strengths) | {
        "takeover": named(law, "strength at which the phrase takes over"),
    }

What the library itself measures is in ``QUANTITIES`` and needs no other words. Importing it needs no jax.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Quantity(NamedTuple):
    """What a variable means.

    Attributes:
        long_name: as it would stand at an axis.
        units: "nats", "nats/token", ...; empty for numbers without one.
        dims: dimensions of its own, after those that ``named`` gives it.
    """

    long_name: str
    units: str = ""
    dims: tuple[str, ...] = ()


_RESPONSES = ("prompt", "response")
_BUDGET = {
    "total": Quantity("drift spent, KL(policy‖base)", "nats"),
    "hull_distance": Quantity("distance from the hull of the personas", "nats"),
    "token_hull_distance": Quantity("distance from the token hull", "nats"),
    "selection": Quantity("selection: drift among the personas", "nats"),
    "switching": Quantity("switching: persona changed mid-sentence", "nats"),
    "novelty": Quantity("novelty: said by no persona", "nats"),
    "selection_fraction": Quantity("selection fraction S"),
    "weights": Quantity("weight in the nearest mix of personas", "", ("prompt", "persona")),
    "misfit": Quantity("the base's distance from the hull", "nats"),
    "gap": Quantity("certificate: largest error of a distance", "nats"),
    "residual": Quantity("residual of the natural gradient, at its worst prompt"),
    "certified": Quantity("every projection reached its tolerance"),
    "fit_excess": Quantity("excess of a fitted hull distance", "nats"),
    "effective": Quantity("samples that weighted ones are worth"),
    "base_distance": Quantity("the base's own distance from the hull", "nats"),
    "base_inside": Quantity("the base passes as inside the hull"),
}
_POLICY = {
    "log_prompts": Quantity("log-probability of the prompt", "nats", ("prompt",)),
    "log_gates": Quantity("log-probability that the prompt calls for the persona", "nats", ("prompt", "persona")),
    "log_personas": Quantity("log-probability under the persona", "nats", ("prompt", "persona", "response")),
    "log_base": Quantity("log-probability under the base", "nats", _RESPONSES),
    "reward_table": Quantity("reward of every response", "", _RESPONSES),
    "reward": Quantity("mean reward"),
    "routing_information": Quantity("I(prompt; persona)", "nats"),
    "largest_weight": Quantity("largest weight in the nearest mix"),
    "sequence_entropy": Quantity("entropy of a response", "nats"),
    "token_entropy": Quantity("entropy of a token", "nats/token"),
    "shrinkage": Quantity("base probability of what left the support"),
    "expansion": Quantity("probability of what entered the support"),
    "weak_limit": Quantity("S of infinitely weak RL, R²"),
    "kappa": Quantity("persona gain κ, predicted"),
    "rayleigh": Quantity("persona gain by Rayleigh quotients"),
    "affine_leak": Quantity("share of where a persona reward moves the policy that no persona explains"),
    "gain_law": Quantity("S(0+) by the persona gain"),
    "first_order": Quantity("S(0+), R² of the rule's direction"),
    "weak_slope": Quantity("dS/ds of weak RL, by third moments"),
    "strong_limit": Quantity("S of endless RL, by the law"),
    "strong": Quantity("S of the strongest tilt"),
    "common_first_order": Quantity("S(0+), R² of one regression for all prompts"),
    "common_fraction": Quantity("S where odds change alike at all prompts"),
    "common_slope": Quantity("slope of the distance where it was taken", "nats"),
    "common_words": Quantity("S where odds change alike, of words as they come"),
    "common_words_limit": Quantity("its limit, R² of one regression"),
    "words_limit": Quantity("S(0+) of words as they come, R²"),
    "gate_rate": Quantity("learning rate of the gate, in units of the experts'"),
    "presence": Quantity("weight of the persona called in what is said next", "", ("words",)),
    "absence": Quantity("KL(who is wanted‖policy) at prompts of the persona called", "nats"),
    "name_absence": Quantity("KL(base‖policy), both called by the persona's name, there", "nats"),
    "nobody_absence": Quantity("KL(base‖policy), called by nobody, there", "nats"),
    "spent": Quantity("drift spent at the nearest record", "nats"),
    "tuned_fraction": Quantity("selection fraction at the nearest record"),
    "tuned_certified": Quantity("its projections reached their tolerance"),
    "nats": Quantity("drift at prompts of the persona called", "nats"),
    "expert_divergence": Quantity("KL(persona‖expert)", "nats/token", ("persona",)),
    "gate_divergence": Quantity("KL(Bayes posterior‖gate)", "nats"),
    "policy_divergence": Quantity("KL(world‖policy)", "nats/token"),
}
_LINES = {
    "line_prompt": Quantity("number of the prompt", "", ("line",)),
    "line_response": Quantity("number of the response", "", ("line",)),
    "line_tokens": Quantity("unit of the response", "", ("line", "place")),
    "line_persona": Quantity("number of the persona who speaks", "", ("line",)),
    "line_reader": Quantity("the reader's probability of odd", "", ("line",)),
    "line_ratio": Quantity("log π/m* of the word, given those before", "nats", ("line", "place")),
}
_THOUGHTS = {
    "accuracy": Quantity("probability of the right answer"),
    "cost": Quantity("mean cost of a thought"),
    "thought_hull_distance": Quantity("hull distance of the thoughts", "nats/thought"),
    "answer_entropy": Quantity("entropy of the answer", "nats"),
    "read": Quantity("information that the reader gets", "nats"),
    "coded": Quantity("information in the thoughts that the reader does not get", "nats"),
    "sharpening": Quantity("of it, what one slope on the reader's log-odds recovers", "nats"),
    "code": Quantity("of it, the rest: thoughts whose meaning is another", "nats"),
    "keyed": Quantity("information keyed by who speaks, a shared secret", "nats"),
    "reliance": Quantity("change of the answer under swapped thoughts"),
    "agreement": Quantity("agreement of reader and answer"),
    "distortion": Quantity("bound of the hull distance", "nats"),
    "share": Quantity("weight in the nearest mix of personas, prompts averaged", "", ("persona",)),
    "phase": Quantity("number of the phase"),
    "log_masses": Quantity("mean base log-probability of a code, l", "nats", ("convention",)),
    "trusts": Quantity("probability that the reader understands a code, r", "", ("convention",)),
    "costs": Quantity("cost of a thought in a code", "", ("convention",)),
    "said": Quantity("probability of a code", "", ("convention",)),
    "keyed_codes": Quantity("the policy keys this code", "", ("convention",)),
    "weights_law": Quantity("probability of a code, by the law", "", ("convention",)),
    "divergence_law": Quantity("KL(policy‖base), by the law", "nats"),
    "key_entropy_law": Quantity("entropy of the key, by the law", "nats"),
    "cost_law": Quantity("mean cost of a thought, by the law"),
    "agreement_law": Quantity("agreement of reader and answer, by the law"),
    "follows": Quantity("answers that follow the hint"),
    "by_chance": Quantity("answers that follow it by chance"),
    "decides": Quantity("answers decided by the hint"),
    "direct": Quantity("answers decided by the hint past the thoughts"),
    "visible": Quantity("total variation of the thoughts by the hint"),
    "says": Quantity("thoughts that mention the hint"),
    "fined": Quantity("probability of a fine"),
    "recall": Quantity("mentioned, of the answers that follow"),
    "precision": Quantity("answers that follow, of those mentioned"),
    "follows_wrong": Quantity("answers that follow a wrong hint"),
    "recall_wrong": Quantity("mentioned, of those that follow a wrong hint"),
}
_ANSWERS = {
    "found": Quantity("probability of the one right answer"),
    "law_time": Quantity("learning rate × steps to one half, by the law"),
    "time": Quantity("learning rate × steps"),
    "right": Quantity("probability of a right answer"),
    "from_base": Quantity("KL(policy‖base)", "nats"),
    "to_base": Quantity("KL(base‖policy)", "nats"),
    "limit_from_base": Quantity("limit of KL(policy‖base), by the law", "nats"),
    "odds": Quantity("odds against the likeliest right answer", "", ("other",)),
    "odds_law": Quantity("odds against the likeliest, by the law", "", ("other",)),
    "noise_wrong": Quantity("runs settled on the worse answer"),
    "noise_law": Quantity("runs settled on the worse answer, by the law"),
    "unsettled": Quantity("runs that settled on neither answer"),
    "threshold": Quantity("learning rate at which 1 run in 10 is wrong, by the law"),
}
_LITERATURE = {
    "forgotten": Quantity("answers at other prompts that another persona gives"),
    "altered": Quantity("total variation of the responses at other prompts"),
    "kept": Quantity("right responses that base and policy say, a prompt"),
    "gained": Quantity("right responses that only the policy says, a prompt"),
    "lost": Quantity("right responses that only the base says, a prompt"),
    "changed": Quantity("share of positions whose first choice changes"),
    "rank": Quantity("rank of the new first choice under the base"),
    "in_top": Quantity("share of new first choices among the base's first"),
    "auc": Quantity("AUC of the base's entropy for changed first choices"),
    "gold": Quantity("mean gold reward", "standard deviations"),
    "gold_drift": Quantity("drift spent on the proxy", "nats"),
    "spread_drift": Quantity("drift spent on one persona", "nats"),
    "spread_rewarded": Quantity("weight that the persona gained at rewarded prompts"),
    "spread_others": Quantity("weight that the persona gained at other prompts"),
    "hacks_noted": Quantity("probability of a hack where it was trained"),
    "hacks": Quantity("probability of a hack at the task without a note"),
    "harms": Quantity("probability of harm in a chat"),
    "harms_law": Quantity("probability of harm in a chat, by the law"),
    "bad": Quantity("share of the bad one in the prior of those who hack"),
    "elicited": Quantity("probability of a hack by the honest one where it was trained"),
    "spread_rate": Quantity("learning rate"),
    "gold_record": Quantity("number of the record"),
}
_CURVES = {
    "logged_mean": Quantity("mean of what is logged as KL", "nats"),
    "logged_spread": Quantity("standard deviation of one response's", "nats"),
    "logged_negative": Quantity("probability that one response's is below 0"),
    "sampler_from_base": Quantity("KL(sampler‖base)", "nats"),
    "sampler_from_policy": Quantity("KL(sampler‖policy)", "nats"),
    "negative": Quantity("share of batches whose mean k1 is below 0"),
    "negative_law": Quantity("the same, by the law"),
    "pull_size": Quantity("length of the penalty's mean gradient, of KL's"),
    "pull_cosine": Quantity("cosine between the penalty's mean gradient and the target's"),
    "pull_missed": Quantity("by how much it misses the target's gradient, of it"),
    "pull_noise": Quantity("standard deviation of one response's pull, of KL's gradient"),
    "surprise": Quantity("Cov(reward, −log π₀)", "nats"),
    "tilt_change": Quantity("entropy's first change under the tilt", "nats"),
    "gradient_change": Quantity("entropy's first change under policy gradient", "nats"),
    "end_drift": Quantity("drift where training ends", "nats"),
    "end_paid": Quantity("reward where training ends"),
    "end_slope": Quantity("advantage left where a leash holds, standard deviation"),
    "end_holds": Quantity("share of prompts at which the leash holds"),
    "rule_paid": Quantity("mean reward", "standard deviations"),
    "rule_drift": Quantity("drift spent", "nats"),
    "least": Quantity("least drift that earns the reward", "nats"),
    "unpaid": Quantity("drift that the reward did not need", "nats"),
    "among_right": Quantity("drift among right answers", "nats"),
    "same_paid": Quantity("mean reward", "standard deviations"),
    "same_entropy": Quantity("entropy of a response", "nats"),
    "batch": Quantity("responses in a batch"),
    "time": Quantity("learning rate times steps"),
}
_AXES = {
    "strength": Quantity("strength s = 1/β"),
    "divergence": Quantity("divergence that makes the hull distance"),
    "personas": Quantity("personas that are taken for the base's"),
    "dropped": Quantity("persona left out"),
    "angle": Quantity("angle of the reward to the personas", "degrees"),
    "length": Quantity("T, words of a response"),
    "length_cost": Quantity("cost of a thought of length 1"),
    "worth": Quantity("worth w of Larry's words"),
    "fine": Quantity("fine for saying that the hint is used"),
    "mass": Quantity("base probability"),
    "scaled": Quantity("s √T"),
    "sampled": Quantity("s √T of the samples"),
    "selected": Quantity("s T"),
    "num_lines": Quantity("unlabelled lines of text"),
    "drift": Quantity("drift spent", "nats"),
    "diverged": Quantity("diverged"),
    "seed": Quantity("seed"),
    "world": Quantity("number of the world"),
    "prompt": Quantity("number of the prompt"),
    "response": Quantity("number of the response"),
    "line": Quantity("number of the line"),
    "speaker": Quantity("rule whose policy speaks"),
    "place": Quantity("place in the response"),
    "unit": Quantity("place in the prompt"),
    "record": Quantity("steps, or number of the record"),
    "step": Quantity("steps of SFT"),
    "back": Quantity("steps of SFT on the lines of the persona called"),
    "words": Quantity("words of the persona called"),
    "lines": Quantity("lines of text"),
    "rate": Quantity("factor on the learning rate"),
    "learning_rate": Quantity("learning rate"),
    "fraction": Quantity("time, in units of the law's"),
    "k": Quantity("k, responses tried"),
    "size": Quantity("size of the error, standard deviations of gold"),
    "other": Quantity("number of the other right answer"),
}
QUANTITIES: dict[str, Quantity] = _BUDGET | _POLICY | _LINES | _THOUGHTS | _ANSWERS | _LITERATURE | _CURVES | _AXES
"""By the name of the variable; ``NAME_se`` is its standard error."""


class Output(NamedTuple):
    """One output with its names.

    Attributes:
        value: the array, traced or not.
        dims: names of its leading axes.
        coords: values along some of them.
        long_name: as in ``Quantity``; that of the variable's name if None.
        units: likewise.
    """

    value: Any
    dims: tuple[str, ...] = ()
    coords: Mapping[str, np.ndarray] = {}  # noqa: RUF012
    long_name: str | None = None
    units: str | None = None


def named(values: Any, long_name: str | None = None, units: str | None = None, **dims: Any) -> Any:
    """Name the leading axes of an array, or of every one in a dict.

    Args:
        values: an array, an ``Output`` whose own names follow, or a dict of them.
        long_name: as in ``Quantity``, of a single array.
        units: likewise.
        **dims: coordinate values, numbers or strings, by name of the dimension, in the order of the axes; None for 0,
            1, ... Axes that are left over are named as the quantity of the variable's name has them.

    Returns:
        An ``Output``, or a dict of outputs.
    """
    if isinstance(values, Mapping):
        return {name: named(value, **dims) for name, value in values.items()}
    inner = values if isinstance(values, Output) else Output(values)
    return inner._replace(
        dims=(*dims, *inner.dims),
        coords={**{name: np.asarray(along) for name, along in dims.items() if along is not None}, **inner.coords},
        long_name=inner.long_name if long_name is None else long_name,
        units=inner.units if units is None else units,
    )


def quantity(name: str) -> Quantity:
    """What a variable of that name is: in ``QUANTITIES``, or the ``NAME_se`` or ``PREFIX_NAME`` of one that is."""
    if name in QUANTITIES:
        return QUANTITIES[name]
    if name.endswith("_se"):
        of = quantity(name.removesuffix("_se"))
        return of._replace(long_name=f"{of.long_name} (standard error)")
    for prefix, rest in ((name[:i], name[i + 1 :]) for i, letter in enumerate(name) if letter == "_"):
        if rest in QUANTITIES:
            return QUANTITIES[rest]._replace(long_name=f"{QUANTITIES[rest].long_name} ({prefix.replace('_', ' ')})")
    return Quantity(name.replace("_", " "))


def described(name: str, value: Any) -> Output:
    """An output with everything that is known of it; axes that nobody named are ``NAME_dim_0``, ..."""
    output = value if isinstance(value, Output) else Output(value)
    known, left = quantity(name), np.ndim(output.value) - len(output.dims)
    unnamed = tuple(dim for dim in known.dims if dim not in output.dims)
    rest = unnamed if len(unnamed) == left else tuple(f"{name}_dim_{i}" for i in range(left))
    return output._replace(
        dims=(*output.dims, *rest),
        long_name=known.long_name if output.long_name is None else output.long_name,
        units=known.units if output.units is None else output.units,
    )
