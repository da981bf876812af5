"""A denoiser guesses the clean image: x0_hat = E[x0 | x_t].

The noise, the velocity and the score say the same thing in other words; this file has the dictionary.

    x_t = alpha_t x0 + sigma_t eps            eps   = (x_t - alpha_t x0) / sigma_t
    score = grad log p(x_t) = -eps / sigma_t  v     = (alpha_t eps - sigma_t x0) / r,  r^2 = alpha_t^2 + sigma_t^2

Conditions are bound by `.given(...)`, so a sampler only ever sees (x, t).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs348k_diffusion.noise import per_example, uniform
from cs348k_diffusion.schedule import Schedule, as_time

Prediction = Literal["x0", "eps", "v"]
SMALLEST_ALPHA = 1e-3  # below this, x0 = (x - sigma eps) / alpha multiplies every error by a thousand


@runtime_checkable
class Denoiser(Protocol):
    """Anything that guesses x0 from a noisy x and its time: x0_hat = E[x0 | x_t]."""

    @property
    def schedule(self) -> Schedule:
        """How noisy each time is."""
        ...

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x: (batch, ...); t: (batch,) in [0, 1]; returns x0_hat, shaped like x."""
        ...


def eps_from_x0(schedule: Schedule, x: Tensor, t: Tensor | float, x0: Tensor) -> Tensor:
    """eps = (x_t - alpha_t x0) / sigma_t, for sigma_t > 0."""
    alpha_t, sigma_t = schedule(t, x)
    return (x - alpha_t * x0) / sigma_t


def x0_from_eps(schedule: Schedule, x: Tensor, t: Tensor | float, eps: Tensor) -> Tensor:
    """x0 = (x_t - sigma_t eps) / alpha_t, for alpha_t > 0."""
    alpha_t, sigma_t = schedule(t, x)
    return (x - sigma_t * eps) / alpha_t


def v_from_x0(schedule: Schedule, x: Tensor, t: Tensor | float, x0: Tensor) -> Tensor:
    """v = (alpha_t eps - sigma_t x0) / r, written without dividing by sigma_t's square: finite at both ends.

    Source: Salimans & Ho 2022, section 4 and appendix D, arXiv:2202.00512 (there r = 1).
    """
    alpha_t, sigma_t = schedule(t, x)
    r = (alpha_t**2 + sigma_t**2).sqrt()
    return alpha_t / r * ((x - alpha_t * x0) / sigma_t.clamp(min=torch.finfo(x.dtype).tiny)) - sigma_t / r * x0


def x0_from_v(schedule: Schedule, x: Tensor, t: Tensor | float, v: Tensor) -> Tensor:
    """x0 = (alpha_t x_t / r - sigma_t v) / r with r^2 = alpha_t^2 + sigma_t^2; defined at every time."""
    alpha_t, sigma_t = schedule(t, x)
    r = (alpha_t**2 + sigma_t**2).sqrt()
    return (alpha_t * x / r - sigma_t * v) / r


def score_from_x0(schedule: Schedule, x: Tensor, t: Tensor | float, x0_hat: Tensor) -> Tensor:
    """grad log p(x_t) = (alpha_t x0_hat - x_t) / sigma_t^2 (Tweedie's formula), for sigma_t > 0."""
    alpha_t, sigma_t = schedule(t, x)
    return (alpha_t * x0_hat - x) / sigma_t**2


def x0_from_score(schedule: Schedule, x: Tensor, t: Tensor | float, score: Tensor) -> Tensor:
    """x0_hat = (x_t + sigma_t^2 score) / alpha_t, for alpha_t > 0. Source: Efron 2011, Tweedie's formula.

    Notebook 03 builds it; the package itself goes the other way, by `score_from_x0`.
    """
    alpha_t, sigma_t = schedule(t, x)
    return (x + sigma_t**2 * score) / alpha_t


def _same_x0(schedule: Schedule, x: Tensor, t: Tensor | float, x0: Tensor) -> Tensor:
    return x0


TO_X0 = {"x0": _same_x0, "eps": x0_from_eps, "v": x0_from_v}
FROM_X0 = {"x0": _same_x0, "eps": eps_from_x0, "v": v_from_x0}


