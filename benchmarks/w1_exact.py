"""W1: exact policy gradient of mixtures of bigram experts over all V^T responses, many configurations at once.

Each configuration has parameters, reward, learning rate and KL coefficient of its own; a step is the gradient of
E[r] - beta KL(pi‖pi0) and plain ascent; mean reward and KL are logged every tenth step by everybody. float32 and
float64. Peers: what a user would write in torch, numpy or jax.
"""

from benchmarks import measure

# isort: split
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from toypersona import chains, programs, trajectories
from toypersona.policies import mixture
from toypersona.rules import gradient
from toypersona.rules.rule import Task

K, V, LOG_EVERY = 4, 8, 10


class Problem(NamedTuple):
    """C configurations: arrays of NumPy, or of jax for one of them inside jit."""

    gate: Any
    experts: Any
    reward: Any
    learning_rate: Any
    beta: Any

    def first(self, num: int) -> "Problem":
        """The first few of them."""
        return Problem(*(x[:num] for x in self))


def problem(num: int, length: int, dtype: str = "float32") -> Problem:
    """Random configurations over V^length responses."""
    rng = np.random.default_rng(0)
    made = Problem(
        0.1 * rng.normal(size=(num, K)),
        rng.normal(size=(num, K, V, V)),
        rng.normal(size=(num, V**length)),
        np.full(num, 0.1),
        np.linspace(0.05, 1.0, num),
    )
    return Problem(*(x.astype(dtype) for x in made))


