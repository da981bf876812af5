"""Long work is an iterator: sampling, training and fitting all hand out one item per step.

One progress bar, widget, animation, early stop and test can then consume the same thing. An iterator that
nobody walks does nothing, and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Run(Iterator[T], Generic[T]):
    """A walk that has been described and not yet taken; iterate over it to take the steps."""

    def __init__(self, steps: Iterator[T], describe: str):
        self._steps, self._describe, self._taken = steps, describe, 0

    def __next__(self) -> T:
        item = next(self._steps)
        self._taken += 1
        return item

    def __repr__(self) -> str:
        if not self._taken:
            return f"<{self._describe}: not run yet: use watch(...) or last(...)>"
        return f"<{self._describe}: {self._taken} step{'s' * (self._taken > 1)} taken>"


def last(steps: Iterable[T]) -> T:
    """Walk to the end and return the last item.

    Raises ValueError when there is no item at all (an iterator can be walked only once).
    """
    newest = deque(steps, maxlen=1)
    if not newest:
        raise ValueError("nothing to walk: the iterator is empty or was walked before; make a new one")
    return newest[0]
