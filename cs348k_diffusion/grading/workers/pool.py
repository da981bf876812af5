"""Starting and ending workers: forked from a fork server in Linux's sandbox, or a new Python anywhere else.

A worker that takes the fork server down with it costs a retry: a new one is started when the next worker is wanted.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from cs348k_diffusion.grading.records import WorkersGone
from cs348k_diffusion.grading.safe_path import safe_path
from cs348k_diffusion.grading.workers.copies import copy_for
from cs348k_diffusion.grading.workers.sandbox import COPIES
from cs348k_diffusion.grading.workers.scratch import ScratchFolder

PATIENCE = 900  # seconds for importing torch: a busy machine takes minutes, and the student has no fault in it
MEMORY = 4 << 30  # address space of a worker: importing torch takes 0.7 GB of it
KEPT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR")  # of our environment
Units = Sequence[tuple[str, str]]  # withheld names of the package, as `withheld.reaching` has them
SEQPACKET = (socket.AF_UNIX, socket.SOCK_SEQPACKET) if hasattr(socket, "AF_UNIX") else (-1, -1)
# Of a fork server: its memory in large pages, of which a fork copies the table in a third of the time.
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "PYTHONMALLOC": "malloc"}
_BOOT = "from cs348k_diffusion.grading.{0} import main; "


@dataclass
class Worker:
    """A running worker: its socket, its process and its folder."""

    sock: socket.socket
    pid: int
    folder: str
    package: str = ""  # the copy of the package that it sees
    process: subprocess.Popen | None = None


@runtime_checkable
class Workers(Protocol):
    """What starts and ends workers on this platform; `held` names the layers of the sandbox that hold."""

    held: Sequence[str]

    def prepare(self) -> None:
        """Load what takes time, in the background."""

    def start(self, seconds: int, exercise: str = "", closed: Units = ()) -> Worker:
        """A new worker that sees the package without the closed names. WorkersGone when it cannot be had just now."""
        ...

    def end(self, worker: Worker) -> tuple[int, float]:
        """Kill it; its wait status and CPU seconds. Raises WorkersGone when the fork server is gone."""
        ...

    def close(self) -> None:
        """End everything."""


class ForkServer:
    """Linux: workers forked from a fork server behind namespaces; `held` names the layers that this machine allows.

    With an address, they come from a clone of the fork server that listens there, while it lives.
    """

    def __init__(self, hidden: Iterable[str | Path] = (), address: str = ""):
        self.hidden, self.address = [str(path) for path in hidden], address
        self.process: subprocess.Popen | None = None
        self.scratch: ScratchFolder | None = None
        self.control: socket.socket | None = None
        self.held: Sequence[str] = ()

    def prepare(self) -> None:
        """Start loading, without waiting for it; does nothing when there is a fork server."""
        if self.process is not None and self.process.poll() is not None:
            self.close()
        if self.control is None and not self._joined():
            self._start_server()

    def _joined(self) -> bool:
        if not self.address:
            return False
        self.folder, self.control = os.path.dirname(self.address), socket.socket(*SEQPACKET)
        address, self.address = self.address, ""  # tried once
        self.control.settimeout(PATIENCE)
        try:
            self.control.connect(address)
        except OSError:
            self.control = None
        return self.control is not None

    def _start_server(self) -> None:
        self.control, theirs = socket.socketpair(*SEQPACKET)
        self.control.settimeout(PATIENCE)
        self.scratch = ScratchFolder()
        atexit.register(self.close)
        self.scratch.make()
        self.folder = self.scratch.path
        os.chmod(self.folder, 0o711)  # another user reads the package's copies
        os.mkdir(os.path.join(self.folder, COPIES))
        with socket.socket(*SEQPACKET) as listener, theirs:
            listener.bind(self.listening)
            listener.listen()
            fds = theirs.fileno(), listener.fileno()
            call = f"main({fds[0]}, {fds[1]}, {self.hidden!r}, {self.folder!r})"
            self.process = isolated_python(_BOOT.format("workers.forkserver") + call, fds, LARGE_PAGES)

    @property
    def listening(self) -> str:
        """The address to give to other processes that grade."""
        return os.path.join(self.folder, "socket")

    def _ready(self) -> socket.socket:
        self.prepare()
        assert self.control is not None
        self.held = self.held or ["fork server", *self._answer(self.control)["held"]]
        return self.control

    def start(self, seconds: int, exercise: str = "", closed: Units = ()) -> Worker:
        ours, theirs = socket.socketpair()
        folder = ""
        try:
            control = self._ready()
            folder = tempfile.mkdtemp(prefix="worker-", dir=self.folder)
            package = str(copy_for(closed, exercise, Path(self.folder, COPIES)))
            order = {"folder": folder, "seconds": seconds, "memory": MEMORY, "package": package}
            socket.send_fds(control, [json.dumps({"start": order}).encode()], [theirs.fileno()])
            return Worker(ours, self._answer(control)["pid"], folder, package)
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
        if self.scratch is not None:
            self.scratch.remove()
            atexit.unregister(self.close)
        self.control, self.process, self.scratch, self.held = None, None, None, ()


class SpawnedWorkers:
    """Anywhere: a new Python for each worker, with a time limit and what limits the platform has."""

    held: Sequence[str] = ()

    def prepare(self) -> None:
        """Each worker is started on its own."""

    def start(self, seconds: int, exercise: str = "", closed: Units = ()) -> Worker:
        folder, token = tempfile.mkdtemp(prefix="cs348k-"), secrets.token_hex(16)
        package = str(copy_for(closed, exercise, Path(folder)))
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(PATIENCE)
            given = {"port": server.getsockname()[1], "token": token, "folder": folder, "seconds": seconds}
            boot = _BOOT.format("workers.worker") + f"main({json.dumps(given | {'memory': MEMORY})!r})"
            process = isolated_python(boot)
            sock, _ = server.accept()
        sock.settimeout(60)
        if sock.recv(len(token), socket.MSG_WAITALL if hasattr(socket, "MSG_WAITALL") else 0).decode() != token:
            raise WorkersGone
        return Worker(sock, process.pid, folder, package, process)

    def end(self, worker: Worker) -> tuple[int, float]:
        assert worker.process is not None
        worker.sock.close()
        worker.process.kill()
        status = worker.process.wait()
        shutil.rmtree(worker.folder, ignore_errors=True)
        return (-status if status < 0 else status << 8), 0.0

    def close(self) -> None:
        """Nothing is shared between spawned workers."""


def isolated_python(
    boot: str, pass_fds: Iterable[int] = (), more: Mapping[str, str] = MappingProxyType({}), **streams: Any
) -> subprocess.Popen:
    """A Python that runs `boot` on the same packages, and takes nothing from our environment or the current folder.

    more: variables of its own.
    """
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | streams
    env = {"PATH": os.defpath, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", **more}
    env |= {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "-s", "-P", "-c", f"import sys; sys.path[:] = {safe_path()!r}; {boot}"]
    return subprocess.Popen(command, env=env, pass_fds=tuple(pass_fds), **quiet)


def workers_for(hidden: Iterable[str | Path] = (), address: str = "") -> ForkServer | SpawnedWorkers:
    """The best that this platform offers; `hidden` files and folders are out of the workers' sight where possible.

    address: where a fork server of this grading listens already.
    """
    return ForkServer(hidden, address) if sys.platform == "linux" else SpawnedWorkers()
