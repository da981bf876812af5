"""Student notebooks: what is taken out, what stays, which cells stop, and what the generator refuses."""

import textwrap
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.authoring.handout import HandoutError, generate, points_of, student_notebook, without_solution
from cs348k_diffusion.authoring.stub_flow import reads_stub

CHECKS = """
import pytest

EXERCISES = (
    Exercise("E9.1", "double", "Twice", hints=("Add.", "x + x"), withheld=("nothing",)),
    Exercise(id="E9.2", name="Block", title="A block", hints=("a", "b"), stars=1),
)

@pytest.mark.exercise("E9.1", points=2)
def test_doubles(double): ...

@pytest.mark.exercise("E9.1", points=1)
def test_zero(double): ...

@pytest.mark.exercise("E9.2", points=4)
def test_block(Block): ...
"""

DOUBLE = '''
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION
'''

BLOCK = """
class Block:
    def __init__(self, width):
        self.width = width

    def __call__(self, x):
        ### BEGIN SOLUTION
        y = x * self.width
        return y
        ### END SOLUTION
"""


def code(source, id, *tags, **more):
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(textwrap.dedent(source).strip(), id=id, metadata=metadata, **more)


def toy(*more):
    return new_notebook(
        metadata={"widgets": {"state": 1}, "kernelspec": {"name": "conda-env", "display_name": "mine"}},
        cells=[
            new_markdown_cell("# 99 Toy", id="title", metadata={"collapsed": True}),
            code("from cs348k_diffusion.exercises import NotYet, check", "imports"),
            new_markdown_cell("## E9.1 Twice (3 points)\nWrite it.", id="twice"),
            code(DOUBLE, "double", "E9.1", execution_count=3, outputs=[new_output("stream", text="hello")]),
            code("check(double)", "double-check"),
            code("four = double(2)", "use", execution_count=5),
            new_markdown_cell("### E9.2 A block ★ (4 points)", id="block-heading"),
            code(BLOCK, "block", "E9.2"),
            code("block = Block(3)", "build"),
            *more,
        ],
    )


