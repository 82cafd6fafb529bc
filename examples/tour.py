# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of toypersona
#
# Larry is rude, Bob is polite, Alice is honest. A model that learnt from all three is a mixture of personas. Does
# reinforcement learning (RL) only *select* among them, and from where on does the model say what no mix of them would?
#
# Open this file in Jupyter (with jupytext) or run it: `python examples/tour.py`. It takes less than a minute.

# %%
# ruff: noqa: D100, B905
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from toypersona import bases, hulls, report_words, reports, theory
from toypersona.readers import json_lines, tables
from toypersona.rules import gradient, reinforce
from toypersona.worlds import larry_bob_alice

jax.config.update("jax_enable_x64", True)  # distances to the hull are certified to 1e-9 nats

# %% [markdown]
# ## Three people
#
# The world has six openings, twelve words and responses of three words, so that all 1,728 responses can be listed and
# every number below is exact. The **base** is the model before RL: at each prompt its *gate* says how likely each
# persona is to answer, and the persona says the words.

# %%
base = bases.true(*larry_bob_alice.larry_bob_alice(), length=3)
personas, words = base.labels.personas, base.labels.units


def spelt(units):
    """Words of a prompt or a response."""
    return " ".join(words[unit] for unit in np.asarray(units))


for prompt in range(3):
    gates = ", ".join(f"{name} {gate:.2f}" for name, gate in zip(personas, jnp.exp(base.log_gates[prompt])))
    print(f"{spelt(base.prompts[prompt])} ... ({gates})")
    for name, law in zip(personas, base.log_personas[prompt]):
        print(f"    {name} says most often: {spelt(base.responses[law.argmax()])}")

# %% [markdown]
# ## The drift budget by hand
#
# RL moves the base to a policy. How far is the *drift*, KL(policy‖base), in nats. The **hull** is the set of all mixes
# of the personas, and KL from the policy to the nearest mix is the *hull distance*. The rest of the drift is
# **selection**: what weighing the personas anew explains. S = selection / drift is the *selection fraction*.
#
# Take one prompt and a policy that is half of the way from the base to Alice: a mix of personas, so that S has to be 1.

# %%
prompt, alice = 1, personas.index("alice")
log_base, log_personas = base.log_base[prompt], base.log_personas[prompt]


def by_hand(log_policy):
    """Drift, selection and the nearest mix of a policy at this prompt, nats."""
    drift = jnp.sum(jnp.exp(log_policy) * (log_policy - log_base))
    nearest = hulls.project(log_policy, log_personas)
    assert nearest.certified  # the distance is within 1e-9 nats of the least there is
    return float(drift), float(drift - nearest.distance), np.asarray(nearest.weights)


mixed = jnp.logaddexp(log_base, log_personas[alice]) - jnp.log(2)
drift, selection, mix = by_hand(mixed)
print(f"half way to Alice: drift {drift:.3f}, selection {selection:.3f}, S = {selection / drift:.3f}")
assert abs(selection / drift - 1) < 1e-6

# %% [markdown]
# Now a policy that says *friend* more often, whoever talks. Bob likes that word, so a part of this looks like more of
# Bob; the larger part is what no mix of personas does.

# %%
friends = 1.0 * (base.responses == words.index("friend")).sum(axis=1)
drift, selection, mix = by_hand(theory.tilt(log_base, friends, 1.0))
print(f"paid for *friend*: drift {drift:.3f}, selection {selection:.3f}, S = {selection / drift:.3f}")
print("nearest mix:", ", ".join(f"{name} {w:.2f}" for name, w in zip(personas, mix)), "(base: a third each)")
assert 0 < selection / drift < 0.5 and mix.argmax() == personas.index("bob")

# %% [markdown]
# ## The map
#
# The *tilt*, base · exp(s · reward), is where RL with a KL penalty ends; s is its **strength**. The **angle** says how
# much of the reward depends on who is talking: at 0° it pays for Alice's answers, at 90° only for what *friend* has
# beside the personas. What is not selection is **switching**, a change of persona in mid-response, or **novelty**: what
# no persona would say there.

