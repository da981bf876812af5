"""Claims about sampling and guidance that need no training: mixtures of Gaussians, whose scores are exact.

Each function is one run of an experiment, a few seconds at most: (seed, levels) -> numbers, with the evaluations of the
score for one sample as its cost. Numbers of the literature's own toys stand in the claims' thresholds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.exact import ExactDenoiser, Mixture, two_gaussians
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.langevin import annealed_langevin, langevin_chain, metropolis_langevin_step
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, ddpm, edm_path, first_order, heun, multistep, path, sample
from cs348k_diffusion.schedule import cosine

HERE, KEY, CHAINS = "cs348k_diffusion.evaluate.claims.exact_scores:", 15, 2000
LADDER = torch.logspace(1, -0.5, 10).tolist()  # noise levels of the annealed walk
SOLVERS = {"ddim": first_order, "2m": multistep, "heun": heun}


def two_modes(seed: int, sampler: str) -> dict[str, float]:
    """NCSN's toy: how far the share of samples in the small mode is from its weight, 0.2; all start in (-8, 8)."""
    generator = keyed_generator(KEY, seed)
    x = 16 * torch.rand(CHAINS, 1, generator=generator) - 8
    if sampler == "one level":
        x = last(langevin_chain(two_gaussians().score, x, 0.1, 1000, generator)).x
    else:
        means, weights = torch.tensor([[-5.0], [5.0]]), torch.tensor([0.2, 0.8])
        blurred = [Mixture(means, 1.0 + sigma**2, weights).score for sigma in LADDER]
        steps = [0.1 * (1 + sigma**2) for sigma in LADDER]
        x = last(annealed_langevin(blurred, x, steps, 100, generator)).x
    return {"error": abs(float((x < 0).double().mean()) - 0.2), "cost": 1000}


def ball(seed: int, chain: str, step: float) -> dict[str, float]:
    """Langevin on N(0, I) in 20 dimensions, with and without the accept rule: variance, and its distance from 1."""
    generator = keyed_generator(KEY, 100 + seed)
    x = torch.randn(500, 20, generator=generator)
    for _ in range(100):
        noise, uniform = torch.randn(500, 20, generator=generator), torch.rand(500, generator=generator)
        if chain == "MALA":
            x, _ = metropolis_langevin_step(lambda x: -(x**2).sum(1) / 2, x, step, noise, uniform)
        else:
            x = x - step * x + (2 * step) ** 0.5 * noise
    variance = float((x**2).mean())
    return {"variance": variance, "error": abs(variance - 1), "cost": 100}


def hills(seed: int) -> Mixture:
    """Three modes on a line, placed by the seed."""
    generator = keyed_generator(KEY, 200 + seed)
    means = torch.tensor([[-2.0], [0.5], [2.0]]) + 0.5 * torch.randn(3, 1, generator=generator)
    return Mixture(means.double(), 0.05 + 0.1 * torch.rand(3, generator=generator).double())


def flow_error(seed: int, solver: str, evaluations: int, rho: float = 7.0) -> dict[str, float]:
    """RMS distance of end points from those of the probability flow (200 steps of Heun), noise by noise.

    rho spaces the steps, as in `edm_path`.
    """
    denoise, x = hills(seed).denoiser(cosine()), _noise(seed, 1000)
    steps = evaluations // 2 if solver == "heun" else evaluations
    gap = _end(denoise, x, steps, solver, rho) - _truth(seed)
    return {"error": float(gap.square().mean().sqrt()), "cost": evaluations}


@lru_cache(maxsize=32)
def _truth(seed: int) -> Tensor:
    return _end(hills(seed).denoiser(cosine()), _noise(seed, 1000), 200, "heun")


def _noise(seed: int, n: int) -> Tensor:
    return torch.randn(n, 1, generator=keyed_generator(KEY, 300 + seed), dtype=torch.float64)


def _end(denoise: ExactDenoiser, x: Tensor, steps: int, solver: str, rho: float = 7.0) -> Tensor:
    return last(sample(denoise, x, edm_path(cosine(), steps, rho=rho), solver=SOLVERS[solver])).x


