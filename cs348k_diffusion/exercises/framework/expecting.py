"""What a check says when an answer is not right: which property failed, how far off, and the likely mistake.

`agree(subject, right, inputs, says, mistakes)` is the usual check: it tries every input (`inputs.varied` makes them),
and names a mistake only where its formula gives the student's values on all of them. `expect(got, want, says,
mistakes)` compares one value; `same_form(got, want)` looks at type, number, shape and dtype before a check computes
with `got`. The proxy itself reports a changed argument and random numbers of one's own, for every exercise. An
`Exercise` says with `gives` what comes back ("alpha: tensor, sigma: tensor"): that is looked at before any check sees
it. `draws=True` allows random numbers, `changes=("x",)` arguments that an answer must change.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.exercises.framework.difference import agrees, difference, form_difference
from cs348k_diffusion.exercises.framework.errors import StudentError
from cs348k_diffusion.exercises.framework.guesses import MANY, names_of, of_arguments, of_result, surviving

LIKELY = "This is what you get when the mistake is: "
_EVIDENCE: ContextVar[list | None] = ContextVar("evidence", default=None)


class Wrong(AssertionError):
    """An answer that is not right: what does not hold, how it differs, and the names of mistakes that explain it.

    share: the part of the check's points that is earned all the same; evidence: the values that were compared.
    """

    def __init__(
        self,
        says: str,
        problem: str,
        names: Sequence[str] = (),
        share: float = 0.0,
        evidence: Sequence[Evidence] = (),
    ):
        self.says, self.problem, self.names, self.share = says, problem, tuple(names), share
        self.evidence = tuple(evidence)
        super().__init__(self.with_names(self.names))

    def with_names(self, names: Sequence[str]) -> str:
        """The message, naming these mistakes only."""
        likely = f"\n{LIKELY}{', or: '.join(names)}" if names else ""
        return f"{self.says}\n{self.problem}{likely}" if self.problem else f"{self.says}{likely}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """One value that an answer gave, and what each mistake would have given in its place.

    guess: makes the guesses of the module of that name; called when a name is asked for, which a right answer never is.
    """

    got: Any
    mistakes: Mapping[str, Any]
    rtol: float | None
    atol: float | None
    guess: Callable[[], Mapping[str, Any]] = dict

    @functools.cached_property
    def guesses(self) -> Mapping[str, Any]:
        return self.guess()

    @functools.cached_property
    def verdicts(self) -> dict[str, bool | None]:
        return {}

    def fits(self, name: str) -> bool | None:
        """Whether the mistake gives the student's value; None where it was not considered or cannot be computed."""
        if name not in self.verdicts:
            self.verdicts[name] = self._fits(name)
        return self.verdicts[name]

    def _fits(self, name: str) -> bool | None:
        if not self.considers(name):
            return None
        value = self.mistakes[name] if name in self.mistakes else self.guesses[name]
        try:
            value = value() if callable(value) else value
        except Exception:
            return None
        return agrees(self.got, value, self.rtol, self.atol)

    def considers(self, name: str) -> bool:
        """Whether the mistake was considered where this value was compared."""
        return name in self.mistakes or name in self.guesses


def explaining(names: Iterable[str], evidence: Sequence[Evidence]) -> list[str]:
    """The names that give the student's values wherever they were considered, and somewhere at least."""
    found = [name for name in dict.fromkeys(names) if _explains(name, evidence)]
    return found if len(found) <= MANY else []


def _explains(name: str, evidence: Sequence[Evidence]) -> bool:
    somewhere = False
    for each in evidence:
        fits = each.fits(name)
        if fits is False:  # most names are refuted by the first value: the others are not computed
            return False
        somewhere = somewhere or fits is True
    return somewhere


def settled(error: Wrong, evidence: Sequence[Evidence]) -> list[str]:
    """The names of a failed check that no check of the same answer refutes; where none is left, the next that fit."""
    kinds = {_kind(each.got) for each in error.evidence}
    alike = [each for each in evidence if not kinds or _kind(each.got) in kinds]  # guesses say something of these alone

    def stands(name: str) -> bool:
        speaking = [each for each in evidence if name in each.mistakes or (each in alike and each.considers(name))]
        return not speaking or bool(explaining([name], speaking))

    names = [name for name in error.names if stands(name)]
    if names or not error.names:
        return names
    listed = [name for each in error.evidence for name in each.mistakes]
    return explaining(listed, evidence) or surviving(error.evidence, alike)


def _kind(value: Any) -> tuple:
    """What values must share to be answers of one kind: a tensor, a number of calls, a tuple of three."""
    return type(value).__name__, len(value) if isinstance(value, tuple | list) else None