def ours(given: Problem, length: int, steps: int, batch: int, options: tuple) -> Callable[[], np.ndarray]:
    """The library: policy_gradient of a mixture along a trajectory, vmapped in batches."""
    prompts, log_prompts = jnp.zeros((1, 1), int), jnp.zeros(1)
    speakers = mixture.mixture(prompts, num_personas=K, num_units=V, num_words=V, length=length, gate="table")

    def one(config: Problem) -> jax.Array:
        params = mixture.params_of(config.gate[None], config.experts)
        log_base = jnp.log(speakers.policy.probs(params, prompts[0]))[None]
        reward = config.reward[None]

        def rule(step_size: jax.Array):
            task = Task(speakers.policy, prompts, log_prompts, reward)
            return gradient.policy_gradient(
                task, learning_rate=step_size, kl_coefficient=config.beta, log_base=log_base
            )

        def log(params) -> jax.Array:
            probs = speakers.policy.probs(params, prompts[0])
            return jnp.stack([probs @ reward[0], probs @ (jnp.log(probs) - log_base[0])])

        marks = LOG_EVERY * config.learning_rate * jnp.arange(1, steps // LOG_EVERY + 1)
        end = {"key": jax.random.key(0), "marks": marks, "max_step": config.learning_rate}
        return trajectories.follow(rule, log, params, **end)[0]

    compiled = programs.made(lambda all_: jax.lax.map(one, all_, batch_size=batch), options, given)
    on_device = jax.device_put(given)
    return lambda: np.asarray(compiled(on_device))


def _tokens(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Each response's units and the units before them [N, T]."""
    tokens = np.asarray(chains.outcomes(V, length))
    return tokens, np.concatenate([np.zeros((len(tokens), 1), int), tokens[:, :-1]], axis=1)


def jax_first_written(given: Problem, length: int, steps: int, in_python: bool = False) -> Callable[[], np.ndarray]:
    """Gather the log-probabilities of all tokens, sum, logsumexp over experts, jax.grad, scan, vmap, jit."""
    tokens, before = _tokens(length)

    def log_probs(params):
        gate, experts = params
        each = jax.nn.log_softmax(experts)[:, before, tokens].sum(-1)
        return jax.nn.logsumexp(jax.nn.log_softmax(gate)[:, None] + each, axis=0)

    def objective(params, reward, beta, log_base):
        log_policy = log_probs(params)
        kl = (jnp.exp(log_policy) * (log_policy - log_base)).sum()
        value = (jnp.exp(log_policy) * reward).sum()
        return value - beta * kl, jnp.stack([value, kl])

    def step(params, reward, learning_rate, beta, log_base):
        slopes, _ = jax.grad(objective, has_aux=True)(params, reward, beta, log_base)
        return jax.tree.map(lambda p, g: p + learning_rate * g, params, slopes)

    def one(gate, experts, reward, learning_rate, beta):
        log_base = log_probs((gate, experts))

        def logged(params, _):
            params = jax.lax.fori_loop(
                0, LOG_EVERY, lambda i, p: step(p, reward, learning_rate, beta, log_base), params
            )
            return params, objective(params, reward, beta, log_base)[1]

        return jax.lax.scan(logged, (gate, experts), None, length=steps // LOG_EVERY)[1]

    if not in_python:
        compiled = jax.jit(jax.vmap(one)).lower(*given).compile()
        on_device = jax.device_put(given)
        return lambda: np.asarray(compiled(*on_device))
    quick_step, quick_log = jax.jit(step), jax.jit(objective)

    def loop() -> np.ndarray:
        records = []
        for gate, experts, reward, learning_rate, beta in zip(*given, strict=True):
            params, log_base, record = (gate, experts), log_probs((gate, experts)), []
            for i in range(steps):
                params = quick_step(params, reward, learning_rate, beta, log_base)
                if i % LOG_EVERY == LOG_EVERY - 1:
                    record.append(np.asarray(quick_log(params, reward, beta, log_base)[1]))
            records.append(record)
        return np.array(records)

    return loop


def numpy_by_hand(given: Problem, length: int, steps: int) -> Callable[[], np.ndarray]:
    """Batched over configurations, a tree of prefixes, differentiated by hand."""

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def forward(gate, experts):
        g, a = softmax(gate), softmax(experts)
        levels = [g[:, :, None] * a[:, :, 0]]
        for _ in range(length - 1):
            grown = levels[-1].reshape(len(g), K, -1, V)[..., None] * a[:, :, None]
            levels.append(grown.reshape(len(g), K, -1))
        return g, a, levels, levels[-1].sum(1)

    def run() -> np.ndarray:
        gate, experts, logs = given.gate.copy(), given.experts.copy(), []
        log_base = np.log(forward(gate, experts)[3])
        for i in range(steps):
            g, a, levels, p = forward(gate, experts)
            back = given.reward - given.beta[:, None] * (np.log(p) - log_base)
            back = back - (p * back).sum(1, keepdims=True)
            back = np.broadcast_to(back[:, None], levels[-1].shape)
            da = np.zeros_like(a)
            for level in reversed(levels[:-1]):
                shaped = back.reshape(len(g), K, -1, V, V)
                da += np.einsum("ckpvw,ckpv->ckvw", shaped, level.reshape(len(g), K, -1, V))
                back = np.einsum("ckpvw,ckvw->ckpv", shaped, a).reshape(level.shape)
            da[:, :, 0] += back * g[:, :, None]
            dg = (back * a[:, :, 0]).sum(-1)
            gate = gate + given.learning_rate[:, None] * g * (dg - (g * dg).sum(-1, keepdims=True))
            rate = given.learning_rate[:, None, None, None]
            experts = experts + rate * a * (da - (a * da).sum(-1, keepdims=True))
            if i % LOG_EVERY == LOG_EVERY - 1:
                p = forward(gate, experts)[3]
                logs.append(np.stack([(p * given.reward).sum(1), (p * (np.log(p) - log_base)).sum(1)], -1))
        return np.stack(logs, 1)

    return run


def torch_peers(given: Problem, length: int, steps: int, one_by_one: int, full: bool) -> dict[str, measure.Peer]:
    """Eager over single configurations; batched; compiled batched; compiled with our formulation."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    # Of too many sizes it compiles no more, and goes on without.
    torch.compiler.reset()
    tokens, before = (torch.tensor(x) for x in _tokens(length))
    tensors = [torch.as_tensor(x) for x in given]

    def gathered(gate, experts):
        each = torch.log_softmax(experts, -1)[..., before, tokens].sum(-1)
        return torch.logsumexp(torch.log_softmax(gate, -1)[..., None] + each, -2)

    def cut(gate, experts):
        g, a = torch.softmax(gate, -1), torch.softmax(experts, -1)

        def grow(prefixes):
            return (prefixes.reshape(*g.shape, -1, V, 1) * a[..., None, :, :]).reshape(*g.shape, -1)

        left = g[..., None] * a[..., 0, :]
        for _ in range(length // 2):
            left = grow(left)
        right = a.reshape(*g.shape, -1)
        for _ in range(length - length // 2 - 2):
            right = grow(right)
        halves = left.reshape(*g.shape, -1, V), right.reshape(*g.shape, V, -1)
        return torch.log(torch.einsum("...klm,...kmr->...lmr", *halves).flatten(-3))

    def make(log_probs, which, compiled: bool):
        def objective(gate, experts, reward, beta, log_base):
            log_policy = log_probs(gate, experts)
            p = log_policy.exp()
            value, kl = (p * reward).sum(-1), (p * (log_policy - log_base)).sum(-1)
            return value, kl, (value - beta * kl).sum()

        if compiled:
            objective = torch.compile(objective)

        def train(gate, experts, reward, learning_rate, beta):
            log_base, logs = log_probs(gate, experts), []
            gate, experts = gate.clone().requires_grad_(), experts.clone().requires_grad_()
            for i in range(steps):
                total = objective(gate, experts, reward, beta, log_base)[2]
                slopes = torch.autograd.grad(total, (gate, experts))
                with torch.no_grad():
                    gate += learning_rate[..., None] * slopes[0]
                    experts += learning_rate[..., None, None, None] * slopes[1]
                if i % LOG_EVERY == LOG_EVERY - 1:
                    with torch.no_grad():
                        logs.append(torch.stack(objective(gate, experts, reward, beta, log_base)[:2], -1))
            return torch.stack(logs, -2)

        if which is None:
            return lambda: train(*tensors).numpy()
        return lambda: torch.stack([train(*(x[i] for x in tensors)) for i in range(which)]).numpy()

    units = len(given.gate) * steps
    peers = {
        "torch, eager, one configuration at a time": measure.Peer(make(gathered, one_by_one, False), one_by_one * steps)
    }
    peers["torch, eager, batched"] = measure.Peer(make(gathered, None, False), units)
    if full:
        peers["torch.compile, batched"] = measure.prepared(lambda: make(gathered, None, True), units)
        peers["torch.compile of our formulation"] = measure.prepared(lambda: make(cut, None, True), units)
    return peers


def main(length: int, dtype: str, *, num: int, steps: int, rounds: int, full: bool) -> dict:
    """Run one size in one precision."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    given, units = problem(num, length, dtype), num * steps
    best, tries = measure.fastest(lambda batch, options: ours(given, length, steps, batch, options), (8, 16, 64), units)
    few = max(1, num // 64)
    peers = {
        best: tries[best],
        "jax as first written": measure.prepared(lambda: jax_first_written(given, length, steps), units),
        "jax, python loop over jitted steps": measure.prepared(
            lambda: jax_first_written(given.first(few), length, steps, in_python=True), few * steps
        ),
        "numpy, batched, by hand": measure.Peer(numpy_by_hand(given, length, steps), units),
    }
    if measure.installed("torch"):
        peers |= torch_peers(given, length, steps, few, full)
    else:
        print("torch is not installed (make peers): its rows are missing.")
    measure.check(peers, 1e-3 if dtype == "float32" else 1e-9)
    measured = measure.rates(peers, rounds)
    roofs = measure.roofs()
    flop = 6 * K * V**length + 19 * V**length
    share = flop * np.median(measured[best]) / 1e9 / max(roofs["fma_gflop_s"], roofs["gemm_gflop_s"])
    print({name: round(value, 1) for name, value in roofs.items()}, f"share of the float32 FMA peak {share:.1%}")
    found = {"roofs": roofs, "share_of_fma_peak": share}
    return measure.report(f"w1_exact N={V**length} {dtype}", peers, measured, "configuration-steps", **found)


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    sizes = ((3, 256), (4, 64)) if chosen.full else ((3, 64), (4, 32))
    given = {"steps": 100, "rounds": 5, "full": True} if chosen.full else {"steps": 50, "rounds": 3, "full": False}
    lines = [main(length, dtype, num=num, **given) for length, num in sizes for dtype in ("float32", "float64")]
    measure.keep(lines, chosen.out)
