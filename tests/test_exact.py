"""Closed forms against autograd, numerical integration, direct sums and a tight ODE solver."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.testing import assert_close

from cs348k_diffusion.denoiser import x0_from_score
from cs348k_diffusion.exact import EmpiricalDenoiser, Mixture, gaussian, gaussian_flow, two_gaussians
from tests.oracles import SCHEDULES, as_double, lumps, normal, seeded, share_bound, three_modes

TIMES = (0.0, 0.05, 0.4, 0.9, 0.99)
everywhere = pytest.mark.parametrize("name", SCHEDULES)


def gradient(log_p, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(log_p(x).sum(), x)[0]


@everywhere
@pytest.mark.parametrize("y", [None, 0, 1])
def test_score_is_the_gradient_of_log_p(name, y):
    denoise, x = lumps().denoiser(SCHEDULES[name]).given(y), 1.5 * normal(40, 2)
    for t in TIMES:
        want = gradient(lambda x, t=t: denoise.log_prob(x, t), x)
        assert_close(denoise.score(x, t), want, rtol=1e-9, atol=1e-10)


def test_score_of_the_mixture_itself():
    x = 1.5 * normal(40, 2)
    assert_close(lumps().score(x), gradient(lumps().log_prob, x), rtol=1e-10, atol=1e-12)


def test_log_p_is_the_mixture_of_normals():
    mixture, x = lumps(), 1.5 * normal(40, 2)
    covs = mixture.axes @ torch.diag_embed(mixture.variances) @ mixture.axes.mT
    parts = torch.distributions.MultivariateNormal(mixture.means, covs)
    want = torch.logsumexp(parts.log_prob(x[:, None]) + as_double([0.3, 0.4, 0.3]).log(), 1)
    assert_close(mixture.log_prob(x), want, rtol=1e-12, atol=1e-12)


@everywhere
def test_posterior_mean_by_brute_force(name):
    """x0_hat = integral of x0 p(x0) N(x_t; alpha x0, sigma^2) over a fine grid, and p_t(x_t) is the same without x0."""
    mixture, denoise = three_modes(), three_modes().denoiser(SCHEDULES[name])
    x0 = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    log_p = mixture.log_prob(x0[:, None])
    for t in (0.1, 0.5, 0.9, 1.0):
        alpha, sigma = (float(a) for a in SCHEDULES[name](t, x0[:1]))
        x = alpha * as_double([-3.0, -0.9, 0.3, 2.0]) + sigma * as_double([0.2, -1.0, 0.5, 1.5])
        log_joint = log_p - 0.5 * ((x[:, None] - alpha * x0) / sigma) ** 2
        weight = log_joint.softmax(1)
        assert_close(denoise(x[:, None], t)[:, 0], weight @ x0, rtol=1e-8, atol=1e-9)
        evidence = log_joint.logsumexp(1) + math.log(12 / 20_000 / sigma / math.sqrt(2 * math.pi))
        assert_close(denoise.log_prob(x[:, None], t), evidence, rtol=1e-8, atol=1e-8)


@everywhere
def test_tweedie(name):
    denoise, x = lumps().denoiser(SCHEDULES[name]), normal(40, 2)
    for t in (0.05, 0.4, 0.9):
        assert_close(denoise(x, t), x0_from_score(SCHEDULES[name], x, t, denoise.score(x, t)), rtol=1e-9, atol=1e-10)


@everywhere
def test_both_ends(name):
    """At t = 0 there is nothing to guess; where no signal is left the guess is the mean of the data."""
    denoise, x = lumps().denoiser(SCHEDULES[name]), normal(40, 2)
    assert_close(denoise(x, 0.0), x, rtol=0, atol=1e-12)
    if name in ("cosine", "straight"):
        assert_close(denoise(x, 1.0), lumps().moments()[0].expand(40, 2), rtol=0, atol=1e-12)


@everywhere
def test_bayes_at_every_noise_level(name):
    """log p(y | x) + log p(x) = log p(x | y) + log p(y), and the classes' shares sum to 1."""
    every, x = lumps().denoiser(SCHEDULES[name]), 1.5 * normal(40, 2)
    only = Mixture(lumps().means[:2], covariances(lumps())[:2], as_double([0.3, 0.4])).denoiser(SCHEDULES[name])
    for t in TIMES:
        of_0, of_1 = (every.log_likelihood(y)(x, t) for y in (0, 1))
        assert_close(of_0.exp() + of_1.exp(), torch.ones(40).double(), rtol=1e-12, atol=0)
        assert_close(of_0 + every.log_prob(x, t), only.log_prob(x, t) + math.log(0.7), rtol=1e-11, atol=1e-11)
        assert_close(every.given(0)(x, t), only(x, t), rtol=1e-10, atol=1e-12)
        assert_close(every.given(0).score(x, t), only.score(x, t), rtol=1e-9, atol=1e-10)
        shared = of_0.exp()[:, None] * every.given(0)(x, t) + of_1.exp()[:, None] * every.given(1)(x, t)
        assert_close(every(x, t), shared, rtol=1e-10, atol=1e-12)


