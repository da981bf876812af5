"""Random numbers by name: throw number 5 of picture 17 is the same whatever was drawn before it, on every machine.

They come from NumPy's SeedSequence, whose algorithm is frozen, and are turned into choices by whole-number arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")
BLOCK, SPAN = 256, 1 << 32


class KeyedDraws:
    """An endless row of throws for the key (seed, index, stream); raises ValueError for keys outside 0 .. 2^32 - 1."""

    def __init__(self, seed: int, index: int, stream: int):
        for name, value in (("seed", seed), ("index", index)):
            if not 0 <= value < SPAN:
                raise ValueError(f"{name} is a whole number from 0 to 2^32 - 1, got {value}")
        self._throws = _throws(seed, index, stream)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return low + (high - low) * (next(self._throws) / SPAN)

    def pick(self, options: Sequence[Choice]) -> Choice:
        """One of the options, all equally likely; an option listed twice is twice as likely."""
        return options[next(self._throws) * len(options) >> 32]

    def chance(self, percent: int) -> bool:
        """True in `percent` of a hundred throws."""
        return next(self._throws) * 100 >> 32 < percent


def _throws(*key: int) -> Iterator[int]:
    block = 0
    while True:
        yield from map(int, np.random.SeedSequence((*key, block)).generate_state(BLOCK))
        block += 1
