"""x0, eps, v and the score are one guess in four languages, on every schedule."""

import inspect

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cs348k_diffusion import schedule
from cs348k_diffusion.denoiser import (
    FROM_X0,
    TO_X0,
    Denoiser,
    NetDenoiser,
    clip,
    drop_condition,
    eps_from_x0,
    score_from_x0,
    v_from_x0,
    x0_from_score,
    x0_from_v,
)
from cs348k_diffusion.forward import add_noise
from tests.oracles import SCHEDULES, as_double, lumps, normal, seeded, share_bound

TIMES = as_double([1e-4, 0.01, 0.3, 0.7, 0.97, 0.999])
X0, EPS = normal(6, 2, seed=1), normal(6, 2, seed=2)
WITHOUT_SIGNAL = [("cosine", "eps"), ("straight", "eps")]  # these end at alpha = 0, where eps says nothing of x0
everywhere = pytest.mark.parametrize("name", SCHEDULES)


class Wavy(nn.Module):
    """A small network with fixed random weights that depends on x, t and a condition."""

    null = {"c": torch.zeros(1, 2)}  # noqa: RUF012 (a constant of the test)

    def __init__(self):
        super().__init__()
        self.seen = []
        self.register_buffer("weight", normal(2, 2, seed=5))

    def forward(self, x, t, c=None):
        self.seen.append((x, t, c))
        return torch.sin(x @ self.weight + t[:, None]) + (0 if c is None else c)


@everywhere
def test_the_true_noise_and_velocity_are_recovered(name):
    x_t = add_noise(SCHEDULES[name], X0, TIMES, EPS)
    alpha, sigma = SCHEDULES[name](TIMES, X0)
    r = (alpha**2 + sigma**2).sqrt()
    assert_close(eps_from_x0(SCHEDULES[name], x_t, TIMES, X0), EPS, rtol=1e-9, atol=1e-9)
    assert_close(v_from_x0(SCHEDULES[name], x_t, TIMES, X0), (alpha * EPS - sigma * X0) / r, rtol=1e-9, atol=1e-9)
    assert_close(score_from_x0(SCHEDULES[name], x_t, TIMES, X0), -EPS / sigma, rtol=1e-9, atol=1e-9)


@everywhere
@pytest.mark.parametrize("space", TO_X0)
def test_there_and_back_again(name, space):
    """From x0 to each space and back, and from the space to x0 and back, for any guess and any x."""
    guess, x = normal(6, 2, seed=3), normal(6, 2, seed=4)
    there = FROM_X0[space](SCHEDULES[name], x, TIMES, guess)
    assert_close(TO_X0[space](SCHEDULES[name], x, TIMES, there), guess, rtol=1e-9, atol=1e-9)
    back = TO_X0[space](SCHEDULES[name], x, TIMES, guess)
    assert_close(FROM_X0[space](SCHEDULES[name], x, TIMES, back), guess, rtol=1e-7, atol=1e-7)


