"""What students get, as one zip: the package, the student notebooks, a README and a Makefile of their own.

Named file by file from what is allowed in, never by what is kept out: no solutions, no tests, no authoring tools. The
same tree gives the same bytes, and VERSION says which tree it was.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from cs348k_diffusion import __version__
from cs348k_diffusion.authoring import handout
from cs348k_diffusion.grading.tables import write_whole

ROOT = Path(__file__).parents[2]
FOLDER = "cs348k-course"  # one name for every version: a newer one unpacks over an older, beside the student's work/
PLAIN = ("pyproject.toml", "lock.txt", "LICENSE", "CHANGELOG.md")
KINDS = {".py", ".pyi", ".json", ".js", ".css", ".html", ".npz", ".safetensors"}
LEFT = (".", "__pycache__")  # editors' and Python's own
AUTHORS = "cs348k_diffusion/authoring"  # the tools of those who write the course
CUT = "# For those who teach or extend the course"  # where the Makefile stops being the students'
EPOCH = (1980, 1, 1, 0, 0, 0)


class ReleaseError(ValueError):
    """The tree is not ready to be handed out; the text says why."""


def release(out_zip: Path, root: Path = ROOT) -> str:
    """Write the zip and return its version. Raises ReleaseError when the student notebooks are out of date."""
    files = contents(root)
    version = stamp(files)
    files["VERSION"] = f"{version}\n".encode()
    write_zip(out_zip, {f"{FOLDER}/{name}": data for name, data in files.items()})
    return version


def contents(root: Path = ROOT) -> dict[str, bytes]:
    """Every file of the release by its name in it, VERSION aside."""
    if not list((root / "solutions").glob("*.ipynb")):
        raise ReleaseError(f"{root} has no solutions: a release is made from the instructor's clone")
    if stale := handout.generate(root / "solutions", root / "notebooks", True, root / "cs348k_diffusion" / "exercises"):
        names = ", ".join(path.name for path in stale)
        raise ReleaseError(f"{names}: not what the solutions give; run `make notebooks` first")
    files = {path.relative_to(root).as_posix(): path for path in [*package(root), *plain(root)]}
    found = {name: path.read_bytes() for name, path in files.items()}
    readme = root / "docs" / "for_students.md"
    return found | {"README.md": readme.read_bytes(), "Makefile": students_makefile(root).encode()}


def package(root: Path) -> Iterator[Path]:
    """The package's own files, without the tools of those who write the course. ReleaseError for an unknown kind."""
    for path in sorted((root / "cs348k_diffusion").rglob("*")):
        name = path.relative_to(root)
        if not path.is_file() or name.is_relative_to(AUTHORS) or any(part.startswith(LEFT) for part in name.parts):
            continue
        if path.suffix not in KINDS:
            raise ReleaseError(f"{name}: is it part of the course? Delete it, or add {path.suffix} to release.KINDS")
        yield path


def plain(root: Path) -> Iterator[Path]:
    """The student notebooks and the plain files beside them."""
    yield from sorted((root / "notebooks").glob("*.ipynb"))
    yield from (root / name for name in PLAIN if (root / name).exists())


def students_makefile(root: Path) -> str:
    """The part of the Makefile above the cut. Raises ReleaseError when there is no cut."""
    text, cut, _ = (root / "Makefile").read_text(encoding="utf-8").partition(CUT)
    if not cut:
        raise ReleaseError(f'Makefile: no line says "{CUT}", so it is not clear which targets are the students\'')
    return text.rstrip() + "\n"


def stamp(files: dict[str, bytes]) -> str:
    """The version and a digest of all names and contents: "0.1.0+3f9a0c21d4be"."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def write_zip(path: Path, files: Mapping[str, bytes], scripts: Collection[str] = ()) -> None:
    """The files by their names in the zip, of which `scripts` may be run; the same files give the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in sorted(files):
            archive.writestr(_entry(name, 0o755 if name in scripts else 0o644), files[name], zipfile.ZIP_DEFLATED, 9)
    write_whole(path, data.getvalue())


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    """A plain file, readable by all, with a fixed date."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, (0o100000 | mode) << 16
    return info
