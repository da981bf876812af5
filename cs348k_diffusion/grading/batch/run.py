"""A folder of submissions in, marks and feedback out.

The plan says what is graded, the journal what is graded already; the rest is graded on this machine or on a cluster.
The gradebook is opened before and written after.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, registry
from cs348k_diffusion.grading.batch.journal import read_journal, up_to_date
from cs348k_diffusion.grading.batch.local import grade_here, graded_locally
from cs348k_diffusion.grading.batch.plan import Plan, key_of, plan_for
from cs348k_diffusion.grading.gradebook.book import Book
from cs348k_diffusion.grading.gradebook.rules import Rules, StudentRow
from cs348k_diffusion.grading.records import StudentResult
from cs348k_diffusion.grading.submissions.lms import numbers
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.workers.scratch import ending_tidily, remove_abandoned

NO_RULES = Rules()  # no roster, nothing late
ELSEWHERE = (
    "grade runs code that you do not trust, and the sandbox around it is Linux's. Elsewhere run it in a container: "
    'docker run --rm --network none -v "$PWD:/work" -w /work IMAGE cs348k grade submissions --out marks. '
    "A single notebook that you trust is checked by: cs348k check NOTEBOOK"
)


@ending_tidily()
def grade(
    folder: Path,
    out: Path,
    *,
    only: Sequence[str] = (),
    held_back: Path | None = None,
    jobs: int = 2,
    again: bool = False,
    checks: Path = FOLDER,
    rules: Rules = NO_RULES,
    hidden: Iterable[Path] = (),
    dask: str = "",
) -> dict[str, StudentRow]:
    """Grade every submission of a folder; writes marks and feedback to `out` and returns them by student.

    only: exercise ids or notebook words, whose marks replace earlier ones while others stay; held_back: a folder of
    check modules of your own; again: ignore earlier results; rules: the roster and the rule for late work; hidden:
    more that no submission may see; dask: the address of a cluster to grade on. Raises RuntimeError without a sandbox
    (not Linux), NotADirectoryError, LookupError for `only`, ValueError for what is wrong with overrides.csv.
    """
    if sys.platform != "linux":
        raise RuntimeError(ELSEWHERE)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; grade wants a folder of notebooks named by student")
    folder, held_back = folder.absolute(), held_back and held_back.absolute()  # other processes run elsewhere
    remove_abandoned()
    ids, students = numbers(folder), handed_in(folder, {exercise.word for exercise in registry(checks).values()}, out)
    unseen = tuple(str(path.resolve()) for path in (folder, out, *hidden))
    plan = plan_for(students, only, checks, held_back, unseen)
    out.mkdir(parents=True, exist_ok=True)
    plan = replace(plan, key=key_of(out))
    journal = out / "results.jsonl"
    book = Book(out, plan.scope, rules, [*students], read_journal(journal), plan.key, ids)
    return book.write(up_to_date(students, plan, journal, again, lambda todo: graded(todo, plan, jobs, dask)))


def graded(
    students: dict[str, list[Path]], plan: Plan, jobs: int, dask: str = ""
) -> Generator[StudentResult, None, None]:
    """Grade students as they come, under a progress bar: on this machine, or on a Dask cluster."""
    todo = list(students.items())
    if dask and todo:
        from cs348k_diffusion.grading.batch.dask import graded_by_dask

        return progress(graded_by_dask(todo, plan, dask), len(todo))
    return progress(graded_locally(todo, plan, jobs), len(todo))


def progress(items: Iterable[StudentResult], total: int) -> Generator[StudentResult, None, None]:
    """The same items under a progress bar with rate and time left."""
    from tqdm import tqdm

    bar: Any = tqdm(items, total=total, unit="student", desc="grading", disable=total == 0)
    yield from bar


@ending_tidily()
def check_notebook(path: Path, *, only: Sequence[str] = (), checks: Path = FOLDER) -> StudentResult:
    """One notebook as the batch would grade it; on any platform (outside Linux with a time limit alone)."""
    plan = plan_for({"you": [path]}, only, checks, None, ())
    return grade_here([("you", [path])], plan)[0]
