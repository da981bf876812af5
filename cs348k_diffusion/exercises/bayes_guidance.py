"""Checks of notebook 05: Bayes' rule on scores, two ways to guide, and when to."""

import pytest
import torch

from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.exercises import Counted, Exercise, expect, run_against
from cs348k_diffusion.schedule import cosine, linear_beta, straight

EXERCISES = (
    Exercise(
        "E5.1",
        "bayes_x0",
        "Bayes on scores",
        hints=(
            "Tweedie's formula twice: x0_hat = (x + sigma^2 score) / alpha holds without y, and with y if the score is "
            "grad log p_t(x | y). What is the difference of the two?",
            "The scores differ by `pull`, so the guesses differ by sigma^2 / alpha times `pull`. "
            "alpha, sigma = schedule(t, x) are shaped to multiply x.",
        ),
        withheld=("guidance.steer", "guidance.Steered", "denoiser.x0_from_score", "guidance.bayes_x0"),
        ours="guidance.bayes_x0",
    ),
    Exercise(
        "E5.2",
        "classifier_score",
        "Ask a classifier which way",
        hints=(
            "x.detach().clone().requires_grad_() is a copy that autograd follows. Log-probabilities are "
            "log_softmax(logits, 1); pick each example's own y.",
            "Let chosen be the log-probabilities at [arange(n), y]. Each depends on its own "
            "x alone, so torch.autograd.grad(chosen.sum(), x)[0] holds all gradients at once.",
        ),
        withheld=("guidance.gradient", "guidance.classified", "guidance.steer", "guidance.classifier_score"),
        ours="guidance.classifier_score",
    ),
    Exercise(
        "E5.3",
        "cfg",
        "Classifier-free guidance",
        hints=(
            "Bayes backwards: grad log p_t(y | x) = grad log p_t(x | y) - grad log p_t(x). Put that into E5.1's rule "
            "with a weight: what stands in front of each guess?",
            "uncond + scale * (cond - uncond), where cond = denoise(x, t, y) and uncond = denoise(x, t, y replaced by "
            "null): torch.full_like(y, null).",
        ),
        withheld=("guidance.guide", "guidance.Guided"),
    ),
    Exercise(
        "E5.4",
        "drop_condition",
        "Condition dropout",
        hints=(
            "Example i loses its condition where uniform[i] < p: all of it, or none. torch.where makes a new tensor.",
            "lost = uniform < p has shape (batch,); y may have more axes, so view it as (batch, 1, ..., 1): "
            "lost.view(-1, *[1] * (y.ndim - 1)). Then torch.where(lost, null, y).",
        ),
        withheld=("denoiser.drop",),
    ),
    Exercise(
        "E5.5",
        "guided_within",
        "Guide only where it helps",
        hints=(
            "Outside the interval the answer is plain cond(x, t): one call. Decide first, then ask.",
            "if not low <= t <= high: return cond(x, t). Inside: uncond(x, t) + scale * (cond(x, t) - uncond(x, t)), "
            "asking each of the two once.",
        ),
        withheld=("guidance.within", "guidance.Within", "guidance.guide", "guidance.Guided"),
    ),
    Exercise(
        "E5.6",
        "test_guidance",
        "A property test for guidance",
        stars=1,
        hints=(
            "At two scales the answer is known without any formula. Which?",
            "And between and beyond them it is a straight line in scale: equal steps of scale make equal steps of the "
            "answer. Try scales that are not whole numbers, and guesses far outside [-1, 1].",
        ),
    ),
)

SCHEDULES = (cosine(), linear_beta(1000), straight())


def normals(*shape, seed=0):
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def blobs():
    """Five blobs in the plane, in three classes: everything about them is known in closed form."""
    means, labels = 1.5 * normals(5, 2), torch.tensor([0, 1, 1, 2, 0])
    return Mixture(means, torch.tensor([0.05, 0.2, 0.1, 0.3, 0.15]), torch.arange(1.0, 6.0), labels)


# E5.1


