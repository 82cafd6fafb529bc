"""W2: REINFORCE on sampled responses of mixtures of bigram experts, many configurations at once. float32.

A step samples responses, scores them, and climbs along the mean of reward times score; the reward is the mean of a
number for each word. Everybody logs the mean reward of every tenth step. All configurations are the same problem with
other random numbers, so that the correctness gate can compare learning curves: they agree up to sampling noise, far
below what is learnt.
"""

from benchmarks import measure

# isort: split
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from toypersona import programs
from toypersona.policies import mixture
from toypersona.rules import reinforce
from toypersona.rules.rule import Task

K, V, T, SAMPLES, LOG_EVERY = 4, 8, 16, 64, 10
LEARNING_RATE = 2.0
LEARNT, NOISE = 0.4, 0.06
"""The mean reward has to rise by the first; learning curves may differ by the second."""


class Problem(NamedTuple):
    """C configurations, float32."""

    gate: Any
    experts: Any
    word_rewards: Any
    seeds: Any

    def first(self, num: int) -> "Problem":
        """The first few of them."""
        return Problem(*(x[:num] for x in self))


def problem(num: int) -> Problem:
    """The same random problem, with seeds of their own."""
    rng = np.random.default_rng(0)
    one = Problem(0.1 * rng.normal(size=K), rng.normal(size=(K, V, V)), rng.normal(size=V), np.zeros(()))
    made = Problem(*(np.broadcast_to(x.astype(np.float32), (num, *x.shape)).copy() for x in one))
    return made._replace(seeds=np.arange(num))


def _curves(run_one: Callable, given: Problem, batch: int, options: tuple) -> Callable[[], np.ndarray]:
    compiled = programs.made(lambda all_: jax.lax.map(run_one, all_, batch_size=batch), options, given)
    on_device = jax.device_put(given)
    return lambda: np.asarray(compiled(on_device)).mean(axis=0)


def ours(given: Problem, steps: int, batch: int, options: tuple) -> Callable[[], np.ndarray]:
    """The library: ``reinforce`` on a mixture, vmapped in batches."""
    prompts, log_prompts = jnp.zeros((1, 1), int), jnp.zeros(1)
    policy = mixture.mixture(prompts, num_personas=K, num_units=V, num_words=V, length=T, gate="table").policy

    def one(config: Problem) -> jax.Array:
        task = Task(policy, prompts, log_prompts, lambda c, tokens: config.word_rewards[tokens].mean())
        rule = reinforce.reinforce(task, learning_rate=LEARNING_RATE, num_samples=SAMPLES)

        def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            state, info = rule.update(key, state)
            return state, info["reward"]

        params = mixture.params_of(config.gate[None], config.experts)
        keys = jax.random.split(jax.random.key(config.seeds), steps)
        return jax.lax.scan(step, rule.init(params), keys)[1][LOG_EVERY - 1 :: LOG_EVERY]

    return _curves(one, given, batch, options)


def jax_first_written(given: Problem, steps: int) -> Callable[[], np.ndarray]:
    """Draw each token from the mixture's next-token distribution, update the posterior; jax.grad, scan, vmap, jit."""

    def sample(key: jax.Array, gate: jax.Array, experts: jax.Array) -> jax.Array:
        log_experts = jax.nn.log_softmax(experts)

        def token(carry: tuple, key: jax.Array) -> tuple:
            log_posterior, before = carry
            drawn = jax.random.categorical(
                key, jax.nn.logsumexp(log_posterior[:, None] + log_experts[:, before], axis=0)
            )
            return (jax.nn.log_softmax(log_posterior + log_experts[:, before, drawn]), drawn), drawn

        return jax.lax.scan(token, (jax.nn.log_softmax(gate), jnp.array(0)), jax.random.split(key, T))[1]

    def log_prob(params: tuple, tokens: jax.Array) -> jax.Array:
        gate, experts = params
        before = jnp.concatenate([jnp.zeros(1, tokens.dtype), tokens[:-1]])
        each = jax.nn.log_softmax(experts)[:, before, tokens].sum(-1)
        return jax.nn.logsumexp(jax.nn.log_softmax(gate) + each)

    def one(config: Problem) -> jax.Array:
        def step(params: tuple, key: jax.Array) -> tuple:
            tokens = jax.vmap(lambda key: sample(key, *params))(jax.random.split(key, SAMPLES))
            rewards = config.word_rewards[tokens].mean(-1)
            slopes = jax.grad(lambda p: (rewards * jax.vmap(lambda x: log_prob(p, x))(tokens)).mean())(params)
            return jax.tree.map(lambda p, g: p + LEARNING_RATE * g, params, slopes), rewards.mean()

        keys = jax.random.split(jax.random.key(config.seeds), steps)
        return jax.lax.scan(step, (config.gate, config.experts), keys)[1][LOG_EVERY - 1 :: LOG_EVERY]

    return _curves(one, given, len(given.seeds), ())


