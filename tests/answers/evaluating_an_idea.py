"""Answers to notebook 11: right ones written differently, and wrong ones by name."""

import math
import statistics

import torch

# E11.1


def interval_by_loop(a, b, picks):
    gaps = [float(x) - float(y) for x, y in zip(a, b)]
    means = torch.tensor([statistics.fmean(gaps[i] for i in row) for row in picks.tolist()], dtype=torch.float64)
    return float(torch.quantile(means, 0.025)), float(torch.quantile(means, 0.975))


def interval_by_gather(a, b, picks):
    means = torch.sub(a, b).expand(len(picks), -1).gather(1, picks).mean(dim=-1)
    ends = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype))
    return tuple(ends.tolist())


def interval(sample, low=0.025, high=0.975):
    """A wrong interval: the quantiles of sample(a, b, picks)."""

    def paired_interval(a, b, picks):
        values = sample(a, b, picks)
        return float(values.quantile(low)), float(values.quantile(high))

    return paired_interval


def interval_of_each(a, b, picks):
    ends = torch.tensor([0.025, 0.975], dtype=a.dtype)
    one, other = (each[picks].mean(1).quantile(ends) for each in (a, b))
    return float(one[0] - other[1]), float(one[1] - other[0])


def normal_interval(error):
    def paired_interval(a, b, picks):
        gap = a - b
        half = 1.96 * float(gap.std()) / error(len(gap))
        return float(gap.mean()) - half, float(gap.mean()) + half

    return paired_interval


def interval_around_the_draws(a, b, picks):
    means = (a - b)[picks].mean(1)
    middle, half = float(means.mean()), 1.96 * float(means.std())
    return middle - half, middle + half


# E11.2


def runs_by_search(differences, effect):
    n = 1
    while 2.8 * float(differences.std()) / n**0.5 > abs(effect):
        n += 1
    return n


def runs_by_statistics(differences, effect):
    ratio = (1.96 + 0.84) * statistics.stdev(differences.tolist()) / effect
    return math.ceil(ratio * ratio)


def runs(formula, rounded=math.ceil):
    """A wrong number: formula(standard deviation, effect, differences), rounded."""

    def runs_for(differences, effect):
        return rounded(formula(float(differences.std()), effect, differences))

    return runs_for


# E11.3


def fd_by_lstsq(sizes, values):
    u = torch.stack([torch.ones_like(sizes), 1 / sizes], 1)
    return float(torch.linalg.lstsq(u.double(), values.double()[:, None]).solution[0])


def fd_by_means(sizes, values):
    u, v = 1 / sizes.double(), values.double()
    slope = (u * v).mean() - u.mean() * v.mean()
    slope = slope / ((u * u).mean() - u.mean() ** 2)
    return (v.mean() - slope * u.mean()).item()


def fitted(of_size, number=0):
    """A wrong line: against of_size(sizes), and one of its two numbers."""

    def fd_of_all(sizes, values):
        u = of_size(sizes.double())
        slope = ((u - u.mean()) * (values - values.mean())).sum() / (u - u.mean()).square().sum()
        return float((values.double().mean() - slope * u.mean(), slope)[number])

    return fd_of_all


# E11.4


def responsible_by_cells(table):
    (neither, second), (first, both) = table[0], table[1]
    return (first + both - neither - second) / 2, (second + both - neither - first) / 2, both - first - second + neither


def responsible_by_signs(table):
    sign = torch.tensor([-1.0, 1.0], dtype=table.dtype)
    one = torch.einsum("abs,a->s", table, sign) / 2
    other = torch.einsum("abs,b->s", table, sign) / 2
    return one, other, torch.einsum("abs,a,b->s", table, sign, sign)


def parts(choose):
    """A wrong account: choose(neither, first, second, both)."""

    def responsible(table):
        return choose(table[0, 0], table[1, 0], table[0, 1], table[1, 1])

    return responsible


# E11.5


def tuned_by_dictionary(loss, settings, budget, seeds):
    share = budget // len(settings) // len(seeds)
    best = {}
    for name, space in settings.items():
        means = {k: sum(loss(name, setting, seed) for seed in seeds) for k, setting in enumerate(space[:share])}
        best[name] = space[min(means, key=means.get)]
    return best


