"""What a check says when an answer is not right: which property failed, how far off, and the likely mistake.

`expect` compares, `run_against` grades a student's own property test, `Counted` counts evaluations where the student
cannot reach the count, `largest_tensor` sees memory instead of believing a claim about it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cs348k_diffusion.exercises.errors import StudentError

# Relative and absolute, as torch.testing.assert_close has them; its own first call loads sympy for a second, too long
# for a check. Shape and dtype are compared before, for isclose would broadcast.
TOLERANCES = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}
_PICTURES: ContextVar[list | None] = ContextVar("pictures", default=None)


def expect(
    got: Any,
    want: Any,
    says: str,
    mistakes: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Assert that an answer is close to the truth, and name the likely mistake when it is not.

    got, want: tensors, numbers, strings, or tuples, lists and dicts of them; kinds, shapes, dtypes and NaN are compared
    too. `says` states the property in the student's words. `mistakes` maps the name of a wrong solution to the value it
    would give (or to a function of no argument that computes it). Tolerances default to torch.testing's for the dtype.
    Raises AssertionError with `says`, the difference, and "this is what you get when ...: name".
    """
    problem = difference(got, want, rtol, atol)
    if problem is None:
        return
    likely = _likely(got, mistakes or {}, rtol, atol)
    hint = f"\nThis is what you get when the mistake is: {likely}" if likely else ""
    raise AssertionError(f"{says}\n{problem}{hint}")


def difference(got: Any, want: Any, rtol: float | None = None, atol: float | None = None) -> str | None:
    """One sentence about how an answer differs from the truth, or None when they agree."""
    if isinstance(want, Tensor):
        return _tensor_difference(got, want, rtol, atol)
    if isinstance(want, tuple | list):
        return _sequence_difference(got, want, rtol, atol)
    if isinstance(want, Mapping):
        return _mapping_difference(got, want, rtol, atol)
    if isinstance(want, float):
        return _number_difference(got, want, rtol, atol)
    if type(got) is not type(want):
        return f"wrong type: got {_kind(got)}, expected {want!r}"
    return None if got == want else f"got {got!r}, expected {want!r}"


def _tensor_difference(got: Any, want: Tensor, rtol: float | None, atol: float | None) -> str | None:
    if not isinstance(got, Tensor):
        return f"not a tensor: got {_kind(got)}, expected a tensor of shape {tuple(want.shape)}"
    if got.shape != want.shape:
        return f"wrong shape: got {tuple(got.shape)}, expected {tuple(want.shape)}"
    if got.dtype != want.dtype:
        both = got.is_floating_point() and want.is_floating_point()
        remedy = ": make new tensors like the input (x.new_zeros)" if both else ""
        return f"wrong dtype: got {got.dtype}, expected {want.dtype}{remedy}"
    bad = ~torch.isfinite(got) & torch.isfinite(want)
    if bad.any():
        return f"NaN or infinity: {int(bad.sum())} of {bad.numel()} values are not finite"
    usual = TOLERANCES.get(want.dtype, (0.0, 0.0))
    rtol, atol = (usual[0] if rtol is None else rtol), (usual[1] if atol is None else atol)
    close = torch.isclose(got.detach(), want.detach(), rtol=rtol, atol=atol, equal_nan=True)
    return None if close.all() else _farthest(got.detach(), want.detach(), close)


def _farthest(got: Tensor, want: Tensor, close: Tensor) -> str:
    gap = (got.double() - want.double()).abs().nan_to_num(torch.inf).masked_fill(close, 0.0)
    index: tuple[int, ...] = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape)) if gap.ndim else ()
    place = f" at index {index[0] if len(index) == 1 else index}" if index else ""
    off = int((~close).sum())
    many = f" ({off} of {gap.numel()} values differ)" if gap.numel() > 1 else ""
    one, other = got[index].item(), want[index].item()
    rounded = f"{one:.6g}" == f"{other:.6g}"
    digits = ".12g" if rounded else ".6g"
    why = ": rounding, as if float32 were used on the way" if rounded and want.dtype == torch.float64 else ""
    return f"got {one:{digits}}, expected {other:{digits}}{place}{many}{why}"


