"""Time and memory of attention against N: naive, stable, tiled, and torch's own kernel; results on a card.

    python -m cs348k_diffusion.evaluate.studies.attention_costs

Recomputes `evaluate.result("attention_costs")`, which the attention notebook reads: about 6 core-minutes. One head,
d = 64, float32, one thread. Every row is measured in processes of its own: time is the least CPU time of a call, memory
how far the process's high-water mark (VmHWM, Linux) rises above what it held with Q, K and V. Rounds take turns, so
that a busy minute of the machine does not fall on one method alone. `both` is forward and backward.
"""

from __future__ import annotations

import multiprocessing
import platform
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from cs348k_diffusion.attention import TILE, naive_softmax, stable_softmax, tiled_attention
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.recipes import cards

D, ROUNDS = 64, 1
SIZES = {False: (256, 1024, 2048, 4096, 8192, 16384), True: (1024, 4096, 8192)}  # forward alone, and both ways
LARGEST_DENSE = 8192  # the next needs 3 GiB forward and 6 GiB with its backward pass
METHODS = {
    "naive": lambda q, k, v: naive_softmax(D**-0.5 * q @ k.transpose(-1, -2)) @ v,
    "stable": lambda q, k, v: stable_softmax(D**-0.5 * q @ k.transpose(-1, -2)) @ v,
    "tiled": lambda q, k, v: tiled_attention(q, k, v).out,
    "torch": F.scaled_dot_product_attention,
}


def inputs(n: int, both: bool) -> list[torch.Tensor]:
    """Q, K and V of one head, normal numbers; leaves of a graph where both passes are measured."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 1, n, D, generator=generator).requires_grad_(both) for _ in range(3)]


def call(method: str, leaves: list[torch.Tensor]) -> None:
    """One evaluation, and its backward pass if the inputs ask for it."""
    out = METHODS[method](*leaves)
    if out.requires_grad:
        torch.autograd.grad(out.sum(), leaves)


def status(field: str) -> int:
    """VmRSS or VmHWM of this process in KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def measure(method: str, n: int, both: bool) -> dict[str, float]:
    """What a process started for it alone needs for one call: KiB above the start, and the least CPU seconds."""
    call(method, inputs(64, both))  # what loads with the first call is not attention's
    leaves = inputs(n, both)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = status("VmRSS")
    call(method, leaves)
    extra, seconds, began = status("VmHWM") - before, [], time.process_time()
    while len(seconds) < 3 or (time.process_time() - began < 1.0 and len(seconds) < 200):
        start = time.process_time()
        call(method, leaves)
        seconds.append(time.process_time() - start)
    return {"extra_kib": extra, "seconds": min(seconds)}


def rows() -> list[dict]:
    """Every method at every size, forward and both ways: the best of ROUNDS processes each."""
    cases = [(m, n, both) for both, sizes in SIZES.items() for n in sizes for m in METHODS]
    cases = [case for case in cases if case[1] <= LARGEST_DENSE or case[0] in ("tiled", "torch")]
    found: dict[tuple, list[dict]] = {case: [] for case in cases}
    for case in cases * ROUNDS:
        with multiprocessing.get_context("fork").Pool(1) as fresh:  # torch is loaded, and nothing else was done yet
            found[case].append(fresh.apply(measure, case))
        print(*case, found[case][-1], flush=True)
    return [row(case, runs) for case, runs in found.items()]


def row(case: tuple[str, int, bool], runs: list[dict]) -> dict:
    """One line of the card: the least time and the least memory of a case's runs."""
    method, n, both = case
    return {
        "method": method, "n": n, "pass": "both" if both else "forward",
        "cpu_ms": round(1e3 * min(run["seconds"] for run in runs), 3),
        "extra_mib": round(min(run["extra_kib"] for run in runs) / 2**10, 2),
    }  # fmt: skip


def ratios(measured: list[dict], which: str, n: int = 8192) -> dict[str, float]:
    """What the tiles gain and lose at one size."""
    at = {r["method"]: r for r in measured if r["n"] == n and r["pass"] == which}
    return {
        "stable_over_tiled_time": round(at["stable"]["cpu_ms"] / at["tiled"]["cpu_ms"], 2),
        "stable_over_tiled_memory": round(at["stable"]["extra_mib"] / at["tiled"]["extra_mib"], 1),
        "tiled_over_torch_time": round(at["tiled"]["cpu_ms"] / at["torch"]["cpu_ms"], 2),
    }


def main(folder: str) -> None:
    """Measure everything and write the card. OSError off Linux, which alone tells a process's high-water mark."""
    if sys.platform != "linux":
        raise OSError("the memory of a call is read from /proc, which Linux has: run this study there")
    torch.set_num_threads(1)
    measured = rows()
    card = {
        "name": "attention_costs",
        "about": "CPU milliseconds and extra memory of one head of attention against N, each in a process of its own",
        "command": "python -m cs348k_diffusion.evaluate.studies.attention_costs",
        "settings": {"d": D, "dtype": "float32", "tile": TILE, "rounds": ROUNDS},
        "machine": f"{platform.machine().replace('_', '-')} CPU, one thread",
        "torch": torch.__version__.split("+")[0],
        "at_8192": {which: ratios(measured, which) for which in ("forward", "both")},
        "rows": measured,
    }
    cards.write_card(card, folder)
    print(cards.card("attention_costs", folder)["at_8192"])


if __name__ == "__main__":
    from_command_line(main)