class NetDenoiser(nn.Module):
    """A plain network, told how noisy its input is, made into a denoiser.

    x0_hat = TO_X0[predict](x_t, net(x_t / r, t, **cond)),   r^2 = alpha_t^2 + sigma_t^2

    The division keeps the network's input at unit scale on every schedule. Raises ValueError for an unknown
    prediction, and for "eps" on a schedule whose end has (almost) no signal: there x0 cannot be recovered.
    """

    def __init__(self, net: nn.Module, schedule: Schedule, predict: Prediction = "v"):
        super().__init__()
        if predict not in TO_X0:
            raise ValueError(f'predict must be "x0", "eps" or "v", got {predict!r}')
        alpha_end = float(schedule.alpha(torch.ones((), dtype=torch.float64)))
        if predict == "eps" and alpha_end < SMALLEST_ALPHA:
            raise ValueError(
                f"eps prediction cannot recover x0 where alpha(1) = {alpha_end:.1g}: use v or x0, "
                "or a schedule that ends with a little signal such as linear_beta(1000)"
            )
        self.net, self.schedule, self.predict = net, schedule, predict

    @property
    def null(self) -> Mapping[str, Tensor]:
        """The value of each condition that means "no condition"; what condition dropout writes."""
        return getattr(self.net, "null", {})

    def raw(self, x: Float[Tensor, "batch ..."], t: Tensor | float, **cond: Tensor) -> Tensor:
        """The network's own answer, in the space that it predicts; conditions of leading size 1 serve every example."""
        t = as_time(t, x)
        alpha_t, sigma_t = self.schedule(t, x)
        cond = {name: value.expand(len(x), *value.shape[1:]) for name, value in cond.items()}
        return self.net(x / (alpha_t**2 + sigma_t**2).sqrt(), t, **cond)

    def forward(self, x: Float[Tensor, "batch ..."], t: Tensor | float, **cond: Tensor) -> Tensor:
        """x0_hat, shaped like x."""
        return TO_X0[self.predict](self.schedule, x, t, self.raw(x, t, **cond))

    def given(self, **cond: Tensor) -> Given:
        """The denoiser of p(x | cond); `given()` is the unconditional one. Each value: leading size 1 or batch."""
        return Given(self, cond)


class Wrapper:
    """A denoiser made of others, as a dataclass whose first field is one of them: it has that one's schedule."""

    @property
    def schedule(self) -> Schedule:
        """The inner denoiser's schedule."""
        return next(iter(vars(self).values())).schedule


@dataclass(frozen=True)
class Given(Wrapper):
    """A denoiser with its conditions filled in."""

    model: NetDenoiser
    cond: Mapping[str, Tensor] = field(default_factory=dict)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x0_hat = E[x0 | x_t, cond]."""
        return self.model(x, t, **self.cond)


@dataclass(frozen=True)
class Clipped(Wrapper):
    """A denoiser whose guesses are clamped to the range of the data."""

    denoise: Denoiser
    low: Tensor | float
    high: Tensor | float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x0_hat, clamped."""
        return torch.clamp(self.denoise(x, t), torch.as_tensor(self.low).to(x), torch.as_tensor(self.high).to(x))


def clip(denoise: Denoiser, low: Tensor | float = -1.0, high: Tensor | float = 1.0) -> Clipped:
    """Clamp x0_hat to [low, high]: outermost, and for pixels only (latents and points have no such range).

    low, high: numbers, or tensors like x0_hat, where each value has a range of its own (a cascade's residuals).
    """
    return Clipped(denoise, low, high)


def drop_condition(
    cond: Mapping[str, Tensor], null: Mapping[str, Tensor], p: float, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Replace each example's conditions by the null values with probability p, all conditions of an example together.

    cond and null map the same names to tensors of shape (batch, ...) and (1, ...).
    Source: Ho & Salimans 2022, algorithm 1, arXiv:2207.12598. Raises KeyError for a condition without a null.
    """
    if not cond:
        return {}
    if missing := set(cond) - set(null):
        raise KeyError(f"no null value for {sorted(missing)}: the network's `null` must name each condition")
    batch = max(len(value) for value in cond.values())
    lost = uniform(batch, generator) < p
    return {name: _where(lost, null[name], value) for name, value in cond.items()}


def _where(lost: Tensor, null: Tensor, value: Tensor) -> Tensor:
    return torch.where(per_example(lost.to(value.device), value), null.to(value), value)
