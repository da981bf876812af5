"""Checks of notebook 04: what a network may predict, the steps back to data, and the pieces of a U-Net."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import (
    Exercise,
    Wrong,
    agree,
    expect,
    generator,
    must,
    picture,
    run_against,
    same_form,
    varied,
)
from cs348k_diffusion.exercises.framework.difference import agrees
from cs348k_diffusion.schedule import cosine, exploding, linear_beta, straight

EXERCISES = (
    Exercise(
        "E4.1",
        "x0_and_eps",
        "One velocity, two guesses",
        gives="x0: tensor, eps: tensor",
        hints=(
            "Two equations, two unknowns: x = alpha x0 + sigma eps and v = alpha eps - sigma x0. Multiply the first by "
            "alpha and the second by sigma, and subtract.",
            "(x, v) is (x0, eps) turned by an angle. Which matrix turns it back?",
            "alpha x - sigma v: put in both equations, and eps drops out. What is left, with alpha^2 + sigma^2 = 1?",
        ),
        withheld=("denoiser.x0_from_v", "denoiser.eps_from_x0", "denoiser.NetDenoiser"),
    ),
    Exercise(
        "E4.2",
        "ancestral_step",
        "The ancestral step",
        gives="x_s: tensor",
        hints=(
            "Which two Gaussians in x_s does the text multiply? Name their means m1, m2 and variances v1, v2.",
            "m1 = alpha_s x0_hat, v1 = sigma_s^2, m2 = x_t / r, v2 = b^2 / r^2. Each mean is weighed by the variance "
            "of the other. Put in v1 + v2 = sigma_t^2 / r^2: then nothing divides by r, which is 0 at t = 1.",
            "variance = b^2 sigma_s^2 / sigma_t^2, which is 0 at s = 0; x0_hat's weight in the mean is "
            "alpha_s b^2 / sigma_t^2. What is x_t's? The noise is multiplied by a standard deviation.",
        ),
        withheld=(
            "sampling.step",
            "sampling.ancestral",
            "sampling.ancestral_step",
            "sampling.ddpm",
            "sampling.ddim",
            "sampling.sample",
            "forward.forward_kernel",
        ),
        ours="sampling.ancestral_step",
    ),
    Exercise(
        "E4.3",
        "ddim_step",
        "The DDIM step",
        gives="x_s: tensor",
        hints=(
            "x_t and x0_hat together name the noise: solve x_t = alpha_t x0_hat + sigma_t eps_hat for eps_hat.",
            "Put the same two, x0_hat and eps_hat, together again, as the forward process would at time s.",
            "eps_hat = (x_t - alpha_t * x0_hat) / sigma_t. Nothing divides by alpha_t, which may be 0.",
        ),
        withheld=(
            "sampling.step",
            "sampling.ddim_step",
            "sampling.ddim",
            "sampling.ddpm",
            "sampling.sample",
            "denoiser.eps_from_x0",
        ),
        ours="sampling.ddim_step",
    ),
    Exercise(
        "E4.4",
        "time_embedding",
        "The time embedding",
        gives="the rows: tensor",
        hints=(
            "Which width / 2 numbers from 1 to 1000 have one ratio between neighbours?",
            "First the frequencies: torch.linspace of exponents 0 to 1, and 1000 to that power. Then all products of a "
            "time and a frequency.",
            "angles = t[:, None] * frequencies has shape (batch, width / 2); the result has twice as many columns.",
        ),
        withheld=("nets.embed.sinusoids", "nets.embed.TimeAndLabel"),
        ours="nets.embed.sinusoids",
    ),
    Exercise(
        "E4.5",
        "ResBlock",
        "The residual block",
        hints=(
            "Read the docstring's formula from the inside out, one layer a line. What comes first?",
            "The embedding enters through film, after the second norm and before the second silu. In __init__, zero "
            "the weight and the bias of conv_out.",
            "The first half is r = self.conv_in(F.silu(self.norm_in(h))); the second half begins with self.norm_out.",
        ),
        withheld=("nets.unet.ResidualBlock", "nets.unet.UNet"),
        ours="nets.unet.ResidualBlock",
        seconds=20,
    ),
    Exercise(
        "E4.6",
        "test_step",
        "A property test for a step",
        hints=(
            "What is the answer when s = t? And when s = 0? Both are known without any formula.",
            "A third one: with the same x0_hat, a step from t to a time between and another from there to s must land "
            "where one step from t to s lands.",
            "Draw x_t and x0_hat with torch.randn, and compare with torch.testing.assert_close(..., rtol=1e-3, "
            "atol=1e-4); try times below 1, where nothing cancels.",
        ),
    ),
)

SCHEDULES = (cosine(), linear_beta(100), straight())


# E4.1

CIRCLE = [(math.cos(angle), math.sin(angle)) for angle in (0.3, 1.2, 0.8, 1.4)] + [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)]


def velocities(seed):
    """(x, v, alpha, sigma) of clean images and noise of many shapes, at both ends of the circle and between them."""
    for case, (alpha, sigma) in zip(varied(seed=seed), CIRCLE):
        x0, eps = case.normal(), case.normal()
        yield alpha * x0 + sigma * eps, alpha * eps - sigma * x0, alpha, sigma


def turned_back(x, v, alpha, sigma):
    """x + i v is (x0 + i eps) turned by minus the angle of alpha + i sigma; in complex128."""
    z = torch.complex(x.double(), v.double()) * complex(alpha, sigma)
    return z.real.to(x.dtype), z.imag.to(x.dtype)


def over(value, divisor):
    """value / divisor, where a divisor of 0 gives what tensors give."""
    return value / torch.tensor(divisor, dtype=value.dtype)


X0_MISTAKES = {
    "x0: the sign of v": lambda x, v, a, s: a * x + s * v,
    "x0: sigma is taken for a variance and squared": lambda x, v, a, s: a * x - s**2 * v,
    "x0: alpha is taken for a variance and squared": lambda x, v, a, s: a**2 * x - s * v,
    "x0: the sign of x": lambda x, v, a, s: -a * x - s * v,
    "x0: both signs": lambda x, v, a, s: s * v - a * x,
    "x0: alpha and sigma are swapped": lambda x, v, a, s: s * x - a * v,
    "x0 and eps are returned in the wrong order": lambda x, v, a, s: s * x + a * v,
    "x0: divides by alpha, as for eps-prediction: v is no noise, and alpha may be 0": lambda x, v, a, s: over(
        x - s * v, a
    ),
    "x0: divides by alpha, which may be 0": lambda x, v, a, s: over(x - s * (s * x + a * v), a),
    "x0: divides by sigma, which may be 0": lambda x, v, a, s: over(a * (s * x + a * v) - v, s),
    "x0 holds what eps should be, with the sign of x wrong": lambda x, v, a, s: a * v - s * x,
    "x0: half of it": lambda x, v, a, s: (a * x - s * v) / 2,
    "x0: clipped to [-1, 1]": lambda x, v, a, s: (a * x - s * v).clamp(-1, 1),
    "x0: sigma is not 1 - alpha; both are given": lambda x, v, a, s: a * x - (1 - a) * v,
    "x0: the square root of alpha, which is a root already": lambda x, v, a, s: a**0.5 * x - s * v,
    "x0: divided by alpha + sigma": lambda x, v, a, s: (a * x - s * v) / (a + s),
    "x0: alpha is missing": lambda x, v, a, s: x - s * v,
    "x0: sigma is missing": lambda x, v, a, s: a * x - v,
    "x0: alpha and sigma are roots already: they are squared": lambda x, v, a, s: a**2 * x - s**2 * v,
    "x0: roots are taken of what are roots already": lambda x, v, a, s: a**0.5 * x - s**0.5 * v,
    "x0: x is returned as it is": lambda x, v, a, s: x,
    "x0: v in the place of the noise, and not divided by alpha": lambda x, v, a, s: a * (x - s * v),
}
EPS_MISTAKES = {
    "eps: the sign of v": lambda x, v, a, s: s * x - a * v,
    "eps: the sign of x": lambda x, v, a, s: a * v - s * x,
    "eps: alpha and sigma are swapped": lambda x, v, a, s: a * x + s * v,
    "x0 and eps are returned in the wrong order": lambda x, v, a, s: a * x - s * v,
    "v is returned as if it were eps": lambda x, v, a, s: v,
    "eps: divides by sigma, which is 0 at the data": lambda x, v, a, s: over(x - a * (a * x - s * v), s),
    "eps: divides by alpha, which may be 0": lambda x, v, a, s: over(v + s * (a * x - s * v), a),
    "eps: half of it": lambda x, v, a, s: (s * x + a * v) / 2,
    "eps: sigma is not 1 - alpha; both are given": lambda x, v, a, s: (1 - a) * x + a * v,
    "eps: the square root of alpha, which is a root already": lambda x, v, a, s: s * x + a**0.5 * v,
    "eps: divided by alpha + sigma": lambda x, v, a, s: (s * x + a * v) / (a + s),
    "eps: both signs": lambda x, v, a, s: -s * x - a * v,
    "eps: alpha is missing": lambda x, v, a, s: s * x + v,
    "eps: sigma is missing": lambda x, v, a, s: x + a * v,
    "eps: alpha and sigma are roots already: they are squared": lambda x, v, a, s: s**2 * x + a**2 * v,
    "eps: x is taken for x0, as in v = alpha eps - sigma x0": lambda x, v, a, s: over(v + s * x, a),
    "eps: roots are taken of what are roots already": lambda x, v, a, s: s**0.5 * x + a**0.5 * v,
    "eps: v is taken for x0, as in x = alpha x0 + sigma eps": lambda x, v, a, s: over(x - a * v, s),
    "eps: x is returned as it is": lambda x, v, a, s: x,
}


def in_both(value):
    """The slips that spoil x0 and eps alike, by one name, as they show in value 0 or 1 of the answer."""
    also = {name.removeprefix("eps: "): wrong for name, wrong in EPS_MISTAKES.items() if name.startswith("eps: ")}
    pairs = {
        f"{name}, for x0 and for eps": (wrong, also[name])
        for said, wrong in X0_MISTAKES.items()
        if (name := said.removeprefix("x0: ")) in also
    }
    pairs["divides by alpha, as for eps-prediction: v is taken for the noise, and alpha may be 0"] = (
        lambda x, v, a, s: over(x - s * v, a),
        lambda x, v, a, s: v,
    )
    pairs["x and v are returned as they are"] = lambda x, v, a, s: x, lambda x, v, a, s: v
    return {name: pair[value] for name, pair in pairs.items()}


@pytest.mark.exercise("E4.1", points=1)
def test_gives_back_the_clean_image(x0_and_eps):
    agree(
        lambda *given: x0_and_eps(*given)[0],
        lambda x, v, alpha, sigma: turned_back(x, v, alpha, sigma)[0],
        velocities(41),
        says="x0 must come back from x and v, also where alpha or sigma is 0.",
        mistakes=X0_MISTAKES | in_both(0),
    )


@pytest.mark.exercise("E4.1", points=1)
def test_gives_back_the_noise(x0_and_eps):
    agree(
        lambda *given: x0_and_eps(*given)[1],
        lambda x, v, alpha, sigma: turned_back(x, v, alpha, sigma)[1],
        velocities(42),
        says="eps must come back from x and v, also where alpha or sigma is 0.",
        mistakes=EPS_MISTAKES | in_both(1),
    )


# E4.2

MOVES = ((0.8, 0.6), (0.35, 0.3), (0.05, 0.02), (0.9, 0.2))
TENSORS = ((4, 2), (1, 3), (2, 1, 3, 4), (4,), (1, 1, 1, 1))


def moves(schedules, pairs, seed, tensors=2) -> Iterator[Any]:
    """(schedule, x_t, x0_hat, t, s[, noise]) of many shapes; each pair of times meets each schedule."""
    cases = [*varied(TENSORS, seed=seed)]
    count = 0
    for t, s in pairs:
        for schedule in schedules:
            case = cases[count % len(cases)]
            given = [case.normal() for _ in range(tensors)]
            count += 1
            yield schedule, *given[:2], t, s, *given[2:]


def sizes(schedule, like, t, s):
    """alpha_t, sigma_t, alpha_s, sigma_s, shaped to multiply, in float64."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, like.double()), schedule(s, like.double())
    return alpha_t, sigma_t, alpha_s, sigma_s


