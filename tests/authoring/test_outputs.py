"""Stored outputs: what is kept, what is dropped, what is refused."""

import os

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from cs348k_diffusion.authoring import handout, outputs
from cs348k_diffusion.authoring.outputs import OutputError, images, output_problems, size_problems, store, tidy

WIDGET = "application/vnd.jupyter.widget-view+json"
CELLS = {
    "prints": "import os, sys\nprint('a')\nprint('noise', file=sys.stderr)\nprint('b', os.environ['CS348K_STRICT'])",
    "empty": "",
    "player": 'from IPython.display import HTML\nHTML(\'<img alt="two points" src="data:,"><script>1</script>\')',
    "widget": "import ipywidgets\nipywidgets.IntSlider()",
    "value": "1 + 1",
    "folder": "os.listdir()",
}


def notebook(cells):
    made = [new_code_cell(source, id=id, metadata={"tags": ["t"], "scrolled": True}) for id, source in cells.items()]
    return new_notebook(cells=[new_markdown_cell("# Toy", id="title"), *made])


def write(path, cells):
    path.write_text(handout.text(notebook(cells)))
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("solutions") / "99_toy.ipynb", CELLS)
    store(path)
    return {cell.id: cell for cell in handout.read(path).cells}, path


def test_prints_are_one_output_and_stderr_goes(stored):
    assert [(o.name, o.text) for o in stored[0]["prints"].outputs] == [("stdout", "a\nb 1\n")]


def test_players_are_kept_and_widget_views_dropped(stored):
    assert images(stored[0]["player"].outputs[0].data["text/html"]) == [{"alt": "two points", "src": "data:,"}]
    assert stored[0]["widget"].outputs == []
    assert "widgets" not in handout.read(stored[1]).metadata


def test_cells_are_counted_from_one_and_keep_their_ids_and_tags(stored):
    counts = {id: cell.execution_count for id, cell in stored[0].items() if cell.cell_type == "code"}
    assert counts == {"prints": 1, "empty": None, "player": 2, "widget": 3, "value": 4, "folder": 5}
    assert stored[0]["value"].outputs[0].execution_count == 4
    assert stored[0]["value"].metadata == {"tags": ["t"]}


def test_notebooks_run_in_an_empty_folder(stored):
    assert stored[0]["folder"].outputs[0].data["text/plain"] == "[]"
    assert "CS348K_STRICT" not in os.environ


def test_storing_again_gives_the_same_bytes(stored):
    before = stored[1].read_bytes()
    again = handout.read(stored[1])
    tidy(again)
    assert handout.text(again).encode() == before


def test_a_failing_cell_is_named_and_nothing_is_written(tmp_path):
    path = write(tmp_path / "98_bad.ipynb", {"good": "x = 1", "bad": "x.wrong"})
    before = path.read_bytes()
    with pytest.raises(OutputError, match="98_bad"):
        store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"image/png": "AAAA"}, "bare image/png"),
        ({"image/svg+xml": "<svg/>"}, "use show_figure"),
        ({"text/html": "<p><img src='x.png'></p>"}, "without alt text"),
        ({"text/html": "<img alt='  ' src='x.png'>"}, "without alt text"),
        ({"text/plain": "[<matplotlib.lines.Line2D at 0x7f8a1c2b3d40>]"}, "memory address"),
    ],
)
def test_what_a_reader_cannot_use_is_refused(data, says):
    toy = notebook({"shows": "..."})
    toy.cells[1].outputs = [new_output("display_data", data=data)]
    assert [problem for problem in output_problems(toy) if "'shows'" in problem and says in problem]


def test_described_pictures_and_plain_values_pass():
    toy = notebook({"shows": "..."})
    data = [{"text/html": "<img alt='a cat' src='data:,'>"}, {"text/plain": "tensor([0.1])"}, {"text/html": "<b>1</b>"}]
    toy.cells[1].outputs = [new_output("display_data", data=d) for d in data]
    assert list(output_problems(toy)) == []


def test_an_error_among_the_outputs_is_refused():
    toy = notebook({"shows": "..."})
    toy.cells[1].outputs = [new_output("error", ename="NotYet", evalue="E9.1", traceback=[])]
    assert list(output_problems(toy)) == ["cell 'shows': ends in NotYet: E9.1"]


def test_more_than_three_megabytes_are_refused():
    assert list(size_problems("x" * 3_000_000)) == []
    assert "3.5 MB" in "".join(size_problems("x" * 3_500_000))


def test_notebooks_are_chosen_by_number(tmp_path):
    for name in ("02_a.ipynb", "03_b.ipynb"):
        (tmp_path / name).touch()
    assert [path.name for path in outputs.chosen(tmp_path, ["03"])] == ["03_b.ipynb"]
    assert len(outputs.chosen(tmp_path, [])) == 2
    with pytest.raises(OutputError, match="no notebook begins with 07"):
        outputs.chosen(tmp_path, ["07"])
