"""One step walks from time t to time s; every sampler of the lecture is a path of such steps.

    x_s = alpha_s x0_hat + sigma_s (sqrt(1 - f) eps_hat + sqrt(f) z),   eps_hat = (x_t - alpha_t x0_hat) / sigma_t

f, the fresh share, says how much of the noise at time s is drawn anew: 0 is DDIM, the ancestral share is DDPM, a
small f without moving (s = t) is Langevin. A sampler knows (x, t) and nothing else; what the sample means is the
denoiser's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.denoiser import Denoiser, eps_from_x0
from cs348k_diffusion.noise import noise_like, per_example
from cs348k_diffusion.running import Run
from cs348k_diffusion.schedule import Schedule, as_time


class State(NamedTuple):
    """Where a sampler stands: x at time t after `index` steps, and the x0_hat that led there."""

    index: int
    t: float
    x: Tensor
    x0_hat: Tensor
    stage: int = 0

    def frame(self) -> Tensor:
        """What `watch` draws: x itself."""
        return self.x

    def label(self) -> str:
        """The caption of the frame."""
        return f"step {self.index}, t = {self.t:.3f}"


class History(NamedTuple):
    """What a solver may look at: the denoiser, and (time, x, x0_hat) of the last two times, newest last."""

    denoise: Denoiser
    times: list[float]
    xs: list[Tensor]
    x0_hats: list[Tensor]

    def after(self, t: float, x: Tensor, x0_hat: Tensor) -> History:
        """With one more guess; at the same time as the last one it takes its place, for between them nothing moved."""
        old = slice(-2, -1) if self.times[-1:] == [t] else slice(-1, None)
        return History(self.denoise, [*self.times[old], t], [*self.xs[old], x], [*self.x0_hats[old], x0_hat])


Solver = Callable[[History, float, float], Tensor]
Fresh = float | Callable[[Schedule, float, float], float]


def step(
    schedule: Schedule,
    x_t: Float[Tensor, "batch ..."],
    x0_hat: Tensor,
    t: Tensor | float,
    s: Tensor | float,
    fresh: Tensor | float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """From x at time t to x at time s: the one step (see the module's equation).

    t, s: numbers or (batch,) in [0, 1], in any order; fresh: the share f in [0, 1]; noise: N(0, I) shaped like x_t,
    needed when fresh > 0. Raises ValueError at sigma_t = 0 (there is no noise to read), for a share outside
    [0, 1], and for missing noise. Source: Song et al. 2021 (DDIM), eq. 12, arXiv:2010.02502.
    """
    share = per_example(torch.as_tensor(fresh, dtype=x_t.dtype, device=x_t.device), x_t)
    if not bool(((share >= 0) & (share <= 1)).all()):
        raise ValueError(f"fresh is a share of the noise and lies in [0, 1], got {fresh}")
    if not bool((schedule(t, x_t)[1] > 0).all()):
        raise ValueError("step cannot start where sigma_t = 0: there is no noise left to read; start at t > 0")
    alpha_s, sigma_s = schedule(s, x_t)
    direction = (1 - share).sqrt() * eps_from_x0(schedule, x_t, t, x0_hat)
    if bool((share > 0).any()):
        if noise is None:
            raise ValueError("fresh > 0 draws noise anew: pass noise=noise_like(x_t, generator)")
        direction = direction + share.sqrt() * noise
    return alpha_s * x0_hat + sigma_s * direction


def ancestral_step(
    schedule: Schedule, x_t: Tensor, x0_hat: Tensor, t: float, s: float, noise: Tensor
) -> Float[Tensor, "batch ..."]:
    """A draw from the posterior q(x_s | x_t, x0_hat): one step of DDPM. noise ~ N(0, I), shaped like x_t.

    Notebook 04 builds it; the package itself walks by `step`, of which it is one choice.
    """
    return step(schedule, x_t, x0_hat, t, s, ancestral(schedule, t, s), noise)


def ddim_step(schedule: Schedule, x_t: Tensor, x0_hat: Tensor, t: float, s: float) -> Float[Tensor, "batch ..."]:
    """The step that keeps all of its noise: one step of DDIM, x_s = alpha_s x0_hat + sigma_s eps_hat.

    Notebook 04 builds it; the package itself walks by `step`, of which it is one choice.
    """
    return step(schedule, x_t, x0_hat, t, s)


def implied_x0(schedule: Schedule, x_t: Tensor, x_s: Tensor, t: Tensor | float, s: Tensor | float) -> Tensor:
    """The x0_hat for which one noise-free step takes x_t to x_s: the inverse of `step` in its second argument.

    x0_hat = (x_s - (sigma_s / sigma_t) x_t) / (alpha_s - (sigma_s / sigma_t) alpha_t)

    It is what a student must answer to do two of its teacher's steps in one. Raises ValueError where no x0_hat moves
    x_t: from sigma_t = 0, and for s = t. Source: Salimans & Ho 2022, algorithm 2, arXiv:2202.00512.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x_t), schedule(s, x_t)
    shrink = sigma_s / sigma_t
    weight = alpha_s - shrink * alpha_t
    if not bool(((sigma_t > 0) & (weight != 0)).all()):
        raise ValueError("a step from sigma_t = 0, or to the time it starts from, implies no x0_hat")
    return (x_s - shrink * x_t) / weight