def posterior(schedule, x_t, x0_hat, t, s):
    """Mean and variance of x_s by Bayes' rule on precisions: the prior N(alpha_s x0, sigma_s^2) meets the step to t."""
    alpha_t, sigma_t, alpha_s, sigma_s = sizes(schedule, x_t, t, s)
    if s == 0:
        return x0_hat.double(), torch.zeros_like(sigma_s)
    keep = alpha_t / alpha_s
    b2 = sigma_t**2 - keep**2 * sigma_s**2  # the variance that the step from s to t adds
    precision = 1 / sigma_s**2 + keep**2 / b2
    return (alpha_s * x0_hat / sigma_s**2 + keep * x_t / b2) / precision, 1 / precision


def right_ancestral(schedule, x_t, x0_hat, t, s, noise):
    """The posterior's mean plus its standard deviation times the noise."""
    mean, variance = posterior(schedule, x_t, x0_hat, t, s)
    return (mean + variance.sqrt() * noise).to(x_t.dtype)


def ancestral(formula):
    """A wrong step: formula(x_t, x0_hat, noise, alpha_t, sigma_t, alpha_s, sigma_s, keep^2, b2), in float64."""

    def step(schedule, x_t, x0_hat, t, s, noise):
        at, st, as_, ss = sizes(schedule, x_t, t, s)
        keep2 = (at / as_) ** 2
        b2 = st**2 - keep2 * ss**2
        return formula(x_t.double(), x0_hat.double(), noise.double(), at, st, as_, ss, keep2, b2).to(x_t.dtype)

    return step


