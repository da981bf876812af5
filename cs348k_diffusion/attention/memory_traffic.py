"""Attention on a chip with little fast memory: every number that crosses from or to slow memory is counted.

`standard` writes S and P to slow memory and reads them back: 4 N d + 4 N^2 numbers. `tiled` never does. It holds as
many queries as fit, with their m, l and O, and lets keys and values stream past: 2 N d + 2 N d ceil(N / rows), about
10 N^2 d^2 / size. Both are iterators of moments that can be watched; the last one holds O.
Source: Dao et al. 2022 (FlashAttention), section 3.2 and theorem 2, arXiv:2205.14135.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

BLANK, FAST, GONE, SLOW, SIDE, READ = (
    torch.tensor([int(code[k : k + 2], 16) for k in (0, 2, 4)]) / 127.5 - 1
    for code in ("F2F2F2", "E69F00", "BFDDEF", "D55E00", "DADADA", "0072B2")
)
STRIP, GAP = 4, 2  # width of Q, K and O beside the square of S, and the distance between them


class FastMemory:
    """Room for `size` numbers; `moved` counts those that came from slow memory or went there."""

    def __init__(self, size: int):
        self.size, self.moved = size, 0
        self._held: dict[str, int] = {}

    def load(self, name: str, x: Tensor) -> Tensor:
        """Bring x in from slow memory, in place of what had this name."""
        self.moved += x.numel()
        return self.hold(name, x)

    def hold(self, name: str, x: Tensor) -> Tensor:
        """Keep a result of the chip's own. Raises MemoryError when more is held than fits."""
        self._held[name] = x.numel()
        if sum(self._held.values()) > self.size:
            raise MemoryError(f"{sum(self._held.values())} numbers do not fit into a fast memory of {self.size}")
        return x

    def store(self, x: Tensor) -> Tensor:
        """Send x to slow memory."""
        self.moved += x.numel()
        return x


class Moment(NamedTuple):
    """Where a run stands: numbers moved so far, O so far, and what to paint: (rows, columns, colour) in this order."""

    moved: int
    out: Tensor
    keys: int
    painted: Sequence[tuple[slice, slice, Tensor]]
    reading: tuple[slice, slice] = (slice(0), slice(0))  # queries and keys in fast memory
    done: int = 0  # finished rows of O

    def frame(self) -> Float[Tensor, "1 3 h w"]:
        """S as a square, K above it, Q to its left, O to its right."""
        n, m, edge = len(self.out), self.keys, STRIP + GAP
        picture = torch.ones(n + edge, m + 2 * edge, 3)
        square, q, k = picture[edge:, edge : edge + m], picture[edge:, :STRIP], picture[:STRIP, edge : edge + m]
        square[:], q[:], k[:], picture[edge:, -STRIP:] = BLANK, SIDE, SIDE, SIDE
        for rows, columns, colour in self.painted:
            square[rows, columns] = colour
        q[self.reading[0]] = READ
        k[:, self.reading[1]] = READ
        picture[edge : edge + self.done, -STRIP:] = READ
        return picture.permute(2, 0, 1)[None]

    def label(self) -> str:
        """How much has moved."""
        return f"{self.moved:,} numbers moved"


def tile_shape(size: int, d: int) -> tuple[int, int]:
    """Queries and keys of a tile that fit: rows (5 d + 2) <= size, and at most d keys. ValueError when not even one."""
    rows = size // (5 * d + 2)
    if rows < 1:
        raise ValueError(f"one query and one key of width {d} need a fast memory of {5 * d + 2}, got {size}")
    return rows, min(rows, d)


def tiled(q: Float[Tensor, "n d"], k: Float[Tensor, "m d"], v: Float[Tensor, "m d"], size: int) -> Iterator[Moment]:
    """Attention with a fast memory of `size` numbers: a moment for each tile."""
    rows, columns = tile_shape(size, q.shape[1])
    fast, out = FastMemory(size), torch.zeros_like(q)
    for i in range(0, len(q), rows):
        here = slice(i, i + rows)
        qi = fast.load("Q", q[here]) / math.sqrt(q.shape[1])
        m, l, o = torch.full((len(qi), 1), -torch.inf, dtype=q.dtype), qi.new_zeros(len(qi), 1), torch.zeros_like(qi)
        for j in range(0, len(k), columns):
            there = slice(j, j + columns)
            s = fast.hold("S", qi @ fast.load("K", k[there]).T)
            m_new = torch.maximum(m, s.amax(1, keepdim=True))
            f, shrink = torch.exp(s - m_new), torch.exp(m - m_new)
            l = fast.hold("l", shrink * l + f.sum(1, keepdim=True))
            o = fast.hold("O", shrink * o + f @ fast.load("V", v[there]))
            m = fast.hold("m", m_new)
            painted = ((slice(i), slice(None), GONE), (here, slice(j), GONE), (here, there, FAST))
            yield Moment(fast.moved, out, len(k), painted, (here, there), i)
        out[here] = fast.store(o / l)
    yield Moment(fast.moved, out, len(k), ((slice(None), slice(None), GONE),), done=len(q))


def standard(
    q: Float[Tensor, "n d"], k: Float[Tensor, "m d"], v: Float[Tensor, "m d"], rows: int = 4
) -> Iterator[Moment]:
    """Attention with S and P in slow memory: three passes over the square, shown `rows` at a time.

    Counted as the paper does: Q, K and V are read once, as if fast memory held all of one of them.
    """
    n, m, everything = len(q), len(k), slice(None)
    moved, s, out = k.numel(), q @ k.T / math.sqrt(q.shape[1]), torch.zeros_like(q)
    for i in range(0, n, rows):  # read Q, write S
        here = slice(i, i + rows)
        moved += q[here].numel() + s[here].numel()
        yield Moment(moved, out, m, ((slice(i), everything, SLOW), (here, everything, FAST)), (here, everything))
    for i in range(0, n, rows):  # read S, write P
        here = slice(i, i + rows)
        s[here] = torch.softmax(s[here], 1)
        moved += 2 * s[here].numel()
        yield Moment(moved, out, m, ((everything, everything, SLOW), (here, everything, FAST)))
    moved += v.numel()
    for i in range(0, n, rows):  # read P, write O
        here = slice(i, i + rows)
        out[here] = s[here] @ v
        moved += s[here].numel() + out[here].numel()
        yield Moment(moved, out, m, ((everything, everything, SLOW), (here, everything, FAST)), done=min(i + rows, n))


def side_by_side(runs: dict[str, Sequence[Moment]], frames: int = 60) -> dict[str, list[Moment]]:
    """Each run at the same numbers moved, from none to the most that any needs: who has finished waits."""
    most = max(moments[-1].moved for moments in runs.values())
    marks = [most * (k + 1) / frames for k in range(frames)]
    return {name: [_latest(moments, mark) for mark in marks] for name, moments in runs.items()}


def _latest(moments: Sequence[Moment], mark: float) -> Moment:
    return max((one for one in moments if one.moved <= mark), key=lambda one: one.moved, default=moments[0])
