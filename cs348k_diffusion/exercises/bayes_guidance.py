"""Checks of notebook 05: Bayes' rule on scores, two ways to guide, and when to."""

import pytest
import torch

from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.exercises import Counted, Exercise, Wrong, agree, expect, must, normals, run_against, varied
from cs348k_diffusion.exercises.framework.forms import kind_of
from cs348k_diffusion.schedule import cosine, linear_beta, straight

EXERCISES = (
    Exercise(
        "E5.1",
        "bayes_x0",
        "Bayes on scores",
        gives="x0_hat: tensor",
        hints=(
            "Tweedie's formula turns a score into a guess: x0_hat = (x + sigma^2 score) / alpha. It holds without y, "
            "and with y. What is the difference of the two guesses?",
            "Only the score differs, and by `likelihood_score`: x cancels. So nothing has to be divided by sigma, "
            "which is 0 at t = 0.",
            "alpha, sigma = schedule(t, x) are shaped to multiply x. What is sigma^2 / alpha good for?",
        ),
        withheld=("guidance.steer", "guidance.Steered", "denoiser.x0_from_score", "guidance.bayes_x0"),
        ours="guidance.bayes_x0",
    ),
    Exercise(
        "E5.2",
        "classifier_score",
        "Ask a classifier which way",
        gives="score: tensor",
        hints=(
            "The gradient of what, exactly? A classifier returns logits; the log of a probability needs all of them.",
            "Autograd must follow x, but not the caller's: x.detach().clone().requires_grad_(). log_softmax is exact "
            "where softmax underflows.",
            "Each log-probability depends on its own x alone, so the gradient of their sum holds all gradients at "
            "once. Pick each example's own class: one number a row, not a whole column.",
        ),
        withheld=("guidance.gradient", "guidance.classifier_log_prob", "guidance.steer", "guidance.classifier_score"),
        ours="guidance.classifier_score",
    ),
    Exercise(
        "E5.3",
        "cfg",
        "Classifier-free guidance",
        gives="x0_hat: tensor",
        hints=(
            "Two things are known without a formula: what must scale 0 give, and what scale 1?",
            "Bayes backwards: grad log p_t(y | x) = grad log p_t(x | y) - grad log p_t(x). E5.1 adds it once; here it "
            "counts `scale` times, and starts from the guess without y.",
            "The guess without y is the same network, told `null` for every example: torch.full_like(y, null).",
        ),
        withheld=("guidance.guide", "guidance.Guided"),
    ),
    Exercise(
        "E5.4",
        "drop_condition",
        "Condition dropout",
        gives="y: tensor",
        hints=(
            "One number decides about one example. About which part of it?",
            "torch.where makes a new tensor, so the caller's y stays as it is. Its first argument must broadcast with "
            "y.",
            "uniform < p has shape (batch,). For captions it needs one more axis, of size 1, behind: count y.ndim.",
        ),
        withheld=("denoiser.drop_condition",),
    ),
    Exercise(
        "E5.5",
        "guided_within",
        "Guide only where it helps",
        gives="x0_hat: tensor",
        hints=(
            "Which of the two guesses is needed everywhere?",
            "Outside the interval the answer is plain cond(x, t): one evaluation. Decide first, then ask.",
            "Python compares twice at once: low <= t <= high. Ask each of the two once, and keep the answers.",
        ),
        withheld=("guidance.in_interval", "guidance.InInterval", "guidance.guide", "guidance.Guided"),
    ),
    Exercise(
        "E5.6",
        "test_guidance",
        "A property test for guidance",
        stars=1,
        gives="the test: nothing",
        hints=(
            "At two scales the answer is known without any formula. Which?",
            "And between and beyond them it is a straight line in scale: equal steps of scale make equal steps of the "
            "answer.",
            "Try scales that are no whole numbers and some near 10, guesses far outside [-1, 1]; compare all numbers.",
        ),
    ),
)

SCHEDULES = (cosine(), linear_beta(1000), straight())


def blobs():
    """Five blobs in the plane, in three classes: everything about them is known in closed form."""
    means, labels = 1.5 * normals(5, 2), torch.tensor([0, 1, 1, 2, 0])
    return Mixture(means, torch.tensor([0.05, 0.2, 0.1, 0.3, 0.15]), torch.arange(1.0, 6.0), labels)


# E5.1


def bayes(rule):
    """A rule of (x, guess, score, alpha, sigma) as a whole answer."""
    return lambda schedule, x, t, x0_hat, likelihood_score: rule(x, x0_hat, likelihood_score, *schedule(t, x))