def ancestral(schedule: Schedule, t: float, s: float) -> float:
    """The fresh share that makes `step` draw from the exact posterior q(x_s | x_t, x0_hat): DDPM.

    f = 1 - min(r, 1/r)^2,   r = alpha_t sigma_s / (alpha_s sigma_t)

    For s > t the same share gives the forward kernel q(x_s | x_t). Source: Ho et al. 2020, eq. 7, arXiv:2006.11239.
    """
    time = torch.tensor([t, s], dtype=torch.float64)
    alpha, sigma = schedule.alpha(as_time(time, time)), schedule.sigma(time)
    across, along = float(alpha[0] * sigma[1]), float(alpha[1] * sigma[0])
    return 1 - (min(across, along) / max(across, along)) ** 2 if across != along else 0.0


def path(n: int, start: float = 1.0, end: float = 0.0) -> Float[Tensor, " times"]:
    """n + 1 times from start to end, evenly spaced: n steps, n evaluations, n States. float64."""
    _check_path(n, start, end)
    return torch.linspace(start, end, n + 1, dtype=torch.float64)


def _check_path(n: int, *times: float) -> None:
    if n < 1:
        raise ValueError(f"a path needs at least one step, got n = {n}")
    if not all(0 <= t <= 1 for t in times):
        raise ValueError(f"times lie in [0, 1] (0 = data, 1 = noise), got {', '.join(f'{t:g}' for t in times)}")


def log_snr_path(schedule: Schedule, n: int, start: float = 0.99, end: float = 0.01) -> Float[Tensor, " times"]:
    """n + 1 times from start to end, evenly spaced in log-SNR: what multistep solvers like. float64.

    With end = 0 the even spacing stops at t = 0.01 and one last step goes to the data. Raises ValueError for such a
    path that starts no higher. Source: Lu et al. 2022, section 3.4, arXiv:2206.00927.
    """
    _check_path(n, start, end)
    if not end and start <= 0.01:
        raise ValueError(
            f"a path to t = 0 is spaced from its start to t = 0.01, so it starts above that; got {start:g}"
        )
    ends = torch.tensor([start, end or 0.01], dtype=torch.float64)
    lo, hi = schedule.log_snr(ends).tolist()
    times = time_of_log_snr(schedule, torch.linspace(lo, hi, n + 1 if end else n, dtype=torch.float64))
    return torch.cat([times[:-1], ends[1:]] if end else [times, times.new_zeros(1)])


