"""Ground truths to learn from: prompts, personas and words."""
