"""Ways to hold a policy: the interface, and the families that implement it."""
