"""How far apart are the textures of two sets of pictures, in features that nobody trained?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cs348k_diffusion.metrics.distances import frechet

FILTERS, SCALES = 12, 3
SEED = 348  # of the filters: fixed, so that distances can be compared


@torch.no_grad()
def texture(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n features"]:
    """How strongly each of a fixed bank of small random filters answers, on average, at three sizes of the picture.

    The filters are 3 x 3, of zero mean: flat areas answer nothing, edges, specks and grain do. Features are the means
    of the rectified answers, both signs, and the mean and spread of each channel; where things stand plays no part.
    Source: the idea of filter statistics as texture is Portilla & Simoncelli 2000.
    """
    channels = x.shape[1]
    bank = torch.randn(FILTERS, channels, 3, 3, generator=torch.Generator().manual_seed(SEED)).to(x)
    bank = bank - bank.mean((2, 3), keepdim=True)
    parts = [x.mean((2, 3)), x.std((2, 3))]
    for scale in range(SCALES):
        answers = F.conv2d(F.avg_pool2d(x, 2**scale) if scale else x, bank)
        parts += [answers.relu().mean((2, 3)), (-answers).relu().mean((2, 3))]
    return torch.cat(parts, dim=1)


def texture_distance(a: Float[Tensor, "n c h w"], b: Float[Tensor, "m c h w"]) -> float:
    """Frechet distance of the textures of two sets of pictures, in units of the spread of each feature over b.

    b is the data; compare with the distance of other data to it, of as many pictures (`real_floor`).
    """
    here, there = texture(a), texture(b)
    spread = there.std(0).clamp(min=1e-6)
    return frechet(here / spread, there / spread)
