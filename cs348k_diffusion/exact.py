"""Denoisers that need no training, because the data distribution is known in closed form.

Blurring a mixture of Gaussians gives a mixture of Gaussians: component k of x_t is N(alpha mu_k, alpha^2 Sigma_k +
sigma^2 I). So log p, the score and E[x0 | x_t] are exact at every noise level, and every sampler, guidance rule and
training loss of this package can be held against the truth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.schedule import Schedule


class Mixture:
    """A mixture of Gaussians, each component optionally belonging to a class.

    p(x) = sum_k w_k N(x; mu_k, Sigma_k)

    means: (K, d); covs: (K, d, d), or (K,) variances of round components, or one number; weights: (K,), normalised
    here; labels: (K,) integers. It answers in the dtype and on the device of the question. Raises ValueError when
    shapes do not fit, a weight is negative or a covariance is not positive definite.
    """

    def __init__(
        self, means: Tensor, covs: Tensor | float, weights: Tensor | None = None, labels: Tensor | None = None
    ):
        if means.ndim != 2:
            raise ValueError(f"means must have shape (components, dimensions), got {tuple(means.shape)}")
        self.means, count = means, len(means)
        covs = _full_covariances(covs, means)
        self.variances, self.axes = torch.linalg.eigh(covs)  # Sigma_k = axes diag(variances) axes^T
        if not (bool((self.variances > 0).all()) and torch.allclose(covs, covs.mT)):
            raise ValueError("every covariance must be positive definite (symmetric, with positive variances)")
        weights = torch.ones(count) if weights is None else weights
        self.labels = torch.zeros(count, dtype=torch.long) if labels is None else labels
        if not (len(weights) == len(self.labels) == count and bool((weights >= 0).all())):
            raise ValueError(f"one weight (not negative) and one label for each of the {count} components")
        self.log_weights = torch.log(weights / weights.sum()).to(means)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """n independent draws."""
        return self.sample_labelled(n, generator)[0]

    def sample_labelled(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n independent draws and the class of each, (n, d) and (n,)."""
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        z = noise_like(self.means[k], generator) * self.variances[k].sqrt()
        return self.means[k] + torch.einsum("nij,nj->ni", self.axes[k], z), self.labels[k]

    def log_prob(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, " batch"]:
        """log p(x)."""
        return self.to(x)._joint(x, *_no_noise(x)).logsumexp(1)

    def score(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """grad log p(x)."""
        return self.to(x)._score(x, *_no_noise(x), y=None)

    def moments(self) -> tuple[Tensor, Tensor]:
        """The mixture's own mean (d,) and covariance (d, d)."""
        w = self.log_weights.exp()
        mean = w @ self.means
        covs = torch.einsum("kij,kj,klj->kil", self.axes, self.variances, self.axes)
        centred = self.means - mean
        return mean, torch.einsum("k,kij->ij", w, covs) + torch.einsum("k,ki,kj->ij", w, centred, centred)

    def denoiser(self, schedule: Schedule) -> ExactDenoiser:
        """E[x0 | x_t] under this mixture."""
        return ExactDenoiser(self, schedule)

    def to(self, like: Tensor) -> Mixture:
        """The same mixture in the dtype and on the device of `like`."""
        moved = copy.copy(self)
        parameters = (self.means, self.variances, self.axes, self.log_weights)
        moved.means, moved.variances, moved.axes, moved.log_weights = (p.to(like) for p in parameters)
        moved.labels = self.labels.to(like.device)
        return moved

    def _whitened(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of x along each component's axes, and the variances there: two (batch, K, d)."""
        offset = x[:, None] - alpha[:, None] * self.means
        along = torch.einsum("kij,bki->bkj", self.axes, offset)
        return along, alpha[:, None] ** 2 * self.variances + sigma[:, None] ** 2

    def _joint(self, x: Tensor, alpha: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        """log(w_k N(x; alpha mu_k, alpha^2 Sigma_k + sigma^2 I)), (batch, K); other classes than y are cut off."""
        along, variance = self._whitened(x, alpha, sigma)
        log_normal = -0.5 * (along**2 / variance + torch.log(2 * math.pi * variance)).sum(2)
        joint = self.log_weights + log_normal
        return joint if y is None else joint.masked_fill(self.labels != y[:, None], -torch.inf)

    def _score(self, x: Tensor, alpha: Tensor, sigma: Tensor, y: Tensor | None) -> Tensor:
        along, variance = self._whitened(x, alpha, sigma)
        share = self._joint(x, alpha, sigma, y).softmax(1)
        return torch.einsum("kij,bkj->bi", self.axes, -share[:, :, None] * along / variance)

    def _posterior_mean(self, x: Tensor, alpha: Tensor, sigma: Tensor, y: Tensor | None) -> Tensor:
        along, variance = self._whitened(x, alpha, sigma)
        share = self._joint(x, alpha, sigma, y).softmax(1)
        offset = alpha[:, None] * self.variances / variance * along  # alpha Sigma C^-1 (x - alpha mu), along the axes
        return share @ self.means + torch.einsum("kij,bkj->bi", self.axes, share[:, :, None] * offset)


def gaussian(mean: Float[Tensor, " d"], cov: Tensor | float) -> Mixture:
    """One Gaussian, as a mixture of one; cov is (d, d) or a variance."""
    cov = cov[None] if isinstance(cov, Tensor) and cov.ndim == 2 else cov
    return Mixture(mean[None], cov)


class ExactDenoiser:
    """The posterior mean E[x0 | x_t] of a mixture, its score and its log-density at every time.

    x0_hat = sum_k p(k | x_t) (mu_k + alpha Sigma_k C_k^-1 (x_t - alpha mu_k)),   C_k = alpha^2 Sigma_k + sigma^2 I
    """

    def __init__(self, data: Mixture, schedule: Schedule, y: Int[Tensor, " batch"] | None = None):
        self.data, self.schedule, self.y = data, schedule, y

    def __call__(self, x: Float[Tensor, "batch d"], t: Tensor | float) -> Float[Tensor, "batch d"]:
        """x0_hat at time t, exact at both ends."""
        return self.data.to(x)._posterior_mean(x, *self.schedule(t, x), y=self._class(x))

    def score(self, x: Float[Tensor, "batch d"], t: Tensor | float) -> Float[Tensor, "batch d"]:
        """grad log p_t(x)."""
        return self.data.to(x)._score(x, *self.schedule(t, x), y=self._class(x))

    def log_prob(self, x: Float[Tensor, "batch d"], t: Tensor | float) -> Float[Tensor, " batch"]:
        """log p_t(x); with a class bound, log p_t(x, y)."""
        return self.data.to(x)._joint(x, *self.schedule(t, x), y=self._class(x)).logsumexp(1)

    def given(self, y: Tensor | int | None = None) -> ExactDenoiser:
        """The denoiser of p(x | y): y an integer or (batch,) integers; None is the whole mixture.

        Raises ValueError when no component has that label (there would be nothing to average over).
        """
        if y is None:
            return ExactDenoiser(self.data, self.schedule)
        y = torch.as_tensor(y, device=self.data.labels.device).reshape(-1)
        if not bool(torch.isin(y, self.data.labels).all()):
            raise ValueError(f"the mixture has classes {sorted(set(self.data.labels.tolist()))}, got {y.tolist()[:4]}")
        return ExactDenoiser(self.data, self.schedule, y)

    def log_likelihood(self, y: Tensor | int) -> Callable[[Tensor, Tensor | float], Tensor]:
        """The exact noise-aware classifier: a function (x_t, t) -> log p_t(y | x_t), shape (batch,)."""
        one, every = self.given(y), self.given()
        return lambda x, t: one.log_prob(x, t) - every.log_prob(x, t)

    def _class(self, x: Tensor) -> Tensor | None:
        return None if self.y is None else self.y.to(x.device).expand(len(x))


class EmpiricalDenoiser:
    """E[x0 | x_t] when the data are exactly these n examples: what a network that memorised them would answer.

    x0_hat = sum_i softmax_i(-|x_t - alpha x_i|^2 / (2 sigma^2)) x_i

    examples: (n, ...), held in memory; at sigma = 0 the nearest example is returned.
    """

    def __init__(self, examples: Float[Tensor, "n ..."], schedule: Schedule):
        self.examples, self.schedule = examples, schedule

    def __call__(self, x: Float[Tensor, "batch ..."], t: Tensor | float) -> Tensor:
        """x0_hat, shaped like x."""
        alpha, sigma = (a.flatten(1) for a in self.schedule(t, x.flatten(1)))
        every = self.examples.flatten(1).to(x)
        squared = (x.flatten(1)[:, None] - alpha[:, None] * every).square().sum(2)
        squared = squared - squared.min(1, keepdim=True).values  # keeps the nearest example finite at sigma = 0
        share = (-squared / (2 * sigma**2).clamp(min=torch.finfo(x.dtype).tiny)).softmax(1)
        return (share @ every).view_as(x)


def gaussian_flow(
    mean: Float[Tensor, " d"], cov: Float[Tensor, "d d"], schedule: Schedule, x: Tensor, t: float, s: float
) -> Tensor:
    """Carry x from time t to time s along the exact probability-flow ODE of Gaussian data.

    x_s = alpha_s mu + C_s^(1/2) C_t^(-1/2) (x_t - alpha_t mu),   C_t = alpha_t^2 Sigma + sigma_t^2 I

    What DDIM with infinitely many steps would do. x: (batch, d). Source: Song et al. 2021, eq. 13, arXiv:2011.13456.
    """
    mean, (variances, axes) = mean.to(x), torch.linalg.eigh(cov.to(x))
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x), schedule(s, x)
    stretch = ((alpha_s**2 * variances + sigma_s**2) / (alpha_t**2 * variances + sigma_t**2)).sqrt()
    return alpha_s * mean + ((x - alpha_t * mean) @ axes * stretch) @ axes.T


def mixture_score(
    x: Float[Tensor, "batch d"], weights: Float[Tensor, " k"], means: Float[Tensor, "k d"], stds: Float[Tensor, " k"]
) -> Float[Tensor, "batch d"]:
    """grad log p(x) of a mixture of round Gaussians, p(x) = sum_k w_k N(x; mu_k, s_k^2 I).

    score = sum_k r_k(x) (mu_k - x) / s_k^2,   r_k = softmax_k(log w_k - d log s_k - |x - mu_k|^2 / (2 s_k^2))
    What `Mixture(means, stds**2, weights).score(x)` gives, four times faster, because round components need no axes.
    Notebook 03 builds it (E3.1).
    """
    offset = means - x[:, None]
    log_share = weights.log() - means.shape[1] * stds.log() - offset.square().sum(2) / (2 * stds**2)
    weight = log_share.softmax(1) / stds**2
    return (weight[..., None] * offset).sum(1)


def two_gaussians(small: float = 0.2, distance: float = 10.0) -> Mixture:
    """NCSN's toy: a small mode of weight `small` at -distance/2 and the rest at +distance/2, in 1-D, variance 1.

    Source: Song & Ermon 2019, section 3.2.2, arXiv:1907.05600.
    """
    half = distance / 2
    return Mixture(torch.tensor([[-half], [half]]), 1.0, torch.tensor([small, 1 - small]), torch.tensor([0, 1]))


def _no_noise(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(x[:, :1]), torch.zeros_like(x[:, :1])


def _full_covariances(covs: Tensor | float, means: Tensor) -> Tensor:
    count, d = means.shape
    covs = torch.as_tensor(covs, dtype=means.dtype)
    if covs.ndim <= 1:
        return covs.expand(count)[:, None, None] * torch.eye(d, dtype=means.dtype)
    if covs.shape != (count, d, d):
        raise ValueError(f"covs must be a number, ({count},) or ({count}, {d}, {d}), got {tuple(covs.shape)}")
    return covs
