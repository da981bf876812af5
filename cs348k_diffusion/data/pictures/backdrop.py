"""What is behind the things: a sky with its light, stars or clouds, far hills and the ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.layout import Thing
from cs348k_diffusion.data.pictures.paint import BLOSSOM, CLOUD, GROUND, LAMP, MOON, SKY, STAR, SUN, TINT, mix, shade
from cs348k_diffusion.procedural.render import Part, crescent, disc, ellipse

PLACES = (-0.76, -0.5, 0.0, 0.5, 0.76)  # where a sun or moon may hang
PUFFS = ((-0.14, 0.0, 0.09), (0.0, 0.05, 0.12), (0.14, 0.0, 0.09))
STARS = {"day": 0, "dusk": 3, "night": 9}


class Setting(NamedTuple):
    """All of a scene but its things."""

    sky: str
    season: str
    light: str | None
    hill: bool


def gradient(sky: str, size: int, rng: KeyedDraws) -> Float[Tensor, "3 size size"]:
    """The bare sky, from its upper colour to the one at the horizon."""
    top, bottom = (torch.tensor(colour)[:, None] for colour in SKY[sky])
    down = ((torch.arange(size) + 0.5) / (size * rng.uniform(0.55, 0.7))).clamp(max=1.0)
    return (top + (bottom - top) * down)[:, :, None].expand(3, size, size)


def backdrop(setting: Setting, things: Sequence[Thing], rng: KeyedDraws) -> list[Part]:
    """The shapes behind the things, back to front."""
    return [*_heavens(setting, rng), *_light(setting, things, rng), *_land(setting, rng)]


def _heavens(setting: Setting, rng: KeyedDraws) -> list[Part]:
    parts = [
        disc((rng.uniform(-0.97, 0.97), rng.uniform(0.1, 0.97)), rng.uniform(0.018, 0.032), STAR)
        for _ in range(STARS[setting.sky])
    ]
    for _ in range(rng.pick((0, 1, 2)) if setting.sky == "day" else 0):
        x, y = rng.uniform(-0.8, 0.8), rng.uniform(0.62, 0.85)
        parts += [disc((x + dx, y + dy), r, CLOUD, 0.6) for dx, dy, r in PUFFS]
    return parts


def _light(setting: Setting, things: Sequence[Thing], rng: KeyedDraws) -> list[Part]:
    """A sun or a moon, where nothing hides it."""
    if setting.light is None:
        return []
    y = (0.4 if setting.light == "sun" and setting.sky == "dusk" else 0.75) + rng.uniform(-0.03, 0.03)
    high = [thing for thing in things if thing.at[1] + thing.height > y - 0.2]
    hidden = {x: max([0.0, *(0.2 + thing.width / 2 - abs(x - thing.at[0]) for thing in high)]) for x in PLACES}
    x = rng.pick([x for x in PLACES if hidden[x] == min(hidden.values())]) + rng.uniform(-0.04, 0.04)
    if setting.light == "sun":
        return [disc((x, y), 0.24, SUN, 0.35), disc((x, y), 0.17, SUN)]
    return [crescent((x, y), 0.19, (x + 0.12, y + 0.06), 0.15, MOON)]


def _land(setting: Setting, rng: KeyedDraws) -> list[Part]:
    near = mix(GROUND[setting.season], *TINT[setting.sky])
    far = mix(near, SKY[setting.sky][1], 0.45)
    parts = []
    for x, high, paint in ((-0.6, 0.66, far), (0.6, 0.58, mix(far, near, 0.25))):
        radii = rng.uniform(0.9, 1.3), high + rng.uniform(-0.07, 0.07)
        parts.append(ellipse((x + rng.uniform(-0.3, 0.3), -0.5), radii, 0.0, paint))
    if setting.hill:
        parts.append(ellipse((rng.uniform(-0.2, 0.2), -1.0), (1.7, rng.uniform(1.16, 1.22)), 0.0, shade(near, -0.12)))
        parts.append(ellipse((rng.uniform(-0.2, 0.2), -1.6), (2.2, rng.uniform(1.0, 1.06)), 0.0, near))
    else:
        parts.append(ellipse((rng.uniform(-0.4, 0.4), -2.2), (3.2, rng.uniform(1.84, 1.96)), 0.0, near))
    flowers = 6 if setting.season == "spring" else 0
    spots = [(rng.uniform(-0.95, 0.95), rng.uniform(-0.97, -0.62)) for _ in range(flowers)]
    return [*parts, *(disc(spot, 0.028, rng.pick((BLOSSOM, LAMP))) for spot in spots)]
