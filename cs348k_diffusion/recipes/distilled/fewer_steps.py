"""Progressive distillation to 4, 2 and 1 steps, in one student that is told its step, for pictures, codes and digits.

A student receives its stride, and where its teacher is guided the scale too: one serves every scale from 1 to 6.
Teacher of the first stage: the model in 16 steps, under guidance 32 evaluations a picture. Then 8, 4, 2 and 1 steps,
each stage taught by the one before; later stages rehearse what earlier ones learned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data import Batches
from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, clip
from cs348k_diffusion.distill import Teacher, grid_times, guided, progressive_target, truncated_snr
from cs348k_diffusion.noise import uniform
from cs348k_diffusion.recipes.pictures import autocast_bf16
from cs348k_diffusion.training import Cond, Fitting, Loss, Phases, Target, denoising, fit, warm_cosine

Students = Sequence[NetDenoiser]

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
}  # of the card, the same for every student under guidance


class Distillation(Phases):
    """Phases in which earlier students teach, so that they are kept too: what each stage ended as.

    Each stage is how many updates it makes, at least one, and a function (model, students) -> Fitting; students[k] is a
    copy of what stage k ended as.
    """

    def __init__(self, model: NetDenoiser, stages: Sequence[tuple[int, Callable[[Any, Students], Fitting]]]):
        self.students: list[NetDenoiser] = []
        super().__init__(model, stages)

    def _begin(self, phase: int, model: Any) -> Fitting:
        if len(self.students) < phase:
            self.students.append(copy.deepcopy(model).eval())
        return self._phases[phase][1](model, self.students)

    def state(self) -> dict[str, Tensor]:
        """All that the updates to come depend on, as copies; the students of stages that are done among it."""
        ended = {
            f"students/{k}/{name}": value.clone(memory_format=torch.contiguous_format)
            for k, student in enumerate(self.students)
            for name, value in student.state_dict().items()
        }
        return {**super().state(), **ended}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on after the update that `state` was taken at. Raises ValueError once training has begun."""
        ended: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in state if key.startswith("students/")]:
            _, k, name = key.split("/", 2)
            ended.setdefault(int(k), {})[name] = state[key]
        for k in sorted(ended):
            student = cast(NetDenoiser, copy.deepcopy(self._fitting.model).eval())
            student.load_state_dict(ended[k])
            self.students.append(student)
        super().restore({key: value for key, value in state.items() if not key.startswith("students/")})


def distilling(
    model: NetDenoiser,
    master: NetDenoiser,
    stock: Batches,
    stages: Mapping[int, int],
    batch: int,
    generator: torch.Generator,
    limits: tuple[float, float] | None = None,
    bound: float | None = None,
    taught: Callable[[NetDenoiser], Teacher] = guided,
) -> Distillation:
    """From the master's weights through all stages: steps of the student -> updates.

    stock: batches of (x0, {condition: ...}); limits: the master's guesses are clipped to them; bound: targets are
    clamped to [-bound, bound]; taught: the teacher that the master is.
    """
    device = next(model.parameters()).device
    model.net.load_state_dict(master.to(device).net.state_dict(), strict=False)
    first = _without_stride(taught(master), limits)

    def begin(n: int, updates: int, model: NetDenoiser, students: Students) -> Fitting:
        rows, ended = rows_of(REHEARSAL[n], batch), list(stages)
        teachers = {ended[0]: first, **{k // 2: _striding(each, 1 / k) for k, each in zip(ended, students)}}
        loss = autocast_bf16(stage_loss(teachers, rows, bound), device)
        lessons = StudentBatches(stock, rows, generator, device, scaled="scale" in model.null)
        return fit(model, lessons, updates, loss, lr=warm_cosine(PEAK), ema=EMA, generator=generator)

    return Distillation(model, [(updates, partial(begin, n, updates)) for n, updates in stages.items()])


def shared(steps: int, stages: Mapping[int, int]) -> dict[int, int]:
    """`steps` updates shared among the stages in the same proportions, at least one each."""
    whole = sum(stages.values())
    return {n: max(1, round(steps * updates / whole)) for n, updates in stages.items()}


def rows_of(shares: Mapping[int, float], batch: int) -> dict[int, int]:
    """How many examples of a batch learn each number of steps; the first takes what rounding leaves."""
    rows = {n: round(share * batch) for n, share in shares.items()}
    first = next(iter(rows))
    return {**rows, first: batch - sum(rows.values()) + rows[first]}


def stage_loss(teachers: Mapping[int, Teacher], rows: Mapping[int, int], bound: float | None = None) -> Loss:
    """The loss of a batch whose first rows[n] examples learn n steps from teachers[n], the next another number."""
    return denoising(_lesson(teachers, rows, bound), truncated_snr, times=_times(rows))


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


class StudentBatches(Iterator[Any]):
    """Batches of `stock`, each example with the stride of its number of steps and, if `scaled`, a scale in [1, 6].

    Where it is in the data, its stock knows; scales come from the generator that shuffles the stock.
    """

    def __init__(
        self, stock: Batches, rows: Mapping[int, int], generator: torch.Generator, device: torch.device, scaled: bool
    ):
        self._stock, self._generator, self._device, self._scaled = stock, generator, device, scaled
        self._strides = torch.cat([torch.full((count,), 1 / n) for n, count in rows.items()]).to(device)
        self.state, self.restore = stock.state, stock.restore

    def __next__(self) -> tuple[Tensor, dict[str, Tensor]]:
        x0, cond = next(self._stock)
        if self._scaled:
            scale = LOWEST + (HIGHEST - LOWEST) * uniform(len(x0), self._generator)
            cond = {**cond, "scale": scale.to(self._device)}
        return x0, {**cond, "stride": self._strides}
