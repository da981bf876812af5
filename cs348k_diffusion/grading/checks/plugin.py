"""The checks as pytest runs them: each test meets each implementation, and one record says what came of it.

The verdict is formed here, in the trusted process: by the test that compares, never by the code compared. A test that
was expected and left no record is a failure (`records.missing`). A stochastic test fails only if two seeds fail.
An answer that fails and calls another exercise's function is tried once more with the package's own in its place.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.exercises.framework.errors import NotYet, StudentError
from cs348k_diffusion.exercises.framework.expecting import (
    Evidence,
    Wrong,
    collecting_evidence,
    of_one_slip,
    settled,
)
from cs348k_diffusion.exercises.framework.inputs import salted
from cs348k_diffusion.exercises.framework.observing import collecting_pictures, without_pictures
from cs348k_diffusion.grading.checks.pictures import small
from cs348k_diffusion.grading.checks.source import FallbackSource
from cs348k_diffusion.grading.records import IN_NOTEBOOK, NotJudged, OutOfTime, Record, Status, WorkersGone
from cs348k_diffusion.grading.subject.subject import Subject
from cs348k_diffusion.grading.subject.watch import own_random_numbers, rules_of

SEEDS = (0, 1)
# Parts of pytest that no check uses; the first writes files, the next two collect garbage for 0.4 s.
UNUSED = "cacheprovider unraisableexception threadexception faulthandler logging doctest unittest junitxml pastebin"
FALLBACK = "Checked with the package's {} in place of yours: an error there does not count here."
MAX_TIMEOUTS = 2  # after so many, an exercise's other tests are not tried


class Grader:
    """The pytest plugin: hands each test its subjects and collects the records."""

    def __init__(
        self,
        exercises: Iterable[Exercise],
        sources: list[Any],
        done: Callable[[Record], None],
        public: Path | None = None,
        key: str = "",
        twice: bool = True,
        finished: Callable[[str], None] = lambda student: None,
    ):
        self.exercises = {exercise.id: exercise for exercise in exercises}
        self.sources, self.done, self.public, self.finished = sources, done, public, finished
        self.key, self.twice = key, twice
        self.timeouts: dict[tuple[str, str], int] = {}
        self.errors: list[str] = []
        self.drawn: list[tuple[Any, Any, str]] = []  # by the test that ran last
        self.source: Any = None  # of the test that ran last
        self.fallbacks: tuple[str, ...] = ()  # the package's functions that stood in for the student's there
        self.noted: list[Evidence] = []  # by the test that ran last
        self.story: list[tuple[Record, BaseException | None, list[Evidence]]] = []  # of one answer, over its tests

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "exercise(id, points, withheld, stochastic): a check of an exercise")

    @pytest.fixture
    def seed(self) -> int:
        """The seed of a stochastic check; the plugin puts the one in force in its place."""
        return SEEDS[0]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        exercise = self._exercise(metafunc.definition)
        if exercise and exercise.name in metafunc.fixturenames:
            names = [source.student for source in self.sources]
            metafunc.parametrize(exercise.name, range(len(self.sources)), ids=names)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        mine = [item for item in items if self._exercise(item) and isinstance(item, pytest.Function)]
        mine.sort(key=self._source_number)  # stable: a student's tests of one exercise stay together
        items[:] = mine

    def _source_number(self, item: pytest.Item) -> int:
        exercise = self._exercise(item)
        assert exercise
        callspec = getattr(item, "callspec", None)
        return callspec.params.get(exercise.name, 0) if callspec else 0

    def _exercise(self, item: Any) -> Exercise | None:
        mark = item.get_closest_marker("exercise")
        return self.exercises.get(mark.args[0]) if mark else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        exercise = self._exercise(pyfuncitem)
        assert exercise
        source, mark = self.sources[self._source_number(pyfuncitem)], pyfuncitem.get_closest_marker("exercise")
        self._turn_to(source)
        assert mark
        if self.timeouts.get((source.student, exercise.id), 0) >= MAX_TIMEOUTS:
            raise OutOfTime("not tried, because earlier tests of this exercise ran out of time")
        seeds = SEEDS if mark.kwargs.get("stochastic") else SEEDS[:1]
        self.fallbacks = ()
        try:
            return self._tried(pyfuncitem, source, exercise, seeds)
        except (AssertionError, StudentError, NotYet):
            self.fallbacks = tuple(source.depends_on(exercise)) if isinstance(source, FallbackSource) else ()
            if not self.fallbacks:
                raise
        return self._tried(pyfuncitem, source, exercise, seeds)  # a slip in one exercise costs only that one

    def _tried(self, item: pytest.Function, source: Any, exercise: Exercise, seeds: Sequence[int]) -> bool:
        for seed in seeds:
            try:
                return self._run_again(item, source, exercise, seed)
            except (AssertionError, StudentError) as error:
                if seed == seeds[-1]:
                    if len(seeds) == 1 and self._unexplained(error, exercise):
                        self._same_again(item, source, exercise, seed, str(error))
                    raise
        return True

    def _unexplained(self, error: Exception, exercise: Exercise) -> bool:
        return self.twice and isinstance(error, Wrong) and not error.names and not rules_of(exercise).draws

    def _same_again(self, item: pytest.Function, source: Any, exercise: Exercise, seed: int, before: str) -> None:
        """Run a failed test again. Raises StudentError if it ends otherwise: equal calls must give equal results."""
        after, noted, drawn = "", self.noted, self.drawn
        try:
            with without_pictures():
                self._run_again(item, source, exercise, seed)
        except (AssertionError, StudentError) as error:
            after = str(error)
        self.noted, self.drawn = noted, drawn
        if before != after:
            raise own_random_numbers("two equal calls give two different results") from None

    def _turn_to(self, source: Any) -> None:
        """One student after the other: what is held for the one before is let go."""
        if self.source is not None and self.source is not source:
            with contextlib.suppress(WorkersGone):
                self.source.close()
            self._settle()
            self.finished(self.source.student)
        self.source = source

    def _run_again(self, item: pytest.Function, source: Any, exercise: Exercise, seed: int) -> bool:
        try:
            return self._run(item, source, exercise, seed)
        except WorkersGone:
            source.close()
        try:
            return self._run(item, source, exercise, seed)
        except WorkersGone:
            raise NotJudged from None

    def _run(self, item: pytest.Function, source: Any, exercise: Exercise, seed: int) -> bool:
        names = item._fixtureinfo.argnames
        given = {name: item.funcargs[name] for name in names}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            subject = source.open(exercise, seed, *([self.fallbacks] if self.fallbacks else [])).of(exercise)
            given[exercise.name] = subject
            if "seed" in given:
                given["seed"] = seed
            with collecting_pictures() as self.drawn, collecting_evidence() as self.noted, salted(self.key):
                _run_check(item.obj, given, subject)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> None:
        if call.when == "call" or call.excinfo is not None:
            record = self._record(item, call)
            if self.story and _answer(self.story[0][0]) != _answer(record):
                self._settle()
            self.story.append((record, call.excinfo.value if call.excinfo else None, self.noted))
            self.done(record)

    def _settle(self) -> None:
        """Take back the names that another test of the same answer refutes, and let one stand for all: one slip."""
        story, self.story = self.story, []
        evidence = [each for _, _, noted in story for each in noted]
        wrong = [(record, error, noted) for record, error, noted in story if isinstance(error, Wrong)]
        names = of_one_slip([(settled(error, evidence), noted) for _, error, noted in wrong])
        for (record, error, _), found in zip(wrong, names):
            record.message = record.message.replace(str(error), error.with_names(found))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors.append(f"{report.nodeid}: {report.longreprtext[-2000:]}")

    def _record(self, item: pytest.Item, call: pytest.CallInfo) -> Record:
        exercise, mark = self._exercise(item), item.get_closest_marker("exercise")
        assert exercise
        assert mark
        source = self.sources[self._source_number(item)]
        error = call.excinfo.value if call.excinfo else None
        status, message = verdict(error)
        message = self._with_reason(message, source, exercise, error, status)
        if self.fallbacks and status != "not yet":
            message = f"{message}\n{FALLBACK.format(', '.join(self.fallbacks))}".strip()
        if status == "timeout":
            message = f"{message}\n{exercise.too_long}".strip()
            self.timeouts[source.student, exercise.id] = self.timeouts.get((source.student, exercise.id), 0) + 1
        points = mark.kwargs.get("points", 1)
        drawn, self.drawn = self.drawn, []
        held_back = self.public is not None and self.public not in item.path.parents
        return Record(
            student=source.student,
            exercise=exercise.id,
            test=getattr(item, "originalname", item.name),
            points=points,
            earned=points if status == "passed" else round(points * getattr(error, "share", 0), 2),
            status=status,
            message=message,
            seconds=round(call.duration, 3),
            held_back=held_back,
            picture=small(drawn) if status == "failed" and not held_back else "",
        )

    def _with_reason(self, message: str, source: Any, exercise: Exercise, error: Any, status: Status) -> str:
        """The message, with one line about how the answer stands in the notebook where that is why it fails."""
        reason = source.reason(exercise, error) if status != "passed" and hasattr(source, "reason") else ""
        if status == "not yet":
            return f"{exercise.id}: not yet ({reason})" if reason else message
        mine = (source.student, exercise.id)
        first = not any(_answer(record) == mine and record.status != "passed" for record, _, _ in self.story)
        return f"{message}\n{IN_NOTEBOOK}{reason}" if reason and first else message

    def pytest_unconfigure(self) -> None:
        self._settle()
        for source in self.sources:
            source.close()


def _answer(record: Record) -> tuple[str, str]:
    return record.student, record.exercise


def _run_check(test: Callable, given: dict[str, Any], subject: Subject) -> None:
    """Run a check. What breaks it after the answer has given something is the answer's doing: CI tries right ones."""
    try:
        test(**given)
    except (AssertionError, StudentError, NotYet, OutOfTime, WorkersGone):
        raise
    except Exception as error:
        if not subject.last:
            raise
        text = f"{type(error).__name__}: {str(error)[:300]}"
        raise StudentError("wrong result", f"got {subject.last}, which cannot be used here ({text})") from error


