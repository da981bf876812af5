"""Checks of notebook 02: the slide's kernel, its closed form, a schedule from its log-SNR, and a test of schedules."""

import math

import pytest
import torch

from cs348k_diffusion.exercises import Exercise, expect, run_against

EXERCISES = (
    Exercise(
        "E2.1",
        "noise_once",
        "The slide's one-step kernel",
        hints=(
            "N(mean, variance): the second argument on the slide is a variance. What do you multiply standard normal "
            "noise by to give it variance beta?",
            "x shrinks by the square root of 1 - beta, the noise by the square root of beta, and the two are added.",
        ),
        withheld=("forward.noise_once", "forward.add_noise", "forward.forward_kernel"),
        ours="forward.noise_once",
    ),
    Exercise(
        "E2.2",
        "jump_to",
        "The closed form",
        hints=(
            "Write alpha_bar for k = 0, 1, 2 by hand: 1, (1 - beta_1), (1 - beta_1)(1 - beta_2). torch.cumprod gives "
            "all but the first; put a one in front and index with k.",
            "k picks one alpha_bar for each example, so the result has shape (batch,). Give it trailing axes of size 1 "
            "until it fits x0: alpha_bar.view(-1, *(1,) * (x0.ndim - 1)). Then take the two roots.",
        ),
        withheld=("forward.jump_to", "forward.add_noise", "forward.forward_kernel", "schedule.from_betas"),
        ours="forward.jump_to",
    ),
    Exercise(
        "E2.3",
        "alpha_sigma",
        "A schedule from its log-SNR",
        hints=(
            "Let p = alpha^2, so sigma^2 = 1 - p and log(p / (1 - p)) = log_snr. Which function undoes the logit?",
            "alpha^2 = sigmoid(log_snr) and sigma^2 = sigmoid(-log_snr). The second is exact where 1 - alpha^2 is 0 in "
            "float32.",
        ),
        withheld=("schedule.alpha_sigma",),
        ours="schedule.alpha_sigma",
    ),
    Exercise(
        "E2.4",
        "test_schedule",
        "A property test",
        hints=(
            "Evaluate the schedule at a hundred times between 0 and 1. What must hold at every time, what between "
            "neighbouring times, and what at the two ends?",
            "Five properties: finite and not negative; alpha^2 + sigma^2 = 1; alpha never rises; alpha(0) > 0.99; "
            "alpha(1) < 0.05. Leave a tolerance of 1e-3, because right schedules are computed in float32.",
        ),
    ),
)


def draws(*shape, seed=0):
    """An x and a noise of this shape."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g), torch.randn(shape, generator=g)


@pytest.mark.exercise("E2.1", points=1)
def test_shrinks_the_picture(noise_once):
    x, _ = draws(4, 1, 3, 5)
    for beta in (0.0, 0.04, 0.64, 1.0):
        expect(
            noise_once(x, beta, torch.zeros_like(x)),
            math.sqrt(1 - beta) * x,
            says=f"Without noise, x must shrink by sqrt(1 - beta); tried beta = {beta}.",
            mistakes={
                "1 - beta without the root": (1 - beta) * x,
                "x is not shrunk": x,
                "the roots of beta and 1 - beta are swapped": math.sqrt(beta) * x,
                "ignores x": torch.zeros_like(x),
            },
        )


@pytest.mark.exercise("E2.1", points=1)
def test_adds_noise_of_variance_beta(noise_once):
    x, noise = draws(6, 2, seed=1)
    expect(
        noise_once(x, 0.5, noise), noise_once(x, 0.5, noise), says="draws its own noise instead of using the given one"
    )
    for beta in (0.0, 0.04, 0.64, 1.0):
        shrunk = math.sqrt(1 - beta) * x
        expect(
            noise_once(x, beta, noise),
            shrunk + math.sqrt(beta) * noise,
            says=f"The noise that is added must have variance beta; tried beta = {beta}.",
            mistakes={
                "variance for standard deviation": shrunk + beta * noise,
                "the noise has the wrong sign": shrunk - math.sqrt(beta) * noise,
                "noise of variance 1": shrunk + noise,
                "1 - beta without the root": (1 - beta) * x + math.sqrt(beta) * noise,
                "x is not shrunk": x + math.sqrt(beta) * noise,
                "the roots of beta and 1 - beta are swapped": math.sqrt(beta) * x + math.sqrt(1 - beta) * noise,
                "ignores x": math.sqrt(beta) * noise,
            },
        )


def by_walking(x0, betas, k, noise):
    """The closed form's two coefficients, found by walking the chain: the mean, and the variance, step by step."""
    mean, variance = torch.ones(len(k)), torch.zeros(len(k))
    for j, beta in enumerate(betas.tolist(), start=1):
        still = k >= j
        mean = torch.where(still, mean * math.sqrt(1 - beta), mean)
        variance = torch.where(still, (1 - beta) * variance + beta, variance)
    shape = (-1,) + (1,) * (x0.ndim - 1)
    return mean.view(shape) * x0 + variance.sqrt().view(shape) * noise