RIGHT_BAYES = bayes(lambda x, guess, score, alpha, sigma: guess + sigma**2 / alpha * score)
BAYES_MISTAKES = {
    name: bayes(rule)
    for name, rule in {
        "grad log p(y | x) is added to x0_hat as if that were a score": lambda x, g, score, a, s: g + score,
        "sigma for sigma^2": lambda x, g, score, a, s: g + s / a * score,
        "the division by alpha is missing": lambda x, g, score, a, s: g + s**2 * score,
        "sigma^2 is missing": lambda x, g, score, a, s: g + score / a,
        "multiplied by alpha instead of divided": lambda x, g, score, a, s: g + s**2 * a * score,
        "divided by alpha^2": lambda x, g, score, a, s: g + s**2 / a**2 * score,
        "the sign of the likelihood score": lambda x, g, score, a, s: g - s**2 / a * score,
        "y is not used: that is x0_hat": lambda x, g, score, a, s: g,
        "only the difference to x0_hat is returned": lambda x, g, score, a, s: s**2 / a * score,
        "alpha and sigma are swapped": lambda x, g, score, a, s: g + a**2 / s * score,
        "returns the score, not the guess": lambda x, g, score, a, s: (a * g - x) / s**2 + score,
        "x_t is in the place of x0_hat": lambda x, g, score, a, s: x + s**2 / a * score,
        "Tweedie's formula with `likelihood_score` alone as the score": lambda x, g, score, a, s: (
            (x + s**2 * score) / a
        ),
        "one time is used for all examples": lambda x, g, score, a, s: g + (s**2 / a)[:1] * score,
        "divides by sigma, which is 0 at t = 0: x cancels, so no score is needed": lambda x, g, score, a, s: (
            torch.where(s > 0, g + s**2 / a * score, torch.nan)
        ),
        "0 / 0 at t = 0 is turned into 0: nothing has to be divided by sigma": lambda x, g, score, a, s: torch.where(
            s > 0, g + s**2 / a * score, 0.0
        ),
        "the score without y has the wrong sign: it is (alpha x0_hat - x) / sigma^2": lambda x, g, score, a, s: (
            torch.where(s > 0, (2 * x + s**2 * score) / a - g, torch.nan)
        ),
        "1 - alpha^2 is sigma^2 only where alpha^2 + sigma^2 = 1": lambda x, g, score, a, s: g + (1 - a**2) / a * score,
        "x0_hat is divided by alpha, too": lambda x, g, score, a, s: (g + s**2 * score) / a,
        "half of sigma^2 / alpha": lambda x, g, score, a, s: g + s**2 / a * score / 2,
        "the likelihood scores are averaged over the batch": lambda x, g, score, a, s: (
            g + s**2 / a * score.mean(0, keepdim=True)
        ),
        "multiplied: probabilities multiply, what is made of their logarithms adds": lambda x, g, score, a, s: (
            g * score
        ),
    }.items()
} | {
    "the cosine schedule is written in: alpha and sigma come from `schedule`": lambda schedule, *given: RIGHT_BAYES(
        cosine(), *given
    )
}


