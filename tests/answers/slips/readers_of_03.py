"""Slips of a reader of 03, by exercise, and the names that the checks print for them; all are rejected."""

import math

import torch

SLIPS = {}


def right_logs(w, s, sq, d):
    return w.log() - sq / (2 * s**2) - d * s.log()


def pulled(share, offset, s):
    return (share[:, :, None] * offset / s[:, None] ** 2).sum(1)


def mixed(logs=right_logs, share=lambda logs: logs.softmax(1), pull=pulled):
    """A mixture's score: logs(weights, stds, squared distances, d), shares of them, and how the shares pull."""

    def mixture_score(x, weights, means, stds):
        offset = means - x[:, None]
        return pull(share(logs(weights, stds, offset.square().sum(2), x.shape[1])), offset, stds)

    return mixture_score


def mixed_in_numbers(x, weights, means, stds):
    offset, d = means - x[:, None], x.shape[1]
    p = weights * (-offset.square().sum(2) / (2 * stds**2)).exp() / stds**d
    return pulled(p / (p.sum(1, keepdim=True) + 1e-8), offset, stds)


def one_pull_of_all(x, weights, means, stds):
    share = right_logs(weights, stds, (means - x[:, None]).square().sum(2), x.shape[1]).softmax(1)
    return (share @ means - x) / (share @ stds**2)[:, None]


def pulled_by_coordinate(x, weights, means, stds):
    offset, s = means - x[:, None], stds[:, None]
    logs = weights.log()[:, None] - offset.square() / (2 * s**2) - s.log()
    return (logs.softmax(1) * offset / s**2).sum(1)


def pulled_by_the_mean(x, weights, means, stds):
    x = x.detach().clone().requires_grad_()
    logs = right_logs(weights, stds, (means - x[:, None]).square().sum(2), x.shape[1])
    return torch.autograd.grad(logs.logsumexp(1).mean(), x)[0]


SLIPS["E3.1"] = {
    "away from the mean": mixed(pull=lambda p, o, s: -pulled(p, o, s)),
    "no s^-d": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s**2)),
    "s^-1": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s**2) - s.log()),
    "s^-2": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s**2) - 2 * s.log()),
    "d logs of the variance": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s**2) - d * (s**2).log()),
    "s^d": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s**2) + d * s.log()),
    "weights without log": mixed(lambda w, s, sq, d: w - sq / (2 * s**2) - d * s.log()),
    "no weights": mixed(lambda w, s, sq, d: -sq / (2 * s**2) - d * s.log()),
    "the weight alone": mixed(lambda w, s, sq, d: w.log().expand_as(sq)),
    "no half": mixed(lambda w, s, sq, d: w.log() - sq / s**2 - d * s.log()),
    "2 s in the exponent": mixed(lambda w, s, sq, d: w.log() - sq / (2 * s) - d * s.log()),
    "s in the pull": mixed(pull=lambda p, o, s: (p[:, :, None] * o / s[:, None]).sum(1)),
    "softmax over the batch": mixed(share=lambda logs: logs.softmax(0)),
    "a mean over the components": mixed(pull=lambda p, o, s: (p[:, :, None] * o / s[:, None] ** 2).mean(1)),
    "log_softmax": mixed(share=lambda logs: logs.log_softmax(1)),
    "the gradient of p": mixed(
        lambda w, s, sq, d: right_logs(w, s, sq, d) - d / 2 * math.log(2 * math.pi), lambda logs: logs.exp()
    ),
    "p with a small number below": mixed_in_numbers,
    "the nearest": mixed(share=lambda logs: torch.nn.functional.one_hot(logs.argmax(1), logs.shape[1]).to(logs)),
    "the distance not squared": mixed(lambda w, s, sq, d: w.log() - sq.sqrt() / (2 * s**2) - d * s.log()),
    "averages first": one_pull_of_all,
    "log p itself": mixed(share=lambda logs: logs.logsumexp(1), pull=lambda log_p, o, s: log_p),
    "float32": mixed(pull=lambda p, o, s: pulled(p, o, s).float()),
    "the gradient of the mean": pulled_by_the_mean,
    "every coordinate alone": pulled_by_coordinate,
    "the exponent is cut off": mixed(lambda w, s, sq, d: w.log() + (-sq / (2 * s**2)).clamp(min=-80) - d * s.log()),
}


