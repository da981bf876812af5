"""Slips of a reader of 05, by exercise, and the names that the checks print for them; all are rejected."""

import math

import torch
import torch.nn.functional as F

SLIPS = {}


def bayes(rule):
    return lambda schedule, x, t, x0_hat, score: rule(x, x0_hat, score, *schedule(t, x))


def bayes_in_place(schedule, x, t, x0_hat, score):
    alpha, sigma = schedule(t, x)
    x0_hat += sigma**2 / alpha * score
    return x0_hat


def bayes_at_times_alone(schedule, x, t, x0_hat, score):
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return x0_hat + sigma**2 / alpha * score


def bayes_on_the_cosine(schedule, x, t, x0_hat, score):
    angle = t.view(-1, *[1] * (x.ndim - 1)) * math.pi / 2
    return x0_hat + angle.sin() ** 2 / angle.cos() * score


SLIPS["E5.1"] = {
    "minus": bayes(lambda x, g, l, a, s: g - s**2 / a * l),
    "alpha forgotten": bayes(lambda x, g, l, a, s: g + s**2 * l),
    "sigma not squared": bayes(lambda x, g, l, a, s: g + s / a * l),
    "added as it is": bayes(lambda x, g, l, a, s: g + l),
    "Tweedie of the likelihood": bayes(lambda x, g, l, a, s: (x + s**2 * l) / a),
    "through the score": bayes(lambda x, g, l, a, s: (x + s**2 * ((a * g - x) / s**2 + l)) / a),
    "the posterior's score": bayes(lambda x, g, l, a, s: (a * g - x) / s**2 + l),
    "the score upside down": bayes(lambda x, g, l, a, s: (x + s**2 * ((x - a * g) / s**2 + l)) / a),
    "1 - alpha^2": bayes(lambda x, g, l, a, s: g + (1 - a**2) / a * l),
    "a bracket too many": bayes(lambda x, g, l, a, s: (g + s**2 * l) / a),
    "sigma^2 / alpha^2": bayes(lambda x, g, l, a, s: g + (s / a) ** 2 * l),
    "times alone": bayes_at_times_alone,
    "the first time for all": lambda schedule, x, t, g, l: bayes(lambda x, g, l, a, s: g + s**2 / a * l)(
        schedule, x, t[:1].expand_as(t), g, l
    ),
    "a product": bayes(lambda x, g, l, a, s: g * l),
    "in place": bayes_in_place,
    "half": bayes(lambda x, g, l, a, s: g + s**2 / (2 * a) * l),
    "unpacked the wrong way": bayes(lambda x, g, l, s, a: g + s**2 / a * l),
    "no return": bayes(lambda x, g, l, a, s: None),
    "x for the guess": bayes(lambda x, g, l, a, s: x + s**2 / a * l),
    "clipped": bayes(lambda x, g, l, a, s: (g + s**2 / a * l).clamp(-1, 1)),
    "float32 by numpy": bayes(lambda x, g, l, a, s: torch.from_numpy((g + s**2 / a * l).numpy().astype("float32"))),
    "the cosine schedule": bayes_on_the_cosine,
    "nan_to_num": bayes(lambda x, g, l, a, s: torch.nan_to_num((x + s**2 * ((a * g - x) / s**2 + l)) / a)),
    "the batch's mean": bayes(lambda x, g, l, a, s: g + s**2 / a * l.mean(0, keepdim=True)),
    "alpha above": bayes(lambda x, g, l, a, s: g + s**2 * a * l),
    "the difference alone": bayes(lambda x, g, l, a, s: s**2 / a * l),
}


def pulling(value, sign=1):
    """The gradient of value(logits, y), a scalar."""

    def classifier_score(classifier, x, t, y):
        x = x.detach().clone().requires_grad_()
        return sign * torch.autograd.grad(value(classifier(x, t), y), x)[0]

    return classifier_score


def picked(table, y):
    return table.gather(1, y[:, None]).sum()


