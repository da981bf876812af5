"""The player in JupyterLab: keys, mouse, Play, themes, a dead kernel, a notebook opened again, exported HTML."""

import nbformat
import pytest
from nbconvert import HTMLExporter

SHOW = """
import torch
from cs348k_diffusion.lab import compare, figure, present, show_figure, show_trajectory
from cs348k_diffusion.sampling import State

def states(count, shape):
    generator = torch.Generator().manual_seed(count)
    start, end = torch.randn(2, *shape, generator=generator)
    for k in range(count):
        x = torch.lerp(start, end / 3, k / (count - 1))
        yield State(k, 1 - k / (count - 1), x, x)
"""
pytestmark = pytest.mark.browser
CELLS = (
    SHOW,
    'show_trajectory(states(21, (200, 2)), alt="points draw together", label="Points")',
    'show_trajectory(states(21, (9, 1, 8, 8)), alt="nine pictures fade", label="Pictures")',
    'compare({"slow": states(21, (50, 2)), "fast": states(6, (50, 2))}, alt="two clouds")',
    'fig, ax = figure()\nax.plot([1, 3, 2])\nshow_figure(fig, alt="a line that rises and falls")',
    "",
)
POINTS, PICTURES, COMPARE = 1, 2, 3


@pytest.fixture(scope="module")
def shown(lab, server):
    """The notebook, run from top to bottom."""
    server.write("player", *CELLS)
    lab.troubles.clear()
    lab.open("player").run_all()
    assert [o["ename"] for k in range(len(CELLS)) for o in lab.outputs(k) if o["output_type"] == "error"] == []
    yield lab
    lab.close()


@pytest.fixture(params=[POINTS, PICTURES], ids=["points", "pictures"])
def player(shown, request):
    shown.page.bring_to_front()
    cell = shown.output(request.param)
    slider = cell.locator("input[type=range]")
    slider.focus()
    slider.press("Home")
    return cell.locator("canvas").first, slider, cell


def test_pictures_are_drawn_and_described(shown):
    described = [("points draw together", 1), ("nine pictures fade", 2)]
    for alt, k in described:
        canvas = shown.output(k).locator("canvas").first
        assert canvas.get_attribute("role") == "img"
        assert alt in canvas.get_attribute("aria-label")
        assert colours(canvas) > 5
    assert shown.output(4).locator("img").get_attribute("alt") == "a line that rises and falls"
    assert shown.page.locator(".tp img").count() == 0  # each poster has given way to its canvas


def colours(canvas):
    """How many different ones, counting transparency."""
    read = "const p = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)"
    return canvas.evaluate(f"c => {{ {read}; return new Set(p).size }}")


def test_arrow_keys_scrub_and_jupyterlab_does_not_take_them(shown, player):
    canvas, slider, _ = player
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    before, cell = shown.picture(canvas), shown.page.evaluate(active)
    for _ in range(3):
        shown.page.keyboard.press("ArrowRight")
    assert slider.input_value() == "3"
    assert shown.picture(canvas) != before
    shown.page.keyboard.press("ArrowDown")
    assert slider.input_value() == "2"
    assert shown.page.evaluate(active) == cell
    assert slider.evaluate("s => document.activeElement === s")


def test_the_keys_go_round_at_the_ends(shown, player):
    _, slider, cell = player
    slider.press("ArrowLeft")
    assert slider.input_value() == "20"
    assert "t = 0.000" in cell.locator(".tp-caption").inner_text()
    slider.press("ArrowRight")
    assert slider.input_value() == "0"
    assert "1 / 21" in cell.locator(".tp-number").inner_text()


def test_the_mouse_scrubs(shown, player):
    canvas, slider, _ = player
    slider.scroll_into_view_if_needed()
    box, seen = slider.bounding_box(), {shown.picture(canvas)}
    y = box["y"] + box["height"] / 2
    shown.page.mouse.move(box["x"] + 8, y)
    shown.page.mouse.down()
    for k in range(1, 9):
        shown.page.mouse.move(box["x"] + 8 + (box["width"] - 16) * k / 10, y)
        seen.add(shown.picture(canvas))
    shown.page.mouse.up()
    assert int(slider.input_value()) in (15, 16, 17)
    assert len(seen) == 9  # a picture for each place of the mouse


def test_play_runs_to_the_end_and_pauses(shown, player):
    canvas, slider, cell = player
    button, before = cell.locator("button"), shown.picture(canvas)
    button.click()
    shown.page.wait_for_function("s => +s.value > 2", arg=slider.element_handle())
    button.click()
    held = slider.input_value()
    assert "Play" in button.inner_text()
    shown.page.wait_for_timeout(300)
    assert slider.input_value() == held
    assert shown.picture(canvas) != before
    button.click()
    shown.page.wait_for_function("s => +s.value === 20", arg=slider.element_handle())
    shown.page.wait_for_function("b => b.textContent.includes('Play')", arg=button.element_handle())


