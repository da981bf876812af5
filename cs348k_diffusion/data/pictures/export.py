"""Pictures as a folder that any other program can read: numbered PNGs, and captions.jsonl with a line for each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from cs348k_diffusion.data.images import to_bytes
from cs348k_diffusion.data.pictures.drawing import draw_scenes, pictures
from cs348k_diffusion.data.pictures.world import ATTRIBUTES, Scene, asked, scene

SOME = 256  # pictures held in memory


def write_folder(
    folder: str | os.PathLike[str], n: int, size: int = 32, seed: int = 0, start: int = 0, held_out: bool = False
) -> Path:
    """Write n pictures as 000000.png and so on, and captions.jsonl; returns the folder.

    A line of captions.jsonl: {"file": ..., "caption": ..., "attributes": {"cat_count": "2", ...}}, and in "groups" what
    the scene holds. Arguments as for `pictures`. Raises FileExistsError for a folder with something in it.
    """
    draw_scenes([scene(seed, start)], size)  # a wrong size or seed is refused before there is a folder
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a new folder, so that no picture of yours is overwritten")
    with (folder / "captions.jsonl").open("w", encoding="utf-8") as lines:
        for first in range(start, start + n, SOME):
            drawn = pictures(min(SOME, start + n - first), size, seed, first, held_out)
            for k, (image, caption, shown) in enumerate(zip(*drawn, strict=True)):
                name = f"{first + k:06d}.png"
                _png(image, folder / name)
                lines.write(json.dumps({"file": name, "caption": caption, **_truth(shown)}) + "\n")
    return folder


def _png(image: torch.Tensor, path: Path) -> None:
    from PIL import Image

    Image.fromarray(to_bytes(image).permute(1, 2, 0).numpy()).save(path)


def _truth(shown: Scene) -> dict[str, object]:
    values = {name: ATTRIBUTES[name][label] for name, label in asked(shown).items()}
    return {"groups": [group._asdict() for group in shown.groups], "attributes": values}
