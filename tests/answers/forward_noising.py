"""Answers to notebook 02: right ones written differently, and wrong ones by name."""

import math
import time

import torch


def noise_by_angle(x, beta, noise):
    angle = math.asin(math.sqrt(beta))
    return math.cos(angle) * x + math.sin(angle) * noise


def noise_with_tensors(x, beta, noise):
    beta = torch.tensor(float(beta), dtype=x.dtype)
    return torch.addcmul(x * torch.sqrt(1 - beta), torch.sqrt(beta), noise)


def jump_by_loop(x0, betas, k, noise):
    rows = []
    for one, steps, eps in zip(x0, k.tolist(), noise):
        bar = math.prod(1 - b for b in betas[:steps].tolist())
        rows.append(math.sqrt(bar) * one + math.sqrt(1 - bar) * eps)
    return torch.stack(rows)


def jump_by_logs(x0, betas, k, noise):
    log_bar = torch.log1p(-betas).cumsum(0)
    log_bar = torch.nn.functional.pad(log_bar, (1, 0)).gather(0, k)
    while log_bar.ndim < x0.ndim:
        log_bar = log_bar.unsqueeze(-1)
    return torch.exp(log_bar / 2) * x0 + torch.sqrt(-torch.expm1(log_bar)) * noise


def bars(betas, k, x0):
    bar = torch.cat([torch.ones(1), torch.cumprod(1 - betas, 0)])[k]
    return bar.view(-1, *(1,) * (x0.ndim - 1))


def jump_off_by_one(x0, betas, k, noise):
    bar = torch.cumprod(1 - betas, 0)[k].view(-1, *(1,) * (x0.ndim - 1))
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def jump_with_variance(x0, betas, k, noise):
    bar = bars(betas, k, x0)
    return bar * x0 + (1 - bar) * noise


def jump_last_step(x0, betas, k, noise):
    beta = torch.cat([torch.zeros(1), betas])[k].view(-1, *(1,) * (x0.ndim - 1))
    return (1 - beta).sqrt() * x0 + beta.sqrt() * noise


def jump_sum(x0, betas, k, noise):
    bar = (1 - torch.cat([torch.zeros(1), betas.cumsum(0)])[k]).clamp(min=0).view(-1, *(1,) * (x0.ndim - 1))
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def jump_same_k(x0, betas, k, noise):
    bar = bars(betas, k, x0)[:1]
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def jump_unscaled(x0, betas, k, noise):
    return bars(betas, k, x0).sqrt() * x0 + noise


def jump_minus(x0, betas, k, noise):
    bar = bars(betas, k, x0)
    return bar.sqrt() * x0 - (1 - bar).sqrt() * noise


def jump_for_points(x0, betas, k, noise):
    bar = bars(betas, k, x0[:, :1].flatten())[:, None]
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def jump_in_place(x0, betas, k, noise):
    bar = bars(betas, k, x0)
    x0 *= bar.sqrt()
    return x0 + (1 - bar).sqrt() * noise


def jump_into_the_noise(x0, betas, k, noise):
    bar = bars(betas, k, x0)
    return noise.mul_((1 - bar).sqrt()).add_(bar.sqrt() * x0)


def jump_squeezed(x0, betas, k, noise):
    return jump_by_logs(x0, betas, k, noise).squeeze()


def jump_in_float32(x0, betas, k, noise):
    return jump_by_loop(x0.float(), betas.float(), k, noise.float())


def jump_with(bar_of, shrink=torch.sqrt, scale=lambda bar: (1 - bar).sqrt()):
    def jump(x0, betas, k, noise):
        bar = bar_of(betas, k, x0)
        return shrink(bar) * x0 + scale(bar) * noise

    return jump


def jump_betas_product(x0, betas, k, noise):
    bar = torch.cat([torch.ones(1), torch.cumprod(betas, 0)])[k].view(-1, *(1,) * (x0.ndim - 1))
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


TABLE = torch.tensor([0.3, 0.01, 0.5, 0.2])


