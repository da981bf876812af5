"""Checks of notebook 11: intervals of paired runs, how many runs, FD's bias, interactions, tuning, flaws, a claim."""

import functools
import math

import pytest
import torch

from cs348k_diffusion.exercises import Counted, Exercise, Wrong, agree, expect, generator, normals, varied
from cs348k_diffusion.exercises.framework.catalogue import FreeText
from cs348k_diffusion.exercises.framework.difference import agrees
from cs348k_diffusion.exercises.framework.forms import kind_of

EXERCISES = (
    Exercise(
        "E11.1",
        "paired_interval",
        "A paired bootstrap",
        hints=(
            "Run i of both methods had the same seed. Which one number per seed says how the two compare?",
            "Take the differences first, then draw them anew: row k of `picks` says which seeds are in sample k.",
            "differences[picks] has one row for each sample; its means along that row are the values whose quantiles "
            "0.025 and 0.975 you want.",
        ),
    ),
    Exercise(
        "E11.2",
        "runs_for",
        "How many runs?",
        hints=(
            "The mean of n differences spreads by their standard deviation over sqrt(n). How far from 0 must it lie?",
            "1.96 standard errors to be resolved at all, and 0.84 more so that four of five studies get there.",
            "Solve effect = (1.96 + 0.84) sd / sqrt(n) for n, and round up.",
        ),
        withheld=("evaluate.claim.runs_needed", "evaluate.claim.detectable", "evaluate.claim.power"),
    ),
    Exercise(
        "E11.3",
        "fd_of_all",
        "FD without its bias",
        hints=(
            "FD = FD of infinitely many + something that falls with N. Against which function of N is that a line?",
            "Against 1 / N. Fit a line by least squares; which of its two numbers is the answer?",
            "With u = 1 / N: slope = cov(u, FD) / var(u), and the line's height at u = 0 is mean(FD) - slope mean(u).",
        ),
        withheld=("metrics.distances.frechet_extrapolated",),
    ),
    Exercise(
        "E11.4",
        "responsible",
        "Which part is responsible?",
        hints=(
            "What does the first part change when the second is off? And when it is on?",
            "Its effect is the mean of these two changes; the interaction is their difference.",
            "table[1] - table[0] holds the first part's change for both states of the second, seed by seed.",
        ),
        withheld=("evaluate.claim.effects",),
    ),
    Exercise(
        "E11.5",
        "tuned_alike",
        "Tune the alternatives alike",
        hints=(
            "The budget counts calls of `loss`, over all methods. What is one method's share?",
            "Each setting needs a call for each seed, so a method can try share // len(seeds) of its settings.",
            "Try the first so many settings of each method, average over the seeds, and keep the setting with the "
            "smallest mean. Do not ask for the winner again: that call is not in the budget.",
        ),
        withheld=("evaluate.study.tune",),
    ),
    Exercise(
        "E11.6",
        "flaws",
        "Find the flaw",
        hints=(
            "Go through the six names one by one: which two numbers of the report must be equal, if it is honest?",
            "Cost, samples and trials must be the same in all arms; `shown` must be the mean of `runs`; the data that "
            "chose must not be the data that judged; a star needs at least six paired runs.",
            "Collect the names in a list: `if len({arm['samples'] for arm in arms}) > 1: found.append('samples')` is "
            "one of the six.",
        ),
    ),
    Exercise(
        "E11.7",
        "my_claim",
        "A claim of your own",
        hints=(
            "Which inequality between two numbers would be false if your idea did not work?",
            "Run it with `resolve`, copy the values of each arm seed by seed, and take the interval of the "
            "differences to the *best* alternative with `student_t`.",
            "The verdict is a matter of that interval alone: above 0, below 0, or neither. For the limits change one "
            "thing in at least three steps until the gain is gone, and give the gain at each.",
        ),
        too_long="my_claim only returns numbers: run the study in cells of your own, and copy what it printed.",
    ),
)
TEXTS = (FreeText("E11.8", "What did you find?", points=5),)

FLAWS = ("minimum", "cost", "samples", "tuning", "checkpoint", "star")


doubles = functools.partial(normals, dtype=torch.float64)


# E11.1


def drawn(n, resamples, seed):
    """Indices (resamples, n) with replacement."""
    return torch.randint(n, (resamples, n), generator=generator(seed))


def quantiles(values, low=0.025, high=0.975):
    """Two quantiles as floats."""
    return tuple(float(value) for value in values.quantile(torch.tensor([low, high], dtype=values.dtype)))


def unpaired_ends(a, b):
    (low, high), (other_low, other_high) = quantiles(a), quantiles(b)
    return low - other_high, high - other_low


def interval_slips(a, b, picks, got):
    """What the usual slips make of the interval, by name; where none gives `got`, how wide it is may tell."""
    found = resampling_slips(a, b, picks)
    if any(agrees(got, ends, 1e-5, 1e-8) for ends in found.values()):
        return found
    se = (float(a.var()) / len(a) + float(b.var()) / len(b)) ** 0.5
    wide, right = _around(float((a - b).mean()), 1.96 * se), quantiles((a - b)[picks].mean(1))
    return found | {
        "about as wide as for unpaired runs: one row of picks must draw both a and b": about(
            got, wide, right, len(a) < 6
        )
    }


def resampling_slips(a, b, picks):
    """What the usual slips make of the interval, by name."""
    gap, means = a - b, (a - b)[picks].mean(1)
    return {
        "b - a: which of the two gains?": quantiles(-means),
        **unpaired(a, b, picks),
        "sorted before the difference: seed i no longer meets seed i": quantiles(
            (a.sort().values - b.sort().values)[picks].mean(1)
        ),
        "the upper end comes first": quantiles(means)[::-1],
        "the smallest and the largest mean: 2.5 % are left out on each side": quantiles(means, 0.0, 1.0),
        "a 90 % interval: 5 % are left out on each side": quantiles(means, 0.05, 0.95),
        "quantiles of single differences, not of means": quantiles(gap),
        "quantiles of all that was drawn: each draw needs its mean first": quantiles(gap[picks].flatten()),
        "the mean is taken over the draws, not over the seeds": quantiles(gap[picks].mean(0)),
        "the median of each draw": quantiles(gap[picks].median(1).values),
        "the sum of each draw, not its mean": quantiles(gap[picks].sum(1)),
        "the spread of each draw, not its mean": quantiles(gap[picks].std(1)),
        "only the first seed of each draw": quantiles(gap[picks[:, 0]]),
        "only the first draw": quantiles(gap[picks[0]]),
        "sizes of differences: their signs are lost": quantiles(gap.abs()[picks].mean(1)),
        "ratios, not differences": quantiles((a / b)[picks].mean(1)),
        "b is not used": quantiles(a[picks].mean(1)),
        "a is not used": quantiles(b[picks].mean(1)),
        "the mean of all differences is taken away": quantiles(means - gap.mean()),
        "one end alone: 5 % are left out below, nothing above": quantiles(means, 0.05, 1.0),
        "one end alone: 5 % are left out above, nothing below": quantiles(means, 0.0, 0.95),
        "a and b are added": quantiles((a + b)[picks].mean(1)),
        "a 99 % interval: 0.5 % are left out on each side": quantiles(means, 0.005, 0.995),
        "a 95 % interval leaves out 2.5 % on each side, not 5 % below and 2.5 % above": quantiles(means, 0.05, 0.975),
        "2.5 and 97.5 are no shares: 0.025 and 0.975": quantiles(means, 0.25, 0.75),
        "turned round at the mean (the basic bootstrap)": tuple(
            2 * float(gap.mean()) - end for end in quantiles(means)[::-1]
        ),
        "the middle and the half width: the two ends are asked for": (
            sum(quantiles(means)) / 2, (quantiles(means)[1] - quantiles(means)[0]) / 2,
        ),
        **other_samples(a, b, picks),
    }  # fmt: skip


