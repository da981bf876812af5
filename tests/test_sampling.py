"""One step, its inverse, and the walks made of it: against posteriors, kernels, exact flows and diffusers."""

import math
import weakref
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import sampling
from cs348k_diffusion.denoiser import NetDenoiser, eps_from_x0, v_from_x0
from cs348k_diffusion.exact import gaussian, gaussian_flow
from cs348k_diffusion.forward import forward_kernel
from cs348k_diffusion.langevin import langevin_step
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import (
    ancestral,
    ancestral_step,
    ddim,
    ddim_step,
    ddpm,
    edm_path,
    first_order,
    heun,
    implied_x0,
    langevin_share,
    log_snr_path,
    multistep,
    path,
    sample,
    step,
    time_of_log_snr,
)
from cs348k_diffusion.schedule import cosine, exploding, from_betas, linear_beta
from tests.oracles import (
    SCHEDULES,
    Counting,
    as_double,
    lumps,
    normal,
    normal_quantiles,
    order,
    quantiles,
    seeded,
    three_modes,
    wasserstein,
)

everywhere = pytest.mark.parametrize("name", SCHEDULES)
DOWN = ((0.99, 0.9), (0.9, 0.3), (0.5, 0.49), (0.3, 0.01), (0.2, 0.0))
X, X0_HAT, Z = normal(5, 2, seed=1), normal(5, 2, seed=2), normal(5, 2, seed=3)
MEAN, COV = as_double([0.5, -1.0]), as_double([[0.5, 0.2], [0.2, 0.3]])


# The one step


@everywhere
def test_ancestral_step_is_the_posterior(name):
    """q(x_s | x_t, x0): product of the Gaussians N(x_s; alpha_s x0, sigma_s^2) and N(x_t; a x_s, v), by precision."""
    for t, s in DOWN[:-1]:
        alpha_s, sigma_s = SCHEDULES[name](s, X)
        shrink = SCHEDULES[name](t, X)[0] / alpha_s
        v = forward_kernel(SCHEDULES[name], X, s, t)[1] ** 2
        variance = 1 / (1 / sigma_s**2 + shrink**2 / v)
        mean = variance * (alpha_s * X0_HAT / sigma_s**2 + shrink * X / v)
        assert_close(ancestral_step(SCHEDULES[name], X, X0_HAT, t, s, 0 * Z), mean, rtol=1e-10, atol=1e-12)
        drawn = ancestral_step(SCHEDULES[name], X, X0_HAT, t, s, Z)
        assert_close(drawn, mean + variance.sqrt() * Z, rtol=1e-10, atol=1e-12)


def test_ancestral_step_is_ho_s_equation_7():
    """beta-tilde and the posterior mean as the DDPM paper writes them, in alpha_bar and beta."""
    betas = as_double([0.01, 0.05, 0.1, 0.2, 0.3])
    alpha_bar = torch.cat([torch.ones(1).double(), (1 - betas).cumprod(0)])
    for k in (2, 3, 5):
        beta, now, before = betas[k - 1], alpha_bar[k], alpha_bar[k - 1]
        mean = before.sqrt() * beta / (1 - now) * X0_HAT + (1 - beta).sqrt() * (1 - before) / (1 - now) * X
        std = ((1 - before) / (1 - now) * beta).sqrt()
        got = ancestral_step(from_betas(betas), X, X0_HAT, k / 5, (k - 1) / 5, Z)
        assert_close(got, mean + std * Z, rtol=1e-12, atol=1e-12)


@everywhere
def test_upward_ancestral_step_is_the_forward_kernel(name):
    """Whatever the guess: going up, x0_hat cancels."""
    for s, t in DOWN[:-1]:
        mean, std = forward_kernel(SCHEDULES[name], X, t, s)
        got = step(SCHEDULES[name], X, X0_HAT, t, s, ancestral(SCHEDULES[name], t, s), Z)
        assert_close(got, mean + std * Z, rtol=1e-9, atol=1e-11)


