"""Schedules against the chains they stand for; the chain of small steps against its closed form."""

import math
import pickle

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import schedule
from cs348k_diffusion.forward import add_noise, forward_kernel, jump_to, noise_once
from tests.oracles import SCHEDULES, VARIANCE_PRESERVING, as_double, normal, seeded, variance_bound

INSIDE = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)


def diffusers_schedule(kind):
    """Diffusers' own betas, and its table of alpha_bar (float32, multiplied up in float32)."""
    DDPMScheduler = pytest.importorskip("diffusers.schedulers.scheduling_ddpm").DDPMScheduler
    oracle = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=kind)
    return oracle.betas.double(), oracle.alphas_cumprod.double()


def test_from_betas_is_cumprod_on_its_grid():
    betas = torch.rand(37, generator=seeded(), dtype=torch.float64) * 0.3 + 0.01
    t = torch.arange(38, dtype=torch.float64) / 37
    alpha_bar = torch.cat([torch.ones(1).double(), (1 - betas).cumprod(0)])
    chain = schedule.from_betas(betas.tolist())
    assert_close(chain.alpha(t) ** 2, alpha_bar, rtol=1e-12, atol=0)
    assert_close(chain.sigma(t) ** 2, 1 - alpha_bar, rtol=1e-12, atol=1e-15)


def test_between_grid_points_log_alpha_bar_is_interpolated():
    chain = schedule.from_betas([0.1, 0.2, 0.4])
    halfway = chain.alpha(as_double([1.5 / 3])) ** 2
    assert_close(halfway, as_double([0.9 * math.sqrt(0.8)]), rtol=1e-14, atol=0)


@pytest.mark.parametrize(("kind", "make"), [("linear", schedule.linear_beta), ("squaredcos_cap_v2", None)])
def test_diffusers_tables(kind, make):
    """Its products are rounded 1,000 times in float32: relative error at most about 1000 x 6e-8."""
    betas, alpha_bar = diffusers_schedule(kind)
    chain = make(1000) if make else schedule.from_betas(betas.tolist())
    k = torch.arange(1, 1001, dtype=torch.float64) / 1000  # its index i is our k = i + 1: there, data has no index
    assert_close(chain.alpha(k) ** 2, alpha_bar, rtol=6e-5, atol=1e-7)


def test_cosine_is_the_cosine_betas_without_their_offset():
    """Nichol & Dhariwal squeeze t into [0.008, 1.008] / 1.008, and cap beta at 0.999 near the end."""
    _, alpha_bar = diffusers_schedule("squaredcos_cap_v2")
    k = torch.arange(100, 991, dtype=torch.float64) / 1000
    shifted, start = (schedule.cosine().alpha((time + 0.008) / 1.008) ** 2 for time in (k, as_double([0.0])))
    assert_close(alpha_bar[99:990], shifted / start, rtol=1e-4, atol=1e-6)


def test_a_hundred_steps_with_a_thousand_steps_betas_is_not_noise():
    """The toy trap of claims section 3: what is left of the signal, alpha_bar at the end."""
    for steps, left in ((100, 0.364), (200, 0.132), (1000, 4.0e-5)):
        plain = schedule.from_betas(torch.linspace(1e-4, 0.02, steps).double().tolist())
        assert_close(float(plain.alpha(as_double([1.0])) ** 2), left, rtol=0.01, atol=0)
    assert_close(float(schedule.linear_beta(100).alpha(as_double([1.0])) ** 2), 2.0e-5, rtol=0.02, atol=0)
    with pytest.raises(ValueError, match="take more steps"):
        schedule.linear_beta(20)


@pytest.mark.parametrize("name", SCHEDULES)
def test_log_snr_falls(name):
    log_snr = SCHEDULES[name].log_snr(torch.linspace(0, 1, 2001, dtype=torch.float64))
    assert bool((log_snr.diff() <= 0).all())
    assert bool((SCHEDULES[name].log_snr(INSIDE).diff() < 0).all())
    assert bool((log_snr.abs() <= 20).all())