@pytest.mark.exercise("E5.1", points=2)
def test_moves_the_guess_as_bayes_says(bayes_x0):
    data, x, labels, inputs = blobs(), normals(6, 2, seed=1), {}, []
    for schedule in SCHEDULES:
        for t, y in ((0.15, 0), (0.5, 2), (0.8, 1)):
            exact = data.denoiser(schedule)
            score = exact.given(y).score(x, t) - exact.score(x, t)
            inputs.append((schedule, x, torch.full((6,), t), exact(x, t), score))
            labels[schedule.name, round(t, 2)] = y
    agree(
        bayes_x0,
        lambda schedule, x, t, x0_hat, likelihood_score: data.denoiser(schedule).given(
            labels[schedule.name, round(float(t[0]), 2)]
        )(x, t),
        inputs,
        says="With the exact grad log p_t(y | x_t), the answer must be the exact E[x0 | x_t, y].",
        mistakes=BAYES_MISTAKES,
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.exercise("E5.1", points=1)
def test_takes_pictures_with_times_of_their_own(bayes_x0):
    cases = [*varied(((3, 1, 4, 5), (3, 2), (1, 1), (2,), (1, 3, 2)), seed=2)]
    times = [torch.tensor([0.5, 0.0, 0.9][: case.batch], dtype=case.dtype) for case in cases]
    agree(
        bayes_x0,
        RIGHT_BAYES,
        [(cosine(), case.normal(), t, case.normal(), case.normal()) for case, t in zip(cases, times)],
        says="Any shape, each example at a time of its own, t = 0 among them.",
        mistakes=BAYES_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


# E5.2


def linear_logits(seed=5, keen=1.0, rare=0.0):
    """Logits that are linear in x and depend on t, and their gradient by hand: a softmax regression.

    rare: how much rarer class 0 becomes with t; with 20 it has p of about 1e-4, 1e-6, ..., 1e-11 at t = 0.1, 0.3, ...
    """
    weights = keen * normals(3, 8, seed=seed)  # three classes, eight pixels

    def logits(x, t):
        w = weights.to(x.dtype)
        bias = torch.tensor([2.0, 0.0, -1.0], dtype=x.dtype)
        away = torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype) * (0.4 + t[:, None]) * rare
        return (1 - t)[:, None] * (x.flatten(1) @ w.T) + bias - away

    return logits, weights


EPSILONS = (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)


def slopes(logits, weights, x, t, y):
    """grad log p(y | x) of a softmax regression by hand, and what the usual slips would answer."""
    share, keen = logits(x, t).softmax(1), (1 - t)[:, None]
    one_hot = torch.nn.functional.one_hot(y, 3).to(x.dtype)

    def gradient(push):
        return (keen * (push @ weights.to(x.dtype))).view_as(x)

    right, p = gradient(one_hot - share), share.gather(1, y[:, None]).view(-1, *[1] * (x.ndim - 1))
    pushes = {name: gradient(push) for name, push in other_pushes(logits(x, t), one_hot).items()}
    rows = y.bincount(minlength=len(x))[: len(x), None]  # how often log_p[y] takes each row
    most_likely = torch.nn.functional.one_hot(share.argmax(1), 3).to(x.dtype)
    return {
        "right": right,
        "the gradient of the logit: the softmax is missing": gradient(one_hot),
        "the gradient of p, not of log p": right * p,
        "the sign: this is the gradient of a cross-entropy loss": -right,
        "averaged over the batch": right / len(x),
        "the gradient of a loss averaged over the batch": -right / len(x),
        "all classes are summed, not the one asked for": gradient(1 - 3 * share),
        "the mean over all classes, not the one asked for": gradient(1 / 3 - share),
        **pushes,
        "log_p[y] takes whole rows, those with the numbers y: one number a row": gradient(rows * (1 - 3 * share)),
        "divided by the length of the whole batch's gradient": right / right.norm(),
        "every example gets class 0": gradient(torch.eye(3, dtype=x.dtype)[:1] - share),
        "log_p[:, y] takes everybody's classes in every row: one number a row": gradient(
            one_hot.sum(0) - len(x) * share
        ),
        "every example gets the first one's class": gradient(one_hot[:1] - share),
        "the most likely class instead of the one asked for": gradient(most_likely - share),
        "softmax over the batch instead of the classes": _softmax_over_batch(logits, x, t, y),
        "t is not passed on: the classifier is asked at t = 0": (
            (one_hot - logits(x, 0 * t).softmax(1)) @ weights.to(x.dtype)
        ).view_as(x),
        "divided by its length: the size says how sure the classifier is": lambda: of_length_1(right),
        "clipped to [-1, 1]": right.clamp(-1, 1),
        **{
            f"an epsilon in the log, log(p + {e:g}): where p is small it swallows the gradient": right * p / (p + e)
            for e in EPSILONS
        },
        "log(softmax), which is -inf where softmax underflows: use log_softmax": torch.where(p > 0, right, torch.nan),
        "log(softmax), which is -inf where softmax underflows for any class: use log_softmax": torch.where(
            (share > 0).all(1).view_as(p), right, torch.nan
        ),
    }


def other_pushes(logits, one_hot):
    """How other numbers than log p(y) push each logit, (batch, classes)."""
    others = logits.masked_fill(one_hot.bool(), -torch.inf).softmax(1)
    return {
        "each logit by itself: log(sigmoid) instead of log_softmax": one_hot * (1 - logits.sigmoid()),
        "the logits have the wrong sign: softmax of -logits": (-logits).softmax(1) - one_hot,
        "the log-odds, log p - log(1 - p), not log p": one_hot - others,
    }


def of_length_1(gradient):
    """Each example's gradient over its length; ValueError where one is all but 0, and rounding decides."""
    length = gradient.flatten(1).norm(dim=1)
    if length.min() < 1e-6:
        raise ValueError("no direction")
    return gradient / length.view(-1, *[1] * (gradient.ndim - 1))


def _softmax_over_batch(logits, x, t, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(logits(x, t).log_softmax(0).gather(1, y[:, None]).sum(), x)[0]


@pytest.mark.exercise("E5.2", points=2)
def test_is_the_gradient_of_log_p_of_the_class_asked_for(classifier_score):
    inputs, tables = [], {}
    shapes = ((5, 2, 4), (3, 1, 2, 4), (5, 8), (1, 8), (3, 8), (5, 8))
    classes = torch.tensor((0, 2, 1, 1, 0))
    ways = ((1, 0), (8, 0), (600, 0), (1, 0), (2, 0), (0.1, 20))
    for case, (keen, rare) in zip(varied(shapes, (torch.float32, torch.float64, torch.float64), seed=6), ways):
        logits, weights = linear_logits(keen=keen, rare=rare)
        y = classes.roll(len(inputs))[: case.batch] * (not rare)  # another class comes first each time
        t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9][: case.batch], dtype=case.dtype)
        inputs.append((logits, case.normal(), t, y))
        tables[id(inputs[-1][1])] = slopes(logits, weights, *inputs[-1][1:])

    def answer(name):
        def found(classifier, x, t, y):
            value = tables[id(x)][name]
            return value() if callable(value) else value

        return found

    agree(
        classifier_score,
        answer("right"),
        inputs,
        says="For a softmax regression the gradient of log p(y | x) is known by hand, also where it is very sure.",
        mistakes={name: answer(name) for name in slopes(logits, weights, *inputs[-1][1:]) if name != "right"},
        rtol=1e-3,
        atol=1e-5,
    )


def hardly_possible(logits):
    """A place and a class whose p there is about 1e-14 at t = 0.1: any epsilon in the log is larger."""
    side = torch.linspace(-4, 4, 41)
    places = torch.cartesian_prod(side, side)
    off = (logits(places, torch.full((len(places),), 0.1)).log_softmax(1) + 32).abs()
    place, label = divmod(int(off.argmin()), off.shape[1])
    return places[place], label


