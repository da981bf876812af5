"""The U-Net of superresolution: the small picture, enlarged, comes in beside the noisy one as further channels.

Blocks of pixels are folded into channels on the way in, so that the U-Net inside always works on 16 x 16 places,
whatever it enlarges to. Source: Saharia et al. 2021 (SR3), section 2.2, arXiv:2104.07636; the level of noise in the
small picture as a condition, Ho et al. 2021 (CDM), section 4, arXiv:2106.15282.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.nets.embed import sinusoids, zeroed
from cs348k_diffusion.nets.unet import UNet

THIN = 8  # channels at full size, where they are expensive


def with_low_res(
    x: Float[Tensor, "batch channels height width"],
    low_res: Float[Tensor, "some channels h w"] | None,
    enlarge: Callable[[Tensor, int], Tensor],
) -> Float[Tensor, "batch both height width"]:
    """x, and the small picture enlarged to x's rows, as further channels: zeros where low_res is None.

    enlarge(low_res, rows) -> pictures of x's size. A low_res of batch 1 serves every example.
    """
    shown = torch.zeros_like(x) if low_res is None else enlarge(low_res.to(x), x.shape[-2]).expand_as(x)
    return torch.cat([x, shown], 1)


def enlarged(low_res: Tensor, rows: int) -> Tensor:
    """Bicubic, as `cascade.resize`, by torch's own kernel."""
    columns = round(low_res.shape[-1] * rows / low_res.shape[-2])
    return F.interpolate(low_res, (rows, columns), mode="bicubic", antialias=True)


class UpsamplerUNet(nn.Module):
    """net(x, t, low_res=None, level=None): a noisy picture, and what it should look like when it is shrunk.

    x: (batch, channels, height, width); t: (batch,) in [0, 1]; low_res: (batch, channels, h, w) of any smaller size,
    None for nothing known; level: (batch,), the standard deviation of the noise in low_res, None for 0. fold: how many
    pixels each way become channels; height and width must be multiples of fold * 2^(len(mults) - 1).
    """

    def __init__(self, channels: int = 3, fold: int = 2, width: int = 32, mults: Sequence[int] = (1, 2, 2)):
        super().__init__()
        self.fold, self.channels = fold, channels
        self.conv_in = nn.Conv2d(2 * channels, THIN, 3, padding=1)
        self.body = UNet(THIN * fold**2, width, mults)
        self.level = nn.Sequential(nn.Linear(4 * width, 4 * width), nn.SiLU(), zeroed(nn.Linear(4 * width, 4 * width)))
        self.conv_out = nn.Conv2d(THIN, channels, 3, padding=1)

    @property
    def null(self) -> dict[str, Tensor]:
        """The condition that says nothing: a grey picture without noise, {"low_res": zeros, "level": zeros}."""
        return {"low_res": torch.zeros(1, self.channels, 1, 1), "level": torch.zeros(1)}

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        low_res: Float[Tensor, "batch channels h w"] | None = None,
        level: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """One value for each pixel of x."""
        folded = F.pixel_unshuffle(self.conv_in(with_low_res(x, low_res, enlarged)), self.fold)
        level = torch.zeros_like(t) if level is None else level.to(t).expand(len(t))
        emb = self.body.embed(t) + self.level(sinusoids(level, self.body.embed.width))
        return self.conv_out(F.pixel_shuffle(self.body.through(folded, emb), self.fold))
