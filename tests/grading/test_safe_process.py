"""No process of the grader imports from where it was started, and what is known is on disk whenever it ends."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cs348k_diffusion.grading.batch.journal import read_journal
from cs348k_diffusion.grading.safe_path import safe_path
from tests.grading.test_batch import PERFECT, TOYS, notebook, write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
ROOT = Path(__file__).parents[2]
GRADE = (
    "import sys; sys.path[:] = json.loads(sys.argv[1]); from pathlib import Path; "
    "from cs348k_diffusion.grading import grade; "
    "grade(Path('.'), Path(sys.argv[2]), checks=Path(sys.argv[3]), only=['E9.1'])"
)
POISON = "open({canary!r} + '/' + __name__, 'w').close()\nraise ImportError('poisoned: ' + __name__)\n"


def poisoned(folder, canary):
    """A module in the folder for every name of the standard library, and for what the grader uses beside it."""
    canary.mkdir()
    for name in {*sys.stdlib_module_names, "torch", "numpy", "pytest", "tqdm", "jinja2", "typer", "IPython", "_pytest"}:
        (folder / f"{name}.py").write_text(POISON.format(canary=str(canary)))


def command(*more, path=()):
    return [sys.executable, "-I", "-c", f"import json; {GRADE}", json.dumps([*path, *safe_path()]), *map(str, more)]


def test_nothing_is_imported_from_the_hand_ins_or_the_environment(tmp_path):
    inbox, canary = tmp_path / "in", tmp_path / "canary"
    for name in ("ada", "bob", "cy"):
        write(inbox / f"{name}.ipynb", notebook(PERFECT["double"]))
    poisoned(inbox, canary)
    env = os.environ | {"PYTHONPATH": f"{inbox}:", "PYTHONSTARTUP": str(inbox / "struct.py"), "PYTHONHOME": ""}
    done = subprocess.run(command(tmp_path / "out", TOYS), cwd=inbox, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [path.name for path in canary.iterdir()] == []
    assert set(read_journal(tmp_path / "out" / "results.jsonl")) >= {"ada", "bob", "cy"}


def test_the_command_line_drops_the_current_folder(tmp_path):
    poisoned(tmp_path, tmp_path / "canary")
    script = Path(sys.executable).with_name("cs348k")
    if not script.exists():
        pytest.skip("cs348k is not installed beside this Python")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([script, "grade", "."], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "canary").iterdir()) == []


def test_a_safe_path_begins_with_the_standard_library(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/tmp", "relative", "/opt/x/site-packages", *safe_path()])
    path = safe_path()
    assert path[0] == os.path.dirname(os.__file__)
    assert "/opt/x/site-packages" in path
    assert not {"", "/tmp", "relative"} & set(path)


def test_a_child_imports_the_package_that_started_it_though_another_is_installed(monkeypatch, tmp_path):
    other = tmp_path / "site-packages"
    (other / "cs348k_diffusion").mkdir(parents=True)
    (other / "cs348k_diffusion" / "__init__.py").write_text("raise ImportError('the other copy')")
    stdlib = os.path.dirname(os.__file__)
    monkeypatch.setattr(sys, "path", [stdlib, str(other), *safe_path()])
    path = safe_path()
    assert path.index(str(ROOT)) < path.index(str(other))
    code = f"import sys; sys.path[:] = {path!r}; import cs348k_diffusion; print(cs348k_diffusion.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / "cs348k_diffusion" / "__init__.py"), done.stderr


def students_on_disk(out):
    return set(read_journal(out / "results.jsonl"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_is_known_is_on_disk_when_the_grading_is_ended(tmp_path, how):
    names = [f"s{i}" for i in range(6)]
    for name in names:
        write(tmp_path / "in" / f"{name}.ipynb", notebook(PERFECT["double"]))
    out, wanted = tmp_path / "out", random.Random(int(how)).randint(1, 4)
    process = subprocess.Popen(command(out, TOYS), cwd=tmp_path / "in", stderr=subprocess.DEVNULL)
    while process.poll() is None and len(students_on_disk(out)) < wanted:
        time.sleep(0.02)
    before = students_on_disk(out)
    process.send_signal(how)
    process.wait()
    after = students_on_disk(out)
    assert before <= after
    assert len(after) >= wanted
    if how != signal.SIGKILL:  # one resumed run is enough, after the hardest end
        return
    done = subprocess.run(command(out, TOYS), cwd=tmp_path / "in", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    journal = [json.loads(line)["student"] for line in (out / "results.jsonl").read_text().splitlines() if line]
    assert sorted(journal) == names  # each was graded once
