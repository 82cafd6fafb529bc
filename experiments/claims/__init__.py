"""What is read from each experiment's dataset, for its claims and its figure alike; without jax."""
