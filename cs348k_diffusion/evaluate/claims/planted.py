"""Claims about the tool itself: planted truths must come out, and intervals must cover as often as they say."""

from __future__ import annotations

import numpy as np
import torch

from cs348k_diffusion.evaluate.claim import Claim, finding
from cs348k_diffusion.metrics import frechet, frechet_extrapolated
from cs348k_diffusion.metrics.intervals import of_mean
from cs348k_diffusion.noise import keyed_generator

HERE = "cs348k_diffusion.evaluate.claims.planted:"


def component(seed: int, gain: float) -> dict[str, float]:
    """The share of 200 simulated studies, of 8 paired seeds each, that support a component which gains `gain`."""
    rng = np.random.default_rng([17, seed])
    words = [finding(rng.normal(gain, 0.7, 8)).word for _ in range(200)]
    return {"resolved": 1 - words.count("not resolved") / 200, "supported": words.count("supported") / 200, "cost": 200}


def coverage(seed: int, n: int) -> dict[str, float]:
    """How far the coverage of 1,000 intervals of n normal values is from 95 %, in percent."""
    rng = np.random.default_rng([18, seed, n])
    found = [of_mean(rng.normal(0.3, 1.0, n)) for _ in range(1000)]
    return {"percent off": abs(100 * float(np.mean([one.low <= 0.3 <= one.high for one in found])) - 95), "cost": 1000}


def two_sizes(seed: int, estimator: str) -> dict[str, float]:
    """One model judged twice, by 400 and by 4,000 samples: the difference of its two distances from the data."""
    generator = keyed_generator(19, seed)
    real, few, many = (torch.randn(n, 16, generator=generator) for n in (4000, 400, 4000))
    if estimator == "raw":
        values = [frechet(each + 0.1, real) for each in (few, many)]
    else:
        values = [frechet_extrapolated(each + 0.1, real, repeats=2, generator=generator) for each in (few, many)]
    return {"difference": abs(values[0] - values[1]), "cost": 4400}


CLAIMS = (
    Claim(
        "E1", "A planted useless component is resolved in at most 7 % of studies (stated: 5 %)",
        "resolved", "less", {"gain": 0.0}, HERE + "component",
        seeds=10, unit="studies", threshold=0.07, source="what a 95 % interval promises", notebook="11",
    ),
    Claim(
        "E2", "A planted component worth twice the detectable effect is supported in more than 95 % of studies",
        "supported", "more", {"gain": 1.6}, HERE + "component",
        seeds=10, unit="studies", threshold=0.95, source="power, as computed", notebook="11",
    ),
    Claim(
        "E3", "Intervals of 6 values cover the truth in 93 to 97 % of studies",
        "percent off", "less", {"n": 6}, HERE + "coverage",
        seeds=10, unit="intervals", threshold=2.0, source="Student 1908", notebook="11",
    ),
    Claim(
        "E4", "One model judged at two numbers of samples differs by raw FD, and less by FD extrapolated",
        "difference", "less", {"estimator": "extrapolated"}, HERE + "two_sizes", ({"estimator": "raw"},),
        seeds=8, unit="samples", source="Chong & Forsyth 2020", notebook="11",
    ),
)  # fmt: skip