@pytest.mark.exercise("E5.1", points=2)
def test_moves_the_guess_as_bayes_says(bayes_x0):
    data, x = blobs(), normals(6, 2, seed=1)
    for schedule in SCHEDULES:
        for t, y in ((0.15, 0), (0.5, 2), (0.8, 1)):
            exact, alpha, sigma = data.denoiser(schedule), *schedule(t, x)
            guess, pull = exact(x, t), exact.given(y).score(x, t) - exact.score(x, t)
            expect(
                bayes_x0(schedule, x, torch.full((6,), t), guess, pull),
                exact.given(y)(x, t),
                says="With the exact grad log p_t(y | x_t), the answer must be the exact E[x0 | x_t, y];"
                f" tried {schedule.name} at t = {t}.",
                mistakes={
                    "grad log p(y | x) is added to x0_hat as if that were a score": guess + pull,
                    "sigma for sigma^2": guess + sigma / alpha * pull,
                    "the division by alpha is missing": guess + sigma**2 * pull,
                    "multiplied by alpha instead of divided": guess + sigma**2 * alpha * pull,
                    "divided by alpha^2": guess + sigma**2 / alpha**2 * pull,
                    "the sign of the pull": guess - sigma**2 / alpha * pull,
                    "y is not used: that is x0_hat": guess,
                    "alpha and sigma are swapped": guess + alpha**2 / sigma * pull,
                    "returns the score, not the guess": exact.given(y).score(x, t),
                },
                rtol=1e-3,
                atol=1e-3,
            )


@pytest.mark.exercise("E5.1", points=1)
def test_takes_pictures_with_times_of_their_own(bayes_x0):
    x, guess, pull = normals(3, 1, 4, 5, seed=2), normals(3, 1, 4, 5, seed=3), normals(3, 1, 4, 5, seed=4)
    t = torch.tensor([0.1, 0.5, 0.9])
    alpha, sigma = (value.view(3, 1, 1, 1) for value in (cosine().alpha(t), cosine().sigma(t)))
    right = guess + sigma**2 / alpha * pull
    expect(
        bayes_x0(cosine(), x, t, guess, pull),
        right,
        says="Pictures (3, 1, 4, 5), each at a time of its own: t = 0.1, 0.5, 0.9.",
        mistakes={
            "one time is used for all examples": lambda: guess + (sigma**2 / alpha)[:1] * pull,
            "the sign of the pull": guess - sigma**2 / alpha * pull,
        },
        rtol=1e-4,
        atol=1e-5,
    )


# E5.2


def linear_logits(seed=5):
    """Logits that are linear in x and depend on t, and their gradient by hand: a softmax regression."""
    weights = normals(3, 8, seed=seed)  # three classes, eight pixels

    def logits(x, t):
        return (1 - t)[:, None] * (x.flatten(1) @ weights.T) + torch.tensor([2.0, 0.0, -1.0])

    return logits, weights


@pytest.mark.exercise("E5.2", points=2)
def test_is_the_gradient_of_log_p_of_the_class_asked_for(classifier_score):
    logits, weights = linear_logits()
    x, t, y = normals(5, 2, 4, seed=6), torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), torch.tensor([0, 2, 1, 1, 0])
    share = logits(x, t).softmax(1)
    keen = (1 - t)[:, None]

    def gradient(push):
        return (keen * (push @ weights)).view_as(x)

    one_hot = torch.nn.functional.one_hot(y, 3).float()
    right = gradient(one_hot - share)
    p = share.gather(1, y[:, None])[:, :, None]
    expect(
        classifier_score(logits, x, t, y),
        right,
        says="For a softmax regression the gradient of log p(y | x) is known by hand; five examples, three classes.",
        mistakes={
            "the gradient of the logit: the softmax is missing": gradient(one_hot),
            "the gradient of p, not of log p": right * p,
            "the sign: this is the gradient of a cross-entropy loss": -right,
            "averaged over the batch": right / 5,
            "the gradient of a loss averaged over the batch": -right / 5,
            "all classes are summed, not the one asked for": gradient(1 - 3 * share),
            "every example gets the first one's class": lambda: gradient(one_hot[:1] - share),
            "the most likely class instead of the one asked for": lambda: gradient(
                torch.nn.functional.one_hot(share.argmax(1), 3).float() - share
            ),
            "softmax over the batch instead of the classes": lambda: _softmax_over_batch(logits, x, t, y),
            "t is not passed on: the classifier is asked at t = 0": lambda: (
                (one_hot - logits(x, 0 * t).softmax(1)) @ weights
            ).view_as(x),
        },
        rtol=1e-3,
        atol=1e-4,
    )


