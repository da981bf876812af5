"""Checks of notebook 10: a better solver, what a student should answer, halving, and densities instead of paths."""

import math

import pytest
import torch

from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.exercises import Counted, Exercise, StudentError, Wrong, agree, expect, run_against, varied
from cs348k_diffusion.schedule import cosine, exploding, linear_beta, straight

EXERCISES = (
    Exercise(
        "E10.1",
        "two_m_step",
        "A step from two guesses",
        gives="x_s: tensor",
        hints=(
            "Two guesses at two values of lambda lie on a line. Where along the step from t to s would you read it, if "
            "you could ask the denoiser only once more?",
            "In the middle, half a step beyond lambda_t. The slope is (new - old) / (lambda_t - lambda_r); times are "
            "not lambdas.",
            "lambda is schedule.log_snr(time) / 2, of tensors. With the guess read off in the middle, the step from t "
            "to s is the one you know: `step`.",
        ),
        withheld=("sampling.look_ahead", "sampling.multistep"),
    ),
    Exercise(
        "E10.2",
        "two_steps_in_one",
        "What the student should answer",
        gives="x0_hat: tensor",
        hints=(
            "Where does the teacher arrive after two steps? Which single x0_hat would have taken you there in one?",
            "One noise-free step is x_s = alpha_s x0_hat + sigma_s (x_t - alpha_t x0_hat) / sigma_t. Everything in it "
            "is known but x0_hat, and it is linear.",
            "Walk with `step` to the middle, (t + s) / 2, ask again there, and walk on to s. Then collect the terms "
            "with x0_hat: their factor is alpha_s - alpha_t sigma_s / sigma_t.",
        ),
        withheld=(
            "sampling.implied_x0",
            "distill.progressive_x0",
            "distill.progressive_target",
            "distill.progressive",
        ),
        ours="distill.progressive_x0",
    ),
    Exercise(
        "E10.3",
        "halve",
        "The halving loop",
        gives="students: list",
        hints=(
            "Who teaches the student of 2 steps: the first teacher, or the student of 4?",
            "One variable holds the teacher of the next stage, another its number of steps. Each round halves the "
            "number, trains, keeps the pair, and makes the student the teacher.",
            "First find out whether the halving ends at `end`: steps must be end times 2, 4, 8, ... Divide by 2 while "
            "it is even and above end, and see what is left.",
        ),
        withheld=("distill.halve", "distill.halved", "distill.progressive"),
        ours="distill.halve",
    ),
    Exercise(
        "E10.4",
        "guided_lesson",
        "A target that knows the scale",
        gives="target: tensor, scale: tensor",
        hints=(
            "If every example is guided by a scale of its own, what must the student be told besides x_t, t and y?",
            "The scale is low at u = 0 and nears high at u = 1. The target is what guidance answers: it leaves the "
            "guess without a label, in the direction of the one with it, times the scale.",
            "scale has shape (batch,) and a guess (batch, ...): before they are multiplied, scale needs an axis of "
            "length 1 for each further axis of x_t. null.expand(len(x_t)) is a label for every example.",
        ),
        withheld=("guidance.guide", "guidance.Guided", "distill.guided"),
    ),
    Exercise(
        "E10.5",
        "consistency_function",
        "A boundary by construction",
        gives="f: tensor",
        hints=(
            "At t = 0 the answer must be x itself, whatever the network says. By what must its answer be multiplied "
            "there?",
            "For data N(0, spread^2), x0 and x_t are jointly Gaussian, with covariance alpha spread^2 and "
            "variances spread^2 and r^2. What are the mean and the variance of x0 given x_t?",
            "c_skip is the covariance divided by the variance of x_t. The variance that is left, spread^2 - c_skip "
            "alpha spread^2, is c_out squared: simplify it until nothing is subtracted.",
        ),
    ),
    Exercise(
        "E10.6",
        "matching_move",
        "Which way samples should go",
        gives="direction: tensor",
        hints=(
            "Where is the data's density higher than the samples' own? Which of the two scores points there, and "
            "which one away?",
            "Both scores are asked at the same noisy x_t, at the same t. Their difference says how x_t should move, "
            "and x is not x_t.",
            "x_t = alpha x + sigma noise: by how much does x_t move when x moves by 1? The chain rule multiplies by "
            "that.",
        ),
        withheld=("distill.matching_direction", "distill.match_distribution", "forward.add_noise", "forward.jump_to"),
    ),
    Exercise(
        "E10.7",
        "test_student",
        "A property test for a student",
        hints=(
            "What should a student of 1 step and its teacher of 16 have in common when they start from the same noise?",
            "Three things can go wrong that a look at a few pictures misses: another picture from the same noise, a "
            "number of steps that was forgotten, and pictures that do not depend on the noise.",
            "For each n in (1, 2, 4): the root mean square of draw(noise, n) - draw(noise, 16) is below 0.15. Then ask "
            "that the draws of each coordinate vary, and that one example alone is drawn as it is in its batch.",
        ),
    ),
)

SCHEDULES = (cosine(), straight(), exploding(10.0), linear_beta(1000))


def numbers(schedule, *times):
    """alpha and sigma at each time, as plain floats: a list of pairs."""
    t = torch.tensor(times, dtype=torch.float64)
    return list(zip(schedule.alpha(t).tolist(), schedule.sigma(t).tolist()))


def at(schedule, t, like):
    """alpha and sigma at the times (batch,), as tensors that multiply `like`."""
    wide = (-1, *(1,) * (like.ndim - 1))
    return schedule.alpha(t).to(like).view(wide), schedule.sigma(t).to(like).view(wide)


