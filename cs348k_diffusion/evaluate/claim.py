"""A claim that can turn out false, and what its runs say: supported, refuted or not resolved.

A claim compares a proposed setting with its best alternatives on the same seeds at the same cost. The verdict is read
from the interval of the paired differences: all of it beyond the threshold, all of it short of the threshold, or
neither. Beside it stands the minimum detectable effect: what this many runs would have seen in four of five studies.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from cs348k_diffusion.metrics.intervals import Interval, Values, array, of_mean, paired, wilson

Word = Literal["supported", "refuted", "not resolved"]
Levels = Mapping[str, Any]  # one setting of an experiment: factor -> level
WORDS: tuple[Word, ...] = ("supported", "refuted", "not resolved")


@dataclass(frozen=True)
class Claim:
    """`metric` of `proposed` is `better` than that of each of `alternatives`, by more than `threshold`.

    Without alternatives the threshold itself is what the metric must pass, on the side that `better` says. `experiment`
    is a function (seed, **levels) -> numbers by name, "cost" among them, or its name as "module:function"; `factors`
    holds all levels of the design (by default the settings compared), `budget` is what one run may spend, in `unit`.
    `expected` is the literature's verdict, `remark` says what stands behind another one. With `interaction`, what must
    pass the threshold is how much more all factors together gain than the sum of what each does: see `parts_of`.
    `trials` is how many ways the idea and each alternative were tuned, as many each, on seeds that judge nothing:
    by the study behind the card, or, where `tries` says what is tried in each setting, before the claim is run.
    """

    id: str
    idea: str
    metric: str
    better: Literal["more", "less"]
    proposed: Levels
    experiment: Callable[..., Mapping[str, float]] | str
    alternatives: tuple[Levels, ...] = ()
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: int = 6
    budget: float = float("inf")
    unit: str = "evaluations"
    threshold: float = 0.0
    source: str = ""
    notebook: str = ""
    expected: Word = "supported"
    remark: str = ""
    card: str = ""  # the stored result that the experiment reads, where running it takes too long
    interaction: bool = False
    tries: tuple[Levels, ...] = ()
    trials: int = 0

    def settings(self) -> list[Levels]:
        """Every setting of the design: the product of the factors, or the settings that are compared."""
        if not self.factors:
            return [self.proposed, *self.alternatives]
        return [dict(zip(self.factors, levels)) for levels in itertools.product(*self.factors.values())]

    @property
    def of_gain(self) -> bool:
        """Whether a gain over something is judged, which counts in the idea's favour, and not the metric itself."""
        return self.interaction or bool(self.alternatives)


class Finding(NamedTuple):
    """One comparison: the values over seeds (what the idea gains, or the metric itself), and its verdict."""

    against: str
    values: tuple[float, ...]
    interval: Interval
    threshold: float
    word: Word
    p: float
    detectable: float


class Verdict(NamedTuple):
    """What is found about a claim: one comparison for each alternative, and what each part of the design gains."""

    word: Word
    findings: tuple[Finding, ...]
    p: float
    parts: tuple[Finding, ...] = ()

    @property
    def weakest(self) -> Finding:
        """The comparison that decides: the refuted one if there is one, else the one nearest to its threshold."""
        order = {"refuted": 0, "not resolved": 1, "supported": 2}
        return min(self.findings, key=lambda one: (order[one.word], -one.p))

    def __str__(self) -> str:
        one = self.weakest
        return f"{self.word}: {one.interval} over {len(one.values)} seeds (detectable: {one.detectable:.2g})"


def label(levels: Levels) -> str:
    """A setting in a few words: "sampler heun, steps 16"."""
    return ", ".join(f"{name.replace('_', ' ')} {level}" for name, level in levels.items()) or "the idea"


