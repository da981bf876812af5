"""Moves: each has its inverse, the right Jacobian and an undo; constraints hold them four ways."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.testing import assert_close

from cs348k_diffusion.procedural import moves
from cs348k_diffusion.procedural.grammar import (
    BIJECTION,
    CONSTRAINTS,
    PENALTY,
    PROJECTION,
    REJECT,
    Grammar,
    log_prior,
    sample_tree,
    validate,
)
from cs348k_diffusion.procedural.moves import RULES, SHARE, SPREAD, Edit, apply, propose, undo
from cs348k_diffusion.procedural.tree import (
    EMPTY,
    Branch,
    Leaf,
    Tree,
    flatten,
    unflatten,
)

GRAMMAR = Grammar(roots=1.5, branches=0.7, constraint=REJECT)
RATES = {"modify_params": 0.3, "add_leaf": 0.11, "remove_leaf": 0.07, "add_anywhere": 0.2, "remove_branch": 0.12}
RATES |= {"split_branch": 0.15, "merge_branch": 0.05}
INVERSE = {"modify_params": "modify_params", "add_leaf": "remove_leaf", "add_anywhere": "remove_branch"}
INVERSE |= {"split_branch": "merge_branch"} | {back: there for there, back in INVERSE.items()}
INVERSE |= {"merge_branch": "split_branch"}
seeds = st.integers(0, 2**31)


def random_move(rule, seed, grammar=GRAMMAR):
    """A random tree and a random move of the rule on it; trees without such a move are drawn again."""
    rng = np.random.default_rng(seed)
    while True:
        tree = sample_tree(grammar, rng)
        move = propose(rule, tree, grammar, rng)
        if move is not None:
            return tree, move


def same_but_for_names(a, b):
    """Equal trees up to ids and rounding: the same nested, sorted description."""

    def describe(tree, site):
        leaf = tree.parts[tree.leaf[site]].radius if site in tree.leaf else 0.0
        inside = sorted((tree.parts[i][1:], describe(tree, i)) for i in tree.branches[site])
        return leaf, inside

    def numbers(nest):
        return [x for item in nest for x in numbers(item)] if isinstance(nest, (tuple, list)) else [nest]

    first, second = describe(a, 0), describe(b, 0)
    assert str(first).count("(") == str(second).count("(")
    assert_close(numbers(first), numbers(second), rtol=0, atol=1e-12)


# ---- inverses --------------------------------------------------------------------------------------------------------


def test_the_slides_rules_are_all_there_and_closed_under_inverse():
    slide = "modifyParams addLeaf removeLeaf splitBranch removeBranch addAnywhere".split()
    words = {rule.title().replace("_", ""): rule for rule in RULES}
    assert {word[0].upper() + word[1:] for word in slide} | {"MergeBranch"} == set(words)
    for rule, (_, move) in RULES.items():
        word = rule.split("_")[0] + rule.split("_")[1].capitalize()
        assert move.__doc__.startswith(word)
        assert random_move(rule, 1)[1].back[0] == INVERSE[rule]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_there_and_back_again(rule, seed):
    """log-ratio(s -> s') + log-ratio(s' -> s) = 0, and the inverse leads to where the move came from."""
    for constraint in (REJECT, BIJECTION):
        grammar = replace(GRAMMAR, constraint=constraint)
        tree, move = random_move(rule, seed, grammar)
        name, arguments = move.back
        home = RULES[name].move(move.tree, grammar, *arguments)
        assert abs(move.log_ratio(RATES) + home.log_ratio(RATES)) < 1e-10
        assert abs(move.log_forward - home.log_reverse) < 1e-10
        same_but_for_names(home.tree, tree)
        validate(move.tree)


@pytest.mark.parametrize("rule", RULES)
def test_proposals_are_drawn_as_their_densities_say(rule):
    """Places uniform among those there are, and numbers from the prior: counted on one fixed tree."""
    tree = Tree({1: Branch(0, 0.5, 0), 2: Branch(1, 0.4, 0), 3: Leaf(2, 0.1), 4: Branch(0, 0.3, 0), 5: Leaf(4, 0.2),
                 6: Branch(4, 0.3, 0)}, 7)  # fmt: skip
    places = {"modify_params": [1, 2, 3, 4, 5, 6], "add_leaf": [1, 6], "remove_leaf": [3, 5]}
    places |= {
        "add_anywhere": [0, 1, 2, 4, 6],
        "remove_branch": [2, 6],
        "split_branch": [1, 2, 4, 6],
        "merge_branch": [1],
    }
    rng = np.random.default_rng(5)
    drawn = [RULES[rule].draw(tree, GRAMMAR, rng) for _ in range(2000)]
    counts = [sum(d[0] == place for d in drawn) for place in places[rule]]
    assert sum(counts) == 2000
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-3
    chance = {"modify_params": 0.0, "add_leaf": -math.log(2 * 0.2), "add_anywhere": None, "split_branch": None}
    move = RULES[rule].move(tree, GRAMMAR, *drawn[0])
    if rule == "add_anywhere":
        branch = move.tree.parts[7]
        truth = math.log(0.6 / 0.2) if 8 in move.tree.parts else math.log(0.4)
        chance[rule] = truth + GRAMMAR.log_branch(branch.length, branch.angle) - math.log(5)
    if rule == "split_branch":
        assert stats.kstest([d[1] for d in drawn], "uniform").pvalue > 1e-3
        assert stats.kstest([d[2] / SPREAD for d in drawn], "norm").pvalue > 1e-3
        chance[rule] = stats.norm.logpdf(drawn[0][2], scale=SPREAD) - math.log(4)
    assert_close(move.log_forward, float(chance.get(rule, -math.log(len(places[rule])))))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_with_nothing_to_do_proposes_nothing(rule):
    move = propose(rule, EMPTY, GRAMMAR, np.random.default_rng(0))
    assert (move is None) == (rule != "add_anywhere")


def test_an_unknown_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="no rule 'pruneTree'; the rules are modify_params, add_leaf"):
        propose("pruneTree", EMPTY, GRAMMAR, np.random.default_rng(0))


def test_a_move_without_a_way_back_is_never_accepted():
    _, move = random_move("split_branch", 3)
    slide_only = {rule: rate for rule, rate in RATES.items() if rule != "merge_branch"}
    assert move.log_ratio(slide_only) == -math.inf


# ---- Jacobians -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_jacobian_of_a_split_is_autograds(seed):
    """The map (l, a, u, v) -> (l1, a1, l2, a2), with a2 from a1's direction: |det| = 2 l."""
    tree, move = random_move("split_branch", seed)
    branch, u, v = move.back[1][0], *RULES["merge_branch"].move(move.tree, GRAMMAR, *move.back[1]).back[1][1:]
    _, length, angle = tree.parts[branch]

    def split(z):
        l, a, u, v = z
        return torch.stack([u * l, a - v, (1 - u) * l, (a + v) - (a - v)])

    z = torch.tensor([length, angle, u, v], dtype=torch.float64)
    jacobian = torch.func.jacrev(split)(z)
    made = [*move.tree.parts[branch][1:], *move.tree.parts[tree.next_id][1:]]
    assert_close(split(z), torch.tensor(made, dtype=torch.float64))
    assert_close(move.log_jacobian, float(jacobian.det().abs().log()))
    assert_close(move.log_jacobian, math.log(2 * length))


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("seed", range(5))
def test_the_jacobian_of_a_step_is_autograds(name, seed):
    """theta -> theta' with the step in x held fixed."""
    grammar = replace(GRAMMAR, constraint=CONSTRAINTS[name])
    tree, move = random_move("modify_params", seed, grammar)
    part, steps = move.back[1]
    old, ranges = tree.parts[part], torch.tensor(grammar.ranges(tree.parts[part]), dtype=torch.float64).T
    step, constraint = -torch.tensor(steps, dtype=torch.float64), grammar.constraint

    def walked(theta):
        return constraint.bound(constraint.free(theta, *ranges) + step, *ranges)

    theta = torch.tensor(old[1:], dtype=torch.float64)
    assert_close(torch.tensor(move.tree.parts[part][1:], dtype=torch.float64), walked(theta))
    if name != "projection":  # a clipped step is no bijection
        slope = torch.func.jacrev(walked)(theta)
        assert_close(move.log_jacobian, float(slope.det().abs().log()))


