"""The commands, one thin script each: a frozen config, its point, main. ``python -m experiments`` lists them."""

import os

if os.environ.get("NO_COLOR"):
    # tyro prints help and refusals in colours and has a switch of its own, read when it is imported.
    os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")
