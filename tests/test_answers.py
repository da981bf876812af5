"""The checks themselves: right answers pass, each named wrong one is rejected by its name, mutants do not slip through.

In the kernel, as `check` runs, and the most of it again in workers, as `grade` runs. Each day all right answers and
half of the wrong ones, a quarter of the notebooks in workers, and a third of the mutants' exercises; everything with
CS348K_ALL_ANSWERS=1.
"""

import functools
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, checks_of, of_notebook, registry
from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.checks.check import ours
from tests import mutants
from tests.answers import HERE, Given, answers, definition, records_of, runs, solution, verdicts
from tests.turns import todays

pytestmark = pytest.mark.usefixtures("as_students_run_them")

WORDS = sorted({exercise.word for exercise in registry().values()})
EXERCISES = list(registry().values())


def named(exercise: Exercise) -> str:
    return exercise.id


REFERENCE = "the notebook's own answer"


def handed_in(word: str, few: bool = False) -> dict[str, dict[str, str]]:
    """student -> exercise -> answer, as an expression: the right ones, and one student for each rank of wrong ones.

    few: two right ones and three wrong ones; of a property test one of each, as each costs a worker for each of its
    subjects, and of a dear answer too. Not few: all right ones, and beyond those wrong ones every other one, by turns.
    """
    found: dict[str, dict[str, str]] = {REFERENCE: {exercise.id: exercise.name for exercise in of_notebook(word)}}
    for exercise in of_notebook(word):
        id, dear = exercise.id, exercise.name.startswith("test_") or exercise.id in mutants.DEAR
        right, wrong = range(len(answers(word).RIGHT[id])), range(len(answers(word).WRONG[id]))
        few_right, few_wrong = (1, 1) if dear else (2, 3)
        for k in right[:few_right] if few else right:
            found.setdefault(f"right answer {k + 1}", {})[id] = f"RIGHT['{id}'][{k}]"
        for k in [*wrong[:few_wrong], *(() if few else todays(wrong[few_wrong:], 2, "ANSWERS"))]:
            found.setdefault(f"wrong answer {k + 1}", {})[id] = f"[*WRONG['{id}'].values()][{k}]"
    return found


def live(word: str) -> list[Given]:
    """The answers as functions of this process."""
    by_id = {exercise.id: exercise for exercise in of_notebook(word)}
    return [
        Given(student, {id: runs(definition(by_id[id])) for id in given})
        if student == REFERENCE
        else Given(student, {id: eval(expression, vars(answers(word))) for id, expression in given.items()})
        for student, given in handed_in(word).items()
    ]


def notebooks(word: str, folder: Path) -> dict[str, list[Path]]:
    """The answers as notebooks that students might hand in."""
    names = {exercise.id: exercise.name for exercise in of_notebook(word)}
    found = {}
    for k, (student, given) in enumerate(handed_in(word, few=True).items()):
        cells = [new_code_cell((HERE / f"{word}.py").read_text(), id="answers")]
        cells += [new_code_cell(f"{names[id]} = {what}", id=f"e{n}") for n, (id, what) in enumerate(given.items())]
        (folder / f"{k}.ipynb").write_text(handout.text(new_notebook(cells=cells)))
        found[student] = [folder / f"{k}.ipynb"]
    return found | {REFERENCE: [solution(word)]}


def problems(word: str, records: list, few: bool = False) -> list[str]:
    """Right answers that do not pass, wrong ones that do or are rejected without their name, and missing records."""
    found = []
    for student, given in handed_in(word, few).items():
        for exercise in of_notebook(word):
            if exercise.id in given:
                mine = [r for r in records if (r.student, r.exercise) == (student, exercise.id)]
                found += [f"{exercise.id} {student}: {line}" for line in problems_of(exercise, student, mine)]
    return found