def mean_of(x, x0, at, st, as_, ss, keep2, b2):
    """The mean that a formula with another b2 or keep^2 gives."""
    return (as_ * b2 * x0 + keep2.sqrt() * ss**2 * x) / st**2


ONLY_VP = "b2 = 1 - (alpha_t / alpha_s)^2 holds only where alpha^2 + sigma^2 = 1"
ONLY_VP_MEAN = "the paper's mean with beta = 1 - (alpha_t / alpha_s)^2 holds only where alpha^2 + sigma^2 = 1"
FORWARD = "the variance of the step from s to t (beta) instead of the posterior's"
NOISED_ON = "one more step of the forward process: towards more noise"
X_T_ALONE = "x0_hat is not used: x_t alone"
AND_QUIET = "all the noise is kept and none is added: that is DDIM"
ANEW = "x0_hat is noised anew to the level of s: x_t is forgotten"
MEAN_MISTAKES = {
    name: ancestral(formula)
    for name, formula in {
        "all the noise is kept: that is DDIM": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            as_ * x0 + ss * (x - at * x0) / st
        ),
        AND_QUIET: lambda x, x0, z, at, st, as_, ss, k2, b2: as_ * x0 + ss * (x - at * x0) / st,
        "x_t is forgotten: the mean is not alpha_s x0_hat": lambda x, x0, z, at, st, as_, ss, k2, b2: as_ * x0,
        "returns x0_hat": lambda x, x0, z, at, st, as_, ss, k2, b2: x0,
        "returns x_t unchanged": lambda x, x0, z, at, st, as_, ss, k2, b2: x,
        "t and s are swapped": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0, as_, ss, at, st, 1 / k2, ss**2 - st**2 / k2
        ),
        "x_t and x0_hat are swapped": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(x0, x, at, st, as_, ss, k2, b2),
        "alpha_s is missing before x0_hat": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0 / as_, at, st, as_, ss, k2, b2
        ),
        "alpha_t / alpha_s is missing before x_t": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + ss**2 * x) / st**2
        ),
        "alpha_t / alpha_s is squared before x_t": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + k2 * ss**2 * x) / st**2
        ),
        "alpha_t stands where alpha_t / alpha_s belongs": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0, at, st, as_, ss, at**2, st**2 - at**2 * ss**2
        ),
        "alpha_t stands where alpha_s belongs": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (at * b2 * x0 + k2.sqrt() * ss**2 * x) / st**2
        ),
        "b2 without (alpha_t / alpha_s)^2: sigma_t^2 - sigma_s^2": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0, at, st, as_, ss, k2, st**2 - ss**2
        ),
        "b2 with alpha_t / alpha_s not squared": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0, at, st, as_, ss, k2, st**2 - k2.sqrt() * ss**2
        ),
        ONLY_VP: lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(x, x0, at, st, as_, ss, k2, 1 - k2),
        ONLY_VP_MEAN: lambda x, x0, z, at, st, as_, ss, k2, b2: (x - (1 - k2) * (x - at * x0) / st**2) / k2.sqrt(),
        "alpha_t stands where alpha_t / alpha_s belongs, before x_t": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + at * ss**2 * x) / st**2
        ),
        "alpha_s is squared before x0_hat": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_**2 * b2 * x0 + k2.sqrt() * ss**2 * x) / st**2
        ),
        "the root of b2 before x0_hat": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2.sqrt() * x0 + k2.sqrt() * ss**2 * x) / st**2
        ),
        "the sign before x_t": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 - k2.sqrt() * ss**2 * x) / st**2
        ),
        "alpha_t / alpha_s is upside down before x_t": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + ss**2 * x / k2.sqrt()) / st**2
        ),
        "divided by b2 + sigma_s^2, which is not sigma_t^2": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + k2.sqrt() * ss**2 * x) / (b2 + ss**2)
        ),
        NOISED_ON: lambda x, x0, z, at, st, as_, ss, k2, b2: k2.sqrt() * x,
        X_T_ALONE: lambda x, x0, z, at, st, as_, ss, k2, b2: x / k2.sqrt(),
        ANEW: lambda x, x0, z, at, st, as_, ss, k2, b2: as_ * x0,
        "x0_hat is clipped: leave that to the denoiser": lambda x, x0, z, at, st, as_, ss, k2, b2: mean_of(
            x, x0.clamp(-1, 1), at, st, as_, ss, k2, b2
        ),
        "not divided by sigma_t^2": lambda x, x0, z, at, st, as_, ss, k2, b2: as_ * b2 * x0 + k2.sqrt() * ss**2 * x,
        "divided by sigma_t, not by its square": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + k2.sqrt() * ss**2 * x) / st
        ),
        "sigma_s is not squared": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * b2 * x0 + k2.sqrt() * ss * x) / st**2
        ),
        "uniform weights: the mean of the two guesses": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (as_ * x0 + x / k2.sqrt()) / 2
        ),
    }.items()
}
NOISE_MISTAKES = {
    name: ancestral(formula)
    for name, formula in {
        "variance for standard deviation": lambda x, x0, z, at, st, as_, ss, k2, b2: b2 * ss**2 / st**2 * z,
        FORWARD: lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * z,
        NOISED_ON: lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * z,
        X_T_ALONE: lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * z,
        ANEW: lambda x, x0, z, at, st, as_, ss, k2, b2: ss * z,
        "no noise is added": lambda x, x0, z, at, st, as_, ss, k2, b2: 0 * z,
        "all of the noise at s is drawn anew": lambda x, x0, z, at, st, as_, ss, k2, b2: ss * z,
        "the noise has the wrong sign": lambda x, x0, z, at, st, as_, ss, k2, b2: -b2.sqrt() * ss / st * z,
        "twice the standard deviation": lambda x, x0, z, at, st, as_, ss, k2, b2: 2 * b2.sqrt() * ss / st * z,
        "half the standard deviation": lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * ss / st * z / 2,
        "b2 + sigma_s^2 is not sigma_t^2": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (b2 * ss**2 / (b2 + ss**2)).sqrt() * z
        ),
        "noise of variance 1": lambda x, x0, z, at, st, as_, ss, k2, b2: z,
        "b2 without (alpha_t / alpha_s)^2: sigma_t^2 - sigma_s^2": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (st**2 - ss**2).sqrt() * ss / st * z
        ),
        "b2 with alpha_t / alpha_s not squared": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (st**2 - k2.sqrt() * ss**2).sqrt() * ss / st * z
        ),
        ONLY_VP: lambda x, x0, z, at, st, as_, ss, k2, b2: (1 - k2).sqrt() * ss / st * z,
        "alpha_t stands where alpha_t / alpha_s belongs": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (st**2 - at**2 * ss**2).sqrt() * ss / st * z
        ),
        "not divided by sigma_t": lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * ss * z,
        "not multiplied by sigma_s": lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() / st * z,
        "sigma_s and sigma_t are not squared under the root": lambda x, x0, z, at, st, as_, ss, k2, b2: (
            (b2 * ss / st).sqrt() * z
        ),
        "sigma_s and sigma_t are swapped": lambda x, x0, z, at, st, as_, ss, k2, b2: b2.sqrt() * st / ss * z,
        "the root is missing over b2": lambda x, x0, z, at, st, as_, ss, k2, b2: b2 * ss / st * z,
    }.items()
}


