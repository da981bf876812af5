"""The feature network behind all digit metrics: a small classifier of the training split, frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.nets import Classifier
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.training import Fitting, fit, warm_cosine


def random_shift(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each image moved by -1, 0 or 1 pixels either way, background coming in at the edges."""
    n, _, height, width = x.shape
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    across, down = torch.randint(0, 3, (2, n, 1), generator=generator)
    rows, columns = (down + torch.arange(height)).to(x.device), (across + torch.arange(width)).to(x.device)
    each = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def label_loss(model: nn.Module, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator | None) -> Tensor:
    """The loss: cross-entropy of the label, for images shifted at random and a little noisy."""
    x, cond = batch
    return F.cross_entropy(model(random_shift(x, generator) + 0.1 * noise_like(x, generator)), cond["y"])


def _training(model: nn.Module, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    x, y = (part.to(next(model.parameters()).device) for part in load_digits("train"))
    examples = batches(x, y, batch, generator)
    return fit(model, examples, steps, label_loss, lr=warm_cosine(2e-3), ema=0.99, generator=generator)


@torch.no_grad()
def _evaluate(model: nn.Module) -> dict[str, Any]:
    model = model.cpu()
    right = {split: (model(x).argmax(1) == y) for split in ("train", "held_out") for x, y in [load_digits(split)]}
    return {f"accuracy_{split}": round(float(hits.double().mean()), 4) for split, hits in right.items()}


RECIPE = Recipe(
    name="digits_classifier",
    about="features and class probabilities in which samples of digits are evaluated",
    data="scikit-learn's 8x8 digits, the 1,437 of the training split",
    steps=1000,
    batch=128,
    build=Classifier,
    training=_training,
    evaluate=_evaluate,
    settings={"lr": "warm_cosine(2e-3)", "ema": 0.99, "augmentation": "shifts by one pixel, noise of 0.1"},
    shipped=True,
)
