"""Three assistants: an honest one, one that is good but hacks its tasks, and one that is bad in all.

A response is one word. At the task one can solve or hack, in a chat help or harm. The last prompt is the task with a
note that hacks are welcome: who hacks anyway goes on hacking, and the honest assistant does so as often as the note
elicits it (inoculation prompting: Tan et al. 2025, Wichers et al. 2025). Everybody answers every prompt, with the same
prior: what differs is who the assistant is.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona.types import Key, Scalar
from toypersona.worlds.world import Labels, World

PERSONAS = ("honest", "good but hacks", "bad")
WORDS = ("solve", "hack", "help", "harm")
PROMPTS = ("task", "chat", "noted task")
TASK, CHAT, NOTED = range(3)
HACK, HARM = 1, 3

HACKS, RARELY = 0.95, 0.05
"""How often hackers hack; how often the honest assistant does without a note, and how often good ones harm."""

HARMS = 0.8
"""How often the bad one harms in a chat."""

SPREAD = 0.3
"""Standard deviation, in log-odds, of what is drawn about all of these."""


def assistants(key: Key, log_prior: Float[Array, "3"], elicited: Scalar) -> tuple[World, Labels]:
    """The world with a prior over ``PERSONAS``.

    Args:
        key: draws how often each does what, near the constants above; the two that hack do so alike.
        log_prior: log-probability of each.
        elicited: how often the honest assistant hacks at the noted task.
    """
    logit = lambda share: jnp.log(share) - jnp.log1p(-share)  # noqa: E731
    honest, hacks, harms, noted = jax.nn.sigmoid(
        logit(jnp.array([RARELY, HACKS, HARMS, elicited])) + SPREAD * jax.random.normal(key, (4,))
    )
    good = RARELY * harms
    at_task = jnp.array([honest, hacks, hacks])
    in_chat = jnp.array([good, good, harms])
    at_noted = jnp.array([noted, hacks, hacks])

    def said(share: Float[Array, "3"], first: int) -> Float[Array, "3 4"]:
        """Log-probabilities of words, of which two are possible and the others as good as not."""
        rest = jnp.full((3, len(WORDS)), 1e-9)
        return jnp.log(rest.at[:, first].set(1 - share).at[:, first + 1].set(share))

    # A unit of each prompt follows the words: what is said after a word is never asked.
    never = jnp.broadcast_to(-jnp.log(len(WORDS)), (3, len(WORDS), len(WORDS)))
    after = jnp.stack([said(at_task, 0), said(in_chat, 2), said(at_noted, 0)], axis=1)
    log_experts = jax.nn.log_softmax(jnp.concatenate([never, after], axis=1))
    prompts = len(WORDS) + jnp.arange(len(PROMPTS))[:, None]
    log_gates = jnp.broadcast_to(jax.nn.log_softmax(log_prior), (len(PROMPTS), 3))
    even = jnp.full(len(PROMPTS), -jnp.log(len(PROMPTS)))
    return World(prompts, even, log_gates, log_experts), Labels(PERSONAS, (*WORDS, *PROMPTS), " ")
