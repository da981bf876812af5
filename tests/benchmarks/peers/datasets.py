"""What the contestants learn to draw: the drawn world, and Fashion-MNIST where its files are; both (3, 32, 32)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cs348k_diffusion.data import batches, load_fashion
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.nets import Classifier
from cs348k_diffusion.recipes.classifiers.digits_classifier import label_loss
from cs348k_diffusion.recipes.classifiers.picture_reader import frozen
from cs348k_diffusion.running import last
from cs348k_diffusion.training import fit, warm_cosine

TRAIN, STEPS, BATCH = 10_000, 3000, 128  # pictures trained on; updates of the classifier whose features judge clothes


class Dataset(NamedTuple):
    """Pictures in [-1, 1] to train on, `true(n)` others to compare with, and `features(pictures)` (n, features)."""

    training: Callable[[], Tensor]
    true: Callable[[int], Tensor]
    features: Callable[[Tensor], Tensor]


def clothes(split: str, n: int) -> Tensor:
    """The first n pictures of Fashion-MNIST, grey as three equal channels: so every contestant stays as it is."""
    return load_fashion(split)[0][:n].expand(-1, 3, -1, -1)


@functools.cache
@torch.enable_grad()  # whoever asks first judges, and takes no gradients
def clothes_features() -> Callable[[Tensor], Tensor]:
    """Those of the course's classifier of digits, trained here on 60,000 clothes of 16 x 16."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = Classifier()
    examples = batches(*load_fashion("train", size=16), BATCH, generator)
    last(fit(model, examples, STEPS, label_loss, lr=warm_cosine(2e-3), ema=0.99, generator=generator))
    x, y = load_fashion("test", size=16)
    with torch.no_grad():
        right = (model.eval()(x).argmax(1) == y).float().mean()
    print(f"the classifier whose features judge clothes has {right:.3f} of unseen ones right")
    return lambda images: model.features(torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 2))


DATASETS = {
    "drawn": Dataset(
        lambda: pictures(TRAIN, 32, PICTURES.training).images,
        lambda n: pictures(n, 32, PICTURES.evaluation).images,
        lambda images: frozen().features(images),
    ),
    "fashion": Dataset(
        lambda: clothes("train", TRAIN),
        lambda n: clothes("test", n),
        lambda images: clothes_features()(images),
    ),
}
