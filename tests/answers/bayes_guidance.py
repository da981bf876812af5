"""Answers to notebook 05: right ones written differently, and wrong ones by name."""

import torch
import torch.nn.functional as F

# E5.1


def bayes_by_ratio(schedule, x, t, x0_hat, likelihood_score):
    alpha, sigma = schedule(t, x)
    return torch.addcmul(x0_hat, likelihood_score / alpha, sigma.square())


def bayes_over_alpha(schedule, x, t, x0_hat, likelihood_score):
    alpha, sigma = (value.reshape(len(x), *[1] * (x.ndim - 1)) for value in (schedule.alpha(t), schedule.sigma(t)))
    return (alpha * x0_hat + sigma * (sigma * likelihood_score)) / alpha


def bayes_one_by_one(schedule, x, t, x0_hat, likelihood_score):
    new = x0_hat.clone()
    for k in range(len(x)):
        alpha, sigma = schedule(t[k : k + 1], x[k : k + 1])
        new[k] += (sigma**2 / alpha * likelihood_score[k : k + 1])[0]
    return new


def bayes_by_tweedie(schedule, x, t, x0_hat, likelihood_score):
    alpha, sigma = schedule(t, x)
    score = (alpha * x0_hat - x) / sigma**2 + likelihood_score
    return (x + sigma**2 * score) / alpha


def bayes_by_noise(schedule, x, t, x0_hat, likelihood_score):
    alpha, sigma = schedule(t, x)
    eps = (x - alpha * x0_hat) / sigma - sigma * likelihood_score
    return torch.div(x - sigma * eps, alpha)


def bayes(move):
    """A wrong rule: move(guess, likelihood_score, alpha, sigma, x)."""

    def bayes_x0(schedule, x, t, x0_hat, likelihood_score):
        return move(x0_hat, likelihood_score, *schedule(t, x), x)

    return bayes_x0


def bayes_at_one_time(schedule, x, t, x0_hat, likelihood_score):
    alpha, sigma = schedule(t[0], x)
    return x0_hat + sigma[:1] ** 2 / alpha[:1] * likelihood_score


# E5.2


def classifier_score_by_loss(classifier, x, t, y):
    x = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(classifier(x, t), y, reduction="sum")
    return -torch.autograd.grad(loss, x)[0]


@torch.enable_grad()
def classifier_score_by_backward(classifier, x, t, y):
    leaf = x.detach().clone()
    leaf.requires_grad = True
    logits = classifier(leaf, t)
    log_p = logits[torch.arange(len(y)), y] - logits.logsumexp(1)
    log_p.sum().backward()
    assert leaf.grad is not None
    return leaf.grad.clone()


def classifier_score_without_inference(classifier, x, t, y):
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().detach().requires_grad_()
        log_p = F.log_softmax(classifier(leaf, t), dim=-1)
        return torch.autograd.grad([log_p[i, k] for i, k in enumerate(y.tolist())], leaf)[0]


def classifier_score_by_one_hot(classifier, x, t, y):
    with torch.enable_grad():
        leaf = x.clone().detach().requires_grad_(True)
        log_p = F.log_softmax(classifier(leaf, t), 1)
        return torch.autograd.grad(log_p, leaf, grad_outputs=F.one_hot(y, log_p.shape[1]).to(log_p))[0].detach()


def classifier_score_on_the_callers_x(classifier, x, t, y):
    x.requires_grad_()
    return torch.autograd.grad(-F.cross_entropy(classifier(x, t), y, reduction="sum"), x)[0]


def score_of(value, sign=1):
    """The gradient of another number than the log-probability: value(logits, y), a scalar."""

    def classifier_score(classifier, x, t, y):
        x = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            return sign * torch.autograd.grad(value(classifier(x, t), y), x)[0]

    return classifier_score


def picked(table, y):
    return table.gather(1, y[:, None]).sum()