def always_nearer(seed: int) -> dict[str, float]:
    """The largest ratio of 2M's error to DDIM's over 8 to 64 evaluations: below 1 where 2M always wins."""
    ratios = [flow_error(seed, "2m", n)["error"] / flow_error(seed, "ddim", n)["error"] for n in (8, 16, 32, 64)]
    return {"ratio": max(ratios), "cost": 120}


def slope(seed: int) -> dict[str, float]:
    """The slope of log error against log steps of DDIM, 8 to 256 steps: -1 is order one."""
    steps = (8, 16, 32, 64, 128, 256)
    errors = [flow_error(seed, "ddim", n)["error"] for n in steps]
    return {"slope": float(np.polyfit(np.log(steps), np.log(errors), 1)[0]), "cost": sum(steps)}


def wasserstein(x: Tensor, true: Tensor) -> float:
    """The 2-Wasserstein distance of samples (n, 1) from ten times as many true points: sorted, ten to a sample."""
    return float((x.sort(0).values - true.sort(0).values.view(len(x), 10)).square().mean().sqrt())


def to_data(seed: int, sampler: str, steps: int) -> dict[str, float]:
    """The 2-Wasserstein distance of 20,000 samples from 200,000 true points."""
    data, generator = hills(seed), keyed_generator(KEY, 400 + seed)
    denoise, x, times = data.denoiser(cosine()), _noise(seed, 20_000), path(steps)
    walk = ddim(denoise, x, times) if sampler == "ddim" else ddpm(denoise, x, times, generator)
    true = data.sample(200_000, generator)  # before the walk, which draws from the same generator
    return {"distance": wasserstein(last(walk).x, true), "cost": steps}


def scale_one(seed: int) -> dict[str, float]:
    """The largest difference between guidance at scale 1 and conditional sampling, same noise."""
    data = Mixture(torch.tensor([[-1.0], [1.0]]), 0.25, labels=torch.tensor([0, 1])).denoiser(cosine())
    noise = torch.randn(1000, 1, generator=keyed_generator(KEY, 500 + seed))
    one, told = (last(ddim(each, noise, path(30))).x for each in (guide(data.given(1), data, 1.0), data.given(1)))
    return {"difference": float((one - told).abs().max()), "cost": 60}


def overshoot(seed: int, scale: float) -> dict[str, float]:
    """Two classes N(-1, 0.25) and N(1, 0.25): the guided mean beyond that of p(x) p(y | x)^scale."""
    data = Mixture(torch.tensor([[-1.0], [1.0]]), 0.25, labels=torch.tensor([0, 1]))
    denoise, noise = data.denoiser(cosine()), torch.randn(2000, 1, generator=keyed_generator(KEY, 600 + seed))
    drawn = last(ddim(guide(denoise.given(1), denoise, scale), noise, path(100))).x
    grid = torch.linspace(-4, 5, 1801)[:, None]
    tilted = (data.log_prob(grid) + scale * torch.nn.functional.logsigmoid(8 * grid[:, 0])).softmax(0)
    return {"overshoot": float(drawn.mean() - tilted @ grid[:, 0]), "cost": 200}


def posterior_gap(seed: int) -> dict[str, float]:
    """PSNR of the best guess of a high-resolution picture less that of one posterior sample, in dB: exactly 3.01."""
    generator, n = keyed_generator(KEY, 700 + seed), 4000
    high = torch.randn(n, 4, generator=generator, dtype=torch.float64) @ torch.tensor(_MIX, dtype=torch.float64)
    cov = torch.tensor(_MIX, dtype=torch.float64).T @ torch.tensor(_MIX, dtype=torch.float64)
    look = torch.full((4, 1), 0.25, dtype=torch.float64)  # the low-resolution pixel: the mean of four
    gain = cov @ look / (look.T @ cov @ look)
    mean = high @ look @ gain.T
    left = torch.linalg.cholesky(cov - gain @ look.T @ cov + 1e-12 * torch.eye(4, dtype=torch.float64))
    drawn = mean + torch.randn(n, 4, generator=generator, dtype=torch.float64) @ left.T
    errors = [float((guess - high).square().mean()) for guess in (mean, drawn)]
    return {"gap": 10 * float(np.log10(errors[1] / errors[0])), "cost": 1}


