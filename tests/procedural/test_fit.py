"""Fitting: chains that leave the prior alone, a mechanism that counts, repeats and resumes, and the fixed targets."""

import math
from contextlib import contextmanager
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from cs348k_diffusion.lab import watch
from cs348k_diffusion.langevin import metropolis_langevin_step
from cs348k_diffusion.procedural.chain import Cost, FitContext
from cs348k_diffusion.procedural.fit import descend, fit_tree, sharp_loss
from cs348k_diffusion.procedural.grammar import (
    BIJECTION,
    REJECT,
    Grammar,
    from_json,
    log_prior,
    to_json,
    validate,
)
from cs348k_diffusion.procedural.moves import RULES
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.policy import BALANCED, Policy, falling
from cs348k_diffusion.procedural.render import Picture, Style, disc, draw, stack, tree_parts
from cs348k_diffusion.procedural.targets import (
    Target,
    bush,
    fixed_trees,
    image_target,
    region_target,
    sapling,
    silhouette_target,
)
from cs348k_diffusion.procedural.tree import EMPTY, Branch, Leaf, Tree
from cs348k_diffusion.running import last


@contextmanager
def unchecked():
    """Hundreds of thousands of small calls: without the checks of shapes and types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


# ---- the prior, and nothing but the prior ----------------------------------------------------------------------------

# Lengths such that 2 l is about 1 on average: without its Jacobian, a split is then wrong and keeps the counts right.
WILD = Grammar(
    roots=1.2, branches=0.2, leafy=0.4, length=(0.01, 2.3), mean_length=0.38, angle=(-2.5, 2.5), constraint=REJECT
)
RATES = {"modify_params": 0.04, "add_leaf": 0.03, "remove_leaf": 0.03, "add_anywhere": 0.2, "remove_branch": 0.2}
RATES |= {"split_branch": 0.25, "merge_branch": 0.25}
CHAINS = 1500


def wander(steps=150, grammar=WILD, rates=RATES):
    """The last trees of independent chains that start from bare ground and have no target."""
    with unchecked():
        run = fit_tree(None, Policy(rates=rates), [EMPTY] * CHAINS, grammar, budget=steps, seed=3)
        return last(run).trees


def count_test(trees, grammar=WILD):
    """p-value of the numbers of branches against Consul's law of Poisson families of Poisson families."""
    m, mu = grammar.roots, grammar.branches
    chances = [m * (m + n * mu) ** (n - 1) * math.exp(-m - n * mu) / math.factorial(n) for n in range(6)]
    counts = np.bincount([min(len(tree.branches) - 1, 6) for tree in trees], minlength=7)
    return stats.chisquare(counts, len(trees) * np.array([*chances, 1 - sum(chances)])).pvalue


def parts_of(trees, kind):
    return [part for tree in trees for part in tree.parts.values() if isinstance(part, kind)]


def length_test(trees, grammar=WILD):
    low, high = grammar.length
    law = stats.truncexpon((high - low) / grammar.mean_length, loc=low, scale=grammar.mean_length)
    return stats.kstest([branch.length for branch in parts_of(trees, Branch)], law.cdf).pvalue


def without(term):
    """The rule with one term of its acceptance left out."""
    return lambda rule: rule._replace(move=lambda *args: rule.move(*args)._replace(**term))


def test_chains_without_a_target_reproduce_the_prior():
    """On counts and on every parameter; each p-value above 1e-3, so 1 in 200 right programs would fail by chance."""
    trees = wander()
    branches, leaves = parts_of(trees, Branch), parts_of(trees, Leaf)
    limit = WILD.angle[1] / WILD.angle_spread
    angles = stats.truncnorm(-limit, limit, scale=WILD.angle_spread)
    radii = stats.uniform(WILD.radius[0], WILD.radius[1] - WILD.radius[0])
    assert count_test(trees) > 1e-3
    assert length_test(trees) > 1e-3
    assert stats.kstest([branch.angle for branch in branches], angles.cdf).pvalue > 1e-3
    assert stats.kstest([leaf.radius for leaf in leaves], radii.cdf).pvalue > 1e-3
    assert stats.binomtest(len(leaves), len(branches), WILD.leafy).pvalue > 1e-3


