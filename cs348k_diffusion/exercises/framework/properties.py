"""Grade a student's own test: it must pass on right answers and fail on wrong ones."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cs348k_diffusion.exercises.framework.errors import StudentError
from cs348k_diffusion.exercises.framework.expecting import Wrong
from cs348k_diffusion.exercises.framework.forms import kind_of

NO_ADVICE: Mapping = MappingProxyType({})
ROUNDING = 1e-5  # a difference below it is one of rounding, where numbers are of size 1


def run_against(
    subject: Any,
    right: Sequence | Mapping[str, Any],
    wrong: Mapping[str, Any],
    seed: int = 0,
    stricter: Mapping[Any, str] = NO_ADVICE,
    takes: Mapping[str, Any] = NO_ADVICE,
) -> None:
    """Grade a student's property test: it must pass on every right subject and fail on every wrong one.

    right: at least two, by name; wrong: name -> subject. Advice for a test that rejects a right subject, given only
    where its cause was seen: stricter: names of right subjects -> what a test that rejects these or some of them, and
    no other right one, has overlooked; takes: what a test has overlooked that accepts this subject -> the subject.
    Each run gets a fresh worker, in shuffled order, and is not repeated for another check of the same answer. Only an
    AssertionError counts as rejecting.
    Raises Wrong: one that rejects a right subject earns nothing, else each wrong one that it rejects earns its share.
    """
    right = right if isinstance(right, Mapping) else {_title(one, k): one for k, one in enumerate(right)}
    runs = [(True, name, one) for name, one in right.items()] + [(False, name, one) for name, one in wrong.items()]
    random.Random(seed).shuffle(runs)
    verdicts = [(good, name, subject.ran_on(one, _verdict)) for good, name, one in runs]
    for good, name, (kind, problem) in verdicts:
        if good and kind == "raised":
            raise Wrong("Your test must run on every right answer.", f"On {name} it raised {problem}")
    rejected = {name: problem for good, name, (kind, problem) in verdicts if good and kind == "rejected"}
    if rejected:
        name, problem = next(iter(rejected.items()))
        advice = overlooked(rejected, right, stricter) or _taken(subject, takes) or _rounding(problem)
        said = f"It rejects: {name}, which is right: {problem}\n{advice}".strip()
        raise Wrong("Your test must pass on every right answer.", said)
    _all_rejected({name: verdict for good, name, verdict in verdicts if not good})


def overlooked(rejected: Collection[str], right: Collection[str], stricter: Mapping[str | tuple[str, ...], str]) -> str:
    """The advice under the fewest names that are all of `rejected`; none where no right subject was accepted."""
    if set(rejected) >= set(right):
        return ""
    kinds = [((names,) if isinstance(names, str) else names, advice) for names, advice in stricter.items()]
    fitting = [(len(names), advice) for names, advice in kinds if set(rejected) <= set(names)]
    return min(fitting, key=lambda kind: kind[0], default=(0, ""))[1]


def _taken(subject: Any, takes: Mapping[str, Any]) -> str:
    return next((advice for advice, one in takes.items() if subject.ran_on(one, _verdict)[0] == "accepted"), "")


def _rounding(problem: str) -> str:
    """Advice where the greatest difference that assert_close prints is one of rounding."""
    found = re.search(r"(?i)absolute difference: (\d\S*)", problem)
    small = found is not None and float(found[1]) < ROUNDING
    return "The difference is one of rounding: compare with a tolerance, such as 1e-3." if small else ""


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
