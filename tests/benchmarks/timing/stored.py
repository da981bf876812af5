"""Where what is timed is written: tests/benchmarks/results, which the page is made from."""

import json
from pathlib import Path
from typing import Any

from cs348k_diffusion.metrics.intervals import rounded

RESULTS = Path(__file__).parents[1] / "results"


def store(name: str, found: dict[str, Any]) -> None:
    """Write NAME.json, rounded, and print it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(rounded(found), indent=1) + "\n")
    print(path.read_text())
