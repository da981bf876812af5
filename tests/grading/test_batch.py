"""From a folder of notebooks to marks: definitions found by name, bad files and bad cells that cost only themselves."""

import csv
import dataclasses
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from cs348k_diffusion.grading.batch import local
from cs348k_diffusion.grading.batch import plan as planning
from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.gradebook.reports import file_names, gradescope
from cs348k_diffusion.grading.records import missing
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.workers.pool import ForkServer
from cs348k_diffusion.grading.workers.worker import Job, defined

TOYS = Path(__file__).parents[1] / "toy_exercises"
HEADER = "import torch\nfrom torch import nn\nfrom cs348k_diffusion import check, hint, NotYet\n%matplotlib inline"
DOUBLE = "def double(x):\n    return FACTOR * x\n\ncheck(double)"
LAYER = """
class Layer(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(b, a))

    def forward(self, x):
        return x @ self.weight.T
"""
PERFECT = {
    "double": DOUBLE + "\nFACTOR = 2",
    "walk": "def walk(slope, x, g):\n    while True:\n        x = x - slope(x) / 4\n        yield x",
    "Layer": LAYER,
    "test_even": "def test_even(even):\n    for n in range(6):\n        assert even(n) == (n % 2 == 0)",
    "noised": "def noised(x, eps):\n    if x.isnan().any():\n        raise ValueError('NaN')\n    return (x + eps) / 2",
    "coin": "def coin():\n    return 1.0",
}
POINTS = {"E9.1": 3, "E9.2": 2, "E9.3": 2, "E9.4": 2, "E9.5": 2, "E9.6": 1}


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (HEADER, *cells)])


def perfect(**instead):
    return notebook(*(PERFECT | instead).values())


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        nbformat.write(content, path)
    else:
        path.write_bytes(content)
    return path


def needed(name, *cells):
    return Submission(list(enumerate(cells, start=1))).needed(name)


