"""Slips of a reader of 03 in walks, clean guesses and tests of fields, by exercise, with the names that are printed."""

import torch

SLIPS = {}


def scaled(step, sigma, sigmas):
    return step * (sigma / sigmas[-1]) ** 2


def walking(
    size=scaled,
    levels=lambda sigmas: sigmas,
    turns=lambda repeats: range(repeats),
    move=lambda x, g, h, step, sigma, z: x + h * g(x, sigma) + (2 * h) ** 0.5 * z(x),
):
    """The walk down the ladder, with its parts as arguments."""

    def anneal(score, x, sigmas, step, repeats, draw):
        for sigma in levels(sigmas):
            h = size(step, sigma, sigmas)
            for _ in turns(repeats):
                x = move(x, score, h, step, sigma, draw)
                yield x

    return anneal


def kept(choose):
    """The right walk, of which choose(start, items, repeats) is handed out."""

    def anneal(score, x, sigmas, step, repeats, draw):
        yield from choose(x, list(walking()(score, x, sigmas, step, repeats, draw)), repeats)

    return anneal


def before(score, x, sigmas, step, repeats, draw):
    for y in walking()(score, x, sigmas, step, repeats, draw):
        yield x
        x = y


def held(noise=False, slope=False, restart=False):
    """One noise or one score for a level, or every level from the start."""

    def anneal(score, x, sigmas, step, repeats, draw):
        start = x
        for sigma in sigmas:
            x, h = start if restart else x, scaled(step, sigma, sigmas)
            z, g = draw(x) if noise else None, score(x, sigma) if slope else None
            for _ in range(repeats):
                x = x + h * (g if slope else score(x, sigma)) + (2 * h) ** 0.5 * (z if noise else draw(x))
                yield x

    return anneal


def compounding(score, x, sigmas, step, repeats, draw):
    for sigma in sigmas:
        step = scaled(step, sigma, sigmas)
        for _ in range(repeats):
            x = x + step * score(x, sigma) + (2 * step) ** 0.5 * draw(x)
            yield x


def in_turns(score, x, sigmas, step, repeats, draw):
    for _ in range(repeats):
        for sigma in sigmas:
            h = scaled(step, sigma, sigmas)
            x = x + h * score(x, sigma) + (2 * h) ** 0.5 * draw(x)
            yield x


def walking_in_place(score, x, sigmas, step, repeats, draw):
    for sigma in sigmas:
        h = scaled(step, sigma, sigmas)
        for _ in range(repeats):
            x += h * score(x, sigma) + (2 * h) ** 0.5 * draw(x)
            yield x


def still_at_the_end(score, x, sigmas, step, repeats, draw):
    for i, sigma in enumerate(sigmas):
        h = scaled(step, sigma, sigmas)
        for k in range(repeats):
            last = i == len(sigmas) - 1 and k == repeats - 1
            x = x + h * score(x, sigma) + (0 if last else (2 * h) ** 0.5) * draw(x)
            yield x