def edm_path(
    schedule: Schedule, n: int, sigma_max: float = 80.0, sigma_min: float = 0.002, rho: float = 7.0
) -> Float[Tensor, " times"]:
    """n times whose noise-to-signal ratios sigma / alpha are spaced as in EDM, and then 0: n + 1 times, float64.

    ratio_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho,   i = 0 .. n-1

    Heun needs it: on evenly spaced times its first steps are so long that it loses to DDIM. A schedule that never is
    as noisy as sigma_max starts at its own noisiest time. Start the walk from `schedule.prior(shape, generator,
    times[0])`. Raises ValueError unless 0 < sigma_min < sigma_max and rho > 0, and where the schedule never is as noisy
    as sigma_min. Source: Karras et al. 2022, eq. 5, arXiv:2206.00364.
    """
    _check_path(n)
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"the noise falls from sigma_max to sigma_min > 0, got {sigma_max:g} and {sigma_min:g}")
    if not 0 < rho < math.inf:
        raise ValueError(f"rho bends the spacing and is a number above 0, got {rho:g}")
    noisiest = math.exp(-0.5 * float(schedule.log_snr(torch.ones((), dtype=torch.float64))))
    if noisiest <= sigma_min:
        raise ValueError(f"at its noisiest the schedule's sigma / alpha is {noisiest:g}, not above {sigma_min:g}")
    ends = min(sigma_max, noisiest) ** (1 / rho), sigma_min ** (1 / rho)
    ramp = torch.linspace(*ends, n, dtype=torch.float64) ** rho
    times = time_of_log_snr(schedule, -2 * torch.log(ramp))
    return torch.cat([times, times.new_zeros(1)])


