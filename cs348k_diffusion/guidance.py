"""Bayes' rule, one step at a time: change the guess so that the picture fits a description.

    grad log p_t(x | y) = grad log p_t(x) + grad log p_t(y | x)        (the slide)
    x0_hat(x, y)        = x0_hat(x) + (sigma^2 / alpha) grad log p_t(y | x_t)

The second line is the first in the words of a denoiser. Each wrapper here takes denoisers and returns a denoiser, so a
sampler never learns that it is being guided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from cs348k_diffusion.denoiser import SMALLEST_ALPHA, Denoiser, Wrapper
from cs348k_diffusion.noise import per_example
from cs348k_diffusion.schedule import Schedule

LogLikelihood = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Guided(Wrapper):
    """A denoiser that mixes the guesses of two; see `guide`."""

    cond: Denoiser
    uncond: Denoiser
    scale: float | Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x0_hat = uncond + scale (cond - uncond)."""
        scale = self.scale
        if isinstance(scale, Tensor):
            scale = per_example(scale.to(x), x)
        return torch.lerp(self.uncond(x, t), self.cond(x, t), scale)


def guide(cond: Denoiser, uncond: Denoiser, scale: float | Tensor) -> Guided:
    """Classifier-free guidance: x0_hat = uncond(x, t) + scale (cond(x, t) - uncond(x, t)).

    scale 0 is `uncond`, 1 is `cond`, more exaggerates what the condition changes (the CFG paper's w is scale - 1); a
    tensor (batch,) gives each example its own.
    With a weaker copy of the model as `uncond` it is autoguidance. Two evaluations a call. The same mixture in eps-,
    v- or score-space gives the same answer. Raises ValueError when the schedules differ.
    Source: Ho & Salimans 2022, eq. 6, arXiv:2207.12598; Karras et al. 2024, arXiv:2406.02507.
    """
    if cond.schedule != uncond.schedule:
        raise ValueError(f"guide mixes guesses at one noise level, but got {cond.schedule} and {uncond.schedule}")
    return Guided(cond, uncond, scale)


def bayes_x0(schedule: Schedule, x: Tensor, t: Tensor | float, x0_hat: Tensor, likelihood_score: Tensor) -> Tensor:
    """Bayes' rule on a guess: E[x0 | x_t, y] = x0_hat + (sigma^2 / alpha) likelihood_score.

    x0_hat, and likelihood_score = grad log p_t(y | x_t): shaped like x, (batch, ...). Where alpha < 1e-3 the plain
    x0_hat is returned: there x_t says nothing about y. It is Tweedie's formula on both sides of
    grad log p_t(x | y) = grad log p_t(x) + grad log p_t(y | x).
    """
    alpha, sigma = schedule(t, x)
    moved = x0_hat + sigma**2 / alpha.clamp(min=SMALLEST_ALPHA) * likelihood_score
    return torch.where(alpha > SMALLEST_ALPHA, moved, x0_hat)


@dataclass(frozen=True)
class Steered(Wrapper):
    """A denoiser corrected by the gradient of a log-likelihood; see `steer`."""

    denoise: Denoiser
    log_likelihood: LogLikelihood
    scale: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """x0_hat + scale (sigma^2 / alpha) grad log p_t(y | x_t); the plain x0_hat where alpha is almost 0."""
        likelihood_score = self.scale * gradient(self.log_likelihood, x, t)
        return bayes_x0(self.schedule, x, t, self.denoise(x, t), likelihood_score)


def steer(denoise: Denoiser, log_likelihood: LogLikelihood, scale: float = 1.0) -> Steered:
    """Classifier guidance, that is Bayes' rule on scores, for any differentiable log p_t(y | x_t).

    log_likelihood(x_t, t) -> (batch,), and must be right *at every noise level*: a classifier that was trained on
    clean pictures is not. At t = 1 on a schedule without signal the plain guess is returned: there x_t says nothing
    about y. Source: Dhariwal & Nichol 2021, section 4, arXiv:2105.05233.
    """
    return Steered(denoise, log_likelihood, scale)


