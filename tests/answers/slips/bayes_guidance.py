"""Slips in notebook 05."""

import torch


def bayes(formula):
    def answer(schedule, x, t, x0_hat, likelihood_score):
        return formula(x, x0_hat, likelihood_score, *schedule(t, x))

    return answer


def asking(loss):
    """The gradient of loss(logits, y) by x."""

    def answer(classifier, x, t, y):
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(classifier(x, t), y), x)[0]

    return answer


def guided(formula, null_of=lambda y, null: torch.full_like(y, null)):
    def answer(denoise, x, t, y, null, scale):
        return formula(denoise(x, t, y), denoise(x, t, null_of(y, null)), scale)

    return answer


def usual(cond, uncond, scale):
    return uncond + scale * (cond - uncond)


def both_are_asked(cond, uncond, x, t, scale, low, high):
    c, u = cond(x, t), uncond(x, t)
    return usual(c, u, scale) if low <= t <= high else c


def outside_it_is_scaled(cond, uncond, x, t, scale, low, high):
    if low <= t <= high:
        c, u = cond(x, t), uncond(x, t)
        return usual(c, u, scale)
    return scale * cond(x, t)


def outside_it_is_x(cond, uncond, x, t, scale, low, high):
    if low <= t <= high:
        c, u = cond(x, t), uncond(x, t)
        return usual(c, u, scale)
    return x


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def guidance_at_one(guidance):
    cond, uncond = torch.randn(2, 20)
    close(guidance(cond, uncond, 1.0), cond)


def guidance_at_both(guidance):
    cond, uncond = torch.randn(2, 20)
    close(guidance(cond, uncond, 0.0), uncond)
    close(guidance(cond, uncond, 1.0), cond)


SLIPS = {
    "E5.1": {
        "sigma^2 alpha": bayes(lambda x, g, s, a, b: g + b**2 * a * s),
        "sigma / alpha": bayes(lambda x, g, s, a, b: g + b / a * s),
        "alpha / sigma^2": bayes(lambda x, g, s, a, b: g + a / (b**2 + 1e-6) * s),
    },
    "E5.2": {
        "the mean over classes": asking(lambda logits, y: logits.log_softmax(1).mean(1).sum()),
        "class 0 for all": asking(lambda logits, y: logits.log_softmax(1)[:, 0].sum()),
        "twice log p, as for log p^2": asking(lambda logits, y: 2 * logits.log_softmax(1).gather(1, y[:, None]).sum()),
    },
    "E5.3": {
        "the mean of both times scale": guided(lambda c, u, w: w * (c + u) / 2),
        "scale over the whole": guided(lambda c, u, w: w * (u + (c - u))),
        "1 / scale": guided(lambda c, u, w: u + (c - u) / max(w, 1e-3)),
    },
    "E5.4": {
        "p is in per cent": lambda y, null, p, uniform: torch.where(
            (uniform < p / 100).view(-1, *[1] * (y.ndim - 1)), null, y
        ),
        "p squared": lambda y, null, p, uniform: torch.where((uniform < p**2).view(-1, *[1] * (y.ndim - 1)), null, y),
        "the batch is shuffled": lambda y, null, p, uniform: torch.where(
            (uniform.flip(0) < p).view(-1, *[1] * (y.ndim - 1)), null, y
        ),
    },
    "E5.5": {
        "both are asked everywhere": both_are_asked,
        "outside it is scaled": outside_it_is_scaled,
        "outside it is x": outside_it_is_x,
    },
    "E5.6": {
        "scale 1 alone": guidance_at_one,
        "both ends alone": guidance_at_both,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E5.1": {
        "sigma^2 alpha": ("multiplied by alpha instead of divided",),
        "sigma / alpha": ("sigma for sigma^2",),
        "alpha / sigma^2": ("`likelihood_score` has the wrong factor",),
    },
    "E5.2": {
        "twice log p, as for log p^2": ("twice the result",),
        "the mean over classes": ("the mean over all classes, not the one asked for",),
        "class 0 for all": ("every example gets class 0",),
    },
    "E5.3": {
        "the mean of both times scale": ("scale times the mean of the two guesses",),
        "scale over the whole": ("the unconditional guess is forgotten",),
        "1 / scale": ("1 / `scale`",),
    },
    "E5.4": {
        "p is in per cent": ("`p` divided by 100",),
        "p squared": (
            "`p` is squared",
            "the root of `uniform`",
        ),
        "the batch is shuffled": ("`uniform` is in the opposite order",),
    },
    "E5.5": {
        "both are asked everywhere": ("wrong number of",),
        "outside it is scaled": ("scale also outside: scale times cond",),
        "outside it is x": ("outside, x itself",),
    },
    "E5.6": {
        "scale 1 alone": ("It accepts",),
        "both ends alone": ("It accepts",),
    },
}
