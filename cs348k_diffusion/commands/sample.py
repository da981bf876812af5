"""Samples of a shipped model as a file: a PNG grid of what came out, or a GIF of how it came to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from cs348k_diffusion.lab.frames import pixels
from cs348k_diffusion.sampling import State

SIDE = 64  # an image is drawn at least this large
HOLD, FRAME = 1500, 80  # milliseconds a GIF rests on its last frame, and on each of the others


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