def classifier_score_one_by_one(classifier, x, t, y):
    each = [classifier_score_by_loss(classifier, x[k : k + 1], t[k : k + 1], y[k : k + 1]) for k in range(len(x))]
    return torch.cat(each)


def classifier_score_at_time_zero(classifier, x, t, y):
    return classifier_score_by_loss(classifier, x, torch.zeros_like(t), y)


def classifier_score_of_a_column(classifier, x, t, y):
    x = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(classifier(x, t).log_softmax(1)[:, y].sum(), x)[0]


def changed(change):
    """The right gradient, spoiled afterwards."""
    return lambda classifier, x, t, y: change(classifier_score_by_loss(classifier, x, t, y))


# E5.3


def cfg_with_a_changed_copy(denoise, x, t, y, null, scale):
    nobody = y.clone()
    nobody[:] = null
    uncond = denoise(x, t, nobody)
    return uncond.add(denoise(x, t, y).sub(uncond), alpha=scale)


def cfg_in_place(denoise, x, t, y, null, scale):
    cond = denoise(x, t, y)
    return torch.lerp(denoise(x, t, y.fill_(null)), cond, scale)


def cfg_of_label(label):
    """A wrong null: always the same label."""
    return lambda denoise, x, t, y, null, scale: cfg_by_lerp(denoise, x, t, y, label, scale)


def cfg_by_lerp(denoise, x, t, y, null, scale):
    return torch.lerp(denoise(x, t, torch.full_like(y, null)), denoise(x, t, y), scale)


def cfg_in_one_call(denoise, x, t, y, null, scale):
    nobody = torch.tensor([null]).expand(len(y))
    both = denoise(torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, nobody]))
    cond, uncond = both.chunk(2)
    return cond * scale - uncond * (scale - 1)


def mixed(mix):
    """A wrong mixture: mix(cond, uncond, scale)."""

    def cfg(denoise, x, t, y, null, scale):
        return mix(denoise(x, t, y), denoise(x, t, torch.full_like(y, null)), scale)

    return cfg


def cfg_without_null(denoise, x, t, y, null, scale):
    cond, uncond = denoise(x, t, y), denoise(x, t, y)
    return uncond + scale * (cond - uncond)


def cfg_asking_thrice(denoise, x, t, y, null, scale):
    none = torch.full_like(y, null)
    return denoise(x, t, none) + scale * (denoise(x, t, y) - denoise(x, t, none))


# E5.4


def drop_by_masked_fill(y, null, p, uniform):
    lost = (uniform < p).reshape([len(y)] + [1] * (y.ndim - 1))
    return y.masked_fill(lost, null)


def drop_by_index(y, null, p, uniform):
    kept = y.clone()
    kept[(uniform < p).nonzero()[:, 0]] = null
    return kept


def dropping(choose):
    """A wrong dropout: choose(lost, y, null), lost shaped to broadcast with y."""

    def drop_condition(y, null, p, uniform):
        return choose((uniform < p).view(-1, *[1] * (y.ndim - 1)), y, null)

    return drop_condition


def drop_in_place(y, null, p, uniform):
    y[uniform < p] = null
    return y


def drop_first_words(y, null, p, uniform):
    kept = y.clone()
    kept.view(len(y), -1)[:, 0][uniform < p] = null
    return kept


def drop_by_rows(y, null, p, uniform):
    keep = [bool(u >= p) for u in uniform.tolist()]
    return torch.stack([row if kept else torch.full_like(row, null) for row, kept in zip(y, keep)])


def drop_by_arithmetic(y, null, p, uniform):
    lost = (uniform < p).to(y.dtype).view(-1, *[1] * (y.ndim - 1))
    return y * (1 - lost) + null * lost


def drop_across(y, null, p, uniform):
    return torch.where(uniform < p, null, y)


def drop_by_flags(flags):
    """A wrong choice of examples: flags(uniform, p), (batch,)."""
    return lambda y, null, p, uniform: torch.where(flags(uniform, p).view(-1, *[1] * (y.ndim - 1)), null, y)


