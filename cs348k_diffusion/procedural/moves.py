"""The slide's rules, each a move from one tree to another, with its inverse.

modifyParams, addLeaf, removeLeaf, splitBranch, removeBranch, addAnywhere, and mergeBranch, which the slide lacks:
without it nothing undoes a split. A move is a `Proposal`: an edit and what Green's acceptance rule needs to know,

  log alpha = log pi(s') - log pi(s) + log q(s' -> s) - log q(s -> s') + log |d(theta', u') / d(theta, u)|,

where q counts the choice of the place and the densities of the random numbers u that the move has drawn.
`apply` carries an edit out as a whole or not at all; `undo` takes it back exactly.
Source: Green 1995, Biometrika 82(4); Talton et al. 2011, ACM TOG 30(2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from cs348k_diffusion.procedural.grammar import NORMAL, Grammar
from cs348k_diffusion.procedural.tree import GROUND, Branch, Leaf, Part, Tree

SPREAD = 0.3  # standard deviation of v, half the bend that a split makes
SHARE = 0.15  # step of modify_params as a share of a parameter's range


# ---- edits: apply and undo ------------------------------------------------------------------------------------------


class Edit(NamedTuple):
    """What changes: the parts before and after, by id; None means that there is no such part."""

    before: Mapping[int, Part | None]
    after: Mapping[int, Part | None]


def apply(tree: Tree, edit: Edit) -> Tree:
    """The tree after the edit, all of it or none; the old tree is left as it was.

    Raises ValueError when the tree is not the one the edit was made for, or an id would be used a second time.
    """
    born = _swap(tree, edit.before, edit.after)
    if any(i < tree.next_id for i in born):
        raise ValueError(f"ids {sorted(born)} were used before: new parts take ids from {tree.next_id} on")
    return Tree(_edited(tree.parts, edit.after), max(born, default=tree.next_id - 1) + 1)


def undo(tree: Tree, edit: Edit) -> Tree:
    """The tree before the edit: undo(apply(tree, edit), edit) == tree, ids included.

    Raises ValueError when the edit is not what made this tree.
    """
    _swap(tree, edit.after, edit.before)
    born = [i for i, part in edit.before.items() if part is None]
    return Tree(_edited(tree.parts, edit.before), min(born, default=tree.next_id))


def _swap(tree: Tree, old: Mapping[int, Part | None], new: Mapping[int, Part | None]) -> list[int]:
    for i, part in old.items():
        if tree.parts.get(i) != part:
            raise ValueError(f"part {i} is {tree.parts.get(i)}, the edit expects {part}: it belongs to another tree")
    return [i for i in new if old[i] is None]


def _edited(parts: Mapping[int, Part], changes: Mapping[int, Part | None]) -> dict[int, Part]:
    return {i: part for i, part in {**parts, **changes}.items() if part is not None}


class Proposal(NamedTuple):
    """A move that may be made: the tree it leads to and the terms of its acceptance.

    log_forward and log_reverse are the log densities of drawing this move, and of drawing its inverse from the new
    tree, given the rule; `back` is that inverse: the name of the rule and its arguments.
    """

    rule: str
    edit: Edit
    tree: Tree
    log_forward: float
    log_reverse: float
    log_jacobian: float
    back: tuple[str, tuple]

    def log_ratio(self, rates: Mapping[str, float]) -> float:
        """log of (chance of the inverse x |Jacobian|) / chance of the move; rates are those of the rules."""
        there, back = rates.get(self.rule, 0.0), rates.get(self.back[0], 0.0)
        if not back:
            return -math.inf
        return math.log(back / there) + self.log_reverse - self.log_forward + self.log_jacobian


# ---- the rules -------------------------------------------------------------------------------------------------------


def modify_params(tree: Tree, grammar: Grammar, part: int, steps: Sequence[float]) -> Proposal:
    """modifyParams of existing: add `steps` to the parameters of one part, in the coordinate of the constraint.

    q is symmetric; J = prod_k theta_k'(x_k + step_k) / theta_k'(x_k), which is 1 unless the constraint is a bijection.
    """
    old = tree.parts[part]
    values, log_jacobian = _walk(old, steps, grammar)
    edit = Edit({part: old}, {part: type(old)(old.parent, *values)})
    back = ("modify_params", (part, [-step for step in steps]))
    return Proposal("modify_params", edit, apply(tree, edit), 0.0, 0.0, log_jacobian, back)


def _walk(part: Part, steps: Sequence[float], grammar: Grammar) -> tuple[list[float], float]:
    constraint = grammar.constraint
    if constraint.plain:  # plain addition, spared the tensors
        return [value + step for value, step in zip(part[1:], steps, strict=True)], 0.0
    low, high = torch.tensor(grammar.ranges(part), dtype=torch.float64).T
    x = constraint.free(torch.tensor(part[1:], dtype=torch.float64), low, high)
    new = x + torch.tensor(steps, dtype=torch.float64)
    growth = constraint.log_jacobian(new, low, high) - constraint.log_jacobian(x, low, high)
    return constraint.bound(new, low, high).tolist(), float(growth.sum())


def add_leaf(tree: Tree, grammar: Grammar, branch: int, radius: float) -> Proposal:
    """addLeaf: a leaf on a branch that has none. q = p(radius) / (number of bare branches); J = 1."""
    edit = Edit({tree.next_id: None}, {tree.next_id: Leaf(branch, radius)})
    new = apply(tree, edit)
    log_forward = grammar.log_leaf - math.log(len(_bare(tree)))
    return Proposal("add_leaf", edit, new, log_forward, -math.log(len(new.leaf)), 0.0, ("remove_leaf", (tree.next_id,)))


def remove_leaf(tree: Tree, grammar: Grammar, leaf: int) -> Proposal:
    """removeLeaf: any leaf. q = 1 / (number of leaves); J = 1."""
    old = tree.parts[leaf]
    edit = Edit({leaf: old}, {leaf: None})
    new = apply(tree, edit)
    log_reverse = grammar.log_leaf - math.log(len(_bare(new)))
    return Proposal("remove_leaf", edit, new, -math.log(len(tree.leaf)), log_reverse, 0.0, ("add_leaf", tuple(old)))


def add_anywhere(
    tree: Tree, grammar: Grammar, site: int, length: float, angle: float, radius: float | None = None
) -> Proposal:
    """addAnywhere: a branch, with or without a leaf, from the ground or from any tip.

    q = p(length) p(angle) p(leaf or none) / (number of branches + 1); J = 1. Undone by removeBranch of a last branch.
    """
    new_branch, new_leaf = tree.next_id, tree.next_id + 1
    born: dict[int, Part | None] = {new_branch: Branch(site, length, angle)}
    if radius is not None:
        born[new_leaf] = Leaf(new_branch, radius)
    edit = Edit(dict.fromkeys(born), born)
    new = apply(tree, edit)
    log_forward = _log_grow(grammar, length, angle, radius) - math.log(len(tree.branches))
    return Proposal(
        "add_anywhere", edit, new, log_forward, -math.log(len(_last(new))), 0.0, ("remove_branch", (new_branch,))
    )


def remove_branch(tree: Tree, grammar: Grammar, branch: int) -> Proposal:
    """removeBranch: a branch that carries no other branch, with its leaf. q = 1 / (number of such); J = 1.

    Removing a branch in the middle would remove a subtree, and no single move of the slide brings that back.
    """
    parent, length, angle = tree.branch(branch)
    gone = {branch: tree.parts[branch]}
    radius = None
    if branch in tree.leaf:
        gone[tree.leaf[branch]] = tree.parts[tree.leaf[branch]]
        radius = tree.parts[tree.leaf[branch]][1]
    edit = Edit(gone, dict.fromkeys(gone))
    new = apply(tree, edit)
    log_reverse = _log_grow(grammar, length, angle, radius) - math.log(len(new.branches))
    return Proposal(
        "remove_branch", edit, new, -math.log(len(_last(tree))), log_reverse, 0.0,
        ("add_anywhere", (parent, length, angle, radius)),
    )  # fmt: skip


def split_branch(tree: Tree, grammar: Grammar, branch: int, u: float, v: float) -> Proposal:
    """splitBranch: (l, a) -> (u l, a - v) and, on its tip, ((1 - u) l, a + v), which takes over what it carried.

    u ~ U(0, 1), v ~ N(0, SPREAD^2); the second angle is stored from the first's direction, 2 v.
    q = N(v) / (number of branches); J = |d(l1, a1, l2, a2) / d(l, a, u, v)| = |2 l|.
    """
    parent, length, angle = tree.branch(branch)
    second = tree.next_id
    carried = [*tree.branches[branch], *([tree.leaf[branch]] if branch in tree.leaf else [])]
    before = {branch: tree.parts[branch], second: None, **{i: tree.parts[i] for i in carried}}
    after: dict[int, Part | None] = {
        branch: Branch(parent, u * length, angle - v),
        second: Branch(branch, (1 - u) * length, 2 * v),
    }
    after.update((i, tree.parts[i]._replace(parent=second)) for i in carried)
    edit = Edit(before, after)
    new = apply(tree, edit)
    log_forward = _log_bend(v) - math.log(len(tree.branches) - 1)
    return Proposal(
        "split_branch", edit, new, log_forward, -math.log(len(_first_halves(new))), math.log(2 * abs(length)),
        ("merge_branch", (branch,)),
    )  # fmt: skip


def merge_branch(tree: Tree, grammar: Grammar, branch: int) -> Proposal:
    """mergeBranch, the inverse of splitBranch that the slide lacks: a branch and the one branch on it become one.

    Only where the first carries nothing else. q = 1 / (number of such pairs); J = 1 / |2 l| with l the new length.
    """
    parent, l1, a1 = tree.branch(branch)
    (second,) = tree.branches[branch]
    _, l2, a2 = tree.branch(second)
    length, v = l1 + l2, a2 / 2
    carried = [*tree.branches[second], *([tree.leaf[second]] if second in tree.leaf else [])]
    before = {branch: tree.parts[branch], second: tree.parts[second], **{i: tree.parts[i] for i in carried}}
    after: dict[int, Part | None] = {branch: Branch(parent, length, a1 + v), second: None}
    after.update((i, tree.parts[i]._replace(parent=branch)) for i in carried)
    edit = Edit(before, after)
    new = apply(tree, edit)
    log_reverse = _log_bend(v) - math.log(len(new.branches) - 1)
    return Proposal(
        "merge_branch", edit, new, -math.log(len(_first_halves(tree))), log_reverse, -math.log(2 * abs(length)),
        ("split_branch", (branch, l1 / length, v)),
    )  # fmt: skip


def _bare(tree: Tree) -> list[int]:
    return [i for i in tree.branches if i != GROUND and i not in tree.leaf]


def _last(tree: Tree) -> list[int]:
    return [i for i, carried in tree.branches.items() if i != GROUND and not carried]


def _first_halves(tree: Tree) -> list[int]:
    return [i for i, carried in tree.branches.items() if i != GROUND and len(carried) == 1 and i not in tree.leaf]


def _log_grow(grammar: Grammar, length: float, angle: float, radius: float | None) -> float:
    leaf = math.log1p(-grammar.leafy) if radius is None else math.log(grammar.leafy) + grammar.log_leaf
    return grammar.log_branch(length, angle) + leaf


def _log_bend(v: float) -> float:
    return -0.5 * (v / SPREAD) ** 2 - math.log(SPREAD * math.sqrt(2 * math.pi))


# ---- drawing a move at random ---------------------------------------------------------------------------------------

Rng = np.random.Generator


def _pick(ids: Sequence[int], rng: Rng) -> int:
    return ids[int(rng.random() * len(ids))]


def _normal(rng: Rng) -> float:
    return NORMAL.inv_cdf(1 - rng.random() or 0.5)


def _draw_modify(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    if not tree.parts:
        return None
    part = _pick(tree.order, rng)
    width = grammar.constraint.width
    return part, [SHARE * width(low, high) * _normal(rng) for low, high in grammar.ranges(tree.parts[part])]


def _draw_add_leaf(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    bare = _bare(tree)
    return (_pick(bare, rng), grammar.draw_leaf(rng)) if bare else None


def _draw_remove_leaf(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    return (_pick(list(tree.leaf.values()), rng),) if tree.leaf else None


def _draw_add_anywhere(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    radius = grammar.draw_leaf(rng) if rng.random() < grammar.leafy else None
    return _pick(list(tree.branches), rng), *grammar.draw_branch(rng), radius


def _draw_remove_branch(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    last = _last(tree)
    return (_pick(last, rng),) if last else None


def _draw_split(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    branches = list(tree.branches)[1:]
    return (_pick(branches, rng), rng.random(), SPREAD * _normal(rng)) if branches else None


def _draw_merge(tree: Tree, grammar: Grammar, rng: Rng) -> tuple | None:
    halves = _first_halves(tree)
    return (_pick(halves, rng),) if halves else None


class Rule(NamedTuple):
    """A rule in two halves: what is drawn at random, and the move that follows from it."""

    draw: Callable[[Tree, Grammar, Rng], tuple | None]
    move: Callable[..., Proposal]


RULES = {
    "modify_params": Rule(_draw_modify, modify_params),
    "add_leaf": Rule(_draw_add_leaf, add_leaf),
    "remove_leaf": Rule(_draw_remove_leaf, remove_leaf),
    "split_branch": Rule(_draw_split, split_branch),
    "merge_branch": Rule(_draw_merge, merge_branch),
    "remove_branch": Rule(_draw_remove_branch, remove_branch),
    "add_anywhere": Rule(_draw_add_anywhere, add_anywhere),
}


def propose(rule: str, tree: Tree, grammar: Grammar, rng: Rng) -> Proposal | None:
    """A random move by this rule, or None where the rule finds nothing to do (a leaf to remove in a bare tree).

    Raises ValueError for an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r}; the rules are {', '.join(RULES)}")
    drawn = RULES[rule].draw(tree, grammar, rng)
    return None if drawn is None else RULES[rule].move(tree, grammar, *drawn)