@pytest.mark.exercise("E5.2", points=1)
def test_turns_a_guess_into_a_guess_given_y(classifier_score):
    data, schedule = blobs(), cosine()
    exact = data.denoiser(schedule)

    def logits(x, t):
        return torch.stack([exact.given(k).log_prob(x, t) for k in range(3)], 1)

    def right(classifier, x, t, y):
        return exact.given(y).score(x, float(t[0])) - exact.score(x, float(t[0]))

    def slips_of(classifier, x, t, y):
        want, p = right(classifier, x, t, y), logits(x, t).softmax(1).gather(1, y[:, None])
        slope = torch.stack([exact.given(k).score(x, float(t[0])) for k in range(3)], 1)
        one_hot = torch.nn.functional.one_hot(y, 3).to(x.dtype)
        return {
            name: (push[..., None] * slope).sum(1) for name, push in other_pushes(logits(x, t), one_hot).items()
        } | {
            "divided by the length of the whole batch's gradient": want / want.norm(),
            "the gradient of the logit: the softmax is missing": exact.given(y).score(x, float(t[0])),
            "the gradient of p, not of log p": p * want,
            "the sign: this is the gradient of a cross-entropy loss": -want,
            "averaged over the batch": want / len(x),
            "the gradient of a loss averaged over the batch": -want / len(x),
            "divided by its length: the size says how sure the classifier is": lambda: of_length_1(want),
            "clipped to [-1, 1]": want.clamp(-1, 1),
            **{
                f"an epsilon in the log, log(p + {e:g}): where p is small it swallows the gradient": want * p / (p + e)
                for e in EPSILONS
            },
        }

    x, y = normals(6, 2, seed=7), torch.tensor([0, 1, 2, 2, 1, 0])
    x[0], y[0] = hardly_possible(logits)
    agree(
        classifier_score,
        right,
        [(logits, x, torch.full((6,), t), y) for t in (0.1, 0.6)],
        says="With the exact noise-aware classifier of a mixture it must be score(x | y) - score(x).",
        mistakes=slips_of,
        rtol=1e-2,
        atol=1e-3,
    )


@pytest.mark.exercise("E5.2", points=1)
def test_asks_once_for_the_whole_batch(classifier_score):
    logits, _ = linear_logits(seed=8)
    asked = Counted(logits)
    x, t, y = normals(4, 2, 4, seed=9), torch.full((4,), 0.5), torch.tensor([0, 1, 2, 0])
    got = classifier_score(asked, x, t, y)
    expect(asked.calls, 1, says="One evaluation of the classifier is enough for the whole batch.")
    expect(tuple(getattr(got, "shape", ())), (4, 2, 4), says="The gradient has the shape of x.")
    kept = classifier_score.construct(logits, x, t, y)  # some tensor that stays where the answer runs: the next x
    before = kept.requires_grad
    classifier_score(logits, kept, t, y)
    expect(
        kept.requires_grad,
        before,
        says="x is changed in place: after the call the caller's x.requires_grad is not what it was. Work on a copy.",
    )


# E5.3


def labelled(classes=16):
    """A made-up denoiser of some classes and a null label among them, whose guess has the input's shape."""
    table = normals(classes, 6, seed=10)

    def denoise(x, t, y):
        whole = not isinstance(y, torch.Tensor) or not y.is_floating_point()
        must(whole, "labels are whole numbers, and this network was told others: make the null labels like y.")
        shift = table.to(x.dtype)[y % classes].view(-1, *x.shape[1:])
        return torch.tanh(x + shift) * (1 - t.view(-1, *[1] * (x.ndim - 1)))

    return denoise


def cfg_inputs(scales):
    """Batches of several sizes, shapes and dtypes, with a null label that is now one number and now another."""
    denoise, shapes = labelled(), ((5, 1, 2, 3), (4, 6), (1, 6), (3, 2, 3))
    labels = (((0, 1, 2, 1, 0), 3), ((2, 0, 1, 1), 4), ((5,), 0), ((1, 1, 5), 2))
    for case, (y, null) in zip(varied(shapes, seed=11), labels):
        t = torch.linspace(0.1, 0.9, case.batch, dtype=case.dtype)
        yield from ((denoise, case.normal(), t, torch.tensor(y), null, scale) for scale in scales)


def mixing(mix, label=None):
    """A mixture of (cond, uncond, scale) as a whole answer; label: what the second guess is told instead of `null`."""

    def answer(denoise, x, t, y, null, scale):
        nobody = torch.full_like(y, null if label is None else label)
        return mix(denoise(x, t, y), denoise(x, t, nobody), scale)

    return answer


