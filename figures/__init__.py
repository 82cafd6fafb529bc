"""One script per figure: reads datasets only, imports no jax."""
