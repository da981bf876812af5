"""Slips in notebook 11."""

import math

import torch


def ends(means, low=0.025, high=0.975):
    quantiles = means.double().quantile(torch.tensor([low, high], dtype=torch.float64))
    return float(quantiles[0]), float(quantiles[1])


def runs(formula, rounded=math.ceil):
    return lambda differences, effect: rounded(formula(float(differences.std()), effect, len(differences)))


def line(u_of, answer=lambda slope, u, fd: fd.mean() - slope * u.mean()):
    def fd_of_all(sizes, values):
        u, fd = u_of(sizes.double()), values.double()
        slope = ((u - u.mean()) * (fd - fd.mean())).sum() / ((u - u.mean()) ** 2).sum()
        return float(answer(slope, u, fd))

    return fd_of_all


def effects(first, second, together):
    return lambda table: (first(table), second(table), together(table))


def part(table):
    return (table[1] - table[0]).mean(0)


def other(table):
    return (table[:, 1] - table[:, 0]).mean(0)


def both(table):
    return table[1, 1] - table[0, 1] - table[1, 0] + table[0, 0]


def tuned(tries_of=lambda budget, settings, seeds: budget // len(settings) // len(seeds),
          judge=lambda losses: sum(losses), pick=min, best=lambda space, k: space[k]):  # fmt: skip
    def tune(loss, settings, budget, seeds):
        tries = tries_of(budget, settings, seeds)
        found = {}
        for name, space in settings.items():
            means = [judge([loss(name, one, seed) for seed in seeds]) for one in space[:tries]]
            found[name] = best(space, means.index(pick(means)))
        return found

    return tune


def finding(**changed):
    """Flaws, with some of the six tests replaced by others: name -> a function of (report, arms)."""
    tests = {
        "cost": lambda report, arms: len({arm["evaluations"] for arm in arms}) > 1,
        "samples": lambda report, arms: len({arm["samples"] for arm in arms}) > 1,
        "tuning": lambda report, arms: len({arm["trials"] for arm in arms}) > 1,
        "minimum": lambda report, arms: any(
            abs(arm["shown"] - sum(arm["runs"]) / len(arm["runs"])) > 1e-6 for arm in arms
        ),
        "checkpoint": lambda report, arms: report["chosen_on"] == report["judged_on"],
        "star": lambda report, arms: report["star"] and any(len(arm["runs"]) < 6 for arm in arms),
    } | changed

    def flaws(report):
        arms = list(report["arms"].values())
        return [name for name, test in tests.items() if test(report, arms)]

    return flaws


def two_rows(other):
    """Unpaired: b is drawn by other(picks)."""
    return lambda a, b, picks: ends(a[picks].mean(1) - b[other(picks)].mean(1))


def of_each(a, b, picks):
    return tuple(one - other for one, other in zip(ends(a[picks].mean(1)), ends(b[picks].mean(1))))


def two_spreads(a, b, picks):
    middle, half = float((a - b).mean()), 1.96 * float((a.var() / len(a) + b.var() / len(b)).sqrt())
    return middle - half, middle + half


def asking(more):
    """The right settings, and more(loss, name, setting, seeds) calls beside."""

    def tune(loss, settings, budget, seeds):
        found = tuned()(loss, settings, budget, seeds)
        for name, setting in found.items():
            more(loss, name, setting, seeds)
        return found

    return tune


def once_more(loss, name, setting, seeds):
    for seed in seeds:
        loss(name, setting, seed)


