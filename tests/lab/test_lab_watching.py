"""Watching without a page: all states are run, the last comes back, little is sent, an interrupt loses nothing."""

import threading
import time
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch

from cs348k_diffusion.lab import LiveCanvas, explore, live, page, watch, watching
from cs348k_diffusion.lab.frames import MOST_FRAMES
from cs348k_diffusion.running import Run


class Item(NamedTuple):
    step: int
    loss: float

    def frame(self):
        return torch.full((3, 2), float(self.step))

    def label(self):
        return f"at {self.step}"


def items(count, log=None, interrupt=None, fail=None):
    for k in range(count):
        if k == interrupt:
            raise KeyboardInterrupt
        if k == fail:
            raise ArithmeticError("the numbers are wrong")
        if log is not None:
            log.append(k)
        yield Item(k, 1 / (k + 1))


class Stage:
    """Stands in for the notebook: what was displayed, what replaced it, and what the canvas was sent."""

    def __init__(self, monkeypatch):
        self.shown, self.replaced, self.sent, self.now = [], [], [], 0.0
        monkeypatch.setattr(watching, "attended", lambda: True)
        monkeypatch.setattr(watching, "display", self.display)
        monkeypatch.setattr(watching.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(LiveCanvas, "send", lambda _, message, buffers=None: self.sent.append((message, buffers)))

    def display(self, thing, display_id=False):
        self.shown.append(thing)
        return self

    def update(self, thing):
        self.replaced.append(thing)


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def test_watch_gives_back_the_last_item_and_prints_nothing(capsys):
    log = []
    assert watch(items(500, log), alt="x") == Item(499, 1 / 500)
    assert log == list(range(500))
    assert watch(Run(iter([torch.zeros(2, 2), torch.ones(2, 2)]), "two steps"), alt="x").sum() == 4
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("every", "calls"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6]), (5, [0, 5, 6]), (9, [0, 6])]
)
def test_show_is_called_by_count_and_for_the_last(stage, every, calls):
    seen = []

    def show(item):
        stage.now += 7.0  # slow, or fast: the calls must not depend on it, since they may draw random numbers
        seen.append(item.step)
        return item.frame()

    watch(items(7), show, every, alt="x")
    assert seen == calls


def test_a_live_picture_every_forty_milliseconds_and_no_more(stage):
    def timed():
        for item in items(100):
            stage.now += 0.025
            yield item

    watch(timed(), alt="x")
    frames = [message["caption"] for message, _ in stage.sent if message.get("frame")]
    assert len(frames) == 50
    assert all(len(buffers[0]) == 12 for message, buffers in stage.sent if message.get("frame"))
    assert len(stage.sent[-1][0]["curve"]["loss"]) > 90


def test_a_live_picture_holds_its_points_and_its_limits_only_grow(stage):
    def timed():
        for item in items(40):
            stage.now += 1
            yield item

    watch(timed(), alt="x")
    limits = [message["limits"] for message, _ in stage.sent]
    for k, (x0, x1, y0, y1) in enumerate(limits):
        assert max(x0, y0) < k < min(x1, y1)
    for before, after in pairwise(limits):
        assert [after[0] <= before[0], after[1] >= before[1], after[2] <= before[2], after[3] >= before[3]] == [
            True
        ] * 4


def test_the_canvas_is_replaced_by_a_player_that_opens_on_the_last_frame(stage):
    watch(items(200), alt="squares")
    (canvas,), (recording,) = stage.shown, stage.replaced
    assert isinstance(canvas, LiveCanvas)
    assert '"at 199"]' in recording.html
    frames = recording.html.count('"at ')
    assert f'"first":{frames - 1}}}' in recording.html
    assert frames <= MOST_FRAMES


def test_an_interrupt_ends_it_with_the_result_kept(stage):
    assert watch(items(100, interrupt=30), alt="x").step == 29
    assert '"at 29"]' in stage.replaced[0].html
    with pytest.raises(KeyboardInterrupt):
        watch(items(100, interrupt=0), alt="x")


def test_an_error_is_raised_and_what_led_to_it_stays(stage):
    with pytest.raises(ArithmeticError):
        watch(items(100, fail=10), alt="x")
    assert '"at 9"]' in stage.replaced[0].html


def test_what_cannot_be_watched_says_so():
    with pytest.raises(TypeError, match="a Tensor does not run step by step"):
        watch(torch.zeros(3, 2), alt="x")
    with pytest.raises(TypeError, match="a Item does not run step by step"):
        watch(Item(0, 1.0), alt="x")
    with pytest.raises(ValueError, match="nothing to watch"):
        watch(iter([]), alt="x")
    with pytest.raises(ValueError, match="every picture needs alt"):
        watch(items(3), alt="")
    with pytest.raises(ValueError, match="every=0"):
        watch(items(3), every=0, alt="x")
    with pytest.raises(TypeError, match=r"show=function of one such item"):
        watch(iter([object()]), alt="x")


def test_live_runs_beside_the_cell_stops_when_asked_and_one_at_a_time(stage):
    reached, go_on = threading.Event(), threading.Event()

    def patient():
        for item in items(1000):
            yield item
            reached.set()
            go_on.wait(60)

    first = live(patient(), alt="x")
    assert reached.wait(60)
    assert not first.done
    stage.shown[0]._handle_custom_msg({"type": "stop"}, [])  # what the Stop button sends
    go_on.set()
    assert first.result().step in (0, 1)
    assert first.done
    second, third = live(items(10**6), alt="x"), live(items(5), alt="x")
    assert second.done
    assert third.result().step == 4
    assert len(stage.replaced) == 3


