"""Slips in what is made of a function that an answer was handed: a schedule, a score, a network.

The right formula is computed with a changed function in its place: one that answers with the other sign, is asked
somewhere else, or a schedule whose alpha or sigma is squared, at all times or at one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PAIRS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "alpha and sigma{} are swapped": lambda a, s: (s, a),
    "alpha{} is squared": lambda a, s: (a**2, s),
    "sigma{} is squared": lambda a, s: (a, s**2),
    "the root of alpha{}": lambda a, s: (a**0.5, s),
    "the root of sigma{}": lambda a, s: (a, s**0.5),
    "alpha{} is not used: 1 stands in its place": lambda a, s: (a * 0 + 1, s),
    "sigma{} is not used: 1 stands in its place": lambda a, s: (a, s * 0 + 1),
    "1 / alpha{}": lambda a, s: (1 / a, s),
    "1 / sigma{}": lambda a, s: (a, 1 / s),
    "1 - alpha{} for sigma": lambda a, s: (a, 1 - a),
    "1 - sigma{} for alpha": lambda a, s: (1 - s, s),
    "sqrt(1 - alpha^2){} for sigma": lambda a, s: (a, (1 - a**2) ** 0.5),
    "sigma{} has the wrong sign": lambda a, s: (a, -s),
    "alpha{} has the wrong sign": lambda a, s: (-a, s),
    "both alpha and sigma{} are squared": lambda a, s: (a**2, s**2),
}
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "what {} answers has the wrong sign": lambda v: -v,
    "twice what {} answers": lambda v: 2 * v,
    "half of what {} answers": lambda v: v / 2,
    "what {} answers is squared": lambda v: v**2,
    "what {} answers is not used: 0 stands in its place": torch.zeros_like,
    "what {} answers is cut off at -1 and 1": lambda v: v.clamp(-1, 1),
    "what {} answers is the first example's, for all": lambda v: v[:1].expand_as(v),
}
SECONDS: dict[str, Callable[[Any], Any]] = {
    "{} is told 0 as its second argument": lambda t: t * 0,
    "{} is told 1 as its second argument": lambda t: t * 0 + 1,
    "{} is told 1 - its second argument": lambda t: 1 - t,
    "{} is told half of its second argument": lambda t: t / 2,
    "{} is told the square of its second argument": lambda t: t**2,
    "{} is told the root of its second argument": lambda t: t**0.5,
    "{} is told its second argument with the wrong sign": lambda t: -t,
}


class Changed:
    """A function that asks another with other arguments, or changes what it answers; attributes are the other's."""

    def __init__(self, function: Callable, ask: Callable = lambda *args: args, answer: Callable = lambda args, v: v):
        self.function, self.ask, self.answer = function, ask, answer

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.answer(args, self.function(*self.ask(*args), **named))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "function" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.function, name)


def of_functions(right: Callable, args: tuple, names: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Name -> what right gives when a function among its arguments is changed."""
    found: dict[str, Callable[[], Any]] = {}
    for k, function in enumerate(args):
        if callable(function) and not isinstance(function, type | Tensor | torch.nn.Module):
            for name, change in _changes(function, f"`{names[k]}`", args, names):
                found[name] = with_argument(right, args, k, change)
    return found


def _changes(function: Callable, called: str, args: tuple, names: Sequence[str]):
    if called == "`schedule`":
        places = {"": lambda given: True}
        places |= {f" at {n}": functools.partial(_asked_at, arg) for n, arg in zip(names, args) if n in ("t", "s", "r")}
        for place, here in places.items():
            for name, change in PAIRS.items():
                yield name.format(place), Changed(function, answer=_where(here, change))
        return
    for name, change in ANSWERS.items():
        yield name.format(called), Changed(function, answer=lambda given, v, change=change: change(v))
    for name, change in SECONDS.items():
        yield name.format(called), Changed(function, ask=lambda x, t, *rest, change=change: (x, change(t), *rest))
    for name, arg in zip(names, args):
        if isinstance(arg, Tensor) and arg.ndim > 1:
            yield f"{called} is asked at `{name}`", Changed(function, ask=functools.partial(_elsewhere, arg))


def _asked_at(time: Any, given: tuple) -> bool:
    asked, wanted = torch.as_tensor(given[0]), torch.as_tensor(time)
    return asked.numel() > 0 and bool((asked.double().flatten()[0] - wanted.double().flatten()[0]).abs() < 1e-9)


def _where(here: Callable[[tuple], bool], change: Callable) -> Callable:
    return lambda given, pair: change(*pair) if here(given) else pair


def _elsewhere(arg: Tensor, x: Tensor, *rest: Any) -> tuple:
    if x.shape != arg.shape:
        raise ValueError("cannot be asked there")
    return arg, *rest


def with_argument(right: Callable, args: tuple, k: int, value: Any) -> Callable[[], Any]:
    """What right gives, when it is asked, with another value for its argument k."""
    return lambda: right(*args[:k], value, *args[k + 1 :])
