"""Larger steps: targets against exact flows, a student against its teacher, and densities that meet."""

import copy
import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cs348k_diffusion.data import ring_of_gaussians
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.distill import (
    conditional,
    consistency_target,
    drawn,
    grid_times,
    guided,
    imitation_target,
    match_distribution,
    matching_direction,
    progressive,
    progressive_target,
    truncated_snr,
)
from cs348k_diffusion.exact import Mixture, gaussian, gaussian_flow
from cs348k_diffusion.nets import PointNet
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, implied_x0, path, sample, step
from cs348k_diffusion.schedule import cosine
from tests.oracles import as_double, lumps, normal, seeded
from tests.untrained import awake

MEAN, COV = as_double([0.5, -1.0]), as_double([[0.5, 0.2], [0.2, 0.3]])


def exact_flow(x, t, s):
    """The exact flow of the Gaussian data, each example from its own t to its own s."""
    out, walks = torch.empty_like(x), torch.stack([t.expand(len(x)), s.expand(len(x))], 1)
    for walk in walks.unique(dim=0):
        here = (walks == walk).all(1)
        out[here] = gaussian_flow(MEAN, COV, cosine(), x[here], *walk.tolist())
    return out


@dataclass(frozen=True)
class ExactSteps:
    """The denoiser of Gaussian data whose steps of one stride follow the exact flow, however long they are."""

    stride: float
    schedule = cosine()

    def __call__(self, x, t):
        s = (t - self.stride).clamp(min=0)
        return implied_x0(self.schedule, x, exact_flow(x, t, s), t, s)


def points(net=None, **named):
    """A small denoiser of points; its weights come from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NetDenoiser(net or PointNet(dim=2, width=32, depth=2, **named), cosine())


# What a student should answer


@pytest.mark.parametrize("stride", [0.5, 0.25, 1.0])
def test_two_exact_steps_are_one_exact_step_of_twice_the_length(stride):
    """Flows compose, so the target of a teacher that follows the flow is the flow's own larger step."""
    t = grid_times(round(1 / stride))(32, seeded(2)).double()
    x_t = normal(32, 2, seed=3)
    got = progressive_target(lambda cond: ExactSteps(stride / 2), stride)(x_t, x_t, t, {})
    assert_close(got, ExactSteps(stride)(x_t, t), rtol=1e-9, atol=1e-9)


def test_a_student_that_meets_its_target_arrives_where_its_teacher_does():
    """From t = 0.75 in steps of 0.5: the last one is shorter, and lands on the data."""
    teacher = gaussian(MEAN, COV).denoiser(cosine())
    t, x_t = as_double([0.5, 1.0]), normal(2, 2, seed=1)
    guess = progressive_target(lambda cond: teacher, 0.5)(x_t, x_t, t, {})
    for k, start in enumerate((0.5, 1.0)):
        two = last(ddim(teacher, x_t[k : k + 1], [start, start - 0.25, start - 0.5])).x
        assert_close(step(cosine(), x_t[k : k + 1], guess[k : k + 1], start, start - 0.5), two, rtol=1e-9, atol=1e-9)


def test_a_step_that_would_end_before_the_data_is_refused():
    target = progressive_target(lambda cond: gaussian(MEAN, COV).denoiser(cosine()), 0.5)
    with pytest.raises(ValueError, match=r"grid_times\(2\)"):
        target(normal(1, 2), normal(1, 2), as_double([0.2]), {})


def test_one_step_with_the_posterior_mean_collapses_and_one_with_the_flow_does_not():
    """Both are exact. At t = 1 nothing is known of x0, so E[x0 | x_1] is the mean of the data, the same for all x_1."""
    data = Mixture(as_double([[-1.0], [2.0]]), 0.3**2, as_double([0.4, 0.6]))
    denoise, noise = data.denoiser(cosine()), normal(1000, 1, seed=4)
    mean, cov = data.moments()
    assert_close(denoise(noise, 1.0), mean.expand(1000, 1), rtol=0, atol=1e-12)
    assert float(last(ddim(denoise, noise, path(1))).x.std()) < 1e-12
    flow = last(ddim(denoise, noise, path(400))).x
    assert_close(flow.std(), cov[0, 0].sqrt(), rtol=0.05, atol=0)
    one = implied_x0(cosine(), noise, flow, 1.0, 0.0)
    assert_close(step(cosine(), noise, one, 1.0, 0.0), flow, rtol=1e-12, atol=1e-12)
    # the flow of one dimension keeps the order of its points, so it is known without any solver
    rank = torch.special.ndtr(noise[:, 0])
    reached = sum(w * torch.special.ndtr((flow[:, 0] - m) / 0.3) for w, m in ((0.4, -1.0), (0.6, 2.0)))
    assert_close(reached, rank, rtol=0, atol=1e-2)


