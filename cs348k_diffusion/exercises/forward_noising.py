"""Checks of notebook 02: the slide's kernel, its closed form, a schedule from its log-SNR, and a test of schedules."""

import math

import pytest
import torch

from cs348k_diffusion.exercises import Exercise, agree, run_against, varied

EXERCISES = (
    Exercise(
        "E2.1",
        "noise_once",
        "The slide's one-step kernel",
        gives="x_t: tensor",
        hints=(
            "N(mean, variance): the second argument on the slide is a variance. What do you multiply standard normal "
            "noise by to give it variance beta?",
            "If x has variance 1, the result must have variance 1, too: what is left for x when the noise takes beta?",
            "Write the noise's part first, beta ** 0.5 * noise; x's factor is the root of the variance that is left.",
        ),
        withheld=("forward.noise_once", "forward.add_noise", "forward.forward_kernel"),
        ours="forward.noise_once",
    ),
    Exercise(
        "E2.2",
        "jump_to",
        "The closed form",
        gives="x_k: tensor",
        hints=(
            "What is alpha_bar for k = 0, 1 and 2? Write it by hand: 1, (1 - beta_1), (1 - beta_1)(1 - beta_2).",
            "torch.cumprod gives all of them but the first; put a one in front and index with k. Then it is the same "
            "mixture as in E2.1, with 1 - alpha_bar in place of beta.",
            "k picks one alpha_bar for each example, shape (batch,). Give it trailing axes of size 1 until it fits x0: "
            "alpha_bar.view(-1, *(1,) * (x0.ndim - 1)).",
        ),
        withheld=("forward.jump_to", "forward.add_noise", "forward.forward_kernel", "schedule.from_betas"),
        ours="forward.jump_to",
    ),
    Exercise(
        "E2.3",
        "alpha_sigma",
        "A schedule from its log-SNR",
        gives="alpha: tensor, sigma: tensor",
        hints=(
            "Let p = alpha^2, so sigma^2 = 1 - p and log(p / (1 - p)) = log_snr. Which function undoes the logit?",
            "1 - p is 0 in float32 as soon as p rounds to 1. By symmetry sigma^2 is the same function of -log_snr.",
            "alpha^2 = torch.sigmoid(log_snr). What is alpha then, and what sigma?",
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
            "Begin with `alpha, sigma = schedule(torch.linspace(0, 1, 101))` and one assert for each property; "
            "alpha[1:] - alpha[:-1] are the differences between neighbours.",
        ),
    ),
)

BETAS_TRIED = (0.04, 0.64, 0.5, 0.0, 1.0, 1e-4, 0.97)


def once(a, b):
    """A wrong kernel: a(beta) x + b(beta) noise."""
    return lambda x, beta, noise: a(beta) * x + b(beta) * noise


def divided(x):
    """x by its standard deviation."""
    return x / x.std()


