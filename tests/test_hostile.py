"""Broken, hostile and cheating submissions graded as one class: everybody gets what an honest marker would give.

Every second case of each kind is graded here, and all of them with CS348K_ALL_HOSTILE=1 in the environment.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cs348k_diffusion.grading.workers.pool import ForkServer
from tests.hostile import corpus, informed
from tests.hostile.corpus import write
from tests.turns import everything

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
ROOT = Path(__file__).parents[1]
CHECKS = ROOT / "tests" / "hostile" / "checks"
PARTS = (*corpus.PARTS, *informed.PARTS)
CORPUS = corpus.CORPUS | {name: case for part in informed.PARTS for name, case in part.items()}
ALL = everything("HOSTILE")
CASES = CORPUS if ALL else {name: case for part in PARTS for name, case in list(part.items())[::2]}
WATCHED = [Path("/tmp/forged-by-a-submission"), Path("/dev/shm/forged-by-a-submission"), Path("/tmp/conftest.py")]


@pytest.fixture(scope="module")
def held():
    """The layers of the sandbox that this machine allows."""
    workers = ForkServer()
    workers.end(workers.start(1))
    yield list(workers.held)
    workers.close()


def seen(*folders):
    """Every file below the folders: name, kind, size, time of the last change."""
    paths = [path for folder in folders for path in (folder, *folder.rglob("*")) if "__pycache__" not in path.parts]
    facts = {str(path): path.lstat() for path in paths}
    return {name: (fact.st_mode, fact.st_size, fact.st_mtime_ns) for name, fact in facts.items()}


@pytest.fixture(scope="module")
def graded(held, tmp_path_factory):
    """The class after grading: its records by student, what was written elsewhere, the folder of marks."""
    home = tmp_path_factory.mktemp("class")
    inbox, out, canary = home / "in", home / "out", home / "canary"
    inbox.mkdir()
    canary.mkdir()
    (canary / "canary.txt").write_text("alive")
    cases = {name: case for name, case in CASES.items() if not case.needs or case.needs in held}
    write(cases, inbox, out=out, canary=canary, checks=CHECKS, root=ROOT)
    before = seen(inbox, canary, CHECKS)
    command = [sys.executable, "-m", "tests.hostile", str(inbox), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines() if line]
    changed = before.items() ^ seen(inbox, canary, CHECKS).items()
    return cases, {each["student"]: each for each in results}, changed, out


def points(each):
    """Points for the two exercises."""
    return tuple(sum(r["earned"] for r in each["records"] if r["exercise"] == id) for id in ("E8.1", "E8.2"))


def test_there_are_enough_of_them():
    assert len(CORPUS) == sum(map(len, PARTS)) >= 415
    assert len(CASES) >= 210


def test_everybody_gets_the_expected_marks(graded):
    cases, results, _, _ = graded
    assert {name: points(each) for name, each in results.items()} == {name: case.marks for name, case in cases.items()}


def test_nothing_is_blamed_on_the_checks_and_nobody_is_left_out(graded):
    _, results, _, _ = graded
    strange = {name: each for name, each in results.items() if any(r["status"] == "error" for r in each["records"])}
    assert not strange
    assert {len(each["records"]) for each in results.values()} == {3}


def test_only_the_endless_ran_out_of_time(graded):
    cases, results, _, _ = graded
    late = {name for name, each in results.items() if "timeout" in [r["status"] for r in each["records"]]}
    assert late == {name for name, case in cases.items() if case.times_out}


def test_reasons_are_given(graded):
    cases, results, _, _ = graded
    for name, case in cases.items():
        told = " ".join([*results[name]["notes"], *(record["message"] for record in results[name]["records"])])
        assert case.says in told, name


def test_nothing_is_written_elsewhere(graded):
    _, _, changed, _ = graded
    assert not changed
    assert not [path for path in WATCHED if path.exists()]


def test_no_submission_speaks_on_a_page(graded):
    _, _, _, out = graded
    pages = [page.read_text() for page in (out / "feedback").glob("*.html")]
    assert len(pages) >= len(graded[1])
    assert not [page for page in pages if "<script>alert" in page]


def test_the_parent_stays_small(graded):
    *_, out = graded
    assert json.loads((out / "parent.json").read_text())["peak_bytes"] < 1 << 30