def lands(schedule, x_t, guess, t, s):
    """One noise-free step from t to s, times (batch,)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    return alpha_s * guess + sigma_s * (x_t - alpha_t * guess) / sigma_t


# ---- E10.1 ---------------------------------------------------------------------------------------------------------


def by_integral(schedule, x_t, new, old, r, t, s):
    """DPM-Solver++(2M) as the paper has it: an exponential integrator in lambda."""
    pairs = numbers(schedule, r, t, s)
    lam = [math.log(alpha / sigma) for alpha, sigma in pairs]
    h, ratio = lam[2] - lam[1], (lam[1] - lam[0]) / (lam[2] - lam[1])
    guess = (1 + 1 / (2 * ratio)) * new - 1 / (2 * ratio) * old
    return pairs[2][1] / pairs[1][1] * x_t - pairs[2][0] * (math.exp(-h) - 1) * guess


def leaning(weight):
    """A step with the guess new + weight(lambdas, times) (new - old): the usual slips are other weights."""

    def step(schedule, x_t, new, old, r, t, s):
        pairs = numbers(schedule, r, t, s)
        share = weight([math.log(alpha / sigma) for alpha, sigma in pairs], (r, t, s))
        (alpha_t, sigma_t), (alpha_s, sigma_s) = pairs[1:]
        guess = new + share * (new - old)
        return alpha_s * guess + sigma_s * (x_t - alpha_t * guess) / sigma_t

    return step


def along(lam):
    return (lam[2] - lam[1]) / (2 * (lam[1] - lam[0]))


def guess_alone(schedule, x_t, new, old, r, t, s):
    (share,) = (along([math.log(a / b) for a, b in numbers(schedule, r, t, s)]),)
    return new + share * (new - old)


def stepped_from(start, schedule, x_t, guess, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = numbers(schedule, start, s)
    return alpha_s * guess + sigma_s * (x_t - alpha_t * guess) / sigma_t


def unswapped_times(schedule, x_t, new, old, r, t, s):
    return by_integral(schedule, x_t, new, old, t, r, s)


TWO_M_SLIPS = {
    "the old guess is not used: that is DDIM": leaning(lambda lam, times: 0.0),
    "the line is read off at the end of the step, not in its middle": leaning(lambda lam, times: 2 * along(lam)),
    "the line is read off backwards: new and old are swapped": leaning(lambda lam, times: -along(lam)),
    "times are not lambdas: steps are measured in log(alpha / sigma)": leaning(
        lambda lam, times: (times[2] - times[1]) / (2 * (times[1] - times[0]))
    ),
    "alpha / sigma itself: steps are measured in its logarithm": leaning(
        lambda lam, times: along([math.exp(each) for each in lam])
    ),
    "the step starts at r, where x_t is not": lambda schedule, x_t, new, old, r, t, s: stepped_from(
        r, schedule, x_t, guess_alone(schedule, x_t, new, old, r, t, s), s
    ),
    "the two steps are taken for equally long": leaning(lambda lam, times: 0.5),
    "the ratio of the steps is upside down": leaning(lambda lam, times: (lam[1] - lam[0]) / (2 * (lam[2] - lam[1]))),
    "the two guesses are averaged: that looks back, not ahead": leaning(lambda lam, times: -0.5),
    "the old guess alone": leaning(lambda lam, times: -1.0),
    "the slope is not divided by the step that it was measured over": leaning(lambda lam, times: (lam[2] - lam[1]) / 2),
    "the guess is returned, not x at time s": guess_alone,
    "r and t are swapped": unswapped_times,
}


@pytest.mark.exercise("E10.1", points=2)
def test_reads_the_line_in_the_middle_of_the_step(two_m_step):
    agree(
        two_m_step,
        by_integral,
        [
            (SCHEDULES[k % 4], case.normal(), case.normal(), case.normal(), *times)
            for k, (case, times) in enumerate(
                zip(varied(), ((0.9, 0.6, 0.3), (0.5, 0.45, 0.1), (0.8, 0.3, 0.25), (0.95, 0.7, 0.05)) * 2)
            )
        ],
        says="x_s is the step whose guess lies on the line through old and new, half a step beyond t.",
        mistakes=TWO_M_SLIPS,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E10.1", points=1)
def test_two_equal_guesses_are_a_plain_step(two_m_step):
    def plain(schedule, x_t, new, old, r, t, s):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = numbers(schedule, t, s)
        return alpha_s * new + sigma_s * (x_t - alpha_t * new) / sigma_t

    agree(
        two_m_step,
        plain,
        [(cosine(), case.normal(), guess := case.normal(), guess, 0.7, 0.4, 0.2) for case in varied(seed=1)],
        says="Where the guess did not change, there is nothing to extrapolate: the step is DDIM's.",
        mistakes={
            name: TWO_M_SLIPS[name]
            for name in (
                "the guess is returned, not x at time s",
                "r and t are swapped",
                "the step starts at r, where x_t is not",
            )
        },
        rtol=1e-4,
        atol=1e-5,
    )


# ---- E10.2 ---------------------------------------------------------------------------------------------------------


def bent(x, t):
    """A teacher whose guess depends on x and on t, each example on its own."""
    return torch.tanh(1.5 * x) * (0.4 + 0.8 * t.view(-1, *(1,) * (x.ndim - 1)).to(x)) - 0.1


def implied(schedule, x_t, x_s, t, s):
    """x0 and eps from two equations, x_t and x_s, by Cramer's rule: returns x0."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    return (x_s * sigma_t - x_t * sigma_s) / (alpha_s * sigma_t - alpha_t * sigma_s)


def walked(teacher, schedule, x_t, t, s, moves=True, asked=None, shared=False, middle=None):
    """Where two steps of the teacher lead; moves: whether the second guess is asked at the middle's x; asked: when."""
    middle, first = (t + s) / 2 if middle is None else middle, teacher(x_t, t)
    middle = middle.mean().expand(len(t)) if shared else middle
    halfway = lands(schedule, x_t, first, t, middle)
    second = teacher(halfway if moves else x_t, middle if asked is None else asked)
    return halfway, first, second, lands(schedule, halfway, second, middle, s)


