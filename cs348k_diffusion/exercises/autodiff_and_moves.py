"""Checks of notebook 01: a move and its way back, soft edges, the accept rule, descent, and a policy of your own."""

import math
import statistics
from collections import defaultdict
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import (
    Counted,
    Exercise,
    agree,
    expect,
    generator,
    must,
    normals,
    picture,
    run_against,
    varied,
)
from cs348k_diffusion.procedural import moves
from cs348k_diffusion.procedural.chain import Chain, Cost, FitStep
from cs348k_diffusion.procedural.grammar import Grammar
from cs348k_diffusion.procedural.policies import Entry, contest
from cs348k_diffusion.procedural.policy import Policy, falling
from cs348k_diffusion.procedural.targets import sapling
from cs348k_diffusion.procedural.tree import Branch, Leaf, Tree

EXERCISES = (
    Exercise(
        "E1.1",
        "way_back",
        "The inverse of a split",
        gives="length: number, angle: number, u: number, v: number",
        hints=(
            "What do the two lengths add up to, and where is the second angle measured from?",
            "The second is stored from the direction of the first, so its number is the whole bend, 2 v. The "
            "split subtracted v from the angle.",
            "Two of the four follow at once, length and v. Then the angle undoes the subtraction, and u is a share.",
        ),
        withheld=("procedural.moves.merge_branch",),
    ),
    Exercise(
        "E1.2",
        "soft_disc",
        "A disc with soft edges",
        gives="coverage: tensor",
        hints=(
            "How far is a point from a disc's edge, and which sign has that inside?",
            "points - centres[:, None] has shape (batch, pixels, 2). Its length, less the radius, is the distance "
            "to the edge. A root has no derivative at 0.",
            "Take the root of the sum of squares plus something tiny, 1e-12. radii needs an axis for the pixels: "
            "radii[:, None].",
        ),
        withheld=("procedural.leaf.soft_disc", "procedural.render.soft_edge", "procedural.render.capsule_distance"),
        ours="procedural.leaf.soft_disc",
    ),
    Exercise(
        "E1.3",
        "gradient_descent",
        "Gradient descent",
        gives="walk: iterator",
        hints=(
            "After which line is x new, and when must it be handed out?",
            "In each round x must be a fresh leaf of autograd, x.detach().requires_grad_(). One backward pass "
            "gives the gradient.",
            "torch.autograd.grad(loss(x), x) returns a tuple with one gradient. Make a new x of it, detached, and "
            "`yield` that; x -= ... would change what was handed out before.",
        ),
        withheld=("procedural.leaf.gradient_descent", "procedural.fit.descend"),
        ours="procedural.leaf.gradient_descent",
    ),
    Exercise(
        "E1.4",
        "accept",
        "The accept rule",
        gives="taken: tensor",
        hints=(
            "A ratio above 1 means: always. Is a minimum needed, if uniform is below 1?",
            "Accept where uniform < p(new) q(back) / (p(old) q(there)).",
            "Take logarithms on both sides: a product becomes a sum, a quotient a difference. log(0) is -inf, and "
            "that is right.",
        ),
        withheld=("procedural.leaf.accept", "procedural.fit.accept", "langevin.metropolis_langevin_step"),
        ours="procedural.leaf.accept",
    ),
    Exercise(
        "E1.5",
        "my_policy",
        "A policy of your own",
        gives="policy: object",
        hints=(
            "What can only a move do, and what can a gradient do better?",
            "Moves find the parts, gradients place them. A descent after every move is dear: let now.step decide, "
            "with rates={} in those steps so that nothing new is tried meanwhile.",
            "Few units are left for a hot start: cool from about 1e-3 to 2e-5. And a sapling has to grow: try "
            "add_anywhere and add_leaf more often than the removals.",
        ),
        withheld=("procedural.policies.BOTH", "procedural.policies.PRUNED", "procedural.policies.MOVES_ONLY"),
        seconds=60,
        stars=1,
    ),
    Exercise(
        "E1.6",
        "test_undo",
        "A property test for undo",
        stars=1,
        gives="the test: nothing",
        hints=(
            "What must have happened after a move, and what after its undo?",
            "The move changes something, and undoing it gives back exactly the parts you gave, ids included. "
            "Dictionaries are compared with ==.",
            "Loop over all rules and over twenty seeds: some slips show only for some seeds.",
        ),
    ),
    Exercise(
        "E1.7",
        "split_log_ratio",
        "What a split costs",
        stars=1,
        gives="log ratio: number",
        hints=(
            "Which random choices does a split make, and which a merge?",
            "log q(split): one of `branches` branches is picked, u is uniform (log 1 = 0), v is normal. log "
            "q(merge): one of `pairs` pairs, and nothing else is random.",
            "Write the logarithm of the normal density of v with its constant. The determinant is length for the "
            "lengths, times 2 for the angles.",
        ),
        withheld=("procedural.moves.split_branch", "procedural.moves.merge_branch", "procedural.moves.Proposal"),
    ),
    Exercise(
        "E1.8",
        "bounded",
        "A range without walls",
        stars=1,
        gives="theta: tensor, log_jacobian: tensor",
        hints=(
            "Where does sigmoid(x) lie, and where should theta?",
            "Stretch sigmoid to the range. d sigmoid / dx = sigmoid(x) sigmoid(-x), which underflows far out; its "
            "logarithm does not.",
            "log(a b c) is a sum of three logarithms, and F.logsigmoid is exact where log(sigmoid) is -inf.",
        ),
        withheld=("procedural.grammar._squash", "procedural.grammar._log_squash_slope", "procedural.grammar.BIJECTION"),
    ),
    Exercise(
        "E1.9",
        "langevin_log_ratio",
        "The ratio of a Langevin move",
        stars=1,
        gives="log ratio: tensor",
        hints=(
            "Which normal does the move there draw from, and which the way back?",
            "There: mean x + step * score_x, variance 2 step in each coordinate. The way back starts at y, with "
            "the score at y.",
            "log q is minus a squared distance over twice the variance, plus a constant. The constants cancel; "
            "sum over coordinates, not over the batch.",
        ),
        withheld=("langevin.metropolis_langevin_step", "langevin._log_move"),
    ),
)


