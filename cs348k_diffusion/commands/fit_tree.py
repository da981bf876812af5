"""`cs348k fit-tree`: from a picture to a tree that looks like it, with a GIF of the tree growing into its target.

A picture is read, checked, brought into a square that stands on its lower edge, and becomes a target: an image to look
like, an outline to have, or a region to fill. The fit is `procedural.fit.fit_tree` with the policy "both".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from cs348k_diffusion.commands.arguments import few_at_once
from cs348k_diffusion.data.images import from_bytes, open_picture
from cs348k_diffusion.lab.frames import Recording, pixels
from cs348k_diffusion.lab.gif import save_gif
from cs348k_diffusion.procedural.chain import FitStep
from cs348k_diffusion.procedural.fit import fit_tree, sharp_loss
from cs348k_diffusion.procedural.grammar import Grammar, from_json, to_json, validate
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.policies import BOTH
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import (
    Target,
    image_target,
    region_target,
    sapling,
    silhouette_target,
)
from cs348k_diffusion.procedural.tree import Tree
from cs348k_diffusion.running import last

KINDS = ("image", "silhouette", "region")
VIEW = 160  # pixels: how large a GIF shows the target, and the tree beside it
POOR = 0.3  # of a sapling's loss: more than this is left only where the target is unlike a tree of our colours
HOLD, FRAME = 2000, 90  # milliseconds a GIF rests on its last frame, and on each of the others


class Cutout(NamedTuple):
    """A picture as a target uses it: colours in [-1, 1] over one background, and where the thing is, in [0, 1]."""

    image: Float[Tensor, "3 size size"]
    mask: Float[Tensor, "size size"]
    background: tuple[float, float, float]


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_picture(path: Path, size: int) -> Cutout:
    """The picture in a square of `size` pixels; what is transparent, or coloured like the border, is background.

    Raises FileNotFoundError for a missing file, ValueError for one that is empty, no image, too large or of one colour.
    """
    picture = open_picture(path)
    colour = _border(picture)
    flat = Image.new("RGBA", picture.size, (*colour, 255))
    flat.alpha_composite(picture)
    image = _square(flat.convert("RGB"), size, colour)
    image = from_bytes(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    mask = _mask(picture, colour, size)
    if float(mask.max() - mask.min()) < 0.05:
        raise ValueError(f"{path} has one colour only: a tree needs something to grow into, on a plain background")
    red, green, blue = (value / 127.5 - 1 for value in colour)
    return Cutout(image, mask, (red, green, blue))


def _border(picture: Image.Image) -> tuple[int, int, int]:
    """The median colour of what can be seen along the border; white where the border is transparent."""
    rows = np.array(picture)
    edge = np.concatenate([rows[0], rows[-1], rows[:, 0], rows[:, -1]])
    visible = edge[edge[:, 3] > 127]
    if len(visible) < len(edge) / 2:
        return 255, 255, 255
    red, green, blue = np.median(visible[:, :3], axis=0).round().astype(int).tolist()
    return red, green, blue


def _square(picture: Image.Image, size: int, colour: Any) -> Image.Image:
    """Centred over the lower edge of a square, where trunks stand, and resized."""
    width, height = picture.size
    side = max(width, height)
    square = Image.new(picture.mode, (side, side), colour)
    square.paste(picture, ((side - width) // 2, side - height))
    return square.resize((size, size), Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC)


def _mask(picture: Image.Image, colour: tuple[int, int, int], size: int) -> Float[Tensor, "size size"]:
    """How opaque each pixel is and, where all are opaque, how far its colour is from the background's."""
    rows = np.array(picture).astype(np.float32)
    cover = rows[..., 3]
    if cover.min() == 255:
        far = np.abs(rows[..., :3] - np.array(colour)).max(-1)
        cover = 255 * np.clip((far - 16) / 32, 0, 1)
    mask = _square(Image.fromarray(cover.round().astype(np.uint8)), size, 0)
    return torch.from_numpy(np.array(mask)).float() / 255


