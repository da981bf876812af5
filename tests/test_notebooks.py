"""Every notebook of the course: generated from its solution, short to read, described, complete, and runnable blank."""

import ast
import re
import statistics
import symtable
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cs348k_diffusion.authoring import handout, minutes, outputs
from cs348k_diffusion.authoring.handout import STOPS, exercise_tags, points_of
from cs348k_diffusion.authoring.minutes import code_lines as lines
from cs348k_diffusion.authoring.stub_flow import Names, bound, called, parse
from cs348k_diffusion.exercises.framework.catalogue import free_texts, registry
from tests.turns import todays

ROOT = Path(__file__).parents[1]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
STUDENTS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GENERATORS = ("keyed_generator(", "np.random.default_rng(", "torch.Generator(")
WORDS, MEDIAN, LONGEST, COLUMNS = 80, 6, 25, 88  # of an idea; of the lines of a code cell; of a line
TIMED = {"l4"}  # whose random numbers are not looked at
NOT_WORDS = re.compile(
    r"<details>.*?</details>|<!--.*?-->|<[^>]+>|\$\$.*?\$\$|\$[^$]+\$|```.*?```|^ *\|[^\n]*$|^#+ [^\n]*$|\]\([^)]*\)",
    re.DOTALL | re.MULTILINE,
)

each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_from_04_to_07 = pytest.mark.parametrize("path", SOLUTIONS[4:8], ids=lambda path: path.stem)
each_student = pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)


def cells(path: Path, kind: str):
    return [cell for cell in handout.read(path).cells if cell.cell_type == kind]


def words(markdown: str) -> int:
    """Words of prose: not formulas, tables, headings, folded hints or tags."""
    return len(re.findall(r"\w[\w'-]*", NOT_WORDS.sub(" ", markdown)))


def test_words_and_lines_are_counted_as_a_reader_would():
    said = (
        "# A title\nOne *two* three's $x_t = 4$ [five](http://x.y/z)\n\n| a | table |\n<details>hidden words</details>"
    )
    assert words(said) == 4
    assert minutes.statements('x = f(1,\n  2)\ndef f(x):\n    """Doc\n\n    string."""\n    return x  # so\n') == 3
    assert lines('def f(x):\n    """Doc\n\n    string."""\n\n    # why\n    return x  # so\n') == 2


def test_student_notebooks_are_what_the_solutions_give():
    stale = handout.generate(ROOT / "solutions", ROOT / "notebooks", check=True)
    assert stale == [], "run `make notebooks`"


def test_every_exercise_has_a_notebook():
    found = {re.sub(r"^\d+_", "", path.stem) for path in SOLUTIONS}
    assert {exercise.word for exercise in registry().values()} <= found


@each_solution
def test_it_opens_with_what_it_needs_how_long_it_takes_and_its_points(path):
    first = handout.read(path).cells[0]
    line = next((line for line in first.source.splitlines() if "**Needs**" in line), None)
    assert first.cell_type == "markdown"
    assert first.source.startswith("# "), "the first line is the title"
    assert line, (
        'the first cell has a line like "**Needs** nothing ... **about** 35 minutes ... **13 points** ... core"'
    )
    points = re.search(r"(\d+|no)\W* points?", line)
    assert points, line
    total = sum(worth.points for worth in points_of(path.stem).values())
    assert int(points[1].replace("no", "0")) == total, f"the exercises are worth {total:g} points"
    assert re.search("core|starred", line), "says which parts are core and which starred"


@each_solution
def test_ideas_are_short(path):
    ideas = [cell for cell in cells(path, "markdown") if not set(cell.metadata.get("tags", [])) & set(free_texts())]
    counts = {cell.id: words(cell.source) for cell in ideas}  # a model answer in prose may be longer
    assert {id: count for id, count in counts.items() if count > WORDS} == {}


@each_solution
def test_code_is_short(path):
    counts = {cell.id: lines(cell.source) for cell in cells(path, "code")}
    assert {id: count for id, count in counts.items() if count > LONGEST} == {}
    assert statistics.median(minutes.statements(cell.source) for cell in cells(path, "code")) <= MEDIAN


@each_solution
def test_its_minutes_are_those_that_are_counted_from_its_cells(path):
    """The formula of CONTRIBUTING; `python -m cs348k_diffusion.authoring.minutes` prints the counts."""
    notebook = handout.read(path)
    count, header = minutes.minutes(notebook), minutes.promised(notebook)
    assert minutes.silent(notebook) == [], "an exercise says how long it takes: *About 5 minutes.*"
    assert round(count.core) <= minutes.LIMIT, "star, cut or move a section"
    assert minutes.agrees(header.core, count.core), count
    assert minutes.agrees(header.starred, count.starred), count


