"""What came of one test for one student, and what can go wrong on the way: the vocabulary of the whole grader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal, TextIO

from cs348k_diffusion.grading.tables import plain_text

Status = Literal["passed", "failed", "not yet", "error", "timeout", "waiting"]
IN_NOTEBOOK = "In your notebook: "  # begins the line about how an answer stands in the notebook
NOT_JUDGED = "the grader could not judge this: its own processes ended, twice; this says nothing about the code"
WAITING: Status = "waiting"  # a free-text answer that has not been read yet


@dataclass
class Record:
    """One test of one student: a line of the marks, with the message that the student reads."""

    student: str
    exercise: str
    test: str
    points: float
    earned: float = 0.0
    status: Status = "failed"
    message: str = ""
    seconds: float = 0.0
    held_back: bool = False
    picture: str = ""  # HTML of the answer beside its target, where a visible check failed and drew one

    def __post_init__(self):
        self.student, self.message = plain_text(self.student), plain_text(self.message)

    @classmethod
    def failed(cls, student: str, check: tuple[str, str, float], why: str, status: Status = "failed") -> Record:
        """A record without points for a check (exercise, test, points) that was not run, and the reason."""
        return cls(student, *check, status=status, message=why)


@dataclass
class StudentResult:
    """One student: the records, sentences about the files, what they were made from, and free-text answers.

    remarks: for the instructor, not shown to the student; hints: how many were opened, by exercise.
    """

    student: str
    records: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    hints: dict[str, int] = field(default_factory=dict)


def to_line(graded: StudentResult) -> str:
    """A student as one line of JSON."""
    return json.dumps(asdict(graded)) + "\n"


def from_line(line: str) -> StudentResult:
    """A student from a line. Raises ValueError, TypeError or KeyError for a line that is not whole."""
    facts = json.loads(line)
    return StudentResult(**facts | {"records": [Record(**record) for record in facts["records"]]})


class Lines:
    """Lines on a stream, each flushed at once."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, graded: StudentResult) -> None:
        """A student, as soon as known."""
        self.tell(to_line(graded).rstrip("\n"))

    def tell(self, line: str) -> None:
        """Anything else."""
        self.stream.write(line + "\n")
        self.stream.flush()


class OutOfTime(Exception):
    """The student's code used up its time."""


class WorkersGone(Exception):
    """The process that starts workers has died, and the worker with it: worth one more try."""


class NotJudged(Exception):
    """The grader could not judge an answer, for a reason of its own; nothing is known about the student's code."""

    def __str__(self) -> str:
        return NOT_JUDGED


def missing(records: Iterable[Record], expected: Iterable[tuple[str, str, float]], student: str) -> list[Record]:
    """Failing records for the tests that were expected and not reported: an exit status proves nothing."""
    seen = {(record.exercise, record.test) for record in records if record.student == student}
    why = "this check left no result; tell your instructor"
    return [Record.failed(student, check, why, "error") for check in expected if check[:2] not in seen]


def property_of(test: str) -> str:
    """A test's name in words: "test_keeps_unit_variance" is "keeps unit variance"."""
    return test.removeprefix("test_").replace("_", " ")


class Results:
    """What the checks find of a few students: records as they come, each student passed on when the last has run.

    expected: every test that must leave a record; done: gets each student, once.
    """

    def __init__(
        self,
        students: Iterable[str],
        expected: Iterable[tuple[str, str, float]],
        done: Callable[[StudentResult], object] | None = None,
    ):
        self.graded = {student: StudentResult(student) for student in students}
        self.expected, self.done = list(expected), done
        self.waiting = set(self.graded)

    def add(self, record: Record) -> None:
        """Put a record with its student's."""
        self.graded[record.student].records.append(record)

    def finish(self, student: str) -> None:
        """Add what is missing and pass the student on; nothing where that is done already."""
        if student in self.waiting:
            self.waiting.remove(student)
            each = self.graded[student]
            each.records += missing(each.records, self.expected, student)
            if self.done:
                self.done(each)
