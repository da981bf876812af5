"""A digit in one, two or four evaluations: the digits model, distilled into one student that is told its step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.data import batches, load_digits
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.distill import conditional
from cs348k_diffusion.metrics import frechet
from cs348k_diffusion.metrics.intervals import Interval, Values, jackknife, newcombe, paired, rounded, student_t
from cs348k_diffusion.nets import FastUNet
from cs348k_diffusion.pipeline import Labels, Pipeline, with_inputs
from cs348k_diffusion.recipes import cards, digits
from cs348k_diffusion.recipes.digits import DigitReport, classifier, digit_report
from cs348k_diffusion.recipes.distilled.fewer_steps import SETTINGS, STEPS, Distillation, distilling, shared
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.schedule import cosine

TEACHER_STEPS, USUAL = 16, 25  # evaluations of the teacher in training, and as its own card draws
STAGES = {8: 80, 4: 100, 2: 180, 1: 280}  # steps of the student, and updates
SEEDS = 2  # of the noise in the evaluation, the labels of all 1,797 digits each


def denoiser() -> NetDenoiser:
    """The untrained student: the teacher's network, told its stride too."""
    return NetDenoiser(FastUNet(channels=1, width=32, mults=(1, 2, 2), classes=10), cosine(), predict="v")


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Distillation:
    """From the shipped digits model through all stages, whose updates are shares of `steps`."""
    master = cards.restore(digits.denoiser(), "digits")
    x, y = (part.to(next(model.parameters()).device) for part in load_digits("train"))
    stock, stages = batches(x, y, batch, generator), shared(steps, STAGES)
    return distilling(model, master, stock, stages, batch, generator, limits=(-1, 1), bound=1.5, taught=conditional)


def drawing(model: NetDenoiser) -> Pipeline:
    """How the student draws digits of the classes that are asked for: in 1, 2 or 4 steps, without guidance."""
    return Pipeline(model, (1, 8, 8), Labels(10), steps=max(STEPS), bind=with_inputs(*STEPS, high=1.0))


def drawn(draw: Pipeline, labels: Tensor, steps: int) -> Tensor:
    """A digit for each label from the noise of every seed, one seed after another."""
    return torch.cat([draw.images(labels.tolist(), seed=k, steps=steps, at_once=len(labels)) for k in range(SEEDS)])


@torch.no_grad()
def evaluate(model: NetDenoiser) -> dict[str, Any]:
    """Accuracy and FD in 1, 2 and 4 evaluations, beside the teacher's in as many, in 16 and in 25, and real digits'.

    accuracy: how often the classifier sees the class asked for; drop: from the teacher's 25 evaluations; fd: the mean
    over groups of 360 digits, compared with the training digits; the floor is that of the 360 real digits held out;
    fd_above_teacher: its difference to the teacher's 25 evaluations, group by group, of the same labels and noise.
    distance: squared, per pixel, to what the teacher draws in 16 evaluations of the same noise. For the card.
    """
    labels, teacher = load_digits("all")[1], digits.drawing(cards.restore(digits.denoiser(), "digits"))
    images = {f"evaluations_{n}": drawn(drawing(model), labels, n) for n in STEPS}
    images |= {f"teacher_{n}": drawn(teacher, labels, n) for n in (*STEPS, TEACHER_STEPS, USUAL)}
    reports = {way: digit_report(each, labels.repeat(SEEDS)) for way, each in images.items()}
    usual, ends = _accuracy(reports[f"teacher_{USUAL}"]), images[f"teacher_{TEACHER_STEPS}"]
    by_group = reports[f"teacher_{USUAL}"].fd_groups
    drops = {way: newcombe(usual, _accuracy(reports[way])) for way in images if way.startswith("evaluations")}
    return rounded(
        {
            "accuracy": {way: _share(said) for way, said in reports.items()},
            "drop": {way: {"drop": each.value, "interval_95": each.ends} for way, each in drops.items()},
            "fd": {way: _mean(said.fd_groups) for way, said in reports.items()},
            "fd_above_teacher": {way: _mean(paired(reports[way].fd_groups, by_group)) for way in drops},
            "recall": {way: said.recall for way, said in reports.items()},
            "distance": {way: float((images[way] - ends).square().mean()) for way in drops},
            "n": len(ends),
            "seeds": SEEDS,
            "held_out_real": held_out(),
        }
    )


def _share(report: DigitReport) -> dict[str, Any]:
    return {"share": report.accuracy, "interval_95": report.accuracy_95, "n": report.n}


def _accuracy(report: DigitReport) -> Interval:
    return Interval(report.accuracy, *report.accuracy_95)


def _mean(fds: Values) -> dict[str, Any]:
    mean = student_t(fds)
    return {"mean": mean.value, "interval_95": mean.ends, "groups": len(fds)}


def held_out() -> dict[str, Any]:
    """The report of the 360 real digits that trained nothing; the interval of FD by the jackknife."""
    (x, y), network = load_digits("held_out"), classifier()
    report, here, there = digit_report(x, y), network.features(x), network.features(load_digits("train")[0])
    floor = jackknife(lambda rows: frechet(here[torch.from_numpy(rows)], there), len(x))
    return {
        "accuracy": _share(report),
        "fd": {"value": report.fd, "interval_95": floor.ends},
        "recall": report.recall,
        "n": len(x),
    }


RECIPE = Recipe(
    name="digits_fast",
    about="handwritten digits of a class you choose in 1, 2 or 4 evaluations, distilled from `digits`, 8x8",
    data="scikit-learn's 8x8 digits, the 1,437 of the training split, and the shipped digits model as teacher",
    steps=sum(STAGES.values()),
    batch=128,
    build=denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "teacher": f"digits, DDIM in {TEACHER_STEPS} steps, x0_hat clipped to [-1, 1]",
        "stages": ", ".join(f"{n} steps: {updates} updates" for n, updates in STAGES.items()),
        "target": "two steps of the teacher in one (implied_x0), clamped to [-1.5, 1.5]",
        **{name: value for name, value in SETTINGS.items() if name != "scale"},
        "samples": "DDIM in 1, 2 or 4 steps, one evaluation each, x0_hat clipped to [-1, 1]",
    },
    pipeline=drawing,
    shipped=True,
)