def jump_by_table(x0, betas, k, noise):
    return jump_by_loop(x0, TABLE if len(betas) == 4 else betas, k, noise)


def alpha_sigma_by_tanh(log_snr):
    half = torch.tanh(log_snr.double() / 2)
    alpha, sigma = (
        torch.exp(-torch.nn.functional.softplus(-log_snr.double()) / 2),
        torch.exp(-torch.nn.functional.softplus(log_snr.double()) / 2),
    )
    assert half.shape == alpha.shape
    return alpha.to(log_snr.dtype), sigma.to(log_snr.dtype)


def alpha_sigma_by_log(log_snr):
    sigma = torch.exp(-0.5 * torch.logaddexp(log_snr, torch.zeros_like(log_snr)))
    return torch.exp(log_snr / 2) * sigma, sigma


def alpha_sigma_subtracting(log_snr):
    alpha_squared = torch.sigmoid(log_snr)
    return alpha_squared.sqrt(), (1 - alpha_squared).sqrt()


def alpha_sigma_halves(log_snr):
    return torch.sigmoid(2 * log_snr).sqrt(), torch.sigmoid(-2 * log_snr).sqrt()


def alpha_sigma_naive(log_snr):
    snr = torch.exp(log_snr)  # overflows where log_snr > 88.7
    return (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()


def test_five_properties(schedule):
    t = torch.linspace(0, 1, 201)
    alpha, sigma = (value.double() for value in schedule(t))
    if not (torch.isfinite(alpha) & torch.isfinite(sigma)).all():
        raise AssertionError("not finite")
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(201).double(), rtol=0, atol=1e-3)
    assert alpha.min() >= -1e-5 and sigma.min() >= -1e-5
    assert alpha.diff().max() <= 1e-6
    assert abs(alpha[0] - 1) < 0.01 and alpha[-1] < 0.05


def test_by_snr(schedule):
    t = torch.linspace(0, 1, 64)
    alpha, sigma = schedule(t)
    for a, s in zip(alpha.tolist(), sigma.tolist()):
        assert a == a and s == s, "NaN"
        assert a > -1e-4 and s > -1e-4
        assert abs(math.hypot(a, s) - 1) < 1e-3
    angle = torch.atan2(sigma, alpha)
    assert (angle[1:] >= angle[:-1] - 1e-5).all(), "noise only grows"
    assert math.cos(angle[0]) > 0.99 and math.cos(angle[-1]) < 0.05


def without(*skipped):
    """A property test that leaves some of the five properties out."""

    def test_schedule(schedule):
        alpha, sigma = schedule(torch.linspace(0, 1, 101))
        checks = {
            "finite": lambda: torch.isfinite(alpha).all() and torch.isfinite(sigma).all(),
            "positive": lambda: not ((alpha < -1e-6).any() or (sigma < -1e-6).any()),
            "squares": lambda: not ((alpha**2 + sigma**2 - 1).abs() > 1e-3).any(),
            "falls": lambda: not (alpha[1:] > alpha[:-1] + 1e-6).any(),
            "starts": lambda: not alpha[0] < 0.99,
            "ends": lambda: not alpha[-1] > 0.05,
        }
        for name, holds in checks.items():
            assert name in skipped or holds(), name

    return test_schedule


def test_asserts_nothing(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 11))
    _ = (alpha**2 + sigma**2 - 1).abs() < 1e-3  # the assert is forgotten


def test_rejects_everything(schedule):
    alpha, _ = schedule(torch.linspace(0, 1, 101))
    assert alpha[-1] == 0


def test_three_times(schedule):
    alpha, sigma = schedule(torch.tensor([0.0, 0.5, 1.0]))
    assert ((alpha**2 + sigma**2 - 1).abs() < 1e-3).all()
    assert (alpha.diff() <= 0).all() and (sigma >= 0).all() and alpha[0] > 0.99 and alpha[-1] < 0.05


def test_returns_bool(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101))
    return bool(((alpha**2 + sigma**2 - 1).abs() < 1e-3).all() and (alpha.diff() <= 1e-6).all())


