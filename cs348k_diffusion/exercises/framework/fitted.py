"""Slips of a factor: the result is right but for the weight of one argument, of two, or of the whole.

Most answers are sums of arguments, each with a factor. Where the answer differs from the right result by a multiple of
one argument alone, that argument has the wrong factor, whatever was written in its place. The multiple is found from
the answer, one for all or one for each example, so it counts as evidence only where there are more numbers than that.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

FACTORS: dict[str, Callable[[Tensor], Any]] = {
    "{} has the factor 1": torch.ones_like,
    "the factor of {} is squared": torch.square,
    "the factor of {} lacks its square: its root is used": lambda f: f.sqrt(),
    "the factor of {} is upside down": lambda f: 1 / f,
    "the factor of {} is 1 minus what it should be": lambda f: 1 - f,
    "the factor of {} is sqrt(1 - its square)": lambda f: (1 - f**2).sqrt(),
    "the factor of {} is 1 minus its square": lambda f: 1 - f**2,
}


class Fitted:
    """What a mistake with unknown factors would give, with those that come nearest; `spare`: numbers beyond them."""

    def __init__(
        self, got: Tensor, start: Tensor, terms: Sequence[Tensor], place: Callable[[Tensor], Any] = lambda v: v
    ):
        self.got, self.start, self.terms, self.place, self.spare = got, start, terms, place, 0

    def __call__(self) -> Any:
        if not self.got.isfinite().all() or not self.start.isfinite().all():
            raise ValueError("no factor gives this")
        for by_example in (False, True):
            value, self.spare = self._nearest(by_example)
            if torch.allclose(value, self.got.double(), rtol=1e-4, atol=1e-5):
                return self.place(self.got)
        return self.place(value.to(self.got.dtype))

    def _nearest(self, by_example: bool) -> tuple[Tensor, int]:
        """The nearest sum, with one factor for all numbers or one for each example, and how many numbers are left."""
        rows = len(self.got) if by_example and self.got.ndim else 1
        terms = torch.stack([term.double().reshape(rows, -1) for term in self.terms], -1)
        gap = (self.got.double() - self.start.double()).reshape(rows, -1, 1)
        factors = torch.linalg.pinv(terms) @ gap
        value = self.start.double() + (terms @ factors).reshape(self.got.shape)
        return value, max(0, terms.shape[1] - terms.shape[2]) * rows


def of_terms(right: Callable, args: tuple, names: Sequence[str], got: Any, want: Any) -> dict[str, Callable[[], Any]]:
    """Name -> what right gives with another factor before one argument or two of the result's shape."""
    found: dict[str, Callable[[], Any]] = {}
    for value, start, place in _values(got, want):
        terms = {f"`{name}`": arg for name, arg in zip(names, args) if _floats_like(arg, start)}
        for name, term in terms.items():
            if value is want or isinstance(want, Tensor):
                found |= {
                    said.format(name): functools.partial(_changed, right, args, term, f) for said, f in FACTORS.items()
                }
            found[f"{name} has the wrong factor"] = Fitted(value, start, [term], place)
        for one, other in itertools.combinations(terms, 2):
            two = [terms[one], terms[other]]
            found[f"{one} and {other} have the wrong factors"] = Fitted(value, start, two, place)
    return found


def of_whole(got: Any, want: Any, called: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Name -> the right result, or one of its values, with another factor or with a number added."""
    found: dict[str, Callable[[], Any]] = {}
    for (value, start, place), name in zip(_values(got, want), called):
        found[f"{name} has the wrong factor"] = Fitted(value, torch.zeros_like(start), [start], place)
        found[f"one number too many is added to {name}"] = Fitted(value, start, [torch.ones_like(start)], place)
    return found


def _values(got: Any, want: Any) -> list[tuple[Tensor, Tensor, Callable[[Tensor], Any]]]:
    """Each value of a result beside the right one, and how to put another in its place."""
    if isinstance(want, Tensor):
        return [(got.detach(), want.detach(), lambda v: v)] if _floats_like(got, want) else []
    if not isinstance(want, tuple | list) or not isinstance(got, tuple | list) or len(got) != len(want):
        return []
    pairs = [(k, a, b) for k, (a, b) in enumerate(zip(got, want)) if isinstance(b, Tensor) and _floats_like(a, b)]
    return [(a.detach(), b.detach(), _placing(want, k)) for k, a, b in pairs] if len(pairs) == len(want) else []


def _placing(want: Sequence, k: int) -> Callable[[Tensor], Any]:
    return lambda value: (*want[:k], value, *want[k + 1 :])


def _floats_like(one: Any, other: Tensor) -> bool:
    alike = isinstance(one, Tensor) and one.shape == other.shape and one.dtype == other.dtype
    return alike and other.is_floating_point() and other.ndim > 0


def _changed(right: Callable, args: tuple, term: Tensor, change: Callable[[Tensor], Any]) -> Tensor:
    """What a result that is a sum gives when the factor of one term is changed; ValueError where it is no such sum."""
    k = next(i for i, arg in enumerate(args) if arg is term)
    without = right(*args[:k], torch.zeros_like(term), *args[k + 1 :])
    part = right(*args) - without
    factor = (part / torch.where(term == 0, torch.nan, term)).reshape(len(term), -1).nanmedian(1).values
    factor = factor.view(-1, *(1,) * (term.ndim - 1))
    if not torch.allclose(part, factor * term, rtol=1e-4, atol=1e-5):
        raise ValueError("not a sum with a factor for each example")
    if not change(factor).isfinite().all():
        raise ValueError("no such factor")
    return without + change(factor) * term