def drop_at_most(y, null, p, uniform):
    return drop_by_masked_fill(y, null, p + 1e-6, uniform)


# E5.5


def within_by_scale(cond, uncond, x, t, scale, low, high):
    here, guess = scale if low <= t <= high else 1.0, cond(x, t)
    return guess if here == 1.0 else guess + (here - 1) * (guess - uncond(x, t))


def within_by_early_return(cond, uncond, x, t, scale, low, high):
    if t < low or t > high:
        return cond(x, t)
    return torch.lerp(uncond(x, t), cond(x, t), scale)


def within_with_times(cond, uncond, x, t, scale, low, high):
    times = torch.full((len(x),), t)
    return torch.lerp(uncond(x, times), cond(x, times), scale) if low <= t <= high else cond(x, times)


def within_by_clamp(cond, uncond, x, t, scale, low, high):
    inside = min(max(t, low), high) == t
    guesses = [ask(x, t) for ask in ((cond, uncond) if inside else (cond,))]
    return scale * guesses[0] + (1 - scale) * guesses[1] if inside else guesses[0]


def interval(inside=None, outside=None, where=lambda t, low, high: low <= t <= high):
    """A wrong interval: the guesses inside and outside are functions of (cond, uncond, scale)."""
    inside = inside or (lambda cond, uncond, scale: uncond + scale * (cond - uncond))
    outside = outside or (lambda cond, uncond, scale: cond)

    def guided_within(cond, uncond, x, t, scale, low, high):
        return (inside if where(t, low, high) else outside)(cond(x, t), uncond(x, t), scale)

    return guided_within


def lazily(outside, where=lambda t, low, high: low <= t <= high):
    """A wrong interval that asks for no more than it uses."""

    def guided_within(cond, uncond, x, t, scale, low, high):
        return torch.lerp(uncond(x, t), cond(x, t), scale) if where(t, low, high) else outside(cond, uncond, x, t)

    return guided_within


# E5.6


def test_by_three_points(guidance):
    g = torch.Generator().manual_seed(1)
    cond, uncond = 3 * torch.randn(20, generator=g), 3 * torch.randn(20, generator=g)

    def close(a, b):
        assert (a - b).abs().max() < 1e-3

    close(guidance(cond, uncond, 0.0), uncond)
    close(guidance(cond, uncond, 1.0), cond)
    for a, b in ((0.5, 1.5), (1.5, 6.5), (0.25, 9.25)):
        close(guidance(cond, uncond, (a + b) / 2), (guidance(cond, uncond, a) + guidance(cond, uncond, b)) / 2)


def test_by_the_formula(guidance):
    cond, uncond = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[-1.0, 2.0], [0.0, 0.5]])
    for scale in (0.0, 0.3, 1.0, 1.7, 9.4):
        torch.testing.assert_close(
            guidance(cond, uncond, scale), uncond + scale * (cond - uncond), rtol=1e-3, atol=1e-4
        )


def test_by_second_differences(guidance):
    cond, uncond = 4 * torch.randn(2, 7)
    at = [guidance(cond, uncond, 0.37 * k) for k in range(27)]
    assert (at[0] - uncond).abs().max() < 1e-3
    assert (guidance(cond, uncond, 1.0) - cond).abs().max() < 1e-3
    for before, here, after in zip(at, at[1:], at[2:]):
        assert (before - 2 * here + after).abs().max() < 1e-2


def laws(*kept, big=3.0):
    """A property test with some of the laws only."""

    def test_guidance(guidance):
        cond, uncond = big * torch.tensor([1.0, -0.4, 0.2]), big * torch.tensor([-0.3, 0.5, 0.8])
        if "zero" in kept:
            assert (guidance(cond, uncond, 0.0) - uncond).abs().max() < 1e-3
        if "one" in kept:
            assert (guidance(cond, uncond, 1.0) - cond).abs().max() < 1e-3
        for name, a, b in (("straight", 0.5, 8.7), ("whole", 0.0, 8.0), ("low", 0.5, 3.7)):
            if name in kept:
                middle = (guidance(cond, uncond, a) + guidance(cond, uncond, b)) / 2
                assert (guidance(cond, uncond, (a + b) / 2) - middle).abs().max() < 1e-3

    return test_guidance


