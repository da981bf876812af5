"""Claims of notebook 01: moves, gradients and both, from the stored contest; and two small experiments.

The contest's runs are read from its card (`tree_policies`, 25 core-minutes and more to recompute); what stands for a
seed there is a target tree, with the mean over the contest's twelve seeds.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.procedural.leaf import soft_disc

HERE, CARD = "cs348k_diffusion.evaluate.claims.trees:", "tree_policies"


@cache
def _log_losses(folder: Path) -> dict[str, np.ndarray]:
    """For each policy the mean log loss of each target, and for "none" that of the start."""
    card = result(CARD, folder)
    names = {run["policy"] for run in card["runs"]}
    found = {name: np.log([run["losses"] for run in card["runs"] if run["policy"] == name]).mean(0) for name in names}
    return {**found, "none": np.log(card["start"])}


def contest(seed: int, policy: str, folder: Path = FOLDER) -> dict[str, float]:
    """The log loss of one target after 6,000 units."""
    return {"log loss": float(_log_losses(folder)[policy][seed]), "cost": 6000}


def parts(seed: int, moves: str, gradients: str, folder: Path = FOLDER) -> dict[str, float]:
    """The log loss of one target with moves and gradients each off or on; with both off, that of the start."""
    policy = {"off off": "none", "on off": "moves only", "off on": "gradient only", "on on": "both"}
    name = policy[f"{moves} {gradients}"]
    return {"log loss": float(_log_losses(folder)[name][seed]), "cost": 0 if name == "none" else 6000}


def growth(seed: int, policy: str, folder: Path = FOLDER) -> dict[str, float]:
    """The slope of log cost against log size, 2 to 32 parts; a tree that is not solved counts with the whole budget."""
    sizes = result(CARD, folder)["sizes"]
    cost = [sizes[policy]["solved"][sizes["trees"] * k + seed] or sizes["units"] for k in range(len(sizes["parts"]))]
    return {"slope": float(np.polyfit(np.log(sizes["parts"]), np.log(cost), 1)[0]), "cost": sizes["units"]}


def far_disc(seed: int, softness: float) -> dict[str, float]:
    """log10 of the gradient of the loss at a small disc that does not touch its target: what descent has to go by."""
    rng = np.random.default_rng(seed)
    place = torch.linspace(-1, 1, 32)
    points = torch.stack(torch.meshgrid(place, place, indexing="ij"), -1).view(-1, 2)
    target = soft_disc(points, torch.tensor([[0.55, 0.55]]), torch.tensor([0.3]), 0.01)
    x = torch.tensor([[rng.uniform(-0.7, -0.4), rng.uniform(-0.7, -0.4)]], dtype=torch.float32, requires_grad=True)
    loss = (target * (1 - soft_disc(points, x, torch.tensor([0.25]), softness))).mean()  # what is not yet covered
    (slope,) = torch.autograd.grad(loss, x)
    return {"log10 gradient": math.log10(float(slope.norm()) + 1e-30), "cost": 3}


def birth_death(seed: int, ratio: str) -> dict[str, float]:
    """A chain that adds and removes leaves under the prior alone, Poisson(3): its distance from it, in total variation.

    Adding to n leaves is accepted with 3 / (n + 1), removing one with n / 3; "wrong" forgets the 1 / (n + 1) and n.
    """
    rng, n, counts = np.random.default_rng(seed), 3, np.zeros(30)
    for up, luck in zip(rng.random(40_000) < 0.5, rng.random(40_000)):
        chance = (3 / (n + 1) if up else n / 3) if ratio == "right" else (3.0 if up else float(n > 0) / 3)
        if luck < chance and (n < 29 or not up):
            n += 1 if up else -1
        counts[n] += 1
    prior = np.array([3.0**k * math.exp(-3) / math.factorial(k) for k in range(30)])
    return {"distance": float(abs(counts / counts.sum() - prior).sum() / 2), "cost": 40_000}


BOTH, OTHERS = {"policy": "both"}, ({"policy": "moves only"}, {"policy": "gradient only"})
CLAIMS = (
    Claim(
        "M1a", "At equal cost, moves and gradients together reach a lower loss than either alone",
        "log loss", "less", BOTH, HERE + "contest", OTHERS, trials=9,
        seeds=12, budget=6000, unit="units", source="Talton et al. 2011; the lecture", notebook="01", card=CARD,
    ),
    Claim(
        "M1b", "Both also beat the well-known alternative: many parts, gradients, then pruning",
        "log loss", "less", BOTH, HERE + "contest", ({"policy": "over-parametrised, then pruned"},), trials=9,
        seeds=12, budget=6000, unit="units", source="3DGS (Kerbl et al. 2023) prunes so", notebook="01", card=CARD,
    ),
    Claim(
        "M2", "Moves and gradients together lower the log loss by more than the sum of what each does alone",
        "log loss", "less", {"moves": "on", "gradients": "on"}, HERE + "parts",
        factors={"moves": ("off", "on"), "gradients": ("off", "on")}, interaction=True, trials=9,
        seeds=12, budget=6000, unit="units", source="the lecture", notebook="01", card=CARD,
    ),
    Claim(
        "M3", "Hard edges leave descent nothing to go by where shapes do not touch: a gradient 100 times smaller",
        "log10 gradient", "less", {"softness": 0.01}, HERE + "far_disc", ({"softness": 0.2},),
        seeds=12, budget=3, unit="units", threshold=2.0, source="Liu et al. 2019 (SoftRas)", notebook="01",
    ),
    Claim(
        "M4", "As targets grow, moves only become expensive faster than moves and gradients together",
        "slope", "less", BOTH, HERE + "growth", ({"policy": "moves only"},), trials=9,
        seeds=6, budget=2000, unit="units", source="Ritchie et al. 2015", notebook="01", card=CARD,
        remark="Six trees of a size are too few; an unsolved one counts with the whole budget, which flatters moves.",
    ),
    Claim(
        "M5", "Without the ratio of proposal densities, a birth-death chain leaves its prior",
        "distance", "less", {"ratio": "right"}, HERE + "birth_death", ({"ratio": "wrong"},),
        seeds=6, budget=40_000, unit="proposals", threshold=0.3, source="Green 1995", notebook="01",
    ),
)  # fmt: skip