KERNEL_MISTAKES = {
    "variance for standard deviation": once(lambda b: (1 - b) ** 0.5, lambda b: b),
    "1 - beta without the root": once(lambda b: 1 - b, lambda b: b**0.5),
    "no roots at all: 1 - beta and beta": once(lambda b: 1 - b, lambda b: b),
    "x is not shrunk": once(lambda b: 1, lambda b: b**0.5),
    "the roots of beta and 1 - beta are swapped": once(lambda b: b**0.5, lambda b: (1 - b) ** 0.5),
    "the noise has the wrong sign": once(lambda b: (1 - b) ** 0.5, lambda b: -(b**0.5)),
    "noise of variance 1": once(lambda b: (1 - b) ** 0.5, lambda b: 1),
    "ignores x": once(lambda b: 0, lambda b: b**0.5),
    "the noise is forgotten": once(lambda b: (1 - b) ** 0.5, lambda b: 0),
    "1 - sqrt(beta) instead of sqrt(1 - beta)": once(lambda b: 1 - b**0.5, lambda b: b**0.5),
    "beta is taken for a standard deviation": once(lambda b: (1 - b * b) ** 0.5, lambda b: b),
    "x + sqrt(beta) noise, divided by its deviation sqrt(1 + beta)": once(
        lambda b: (1 + b) ** -0.5, lambda b: (b / (1 + b)) ** 0.5
    ),
    "exp(-beta / 2) for sqrt(1 - beta): that is for small beta": once(lambda b: math.exp(-b / 2), lambda b: b**0.5),
    "1 - beta / 2 for sqrt(1 - beta): that is for small beta": once(lambda b: 1 - b / 2, lambda b: b**0.5),
    "x and noise are multiplied: the slide adds them": lambda x, beta, noise: (1 - beta) ** 0.5 * x * beta**0.5 * noise,
    "1 + beta for 1 - beta": once(lambda b: (1 + b) ** 0.5, lambda b: b**0.5),
    "the noise is multiplied by beta^2": once(lambda b: (1 - b) ** 0.5, lambda b: b**2),
    "the noise is multiplied by sqrt(2 beta)": once(lambda b: (1 - b) ** 0.5, lambda b: (2 * b) ** 0.5),
    "the noise is shrunk with x": once(lambda b: (1 - b) ** 0.5, lambda b: (b * (1 - b)) ** 0.5),
    "a root too many for x": once(lambda b: (1 - b) ** 0.25, lambda b: b**0.5),
    "the result is cut off at -1 and 1": lambda x, beta, noise: ((1 - beta) ** 0.5 * x + beta**0.5 * noise).clamp(
        -1, 1
    ),
    "** 1/2 is a half of it: a root is ** 0.5": once(lambda b: (1 - b) / 2, lambda b: b / 2),
    "1 - sqrt(1 - beta) for the noise: it is the squares of the two factors that add up to 1": once(
        lambda b: (1 - b) ** 0.5, lambda b: 1 - (1 - b) ** 0.5
    ),
    "sqrt(beta) (noise - x): x is shrunk twice": once(lambda b: (1 - b) ** 0.5 - b**0.5, lambda b: b**0.5),
    "squares where roots belong": once(lambda b: (1 - b) ** 2, lambda b: b**2),
    "1 - beta^2 for 1 - beta": once(lambda b: (1 - b * b) ** 0.5, lambda b: b**0.5),
    "exp(-beta) for sqrt(1 - beta)": once(lambda b: math.exp(-b), lambda b: (1 - math.exp(-2 * b)) ** 0.5),
    "x is returned for beta = 1, where all is noise": lambda x, beta, noise: (
        x if beta >= 1 else (1 - beta) ** 0.5 * x + beta**0.5 * noise
    ),
    "the root is taken of the noise, too: only beta has one": lambda x, beta, noise: (
        (1 - beta) ** 0.5 * x + (beta * noise) ** 0.5
    ),
    "one root of the whole sum: each factor has its own": lambda x, beta, noise: ((1 - beta) * x + beta * noise) ** 0.5,
    "the root of a sum of squares: that loses the signs": lambda x, beta, noise: (
        ((1 - beta) * x**2 + beta * noise**2) ** 0.5
    ),
    "the noise is standardised: it is N(0, I) already": lambda x, beta, noise: (
        (1 - beta) ** 0.5 * x + beta**0.5 * (noise - noise.mean()) / noise.std()
    ),
    "the result is divided by its standard deviation": lambda x, beta, noise: divided(
        (1 - beta) ** 0.5 * x + beta**0.5 * noise
    ),
}


def kernel(x, beta, noise):
    """The slide's kernel, by an angle: cos^2 + sin^2 = 1."""
    angle = math.asin(math.sqrt(beta))
    return math.cos(angle) * x + math.sin(angle) * noise


@pytest.mark.exercise("E2.1", points=1)
def test_shrinks_the_picture(noise_once):
    inputs = ((case.normal(), beta) for case, beta in zip(varied(), BETAS_TRIED))
    agree(
        noise_once,
        kernel,
        [(x, beta, torch.zeros_like(x)) for x, beta in inputs],
        says="Without noise, x must shrink by sqrt(1 - beta).",
        mistakes=KERNEL_MISTAKES,
        rtol=1e-5,  # a root taken in float32 is right, too
        atol=1e-6,
    )


@pytest.mark.exercise("E2.1", points=1)
def test_adds_noise_of_variance_beta(noise_once):
    agree(
        noise_once,
        kernel,
        [(case.normal(), beta, case.normal()) for case, beta in zip(varied(seed=1), BETAS_TRIED)],
        says="The noise that is added must have variance beta.",
        mistakes=KERNEL_MISTAKES,
        rtol=1e-5,
        atol=1e-6,
    )


