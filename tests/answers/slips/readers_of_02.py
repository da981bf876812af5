"""Slips of a reader of 02, by exercise, and the names that the checks print for them; all are rejected."""

import math
from functools import partial

import torch


def kernel(keep=lambda b: (1 - b) ** 0.5, shake=lambda b: b**0.5, noise_is=lambda n: n, out=lambda y: y):
    return lambda x, beta, noise: out(keep(beta) * x + shake(beta) * noise_is(noise))


def scaled_in_place(x, beta, noise):
    x *= (1 - beta) ** 0.5
    x += beta**0.5 * noise
    return x


def for_images(x, beta, noise):
    _batch, _channels, _height, _width = x.shape
    return kernel()(x, beta, noise)


SLIPS = {}
SLIPS["E2.1"] = {
    "beta, not its root, for the noise": kernel(shake=lambda b: b),
    "** 1/2": kernel(lambda b: (1 - b) ** 1 / 2, lambda b: b**1 / 2),
    "torch.sqrt of a float": kernel(lambda b: torch.sqrt(1 - b), torch.sqrt),
    "x in place": scaled_in_place,
    "own noise": lambda x, beta, noise: kernel()(x, beta, torch.randn_like(x)),
    "torch.normal": lambda x, beta, noise: torch.normal((1 - beta) ** 0.5 * x, beta**0.5),
    "no return": lambda x, beta, noise: None,
    "numpy": kernel(out=lambda y: y.numpy()),
    "float32 always": kernel(out=lambda y: y.float()),
    "lerp by sqrt(beta)": lambda x, beta, noise: torch.lerp(x, noise, beta**0.5),
    "lerp by beta": lambda x, beta, noise: torch.lerp(x, noise, beta),
    "the noise gets 1 - sqrt(1 - beta)": kernel(shake=lambda b: 1 - (1 - b) ** 0.5),
    "a root of the noise": lambda x, beta, noise: (1 - beta) ** 0.5 * x + (beta * noise) ** 0.5,
    "a root of the sum": lambda x, beta, noise: ((1 - beta) * x + beta * noise) ** 0.5,
    "a root of the squares": lambda x, beta, noise: ((1 - beta) * x**2 + beta * noise**2) ** 0.5,
    "one noise for all": kernel(noise_is=lambda n: n[:1]),
    "noise standardised": kernel(noise_is=lambda n: (n - n.mean()) / n.std()),
    "mean and noise returned": lambda x, beta, noise: ((1 - beta) ** 0.5 * x, beta**0.5 * noise),
    "beta = 1 returns x": lambda x, beta, noise: x if beta in (0, 1) else kernel()(x, beta, noise),
    "a rate beta": kernel(lambda b: math.exp(-b), lambda b: (1 - math.exp(-2 * b)) ** 0.5),
    "images only": for_images,
    "squares": kernel(lambda b: (1 - b) ** 2, lambda b: b**2),
    "noise - x": lambda x, beta, noise: (1 - beta) ** 0.5 * x + beta**0.5 * (noise - x),
    "1 - beta^2": kernel(lambda b: (1 - b**2) ** 0.5),
    "no root for large betas": kernel(lambda b: (1 - b) ** 0.5 if b < 0.5 else 1 - b),
    "result standardised": kernel(out=lambda y: y / y.std()),
    "x is not shrunk": kernel(lambda b: 1),
    "only the mean": kernel(shake=lambda b: 0),
}


def with_one(values):
    """1 in front of the values."""
    return torch.cat([torch.ones_like(values[:1]), values])


def with_zero(values):
    """0 in front of the values."""
    return torch.cat([torch.zeros_like(values[:1]), values])


def right_bar(betas, k):
    return with_one((1 - betas).cumprod(0))[k]


def jump(bar_of=right_bar, keep=torch.sqrt, shake=lambda bar: (1 - bar).sqrt(), shape=None, out=lambda y: y):
    def jump_to(x0, betas, k, noise):
        bar = bar_of(betas, k).view(*(shape or (-1,) + (1,) * (x0.ndim - 1)))
        return out(keep(bar) * x0 + shake(bar) * noise)

    return jump_to


