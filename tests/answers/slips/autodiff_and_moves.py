"""Slips in notebook 01."""

import math

import torch
import torch.nn.functional as F

from tests.answers.autodiff_and_moves import EXAMPLE
from tests.answers.autodiff_and_moves import RULES as RULE_NAMES


def disc(formula, length=lambda away: (away.square().sum(-1) + 1e-12).sqrt()):
    return lambda points, centres, radii, softness: formula(length(points - centres[:, None]), radii[:, None], softness)


def soft(d, r, s):
    return torch.sigmoid((r - d) / s)


def nesterov(loss, x, steps, size):
    before = x
    for _ in range(steps):
        ahead = (x + 0.9 * (x - before)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(ahead), ahead)
        before, x = x, (ahead - size * slope).detach()
        yield x


def two_steps_a_yield(loss, x, steps, size):
    for _ in range(steps):
        for _ in range(2):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(x), x)
            x = (x - size * slope).detach()
        yield x


def stops_early(loss, x, steps, size):
    for _ in range(1, steps):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(x), x)
        x = (x - size * slope).detach()
        yield x


def jump_ratio(length, v, spread, branches, pairs, log_v=None, jacobian=None, there=None, back=None):
    log_v = -(v**2) / (2 * spread**2) - math.log(spread) - math.log(2 * math.pi) / 2 if log_v is None else log_v
    jacobian = math.log(2 * length) if jacobian is None else jacobian
    return (
        (-math.log(pairs) if back is None else back)
        - (log_v - math.log(branches) if there is None else there)
        + jacobian
    )


def constant(spread):
    return math.log(spread) + math.log(2 * math.pi) / 2


def gap(x, y, score, drift):
    return (y - x - drift * score).square()


def undo_first_rule(journey):
    for seed in range(20):
        after, back = journey(EXAMPLE, RULE_NAMES[0], seed)
        assert after != EXAMPLE
        assert back == EXAMPLE


def undo_one_seed(journey):
    for rule in RULE_NAMES:
        after, back = journey(EXAMPLE, rule, 0)
        assert after != EXAMPLE
        assert back == EXAMPLE


