"""What draws while the kernel works: watch and its interrupt, live and its Stop, sliders that compute."""

import pytest

pytestmark = pytest.mark.browser
SHOW = """
import time
import torch
from typing import NamedTuple
from cs348k_diffusion.lab import explore, live, present, watch

class Item(NamedTuple):
    step: int
    loss: float
    def frame(self):
        return torch.full((4, 1, 8, 8), (self.step % 20) / 10 - 1)
    def label(self):
        return f"step {self.step}"

taken = []
def endless(name="", fail_at=None):
    for k in range(100_000):
        time.sleep(0.02)
        if k == fail_at:
            raise RuntimeError("the tenth step failed")
        taken.append(name)
        yield Item(k, 1 / (k + 1))
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def opened(lab, server):
    """Opens a notebook of these cells; at the end it is closed, and nothing may have gone wrong in it."""
    lab.troubles.clear()

    def make(name, *cells):
        server.write(name, SHOW, *cells)
        lab.open(name).kernel_idle()
        return lab

    yield make
    lab.close()
    assert lab.troubles == []


def captions(sight, index, different):
    """Wait until the caption under a live picture has been seen to change so many times."""
    caption, seen = sight.output(index).locator(".tp-caption").first, []
    caption.wait_for()
    while len(seen) < different:
        sight.page.wait_for_function(
            "([c, old]) => c.textContent !== old", arg=[caption.element_handle(), (seen or [""])[-1]]
        )
        seen.append(caption.inner_text())
    return seen


def test_watch_draws_live_and_the_interrupt_keeps_the_result(opened):
    sight = opened(
        "watch",
        'last = watch(endless(), alt="grey squares grow light")',
        "print(type(last).__name__, last.step == len(taken) - 1 or last.step == len(taken) - 2)",
    )
    sight.run_all(wait=False)
    steps = [int(text.split()[-1]) for text in captions(sight, 1, 4) if text.startswith("step")]
    assert steps == sorted(steps)
    assert sight.output(1).locator("canvas:visible").count() == 2  # squares and loss curve
    sight.command("notebook:interrupt-kernel")
    sight.output(1).locator("input[type=range]").wait_for()
    assert sight.printed(2) == "Item True\n"
    (stored,) = sight.outputs(1)  # nothing printed, no error, no widget: the player alone
    assert "text/html" in stored["data"]
    assert WIDGET not in stored["data"]
    slider = sight.output(1).locator("input[type=range]")
    assert int(slider.input_value()) == int(slider.get_attribute("max"))


def test_live_stops_at_the_button_and_leaves_a_player(opened):
    sight = opened(
        "live",
        'run = live(endless("one"), alt="grey squares grow light")\nprint(run.done)',
        "before = len(taken)",
        "print(run.done, run.result().step == len(taken) - 1, len(taken) - before)",
        'first = live(endless("two"), alt="squares")\nsecond = live(endless("three"), alt="squares")',
        "print(first.done, second.done)\nsecond.stop()\nprint(second.result().loss > 0, taken[-1])",
        'third = live(endless("four", fail_at=10), alt="squares")',
    )
    sight.run_cell(0)
    sight.run_cell(1)
    captions(sight, 1, 3)
    assert sight.printed(1) == "False\n"
    sight.run_cell(2)
    sight.output(1).get_by_role("button", name="Stop").click()
    sight.output(1).locator("input[type=range]").wait_for()  # the player has taken the canvas's place
    sight.run_cell(3)
    done, last, more = sight.printed(3).split()
    assert (done, last) == ("True", "True")
    assert int(more) < 200
    assert all(WIDGET not in o.get("data", {}) for o in sight.outputs(1))
    for k in (4, 5, 6):
        sight.run_cell(k)
    sight.kernel_idle()
    assert sight.printed(5) == "True False\nTrue three\n"  # the second run ended the first
    sight.output(6).get_by_text("RuntimeError: the tenth step failed").wait_for()
    assert sight.output(6).locator("input[type=range]").get_attribute("max") == "9"


EXPLORE = """
calls = []
def squares(level, preview, cancelled):
    for k in range(1 if preview else 40):
        time.sleep(0.02)
        if cancelled():
            calls.append(("cancelled", level))
            return
        yield torch.full((1, 1, 8, 8), level / 100 + (k + 1) / 100)
    calls.append(("preview" if preview else "whole", level))
