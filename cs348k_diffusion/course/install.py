"""Make `.venv` and install the course into it, at the locked versions.

Run as a script by the Makefile, before anything is installed: the standard library is all there is.
What can go wrong on a student's laptop (an old Python, no ensurepip, no network, a full disk, a machine that
PyTorch has no package for) ends in one sentence that says what to do.

    python cs348k_diffusion/course/install.py [lab | dev] [options for pip]
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / ".venv"
PYTHON = ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NEEDS_GB = 3.0  # the CPU build of PyTorch, unpacked, with JupyterLab and room for pip's own copies

TROUBLE = (  # what pip prints -> what to say; the first that matches wins
    (("No space left", "Errno 28", "not enough space"), "The disk is full: free about 3 GB and call make again."),
    (
        ("Retrying (", "ConnectionError", "name resolution", "Network is unreachable", "ProxyError", "timed out"),
        "The package index cannot be reached: check the network (or the proxy) and call make again; once installed, "
        "the course needs no network.",
    ),
    (
        ("No matching distribution found for torch",),
        "PyTorch has no package for this Python ({python}) on this machine ({machine}): use Python 3.11 to 3.13 on "
        "64-bit Linux, macOS (Apple silicon) or Windows.",
    ),
    (
        ("Failed building wheel", "Failed to build", "error: command", "Microsoft Visual C++"),
        "A dependency has no ready-made package for this machine and could not be compiled: use Python 3.11 to 3.13, "
        "or install a C compiler.",
    ),
    (("Permission denied", "Errno 13"), "No permission to write in {root}: is it read-only, or another user's?"),
)


class Trouble(Exception):
    """Something the reader can mend; its text is the whole message."""


def main(argv):
    """Install for `lab` (to learn) or `dev` (to test); what follows goes to pip."""
    what, pip_args = (argv[0], argv[1:]) if argv and argv[0] in ("lab", "dev") else ("lab", argv)
    try:
        check_python()
        check_disk()
        make_environment()
        install(what, pip_args)
    except Trouble as trouble:
        sys.exit("\n" + str(trouble))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "output", None) or error
        sys.exit("\n" + explain(said.decode(errors="replace") if isinstance(said, bytes) else str(said)))
    except KeyboardInterrupt:
        sys.exit("\nStopped; call make again to go on where this ended.")
    for ready in ("lab", "dev") if what == "dev" else ("lab",):
        (ENV / f".ready-{ready}").touch()


def check_python():
    """Raise Trouble unless this Python is new enough and can make a virtual environment."""
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python may well run this)
        raise Trouble(f"The course needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).")
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        package = f"python3.{sys.version_info.minor}-venv"
        raise Trouble(
            f"This Python ({sys.executable}) comes without ensurepip, as Debian and Ubuntu ship it: "
            f"sudo apt-get install {package}, then call make again."
        ) from None


def check_disk():
    """Raise Trouble when a first installation would not fit."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if not PYTHON.exists() and free < NEEDS_GB:
        raise Trouble(f"The disk has {free:.1f} GB free and the installation needs about {NEEDS_GB:.0f} GB.")


def make_environment():
    """Create .venv, or make it anew when its Python is gone or too old."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode == 0:
        return
    print(f"Making .venv with Python {sys.version.split()[0]}", flush=True)
    venv.create(ENV, clear=True, with_pip=True, symlinks=os.name != "nt", prompt="cs348k")


def install(what, pip_args):
    """The build backend first, then the package, both held to lock.txt."""
    extra = "[dev]" if what == "dev" else ""
    size = "" if (ENV / ".ready-lab").exists() else ": PyTorch, JupyterLab and friends, a few minutes the first time"
    print(f"Installing the versions of lock.txt into .venv{size}", flush=True)
    pip(["hatchling", "editables", *pip_args])
    pip(["--no-build-isolation", "-e", f".{extra}", *pip_args])
    (ENV / ".address").write_text(f"{ROOT}\n")


def pip(arguments):
    """Run pip install under the constraints; Trouble with one sentence when it fails."""
    loud = [] if sys.stdout.isatty() else ["-q"]
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *loud, "-c", "lock.txt", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace")
    said = []
    for line in process.stderr or ():
        said.append(line)
        sys.stderr.write(line)
    if process.wait():
        raise Trouble(explain("".join(said)))


def explain(text):
    """The one sentence for what pip or the system said."""
    for signs, sentence in TROUBLE:
        if any(sign in text for sign in signs):
            machine = os.uname().machine if hasattr(os, "uname") else "Windows"
            return sentence.format(python=sys.version.split()[0], machine=machine, root=ROOT)
    last = text.strip().splitlines()[-1] if text.strip() else "pip gave no reason"
    return f"The installation failed ({last}); what pip said stands above."


if __name__ == "__main__":
    main(sys.argv[1:])
