"""Samples of a shipped model as a file: a PNG grid of what came out, or a GIF of how it came to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import parse
from cs348k_diffusion.denoiser import NetDenoiser, clip
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.lab.frames import pixels
from cs348k_diffusion.recipes.pictures import painting
from cs348k_diffusion.sampling import State, ddim, path

SIDE = 64  # an image is drawn at least this large
HOLD, FRAME = 1500, 80  # milliseconds a GIF rests on its last frame, and on each of the others


def prompted(prompt: str, n: int, steps: int, scale: float, seed: int) -> list[State]:
    """`steps` noise-free steps (DDIM) from noise to n pictures of what the prompt asks for, under guidance.

    Raises ValueError, in one sentence, for a prompt with an unknown word, outside the grammar, or of things that the
    drawn world does not hold.
    """
    parse(prompt)
    model = recipes.load("pictures")
    assert isinstance(model, NetDenoiser)
    return list(painting(model, [prompt] * n, scale, seed, steps))


def trajectory(name: str, n: int, steps: int, label: int | None, seed: int, scale: float = 1.0) -> list[State]:
    """`steps` noise-free steps (DDIM) of the shipped model `name`, for n images at once.

    label: a class for all of them, or None for classes 0, 1, 2, ... in turn where the model knows classes; scale: how
    much the class counts (`guide`).
    Raises KeyError for a model that does not ship, ValueError for one that draws no images and for an unknown label.
    """
    model = recipes.load(name)
    shape = recipes.RECIPES[name].shape
    if not isinstance(model, NetDenoiser) or not shape:
        drawn = [recipe.name for recipe in recipes.RECIPES.values() if recipe.shape]
        raise ValueError(f"{name} draws no images; those that do: {', '.join(drawn)}")
    classes = int(model.null["y"][0]) if "y" in model.null else 0
    if label is not None and not 0 <= label < classes:
        known = f"0 to {classes - 1}" if classes else "none"
        raise ValueError(f"{name} has no label {label}; its labels are {known}")
    y = torch.arange(n) % max(classes, 1) if label is None else torch.full((n,), label)
    noise = model.schedule.prior((n, *shape), torch.Generator().manual_seed(seed))
    asked = model.given(y=y) if classes else model.given()
    asked = guide(asked, model.given(), scale) if scale != 1 else asked
    return list(ddim(clip(asked), noise, path(steps)))


def grid(images: Tensor, columns: int | None = None) -> Image.Image:
    """Images (batch, C, H, W) in [-1, 1] side by side, sharply enlarged; about as many rows as columns unless told."""
    tiles = pixels(images)
    n, height, width, channels = tiles.shape
    scale, columns = math.ceil(SIDE / width), columns or math.ceil(math.sqrt(n))
    sheet = Image.new(
        "RGB", (columns * (width * scale + 4) + 4, math.ceil(n / columns) * (height * scale + 4) + 4), "white"
    )
    for k, tile in enumerate(tiles):
        picture = Image.fromarray(tile.squeeze(-1) if channels == 1 else tile).resize(
            (width * scale, height * scale), 0
        )
        sheet.paste(picture, (4 + k % columns * (width * scale + 4), 4 + k // columns * (height * scale + 4)))
    return sheet


def save_grid(images: Tensor, out: Path) -> None:
    """Write the grid as a PNG."""
    grid(images).save(out)


def save_gif(states: Sequence[State], out: Path) -> None:
    """Write the walk from noise to sample as a GIF that rests on its end."""
    frames = [grid(state.x) for state in states]
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=[*[FRAME] * (len(frames) - 1), HOLD], loop=0)
