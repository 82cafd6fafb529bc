"""Readers of scored responses: what a model said, and how likely it and others find that, as other projects log it."""
