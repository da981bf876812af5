"""Fit a tree to a target: find the sequence of moves, and the parameters, that best approximate the goal.

log p(tree) = log prior - energy / temperature. The mechanism is here: propose a move, descend by autodiff, accept or
undo, count what it cost, and give every chain random numbers of its own. What to try, how hot, how often and when to
stop is a `Policy`, a dozen lines that the user writes; every entry is a value or a function of the fit so far.
One render costs 1 unit, one render with its gradient 3. Many chains run at once, each with its own tree.
The Langevin update is the one that samples images: `langevin.metropolis_langevin_step`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.langevin import metropolis_langevin_step
from cs348k_diffusion.procedural.moves import Proposal, propose
from cs348k_diffusion.procedural.render import Picture, Style, default_softness, draw, tree_parts
from cs348k_diffusion.procedural.tree import (
    EMPTY,
    GROUND,
    Branch,
    Forest,
    Grammar,
    Leaf,
    Part,
    Tree,
    log_prior,
    pack,
    sample_tree,
    skeleton,
    unpack,
)
from cs348k_diffusion.running import Run

# ---- targets ---------------------------------------------------------------------------------------------------------


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
        tree = sample_tree(grammar, Dice(seed, tries).at(0))
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


# ---- policy: the user's ----------------------------------------------------------------------------------------------

Dial = Any  # a value, or a function of the FitStep so far that returns one
BALANCED = {
    "modify_params": 0.4,
    "add_leaf": 0.1,
    "remove_leaf": 0.1,
    "add_anywhere": 0.1,
    "remove_branch": 0.1,
    "split_branch": 0.1,
    "merge_branch": 0.1,
}


def never(item: FitStep) -> bool:
    """Stop only when the budget is spent."""
    return False


@dataclass(frozen=True)
class Policy:
    """All that the mechanism leaves open; each entry but `stop` is a value or a function of the `FitStep` so far.

    rates: how often each rule is tried (empty: never); temperature: energy that costs one nat; softness of the edges in
    world units; inner_steps: Adam steps after each move and before its judgement, of step_size in the constraint's
    coordinate; langevin_steps: Metropolis-adjusted Langevin updates after it, of langevin_size (units of x^2).
    With inner_steps the judgement is annealing (the descent has no density to put into Green's rule); without, exact.
    """

    rates: Dial = field(default_factory=lambda: dict(BALANCED))
    temperature: Dial = 1e-3
    softness: Dial = 0.03
    inner_steps: Dial = 0
    step_size: Dial = 0.05
    langevin_steps: Dial = 0
    langevin_size: Dial = 1e-3
    stop: Callable[[FitStep], bool] = never

    def at(self, now: FitStep) -> Policy:
        """The policy with every dial read; raises ValueError for one that cannot be carried out."""
        dials = {name: value for name, value in vars(self).items() if name != "stop" and callable(value)}
        read = replace(self, **{name: dial(now) for name, dial in dials.items()})
        if not read.temperature > 0:
            raise ValueError(f"temperature must be positive, got {read.temperature}; 1e-6 is as good as none")
        if min(read.rates.values(), default=0.0) < 0:
            raise ValueError(f"rates are chances and cannot be negative: {read.rates}")
        return read


def falling(first: float, last: float) -> Callable[[FitStep], float]:
    """A dial that falls geometrically from `first` to `last` as the budget is spent."""
    return lambda now: first * (last / first) ** now.spent


# ---- mechanism -------------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What each chain has spent: renders, and renders with a gradient."""

    renders: int = 0
    gradients: int = 0

    @property
    def units(self) -> int:
        """One for a render, three for a render with its gradient."""
        return self.renders + 3 * self.gradients


Memory = Mapping[int, tuple[float, ...]]  # Adam's memory of each part, by id: 2 means, 2 mean squares, steps seen


class Chain(NamedTuple):
    """One chain: its tree with log prior and energy, Adam's memory of its parts, and whether the last step moved it."""

    tree: Tree
    log_prior: float
    energy: float
    memory: Memory
    moved: bool = True


@dataclass(frozen=True)
class FitStep:
    """The chains after `step` steps; all that is needed to go on from here."""

    step: int
    cost: Cost
    budget: int
    chains: tuple[Chain, ...]
    softness: float
    forge: Forge | None = field(repr=False, compare=False)

    @property
    def spent(self) -> float:
        """The share of the budget that is spent."""
        return self.cost.units / self.budget

    @property
    def trees(self) -> list[Tree]:
        """The tree of every chain."""
        return [chain.tree for chain in self.chains]

    @property
    def best(self) -> Chain:
        """The chain with the lowest energy."""
        return min(self.chains, key=lambda chain: chain.energy)

    @property
    def loss(self) -> float:
        """The lowest energy, what a loss curve shows."""
        return self.best.energy

    def frame(self) -> Float[Tensor, "1 3 height width"]:
        """The best chain's picture, drawn for the viewer and not counted."""
        if self.forge is None:
            raise ValueError("a step read from a file has no picture: resume the fit to see it")
        return self.forge.draw([self.best.tree], self.softness).image

    def label(self) -> str:
        """The caption of the frame."""
        parts = len(self.best.tree.parts)
        return f"step {self.step}, {self.cost.units} units: {parts} parts, loss {self.loss:.2e}"


class Dice:
    """Random numbers that depend only on (seed, chain, step): a counter-based generator, set to the step's counter."""

    def __init__(self, seed: int, chain: int):
        self._bits = np.random.Philox(key=[seed, chain])
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, step: int) -> np.random.Generator:
        """The generator for one step; valid until the next call."""
        self._state["state"]["counter"][:] = (0, 0, 0, step)
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0
        self._bits.state = self._state
        return self._generator