def test_minutes_follow_the_formula():
    code = new_code_cell("x = 1\ny = 2\n# why\n" + "z = 3\n" * 10)
    code.outputs = [new_output("display_data", {"text/html": "<img>"})]
    folded = new_code_cell("x = 1", metadata={"jupyter": {"source_hidden": True}})
    stub = new_code_cell("def f():\n    return 1", metadata={"tags": ["E2.1"]})
    text = "# Title\n**about** 9 minutes for the core, 4 for the starred part " + "word " * 110
    cells = [
        new_markdown_cell(text), code, folded, stub, new_code_cell("check(f)"),
        new_markdown_cell("## E2.1 Title (2 points)\n\n*About 4 minutes.* $$a formula$$"),
        new_markdown_cell("## A section ★\n\n**Predict** it. <details>a fold</details>"),
        new_markdown_cell("### Still starred\n\n" + "word " * 118),
        new_markdown_cell("## Core\n\n" + "word " * 119),
    ]  # fmt: skip
    count = minutes.minutes(new_notebook(cells=cells))
    title, formula, ends = 1 + 11 + 110, 10 + 8, 120
    assert count.core == pytest.approx((title + formula + ends) / 120 + 12 * 5 / 60 + 1 + 4)
    assert count.starred == pytest.approx((2 + 2 + 2 + 118) / 120 + 1.25)
    assert minutes.promised(new_notebook(cells=cells)) == (9, 4)
    assert minutes.agrees(60, 69)
    assert not minutes.agrees(60, 71)


@each_solution
def test_lines_of_code_fit_a_projector(path):
    long = {cell.id: line for cell in cells(path, "code") for line in cell.source.splitlines() if len(line) > COLUMNS}
    assert long == {}


@each_from_04_to_07
def test_what_is_printed_fits_a_projector(path):
    printed = [(cell.id, output.text) for cell in cells(path, "code") for output in cell.outputs if "text" in output]
    assert {id: line for id, text in printed for line in text.splitlines() if len(line) > COLUMNS} == {}


@each_from_04_to_07
def test_minutes_stand_right_under_the_heading_of_an_exercise(path):
    headings = [cell for cell in cells(path, "markdown") if re.match(r"#+ E\d", cell.source)]
    assert [cell.id for cell in headings if not re.match(r"#+ E[^\n]*\n\n\*About \d", cell.source)] == []


@each_from_04_to_07
def test_a_figure_has_a_title_or_is_a_drawing_without_axes(path):
    figures = [cell for cell in cells(path, "code") if re.search(r"^show_figure\(", cell.source, re.MULTILINE)]
    assert [cell.id for cell in figures if not re.search(r"title|\.axis\(\"off\"\)", cell.source)] == []


@each_solution
def test_no_cell_draws_from_the_global_generator(path):
    """Its numbers would depend on which cells ran before; exercises may, a check seeds them."""
    drawing = re.compile(r"torch\.(rand|randn|randint|randperm|normal|multinomial|bernoulli)$")
    unseeded = {
        cell.id: ast.unparse(node)
        for cell in cells(path, "code")
        if not exercise_tags(cell) and cell.id not in TIMED
        for node in ast.walk(parse(cell.source))
        if isinstance(node, ast.Call) and drawing.match(ast.unparse(node.func))
        if "generator" not in {keyword.arg for keyword in node.keywords}
    }
    assert unseeded == {}


@each_solution
def test_comparisons_are_sentences(path):
    """Not "FD: this one, than that one", in what is read or printed."""
    shown = [cell.source for cell in cells(path, "markdown")]
    shown += [output.text for cell in cells(path, "code") for output in cell.outputs if "text" in output]
    assert [line for text in shown for line in text.splitlines() if ", than " in line] == []


ANSWERS = re.compile(
    r"\b(than|more|less|most|fewer|larger|smaller|never|always|stays?|remains?|better|worse|only|agree|alike|falls?|falling|"
    r"rises?|grows?|nothing|too|until|closer|differ|by luck|"
    r"blurred|crisp|glaring|spreads|fills|lowest|highest|nearest)\b",
    re.IGNORECASE,
)


def alts(source):
    """The alt texts that a cell of code holds."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "alt":
            pieces = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
            yield "".join(str(piece.value) for piece in pieces if isinstance(piece, ast.Constant))


@each_solution
def test_no_alt_text_that_is_read_before_a_prediction_answers_it(path):
    """Under "Predict", up to the next heading, an alt text says what is shown, not how it comes out."""
    open_question, telling = False, {}
    for cell in handout.read(path).cells:
        if cell.cell_type == "markdown":
            open_question = bool(minutes.PREDICT.search(cell.source)) or (
                open_question and not cell.source.startswith("#")
            )
        elif open_question and not cell.metadata.get("jupyter", {}).get("source_hidden"):
            telling[cell.id] = [text for text in alts(cell.source) if ANSWERS.search(text)]
    assert {id: texts for id, texts in telling.items() if texts} == {}


def predictions_inside_exercises(notebook) -> list[str]:
    """Cells with "Predict" between an exercise's heading and its check: their folds may hold what it asks for."""
    inside, found = False, []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            inside = inside and not re.search(r"^check\(", cell.source, re.MULTILINE)
        else:
            heading = re.match(r"#+ (E\d+\.\d+)?", cell.source)
            inside = bool(heading[1]) if heading else inside
            found += [cell.id] if inside and minutes.PREDICT.search(cell.source) else []
    return found