def collected(name, *cells):
    """What a worker makes of the definitions that a name needs."""
    read = Submission(list(enumerate(cells, start=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        return defined(Job("E9.1", name, read.needed(name), flags=read.flags()))


def test_definitions_come_by_need_and_nothing_else_runs():
    cells = (
        "import os, math\nraise SystemExit\nROOT = math.sqrt(4)",
        "model = train()\nfor _ in range(10**9): pass",
        "def f(x):\n    '''uses os? no'''\n    return helper(x) + ROOT\nf(1)",
        "helper = lambda x: x * TABLE['a']",
        "TABLE = {}\nTABLE['a'] = 3\nprint(f(1))",
    )
    assert [number for number, *_ in needed("f", *cells)] == [1, 3, 4, 5]
    assert collected("f", *cells)(2) == 8.0


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (("def f(): return 1", "def f(): return 2"), 2),
        (("def g(): return 1", "f = g", "def g(): return 3"), 1),
        (("def g(i): return K", "K = 2", "T = [g(i) for i in (1,)]", "K = 3", "def f(): return T"), [2]),
        (("y = x + 1", "x = 1", "def f(): return y"), 2),
        (("x = 1", "x = x + 1", "x += 1", "def f(): return x"), 3),
        (("def f(): return x", "x = 5"), 5),
        (("try:\n    import nothing_such as m\nexcept ImportError:\n    m = None", "def f(): return m"), None),
        (("if True:\n    def f(): return 4",), 4),
        (("from math import *", "def f(): return floor(pi)"), 3),
        (("class A:\n    pass", "A.value = 6", "def f(): return A.value"), 6),
        (("import os.path, os", "def f(): return os.path.basename('a/b')"), "b"),
        (("a, (b, *c) = 1, (2, 3, 4)", "def f(): return c"), [3, 4]),
        (("def f(n=3):\n    x = 1\n    return [y for y in range(n)]", "x = undefined", "y = undefined"), [0, 1, 2]),
        (("from __future__ import annotations\ndef f(x: Nothing = 1): return x",), 1),
        (("def f(x=1) -> Nothing: return x", "from __future__ import annotations"), 1),
    ],
)
def test_definitions_mean_what_they_mean_in_the_notebook(cells, value):
    assert collected("f", *cells)() == value


def test_a_cell_that_does_not_parse_costs_only_itself(tmp_path):
    cells = [nbformat.v4.new_code_cell(text) for text in ("def f(: pass", "def g(): return 1", "x = " + "(" * 500)]
    read = submission.read([write(tmp_path / "a.ipynb", nbformat.v4.new_notebook(cells=cells))])
    assert (read.has("f"), read.has("g")) == (False, True)
    assert read.notes == [
        "Cell 1 of a.ipynb is not valid Python (line 1: invalid syntax) and was skipped.",
        read.notes[1],
    ]


def test_a_cell_is_called_by_its_notebook_and_exercise(tmp_path):
    v4 = nbformat.v4
    below, tagged = v4.new_code_cell("# E9.9\ndef h(:"), v4.new_code_cell("def g(:")
    tagged.metadata.tags = ["hide", "E9.2"]
    heading = v4.new_markdown_cell("Text.\n\n## E9.1 Twice (2 points)\nMore about E9.3.")
    cells = [
        v4.new_code_cell("a b"),
        heading,
        below,
        tagged,
        v4.new_code_cell("%%bash\nls"),
        v4.new_markdown_cell("## End"),
    ]
    for name in ("one.ipynb", "two.ipynb"):
        write(tmp_path / name, v4.new_notebook(cells=cells))
    read = submission.read([tmp_path / "one.ipynb", tmp_path / "two.ipynb"])
    called = [note.partition(" is not ")[0].partition(" starts ")[0] for note in read.notes]
    places = ("Cell 1 of {}", "Cell 2 of {}, under E9.1,", "Cell 3 of {}, under E9.2,", "Cell 4 of {}, under E9.2,")
    assert called == [place.format(name) for name in ("one.ipynb", "two.ipynb") for place in places]


def test_magics_and_shell_lines_do_no_harm(tmp_path):
    shell = "!ls\n%timeit 3\ndef g(): return 7 % 4\nfiles = !ls"
    cells = notebook("%%time\ndef f(): return 1", "%%bash\nrm -rf /", shell, "x = 5 ?")
    read = submission.read([write(tmp_path / "a.ipynb", cells)])
    assert read.has("f")
    assert read.has("g")
    assert any("%%bash" in note for note in read.notes)


def test_other_formats_and_encodings(tmp_path):
    cell = {"cell_type": "code", "language": "python", "input": ["def f():\n", "    return 'é'"], "outputs": []}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [cell]}]}
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        file = write(tmp_path / f"{encoding}.ipynb", json.dumps(old, ensure_ascii=False).encode(encoding))
        assert submission.read([file]).has("f")


