"""How noisy is time t?  x_t = alpha(t) x0 + sigma(t) eps, with t = 0 the data and t = 1 the noise.

A schedule is two functions of time and nothing else. The papers write alpha_bar_t for alpha(t)^2.
Variance-preserving schedules keep alpha^2 + sigma^2 = 1; `straight` and `exploding` do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.noise import per_example

LOG_SNR_LIMIT = 20.0  # beyond e^20 float32 cannot tell the signal from x_t


@dataclass(frozen=True)
class Schedule:
    """A pair of functions of time, alpha (signal) and sigma (noise).

    x_t = alpha(t) x0 + sigma(t) eps,   eps ~ N(0, I),   t in [0, 1]

    `alpha` and `sigma` map a tensor of times to a tensor of the same shape. They are module-level functions, their
    parameters bound by `Bound`, so schedules can be pickled and compared. Source: Kingma et al. 2021, section 3,
    arXiv:2107.00630.
    """

    name: str
    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]

    def __call__(self, t: Tensor | float, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha(t) and sigma(t), shaped to multiply `like` (see `noise.per_example`).

        t: (batch,) or a number, in [0, 1]; like: (batch, ...). Computed in t's dtype and cast to like's last.
        Raises ValueError for times outside [0, 1].
        """
        t = as_time(t, like)
        alpha, sigma = self.alpha(t).to(like.dtype), self.sigma(t).to(like.dtype)
        return per_example(alpha, like), per_example(sigma, like)

    def log_snr(self, t: Tensor) -> Tensor:
        """log(alpha(t)^2 / sigma(t)^2), clamped to [-20, 20]; falls as t grows."""
        ratio = 2 * (torch.log(self.alpha(t)) - torch.log(self.sigma(t)))
        return ratio.clamp(-LOG_SNR_LIMIT, LOG_SNR_LIMIT)

    def prior(self, shape: Sequence[int], generator: torch.Generator | None = None, t: Tensor | float = 1.0) -> Tensor:
        """The noise that a walk from time t starts from: N(0, sigma(t)^2 I), float32, drawn where the generator lives.

        Give the first time of a path that does not start at 1: `prior(shape, generator, times[0])`. Raises ValueError
        for a time outside [0, 1].
        """
        if not 0 <= float(t) <= 1:
            raise ValueError(f"times lie in [0, 1] (0 = data, 1 = noise), got {float(t):g}")
        device = generator.device if generator is not None else "cpu"
        noise = torch.randn(tuple(shape), generator=generator, device=device, dtype=torch.float32)
        return noise * float(self.sigma(torch.as_tensor(t, dtype=torch.float64).cpu()))

    def __repr__(self) -> str:
        return f"Schedule({self.name})"


@dataclass(frozen=True)
class Bound:
    """A function of time with its parameters filled in; unlike functools.partial, equal when its parts are equal."""

    function: Callable[..., Tensor]
    parameters: tuple

    def __call__(self, t: Tensor) -> Tensor:
        """function(*parameters, t)."""
        return self.function(*self.parameters, t)


