"""Moves only, gradient only, over-parametrised then pruned, both: the contest at 6000 units on the 12 fixed targets.

    python -m cs348k_diffusion.evaluate.studies.tree_policies

Recomputes `evaluate.result("tree_policies")`, which the tests and notebook 01 read: two to four core-minutes a seed. A
policy whose result is already on the card in that folder, with the same settings, is not run again. The card also says
how the cost grows with the size of the target, from 2 to 32 parts.
"""

import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.procedural.fit import sharp_loss
from cs348k_diffusion.procedural.grammar import Grammar, sample_tree, to_json
from cs348k_diffusion.procedural.pack import pack, skeleton
from cs348k_diffusion.procedural.policies import POLICIES, enter, settings
from cs348k_diffusion.procedural.targets import fixed_trees
from cs348k_diffusion.procedural.tree import EMPTY, Tree
from cs348k_diffusion.recipes import cards

SEEDS, SIZE, BUDGET = tuple(range(1, 13)), 32, 6000
EVERY, SHOWN = 200, 2  # units between two entries of a trace; the target whose trace and trees are kept
TUNING = (
    "on other trees, fixed_trees(12, seed=77), seed 0, at 6000 units: nine trials for each policy, the lowest median "
    "adopted; all four took the crisp edges that had helped both. The last trials, on six of these trees, brought "
    "moves only from 3.5e-3 to 2.2e-3 (temperature 2e-3 to 5e-6), over-parametrised from 6.7e-3 to 4.7e-3 (14 parts at "
    "first, not 30) and gradient only from 7.4e-2 to 7.2e-2 (crisp throughout)"
)
SIZES, PER_SIZE, UNITS, SOLVED = (2, 4, 8, 16, 32), 6, 2000, 0.1