# ---- apply and undo --------------------------------------------------------------------------------------------------


@settings(max_examples=2000, deadline=None)
@given(seeds, st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=12))
def test_apply_and_undo_is_nothing(seed, rules):
    """Any sequence of moves, undone in reverse, leaves the very same tree, ids and all; so does each on its own."""
    rng = np.random.default_rng(seed)
    tree = start = sample_tree(GRAMMAR, rng)
    done = []
    for rule in rules:
        move = propose(rule, tree, GRAMMAR, rng)
        if move is not None:
            assert apply(tree, move.edit) == move.tree
            assert undo(move.tree, move.edit) == tree
            assert move.tree.next_id >= tree.next_id  # no id is given twice
            done.append(move.edit)
            tree = move.tree
    validate(tree)
    for edit in reversed(done):
        tree = undo(tree, edit)
    assert tree == start


def test_an_edit_is_all_or_nothing():
    tree = Tree({1: Branch(0, 0.5, 0.0), 2: Leaf(1, 0.1)}, 3)
    edit = Edit({1: Branch(0, 0.5, 0.0), 2: Leaf(1, 0.2)}, {1: None, 2: None})
    before = dict(tree.parts)
    with pytest.raises(ValueError, match=r"part 2 is .*radius=0\.1.* belongs to another tree"):
        apply(tree, edit)
    assert tree.parts == before
    with pytest.raises(ValueError, match="belongs to another tree"):
        undo(tree, Edit({3: None}, {3: Leaf(1, 0.1)}))
    with pytest.raises(ValueError, match=r"ids \[1\] were used before: new parts take ids from 3 on"):
        apply(Tree({2: Branch(0, 0.5, 0.0)}, 3), Edit({1: None}, {1: Leaf(2, 0.1)}))