def test_a_missing_jacobian_passes_the_count_test_and_fails_on_lengths(monkeypatch):
    for rule in ("split_branch", "merge_branch"):
        monkeypatch.setitem(RULES, rule, without({"log_jacobian": 0.0})(RULES[rule]))
    trees = wander()
    assert count_test(trees) > 1e-3
    assert length_test(trees) < 1e-4


def test_a_missing_choice_of_place_fails_on_counts(monkeypatch):
    for rule in ("add_anywhere", "remove_branch", "split_branch", "merge_branch"):
        monkeypatch.setitem(RULES, rule, without({"log_forward": 0.0, "log_reverse": 0.0})(RULES[rule]))
    assert count_test(wander(steps=60)) < 1e-6


# ---- Langevin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "rate"), [(0.05, 0.99), (0.1, 0.96), (0.2, 0.89), (0.5, 0.58)])
def test_langevin_is_accepted_as_often_as_it_should_be(step, rate):
    """Claim M6: on N(0, I) in 20 dimensions, from exact samples; the adjusted chain keeps variance 1."""
    generator = torch.Generator().manual_seed(4)
    x, accepted = torch.randn(4000, 20, generator=generator), []
    for _ in range(8):
        noise, uniform = torch.randn(x.shape, generator=generator), torch.rand(len(x), generator=generator)
        x, accept = metropolis_langevin_step(lambda x: -0.5 * (x**2).sum(1), x, step, noise, uniform)
        accepted.append(accept.double().mean())
    assert_close(float(torch.stack(accepted).mean()), rate, atol=0.01, rtol=0)
    assert_close(float(x.var()), 1.0, atol=0.02, rtol=0)


@pytest.mark.parametrize("constraint", [BIJECTION, REJECT])
def test_langevin_on_trees_leaves_the_prior_alone(constraint):
    """All parameters at once, from one and the same tree: lengths, angles and radii end up as in the prior."""
    grammar = Grammar(constraint=constraint)
    tree = Tree({1: Branch(0, 0.4, 0.3), 2: Branch(1, 0.2, -0.3), 3: Leaf(2, 0.1)}, 4)
    size = 0.5 if constraint is BIJECTION else 0.02
    policy = Policy(rates={}, langevin_steps=20, langevin_size=size)
    end = last(fit_tree(None, policy, [tree] * 600, grammar, budget=16 * 121))
    assert end.step == 16
    theta = pack(end.trees, grammar, torch.float64).theta
    low, high = grammar.length
    length = stats.truncexpon((high - low) / 0.5, loc=low, scale=0.5)
    assert stats.kstest(theta[:, :2, 0].flatten().numpy(), length.cdf).pvalue > 1e-3
    assert stats.kstest(theta[:, :2, 1].flatten().numpy(), stats.truncnorm(-2, 2, scale=0.6).cdf).pvalue > 1e-3
    assert stats.kstest(theta[:, 2, 0].numpy(), stats.uniform(0.05, 0.2).cdf).pvalue > 1e-3
    assert all(math.isfinite(chain.log_prior) and chain.memory == {} for chain in end.chains)


# ---- the mechanism ---------------------------------------------------------------------------------------------------

STYLE = Style()


def picture(trees, size=16):
    return draw(tree_parts(pack(trees, Grammar()), STYLE), size, background=STYLE.sky).image


def easy_target(size=16):
    return image_target(picture([Tree({1: Branch(0, 0.7, 0.2), 2: Leaf(1, 0.2), 3: Branch(1, 0.4, -0.5)}, 4)], size))


class Counting:
    """A target that counts how it is asked."""

    def __init__(self, target):
        self.target, self.renders, self.gradients = target, 0, 0

    def __call__(self, drawn):
        if drawn.image.requires_grad:
            self.gradients += 1
        else:
            self.renders += 1
        return self.target.energy(drawn)


@pytest.mark.parametrize(
    ("policy", "units"),
    [
        (Policy(), [2, 3, 4]),  # the first energy, then a render each
        (Policy(rates={}, inner_steps=5), [17, 33, 49]),
        (Policy(inner_steps=2), [8, 15, 22]),
        (Policy(langevin_steps=2), [14, 27, 40]),
        (Policy(softness=falling(0.1, 0.05)), [2, 4, 6]),  # new edges: the old tree is drawn again
    ],
    ids=["moves", "descent", "both", "langevin", "annealed edges"],
)
def test_the_counter_counts_what_was_asked_of_the_target(policy, units):
    target = easy_target()
    counting = Counting(target)
    run = fit_tree(Target(counting, target.size), policy, sapling(), budget=1000)
    costs = [next(run).cost for _ in range(3)]
    assert [cost.units for cost in costs] == units
    assert costs[-1] == Cost(counting.renders, counting.gradients)


