"""A student's work is theirs: copied once, never overwritten, and carried over whole to a newer handout."""

import json
import socket
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cs348k_diffusion.course import CourseError, workspace
from cs348k_diffusion.course.merge import carry_over, names_defined

STUB = "def noise_once(x, eps, beta):\n    raise NotYet('E2.1')"
ANSWER = "def noise_once(x, eps, beta):\n    return (1 - beta) ** 0.5 * x + beta**0.5 * eps"
NAME = "02_forward_noising.ipynb"


def code(id_, source, tag=None):
    return new_code_cell(source, id=id_, metadata={"tags": [tag]} if tag else {})


def handout(*changed):
    cells = {
        "title": new_markdown_cell("# Forward noising", id="title"),
        "setup": code("setup", "import torch\nsteps = 100"),
        "stub": code("stub", STUB, "E2.1"),
        "check": code("check", "check(noise_once)"),
    }
    for cell in changed:
        cells[cell["id"]] = cell
    return new_notebook(cells=list(cells.values()))


def edited(notebook, **sources):
    for cell in notebook.cells:
        cell.source = sources.get(cell.id, cell.source)
    return notebook


def sources(notebook):
    return [cell["source"] for cell in notebook["cells"]]


@pytest.fixture
def space(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(handout(), folder / NAME)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Start", id="start")]), folder / workspace.START)
    return workspace.Workspace(folder, tmp_path / "work")


def test_an_answer_and_new_text_both_arrive():
    yours = edited(handout(), stub=ANSWER)
    merged, notes = carry_over(yours, handout(), handout(new_markdown_cell("# Better title", id="title")))
    assert sources(merged) == ["# Better title", "import torch\nsteps = 100", ANSWER, "check(noise_once)"]
    assert notes == []


def test_an_answer_is_found_by_name_where_ids_were_lost():
    yours = edited(handout(), stub=ANSWER)
    for i, cell in enumerate(yours.cells):
        cell["id"] = f"other-{i}"
    merged, _ = carry_over(yours, handout(), handout(code("moved", "print('new')")))
    assert sources(merged) == [*sources(yours), "print('new')"]
    assert [cell["id"] for cell in merged["cells"]] == ["title", "setup", "stub", "check", "moved"]


def test_an_answer_survives_a_changed_stub_and_the_student_is_told():
    stub = code("stub", STUB.replace("beta)", "beta: float)"), "E2.1")
    merged, notes = carry_over(edited(handout(), stub=ANSWER), handout(), handout(stub))
    assert ANSWER in sources(merged)
    assert len(notes) == 1
    assert "E2.1" in notes[0]


def test_a_stub_under_a_new_id_still_gets_its_answer():
    new = handout()
    new.cells[2]["id"] = "renamed"
    merged, _ = carry_over(edited(handout(), stub=ANSWER), handout(), new)
    assert sources(merged) == sources(edited(handout(), stub=ANSWER))


def test_cells_of_their_own_stay_where_they_were():
    yours = handout()
    yours.cells.insert(3, code("mine", "plot(noise_once)"))
    yours.cells.insert(0, new_markdown_cell("my notes", id="first"))
    yours.cells.append(code("last", "1 + 1"))
    merged, _ = carry_over(yours, handout(), handout(new_markdown_cell("# Better", id="title")))
    assert sources(merged) == [
        *("my notes", "# Better", "import torch\nsteps = 100", STUB, "plot(noise_once)", "check(noise_once)", "1 + 1")
    ]


def test_two_edits_of_one_cell_keep_both():
    yours = edited(handout(), setup="import torch\nsteps = 7")
    merged, notes = carry_over(yours, handout(), handout(code("setup", "import torch\nsteps = 50")))
    texts = sources(merged)
    assert texts[1] == "import torch\nsteps = 50"
    assert merged["cells"][2]["cell_type"] == "raw"
    assert "steps = 7" in texts[2]
    assert len(notes) == 1
    nbformat.validate(nbformat.from_dict(merged))


def test_what_was_edited_in_a_removed_cell_is_kept():
    new = handout()
    del new.cells[1]
    kept, _ = carry_over(edited(handout(), setup="steps = 7"), handout(), new)
    gone, _ = carry_over(handout(), handout(), new)
    assert "steps = 7" in sources(kept)
    assert sources(gone) == sources(new)


def test_outputs_stay_with_cells_that_did_not_change():
    yours = handout()
    yours.cells[1].outputs = [nbformat.v4.new_output("stream", text="hello")]
    merged, _ = carry_over(yours, handout(), handout(new_markdown_cell("# Better", id="title")))
    assert merged["cells"][1]["outputs"] == yours.cells[1].outputs


def test_names_are_found_in_broken_code():
    assert names_defined("def f(x:\n  oops\nclass Net(Module):\n  pass") == {"f", "Net"}


def test_the_copy_is_made_once_and_never_overwritten(space):
    workspace.prepare(space)
    space.mine(NAME).write_text("the student's own bytes")
    nbformat.write(handout(code("setup", "import torch\nsteps = 50")), space.handouts / NAME)
    said = workspace.prepare(space)
    assert space.mine(NAME).read_text() == "the student's own bytes"
    newer = list((space.work / "handouts").rglob(NAME))
    assert [path.read_bytes() for path in newer] == [(space.handouts / NAME).read_bytes()]
    assert any("cs348k update" in line for line in said)


def test_a_second_start_changes_nothing(space):
    workspace.prepare(space)
    before = {path: path.read_bytes() for path in space.work.glob("*.ipynb")}
    assert workspace.prepare(space) == []
    assert {path: path.read_bytes() for path in space.work.glob("*.ipynb")} == before


def test_update_keeps_what_was_there_and_is_done_once(space):
    workspace.prepare(space)
    nbformat.write(edited(handout(), stub=ANSWER), space.mine(NAME))
    before = space.mine(NAME).read_bytes()
    nbformat.write(handout(new_markdown_cell("# Better", id="title")), space.handouts / NAME)
    workspace.update(space)
    after = nbformat.read(space.mine(NAME), as_version=4)
    assert sources(after)[0] == "# Better"
    assert ANSWER in sources(after)
    assert before in [path.read_bytes() for path in (space.work / "handouts").rglob(NAME)]
    assert workspace.update(space) == []


def test_update_leaves_a_damaged_notebook_alone(space):
    workspace.prepare(space)
    space.mine(NAME).write_text('{"cells": [')
    nbformat.write(handout(new_markdown_cell("# Better", id="title")), space.handouts / NAME)
    (line,) = workspace.update(space)
    assert "left alone" in line
    assert space.mine(NAME).read_text() == '{"cells": ['


def test_nothing_put_aside_is_ever_replaced(space):
    places = []
    for text in ("one", "two", "one"):
        space.work.mkdir(exist_ok=True)
        space.mine(NAME).write_text(text)
        places.append(workspace.put_aside(space, space.mine(NAME), "0.1.0"))
    assert [place.read_text() for place in places] == ["one", "two", "one"]
    assert places[0] == places[2]


def test_shipped_copies_are_trusted_and_a_changed_one_is_not(space):
    workspace.prepare(space)
    assert workspace.is_signed(space, space.mine(NAME))
    nbformat.write(edited(handout(), setup="print('changed')"), space.mine(NAME))
    assert not workspace.is_signed(space, space.mine(NAME))


def test_jupyter_keeps_to_its_own_folder(space):
    workspace.prepare(space)
    assert all(value.startswith(str(space.work / ".jupyter")) for value in workspace.environment(space).values())
    settings = space.work / ".jupyter" / "config" / "labconfig" / "default_setting_overrides.json"
    news = json.loads(settings.read_text())["@jupyterlab/apputils-extension:notification"]
    assert news == {"fetchNews": "false", "checkForUpdates": False}


def test_a_taken_port_is_named_and_a_free_one_is_not(space):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(CourseError, match=f"Port {port} is taken"):
            workspace.lab_arguments(space, ["--port", str(port)])
    assert "--ServerApp.port_retries=0" in workspace.lab_arguments(space, [f"--ServerApp.port={port}"])


@pytest.mark.parametrize("extra", [["--port"], ["--port", "eight"], ["--port=99999"]])
def test_a_port_that_is_none_is_refused(extra):
    with pytest.raises(CourseError, match="--port needs a number"):
        workspace.wanted_port(extra)


def test_it_opens_the_start_page(space):
    assert f"--LabApp.default_url=/lab/tree/{workspace.START}" in workspace.lab_arguments(space, [])
    assert workspace.lab_arguments(space, ["--no-browser"])[-1] == "--no-browser"


def test_the_solved_notebooks_open_from_a_copy_that_is_thrown_away():
    solutions = Path(workspace.__file__).parents[2] / "solutions"
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in solutions.parent.glob("*/*.ipynb")}
    with workspace.solved() as space:
        assert space.names() == sorted(path.name for path in solutions.glob("*.ipynb"))
        workspace.prepare(space)
        for name in space.names():
            assert space.mine(name).read_bytes() == (solutions / name).read_bytes()
            assert workspace.is_signed(space, space.mine(name))
        assert str(space.work) in workspace.lab_arguments(space, [])[0]
        assert not space.work.is_relative_to(solutions.parent)
    assert not space.work.exists()
    after = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in solutions.parent.glob("*/*.ipynb")}
    assert after == before


def test_a_students_copy_has_no_solved_notebooks(monkeypatch, tmp_path):
    monkeypatch.setattr(workspace, "__file__", str(tmp_path / "package" / "course" / "workspace.py"))
    with pytest.raises(CourseError, match="solved notebooks are not in this copy"), workspace.solved():
        pass