def read_tree(path: Path) -> Tree:
    """The tree in a file that `cs348k fit-tree` wrote; raises ValueError for any other file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist (looked from {Path.cwd()})")
    try:
        return validate(from_json(path.read_text(encoding="utf-8")), Grammar())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# ---- fitting ---------------------------------------------------------------------------------------------------------


def target_of(cutout: Cutout, kind: str = "image") -> Target:
    """The target that a picture sets: to look like it, to have its outline, or to fill its region."""
    makers = {
        "image": lambda: image_target(cutout.image),
        "silhouette": lambda: silhouette_target(cutout.mask),
        "region": lambda: region_target(cutout.mask),
    }
    if kind not in makers:
        raise ValueError(f"there is no kind of target {kind!r}; there are {', '.join(KINDS)}")
    return makers[kind]()


class Fit(NamedTuple):
    """What a fit came to: its last step, the files written, and the tree's share of a sapling's loss."""

    end: FitStep
    tree: Path
    picture: Path
    movie: Path | None
    left: float


def fit_picture(
    picture: Path,
    out: Path,
    gif: bool = False,
    kind: str = "image",
    start: Path | None = None,
    size: int = 32,
    budget: int = 6000,
    seed: int = 0,
) -> Fit:
    """Fit a tree to a picture under a progress bar; writes its JSON to `out` and the fit, where wanted, as a GIF.

    Beside the JSON a PNG shows the target and the tree (see `beside`).

    kind is one of KINDS; start is the JSON of a tree to go on from.
    Raises as `read_picture`, `read_tree` and `target_of` do.
    """
    check_out(out)
    shown, movie = beside(out, ".png", picture), beside(out, ".gif", picture) if gif else None
    few_at_once(1)
    cutout, first = read_picture(picture, size), read_tree(start) if start else sapling()
    run = fit_tree(target_of(cutout, kind), BOTH, first, budget=budget, seed=seed, style=Style(sky=cutout.background))
    film = Film(cutout, kind)
    end = last(counted(film.follow(run) if movie else run, budget))
    out.write_text(to_json(end.best.tree) + "\n", encoding="utf-8")
    Image.fromarray(pixels(film.beside(end))[0]).save(shown)
    if movie:
        film.save(movie)
    return Fit(end, out, shown, movie, left_over(picture, kind, size, end.best.tree))


def left_over(picture: Path, kind: str, size: int, tree: Tree) -> float:
    """The tree's share of a sapling's loss: 0 is a perfect fit, POOR or more a poor one. Raises as `read_picture`."""
    cutout = read_picture(picture, size)
    losses = sharp_loss([sapling(), tree], target_of(cutout, kind), style=Style(sky=cutout.background))
    return float(losses[1] / losses[0])


def check_out(out: Path) -> None:
    """Raises ValueError, before the work and not after it, for a place where no JSON can be written."""
    if out.suffix.lower() != ".json":
        raise ValueError(f"a tree is written as JSON: give --out a name that ends in .json, not {out.name!r}")
    if not out.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {out.parent} to write {out.name} to: make it first")


def beside(out: Path, suffix: str, picture: Path) -> Path:
    """The file that goes with `out`: its name with this suffix, or NAME_fit where that is the picture to be fitted."""
    file = out.with_suffix(suffix)
    return file.with_stem(f"{out.stem}_fit") if file.resolve() == picture.resolve() else file


def counted(steps: Iterator[FitStep], budget: int) -> Iterator[FitStep]:
    """Pass the steps on under a bar that shows the units spent, the parts and the loss."""
    with tqdm(total=budget, unit="unit", leave=False, disable=None) as bar:
        for now in steps:
            bar.set_postfix_str(f"{len(now.best.tree.parts)} parts, loss {now.loss:.2e}", refresh=False)
            bar.update(min(now.cost.units, budget) - bar.n)
            yield now


def messages(fit: Fit, kind: str, seed: int) -> Iterator[str]:
    """What to say of a fit: where it is, how good, and what to try where much of a sapling's loss is left."""
    end, parts = fit.end, len(fit.end.best.tree.parts)
    yield f"{fit.tree}: {parts} parts, loss {end.loss:.2e} after {end.cost.units} units, seed {seed}"
    yield f"{fit.picture}: the target and the tree"
    if fit.movie:
        yield f"{fit.movie}: the fit in motion"
    if fit.left > POOR:
        advice = "a larger --budget" if kind != "image" else "--silhouette, which ignores colours, or a larger --budget"
        yield f"{fit.left:.0%} of a sapling's loss is left: try {advice}"


# ---- the film --------------------------------------------------------------------------------------------------------


class Film:
    """The target with the growing tree beside it, in at most 60 frames evenly spaced, and the last."""

    def __init__(self, cutout: Cutout, kind: str):
        wanted = cutout.image if kind == "image" else (1 - 2 * cutout.mask).expand(3, -1, -1)
        self.wanted = torch.nn.functional.interpolate(wanted[None], size=(VIEW, VIEW))
        self.style, self.recording = Style(sky=cutout.background), Recording()

    def follow(self, steps: Iterator[FitStep], every: int = 10) -> Iterator[FitStep]:
        """Pass the steps on; film each `every`-th and the last."""
        now = None
        for now in steps:
            if now.step % every == 1:
                self.shoot(now)
            yield now
        if now is not None and now.step % every != 1:
            self.shoot(now)

    def shoot(self, now: FitStep) -> None:
        """One frame of the film."""
        self.recording.add(self.beside(now), now.label(), now.step)

    def beside(self, now: FitStep) -> Tensor:
        """The target and the best tree, drawn larger than it was fitted: (1, 3, VIEW, 2 VIEW)."""
        parts = tree_parts(pack([now.best.tree], Grammar()), self.style)
        with torch.no_grad():
            tree = draw(parts, VIEW, background=self.style.sky).image
        return torch.cat([self.wanted, tree], 3)

    def save(self, path: Path) -> None:
        """Write the film as a GIF that rests on its end."""
        frames = [Image.fromarray(frame[0]) for frame in self.recording.close().frames]
        save_gif(frames, path, FRAME, HOLD)
