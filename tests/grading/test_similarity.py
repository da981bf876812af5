"""Answers that are alike: found after renaming, and not where a short or a common answer is alike by chance."""

import ast
import csv
import inspect
import itertools
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from cs348k_diffusion import exact, sampling
from cs348k_diffusion.exercises import Exercise
from cs348k_diffusion.grading.submissions import side_by_side, similarity
from cs348k_diffusion.grading.submissions.notebook import Submission

CHECKS = """
from cs348k_diffusion.exercises import Exercise
EXERCISES = (Exercise("E9.1", "walk", "A walk"), Exercise("E9.2", "double", "Twice"))
"""
WALK = '''
def walk(x, steps, rate: float = 0.1):
    """My own."""
    for step in range(steps):
        slope = 2 * x  # the gradient
        x = x - rate * slope + 0.5 * helper(slope) / (1 + step)
    return x.clamp(-1, 1)

def helper(g): return g.abs()
'''
RENAMED = """
def helper2(value):
    return value.abs()
def walk(tree, count, size=0.1):
    n: int
    for i in range(count):
        down: Tensor = 2 * tree

        tree = tree - size * down + 0.5 * helper2(down) / (1 + i)
    return tree.clamp(-1, 1)
"""
OTHER = """
def walk(x, steps, rate=0.1):
    history = [x]
    while len(history) <= steps:
        last = history[-1]
        history.append(last - rate * (last + last) + 0.5 * abs(2 * last) / len(history))
    return torch.clip(history[-1], min=-1, max=1)
"""
DOUBLE = "def double(x):\n    return 2 * x"


def hand_in(folder, **answers):
    folder.mkdir(exist_ok=True)
    for student, cells in answers.items():
        made = new_notebook(cells=[new_code_cell(cell) for cell in (DOUBLE, *cells)])
        nbformat.write(made, folder / f"{student}.ipynb")
    return folder


@pytest.fixture
def checks(tmp_path):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "toy.py").write_text(CHECKS)
    return tmp_path / "checks"


def statement(text):
    return ast.parse(text).body[0]


def test_names_comments_docstrings_and_annotations_do_not_count():
    one = statement("def f(a: int, *, b=1) -> int:\n    '''Adds.'''\n    c: int = a + b  # sum\n    return c")
    other = statement("def g(x, *, y=1):\n    total = x + y\n    return total")
    assert similarity.tokens_of(one) == similarity.tokens_of(other)
    for different in (
        "def g(x, *, y=1):\n    z = y + x\n    return z",
        "def g(x, *, y=2):\n    z = x + y\n    return z",
    ):
        assert similarity.tokens_of(statement(different)) != similarity.tokens_of(one)


def test_a_renamed_answer_is_listed_and_another_way_is_not(tmp_path, checks):
    pytest.importorskip("rapidfuzz")
    folder = hand_in(tmp_path / "in", ada=[WALK], bob=["import torch", RENAMED], cy=[OTHER], dee=["walk = 3"], eve=[])
    (folder / "broken.ipynb").write_text("{")
    (pair,) = similarity.similar(folder, 0.9, checks, tmp_path)
    assert (pair.one, pair.other, list(pair.alike)) == ("ada", "bob", ["E9.1"])
    assert 0.9 <= pair.alike["E9.1"] < 1  # one has a `pass` more
    similarity.write_pairs([pair], tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["student"], row["other"], row["alike"][:6]) == ("ada", "bob", "E9.1 0")


def test_what_many_have_says_nothing(tmp_path, checks):
    pytest.importorskip("rapidfuzz")
    folder = hand_in(tmp_path / "in", **{f"student{i}": [WALK] for i in range(3)})
    assert len(similarity.similar(folder, 1.0, checks, tmp_path)) == 3
    hand_in(folder, student4=[RENAMED], student3=[WALK])
    assert [pair.one for pair in similarity.similar(folder, 1.0, checks, tmp_path)] == []


