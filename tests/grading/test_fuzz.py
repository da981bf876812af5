"""Reading notebooks that nobody would write: whatever the bytes, a submission or one sentence comes out.

300 cases of each kind, or as many as CS348K_FUZZ says: `CS348K_FUZZ=10000 python -m pytest tests/grading/test_fuzz.py`.
"""

import json
import os
import random
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from cs348k_diffusion.exercises import Exercise
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions import reading, similarity
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.workers.worker import Job, _statements

CASES = int(os.environ.get("CS348K_FUZZ", "300"))
HURRIED = settings(max_examples=CASES, deadline=None, database=None, derandomize=True,
                   suppress_health_check=list(HealthCheck))  # fmt: skip
PIECES = [
    "def double(x):\n    return 2 * x",
    "def double(x:\n    return",
    "double = twice",
    "import a.b, c as double",
    "%%time",
    "%%bash\nrm x",
    "!ls",
    "?double",
    "x = double(1)",
    "x += 1",
    "class double: y = x\n",
    "for x in y: pass",
    "\x00",
    "\ud800",
    "from m import *",
    "global x",
    "if x:\n    double = 1\nelse:\n    def double(): global y; y += 1",
    "with a as b: double = b",
    "try:\n    import m\nexcept E as double:\n    m = double",
    "(" * 300,
    "-" * 3000 + "1",
    "\t\n  x = 1",
    "'''",
    "\\\n",
    "...",
    "lambda: (yield)",
    "del double",
    "a, *double = b",
    "double[x].y = z",
    "@double\nasync def f(): await x",
    "x: int",
    "\x0c",
    "match x:\n    case [double, *_]: pass",
    "from __future__ import annotations",
    "[x := y for y in double]",
    "# -*- coding: q",
    "return 1",
    "await double",
    "nonlocal x",
    "f'{double!r:{x}}'",
    "type X = double",
    "__class__ = 1",
    "1if x else y",
    "x = '\udcff\u202e\x1b[31m'",
    "# " + "\x07\x85\u2028" * 50,
    "x = '" + "a" * 3000 + "'",
    "!ls\r\n" * 60,
    "\r%%time\rdef double(): pass",
    ">>> double = 1\n... x",
    "\n" * 5000 + "?x",
    "%%\udfff\nx",
]
text = st.one_of(st.lists(st.sampled_from(PIECES), max_size=5).map("\n".join), st.text(max_size=80))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
source = st.one_of(text, st.lists(text, max_size=4), anything)
kinds = st.just("code") | st.just("markdown") | anything
cell = st.fixed_dictionaries({"cell_type": kinds}, optional={"source": source, "input": source, "metadata": anything})
cells = st.lists(cell | anything, max_size=6)
sheets = st.lists(st.fixed_dictionaries({"cells": cells}) | anything, max_size=3)
notebooks = st.fixed_dictionaries({}, optional={"cells": cells | anything, "worksheets": sheets | anything})


def collected(path: Path) -> str:
    """All that the grader does with a file before a worker runs, or the sentence that refuses it."""
    try:
        read = submission.read([path])
    except Unreadable as refusal:
        return str(refusal)
    bound = sorted({name for definition in read.definitions for name in definition.binds})
    assert all(read.has(name) for name in bound)
    for name in ["double", *bound[:5]]:
        list(_statements(Job("E9.1", name, read.needed(name), flags=read.flags())))
        similarity.written(read, Exercise("E9.1", name, ""), ())
    reading.answers(read.markdown, ["E9.2"])
    json.dumps(read.notes)
    return " ".join(read.notes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "fuzzed.ipynb"


@HURRIED
@given(notebook=notebooks | anything)
@example(notebook={"cells": [{"cell_type": "code", "source": "x = y\ny = x\ndouble = x"}]})
def test_a_notebook_of_any_structure_is_read_or_refused(path, notebook):
    path.write_text(json.dumps(notebook))
    told = collected(path)
    has_cells = isinstance(notebook, dict) and (isinstance(notebook.get("cells"), list) or "worksheets" in notebook)
    assert has_cells or "not a notebook" in told or "no cells" in told


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes after a few changes of the kind that disks, editors and merges make."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, to = sorted(rng.choices(range(len(changed) + 1), k=2))
        match rng.randrange(7):
            case 0:
                del changed[at : min(to, at + 40)]
            case 1:
                changed[at:at] = rng.randbytes(rng.randint(1, 6))
            case 2:
                changed[at:at] = changed[at : min(to, at + 200)]
            case 3 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 4:
                changed[at : at + 1] = rng.choice(
                    [b'"', b"\\", b"{", b"]", b"\\u0000", b"\\ud800", b"1e999", b"NaN", b"\n"]
                )
            case 5:
                changed[at:at] = rng.choice(PIECES).encode("utf-8", "surrogatepass")
            case 6 if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def test_a_file_of_any_bytes_is_read_or_refused(path):
    made = [{"cell_type": "code", "source": [line + "\n" for line in piece.split("\n")]} for piece in PIECES]
    plain = json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    seeds = [
        plain.encode(),
        plain.encode("utf-16"),
        json.dumps({"worksheets": [{"cells": made[:9]}]}, indent=1).encode(),
        json.dumps({"cells": [{"cell_type": "code", "source": "x = '" + "a" * 250_000 + "'"}]}).encode(),
    ]
    rng, refused = random.Random(0), 0
    for _ in range(CASES):
        path.write_bytes(mutated(rng.choice(seeds), rng))
        refused += "The file fuzzed.ipynb" in collected(path)
    assert 0 < refused < CASES
