"""How one network serves every noise level and every class.

The network is told the time as a row of sines and cosines, slow ones that place t in [0, 1] and fast ones that tell
neighbours apart, and the class as a learned vector. Both arrive in each block through `film`: h (1 + scale) + shift.
"No class given" is a class of its own, the null label K. A network trained with a share of its labels replaced by
the null learns p(x | y) and p(x) at once.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoids(t: Float[Tensor, " batch"], width: int, fastest: float = 1000.0) -> Float[Tensor, "batch width"]:
    """The time as sines and cosines at width/2 frequencies, from 1 to `fastest` in geometric progression.

    e(t) = [sin(w_1 t), ..., sin(w_m t), cos(w_1 t), ..., cos(w_m t)],   w_k = fastest^((k-1) / (m-1)),   m = width/2
    The slowest sine is monotone on [0, 1]; the fastest turns by 1 radian between t and t + 1/1000.
    Raises ValueError when width is odd or below 4. Source: Ho et al. 2020, appendix B, arXiv:2006.11239, where
    t = 0 .. 1000 and w = 1 .. 1/10000.
    """
    if width < 4 or width % 2:
        raise ValueError(f"a sine and a cosine for each frequency: width must be even and at least 4, got {width}")
    exponents = torch.linspace(0, 1, width // 2, dtype=t.dtype, device=t.device)
    angles = t[:, None] * torch.exp(math.log(fastest) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class LabelEmbedding(nn.Module):
    """A learned vector for each of K classes, and one more, number K, that means "no class given"."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)

    @property
    def null(self) -> int:
        """The label that means "no class given": K, one past the last class."""
        return self.table.num_embeddings - 1

    def forward(self, y: Int[Tensor, " labels"]) -> Float[Tensor, "labels width"]:
        """The vectors of the labels y in 0 .. K; raises ValueError for any other."""
        if bool(((y < 0) | (y > self.null)).any()):
            raise ValueError(f"labels must lie in 0..{self.null - 1}, or be {self.null} for none; got {y.tolist()[:8]}")
        return self.table(y)


class TimeAndLabel(nn.Module):
    """One vector that says when, and of which class: an MLP of `sinusoids(t)`, plus the label's vector.

    classes = 0 builds an unconditional network, which has no label to give.
    """

    def __init__(self, width: int, classes: int = 0):
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.label = LabelEmbedding(classes, width) if classes else None

    @property
    def null(self) -> dict[str, Tensor]:
        """The condition that says nothing, {"y": tensor([K])}; {} for an unconditional network."""
        return {"y": torch.tensor([self.label.null])} if self.label else {}

    def forward(self, t: Float[Tensor, " batch"], y: Int[Tensor, " labels"] | None = None) -> Float[Tensor, "batch w"]:
        """t in [0, 1] of shape (batch,); y of shape (batch,) or (1,), None for the null label."""
        emb = self.time(sinusoids(t, self.width).to(next(self.time.parameters()).dtype))
        if self.label is None:
            if y is not None:
                raise ValueError("this network was built without classes (classes=0): it cannot be given a label y")
            return emb
        y = torch.full((1,), self.label.null, device=t.device) if y is None else y.to(t.device)
        return emb + self.label(y)


class Film(nn.Module):
    """Feature-wise modulation by an embedding: h (1 + scale) + shift, one scale and one shift for each channel.

    Source: Perez et al. 2018, arXiv:1709.07871; in diffusion, Dhariwal & Nichol 2021, section 3.1, arXiv:2105.05233.
    """

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(width, 2 * channels)

    def forward(self, h: Float[Tensor, "batch channels ..."], emb: Float[Tensor, "batch width"]) -> Tensor:
        """h of shape (batch, channels, ...), modulated."""
        scale, shift = self.linear(F.silu(emb)).view(*emb.shape[:1], -1, *(1,) * (h.ndim - 2)).chunk(2, dim=1)
        return h * (1 + scale) + shift


def zeroed(layer: nn.Module) -> nn.Module:
    """The same layer with every parameter at zero: what follows it starts as the identity, or as nothing at all."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