def test_without_rapidfuzz_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(RuntimeError, match=r"cs348k_diffusion\[similarity\]"):
        similarity.similar(tmp_path)


def test_a_copy_of_the_packages_text_is_flagged_for_a_person():
    withheld = ("sampling.sample", "no_module", "sampling.ancestral")
    exercise = Exercise("E9.3", "mine", "", withheld=withheld, ours="exact.mixture_score")
    for function in (exact.mixture_score, sampling.ancestral):
        text = inspect.getsource(inspect.unwrap(function))
        text = text.replace(f"def {function.__name__}", "def mine").replace("offset", "gap").replace("ratio", "r")
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        read = Submission([(1, "import torch"), (2, text)])
        said = f"E9.3 is the package's {name} after renaming: worth a look, no proof."
        assert similarity.copies(read, {"E9.3": exercise}) == [said]
    own = Submission([(1, "def mine(x, eps, a, b):\n    total = a * x\n    return total + b * eps")])
    assert similarity.copies(own, {"E9.3": exercise}) == []


START = "class Walk:\n    def __init__(self):\n        self.x = [%s]\n\n    def step(self, rate):\n        raise NotYet"
LONG = ", ".join(map(str, range(40)))


def test_starting_code_and_the_courses_own_answer_are_taken_out(tmp_path, checks):
    pytest.importorskip("rapidfuzz")
    (checks / "toy.py").write_text(CHECKS.replace('"walk"', '"Walk"'))
    start = START % LONG
    own = (
        "self.x = [rate * each for each in self.x]\n        return sum(self.x)",
        "return sum(each - rate for each in self.x)",
    )
    folder = hand_in(tmp_path / "in", **{f"s{k}": [start.replace("raise NotYet", body)] for k, body in enumerate(own)})
    hand_in(folder, blank=[start], empty=[start])
    (before,) = [pair for pair in similarity.similar(folder, 0.8, checks, tmp_path) if pair.one == "s0"][:1]
    assert before.other == "blank" or before.alike["E9.1"] > 0.8  # the long line alone makes them so
    hand_in(tmp_path / "notebooks", toy=[start])
    assert similarity.similar(folder, 0.8, checks, tmp_path) == []
    hand_in(folder, ada=[WALK.replace("walk", "Walk")], bob=[RENAMED.replace("walk", "Walk")])
    assert [(pair.one, pair.other) for pair in similarity.similar(folder, 0.8, checks, tmp_path)] == [("ada", "bob")]
    hand_in(tmp_path / "solutions", toy=[WALK.replace("walk", "Walk")])
    assert similarity.similar(folder, 0.8, checks, tmp_path) == []  # one has the course's own


def test_both_answers_stand_side_by_side_and_nothing_in_them_runs(tmp_path, checks):
    pytest.importorskip("rapidfuzz")
    evil = WALK.replace("# the gradient", "# </mark><script>alert(1)</script>")
    folder = hand_in(tmp_path / "in", ada=[evil], bob=[WALK.replace("# the gradient", "").replace("slope", "down")])
    pairs = similarity.similar(folder, 0.9, checks, tmp_path)
    side_by_side.write_page(pairs, tmp_path / "similar.html")
    page = (tmp_path / "similar.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "<mark>    for step in range(steps):</mark><mark>    for step in range(steps):</mark>" in page
    assert "<span>        slope = 2 * x  # &lt;/mark&gt;" in page and "<span>        down = 2 * x" in page
    for one, other in itertools.product(("a\nb\n  c", "", "b\nb", "\x1b[31m\n\ttab"), repeat=2):
        made = side_by_side.rows(one, other)
        for text, side in ((one, 0), (other, 1)):  # every line is there, in its order
            assert [row[side] for row in made if row[side]] == [
                side_by_side.readable(line) for line in text.expandtabs(4).splitlines() if line
            ]