def uniforms(*shape, seed=0, low=0.0, high=1.0):
    """Uniform numbers in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator(seed))


# ---- E1.1 ------------------------------------------------------------------------------------------------------------


def halves(length, angle, u, v):
    """What the split makes: (l1, a1, l2, a2), the second angle measured from the direction of the first."""
    return u * length, angle - v, (1 - u) * length, 2 * v


def splits(seed):
    """Some branches and the numbers that split them: ordinary, unbent, cut near an end, long, tiny."""
    (case,) = varied(((1,),), seed=seed)
    drawn = (case.number(0.3, 3), case.number(-1, 1), case.number(0.1, 0.4), case.number(0.2, 1))
    return (
        (0.6, 0.3, 0.35, 0.2), (0.2, -0.9, 0.7, -0.4), (0.8, 0.0, 0.5, 0.6), (0.5, 0.4, 0.25, 0.0),
        (1e-4, 1.2, 0.99, -1.5), drawn,
    )  # fmt: skip


def right_merge(l1, a1, l2, a2):
    return l1 + l2, a1 + a2 / 2, l1 / (l1 + l2), a2 / 2


def merging(change):
    """The right four values, spoiled: change(length, angle, u, v, l1, a1, l2, a2)."""
    return lambda *given: change(*right_merge(*given), *given)


MERGE_MISTAKES = {
    "the order is length, angle, u, v; yours is length, u, angle, v": merging(lambda l, a, u, v, *_: (l, u, a, v)),
    "the order is length, angle, u, v; yours begins with the angle": merging(lambda l, a, u, v, *_: (a, l, u, v)),
    "the order is length, angle, u, v; yours is angle, length, v, u": merging(lambda l, a, u, v, *_: (a, l, v, u)),
    "u and v are returned in the wrong order": merging(lambda l, a, u, v, *_: (l, a, v, u)),
    "the angle of the first half is kept": merging(lambda l, a, u, v, l1, a1, l2, a2: (l, a1, u, v)),
    "both angles are added in full": merging(lambda l, a, u, v, l1, a1, l2, a2: (l, a1 + a2, u, v)),
    "both angles are taken from straight up": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, (a1 + a2) / 2, u, (a2 - a1) / 2)
    ),
    "the mean of the two numbers a1 and a2, but a2 counts from the first half": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, (a1 + a2) / 2, u, v)
    ),
    "// rounds a2 / 2 down to a whole number": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, a1 + a2 // 2, u, a2 // 2)
    ),
    "the angle is turned into [0, 2 pi): it has a sign": merging(lambda l, a, u, v, *_: (l, a % (2 * math.pi), u, v)),
    "rounded to three digits": merging(lambda *given: tuple(round(each, 3) for each in given[:4])),
    "v has the wrong sign": merging(lambda l, a, u, v, l1, a1, l2, a2: (l, a1 - v, u, -v)),
    "v is subtracted, as in the split: the merge adds it": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, a1 - v, u, v)
    ),
    "v has the wrong sign, but not in the angle": merging(lambda l, a, u, v, *_: (l, a, u, -v)),
    "the straight line from end to end": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (math.sqrt(l1**2 + l2**2 + 2 * l1 * l2 * math.cos(a2)), a, u, v)
    ),
    "the straight line from end to end, and its direction": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (
            math.hypot(l1 + l2 * math.cos(a2), l2 * math.sin(a2)),
            a1 + math.atan2(l2 * math.sin(a2), l1 + l2 * math.cos(a2)),
            u,
            v,
        )
    ),
    "l1 / l1 + l2 divides before it adds: brackets are missing": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, a, 1 + l2, v)
    ),
    "u is the share of the second half": merging(lambda l, a, u, v, *_: (l, a, 1 - u, v)),
    "u is the ratio of the halves": merging(lambda l, a, u, v, l1, a1, l2, a2: (l, a, l1 / l2, v)),
    "u is the ratio of the halves, upside down": merging(lambda l, a, u, v, l1, a1, l2, a2: (l, a, l2 / l1, v)),
    "the length is the longer half's": merging(lambda l, a, u, v, l1, a1, l2, a2: (max(l1, l2), a, u, v)),
    "u is a length, not a share": merging(lambda l, a, u, v, l1, *_: (l, a, l1, v)),
    "v is the whole bend, not half of it": merging(lambda l, a, u, v, *_: (l, a, u, 2 * v)),
    "the mean of the two angles, weighted by length": merging(
        lambda l, a, u, v, l1, a1, l2, a2: (l, (l1 * a1 + l2 * (a1 + a2)) / l, u, v)
    ),
}


def only(mistakes, which):
    """Some of the values of each mistake."""
    return {name: lambda *given, wrong=wrong: [wrong(*given)[k] for k in which] for name, wrong in mistakes.items()}


def parts(way_back, which):
    return lambda *given: [way_back(*given)[k] for k in which]


@pytest.mark.exercise("E1.1", points=1)
def test_finds_the_branch_that_was_split(way_back):
    agree(
        parts(way_back, (0, 1)),
        lambda l1, a1, l2, a2: list(right_merge(l1, a1, l2, a2)[:2]),
        [halves(*each) for each in splits(1)],
        says="merging the halves must give the branch back that was split.",
        mistakes=only(MERGE_MISTAKES, (0, 1)),
        names=("length", "angle"),
    )


@pytest.mark.exercise("E1.1", points=1)
def test_finds_where_and_how_far_it_was_bent(way_back):
    agree(
        parts(way_back, (2, 3)),
        lambda l1, a1, l2, a2: list(right_merge(l1, a1, l2, a2)[2:]),
        [halves(*each) for each in splits(2)],
        says="the way back must find the u and v that the split drew, or nobody could split again.",
        mistakes=only(MERGE_MISTAKES, (2, 3)),
        names=("u", "v"),
    )


# ---- E1.2 ------------------------------------------------------------------------------------------------------------


def some_discs():
    """Points, centres, radii: 40 points and 3 discs, no point at a centre."""
    return uniforms(40, 2, low=-1, high=1), uniforms(3, 2, seed=1, low=-0.5, high=0.5), torch.tensor([0.2, 0.4, 0.7])


def covering(formula):
    """A formula of (distance, radius, softness) as a whole answer."""

    def answer(points, centres, radii, softness):
        distance = ((points[None] - centres[:, None]) ** 2).sum(-1).sqrt()
        return formula(distance, radii[:, None], softness)

    return answer


def by_coordinates(points, centres, radii, softness):
    distance = (points[None] - centres[:, None]).abs().sum(-1)
    return torch.sigmoid((radii[:, None] - distance) / softness)


def by_larger(points, centres, radii, softness):
    distance = (points[None] - centres[:, None]).abs().amax(-1)
    return torch.sigmoid((radii[:, None] - distance) / softness)


def squared_sum(points, centres, radii, softness):
    distance = (points[None] - centres[:, None]).sum(-1).abs()
    return torch.sigmoid((radii[:, None] - distance) / softness)


DISC_MISTAKES = {
    name: covering(formula)
    for name, formula in {
        "inside and outside are swapped": lambda d, r, s: torch.sigmoid((d - r) / s),
        "multiplied by softness instead of divided": lambda d, r, s: torch.sigmoid((r - d) * s),
        "softness is forgotten": lambda d, r, s: torch.sigmoid(r - d),
        "squared distance instead of distance": lambda d, r, s: torch.sigmoid((r**2 - d**2) / s),
        "the squared distance is compared with the radius": lambda d, r, s: torch.sigmoid((r - d**2) / s),
        "the radius is taken for a diameter": lambda d, r, s: torch.sigmoid((r / 2 - d) / s),
        "the radius is forgotten": lambda d, r, s: torch.sigmoid(-d / s),
        "only the distance is divided by softness": lambda d, r, s: torch.sigmoid(r - d / s),
        "tanh, which runs from -1 to 1": lambda d, r, s: torch.tanh((r - d) / s),
        "one radius for all discs": lambda d, r, s: torch.sigmoid((r[0] - d) / s),
        "a hard edge": lambda d, r, s: (d < r).to(d.dtype),
        "one row for each point, not for each disc": lambda d, r, s: torch.sigmoid((r - d) / s).T,
        "the axes of length 1 are squeezed away": lambda d, r, s: torch.sigmoid((r - d) / s).squeeze(),
        "logits, without the sigmoid": lambda d, r, s: (r - d) / s,
        "a linear ramp, not a sigmoid": lambda d, r, s: (0.5 + (r - d) / s / 4).clamp(0, 1),
        "a linear ramp of width softness, not a sigmoid": lambda d, r, s: (0.5 + (r - d) / s).clamp(0, 1),
        "a bell curve, not a sigmoid": lambda d, r, s: torch.exp(-(((d - r) / s) ** 2)),
        "a bell curve as wide as the radius, not a sigmoid": lambda d, r, s: torch.exp(-(d**2) / (2 * r**2)),
        "softness is measured in radii": lambda d, r, s: torch.sigmoid((r - d) / (s * r)),
        **{
            f"an epsilon of {e:g} under the root: that is a distance of {e**0.5:.2g} at the centre": (
                lambda d, r, s, e=e: torch.sigmoid((r - (d**2 + e).sqrt()) / s)
            )
            for e in (1e-2, 1e-3, 1e-4)
        },
    }.items()
} | {
    "the larger of |x| and |y| instead of the distance": by_larger,
    "|x| + |y| instead of the distance": by_coordinates,
    "the coordinates are summed before they are squared": squared_sum,
}


@pytest.mark.exercise("E1.2", points=1)
def test_covers_by_the_distance_to_the_edge(soft_disc):
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 24)] * 2, indexing="xy"), -1).flatten(0, 1)
    distance = (grid - torch.tensor([0.2, 0.1])).square().sum(1).sqrt()
    shown = soft_disc(grid, torch.tensor([[0.2, 0.1]]), torch.tensor([0.5]), 0.1)
    if isinstance(shown, torch.Tensor) and shown.numel() == 24 * 24:
        goal = torch.sigmoid((0.5 - distance) / 0.1).view(1, 24, 24)
        picture(2 * shown.reshape(1, 24, 24) - 1, 2 * goal - 1, "a disc")
    inputs = [(*some_discs(), softness) for softness in (0.05, 0.3)]
    for case in varied(((4, 9), (1, 5), (3, 1), (1, 1)), (torch.float64, torch.float32), seed=3):
        many = case.shape[1]
        radii = case.uniform(0.1, 0.9, case.batch)
        inputs.append((case.uniform(-1, 1, many, 2), case.uniform(-2, 2, case.batch, 2), radii, case.number(0.1, 1)))
    agree(
        soft_disc,
        covering(lambda d, r, s: 1 / (1 + ((d - r) / s).exp())),
        inputs,
        says="coverage is sigmoid((r - |p - c|) / softness): 1/2 at the edge.",
        mistakes=DISC_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E1.2", points=1)
def test_can_be_moved_by_its_gradient(soft_disc):
    points, centres, radii = some_discs()
    cotangent = normals(3, 40, seed=2)
    away = points[None] - centres[:, None]
    distance = away.square().sum(-1).sqrt()
    a = 1 / (1 + ((distance - radii[:, None]) / 0.1).exp())
    slope = cotangent * a * (1 - a) / 0.1
    got = soft_disc.vjp((points, centres, radii, 0.1), cotangent, wrt=(1, 2))
    by_centre, by_radius = (slope[..., None] * away / distance[..., None]).sum(1), slope.sum(1)
    expect(
        got,
        (by_centre, by_radius),
        says="autodiff through your disc must give the derivative by centre and by radius: a (1 - a) / softness at "
        "each point, in the direction from the centre to it.",
        mistakes={
            "detached gradient": (torch.zeros(3, 2), torch.zeros(3)),
            "the centres are detached": (torch.zeros(3, 2), by_radius),
            "the radii are detached": (by_centre, torch.zeros(3)),
        },
        names=("by centre", "by radius"),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E1.2", points=1)
def test_survives_its_centre_and_sharp_edges(soft_disc):
    centre, radius = uniforms(1, 2, seed=5, low=-1), torch.ones(1)
    points = centre + torch.tensor([[0.0, 0.0], [0.5, 0.0], [3.0, 4.0]])
    want = torch.tensor([[1.0, 1.0, 0.0]])
    says = "far from the edge coverage is 1 inside and 0 outside, however small the softness; tried softness = 1e-3."
    expect(soft_disc(points, centre, radius, 1e-3), want, says=says, atol=1e-4)
    _, by_centre = soft_disc.vjp((points, centre, radius, 0.5), torch.ones(1, 3), wrt=(0, 1))
    must(
        by_centre.isfinite().all(),
        "NaN in the gradient: one point lies on the centre, where the root of x^2 + y^2 has no derivative. "
        "Autodiff computes 0 * infinity there. Add 1e-12 under the root.",
    )
    sharp = soft_disc.vjp((points[1:], centre, radius, 1e-3), torch.ones(1, 2), wrt=(1, 2))
    must(
        all(slope.isfinite().all() for slope in sharp),
        "NaN in the gradient where softness is 1e-3 and a point is far from the edge. An exponential overflows there, "
        "and autodiff computes 0 * infinity; torch.sigmoid does not.",
    )


# ---- E1.3 ------------------------------------------------------------------------------------------------------------


def walk(gradient_descent, loss, x, steps, size):
    """Every x that the student's descent yields, stacked."""
    run = gradient_descent(loss, x, steps, size)
    must(hasattr(run, "iterate"), "not an iterator: let the function `yield x` after every step")
    items = run.iterate(1000)
    shaped = all(isinstance(item, torch.Tensor) and item.shape == x.shape for item in items)
    must(items and shaped, f"yield x, a tensor of shape {tuple(x.shape)}, after every step")
    right = all(item.dtype == x.dtype for item in items)
    must(right, f"wrong dtype: got {items[0].dtype}, expected {x.dtype}, that of the start")
    return torch.stack(items)


