"""The processes that grade: one that dies costs nobody anything, and an interruption at any line ends all of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cs348k_diffusion.grading.batch import local
from cs348k_diffusion.grading.batch.plan import plan_for
from cs348k_diffusion.grading.records import StudentResult, to_line
from cs348k_diffusion.grading.workers import scratch
from tests.grading.test_batch import TOYS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
TODO = [(f"s{i}", [Path(f"s{i}.ipynb")]) for i in range(9)]
GRADES = """
import json, sys
plan = sys.stdin.readline()
line = json.loads(sys.argv[1])
for asked in sys.stdin:
    for student, _ in json.loads(asked):
        print(line.replace("NAME", student), end="", flush=True)
    print("{}", flush=True)
"""  # what local.main says, without the grading
DIES = {
    "between two tasks": GRADES + "    break\n",
    "before it hears of any": "import sys; sys.stdin.readline()",
    "at once": "",
    "in the middle of a line": GRADES.replace(
        "print(line", "print('{\"stu', end='', flush=True); sys.exit()\n        print(line"
    ),
}


class NoServer:
    listening = ""

    def __init__(self, hidden):
        self.open = True

    def prepare(self):
        pass

    def close(self):
        self.open = False


@pytest.fixture
def plan():
    return plan_for({}, ["E9.1"], TOYS, None, ())


@pytest.fixture
def started(monkeypatch):
    """The processes of every crew; they do as `local.main` does, without grading, until they die."""

    class Started(list):
        dies, how = 0, ""  # the first so many die so

    found = Started()

    def start(boot, **streams):
        program, line = found.how if len(found) < found.dies else GRADES, json.dumps(to_line(StudentResult("NAME")))
        found.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", program, line], **streams))
        return found[-1]

    monkeypatch.setattr(local, "isolated_python", start)
    monkeypatch.setattr(local, "ForkServer", NoServer)
    yield found
    for process in found:
        process.kill()
        process.wait()


def graded(plan, n=9):
    return {each.student: each for each in local.graded_locally(TODO[:n], plan, 2)}


@pytest.mark.parametrize("when", DIES)
def test_a_process_that_dies_costs_nobody_anything(started, plan, when):
    started.dies, started.how = local.TRIES - 1, DIES[when]
    found = graded(plan)
    assert found.keys() == {student for student, _ in TODO}
    assert not any(each.notes for each in found.values())
    assert all(process.poll() is not None for process in started)


def test_where_every_process_dies_everybody_is_told_so(started, plan):
    started.dies, started.how = 1000, DIES["at once"]
    found = graded(plan)
    assert found.keys() == {student for student, _ in TODO}
    assert all(each.notes == [local.GONE] for each in found.values())


def test_an_interruption_at_any_line_ends_every_process_and_raises_nothing_else(started, plan):
    left = 0

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != local.__file__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    moments, before = 0, sys.gettrace()
    while left <= 0:
        moments += 1
        left = moments
        sys.settrace(trace)
        try:
            graded(plan, 3)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        for process in started:
            with contextlib.suppress(OSError):
                process.stdin.close()  # as our own end does, for one that was just being started or ended
            process.wait(20)  # raises TimeoutExpired for one that is left
        started.clear()
    assert moments > 100


@pytest.mark.parametrize("after", [None, KeyboardInterrupt, BrokenPipeError, ValueError], ids=str)
def test_sigterm_is_what_a_grading_ends_with_whatever_comes_after_it(after):
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)

    def ended_by_a_signal():
        with scratch.ending_tidily():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                if after:
                    raise after from None

    with pytest.raises(SystemExit) as ended:
        ended_by_a_signal()
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_without_sigterm_an_error_stays_what_it_is(error):
    with pytest.raises(error), scratch.ending_tidily():
        raise error