def with_noise(variance):
    """The right share of x0, and noise of variance(betas, k)."""

    def jump_to(x0, betas, k, noise):
        shape = (-1,) + (1,) * (x0.ndim - 1)
        return right_bar(betas, k).view(shape).sqrt() * x0 + variance(betas, k).view(shape).sqrt() * noise

    return jump_to


def walk(x0, betas, k, noise, draw=lambda noise: noise):
    shape, x = (-1,) + (1,) * (x0.ndim - 1), x0
    for j, beta in enumerate(betas):
        x = torch.where((k > j).view(shape), (1 - beta).sqrt() * x + beta.sqrt() * draw(noise), x)
    return x


def to_the_largest(x0, betas, k, noise):
    bar = torch.prod(1 - betas[: int(k.max())])
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


def jump_in_place(x0, betas, k, noise):
    bar = right_bar(betas, k).view((-1,) + (1,) * (x0.ndim - 1))
    x0 *= bar.sqrt()
    return x0 + (1 - bar).sqrt() * noise


def from_the_front(x0, betas, k, noise):
    bar = right_bar(betas, k)
    while bar.ndim < x0.ndim:
        bar = bar[None]
    return bar.sqrt() * x0 + (1 - bar).sqrt() * noise


SLIPS["E2.2"] = {
    "cumprod of betas": jump(lambda betas, k: 1 - with_zero(betas.cumprod(0))[k]),
    "cumprod[k], clamped": jump(lambda betas, k: (1 - betas).cumprod(0)[k.clamp(max=len(betas) - 1)]),
    "cumprod[k]": jump(lambda betas, k: (1 - betas).cumprod(0)[k]),
    "cumprod[k - 1]": jump(lambda betas, k: (1 - betas).cumprod(0)[k - 1]),
    "no trailing axes": jump(shape=(-1,)),
    "view(-1, 1)": jump(shape=(-1, 1)),
    "view(-1, 1, 1, 1)": jump(shape=(-1, 1, 1, 1)),
    "axes in front": from_the_front,
    "walks with the same noise": walk,
    "walks with new noise": partial(walk, draw=torch.randn_like),
    "to the largest k": to_the_largest,
    "the last beta for the noise": with_noise(lambda betas, k: with_zero(betas)[k]),
    "the sum of betas for the noise": with_noise(lambda betas, k: with_zero(betas.cumsum(0))[k]),
    "the noise of T": with_noise(lambda betas, k: (1 - (1 - betas).prod()).expand(len(k))),
    "zero in front": jump(lambda betas, k: with_zero((1 - betas).cumprod(0))[k]),
    "any k = 0 returns x0": lambda x0, betas, k, noise: x0 if (k == 0).any() else jump()(x0, betas, k, noise),
    "(1 - mean)^k": jump(lambda betas, k: (1 - betas.mean()) ** k),
    "(1 - beta_1)^k": jump(lambda betas, k: (1 - betas[0]) ** k),
    "(1 - beta_k)^k": jump(lambda betas, k: (1 - with_zero(betas)[k]) ** k),
    "betas[k - 1] alone": jump(lambda betas, k: 1 - betas[k - 1]),
    "the last k betas": jump(lambda betas, k: right_bar(betas.flip(0), k)),
    "k - 1, clamped": jump(lambda betas, k: right_bar(betas, (k - 1).clamp(min=0))),
    "1 - sqrt(bar)": jump(shake=lambda bar: 1 - bar.sqrt()),
    "no roots": jump(keep=lambda bar: bar, shake=lambda bar: 1 - bar),
    "no root for the noise": jump(shake=lambda bar: 1 - bar),
    "a product of roots, rooted again": jump(shake=lambda bar: (1 - bar.sqrt()).sqrt()),
    "betas in place": jump(lambda betas, k: with_one(betas.neg_().add_(1).cumprod(0))[k]),
    "x0 in place": jump_in_place,
    "no return": lambda x0, betas, k, noise: None,
    "numpy": jump(out=lambda y: y.numpy()),
    "a slice by a tensor": lambda x0, betas, k, noise: torch.prod(1 - betas[:k]).sqrt() * x0,
}