def judge(claim: Claim, values: Callable[[Levels], Values]) -> Verdict:
    """The verdict from `values(levels)`, the metric of a setting over the seeds, in the same order for all settings.

    Supported needs every comparison supported (so no correction for their number is due); one refuted is enough to
    refute. Raises ValueError for fewer than two seeds or for unequal numbers of them.
    """
    side, mine, parts = side_of(claim), values(claim.proposed), parts_of(claim, values)
    if claim.interaction:
        if not parts:
            raise ValueError(f"{claim.id}: an interaction needs two factors or more, of two levels each")
        findings = [finding(parts[-1].values, claim.threshold, 1.0, "the sum of the parts")]
    elif claim.alternatives:
        gains = {label(other): side * paired(mine, values(other)) for other in claim.alternatives}
        findings = [finding(gain, claim.threshold, 1.0, name) for name, gain in gains.items()]
    else:
        findings = [finding(mine, claim.threshold, side, f"{claim.metric} {claim.threshold:g}")]
    return combined(tuple(findings))._replace(parts=parts)


def side_of(claim: Claim) -> float:
    """1 where more of the metric is better, -1 where less is: what turns a difference into a gain."""
    return 1.0 if claim.better == "more" else -1.0


def combined(findings: tuple[Finding, ...]) -> Verdict:
    """One verdict from several comparisons, with the p-value that a correction for many claims starts from."""
    words = [one.word for one in findings]
    if "refuted" in words:
        lowest = min(one.p for one in findings if one.word == "refuted")
        return Verdict("refuted", findings, min(1.0, len(findings) * lowest))
    word: Word = "supported" if set(words) == {"supported"} else "not resolved"
    return Verdict(word, findings, max(one.p for one in findings))


def finding(values: Values, threshold: float = 0.0, side: float = 1.0, against: str = "") -> Finding:
    """Where the mean of `values` is, against a threshold; side 1: above it supports the claim, -1: below it."""
    numbers, interval = array(values), of_mean(values)
    spread = float(numbers.std(ddof=1))
    return Finding(
        against,
        tuple(numbers.tolist()),
        interval,
        threshold,
        word_of(interval, threshold, side),
        p_value(numbers, threshold),
        detectable(spread, len(numbers)),
    )


def word_of(interval: Interval, threshold: float = 0.0, side: float = 1.0) -> Word:
    """Supported where the whole interval is beyond the threshold, refuted where it is short of it."""
    low, high = sorted((side * interval.low, side * interval.high))
    return "supported" if low > side * threshold else "refuted" if high < side * threshold else "not resolved"


def p_value(values: Values, threshold: float = 0.0) -> float:
    """Two-sided, by Student's t: how often a mean at the threshold would give values this far from it."""
    from scipy import special

    numbers = array(values) - threshold
    if np.ptp(numbers) == 0:
        return float(numbers[0] == 0)
    statistic = numbers.mean() / (numbers.std(ddof=1) / len(numbers) ** 0.5)
    return float(2 * special.stdtr(len(numbers) - 1, -abs(statistic)))


# What a study can see


def power(effect: float, spread: float, n: int, level: float = 0.95) -> float:
    """How often n runs resolve a true mean difference of `effect`, when differences have standard deviation `spread`.

    The share of two-sided t-tests that reject: exact, by the noncentral t distribution.
    """
    from scipy import special

    if spread == 0:
        return float(effect != 0)
    critical, shift = special.stdtrit(n - 1, (1 + level) / 2), abs(effect) / spread * n**0.5
    below, inside = (np.nan_to_num(special.nctdtr(n - 1, shift, at)) for at in (-critical, critical))
    return float(1 - inside + below)  # SciPy's NaN stands for a probability too small to compute


def detectable(spread: float, n: int, share: float = 0.8, level: float = 0.95) -> float:
    """The minimum detectable effect: the mean difference that a `share` of studies of n runs would resolve."""
    return _detectable_errors(n, share, level) * spread / n**0.5


@functools.lru_cache(maxsize=256)
def _detectable_errors(n: int, share: float, level: float) -> float:
    """The same in standard errors of the mean, which depends on the number of runs alone."""
    from scipy import optimize

    most = 4.0  # two runs need 18
    while power(most / n**0.5, 1.0, n, level) < share:
        most *= 1.5
    found: Any = optimize.brentq(lambda d: power(d / n**0.5, 1.0, n, level) - share, 1e-9, most)
    return float(found)


