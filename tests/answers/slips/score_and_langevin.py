"""Slips in notebook 03."""

import torch


def mixture(log_share, pull=lambda share, offset, s: ((share / s**2)[:, :, None] * offset).sum(1), dim=1):
    """A mixture's score with other shares: log_share(weights, s, squared distances, d)."""

    def score(x, weights, means, stds):
        offset = means - x[:, None]
        logs = log_share(weights, stds, offset.square().sum(2), means.shape[1])
        return pull(logs.softmax(dim), offset, stds)

    return score


def right(w, s, d2, d):
    return w.log() - d * s.log() - d2 / (2 * s**2)


def matching(loss):
    """A loss of (guess, level, noise, x0) with the score asked at the noisy x."""

    def answer(score, x0, sigma, noise):
        level = sigma[:, None]
        return loss(score(x0 + level * noise, sigma), level, noise, x0)

    return answer


def annealing(size, levels=lambda sigmas: sigmas, drift=1.0):
    def anneal(score, x, sigmas, step, repeats, draw):
        for sigma in levels(sigmas):
            for k in range(repeats):
                h = size(step, sigma, sigmas, k)
                x = x + drift * h * score(x, sigma) + (2 * h) ** 0.5 * draw(x)
                yield x

    return anneal


def clean(formula):
    def answer(schedule, x, t, score):
        alpha, sigma = schedule(t, x)
        return formula(x, alpha, sigma, score)

    return answer


def points(n=500, reach=3.0, dtype=torch.float64):
    return reach * (2 * torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=dtype) - 1)


def slope_of(field, x, h=1e-4):
    shifts = h * torch.eye(2, dtype=x.dtype)
    return torch.stack([(field(x + e)[0] - field(x - e)[0]) / (2 * h) for e in shifts], 1)


def field_by_direction(field):
    x = points()
    score, slope = field(x)[1], slope_of(field, x)
    assert (torch.cosine_similarity(score, slope) > 0.999).all()


def field_in_the_middle(field):
    x = points(reach=1.0)
    torch.testing.assert_close(field(x)[1], slope_of(field, x), rtol=1e-3, atol=1e-3)


SLIPS = {
    "E3.1": {
        "means - x with the wrong sign, in the pull": mixture(
            right, lambda p, away, s: -((p / s**2)[:, :, None] * away).sum(1)
        ),
        "a mean over the components": mixture(right, lambda p, away, s: ((p / s**2)[:, :, None] * away).mean(1)),
        "the mean of squares": mixture(lambda w, s, d2, d: w.log() - d * s.log() - d2 / d / (2 * s**2)),
    },
    "E3.2": {
        "2 sqrt(step)": lambda x, score, step, noise: x + step * score + 2 * step**0.5 * noise,
        "the square of the step": lambda x, score, step, noise: x + step**2 * score + (2 * step) ** 0.5 * noise,
        "2 step in front of the score": lambda x, score, step, noise: x + 2 * step * score + (2 * step) ** 0.5 * noise,
    },
    "E3.3": {
        "the noise is subtracted": matching(lambda g, s, n, x0: (s * g - n).square().mean()),
        "an absolute error": matching(lambda g, s, n, x0: (s * g + n).abs().mean()),
        "divided by sigma, not multiplied": matching(lambda g, s, n, x0: (g / s + n).square().mean()),
    },
    "E3.4": {
        "the drift is halved": annealing(lambda h, s, all_, k: h * (s / all_[-1]) ** 2, drift=0.5),
        "the root of the ratio": annealing(lambda h, s, all_, k: h * (s / all_[-1]) ** 0.5),
        "a product with sigma": annealing(lambda h, s, all_, k: h * s),
    },
    "E3.5": {
        "sigma^2 times x": clean(lambda x, a, s, score: (s**2 * x + score) / a),
        "the score is divided": clean(lambda x, a, s, score: (x + score / s**2) / a),
        "the noise guess, with alpha": clean(lambda x, a, s, score: (x - s * score) / a),
    },
    "E3.6": {
        "only the direction": field_by_direction,
        "only the middle": field_in_the_middle,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E3.1": {
        "means - x with the wrong sign, in the pull": ("the sign: it points away from the means",),
        "a mean over the components": ("the mean over the components, not their sum",),
        "the mean of squares": ("the mean over coordinates in the exponent, not their sum",),
    },
    "E3.2": {
        "2 sqrt(step)": ("the root of step alone: sqrt(2) is outside or missing",),
        "the square of the step": ("the drift is step^2 times the score",),
        "2 step in front of the score": ("twice `score`",),
    },
    "E3.3": {
        "the noise is subtracted": ("the target has the wrong sign: it is -noise / sigma",),
        "an absolute error": ("the square is missing",),
        "divided by sigma, not multiplied": ("the score is divided by sigma, not multiplied",),
    },
    "E3.4": {
        "the drift is halved": ("half the step, as in the paper, with the slide's noise",),
        "the root of the ratio": ("the root of the ratio instead of its square",),
        "a product with sigma": ("step * sigma, neither divided by the last sigma nor squared",),
    },
    "E3.5": {
        "sigma^2 times x": ("`x` and `score` have the wrong factors",),
        "the score is divided": ("the score is divided by sigma^2 instead of multiplied",),
        "the noise guess, with alpha": ("the score is taken for the noise",),
    },
    "E3.6": {
        "only the direction": ("It accepts",),
        "only the middle": ("It accepts",),
    },
}
