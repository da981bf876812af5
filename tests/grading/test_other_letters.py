"""The course installed where no letter of the path is in cp1252, and with spaces: checking and grading work there."""

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.grading.test_batch import notebook, write

ROOT = Path(__file__).parents[2]
ANSWER = "def noise_once(x, beta, noise):\n    return (1 - beta) ** 0.5 * x + beta**0.5 * noise"
HOME = "课程 扩散 ñandú Ω"


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """`cs348k` of an installation of its own: a copy of the package, and an environment that borrows the others."""
    home = tmp_path_factory.mktemp("installed") / HOME
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cs348k_diffusion", home / "cs348k_diffusion", ignore=left_out)
    venv.create(home / ".venv", symlinks=True)
    site = next((home / ".venv").rglob("site-packages"))
    (site / "borrowed.pth").write_text(
        f"{os.path.relpath(home, site)}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8"
    )
    python = next((home / ".venv").glob("*/python"))
    return [str(python), "-c", "from cs348k_diffusion.cli import main; main()"]


def run(command, *words, cwd, **more):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
    done = subprocess.run([*command, *map(str, words)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("console", ["utf-8", "cp1252"])
def test_check_works_there(command, tmp_path, console):
    path = write(tmp_path / HOME / "我的 笔记.ipynb", notebook(ANSWER))
    assert "2/2    E2.1" in run(command, "check", path, "--only", "E2.1", cwd=tmp_path, PYTHONIOENCODING=console)


@pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
def test_grade_works_there(command, tmp_path):
    names = ["李雷", "Ωmega x", "ada"]
    for name in names:
        write(tmp_path / HOME / "in" / f"{name}.ipynb", notebook(ANSWER))
    run(command, "grade", "in", "--only", "E2.1", cwd=tmp_path / HOME, PYTHONIOENCODING="cp1252")
    with (tmp_path / HOME / "marks" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["student"]: row["total"] for row in csv.DictReader(file)} == dict.fromkeys(names, "2")
