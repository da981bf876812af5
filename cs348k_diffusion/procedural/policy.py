"""What the mechanism of `fit` leaves open: what to try, how hot, how often, and when to stop.

A policy is a dozen lines that the user writes; every entry is a value or a function of the fit so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cs348k_diffusion.procedural.chain import FitStep

Scheduled = Any  # a value, or a function of the FitStep so far that returns one
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

    rates: Scheduled = field(default_factory=lambda: dict(BALANCED))
    temperature: Scheduled = 1e-3
    softness: Scheduled = 0.03
    inner_steps: Scheduled = 0
    step_size: Scheduled = 0.05
    langevin_steps: Scheduled = 0
    langevin_size: Scheduled = 1e-3
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