@everywhere
def test_shares_are_shares(name):
    for t in (0.0, 1e-6, 0.3, 0.5, 0.99, 1.0):
        for s in (0.0, 1e-6, 0.3, 0.5, 0.99, 1.0):
            assert 0 <= ancestral(SCHEDULES[name], t, s) <= 1
        assert ancestral(SCHEDULES[name], t, t) == 0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ancestral(SCHEDULES[name], 0.5, 1.5)


@everywhere
def test_a_step_in_place_is_langevin_to_second_order(name):
    """step(s = t, fresh = f) - langevin_step of size f sigma^2 / 2 is f^2 / 8 sigma eps_hat, so its slope is 2."""
    t, shares = 0.6, (0.2, 0.1, 0.05, 0.025)
    sigma = SCHEDULES[name](t, X)[1]
    eps_hat = eps_from_x0(SCHEDULES[name], X, t, X0_HAT)
    gaps = []
    for share in shares:
        size = share * float(sigma[0]) ** 2 / 2
        assert_close(langevin_share(SCHEDULES[name], t, size), share, rtol=1e-12, atol=0)
        textbook = langevin_step(X, -eps_hat / sigma, size, Z)
        gaps.append(float((step(SCHEDULES[name], X, X0_HAT, t, t, share, Z) - textbook).abs().max()))
    assert 1.98 < order([1 / share for share in shares], gaps) < 2.1
    with pytest.raises(ValueError, match="> 1"):
        langevin_share(SCHEDULES[name], t, float(sigma[0]) ** 2)


@everywhere
def test_implied_x0_inverts_the_step(name):
    for t, s in DOWN:
        x_s = ddim_step(SCHEDULES[name], X, X0_HAT, t, s)
        assert_close(implied_x0(SCHEDULES[name], X, x_s, t, s), X0_HAT, rtol=1e-11, atol=1e-12)


def test_implied_x0_is_the_distillation_target():
    """Salimans & Ho, algorithm 2: the guess that does two of the teacher's DDIM steps in one."""
    exact = lumps().denoiser(cosine())
    middle = step(cosine(), X, exact(X, 0.8), 0.8, 0.6)
    x_s = step(cosine(), middle, exact(middle, 0.6), 0.6, 0.4)
    target = implied_x0(cosine(), X, x_s, 0.8, 0.4)
    assert_close(step(cosine(), X, target, 0.8, 0.4), x_s, rtol=1e-13, atol=1e-13)


@everywhere
def test_all_noise_fresh_forgets_where_it_was(name):
    """f = 1 is add_noise of the guess: what multi-step consistency sampling does."""
    alpha, sigma = SCHEDULES[name](0.4, X)
    assert_close(step(SCHEDULES[name], X, X0_HAT, 0.8, 0.4, 1.0, Z), alpha * X0_HAT + sigma * Z, rtol=1e-13, atol=1e-13)


@everywhere
def test_to_time_zero_is_the_guess(name):
    assert_close(step(SCHEDULES[name], X, X0_HAT, 0.3, 0.0, 0.7, Z), X0_HAT, rtol=0, atol=0)


def test_each_example_has_its_own_times_and_share():
    t, s, share = (
        as_double([0.9, 0.8, 0.7, 0.6, 0.5]),
        as_double([0.5, 0.4, 0.6, 0.0, 0.9]),
        as_double([0, 0.1, 0.5, 1, 0]),
    )
    rows = [step(cosine(), X[i : i + 1], X0_HAT[i : i + 1], t[i], s[i], share[i], Z[i : i + 1]) for i in range(5)]
    assert_close(step(cosine(), X, X0_HAT, t, s, share, Z), torch.cat(rows), rtol=1e-13, atol=1e-13)


