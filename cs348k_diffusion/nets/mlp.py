"""A network for points in the plane: the same recipe as the U-Net, with nothing to convolve.

Residual blocks, each told the time and the class by `Film`; the output layer starts at zero. It trains in seconds.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.nets.embed import Film, TimeAndLabel, zeroed


class PointNet(nn.Module):
    """net(x, t, y=None) for points x of shape (batch, dim): a residual MLP of `depth` blocks.

    t in [0, 1] of shape (batch,); y in 0 .. classes of shape (batch,) or (1,), where
    `classes`, or None, means no class.
    """

    def __init__(self, dim: int = 2, width: int = 128, depth: int = 3, classes: int = 0):
        super().__init__()
        self.embed = TimeAndLabel(width, classes)
        self.linear_in = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.linear_out = zeroed(nn.Linear(width, dim))

    @property
    def null(self) -> dict[str, Tensor]:
        """The condition that says nothing, {"y": tensor([classes])}; {} without classes."""
        return self.embed.null

    def forward(
        self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"], y: Int[Tensor, " labels"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """One value for each coordinate of x; what it means is the business of the denoiser around the net."""
        emb = self.embed(t, y)
        h = self.linear_in(x)
        for block in self.blocks:
            h = block(h, emb)
        return self.linear_out(F.silu(h))


class _Block(nn.Module):
    """h + linear(silu(film(linear(silu(h)))))."""

    def __init__(self, width: int):
        super().__init__()
        self.linear_in, self.film = nn.Linear(width, width), Film(width, width)
        self.linear_out = nn.Linear(width, width)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return h + self.linear_out(F.silu(self.film(self.linear_in(F.silu(h)), emb)))
