"""Trees: a prior with closed forms, a vector and back, JSON and back, and the transform hierarchy."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch.testing import assert_close

from cs348k_diffusion.procedural.grammar import (
    CONSTRAINTS,
    PENALTY,
    REJECT,
    Grammar,
    from_json,
    log_prior,
    sample_tree,
    to_json,
    validate,
)
from cs348k_diffusion.procedural.pack import pack, skeleton, unpack
from cs348k_diffusion.procedural.tree import (
    EMPTY,
    GROUND,
    Branch,
    Leaf,
    Tree,
    flatten,
    unflatten,
)

GRAMMAR = Grammar(constraint=REJECT)
SMALL = Grammar(roots=1.2, branches=0.5, leafy=0.4, length=(0.1, 1.5), mean_length=0.4, constraint=REJECT)
trees = st.integers(0, 2**31).map(lambda seed: sample_tree(GRAMMAR, np.random.default_rng(seed)))


def walk(tree, ground):
    """Where each part starts and ends, by following the branches one by one."""
    found = {}

    def place(i, start, heading):
        part = tree.parts[i]
        heading += part.angle
        tip = start[0] - part.length * math.sin(heading), start[1] + part.length * math.cos(heading)
        found[i] = (*start, *tip)
        for j, other in tree.parts.items():
            if other.parent == i:
                if isinstance(other, Leaf):
                    found[j] = (*tip, *tip)
                else:
                    place(j, tip, heading)

    for i, part in tree.parts.items():
        if part.parent == GROUND:
            place(i, ground, 0.0)
    return found


# ---- the prior -------------------------------------------------------------------------------------------------------


def branch_count_chances(grammar, upto):
    """P(number of branches) of a Poisson(roots) number of Galton-Watson families: Consul's generalised Poisson law."""
    m, mu = grammar.roots, grammar.branches
    chances = [m * (m + n * mu) ** (n - 1) * math.exp(-m - n * mu) / math.factorial(n) for n in range(upto)]
    return np.array([*chances, 1 - sum(chances)])


def test_sampled_trees_follow_the_grammar():
    rng = np.random.default_rng(0)
    drawn = [sample_tree(SMALL, rng) for _ in range(3000)]
    counts = np.bincount([min(len(t.branches) - 1, 6) for t in drawn], minlength=7)
    assert stats.chisquare(counts, 3000 * branch_count_chances(SMALL, 6)).pvalue > 1e-3
    branches = [p for t in drawn for p in t.parts.values() if isinstance(p, Branch)]
    radii = [p.radius for t in drawn for p in t.parts.values() if isinstance(p, Leaf)]
    low, high = SMALL.length
    length = stats.truncexpon((high - low) / 0.4, loc=low, scale=0.4)
    angle = stats.truncnorm(-2, 2, scale=SMALL.angle_spread)
    assert stats.kstest([b.length for b in branches], length.cdf).pvalue > 1e-3
    assert stats.kstest([b.angle for b in branches], angle.cdf).pvalue > 1e-3
    assert stats.kstest(radii, stats.uniform(0.05, 0.2).cdf).pvalue > 1e-3
    assert stats.binomtest(len(radii), len(branches), SMALL.leafy).pvalue > 1e-3


def test_the_prior_integrates_to_the_chance_of_each_shape():
    """Over unordered trees: two brothers counted in both orders make twice the chance."""

    def chance(build):
        def density(angle, length):
            return math.exp(log_prior(build(length, angle), SMALL))

        return integrate.dblquad(density, *SMALL.length, *SMALL.angle, epsabs=1e-9)[0]

    m, mu, q = SMALL.roots, SMALL.branches, SMALL.leafy
    one = chance(lambda length, angle: Tree({1: Branch(0, length, angle)}, 2))
    assert_close(one, m * math.exp(-m - mu) * (1 - q))
    fixed = Branch(0, 0.5, 0.2)
    rest = math.exp(SMALL.log_branch(0.5, 0.2))
    brothers = chance(lambda length, angle: Tree({1: fixed, 2: Branch(0, length, angle)}, 3))
    assert_close(brothers / rest / 2, m**2 / 2 * math.exp(-m - 2 * mu) * (1 - q) ** 2)
    son = chance(lambda length, angle: Tree({1: fixed, 2: Branch(1, length, angle)}, 3))
    assert_close(son / rest, m * math.exp(-m) * mu * math.exp(-2 * mu) * (1 - q) ** 2)
    leaf = math.exp(log_prior(Tree({1: fixed, 2: Leaf(1, 0.1)}, 3), SMALL)) * 0.2 / rest
    assert_close(leaf, m * math.exp(-m - mu) * q)


