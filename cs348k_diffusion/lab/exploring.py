"""A slider that makes the kernel compute, and still answers while it is dragged.

The work is done in a thread: a coarse preview first, then the real thing; when the slider has moved on meanwhile
the real thing is dropped and the latest value wins. Computing in the slider's own callback shows 6 pictures in a
two-second drag, this way 38.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from traceback import format_exception
from typing import Any, NamedTuple

import ipywidgets
from IPython.display import display
from torch import Tensor

from cs348k_diffusion.lab.frames import frame_of
from cs348k_diffusion.lab.page import Html, attended, need_alt
from cs348k_diffusion.lab.player import Look
from cs348k_diffusion.lab.watching import LiveCanvas, Projector


class Shown(NamedTuple):
    """One picture of an exploration, with the values that led to it."""

    picture: Tensor
    caption: str

    def frame(self) -> Tensor:
        return self.picture

    def label(self) -> str:
        return self.caption


def explore(
    f: Callable[..., Any], *, alt: str, look: Look | None = None, as_typed: bool = False, **sliders: Sequence[Any]
) -> "Explorer":
    """Sliders whose values go to `f`; what it returns is drawn: a frame, or an iterator of frames drawn as they come.

    `f(**values, preview=..., cancelled=...)`: with preview=True it should answer roughly and within 0.1 s;
    cancelled() says that the slider has moved on and the answer is not wanted any more. A slider is (low, high) or
    (low, high, start), of whole numbers if both ends are; a list gives a menu, a text a line to type into, which counts
    when Enter is pressed, or with `as_typed` at every key (then `f` raises ValueError for a text that is not finished:
    the picture of the last complete one stays, with that sentence under it).
    `explore(draw, alt="...", scale=(0.0, 10.0, 3.0))`.
    """
    if not sliders:
        raise ValueError("explore needs something to move, such as scale=(0.0, 10.0)")
    return Explorer(
        f, need_alt(alt), look or {}, {name: control(name, choice, as_typed) for name, choice in sliders.items()}
    )


def control(name: str, choice: Sequence[Any], as_typed: bool = False) -> Any:
    """The widget for one value; ValueError if `choice` is neither a range nor a list nor a text."""
    wide = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(choice, str):  # half a word means nothing, so Enter says when the text counts, unless f is fast
        return ipywidgets.Text(choice, continuous_update=as_typed, layout={"width": "40em"}, **wide)
    if isinstance(choice, list) and choice:
        return ipywidgets.Dropdown(options=choice, **wide)
    if not isinstance(choice, tuple) or len(choice) not in (2, 3) or not choice[0] < choice[1]:
        raise ValueError(f"{name}={choice!r}: a slider is (low, high) or (low, high, start), a menu a list")
    low, high, start = *choice[:2], choice[-1] if len(choice) == 3 else choice[0]
    if isinstance(low, int) and isinstance(high, int):
        return ipywidgets.IntSlider(start, low, high, **wide)
    return ipywidgets.FloatSlider(value=start, min=low, max=high, step=(high - low) / 100, **wide)


class Explorer:
    """Sliders and a canvas; computes in a thread, the latest value wins."""

    def __init__(self, f: Callable[..., Any], alt: str, look: Look, controls: dict[str, Any]):
        self.f, self.alt, self.look, self.controls, self.canvas = f, alt, look, controls, None
        self._trouble = ""  # the sentence under the picture
        self._lock, self._wanted, self._working, self._limits = threading.Lock(), None, False, look.get("limits")

    def _ipython_display_(self) -> None:
        if not attended():
            display(self.still())
            return
        self.canvas = LiveCanvas()
        self.canvas.on_msg(self._attached)
        for widget in self.controls.values():
            widget.observe(self._moved, "value")
        display(ipywidgets.VBox([*self.controls.values(), self.canvas]))
        self._moved()

    def __repr__(self) -> str:
        return f"<explore {', '.join(self.controls)}>"

    def values(self) -> dict[str, Any]:
        return {name: widget.value for name, widget in self.controls.items()}

    def still(self) -> Html:
        """The picture at the values the sliders have now, for a page where nothing can be moved."""
        projector = Projector(self.alt, self.look, None, 1, None)
        for item in self._items(self.values(), False, lambda: False):
            projector.see(item)
        return projector.finish()

    def _attached(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """A view begins to listen: an error that was sent before it did is sent again."""
        if isinstance(content, dict) and content.get("type") == "ready" and self._trouble and self.canvas is not None:
            self.canvas.send({"error": self._trouble})

    def _moved(self, _change: Any = None) -> None:
        with self._lock:
            self._wanted = self.values()
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        """Until no newer value is wanted."""
        while True:
            with self._lock:
                values, self._wanted = self._wanted, None
                self._working = values is not None
            if values is None:
                return
            for preview in (True, False):
                self._show(values, preview)

    def _show(self, values: dict[str, Any], preview: bool) -> None:
        # a preview is always finished: if each new value cancelled it, a long drag would show nothing at all
        cancelled = (lambda: False) if preview else (lambda: self._wanted is not None)
        projector = Projector(self.alt, self.look, None, 1, self.canvas)
        projector.limits = self._limits
        try:
            for item in self._items(values, preview, cancelled):
                if cancelled():
                    return
                projector.see(item)
            if not cancelled() and self.canvas is not None:
                projector.draw(self.canvas)
                self._trouble = ""
        except Exception as error:
            self._complain(error)
        self._limits = projector.limits

    def _complain(self, error: Exception) -> None:
        if self.canvas is not None:
            self._trouble = sentence(error)
            self.canvas.send({"error": self._trouble})

    def _items(self, values: dict[str, Any], preview: bool, cancelled: Callable[[], bool]) -> Iterable[Shown]:
        said = ", ".join(
            f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in values.items()
        )
        if cancelled():
            return
        answer = self.f(**values, preview=preview, cancelled=cancelled)
        for item in [answer] if isinstance(answer, Tensor) or hasattr(answer, "frame") else answer:
            frame = frame_of(item)
            if frame is not None:
                yield Shown(frame, said + (" (preview)" if preview else ""))


def sentence(error: Exception) -> str:
    """What is shown for an error: a ValueError is a sentence about what was typed; others end a traceback."""
    if isinstance(error, ValueError):
        return str(error)
    lines = "".join(format_exception(error)[-3:])
    hint = "Run the first cell of the notebook, then the cells above this one.\n\n"
    return (hint if isinstance(error, NameError) else "") + lines
