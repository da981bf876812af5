"""Larger steps: students against their teachers and against samplers that need no training, T1 to T8.

    python -m cs348k_diffusion.evaluate.studies.bigger_steps

Recomputes `evaluate.result("bigger_steps")`, which notebook 10 and the claims T1 to T8 read: about 8 core-minutes. In
each seed every method starts from the same noise. Digits: students are distilled anew, 16 steps to 1 by
`distill.progressive`, one for each number of steps. Pictures: the shipped student, on prompts that trained and chose
nothing. Points: an exact teacher, three predictions (T6), and distribution matching beside the regression that it
starts from (T8).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cs348k_diffusion import recipes
from cs348k_diffusion.data import batches, eight_gaussians, load_digits, ring_of_gaussians
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, Prediction, clip
from cs348k_diffusion.distill import (
    Teacher,
    conditional,
    grid_times,
    match_distribution,
    progressive,
    progressive_target,
    truncated_snr,
)
from cs348k_diffusion.evaluate.studies import finished, from_command_line
from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.metrics import sliced_wasserstein
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.nets import PointNet
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.pipeline import Pipeline
from cs348k_diffusion.recipes import cards, digits
from cs348k_diffusion.recipes.pictures import satisfied
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import Solver, ddim, first_order, multistep, path
from cs348k_diffusion.schedule import Schedule, cosine, linear_beta
from cs348k_diffusion.training import denoising, fit, warm_cosine

SEEDS, TEACHER = 3, 16  # steps of every teacher of digits and pictures
DIGITS, UPDATES, BATCH = 1080, 120, 128  # digits a seed, three groups of 360; updates of each halving
PROMPTS, START, SCALES = 100, 2000, (1.0, 3.0, 6.0)  # prompts a seed; the first of them in the judging world
POINTS, TRUE = 4000, 20_000  # points drawn a seed, and true ones that they are compared with
Row = dict[str, Any]


# ---- digits: T1 to T4, and the cost of T7 ----------------------------------------------------------------------------


def of_digits(seed: int) -> Iterator[Row]:
    """FD, accuracy and distance to the teacher's ends of every way to draw 1,080 digits from one noise."""
    master, labels = cards.restore(digits.denoiser(), "digits"), load_digits("all")[1][:DIGITS]
    students, seconds = distilled(seed)
    taught = drawn(master, labels, seed, TEACHER)
    ways = {("DDIM", n): drawn(master, labels, seed, n) for n in (1, 2, 4, 8, 16, 32)}
    ways |= {("2M", n): drawn(master, labels, seed, n, multistep) for n in (4, 8, 16)}
    ways |= {("student", n): drawn(student, labels, seed, n) for n, student in students.items()}
    for (method, n), images in ways.items():
        report = recipes.digit_report(images, labels)
        yield {
            "part": "digits", "method": method, "evaluations": n, "fd": report.fd, "recall": report.recall,
            "accuracy": report.accuracy, "distance": float((images - taught).square().mean()),
        }  # fmt: skip
    yield {"part": "digits cost", "seconds": seconds}


def distilled(seed: int) -> tuple[dict[int, NetDenoiser], float]:
    """The students of 8, 4, 2 and 1 steps, and the seconds of processor time that all of them took."""
    model, master = (cards.restore(digits.denoiser(), "digits") for _ in range(2))
    generator, found, began = keyed_generator(10, 100, seed), {}, time.process_time()
    stages = progressive(
        model, lambda cond: clip(master.given(**cond)), batches(*load_digits("train"), BATCH, generator), TEACHER,
        lambda n: UPDATES, lr=8e-4, ema=0.96, generator=generator,
    )  # fmt: skip
    for halving in stages:
        found[halving.steps] = copy.deepcopy(last(halving.training).model)
    return found, time.process_time() - began


def drawn(model: Any, labels: Tensor, seed: int, steps: int, solver: Solver = first_order) -> Tensor:
    """One digit for each label, every method from the noise of the seed."""
    draw = Pipeline(model, (1, 8, 8), digits.drawing(model).condition, solver=solver)
    return draw.images(labels.tolist(), seed=1000 + seed, steps=steps, at_once=len(labels))


# ---- pictures: T5 ----------------------------------------------------------------------------------------------------


def of_pictures(seed: int) -> Iterator[Row]:
    """Prompts fully satisfied, and seconds of processor time a picture, by method, evaluations and scale."""
    prompts = pictures(PROMPTS, 32, PICTURES.evaluation, start=START + PROMPTS * seed).captions
    for method, evaluations, scale, draw in picture_ways():
        began = time.process_time()
        images = draw(prompts, seed)
        seconds = (time.process_time() - began) / len(prompts)
        row = {"part": "pictures", "method": method, "evaluations": evaluations, "scale": scale, "seconds": seconds}
        yield {**row, "satisfied": float(satisfied(prompts, images)["all"].mean())}


def picture_ways() -> Iterator[tuple[str, int, float, Callable[[list[str], int], Tensor]]]:
    """(method, evaluations, scale, how it draws): "DDIM 2 x 2" is two steps of two evaluations."""
    slow, fast = recipes.load_pipeline("pictures"), recipes.load_pipeline("pictures_fast")
    solver = Pipeline(slow.model, slow.shape, slow.condition, slow.scale, solver=multistep)

    def way(draw: Pipeline, scale: float, steps: int) -> Callable[[list[str], int], Tensor]:
        return lambda prompts, seed: draw.images(prompts, scale, 1000 + seed, steps, at_once=len(prompts))

    for scale in SCALES:
        each = 1 if scale == 1 else 2
        yield "DDIM", TEACHER * each, scale, way(slow, scale, TEACHER)
        for n in (1, 2, 4):
            yield "student", n, scale, way(fast, scale, n)
    for n in (1, 2, 4, 8):
        yield "DDIM", 2 * n, 3.0, way(slow, 3.0, n)
    for n in (4, 8):
        yield "2M", 2 * n, 3.0, way(solver, 3.0, n)