def test_one_slider_moves_both_of_a_comparison(shown):
    cell = shown.output(COMPARE)
    slider, pair = cell.locator("input[type=range]"), cell.locator("canvas:not([hidden])").all()
    slider.press("Home")
    before = [shown.picture(canvas) for canvas in pair]
    assert cell.locator("input").count() == 1
    assert len(set(before)) == 2
    slider.press("End")
    assert all(shown.picture(canvas) != old for canvas, old in zip(pair, before, strict=True))
    assert cell.locator(".tp-caption").all_inner_texts() == ["step 20, t = 0.000", "step 5, t = 0.000"]


def test_the_theme_is_followed(shown):
    root = shown.output(POINTS).locator(".tp")
    canvas, ink = root.locator("canvas").first, "e => getComputedStyle(e).color"
    light, text = shown.picture(canvas), root.evaluate(ink)
    shown.command("apputils:change-theme", theme="JupyterLab Dark")
    dark = shown.wait_for_change(canvas, light)
    assert brightness(root.evaluate(ink)) > 180 > 80 > brightness(text)
    shown.command("apputils:change-theme", theme="JupyterLab Light")
    assert shown.wait_for_change(canvas, dark) == light


def brightness(colour):
    """Of rgb(...) as seen on its ground, roughly: the mean of the three channels."""
    return sum(map(float, colour[colour.index("(") + 1 : -1].split(",")[:3])) / 3


def test_presenting_hides_the_code_and_enlarges(shown):
    code, canvas = shown.cell(POINTS).locator(".jp-Cell-inputWrapper"), shown.output(POINTS).locator("canvas").first
    width = canvas.bounding_box()["width"]
    show, undo = ("from cs348k_diffusion.lab import present\n" + call for call in ("present(1.5)", "present(1, False)"))
    for source, visible, zoom in ((show, False, 1.5), (undo, True, 1.0)):
        shown.page.evaluate(
            "s => jupyterapp.shell.currentWidget.content.model.cells.get(5).sharedModel.setSource(s)", source
        )
        shown.run_cell(5)
        shown.page.wait_for_function(
            "([c, w]) => Math.abs(c.getBoundingClientRect().width - w) < 2", arg=[canvas.element_handle(), width * zoom]
        )
        assert code.is_visible() == visible


def test_the_player_needs_no_kernel(shown, player):
    canvas, slider, _ = player
    shown.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.restartKernel() }")
    before = shown.picture(canvas)
    slider.press("End")
    assert shown.picture(canvas) != before


def test_exported_html_scrubs_without_a_network(shown, server, plain_page, tmp_path):
    shown.command("docmanager:save")
    exporter = HTMLExporter(require_js_url="", mathjax_url="", widget_renderer_url="", mermaid_js_url="")
    page = exporter.from_notebook_node(nbformat.read(server.folder / "player.ipynb", 4))[0]
    (tmp_path / "page.html").write_text(page, "utf-8")
    plain_page.page.goto((tmp_path / "page.html").as_uri())
    for k in range(3):
        player = plain_page.page.locator(".tp").nth(k)
        canvas = player.locator("canvas").first
        canvas.wait_for()
        before = plain_page.picture(canvas)
        player.locator("input[type=range]").press("End")
        assert plain_page.picture(canvas) != before
    assert [trouble for trouble in plain_page.troubles if "page error" in trouble] == []


def test_opened_again_it_scrubs_if_trusted_and_shows_the_poster_if_not(shown, server):
    shown.close()
    shown.open("player")
    canvas = shown.output(POINTS).locator("canvas").first
    before = shown.picture(canvas)
    shown.output(POINTS).locator("input[type=range]").press("End")
    assert shown.picture(canvas) != before
    foreign = nbformat.read(server.folder / "player.ipynb", 4)
    foreign.cells[0].source += "\n# from somewhere else"
    nbformat.write(foreign, server.folder / "untrusted.ipynb")
    shown.open("untrusted")
    posters = [shown.output(k).locator("img") for k in range(1, 5)]
    texts = ["points draw together", "nine pictures fade", "two clouds", "a line that rises and falls"]
    assert [poster.get_attribute("alt") for poster in posters] == texts
    assert all(poster.evaluate("i => i.naturalWidth > 100") for poster in posters)
    assert shown.output(POINTS).locator("canvas").count() == 0


def test_an_error_in_a_widget_would_be_noticed(shown):
    module = "URL.createObjectURL(new Blob(['setTimeout(() => { throw Error(`mine`) })'], {type: 'text/javascript'}))"
    with shown.page.expect_event("pageerror"):
        shown.page.evaluate(f"async () => {{ await import({module}) }}")
    (mine,) = [trouble for trouble in shown.troubles if "mine" in trouble]
    shown.troubles.remove(mine)


def test_nothing_went_wrong_and_nothing_was_fetched(shown):
    assert shown.troubles == []