def numpy_by_hand(given: Problem, steps: int) -> Callable[[], np.ndarray]:
    """Our algorithm, batched over configurations and samples; the gradient in closed form."""
    num, rng = len(given.seeds), np.random.default_rng(1)
    each = np.arange(num)[:, None]

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def run() -> np.ndarray:
        gate, experts, logs = given.gate.copy(), given.experts.copy(), []
        for i in range(steps):
            g, a = softmax(gate), softmax(experts)
            levels = rng.random((T + 1, num, SAMPLES), dtype=np.float32)
            persona = (np.cumsum(g, -1)[:, None, :-1] <= levels[0][..., None]).sum(-1)
            cumulative, before = np.cumsum(a, -1), np.zeros((num, SAMPLES), int)
            counts, rewards = np.zeros((num, SAMPLES, V * V), np.float32), np.zeros((num, SAMPLES), np.float32)
            for level in levels[1:]:
                token = (cumulative[each, persona, before][..., :-1] <= level[..., None]).sum(-1)
                np.put_along_axis(
                    counts,
                    (spot := (before * V + token)[..., None]),
                    np.take_along_axis(counts, spot, -1) + 1,
                    -1,
                )
                rewards = rewards + given.word_rewards[each, token] / T
                before = token
            posterior = softmax(np.log(g)[:, None] + counts @ np.log(a).reshape(num, K, -1).transpose(0, 2, 1))
            weighted = rewards[..., None] * posterior / SAMPLES
            slope = (weighted.transpose(0, 2, 1) @ counts).reshape(a.shape)
            total = weighted.sum(1)
            gate = gate + LEARNING_RATE * (total - total.sum(-1, keepdims=True) * g)
            experts = experts + LEARNING_RATE * (slope - slope.sum(-1, keepdims=True) * a)
            if i % LOG_EVERY == LOG_EVERY - 1:
                logs.append(rewards.mean())
        return np.array(logs)

    return run