def test_shape_only(guidance):
    assert guidance(torch.ones(3), torch.zeros(3), 2.0).shape == (3,)


def test_exactly_equal(guidance):
    laws("zero", "one", "straight")(guidance)
    x, y = torch.linspace(0, 1, 50), torch.linspace(2, 5, 50).sqrt()
    assert torch.equal(guidance(x, y, 3.3), torch.lerp(y, x, 3.3))


RIGHT = {
    "E5.1": [bayes_by_ratio, bayes_over_alpha, bayes_one_by_one],
    "E5.2": [
        classifier_score_by_loss,
        classifier_score_by_backward,
        classifier_score_without_inference,
        classifier_score_by_one_hot,
    ],
    "E5.3": [cfg_by_lerp, cfg_in_one_call, cfg_with_a_changed_copy],
    "E5.4": [drop_by_masked_fill, drop_by_index, drop_by_rows, drop_by_arithmetic],
    "E5.5": [within_by_scale, within_by_early_return, within_with_times, within_by_clamp],
    "E5.6": [test_by_three_points, test_by_the_formula, test_by_second_differences],
}
WRONG = {
    "E5.1": {
        "grad log p(y | x) is added to x0_hat": bayes(lambda guess, score, alpha, sigma, x: guess + score),
        "sigma for sigma^2": bayes(lambda guess, score, alpha, sigma, x: guess + sigma / alpha * score),
        "the division by alpha is missing": bayes(lambda guess, score, alpha, sigma, x: guess + sigma**2 * score),
        "multiplied by alpha": bayes(lambda guess, score, alpha, sigma, x: guess + sigma**2 * alpha * score),
        "divided by alpha^2": bayes(lambda guess, score, alpha, sigma, x: guess + (sigma / alpha) ** 2 * score),
        "the sign of the likelihood score": bayes(
            lambda guess, score, alpha, sigma, x: guess - sigma**2 / alpha * score
        ),
        "y is not used": bayes(lambda guess, score, alpha, sigma, x: guess.clone()),
        "alpha and sigma are swapped": bayes(lambda guess, score, alpha, sigma, x: guess + alpha**2 / sigma * score),
        "returns the score": bayes(lambda guess, score, alpha, sigma, x: (alpha * guess - x) / sigma**2 + score),
        "one time is used for all examples": bayes_at_one_time,
        "divides by sigma, which is 0": bayes_by_tweedie,
        "divides by sigma": bayes_by_noise,
        "sigma^2 is missing": bayes(lambda guess, score, alpha, sigma, x: guess + score / alpha),
        "only the difference": bayes(lambda guess, score, alpha, sigma, x: sigma**2 / alpha * score),
        "x_t is in the place of x0_hat": bayes(lambda guess, score, alpha, sigma, x: x + sigma**2 / alpha * score),
        "`likelihood_score` alone as the score": bayes(
            lambda guess, score, alpha, sigma, x: (x + sigma**2 * score) / alpha
        ),
        "wrong shape": bayes(lambda guess, score, alpha, sigma, x: (guess + sigma**2 / alpha * score).squeeze()),
        "wrong dtype": bayes(lambda guess, score, alpha, sigma, x: (guess + sigma**2 / alpha * score).float()),
    },
    "E5.2": {
        "the softmax is missing": score_of(picked),
        "the gradient of p, not of log p": score_of(lambda logits, y: picked(logits.softmax(1), y)),
        "the sign": score_of(lambda logits, y: picked(logits.log_softmax(1), y), -1),
        "averaged over the batch": score_of(lambda logits, y: picked(logits.log_softmax(1), y) / len(y)),
        "all classes are summed": score_of(lambda logits, y: logits.log_softmax(1).sum()),
        "every example gets the first one's class": score_of(
            lambda logits, y: picked(logits.log_softmax(1), y[:1].expand(len(y)))
        ),
        "the most likely class": score_of(lambda logits, y: logits.log_softmax(1).max(1).values.sum()),
        "softmax over the batch": score_of(lambda logits, y: picked(logits.log_softmax(0), y)),
        "t is not passed on": classifier_score_at_time_zero,
        "One evaluation of the classifier": classifier_score_one_by_one,
        "x is changed in place": classifier_score_on_the_callers_x,
        "takes everybody's classes in every row": classifier_score_of_a_column,
        "an epsilon in the log": score_of(lambda logits, y: picked((logits.softmax(1) + 1e-8).log(), y)),
        "log(p + 1e-06)": score_of(lambda logits, y: picked((logits.softmax(1) + 1e-6).log(), y)),
        "use log_softmax": score_of(lambda logits, y: picked(logits.softmax(1).log(), y)),
        "clipped to [-1, 1]": changed(lambda slope: slope.clamp(-1, 1)),
        "divided by its length": changed(
            lambda slope: slope / slope.flatten(1).norm(dim=1).view(-1, *[1] * (slope.ndim - 1))
        ),
        "the gradient of a loss averaged": lambda classifier, x, t, y: (
            -classifier_score_by_loss(classifier, x, t, y) / len(y)
        ),
        "wrong shape": changed(lambda slope: slope.flatten(1)),
    },
    "E5.3": {
        "the paper's w": mixed(lambda cond, uncond, scale: cond + scale * (cond - uncond)),
        "cond and uncond are swapped": mixed(lambda cond, uncond, scale: cond + scale * (uncond - cond)),
        "the difference is the wrong way round": mixed(
            lambda cond, uncond, scale: cond + (scale - 1) * (uncond - cond)
        ),
        "the unconditional guess is forgotten": mixed(lambda cond, uncond, scale: scale * cond),
        "only the difference is returned": mixed(lambda cond, uncond, scale: scale * (cond - uncond)),
        "the guesses are added": mixed(lambda cond, uncond, scale: uncond + scale * cond),
        "scale is squared": mixed(lambda cond, uncond, scale: uncond + scale**2 * (cond - uncond)),
        "clipped": mixed(lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).clamp(-1, 1)),
        "the null label is not used": cfg_without_null,
        "scale is ignored": mixed(lambda cond, uncond, scale: cond),
        "wrong number of evaluations": cfg_asking_thrice,
        "changes its argument y": cfg_in_place,
        "uncond + scale (uncond - cond)": mixed(lambda cond, uncond, scale: uncond + scale * (uncond - cond)),
        "the paper's w the other way": mixed(lambda cond, uncond, scale: uncond + (scale - 1) * (cond - uncond)),
        "the second guess is told 3 for everybody": cfg_of_label(3),
        "the second guess is told 0 for everybody": cfg_of_label(0),
        "the two guesses are averaged": mixed(lambda cond, uncond, scale: (cond + uncond) / 2),
        "wrong shape": mixed(lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).squeeze()),
        "wrong dtype": mixed(lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).float()),
    },
    "E5.4": {
        "the wrong way round": dropping(lambda lost, y, null: torch.where(lost, y, null)),
        "dropped to 0": dropping(lambda lost, y, null: torch.where(lost, 0, y)),
        "nothing is dropped": dropping(lambda lost, y, null: y.clone()),
        "one number decides for the whole batch": dropping(lambda lost, y, null: torch.where(lost.any(), null, y)),
        "the dropped examples are left out": lambda y, null, p, uniform: y[uniform >= p],
        "<= for <": drop_at_most,
        "only the first word of a caption": drop_first_words,
        "changes its argument y": drop_in_place,
        "give uniform < p an axis behind": drop_across,
        "uniform > 1 - p": drop_by_flags(lambda uniform, p: uniform > 1 - p),
        "whatever uniform says": drop_by_flags(lambda uniform, p: torch.arange(len(uniform)) < round(p * len(uniform))),
        "by rank": drop_by_flags(lambda uniform, p: uniform.argsort().argsort() < round(p * len(uniform))),
        "dropped to -1": dropping(lambda lost, y, null: torch.where(lost, -1, y)),
        "wrong dtype": dropping(lambda lost, y, null: torch.where(lost, torch.tensor(null), y.long())),
    },
    "E5.5": {
        "guided everywhere": interval(where=lambda t, low, high: True),
        "never guided": lambda cond, uncond, x, t, scale, low, high: cond(x, t),
        "outside, the unconditional guess": lazily(lambda cond, uncond, x, t: uncond(x, t)),
        "the wrong way round": interval(where=lambda t, low, high: not low <= t <= high),
        "the lower end is left out": lazily(
            lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: low < t <= high
        ),
        "the upper end is left out": lazily(
            lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: low <= t < high
        ),
        "cond and uncond are swapped": interval(inside=lambda cond, uncond, scale: cond + scale * (uncond - cond)),
        "the paper's w": interval(inside=lambda cond, uncond, scale: cond + scale * (cond - uncond)),
        "wrong number of evaluations": interval(),
        "low and high are not used": lazily(
            lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: 0.2 <= t <= 0.8
        ),
        "an interval of its own, [0.3, 0.8]": lazily(
            lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: 0.3 <= t <= 0.8
        ),
        "`low` is not used": lazily(lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: t <= high),
        "`high` is not used": lazily(lambda cond, uncond, x, t: cond(x, t), where=lambda t, low, high: t >= low),
        "the difference is the wrong way round": interval(
            inside=lambda cond, uncond, scale: uncond + scale * (uncond - cond)
        ),
        "scale times cond": interval(outside=lambda cond, uncond, scale: scale * cond),
    },
    "E5.6": {
        "It rejects": test_exactly_equal,
        "returns cond at every scale": laws("one"),
        "the unconditional guess is forgotten": laws("one", "straight"),
        "the guesses are added": laws("zero", "straight"),
        "scale is squared": laws("zero", "one"),
        "scale is rounded to a whole number": laws("zero", "one", "whole"),
        "clipped to [-1, 1]": laws("zero", "one", "straight", big=0.05),
        "cond and uncond are swapped": test_shape_only,
        "scale stops at 5": laws("zero", "one", "low"),
        "the mean of all numbers is not guided": laws("one", "straight"),
    },
}
LIKE = "only the shape and dtype of x are used there"
ANY = "any guesses, and any scales, will do"
EQUIVALENT = {
    "E5.1": {"line 11: x -> likelihood_score": LIKE},
    "E5.2": {
        "line 9: x.detach().clone() -> x.detach()": "the caller's x is a copy already",
        "line 9: x.detach() -> x": "a copy of x takes a gradient of its own, whatever x is",
        "line 12: 0 -> -1": "the first of one is the last",
    },
    "E5.6": {
        "line 8: 3 * torch.randn(2, 20) -> 3 / torch.randn(2, 20)": ANY,
        "line 8: 3 * torch.randn(2, 20) -> 3 + torch.randn(2, 20)": ANY,
        "line 8: 3 * torch.randn(2, 20) -> torch.randn(2, 20)": ANY,
        "line 8: 3 -> 4": ANY,
        "line 8: 3 -> 2": ANY,
        "line 8: torch.randn(2, 20) -> torch.rand(2, 20)": ANY,
        "line 8: 20 -> 21": ANY,
        "line 8: 20 -> 19": ANY,
        "line 14: (2.6, 7.4) -> (7.4, 2.6)": ANY,
        "line 14: 2.6 -> 3.6": ANY,
        "line 14: 2.6 -> 1.6": ANY,
        "line 14: 2.6 -> 5.2": ANY,
        "line 14: 7.4 -> 8.4": ANY,
        "line 14: 7.4 -> 6.4": ANY,
    },
}