def as_time(t: Tensor | float, like: Tensor) -> Float[Tensor, " batch"]:
    """t as a (batch,) tensor beside `like`: float32, or float64 when `like` is; ValueError outside [0, 1]."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    t = torch.as_tensor(t, dtype=dtype, device=like.device)
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(f"times must lie in [0, 1] (0 = data, 1 = noise), got {t.flatten().tolist()[:4]}")
    if t.ndim > 1 or (t.ndim == 1 and len(t) not in (1, len(like))):
        raise ValueError(f"t must be a number or have shape ({len(like)},), got {tuple(t.shape)}")
    return t.expand(len(like))


def cosine() -> Schedule:
    """alpha(t) = sin((1 - t) pi/2), sigma(t) = sin(t pi/2).

    Variance preserving; log-SNR = 2 log cot(t pi/2). Both ends are exact: alpha(1) = 0, sigma(0) = 0.
    Source: Nichol & Dhariwal 2021, eq. 17 with offset 0, arXiv:2102.09672.
    """
    return Schedule("cosine", _cosine_alpha, _cosine_sigma)


def straight() -> Schedule:
    """alpha(t) = 1 - t, sigma(t) = t: the straight line of flow matching (Lipman et al. 2022, arXiv:2210.02747)."""
    return Schedule("straight", _straight_alpha, _straight_sigma)


def exploding(sigma_max: float = 80.0, sigma_min: float = 0.002) -> Schedule:
    """alpha(t) = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t, and sigma(0) = 0.

    The noise is added and the signal never shrinks (Song & Ermon 2019, arXiv:1907.05600; Song et al. 2021, eq. 9).
    Raises ValueError unless 0 < sigma_min < sigma_max.
    """
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"exploding needs 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
    return Schedule(f"exploding({sigma_max:g})", torch.ones_like, Bound(_exploding_sigma, (sigma_min, sigma_max)))


def linear_beta(steps: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
    """The slide's chain with beta_t rising linearly, rescaled by 1000 / steps so that the end is noise.

    beta_k = (1000 / steps) (beta_1 + (beta_T - beta_1) (k - 1) / (steps - 1)),   k = 1 .. steps
    Without the rescaling 100 steps end at alpha_bar = 0.36, which is not noise at all.
    Source: Ho et al. 2020, section 4, arXiv:2006.11239. Raises ValueError when a beta leaves (0, 1): for 20 steps or
    fewer, with the usual two ends.
    """
    if not beta_T * 1000 / max(steps, 1) < 1:
        raise ValueError(f"in {steps} steps the last beta would be {beta_T} x 1000 / {steps} >= 1: take more steps")
    betas = torch.linspace(beta_1, beta_T, steps, dtype=torch.float64) * (1000 / steps)
    return from_betas(betas.tolist(), name=f"linear_beta({steps})")


def from_betas(betas: Sequence[float] | Tensor, name: str | None = None) -> Schedule:
    """The continuous schedule through the chain q(x_k | x_{k-1}) = N(sqrt(1 - beta_k) x_{k-1}, beta_k I).

    alpha(k / T)^2 = alpha_bar_k = prod_{j <= k} (1 - beta_j),   k = 0 .. T (k = 0 is the data)
    Between grid points log alpha_bar is interpolated linearly. The table stays in float64 on the CPU.
    Raises ValueError unless every beta lies in (0, 1).
    """
    table = torch.as_tensor(betas, dtype=torch.float64)
    if table.ndim != 1 or len(table) == 0 or not bool(((table > 0) & (table < 1)).all()):
        raise ValueError("betas must be a non-empty list of numbers in (0, 1); beta is a variance, not a percentage")
    log_alpha_bar = torch.cat([table.new_zeros(1), torch.log1p(-table).cumsum(0)])
    logs = tuple(log_alpha_bar.tolist())  # a tuple compares and pickles; a tensor does neither well
    return Schedule(name or f"from_betas({len(table)})", Bound(_table_alpha, (logs,)), Bound(_table_sigma, (logs,)))


def alpha_sigma(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise at given log-SNRs, with alpha^2 + sigma^2 = 1; exact at both ends, shaped like log_snr.

    alpha = sqrt(sigmoid(lambda)),   sigma = sqrt(sigmoid(-lambda))
    Source: Kingma et al. 2021, eq. 4, arXiv:2107.00630.
    """
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def from_log_snr(log_snr: Callable[[Tensor], Tensor], name: str = "from_log_snr") -> Schedule:
    """The variance-preserving schedule whose log-SNR is the falling function lambda(t); see `alpha_sigma`."""
    return Schedule(name, Bound(_of_log_snr, (log_snr, 0)), Bound(_of_log_snr, (log_snr, 1)))


def _cosine_alpha(t: Tensor) -> Tensor:
    return torch.sin((1 - t) * (math.pi / 2))


def _cosine_sigma(t: Tensor) -> Tensor:
    return torch.sin(t * (math.pi / 2))


def _straight_alpha(t: Tensor) -> Tensor:
    return 1 - t


def _straight_sigma(t: Tensor) -> Tensor:
    return t.clone()


def _exploding_sigma(lo: float, hi: float, t: Tensor) -> Tensor:
    return torch.where(t > 0, lo * (hi / lo) ** t, torch.zeros_like(t))


def _of_log_snr(log_snr: Callable[[Tensor], Tensor], which: int, t: Tensor) -> Tensor:
    return alpha_sigma(log_snr(t))[which]


@lru_cache(maxsize=32)
def _table(logs: tuple[float, ...]) -> Tensor:
    return torch.tensor(logs, dtype=torch.float64)


def _log_alpha_bar(logs: tuple[float, ...], t: Tensor) -> Tensor:
    table = _table(logs)
    place = t.cpu().double() * (len(logs) - 1)  # on the CPU, because some accelerators have no float64
    k = place.floor().long().clamp(0, len(logs) - 2)
    return torch.lerp(table[k], table[k + 1], place - k)


def _table_alpha(logs: tuple[float, ...], t: Tensor) -> Tensor:
    return torch.exp(0.5 * _log_alpha_bar(logs, t)).to(t)


def _table_sigma(logs: tuple[float, ...], t: Tensor) -> Tensor:
    return torch.sqrt(-torch.expm1(_log_alpha_bar(logs, t))).to(t)
