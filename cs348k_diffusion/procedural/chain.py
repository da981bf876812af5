"""Where a fit stands: its chains, what they have cost, and the fixed half of the fit: target, grammar, style.

log p(tree) = log prior - energy / temperature. One render costs 1 unit, one render with its gradient 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.procedural.grammar import Grammar, log_prior
from cs348k_diffusion.procedural.pack import Forest, pack
from cs348k_diffusion.procedural.render import Picture, Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import Target
from cs348k_diffusion.procedural.tree import Tree


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
    context: FitContext | None = field(repr=False, compare=False)

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
        if self.context is None:
            raise ValueError("a step read from a file has no picture: resume the fit to see it")
        return self.context.draw([self.best.tree], self.softness).image

    def label(self) -> str:
        """The caption of the frame."""
        parts = len(self.best.tree.parts)
        return f"step {self.step}, {self.cost.units} units: {parts} parts, loss {self.loss:.2e}"


class FitContext:
    """The fixed half of a fit: target, grammar and style, and the counter of what was spent."""

    def __init__(self, target: Target | None, grammar: Grammar, style: Style, cost: Cost):
        self.target, self.grammar, self.style, self.cost = target, grammar, style, cost

    def draw(self, trees: Sequence[Tree], softness: float) -> Picture:
        """Pictures of the trees, not counted."""
        size = self.target.size if self.target else (64, 64)
        return draw(tree_parts(pack(trees, self.grammar), self.style), size, softness, self.style.sky)

    def chains_of(self, trees: Sequence[Tree], memory: Sequence[Memory], softness: float) -> list[Chain]:
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