def by_walking(x0, betas, k, noise):
    """The closed form's two coefficients, found by walking the chain: the mean, and the variance, step by step."""
    mean, variance = torch.ones(len(k), dtype=torch.float64), torch.zeros(len(k), dtype=torch.float64)
    for j, beta in enumerate(betas.tolist(), start=1):
        still = k >= j
        mean = torch.where(still, mean * math.sqrt(1 - beta), mean)
        variance = torch.where(still, (1 - beta) * variance + beta, variance)
    shape = (-1,) + (1,) * (x0.ndim - 1)
    return (mean.view(shape) * x0 + variance.sqrt().view(shape) * noise).to(x0.dtype)


def leap(bar_of, scale=lambda bar: (1 - bar).sqrt(), shrink=torch.sqrt):
    """A wrong jump: alpha_bar by bar_of(betas, k), then shrink(bar) x0 + scale(bar) noise."""

    def jump(x0, betas, k, noise):
        bar = bar_of(betas, k).view((-1,) + (1,) * (x0.ndim - 1))
        return shrink(bar) * x0 + scale(bar) * noise

    return jump


def bars(betas):
    """alpha_bar_0 .. alpha_bar_T."""
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, 0)])


def right_bar(betas, k):
    return bars(betas)[k]


def last_bar(betas, k):
    return torch.cat([betas.new_ones(1), 1 - betas])[k]


def summed_bar(betas, k):
    return (1 - torch.cat([betas.new_zeros(1), betas.cumsum(0)])[k]).clamp(min=0)


def with_noise_of(variance):
    """A wrong jump: alpha_bar is right for x0, and the noise gets the root of variance(betas)[k]."""

    def jump(x0, betas, k, noise):
        shape = (-1,) + (1,) * (x0.ndim - 1)
        return bars(betas)[k].view(shape).sqrt() * x0 + variance(betas)[k].view(shape).sqrt() * noise

    return jump


def after_zero(values):
    """values[k - 1] at k, and 0 at k = 0."""
    return torch.cat([values.new_zeros(1), values])


def same_noise(x0, betas, k, noise):
    """A wrong jump: a walk whose steps all meet the same noise."""
    x, shape = x0, (-1,) + (1,) * (x0.ndim - 1)
    for j, beta in enumerate(betas):
        x = torch.where((k > j).view(shape), (1 - beta).sqrt() * x + beta.sqrt() * noise, x)
    return x


def in_shape(*shape):
    """A wrong jump: alpha_bar gets this shape whatever that of x0 is."""

    def jump(x0, betas, k, noise):
        bar = bars(betas)[k].view(*shape)
        return bar.sqrt() * x0 + (1 - bar).sqrt() * noise

    return jump


def all_data_at_zero(x0, betas, k, noise):
    """A wrong jump: where one k is 0, every example stays as it is."""
    return x0 if (k == 0).any() else leap(right_bar)(x0, betas, k, noise)


