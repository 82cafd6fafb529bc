"""One thin script per claim: a frozen config, run, claims, main."""