SLIPS["E3.4"] = {
    "not squared": walking(lambda h, s, all_: h * s / all_[-1]),
    "over the first": walking(lambda h, s, all_: h * (s / all_[0]) ** 2),
    "upside down": walking(lambda h, s, all_: h * (all_[-1] / s) ** 2),
    "one step size": walking(lambda h, s, all_: h),
    "times sigma^2": walking(lambda h, s, all_: h * s**2),
    "the level before": walking(lambda h, s, all_: scaled(h, all_[max(all_.index(s) - 1, 0)], all_)),
    "sorted": walking(levels=sorted),
    "no last level": walking(levels=lambda sigmas: sigmas[:-1]),
    "no first level": walking(levels=lambda sigmas: sigmas[1:]),
    "one too few": walking(turns=lambda repeats: range(1, repeats)),
    "one too many": walking(turns=lambda repeats: range(repeats + 1)),
    "one of each level": kept(lambda start, items, repeats: items[repeats - 1 :: repeats]),
    "the last alone": kept(lambda start, items, repeats: items[-1:]),
    "with the start": kept(lambda start, items, repeats: [start, *items]),
    "all at once": kept(lambda start, items, repeats: items),
    "before the update": before,
    "a list": lambda *given: list(walking()(*given)),
    "one noise a level": held(noise=True),
    "one score a level": held(slope=True),
    "from the start again": held(restart=True),
    "the base step in the noise": walking(move=lambda x, g, h, e, s, z: x + h * g(x, s) + (2 * e) ** 0.5 * z(x)),
    "the base step in the drift": walking(move=lambda x, g, h, e, s, z: x + e * g(x, s) + (2 * h) ** 0.5 * z(x)),
    "compounding": compounding,
    "in turns": in_turns,
    "in place": walking_in_place,
    "downhill": walking(move=lambda x, g, h, e, s, z: x - h * g(x, s) + (2 * h) ** 0.5 * z(x)),
    "still at the end": still_at_the_end,
    "noise times sigma": walking(move=lambda x, g, h, e, s, z: x + h * g(x, s) + (2 * h) ** 0.5 * s * z(x)),
    "its own noise": walking(move=lambda x, g, h, e, s, z: x + h * g(x, s) + (2 * h) ** 0.5 * torch.randn_like(x)),
    "the first point's noise": walking(move=lambda x, g, h, e, s, z: x + h * g(x, s) + (2 * h) ** 0.5 * z(x)[:1]),
    "asked with a vector": walking(
        move=lambda x, g, h, e, s, z: x + h * g(x, torch.full((len(x),), s)) + (2 * h) ** 0.5 * z(x)
    ),
}


def guess(formula):
    return lambda schedule, x, t, score: formula(x, score, *schedule(t, x))


def tweedie(x, g, a, s):
    return (x + s**2 * g) / a


def guess_in_place(schedule, x, t, score):
    alpha, sigma = schedule(t, x)
    x += sigma**2 * score
    return x / alpha


def guess_by_the_clock(schedule, x, t, score):
    alpha, _ = schedule(t, x)
    return (x + t.view(-1, *[1] * (x.ndim - 1)) ** 2 * score) / alpha


def guess_of_rows(schedule, x, t, score):
    alpha, sigma = (each.reshape(len(x), 1) for each in schedule(t, x))
    return (x + sigma**2 * score) / alpha


SLIPS["E3.5"] = {
    "minus": guess(lambda x, g, a, s: (x - s**2 * g) / a),
    "sigma": guess(lambda x, g, a, s: (x + s * g) / a),
    "the score as noise": guess(lambda x, g, a, s: (x - s * g) / a),
    "no alpha": guess(lambda x, g, a, s: x + s**2 * g),
    "alpha below x": guess(lambda x, g, a, s: x / a + s**2 * g),
    "alpha below the score": guess(lambda x, g, a, s: x + s**2 * g / a),
    "times alpha": guess(lambda x, g, a, s: (x + s**2 * g) * a),
    "alpha^2": guess(lambda x, g, a, s: (x + s**2 * g) / a**2),
    "the wrong way round": guess(lambda x, g, s, a: (x + s**2 * g) / a),
    "the clock for sigma": guess_by_the_clock,
    "1 - alpha^2": guess(lambda x, g, a, s: (x + (1 - a**2) * g) / a),
    "sqrt(1 - sigma^2)": guess(lambda x, g, a, s: (x + s**2 * g) / (1 - s**2).sqrt()),
    "not divided by a small alpha": guess(lambda x, g, a, s: torch.where(a < 0.5, x + s**2 * g, tweedie(x, g, a, s))),
    "at least 0.1": guess(lambda x, g, a, s: (x + s**2 * g) / a.clamp(min=0.1)),
    "a small number below": guess(lambda x, g, a, s: (x + s**2 * g) / (a + 1e-3)),
    "clipped": guess(lambda x, g, a, s: tweedie(x, g, a, s).clamp(-1, 1)),
    "in place": guess_in_place,
    "the score in place": guess(lambda x, g, a, s: g.mul_(s**2).add_(x) / a),
    "divided by sigma^2": guess(lambda x, g, a, s: (x + g / s**2) / a),
    "2 sigma": guess(lambda x, g, a, s: (x + 2 * s * g) / a),
    "2 sigma^2": guess(lambda x, g, a, s: (x + 2 * s**2 * g) / a),
    "the first time": lambda schedule, x, t, g: guess(tweedie)(schedule, x, t[:1].expand_as(t), g),
    "the mean time": lambda schedule, x, t, g: guess(tweedie)(schedule, x, t.mean().expand_as(t), g),
    "the noise": guess(lambda x, g, a, s: -s * g),
    "rows alone": guess_of_rows,
    "float16": guess(lambda x, g, a, s: tweedie(x, g, a, s).half().to(x.dtype)),
    "float64": guess(lambda x, g, a, s: tweedie(x, g, a, s).double()),
    "no return": guess(lambda x, g, a, s: None),
}


