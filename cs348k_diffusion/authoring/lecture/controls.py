"""What a demo of the deck is: a control, and the lines of Python behind it."""

from __future__ import annotations

from typing import NamedTuple

PROMPT = "two orange cats left of a tall red tree at night"
FIRST = """import torch
from cs348k_diffusion import recipes
from cs348k_diffusion.authoring.lecture import stage
torch.set_num_threads(1)
"""


class Control(NamedTuple):
    """What the speaker may change: kind "none", "buttons", "slider" or "text"; choices; the first value; its name."""

    kind: str
    name: str = ""
    first: float | str = ""
    choices: tuple[float | str, ...] = ()


class Demo(NamedTuple):
    """A live page: its control and its code."""

    control: Control
    code: str


def slider(name: str, low: float, high: float, step: float, first: float) -> Control:
    """A slider from low to high."""
    return Control("slider", name, first, (low, high, step))


SEED = slider("seed", 0, 99, 1, 0)
