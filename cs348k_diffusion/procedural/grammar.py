"""Which trees may grow, and how likely each is: the slide's constraints, a prior over trees, and trees as JSON.

The prior is also a recipe for growing a tree: every branch carries Poisson(branches) further branches and, with
probability `leafy`, a leaf. Because it is known in closed form, a sampler that walks over trees can be tested against
it. `validate` says which part of a tree breaks which rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cs348k_diffusion.procedural.tree import GROUND, Branch, Leaf, Part, Range, Tree

NORMAL = NormalDist()

# ---- constraints four ways -------------------------------------------------------------------------------------------


class Constraint(NamedTuple):
    """How a parameter theta is kept in (low, high): the coordinate x in which we step, and what lies outside.

    free(theta, low, high) -> x;  bound(x, low, high) -> theta;  log_jacobian(x, low, high) = log |d theta / d x|;
    width(low, high) is about the width of the range in x; stiffness weighs the penalty outside, infinite forbids it.
    `plain` says that x is theta itself.
    """

    name: str
    free: Callable[[Tensor, Tensor, Tensor], Tensor]
    bound: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_jacobian: Callable[[Tensor, Tensor, Tensor], Tensor]
    width: Callable[[float, float], float]
    stiffness: float = math.inf
    plain: bool = False


def _same(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return value


def _no_change(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.zeros_like(x)


def _logit(theta: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.logit((theta - low) / (high - low), eps=1e-6)


def _squash(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return low + (high - low) * torch.sigmoid(x)


def _log_squash_slope(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)


def _clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x, low), high)


def _distance(low: float, high: float) -> float:
    return high - low


def _four(low: float, high: float) -> float:
    return 4.0  # the slope of the bijection in the middle of the range is a quarter of the width


REJECT = Constraint("reject", _same, _same, _no_change, _distance, plain=True)
BIJECTION = Constraint("bijection", _logit, _squash, _log_squash_slope, _four)
PENALTY = Constraint("penalty", _same, _same, _no_change, _distance, stiffness=1e3, plain=True)
PROJECTION = Constraint("projection", _same, _clip, _no_change, _distance)  # a clipped step has no inverse
CONSTRAINTS = {constraint.name: constraint for constraint in (REJECT, BIJECTION, PENALTY, PROJECTION)}


# ---- the grammar -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grammar:
    """The rules of growth: how many parts of which kind, the ranges of their parameters, and how these are enforced.

    Branches from the ground ~ Poisson(roots), from each branch ~ Poisson(branches); a leaf with probability leafy.
    length ~ Exponential(mean_length), angle ~ Normal(0, angle_spread^2), each cut to its range; radius ~ Uniform.
    Raises ValueError for ranges that are empty and for growth that would never end (branches >= 1).
    """

    roots: float = 1.0
    branches: float = 0.9
    leafy: float = 0.6
    length: Range = (0.08, 0.8)
    mean_length: float = 0.5
    angle: Range = (-1.2, 1.2)
    angle_spread: float = 0.6
    radius: Range = (0.05, 0.25)
    most: int = 64
    constraint: Constraint = BIJECTION

    def __post_init__(self):
        for name in ("length", "angle", "radius"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"the range of {name} is (low, high) with low < high, got {(low, high)}")
        if min(self.length[0], self.radius[0]) <= 0:
            raise ValueError(f"lengths and radii are positive, got ranges {self.length} and {self.radius}")
        if not (0 < self.branches < 1 and 0 < self.leafy < 1 and self.roots > 0):
            raise ValueError(
                "roots is positive, branches and leafy in (0, 1): from a branch per branch trees grow for ever"
            )

    @cached_property
    def _length_share(self) -> float:
        low, high = self.length
        return math.exp(-low / self.mean_length) - math.exp(-high / self.mean_length)

    @cached_property
    def _angle_shares(self) -> Range:
        low, high = self.angle
        return NORMAL.cdf(low / self.angle_spread), NORMAL.cdf(high / self.angle_spread)

    @cached_property
    def _branch_constant(self) -> float:
        low, high = self._angle_shares
        normal = math.log(self.angle_spread * math.sqrt(2 * math.pi) * (high - low))
        return -math.log(self.mean_length * self._length_share) - normal

    def log_branch(self, length, angle):
        """log p(length) + log p(angle), floats or tensors, without the limits of the ranges."""
        return self._branch_constant - length / self.mean_length - 0.5 * (angle / self.angle_spread) ** 2

    @cached_property
    def log_leaf(self) -> float:
        """log p(radius), the same for every radius in its range."""
        return -math.log(self.radius[1] - self.radius[0])

    def draw_branch(self, rng: np.random.Generator) -> tuple[float, float]:
        """A length and an angle from the prior, by inverting their distribution functions."""
        low, high = self._angle_shares
        beyond = math.exp(-self.length[0] / self.mean_length) - rng.random() * self._length_share
        angle = self.angle_spread * NORMAL.inv_cdf(low + rng.random() * (high - low))
        return -self.mean_length * math.log(beyond), angle

    def draw_leaf(self, rng: np.random.Generator) -> float:
        """A radius from the prior."""
        return self.radius[0] + rng.random() * (self.radius[1] - self.radius[0])

    def ranges(self, part: Part) -> tuple[Range, ...]:
        """The ranges of a part's parameters, in order."""
        return (self.length, self.angle) if isinstance(part, Branch) else (self.radius,)


# ---- the prior -------------------------------------------------------------------------------------------------------


