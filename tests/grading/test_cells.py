"""A cell means to the grader what it means to Jupyter, in time that grows with its size."""

import ast

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from cs348k_diffusion.course.merge import carry_over
from cs348k_diffusion.grading.submissions import cells
from cs348k_diffusion.grading.submissions.cells import parsed, python_of

FUNCTION = "def f(x):\n    return x % 3"
AS_JUPYTER = [
    FUNCTION,
    "\n\n" + FUNCTION,
    "\n".join("  " + line for line in FUNCTION.split("\n")),
    ">>> def f(x):\n...     return x % 3\n",
    "In [3]: def f(x):\n   ...:     return x % 3",
    f"%matplotlib inline\n{FUNCTION}",
    f"!ls -l\nfiles = !ls\n{FUNCTION}\nf?",
    f"x = %time f(3)\n{FUNCTION}",
    f"!echo a \\\n  b\n{FUNCTION}",
    "def f(x):\n    !ls\n    return (x\n% 3)",
    f"a, b = !ls\n{FUNCTION}\nf??\n?f",
]


def bound(text):
    """The names that a cell's text binds at its top level, and the functions themselves."""
    tree = parsed(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    functions = {each.name: ast.dump(each.args) for each in tree.body if isinstance(each, ast.FunctionDef)}
    return names, functions


@pytest.mark.parametrize("text", AS_JUPYTER)
def test_a_cell_binds_what_it_binds_in_jupyter(text):
    assert bound(python_of(text)) == bound(TransformerManager().transform_cell(text))


@pytest.mark.parametrize("magic", ["%%time", "%%time\n%%capture out", "%%timeit -n 1 -r 1"])
def test_what_stands_under_a_harmless_magic_is_read(magic):
    assert bound(python_of(f"\n{magic}\n{FUNCTION}"))[1].keys() == {"f"}
    with pytest.raises(cells.SkipCell, match="%%bash"):
        python_of(f"%%bash\n{FUNCTION}")


@pytest.mark.parametrize("line", ["!ls", "", "%time 1", "x = !ls", "f?"])
def test_reading_takes_steps_in_proportion_to_the_size(monkeypatch, line):
    counted = {}
    for n in (200, 400):
        steps = []
        for name in ("_plain_line", "parses"):
            honest = getattr(cells, name)
            monkeypatch.setattr(cells, name, lambda text, honest=honest, steps=steps: steps.append(1) or honest(text))
        python_of(f"{line}\n" * n + "!ls\n" + FUNCTION)
        monkeypatch.undo()
        counted[n] = len(steps)
    assert counted[400] <= 2.1 * counted[200]


def test_an_untouched_stub_with_other_line_ends_is_no_answer():
    def handout(source):
        cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["E9.1"]}, "source": source}
        return {"cells": [cell | {"outputs": [], "execution_count": None}], "metadata": {}}

    stub, mended = 'def f(x):\n    raise NotYet("E9.1")', 'def f(x):\n    # x: (n,)\n    raise NotYet("E9.1")'
    for ends in ("\r\n", "\r", "  \n"):
        made, _ = carry_over(handout(stub.replace("\n", ends)), handout(stub), handout(mended))
        assert made["cells"][0]["source"] == mended
