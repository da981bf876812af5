"""The limit on computing time in the notebook: the same seconds, and the same sentences, as a worker has."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from cs348k_diffusion.grading.records import OutOfTime

IDLE = 3  # seconds that an answer may sleep at a stretch


def used_up(seconds: int) -> str:
    """What is said where an answer needs too long."""
    return f"used more than {seconds} s of computing time"


def slept() -> str:
    """What is said where an answer only waits."""
    return f"slept for {IDLE} s without computing anything"


class _Stop(BaseException):
    """Raised into a student's code, which may catch every Exception."""


class Budget:
    """CPU seconds that one exercise's answer may use in this process, over all of its tests.

    Only where the system has timers and in the main thread (not on Windows): elsewhere there is no limit.
    """

    def __init__(self, seconds: int):
        self.seconds, self.left = seconds, float(seconds)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Stop the block when the budget is used up. Raises OutOfTime."""
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            yield
            return
        start = self._cpu = time.process_time()
        before = [(each, signal.signal(each, self._ring)) for each in (signal.SIGPROF, signal.SIGALRM)]
        signal.setitimer(signal.ITIMER_PROF, max(self.left, 0.05), 0.5)  # again and again, for a bare `except:`
        signal.setitimer(signal.ITIMER_REAL, IDLE, IDLE)
        self._why = ""
        try:
            yield
        except _Stop:
            raise OutOfTime(self._why) from None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            for each, handler in before:
                signal.signal(each, handler)
            self.left -= time.process_time() - start

    def _ring(self, number: int, _frame: object) -> None:
        used, self._cpu = time.process_time() - self._cpu, time.process_time()
        if number == signal.SIGPROF:
            self._why = used_up(self.seconds)
            raise _Stop
        if used < 0.01 * IDLE:
            self._why = slept()
            raise _Stop
