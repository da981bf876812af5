"""A scene is a tree of branch(length, angle) and leaf(radius), the lecture's two geometric objects.

A branch grows from the tip of its parent (or from the ground) and its angle is measured from the parent's direction,
so turning one branch swings everything it carries. A leaf is a disc around the tip of its branch. Parts have ids that
no other part ever gets: a move, an undo and an optimiser's memory can all say which part they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

GROUND = 0  # the parent of a branch that grows from the ground


class Branch(NamedTuple):
    """A branch of `length`, turned by `angle` radians (counter-clockwise) from the direction of its parent."""

    parent: int
    length: float
    angle: float


class Leaf(NamedTuple):
    """A disc of `radius` around the tip of the branch `parent`."""

    parent: int
    radius: float


Part = Branch | Leaf
Range = tuple[float, float]


@dataclass(frozen=True)
class Tree:
    """Parts by id, never changed in place; `next_id` is the first id that was never used."""

    parts: Mapping[int, Part]
    next_id: int = 1

    def branch(self, i: int) -> Branch:
        """The branch with that id; raises TypeError when the id is a leaf's."""
        part = self.parts[i]
        if not isinstance(part, Branch):
            raise TypeError(f"part {i} is a leaf, and this needs a branch")
        return part

    @cached_property
    def branches(self) -> dict[int, list[int]]:
        """The branches that grow from each branch, and from the ground: {id: ids}."""
        found: dict[int, list[int]] = {GROUND: []}
        found.update((i, []) for i, part in self.parts.items() if isinstance(part, Branch))
        for i, part in self.parts.items():
            if isinstance(part, Branch):
                found[part.parent].append(i)
        return found

    @cached_property
    def leaf(self) -> dict[int, int]:
        """The leaf of each branch that has one: {id of the branch: id of the leaf}."""
        return {part.parent: i for i, part in self.parts.items() if isinstance(part, Leaf)}

    @cached_property
    def order(self) -> list[int]:
        """All ids: branches, then leaves (which are painted over them), the elder first."""
        return sorted(self.parts, key=lambda i: (isinstance(self.parts[i], Leaf), i))


EMPTY = Tree({})


# ---- trees as vectors ------------------------------------------------------------------------------------------------


def flatten(tree: Tree, dtype: torch.dtype = torch.float64) -> Float[Tensor, " numbers"]:
    """All parameters as one vector, part by part in `tree.order`: length and angle, or radius."""
    return torch.tensor([value for i in tree.order for value in tree.parts[i][1:]], dtype=dtype)


def unflatten(tree: Tree, vector: Float[Tensor, " numbers"] | Sequence[float]) -> Tree:
    """The same tree with the parameters in `vector`; raises ValueError when their number is wrong."""
    values = vector.tolist() if isinstance(vector, Tensor) else list(vector)
    needed = sum(len(part) - 1 for part in tree.parts.values())
    if len(values) != needed:
        raise ValueError(f"this tree has {needed} parameters, got {len(values)}: flatten it to see their order")
    rest = iter(values)
    new = {i: type(tree.parts[i])(tree.parts[i].parent, *(next(rest) for _ in tree.parts[i][1:])) for i in tree.order}
    return Tree({i: new[i] for i in tree.parts}, tree.next_id)
