"""Imports point one way, and the package costs a beginner nothing before it is used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cs348k_diffusion import _HOME

PACKAGE = Path(__file__).parents[1] / "cs348k_diffusion"
HEAVY = (
    "matplotlib",
    "sklearn",
    "scipy",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "jupyterlab",
    "pytest",
    "anywidget",
    "typer",
)

# Each part and what it may import: what it uses today and no more. Deliberately tight; widen it when a file needs it.
ALLOWED = {
    "running": "",
    "noise": "",
    "parallel": "",
    "cluster": "",
    "attention": "",
    "lab": "",
    "course": "__version__",
    "schedule": "noise",
    "forward": "schedule",
    "denoiser": "noise schedule",
    "exact": "noise schedule",
    "langevin": "noise running",
    "sampling": "denoiser noise running schedule",
    "training": "denoiser forward noise running",
    "guidance": "denoiser noise schedule",
    "cascade": "denoiser noise running sampling schedule",
    "latent": "running sampling schedule",
    "checkpoints": "training",
    "distill": "denoiser forward guidance noise running sampling schedule training",
    "nets": "attention",
    "metrics": "",
    "procedural": "langevin noise running",
    "data": "procedural",
    "pipeline": "cascade denoiser guidance running sampling",
    "recipes": "__version__ cascade checkpoints data denoiser distill exact forward latent metrics nets noise parallel "
    "pipeline running sampling schedule training",
    "evaluate": "attention cascade cluster data denoiser distill exact guidance langevin latent metrics nets noise "
    "pipeline procedural recipes running sampling schedule training",
    "exercises": "exact guidance procedural sampling schedule",
    "grading": "__version__ cluster exercises",
    "authoring": "__version__ exercises grading data lab recipes commands",
    "commands": "cascade checkpoints cluster course data evaluate exercises grading lab procedural recipes running "
    "sampling",
    "cli": "__version__ authoring commands course data grading recipes",
}


def parts_imported(file):
    """The parts of the package that a file names in its imports, wherever in the file they stand."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{file}: a relative import across folders"
            inside = (
                ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level]) if node.level else ""
            )
            home = ".".join(filter(None, [inside, node.module]))
            names = [f"{home}.{alias.name}" for alias in node.names]
        else:
            continue
        inner = [name.split(".")[1] for name in names if name.startswith("cs348k_diffusion.")]
        yield from (_HOME.get(name, name).partition(".")[0] for name in inner)  # a public name counts as its home


def files_of(part):
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def parts():
    here = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/*.py")}
    return sorted(here - {"__init__"})


def test_every_part_has_its_place():
    assert set(parts()) == set(ALLOWED)


@pytest.mark.parametrize("part", parts())
def test_imports_point_one_way(part):
    for file in files_of(part):
        allowed = {part, *ALLOWED[part].split()}
        assert set(parts_imported(file)) <= allowed, f"{file.name} may import {sorted(allowed)}"


def test_no_more_is_allowed_than_is_used():
    for part, allowed in ALLOWED.items():
        used = {name for file in files_of(part) for name in parts_imported(file)}
        assert set(allowed.split()) <= used, f"{part} does not use {set(allowed.split()) - used}"


def test_no_part_reaches_itself():
    """No circles: what a part may import never leads back to it."""
    for part in ALLOWED:
        reached, new = set(), set(ALLOWED[part].split()) & ALLOWED.keys()
        while new:
            reached |= new
            new = {name for one in new for name in ALLOWED[one].split() if name in ALLOWED} - reached
        assert part not in reached, f"{part} reaches itself"


@pytest.mark.parametrize(
    "statement",
    [
        "import cs348k_diffusion",
        "from cs348k_diffusion import cosine, NetDenoiser, ddim, fit, langevin_step",
        "import cs348k_diffusion.nets",
    ],
)
def test_the_core_loads_nothing_heavy(statement):
    probe = f"import sys, json; {statement}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)).isdisjoint(HEAVY)


def test_the_command_line_answers_without_torch():
    probe = "import sys, cs348k_diffusion.cli; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