@everywhere
def test_the_score_and_back(name):
    x, guess = normal(6, 2, seed=4), normal(6, 2, seed=3)
    score = score_from_x0(SCHEDULES[name], x, TIMES, guess)
    assert_close(x0_from_score(SCHEDULES[name], x, TIMES, score), guess, rtol=1e-9, atol=1e-9)
    exact = lumps().denoiser(SCHEDULES[name])
    times = as_double([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    assert_close(score_from_x0(SCHEDULES[name], x, times, exact(x, times)), exact.score(x, times), rtol=1e-8, atol=1e-9)


@everywhere
def test_velocity_needs_no_care_at_the_ends(name):
    ends = as_double([0.0, 1.0])
    x_t = add_noise(SCHEDULES[name], X0[:2], ends, EPS[:2])
    v = v_from_x0(SCHEDULES[name], x_t, ends, X0[:2])
    assert bool(v.isfinite().all())
    assert_close(x0_from_v(SCHEDULES[name], x_t, ends, v), X0[:2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("predict", TO_X0)
@pytest.mark.parametrize("name", ["linear_beta", "cosine", "straight"])
def test_rewriting_the_schedule_to_alpha_one_changes_nothing(name, predict):
    """x / alpha under (1, sigma / alpha) is the same picture at the same noise, so a net gives the same x0_hat."""
    original = SCHEDULES[name]
    if (name, predict) in WITHOUT_SIGNAL:
        original = schedule.Schedule(
            "short", lambda t: SCHEDULES[name].alpha(0.99 * t), lambda t: SCHEDULES[name].sigma(0.99 * t)
        )
    rewritten = schedule.Schedule("rewritten", torch.ones_like, lambda t: original.sigma(t) / original.alpha(t))
    net, times, x = Wavy(), as_double([0.01, 0.3, 0.7, 0.97]), normal(4, 2)
    alpha, _ = original(times, x)
    first, second = NetDenoiser(net, original, predict), NetDenoiser(net, rewritten, predict)
    assert_close(first(x, times), second(x / alpha, times), rtol=1e-9, atol=1e-10)


@everywhere
def test_the_network_sees_unit_scale(name):
    """x_t / r has variance (alpha^2 var(x0) + sigma^2) / (alpha^2 + sigma^2) = 1 for data of unit variance."""
    net = Wavy()
    alpha, sigma = SCHEDULES[name](TIMES, X0)
    x = torch.cat([alpha, sigma], 1)  # the two axes along which x_t is made of x0 and of eps
    NetDenoiser(net, SCHEDULES[name], "v")(x, TIMES)
    seen, t, _ = net.seen[0]
    assert_close(seen.square().sum(1), torch.ones(6).double(), rtol=1e-12, atol=0)
    assert_close(t, TIMES, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "predict"),
    [(name, predict) for name in SCHEDULES for predict in TO_X0 if (name, predict) not in WITHOUT_SIGNAL],
)
def test_a_perfect_network_is_a_perfect_denoiser(name, predict):
    """Wrap the exact answer in each space as a network, and the exact denoiser comes out."""
    exact = lumps().denoiser(SCHEDULES[name])

    class Perfect(nn.Module):
        def forward(self, x, t):
            alpha, sigma = SCHEDULES[name](t, x)
            x_t = x * (alpha**2 + sigma**2).sqrt()
            return FROM_X0[predict](SCHEDULES[name], x_t, t, exact(x_t, t))

    x, times = normal(4, 2), as_double([0.05, 0.3, 0.7, 0.97])
    assert_close(NetDenoiser(Perfect(), SCHEDULES[name], predict)(x, times), exact(x, times), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("name", "predict"), WITHOUT_SIGNAL)
def test_eps_is_refused_where_no_signal_is_left(name, predict):
    with pytest.raises(ValueError, match="use v or x0"):
        NetDenoiser(Wavy(), SCHEDULES[name], predict)


def test_an_unknown_prediction_is_refused():
    unchecked = inspect.unwrap(NetDenoiser.__init__)  # as students meet it, without the tests' checks of types
    with pytest.raises(ValueError, match='"x0", "eps" or "v"'):
        unchecked(NetDenoiser.__new__(NetDenoiser), Wavy(), SCHEDULES["cosine"], "epsilon")


def test_conditions_of_leading_size_one_serve_the_batch():
    model, x, t = NetDenoiser(Wavy(), schedule.cosine()), normal(4, 2), as_double([0.1, 0.2, 0.5, 0.9])
    c = as_double([[0.3, -0.2]])
    assert_close(model.given(c=c)(x, t), model.given(c=c.expand(4, 2))(x, t), rtol=0, atol=0)
    assert model.net.seen[0][2].shape == (4, 2)
    each = normal(4, 2, seed=8)
    rows = torch.cat([model.given(c=each[i : i + 1])(x[i : i + 1], t[i : i + 1]) for i in range(4)])
    assert_close(model.given(c=each)(x, t), rows, rtol=1e-12, atol=0)


def test_given_nothing_is_the_null():
    model, x, t = NetDenoiser(Wavy(), schedule.cosine()), normal(4, 2), torch.full((4,), 0.5)
    assert_close(model.given()(x, t), model.given(**model.null)(x, t), rtol=0, atol=0)
    assert model.given().schedule is model.schedule
    assert isinstance(model.given(), Denoiser)
    assert isinstance(lumps().denoiser(schedule.cosine()), Denoiser)
    assert NetDenoiser(nn.Identity(), schedule.cosine()).null == {}


def test_clip_is_the_clamp_of_the_guess():
    exact, x = lumps().denoiser(schedule.cosine()), 3 * normal(20, 2)
    clipped = clip(exact, -0.5, 0.4)
    assert clipped.schedule == exact.schedule
    assert_close(clipped(x, torch.full((20,), 0.3)), exact(x, 0.3).clamp(-0.5, 0.4), rtol=1e-6, atol=1e-7)
    assert float(exact(x, 0.3).abs().max()) > 0.5  # so there was something to clip


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_drop_is_per_example_at_rate_p(p):
    n, null = 20_000, {"y": torch.tensor([9]), "words": torch.full((1, 3), -1.0)}
    cond = {"y": torch.randint(9, (n,), generator=seeded(1)), "words": torch.rand(n, 3, generator=seeded(2))}
    dropped = drop_condition(cond, null, p, seeded(3))
    lost = dropped["y"] == 9
    assert abs(float(lost.double().mean()) - p) <= share_bound(p, n, draws=4)  # 99.9 % over the four rates
    # all conditions of an example go together, and the others are untouched
    assert torch.equal(dropped["words"], torch.where(lost[:, None], torch.tensor(-1.0), cond["words"]))
    assert torch.equal(dropped["y"], torch.where(lost, torch.tensor(9), cond["y"]))
    assert dropped["y"].dtype == torch.long
    again = drop_condition(cond, null, p, seeded(3))
    assert torch.equal(again["y"], dropped["y"])


def test_drop_without_a_null_says_so():
    assert drop_condition({}, {}, 0.5) == {}
    with pytest.raises(KeyError, match=r"no null value for \['y'\]"):
        drop_condition({"y": torch.zeros(3)}, {}, 0.5)