def log_prior(tree: Tree, grammar: Grammar) -> float:
    """log density of the tree under the grammar, over unordered trees.

    sum over sites of k log rate - rate, over branches of log leafy or log(1 - leafy), over parts of log p(values).
    A value outside its range costs stiffness * (excess / width of the range)^2 under the constraint's stiffness.
    Trees of more than `grammar.most` parts have no probability.
    """
    if len(tree.parts) > grammar.most:
        return -math.inf
    leaves, branches = len(tree.leaf), len(tree.branches) - 1
    from_ground = len(tree.branches[GROUND])
    total = from_ground * math.log(grammar.roots) - grammar.roots
    total += (branches - from_ground) * math.log(grammar.branches) - branches * grammar.branches
    total += leaves * (math.log(grammar.leafy) + grammar.log_leaf) + (branches - leaves) * math.log1p(-grammar.leafy)
    for part in tree.parts.values():
        if isinstance(part, Branch):
            total += grammar.log_branch(part[1], part[2])
        for value, (low, high) in zip(part[1:], grammar.ranges(part), strict=True):
            if not low <= value <= high:
                total -= grammar.constraint.stiffness * (max(low - value, value - high) / (high - low)) ** 2
    return total


def sample_tree(grammar: Grammar, rng: np.random.Generator) -> Tree:
    """Grow a tree from the grammar; one that has more than `grammar.most` parts is thrown away and grown anew."""
    while True:
        parts: dict[int, Part] = {}
        sites = [GROUND]
        while sites and len(parts) <= grammar.most:
            site = sites.pop()
            for _ in range(_poisson(grammar.branches if site else grammar.roots, rng)):
                sites.append(len(parts) + 1)
                parts[len(parts) + 1] = Branch(site, *grammar.draw_branch(rng))
            if site and rng.random() < grammar.leafy:
                parts[len(parts) + 1] = Leaf(site, grammar.draw_leaf(rng))
        if len(parts) <= grammar.most:
            return Tree(parts, len(parts) + 1)


def _poisson(rate: float, rng: np.random.Generator) -> int:
    count, left = 0, rng.random() - math.exp(-rate)
    chance = math.exp(-rate)
    while left > 0:
        count += 1
        chance *= rate / count
        left -= chance
    return count


# ---- validation and JSON ---------------------------------------------------------------------------------------------


def validate(tree: Tree, grammar: Grammar | None = None) -> Tree:
    """The tree itself, if it is one; with a grammar, also within the grammar's constraints.

    Raises ValueError that names the part: a missing parent, a leaf that carries something, a cycle, a second leaf on a
    branch, a value that is not finite or outside its range, an id that is taken twice or not positive.
    """
    for i, part in tree.parts.items():
        _check_place(tree, i, part)
        for name, value in zip(part._fields[1:], part[1:], strict=True):
            if not math.isfinite(value):
                raise ValueError(f"part {i}: {name} is {value}, expected a finite number")
            if grammar is not None:
                low, high = getattr(grammar, name)
                if not low <= value <= high:
                    raise ValueError(f"part {i}: {name} is {value:.4g}, the grammar allows {low:.4g} to {high:.4g}")
    leaves = [part.parent for part in tree.parts.values() if isinstance(part, Leaf)]
    for parent in leaves:
        if leaves.count(parent) > 1:
            raise ValueError(f"branch {parent} has {leaves.count(parent)} leaves, at most one is allowed: remove one")
    return tree


def _check_place(tree: Tree, i: int, part: Part) -> None:
    if not GROUND < i < tree.next_id:
        raise ValueError(f"part {i}: ids are whole numbers from 1 to next_id - 1 = {tree.next_id - 1}")
    if isinstance(part, Leaf) and part.parent == GROUND:
        raise ValueError(f"part {i}: a leaf grows on a branch, not from the ground")
    seen, parent = {i}, part.parent
    while parent != GROUND:
        if parent not in tree.parts:
            raise ValueError(
                f"part {i}: its parent {parent} does not exist; a parent is a branch or {GROUND}, the ground"
            )
        if isinstance(tree.parts[parent], Leaf):
            raise ValueError(f"part {i}: its parent {parent} is a leaf, and a leaf carries nothing")
        if parent in seen:
            raise ValueError(f"part {i}: following its parents leads round in a circle through {parent}")
        seen.add(parent)
        parent = tree.parts[parent].parent


def to_json(tree: Tree) -> str:
    """The tree as JSON text, the same text for equal trees."""
    parts = [{"id": i, "kind": type(p).__name__.lower(), **p._asdict()} for i, p in sorted(tree.parts.items())]
    return json.dumps({"next_id": tree.next_id, "parts": parts}, indent=1)


def from_json(text: str) -> Tree:
    """The tree that `to_json` wrote, validated; raises ValueError that says what is wrong with the text."""
    try:
        data = json.loads(text)
        rows = [(int(row["id"]), _part(row)) for row in data["parts"]]
        tree = Tree(dict(rows), int(data["next_id"]))
    except (KeyError, TypeError, ValueError) as error:
        form = '{"next_id": ..., "parts": [{"id": ..., "kind": ..., "parent": ..., ...}]}'
        raise ValueError(f"not a tree: {error}; expected {form}") from error
    if len(tree.parts) != len(rows):
        raise ValueError("not a tree: an id is taken twice")
    return validate(tree)


def _part(row: Mapping) -> Part:
    kinds = {"branch": Branch, "leaf": Leaf}
    if row["kind"] not in kinds:
        raise ValueError(f"kind {row['kind']!r} is none of {sorted(kinds)}")
    kind = kinds[row["kind"]]
    return kind(int(row["parent"]), *(float(row[name]) for name in kind._fields[1:]))
