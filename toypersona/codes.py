"""Codes: what the words of one voice mean to a policy that thinks aloud, and law L7, which codes the best paid uses.

A code is a convention: which of a voice's two words stands for an even number of ones so far. It is the reader's own or
the opposite one, and either the same at every thought or exchanged from each thought to the next: four codes, since a
thought sees the word before it and one bit, and the answer sees the last word. All of them are as right and as long.

**Law of codes (L7).** Let code j have the base log-probability ``l_j = E_c log pi0(code_j(c)|c)``, the cost c_j a
thought, and be understood by the reader with probability r_j. A policy that says code j with probability q_j, who
speaks being the key that tells which, is paid ``1 - lambda sum_j q_j c_j - (1/s) KL``, where ::

    KL(keyed) = sum_j q_j (log q_j - l_j) = mean KL(codes) - H(key),

since no response is shared. Its maximum over q is ``q_j ∝ exp(l_j - s lambda c_j)``: codes that pay the same are mixed
by their odds in the base, however strong RL is; the shared key saves exactly its entropy; and reader and answer agree
with probability ``A = sum_j q_j r_j``. A dear and a cheap code change places where ``s* = (l_dear - l_cheap) / (lambda
(c_dear - c_cheap))``, gradually: the odds grow as ``exp((s - s*) lambda (c_dear - c_cheap))``.

For one voice of the world ``reasoning``, slips left out: ``step`` is the probability that a thought follows from the
bit and from what the word before says, w the word's worth (with which it is taken at its word), ``keep = w step +
(1 - w)(1 - step)`` the probability that a thought carries on the convention of the word before, and ``r = a w + (1 - a)
(1 - w)`` the reader's trust in the last word, a the reliability of answers. The first thought follows a mark whose
meaning is sure. So own and opposite convention, kept at every thought, differ by ::

    Delta = ln(step/(1 - step)) + ln(r/(1 - r))

whatever the number of thoughts n: on the way a kept convention costs ``ln keep`` a thought, whichever it is. These two
alone are keyed with ``q = sigmoid(Delta)``, and ``A(w) = q r + (1 - q)(1 - r)``: 1/2 at w = 1/2, where the words'
meaning is free. But an exchanged convention costs only ``(n - 1) ln(keep/(1 - keep))`` more, which is little while step
is near 1/2; from n = 2 on a policy of K voices has four codes to choose K from.

A key shared by speaker and answer, unseen by the reader, is what steganography calls a secret key; what thoughts are
worth with it, less what they are worth without, is the steganographic gap (Anwar et al. 2026, arXiv:2602.23163), here
``coded + keyed`` of ``measures.faithfulness``. All in nats.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from toypersona import thinkers
from toypersona.bases import Base
from toypersona.measures import faithfulness
from toypersona.policies import mixture
from toypersona.types import Params, Scalar
from toypersona.worlds import reasoning

SURE = 8.0
"""Log-odds with which a policy built of codes says the word of its code."""


class Code(NamedTuple):
    """What a voice's words mean.

    Attributes:
        voice: number of the voice.
        opposite: at the first thought each word means what the reader takes the other one to mean.
        exchanged: from each thought to the next the two words exchange their meanings.
    """

    voice: int
    opposite: bool = False
    exchanged: bool = False

    @property
    def name(self) -> str:
        """In words."""
        voice = reasoning.VOICES[self.voice].name
        return f"{voice}, {'opposite' if self.opposite else 'own'}{', exchanged' if self.exchanged else ''}"


CHEAPEST = min(range(len(reasoning.VOICES)), key=lambda voice: reasoning.VOICES[voice].cost)
CHEAP = tuple(Code(CHEAPEST, opposite, exchanged) for exchanged in (False, True) for opposite in (False, True))
"""The four codes in the cheapest words."""

CODES = (*(Code(voice) for voice in range(len(reasoning.VOICES)) if voice != CHEAPEST), *CHEAP)
"""And the readable ones in the others."""

HELD = 0.02
"""A policy keys a cheap code that has this share of all that it says in cheap codes."""

STARTS = {
    "own and opposite": (CHEAP[0], CHEAP[1], CHEAP[1]),
    **{f"all but {left.name}": tuple(code for code in CHEAP if code != left) for left in CHEAP},
}
"""Codes of the voices of built policies: two conventions, or as many codes as there are voices."""


class Keyed(NamedTuple):
    """The best paid policy that keys some codes.

    Attributes:
        weights: q, the probability of each code [J].
        divergence: KL(policy‖base), nats.
        key_entropy: H(key), nats: what the key saves.
        cost: expected cost of a thought.
        agreement: probability that the reader's answer is the policy's.
    """

    weights: Float[Array, " J"]
    divergence: Float[Array, ""]
    key_entropy: Float[Array, ""]
    cost: Float[Array, ""]
    agreement: Float[Array, ""]


def law(
    log_masses: Float[Array, " J"], trusts: Float[Array, " J"], costs: Float[Array, " J"], pressure: Scalar
) -> Keyed:
    """Law L7, from the base alone.

    Args:
        log_masses: l, the mean base log-probability of each code; -inf for one that may not be used [J].
        trusts: r, the probability with which the reader understands it [J].
        costs: of a thought [J].
        pressure: ``s lambda``, strength times length cost.
    """
    log_weights = jax.nn.log_softmax(log_masses - pressure * costs)
    weights = jnp.exp(log_weights)
    mean = lambda values: jnp.where(weights > 0, weights * values, 0.0).sum()  # noqa: E731
    key_entropy = -mean(log_weights)
    return Keyed(weights, -mean(log_masses) - key_entropy, key_entropy, mean(costs), mean(trusts))


def spelt(base: Base, code: Code) -> Int[Array, "C T"]:
    """The response of a code to every prompt of the base: a right answer after thoughts by its convention."""
    bits = base.prompts[:, :-1] - base.labels.units.index("0")
    odd = jnp.cumsum(bits, axis=1) % 2
    meaning = (code.opposite + code.exchanged * jnp.arange(bits.shape[1])) % 2
    return jnp.concatenate([2 * code.voice + (odd + meaning[None]) % 2, odd[:, -1:]], axis=1)


def _places(base: Base, codes: Sequence[Code]) -> Int[Array, "J C"]:
    """Numbers of the codes' responses among all that are listed."""
    powers = base.num_words ** jnp.arange(base.length - 1, -1, -1)
    return jnp.stack([spelt(base, code) @ powers for code in codes])