def after(change):
    return lambda *given: change(pulling(lambda z, y: picked(z.log_softmax(1), y))(*given))


def pulled_on_the_callers_x(classifier, x, t, y):
    x.requires_grad_(True)
    picked(classifier(x, t).log_softmax(1), y).backward()
    return x.grad


def pulled_one_by_one(classifier, x, t, y):
    pull = pulling(lambda z, y: picked(z.log_softmax(1), y))
    return torch.cat([pull(classifier, x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(len(x))])


def pulled_in_float32(classifier, x, t, y):
    return pulling(lambda z, y: picked(z.log_softmax(1), y))(classifier, x.float(), t.float(), y)


def all_of_grad(classifier, x, t, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(picked(classifier(x, t).log_softmax(1), y), x)


def against_the_others(z, y):
    mine = F.one_hot(y, z.shape[1]).bool()
    return (z[mine] - z.masked_fill(mine, -torch.inf).logsumexp(1)).sum()


SLIPS["E5.2"] = {
    "the logit": pulling(picked),
    "p": pulling(lambda z, y: picked(z.softmax(1), y)),
    "cross-entropy": pulling(F.cross_entropy),
    "minus cross-entropy": pulling(F.cross_entropy, -1),
    "a summed loss": pulling(lambda z, y: F.cross_entropy(z, y, reduction="sum")),
    "the mean": pulling(lambda z, y: picked(z.log_softmax(1), y) / len(y)),
    "columns": pulling(lambda z, y: z.log_softmax(1)[:, y].sum()),
    "rows": pulling(lambda z, y: z.log_softmax(1)[y].sum()),
    "softmax down": pulling(lambda z, y: picked(z.log_softmax(0), y)),
    "the likeliest": pulling(lambda z, y: z.log_softmax(1).max(1).values.sum()),
    "log(p + 1e-8)": pulling(lambda z, y: (z.softmax(1).gather(1, y[:, None]) + 1e-8).log().sum()),
    "log of softmax": pulling(lambda z, y: picked(z.softmax(1).log(), y)),
    "log of sigmoid": pulling(lambda z, y: picked(F.logsigmoid(z), y)),
    "the caller's x": pulled_on_the_callers_x,
    "one by one": pulled_one_by_one,
    "log p itself": lambda classifier, x, t, y: classifier(x, t).log_softmax(1).gather(1, y[:, None]),
    "the tuple": all_of_grad,
    "no leaf": lambda classifier, x, t, y: torch.autograd.grad(picked(classifier(x, t).log_softmax(1), y), x)[0],
    "all classes": pulling(lambda z, y: z.log_softmax(1).sum()),
    "y[0]": pulling(lambda z, y: z.log_softmax(1)[:, y[0]].sum()),
    "unit length": after(lambda g: g / g.flatten(1).norm(dim=1).view(-1, *[1] * (g.ndim - 1))),
    "unit length of all": after(lambda g: g / g.norm()),
    "ten classes": pulling(lambda z, y: (z.log_softmax(1) * F.one_hot(y, 10)).sum()),
    "t = 0": lambda classifier, x, t, y: pulling(lambda z, y: picked(z.log_softmax(1), y))(classifier, x, 0 * t, y),
    "float32": pulled_in_float32,
    "gather down": pulling(lambda z, y: z.log_softmax(1).gather(0, y[None, :]).sum()),
    "minus the logits": pulling(lambda z, y: picked((-z).log_softmax(1), y)),
    "odds": pulling(against_the_others),
    "exp by hand": pulling(lambda z, y: picked((z.exp() / z.exp().sum(1, keepdim=True)).log(), y)),
}


def mixed(mix, label=None):
    """mix(cond, uncond, scale); label: what the second guess is told."""

    def cfg(denoise, x, t, y, null, scale):
        return mix(denoise(x, t, y), denoise(x, t, torch.full_like(y, null if label is None else label)), scale)

    return cfg


def line(c, u, w):
    return u + w * (c - u)


def told(make):
    """The right line, with make(y, null) for the null labels."""
    return lambda denoise, x, t, y, null, w: line(denoise(x, t, y), denoise(x, t, make(y, null)), w)


def filled_first(denoise, x, t, y, null, w):
    uncond = denoise(x, t, y.fill_(null))
    return line(denoise(x, t, y), uncond, w)


def written_into(denoise, x, t, y, null, w):
    cond = denoise(x, t, y)
    y[:] = null
    return line(cond, denoise(x, t, y), w)


def null_asked_twice(denoise, x, t, y, null, w):
    none = torch.full_like(y, null)
    return denoise(x, t, none) + w * (denoise(x, t, y) - denoise(x, t, none))


def halves_swapped(denoise, x, t, y, null, w):
    both = denoise(torch.cat([x, x]), torch.cat([t, t]), torch.cat([torch.full_like(y, null), y]))
    first, second = both.chunk(2)
    return line(first, second, w)


def uncond_at_cond(denoise, x, t, y, null, w):
    cond = denoise(x, t, y)
    return line(cond, denoise(cond, t, torch.full_like(y, null)), w)


def asked_again_at_1(denoise, x, t, y, null, w):
    cond, uncond = denoise(x, t, y), denoise(x, t, torch.full_like(y, null))
    return denoise(x, t, y) if w == 1 else line(cond, uncond, w)


SLIPS["E5.3"] = {
    "the paper's w": mixed(lambda c, u, w: (1 + w) * c - w * u),
    "swapped": mixed(lambda c, u, w: c + w * (u - c)),
    "the difference": mixed(lambda c, u, w: w * (c - u)),
    "a weighted mean": mixed(lambda c, u, w: (c + w * u) / (1 + w)),
    "another weighted mean": mixed(lambda c, u, w: (u + w * c) / (1 + w)),
    "added": mixed(lambda c, u, w: u + w * c),
    "clipped": mixed(lambda c, u, w: line(c, u, w).clamp(-1, 1)),
    "label 0": mixed(line, 0),
    "label 10": mixed(line, 10),
    "label -1": mixed(line, -1),
    "an int": told(lambda y, null: null),
    "one label": told(lambda y, null: torch.tensor([null])),
    "float labels": told(lambda y, null: torch.full(y.shape, float(null))),
    "written into y": written_into,
    "filled": filled_first,
    "0 or not": mixed(lambda c, u, w: u if w == 0 else c),
    "a branch at 1": mixed(lambda c, u, w: line(c, u, w) if w <= 1 else c + w * (c - u)),
    "stops at 1": mixed(lambda c, u, w: line(c, u, min(w, 1.0))),
    "asked thrice": null_asked_twice,
    "asked again at 1": asked_again_at_1,
    "halves swapped": halves_swapped,
    "w - 1": mixed(lambda c, u, w: line(c, u, w - 1)),
    "cond's length": mixed(lambda c, u, w: line(c, u, w) * c.norm() / line(c, u, w).norm()),
    "cond's spread": mixed(lambda c, u, w: line(c, u, w) * c.std() / line(c, u, w).std()),
    "t = 0": lambda denoise, x, t, y, null, w: mixed(line)(denoise, x, 0 * t, y, null, w),
    "uncond at cond": uncond_at_cond,
    "x for uncond": lambda denoise, x, t, y, null, w: line(denoise(x, t, y), x, w),
    "labels are mixed": lambda denoise, x, t, y, null, w: denoise(x, t, null + (w * (y - null)).long()),
    "a whole scale": mixed(lambda c, u, w: line(c, u, int(w))),
    "the weights swapped": mixed(lambda c, u, w: (1 - w) * c + w * u),
    "no return": mixed(lambda c, u, w: None),
    "the root": mixed(lambda c, u, w: line(c, u, w**0.5)),
    "x is added": lambda denoise, x, t, y, null, w: x + mixed(line)(denoise, x, t, y, null, w),
}


def column(flags, y):
    return flags.view(-1, *[1] * (y.ndim - 1))


def dropped(flags, to=lambda y, null: torch.full_like(y, null)):
    """flags(uniform, p), (batch,); to(y, null): what stands there."""
    return lambda y, null, p, uniform: torch.where(column(flags(uniform, p), y), to(y, null), y)


def written(choose):
    """A copy of y with null at choose(uniform, p), an index."""

    def drop_condition(y, null, p, uniform):
        new = y.clone()
        new[choose(uniform, p)] = null
        return new

    return drop_condition


def into_y(y, null, p, uniform):
    y[uniform < p] = null
    return y


def y_itself(y, null, p, uniform):
    return written(lambda u, p: u < p)(y, null, p, uniform) if (uniform < p).any() else y


def first_words(y, null, p, uniform):
    new = y.clone()
    new.view(len(y), -1)[:, 0][uniform < p] = null
    return new


def not_the_last(y, null, p, uniform):
    new = y.clone()
    if y.ndim == 1:
        new[uniform < p] = null
    else:
        new[uniform < p, :-1] = null
    return new


SLIPS["E5.4"] = {
    "those above": dropped(lambda u, p: u > p),
    "those not below": lambda y, null, p, u: torch.where(column(u < p, y), y, null),
    "<=": dropped(lambda u, p: u <= p),
    "random numbers": dropped(lambda u, p: torch.rand(len(u)) < p),
    "into y": into_y,
    "no axis": lambda y, null, p, u: torch.where(u < p, null, y),
    "an axis always": lambda y, null, p, u: torch.where((u < p)[:, None], null, y),
    "0": dropped(lambda u, p: u < p, lambda y, null: 0),
    "1, by a mask": lambda y, null, p, u: y * (1 - column(u < p, y).to(y.dtype)) + column(u < p, y).to(y.dtype),
    "10": dropped(lambda u, p: u < p, lambda y, null: 10),
    "-1": dropped(lambda u, p: u < p, lambda y, null: -1),
    "floats": lambda y, null, p, u: y * (1 - column(u < p, y).float()) + null * column(u < p, y).float(),
    "first words": first_words,
    "not the last word": not_the_last,
    "left out": lambda y, null, p, u: y[u >= p],
    "all or none": lambda y, null, p, u: torch.full_like(y, null) if u[0] < p else y.clone(),
    "all or none by the mean": lambda y, null, p, u: torch.full_like(y, null) if u.mean() < p else y.clone(),
    "the first": written(lambda u, p: slice(0, int(p * len(u)))),
    "by rank": written(lambda u, p: u.argsort()[: int(p * len(u))]),
    "p = 0.1": written(lambda u, p: u < 0.1),
    "p = 0.5": written(lambda u, p: u < 0.5),
    "no return": lambda y, null, p, u: None,
    "a list": lambda y, null, p, u: [null if each < p else label for label, each in zip(y.tolist(), u)],
    "int64": lambda y, null, p, u: dropped(lambda u, p: u < p)(y, null, p, u).long(),
    "y itself": y_itself,
    "1 - p": dropped(lambda u, p: u > 1 - p),
    "rounded": dropped(lambda u, p: u.round() < p),
    "y < p": lambda y, null, p, u: torch.where(y < p, null, y),
    "added": lambda y, null, p, u: y + null * column(u < p, y).to(y.dtype),
}


def within(inside=line, outside=lambda c, u, w: c, where=lambda t, low, high: low <= t <= high):
    """Both are asked only inside; inside and outside are functions of (cond, uncond, scale)."""

    def guided_within(cond, uncond, x, t, scale, low, high):
        if where(t, low, high):
            return inside(cond(x, t), uncond(x, t), scale)
        return outside(cond(x, t), None, scale)

    return guided_within


def both_asked(cond, uncond, x, t, scale, low, high):
    c, u = cond(x, t), uncond(x, t)
    return torch.where(torch.tensor(low <= t <= high), line(c, u, scale), c)


def scale_1_outside(cond, uncond, x, t, scale, low, high):
    return line(cond(x, t), uncond(x, t), scale if low <= t <= high else 1)


def cond_asked_twice(cond, uncond, x, t, scale, low, high):
    return uncond(x, t) + scale * (cond(x, t) - uncond(x, t)) if low <= t <= high else cond(x, t)


def saves_above_only(cond, uncond, x, t, scale, low, high):
    if t > high:
        return cond(x, t)
    c, u = cond(x, t), uncond(x, t)
    return line(c, u, scale) if t >= low else c


def ramp(cond, uncond, x, t, scale, low, high):
    if not low <= t <= high:
        return cond(x, t)
    return line(cond(x, t), uncond(x, t), scale * (t - low) / max(high - low, 1e-9))


def uncond_at_guess(cond, uncond, x, t, scale, low, high):
    c = cond(x, t)
    return line(c, uncond(c, t), scale) if low <= t <= high else c


SLIPS["E5.5"] = {
    "both asked": both_asked,
    "scale 1 outside": scale_1_outside,
    "strict": within(where=lambda t, low, high: low < t < high),
    "strict below": within(where=lambda t, low, high: low < t <= high),
    "strict above": within(where=lambda t, low, high: low <= t < high),
    "outside": within(where=lambda t, low, high: t < low or t > high),
    "or": within(where=lambda t, low, high: t >= low or t <= high),
    "uncond outside": lambda cond, uncond, x, t, w, low, high: (
        line(cond(x, t), uncond(x, t), w) if low <= t <= high else uncond(x, t)
    ),
    "uncond outside, by scale 0": lambda cond, uncond, x, t, w, low, high: line(
        cond(x, t), uncond(x, t), w if low <= t <= high else 0
    ),
    "asked twice": cond_asked_twice,
    "the paper's w": within(lambda c, u, w: c + w * (c - u)),
    "swapped": within(lambda c, u, w: c + w * (u - c)),
    "scaled outside": within(outside=lambda c, u, w: w * c),
    "the difference": within(lambda c, u, w: w * (c - u)),
    "added": within(lambda c, u, w: u + w * c),
    "ends swapped": within(where=lambda t, low, high: high <= t <= low),
    "no return outside": within(outside=lambda c, u, w: None),
    "x outside": lambda cond, uncond, x, t, w, low, high: line(cond(x, t), uncond(x, t), w) if low <= t <= high else x,
    "zeros outside": within(outside=lambda c, u, w: torch.zeros_like(c)),
    "an interval of its own": within(where=lambda t, low, high: 0.3 <= t <= 0.8),
    "a ramp": ramp,
    "t rounded": within(where=lambda t, low, high: low <= round(t, 1) <= high),
    "a width": within(where=lambda t, low, high: low <= t <= low + high),
    "1 - t": within(where=lambda t, low, high: low <= 1 - t <= high),
    "uncond at the guess": uncond_at_guess,
    "saves above only": saves_above_only,
    "high alone": within(where=lambda t, low, high: t <= high),
    "clipped inside": within(lambda c, u, w: line(c, u, w).clamp(-1, 1)),
    "clipped": within(lambda c, u, w: line(c, u, w).clamp(-1, 1), lambda c, u, w: c.clamp(-1, 1)),
    "above 1 alone": within(lambda c, u, w: line(c, u, w) if w > 1 else c),
    "at the ends alone": within(where=lambda t, low, high: t in (low, high)),
}

SCALES = (0.0, 0.3, 1.0, 2.7, 9.5)


def by_formula(holds, make=lambda: 3 * torch.randn(2, 4, 3), scales=SCALES):
    """A test by the formula; holds(got, want)."""

    def test_guidance(guidance):
        cond, uncond = make()
        for scale in scales:
            assert holds(guidance(cond, uncond, scale), line(cond, uncond, scale)), scale

    return test_guidance


def close(got, want):
    return torch.allclose(got, want, rtol=1e-3, atol=1e-3)


def returning(guidance):
    cond, uncond = torch.randn(2, 4, 3)
    return close(guidance(cond, uncond, 2.5), line(cond, uncond, 2.5))


def looking(guidance):
    cond, uncond = torch.randn(2, 4, 3)
    close(guidance(cond, uncond, 2.5), line(cond, uncond, 2.5))


def raising(guidance):
    try:
        by_formula(close)(guidance)
    except AssertionError:
        raise ValueError("wrong") from None


def swallowing(guidance):
    try:
        by_formula(close)(guidance)
    except AssertionError:
        print("wrong")


def by_the_papers_w(guidance):
    cond, uncond = 3 * torch.randn(2, 4, 3)
    for w in SCALES:
        assert close(guidance(cond, uncond, w), cond + w * (cond - uncond))


SLIPS["E5.6"] = {
    "0 and 1": by_formula(close, scales=(0.0, 1.0)),
    "0, 1 and 2": by_formula(close, scales=(0.0, 1.0, 2.0)),
    "ones and zeros": by_formula(close, make=lambda: (torch.ones(2, 3), torch.zeros(2, 3))),
    "a bool": returning,
    "no assert": looking,
    "exactly": by_formula(torch.equal, make=lambda: torch.randn(2, 40, 30)),
    "too exactly": by_formula(
        lambda a, b: torch.allclose(a, b, rtol=1e-9, atol=0), make=lambda: torch.randn(2, 40, 30)
    ),
    "a ValueError": raising,
    "swallowed": swallowing,
    "the paper's w": by_the_papers_w,
    "swapped": lambda guidance: by_formula(close)(lambda c, u, w: guidance(u, c, w)),
    "never": by_formula(lambda a, b: False),
    "up to 3": by_formula(close, scales=(0.0, 0.3, 1.0, 2.7, 3.0)),
    "small guesses": by_formula(close, make=lambda: 0.05 * torch.randn(2, 4, 3)),
    "any": by_formula(lambda a, b: torch.isclose(a, b, rtol=1e-3, atol=1e-3).any()),
    "sums": by_formula(lambda a, b: abs(a.sum() - b.sum()) < 1e-2),
    "the shape": by_formula(lambda a, b: a.shape == b.shape),
    "one number": by_formula(close, make=lambda: (torch.tensor(2.0), torch.tensor(-1.0))),
    "alike": by_formula(close, make=lambda: 2 * [3 * torch.randn(4, 3)]),
    "tensors for scales": by_formula(close, scales=torch.linspace(0, 10, 7)),
    "scales below 0": by_formula(close, scales=(-2.0, 0.0, 0.3, 1.0, 20.0)),
    "whole scales": by_formula(close, scales=[float(k) for k in range(11)]),
    "float64": by_formula(
        lambda a, b: a.dtype == b.dtype and close(a, b), make=lambda: 3 * torch.randn(2, 4, 3, dtype=torch.float64)
    ),
    "within 1": by_formula(lambda a, b: torch.allclose(a, b, rtol=0.5, atol=1.0), make=lambda: torch.randn(2, 4, 3)),
    "no abs": by_formula(lambda a, b: (a - b).max() < 1e-2),
    "up to 1": by_formula(close, scales=torch.linspace(0, 1, 11).tolist()),
}

NAMED = {
    "E5.1": {
        "minus": ("the sign of the likelihood score",),
        "alpha forgotten": ("the division by alpha is missing",),
        "sigma not squared": ("sigma for sigma^2",),
        "added as it is": ("grad log p(y | x) is added to x0_hat as if that were a score",),
        "Tweedie of the likelihood": ("Tweedie's formula with `likelihood_score` alone as the score",),
        "through the score": ("divides by sigma, which is 0 at t = 0: x cancels, so no score is needed",),
        "the posterior's score": ("returns the score, not the guess",),
        "the score upside down": ("the score without y has the wrong sign: it is (alpha x0_hat - x) / sigma^2",),
        "1 - alpha^2": ("1 - alpha^2 is sigma^2 only where alpha^2 + sigma^2 = 1",),
        "a bracket too many": ("x0_hat is divided by alpha, too",),
        "sigma^2 / alpha^2": ("divided by alpha^2",),
        "the first time for all": ("one time is used for all examples",),
        "a product": ("multiplied: probabilities multiply, what is made of their logarithms adds",),
        "half": ("half of sigma^2 / alpha",),
        "unpacked the wrong way": ("alpha and sigma are swapped",),
        "x for the guess": ("x_t is in the place of x0_hat",),
        "clipped": ("the result is cut off at -1 and 1",),
        "the cosine schedule": ("the cosine schedule is written in: alpha and sigma come from `schedule`",),
        "nan_to_num": ("0 / 0 at t = 0 is turned into 0: nothing has to be divided by sigma",),
        "the batch's mean": ("the likelihood scores are averaged over the batch",),
        "alpha above": ("multiplied by alpha instead of divided",),
        "the difference alone": ("only the difference to x0_hat is returned",),
    },
    "E5.2": {
        "the logit": ("the gradient of the logit: the softmax is missing",),
        "p": ("the gradient of p, not of log p",),
        "cross-entropy": ("the gradient of a loss averaged over the batch",),
        "minus cross-entropy": ("averaged over the batch",),
        "a summed loss": ("the sign: this is the gradient of a cross-entropy loss",),
        "the mean": ("averaged over the batch",),
        "columns": ("log_p[:, y] takes everybody's classes in every row: one number a row",),
        "rows": ("log_p[y] takes whole rows, those with the numbers y: one number a row",),
        "softmax down": ("softmax over the batch instead of the classes",),
        "the likeliest": ("the most likely class instead of the one asked for",),
        "log(p + 1e-8)": ("an epsilon in the log, log(p + 1e-08): where p is small it swallows the gradient",),
        "log of softmax": ("log(softmax), which is -inf where softmax underflows for any class: use log_softmax",),
        "log of sigmoid": ("each logit by itself: log(sigmoid) instead of log_softmax",),
        "all classes": ("all classes are summed, not the one asked for",),
        "y[0]": ("every example gets the first one's class",),
        "unit length": ("divided by its length: the size says how sure the classifier is",),
        "unit length of all": ("divided by the length of the whole batch's gradient",),
        "t = 0": ("t is not passed on: the classifier is asked at t = 0",),
        "minus the logits": ("the logits have the wrong sign: softmax of -logits",),
        "odds": ("the log-odds, log p - log(1 - p), not log p",),
        "exp by hand": ("log(softmax), which is -inf where softmax underflows for any class: use log_softmax",),
    },
    "E5.3": {
        "the paper's w": ("the paper's w: scale = w + 1 here",),
        "swapped": ("cond and uncond are swapped",),
        "the difference": ("only the difference is returned",),
        "a weighted mean": ("a mean of both, with scale as the weight of uncond",),
        "another weighted mean": ("a mean of both, with scale as the weight of cond: it stays between them",),
        "added": ("the guesses are added",),
        "clipped": ("clipped: leave that to the outermost wrapper",),
        "label 0": ("the null label is not used: the second guess is told 0 for everybody",),
        "label 10": ("the null label is not used: the second guess is told 10 for everybody",),
        "label -1": ("the null label is not used: the second guess is told -1 for everybody",),
        "0 or not": ("two answers alone: uncond at scale 0, cond at every other",),
        "a branch at 1": ("beyond scale 1 the difference is added to cond, not to uncond",),
        "stops at 1": ("no more than conditional: scale stops at 1",),
        "halves swapped": ("cond and uncond are swapped",),
        "w - 1": ("scale - 1 for scale: the paper's w the other way",),
        "cond's length": ("rescaled to the length of cond",),
        "cond's spread": ("rescaled to the spread of cond",),
        "t = 0": ("t is not passed on: the network is asked at t = 0",),
        "uncond at cond": ("the guess without y is asked at the guess with y, not at x",),
        "x for uncond": ("x_t is in the place of the guess without y",),
        "a whole scale": ("`scale` is rounded down to a whole number",),
        "the weights swapped": ("cond and uncond are swapped",),
        "the root": ("the root of `scale`",),
        "x is added": ("`x` is added to the result",),
    },
    "E5.4": {
        "those above": ("the wrong way round: uniform > p",),
        "those not below": ("the wrong way round: p is the share that is kept",),
        "<=": ("<= for <: an example whose number equals p stays",),
        "no axis": ("(batch,) meets words, not examples: give uniform < p an axis behind",),
        "an axis always": ("an axis too many: labels have shape (batch,), and need none",),
        "0": ("dropped to 0, which is a class",),
        "1, by a mask": ("dropped to 1, the flag itself, not to `null`",),
        "10": ("dropped to 10, whatever `null` is",),
        "-1": ("dropped to -1, not to `null`",),
        "first words": ("only the first word of a caption is dropped",),
        "not the last word": ("the last word of a caption stays",),
        "left out": ("the dropped examples are left out",),
        "all or none": ("one number decides for the whole batch",),
        "all or none by the mean": ("the mean of `uniform` for all",),
        "the first": ("the first ones are dropped, int(p * batch) of them, whatever uniform says",),
        "by rank": ("always the same number is dropped, the int(p * batch) smallest",),
        "p = 0.1": ("p is not used: uniform < 0.1",),
        "p = 0.5": ("p is not used: uniform < 0.5",),
        "1 - p": ("uniform > 1 - p: as many, but not those that uniform < p says",),
        "rounded": ("uniform is rounded to 0 or 1 first",),
        "y < p": ("y < p: the numbers that decide are `uniform`",),
        "added": ("`null` is added to y, not put in its place",),
    },
    "E5.5": {
        "strict": ("both ends are left out",),
        "strict below": ("the lower end is left out",),
        "strict above": ("the upper end is left out",),
        "outside": ("the wrong way round: guided outside",),
        "or": ("guided everywhere",),
        "uncond outside": ("outside, the unconditional guess",),
        "uncond outside, by scale 0": ("outside, the unconditional guess",),
        "the paper's w": ("the paper's w: scale = w + 1 here",),
        "swapped": ("cond and uncond are swapped",),
        "scaled outside": ("scale also outside: scale times cond",),
        "the difference": ("inside, only the difference is returned",),
        "added": ("inside, the guesses are added",),
        "ends swapped": ("`low` and `high` are swapped",),
        "x outside": ("outside, x itself",),
        "zeros outside": ("outside, zeros",),
        "an interval of its own": ("an interval of its own, [0.3, 0.8]: low and high are not used",),
        "a ramp": ("the scale grows from 0 at `low` to `scale` at `high`",),
        "t rounded": ("t is rounded before it is compared",),
        "a width": ("`high` is taken for a width: low <= t <= low + high",),
        "1 - t": ("1 - t is compared with the interval",),
        "uncond at the guess": ("uncond is asked at cond's guess, not at x",),
        "high alone": ("`low` is not used",),
        "clipped inside": ("clipped to [-1, 1] inside",),
        "clipped": ("the result is cut off at -1 and 1",),
        "above 1 alone": ("scales below 1 are not guided",),
        "at the ends alone": ("guided only where t is low or high",),
    },
    "E5.6": {
        "the paper's w": ("the paper's w: scale 0 is already conditional",),
        "swapped": ("cond and uncond are swapped",),
    },
}
