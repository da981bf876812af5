"""A small convolutional classifier: its features are the eyes with which a metric looks at samples.

Distances between pixels say little about pictures; distances between a classifier's features say more. It is trained
once, frozen and shipped, because a Frechet distance depends on the features it is measured in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs348k_diffusion.nets.unet import group_norm


class Classifier(nn.Module):
    """Logits for images (batch, channels, height, width) in [-1, 1]; `features` is the layer before them.

    One convolution for each stride, the later ones with 2 * width channels, then the mean over all places. The mean
    keeps what the strokes look like, and not only which class they amount to: features after one more layer would
    tell good samples from bad ones half as well.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 32, strides: Sequence[int] = (1, 1, 2)):
        super().__init__()
        widths = [channels, width, *[2 * width] * (len(strides) - 1)]
        layers = [conv_layer(a, b, stride) for (a, b), stride in zip(pairwise(widths), strides, strict=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """The mean over all places of the last convolution, in which distances between sets of images are measured."""
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits; softmax over dim 1 gives the class probabilities."""
        return self.head(self.features(x))


class TimedClassifier(nn.Module):
    """A classifier of noisy images: it is told the time, as one more channel that is the same at every pixel.

    Arguments as for `Classifier`. What it says of x_t can be right at every noise level, if it was trained on all.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 32, strides: Sequence[int] = (1, 1, 2)):
        super().__init__()
        self.net = Classifier(channels + 1, classes, width, strides)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits of p_t(y | x_t); t in [0, 1]."""
        clock = t.to(x).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        return self.net(torch.cat([x, clock], dim=1))


def conv_layer(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution that makes maps 1 / stride as high and wide, GroupNorm, SiLU."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
    return nn.Sequential(conv, group_norm(channels_out), nn.SiLU())