@pytest.mark.parametrize("name", ["length", "angle", "radius"])
@pytest.mark.parametrize("end", [0, 1])
def test_the_walls_stand_where_the_ranges_end(name, end):
    limits = getattr(GRAMMAR, name)
    outwards = limits[end] + (1e-9 if end else -1e-9)
    values = {"length": 0.3, "angle": 0.0, "radius": 0.1}

    def tree(value):
        v = {**values, name: value}
        return Tree({1: Branch(0, v["length"], v["angle"]), 2: Leaf(1, v["radius"])}, 3)

    assert math.isfinite(log_prior(tree(limits[end]), GRAMMAR))
    assert log_prior(tree(outwards), GRAMMAR) == -math.inf
    validate(tree(limits[end]), GRAMMAR)
    with pytest.raises(ValueError, match=rf"part {2 if name == 'radius' else 1}: {name} is .* the grammar allows"):
        validate(tree(outwards), GRAMMAR)
    soft = replace(GRAMMAR, constraint=PENALTY)
    far = limits[end] + (0.1 if end else -0.1) * (limits[1] - limits[0])
    fall = log_prior(tree(limits[end]), soft) - log_prior(tree(far), soft)
    without = SMALL_SLOPE[name](far, limits[end]) if name in SMALL_SLOPE else 0.0
    assert_close(fall - without, PENALTY.stiffness * 0.01)


SMALL_SLOPE = {
    "length": lambda far, near: (far - near) / GRAMMAR.mean_length,
    "angle": lambda far, near: (far**2 - near**2) / 2 / GRAMMAR.angle_spread**2,
}


def test_too_many_parts_have_no_chance():
    tree = Tree({i: Branch(0, 0.3, 0.0) for i in range(1, 6)}, 6)
    assert math.isfinite(log_prior(tree, replace(GRAMMAR, most=5)))
    assert log_prior(tree, replace(GRAMMAR, most=4)) == -math.inf
    rng = np.random.default_rng(1)
    assert max(len(sample_tree(replace(GRAMMAR, most=4), rng).parts) for _ in range(300)) == 4


@pytest.mark.parametrize("wrong", [{"length": (0.5, 0.5)}, {"branches": 1.0}, {"leafy": 0.0}, {"roots": 0.0}])
def test_a_grammar_that_cannot_be_says_so(wrong):
    with pytest.raises(ValueError, match=r"low < high|grow for ever"):
        Grammar(**wrong)


# ---- constraints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_constraints_invert_and_know_their_slope(constraint):
    low, high = torch.tensor(-1.2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    theta = torch.linspace(-1.19, 0.69, 41, dtype=torch.float64)
    x = constraint.free(theta, low, high)
    assert_close(constraint.bound(x, low, high), theta)
    slope = torch.func.vmap(torch.func.grad(lambda x: constraint.bound(x, low, high)))(x)
    assert_close(constraint.log_jacobian(x, low, high), slope.log())


def test_bijection_and_projection_never_leave_the_range():
    low, high = torch.tensor(0.08), torch.tensor(0.8)
    x = torch.linspace(-50, 50, 1001)
    for name in ("bijection", "projection"):
        theta = CONSTRAINTS[name].bound(x, low, high)
        assert bool(((theta >= low) & (theta <= high)).all())


# ---- validation and JSON ---------------------------------------------------------------------------------------------

BROKEN = {
    "its parent 7 does not exist": Tree({1: Branch(7, 0.3, 0.0)}, 2),
    "is a leaf, and a leaf carries nothing": Tree({1: Branch(0, 0.3, 0.0), 2: Leaf(1, 0.1), 3: Branch(2, 0.3, 0.0)}, 4),
    "round in a circle": Tree({1: Branch(2, 0.3, 0.0), 2: Branch(1, 0.3, 0.0)}, 3),
    "branch 1 has 2 leaves": Tree({1: Branch(0, 0.3, 0.0), 2: Leaf(1, 0.1), 3: Leaf(1, 0.1)}, 4),
    "a leaf grows on a branch": Tree({1: Leaf(0, 0.1)}, 2),
    "length is nan": Tree({1: Branch(0, math.nan, 0.0)}, 2),
    "ids are whole numbers from 1 to": Tree({4: Branch(0, 0.3, 0.0)}, 3),
}


@pytest.mark.parametrize("says", BROKEN)
def test_validation_says_what_is_wrong(says):
    with pytest.raises(ValueError, match=says):
        validate(BROKEN[says])


@settings(max_examples=200, deadline=None)
@given(trees)
def test_json_and_back(tree):
    assert from_json(to_json(tree)) == validate(tree, GRAMMAR)
    assert to_json(from_json(to_json(tree))) == to_json(tree)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"parts": []}', '{"next_id": 2, "parts": [{"id": 1, "kind": "root", "parent": 0}]}',
             '{"next_id": 2, "parts": [{"id": 1, "kind": "leaf", "parent": 0}]}', '{"next_id": "x", "parts": []}'],
)  # fmt: skip
def test_text_that_is_no_tree_is_refused(text):
    with pytest.raises(ValueError, match="not a tree"):
        from_json(text)


