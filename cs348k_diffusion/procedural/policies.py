"""Four policies for one mechanism, and the contest between them at equal cost.

"Could the authors have obtained the good results using a well-known alternative method?" The idea is moves and
gradients together. Its two halves alone are the ablation; more parts than needed, gradients, then pruning is the
alternative that everybody would try. Each policy is a dozen lines; what runs it is `fit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from cs348k_diffusion.procedural.chain import Cost, FitStep
from cs348k_diffusion.procedural.fit import fit_tree, sharp_loss
from cs348k_diffusion.procedural.grammar import Grammar, to_json
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.policy import Policy, falling
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import Target, bush, image_target, sapling
from cs348k_diffusion.procedural.tree import Tree
from cs348k_diffusion.running import Run, last


class Entry(NamedTuple):
    """A policy and the tree it starts from."""

    policy: Policy
    start: Tree


CRISP = 1 / 64  # the softness of the final judgement: a quarter of a pixel at 32 x 32; a blurred eye misjudges radii


def _cools(now: FitStep) -> bool:
    return now.spent > 0.95  # at last, nothing but descent


def _descends(now: FitStep) -> bool:
    return now.step % 40 == 0 or _cools(now)


def _pruning(now: FitStep) -> dict[str, float]:
    if now.spent < 0.75:
        return {}
    return {"remove_leaf": 1.0, "remove_branch": 1.0, "merge_branch": 0.5}


JUMPS = {  # what gradients cannot do, most of all to grow; a trial costs one render
    "modify_params": 0.1,
    "add_leaf": 0.15,
    "remove_leaf": 0.1,
    "add_anywhere": 0.35,
    "remove_branch": 0.15,
    "split_branch": 0.1,
    "merge_branch": 0.05,
}

MOVES_ONLY = Policy(temperature=falling(2e-3, 5e-6), softness=CRISP)

GRADIENT_ONLY = Policy(rates={}, inner_steps=25, step_size=falling(0.1, 0.01), softness=CRISP)

PRUNED = Policy(
    rates=_pruning,
    inner_steps=25,
    step_size=falling(0.1, 0.01),
    softness=falling(0.08, CRISP),  # wide edges first: they feel a target they do not touch
    temperature=1e-5,
)

BOTH = Policy(
    rates=lambda now: {} if _descends(now) else JUMPS,
    inner_steps=lambda now: 10 if _descends(now) else 0,
    step_size=lambda now: falling(0.05, 0.003)(now) if _cools(now) else 0.05,
    temperature=lambda now: 1e-5 if _cools(now) else falling(3e-4, 3e-5)(now),
    softness=CRISP,
)

POLICIES = {
    "moves only": Entry(MOVES_ONLY, sapling()),
    "gradient only": Entry(GRADIENT_ONLY, sapling()),
    "over-parametrised, then pruned": Entry(PRUNED, bush(3)),
    "both": Entry(BOTH, sapling()),
}


def enter(
    entry: Entry, trees: Sequence[Tree], size: int = 32, budget: int = 6000, seed: int = 0
) -> tuple[Target, Run[FitStep]]:
    """The pictures of the trees as one target, and the fit of one chain to each, not run yet."""
    style = Style()
    with torch.no_grad():
        target = image_target(draw(tree_parts(pack(trees, Grammar()), style), size, background=style.sky).image)
    return target, fit_tree(target, entry.policy, [entry.start] * len(trees), budget=budget, seed=seed)


def contest(
    entry: Entry, trees: Sequence[Tree], size: int = 32, budget: int = 6000, seed: int = 0
) -> tuple[list[float], list[Tree]]:
    """Fit one chain to the picture of each tree; the final losses (crisp edges, images in [-1, 1]) and trees."""
    target, run = enter(entry, trees, size, budget, seed)
    found = last(run).trees
    with torch.no_grad():
        return sharp_loss(found, target).tolist(), found


def settings(entry: Entry) -> dict[str, Any]:
    """What the policy does at five moments of its budget, and a digest of 1001; the same for equal policies."""
    readings = [vars(entry.policy.at(FitStep(k, Cost(k), 1000, (), 0.0, None))) for k in range(1001)]
    dials = [{name: reading[name] for name in reading if name != "stop"} for reading in readings]
    shown = {name: [dials[k][name] for k in (0, 301, 601, 881, 1000)] for name in dials[0]}
    exact = json.dumps([dials, to_json(entry.start)])
    return {**shown, "digest": hashlib.sha256(exact.encode()).hexdigest()[:16]}
