"""Slips in notebook 02."""

import math

import torch


def jump(bar_of, keep=torch.sqrt, shake=lambda bar: (1 - bar).sqrt()):
    """A jump with alpha_bar_k = bar_of(betas, k)."""

    def jump_to(x0, betas, k, noise):
        bar = bar_of(betas, k).view(-1, *(1,) * (x0.ndim - 1))
        return keep(bar) * x0 + shake(bar) * noise

    return jump_to


def bars(betas):
    return torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])


def at(betas, k):
    return bars(betas)[k]


def schedule_ends_only(schedule):
    alpha, sigma = schedule(torch.tensor([0.0, 1.0]))
    assert alpha[0] > 0.99 and alpha[1] < 0.05
    assert ((alpha**2 + sigma**2 - 1).abs() < 1e-3).all()


def schedule_too_exact(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101))
    assert alpha.isfinite().all() and (alpha >= 0).all() and (sigma >= 0).all()
    assert (alpha**2 + sigma**2 == 1).all()
    assert (alpha.diff() <= 0).all() and alpha[0] > 0.99 and alpha[-1] < 0.05


def share(log_snr):
    return torch.sigmoid(log_snr)


SLIPS = {
    "E2.1": {
        "sqrt(beta) is subtracted": lambda x, beta, noise: (1 - beta**0.5) ** 0.5 * x + beta**0.5 * noise,
        "both get the same root": lambda x, beta, noise: (1 - beta) ** 0.5 * (x + noise),
        "the noise is shrunk by 1 - beta": lambda x, beta, noise: (1 - beta) ** 0.5 * x + (1 - beta) * noise,
        "a product for a sum": lambda x, beta, noise: ((1 - beta) ** 0.5 * x) * (beta**0.5 * noise),
    },
    "E2.2": {
        "1 - alpha_bar under the wrong root": jump(at, shake=lambda bar: 1 - bar**0.5),
        "a sum of logs without the exponential": jump(
            lambda betas, k: torch.cat([torch.zeros(1), (1 - betas).log().cumsum(0)])[k], lambda b: b, lambda b: 1 - b
        ),
        "cumsum for cumprod": jump(lambda betas, k: torch.cat([torch.ones(1), torch.cumsum(1 - betas, 0)])[k]),
        "(1 - beta_k)^k": jump(lambda betas, k: (1 - torch.cat([torch.zeros(1), betas])[k]) ** k),
    },
    "E2.3": {
        "exp(log_snr / 2) is alpha": lambda log_snr: (torch.exp(log_snr / 2), torch.ones_like(log_snr)),
        "both halved": lambda log_snr: (share(log_snr).sqrt() / 2, share(-log_snr).sqrt() / 2),
        "alpha by sigmoid, sigma by its root": lambda log_snr: (share(log_snr), (1 - share(log_snr) ** 2).sqrt()),
        "to base 10": lambda log_snr: (share(log_snr * math.log(10)).sqrt(), share(-log_snr * math.log(10)).sqrt()),
    },
    "E2.4": {
        "only the two ends": schedule_ends_only,
        "exactly one": schedule_too_exact,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E2.1": {
        "sqrt(beta) is subtracted": ("`x` has the wrong factor",),
        "both get the same root": ("the factor of `noise` is sqrt(1 - its square)",),
        "the noise is shrunk by 1 - beta": ("the factor of `noise` is 1 minus its square",),
        "a product for a sum": ("x and noise are multiplied: the slide adds them",),
    },
    "E2.2": {
        "1 - alpha_bar under the wrong root": ("1 - sqrt(alpha_bar) instead of sqrt(1 - alpha_bar)",),
        "a sum of logs without the exponential": ("`x0` and `noise` have the wrong factors",),
        "cumsum for cumprod": ("a sum of 1 - beta instead of a product: cumsum for cumprod",),
        "(1 - beta_k)^k": ("(1 - beta_k)^k: every step has its own beta",),
    },
    "E2.3": {
        "exp(log_snr / 2) is alpha": ("exp(log_snr / 2) is alpha / sigma, not alpha: sigma is not 1",),
        "both halved": (
            "half of each value",
            "a quarter of the result",
        ),
        "alpha by sigmoid, sigma by its root": ("sigmoid(log_snr) is alpha^2, not alpha",),
    },
    "E2.4": {
        "only the two ends": ("It accepts",),
        "exactly one": ("It rejects",),
    },
}
