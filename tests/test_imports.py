"""Imports point one way, and the package costs a beginner nothing before it is used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

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

# Each part and what it may import: what stands in the lines above it, as far as it is named.
CORE = "running schedule noise forward denoiser exact langevin sampling training guidance latent cascade distill"
ALLOWED = {
    "running": "",
    "schedule": "running",
    "noise": "",
    "forward": "schedule noise running",
    "denoiser": "schedule noise forward running",
    "exact": "schedule noise forward denoiser running",
    "langevin": "noise running schedule",
    "sampling": "schedule noise forward denoiser exact langevin running",
    "training": "schedule noise forward denoiser exact running",
    "attention": "",
    "attention_triton": "attention",
    "traffic": "",
    "nets": "attention",
    "metrics": "",
    "procedural": "noise",
    "data": "procedural noise",
    "guidance": "CORE",
    "latent": "CORE",
    "cascade": "CORE",
    "distill": "CORE",
    "recipes": "CORE nets data metrics attention procedural",
    "evaluate": "CORE nets data metrics attention procedural recipes",
    "lab": "CORE nets data metrics attention procedural recipes evaluate",
    "exercises": "CORE nets data metrics attention procedural recipes evaluate lab",
    "grading": "CORE nets data metrics attention procedural recipes evaluate lab exercises",
    "course": "CORE nets data metrics attention procedural recipes evaluate lab exercises grading",
    "cli": "CORE nets data metrics attention procedural recipes evaluate lab exercises grading course",
}
# Fitting walks the core's Langevin step; the rest of procedural does not.
LATER = {"procedural/fit": "CORE procedural", "procedural/policies": "CORE procedural"}


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
        yield from (name.split(".")[1] for name in names if name.startswith("cs348k_diffusion.") and name.count("."))


def files_of(part):
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def parts():
    here = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/*.py")}
    return sorted(here - {"__init__"})


def test_every_part_has_its_place():
    assert [part for part in parts() if part not in ALLOWED] == []


@pytest.mark.parametrize("part", parts())
def test_imports_point_one_way(part):
    for file in files_of(part):
        rule = LATER.get(str(file.relative_to(PACKAGE).with_suffix("")), ALLOWED[part]).split()
        allowed = {part, "__version__", *rule, *(CORE.split() if "CORE" in rule else ())}
        assert set(parts_imported(file)) <= allowed, f"{file.name} may import {sorted(allowed)}"


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
