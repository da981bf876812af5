"""Where the things of a scene stand: side by side on one ground, or one row on a hill above the other.

Things in a row never touch the next group, and the row shrinks together if it would not fit, so that counts and
relations can be read off a picture of 32 x 32 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.world import Group, Scene

ZOOM = {1: 1.15, 2: 1.0, 3: 0.88, 4: 0.78}  # fewer things are drawn larger
UNIT = {"cat": 0.64, "house": 0.64, "tree": 0.84}  # in world units; a picture is 2 high
GROWN = {"small": 0.74, "": 1.0, "big": 1.4, "tall": 1.4}
FORMS = {"cat": ("sitting", "sitting", "walking"), "house": ("cottage", "cottage", "townhouse")}
SHAPE = {  # width and height of a thing of unit size
    "sitting": (0.86, 1.08),
    "walking": (1.22, 1.0),
    "cottage": (1.22, 1.12),
    "townhouse": (0.92, 1.36),
    "oak": (0.98, 0.96),
    "pine": (0.86, 1.14),
    "poplar": (0.46, 1.1),
}
EDGE, NEAR, APART = 0.96, 0.08, 0.24  # where a picture ends; gaps within a group and between groups


class Thing(NamedTuple):
    """One object: what it is, how large its unit is across and upwards, where its foot stands, in world units."""

    group: Group
    form: str
    across: float
    upwards: float
    at: tuple[float, float] = (0.0, 0.0)

    @property
    def width(self) -> float:
        """Of the space it takes, in world units."""
        return SHAPE[self.form][0] * self.across

    @property
    def height(self) -> float:
        """Of the space it takes, in world units."""
        return SHAPE[self.form][1] * self.upwards


def arrange(scene: Scene, rng: KeyedDraws) -> list[Thing]:
    """The objects of a scene, each in its place, those behind first."""
    zoom = ZOOM[sum(group.count for group in scene.groups)]
    groups = [[_thing(group, zoom, rng) for _ in range(group.count)] for group in scene.groups]
    if scene.relation == "above":
        middle = rng.uniform(-0.15, 0.15)
        upper = _row(groups[:1], rng.uniform(0.02, 0.1), middle, 0.64, rng)
        placed = upper + _row(groups[1:], rng.uniform(-0.9, -0.82), middle, 0.8, rng)
    else:
        order = groups[::-1] if scene.relation == "right of" else groups
        placed = _row(order, rng.uniform(-0.75, -0.55), rng.uniform(-0.4, 0.4), 1.35, rng)
    return sorted(placed, key=lambda thing: -thing.at[1])


def _thing(group: Group, zoom: float, rng: KeyedDraws) -> Thing:
    form = group.species or rng.pick(FORMS[group.kind])
    upwards = UNIT[group.kind] * GROWN[group.size] * zoom * rng.uniform(0.95, 1.05)
    return Thing(group, form, upwards * (0.8 if group.size == "tall" else 1.0), upwards)


def _row(groups: Sequence[Sequence[Thing]], foot: float, middle: float, ceiling: float, rng: KeyedDraws) -> list[Thing]:
    """Things side by side around `middle`, shrunk together if they are too wide or higher than `ceiling`."""
    row = [thing for group in groups for thing in group]
    gaps = [NEAR] * len(row)
    gaps[len(groups[0]) - 1] = APART if len(groups) > 1 else NEAR
    gaps[-1] = 0.0
    wide, high = sum(thing.width for thing in row), max(thing.height for thing in row)
    fit = min(1.0, (2 * EDGE - sum(gaps)) / wide, ceiling / high)
    spare = (2 * EDGE - fit * wide - sum(gaps)) / len(row)
    before = [rng.uniform(0.0, min(spare, 0.2)) for _ in row]
    length = fit * wide + sum(gaps) + sum(before)
    x, placed = min(max(middle - length / 2, -EDGE), EDGE - length), []
    for thing, space, gap in zip(row, before, gaps, strict=True):
        at = x + space + fit * thing.width / 2, foot + rng.uniform(-0.06, 0.06)
        placed.append(thing._replace(across=fit * thing.across, upwards=fit * thing.upwards, at=at))
        x += space + fit * thing.width + gap
    return placed
