"""A submission's walk through the grader: from reading to marks it enters each room once and leaves it once."""

import functools
import itertools
import sys
from pathlib import Path

import pytest

from cs348k_diffusion import grading
from cs348k_diffusion.grading.batch import run as batch
from tests.grading.test_batch import PERFECT, TOYS, notebook, write

GRADER = str(Path(grading.__file__).parent) + "/"
# What each room calls. A check asks the answer, which is a subject that lives in a worker: those two talk.
CALLS = {
    "batch": {"submissions", "workers", "checks", "gradebook"},
    "submissions": set(),
    "checks": {"subject", "workers"},
    "subject": {"workers"},
    "workers": {"subject"},
    "gradebook": set(),
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")


@functools.cache
def room_of(code):
    """The room that a function is in, "" outside the rooms."""
    room = code.co_filename.removeprefix(GRADER).partition("/")[0]
    return room if room in CALLS else ""


class Walk:
    """The calls from room to room of this process and thread: (from, to, function)."""

    def __init__(self):
        self.calls = []

    def __call__(self, frame, event, _):
        if event == "call" and (here := room_of(frame.f_code)):
            above = frame.f_back
            while above and not room_of(above.f_code):
                above = above.f_back
            there = room_of(above.f_code) if above else ""
            if there != here:
                self.calls.append((there, here, frame.f_code.co_qualname))

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """What the grading of one student calls, from room to room; one answer is wrong."""
    folder = tmp_path_factory.mktemp("walk")
    write(folder / "in" / "ada.ipynb", notebook("def double(x):\n    return x + 1", PERFECT["walk"], PERFECT["Layer"]))
    with Walk() as walk:
        batch.grade(folder / "in", folder / "out", checks=TOYS, jobs=1, only=["E9.1", "E9.2", "E9.3"])
    return walk.calls


def test_rooms_call_one_way(calls):
    """What a room has called never calls back into it, and `batch` is entered from outside, once."""
    made = {room: {there for here, there, _ in calls if here == room} for room in CALLS}
    assert made == CALLS, [call for call in dict.fromkeys(calls) if call[1] not in CALLS.get(call[0], {call[1]})]
    assert [call for call in calls if call[1] == "batch"] == [("", "batch", "grade")]


def test_a_submission_enters_each_room_once(calls):
    """What `batch` calls once it has opened the student's file: the gradebook that it opened before is written last."""
    from_hall = [(there, function) for here, there, function in calls if here == "batch"]
    opened = next(k for k, (_, function) in enumerate(from_hall) if function == "read")
    rooms = [room for room, _ in itertools.groupby(from_hall[opened:], key=lambda call: call[0])]
    assert rooms == ["submissions", "checks", "gradebook"], from_hall[opened:]
