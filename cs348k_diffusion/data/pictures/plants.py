"""Trees of the lecture's grammar, branch(length, angle) and leaf(radius), in three species.

A tree is built as a `procedural.Tree` of height about 1 that stands at (0, 0); `procedural.tree_parts` says where its
branches and leaves are, and here they are moved, scaled and painted.
"""

from __future__ import annotations

from collections.abc import Sequence

from cs348k_diffusion.data.pictures.dice import Dice
from cs348k_diffusion.data.pictures.paint import BARK, BLOSSOM, SNOW, shade
from cs348k_diffusion.procedural.render import Part, Style, capsule, disc, tree_parts
from cs348k_diffusion.procedural.tree import GROUND, Branch, Grammar, Leaf, Tree, pack

GRAMMAR = Grammar(length=(0.01, 2.0), angle=(-3.2, 3.2), radius=(0.01, 1.0))
STYLE = Style(twig=0.03, ground=(0.0, 0.0))


class _Growing:
    """A tree in the making: `branch` and `leaf` add a part and say its id."""

    def __init__(self):
        self.parts: dict[int, Branch | Leaf] = {}

    def branch(self, parent: int, length: float, angle: float) -> int:
        self.parts[len(self.parts) + 1] = Branch(parent, length, angle)
        return len(self.parts)

    def leaf(self, parent: int, radius: float) -> int:
        self.parts[len(self.parts) + 1] = Leaf(parent, radius)
        return len(self.parts)


def oak(dice: Dice) -> Tree:
    """A short trunk and a broad crown: four boughs from one fork, a leaf on each."""
    growing, lean = _Growing(), dice.uniform(-0.08, 0.08)
    trunk = growing.branch(GROUND, dice.uniform(0.4, 0.48), lean)
    for angle in (-1.15, -0.4, 0.4, 1.15):
        bough = growing.branch(trunk, dice.uniform(0.25, 0.33), angle + dice.uniform(-0.12, 0.12))
        growing.leaf(bough, dice.uniform(0.2, 0.25))
    growing.leaf(trunk, 0.22)
    return Tree(growing.parts, len(growing.parts) + 1)


def pine(dice: Dice) -> Tree:
    """A straight trunk with three pairs of drooping boughs, the lower the longer; it has no leaves but its boughs."""
    growing, at = _Growing(), GROUND
    for length, bough in zip((0.52, 0.26, 0.24), (0.46, 0.36, 0.25), strict=True):
        at = growing.branch(at, length, 0.0)
        for side in (-1, 1):
            growing.branch(at, bough * dice.uniform(0.9, 1.05), side * dice.uniform(2.15, 2.3))
    return Tree(growing.parts, len(growing.parts) + 1)


def poplar(dice: Dice) -> Tree:
    """A tall, narrow flame: a chain of short branches with a leaf at each joint."""
    growing, at = _Growing(), GROUND
    for length, radius in zip((0.36, 0.22, 0.22, 0.2), (0.18, 0.2, 0.17, 0.11), strict=True):
        at = growing.branch(at, length, dice.uniform(-0.05, 0.05))
        growing.leaf(at, radius * dice.uniform(0.94, 1.06))
    return Tree(growing.parts, len(growing.parts) + 1)


GROW = {"oak": oak, "pine": pine, "poplar": poplar}
WIDTH = {"oak": 0.98, "pine": 0.86, "poplar": 0.44}  # of a tree one unit high
HEIGHT = {"oak": 0.96, "pine": 1.14, "poplar": 1.1}


def places(trees: Sequence[Tree]) -> list[list[list[float]]]:
    """(x0, y0, x1, y1, r0, r1) of every part of every tree, in `tree.order`, for all trees at once."""
    if not trees:
        return []
    rows = tree_parts(pack(trees, GRAMMAR), STYLE).numbers.tolist()
    return [row[: len(tree.parts)] for tree, row in zip(trees, rows, strict=True)]


def paint_tree(
    species: str,
    rows: list[list[float]],
    at: tuple[float, float],
    scale: tuple[float, float],
    colour,
    season: str,
    dice: Dice,
) -> list[Part]:
    """A tree in its colour at the point `at`, `scale` times as wide and high, dressed for the season."""
    x, y = at
    wide, high = scale

    def put(px: float, py: float) -> tuple[float, float]:
        return x + wide * px, y + high * py

    wood: list[Part] = []
    crown: list[Part] = []
    for x0, y0, x1, y1, r0, r1 in rows:
        leafy = (x0, y0) == (x1, y1)
        bough = species == "pine" and abs(x1 - x0) > 0.02
        if leafy:
            light = shade(colour, 0.12 * min(1.0, max(-1.0, 4 * (y1 - 0.7) - 2 * x1)))
            crown.append(disc(put(x0, y0), r0 * wide, light))
        elif bough:
            light = shade(colour, 0.1 if x1 < x0 else -0.12)
            crown.append(capsule(put(x0, y0 + 0.1), put(x1, y1), 0.13 * wide, 0.05 * wide, light))
        else:
            wood.append(capsule(put(x0, y0), put(x1, y1), r0 * wide + 0.012, r1 * wide + 0.012, BARK))
    if species == "pine":
        crown.sort(key=lambda part: part.numbers[1])
    return [*wood, *crown, *_dress(season, crown, wide, at, colour, dice)]


def _dress(season: str, crown: list[Part], wide: float, at, colour, dice: Dice) -> list[Part]:
    if season == "winter":
        tops = sorted(crown, key=lambda part: -max(part.numbers[1], part.numbers[3]))[:3]
        return [_snow(part, wide) for part in tops]
    if season == "spring":
        spots = [dice.pick(crown).numbers for _ in range(4)]
        return [
            disc((n[0] + dice.uniform(-0.1, 0.1) * wide, n[1] + dice.uniform(-0.1, 0.1) * wide), 0.028, BLOSSOM)
            for n in spots
        ]
    if season == "autumn":
        return [
            disc(
                (at[0] + dice.uniform(-0.4, 0.4) * wide, at[1] + dice.uniform(-0.05, 0.03)), 0.026, shade(colour, -0.05)
            )
            for _ in range(3)
        ]
    return []


def _snow(part: Part, wide: float) -> Part:
    x0, y0, x1, y1, r0, r1 = part.numbers
    if (x0, y0) == (x1, y1):
        return capsule((x0 - 0.5 * r0, y0 + 0.72 * r0), (x0 + 0.5 * r0, y0 + 0.72 * r0), 0.3 * r0, 0.3 * r0, SNOW)
    return capsule((x0, y0 + 0.8 * r0), (0.4 * x0 + 0.6 * x1, 0.4 * y0 + 0.6 * y1 + r1), 0.4 * r0, 0.5 * r1, SNOW)
