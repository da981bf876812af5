"""Moves only, gradient only, over-parametrised then pruned, both: the contest at 6000 units on the 12 fixed targets.

    python tests/benchmarks/bench_fit.py cs348k_diffusion/recipes/weights

Recomputes `recipes.card("tree_policies")`, which the tests and notebook 01 read: about 4 core-minutes a seed. A policy
whose result is already on the card in that folder, with the same settings, is not run again.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from cs348k_diffusion.procedural.fit import fixed_trees
from cs348k_diffusion.procedural.policies import POLICIES, contest, settings
from cs348k_diffusion.recipes import cards

SEEDS, SIZE, BUDGET = (1,), 32, 6000


def run(name: str, seed: int) -> dict:
    """One policy on all targets with one seed."""
    began = time.process_time()
    losses, trees = contest(POLICIES[name], fixed_trees(), SIZE, BUDGET, seed)
    row = {"policy": name, "seed": seed, "settings": settings(POLICIES[name]), "losses": losses}
    print(
        f"{name}, seed {seed}: median {statistics.median(losses):.2e}, {time.process_time() - began:.0f} s", flush=True
    )
    return {**row, "parts": [len(tree.parts) for tree in trees], "cpu_seconds": round(time.process_time() - began)}


def known(folder: str) -> list[dict]:
    """Rows of the card in the folder that are still true."""
    if not (Path(folder) / "tree_policies.json").is_file():
        return []
    rows = cards.card("tree_policies", folder)["runs"]
    return [row for row in rows if row["settings"] == settings(POLICIES[row["policy"]])]


def write(rows: list[dict], folder: str) -> None:
    medians = {name: [loss for row in rows if row["policy"] == name for loss in row["losses"]] for name in POLICIES}
    card = {
        "name": "tree_policies",
        "about": "final loss on 12 fixed trees (images in [-1, 1]) at 6000 units: render 1, render with gradient 3",
        "command": "python tests/benchmarks/bench_fit.py FOLDER",
        "settings": {"targets": "fixed_trees(12)", "size": SIZE, "budget": BUDGET, "seeds": list(SEEDS)},
        "torch": torch.__version__,
        "medians": {name: statistics.median(losses) for name, losses in medians.items() if losses},
        "runs": rows,
    }
    cards.write_card(card, folder)


def main(folder: str) -> None:
    """Run what is not known and write the card after each."""
    torch.set_num_threads(1)
    rows = known(folder)
    for seed in SEEDS:
        for name in POLICIES:
            if not any((row["policy"], row["seed"]) == (name, seed) for row in rows):
                rows.append(run(name, seed))
                write(rows, folder)
    print(cards.card("tree_policies", folder)["medians"])


if __name__ == "__main__":
    main(sys.argv[1])