SLIPS = {
    "E11.1": {
        "b by other rows": two_rows(lambda picks: picks.flip(0)),
        "b by rows of its own": two_rows(
            lambda picks: torch.randint(picks.shape[1], picks.shape, generator=torch.Generator().manual_seed(0))
        ),
        "the ends of each": of_each,
        "two spreads": two_spreads,
        "b is not drawn": lambda a, b, picks: ends(a[picks].mean(1) - b.mean()),
        "one tail": lambda a, b, picks: ends((a - b)[picks].mean(1), 0.05, 1.0),
        "a sum of both": lambda a, b, picks: ends((a + b)[picks].mean(1)),
        "the ratio": lambda a, b, picks: ends((a / b)[picks].mean(1)),
    },
    "E11.2": {
        "1.64 for 1.96": runs(lambda s, e, n: ((1.64 + 0.84) * s / e) ** 2),
        "a power of 90 %": runs(lambda s, e, n: ((1.96 + 1.28) * s / e) ** 2),
        "multiplied by the effect": runs(lambda s, e, n: ((1.96 + 0.84) * s * e) ** 2),
    },
    "E11.3": {
        "at N = 1": line(lambda n: 1 / n, lambda slope, u, fd: fd.mean() - slope * u.mean() + slope),
        "plus the slope": line(lambda n: 1 / n, lambda slope, u, fd: fd.mean() + slope * u.mean()),
        "a line in 1 / N^2": line(lambda n: 1 / n**2),
    },
    "E11.4": {
        "both - first - second": effects(part, other, lambda t: t[1, 1] - t[1, 0] - t[0, 1]),
        "what each gives, and both - first - second": effects(
            lambda t: t[1, 0], lambda t: t[0, 1], lambda t: t[1, 1] - t[1, 0] - t[0, 1]
        ),
        "both less the two effects": effects(part, other, lambda t: t[1, 1] - part(t) - other(t)),
        "the mean table for an effect": effects(lambda t: t[1].mean(0), other, both),
        "only one half of the mean": effects(lambda t: part(t) / 2, lambda t: other(t) / 2, both),
        "twice the interaction": effects(part, other, lambda t: 2 * both(t)),
    },
    "E11.5": {
        "the winner on all seeds again": asking(once_more),
        "the winner on one seed again": asking(lambda loss, name, setting, seeds: loss(name, setting, seeds[0])),
        "one setting more": tuned(lambda budget, settings, seeds: budget // len(settings) // len(seeds) + 1),
        "rounded up": tuned(lambda budget, settings, seeds: -(-budget // (len(settings) * len(seeds)))),
        "shared by seeds alone": tuned(lambda budget, settings, seeds: budget // len(seeds)),
    },
    "E11.6": {
        "the median is shown": finding(
            minimum=lambda report, arms: any(
                abs(arm["shown"] - sorted(arm["runs"])[len(arm["runs"]) // 2]) > 1e-6 for arm in arms
            )
        ),
        "shown below the mean alone": finding(
            minimum=lambda report, arms: any(arm["shown"] < sum(arm["runs"]) / len(arm["runs"]) - 1e-6 for arm in arms)
        ),
        "equal to the last digit": finding(
            minimum=lambda report, arms: any(arm["shown"] != sum(arm["runs"]) / len(arm["runs"]) for arm in arms)
        ),
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E11.1": {
        "b by other rows": ("unpaired: a and b are drawn by different rows",),
        "b by rows of its own": ("about as wide as for unpaired runs",),
        "the ends of each": ("the ends of a's interval less those of b's",),
        "two spreads": ("unpaired: two spreads are added",),
        "b is not drawn": ("only a is drawn",),
        "one tail": ("one end alone: 5 % are left out below, nothing above",),
        "a sum of both": ("a and b are added",),
        "the ratio": ("ratios, not differences",),
    },
    "E11.2": {
        "1.64 for 1.96": ("1.64 for 1.96: that is for one side",),
        "a power of 90 %": ("1.28 for 0.84: that is a power of 90 %",),
        "multiplied by the effect": ("multiplied by the effect, not divided",),
    },
    "E11.3": {
        "at N = 1": ("its value at 1 / N = 1",),
        "plus the slope": ("the slope is added, not taken away",),
        "a line in 1 / N^2": ("a line in 1 / N^2",),
    },
    "E11.4": {
        "both - first - second": ("both - first - second: what neither gives is missing",),
        "what each gives, and both - first - second": (
            "the effects are what each part alone gives, not what it changes; both - first - second: what neither",
        ),
        "both less the two effects": ("what both together give less the two effects",),
        "the mean table for an effect": ("the first effect is the mean where the part is on, not a difference",),
        "only one half of the mean": ("half of both effects",),
        "twice the interaction": ("twice the interaction",),
    },
    "E11.5": {
        "the winner on all seeds again": ("the winner is asked for once more",),
        "the winner on one seed again": ("the winner is asked for once more, on one seed",),
        "one setting more": ("one setting more than the share pays for",),
        "rounded up": (
            "one setting more: the share is rounded up",
            "one setting more than the share pays for",
        ),
        "shared by seeds alone": ("the budget is spent on each method, not shared among them",),
    },
    "E11.6": {
        "the median is shown": ("accuses an honest report",),
        "shown below the mean alone": ("overlooks",),
        "equal to the last digit": ("accuses an honest report",),
    },
}