def after_start(xs, x, steps):
    """The walk without its start, where that was handed out, too: one slip costs its point in one test only."""
    return xs[1:] if len(xs) == steps + 1 and xs[0].equal(x) else xs


def path(slope, x, steps, size):
    """x - size * slope(x), again and again, with the slope given as a formula."""
    found = []
    for _ in range(steps):
        x = x - size * slope(x)
        found.append(x)
    return torch.stack(found)


def descent_mistakes(slope, x, steps, size):
    """What the usual slips would answer."""
    right = path(slope, x, steps, size)
    before = torch.cat([x[None], right[:-1]])
    return {
        "uphill": path(lambda x: -slope(x), x, steps, size),
        "the step size is forgotten": path(slope, x, steps, 1.0),
        "the gradient is divided by its length": path(lambda x: slope(x) / slope(x).norm(), x, steps, size),
        "the gradient is cut to length 1": path(lambda x: slope(x) / slope(x).norm().clamp(min=1), x, steps, size),
        "momentum 0.9 is added to each step": momentum(slope, x, steps, size),
        "only the sign of the gradient": path(lambda x: slope(x).sign(), x, steps, size),
        "the gradient is clipped to [-1, 1]": path(lambda x: slope(x).clamp(-1, 1), x, steps, size),
        "the gradient is taken at the start only": path(lambda _, at=x: slope(at), x, steps, size),
        "every step begins at the start": (x - size * slope(x)).expand(steps, *x.shape),
        "gradients pile up from step to step": piled(slope, x, steps, size),
        "one tensor is yielded again and again, changed in place": right[-1].expand(steps, *x.shape),
        "half a step": path(slope, x, steps, size / 2),
        "twice the step": path(slope, x, steps, 2 * size),
        "the mean over the numbers of x, not each number's own slope": path(
            lambda x: slope(x) / max(x.numel(), 1), x, steps, size
        ),
        "the step shrinks with each step: size / k": shrinking(slope, x, steps, lambda k: size / (k + 1)),
        "the step shrinks with each step: size * (1 - k / steps)": shrinking(
            slope, x, steps, lambda k: size * (1 - k / steps)
        ),
        "the square of the step size": path(slope, x, steps, size**2),
        "Adam, which takes steps of length `size` in each number": adam(slope, x, steps, size),
        "yields the x before the step": before,
        "yields the gradient, not x": torch.stack([slope(each) for each in before]),
        "yields the steps, not x": right - before,
    }


def shrinking(slope, x, steps, size):
    """What happens when the step size depends on the number of the step, size(k)."""
    found = []
    for k in range(steps):
        x = x - size(k) * slope(x)
        found.append(x)
    return torch.stack(found)


def adam(slope, x, steps, size):
    """What happens when Adam, as torch has it, walks in place of plain descent."""
    mean, square, found = torch.zeros_like(x), torch.zeros_like(x), []
    for k in range(1, steps + 1):
        g = slope(x)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        x = x - size * mean / (1 - 0.9**k) / ((square / (1 - 0.999**k)).sqrt() + 1e-8)
        found.append(x)
    return torch.stack(found)


def momentum(slope, x, steps, size, share=0.9):
    """What happens when a share of the step before is added to each step."""
    move, found = torch.zeros_like(x), []
    for _ in range(steps):
        move = share * move - size * slope(x)
        x = x + move
        found.append(x)
    return torch.stack(found)


def piled(slope, x, steps, size):
    """What happens when .grad is never set back to zero."""
    total, found = torch.zeros_like(x), []
    for _ in range(steps):
        total = total + slope(x)
        x = x - size * total
        found.append(x)
    return torch.stack(found)


