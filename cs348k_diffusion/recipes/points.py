"""Denoisers of points in the plane: a small MLP, trained in seconds, so no weights are shipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.data import Stream, checkerboard, eight_gaussians, swiss_roll, two_moons
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.metrics import real_floor, sliced_wasserstein
from cs348k_diffusion.nets import PointNet
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, path
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, denoising, fit, warm_cosine

Points = Callable[[int, torch.Generator | None], Tensor]


def denoiser() -> NetDenoiser:
    """The untrained model: an MLP of 59,000 parameters that predicts v on the cosine schedule."""
    return NetDenoiser(PointNet(width=64, depth=3), cosine(), predict="v")


def stream(points: Points, size: int, generator: torch.Generator, like: Tensor) -> Stream:
    """New points for ever: a density that is drawn in code has no end of data."""
    return Stream(lambda generator: points(size, generator).to(like), generator)


def _training(points: Points, model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    examples = stream(points, batch, generator, next(model.parameters()))
    return fit(model, examples, steps, denoising(), lr=warm_cosine(3e-3), ema=0.99, generator=generator)


def _evaluate(points: Points, model: NetDenoiser) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    real = points(4000, generator)
    noise = model.schedule.prior((2000, 2), generator).to(next(model.parameters()))
    samples = last(ddim(model, noise, path(50))).x.cpu()
    distance = partial(sliced_wasserstein, generator=generator)
    floor = real_floor(distance, real, 2000, generator=generator)
    return {
        "sliced_wasserstein": round(distance(samples, real[:2000]), 4),
        "two_real_draws": {"mean": round(float(floor.mean()), 4), "largest_of_20": round(float(floor.max()), 4)},
    }


def _recipe(points: Points, name: str) -> Recipe:
    return Recipe(
        name=name,
        about=f"points of {name} in the plane",
        data=f"data.{name}, drawn anew for every batch",
        steps=1500,
        batch=256,
        build=denoiser,
        training=partial(_training, points),
        evaluate=partial(_evaluate, points),
    )


RECIPES = [_recipe(points, points.__name__) for points in (two_moons, swiss_roll, checkerboard, eight_gaussians)]
