"""Toy densities on the line and in the plane, small enough to see whole.

Each function draws `n` points of shape (n, dim), float32, from its generator; the two-dimensional ones have mean near
zero and a spread near 1, the scale a variance-preserving schedule expects. The mixtures also come as parameters, for
which the exact score is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Blobs(NamedTuple):
    """Parameters of a mixture of round Gaussians: weights (k,) that sum to 1, means (k, dim), one std for all."""

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k dim"]
    std: float

    def draw(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n dim"]:
        """n independent points."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[which] + self.std * torch.randn(n, self.means.shape[1], generator=generator)


def ncsn_toy(dim: int = 1) -> Blobs:
    """1/5 N(-5, I) + 4/5 N(+5, I): two modes so far apart that Langevin dynamics cannot tell which is the larger.

    Source: Song & Ermon 2019, section 3.2.2, arXiv:1907.05600 (there with dim = 2).
    """
    return Blobs(torch.tensor([0.2, 0.8]), torch.tensor([[-5.0], [5.0]]).expand(2, dim).clone(), 1.0)


def ring_of_gaussians(count: int = 8, radius: float = 1.4, std: float = 0.1) -> Blobs:
    """`count` equal blobs evenly spaced on a circle; with the defaults each coordinate has a spread of 1."""
    angles = torch.arange(count) * (2 * math.pi / count)
    means = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return Blobs(torch.full((count,), 1 / count), means, std)


def eight_gaussians(n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 2"]:
    """Points of `ring_of_gaussians()`."""
    return ring_of_gaussians().draw(n, generator)


def two_moons(n: int, generator: torch.Generator | None = None, std: float = 0.08) -> Float[Tensor, "n 2"]:
    """Two half circles of radius 1.2, each reaching into the other's hollow, blurred by `std`."""
    angle = math.pi * torch.rand(n, generator=generator)
    side = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1  # -1: the lower moon, +1: the upper one
    arc = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    return 1.2 * side[:, None] * arc + std * torch.randn(n, 2, generator=generator)


def swiss_roll(n: int, generator: torch.Generator | None = None, std: float = 0.04) -> Float[Tensor, "n 2"]:
    """A spiral of one turn and a half, uniform in angle from 3 pi/2 to 9 pi/2, blurred by `std`; reaches out to 2."""
    angle = math.pi * (1.5 + 3 * torch.rand(n, generator=generator))
    spiral = torch.stack([angle.cos(), angle.sin()], dim=1) * (2 * angle / (4.5 * math.pi))[:, None]
    return spiral + std * torch.randn(n, 2, generator=generator)


def checkerboard(n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n 2"]:
    """Uniform on the eight dark squares of a 4 x 4 board that fills [-1.8, 1.8]^2: sharp edges, nothing between."""
    column = torch.randint(0, 4, (n,), generator=generator)
    row = 2 * torch.randint(0, 2, (n,), generator=generator) + column % 2
    corner = torch.stack([column, row], dim=1)
    return 0.9 * (corner + torch.rand(n, 2, generator=generator) - 2)