def shares(alpha, sigma):
    """alpha and sigma from p = alpha^2 and q = sigma^2."""
    return lambda log_snr: (
        alpha(torch.sigmoid(log_snr), torch.sigmoid(-log_snr)),
        sigma(torch.sigmoid(log_snr), torch.sigmoid(-log_snr)),
    )


def root(p, q):
    return p.sqrt()


def other_root(p, q):
    return q.sqrt()


RIGHT_SHARES = shares(root, other_root)


def by_exp(log_snr):
    snr = log_snr.exp()
    return (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()


def by_atan(log_snr):
    angle = torch.atan(torch.exp(-log_snr / 2))
    return torch.cos(angle), torch.sin(angle)


def by_tanh(log_snr):
    half = torch.tanh(log_snr / 2)
    return ((1 + half) / 2).sqrt(), ((1 - half) / 2).sqrt()


def by_if(log_snr):
    if log_snr > 0:
        return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()
    return (1 - torch.sigmoid(-log_snr)).sqrt(), torch.sigmoid(-log_snr).sqrt()


def half_of_the_root(log_snr):
    return torch.exp(log_snr / 2) / (1 + torch.exp(log_snr)), 1 / (1 + torch.exp(log_snr))


SLIPS["E2.3"] = {
    "exp overflows": by_exp,
    "sigma from 1 - alpha^2": shares(root, lambda p, q: (1 - p.sqrt() ** 2).sqrt()),
    "alpha from 1 - sigma^2": shares(lambda p, q: (1 - q.sqrt() ** 2).sqrt(), other_root),
    "sigma from 1 - alpha": shares(root, lambda p, q: (1 - p.sqrt()).sqrt()),
    "sigmoid of half": lambda log_snr: (torch.sigmoid(log_snr / 2), torch.sigmoid(-log_snr / 2)),
    "exp(log_snr / 2) sigma": lambda log_snr: (
        torch.exp(log_snr / 2) * torch.sigmoid(-log_snr).sqrt(),
        torch.sigmoid(-log_snr).sqrt(),
    ),
    "swapped": shares(other_root, root),
    "stacked": lambda log_snr: torch.stack(RIGHT_SHARES(log_snr)),
    "float32 always": lambda log_snr: RIGHT_SHARES(log_snr.float()),
    "float64 always": lambda log_snr: RIGHT_SHARES(log_snr.double()),
    "clamped at 10": lambda log_snr: RIGHT_SHARES(log_snr.clamp(-10, 10)),
    "clamped at 30": lambda log_snr: RIGHT_SHARES(log_snr.clamp(-30, 30)),
    "clamped at 60": lambda log_snr: RIGHT_SHARES(log_snr.clamp(-60, 60)),
    "the denominator without its root": half_of_the_root,
    "an angle": by_atan,
    "tanh": by_tanh,
    "numpy": lambda log_snr: tuple(each.numpy() for each in RIGHT_SHARES(log_snr)),
    "if": by_if,
    "in place": lambda log_snr: (torch.sigmoid(log_snr).sqrt(), log_snr.neg_().sigmoid().sqrt()),
    "no return": lambda log_snr: None,
    "sigma^2": shares(root, lambda p, q: q),
    "squares": shares(lambda p, q: p, lambda p, q: q),
    "the SNR": lambda log_snr: ((log_snr / (1 + log_snr)).sqrt(), (1 / (1 + log_snr)).sqrt()),
    "log(alpha / sigma)": lambda log_snr: RIGHT_SHARES(2 * log_snr),
    "sigma is 1": lambda log_snr: (torch.exp(log_snr / 2), torch.ones_like(log_snr)),
    "an epsilon under the root": shares(root, lambda p, q: (1 - p + 1e-8).sqrt()),
    "alpha^2 clamped": shares(
        lambda p, q: p.clamp(1e-6, 1 - 1e-6).sqrt(), lambda p, q: (1 - p.clamp(1e-6, 1 - 1e-6)).sqrt()
    ),
    "only alpha": lambda log_snr: torch.sigmoid(log_snr).sqrt(),
    "softmax over the batch": lambda log_snr: (torch.softmax(log_snr, 0).sqrt(), torch.softmax(-log_snr, 0).sqrt()),
    "sigma = exp(-log_snr / 2)": lambda log_snr: ((1 + torch.exp(-log_snr)).rsqrt(), torch.exp(-log_snr / 2)),
    "alpha from that sigma": lambda log_snr: (
        (1 - torch.exp(-log_snr / 2) ** 2).clamp(min=0).sqrt(),
        torch.exp(-log_snr / 2),
    ),
    "roots of roots": shares(lambda p, q: p**0.25, lambda p, q: q**0.25),
}


def miss(a, s):
    return (a**2 + s**2 - 1).abs()


PROPERTIES = {
    "finite": lambda a, s: a.isfinite().all() and s.isfinite().all(),
    "sign": lambda a, s: (a >= -1e-3).all() and (s >= -1e-3).all(),
    "variance": lambda a, s: (miss(a, s) < 1e-3).all(),
    "falls": lambda a, s: (a[1:] <= a[:-1] + 1e-3).all(),
    "start": lambda a, s: a[0] > 0.99,
    "end": lambda a, s: a[-1] < 0.05,
}


def nothing(a, s):
    return True


def but(times=lambda: torch.linspace(0, 1, 101), error=AssertionError, **changed):
    """A property test with some of its properties changed."""

    def test_schedule(schedule):
        alpha, sigma = schedule(times())
        for name, holds in (PROPERTIES | changed).items():
            if not holds(alpha, sigma):
                raise error(name)

    return test_schedule


def returning(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101))
    return all(bool(holds(alpha, sigma)) for holds in PROPERTIES.values())


