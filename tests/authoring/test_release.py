"""The release zip: what is in it, what is not, and that the same tree gives the same bytes."""

import ast
import re
import textwrap
import zipfile
import zlib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cs348k_diffusion.authoring import handout, release
from cs348k_diffusion.authoring.handout import MARKER
from cs348k_diffusion.authoring.release import CUT, FOLDER, ROOT, ReleaseError, contents

SECRET = "return torch.einsum('i,i->', very_secret, answer)"
CHECKS = """
EXERCISES = (Exercise("E9.1", "double", "Twice", hints=("a", "b")),)

@pytest.mark.exercise("E9.1", points=2)
def test_doubles(double): ...
"""


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@pytest.fixture
def tree(tmp_path):
    """A clone in miniature, with everything in it that students must not get."""
    stub = f"def double(x):\n    ### BEGIN SOLUTION\n    {SECRET}\n    ### END SOLUTION"
    cells = [
        new_markdown_cell("## E9.1 Twice (2 points)", id="h"),
        new_code_cell("from cs348k_diffusion import NotYet", id="i"),
        new_code_cell(stub, id="e", metadata={"tags": ["E9.1"]}),
    ]
    package = "cs348k_diffusion"
    write(
        tmp_path,
        **{
            "solutions/09_toy.ipynb": handout.text(new_notebook(cells=cells)),
            "tests/answers/toy.py": SECRET,
            "notes/private.txt": SECRET,
            "held_back/toy.py": SECRET,
            "docs/for_students.md": "# Hello",
            "docs/for_instructors.md": SECRET,
            "README.md": "for instructors",
            "Makefile": f"lab:\n\techo lab\n\n{CUT}\ntest:\n\techo {SECRET}\n",
            "pyproject.toml": "[project]",
            "LICENSE": "MIT",
            f"{package}/__init__.py": "",
            f"{package}/__pycache__/x.pyc": SECRET,
            f"{package}/.ipynb_checkpoints/x.py": SECRET,
            f"{package}/exercises/toy.py": CHECKS,
            f"{package}/authoring/handout.py": SECRET,
            f"{package}/weights.safetensors": "0",
        },
    )
    handout.generate(tmp_path / "solutions", tmp_path / "notebooks", False, tmp_path / package / "exercises")
    return tmp_path


def test_the_zip_holds_what_students_need_and_nothing_else(tree, tmp_path):
    version = release.release(tmp_path / "out" / "course.zip", tree)
    with zipfile.ZipFile(tmp_path / "out" / "course.zip") as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(held) == {
        f"{FOLDER}/{name}"
        for name in (
            "LICENSE", "Makefile", "README.md", "VERSION", "pyproject.toml", "notebooks/09_toy.ipynb",
            "cs348k_diffusion/__init__.py", "cs348k_diffusion/exercises/toy.py", "cs348k_diffusion/weights.safetensors",
        )
    }  # fmt: skip
    assert not [name for name, text in held.items() if SECRET in text]
    assert held[f"{FOLDER}/README.md"] == "# Hello"
    assert held[f"{FOLDER}/Makefile"] == "lab:\n\techo lab\n"
    assert held[f"{FOLDER}/VERSION"] == f"{version}\n"


def test_the_same_tree_gives_the_same_bytes_and_another_tree_another_version(tree, tmp_path):
    first, again = tmp_path / "a.zip", tmp_path / "b.zip"
    version = release.release(first, tree)
    assert release.release(again, tree) == version
    assert first.read_bytes() == again.read_bytes()
    write(tree, LICENSE="MIT!")
    assert release.release(again, tree) != version


def test_out_of_date_notebooks_are_not_handed_out(tree, tmp_path):
    path = tree / "notebooks" / "09_toy.ipynb"
    path.write_text(path.read_text().replace("Twice", "Thrice"))
    with pytest.raises(ReleaseError, match="make notebooks"):
        release.release(tmp_path / "x.zip", tree)
    assert not list(tmp_path.glob("x.zip*"))


