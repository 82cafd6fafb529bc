"""What asks for gates and experts, which only a mixture has.

Such as bases fitted to the same text with a gate network and with a table: the same policies, other parameters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from toypersona.worlds import names

if TYPE_CHECKING:
    from experiments.shared.settings import WorldSettings
    from toypersona.bases import Pretrained

GATES = ("network", "table")


def check_mixture(config: WorldSettings, why: str) -> None:
    """Refuse a policy that has no gates and experts where the question is about them.

    Raises:
        ValueError: a transformer.
    """
    if config.policy != "mixture":
        raise ValueError(f"{why}: leave out --policy {config.policy}.")


def check(config: WorldSettings) -> None:
    """Refuse what a gate network and a table cannot both be fitted to.

    Raises:
        ValueError: people's lines, too few for a network, or a gate that is named.
    """
    if names.of_people(config.world):
        raise ValueError(
            "A gate network cannot be fitted to people's few lines: use --world larry_bob_alice or markov."
        )
    if config.pretraining.gate != "auto":
        raise ValueError("Both gates are fitted here: leave out --pretraining.gate.")
    check_mixture(config, "Both gates of a mixture are fitted here")


def pretrained(config: WorldSettings) -> list[Pretrained]:
    """The bases with each of ``GATES``, fitted or loaded."""
    fits = [dataclasses.replace(config.pretraining, gate=gate) for gate in GATES]
    return [dataclasses.replace(config, pretraining=fit).pretrained() for fit in fits]
