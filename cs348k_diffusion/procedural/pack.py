"""Many trees as padded tensors, where the transform hierarchy is one matrix product and autodiff goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.tree import GROUND, Range, Tree, unflatten


class Forest(NamedTuple):
    """Many trees as padded tensors. theta holds (length, angle) of a branch, (radius, 0) of a leaf.

    lineage[b, i, j] is 1 where branch j lies on the way from the ground to part i, itself included; girth is the
    number of twigs above the base and above the tip of a branch (by da Vinci's rule the wood's cross-section).
    """

    theta: Float[Tensor, "batch parts 2"]
    used: Bool[Tensor, "batch parts 2"]
    branch: Bool[Tensor, "batch parts"]
    lineage: Float[Tensor, "batch parts parts"]
    girth: Float[Tensor, "batch parts 2"]
    low: Float[Tensor, "batch parts 2"]
    high: Float[Tensor, "batch parts 2"]

    @property
    def mask(self) -> Bool[Tensor, "batch parts"]:
        """True where there is a part."""
        return self.used[..., 0]


def pack(trees: Sequence[Tree], grammar: Grammar, dtype: torch.dtype = torch.float32) -> Forest:
    """Many trees of different shape as one `Forest`; rows follow `tree.order`, shorter trees are padded."""
    size = max([1, *(len(tree.parts) for tree in trees)])
    lineage = np.zeros((len(trees), size, size))
    rows = np.array([_pack_one(tree, size, lineage[b], grammar) for b, tree in enumerate(trees)])
    theta, used, girth, low, high = np.split(rows, 5, -1)
    theta_, lineage_, girth_, low_, high_ = (torch.tensor(a, dtype=dtype) for a in (theta, lineage, girth, low, high))
    used_ = torch.tensor(used > 0)
    return Forest(theta_, used_, used_[..., 1], lineage_, girth_, low_, high_)


def _pack_one(tree: Tree, size: int, lineage: np.ndarray, grammar: Grammar) -> list[tuple[float, ...]]:
    row = {i: k for k, i in enumerate(tree.order)}
    downwards = _from_the_ground(tree)
    for i in downwards:
        k, parent = row[i], tree.parts[i].parent
        if parent != GROUND:
            lineage[k] = lineage[row[parent]]
        lineage[k, k] = 1
    for b, i in tree.leaf.items():
        lineage[row[i]] = lineage[row[b]]
    twigs: dict[int, float] = {}
    rows = {}
    (l0, l1), (a0, a1), (r0, r1) = (_inside(limits) for limits in (grammar.length, grammar.angle, grammar.radius))
    for i in reversed(downwards):
        carried = [twigs[c] for c in tree.branches[i]]
        twigs[i] = sum(carried) or 1
        _, length, angle = tree.branch(i)
        rows[i] = (length, angle, 1, 1, twigs[i], max(carried, default=0.25), l0, a0, l1, a1)
    for i in tree.leaf.values():
        rows[i] = (tree.parts[i][1], 0, 1, 0, 1, 1, r0, -1, r1, 1)
    return [rows[i] for i in tree.order] + [(0, 0, 0, 0, 1, 1, -1, -1, 1, 1)] * (size - len(rows))


def _inside(limits: Range) -> Range:
    room = 1e-6 * (limits[1] - limits[0])  # float32 must not round a value at the end of its range to one outside
    return limits[0] + room, limits[1] - room


def _from_the_ground(tree: Tree) -> list[int]:
    found = list(tree.branches[GROUND])
    for i in found:  # grows while we walk it: parents before children
        found.extend(tree.branches[i])
    return found


def unpack(trees: Sequence[Tree], theta: Float[Tensor, "batch parts 2"]) -> list[Tree]:
    """The same trees with the parameters in theta, rows as in `pack`."""
    new = []
    for tree, rows in zip(trees, theta.tolist(), strict=True):
        values = [value for i, row in zip(tree.order, rows, strict=False) for value in row[: len(tree.parts[i]) - 1]]
        new.append(unflatten(tree, values))
    return new


def skeleton(
    forest: Forest, ground: Float[Tensor, " xy"] | Sequence[float] = (0.0, -0.95)
) -> tuple[Float[Tensor, "batch parts 2"], Float[Tensor, "batch parts 2"]]:
    """Where each part starts and ends in world coordinates (a leaf starts and ends at its centre).

    heading_i = sum_j lineage_ij angle_j from straight up; tip_i = ground + sum_j lineage_ij length_j up_j, where
    up = (-sin heading, cos heading).
    """
    branch = forest.branch.to(forest.theta.dtype)
    length, angle = forest.theta[..., 0] * branch, forest.theta[..., 1] * branch
    heading = (forest.lineage @ angle[..., None]).squeeze(-1)
    along = length[..., None] * torch.stack([-heading.sin(), heading.cos()], -1)
    tip = torch.as_tensor(ground, dtype=along.dtype, device=along.device) + forest.lineage @ along
    return tip - along, tip
