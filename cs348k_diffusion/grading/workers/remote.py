"""The parent's half of the conversation with a worker: ask, serve the functions it calls, believe nothing.

Every message is checked against what an honest worker may send; a worker that dies, hangs or answers nonsense is
ended, and costs its own test.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.exercises.framework.errors import NotYet, StudentError
from cs348k_diffusion.grading.records import OutOfTime, WorkersGone
from cs348k_diffusion.grading.subject import protocol
from cs348k_diffusion.grading.subject.server import pull_back
from cs348k_diffusion.grading.subject.subject import Callbacks, handles
from cs348k_diffusion.grading.workers.pool import Worker, Workers
from cs348k_diffusion.grading.workers.worker import Job

WALL_PER_CPU = 10  # wall-clock seconds allowed for each CPU second
MORE_MEMORY = 1 << 30  # bytes that evaluating a check's function for a student may add to this process
MORE_TIME = 3  # CPU seconds of this process, for each of the worker's, that one request may cost
MAX_PASSED = 1 << 29  # bytes that one worker may pass to the functions of the checks, which keep copies
IDLE = 3  # seconds that a worker may sleep at a stretch


class RemoteLink:
    """The way to one exercise of one submission; its worker is started when first needed."""

    last = ""
    used = False  # has the worker been asked for more than to start its random numbers?

    def __init__(self, workers: Workers, job: Job, seconds: int):
        self.workers, self.job, self.seconds = workers, job, seconds
        self.worker: Worker | None = None
        self.known: dict[int, tuple[Any, Any]] = {}
        self.callbacks, self.seed, self.passed = Callbacks(), 0, 0

    def reseed(self, seed: int) -> None:
        """Start the worker's random numbers anew. Raises NotYet or StudentError if the answer is not there."""
        self.seed = seed
        self.ask("seed", 0, (), {}, seed)

    def restart(self) -> None:
        if self.used:
            self.close()
        self.reseed(self.seed)

    def peak_bytes(self) -> int | None:
        return peak_of(self.worker.pid) if self.worker else None

    def bytes_of_imports(self) -> int | None:
        """The high-water mark of a worker that has run the answer's imports and nothing else of it."""
        other = RemoteLink(self.workers, replace(self.job, imports_only=True), self.seconds)
        with contextlib.closing(other):
            with contextlib.suppress(NotYet, StudentError):  # without its definitions there is no answer
                other.reseed(self.seed)
            return other.peak_bytes()

    def close(self) -> None:
        """End the worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self.workers.end(worker)

    def _give_up(self) -> None:
        """End a worker that was seen to run over its limit; that is known, whatever becomes of the fork server."""
        with contextlib.suppress(WorkersGone):
            self.close()

    def ask(self, verb: str, number: int, args: tuple, named: dict, extra: Any = None) -> Any:
        try:
            worker = self._started()
            self.used = self.used or verb != "seed"
            deadline = time.monotonic() + self.seconds * WALL_PER_CPU
            with self.callbacks.blaming_checks():
                request = protocol.dumps((verb, number, args, named, extra), self.callbacks.number)
                _send(worker.sock, deadline, request)
                return self._converse(worker.sock, deadline)
        except TimeoutError:
            self._give_up()
            raise OutOfTime(f"no answer within {self.seconds * WALL_PER_CPU} s") from None
        except (EOFError, ConnectionError):
            raise self._cause_of_death() from None
        except (protocol.ProtocolError, ValueError, RecursionError) as error:
            self.close()
            raise StudentError("", f"gave an answer that cannot be read: {error}") from None

    def _started(self) -> Worker:
        if self.worker is None:
            self.worker = self.workers.start(self.seconds, self.job.exercise, self.job.closed)
            self.callbacks, self.passed, self.used = Callbacks(), 0, False
            job = replace(self.job, package=self.worker.package)
            protocol.send(self.worker.sock, protocol.dumps(job, _no_callback))
        return self.worker

    def _converse(self, sock: socket.socket, deadline: float) -> Any:
        """Serve the functions the student calls until the answer is there."""
        began = time.process_time()
        while True:
            later = self._await(sock, deadline)
            head, raw = protocol.receive(sock, later)
            left = MORE_TIME * self.seconds - (time.process_time() - began)
            message = json.loads(head)
            if not isinstance(message, dict) or len(message) != 1:
                raise protocol.ProtocolError("malformed message")
            ((kind, body),) = message.items()
            reader = protocol.Reader(raw, handles(self))
            if kind == "value":
                return reader.unpack(body)
            if kind in ("call", "backward"):
                self.passed += len(head) + len(raw)
                if self.passed > MAX_PASSED:
                    raise protocol.ProtocolError(
                        f"more than {MAX_PASSED >> 20} MB passed to the functions of the check"
                    )
                _send(sock, later, self._served(kind, reader, body, left))
            else:
                raise self._raised(kind, body)

    def _await(self, sock: socket.socket, deadline: float) -> float:
        """Wait for the next message, but not for a worker that sleeps. Raises OutOfTime.

        Returns the deadline, put off by as long as a busy machine kept the worker waiting: that is not the student's.
        """
        asleep_since, before = time.monotonic(), None
        if time.monotonic() > deadline + self._kept_waiting():
            raise TimeoutError
        while not select.select([sock], [], [], 0.5)[0] and time.monotonic() < deadline + self._kept_waiting():
            state = _activity(self.worker.pid) if self.worker else None
            if state is None or state != before or state[0] not in "ST":
                asleep_since, before = time.monotonic(), state
            elif time.monotonic() - asleep_since > IDLE:
                self._give_up()
                raise OutOfTime(f"slept for {IDLE} s without computing anything")
        return deadline + self._kept_waiting()

    def _kept_waiting(self) -> float:
        """Seconds that the worker was ready to run and got no processor (Linux); at most nine times its limit."""
        try:
            waited = int(Path(f"/proc/{self.worker.pid}/schedstat").read_text().split()[1]) if self.worker else 0
        except (OSError, ValueError, IndexError):
            return 0.0
        return min(waited / 1e9, 9 * WALL_PER_CPU * self.seconds)

    def _raised(self, kind: str, body: Any) -> Exception:
        if kind == "not yet":
            other = body if isinstance(body, str) and re.fullmatch(r"E\d{1,2}\.\d{1,2}", body) else ""
            return NotYet(other or self.job.exercise)
        if kind == "raised" and isinstance(body, list) and len(body) == 3:
            return StudentError(*(str(part)[:2000] for part in body))
        return protocol.ProtocolError("malformed message")

    def _served(self, kind: str, reader: protocol.Reader, body: Any, left: float) -> bytes:
        callbacks = self.callbacks
        number, form = body if isinstance(body, list) and len(body) == 2 else (None, None)
        asked = reader.unpack(form)
        if type(number) is not int or not 0 <= number < len(callbacks.functions):
            raise protocol.ProtocolError("a call of a function that was not handed over")
        if not (isinstance(asked, tuple) and len(asked) == 2 and isinstance(asked[1], dict)):
            raise protocol.ProtocolError("malformed call")
        try:
            with _limited(left):
                answer = True, _evaluate(callbacks, kind, number, *asked)
        except OutOfTime:
            self._give_up()
            raise
        except Exception as error:
            answer = False, (type(error).__name__, str(error)[:2000])
        return protocol.dumps(answer, callbacks.number)

    def _cause_of_death(self) -> Exception:
        worker, self.worker = self.worker, None
        assert worker is not None
        status, cpu = self.workers.end(worker)
        number = status & 0x7F
        if number == 24 or (number == 9 and cpu >= 0.9 * self.seconds):
            return OutOfTime(f"used more than {self.seconds} s of computing time")
        if number == signal.SIGKILL:  # which a worker cannot send to itself by kill
            return StudentError("", "lost its process: the system ended it (signal 9), as it does for want of memory")
        if number:
            return StudentError("", f"crashed its process (signal {number})")
        return StudentError("", f"ended its process (exit status {status >> 8})")


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Limits on memory and computing time while a check's function is evaluated on what a student chose (Linux).

    What is too large raises what the allocation raises; what takes too long raises OutOfTime, in the main thread.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_MEMORY, hard))
    in_main = threading.current_thread() is threading.main_thread()
    running = True

    def too_long(number: int, frame: Any) -> None:
        if running:  # else it comes while the limits are taken back, which nothing may interrupt
            raise OutOfTime("called the functions of the check for too long")

    before = signal.signal(signal.SIGPROF, too_long) if in_main else None
    try:
        if in_main:
            signal.setitimer(signal.ITIMER_PROF, max(seconds, 0.01))
        yield
    finally:
        try:
            running = False
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            if in_main:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.signal(signal.SIGPROF, before)


def peak_of(pid: int | str) -> int | None:
    """The most memory that a process ("self": this one) has held, in bytes; None where the platform does not say.

    getrusage's ru_maxrss would begin with what the process that started it held.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), None)


