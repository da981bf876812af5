"""Truths that more than one test leans on, and the bounds that say when a number is too far from them."""

import functools
import math

import numpy as np
import torch

from cs348k_diffusion import schedule
from cs348k_diffusion.exact import Mixture

SCHEDULES = {
    "cosine": schedule.cosine(),
    "linear_beta": schedule.linear_beta(1000),
    "straight": schedule.straight(),
    "exploding": schedule.exploding(),
}
VARIANCE_PRESERVING = ("cosine", "linear_beta")


def seeded(seed=0):
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    """Standard normal numbers that are the same every time."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


@functools.cache
def lumps():
    """Three tilted Gaussians in the plane, in classes 0, 0 and 1; float64."""
    covs = [[[0.30, 0.10], [0.10, 0.20]], [[0.20, -0.10], [-0.10, 0.30]], [[0.40, 0.00], [0.00, 0.10]]]
    means, weights = [[-1.0, 0.0], [1.0, 0.5], [0.0, -1.0]], [0.3, 0.4, 0.3]
    return Mixture(as_double(means), as_double(covs), as_double(weights), torch.tensor([0, 0, 1]))


@functools.cache
def three_modes():
    """Three modes on the line, of claims D3 and D4; float64."""
    return Mixture(as_double([[-2.0], [0.0], [1.5]]), as_double([0.09, 0.16, 0.09]), as_double([0.3, 0.4, 0.3]))


def as_double(numbers):
    """A float64 tensor."""
    return torch.tensor(numbers, dtype=torch.float64)


def quantiles(mixture, n):
    """The n midpoint quantiles of a mixture on the line, by inverting its distribution function on a fine grid."""
    means, stds = mixture.means[:, 0].double(), mixture.variances[:, 0].double().sqrt()
    grid = torch.linspace(float((means - 8 * stds).min()), float((means + 8 * stds).max()), 200_001).double()
    cdf = torch.special.ndtr((grid[:, None] - means) / stds) @ mixture.log_weights.exp().double()
    return torch.from_numpy(np.interp(midpoints(n).numpy(), cdf.numpy(), grid.numpy()))


def normal_quantiles(n):
    """The n midpoint quantiles of N(0, 1), (n, 1): a draw without the noise of drawing."""
    return torch.special.ndtri(midpoints(n))[:, None]


def midpoints(n):
    """(i + 1/2) / n."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def wasserstein(x, ordered):
    """The 2-Wasserstein distance of points on the line, (n, 1), to n sorted ones."""
    return float((x[:, 0].sort().values - ordered).square().mean().sqrt())


def order(steps, errors):
    """The order of convergence: minus the slope of log(error) against log(steps)."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def variance_bound(n, draws=1):
    """How far the variance of n normal numbers strays from 1, at 99.9 % (two-sided, shared among `draws` tests)."""
    return -float(torch.special.ndtri(torch.tensor(0.0005 / draws))) * math.sqrt(2 / n)


def share_bound(p, n, draws=1):
    """How far the share of successes among n strays from p, at 99.9 % (two-sided, shared among `draws` tests)."""
    return -float(torch.special.ndtri(torch.tensor(0.0005 / draws))) * math.sqrt(p * (1 - p) / n)


class Counting:
    """A denoiser that counts how often it is asked, and runs `also(x, t)` each time."""

    def __init__(self, denoise, also=None):
        self.denoise, self.schedule, self.calls, self.also = denoise, denoise.schedule, 0, also

    def __call__(self, x, t):
        self.calls += 1
        if self.also:
            self.also(x, t)
        return self.denoise(x, t)
