"""A toy whose budget is known exactly, written as the logs of a model that can only be sampled."""

import functools
import gzip
import json

import jax
import numpy as np

from toypersona import bases, theory
from toypersona.worlds import larry_bob_alice

LENGTH = 3


@functools.cache
def toy(strength=1.0, seed=0):
    """A base of Larry, Bob and Alice, its tilt by a random reward, and the exact budget."""
    base = bases.true(*larry_bob_alice.larry_bob_alice(), length=LENGTH)
    reward = jax.random.normal(jax.random.key(seed), base.log_base.shape)
    policy = theory.tilt(base.log_base, reward, strength)
    # As one program: it would be three hundred.
    return base, np.asarray(policy), jax.jit(base.budget)(policy)


def inside(weights=(0.2, 0.5, 0.3)):
    """A policy that is a mix of the personas at every prompt."""
    base = toy()[0]
    return np.log(np.einsum("k,ckn->cn", np.array(weights), np.exp(np.asarray(base.log_personas))))


def by_token(log_law):
    """Log-probabilities of each word given those before it [C, N, T], of a law over all responses [C, N]."""
    num_prompts = len(log_law)
    num_words = round(log_law.shape[1] ** (1 / LENGTH))
    law = np.exp(log_law).reshape(num_prompts, *[num_words] * LENGTH)
    prefixes = [np.log(law.sum(axis=tuple(range(t + 2, LENGTH + 1)), keepdims=True)) for t in range(LENGTH)]
    prefixes = [np.broadcast_to(each, law.shape).reshape(num_prompts, -1) for each in prefixes]
    return np.diff(np.stack([np.zeros_like(prefixes[0]), *prefixes], axis=-1), axis=-1)


def lines(num, *, policy=None, log_base=None, num_base=None, tokens=True, seed=0, step=None, base_too=True):
    """Rows of JSON lines: ``num`` responses to every prompt of the policy, and of the base."""
    base, tilted, _ = toy()
    policy = tilted if policy is None else policy
    rng = np.random.default_rng(seed)
    log_base = np.asarray(base.log_base if log_base is None else log_base)
    log_personas = np.asarray(base.log_personas)
    models = {"policy": by_token(policy), "base": by_token(log_base)}
    personas = {name: by_token(log_personas[:, k]) for k, name in enumerate(base.labels.personas)}
    given = (lambda x: [float(v) for v in x]) if tokens else (lambda x: float(x.sum()))
    rows = []
    for who, law in (("policy", policy), ("base", log_base)) if base_too else (("policy", policy),):
        for c, prompt in enumerate(base.prompts):
            count = num if who == "policy" else num_base or num
            for i, n in enumerate(rng.choice(law.shape[1], size=count, p=np.exp(law[c]) / np.exp(law[c]).sum())):
                words = [base.labels.units[u] for u in np.asarray(base.responses)[n]]
                row = {
                    "prompt_id": " ".join(base.labels.units[u] for u in np.asarray(prompt)),
                    "response_id": str(i),
                    "sampled_from": who,
                    "log_probs": {name: given(scores[c, n]) for name, scores in models.items()}
                    | {"personas": {name: given(scores[c, n]) for name, scores in personas.items()}},
                    "response": " ".join(words),
                }
                row |= {"tokens": words} if tokens else {}
                row |= {"step": step} if step is not None else {}
                rows.append(row)
    return rows


def weights():
    """Probabilities of the toy's prompts, as a header has them."""
    base = toy()[0]
    names = [" ".join(base.labels.units[u] for u in np.asarray(prompt)) for prompt in base.prompts]
    return dict(zip(names, np.exp(np.asarray(base.log_prompts)).tolist(), strict=True))


def write(path, rows, header=None):
    """JSON lines, packed if the name ends in gz."""
    text = "".join(json.dumps(row) + "\n" for row in ([header] if header else []) + rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path
