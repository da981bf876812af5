"""Sandbox around a worker: what the platform allows of them, each tried on its own.

Linux as root or with user namespaces: own process, mount, IPC and network namespaces, a read-only disk, an own small
file system, masked folders. Linux as root, in a container too: another user. Any Linux: no new processes, sockets or
signals (seccomp), no new privileges. Any POSIX: limits on memory, CPU time, file size and open files. Elsewhere: a
time limit and nothing more.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, BIND, REC, PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
MB = 1 << 20
NOBODY = 65534  # the user and the group that own nothing


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> None:
    """A C library call; OSError when it fails."""
    if getattr(_libc(), name)(*args) == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


class Sandbox:
    """The namespaces of a fork server: set up once, inherited by every worker it forks."""

    def __init__(self, hidden: Iterable[str | Path] = ()):
        self.held: list[str] = []
        self.own_pids = -1
        uid, gid = os.getuid(), os.getgid()
        flags = NEWNS | NEWIPC | NEWNET
        unshared = self._try("namespaces", lambda: self._unshare(flags, uid, gid))
        self._try("another user", _try_to_be_nobody)
        if unshared:
            self._try("private mounts", lambda: _call("mount", b"none", b"/", None, REC | PRIVATE, None))
            self._try("process namespace", self._remember_pids)
            self._try("read-only disk", _read_only)
            for path in hidden:
                self._try("hidden files", lambda path=Path(path): _hide(path))

    def _try(self, name: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except (OSError, AttributeError):
            return False
        if name not in self.held:
            self.held.append(name)
        return True

    def _unshare(self, flags: int, uid: int, gid: int) -> None:
        try:
            _call("unshare", flags)
        except OSError:  # not root: become root of a namespace of our own
            _call("unshare", NEWUSER | flags)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")

    def _remember_pids(self) -> None:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        _call("unshare", NEWPID)  # tried once here, so that a worker can rely on it
        self.own_pids = own

    def before_clone(self) -> None:
        """Let the next child live in the same process namespace as this one."""
        if self.own_pids >= 0:
            _call("setns", self.own_pids, NEWPID)

    def before_fork(self) -> None:
        """Let the next child be process 1 of a new namespace: all its descendants die with it."""
        if self.own_pids >= 0:
            _call("setns", self.own_pids, NEWPID)
            _call("unshare", NEWPID)


def _try_to_be_nobody() -> None:
    """Raises OSError where a child cannot become nobody, or nobody could not read what workers import."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            become_nobody(None)
            needed = (sys.prefix, sys.base_prefix, Path(__file__).parent, tempfile.gettempdir())
            os._exit(not all(os.access(path, os.R_OK | os.X_OK) for path in needed))
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError("nobody cannot work here")


def become_nobody(folder: str | None) -> None:
    """Stop being root, for good; `folder` goes along. Raises OSError for whoever is not root."""
    if folder is not None:
        os.chown(folder, NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _read_only() -> None:
    attributes = struct.pack("QQQQ", RDONLY, 0, 0, 0)
    result = _libc().syscall(442, -100, b"/", 0x8000, attributes, len(attributes))  # mount_setattr, recursive
    if result == -1:
        raise OSError(ctypes.get_errno(), "mount_setattr")


def _hide(path: Path) -> None:
    needed = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__))
    path = path.resolve()
    if any(path in (each.resolve(), *each.resolve().parents) for each in needed):
        raise OSError(f"{path} holds the interpreter")
    if path.is_dir():
        _call("mount", b"none", os.fsencode(path), b"tmpfs", RDONLY | NOSUID | NODEV, b"size=4k,mode=755")
    elif path.exists():
        _call("mount", b"/dev/null", os.fsencode(path), None, BIND, None)


def own_disk(folder: str, layers: Sandbox | None) -> None:
    """Make `folder` the worker's working directory: a file system of 64 MB that goes away with it, where possible."""
    if layers and "private mounts" in layers.held:
        with contextlib.suppress(OSError):
            _call("unshare", NEWNS)
            _call("mount", b"none", folder.encode(), b"tmpfs", NOSUID | NODEV, b"size=64m,mode=700")
        with contextlib.suppress(OSError):
            _call("mount", b"proc", b"/proc", b"proc", RDONLY | NOSUID | NODEV, None)
    os.chdir(folder)


def limit(seconds: int, memory: int) -> None:
    """Limits that hold for this process from now on: CPU seconds, bytes of memory, files, core dumps.

    Does nothing where the platform has no such limits.
    """
    try:
        import resource
    except ImportError:
        return
    wanted = {
        "RLIMIT_CPU": (seconds, seconds + 1),
        "RLIMIT_AS": (memory, memory),
        "RLIMIT_FSIZE": (64 * MB, 64 * MB),
        "RLIMIT_NOFILE": (64, 64),
        "RLIMIT_CORE": (0, 0),
    }
    for name, value in wanted.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), value)


def renounce() -> None:
    """Give up what privileges there are, then new processes, sockets, signals and tracing (Linux)."""
    if sys.platform != "linux":
        return
    for step in (_die_with_parent, _no_new_privileges, _drop_capabilities, _filter_system_calls):
        with contextlib.suppress(OSError, AttributeError):
            step()


def _die_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _no_new_privileges() -> None:
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities() -> None:
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call("capset", header, nothing)


# Calls that get EPERM: execve execveat fork vfork kill tkill ptrace process_vm_readv process_vm_writev socket
# socketpair pidfd_send_signal unshare setns mount io_uring_setup (aarch64 has no fork); clone passes for threads alone.
_CALLS = {
    "x86_64": (0xC000003E, 56, [59, 322, 57, 58, 62, 200, 101, 310, 311, 41, 53, 424, 272, 308, 165, 425]),
    "aarch64": (0xC00000B7, 220, [221, 281, 129, 130, 117, 270, 271, 198, 199, 424, 97, 268, 40, 425]),
}
CLONE3, CLONE_THREAD, X32 = 435, 0x10000, 0x40000000
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def _program(arch: int, clone: int, refused: list[int]) -> list[tuple[int, int, int, int]]:
    """The seccomp filter as (code, jump if true, jump if false, value)."""
    lines = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, 0)]
    lines += [(_AT_LEAST, 0, 1, X32), (_RETURN, 0, 0, _EPERM)]
    lines += [(_EQUAL, 0, 1, CLONE3), (_RETURN, 0, 0, _ENOSYS)]  # the C library then falls back on clone
    for number in refused:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    lines += [(_EQUAL, 1, 0, clone), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 16)]
    return [*lines, (_BITS, 0, 1, CLONE_THREAD), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]


def _filter_system_calls() -> None:
    if platform.machine() not in _CALLS or sys.byteorder != "little":
        return
    lines = _program(*_CALLS[platform.machine()])
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code))
    _call("prctl", PR_SET_SECCOMP, 2, program, 0, 0)