def points(n=2000, reach=3.0):
    generator = torch.Generator().manual_seed(0)
    return reach * (2 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 1)


def crossed(line):
    return torch.cartesian_prod(line, line)


def asserting(holds, at=points):
    """A test that asserts holds(slope of log p by autograd, score, log_p) at these points."""

    def test_score_field(field):
        x = at().requires_grad_()
        log_p, score = field(x)
        assert holds(torch.autograd.grad(log_p.sum(), x)[0], score, log_p)

    return test_score_field


def near(a, b, tolerance=1e-3):
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def agrees(slope, score, log_p):
    return near(slope, score)


def on_lines(*lines):
    """Points on straight lines through 0, in these directions."""
    along = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    return lambda: torch.cat([along * torch.tensor(line, dtype=torch.float64) for line in lines])


def by_differences(h, dtype=torch.float64, back=1.0):
    def test_score_field(field):
        x = points(200).to(dtype)
        for i in range(2):
            e = h * torch.eye(2, dtype=dtype)[i]
            slope = (field(x + e)[0] - field(x - back * e)[0]) / (h * (1 + back))
            assert near(slope, field(x)[1][:, i], 1e-2)

    return test_score_field


def answered(field):
    x = points().requires_grad_()
    log_p, score = field(x)
    return near(torch.autograd.grad(log_p.sum(), x)[0], score)


def printed(field):
    try:
        asserting(agrees)(field)
    except AssertionError:
        print("wrong")


def of_p(field):
    x = points().requires_grad_()
    log_p, score = field(x)
    assert near(torch.autograd.grad(log_p.exp().sum(), x)[0], score)


def fails(field):
    raise AssertionError("no")


SLIPS["E3.6"] = {
    "one point": asserting(agrees, lambda: torch.tensor([[0.5, -0.3]])),
    "normal points": asserting(agrees, lambda: points(200, 1.0) * 2),
    "the unit square": asserting(agrees, lambda: points(200, 1.0).abs()),
    "the first coordinate": asserting(lambda a, b, log_p: near(a[:, 0], b[:, 0])),
    "the second coordinate": asserting(lambda a, b, log_p: near(a[:, 1], b[:, 1])),
    "the shape": asserting(lambda a, b, log_p: a.shape == b.shape),
    "the direction": asserting(lambda a, b, log_p: (torch.cosine_similarity(a, b) > 0.99).all()),
    "the length": asserting(lambda a, b, log_p: near(a.norm(dim=1), b.norm(dim=1))),
    "the sum": asserting(lambda a, b, log_p: near(a.sum(1), b.sum(1))),
    "the mean over points": asserting(lambda a, b, log_p: near(a.mean(0), b.mean(0))),
    "a tuple": asserting(lambda a, b, log_p: (near(a, b), "wrong")),
    "a returned bool": answered,
    "any": asserting(lambda a, b, log_p: torch.isclose(a, b).any()),
    "too loose": asserting(lambda a, b, log_p: near(a, b, 0.2)),
    "a mean error": asserting(lambda a, b, log_p: (a - b).abs().mean() < 0.1),
    "normalised": asserting(lambda a, b, log_p: near(a, b) and abs(log_p.detach().exp().mean() * 36 - 1) < 0.1),
    "a long one-sided step": by_differences(0.1, back=0.0),
    "a short step in float32": by_differences(1e-5, torch.float32),
    "equal": asserting(lambda a, b, log_p: (a == b).all()),
    "the gradient of p": of_p,
    "minus": asserting(lambda a, b, log_p: near(-a, b)),
    "three points": asserting(agrees, lambda: points(3)),
    "a wide square": asserting(agrees, lambda: points(2000, 10.0)),
    "the diagonal": asserting(agrees, on_lines([1.0, 1.0])),
    "the axes": asserting(agrees, on_lines([1.0, 0.0], [0.0, 1.0])),
    "a coarse lattice": asserting(agrees, lambda: crossed(torch.linspace(-3, 3, 4, dtype=torch.float64))),
    "a relative error": asserting(lambda a, b, log_p: ((a - b).abs() / b.abs() < 1e-6).all()),
    "the error of all": asserting(lambda a, b, log_p: (a - b).norm() / a.norm() < 0.06),
    "printed": printed,
    "always": fails,
    "never": lambda field: None,
}