def test_the_budget_ends_the_run_and_so_does_the_policy():
    done = list(fit_tree(easy_target(), Policy(), sapling(), budget=20))
    assert done[-1].cost.units == 20
    assert done[-1].spent == 1
    stopped = last(fit_tree(easy_target(), Policy(stop=lambda now: now.step == 5), sapling(), budget=20))
    assert stopped.step == 5


def test_a_chain_depends_on_its_seed_and_number_alone():
    def trees(count, seed):
        return last(fit_tree(None, Policy(), [EMPTY] * count, budget=40, seed=seed)).trees

    five = trees(5, seed=1)
    assert trees(3, seed=1) == five[:3]
    assert trees(5, seed=2) != five
    assert len({to_json(tree) for tree in five}) > 2


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(inner_steps=2),
        Policy(langevin_steps=1),
        Policy(rates={}, inner_steps=4, softness=falling(0.1, 0.02)),
    ],
)
def test_a_broken_run_goes_on_as_if_it_had_not_been_broken(policy):
    target = easy_target()
    whole = last(fit_tree(target, policy, [sapling()] * 2, budget=150, seed=5))
    half = next(now for now in fit_tree(target, policy, [sapling()] * 2, budget=150, seed=5) if now.spent > 0.5)
    assert half.step < whole.step
    resumed = last(fit_tree(target, policy, half, budget=150, seed=5))
    assert resumed == whole


def test_what_is_refused_is_undone():
    """At temperature 1e-12 and from the perfect tree, nothing that a move does may stand."""
    tree = fixed_trees(1)[0]
    target = image_target(picture([tree], 24))
    policy = Policy(temperature=1e-12, softness=2 / 24 / 4)
    for now in fit_tree(target, policy, tree, budget=80):
        assert now.chains[0].energy < 1e-9
        assert now.chains[0].moved or now.trees == [tree]


def test_energies_and_priors_are_those_of_the_trees():
    for policy in (Policy(), Policy(inner_steps=2), Policy(langevin_steps=2, softness=falling(0.1, 0.05))):
        target = easy_target()
        now = last(fit_tree(target, policy, [sapling()] * 3, budget=60, seed=2))
        energies = target.energy(now.context.draw(now.trees, now.softness))
        assert_close(torch.tensor([chain.energy for chain in now.chains]), energies, atol=1e-6, rtol=1e-4)
        assert [chain.log_prior for chain in now.chains] == [log_prior(tree, Grammar()) for tree in now.trees]
        for tree in now.trees:
            assert from_json(to_json(validate(tree, Grammar()))) == tree


def test_gradients_are_on_only_where_they_are_needed():
    run = fit_tree(easy_target(), Policy(inner_steps=1, langevin_steps=1), sapling(), budget=30)
    for _ in run:
        assert torch.is_grad_enabled()


def test_descent_finds_the_parameters_of_a_known_shape():
    """From a tree of the right shape and wrong numbers, 60 Adam steps find the picture; memory is kept by id."""
    goal = Tree({1: Branch(0, 0.7, 0.2), 2: Leaf(1, 0.2)}, 3)
    start = Tree({1: Branch(0, 0.5, 0.0), 2: Leaf(1, 0.12)}, 3)
    context = FitContext(image_target(picture([goal], 24)), Grammar(), STYLE, Cost())
    policy = Policy(inner_steps=60, step_size=0.1, temperature=1e-5, softness=0.05)
    (found,), (memory,) = descend(context, [start], [{}], policy)
    before, after = sharp_loss([start, found], context.target).tolist()
    assert after < 0.02 * before
    assert set(memory) == {1, 2}
    assert memory[1][4] == 60
    assert context.cost == Cost(0, 60)
    grown = Tree({**found.parts, 3: Branch(1, 0.2, 0.5)}, 4)
    _, (memory,) = descend(context, [grown], [memory], replace(policy, inner_steps=1))
    assert (memory[1][4], memory[3][4]) == (61, 1)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (Policy(temperature=0.0), "temperature must be positive"),
        (Policy(rates={"add_leaf": -1.0}), "cannot be negative"),
        (Policy(rates={"prune": 1.0}), "no rule 'prune'"),
        (Policy(softness=0.0), "softness is a positive length"),
    ],
)
def test_a_policy_that_cannot_be_carried_out_says_why(policy, says):
    with pytest.raises(ValueError, match=says):
        last(fit_tree(easy_target(), policy, sapling(), budget=5))


