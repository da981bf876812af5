"""Checks of notebook 03: scores, the Langevin step, score matching, annealing, and the hinge to E[x0 | x_t]."""

import math

import pytest
import torch
from torch import Tensor, nn

from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.exercises import (
    Counted,
    Exercise,
    agree,
    expect,
    must,
    normals,
    picture,
    run_against,
    varied,
)
from cs348k_diffusion.exercises.framework.forms import kind_of
from cs348k_diffusion.schedule import cosine, exploding, straight

EXERCISES = (
    Exercise(
        "E3.1", "mixture_score", "The score of a mixture", gives="the score: tensor",
        hints=(
            "grad log p = (grad p) / p, and the gradient of one component is w_k N_k(x) (mu_k - x) / s_k^2. Collect "
            "what stands before each (mu_k - x) / s_k^2: a share. Which function turns logs into shares that sum to 1?",
            "share = softmax over k of the logarithm of w_k N_k(x), whose constant is the same for all k. The score is "
            "the sum over k of share_k (mu_k - x) / s_k^2.",
            "Begin with offset = means - x[:, None], of shape (batch, k, d); the log of N_k holds -d log s_k and "
            "-|offset|^2 / (2 s_k^2), both of shape (batch, k).",
        ),
        withheld=("exact.mixture_score", "exact.Mixture"),
        ours="exact.mixture_score",
    ),
    Exercise(
        "E3.2", "langevin_step", "One Langevin step", gives="the next x: tensor",
        hints=(
            "Read the slide from left to right: where you are, a step uphill, a shake. What must z be multiplied by "
            "to get the variance 2 * step?",
            "Three parts are added. A standard deviation is the root of a variance, and nothing is halved: that is the "
            "other convention.",
            "Write the part without noise first, x + step * score. Noise of variance v is sqrt(v) times the given one.",
        ),
        withheld=("langevin.langevin_step",),
        ours="langevin.langevin_step",
    ),
    Exercise(
        "E3.3", "score_matching_loss", "Denoising score matching", gives="the loss: tensor",
        hints=(
            "Give sigma a second axis: level = sigma[:, None]. Make the noisy x first and ask the score there. When "
            "the answer is -noise / level, what is level * answer + noise?",
            "It is 0 there, so its square is the loss of one number, and the mean over all numbers is the loss. Do not "
            "detach anything, and return a tensor with no axes.",
            "The first two lines: level = sigma[:, None] and x = x0 + level * noise.",
        ),
        withheld=("training.score_matching_loss",),
        ours="training.score_matching_loss",
    ),
    Exercise(
        "E3.4", "anneal", "Annealing", gives="the chain: iterator",
        hints=(
            "Two nested loops: over the sigmas, then `repeats` updates at each. In the inner loop ask for the score "
            "where x is now, draw new noise, take one langevin_step, and yield x.",
            "Go on from the x that the level before left you, and yield after every update, not only at the end of a "
            "level. The step size grows with the square of the level.",
            "The step size at a level is step * (sigma / sigmas[-1]) ** 2: it is `step` at the last level.",
        ),
        withheld=("langevin.anneal", "langevin.annealed_langevin"),
        ours="langevin.anneal",
    ),
    Exercise(
        "E3.5", "x0_from_score", "From a score to a clean guess", gives="x0_hat: tensor",
        hints=(
            "Solve x_t = alpha_t x0 + sigma_t eps for x0, then put in the noise that the score stands for: "
            "eps_hat = -sigma_t score.",
            "Two minus signs make a plus, and sigma_t appears twice.",
            "alpha_t, sigma_t = schedule(t, x) are already shaped to multiply x. What is sigma_t * eps_hat?",
        ),
        withheld=("denoiser.x0_from_score",),
        ours="denoiser.x0_from_score",
    ),
    Exercise(
        "E3.6", "test_score_field", "A score is a gradient",
        hints=(
            "Draw a few hundred points in [-3, 3]^2. How much does log_p change when one coordinate moves by a small "
            "h, and what should that be if the score is right? Autograd through log_p works, too.",
            "In float64, for each axis: (log_p(x + h e) - log_p(x - h e)) / (2 h) with h = 1e-4 must equal the score's "
            "component.",
            "Compare with torch.testing.assert_close(..., rtol=1e-3, atol=1e-3), which rejects NaN as well; "
            "torch.rand(500, 2, dtype=torch.float64) lies in [0, 1), the points should lie in [-3, 3].",
        ),
    ),
)  # fmt: skip


def oracle(x, weights, means, stds):
    """The score by autograd of torch.distributions' log p, in float64."""
    parts = torch.distributions.Independent(torch.distributions.Normal(means.double(), stds.double()[:, None]), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights.double()), parts)
    x = x.double().requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_prob(x).sum(), x)
    return score.to(means.dtype)