def torch_peers(given: Problem, steps: int, one_by_one: int, full: bool) -> dict[str, measure.Peer]:
    """Eager, token by token as first written or by our algorithm; one configuration at a time, batched, compiled."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    tensors = [torch.as_tensor(x) for x in given[:3]]

    def log_policy(gate, experts, tokens):
        before = torch.cat([torch.zeros_like(tokens[..., :1]), tokens[..., :-1]], -1)
        spots = (before * V + tokens)[..., None, :, :].expand(*gate.shape, *tokens.shape[-2:])
        table = torch.log_softmax(experts, -1).flatten(-2)[..., None, :].expand(*gate.shape, tokens.shape[-2], V * V)
        each = torch.gather(table, -1, spots).sum(-1)
        return torch.logsumexp(torch.log_softmax(gate, -1)[..., None] + each, -2)

    def sample(gate, experts):
        persona = torch.multinomial(torch.softmax(gate, -1), SAMPLES, replacement=True)
        table = torch.cumsum(torch.softmax(experts, -1), -1)
        rows = torch.arange(len(gate))[:, None].expand_as(persona)
        before, tokens = torch.zeros_like(persona), []
        levels = torch.rand(T, *persona.shape)
        for level in levels:
            before = (table[rows, persona, before][..., :-1] <= level[..., None]).sum(-1)
            tokens.append(before)
        return torch.stack(tokens, -1)

    def sample_by_token(gate, experts):
        table, num = torch.log_softmax(experts, -1), len(gate)
        log_posterior = torch.log_softmax(gate, -1)[:, None].expand(-1, SAMPLES, -1)
        rows = torch.arange(num)[:, None].expand(-1, SAMPLES)
        before, tokens = torch.zeros(num, SAMPLES, dtype=torch.long), []
        for _ in range(T):
            following = table[rows, :, before]
            mixed = torch.logsumexp(log_posterior[..., None] + following, -2).exp()
            before = torch.multinomial(mixed.flatten(0, 1), 1).reshape(num, SAMPLES)
            spot = before[..., None, None].expand(-1, -1, K, 1)
            log_posterior = torch.log_softmax(log_posterior + torch.gather(following, -1, spot)[..., 0], -1)
            tokens.append(before)
        return torch.stack(tokens, -1)

    def surrogate(gate, experts, word_rewards, tokens):
        rewards = torch.gather(word_rewards[:, None].expand(-1, SAMPLES, -1), -1, tokens).mean(-1)
        return rewards.mean(), (rewards * log_policy(gate, experts, tokens)).mean(-1).sum()

    def curves(draw: Callable, num: int, *, compiled: bool = False) -> Callable[[], np.ndarray]:
        """Of some configurations one after the other, or of all of them at once."""
        draw, value = (torch.compile(draw), torch.compile(surrogate)) if compiled else (draw, surrogate)

        def train(gate, experts, word_rewards):
            gate, experts, logs = gate.clone().requires_grad_(), experts.clone().requires_grad_(), []
            for i in range(steps):
                with torch.no_grad():
                    tokens = draw(gate, experts)
                rewards, total = value(gate, experts, word_rewards, tokens)
                slopes = torch.autograd.grad(total, (gate, experts))
                with torch.no_grad():
                    gate += LEARNING_RATE * slopes[0]
                    experts += LEARNING_RATE * slopes[1]
                if i % LOG_EVERY == LOG_EVERY - 1:
                    logs.append(float(rewards))
            return np.array(logs)

        if num == len(given.seeds):
            return lambda: train(*tensors)
        return lambda: np.mean([train(*(x[i : i + 1] for x in tensors)) for i in range(num)], axis=0)

    tokens, num = steps * SAMPLES * T, len(given.seeds)
    peers = {
        "torch, eager, one configuration at a time": measure.Peer(
            curves(sample_by_token, one_by_one), one_by_one * tokens
        ),
        "torch, eager, batched": measure.Peer(curves(sample_by_token, num), num * tokens),
        "torch, eager, batched, our algorithm": measure.Peer(curves(sample, num), num * tokens),
    }
    if full:
        peers["torch.compile, batched, our algorithm"] = measure.prepared(
            lambda: curves(sample, num, compiled=True), num * tokens
        )
    return peers


def main(num: int, *, steps: int, rounds: int, full: bool) -> dict:
    """One size."""
    given, tokens = problem(num), num * steps * SAMPLES * T
    best, tries = measure.fastest(lambda batch, options: ours(given, steps, batch, options), (16, 64), tokens)
    few = max(1, num // 16)
    peers = {
        best: tries[best],
        "jax as first written": measure.prepared(lambda: jax_first_written(given, steps), tokens),
        "numpy, batched, our algorithm": measure.Peer(numpy_by_hand(given, steps), tokens),
    }
    if measure.installed("torch"):
        peers |= torch_peers(given, steps, few, full)
    else:
        print("torch is not installed (make peers): its rows are missing.")
    curve = peers[best].run()
    if curve[-1] - curve[0] < LEARNT:
        raise SystemExit(f"The mean reward rose by {curve[-1] - curve[0]:.2f} only: the gate would see nothing.")
    measure.check(peers, NOISE)
    measured, roofs = measure.rates(peers, rounds), measure.roofs()
    # Of the score alone, forwards and backwards, as products with transition counts: drawing is no arithmetic.
    flop = 4 * K * V * V / T
    share = flop * np.median(measured[best]) / 1e9 / roofs["gemm_gflop_s"]
    print(f"{share:.1%} of the matrix product's peak")
    return measure.report(
        f"w2_sampled K={K} V={V} T={T} {SAMPLES} samples a step",
        peers,
        measured,
        "tokens",
        roofs=roofs,
        share_of_gemm_peak=share,
    )


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    measure.keep(
        [main(256, steps=50, rounds=5, full=True) if chosen.full else main(64, steps=50, rounds=3, full=False)],
        chosen.out,
    )
