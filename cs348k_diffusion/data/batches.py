"""Shuffled batches without end: what `fit` trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


class Batches(Iterator[Any]):
    """Rows of `size` examples for ever, made into batches by `look_up(rows)`; it knows where in the data it is."""

    def __init__(self, n: int, size: int, look_up: Callable[[Tensor], Any], generator: torch.Generator | None = None):
        if n < 1 or size < 1:
            raise ValueError(f"batches need at least one example and a size of at least 1, got {n} and {size}")
        self._n, self._size, self._look_up, self._generator = n, size, look_up, generator
        self._order = torch.empty(0, dtype=torch.long)

    def __next__(self) -> Any:
        while len(self._order) < self._size:
            device = "cpu" if self._generator is None else self._generator.device
            new = torch.randperm(self._n, generator=self._generator, device=device)
            self._order = torch.cat([self._order, new.cpu()])
        now, self._order = self._order[: self._size], self._order[self._size :]
        return self._look_up(now)

    def state(self) -> dict[str, Tensor]:
        """Where it is: the rows that this pass has still to come to, and the generator's state."""
        drawn = {} if self._generator is None else {"generator": self._generator.get_state()}
        return {"order": self._order.clone(), **drawn}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from that `state`."""
        self._order = state["order"].clone()
        if self._generator is not None:
            self._generator.set_state(state["generator"])


class Stream(Iterator[Any]):
    """Batches that `draw` makes anew from the generator, for ever; where it is, is where the generator is."""

    def __init__(self, draw: Callable[[torch.Generator], Any], generator: torch.Generator):
        self._draw, self._generator = draw, generator

    def __next__(self) -> Any:
        return self._draw(self._generator)

    def state(self) -> dict[str, Tensor]:
        """The generator's state."""
        return {"generator": self._generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from that `state`."""
        self._generator.set_state(state["generator"])


def batches(x: Tensor, y: Tensor | None = None, size: int = 128, generator: torch.Generator | None = None) -> Batches:
    """Batches of `size` examples for ever: x alone, or (x, {"y": y}) when labels are given.

    Pass after pass over the data, each in a new random order, with no batch cut short: every example is seen equally
    often. The order is drawn where the generator lives; x and y may live anywhere. Raises ValueError when there is no
    example, or when x and y differ in length.
    """
    if y is not None and len(y) != len(x):
        raise ValueError(f"one label for each example: got {len(x)} examples and {len(y)} labels")

    def look_up(rows: Tensor) -> Any:
        now = rows.to(x.device)
        return x[now] if y is None else (x[now], {"y": y[rows.to(y.device)]})

    return Batches(len(x), size, look_up, generator)