def score_mistakes(x, weights, means, stds):
    """What the usual slips would answer."""
    offset, d = means - x[:, None], means.shape[1]
    squared = offset.square().sum(2) / (2 * stds**2)
    logs = weights.log() - d * stds.log() - squared

    def mix(share, scale=stds**2):
        return ((share / scale)[..., None] * offset).sum(1)

    p = logs.logsumexp(1).exp() * (2 * math.pi) ** (-d / 2)
    nearest = nn.functional.one_hot(logs.argmax(1), len(weights)).to(x.dtype)
    apart = (weights.log() - stds.log())[:, None] - offset.square() / (2 * stds[:, None] ** 2)
    return {
        "the sign: it points away from the means": -mix(logs.softmax(1)),
        "standard deviation for variance: divided by s, not by s^2": mix(logs.softmax(1), stds),
        "a missing 1/2: |x - mu|^2 is divided by s^2, not by 2 s^2": mix((logs - squared).softmax(1)),
        "softmax over the points instead of over the components": mix(logs.softmax(0)),
        "the exponent is divided by 2 s, not by 2 s^2": mix((logs + squared - squared * stds).softmax(1)),
        "the distance is not squared in the exponent": mix(
            (logs + squared - offset.norm(dim=2) / (2 * stds**2)).softmax(1)
        ),
        "the mean over coordinates in the exponent, not their sum": mix((logs + squared - squared / d).softmax(1)),
        "the exponent has the wrong sign": mix((logs + 2 * squared).softmax(1)),
        "the weights stand in the exponent without their logarithm": mix((logs - weights.log() + weights).softmax(1)),
        "the shares use s_k^-2, whatever d is": mix((logs + (d - 2) * stds.log()).softmax(1)),
        "the shares use s_k^(-d/2)": mix((logs + d / 2 * stds.log()).softmax(1)),
        "the shares use s_k^+d": mix((logs + 2 * d * stds.log()).softmax(1)),
        "the mean over the components, not their sum": mix(logs.softmax(1)) / len(weights),
        "divided by d": mix(logs.softmax(1)) / d,
        "all components have the same share": mix(torch.ones_like(logs) / len(weights)),
        "not divided by the variance": mix(logs.softmax(1), torch.ones_like(stds)),
        "the weights w_k are forgotten in the shares": mix((logs - weights.log()).softmax(1)),
        "the shares forget that a wide component is lower (s_k^-d)": mix((weights.log() - squared).softmax(1)),
        "the shares use s_k^-1, but in d dimensions it is s_k^-d": mix((logs + (d - 1) * stds.log()).softmax(1)),
        "the weights w_k instead of the shares at x": mix(weights.expand_as(logs)),
        "the shares use s_k^(-2d): the logarithm of the variance needs d / 2": mix((logs - d * stds.log()).softmax(1)),
        "the logarithms of the shares stand in for the shares": mix(logs.log_softmax(1)),
        "the means and variances are averaged first, and one Gaussian pulls": (
            (logs.softmax(1)[..., None] * offset).sum(1) / (logs.softmax(1) @ stds**2)[:, None]
        ),
        "every coordinate has shares of its own": (apart.softmax(1) * offset / stds[:, None] ** 2).sum(1),
        "only the nearest component counts": mix(nearest),
        "the gradient of p, not of log p": mix(logs.softmax(1)) * p[:, None],
    }


def one_of(name):
    """One of the usual slips, as a function of the same arguments."""
    return lambda x, weights, means, stds: score_mistakes(x, weights, means, stds)[name]


SCORE_MISTAKES = {
    name: one_of(name) for name in score_mistakes(torch.ones(1, 1), torch.ones(1), torch.ones(1, 1), torch.ones(1))
}
WEIGHTS, STDS = torch.tensor([0.15, 0.6, 0.25]), torch.tensor([0.4, 1.3, 0.8])


@pytest.mark.exercise("E3.1", points=1)
def test_one_gaussian_pulls_to_its_mean(mixture_score):
    x, mean = normals(5, 2), torch.tensor([[0.5, -1.0]])
    for std in (0.5, 2.0):
        one = (torch.ones(1), mean, torch.tensor([std]))
        expect(
            mixture_score(x, *one),
            (mean - x) / std**2,
            says=f"With one component, N(mu, {std:g}^2 I), the score is (mu - x) / {std:g}^2.",
            mistakes=score_mistakes(x, *one),
        )


@pytest.mark.exercise("E3.1", points=1)
def test_is_the_gradient_of_log_p(mixture_score):
    inputs = []
    for case in varied(((40, 2), (7, 3), (1, 2), (5, 1), (1, 1)), seed=31):
        count = int(case.integers(2, 6, 1))
        weights = case.uniform(0.2, 1, count)
        means, stds = case.normal(count, case.shape[1], scale=1.5), case.uniform(0.4, 1.5, count)
        inputs.append((case.normal(scale=1.5), weights / weights.sum(), means, stds))
    agree(mixture_score, oracle, inputs, says="The score must be the gradient of log p; compared with autograd.",
          mistakes=SCORE_MISTAKES, rtol=1e-4, atol=1e-4)  # fmt: skip


@pytest.mark.exercise("E3.1", points=1)
def test_is_finite_far_away(mixture_score):
    x, means = torch.tensor([[40.0, 0.0], [-60.0, 30.0]]), 1.5 * normals(3, 2, seed=3)
    expect(
        mixture_score(x, WEIGHTS, means, STDS),
        oracle(x, WEIGHTS, means, STDS),
        says="Far from all components p is 0 in float32, but its logarithm and the score are not: stay with logs.",
        mistakes={"p underflows, so p / p is NaN": torch.full((2, 2), torch.nan)}
        | {"p underflows, so p / p is NaN: the score vanishes": torch.zeros(2, 2)}
        | score_mistakes(x, WEIGHTS, means, STDS),
        rtol=1e-4,
        atol=1e-4,
    )


STEPS = (0.1, 0.01, 0.5, 1.0, 1e-4, 0.3, 3.0)


def step_mistakes(x, score, step, noise):
    """What the usual slips would answer."""
    uphill, shake = x + step * score, math.sqrt(2 * step) * noise
    return {
        "walks downhill: the score has the wrong sign": x - step * score + shake,
        "the paper's noise sqrt(step) with the slide's drift": uphill + math.sqrt(step) * noise,
        "the paper's drift step / 2 with the slide's noise": x + step / 2 * score + shake,
        "the paper's step / 2 and sqrt(step), half as much as the slide's": x + (uphill - x + 2**0.5 * shake) / 2,
        "variance for standard deviation: 2 step instead of its root": uphill + 2 * step * noise,
        "the root of step alone: sqrt(2) is outside or missing": uphill + 2 * math.sqrt(step) * noise,
        "noise of variance 1": uphill + noise,
        "no noise: that is gradient ascent": uphill,
        "the step is forgotten": x + score + shake,
        "x is forgotten": step * score + shake,
        "the noise has the wrong sign": uphill - shake,
        "both are halved: step / 2, and its shake": x + step / 2 * score + math.sqrt(step / 2) * noise,
        "the score is forgotten": x + shake,
        "the drift is step^2 times the score": x + step**2 * score + shake,
        "the drift is sqrt(step) times the score": x + math.sqrt(step) * score + shake,
        "the score multiplies the shake, too": uphill + shake * score,
        "x is shrunk by 1 - step": uphill - step * x + shake,
        "the shake is divided by its root": uphill + noise / math.sqrt(2 * step),
        "the shake is (2 step)^2": uphill + (2 * step) ** 2 * noise,
        "the step multiplies the shake, too": x + step * (score + math.sqrt(2) * noise),
    }  # fmt: skip


