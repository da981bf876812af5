"""The judge's side of the workers: start them, talk to them, believe nothing, end them.

A worker that dies, hangs or answers nonsense costs its own test. One that takes the zygote down with it costs a retry.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from cs348k_diffusion.exercises.errors import NotYet, StudentError
from cs348k_diffusion.grading import wire
from cs348k_diffusion.grading.plugin import OutOfTime, WorkersGone
from cs348k_diffusion.grading.servant import pull_back
from cs348k_diffusion.grading.subject import Callbacks, handles
from cs348k_diffusion.grading.worker import Job

MEMORY = 4 << 30  # address space of a worker: importing torch takes 0.7 GB of it
WALL = 10  # wall-clock seconds allowed for each CPU second
SEQPACKET = (socket.AF_UNIX, socket.SOCK_SEQPACKET) if hasattr(socket, "AF_UNIX") else (-1, -1)
_BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); from cs348k_diffusion.grading.{0} import main; "


@dataclass
class Worker:
    """A running worker: its socket, its process and its folder."""

    sock: socket.socket
    pid: int
    folder: str
    process: subprocess.Popen | None = None


@runtime_checkable
class Workers(Protocol):
    """What starts and ends workers on this platform; `held` names the walls that stand."""

    held: Sequence[str]

    def launch(self) -> None:
        """Load what takes time, in the background."""

    def start(self, seconds: int) -> Worker:
        """A new worker. Raises WorkersGone when that cannot be done just now."""

    def end(self, worker: Worker) -> tuple[int, float]:
        """Kill it; its wait status and CPU seconds. Raises WorkersGone when the zygote is gone."""

    def close(self) -> None:
        """End everything."""


class Zygotes:
    """Linux: workers forked from a zygote behind namespaces. `held` says which walls this machine allows.

    With an address, they come from a twin of the zygote that listens there, while it lives.
    """

    def __init__(self, hidden: Iterable[str | Path] = (), address: str = ""):
        self.hidden, self.address = [str(path) for path in hidden], address
        self.process: subprocess.Popen | None = None
        self.control: socket.socket | None = None
        self.held: Sequence[str] = ()

    def launch(self) -> None:
        """Start loading, without waiting for it; does nothing when there is a zygote."""
        if self.process is not None and self.process.poll() is not None:
            self.close()
        if self.control is None and not self._joined():
            self._start_zygote()

    def _joined(self) -> bool:
        if not self.address:
            return False
        self.control, address, self.address = socket.socket(*SEQPACKET), self.address, ""  # tried once
        self.control.settimeout(120)
        try:
            self.control.connect(address)
        except OSError:
            self.control = None
        return self.control is not None

    def _start_zygote(self) -> None:
        self.control, theirs = socket.socketpair(*SEQPACKET)
        self.control.settimeout(120)
        self.folder = tempfile.mkdtemp(prefix="cs348k-zygote-")
        with socket.socket(*SEQPACKET) as listener, theirs:
            listener.bind(self.listening)
            listener.listen()
            fds = theirs.fileno(), listener.fileno()
            self.process = _python(_BOOT.format("zygote") + f"main({fds[0]}, {fds[1]}, {self.hidden!r})", pass_fds=fds)

    @property
    def listening(self) -> str:
        """The address to give to other processes of the judge."""
        return os.path.join(self.folder, "socket")

    def _ready(self) -> socket.socket:
        self.launch()
        assert self.control is not None
        self.held = self.held or ["zygote", *self._answer(self.control)["held"]]
        return self.control

    def start(self, seconds: int) -> Worker:
        ours, theirs = socket.socketpair()
        folder = tempfile.mkdtemp(prefix="cs348k-")
        try:
            control = self._ready()
            order = {"start": {"folder": folder, "seconds": seconds, "memory": MEMORY}}
            socket.send_fds(control, [json.dumps(order).encode()], [theirs.fileno()])
            return Worker(ours, self._answer(control)["pid"], folder)
        except (OSError, EOFError) as error:
            ours.close()
            self._fall(folder)
            raise WorkersGone from error
        finally:
            theirs.close()

    def end(self, worker: Worker) -> tuple[int, float]:
        worker.sock.close()
        try:
            if self.control is None:
                raise EOFError
            self.control.send(json.dumps({"end": worker.pid}).encode())
            answer = self._answer(self.control)
        except (OSError, EOFError) as error:
            self._fall(worker.folder)
            raise WorkersGone from error
        shutil.rmtree(worker.folder, ignore_errors=True)
        return answer["status"], answer["cpu"]

    def _answer(self, control: socket.socket) -> dict:
        message = control.recv(65536)
        if not message:
            raise EOFError
        return json.loads(message)

    def _fall(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        if self.control is not None:
            self.control.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
        self.control, self.process, self.held = None, None, ()


class Spawned:
    """Anywhere: a new Python for each worker, with a time limit and what limits the platform has."""

    held: Sequence[str] = ()

    def launch(self) -> None:
        """Each worker is started on its own."""

    def start(self, seconds: int) -> Worker:
        folder, token = tempfile.mkdtemp(prefix="cs348k-"), secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(120)
            given = {"port": server.getsockname()[1], "token": token, "folder": folder, "seconds": seconds}
            process = _python(_BOOT.format("worker") + "main()", json.dumps(given | {"memory": MEMORY}))
            sock, _ = server.accept()
        sock.settimeout(60)
        if sock.recv(len(token), socket.MSG_WAITALL if hasattr(socket, "MSG_WAITALL") else 0).decode() != token:
            raise WorkersGone
        return Worker(sock, process.pid, folder, process)

    def end(self, worker: Worker) -> tuple[int, float]:
        assert worker.process is not None
        worker.sock.close()
        worker.process.kill()
        status = worker.process.wait()
        shutil.rmtree(worker.folder, ignore_errors=True)
        return (-status if status < 0 else status << 8), 0.0

    def close(self) -> None:
        """Nothing is shared between spawned workers."""


def _python(boot: str, *args: str, pass_fds: Iterable[int] = ()) -> subprocess.Popen:
    """An isolated Python on the same packages, with no environment, output or input of ours."""
    paths = json.dumps([path or os.getcwd() for path in sys.path])
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = {"PATH": os.defpath, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    env |= {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    command = [sys.executable, "-I", "-c", boot, *args, paths]
    return subprocess.Popen(command, env=env, pass_fds=tuple(pass_fds), **quiet)


def workers(hidden: Iterable[str | Path] = (), address: str = "") -> Zygotes | Spawned:
    """The best that this platform offers; `hidden` files and folders are out of the workers' sight where possible.

    address: where a zygote of the judge's listens already.
    """
    return Zygotes(hidden, address) if sys.platform == "linux" else Spawned()


class RemoteLink:
    """The way to one exercise of one submission; its worker is started when first needed."""

    def __init__(self, workers: Workers, job: Job, seconds: int):
        self.workers, self.job, self.seconds = workers, job, seconds
        self.worker: Worker | None = None
        self.callbacks, self.seed = Callbacks(), 0

    def reseed(self, seed: int) -> None:
        """Start the worker's random numbers anew. Raises NotYet or StudentError if the answer is not there."""
        self.seed = seed
        self.ask("seed", 0, (), {}, seed)

    def fresh(self) -> None:
        self.close()
        self.reseed(self.seed)

    def peak_bytes(self) -> int | None:
        if self.worker is None:
            return None
        try:
            lines = Path(f"/proc/{self.worker.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), None)

    def close(self) -> None:
        """End the worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self.workers.end(worker)

    def ask(self, verb: str, number: int, args: tuple, named: dict, extra: Any = None) -> Any:
        deadline = time.monotonic() + self.seconds * WALL
        try:
            worker = self._started(deadline)
            with self.callbacks.blaming_checks():
                request = wire.dumps((verb, number, args, named, extra), self.callbacks.number)
                _send(worker.sock, deadline, request)
                return self._converse(worker.sock, deadline)
        except TimeoutError:
            self.close()
            raise OutOfTime(f"no answer within {self.seconds * WALL} s") from None
        except (EOFError, ConnectionError):
            raise self._cause_of_death() from None
        except (wire.WireError, ValueError, RecursionError) as error:
            self.close()
            raise StudentError("", f"gave an answer that cannot be read: {error}") from None

    def _started(self, deadline: float) -> Worker:
        if self.worker is None:
            self.worker, self.callbacks = self.workers.start(self.seconds), Callbacks()
            _send(self.worker.sock, deadline, wire.dumps(self.job, _no_callback))
        return self.worker

    def _converse(self, sock: socket.socket, deadline: float) -> Any:
        """Serve the functions the student calls until the answer is there."""
        while True:
            head, raw = wire.receive(sock, deadline)
            message = json.loads(head)
            if not isinstance(message, dict) or len(message) != 1:
                raise wire.WireError("malformed message")
            ((kind, body),) = message.items()
            reader = wire.Reader(raw, handles(self))
            if kind == "value":
                return reader.unpack(body)
            if kind in ("call", "backward"):
                _send(sock, deadline, self._served(kind, reader, body))
            else:
                raise self._raised(kind, body)

    def _raised(self, kind: str, body: Any) -> Exception:
        if kind == "not yet":
            return NotYet(self.job.exercise)
        if kind == "raised" and isinstance(body, list) and len(body) == 3:
            return StudentError(*(str(part)[:2000] for part in body))
        return wire.WireError("malformed message")

    def _served(self, kind: str, reader: wire.Reader, body: Any) -> bytes:
        callbacks = self.callbacks
        number, form = body if isinstance(body, list) and len(body) == 2 else (None, None)
        asked = reader.unpack(form)
        if type(number) is not int or not 0 <= number < len(callbacks.functions):
            raise wire.WireError("a call of a function that was not handed over")
        if not (isinstance(asked, tuple) and len(asked) == 2 and isinstance(asked[1], dict)):
            raise wire.WireError("malformed call")
        try:
            answer = True, _evaluate(callbacks, kind, number, *asked)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {error}"[:2000]
        return wire.dumps(answer, callbacks.number)

    def _cause_of_death(self) -> Exception:
        worker, self.worker = self.worker, None
        assert worker is not None
        status, cpu = self.workers.end(worker)
        number = status & 0x7F
        if number == 24 or (number == 9 and cpu >= 0.9 * self.seconds):
            return OutOfTime(f"used more than {self.seconds} s of computing time")
        if number:
            return StudentError("", f"crashed its process (signal {number})")
        return StudentError("", f"ended its process (exit status {status >> 8})")


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
    wire.send(sock, data)


def _no_callback(obj: Any) -> tuple:
    raise TypeError(f"a job holds no functions, got {obj!r}")