def _activity(pid: int) -> tuple[str, ...] | None:
    """State and CPU time of a process (Linux): "S" or "T" and the same time as before, and it has done nothing."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return parts[0], *parts[11:13]


def _evaluate(callbacks: Callbacks, kind: str, number: int, args: Any, named: dict) -> Any:
    if kind == "call":
        with torch.no_grad():
            return callbacks.call(number, *args, **named)
    (args, cotangents) = args
    return pulled_back(callbacks.functions[number].function, args, named, cotangents)


def pulled_back(function: Any, args: tuple, named: dict, cotangents: tuple) -> list:
    """Gradients of <cotangents, function(...)> for each argument (None where there is none); modules get theirs too."""
    flat = [_leaf(value) for value in (*args, *named.values())]
    with torch.enable_grad():
        out = function(*flat[: len(args)], **dict(zip(named, flat[len(args) :])))
    pull_back(out if isinstance(out, tuple) else (out,), cotangents)
    return [value.grad if isinstance(value, Tensor) else None for value in flat]


def _leaf(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().clone().requires_grad_()
    return value


def _send(sock: socket.socket, deadline: float, data: bytes) -> None:
    sock.settimeout(max(deadline - time.monotonic(), 0.01))
    protocol.send(sock, data)


def _no_callback(obj: Any) -> tuple:
    raise TypeError(f"a job holds no functions, got {obj!r}")