SLIPS = {
    "E1.1": {
        "the mean of the lengths": lambda l1, a1, l2, a2: ((l1 + l2) / 2, a1 + a2 / 2, l1 / (l1 + l2), a2 / 2),
        "the ratio of the halves, the other way": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l2 / l1, a2 / 2),
        "angle first, v third": lambda l1, a1, l2, a2: (a1 + a2 / 2, l1 + l2, a2 / 2, l1 / (l1 + l2)),
        "halved once too often": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 4, l1 / (l1 + l2), a2 / 4),
    },
    "E1.2": {
        "softness squared": disc(lambda d, r, s: torch.sigmoid((r - d) / s**2)),
        "twice softness": disc(lambda d, r, s: torch.sigmoid((r - d) / (2 * s))),
        "the larger coordinate": disc(soft, lambda away: away.abs().amax(-1)),
        "1e-4 under the root": disc(soft, lambda away: (away.square().sum(-1) + 1e-4).sqrt()),
        "softness in radii": disc(lambda d, r, s: torch.sigmoid((r - d) / (s * r))),
        "a ramp": disc(lambda d, r, s: ((r - d) / s + 0.5).clamp(0, 1)),
        "radii detached": lambda points, centres, radii, softness: disc(soft)(
            points, centres, radii.detach(), softness
        ),
        "centres detached": lambda points, centres, radii, softness: disc(soft)(
            points, centres.detach(), radii, softness
        ),
        "1 / (1 + exp)": disc(lambda d, r, s: 1 / (1 + torch.exp(-(r - d) / s))),
        "the sum before the square": disc(soft, lambda away: (away.sum(-1).square() + 1e-12).sqrt()),
    },
    "E1.3": {
        "a momentum of 0.9, as Nesterov": nesterov,
        "two steps a yield": two_steps_a_yield,
        "range(1, steps)": stops_early,
    },
    "E1.4": {
        "twice the gain": lambda old, new, there, back, u: u.log() < 2 * (new - old) + back - there,
        "log10 of uniform": lambda old, new, there, back, u: u.log10() < new - old + back - there,
        "better always, else with q": lambda old, new, there, back, u: (
            (new > old) | (u.log() < new - old + back - there)
        ),
        "r / (1 + r)": lambda old, new, there, back, u: u < torch.sigmoid(new - old + back - there),
        "the exponential of each": lambda old, new, there, back, u: (
            u < new.exp() * back.exp() / (old.exp() * there.exp())
        ),
        "log1p of uniform": lambda old, new, there, back, u: u.log1p() < new - old + back - there,
    },
    "E1.6": {
        "only the first rule": undo_first_rule,
        "only one seed": undo_one_seed,
    },
    "E1.7": {
        "the Jacobian is subtracted": lambda length, v, spread, branches, pairs: jump_ratio(
            length, v, spread, branches, pairs, jacobian=-math.log(2 * length)
        ),
        "v is not squared": lambda length, v, spread, branches, pairs: jump_ratio(
            length, v, spread, branches, pairs, log_v=-abs(v / spread) / 2 - constant(spread)
        ),
        "plus, in the normal's exponent": lambda length, v, spread, branches, pairs: jump_ratio(
            length, v, spread, branches, pairs, log_v=(v / spread) ** 2 / 2 - constant(spread)
        ),
    },
    "E1.8": {
        "the logarithm has the wrong sign": lambda x, low, high: (
            low + (high - low) * torch.sigmoid(x),
            -(math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)),
        ),
        "summed over all x": lambda x, low, high: (
            low + (high - low) * torch.sigmoid(x),
            (math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)).sum(),
        ),
        "0 to high": lambda x, low, high: (
            high * torch.sigmoid(x),
            math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x),
        ),
        "from the middle": lambda x, low, high: (
            (low + high) / 2 + (high - low) * torch.sigmoid(x),
            math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x),
        ),
        "log1p(exp(-x))": lambda x, low, high: (
            low + (high - low) * torch.sigmoid(x),
            math.log(high - low) - x - 2 * torch.log1p(torch.exp(-x)),
        ),
        "the width twice": lambda x, low, high: (
            low + (high - low) * torch.sigmoid(x),
            2 * math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x),
        ),
        "log(high) for log(high - low)": lambda x, low, high: (
            low + (high - low) * torch.sigmoid(x),
            math.log(abs(high) + 1e-9) + F.logsigmoid(x) + F.logsigmoid(-x),
        ),
    },
    "E1.9": {
        "the distance is not squared": lambda x, y, a, b, step: (
            ((y - x - step * a).norm(dim=1) - (x - y - step * b).norm(dim=1)) / (4 * step)
        ),
        "twice the drift": lambda x, y, a, b, step: (
            (gap(x, y, a, 2 * step) - gap(y, x, b, 2 * step)).sum(1) / (4 * step)
        ),
        "summed over the batch": lambda x, y, a, b, step: (gap(x, y, a, step) - gap(y, x, b, step)).sum(0) / (4 * step),
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E1.1": {
        "the mean of the lengths": ("half of length",),
        "the ratio of the halves, the other way": ("u is the ratio of the halves, upside down",),
        "angle first, v third": ("the order is length, angle, u, v; yours is angle, length, v, u",),
        "halved once too often": (
            "half of `a2`",
            "half of v",
        ),
    },
    "E1.2": {
        "softness squared": ("`softness` is squared",),
        "twice softness": ("twice `softness`",),
        "the larger coordinate": ("the larger of |x| and |y| instead of the distance",),
        "1e-4 under the root": ("an epsilon of 0.0001 under the root: that is a distance of 0.01 at the centre",),
        "softness in radii": ("softness is measured in radii",),
        "a ramp": ("a linear ramp of width softness, not a sigmoid",),
        "radii detached": ("the radii are detached",),
        "centres detached": ("the centres are detached",),
        "1 / (1 + exp)": ("An exponential overflows there",),
        "the sum before the square": ("the coordinates are summed before they are squared",),
    },
    "E1.3": {
        "two steps a yield": ("the loss is evaluated twice in each step",),
        "range(1, steps)": ("one step too few",),
    },
    "E1.4": {
        "twice the gain": ("twice the gain",),
        "log10 of uniform": ("the logarithm of uniform is to base 10, not e",),
        "better always, else with q": (
            "what is better is always taken, and the proposals count for worse moves alone",
        ),
        "r / (1 + r)": ("ratio / (1 + ratio) for min(1, ratio): balanced, but it refuses more",),
        "the exponential of each": ("p underflows: stay with logarithms",),
        "log1p of uniform": ("log1p(uniform), which is never below 0, for log(uniform)",),
    },
    "E1.6": {
        "only the first rule": ("It accepts",),
        "only one seed": ("It accepts",),
    },
    "E1.7": {
        "the Jacobian is subtracted": ("the Jacobian is upside down",),
        "v is not squared": ("v / spread is not squared",),
        "plus, in the normal's exponent": ("the exponent of the normal has the wrong sign",),
    },
    "E1.8": {
        "the logarithm has the wrong sign": ("upside down: that is log |d x / d theta|",),
        "summed over all x": ("summed over all parameters",),
        "0 to high": ("from 0 to high: low is forgotten",),
        "from the middle": ("from the middle, not from low",),
        "log1p(exp(-x))": ("exp(-x) overflows where x is far below 0",),
        "the width twice": ("the width counts twice",),
        "log(high) for log(high - low)": ("one number too many is added to the result",),
    },
    "E1.9": {
        "the distance is not squared": ("the lengths, not their squares",),
        "twice the drift": ("the drift is 2 step score",),
        "summed over the batch": ("wrong shape",),
    },
}
