"""The U-Nets of distilled students, which are told how far to step and, where there is guidance, its scale.

With the scale as an input one evaluation does what guidance needs two for; with the stride one network serves drawings
in one, two and four steps, whose answers at the same x_t differ. Source: Meng et al. 2023, section 3.1,
arXiv:2210.03142; the stride, Frans et al. 2024 (shortcut models), arXiv:2410.12557.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.nets.embed import sinusoids, zeroed
from cs348k_diffusion.nets.text_unet import TextUNet
from cs348k_diffusion.nets.unet import UNet

MOST, WIDTH, FASTEST = 10.0, 32, 30.0  # the largest scale; numbers that say one number, and their fastest wave


class FastTextUNet(TextUNet):
    """net(x, t, caption=None, scale=None, stride=None): a TextUNet that knows its guidance scale and its step.

    scale: (batch,) or (1,), in [0, 10], 1 where it is not given; stride: (batch,) or (1,), t - s in [0, 1] for the step
    from t to s, 0 where it is not given. What it says of the two starts at zero, so that a student begins as a copy of
    its teacher. The arguments are those of TextUNet.
    """

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        emb = self.pool.out_features
        self.step = _step_embedding(2 * WIDTH, emb)

    @property
    def null(self) -> dict[str, Tensor]:
        """The conditions that say nothing: no caption, scale 1, stride 0."""
        return {**super().null, "scale": torch.ones(1), "stride": torch.zeros(1)}

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        caption: Int[Tensor, "captions m"] | None = None,
        scale: Float[Tensor, " scales"] | None = None,
        stride: Float[Tensor, " strides"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """One value for each pixel; height and width must be multiples of fold 2^(len(mults) - 1)."""
        given = self.embed(t, caption)
        given = given._replace(emb=given.emb + self.step(self._numbers(t, scale, stride)))
        folded = F.pixel_unshuffle(self.conv_in(x), self.fold)
        return self.conv_out(F.pixel_shuffle(self.body.through(folded, given), self.fold))

    def _numbers(self, t: Tensor, scale: Tensor | None, stride: Tensor | None) -> Float[Tensor, "batch numbers"]:
        null = self.null
        rows = (null["scale"] if scale is None else scale) / MOST, null["stride"] if stride is None else stride
        return torch.cat([sinusoids(row.to(t).expand(len(t)), WIDTH, FASTEST) for row in rows], 1)


class FastUNet(UNet):
    """net(x, t, y=None, stride=None): a UNet that knows its step, as FastTextUNet does; the arguments are UNet's."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self.step = _step_embedding(WIDTH, self.embed.width)

    @property
    def null(self) -> dict[str, Tensor]:
        """The conditions that say nothing: no class, stride 0."""
        return {**super().null, "stride": torch.zeros(1)}

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, " labels"] | None = None,
        stride: Float[Tensor, " strides"] | None = None,
    ) -> Float[Tensor, "batch channels_out height width"]:
        """One value for each pixel of x; stride: (batch,) or (1,), t - s in [0, 1]; raises ValueError as UNet does."""
        stride = (self.null["stride"] if stride is None else stride).to(t).expand(len(t))
        return self.through(x, self.embed(t, y) + self.step(sinusoids(stride, WIDTH, FASTEST)))


def _step_embedding(numbers: int, emb: int) -> nn.Module:
    return nn.Sequential(nn.Linear(numbers, emb), nn.SiLU(), zeroed(nn.Linear(emb, emb)))