def test_what_is_watched():
    run = fit_tree(easy_target(), Policy(), [sapling(), EMPTY], budget=12)
    assert "fit_tree, 12 units: not run yet" in repr(run)
    now = last(run)
    frame = now.frame()
    assert frame.shape == (1, 3, 16, 16)
    assert float(frame.abs().max()) <= 1 + 1e-6
    assert now.loss == min(chain.energy for chain in now.chains)
    assert now.label() == f"step 11, 12 units: {len(now.best.tree.parts)} parts, loss {now.loss:.2e}"
    assert now.cost.units == 12  # looking is free


def test_a_fit_is_watched_like_every_run():
    """`watch` walks it to its end and gives back the last step; what it leaves behind is a player of pictures."""
    now = watch(fit_tree(easy_target(), Policy(), sapling(), budget=12), alt="a sapling grows")
    assert now.cost.units == 12
    assert now.trees == last(fit_tree(easy_target(), Policy(), sapling(), budget=12)).trees


# ---- targets ---------------------------------------------------------------------------------------------------------


def test_targets_are_zero_at_the_goal_and_know_inside_from_outside():
    drawn = draw(stack([[disc((0, 0), 0.5, (-1.0, 1.0, -1.0))], []]), 32)
    mask = drawn.alpha[0]
    assert image_target(drawn.image[0]).energy(drawn)[0] == 0
    assert_close(float(image_target(drawn.image[0]).energy(drawn)[1]), 8 / 3 * float((mask**2).mean()))
    assert silhouette_target(mask).energy(drawn)[0] == 0
    assert_close(float(silhouette_target(mask).energy(drawn)[1]), float((mask**2).mean()))
    region = (mask > 0.5).float()
    full, empty = Picture(drawn.image, torch.ones(2, 32, 32)), Picture(drawn.image, torch.zeros(2, 32, 32))
    inside = float(region.mean())
    assert_close(region_target(region, spill=0.1).energy(full), torch.full((2,), 0.1 * (1 - inside)))
    assert_close(region_target(region, spill=0.1).energy(empty), torch.full((2,), inside))
    assert image_target(drawn.image).size == silhouette_target(mask).size == (32, 32)


def test_each_chain_may_have_its_own_image():
    trees = fixed_trees(3)
    assert_close(sharp_loss(trees, image_target(picture(trees))), torch.zeros(3))
    mixed = sharp_loss(trees[::-1], image_target(picture(trees)))
    assert (mixed[[0, 2]] > 0.01).all()
    assert_close(mixed[1], torch.tensor(0.0))


def test_an_image_target_wants_an_image():
    with pytest.raises(ValueError, match=r"\(3, height, width\).* got shape \(1, 16, 16\)"):
        image_target(torch.zeros(1, 16, 16))


def test_the_fixed_targets_are_trees_of_the_grammar_and_stay_as_they_are():
    trees = fixed_trees()
    assert [len(tree.parts) for tree in trees] == [9, 10, 14, 17, 14, 13, 9, 10, 15, 18, 13, 16]
    assert fixed_trees(3) == trees[:3]
    for tree in (*trees, sapling(), bush()):
        validate(tree, Grammar())
    assert len(bush().parts) == 30


def test_gradients_alone_go_nowhere_without_overlap_and_moves_do():
    """Claim M3: crisp edges, and a target that the leaf does not touch."""
    goal = Tree({1: Branch(0, 0.5, 0.0), 2: Branch(1, 0.6, -1.1), 3: Leaf(2, 0.2)}, 4)
    target = image_target(picture([goal], 24))
    start = Tree({1: Branch(0, 0.5, 0.0)}, 2)
    crisp = {"softness": 0.01, "temperature": 1e-4}
    stuck = last(fit_tree(target, Policy(rates={}, inner_steps=20, **crisp), start, budget=2400))
    moving = last(fit_tree(target, Policy(rates=BALANCED, **crisp), start, budget=2400))
    first = float(sharp_loss([start], target))
    assert stuck.loss > 0.9 * first
    assert moving.loss < 0.5 * first
