"""A digit in one evaluation: the digits model, distilled by halving its 16 steps four times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.denoiser import NetDenoiser, clip
from cs348k_diffusion.distill import Halving, progressive
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.recipes import cards, digits
from cs348k_diffusion.recipes.digits import digit_report, draw
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.running import Run
from cs348k_diffusion.training import Progress

TEACHER_STEPS, STAGES = 16, 4
PEAK, EMA = 8e-4, 0.96


def stages(model: NetDenoiser, updates: int, batch: int, generator: torch.Generator) -> Iterator[Halving]:
    """The student of 8 steps, then of 4, 2 and 1: it starts as a copy of the shipped digits model, its teacher."""
    device = next(model.parameters()).device
    master = cards.restore(digits.denoiser(), "digits").to(device)
    model.load_state_dict(master.state_dict())
    x, y = (part.to(device) for part in load_digits("train"))
    stock = batches(x, y, batch, generator)
    return progressive(
        model, lambda cond: clip(master.given(**cond)), stock, TEACHER_STEPS, lambda n: updates,
        lr=PEAK, ema=EMA, generator=generator,
    )  # fmt: skip


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Run[Progress]:
    """All stages one after another, a quarter of the updates each, at least one."""
    return Run(_training(model, max(1, steps // STAGES), batch, generator), f"distilling, {steps} steps")


def _training(model: NetDenoiser, updates: int, batch: int, generator: torch.Generator) -> Iterator[Progress]:
    for k, stage in enumerate(stages(model, updates, batch, generator)):
        for progress in stage.training:
            yield progress._replace(step=k * updates + progress.step)


@torch.no_grad()
def evaluate(model: NetDenoiser, seed: int = 0) -> dict[str, Any]:
    """The reports of 1,797 digits in one evaluation, of its teacher's in 16, and of the real digits held out."""
    labels = load_digits("all")[1]
    teacher = cards.restore(digits.denoiser(), "digits")
    student, taught = draw(model, labels, seed, 1), draw(teacher, labels, seed, TEACHER_STEPS)
    reports = {
        "student_1": digit_report(student, labels),
        f"teacher_{TEACHER_STEPS}": digit_report(taught, labels),
        "held_out_real": digit_report(*load_digits("held_out")),
    }
    return rounded(
        {
            "mean_squared_distance_to_teacher": float((student - taught).square().mean()),
            **{name: report._asdict() for name, report in reports.items()},
        }
    )


RECIPE = Recipe(
    name="digits_fast",
    about="handwritten digits of a class you choose in one evaluation, distilled from `digits`, 8x8",
    data="scikit-learn's 8x8 digits, the 1,437 of the training split, and the shipped digits model as teacher",
    steps=480,
    batch=128,
    build=digits.denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "teacher": f"digits, DDIM in {TEACHER_STEPS} steps, x0_hat clipped to [-1, 1]",
        "stages": "8, 4, 2, 1 steps, 120 updates each",
        "target": "two steps of the teacher in one (implied_x0)",
        "weight": "clamp(SNR, 1, 25) in x0-space",
        "lr": f"{PEAK:g}, falling to 0 in each stage",
        "ema": EMA,
        "samples": "one evaluation, clamped to [-1, 1]",
    },
)
