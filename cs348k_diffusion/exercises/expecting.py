"""What a check says when an answer is not right: which property failed, how far off, and the likely mistake.

`agree(subject, right, inputs, says, mistakes)` is the usual check: it tries every input (`inputs.varied` makes them),
and names a mistake only where its formula gives the student's values on all of them. `expect(got, want, says,
mistakes)` compares one value; `same_form(got, want)` looks at type, number, shape and dtype before a check computes
with `got`. `run_against` grades a student's own property test, points for each broken subject; `Counted` counts
evaluations where the student cannot reach the count; `largest_tensor` sees memory instead of believing a claim.
The proxy itself reports a changed argument and random numbers of one's own, for every exercise. An `Exercise` says
with `gives` what comes back ("alpha: tensor, sigma: tensor"): that is looked at before any check sees it. `draws=True`
allows random numbers, `changes=("x",)` arguments that an answer must change.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cs348k_diffusion.exercises.errors import StudentError
from cs348k_diffusion.exercises.forms import kind_of

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
LIKELY = "This is what you get when the mistake is: "
MANY = 3  # names: more than that fit by chance, and help nobody
_PICTURES: ContextVar[list | None] = ContextVar("pictures", default=None)
_EVIDENCE: ContextVar[list | None] = ContextVar("evidence", default=None)


class Wrong(AssertionError):
    """An answer that is not right: what does not hold, how it differs, and the names of mistakes that explain it.

    share: the part of the check's points that is earned all the same.
    """

    def __init__(self, says: str, problem: str, names: Sequence[str] = (), share: float = 0.0):
        self.says, self.problem, self.names, self.share = says, problem, tuple(names), share
        super().__init__(self.with_names(self.names))

    def with_names(self, names: Sequence[str]) -> str:
        """The message, naming these mistakes only."""
        likely = f"\n{LIKELY}{', or: '.join(names)}" if names else ""
        return f"{self.says}\n{self.problem}{likely}" if self.problem else f"{self.says}{likely}"


@dataclass(frozen=True)
class Evidence:
    """One value that an answer gave, and what each mistake would have given in its place."""

    got: Any
    mistakes: Mapping[str, Any]
    rtol: float | None
    atol: float | None

    def fits(self, name: str) -> bool | None:
        """Whether the mistake gives the student's value; None where it was not considered or cannot be computed."""
        if name not in self.mistakes:
            return None
        value = self.mistakes[name]
        try:
            value = value() if callable(value) else value
        except Exception:
            return None
        return difference(self.got, value, self.rtol, self.atol) is None


def explaining(names: Iterable[str], evidence: Sequence[Evidence]) -> list[str]:
    """The names that give the student's values wherever they were considered, and somewhere at least."""
    verdicts = {name: [each.fits(name) for each in evidence] for name in dict.fromkeys(names)}
    found = [name for name, all_ in verdicts.items() if True in all_ and False not in all_]
    return found if len(found) <= MANY else []


def expect(
    got: Any,
    want: Any,
    says: str,
    mistakes: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    names: Sequence[str] = (),
) -> None:
    """Assert that an answer is close to the truth, and name the likely mistake when it is not.

    got, want: tensors, numbers, strings, or tuples, lists and dicts of them; kinds, shapes, dtypes and NaN are compared
    too. `says` states the property in the student's words. `mistakes` maps the name of a wrong solution to the value it
    would give (or to a function of no argument that computes it). Tolerances default to torch.testing's for the dtype.
    names: what the values of a tuple are called ("alpha", "sigma"). Raises Wrong, an AssertionError with `says`, the
    difference, and "this is what you get when ...: name", where several that fit are named together.
    """
    evidence = Evidence(got, mistakes or {}, rtol, atol)
    _note(evidence)
    problem = difference(got, want, rtol, atol, names)
    if problem is not None:
        raise Wrong(says, problem, explaining(mistakes or {}, [evidence]))


def agree(
    subject: Callable,
    right: Callable,
    inputs: Iterable[tuple],
    says: str,
    mistakes: Mapping[str, Callable] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    names: Sequence[str] = (),
) -> None:
    """Assert that subject(*args) is right(*args) for each args of `inputs`, and name the mistake that explains it all.

    right: an independent way to the truth; mistakes: name -> a function of the same arguments, the whole of a wrong
    answer. Every input is tried even after one failed: a name is given only if its function gives what the student's
    does on all of them. The message shows the first input that failed. Other arguments as `expect`. Raises Wrong.
    """
    mistakes, evidence, first = mistakes or {}, [], None
    for args in inputs:
        try:
            got = subject(*args)
        except StudentError:
            if first is None:
                raise
            break
        evidence.append(Evidence(got, {name: _later(wrong, args) for name, wrong in mistakes.items()}, rtol, atol))
        _note(evidence[-1])
        problem = difference(got, right(*args), rtol, atol, names)
        if problem is not None and first is None:
            first = f"{problem}; tried {tried(right, args)}"
    if first is not None:
        raise Wrong(says, first, explaining(mistakes, evidence))


