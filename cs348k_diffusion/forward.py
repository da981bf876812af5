"""Forward diffusion: turn data into noise, one small step at a time or all at once.

The slide's chain   q(x_k | x_{k-1}) = N(x_k; sqrt(1 - beta_k) x_{k-1}, beta_k I)
its closed form     q(x_t | x_0)     = N(x_t; alpha_t x_0, sigma_t^2 I)
and the piece between two times, q(x_s | x_t) for s > t, which both are special cases of.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from cs348k_diffusion.schedule import Schedule, from_betas


def noise_once(x: Float[Tensor, "batch ..."], beta: float, noise: Tensor) -> Tensor:
    """One step of the slide's chain: x_k = sqrt(1 - beta) x_{k-1} + sqrt(beta) noise.

    beta is a variance in [0, 1]; noise is N(0, I), shaped like x. Source: Ho et al. 2020, eq. 2, arXiv:2006.11239.
    Notebook 02 builds it; the package itself jumps, by `add_noise`.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is a variance and must lie in [0, 1], got {beta}")
    return (1 - beta) ** 0.5 * x + beta**0.5 * noise


def jump_to(x0: Float[Tensor, "batch ..."], betas: Tensor, k: Int[Tensor, " batch"], noise: Tensor) -> Tensor:
    """The slide's chain from x_0 to x_k in one go: x_k = sqrt(alpha_bar_k) x_0 + sqrt(1 - alpha_bar_k) noise.

    alpha_bar_k = prod_{j <= k} (1 - beta_j);   betas: (T,), beta_1 .. beta_T;   k: integers in 0 .. T (0 = data)
    Source: Ho et al. 2020, eq. 4, arXiv:2006.11239.
    Notebook 02 builds it in the slide's symbols; the package itself uses `add_noise`.
    """
    chain = from_betas(betas.tolist())
    return add_noise(chain, x0, k.double() / len(betas), noise)


def add_noise(schedule: Schedule, x0: Float[Tensor, "batch ..."], t: Tensor | float, eps: Tensor) -> Tensor:
    """The closed form x_t = alpha_t x0 + sigma_t eps; t is (batch,) or a number in [0, 1], eps ~ N(0, I) like x0.

    Source: Ho et al. 2020, eq. 4, arXiv:2006.11239.
    """
    alpha_t, sigma_t = schedule(t, x0)
    return alpha_t * x0 + sigma_t * eps


def forward_kernel(schedule: Schedule, x: Tensor, t: Tensor | float, s: Tensor | float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(x_s | x_t) for s > t, shaped to broadcast with x.

    mean = (alpha_s / alpha_t) x_t,   variance = sigma_s^2 - (alpha_s / alpha_t)^2 sigma_t^2
    Raises ValueError for s < t, and where alpha_t = 0. Source: Kingma et al. 2021, eq. 3, arXiv:2107.00630.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x), schedule(s, x)
    if not bool((alpha_t > 0).all()):
        raise ValueError("forward_kernel starts where some signal is left (alpha_t > 0), so at t < 1")
    ratio = alpha_s / alpha_t
    variance = sigma_s**2 - ratio**2 * sigma_t**2
    if bool((variance < -1e-6).any()):
        raise ValueError("forward_kernel adds noise, so it needs s >= t (more noise at s than at t)")
    return ratio * x, variance.clamp(min=0).sqrt()
