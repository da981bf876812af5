"""Student notebooks are made from solutions/: `python -m cs348k_diffusion.authoring.handout [--check]`.

What stands between `### BEGIN SOLUTION` and `### END SOLUTION` becomes `raise NotYet("E2.1")`, the id being the tag of
the cell; where the block opens with `### STUDENT: answer = None`, the student sees that line instead, and in a tagged
markdown cell, which asks for prose, a line to write below. Outputs go,
cells keep their ids, metadata is fixed, so the same solutions give the same bytes. Cells that would stop at a stub get
the tag `raises-exception`, so that a blank notebook runs to its end.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cs348k_diffusion.authoring.stub_flow import bound, parse, reads_stub
from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, checks_of, free_texts, of_notebook
from cs348k_diffusion.grading.submissions.reading import HEAD, PLACEHOLDER

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
KEPT = ("tags", "jupyter", "slideshow")  # what a cell's metadata may hold; everything else is an editor's
STOPS = "raises-exception"
ID = re.compile(r"E\d+\.\d+")
MARKER = re.compile(r"(?P<indent>[ \t]*)### (?P<what>BEGIN SOLUTION|END SOLUTION|STUDENT:)(?P<rest>.*)")
NEARLY = re.compile(r"\s*#+\s*(BEGIN|END)[\s_]*SOLUTION|\s*#+\s*STUDENT\s*:", re.IGNORECASE)
HEADING = re.compile(r"#{1,6} (?P<id>E\d+\.\d+) (?P<title>.+) \((?P<points>\d+) points?\)")
WORTH_POINTS = re.compile(r"#{1,6} .*\(\d+ points?\)\s*|#{1,6} +E\d+\.\d+.*")


class HandoutError(ValueError):
    """A solution from which no student notebook can be made; the text lists every reason."""


class Worth(NamedTuple):
    """An exercise and the sum of its tests' points."""

    exercise: Exercise
    points: float


def generate(solutions_dir: Path, notebooks_dir: Path, check: bool = False, folder: Path = FOLDER) -> list[Path]:
    """Write the student notebook of every solution; with `check`, write nothing. Returns those that differ(ed).

    Raises HandoutError with every problem of every notebook, and for a student notebook that has no solution.
    """
    solutions = sorted(Path(solutions_dir).glob("*.ipynb"))
    made, problems = {}, [*orphans(solutions, Path(notebooks_dir))]
    for path in solutions:
        try:
            made[Path(notebooks_dir) / path.name] = text(student_notebook(read(path), points_of(path.stem, folder)))
        except HandoutError as error:
            problems += [f"{path.name}: {line}" for line in str(error).splitlines()]
    if problems:
        raise HandoutError("\n".join(problems))
    changed = [path for path, new in made.items() if not path.exists() or path.read_text(encoding="utf-8") != new]
    for path in changed if not check else ():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8", newline="\n")
    return changed


def read(path: Path) -> NotebookNode:
    """The notebook at `path`, in nbformat 4."""
    return nbformat.read(path, as_version=4)


def text(notebook: NotebookNode) -> str:
    """The notebook as the bytes that are stored: sorted keys, one space of indent, a newline at the end."""
    return nbformat.writes(notebook) + "\n"


def student_notebook(solution: NotebookNode, exercises: Mapping[str, Worth]) -> NotebookNode:
    """The notebook students get. Raises HandoutError with one line for each problem."""
    problems = [*cell_problems(solution), *heading_problems(solution, exercises)]
    code = [cell for cell in solution.cells if cell.cell_type == "code"]
    sources, stubs = {}, {}
    for cell in solution.cells:
        problems += prose_problems(cell) if cell.cell_type == "markdown" else []
    for cell in code:
        try:
            sources[cell.id], stubs[cell.id] = blank(cell), bool(exercise_tags(cell))
        except HandoutError as error:
            problems += [f"cell {cell.get('id')!r}: {line}" for line in str(error).splitlines()]
    problems += not_yet_problems(sources.values())
    if problems:
        raise HandoutError("\n".join(problems))
    stops = dict(zip(sources, reads_stub(zip(sources.values(), stubs.values()))))
    cells = [student_cell(cell, sources.get(cell.id), stops.get(cell.id, False)) for cell in solution.cells]
    return notebook_of(cells)


def notebook_of(cells: list[NotebookNode]) -> NotebookNode:
    """These cells under the course's fixed metadata."""
    return new_notebook(cells=cells, metadata=METADATA, nbformat_minor=5)


