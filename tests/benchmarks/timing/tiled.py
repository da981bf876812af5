"""The tiled attention beside torch's own kernel on this processor: how many times its time, forward and both ways.

    python tests/benchmarks/timing/tiled.py

One head, d = 64, float32, one thread. The two are timed in turns, in processor time, and the ratio is taken round by
round: what slows the machine for a minute slows both. Written: tests/benchmarks/results/tiled.json.
"""

import math
import time
from statistics import median

import torch
import torch.nn.functional as F
from stored import store

from cs348k_diffusion.attention import TILE, tiled_attention
from cs348k_diffusion.evaluate.report import made
from cs348k_diffusion.metrics.intervals import student_t

D, SIZES, ROUNDS, SECONDS = 64, (1024, 2048, 4096, 8192, 16384), 7, 0.2


def once(both: bool, causal: bool, ours: bool, leaves: list[torch.Tensor]) -> float:
    """Seconds of processor time of one call, with its backward pass if `both`."""
    began = time.process_time()
    out = (
        tiled_attention(*leaves, causal=causal).out
        if ours
        else F.scaled_dot_product_attention(*leaves, is_causal=causal)
    )
    if both:
        torch.autograd.grad(out.sum(), leaves)
    return time.process_time() - began


def ratio(n: int, both: bool, causal: bool) -> dict:
    """Of one size and way: the milliseconds of each, and the ratio's median over rounds with its interval."""
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(1, 1, n, D, generator=generator).requires_grad_(both) for _ in range(3)]
    first = [once(both, causal, ours, leaves) for ours in (True, False)]
    calls = max(1, round(SECONDS / max(first)))  # in a round, so that a small size is not measured by the clock's grain
    rounds = [
        [sum(once(both, causal, ours, leaves) for _ in range(calls)) / calls for ours in (True, False)]
        for _ in range(ROUNDS)
    ]
    logs = student_t([math.log(mine / theirs) for mine, theirs in rounds])
    return {
        "n": n,
        "pass": "both" if both else "forward",
        "causal": causal,
        "tiled_ms": 1000 * median(mine for mine, _ in rounds),
        "torch_ms": 1000 * median(theirs for _, theirs in rounds),
        "ratio": math.exp(logs.value),
        "interval_95": [math.exp(end) for end in logs.ends],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [ratio(n, both, causal) for both in (False, True) for causal in (False, True) for n in SIZES]
    found = {"machine": made(), "d": D, "tile": TILE, "rounds": ROUNDS, "rows": rows}
    store("tiled", found)
