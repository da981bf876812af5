"""Pictures in files and pictures in tensors: bytes <-> floats, and one careful way to open a picture of anybody's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 40_000_000


def to_bytes(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """round(127.5 (x + 1)), cut off at 0 and 255: images in [-1, 1] as bytes."""
    return images.add(1).mul(127.5).round().clamp(0, 255).byte()


def from_bytes(values: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """values / 127.5 - 1: bytes as images in [-1, 1], float32."""
    return values.float() / 127.5 - 1


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """The picture in a file as Pillow's RGBA, turned the way that its camera was held, 16 bits scaled to 8.

    Raises FileNotFoundError for a missing file or a folder; ValueError for a file that is empty, cut short, not an
    image, of floating-point numbers, or of more than 40 megapixels (told from its header, before its pixels take any
    memory).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path, most = Path(path), f"make it smaller than {MOST_PIXELS // 10**6} megapixels"
    if not path.is_file():
        what = "is a folder, not a picture" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what} (looked from {Path.cwd()})")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty: save the picture again")
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{path} is huge, {width} x {height} pixels; {most}")
            if opened.mode == "F":  # from 0 to 1, to 255 or to anything: Pillow would cut it off at 255
                raise ValueError(f"{path} holds floating-point numbers, whose white is not known: save it as PNG")
            return _eight_bit(ImageOps.exif_transpose(opened)).convert("RGBA")
    except Image.DecompressionBombError:
        raise ValueError(f"{path} is huge; {most}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that can be read here: use PNG, JPEG, GIF or WebP") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): is it cut short? Save it again") from error


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Grey levels of 16 bits, which Pillow would clip and not scale, as 8 bits."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.array(picture) // 257).clip(0, 255).astype(np.uint8))


def read_image(path: str | os.PathLike[str], size: int, grey: bool = False) -> Float[Tensor, "channels size size"]:
    """One picture, cut to its central square and resized (smoothly), in [-1, 1]; transparency is laid on black.

    Raises as `open_picture` does.
    """
    from PIL import Image

    picture = open_picture(path)
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    side = min(flat.size)
    left, top = ((length - side) // 2 for length in flat.size)
    square = flat.convert("L" if grey else "RGB").crop((left, top, left + side, top + side))
    pixels = from_bytes(torch.from_numpy(np.array(square.resize((size, size), Image.Resampling.BICUBIC))))
    return pixels.view(size, size, -1).permute(2, 0, 1).contiguous()