def _later(wrong: Callable, args: tuple) -> Callable[[], Any]:
    return lambda: wrong(*args)


def tried(function: Callable, args: tuple) -> str:
    """The inputs of a check in words: "x of shape (1, 3) in float64, beta = 0.04"."""
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:
        names = [f"argument {k + 1}" for k in range(len(args))]
    return ", ".join(f"{name} {_described(value)}" for name, value in zip(names, args))


def _described(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() > 1:
        kind = "" if value.dtype == torch.float32 else f" in {str(value.dtype).removeprefix('torch.')}"
        return f"of shape {tuple(value.shape)}{kind}"
    value = value.tolist() if isinstance(value, Tensor) else value
    if isinstance(value, bool | int | float | str | list | tuple) and len(str(value)) < 60:
        return f"= {value:.6g}" if isinstance(value, float) else f"= {value}"
    name = getattr(value, "name", None)
    return f"= {name}" if isinstance(name, str) else "as given"


def _note(evidence: Evidence) -> None:
    noted = _EVIDENCE.get()
    if noted is not None and evidence.mistakes:
        noted.append(evidence)


@contextlib.contextmanager
def collecting_evidence() -> Iterator[list[Evidence]]:
    """While this is open, what `expect` and `agree` compare is added to the list it yields."""
    noted: list[Evidence] = []
    token = _EVIDENCE.set(noted)
    try:
        yield noted
    finally:
        _EVIDENCE.reset(token)


def same_form(got: Any, want: Any, names: Sequence[str] = ()) -> Any:
    """`got`, if type, number, shape and dtype are those of `want`; the values are not compared. Raises Wrong."""
    problem = _form_difference(got, want, names)
    if problem is not None:
        raise Wrong("The result has another form than it should have.", problem)
    return got


def difference(
    got: Any, want: Any, rtol: float | None = None, atol: float | None = None, names: Sequence[str] = ()
) -> str | None:
    """One sentence about how an answer differs from the truth, or None when they agree; `names` of a tuple's values."""
    if isinstance(want, Tensor):
        return _tensor_difference(got, want, rtol, atol)
    if isinstance(want, tuple | list):
        return _sequence_difference(got, want, names, lambda a, b: difference(a, b, rtol, atol))
    if isinstance(want, Mapping):
        return _mapping_difference(got, want, rtol, atol)
    if isinstance(want, float):
        return _number_difference(got, want, rtol, atol)
    if type(got) is not type(want):
        return f"wrong type: got {kind_of(got)}, expected {want!r}"
    return None if got == want else f"got {got!r}, expected {want!r}"


def _form_difference(got: Any, want: Any, names: Sequence[str] = ()) -> str | None:
    """As `difference`, but blind to values."""
    if isinstance(want, Tensor):
        return _tensor_form(got, want)
    if isinstance(want, tuple | list):
        return _sequence_difference(got, want, names, _form_difference)
    if isinstance(want, float):
        return _number_form(got, f"{want:.6g}")
    return None if type(got) is type(want) else f"wrong type: got {kind_of(got)}, expected {kind_of(want)}"


def _tensor_form(got: Any, want: Tensor) -> str | None:
    if not isinstance(got, Tensor):
        missing = ": is a `return` missing?" if got is None else ""
        return f"not a tensor: got {kind_of(got)}, expected a tensor of shape {tuple(want.shape)}{missing}"
    if got.shape != want.shape:
        return f"wrong shape: got {tuple(got.shape)}, expected {tuple(want.shape)}"
    if got.dtype != want.dtype:
        both = got.is_floating_point() and want.is_floating_point()
        remedy = ": make new tensors like the input (x.new_zeros)" if both else ""
        return f"wrong dtype: got {got.dtype}, expected {want.dtype}{remedy}"
    return None


def _tensor_difference(got: Any, want: Tensor, rtol: float | None, atol: float | None) -> str | None:
    problem = _tensor_form(got, want)
    if problem:
        return problem
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
    rounded = not isinstance(one, complex) and f"{one:.6g}" == f"{other:.6g}"
    digits = ".12g" if rounded else ".6g"
    why = ": rounding, as if float32 were used on the way" if rounded and want.dtype == torch.float64 else ""
    return f"got {one:{digits}}, expected {other:{digits}}{place}{many}{why}"


def _sequence_difference(
    got: Any, want: Sequence, names: Sequence[str], compare: Callable[[Any, Any], str | None]
) -> str | None:
    listed = f"{len(want)} values" + (f" ({', '.join(names)})" if names else "")
    if not isinstance(got, tuple | list):
        return f"wrong type: got {kind_of(got)}, expected {listed}"
    if len(got) != len(want):
        return f"wrong number of values: got {len(got)}, expected {listed}"
    called = names if len(names) == len(want) else [f"value {i + 1} of {len(want)}" for i in range(len(want))]
    found = ((name, compare(a, b)) for name, a, b in zip(called, got, want))
    return next((f"{name}: {problem}" for name, problem in found if problem), None)


def _mapping_difference(got: Any, want: Mapping, rtol: float | None, atol: float | None) -> str | None:
    if not isinstance(got, Mapping):
        return f"not a dictionary: got {kind_of(got)}"
    if set(got) != set(want):
        return f"wrong keys: got {sorted(map(str, got))}, expected {sorted(map(str, want))}"
    found = ((key, difference(got[key], want[key], rtol, atol)) for key in want)
    return next((f"{key}: {problem}" for key, problem in found if problem), None)


def _number_form(got: Any, want: str) -> str | None:
    number = isinstance(got, int | float) and not isinstance(got, bool)
    return None if number else f"not a number: got {kind_of(got)}, expected {want}"


def _number_difference(got: Any, want: float, rtol: float | None, atol: float | None) -> str | None:
    problem = _number_form(got, f"{want:.6g}")
    if problem:
        return problem
    rtol, atol = (1e-6 if rtol is None else rtol), (1e-9 if atol is None else atol)
    close = abs(got - want) <= atol + rtol * abs(want) or (got != got and want != want) or got == want
    return None if close else f"got {got:.6g}, expected {want:.6g}"


def run_against(
    subject: Any,
    right: Sequence | Mapping[str, Any],
    wrong: Mapping[str, Any],
    seed: int = 0,
    stricter: str | Mapping[str, str] = "",
) -> None:
    """Grade a student's property test: it must pass on every right subject and fail on every wrong one.

    right: at least two, by name; wrong: name -> subject; stricter: name of a right subject -> what a test that rejects
    it has overlooked. Each run gets a fresh worker, in shuffled order. Only an AssertionError counts as rejecting.
    Raises Wrong: one that rejects a right subject earns nothing, else each wrong one that it rejects earns its share.
    """
    right = right if isinstance(right, Mapping) else {_title(one, k): one for k, one in enumerate(right)}
    runs = [(True, name, one) for name, one in right.items()] + [(False, name, one) for name, one in wrong.items()]
    random.Random(seed).shuffle(runs)
    verdicts = [(good, name, _verdict(subject.fresh(), one)) for good, name, one in runs]
    for good, name, (kind, problem) in verdicts:
        if good and kind == "raised":
            raise Wrong("Your test must run on every right answer.", f"On {name} it raised {problem}")
    for good, name, (kind, problem) in verdicts:
        if good and kind == "rejected":
            advice = stricter.get(name, "") if isinstance(stricter, Mapping) else stricter
            said = f"It rejects: {name}, which is right: {problem}\n{advice}".strip()
            raise Wrong("Your test must pass on every right answer.", said)
    _all_rejected({name: verdict for good, name, verdict in verdicts if not good})


def _all_rejected(verdicts: dict[str, tuple[str, str]]) -> None:
    missed = {name: (kind, problem) for name, (kind, problem) in verdicts.items() if kind != "rejected"}
    if not missed:
        return
    lines = [f"It accepts {len(missed)} of {len(verdicts)} wrong answers: {'; '.join(sorted(missed))}"]
    raised = [f"{problem} on {name}" for name, (kind, problem) in missed.items() if kind == "raised"]
    lines += [f"Only a failing assert counts as rejecting, but your test raised {raised[0]}"] if raised else []
    returned = [problem for kind, problem in missed.values() if kind == "returned"]
    lines += [f"Your test returned {returned[0]}: nobody looks at that. Write `assert condition`."] if returned else []
    raise Wrong("Your test must reject every wrong answer.", "\n".join(lines), share=1 - len(missed) / len(verdicts))


def _title(one: Any, number: int) -> str:
    said = (getattr(one, "__doc__", None) or "").strip().partition("\n")[0].rstrip(".")
    return said if said and hasattr(one, "__code__") else f"right answer {number + 1}"


def _verdict(subject: Any, one: Any) -> tuple[str, str]:
    """What came of one run: accepted, returned (something), rejected or raised, with the words for it."""
    try:
        result = subject(one)
    except StudentError as error:
        place = f" ({error.where})" if error.where else ""
        said = error.text or "(no message: say what is wrong, as in `assert small, 'too big'`)"
        return "rejected" if error.kind == "AssertionError" else "raised", f"{error.kind}: {said}{place}"
    return ("accepted", "") if result is None else ("returned", kind_of(result))


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
