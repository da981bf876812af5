"""What a student sees of a notebook: figures that can be read alone, lines that are not cut, answers that are used.

`UNUSED` names the exercises that still lead nowhere, by notebook; a new one fails, and so does one that is mended and
still listed.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.authoring.handout import exercise_tags, points_of
from cs348k_diffusion.authoring.stub_flow import called, parse
from cs348k_diffusion.exercises.framework.catalogue import free_texts

SOLUTIONS = sorted((Path(__file__).parents[1] / "solutions").glob("*.ipynb"))
COLUMNS = 88  # of a printed line
UNUSED = {
    "08": {"E8.1", "E8.2", "E8.4", "E8.6"},
    "09": {"E9.6"},
}
CAPTIONS = re.compile(r'"captions":(\[(?:"(?:[^"\\]|\\.)*",?)*\])')  # of a stored player
PLAYERS = {"compare", "show_trajectory", "watch"}
PICTURES = {"image_grid", "show_figure", *PLAYERS}

each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    return [cell for cell in handout.read(path).cells if cell.cell_type == "code"]


def calls(source: str) -> list[ast.Call]:
    return [node for node in ast.walk(parse(source)) if isinstance(node, ast.Call)]


def untitled(source: str) -> bool:
    """Does this cell show a figure without a title and without a caption?"""
    shows = any(called(call.func) == "show_figure" for call in calls(source))
    return shows and not re.search(r"\b(set_title|suptitle|title|caption)\b", source)


def thinned(source: str) -> list[str]:
    """Arguments of players that leave out states, so that "step 3" is not the third step."""
    found = []
    for call in (call for call in calls(source) if called(call.func) in PLAYERS):
        for node in (node for each in (*call.args, *call.keywords) for node in ast.walk(each)):
            if isinstance(node, ast.Slice) and node.step is not None:
                found.append(ast.unparse(node))
    return found


def uses(source: str, name: str) -> bool:
    """Does this cell use `name`, other than to check it or to ask for a hint?"""
    nodes = list(ast.walk(parse(source)))
    asked = [
        each
        for node in nodes
        if isinstance(node, ast.Call) and called(node.func) in {"check", "hint"}
        for each in node.args
    ]
    return any(isinstance(node, ast.Name) and node.id == name and node not in asked for node in nodes)


def wide(path: Path) -> dict[str, str]:
    """A printed line that is too long, of each cell that has one."""
    return {
        cell.id: line
        for cell in code_cells(path)
        for output in cell.outputs
        for line in output.get("text", "").splitlines()
        if len(line) > COLUMNS
    }


def without_title(path: Path) -> set[str]:
    """Cells whose figure has neither title nor caption."""
    return {cell.id for cell in code_cells(path) if untitled(cell.source)}


def sliders(source: str) -> list[str]:
    """The names of the sliders, menus and lines to type into that this cell shows."""
    return [
        str(each.arg)
        for call in calls(source)
        if called(call.func) == "explore"
        for each in call.keywords
        if each.arg not in {"alt", "look", "as_typed"}
    ]


def unsaid(path: Path) -> set[str]:
    """Cells with a slider that the text above them does not name: what is to be moved, and what to look at?"""
    said, found = "", set()
    for cell in handout.read(path).cells:
        if cell.cell_type == "markdown":
            said = cell.source
        elif not all(re.search(rf"\b{name.replace('_', ' ')}", said) for name in sliders(cell.source)):
            found.add(cell.id)
    return found


def leading_nowhere(path: Path) -> set[str]:
    """Exercises whose answer no other cell uses; a question for prose builds nothing."""
    cells = code_cells(path)
    return {
        tag
        for tag, worth in points_of(path.stem).items()
        if tag not in free_texts()
        and not any(uses(cell.source, worth.exercise.name) for cell in cells if tag not in exercise_tags(cell))
    }


@each_solution
def test_every_film_says_what_a_frame_is(path):
    """A frame that its recorder names by nothing else is a "frame 3": say what it is, with `each`."""
    told = [
        (cell.id, caption)
        for cell in code_cells(path)
        for output in cell.outputs
        for names in CAPTIONS.findall("".join(output.get("data", {}).get("text/html", "")))
        for caption in json.loads(names)
    ]
    assert [each for each in told if re.match(r"(frame|step) \d+( \(|$)", each[1])] == []


@each_solution
def test_printed_lines_fit_beside_the_file_browser(path):
    assert wide(path) == {}


@each_solution
def test_figures_have_a_title_or_a_caption(path):
    assert without_title(path) == set()


@each_solution
def test_the_text_above_a_slider_names_it(path):
    assert unsaid(path) == set()


@each_solution
def test_players_show_every_step_that_they_count(path):
    """A player thins long runs itself, and its captions keep the true step."""
    assert {cell.id: cut for cell in code_cells(path) if (cut := thinned(cell.source))} == {}


@each_solution
def test_what_an_exercise_builds_is_used(path):
    """Later or earlier, by its name: no answer ends at its check."""
    assert leading_nowhere(path) - UNUSED.get(path.name[:2], set()) == set()


def test_the_start_page_lists_every_notebook():
    start, *others = SOLUTIONS
    text = "\n".join(cell.source for cell in handout.read(start).cells if cell.cell_type == "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [path.name for path in others if not any(f"({path.name})" in row for row in rows)] == []


def test_these_kinds_are_found():
    assert untitled("fig, ax = figure()\nshow_figure(fig, alt='x')")
    assert not untitled("fig, ax = figure()\nax.set(title='x')\nshow_figure(fig, alt='x')")
    assert not untitled("print('title')")
    assert thinned("compare({'a': xs[::10], 'b': ys[1::20]}, alt='x')") == ["::10", "1::20"]
    assert thinned("ended = xs[::10]\ncompare({'a': xs[1:]}, alt='x')") == []
    assert sliders("explore(f, alt='x', steps=(1, 9), as_typed=True, prompt='a cat')") == ["steps", "prompt"]
    assert uses("step = mine_or_ours(f)", "f")
    assert not uses("check(f)\nhint(f)", "f")


def test_what_is_excused_still_needs_it():
    """A list of excuses does not outlive what it excuses."""
    needless = {path.name[:2]: UNUSED.get(path.name[:2], set()) - leading_nowhere(path) for path in SOLUTIONS}
    assert not any(needless.values()), needless


@each_solution
def test_a_picture_is_the_last_thing_in_its_cell(path):
    """Jupyter shows what the last line gives, and nothing that a line before it does."""
    lost = []
    for cell in code_cells(path):
        for statement in parse(cell.source).body[:-1]:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in PICTURES:
                lost.append((cell.id, call.func.id))
    assert lost == []
