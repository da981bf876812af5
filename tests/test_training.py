"""The loop that everything learns through, the loss it minimises, and what it reaches on data with a known answer."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cs348k_diffusion.denoiser import FROM_X0, NetDenoiser, score_from_x0
from cs348k_diffusion.exact import gaussian
from cs348k_diffusion.forward import add_noise
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.running import last
from cs348k_diffusion.schedule import cosine, linear_beta
from cs348k_diffusion.training import average_into, denoising, fit, loss_by_time, uniform_times, update, warm_cosine
from tests.oracles import SCHEDULES, as_double, normal, seeded

MEAN, COV = as_double([0.5, -1.0]), as_double([[0.5, 0.2], [0.2, 0.3]])
DATA = gaussian(MEAN, COV)


class Small(nn.Module):
    """A small MLP of x, the time and a condition; its own weights come from a seed."""

    def __init__(self, width=48):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        for index, weight in enumerate(self.parameters()):
            nn.init.normal_(weight, 0, 0.3, generator=seeded(index))

    @property
    def null(self):
        return {"c": torch.full((1,), -1.0)}

    def forward(self, x, t, c=None):
        self.calls += 1
        c = torch.full_like(t, -1.0) if c is None else c.to(t)
        return self.layers(torch.cat([x, t[:, None], torch.cos(3 * t)[:, None], c[:, None]], 1))


def small(predict="v", schedule=None):
    return NetDenoiser(Small(), schedule or cosine(), predict)


def draws(data, batch, generator):
    while True:
        yield data.sample(batch, generator)


def points(batch=32, seed=1):
    return draws(DATA.to(torch.zeros(1)), batch, seeded(seed))


# The loop


def test_training_is_lazy_and_hands_out_every_step():
    model, taken = small(), []
    before = copy.deepcopy(model.state_dict())
    counted = (taken.append(1) or batch for batch in points())
    run = fit(model, counted, 5, denoising(), generator=seeded())
    assert repr(run) == "<training, 5 steps: not run yet: use watch(...) or last(...)>"
    assert not taken
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    first = next(run)
    assert (first.step, len(taken)) == (1, 1)
    assert [progress.step for progress in run] == [2, 3, 4, 5]
    assert len(taken) == 5
    assert first.label() == f"update 1, loss {first.loss:.4f}"
    with pytest.raises(ValueError, match="at least one step"):
        fit(model, points(), 0, denoising())


def test_the_loss_reported_is_the_loss_of_the_batch():
    model = small()
    want = float(denoising()(copy.deepcopy(model), next(points()), seeded(9)).detach())
    assert next(fit(model, points(), 3, denoising(), generator=seeded(9))).loss == pytest.approx(want, rel=1e-6)


def test_the_generator_alone_decides():
    ends = []
    for seed in (4, 4, 5):
        torch.manual_seed(len(ends))
        ends.append(last(fit(small(), points(), 5, denoising(dropout=0.5), generator=seeded(seed))).model.state_dict())
    assert_close(ends[0], ends[1], rtol=0, atol=0)
    assert any(not torch.equal(ends[0][name], ends[2][name]) for name in ends[0])


def test_the_averaged_model_is_the_warmed_up_mean():
    """average_k = d_k average_{k-1} + (1 - d_k) model_k, d_k = min(ema, (1 + k) / (10 + k)), from the first weights."""
    model, ema = small(), 0.25
    want = [weight.detach().double().clone() for weight in model.parameters()]
    for progress in fit(model, points(), 12, denoising(), lr=0.05, ema=ema, generator=seeded()):
        decay = min(ema, (1 + progress.step) / (10 + progress.step))
        want = [
            decay * old + (1 - decay) * new.detach().double() for old, new in zip(want, model.parameters(), strict=True)
        ]
        got = [weight.double() for weight in progress.model.parameters()]
        assert_close(got, want, rtol=1e-4, atol=1e-6)
    assert decay == ema  # the warm-up was over, so both branches have been seen
    assert not progress.model.training
    assert not any(weight.requires_grad for weight in progress.model.parameters())
    assert int(progress.model.net.calls) == int(model.net.calls) == 12  # buffers are copied, not averaged


def test_average_into_closed_form():
    """k steps towards fixed weights w leave decay^k of the start: average = w + decay^k (start - w)."""
    start, goal = small().double(), small().double()
    with torch.no_grad():
        for weight in goal.parameters():
            weight.copy_(torch.randn(weight.shape, generator=seeded()).double())
    average = copy.deepcopy(start)
    for _ in range(7):
        average_into(average, goal, 0.8)
    for got, first, w in zip(average.parameters(), start.parameters(), goal.parameters(), strict=True):
        assert_close(got, w + 0.8**7 * (first - w), rtol=1e-12, atol=1e-12)


def test_one_update_is_adamw_on_the_clipped_gradient():
    model, again = small(), small()
    optimizers = [torch.optim.AdamW(each.parameters(), lr=0.01) for each in (model, again)]
    batch = 100 * next(points())  # so large that the norm is clipped
    value = update(model, batch, denoising(), optimizers[0], 0.5, seeded(3))
    loss = denoising()(again, batch, seeded(3))
    loss.backward()
    assert float(torch.stack([p.grad.norm() for p in again.parameters()]).norm()) > 0.5
    nn.utils.clip_grad_norm_(again.parameters(), 0.5)
    optimizers[1].step()
    assert value == pytest.approx(float(loss.detach()))
    assert_close(model.state_dict(), again.state_dict(), rtol=1e-6, atol=1e-7)


def test_the_learning_rate_follows_its_function():
    asked, rate = [], warm_cosine(2e-3, warm=0.25)
    last(fit(small(), points(), 4, denoising(), lr=lambda fraction: asked.append(fraction) or rate(fraction)))
    assert asked[-4:] == [0.0, 0.25, 0.5, 0.75]
    assert rate(0.25) == pytest.approx(2e-3 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate(0.5) == pytest.approx(1e-3)
    assert rate(1.0) == pytest.approx(0, abs=1e-12)
    assert 0 < rate(0.0) < rate(0.1) < rate(0.25)


def test_a_loss_that_is_not_a_number_stops_before_it_spoils_the_weights():
    model = small()
    batches = itertools.chain(itertools.islice(points(), 2), [torch.full((8, 2), torch.nan)])
    run = fit(model, batches, 5, denoising(), generator=seeded())
    kept = [copy.deepcopy(model.state_dict()) for _ in range(2) if next(run)]
    with pytest.raises(FloatingPointError, match="lower lr"):
        next(run)
    weights = dict(model.named_parameters())
    assert_close(
        {name: weights[name].detach() for name in weights}, {name: kept[-1][name] for name in weights}, rtol=0, atol=0
    )


def test_batches_that_run_out_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="ran out at update 3 of 5"):
        last(fit(small(), itertools.islice(points(), 2), 5, denoising()))


def test_it_trains_whatever_the_caller_s_grad_mode_and_leaves_that_alone():
    model = small()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for _ in fit(model, points(), 2, denoising(), generator=seeded()):
            assert not torch.is_grad_enabled()
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    for _ in fit(model, points(), 2, denoising(), generator=seeded()):
        assert torch.is_grad_enabled()
    assert not model.training


# The loss


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predict", ["x0", "v", "eps"])
def test_losses_in_each_space_are_weighted_x0_losses(name, predict):
    """Weights 1 for x0, 1 + SNR for v (off variance preserving schedules too), SNR for eps: the same number."""
    schedule = SCHEDULES[name]
    if predict == "eps" and name in ("cosine", "straight"):
        schedule = linear_beta(50)  # eps prediction is refused where no signal is left
    model, x0 = small(predict, schedule).double(), normal(64, 2)
    weight = {"x0": torch.ones_like, "v": lambda l: 1 + l.exp(), "eps": torch.exp}[predict]
    times = lambda n, generator: 0.05 + 0.9 * uniform_times(n, generator)  # noqa: E731 (inside log-SNR's clamp)
    plain = denoising(times=times)(model, x0, seeded(2))
    weighted = denoising(weight=weight, times=times)(model, x0, seeded(2))
    assert_close(plain, weighted, rtol=1e-9, atol=0)


@pytest.mark.parametrize("predict", ["x0", "v", "eps"])
def test_the_loss_by_hand(predict):
    """Draw the same times and noises, in the same order, and average the squared error over everything."""
    schedule = linear_beta(50)
    model, x0, generator = small(predict, schedule).double(), normal(64, 2), seeded(2)
    t = uniform_times(64, generator).double()
    eps = noise_like(x0, generator)
    alpha, sigma = (a[:, None] for a in (schedule.alpha(t), schedule.sigma(t)))
    want = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0}[predict]
    got = model.net(alpha * x0 + sigma * eps, t)
    assert_close(denoising()(model, x0, seeded(2)), ((got - want) ** 2).mean(), rtol=1e-6, atol=0)


def test_the_target_is_told_everything_and_taught_nothing():
    """A distillation target sees x0, x_t, t and the condition; no gradient flows into the teacher that states it."""
    teacher, student, seen = small().double(), small().double(), []

    def target(x0, x_t, t, cond):
        seen.append((x0, x_t, t, cond))
        return teacher(x_t, t, **cond)

    x0, c = normal(64, 2), torch.arange(64.0)
    loss = denoising(target=target)(student, (x0, {"c": c}), seeded(2))
    (seen_x0, x_t, t, cond) = seen[0]
    generator = seeded(2)
    assert_close(t, uniform_times(64, generator).double(), rtol=0, atol=0)
    assert_close(x_t, add_noise(cosine(), x0, t, noise_like(x0, generator)), rtol=1e-12, atol=1e-12)
    assert seen_x0 is x0
    assert torch.equal(cond["c"], c)
    assert float(loss.detach()) < 1e-20  # the student is its teacher's copy
    student.net.layers[0].weight.data += 0.1
    denoising(target=target)(student, (x0, {"c": c}), seeded(2)).backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(bool((weight.grad != 0).any()) for weight in student.parameters())


@pytest.mark.parametrize("weight", [None, torch.ones_like])
def test_dropout_hands_the_network_the_null(weight):
    seen = []

    class Watched(Small):
        def forward(self, x, t, c=None):
            seen.append(c)
            return super().forward(x, t, c)

    model, c = NetDenoiser(Watched(), cosine()), torch.arange(256.0)
    denoising(dropout=0.3, weight=weight)(model, (torch.zeros(256, 2), {"c": c}), seeded(2))
    lost = seen[0] == -1
    assert 0 < int(lost.sum()) < 256
    assert torch.equal(seen[0][~lost], c[~lost])
    denoising(weight=weight)(model, (torch.zeros(256, 2), {"c": c}), seeded(2))
    assert torch.equal(seen[1], c)
    denoising(dropout=0.3, weight=weight)(model, torch.zeros(256, 2), seeded(2))
    assert seen[2] is None


def test_times_are_spread_evenly():
    """One in each n-th of (0, 1), never 0 itself, where there is no noise to predict."""
    for n in (1, 7, 128):
        for seed in range(20):
            t = uniform_times(n, seeded(seed))
            assert t.shape == (n,)
            assert 0 < float(t.min()) <= float(t.max()) < 1
            assert sorted((t * n).floor().long().clamp(max=n - 1).tolist()) == list(range(n))
    assert not torch.equal(uniform_times(7, seeded(1)), uniform_times(7, seeded(2)))


@pytest.mark.parametrize("predict", ["x0", "v", "eps"])
def test_the_shift_that_lands_on_zero_is_harmless(monkeypatch, predict):
    """Once in 100,000 batches the even spread hits t = 0; the loss and its gradient must stay finite there."""
    monkeypatch.setattr("cs348k_diffusion.training.uniform", lambda n, generator=None: torch.zeros(n))
    model = small(predict, linear_beta(50))
    loss = denoising()(model, next(points(8)), seeded())
    loss.backward()
    assert 0 < float(loss.detach()) < 100
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())


def bayes_loss(schedule, t):
    """The least possible v-space loss at each t: (1 + SNR) tr(posterior covariance of x0) / d."""
    variances = torch.linalg.eigvalsh(COV)
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
    posterior = variances * sigma**2 / (alpha**2 * variances + sigma**2)
    return (1 + (alpha / sigma).square().squeeze(1)) * posterior.mean(1)


class Perfect(nn.Module):
    """The network that says the exact velocity."""

    def forward(self, x, t):
        return FROM_X0["v"](cosine(), x, t, DATA.denoiser(cosine())(x, t))


def test_the_perfect_network_s_loss_is_the_bayes_loss():
    """Mean of 40 batches of 1,000; its standard error is taken from the batches, and 3.6 of them is 99.9 % of t(39)."""
    model, generator = NetDenoiser(Perfect(), cosine()), seeded(3)
    losses = torch.stack([denoising()(model, DATA.sample(1000, generator), generator) for _ in range(40)])
    want = bayes_loss(cosine(), (torch.arange(10_000).double() + 0.5) / 10_000).mean()
    assert abs(float(losses.mean() - want)) < 3.6 * float(losses.std()) / 40**0.5
    assert float(losses.std()) / 40**0.5 < 0.01 * float(want)  # so the statement has some strength


def test_loss_by_time_is_the_posterior_variance():
    """40,000 examples; 6 % is more than four standard errors of the mean square of two normal numbers each."""
    model, times = NetDenoiser(Perfect(), cosine()), (0.1, 0.5, 0.9)
    got = loss_by_time(model, DATA.sample(40_000, seeded(1)), times, seeded(2))
    snr = torch.exp(cosine().log_snr(as_double(times)))
    assert_close(got, bayes_loss(cosine(), as_double(times)) / (1 + snr), rtol=0.06, atol=0)
    assert not got.requires_grad


@pytest.fixture(scope="module")
def learned():
    """600 updates of a small MLP on Gaussian data."""
    run = fit(small(), points(256), 600, denoising(), lr=warm_cosine(1e-2), ema=0.98, generator=seeded(5))
    return last(run).model


def test_learned_loss_is_near_the_bayes_loss(learned):
    """Within 1.1x: the loss is the Bayes loss plus the mean squared distance to the exact velocity."""
    model, generator = learned.double(), seeded(6)
    x0 = DATA.sample(20_000, generator)
    t = uniform_times(20_000, generator).double()
    x_t = add_noise(cosine(), x0, t, noise_like(x0, generator))
    excess = (model.raw(x_t, t) - Perfect()(x_t, t)).square().mean()
    assert float(excess) < 0.1 * float(bayes_loss(cosine(), (torch.arange(10_000).double() + 0.5) / 10_000).mean())


def test_claim_d5_the_score_is_worst_at_low_noise_off_the_data(learned):
    """Relative error of the learned score at points three standard deviations from the mean, far noise against near."""
    model, exact = learned.double(), DATA.denoiser(cosine())
    angles = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)[:-1]
    ring = torch.stack([angles.cos(), angles.sin()], 1) @ torch.linalg.cholesky(COV).T

    def relative_error(t, reach):
        x = cosine()(t, ring)[0] * (MEAN + reach * ring)
        truth = exact.score(x, t)
        return float((score_from_x0(cosine(), x, t, model(x, t)) - truth).norm() / truth.norm())

    assert relative_error(0.02, 3.0) > 3 * relative_error(0.6, 3.0)