def step_slip(name):
    """One of the usual slips, as a function of the same arguments."""
    return lambda x, score, step, noise: step_mistakes(x, score, step, noise)[name]


STEP_MISTAKES = {name: step_slip(name) for name in step_mistakes(0.0, 0.0, 1.0, 0.0)}


@pytest.mark.exercise("E3.2", points=1)
def test_walks_uphill(langevin_step):
    inputs = [(case.normal(), case.normal(), step, 0 * case.normal()) for case, step in zip(varied(seed=32), STEPS)]
    agree(langevin_step, lambda x, score, step, noise: x + step * score, inputs,
          says="Without noise, x moves by step * score.", mistakes=STEP_MISTAKES)  # fmt: skip


@pytest.mark.exercise("E3.2", points=1)
def test_shakes_by_the_root_of_two_steps(langevin_step):
    inputs = [(case.normal(), case.normal(), step, case.normal()) for case, step in zip(varied(seed=33), STEPS)]
    agree(langevin_step, lambda x, score, step, noise: x + step * score + (2 * step) ** 0.5 * noise, inputs,
          says="The shake is the given noise times sqrt(2 step), beside the uphill part.",
          mistakes=STEP_MISTAKES)  # fmt: skip


@pytest.mark.exercise("E3.2", points=1)
def test_settles_at_the_known_variance(langevin_step):
    one, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    (case,) = varied(((1,),), seed=30)
    for step in (0.01, 0.1, 0.5, 1.0, case.number(0.2, 0.9)):
        kept = langevin_step(one, -one, step, none)  # on N(0, 1), where score(x) = -x, the chain is x <- a x + b z
        shaken = langevin_step(none, none, step, one)
        says = f"On N(0, 1) the chain's variance must settle at 1 / (1 - step / 2); tried step = {step:g}."
        expect(kept, (1 - step) * one, says=says, mistakes={
            "walks downhill: the score has the wrong sign": (1 + step) * one,
            "the paper's drift step / 2 with the slide's noise": (1 - step / 2) * one,
            "the step is forgotten": none,
        })  # fmt: skip
        expect(shaken**2 / (1 - kept**2), one / (1 - step / 2), says=says, mistakes={
            "the paper's noise sqrt(step) with the slide's drift": one / (2 - step),
            "variance for standard deviation: 2 step instead of its root": 4 * step * one / (2 - step),
            "no noise: that is gradient ascent": none,
        })  # fmt: skip


NOISY = torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0])


def losing(rest, total=lambda rest: rest.square().mean()):
    """A wrong loss: rest(score, x0, sigma as a column, noise, sigma), and how it becomes one number."""
    return lambda score, x0, sigma, noise: total(rest(score, x0, sigma[:, None], noise, sigma))


def left_over(score, x0, level, noise, sigma):
    """What the score does not explain of the noise."""
    return level * score(x0 + level * noise, sigma) + noise


LOSS_MISTAKES = {
    "the target has the wrong sign: it is -noise / sigma": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level * noise, sigma) - noise
    ),
    "the score is asked at the clean x0": losing(
        lambda score, x0, level, noise, sigma: level * score(x0, sigma) + noise
    ),
    "the noise is subtracted from x0 and added to the score": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 - level * noise, sigma) + noise
    ),
    "the noise has the wrong sign in both places": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 - level * noise, sigma) - noise
    ),
    "ignores the data: x is only noise": losing(
        lambda score, x0, level, noise, sigma: level * score(level * noise, sigma) + noise
    ),
    "sigma is a standard deviation, not a variance": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level.sqrt() * noise, sigma) + noise
    ),
    "the target is noise times sigma, not noise over sigma": losing(
        lambda score, x0, level, noise, sigma: level * (score(x0 + level * noise, sigma) + level * noise)
    ),
    "the target is the noise, not noise over sigma": losing(
        lambda score, x0, level, noise, sigma: level * (score(x0 + level * noise, sigma) + noise)
    ),
    "the target is noise over sigma^2, not over sigma": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level * noise, sigma) + noise / level
    ),
    "the noise is added to x0 without sigma": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + noise, sigma) + noise
    ),
    "sigma^2 times the noise is added to x0": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level**2 * noise, sigma) + noise
    ),
    "the root of sigma stands in both places": losing(
        lambda score, x0, level, noise, sigma: level.sqrt() * score(x0 + level.sqrt() * noise, sigma) + noise
    ),
    "the squares are added, not the sum squared": losing(
        lambda score, x0, level, noise, sigma: (
            (level * score(x0 + level * noise, sigma)).square() + noise.square()
        ).sqrt()
    ),
    "the score is divided by sigma, not multiplied": losing(
        lambda score, x0, level, noise, sigma: score(x0 + level * noise, sigma) / level + noise
    ),
    "wrong weighting: without sigma^2 the smallest level is all that counts": losing(
        lambda *given: left_over(*given) / given[2]
    ),
    "wrong weighting: sigma instead of sigma^2": losing(lambda *given: left_over(*given) / given[2].sqrt()),
    "wrong weighting: sigma^4 instead of sigma^2": losing(lambda *given: left_over(*given) * given[2]),
    "the mean of sigma^2 weighs the mean error": losing(
        lambda *given: left_over(*given) / given[2] * given[2].square().mean().sqrt()
    ),
    "constant zero": losing(left_over, lambda rest: 0 * rest.sum()),
    "a sum instead of a mean": losing(left_over, lambda rest: rest.square().sum()),
    "a sum over coordinates instead of a mean": losing(left_over, lambda rest: rest.square().sum(1).mean()),
    "the sum over the examples of a mean over coordinates": losing(left_over, lambda rest: rest.square().mean(1).sum()),
    "the mean over all numbers is divided by d once more": losing(
        left_over, lambda rest: rest.square().mean() / rest.shape[1]
    ),
    "the sum over coordinates is divided by 2, whatever d is": losing(
        left_over, lambda rest: rest.square().sum(1).mean() / 2
    ),
    "the length of each example's error, not its square": losing(left_over, lambda rest: rest.norm(dim=1).mean()),
    "the length of each example's error over d, not its square": losing(
        left_over, lambda rest: rest.norm(dim=1).mean() / rest.shape[1]
    ),
    "half of it": losing(left_over, lambda rest: rest.square().mean() / 2),
    "twice as much": losing(left_over, lambda rest: 2 * rest.square().mean()),
    "the loss has the wrong sign": losing(left_over, lambda rest: -rest.square().mean()),
    "the root of the mean square": losing(left_over, lambda rest: rest.square().mean().sqrt()),
    "the square is missing": losing(left_over, lambda rest: rest.abs().mean()),
    "the mean comes before the square": losing(left_over, lambda rest: rest.mean().square()),
    "the median, not the mean": losing(left_over, lambda rest: rest.square().median()),
    "a loss that is linear far out (Huber, smooth_l1_loss), not the square": losing(
        left_over, lambda rest: nn.functional.smooth_l1_loss(rest, torch.zeros_like(rest))
    ),
    "one sigma for the whole batch": lambda score, x0, sigma, noise: losing(left_over)(
        score, x0, sigma[:1].expand_as(sigma), noise
    ),
    "the first sigma scales every example": losing(
        lambda score, x0, level, noise, sigma: level[:1] * score(x0 + level[:1] * noise, sigma) + noise
    ),
    "the score is asked at the mean sigma": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level * noise, sigma.mean().expand_as(sigma)) + noise
    ),
    "the mean sigma weighs every example": losing(
        lambda score, x0, level, noise, sigma: level.mean() * score(x0 + level * noise, sigma) + noise
    ),
    "the score is asked at sigma = 1, whatever sigma is": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + level * noise, torch.ones_like(sigma)) + noise
    ),
    "twice the noise is added to x0": losing(
        lambda score, x0, level, noise, sigma: level * score(x0 + 2 * level * noise, sigma) + noise
    ),
    "x0 is scaled down as noise comes in; here it is not": losing(
        lambda score, x0, level, noise, sigma: (
            level * score((1 - level**2).clamp(min=0).sqrt() * x0 + level * noise, sigma) + noise
        )
    ),
}