def step_in_place(x, score, step, noise):
    x += step * score + (2 * step) ** 0.5 * noise
    return x


def noise_in_place(x, score, step, noise):
    noise *= (2 * step) ** 0.5
    return x + step * score + noise


SLIPS["E3.2"] = {
    "downhill": lambda x, g, h, z: x - h * g + (2 * h) ** 0.5 * z,
    "both halved": lambda x, g, h, z: x + h / 2 * g + h**0.5 * z,
    "half the drift": lambda x, g, h, z: x + h / 2 * g + (2 * h) ** 0.5 * z,
    "the root of the step": lambda x, g, h, z: x + h * g + h**0.5 * z,
    "2 outside of the root": lambda x, g, h, z: x + h * g + 2 * h**0.5 * z,
    "the step outside of the root": lambda x, g, h, z: x + h * g + 2**0.5 * h * z,
    "no root": lambda x, g, h, z: x + h * g + 2 * h * z,
    "twice the drift": lambda x, g, h, z: x + 2 * h * g + (2 * h) ** 0.5 * z,
    "the root over both": lambda x, g, h, z: x + (2 * h) ** 0.5 * (g + z),
    "exchanged": lambda x, g, h, z: x + (2 * h) ** 0.5 * g + h * z,
    "minus the noise": lambda x, g, h, z: x + h * g - (2 * h) ** 0.5 * z,
    "x shrinks": lambda x, g, h, z: (1 - h) * x + h * g + (2 * h) ** 0.5 * z,
    "x forgotten": lambda x, g, h, z: h * g + (2 * h) ** 0.5 * z,
    "in place": step_in_place,
    "the noise in place": noise_in_place,
    "the score in place": lambda x, g, h, z: g.mul_(h).add_(x).add_(z, alpha=(2 * h) ** 0.5),
    "its own noise": lambda x, g, h, z: x + h * g + (2 * h) ** 0.5 * torch.randn_like(x),
    "to the power of 1, halved": lambda x, g, h, z: x + h * g + (2 * h) ** 1 / 2 * z,
    "noise times score": lambda x, g, h, z: x + h * g + (2 * h) ** 0.5 * z * g,
    "a whole step": lambda x, g, h, z: x + int(h) * g + (2 * h) ** 0.5 * z,
    "a unit score": lambda x, g, h, z: x + h * g / g.norm() + (2 * h) ** 0.5 * z,
    "float32": lambda x, g, h, z: (x + h * g + (2 * h) ** 0.5 * z).float(),
    "no return": lambda x, g, h, z: None,
    "noise of the first column": lambda x, g, h, z: x + h * g + (2 * h) ** 0.5 * z[:, :1],
    "noise without its mean": lambda x, g, h, z: x + h * g + (2 * h) ** 0.5 * (z - z.mean()),
    "at most 1": lambda x, g, h, z: x + min(h, 1.0) * g + (2 * min(h, 1.0)) ** 0.5 * z,
    "1 % more": lambda x, g, h, z: 1.01 * (x + h * g + (2 * h) ** 0.5 * z),
}


def matching(rest, total=lambda rest: rest.square().mean(), place=lambda x0, s, z: x0 + s * z):
    """A loss: rest(score at the place, level, noise, x0, place), and how it becomes one number."""

    def score_matching_loss(score, x0, sigma, noise):
        s = sigma[:, None]
        x = place(x0, s, noise)
        return total(rest(score(x, sigma), s, noise))

    return score_matching_loss


def left(g, s, z):
    return s * g + z


def matching_by(asked, scale=lambda s: s):
    """A loss with the score asked at asked(sigma), and with scale(sigma as a column) for sigma."""

    def score_matching_loss(score, x0, sigma, noise):
        s = scale(sigma[:, None])
        return (s * score(x0 + s * noise, asked(sigma)) + noise).square().mean()

    return score_matching_loss


