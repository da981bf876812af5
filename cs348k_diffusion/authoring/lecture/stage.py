"""What a demo of the deck calls to be seen: pictures and words for the page, sent as output of its kernel."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cs348k_diffusion.lab.frames import pixels, tiled

PLANE, DOT = 480, 2  # pixels of a picture of points, and half the width of a dot
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))  # of classes: blue, orange, green, told apart by all


def show(x: Any, words: str = "", columns: int | None = None) -> None:
    """Show images (batch, C, H, W) in [-1, 1], or a picture that is one already, and some words below."""
    _send(x if isinstance(x, Image.Image) else tiled(pixels(x), columns), words)


def show_points(
    x: Tensor, words: str = "", limit: float = 3.0, classes: Tensor | None = None, beside: Tensor | None = None
) -> None:
    """Show points (n, 2) of the plane [-limit, limit]^2, coloured by class, over those of `beside`, in grey."""
    page = Image.new("RGB", (PLANE, PLANE), "white")
    pen = ImageDraw.Draw(page)
    if beside is not None:
        _dots(pen, beside, limit, torch.zeros(len(beside), dtype=torch.long), ((190, 190, 190),))
    _dots(pen, x, limit, torch.zeros(len(x), dtype=torch.long) if classes is None else classes, COLOURS)
    _send(page, words)


def show_curve(ys: Tensor, words: str = "", low: float = 0.0, high: float = 1.0, mark: float | None = None) -> None:
    """Show a curve ys (n,) between the heights `low` and `high`; `mark`: a height with a line across."""
    page = Image.new("RGB", (PLANE * 3 // 2, PLANE), "white")
    pen, n = ImageDraw.Draw(page), len(ys)

    def place(k: float, y: float) -> tuple[float, float]:
        return k / max(n - 1, 1) * page.width, page.height * (1 - (y - low) / (high - low))

    if mark is not None:
        pen.line([place(0, mark), place(n - 1, mark)], (160, 160, 160), 2)
    pen.line([place(k, float(y)) for k, y in enumerate(ys)], COLOURS[0], 4)
    _send(page, words)


def say(words: str) -> None:
    """Words alone."""
    _send(None, words)


def _dots(pen: ImageDraw.ImageDraw, x: Tensor, limit: float, classes: Tensor, colours: Any) -> None:
    places = (x.detach() / limit * torch.tensor([1.0, -1.0]) + 1) * PLANE / 2
    for (u, v), kind in zip(places.tolist(), classes.tolist(), strict=True):
        pen.ellipse((u - DOT, v - DOT, u + DOT, v + DOT), colours[kind % len(colours)])


def _send(picture: Image.Image | None, words: str) -> None:
    from IPython.display import display

    data = {"text/plain": words}
    if picture is not None:
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)  # gaps are transparent: the page's own colour
        data["image/png"] = base64.b64encode(file.getvalue()).decode()
    display(data, raw=True)