def test_an_error_in_the_thread_is_shown_and_raised_by_result(stage):
    run = live(items(9, fail=3), alt="x")
    with pytest.raises(ArithmeticError, match="the numbers are wrong"):
        run.result()
    assert "ArithmeticError: the numbers are wrong" in stage.replaced[0].html
    assert '"at 2"]' in stage.replaced[0].html


def test_live_blocks_where_nobody_can_press_stop():
    log = []
    assert live(items(50, log), alt="x").done
    assert len(log) == 50
    with pytest.raises(ArithmeticError):
        live(items(9, fail=3), alt="x")


def test_strict_is_not_attended(monkeypatch):
    monkeypatch.setattr(page, "in_notebook", lambda: True)
    monkeypatch.delenv("PYTEST_VERSION")
    assert page.attended()
    monkeypatch.setenv("CS348K_STRICT", "1")
    assert not page.attended()
    monkeypatch.setenv("CS348K_STRICT", "0")
    assert page.attended()
    monkeypatch.setenv("PYTEST_VERSION", "9")
    assert not page.attended()


def test_exploring_computes_the_whole_thing_where_nothing_can_be_moved():
    asked = []

    def disc(radius, sides, preview, cancelled):
        asked.append((radius, sides, preview, cancelled()))
        return torch.full((4, 2), radius)

    still = explore(disc, alt="a disc", radius=(0.0, 4.0, 1.5), sides=[3, 4]).still()
    assert asked == [(1.5, 3, False, False)]
    assert "radius = 1.5, sides = 3" in still.html
    for wrong in ((1.0,), (2.0, 1.0), []):
        with pytest.raises(ValueError, match="a slider is"):
            explore(disc, alt="a disc", radius=wrong)
    with pytest.raises(ValueError, match="something to move"):
        explore(disc, alt="a disc")


def test_exploring_takes_a_text_to_type_into():
    typed = []

    def dots(words, preview, cancelled):
        typed.append(words)
        return torch.zeros(len(words), 2)

    still = explore(dots, alt="dots", words="a red tree").still()
    assert typed == ["a red tree"]
    assert "words = a red tree" in still.html


def test_a_text_counts_at_every_key_where_it_is_drawn_as_typed():
    for as_typed in (False, True):
        (line,) = explore(lambda **_: torch.zeros(1, 2), alt="a dot", as_typed=as_typed, words="a").controls.values()
        assert line.continuous_update == as_typed


class Notebook(LiveCanvas):
    """A canvas that keeps what it is sent."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def send(self, content, buffers=None):
        self.sent.append(content)


def finished(explorer):
    """Wait until nothing is being computed; gives back what was sent to the canvas."""
    for _ in range(6000):
        if not explorer._working:
            return explorer.canvas.sent
        time.sleep(0.01)
    raise AssertionError("the explorer is still at work")


def test_the_latest_value_wins_and_an_old_run_is_dropped():
    """The slider moves twice while the whole answer for its first value is being computed."""
    asked, started, moved = [], threading.Event(), threading.Event()

    def disc(radius, preview, cancelled):
        asked.append((radius, preview))
        for _ in range(3):
            if (radius, preview) == (1, False):
                started.set()
                moved.wait(60)
            yield torch.full((4, 2), float(radius))

    explorer = explore(disc, alt="a disc", radius=(1, 9))
    explorer.canvas = Notebook()
    explorer._moved()
    assert started.wait(60)
    for value in (2, 3):
        explorer.controls["radius"].value = value
        explorer._moved()
    moved.set()
    captions = [message["caption"] for message in finished(explorer)]
    assert asked == [(1, True), (1, False), (3, True), (3, False)]
    assert "radius = 1 (preview)" in captions
    assert {"radius = 1", "radius = 2"}.isdisjoint(captions)
    assert captions[-1] == "radius = 3"


def test_an_error_of_the_first_picture_reaches_a_view_that_comes_later(monkeypatch):
    """The work begins when the cell is shown; the page's view may attach only after it has failed."""
    monkeypatch.setattr("cs348k_diffusion.lab.exploring.LiveCanvas", Notebook)
    monkeypatch.setattr("cs348k_diffusion.lab.exploring.attended", lambda: True)
    monkeypatch.setattr("cs348k_diffusion.lab.exploring.display", lambda _: None)
    explorer = explore(lambda radius, **_: eval("no_such_model"), alt="nothing", radius=(1, 9))
    explorer._ipython_display_()
    before = list(finished(explorer))
    assert "no_such_model" in before[-1]["error"]
    assert before[-1]["error"].startswith("Run the first cell")
    explorer.canvas._handle_custom_msg({"type": "ready"}, [])
    assert explorer.canvas.sent == [*before, before[-1]]


def test_an_error_while_exploring_is_shown():
    explorer = explore(lambda radius, preview, cancelled: 1 / 0, alt="nothing", radius=(1, 9))
    explorer.canvas = Notebook()
    explorer._moved()
    assert "ZeroDivisionError" in finished(explorer)[0]["error"]