@pytest.fixture
def course(tmp_path):
    """A course of one notebook: solutions/99_toy.ipynb and exercises/toy.py."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "toy.py").write_text(CHECKS)
    (tmp_path / "solutions" / "99_toy.ipynb").write_text(handout.text(toy()))
    return tmp_path


def make(course: Path, check=False):
    return generate(course / "solutions", course / "notebooks", check, course / "exercises")


def student(course: Path):
    return handout.read(course / "notebooks" / "99_toy.ipynb")


def exercises(course: Path):
    return points_of("99_toy", course / "exercises")


def source_of(notebook, id):
    return next(cell.source for cell in notebook.cells if cell.id == id)


def test_solutions_become_stubs_that_raise_inside_their_bodies(course):
    make(course)
    assert source_of(student(course), "double") == 'def double(x):\n    """Twice x."""\n    raise NotYet("E9.1")'
    assert source_of(student(course), "block").endswith('    def __call__(self, x):\n        raise NotYet("E9.2")')
    assert "BEGIN SOLUTION" not in (course / "notebooks" / "99_toy.ipynb").read_text()


def test_outputs_counts_and_editors_metadata_go_and_ids_stay(course):
    make(course)
    notebook = student(course)
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in toy().cells]
    assert all(not c.outputs and c.execution_count is None for c in notebook.cells if c.cell_type == "code")
    assert notebook.metadata == handout.METADATA
    assert notebook.cells[0].metadata == {}
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


def test_the_same_solutions_give_the_same_bytes(course):
    written = make(course)
    first = written[0].read_bytes()
    assert make(course) == []
    assert written[0].read_bytes() == first
    assert b"\r" not in first
    assert first.endswith(b"}\n")


def test_check_names_what_is_out_of_date_and_writes_nothing(course):
    make(course)
    path = course / "notebooks" / "99_toy.ipynb"
    path.write_text(path.read_text().replace("Write it.", "Write it!"))
    before = path.read_bytes()
    assert make(course, check=True) == [path]
    assert path.read_bytes() == before


def test_the_command_fails_in_check_mode_only_when_something_differs(course, monkeypatch, capsys):
    monkeypatch.setattr(handout, "generate", lambda *_: [course / "notebooks" / "99_toy.ipynb"])
    assert handout.main(["--check"]) == 1
    assert "make notebooks" in capsys.readouterr().out
    assert handout.main([]) == 0
    monkeypatch.setattr(handout, "generate", lambda *_: [])
    assert handout.main(["--check"]) == 0


def test_lines_for_the_student_replace_values(course):
    source = "### BEGIN SOLUTION\n### STUDENT: answer = None  # yours\nanswer = 42\n### END SOLUTION\nprint('on')"
    assert without_solution(source, "E9.1") == "answer = None  # yours\nprint('on')"


def test_only_cells_that_read_a_stub_are_tagged(course):
    make(course)
    tagged = [c.id for c in student(course).cells if handout.STOPS in c.metadata.get("tags", [])]
    assert tagged == ["use"]


STUB = 'def f(x):\n    raise NotYet("E1.1")'
MODULE = "class M(Module):\n    def __init__(self): ...\n    def forward(self, x):\n        raise NotYet('E1.1')"


@pytest.mark.parametrize(
    ("cells", "stop"),
    [
        ([STUB, "check(f)\nhint(f)", "y = f(3)", "print(y)", "z = 1", "print(z)"], {2, 3}),
        ([STUB, "g = lambda x: f(x)", "def h(x):\n    return g(x)", "h(1)"], {3}),
        ([STUB, "def h(f):\n    return f(1)", "h(lambda x: x)"], set()),
        ([STUB, "g = mine_or_ours(f)", "g(1)"], set()),
        ([STUB, "def demo():\n    return mine_or_ours(f)(1)", "demo()"], set()),
        ([STUB, "run = ddim(f, x, path(3))", "run", "watch(run)"], {3}),
        ([STUB, "for state in langevin_chain(f, x): pass"], {1}),
        ([STUB, "for name, g in {'mine': f}.items():\n    print(name)"], set()),
        ([STUB, "for name, g in {'mine': f}.items():\n    g(1)"], {1}),
        ([STUB, "xs = [f(i) for i in range(3)]", "ys = [f(1) for f in others]"], {1}),
        ([STUB, "def f(x):\n    return x", "f(1)"], set()),
        ([STUB, "try:\n    f(1)\nexcept NotYet as stop:\n    print(stop)"], set()),
        ([STUB, "try:\n    f(1)\nexcept ValueError:\n    pass"], {1}),
        (
            ["def a(x):\n    return b(x)", "def b(x):\n    raise NotYet('')", "a(1)", "with no_grad():\n    a(1)"],
            {2, 3},
        ),
        ([MODULE, "m = M()", "n = NetDenoiser(m)", "sum(p.numel() for p in n.parameters())", "watch(fit(n))"], {4}),
        ([MODULE.replace("...", "raise NotYet('E1.1')"), "m = M()", "check(M)", "m.width"], {1, 3}),
        ([STUB, "y = 1", "y = f(2)", "print(y)"], {2}),
        ([STUB, "assert f(1) == 2"], {1}),
        ([STUB, "show = partial(f, 1)", "explore(show)"], {2}),
        ([STUB, "y = f(1) if False else 2", "await f(2)"], {1, 2}),
    ],
)
def test_a_cell_stops_exactly_where_a_stub_would_be_called(cells, stop):
    found = reads_stub([(cell, False) for cell in cells])
    assert {k for k, stops in enumerate(found) if stops} == stop


def test_a_value_left_blank_stops_what_computes_with_it():
    cells = [
        ("answer = None", True),
        ("check(answer)", False),
        ("answer + 1", False),
        ("x = None", False),
        ("x", False),
    ]
    assert reads_stub(cells) == [False, False, True, False, False]


def refused(course, solution):
    with pytest.raises(HandoutError) as error:
        student_notebook(solution, exercises(course))
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    ### END SOLUTION", "", "unbalanced"),
        ("    ### BEGIN SOLUTION\n", "", "unbalanced"),
        ("### END", "### BEGIN", "unbalanced"),
        ("    ### END", "  ### END", "not indented like"),
        ("### BEGIN SOLUTION", "# begin solution", "exactly"),
        ("    return x + x\n    ### END", "    return (x + x\n    ### END", None),
        ('    """Twice x."""\n', "    (\n", "plain Python"),
    ],
)
def test_markers_that_do_not_pair_are_refused(course, old, new, says):
    solution = toy()
    cell = next(cell for cell in solution.cells if cell.id == "double")
    assert old in cell.source
    cell.source = cell.source.replace(old, new)
    if says is None:
        student_notebook(solution, exercises(course))  # what is wrong inside the solution is not the generator's matter
    else:
        assert "cell 'double'" in refused(course, solution)
        assert says in refused(course, solution)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["double"].metadata.pop("tags"), "needs the id of its exercise as a tag"),
        (lambda c: c["double"].metadata.update(tags=["E9.1", "E9.2"]), "one exercise to a cell"),
        (lambda c: c["build"].metadata.update(tags=["E9.1"]), "marks a stub, but nothing is between"),
        (lambda c: c["build"].metadata.update(tags=["raises-exception"]), "would hide its failures"),
        (lambda c: c["build"].update(id="use"), "2 cells have this id"),
        (lambda c: c["twice"].update(source="## Twice (3 points)"), "with a listed id"),
        (lambda c: c["twice"].update(source="## E9.1 Twice"), "with a listed id"),
        (lambda c: c["twice"].update(source="## E9.1 Twice (2 points)"), "its tests add up to 3"),
        (lambda c: c["twice"].update(source="## E9.1 Thrice (3 points)"), 'the exercise "Twice"'),
        (lambda c: c["twice"].update(source="## E9.7 Twice (3 points)"), "with a listed id"),
        (lambda c: c["title"].update(source="## E9.1 Twice (3 points)"), "has 2 headings"),
        (lambda c: c["block"].update(source="pass"), "nothing is between"),
        (lambda c: c["imports"].update(source="import torch"), "import it in the first code cell"),
        (lambda c: c["use"].update(source="!ls"), "plain Python"),
        (
            lambda c: c["block"].update(source="class Block:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION"),
            "into each function or method",
        ),
    ],
)
def test_a_solution_that_would_mislead_students_is_refused(course, change, says):
    solution = toy()
    change({cell.id: cell for cell in solution.cells})
    assert says in refused(course, solution)


def test_every_problem_is_told_at_once(course):
    solution = toy(new_markdown_cell("## Extra (1 point)", id="extra"))
    solution.cells[3].metadata.tags = []
    message = refused(course, solution)
    assert "Extra" in message
    assert "E9.1: no cell is tagged" in message
    assert "cell 'double'" in message


def test_a_name_that_stands_for_two_exercises_is_refused(course):
    (course / "exercises" / "again.py").write_text(CHECKS.replace('"E9.1"', '"E8.1"').replace('"Block"', '"Brick"'))
    (course / "solutions" / "98_again.ipynb").write_text(handout.text(toy()))
    with pytest.raises(HandoutError, match="'double' is used twice"):
        make(course)


def test_a_student_notebook_without_solution_is_refused(course):
    make(course)
    (course / "notebooks" / "97_old.ipynb").write_text("{}")
    with pytest.raises(HandoutError, match="97_old"):
        make(course)


def test_exercises_are_listed_with_the_points_of_their_tests(course):
    found = exercises(course)
    assert (found["E9.1"].exercise.name, found["E9.1"].points) == ("double", 3)
    assert found["E9.2"].points == 4
