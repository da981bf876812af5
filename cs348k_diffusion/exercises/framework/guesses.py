"""Slips that need no list: what the right formula gives where one argument, or the result, is changed in a simple way.

A check lists the mistakes that belong to its exercise. Where none of them gives the student's numbers, these are tried:
an argument with the other sign, twice, squared, of the first example only, swapped with another; a result that is cut
off, halved, its root. The same rule holds: a name is given only where its formula gives the student's numbers.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.exercises.framework.fitted import Fitted, of_terms, of_whole
from cs348k_diffusion.exercises.framework.handed import of_functions, with_argument

ENOUGH = 5  # numbers that are compared: fewer agree by chance
MANY = 3  # names: more than that fit by chance, and help nobody
FLOATS: dict[str, Callable[[Any], Any]] = {
    "{} has the wrong sign": lambda v: -v,
    "twice {}": lambda v: 2 * v,
    "half of {}": lambda v: v / 2,
    "{} is squared": lambda v: v**2,
    "the root of {}": lambda v: v**0.5,
    "the absolute value of {}": abs,
    "1 / {}": lambda v: 1 / v,
    "1 - {}": lambda v: 1 - v,
    "1 + {}": lambda v: 1 + v,
}
NUMBERS = {
    "{} is not used: 0 stands in its place": lambda v: 0.0,
    "{} is not used: 1 stands in its place": lambda v: 1.0,
    "{} is rounded to a whole number": lambda v: float(round(v)),
    "{} is rounded down to a whole number": lambda v: float(math.floor(v)),
    "{} in per cent": lambda v: 100 * v,
    "{} divided by 100": lambda v: v / 100,
}
TENSORS = {
    "{} is not used: 0 stands in its place": torch.zeros_like,
    "{} is not used: 1 stands in its place": torch.ones_like,
    "{} is cut off at -1 and 1": lambda v: v.clamp(-1, 1),
    "{} is cut off at -2 and 2": lambda v: v.clamp(-2, 2),
    "{} is cut off at 0 and 1": lambda v: v.clamp(0, 1),
    "one {}, the first, for all": lambda v: v[:1].expand_as(v),
    "one {}, the last, for all": lambda v: v[-1:].expand_as(v),
    "the mean of {} for all": lambda v: v.mean().expand_as(v),
    "{} is in the opposite order": lambda v: v.flip(0),
    "{} has length 1": lambda v: v / v.norm(),
}
EXAMPLES = {  # of a tensor with more than one axis
    "one number of {}, the first, for all": lambda v: v.flatten()[0].expand_as(v),
    "one number of {} for each example": lambda v: v.flatten(1)[:, :1].view(-1, *(1,) * (v.ndim - 1)).expand_as(v),
}
INTEGERS = {
    "{} is one too large": lambda v: v + 1,
    "{} is one too small": lambda v: v - 1,
    "twice {}": lambda v: 2 * v,
    "half of {}": lambda v: v // 2,
    "{} is squared": lambda v: v**2,
}
INTEGER_TENSORS = INTEGERS | {
    "one {}, the first, for all": lambda v: v[:1].expand_as(v),
    "one {}, the largest, for all": lambda v: v.max().expand_as(v),
    "{} is in the opposite order": lambda v: v.flip(0),
}
RESULTS = FLOATS | {
    "the exponential of {}": lambda v: v.exp(),
    "the logarithm of {}": lambda v: v.log(),
    "{} has its logarithm to base 2, not e": lambda v: v / math.log(2),
    "{} has its logarithm to base 10, not e": lambda v: v / math.log(10),
    "{} is rounded to whole numbers": lambda v: v.round(),
    "{} is cut off at -1 and 1": lambda v: v.clamp(-1, 1),
    "{} is cut off at 0 and 1": lambda v: v.clamp(0, 1),
    "{} is 4 times too large": lambda v: 4 * v,
    "a quarter of {}": lambda v: v / 4,
    "{} is sqrt(2) times too large": lambda v: 2**0.5 * v,
    "{} is sqrt(2) times too small": lambda v: v / 2**0.5,
    "{} is divided by its standard deviation": lambda v: v / v.std(),
    "{} is always 0": torch.zeros_like,
    "{} is always 1": torch.ones_like,
    "the first example's result for all": lambda v: v[:1].expand_as(v),
    "the mean of {} for all": lambda v: v.mean().expand_as(v),
    "each row of {} has length 1": lambda v: v / v.norm(dim=-1, keepdim=True) if v.shape[-1:] != (1,) else None,
    "the rows of {} are in the opposite order": lambda v: v.flip(0),
    "{} is transposed": lambda v: v.mT,
}
WHOLE_RESULTS = INTEGERS | {
    "{} has the wrong sign": lambda v: -v,
    "{} is 4 times too large": lambda v: 4 * v,
    "{} is always 0": lambda v: 0,
    "{} is always 1": lambda v: 1,
}
WITH_ARGUMENT: dict[str, Callable[[Any, Any], Any]] = {
    "the result times {}": lambda result, v: result * v,
    "the result divided by {}": lambda result, v: result / v,
    "the result times {} squared": lambda result, v: result * v**2,
    "the result divided by {} squared": lambda result, v: result / v**2,
    "the result times the root of {}": lambda result, v: result * v**0.5,
    "the result divided by the root of {}": lambda result, v: result / v**0.5,
    "{} is added to the result": lambda result, v: result + v,
    "{} is subtracted from the result": lambda result, v: result - v,
    "the logarithm of {} is added to the result": lambda result, v: result + _log(v),
    "the logarithm of {} is subtracted from the result": lambda result, v: result - _log(v),
    "the logarithm of {} has the wrong sign": lambda result, v: result + 2 * _log(v),
    "minus the logarithm of {} has the wrong sign": lambda result, v: result - 2 * _log(v),
}


def of_arguments(right: Callable, args: tuple, got: Any, want: Any) -> dict[str, Callable[[], Any]]:
    """Name -> what right gives with one argument changed, or two swapped, for one set of arguments."""
    names, found = names_of(right, args), {}
    for k, value in enumerate(args):
        for name, change in changes(value).items():
            found[name.format(f"`{names[k]}`")] = _called(right, args, k, change)
    for k, j in itertools.combinations(range(len(args)), 2):
        if _alike(args[k], args[j]):
            found[f"`{names[k]}` and `{names[j]}` are swapped"] = _swapped(right, args, k, j)
            found[f"`{names[k]}` stands where `{names[j]}` belongs"] = with_argument(right, args, j, args[k])
            found[f"`{names[j]}` stands where `{names[k]}` belongs"] = with_argument(right, args, k, args[j])
    found |= of_functions(right, args, names)
    for k, value in enumerate(args):
        number = isinstance(value, float | int) and not isinstance(value, bool)
        if number or (isinstance(value, Tensor) and value.is_floating_point()):
            for name, change in WITH_ARGUMENT.items():
                found[name.format(f"`{names[k]}`")] = functools.partial(_beside, right, args, value, change)
        found[f"`{names[k]}` itself is returned"] = lambda value=value: value
    return found | of_terms(right, args, names, got, want)


def of_result(got: Any, want: Any, names: Sequence[str] = ()) -> dict[str, Callable[[], Any]]:
    """Name -> a simple change of the right result, or of one of its values, that an answer may have given instead."""
    if isinstance(want, tuple | list) and 0 < len(want) < 5:
        called = names if len(names) == len(want) else [f"value {k + 1}" for k in range(len(want))]
        pairs = got if isinstance(got, tuple | list) and len(got) == len(want) else want
        found = {
            name: _replaced(want, k, value)
            for k, each in enumerate(want)
            for name, value in _of_one(pairs[k], each, called[k]).items()
        }
        each = [_of_one(None, value, "each value") for value in want]
        found |= {name: _all([values[name] for values in each]) for name in each[0] if all(name in v for v in each)}
        return found | of_whole(got, want, called)
    return _of_one(got, want, "the result") | of_whole(got, want, ["the result"])


def names_of(function: Callable, args: tuple) -> list[str]:
    """What a function calls its arguments; "argument 1" and so on where it does not say."""
    try:
        kinds = inspect.signature(function).parameters.values()
        names = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD]
    except (ValueError, TypeError):
        names = []
    return names if len(names) == len(args) else [f"argument {k + 1}" for k in range(len(args))]


def changes(value: Any) -> Mapping[str, Callable[[Any], Any]]:
    """The changes that make sense for a value of this kind."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return FLOATS | (TENSORS if value.ndim else {}) | (EXAMPLES if value.ndim > 1 else {})
    if isinstance(value, Tensor):
        return INTEGER_TENSORS if value.ndim and value.dtype != torch.bool else {}
    if isinstance(value, bool):
        return {}
    return INTEGERS if isinstance(value, int) else FLOATS | NUMBERS if isinstance(value, float) else {}


