"""Four policies for one mechanism, and the contest between them at equal cost.

"Could the authors have obtained the good results using a well-known alternative method?" The idea is moves and
gradients together. Its two halves alone are the ablation; more parts than needed, gradients, then pruning is the
alternative that everybody would try. Each policy is a dozen lines; what runs it is `fit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from cs348k_diffusion.procedural.fit import (
    BALANCED,
    Cost,
    FitStep,
    Policy,
    bush,
    falling,
    fit_tree,
    image_target,
    sapling,
    sharp_loss,
)
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.tree import Grammar, Tree, pack
from cs348k_diffusion.running import last


class Entry(NamedTuple):
    """A policy and the tree it starts from."""

    policy: Policy
    start: Tree


def _cools(now: FitStep) -> bool:
    return now.spent > 0.9  # at last, nothing but descent


def _descends(now: FitStep) -> bool:
    return now.step % 20 == 0 or _cools(now)


def _pruning(now: FitStep) -> dict[str, float]:
    if now.spent < 0.75:
        return {}
    return {"remove_leaf": 1.0, "remove_branch": 1.0, "merge_branch": 0.5}


MOVES_ONLY = Policy(temperature=falling(1e-2, 2e-5))

GRADIENT_ONLY = Policy(
    rates={},
    inner_steps=25,
    step_size=falling(0.1, 0.01),
    softness=falling(0.2, 0.02),  # wide edges first: they feel a target they do not touch
)

PRUNED = Policy(
    rates=_pruning,
    inner_steps=25,
    step_size=falling(0.1, 0.01),
    softness=falling(0.08, 0.02),
    temperature=1e-5,
)

BOTH = Policy(
    rates=lambda now: {} if _descends(now) else BALANCED,
    inner_steps=lambda now: 10 if _descends(now) else 0,
    step_size=lambda now: falling(0.05, 0.005)(now) if _cools(now) else 0.05,
    temperature=lambda now: 1e-5 if _cools(now) else falling(2e-3, 1e-4)(now),
)

POLICIES = {
    "moves only": Entry(MOVES_ONLY, sapling()),
    "gradient only": Entry(GRADIENT_ONLY, sapling()),
    "over-parametrised, then pruned": Entry(PRUNED, bush()),
    "both": Entry(BOTH, sapling()),
}


def contest(
    entry: Entry, trees: Sequence[Tree], size: int = 32, budget: int = 6000, seed: int = 0
) -> tuple[list[float], list[Tree]]:
    """Fit one chain to the picture of each tree; the final losses (crisp edges, images in [-1, 1]) and trees."""
    style = Style()
    with torch.no_grad():
        target = image_target(draw(tree_parts(pack(trees, Grammar()), style), size, background=style.sky).image)
        end = last(fit_tree(target, entry.policy, [entry.start] * len(trees), budget=budget, seed=seed))
        return sharp_loss(end.trees, target).tolist(), end.trees


def settings(entry: Entry) -> dict[str, list]:
    """What the policy does at five moments of its budget, as plain numbers: the same for equal policies."""
    moments = [FitStep(step, Cost(step), 1000, (), 0.0, None) for step in (0, 301, 601, 881, 1000)]
    readings = [vars(entry.policy.at(now)) for now in moments]
    return {name: [reading[name] for reading in readings] for name in readings[0] if name != "stop"}