def student_cell(cell: NotebookNode, source: str | None, stops: bool) -> NotebookNode:
    """A cell as students get it: this source, no outputs, and a tag where a blank notebook stops there."""
    metadata = {key: cell.metadata[key] for key in KEPT if key in cell.metadata}
    if stops:
        metadata["tags"] = [*metadata.get("tags", []), STOPS]
    if source is None:
        source = without_solution(cell.source, "", PLACEHOLDER)
        return new_markdown_cell(source, id=cell.id, metadata=metadata)
    return new_code_cell(source, id=cell.id, metadata=metadata)


# A cell with its solution taken out


def blank(cell: NotebookNode) -> str:
    """The source of a code cell as the student gets it. Raises HandoutError."""
    tags = exercise_tags(cell)
    source = without_solution(cell.source, tags[0] if tags else "")
    if len(tags) > 1:
        raise HandoutError(f"one exercise to a cell, not {' and '.join(tags)}: split it")
    if bool(tags) != (source != cell.source):
        raise HandoutError(
            f"the tag {tags[0]} marks a stub, but nothing is between ### BEGIN SOLUTION and ### END SOLUTION"
            if tags
            else "a solution needs the id of its exercise as a tag of the cell, like E2.1"
        )
    try:
        tree = parse(source)
    except SyntaxError as error:
        raise HandoutError(f"line {error.lineno}: the student's cell must be plain Python: {error.msg}") from None
    if raises_outside_functions(tree):
        raise HandoutError(
            "the stub would raise where it is defined: put the markers into each function or method, or show the "
            "student a line instead: ### STUDENT: answer = None"
        )
    return source


def exercise_tags(cell: NotebookNode) -> list[str]:
    """The ids among the cell's tags."""
    return [tag for tag in cell.metadata.get("tags", []) if ID.fullmatch(tag)]


def without_solution(source: str, exercise: str, instead: str = "") -> str:
    """`source` with each marked block replaced by its STUDENT lines, or `instead`, or by raising NotYet.

    Raises HandoutError for markers that do not match.
    """
    kept: list[str] = []
    shown: list[str] | None = None  # the STUDENT lines of the block we are in
    began = ""
    for number, line in enumerate(source.splitlines(), 1):
        mark = MARKER.fullmatch(line)
        if not mark and NEARLY.match(line):
            raise HandoutError(
                f"line {number}: write the marker exactly as ### BEGIN SOLUTION, END or ### STUDENT: ..."
            )
        if not mark:
            kept += [line] if shown is None else []
        elif (mark["what"] == "BEGIN SOLUTION") != (shown is None):
            raise HandoutError(f"line {number}: {line.strip()} does not follow its partner: the markers are unbalanced")
        elif mark["indent"] != began and shown is not None:
            raise HandoutError(f"line {number}: {line.strip()} is not indented like its ### BEGIN SOLUTION")
        elif mark["what"] == "BEGIN SOLUTION":
            shown, began = [], mark["indent"]
        elif mark["what"] == "STUDENT:" and shown is not None:
            shown.append(began + mark["rest"].removeprefix(" "))
        else:
            kept += shown or [instead or f'{began}raise NotYet("{exercise}")']
            shown = None
    if shown is not None:
        raise HandoutError("### BEGIN SOLUTION without ### END SOLUTION: the markers are unbalanced")
    return "\n".join(kept)


def raises_outside_functions(node: ast.AST) -> bool:
    """Would defining this raise NotYet at once?"""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    if isinstance(node, ast.Raise) and "NotYet" in ast.unparse(node):
        return True
    return any(map(raises_outside_functions, ast.iter_child_nodes(node)))


# What can be wrong with a solution


def cell_problems(solution: NotebookNode) -> Iterator[str]:
    """Cells without an id, ids that stand twice, raw cells, tags that only student notebooks carry."""
    for k, cell in enumerate(solution.cells):
        name = f"cell {cell.get('id', k)!r}"
        if not cell.get("id"):
            yield f"{name}: has no id; save it as nbformat 4.5"
        if cell.cell_type == "raw":
            yield f"{name}: is a raw cell; use markdown"
        if STOPS in cell.metadata.get("tags", []):
            yield f"{name}: carries {STOPS}, which would hide its failures; the generator adds it for students"
    for name, count in Counter(cell.get("id") for cell in solution.cells).items():
        if count > 1:
            yield f"cell {name!r}: {count} cells have this id"


