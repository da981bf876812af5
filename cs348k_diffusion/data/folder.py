"""Your own pictures: a folder of images, with captions beside them if you like."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data.images import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp"}


def load_folder(
    folder: str | os.PathLike[str], size: int = 32, grey: bool = False
) -> tuple[Float[Tensor, "n channels size size"], list[str]]:
    """Every image of a folder, cut to its central square and resized, in [-1, 1]; and one caption for each.

    Files are taken in the order of their names, without hidden ones; subfolders are not entered. Captions come from a
    file `captions.csv` in the folder, with lines such as cat.png,"a cat, asleep"  , or from captions.jsonl as
    `cs348k pictures` writes it; without either every caption is "". Transparency is laid on black. Raises
    FileNotFoundError for a missing folder, or one without images; ValueError for a file that cannot be read (see
    `images.open_picture`), for a caption without its image, and for an image without its caption.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder (looked from {Path.cwd()})")
    paths = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not paths:
        raise FileNotFoundError(f"no images in {folder}: looked for files ending in {', '.join(sorted(SUFFIXES))}")
    listed = folder / ("captions.jsonl" if (folder / "captions.jsonl").is_file() else "captions.csv")
    captions = read_captions(listed, [path.name for path in paths])
    return torch.stack([read_image(path, size, grey) for path in paths]), captions


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")  # macOS leaves "._cat.png" beside cat.png


def read_captions(path: str | os.PathLike[str], names: list[str]) -> list[str]:
    """The captions for the images called `names`, from a CSV file of name and caption; all "" without that file.

    A first line "file,caption" is a heading. In a file that ends in .jsonl each line is {"file": ..., "caption": ...},
    other keys are passed over. Raises ValueError as `load_folder` says, naming the line or the image.
    """
    path = Path(path)
    if not path.is_file():
        return [""] * len(names)
    found: dict[str, str] = {}
    for number, name, caption in (_json_lines if path.suffix == ".jsonl" else _csv_lines)(path):
        if name not in names:
            raise ValueError(f"{path}, line {number}: there is no image {name!r} in the folder")
        found[name] = caption.strip()
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{path} has no caption for {', '.join(missing[:5])}: write one, or take the file away")
    return [found[name] for name in names]


def _csv_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
            if not row or (number == 1 and row == ["file", "caption"]):
                continue
            if len(row) != 2:
                raise ValueError(f'{path}, line {number}: expected  name,"caption"  and found {len(row)} fields: {row}')
            yield number, row[0], row[1]


def _json_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            row = json.loads(line)
            yield number, str(row["file"]), str(row["caption"])
        except (ValueError, KeyError, TypeError) as error:
            form = '{"file": "cat.png", "caption": "a cat"}'
            raise ValueError(f"{path}, line {number}: expected  {form}  and found {line[:60]!r}") from error
