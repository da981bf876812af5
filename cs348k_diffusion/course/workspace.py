"""The student's own copy of the notebooks: made once, never overwritten, brought up to date on request.

work/NN_<word>.ipynb        theirs
work/handouts/<version>/    newer handouts, untouched; and what an update replaced
work/.handout/              each notebook as it was handed out: what tells their edits from ours
work/.jupyter/              JupyterLab's settings, data and runtime files, so that none of the user's are touched
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cs348k_diffusion import __version__
from cs348k_diffusion.course import CourseError, write_whole

START = "00_start_here.ipynb"
LAB_SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"autoStartDefaultKernel": True},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 30},
}


@dataclass(frozen=True)
class Workspace:
    """A folder of handouts beside a student's working copies of them."""

    handouts: Path
    work: Path

    def mine(self, name: str) -> Path:
        """The student's copy."""
        return self.work / name

    def base(self, name: str) -> Path:
        """The handout that the student's copy was made from."""
        return self.work / ".handout" / name

    def names(self) -> list[str]:
        """The notebooks handed out, in the order of the course."""
        return sorted(path.name for path in self.handouts.glob("[0-9]*.ipynb"))

    def newer(self) -> list[str]:
        """Notebooks whose handout changed after the student's copy was made."""
        return [n for n in self.names() if self.mine(n).exists() and not _same(self.base(n), self.handouts / n)]


def find(folder: Path | None = None) -> Workspace:
    """The workspace of the course in this folder, or else of the course that the package stands in.

    Raises CourseError when there are no notebooks in either place.
    """
    roots = [Path.cwd(), Path(__file__).resolve().parents[2]]
    for root in roots:
        if list((root / "notebooks").glob("[0-9]*.ipynb")):
            return Workspace(root / "notebooks", (folder or root / "work").resolve())
    raise CourseError("There are no notebooks here: call this from the course's folder, the one with notebooks/ in it.")


def prepare(space: Workspace) -> list[str]:
    """Copy what the student does not have yet; put newer handouts beside theirs; return what was done, in words.

    A file of the student's is never written to.
    """
    said, fresh = [], [name for name in space.names() if not space.mine(name).exists()]
    for name in fresh:
        _copy(space.handouts / name, space.mine(name))
        _copy(space.handouts / name, space.base(name))
    if fresh:
        said.append(f"Your working copy is {space.work}: {', '.join(Path(name).stem for name in fresh)}")
    for name in space.newer():
        shown = put_aside(space, space.handouts / name, __version__)
        said.append(
            f"A newer {Path(name).stem} is in {shown}; yours is untouched. `cs348k update` carries your answers over."
        )
    sign(space, fresh)
    configure(space)
    return said


def update(space: Workspace) -> list[str]:
    """Carry the student's answers and own cells over to every newer handout; return what was done, in words.

    What a student's file held before is kept under work/handouts/.
    """
    from cs348k_diffusion.course.merge import carry_over, read, write

    said = []
    for name in space.newer():
        mine, base, handout = space.mine(name), space.base(name), space.handouts / name
        try:
            yours = read(mine)
        except ValueError as error:
            said.append(f"{name}: left alone, it cannot be read as a notebook ({error}).")
            continue
        new = read(handout)
        trusted = is_signed(space, mine)
        merged, notes = carry_over(yours, read(base) if base.exists() else new, new)
        kept = put_aside(space, mine, f"yours-before-{__version__}")
        write(merged, mine)
        sign(space, [name] if trusted else [])
        _copy(handout, base)
        said.append(f"{name}: brought up to date; what you had is kept in {kept}")
        said += [f"  {note}" for note in notes]
    return said


def put_aside(space: Workspace, source: Path, label: str) -> Path:
    """Keep a copy of `source` in work/handouts/<label>/, never over another file; return where it is."""
    for count in range(1, 1000):
        place = space.work / "handouts" / (label if count == 1 else f"{label}.{count}") / source.name
        if _same(place, source):
            return place
        if not place.exists():
            _copy(source, place)
            return place
    raise CourseError(f"{space.work / 'handouts'} is full of copies of {source.name}: remove the ones you do not need.")


