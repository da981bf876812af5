"""What each wall gives, to root and to a user, with namespaces and without: as measured, so in CONTRIBUTING's table."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.grading.test_batch import PERFECT, TOYS, notebook, write

ROOT = Path(__file__).parents[2]
HOW = {"root": ("root", "allowed"), "root, no namespaces": ("root", "forbidden"),
       "a user": ("user", "allowed"), "a user, no namespaces": ("user", "forbidden")}  # fmt: skip
FILTERED = ("x86_64", "aarch64")  # where system calls can be refused
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0 or os.uname().machine not in FILTERED,
    reason="only root of a Linux machine can be a user as well",
)


def table():
    """The table of CONTRIBUTING: what a worker can do, by how the grader was started."""
    rows = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| a worker can | ")[2].partition("\n\n")[0]
    head, _, *lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in rows.splitlines()]
    return {how: {line[0]: line[1 + i] == "yes" for line in lines} for i, how in enumerate(head)}


def run(how, *arguments):
    command = [sys.executable, "-m", "tests.grading.sandbox_layers", *HOW[how], *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "open_the_way" in done.stderr:
        pytest.skip("this machine forbids namespaces to root, too")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture
def open_folder():
    """A folder that everybody may write to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.mark.parametrize("how", HOW)
def test_a_worker_can_do_what_the_table_says(how, open_folder):
    assert run(how, open_folder) == table()[how]


@pytest.mark.parametrize("how", ["a user", "a user, no namespaces"])
def test_a_user_gives_the_marks_that_root_gives(how, open_folder):
    """A class of three, graded by two processes that share a fork server."""
    for name in ("ada", "bob", "cy"):
        path = write(open_folder / "in" / f"{name}.ipynb", notebook(PERFECT["double"], PERFECT["walk"]))
        path.chmod(0o644)
    assert run(how, open_folder, TOYS) == {"ada": 5, "bob": 5, "cy": 5}