def lost(*given):
    """What the usual slips would lose."""
    return {name: lambda wrong=wrong: wrong(*given) for name, wrong in LOSS_MISTAKES.items()}


@pytest.mark.exercise("E3.3", points=1)
def test_is_zero_when_the_score_explains_the_noise(score_matching_loss):
    x0, noise = 2 + normals(5, 3), normals(5, 3, seed=1)

    def back(x, sigma):
        return (x0 - x) / column(sigma, x) ** 2

    says = "score(x, sigma) = (x0 - x) / sigma^2 points from every noisy x straight back to its x0: the loss must be 0."
    expect(
        score_matching_loss(back, x0, NOISY, noise),
        torch.zeros(()),
        says=says,
        mistakes=lost(back, x0, NOISY, noise),
        rtol=1e-4,
        atol=1e-5,
    )


def explained(score, x0, sigma, noise):
    """The loss in float64, from its definition, one example at a time."""
    rows = [(s * score(x[None] + s * e[None], s[None]) + e[None]).square() for x, s, e in zip(x0, sigma, noise)]
    return torch.cat(rows).mean()


@pytest.mark.exercise("E3.3", points=1)
def test_weighs_every_level_alike(score_matching_loss):
    x0, noise = normals(5, 3), normals(5, 3, seed=1)
    expect(
        score_matching_loss(level, x0, NOISY, noise),
        noise.square().mean(),
        says="A score that is 0 everywhere must lose the mean of noise^2, at small and at large sigma alike.",
        mistakes=lost(level, x0, NOISY, noise),
    )
    for case in varied(((6, 2), (1, 3), (4, 1), (1, 1)), seed=34):
        x0, sigma, noise = case.normal(), case.uniform(0.2, 3, case.batch), case.normal()
        expect(
            score_matching_loss(cubic, x0, sigma, noise),
            explained(cubic, x0, sigma, noise),
            says=f"The loss must hold for any score and size; tried x0 of shape {case.shape} in {case.dtype}.",
            mistakes=lost(cubic, x0, sigma, noise),
            rtol=1e-4,
        )


def cubic(x, sigma):
    """A score of nothing in particular, which looks at every number and at sigma."""
    return -(x**3) / (1 + column(sigma, x))


def column(sigma, x):
    """The levels that a score is asked at, (batch,), as a column; fails for another shape."""
    sigma = torch.as_tensor(sigma)
    must(
        sigma.shape == (len(x),),
        f"score(x, sigma) wants sigma as you get it, of shape ({len(x)},); it is asked with {kind_of(sigma)}.",
    )
    return sigma[:, None]