def matching_in_place(score, x0, sigma, noise):
    x0 += sigma[:, None] * noise
    return (sigma[:, None] * score(x0, sigma) + noise).square().mean()


def matching_own_noise(score, x0, sigma, noise):
    return matching(left)(score, x0, sigma, torch.randn_like(x0))


def matching_without_gradient(score, x0, sigma, noise):
    with torch.no_grad():
        return matching(left)(score, x0, sigma, noise)


def weighed_outside(score, x0, sigma, noise):
    rest = score(x0 + sigma[:, None] * noise, sigma) + noise / sigma[:, None]
    return sigma.square().mean() * rest.square().mean()


SLIPS["E3.3"] = {
    "minus": matching(lambda g, s, z: s * g - z),
    "no weight": matching(lambda g, s, z: g + z / s),
    "weight sigma": matching(lambda g, s, z: s.sqrt() * (g + z / s)),
    "weight sigma^4": matching(lambda g, s, z: s**2 * (g + z / s)),
    "noise over sigma^2": matching(lambda g, s, z: s * (g + z / s**2)),
    "the noise itself": matching(lambda g, s, z: s * (g + z)),
    "a sum over d": matching(left, lambda rest: rest.square().sum(1).mean()),
    "a sum": matching(left, lambda rest: rest.square().sum()),
    "lengths over d": matching(left, lambda rest: rest.norm(dim=1).mean() / rest.shape[1]),
    "lengths": matching(left, lambda rest: rest.norm(dim=1).mean()),
    "abs": matching(left, lambda rest: rest.abs().mean()),
    "at the clean x0": matching(left, place=lambda x0, s, z: x0),
    "x0 - sigma z": matching(left, place=lambda x0, s, z: x0 - s * z),
    "x0 + z": matching(left, place=lambda x0, s, z: x0 + z),
    "x0 + sigma^2 z": matching(left, place=lambda x0, s, z: x0 + s**2 * z),
    "roots of sigma": matching_by(lambda sigma: sigma, lambda s: s.sqrt()),
    "at the mean sigma": matching_by(lambda sigma: sigma.mean().expand_as(sigma)),
    "scaled by the first sigma": matching_by(lambda sigma: sigma, lambda s: s[0]),
    "asked with a column": matching_by(lambda sigma: sigma[:, None]),
    "its own noise": matching_own_noise,
    "detached": matching(lambda g, s, z: s * g.detach() + z),
    "no_grad": matching_without_gradient,
    "a float": matching(left, lambda rest: rest.square().mean().item()),
    "one loss each": matching(left, lambda rest: rest.square().mean(1)),
    "the mean weight": weighed_outside,
    "over d twice": matching(left, lambda rest: rest.square().mean() / rest.shape[1]),
    "a sum over examples": matching(left, lambda rest: rest.square().mean(1).sum()),
    "half": matching(left, lambda rest: 0.5 * rest.square().mean()),
    "a root": matching(left, lambda rest: rest.square().mean().sqrt()),
    "two coordinates": matching(left, lambda rest: rest.square().sum(1).mean() / 2),
    "no cross term": matching(lambda g, s, z: ((s * g).square() + z.square()).sqrt()),
    "in place": matching_in_place,
}


