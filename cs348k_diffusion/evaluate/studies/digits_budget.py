"""How good are digits after 480 and 1,000 updates?  Three seeds, each run once through; results on a card.

    python -m cs348k_diffusion.evaluate.studies.digits_budget

Recomputes `evaluate.result("digits_budget")`, which the tests and the digits notebook read: about 12 core-minutes. The
setting is the notebook's: constant learning rate 1e-3, so that the model after 480 updates is the one that a run of
480 would have given.
"""

import copy
import statistics
import time
from typing import cast

import torch

from cs348k_diffusion import denoising, fit
from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.recipes import cards, digits

SEEDS, MOMENTS = (0, 1, 2), (480, 1000)


def run(seed: int) -> list[dict]:
    """One training run, evaluated at each of MOMENTS."""
    torch.manual_seed(seed)
    model, generator = digits.denoiser(), torch.Generator().manual_seed(seed)
    examples = batches(*load_digits("train"), 128, generator)
    rows, began = [], time.process_time()
    for progress in fit(model, examples, MOMENTS[-1], denoising(dropout=0.1), generator=generator):
        if progress.step in MOMENTS:
            spent = time.process_time() - began
            metrics = digits.evaluate(cast(NetDenoiser, copy.deepcopy(progress.model)), seed)
            rows.append({"seed": seed, "steps": progress.step, "cpu_seconds": round(spent), "metrics": metrics})
            print(f"seed {seed}, {progress.step} updates, {spent:.0f} s: ratio {metrics['fd_ratio']}", flush=True)
            began = time.process_time() - spent
    return rows


def summary(runs: list[dict]) -> dict[str, dict[str, float]]:
    """Medians over the seeds."""
    return {
        f"after_{steps}": {
            "accuracy": statistics.median(r["metrics"]["samples"]["accuracy"] for r in runs if r["steps"] == steps),
            "fd_ratio": statistics.median(r["metrics"]["fd_ratio"] for r in runs if r["steps"] == steps),
        }
        for steps in MOMENTS
    }


def main(folder: str) -> None:
    """Run every seed and write the card."""
    torch.set_num_threads(1)
    runs = [row for seed in SEEDS for row in run(seed)]
    card = {
        "name": "digits_budget",
        "about": "digits after 480 and 1,000 updates: 1,797 samples beside held-out real digits, three seeds",
        "command": "python -m cs348k_diffusion.evaluate.studies.digits_budget",
        "settings": {**digits.RECIPE.settings, "lr": 1e-3, "batch": 128},
        "classifier_sha256": cards.card("digits_classifier")["sha256"],
        "torch": torch.__version__,
        "threads": 1,
        "medians": summary(runs),
        "runs": runs,
    }
    cards.write_card(card, folder)
    print(result("digits_budget", folder)["medians"])


if __name__ == "__main__":
    from_command_line(main)
