"""Slips in notebook 10."""

import torch

from cs348k_diffusion.sampling import step


def ahead(formula):
    """2M with the guess formula(new, old, r's, t's, s's log-SNR)."""

    def two_m(schedule, x_t, new, old, r, t, s):
        before, now, after = schedule.log_snr(torch.tensor([r, t, s])).tolist()
        return step(schedule, x_t, formula(new, old, before, now, after), t, s)

    return two_m


def lesson(solve, middle_of=lambda t, s: (t + s) / 2):
    def answer(teacher, schedule, x_t, t, s):
        middle = middle_of(t, s)
        halfway = step(schedule, x_t, teacher(x_t, t), t, middle)
        x_s = step(schedule, halfway, teacher(halfway, middle), middle, s)
        return solve(x_s, x_t, *schedule(t, x_t), *schedule(s, x_t))

    return answer


def halving(next_n=lambda n: n // 2, entry=lambda n, student: (n, student), teach=lambda teacher, student: student,
            check=True):  # fmt: skip
    def halve(train, teacher, steps, end):
        counts = [steps]
        while counts[-1] > end and counts[-1] % 2 == 0:
            counts.append(counts[-1] // 2)
        if check and (counts[-1] != end or steps == end):
            raise ValueError(f"halving does not lead from {steps} steps to {end}")
        students = []
        for n in counts[1:]:
            student = train(teacher, n)
            students.append(entry(n, student))
            teacher = teach(teacher, student)
        return students

    return halve


def to_one(train, teacher, steps, end):
    return halving()(train, teacher, steps, 1)


def asks_the_number_in_floats(train, teacher, steps, end):
    return [(n / 1.0, student) for n, student in halving()(train, teacher, steps, end)]


def a_dictionary(train, teacher, steps, end):
    return dict(halving()(train, teacher, steps, end))


def telling(scale_of=lambda u, low, high: low + (high - low) * u, mix=lambda u, w, c: u + w * (c - u),
            told=lambda scale, each: scale, null_of=lambda null, y: null.expand(len(y))):  # fmt: skip
    def answer(model, x_t, t, y, null, u, low, high):
        scale = scale_of(u, low, high)
        cond, uncond = model(x_t, t, y), model(x_t, t, null_of(null, y))
        each = scale.view(-1, *(1,) * (x_t.ndim - 1))
        return mix(uncond, each, cond), told(scale, each)

    return answer


def consistent(skip, out, scaled=lambda x, r: x / r, r_of=lambda a, b, d: (a**2 * d**2 + b**2).sqrt()):
    def f(net, schedule, x, t, spread):
        a, b = schedule(t, x)
        r = r_of(a, b, spread)
        return skip(a, b, r, spread) * x + out(a, b, r, spread) * net(scaled(x, r), t)

    return f


def skip(a, b, r, d):
    return a * d**2 / r**2


def out(a, b, r, d):
    return b * d / r


def moving(formula, noised=lambda x, a, b, noise: a * x + b * noise):
    def move(real, fake, schedule, x, t, noise):
        a, b = schedule(t, x)
        x_t = noised(x, a, b, noise)
        return formula(real(x_t, t), fake(x_t, t), a, b)

    return move


def draw(n=200):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def student_shape(draw_):
    assert draw_(draw(), 1).shape == (200, 2)


def student_near(near):
    """A test that asks for all, but says in its own way what near is."""

    def test(draw_):
        noise = draw()
        for steps in (1, 2, 4):
            points = draw_(noise, steps)
            assert near(points - draw_(noise, 16))
            assert points.std(0).min() > 0.3
            assert (draw_(noise[:7], steps) - points[:7]).abs().max() < 0.05

    return test


def student_mean(draw_):
    noise = draw()
    for steps in (1, 2, 4):
        assert (draw_(noise, steps).mean(0) - draw_(noise, 16).mean(0)).abs().max() < 0.1


SLIPS = {
    "E10.1": {
        "added, not taken as a difference": ahead(
            lambda new, old, r, t, s: new + (s - t) / (2 * (t - r)) * (new + old)
        ),
        "the wrong sign": ahead(lambda new, old, r, t, s: new - (s - t) / (2 * (t - r)) * (new - old)),
        "the whole span": ahead(lambda new, old, r, t, s: new + (s - t) / (2 * (s - r)) * (new - old)),
    },
    "E10.2": {
        "a plus above": lesson(lambda x_s, x, a, b, c, d: (x_s + d / b * x) / (c - d / b * a)),
        "a plus below": lesson(lambda x_s, x, a, b, c, d: (x_s - d / b * x) / (c + d / b * a)),
        "not divided": lesson(lambda x_s, x, a, b, c, d: x_s - d / b * x),
    },
    "E10.3": {
        "always down to 1": to_one,
        "floats": asks_the_number_in_floats,
        "a dictionary": a_dictionary,
    },
    "E10.4": {
        "u alone": telling(lambda u, low, high: u),
        "low + u": telling(lambda u, low, high: low + u),
        "high - u": telling(lambda u, low, high: high - (high - low) * u),
    },
    "E10.5": {
        "alpha squared": consistent(lambda a, b, r, d: a**2 * d**2 / r**2, out),
        "d for d^2": consistent(lambda a, b, r, d: a * d / r**2, out),
        "a root too many": consistent(lambda a, b, r, d: a * d**2 / r, out),
    },
    "E10.6": {
        "a sum": moving(lambda real, fake, a, b: a * (real + fake)),
        "the root of alpha": moving(lambda real, fake, a, b: a.sqrt() * (real - fake)),
        "the noise level": moving(lambda real, fake, a, b: b**2 * (real - fake)),
    },
    "E10.7": {
        "a limit of 0.3": student_near(lambda gap: gap.square().mean().sqrt() < 0.3),
        "a mean square below 0.15": student_near(lambda gap: gap.square().mean() < 0.15),
        "only the shape": student_shape,
        "only the mean": student_mean,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E10.1": {
        "added, not taken as a difference": ("`old` has the wrong factor",),
        "the wrong sign": ("the line is read off backwards: new and old are swapped",),
        "the whole span": ("`new` and `old` have the wrong factors",),
    },
    "E10.2": {
        "a plus above": ("`x_t` has the wrong factor",),
        "a plus below": ("added where it is subtracted: alpha_s - sigma_s / sigma_t alpha_t",),
        "not divided": ("the result has the wrong factor",),
    },
    "E10.3": {
        "always down to 1": ("it halves down to 1, not to `end`",),
        "floats": ("wrong type",),
        "a dictionary": ("wrong result: got",),
    },
    "E10.4": {
        "u alone": ("u itself is the scale",),
        "low + u": ("u is added to low: it is a share of the way to high",),
        "high - u": ("low and high are swapped",),
    },
    "E10.5": {
        "alpha squared": ("alpha is squared in c_skip",),
        "d for d^2": ("spread is not squared in c_skip",),
        "a root too many": ("c_skip is divided by a standard deviation",),
    },
    "E10.6": {
        "a sum": ("the two scores are added, not subtracted",),
        "the root of alpha": ("the result has the wrong factor",),
        "the noise level": ("the result has the wrong factor",),
    },
    "E10.7": {
        "a limit of 0.3": ("misses its teacher by 0.26 everywhere",),
        "a mean square below 0.15": (
            "misses by 0.35, all of it in a quarter of the points; misses its teacher by 0.26 everywhere",
        ),
        "only the shape": ("It accepts",),
        "only the mean": ("It accepts",),
    },
}