class Forge:
    """The fixed half of a fit: target, grammar and style, and the counter of what was spent."""

    def __init__(self, target: Target | None, grammar: Grammar, style: Style, cost: Cost):
        self.target, self.grammar, self.style, self.cost = target, grammar, style, cost

    def draw(self, trees: Sequence[Tree], softness: float) -> Picture:
        """Pictures of the trees, not counted."""
        size = self.target.size if self.target else (64, 64)
        return draw(tree_parts(pack(trees, self.grammar), self.style), size, softness, self.style.sky)

    def judged(self, trees: Sequence[Tree], memory: Sequence[Memory], softness: float) -> list[Chain]:
        """The trees as chains, with their energies and log priors; costs a render."""
        energy = self.energy(trees, softness).tolist()
        priors = [log_prior(tree, self.grammar) for tree in trees]
        return [Chain(*row) for row in zip(trees, priors, energy, memory, strict=True)]

    def energy(self, trees: Sequence[Tree], softness: float) -> Float[Tensor, " chains"]:
        """The energy of each tree; costs a render. Without a target it is 0: the chains then walk over the prior."""
        self.cost = self.cost._replace(renders=self.cost.renders + 1)
        return self.target.energy(self.draw(trees, softness)) if self.target else torch.zeros(len(trees))

    def log_p(
        self, x: Float[Tensor, "chains parts 2"], forest: Forest, softness: float, temperature: float
    ) -> tuple[Float[Tensor, " chains"], Float[Tensor, " chains"]]:
        """log prior - energy / temperature + log |d theta / d x| up to a constant, and the energy; costs a gradient."""
        self.cost = self.cost._replace(gradients=self.cost.gradients + 1)
        low, high = forest.low, forest.high
        theta = torch.where(forest.used, self.grammar.constraint.bound(x, low, high), 0.0)
        grown = forest._replace(theta=theta)
        total = (self.grammar.constraint.log_jacobian(x, low, high) * forest.used).sum((1, 2))
        total = total + (self.grammar.log_branch(theta[..., 0], theta[..., 1]) * forest.branch).sum(1)
        excess = (((theta - theta.clip(low, high)) / (high - low)) ** 2 * forest.used).sum((1, 2))
        if math.isfinite(self.grammar.constraint.stiffness):
            total = total - self.grammar.constraint.stiffness * excess
        total = total.masked_fill((excess > 0) & math.isinf(self.grammar.constraint.stiffness), -math.inf)
        if self.target is None:
            return total, torch.zeros_like(total)
        picture = draw(tree_parts(grown, self.style), self.target.size, softness, self.style.sky)
        energy = self.target.energy(picture)
        return total - energy / temperature, energy.detach()


