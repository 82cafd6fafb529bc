"""Update rules: the interface, and one module per family of methods."""
