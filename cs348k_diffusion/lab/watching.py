"""Watching a run. Send data, not figures: a frame of raw bytes costs the kernel 0.3 ms, a redrawn figure 35 to 79.

`watch(it)` blocks and gives back the last item; the interrupt button ends it cleanly, with the result kept. `live(it)`
runs in a thread with a Stop button, since a button's callback is only served between cells. Both leave a player behind
that scrubs without a kernel. Under CS348K_STRICT=1, in tests and without a notebook both just run.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from html import escape
from traceback import format_exception
from typing import Any, Generic, TypeVar, Unpack
from weakref import WeakSet

import anywidget
import traitlets
from IPython.display import display
from torch import Tensor

from cs348k_diffusion.lab.frames import (
    Limits,
    Recording,
    caption_of,
    drawable,
    encode,
    frame_of,
    is_points,
    limits_of,
    step_of,
)
from cs348k_diffusion.lab.page import Html, attended, in_notebook, need_alt
from cs348k_diffusion.lab.player import Look, asset, check_runs, note, panel, player

Item = TypeVar("Item")
PAUSE = 0.04  # seconds between two messages: 25 pictures a second are a film


class LiveCanvas(anywidget.AnyWidget):
    """A canvas in the page that draws the latest frame it is sent; `spec` says what kind (see `player.js`)."""

    _esm = asset("player.js")
    _css = asset("player.css")
    spec = traitlets.Dict().tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)  # whether it has a Stop button
    shape: tuple[int, ...] | None = None  # of the frames that `spec` describes

    def __repr__(self) -> str:
        return "LiveCanvas()"


class Projector:
    """Draws items on a LiveCanvas as they come, at most 25 a second, and records them for the player."""

    def __init__(
        self, alt: str, look: Look, show: Callable[[Any], Tensor] | None, every: int, canvas: LiveCanvas | None
    ):
        if every < 1:
            raise ValueError(f"every={every}: show every first, second, third ... item, so 1 or more")
        self.alt, self.look, self.show, self.every, self.canvas = need_alt(alt), look, show, every, canvas
        self.recording, self.limits = Recording(), look.get("limits")
        self.steps, self.sent, self.drawn = (
            0,
            0.0,
            0,
        )  # items seen; when a message went out, and how many frames by then
        self.last: Any = None

    def see(self, item: Any) -> None:
        """Note one item; draw it if the last drawing is long ago. `show` is called by count, never by the clock."""
        frame = None if self.steps % self.every else frame_of(item, self.show)
        note(self.recording, item, self.steps, frame, self.look.get("each", "frame"))
        self.steps, self.last = self.steps + 1, item
        if self.canvas is not None and time.monotonic() - self.sent >= PAUSE:
            self.draw(self.canvas)

    def finish(self) -> Html:
        """The recording as a player that opens on its last frame, the last item's."""
        self.see_last()
        return player({"": self.recording.close()}, self.alt, at_end=True, **self.look)

    def so_far(self, error: BaseException | None = None) -> Html | None:
        """The recording up to an error, with the error under it."""
        recorded = {"": self.recording.close()}
        shown = player(recorded, self.alt, at_end=True, **self.look) if self.recording.frames else None
        if error is None:
            return shown
        told = escape("".join(format_exception(error)[-3:]))
        return Html(f"{shown.html if shown else ''}<pre>{told}</pre>", f"run that ended with {type(error).__name__}")

    def see_last(self) -> None:
        """Where `every` stepped over the last item, show it after all."""
        k = self.steps - 1
        if k % self.every and (frame := frame_of(self.last, self.show)) is not None:
            self.recording.add(frame, caption_of(self.last, k, self.look.get("each", "frame")), step_of(self.last, k))

    def draw(self, canvas: LiveCanvas) -> None:
        """Send the latest frame and the loss curve, whichever there is."""
        curve = self.recording.curve.points()
        message: dict[str, Any] = {"curve": {**curve, "size": 340}} if curve["step"] else {}
        buffers, shape = [], canvas.shape or ()
        if self.recording.latest and self.recording.seen > self.drawn:
            frame, caption, _ = self.recording.latest
            kept = drawable(frame)
            if is_points(kept):
                self.limits = grown(self.limits, kept, "limits" in self.look)
            message |= {"frame": True, "caption": caption + self.recording.note(), "limits": self.limits}
            buffers, shape, self.drawn = [encode(kept, self.limits)], kept.shape, self.recording.seen
        if message and shape != canvas.shape:
            canvas.spec, canvas.shape = self._spec(), shape
        if message:
            canvas.send(message, buffers)
        self.sent = time.monotonic()

    def _spec(self) -> dict[str, Any]:
        panels = [panel("", self.recording, self.limits, self.look)] if self.recording.frames else []
        return {"panels": panels, "alt": self.alt, "label": self.look.get("label", "")}