class Gain(nn.Module):
    """gain times the score of N(1, 4) blurred by sigma: right at gain = 1."""

    def __init__(self, gain: float):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at x, of shape (batch, 1)."""
        return self.gain * (1 - x) / (4 + column(sigma, x) ** 2)


def corners(sigma):
    """Four (x0, sigma, noise) with exactly the moments of x0 ~ N(1, 4) and noise ~ N(0, 1), independent."""
    x0, noise = torch.tensor([[3.0], [3.0], [-1.0], [-1.0]]), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    return x0, torch.full((4,), sigma), noise


@pytest.mark.exercise("E3.3", points=1)
def test_is_least_at_the_true_score(score_matching_loss):
    gains = (0.0, 0.5, 1.0, 1.5)
    (case,) = varied(((1,),), seed=39)
    for sigma in (0.5, 3.0, case.number(0.7, 2)):
        got = [score_matching_loss(Gain(gain).requires_grad_(False), *corners(sigma)) for gain in gains]
        share = sigma**2 / (4 + sigma**2)  # of the variance of x that is noise
        wrong = {
            name: [loss(Gain(gain).requires_grad_(False), *corners(sigma)) for gain in gains]
            for name, loss in LOSS_MISTAKES.items()
        }
        expect(
            got,
            [torch.tensor(1 - share + (gain - 1) ** 2 * share) for gain in gains],
            says="For data N(1, 4) the loss is least at the true score of the blurred data, 4 / (4 + sigma^2) there;"
            f" tried {gains} times that score at sigma = {sigma:g}.",
            mistakes=wrong,
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.exercise("E3.3", points=1)
def test_teaches_the_network(score_matching_loss):
    (case,) = varied(((1,),), seed=29)
    for gain, sigma in ((0.2, 1.0), (1.0, case.number(0.8, 1.5)), (2.0, case.number(0.8, 1.5))):
        network, share = Gain(gain), sigma**2 / (4 + sigma**2)
        score_matching_loss.vjp((network, *corners(sigma)), torch.ones(()), wrt=())
        assert network.gain.grad is not None, "detached gradient: the loss does not reach the network's parameters"
        expect(
            network.gain.grad,
            torch.tensor(2 * (gain - 1) * share),
            says=f"The gradient must push the network towards the true score; it answers {gain:g} times that score.",
            mistakes={
                "the target has the wrong sign: it is -noise / sigma": torch.tensor(2 * (gain + 1) * share),
                "half of it": torch.tensor((gain - 1) * share),
                "constant zero": torch.zeros(()),
            },
            rtol=1e-4,
            atol=1e-5,
        )


LADDERS = (([4.0, 2.0, 0.5], 0.02, 3), ([1.5], 0.1, 4), ([3.0, 0.3], 0.001, 1), ([2.0, 1.0, 0.7, 0.2], 0.01, 2))
PLACES = ((4, 2), (1, 3), (3, 1), (1, 1, 2, 2), (5,))


def chained(
    size=lambda sigma, sigmas, step: step * (sigma / sigmas[-1]) ** 2,
    shake=lambda size, step: (2 * size) ** 0.5,
    drift=lambda size, step: size,
    path=lambda sigmas, repeats: [sigma for sigma in sigmas for _ in range(repeats)],
    keep=lambda items, repeats: items[1:],
    restart=False,
    held_score=False,
    held_noise=0,
    asked=lambda sigma, sigmas: sigma,
):
    """The whole chain, stacked, with its parts as arguments: what the usual slips would yield."""

    def answer(score, x, sigmas, step, repeats, noises):
        start, items, rest, before, slope, noise = x, [x], iter(noises), None, None, None
        for k, sigma in enumerate(path(sigmas, repeats)):
            new = k == 0 or sigma != before
            small = size(sigma, sigmas, step)
            x = start if restart and new else x
            slope = score(x, asked(sigma, sigmas)) if new or not held_score else slope
            draws = new if held_noise == 1 else k == 0 if held_noise == 2 else True
            noise = next(rest, 0 * x) if draws else noise
            x, before = x + drift(small, step) * slope + shake(small, step) * noise, sigma
            items.append(x)
        kept = keep(items, repeats)
        return torch.stack(kept) if kept else x.new_zeros(0, *x.shape)

    return answer


def level_before(sigma, sigmas, step):
    """The step size at the sigma before this one."""
    return step * (sigmas[max(sigmas.index(sigma) - 1, 0)] / sigmas[-1]) ** 2


def piled_up(sigma, sigmas, step):
    """The step size where every level multiplies the one before."""
    return step * math.prod((each / sigmas[-1]) ** 2 for each in sigmas[: sigmas.index(sigma) + 1])


def drawn(change):
    """The right chain with other noises: change(noises, the sigma of each)."""

    def answer(score, x, sigmas, step, repeats, noises):
        levels = [sigma for sigma in sigmas for _ in range(repeats)]
        return chained()(score, x, sigmas, step, repeats, change(noises, levels))

    return answer


CHAIN_MISTAKES = {
    "the same step at every level": chained(lambda sigma, sigmas, step: step),
    "the ratio of the sigmas is not squared": chained(lambda sigma, sigmas, step: step * sigma / sigmas[-1]),
    "relative to the first sigma, not the last": chained(lambda sigma, sigmas, step: step * (sigma / sigmas[0]) ** 2),
    "step * sigma, neither divided by the last sigma nor squared": chained(lambda sigma, sigmas, step: step * sigma),
    "step * sigma^2, not divided by the last sigma": chained(lambda sigma, sigmas, step: step * sigma**2),
    "the ratio of the sigmas is upside down": chained(lambda sigma, sigmas, step: step * (sigmas[-1] / sigma) ** 2),
    "the root of the ratio instead of its square": chained(
        lambda sigma, sigmas, step: step * (sigma / sigmas[-1]) ** 0.5
    ),
    "half the step, as in the paper, with the slide's noise": chained(drift=lambda size, step: size / 2),
    "the paper's step / 2 and sqrt(step)": chained(
        drift=lambda size, step: size / 2, shake=lambda size, step: size**0.5
    ),
    "every level starts again from the first x": chained(restart=True),
    "walks downhill": chained(drift=lambda size, step: -size),
    "the drift uses `step`, not the level's step size": chained(drift=lambda size, step: step),
    "the noise uses `step`, not the level's step size": chained(shake=lambda size, step: (2 * step) ** 0.5),
    "the score is asked once for a whole level": chained(held_score=True),
    "the score is always asked at the last sigma": chained(asked=lambda sigma, sigmas: sigmas[-1]),
    "the score is always asked at the first sigma": chained(asked=lambda sigma, sigmas: sigmas[0]),
    "the same noise for a whole level": chained(held_noise=1),
    "the same noise for all updates": chained(held_noise=2),
    "the root of the step size, without the 2": chained(shake=lambda size, step: size**0.5),
    "2 outside of the root": chained(shake=lambda size, step: 2 * size**0.5),
    "variance for standard deviation": chained(shake=lambda size, step: 2 * size),
    "noise of variance 1": chained(shake=lambda size, step: 1.0),
    "no noise: that is gradient ascent": chained(shake=lambda size, step: 0.0),
    "the noise has the wrong sign": chained(shake=lambda size, step: -((2 * size) ** 0.5)),
    "the step size is that of the level before": chained(level_before),
    "`step` itself is changed at each level: the factors pile up": chained(piled_up),
    "the noise is multiplied by sigma, too": drawn(lambda noises, levels: [s * z for s, z in zip(levels, noises)]),
    "the last update has no noise": drawn(lambda noises, levels: [*noises[:-1], 0 * noises[-1]]),
    "the last level has no noise": drawn(
        lambda noises, levels: [z * (s != levels[-1]) for s, z in zip(levels, noises)]
    ),
    "one noise for all points": drawn(lambda noises, levels: [z[:1].expand_as(z) for z in noises]),
    "the ladder is upside down": chained(
        path=lambda sigmas, repeats: [s for s in sigmas[::-1] for _ in range(repeats)]
    ),
    "the levels take turns": chained(path=lambda sigmas, repeats: sigmas * repeats),
    "the last level is left out": chained(
        path=lambda sigmas, repeats: [s for s in sigmas[:-1] for _ in range(repeats)]
    ),
    "the first level is left out": chained(
        path=lambda sigmas, repeats: [s for s in sigmas[1:] for _ in range(repeats)]
    ),
    "one update too few at each level": chained(
        path=lambda sigmas, repeats: [s for s in sigmas for _ in range(repeats - 1)]
    ),
    "one update too many at each level": chained(
        path=lambda sigmas, repeats: [s for s in sigmas for _ in range(repeats + 1)]
    ),
    "one update a level, whatever `repeats` says": chained(path=lambda sigmas, repeats: list(sigmas)),
    "yields only the last x of each level": chained(keep=lambda items, repeats: items[repeats::repeats]),
    "yields only the last x of all": chained(keep=lambda items, repeats: items[-1:]),
    "yields the start, too": chained(keep=lambda items, repeats: items),
    "yields x before the update, not after it": chained(keep=lambda items, repeats: items[:-1]),
    "always yields the start: x is not updated": chained(keep=lambda items, repeats: items[:1] * (len(items) - 1)),
}  # fmt: skip


def walked(anneal):
    """The student's chain as one call: every x that it yields, stacked; noises are what draw(x) gives in turn."""

    def answer(score, x, sigmas, step, repeats, noises):
        rest = iter(noises)

        def draw(like):
            shaped = isinstance(like, Tensor) and like.shape == x.shape
            must(shaped, f"draw(x) makes noise like x: give it x, of shape {tuple(x.shape)}.")
            return next(rest, torch.zeros_like(x))

        def slope(at, sigma):
            number(sigma)
            return score(at, float(sigma))

        items = anneal(slope, x, sigmas, step, repeats, draw).iterate(1000)
        shapes = {kind_of(item) for item in items}
        must(shapes <= {kind_of(x)}, f"yield x, {kind_of(x)}; got {' and '.join(sorted(shapes))}.")
        dtypes = {item.dtype for item in items}
        must(dtypes <= {x.dtype}, f"x is {x.dtype}, and what is yielded must be, too; got {dtypes}.")
        got, count = torch.stack(items) if items else x.new_zeros(0, *x.shape), len(sigmas) * repeats
        if len(got) != count:
            given = score, x, sigmas, step, repeats, noises
            expect(
                got,
                chained()(*given),
                says="There must be one x for each update, `repeats` of them at each sigma: "
                f"got {len(got)} of them, expected {count}; tried sigmas = {sigmas}, repeats = {repeats}.",
                mistakes={name: lambda wrong=wrong: wrong(*given) for name, wrong in CHAIN_MISTAKES.items()},
                rtol=LOOSE[0],
                atol=LOOSE[1],
            )
        return got

    return answer


