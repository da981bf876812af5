"""Checks of the machine that the course runs on: one row a finding, each says ok or what to do about it."""

from __future__ import annotations

import hashlib
import importlib.metadata as metadata
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.course import CourseError

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent


class Finding(NamedTuple):
    """What was looked at, what was seen, and what to do (empty when all is well)."""

    what: str
    seen: str
    do: str = ""
    breaks: bool = False


def examine() -> Iterator[Finding]:
    """Every finding, in the order a reader would ask; a look that fails is itself a finding."""
    for look in LOOKS:
        try:
            yield from look()
        except Exception as error:
            name = look.__name__.removeprefix("look_at_").replace("_", " ")
            yield Finding(name, f"{type(error).__name__}: {error}", "install again: make clean lab", breaks=True)


def look_at_python() -> Iterator[Finding]:
    """The interpreter's version and place."""
    seen = f"{sys.version.split()[0]} at {sys.prefix}"
    old = sys.version_info < (3, 11)
    yield Finding("Python", seen, "use Python 3.11 or newer" if old else "", breaks=old)


def look_at_packages() -> Iterator[Finding]:
    """Each runtime dependency against its lower bound."""
    from packaging.requirements import Requirement

    wrong, count = [], 0
    for requirement in map(Requirement, metadata.requires("cs348k_diffusion") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        found = _version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found or 'missing'} (needs {requirement.specifier})")
    do = "install the locked versions: make lab, or pip install -c lock.txt -e ."
    yield Finding("packages", ", ".join(wrong), do, breaks=True) if wrong else Finding("packages", f"{count} present")


def look_at_torch() -> Iterator[Finding]:
    """PyTorch, its threads and what it can compute on."""
    import torch

    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    do = "" if threads <= cores else f"set OMP_NUM_THREADS={cores}: more threads than cores slow each other down"
    yield Finding("PyTorch", f"{torch.__version__}, {threads} of {cores} cores", do)
    device = "CUDA" if torch.cuda.is_available() else "MPS" if torch.backends.mps.is_available() else "none"
    yield Finding("GPU", f"{device} (the course runs on the CPU; a GPU is used when you ask)")


def look_at_kernel() -> Iterator[Finding]:
    """The kernel that notebooks ask for starts this very Python."""
    from jupyter_client.kernelspec import KernelSpecManager

    argv = KernelSpecManager().get_kernel_spec("python3").argv
    python = shutil.which(argv[0]) or argv[0]
    ours = argv[0].startswith("python") or Path(python).resolve() == Path(sys.executable).resolve()
    do = f"the kernel starts {python}: remove that kernel, jupyter kernelspec remove python3"
    yield Finding("kernel", "python3" if ours else " ".join(argv[:1]), "" if ours else do, breaks=not ours)


def look_at_widgets() -> Iterator[Finding]:
    """JupyterLab has the extensions that draw widgets."""
    from jupyter_core.paths import jupyter_path

    wanted = ("@jupyter-widgets/jupyterlab-manager", "anywidget")
    folders = [Path(p) for p in jupyter_path("labextensions")]
    missing = [name for name in wanted if not any((folder / name).exists() for folder in folders)]
    seen = (
        f"JupyterLab {_version('jupyterlab')}, ipywidgets {_version('ipywidgets')}, anywidget {_version('anywidget')}"
    )
    do = f"no extension {', '.join(missing)}: pip install --force-reinstall jupyterlab_widgets anywidget"
    yield Finding("widgets", seen, do if missing else "", breaks=bool(missing))


def look_at_fonts() -> Iterator[Finding]:
    """matplotlib finds the font its figures use."""
    from matplotlib import font_manager

    found = Path(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    yield Finding("fonts", found.stem, "" if found.exists() else "install matplotlib again")


def look_at_room() -> Iterator[Finding]:
    """Free memory and disk."""
    import psutil  # ipykernel brings it

    disk = shutil.disk_usage(ROOT).free / 1e9
    yield Finding(
        "disk", f"{disk:.1f} GB free", "" if disk > 1 else "free at least 1 GB: checkpoints and notebooks need it"
    )
    memory = psutil.virtual_memory().available / 1e9
    do = "" if memory > 1.5 else "close other programs: training in a notebook needs about 1.5 GB"
    yield Finding("memory", f"{memory:.1f} GB free", do)


def look_at_weights() -> Iterator[Finding]:
    """Every shipped weight file is the one its card describes."""
    folder = PACKAGE / "recipes" / "weights"
    said = {
        card.stem: json.loads(card.read_text(encoding="utf-8")).get("sha256") for card in sorted(folder.glob("*.json"))
    }
    shipped = {name: digest for name, digest in said.items() if digest}
    wrong = [name for name, digest in shipped.items() if _sha256(folder / f"{name}.safetensors") != digest]
    seen = f"damaged: {', '.join(wrong)}" if wrong else f"{len(shipped)} files, each as its card says"
    do = "get the course again (git checkout, or unpack the release once more)" if wrong or not shipped else ""
    yield Finding("weights", seen, do, breaks=bool(do))


def look_at_notebooks() -> Iterator[Finding]:
    """The handed-out notebooks and the student's copies of them."""
    from cs348k_diffusion.course import workspace

    try:
        space = workspace.find()
    except CourseError as error:
        yield Finding("notebooks", "none", str(error))
        return
    copies = sum(space.mine(name).exists() for name in space.names())
    seen = f"{len(space.names())} handed out, {copies} of them in {space.work.name}/"
    newer = ", ".join(Path(name).stem for name in space.newer())
    yield Finding("notebooks", seen, f"newer handouts of {newer}: cs348k update" if newer else "")


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    look_at_python,
    look_at_packages,
    look_at_torch,
    look_at_kernel,
    look_at_widgets,
    look_at_fonts,
    look_at_room,
    look_at_weights,
    look_at_notebooks,
)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "missing"
