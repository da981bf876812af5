"""Can the samples be told from the data?  Ask a small network that is trained to, and a distance that sees texture.

A Frechet distance in the features of a classifier is blind to what its classes do not need: faces, torn edges. The
two-sample test has no such blind spot, only a size: how many pictures, which network, how many updates are part of its
number. 1/2 is the best that samples can do, and what data against data gets.
Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.metrics.distances import frechet
from cs348k_diffusion.metrics.intervals import Interval, wilson

BATCH, PEAK = 64, 2e-3


class TwoSample(NamedTuple):
    """The outcome of a two-sample test.

    accuracy: on pictures held out, with its 95 % interval (Wilson); logits: how sure the network is that a held-out
    picture is false, (n,), with the true ones first; surest_false, surest_true: the places, among the held-out false
    and true pictures, sorted from the most telling.
    """

    accuracy: Interval
    logits: Float[Tensor, " n"]
    surest_false: Tensor
    surest_true: Tensor


def judge_net(channels: int = 3, pool: nn.Module | None = None) -> nn.Sequential:
    """The network of the test: three convolutions with batch norm, two strides, 43,000 weights for colour pictures.

    pool: how places are brought together, their mean unless told.
    """

    def layer(fine: int, coarse: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(fine, coarse, 3, stride, 1), nn.BatchNorm2d(coarse), nn.ReLU()]

    layers = [*layer(channels, 32, 1), *layer(32, 48, 2), *layer(48, 64, 2)]
    return nn.Sequential(*layers, pool or nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def two_sample_test(
    true: Float[Tensor, "n c h w"], false: Float[Tensor, "m c h w"], passes: int = 12, seed: int = 0
) -> TwoSample:
    """Train a fresh network on one half of each and test it on the other; n and m must be equal.

    passes: over the training half, in batches of 64, AdamW with a rate that falls from 2e-3 to 0. Raises ValueError
    for fewer than four pictures of a kind, and unless there are as many true as false ones.
    """
    if len(true) != len(false) or len(true) < 4:
        raise ValueError(f"as many true as false pictures, at least 4 of each; got {len(true)} and {len(false)}")
    half = len(true) // 2
    x = torch.cat([true[:half], false[:half]])
    y = torch.cat([torch.zeros(half), torch.ones(half)])
    net = _trained(x, y, passes, seed)
    logits = torch.cat([net(part)[:, 0] for part in torch.cat([true[half:], false[half:]]).split(250)])
    told = torch.cat([logits[: len(true) - half] < 0, logits[len(true) - half :] >= 0])
    real, fake = logits.split([len(true) - half, len(false) - half])
    return TwoSample(wilson(int(told.sum()), len(told)), logits, fake.argsort(descending=True), real.argsort())


def _trained(x: Tensor, y: Tensor, passes: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = judge_net(x.shape[1]).train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK)
        steps = passes * -(-len(x) // BATCH)
        falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 - k / steps)
        for _ in range(passes):
            for rows in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows]).backward()
                optimizer.step()
                falling.step()
    return net.eval().requires_grad_(False)


# ---- texture ---------------------------------------------------------------------------------------------------------

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