def other_samples(a, b, picks):
    """Intervals of other samples of the draws, of other numbers, and without a bootstrap, by name."""
    gap, means = a - b, (a - b)[picks].mean(1)
    return {
        "mean +- one standard deviation of the draws' means: that covers two thirds": _around(
            float(means.mean()), float(means.std())
        ),
        "a ratio of means, not a mean difference": quantiles(a[picks].mean(1) / b[picks].mean(1)),
        "differences relative to b": quantiles((gap / b)[picks].mean(1)),
        "each seed counts once in a draw, however often it was drawn": quantiles(
            torch.stack([gap[row.unique()].mean() for row in picks])
        ),
        "only the first half of the draws": quantiles(means[: len(means) // 2]),
        "the largest difference of each draw is left out": quantiles(gap[picks].sort(1).values[:, :-1].mean(1)),
        "the sum of each draw is divided by n - 1": quantiles(gap[picks].sum(1) / max(len(gap) - 1, 1)),
        "the first seed of each draw for b, the mean for a": quantiles(a[picks].mean(1) - b[picks][:, 0]),
        **{
            f"quantiles are not interpolated ({how}): torch.quantile does it by default": ends
            for how, ends in between(means).items()
        },
        "mean +- 1.96 standard errors: no bootstrap": _by_normal(gap),
        "mean +- t standard errors: no bootstrap": t_interval(gap),
        "mean +- 1.96 standard deviations: the spread of runs, not of their mean": _by_normal(gap, 1),
        "mean +- 1.96 standard deviations of the draws' means: no quantiles": _by_normal(means, 1),
    }


def between(means):
    """Quantiles that are one of the means, by how that is chosen."""
    n, values = len(means), means.sort().values
    ways = {"lower": ("lower", "lower"), "higher": ("higher", "higher"), "nearest": ("nearest", "nearest")}
    ways |= {"the wider one": ("lower", "higher")}
    found = {
        how: tuple(float(means.quantile(q, interpolation=one)) for q, one in zip((0.025, 0.975), pair))
        for how, pair in ways.items()
    }
    shares = {"entries int(0.025 n) and int(0.975 n)": (int(0.025 * n), int(0.975 * n))}
    shares |= {"entries int(0.025 n) and int(0.975 n) - 1": (int(0.025 * n), int(0.975 * n) - 1)}
    return found | {how: (float(values[low]), float(values[high])) for how, (low, high) in shares.items()}


def unpaired(a, b, picks):
    """What is made of a and b where their seeds do not meet."""
    one, other = a[picks].mean(1), b[picks].mean(1)
    error = (float(a.var()) / len(a) + float(b.var()) / len(b)) ** 0.5
    (low, high), (other_low, other_high) = quantiles(one), quantiles(other)
    others = {"by the row before": other.roll(1), "by the row after": other.roll(-1), "in another order": other.flip(0)}
    found = {
        f"unpaired: a and b are drawn by different rows ({how})": quantiles(one - b_) for how, b_ in others.items()
    }
    return found | {
        "unpaired: a and b are drawn by different rows (each by one half)": quantiles(
            one[: len(one) // 2] - other[len(one) // 2 :][: len(one) // 2]
        ),
        "an interval for a less one for b: the pairs are lost": unpaired_ends(one, other),
        "the ends of a's interval less those of b's: the pairs are lost": (low - other_low, high - other_high),
        "unpaired: two spreads are added, and there is no bootstrap": _around(float((a - b).mean()), 1.96 * error),
        "only a is drawn, and the mean of all of b is taken away": quantiles(one - b.mean()),
        "only b is drawn, and the mean of all of a is taken": quantiles(a.mean() - other),
        "every run of a meets every run of b: a seed's own two are compared": quantiles(
            (a[:, None] - b).flatten()[picks].mean(1)
        ),
    }


def about(got, wide, right, few):
    """`got`, if it is about as wide as one interval and not as another, in the same place, or cannot be told."""
    if not (isinstance(got, tuple | list) and len(got) == 2 and all(map(number, got))):
        return None
    if few or wide[1] - wide[0] < 2 * (right[1] - right[0]):
        return tuple(got)
    width, middle = got[1] - got[0], sum(got) / 2 - sum(wide) / 2
    near = abs(width / (wide[1] - wide[0]) - 1) < 0.5 and abs(middle) < 0.3 * width
    return tuple(got) if near else None


def _by_normal(values, n=None):
    return _around(float(values.mean()), 1.96 * float(values.std()) / (n or len(values)) ** 0.5)


def _around(middle, half):
    return middle - half, middle + half


def judge_interval(paired_interval, inputs, says, rtol, atol):
    """paired_interval on (a, b, picks), with the usual slips."""
    last = []

    def subject(a, b, picks):
        last.append(paired_interval(a, b, picks))
        return last[-1]

    agree(
        subject,
        lambda a, b, picks: quantiles((a - b)[picks].mean(1)),
        inputs,
        says=says,
        mistakes=lambda a, b, picks: interval_slips(a, b, picks, last[-1]),
        rtol=rtol,
        atol=atol,
    )


def runs_on_hard_seeds():
    """(a, b, picks): what makes a seed hard is much larger than what a and b differ by."""
    for n, resamples, seed, gain in ((8, 400, 1, 1.0), (2, 60, 2, 1.0), (30, 300, 3, 0.1), (60, 50, 4, -0.1)):
        hard = 5 * doubles(n, seed=seed)
        a, b = hard + 0.3 * doubles(n, seed=seed + 10) + gain, hard + 0.3 * doubles(n, seed=seed + 20)
        yield a, b, drawn(n, resamples, seed)


@pytest.mark.exercise("E11.1", points=2)
def test_is_the_percentile_interval_of_the_mean_difference(paired_interval):
    says = "The 2.5 % and 97.5 % quantiles of the mean difference a - b, over the rows of picks."
    judge_interval(paired_interval, runs_on_hard_seeds(), says, 1e-6, 1e-9)


@pytest.mark.exercise("E11.1", points=1)
def test_is_blind_to_what_makes_a_seed_hard(paired_interval):
    """Adding the same numbers to both changes nothing; the inputs stay as they are."""
    a, b, picks, hard = doubles(9, seed=4), doubles(9, seed=5), drawn(9, 200, 6), 100 * doubles(9, seed=7)
    says = "The 2.5 % and 97.5 % quantiles of the mean difference: adding the same numbers to a and b changes nothing."
    judge_interval(paired_interval, [(a, b, picks), (a + hard, b + hard, picks)], says, 1e-5, 1e-8)


# E11.2


def number_slips(gap, effect):
    """What the usual slips make of the number of runs, by name."""
    n, sd, signed, effect = len(gap), float(gap.std()), effect, abs(effect)
    exact = (2.8 * sd / effect) ** 2
    return {
        "rounded down: then it is not quite enough": math.floor(exact),
        "rounded to the nearest number, which may be below": round(exact),
        "not rounded": exact,
        "1.645 for 1.96: that is for one side": math.ceil(((1.645 + 0.84) * sd / effect) ** 2),
        "1.64 for 1.96: that is for one side": math.ceil(((1.64 + 0.84) * sd / effect) ** 2),
        "multiplied by the effect, not divided": math.ceil((2.8 * sd * effect) ** 2),
        "1.28 for 0.84: that is a power of 90 %": math.ceil(((1.96 + 1.28) * sd / effect) ** 2),
        "effect and spread are upside down": math.ceil((effect / (2.8 * sd)) ** 2),
        "the pilot's runs are added": math.ceil(exact) + n,
        "the pilot's runs are subtracted": max(math.ceil(exact) - n, 0),
        "at least as many as the pilot has": max(math.ceil(exact), n),
        "2 for 1.96": math.ceil(((2 + 0.84) * sd / effect) ** 2),
        "2.576 for 1.96: that is for 99 %": math.ceil(((2.576 + 0.84) * sd / effect) ** 2),
        "1.96 and 0.84 are multiplied, not added": math.ceil((1.96 * 0.84 * sd / effect) ** 2),
        "two at least: one run may be enough": max(2, math.ceil(exact)),
        "six at least: that is for a star": max(6, math.ceil(exact)),
        "times the pilot's runs": math.ceil(n * exact),
        "divided by the pilot's runs": math.ceil(exact / n),
        "rounded up before it is squared": math.ceil(2.8 * sd / effect) ** 2,
        "two numbers of runs are added, one for 1.96, one for 0.84": math.ceil((1.96 * sd / effect) ** 2)
        + math.ceil((0.84 * sd / effect) ** 2),
        "1.96 + 0.84 is not squared": math.ceil(2.8 * (sd / effect) ** 2),
        "the spread is not squared": math.ceil(2.8**2 * sd / effect**2),
        "half as many": math.ceil(exact / 2),
        "a negative effect gives a negative number": math.ceil(math.copysign(exact, signed)),
        "half of the effect": math.ceil(4 * exact),
        "cubed, not squared": math.ceil(exact**1.5),
        "a float: return a whole number": float(math.ceil(exact)),
        "the power is forgotten: half of such studies see nothing": math.ceil((1.96 * sd / effect) ** 2),
        "1.96 - 0.84: the two are added": math.ceil((1.12 * sd / effect) ** 2),
        "one run too many": math.ceil(exact) + 1,
        "1.96 and 0.84 are squared one by one, not their sum": math.ceil((1.96**2 + 0.84**2) * (sd / effect) ** 2),
        "not squared: n grows with the square of sd / effect": math.ceil(2.8 * sd / effect),
        "the effect is not squared": math.ceil((2.8 * sd) ** 2 / effect),
        "twice as many: that is for unpaired runs": math.ceil(2 * exact),
    } | {name: math.ceil((2.8 * float(value) / effect) ** 2) for name, value in spreads_of(gap).items()}


def spreads_of(gap):
    """What may be taken for the standard deviation of the differences, by name."""
    return {
        "the range of the differences for their standard deviation": gap.max() - gap.min(),
        "the mean size of the deviations for their standard deviation": (gap - gap.mean()).abs().mean(),
        "the median of the deviations for their standard deviation": (gap - gap.median()).abs().median(),
        "the variance for the standard deviation": gap.var(),
        "divided by n, not by n - 1: the spread of so few is underestimated": gap.std(correction=0),
        "the standard error for the standard deviation": gap.std() / len(gap) ** 0.5,
        "the mean of the differences is taken for their spread": gap.mean(),
        "the root of the mean square is taken for their spread": gap.square().mean().sqrt(),
    }


def enough(runs_for, pilots, why=""):
    """The number of runs that each (differences, effect) asks for."""
    agree(
        runs_for,
        lambda differences, effect: math.ceil(((1.96 + 0.84) * float(differences.std()) / effect) ** 2),
        pilots,
        says=f"The smallest n with (1.96 + 0.84) sd / sqrt(n) <= |effect|{why}.",
        mistakes=number_slips,
    )


def pilot(n, seed, effect, runs):
    """Differences of which (2.8 sd / effect)^2 is `runs`, whatever the key: what rounding does is known."""
    gap = doubles(n, seed=seed)
    return gap * effect * runs**0.5 / 2.8 / gap.std()


@pytest.mark.exercise("E11.2", points=2)
def test_is_enough_for_four_of_five_studies(runs_for):
    pilots = [
        (pilot(8, 6, 2.5, 14870.7), 2.5),  # rounded down it is too few, to the nearest number it is right
        (pilot(8, 7, 2.5, 920.3), 2.5),  # rounded to the nearest number it is too few
        (pilot(5, 8, 1.5, 0.6), 1.5),  # one run is enough
    ]
    sizes = ((8, 0.03, 1), (3, 0.2, 2), (40, 1.7, 3), (6, 0.11, 4))
    enough(runs_for, pilots + [(doubles(n, seed=seed), effect) for n, effect, seed in sizes])


@pytest.mark.exercise("E11.2", points=1)
def test_knows_the_direction_does_not_matter(runs_for):
    gap = pilot(7, 5, 0.4, 48.7) + 3
    enough(runs_for, [(gap, 0.4), (gap, -0.4)], ": an effect of -0.4 needs as many runs as one of 0.4")
    enough(runs_for, [(gap + 100, 0.4)], ": the mean of the differences so far does not matter")


# E11.3


def line(u, values):
    """Intercept and slope of the least-squares line."""
    u, values = u.double(), values.double()
    slope = ((u - u.mean()) * (values - values.mean())).sum() / (u - u.mean()).square().sum()
    return float(values.mean() - slope * u.mean()), float(slope)


def sizes_and_values():
    """Six numbers of images, one of them twice, and their FD."""
    sizes = torch.tensor([200.0, 400.0, 800.0, 3000.0, 250.0, 3000.0], dtype=torch.float64)
    for true, slope, seed in ((0.8, 83.0, 1), (-0.4, 1104.0, 2), (12.5, 300.0, 3), (0.0, 40.0, 4)):
        yield sizes, true + slope / sizes + 0.01 * doubles(6, seed=seed)


def line_slips(sizes, values):
    """What the usual slips make of the line, by name."""
    want, slope = line(1 / sizes, values)
    small, large = sizes.argmin(), sizes.argmax()
    two = torch.stack([small, large])
    return {
        "the slope is returned, not the value at 1 / N = 0": slope,
        "a line in N: its value at N = 0 is that of no images": line(sizes, values)[0],
        "a line in N: its slope": line(sizes, values)[1],
        "a line in 1 / N^2": line(sizes**-2, values)[0],
        "its value at 1 / N = 1": want + slope,
        "its value at the largest N, not at 1 / N = 0": want + slope / float(sizes.max()),
        "the slope is added, not taken away": 2 * float(values.double().mean()) - want,
        "the mean over all N: the line's height at the mean of 1 / N": float(values.double().mean()),
        "a line in 1 / sqrt(N)": line(sizes**-0.5, values)[0],
        "a line in log N": line(sizes.log(), values)[0],
        "a line through the logarithms of both": math.exp(line(sizes.log(), values.log())[0])
        if values.min() > 0
        else 0.0,
        "the value at the largest N still carries its bias": float(values[large]),
        "the smallest value still carries its bias": float(values.min()),
        "only the smallest and the largest N are used": line(1 / sizes[two], values[two])[0],
        "only the first and the last are used": line(1 / sizes[[0, -1]], values[[0, -1]])[0],
        "cut off at 0: a line may end below": max(want, 0.0),
        "the size of the value: a line may end below 0": abs(want),
        "a parabola in 1 / N": parabola(1 / sizes.double(), values),
        "the last value still carries its bias": float(values[-1]),
        "N FD is fitted against N: that weighs large N more": line(sizes, sizes * values)[1],
        "each N counts by its root: all N count alike": by_weights(1 / sizes, values, sizes.double() ** 0.5),
        "each N counts by its square: all N count alike": by_weights(1 / sizes, values, sizes.double() ** 2),
        "1 / mean of N for the mean of 1 / N": float(values.double().mean() - slope / sizes.double().mean()),
        "an N that comes twice counts once": once_each(sizes, values),
        "only the first two are used": line(1 / sizes[:2], values[:2])[0],
        "the line goes through the origin": 0.0,
        "the slope of a line through the origin": float((values / sizes).sum() / sizes.pow(-2).sum()),
        "1 / N and FD have changed places: FD is fitted, not N": line(values, 1 / sizes)[0],
        "each N counts by its size: all N count alike": by_weights(1 / sizes, values, sizes),
        "the slope is n - 1 over n too large: one of the two sums is divided by n, the other by n - 1": (
            float(values.double().mean()) - slope * (1 - 1 / len(sizes)) * float((1 / sizes.double()).mean())
        ),
    }


def parabola(u, values):
    """The value at 0 of the least-squares parabola."""
    scale = u.max()
    powers = torch.stack([torch.ones_like(u), u / scale, (u / scale) ** 2], 1)
    return float((torch.linalg.pinv(powers) @ values.double())[0])


def once_each(sizes, values):
    """Intercept where of equal N the last alone counts."""
    last = dict(zip(sizes.tolist(), values.tolist()))
    return line(1 / torch.tensor([*last], dtype=torch.float64), torch.tensor([*last.values()]))[0]


def by_weights(u, values, weights):
    """Intercept of the weighted least-squares line."""
    u, values, w = u.double(), values.double(), weights.double() / weights.double().sum()
    middle, height = (w * u).sum(), (w * values).sum()
    slope = (w * (u - middle) * (values - height)).sum() / (w * (u - middle).square()).sum()
    return float(height - slope * middle)


@pytest.mark.exercise("E11.3", points=2)
def test_is_where_the_line_meets_infinitely_many(fd_of_all):
    agree(
        fd_of_all,
        lambda sizes, values: line(1 / sizes, values)[0],
        sizes_and_values(),
        says="FD(N) = FD of infinitely many + slope / N, by least squares over all N; the value at 1 / N = 0.",
        mistakes=line_slips,
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.exercise("E11.3", points=1)
def test_two_sizes_are_enough_and_float32_is_welcome(fd_of_all):
    sizes, (case,) = torch.tensor([500.0, 1000.0]), varied(((1,),), seed=113)
    true = round(case.number(1.5, 2.5), 2)
    agree(
        fd_of_all,
        lambda sizes, values: true,
        [(sizes, true + 500 / sizes)],
        says=f"FD {true + 1:.2f} of 500 and {true + 0.5:.2f} of 1,000: the bias halves from the first to the second, "
        f"so {true:.2f} without it.",
        mistakes=line_slips,
        rtol=1e-4,
        atol=1e-4,
    )


# E11.4


def parts_of(table):
    """The effects of both parts, and their interaction."""
    first, second = table[1] - table[0], table[:, 1] - table[:, 0]
    return first.mean(0), second.mean(0), first[1] - first[0]


def effect_slips(table):
    """What the usual slips make of the two effects, by name."""
    (neither, second), (first, both) = table[0], table[1]
    a, b, _ = parts_of(table)
    return {
        "each effect only where the other part is off": (first - neither, second - neither),
        "each effect only where the other part is on": (both - second, both - first),
        "the first effect is the mean where the part is on, not a difference": (table[1].mean(0), b),
        "the effects are means where the part is on, not differences": (table[1].mean(0), table[:, 1].mean(0)),
        "the effects are what each part alone gives, not what it changes": (first, second),
        "half of both effects": (a / 2, b / 2),
        "the two parts are swapped": (b, a),
        "effects of taking away: off minus on": (-a, -b),
        "sums over the other part, not means": (2 * a, 2 * b),
        "ratios, not differences": ((table[1] / table[0]).mean(0), (table[:, 1] / table[:, 0]).mean(0)),
        "the first effect only where the second part is off": (first - neither, b),
        "the first effect only where the second part is on": (both - second, b),
        "the second effect only where the first part is off": (a, second - neither),
        "the second effect only where the first part is on": (a, both - first),
        "the first effect has the wrong sign": (-a, b),
        "the second effect has the wrong sign": (a, -b),
        "the larger of the two changes, not their mean": (
            torch.maximum(first - neither, both - second),
            torch.maximum(second - neither, both - first),
        ),
        "relative to what neither gives": (a / neither, b / neither),
        "one effect where the other part is off, the other where it is on": (first - neither, both - first),
    }


def interaction_slips(table):
    """What the usual slips make of the interaction, by name."""
    (neither, second), (first, both) = table[0], table[1]
    a, b, right = parts_of(table)
    return {
        "twice the interaction": 2 * right,
        "the sign of the interaction": -right,
        "half the interaction": right / 2,
        "the interaction is taken for what both do together": both - neither,
        "the interaction is taken for what both together give": both,
        "the interaction is no difference of the two effects": a - b,
        "the interaction is no sum of the two effects": a + b,
        "the interaction is no product of the two effects": a * b,
        "the interaction is no mean of the two effects": (a + b) / 2,
        "both - first - second: what neither gives is missing, + neither": both - first - second,
        "both - first - second + 2 neither: neither is added once": both - first - second + 2 * neither,
        "both - first - second - neither: neither is added": both - first - second - neither,
        "what both together give less the two effects": both - a - b,
        "what both do less the sum of the two effects: that is always 0": torch.zeros_like(right),
        "the interaction is the first part's change where the second is on": both - second,
        "the interaction is the second part's change where the first is on": both - first,
        "the interaction is the first part's change where the second is off": first - neither,
        "the interaction is the second part's change where the first is off": second - neither,
        "the interaction is the mean of all four": table.mean((0, 1)),
        "the interaction is averaged over the seeds": right.mean().expand_as(right),
        "the interaction is a ratio of changes, not their difference": (both - second) / (first - neither),
        "the interaction is a ratio of ratios, not a difference": (both / second) / (first / neither),
        "the interaction is the size of the difference: its sign is lost": right.abs(),
    }


def account_slips(table, got):
    """What one slip in the effects, one in the interaction, or one in each makes of the three values.

    A slip in each stands for what `got` cannot be where one of the two does not fit.
    """
    *effects, right = parts_of(table)
    given = (tuple(got[:2]), got[2]) if isinstance(got, tuple | list) and len(got) == 3 else (None, None)
    wrong_effects, wrong_interaction = effect_slips(table), interaction_slips(table)
    found = {name: (*two, right) for name, two in wrong_effects.items()}
    found |= {name: (*effects, one) for name, one in wrong_interaction.items()}
    fitting = {
        name
        for names, one in ((wrong_effects, given[0]), (wrong_interaction, given[1]))
        for name, value in names.items()
        if agrees(one, value, 1e-6, 1e-9)
    }
    found |= {
        f"{name}; {other}": (*two, one) if {name, other} <= fitting else None
        for name, two in wrong_effects.items()
        for other, one in wrong_interaction.items()
    }
    return found | {
        "averaged over the seeds": tuple(value.mean() for value in parts_of(table)),
        "the interaction comes first": (right, *effects),
    }


def tables():
    """Cells (2, 2, seeds) of several seeds and of one."""
    return [(doubles(2, 2, seeds, seed=seed),) for seeds, seed in ((6, 1), (1, 2))]


def judge_account(responsible, right, inputs, says):
    """responsible on (table,), with the usual slips."""
    last = []

    def subject(table):
        last.append(responsible(table))
        return last[-1]

    agree(
        subject,
        right,
        inputs,
        says=says,
        mistakes=lambda table: account_slips(table, last[-1]),
        rtol=1e-6,
        atol=1e-9,
        names=("first", "second", "interaction"),
    )


@pytest.mark.exercise("E11.4", points=2)
def test_finds_both_effects_and_their_interaction(responsible):
    says = "Per seed: the effect of the first part, of the second, and how much one changes the other's effect."
    judge_account(responsible, parts_of, tables(), says)


@pytest.mark.exercise("E11.4", points=1)
def test_finds_no_interaction_where_parts_simply_add(responsible):
    hard = doubles(5, seed=3)
    table = torch.stack([torch.stack([hard, hard + 2.0]), torch.stack([hard - 0.5, hard + 1.5])])
    judge_account(
        responsible,
        lambda table: tuple(torch.full_like(hard, value) for value in (-0.5, 2.0, 0.0)),
        [(table,)],
        "The first part subtracts 0.5, the second adds 2, whatever the other does: no interaction.",
    )


# E11.5


SPACES = {"ours": [0.1, 0.2, 0.4, 0.8, 1.6], "plain": [1, 2, 3, 4], "classic": [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]}
BEST = {"ours": 0.4, "plain": 4, "classic": 1.0}


def made_up_loss(name, setting, seed):
    """A loss with a best setting, and luck that outweighs it on single seeds."""
    luck = {0: 0.0, 1: 3.0 * (setting == SPACES[name][0]) - 1.0 * (setting == SPACES[name][1])}.get(seed, 0.5)
    return abs(math.log(setting / BEST[name])) + luck + 0.01 * seed


def _mean(values):
    return sum(values) / len(values)


def alike(budget, seeds, pick=min, tried=None, judge=_mean, of=lambda space, count: space[:count]):
    """What equal tuning finds."""
    count = tried or budget // len(SPACES) // len(seeds)

    def loss_of(name, setting):
        return judge([made_up_loss(name, setting, seed) for seed in seeds])

    return {name: pick(of(space, count), key=lambda s, name=name: loss_of(name, s)) for name, space in SPACES.items()}


JUDGES = {
    "a setting is judged by its median, not by its mean": lambda losses: losses.quantile(0.5),
    "a setting is judged by its luckiest seed, not by its mean": torch.min,
    "a setting is judged by its worst seed, not by its mean": torch.max,
    "a setting is judged by its spread, not by its mean": torch.std,
    "a setting is judged by its mean and its spread, not by its mean alone": lambda losses: (
        losses.mean() + losses.std(correction=0)
    ),
    "a setting is judged by the product of its losses, not by their mean": torch.prod,
    "a setting is judged by the squares of its losses, not by their mean": lambda losses: losses.square().sum(),
    "a setting is judged by the sizes of its losses, not by their mean": lambda losses: losses.abs().sum(),
    "only the first seed counts": lambda losses: losses[0],
    "only the last seed counts": lambda losses: losses[-1],
    "the largest loss is kept": lambda losses: -losses.mean(),
}


def tuning_slips(budget, seeds):
    """What the usual slips choose, by name."""
    share = budget // 3 // len(seeds)
    best = alike(budget, seeds)
    return {
        "the largest loss is kept": alike(budget, seeds, pick=max),
        "one setting fewer than the share pays for": alike(budget, seeds, tried=max(share - 1, 1)),
        "one setting more: the share is rounded up": alike(budget, seeds, tried=-(-budget // (3 * len(seeds)))),
        "only the last seed counts": alike(budget, seeds[-1:], tried=share),
        "the first setting is kept": {name: space[0] for name, space in SPACES.items()},
        "the last setting that was tried is kept": {name: space[:share][-1] for name, space in SPACES.items()},
        "only the first seed counts": alike(budget, seeds[:1], tried=share),
        **{
            name: alike(budget, seeds, judge=lambda losses, judge=judge: float(judge(torch.tensor(losses).double())))
            for name, judge in JUDGES.items()
        },
        "the last settings are tried, not the first": alike(budget, seeds, of=lambda space, count: space[-count:]),
        "every other setting is tried, not the first ones": alike(
            budget, seeds, of=lambda space, count: space[::2][:count]
        ),
        "the place of the setting is returned, not the setting": {
            name: SPACES[name].index(setting) for name, setting in best.items()
        },
        "a list of settings is returned: a dictionary by name is asked for": [*best.values()],
        "the loss is returned, not the setting that has it": {
            name: _mean([made_up_loss(name, setting, seed) for seed in seeds]) for name, setting in best.items()
        },
        "every setting is tried, whatever the budget": alike(budget, seeds, tried=99),
        "the budget is spent on each method, not shared among them": alike(budget, seeds, tried=budget // len(seeds)),
        "the seeds are not counted: a setting costs one call for each": alike(budget, seeds, tried=budget // 3),
    }


def chosen(labels, luck, tried, judge=torch.mean):
    """The label of each method whose losses, luck[method][label], are judged best among the tried."""
    return {
        name: labels[name][min(tried, key=lambda k, one=one: float(judge(one[k])))] for name, one in zip(labels, luck)
    }


def by_vote(luck):
    """The setting that is best on most seeds; among equals the one that wins first."""
    wins = luck.argmin(0).tolist()
    return max(wins, key=wins.count)


def downhill(luck):
    """The last setting before the first that is worse than the one before it."""
    means = luck.mean(1).tolist()
    return next((k for k in range(len(means) - 1) if means[k + 1] > means[k]), len(means) - 1)


def choice_slips(labels, luck, budget):
    """What the usual slips choose, by name, of two methods with five settings and three seeds."""
    share = budget // 6
    found = {name: chosen(labels, luck, range(share), judge) for name, judge in JUDGES.items()}
    tries = {
        "every setting is tried, whatever the budget": range(5),
        "the budget is spent on each method, not shared among them": range(min(5, budget // 3)),
        "the seeds are not counted: a setting costs one call for each": range(min(5, budget // 2)),
        "the last settings are tried, not the first": range(5)[-share:],
        "every other setting is tried, not the first ones": range(0, 5, 2)[:share],
        "one setting fewer than the share pays for": range(max(share - 1, 1)),
        "one setting more than the share pays for": range(min(share + 1, 5)),
        "one setting more: the share is rounded up": range(min(-(-budget // 6), 5)),
        "the share is rounded to the nearest number: it may be too much": range(max(1, round(budget / 6))),
        "one call of the budget is kept back": range(max(1, (budget - 1) // 6)),
        "two settings at least, whatever the budget": range(max(2, share)),
    }
    found |= {name: chosen(labels, luck, tried) for name, tried in tries.items()}
    by_place = {
        "a setting is judged by how often it wins, not by its mean": by_vote,
        "the search ends at the first setting that is worse: all of the share are tried": downhill,
        "the first setting is kept": lambda luck: 0,
        "the last setting that was tried is kept": lambda luck: len(luck) - 1,
    }
    places = {name: [int(place(one[:share])) for one in luck] for name, place in by_place.items()}
    found |= {name: {m: labels[m][k] for m, k in zip(labels, ks)} for name, ks in places.items()}
    right = chosen(labels, luck, range(share))
    return found | {
        "the place of the setting is returned, not the setting": {m: labels[m].index(one) for m, one in right.items()},
        "a list of settings is returned: a dictionary by name is asked for": [*right.values()],
        "the loss is returned, not the setting that has it": {
            m: float(one[:share].mean(1).min()) for m, one in zip(labels, luck)
        },
    }


def drawn_losses():
    """(labels, luck, budget): two methods with five settings and three seeds; a setting of both costs six calls."""
    cases = varied(((2, 5, 3),) * 16, (torch.float64,), seed=115)
    for case, budget in zip(cases, (18, 30) * 6 + (6, 12, 23, 17)):
        labels = (100 * torch.arange(5) + case.integers(0, 100, 2, 5)).tolist()
        yield dict(zip(("ours", "plain"), labels)), case.normal() - 0.3, budget


def judge_choice(tuned_alike):
    """tuned_alike where the losses of each setting on each seed are drawn."""

    def subject(labels, luck, budget):
        def loss(name, one, seed):
            return float(luck[list(labels).index(name), one // 100, seed])

        return tuned_alike(loss, labels, budget, [0, 1, 2])

    agree(
        subject,
        lambda labels, luck, budget: chosen(labels, luck, range(budget // 6)),
        drawn_losses(),
        says="The setting with the smallest mean loss, among the first that the budget pays for, of two methods on "
        "three seeds.",
        mistakes=choice_slips,
    )


@pytest.mark.exercise("E11.5", points=2)
def test_gives_every_method_its_best_setting(tuned_alike):
    judge_choice(tuned_alike)
    agree(
        lambda budget, seeds: tuned_alike(made_up_loss, SPACES, budget, seeds),
        lambda budget, seeds: alike(budget, seeds),
        [(18, [0, 1]), (9, [0]), (27, [0, 1, 2]), (20, [0, 1])],
        says=f"The setting with the smallest mean loss among the first that the budget allows, of {len(SPACES)} "
        "methods.",
        mistakes=tuning_slips,
    )
    flat = {"ours": [7, 5, 6], "plain": ["a", "b", "c", "d"]}
    expect(
        tuned_alike(lambda name, setting, seed: 0.5, flat, 12, [0, 1]),
        {"ours": 7, "plain": "a"},
        says="All settings are equally good here: the first of each method counts.",
        mistakes={"among equals the last is kept, not the first": {"ours": 6, "plain": "c"}},
    )


def calls_of(tried, seeds):
    """Calls for each method, if so many of its settings are tried on all seeds."""
    return {name: min(tried, len(space)) * len(seeds) for name, space in SPACES.items()}


def spending_slips(budget, seeds, again):
    """Calls for each method of the usual slips, by name; again: whether one call was made twice."""
    share, most, n = budget // 3 // len(seeds), budget // len(seeds), len(seeds)
    want = calls_of(share, seeds)
    if again:
        return {
            "the winner is asked for once more": {name: calls + n for name, calls in want.items()},
            "the winner is asked for once more, on one seed": {name: calls + 1 for name, calls in want.items()},
            **{
                f"the winner of the best method is asked for once more{how}": want | {name: want[name] + more}
                for how, more in (("", n), (", on one seed", 1))
                for name in alike_best(budget, seeds)
            },
            "every setting is asked twice on each seed": {name: 2 * calls for name, calls in want.items()},
        }
    return {
        "every setting is tried, whatever the budget": calls_of(99, seeds),
        "one setting more: the share is rounded up": calls_of(-(-budget // (3 * n)), seeds),
        "the share is rounded to the nearest number: it may be too much": calls_of(
            max(1, round(budget / 3 / n)), seeds
        ),
        "one call of the budget is kept back": calls_of(max(1, (budget - 1) // 3 // n), seeds),
        "two settings at least, whatever the budget": calls_of(max(2, share), seeds),
        "no more settings than the shortest list has, for any method": calls_of(min(share, 4), seeds),
        "shared among methods and seeds together: budget // (methods + seeds)": calls_of(
            max(1, budget // (3 + n)), seeds
        ),
        "one setting more than the share pays for": calls_of(share + 1, seeds),
        "one setting fewer than the share pays for": calls_of(max(share - 1, 1), seeds),
        "the budget is spent on each method, not shared among them": calls_of(most, seeds),
        "the seeds are not counted: a setting costs one call for each": calls_of(budget // 3, seeds),
        "shared by the number of settings; each method gets as much": {
            name: min(max(1, budget * len(space) // 15 // n), len(space)) * n for name, space in SPACES.items()
        },
        "only the first seed counts": {name: calls // n for name, calls in want.items()},
        "what the first methods leave goes to the last: all get the same": left_over(most, n),
    }


def alike_best(budget, seeds):
    """The method whose best setting has the smallest loss."""
    losses = {name: _mean([made_up_loss(name, best, s) for s in seeds]) for name, best in alike(budget, seeds).items()}
    return [min(losses, key=lambda name: losses[name])]


def left_over(settings, n):
    """Calls where the methods, one after the other, share what is left."""
    found = {}
    for k, (name, space) in enumerate(SPACES.items()):
        tried = min(settings // (len(SPACES) - k), len(space))
        settings -= tried
        found[name] = tried * n
    return found


@pytest.mark.exercise("E11.5", points=2)
def test_spends_the_same_on_each_and_no_more_than_there_is(tuned_alike):
    (case,) = varied(((2,),), seed=116)
    drawn, seed = case.integers(9, 40).tolist()
    asked = []

    def spent(budget, seeds):
        loss = Counted(made_up_loss)
        tuned_alike(loss, SPACES, budget, seeds)
        asked.append([args for args, _ in loss.seen])
        return {name: sum(args[0] == name for args in asked[-1]) for name in SPACES}

    budgets = [(4, [5]), (18, [3, 4]), (13, [5]), (25, [1, 2]), (17, [6]), (drawn, [seed])]
    agree(
        spent,
        lambda budget, seeds: calls_of(budget // 3 // len(seeds), seeds),
        budgets,
        says="wrong number of calls of loss for each method, in all of them together no more than the budget.",
        mistakes=lambda budget, seeds: spending_slips(
            budget, seeds, len({repr(args) for args in asked[-1]}) < len(asked[-1])
        ),
    )
    for (_, seeds), calls in zip(budgets, asked):
        used = sorted({args[2] for args in calls})
        expect(used, sorted(seeds), says="the tuning seeds are those that were handed in, and no others")


# E11.6


def honest(seed=0, runs=8):
    """A report without a flaw; its means are rounded in the last digit."""
    values = [round(float(value), 3) for value in 2 + 0.2 * doubles(3 * runs, seed=seed)]
    arms = {
        name: {
            "runs": values[k * runs : (k + 1) * runs],
            "shown": _mean(values[k * runs : (k + 1) * runs]) * (1 + 1e-12),
            "evaluations": 16 + seed,
            "samples": 2000 + 100 * seed,
            "trials": 9 + seed,
        }
        for k, name in enumerate(("ours", "plain", "classic"))
    }
    return {"arms": arms, "chosen_on": "validation", "judged_on": "test", "star": True}


def spoiled(flaw, seed=0, arm="ours", report=None):
    """A report, an honest one as a rule, with one flaw planted; two more ways to plant it by other seeds."""
    report = report or honest(seed)
    one = report["arms"][arm]
    changes = {"cost": ("evaluations", 5), "samples": ("samples", 900), "tuning": ("trials", 4)}
    if seed % 2 == 0:
        changes = {"cost": ("evaluations", 52), "samples": ("samples", 5000), "tuning": ("trials", 40)}
    if flaw == "minimum":
        one["shown"] = min(one["runs"])
    elif flaw == "checkpoint":
        report["chosen_on"] = report["judged_on"]
    elif flaw == "star":
        report = honest(seed, runs=5)
    elif flaw in changes:
        one[changes[flaw][0]] = changes[flaw][1]
    return report


def described(found):
    """The names that a student's answer holds."""
    kind = "a list" if isinstance(found, list | tuple) else found
    expect(kind, "a list", says="flaws returns a list of names (a set does not count: return list(found))")
    return sorted({name for name in found if isinstance(name, str)})


def asked(flaws, report, flaw, there, says):
    """The answer to one report: whether `flaw` is named must be `there`."""
    found = described(flaws(report))
    if (flaw in found) != there:
        unknown = ": the six names are those of the docstring" if {*found} - {*FLAWS} else ""
        raise Wrong(says, f"it found {found}{unknown}")


def look_for(flaws, flaw, misread):
    """Found where it is planted, in each arm; not found where it is not; `misread` says what a wrong rule overlooks."""
    for seed in (0, 1):
        why = ": a mean that is off by 1e-12 is rounded" if flaw == "minimum" else ""
        asked(flaws, honest(seed), flaw, False, f"accuses an honest report of {flaw!r}{why}")
    one_arm = flaw not in ("checkpoint", "star")
    for arm in ("ours", "plain", "classic") if one_arm else ("ours",):
        place = f" (planted in the arm {arm!r})" if one_arm else ""
        asked(flaws, spoiled(flaw, 2, arm), flaw, True, f"overlooks {flaw!r}{place}: {misread}")
    for other in FLAWS:
        there = flaw == other
        says = f"overlooks {flaw!r}: {misread}" if there else f"says {flaw!r} where only {other!r} is planted"
        asked(flaws, spoiled(other, 3), flaw, there, says)
        says = f"overlooks {flaw!r} where {other!r} is planted, too: a report may have several flaws"
        asked(flaws, with_both(flaw, other), flaw, True, says)


def with_both(flaw, other):
    """A report with two flaws; that of the star comes first, for it has runs of its own."""
    first, second = sorted((flaw, other), key="star".__ne__)
    return spoiled(second, report=spoiled(first, 4))


def shown_as(value, seed=5):
    """A report whose arm "plain" is shown by value(runs)."""
    report = honest(seed)
    report["arms"]["plain"]["shown"] = value(report["arms"]["plain"]["runs"])
    return report


@pytest.mark.exercise("E11.6", points=1)
def test_sees_the_best_of_several_runs(flaws):
    look_for(flaws, "minimum", "what is shown must be the mean of all runs")
    says = "overlooks an alternative that is shown by its worst run: not the mean either"
    asked(flaws, shown_as(max), "minimum", True, says)
    says = "overlooks an alternative that is shown without its worst run: a mean of all runs is exact to 1e-6"
    asked(flaws, shown_as(lambda runs: _mean(sorted(runs)[:-1])), "minimum", True, says)
    for off in (1e-4, -1e-4):
        says = f"overlooks a mean that is off by {off:g}: it must hold to within 1e-6, above and below"
        asked(flaws, shown_as(lambda runs, off=off: _mean(runs) + off), "minimum", True, says)


@pytest.mark.exercise("E11.6", points=1)
def test_sees_unequal_cost(flaws):
    look_for(flaws, "cost", "the evaluations of all arms must be the same")


@pytest.mark.exercise("E11.6", points=1)
def test_sees_unequal_samples(flaws):
    look_for(flaws, "samples", "FD depends on N, so N must be the same in all arms")


@pytest.mark.exercise("E11.6", points=1)
def test_sees_unequal_tuning(flaws):
    look_for(flaws, "tuning", "the trials of all arms must be the same")


@pytest.mark.exercise("E11.6", points=1)
def test_sees_a_test_set_that_chose(flaws):
    look_for(flaws, "checkpoint", "what chose the checkpoint must not be what judges it")
    both = honest(9) | {"judged_on": "validation"}
    asked(flaws, both, "checkpoint", True, "overlooks a checkpoint that was chosen and judged on validation data")


@pytest.mark.exercise("E11.6", points=1)
def test_sees_a_star_on_too_few_runs(flaws):
    look_for(flaws, "star", "with five runs even five wins of five have p = 0.0625")
    modest = honest(6, runs=5)
    modest["star"] = False
    asked(flaws, modest, "star", False, "five runs without a star claim nothing: no flaw")
    says = "six wins of six have p = 0.03125: six runs may carry a star"
    asked(flaws, honest(7, runs=6), "star", False, says)
    for arm in ("ours", "plain", "classic"):
        short = honest(8)
        short["arms"][arm] |= {"runs": short["arms"][arm]["runs"][:5]}
        short["arms"][arm]["shown"] = _mean(short["arms"][arm]["runs"])
        says = f"overlooks a star where the arm {arm!r} alone has five runs: every arm needs six"
        asked(flaws, short, "star", True, says)


# E11.7


VERDICTS = ("supported", "refuted", "not resolved")
SHOWN = (0.3583, 0.4246, 0.4979, 0.3553, 0.4356, 0.4235, 0.4377, 0.3286)  # runs of 2M in the notebook's example, X1


def the_claim(my_claim, *fields):
    """What a check looks at in the student's claim: these fields, all there."""
    claim = my_claim()
    if not isinstance(claim, dict):
        raise Wrong("my_claim returns a dictionary.", f"got {kind_of(claim)}, expected the fields of the docstring")
    if missing := [field for field in fields if field not in claim]:
        said = f"got {', '.join(map(str, claim)) or 'nothing'}; missing here: {', '.join(missing)}"
        raise Wrong(f"This check looks at {listed(fields)}: my_claim must hold {them(fields)}.", said)
    shown = claim["arms"].get("ours", ()) if isinstance(claim.get("arms"), dict) else ()
    if numbers(shown) and close(sorted(map(float, shown)), sorted(SHOWN)):
        said = "`ours` holds the runs of 2M in eight evaluations"
        raise Wrong("This is the notebook's example X1: the claim must be one of your own.", said)
    return claim


def listed(words):
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def them(fields):
    return "it" if len(fields) == 1 else "them"


def numbers(values):
    """Whether this is a list of finite numbers, or a tensor of them."""
    if isinstance(values, torch.Tensor):
        return values.ndim == 1 and not values.is_complex() and bool(values.isfinite().all())
    return isinstance(values, list | tuple) and all(map(number, values))


def number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def close(one, other, within=1e-3):
    return len(one) == len(other) and all(abs(a - b) <= within * abs(b) for a, b in zip(one, other))


def shortly(value):
    """A value in a few words, and what to do about it."""
    if isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value):
        return (
            f"{kind_of(value)} with {next((repr(each) for each in value if not number(each)), f'{len(value)} numbers')}"
        )
    tip = ": .tolist() makes a list of it" if kind_of(value) == "a numpy.ndarray" else ""
    return repr(value) if isinstance(value, str | int | float) and len(repr(value)) < 40 else f"{kind_of(value)}{tip}"


def by_arm(claim, field, holds, fits):
    """claim[field], a dictionary that holds something for "ours" and for others."""
    arms = claim[field]
    if not isinstance(arms, dict):
        raise Wrong(f'{field} is a dictionary, {{"ours": ..., another: ...}}.', f"got {shortly(arms)}, expected a dict")
    if "ours" not in arms:
        raise Wrong(f"One of the {field} must be called 'ours'.", f"got {sorted(map(str, arms))}")
    for name, value in arms.items():
        if not fits(value):
            raise Wrong(f"{field} must hold {holds} for every arm.", f"{name!r}: got {shortly(value)}")
    return arms


def runs_of(claim):
    """The runs of "ours" and of the alternatives, as float64."""
    arms = by_arm(claim, "arms", "a list of numbers, one for each seed,", numbers)
    arms = {name: torch.as_tensor(values, dtype=torch.float64) for name, values in arms.items()}
    if len(arms) < 2:
        raise Wrong("no alternative: what else could do as well?", "got 'ours' alone, expected another arm beside it")
    return arms.pop("ours"), arms


def paired(ours, others):
    lengths = {name: len(values) for name, values in others.items()}
    if {*lengths.values()} != {len(ours)}:
        said = f"got {len(ours)} runs of 'ours', {listed([f'{n} of {name!r}' for name, n in lengths.items()])}"
        raise Wrong("unpaired: every arm needs one run for each seed, in the same order.", said)
    if len(ours) < 2:
        raise Wrong("too few runs: differences of one pair have no spread.", f"got {len(ours)}, expected six at least")


def side_of(claim):
    """1 where more is better, -1 where less is."""
    if claim["better"] not in ("less", "more"):
        said = f"got {shortly(claim['better'])}, expected 'less' or 'more'"
        raise Wrong("better says which way the metric improves.", said)
    return 1.0 if claim["better"] == "more" else -1.0


def gains(claim):
    """The differences to the best alternative, in the idea's favour, and that alternative's name."""
    ours, others = runs_of(claim)
    paired(ours, others)
    side = side_of(claim)
    name = max(others, key=lambda name: side * float(others[name].mean()))
    return side * (ours - others[name]), name


def interval_of(claim):
    """The two ends of the student's interval."""
    ends = claim["interval"]
    if not numbers(ends) or len(ends) != 2:
        raise Wrong("interval is a pair of numbers, (low, high).", f"got {shortly(ends)}")
    return tuple(float(end) for end in ends)


def interval_slips_of(claim):
    """What the usual slips make of the interval, by name."""
    ours, others = runs_of(claim)
    gap, best = gains(claim)
    n, (low, high) = len(gap), t_interval(gap)
    apart = (float(ours.var()) / n + float(others[best].var()) / n) ** 0.5
    middle, half = (low + high) / 2, (high - low) / 2
    worse = {
        f"the gain over {name!r}, which is not the best alternative": t_interval(side_of(claim) * (ours - values))
        for name, values in others.items()
        if name != best
    }
    found = {
        "the sign: positive must mean that ours is better": (-high, -low),
        "the upper end comes first": (high, low),
        "mean +- 1.96 standard errors: with so few runs it is Student's t": _by_normal(gap),
        "the spread of runs, not of their mean: divide by sqrt(n)": _around(middle, half * n**0.5),
        "unpaired: the two spreads are added": _around(middle, 1.96 * apart),
        "unpaired, with Student's t: the two spreads are added": _around(middle, _t(2 * n - 2) * apart),
        "one standard error each way: that covers two thirds": _around(middle, half / _t(n - 1)),
        "90 %, not 95 %: t leaves out 2.5 % on each side": _around(middle, half * _t(n - 1, 0.95) / _t(n - 1)),
        "99 %, not 95 %": _around(middle, half * _t(n - 1, 0.995) / _t(n - 1)),
        "divided by n, not by n - 1: the spread of so few is underestimated": _around(
            middle, half * ((n - 1) / n) ** 0.5
        ),
        "t of n degrees of freedom: n - 1": _around(middle, half * _t(n) / _t(n - 1)),
        "t of n - 2 degrees of freedom: n - 1": _around(middle, half * _t(max(n - 2, 1)) / _t(n - 1)),
        "mean +- 2.576 standard errors: a 99 % interval, and not Student's t": _around(
            middle, 2.576 * float(gap.std()) / n**0.5
        ),
        "the mean alone, without a width": (middle, middle),
        "the interval of 'ours' alone": t_interval(ours),
        "in per cent: copy the numbers as they are": (100 * low, 100 * high),
        "relative to the alternative's mean": (
            low / float(others[best].mean()),
            high / float(others[best].mean()),
        ),
        "relative to the mean of 'ours'": (low / float(ours.mean()), high / float(ours.mean())),
        "the smallest and the largest difference": (float(gap.min()), float(gap.max())),
    }
    return worse | found


def _t(freedom, share=0.975):
    from scipy import special

    return float(special.stdtrit(freedom, share))


def t_interval(values):
    """mean +- t s / sqrt(n), with t of n - 1 degrees of freedom."""
    n = len(values)
    return _around(float(values.mean()), _t(n - 1) * float(values.std()) / n**0.5)


@pytest.mark.exercise("E11.7", points=1)
def test_the_idea_can_be_false(my_claim):
    claim = the_claim(my_claim, "idea", "metric", "better")
    words = claim["idea"].split() if isinstance(claim["idea"], str) else ()
    if len(words) < 5:
        said = f"got {shortly(claim['idea'])}, expected five words at least"
        raise Wrong("the idea must be a sentence: what is better than what, in which number?", said)
    side_of(claim)
    if not isinstance(claim["metric"], str) or not claim["metric"].strip():
        raise Wrong("the metric must have a name.", f"got {shortly(claim['metric'])}, expected a word or two")


@pytest.mark.exercise("E11.7", points=1)
def test_there_is_an_alternative_on_the_same_seeds(my_claim):
    ours, others = runs_of(the_claim(my_claim, "arms"))
    if len(ours) < 6:
        raise Wrong("too few runs: six seeds at least.", f"got {len(ours)} runs of 'ours'")
    paired(ours, others)
    if len(ours.unique()) == 1:
        said = f"got {len(ours)} times {float(ours[0]):g}: was one number copied, or every run made with one seed?"
        raise Wrong("all runs of 'ours' are equal: each seed gives a number of its own.", said)
    for name, values in others.items():
        gap = ours - values
        if float(gap.max() - gap.min()) <= 1e-9 * float(ours.abs().max()):
            said = f"got {len(ours)} times {float(gap[0]):.3g}: was one arm made of the other?"
            raise Wrong(f"all differences between 'ours' and {name!r} are equal: runs of two methods differ.", said)


@pytest.mark.exercise("E11.7", points=1)
def test_the_interval_is_that_of_the_paired_differences(my_claim):
    """What comes out is not shown where a pair of numbers was given: to compute it is the exercise."""
    claim = the_claim(my_claim, "arms", "better", "interval")
    (gap, name), (low, high) = gains(claim), interval_of(claim)
    want = t_interval(gap)
    says = f"the 95 % interval (Student's t) of the gain over {name!r}, seed by seed, positive where ours is better"
    middle, width = (low + high) / 2 - sum(want) / 2, (high - low) / (want[1] - want[0] or 1e-9)
    off = "its middle is not the mean of these differences" if abs(middle) > 0.02 * (want[1] - want[0]) else ""
    off = off or f"its middle is right, but it is too {'narrow' if width < 1 else 'wide'}"
    try:
        expect((low, high), want, says, interval_slips_of(claim), rtol=1e-9, atol=0.02 * (want[1] - want[0]))
    except Wrong as error:
        raise Wrong(says, f"got {low:.6g} to {high:.6g}: {off}", error.names) from None


def word_for(ends):
    """The verdict of an interval: above 0, below 0, or neither."""
    return VERDICTS[0] if min(ends) > 0 else VERDICTS[1] if max(ends) < 0 else VERDICTS[2]


@pytest.mark.exercise("E11.7", points=1)
def test_the_verdict_follows_from_the_interval(my_claim):
    """From the student's own, or from the right one: a slip in the interval is charged there."""
    claim = the_claim(my_claim, "interval", "verdict")
    said, ends = claim["verdict"], interval_of(claim)
    if said not in VERDICTS:
        raise Wrong("the verdict is one of three words.", f"got {shortly(said)}, expected one of {listed(VERDICTS)}")
    if said != word_for(ends) and said != right_word(claim):
        told = f"got {said!r} with the interval {ends[0]:.3g} to {ends[1]:.3g}: on which side of 0 does it lie?"
        raise Wrong("the verdict is another one: above 0, below 0, or neither.", told)


def right_word(claim):
    """The verdict of the right interval; none where the claim does not hold what that needs."""
    try:
        return word_for(t_interval(gains(claim)[0]))
    except (Wrong, KeyError):
        return None


@pytest.mark.exercise("E11.7", points=1)
def test_the_cost_is_equal_and_the_limits_are_known(my_claim):
    claim = the_claim(my_claim, "cost", "limits")
    costs = by_arm(claim, "cost", "a number", number)
    arms = claim["arms"] if isinstance(claim.get("arms"), dict) else costs
    if lacking := [repr(name) for name in arms if name not in costs]:
        raise Wrong(f"cost has no number for {listed(lacking)}.", f"got {sorted(costs)}, expected {sorted(arms)}")
    spent = {name: costs[name] for name in arms}
    if not close([*spent.values()], [costs["ours"]] * len(spent), 0.01):
        raise Wrong("unequal cost: every arm must spend the same.", f"got {spent}")
    levels, steps = limits_of(claim)
    if len(set(levels)) < 3:
        said = f"got {len(set(levels))}"
        raise Wrong("limits: at least three levels of something, with the gain at each.", said)
    if min(steps) > 0.25 * max(steps):
        said = f"got gains from {max(steps):g} to {min(steps):g}"
        raise Wrong("limits: go on until the gain is gone, or has shrunk to a quarter of the largest.", said)


def limits_of(claim):
    """The levels of the knob and the gains there."""
    limits = claim["limits"]
    says = "limits is a list of pairs, [(level, gain), ...]."
    if not isinstance(limits, list | tuple):
        tip = ": write list(limits.items())" if isinstance(limits, dict) else ""
        raise Wrong(says, f"got {shortly(limits)}{tip}")
    for k, pair in enumerate(limits):
        if not numbers(pair) or len(pair) != 2:
            said = f"{len(pair)} values" if isinstance(pair, list | tuple) and len(pair) != 2 else shortly(pair)
            raise Wrong(says, f"got {said} at place {k}, expected two numbers")
    return [float(level) for level, _ in limits], [float(gain) for _, gain in limits]
