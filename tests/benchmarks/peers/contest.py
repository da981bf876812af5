"""One contestant in a process of its own: trains for so many seconds of processor time, then draws.

    python contest.py TASK.json        with {"contestant", "data", "seed", "seconds": [...], "n", "evaluations", "out"}

After each of the seconds it writes OUT-SECONDS.npy, its pictures (n, 3, 32, 32) in [-1, 1], and at the end OUT.json
with what it took. One thread; only what is between a batch and the next counts as training.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from contestants import CONTESTANTS, Contestant


def trained(contestant: Contestant, images: torch.Tensor, seconds: float, spent: float, horizon: float) -> tuple:
    """Train on batches of `images` until `seconds` of processor time are spent; returns (updates, seconds spent)."""
    updates = 0
    while spent < seconds:
        rows = torch.randint(len(images), (contestant.batch,))
        began = time.process_time()
        contestant.update(images[rows], min(1.0, spent / horizon))
        spent += time.process_time() - began
        updates += 1
    return updates, spent


def drawn(contestant: Contestant, n: int, evaluations: int, at_once: int = 32) -> tuple[np.ndarray, float]:
    """n pictures, cut off to [-1, 1], and the seconds of processor time that they took."""
    began, parts = time.process_time(), []
    with torch.no_grad():
        while (missing := n - sum(map(len, parts))) > 0:
            parts.append(contestant.sample(min(at_once, missing), evaluations).clamp(-1, 1))
    return torch.cat(parts).numpy(), time.process_time() - began


def contest(task: dict) -> list[dict]:
    """Train and draw, once for each of task["seconds"]; what each took, and how many parameters there are."""
    torch.set_num_threads(1)
    torch.manual_seed(task["seed"])
    images = torch.from_numpy(np.load(task["data"])).float() / 127.5 - 1
    contestant = CONTESTANTS[task["contestant"]].build(task["seed"])
    contestant.update(images[: contestant.batch], 0.0)  # what is built with the first call is not training
    rows, spent, updates = [], 0.0, 0
    for seconds in task["seconds"]:
        more, spent = trained(contestant, images, seconds, spent, task["seconds"][-1])
        updates += more
        pictures, took = drawn(contestant, task["n"], task["evaluations"])
        np.save(f"{task['out']}-{seconds}.npy", pictures)
        drawings = task["n"] * task["evaluations"]
        rows.append({"seconds": seconds, "updates": updates, "trained": spent, "drew": took, "drawings": drawings})
    parameters = sum(parameter.numel() for parameter in contestant.network.parameters())
    return [{**row, "batch": contestant.batch, "parameters": parameters} for row in rows]


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    Path(f"{given['out']}.json").write_text(json.dumps(contest(given)))