def test_moves_keep_the_shape_they_promise():
    """A split bends the branch and carries its load to the second half; a merge takes the same two halves back."""
    tree = Tree({1: Branch(0, 0.6, 0.1), 2: Leaf(1, 0.1), 3: Branch(1, 0.2, 0.3)}, 4)
    split = moves.split_branch(tree, GRAMMAR, 1, 0.25, 0.2).tree
    assert_close(list(split.parts[1]), [0, 0.15, -0.1])
    assert_close(list(split.parts[4]), [1, 0.45, 0.4])
    assert split.parts[2].parent == split.parts[3].parent == 4
    assert flatten(unflatten(split, flatten(split))).tolist() == flatten(split).tolist()
    same_but_for_names(moves.merge_branch(split, GRAMMAR, 1).tree, tree)


# ---- constraints four ways -------------------------------------------------------------------------------------------


def walk(constraint, steps=300, counted=True):
    """5000 independent walkers over one length under the prior, all from the middle: where they end, and when outside.

    The step is symmetric in the constraint's coordinate x, where the density is p(theta) |d theta / d x|.
    """
    generator = torch.Generator().manual_seed(6)
    low, high = torch.tensor(GRAMMAR.length, dtype=torch.float64)

    def log_p(x):
        theta = constraint.bound(x, low, high)
        excess = torch.relu(torch.maximum(low - theta, theta - high)) / (high - low)
        wall = torch.where(excess > 0, -constraint.stiffness * excess**2, 0.0)
        return GRAMMAR.log_branch(theta, 0.0) + wall + counted * constraint.log_jacobian(x, low, high)

    x = constraint.free(torch.full((5000,), 0.44, dtype=torch.float64), low, high)
    reach = 0.3 * constraint.width(*GRAMMAR.length)
    for _ in range(steps):
        new = x + reach * torch.randn(5000, generator=generator, dtype=torch.float64)
        if constraint is PROJECTION:
            new = constraint.bound(new, low, high)
        accept = torch.rand(5000, generator=generator).log() < log_p(new) - log_p(x)
        x = torch.where(accept, new, x)
    theta = constraint.bound(x, low, high)
    return theta.numpy(), float(((theta < low) | (theta > high)).double().mean())


LENGTH = stats.truncexpon((GRAMMAR.length[1] - GRAMMAR.length[0]) / 0.5, loc=GRAMMAR.length[0], scale=0.5)


def test_rejection_and_bijection_walk_over_the_prior():
    for constraint in (REJECT, BIJECTION):
        lengths, outside = walk(constraint)
        assert stats.kstest(lengths, LENGTH.cdf).pvalue > 1e-3
        assert outside == 0


def test_projection_and_a_bijection_without_its_jacobian_do_not():
    for lengths, outside in (walk(PROJECTION), walk(BIJECTION, counted=False)):
        assert stats.kstest(lengths, LENGTH.cdf).pvalue < 1e-9
        assert outside == 0


def test_a_penalty_lets_a_few_out():
    """Outside, the density falls like exp(-stiffness excess^2): at each end a layer of sqrt(pi / stiffness) / 2."""
    lengths, outside = walk(PENALTY)
    low, high = GRAMMAR.length
    width = 0.5 * math.sqrt(math.pi / PENALTY.stiffness) * (high - low)
    layers = width * (LENGTH.pdf(low) + LENGTH.pdf(high))
    assert_close(outside, layers / (1 + layers), rtol=0.15, atol=0)
    inside = lengths[(lengths >= low) & (lengths <= high)]
    assert stats.kstest(inside, LENGTH.cdf).pvalue > 1e-3


def test_moves_step_in_the_coordinate_of_the_constraint():
    """From one place, a thousand random steps each: rejected outside the range, squashed or clipped into it."""
    tree = Tree({1: Branch(0, 0.1, 1.1)}, 2)
    rng = np.random.default_rng(9)

    def lengths(name):
        grammar = replace(GRAMMAR, constraint=CONSTRAINTS[name])
        made = [propose("modify_params", tree, grammar, rng).tree for _ in range(1000)]
        return np.array([t.parts[1].length for t in made]), np.array([log_prior(t, grammar) for t in made])

    assert stats.kstest((lengths("reject")[0] - 0.1) / (SHARE * 0.72), "norm").pvalue > 1e-3
    low, high = GRAMMAR.length
    squashed, chances = lengths("bijection")
    odds = np.log((squashed - low) / (high - squashed)) - math.log(0.02 / 0.7)
    assert stats.kstest(odds / (SHARE * 4), "norm").pvalue > 1e-3
    assert np.isfinite(chances).all()
    clipped, chances = lengths("projection")
    assert np.isfinite(chances).all()
    assert_close(float((clipped == low).mean()), stats.norm.cdf(-0.02 / (SHARE * 0.72)), rtol=0, atol=0.06)
    outside, chances = lengths("penalty")
    assert outside.min() < low
    assert np.isfinite(chances).all()