def descend(
    forge: Forge, trees: Sequence[Tree], memory: Sequence[Memory], policy: Policy
) -> tuple[list[Tree], list[Memory]]:
    """`policy.inner_steps` of Adam on log p, all chains at once; each part keeps its memory from move to move.

    Source: Kingma & Ba 2015, arXiv:1412.6980, with beta = 0.9, 0.99.
    """
    forest = pack(trees, forge.grammar)
    low, high, constraint = forest.low, forest.high, forge.grammar.constraint
    x = constraint.free(forest.theta, low, high)
    mean, square, seen = _recall(trees, memory, x)
    for _ in range(policy.inner_steps):
        slope = _slope(forge, x, forest, policy)
        seen = seen + 1
        mean, square = torch.lerp(mean, slope, 0.1), torch.lerp(square, slope**2, 0.01)
        x = x + policy.step_size * (mean / (1 - 0.9**seen)) / ((square / (1 - 0.99**seen)).sqrt() + 1e-12)
        x = constraint.free(constraint.bound(x, low, high), low, high)
    grown = unpack(trees, constraint.bound(x, low, high))
    rows = torch.cat([mean, square, seen], -1).tolist()
    return grown, [dict(zip(t.order, map(tuple, r), strict=False)) for t, r in zip(trees, rows, strict=True)]


def _slope(forge: Forge, x: Tensor, forest: Forest, policy: Policy) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value, _ = forge.log_p(x, forest, policy.softness, policy.temperature)
        return torch.autograd.grad(value.sum(), x)[0]


def _recall(trees: Sequence[Tree], memory: Sequence[Memory], like: Tensor) -> tuple[Tensor, ...]:
    rows = like.new_zeros(*like.shape[:2], 5)
    for b, (tree, known) in enumerate(zip(trees, memory, strict=True)):
        if known:
            rows[b, : len(tree.parts)] = like.new_tensor([known.get(i, (0.0,) * 5) for i in tree.order]).view(-1, 5)
    return rows[..., 0:2], rows[..., 2:4], rows[..., 4:5]


def wander(forge: Forge, chains: Sequence[Chain], policy: Policy, rngs: Sequence[np.random.Generator]) -> list[Chain]:
    """`policy.langevin_steps` of MALA on all parameters at once: modifyParams, informed by autodiff, exact."""
    trees = [chain.tree for chain in chains]
    forest = pack(trees, forge.grammar)
    low, high, constraint = forest.low, forest.high, forge.grammar.constraint
    x = constraint.free(forest.theta, low, high)
    seen: list[Tensor] = []

    def log_p(x: Tensor) -> Tensor:
        value, energy = forge.log_p(x, forest, policy.softness, policy.temperature)
        seen.append(energy)
        return value

    moved, energy = torch.zeros(len(trees), dtype=torch.bool), torch.tensor([chain.energy for chain in chains])
    for _ in range(policy.langevin_steps):
        noise, uniform = _noise(trees, rngs, x), x.new_tensor([1 - rng.random() for rng in rngs])
        x, accept = metropolis_langevin_step(log_p, x, policy.langevin_size, noise, uniform)
        moved, energy = moved | accept, torch.where(accept, seen[-1], energy)
    new = unpack(trees, constraint.bound(x, low, high))
    cases = zip(chains, new, energy.tolist(), moved.tolist(), strict=True)
    return [Chain(t, log_prior(t, forge.grammar), e, old.memory, True) if ok else old for old, t, e, ok in cases]


def _noise(trees: Sequence[Tree], dice: Sequence[np.random.Generator], like: Tensor) -> Tensor:
    noise = torch.zeros_like(like)
    for b, (tree, rng) in enumerate(zip(trees, dice, strict=True)):
        for k, i in enumerate(tree.order):
            size = len(tree.parts[i]) - 1
            noise[b, k, :size] = torch.from_numpy(rng.standard_normal(size))
    return noise