NOISELESS = (AND_QUIET, "returns x0_hat", "returns x_t unchanged")
SWAPPED = "t and s are swapped"  # at s = 0 its formula has no numbers, so that nothing can be compared with it


def still(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a step, with noise 0."""
    return *given[:-1], torch.zeros_like(given[-1])


def noise_part(step):
    """What the noise adds: the step with it less the step without it."""
    return lambda *given: step(*given) - step(*still(given))


def whole(name):
    """A slip as a whole step, with its mean and its noise; what it does not spoil is right."""

    def step(*given):
        mean = MEAN_MISTAKES.get(name, right_ancestral)(*still(given))
        right = right_ancestral(*given) - right_ancestral(*still(given))
        noise = NOISE_MISTAKES[name](*given) if name in NOISE_MISTAKES else right
        return mean if name in NOISELESS else mean + noise

    return step


def noiseless(name, step):
    """No noise, as part of a mistake that has none: ValueError where the mean of `step` is not that mistake's."""

    def answer(*given):
        if not agrees(step(*still(given)), MEAN_MISTAKES[name](*still(given)), 1e-4, 3e-5):
            raise ValueError("another mean")
        return torch.zeros_like(given[1])

    return answer


@pytest.mark.exercise("E4.2", points=2)
def test_has_the_mean_of_the_posterior(ancestral_step):
    inputs = [(*given, torch.zeros_like(given[1])) for given in moves(SCHEDULES, MOVES, 43)]
    agree(
        ancestral_step,
        right_ancestral,
        inputs,
        says="Without noise, land on the mean of q(x_s | x_t, x0).",
        mistakes=MEAN_MISTAKES,
        rtol=1e-4,
        atol=3e-5,
    )


@pytest.mark.exercise("E4.2", points=2)
def test_has_the_variance_of_the_posterior(ancestral_step):
    def added(schedule, x_t, x0_hat, t, s, noise):
        return (posterior(schedule, x_t, x0_hat, t, s)[1].sqrt() * noise).to(x_t.dtype)

    agree(
        noise_part(ancestral_step),
        added,
        moves(SCHEDULES, MOVES, 44, tensors=3),
        says="The noise must have the posterior's standard deviation.",
        mistakes=NOISE_MISTAKES | {name: noiseless(name, ancestral_step) for name in NOISELESS},
        rtol=1e-3,
        atol=3e-5,
    )


ENDS = ((0.2, 0.0), (1.0, 0.0), (1.0, 0.9))


@pytest.mark.exercise("E4.2", points=1)
def test_holds_at_both_ends(ancestral_step):
    def nan_where(bad):
        def step(schedule, x_t, x0_hat, t, s, noise):
            right = right_ancestral(schedule, x_t, x0_hat, t, s, noise)
            return torch.where(bad(*sizes(schedule, x_t, t, s)), torch.nan, right)

        return step

    try:
        agree(
            lambda *given: noise_part(ancestral_step)(*given).nan_to_num(0.0, 0.0, 0.0),  # NaN is told below
            lambda *given: torch.zeros_like(given[1]),
            moves(SCHEDULES, ENDS[:2], 45, tensors=3),
            says="The noise must not count at s = 0.",
            mistakes=NOISE_MISTAKES,
            atol=1e-3,
        )
    except Wrong as error:
        names = [name for name in error.names if name in NOISE_MISTAKES]
        raise Wrong(error.says, error.problem, names or ["noise is added at the last step"]) from None
    agree(
        ancestral_step,
        right_ancestral,
        moves(SCHEDULES, ENDS, 45, tensors=3),
        says="The step to s = 0 must land on x0_hat, without noise; at t = 1 the cosine schedule has no signal left.",
        mistakes={
            "divides by alpha_t, which is 0 at t = 1": nan_where(lambda at, st, as_, ss: at.abs() < 1e-7),
            "0/0 at s = 0, because something is divided by sigma_s: multiply it out": nan_where(
                lambda at, st, as_, ss: ss == 0
            ),
        }
        | {name: whole(name) for name in (*MEAN_MISTAKES, *NOISE_MISTAKES) if name != SWAPPED},
        atol=1e-4,
        rtol=1e-3,
    )


# E4.3


def right_ddim(schedule, x_t, x0_hat, t, s):
    """The same two numbers, x0_hat and the noise, put together at s; in float64."""
    alpha_t, sigma_t, alpha_s, sigma_s = sizes(schedule, x_t, t, s)
    share = sigma_s / sigma_t
    return (share * x_t + (alpha_s - share * alpha_t) * x0_hat).to(x_t.dtype)


def ddim(formula):
    """A wrong step: formula(x0_hat, eps_hat, x_t, alpha_t, sigma_t, alpha_s, sigma_s), in float64."""

    def step(schedule, x_t, x0_hat, t, s):
        at, st, as_, ss = sizes(schedule, x_t, t, s)
        x, x0 = x_t.double(), x0_hat.double()
        return formula(x0, (x - at * x0) / st, x, at, st, as_, ss).to(x_t.dtype)

    return step


DDIM_MISTAKES = {
    name: ddim(formula)
    for name, formula in {
        "sigma_t where sigma_s belongs": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + st * eps,
        "alpha_t where alpha_s belongs": lambda x0, eps, x, at, st, as_, ss: at * x0 + ss * eps,
        "x_t is used as the noise": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * x,
        "the noise is dropped": lambda x0, eps, x, at, st, as_, ss: as_ * x0,
        "the noise has the wrong sign": lambda x0, eps, x, at, st, as_, ss: as_ * x0 - ss * eps,
        "the noise is not divided by sigma_t": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * st * eps,
        "the noise is divided by sigma_t^2": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * eps / st,
        "the noise is divided by alpha_t instead of sigma_t": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * (x - at * x0) / torch.where(at.abs() < 1e-7, 0.0, at)
        ),
        "x0_hat is not scaled by alpha_t when the noise is read": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * (x - x0) / st
        ),
        "x0_hat is not scaled by alpha_s": lambda x0, eps, x, at, st, as_, ss: x0 + ss * eps,
        "the noise is not scaled by sigma_s": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + eps,
        "sigma_s^2 where sigma_s belongs": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss**2 * eps,
        "alpha_s and sigma_s are swapped": lambda x0, eps, x, at, st, as_, ss: ss * x0 + as_ * eps,
        "alpha_t and sigma_t are swapped where the noise is read": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * (x - st * x0) / torch.where(at.abs() < 1e-7, 0.0, at)
        ),
        "sqrt(1 - alpha_s^2) is sigma_s only where alpha^2 + sigma^2 = 1": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + (1 - as_**2).clamp(min=0).sqrt() * eps
        ),
        "sqrt(1 - alpha^2) is sigma only where alpha^2 + sigma^2 = 1": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + (1 - as_**2).clamp(min=0).sqrt() * (x - at * x0) / (1 - at**2).clamp(min=0).sqrt()
        ),
        "returns x0_hat": lambda x0, eps, x, at, st, as_, ss: x0,
        "returns x_t unchanged": lambda x0, eps, x, at, st, as_, ss: x,
        "x_t is added: x_s is made anew, not a change": lambda x0, eps, x, at, st, as_, ss: x + as_ * x0 + ss * eps,
        "x_t is not divided by sigma_t: brackets are missing": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * (x - at * x0 / st)
        ),
        "alpha_t is squared where the noise is read": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * (x - at**2 * x0) / st
        ),
        "a root is taken of alpha_s, which is a root already": lambda x0, eps, x, at, st, as_, ss: (
            as_.sqrt() * x0 + ss * eps
        ),
        "roots are taken of alpha_s and sigma_s, which are roots already": lambda x0, eps, x, at, st, as_, ss: (
            as_.sqrt() * x0 + ss.sqrt() * eps
        ),
        "1 - alpha_s is not sigma_s": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + (1 - as_) * eps,
        "x_t is scaled by sigma_s / sigma_t, x0_hat is forgotten": lambda x0, eps, x, at, st, as_, ss: ss / st * x,
        "a line from x_t to x0_hat by sigma_s / sigma_t, without alpha": lambda x0, eps, x, at, st, as_, ss: (
            x0 + (x - x0) * ss / st
        ),
        "clipped to [-1, 1]": lambda x0, eps, x, at, st, as_, ss: (as_ * x0 + ss * eps).clamp(-1, 1),
        "x0_hat is clipped after the noise was read": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0.clamp(-1, 1) + ss * eps
        ),
        "one noise for the whole batch, its mean": lambda x0, eps, x, at, st, as_, ss: (
            as_ * x0 + ss * eps.mean(0, keepdim=True)
        ),
        "x_t stands where x0_hat belongs": lambda x0, eps, x, at, st, as_, ss: as_ * x + ss * eps,
        "returns x_t at s = 0": lambda x0, eps, x, at, st, as_, ss: torch.where(ss == 0, x, as_ * x0 + ss * eps),
        "only the noise is returned": lambda x0, eps, x, at, st, as_, ss: ss * eps,
        "returns eps_hat": lambda x0, eps, x, at, st, as_, ss: eps,
        "the change is returned, not x_s": lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * eps - x,
        "divides by alpha_t, which is 0 at t = 1": lambda x0, eps, x, at, st, as_, ss: torch.where(
            at.abs() < 1e-7, torch.nan, as_ * x0 + ss * eps
        ),
        "divides by sigma_s, which is 0 at s = 0": lambda x0, eps, x, at, st, as_, ss: torch.where(
            ss == 0, torch.nan, as_ * x0 + ss * eps
        ),
    }.items()
} | {
    "t and s are swapped": lambda schedule, x_t, x0_hat, t, s: right_ddim(schedule, x_t, x0_hat, s, t),
    "a straight line from x_t to x0_hat, which fits no other schedule": lambda schedule, x_t, x0_hat, t, s: (
        s / t * x_t + (1 - s / t) * x0_hat
    ),
}


