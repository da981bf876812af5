"""What a tree is fitted to: an image to look like, an outline to have, a region to fill; and where fits start."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.noise import KeyedRandom
from cs348k_diffusion.procedural.grammar import Grammar, sample_tree
from cs348k_diffusion.procedural.pack import pack, skeleton
from cs348k_diffusion.procedural.render import Picture
from cs348k_diffusion.procedural.tree import GROUND, Branch, Leaf, Part, Tree


class Target(NamedTuple):
    """What to approximate: the energy of each picture of a batch, and the size at which they are drawn."""

    energy: Callable[[Picture], Float[Tensor, " batch"]]
    size: tuple[int, int]


def image_target(image: Float[Tensor, "*shape height width"]) -> Target:
    """Look like this image: the mean squared difference, images in [-1, 1]; a batch gives each chain its own image."""
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise ValueError(f"an image is (3, height, width), or a batch of such; got shape {tuple(image.shape)}")
    return Target(lambda picture: ((picture.image - image) ** 2).mean((1, 2, 3)), _size(image))


def silhouette_target(mask: Float[Tensor, "*batch height width"]) -> Target:
    """Have this outline: the mean squared difference of coverage and mask, both in [0, 1], whatever the colours."""
    return Target(lambda picture: ((picture.alpha - mask) ** 2).mean((1, 2)), _size(mask))


def region_target(mask: Float[Tensor, "*batch height width"], spill: float = 0.25) -> Target:
    """Fill this region: what is left empty inside counts fully, what sticks out counts `spill` times."""

    def energy(picture: Picture) -> Tensor:
        return (mask * (1 - picture.alpha) ** 2 + spill * (1 - mask) * picture.alpha**2).mean((1, 2))

    return Target(energy, _size(mask))


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def fixed_trees(count: int = 12, seed: int = 348) -> list[Tree]:
    """Trees from the grammar that make fair targets: 8 to 20 parts, three leaves or more, tall, inside the picture."""
    grammar, found, tries = Grammar(), [], 0
    while len(found) < count:
        tree = sample_tree(grammar, KeyedRandom(seed, tries).at(0))
        tries += 1
        if 8 <= len(tree.parts) <= 20 and len(tree.leaf) >= 3:
            tips = skeleton(pack([tree], grammar))[1]
            if float(tips.abs().max()) < 0.9 and float(tips[..., 1].max()) > 0.1:
                found.append(tree)
    return found


def sapling() -> Tree:
    """Where the fits start: a trunk with one leaf."""
    return Tree({1: Branch(GROUND, 0.5, 0.0), 2: Leaf(1, 0.15)}, 3)


def bush(depth: int = 4) -> Tree:
    """More parts than needed, to be pruned: every branch forks in two, `depth` deep, with a leaf on each; 30 parts."""
    parts: dict[int, Part] = {}
    tips = [(GROUND, 0.0)]
    for level in range(depth):
        grown = []
        for parent, angle in tips:
            branch = len(parts) + 1
            parts[branch], parts[branch + 1] = Branch(parent, 0.45 * 0.8**level, angle), Leaf(branch, 0.1)
            grown += [(branch, -0.45), (branch, 0.45)]
        tips = grown
    return Tree(parts, len(parts) + 1)
