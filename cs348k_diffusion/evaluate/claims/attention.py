"""Claims of notebooks 06 and 07 about attention: exactness, overflow and traffic counted here, the rest from cards."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from cs348k_diffusion.attention import dense_attention, naive_softmax, stable_softmax, tiled_attention
from cs348k_diffusion.attention.memory_traffic import tiled
from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.noise import keyed_generator

HERE, COSTS, WORDS = "cs348k_diffusion.evaluate.claims.attention:", "attention_costs", "text_conditioning"


def exactness(seed: int) -> dict[str, float]:
    """log10 of the largest difference of tiled from dense attention in float64, over tiles that divide N and do not."""
    generator = keyed_generator(16, seed)
    q, k, v = (torch.randn(1, 1, 70, 16, generator=generator, dtype=torch.float64) for _ in range(3))
    gaps = [(tiled_attention(q, k, v, tile).out - dense_attention(q, k, v).out).abs().max() for tile in (1, 7, 32, 64)]
    return {"log10 error": float(torch.stack(gaps).max().log10()), "cost": 70 * 70}


def overflow(seed: int, softmax: str) -> dict[str, float]:
    """The share of finite rows in float32 when the largest logit of a row is near 100."""
    logits = 10 * torch.randn(50, 64, generator=keyed_generator(16, 100 + seed))
    logits = logits - logits.amax(1, keepdim=True) + 95 + 10 * torch.rand(50, 1, generator=keyed_generator(16, seed))
    rows = (naive_softmax if softmax == "naive" else stable_softmax)(logits)
    return {"finite": float(rows.isfinite().all(1).double().mean()), "cost": 50 * 64}


def traffic(seed: int) -> dict[str, float]:
    """The slope of log traffic against log size of the fast memory, at one of several N: -1 means it falls as 1 / M."""
    n, sizes = 96 + 32 * seed, (340, 680, 1360)
    q, k, v = (torch.randn(n, 16, generator=keyed_generator(16, 200 + seed)) for _ in range(3))
    moved = [list(tiled(q, k, v, size))[-1].moved for size in sizes]
    return {"slope": float(np.polyfit(np.log(sizes), np.log(moved), 1)[0]), "cost": n * n}


@cache
def _rows(folder: Path) -> dict[tuple[str, int], dict]:
    return {(row["method"], row["n"]): row for row in result(COSTS, folder)["rows"] if row["pass"] == "forward"}


LENGTHS = (1024, 2048, 4096, 8192)


def memory(seed: int, method: str, folder: Path = FOLDER) -> dict[str, float]:
    """How extra memory grows when N doubles: the exponent between two lengths of the stored measurement."""
    at, before = (_rows(folder)[method, LENGTHS[k]]["extra_mib"] for k in (seed + 1, seed))
    return {"exponent": float(np.log2(at / before)), "cost": 1}


def time(seed: int, method: str, folder: Path = FOLDER) -> dict[str, float]:
    """log2 of the milliseconds of processor time at one of the stored lengths."""
    return {"log2 ms": float(np.log2(_rows(folder)[method, LENGTHS[seed]]["cpu_ms"])), "cost": 1}


def words(seed: int, conditioning: str, updates: int, folder: Path = FOLDER) -> dict[str, float]:
    """The share of pictures that keep all of their caption."""
    run = result(WORDS, folder)["runs"][str(updates)][conditioning][seed]
    return {"satisfied": run["all"], "relation": run["relation"], "cost": updates}


CLAIMS = (
    Claim(
        "A1", "Attention in tiles is dense attention, to rounding (float64, error below 1e-12), for any tile",
        "log10 error", "less", {}, HERE + "exactness",
        seeds=6, unit="products", threshold=-12.0, source="Dao et al. 2022, theorem 1", notebook="06",
    ),
    Claim(
        "A2", "Without subtracting the maximum, float32 softmax overflows at logits near 100; with it, never",
        "finite", "more", {"softmax": "stable"}, HERE + "overflow", ({"softmax": "naive"},),
        seeds=6, unit="logits", threshold=0.5, source="Dao et al. 2022, section 3.1", notebook="06",
    ),
    Claim(
        "A3", "Extra memory grows as N squared for dense attention and no faster than N for tiles",
        "exponent", "less", {"method": "tiled"}, HERE + "memory", ({"method": "naive"},),
        seeds=3, unit="measurement", threshold=0.9, source="Dao et al. 2022, theorem 1", notebook="06", card=COSTS,
    ),
    Claim(
        "A4", "Slow-memory traffic falls nearly as 1 / M with the size M of the fast memory (slope below -0.75)",
        "slope", "less", {}, HERE + "traffic",
        seeds=6, unit="logits", threshold=-0.75, source="Dao et al. 2022, theorem 2", notebook="06",
    ),
    Claim(
        "A5", "On a CPU, too, tiles save time: milliseconds at N = 1,024 to 8,192, against the naive way",
        "log2 ms", "less", {"method": "tiled"}, HERE + "time", ({"method": "naive"},),
        seeds=4, unit="measurement", source="a warning of this course's plan", notebook="06", card=COSTS,
        expected="not resolved",
        remark="The plan doubted it. The gain grows with N: the square of logits no longer fits the cache.",
    ),
    Claim(
        "A6", "A network that reads every word keeps more of its captions than one that gets their mean, or nothing",
        "satisfied", "more", {"conditioning": "cross", "updates": 600}, HERE + "words",
        ({"conditioning": "pooled", "updates": 600}, {"conditioning": "none", "updates": 600}),
        seeds=6, budget=600, unit="updates", source="Rombach et al. 2022", notebook="07", card=WORDS,
    ),
)  # fmt: skip
