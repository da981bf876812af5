"""From scenes to pictures: where things stand, what is behind them, and the renderer of `procedural` that draws it all.

Everything that a scene leaves open (places, poses, hills, stars) comes from (seed, index).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data.pictures import paint, plants, things
from cs348k_diffusion.data.pictures.captions import caption
from cs348k_diffusion.data.pictures.dice import Dice
from cs348k_diffusion.data.pictures.world import Group, Scene, scene
from cs348k_diffusion.procedural.render import Part, crescent, disc, draw, ellipse, stack

ZOOM = {1: 1.0, 2: 0.88, 3: 0.76, 4: 0.68}  # fewer things are drawn larger
UNIT = {"cat": 0.62, "house": 0.66, "tree": 0.78}  # heights in the world, where the picture is 2 high
GROWN = {"small": 0.66, "": 1.0, "big": 1.42, "tall": 1.42}
CHUNK = 64  # pictures drawn at once


class Thing(NamedTuple):
    """One object: what it is, where its foot stands, and how large its unit is (across and upwards)."""

    group: Group
    form: str
    wide: float
    high: float
    at: tuple[float, float] = (0.0, 0.0)

    @property
    def width(self) -> float:
        table = plants.WIDTH if self.group.kind == "tree" else things.WIDTH
        return table[self.form] * self.wide

    @property
    def height(self) -> float:
        table = plants.HEIGHT if self.group.kind == "tree" else things.HEIGHT
        return table[self.form] * self.high


# ---- where things stand ----------------------------------------------------------------------------------------------


def arrange(scene: Scene, dice: Dice) -> list[Thing]:
    """The objects of a scene, each in its place, those behind first."""
    total = sum(group.count for group in scene.groups)
    groups = [[_thing(group, ZOOM[total], dice) for _ in range(group.count)] for group in scene.groups]
    if scene.relation == "above":
        rows = [(groups[0], dice.uniform(0.08, 0.16)), (groups[1], dice.uniform(-0.92, -0.82))]
        middle = dice.uniform(-0.12, 0.12)
        placed = [thing for row, foot in rows for thing in _row([row], foot, middle, 0.82, dice)]
    else:
        order = groups[::-1] if scene.relation == "right of" else groups
        placed = _row(order, dice.uniform(-0.72, -0.5), dice.uniform(-0.25, 0.25), 1.45, dice)
    return sorted(placed, key=lambda thing: -thing.at[1])


def _thing(group: Group, zoom: float, dice: Dice) -> Thing:
    form = group.species or (dice.pick(things.POSES) if group.kind == "cat" else "house")
    high = UNIT[group.kind] * GROWN[group.size] * zoom * dice.uniform(0.95, 1.05)
    wide = high / GROWN["tall"] * 1.12 if group.size == "tall" else high
    return Thing(group, form, wide, high)


def _row(groups: Sequence[Sequence[Thing]], foot: float, middle: float, ceiling: float, dice: Dice) -> list[Thing]:
    """Things side by side, a wider gap between groups; shrunk together if the row is too wide or too high."""
    row = [thing for group in groups for thing in group]
    gaps = [0.05 for _ in row[1:]]
    if len(groups) > 1:
        gaps[len(groups[0]) - 1] = 0.2
    widest, highest = sum(thing.width for thing in row) + sum(gaps), max(thing.height for thing in row)
    fit = min(1.0, (1.9 - sum(gaps)) / (widest - sum(gaps)), ceiling / highest)
    free = 1.92 - (fit * (widest - sum(gaps)) + sum(gaps))
    spread = min(free, 0.12 * len(row)) * dice.uniform(0.4, 1.0)
    length = fit * (widest - sum(gaps)) + sum(gaps) + spread
    x = min(max(middle, length / 2 - 0.97), 0.97 - length / 2) - length / 2 if length < 1.94 else -length / 2
    placed = []
    for thing, gap in zip(row, [*gaps, 0.0], strict=True):
        wide = fit * thing.width
        x += spread / (2 * len(row))
        place = (x + wide / 2, foot + dice.uniform(-0.05, 0.05))
        placed.append(thing._replace(wide=fit * thing.wide, high=fit * thing.high, at=place))
        x += wide + spread / (2 * len(row)) + gap
    return placed


# ---- what is behind --------------------------------------------------------------------------------------------------


def _backdrop(scene: Scene, dice: Dice) -> list[Part]:
    """Stars or clouds, sun or moon, far hills and the ground."""
    parts = _heavens(scene, dice)
    near = paint.ground_colour(scene.season, scene.sky)
    far = paint.mix(near, paint.SKY[scene.sky][1], 0.45)
    parts.append(ellipse((dice.uniform(-0.9, -0.3), -0.5), (dice.uniform(0.9, 1.3), dice.uniform(0.6, 0.72)), 0.0, far))
    parts.append(
        ellipse(
            (dice.uniform(0.3, 0.9), -0.5),
            (dice.uniform(0.9, 1.3), dice.uniform(0.5, 0.66)),
            0.0,
            paint.mix(far, near, 0.25),
        )
    )
    if scene.relation == "above":
        parts.append(
            ellipse((dice.uniform(-0.2, 0.2), -1.0), (1.7, dice.uniform(1.26, 1.34)), 0.0, paint.shade(near, -0.1))
        )
        parts.append(ellipse((dice.uniform(-0.2, 0.2), -1.6), (2.2, dice.uniform(1.02, 1.08)), 0.0, near))
    else:
        parts.append(
            ellipse((dice.uniform(-0.4, 0.4), -2.2), (3.2, dice.uniform(1.86, 1.98)), dice.uniform(-0.03, 0.03), near)
        )
    return parts


def _heavens(scene: Scene, dice: Dice) -> list[Part]:
    parts: list[Part] = []
    if scene.sky != "day":
        for _ in range(9 if scene.sky == "night" else 3):
            parts.append(
                disc((dice.uniform(-0.97, 0.97), dice.uniform(0.1, 0.97)), dice.uniform(0.018, 0.032), paint.STAR)
            )
    else:
        for _ in range(dice.pick((0, 1, 2))):
            x, y = dice.uniform(-0.8, 0.8), dice.uniform(0.62, 0.85)
            for dx, dy, r in ((-0.14, 0.0, 0.09), (0.0, 0.05, 0.12), (0.14, 0.0, 0.09)):
                parts.append(disc((x + dx, y + dy), r, paint.CLOUD, 0.6))
    x = dice.pick((-1, 1)) * dice.uniform(0.6, 0.78)
    if scene.light == "sun":
        y = 0.34 if scene.sky == "dusk" else 0.76
        parts += [disc((x, y), 0.24, paint.SUN, 0.35), disc((x, y), 0.17, paint.SUN)]
    if scene.light == "moon":
        y = dice.uniform(0.66, 0.76)
        parts.append(crescent((x, y), 0.19, (x + 0.12, y + 0.06), 0.15, paint.MOON))
    return parts


def _sky(scene: Scene, size: int, dice: Dice) -> Tensor:
    top, bottom = (torch.tensor(colour) for colour in paint.SKY[scene.sky])
    down = ((torch.arange(size) + 0.5) / size / dice.uniform(0.55, 0.7)).clamp(max=1.0)
    return (top[:, None] + (bottom - top)[:, None] * down)[:, :, None].expand(3, size, size)


# ---- pictures --------------------------------------------------------------------------------------------------------


def draw_scenes(
    scenes: Sequence[Scene], size: int = 32, seed: int = 0, start: int = 0
) -> Float[Tensor, "batch 3 size size"]:
    """Pictures in [-1, 1] of complete scenes; picture i is number start + i of the world `seed`."""
    parts = [_draw_some(scenes[k : k + CHUNK], size, seed, start + k) for k in range(0, len(scenes), CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0, 3, size, size)


def _draw_some(scenes: Sequence[Scene], size: int, seed: int, start: int) -> Tensor:
    dices = [Dice(seed, start + i, stream=3) for i in range(len(scenes))]
    skies = torch.stack([_sky(scene, size, dice) for scene, dice in zip(scenes, dices, strict=True)])
    behind = [_backdrop(scene, dice) for scene, dice in zip(scenes, dices, strict=True)]
    placed = [arrange(scene, dice) for scene, dice in zip(scenes, dices, strict=True)]
    trees = [
        plants.GROW[thing.form](dice)
        for row, dice in zip(placed, dices, strict=True)
        for thing in row
        if thing.group.kind == "tree"
    ]
    rows = iter(plants.places(trees))
    pictures = [
        [*back, *(part for thing in row for part in _parts(thing, scene, dice, rows))]
        for scene, back, row, dice in zip(scenes, behind, placed, dices, strict=True)
    ]
    return draw(stack(pictures), size, background=skies).image


def _parts(thing: Thing, scene: Scene, dice: Dice, rows) -> list[Part]:
    colour = paint.THINGS[thing.group.colour]
    shadow = ellipse((thing.at[0], thing.at[1] + 0.01), (0.48 * thing.width, 0.06), 0.0, paint.INK, 0.25)
    if thing.group.kind == "tree":
        drawn = plants.paint_tree(
            thing.form, next(rows), thing.at, (thing.wide, thing.high), colour, scene.season, dice
        )
    elif thing.group.kind == "house":
        drawn = things.house(thing.at, thing.high, colour, scene.sky, scene.season, dice)
    else:
        drawn = things.cat(thing.form, thing.at, thing.high, colour, scene.sky, dice)
    return [shadow, *drawn]


class Pictures(NamedTuple):
    """Pictures in [-1, 1], their captions, and the scenes that they show."""

    images: Float[Tensor, "n 3 size size"]
    captions: list[str]
    scenes: list[Scene]


def pictures(n: int, size: int = 32, seed: int = 0, start: int = 0, held_out: bool = False) -> Pictures:
    """Pictures number start to start + n - 1 of the world `seed`: the same on every machine, whatever else is drawn."""
    scenes = [scene(seed, start + i, held_out) for i in range(n)]
    captions = [caption(each, seed, start + i) for i, each in enumerate(scenes)]
    return Pictures(draw_scenes(scenes, size, seed, start), captions, scenes)
