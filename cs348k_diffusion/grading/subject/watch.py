"""What a student's code must leave alone: the arguments it is given, and the random numbers of the process.

A changed argument makes later cells of the notebook silently wrong, and random numbers of one's own make a result that
cannot be repeated. Both are seen here, beside the student's code, for every exercise.
"""

from __future__ import annotations

import dataclasses
import inspect
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.exercises.framework.errors import StudentError

GIVEN = ("noise", "eps", "draw", "generator", "g", "u", "uniform", "z", "seed")  # what randomness is handed over as
PLAIN = frozenset({int, float, str, bool, type(None)})
DEEP = 6  # how far nested arguments are followed


@dataclasses.dataclass(frozen=True)
class Rules:
    """What an exercise allows its answer: random numbers of its own, and arguments to change."""

    draws: bool = False
    changes: tuple[str, ...] = ()


def rules_of(exercise: Exercise) -> Rules:
    """The rules of an exercise. A property test draws what it likes."""
    return Rules(exercise.draws or exercise.name.startswith("test_"), exercise.changes)


class Watch:
    """Remembers the arguments of a call and the random numbers before it; `look` raises StudentError if they moved."""

    def __init__(self, rules: Rules | None, target: Callable, args: tuple, named: dict):
        self.rules = rules
        if rules is not None:
            self.given = {name: v for name, v in _called(target, args, named).items() if name not in rules.changes}
            self.before = {name: _copied(value) for name, value in self.given.items()}
            self.random = None if rules.draws else _random_state()

    def start_again(self) -> None:
        """Forget the random numbers drawn so far: between two steps of an iterator others may draw."""
        if self.rules is not None and not self.rules.draws:
            self.random = _random_state()

    def look(self) -> None:
        """Raise StudentError if an argument was changed, or random numbers were drawn."""
        if self.rules is None:
            return
        changed = [name for name, value in self.given.items() if not same(value, self.before[name])]
        if changed:
            raise changed_in_place(" and ".join(changed))
        if self.random is not None and not _same_state(self.random, _random_state()):
            instead = next((name for name in GIVEN if name in self.given), None)
            raise own_random_numbers(f"use {instead}, which it is given" if instead else "they are not needed here")


def changed_in_place(name: str) -> StudentError:
    """The error for a changed argument."""
    return StudentError("", f"changes its argument {name}; later cells still need it: work on a new value, x = x + ...")


def own_random_numbers(remedy: str) -> StudentError:
    """The error for random numbers that nobody handed over."""
    return StudentError("", f"draws random numbers of its own: {remedy}")


def collected(items: Any) -> list:
    """The items of an iterator. Raises StudentError if one was changed in place after it had been yielded."""
    found, copies = [], []
    for item in items:
        found.append(item)
        copies.append(_copied(item))
    if not all(same(item, copy) for item, copy in zip(found, copies)):
        raise StudentError("", "changes what it has yielded: yield a new tensor each time, x = x + ..., not x += ...")
    return found


def _called(target: Callable, args: tuple, named: dict) -> dict[str, Any]:
    """The arguments by name, as far as the target tells them."""
    function = target.forward if isinstance(target, nn.Module) else target
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    names += [f"number {k + 1}" for k in range(len(names), len(args))]
    return dict(zip(names, args)) | named


def _copied(value: Any, depth: int = 0) -> Any:
    if depth > DEEP:
        return _Opaque
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) is tuple and PLAIN.issuperset(map(type, value)):  # a table, which nobody can change
        return _Opaque
    if isinstance(value, list | tuple):
        return [_copied(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {key: _copied(item, depth + 1) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _copied(getattr(value, f.name, None), depth + 1) for f in dataclasses.fields(value)}
    return value if isinstance(value, int | float | str | bool | None) else _Opaque


class _Opaque:
    """Stands for what is not followed."""


def same(value: Any, copy: Any) -> bool:
    """Whether a value still is what its copy was; NaN equals NaN."""
    if copy is _Opaque:
        return True
    if isinstance(copy, Tensor):
        return isinstance(value, Tensor) and _same_tensor(value.detach(), copy)
    if isinstance(copy, list):
        return isinstance(value, list | tuple) and len(value) == len(copy) and all(map(same, value, copy))
    if isinstance(copy, dict):
        inner = dict(value) if isinstance(value, Mapping) else {key: getattr(value, key, None) for key in copy}
        return inner.keys() == copy.keys() and all(same(inner[key], copy[key]) for key in copy)
    return bool(value == copy) or value != value


def _same_tensor(value: Tensor, copy: Tensor) -> bool:
    if value.shape != copy.shape or value.dtype != copy.dtype:
        return False
    return torch.equal(value, copy) or bool(((value == copy) | ((value != value) & (copy != copy))).all())


def _random_state() -> tuple:
    import numpy as np

    state: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state(), random.getstate(), (state[1].tobytes(), *state[2:])


def _same_state(one: tuple, other: tuple) -> bool:
    return torch.equal(one[0], other[0]) and one[1:] == other[1:]