# ---- points: T6 and T8 -----------------------------------------------------------------------------------------------


def examples(generator: torch.Generator) -> Iterator[Tensor]:
    """True points for ever."""
    while True:
        yield eight_gaussians(256, generator)


def untaught(predict: Prediction, schedule: Schedule, seed: int, updates: int) -> NetDenoiser:
    """A network of points after ordinary training: what every student starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = NetDenoiser(PointNet(width=64, depth=3), schedule, predict=predict)
    stock = examples(keyed_generator(10, 200, seed))
    training = fit(net, stock, updates, denoising(), lr=warm_cosine(2e-3), ema=0.99, generator=keyed_generator(10, 201))
    return cast(NetDenoiser, last(training).model)


def halved(student: NetDenoiser, teacher: Teacher, steps: int, updates: int, seed: int) -> NetDenoiser:
    """The one-step student: progressive distillation from `steps` steps of the teacher, `updates` a halving."""
    generator = keyed_generator(10, 202, seed)
    for n in [steps >> k for k in range(1, steps.bit_length())]:
        loss = denoising(progressive_target(teacher, 1 / n), truncated_snr, times=grid_times(n))
        learner = copy.deepcopy(student).requires_grad_(True)
        training = fit(
            learner,
            examples(generator),
            updates,
            loss,
            lr=lambda done: 1e-3 * (1 - done),
            ema=0.98,
            generator=generator,
        )
        student = cast(NetDenoiser, last(training).model)
        teacher = conditional(student)
    return student


def exact(schedule: Schedule) -> Denoiser:
    """The denoiser of the ring of eight Gaussians, in closed form."""
    ring = ring_of_gaussians()
    return Mixture(ring.means, ring.std**2).denoiser(schedule)


def by_prediction(seed: int) -> Iterator[Row]:
    """T6: how far one-step students end from their exact teacher's 16 steps, by what the network predicts."""
    schedule = linear_beta(1000)  # ends with a little signal: on the cosine schedule eps cannot give x0 at all
    teacher = exact(schedule)
    noise = schedule.prior((POINTS, 2), keyed_generator(10, 203, seed))
    want = last(ddim(teacher, noise, path(TEACHER))).x
    kinds: tuple[Prediction, ...] = ("v", "x0", "eps")
    for predict in kinds:
        student = halved(untaught(predict, schedule, seed, 400), lambda cond: teacher, TEACHER, 150, seed)
        got = last(ddim(student.given(), noise, path(1))).x
        yield {"part": "prediction", "method": predict, "distance": float((got - want).square().mean())}


def by_density(seed: int) -> Iterator[Row]:
    """T8: the distance of densities, for a teacher of 4 steps, its regression student, and distribution matching."""
    schedule, true = cosine(), eight_gaussians(TRUE, keyed_generator(10, 204))
    teacher, start = exact(schedule), untaught("v", schedule, seed, 400)
    noise = schedule.prior((POINTS, 2), keyed_generator(10, 205, seed))
    twin = halved(start, lambda cond: teacher, 4, 300, seed)
    matched, fake = (copy.deepcopy(net).requires_grad_(True) for net in (twin, start))
    generator = keyed_generator(10, 206, seed)
    run = match_distribution(
        matched, lambda cond: teacher, fake, examples(generator), 400, fake_updates=3, generator=generator
    )
    found = {
        "teacher, 4 steps": last(ddim(teacher, noise, path(4))).x,
        "regression, 1 step": last(ddim(twin.given(), noise, path(1))).x,
        "matching, 1 step": last(ddim(last(run).model.given(), noise, path(1))).x,
        "true points": eight_gaussians(POINTS, keyed_generator(10, 207, seed)),
    }
    for method, points in found.items():
        yield {"part": "density", "method": method, "distance": sliced_wasserstein(points, true)}


# ---- all of it -------------------------------------------------------------------------------------------------------


def of_seed(seed: int, folder: Path) -> list[Row]:
    """The rows of one seed, kept in a file of their own, so that a study which was stopped goes on where it was."""

    def rows() -> list[Row]:
        parts = of_digits(seed), by_prediction(seed), by_density(seed), of_pictures(seed)
        return [{"seed": seed, **rounded(row, 5)} for part in parts for row in part]

    return finished(folder / "bigger_steps.seeds" / f"{seed}.json", rows)


def main(folder: str) -> None:
    """Every part on every seed; writes the card."""
    torch.set_num_threads(1)
    runs = [row for seed in range(SEEDS) for row in of_seed(seed, Path(folder))]
    names = ("digits", "digits_classifier", "pictures", "pictures_fast", "picture_reader")
    card = {
        "name": "bigger_steps",
        "about": "students against teachers and solvers, on digits, pictures and points; every method from one noise",
        "command": "python -m cs348k_diffusion.evaluate.studies.bigger_steps",
        "settings": {
            "seeds": SEEDS, "digits": DIGITS, "updates of a halving": UPDATES, "prompts": PROMPTS, "points": POINTS,
            "teacher": f"{TEACHER} steps", "unit of cost": "evaluations of a network for one picture",
        },
        "weights_sha256": {name: cards.card(name)["sha256"] for name in names},
        "held_out_real_digits_fd": rounded(recipes.digit_report(*load_digits("held_out")).fd),
        "torch": torch.__version__,
        "runs": runs,
    }  # fmt: skip
    cards.write_card(card, folder)


if __name__ == "__main__":
    from_command_line(main)