@pytest.mark.parametrize("name", SCHEDULES)
def test_log_snr_is_what_it_says(name):
    alpha, sigma = SCHEDULES[name].alpha(INSIDE), SCHEDULES[name].sigma(INSIDE)
    assert_close(SCHEDULES[name].log_snr(INSIDE), torch.log(alpha**2 / sigma**2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", VARIANCE_PRESERVING)
def test_variance_is_preserved(name):
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert_close(SCHEDULES[name].alpha(t) ** 2 + SCHEDULES[name].sigma(t) ** 2, torch.ones_like(t), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCHEDULES)
def test_both_ends_are_exact(name, dtype):
    like = torch.zeros(2, 3, dtype=dtype)
    alpha, sigma = SCHEDULES[name](torch.tensor([0.0, 1.0]), like)
    assert (float(alpha[0]), float(sigma[0])) == (1.0, 0.0)
    end = {"cosine": (0.0, 1.0), "straight": (0.0, 1.0), "exploding": (1.0, 80.0), "linear_beta": (0.00635, 1.0)}[name]
    assert_close((float(alpha[1]), float(sigma[1])), end, rtol=1e-3, atol=0)


def test_cosine_log_snr_is_twice_log_cot():
    assert_close(
        schedule.cosine().log_snr(INSIDE), -2 * torch.log(torch.tan(INSIDE * math.pi / 2)), rtol=1e-9, atol=1e-9
    )


def test_a_schedule_from_its_log_snr():
    again = schedule.from_log_snr(SCHEDULES["cosine"].log_snr)
    assert_close(again.alpha(INSIDE), SCHEDULES["cosine"].alpha(INSIDE), rtol=1e-9, atol=1e-12)
    assert_close(again.sigma(INSIDE), SCHEDULES["cosine"].sigma(INSIDE), rtol=1e-9, atol=1e-12)
    log_snr = torch.linspace(-60, 60, 241, dtype=torch.float64)
    alpha, sigma = schedule.alpha_sigma(log_snr)
    assert_close(2 * (alpha.log() - sigma.log()), log_snr, rtol=1e-12, atol=1e-12)
    assert_close(alpha**2 + sigma**2, torch.ones_like(alpha), rtol=1e-14, atol=0)


MAKERS = {
    "cosine": schedule.cosine,
    "straight": schedule.straight,
    "exploding": schedule.exploding,
    "linear_beta": lambda: schedule.linear_beta(50),
    "from_betas": lambda: schedule.from_betas([0.1, 0.2]),
    "from_log_snr": lambda: schedule.from_log_snr(torch.neg),
}


@pytest.mark.parametrize("name", MAKERS)
def test_schedules_pickle_and_compare(name):
    """Two schedules made alike are equal: `guide` relies on it when it is handed two models from two files."""
    first, again = MAKERS[name](), MAKERS[name]()
    assert first == again == pickle.loads(pickle.dumps(first))
    assert hash(first) == hash(again)
    assert all(first != make() for other, make in MAKERS.items() if other != name)
    assert name.split("(")[0] in repr(first)


def test_parameters_tell_schedules_apart():
    assert schedule.exploding(80.0) != schedule.exploding(80.0, 0.01)
    assert schedule.from_betas([0.1, 0.2], "mine") != schedule.from_betas([0.1, 0.3], "mine")


@pytest.mark.parametrize("t", [-1e-6, 1.001, float("nan")])
@pytest.mark.parametrize("name", SCHEDULES)
def test_times_outside_are_refused(name, t):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        SCHEDULES[name](t, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        SCHEDULES[name](torch.tensor([0.5, t, 0.5]), torch.zeros(3, 2))


def test_shapes_of_times():
    images = torch.zeros(3, 1, 8, 8)
    alpha, sigma = schedule.cosine()(torch.tensor([0.1, 0.2, 0.3]), images)
    assert alpha.shape == sigma.shape == (3, 1, 1, 1)
    assert schedule.cosine()(torch.tensor([0.1]), images)[0].shape == (3, 1, 1, 1)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        schedule.cosine()(torch.tensor([0.1, 0.2]), images)


@pytest.mark.parametrize("name", SCHEDULES)
def test_coefficients_are_computed_before_they_are_rounded(name):
    """Half precision images get alpha and sigma of a float32 time, rounded once."""
    t = torch.tensor([0.123, 0.777])
    for half in (torch.float16, torch.bfloat16):
        coarse, fine = SCHEDULES[name](t, torch.zeros(2, 1, dtype=half)), SCHEDULES[name](t, torch.zeros(2, 1))
        assert coarse[0].dtype == coarse[1].dtype == half
        assert torch.equal(coarse[0], fine[0].to(half))
        assert torch.equal(coarse[1], fine[1].to(half))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_prior_has_the_end_s_noise(name):
    n = 40_000
    noise = SCHEDULES[name].prior((n,), seeded()) / float(SCHEDULES[name].sigma(torch.ones(())))
    assert noise.dtype == torch.float32
    assert abs(float(noise.var()) - 1) < variance_bound(n)  # 99.9 % of honest draws


@pytest.mark.parametrize("bad", [[], [0.1, 0.0], [1.0], [-0.1], torch.full((2, 2), 0.1)])
def test_betas_must_be_variances(bad):
    with pytest.raises(ValueError, match="beta"):
        schedule.from_betas(bad)


def test_exploding_needs_room():
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        schedule.exploding(0.001)


# The forward process: all by exact algebra on noise_once and forward_kernel, which are linear in x and in the noise.


def test_the_chain_of_small_steps_is_the_closed_form():
    """Push mean and variance through noise_once, step by step, and compare with alpha_t and sigma_t^2."""
    betas = torch.rand(60, generator=seeded(), dtype=torch.float64) * 0.2 + 0.001
    chain = schedule.from_betas(betas.tolist())
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    mean, variance = one, zero
    for k, beta in enumerate(betas.tolist(), start=1):
        mean = noise_once(mean, beta, zero)
        variance = noise_once(one, beta, zero) ** 2 * variance + noise_once(zero, beta, one) ** 2
        alpha, sigma = chain(k / 60, one)
        assert_close((mean, variance), (alpha, sigma**2), rtol=1e-12, atol=0)


def test_jumping_is_the_closed_form():
    betas = as_double([0.1, 0.3, 0.2])
    x0, eps, k = normal(4, 2, seed=1), normal(4, 2, seed=2), torch.tensor([0, 1, 2, 3])
    alpha_bar = as_double([1.0, 0.9, 0.9 * 0.7, 0.9 * 0.7 * 0.8])[:, None]
    assert_close(
        jump_to(x0, betas, k, eps), alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_add_noise_is_per_example(name):
    x0, eps, t = normal(3, 1, 2, 2, seed=1), normal(3, 1, 2, 2, seed=2), as_double([0.0, 0.4, 0.9])
    alpha, sigma = SCHEDULES[name].alpha(t), SCHEDULES[name].sigma(t)
    want = torch.stack([a * x + s * e for a, s, x, e in zip(alpha, sigma, x0, eps, strict=True)])
    assert_close(add_noise(SCHEDULES[name], x0, t, eps), want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_forward_kernels_compose(name):
    """q(x_s | x_t) then q(x_u | x_s) is q(x_u | x_t), and from t = 0 it is the closed form."""
    x = normal(5, 2)
    for t, s, u in ((0.0, 0.2, 0.7), (0.1, 0.5, 0.95), (0.3, 0.3, 0.99)):
        middle, std_1 = forward_kernel(SCHEDULES[name], x, t, s)
        mean, std_2 = forward_kernel(SCHEDULES[name], middle, s, u)
        shrink = forward_kernel(SCHEDULES[name], torch.ones_like(x), s, u)[0][:, :1]
        want_mean, want_std = forward_kernel(SCHEDULES[name], x, t, u)
        assert_close(mean, want_mean, rtol=1e-12, atol=1e-14)
        assert_close((shrink**2 * std_1**2 + std_2**2).sqrt(), want_std, rtol=1e-9, atol=1e-12)
    mean, std = forward_kernel(SCHEDULES[name], x, 0.0, 0.6)
    assert_close(mean, add_noise(SCHEDULES[name], x, 0.6, torch.zeros_like(x)), rtol=1e-13, atol=0)
    assert_close(mean + std, add_noise(SCHEDULES[name], x, 0.6, torch.ones_like(x)), rtol=1e-13, atol=1e-15)


def test_one_step_of_the_chain_is_a_forward_kernel():
    betas, x = [0.1, 0.3, 0.2], normal(5, 2)
    mean, std = forward_kernel(schedule.from_betas(betas), x, 1 / 3, 2 / 3)
    assert_close(mean, noise_once(x, 0.3, torch.zeros_like(x)), rtol=1e-12, atol=0)
    assert_close(std.expand_as(x), noise_once(torch.zeros_like(x), 0.3, torch.ones_like(x)), rtol=1e-12, atol=0)


def test_forward_goes_forward():
    with pytest.raises(ValueError, match="s >= t"):
        forward_kernel(schedule.cosine(), normal(2, 2), 0.6, 0.5)
    with pytest.raises(ValueError, match="t < 1"):
        forward_kernel(schedule.cosine(), normal(2, 2), 1.0, 1.0)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        noise_once(normal(2, 2), 1.5, normal(2, 2))