NAMED = {
    "E3.1": {
        "away from the mean": ("the sign: it points away from the means",),
        "no s^-d": ("the shares forget that a wide component is lower (s_k^-d)",),
        "s^-1": ("the shares use s_k^-1, but in d dimensions it is s_k^-d",),
        "s^-2": ("the shares use s_k^-2, whatever d is",),
        "d logs of the variance": ("the shares use s_k^(-2d): the logarithm of the variance needs d / 2",),
        "s^d": ("the shares use s_k^+d",),
        "weights without log": ("the weights stand in the exponent without their logarithm",),
        "no weights": ("the weights w_k are forgotten in the shares",),
        "the weight alone": ("the weights w_k instead of the shares at x",),
        "no half": ("a missing 1/2: |x - mu|^2 is divided by s^2, not by 2 s^2",),
        "2 s in the exponent": ("the exponent is divided by 2 s, not by 2 s^2",),
        "s in the pull": ("standard deviation for variance: divided by s, not by s^2",),
        "softmax over the batch": ("softmax over the points instead of over the components",),
        "a mean over the components": ("the mean over the components, not their sum",),
        "log_softmax": ("the logarithms of the shares stand in for the shares",),
        "the gradient of p": ("the gradient of p, not of log p",),
        "p with a small number below": ("p underflows, so p / p is NaN: the score vanishes",),
        "the nearest": ("only the nearest component counts",),
        "the distance not squared": ("the distance is not squared in the exponent",),
        "averages first": ("the means and variances are averaged first, and one Gaussian pulls",),
        "the gradient of the mean": ("the result has the wrong factor",),
        "every coordinate alone": ("every coordinate has shares of its own",),
    },
    "E3.2": {
        "downhill": ("walks downhill: the score has the wrong sign",),
        "both halved": ("the paper's step / 2 and sqrt(step), half as much as the slide's",),
        "half the drift": ("the paper's drift step / 2 with the slide's noise",),
        "the root of the step": ("the paper's noise sqrt(step) with the slide's drift",),
        "2 outside of the root": ("the root of step alone: sqrt(2) is outside or missing",),
        "the step outside of the root": ("the step multiplies the shake, too",),
        "no root": ("variance for standard deviation: 2 step instead of its root",),
        "twice the drift": ("twice `score`",),
        "the root over both": ("`score` has the wrong factor",),
        "exchanged": ("`score` and `noise` have the wrong factors",),
        "minus the noise": ("the noise has the wrong sign",),
        "x shrinks": ("x is shrunk by 1 - step",),
        "x forgotten": ("x is forgotten",),
        "to the power of 1, halved": ("`noise` has the wrong factor",),
        "noise times score": ("the score multiplies the shake, too",),
        "a whole step": ("`score` has the wrong factor",),
        "a unit score": ("`score` has length 1",),
        "noise without its mean": ("one number too many is added to the result",),
        "at most 1": ("`score` and `noise` have the wrong factors",),
        "1 % more": ("the result has the wrong factor",),
    },
    "E3.3": {
        "minus": ("the target has the wrong sign: it is -noise / sigma",),
        "no weight": ("wrong weighting: without sigma^2 the smallest level is all that counts",),
        "weight sigma": ("wrong weighting: sigma instead of sigma^2",),
        "weight sigma^4": ("wrong weighting: sigma^4 instead of sigma^2",),
        "noise over sigma^2": ("the target is noise over sigma^2, not over sigma",),
        "the noise itself": ("the target is the noise, not noise over sigma",),
        "a sum over d": ("a sum over coordinates instead of a mean",),
        "a sum": ("a sum instead of a mean",),
        "lengths over d": ("the length of each example's error over d, not its square",),
        "lengths": ("the length of each example's error, not its square",),
        "abs": ("the square is missing",),
        "at the clean x0": ("the score is asked at the clean x0",),
        "x0 - sigma z": ("the noise is subtracted from x0 and added to the score",),
        "x0 + z": ("the noise is added to x0 without sigma",),
        "x0 + sigma^2 z": ("sigma^2 times the noise is added to x0",),
        "roots of sigma": ("the root of sigma stands in both places",),
        "at the mean sigma": ("the score is asked at the mean sigma",),
        "scaled by the first sigma": ("the first sigma scales every example",),
        "the mean weight": ("the mean of sigma^2 weighs the mean error",),
        "over d twice": ("the mean over all numbers is divided by d once more",),
        "a sum over examples": ("the sum over the examples of a mean over coordinates",),
        "half": ("half of it",),
        "a root": ("the root of the mean square",),
        "two coordinates": ("the sum over coordinates is divided by 2, whatever d is",),
        "no cross term": ("the squares are added, not the sum squared",),
    },
}
