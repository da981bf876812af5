"""This course beside four libraries at equal processor time, on drawn pictures or clothes; one page of ratios.

    python tests/benchmarks/peers/run.py [--quick] [--data fashion] [--seeds 1]

Each contestant trains for 3 and for 10 minutes of processor time on one thread and draws 128 pictures in 20 network
evaluations, three seeds, two contestants at a time on two cores: in all two hours (--quick: one minute, one seed, ten
evaluations). Written: tests/benchmarks/results/peers.json (_quick, _fashion, _quick_fashion) and the page README.md
beside it. A task that is done is not done again; `make clean` forgets them. Fashion-MNIST lies in the folder that
CS348K_FASHION_DIR names, or is downloaded.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from contestants import CONTESTANTS
from datasets import DATASETS, Dataset
from environments import HOME, ROOT, environment, python
from tqdm import tqdm

from cs348k_diffusion.data.images import to_bytes
from cs348k_diffusion.evaluate.report import made
from cs348k_diffusion.metrics import frechet, texture_distance
from cs348k_diffusion.metrics.intervals import rounded

sys.path.append(str(ROOT / "tests" / "benchmarks"))
from page import write_page

FULL = {"seconds": [180, 600], "seeds": 3, "n": 128, "evaluations": 20}
QUICK = {"seconds": [60], "seeds": 1, "n": 128, "evaluations": 10}
TRUE, FLOORS = 1000, 5  # pictures compared with, and sets of n true ones for the floor
RESULTS = ROOT / "tests" / "benchmarks" / "results"


def training_pictures(name: str) -> Path:
    """The pictures that all train on, as bytes (n, 3, 32, 32), made on the first call."""
    path = HOME / f"{name}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, to_bytes(DATASETS[name].training()).numpy())
    return path


def tasks(settings: dict, folder: Path, data: Path) -> Iterator[dict]:
    """One for each process that is to run: seed by seed, so that each seed sees the same state of the machine."""
    for seed in range(settings["seeds"]):
        for name, entry in CONTESTANTS.items():
            for seconds in [[s] for s in settings["seconds"]] if entry.anneals else [settings["seconds"]]:
                out = folder / f"{name}-{seed}-{seconds[-1]}"
                task = {"contestant": name, "data": str(data), "seed": seed, "seconds": seconds, "out": str(out)}
                yield task | {"n": settings["n"], "evaluations": settings["evaluations"]}


def done(task: dict) -> list[dict]:
    """Run the task in its own process, unless it was run before; what it took. RuntimeError with its last words."""
    asked, told = Path(f"{task['out']}.task.json"), Path(f"{task['out']}.json")
    if not (told.is_file() and asked.is_file() and json.loads(asked.read_text()) == task):
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.write_text(json.dumps(task))
        command = [python(task["contestant"]), Path(__file__).with_name("contest.py"), asked]
        ran = subprocess.run(command, env=environment(), capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{task['contestant']}, seed {task['seed']}:\n{ran.stderr[-2000:]}")
    rows = json.loads(told.read_text())
    return [{"contestant": task["contestant"], "seed": task["seed"], "task": task["out"], **row} for row in rows]


def judged(rows: list[dict], settings: dict, data: Dataset) -> dict:
    """Each row with its FD and texture distance to true pictures, and what n other true pictures have: the floors."""
    n, true = settings["n"], data.true(TRUE + FLOORS * settings["n"])
    there = data.features(true[:TRUE])

    def distances(images: torch.Tensor) -> dict[str, float]:
        return {"fd": frechet(data.features(images), there), "texture": texture_distance(images, true[:TRUE])}

    found = []
    for row in rows:
        images = torch.from_numpy(np.load(f"{row.pop('task')}-{row['seconds']}.npy"))
        found.append({**row, **distances(images)})
    floors = [distances(part) for part in true[TRUE:].split(n)]
    return {"rows": found, "floors": floors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one minute, one seed: in all about ten minutes")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="processes at a time (one a core)")
    parser.add_argument("--data", choices=DATASETS, default="drawn", help="what they learn to draw")
    parser.add_argument("--seeds", type=int, help="trainings of each")
    given = parser.parse_args()
    settings, name = (QUICK, "peers_quick") if given.quick else (FULL, "peers")
    settings = settings | {"data": given.data, "seeds": given.seeds or settings["seeds"]}
    name += "" if given.data == "drawn" else f"_{given.data}"
    torch.set_num_threads(1)
    for contestant in CONTESTANTS:
        python(contestant)  # before the first clock runs
    listed = list(tasks(settings, HOME / name, training_pictures(given.data)))
    with ThreadPoolExecutor(given.at_once) as pool:
        rows = [row for part in tqdm(pool.map(done, listed), total=len(listed), desc="contests") for row in part]
    with torch.no_grad():
        result = {"machine": made(), "settings": settings, **judged(rows, settings, DATASETS[given.data])}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.is_file() else None
    path.write_text(json.dumps(rounded(result), indent=1) + "\n")
    print(write_page(RESULTS, {path.stem: before} if before else {}))


if __name__ == "__main__":
    main()
