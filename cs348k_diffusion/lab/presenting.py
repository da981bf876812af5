"""Around a cell: what it will cost, a progress bar that is quiet in tests, and letters for a lecture's last row."""

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm.std import tqdm

from cs348k_diffusion.lab.page import Html, strict

Item = TypeVar("Item")
QUICK_SHARE = 8  # of a training, under CS348K_QUICK=1


def present(zoom: float = 1.6, hide_code: bool = True) -> Html:
    """Enlarge text, widgets and players `zoom` times, hide the code; `present(1, False)` in its place undoes it."""
    if not 0.5 <= zoom <= 4:
        raise ValueError(f"zoom={zoom}: 1 is the ordinary size, 1.6 suits a lecture room; 0.5 to 4")
    sizes = {
        "--jp-content-font-size1": 14,
        "--jp-code-font-size": 13,
        "--jp-widgets-font-size": 13,
        "--jp-widgets-inline-height": 28,
    }
    rules = "".join(f"{name}: {zoom * size:.1f}px !important; " for name, size in sizes.items())
    rules += f"--jp-widgets-inline-width: {300 * zoom:.0f}px !important; "
    hidden = (
        ".jp-NotebookPanel .jp-CodeCell .jp-Cell-inputWrapper, .jp-NotebookPanel .jp-OutputPrompt { display: none; }"
        if hide_code
        else ""
    )
    return Html(
        f"<style>:root, body {{ {rules}}} .jp-RenderedHTMLCommon {{ font-size: {14 * zoom:.1f}px; }}"
        f" .jp-OutputArea .tp, .jp-OutputArea figure > img {{ zoom: {zoom:g}; }} {hidden}</style>",
        f"presenting at {zoom:g}x",
    )


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
