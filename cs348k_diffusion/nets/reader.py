"""A network that reads several attributes off a picture at once: one trunk of convolutions, one small head each.

Where things stand matters (left of, above) and so does how many there are, so the heads see the trunk's map of features
place by place. A mean over all places, as in `Classifier`, is what distances between sets of pictures are measured in.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from cs348k_diffusion.nets.classifier import conv_layer


class AttributeReader(nn.Module):
    """{attribute: logits} for images (batch, 3, size, size) in [-1, 1]; `attributes` says how many values each has.

    Five convolutions take a picture to size / 8, with 2, 4 and 4 times `width` channels at the end. Raises
    ValueError when the images are not of the size that it was built for.
    """

    def __init__(self, attributes: Mapping[str, int], size: int = 32, width: int = 32, hidden: int = 192):
        super().__init__()
        self.size = size
        widths, strides = (3, width, 2 * width, 2 * width, 4 * width, 4 * width), (2, 1, 2, 1, 2)
        layers = [conv_layer(a, b, stride) for (a, b), stride in zip(pairwise(widths), strides, strict=True)]
        self.trunk = nn.Sequential(*layers)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * (size // 8) ** 2, hidden), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, values) for name, values in attributes.items()})

    def features(self, x: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch features"]:
        """The mean over all places of the last convolution, in which distances between sets of images are measured."""
        return self.trunk(x).mean(dim=(2, 3))

    def forward(self, x: Float[Tensor, "batch 3 size size"]) -> dict[str, Float[Tensor, "batch _"]]:
        """Logits by attribute."""
        if x.shape[-1] != self.size or x.shape[-2] != self.size:
            raise ValueError(f"this reader reads pictures of {self.size} x {self.size} pixels, got {tuple(x.shape)}")
        seen = self.body(self.trunk(x))
        return {name: head(seen) for name, head in self.heads.items()}