def run(name: str, seed: int) -> dict:
    """One policy on all targets with one seed."""
    began, trees = time.process_time(), fixed_trees()
    target, steps = enter(POLICIES[name], trees, SIZE, BUDGET, seed)
    trace, now = [], next(steps)
    for now in steps:
        if now.cost.units >= EVERY * (len(trace) + 1):
            losses = sharp_loss(now.trees, target).tolist()
            trace.append([now.cost.units, _short(statistics.median(losses)), _short(losses[SHOWN])])
    losses = sharp_loss(now.trees, target).tolist()
    spent = round(time.process_time() - began)
    print(f"{name}, seed {seed}: median {statistics.median(losses):.2e}, {spent} s", flush=True)
    return {
        "policy": name,
        "seed": seed,
        "settings": settings(POLICIES[name]),
        "losses": losses,
        "parts": [len(tree.parts) for tree in now.trees],
        "units": now.cost.units,
        "cpu_seconds": spent,
        "trace": {
            key: list(row) for key, row in zip(("units", "median", "shown"), zip(*trace, strict=True), strict=True)
        },
        "tree": _line(now.trees[SHOWN]),
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _line(tree: Tree) -> str:
    """A tree as JSON in one line, as `from_json` reads it."""
    return json.dumps(json.loads(to_json(tree)), separators=(",", ":"))


def known(folder: str) -> list[dict]:
    """Rows of the card in the folder that are still true."""
    if not (Path(folder) / "tree_policies.json").is_file():
        return []
    rows = result("tree_policies", folder)["runs"]
    return [row for row in rows if row["settings"] == settings(POLICIES[row["policy"]]) and row["seed"] in SEEDS]


def sized_trees() -> list[Tree]:
    """Trees of 2 to 32 parts from the grammar, PER_SIZE of each, with a leaf and inside the picture."""
    grammar, rng = Grammar(), np.random.default_rng(4)
    found: dict[int, list[Tree]] = {size: [] for size in SIZES}
    while any(len(trees) < PER_SIZE for trees in found.values()):
        tree = sample_tree(grammar, rng)
        wanted = tree.leaf and len(found.get(len(tree.parts), [None] * PER_SIZE)) < PER_SIZE
        if wanted and float(skeleton(pack([tree], grammar))[1].abs().max()) < 0.95:
            found[len(tree.parts)].append(tree)
    return [tree for trees in found.values() for tree in trees]


def growth(name: str) -> dict:
    """What a policy pays for trees of each size until its loss is SOLVED of the empty picture's; None: never."""
    trees = sized_trees()
    target, steps = enter(POLICIES[name], trees, SIZE, UNITS)
    goals = (SOLVED * sharp_loss([EMPTY] * len(trees), target)).tolist()
    solved: list[int | None] = [None] * len(trees)
    for now in steps:
        for k, chain in enumerate(now.chains):
            if solved[k] is None and chain.energy <= goals[k]:
                solved[k] = now.cost.units
    print(f"{name} by size: {solved}", flush=True)
    return {"settings": settings(POLICIES[name])["digest"], "solved": solved}


def sizes(folder: str) -> dict:
    """`growth` of moves only and of both, taken from the card in the folder where that is still true."""
    path = Path(folder) / "tree_policies.json"
    old = json.loads(path.read_text(encoding="utf-8")).get("sizes", {}) if path.is_file() else {}
    found = {name: old.get(name, {}) for name in ("moves only", "both")}
    for name, row in found.items():
        if row.get("settings") != settings(POLICIES[name])["digest"]:
            found[name] = growth(name)
    return {"parts": list(SIZES), "trees": PER_SIZE, "units": UNITS, "solved_at": SOLVED, **found}


def losses_of(rows: list[dict], name: str) -> np.ndarray:
    """Final losses of a policy, (seeds, targets)."""
    return np.array([row["losses"] for row in sorted(rows, key=lambda row: row["seed"]) if row["policy"] == name])


def versus(rows: list[dict], one: str, other: str) -> dict:
    """How the losses of `one` compare with those of `other` on the same targets and seeds.

    The ratio of the medians with its 95 % interval: a bootstrap over targets, each with all its seeds (SciPy, 9999
    resamples, percentile); and how many of the pairs `one` wins.
    """
    a, b = losses_of(rows, one), losses_of(rows, other)
    a, b = a[: len(b)], b[: len(a)]

    def ratio(picked):
        return np.median(a[:, picked]) / np.median(b[:, picked])

    targets = (np.arange(a.shape[1]),)
    drawn = stats.bootstrap(targets, ratio, vectorized=False, method="percentile", rng=np.random.default_rng(0))
    low, high = drawn.confidence_interval
    interval = [_short(low), _short(high)]
    return {"ratio": _short(ratio(targets[0])), "interval": interval, "wins": int((a < b).sum()), "pairs": a.size}


def factorial(rows: list[dict], start: list[float]) -> dict[str, float]:
    """Median loss with moves and gradients each off and on: none is the start; and their interaction.

    interaction = log(none) - log(moves) - log(gradient) + log(both), negative where the two help each other.
    """
    cells = {"none": statistics.median(start)}
    cells |= {name: float(np.median(losses_of(rows, name))) for name in ("moves only", "gradient only", "both")}
    none, moves, gradient, both = np.log(list(cells.values()))
    return {
        **{name: _short(value) for name, value in cells.items()},
        "interaction": _short(none - moves - gradient + both),
    }


def write(rows: list[dict], folder: str, by_size: dict) -> None:
    """The card from what has been run so far."""
    rows = sorted(rows, key=lambda row: (row["seed"], list(POLICIES).index(row["policy"])))
    seeds = sorted({row["seed"] for row in rows})
    done = [name for name in POLICIES if any(row["policy"] == name for row in rows)]
    target, _ = enter(POLICIES["both"], fixed_trees(), SIZE)
    start = sharp_loss([POLICIES["both"].start] * 12, target).tolist()
    card = {
        "name": "tree_policies",
        "about": "final loss on 12 fixed trees (images in [-1, 1]) at 6000 units: render 1, render with gradient 3",
        "command": "python -m cs348k_diffusion.evaluate.studies.tree_policies",
        "settings": {
            "targets": "fixed_trees(12)",
            "size": SIZE,
            "budget": BUDGET,
            "seeds": seeds,
            "shown": SHOWN,
        },
        "tuning": TUNING,
        "torch": torch.__version__,
        "medians": {name: float(np.median(losses_of(rows, name))) for name in done},
        "start": start,
        "both_versus": {name: versus(rows, "both", name) for name in done if name != "both" and "both" in done},
        "factorial": factorial(rows, start) if len(done) == len(POLICIES) else None,
        "sizes": by_size,
        "runs": rows,
    }
    cards.write_card(card, folder)


@torch.no_grad()
def main(folder: str) -> None:
    """Run what is not known and write the card after each."""
    torch.set_num_threads(1)
    rows, by_size = known(folder), sizes(folder)
    for seed in SEEDS:
        for name in sorted(POLICIES):  # "both" first
            if not any((row["policy"], row["seed"]) == (name, seed) for row in rows):
                rows.append(run(name, seed))
                write(rows, folder, by_size)
    write(rows, folder, by_size)
    print(result("tree_policies", folder)["both_versus"])


if __name__ == "__main__":
    from_command_line(main)
