"""One script per claim about speed: the library beside what a user would pick instead, after a correctness gate."""
