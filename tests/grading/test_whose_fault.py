"""Whose doing a failure is: the answer's where it gave what was judged, the grader's where its own processes fail."""

import os
import signal
import socket
import sys

import pytest
import torch

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.errors import StudentError
from cs348k_diffusion.grading.batch import gradescope, journal
from cs348k_diffusion.grading.batch.plan import plan_for
from cs348k_diffusion.grading.checks.plugin import Grader, _run_check, run_checks
from cs348k_diffusion.grading.records import NotJudged, OutOfTime, Record, StudentResult, WorkersGone
from cs348k_diffusion.grading.subject.subject import Instance, Subject
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.workers import remote as remoting
from cs348k_diffusion.grading.workers.pool import SpawnedWorkers, Worker, workers_for
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job
from tests.grading.test_batch import DOUBLE, TOYS, notebook, write

linux = pytest.mark.skipif(sys.platform != "linux", reason="workers in a sandbox are Linux's")
LIAR = """
import sys
def changed():
    frame = sys._getframe()
    while frame:
        if "ObjectServer" in frame.f_globals and "Serving" in frame.f_globals:
            frame.f_globals["ObjectServer"].serve = lambda *a: None
        frame = frame.f_back
CHANGED = changed()
def answer(*a, **k): return CHANGED
"""
VERBS = {
    "call": lambda subject, kept: subject(1),
    "vjp": lambda subject, kept: subject.vjp((torch.ones(2),), torch.ones(2)),
    "construct": lambda subject, kept: subject.construct(1),
    "largest": lambda subject, kept: subject.largest(1),
    "iterate": lambda subject, kept: kept.iterate(3),
    "state": lambda subject, kept: kept.state(),
    "get": lambda subject, kept: kept.anything,
    "parameter_grads": lambda subject, kept: kept.parameter_grads((1,), torch.ones(2)),
}


@pytest.fixture(scope="module")
def workers():
    started = workers_for()
    yield started
    started.close()


@linux
@pytest.mark.parametrize("verb", VERBS)
def test_what_a_check_cannot_use_is_the_answers_doing_whatever_it_asked_for(workers, verb):
    """A check takes what a verb gives for what an honest worker gives; one that lies only breaks the check."""
    link = RemoteLink(workers, Job("E9.1", "answer", Submission([(1, LIAR)]).needed("answer")), 10)
    subject = Subject(link)

    def check(answer):
        VERBS[verb](answer, Instance(link))["what an honest worker gives"]

    try:
        with pytest.raises(StudentError, match="got None, which cannot be used here"):
            _run_check(check, {"answer": subject}, subject)
    finally:
        link.close()


class Gone:
    """A source whose workers cannot be had."""

    student = "ada"

    def __init__(self):
        self.opened = 0

    def open(self, exercise, seed):
        self.opened += 1
        raise WorkersGone

    def close(self):
        """Nothing is held."""


def test_a_grader_that_fails_twice_says_nothing_of_the_student():
    records, source = [], Gone()
    run_checks([TOYS / "toys.py"], Grader([registry(TOYS)["E9.1"]], [source], records.append))
    assert records
    assert source.opened == 2 * len(records)
    for record in records:
        assert (record.status, record.earned) == ("error", 0)
        assert "could not judge" in record.message
        assert "nothing about the code" in record.message
        assert "your code" not in record.message


class Hanging(SpawnedWorkers):
    """Workers that never answer, and a fork server that cannot end them."""

    def start(self, seconds, exercise="", closed=()):
        ours, self.theirs = socket.socketpair()
        return Worker(ours, os.getpid(), "")

    def end(self, worker):
        worker.sock.close()
        raise WorkersGone


@linux
def test_an_answer_seen_to_run_over_its_limit_has_that_said_whatever_becomes_of_the_fork_server(monkeypatch):
    monkeypatch.setattr(remoting, "WALL_PER_CPU", 0.05)
    link = RemoteLink(Hanging(), Job("E9.1", "answer", []), 1)
    with pytest.raises(OutOfTime, match="no answer within"):
        link.ask("call", 0, (), {})


def test_what_could_not_be_judged_is_tried_again_by_the_next_grading(tmp_path):
    path = write(tmp_path / "ada.ipynb", notebook(DOUBLE))
    plan = plan_for({"ada": [path]}, ["E9.1"], TOYS, None, ())
    asked = []

    def grading(status):
        def graded(todo):
            asked.append(list(todo))
            yield from [
                StudentResult(student, [Record(student, *check, status=status) for check in plan.expected])
                for student in todo
            ]

        return graded

    for status in ("error", "failed", "failed"):
        journal.up_to_date({"ada": [path]}, plan, tmp_path / "results.jsonl", False, grading(status))
    assert asked == [["ada"], ["ada"], []]


def test_nobody_has_a_zero_on_gradescope_for_what_the_grader_could_not_judge(tmp_path, monkeypatch):
    for folder in ("source", "submission"):
        (tmp_path / folder).mkdir()
    (tmp_path / "source" / "settings.json").write_text('{"only": ["E2.1"]}')
    write(tmp_path / "submission" / "mine.ipynb", notebook(DOUBLE))
    record = Record("you", "E2.1", "test_a", 1, status="error", message=str(NotJudged()))
    monkeypatch.setattr(gradescope, "grade_here", lambda todo, plan: [StudentResult("you", [record])])
    with pytest.raises(RuntimeError, match="could not judge"):
        gradescope.run(tmp_path)
    assert not (tmp_path / "results").exists()


@linux
def test_limits_around_a_checks_function_are_taken_back_whenever_time_runs_out():
    """The signal that time ran out may come while the limits are taken back already."""
    import resource

    limits, handler = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGPROF)
    late = []
    for wait in range(0, 60, 3):
        try:
            with remoting._limited(0.01):
                for _ in range(wait * 1500):
                    late.append(0)
        except OutOfTime:
            pass
        late.clear()
        assert resource.getrlimit(resource.RLIMIT_AS) == limits
        assert signal.getsignal(signal.SIGPROF) == handler
        assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
