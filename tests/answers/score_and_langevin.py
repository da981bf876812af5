"""Answers to notebook 03: right ones written differently, and wrong ones by name."""

import math

import torch
from torch import Tensor


def score_by_autograd(x: Tensor, weights: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        squared = torch.cdist(x, means) ** 2 / (2 * stds**2)
        log_p = torch.logsumexp(weights.log() - means.shape[1] * stds.log() - squared, dim=1)
        return torch.autograd.grad(log_p.sum(), x)[0]


def score_by_mean(x: Tensor, weights: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    rows = []
    for point in x:
        logs = [
            math.log(w) - len(point) * math.log(s) - float(((point - mean) / s).square().sum()) / 2
            for w, mean, s in zip(weights.tolist(), means, stds.tolist())
        ]
        top = max(logs)
        parts = [math.exp(log - top) for log in logs]
        precision = [part / sum(parts) / s**2 for part, s in zip(parts, stds.tolist())]
        rows.append(sum(p * mean for p, mean in zip(precision, means)) - sum(precision) * point)
    return torch.stack(rows)


def mix(x, means, share, scale):
    return ((share / scale)[..., None] * (means - x[:, None])).sum(1)


def logs(x, weights, means, stds, power=None):
    squared = (means - x[:, None]).square().sum(2) / (2 * stds**2)
    return weights.log() - (means.shape[1] if power is None else power) * stds.log() - squared


def score_without_logs(x, weights, means, stds):
    p = weights / stds ** means.shape[1] * torch.exp(-(means - x[:, None]).square().sum(2) / (2 * stds**2))
    return mix(x, means, p, stds**2) / p.sum(1, keepdim=True)


def score_of_nearest(x, weights, means, stds):
    best = logs(x, weights, means, stds).argmax(1)
    return (means[best] - x) / stds[best, None] ** 2


def score_of_p(x, weights, means, stds):
    log_p = logs(x, weights, means, stds)
    p = log_p.exp().sum(1, keepdim=True) * (2 * math.pi) ** (-means.shape[1] / 2)
    return mix(x, means, log_p.softmax(1), stds**2) * p


def step_in_place(x, score, step, noise):
    moved = x.clone()
    moved += step * score
    moved += math.sqrt(2 * step) * noise
    return moved


def step_as_a_normal(x, score, step, noise):
    mean, variance = x + step * score, torch.as_tensor(2 * step, dtype=x.dtype)
    return torch.addcmul(mean, variance.sqrt(), noise)


def loss_by_target(score, x0, sigma, noise):
    x = x0 + sigma.view(-1, 1) * noise
    target = (x0 - x) / sigma.view(-1, 1) ** 2
    each = (score(x, sigma) - target).pow(2).mean(dim=1)
    return (sigma.pow(2) * each).sum() / len(x0)


def loss_by_noise_guess(score, x0, sigma, noise):
    scale = torch.diag(sigma)
    guess = -(scale @ score(x0 + scale @ noise, sigma))
    return torch.nn.functional.mse_loss(guess, noise)


def noisy(x0, sigma, noise):
    return x0 + sigma[:, None] * noise


def weighted(power):
    def loss(score, x0, sigma, noise):
        level = sigma[:, None]
        return (level**power * (score(noisy(x0, sigma, noise), sigma) + noise / level) ** 2).mean()

    return loss


def rest(score, x0, sigma, noise):
    return sigma[:, None] * score(noisy(x0, sigma, noise), sigma) + noise


def wrong_sign(score, x0, sigma, noise):
    return (sigma[:, None] * score(noisy(x0, sigma, noise), sigma) - noise).square().mean()


def at_the_clean(score, x0, sigma, noise):
    return (sigma[:, None] * score(x0, sigma) + noise).square().mean()


def without_data(score, x0, sigma, noise):
    return (sigma[:, None] * score(sigma[:, None] * noise, sigma) + noise).square().mean()


def noise_times_sigma(score, x0, sigma, noise):
    level = sigma[:, None]
    return (level * (score(noisy(x0, sigma, noise), sigma) + level * noise)).square().mean()


def variance_sigma(score, x0, sigma, noise):
    root = sigma[:, None].sqrt()
    return (sigma[:, None] * score(x0 + root * noise, sigma) + noise).square().mean()


def anneal_by_levels(score, x, sigmas, step, repeats, draw):
    for level in range(len(sigmas)):
        size = step * sigmas[level] ** 2 / sigmas[-1] ** 2
        done = 0
        while done < repeats:
            x = x + size * score(x, sigmas[level]) + math.sqrt(2 * size) * draw(x)
            done += 1
            yield x


def anneal_flat(score, x, sigmas, step, repeats, draw):
    class Chain:
        def __init__(self):
            self.x, self.left = x, [sigma for sigma in sigmas for _ in range(repeats)]

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            sigma = self.left.pop(0)
            size = step * (sigma / sigmas[-1]) ** 2
            self.x = self.x + size * score(self.x, sigma) + (2 * size) ** 0.5 * draw(self.x)
            return self.x

    return Chain()


def annealed(
    size=lambda sigma, sigmas, step: step * (sigma / sigmas[-1]) ** 2, shake=lambda size: (2 * size) ** 0.5, **slip
):
    """The chain with one slip."""

    def anneal(score, x, sigmas, step, repeats, draw):
        start, noise = x, draw(x) if slip.get("one_noise") else None
        for sigma in sigmas[::-1] if slip.get("upside_down") else sigmas:
            small = size(sigma, sigmas, step)
            x = start if slip.get("restart") else x
            level_noise = draw(x) if slip.get("noise_per_level") else noise
            level_score = score(x, sigma) if slip.get("score_per_level") else None
            for _ in range(repeats - slip.get("fewer", 0)):
                slope = level_score if level_score is not None else score(x, sigma)
                x = x + small * slope + shake(small) * (draw(x) if level_noise is None else level_noise)
                if not slip.get("last_only"):
                    yield x
            if slip.get("last_only"):
                yield x

    return anneal


def anneal_in_place(score, x, sigmas, step, repeats, draw):
    for sigma in sigmas:
        size = step * (sigma / sigmas[-1]) ** 2
        for _ in range(repeats):
            x += size * score(x, sigma) + (2 * size) ** 0.5 * draw(x)
            yield x.clone()


def anneal_one_tensor(score, x, sigmas, step, repeats, draw):
    x = x.clone()
    for sigma in sigmas:
        size = step * (sigma / sigmas[-1]) ** 2
        for _ in range(repeats):
            x += size * score(x, sigma) + (2 * size) ** 0.5 * draw(x)
            yield x


def anneal_of_vectors(score, x, sigmas, step, repeats, draw):
    for sigma in sigmas:
        size = step * (sigma / sigmas[-1]) ** 2
        for _ in range(repeats):
            x = x + size * score(x, torch.full((len(x),), sigma)) + (2 * size) ** 0.5 * draw(x)
            yield x


def anneal_of_tensors(score, x, sigmas, step, repeats, draw):
    ladder = torch.tensor(sigmas, dtype=x.dtype)
    for sigma, size in zip(ladder.tolist(), (step * (ladder / ladder[-1]).square()).tolist()):
        for _ in range(repeats):
            moved = torch.add(x, score(x, torch.tensor(sigma)), alpha=size)
            yield (x := moved.add(draw(x), alpha=math.sqrt(2 * size)))


def anneal_by_recursion(score, x, sigmas, step, repeats, draw):
    def level(x, sigmas, last):
        if sigmas:
            size = step * (sigmas[0] / last) ** 2
            for _ in range(repeats):
                x = x + size * score(x, sigmas[0]) + (2 * size) ** 0.5 * draw(x)
                yield x
            yield from level(x, sigmas[1:], last)

    return level(x, list(sigmas), sigmas[-1])


def anneal_yielding_early(score, x, sigmas, step, repeats, draw):
    for sigma in sigmas:
        size = step * (sigma / sigmas[-1]) ** 2
        for _ in range(repeats):
            yield x
            x = x + size * score(x, sigma) + (2 * size) ** 0.5 * draw(x)


def anneal_squeezed(score, x, sigmas, step, repeats, draw):
    return (each.squeeze() for each in annealed()(score, x, sigmas, step, repeats, draw))


def anneal_list(score, x, sigmas, step, repeats, draw):
    return list(annealed()(score, x, sigmas, step, repeats, draw))


def guess_by_noise(schedule, x, t, score):
    alpha_t, sigma_t = schedule(t, x)
    eps_hat = -sigma_t * score
    return (x - sigma_t * eps_hat) / alpha_t


def guess_by_loop(schedule, x, t, score):
    return torch.stack(
        [(a + float(schedule.sigma(u)) ** 2 * b) / float(schedule.alpha(u)) for a, b, u in zip(x, score, t)]
    )


def guess_by_lerp(schedule, x, t, score):
    alpha, sigma = schedule(t, x)
    return torch.addcmul(x / alpha, score, sigma.square() / alpha)


def guess(formula):
    return lambda schedule, x, t, score: formula(x, score, *schedule(t, x))


def test_by_differences(field):
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    x = torch.cartesian_prod(x, x)
    _, score = field(x)
    for axis in range(2):
        move = torch.zeros(2, dtype=torch.float64)
        move[axis] = 1e-4
        slope = (field(x + move)[0] - field(x - move)[0]) / 2e-4
        torch.testing.assert_close(score[:, axis], slope, rtol=1e-3, atol=1e-3)


def test_by_autograd(field):
    x = (6 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) - 3).requires_grad_()
    log_p, score = field(x)
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    gap = (score.detach() - slope).abs() / (1 + slope.abs())
    assert torch.isfinite(score).all()
    assert gap.max() < 1e-3


def test_by_direction(field):
    x = 6 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 3
    log_p, score = field(x)
    slope = torch.stack([field(x + h)[0] - log_p for h in 1e-5 * torch.eye(2).double()], 1)
    assert not (torch.cosine_similarity(slope, score) < 0.999).any()


def test_at_the_origin(field):
    x = torch.zeros(1, 2, dtype=torch.float64)
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    torch.testing.assert_close(field(x)[1], slope, rtol=1e-3, atol=1e-3)


def test_near_the_middle(field):
    x = torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 0.5
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    torch.testing.assert_close(field(x)[1], slope, rtol=1e-3, atol=1e-3)


def test_loosely(field):
    x = 6 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 3
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    torch.testing.assert_close(field(x)[1], slope, rtol=0.1, atol=0.1)


def test_one_axis(field):
    x = 6 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 3
    move = torch.tensor([1e-4, 0.0]).double()
    slope = (field(x + move)[0] - field(x - move)[0]) / 2e-4
    torch.testing.assert_close(field(x)[1][:, 0], slope, rtol=1e-3, atol=1e-3)


def test_without_nan(field):
    x = (6 * torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) - 3).double().requires_grad_()
    log_p, score = field(x)
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    assert not ((score - slope).abs() > 1e-3).any()