def prose_problems(cell: NotebookNode) -> Iterator[str]:
    """A model answer in prose that could not be cut, or whose cell the grader would not find again."""
    name, tags = f"cell {cell.get('id')!r}", exercise_tags(cell)
    try:
        cut = without_solution(cell.source, "", PLACEHOLDER) != cell.source
    except HandoutError as error:
        yield f"{name}: {error}"
        return
    head = HEAD.match(cell.source.partition("\n")[0])
    if (cut or tags) and not (cut and len(tags) == 1 and head and head[1] == tags[0]):
        id = tags[0] if tags else "E2.1"
        yield (
            f"{name}: a cell for prose has one id as its tag, opens with the line **Answer to {id}** and holds a model "
            "answer between ### BEGIN SOLUTION and ### END SOLUTION"
        )


def heading_problems(solution: NotebookNode, exercises: Mapping[str, Worth]) -> Iterator[str]:
    """Headings without id, title or points as the exercise lists them; exercises without heading or stub."""
    found = []
    for line in heading_lines(solution):
        match = HEADING.fullmatch(line.strip())
        if not match or match["id"] not in exercises:
            known = ", ".join(exercises) or "no exercise is listed for this notebook"
            yield f'heading "{line}": write "## E2.1 Title (3 points)", with a listed id ({known})'
            continue
        found.append(match["id"])
        yield from disagreements(match, exercises[match["id"]])
    tagged = {tag for cell in solution.cells for tag in exercise_tags(cell)}
    for id in exercises:
        if found.count(id) != 1:
            yield f"{id}: has {found.count(id)} headings, not one"
        if id not in tagged:
            yield f"{id}: no cell is tagged {id}"
    yield from (f"{id}: a cell has this tag, but exercises list no such id" for id in sorted(tagged - set(exercises)))


def heading_lines(solution: NotebookNode) -> Iterator[str]:
    """The headings that name an exercise, or promise points."""
    for cell in solution.cells:
        if cell.cell_type == "markdown":
            yield from (line for line in cell.source.splitlines() if WORTH_POINTS.fullmatch(line))


def disagreements(heading: re.Match[str], worth: Worth) -> Iterator[str]:
    """Points or title that are not the exercise's."""
    id, title = worth.exercise.id, worth.exercise.title
    if int(heading["points"]) != worth.points:
        yield f"{id}: the heading says {heading['points']} points, its tests add up to {worth.points:g}"
    if heading["title"].strip(" *★") != title:
        yield f'{id}: the heading says "{heading["title"]}", the exercise "{title}"'


def not_yet_problems(sources) -> Iterator[str]:
    """A stub raises NotYet, so a cell above it must import the name."""
    known: set[str] = set()
    for source in sources:
        if "raise NotYet(" in source and "NotYet" not in known:
            yield "the stubs raise NotYet: import it in the first code cell (from cs348k_diffusion.exercises)"
            return
        known |= set(bound(parse(source)))


def orphans(solutions: list[Path], notebooks_dir: Path) -> Iterator[str]:
    """A sentence for each student notebook that has no solution."""
    names = {path.name for path in solutions}
    for path in sorted(notebooks_dir.glob("*.ipynb")):
        if path.name not in names:
            yield f"{path.name}: stands among the student notebooks without a solution; delete it"


def points_of(word: str, folder: Path = FOLDER) -> dict[str, Worth]:
    """What one notebook asks for, by id, with its points. HandoutError when a name or an id is used twice."""
    try:
        exercises, texts = of_notebook(word, folder), free_texts(folder).values()
    except ValueError as error:
        raise HandoutError(str(error)) from error
    found = {e.id: Worth(e, sum(check.points for check in checks_of(e, folder))) for e in exercises}
    word = word.lstrip("0123456789_")
    return found | {t.id: Worth(Exercise(t.id, t.id, t.title), t.points) for t in texts if t.word == word}


def main(arguments: list[str] | None = None) -> int:
    """Write the student notebooks, or with --check say which are out of date and return 1."""
    parser = argparse.ArgumentParser(prog="python -m cs348k_diffusion.authoring.handout", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a notebook is out of date")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"))
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"))
    given = parser.parse_args(arguments)
    try:
        changed = generate(given.solutions, given.notebooks, given.check)
    except HandoutError as error:
        print(error, file=sys.stderr)
        return 1
    for path in changed:
        print(f"{path}: {'is not what its solution gives; run `make notebooks`' if given.check else 'written'}")
    return int(given.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
