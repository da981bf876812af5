"""Langevin's update: its bias, its blindness to weights, and the two cures, annealing and Metropolis."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.exact import Mixture, two_gaussians
from cs348k_diffusion.langevin import anneal, annealed_langevin, langevin_chain, langevin_step, metropolis_langevin_step
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.running import last
from tests.oracles import lumps, normal, seeded, share_bound, variance_bound

CHAINS = 16_000


def test_one_update_is_the_slide():
    x, score, z = normal(4, 2, seed=1), normal(4, 2, seed=2), normal(4, 2, seed=3)
    assert_close(langevin_step(x, score, 0.08, z), x + 0.08 * score + 0.4 * z, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("step", [0.01, 0.1, 0.5])
def test_claim_d2_the_bias_is_exactly_one_over_one_minus_half_a_step(step):
    """On N(0, 1) the update is x <- a x + b z, so its variance settles at b^2 / (1 - a^2)."""
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a, b = langevin_step(one, -one, step, zero), langevin_step(zero, -zero, step, one)
    assert_close(b**2 / (1 - a**2), 1 / (1 - step / 2) * one, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("step", "updates"), [(0.01, 300), (0.1, 60), (0.5, 30)])
def test_claim_d2_by_simulation(step, updates):
    """From N(0, 1) a chain's variance goes as v + (1 - v) (1 - step)^(2 n): here within 0.3 % of v."""
    x = last(langevin_chain(lambda x: -x, normal(40_000, 1), step, updates, seeded(1))).x
    # 99.9 % over the three steps, 0.026 v: it tells 1.053 and 1.333 from 1; 1.005 is left to the algebra above
    assert abs(float(x.var()) * (1 - step / 2) - 1) < variance_bound(40_000, draws=3) + 0.003


def small_mode(x):
    """The share of chains in NCSN's small mode, at -5; the truth is 0.2."""
    return float((x < 0).double().mean())


