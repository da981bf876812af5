"""An endless supply of shuffled batches: what `fit` eats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def batches(
    x: Tensor, y: Tensor | None = None, size: int = 128, generator: torch.Generator | None = None
) -> Iterator[Any]:
    """Batches of `size` examples for ever: x alone, or (x, {"y": y}) when labels are given.

    Pass after pass over the data, each in a new random order, with no batch cut short: every example is seen equally
    often. The order is drawn on the CPU; x and y may live anywhere. Raises ValueError when there is no example, or
    when x and y differ in length.
    """
    if len(x) == 0 or size < 1:
        raise ValueError(f"batches need at least one example and a size of at least 1, got {len(x)} and {size}")
    if y is not None and len(y) != len(x):
        raise ValueError(f"one label for each example: got {len(x)} examples and {len(y)} labels")
    return _draw(x, y, size, generator)


def _draw(x: Tensor, y: Tensor | None, size: int, generator: torch.Generator | None) -> Iterator[Any]:
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < size:
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        now, order = order[:size].to(x.device), order[size:]
        yield x[now] if y is None else (x[now], {"y": y[now.to(y.device)]})
