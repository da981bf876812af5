"""A classifier of noisy digits, for guidance: the same small net, given the time, trained at every noise level.

What it says of a digit under noise is log p_t(y | x_t). At t = 1 that is the same for all classes: nothing to see.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.forward import add_noise
from cs348k_diffusion.nets.classifier import TimedClassifier
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, fit, uniform_times, warm_cosine

LEVELS = (0.02, 0.2, 0.4, 0.6, 0.8)  # the times at which it is evaluated


def noisy_label_loss(
    model: nn.Module, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator | None
) -> Tensor:
    """The loss: cross-entropy of the label, for digits at all times of the cosine schedule. A scalar."""
    x0, cond = batch
    t = uniform_times(len(x0), generator)
    x_t = add_noise(cosine(), x0, t, noise_like(x0, generator))
    return F.cross_entropy(model(x_t, t.to(x0)), cond["y"])


def _training(model: nn.Module, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    x, y = (part.to(next(model.parameters()).device) for part in load_digits("train"))
    examples = batches(x, y, batch, generator)
    return fit(model, examples, steps, noisy_label_loss, lr=warm_cosine(3e-3), ema=0.99, generator=generator)


@torch.no_grad()
def accuracy_by_time(classifier: Any, times: tuple[float, ...] = LEVELS, repeats: int = 4) -> list[float]:
    """How often classifier(x_t, t) names the held-out digits at each time, over `repeats` draws of the noise."""
    (x, y), generator = load_digits("held_out"), torch.Generator().manual_seed(0)
    x, y, rates = x.repeat(repeats, 1, 1, 1), y.repeat(repeats), []
    for t in times:
        time = torch.full((len(x),), t)
        said = classifier(add_noise(cosine(), x, time, noise_like(x, generator)), time)
        rates.append(float((said.argmax(1) == y).double().mean()))
    return rates


def _evaluate(model: nn.Module) -> dict[str, Any]:
    return {"times": list(LEVELS), "accuracy_held_out": [round(a, 4) for a in accuracy_by_time(model.cpu())]}


RECIPE = Recipe(
    name="digits_noisy_classifier",
    about="class probabilities of digits at every noise level, for classifier guidance",
    data="scikit-learn's 8x8 digits, the 1,437 of the training split, noised at times spread evenly over (0, 1)",
    steps=1500,
    batch=128,
    build=TimedClassifier,
    training=_training,
    evaluate=_evaluate,
    settings={"net": "TimedClassifier(width=32)", "schedule": "cosine", "lr": "warm_cosine(3e-3)", "ema": 0.99},
    shipped=True,
)