JUMP_MISTAKES = {
    "1 minus the product of the betas instead of the product of 1 - beta": leap(
        lambda betas, k: 1 - after_zero(betas.cumprod(0))[k]
    ),
    "alpha_bar_0 is 0: an empty product is 1": leap(lambda betas, k: after_zero((1 - betas).cumprod(0))[k]),
    "betas[k - 1] alone: alpha_bar is a product, and k = 0 reads the last": leap(lambda betas, k: 1 - betas[k - 1]),
    "(1 - beta_1)^k: every step has its own beta": leap(lambda betas, k: (1 - betas[0]) ** k),
    "(1 - beta_k)^k: every step has its own beta": leap(lambda betas, k: (1 - after_zero(betas)[k]) ** k),
    "the noise of the last step alone: the earlier ones left some, too": with_noise_of(after_zero),
    "the betas add up under the noise's root: earlier noise shrinks, too": with_noise_of(
        lambda betas: after_zero(betas.cumsum(0))
    ),
    "the noise of k = T for every k": with_noise_of(lambda betas: 1 - bars(betas)[-1:].expand(len(betas) + 1)),
    "sigma = sqrt(1 - alpha): alpha is not squared": leap(right_bar, lambda bar: (1 - bar.sqrt()).sqrt()),
    "the same noise in every step: the steps of a walk have noise of their own": same_noise,
    "one k of 0 leaves the whole batch as it is": all_data_at_zero,
    "alpha_bar meets the last axis of x0, not its first: give it trailing axes": in_shape(-1),
    "alpha_bar.view(-1, 1): that is for points alone, x0 has any shape": in_shape(-1, 1),
    "alpha_bar.view(-1, 1, 1, 1): that is for images alone, x0 has any shape": in_shape(-1, 1, 1, 1),
    "off by one: betas[0] is beta_1, so alpha_bar_k has k factors": leap(lambda betas, k: bars(betas)[k + 1]),
    "one factor too few: alpha_bar_k has k factors": leap(lambda betas, k: bars(betas)[(k - 1).clamp(min=0)]),
    "variance for standard deviation": leap(right_bar, lambda bar: 1 - bar, lambda bar: bar),
    "the noise's variance for its standard deviation": leap(right_bar, lambda bar: 1 - bar),
    "alpha_bar without the root": leap(right_bar, shrink=lambda bar: bar),
    "beta instead of alpha_bar: only the last step": leap(last_bar),
    "a sum of betas instead of a product of 1 - beta": leap(summed_bar),
    "a product of betas instead of 1 - beta": leap(lambda betas, k: bars(1 - betas)[k]),
    "k = 0 reads the last alpha_bar: put a one in front": leap(lambda betas, k: torch.cumprod(1 - betas, 0)[k - 1]),
    "the exponential of minus the sum of betas: that is for small betas": leap(
        lambda betas, k: torch.exp(-torch.cat([betas.new_zeros(1), betas.cumsum(0)])[k])
    ),
    "alpha_bar is taken for alpha: then sigma is sqrt(1 - alpha_bar^2)": leap(
        right_bar, lambda bar: (1 - bar**2).sqrt(), lambda bar: bar
    ),
    "a root too many: alpha_bar is used as alpha_bar^(1/4)": leap(lambda betas, k: right_bar(betas, k).sqrt()),
    "a sum of 1 - beta instead of a product: cumsum for cumprod": leap(
        lambda betas, k: torch.cat([betas.new_ones(1), (1 - betas).cumsum(0)])[k]
    ),
    "every beta is used, whatever k says": leap(lambda betas, k: bars(betas)[-1:].expand(len(k))),
    "the noise is not scaled": leap(right_bar, torch.ones_like),
    "the noise is forgotten": leap(right_bar, torch.zeros_like),
    "the same k for every example": leap(lambda betas, k: bars(betas)[k[:1]]),
    "the noise has the wrong sign": leap(right_bar, lambda bar: -(1 - bar).sqrt()),
    "1 - sqrt(alpha_bar) instead of sqrt(1 - alpha_bar)": leap(right_bar, lambda bar: 1 - bar.sqrt()),
    "the roots of alpha_bar and 1 - alpha_bar are swapped": leap(right_bar, torch.sqrt, lambda bar: (1 - bar).sqrt()),
}


def jumps(shapes, seed, lengths=(4, 7, 1, 12, 3, 2, 5)):
    """Inputs of a jump, with betas of several lengths; k stops before the last, for the slips that read too far."""
    for case, length in zip(varied(shapes, seed=seed), lengths):
        betas = case.uniform(0.01, 0.5, length)
        yield case.normal(), betas, case.integers(0, length, case.batch), case.normal()


@pytest.mark.exercise("E2.2", points=1)
def test_agrees_with_walking(jump_to):
    agree(jump_to, by_walking, jumps(((5, 2), (1, 3), (4,), (3, 1), (6, 4)), seed=2),
          says="The jump must land where walking k steps lands.", mistakes=JUMP_MISTAKES)  # fmt: skip


@pytest.mark.exercise("E2.2", points=1)
def test_works_on_images(jump_to):
    agree(jump_to, by_walking, jumps(((4, 3, 4, 4), (1, 1, 5, 2), (2, 3, 1), (3, 2, 2, 2, 2)), seed=3),
          says="Each image must get its own alpha_bar.", mistakes=JUMP_MISTAKES)  # fmt: skip


@pytest.mark.exercise("E2.2", points=1)
def test_both_ends(jump_to):
    ends = []
    for x0, betas, _, noise in jumps(((2, 5), (2, 1), (2, 1, 3)), seed=4):
        ends += [(x0, betas, torch.tensor([0, 0]), noise), (x0, betas, torch.tensor([0, len(betas)]), noise)]
    agree(jump_to, by_walking, ends, mistakes=JUMP_MISTAKES,
          says="k = 0 must return the data untouched, and k = T must use every beta.")  # fmt: skip


