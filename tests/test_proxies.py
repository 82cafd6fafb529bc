import jax
import jax.numpy as jnp
import numpy as np

from toypersona import bases, proxies
from toypersona.worlds import larry_bob_alice


def test_without_an_error_gold_is_followed_and_nobody_is_paid_more_than_the_tilt_at_its_drift():
    base = bases.true(*larry_bob_alice.larry_bob_alice(), length=2)
    gold = jax.random.normal(jax.random.key(0), base.log_base.shape)
    marks = {
        "strengths": jnp.geomspace(0.1, 20.0, 30),
        "times": jnp.geomspace(0.1, 20.0, 30),
        "nums": jnp.geomspace(1.2, 99.0, 30),
    }
    found = jax.jit(lambda error: proxies.followed(base, gold, error, max_step=0.5, **marks))(jnp.zeros_like(gold))
    assert (np.diff(found["gold"], axis=1) > 0).all() and (np.diff(found["gold_drift"], axis=1) > 0).all()
    root, tilt = np.sqrt(found["gold_drift"]), found["gold"][0]
    for rule in (1, 2):
        inside = root[rule] < root[0, -1]
        above = found["gold"][rule] - np.interp(root[rule], root[0], tilt)
        assert above[inside].max() < 0.02
