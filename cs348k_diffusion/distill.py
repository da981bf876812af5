"""Learn to take larger steps: a student answers in one evaluation what its teacher answers in several.

    regression       x0_student(x_t) -> the x0_hat whose one step lands where the teacher's steps land
    distributions    x_student moves along  score_data(x_t) - score_student(x_t)

Regression (progressive, guided, consistency) changes only `target` and `times` of the one loss `denoising`.
Distribution matching compares densities instead of trajectories, so it has a loop and two optimisers of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, score_from_x0
from cs348k_diffusion.forward import add_noise
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.noise import noise_like, per_example
from cs348k_diffusion.running import Run
from cs348k_diffusion.sampling import implied_x0, step
from cs348k_diffusion.schedule import Schedule, as_time
from cs348k_diffusion.training import (
    Batch,
    Cond,
    Progress,
    Target,
    average_into,
    denoising,
    fit,
    uniform_times,
    update,
)

Teacher = Callable[[Cond], Denoiser]
Model = TypeVar("Model")


def conditional(model: NetDenoiser) -> Teacher:
    """The teacher that answers with its conditions as they come: cond -> model.given(**cond)."""
    return lambda cond: model.given(**cond)


def guided(model: NetDenoiser) -> Teacher:
    """The teacher under classifier-free guidance, at the scale that each example's condition names.

    x0_hat = uncond + w (cond - uncond),   w = cond["scale"], (batch,)
    A student that is given the same conditions learns the scale as one more input, and needs one evaluation where
    guidance needs two. Source: Meng et al. 2023, section 3.1, arXiv:2210.03142.
    """

    def teacher(cond: Cond) -> Denoiser:
        rest = {name: value for name, value in cond.items() if name != "scale"}
        return guide(model.given(**rest), model.given(), cond["scale"])

    return teacher


# ---- regression: what a student should answer ------------------------------------------------------------------------


def imitation_target(teacher: Teacher) -> Target:
    """x0_hat as the teacher says it, at the same x_t and t: the first stage of guidance distillation."""
    return lambda x0, x_t, t, cond: teacher(cond)(x_t, t)


def progressive_target(teacher: Teacher, stride: float) -> Target:
    """The x0_hat that takes a student in one step from t to t - stride, where the teacher arrives in two.

    x_s = teacher's two steps of stride / 2,   target = implied_x0(x_t, x_s, t, s),   s = t - stride
    Raises ValueError where t < stride: such a step would end before the data. Source: Salimans & Ho 2022,
    algorithm 2, arXiv:2202.00512.
    """

    def target(x0: Tensor, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        if bool((t < stride - 1e-6).any()):
            raise ValueError(f"a step of {stride:g} starts at a multiple of it: use times=grid_times({1 / stride:g})")
        denoise = teacher(cond)
        return progressive_x0(denoise, denoise.schedule, x_t, t, (t - stride).clamp(min=0))

    return target


def progressive_x0(
    teacher: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, x_t: Tensor, t: Tensor | float, s: Tensor | float
) -> Tensor:
    """The x0 with which one step from t to s lands where the teacher's two steps land, by way of the middle.

    t, s: numbers or (batch,), s < t. See `progressive_target`.
    """
    t, s = as_time(t, x_t), as_time(s, x_t)
    middle = (t + s) / 2
    halfway = step(schedule, x_t, teacher(x_t, t), t, middle)
    x_s = step(schedule, halfway, teacher(halfway, middle), middle, s)
    return implied_x0(schedule, x_t, x_s, t, s)


def consistency_target(student: NetDenoiser, stride: float, teacher: Teacher | None = None) -> Target:
    """What the student itself answers one small step closer to the data, on the same trajectory.

    target = f(x_s, s),   x_s = the step from x_t that x0_hat gives,   s = max(t - stride, 0)
    x0_hat is the teacher's guess (consistency distillation), or the clean x0 itself where there is no teacher
    (consistency training). A student that predicts v meets the boundary f(x, 0) = x by construction, since
    x0 = alpha x - sigma v; without it the constant 0 would be consistent too. Draw in several steps by fresh = 1.
    Source: Song et al. 2023, eq. 7 and 10, arXiv:2303.01469.
    """

    def target(x0: Tensor, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        s = (t - stride).clamp(min=0)
        guess = x0 if teacher is None else teacher(cond)(x_t, t)
        return student(step(student.schedule, x_t, guess, t, s), s, **cond)

    return target


def grid_times(n: int) -> Callable[[int, torch.Generator | None], Tensor]:
    """Times of training for a student of n steps: 1/n, 2/n, ..., 1, equally often."""
    return lambda count, generator=None: (uniform_times(count, generator) * n).ceil() / n


def truncated_snr(log_snr: Tensor, low: float = 1.0, high: float = 25.0) -> Tensor:
    """clamp(SNR, low, high): weights of the loss in x0-space that keep pure noise and clean pictures in play.

    Source: Salimans & Ho 2022, section 4 (there without an upper end).
    """
    return log_snr.exp().clamp(low, high)


class Halving(NamedTuple):
    """One stage of progressive distillation: the student's number of steps, and its training."""

    steps: int
    training: Run[Progress]