def number(sigma):
    """The sigma that a score is asked for, as a float; fails for a vector."""
    sigma = torch.as_tensor(sigma)
    says = f"score(x, sigma) is asked with {kind_of(sigma)} for sigma; give it the one number, as it stands in sigmas."
    must(sigma.numel() == 1, says)
    return float(sigma)


LOOSE = 1e-4, 1e-5  # rtol, atol: the roundings of a chain add up


def ladders(seed, score, noise=1.0):
    """Chains on every ladder, with shapes and dtypes that take turns."""
    for case, (sigmas, step, repeats) in zip(varied(PLACES, seed=seed), (*LADDERS, LADDERS[0])):
        noises = [noise * case.normal() for _ in range(len(sigmas) * repeats)]
        yield score, case.normal(), sigmas, step, repeats, noises


@pytest.mark.exercise("E3.4", points=1)
def test_goes_down_the_ladder(anneal):
    for sigmas, step, repeats in LADDERS:
        score, x = Counted(lambda x, sigma: torch.zeros_like(x)), normals(4, 2)
        chain = anneal(score, x, sigmas, step, repeats, torch.zeros_like)
        chain.iterate(1)
        must(
            len(score.seen) <= 2,
            "The walk should be watched as it goes, but before the first x comes the score is asked "
            f"{len(score.seen)} times: `yield x` inside the loop, after every update.",
        )
        chain.iterate(1000)
        levels = [sigma for sigma in sigmas for _ in range(repeats)]
        expect(
            [number((*args, *named.values())[1]) for args, named in score.seen],
            levels,
            says="The score must be asked once for each update, at the noisiest sigma first; "
            f"tried sigmas = {sigmas}, repeats = {repeats}.",
            mistakes={
                "the ladder is upside down": levels[::-1],
                "the score is asked once for a whole level": sigmas if repeats > 1 else None,
                "the score is always asked at the last sigma": [sigmas[-1]] * len(levels),
                "the score is always asked at the first sigma": [sigmas[0]] * len(levels),
                "the levels take turns": sigmas * repeats,
                "one update too few at each level": [sigma for sigma in sigmas for _ in range(repeats - 1)],
                "one update too many at each level": [sigma for sigma in sigmas for _ in range(repeats + 1)],
                "the last level is left out": [sigma for sigma in sigmas[:-1] for _ in range(repeats)],
                "the score is asked twice for each update": [sigma for sigma in levels for _ in range(2)],
            },
            rtol=1e-5,
        )


def one(x, sigma):
    """A slope of 1 everywhere."""
    return torch.ones_like(x)


def level(x, sigma):
    """A plain without slope."""
    return torch.zeros_like(x)


def bent(x, sigma):
    """A score of nothing in particular, which looks at x and at sigma."""
    return (1 - x) / (1 + sigma**2) + 0.3 * torch.sin(x)


