"""The autograder zip, unpacked and run as Gradescope does: /autograder in a temporary folder, results by its format."""

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile

import nbformat
import pytest

from cs348k_diffusion.authoring.autograder import write_autograder
from cs348k_diffusion.authoring.release import ReleaseError
from cs348k_diffusion.grading.batch.gradescope import run

linux = pytest.mark.skipif(sys.platform != "linux", reason="Gradescope's autograders run on Linux")
# What gradescope-autograders.readthedocs.io/en/latest/specs allows, and the kind of each value.
TOP = {
    "score": (int, float), "execution_time": (int, float), "output": str, "output_format": str, "extra_data": dict,
    "test_output_format": str, "test_name_format": str, "visibility": str, "stdout_visibility": str, "tests": list,
    "leaderboard": list,
}  # fmt: skip
TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str, "name_format": str, "number": str,
    "output": str, "output_format": str, "tags": list, "visibility": str, "extra_data": dict,
}  # fmt: skip
WHEN = {"hidden", "after_due_date", "after_published", "visible"}
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
FADE = "def fade(picture, noise, share):\n    return (1 - share) * picture + share * noise"
NOSY = """
import json
def noise_once(x, beta, eps):
    for path in ({root}/"held_back/secret.py", {root}/"../submission_metadata.json"):
        try:
            assert not path.read_text()
        except OSError:
            pass
    try:
        ({root}/"../results/results.json").write_text('{{"score": 100}}')
    except OSError:
        pass
    return x
"""
METADATA = {
    "id": 1,
    "created_at": "2026-11-30T14:22:32.365935-08:00",
    "assignment": {"due_date": "2026-12-01T23:00:00.000000-08:00", "title": "Noising", "total_points": "20.0"},
    "submission_method": "upload",
    "users": [{"email": "ada@example.com", "id": 7, "name": "Ada"}],
    "previous_submissions": [],
}
HELD_BACK = """
import pytest
import torch

@pytest.mark.exercise("E0.1", points=2)
def test_secret(fade):
    assert fade(torch.ones(1), torch.zeros(1), 0.5) == 0.5, "the secret number"

@pytest.mark.exercise("E0.1", points=1)
def test_too_much(fade):
    assert fade(torch.ones(1), torch.zeros(1), 0.5) == 7, "the secret number"
"""


@pytest.fixture(scope="module")
def autograder(tmp_path_factory):
    """/autograder as Gradescope lays it out once setup.sh is done: source/ and a copy of run_autograder above it."""
    home = tmp_path_factory.mktemp("gradescope")
    (home / "mine").mkdir()
    (home / "mine" / "secret.py").write_text(HELD_BACK)
    only = ["E0.1", "E2.2"]
    assert write_autograder(home / "a.zip", only=only, held_back=home / "mine", pip_args=["--index-url", "a b"]) == only
    root = home / "autograder"
    with zipfile.ZipFile(home / "a.zip") as archive:
        archive.extractall(root / "source")
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert all(modes[name] & stat.S_IXUSR for name in ("setup.sh", "run_autograder"))
    shutil.copy(root / "source" / "run_autograder", root)
    (root / "run_autograder").chmod(0o755)
    (root / "source" / "course" / ".venv").symlink_to(sys.prefix)  # what setup.sh installs
    for name in ("submission", "results"):
        (root / name).mkdir()
    (root / "submission_metadata.json").write_text(json.dumps(METADATA))
    return root


def hand_in(root, *cells):
    """What run_autograder writes for a notebook of these cells, and what it prints."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=made), root / "submission" / "my copy (1).ipynb")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(["./run_autograder"], cwd=root, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((root / "results" / "results.json").read_text(encoding="utf-8")), done.stdout


def conforms(result):
    """Whether Gradescope's published format allows every key, kind and word of it."""
    kinds = [(result, TOP), *((test, TEST) for test in result["tests"])]
    assert all(isinstance(each[key], allowed[key]) for each, allowed in kinds for key in each)
    words = [(each.get("visibility", "visible"), each.get("output_format", "text")) for each, _ in kinds]
    assert {when for when, _ in words} | {result["stdout_visibility"]} <= WHEN
    assert {form for _, form in words} | {result["test_output_format"]} <= FORMATS
    return all(test["status"] in ("passed", "failed") for test in result["tests"])


@linux
def test_a_hand_in_is_graded_as_gradescope_would(autograder):
    result, said = hand_in(
        autograder, FADE, NOSY.format(root=f"__import__('pathlib').Path({str(autograder / 'source')!r})")
    )
    assert conforms(result)
    marks = [(test["number"], test["status"], test["score"], test["max_score"]) for test in result["tests"]]
    assert marks[:3] == [("0.1", "passed", 1, 1), ("0.1", "passed", 2, 2), ("0.1", "failed", 0, 1)]
    assert {number for number, *_ in marks} == {"0.1", "2.2"}
    assert result["score"] == sum(score for _, _, score, _ in marks)
    held = [test for test in result["tests"] if test["visibility"] != "visible"]
    assert [(test["visibility"], test["name"], test["output"]) for test in held] == [
        ("after_published", "E0.1 Fade a picture: held-back check", "")
    ] * 2
    assert "secret" not in json.dumps(result) and "secret" not in said
    grading = autograder / "source" / "course" / "cs348k_diffusion" / "grading" / "batch"
    assert list(grading.glob("__pycache__/gradescope.*")), "what ran is not what the zip holds"


@linux
def test_an_empty_hand_in_has_every_test_and_no_points(autograder):
    shutil.rmtree(autograder / "submission")
    (autograder / "submission").mkdir()
    result = run(autograder)
    assert conforms(result)
    assert (result["score"], result["output"]) == (0, "There is no notebook.")
    assert sum(test["max_score"] for test in result["tests"]) > 4


def test_the_zip_has_the_package_and_no_answers(autograder):
    names = {path.relative_to(autograder / "source").as_posix() for path in (autograder / "source").rglob("*.*")}
    assert {"setup.sh", "held_back/secret.py", "course/lock.txt", "course/cs348k_diffusion/schedule.py"} <= names
    assert not [name for name in names if name.endswith(".ipynb") or "solutions" in name or "tests/" in name]
    setup = (autograder / "source" / "setup.sh").read_text()
    assert "install.py lab --index-url 'a b'\n" in setup
    assert subprocess.run(["bash", "-n", "-c", setup]).returncode == 0


def test_what_cannot_be_made_is_told(tmp_path):
    with pytest.raises(LookupError, match="no exercise or notebook is called E99"):
        write_autograder(tmp_path / "a.zip", only=["E99"])
    with pytest.raises(ReleaseError, match="instructor's clone"):
        write_autograder(tmp_path / "a.zip", root=tmp_path)
