"""Every route from noise to data ends in the same place: samples of each sampler against the mixture itself.

A route passes when its distance to the mixture is below what 99.9 % of true draws of the same size show, plus an
ALLOWANCE for the discretisation of its path. On the line the true quantiles are known, so one draw is held against
them (60,000 points, the W2 distance); in the plane it is held against a second draw (20,000 points, sliced W2).
The null is calibrated on 1,000 draws of a tenth of the size: by the limit law of the empirical quantile process W2
shrinks as 1 / sqrt(n), which 40 draws of full size confirmed (largest 0.0128 where the bound is 0.0143).
"""

import functools

import pytest
import torch

from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.langevin import annealed_langevin
from cs348k_diffusion.metrics import sliced_wasserstein
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, ddpm, edm_path, heun, multistep, path, sample
from cs348k_diffusion.schedule import cosine
from tests.oracles import lumps, quantiles, seeded, wasserstein

# Measured on the line: DDIM's paths end 0.005 from the mixture, 2M's 0.001, Heun's 0.002. DDPM's about 0.009; its
# error and the noise of a draw add as squares: at 99.9 %, (0.009^2 + 0.0143^2)^0.5 = 0.017 is still below the bound.
ALLOWANCE = {"line": 0.005, "plane": 0.005}
SIZE = {"line": 60_000, "plane": 20_000}
DIRECTIONS = 8


@functools.cache
def mixtures(where):
    """Two overlapping modes on the line, variance 1.07; three tilted ones in the plane."""
    if where == "plane":
        return lumps().to(torch.zeros(1))
    return Mixture(torch.tensor([[-0.8], [1.0]]), torch.tensor([0.36, 0.25]), torch.tensor([0.4, 0.6]))


@functools.cache
def truth(where, n):
    """What a draw is held against: the true quantiles on the line, a draw in the plane."""
    return quantiles(mixtures("line"), n) if where == "line" else mixtures("plane").sample(n, seeded(99))


def distance(where, x, against):
    if where == "line":
        return wasserstein(x.double(), against)
    return sliced_wasserstein(x, against, DIRECTIONS, seeded(0))


@functools.cache
def bound(where):
    """The 99.9 % quantile of the distance of 1,000 true draws, at a tenth of the size, and so 1 / sqrt(10) of that."""
    mixture, n, generator = mixtures(where), SIZE[where] // 10, seeded(1)
    second = (lambda: truth("line", n)) if where == "line" else (lambda: mixture.sample(n, generator))
    null = torch.tensor([distance(where, mixture.sample(n, generator), second()) for _ in range(1000)])
    return float(null.quantile(0.999)) / 10**0.5 + ALLOWANCE[where]


def noise(where, seed):
    return cosine().prior((SIZE[where], mixtures(where).means.shape[1]), seeded(seed))


def by_langevin(where):
    """Blurred by 1 and 0.5, then the mixture itself with ever smaller steps; 50 updates each, from N(0, 4)."""
    mixture = mixtures(where)
    identity = torch.eye(mixture.means.shape[1])
    covs = mixture.axes @ torch.diag_embed(mixture.variances) @ mixture.axes.mT
    blurred = [Mixture(mixture.means, covs + blur**2 * identity, mixture.log_weights.exp()) for blur in (1.0, 0.5)]
    scores = [each.score for each in (*blurred, mixture, mixture, mixture)]
    return last(annealed_langevin(scores, 2 * noise(where, 5), [0.2, 0.1, 0.05, 0.02, 0.005], 50, seeded(6))).x


def by_path(walk):
    return lambda where: last(walk(mixtures(where).denoiser(cosine()), noise(where, 7))).x


ROUTES = {
    "annealed Langevin, 250 updates": by_langevin,
    "DDPM, 250 steps": by_path(lambda denoise, x: ddpm(denoise, x, path(250), seeded(8))),
    "DDIM, 200 steps": by_path(lambda denoise, x: ddim(denoise, x, path(200))),
    "2M, 40 steps": by_path(lambda denoise, x: sample(denoise, x, path(40), solver=multistep)),
    "Heun, 80 steps": by_path(lambda denoise, x: sample(denoise, x, edm_path(cosine(), 80), solver=heun)),
}


@pytest.mark.parametrize("where", SIZE)
@pytest.mark.parametrize("route", ROUTES)
def test_a_route_ends_in_the_mixture(route, where):
    assert distance(where, ROUTES[route](where), truth(where, SIZE[where])) < bound(where)


def off(where, variance, seed):
    """A sampler that is right but for its variance."""
    mean, _ = mixtures(where).moments()
    return mean + (mixtures(where).sample(SIZE[where], seeded(seed)) - mean) * variance**0.5


@pytest.mark.parametrize("variance", [0.95, 1.05])
def test_the_test_fails_a_variance_that_is_five_percent_off(variance):
    """On the line, five draws of each: measured 0.022 at least (40 draws), where the bound is 0.019."""
    for seed in range(5):
        assert distance("line", off("line", variance, seed), truth("line", SIZE["line"])) > bound("line")


@pytest.mark.parametrize("variance", [0.88, 1.12])
def test_the_coarser_test_in_the_plane_fails_twelve_percent(variance):
    for seed in range(5):
        assert distance("plane", off("plane", variance, seed), truth("plane", SIZE["plane"])) > bound("plane")


@pytest.mark.parametrize("where", SIZE)
def test_the_test_passes_true_draws(where):
    for seed in range(5):
        assert distance(where, mixtures(where).sample(SIZE[where], seeded(seed)), truth(where, SIZE[where])) < bound(
            where
        )