def from_the_start(teacher, schedule, x_t, t, s):
    """Where the second step leads if it starts at x_t."""
    second = walked(teacher, schedule, x_t, t, s)[2]
    return lands(schedule, x_t, second, (t + s) / 2, s)


def solved(schedule, x_t, x_s, t, s, terms):
    """(x_s - k x_t) / (alpha_s - m), with (k, m) = terms(alpha_t, sigma_t, alpha_s, sigma_s)."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    kept, taken = terms(alpha_t, sigma_t, alpha_s, sigma_s)
    return (x_s - kept * x_t) / (alpha_s - taken)


def noise_of(schedule, x_t, x_s, t, s):
    """The noise whose one step leads to x_s."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    return (x_s - alpha_s / alpha_t * x_t) / (sigma_s - alpha_s / alpha_t * sigma_t)


def right_target(teacher, schedule, x_t, t, s):
    return implied(schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s)


def once(teacher, schedule, x_t, t, s):
    return implied(schedule, x_t, lands(schedule, x_t, teacher(x_t, t), t, s), t, s)


def skipping(teacher, schedule, x_t, t, s):
    halfway, _, _, x_s = walked(teacher, schedule, x_t, t, s)
    return implied(schedule, halfway, x_s, (t + s) / 2, s)


TARGET_SLIPS = {
    "the teacher's first guess: its second step is lost": once,
    "the teacher's second guess, which is meant for the second step alone": skipping,
    "the two guesses are averaged": lambda teacher, schedule, x_t, t, s: (
        sum(walked(teacher, schedule, x_t, t, s)[1:3]) / 2
    ),
    "x_s is returned: the student answers with an x0_hat": lambda *args: walked(*args)[3],
    "the second guess is asked at x_t, which has moved": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, moves=False)[3], t, s
    ),
    "the second guess is asked at time t, not at the middle": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, asked=t)[3], t, s
    ),
    "the second guess is asked at time s, not at the middle": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, asked=s)[3], t, s
    ),
    "x_s / alpha_s: the noise that is left at s is taken for signal": lambda teacher, schedule, x_t, t, s: (
        walked(teacher, schedule, x_t, t, s)[3] / at(schedule, s, x_t)[0]
    ),
    "what the step keeps of x_t is not taken away": lambda teacher, schedule, x_t, t, s: kept_in(
        schedule, walked(teacher, schedule, x_t, t, s)[3], x_t, t, s
    ),
    "one middle for the whole batch: each example has its own": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, shared=True)[3], t, s
    ),
    "the middle is at sqrt(t s): its time is (t + s) / 2": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, middle=(t * s).sqrt())[3], t, s
    ),
    "the middle is at t - s, or (t - s) / 2: its time is (t + s) / 2": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, middle=(t - s) / 2)[3], t, s
    ),
    "the middle is at t / 2: its time is (t + s) / 2": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, walked(teacher, schedule, x_t, t, s, middle=t / 2)[3], t, s
    ),
    "the second step starts at x_t, not at the middle's x": lambda teacher, schedule, x_t, t, s: implied(
        schedule, x_t, from_the_start(teacher, schedule, x_t, t, s), t, s
    ),
    "sigma_s is not divided by sigma_t": lambda teacher, schedule, x_t, t, s: solved(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s, lambda a, b, c, d: (d, d * a)
    ),
    "(x_s - sigma_s x_t) / alpha_s: that takes x_t for noise": lambda teacher, schedule, x_t, t, s: solved(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s, lambda a, b, c, d: (d, 0.0)
    ),
    "alpha_t is forgotten where x0_hat is solved for": lambda teacher, schedule, x_t, t, s: solved(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s, lambda a, b, c, d: (d / b, 0.0)
    ),
    "added where it is subtracted: alpha_s - sigma_s / sigma_t alpha_t": lambda teacher, schedule, x_t, t, s: solved(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s, lambda a, b, c, d: (d / b, -d / b * a)
    ),
    "sigma_s / sigma_t is squared": lambda teacher, schedule, x_t, t, s: solved(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s, lambda a, b, c, d: (d**2 / b**2, d**2 / b**2 * a)
    ),
    "the noise is solved for, not x0_hat": lambda teacher, schedule, x_t, t, s: noise_of(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s
    ),
    "t and s are swapped when x0_hat is solved for": lambda teacher, schedule, x_t, t, s: implied(
        schedule, walked(teacher, schedule, x_t, t, s)[3], x_t, t, s
    ),
    "sigma_s / sigma_t is upside down": lambda teacher, schedule, x_t, t, s: upside_down(
        schedule, x_t, walked(teacher, schedule, x_t, t, s)[3], t, s
    ),
}


