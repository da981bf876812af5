"""`python -m tests.grading.sandbox_layers USER NAMESPACES FOLDER`: what a worker can do, measured by one; prints JSON.

With CHECKS behind it, the marks of the class in FOLDER/in.

USER is "root" or "user" (nobody), NAMESPACES "allowed" or "forbidden" (as containers forbid them). Started by root, who
sees to it in a mount namespace of this process that others can read this Python and this package, wherever they lie.
"""

import ctypes
import json
import os
import platform
import struct
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY, PACKAGE = 65534, "cs348k_diffusion"
LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, BIND, PRIVATE, NO_NEW_PRIVS = 0x20000, 4096 | 16384, 16384 | (1 << 18), 38
# Everything here is tried by an answer in its worker; True: it could.
TRIES = """
import os, socket
ANSWER = "return (1 - beta)"
def answer(theirs, mine, package, outside, grader, secret):
    def can(step):
        try:
            return bool(step())
        except Exception:
            return False
    def others():
        return [each for each in os.listdir("/proc") if each.isdigit() and int(each) != os.getpid()]
    def ours():
        from cs348k_diffusion import forward
        return forward
    def written():
        open(outside, "w").close()
        return True
    return {
        "read a file that everybody may read": can(lambda: open(theirs).read()),
        "read a file that is the grader's alone": can(lambda: open(mine).read()),
        "read the package's answers by their path": can(lambda: ANSWER in open(package + "/forward.py").read()),
        "import the package's answers": can(lambda: ours().noise_once(1.0, 0.5, 1.0)),
        "read the checks by their path": can(lambda: open(package + "/exercises/forward_noising.py").read()),
        "write where everybody may": can(written),
        "see other processes": can(others),
        "be the user who grades": os.getuid() == grader,
        "start a program or a process": can(lambda: os.fork() or os._exit(0)),
        "open a socket": can(socket.socket),
        "send a signal": can(lambda: os.kill(os.getpid(), 0) is None),
        "read the grader's environment": secret in str(dict(os.environ)),
    }
"""


def call(name, *args):
    if getattr(LIBC, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)


def mount(source, target, kind, flags, options=None):
    call("mount", *(each and os.fsencode(each) for each in (source, target, kind)), flags, options)


def open_the_way(needed):
    """Lay a readable folder over each that others may not enter, with what is needed in it."""
    call("unshare", NEWNS)
    mount("none", "/", None, PRIVATE)
    above = {folder for path in needed for folder in path.parents if not folder.stat().st_mode & 0o001}
    for closed in sorted(above)[:1]:
        behind = tempfile.mkdtemp()
        mount(closed, behind, None, BIND)
        mount("none", closed, "tmpfs", 0, b"mode=755")
        for path in (path for path in needed if path.is_relative_to(closed)):
            path.mkdir(parents=True)
            mount(Path(behind, path.relative_to(closed)), path, None, BIND)


def forbid_namespaces():
    """Refuse `unshare`, `mount` and `setns` to this process and its children, as the filters of containers do."""
    from cs348k_diffusion.grading.workers import syscalls

    column, _, _ = syscalls.MACHINES[platform.machine()]
    lines = [(0x20, 0, 0, 0)]
    for name in ("unshare", "mount", "setns", "pivot_root", "mount_setattr"):
        lines += [(0x15, 0, 1, syscalls.REFUSED[name][column]), (0x06, 0, 0, 0x00050001)]
    lines.append((0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", 22, 2, struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code)), 0, 0)


def measured(folder):
    """What a worker could do."""
    from cs348k_diffusion.grading.subject.subject import Subject
    from cs348k_diffusion.grading.submissions.notebook import Submission
    from cs348k_diffusion.grading.workers import withheld
    from cs348k_diffusion.grading.workers.pool import workers_for
    from cs348k_diffusion.grading.workers.remote import RemoteLink
    from cs348k_diffusion.grading.workers.worker import Job

    for name, mode in (("theirs", 0o644), ("mine", 0o600)):
        (folder / name).write_text("a hand-in")
        (folder / name).chmod(mode)
    workers = workers_for([folder / "theirs", folder / "mine"])
    closed = withheld.reaching(("forward.noise_once",))
    link = RemoteLink(workers, Job("E2.1", "answer", Submission([(1, TRIES)]).needed("answer"), closed), 10)
    os.environ["SECRET"] = "the grader's own"
    link.reseed(0)
    given = [str(each) for each in (folder / "theirs", folder / "mine", ROOT / PACKAGE, folder / "outside")]
    could = Subject(link)(*given, os.getuid(), os.environ["SECRET"])
    link.close()
    workers.close()
    return could


def marks(folder, checks):
    """The points of a class that is graded here."""
    from cs348k_diffusion.grading import grade

    graded = grade(folder / "in", folder / "out", checks=checks, only=["E9.1", "E9.2"])
    return {student: row.earned for student, row in graded.items()}


if __name__ == "__main__":
    user, namespaces, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    open_the_way([ROOT, *{Path(sys.prefix), Path(sys.base_prefix)}])
    if namespaces == "forbidden":
        forbid_namespaces()
    if user == "user":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.environ["HOME"] = tempfile.tempdir = str(folder)
    print(json.dumps(marks(folder, Path(sys.argv[4])) if sys.argv[4:] else measured(folder)))