BETAS = torch.tensor([0.3, 0.01, 0.5, 0.2])


def jump_mistakes(x0, k, noise):
    """What the usual slips would answer; k must lie in 1 .. 3 so that all of them exist."""
    shape = (-1,) + (1,) * (x0.ndim - 1)
    bars = torch.cat([torch.ones(1), torch.cumprod(1 - BETAS, 0)])
    bar, late = bars[k].view(shape), bars[k + 1].view(shape)
    one = (1 - BETAS)[k - 1].view(shape)
    summed = (1 - torch.cumsum(BETAS, 0)[k - 1]).clamp(min=0).view(shape)
    return {
        "off by one: betas[0] is beta_1, so alpha_bar_k has k factors": late.sqrt() * x0 + (1 - late).sqrt() * noise,
        "variance for standard deviation": bar * x0 + (1 - bar) * noise,
        "beta instead of alpha_bar: only the last step": one.sqrt() * x0 + (1 - one).sqrt() * noise,
        "a sum of betas instead of a product of 1 - beta": summed.sqrt() * x0 + (1 - summed).sqrt() * noise,
        "the noise is not scaled": bar.sqrt() * x0 + noise,
        "the same k for every example": bar[:1].sqrt() * x0 + (1 - bar[:1]).sqrt() * noise,
        "the noise has the wrong sign": bar.sqrt() * x0 - (1 - bar).sqrt() * noise,
    }


@pytest.mark.exercise("E2.2", points=1)
def test_agrees_with_walking(jump_to):
    x0, noise = draws(3, 2, seed=2)
    k = torch.tensor([2, 1, 3])
    got = jump_to(x0, BETAS, k, noise)
    expect(
        got,
        by_walking(x0, BETAS, k, noise),
        says="The jump must land where walking k steps lands.",
        mistakes=jump_mistakes(x0, k, noise),
    )


@pytest.mark.exercise("E2.2", points=1)
def test_works_on_images(jump_to):
    x0, noise = draws(4, 3, 4, 4, seed=3)
    k = torch.tensor([3, 1, 2, 2])
    got = jump_to(x0, BETAS, k, noise)
    expect(
        got,
        by_walking(x0, BETAS, k, noise),
        says="Each image of shape (3, 4, 4) must get its own alpha_bar.",
        mistakes=jump_mistakes(x0, k, noise),
    )


@pytest.mark.exercise("E2.2", points=1)
def test_both_ends(jump_to):
    x0, noise = draws(2, 5, seed=4)
    k = torch.tensor([0, len(BETAS)])
    bars = torch.cumprod(1 - BETAS, 0)
    expect(
        jump_to(x0, BETAS, k, noise),
        by_walking(x0, BETAS, k, noise),
        says="k = 0 must return the data untouched, and k = T must use every beta.",
        mistakes={
            "off by one: betas[0] is beta_1, so alpha_bar_k has k factors": torch.stack(
                [bars[0].sqrt() * x0[0] + (1 - bars[0]).sqrt() * noise[0], torch.full((5,), torch.nan)]
            ),
        },
    )


LOG_SNRS = torch.tensor([-6.0, -1.5, 0.0, 0.7, 5.0])