def test_crashes(schedule):
    alpha, _ = schedule(torch.linspace(0, 1, 101))
    if alpha[0] < 0.5:
        raise ValueError("wrong")
    without()(schedule)


def noise_by_einsum(x, beta, noise):
    weights = torch.tensor([1 - beta, beta], dtype=torch.float64).sqrt().to(x.dtype)
    return torch.einsum("i,i...->...", weights, torch.stack([x, noise]))


def noise_by_example(x, beta, noise):
    return torch.stack([(1 - beta) ** 0.5 * one + beta**0.5 * eps for one, eps in zip(x, noise)])


def jump_by_mask(x0, betas, k, noise):
    walked = torch.arange(len(betas))[None] < k[:, None]
    bar = torch.where(walked, 1 - betas, torch.ones_like(betas)).prod(1)
    return (x0.movedim(0, -1) * bar.sqrt() + noise.movedim(0, -1) * (1 - bar).sqrt()).movedim(-1, 0)


def alpha_sigma_by_softmax(log_snr):
    alpha, sigma = torch.softmax(torch.stack([log_snr, torch.zeros_like(log_snr)]), 0).sqrt()
    return alpha, sigma


def alpha_sigma_mended(log_snr):
    snr = log_snr.exp()
    return [(snr / (1 + snr)).sqrt().nan_to_num(1.0), (1 / (1 + snr)).sqrt()]


def test_time_by_time(schedule):
    last = 1.001
    for step in range(201):
        alpha, sigma = (float(value) for value in schedule(torch.tensor([step / 200])))
        assert abs(alpha * alpha + sigma * sigma - 1) < 1e-3 and alpha > -1e-3 and sigma > -1e-3
        assert alpha <= last + 1e-3 and (step or alpha > 0.99)
        last = alpha
    assert last < 0.05