def of_one_slip(failed: Sequence[tuple[Sequence[str], Sequence[Evidence]]]) -> list[list[str]]:
    """The names of the failed checks of one answer, (names, evidence) of each, as names of one slip.

    A name that explains them all stands for all. What a check lists goes before what is guessed: where one check knows
    the mistake, the others do not guess.
    """
    named = [(list(names), noted) for names, noted in failed if names]
    every = dict.fromkeys(name for names, _ in named for name in names)
    guessed = {name for name in every if any(name in each.guesses for _, noted in named for each in noted)}
    known = [name for name in every if name not in guessed or any(name in e.mistakes for _, es in named for e in es)]
    shared = [name for name in every if all(any(each.fits(name) for each in noted) for _, noted in named)]
    speaking = [names for names, _ in named if set(known).intersection(names)]
    if shared:
        one = [name for name in shared if name in known] or ([] if speaking else shared)
        one = one or ([name for name in speaking[0] if name in known] if len(speaking) == 1 else [])
        if one:
            return [one if names else [] for names, _ in failed]
    return [[name for name in names if name in known or not known] for names, _ in failed]


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
    evidence = Evidence(got, mistakes or {}, rtol, atol, functools.partial(of_result, got, want, names))
    _note(evidence)
    problem = difference(got, want, rtol, atol, names)
    if problem is not None:
        raise Wrong(says, problem, _names(mistakes or {}, [evidence]), evidence=[evidence])


def agree(
    subject: Callable,
    right: Callable,
    inputs: Iterable[tuple],
    says: str,
    mistakes: Mapping[str, Callable] | Callable[..., Mapping[str, Any]] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    names: Sequence[str] = (),
) -> None:
    """Assert that subject(*args) is right(*args) for each args of `inputs`, and name the mistake that explains it all.

    right: an independent way to the truth; mistakes: name -> a function of the same arguments, the whole of a wrong
    answer, or a function of them that gives name -> value. Every input is tried even after one failed: a name is given
    only if its function gives what the student's does on all of them. The message shows the first input that failed.
    Other arguments as `expect`. Raises Wrong.
    """
    mistakes, evidence, first = mistakes or {}, [], None
    for args in inputs:
        try:
            got = subject(*args)
        except StudentError:
            if first is None:
                raise
            break
        want, wrong = right(*args), _wrong(mistakes, args)
        guess = functools.partial(_guesses, right, args, got, want, names)
        evidence.append(Evidence(got, wrong, rtol, atol, guess))
        _note(evidence[-1])
        problem = difference(got, want, rtol, atol, names)
        if problem is not None and first is None:
            first = f"{problem}; tried {tried(right, args)}"
    if first is not None:
        listed = [name for each in evidence for name in each.mistakes]
        raise Wrong(says, first, _names(listed, evidence), evidence=evidence)


def _wrong(mistakes: Mapping[str, Callable] | Callable[..., Mapping[str, Any]], args: tuple) -> Mapping[str, Any]:
    """name -> what each mistake gives for these arguments, or a function that computes it."""
    if callable(mistakes):
        return mistakes(*args)
    return {name: functools.partial(wrong, *args) for name, wrong in mistakes.items()}


def _names(mistakes: Iterable[str], evidence: Sequence[Evidence]) -> list[str]:
    """The mistakes of the list that explain it all, or else guesses that do; those stay out where they are many."""
    return explaining(mistakes, evidence) or surviving(evidence)


def _guesses(right: Callable, args: tuple, got: Any, want: Any, names: Sequence[str]) -> dict[str, Any]:
    return of_arguments(right, args, got, want) | of_result(got, want, names)


def tried(function: Callable, args: tuple) -> str:
    """The inputs of a check in words: "x of shape (1, 3) in float64, beta = 0.04"."""
    return ", ".join(f"{name} {_described(value)}" for name, value in zip(names_of(function, args), args))


def _described(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() > 1:
        kind = "" if value.dtype == torch.float32 else f" in {str(value.dtype).removeprefix('torch.')}"
        return f"of shape {tuple(value.shape)}{kind}"
    value = value.tolist() if isinstance(value, Tensor) else value
    if isinstance(value, bool | int | float | str | list | tuple) and len(str(value)) < 60:
        return f"= {value:.6g}" if isinstance(value, float) else f"= {value}"
    name = None if hasattr(type(value), "handle_id") else getattr(value, "name", None)  # not asked of a student's own
    return f"= {name}" if isinstance(name, str) else "as given"


def _note(evidence: Evidence) -> None:
    noted = _EVIDENCE.get()
    if noted is not None:
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
    problem = form_difference(got, want, names)
    if problem is not None:
        raise Wrong("The result has another form than it should have.", problem)
    return got


def must(holds: object, says: str) -> None:
    """Fail with this message alone; pytest would add how it computed the condition, which tells a student nothing."""
    if not holds:
        raise AssertionError(says)