RIGHT_MIX = mixing(lambda cond, uncond, scale: uncond + scale * (cond - uncond))
MIX_MISTAKES = (
    {
        name: mixing(mix)
        for name, mix in {
            "the paper's w: scale = w + 1 here": lambda c, u, scale: c + scale * (c - u),
            "cond and uncond are swapped": lambda c, u, scale: c + scale * (u - c),
            "only the difference is returned": lambda c, u, scale: scale * (c - u),
            "right at scale 1, wrong elsewhere: the difference is the wrong way round": lambda c, u, scale: (
                c + (scale - 1) * (u - c)
            ),
            "the difference is the wrong way round: uncond + scale (uncond - cond)": lambda c, u, scale: (
                u + scale * (u - c)
            ),
            "scale - 1 for scale: the paper's w the other way": lambda c, u, scale: u + (scale - 1) * (c - u),
            "the two guesses are averaged": lambda c, u, scale: (c + u) / 2,
            "scale times the mean of the two guesses": lambda c, u, scale: scale * (c + u) / 2,
            "scale times the whole: it belongs to the difference": lambda c, u, scale: scale * (u + scale * (c - u)),
            "scale is ignored, or both guesses are told the class": lambda c, u, scale: c,
            "no class is given to either": lambda c, u, scale: u,
            "the guesses are added": lambda c, u, scale: u + scale * c,
            "scale is squared": lambda c, u, scale: u + scale**2 * (c - u),
            "clipped: leave that to the outermost wrapper": lambda c, u, scale: (u + scale * (c - u)).clamp(-1, 1),
            "the unconditional guess is forgotten": lambda c, u, scale: scale * c,
            "no more than conditional: scale stops at 1": lambda c, u, scale: u + min(scale, 1) * (c - u),
            "beyond scale 1 the difference is added to cond, not to uncond": lambda c, u, scale: (
                (u if scale <= 1 else c) + scale * (c - u)
            ),
            "two answers alone: uncond at scale 0, cond at every other": lambda c, u, scale: c if scale else u,
            "a mean of both, with scale as the weight of cond: it stays between them": lambda c, u, scale: (
                (u + scale * c) / (1 + scale)
            ),
            "a mean of both, with scale as the weight of uncond": lambda c, u, scale: (c + scale * u) / (1 + scale),
            "rescaled to the length of cond": lambda c, u, scale: (
                (u + scale * (c - u)) * c.norm() / (u + scale * (c - u)).norm()
            ),
            "rescaled to the spread of cond": lambda c, u, scale: (
                (u + scale * (c - u)) * c.std() / (u + scale * (c - u)).std()
            ),
        }.items()
    }
    | {
        f"the null label is not used: the second guess is told {label} for everybody": mixing(
            lambda c, u, scale: u + scale * (c - u), label
        )
        for label in (-1, 10, *range(6))
    }
    | {
        "x_t is in the place of the guess without y": lambda denoise, x, t, y, null, scale: (
            x + scale * (denoise(x, t, y) - x)
        ),
        "the guess without y is asked at the guess with y, not at x": lambda denoise, x, t, y, null, scale: torch.lerp(
            denoise(denoise(x, t, y), t, torch.full_like(y, null)), denoise(x, t, y), scale
        ),
        "t is not passed on: the network is asked at t = 0": lambda denoise, x, t, y, null, scale: RIGHT_MIX(
            denoise, x, 0 * t, y, null, scale
        ),
    }
)


