"""Grading on a Dask cluster: the same marks, whatever happens to its workers, and a run that can be interrupted."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from cs348k_diffusion.grading.batch import dask
from cs348k_diffusion.grading.batch import run as batch
from tests.grading.test_batch import CLASS, PERFECT, marks, notebook, write

linux = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
TOYS = Path(__file__).parents[1] / "toy_exercises"
STUDENTS = {"perfect": 3, "squared": 1, "exits": 0, "syntax error": 0, "empty": 0, "twice": 3}


@linux
def test_a_cluster_gives_the_same_marks_though_a_worker_is_killed_midway(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    for name in STUDENTS:
        write(tmp_path / "in" / f"{name}.ipynb", CLASS[name][0])
    monkeypatch.setattr(dask, "CHUNK", 1)
    shown, killed = batch.progress, []

    def interrupted(items, total):
        yield next(iter(items))
        raise KeyboardInterrupt

    def while_a_worker_is_killed(items, total):
        for each in shown(items, total):
            yield each
            if not killed:
                busy = [address for address, tasks in client.processing().items() if tasks]
                killed.append(client.run(os.getpid)[busy[0]])
                os.kill(killed[0], signal.SIGKILL)

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "worker_dashboard_address": None}
    with distributed.LocalCluster(**options) as two, distributed.Client(two) as client:
        grading = {"checks": TOYS, "only": ["E9.1"], "dask": two.scheduler_address}
        monkeypatch.setattr(batch, "progress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.grade(tmp_path / "in", tmp_path / "out", **grading)
        monkeypatch.setattr(batch, "progress", while_a_worker_is_killed)
        graded = batch.grade(tmp_path / "in", tmp_path / "out", **grading)
    assert killed
    journal = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["student"] for line in journal if line) == sorted(STUDENTS)  # once each
    assert {name: marks(each)["E9.1"] for name, each in graded.items()} == STUDENTS


@linux
@pytest.mark.parametrize("retried_by_dask", [True, False])
def test_a_worker_killed_in_the_middle_of_a_chunk_loses_and_doubles_nobody(tmp_path, monkeypatch, retried_by_dask):
    """A chunk is done again as a whole, by Dask; or, where Dask gives up, by the grader, one student at a time."""
    distributed = pytest.importorskip("distributed")
    names = [f"s{i:02}" for i in range(4 * dask.CHUNK)]
    for name in names:
        write(tmp_path / "in" / f"{name}.ipynb", CLASS["squared" if name.endswith("3") else "perfect"][0])
    shown, seen, sizes, killed = batch.progress, dask._versions, [], []
    monkeypatch.setattr(dask, "_versions", lambda chunk, plan: sizes.append(len(chunk)) or seen(chunk, plan))

    def while_a_worker_is_killed(items, total):
        for each in shown(items, total):
            yield each
            busy = [address for address, tasks in client.processing().items() if tasks]
            if busy and not killed:
                killed.append(client.run(os.getpid)[busy[0]])
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(batch, "progress", while_a_worker_is_killed)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "worker_dashboard_address": None}
    with distributed.LocalCluster(**options) as two, distributed.Client(two) as client:
        two.scheduler.allowed_failures = 3 if retried_by_dask else 0
        graded = batch.grade(tmp_path / "in", tmp_path / "out", checks=TOYS, only=["E9.1"], dask=two.scheduler_address)
    assert killed
    assert sizes[:4] == [dask.CHUNK] * 4
    assert set(sizes[4:]) == (set() if retried_by_dask else {1})
    journal = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["student"] for line in journal if line) == names
    assert {name: marks(each)["E9.1"] for name, each in graded.items()} == {
        name: 1 if name.endswith("3") else 3 for name in names
    }


@linux
def test_a_worker_with_other_files_says_so(tmp_path):
    path = write(tmp_path / "ada.ipynb", notebook(PERFECT["double"]))
    plan = batch.plan_for({"ada": [path]}, ["E9.1"], TOYS, None, ())
    seen = dask._versions([("ada", [path])], plan)
    path.unlink()
    with pytest.raises(RuntimeError, match="other files of ada than you do"):
        dask._task([("ada", [path])], plan, seen)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RuntimeError, match=r"--dask needs Dask's distributed: .* cs348k_diffusion\[cluster\]"):
        next(dask.graded_by_dask([("ada", [])], batch.plan_for({}, ["E9.1"], TOYS, None, ()), "tcp://127.0.0.1:1"))