def starts():
    """16,000 chains from U(-8, 8) and, below them, 8,000 from N(0, 1)."""
    uniform = torch.rand(CHAINS, 1, generator=seeded(1)) * 16 - 8
    return torch.cat([uniform, torch.randn(CHAINS // 2, 1, generator=seeded(2))])


def test_claim_d1_naive_langevin_reports_its_start():
    """Step 0.1, 1,000 updates: the chains fall into the nearer mode and never change it.

    A share of 16,000 is within 0.013 of its expectation, one of 8,000 within 0.018 (99.9 %); the expectations were
    measured as 0.490 and 0.441 with 100,000 chains.
    """
    x = last(langevin_chain(two_gaussians().score, starts(), 0.1, 1000, seeded(3))).x
    from_uniform, from_normal = small_mode(x[:CHAINS]), small_mode(x[CHAINS:])
    assert 0.46 < from_uniform < 0.52
    assert abs(from_normal - 0.44) < 0.02
    assert (
        from_uniform - from_normal > share_bound(0.5, CHAINS) + share_bound(0.5, CHAINS // 2) / 2
    )  # it follows its start


def test_claim_d1_annealing_finds_the_weights():
    """The ladder: 10 noise levels from 3 down to 1 in geometric progression, 100 updates each, step 0.15 sigma^2.

    Pushing the density itself down this ladder on a grid leaves 0.2041 in the small mode, whatever the start; 0.0041 is
    the ladder's haste where chains can only just still cross (10 levels from 10 down to 0.1 leave 0.217). The bound is
    the 99.9 % quantile of a share, for two starts. Levels below 1 would sharpen the modes and move no weight.
    """
    toy, sigmas = two_gaussians(), [3 * (1 / 3) ** (i / 9) for i in range(10)]
    blurred = [Mixture(toy.means, 1 + sigma**2, toy.log_weights.exp()).score for sigma in sigmas]
    from_left = torch.full((CHAINS, 1), -8.0)
    start = torch.cat([starts()[:CHAINS], from_left])
    x = last(annealed_langevin(blurred, start, [0.15 * sigma**2 for sigma in sigmas], 100, seeded(3))).x
    for share in (small_mode(x[:CHAINS]), small_mode(x[CHAINS:])):
        assert 0.19 < share < 0.21
        assert abs(share - 0.2041) < share_bound(0.2041, CHAINS, draws=2)


def test_a_chain_is_its_updates():
    x, score, generator = normal(4, 2), lumps().score, seeded(5)
    links = list(langevin_chain(score, x, 0.1, 3, seeded(5)))
    assert [link.index for link in links] == [0, 1, 2, 3]
    assert_close(links[0].x, x, rtol=0, atol=0)
    for link in links[1:]:
        x = langevin_step(x, score(x), 0.1, noise_like(x, generator))
        assert_close(link.x, x, rtol=0, atol=0)
    assert links[-1].frame() is links[-1].x
    assert links[-1].label() == "update 3"


def test_a_ladder_is_chains_end_to_end():
    ladder = list(annealed_langevin([lambda x: -x, lambda x: -2 * x], normal(4, 2), [0.1, 0.05], 2, seeded(5)))
    first = list(langevin_chain(lambda x: -x, normal(4, 2), 0.1, 2, generator := seeded(5)))
    second = list(langevin_chain(lambda x: -2 * x, first[-1].x, 0.05, 2, generator))
    assert_close([link.x for link in ladder], [link.x for link in first + second[1:]], rtol=0, atol=0)
    assert [link.rung for link in ladder] == [0, 0, 0, 1, 1]
    assert ladder[-1].label() == "update 4, noise level 2"
    with pytest.raises(ValueError, match="one step size for each noise level"):
        annealed_langevin([lambda x: -x], normal(4, 2), [0.1, 0.2], 2)


def test_annealing_by_sigmas_is_the_ladder_with_ncsn_s_steps():
    """step_i = step (sigma_i / sigma_last)^2, and the score is asked at its own level."""
    sigmas, z = [3.0, 1.0, 0.5], iter(normal(6, 4, 2, seed=9))
    got = list(anneal(lambda x, sigma: -x / (1 + sigma**2), normal(4, 2), sigmas, 0.01, 2, lambda x: next(z)))
    x, z = normal(4, 2), iter(normal(6, 4, 2, seed=9))
    for k, y in enumerate(got):
        sigma = sigmas[k // 2]
        x = langevin_step(x, -x / (1 + sigma**2), 0.04 * sigma**2, next(z))
        assert_close(y, x, rtol=1e-12, atol=1e-12)
    assert len(got) == 6


def test_a_chain_is_lazy_and_leaves_grad_mode_alone():
    seen = []
    chain = langevin_chain(lambda x: seen.append(torch.is_grad_enabled()) or -x, normal(4, 2), 0.1, 3)
    assert "not run yet" in repr(chain)
    assert not seen
    for _ in chain:
        assert torch.is_grad_enabled()
    assert seen == [False] * 3


def normal_log_p(x):
    return -0.5 * (x**2).sum(1)


@pytest.mark.parametrize(("step", "accepted"), [(0.05, 0.99), (0.1, 0.96), (0.2, 0.89), (0.5, 0.58)])
def test_metropolis_accepts_and_keeps_the_variance(step, accepted):
    """N(0, I_20), claims M6: the stated rates, and variance 1 where the bare chain settles at 1 / (1 - step / 2)."""
    chains, dims, generator = 2_000, 20, seeded(7)
    x, rates = normal(chains, dims), []
    for _ in range(30):
        noise, uniform = noise_like(x, generator), torch.rand(chains, generator=generator).double()
        x, accept = metropolis_langevin_step(normal_log_p, x, step, noise, uniform)
        rates.append(float(accept.double().mean()))
    assert abs(sum(rates) / 30 - accepted) < 0.01  # rounding of the claim 0.005, and 3.3 sd of 2,000 chains 0.004
    assert abs(float(x.var()) - 1) < variance_bound(chains * dims, draws=4)  # 99.9 % over the four step sizes
    assert not x.requires_grad


def test_metropolis_is_reversible():
    """Detailed balance of each move: p(x) q(x'|x) a(x, x') = p(x') q(x|x') a(x', x); a is found by bisection."""
    step, x, z = 0.4, normal(200, 2, seed=1), normal(200, 2, seed=2)
    log_p, score = lumps().log_prob, lumps().score
    end = langevin_step(x, score(x), step, z)
    back = (x - end - step * score(end)) / (2 * step) ** 0.5  # the noise that leads back

    def log_flow(start, noise):
        low, high = torch.full((200,), -300.0).double(), torch.zeros(200).double()
        for _ in range(45):  # the largest log(uniform) at which the move is still accepted is log a
            middle = (low + high) / 2
            accept = metropolis_langevin_step(log_p, start, step, noise, middle.exp())[1]
            low, high = torch.where(accept, middle, low), torch.where(accept, high, middle)
        return log_p(start) - 0.5 * (noise**2).sum(1) + high

    assert_close(log_flow(x, z), log_flow(end, back), rtol=1e-8, atol=1e-8)


def test_a_rejected_move_stays_exactly():
    x = normal(500, 2)
    moved, accept = metropolis_langevin_step(
        lumps().log_prob, x, 2.0, normal(500, 2, seed=1), torch.full((500,), 0.999)
    )
    assert 0 < int(accept.sum()) < 500
    assert torch.equal(moved[~accept], x[~accept])
    assert bool((moved[accept] != x[accept]).all())


def test_metropolis_never_enters_the_impossible():
    """log p = -inf, or a gradient that is not a number: the proposal is turned down and the chain goes on."""

    def half_plane(x):
        return torch.where(x[:, 0] > 0, normal_log_p(x), -torch.inf)

    x = normal(300, 2).abs()
    for k in range(10):
        uniform = torch.rand(300, generator=seeded(k)).double()
        x, _ = metropolis_langevin_step(half_plane, x, 0.5, normal(300, 2, seed=k), uniform)
    assert bool((x[:, 0] > 0).all())
    assert bool(x.isfinite().all())
