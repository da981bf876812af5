"""Grade a student's own test: it must pass on right answers and fail on wrong ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from cs348k_diffusion.exercises.framework.errors import StudentError
from cs348k_diffusion.exercises.framework.expecting import Wrong
from cs348k_diffusion.exercises.framework.forms import kind_of


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
    verdicts = [(good, name, _verdict(subject.restart(), one)) for good, name, one in runs]
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