def sign(space: Workspace, names: Iterable[str]) -> None:
    """Mark these copies as trusted, so that JupyterLab shows their stored players."""
    import nbformat

    with _notary(space) as notary:
        for name in names:
            notary.sign(nbformat.read(space.mine(name), as_version=4))


def is_signed(space: Workspace, notebook: Path) -> bool:
    """True when JupyterLab trusts what this notebook shows."""
    import nbformat

    with _notary(space) as notary:
        return notary.check_signature(nbformat.read(notebook, as_version=4))


@contextmanager
def _notary(space: Workspace):
    from nbformat.sign import NotebookNotary

    data = space.work / ".jupyter" / "data"
    data.mkdir(parents=True, exist_ok=True)
    notary = NotebookNotary(data_dir=str(data))
    try:
        yield notary
    finally:
        notary.store.close()


def configure(space: Workspace) -> None:
    """Write the defaults of JupyterLab in this workspace: no news, no look for updates."""
    place = space.work / ".jupyter" / "config" / "labconfig" / "default_setting_overrides.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(LAB_SETTINGS, indent=2) + "\n", encoding="utf-8")


def environment(space: Workspace) -> dict[str, str]:
    """The variables that keep Jupyter's, IPython's and matplotlib's files inside work/.jupyter."""
    home = space.work / ".jupyter"
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    folders |= {"IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib"}
    return {variable: str(home / folder) for variable, folder in folders.items()}


def lab_arguments(space: Workspace, extra: Sequence[str]) -> list[str]:
    """The arguments for JupyterLab: the working copy, the start page, and the reader's own arguments last.

    Raises CourseError when the reader asked for a port that is taken.
    """
    arguments = [f"--ServerApp.root_dir={space.work}", "--log-level=WARN", "--LabApp.extension_manager=readonly"]
    if START in space.names():
        arguments.append(f"--LabApp.default_url=/lab/tree/{START}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    port = wanted_port(extra)
    if port is not None:
        check_port(port)
        arguments.append("--ServerApp.port_retries=0")
    return [*arguments, *extra]


def wanted_port(extra: Sequence[str]) -> int | None:
    """The port that the reader's arguments name, or None; CourseError when it is not a number."""
    for place, word in enumerate(extra):
        flag, equals, value = word.partition("=")
        if flag in ("--port", "--ServerApp.port"):
            value = value if equals else next(iter(extra[place + 1 :]), "")
            if not (value.isdigit() and int(value) < 65536):
                raise CourseError(f"--port needs a number from 0 to 65535, for example --port 8890; it got {value!r}.")
            return int(value)
    return None


def check_port(port: int) -> None:
    """Raise CourseError when another program listens on this port of this machine."""
    with socket.socket() as probe:
        if os.name != "nt":  # as servers do: a port that was closed a moment ago is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CourseError(
                f"Port {port} is taken, perhaps by a JupyterLab that still runs: close that one, or choose another "
                f'port, for example make lab ARGS="--port {port + 1}".'
            ) from None


@contextmanager
def solved() -> Iterator[Workspace]:
    """The solved notebooks, to be copied into a folder that is removed afterwards; CourseError where there are none."""
    solutions = Path(__file__).resolve().parents[2] / "solutions"
    if not any(solutions.glob("[0-9]*.ipynb")):
        raise CourseError("The solved notebooks are not in this copy of the course: they lie in the instructor's.")
    with TemporaryDirectory(prefix="cs348k-solutions-") as folder:
        yield Workspace(solutions, Path(folder))


def open_lab(space: Workspace, extra: Sequence[str], say: Callable[[str], None]) -> None:
    """Prepare the working copy and serve it; returns when JupyterLab is closed."""
    arguments = lab_arguments(space, extra)
    for line in prepare(space):
        say(line)
    say("JupyterLab starts and stays with this terminal; Control-C, twice, ends it.")
    os.environ.update(environment(space))
    from jupyterlab.labapp import main

    main(arguments)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, source.read_bytes())