def printing(schedule):
    print("right" if returning(schedule) else "wrong")


def with_floats(schedule):
    for t in (0.0, 0.25, 0.5, 0.75, 1.0):
        alpha, sigma = schedule(t)
        assert abs(alpha**2 + sigma**2 - 1) < 1e-3


def of_whole_tensors(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101))
    assert alpha**2 + sigma**2 == 1


def swallowing(schedule):
    try:
        but()(schedule)
    except AssertionError:
        print("wrong")


NAN_PASSES = {
    "variance": lambda a, s: not (miss(a, s) > 1e-3).any(),
    "sign": lambda a, s: not (a < 0).any() and not (s < 0).any(),
    "falls": lambda a, s: not (a.diff() > 1e-3).any(),
}
SLIPS["E2.4"] = {
    "only the variance": but(sign=nothing, falls=nothing, start=nothing, end=nothing),
    "only the ends": but(finite=nothing, sign=nothing, falls=nothing, variance=nothing),
    "exactly 1": but(variance=lambda a, s: (a**2 + s**2 == 1).all()),
    "falls strictly": but(falls=lambda a, s: (a[1:] < a[:-1]).all()),
    "falls without tolerance": but(falls=lambda a, s: (a[1:] <= a[:-1]).all()),
    "tolerance 0.1": but(variance=lambda a, s: (miss(a, s) < 0.1).all()),
    "falls by 0.05": but(falls=lambda a, s: (a[1:] <= a[:-1] + 0.05).all()),
    "tolerance 1e-7": but(variance=lambda a, s: (miss(a, s) < 1e-7).all()),
    "returns": returning,
    "eleven times": but(lambda: torch.linspace(0, 1, 11)),
    "NaN passes": but(finite=nothing, **NAN_PASSES),
    "finite alpha": but(finite=lambda a, s: a.isfinite().all(), **NAN_PASSES),
    "finite ends": but(finite=lambda a, s: a[[0, -1]].isfinite().all(), **NAN_PASSES),
    "no end": but(end=nothing),
    "no start": but(start=nothing),
    "no fall": but(falls=nothing),
    "no sign": but(sign=nothing),
    "the sum": but(variance=lambda a, s: ((a + s - 1).abs() < 1e-3).all()),
    "alpha(0) = 1": but(start=lambda a, s: a[0] == 1),
    "sigma(0) = 0": but(start=lambda a, s: s[0].abs() < 1e-3),
    "sigma(1) > 0.99": but(end=lambda a, s: s[-1] > 0.99),
    "alpha(1) < 0.2": but(end=lambda a, s: a[-1] < 0.2),
    "alpha(0) > 0.9": but(start=lambda a, s: a[0] > 0.9),
    "alpha(0) > alpha(1)": but(start=lambda a, s: a[0] > a[-1], end=nothing),
    "times before 1": but(lambda: torch.arange(0, 1, 0.01)),
    "three times": but(lambda: torch.tensor([0.0, 0.5, 1.0])),
    "floats": with_floats,
    "prints": printing,
    "ValueError": but(error=ValueError),
    "the mean": but(variance=lambda a, s: abs((a**2 + s**2).mean() - 1) < 1e-3),
    "positive": but(sign=lambda a, s: (a > 0).all() and (s > 0).all()),
    "any": but(variance=lambda a, s: (miss(a, s) < 1e-3).any()),
    "swallows": swallowing,
    "no abs": but(variance=lambda a, s: (a**2 + s**2 - 1 < 1e-3).all()),
    "rises": but(falls=lambda a, s: (a[1:] >= a[:-1] - 1e-3).all()),
    "whole tensors": of_whole_tensors,
    "roots": but(variance=lambda a, s: ((a.sqrt() + s.sqrt() - 1).abs() < 1e-3).all()),
}