def test_a_guided_target_knows_each_example_s_scale():
    ring = ring_of_gaussians()
    exact = Mixture(ring.means, ring.std**2, labels=torch.arange(8)).denoiser(cosine())

    class Labelled(nn.Module):
        """The exact denoiser as a network that predicts x0 and is told a class, or 8 for none."""

        null = {"y": torch.tensor([8])}  # noqa: RUF012

        def forward(self, x, t, y=None):
            every = exact(x, t)
            return every if y is None else torch.where((y == 8)[:, None], every, exact.given(y.clamp(max=7))(x, t))

    model = NetDenoiser(Labelled(), cosine(), predict="x0")
    x_t, y, scale = normal(5, 2, seed=5).float(), torch.tensor([0, 3, 8, 7, 1]), torch.tensor([1.0, 0.0, 2.0, 4.0, 2.5])
    t = torch.linspace(0.2, 0.9, 5)
    got = imitation_target(guided(model))(x_t, x_t, t, {"y": y, "scale": scale})
    for k, w in enumerate(scale.tolist()):
        one, label = (x_t[k : k + 1], t[k : k + 1]), int(y[k])
        cond = exact(*one) if label == 8 else exact.given(label)(*one)
        assert_close(got[k : k + 1], exact(*one) + w * (cond - exact(*one)), rtol=1e-5, atol=1e-5)


def test_times_lie_on_the_student_s_grid_equally_often():
    times = grid_times(4)(400, seeded(6))
    assert_close(times.unique(), torch.tensor([0.25, 0.5, 0.75, 1.0]))
    assert all(99 <= count <= 101 for count in times.unique(return_counts=True)[1].tolist())
    assert_close(grid_times(1)(7), torch.ones(7))


def test_weights_are_the_snr_between_their_ends():
    snr = torch.tensor([1e-9, 0.5, 3.0, 1e6])
    assert_close(truncated_snr(snr.log()), torch.tensor([1.0, 1.0, 3.0, 25.0]))


# Consistency


def test_a_student_that_predicts_v_meets_the_boundary_by_construction():
    model = points(awake(PointNet(dim=2, width=32)))
    x = normal(6, 2, seed=7).float()
    assert_close(model(x, 0.0), x, rtol=0, atol=0)
    assert (model(x, 0.5) - x).abs().max() > 0.05


class Flow(nn.Module):
    """The exact flow map to the data as a network that predicts x0."""

    def forward(self, x, t):
        return exact_flow(x, t, torch.zeros_like(t))