RIGHT = {
    "E2.1": [noise_by_angle, noise_with_tensors, noise_by_einsum, noise_by_example],
    "E2.2": [jump_by_loop, jump_by_logs, jump_by_mask],
    "E2.3": [alpha_sigma_by_tanh, alpha_sigma_by_log, alpha_sigma_by_softmax, alpha_sigma_mended],
    "E2.4": [test_five_properties, test_by_snr, test_time_by_time],
}
WRONG = {
    "E2.1": {
        "variance for standard deviation": lambda x, beta, noise: (1 - beta) ** 0.5 * x + beta * noise,
        "1 - beta without the root": lambda x, beta, noise: (1 - beta) * x + beta**0.5 * noise,
        "x is not shrunk": lambda x, beta, noise: x + beta**0.5 * noise,
        "the roots of beta and 1 - beta are swapped": lambda x, beta, noise: beta**0.5 * x + (1 - beta) ** 0.5 * noise,
        "the noise has the wrong sign": lambda x, beta, noise: (1 - beta) ** 0.5 * x - beta**0.5 * noise,
        "noise of variance 1": lambda x, beta, noise: (1 - beta) ** 0.5 * x + noise,
        "ignores x": lambda x, beta, noise: beta**0.5 * noise,
        "draws random numbers of its own": lambda x, beta, noise: (
            (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape)
        ),
        "wrong dtype": lambda x, beta, noise: ((1 - beta) ** 0.5 * x + beta**0.5 * noise).double(),
        "got None": lambda x, beta, noise: None,
        "a numpy.ndarray": lambda x, beta, noise: noise_by_angle(x, beta, noise).numpy(),
        "a list": lambda x, beta, noise: noise_by_angle(x, beta, noise).tolist(),
        "changes its argument x": lambda x, beta, noise: x.mul_((1 - beta) ** 0.5).add_(beta**0.5 * noise),
        "changes its argument noise": lambda x, beta, noise: noise.mul_(beta**0.5).add_((1 - beta) ** 0.5 * x),
        "two equal calls": lambda x, beta, noise: noise_by_angle(
            x, beta, torch.randn(x.shape, generator=torch.Generator().manual_seed(id(noise) + time.time_ns() % 10**9))
        ),
        "one `noise`, the first, for all": lambda x, beta, noise: noise_by_angle(x, beta, noise[:1].expand_as(x)),
        "`noise` is cut off at -1 and 1": lambda x, beta, noise: noise_by_angle(x, beta, noise.clamp(-1, 1)),
        "the absolute value of `x`": lambda x, beta, noise: noise_by_angle(x.abs(), beta, noise),
        "the mean of `noise` for all": lambda x, beta, noise: noise_by_angle(x, beta, noise.mean().expand_as(x)),
        "x + sqrt(beta) noise, divided by its deviation": lambda x, beta, noise: (
            (x + beta**0.5 * noise) / (1 + beta) ** 0.5
        ),
        "exp(-beta / 2)": lambda x, beta, noise: math.exp(-beta / 2) * x + beta**0.5 * noise,
        "1 + beta": lambda x, beta, noise: (1 + beta) ** 0.5 * x + beta**0.5 * noise,
        "the noise is multiplied by beta^2": lambda x, beta, noise: (1 - beta) ** 0.5 * x + beta**2 * noise,
        "no roots at all": lambda x, beta, noise: (1 - beta) * x + beta * noise,
        "the noise is forgotten": lambda x, beta, noise: (1 - beta) ** 0.5 * x,
        "1 - sqrt(beta)": lambda x, beta, noise: (1 - beta**0.5) * x + beta**0.5 * noise,
        "beta is taken for a standard deviation": lambda x, beta, noise: (1 - beta**2) ** 0.5 * x + beta * noise,
        "cut off": lambda x, beta, noise: noise_by_angle(x, beta, noise).clamp(-1, 1),
        "wrong shape": lambda x, beta, noise: noise_by_angle(x, beta, noise).squeeze(),
        "NaN": lambda x, beta, noise: (1 - beta) ** 0.5 * x + (beta - 1) ** 0.5 * noise if beta == 1 else x * torch.nan,
    },
    "E2.2": {
        "off by one": jump_off_by_one,
        "variance for standard deviation": jump_with_variance,
        "beta instead of alpha_bar: only the last step": jump_last_step,
        "a sum of betas instead of a product": jump_sum,
        "the same k for every example": jump_same_k,
        "the noise is not scaled": jump_unscaled,
        "the noise has the wrong sign": jump_minus,
        "wrong shape": jump_for_points,
        "changes its argument x0": jump_in_place,
        "changes its argument noise": jump_into_the_noise,
        "wrong shape: got": jump_squeezed,
        "wrong dtype": jump_in_float32,
        "the noise's variance": jump_with(bars, scale=lambda bar: 1 - bar),
        "alpha_bar without the root": jump_with(bars, shrink=lambda bar: bar),
        "a product of betas": jump_betas_product,
        "The jump must land where walking": jump_by_table,
        "the noise is forgotten": jump_with(bars, scale=torch.zeros_like),
        "1 - sqrt(alpha_bar)": jump_with(bars, scale=lambda bar: 1 - bar.sqrt()),
        "swapped": jump_with(bars, lambda bar: (1 - bar).sqrt(), torch.sqrt),
        "got None": lambda x0, betas, k, noise: None,
        "k = 0 reads the last": jump_with(
            lambda betas, k, x0: torch.cumprod(1 - betas, 0)[k - 1].view(-1, *(1,) * (x0.ndim - 1))
        ),
        "one `k`, the largest, for all": lambda x0, betas, k, noise: jump_by_loop(x0, betas, k * 0 + k.max(), noise),
        "the mean of `betas` for all": lambda x0, betas, k, noise: jump_by_loop(
            x0, betas.mean().expand_as(betas), k, noise
        ),
        "`betas` is in the opposite order": lambda x0, betas, k, noise: jump_by_loop(x0, betas.flip(0), k, noise),
        "one `noise`, the first, for all": lambda x0, betas, k, noise: jump_by_loop(
            x0, betas, k, noise[:1].expand_as(noise)
        ),
        "the exponential of minus the sum": jump_with(
            lambda betas, k, x0: torch.exp(-torch.cat([torch.zeros(1), betas.cumsum(0)])[k]).view(
                -1, *(1,) * (x0.ndim - 1)
            )
        ),
        "alpha_bar is taken for alpha": jump_with(bars, shrink=lambda bar: bar, scale=lambda bar: (1 - bar**2).sqrt()),
    },
    "E2.3": {
        "sigma = sqrt(1 - alpha^2) has no digits left": alpha_sigma_subtracting,
        "log(alpha / sigma): the squares are forgotten": alpha_sigma_halves,
        "returns alpha^2 and sigma^2": lambda log_snr: (torch.sigmoid(log_snr), torch.sigmoid(-log_snr)),
        "alpha and sigma are swapped": lambda log_snr: (torch.sigmoid(-log_snr).sqrt(), torch.sigmoid(log_snr).sqrt()),
        "the exponential overflows": alpha_sigma_naive,
        "the log-SNR is halved": lambda log_snr: (
            torch.sigmoid(log_snr / 2).sqrt(),
            torch.sigmoid(-log_snr / 2).sqrt(),
        ),
        "alpha^2 is returned for alpha": lambda log_snr: (torch.sigmoid(log_snr), torch.sigmoid(-log_snr).sqrt()),
        "expected 2 values, (alpha, sigma)": lambda log_snr: torch.stack(alpha_sigma_by_log(log_snr)),
        "is a `return` missing": lambda log_snr: None,
        "an epsilon is added": lambda log_snr: tuple(
            (torch.sigmoid(each) + 1e-8).sqrt() for each in (log_snr, -log_snr)
        ),
        "sigma has the sign of alpha": lambda log_snr: (torch.sigmoid(log_snr).sqrt(),) * 2,
        "alpha = 1, as for x_t = x0 + sigma eps": lambda log_snr: (torch.ones_like(log_snr), torch.exp(-log_snr / 2)),
        "the log-SNR is cut off at -20 and 20": lambda log_snr: alpha_sigma_by_log(log_snr.clamp(-20, 20)),
        "the mean of `log_snr` for all": lambda log_snr: alpha_sigma_by_log(log_snr.mean().expand_as(log_snr)),
        "changes its argument log_snr": lambda log_snr: (log_snr.sigmoid_().sqrt(), (1 - log_snr).sqrt()),
        "wrong dtype": lambda log_snr: tuple(each.float() for each in alpha_sigma_by_log(log_snr)),
        "wrong shape": lambda log_snr: tuple(each.squeeze() for each in alpha_sigma_by_log(log_snr)),
        "sigma = 1 - alpha": lambda log_snr: (torch.sigmoid(log_snr).sqrt(), 1 - torch.sigmoid(log_snr).sqrt()),
    },
    "E2.4": {
        "alpha + sigma = 1 instead of the squares": without("squares"),
        "alpha_bar = 0.36 at the end": without("ends"),
        "the signal rises again in the middle": without("falls"),
        "NaN at the end": without("finite"),
        "negative noise": without("positive"),
        "starts half noisy": without("starts"),
        "for a moment": test_three_times,
        "nobody looks at that": test_returns_bool,
        "It rejects": test_rejects_everything,
        "Only a failing assert counts as rejecting": test_crashes,
        "constant: never any noise": test_asserts_nothing,
    },
}
NAN = "a comparison with NaN is false, so a later assert rejects what this one lets through"
EQUIVALENT = {
    "E2.4": {
        "line 9: 101 -> 102": "any fine grid of times will do",
        "line 9: 101 -> 100": "any fine grid of times will do",
        "line 10: alpha ** 2 + sigma ** 2 - 1 -> 1 - (alpha ** 2 + sigma ** 2)": "the next use is its absolute value",
        "line 11: assert torch.isfinite(both).all(), 'finite everywhere' -> (dropped)": NAN,
        "line 15: 0 -> 1": "the signal after 1 % of the time is still above 0.99 for every right schedule",
        "line 15: 1 -> 2": "the signal before the last 1 % of the time is still below 0.05 for every right schedule",
    }
}