"""


def test_explore_follows_the_slider_and_the_latest_value_wins(opened):
    sight = opened("explore", EXPLORE + 'explore(squares, alt="a grey square", level=(0, 90))', "print(calls)")
    sight.run_cell(0)
    sight.run_cell(1)
    handle = sight.output(1).locator(".noUi-handle")
    caption = sight.output(1).locator(".tp-caption")
    caption.wait_for()
    handle.focus()
    for _ in range(12):
        sight.page.keyboard.press("ArrowRight")
        sight.page.wait_for_timeout(40)
    sight.page.wait_for_function("c => c.textContent === 'level = 12'", arg=caption.element_handle())
    sight.page.wait_for_timeout(1200)  # longer than one whole answer takes
    assert caption.inner_text() == "level = 12"
    sight.run_cell(2)
    calls = eval(sight.printed(2))
    whole = [level for kind, level in calls if kind == "whole"]
    previews = [level for kind, level in calls if kind == "preview"]
    assert whole[-1] == 12
    assert previews == sorted(previews)
    assert len(previews) > len(whole)
    assert ("cancelled" in dict(calls)) or len(whole) < len(previews)


@pytest.mark.parametrize(
    ("body", "says"), [("raise ValueError('no such word')", "no such word"), ("not_defined", "Run the first cell")]
)
def test_explore_whose_first_picture_fails_says_why(opened, body, says):
    cell = f"def broken(level, preview, cancelled):\n    {body}\n\nexplore(broken, alt='nothing', level=(0, 90))"
    sight = opened(f"broken_{len(body)}", cell)
    sight.run_cell(0)
    sight.run_cell(1)
    sight.output(1).locator(".tp-trouble").get_by_text(says).wait_for()
    assert sight.output(1).locator("canvas").count() == 0


@pytest.mark.parametrize("kind", ["explore", "live"])
def test_a_dead_kernel_is_said_in_the_output(opened, kind):
    call = {"explore": 'explore(squares, alt="a square", level=(0, 90))', "live": 'live(endless(), alt="a run")'}[kind]
    sight = opened(f"dead_{kind}", f"{EXPLORE}{call}", "import os\nos._exit(1)")
    sight.run_cell(0)
    sight.run_cell(1)
    captions(sight, 1, different=1)
    sight.run_cell(2)
    sight.output(1).locator(".tp-trouble").get_by_text("kernel behind this has ended").wait_for()
    sight.page.get_by_role("button", name="Ok", exact=True).click()  # JupyterLab says it, too, once


def test_what_explore_is_moved_by_has_names(opened):
    cell = 'explore(many, alt="a square", level=(0, 90), how_much=(0.0, 1.0), kind=["one", "two"], words="a red tree")'
    body = "return torch.zeros(1, 1, 8, 8)"
    sight = opened("named", f"def many(level, how_much, kind, words, preview, cancelled):\n    {body}\n\n{cell}")
    sight.run_cell(0)
    sight.run_cell(1)
    sight.output(1).locator(".tp-caption").wait_for()
    for role, name in (("slider", "level"), ("slider", "how much"), ("combobox", "kind"), ("textbox", "words")):
        assert sight.output(1).get_by_role(role, name=name, exact=True).count() == 1, name
    nameless = sight.output(1).locator("[contenteditable]:not([aria-label])")
    assert nameless.count() == 0  # the numbers beside the sliders can be typed into


def test_presenting_is_of_one_notebook_leaves_new_code_in_sight_and_nothing_in_the_file(opened, server):
    sight = opened("presented", "present(1.5)", "x = 1", "y = 2", "present(1, False)")

    def is_shown(index, visible):
        sight.cell(index).locator(".jp-Cell-inputWrapper").wait_for(state="visible" if visible else "hidden")

    sight.run_cell(0)
    sight.kernel_idle()
    sight.run_cell(1)  # which stays the active cell
    is_shown(1, True)
    is_shown(2, False)
    sight.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.model.cells.get(1).outputs.toJSON()[0]?.data['text/html'] === ''"
    )
    (stored,) = sight.outputs(1)
    assert WIDGET not in stored["data"] and "style" not in str(stored)
    sight.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 2 }")
    sight.command("notebook:insert-cell-below")  # the new one is active, and stays in sight when it is not
    is_shown(3, True)
    sight.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
    is_shown(2, False)
    is_shown(3, True)
    server.write("beside", "a = 1", "b = 2")
    sight.open("beside")
    is_shown(1, True)
    sight.close()
    sight.open("presented")
    sight.run_cell(5)
    is_shown(2, True)


def test_three_pictures_and_three_controls_are_in_view_on_a_small_projector(opened):
    prompt = "two orange cats left of a tall red tree at night"
    body = "return torch.zeros(3, 3, 32, 32)"
    controls = f'prompt="{prompt}", scale=(0.0, 10.0, 3.0), seed=(0, 20)'
    sight = opened(
        "projected",
        "from cs348k_diffusion.lab import present\npresent()",
        f"def three(prompt, scale, seed, preview, cancelled):\n    {body}\n\nexplore(three, {controls}, alt='three')",
    )
    size = sight.page.viewport_size
    try:
        sight.page.set_viewport_size({"width": 1024, "height": 768})
        for index in (0, 1, 2):
            sight.run_cell(index)
        sight.output(2).locator(".tp-caption").wait_for()
        sight.page.wait_for_function("() => document.querySelector('.cs348k-presenting')")
        output = sight.output(2)
        parts = [output.locator(kind).nth(k) for kind, k in (("input", 0), (".noUi-target", 0), (".noUi-target", 1))]
        canvas = output.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        sight.page.wait_for_timeout(500)
        boxes = [part.bounding_box() for part in (*parts, canvas)]
        notebook = sight.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer").bounding_box()
        for box in boxes:
            assert notebook["x"] <= box["x"] and box["x"] + box["width"] <= notebook["x"] + notebook["width"] + 1
            assert notebook["y"] <= box["y"] and box["y"] + box["height"] <= 768
        assert boxes[-1]["width"] > 2.5 * boxes[-1]["height"]  # three in a row
    finally:
        sight.page.set_viewport_size(size)
