"""Around a cell: what it will cost, a progress bar that is quiet in tests, and letters for a lecture's last row."""

import os
from collections.abc import Iterable
from typing import TypeVar

import anywidget
import traitlets
from IPython.display import display
from tqdm.std import tqdm

from cs348k_diffusion.lab.page import Html, attended, strict

Item = TypeVar("Item")
QUICK_SHARE = 8  # of a training, under CS348K_QUICK=1


class Presenter(anywidget.AnyWidget):
    """What enlarges the notebook it is shown in and hides its code; other notebooks stay as they are.

    It works on the page alone, so that nothing of it is saved. Code stays in sight in the cell that is selected, and in
    cells that are made while presenting.
    """

    _esm = """
const RULES = `
.cs348k-presenting {
  --jp-content-font-size1: calc(14px * var(--cs348k-zoom)); --jp-code-font-size: calc(13px * var(--cs348k-zoom));
  --jp-widgets-font-size: calc(13px * var(--cs348k-zoom)); --jp-widgets-inline-height: calc(28px * var(--cs348k-zoom));
  --jp-widgets-inline-width: calc(300px * var(--cs348k-zoom)); }
.cs348k-presenting :is(.tp, .jp-OutputArea figure > img) { zoom: var(--cs348k-zoom); }
.cs348k-no-code .jp-CodeCell:not(.jp-mod-active, .cs348k-new) .jp-Cell-inputWrapper { display: none; }
.cs348k-no-code .jp-OutputPrompt { display: none; }`;
const isBlank = cell => cell.querySelector(".cm-content")?.textContent === "";
const markNew = records => requestAnimationFrame(() => {   // by then a cell has its editor
  for (const node of records.flatMap(record => [...record.addedNodes]).filter(node => node.matches?.(".jp-CodeCell")))
    if (isBlank(node)) node.classList.add("cs348k-new");
});
const render = ({ model, el }) => {
  const panel = el.closest(".jp-NotebookPanel") ?? (el.isConnected && document.body);
  if (!panel) { requestAnimationFrame(() => render({ model, el })); return; }
  const id = "cs348k-presenting", zoom = model.get("zoom"), hide = model.get("hide_code");
  const style = Object.assign(document.createElement("style"), { id, textContent: RULES });
  if (!document.getElementById(id)) document.head.append(style);
  panel.style.setProperty("--cs348k-zoom", zoom);
  panel.classList.toggle(id, zoom !== 1);
  panel.classList.toggle("cs348k-no-code", hide);
  if (!panel.cs348kWatched) new MutationObserver(markNew).observe(panel, { subtree: true, childList: true });
  panel.cs348kWatched = true;
  model.send({ type: "done" });
};
export default { render };
"""
    zoom = traitlets.Float(1.0).tag(sync=True)
    hide_code = traitlets.Bool(False).tag(sync=True)

    def __repr__(self) -> str:
        return "Presenter()"


def present(zoom: float = 1.6, hide_code: bool = True) -> Html | None:
    """Enlarge text, widgets and players of this notebook `zoom` times and hide its code, until the page is closed.

    `present(1, False)` undoes it. Raises ValueError for a zoom outside 0.5 to 4.
    """
    if not 0.5 <= zoom <= 4:
        raise ValueError(f"zoom={zoom}: 1 is the ordinary size, 1.6 suits a lecture room; 0.5 to 4")
    said = Html("", f"presenting at {zoom:g}x")
    if not attended():
        return said
    presenter = Presenter(zoom=zoom, hide_code=hide_code)
    handle = display(presenter, display_id=True)
    if handle is not None:
        presenter.on_msg(lambda *_: handle.update(said))  # the page has it now; the file keeps an empty output
    return None


def progress(it: Iterable[Item], describe: str = "", total: int | None = None) -> Iterable[Item]:
    """`it` with a plain text bar that goes away at the end; silent under CI=true and CS348K_STRICT=1."""
    quiet = strict() or os.environ.get("CI", "") not in ("", "0", "false")
    return tqdm(it, describe or None, total, leave=False, disable=quiet)


def budget(count: int, what: str = "updates", *, minutes: float) -> int:
    """Say how much a cell is about to do, and return how much: `count`, or an eighth of it under CS348K_QUICK=1.

    minutes: on a quiet laptop with two cores. Budgets are counted in updates or evaluations, since seconds differ from
    machine to machine. The quick run is for looking a notebook over; its results mean nothing.
    """
    time = f"about {minutes * 60:.0f} seconds" if minutes < 1.5 else f"about {minutes:.0f} minutes"
    if os.environ.get("CS348K_QUICK", "") in ("", "0"):
        print(f"{count} {what}: {time} on a quiet two-core laptop.")
        return count
    few = max(1, count // QUICK_SHARE)
    print(f"CS348K_QUICK: {few} {what} instead of {count}. Do not read anything into the result.")
    return few
