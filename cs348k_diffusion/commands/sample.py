"""Samples of a shipped model as a file: a PNG grid of what came out, or a GIF of how it came to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from cs348k_diffusion import recipes
from cs348k_diffusion.commands.arguments import few_at_once, writable
from cs348k_diffusion.data.pictures.captions import WORDS
from cs348k_diffusion.lab.frames import pixels, tiled
from cs348k_diffusion.lab.gif import save_gif
from cs348k_diffusion.recipes.distilled.fewer_steps import HIGHEST, LOWEST, STEPS
from cs348k_diffusion.sampling import State

SIDE, EDGE = 64, 4  # pixels: an image is drawn at least this large; white around each
MODELS, STUDENTS = {32: "pictures", 64: "pictures_64"}, {32: "pictures_fast"}
HOLD, FRAME = 1500, 80  # milliseconds a GIF rests on its last frame, and on each of the others


def grid(images: Tensor, columns: int | None = None) -> Image.Image:
    """Images (batch, C, H, W) in [-1, 1] side by side, sharply enlarged; about as many rows as columns unless told."""
    tiles = pixels(images)
    scale = math.ceil(SIDE / tiles.shape[2])
    sheet = tiled(tiles.repeat(scale, 1).repeat(scale, 2), columns, gap=EDGE)
    page = Image.new("RGB", (sheet.width + 2 * EDGE, sheet.height + 2 * EDGE), "white")
    page.paste(sheet, (EDGE, EDGE), sheet)
    return page


def is_prompt(what: str) -> bool:
    """Whether this asks for a picture; a single word of the captions is a short prompt, no model's name.

    Raises ValueError for nothing at all.
    """
    if not what.strip():
        raise ValueError('the prompt is empty; say what to draw, such as "a tall red tree at night"')
    return " " in what or what.lower() in WORDS


def model_for(
    what: str,
    model: str | None = None,
    size: int = 64,
    cascade: bool = False,
    steps: int | None = None,
    scale: float | None = None,
    walk: bool = False,
) -> str:
    """The name of the model that draws this: a prompt's by its size, or the cascade, unless `model` says which.

    Where a student draws pictures of that size in so few steps, at such a scale, it does, unless the walk is asked for,
    which is of as many steps as its teacher takes. Raises ValueError for a size without a model, and for --cascade
    where it cannot be.
    """
    if not is_prompt(what):
        if cascade:
            raise ValueError(f"--cascade draws prompts, and {what!r} is the name of a model")
        return what
    if model and cascade:
        raise ValueError(f"--cascade is a model itself: leave out --model {model}")
    if size not in MODELS:
        raise ValueError(f"prompts are drawn {' or '.join(map(str, MODELS))} pixels wide, not {size}")
    student = STUDENTS.get(size) if knows(steps, scale) and not walk else None
    return "pictures_cascade" if cascade else model or student or MODELS[size]


def knows(steps: int | None, scale: float | None) -> bool:
    """Whether a student draws in so many steps at that scale; None is its own."""
    return steps in (None, *STEPS) and (scale is None or LOWEST <= scale <= HIGHEST)


def file_of(name: str, gif: bool, out: Path | None) -> Path:
    """Where samples go: NAME.png, or NAME.gif, or `out`; raises ValueError for another ending than it should have."""
    out = writable(out or Path(f"{name}.{'gif' if gif else 'png'}"))
    suffix = out.suffix.lower()
    if suffix != ".gif" and (gif or suffix != ".png"):
        raise ValueError(f"samples are written as .png, or as .gif with --gif, not as {out.name!r}")
    return out


def save_samples(
    model: str, request: str | int | None, n: int, scale: float | None, seed: int, steps: int | None, out: Path
) -> int:
    """Draw n times what is requested (the model's own default for None) into a PNG or GIF; returns the steps taken."""
    few_at_once(n)
    draw = recipes.load_pipeline(model)
    requests = draw.condition.default(n) if request is None else [request] * n
    states = list(draw(requests, scale, seed, steps))
    save_walk(states, out) if out.suffix.lower() == ".gif" else save_grid(states[-1].x, out)
    return len(states)


def save_grid(images: Tensor, out: Path) -> None:
    """Write the grid as a PNG."""
    grid(images).save(out)


def save_walk(states: Sequence[State], out: Path) -> None:
    """Write the walk from noise to sample as a GIF that rests on its end."""
    save_gif([grid(state.x) for state in states], out, FRAME, HOLD)