def test_a_tree_without_solutions_cannot_be_released(tree):
    (tree / "solutions" / "09_toy.ipynb").unlink()
    with pytest.raises(ReleaseError, match="instructor's clone"):
        contents(tree)


def test_a_makefile_without_the_cut_is_refused(tree):
    write(tree, Makefile="lab:\n\techo lab\n")
    with pytest.raises(ReleaseError, match="Makefile"):
        contents(tree)


def test_a_file_of_an_unknown_kind_is_asked_about(tree):
    write(tree, **{"cs348k_diffusion/diary.txt": SECRET})
    with pytest.raises(ReleaseError, match="diary"):
        contents(tree)


# The course itself


@pytest.fixture(scope="module")
def handed_out():
    return contents(ROOT)


def solution_blocks():
    """The text of every solution of the course that is long enough to be nobody else's line."""
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        for cell in handout.read(path).cells:
            block: list[str] | None = None
            for line in cell.source.splitlines():
                mark = MARKER.fullmatch(line)
                if mark and mark["what"] == "BEGIN SOLUTION":
                    block = []
                elif mark and block and mark["what"] == "END SOLUTION":
                    yield textwrap.dedent("\n".join(block)).strip()
                    block = None
                elif block is not None and not mark:
                    block.append(line)


def test_no_solution_is_handed_out(handed_out):
    blocks = [block for block in solution_blocks() if len(block) >= 40]
    assert blocks
    notebooks = [name for name in handed_out if name.endswith(".ipynb")]
    shown = "\n".join(textwrap.dedent(c.source) for n in notebooks for c in nbformat.reads(handed_out[n], 4).cells)
    flat = "\n".join(line.strip() for line in shown.splitlines())
    leaked = [block for block in blocks if "\n".join(line.strip() for line in block.splitlines()) in flat]
    assert leaked == []
    marked = [name for name, data in handed_out.items() if b"BEGIN SOLUTION" in data]
    assert marked == []


def test_only_the_course_is_handed_out(handed_out):
    tops = {name.split("/")[0] for name in handed_out}
    wanted = {"cs348k_diffusion", "notebooks", "README.md", "Makefile", "pyproject.toml", "lock.txt", "LICENSE"}
    assert wanted <= tops <= wanted | {"CHANGELOG.md"}
    kept_back = re.compile(r"test[^/]*$|answers|(?<!re)solution")
    assert not [name for name in handed_out if kept_back.search(name)]


def test_a_student_downloads_less_than_30_megabytes(handed_out):
    """As the zip holds them: weights hardly shrink, text by three quarters."""
    assert sum(len(zlib.compress(data)) for data in handed_out.values()) < 30e6


def test_the_students_makefile_opens_checks_and_knows_nothing_of_solutions(handed_out):
    makefile = handed_out["Makefile"].decode()
    targets = {
        line.split(":")[0] for line in makefile.splitlines() if ":" in line and line[:1].isalpha() and ":=" not in line
    }
    assert {"lab", "check"} <= targets
    assert not targets & {"test", "notebooks", "outputs", "bench"}
    assert "solutions" not in makefile


def test_what_is_handed_out_needs_none_of_the_authors_tools_when_imported(handed_out):
    """Everything else imports them inside functions at most."""
    for name, data in handed_out.items():
        if name.endswith(".py"):
            top = [node for node in ast.parse(data).body if isinstance(node, ast.ImportFrom)]
            assert not [node for node in top if "authoring" in ast.unparse(node)], name


def test_the_readme_names_only_targets_that_exist(handed_out):
    makefile = handed_out["Makefile"].decode()
    named = {
        word.strip("`.,:")
        for word in handed_out["README.md"].decode().replace("make ", "make:").split()
        if "make:" in word
    }
    for word in named:
        assert f"\n{word.removeprefix('make:')}:" in makefile, word