def time_of_log_snr(schedule: Schedule, log_snr: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The times at which the schedule has these log-SNRs: the inverse of `schedule.log_snr`, by bisection."""
    low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
    for _ in range(60):
        middle = (low + high) / 2
        noisier = schedule.log_snr(middle) < log_snr
        low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
    return (low + high) / 2


def first_order(history: History, t: float, s: float) -> Tensor:
    """Step with the newest x0_hat: Euler's method for the probability-flow ODE, that is DDIM."""
    return history.x0_hats[-1]


def look_ahead(new: Tensor, old: Tensor, before: float, now: float, after: float) -> Tensor:
    """The line through two guesses, old at `before` and new at `now`, read off in the middle of the step to `after`.

    new + (after - now) / (2 (now - before)) (new - old),   lambda = log(alpha / sigma) at three times,
    before < now <= after
    """
    return new + (after - now) / (2 * (now - before)) * (new - old)


def multistep(history: History, t: float, s: float) -> Tensor:
    """DPM-Solver++(2M): extrapolate x0_hat along half the log-SNR from the last two; no further evaluation.

    x0 = x0_hat_i + (h_i / (2 h_{i-1})) (x0_hat_i - x0_hat_{i-1}),   h = steps of log(alpha / sigma)

    The first step, and a last one to s = 0, are first order. Source: Lu et al. 2022, algorithm 2, arXiv:2211.01095.
    """
    new = history.x0_hats[-1]
    if len(history.times) < 2 or s == 0:
        return new
    grid = torch.tensor([history.times[-2], t, s], dtype=torch.float64)
    before, now, after = (history.denoise.schedule.log_snr(grid) / 2).tolist()
    if now == before:  # both beyond the limit of the log-SNR
        return new
    return look_ahead(new, history.x0_hats[-2], before, now, after)


def heun(history: History, t: float, s: float) -> Tensor:
    """Heun's method: step to s, ask again there, and redo the step with the mean of the two noises.

    x0 = (x_t - sigma_t (eps_hat_t + eps_hat_s) / 2) / alpha_t

    Two evaluations a step, one for the last step to s = 0. Raises ValueError where alpha_t = 0: start below t = 1,
    for instance with `edm_path`. Source: Karras et al. 2022, algorithm 1, arXiv:2206.00364.
    """
    schedule, x, x0_hat = history.denoise.schedule, history.xs[-1], history.x0_hats[-1]
    if s == 0:
        return x0_hat
    alpha_t, sigma_t = schedule(t, x)
    if not bool((alpha_t > 0).all()):
        raise ValueError(f"heun divides by alpha({t:g}) = 0: start below t = 1, say with edm_path(schedule, n)")
    trial = step(schedule, x, x0_hat, t, s)
    eps_s = eps_from_x0(schedule, trial, s, history.denoise(trial, as_time(s, trial)))
    return (x - sigma_t * (eps_from_x0(schedule, x, t, x0_hat) + eps_s) / 2) / alpha_t


def sample(
    denoise: Denoiser,
    x: Float[Tensor, "batch ..."],
    times: Iterable[float] | Tensor,
    fresh: Fresh = 0.0,
    solver: Solver = first_order,
    generator: torch.Generator | None = None,
) -> Run[State]:
    """Walk x along the times and yield a State after each step.

    x: noise at times[0] (`schedule.prior(shape, generator, times[0])`); times: n + 1 numbers, usually descending
    (`path(n)`); fresh: a number or a function (schedule, t, s) -> share; solver: which x0_hat to step with. Raises
    ValueError for fewer than two times, and for times outside [0, 1].
    """
    walk = [float(t) for t in times]
    if len(walk) < 2:
        raise ValueError("a walk needs at least two times: from where, and to where; try path(50)")
    _check_path(len(walk) - 1, *walk)
    return Run(_states(denoise, x, walk, fresh, solver, generator), f"sampling, {len(walk) - 1} steps")


def _states(
    denoise: Denoiser,
    x: Tensor,
    times: Sequence[float],
    fresh: Fresh,
    solver: Solver,
    generator: torch.Generator | None,
) -> Iterator[State]:
    schedule, history = denoise.schedule, History(denoise, [], [], [])
    for index, (t, s) in enumerate(pairwise(times), start=1):
        with torch.no_grad():  # around each step and never around a yield: grad mode belongs to whoever walks
            x0_hat = denoise(x, as_time(t, x))
            history = history.after(t, x, x0_hat)
            share = fresh(schedule, t, s) if callable(fresh) else fresh
            noise = noise_like(x, generator) if share > 0 else None
            x = step(schedule, x, solver(history, t, s), t, s, share, noise)
        yield State(index, s, x, x0_hat)


def ddpm(
    denoise: Denoiser, x: Tensor, times: Iterable[float] | Tensor, generator: torch.Generator | None = None
) -> Run[State]:
    """Ancestral sampling: every step draws from q(x_s | x_t, x0_hat). Source: Ho et al. 2020, algorithm 2."""
    return sample(denoise, x, times, fresh=ancestral, generator=generator)


def ddim(
    denoise: Denoiser,
    x: Tensor,
    times: Iterable[float] | Tensor,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Run[State]:
    """Few, noise-free steps along the probability-flow ODE; eta in [0, 1] mixes ancestral noise back in.

    f = eta^2 ancestral(t, s). The DDIM paper's eta scales the standard deviation, hence the square.
    Source: Song et al. 2021, eq. 12 and 16, arXiv:2010.02502.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta lies in [0, 1] (0 = DDIM, 1 = DDPM), got {eta}")
    fresh: Fresh = (lambda schedule, t, s: eta**2 * ancestral(schedule, t, s)) if eta else 0.0
    return sample(denoise, x, times, fresh=fresh, generator=generator)


def langevin_share(schedule: Schedule, t: float, step_size: float) -> float:
    """The fresh share whose step from t to t is a Langevin update of this step size: f = 2 step_size / sigma_t^2.

    The two differ by O(f^2). Raises ValueError when the step size is too large to be one (f > 1).
    """
    sigma = float(schedule.sigma(torch.tensor(t, dtype=torch.float64)))
    if not 0 <= t <= 1 or not sigma > 0:
        raise ValueError(f"a Langevin step needs noise to start from, a time t in (0, 1]; got t = {t:g}")
    share = 2 * step_size / sigma**2
    if not 0 <= share <= 1 or math.isnan(share):
        raise ValueError(f"a Langevin step of {step_size} at t = {t} would need a fresh share of {share:.3g} > 1")
    return share
