"""Can the samples be told from the data?  Ask a small network that is trained to.

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


def discriminator(channels: int = 3, pool: nn.Module | None = None) -> nn.Sequential:
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
        net = discriminator(x.shape[1]).train()
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