def _softmax_over_batch(logits, x, t, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(logits(x, t).log_softmax(0).gather(1, y[:, None]).sum(), x)[0]


@pytest.mark.exercise("E5.2", points=1)
def test_turns_a_guess_into_a_guess_given_y(classifier_score):
    data, schedule = blobs(), cosine()
    exact = data.denoiser(schedule)

    def logits(x, t):
        return torch.stack([exact.given(k).log_prob(x, t) for k in range(3)], 1)

    x, y = normals(6, 2, seed=7), torch.tensor([0, 1, 2, 2, 1, 0])
    for t in (0.1, 0.6):
        time = torch.full((6,), t)
        right = exact.given(y).score(x, t) - exact.score(x, t)
        p = logits(x, time).softmax(1).gather(1, y[:, None])
        expect(
            classifier_score(logits, x, time, y),
            right,
            says="With the exact noise-aware classifier of a mixture it must be score(x | y) - score(x);"
            f" tried t = {t}.",
            mistakes={
                "the gradient of the logit: the softmax is missing": exact.given(y).score(x, t),
                "the gradient of p, not of log p": p * right,
                "the sign: this is the gradient of a cross-entropy loss": -right,
                "averaged over the batch": right / 6,
            },
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
    expect(tuple(got.shape), (4, 2, 4), says="The gradient has the shape of x.")
    kept = classifier_score.construct(logits, x, t, y)  # some tensor that stays where the answer runs: the next x
    before = kept.requires_grad
    classifier_score(logits, kept, t, y)
    expect(
        kept.requires_grad,
        before,
        says="x is changed in place: after the call the caller's x.requires_grad is not what it was. Work on a copy.",
    )


# E5.3


def labelled():
    """A made-up denoiser of three classes and a null label 3, whose guess has the input's shape."""
    table = normals(4, 6, seed=10)

    def denoise(x, t, y):
        return torch.tanh(x + table[y].view(-1, *x.shape[1:])) * (1 - t.view(-1, *[1] * (x.ndim - 1)))

    return denoise


@pytest.mark.exercise("E5.3", points=1)
def test_scale_0_forgets_the_class_and_scale_1_is_conditional(cfg):
    denoise, x, t = labelled(), normals(5, 1, 2, 3, seed=11), torch.linspace(0.1, 0.9, 5)
    y, none = torch.tensor([0, 1, 2, 1, 0]), torch.full((5,), 3)
    cond, uncond = denoise(x, t, y), denoise(x, t, none)
    for scale, want, meaning in ((0.0, uncond, "the unconditional guess"), (1.0, cond, "the conditional guess")):
        expect(
            cfg(denoise, x, t, y, 3, scale),
            want,
            says=f"At scale {scale:g} the answer must be {meaning}.",
            mistakes={
                "0 and 1 mean the opposite: is it the paper's w, or are the two swapped?": cond
                if scale == 0
                else uncond,
                "no class is given to either": uncond,
            },
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.exercise("E5.3", points=1)
def test_beyond_1_it_exaggerates(cfg):
    denoise, x, t = labelled(), normals(4, 6, seed=12), torch.full((4,), 0.4)
    y, none = torch.tensor([2, 0, 1, 1]), torch.full((4,), 3)
    cond, uncond = denoise(x, t, y), denoise(x, t, none)
    for scale in (3.0, 7.5, 0.5):
        expect(
            cfg(denoise, x, t, y, 3, scale),
            uncond + scale * (cond - uncond),
            says=f"x0_hat = uncond + scale (cond - uncond), at scale {scale:g}: what the class changes, times scale.",
            mistakes={
                "the paper's w: scale = w + 1 here": cond + scale * (cond - uncond),
                "cond and uncond are swapped": torch.lerp(cond, uncond, scale),
                "only the difference is returned": scale * (cond - uncond),
                "right at scale 1, wrong elsewhere: the difference is the wrong way round": cond
                + (scale - 1) * (uncond - cond),
                "the two guesses are averaged": (cond + uncond) / 2,
                "scale is ignored, or both guesses are told the class": cond,
                "no class is given to either": uncond,
                "the guesses are added": uncond + scale * cond,
                "scale is squared": uncond + scale**2 * (cond - uncond),
                "clipped: leave that to the outermost wrapper": (uncond + scale * (cond - uncond)).clamp(-1, 1),
                "the unconditional guess is forgotten": scale * cond,
            },
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.exercise("E5.3", points=1)
def test_asks_once_with_the_class_and_once_without(cfg):
    denoise, asked = labelled(), []

    def watched(x, t, y):
        asked.extend(y.tolist())
        return denoise(x, t, y)

    x, t, y = normals(4, 6, seed=13), torch.full((4,), 0.4), torch.tensor([2, 0, 1, 1])
    cfg(watched, x, t, y, 3, 2.0)
    assert 3 in asked, "the null label is not used: the second guess must be told y = null for every example."
    assert len(asked) == 8, (
        "wrong number of evaluations: once with the class and once without makes 8 guesses for 4 examples; "
        f"you asked for {len(asked)}."
    )
    expect(sorted(asked), [0, 1, 1, 2, 3, 3, 3, 3], says="These labels must be asked for, when y = [2, 0, 1, 1].")


# E5.4


@pytest.mark.exercise("E5.4", points=2)
def test_drops_the_examples_that_the_numbers_say(drop_condition):
    y, uniform = torch.tensor([4, 0, 7, 2, 9, 5]), torch.tensor([0.05, 0.5, 0.09, 0.95, 0.3, 0.1])
    for p in (0.1, 0.4, 0.0, 1.0):
        lost = uniform < p
        expect(
            drop_condition(y, 10, p, uniform),
            torch.where(lost, 10, y),
            says=f"Where uniform < p the label becomes the null label 10, elsewhere it stays; p = {p:g},"
            f" uniform = {[round(u, 2) for u in uniform.tolist()]}.",
            mistakes={
                "the wrong way round: p is the share that is kept": torch.where(lost, y, 10),
                "dropped to 0, which is a class": torch.where(lost, 0, y),
                "nothing is dropped": y,
                "everything is dropped, or nothing: one number decides for the whole batch": torch.where(
                    lost[:1].expand(6), 10, y
                ),
                "<= for <: with p equal to a number, as for p = 0.1 here": torch.where(uniform <= p, 10, y),
                "one number decides for the whole batch": torch.where(lost.any(), 10, y),
                "the dropped examples are left out": y[~lost],
            },
        )
    kept = drop_condition.construct(y, 10, 0.0, uniform)  # y, and it stays where the answer runs
    drop_condition(kept, 10, 0.4, uniform)
    expect(kept.data, y, says="y is changed in place: the caller's labels must stay as they are.")


@pytest.mark.exercise("E5.4", points=1)
def test_drops_a_whole_caption_or_nothing_of_it(drop_condition):
    y, uniform = torch.arange(1, 13).view(3, 4), torch.tensor([0.7, 0.2, 0.9])
    want = y.clone()
    want[1] = 0
    expect(
        drop_condition(y, 0, 0.5, uniform),
        want,
        says="A caption is a row of words (3, 4): with uniform = [0.7, 0.2, 0.9] and p = 0.5 all of row 1 goes.",
        mistakes={
            "only the first word of a caption is dropped": lambda: torch.cat([want[:, :1], y[:, 1:]], 1),
            "the wrong way round: p is the share that is kept": torch.where(uniform[:, None] < 0.5, y, 0),
            "nothing is dropped": y,
        },
    )


# E5.5


def pair_of_guesses():
    """Two made-up denoisers that are counted, for t a number or (batch,)."""
    return (
        Counted(lambda x, t: torch.tanh(2 * x) + torch.as_tensor(t).view(-1, 1)),
        Counted(lambda x, t: 0.5 * x - torch.as_tensor(t).view(-1, 1)),
    )


@pytest.mark.exercise("E5.5", points=2)
def test_guides_inside_and_only_inside(guided_within):
    x, times, low, high = normals(4, 3, seed=14), (0.5, 0.1, 0.9, 0.2, 0.8), 0.2, 0.8
    cond, uncond = ([guess(x, t) for t in times] for guess in pair_of_guesses())
    for scale in (3.0, 0.5):
        guided = [other + scale * (guess - other) for guess, other in zip(cond, uncond)]

        def chosen(inside, outside, where=lambda t: low <= t <= high):
            return [a if where(t) else b for t, a, b in zip(times, inside, outside)]

        expect(
            [guided_within(*pair_of_guesses(), x, t, scale, low, high) for t in times],
            chosen(guided, cond),
            says=f"Guided for t in [{low:g}, {high:g}], ends included, and plain cond outside; tried scale {scale:g}"
            f" and, as value 0 to 4, t = {times}.",
            mistakes={
                "guided everywhere": guided,
                "never guided": cond,
                "outside, the unconditional guess": chosen(guided, uncond),
                "the wrong way round: guided outside": chosen(cond, guided),
                "the lower end is left out": chosen(guided, cond, lambda t: low < t <= high),
                "the upper end is left out": chosen(guided, cond, lambda t: low <= t < high),
                "both ends are left out": chosen(guided, cond, lambda t: low < t < high),
                "cond and uncond are swapped": chosen([c + scale * (u - c) for c, u in zip(cond, uncond)], cond),
                "the paper's w: scale = w + 1 here": chosen([c + scale * (c - u) for c, u in zip(cond, uncond)], cond),
            },
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.exercise("E5.5", points=1)
def test_pays_for_the_second_guess_only_where_it_is_used(guided_within):
    x = normals(4, 3, seed=15)
    for t, want in ((0.5, (1, 1)), (0.9, (1, 0)), (0.05, (1, 0))):
        cond, uncond = pair_of_guesses()
        guided_within(cond, uncond, x, t, 2.0, 0.2, 0.8)
        for name, asked, calls in (("cond", cond.calls, want[0]), ("uncond", uncond.calls, want[1])):
            expect(
                asked,
                calls,
                says=f"wrong number of evaluations of {name} at t = {t:g}, with the interval [0.2, 0.8]."
                " Half of the reason for an interval is what it saves.",
            )


# E5.6


RIGHT_GUIDANCE = [
    lambda cond, uncond, scale: torch.lerp(uncond, cond, scale),
    lambda cond, uncond, scale: cond + (scale - 1) * (cond - uncond),
    lambda cond, uncond, scale: scale * cond + (1 - scale) * uncond,
]
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
    "rescaled to the length of cond beyond scale 1": lambda cond, uncond, scale: (
        (uncond + scale * (cond - uncond)) * (cond.norm() / (uncond + scale * (cond - uncond)).norm())
        if scale > 1
        else uncond + scale * (cond - uncond)
    ),
}


@pytest.mark.exercise("E5.6", points=2)
def test_accepts_right_guidance_and_rejects_the_crude(test_guidance):
    crude = ("returns cond at every scale", "cond and uncond are swapped", "the unconditional guess is forgotten")
    run_against(test_guidance, RIGHT_GUIDANCE, {name: WRONG_GUIDANCE[name] for name in crude})


@pytest.mark.exercise("E5.6", points=3)
def test_rejects_the_subtle_too(test_guidance):
    run_against(test_guidance, RIGHT_GUIDANCE, WRONG_GUIDANCE, seed=1)