def verdict(error: BaseException | None) -> tuple[Status, str]:
    """The status of a test and one message for the student, from what the test raised."""
    if error is None:
        return "passed", ""
    if isinstance(error, NotYet):
        return "not yet", str(error)
    if isinstance(error, OutOfTime):
        return "timeout", str(error)
    if isinstance(error, NotJudged):
        return "error", str(error)
    if isinstance(error, AssertionError | StudentError | pytest.fail.Exception):
        text = str(error) if isinstance(error, Wrong) else re.split(r"\n(?=assert | \+ )", str(error))[0]
        return "failed", text[:4000]
    return "error", f"the check itself went wrong ({type(error).__name__}: {str(error)[:500]}); tell your instructor"


def run_checks(files: Iterable[Path], grader: Grader) -> None:
    """Run check modules under pytest with this grader.

    No other plugins, no configuration, no cache: an instructor's or a student's pytest settings change nothing.
    Raises KeyboardInterrupt when interrupted, ValueError with pytest's words when a check module does not load.
    """
    args = ["-q", "--noconftest", "-c", os.devnull, "--rootdir", str(Path(__file__).parents[3])]
    args += [part for name in UNUSED.split() for part in ("-p", f"no:{name}")]
    args += ["--capture=sys", "--import-mode=importlib", "--tb=no", "-W", "ignore"]
    shown = io.StringIO()
    with without_settings(), contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        status = pytest.main([*args, *map(str, files)], plugins=[grader])
    if status == pytest.ExitCode.INTERRUPTED and not grader.errors:
        raise KeyboardInterrupt
    if grader.errors or status == pytest.ExitCode.USAGE_ERROR:
        raise ValueError("\n".join(grader.errors) or shown.getvalue()[-2000:])


@contextlib.contextmanager
def without_settings() -> Iterator[None]:
    """Hide pytest's environment variables while the checks run."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("PYTEST_", "PY_COLORS"))}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTEST_DISABLE_PLUGIN_AUTOLOAD", None)
        os.environ.update(hidden)
