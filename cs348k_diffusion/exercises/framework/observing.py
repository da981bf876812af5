"""What a check sees besides values: how often a function is evaluated, the largest tensor, pictures to show."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PICTURES: ContextVar[list | None] = ContextVar("pictures", default=None)


class Counted:
    """A function handed to a student, with its evaluations counted and limited on our side.

    `calls` is the number of evaluations, `seen` the arguments of each as the student passed them. Attributes such as
    `.schedule` are those of the function. Raises RuntimeError beyond `limit` evaluations.
    """

    def __init__(self, function: Callable, limit: int = 10_000):
        self.function, self.limit = function, limit
        self.calls, self.seen = 0, []

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self.calls >= self.limit:
            raise RuntimeError(f"evaluated more than {self.limit} times")
        self.calls += 1
        self.seen.append((_copied(args), {name: _copied(value) for name, value in named.items()}))
        return self.function(*args, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "function" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.function, name)


def _copied(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_copied(item) for item in value)
    return value.detach().clone() if isinstance(value, Tensor) else value


class _Largest(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                self.bytes = max(self.bytes, value.untyped_storage().nbytes())
        return out


def largest_tensor(function: Callable, *args: Any, **named: Any) -> int:
    """Bytes of the largest tensor that a call makes, seen by a torch dispatch mode (a view counts as its storage)."""
    with _Largest() as mode:
        function(*args, **named)
    return mode.bytes


def picture(got: Any, want: Any, caption: str = "") -> None:
    """Show an answer beside its target under the check: images (C, H, W) in [-1, 1], points (N, 2), curves (N,).

    On a feedback page it stands beside a check that failed.
    """
    pictures = _PICTURES.get()
    if pictures is not None:
        pictures.append((got, want, caption))


@contextlib.contextmanager
def without_pictures() -> Iterator[None]:
    """While this is open, `picture` draws for nobody."""
    token = _PICTURES.set(None)
    try:
        yield
    finally:
        _PICTURES.reset(token)


@contextlib.contextmanager
def collecting_pictures():
    """While this is open, `picture` adds (got, want, caption) to the list it yields, and to an outer one at its end."""
    pictures: list[tuple[Any, Any, str]] = []
    outer, token = _PICTURES.get(), _PICTURES.set(pictures)
    try:
        yield pictures
    finally:
        _PICTURES.reset(token)
        if outer is not None:
            outer += pictures