def gradient(log_likelihood: LogLikelihood, x: Tensor, t: Tensor) -> Tensor:
    """grad_x log p_t(y | x_t), (batch, ...): computed on copies, whatever the caller's grad or inference mode is.

    Raises ValueError when the log-likelihood does not return one number for each example.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x, t = x.detach().clone().requires_grad_(), t.detach().clone()
        value = log_likelihood(x, t)
        if value.shape != (len(x),):
            raise ValueError(f"log_likelihood must return one number an example, ({len(x)},), got {tuple(value.shape)}")
        return torch.autograd.grad(value.sum(), x)[0]


def classifier_log_prob(classifier: Callable[[Tensor, Tensor], Tensor], y: Int[Tensor, " labels"]) -> LogLikelihood:
    """log p_t(y | x_t) of a classifier: classifier(x_t, t) -> logits (batch, classes); y of shape (batch,) or (1,).

    `steer(denoise, classifier_log_prob(classifier, y))` is classifier guidance.
    Source: Dhariwal & Nichol 2021, section 4.1.
    """

    def log_likelihood(x: Tensor, t: Tensor) -> Tensor:
        return classifier(x, t).log_softmax(1).gather(1, y.to(x.device).expand(len(x))[:, None])[:, 0]

    return log_likelihood


def classifier_score(
    classifier: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor, y: Int[Tensor, " labels"]
) -> Tensor:
    """grad_x log p_t(y | x_t) of a classifier (see `classifier_log_prob`), shaped like x.

    Notebook 05 builds it; the package itself guides by `steer`.
    """
    return gradient(classifier_log_prob(classifier, y), x, t)


@dataclass(frozen=True)
class InInterval(Wrapper):
    """One denoiser between two times, another outside them; see `in_interval`."""

    inside: Denoiser
    outside: Denoiser
    low: float
    high: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """inside(x, t) for low <= t <= high, else outside(x, t); each example by its own time."""
        chosen = (t >= self.low) & (t <= self.high)
        if bool(chosen.all()) or not bool(chosen.any()):  # the usual case: nobody pays for an answer that is not used
            return (self.inside if bool(chosen.any()) else self.outside)(x, t)
        return torch.where(per_example(chosen, x), self.inside(x, t), self.outside(x, t))


def in_interval(inside: Denoiser, outside: Denoiser, low: float, high: float) -> InInterval:
    """Guide only where it helps: `inside` for times in [low, high], `outside` elsewhere.

    Guidance is harmful at high noise and useless at low (Kynkaanniemi et al. 2024, arXiv:2404.07724). Raises
    ValueError when the schedules differ or the interval is empty.
    """
    if inside.schedule != outside.schedule:
        raise ValueError(
            f"in_interval switches between two guesses at one noise level, got {inside.schedule} and {outside.schedule}"
        )
    if not low <= high:
        raise ValueError(f"an interval of times needs low <= high, got {low} and {high}")
    return InInterval(inside, outside, low, high)


def linear_measurement_log_prob(
    denoise: Denoiser, observe: Callable[[Tensor], Tensor], y: Tensor, std: float
) -> LogLikelihood:
    """log p_t(y | x_t), up to a constant, for a linear measurement y = observe(x0) + std * noise.

    log p_t = -|y - observe(x0_hat)|^2 / (2 (std^2 + r^2)),   r^2 = sigma_t^2 / (alpha_t^2 + sigma_t^2)

    r^2 is the variance of x0 given x_t when the data are N(0, I) and `observe` picks pixels; there the formula is
    exact, elsewhere it is an approximation. observe maps (batch, ...) to (batch, ...) linearly; y broadcasts with it.
    Source: Song et al. 2023 (pseudoinverse guidance), eq. 7, openreview 9_gsMA8MRKQ.
    """

    def log_likelihood(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (value.flatten() for value in denoise.schedule(t, x))
        spread = std**2 + sigma**2 / (alpha**2 + sigma**2)
        return -(y - observe(denoise(x, t))).square().flatten(1).sum(1) / (2 * spread)

    return log_likelihood


def inpainting_log_prob(denoise: Denoiser, known: Tensor, mask: Tensor, std: float = 0.05) -> LogLikelihood:
    """log p_t(known pixels | x_t): `linear_measurement_log_prob` through a mask, 1 where known and 0 elsewhere."""
    return linear_measurement_log_prob(denoise, lambda x: x * mask, known * mask, std)
