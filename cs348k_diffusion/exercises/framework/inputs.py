"""Inputs with variety for a check: batches of one, axes of length one, one to four axes, float32 and float64.

A check that always tries the same inputs can be passed by a table of them, and one that tries a single shape by an
answer for that shape. `varied` draws new numbers for each case. They are salted by a key that the grading has and
students do not (`salted`): the same key gives the same inputs, and so the same marks.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

SHAPES = ((5, 2), (1, 3), (2, 1, 3, 4), (4,), (3, 1), (1, 1, 1, 1), (2, 3, 5))
DTYPES = (torch.float32, torch.float64)
_KEY: ContextVar[str] = ContextVar("key", default="")


@dataclass(frozen=True)
class Case:
    """One shape and dtype to try, and the random numbers for it; every draw gives new ones."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    generator: torch.Generator

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal numbers of standard deviation `scale`, of the case's shape or of another."""
        return scale * torch.randn(shape or self.shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers in [low, high), of the case's shape or of another; `batch` is its first axis."""
        drawn = torch.rand(shape or self.shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * drawn).to(self.dtype)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers low, ..., high - 1, of the case's shape or of another."""
        return torch.randint(low, high, shape or self.shape, generator=self.generator)

    def number(self, low: float, high: float) -> float:
        """One plain number in [low, high)."""
        return low + (high - low) * torch.rand((), generator=self.generator, dtype=torch.float64).item()

    @property
    def batch(self) -> int:
        """The length of the first axis."""
        return self.shape[0]

    def per_example(self, values: Tensor) -> Tensor:
        """values (batch,) with as many axes of length one behind them as the shape has."""
        return values.view(-1, *(1,) * (len(self.shape) - 1))


def varied(
    shapes: Sequence[tuple[int, ...]] = SHAPES, dtypes: Sequence[torch.dtype] = DTYPES, seed: int = 0
) -> Iterator[Case]:
    """One case for each shape, the dtypes taking turns: the default has batch 1, axes of length 1 and 1 to 4 axes."""
    for k, shape in enumerate(shapes):
        yield Case(tuple(shape), dtypes[k % len(dtypes)], generator(seed, k))


def generator(*seeds: int) -> torch.Generator:
    """Random numbers for a check: the same for the same seeds and key."""
    text = f"{_KEY.get()} {' '.join(map(str, seeds))}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))


def normals(*shape: int, seed: int = 0, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Standard normal numbers of this shape, drawn by the key of the grading and a seed."""
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


@contextlib.contextmanager
def salted(key: str) -> Iterator[None]:
    """Draw other inputs while this is open: those of `key`."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)