def tuned_by_running_best(loss, settings, budget, seeds):
    found = {}
    for name in settings:
        left, lowest = budget // len(settings), float("inf")
        for setting in settings[name]:
            if left < len(seeds):
                break
            left -= len(seeds)
            mean = statistics.fmean([loss(name, setting, seed) for seed in seeds])
            if mean < lowest:
                lowest, found[name] = mean, setting
    return found


def tuned_by_share_of_settings(loss, settings, budget, seeds):
    every = sum(map(len, settings.values()))
    best = {}
    for name, space in settings.items():
        tried = space[: max(1, budget * len(space) // every // len(seeds))]
        means = [sum(loss(name, setting, seed) for seed in seeds) for setting in tried]
        best[name] = tried[means.index(min(means))]
    return best


def fairly(budget, methods, seeds):
    return budget // methods // seeds


def tuned(count=fairly, pick=min, of=lambda seeds: seeds, judge=statistics.fmean):
    """A wrong tuning: count(budget, methods, seeds) settings of each, the best by pick, judged on of(seeds)."""

    def tuned_alike(loss, settings, budget, seeds):
        tried = count(budget, len(settings), len(seeds))

        def mean(name, setting):
            return judge([loss(name, setting, seed) for seed in of(seeds)])

        return {name: pick(space[:tried], key=lambda s, name=name: mean(name, s)) for name, space in settings.items()}

    return tuned_alike


def tuned_and_asked_again(loss, settings, budget, seeds):
    best = tuned_by_dictionary(loss, settings, budget, seeds)
    for name, setting in best.items():
        [loss(name, setting, seed) for seed in seeds]
    return best


def tuned_with_the_last_tie(loss, settings, budget, seeds):
    found = {}
    for name, space in settings.items():
        lowest = float("inf")
        for setting in space[: fairly(budget, len(settings), len(seeds))]:
            total = sum(loss(name, setting, seed) for seed in seeds)
            if total <= lowest:
                lowest, found[name] = total, setting
    return found


def tuned_for_the_loss(loss, settings, budget, seeds):
    share = fairly(budget, len(settings), len(seeds))
    return {
        name: min(statistics.fmean([loss(name, setting, seed) for seed in seeds]) for setting in space[:share])
        for name, space in settings.items()
    }


def tuned_by_the_last(loss, settings, budget, seeds):
    share = budget // len(settings) // len(seeds)
    for name, space in settings.items():
        [loss(name, setting, seed) for setting in space[:share] for seed in seeds]
    return {name: space[:share][-1] for name, space in settings.items()}


# E11.6


def flaws_by_rules(report):
    arms = list(report["arms"].values())
    rules = {
        "minimum": any(abs(arm["shown"] - sum(arm["runs"]) / len(arm["runs"])) > 1e-6 for arm in arms),
        "cost": any(arm["evaluations"] != arms[0]["evaluations"] for arm in arms),
        "samples": any(arm["samples"] != arms[0]["samples"] for arm in arms),
        "tuning": any(arm["trials"] != arms[0]["trials"] for arm in arms),
        "checkpoint": report["chosen_on"] == report["judged_on"],
        "star": report["star"] and min(len(arm["runs"]) for arm in arms) < 6,
    }
    return [name for name, there in rules.items() if there]


def flaws_as_a_list(report):
    found = []
    arms = report["arms"]
    for flaw, key in (("cost", "evaluations"), ("samples", "samples"), ("tuning", "trials")):
        if len({arm[key] for arm in arms.values()}) > 1:
            found.append(flaw)
    if not all(math.isclose(statistics.fmean(arm["runs"]), arm["shown"], rel_tol=1e-6) for arm in arms.values()):
        found.append("minimum")
    if report["chosen_on"] == report["judged_on"]:
        found.append("checkpoint")
    if report["star"] and any(len(arm["runs"]) <= 5 for arm in arms.values()):
        found.append("star")
    return found


def but(**rules):
    """The right audit with some of its rules changed: rules[name](report) -> bool."""

    def flaws(report):
        found = set(flaws_by_rules(report))
        for name, rule in rules.items():
            found = (found - {name}) | ({name} if rule(report) else set())
        return sorted(found)

    return flaws


def arms_of(report):
    return list(report["arms"].values())


# E11.7


OURS = [0.52, 0.47, 0.55, 0.50, 0.44, 0.53, 0.49]
PLAIN = [0.61, 0.52, 0.66, 0.60, 0.49, 0.66, 0.60]
GAPS = [b - a for a, b in zip(OURS, PLAIN)]
T_6 = 2.446911851


def ends(gaps, t=T_6):
    half = t * statistics.stdev(gaps) / len(gaps) ** 0.5
    return statistics.fmean(gaps) - half, statistics.fmean(gaps) + half


def claimed(**changes):
    """A right claim, or one with some of it changed."""

    def my_claim():
        return {
            "idea": "the new step has a smaller error than the plain one",
            "metric": "error",
            "better": "less",
            "arms": {"ours": OURS, "plain": PLAIN},
            "cost": {"ours": 16, "plain": 16},
            "interval": ends(GAPS),
            "verdict": "supported",
            "limits": [(8, 0.2), (16, 0.09), (64, 0.01)],
        } | changes

    return my_claim


def claimed_more():
    ours, other = [3.0, 2.0, 4.0, 3.5, 2.5, 3.0], [3.1, 1.9, 4.2, 3.4, 2.4, 3.1]
    gaps = torch.tensor(ours) - torch.tensor(other)
    half = 2.570582 * float(gaps.std()) / 6**0.5
    return {
        "idea": "twice the heads keep more prompts than one",
        "metric": "prompts kept",
        "better": "more",
        "arms": {"ours": ours, "one head": other, "none": [0.5] * 6},
        "cost": {"ours": 100.0, "one head": 100.0, "none": 100.0},
        "interval": [float(gaps.mean()) - half, float(gaps.mean()) + half],
        "verdict": "not resolved",
        "limits": [(1, 0.3), (2, 0.1), (4, -0.2), (8, -0.4)],
    }


def claimed_without(*fields):
    def my_claim():
        return {name: value for name, value in claimed()().items() if name not in fields}

    return my_claim


SHOWN = {
    "ours": [0.3583, 0.4246, 0.4979, 0.3553, 0.4356, 0.4235, 0.4377, 0.3286],
    "ddim": [0.3977, 0.5494, 0.5223, 0.4096, 0.4800, 0.5087, 0.5929, 0.3824],
    "heun": [3.6627, 3.3543, 4.2423, 3.7990, 3.7979, 3.5765, 3.7445, 2.9624],
}


RIGHT = {
    "E11.1": [interval_by_loop, interval_by_gather],
    "E11.2": [runs_by_search, runs_by_statistics],
    "E11.3": [fd_by_lstsq, fd_by_means],
    "E11.4": [responsible_by_cells, responsible_by_signs],
    "E11.5": [tuned_by_dictionary, tuned_by_running_best],
    "E11.6": [flaws_by_rules, flaws_as_a_list],
    "E11.7": [claimed(), claimed_more],
}
WRONG = {
    "E11.1": {
        "b - a": interval(lambda a, b, picks: (b - a)[picks].mean(1)),
        "unpaired": interval(lambda a, b, picks: a[picks].mean(1) - b[picks.roll(1, 0)].mean(1)),
        "sorted before the difference": interval(
            lambda a, b, picks: (a.sort().values - b.sort().values)[picks].mean(1)
        ),
        "an interval for a less one for b": interval_of_each,
        "the upper end comes first": lambda a, b, picks: interval_by_gather(a, b, picks)[::-1],
        "the smallest and the largest mean": interval(lambda a, b, picks: (a - b)[picks].mean(1), 0.0, 1.0),
        "a 90 % interval": interval(lambda a, b, picks: (a - b)[picks].mean(1), 0.05, 0.95),
        "only the first seed of each draw": interval(lambda a, b, picks: (a - b)[picks[:, 0]]),
        "the sum of each draw": interval(lambda a, b, picks: (a - b)[picks].sum(1)),
        "their signs are lost": interval(lambda a, b, picks: (a - b).abs()[picks].mean(1)),
        "a 99 % interval": interval(lambda a, b, picks: (a - b)[picks].mean(1), 0.005, 0.995),
        "b is not used": interval(lambda a, b, picks: a[picks].mean(1)),
        "quantiles of single differences": interval(lambda a, b, picks: a - b),
        "quantiles of all that was drawn": interval(lambda a, b, picks: (a - b)[picks].flatten()),
        "the mean is taken over the draws": interval(lambda a, b, picks: (a - b)[picks].mean(0)),
        "the median of each draw": interval(lambda a, b, picks: (a - b)[picks].median(1).values),
        "1.96 standard errors": normal_interval(lambda n: n**0.5),
        "1.96 standard deviations": normal_interval(lambda n: 1.0),
        "standard deviations of the draws' means": interval_around_the_draws,
    },
    "E11.2": {
        "rounded down": runs(lambda sd, effect, gap: (2.8 * sd / effect) ** 2, math.floor),
        "rounded to the nearest number": runs(lambda sd, effect, gap: (2.8 * sd / effect) ** 2, round),
        "squared one by one": runs(lambda sd, effect, gap: (1.96**2 + 0.84**2) * (sd / effect) ** 2),
        "the effect is not squared": runs(lambda sd, effect, gap: (2.8 * sd) ** 2 / abs(effect)),
        "not rounded": runs(lambda sd, effect, gap: (2.8 * sd / effect) ** 2, float),
        "the power is forgotten": runs(lambda sd, effect, gap: (1.96 * sd / effect) ** 2),
        "not squared": runs(lambda sd, effect, gap: 2.8 * sd / abs(effect)),
        "1.96 - 0.84": runs(lambda sd, effect, gap: ((1.96 - 0.84) * sd / effect) ** 2),
        "one run too many": runs(lambda sd, effect, gap: (2.8 * sd / effect) ** 2, lambda n: math.ceil(n) + 1),
        "the variance for the standard deviation": runs(lambda sd, effect, gap: (2.8 * sd**2 / effect) ** 2),
        "twice as many": runs(lambda sd, effect, gap: 2 * (2.8 * sd / effect) ** 2),
        "divided by n": runs(lambda sd, effect, gap: (2.8 * float(gap.std(correction=0)) / effect) ** 2),
        "the standard error": runs(lambda sd, effect, gap: (2.8 * sd / len(gap) ** 0.5 / effect) ** 2),
    },
    "E11.3": {
        "the slope is returned": fitted(lambda n: 1 / n, 1),
        "a line in N": fitted(lambda n: n),
        "a line in 1 / sqrt(N)": fitted(lambda n: n**-0.5),
        "a line in log N": fitted(torch.log),
        "the slope of a line through the origin": lambda sizes, values: float(
            (values / sizes).sum() / sizes.pow(-2).sum()
        ),
        "the value at the largest N": lambda sizes, values: float(values[sizes.argmax()]),
        "the mean over all N": lambda sizes, values: float(values.mean()),
        "only the smallest and the largest N": lambda sizes, values: fd_by_lstsq(
            sizes[[int(sizes.argmin()), int(sizes.argmax())]], values[[int(sizes.argmin()), int(sizes.argmax())]]
        ),
    },
    "E11.4": {
        "only where the other part is off": parts(lambda n, a, b, ab: (a - n, b - n, ab - a - b + n)),
        "only where the other part is on": parts(lambda n, a, b, ab: (ab - b, ab - a, ab - a - b + n)),
        "the two parts are swapped": lambda table: responsible_by_cells(table.transpose(0, 1)),
        "off minus on": parts(lambda n, a, b, ab: ((n + b - a - ab) / 2, (n + a - b - ab) / 2, ab - a - b + n)),
        "the sign of the interaction": parts(
            lambda n, a, b, ab: ((a + ab - n - b) / 2, (b + ab - n - a) / 2, a + b - ab - n)
        ),
        "half the interaction": parts(
            lambda n, a, b, ab: ((a + ab - n - b) / 2, (b + ab - n - a) / 2, (ab - a - b + n) / 2)
        ),
        "sums over the other part": parts(lambda n, a, b, ab: (a + ab - n - b, b + ab - n - a, ab - a - b + n)),
        "what both do together": parts(lambda n, a, b, ab: ((a + ab - n - b) / 2, (b + ab - n - a) / 2, ab - n)),
        "the interaction is no difference of the two effects": parts(
            lambda n, a, b, ab: ((a + ab - n - b) / 2, (b + ab - n - a) / 2, a - b)
        ),
        "ratios, not differences": parts(
            lambda n, a, b, ab: ((a / n + ab / b) / 2, (b / n + ab / a) / 2, ab / b / (a / n))
        ),
        "less the sum of the two effects": parts(
            lambda n, a, b, ab: ((a + ab - n - b) / 2, (b + ab - n - a) / 2, 0 * n)
        ),
        "averaged over the seeds": lambda table: tuple(value.mean() for value in responsible_by_cells(table)),
    },
    "E11.5": {
        "the largest loss is kept": tuned(pick=max),
        "the first setting is kept": lambda loss, settings, budget, seeds: {k: v[0] for k, v in settings.items()},
        "the last setting that was tried": tuned_by_the_last,
        "only the first seed counts": tuned(of=lambda seeds: seeds[:1]),
        "judged by its luckiest seed": tuned(judge=min),
        "judged by its worst seed": tuned(judge=max),
        "judged by its median": tuned(judge=statistics.median),
        "one setting more: the share is rounded up": tuned(
            lambda budget, methods, seeds: -(-budget // (methods * seeds))
        ),
        "one setting fewer": tuned(lambda budget, methods, seeds: max(1, budget // methods // seeds - 1)),
        "only the last seed counts": tuned(of=lambda seeds: seeds[-1:]),
        "among equals the last is kept": tuned_with_the_last_tie,
        "the loss is returned": tuned_for_the_loss,
        "shared by the number of settings": tuned_by_share_of_settings,
        "every setting is tried": tuned(lambda budget, m, s: 99),
        "the budget is spent on each method": tuned(lambda budget, m, s: budget // s),
        "the seeds are not counted": tuned(lambda budget, m, s: budget // m),
        "the winner is asked for once more": tuned_and_asked_again,
    },
    "E11.6": {
        "accuses an honest report of 'star'": but(star=lambda report: report["star"]),
        "overlooks 'minimum' (planted in the arm 'plain')": but(
            minimum=lambda report: report["arms"]["ours"]["shown"] == min(report["arms"]["ours"]["runs"])
        ),
        "shown by its worst run": but(
            minimum=lambda report: any(arm["shown"] == min(arm["runs"]) for arm in arms_of(report))
        ),
        "a report may have several flaws": lambda report: flaws_by_rules(report)[:1],
        "off by 0.0001": but(
            minimum=lambda report: any(
                abs(arm["shown"] - statistics.fmean(arm["runs"])) > 1e-2 for arm in arms_of(report)
            )
        ),
        "overlooks 'cost' (planted in the arm 'classic')": but(
            cost=lambda report: arms_of(report)[0]["evaluations"] != arms_of(report)[1]["evaluations"]
        ),
        "overlooks 'samples'": but(samples=lambda report: False),
        "overlooks 'tuning' (planted in the arm 'plain')": but(
            tuning=lambda report: arms_of(report)[0]["trials"] > max(arm["trials"] for arm in arms_of(report)[1:])
        ),
        "overlooks 'checkpoint'": but(checkpoint=lambda report: report["chosen_on"] == "train"),
        "chosen and judged on validation data": but(checkpoint=lambda report: report["chosen_on"] == "test"),
        "five runs without a star": but(star=lambda report: len(arms_of(report)[0]["runs"]) < 6),
        "every arm needs six": but(
            star=lambda report: report["star"] and max(len(arm["runs"]) for arm in arms_of(report)) < 6
        ),
        "shown without its worst run": but(
            minimum=lambda report: any(
                abs(arm["shown"] / statistics.fmean(arm["runs"]) - 1) > 0.05 for arm in arms_of(report)
            )
        ),
        "off by 1e-12 is rounded": but(
            minimum=lambda report: any(arm["shown"] != sum(arm["runs"]) / len(arm["runs"]) for arm in arms_of(report))
        ),
        "six runs may carry a star": but(star=lambda report: report["star"] and len(arms_of(report)[0]["runs"]) <= 6),
    },
    "E11.7": {
        "the idea must be a sentence": claimed(idea="mine"),
        "no alternative": claimed(arms={"ours": OURS}),
        "too few runs": claimed(arms={"ours": OURS[:5], "plain": PLAIN[:5]}),
        "unpaired: every arm": claimed(arms={"ours": OURS, "plain": PLAIN[:6]}),
        "the sign": claimed(interval=tuple(-end for end in reversed(ends(GAPS)))),
        "with so few runs it is Student's t": claimed(interval=ends(GAPS, 1.96)),
        "divide by sqrt(n)": claimed(interval=ends(GAPS, T_6 * 7**0.5)),
        "which is not the best alternative": claimed(
            arms={"ours": OURS, "plain": PLAIN, "old": [b + 0.1 for b in PLAIN]},
            cost={"ours": 16, "plain": 16, "old": 16},
            interval=ends([gap + 0.1 for gap in GAPS]),
        ),
        "One of the arms must be called 'ours'": claimed(arms={"new": OURS, "plain": PLAIN}),
        "the verdict is another one": claimed(verdict="not resolved"),
        "unequal cost": claimed(cost={"ours": 32, "plain": 16}),
        "at least three levels": claimed(limits=[(8, 0.2), (64, 0.0)]),
        "until the gain is gone": claimed(limits=[(8, 0.2), (16, 0.19), (64, 0.18)]),
        "missing here: limits": claimed_without("limits"),
        "missing here: idea, metric": claimed_without("idea", "metric"),
        "returns a dictionary": lambda: [claimed()()],
        "got 7 runs of 'ours', 6 of 'plain'": claimed(arms={"ours": OURS, "plain": PLAIN[:6]}),
        "[(level, gain), ...]": claimed(limits={8: 0.2, 16: 0.09, 64: 0.01}),
        "expected two numbers": claimed(limits=[0.2, 0.09, 0.01]),
        "cost has no number for 'plain'": claimed(cost={"ours": 16}),
        "cost is a dictionary": claimed(cost=16),
        "arms is a dictionary": claimed(arms=[OURS, PLAIN]),
        "arms must hold a list of numbers": claimed(arms={"ours": [*OURS[:6], float("nan")], "plain": PLAIN}),
        "each seed gives a number of its own": claimed(arms={"ours": [0.5] * 7, "plain": PLAIN}),
        "was one arm made of the other": claimed(
            arms={"ours": OURS, "plain": [run + 0.1 for run in OURS]}, interval=(0.1, 0.1)
        ),
        "interval is a pair of numbers": claimed(interval="0.06 to 0.12"),
        "one of three words": claimed(verdict="Supported"),
        "expected 'less' or 'more'": claimed(better="lower"),
        "the upper end comes first": claimed(interval=ends(GAPS)[::-1]),
        "divided by n, not by n - 1": claimed(interval=ends(GAPS, T_6 * (6 / 7) ** 0.5)),
        "one standard error each way": claimed(interval=ends(GAPS, 1)),
        "the smallest and the largest difference": claimed(interval=(min(GAPS), max(GAPS))),
        "the notebook's example X1": claimed(
            arms=SHOWN,
            cost=dict.fromkeys(SHOWN, 8),
            interval=(0.0345, 0.1109),
            limits=[(8, 0.061), (16, 0.16), (64, 0.01)],
        ),
    },
}
KNOB = "any levels, and any gains of which one is a quarter of the largest, are a limit"
LINE = "the line's height at 0 is the same"
FAR = "7 is not the best alternative, by far"
RHO_7 = (3.6627, 3.3543, 4.2423, 3.7990, 3.7979, 3.5765, 3.7445, 2.9624)
LIMITS = ((8, 1.0739), (16, 0.0193), (32, 0.0096), (64, 0.0031))
EQUIVALENT = {
    "E11.2": {"line 8: float(differences.std()) -> differences.std()": "ceil makes a number of it"},
    "E11.3": {
        "line 8: 1 -> 2": LINE,
        "line 8: values.double() -> values": "float32 is as good, at this tolerance",
        "line 9: u - u.mean() -> u": LINE,
        "line 9: fd - fd.mean() -> fd": LINE,
        "line 9: fd.mean() -> fd.sum()": LINE,
    },
    "E11.7": {
        **{f"line 12: {x} -> {y}": FAR for x in RHO_7 for y in (x + 1, x - 1, x * 2)},
        **{f"line 22: {level, gain} -> {gain, level}": KNOB for level, gain in LIMITS},
        **{f"line 22: {level} -> {other}": KNOB for level, _ in LIMITS for other in (level + 1, level - 1)},
        **{f"line 22: {gain} -> {other}": KNOB for _, gain in LIMITS for other in (gain + 1, gain - 1)},
        **{f"line 22: {gain} -> {gain * 2}": KNOB for _, gain in LIMITS[:2]},
    },
}
