"""A grading that is ended at any moment: the next one goes on, nothing is lost or counted twice, nothing stays behind.

Two moments of each signal are tried here, and all ten with CS348K_ALL_KILLS=1 in the environment.
"""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cs348k_diffusion.grading.batch import plan as planning
from cs348k_diffusion.grading.workers import scratch
from tests.grading.test_batch import PERFECT, TOYS, notebook, write
from tests.grading.test_safe_process import command, students_on_disk
from tests.turns import everything

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
ALL = everything("KILLS")
NAMES = [f"s{i:02}" for i in range(12)]
DONE = (0, 0, 1, 2, 4, 5, 7, 9, 11, 12) if ALL else (0, 7)  # how many are known when the signal comes
WAYS = {"SIGTERM": os.kill, "SIGKILL": os.kill, "SIGTERM to the group": os.killpg}


@pytest.fixture
def temporary():
    """A folder for temporary files; its name is short, since a socket lies in it."""
    folder = tempfile.mkdtemp(prefix="kill-")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def inbox(tmp_path):
    for name in NAMES:
        write(tmp_path / "in" / f"{name}.ipynb", notebook(PERFECT["double"]))
    return tmp_path / "in"


def begin(inbox, out, temporary):
    env = os.environ | {"TMPDIR": str(temporary)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(out, TOYS), cwd=inbox, env=env, start_new_session=True, **quiet)


def alive(temporary):
    """Processes that were started with this folder for temporary files, or live in it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0] if process.name.isdigit() else "Z"
            if state != "Z" and str(temporary).encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def nobody_is_left(temporary):
    """Whether all processes end; one that was loading its modules ends when it has them."""
    deadline = time.monotonic() + 120
    while alive(temporary) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(temporary)


def lines_of(out):
    """How often each student stands in the journal."""
    return Counter(line.split('"')[3] for line in (out / "results.jsonl").read_text().splitlines() if line)


def end_when(process, known, out, way, rng, working):
    """Send the signal a little after work has begun and so many students are known; whether the process still lived."""
    deadline = time.monotonic() + 300
    while process.poll() is None and not (working() and len(students_on_disk(out)) >= known):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(rng.random() * (3 if known == 0 else 0.3))
    lived = process.poll() is None
    if lived:
        WAYS[way](process.pid, getattr(signal, way.split()[0]))
    process.wait(60)
    return lived


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_or_doubled_or_left_whenever_a_grading_is_ended(inbox, tmp_path, temporary, way):
    out, rng, seen, ended = tmp_path / "out", random.Random(way), set(), 0
    for known in DONE if way != "SIGTERM to the group" else DONE[1:2]:
        before, process = set(temporary.iterdir()), begin(inbox, out, temporary)
        lived = end_when(process, known, out, way, rng, lambda before=before: {*temporary.iterdir()} - before)
        ended += lived
        assert seen <= students_on_disk(out)
        seen = students_on_disk(out)
        assert nobody_is_left(temporary)
        if lived and "SIGTERM" in way:
            over = {-signal.SIGTERM} if known == len(NAMES) else set()  # all is written, and Python is on its way out
            assert process.returncode in {128 + signal.SIGTERM} | over
            assert list(temporary.iterdir()) == []
    assert ended
    assert begin(inbox, out, temporary).wait(300) == 0
    assert list(temporary.iterdir()) == []
    assert set(lines_of(out).values()) == {1}  # graded once
    with (out / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [(row["student"], row["total"]) for row in csv.DictReader(file)] == [(name, "3") for name in NAMES]
    assert len(ElementTree.parse(out / "junit.xml").getroot()) == len(NAMES)
    assert {path.stem for path in (out / "feedback").iterdir()} == set(NAMES)


def test_a_folder_that_is_held_is_nobody_elses_to_remove(monkeypatch, temporary):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    held = scratch.ScratchFolder()
    held.make()
    (temporary / f"{scratch.PREFIX}abandoned" / "packages").mkdir(parents=True)
    (temporary / f"{scratch.PREFIX}link").symlink_to(temporary)
    (temporary / "another").mkdir()
    scratch.remove_abandoned()
    assert {path.name for path in temporary.iterdir()} == {Path(held.path).name, f"{scratch.PREFIX}link", "another"}
    held.remove()
    assert not Path(held.path).exists()


def test_the_key_is_whole_or_not_there(tmp_path, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            planning.key_of(tmp_path)
    assert len(planning.key_of(tmp_path)) == 32


def test_an_interrupted_second_grading_still_grades_everybody_anew(inbox, tmp_path):
    """What `--again` asks for is in the journal before the first student is."""
    from cs348k_diffusion.grading.batch import journal
    from cs348k_diffusion.grading.records import StudentResult

    plan, students = planning.plan_for({}, ["E9.1"], TOYS, None, ()), {name: [] for name in NAMES}
    file = tmp_path / "results.jsonl"
    journal.up_to_date(students, plan, file, False, lambda todo: (StudentResult(name) for name in todo))
    on_disk = []

    def grading(todo):
        on_disk.append(lines_of(tmp_path))
        yield from ()

    journal.up_to_date(students, plan, file, True, grading)
    assert on_disk == [Counter(NAMES * 2)]
