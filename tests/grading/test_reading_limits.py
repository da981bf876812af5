"""Reading a hand-in takes its time and memory in a child with limits; what is said of it has an end."""

import sys

import pytest

from cs348k_diffusion.grading.batch.plan import plan_for
from cs348k_diffusion.grading.checks.source import WorkerSource
from cs348k_diffusion.grading.submissions import limited, reading, similarity
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions.files import MAX_FILES, Unreadable
from cs348k_diffusion.grading.submissions.notebook import FEW, Submission
from cs348k_diffusion.grading.submissions.source import notebooks_in
from cs348k_diffusion.grading.workers.pool import ForkServer
from tests.grading.test_batch import DOUBLE, PERFECT, TOYS, notebook, write
from tests.grading.test_similarity import RENAMED, WALK

CHAIN = ["double = 1\n" + "double += double\n" * 11_000] * 4  # each line needs all before it
linux = pytest.mark.skipif(sys.platform != "linux", reason="a child with limits is Linux's")


def test_what_takes_time_is_not_done_again_by_the_grader(tmp_path, monkeypatch):
    """Jobs and what an answer depends on are found where the notebook is read."""
    path = write(tmp_path / "ada.ipynb", notebook("from __future__ import annotations", *PERFECT.values()))
    plan = plan_for({"ada": [path]}, (), TOYS, None, ())
    source = WorkerSource("ada", reading.read([path], plan.exercises), ForkServer(), plan.ours)
    again = submission.read([path])
    wanted = {each.name: (again.needed(each.name), again.needs(each.name).read) for each in plan.exercises.values()}
    for name in ("closure", "trees"):
        monkeypatch.setattr(Submission, name, property(lambda self: pytest.fail("found in the grader's process")))
    monkeypatch.setattr(submission, "parsed", lambda text: pytest.fail("parsed in the grader's process"))
    for exercise in plan.exercises.values():
        job = source._job(exercise)
        assert (job.cells, source.reading.needs[exercise.name].read) == wanted[exercise.name]
        assert job.flags
        source.depends_on(exercise)


@linux
def test_a_notebook_that_takes_too_long_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "SECONDS", 1)
    path = write(tmp_path / "slow.ipynb", notebook(*CHAIN))
    with pytest.raises(Unreadable, match="to read"):
        reading.read([path], plan_for({"slow": [path]}, ["E9.1"], TOYS, None, ()).exercises)


@linux
def test_likeness_is_looked_for_within_the_same_limits(tmp_path, monkeypatch):
    pytest.importorskip("rapidfuzz")
    monkeypatch.setattr(limited, "SECONDS", 1)
    for name, cells in {
        "ada": [WALK],
        "bob": [RENAMED],
        "slow": [text.replace("double", "walk") for text in CHAIN],
    }.items():
        write(tmp_path / "in" / f"{name}.ipynb", notebook(*cells))
    pairs = similarity.similar(tmp_path / "in", checks=TOYS, course=tmp_path)
    assert [(pair.one, pair.other) for pair in pairs] == [("ada", "bob")]


def test_a_longer_chain_of_definitions_takes_steps_in_proportion(monkeypatch):
    counted = {}
    for n in (100, 200):
        made = Submission([(1, "double = 1\n" + "double = double\n" * n + "def f(): return double\n" * n)])
        steps, honest = [], made._binding
        monkeypatch.setattr(made, "_binding", lambda *a, honest=honest, steps=steps: [steps.append(1), *honest(*a)][1:])
        assert len(made.closure("f")) == n + 2
        counted[n] = len(steps)
    assert counted[200] <= 2.1 * counted[100]


def test_many_cells_that_are_no_python_are_named_in_part(tmp_path):
    path = write(tmp_path / "ada.ipynb", notebook(DOUBLE, *["x = = 1", "%%bash\nls"] * 500))
    made = submission.read([path])
    assert made.has("double")
    assert len(made.notes) == FEW + 1
    assert made.notes[-1] == f"{1000 - FEW} more cells of ada.ipynb were skipped."


def test_no_file_of_a_student_is_dropped_without_a_word(tmp_path):
    for i in range(60):
        write(tmp_path / "some" / f"{i:03}.ipynb", notebook("x = 1"))
    write(tmp_path / "some" / "last.ipynb", notebook(DOUBLE))
    assert submission.read(notebooks_in(tmp_path / "some")).has("double")
    for i in range(MAX_FILES + 5):
        write(tmp_path / "many" / f"{i:03}.ipynb", notebook("x = 1") if i else notebook(DOUBLE))
    assert (
        f"There are {MAX_FILES + 5} files; the first {MAX_FILES} were read."
        in submission.read(notebooks_in(tmp_path / "many")).notes
    )
    for i in range(FEW + 4):
        write(tmp_path / "pictures" / f"{i}.png", b"\x89PNG")
    with pytest.raises(Unreadable, match=r"4 more files were not read\.$"):
        submission.read(notebooks_in(tmp_path / "pictures"))
