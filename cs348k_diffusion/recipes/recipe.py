"""What a recipe is: how to build a model, how to train it, and how to evaluate it, under one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cs348k_diffusion.pipeline import Pipeline
from cs348k_diffusion.training import Fitting, Phases

Training = Callable[[Any, int, int, torch.Generator], Fitting | Phases]


@dataclass(frozen=True)
class Recipe:
    """A model that can be trained again.

    build() is the untrained model; training(model, steps, batch, generator) a Fitting or Phases, which can be kept and
    taken up again, on the device that the model lives on; evaluate(model) the numbers for its card, each beside that of
    real data. `settings` is what a reader of the card wants to know besides. pipeline(model): how the model draws, for
    those that draw images; preview_prompts: what it draws now and then in training. shipped: the weights come with the
    package.
    """

    name: str
    about: str
    data: str
    steps: int
    batch: int
    build: Callable[[], nn.Module]
    training: Training
    evaluate: Callable[[Any], dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    pipeline: Callable[[Any], Pipeline] | None = None
    preview_prompts: Sequence[Any] = ()
    shipped: bool = False