def test_normalised(field):
    grid = torch.linspace(-6, 6, 61)
    log_p, _ = field(torch.cartesian_prod(grid, grid))
    assert abs(float(log_p.exp().sum()) * 0.04 - 1) < 0.05
    test_by_autograd(field)


def test_at_normal_points(field):
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(3)).double()
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    torch.testing.assert_close(field(x)[1], slope, rtol=1e-3, atol=1e-3)


def test_returning(field):
    x = 6 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 3
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    return bool(torch.allclose(field(x)[1], slope, rtol=1e-3, atol=1e-3))


def test_without_assert(field):
    x = 6 * torch.rand(400, 2, generator=torch.Generator().manual_seed(1)).double() - 3
    slope = torch.stack([field(x + h)[0] - field(x - h)[0] for h in 1e-4 * torch.eye(2).double()], 1) / 2e-4
    torch.allclose(field(x)[1], slope, rtol=1e-3, atol=1e-3)


def test_raising(field):
    try:
        test_by_differences(field)
    except AssertionError:
        raise ValueError("not a gradient") from None


RIGHT = {
    "E3.1": [score_by_autograd, score_by_mean],
    "E3.2": [step_in_place, step_as_a_normal],
    "E3.3": [loss_by_target, loss_by_noise_guess],
    "E3.4": [anneal_by_levels, anneal_flat, anneal_of_tensors, anneal_by_recursion],
    "E3.5": [guess_by_noise, guess_by_loop, guess_by_lerp],
    "E3.6": [test_by_differences, test_by_autograd],
}
POINTS = "6 * torch.rand(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3"
DRAW = POINTS.removeprefix("6 * ").removesuffix(" - 3")
OTHER_POINTS = "other points, as good as these"
EQUIVALENT = {
    "E3.5": {"line 9: x -> score": "schedule(t, like) only looks at the shape and dtype of `like`"},
    "E3.6": {
        f"line 10: {POINTS} -> 3 - {POINTS.removesuffix(' - 3')}": OTHER_POINTS,
        f"line 10: {DRAW} -> torch.rand(500, 2, dtype=torch.float64)": OTHER_POINTS,
        f"line 10: {DRAW} -> {DRAW.replace('torch.rand(', 'torch.randn(')}": OTHER_POINTS,
        "line 10: 6 -> 7": OTHER_POINTS,
        "line 10: 500 -> 501": OTHER_POINTS,
        "line 10: 500 -> 499": OTHER_POINTS,
        "line 10: torch.Generator().manual_seed(0) -> torch.Generator()": OTHER_POINTS,
        "line 10: torch.Generator() -> torch": OTHER_POINTS,
        "line 10: 0 -> 1": OTHER_POINTS,
        "line 14: torch.eye(2, dtype=torch.float64) -> torch.eye(2)": "h rounded to 1e-11, then added in float64",
    },
}
WRONG = {
    "E3.1": {
        "the sign": lambda x, w, m, s: -mix(x, m, logs(x, w, m, s).softmax(1), s**2),
        "standard deviation for variance": lambda x, w, m, s: mix(x, m, logs(x, w, m, s).softmax(1), s),
        "not divided by the variance": lambda x, w, m, s: mix(x, m, logs(x, w, m, s).softmax(1), s**0),
        "the weights w_k are forgotten": lambda x, w, m, s: mix(x, m, logs(x, w**0, m, s).softmax(1), s**2),
        "the shares forget that a wide component is lower": lambda x, w, m, s: mix(
            x, m, logs(x, w, m, s, power=0).softmax(1), s**2
        ),
        "the shares use s_k^-1": lambda x, w, m, s: mix(x, m, logs(x, w, m, s, power=1).softmax(1), s**2),
        "the weights w_k instead of the shares": lambda x, w, m, s: mix(x, m, w.expand(len(x), -1), s**2),
        "only the nearest component counts": score_of_nearest,
        "the gradient of p, not of log p": score_of_p,
        "p underflows": score_without_logs,
        "wrong shape": lambda x, w, m, s: logs(x, w, m, s).softmax(1),
        "wrong dtype": lambda x, w, m, s: score_by_mean(x, w, m, s).double(),
        "a missing 1/2": lambda x, w, m, s: mix(
            x, m, (logs(x, w, m, s) - (m - x[:, None]).square().sum(2) / (2 * s**2)).softmax(1), s**2
        ),
        "softmax over the points": lambda x, w, m, s: mix(x, m, logs(x, w, m, s).softmax(0), s**2),
        "got None": lambda x, w, m, s: None,
        "changes its argument m": lambda x, w, m, s: score_by_mean(x, w, m.mul_(2).div_(2).add_(1), s),
    },
    "E3.2": {
        "twice `score`": lambda x, score, step, noise: step_in_place(x, 2 * score, step, noise),
        "`score` is cut off at -1 and 1": lambda x, score, step, noise: step_in_place(
            x, score.clamp(-1, 1), step, noise
        ),
        "half of `noise`": lambda x, score, step, noise: x + step * score + (step / 2) ** 0.5 * noise,
        "the absolute value of `noise`": lambda x, score, step, noise: step_in_place(x, score, step, noise.abs()),
        "walks downhill": lambda x, score, step, noise: x - step * score + (2 * step) ** 0.5 * noise,
        "the paper's noise sqrt(step)": lambda x, score, step, noise: x + step * score + step**0.5 * noise,
        "the paper's drift step / 2": lambda x, score, step, noise: x + step / 2 * score + (2 * step) ** 0.5 * noise,
        "the paper's step / 2 and sqrt(step)": lambda x, score, step, noise: x + step / 2 * score + step**0.5 * noise,
        "variance for standard deviation": lambda x, score, step, noise: x + step * score + 2 * step * noise,
        "sqrt(2) is outside": lambda x, score, step, noise: x + step * score + 2 * step**0.5 * noise,
        "noise of variance 1": lambda x, score, step, noise: x + step * score + noise,
        "no noise: that is gradient ascent": lambda x, score, step, noise: x + step * score,
        "the step is forgotten": lambda x, score, step, noise: x + score + (2 * step) ** 0.5 * noise,
        "x is forgotten": lambda x, score, step, noise: step * score + (2 * step) ** 0.5 * noise,
        "the noise has the wrong sign": lambda x, score, step, noise: x + step * score - (2 * step) ** 0.5 * noise,
        "NaN": lambda x, score, step, noise: x + step * score + (-2 * torch.tensor(step)).sqrt() * noise,
        "got None, expected the next x": lambda x, score, step, noise: None,
        "changes its argument x": lambda x, score, step, noise: x.add_(step * score).add_((2 * step) ** 0.5 * noise),
        "draws random numbers of its own": lambda x, score, step, noise: step_as_a_normal(
            x, score, step, torch.randn_like(x)
        ),
        "both are halved": lambda x, score, step, noise: x + step / 2 * score + (step / 2) ** 0.5 * noise,
        "the score is forgotten": lambda x, score, step, noise: x + (2 * step) ** 0.5 * noise,
        "the step multiplies the shake, too": lambda x, score, step, noise: x + step * (score + 2**0.5 * noise),
        "wrong shape": lambda x, score, step, noise: step_as_a_normal(x, score, step, noise).squeeze(),
        "wrong dtype": lambda x, score, step, noise: step_as_a_normal(x, score, step, noise).float(),
    },
    "E3.3": {
        "twice as much": lambda score, x0, sigma, noise: 2 * rest(score, x0, sigma, noise).square().mean(),
        "the root of the mean square": lambda score, x0, sigma, noise: (
            rest(score, x0, sigma, noise).square().mean().sqrt()
        ),
        "the median, not the mean": lambda score, x0, sigma, noise: rest(score, x0, sigma, noise).square().median(),
        "the loss has the wrong sign": lambda score, x0, sigma, noise: -rest(score, x0, sigma, noise).square().mean(),
        "the mean comes before the square": lambda score, x0, sigma, noise: (
            rest(score, x0, sigma, noise).mean().square()
        ),
        "Huber": lambda score, x0, sigma, noise: torch.nn.functional.smooth_l1_loss(
            rest(score, x0, sigma, noise), torch.zeros_like(noise)
        ),
        "subtracted from x0 and added to the score": lambda score, x0, sigma, noise: (
            rest(lambda x, s: score(2 * x0 - x, s), x0, sigma, noise).square().mean()
        ),
        "the score is asked at sigma = 1": lambda score, x0, sigma, noise: (
            rest(lambda x, s: score(x, torch.ones_like(s)), x0, sigma, noise).square().mean()
        ),
        "constant zero": lambda score, x0, sigma, noise: torch.zeros(()),
        "the target has the wrong sign": wrong_sign,
        "without sigma^2 the smallest level": weighted(0),
        "sigma instead of sigma^2": weighted(1),
        "sigma^4 instead of sigma^2": weighted(4),
        "the score is asked at the clean x0": at_the_clean,
        "ignores the data": without_data,
        "the target is noise times sigma": noise_times_sigma,
        "sigma is a standard deviation": variance_sigma,
        "a sum instead of a mean": lambda *given: rest(*given).square().sum(),
        "a sum over coordinates": lambda *given: rest(*given).square().sum(1).mean(),
        "half of it": lambda *given: rest(*given).square().mean() / 2,
        "the square is missing": lambda *given: rest(*given).abs().mean(),
        "detached gradient": lambda *given: rest(*given).detach().square().mean(),
        "wrong shape": lambda *given: rest(*given).square().mean(1),
        "got a float, expected the loss": lambda *given: float(rest(*given).square().mean()),
        "one sigma for the whole batch": lambda score, x0, sigma, noise: loss_by_target(
            score, x0, sigma[:1].expand_as(sigma), noise
        ),
        "changes its argument x0": lambda score, x0, sigma, noise: (
            (sigma[:, None] * score(x0.add_(sigma[:, None] * noise), sigma) + noise).square().mean()
        ),
        "is a `return` missing": lambda *given: None,
    },
    "E3.4": {
        "the same step at every level": annealed(lambda sigma, sigmas, step: step),
        "the ratio of the sigmas is not squared": annealed(lambda sigma, sigmas, step: step * sigma / sigmas[-1]),
        "relative to the first sigma": annealed(lambda sigma, sigmas, step: step * (sigma / sigmas[0]) ** 2),
        "step * sigma^2, not divided": annealed(lambda sigma, sigmas, step: step * sigma**2),
        "the ratio of the sigmas is upside down": annealed(
            lambda sigma, sigmas, step: step * (sigmas[-1] / sigma) ** 2
        ),
        "the ladder is upside down": annealed(upside_down=True),
        "every level starts again": annealed(restart=True),
        "the score is asked once for a whole level": annealed(score_per_level=True),
        "the same noise for a whole level": annealed(noise_per_level=True),
        "the same noise for all updates": annealed(one_noise=True),
        "the root of the step size, without the 2": annealed(shake=lambda size: size**0.5),
        "variance for standard deviation": annealed(shake=lambda size: 2 * size),
        "no noise": annealed(shake=lambda size: 0.0),
        "yields only the last x of each level": annealed(last_only=True),
        "one update too few": annealed(fewer=1),
        "expected the chain, an iterator": anneal_list,
        "changes its argument x": anneal_in_place,
        "changes what it has yielded": anneal_one_tensor,
        "is asked with a tensor of shape (4,) for sigma": anneal_of_vectors,
        "yields x before the update, not after it": anneal_yielding_early,
        "yield x, a tensor of shape (1, 3)": anneal_squeezed,
        "walks downhill": lambda score, *given: annealed()(lambda x, sigma: -score(x, sigma), *given),
        "the noise uses `step`": lambda score, x, sigmas, step, repeats, draw: annealed(
            shake=lambda size: (2 * step) ** 0.5
        )(score, x, sigmas, step, repeats, draw),
        "got None, expected the chain": lambda *given: None,
        "draws random numbers of its own: use draw": lambda score, x, sigmas, step, repeats, draw: annealed()(
            score, x, sigmas, step, repeats, torch.randn_like
        ),
    },
    "E3.5": {
        "sigma instead of sigma^2": guess(lambda x, score, alpha, sigma: (x + sigma * score) / alpha),
        "the sign": guess(lambda x, score, alpha, sigma: (x - sigma**2 * score) / alpha),
        "not divided by alpha": guess(lambda x, score, alpha, sigma: x + sigma**2 * score),
        "divided by alpha^2": guess(lambda x, score, alpha, sigma: (x + sigma**2 * score) / alpha**2),
        "alpha and sigma are swapped": guess(lambda x, score, alpha, sigma: (x + alpha**2 * score) / sigma),
        "x is divided by alpha, the score is not": guess(lambda x, score, alpha, sigma: x / alpha + sigma**2 * score),
        "that is the noise": guess(lambda x, score, alpha, sigma: -sigma * score),
        "one time for the whole batch": lambda schedule, x, t, score: guess_by_noise(schedule, x, t[:1], score),
        "wrong dtype": lambda *given: guess_by_noise(*given).double(),
        "multiplied by alpha": guess(lambda x, score, alpha, sigma: (x + sigma**2 * score) * alpha),
        "the score is taken for the noise": guess(lambda x, score, alpha, sigma: (x - sigma * score) / alpha),
        "sigma^2 is taken for 1 - alpha^2": guess(lambda x, score, alpha, sigma: (x + (1 - alpha**2) * score) / alpha),
        "divides by sigma": guess(lambda x, score, alpha, sigma: (x + sigma**4 * score / sigma**2) / alpha),
        "wrong shape": lambda *given: guess_by_noise(*given).squeeze(),
        "is a `return` missing": lambda *given: None,
        "changes its argument x": lambda schedule, x, t, score: x.copy_(guess_by_noise(schedule, x, t, score)),
    },
    "E3.6": {
        "right direction, wrong length": test_by_direction,
        "wrong only where x_2 > 2": test_near_the_middle,
        "five per cent too long": test_loosely,
        "standard deviation for variance": test_without_assert,
        "the second coordinate is ignored": test_one_axis,
        "NaN for x_1 < -2": test_without_nan,
        "It rejects": test_normalised,
        "Only a failing assert counts as rejecting": test_raising,
        "wrong only in the corner": test_at_normal_points,
        "Write `assert condition`": test_returning,
        "a swirl is added": test_at_the_origin,
    },
}
