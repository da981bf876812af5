"""Trees of the lecture's grammar, branch(length, angle) and leaf(radius), in three species.

A tree is grown as a `procedural.Tree` about one unit high that stands at (0, 0); `procedural.tree_parts` says where its
branches and leaves are, and here they are moved, scaled, painted and dressed for the season.
"""

from __future__ import annotations

from collections.abc import Sequence

from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.layout import Thing
from cs348k_diffusion.data.pictures.paint import BARK, BLOSSOM, SNOW, Colour, shade
from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.render import Part, Style, capsule, disc, tree_parts
from cs348k_diffusion.procedural.tree import GROUND, Branch, Leaf, Tree

GRAMMAR = Grammar(length=(0.01, 2.0), angle=(-3.2, 3.2), radius=(0.01, 1.0))
STYLE = Style(twig=0.03, ground=(0.0, 0.0))


class _Growing:
    """A tree in the making: `branch` and `leaf` add a part, and a branch has an id to grow from."""

    def __init__(self):
        self.parts: dict[int, Branch | Leaf] = {}

    def branch(self, parent: int, length: float, angle: float) -> int:
        self.parts[len(self.parts) + 1] = Branch(parent, length, angle)
        return len(self.parts)

    def leaf(self, parent: int, radius: float) -> None:
        self.parts[len(self.parts) + 1] = Leaf(parent, radius)

    def tree(self) -> Tree:
        return Tree(self.parts, len(self.parts) + 1)


def oak(rng: KeyedDraws) -> Tree:
    """A short trunk and a broad crown: four boughs from one fork, a leaf on each."""
    growing = _Growing()
    trunk = growing.branch(GROUND, rng.uniform(0.4, 0.48), rng.uniform(-0.08, 0.08))
    for angle in (-1.15, -0.4, 0.4, 1.15):
        bough = growing.branch(trunk, rng.uniform(0.25, 0.33), angle + rng.uniform(-0.12, 0.12))
        growing.leaf(bough, rng.uniform(0.2, 0.25))
    growing.leaf(trunk, 0.22)
    return growing.tree()


def pine(rng: KeyedDraws) -> Tree:
    """A straight trunk with three pairs of drooping boughs, the lower the longer; its boughs are its leaves."""
    growing, at = _Growing(), GROUND
    for length, bough in ((0.52, 0.46), (0.26, 0.36), (0.24, 0.25)):
        at = growing.branch(at, length, 0.0)
        for side in (-1, 1):
            growing.branch(at, bough * rng.uniform(0.9, 1.05), side * rng.uniform(2.15, 2.3))
    return growing.tree()


def poplar(rng: KeyedDraws) -> Tree:
    """A tall, narrow flame: a chain of short branches with a leaf at each joint."""
    growing, at = _Growing(), GROUND
    for length, radius in ((0.42, 0.18), (0.2, 0.21), (0.2, 0.18), (0.18, 0.12)):
        at = growing.branch(at, length, rng.uniform(-0.05, 0.05))
        growing.leaf(at, radius * rng.uniform(0.94, 1.06))
    return growing.tree()


GROW = {"oak": oak, "pine": pine, "poplar": poplar}
TOPS = {"oak": (1, 2), "pine": (4, 5), "poplar": (3,)}  # where snow lies: the highest parts of the crown


def tree_rows(wanted: Sequence[tuple[str, KeyedDraws]]) -> list[list[list[float]]]:
    """One tree for each (species, rng): (x0, y0, x1, y1, r0, r1) of all its parts, branches first; all at once."""
    if not wanted:
        return []
    trees = [GROW[species](rng) for species, rng in wanted]
    rows = tree_parts(pack(trees, GRAMMAR), STYLE).numbers.tolist()
    return [row[: len(tree.parts)] for tree, row in zip(trees, rows, strict=True)]


def paint_tree(thing: Thing, rows: list[list[float]], colour: Colour, season: str, rng: KeyedDraws) -> list[Part]:
    """A tree in its place and colour, its parts as `tree_rows` says, with snow, blossom or fallen leaves."""
    wood: list[Part] = []
    crown: list[Part] = []
    for x0, y0, x1, y1, r0, r1 in rows:
        start, end, across = _put(thing, x0, y0), _put(thing, x1, y1), thing.across
        if (x0, y0) == (x1, y1):  # a leaf, lighter towards the upper left
            light = 0.12 * min(1.0, max(-1.0, 4 * (y1 - 0.7) - 2 * x1))
            crown.append(disc(start, r0 * across, shade(colour, light)))
        elif thing.form == "pine" and abs(x1 - x0) > 0.02:
            start = _put(thing, x0, y0 + 0.1)
            crown.append(capsule(start, end, 0.13 * across, 0.05 * across, shade(colour, 0.1 if x1 < x0 else -0.12)))
        else:
            wood.append(capsule(start, end, r0 * across + 0.012, r1 * across + 0.012, BARK))
    return [*wood, *crown, *_dress(thing, crown, colour, season, rng)]


def _put(thing: Thing, x: float, y: float) -> tuple[float, float]:
    return thing.at[0] + thing.across * x, thing.at[1] + thing.upwards * y


def _dress(thing: Thing, crown: Sequence[Part], colour: Colour, season: str, rng: KeyedDraws) -> list[Part]:
    if season == "winter":
        return [_snow(crown[k]) for k in TOPS[thing.form]]
    if season == "spring":
        on, reach = [rng.pick(crown).numbers for _ in range(4)], 0.1 * thing.across
        spots = [(n[0] + rng.uniform(-reach, reach), n[1] + rng.uniform(-reach, reach)) for n in on]
        return [disc(spot, 0.042 * thing.across, BLOSSOM) for spot in spots]
    if season == "autumn":
        spots = [_put(thing, rng.uniform(-0.4, 0.4), rng.uniform(-0.05, 0.03)) for _ in range(3)]
        return [disc(spot, 0.024, colour) for spot in spots]
    return []


def _snow(part: Part) -> Part:
    x0, y0, x1, y1, r0, r1 = part.numbers
    if (x0, y0) == (x1, y1):
        return capsule((x0 - 0.4 * r0, y0 + 0.8 * r0), (x0 + 0.4 * r0, y0 + 0.8 * r0), 0.25 * r0, 0.25 * r0, SNOW)
    return capsule((x0, y0 + 0.8 * r0), (0.5 * (x0 + x1), 0.5 * (y0 + y1) + r1), 0.4 * r0, 0.5 * r1, SNOW)
