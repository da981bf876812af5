"""The layers of the sandbox around a worker: what the platform allows of them, each tried on its own.

Linux as root or with user namespaces: own process, mount, IPC and network namespaces, and a root of its own that holds
what a worker imports and nothing else, read-only, with a small file system to write on. Linux as root, in a container
too: another user. Any Linux: no new processes, sockets or signals (`syscalls`), no new privileges. Any POSIX: limits on
memory, CPU time, file size and open files. Elsewhere: a time limit and nothing more.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cs348k_diffusion.grading.workers import syscalls

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, BIND, REC, PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
DETACH, RECURSIVE = 2, 0x8000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_THP_DISABLE = 1, 36, 38, 41
MB = 1 << 20
NOBODY = 65534  # the user and the group that own nothing
OWN_ROOT = "own root"  # the layer that leaves no other file in sight
HOME = "/cs348k"  # where a worker with a root of its own lives
COPIES = "packages"  # in a server's folder: copies of the package, one for each set of withheld names
PACKAGE_ROOT = Path(__file__).parents[2]
# Of the system: libraries, their index, the time zone, and devices without memory.
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/localtime")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> None:
    """A C library call; OSError when it fails."""
    if getattr(_libc(), name)(*args) == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str | Path, target: str | Path, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [value if value is None else os.fsencode(value) for value in (source, target, kind)]
    _call("mount", *encoded, flags, options and options.encode())


class Sandbox:
    """The namespaces of a fork server: set up once, inherited by every worker it forks; `held` names what succeeded.

    hidden: what must not be seen; folder: of the server, where the package's copies will be.
    """

    def __init__(self, hidden: Iterable[str | Path], folder: str):
        self.held: list[str] = []
        self.folder = folder
        self.copies = os.path.join(folder, COPIES)
        uid, gid = os.getuid(), os.getgid()
        flags = NEWNS | NEWIPC | NEWNET
        unshared = self._try("namespaces", lambda: self._unshare(flags, uid, gid))
        if unshared:
            self._try("private mounts", lambda: _mount("none", "/", None, REC | PRIVATE))
            self._try("process namespace", _try_own_pids)
            self._close_disk([Path(path) for path in hidden])
        self._try("another user", _try_to_be_nobody)

    def _close_disk(self, hidden: Sequence[Path]) -> None:
        new = os.path.join(self.folder, "root")
        if self._try(OWN_ROOT, lambda: _change_root(new, _needed(self.copies))):
            self.held += ["hidden files", "read-only disk"]
        else:
            self._try("read-only disk", lambda: _read_only("/"))
        for path in hidden:  # what a mounted folder may hold
            self._try("hidden files", lambda path=path: _hide(path))

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

    def fork(self) -> int:
        """As `os.fork`; the child is process 1 of a new namespace where there are such: what it starts dies with it."""
        return _fork_with_own_pids() if "process namespace" in self.held else os.fork()

    def move_in(self, folder: str, package: str) -> str:
        """In a worker: its own small disk, and `package`, the copy made for it, in the package's place.

        Returns the working directory: `folder`, or HOME under a root of its own; of 64 MB, and gone with the worker.
        """
        home = HOME if OWN_ROOT in self.held else folder
        if "private mounts" in self.held:
            _call("unshare", NEWNS)
            _mount(package, PACKAGE_ROOT, None, BIND | REC)
            _mount("none", self.copies, "tmpfs", RDONLY | NOSUID | NODEV, "size=4k")
            _mount("none", home, "tmpfs", NOSUID | NODEV, "size=64m,mode=700")
            _own_processes()
        os.chdir(home)
        return home


def _try_own_pids() -> None:
    """Raises OSError where a process namespace is refused."""
    child = _fork_with_own_pids()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _fork_with_own_pids() -> int:
    """Fork by way of a process between, the only one whose children are in the new namespace: to come back out of it,
    a process needs rights over the namespace that it began in, and a user who is not root has none.
    """
    _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # when the one between has ended, its child is ours
    (told, tell), (ended, alive) = os.pipe(), os.pipe()
    between = os.fork()
    if between == 0:
        try:
            _call("unshare", NEWPID)
            child = os.fork()
        except OSError:
            os._exit(1)
        if child:
            os.write(tell, str(child).encode())
            os._exit(0)
        os.close(alive)
        os.read(ended, 1)  # waits: its end would be a parent's, with which a worker dies
    else:
        os.waitpid(between, 0)
        os.close(tell)
        child = int(os.read(told, 20) or -1)
    for end in (told, ended, tell if between == 0 else alive):
        os.close(end)
    if child < 0:
        raise OSError(errno.EPERM, "no process namespace")
    return child


def _own_processes() -> None:
    """Show a worker its own processes in /proc, or none."""
    try:
        _mount("proc", "/proc", "proc", RDONLY | NOSUID | NODEV)
    except OSError:
        with contextlib.suppress(OSError):
            _mount("none", "/proc", "tmpfs", RDONLY | NOSUID | NODEV, "size=4k")


def _needed(copies: str) -> list[str]:
    """What a worker may see: the system's libraries, Python, installed packages, the package's copies."""
    installed = [path for path in sys.path if os.path.isdir(path) and not PACKAGE_ROOT.is_relative_to(path)]
    python = [sys.prefix, sys.base_prefix, *installed]
    linked = [os.path.realpath(path) for path in python]  # a link stays a link, and leads somewhere
    every = [*SYSTEM, *DEVICES, "/proc", *python, *linked, copies]
    return [path for path in dict.fromkeys(every) if path and os.path.exists(path)]


def _change_root(new: str, needed: Sequence[str]) -> None:
    """Make a new root that holds these paths read-only and nothing else. OSError where that is refused."""
    os.makedirs(new, exist_ok=True)
    _mount("none", new, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for path in sorted(needed):
        _bind(path, new + path)
    for path in (HOME, str(PACKAGE_ROOT)):
        os.makedirs(new + path, exist_ok=True)
    _read_only(new)
    os.chdir(new)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", DETACH)
    os.chdir("/")


def _bind(path: str, place: str) -> None:
    """Mount a path at a place; a link stays a link, and what a mounted folder holds already is left."""
    if os.path.lexists(place):
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.mkdir(place)
    else:
        Path(place).touch()
    _mount(path, place, None, BIND | REC)


def _try_to_be_nobody() -> None:
    """Raises OSError where a child cannot become nobody, or nobody could not read what workers import."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            become_nobody(None)
            needed = (sys.prefix, sys.base_prefix, PACKAGE_ROOT)
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