@pytest.mark.exercise("E3.4", points=1)
def test_takes_steps_that_fit_the_level(anneal):
    agree(
        walked(anneal),
        chained(),
        [*ladders(35, one, 0.0), *ladders(36, bent, 0.0)],
        says="The step size must be step * (sigma / sigmas[-1])^2, and the score is asked where x is now; "
        "tried without noise.",
        mistakes=CHAIN_MISTAKES,
        rtol=LOOSE[0],
        atol=LOOSE[1],
    )


@pytest.mark.exercise("E3.4", points=1)
def test_draws_new_noise_for_every_update(anneal):
    agree(
        walked(anneal),
        chained(),
        [*ladders(37, level)],
        says="Where the score is 0, only the shake is left: sqrt(2 * step size) times draw(x), drawn anew each time.",
        mistakes=CHAIN_MISTAKES,
        rtol=LOOSE[0],
        atol=LOOSE[1],
    )


@pytest.mark.exercise("E3.4", points=1)
def test_one_level_is_the_plain_chain(anneal):
    (case,) = varied(((1,),), seed=28)
    step, count = case.number(0.45, 0.55), 40
    turn = torch.eye(count)[:, :, None]  # the k-th shake moves only chain k: together they show every response
    given = lambda x, sigma: -x, torch.zeros(count, 1), [0.5], step, count, turn
    got = walked(anneal)(*given)
    expect(
        got[-1].square().sum(),
        torch.tensor(1 / (1 - step / 2)),
        says="With one level and the score of N(0, 1), the variance must settle at 1 / (1 - step / 2).",
        mistakes={name: lambda wrong=wrong: wrong(*given)[-1].square().sum() for name, wrong in CHAIN_MISTAKES.items()},
        rtol=1e-4,
        atol=1e-5,
    )


def guessed(formula):
    """formula(x, score, alpha, sigma) as a whole answer."""
    return lambda schedule, x, t, score: formula(x, score, *schedule(t, x))


GUESS_MISTAKES = {
    name: guessed(formula)
    for name, formula in {
        "sigma instead of sigma^2": lambda x, score, a, s: (x + s * score) / a,
        "the sign: the score points to the data": lambda x, score, a, s: (x - s**2 * score) / a,
        "not divided by alpha": lambda x, score, a, s: x + s**2 * score,
        "multiplied by alpha instead of divided": lambda x, score, a, s: (x + s**2 * score) * a,
        "divided by alpha^2": lambda x, score, a, s: (x + s**2 * score) / a**2,
        "alpha and sigma are swapped": lambda x, score, a, s: (x + a**2 * score) / s,
        "x is divided by alpha, the score is not": lambda x, score, a, s: x / a + s**2 * score,
        "the score is divided by alpha, x is not": lambda x, score, a, s: x + s**2 * score / a,
        "that is the noise, not the clean guess": lambda x, score, a, s: -s * score,
        "sigma^2 is missing": lambda x, score, a, s: (x + score) / a,
        "the score is taken for the noise": lambda x, score, a, s: (x - s * score) / a,
        "the score is forgotten": lambda x, score, a, s: x / a,
        "the score is divided by sigma^2 instead of multiplied": lambda x, score, a, s: (x + score / s**2) / a,
        "the score is divided by sigma instead of multiplied": lambda x, score, a, s: (x + score / s) / a,
        "sigma^2 is taken for 1 - alpha^2, which holds only where alpha^2 + sigma^2 = 1": lambda x, score, a, s: (
            (x + (1 - a**2) * score) / a
        ),
        "alpha is taken for sqrt(1 - sigma^2), which holds only where alpha^2 + sigma^2 = 1": lambda x, score, a, s: (
            (x + s**2 * score) / (1 - s**2).sqrt()
        ),
        "divides by sigma, which is 0 at t = 0": lambda x, score, a, s: torch.where(
            s == 0, torch.nan, (x + s**2 * score) / a
        ),
    }.items()
} | {
    "one time for the whole batch": lambda schedule, x, t, score: guessed(
        lambda x, score, a, s: (x + s**2 * score) / a
    )(schedule, x, t[:1].expand_as(t), score)
}
TIMES = {"straight": 0.95, "exploding(5)": 1.0, "cosine": 0.95}


@pytest.mark.exercise("E3.5", points=1)
def test_is_the_mean_of_all_clean_points_that_fit(x0_from_score):
    denoise = Mixture(torch.tensor([[-1.0, 0.5], [2.0, 1.0]]), 0.3, torch.tensor([0.3, 0.7])).denoiser(cosine())
    x, t = 1.5 * normals(300, 2), torch.linspace(0.9, 0.05, 300)
    score, want = denoise.score(x, t), denoise(x, t)
    got = x0_from_score(cosine(), x, t, score)
    picture(got, want, "clean guesses")
    given = cosine(), x, t, score
    expect(got, want, says="Given the exact score, the answer must be E[x0 | x_t]; every example has its own time.",
           mistakes={name: wrong(*given) for name, wrong in GUESS_MISTAKES.items()}, rtol=1e-4, atol=1e-4)  # fmt: skip


def guess_of_a_gaussian(schedule, x, t, score):
    """E[x0 | x_t] where every number of the data is N(1, 0.5): it does not need the score."""
    alpha, sigma = schedule(t, x.double())
    return (1 + 0.5 * alpha / (0.5 * alpha**2 + sigma**2) * (x - alpha)).to(x.dtype)


@pytest.mark.exercise("E3.5", points=1)
def test_holds_on_every_schedule_and_for_images(x0_from_score):
    inputs = []
    for k, schedule in enumerate((straight(), exploding(5.0, 0.1), cosine())):
        for case in varied(((3, 1, 4, 5), (1, 3), (2, 1, 3, 4), (4,), (1, 1, 1, 1)), seed=38 + k):
            x, t = case.normal(), case.uniform(0.1, 0.9, case.batch)
            t[-1] = 0.0 if case.batch > 1 else TIMES[schedule.name]
            alpha, sigma = schedule(t, x.double())
            inputs.append((schedule, x, t, ((alpha - x) / (0.5 * alpha**2 + sigma**2)).to(x.dtype)))
    agree(
        x0_from_score,
        guess_of_a_gaussian,
        inputs,
        says="It must hold on any schedule and for any shape, at t = 0 too.",
        mistakes=GUESS_MISTAKES,
        rtol=1e-4,
        atol=1e-4,
    )