@pytest.mark.exercise("E1.3", points=1)
def test_shrinks_the_distance_at_the_known_rate(gradient_descent):
    curvature, bottom, size, steps = torch.tensor([0.5, 1.0, 3.0]), normals(3, seed=13), 0.3, 6
    found, wanted, mistakes = [], [], []
    for start in (
        torch.tensor([1.0, 3.0, -1.0]),
        torch.tensor([0.4, -0.5, 0.1]),
    ):  # its slopes are longer than 1, or not
        x = bottom + start
        got = walk(gradient_descent, lambda x: (curvature * (x - bottom).square()).sum() / 2, x, steps, size)
        first = "yields the start, too" if len(got) and got[0].equal(x) else "one step too many"
        expect(len(got), steps, says="There must be one x after each step.", mistakes={
            first: steps + 1,
            "yields only the last x": 1,
            "one step too few": steps - 1,
        })  # fmt: skip
        found.append(got)
        wanted.append(bottom + (1 - size * curvature) ** torch.arange(1, steps + 1)[:, None] * start)
        mistakes.append(descent_mistakes(lambda x: curvature * (x - bottom), x, steps, size))
    expect(
        torch.stack(found),
        torch.stack(wanted),
        says="In a bowl of curvature c the distance to the bottom shrinks by 1 - size c in each step.",
        mistakes={name: torch.stack([long[name], short[name]]) for long, short in [mistakes] for name in long},
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E1.3", points=1)
def test_follows_a_loss_that_bends(gradient_descent):
    sizes = ((0.7, 4), (0.2, 1), (1.3, 3), (0.5, 2))
    for case, (size, steps) in zip(varied(((2, 3), (1,), (), (1, 1, 2)), (torch.float32, torch.float64), 4), sizes):
        x = case.normal(scale=2.0) if case.shape else case.normal(1)[0]
        got = after_start(walk(gradient_descent, lambda x: x.cosh().log().sum(), x, steps, size), x, steps)
        mistakes = descent_mistakes(torch.tanh, x, steps, size)
        says = "Each step follows the gradient where it stands now, of any loss and any shape of x; tried shape "
        says += f"{tuple(x.shape)} in {x.dtype}, size = {size}, {steps} steps."
        want = path(torch.tanh, x, steps, size)
        expect(got, want, rtol=1e-4, atol=1e-5, says=says, mistakes=mistakes)
    flat, steps = 1e-9 * normals(3), 4
    rest = after_start(gradient_descent(lambda x: x.cosh().log().sum(), flat, steps, 0.5).iterate(1000), flat, steps)
    says = "There must be one x after each step, also where the slope is next to nothing."
    expect(
        len(rest), steps, says=says, mistakes={"the walk ends where the slope is next to nothing": min(len(rest), 1)}
    )


@pytest.mark.exercise("E1.3", points=1)
def test_pays_for_one_gradient_a_step(gradient_descent):
    loss = Counted(lambda x: x.square().sum())
    walk(gradient_descent, loss, normals(4), 5, 0.1)
    expect(loss.calls, 5, says="A gradient costs; evaluate the loss once in each step, not more.", mistakes={
        "the loss is evaluated twice in each step": 10,
        "the loss is evaluated three times in each step": 15,
        "differences instead of autodiff: two evaluations for each number": 40,
    })  # fmt: skip


# ---- E1.4 ------------------------------------------------------------------------------------------------------------


def deciding(decision):
    """A decision of (gain in log p, ratio of the proposals, uniform) as a whole answer."""
    return lambda old, new, there, back, uniform: decision(new - old, back - there, uniform)


ACCEPT_MISTAKES = {
    "greedy: only what is better is taken": deciding(lambda gain, q, u: gain > 0),
    "greedy, and equal ones, too": deciding(lambda gain, q, u: gain >= 0),
    "greedy, with the proposals counted in": deciding(lambda gain, q, u: gain + q > 0),
    "old and new are swapped": deciding(lambda gain, q, u: u.log() < -gain + q),
    "the way there and the way back are swapped": deciding(lambda gain, q, u: u.log() < gain - q),
    "the whole ratio is upside down": deciding(lambda gain, q, u: u.log() < -gain - q),
    "the proposals are forgotten": deciding(lambda gain, q, u: u.log() < gain),
    "only the proposals count": deciding(lambda gain, q, u: u.log() < q),
    "uniform is compared with a logarithm": deciding(lambda gain, q, u: u < gain + q),
    "uniform is on the wrong side": deciding(lambda gain, q, u: u.log() > gain + q),
    "everything is accepted": deciding(lambda gain, q, u: torch.ones_like(u, dtype=torch.bool)),
    "nothing is accepted": deciding(lambda gain, q, u: torch.zeros_like(u, dtype=torch.bool)),
    "only the way back counts": lambda old, new, there, back, u: u.log() < new - old + back,
    "only the way there counts": lambda old, new, there, back, u: u.log() < new - old - there,
    "both proposals are added": lambda old, new, there, back, u: u.log() < new - old + back + there,
    "twice the gain": deciding(lambda gain, q, u: u.log() < 2 * gain + q),
    "the logarithm of uniform is to base 10, not e": deciding(lambda gain, q, u: u.log10() < gain + q),
    "log1p(uniform), which is never below 0, for log(uniform)": deciding(lambda gain, q, u: u.log1p() < gain + q),
    "half of the gain": deciding(lambda gain, q, u: u.log() < gain / 2 + q),
    "<= takes what is impossible when uniform is 0": deciding(lambda gain, q, u: u.log() <= gain + q),
    "not (uniform >= A) takes a NaN": deciding(lambda gain, q, u: ~(u.log() >= gain + q)),
    "an epsilon in the logarithm of uniform: rare moves are never taken": deciding(
        lambda gain, q, u: (u + 1e-3).log() < gain + q
    ),
    "what is better is always taken, and the proposals count for worse moves alone": deciding(
        lambda gain, q, u: (gain > 0) | (u.log() < gain + q)
    ),
    "ratio / (1 + ratio) for min(1, ratio): balanced, but it refuses more": deciding(
        lambda gain, q, u: u < torch.sigmoid(gain + q)
    ),
    "the minimum with 1 is taken before the proposals count": deciding(
        lambda gain, q, u: u.log() < gain.clamp(max=0) + q
    ),
    "each of the two ratios has a minimum with 1 of its own": deciding(
        lambda gain, q, u: u.log() < gain.clamp(max=0) + q.clamp(max=0)
    ),
    "one chance for all chains, the mean of theirs": deciding(
        lambda gain, q, u: u < (gain + q).exp().clamp(max=1).mean()
    ),
    "a power of 2, not of e": deciding(lambda gain, q, u: u < 2 ** (gain + q)),
    "the ratio of the logarithms, not their difference": lambda old, new, there, back, u: (
        u < (new + back) / (old + there)
    ),
    "each ratio leaves its logarithm by itself: 0 times infinity is NaN": deciding(
        lambda gain, q, u: u < gain.exp() * q.exp()
    ),
    "a number stands for -inf: an impossible place is as good as another": lambda old, new, there, back, u: (
        u.log() < new.clamp(min=-1e4) - old.clamp(min=-1e4) + back - there
    ),
    "half precision: three digits are not enough": deciding(lambda gain, q, u: u.half().log() < (gain + q).half()),
    "p is taken for log p": lambda old, new, there, back, u: u < new / old * (back / there),
    "p underflows: stay with logarithms": lambda old, new, there, back, u: (
        u < new.exp() * back.exp() / (old.exp() * there.exp())
    ),
}


LATTICE = (torch.arange(40) + 0.5) / 40  # uniform numbers, evenly spread: shares of them are chances


def cases(gains, q=(0.0,)):
    """Every gain with every ratio of proposals and every uniform number, as five tensors of one length."""
    gain, ratio, uniform = torch.cartesian_prod(torch.tensor(gains), torch.tensor(q), LATTICE).T
    old = -2.3 - 0.5 * gain
    there = -0.7 - 0.5 * ratio
    return old, old + gain, there, there + ratio, uniform


def some_moves(seed, low=-4.0, proposals=-1.0):
    """Forty moves between logarithms in [low, low + 3), the proposals' within 1 of `proposals`."""
    (case,) = varied(((40,),), seed=seed)
    old, new = case.uniform(low, low + 3), case.uniform(low, low + 3)
    return old, new, *(case.uniform(proposals - 1, proposals + 1) for _ in range(2)), case.uniform(0, 1)


def taken(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    """With the ratio itself, in float64."""
    old, new, there, back = (each.double() for each in (log_p_old, log_p_new, log_q_there, log_q_back))
    return uniform.double() < ((new - old).exp() * (back - there).exp()).clamp(max=1)


def exactly_taken(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    """With one sum of logarithms, in float64: what no ratio by itself can hold."""
    old, new, there, back = (each.double() for each in (log_p_old, log_p_new, log_q_there, log_q_back))
    return uniform.double().log() < new - old + back - there


@pytest.mark.exercise("E1.4", points=1)
def test_takes_worse_moves_with_the_right_chance(accept):
    given, (old, new, there, _, uniform) = cases((-2.0, -1.2, -0.6, -0.11, 0.4, 2.0)), some_moves(14)
    inputs = [given, tuple(each[20:21] for each in given), tuple(each.double() for each in given)]
    agree(
        accept,
        taken,
        [*inputs, (old, new, there, there, uniform)],
        says="with equal proposals, a move is taken with probability min(1, p(new) / p(old)).",
        mistakes=ACCEPT_MISTAKES,
    )


@pytest.mark.exercise("E1.4", points=2)
def test_keeps_the_traffic_balanced(accept):
    given = cases((-1.2, -0.3, 0.0, 0.3, 0.9), (-1.1, -0.2, 0.2, 0.7))
    agree(
        accept,
        taken,
        [given, tuple(each[:1] for each in given), some_moves(15)],
        says="p(old) q(there) A(there) = p(new) q(back) A(back): as much traffic one way as the other.",
        mistakes=ACCEPT_MISTAKES,
    )


@pytest.mark.exercise("E1.4", points=1)
def test_holds_at_the_extremes(accept):
    old = torch.tensor([-2000.0, -2000.0, -2000.0, 0.0, -1.0, 0.0, -math.inf, -math.inf])
    new = torch.tensor([-2000.5, -2003.0, -1000.0, -math.inf, -1.0, -math.inf, -math.inf, -1.0])
    there = torch.tensor([-300.0, -300.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    back = torch.tensor([-300.0, -300.0, 0.0, 5.0, -1.0, 0.0, 0.0, 0.0])
    uniform = torch.tensor([0.5, 0.5, 0.999, 0.0, 0.0, 0.5, 0.5, 0.999])
    gain, rare = torch.tensor([-8.0, -13.6, -18.2]), torch.tensor([1e-4, 1e-6, 1e-8])  # each a little below exp(gain)
    none = torch.zeros(3)
    worlds = torch.tensor([-2000.0, -2000.0, 2000.0, 2000.0])  # of both ratios: they cancel but for 1/2
    near = torch.tensor([-3.1, -4.6, -6.2])  # uniform is a two-thousandth below exp(near)
    agree(
        accept,
        exactly_taken,
        [
            (old, new, there, back, uniform),
            (none, gain, none, none, rare),
            (torch.zeros(4), worlds, worlds + 0.5, torch.zeros(4), torch.tensor([0.6, 0.61, 0.6, 0.61])),
            (none, near, none, none, near.exp() * (1 - 5e-4)),
            some_moves(16, low=-2000.0, proposals=-300.0),
        ],
        says="log p of -2000 is no reason for NaN; what is impossible (log p = -inf) is never accepted, whether "
        "uniform is 0 or the start was impossible, too; and an impossible start is left for any possible place.",
        mistakes=ACCEPT_MISTAKES,
    )


# ---- E1.5 ------------------------------------------------------------------------------------------------------------

BUDGET, SIZE = 600, 16
HELD_OUT = (
    {1: (0, 0.657, 0.252), 2: (1, 0.563, -0.824), 3: (2, 0.555, -0.549), 4: (2, 0.12), 5: (3, 0.093)},
    {1: (0, 0.704, -0.101), 2: (1, 0.467, 0.391), 3: (1, 0.212), 4: (2, 0.245)},
    {1: (0, 0.132, -0.332), 2: (1, 0.647, -0.027), 3: (1, 0.146, -1.065), 4: (1, 0.231), 5: (2, 0.078)},
    {
        1: (0, 0.599, 0.194),
        2: (0, 0.191, -0.829),
        3: (2, 0.472, 0.473),
        4: (2, 0.146),
        5: (3, 0.394, -0.544),
        6: (3, 0.198, 0.541),
        7: (5, 0.163),
    },
    {1: (0, 0.384, 0.012), 2: (1, 0.428, -0.535), 3: (1, 0.121), 4: (2, 0.399, -0.764), 5: (4, 0.222)},
    {1: (0, 0.416, -0.461), 2: (1, 0.311, -0.298), 3: (2, 0.145, 0.345), 4: (2, 0.185), 5: (3, 0.121)},
    {
        1: (0, 0.568, -0.378),
        2: (0, 0.501, 0.429),
        3: (1, 0.417, -0.311),
        4: (1, 0.054),
        5: (3, 0.459, -0.122),
        6: (3, 0.182),
        7: (5, 0.12),
    },
    {
        1: (0, 0.5, 0.705),
        2: (1, 0.72, -0.091),
        3: (1, 0.175),
        4: (2, 0.346, -0.764),
        5: (2, 0.096, -0.542),
        6: (2, 0.055),
        7: (5, 0.076),
    },
    {1: (0, 0.352, 0.631), 2: (1, 0.439, -1.047), 3: (1, 0.145), 4: (2, 0.084)},
    {1: (0, 0.355, -0.125), 2: (0, 0.084, -0.465), 3: (2, 0.637, 0.838), 4: (2, 0.082), 5: (3, 0.24)},
    {
        1: (0, 0.759, -0.192),
        2: (0, 0.172, -0.559),
        3: (2, 0.759, -0.887),
        4: (1, 0.113, -0.685),
        5: (4, 0.561, 1.039),
        6: (4, 0.066),
        7: (5, 0.203),
    },
    {
        1: (0, 0.276, -0.622),
        2: (0, 0.535, -0.064),
        3: (2, 0.525, -0.721),
        4: (2, 0.164),
        5: (1, 0.532, 0.585),
        6: (1, 0.07),
        7: (5, 0.067),
    },
)  # twelve trees from the grammar: ids, then (parent, length, angle) or (parent, radius)
MOVES_ALONE = 2.31e-3  # as `moves_alone()` finds it


class Handed(Policy):
    """A student's policy, held to the budget (what it asks for beyond is not given), and what it did, in `diary`."""

    diary: dict[str, float]

    def at(self, now):
        """The dials as the student reads them, cut to what is left; fails where they make no sense."""
        try:
            tree = Tree(now.best.tree.parts, now.best.tree.next_id)  # a plain one: all this is copied for every dial
            best = now.best._replace(tree=tree, memory={})
            read = super().at(replace(now, context=None, chains=(best,)))
        except (ValueError, TypeError, AttributeError) as error:
            raise AssertionError(f"the policy cannot be carried out: {error}") from None
        unknown = ", ".join(map(repr, set(read.rates) - set(moves.RULES)))
        must(not unknown, f"rates name rules that do not exist: {unknown}; there are {', '.join(moves.RULES)}")
        left = (BUDGET - now.cost.units) // 3
        inner = max(0, min(int(read.inner_steps), left))
        langevin = max(0, min(int(read.langevin_steps), (left - inner) // 2))
        self.diary["gradients"] += inner + 2 * langevin
        self.diary["steps"] += 1
        self.diary["moves"] += any(read.rates.values())
        self.diary["accepted"] += sum(chain.moved for chain in now.chains) / len(now.chains)
        return replace(read, inner_steps=inner, langevin_steps=langevin)


def fitted(policy, seed):
    """The final losses of one fit to each held-out tree."""
    return contest(Entry(policy, sapling()), [grown(parts) for parts in HELD_OUT], SIZE, BUDGET, seed)[0]


def moves_alone():
    """What moves alone reach, the geometric mean over eight seeds; a test holds MOVES_ALONE to it."""
    policy = Policy(temperature=falling(1e-3, 2e-5))
    return statistics.geometric_mean(loss for seed in range(8) for loss in fitted(policy, seed))


def handed(my_policy):
    """The policy that the student's function returns, its functions staying on their side."""
    given = my_policy()
    kind = getattr(given, "kind", f"a {type(given).__name__}")
    must(kind.endswith("Policy"), f"my_policy returns {kind}: let it return a Policy(...)")
    policy = Handed(**{field.name: getattr(given, field.name) for field in fields(Policy)})
    object.__setattr__(policy, "diary", defaultdict(float))
    return policy


@pytest.mark.exercise("E1.5", points=1)
def test_can_be_carried_out(my_policy):
    policy = handed(my_policy)
    for step, units in ((0, 1), (1, 30), (150, 400), (290, BUDGET - 1)):
        policy.at(FitStep(step, Cost(units), BUDGET, (Chain(sapling(), 0.0, 0.05, {}),), 0.03, None))


NO_GRADIENTS = "these are moves alone: no gradient was taken. Let gradients place what the moves have found."
WHOLE = "inner_steps is a whole number, 0 or more; yours is {!r}."
NEVER = " Your inner_steps is a function that asked for none: now.spent runs from 0 to 1, now.step counts."
NOTHING = (
    "it does nothing at all: rates are {} and inner_steps is 0. Let moves find the parts and gradients place them."
)
NO_MOVES = "these are gradients alone: no move was tried. Let moves find the parts."


def compete(my_policy, mark, seeds):
    """Fit the held-out trees: both halves are there, and the loss is at most `mark` of that of moves alone.

    Twelve fits a seed, and more seeds while these leave it open: the geometric mean of twelve errs by a third, easily.
    One seed alone fails a policy only where that is out of the question.
    """
    policy, losses, ratio = handed(my_policy), [], math.nan
    none = policy.inner_steps == 0 and policy.langevin_steps == 0
    must(not none or policy.rates != {}, NOTHING)  # at once: dials that never change
    must(not none, NO_GRADIENTS)
    must(policy.rates != {}, NO_MOVES)
    steps = policy.inner_steps
    if isinstance(steps, int | float | str):
        must(not isinstance(steps, str) and steps >= 0 and steps == int(steps), WHOLE.format(steps))
    for seed in seeds:
        losses += fitted(policy, seed)
        must(policy.diary["gradients"], NO_GRADIENTS + NEVER * callable(policy.inner_steps))
        must(policy.diary["moves"], NO_MOVES)
        ratio = statistics.geometric_mean(losses) / MOVES_ALONE
        if ratio < mark / 1.5 or ratio > mark * (4 if seed == seeds[0] else 1.5):
            break
    diary, fits = policy.diary, len(losses) // len(HELD_OUT)
    moved, steps, gradients = (round(diary[what] / fits) for what in ("moves", "steps", "gradients"))
    names = {
        "too hot: nearly every move is accepted, whatever it does to the picture": diary["accepted"]
        > 0.7 * diary["steps"],
        "it stopped early, with units left": steps + 3 * gradients < 0.9 * BUDGET,
        "gradients eat the budget: hardly a move was tried": moved < BUDGET / 8,
    }
    likely = next((f" The likely reason: {name}." for name, holds in names.items() if holds), "")
    must(
        ratio <= mark,
        f"{BUDGET} units on each of {len(HELD_OUT)} trees you have not seen end at {ratio:.2f} times the loss of moves "
        f"alone ({MOVES_ALONE:.1e}, geometric means of {len(losses)} fits); {mark} is needed. "
        f"It tried moves in {moved} of {steps} steps and took {gradients} gradients.{likely}",
    )


@pytest.mark.exercise("E1.5", points=4)
def test_beats_moves_alone_and_gradients_alone(my_policy):
    compete(my_policy, mark=0.8, seeds=range(3))


@pytest.mark.exercise("E1.5", points=1)
def test_does_so_clearly_and_with_other_random_numbers(my_policy):
    compete(my_policy, mark=0.6, seeds=range(3, 6))


# ---- E1.6 ------------------------------------------------------------------------------------------------------------


def grown(parts):
    """The tree of these plain parts; raises ValueError, seen by the student, for what is no tree."""
    made = {int(i): Branch(*part) if len(part) == 3 else Leaf(*part) for i, part in parts.items()}
    return Tree(made, max(made, default=0) + 1)


def plain(tree):
    """The parts of a tree as plain tuples."""
    return {i: tuple(part) for i, part in tree.parts.items()}


def chosen_move(parts, rule, seed):
    """A tree and a random move on it; raises ValueError where the rule finds nothing to do."""
    tree = grown(parts)
    move = moves.propose(rule, tree, Grammar(), np.random.default_rng([seed, len(rule)]))
    if move is None:
        raise ValueError(f"{rule} finds nothing to do in this tree; EXAMPLE has something for every rule")
    return tree, move


def by_edits(parts, rule, seed):
    """A right journey: the move is an edit, and undoing it is the edit read backwards."""
    _, move = chosen_move(parts, rule, seed)
    return plain(move.tree), plain(moves.undo(move.tree, move.edit))


def by_memory(parts, rule, seed):
    """A right journey: the old tree was kept, and undoing is looking it up."""
    tree, move = chosen_move(parts, rule, seed)
    kept = plain(tree)
    return plain(move.tree), dict(sorted(kept.items(), reverse=True))


def spoiled(change, rules=tuple(moves.RULES), when=lambda seed: True):
    """A wrong journey: after some moves `change(before, after)` comes back in place of the tree that was."""

    def journey(parts, rule, seed):
        tree, move = chosen_move(parts, rule, seed)
        before, after = plain(tree), plain(move.tree)
        return after, change(before, after) if rule in rules and when(seed) else before

    return journey


def idle(parts, rule, seed):
    """A wrong journey: nothing happens, and nothing has to be undone."""
    tree, _ = chosen_move(parts, rule, seed)
    return plain(tree), plain(tree)


def without_new_leaf(before, after):
    """A branch comes back without its leaf."""
    gone = {i for i in before if i not in after}
    return {i: part for i, part in before.items() if not (i in gone and len(part) == 2)}


def renamed(before, after):
    """What was removed comes back under a new id."""
    fresh = max([*before, *after]) + 1
    gone = [i for i in before if i not in after and not any(part[0] == i for part in before.values())]
    return {fresh if gone and i == gone[0] else i: part for i, part in before.items()}


def rounded(before, after):
    """Numbers come back through arithmetic, and differ in the last places."""
    return {i: (part[0], *(value * (1 + 1e-9) for value in part[1:])) for i, part in before.items()}


def halfway(before, after):
    """Numbers come back half of the way."""
    return {
        i: (part[0], *((x + y) / 2 for x, y in zip(part[1:], after[i][1:]))) if i in after else part
        for i, part in before.items()
    }


def swapped_numbers(before, after):
    """Length and angle come back in the wrong order."""
    return {i: (part[0], part[2], part[1]) if len(part) == 3 else part for i, part in before.items()}


def reparented(before, after):
    """A leaf comes back on another branch."""
    branches = [i for i, part in before.items() if len(part) == 3]
    leaf = next((i for i, part in before.items() if len(part) == 2), 0)
    other = next((i for i in branches if leaf and i != before[leaf][0]), before[leaf][0] if leaf else 0)
    return {i: (other, *part[1:]) if i == leaf else part for i, part in before.items()}


def left_over(before, after):
    """What the move added is still there."""
    return after


JOURNEYS = {
    "undo does nothing": spoiled(lambda before, after: after),
    "the move does nothing": idle,
    "a removed branch comes back without its leaf": spoiled(without_new_leaf, ("remove_branch",)),
    "what was removed comes back under a new id": spoiled(renamed, ("remove_leaf", "remove_branch")),
    "numbers come back through arithmetic, off by 1e-9": spoiled(rounded, ("split_branch", "merge_branch")),
    "parameters come back half of the way": spoiled(halfway, ("modify_params",)),
    "length and angle come back swapped": spoiled(swapped_numbers, ("add_leaf",)),
    "a merge is not undone": spoiled(lambda before, after: after, ("merge_branch",)),
    "the parent of a leaf comes back wrong": spoiled(reparented, ("split_branch", "remove_leaf")),
    "one part too many comes back": spoiled(left_over, ("add_leaf", "add_anywhere")),
    "wrong only now and then": spoiled(lambda before, after: after, ("add_anywhere",), lambda seed: seed % 4 == 3),
}  # fmt: skip


RIGHT_JOURNEYS = {"undo as the edit read backwards": by_edits, "undo as the old tree, in another order": by_memory}
EXACT = "Numbers and ids come back exactly; only the order of a dictionary may differ: compare dictionaries with ==."


@pytest.mark.exercise("E1.6", points=1)
def test_accepts_right_journeys_and_rejects_the_crude_ones(test_undo):
    crude = ("undo does nothing", "the move does nothing")
    run_against(
        test_undo,
        RIGHT_JOURNEYS,
        {name: JOURNEYS[name] for name in crude},
        stricter={"undo as the old tree, in another order": EXACT},
    )


@pytest.mark.exercise("E1.6", points=3)
def test_rejects_the_subtle_ones_too(test_undo):
    run_against(test_undo, RIGHT_JOURNEYS, JOURNEYS, seed=1, stricter={"undo as the old tree, in another order": EXACT})


# ---- E1.7 ------------------------------------------------------------------------------------------------------------


def density(v, spread):
    """N(v; 0, spread^2) of plain floats."""
    return statistics.NormalDist(0, spread).pdf(v)


def log_ratio(length, v, spread, branches, pairs):
    """By Python's own normal distribution."""
    return math.log(1 / pairs) - math.log(density(v, spread) / branches) + math.log(2 * length)


SPLIT_MISTAKES = {
    "the way there and the way back are swapped": lambda l, v, s, b, p: 2 * math.log(2 * l) - log_ratio(l, v, s, b, p),
    "the whole ratio is upside down": lambda l, v, s, b, p: -log_ratio(l, v, s, b, p),
    "the density of v is forgotten": lambda l, v, s, b, p: math.log(b / p * 2 * l),
    "the density of v has the wrong sign": lambda l, v, s, b, p: math.log(b / p * 2 * l * density(v, s)),
    "neither choice is counted": lambda l, v, s, b, p: log_ratio(l, v, s, 1, 1),
    "the numbers of choices themselves, not their logarithms": lambda l, v, s, b, p: log_ratio(l, v, s, 1, 1) + b - p,
    "v^2 / 2 * spread^2 multiplies by the spread: brackets are missing": lambda l, v, s, b, p: (
        log_ratio(l, v, s, b, p) - (v / s) ** 2 / 2 + v**2 / 2 * s**2
    ),
    "v is not squared": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) + (v - v**2) / (2 * s**2),
    "log(2) * length, not log(2 * length)": lambda l, v, s, b, p: (
        log_ratio(l, v, s, b, p) - math.log(2 * l) + math.log(2) * l
    ),
    "the choice of the branch is forgotten": lambda l, v, s, b, p: log_ratio(l, v, s, 1, p),
    "the choice of the pair is forgotten": lambda l, v, s, b, p: log_ratio(l, v, s, b, 1),
    "branches and pairs are swapped": lambda l, v, s, b, p: log_ratio(l, v, s, p, b),
    "the constant of the normal is forgotten": lambda l, v, s, b, p: math.log(b / p * 2 * l) + (v / s) ** 2 / 2,
    "the constant of the normal lacks the spread": lambda l, v, s, b, p: (
        math.log(b / p * 2 * l) + (v / s) ** 2 / 2 + math.log(2 * math.pi) / 2
    ),
    "the spread is inside of the root, sqrt(2 pi spread)": lambda l, v, s, b, p: (
        log_ratio(l, v, s, b, p) - math.log(s) / 2
    ),
    "2 pi without its root": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) + math.log(2 * math.pi) / 2,
    "v / spread is not squared": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) - (v / s) ** 2 / 2 + abs(v / s) / 2,
    "the exponent of the normal has the wrong sign": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) - (v / s) ** 2,
    "the Jacobian itself, not its logarithm": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) - math.log(2 * l) + 2 * l,
    "the normal lacks its 1/2: -(v / spread)^2": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) + (v / s) ** 2 / 2,
    "spread is taken for a variance": lambda l, v, s, b, p: log_ratio(l, v, s**0.5, b, p),
    "half of v, or twice": lambda l, v, s, b, p: log_ratio(l, 2 * v, s, b, p),
    "the Jacobian is forgotten": lambda l, v, s, b, p: log_ratio(0.5, v, s, b, p),
    "the Jacobian without its 2": lambda l, v, s, b, p: log_ratio(l / 2, v, s, b, p),
    "the Jacobian without its length": lambda l, v, s, b, p: log_ratio(1.0, v, s, b, p),
    "the Jacobian is upside down": lambda l, v, s, b, p: log_ratio(1 / (4 * l), v, s, b, p),
    "the square of the length": lambda l, v, s, b, p: log_ratio(l**2, v, s, b, p),
    "no logarithm": lambda l, v, s, b, p: math.exp(log_ratio(l, v, s, b, p)),
    "log to base 10, not e": lambda l, v, s, b, p: log_ratio(l, v, s, b, p) / math.log(10),
}


@pytest.mark.exercise("E1.7", points=2)
def test_counts_the_ways_there_and_back(split_log_ratio):
    (case,) = varied(((1,),), seed=17)
    drawn = (0.5, case.number(-1, 1), case.number(0.5, 2), 5, 11)
    agree(
        split_log_ratio,
        log_ratio,
        [(0.5, 0.5, 0.3, 3, 2), (0.5, 0.1, 0.3, 1, 1), (0.5, -0.2, 1.5, 7, 4), (0.5, 0.0, 0.1, 2, 9), drawn],
        says="log q(back) - log q(there), at length = 1/2, where the Jacobian is 1.",
        mistakes=SPLIT_MISTAKES,
        rtol=1e-6,
    )


def determinant(length, angle, u, v):
    """|d(l1, a1, l2, a2) / d(l, a, u, v)| by autograd."""

    def split(x):
        return torch.stack([x[2] * x[0], x[1] - x[3], (1 - x[2]) * x[0], 2 * x[3]])

    x = torch.tensor([length, angle, u, v], dtype=torch.float64)
    return float(torch.autograd.functional.jacobian(split, x).det().abs())


@pytest.mark.exercise("E1.7", points=2)
def test_stretches_with_the_length(split_log_ratio):
    (case,) = varied(((1,),), seed=18)
    v, spread = case.number(-0.5, 0.5), case.number(0.2, 1)
    for length in (0.1, 0.7, 2.0, case.number(0.2, 3)):
        at, half = (split_log_ratio(one, v, spread, 4, 3) for one in (length, 0.5))
        for answer in (at, half):
            must(isinstance(answer, float), f"not a number: return a float, not {getattr(answer, 'kind', answer)!r}")
        log_j = math.log(determinant(length, 0.3, 0.25, v))  # at length 1/2 it is log 1
        expect(
            at - half,
            log_j,
            says="(l, a, u, v) -> (l1, a1, l2, a2) stretches volume in proportion to l: compared were the answers for "
            f"the lengths {length:.3g} and 0.5, all else equal.",
            mistakes={
                "the Jacobian is forgotten": 0.0,
                "the Jacobian without its length": 0.0,
                "the Jacobian is upside down": -log_j,
                "the square of the length": 2 * log_j,
                "the whole ratio is upside down": -log_j,
                "the way there and the way back are swapped": log_j,
                "log(2) * length, not log(2 * length)": math.log(2) * (length - 0.5),
            },
            rtol=1e-6,
        )


# ---- E1.8 ------------------------------------------------------------------------------------------------------------


def squashing(theta=None, log_slope=None):
    """theta(x, low, high, share) and log |d theta / d x|, one of them replaced, as a whole answer."""

    def answer(x, low, high):
        share, exact = 1 / (1 + (-x).exp()), -x.abs() - 2 * torch.log1p((-x.abs()).exp())
        log_s = F.logsigmoid(x)
        right = low + (high - low) * share, math.log(high - low) + exact  # exact: also where the share rounds to 1
        return (
            right[0] if theta is None else theta(x, low, high, share),
            right[1] if log_slope is None else log_slope(high - low, exact, share, log_s),
        )

    return answer


THETA_MISTAKES = {
    name: squashing(formula)
    for name, formula in {
        "low is forgotten": lambda x, low, high, share: (high - low) * share,
        "stretched by high instead of high - low": lambda x, low, high, share: low + high * share,
        "from 0 to high: low is forgotten": lambda x, low, high, share: high * share,
        "from the middle, not from low": lambda x, low, high, share: (low + high) / 2 + (high - low) * share,
        "the width is missing in theta": lambda x, low, high, share: low + share,
        "the range (0, 1)": lambda x, low, high, share: share,
        "tanh, which runs from -1 to 1": lambda x, low, high, share: low + (high - low) * torch.tanh(x),
        "upside down": lambda x, low, high, share: high - (high - low) * share,
        "projection: cut off at the ends": lambda x, low, high, share: x.clamp(low, high),
        "sigmoid(2 x): a tanh that was stretched": lambda x, low, high, share: (
            low + (high - low) * torch.sigmoid(2 * x)
        ),
    }.items()
}


def overflowing_slope(width, exact, s, log_s):
    """log(width) - x - 2 log(1 + exp(-x)), with x = 2 log sigmoid(x) - log(sigmoid(x) sigmoid(-x))."""
    x = 2 * log_s - exact
    return math.log(width) - x - 2 * torch.log1p(torch.exp(-x))


def in_words(e):
    """The name of an epsilon in the logarithm."""
    return f"an epsilon in the log, log(... + {e:g}): far out it alone is left"


SLOPE_MISTAKES = {
    name: squashing(None, formula)
    for name, formula in {
        "no logarithm": lambda width, exact, s, log_s: width * exact.exp(),
        "the width is forgotten": lambda width, exact, s, log_s: exact,
        "upside down: that is log |d x / d theta|": lambda width, exact, s, log_s: -math.log(width) - exact,
        "the width counts twice": lambda width, exact, s, log_s: 2 * math.log(width) + exact,
        "exp(-x) overflows where x is far below 0": overflowing_slope,
        "the width is divided by": lambda width, exact, s, log_s: exact - math.log(width),
        "the logarithm of the width is multiplied, not added: the width times log(sigmoid(x) sigmoid(-x))": (
            lambda width, exact, s, log_s: width * exact
        ),
        "softplus with the wrong sign: log sigmoid(x) = -softplus(-x)": lambda width, exact, s, log_s: (
            math.log(width) - exact
        ),
        "the width itself, not its logarithm": lambda width, exact, s, log_s: width + exact,
        "only sigmoid(x), not times sigmoid(-x)": lambda width, exact, s, log_s: math.log(width) + log_s,
        "sigmoid(x) twice, not times sigmoid(-x)": lambda width, exact, s, log_s: math.log(width) + 2 * log_s,
        "summed over all parameters": lambda width, exact, s, log_s: (math.log(width) + exact).sum(),
        "underflows: log(sigmoid) far out is -inf": lambda width, exact, s, log_s: (width * s * (1 - s)).log(),
        **{
            in_words(e): (lambda width, exact, s, log_s, e=e: (width * exact.exp() + e).log())
            for e in (1e-12, 1e-10, 1e-8, 1e-6)
        },
    }.items()
}


def with_slope(log_slope):
    """A whole answer with this log |d theta / d x|, a function of (x, low, high)."""
    return lambda x, low, high: (squashing()(x, low, high)[0], log_slope(x, low, high))


SLOPE_MISTAKES |= {
    "log(1 - sigmoid(x)) is -inf far out: log sigmoid(-x) is not": with_slope(
        lambda x, low, high: math.log(high - low) + F.logsigmoid(x) + torch.log1p(-x.sigmoid())
    ),
    "-|x| alone holds far out only": with_slope(lambda x, low, high: math.log(high - low) - x.abs()),
    "log(high) - log(low), not log(high - low)": with_slope(
        lambda x, low, high: math.log(high) - math.log(low) + F.logsigmoid(x) + F.logsigmoid(-x)
    ),
    **{
        f"x is cut off at {far}: beyond it the slope stays as it is": with_slope(
            lambda x, low, high, far=far: squashing()(x.clamp(-far, far), low, high)[1]
        )
        for far in (10, 15, 20, 30, 50, 80)
    },
    **{
        f"{in_words(e)}, but for the width": with_slope(
            lambda x, low, high, e=e: math.log(high - low) + (x.sigmoid() * (1 - x.sigmoid()) + e).log()
        )
        for e in (1e-12, 1e-10, 1e-8, 1e-6)
    },
}
IN_ANOTHER_ORDER = "theta comes first, then the logarithm of the factor"


def ranges(scales, seed):
    """x of several shapes and dtypes, and a range for each."""
    lows = ((0.05, 0.3), (-1.2, 1.2), (0.0, 3.0), (-7.0, -5.0))
    for case, (low, high), scale in zip(varied(((13,), (2, 3), (1, 1, 2), (1,)), seed=seed), lows, scales):
        yield case.normal(scale=scale), low, high


@pytest.mark.exercise("E1.8", points=1)
def test_stays_in_its_range(bounded):
    agree(
        lambda *given: bounded(*given)[0],
        lambda x, low, high: squashing()(x, low, high)[0],
        ranges((3.0, 1.0, 2.0, 5.0), seed=8),
        says="theta = low + (high - low) sigmoid(x).",
        mistakes={name: lambda *given, wrong=wrong: wrong(*given)[0] for name, wrong in THETA_MISTAKES.items()}
        | {IN_ANOTHER_ORDER: lambda *given: squashing()(*given)[1]},
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.exercise("E1.8", points=2)
def test_knows_how_it_stretches(bounded):
    far = torch.linspace(-100, 100, 11)[None], -1.0, 1.0  # one row: a factor of each number's own explains nothing
    agree(
        lambda *given: bounded(*given)[1],
        lambda x, low, high: squashing()(x, low, high)[1],
        [*ranges((2.0, 1.0, 20.0, 3.0), seed=9), far, (far[0].double(), 0.0, 3.0)],
        says="log |d theta / d x| = log((high - low) sigmoid(x) sigmoid(-x)), for |x| up to 100.",
        mistakes={name: lambda *given, wrong=wrong: wrong(*given)[1] for name, wrong in SLOPE_MISTAKES.items()}
        | {IN_ANOTHER_ORDER: lambda *given: squashing()(*given)[0]},
        rtol=1e-4,
        atol=1e-4,
    )


# ---- E1.9 ------------------------------------------------------------------------------------------------------------


def log_q(start, end, score, step, factor=2.0):
    """log N(end; start + step score, factor step I)."""
    return torch.distributions.Normal(start + step * score, (factor * step) ** 0.5).log_prob(end).sum(1)


def rating(ratio):
    """A ratio of (there, back) as a whole answer."""
    return lambda x, y, score_x, score_y, step: ratio(log_q(x, y, score_x, step), log_q(y, x, score_y, step))


def squares(x, y, score_x, score_y, step):
    """|y - x - step score(x)|^2 - |x - y - step score(y)|^2."""
    return (y - x - step * score_x).square().sum(1) - (x - y - step * score_y).square().sum(1)


RATIO_MISTAKES = {
    "the way there and the way back are swapped": rating(lambda there, back: there - back),
    "only the way there": rating(lambda there, back: -there),
    "only the way there, without the constant": lambda x, y, sx, sy, step: (
        (y - x - step * sx).square().sum(1) / (4 * step)
    ),
    "only the way back, without the constant": lambda x, y, sx, sy, step: (
        -(x - y - step * sy).square().sum(1) / (4 * step)
    ),
    "there and back are added, without their constants": lambda x, y, sx, sy, step: (
        -((y - x - step * sx).square() + (x - y - step * sy).square()).sum(1) / (4 * step)
    ),
    "the squares of the drifts are forgotten": lambda x, y, sx, sy, step: -((y - x) * (sx + sy)).sum(1) / 2,
    "the numbers at the start stand for its score": lambda x, y, sx, sy, step: squares(x, y, x, y, step) / (4 * step),
    "minus the numbers at the start stand for its score": lambda x, y, sx, sy, step: (
        squares(x, y, -x, -y, step) / (4 * step)
    ),
    "only the way back": rating(lambda there, back: back),
    "the variance is step, not 2 step": rating(lambda there, back: 2 * (back - there)),
    "the variance is 4 step, not 2 step": rating(lambda there, back: (back - there) / 2),
    "2 step is taken for a standard deviation": lambda x, y, sx, sy, step: (
        (log_q(y, x, sy, step) - log_q(x, y, sx, step)) / (2 * step)
    ),
    "the score at x is used both ways": lambda x, y, sx, sy, step: log_q(y, x, sx, step) - log_q(x, y, sx, step),
    "the score at y is used both ways": lambda x, y, sx, sy, step: log_q(y, x, sy, step) - log_q(x, y, sy, step),
    "the scores are swapped": lambda x, y, sx, sy, step: log_q(y, x, sx, step) - log_q(x, y, sy, step),
    "the drift is forgotten": lambda x, y, sx, sy, step: torch.zeros_like(x[:, 0]),
    "the drift points downhill": lambda x, y, sx, sy, step: log_q(y, x, -sy, step) - log_q(x, y, -sx, step),
    "the step is missing in the drift": lambda x, y, sx, sy, step: (
        log_q(y, x, sy / step, step) - log_q(x, y, sx / step, step)
    ),
    "summed over the batch": lambda *given: rating(lambda there, back: (back - there).sum())(*given),
    "not divided by 4 step": lambda x, y, sx, sy, step: squares(x, y, sx, sy, step),
    "divided by 4 step^2": lambda x, y, sx, sy, step: squares(x, y, sx, sy, step) / (4 * step**2),
    "multiplied by 4 step": lambda x, y, sx, sy, step: squares(x, y, sx, sy, step) * 4 * step,
    "the lengths, not their squares": lambda x, y, sx, sy, step: (
        ((y - x - step * sx).norm(dim=1) - (x - y - step * sy).norm(dim=1)) / (4 * step)
    ),
    "sizes, not squares": lambda x, y, sx, sy, step: (
        ((y - x - step * sx).abs() - (x - y - step * sy).abs()).sum(1) / (4 * step)
    ),
    "the drift is 2 step score": lambda x, y, sx, sy, step: squares(x, y, 2 * sx, 2 * sy, step) / (4 * step),
    "the drift is step / 2 score": lambda x, y, sx, sy, step: squares(x, y, sx / 2, sy / 2, step) / (4 * step),
    "there and back are added": rating(lambda there, back: -(there + back)),
    "the mean over coordinates, not their sum": lambda x, y, sx, sy, step: (
        (log_q(y, x, sy, step) - log_q(x, y, sx, step)) / x.shape[1]
    ),
}


@pytest.mark.exercise("E1.9", points=2)
def test_is_the_difference_of_two_normals(langevin_log_ratio):
    inputs = []
    for case, step in zip(
        varied(((5, 3), (1, 4), (3, 1), (2, 20)), (torch.float64, torch.float32), 19), (0.3, 0.05, 2.0, 0.4)
    ):
        inputs.append((*(case.normal() for _ in range(4)), step))
    agree(
        langevin_log_ratio,
        rating(lambda there, back: back - there),
        inputs,
        says="log q(y -> x) - log q(x -> y), q a normal of mean x + step score, variance 2 step, does not hold.",
        mistakes=RATIO_MISTAKES,
        rtol=1e-3,
        atol=1e-3,
    )
