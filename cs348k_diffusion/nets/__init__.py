"""Networks: plain functions net(x, t, **condition) of a noisy input and a time, which know nothing of schedules.

They meet a schedule in `NetDenoiser(net, schedule)`. Every condition may be left out, and then means nothing given.
"""

from cs348k_diffusion.nets.classifier import Classifier
from cs348k_diffusion.nets.embed import Film, LabelEmbedding, TimeAndLabel, sinusoids, zeroed
from cs348k_diffusion.nets.mlp import PointNet
from cs348k_diffusion.nets.unet import ResidualBlock, UNet, group_norm

__all__ = [
    "Classifier",
    "Film",
    "LabelEmbedding",
    "PointNet",
    "ResidualBlock",
    "TimeAndLabel",
    "UNet",
    "group_norm",
    "sinusoids",
    "zeroed",
]