def test_what_a_step_refuses():
    with pytest.raises(ValueError, match="sigma_t = 0"):
        step(cosine(), X, X0_HAT, 0.0, 0.5)
    with pytest.raises(ValueError, match="sigma_t = 0"):
        step(cosine(), X, X0_HAT, as_double([0.5, 0.5, 0.0, 0.5, 0.5]), 0.2)
    with pytest.raises(ValueError, match="pass noise"):
        step(cosine(), X, X0_HAT, 0.5, 0.2, 0.1)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share"):
            step(cosine(), X, X0_HAT, 0.5, 0.2, share, Z)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        step(cosine(), X, X0_HAT, 0.5, -0.2)


# Paths


def test_path():
    assert_close(path(4), as_double([1.0, 0.75, 0.5, 0.25, 0.0]), rtol=0, atol=0)
    assert_close(path(2, 0.9, 0.1), as_double([0.9, 0.5, 0.1]), rtol=1e-15, atol=0)
    for n, ends in ((0, {}), (-3, {}), (4, {"start": 1.5}), (4, {"end": -0.1}), (4, {"start": math.nan})):
        says = "a path needs at least one step" if n < 1 else r"times lie in \[0, 1\]"
        for make in (path, partial(log_snr_path, SCHEDULES["cosine"])):
            with pytest.raises(ValueError, match=says):
                make(n, **ends)
    with pytest.raises(ValueError, match="a path needs at least one step"):
        edm_path(SCHEDULES["cosine"], 0)
    for noise in ({"sigma_max": 0.001}, {"sigma_min": 0.0}):
        with pytest.raises(ValueError, match="the noise falls from sigma_max to sigma_min"):
            edm_path(SCHEDULES["cosine"], 4, **noise)


@everywhere
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_log_snr_path(name, n):
    times = log_snr_path(SCHEDULES[name], n)
    assert len(times) == n + 1
    assert_close(times[[0, -1]], as_double([0.99, 0.01]), rtol=1e-12, atol=0)
    steps = SCHEDULES[name].log_snr(times).diff()
    assert_close(steps, steps.mean().expand(n), rtol=1e-6, atol=0)
    to_data = log_snr_path(SCHEDULES[name], n, end=0)
    assert len(to_data) == n + 1
    assert float(to_data[-1]) == 0
    assert bool((to_data.diff() < 0).all())


