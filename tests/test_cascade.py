"""The cascade: its kernel against torch and Pillow, its law and its fold against Gaussian data, where all is known."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from cs348k_diffusion import cosine, gaussian, keyed_generator, last, path
from cs348k_diffusion.cascade import (
    Upsampler,
    augment,
    bicubic,
    cascade,
    cubic,
    diffusion,
    first,
    gaussian_given,
    regression,
    resize,
    resize_matrix,
    training_pair,
)
from cs348k_diffusion.nets.upsampler import UpsamplerUNet
from tests.untrained import awake

SIZES = ((8, 32), (32, 8), (13, 32), (32, 13), (16, 16), (1, 5), (64, 1))


@pytest.fixture
def g():
    return torch.Generator().manual_seed(0)


# ---- the kernel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [-0.5, -0.75])
def test_the_kernel_is_one_at_zero_zero_at_integers_and_smooth(a):
    whole = torch.arange(-3.0, 4.0, dtype=torch.float64)
    torch.testing.assert_close(cubic(whole, a), (whole == 0).double())
    for x in (0.0, 1.0, 2.0):
        steps = torch.tensor([-1e-6, 0.0, 1e-6], dtype=torch.float64) + x
        left, here, right = cubic(steps, a)
        torch.testing.assert_close((here - left) / 1e-6, (right - here) / 1e-6, atol=2e-5, rtol=0)


def test_with_half_the_kernel_gives_back_parabolas(g):
    """a = -1/2 is the one value whose interpolation is exact to third order: it reproduces x^2."""
    x = torch.arange(20, dtype=torch.float64)
    fine = (torch.arange(80, dtype=torch.float64) + 0.5) / 4 - 0.5
    inner = slice(12, -12)
    torch.testing.assert_close((resize_matrix(cubic, 20, 80) @ x**2)[inner], (fine**2)[inner])
    assert (resize_matrix(partial(cubic, a=-0.75), 20, 80) @ x**2 - fine**2)[inner].abs().max() > 0.05


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_resizing_is_torch_s_with_antialiasing(n, size, g):
    x = torch.randn(2, 3, n, n, generator=g).double()
    torch.testing.assert_close(resize(x, size), F.interpolate(x, (size, size), mode="bicubic", antialias=True))


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_and_without(n, size, g):
    x = torch.randn(2, 1, n, n, generator=g).double()
    ours = resize(x, size, a=-0.75, antialias=False, repeat=True)
    torch.testing.assert_close(ours, F.interpolate(x, (size, size), mode="bicubic"))


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_resizing_is_pillow_s(n, size, g):
    x = torch.randn(n, n, generator=g)
    pillow = Image.fromarray(x.numpy()).resize((size, size), Image.Resampling.BICUBIC)
    torch.testing.assert_close(resize(x, size), torch.from_numpy(np.array(pillow)), atol=2e-6, rtol=1e-5)


def test_a_rectangle_keeps_its_proportions(g):
    x = torch.randn(1, 1, 12, 20, generator=g)
    assert resize(x, 6).shape == (1, 1, 6, 10)
    torch.testing.assert_close(resize(x, 6), F.interpolate(x, (6, 10), mode="bicubic", antialias=True))


def test_constants_stay_and_fine_stripes_vanish_only_with_antialiasing():
    stripes = torch.tensor([1.0, -1.0]).repeat(32, 16)
    torch.testing.assert_close(resize(torch.full((3, 9, 9), 0.7), 24), torch.full((3, 24, 24), 0.7))
    assert resize(stripes, 8)[:, 1:-1].abs().max() < 0.01
    assert resize(stripes[:, :-1], 8, antialias=False).abs().max() > 0.5  # aliased: a slow wave that is not there


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="at least one pixel, got 4 to be resized to 0"):
        resize(torch.zeros(4, 4), 0)


# ---- Gaussian data: everything is known ----------------------------------------------------------------------------


def smooth_line(d=16, length=3.0):
    """A smooth Gaussian process on a line of d pixels: its mean and covariance, float64."""
    place = torch.arange(d, dtype=torch.float64)
    cov = torch.exp(-((place[:, None] - place) ** 2) / (2 * length**2)) + 0.02 * torch.eye(d, dtype=torch.float64)
    return 0.5 * torch.sin(place), cov


def pairs(n=20_000):
    """High-resolution lines, their shrunk versions, and the matrix that shrinks."""
    mean, cov = smooth_line()
    shrink = resize_matrix(cubic, 16, 4)
    x = gaussian(mean, cov).sample(n, keyed_generator(9, 1))
    return mean, cov, shrink, x, x @ shrink.T


def test_the_posterior_is_that_of_the_joint_gaussian():
    """An independent route: the precision form, for a noisy low-resolution picture."""
    mean, cov, shrink, _, low = pairs(5)
    got_mean, got_cov = gaussian_given(mean, cov, shrink, low, std=0.3)
    precision = torch.linalg.inv(cov) + shrink.T @ shrink / 0.3**2
    want_cov = torch.linalg.inv(precision)
    want_mean = (torch.linalg.solve(cov, mean) + low @ shrink / 0.3**2) @ want_cov
    torch.testing.assert_close(got_cov, want_cov)
    torch.testing.assert_close(got_mean, want_mean)


def test_a_draw_has_twice_the_squared_error_of_the_mean():
    mean, cov, shrink, x, low = pairs()
    centre, spread = gaussian_given(mean, cov, shrink, low)
    z = torch.randn(x.shape, generator=keyed_generator(9, 2), dtype=torch.float64)
    draw = centre + z @ torch.linalg.cholesky(spread + 1e-10 * torch.eye(16)).T
    errors = torch.stack([(y - x).square().mean() for y in (centre, draw)])
    # the mean's error is trace / d; its relative standard error is below 1 % at 20,000 lines
    torch.testing.assert_close(errors[0], spread.trace() / 16, rtol=0.02, atol=0)
    torch.testing.assert_close(errors[1] / errors[0], torch.tensor(2.0, dtype=torch.float64), rtol=0.02, atol=0)
    assert 10 * math.log10(2) == pytest.approx(3.01, abs=0.01)


def test_the_mean_of_k_draws_approaches_the_mean():
    """E |mean of k draws - x|^2 = (1 + 1/k) trace: 3.01 dB lost at k = 1, 0.26 dB at 16."""
    mean, cov, shrink, x, low = pairs(4000)
    centre, spread = gaussian_given(mean, cov, shrink, low)
    root = torch.linalg.cholesky(spread + 1e-10 * torch.eye(16))
    for k in (1, 4, 16):
        z = torch.randn(k, *x.shape, generator=keyed_generator(9, 3, k), dtype=torch.float64).mean(0)
        error = (centre + z @ root.T - x).square().mean()
        torch.testing.assert_close(error, (1 + 1 / k) * spread.trace() / 16, rtol=0.03, atol=0)


def test_a_cascade_of_conditionals_has_the_covariance_of_the_joint():
    """By the law of total covariance, through two stages: 4 pixels, then 8 given 4, then 16 given 8."""
    mean, cov = smooth_line()
    to_8, to_4 = resize_matrix(cubic, 16, 8), resize_matrix(cubic, 8, 4)
    mean_8, cov_8 = to_8 @ mean, to_8 @ cov @ to_8.T
    spread_8 = gaussian_given(mean_8, cov_8, to_4, to_4[None] @ mean_8)[1]
    spread_16 = gaussian_given(mean, cov, to_8, mean_8[None])[1]
    gain_8 = torch.linalg.solve(to_4 @ cov_8 @ to_4.T, to_4 @ cov_8).T
    gain_16 = torch.linalg.solve(cov_8, to_8 @ cov).T
    drawn_8 = gain_8 @ (to_4 @ cov_8 @ to_4.T) @ gain_8.T + spread_8
    torch.testing.assert_close(drawn_8, cov_8)
    torch.testing.assert_close(gain_16 @ drawn_8 @ gain_16.T + spread_16, cov)


def small_pictures():
    """Gaussian pictures of 8 x 8 pixels: mean (64,), covariance (64, 64), and the matrices that shrink 8 to 4 to 2."""
    line = torch.exp(-((torch.arange(8.0)[:, None] - torch.arange(8.0)) ** 2) / 8).double()
    cov = torch.kron(line, line) + 0.01 * torch.eye(64, dtype=torch.float64)
    shrinks = [torch.kron(w, w) for w in (resize_matrix(cubic, 8, 4), resize_matrix(cubic, 4, 2))]
    return torch.linspace(-1, 1, 64, dtype=torch.float64), cov, *shrinks


class ExactNet(torch.nn.Module):
    """The ideal network of an Upsampler on Gaussian pictures: E[r | r_t, low_res], r = (x - up(low_res)) / spread."""

    def __init__(self, mean, cov, shrink, spread):
        super().__init__()
        self.mean, self.cov, self.shrink, self.spread = mean, cov, shrink, spread

    def forward(self, x, t, low_res, level):
        centre, cov = gaussian_given(self.mean, self.cov, self.shrink, low_res.flatten(1), float(level[0]))
        centre, cov = (centre - resize(low_res, x.shape[-1]).flatten(1)) / self.spread, cov / self.spread**2
        alpha, sigma = cosine()(t, x.flatten(1))
        gain = torch.linalg.solve(alpha[0] ** 2 * cov + sigma[0] ** 2 * torch.eye(len(cov)).to(x), alpha[0] * cov).T
        return (centre + (x.flatten(1) - alpha * centre) @ gain.T).view_as(x)


def exact(mean, cov, shrink, spread=0.4):
    size = round(shrink.shape[1] ** 0.5)
    return Upsampler(ExactNet(mean, cov, shrink, spread), cosine(), size, spread, predict="x0")


def test_a_diffusion_stage_draws_from_the_posterior():
    mean, cov, shrink, _ = small_pictures()
    truth = gaussian(mean, cov).sample(1, keyed_generator(9, 4))
    low = (truth @ shrink.T).view(1, 1, 4, 4)
    centre, spread = gaussian_given(mean, cov, shrink, low.flatten(1))
    stage = diffusion(exact(mean, cov, shrink), path(40), generator=keyed_generator(9, 5), limit=99.0)
    x = last(stage(low.expand(4000, -1, -1, -1))).x.flatten(1)
    standard = (spread.diagonal() / 4000).sqrt()
    assert ((x.mean(0) - centre[0]).abs() <= 5 * standard + 0.01).all()
    torch.testing.assert_close(torch.cov(x.T), spread, atol=0.03, rtol=0)


def test_with_augmentation_it_draws_from_the_posterior_of_the_noisy_picture():
    """A level of 0.5 at sampling: the small picture is blurred by noise, and the exact draw is wider accordingly."""
    mean, cov, shrink, _ = small_pictures()
    low = (mean @ shrink.T).view(1, 1, 4, 4).expand(4000, -1, -1, -1)
    stage = diffusion(exact(mean, cov, shrink), path(40), level=0.5, generator=keyed_generator(9, 6), limit=99.0)
    x = last(stage(low)).x.flatten(1)
    gain = torch.linalg.solve(shrink @ cov @ shrink.T + 0.25 * torch.eye(16), shrink @ cov).T
    want = gaussian_given(mean, cov, shrink, low[:1].flatten(1), 0.5)[1] + 0.25 * gain @ gain.T
    torch.testing.assert_close(torch.cov(x.T), want, atol=0.05, rtol=0)


def test_regression_answers_with_the_posterior_mean():
    mean, cov, shrink, _ = small_pictures()
    x = 0.2 * gaussian(mean, cov).sample(7, keyed_generator(9, 7))
    low = (x @ shrink.T).view(7, 1, 4, 4)
    want, _ = gaussian_given(mean, cov, shrink, low.flatten(1))
    (state,) = list(regression(exact(mean, cov, shrink))(low))
    torch.testing.assert_close(state.x.flatten(1), want.clamp(-1, 1), atol=1e-6, rtol=1e-6)


def test_two_exact_stages_draw_from_the_joint_and_shrink_back():
    """4 from 2, then 8 from 4: the large pictures have the data's covariance, and shrink to the picture below them."""
    mean, cov, to_4, to_2 = small_pictures()
    stages = [
        diffusion(exact(to_4 @ mean, to_4 @ cov @ to_4.T, to_2), path(40), generator=keyed_generator(9, 8), limit=99.0),
        diffusion(exact(mean, cov, to_4), path(40), generator=keyed_generator(9, 9), limit=99.0),
    ]
    tiny = gaussian(mean, cov).sample(6000, keyed_generator(9, 10)) @ (to_2 @ to_4).T
    states = list(cascade(stages, tiny.view(-1, 1, 2, 2)))
    middle, large = (next(s.x for s in reversed(states) if s.stage == k) for k in (0, 1))
    torch.testing.assert_close(torch.cov(large.flatten(1).T), cov, atol=0.1, rtol=0)
    torch.testing.assert_close(resize(large, 4), middle, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(resize(large, 4).flatten(1) @ to_2.T, tiny, atol=1e-6, rtol=1e-6)


# ---- stages and their fold -----------------------------------------------------------------------------------------


def untrained(size=16, fold=2):
    torch.manual_seed(0)
    return Upsampler(awake(UpsamplerUNet(channels=1, fold=fold, width=16, mults=(1, 2))), cosine(), size, 0.2)


def test_every_state_says_its_stage_and_a_stage_starts_from_the_last_picture():
    low, model, times = torch.rand(2, 1, 4, 4) - 0.5, untrained(), path(3)
    stages = [bicubic(8), diffusion(model, times, generator=keyed_generator(1)), bicubic(32)]
    states = list(cascade(stages, low))
    assert [(s.stage, s.index, s.x.shape[-1]) for s in states] == [
        (0, 1, 8), (1, 1, 16), (1, 2, 16), (1, 3, 16), (2, 1, 32),
    ]  # fmt: skip
    assert [states[k].label() for k in (0, 3)] == [
        "stage 0: 8 x 8 pixels, step 1, t = 0.000", "stage 1: 16 x 16 pixels, step 3, t = 0.000",
    ]  # fmt: skip
    again = last(diffusion(model, times, generator=keyed_generator(1))(states[0].x))
    torch.testing.assert_close(states[3].x, again.x)
    torch.testing.assert_close(states[-1].x, resize(states[3].x, 32))


def test_a_cascade_of_one_stage_is_that_stage():
    low = torch.rand(2, 1, 4, 4) - 0.5
    torch.testing.assert_close(last(cascade([bicubic(8)], low)).x, resize(low, 8))


def test_a_cascade_may_start_from_noise():
    noise = torch.randn(3, 64, generator=keyed_generator(2))
    data = gaussian(torch.zeros(64), 0.25).denoiser(cosine())
    start = first(data, noise, path(5))

    def as_pictures(low):
        return (state._replace(x=state.x.view(-1, 1, 8, 8)) for state in start(low))

    states = list(cascade([as_pictures, bicubic(16)]))
    assert [s.stage for s in states] == [0] * 5 + [1]
    torch.testing.assert_close(states[-1].x, resize(states[4].x, 16))


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        cascade([])
    with pytest.raises(ValueError, match="got none: put a stage that starts from noise before it"):
        last(cascade([bicubic(8)]))
    with pytest.raises(ValueError, match="stage 0 yielded no State"):
        last(cascade([lambda low: iter(()), bicubic(8)]))


def test_a_diffusion_stage_keeps_pictures_within_the_limit_and_walks_what_it_says():
    low = 2 * torch.rand(3, 1, 4, 4, generator=keyed_generator(3)) - 1
    states = list(diffusion(untrained(), path(4), generator=keyed_generator(4))(low))
    assert len(states) == 4
    assert states[-1].x.abs().max() <= 1 + 1e-5
    assert states[0].x.abs().max() > 1  # on the way it is noisy


def test_augmentation_has_the_level_it_says(g):
    low, noise = torch.randn(2, 3, 8, 8, generator=g), torch.randn(2, 3, 8, 8, generator=g)
    torch.testing.assert_close(augment(low, 0.0, noise), low)
    each = augment(low, torch.tensor([0.1, 0.5]), noise)
    torch.testing.assert_close(each[1], low[1] + 0.5 * noise[1])
    torch.testing.assert_close(each[0], low[0] + 0.1 * noise[0])


def test_a_residual_and_its_picture_are_inverse(g):
    model, high = untrained(), torch.randn(2, 1, 16, 16, generator=g)
    level, noise = torch.tensor([0.0, 0.4]), torch.randn(2, 1, 4, 4, generator=g)
    shrink, enlarge = partial(resize, size=4), partial(resize, size=16)
    residual, low = training_pair(high, shrink, enlarge, level, noise, model.spread)
    torch.testing.assert_close(low, augment(resize(high, 4), level, noise))
    torch.testing.assert_close(model.picture(low, residual), high)


def test_the_network_hears_picture_and_level_and_examples_do_not_mix(g):
    model, t = untrained(), torch.tensor([0.3, 0.8])
    x, low = torch.randn(2, 1, 16, 16, generator=g), torch.randn(2, 1, 4, 4, generator=g)
    level = torch.tensor([0.0, 0.4])
    both = model.raw(x, t, low_res=low, level=level)
    for k in range(2):
        one = slice(k, k + 1)
        alone = model.raw(x[one], t[one], low_res=low[one], level=level[one])
        torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(both, model.raw(x, t, low_res=low.flip(0), level=level), atol=1e-3)
    assert not torch.allclose(both, model.raw(x, t, low_res=low, level=level.flip(0)), atol=1e-5)
    torch.testing.assert_close(model.raw(x, t), model.raw(x, t, **model.null))
