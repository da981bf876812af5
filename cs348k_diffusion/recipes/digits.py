"""The course's first picture model: a class-conditional U-Net on real handwritten digits, 8x8."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.data.digits import HELD_OUT
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.metrics import class_entropy, frechet, nearest_distance, precision_recall
from cs348k_diffusion.metrics.intervals import rounded, wilson
from cs348k_diffusion.nets import Classifier, UNet
from cs348k_diffusion.pipeline import Labels, Pipeline
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.classifiers import digits_classifier
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, denoising, fit, warm_cosine

PEAK = 2e-3  # of the learning rate


def denoiser() -> NetDenoiser:
    """The untrained model: a U-Net of 0.75 million parameters that predicts v on the cosine schedule."""
    return NetDenoiser(UNet(channels=1, width=32, mults=(1, 2, 2), classes=10), cosine(), predict="v")


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    """Train on the 1,437 digits of the training split, 10 % of the labels dropped."""
    x, y = (part.to(next(model.parameters()).device) for part in load_digits("train"))
    examples = batches(x, y, batch, generator)
    return fit(model, examples, steps, denoising(dropout=0.1), lr=warm_cosine(PEAK), ema=0.995, generator=generator)


def drawing(model: NetDenoiser) -> Pipeline:
    """How the model draws digits of the classes that are asked for: DDIM, without guidance."""
    return Pipeline(model, (1, 8, 8), Labels(10))


def draw(model: NetDenoiser, y: Tensor, seed: int = 0, calls: int = 25) -> Float[Tensor, "n 1 8 8"]:
    """One digit for each label of y by DDIM in `calls` evaluations, on the CPU, in [-1, 1]."""
    return drawing(model).images(y.tolist(), seed=seed, steps=calls, at_once=len(y))


class DigitReport(NamedTuple):
    """What the frozen classifier, and the nearest training digit, say of n images (see `digit_report`)."""

    n: int
    accuracy: float
    accuracy_95: tuple[float, float]
    fd: float
    precision: float
    recall: float
    nearest: float
    entropy: float
    fd_groups: tuple[float, ...]

    def __str__(self) -> str:
        low, high = self.accuracy_95
        return (
            f"accuracy {self.accuracy:.3f} [{low:.3f}, {high:.3f}]   FD {self.fd:.2f}   "
            f"precision {self.precision:.2f}   recall {self.recall:.2f}   nearest {self.nearest:.2f}"
        )


@torch.no_grad()
def digit_report(images: Float[Tensor, "n 1 8 8"], labels: Int[Tensor, " n"]) -> DigitReport:
    """How good are these images as digits of the classes `labels`? Put the held-out real digits' report beside it.

    One rule for samples and for real digits: images are compared, 360 at a time, with the 1,437 training digits in the
    features of the frozen classifier; FD, precision and recall are means over all whole groups of 360. The 360 digits
    held out are one such group, so that both sides carry the same bias of FD.
    accuracy: how often the classifier sees the class asked for, with a 95 % interval; nearest: the mean distance in
    pixel values to the nearest training digit, far below the real one when a model has memorised; entropy: 1 when all
    classes come equally often. Raises ValueError for fewer than 360 images.
    """
    if len(images) < HELD_OUT:
        raise ValueError(
            f"a report compares groups of {HELD_OUT} (so many real digits are held out), got {len(images)}"
        )
    network, real = classifier(), load_digits("train")[0]
    here, there = network.features(images), network.features(real)
    groups = [group for group in here.split(HELD_OUT) if len(group) == HELD_OUT]
    fds = [frechet(group, there) for group in groups]
    precision, recall = torch.tensor([precision_recall(there, group) for group in groups]).mean(0).tolist()
    seen = network(images).argmax(1)
    hits = int((seen == labels).sum())
    return DigitReport(
        n=len(labels),
        accuracy=hits / len(labels),
        accuracy_95=wilson(hits, len(labels)).ends,
        fd=sum(fds) / len(fds),
        precision=precision,
        recall=recall,
        nearest=float(nearest_distance(images, real).mean()),
        entropy=class_entropy(seen, 10),
        fd_groups=tuple(fds),
    )


def evaluate(model: NetDenoiser, seed: int = 0) -> dict[str, Any]:
    """The reports of 1,797 samples, with the labels of the real digits, and of the real digits held out.

    `fd_ratio` is FD(samples) / FD(held out): 1 is as far from the training digits as real digits are that nobody has
    trained on.
    """
    labels = load_digits("all")[1]
    samples, held_out = digit_report(draw(model, labels, seed), labels), digit_report(*load_digits("held_out"))
    reports = {"samples": samples._asdict(), "held_out_real": held_out._asdict()}
    return rounded({"fd_ratio": samples.fd / held_out.fd, **reports})


def classifier() -> Classifier:
    """The frozen classifier that ships with the package; `.features(x)` and logits."""
    return cards.restore(Classifier(), digits_classifier.RECIPE.name).requires_grad_(False)


RECIPE = Recipe(
    name="digits",
    about="handwritten digits of a class you choose, 8x8",
    data="scikit-learn's 8x8 digits, the 1,437 of the training split (shuffled once, the last 360 held out)",
    steps=3000,
    batch=128,
    build=denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "net": "UNet(width=32, mults=(1, 2, 2), classes=10)",
        "schedule": "cosine",
        "predict": "v",
        "dropout": 0.1,
        "lr": f"warm_cosine({PEAK:g})",
        "ema": 0.995,
        "samples": "DDIM, 25 evaluations, x0_hat clipped to [-1, 1], no guidance",
    },
    pipeline=drawing,
    shipped=True,
)