BAD_FILES = {
    "empty": (b"", "is empty"),
    "broken": (b'{"cells": [', "JSON is broken"),
    "merge": (b'{"cells": [\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> b\n]}', "merge conflict"),
    "list": (b"[1, 2, 3]", "not a notebook"),
    "number": (b"3", "not a notebook"),
    "no cells": (b'{"nbformat": 4}', "no cells"),
    "deep": (b"[" * 100_000, "JSON is broken"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_in_a_sentence(tmp_path, name):
    content, words = BAD_FILES[name]
    with pytest.raises(Unreadable, match=words):
        submission.read([write(tmp_path / "a.ipynb", content)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_only_plain_files_are_opened(tmp_path):
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "link.ipynb").symlink_to(write(tmp_path / "real.ipynb", perfect()))
    for name in ("folder", "pipe", "link", "missing"):
        with pytest.raises(Unreadable, match=r"not a plain file|cannot be opened"):
            submission.read([tmp_path / f"{name}.ipynb"])
    assert submission.read([tmp_path / "link.ipynb", tmp_path / "real.ipynb"]).has("double")


@pytest.mark.parametrize("cells", [["x"], [{"cell_type": "code"}], [{"cell_type": "code", "source": [1, {}]}]])
def test_odd_cells_are_no_crash(tmp_path, cells):
    file = write(tmp_path / "a.ipynb", json.dumps({"cells": cells}).encode())
    assert submission.read([file]).definitions == []


def test_opened_hints_are_read_from_what_was_printed(tmp_path):
    cell = nbformat.v4.new_code_cell("hint(double)")
    for n in (1, 2):
        text = "".join(f"E9.1, hint {k} of 2: think\n" for k in range(1, n + 1))
        cell.outputs += [nbformat.v4.new_output("stream", text=text)]
    odd = [None, {"text": 3}, {"text": [1, "E9.2, hint 1 of 1: x"]}, {"text": "no E9.3, hint 1 of 1"}]
    cells = [dict(cell), {"cell_type": "code", "source": "", "outputs": odd}, {"cell_type": "code", "outputs": "x"}]
    file = write(tmp_path / "a.ipynb", json.dumps({"cells": cells}).encode())
    assert submission.read([file]).hints == {"E9.1": 2, "E9.2": 1}


def test_students_are_found_by_file_and_by_folder(tmp_path):
    for name in ("ada.ipynb", "bob_02_toys.ipynb", "bob_more.ipynb"):
        write(tmp_path / name, perfect())
    for name in ("c d/x.ipynb", "c d/deep/y.ipynb", "c d/.z/n.ipynb"):
        write(tmp_path / name, perfect())
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("x")
    write(tmp_path / "handouts" / "02.ipynb", perfect())
    found = {student: [path.name for path in paths] for student, paths in handed_in(tmp_path, ["toys"]).items()}
    assert found == {
        "ada": ["ada.ipynb"],
        "bob": ["bob_02_toys.ipynb"],
        "bob_more": ["bob_more.ipynb"],
        "c d": ["y.ipynb", "x.ipynb"],
        "empty": [],
    }


def marks(graded):
    return {id: sum(r.earned for r in graded.records if r.exercise == id) for id in POINTS}


def said(graded, id):
    return {record.status: record.message for record in graded.records if record.exercise == id}


def test_one_notebook_at_the_command_line(tmp_path):
    half = perfect(walk="", Layer="class Layer(nn.Module):\n    def __init__(self, *a):\n        raise NotYet('E9.3')")
    graded = batch.check_notebook(write(tmp_path / "mine.ipynb", half), checks=TOYS)
    assert marks(graded) == POINTS | {"E9.2": 0, "E9.3": 0}
    assert "no definition of walk" in said(graded, "E9.2")["not yet"]
    assert said(graded, "E9.3") == {"not yet": "E9.3: not yet"}


CLASS = {
    "perfect": (perfect(), {}),
    "squared": (perfect(double="def double(x):\n    return x**2"), {"E9.1": 1}),
    "exits": (perfect(double="import os\ndef double(x):\n    os._exit(0)"), {"E9.1": 0}),
    "loops": (perfect(walk="def walk(f, x, g):\n    while True: pass"), {"E9.2": 0}),
    "syntax error": (perfect(double="def double(x:\n    return"), {"E9.1": 0}),
    "raises at top": (notebook("1/0", "input()", "import sys; sys.exit()", *PERFECT.values()), {}),
    "twice": (notebook(PERFECT["double"], *PERFECT.values()), {}),
    "backwards": (notebook(*reversed(PERFECT.values())), {}),
    "accepts everything": (perfect(test_even="def test_even(even):\n    pass"), {"E9.4": 0}),
    "rejects by error": (perfect(test_even="def test_even(even):\n    return 1 / 0"), {"E9.4": 0}),
    "calls ours": (perfect(noised="from cs348k_diffusion.forward import add_noise as noised"), {"E9.5": 0}),
    "empty": (b"", dict.fromkeys(POINTS, 0)),
    "broken": (b"{", dict.fromkeys(POINTS, 0)),
    "=1+1": (notebook(), dict.fromkeys(POINTS, 0)),
}


@pytest.fixture(scope="module")
def class_of_students(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for name, (content, _) in CLASS.items():
        write(folder / "in" / f"{name}.ipynb", content)
    inbox = repr(str(folder / "in"))
    look = f"assert not os.path.exists({inbox}) or not os.listdir({inbox})"
    spy = f"import os\ndef double(x):\n    {look}\n    return 2 * x"
    write(folder / "in" / "spy.ipynb", perfect(double=spy))
    (folder / "in" / "folder.ipynb").mkdir()
    return folder, batch.grade(folder / "in", folder / "out", checks=TOYS)


linux = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")


@linux
@pytest.mark.parametrize("student", CLASS)
def test_marks_are_those_of_an_honest_marker(class_of_students, student):
    _, graded = class_of_students
    assert marks(graded[student]) == POINTS | CLASS[student][1]


@linux
def test_messages_help(class_of_students):
    _, graded = class_of_students
    assert "mistake is: squared" in said(graded["squared"], "E9.1")["failed"]
    drawn = {record.test: "<figure" in record.picture for record in graded["squared"].records}
    assert {test for test, is_drawn in drawn.items() if is_drawn} == {"test_is_twice"}
    assert "ended its process" in said(graded["exits"], "E9.1")["failed"]
    assert "3 s of computing time" in said(graded["loops"], "E9.2")["timeout"]
    assert "accepts 3 of 3 wrong answers" in said(graded["accepts everything"], "E9.4")["failed"]
    assert "nly a failing assert counts" not in said(graded["rejects by error"], "E9.4")["failed"]
    assert "E9.5 asks you to write this" in graded["calls ours"].records[-3].message
    assert graded["syntax error"].notes == [
        "Cell 2 of syntax error.ipynb is not valid Python (line 1: '(' was never closed) and was skipped."
    ]
    assert graded["empty"].notes == ["The file empty.ipynb is empty."]
    assert "not a plain file" in graded["folder"].notes[0]


@linux
def test_reports_are_written(class_of_students):
    folder, graded = class_of_students
    with (folder / "out" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(graded) == len(CLASS) + 2
    assert (rows["perfect"]["total"], rows["perfect"]["of"], rows["squared"]["E9.1"]) == ("12", "12", "1")
    assert "'=1+1" in rows  # no spreadsheet takes it for a formula
    result = json.loads((folder / "out" / "gradescope" / "squared.json").read_text())
    assert result["score"] == 10
    assert sum(test["max_score"] for test in result["tests"]) == 12
    suites = ElementTree.parse(folder / "out" / "junit.xml").getroot()
    assert {suite.get("name"): suite.get("failures") for suite in suites}["squared"] == "1"
    assert len(list((folder / "out" / "feedback").glob("*.html"))) == len(graded)


@linux
def test_siblings_are_out_of_sight(class_of_students):
    _, graded = class_of_students
    workers = ForkServer()
    workers.end(workers.start(1))
    held = workers.held
    workers.close()
    if "hidden files" not in held:
        pytest.skip("this machine allows no mount namespaces")
    assert marks(graded["spy"]) == POINTS


@linux
def test_an_interrupted_run_goes_on_and_a_changed_file_is_graded_anew(tmp_path, monkeypatch):
    for name in ("ada", "bob"):
        write(tmp_path / "in" / f"{name}.ipynb", notebook(PERFECT["double"]))
    asked = []
    honest = local.grade_here

    def watched(chunk, plan):
        if asked == ["ada"]:
            asked.clear()
            raise KeyboardInterrupt
        asked.extend(student for student, _ in chunk)
        return honest(chunk, plan)

    monkeypatch.setattr(local, "grade_here", watched)
    arguments = {"checks": TOYS, "only": ["E9.1"], "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        batch.grade(tmp_path / "in", tmp_path / "out", **arguments)
    with (tmp_path / "out" / "results.jsonl").open("a") as journal:
        journal.write('{"student": "bob", "rec')  # cut off in the middle of a line
    assert set(batch.grade(tmp_path / "in", tmp_path / "out", **arguments)) == {"ada", "bob"}
    write(tmp_path / "in" / "ada.ipynb", notebook("def double(x):\n    return x"))
    graded = batch.grade(tmp_path / "in", tmp_path / "out", **arguments)
    assert asked == ["bob", "ada"]
    assert (marks(graded["ada"])["E9.1"], marks(graded["bob"])["E9.1"]) == (1, 3)


@linux
def test_held_back_checks_count_and_keep_their_secret(tmp_path):
    write(tmp_path / "in" / "ada.ipynb", notebook("def double(x):\n    return x + abs(x)"))
    mark, test = '@pytest.mark.exercise("E9.1", points=4)', "def test_negative(double):"
    text = f"import pytest\n{mark}\n{test}\n    assert double(-1) == -2, 'secret'"
    write(tmp_path / "mine" / "more.py", text.encode())
    options = {"checks": TOYS, "only": ["E9.1"], "held_back": tmp_path / "mine"}
    graded = batch.grade(tmp_path / "in", tmp_path / "out", **options)["ada"]
    held = [record for record in graded.records if record.held_back]
    assert [(record.test, record.points, record.earned) for record in held] == [("test_negative", 4, 0)]
    told = gradescope(graded.records, {})["tests"]
    assert [test["visibility"] for test in told].count("after_published") == 1
    assert "secret" not in json.dumps(told)
    with (tmp_path / "out" / "gradebook.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["held back"], row["of"]) == ("0 of 4", "7")


@linux
def test_a_slip_in_one_exercise_costs_only_that_one(tmp_path):
    noised = (
        "def noised(x, noise):\n    if x.isnan().any():\n        raise ValueError\n    return double(x, 0.0, noise)"
    )
    stub = "def double(x):\n    raise NotYet('E9.1')"
    for name, cells in {
        "stub": [stub, noised],
        "wrong": ["def double(x, beta, noise):\n    return 7 * x", noised],
        "gone": [noised],
        "own": ["def double(x, beta, noise):\n    return x", noised],
        "guilty": [stub, noised.replace("0.0", "0.9")],
    }.items():
        write(tmp_path / "in" / f"{name}.ipynb", notebook("from cs348k_diffusion import NotYet", *cells))
    graded = batch.grade(tmp_path / "in", tmp_path / "out", checks=TOYS, only=["E9.5"])
    assert {name: each.earned for name, each in graded.items()} == {
        "stub": 2, "wrong": 2, "gone": 2, "own": 2, "guilty": 1
    }  # fmt: skip
    told = {name: " ".join(record.message for record in each.records) for name, each in graded.items()}
    assert {name for name in told if "the package's double in place of yours" in told[name]} == {*told} - {"own"}
    assert "does not count here" in (tmp_path / "out" / "feedback" / "stub.html").read_text()


def test_a_test_that_left_no_record_is_a_failure():
    (record,) = missing([], [("E9.1", "test_is_twice", 2)], "ada")
    assert (record.status, record.earned, record.points) == ("error", 0, 2)


def test_file_names_are_safe_and_distinct():
    names = file_names(["../../etc", "a b", "a_b", "A_B", "日本", "...", "a" * 300, "日" * 83, "日" * 84])
    assert len({name.casefold() for name in names.values()}) == 9
    assert not any("/" in name or name.startswith(".") or len(name.encode()) > 110 for name in names.values())


@linux
def test_mistakes_of_the_instructor_are_told(tmp_path):
    with pytest.raises(NotADirectoryError, match="folder of notebooks"):
        batch.grade(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(LookupError, match=r"E0\.0"):
        batch.grade(tmp_path, tmp_path / "out", only=["E0.0"], checks=TOYS)


def test_a_folder_of_marks_keeps_its_key(tmp_path):
    (tmp_path / "other").mkdir()
    first = batch.key_of(tmp_path)
    assert batch.key_of(tmp_path) == first
    assert batch.key_of(tmp_path / "other") != first
    plan = batch.plan_for({}, ["E9.1"], TOYS, None, ())
    digests = {planning.digest([], dataclasses.replace(plan, key=key)) for key in (first, "another")}
    assert len(digests) == 2
