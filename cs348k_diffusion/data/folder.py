"""Your own pictures: a folder of images, with captions beside them if you like."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data import caption_table
from cs348k_diffusion.data.images import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"}


def load_folder(
    folder: str | os.PathLike[str], size: int = 32, grey: bool = False
) -> tuple[Float[Tensor, "n channels size size"], list[str]]:
    """Every image of a folder, cut to its central square and resized, in [-1, 1]; and one caption for each.

    Files are taken in the order of their names, without hidden ones; subfolders are not entered. Captions come from a
    file `captions.csv` in the folder, with lines such as cat.png,"a cat, asleep"  (as a spreadsheet writes them, with
    semicolons or tabs, too), or from captions.jsonl as `cs348k pictures` writes it; without either every caption is
    "". Transparency is laid on black. Raises FileNotFoundError for a missing folder, or one without images; ValueError
    for a file that cannot be read (see `images.open_picture`), for a caption without its image, for an image without
    its caption, and for two captions of one image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder (looked from {Path.cwd()})")
    paths = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not paths:
        raise FileNotFoundError(f"no images in {folder}: looked for files ending in {', '.join(sorted(SUFFIXES))}")
    table = caption_table.find_table(folder)
    captions = read_captions(table, [path.name for path in paths]) if table else [""] * len(paths)
    return torch.stack([read_image(path, size, grey) for path in paths]), captions


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")  # macOS leaves "._cat.png" beside cat.png


def read_captions(path: str | os.PathLike[str], names: list[str]) -> list[str]:
    """The captions for the images called `names`, from a table of name and caption; all "" without that file.

    A first line with "file" and "caption" is a heading; then there may be more columns. In a file that ends in .jsonl
    each line is {"file": ..., "caption": ...}, other keys are passed over. Raises ValueError as `load_folder` says,
    naming the line or the image.
    """
    path = Path(path)
    if not path.is_file():
        return [""] * len(names)
    found: dict[str, str] = {}
    for number, name, caption in caption_table.rows(path, names):
        if name not in names:
            raise ValueError(f"{path}, line {number}: there is no image {name!r} in the folder")
        if found.setdefault(name, caption) != caption:
            raise ValueError(f"{path}, line {number}: {name!r} has another caption above; leave one")
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} has no caption for {', '.join(missing[:5])}: write one, or take the file away")
    return [found[name] for name in names]
