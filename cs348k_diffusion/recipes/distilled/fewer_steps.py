"""Progressive distillation of a text-to-picture model under guidance, for pictures and for codes alike.

One student for every guidance scale from 1 to 6 and for three numbers of steps: it is told the scale and its stride.
Teacher of the first stage: a model under guidance in 16 steps, 32 evaluations a picture. Then 8, 4, 2 and 1 steps, each
stage taught by the one before; later stages rehearse what earlier ones learned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, clip
from cs348k_diffusion.distill import Teacher, grid_times, guided, progressive_target, truncated_snr
from cs348k_diffusion.noise import uniform
from cs348k_diffusion.recipes.pictures import autocast_bf16
from cs348k_diffusion.running import Run
from cs348k_diffusion.training import Cond, Progress, Target, denoising, fit, warm_cosine

Captioned = Iterator[tuple[Tensor, dict[str, Tensor]]]

STEPS = (1, 2, 4)  # evaluations a picture that a student knows
LOWEST, HIGHEST = 1.0, 6.0  # of the scales
PEAK, EMA = 1e-3, 0.96
REHEARSAL = {
    8: {8: 1.0},
    4: {4: 1.0},
    2: {2: 0.625, 4: 0.375},
    1: {1: 0.53125, 2: 0.25, 4: 0.21875},
}  # by stage, shares of a batch
SETTINGS = {
    "rehearsal": "shares of a batch by steps, in the last two stages: 2: 5/8, 4: 3/8; 1: 17/32, 2: 1/4, 4: 7/32",
    "weight": "clamp(SNR, 1, 25) in x0-space",
    "scale": f"uniform in [{LOWEST:g}, {HIGHEST:g}], a condition of the student",
    "lr": f"warm_cosine({PEAK:g}) in each stage",
    "ema": EMA,
}  # of the card, the same for every student


def distilling(
    model: NetDenoiser,
    master: NetDenoiser,
    stock: Captioned,
    stages: Mapping[int, int],
    batch: int,
    generator: torch.Generator,
    limits: tuple[float, float] | None = None,
    bound: float | None = None,
) -> Run[Progress]:
    """From the master's weights through all stages: steps of the student -> updates.

    stock: batches of (x0, {"caption": ...}); limits: the master's guesses are clipped to them; bound: targets are
    clamped to [-bound, bound].
    """
    made = _stages(model, master, stock, stages, batch, generator, limits, bound)
    return Run(made, f"distilling, {sum(stages.values())} steps")


def _stages(
    model: NetDenoiser, master: NetDenoiser, stock: Captioned, stages: Mapping[int, int], batch: int,
    generator: torch.Generator, limits: tuple[float, float] | None, bound: float | None,
) -> Iterator[Progress]:  # fmt: skip
    device = next(model.parameters()).device
    model.net.load_state_dict(master.to(device).net.state_dict(), strict=False)
    teachers, done = {8: _without_stride(guided(master), limits)}, 0
    for n, updates in stages.items():
        rows = rows_of(REHEARSAL[n], batch)
        loss = autocast_bf16(denoising(_lesson(teachers, rows, bound), truncated_snr, times=_times(rows)), device)
        lessons = _with_numbers(stock, rows, generator, device)
        progress = None
        for progress in fit(model, lessons, updates, loss, lr=warm_cosine(PEAK), ema=EMA, generator=generator):
            yield progress._replace(step=done + progress.step)
        assert progress is not None
        done += updates
        model.load_state_dict(progress.model.state_dict())
        teachers[n // 2] = _striding(copy.deepcopy(model).eval(), 1 / n)


def shared(steps: int, stages: Mapping[int, int]) -> dict[int, int]:
    """`steps` updates shared among the stages in the same proportions, at least one each."""
    whole = sum(stages.values())
    return {n: max(1, round(steps * updates / whole)) for n, updates in stages.items()}


def rows_of(shares: Mapping[int, float], batch: int) -> dict[int, int]:
    """How many examples of a batch learn each number of steps; the first takes what rounding leaves."""
    rows = {n: round(share * batch) for n, share in shares.items()}
    first = next(iter(rows))
    return {**rows, first: batch - sum(rows.values()) + rows[first]}


def _without_stride(teacher: Teacher, limits: tuple[float, float] | None) -> Teacher:
    """The teacher without the stride, which it does not know, its guesses clipped to the limits."""

    def clipped(cond: Cond) -> Denoiser:
        denoise = teacher({name: value for name, value in cond.items() if name != "stride"})
        return clip(denoise, *limits) if limits else denoise

    return clipped


def _striding(student: NetDenoiser, stride: float) -> Teacher:
    """A student of an earlier stage as the teacher of the next: it takes steps of `stride`."""

    def teacher(cond: Cond) -> Denoiser:
        return student.given(**{**cond, "stride": torch.full_like(cond["stride"], stride)})

    return teacher


def _lesson(teachers: Mapping[int, Teacher], rows: Mapping[int, int], bound: float | None) -> Target:
    """The targets of a batch whose first rows[n] examples learn n steps, the next another number, and so on."""

    def target(x0: Tensor, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        parts, start = [], 0
        for n, count in rows.items():
            here = slice(start, start + count)
            own = {name: value[here] for name, value in cond.items()}
            parts.append(progressive_target(teachers[n], 1 / n)(x0[here], x_t[here], t[here], own))
            start += count
        targets = torch.cat(parts)
        return targets if bound is None else targets.clamp(-bound, bound)

    return target


def _times(rows: Mapping[int, int]):
    def times(n: int, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
        return torch.cat([grid_times(steps)(count, generator) for steps, count in rows.items()])

    return times


def _with_numbers(
    stock: Captioned, rows: Mapping[int, int], generator: torch.Generator, device: torch.device
) -> Captioned:
    """Each example with a scale, uniform in [1, 6], and with the stride of its number of steps."""
    strides = torch.cat([torch.full((count,), 1 / n) for n, count in rows.items()]).to(device)
    for x0, cond in stock:
        scale = LOWEST + (HIGHEST - LOWEST) * uniform(len(x0), generator)
        yield x0, {**cond, "scale": scale.to(device), "stride": strides}