def leaning(x):
    """A right field: a Gaussian whose coordinates are correlated."""
    precision, offset = torch.tensor([[2.0, 0.8], [0.8, 1.0]]).to(x), x - torch.tensor([0.5, -0.3]).to(x)
    whole = 0.5 * math.log(2.0 * 1.0 - 0.8**2) - math.log(2 * math.pi)
    return whole - 0.5 * (offset @ precision * offset).sum(1), -offset @ precision


def shares(x):
    """A mixture of two clumps: log of each part's density, the offsets to its mean, its std, its weight."""
    weights, stds = torch.tensor([0.3, 0.7]).to(x), torch.tensor([0.6, 0.9]).to(x)
    offset = torch.tensor([[-1.0, 0.5], [1.2, -0.4]]).to(x) - x[:, None]
    logs = weights.log() - 2 * stds.log() - math.log(2 * math.pi) - offset.square().sum(2) / (2 * stds**2)
    return logs, offset, stds, weights


def two_clumps(x):
    """A right field: a mixture."""
    logs, offset, stds, _ = shares(x)
    return logs.logsumexp(1), ((logs.softmax(1) / stds**2)[..., None] * offset).sum(1)


def banana(x):
    """A right field: bent, and not normalised (a score does not know the constant)."""
    bend = x[:, 1] - x[:, 0] ** 2 / 4
    return 7 - x[:, 0] ** 2 / 2 - bend**2, torch.stack([-x[:, 0] + bend * x[:, 0], -2 * bend], 1)


def ridge(x):
    """A right field: N(0, 1) in x_1 and flat along x_2, so that half of its numbers are 0."""
    return -(x[:, 0] ** 2) / 2 - math.log(2 * math.pi) / 2 - math.log(6), x * x.new_tensor([-1, 0])


def inside(x):
    """A right field, as far as anybody asks: beyond [-3, 3] its score is of nothing."""
    log_p, score = two_clumps(x)
    return log_p, torch.where((x.abs() > 3.01).any(1, keepdim=True), 0, score)


def changed(field, change):
    """A wrong field: log p as it is, and the score after change(x, log_p, score)."""

    def wrong(x):
        log_p, score = field(x)
        return log_p, change(x, log_p, score)

    return wrong


def by_std(x):
    """Divided by s, not by s^2."""
    logs, offset, stds, _ = shares(x)
    return logs.logsumexp(1), ((logs.softmax(1) / stds)[..., None] * offset).sum(1)


def by_weight(x):
    """The parts weighted by w_k wherever x is."""
    logs, offset, stds, weights = shares(x)
    return logs.logsumexp(1), ((weights / stds**2)[:, None] * offset).sum(1)


def turned(x):
    """A quarter turn of x: divergence-free, so no gradient of anything."""
    return torch.stack([-x[:, 1], x[:, 0]], 1)


RIGHT = {
    "a Gaussian whose coordinates are correlated": leaning,
    "a mixture of two clumps": two_clumps,
    "a bent density that is not normalised": banana,
    "a ridge along x_2": ridge,
    "a mixture whose score is right in [-3, 3]^2, and 0 beyond": inside,
}
STRICTER = {
    "a bent density that is not normalised": "A score does not know the constant: log p may have any.",
    "a ridge along x_2": "Its score's second coordinate is 0 everywhere: allow an absolute error, too.",
    "a mixture whose score is right in [-3, 3]^2, and 0 beyond": "Ask only where both coordinates lie in [-3, 3].",
}
WRONG = {
    "it points downhill": changed(leaning, lambda x, log_p, score: -score),
    "it is zero everywhere": changed(two_clumps, lambda x, log_p, score: torch.zeros_like(score)),
    "right direction, wrong length": changed(two_clumps, lambda x, log_p, score: nn.functional.normalize(score)),
    "five per cent too long": changed(two_clumps, lambda x, log_p, score: 1.05 * score),
    "standard deviation for variance": by_std,
    "weights instead of shares": by_weight,
    "the gradient of p, not of log p": changed(two_clumps, lambda x, log_p, score: score * log_p.exp()[:, None]),
    "the two coordinates are swapped": changed(leaning, lambda x, log_p, score: score.flip(1)),
    "a swirl is added, which is no gradient": changed(leaning, lambda x, log_p, score: score + 0.5 * turned(x)),
    "the second coordinate is ignored": changed(leaning, lambda x, log_p, score: score * score.new_tensor([1, 0])),
    "each point has the score of another: the batch is turned round": changed(
        two_clumps, lambda x, log_p, score: score.flip(0)
    ),
    "the first coordinate is ignored": changed(leaning, lambda x, log_p, score: score * score.new_tensor([0, 1])),
    "wrong only within 0.8 of (1.9, -1.9)": changed(
        leaning,
        lambda x, log_p, score: torch.where(
            (x - x.new_tensor([1.9, -1.9])).norm(dim=1, keepdim=True) < 0.8, score / 2, score
        ),
    ),
    "wrong only where x_2 > 2": changed(banana, lambda x, log_p, score: torch.where(x[:, 1:] > 2, score / 2, score)),
    "wrong only in the corner where x_1 < -2 and x_2 < -2": changed(
        leaning, lambda x, log_p, score: torch.where((x < -2).all(1, keepdim=True), score / 2, score)
    ),
    "NaN for x_1 < -2": changed(banana, lambda x, log_p, score: torch.where(x[:, :1] < -2, torch.nan, score)),
}  # fmt: skip


@pytest.mark.exercise("E3.6", points=2)
def test_accepts_right_fields_and_rejects_the_crude_ones(test_score_field):
    crude = ("it points downhill", "it is zero everywhere")
    run_against(test_score_field, RIGHT, {name: WRONG[name] for name in crude}, stricter=STRICTER)


@pytest.mark.exercise("E3.6", points=3)
def test_rejects_the_subtle_ones_too(test_score_field):
    run_against(test_score_field, RIGHT, WRONG, seed=1, stricter=STRICTER)
