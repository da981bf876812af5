"""What is done with a student's code, whether it lives in the notebook's kernel or in a worker.

The parent process has a few verbs: call, vector-Jacobian product, iterate, look at an attribute, read or load a
module's state, count the largest tensor. Objects that do not cross stay here and are known by number.
"""

from __future__ import annotations

import contextlib
import linecache
import random
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from cs348k_diffusion.exercises.framework.errors import NotYet, StudentError
from cs348k_diffusion.exercises.framework.observing import largest_tensor
from cs348k_diffusion.grading.records import OutOfTime
from cs348k_diffusion.grading.subject.watch import Rules, Watch, changed_in_place, collected

MAX_ITEMS = 100_000  # a handle more than this and the worker says so


class ObjectServer:
    """Holds the student's function as object 0, and every object it hands out.

    rules: what the exercise allows; None watches nothing.
    """

    def __init__(self, target: Any, rules: Rules | None = None):
        self.objects: list[Any] = [target]
        self.rules = rules
        self.watches: dict[int, Watch] = {}  # of the calls that made objects: an iterator may change them later
        self.watch: Watch | None = None

    def keep(self, value: Any) -> dict:
        """The handle of an object that stays here."""
        if len(self.objects) > MAX_ITEMS:
            raise StudentError("TooMany", f"more than {MAX_ITEMS} objects were handed out")
        self.objects.append(value)
        if self.watch is not None:
            self.watches[len(self.objects) - 1] = self.watch
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        return {"handle": [len(self.objects) - 1, f"a {kind}", hasattr(value, "__next__")]}

    def serve(self, verb: str, number: int, args: tuple, named: dict, extra: Any) -> Any:
        """Carry out one verb on object `number`."""
        self.watch = self.watches.get(number) if verb == "iterate" else None
        return getattr(self, f"do_{verb}")(self.objects[number], args, named, extra)

    @contextlib.contextmanager
    def watching(self, target: Any, args: tuple, named: dict) -> Iterator[None]:
        """Raise StudentError when the block is left, if the arguments were changed or random numbers drawn."""
        self.watch = Watch(self.rules, target, args, named)
        yield
        self.watch.look()

    def do_call(self, target: Any, args: tuple, named: dict, extra: Any) -> Any:
        with self.watching(target, args, named):
            return target(*args, **named)

    def do_construct(self, target: Any, args: tuple, named: dict, extra: Any) -> Any:
        return KeepRemote(target(*args, **named))

    def do_get(self, target: Any, args: tuple, named: dict, extra: str) -> Any:
        return getattr(target, extra)

    def do_iterate(self, target: Any, args: tuple, named: dict, extra: int) -> list:
        if self.watch is None:
            return list(islice(target, extra))
        self.watch.start_again()
        items = collected(islice(target, extra))
        self.watch.look()
        return items

    def do_state(self, target: Any, args: tuple, named: dict, extra: Any) -> dict:
        return {name: value.detach().clone() for name, value in _module(target).state_dict().items()}

    def do_load_state(self, target: Any, args: tuple, named: dict, extra: Mapping) -> None:
        _module(target).load_state_dict(extra)

    def do_largest(self, target: Any, args: tuple, named: dict, extra: Any) -> int:
        return largest_tensor(target, *args, **named)

    def do_vjp(self, target: Any, args: tuple, named: dict, extra: tuple) -> tuple:
        cotangent, wrt = extra
        leaves = {i: args[i].detach().clone().requires_grad_() for i in wrt}
        given = tuple(leaves.get(i, arg) for i, arg in enumerate(args))
        with self.watching(target, given, named):
            self._backward(target, given, named, cotangent, bool(wrt))
        return tuple(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves.values())

    def do_parameter_grads(self, target: Any, args: tuple, named: dict, extra: Any) -> dict:
        module = _module(target)
        module.zero_grad()
        self._backward(target, args, named, extra, True)
        return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}

    def _backward(self, target: Any, args: tuple, named: dict, cotangent: Any, must: bool) -> None:
        with torch.enable_grad():
            out = target(*args, **named)
        outs, cotangents = (out, cotangent) if isinstance(out, tuple | list) else ((out,), (cotangent,))
        if not pull_back(outs, cotangents) and must:
            raise StudentError("detached gradient", "autograd sees no way from the result back to the inputs")


def pull_back(outs: Sequence[Any], cotangents: Sequence[Any]) -> bool:
    """Run autograd backwards from <cotangents, outs>; False when no output depends on anything."""
    pairs = [(o, c) for o, c in zip(outs, cotangents) if isinstance(o, Tensor) and o.requires_grad and c is not None]
    for o, c in pairs:
        if o.shape != c.shape:
            raise StudentError("wrong shape", f"got {tuple(o.shape)}, expected {tuple(c.shape)}")
    if pairs:  # as one number: given gradients of its own, torch.autograd.backward loads sympy first, for half a second
        torch.stack([(o * c).sum() for o, c in pairs]).sum().backward()
    return bool(pairs)


class KeepRemote:
    """Marks a result that is to stay here even if it could cross."""

    def __init__(self, value: Any):
        self.value = value


def _module(target: Any) -> nn.Module:
    if not isinstance(target, nn.Module):
        raise StudentError("TypeError", f"expected a torch.nn.Module, got {type(target).__name__}")
    return target


def seed_everything(seed: int) -> None:
    """Start every random number generator that a student's code may use from one seed."""
    torch.manual_seed(seed)
    random.seed(seed)
    import numpy as np

    np.random.seed(seed % 2**32)  # noqa: NPY002


def guarded(action: Callable[[], Any]) -> Any:
    """Run a student's code; what it raises becomes NotYet or StudentError. The user's own interrupt passes through."""
    try:
        return action()
    except (NotYet, StudentError, OutOfTime, KeyboardInterrupt):
        raise
    except RecursionError as error:
        raise StudentError("RecursionError", "the function calls itself without end", where(error)) from None
    except RuntimeError as error:
        if "leaf Variable that requires grad is being used in an in-place" in str(error):
            raise changed_in_place("in place") from None
        raise StudentError(type(error).__name__, _text(error), where(error)) from error
    except BaseException as error:
        raise StudentError(type(error).__name__, _text(error), where(error)) from error


def _text(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # the student may have written __str__
        return ""


def where(error: BaseException) -> str:
    """The last line of the student's own code on the way to an exception, as "cell 7, line 3: `return x / 0`"."""
    frames = list(traceback.walk_tb(error.__traceback__))[-200:]
    for frame, line in reversed(frames):
        name = frame.f_code.co_filename
        if name.startswith("<cell ") or "ipykernel_" in name:
            text = linecache.getline(name, line).strip()[:120]
            cell = f"{name.strip('<>')}, " if name.startswith("<cell ") else ""
            return f"{cell}line {line}" + (f": `{text}`" if text else "")
    return ""
