"""A sweep of one's own: any function of a key and named numbers, over a grid, kept on disk and resumable.

    python examples/sweep.py

computes the drift budget of tilts by random rewards into ``results/mine.zarr``, and prints the selection fraction.
"""

import jax

from toypersona import bases, sweeps, theory
from toypersona.worlds import larry_bob_alice

jax.config.update("jax_enable_x64", True)
base = bases.true(*larry_bob_alice.larry_bob_alice(), length=3)


def experiment(key, *, strength):
    """The drift budget of the tilt by a random reward, one number to a name."""
    reward = jax.random.normal(key, base.log_base.shape)
    return base.budget(theory.tilt(base.log_base, reward, strength))._asdict()


dataset = sweeps.run(experiment, {"strength": [0.1, 1.0, 10.0]}, seeds=[0, 1], out="results/mine.zarr")
print(dataset.selection_fraction.mean("seed").to_series())  # labelled: long names and units are kept
