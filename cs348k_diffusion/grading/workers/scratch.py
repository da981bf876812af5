"""What a grading keeps in the system's folder for temporary files: one folder, gone when it ends.

The folder is held by a lock that the kernel takes back when the process ends, however it ends. Where a process was
killed outright its folder stays, unlocked, and the next grading on this machine removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

PREFIX = "cs348k-server-"


class ScratchFolder:
    """A folder locked by this process. Its name is known before it is made, so that `remove` fits at any moment."""

    def __init__(self):
        self.path = os.path.join(tempfile.gettempdir(), f"{PREFIX}{secrets.token_hex(4)}")
        self.lock: int | None = None

    def make(self) -> None:
        """Make and lock it; what killed gradings have left beside it goes."""
        import fcntl

        remove_abandoned()
        while self.lock is None:
            os.mkdir(self.path, 0o700)
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.isdir(self.path):
                    self.lock = lock
                else:
                    os.close(lock)  # another process took it for abandoned, before it was locked

    def remove(self) -> None:
        """Remove it with all that it holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def remove_abandoned() -> None:
    """Remove the folders of gradings that were killed."""
    import fcntl

    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its process lives
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


@contextlib.contextmanager
def ending_tidily() -> Iterator[None]:
    """Have SIGTERM end what runs inside as Ctrl-C does, so that processes and folders go; then exit with 143.

    So it exits whatever comes after the signal: where the whole group is told, our own processes die under our hands.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        came.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, end)
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            raise SystemExit(128 + signal.SIGTERM) from None