NAMED = {
    "E3.4": {
        "not squared": ("the ratio of the sigmas is not squared",),
        "over the first": ("relative to the first sigma, not the last",),
        "upside down": ("the ratio of the sigmas is upside down",),
        "one step size": ("the same step at every level",),
        "times sigma^2": ("step * sigma^2, not divided by the last sigma",),
        "the level before": ("the step size is that of the level before",),
        "sorted": ("the ladder is upside down",),
        "no last level": ("the last level is left out",),
        "no first level": ("the first level is left out",),
        "one too few": ("one update too few at each level",),
        "one too many": ("one update too many at each level",),
        "one of each level": ("yields only the last x of each level",),
        "the last alone": ("yields only the last x of all",),
        "with the start": ("yields the start, too",),
        "before the update": ("yields x before the update, not after it",),
        "one noise a level": ("the same noise for a whole level",),
        "one score a level": ("the score is asked once for a whole level",),
        "from the start again": ("every level starts again from the first x",),
        "the base step in the noise": ("the noise uses `step`, not the level's step size",),
        "the base step in the drift": ("the drift uses `step`, not the level's step size",),
        "compounding": ("`step` itself is changed at each level: the factors pile up",),
        "in turns": ("the levels take turns",),
        "downhill": ("walks downhill",),
        "still at the end": ("the last update has no noise",),
        "noise times sigma": ("the noise is multiplied by sigma, too",),
        "the first point's noise": ("one noise for all points",),
    },
    "E3.5": {
        "minus": ("the sign: the score points to the data",),
        "sigma": ("sigma instead of sigma^2",),
        "the score as noise": ("the score is taken for the noise",),
        "no alpha": ("not divided by alpha",),
        "alpha below x": ("x is divided by alpha, the score is not",),
        "alpha below the score": ("the score is divided by alpha, x is not",),
        "times alpha": ("multiplied by alpha instead of divided",),
        "alpha^2": ("divided by alpha^2",),
        "the wrong way round": ("alpha and sigma are swapped",),
        "the clock for sigma": ("`score` has the wrong factor",),
        "1 - alpha^2": ("sigma^2 is taken for 1 - alpha^2, which holds only where alpha^2 + sigma^2 = 1",),
        "sqrt(1 - sigma^2)": ("alpha is taken for sqrt(1 - sigma^2), which holds only where alpha^2 + sigma^2 = 1",),
        "not divided by a small alpha": ("the result has the wrong factor",),
        "at least 0.1": ("the result has the wrong factor",),
        "a small number below": ("the result has the wrong factor",),
        "clipped": ("the result is cut off at -1 and 1, or: the result is cut off",),
        "divided by sigma^2": ("the score is divided by sigma^2 instead of multiplied",),
        "2 sigma": ("`score` has the wrong factor",),
        "2 sigma^2": ("`score` has the wrong factor",),
        "the first time": ("one time for the whole batch",),
        "the mean time": ("`x` and `score` have the wrong factors",),
        "the noise": ("that is the noise, not the clean guess",),
    },
}
