"""In a kernel: what is stored is a player and no widget, twice the same, whether or not anyone looks."""

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CELLS = (
    """import torch
from cs348k_diffusion.lab import explore, image_grid, live, show_trajectory, watch
from cs348k_diffusion.sampling import State
def states(count):
    for k in range(count):
        x = torch.full((3, 2), float(k))
        yield State(k, 1 - k / count, x, x)""",
    'last = watch(states(20), alt="three points")',
    'show_trajectory(states(20), alt="three points")',
    'image_grid(torch.zeros(2, 1, 8, 8), alt="two grey squares")',
    'live(states(20), alt="three points").result().index',
    'explore(lambda level, preview, cancelled: torch.full((1, 1, 8, 8), level), alt="a square", level=(0.0, 1.0))',
)
WIDGET = "application/vnd.jupyter.widget-view+json"


def run(**environment):
    """The outputs of every cell, in a kernel with this environment (None: without the variable)."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return [[output for output in cell.outputs if output.output_type != "stream"] for cell in notebook.cells]


@pytest.fixture(scope="module")
def strict():
    return run(CS348K_STRICT="1")


def test_every_picture_is_stored_as_html_with_its_text(strict):
    for outputs, alt in zip(strict[1:4], ("three points", "three points", "two grey squares"), strict=True):
        (output,) = outputs
        assert f'<img alt="{alt}"' in output.data["text/html"]
        assert set(output.data) == {"text/html", "text/plain"}
    recording, number = strict[4]
    assert "<script>" in recording.data["text/html"]
    assert number.data["text/plain"] == "19"
    assert 'alt="a square"' in strict[5][0].data["text/html"]


def test_a_kernel_with_someone_before_it_stores_the_same(strict):
    seen = run(CS348K_STRICT=None, PYTEST_VERSION=None)
    assert [o.data["text/html"] for o in seen[1]] == [o.data["text/html"] for o in strict[1]]
    assert [o.data for o in seen[2] + seen[3]] == [o.data for o in strict[2] + strict[3]]
    recording, number = seen[4]
    assert WIDGET not in recording.data
    assert number.data["text/plain"] == "19"
    assert WIDGET in seen[5][0].data  # only a slider is a widget