def progressive(
    student: NetDenoiser,
    teacher: Teacher,
    batches: Iterable[Batch],
    steps: int,
    updates: Callable[[int], int],
    *,
    end: int = 1,
    lr: float = 5e-4,
    ema: float = 0.98,
    generator: torch.Generator | None = None,
) -> Iterator[Halving]:
    """Halve the number of steps again and again: a Halving for steps / 2, steps / 4, ..., end.

    for halving in progressive(student, conditional(model), batches, 16, updates=lambda n: 300):
        fast = last(halving.training).model

    student: trained in place, and usually a copy of the teacher's model; teacher: draws in `steps` steps of `path`;
    updates(n): how many updates the student of n steps gets, at a rate that falls from lr to 0. The averaged student
    of each stage is the teacher of the next, so walk each training to its end. Raises ValueError if you did not, and
    unless steps is `end` times a power of two, above `end`. Source: Salimans & Ho 2022, algorithm 2.
    """
    counts = halved(steps, end)
    return _halvings(student, teacher, iter(batches), counts, updates, lr, ema, generator)


def halved(steps: int, end: int) -> list[int]:
    """steps / 2, steps / 4, ..., end. Raises ValueError unless steps is `end` times 2, 4, 8, ..."""
    halvings = (steps // max(end, 1)).bit_length() - 1
    if end < 1 or halvings < 1 or end * 2**halvings != steps:
        raise ValueError(
            f"halving leads from end * 2, end * 4, ... steps to end; it does not lead from {steps} to {end}"
        )
    return [steps >> k for k in range(1, halvings + 1)]


def halve(train: Callable[[Model, int], Model], teacher: Model, steps: int, end: int) -> list[tuple[int, Model]]:
    """(n, student of n steps) for n = steps / 2, ..., end: train(teacher, n), and each student teaches the next.

    Notebook 10 builds it; `progressive` is the same for one network, trained on in place. Raises ValueError, before
    anything is trained, unless steps is `end` times 2, 4, 8, ...
    """
    students: list[tuple[int, Model]] = []
    for n in halved(steps, end):
        teacher = train(teacher, n)
        students.append((n, teacher))
    return students


def _halvings(
    student: NetDenoiser,
    teacher: Teacher,
    batches: Iterator[Batch],
    counts: list[int],
    updates: Callable[[int], int],
    lr: float,
    ema: float,
    generator: torch.Generator | None,
) -> Iterator[Halving]:
    for n in counts:
        loss = denoising(progressive_target(teacher, 1 / n), truncated_snr, times=grid_times(n))
        newest: list[Progress] = []
        stage = fit(student, batches, updates(n), loss, lr=lambda done: lr * (1 - done), ema=ema, generator=generator)
        yield Halving(n, Run(_keeping(stage, newest), f"distilling to {n} steps, {updates(n)} updates"))
        if not newest or newest[-1].step < updates(n):
            raise ValueError(f"the student of {n} steps is the next one's teacher: walk its training to the end first")
        average_into(student, newest[-1].model, 0.0)
        teacher = conditional(copy.deepcopy(student).eval())


def _keeping(stage: Run[Progress], newest: list[Progress]) -> Iterator[Progress]:
    for progress in stage:
        newest[:] = [progress]
        yield progress


# ---- distributions: where a student's samples should move ------------------------------------------------------------


def matching_direction(real: Denoiser, fake: Denoiser, x_t: Tensor, t: Tensor) -> Tensor:
    """The direction in which samples should move, at one noise level: the data's score minus the samples' own.

    score_real(x_t) - score_fake(x_t) = (alpha_t / sigma_t^2) (x0_real - x0_fake)
    It is minus the gradient of KL(samples || data) blurred by sigma_t, and 0 where the two agree.
    real, fake: denoisers of the data and of the samples, on one schedule; x_t: (batch, ...), sigma_t > 0.
    Source: Yin et al. 2024 (DMD), eq. 3, arXiv:2311.18828.
    """
    schedule = real.schedule
    return score_from_x0(schedule, x_t, t, real(x_t, t)) - score_from_x0(schedule, x_t, t, fake(x_t, t))


class Matching(NamedTuple):
    """Where distribution matching stands: the loss of the student's own denoiser, and how far samples should move."""

    step: int
    loss: float
    distance: float
    model: NetDenoiser

    def label(self) -> str:
        """The caption under the curve."""
        return f"update {self.step}, samples should move by {self.distance:.3f}"


def match_distribution(
    student: NetDenoiser,
    real: Teacher,
    fake: NetDenoiser,
    batches: Iterable[Batch],
    steps: int,
    *,
    lr: float = 1e-4,
    fake_lr: float = 1e-3,
    fake_updates: int = 5,
    ema: float = 0.99,
    generator: torch.Generator | None = None,
) -> Run[Matching]:
    """Train a one-step student so that its samples have the data's density: two networks, two optimisers.

    Each step first trains `fake`, a denoiser, on the student's samples (`fake_updates` times), then moves the student:
        x = student(z, 1),   x_t = alpha_t x + sigma_t eps,   loss = |x - stop(x + direction)|^2 / 2,
        direction = (x0_real - x0_fake) / mean |x - x0_real|, which is `matching_direction` without its scale in t.
    No trajectory is copied, so the student may end better than its teacher. batches: examples whose shape, and whose
    conditions, the student's samples take. Source: Yin et al. 2024 (DMD2), sections 3 and 4, arXiv:2405.14867.
    """
    if steps < 1:
        raise ValueError(f"matching needs at least one step, got {steps}")
    loop = _matching(student, real, fake, iter(batches), steps, lr, fake_lr, fake_updates, ema, generator)
    return Run(loop, f"matching distributions, {steps} steps")


def _matching(
    student: NetDenoiser,
    real: Teacher,
    fake: NetDenoiser,
    batches: Iterator[Batch],
    steps: int,
    lr: float,
    fake_lr: float,
    fake_updates: int,
    ema: float,
    generator: torch.Generator | None,
) -> Iterator[Matching]:
    ours = torch.optim.AdamW(student.parameters(), lr=lr, betas=(0.0, 0.99), weight_decay=0.0)
    theirs = torch.optim.AdamW(fake.parameters(), lr=fake_lr, betas=(0.0, 0.99), weight_decay=0.0)
    average, learning, moving = copy.deepcopy(student).eval().requires_grad_(False), denoising(), _move(real, fake)
    for k in range(1, steps + 1):
        value = 0.0
        for _ in range(fake_updates):
            value = update(
                fake.train(), drawn(student, next(batches), generator), learning, theirs, generator=generator
            )
        distance = update(student.train(), next(batches), moving, ours, generator=generator)
        average_into(average, student, min(ema, (1 + k) / (10 + k)))
        yield Matching(k, value, distance, average)


@torch.no_grad()
def drawn(student: NetDenoiser, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Cond]:
    """A batch of the student's own samples, drawn in one step, shaped and conditioned like `batch`."""
    x0, cond = (batch, {}) if isinstance(batch, Tensor) else batch
    return _one_step(student, x0, cond, generator), cond


def _one_step(student: NetDenoiser, like: Tensor, cond: Cond, generator: torch.Generator | None) -> Tensor:
    noise = add_noise(student.schedule, torch.zeros_like(like), 1.0, noise_like(like, generator))
    return student(noise, 1.0, **cond)


def _move(real: Teacher, fake: NetDenoiser) -> Callable[..., Tensor]:
    def loss(student: NetDenoiser, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        x0, cond = (batch, {}) if isinstance(batch, Tensor) else batch
        x = _one_step(student, x0, cond, generator)
        t = 0.02 + 0.96 * uniform_times(len(x), generator).to(x)
        with torch.no_grad():
            x_t = add_noise(student.schedule, x, t, noise_like(x, generator))
            guess = real(cond)(x_t, t)
            size = per_example((x - guess).abs().flatten(1).mean(1), x)
            goal = x + (guess - fake(x_t, t, **cond)) / size.clamp(min=1e-3)
        return 0.5 * (x - goal).square().mean()

    return loss
