"""From scenes to pictures, through the renderer of `procedural`.

Everything that a scene leaves open (places, poses, the growth of trees, hills, stars) comes from (seed, index).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data.pictures import plants, things
from cs348k_diffusion.data.pictures.backdrop import Setting, backdrop, gradient
from cs348k_diffusion.data.pictures.captions import caption
from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.layout import Thing, arrange
from cs348k_diffusion.data.pictures.paint import INK, THINGS
from cs348k_diffusion.data.pictures.world import Scene, scene, whole
from cs348k_diffusion.procedural.render import Part, draw, ellipse, stack

SIZES = (16, 32, 64)
PIXELS = 1 << 16  # drawn at once: what a processor's cache can hold


class Pictures(NamedTuple):
    """Pictures in [-1, 1], their captions, and the scenes that they show."""

    images: Float[Tensor, "n 3 size size"]
    captions: list[str]
    scenes: list[Scene]


def pictures(n: int, size: int = 32, seed: int = 0, start: int = 0, held_out: bool = False) -> Pictures:
    """Pictures number start to start + n - 1 of the world `seed`: the same on every machine, whatever else is drawn.

    size: 16, 32 or 64 pixels. held_out: only scenes with one of the pairs in HELD_OUT; otherwise none has one. Scenes
    and captions are equal on all machines, pixels to 1/255. Raises ValueError for another size and a negative n.
    """
    if n < 0:
        raise ValueError(f"n is how many pictures, at least 0, got {n}")
    scenes = [scene(seed, start + i, held_out) for i in range(n)]
    captions = [caption(each, seed, start + i) for i, each in enumerate(scenes)]
    return Pictures(draw_scenes(scenes, size, seed, start), captions, scenes)


def draw_scenes(
    scenes: Sequence[Scene], size: int = 32, seed: int = 0, start: int = 0, lacks: Collection[str] = ()
) -> Float[Tensor, "batch 3 size size"]:
    """Pictures in [-1, 1] of complete scenes; what they leave open comes from (seed, start + i) for picture i.

    lacks: "eyes" or "ears" that all cats are drawn without, the rest unchanged: a flaw for metrics to find. Raises
    ValueError for a size other than 16, 32 or 64, and for a prompt with gaps (see `complete`).
    """
    if size not in SIZES:
        raise ValueError(f"pictures are 16, 32 or 64 pixels wide, got {size}")
    some = PIXELS // size**2
    drawn = [_draw_some(scenes[k : k + some], size, seed, start + k, lacks) for k in range(0, len(scenes), some)]
    return torch.cat(drawn) if drawn else torch.empty(0, 3, size, size)


class _Draft(NamedTuple):
    """A picture on its way: what it shows, and its rng."""

    setting: Setting
    things: list[Thing]
    rng: KeyedDraws


def _draft(scene: Scene, seed: int, index: int) -> _Draft:
    rng, hill = KeyedDraws(seed, index, stream=3), whole(scene).relation == "above"
    setting = Setting(scene.sky or "", scene.season or "", scene.light, hill)
    return _Draft(setting, arrange(scene, rng), rng)


def _draw_some(scenes: Sequence[Scene], size: int, seed: int, start: int, lacks: Collection[str]) -> Tensor:
    drafts = [_draft(scene, seed, start + i) for i, scene in enumerate(scenes)]
    skies = torch.stack([gradient(draft.setting.sky, size, draft.rng) for draft in drafts])
    behind = [backdrop(*draft) for draft in drafts]
    wood = iter(plants.tree_rows([(t.form, d.rng) for d in drafts for t in d.things if t.group.kind == "tree"]))
    shapes = [
        [*back, *(part for thing in draft.things for part in _paint(thing, draft, wood, lacks))]
        for back, draft in zip(behind, drafts, strict=True)
    ]
    return draw(stack(shapes), size, background=skies).image


def _paint(thing: Thing, draft: _Draft, wood, lacks: Collection[str]) -> list[Part]:
    """A thing and its shadow; the next of `wood` is where a tree's branches and leaves are."""
    colour, (setting, _, rng) = THINGS[thing.group.colour or ""], draft
    shadow = ellipse((thing.at[0], thing.at[1] + 0.01), (0.48 * thing.width, 0.06), 0.0, INK, 0.25)
    if thing.group.kind == "tree":
        return [shadow, *plants.paint_tree(thing, next(wood), colour, setting.season, rng)]
    if thing.group.kind == "house":
        return [shadow, *things.house(thing, colour, setting, rng)]
    return [shadow, *things.cat(thing, colour, rng, lacks)]