_MIX = [[1.0, 0.6, 0.3, 0.1], [0.0, 0.9, 0.5, 0.2], [0.0, 0.0, 0.8, 0.4], [0.0, 0.0, 0.0, 0.7]]

CLAIMS = (
    Claim(
        "M6", "The accept rule (MALA) removes the bias that a Langevin step leaves",
        "error", "less", {"chain": "MALA", "step": 0.5}, HERE + "ball", ({"chain": "Langevin", "step": 0.5},),
        seeds=8, budget=100, unit="score evaluations", threshold=0.2, source="Roberts & Tweedie 1996", notebook="03",
    ),
    Claim(
        "D1", "Langevin at one noise level reports its start; annealed, it finds the weights of far modes",
        "error", "less", {"sampler": "annealed"}, HERE + "two_modes", ({"sampler": "one level"},),
        seeds=8, budget=1000, unit="score evaluations", threshold=0.2, source="Song & Ermon 2019", notebook="03",
    ),
    Claim(
        "D2", "Unadjusted Langevin with step 0.5 inflates the variance of N(0, I) by more than 30 %",
        "variance", "more", {"chain": "Langevin", "step": 0.5}, HERE + "ball",
        seeds=8, budget=100, unit="score evaluations", threshold=1.3, source="exact: 1 / (1 - step / 2)", notebook="03",
    ),
    Claim(
        "D3a", "DDIM's error falls with the number of steps, with a log-log slope below -0.6",
        "slope", "less", {}, HERE + "slope",
        seeds=8, unit="evaluations", threshold=-0.6, source="Song, Meng & Ermon 2020", notebook="04",
    ),
    Claim(
        "D3b", "At 16 steps DDIM is nearer to the data than ancestral sampling",
        "distance", "less", {"sampler": "ddim", "steps": 16}, HERE + "to_data",
        ({"sampler": "ancestral", "steps": 16},),
        seeds=12, budget=16, source="Song, Meng & Ermon 2020, table 1", notebook="04",
    ),
    Claim(
        "D4a", "DPM-Solver++(2M) is nearer to the flow than DDIM at each of 8, 16, 32 and 64 evaluations",
        "ratio", "less", {}, HERE + "always_nearer",
        seeds=8, threshold=1.0, source="Lu et al. 2022", notebook="04",
    ),
    Claim(
        "D4b", "Second order is always better: Heun beats DDIM at 8 evaluations",
        "error", "less", {"solver": "heun", "evaluations": 8}, HERE + "flow_error",
        ({"solver": "ddim", "evaluations": 8},), seeds=8, budget=8, notebook="04", expected="refuted",
        source="often assumed; Karras et al. 2022 start at 18",
    ),
    Claim(
        "D4c", "The spacing of each solver tuned alike, 2M is nearer to the flow than DDIM and Heun in 8 evaluations",
        "error", "less", {"solver": "2m", "evaluations": 8}, HERE + "flow_error",
        tuple({"solver": solver, "evaluations": 8} for solver in ("ddim", "heun")),
        seeds=8, budget=8, notebook="04", source="Lu et al. 2022; Karras et al. 2022 for the spacing",
        tries=tuple({"rho": rho} for rho in (2.0, 3.0, 5.0, 7.0, 10.0)), trials=5,
    ),
    Claim(
        "G3", "Guidance at scale 1 is conditional sampling, to rounding",
        "difference", "less", {}, HERE + "scale_one",
        seeds=4, threshold=1e-4, source="Ho & Salimans 2022, eq. 6", notebook="05",
    ),
    Claim(
        "G5", "Guided samples lie beyond p(x) p(y | x)^scale: at scale 3 their mean is more than 0.3 too far out",
        "overshoot", "more", {"scale": 3.0}, HERE + "overshoot",
        seeds=8, threshold=0.3, source="Chidambaram et al. 2024", notebook="05",
    ),
    Claim(
        "S0", "A perfect posterior sample costs 3.01 dB of PSNR against the posterior mean (more than 2.9)",
        "gap", "more", {}, HERE + "posterior_gap",
        seeds=8, threshold=2.9, source="Blau & Michaeli 2018", notebook="09",
    ),
)  # fmt: skip