NAMED = {
    "E2.1": {
        "beta, not its root, for the noise": ("variance for standard deviation",),
        "** 1/2": ("** 1/2 is a half of it: a root is ** 0.5",),
        "lerp by sqrt(beta)": ("1 - sqrt(beta) instead of sqrt(1 - beta)",),
        "lerp by beta": ("no roots at all: 1 - beta and beta",),
        "the noise gets 1 - sqrt(1 - beta)": (
            "1 - sqrt(1 - beta) for the noise: it is the squares of the two factors that add up to 1",
        ),
        "a root of the noise": ("the root is taken of the noise, too: only beta has one",),
        "a root of the sum": ("one root of the whole sum: each factor has its own",),
        "a root of the squares": ("the root of a sum of squares: that loses the signs",),
        "one noise for all": ("one `noise`, the first, for all",),
        "noise standardised": ("the noise is standardised: it is N(0, I) already",),
        "beta = 1 returns x": ("x is returned for beta = 1, where all is noise",),
        "a rate beta": ("exp(-beta) for sqrt(1 - beta)",),
        "squares": ("squares where roots belong",),
        "noise - x": ("sqrt(beta) (noise - x): x is shrunk twice",),
        "1 - beta^2": ("1 - beta^2 for 1 - beta",),
        "no root for large betas": ("`x` has the wrong factor",),
        "result standardised": ("the result is divided by its standard deviation",),
        "x is not shrunk": ("x is not shrunk",),
        "only the mean": ("the noise is forgotten",),
    },
    "E2.2": {
        "cumprod of betas": ("1 minus the product of the betas instead of the product of 1 - beta",),
        "cumprod[k], clamped": ("off by one: betas[0] is beta_1, so alpha_bar_k has k factors",),
        "cumprod[k]": ("off by one: betas[0] is beta_1, so alpha_bar_k has k factors",),
        "cumprod[k - 1]": ("k = 0 reads the last alpha_bar: put a one in front",),
        "no trailing axes": ("alpha_bar meets the last axis of x0, not its first: give it trailing axes",),
        "view(-1, 1)": ("alpha_bar.view(-1, 1): that is for points alone, x0 has any shape",),
        "view(-1, 1, 1, 1)": ("alpha_bar.view(-1, 1, 1, 1): that is for images alone, x0 has any shape",),
        "axes in front": ("alpha_bar meets the last axis of x0, not its first: give it trailing axes",),
        "walks with the same noise": ("the same noise in every step: the steps of a walk have noise of their own",),
        "to the largest k": ("one `k`, the largest, for all",),
        "the last beta for the noise": ("the noise of the last step alone: the earlier ones left some, too",),
        "the sum of betas for the noise": ("the betas add up under the noise's root: earlier noise shrinks, too",),
        "the noise of T": ("the noise of k = T for every k",),
        "zero in front": ("alpha_bar_0 is 0: an empty product is 1",),
        "any k = 0 returns x0": ("one k of 0 leaves the whole batch as it is",),
        "(1 - mean)^k": ("the mean of `betas` for all",),
        "(1 - beta_1)^k": ("(1 - beta_1)^k: every step has its own beta",),
        "(1 - beta_k)^k": ("(1 - beta_k)^k: every step has its own beta",),
        "betas[k - 1] alone": ("betas[k - 1] alone: alpha_bar is a product, and k = 0 reads the last",),
        "the last k betas": ("`betas` is in the opposite order",),
        "k - 1, clamped": ("one factor too few: alpha_bar_k has k factors",),
        "1 - sqrt(bar)": ("1 - sqrt(alpha_bar) instead of sqrt(1 - alpha_bar)",),
        "no roots": ("variance for standard deviation",),
        "no root for the noise": ("the noise's variance for its standard deviation",),
        "a product of roots, rooted again": ("sigma = sqrt(1 - alpha): alpha is not squared",),
    },
    "E2.3": {
        "exp overflows": ("the exponential overflows: infinity / infinity is NaN",),
        "sigma from 1 - alpha^2": ("sigma = sqrt(1 - alpha^2) has no digits left at high log-SNR",),
        "alpha from 1 - sigma^2": ("alpha = sqrt(1 - sigma^2) has no digits left at low log-SNR",),
        "sigma from 1 - alpha": ("sigma = sqrt(1 - alpha): alpha is not squared",),
        "sigmoid of half": ("sigmoid(log_snr / 2): alpha + sigma is 1, not the sum of their squares",),
        "exp(log_snr / 2) sigma": ("alpha = exp(log_snr / 2) sigma: a sigma of 0 gives an alpha of 0",),
        "swapped": ("alpha and sigma are swapped",),
        "clamped at 10": ("the log-SNR is cut off at -10 and 10",),
        "clamped at 30": ("the log-SNR is cut off at -30 and 30",),
        "clamped at 60": ("the log-SNR is cut off at -60 and 60",),
        "the denominator without its root": ("the denominators have no root",),
        "an angle": ("cos and sin of an angle have no digits left at the ends",),
        "tanh": ("(1 + tanh(log_snr / 2)) / 2 has no digits left at the ends",),
        "sigma^2": ("sigma^2 is returned for sigma",),
        "squares": ("returns alpha^2 and sigma^2",),
        "the SNR": ("the log-SNR is taken for the SNR: exp is missing",),
        "log(alpha / sigma)": ("log(alpha / sigma): the squares are forgotten",),
        "sigma is 1": ("exp(log_snr / 2) is alpha / sigma, not alpha: sigma is not 1",),
        "an epsilon under the root": ("1e-08 is added under sigma's root: that is more than sigma^2 where it counts",),
        "alpha^2 clamped": ("alpha^2 is cut off at 1e-06 and 1 - 1e-06",),
        "softmax over the batch": ("a softmax over the batch: each log-SNR has an alpha of its own",),
        "sigma = exp(-log_snr / 2)": ("sigma = exp(-log_snr / 2): that is sigma / alpha",),
        "alpha from that sigma": ("sigma = exp(-log_snr / 2): that is sigma / alpha; and alpha from it",),
        "roots of roots": ("a root too many",),
    },
}
