"""A mutated answer gets the same verdict and the same name in the notebook's kernel and in the batch's workers.

Each day a few mutants of another share of the exercises; the whole sample of every exercise with CS348K_ALL_MUTANTS=1.
"""

import ast
import datetime

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.exercises.framework.catalogue import FOLDER, registry
from cs348k_diffusion.grading.batch import run as batch
from tests import mutants
from tests.answers import Given, definition, records_of, runs, verdicts
from tests.turns import everything, todays

pytestmark = pytest.mark.usefixtures("as_students_run_them")

EVERY = everything("MUTANTS")
DAYS, FEW = 32, 2  # an exercise has its turn once in so many days, with so many mutants
TODAY = datetime.date.today().toordinal()
ENDLESS = ("timeout", "more than")  # how long an endless loop may run is another matter here than there


def chosen(exercise):
    """The mutants that have their turn, by name."""
    nodes = mutants.chosen(exercise, mutants.sample(exercise))
    names = sorted(nodes)
    start = TODAY // DAYS * FEW % len(names)
    return nodes if EVERY else {name: nodes[name] for name in (names + names)[start : start + FEW]}


def text_of(exercise, node):
    """What a student's cell holds: what the reference needs, with the mutated definition in its place."""
    reference, lines = definition(exercise), []
    for _, text, indices in reference.cells:
        body = ast.parse(text).body
        for index in indices:
            mine = getattr(body[index], "name", None) == reference.name
            lines.append(ast.unparse(node if mine else body[index]))
    return "\n\n".join(lines)


def in_the_kernel(exercise, nodes):
    """Live answers; a mutant that does not even run is left out, for it is told in other words."""
    sources = []
    for name, node in nodes.items():
        try:
            sources.append(Given(name, {exercise.id: mutants.timed(runs(definition(exercise), node))}))
        except Exception:
            continue
    return sources


TURNS = todays(registry().values(), DAYS, "MUTANTS")


@pytest.mark.parametrize("exercise", TURNS, ids=[exercise.id for exercise in TURNS])
def test_a_mutant_is_judged_alike_in_the_kernel_and_in_workers(exercise, tmp_path):
    nodes = chosen(exercise)
    records = records_of([exercise], in_the_kernel(exercise, nodes))
    endless = {r.student for r in records if r.status == "timeout" or any(word in r.message for word in ENDLESS)}
    here = {key: value for key, value in verdicts(records).items() if key[0] not in endless}
    students = {}
    for k, name in enumerate(dict.fromkeys(student for student, *_ in here)):
        path = tmp_path / f"{k}.ipynb"
        cell = new_code_cell(text_of(exercise, nodes[name]), id="mutant")
        path.write_text(handout.text(new_notebook(cells=[cell])), encoding="utf-8")
        students[name] = [path]
    plan = batch.plan_for(students, [exercise.id], FOLDER, None, ())
    there = verdicts(record for each in batch.grade_here([*students.items()], plan) for record in each.records)
    assert here
    told = [f"{key}: {value} in the kernel, {there.get(key)} in a worker" for key, value in here.items()]
    assert {key: there.get(key) for key in here} == here, "\n".join(told)