def kept_in(schedule, x_s, x_t, t, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    return x_s / (alpha_s - alpha_t * sigma_s / sigma_t)


def upside_down(schedule, x_t, x_s, t, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = at(schedule, t, x_t), at(schedule, s, x_t)
    return (x_s - sigma_t / sigma_s * x_t) / (alpha_s - sigma_t / sigma_s * alpha_t)


def walks(seed=0, end=None):
    """(teacher, schedule, x_t, t, s): each example from its own t to its own s; end: one s for all."""
    for k, case in enumerate(varied(seed=seed)):
        s = case.uniform(0.05, 0.4, case.batch) if end is None else torch.full((case.batch,), end, dtype=case.dtype)
        yield bent, SCHEDULES[k % 2], case.normal(), case.uniform(0.5, 1.0, case.batch), s


@pytest.mark.exercise("E10.2", points=2)
def test_one_step_lands_where_two_do(two_steps_in_one):
    agree(
        two_steps_in_one,
        right_target,
        walks(),
        says="One step with your x0_hat must land where the teacher's two steps land, by way of the middle.",
        mistakes=TARGET_SLIPS,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E10.2", points=1)
def test_holds_at_the_data_and_at_pure_noise(two_steps_in_one):
    whole = [
        (bent, cosine(), case.normal(), torch.ones(case.batch), torch.zeros(case.batch))
        for case in varied(shapes=((4, 2), (1, 1, 2, 2)), dtypes=(torch.float32,), seed=4)
    ]
    agree(
        two_steps_in_one,
        right_target,
        [*walks(seed=2, end=0.0), *whole],
        says="At s = 0 there is no noise left, at t = 1 no signal: both are allowed.",
        mistakes=TARGET_SLIPS
        | {"divides by sigma_s, which is 0 at the data": lambda teacher, schedule, x_t, t, s: x_t * torch.nan},
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E10.2", points=1)
def test_asks_the_teacher_twice(two_steps_in_one):
    for _, schedule, x_t, t, s in walks(seed=3):
        teacher = Counted(bent, limit=20)
        two_steps_in_one(teacher, schedule, x_t, t, s)
        expect(
            teacher.calls,
            2,
            says="The teacher is dear: two evaluations for a target, one for each of its steps.",
            mistakes={
                "the second guess is the first one again": 1,
                "a third evaluation, at the end, that nothing needs": 3,
            },
        )


# ---- E10.3 ---------------------------------------------------------------------------------------------------------


def lineage(teacher, n):
    """A training that only remembers: a student is its teacher's history and its own number of steps."""
    return f"{teacher} > {n}"


def family(steps, end, teacher="model", first=None, last=None):
    """The truth: the students from steps / 2 down to end, each with its history."""
    found = []
    n = steps // 2 if first is None else first
    while n >= (end if last is None else last):
        teacher = lineage(teacher, n)
        found.append((n, teacher))
        n //= 2
    return found


def family_slips(steps, end):
    right = family(steps, end)
    return {
        "the first teacher teaches every student": [(n, lineage("model", n)) for n, _ in right],
        "the student is trained for its teacher's number of steps": [
            (n, " > ".join(["model", *(str(2 * m) for m, _ in right[: k + 1])])) for k, (n, _) in enumerate(right)
        ],
        "a student of as many steps as the teacher is trained first": family(steps, end, first=steps),
        "the last halving is missing": right[:-1],
        "one halving too many": family(steps, end, last=max(end // 2, 1)),
        "it halves down to 1, not to `end`": family(steps, 1),
        "the first teacher is in the list": [(steps, "model"), *right],
        "only the last student is kept": right[-1:],
        "students come in the wrong order": right[::-1],
        "students without their number of steps": [student for _, student in right],
        "the student comes before its number of steps": [(student, n) for n, student in right],
    }


@pytest.mark.exercise("E10.3", points=2)
def test_each_student_teaches_the_next(halve):
    (case,) = varied(((2,),), seed=103)
    times, odd = case.integers(2, 6).tolist()
    for steps, end in ((16, 1), (16, 4), (2, 1), (12, 3), (2**times * (2 * odd + 1), 2 * odd + 1)):
        says = f"From {steps} steps to {end}: one student for each halving, taught by the one before."
        train = Counted(lineage, 40)
        try:
            got = halve(train, "model", steps, end)
        except StudentError as error:
            if error.kind != "ValueError":
                raise
            name = ["powers of two alone are accepted: end may be any number"] if end % 2 and end > 1 else []
            raise Wrong(says, str(error), name) from None
        expect(got, family(steps, end), says=says, mistakes=family_slips(steps, end))
        count = len(family(steps, end))
        expect(train.calls, count, says=f"{says} Each is trained once: a training takes hours.",
               mistakes={"each student is trained twice": 2 * count})  # fmt: skip


@pytest.mark.exercise("E10.3", points=1)
def test_refuses_what_does_not_halve(halve):
    (case,) = varied(((1,),), seed=104)
    odd = 2 * int(case.integers(2, 20)) + 1
    for steps, end in ((12, 1), (16, 3), (4, 4), (6, 2), (12, 5), (12 * odd, odd)):
        train, said = Counted(lineage, 40), f"halving does not lead from {steps} steps to {end}: raise ValueError"
        try:
            halve(train, "model", steps, end)
        except StudentError as error:
            raised = error.kind
        else:
            raised = ""
        assert raised, f"{said}; nothing was raised"
        assert raised == "ValueError", f"{said}, not {raised}"
        assert train.calls == 0, f"{said} before anything is trained; it trained {train.calls} students first"


# ---- E10.4 ---------------------------------------------------------------------------------------------------------


def labelled(x, t, y):
    """A model whose guess depends on x, on its time and on its label; each row has one of its own."""
    if not len(x) == len(t) == len(y):
        raise ValueError(f"model takes one time and one label for each row of x: {len(x)} rows, {len(t)}, {len(y)}")
    wide = (-1, *(1,) * (x.ndim - 1))
    return torch.tanh(x * (0.5 + 0.3 * y.view(wide).to(x))) - 0.2 * t.view(wide).to(x)


def wide(values, x):
    return values.to(x).view(-1, *(1,) * (x.ndim - 1))


def lesson(mix, scale=None):
    """A lesson: mix(cond, uncond, w) is the target, scale(u, low, high) is told."""

    def of(model, x_t, t, y, null, u, low, high):
        w = low + (high - low) * u if scale is None else scale(u, low, high)
        cond, uncond = model(x_t, t, y), model(x_t, t, null.expand(len(x_t)))
        return mix(cond, uncond, wide(w, x_t)), w

    return of


def usual(cond, uncond, w):
    return uncond + w * (cond - uncond)


def swapped(model, x_t, t, y, null, u, low, high):
    return tuple(reversed(lesson(usual)(model, x_t, t, y, null, u, low, high)))


LESSON_SLIPS = {
    "one scale for the whole batch": lesson(lambda c, n, w: usual(c, n, w.flatten()[0])),
    "one scale for the whole batch, and it is told": lesson(
        usual, lambda u, low, high: (low + (high - low) * u[:1]).expand(len(u))
    ),
    "the mean scale for every example": lesson(lambda c, n, w: usual(c, n, w.mean())),
    "the paper's w, which is the scale less 1": lesson(lambda c, n, w: usual(c, n, w + 1)),
    "cond and uncond are swapped": lesson(lambda c, n, w: usual(n, c, w)),
    "guidance starts from the guess without a label": lesson(lambda c, n, w: c + w * (c - n)),
    "the scale is not used in the target": lesson(lambda c, n, w: c),
    "the guess without a label is left out": lesson(lambda c, n, w: w * c),
    "u itself is the scale": lesson(usual, lambda u, low, high: u),
    "u is added to low: it is a share of the way to high": lesson(usual, lambda u, low, high: low + u),
    "the scale starts at 0, not at low": lesson(usual, lambda u, low, high: high * u),
    "the scale may pass high: the span is high - low": lesson(usual, lambda u, low, high: low + high * u),
    "label 0 means something: without a label is `null`": lambda model, x_t, t, y, null, *rest: lesson(usual)(
        model, x_t, t, y, torch.zeros_like(null), *rest
    ),
    "the scale grows by a factor; it grows along a line": lesson(usual, lambda u, low, high: low * (high / low) ** u),
    "u is told, not the scale": lambda *args: (lesson(usual)(*args)[0], args[5]),
    "low is not added: the scale runs from 0 to high - low": lesson(usual, lambda u, low, high: (high - low) * u),
    "one scale for all, in the middle": lesson(usual, lambda u, low, high: (low + high) / 2 + 0 * u),
    "the scale is rounded to a whole number": lesson(usual, lambda u, low, high: (low + (high - low) * u).round()),
    "the scale times the guess with a label, without the difference": lesson(lambda c, n, w: n + w * c),
    "the two guesses are added, not subtracted": lesson(lambda c, n, w: n + w * (c + n)),
    "low and high are swapped: the scale runs from high down to low": lesson(
        usual, lambda u, low, high: low + (high - low) * (1 - u)
    ),
    "the two results are in the wrong order: the target comes first": swapped,
}


def lessons(seed=0):
    for case in varied(seed=seed):
        low = case.number(0.5, 1.5)
        yield (
            labelled,
            case.normal(),
            case.uniform(0.1, 1.0, case.batch),
            case.integers(0, 4, case.batch),
            torch.tensor([7]),
            case.uniform(0.0, 1.0, case.batch),
            low,
            low + case.number(2.0, 5.0),
        )


@pytest.mark.exercise("E10.4", points=2)
def test_each_example_has_a_scale_of_its_own(guided_lesson):
    agree(
        guided_lesson,
        lesson(lambda cond, uncond, w: (1 - w) * uncond + w * cond),
        lessons(),
        says="The target is guidance at a scale between low and high, and the scale is what the student is told.",
        mistakes=LESSON_SLIPS,
        names=("target", "scale"),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E10.4", points=1)
def test_asks_for_each_guess_once(guided_lesson):
    for model, x_t, *rest in lessons(seed=1):
        counted = Counted(model, limit=40)
        guided_lesson(counted, x_t, *rest)
        rows = sum(len(args[0]) for args, _ in counted.seen)
        expect(
            rows,
            2 * len(x_t),
            says="Each example needs two guesses, one with its label and one without, in one or two calls.",
            mistakes={
                "a guess is asked for twice": 3 * len(x_t),
                "only one guess is asked for": len(x_t),
                "both guesses are asked for twice": 4 * len(x_t),
            },
        )
        assert counted.calls <= 2, f"all examples in one call: the model was called {counted.calls} times"


# ---- E10.5 ---------------------------------------------------------------------------------------------------------


def steady(x, t):
    """A network that never answers 0 and depends on x and t."""
    return torch.cos(x) + 2 + wide(t, x)


def by_regression(net, schedule, x, t, spread):
    """The best linear guess of x0, and the network times the deviation that it leaves: from variances."""
    alpha, sigma = at(schedule, t, x)
    variance = alpha**2 * spread**2 + sigma**2
    slope = alpha * spread**2 / variance
    rest = ((1 - slope * alpha) ** 2 * spread**2 + slope**2 * sigma**2).clamp(min=0).sqrt()  # Var(x0 - slope x_t)
    return slope * x + rest * net(x / variance.sqrt(), t)


def preconditioned(skip, out, into=lambda alpha, sigma, spread, r: 1 / r):
    """A function c_skip x + c_out net(c_in x): the usual slips are other factors."""

    def f(net, schedule, x, t, spread):
        alpha, sigma = at(schedule, t, x)
        r = (alpha**2 * spread**2 + sigma**2).sqrt()
        return skip(alpha, sigma, spread, r) * x + out(alpha, sigma, spread, r) * net(
            into(alpha, sigma, spread, r) * x, t
        )

    return f


def with_deviation(r_of):
    """The usual factors with another r, r_of(alpha, sigma, spread)."""
    return preconditioned(
        lambda a, s, d, r: a * d**2 / r_of(a, s, d) ** 2,
        lambda a, s, d, r: s * d / r_of(a, s, d),
        lambda a, s, d, r: 1 / r_of(a, s, d),
    )


def right_skip(alpha, sigma, spread, r):
    return alpha * spread**2 / r**2


def right_out(alpha, sigma, spread, r):
    return sigma * spread / r


def at_r(schedule, x, t, spread):
    """1 / r."""
    alpha, sigma = at(schedule, t, x)
    return (alpha**2 * spread**2 + sigma**2) ** -0.5


def forgetful(net, schedule, x, t, spread):
    """r^2 = spread^2 + sigma^2."""
    alpha, sigma = at(schedule, t, x)
    r = (spread**2 + sigma**2).sqrt()
    return alpha * spread**2 / r**2 * x + sigma * spread / r * net(x / r, t)


CONSISTENCY_SLIPS = {
    "the network's answer is added whole: at t = 0 it must count for nothing": preconditioned(
        right_skip, lambda a, s, d, r: torch.ones_like(a)
    ),
    "the network alone: nothing is handed through": preconditioned(lambda a, s, d, r: 0 * a, right_out),
    "x is handed through whole at every t": preconditioned(lambda a, s, d, r: torch.ones_like(a), right_out),
    "c_skip is not divided by the variance of x_t": preconditioned(lambda a, s, d, r: a * d**2, right_out),
    "c_skip is divided by a standard deviation": preconditioned(lambda a, s, d, r: a * d**2 / r, right_out),
    "c_skip is alpha d / r: that is the correlation of x0 and x_t": preconditioned(
        lambda a, s, d, r: a * d / r, right_out
    ),
    "the factors of d = 1, alpha and sigma, whatever the spread": preconditioned(
        lambda a, s, d, r: a, lambda a, s, d, r: s
    ),
    "r is the variance: take its root": preconditioned(
        lambda a, s, d, r: a * d**2 / r**4, lambda a, s, d, r: s * d / r**2, lambda a, s, d, r: 1 / r**2
    ),
    "r is the variance: take its root, except in c_skip": preconditioned(
        right_skip, lambda a, s, d, r: s * d / r**2, lambda a, s, d, r: 1 / r**2
    ),
    "alpha is forgotten: c_skip and c_out are those of x_t = x0 + sigma eps": preconditioned(
        lambda a, s, d, r: d**2 / (s**2 + d**2), lambda a, s, d, r: s * d / (s**2 + d**2) ** 0.5
    ),
    "alpha is forgotten: all three factors are those of x_t = x0 + sigma eps": preconditioned(
        lambda a, s, d, r: d**2 / (s**2 + d**2),
        lambda a, s, d, r: s * d / (s**2 + d**2) ** 0.5,
        lambda a, s, d, r: 1 / (s**2 + d**2) ** 0.5,
    ),
    "alpha is forgotten in c_skip": preconditioned(lambda a, s, d, r: d**2 / r**2, right_out),
    "c_out is a variance: take its root": preconditioned(right_skip, lambda a, s, d, r: (s * d / r) ** 2),
    "c_out is not divided by r": preconditioned(right_skip, lambda a, s, d, r: s * d),
    "spread is forgotten in c_out": preconditioned(right_skip, lambda a, s, d, r: s / r),
    "the network is not shown x / r": preconditioned(right_skip, right_out, lambda a, s, d, r: torch.ones_like(a)),
    "the network is shown x / r^2": preconditioned(right_skip, right_out, lambda a, s, d, r: 1 / r**2),
    "the network is shown x r": preconditioned(right_skip, right_out, lambda a, s, d, r: r),
    "c_out is divided by the variance, not by its root": preconditioned(right_skip, lambda a, s, d, r: s * d / r**2),
    "c_out is d / r: at t = 0 the network must count for nothing": preconditioned(right_skip, lambda a, s, d, r: d / r),
    "spread is forgotten in c_skip": preconditioned(lambda a, s, d, r: a / r**2, right_out),
    "spread is not squared in c_skip": preconditioned(lambda a, s, d, r: a * d / r**2, right_out),
    "alpha is squared in c_skip": preconditioned(lambda a, s, d, r: a**2 * d**2 / r**2, right_out),
    "spread is forgotten in r": with_deviation(lambda a, s, d: (a**2 + s**2) ** 0.5),
    "spread is not squared in r": with_deviation(lambda a, s, d: (a**2 * d + s**2) ** 0.5),
    "r adds standard deviations: variances add": with_deviation(lambda a, s, d: a * d + s),
    "the network's answer is subtracted": preconditioned(right_skip, lambda a, s, d, r: -s * d / r),
    "alpha is forgotten in r": forgetful,
    "x and the network's answer are mixed by t, not by variances": lambda net, schedule, x, t, spread: (
        (1 - wide(t, x)) * x + wide(t, x) * net(x * at_r(schedule, x, t, spread), t)
    ),
    "the network is asked at time 0, not at t": lambda net, schedule, x, t, spread: preconditioned(
        right_skip, right_out
    )(lambda x, _: net(x, torch.zeros_like(t)), schedule, x, t, spread),
    "spread is taken for a variance": preconditioned(
        lambda a, s, d, r: a * d / (a**2 * d + s**2),
        lambda a, s, d, r: s * (d / (a**2 * d + s**2)) ** 0.5,
        lambda a, s, d, r: 1 / (a**2 * d + s**2) ** 0.5,
    ),
}


@pytest.mark.exercise("E10.5", points=1)
def test_answers_x_at_the_data(consistency_function):
    agree(
        consistency_function,
        lambda net, schedule, x, t, spread: x,
        [
            (steady, SCHEDULES[k % 2], case.normal(), torch.zeros(case.batch, dtype=case.dtype), 0.5 + 0.3 * k)
            for k, case in enumerate(varied())
        ],
        says="f(x, 0) must be x, whatever the network answers.",
        mistakes=CONSISTENCY_SLIPS,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E10.5", points=2)
def test_leaves_the_network_what_it_cannot_know(consistency_function):
    agree(
        consistency_function,
        by_regression,
        [
            (steady, SCHEDULES[k % 3], case.normal(), case.uniform(0.2, 1.0, case.batch), 0.4 + 0.3 * k)
            for k, case in enumerate(varied(seed=1))
        ],
        says="c_skip x is the mean of x0 given x_t for data N(0, spread^2), and c_out the deviation around it.",
        mistakes=CONSISTENCY_SLIPS,
        rtol=1e-3,
        atol=1e-4,
    )
    net, (case,) = Counted(steady), varied(((3, 2),), seed=2)
    consistency_function(net, cosine(), case.normal(), case.uniform(0.2, 0.9, 3), 0.7)
    expect(net.calls, 1, says="One evaluation of the network is the whole cost of a draw: call it once.",
           mistakes={"the network is asked twice": 2})  # fmt: skip


# ---- E10.6 ---------------------------------------------------------------------------------------------------------

REAL = Mixture(torch.tensor([[-1.5, 0.0], [1.0, 1.0]]), torch.tensor([0.3, 0.1]), torch.tensor([0.3, 0.7]))
FAKE = Mixture(torch.tensor([[0.0, 0.5], [0.5, -1.0]]), 0.4)
COUNT, PLANE = (5, 1, 7, 2), (torch.float32, torch.float64)


def score_of(data, schedule):
    exact = data.denoiser(schedule)
    return lambda x, t: exact.score(x, t)


def by_autograd(real, fake, schedule, x, t, noise):
    """Minus the gradient, in x, of log p_fake(x_t) - log p_real(x_t): the densities are differentiated, not given."""
    alpha, sigma = at(schedule, t, x)
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        x_t = alpha * leaf + sigma * noise
        gap = FAKE.denoiser(schedule).log_prob(x_t, t) - REAL.denoiser(schedule).log_prob(x_t, t)
        return -torch.autograd.grad(gap.sum(), leaf)[0]


def moving(how):
    """how(real, fake, x, x_t, t, alpha, sigma): the usual slips."""

    def move(real, fake, schedule, x, t, noise):
        alpha, sigma = at(schedule, t, x)
        return how(real, fake, x, alpha * x + sigma * noise, t, alpha, sigma)

    return move


MOVE_SLIPS = {
    "the samples' score less the data's: they would flee from the data": moving(
        lambda real, fake, x, x_t, t, a, s: a * (fake(x_t, t) - real(x_t, t))
    ),
    "alpha is forgotten: x_t moves by alpha where x moves by 1": moving(
        lambda real, fake, x, x_t, t, a, s: real(x_t, t) - fake(x_t, t)
    ),
    "the scores are asked at x, without noise": moving(
        lambda real, fake, x, x_t, t, a, s: a * (real(x, t) - fake(x, t))
    ),
    "the samples' own score is left out: all would end on a peak": moving(
        lambda real, fake, x, x_t, t, a, s: a * real(x_t, t)
    ),
    "the two scores are added, not subtracted": moving(
        lambda real, fake, x, x_t, t, a, s: a * (real(x_t, t) + fake(x_t, t))
    ),
    "alpha twice": moving(lambda real, fake, x, x_t, t, a, s: a**2 * (real(x_t, t) - fake(x_t, t))),
    "divided by alpha": moving(lambda real, fake, x, x_t, t, a, s: (real(x_t, t) - fake(x_t, t)) / a),
    "sigma where alpha belongs": moving(lambda real, fake, x, x_t, t, a, s: s * (real(x_t, t) - fake(x_t, t))),
    "one score at x_t, the other at x": moving(lambda real, fake, x, x_t, t, a, s: a * (real(x_t, t) - fake(x, t))),
    "the data's score is left out": moving(lambda real, fake, x, x_t, t, a, s: -a * fake(x_t, t)),
    "alpha times the data's score alone: it belongs to the difference": moving(
        lambda real, fake, x, x_t, t, a, s: a * real(x_t, t) - fake(x_t, t)
    ),
    "divided by sigma^2: scores are no noise": moving(
        lambda real, fake, x, x_t, t, a, s: a / s**2 * (real(x_t, t) - fake(x_t, t))
    ),
    "the scores are asked at time 0, not at t": moving(
        lambda real, fake, x, x_t, t, a, s: a * (real(x_t, 0 * t + 1e-3) - fake(x_t, 0 * t + 1e-3))
    ),
    "the mean over the batch for every example": moving(
        lambda real, fake, x, x_t, t, a, s: (a * (real(x_t, t) - fake(x_t, t))).mean(0, keepdim=True).expand_as(x)
    ),
    "the direction has length 1: its length is asked for, too": moving(
        lambda real, fake, x, x_t, t, a, s: torch.nn.functional.normalize(real(x_t, t) - fake(x_t, t), dim=1)
    ),
    "the noise is not multiplied by sigma": lambda real, fake, schedule, x, t, noise: (
        at(schedule, t, x)[0]
        * (real(at(schedule, t, x)[0] * x + noise, t) - fake(at(schedule, t, x)[0] * x + noise, t))
    ),
    "x is not multiplied by alpha before the noise comes": lambda real, fake, schedule, x, t, noise: (
        at(schedule, t, x)[0]
        * (real(x + at(schedule, t, x)[1] * noise, t) - fake(x + at(schedule, t, x)[1] * noise, t))
    ),
    "x itself is moved and returned: the direction alone is asked for": moving(
        lambda real, fake, x, x_t, t, a, s: x + a * (real(x_t, t) - fake(x_t, t))
    ),
}


def places(seed=0):
    for k, (n, dtype) in enumerate(zip(COUNT, PLANE * 2)):
        (case,) = varied(shapes=((n, 2),), dtypes=(dtype,), seed=seed + k)
        schedule = SCHEDULES[k % 2]
        scores = score_of(REAL, schedule), score_of(FAKE, schedule)
        yield *scores, schedule, case.normal(), case.uniform(0.2, 0.9, n), case.normal()


@pytest.mark.exercise("E10.6", points=2)
def test_is_minus_the_gradient_of_the_log_ratio(matching_move):
    agree(
        matching_move,
        by_autograd,
        places(),
        says="Samples must move so that log p_samples(x_t) - log p_data(x_t) falls fastest, as a function of x.",
        mistakes=MOVE_SLIPS,
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.exercise("E10.6", points=1)
def test_stands_still_where_the_densities_agree(matching_move):
    agree(
        matching_move,
        lambda real, fake, schedule, x, t, noise: torch.zeros_like(x),
        [(real, real, *rest) for real, _, *rest in places(seed=10)],
        says="Samples that have the data's density already must not move.",
        mistakes=MOVE_SLIPS,
        atol=1e-5,
    )


# ---- E10.7 ---------------------------------------------------------------------------------------------------------


def taught(noise):
    """What the teacher of 16 steps draws: two lumps a coordinate, which a step into the mean would merge."""
    return torch.tanh(2 * noise) + 0.1 * noise


def pair(draws):
    """draw(noise, steps) as the docstring has it: other numbers of steps and other shapes raise ValueError."""

    def draw(noise, steps):
        if noise.ndim != 2 or noise.shape[1] != 2 or steps not in (1, 2, 4, 16):
            raise ValueError(f"draw takes noise (batch, 2) and 1, 2, 4 or 16 steps, got {tuple(noise.shape)}, {steps}")
        return draws(noise, steps)

    return draw


def student(off=0.0, change=None):
    """A student that misses its teacher by `off`; change(noise, steps) replaces its draws."""

    def draws(noise, steps):
        if steps == 16:
            return taught(noise)
        if change is not None:
            return change(noise, steps)
        return taught(noise) + off * torch.sin(9 * noise + steps)

    return pair(draws)


@pair
def both_ignore(noise, steps):
    return torch.full_like(noise, 0.3)


@pair
def both_ignore_one(noise, steps):
    x = taught(noise)
    return torch.cat([x[:, :1] * 0 + 0.2, x[:, 1:]], 1)


@pair
def mixing(noise, steps):
    """A teacher and students that subtract the batch's mean."""
    x = taught(noise)
    return x - 0.8 * x.mean(0, keepdim=True)


def off_in(axis, noise, steps):
    """Right but for one coordinate, which is off by 0.6 one way or the other."""
    x = taught(noise)
    x[:, axis] += 0.6 * torch.where(torch.sin(9 * noise[:, axis] + steps) > 0, 1.0, -1.0)
    return x


RIGHT_STUDENTS = {
    "a student that draws exactly what its teacher does": student(),
    "a student that misses its teacher by 0.03": student(0.04),
    "a student that misses its teacher by 0.05": student(0.07),
    "a student that misses by 0.08, most of it in a few points": student(
        change=lambda z, n: taught(z) + 0.25 * (torch.sin(9 * z + n) > 0.96)
    ),
}
EXACT, *INEXACT, IN_A_FEW = RIGHT_STUDENTS
STRICTER = {
    IN_A_FEW: "Allow a root mean square of 0.1 over all points, and do not judge the worst or a single one.",
    (
        *INEXACT,
        IN_A_FEW,
    ): "A student is not exact: allow a root mean square of 0.1 or more, over all points and not for "
    "the worst or for a single one.",
}
TAKES = {
    "A coordinate has a standard deviation above 0.5, and nobody says which one.": pair(lambda z, n: z),
}
WRONG_STUDENTS = {
    "ignores the noise: one picture, the mean": student(change=lambda z, n: torch.zeros_like(z)),
    "is blurred: halfway to the mean": student(change=lambda z, n: 0.5 * taught(z)),
    "draws other pictures from the same noise, its density is right": student(change=lambda z, n: taught(-z)),
    "draws the pictures of a batch in another order": student(change=lambda z, n: taught(z.roll(1, 0))),
    "has forgotten 4 steps": student(change=lambda z, n: taught(z) if n < 4 else taught(z).flip(1) * 0.3),
    "misses its teacher by 0.26 everywhere": student(
        change=lambda z, n: taught(z) + 0.26 * torch.where(torch.sin(9 * z + n) > 0, 1.0, -1.0)
    ),
    "misses by 0.35, all of it in a quarter of the points": student(
        change=lambda z, n: taught(z) + 0.7 * (torch.sin(9 * z + n) > 0.707)
    ),
    "misses by 0.31, all of it in one number of 13": student(
        change=lambda z, n: taught(z) + 1.1 * (torch.sin(9 * z + n) > 0.97)
    ),
    "swaps the two coordinates": student(change=lambda z, n: taught(z).flip(1)),
    "misses its teacher in the first coordinate": student(change=lambda z, n: off_in(0, z, n)),
    "misses its teacher in the second coordinate": student(change=lambda z, n: off_in(1, z, n)),
    "misses its teacher by 0.55 at 4 steps alone": student(
        change=lambda z, n: taught(z) + 0.55 * (n == 4) * torch.where(torch.sin(9 * z) > 0, 1.0, -1.0)
    ),
    "mixes the examples at 2 and 4 steps, its teacher does not": student(
        change=lambda z, n: taught(z) - 0.8 * (n > 1) * taught(z).mean(0, keepdim=True)
    ),
    "fails at 1 step": student(change=lambda z, n: taught(z) if n > 1 else 0.2 * taught(z)),
    "fails at 2 steps": student(change=lambda z, n: taught(z) if n != 2 else -taught(z)),
    "agrees with a teacher that ignores the noise too": both_ignore,
    "agrees with a teacher whose first coordinate ignores the noise": both_ignore_one,
    "mixes the examples of a batch, as its teacher does": mixing,
}
CRUDE = (
    "ignores the noise: one picture, the mean",
    "is blurred: halfway to the mean",
    "draws other pictures from the same noise, its density is right",
)


@pytest.mark.exercise("E10.7", points=2)
def test_accepts_right_students_and_rejects_the_crude_ones(test_student):
    run_against(
        test_student, RIGHT_STUDENTS, {name: WRONG_STUDENTS[name] for name in CRUDE}, stricter=STRICTER, takes=TAKES
    )


@pytest.mark.exercise("E10.7", points=3)
def test_rejects_the_subtle_students_too(test_student):
    run_against(test_student, RIGHT_STUDENTS, WRONG_STUDENTS, seed=1, stricter=STRICTER, takes=TAKES)