def test_json_refuses_one_id_for_two_parts():
    data = json.loads(to_json(Tree({1: Branch(0, 0.3, 0.0)}, 2)))
    data["parts"] *= 2
    with pytest.raises(ValueError, match="an id is taken twice"):
        from_json(json.dumps(data))


# ---- vectors and the transform hierarchy -----------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(trees)
def test_flatten_and_back(tree):
    vector = flatten(tree)
    assert unflatten(tree, vector) == tree
    shifted = unflatten(tree, vector + 1)
    assert_close(flatten(shifted), vector + 1)
    assert {i: p.parent for i, p in shifted.parts.items()} == {i: p.parent for i, p in tree.parts.items()}
    with pytest.raises(ValueError, match=f"has {len(vector)} parameters, got {len(vector) + 1}"):
        unflatten(tree, [*vector.tolist(), 0.0])


@settings(max_examples=100, deadline=None)
@given(st.lists(trees, min_size=1, max_size=4))
def test_the_hierarchy_by_matrix_is_the_hierarchy_by_walking(batch):
    forest = pack(batch, GRAMMAR, torch.float64)
    start, tip = skeleton(forest, (0.1, -0.9))
    for b, tree in enumerate(batch):
        truth = walk(tree, (0.1, -0.9))
        rows = [truth[i] for i in tree.order]
        got = torch.cat([start, tip], -1)[b, : len(rows)]
        assert_close(got, torch.tensor(rows, dtype=torch.float64).view(-1, 4))
        assert forest.mask[b].tolist() == [True] * len(rows) + [False] * (forest.mask.shape[1] - len(rows))
    assert unpack(batch, forest.theta) == batch


def test_unpack_in_float32_stays_within_the_walls():
    rng = np.random.default_rng(3)
    batch = [sample_tree(Grammar(), rng) for _ in range(50)]
    forest = pack(batch, Grammar())
    for theta in (forest.low, forest.high):
        for tree in unpack(batch, theta):
            validate(tree, Grammar())


def test_turning_a_branch_swings_all_that_it_carries():
    """The derivative of a tip by an angle below it is its lever arm, turned a quarter: autodiff in the hierarchy."""
    tree = Tree({1: Branch(0, 0.5, 0.3), 2: Branch(1, 0.4, -0.7), 3: Leaf(2, 0.1), 4: Branch(1, 0.3, 0.5)}, 5)
    forest = pack([tree], GRAMMAR, torch.float64)

    def tips(theta):
        return skeleton(forest._replace(theta=theta))[1][0]

    jacobian = torch.func.jacrev(tips)(forest.theta)[:, :, 0]  # part, xy, part, number
    tip, start = tips(forest.theta), skeleton(forest)[0][0]
    leaf, trunk = 3, 0
    x, y = (tip[leaf] - start[trunk]).tolist()
    assert_close(jacobian[leaf, :, trunk, 1], torch.tensor([-y, x], dtype=torch.float64))
    assert_close(jacobian[2, :, 1], torch.zeros(2, 2, dtype=torch.float64))  # the brother does not move
    assert torch.autograd.gradcheck(tips, forest.theta.requires_grad_())


def test_wood_follows_da_vincis_rule():
    fork = {
        1: Branch(0, 0.5, 0),
        2: Branch(1, 0.4, 0),
        3: Branch(1, 0.4, 1),
        4: Branch(3, 0.2, 0),
        5: Branch(3, 0.2, 1),
    }
    tree = Tree(fork, 6)
    girth = pack([tree], GRAMMAR).girth[0]
    assert girth[:, 0].tolist() == [3, 1, 2, 1, 1]  # at the base: twigs carried
    assert girth[[0, 2], 1].tolist() == [2, 1]  # at the tip: the thickest that grows from it


def test_an_empty_tree_is_a_tree():
    assert validate(EMPTY) == EMPTY == from_json(to_json(EMPTY))
    assert_close(log_prior(EMPTY, GRAMMAR), -GRAMMAR.roots)
    assert not pack([EMPTY], GRAMMAR).mask.any()