@pytest.mark.exercise("E4.3", points=2)
def test_keeps_the_noise_it_read(ddim_step):
    agree(
        ddim_step,
        right_ddim,
        moves((*SCHEDULES, exploding(10.0)), (*MOVES, (1.0, 0.5), (0.6, 0.8), (0.5, 0.5), (0.1, 1.0)), 46),
        says="x_s must hold the same x0_hat and the same noise as x_t.",
        mistakes=DDIM_MISTAKES,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E4.3", points=1)
def test_lands_on_x0_hat_at_the_end(ddim_step):
    agree(
        ddim_step,
        lambda schedule, x_t, x0_hat, t, s: x0_hat,
        moves((*SCHEDULES, exploding(10.0)), ((1.0, 0.0), (0.4, 0.0)), 47),
        says="A step to s = 0 must land on x0_hat, from pure noise too.",
        mistakes=DDIM_MISTAKES,
        atol=1e-4,
        rtol=1e-4,
    )


# E4.4


def rows_of(frequencies, join=lambda sine, cosine: torch.cat([sine, cosine], 1)):
    """A whole answer from its frequencies(m) and how sines and cosines are put together, in float64."""

    def answer(t, width):
        angles = t.double()[:, None] * torch.as_tensor(frequencies(width // 2), dtype=torch.float64)
        return join(angles.sin(), angles.cos()).to(t.dtype)

    return answer


def slope(sine, cosine):
    """Tangents; ValueError where one is so steep that rounding decides."""
    if cosine.abs().min() < 1e-2:
        raise ValueError("too steep")
    return sine / cosine


def geometric(m):
    """1 to 1000, one ratio between neighbours."""
    return torch.tensor([1000.0 ** (k / (m - 1)) for k in range(m)], dtype=torch.float64)


RIGHT_ROWS = rows_of(geometric)
ROW_MISTAKES = {
    "cosines first": rows_of(geometric, lambda sine, cosine: torch.cat([cosine, sine], 1)),
    "sines and cosines take turns": rows_of(geometric, lambda sine, cosine: torch.stack([sine, cosine], 2).flatten(1)),
    "m instead of m - 1: the fastest frequency is not 1000": rows_of(lambda m: 1000 ** (torch.arange(m) / m)),
    "counted from 1: the slowest frequency is not 1": rows_of(lambda m: 1000 ** (torch.arange(1, m + 1) / m)),
    "frequencies evenly spaced instead of in geometric progression": rows_of(lambda m: torch.linspace(1, 1000, m)),
    "the frequencies run from 1 down to 1/1000": rows_of(lambda m: 1 / geometric(m)),
    "the frequencies run from 1000 down to 1": rows_of(lambda m: geometric(m).flip(0)),
    "the Transformer's 10000 instead of 1000": rows_of(lambda m: 10000 ** torch.linspace(0, 1, m).double()),
    "the Transformer's frequencies, from 1 down to 1/10000": rows_of(
        lambda m: 10000 ** -torch.linspace(0, 1, m).double()
    ),
    "powers of 2 instead of one ratio up to 1000": rows_of(lambda m: 2.0 ** torch.arange(m)),
    "powers of 10 whatever the width": rows_of(lambda m: 10.0 ** torch.arange(m)),
    "a factor of 2 pi too much": rows_of(lambda m: 2 * math.pi * geometric(m)),
    "a factor of pi too much": rows_of(lambda m: math.pi * geometric(m)),
    "exp of the exponents: e is not 1000": rows_of(lambda m: torch.linspace(0, 1, m).double().exp()),
    "the exponents are taken for the frequencies": rows_of(lambda m: torch.linspace(0, 1, m)),
    "the cosines have the wrong sign": rows_of(geometric, lambda sine, cosine: torch.cat([sine, -cosine], 1)),
    "evenly spaced from 0 to 1000": rows_of(lambda m: torch.linspace(0, 1000, m)),
    "100 instead of 1000": rows_of(lambda m: 100 ** torch.linspace(0, 1, m).double()),
    "sines and tangents": rows_of(geometric, lambda sine, cosine: torch.cat([sine, slope(sine, cosine)], 1)),
    "halved": rows_of(geometric, lambda sine, cosine: torch.cat([sine, cosine], 1) / 2),
    "times sqrt(2)": rows_of(geometric, lambda sine, cosine: torch.cat([sine, cosine], 1) * 2**0.5),
    "brought to length 1": rows_of(geometric, lambda sine, cosine: F.normalize(torch.cat([sine, cosine], 1))),
    "flattened to one axis": rows_of(geometric, lambda sine, cosine: torch.cat([sine, cosine], 1).flatten()),
    "the axes of length 1 are squeezed away": rows_of(
        geometric, lambda sine, cosine: torch.cat([sine, cosine], 1).squeeze()
    ),
    "the width is always 32": lambda t, width: RIGHT_ROWS(t, 32),
    "the sines of the angles plus pi are -sines, not cosines": rows_of(
        geometric, lambda sine, cosine: torch.cat([sine, -sine], 1)
    ),
    "the time is not used": lambda t, width: RIGHT_ROWS(torch.ones_like(t), width),
    "sines only": rows_of(geometric, lambda sine, cosine: torch.cat([sine, sine], 1)),
    "cosines only": rows_of(geometric, lambda sine, cosine: torch.cat([cosine, cosine], 1)),
    "sines alone, half as many columns": rows_of(geometric, lambda sine, cosine: sine),
    "put under each other: cat along dim 0 instead of dim 1": rows_of(
        geometric, lambda sine, cosine: torch.cat([sine, cosine], 0)
    ),
    "stacked instead of joined: one axis too many": rows_of(
        geometric, lambda sine, cosine: torch.stack([sine, cosine], 1)
    ),
    "stacked instead of joined: one axis too many, at the end": rows_of(
        geometric, lambda sine, cosine: torch.stack([sine, cosine], -1)
    ),
    "`width` frequencies instead of width / 2: twice as many columns": lambda t, width: RIGHT_ROWS(t, 2 * width),
    "added instead of joined": rows_of(geometric, lambda sine, cosine: sine + cosine),
    "the axes are swapped: (width, batch)": lambda t, width: RIGHT_ROWS(t, width).T,
    "t is counted in steps, 1000 t": lambda t, width: RIGHT_ROWS(1000 * t.double(), width).to(t.dtype),
}


@pytest.mark.exercise("E4.4", points=1)
def test_is_sines_then_cosines(time_embedding):
    times = torch.linspace(0, 1, 1001)[:500:8]
    rows = time_embedding(times, 32)
    if rows.shape == (63, 32) and rows.is_floating_point():
        picture(rows.T, RIGHT_ROWS(times, 32).T, "time runs to the right")
    inputs = [(torch.tensor([0.0, 0.001, 0.5, 1.0]), 8)]
    inputs += [
        (case.uniform(0, 1), width) for case, width in zip(varied(((3,), (1,), (7,), (2,)), seed=48), (32, 4, 6, 2 * 7))
    ]
    agree(
        time_embedding,
        RIGHT_ROWS,
        inputs,
        says="First all sines, then all cosines, of t times width / 2 frequencies from 1 to 1000; "
        "width = 8 means t, 10 t, 100 t and 1000 t.",
        mistakes=ROW_MISTAKES,
        atol=2e-3,
        rtol=1e-4,
    )


@pytest.mark.exercise("E4.4", points=1)
def test_tells_neighbouring_times_apart(time_embedding):
    (case,) = varied(((1000,),), seed=44)
    t = (torch.arange(1000) + case.number(0, 1)) / 1000
    rows = same_form(time_embedding(t, 32), torch.ones(1000, 32))
    expect(
        rows.square().sum(1),
        torch.full((1000,), 16.0),
        rtol=1e-3,
        atol=1e-3,
        says="sin^2 + cos^2 = 1 for each of the 16 frequencies.",
    )
    gap = (rows[1:] - rows[:-1]).square().sum(1).sqrt().min()
    # the fastest pair alone moves by 2 sin(0.5) = 0.96 between t and t + 1/1000
    must(gap > 0.9, f"Neighbouring times 1/1000 apart must differ: the closest two rows differ by only {gap:.2g}.")


# E4.5

ORDER = "norm_in silu conv_in norm_out film silu conv_out skip"


def block_by_hand(state, h, emb, order=ORDER, groups=8, act=F.silu, inner=F.silu, modulate=None):
    """The residual block's formula from the parameters alone; `order` lists what is applied to h, one after another."""

    def norm(x, name):
        return F.group_norm(x, groups, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x, name, padding):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def film(x):
        both = F.linear(inner(emb), state["film.linear.weight"], state["film.linear.bias"])[:, :, None, None]
        scale, shift = both.chunk(2, dim=1)
        return modulate(x, scale, shift) if modulate else x * (1 + scale) + shift

    skip = conv(h, "skip", 0) if "skip.weight" in state else h
    steps = {
        "silu": act, "film": film, "conv_in": lambda x: conv(x, "conv_in", 1),
        "conv_out": lambda x: conv(x, "conv_out", 1), "norm_in": lambda x: norm(x, "norm_in"),
        "norm_out": lambda x: norm(x, "norm_out"), "skip": lambda x: skip + x, "times": lambda x: skip * x,
        "minus": lambda x: skip - x, "half": lambda x: (skip + x) / 2**0.5, "again": lambda x: x + x,
        "only": lambda x: skip,
        "normed": lambda x: x + (conv(norm(h, "norm_in"), "skip", 0) if "skip.weight" in state else norm(h, "norm_in")),
    }  # fmt: skip
    x = h
    for name in order.split():
        x = steps[name](x)
    return x


def ordered(order, **named):
    """A whole wrong answer with another order of the same layers, or with other parts."""
    return lambda state, h, emb: block_by_hand(state, h, emb, order, **named)


BLOCK_MISTAKES = {
    "the embedding is not used": ordered("norm_in silu conv_in norm_out silu conv_out skip"),
    "the skip connection is missing": ordered("norm_in silu conv_in norm_out film silu conv_out"),
    "the first silu is missing": ordered("norm_in conv_in norm_out film silu conv_out skip"),
    "the second silu is missing": ordered("norm_in silu conv_in norm_out film conv_out skip"),
    "film comes before the second norm": ordered("norm_in silu conv_in film norm_out silu conv_out skip"),
    "film comes after the second silu": ordered("norm_in silu conv_in norm_out silu film conv_out skip"),
    "film comes after conv_out": ordered("norm_in silu conv_in norm_out silu conv_out film skip"),
    "the first norm is missing": ordered("silu conv_in norm_out film silu conv_out skip"),
    "the second norm is missing": ordered("norm_in silu conv_in film silu conv_out skip"),
    "silu comes before the first norm": ordered("silu norm_in conv_in norm_out film silu conv_out skip"),
    "the convolution comes before silu: conv_in, then silu": ordered(
        "norm_in conv_in silu norm_out film silu conv_out skip"
    ),
    "silu comes before the second norm": ordered("norm_in silu conv_in silu norm_out film conv_out skip"),
    "each convolution comes first: that is the older order, conv norm silu": ordered(
        "conv_in norm_in silu conv_out norm_out film silu skip"
    ),
    "one more silu, after conv_out": ordered("norm_in silu conv_in norm_out film silu conv_out silu skip"),
    "one more silu, after the sum": ordered("norm_in silu conv_in norm_out film silu conv_out skip silu"),
    "relu instead of silu": ordered(ORDER, act=F.relu),
    "gelu instead of silu": ordered(ORDER, act=F.gelu),
    "tanh instead of silu": ordered(ORDER, act=torch.tanh),
    "sigmoid instead of silu: silu(x) = x sigmoid(x)": ordered(ORDER, act=torch.sigmoid),
    "the embedding passes silu twice: film does that already": ordered(ORDER, inner=lambda e: F.silu(F.silu(e))),
    "the shortcut is multiplied instead of added": ordered(ORDER.replace("skip", "times")),
    "the branch is subtracted from the shortcut": ordered(ORDER.replace("skip", "minus")),
    "the sum is divided by sqrt(2)": ordered(ORDER.replace("skip", "half")),
    "only the shortcut is returned": ordered("only"),
    "the shortcut starts after the first norm": ordered("norm_in silu conv_in norm_out film silu conv_out normed"),
    "the second half of the branch is missing": ordered("norm_in silu conv_in skip"),
    "the shift is forgotten": ordered(ORDER, modulate=lambda x, scale, shift: x * (1 + scale)),
    "scale alone instead of 1 + scale": ordered(ORDER, modulate=lambda x, scale, shift: x * scale + shift),
    "the shift alone, without the scale": ordered(ORDER, modulate=lambda x, scale, shift: x + shift),
} | {
    f"{'one group' if groups == 1 else f'{groups} groups'} instead of group_norm's 8": ordered(ORDER, groups=groups)
    for groups in (1, 2, 4, 16)
}


def wanted(channels_in, channels_out, width):
    """The shape of each parameter by name, as the docstring says."""
    shapes = {
        "norm_in.weight": (channels_in,), "norm_in.bias": (channels_in,),
        "conv_in.weight": (channels_out, channels_in, 3, 3), "conv_in.bias": (channels_out,),
        "norm_out.weight": (channels_out,), "norm_out.bias": (channels_out,),
        "film.linear.weight": (2 * channels_out, width), "film.linear.bias": (2 * channels_out,),
        "conv_out.weight": (channels_out, channels_out, 3, 3), "conv_out.bias": (channels_out,),
    }  # fmt: skip
    if channels_in != channels_out:
        shapes |= {"skip.weight": (channels_out, channels_in, 1, 1), "skip.bias": (channels_out,)}
    return shapes


def layers(block, channels_in, channels_out, width):
    """The block's parameters by name; fails unless they are called and sized as the docstring says."""
    state, shapes = block.state(), wanted(channels_in, channels_out, width)
    built = f"ResBlock({channels_in}, {channels_out}, {width})"
    missing, strange = [n for n in shapes if n not in state], [n for n in state if n not in shapes]
    biases = [n for n in missing if n.endswith(".bias") and n.replace("bias", "weight") in state]
    if biases:
        raise Wrong(f"{built} has no parameter {', '.join(biases)}.", "", ["bias=False: every layer keeps its bias"])
    if not missing and strange and all(n.startswith("skip.") for n in strange):
        raise Wrong(f"{built} has a skip with parameters.", "", ["skip is a convolution though the channels agree"])
    if missing and all(n.startswith("skip.") for n in missing) and not strange:
        raise Wrong(f"{built} has no skip.weight.", "", ["skip is no 1x1 convolution where the channels differ"])
    if any(n.endswith("running_mean") for n in strange):
        raise Wrong(f"{built} has {strange[0]}.", "", ["batch norm instead of group_norm"])
    if missing or strange:
        wants, has = ({n.rpartition(".")[0] for n in names} for names in (shapes, state))
        raise Wrong(
            f"The layers with parameters must be {sorted(wants)}, got {sorted(has)}.",
            f"missing: {', '.join(missing) or 'nothing'}; unknown: {', '.join(strange) or 'nothing'}; tried {built}",
        )
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            layer = name.partition(".")[0]
            says = f"{name} of {built} must have shape {shape}, got {tuple(state[name].shape)}."
            raise Wrong(says, "", [f"{layer} is built with other channels or another kernel than the docstring says"])
    return state


def randomised(block, channels_in, channels_out, width, seed):
    """Fill a block with random parameters, so that nothing hides behind a zero; returns them."""
    g = generator(seed)
    shapes = layers(block, channels_in, channels_out, width)
    state = {name: 0.3 * torch.randn(value.shape, generator=g) for name, value in shapes.items()}
    block.load_state(state)
    return state


def cut_off(name):
    """The name of a gradient that does not arrive."""
    return f"the gradient with respect to {name} is cut off (detach or no_grad)"


BLOCKS = ((16, 16, 24), (16, 32, 24), (24, 8, 5))


@pytest.mark.exercise("E4.5", points=1)
def test_has_the_layers_of_the_docstring(ResBlock):
    for built in BLOCKS:
        layers(ResBlock.construct(*built), *built)


@pytest.mark.exercise("E4.5", points=2)
def test_computes_the_formula(ResBlock):
    inputs = []
    for built, (batch, height, width) in zip(BLOCKS, ((2, 4, 6), (1, 5, 1), (3, 3, 3))):
        block = ResBlock.construct(*built)
        state = randomised(block, *built, seed=8)
        g = generator(7, built[1])
        h = torch.randn(batch, built[0], height, width, generator=g)
        inputs.append((block, state, h, torch.randn(batch, built[2], generator=g)))

    def whole(formula):
        return lambda block, state, h, emb: formula(state, h, emb)

    agree(
        lambda block, state, h, emb: block(h, emb),
        lambda block, state, h, emb: block_by_hand(state, h, emb),
        inputs,
        says="With random parameters it must equal its formula.",
        mistakes={name: whole(formula) for name, formula in BLOCK_MISTAKES.items()}
        | dict.fromkeys(map(cut_off, ("h", "emb")), whole(block_by_hand)),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E4.5", points=1)
def test_starts_as_its_own_shortcut(ResBlock):
    g = generator(11)
    block = ResBlock.construct(16, 16, 8)
    state = layers(block, 16, 16, 8)
    left = [name for name in ("conv_out.weight", "conv_out.bias") if state[name].abs().max() > 0]
    zeros = [name for name in ("conv_in.weight", "film.linear.weight", "norm_in.weight") if not state[name].any()]
    if zeros:
        raise Wrong("Only conv_out is zeroed.", "", [f"{zeros[0]} is zeroed, too"])
    if left:
        raise Wrong("A new block must pass h through unchanged.", "", [f"{' and '.join(left)}: conv_out is not zeroed"])
    h, emb = torch.randn(2, 16, 4, 4, generator=g), torch.randn(2, 8, generator=g)
    expect(
        block(h, emb),
        h,
        mistakes={"the skip connection is missing": torch.zeros_like(h)},
        says="A new block must pass h through unchanged.",
    )


@pytest.mark.exercise("E4.5", points=1)
def test_lets_gradients_through(ResBlock):
    block = ResBlock.construct(16, 32, 8)
    state = {name: value.double() for name, value in randomised(block, 16, 32, 8, seed=9).items()}
    g = generator(10)
    h, emb = torch.randn(1, 16, 4, 4, generator=g), torch.randn(1, 8, generator=g)
    cotangent = torch.randn(1, 32, 4, 4, generator=g)
    got = block.vjp((h, emb), cotangent, wrt=(0, 1))
    leaves = h.double().requires_grad_(), emb.double().requires_grad_()

    def slopes(formula):
        found = torch.autograd.grad(formula(state, *leaves), leaves, cotangent.double(), allow_unused=True)
        return [torch.zeros_like(x) if found_ is None else found_ for x, found_ in zip(leaves, found)]

    want = slopes(block_by_hand)
    for k, name in enumerate(("h", "emb")):
        mistakes = {
            wrong: lambda formula=formula, k=k: slopes(formula)[k].float() for wrong, formula in BLOCK_MISTAKES.items()
        }
        expect(
            got[k],
            want[k].float(),
            rtol=1e-2,
            atol=1e-3,
            says=f"The gradient with respect to {name} must be that of the formula.",
            mistakes={cut_off(name): torch.zeros_like(got[k])} | mistakes,
        )


# E4.6


def parts(schedule, x_t, x0_hat, t, s):
    """What every step is made of."""
    alpha_t, sigma_t = schedule(t, x_t)
    alpha_s, sigma_s = schedule(s, x_t)
    return alpha_t, sigma_t, alpha_s, sigma_s, (x_t - alpha_t * x0_hat) / sigma_t


def right_step(schedule):
    """A right, noise-free step of this schedule, as a plain function."""

    def step(x_t, x0_hat, t, s):
        _, _, alpha_s, sigma_s, eps_hat = parts(schedule, x_t, x0_hat, t, s)
        return alpha_s * x0_hat + sigma_s * eps_hat

    return step


def wrong_step(formula):
    """A wrong step of the cosine schedule: formula(x0_hat, eps_hat, x_t, alpha_t, sigma_t, alpha_s, sigma_s)."""

    def step(x_t, x0_hat, t, s):
        alpha_t, sigma_t, alpha_s, sigma_s, eps_hat = parts(cosine(), x_t, x0_hat, t, s)
        return formula(x0_hat, eps_hat, x_t, alpha_t, sigma_t, alpha_s, sigma_s)

    return step


RIGHT_STEPS = {
    "the step of the cosine schedule": right_step(cosine()),
    "the step of the linear-beta schedule": right_step(linear_beta(100)),
    "the step of the straight schedule": right_step(straight()),
    "the step of a schedule whose alpha stays 1": right_step(exploding(10.0)),
}
ONE_SCHEDULE = "The test may use what holds on every schedule only: alpha and sigma between the ends are not known."
STRICTER = {tuple(RIGHT_STEPS)[1:]: ONE_SCHEDULE}
WRONG_STEPS = {
    "lands on x0_hat at once": wrong_step(lambda x0, eps, x, at, st, as_, ss: x0),
    "does not move": wrong_step(lambda x0, eps, x, at, st, as_, ss: x),
    "sigma_t where sigma_s belongs": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + st * eps),
    "drops the noise": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0),
    "the noise has the wrong sign": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0 - ss * eps),
    "alpha_t where alpha_s belongs": wrong_step(lambda x0, eps, x, at, st, as_, ss: at * x0 + ss * eps),
    "wrong only between the ends": wrong_step(
        lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * (1 - 0.3 * as_ * (st - ss)) * eps
    ),
    "clipped to [-1, 1]": wrong_step(lambda x0, eps, x, at, st, as_, ss: (as_ * x0 + ss * eps).clamp(-1, 1)),
    "arrives only when it starts at t = 1": lambda x_t, x0_hat, t, s: x_t + (x0_hat - x_t) * (t - s),
}


@pytest.mark.exercise("E4.6", points=2)
def test_accepts_right_steps_and_rejects_the_crude_ones(test_step):
    crude = ("lands on x0_hat at once", "does not move")
    run_against(test_step, RIGHT_STEPS, {name: WRONG_STEPS[name] for name in crude}, stricter=STRICTER)


@pytest.mark.exercise("E4.6", points=3)
def test_rejects_the_subtle_steps_too(test_step):
    run_against(test_step, RIGHT_STEPS, WRONG_STEPS, seed=1, stricter=STRICTER)