def runs_needed(effect: float, spread: float, share: float = 0.8, level: float = 0.95, most: int = 100_000) -> int:
    """How many paired runs resolve a mean difference of `effect` in a `share` of studies. ValueError beyond `most`."""
    low, high = 2, most
    if power(effect, spread, most, level) < share:
        raise ValueError(f"more than {most:,} runs: {effect:g} is out of reach where differences spread by {spread:g}")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, spread, middle, level) >= share else (middle + 1, high)
    return low


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected p-values: any one of them below 0.05 by luck alone happens in at most 5 % of studies.

    In ascending order p_(k) times (m - k), k from 0, never falling, at most 1. Source: Holm 1979, Scand. J. Stat. 6.
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[k]))
        corrected[k] = highest
    return corrected


def corrected(verdicts: Sequence[Verdict], level: float = 0.95) -> list[Verdict]:
    """The same verdicts as one family: those that Holm's correction does not leave standing are not resolved."""
    ps = holm([verdict.p for verdict in verdicts])
    return [v if p <= 1 - level else v._replace(word="not resolved") for v, p in zip(verdicts, ps)]


# Which part of an idea is responsible


def effects(table: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Main effects and interactions of a full design with two levels of each factor, one value a seed.

    table: (2, ..., 2, seeds), one axis for each name, index 1 where the factor is on. An effect of one factor is the
    mean with it less the mean without; of two, how much one changes the effect of the other:
    "a x b" = (y11 - y01) - (y10 - y00), averaged over the other factors. Zero interaction: the two simply add.
    """
    k, found = len(names), {}
    if table.shape[:-1] != (2,) * k:
        raise ValueError(f"{k} factors need a table (2,) * {k} + (seeds,), got {table.shape}")
    for chosen in itertools.product((0, 1), repeat=k):
        if sum(chosen):
            values = table
            for on in chosen:  # the axis in front: its difference, or its mean
                values = values[1] - values[0] if on else values.mean(0)
            found[" x ".join(name for name, on in zip(names, chosen) if on)] = values
    return found


def factorial(values: Callable[[Levels], Values], factors: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """A metric over a full design: one axis for each factor, its levels in order, and seeds last."""
    cells = [dict(zip(factors, levels)) for levels in itertools.product(*factors.values())]
    return np.stack([array(values(cell)) for cell in cells]).reshape(*map(len, factors.values()), -1)


def parts_of(claim: Claim, values: Callable[[Levels], Values]) -> tuple[Finding, ...]:
    """What each factor gains, then each interaction; nothing unless there are two factors or more, of two levels each.

    A gain counts in the idea's favour, as in `judge`. That of a factor is of its level in `proposed` over its other
    level, averaged over the other factors; of an interaction, what `effects` says, with the level in `proposed` on.
    """
    if len(claim.factors) < 2 or any(len(levels) != 2 for levels in claim.factors.values()):
        return ()
    on_last = {name: sorted(levels, key=claim.proposed[name].__eq__) for name, levels in claim.factors.items()}
    found = effects(factorial(values, on_last), list(on_last))
    ordered = sorted(found, key=lambda name: (name.count(" x "), [*map(list(on_last).index, name.split(" x "))]))
    return tuple(finding(side_of(claim) * found[name], against=name) for name in ordered)


# Where an idea stops working


def profile(values: Values, thresholds: Sequence[float], better: Literal["more", "less"] = "more") -> list[Interval]:
    """The performance profile: the share of runs at least as good as each threshold, with Wilson intervals.

    A mean hides whether every run is mediocre or half of them fail. Source: Agarwal et al. 2021, arXiv:2108.13264.
    """
    numbers = array(values)
    reached = [numbers >= at if better == "more" else numbers <= at for at in thresholds]
    return [wilson(int(hits.sum()), len(numbers)) for hits in reached]