def test_the_exact_flow_is_consistent():
    flow, t, x_t = NetDenoiser(Flow(), cosine(), predict="x0"), as_double([0.1, 0.5, 0.9, 1.0]), normal(4, 2, seed=8)
    exact = consistency_target(flow, 0.1, lambda cond: ExactSteps(0.1))(x_t, x_t, t, {})
    assert_close(exact, flow(x_t, t), rtol=1e-9, atol=1e-9)
    teacher = gaussian(MEAN, COV).denoiser(cosine())
    errors = [
        float((consistency_target(flow, h, lambda cond: teacher)(x_t, x_t, t, {}) - flow(x_t, t)).abs().mean())
        for h in (0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15), "one Euler step is wrong by O(stride^2)"


def test_without_a_teacher_the_clean_example_is_the_guess():
    """x_s then holds the same x0 and the same noise as x_t."""
    flow, t, eps, x0 = (
        NetDenoiser(Flow(), cosine(), predict="x0"),
        as_double([0.4, 0.05]),
        normal(2, 2),
        normal(2, 2, seed=1),
    )
    alpha, sigma = cosine()(t, x0)
    got = consistency_target(flow, 0.1)(x0, alpha * x0 + sigma * eps, t, {})
    alpha, sigma = cosine()(as_double([0.3, 0.0]), x0)
    assert_close(got, flow(alpha * x0 + sigma * eps, as_double([0.3, 0.0])), rtol=1e-9, atol=1e-9)


def test_several_steps_of_a_consistent_student_keep_the_distribution():
    flow = NetDenoiser(Flow(), cosine(), predict="x0")
    x = last(sample(flow, normal(3000, 2, seed=9), path(3), fresh=1.0, generator=seeded(1))).x
    assert_close(x.mean(0), MEAN, rtol=0, atol=0.05)
    assert_close(torch.cov(x.T), COV, rtol=0, atol=0.05)


# The loop


def draws(batch, generator):
    while True:
        yield lumps().sample(batch, generator).float()


def test_a_student_agrees_with_its_teacher_and_halving_is_an_iterator_of_trainings():
    exact = lumps().denoiser(cosine())
    student, noise, seen = points(PointNet(dim=2, width=64, depth=2)), normal(500, 2, seed=10).float(), {}
    stages = progressive(
        student, lambda cond: exact, draws(128, seeded(1)), 4, lambda n: 200, lr=4e-3, generator=seeded(2)
    )
    for stage in stages:
        assert "not run yet" in repr(stage.training)
        fast = copy.deepcopy(last(stage.training).model)
        seen[stage.steps] = last(ddim(fast, noise, path(stage.steps))).x
    assert list(seen) == [2, 1]
    goal = last(ddim(exact, noise, path(4))).x
    for n, reached in seen.items():
        far, plain = (float((x - goal).square().mean()) for x in (reached, last(ddim(exact, noise, path(n))).x))
        assert far < 0.2 * plain, (n, far, plain)


def test_a_stage_that_was_not_walked_is_not_a_teacher():
    def begin():
        return progressive(
            points(), lambda cond: gaussian(MEAN, COV).denoiser(cosine()), draws(8, seeded()), 4, lambda n: 2
        )

    stages = begin()
    next(next(stages).training)
    with pytest.raises(ValueError, match="student of 2 steps"):
        next(stages)
    for steps, end in ((6, 4), (4, 4), (12, 8), (4, 0)):
        with pytest.raises(ValueError, match="halving leads from"):
            progressive(points(), conditional(points()), draws(8, seeded()), steps, lambda n: 2, end=end)
    assert [stage.steps for stage in begin() if last(stage.training)] == [2, 1]


def test_the_averaged_student_is_the_next_teacher():
    student = points(awake(PointNet(dim=2, width=16, depth=1)))
    stages = progressive(student, conditional(points()), draws(16, seeded()), 4, lambda n: 3, lr=0.01)
    average = last(next(stages).training).model
    kept = copy.deepcopy(average.state_dict())
    next(next(stages).training)
    assert_close(average.state_dict(), kept, rtol=0, atol=0)


# Distributions


def test_the_direction_vanishes_where_the_densities_agree_and_is_the_gradient_of_kl():
    data = gaussian(MEAN, COV).denoiser(cosine())
    x_t, t = normal(8, 2, seed=11), torch.full((8,), 0.4, dtype=torch.float64)
    assert_close(matching_direction(data, data, x_t, t), torch.zeros(8, 2, dtype=torch.float64), rtol=0, atol=0)
    shifted = gaussian(MEAN + 0.5, COV).denoiser(cosine())
    got = matching_direction(data, shifted, x_t, t)
    assert_close(got, data.score(x_t, t) - shifted.score(x_t, t), rtol=1e-9, atol=1e-9)
    alpha, sigma = cosine()(t, x_t)
    blurred = alpha[0] ** 2 * COV + sigma[0] ** 2 * torch.eye(2, dtype=torch.float64)
    assert_close(got, (-alpha * torch.linalg.solve(blurred, torch.full((2,), 0.5, dtype=torch.float64))).expand(8, 2))


def test_exact_scores_move_a_shifted_gaussian_to_the_data():
    """A student x = shift + spread z, whose own score is known: gradient steps end at the data's mean and std."""
    data, shift, spread = gaussian(as_double([2.0]), 0.5**2).denoiser(cosine()), as_double([-1.0]), as_double(2.0)
    for k in range(400):
        z, t = normal(256, 1, seed=k), as_double(0.05 + 0.9 * (k * 0.618 % 1))
        own, x = gaussian(shift, spread**2).denoiser(cosine()), shift + spread * z
        alpha, sigma = cosine()(t, x)
        move = matching_direction(data, own, alpha * x + sigma * normal(256, 1, seed=1000 + k), t) * alpha * sigma**2
        shift, spread = shift + 0.2 * move.mean(0), spread + 0.2 * (move * z).mean()
    assert_close(shift, as_double([2.0]), rtol=0, atol=0.02)
    assert_close(spread, as_double(0.5), rtol=0, atol=0.02)


class Affine(nn.Module):
    """A student of two numbers: x0 = shift + spread x, whatever the time."""

    def __init__(self):
        super().__init__()
        self.shift, self.spread = nn.Parameter(torch.tensor([-1.0])), nn.Parameter(torch.tensor(2.0))

    def forward(self, x, t):
        return self.shift + self.spread * x


def test_two_optimisers_move_a_shifted_gaussian_to_the_data():
    data = gaussian(torch.tensor([1.0]), 0.5**2)
    student = NetDenoiser(Affine(), cosine(), predict="x0")
    fake = points(PointNet(dim=1, width=32, depth=1))
    batches = itertools.repeat(torch.zeros(128, 1))
    run = match_distribution(
        student, lambda cond: data.denoiser(cosine()), fake, batches, 250, lr=0.02, fake_lr=5e-3, generator=seeded(3)
    )
    assert "not run yet" in repr(run)
    end = last(run)
    assert end.label().startswith("update 250")
    net = end.model.net
    assert isinstance(net, Affine)
    assert_close(net.shift.detach(), torch.tensor([1.0]), rtol=0, atol=0.15)
    assert_close(net.spread.detach().abs(), torch.tensor(0.5), rtol=0, atol=0.12)
    with pytest.raises(ValueError, match="at least one step"):
        match_distribution(student, lambda cond: data.denoiser(cosine()), fake, batches, 0)


def test_samples_for_the_fake_carry_no_gradient_and_keep_their_conditions():
    student = points(classes=3)
    cond = {"y": torch.tensor([0, 2])}
    x, same = drawn(student, (torch.zeros(2, 2), cond), seeded(4))
    assert not x.requires_grad
    assert same is cond
    want = student(torch.randn(2, 2, generator=seeded(4)), 1.0, **cond).detach()
    assert_close(x, want)
