"""Fit a tree to a target: find the sequence of moves, and the parameters, that best approximate the goal.

log p(tree) = log prior - energy / temperature. The mechanism is here: propose a move, descend by autodiff, accept or
undo, count what it cost, and give every chain random numbers of its own. What to try, how hot, how often and when to
stop is a `Policy`, a dozen lines that the user writes. Many chains run at once, each with its own tree.
The Langevin update is the one that samples images: `langevin.metropolis_langevin_step`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.langevin import metropolis_langevin_step
from cs348k_diffusion.noise import KeyedRandom
from cs348k_diffusion.procedural.chain import Chain, Cost, FitContext, FitStep, Memory
from cs348k_diffusion.procedural.grammar import Grammar, log_prior
from cs348k_diffusion.procedural.moves import Proposal, propose
from cs348k_diffusion.procedural.pack import Forest, pack, unpack
from cs348k_diffusion.procedural.policy import Policy
from cs348k_diffusion.procedural.render import Style, default_softness
from cs348k_diffusion.procedural.targets import Target
from cs348k_diffusion.procedural.tree import EMPTY, Tree
from cs348k_diffusion.running import Run


def descend(
    context: FitContext, trees: Sequence[Tree], memory: Sequence[Memory], policy: Policy
) -> tuple[list[Tree], list[Memory]]:
    """`policy.inner_steps` of Adam on log p, all chains at once; each part keeps its memory from move to move.

    Source: Kingma & Ba 2015, arXiv:1412.6980, with beta = 0.9, 0.99.
    """
    forest = pack(trees, context.grammar)
    low, high, constraint = forest.low, forest.high, context.grammar.constraint
    x = constraint.free(forest.theta, low, high)
    mean, square, seen = _recall(trees, memory, x)
    for _ in range(policy.inner_steps):
        slope = _slope(context, x, forest, policy)
        seen = seen + 1
        mean, square = torch.lerp(mean, slope, 0.1), torch.lerp(square, slope**2, 0.01)
        x = x + policy.step_size * (mean / (1 - 0.9**seen)) / ((square / (1 - 0.99**seen)).sqrt() + 1e-12)
        x = constraint.free(constraint.bound(x, low, high), low, high)
    grown = unpack(trees, constraint.bound(x, low, high))
    rows = torch.cat([mean, square, seen], -1).tolist()
    return grown, [dict(zip(t.order, map(tuple, r), strict=False)) for t, r in zip(trees, rows, strict=True)]


def _slope(context: FitContext, x: Tensor, forest: Forest, policy: Policy) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value, _ = context.log_p(x, forest, policy.softness, policy.temperature)
        return torch.autograd.grad(value.sum(), x)[0]


def _recall(trees: Sequence[Tree], memory: Sequence[Memory], like: Tensor) -> tuple[Tensor, ...]:
    rows = like.new_zeros(*like.shape[:2], 5)
    for b, (tree, known) in enumerate(zip(trees, memory, strict=True)):
        if known:
            rows[b, : len(tree.parts)] = like.new_tensor([known.get(i, (0.0,) * 5) for i in tree.order]).view(-1, 5)
    return rows[..., 0:2], rows[..., 2:4], rows[..., 4:5]


def langevin_updates(
    context: FitContext, chains: Sequence[Chain], policy: Policy, rngs: Sequence[np.random.Generator]
) -> list[Chain]:
    """`policy.langevin_steps` of MALA on all parameters at once: modifyParams, informed by autodiff, exact."""
    trees = [chain.tree for chain in chains]
    forest = pack(trees, context.grammar)
    low, high, constraint = forest.low, forest.high, context.grammar.constraint
    x = constraint.free(forest.theta, low, high)
    seen: list[Tensor] = []

    def log_p(x: Tensor) -> Tensor:
        value, energy = context.log_p(x, forest, policy.softness, policy.temperature)
        seen.append(energy)
        return value

    moved, energy = torch.zeros(len(trees), dtype=torch.bool), torch.tensor([chain.energy for chain in chains])
    for _ in range(policy.langevin_steps):
        noise, uniform = _noise(trees, rngs, x), x.new_tensor([1 - rng.random() for rng in rngs])
        x, accept = metropolis_langevin_step(log_p, x, policy.langevin_size, noise, uniform)
        moved, energy = moved | accept, torch.where(accept, seen[-1], energy)
    new = unpack(trees, constraint.bound(x, low, high))
    cases = zip(chains, new, energy.tolist(), moved.tolist(), strict=True)
    return [Chain(t, log_prior(t, context.grammar), e, old.memory, True) if ok else old for old, t, e, ok in cases]


def _noise(trees: Sequence[Tree], rngs: Sequence[np.random.Generator], like: Tensor) -> Tensor:
    noise = torch.zeros_like(like)
    for b, (tree, rng) in enumerate(zip(trees, rngs, strict=True)):
        for k, i in enumerate(tree.order):
            size = len(tree.parts[i]) - 1
            noise[b, k, :size] = torch.from_numpy(rng.standard_normal(size))
    return noise


def accept(old: Chain, new: Chain, move: Proposal | None, policy: Policy, uniform: float) -> bool:
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


def advance(context: FitContext, now: FitStep, policy: Policy, randoms: Sequence[KeyedRandom]) -> FitStep:
    """One step of every chain: propose, descend, accept or undo, Langevin updates. `policy` as it is now."""
    rngs = [random.at(now.step) for random in randoms]
    moves = [_draw_move(policy.rates, c.tree, context.grammar, rng) for c, rng in zip(now.chains, rngs, strict=True)]
    uniforms = [1 - rng.random() for rng in rngs]
    trees = [move.tree if move else chain.tree for move, chain in zip(moves, now.chains, strict=True)]
    memory = [chain.memory for chain in now.chains]
    if policy.inner_steps:
        trees, memory = descend(context, trees, memory, policy)
    new = context.chains_of(trees, memory, policy.softness)
    cases = zip(now.chains, new, moves, uniforms, strict=True)
    kept = [c if accept(old, c, move, policy, u) else old._replace(moved=False) for old, c, move, u in cases]
    if policy.langevin_steps:
        kept = langevin_updates(context, kept, policy, rngs)
    return replace(now, step=now.step + 1, cost=context.cost, chains=tuple(kept))


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
    context = FitContext(target, grammar or Grammar(), style or Style(), Cost())
    return Run(_steps(context, policy, start, budget, seed), f"fit_tree, {budget} units")


@torch.no_grad()
def _steps(
    context: FitContext, policy: Policy, start: Tree | Sequence[Tree] | FitStep, budget: int, seed: int
) -> Iterator[FitStep]:
    now = _first(context, start, budget)
    randoms = [KeyedRandom(seed, chain) for chain in range(len(now.chains))]
    while context.cost.units < budget:
        reading = policy.at(now)
        if reading.softness != now.softness:  # other edges, other energies
            energies = context.energy(now.trees, reading.softness).tolist()
            chains = (chain._replace(energy=energy) for chain, energy in zip(now.chains, energies, strict=True))
            now = replace(now, chains=tuple(chains), softness=reading.softness)
        now = advance(context, now, reading, randoms)
        yield now
        if policy.stop(now):
            return


def _first(context: FitContext, start: Tree | Sequence[Tree] | FitStep, budget: int) -> FitStep:
    if isinstance(start, FitStep):
        context.cost = start.cost
        return replace(start, budget=budget, context=context)
    trees = (start,) if isinstance(start, Tree) else tuple(start)
    chains = (Chain(tree, log_prior(tree, context.grammar), math.inf, {}) for tree in trees)
    return FitStep(0, context.cost, budget, tuple(chains), math.inf, context)  # energies follow with the first softness


def sharp_loss(
    trees: Sequence[Tree], target: Target, grammar: Grammar | None = None, style: Style | None = None
) -> Float[Tensor, " chains"]:
    """The energy with crisp edges (a quarter of a pixel), the common yardstick for policies with other softness."""
    context = FitContext(target, grammar or Grammar(), style or Style(), Cost())
    return context.energy(trees, default_softness(target.size))