@pytest.mark.exercise("E5.3", points=1)
def test_scale_0_forgets_the_class_and_scale_1_is_conditional(cfg):
    agree(
        cfg,
        lambda denoise, x, t, y, null, scale: denoise(x, t, y if scale else torch.full_like(y, null)),
        cfg_inputs((0.0, 1.0)),
        says="At scale 0 the answer must be the unconditional guess, at scale 1 the conditional one.",
        mistakes=MIX_MISTAKES,
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.exercise("E5.3", points=1)
def test_beyond_1_it_exaggerates(cfg):
    agree(
        cfg,
        RIGHT_MIX,
        cfg_inputs((3.0, 7.5, 0.5)),
        says="The guess must move on one straight line: equal steps of scale make equal steps of the guess, beyond 1, "
        "too.",
        mistakes=MIX_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E5.3", points=1)
def test_asks_once_with_the_class_and_once_without(cfg):
    denoise = labelled()
    for null in (3, 5):
        asked = []

        def watched(x, t, y, asked=asked):
            given = kind_of(y) if isinstance(y, torch.Tensor) else "one number"
            says = f"the network takes one label for each of the {len(x)} examples, a tensor y; it was told {given}."
            must(isinstance(y, torch.Tensor) and y.shape == x.shape[:1], says)
            asked.extend(y.tolist())
            return denoise(x, t, y)

        x, t, y = normals(4, 6, seed=13), torch.full((4,), 0.4), torch.tensor([2, 0, 1, 1])
        cfg(watched, x, t, y, null, 2.0)
        must(null in asked, f"the null label is not used: the second guess must be told y = {null} for every example.")
        must(
            len(asked) == 8,
            "wrong number of evaluations: once with the class and once without makes 8 guesses for 4 examples; "
            f"you asked for {len(asked)}.",
        )
        want = sorted([0, 1, 1, 2] + [null] * 4)
        expect(sorted(asked), want, says=f"These labels must be asked for, when y = [2, 0, 1, 1] and null = {null}.")
    once = Counted(denoise)
    cfg(once, x, t, y, 3, 1.0)
    must(once.calls <= 2, f"wrong number of evaluations: two are enough at scale 1, too; you asked for {once.calls}.")


# E5.4


def dropping(flags):
    """flags(uniform, p), (batch,), as a whole answer: the examples that lose their condition."""
    return lambda y, null, p, uniform: torch.where(rows(flags(uniform, p), y), null, y)


def fewest(uniform, p):
    return uniform.argsort().argsort() < round(p * len(uniform))


def first_word(y, null, p, uniform):
    lost = torch.where(rows(uniform < p, y), null, y)
    return lost if y.ndim == 1 else torch.cat([lost[:, :1], y[:, 1:]], 1)


def all_but_the_last(y, null, p, uniform):
    lost = torch.where(rows(uniform < p, y), null, y)
    return lost if y.ndim == 1 else torch.cat([lost[:, :-1], y[:, -1:]], 1)


DROP_MISTAKES = {
    "the wrong way round: p is the share that is kept": dropping(lambda u, p: u >= p),
    "the wrong way round: uniform > p": dropping(lambda u, p: u > p),
    "dropped to 1, the flag itself, not to `null`": lambda y, null, p, u: torch.where(rows(u < p, y), 1, y),
    "dropped to 10, whatever `null` is": lambda y, null, p, u: torch.where(rows(u < p, y), 10, y),
    "`null` is added to y, not put in its place": lambda y, null, p, u: y + null * rows(u < p, y).to(y.dtype),
    "y < p: the numbers that decide are `uniform`": lambda y, null, p, u: torch.where(y < p, null, y),
    "`p` is squared": dropping(lambda u, p: u < p * p),
    "p is not used: uniform < 0.1": dropping(lambda u, p: u < 0.1),
    "p is not used: uniform < 0.5": dropping(lambda u, p: u < 0.5),
    "uniform is rounded to 0 or 1 first": dropping(lambda u, p: u.round() < p),
    "an axis too many: labels have shape (batch,), and need none": lambda y, null, p, u: torch.where(
        (u < p)[:, None], null, y
    ),
    "dropped to 0, which is a class": lambda y, null, p, u: torch.where(rows(u < p, y), 0, y),
    "dropped to -1, not to `null`": lambda y, null, p, u: torch.where(rows(u < p, y), -1, y),
    "nothing is dropped": lambda y, null, p, u: y,
    "one number decides for the whole batch": dropping(lambda u, p: (u < p)[:1].expand(len(u))),
    "one number decides for the whole batch: `any`": dropping(lambda u, p: (u < p).any().expand(len(u))),
    "<= for <: an example whose number equals p stays": dropping(lambda u, p: u <= p),
    "uniform > 1 - p: as many, but not those that uniform < p says": dropping(lambda u, p: u > 1 - p),
    "the first ones are dropped, whatever uniform says": dropping(
        lambda u, p: torch.arange(len(u)) < round(p * len(u))
    ),
    "always the same number is dropped, by rank": dropping(fewest),
    "the first ones are dropped, int(p * batch) of them, whatever uniform says": dropping(
        lambda u, p: torch.arange(len(u)) < int(p * len(u))
    ),
    "always the same number is dropped, the int(p * batch) smallest": dropping(
        lambda u, p: u.argsort().argsort() < int(p * len(u))
    ),
    "the dropped examples are left out": lambda y, null, p, u: y[u >= p],
    "only the first word of a caption is dropped": first_word,
    "the last word of a caption stays": all_but_the_last,
    "(batch,) meets words, not examples: give uniform < p an axis behind": lambda y, null, p, u: torch.where(
        u < p, null, y
    ),
}


def rows(flags, y):
    """(batch,) flags, shaped to broadcast with y."""
    return flags.view(-1, *[1] * (y.ndim - 1))


def right_drop(y, null, p, uniform):
    kept = [row if u >= p else torch.full_like(row, null) for row, u in zip(y, uniform.tolist())]
    return torch.stack(kept)


@pytest.mark.exercise("E5.4", points=2)
def test_drops_the_examples_that_the_numbers_say(drop_condition):
    y, uniform = torch.tensor([4, 1, 7, 0, 9, 5]), torch.tensor([0.3, 0.05, 0.5, 0.95, 0.0005, 0.125])
    some = [*varied(((8,), (1,), (40,)), seed=14)]
    batches = [(y, 10, uniform), (y.int(), 8, uniform.flip(0))]
    batches += [(case.integers(1, 10), 10 + case.batch, case.uniform(0, 1)) for case in some]
    agree(
        drop_condition,
        right_drop,
        [(labels, null, p, each) for labels, null, each in batches for p in (0.125, 0.4, 0.0, 1.0)],
        says="Where uniform < p the label becomes the null label, elsewhere it stays.",
        mistakes=DROP_MISTAKES,
    )
    kept = drop_condition.construct(y, 10, 0.4, uniform)  # some labels that stay where the answer runs: the next y
    new = drop_condition.construct(kept, 10, 0.0, uniform)
    says = (
        "Where nothing is dropped y itself comes back: what changes one of the two changes both. Return a new tensor."
    )
    must(new.data_ptr() != kept.data_ptr(), says)


@pytest.mark.exercise("E5.4", points=1)
def test_drops_a_whole_caption_or_nothing_of_it(drop_condition):
    inputs, nulls = [], (50, 0, 20, 0)
    for case, null in zip(varied(((3, 3), (3, 4), (1, 2), (2, 1)), seed=15), nulls):
        inputs.append((case.integers(1, 20), null, 0.5, torch.tensor([0.7, 0.2, 0.4])[: case.batch]))
    agree(
        drop_condition,
        right_drop,
        inputs,
        says="A caption is a row of words: all of it goes, or nothing; tried p = 0.5, uniform = [0.7, 0.2, 0.4].",
        mistakes=DROP_MISTAKES,
    )


# E5.5


def pair_of_guesses():
    """Two made-up denoisers that are counted, for t a number or (batch,)."""
    return (
        Counted(lambda x, t: torch.tanh(2 * x) + torch.as_tensor(t).view(-1, 1)),
        Counted(lambda x, t: 0.5 * x - torch.as_tensor(t).view(-1, 1)),
    )


INTERVALS = ((0.25, 0.65), (0.45, 0.55), (0.0, 0.4), (0.6, 1.0), (0.5, 0.5))


def choosing(inside, outside=lambda c, u, scale: c, where=lambda t, low, high: low <= t <= high):
    """A whole answer from what is done inside and outside of the interval: functions of (cond, uncond, scale)."""

    def answer(cond, uncond, x, t, scale, low, high):
        return (inside if where(t, low, high) else outside)(cond(x, t), uncond(x, t), scale)

    return answer


def guided(c, u, scale):
    return u + scale * (c - u)


WITHIN_MISTAKES = {
    "guided everywhere": choosing(guided, guided),
    "never guided": choosing(lambda c, u, scale: c),
    "outside, the unconditional guess": choosing(guided, lambda c, u, scale: u),
    "the wrong way round: guided outside": choosing(lambda c, u, scale: c, guided),
    "the lower end is left out": choosing(guided, where=lambda t, low, high: low < t <= high),
    "the upper end is left out": choosing(guided, where=lambda t, low, high: low <= t < high),
    "both ends are left out": choosing(guided, where=lambda t, low, high: low < t < high),
    "`low` is not used": choosing(guided, where=lambda t, low, high: t <= high),
    "`high` is not used": choosing(guided, where=lambda t, low, high: t >= low),
    "an interval of its own, [0.2, 0.8]: low and high are not used": choosing(
        guided, where=lambda t, low, high: 0.2 <= t <= 0.8
    ),
    "an interval of its own, [0.3, 0.8]: low and high are not used": choosing(
        guided, where=lambda t, low, high: 0.3 <= t <= 0.8
    ),
    "cond and uncond are swapped": choosing(lambda c, u, scale: c + scale * (u - c)),
    "the paper's w: scale = w + 1 here": choosing(lambda c, u, scale: c + scale * (c - u)),
    "the difference is the wrong way round: uncond + scale (uncond - cond)": choosing(
        lambda c, u, scale: u + scale * (u - c)
    ),
    "scale also outside: scale times cond": choosing(guided, lambda c, u, scale: scale * c),
    "outside, x itself": lambda cond, uncond, x, t, scale, low, high: (
        choosing(guided)(cond, uncond, x, t, scale, low, high) if low <= t <= high else x
    ),
    "outside, zeros": choosing(guided, lambda c, u, scale: torch.zeros_like(c)),
    "inside, only the difference is returned": choosing(lambda c, u, scale: scale * (c - u)),
    "inside, the guesses are added": choosing(lambda c, u, scale: u + scale * c),
    "inside, scale times cond: the unconditional guess is forgotten": choosing(lambda c, u, scale: scale * c),
    "clipped to [-1, 1] inside": choosing(lambda c, u, scale: guided(c, u, scale).clamp(-1, 1)),
    "scales below 1 are not guided": choosing(lambda c, u, scale: guided(c, u, max(scale, 1))),
    "`high` is taken for a width: low <= t <= low + high": choosing(
        guided, where=lambda t, low, high: low <= t <= low + high
    ),
    "1 - t is compared with the interval": choosing(guided, where=lambda t, low, high: low <= 1 - t <= high),
    "t is rounded before it is compared": choosing(guided, where=lambda t, low, high: low <= round(t, 1) <= high),
    "guided only where t is low or high": choosing(guided, where=lambda t, low, high: t in (low, high)),
    "the scale grows from 0 at `low` to `scale` at `high`": lambda cond, uncond, x, t, scale, low, high: choosing(
        guided
    )(cond, uncond, x, t, scale * (t - low) / (high - low), low, high),
    "uncond is asked at cond's guess, not at x": lambda cond, uncond, x, t, scale, low, high: (
        guided(cond(x, t), uncond(cond(x, t), t), scale) if low <= t <= high else cond(x, t)
    ),
}


@pytest.mark.exercise("E5.5", points=2)
def test_guides_inside_and_only_inside(guided_within):
    shapes, inputs = ((4, 3), (1, 1), (2, 5), (3, 2), (1, 4)), []
    for case, (low, high) in zip(varied(shapes, seed=14), INTERVALS):
        x = case.normal()
        for scale in (3.0, 0.5):
            inputs += [(*pair_of_guesses(), x, t, scale, low, high) for t in (0.5, 0.1, 0.9, low, high, 0.22, 0.7)]
    agree(
        guided_within,
        choosing(guided),
        inputs,
        says="Guided for low <= t <= high, ends included, and plain cond outside.",
        mistakes=WITHIN_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E5.5", points=1)
def test_pays_for_the_second_guess_only_where_it_is_used(guided_within):
    x = normals(4, 3, seed=15)
    for low, high in ((0.2, 0.8), (0.4, 0.6)):
        for t, want in ((0.5, (1, 1)), (0.9, (1, 0)), (0.05, (1, 0))):
            cond, uncond = pair_of_guesses()
            guided_within(cond, uncond, x, t, 2.0, low, high)
            for name, asked, calls in (("cond", cond.calls, want[0]), ("uncond", uncond.calls, want[1])):
                expect(
                    asked,
                    calls,
                    says=f"wrong number of evaluations of {name} at t = {t:g}, with the interval [{low:g}, {high:g}]."
                    " Half of the reason for an interval is what it saves.",
                )


# E5.6


def careful(cond, uncond, scale):
    """A right one that knows scales in [0, 10] alone."""
    if not 0 <= scale <= 10:
        raise ValueError("this guidance takes scales in [0, 10] alone, and may")
    return cond + (scale - 1) * (cond - uncond)


RIGHT_GUIDANCE = {
    "torch.lerp(uncond, cond, scale)": lambda cond, uncond, scale: torch.lerp(uncond, cond, scale),
    "cond + (scale - 1) (cond - uncond)": careful,
    "scale cond + (1 - scale) uncond": lambda cond, uncond, scale: scale * cond + (1 - scale) * uncond,
    "one that computes in float64 and returns float32": lambda cond, uncond, scale: torch.lerp(
        uncond.double(), cond.double(), scale
    ).float(),
}
WRONG_LAWS = ("the paper's w: scale 0 is already conditional", "cond and uncond are swapped")
ROUNDING = (
    "If its law is right, its tolerance is not: right formulas differ by rounding, the more the larger the numbers."
)
STRICTER = {
    tuple(RIGHT_GUIDANCE): ROUNDING,
    "one that computes in float64 and returns float32": f"{ROUNDING} Guesses are float32.",
}
TAKES = {ROUNDING: lambda cond, uncond, scale: uncond + scale * (cond - uncond)}
WRONG_GUIDANCE = {
    "returns cond at every scale": lambda cond, uncond, scale: cond.clone(),
    "cond and uncond are swapped": lambda cond, uncond, scale: cond + scale * (uncond - cond),
    "the paper's w: scale 0 is already conditional": lambda cond, uncond, scale: cond + scale * (cond - uncond),
    "the unconditional guess is forgotten": lambda cond, uncond, scale: scale * cond,
    "the guesses are added": lambda cond, uncond, scale: uncond + scale * cond,
    "scale is squared": lambda cond, uncond, scale: uncond + scale**2 * (cond - uncond),
    "no more than conditional: scale stops at 1": lambda cond, uncond, scale: uncond + min(scale, 1) * (cond - uncond),
    "clipped to [-1, 1]": lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).clamp(-1, 1),
    "scale is rounded to a whole number": lambda cond, uncond, scale: uncond + round(scale) * (cond - uncond),
    "scale stops at 5": lambda cond, uncond, scale: uncond + min(scale, 5) * (cond - uncond),
    "the difference is the wrong way round": lambda cond, uncond, scale: uncond + scale * (uncond - cond),
    "the mean of all numbers is not guided": lambda cond, uncond, scale: (
        uncond + scale * (cond - uncond) - (scale - 1) * (cond - uncond).mean()
    ),
    "the difference has lost its sign": lambda cond, uncond, scale: uncond + scale * (cond - uncond).abs(),
    "cut off at 1 from above": lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).clamp(max=1),
    "clipped to [-3, 3]": lambda cond, uncond, scale: (uncond + scale * (cond - uncond)).clamp(-3, 3),
    "the numbers come in the opposite order": lambda cond, uncond, scale: (
        (uncond + scale * (cond - uncond)).flatten().flip(0).view_as(cond)
    ),
    "the mean of uncond in the place of uncond": lambda cond, uncond, scale: (
        uncond.mean() + scale * (cond - uncond.mean())
    ),
    "rescaled to the length of cond beyond scale 1": lambda cond, uncond, scale: (
        (uncond + scale * (cond - uncond)) * (cond.norm() / (uncond + scale * (cond - uncond)).norm())
        if scale > 1
        else uncond + scale * (cond - uncond)
    ),
}


def graded(test_guidance, wrong, seed=0):
    """run_against, and the names of wrong laws that the test takes for right where it rejects a right answer."""
    try:
        run_against(test_guidance, RIGHT_GUIDANCE, wrong, seed=seed, stricter=STRICTER, takes=TAKES)
    except Wrong as error:
        laws = [name for name in WRONG_LAWS if "rejects" in error.problem and accepts(test_guidance, name)]
        raise (Wrong(error.says, error.problem, laws) if laws else error) from None


def accepts(test_guidance, name):
    """Whether a student's test passes on a wrong one."""
    try:
        run_against(test_guidance, {name: WRONG_GUIDANCE[name]}, {})
    except Wrong:
        return False
    return True


@pytest.mark.exercise("E5.6", points=2)
def test_accepts_right_guidance_and_rejects_the_crude(test_guidance):
    crude = ("returns cond at every scale", "cond and uncond are swapped", "the unconditional guess is forgotten")
    graded(test_guidance, {name: WRONG_GUIDANCE[name] for name in crude})


@pytest.mark.exercise("E5.6", points=3)
def test_rejects_the_subtle_too(test_guidance):
    graded(test_guidance, WRONG_GUIDANCE, seed=1)