def _read_only(path: str) -> None:
    attributes = struct.pack("QQQQ", RDONLY, 0, 0, 0)
    result = _libc().syscall(442, -100, os.fsencode(path), RECURSIVE, attributes, len(attributes))  # mount_setattr
    if result == -1:
        raise OSError(ctypes.get_errno(), "mount_setattr")


def _hide(path: Path) -> None:
    path = path.resolve()
    if any(path in (each.resolve(), *each.resolve().parents) for each in (Path(sys.prefix), Path(sys.base_prefix))):
        raise OSError(f"{path} holds the interpreter")
    if path.is_dir():
        _mount("none", path, "tmpfs", RDONLY | NOSUID | NODEV, "size=4k,mode=755")
    elif path.exists():
        _mount("/dev/null", path, None, BIND)


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
    for step in (die_with_parent, _small_pages, _no_new_privileges, _drop_capabilities, syscalls.refuse):
        with contextlib.suppress(OSError, AttributeError):
            step()


def die_with_parent() -> None:
    """Let the kernel end this process when its parent is gone (Linux)."""
    _call("prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _small_pages() -> None:
    """New memory comes in small pages, so that its high-water mark is what an answer needs, and not rounded up."""
    _call("prctl", PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _no_new_privileges() -> None:
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities() -> None:
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call("capset", header, nothing)