def judge(old: Chain, new: Chain, move: Proposal | None, policy: Policy, uniform: float) -> bool:
    """Green's rule: accept with probability min(1, p(s') q(s' -> s) |J| / (p(s) q(s -> s'))).

    A step without a move is pure descent and stands; after a descent the terms q and J are left out (annealing).
    """
    if move is None or new.log_prior == -math.inf:
        return new.log_prior > -math.inf
    gain = new.log_prior - old.log_prior + (old.energy - new.energy) / policy.temperature
    if not policy.inner_steps:
        gain += move.log_ratio(policy.rates)
    return math.log(uniform) < gain


def _draw_move(rates: Mapping[str, float], tree: Tree, grammar: Grammar, rng: np.random.Generator) -> Proposal | None:
    left = rng.random() * sum(rates.values())
    for rule, rate in rates.items():
        left -= rate
        if left < 0:
            return propose(rule, tree, grammar, rng)
    return None


def advance(forge: Forge, now: FitStep, policy: Policy, dice: Sequence[Dice]) -> FitStep:
    """One step of every chain: propose, descend, judge, keep or undo, wander. `policy` has its dials read."""
    rngs = [die.at(now.step) for die in dice]
    moves = [_draw_move(policy.rates, c.tree, forge.grammar, rng) for c, rng in zip(now.chains, rngs, strict=True)]
    uniforms = [1 - rng.random() for rng in rngs]
    trees = [move.tree if move else chain.tree for move, chain in zip(moves, now.chains, strict=True)]
    memory = [chain.memory for chain in now.chains]
    if policy.inner_steps:
        trees, memory = descend(forge, trees, memory, policy)
    new = forge.judged(trees, memory, policy.softness)
    cases = zip(now.chains, new, moves, uniforms, strict=True)
    kept = [c if judge(old, c, move, policy, u) else old._replace(moved=False) for old, c, move, u in cases]
    if policy.langevin_steps:
        kept = wander(forge, kept, policy, rngs)
    return replace(now, step=now.step + 1, cost=forge.cost, chains=tuple(kept))


def fit_tree(
    target: Target | None,
    policy: Policy,
    start: Tree | Sequence[Tree] | FitStep = EMPTY,
    grammar: Grammar | None = None,
    *,
    budget: int = 6000,
    seed: int = 0,
    style: Style | None = None,
) -> Run[FitStep]:
    """Fit trees to a target, `budget` units for each chain; yields the chains after every step.

    start is a tree, one for each chain, or the FitStep of an earlier run to be gone on with (seed as before: the
    result is the same as without the break). Raises ValueError for a policy that cannot be carried out.
    """
    forge = Forge(target, grammar or Grammar(), style or Style(), Cost())
    return Run(_steps(forge, policy, start, budget, seed), f"fit_tree, {budget} units")


@torch.no_grad()
def _steps(
    forge: Forge, policy: Policy, start: Tree | Sequence[Tree] | FitStep, budget: int, seed: int
) -> Iterator[FitStep]:
    now = _first(forge, start, budget)
    dice = [Dice(seed, chain) for chain in range(len(now.chains))]
    while forge.cost.units < budget:
        reading = policy.at(now)
        if reading.softness != now.softness:  # other edges, other energies
            energies = forge.energy(now.trees, reading.softness).tolist()
            chains = (chain._replace(energy=energy) for chain, energy in zip(now.chains, energies, strict=True))
            now = replace(now, chains=tuple(chains), softness=reading.softness)
        now = advance(forge, now, reading, dice)
        yield now
        if policy.stop(now):
            return


def _first(forge: Forge, start: Tree | Sequence[Tree] | FitStep, budget: int) -> FitStep:
    if isinstance(start, FitStep):
        forge.cost = start.cost
        return replace(start, budget=budget, forge=forge)
    trees = (start,) if isinstance(start, Tree) else tuple(start)
    chains = (Chain(tree, log_prior(tree, forge.grammar), math.inf, {}) for tree in trees)
    return FitStep(0, forge.cost, budget, tuple(chains), math.inf, forge)  # energies follow with the first softness


def sharp_loss(
    trees: Sequence[Tree], target: Target, grammar: Grammar | None = None, style: Style | None = None
) -> Float[Tensor, " chains"]:
    """The energy with crisp edges (a quarter of a pixel), the common yardstick for policies with other softness."""
    forge = Forge(target, grammar or Grammar(), style or Style(), Cost())
    return forge.energy(trees, default_softness(target.size))