def grown(limits: Limits | None, frame: Any, fixed: bool) -> Limits:
    """Limits that hold the frame too: while a run goes on they may grow, never shrink."""
    if limits is not None and fixed:
        return limits
    now = limits_of([frame], margin=0.15)
    if limits is None:
        return now
    inner = limits_of([frame], margin=0.0)
    fits = limits[0] <= inner[0] and inner[1] <= limits[1] and limits[2] <= inner[2] and inner[3] <= limits[3]
    if fits:
        return limits
    return (min(limits[0], now[0]), max(limits[1], now[1]), min(limits[2], now[2]), max(limits[3], now[3]))


def watch(
    it: Iterable[Item], show: Callable[[Item], Tensor] | None = None, every: int = 1, *, alt: str, **look: Unpack[Look]
) -> Item:
    """Run `it` to its end while it is drawn, and give back its last item.

    Drawn is `show(item)`, by default `item.frame()`: points (N, 2) or images (B, C, H, W) in [-1, 1]; and a curve of
    `item.loss` where there is one. `every`: show each so many-th item (all are run), and the last. The interrupt button
    ends the run, the last item is kept. Raises TypeError for what does not run step by step, ValueError without `alt`.
    """
    steps, canvas = check_runs(it), LiveCanvas() if attended() else None
    projector, place = Projector(alt, look, show, every, canvas), Place(canvas)
    try:
        follow(steps, projector)
    except BaseException:
        place.settle(projector.so_far())  # what led to the error is worth a look
        raise
    place.settle(projector.finish())
    return projector.last


def follow(steps: Iterable[Any], projector: Projector, stop: threading.Event | None = None) -> None:
    """Step to the end, or until `stop` is set or the interrupt button is pressed."""
    try:
        for item in steps:
            projector.see(item)
            if stop is not None and stop.is_set():
                break
    except KeyboardInterrupt:
        if not projector.steps:
            raise
    if not projector.steps:
        raise ValueError("nothing to watch: it ended before its first step (an iterator can be run through only once)")


class Place:
    """The output of a cell: the live canvas first, then the recording in its stead, which survives an ordinary save."""

    def __init__(self, canvas: LiveCanvas | None):
        self.canvas = canvas
        self.handle = display(canvas, display_id=True) if canvas is not None else None

    def settle(self, final: Html | None) -> None:
        """Put `final` here for good."""
        if final is not None and self.handle is not None:
            self.handle.update(final)
        elif final is not None and in_notebook():
            display(final)
        if self.canvas is not None:
            self.canvas.close()


def live(
    it: Iterable[Item], show: Callable[[Item], Tensor] | None = None, every: int = 1, *, alt: str, **look: Unpack[Look]
) -> "Running[Item]":
    """`watch` in a thread, with a Stop button; gives back a handle whose `.result()` waits for the last item.

    For demonstrations whose result no later cell needs. One at a time: it ends the one before. Where nobody can press
    Stop (CS348K_STRICT=1, tests, no notebook) it blocks.
    """
    for before in list(_LIVE):
        before.stop()
        before.wait()
    steps, canvas = check_runs(it), LiveCanvas(stop=True) if attended() else None
    running = Running(steps, Projector(alt, look, show, every, canvas))
    if canvas is None:
        running.run()
        running.result()
        return running
    return running.start()


class Running(Generic[Item]):
    """A run in a thread: `.result()` waits for its last item, `.stop()` ends it early, `.done` says if it has ended."""

    def __init__(self, steps: Iterable[Item], projector: Projector):
        self._steps, self._projector, self._place = steps, projector, Place(projector.canvas)
        self._stop, self._ended, self._error = threading.Event(), threading.Event(), None
        if projector.canvas is not None:
            projector.canvas.on_msg(self._on_message)

    def start(self) -> "Running[Item]":
        """Run in a thread. It takes the cell's context with it: what it shows at the end belongs under this cell."""
        _LIVE.add(self)
        threading.Thread(target=contextvars.copy_context().run, args=(self.run,), daemon=True).start()
        return self

    def run(self) -> None:
        """Run here and now."""
        try:
            self._place.settle(self._reach_end())
        finally:
            _LIVE.discard(self)
            self._ended.set()

    def _reach_end(self) -> Html | None:
        try:
            follow(self._steps, self._projector, self._stop)
            return self._projector.finish()
        except BaseException as error:  # kept for result(), and shown: nobody sees a thread's traceback
            self._error = error
            return self._projector.so_far(error)

    def _on_message(self, _canvas: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict) and message.get("type") == "stop":
            self.stop()

    @property
    def done(self) -> bool:
        return self._ended.is_set()

    def stop(self) -> None:
        """End after the step that is running now; the item it reaches is the result."""
        self._stop.set()

    def wait(self) -> None:
        """Until the run has ended. Interrupting the wait stops the run."""
        try:
            self._ended.wait()
        except KeyboardInterrupt:
            self.stop()
            self._ended.wait()

    def result(self) -> Item:
        """Wait for the last item; raises the error the run ended with, if any."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._projector.last

    def __repr__(self) -> str:
        return "<run in a thread: .result() waits for it, .stop() ends it>"

    def _ipython_display_(self) -> None:
        """The picture is in the page already."""


_LIVE: WeakSet[Running] = WeakSet()  # the run in the background, to be ended before the next one starts