@everywhere
@pytest.mark.parametrize("n", [2, 7, 40])
def test_edm_path(name, n):
    """Its ratios are Karras's; they end at 0, and start no noisier than the schedule's own end."""
    times = edm_path(SCHEDULES[name], n)
    assert len(times) == n + 1
    assert float(times[-1]) == 0
    assert bool((times.diff() < 0).all())
    alpha, sigma = SCHEDULES[name].alpha(times), SCHEDULES[name].sigma(times)
    i = torch.arange(n, dtype=torch.float64)
    want = (80 ** (1 / 7) + i / (n - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert_close((sigma / alpha)[:n], want, rtol=1e-6, atol=0)


def test_edm_path_on_a_schedule_that_is_never_that_noisy():
    times = edm_path(exploding(10.0), 5)
    assert float(times[0]) == pytest.approx(1.0)
    assert bool((times.diff() < 0).all())


@everywhere
def test_times_of_log_snrs(name):
    t = torch.linspace(0.01, 1.0, 50, dtype=torch.float64)[:-1]
    assert_close(time_of_log_snr(SCHEDULES[name], SCHEDULES[name].log_snr(t)), t, rtol=1e-9, atol=0)


# Walks


SOLVERS = {"ddim": first_order, "multistep": multistep, "heun": heun}
ORDERS = {"ddim": (0.9, 1.1), "multistep": (1.8, 2.2), "heun": (1.8, 2.2)}


@everywhere
@pytest.mark.parametrize("solver", SOLVERS)
def test_order_of_convergence_to_the_exact_flow(name, solver):
    """Measured: DDIM 0.98 to 0.99, 2M 1.98 to 1.99, Heun 2.03 to 2.04 on every schedule."""
    x = (
        float(SCHEDULES[name].sigma(as_double(0.99))) * normal(32, 2)
        + float(SCHEDULES[name].alpha(as_double(0.99))) * MEAN
    )
    exact, truth = (
        gaussian(MEAN, COV).denoiser(SCHEDULES[name]),
        gaussian_flow(MEAN, COV, SCHEDULES[name], x, 0.99, 0.01),
    )
    steps, errors = (32, 64, 128, 256) if name == "cosine" else (32, 96), []
    for n in steps:
        got = last(sample(exact, x, log_snr_path(SCHEDULES[name], n), solver=SOLVERS[solver])).x
        errors.append(float((got - truth).square().mean().sqrt()))
    low, high = ORDERS[solver]
    assert low < order(steps, errors) < high, errors


@everywhere
def test_ddim_from_the_prior_to_the_data(name):
    """1 -> 0 at once, ends included: the error against the exact flow halves when the steps double."""
    x = SCHEDULES[name].prior((32, 2), seeded()).double()
    truth = gaussian_flow(MEAN, COV, SCHEDULES[name], x, 1.0, 0.0)
    exact = gaussian(MEAN, COV).denoiser(SCHEDULES[name])
    errors = [float((last(ddim(exact, x, path(n))).x - truth).abs().max()) for n in (50, 100, 200)]
    assert 1.6 < errors[0] / errors[1] < 2.4, errors
    assert 1.6 < errors[1] / errors[2] < 2.4, errors


def test_one_step_with_the_posterior_mean_collapses():
    """DESIGN section 2: from pure noise, one step lands on the mean of the data, all examples in one place."""
    one = last(ddim(gaussian(MEAN, COV).denoiser(cosine()), normal(32, 2), path(1))).x
    assert_close(one, MEAN.expand(32, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("solver", "to_data", "to_noise"), [("ddim", 10, 10), ("multistep", 10, 10), ("heun", 19, 20)])
def test_number_of_evaluations(solver, to_data, to_noise):
    for times, evaluations in ((edm_path(cosine(), 10), to_data), (log_snr_path(cosine(), 10), to_noise)):
        counted = Counting(lumps().denoiser(cosine()))
        assert len(list(sample(counted, X, times, solver=SOLVERS[solver]))) == 10
        assert counted.calls == evaluations


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_needs_an_exact_answer_only_once_when_it_is_a_constant(solver):
    """A denoiser that always says the same leads there exactly, in any number of steps, by every solver."""
    same = gaussian(MEAN, 1e-12).denoiser(cosine())
    assert_close(
        last(sample(same, X, edm_path(cosine(), 4), solver=SOLVERS[solver])).x, MEAN.expand(5, 2), rtol=0, atol=1e-6
    )


def test_heun_refuses_to_start_without_signal():
    with pytest.raises(ValueError, match="edm_path"):
        last(sample(lumps().denoiser(cosine()), X, path(4), solver=heun))
    assert bool(last(sample(lumps().denoiser(cosine()), X, edm_path(cosine(), 8), solver=heun)).x.isfinite().all())


def test_states():
    """n + 1 times, n States: each has the time it has come to, x there, and the guess that led there."""
    exact, times = lumps().denoiser(cosine()), [0.9, 0.5, 0.1]
    first, second = ddim(exact, X, times)
    assert [first.index, second.index] == [1, 2]
    assert [first.t, second.t] == [0.5, 0.1]
    assert_close(first.x0_hat, exact(X, 0.9), rtol=0, atol=0)
    assert_close(first.x, ddim_step(cosine(), X, first.x0_hat, 0.9, 0.5), rtol=0, atol=0)
    assert_close(second.x0_hat, exact(first.x, 0.5), rtol=0, atol=0)
    assert_close(second.x, ddim_step(cosine(), first.x, second.x0_hat, 0.5, 0.1), rtol=0, atol=0)
    assert second.frame() is second.x
    assert second.label() == "step 2, t = 0.100"


def test_a_walk_may_go_up_and_stay():
    """Predictor-corrector: down, Langevin in place, back up; each step is `step` with its own share."""
    exact, times, share = lumps().denoiser(cosine()), [0.9, 0.5, 0.5, 0.7], 0.1
    states, generator, x = list(sample(exact, X, times, share, generator=seeded(4))), seeded(4), X
    for state, t, s in zip(states, times, times[1:], strict=False):
        x = step(cosine(), x, exact(x, t), t, s, share, noise_like(x, generator))
        assert_close(state.x, x, rtol=0, atol=0)


def test_a_walk_starts_with_the_noise_of_its_first_time():
    """EDM's path on exploding(300) starts at sigma = 80: from there it comes back with the data's spread, 0.50."""
    schedule, std = exploding(300.0), 0.5
    times, exact = edm_path(schedule, 40), gaussian(as_double([0.0]), std**2).denoiser(schedule)
    noise = schedule.prior((20_000, 1), seeded(), times[0]).double()
    assert_close(noise.std(), as_double(80.0), rtol=0.02, atol=0)
    assert_close(last(sample(exact, noise, times, solver=multistep)).x.std(), as_double(std), rtol=0.02, atol=0)


@pytest.mark.parametrize("solver", [first_order, multistep])
def test_a_time_that_is_repeated_changes_nothing(solver):
    exact, times = lumps().denoiser(cosine()), log_snr_path(cosine(), 6)
    twice = last(sample(exact, X, times.repeat_interleave(2), solver=solver)).x
    assert_close(twice, last(sample(exact, X, times, solver=solver)).x, rtol=1e-9, atol=1e-9)
    beyond = [1.0, 1 - 1e-6, 1 - 2e-6, 0.5, 0.0]  # log-SNRs that the limit makes equal
    assert bool(last(sample(exact, X, beyond, solver=solver)).x.isfinite().all())


@pytest.mark.parametrize("times", [[0.5], [], [0.5, math.nan, 0.1], [1.2, 0.5], [0.5, -0.1]])
def test_a_walk_that_cannot_be_taken_is_refused_before_its_first_step(times):
    with pytest.raises(ValueError, match=r"at least two times|times lie in \[0, 1\]"):
        sample(lumps().denoiser(cosine()), X, times)


def test_a_walk_not_taken_costs_nothing():
    counted = Counting(lumps().denoiser(cosine()))
    walk = ddpm(counted, X, path(7))
    assert repr(walk) == "<sampling, 7 steps: not run yet: use watch(...) or last(...)>"
    assert counted.calls == 0
    next(walk)
    assert counted.calls == 1
    with pytest.raises(ValueError, match="two times"):
        ddim(counted, X, [0.5])
    with pytest.raises(ValueError, match="eta"):
        ddim(counted, X, path(3), eta=1.5)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        last(ddim(counted, X, [1.2, 0.5]))


def test_ddim_s_eta():
    """eta = 1 is DDPM and eta = 0 is noise-free; between, eta scales the standard deviation of the fresh noise."""
    exact, times = lumps().denoiser(cosine()), path(8)
    ends = [last(walk).x for walk in (ddim(exact, X, times, 1, seeded(2)), ddpm(exact, X, times, seeded(2)))]
    assert_close(*ends, rtol=0, atol=0)
    state = next(ddim(exact, X, [0.7, 0.4], 0.3, seeded(2)))
    fresh = noise_like(X, seeded(2))
    full, none = (next(ddim(exact, X, [0.7, 0.4], eta, seeded(2))).x for eta in (1.0, 0.0))
    std = SCHEDULES["cosine"](0.4, X)[1] * ancestral(cosine(), 0.7, 0.4) ** 0.5
    kept = ((1 - 0.09 * ancestral(cosine(), 0.7, 0.4)) / 1) ** 0.5
    eps_part = none - cosine()(0.4, X)[0] * state.x0_hat
    assert_close(
        state.x, cosine()(0.4, X)[0] * state.x0_hat + kept * eps_part + 0.3 * std * fresh, rtol=1e-12, atol=1e-12
    )
    assert not torch.allclose(full, none)


def test_the_generator_alone_decides():
    exact = lumps().denoiser(cosine())
    torch.manual_seed(1)
    one = last(ddpm(exact, X, path(10), seeded(3))).x
    torch.manual_seed(2)
    again, other = last(ddpm(exact, X, path(10), seeded(3))).x, last(ddpm(exact, X, path(10), seeded(4))).x
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", SOLVERS)
def test_dtype_is_kept(dtype, solver):
    states = list(
        sample(lumps().denoiser(cosine()), X.to(dtype), edm_path(cosine(), 5), 0.1, SOLVERS[solver], seeded())
    )
    assert {tensor.dtype for state in states for tensor in (state.x, state.x0_hat)} == {dtype}


def test_double_precision_means_double_precision():
    """The float32 walk differs from the float64 one by rounding alone, and not by less: nothing is cast in between."""
    exact = lumps().denoiser(cosine())
    fine, coarse = (last(ddim(exact, x, path(20))).x for x in (X, X.float()))
    assert 1e-8 < float((fine - coarse).abs().max()) < 1e-4


def test_grad_mode_never_spans_a_yield():
    """Two walks and a training step interleaved: the caller's grad mode is its own, the denoiser's is off."""
    inside = []
    exact = Counting(lumps().denoiser(cosine()), also=lambda x, t: inside.append(torch.is_grad_enabled()))
    first, second = ddim(exact, X, path(3)), ddpm(exact, X, path(3), seeded())
    for _ in range(3):
        next(first)
        assert torch.is_grad_enabled()
        with torch.no_grad():
            next(second)
            assert not torch.is_grad_enabled()
        assert torch.is_grad_enabled()
    assert inside == [False] * 6
    net = torch.nn.Linear(2, 2).double()
    model = NetDenoiser(Ignoring(net), cosine())
    assert not last(ddim(model.given(), X, path(2))).x.requires_grad


class Ignoring(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return self.net(x)


@pytest.mark.parametrize("solver", SOLVERS)
def test_memory_does_not_grow_with_the_walk(solver):
    """However long the walk, only the last two x and guesses are kept, and what the caller holds."""
    seen = []
    exact = Counting(lumps().denoiser(cosine()), also=lambda x, t: seen.append(weakref.ref(x)))
    walk = sample(exact, X.clone(), edm_path(cosine(), 30), 0.1, SOLVERS[solver], seeded())
    for _ in range(30):
        next(walk)
        assert sum(ref() is not None for ref in seen) <= 3


# Diffusers, from the same noise


def with_exact_tables(scheduler, betas):
    """Give diffusers' scheduler its table in float64: its own, multiplied up in float32, is off by 1e-5."""
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return scheduler


@pytest.fixture
def schedulers(monkeypatch):
    """Diffusers' two schedulers, drawing their noise the way this package does."""
    ddpm_module = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    ddim_module = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    for module in (ddpm_module, ddim_module):
        monkeypatch.setattr(
            module,
            "randn_tensor",
            lambda shape, generator, **how: noise_like(torch.empty(shape, dtype=how["dtype"]), generator),
        )
    return {"ddpm": ddpm_module.DDPMScheduler, "ddim": ddim_module.DDIMScheduler}


SAY = {"sample": lambda schedule, x, t, x0: x0, "epsilon": eps_from_x0, "v_prediction": v_from_x0}
WALKS = [
    ("ddpm", 125, {}),
    ("ddim", 50, {"eta": 0.0}),
    ("ddim", 50, {"eta": 0.7}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prediction", SAY)
@pytest.mark.parametrize("kind", ["linear", "squaredcos_cap_v2"])
def test_diffusers_walks_the_same_way(schedulers, kind, prediction, dtype):
    """Every step of whole walks: within 1e-5 in float32 and 1e-10 in float64 (1,000 steps: 6e-6 and 1e-12).

    Diffusers counts its times i = T-1 .. 0 and steps from 0 to "the data"; ours are t = (i + 1) / T, and then 0.
    """
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-10}[dtype]
    for kind_of_walk, n, eta in WALKS if prediction == "sample" else WALKS[-1:]:
        made = schedulers[kind_of_walk](1000, 1e-4, 0.02, kind, clip_sample=False, prediction_type=prediction)
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64) if kind == "linear" else made.betas.double()
        schedule = linear_beta(1000) if kind == "linear" else from_betas(betas)
        oracle, exact = with_exact_tables(made, betas), lumps().denoiser(schedule)
        oracle.set_timesteps(n)
        times = [(int(i) + 1) / 1000 for i in oracle.timesteps] + [0.0]
        x, theirs = normal(4, 2, dtype=dtype), seeded(7)
        walk = getattr(sampling, kind_of_walk)(exact, x, times, generator=seeded(7), **eta)
        for i, t, state in zip(oracle.timesteps, times, walk, strict=False):
            answer = SAY[prediction](schedule, x, t, exact(x, t))
            x = oracle.step(answer, int(i), x, generator=theirs, **eta).prev_sample.to(dtype)
            assert_close(state.x, x, rtol=tolerance, atol=tolerance)
        assert state.t == 0


# Claims D3 and D4 of the lecture's references, on three modes on the line


def errors(schedule, walk, budgets, start):
    """The W2 error of a walk at each number of evaluations, from 5,000 evenly spread quantiles of the prior."""
    exact, truth = three_modes().denoiser(schedule), quantiles(three_modes(), 5_000)
    return [wasserstein(last(walk(exact, start, n)).x, truth) for n in budgets]


def test_claim_d3_sampling_error_against_steps():
    """DDIM's error falls at order 1; with few steps the ancestral sampler's is larger.

    The ancestral errors come with the noise of drawing: two draws of 5,000 from this mixture are 0.03 apart (median of
    200; 0.09 at the 99.9 % quantile), so they are averaged over 8 walks, which leaves about 0.01.
    """
    start, budgets = normal_quantiles(5_000), (8, 16, 32, 64)
    smooth = errors(cosine(), lambda d, x, n: ddim(d, x, path(n)), budgets, start)
    assert 0.85 < order(budgets, smooth) < 1.05, smooth  # measured 0.93
    for n, error in zip((4, 8), errors(cosine(), lambda d, x, n: ddim(d, x, path(n)), (4, 8), start), strict=True):
        walks = [
            errors(cosine(), lambda d, x, n, k=k: ddpm(d, x, path(n), seeded(k)), (n,), start)[0] for k in range(8)
        ]
        assert sum(walks) / 8 > error + 0.02, (n, error, walks)


def test_claim_d4_order_is_not_free():
    """sigma 80 -> 0.002, rho = 7, equal evaluations: 2M beats DDIM always, Heun only from about 24 on."""
    ve, start = exploding(80.0, 0.002), 80 * normal_quantiles(5_000)
    budgets = (4, 8, 16, 24, 32, 64)
    euler = errors(ve, lambda d, x, n: ddim(d, x, edm_path(ve, n)), budgets, start)
    two_m = errors(ve, lambda d, x, n: sample(d, x, edm_path(ve, n), solver=multistep), budgets, start)
    second = errors(
        ve, lambda d, x, n: sample(d, x, edm_path(ve, n // 2), solver=heun), budgets, start
    )  # n - 1 evaluations
    assert all(a < b for a, b in zip(two_m, euler, strict=True)), (two_m, euler)
    assert all(a > b for a, b in zip(second[:3], euler[:3], strict=True)), (second, euler)
    assert all(a < b for a, b in zip(second[3:], euler[3:], strict=True)), (second, euler)