def _sequence_difference(got: Any, want: Sequence, rtol: float | None, atol: float | None) -> str | None:
    if not isinstance(got, tuple | list):
        return f"wrong type: got {_kind(got)}, expected {len(want)} values"
    if len(got) != len(want):
        return f"wrong number of values: got {len(got)}, expected {len(want)}"
    found = ((i, difference(a, b, rtol, atol)) for i, (a, b) in enumerate(zip(got, want)))
    return next((f"value {i}: {problem}" for i, problem in found if problem), None)


def _mapping_difference(got: Any, want: Mapping, rtol: float | None, atol: float | None) -> str | None:
    if not isinstance(got, Mapping):
        return f"not a dictionary: got {_kind(got)}"
    if set(got) != set(want):
        return f"wrong keys: got {sorted(map(str, got))}, expected {sorted(map(str, want))}"
    found = ((key, difference(got[key], want[key], rtol, atol)) for key in want)
    return next((f"{key}: {problem}" for key, problem in found if problem), None)


def _number_difference(got: Any, want: float, rtol: float | None, atol: float | None) -> str | None:
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"not a number: got {_kind(got)}, expected {want:.6g}"
    rtol, atol = (1e-6 if rtol is None else rtol), (1e-9 if atol is None else atol)
    close = abs(got - want) <= atol + rtol * abs(want) or (got != got and want != want) or got == want
    return None if close else f"got {got:.6g}, expected {want:.6g}"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    kind = getattr(value, "kind", None)  # a handle on something that does not cross the proxy knows its type
    return kind if isinstance(kind, str) else "None" if value is None else f"a {type(value).__name__}"


def _likely(got: Any, mistakes: Mapping[str, Any], rtol: float | None, atol: float | None) -> str | None:
    for name, value in mistakes.items():
        if difference(got, value() if callable(value) else value, rtol, atol) is None:
            return name
    return None


def run_against(
    subject: Any,
    right: Sequence,
    wrong: Mapping[str, Any],
    seed: int = 0,
    stricter: str = "Rounding in float32 needs a tolerance.",
) -> None:
    """Grade a student's property test: it must pass on every right subject and fail on every wrong one.

    right: at least two; wrong: name -> subject; `stricter` says what a test that rejects a right one overlooks. Each
    run gets a fresh worker, in shuffled order. Only an AssertionError counts as rejecting. Raises AssertionError saying
    which right one was rejected, or which wrong one slipped through.
    """
    runs = [("", one) for one in right] + list(wrong.items())
    random.Random(seed).shuffle(runs)
    verdicts = [(name, _verdict(subject.fresh(), one)) for name, one in runs]
    refused = [problem for name, problem in verdicts if not name and problem]
    if refused and not refused[0].startswith("AssertionError"):
        raise AssertionError(
            f"your test must run on every right answer, but on one of {len(right)} it raised {refused[0]}"
        )
    if refused:
        raise AssertionError(
            f"your test must pass on every right answer, but it rejects one of {len(right)}: {refused[0]}\n"
            f"Is it stricter than the task? {stricter}"
        )
    crashed = [problem for name, problem in verdicts if name and problem and not problem.startswith("AssertionError")]
    if crashed:
        raise AssertionError(f"only a failing assert counts as rejecting, but your test raised {crashed[0]}")
    missed = sorted(name for name, problem in verdicts if name and not problem)
    if missed:
        raise AssertionError(f"your test accepts {len(missed)} of {len(wrong)} wrong answers: {'; '.join(missed)}")


def _verdict(subject: Any, one: Any) -> str:
    try:
        subject(one)
    except StudentError as error:
        place = f" ({error.where})" if error.where else ""
        said = error.text or "(no message: say what is wrong, as in `assert small, 'too big'`)"
        return f"{error.kind}: {said}{place}"
    return ""


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