@pytest.mark.exercise("E2.3", points=1)
def test_has_the_log_snr_it_was_given(alpha_sigma):
    alpha, sigma = alpha_sigma(LOG_SNRS)
    expect(
        2 * (alpha.log() - sigma.log()),
        LOG_SNRS,
        says="log(alpha^2 / sigma^2) must give back the log-SNR.",
        mistakes={
            "log(alpha / sigma): the squares are forgotten": 2 * LOG_SNRS,
            "returns alpha^2 and sigma^2": 2 * LOG_SNRS,
            "alpha and sigma are swapped": -LOG_SNRS,
        },
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.exercise("E2.3", points=1)
def test_preserves_variance(alpha_sigma):
    wide = LOG_SNRS[:, None] + torch.tensor([[0.0, 0.3]])
    alpha, sigma = alpha_sigma(wide)
    expect(
        alpha.square() + sigma.square(),
        torch.ones(5, 2),
        says="alpha^2 + sigma^2 must be 1 for log-SNRs of any shape; tried (5, 2).",
        mistakes={
            "returns alpha^2 and sigma^2": torch.sigmoid(wide) ** 2 + torch.sigmoid(-wide) ** 2,
            "sigma = 1 - alpha": alpha.square() + (1 - alpha).square(),
        },
    )


@pytest.mark.exercise("E2.3", points=1)
def test_is_accurate_at_both_ends(alpha_sigma):
    ends = torch.tensor([40.0, 25.0, -25.0, -40.0])
    small = torch.exp(-ends.abs() / 2)  # the smaller of the two is e^(-|lambda| / 2), to 11 digits
    alpha, sigma = alpha_sigma(ends)
    assert bool((alpha.isfinite() & sigma.isfinite()).all()), "the exponential overflows: NaN at log-SNR 40 or -40"
    expect(
        torch.where(ends > 0, sigma, alpha),
        small,
        says="At log-SNR 25 sigma is 3.7e-6, at 40 it is 2e-9, and not 0; and so is alpha at -25 and -40.",
        mistakes={
            "sigma = sqrt(1 - alpha^2) has no digits left at high log-SNR": lambda: torch.where(
                ends > 0, (1 - torch.sigmoid(ends)).sqrt(), torch.sigmoid(ends).sqrt()
            ),
        },
        rtol=1e-4,
        atol=0.0,
    )


def cosine(t):
    """A right schedule: the cosine."""
    return torch.cos(t * math.pi / 2).clamp(min=0), torch.sin(t * math.pi / 2)


def beta_chain(scale):
    """alpha and sigma of DDPM's betas in continuous time, times `scale`; 1 is right, and ends at alpha = 0.006."""

    def schedule(t):
        """DDPM's betas in continuous time."""
        log_alpha_bar = -scale * (0.1 * t + 9.95 * t**2)
        return torch.exp(log_alpha_bar / 2), torch.sqrt(-torch.expm1(log_alpha_bar))

    return schedule


def snr_line(t):
    """A right schedule: log-SNR falls in a straight line from 12 to -12; it keeps a little noise at t = 0."""
    log_snr = 12 * (1 - 2 * t)
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def swapped(t):
    """Time runs from noise to data."""
    return cosine(1 - t)


def squares(t):
    """alpha_bar where alpha should be."""
    alpha, sigma = cosine(t)
    return alpha**2, sigma**2


def bumpy(t):
    """The signal comes back for a while."""
    angle = (t + 0.2 * torch.sin(2 * math.pi * 2 * t)).clamp(0, 1) * math.pi / 2
    return torch.cos(angle), torch.sin(angle)


def nan_at_the_end(t):
    """NaN at t = 1, as 0 / 0 gives it."""
    alpha, sigma = cosine(t)
    return alpha * (1 - t) / (1 - t), sigma


def negative(t):
    """A standard deviation below zero."""
    alpha, sigma = cosine(t)
    return alpha, -sigma


def overshooting(t):
    """The angle goes past a right angle, so the signal turns negative."""
    angle = 0.6 * math.pi * t
    return torch.cos(angle), torch.sin(angle)


def late_start(t):
    """Half of the variance is noise already at t = 0."""
    return cosine(0.5 + 0.5 * t)


RIGHT = (cosine, beta_chain(1.0), snr_line)
WRONG = {
    "alpha + sigma = 1 instead of the squares": lambda t: (1 - t, t),
    "alpha_bar = 0.36 at the end: T = 100 with unscaled betas": beta_chain(0.1),
    "time runs backwards": swapped,
    "alpha squared where alpha should be": squares,
    "the signal rises again in the middle": bumpy,
    "NaN at the end": nan_at_the_end,
    "negative noise": negative,
    "the signal turns negative": overshooting,
    "starts half noisy": late_start,
    "constant: never any noise": lambda t: (torch.ones_like(t), torch.zeros_like(t)),
}


@pytest.mark.exercise("E2.4", points=2)
def test_accepts_right_schedules_and_rejects_the_crude_ones(test_schedule):
    crude = ("time runs backwards", "constant: never any noise")
    run_against(test_schedule, RIGHT, {name: WRONG[name] for name in crude})


@pytest.mark.exercise("E2.4", points=3)
def test_rejects_the_subtle_ones_too(test_schedule):
    run_against(test_schedule, RIGHT, WRONG, seed=1)
