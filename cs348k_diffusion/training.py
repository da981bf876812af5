"""Everything that learns goes through one loop, and the loop is a generator.

    for progress in fit(model, batches, steps=480, loss=denoising()): ...

A loss is a function (model, batch, generator) -> scalar. Training a denoiser is regression: noise an example, ask
for the example back. Distillation and consistency training change the target and nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs348k_diffusion.denoiser import FROM_X0, NetDenoiser, drop_condition
from cs348k_diffusion.forward import add_noise
from cs348k_diffusion.noise import keyed_generator, noise_like, uniform
from cs348k_diffusion.running import Run

Cond = Mapping[str, Tensor]
Batch = Tensor | tuple[Tensor, Cond]
Loss = Callable[[NetDenoiser, Batch, torch.Generator | None], Tensor]
Target = Callable[[Tensor, Tensor, Tensor, Cond], Tensor]


class Progress(NamedTuple):
    """Where training stands after `step` updates: the last batch's loss, and the averaged (EMA) model.

    The model is updated in place as training goes on: copy it if you want to keep this moment.
    """

    step: int
    loss: float
    model: nn.Module

    def label(self) -> str:
        """The caption under the loss curve."""
        return f"update {self.step}, loss {self.loss:.4f}"


def fit(
    model: nn.Module,
    batches: Iterable[Batch],
    steps: int,
    loss: Callable[..., Tensor],
    *,
    lr: float | Callable[[float], float] = 1e-3,
    ema: float = 0.995,
    clip_norm: float = 1.0,
    generator: torch.Generator | None = None,
) -> Fitting:
    """Train `model` in place with AdamW and yield a Progress after every update.

    lr: a number, or a function of the fraction done in [0, 1] (`warm_cosine(1e-3)`); ema: the longest memory of the
    averaged weights, warmed up so that short runs are not dominated by the start; generator: of times and noises.
    Raises FloatingPointError when the loss is not finite (before the weights are touched), ValueError for steps < 1
    and for batches that run out.
    """
    return Fitting(model, batches, steps, loss, lr=lr, ema=ema, clip_norm=clip_norm, generator=generator)


class Fitting(Run[Progress]):
    """A training on its way: a Run of Progress that can be stopped after any update, kept, and taken up again.

    See `fit` for what it is made of. `state()` is all that the next update depends on.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        steps: int,
        loss: Callable[..., Tensor],
        *,
        lr: float | Callable[[float], float],
        ema: float,
        clip_norm: float,
        generator: torch.Generator | None,
    ):
        if steps < 1:
            raise ValueError(f"training needs at least one step, got {steps}")
        super().__init__(self._updates(), f"training, {steps} steps")
        self.model, self.steps, self.done = model, steps, 0
        self._batches, self._loss, self._clip_norm, self._generator = iter(batches), loss, clip_norm, generator
        self._rate: Callable[[float], float] = lr if callable(lr) else lambda fraction: lr
        self._memory = ema
        self._optimizer: torch.optim.AdamW | None = None

    @property
    def average(self) -> nn.Module:
        """The averaged (EMA) model; before the first update, a copy of the model."""
        self._begin()
        return self._average

    def _begin(self) -> None:
        if self._optimizer is None:
            self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=self._rate(0.0))
            self._average = copy.deepcopy(self.model).eval().requires_grad_(False)

    def _updates(self) -> Iterator[Progress]:
        self._begin()
        assert self._optimizer is not None
        while self.done < self.steps:
            self._optimizer.param_groups[0]["lr"] = self._rate(self.done / self.steps)
            if (batch := next(self._batches, None)) is None:
                told = f"the batches ran out at update {self.done + 1} of {self.steps}"
                raise ValueError(f"{told}: hand `fit` an endless iterator")
            value = update(self.model.train(), batch, self._loss, self._optimizer, self._clip_norm, self._generator)
            self.done += 1
            average_into(self._average, self.model, min(self._memory, (1 + self.done) / (10 + self.done)))
            yield Progress(self.done, value, self._average)
        self.model.eval()

    def state(self) -> dict[str, Tensor]:
        """All that the updates to come depend on, as copies: weights, average, moments, generators, place in the data.

        Raises TypeError for batches that do not know where they are.
        """
        self._begin()
        drawn = {} if self._generator is None else {"generator": self._generator.get_state()}
        parts = {
            "model": self.model.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._moments(),
            "batches": self._place().state(),
            "fit": {"done": torch.tensor(self.done), **drawn},
        }
        return {f"{part}/{name}": _kept(value) for part, named in parts.items() for name, value in named.items()}

    def _moments(self) -> dict[str, Tensor]:
        assert self._optimizer is not None
        remembered = [(name, self._optimizer.state.get(each, {})) for name, each in self.model.named_parameters()]
        return {f"{which}.{name}": value for name, state in remembered for which, value in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on after the update that `state` was taken at. Raises ValueError once training has begun.

        A state without generators and a place in the data (of other processes) leads to new random numbers, which
        depend on the update and on the generator's seed.
        """
        if self.done:
            raise ValueError("this training has begun: restore a new one")
        self._begin()
        assert self._optimizer is not None
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}, "batches": {}, "fit": {}}
        for key, value in state.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        self.model.load_state_dict(parts["model"])
        self._average.load_state_dict(parts["average"])
        for key, value in parts["optimizer"].items():
            which, _, name = key.partition(".")
            parameter = self.model.get_parameter(name)
            into = torch.empty_like(value if which == "step" else parameter)
            self._optimizer.state[parameter][which] = into.copy_(value)
        self.done = int(parts["fit"]["done"])
        if parts["batches"]:
            self._place().restore(parts["batches"])
        if self._generator is not None:
            fresh = keyed_generator(self._generator.initial_seed(), self.done).get_state()
            self._generator.set_state(parts["fit"].get("generator", fresh))

    def _place(self) -> Any:
        if not (hasattr(self._batches, "state") and hasattr(self._batches, "restore")):
            raise TypeError("these batches do not know where they are: `data.batches` makes ones that do")
        return self._batches


class Phases(Run[Progress]):
    """Trainings in turn as one Run: each goes on with the averaged weights of the one before, and counts on.

    Each phase is how many updates it makes and a function from a model to the Fitting of it, called when its turn
    comes, and left out where it makes none; `steps` is how many updates there are in all. It can be kept and taken up
    again like a Fitting.
    """

    def __init__(self, model: nn.Module, phases: Sequence[tuple[int, Callable[..., Fitting]]]):
        phases = [(steps, begin) for steps, begin in phases if steps]
        super().__init__(self._updates(), f"training in {len(phases)} phases")
        self._phases, self._before, self._now = phases, 0, 0
        self._fitting = self._begin(0, model)
        self.steps = sum(steps for steps, _ in phases)

    @property
    def done(self) -> int:
        """Updates done, in all phases."""
        return self._before + self._fitting.done

    @property
    def average(self) -> nn.Module:
        """The averaged model of the phase that it is in."""
        return self._fitting.average

    def _updates(self) -> Iterator[Progress]:
        while True:
            for progress in self._fitting:
                yield progress._replace(step=self._before + progress.step)
            if self._now + 1 == len(self._phases):
                return
            self._enter(self._now + 1, self._before + self._fitting.steps)

    def _enter(self, phase: int, before: int) -> None:
        model = self._fitting.model
        model.load_state_dict(self._fitting.average.state_dict())
        self._fitting, self._now, self._before = self._begin(phase, model), phase, before

    def _begin(self, phase: int, model: Any) -> Fitting:
        return self._phases[phase][1](model)

    def state(self) -> dict[str, Tensor]:
        """All that the updates to come depend on, as copies."""
        place = {"phases/now": torch.tensor(self._now), "phases/before": torch.tensor(self._before)}
        return {**self._fitting.state(), **place}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on after the update that `state` was taken at. Raises ValueError once training has begun."""
        if self.done:
            raise ValueError("this training has begun: restore a new one")
        now, before = int(state["phases/now"]), int(state["phases/before"])
        if now:
            self._enter(now, before)
        self._fitting.restore({key: value for key, value in state.items() if not key.startswith("phases/")})


def _kept(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)


@torch.enable_grad()
def update(
    model: nn.Module,
    batch: Batch,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    clip_norm: float = 1.0,
    generator: torch.Generator | None = None,
) -> float:
    """One gradient step; returns the loss before it. FloatingPointError, and no step, where that is not finite."""
    optimizer.zero_grad(set_to_none=True)
    value = loss(model, batch, generator)
    if not math.isfinite(value.item()):
        raise FloatingPointError(f"the loss is {value.item()}: try a lower lr, and look at the data's range")
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return value.item()


@torch.no_grad()
def average_into(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) model, for parameters; buffers are copied. Changes `average` in place."""
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)


def warm_cosine(peak: float, warm: float = 0.05) -> Callable[[float], float]:
    """A learning rate that rises linearly over the first `warm` of training, then falls to 0 along a cosine."""

    def rate(fraction: float) -> float:
        rise = min(1.0, (fraction + 1e-3) / warm) if warm else 1.0
        return peak * rise * 0.5 * (1 + math.cos(math.pi * fraction))

    return rate


def clean(x0: Tensor, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """The target of ordinary training: the clean example itself."""
    return x0


def uniform_times(n: int, generator: torch.Generator | None = None) -> Tensor:
    """n times spread evenly over (0, 1), with one common random shift: less noisy than n independent draws.

    Source: Kingma et al. 2021, section 6.3, arXiv:2107.00630.
    """
    shift = uniform(1, generator)
    times = (shift + torch.arange(n, device=shift.device) / n) % 1.0
    return times.clamp(min=torch.finfo(times.dtype).eps)  # at t = 0 itself there is no noise to predict


def denoising(
    target: Target = clean,
    weight: Callable[[Tensor], Tensor] | None = None,
    dropout: float = 0.0,
    times: Callable[[int, torch.Generator | None], Tensor] = uniform_times,
) -> Loss:
    """The loss that makes a network a denoiser.

    E | F(x_t, t, c) - F* |^2,   x_t = alpha_t x0 + sigma_t eps

    F is what the network predicts (x0, eps or v) and F* that quantity for the target x0. With `weight`, a function of
    log-SNR (batch,), the error is weight(log_snr) |x0_hat - target|^2 instead: unit weight is x0-space, 1 + SNR is
    v-space. dropout: the share of examples trained without their condition. Batches are x0, or (x0, {name: value}).
    Source: Ho et al. 2020, eq. 14; Salimans & Ho 2022, section 4.
    """

    def loss(model: NetDenoiser, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        x0, cond = (batch, {}) if isinstance(batch, Tensor) else batch
        cond = drop_condition(cond, model.null, dropout, generator) if dropout else cond
        t = times(len(x0), generator).to(x0)
        x_t = add_noise(model.schedule, x0, t, noise_like(x0, generator))
        with torch.no_grad():  # a target is a fact to be learned, even where a network (a teacher) states it
            goal = target(x0, x_t, t, cond)
        if weight is None:
            return (model.raw(x_t, t, **cond) - FROM_X0[model.predict](model.schedule, x_t, t, goal)).square().mean()
        error = (model(x_t, t, **cond) - goal).square().flatten(1).mean(1)
        return (weight(model.schedule.log_snr(t)) * error).mean()

    return loss


def score_matching_loss(
    score: Callable[[Tensor, Tensor], Tensor],
    x0: Float[Tensor, "batch d"],
    sigma: Float[Tensor, " batch"],
    noise: Float[Tensor, "batch d"],
) -> Float[Tensor, ""]:
    """Denoising score matching: mean | sigma score(x, sigma) + noise |^2 at x = x0 + sigma noise.

    The target is -noise / sigma, the weight sigma^2 makes every level count alike. The best answer is the score of the
    data blurred by sigma, and its loss is not zero. Source: Vincent 2011, eq. 9; Song & Ermon 2019, eq. 5 and 6.
    Notebook 03 builds it (E3.3); the package itself trains by `denoising`.
    """
    level = sigma[:, None]
    return (level * score(x0 + level * noise, sigma) + noise).square().mean()


@torch.no_grad()
def loss_by_time(
    model: NetDenoiser, batch: Batch, times: Iterable[float], generator: torch.Generator | None = None
) -> Float[Tensor, " times"]:
    """Mean |x0_hat - x0|^2 at each time: which noise levels a model is good at. Returns (len(times),)."""
    x0, cond = (batch, {}) if isinstance(batch, Tensor) else batch
    errors = []
    for t in times:
        x_t = add_noise(model.schedule, x0, t, noise_like(x0, generator))
        errors.append((model(x_t, t, **cond) - x0).square().mean())
    return torch.stack(errors)