def test_predictions_inside_exercises_are_found():
    title, stub = new_markdown_cell("## E2.5 A title\n\nText."), new_code_cell("def f(): ...")
    asked, check = new_markdown_cell("**Predict:** what?"), new_code_cell("check(f)")
    assert predictions_inside_exercises(new_notebook(cells=[title, stub, check, asked])) == []
    assert predictions_inside_exercises(new_notebook(cells=[title, asked, stub, check])) == [asked.id]
    assert predictions_inside_exercises(new_notebook(cells=[title, stub, new_markdown_cell("## Next"), asked])) == []


@each_solution
def test_no_prediction_stands_inside_an_exercise(path):
    assert predictions_inside_exercises(handout.read(path)) == []


@each_solution
def test_every_prediction_has_an_answer_to_unfold(path):
    """In its own cell: what to look for, or why."""
    asked = [cell for cell in cells(path, "markdown") if minutes.PREDICT.search(cell.source)]
    assert [cell.id for cell in asked if "<details>" not in cell.source] == []


def names_of(source):
    """The names that a cell binds, and those that it takes from other cells, when it runs or when its functions do."""
    table = symtable.symtable(source, "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    takes = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    inner = [*table.get_children()]
    while inner:
        scope = inner.pop()
        takes |= {s.get_name() for s in scope.get_symbols() if s.is_global() and s.is_referenced()}
        inner += scope.get_children()
    return binds, takes - binds | taken_before_bound(source, binds)


def taken_before_bound(source, binds):
    """Names that a cell binds, but reads first: `x = x + 1`."""
    bound, early = set(), set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            read = {n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            inner = {
                n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            arguments = {n.arg for n in ast.walk(statement.value) if isinstance(n, ast.arg)}
            early |= (read - inner - arguments) & binds - bound
        bound |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {statement.name} if isinstance(statement, ast.FunctionDef | ast.ClassDef) else set()
        bound |= {a.asname or a.name for n in ast.walk(statement) if isinstance(n, ast.ImportFrom) for a in n.names}
    return early


def test_names_of_a_cell_are_found():
    assert names_of("y = x + 1\ndef f(a):\n    return a + g\nz = [k for k in y]") == ({"y", "f", "z"}, {"x", "g"})
    assert names_of("x = x + 1")[1] == {"x"}
    assert names_of("x = 1\nx = x + 1")[1] == set()


@each_solution
def test_any_cell_may_run_again_after_any_other(path):
    """A name that one cell takes from another is bound in one cell only, so no other cell can have changed it."""
    found = {cell.id: names_of(cell.source) for cell in cells(path, "code")}
    owners = {}
    for id, (binds, _) in found.items():
        for name in binds:
            owners.setdefault(name, []).append(id)
    taken = {name for _, takes in found.values() for name in takes}
    assert {name: ids for name, ids in owners.items() if name in taken and len(ids) > 1} == {}


LAZY = {*"keyed_generator default_rng Generator manual_seed batches fit diffusion from_noise cascade ddpm".split()}


def draws_later(value: ast.expr) -> bool:
    """Is this a generator, or something that draws from one when it is used?"""
    lazy = isinstance(value, ast.GeneratorExp) or (isinstance(value, ast.Call) and called(value.func) in LAZY)
    return lazy and any(each in ast.unparse(value) for each in GENERATORS)


def trained_in_place(source: str) -> set[str]:
    """The names of models that `fit` changes in this cell, outside of functions."""
    calls = [n for statement in parse(source).body for n in ast.walk(statement) if isinstance(n, ast.Call)]
    return {n.args[0].id for n in calls if called(n.func) == "fit" and n.args and isinstance(n.args[0], ast.Name)}


def worn(sources: dict[str, str]) -> dict[str, str]:
    """Cells that give something else when they run again: name -> the cell that uses up, or trains, another's value."""
    made, found = {}, {}
    for id, source in sources.items():
        for node in parse(source).body:
            if isinstance(node, ast.Assign) and draws_later(node.value):
                made |= dict.fromkeys((name for target in node.targets for name in bound(target)), id)
    for id, source in sources.items():
        binds, takes = names_of(source)
        found |= {name: id for name in takes if made.get(name, id) != id}
        found |= dict.fromkeys(trained_in_place(source) & takes - binds, id)
    return found


def test_what_a_cell_uses_up_or_trains_is_found():
    assert worn({"a": "g = keyed_generator(1, 2)", "b": "x = noise_like(y, g)"}) == {"g": "b"}
    assert worn({"a": "stock = batches(x, generator=keyed_generator(1))", "b": "y = next(stock)"}) == {"stock": "b"}
    assert worn({"a": "rng = np.random.default_rng(0)", "b": "x = rng.normal()"}) == {"rng": "b"}
    assert worn({"a": "g = torch.Generator().manual_seed(3)", "b": "x = noise_like(y, g)"}) == {"g": "b"}
    assert worn({"a": "model = Net()", "b": "run = fit(model, data)"}) == {"model": "b"}
    assert worn({"a": "def f(m):\n    m = copy(m)\n    return fit(m, data)\nx = randn(3, g=keyed_generator(1))"}) == {}


@each_solution
def test_no_cell_uses_up_or_trains_what_another_made(path):
    """A generator, a stock of batches or a model of another cell: run again, the cell would give other numbers."""
    assert worn({cell.id: cell.source for cell in cells(path, "code")}) == {}


@each_solution
def test_pictures_in_the_text_are_described(path):
    for cell in cells(path, "markdown"):
        assert "![](" not in cell.source, cell.id
        assert all((tag.get("alt") or "").strip() for tag in outputs.images(cell.source)), cell.id


@each_solution
def test_outputs_are_stored_described_and_small(path):
    notebook = handout.read(path)
    assert list(outputs.output_problems(notebook)) == []
    assert list(outputs.size_problems(path.read_text(encoding="utf-8"))) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make outputs`"
    assert any("text/html" in output.get("data", {}) for cell in code for output in cell.outputs), "nothing to look at"


@each_solution
def test_stored_files_hold_nothing_of_an_editor(path):
    """What `make outputs` writes is what is stored: fixed metadata, no timings, no widget state."""
    notebook = handout.read(path)
    outputs.tidy(notebook)
    assert handout.text(notebook) == path.read_text(encoding="utf-8")


def exercises_of(word):
    """What has a stub and a check; a question for prose has neither."""
    return {id: worth for id, worth in points_of(word).items() if id not in free_texts()}


@each_solution
def test_each_exercise_has_its_stub_and_a_check_after_it(path):
    code = cells(path, "code")
    for id, worth in exercises_of(path.stem).items():
        at = [k for k, cell in enumerate(code) if id in exercise_tags(cell)]
        assert at, f"{id} has no stub"
        assert any(checks(code[k].source, worth.exercise) for k in range(at[-1] + 1, len(code))), (
            f"{id} is never checked"
        )


def checks(source: str, exercise) -> bool:
    """Does this cell call check(name) or check("E2.1")?"""
    calls = [n for n in ast.walk(parse(source)) if isinstance(n, ast.Call) and called(n.func) == "check" and n.args]
    return any(ast.unparse(call.args[0]).strip("'") in (exercise.name, exercise.id) for call in calls)


@each_student
def test_student_notebooks_hold_no_outputs_and_a_stub_for_each_exercise(path):
    code = cells(path, "code")
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    stubs = {id for cell in code for id in exercise_tags(cell)}
    assert stubs == set(exercises_of(path.stem))
    for cell in code:
        for id in exercise_tags(cell):
            assert f'raise NotYet("{id}")' in cell.source or "None" in cell.source, cell.id


@each_student
def test_no_cell_misses_a_name_where_exercises_are_unsolved(path):
    """What a cell would have bound, had it not stopped at a stub, no later cell takes: it would end in a NameError."""
    names, lacking = Names(), {}
    for cell in cells(path, "code"):
        if missing := names_of(cell.source)[1] & names.missing:
            lacking[cell.id] = missing
        names.run(parse(cell.source), bool(exercise_tags(cell)))
    assert lacking == {}


@pytest.mark.parametrize("path", todays(STUDENTS, 4, "BLANKS"), ids=lambda path: path.stem)
def test_a_blank_notebook_stops_exactly_at_the_cells_that_are_tagged(path):
    """And each of them says in one line which exercise it waits for; nbval runs all of them each day."""
    notebook = handout.read(path)
    outputs.execute(notebook, path.name, blank=True)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    raised = {cell.id: o for cell in code for o in cell.outputs if o.output_type == "error"}
    tagged = {cell.id for cell in code if STOPS in cell.metadata.get("tags", [])}
    assert set(raised) == tagged
    assert {id: o.ename for id, o in raised.items() if o.ename != "NotYet"} == {}
    assert all(re.fullmatch(r"E\d+\.\d+: not yet", "\n".join(o.traceback)) for o in raised.values())
