"""A convolutional autoencoder: a picture to a small grid of numbers, and back.

Each halving makes the grid a quarter and the channels twice as many; the decoder doubles again by PixelShuffle. The
encoder gives a mean and a log-variance for every number, so that a KL term can price what they say.
Source: Kingma & Welling 2014, arXiv:1312.6114; Rombach et al. 2022, appendix G, arXiv:2112.10752.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.nets.embed import zeroed
from cs348k_diffusion.nets.unet import group_norm

FACTORS = (1, 2, 4, 8, 16)
LOUDEST = 10.0  # log-variances beyond +- this are cut off


class PlainBlock(nn.Module):
    """h + conv(silu(norm(conv(silu(h))))): a residual block that is told nothing; a new one is the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = group_norm(channels)
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, h: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The same shape."""
        return h + self.conv_out(F.silu(self.norm(self.conv_in(F.silu(h)))))


class Encoder(nn.Module):
    """Pictures (batch, channels, height, width) to (mean, log-variance), each (batch, d, height / f, width / f).

    f: 1, 2, 4, 8 or 16; raises ValueError for another, and for pictures that f does not divide.
    """

    def __init__(self, channels: int = 3, f: int = 4, d: int = 4, width: int = 16, depth: int = 1):
        super().__init__()
        halvings = halvings_of(f)
        self.f = f
        sizes = [width * 2**i for i in range(halvings + 1)]
        self.stem = nn.Conv2d(channels, sizes[0], 3, padding=1)
        self.down = nn.Sequential(*(_halve(fine, 2 * fine) for fine in sizes[:-1]))
        self.blocks = nn.Sequential(*(PlainBlock(sizes[-1]) for _ in range(depth)))
        self.out = nn.Conv2d(sizes[-1], 2 * d, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, Tensor]:
        """(mean, log-variance) of the codes."""
        if x.shape[-1] % self.f or x.shape[-2] % self.f:
            raise ValueError(f"height and width must be multiples of {self.f}, got {tuple(x.shape[-2:])}")
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        mean, log_var = self.out(F.silu(self.blocks(self.down(h)))).chunk(2, dim=1)
        return mean, log_var.clamp(-LOUDEST, LOUDEST)


class Decoder(nn.Module):
    """Codes (batch, d, height / f, width / f) to pictures (batch, channels, height, width); `depth` blocks at the code.

    Raises ValueError for an f other than 1, 2, 4, 8 and 16.
    """

    def __init__(self, channels: int = 3, f: int = 4, d: int = 4, width: int = 16, depth: int = 2):
        super().__init__()
        sizes = [width * 2**i for i in range(halvings_of(f), -1, -1)]
        self.stem = nn.Conv2d(d, sizes[0], 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(sizes[0]) for _ in range(depth)))
        self.up = nn.Sequential(*(_double(coarse, coarse // 2) for coarse in sizes[:-1]))
        self.out = nn.Conv2d(sizes[-1], channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, z: Float[Tensor, "batch d rows columns"]) -> Float[Tensor, "batch channels height width"]:
        """The pictures, not cut off to any range."""
        h = self.stem(z.contiguous(memory_format=torch.channels_last))
        return self.out(F.silu(self.up(self.blocks(h))))


def _halve(fine: int, coarse: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Conv2d(fine, coarse, 4, stride=2, padding=1), PlainBlock(coarse))


def _double(coarse: int, fine: int) -> nn.Sequential:
    grow = nn.Conv2d(coarse, 4 * fine, 3, padding=1)
    return nn.Sequential(nn.SiLU(), grow, nn.PixelShuffle(2), PlainBlock(fine))


def halvings_of(f: int) -> int:
    """How often a side is halved for the factor f: log2 f; raises ValueError unless f is in FACTORS."""
    if f not in FACTORS:
        raise ValueError(f"f is how much shorter a side gets: 1, 2, 4, 8 or 16, got {f}")
    return f.bit_length() - 1