def numbers_in(value: Any) -> int:
    """How many different numbers a value holds."""
    if isinstance(value, Tensor):
        return len(value.detach().unique())
    if isinstance(value, tuple | list):
        return sum(map(numbers_in, value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def _of_one(got: Any, want: Any, called: str) -> dict[str, Callable[[], Any]]:
    number = isinstance(want, float)
    if isinstance(want, int) and not isinstance(want, bool):
        return {name.format(called): _of(change, want, False) for name, change in WHOLE_RESULTS.items()}
    tensor = torch.tensor(want, dtype=torch.float64) if number else want
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        return {}
    found = {name.format(called): _of(change, tensor, number) for name, change in RESULTS.items()}
    if isinstance(got, Tensor) and got.shape == tensor.shape:
        found[f"{called} is cut off"] = Cut(got.detach(), tensor)
    return found


class Cut:
    """`want` between the smallest and the largest number of `got`; `spare`: numbers cut, beyond one for each end."""

    def __init__(self, got: Tensor, want: Tensor):
        self.got, self.want, self.spare = got, want, 0

    def __call__(self) -> Tensor:
        got, want = self.got, self.want
        low, high = got.min(), got.max()
        between, below, above = (want > low) & (want < high), want < low, want > high
        if not got.isfinite().all() or ((below | above).any() and between.sum() < min(2, want.numel() - 1)):
            raise ValueError("nothing says where it was cut")
        self.spare = sum(max(0, int(cut.sum()) - 1) for cut in (below, above))
        return want.clamp(low, high)


def _log(value: Any) -> Any:
    return value.log() if isinstance(value, Tensor) else math.log(value)


def _all(values: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    return lambda: tuple(value() for value in values)


def _of(change: Callable, value: Any, number: bool) -> Callable[[], Any]:
    return lambda: float(change(value)) if number else change(value)


def _replaced(values: Sequence, k: int, value: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: (*values[:k], value(), *values[k + 1 :])


def _called(right: Callable, args: tuple, k: int, change: Callable) -> Callable[[], Any]:
    return lambda: right(*args[:k], change(args[k]), *args[k + 1 :])


def _beside(right: Callable, args: tuple, value: Any, change: Callable) -> Any:
    result = right(*args)
    by_example = isinstance(result, Tensor) and isinstance(value, Tensor) and value.shape == result.shape[:1]
    return change(result, value.view(-1, *(1,) * (result.ndim - 1)) if by_example else value)


def _swapped(right: Callable, args: tuple, k: int, j: int) -> Callable[[], Any]:
    return lambda: right(*args[:k], args[j], *args[k + 1 : j], args[k], *args[j + 1 :])


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype
    return isinstance(one, float | int) and type(one) is type(other)


def surviving(evidence: Sequence[Any], others: Sequence[Any] = ()) -> list[str]:
    """Names of guesses that fit every piece of evidence: exact ones, or else those with the fewest fitted factors.

    others: what other checks of the same answer compared; a guess that one of them refutes is none.
    """
    if sum(numbers_in(each.got) for each in evidence) < ENOUGH or not evidence:
        return []
    first = evidence[0].guesses
    fitted = {name: len(guess.terms) for name, guess in first.items() if isinstance(guess, Fitted)}
    for factors in (0, 1, 2):
        found = _fitting([name for name in first if fitted.get(name, 0) == factors], evidence)
        found = [name for name in found if all(each.fits(name) is not False for each in others)]
        if 0 < len(found) <= MANY:
            return found
    return []


def _fitting(names: Sequence[str], evidence: Sequence[Any]) -> list[str]:
    """Those of the names that fit everywhere; later pieces are computed only for those that are left."""
    for each in evidence:
        names = [name for name in names if name in each.guesses and each.fits(name)]
    spare = {name: sum(getattr(each.guesses[name], "spare", ENOUGH) for each in evidence) for name in names}
    return [name for name in names if spare[name] >= ENOUGH]