def covariances(mixture):
    return mixture.axes @ torch.diag_embed(mixture.variances) @ mixture.axes.mT


def test_a_class_for_each_example():
    denoise, x = lumps().denoiser(SCHEDULES["cosine"]), normal(4, 2)
    y = torch.tensor([0, 1, 1, 0])
    want = torch.where((y == 0)[:, None], denoise.given(0)(x, 0.5), denoise.given(1)(x, 0.5))
    assert_close(denoise.given(y)(x, 0.5), want, rtol=1e-13, atol=0)
    assert_close(denoise.given(0).given()(x, 0.5), denoise(x, 0.5), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"classes \[0, 1\], got \[2\]"):
        denoise.given(2)


def test_times_of_a_batch_are_each_their_own():
    denoise, x, t = lumps().denoiser(SCHEDULES["cosine"]), normal(3, 2), as_double([0.1, 0.5, 1.0])
    assert_close(denoise(x, t), torch.cat([denoise(x[i : i + 1], float(t[i])) for i in range(3)]), rtol=1e-12, atol=0)


@everywhere
def test_empirical_denoiser_is_its_sum(name):
    examples, x = normal(30, 1, 3, 2, seed=1), normal(8, 1, 3, 2, seed=2)
    denoise = EmpiricalDenoiser(examples, SCHEDULES[name])
    for t in (0.6, 0.8, 0.95):
        alpha, sigma = (float(a) for a in SCHEDULES[name](t, x[:1]))
        want = torch.zeros_like(x)
        for i, noisy in enumerate(x):
            weight = torch.exp(-((noisy - alpha * examples) ** 2).flatten(1).sum(1) / (2 * sigma**2))
            want[i] = (weight.view(-1, 1, 1, 1) * examples).sum(0) / weight.sum()
        assert_close(denoise(x, t), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empirical_denoiser_at_both_ends(dtype):
    examples = normal(30, 4, seed=1, dtype=dtype)
    denoise = EmpiricalDenoiser(examples, SCHEDULES["cosine"])
    assert_close(denoise(examples[:5] + 1e-3, 0.0), examples[:5], rtol=0, atol=0)
    assert_close(denoise(examples[:5], 1e-6), examples[:5], rtol=0, atol=0)
    assert_close(denoise(examples[:5], 1.0), examples.mean(0).expand(5, 4), rtol=1e-5, atol=1e-6)


def test_empirical_denoiser_is_a_mixture_of_needles():
    examples, x = normal(20, 2, seed=1), normal(8, 2, seed=2)
    needles = Mixture(examples, 1e-12).denoiser(SCHEDULES["cosine"])
    assert_close(EmpiricalDenoiser(examples, SCHEDULES["cosine"])(x, 0.5), needles(x, 0.5), rtol=1e-8, atol=1e-8)


MEAN, COV = as_double([0.5, -1.0]), as_double([[0.5, 0.2], [0.2, 0.3]])


def flow_velocity(name, t, x):
    """dx/dt = f x - g^2 score / 2 with f = d log alpha / dt and g^2 = d sigma^2 / dt - 2 f sigma^2, by autograd."""
    with torch.enable_grad():
        time = torch.tensor([t], dtype=torch.float64, requires_grad=True)
        alpha, sigma = SCHEDULES[name].alpha(time), SCHEDULES[name].sigma(time)
        (f,) = (
            torch.autograd.grad(alpha.log().sum(), time, retain_graph=True, allow_unused=True)
            if alpha.requires_grad
            else (0,)
        )
        (growth,) = torch.autograd.grad((sigma**2).sum(), time)
    f = 0.0 if f is None else f
    x = torch.from_numpy(x).view(-1, 2)
    g_squared = growth - 2 * f * sigma.detach() ** 2
    velocity = f * x - 0.5 * g_squared * gaussian(MEAN, COV).denoiser(SCHEDULES[name]).score(x, t)
    return velocity.numpy().ravel()


@pytest.mark.parametrize("name", ["cosine", "straight", "exploding"])
def test_gaussian_flow_is_the_probability_flow_ode(name):
    x = normal(4, 2) * float(SCHEDULES[name].sigma(as_double([0.95])))
    walked = solve_ivp(lambda t, x: flow_velocity(name, t, x), (0.95, 0.02), x.numpy().ravel(), rtol=1e-9, atol=1e-11)
    want = torch.from_numpy(np.ascontiguousarray(walked.y[:, -1])).view(4, 2)
    assert_close(gaussian_flow(MEAN, COV, SCHEDULES[name], x, 0.95, 0.02), want, rtol=1e-7, atol=1e-7)


@everywhere
def test_gaussian_flow_composes_and_carries_the_covariance(name):
    x = normal(6, 2)
    there = gaussian_flow(MEAN, COV, SCHEDULES[name], x, 0.9, 0.3)
    assert_close(
        gaussian_flow(MEAN, COV, SCHEDULES[name], there, 0.3, 0.0),
        gaussian_flow(MEAN, COV, SCHEDULES[name], x, 0.9, 0.0),
        rtol=1e-10,
        atol=1e-12,
    )
    assert_close(gaussian_flow(MEAN, COV, SCHEDULES[name], there, 0.3, 0.9), x, rtol=1e-9, atol=1e-10)
    (a_t, s_t), (a_s, s_s) = (SCHEDULES[name](t, x[:1]) for t in (0.9, 0.3))
    origin = gaussian_flow(MEAN, COV, SCHEDULES[name], (a_t * MEAN), 0.9, 0.3)
    root = torch.linalg.cholesky(a_t**2 * COV + s_t**2 * torch.eye(2).double())
    carried = (gaussian_flow(MEAN, COV, SCHEDULES[name], a_t * MEAN + root.T, 0.9, 0.3) - origin).T
    assert_close(origin, a_s * MEAN[None], rtol=1e-12, atol=1e-12)
    assert_close(carried @ carried.T, a_s**2 * COV + s_s**2 * torch.eye(2).double(), rtol=1e-10, atol=1e-10)


def test_draws_have_the_mixture_s_moments_and_classes():
    n = 20_000
    x, y = lumps().sample_labelled(n, seeded())
    mean, cov = lumps().moments()
    # Mahalanobis length^2 of the mean's error is chi-squared with 2 degrees of freedom: 13.8 at 99.9 %.
    error = x.mean(0) - mean
    assert n * float(error @ torch.linalg.solve(cov, error)) < 13.8
    # The data are bounded in effect (kurtosis below 3), so a normal's bound, 5 sd of the variance, is a loose one.
    assert_close(torch.cov(x.T), cov, rtol=0, atol=5 * math.sqrt(2 / n) * float(cov.max()))
    assert abs(float((y == 1).double().mean()) - 0.3) < share_bound(0.3, n)
    assert float(lumps().denoiser(SCHEDULES["cosine"]).log_likelihood(1)(x, 0.0)[y == 1].mean()) > math.log(0.5)


def test_it_answers_in_the_dtype_of_the_question():
    """A float64 chain through a float32 mixture stays in float64, and the other way round."""
    coarse, fine = normal(3, 2, dtype=torch.float32), normal(3, 2)
    for mixture in (lumps(), lumps().to(coarse)):
        denoise = mixture.denoiser(SCHEDULES["cosine"])
        for x in (coarse, fine):
            answers = (
                denoise(x, 0.5),
                denoise.score(x, 0.5),
                denoise.log_prob(x, 0.5),
                mixture.log_prob(x),
                mixture.score(x),
            )
            assert {answer.dtype for answer in answers} == {x.dtype}
        assert_close(denoise(coarse, 0.5).double(), denoise(fine, 0.5), rtol=1e-4, atol=1e-5)
    assert gaussian_flow(MEAN.float(), COV.float(), SCHEDULES["cosine"], fine, 0.5, 0.1).dtype == torch.float64


def test_round_components_and_the_toy():
    round_ones = Mixture(normal(2, 3), as_double([0.5, 2.0]))
    full = Mixture(normal(2, 3), torch.stack([0.5 * torch.eye(3), 2.0 * torch.eye(3)]).double())
    assert_close(round_ones.log_prob(normal(5, 3, seed=1)), full.log_prob(normal(5, 3, seed=1)), rtol=1e-12, atol=0)
    toy = two_gaussians()
    assert_close(toy.moments()[0], torch.tensor([3.0]), rtol=1e-6, atol=0)
    assert_close(toy.moments()[1], torch.tensor([[1 + 0.2 * 0.8 * 100]]), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Mixture(normal(3), 1.0),
        lambda: Mixture(normal(3, 2), normal(2, 2, 2)),
        lambda: Mixture(normal(1, 2), -1.0),
        lambda: Mixture(normal(1, 2), as_double([[[1.0, 2.0], [2.0, 1.0]]])),
        lambda: Mixture(normal(1, 2), as_double([[[1.0, 0.5], [0.0, 1.0]]])),
        lambda: Mixture(normal(2, 2), 1.0, as_double([0.5])),
        lambda: Mixture(normal(2, 2), 1.0, as_double([1.5, -0.5])),
        lambda: Mixture(normal(2, 2), 1.0, labels=torch.tensor([0])),
    ],
)
def test_impossible_mixtures_are_refused(bad):
    with pytest.raises(ValueError, match=r"must|one weight"):
        bad()