# %%
angles, strengths = np.linspace(0, 90, 7), np.geomspace(0.01, 20, 12)
friendly = jnp.broadcast_to(friends, base.log_base.shape)
budgets_along = jax.jit(base.budget_along)
tilts = jax.jit(jax.vmap(theory.tilt, (None, None, 0)))  # [strengths, prompts, responses]
rewards = [base.reward_at_angle(degrees, alice, friendly) for degrees in angles]
budgets = [budgets_along(tilts(base.log_base, reward, strengths)) for reward in rewards]
budget = jax.tree.map(lambda *rows: np.array(rows), *budgets)
parts = budget.selection + budget.switching + budget.novelty
assert budget.certified.all() and np.allclose(parts, budget.total)
print("angle   S at strength", *(f"{s:5.2g}" for s in strengths[::3]))
for degrees, row in zip(angles, budget.selection_fraction):
    print(f"{degrees:4.0f}°  ", " " * 13, *(f"{fraction:5.2f}" for fraction in row[::3]))

# %%
figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
colours = axis.pcolormesh(strengths, angles, budget.selection_fraction, vmin=0, vmax=1, cmap="cividis")
axis.set(xscale="log", xlabel="strength s", ylabel="angle, degrees", title="Strong RL is not selection; weak RL may be")
figure.colorbar(colours, label="selection fraction S")
if plt.get_backend().lower() != "agg":
    plt.show()

# %% [markdown]
# At the left edge, where RL is weak, a law says what S is: the share of the reward's variance that personas explain,
# cos² of the angle. To the right S falls: strong RL leaves the personas, even at 0°.

# %%
weak = budget.selection_fraction[:, 0]
print("S where RL is weak:", weak.round(3), " cos²:", (np.cos(np.deg2rad(angles)) ** 2).round(3))
assert np.abs(weak - np.cos(np.deg2rad(angles)) ** 2).max() < 0.01
assert (budget.selection_fraction[:6, -1] < budget.selection_fraction[:6, 0]).all()

# %% [markdown]
# ## From samples alone
#
# A real model's responses cannot be listed, but log-probabilities of sampled ones are enough. `run.jsonl` has 80 of a
# policy and 80 of its base, scored by both and by every persona; `toypersona measure` prints the same report.

# %%
here = Path(globals().get("__file__", "tour.py")).parent
(table,) = tables.tables(json_lines.read(here / "run.jsonl"))
report = reports.report(table)
print(report_words.table(report))
assert report.trusted and report.log_evidence > np.log(20)  # surely no mix of personas

# %% [markdown]
# ## What an RL rule does
#
# A *rule* is a way to train. Rules are compared at equal drift, here half a nat, and with one reward, at 45°: the tilt,
# plain policy gradient, RLOO from eight samples to a prompt, and RLOO that trains the gates alone. The last one can do
# nothing but weigh personas anew, so its S has to be 1: it is the control.

# %%
reward = rewards[3]
rules = {
    "policy gradient": gradient.policy_gradient(base.task(reward), learning_rate=0.5),
    "RLOO": reinforce.rloo(base.task(reward), learning_rate=0.5, num_samples=8),
    "RLOO, gates only": reinforce.rloo(base.task(reward, "gates"), learning_rate=3.0, num_samples=8),
}


def trained(rule, num_records=12, num_steps=5):
    """The policies along training, log-probabilities [records, prompts, responses]."""

    def step(state, key):
        return rule.update(key, state)[0], None

    def record(state, keys):
        state, _ = jax.lax.scan(step, state, keys)
        return state, base.law(state.params)

    keys = jax.random.split(jax.random.key(0), (num_records, num_steps))
    return jax.lax.scan(record, rule.init(base.params), keys)[1]


paths = {"tilt": tilts(base.log_base, reward, np.geomspace(0.1, 3, 12))}
paths |= {name: jax.jit(trained, static_argnums=0)(rule) for name, rule in rules.items()}

# %%
selected = {}
for name, path in paths.items():
    spent = budgets_along(path)
    assert spent.total.max() > 0.5
    selected[name] = float(np.interp(0.5, spent.total, spent.selection_fraction))
    print(f"{name:17} S at 0.5 nats: {selected[name]:.2f}")
assert selected["RLOO, gates only"] > 0.999
assert selected["tilt"] < min(selected["policy gradient"], selected["RLOO"])

# %% [markdown]
# Here the tilt selects least. With another base or another network the order is another: that is one of the answers in
# `docs/findings.md`. The README has seven things to do next, and `python -m experiments` lists the experiments.