def from_log_snr(log_snr):
    """alpha and sigma in float64, by exponentials that cannot overflow."""
    small = torch.exp(-log_snr.double().abs())
    less, more = (small / (1 + small)).sqrt(), (1 / (1 + small)).sqrt()
    return tuple(torch.where(log_snr > 0, *each).to(log_snr.dtype) for each in ((more, less), (less, more)))


def by_shares(alpha, sigma):
    """A wrong answer from p = alpha^2 and q = sigma^2."""
    return lambda log_snr: (
        alpha(torch.sigmoid(log_snr), torch.sigmoid(-log_snr)),
        sigma(torch.sigmoid(log_snr), torch.sigmoid(-log_snr)),
    )


def overflowing(log_snr):
    """A wrong answer: the SNR itself, which float32 cannot hold above exp(88)."""
    snr = torch.exp(log_snr)
    return (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()


def by_angle(log_snr):
    """A wrong answer far out: cos and sin of an angle that is rounded near 90 degrees."""
    angle = torch.atan(torch.exp(-log_snr / 2))
    return torch.cos(angle), torch.sin(angle)


def by_tanh(log_snr):
    """A wrong answer far out: (1 + tanh) / 2 is the sigmoid, with no digits left near 0."""
    half = torch.tanh(log_snr / 2)
    return ((1 + half) / 2).sqrt(), ((1 - half) / 2).sqrt()


SNR_MISTAKES = {
    "the exponential overflows: infinity / infinity is NaN": overflowing,
    "alpha = exp(log_snr / 2) sigma: a sigma of 0 gives an alpha of 0": lambda x: (
        torch.exp(x / 2) * torch.sigmoid(-x).sqrt(), torch.sigmoid(-x).sqrt()
    ),
    "alpha = sqrt(1 - sigma^2) has no digits left at low log-SNR": by_shares(
        lambda p, q: (1 - q).sqrt(), lambda p, q: q.sqrt()
    ),
    "sigma = sqrt(1 - alpha): alpha is not squared": by_shares(
        lambda p, q: p.sqrt(), lambda p, q: (1 - p.sqrt()).sqrt()
    ),
    "sigmoid(log_snr / 2): alpha + sigma is 1, not the sum of their squares": lambda x: (
        torch.sigmoid(x / 2), torch.sigmoid(-x / 2)
    ),
    "the denominators have no root": lambda x: (torch.exp(x / 2) * torch.sigmoid(-x), torch.sigmoid(-x)),
    "cos and sin of an angle have no digits left at the ends": by_angle,
    "(1 + tanh(log_snr / 2)) / 2 has no digits left at the ends": by_tanh,
    "the log-SNR is taken for the SNR: exp is missing": lambda x: ((x / (1 + x)).sqrt(), (1 / (1 + x)).sqrt()),
    "sigma = exp(-log_snr / 2): that is sigma / alpha": lambda x: (torch.sigmoid(x).sqrt(), torch.exp(-x / 2)),
    "sigma = exp(-log_snr / 2): that is sigma / alpha; and alpha from it": lambda x: (
        (1 - torch.exp(-x)).clamp(min=0).sqrt(), torch.exp(-x / 2)
    ),
    "a softmax over the batch: each log-SNR has an alpha of its own": lambda x: (
        torch.softmax(x, 0).sqrt(), torch.softmax(-x, 0).sqrt()
    ),
    "both are sigmas: -log_snr stands in both": by_shares(lambda p, q: q.sqrt(), lambda p, q: q.sqrt()),
    "log(alpha / sigma): the squares are forgotten": lambda x: (
        torch.sigmoid(2 * x).sqrt(), torch.sigmoid(-2 * x).sqrt()
    ),
    "the log-SNR is halved": lambda x: (torch.sigmoid(x / 2).sqrt(), torch.sigmoid(-x / 2).sqrt()),
    "returns alpha^2 and sigma^2": by_shares(lambda p, q: p, lambda p, q: q),
    "alpha^2 is returned for alpha": by_shares(lambda p, q: p, lambda p, q: q.sqrt()),
    "alpha and sigma are swapped": by_shares(lambda p, q: q.sqrt(), lambda p, q: p.sqrt()),
    "sigma has the sign of alpha: both are sigmoid(log_snr)": by_shares(lambda p, q: p.sqrt(), lambda p, q: p.sqrt()),
    "alpha = 1, as for x_t = x0 + sigma eps": lambda x: (torch.ones_like(x), torch.exp(-x / 2)),
    "exp(log_snr / 2) is alpha / sigma, not alpha: sigma is not 1": lambda x: (torch.exp(x / 2), torch.ones_like(x)),
    "sigmoid(log_snr) is alpha^2, not alpha": lambda x: (torch.sigmoid(x), (1 - torch.sigmoid(x) ** 2).sqrt()),
    "the logarithm is taken to base 10": lambda x: from_log_snr(x * math.log(10)),
    "the log-SNR is taken to be in decibels": lambda x: from_log_snr(x * math.log(10) / 10),
    "the log-SNR is cut off at -20 and 20": lambda x: from_log_snr(x.clamp(-20, 20)),
    "tanh for the sigmoid": lambda x: (torch.tanh(x), (1 - torch.tanh(x) ** 2).sqrt()),
    "a root too many": by_shares(lambda p, q: p**0.25, lambda p, q: q**0.25),
    "squared, where a root is asked for": by_shares(lambda p, q: p**2, lambda p, q: q**2),
    "their logarithms are returned": lambda x: tuple(each.log() for each in from_log_snr(x)),
    "sigma = 1 - alpha": by_shares(lambda p, q: p.sqrt(), lambda p, q: 1 - p.sqrt()),
    "sigma^2 is returned for sigma": by_shares(lambda p, q: p.sqrt(), lambda p, q: q),
    "sigma = sqrt(1 - alpha^2) has no digits left at high log-SNR": by_shares(
        lambda p, q: p.sqrt(), lambda p, q: (1 - p).sqrt()
    ),
    "an epsilon is added: the ratio is wrong where it counts": by_shares(
        lambda p, q: (p + 1e-8).sqrt(), lambda p, q: (q + 1e-8).sqrt()
    ),
}  # fmt: skip


def cut(small):
    """Wrong answers that keep alpha^2 between small and 1 - small, or add small under sigma's root."""
    return {
        f"alpha^2 is cut off at {small:g} and 1 - {small:g}": by_shares(
            lambda p, q: p.clamp(small, 1 - small).sqrt(), lambda p, q: (1 - p.clamp(small, 1 - small)).sqrt()
        ),
        f"{small:g} is added under sigma's root: that is more than sigma^2 where it counts": by_shares(
            lambda p, q: p.sqrt(), lambda p, q: (1 - p + small).sqrt()
        ),
    }


for bound in (10, 15, 30, 40, 50, 60):
    SNR_MISTAKES[f"the log-SNR is cut off at -{bound} and {bound}"] = lambda x, b=bound: from_log_snr(x.clamp(-b, b))
for digits in range(4, 13):
    SNR_MISTAKES |= cut(10.0**-digits)


@pytest.mark.exercise("E2.3", points=1)
def test_has_the_log_snr_it_was_given(alpha_sigma):
    agree(
        alpha_sigma,
        from_log_snr,
        [(case.uniform(-6, 6),) for case in varied(seed=5)],
        says="log(alpha^2 / sigma^2) must give back the log-SNR, for log-SNRs of any shape.",
        mistakes=SNR_MISTAKES,
        names=("alpha", "sigma"),
        rtol=1e-4,
        atol=1e-5,
    )


def squared(answer):
    """alpha^2 + sigma^2 of a wrong answer."""
    return lambda log_snr: sum(each.square() for each in answer(log_snr))


@pytest.mark.exercise("E2.3", points=1)
def test_preserves_variance(alpha_sigma):
    def squares(log_snr):
        alpha, sigma = alpha_sigma(log_snr)
        return alpha.square() + sigma.square()

    agree(
        squares,
        lambda log_snr: torch.ones_like(log_snr),
        [(case.uniform(-4, 4),) for case in varied(((5, 2), (1,), (2, 1, 3)), seed=6)],
        says="alpha^2 + sigma^2 must be 1.",
        mistakes={name: squared(answer) for name, answer in SNR_MISTAKES.items()},
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E2.3", points=1)
def test_is_accurate_at_both_ends(alpha_sigma):
    ends = torch.tensor([25.0, -25.0, 40.0, -40.0, 80.0, -80.0])
    (case,) = varied(((6,),), seed=7)
    agree(
        alpha_sigma,
        from_log_snr,
        [(ends,), (ends.double() * 2,), (torch.tensor(60.0),), (case.uniform(20, 60) * ends.sign(),)],
        says="At log-SNR 25 sigma is 3.7e-6, at 40 it is 2e-9, and not 0; and so is alpha at -25 and -40.",
        mistakes=SNR_MISTAKES,
        names=("alpha", "sigma"),
        rtol=1e-4,
        atol=0.0,
    )
    agree(
        alpha_sigma,
        from_log_snr,
        [(torch.tensor([160.0, -160.0]),), (case.uniform(100, 160) * ends.sign(),)],
        says="Far out, at a log-SNR of 160, alpha is 1 and sigma below 1e-17, and at -160 the other way round.",
        mistakes=SNR_MISTAKES,
        names=("alpha", "sigma"),
        rtol=1e-4,
        atol=1e-17,  # float32 has no sigma^2 that small
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


def resting(t):
    """A right schedule: nothing happens between t = 0.4 and 0.6."""
    return cosine(torch.where(t < 0.4, t, torch.where(t < 0.6, torch.full_like(t, 0.4), 1 - 1.5 * (1 - t))))


def twitch(t):
    """The signal comes back for a moment, between t = 0.40 and 0.46."""
    moment = ((t > 0.40) & (t < 0.46)).to(t.dtype)
    return cosine(t - 0.1 * moment)


def rounded(t):
    """A right schedule: it rests from t = 0.4 to 0.6 but for the last digit of float32."""
    alpha, sigma = resting(t)
    return alpha * (1 + 3e-7 * torch.sin(1e4 * t).sign()), sigma


def on_average(t):
    """The variance is 1 only on average: up to 5 % too small, then too large."""
    alpha, sigma = cosine(t)
    factor = torch.sqrt(1 - 0.05 * torch.sin(2 * math.pi * t))
    return alpha * factor, sigma * factor


def nan_on_the_way(t):
    """The noise is NaN between t = 0.45 and 0.55."""
    alpha, sigma = cosine(t)
    return alpha, torch.where((t > 0.45) & (t < 0.55), torch.full_like(t, math.nan), sigma)


RIGHT = {
    "the cosine schedule": cosine,
    "DDPM's betas in continuous time": beta_chain(1.0),
    "log-SNR on a straight line": snr_line,
    "a schedule that rests from t = 0.4 to 0.6": resting,
    "a schedule that rests but for its last digit": rounded,
}
COSINE, BETAS, LINE, RESTS, DIGIT = RIGHT
STRICTER = {  # questions: a test may have another reason
    (COSINE, RESTS, DIGIT): "Does your test allow alpha(1) = 0, and rounding errors up to 1e-3?",
    (COSINE, BETAS, RESTS, DIGIT): "Does your test allow sigma(0) = 0?",
    (BETAS, LINE): "Does your test allow an alpha(1) just above 0?",
    LINE: "It starts with a little noise, sigma(0) = 0.0025: does your test ask more than alpha(0) > 0.99?",
    (RESTS, DIGIT): "Does your test allow that alpha stays as it is for a while?",
    DIGIT: "Does every comparison of your test leave room for rounding, 1e-3?",
}
WRONG = {
    "the signal comes back for a moment, between t = 0.40 and 0.46": twitch,
    "alpha + sigma = 1 instead of the squares": lambda t: (1 - t, t),
    "alpha_bar = 0.36 at the end: T = 100 with unscaled betas": beta_chain(0.1),
    "time runs backwards": swapped,
    "alpha squared where alpha should be": squares,
    "the signal rises again in the middle": bumpy,
    "NaN at the end": nan_at_the_end,
    "negative noise": negative,
    "the signal turns negative": overshooting,
    "starts half noisy": late_start,
    "starts with some noise: alpha(0) = 0.95": lambda t: cosine(0.2022 + 0.7978 * t),
    "a little signal is left: alpha(1) = 0.08": lambda t: cosine(0.949 * t),
    "the variance is 1 only on average": on_average,
    "the noise is NaN between t = 0.45 and 0.55": nan_on_the_way,
    "constant: never any noise": lambda t: (torch.ones_like(t), torch.zeros_like(t)),
}


@pytest.mark.exercise("E2.4", points=2)
def test_accepts_right_schedules_and_rejects_the_crude_ones(test_schedule):
    crude = ("time runs backwards", "constant: never any noise")
    run_against(test_schedule, RIGHT, {name: WRONG[name] for name in crude}, stricter=STRICTER)


@pytest.mark.exercise("E2.4", points=3)
def test_rejects_the_subtle_ones_too(test_schedule):
    run_against(test_schedule, RIGHT, WRONG, seed=1, stricter=STRICTER)