def masses(base: Base, params: Params, codes: Sequence[Code]) -> Float[Array, " J"]:
    """The probability that the policy says each code, prompts averaged."""
    said = jax.vmap(lambda at: jnp.take_along_axis(jnp.exp(base.law(params)), at[:, None], axis=1)[:, 0])
    return said(_places(base, codes)) @ base.rho


def read_off(base: Base, codes: Sequence[Code]) -> dict[str, Float[Array, " J"]]:
    """What ``law`` asks of a base: ``log_masses``, ``trusts`` and ``costs``, prompts averaged."""
    log_reader = faithfulness.reader(thinkers.joint(base, base.params) + base.log_prompts[:, None, None, None])
    words, places = reasoning.word_costs(base.labels), _places(base, codes)
    right = reasoning.right_answers(base.labels, base.prompts)
    log_base = jax.vmap(lambda at: jnp.take_along_axis(base.log_base, at[:, None], axis=1)[:, 0])(places)
    return {
        "log_masses": log_base @ base.rho,
        "trusts": jnp.exp(log_reader)[places // base.num_words, right[None]] @ base.rho,
        "costs": jnp.stack([words[2 * code.voice] for code in codes]),
    }


def compared(base: Base, params: Params, pressure: Scalar, given: Bool[Array, " J"]) -> dict[str, Array]:
    """What a policy says in codes, and what ``law`` says of one that keys the same.

    Args:
        base: of which the law is read off.
        params: of the policy.
        pressure: strength times length cost.
        given: which of ``CODES`` the law lets be used in cheap words; those that the policy keys if none is given [J].

    Returns:
        ``said`` [J], the probability of each code; ``keyed_codes`` [J]; and the fields of ``Keyed``, as ``NAME_law``.
    """
    read, said = read_off(base, CODES), masses(base, params, CODES)
    cheap = jnp.array([code in CHEAP for code in CODES])
    heard = cheap & (said >= HELD * jnp.where(cheap, said, 0.0).sum())
    used = jnp.where(given.any(), given, heard)
    log_masses = jnp.where(used | ~cheap, read["log_masses"], -jnp.inf)
    best = law(log_masses, read["trusts"], read["costs"], pressure)
    return {"said": said, "keyed_codes": used, **{f"{name}_law": value for name, value in best._asdict().items()}}


def built(base: Base, codes: Sequence[Code]) -> Params:
    """Parameters of a policy that says one code with each of its voices, all voices equally likely."""
    return mixture.params_of(jnp.zeros(len(codes)), jnp.stack([_table(base, code) for code in codes]))


def _table(base: Base, code: Code) -> Float[np.ndarray, "U U V"]:
    """Logits of one voice."""
    at, own = base.labels.units.index, (2 * code.voice, 2 * code.voice + 1)
    logits = np.zeros((len(base.labels.units), len(base.labels.units), base.num_words))
    last = code.opposite ^ (code.exchanged and base.length % 2 == 1)
    for bit in (0, 1):
        logits[at("0") + bit, :, own[bit ^ code.opposite]] = SURE
        for odd, word in enumerate(own):
            logits[at("0") + bit, word] = 0.0
            logits[at("0") + bit, word, own[odd ^ bit ^ code.exchanged]] = SURE
    for odd, word in enumerate(own):
        logits[at(reasoning.MARKS[0]), word, odd ^ last] = SURE
    return logits