def problems_of(exercise: Exercise, student: str, records: list) -> list[str]:
    missing = {check.test for check in checks_of(exercise)} - {record.test for record in records}
    failed = [record for record in records if record.status != "passed"]
    said = "\n".join(f"{r.test}: {r.status}: {r.message}" for r in failed)
    if missing:
        return [f"no record of {missing}"]
    if any(record.status in ("error", "not yet") for record in records):
        return [said]
    if not student.startswith("wrong"):
        return [said] if failed else []
    name = list(answers(exercise.word).WRONG[exercise.id])[int(student.split()[-1]) - 1]
    return [] if name in said else [f"{name!r} is accepted" if not failed else f"{name!r} is not named in:\n{said}"]


@pytest.mark.parametrize("exercise", EXERCISES, ids=named)
def test_every_exercise_has_two_right_and_four_wrong_answers_and_hints(exercise):
    given = answers(exercise.word)
    right, wrong = given.RIGHT[exercise.id], given.WRONG[exercise.id]
    assert len({id(answer) for answer in right}) >= 2
    assert len(wrong) >= 4
    assert len({id(answer) for answer in wrong.values()}) == len(wrong)
    assert len(exercise.hints) == 3
    assert checks_of(exercise)


@pytest.mark.parametrize("word", WORDS)
def test_answers_belong_to_exercises(word):
    ids = {exercise.id for exercise in of_notebook(word)}
    given = answers(word)
    for listed in (given.RIGHT, given.WRONG, getattr(given, "EQUIVALENT", {})):
        assert set(listed) <= ids


@pytest.mark.parametrize("exercise", [exercise for exercise in EXERCISES if exercise.ours], ids=named)
def test_the_packages_own_answer_passes(exercise):
    """What `mine_or_ours` hands out where a student's own is missing."""
    records = records_of([exercise], [Given("the package", {exercise.id: ours(exercise)})])
    assert {record.test for record in records} == {check.test for check in checks_of(exercise)}
    assert [record for record in records if record.status != "passed"] == []


@functools.cache
def in_the_kernel(word: str) -> list:
    """What the checks say about every answer, as the notebook's `check` would."""
    return records_of(of_notebook(word), live(word))


@pytest.mark.parametrize("word", WORDS)
def test_in_the_kernel_right_answers_pass_and_wrong_ones_are_named(word):
    found = problems(word, in_the_kernel(word))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", todays(WORDS, 4, "ANSWERS"))
def test_workers_give_the_verdicts_and_names_of_the_kernel(word, tmp_path):
    students = notebooks(word, tmp_path)
    plan = batch.plan_for(students, [word], FOLDER, None, ())
    records = [record for each in batch.grade_here([*students.items()], plan) for record in each.records]
    found = problems(word, records, few=True)
    assert not found, "\n".join(found)
    here, there, few = verdicts(in_the_kernel(word)), verdicts(records), handed_in(word, few=True)
    asked = {key for key in here if key[1] in few.get(key[0], {})}
    assert {key: here[key] for key in asked} == {key: there[key] for key in asked}, "the notebook says otherwise"


DRAWN = {
    "E1.2": ("inside and outside are swapped", "a hard edge"),
    "E3.5": ("that is the noise",),
    "E4.4": ("cosines first", "m instead of m - 1"),
}


@pytest.mark.parametrize(("id", "name"), [(id, name) for id, names in DRAWN.items() for name in names])
def test_a_wrong_answer_is_drawn_beside_the_target(id, name):
    exercise = registry()[id]
    (wrong,) = [answer for said, answer in answers(exercise.word).WRONG[id].items() if said.startswith(name)]
    records = records_of([exercise], [Given("wrong", {id: wrong})])
    (drawn,) = [drawn for record in records if (drawn := record.picture)]
    yours, target = (re.sub("yours|target", "", figure) for figure in re.findall("<figure.*?</figure>", drawn))
    assert yours != target


@pytest.mark.parametrize("exercise", todays(EXERCISES, 3, "ANSWERS"), ids=named)
def test_mutants_of_the_reference_are_rejected(exercise):
    count, alive, stale = mutants.report(exercise, mutants.sample(exercise))
    assert count >= 5, "too little code to mutate"
    assert not alive, "no check rejects these, and EQUIVALENT does not explain them:\n" + "\n".join(alive)
    assert not stale, "EQUIVALENT explains mutants that are rejected or do not exist:\n" + "\n".join(stale)
