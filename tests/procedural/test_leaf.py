"""A single leaf: its coverage and derivative, descent at the known rate, and an accept rule that keeps balance."""

import math

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.procedural.leaf import accept, gradient_descent, soft_disc
from cs348k_diffusion.procedural.render import disc, draw, pixel_centres, stack


def test_a_disc_is_what_the_renderer_draws():
    centres, radii = torch.tensor([[0.1, -0.2], [-0.5, 0.4]]), torch.tensor([0.3, 0.2])
    parts = stack([[disc(c, r, (1.0, 1.0, 1.0))] for c, r in zip(centres.tolist(), radii.tolist())])
    drawn = draw(parts, 16, 0.1).alpha.flatten(1)
    points = pixel_centres(16, centres).T
    assert_close(soft_disc(points, centres, radii, 0.1), drawn, rtol=1e-4, atol=1e-5)


def test_its_derivative_is_right_and_finite_at_the_centre():
    points = torch.tensor([[0.0, 0.0], [0.4, 0.1], [0.9, -0.2]], dtype=torch.float64)
    given = torch.zeros(1, 2, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    off_centre = (given[0] + 0.05).requires_grad_(), given[1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda c, r: soft_disc(points, c, r, 0.2), off_centre)
    centre = given[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(soft_disc(points, centre, given[1], 0.2).sum(), centre)
    assert slope.isfinite().all()


def test_descent_shrinks_the_distance_to_the_bottom_at_the_known_rate():
    curvature, x = torch.tensor([0.5, 2.0]), torch.tensor([1.0, -3.0])
    walk = list(gradient_descent(lambda x: (curvature * x**2).sum() / 2, x, 5, 0.3))
    assert_close(walk[-1], (1 - 0.3 * curvature) ** 5 * x)
    assert len(walk) == 5
    assert not any(each.requires_grad for each in walk)


@pytest.mark.parametrize("bias", [0.0, 0.4])
def test_the_accept_rule_leaves_a_law_alone(bias):
    """Traffic between any two of five states is the same both ways, also when proposals prefer some of them."""
    log_p = torch.tensor([0.1, -1.0, 2.0, -3.0, 0.7], dtype=torch.float64)
    log_q = (bias * torch.arange(5, dtype=torch.float64)).log_softmax(0)  # proposes state j with chance q_j
    old, new = (each.flatten() for each in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"))
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    chance = torch.stack(
        [
            accept(*(each.expand_as(uniform) for each in (log_p[i], log_p[j], log_q[j], log_q[i])), uniform)
            .double()
            .mean()
            for i, j in zip(old.tolist(), new.tolist())
        ]
    ).view(5, 5)
    traffic = log_p.exp()[:, None] * log_q.exp() * chance
    assert_close(traffic, traffic.T, rtol=0, atol=1e-3)


def test_the_impossible_is_never_accepted_and_nothing_underflows():
    log_p = torch.tensor([-5000.0, -5000.0, 0.0])
    new, zero = torch.tensor([-4999.0, -5001.0, -math.inf]), torch.zeros(3)
    assert accept(log_p, new, zero, zero, torch.tensor([0.9, 0.3, 0.0])).tolist() == [True, True, False]
