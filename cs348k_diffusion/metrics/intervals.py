"""How sure is a number?  95 % intervals for means, shares, variances and differences; the statistics are SciPy's.

An interval at level 0.95 covers the truth in 95 of 100 repetitions, if what its docstring assumes holds. Compare two
methods on the *same* seeds and take the interval of their differences: what makes a seed hard is then hard for both.
SciPy is imported where it is used, so that the package stays as quick to import as torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

Values = Sequence[float] | Tensor | np.ndarray
FEW = 50  # below so many values the bootstrap's interval is too narrow (tests/test_intervals.py measures it)


class Interval(NamedTuple):
    """An estimate and the two ends of its interval, in the units of the values."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"

    @property
    def ends(self) -> tuple[float, float]:
        """(low, high), as a card stores it."""
        return self.low, self.high

    @property
    def arms(self) -> tuple[float, float]:
        """How far the ends are below and above the value, as matplotlib's `errorbar` wants them."""
        return self.value - self.low, self.high - self.value


def array(values: Values) -> np.ndarray:
    """The values as float64, on one axis. Raises ValueError for fewer than two, or for one that is not finite."""
    numbers = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64).ravel()
    if len(numbers) < 2:
        raise ValueError(f"an interval needs at least two values, got {len(numbers)}: run more seeds")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{int((~np.isfinite(numbers)).sum())} of {len(numbers)} values are not finite")
    return numbers


def paired(a: Values, b: Values) -> np.ndarray:
    """a - b, value by value: entry i of both must come from the same seed. Raises ValueError for unequal numbers."""
    one, other = array(a), array(b)
    if len(one) != len(other):
        raise ValueError(f"paired values come in equal numbers, got {len(one)} and {len(other)}")
    return one - other


def student_t(values: Values, level: float = 0.95) -> Interval:
    """The mean of a few independent values: mean +- t s / sqrt(n), t of n - 1 degrees of freedom.

    Exact for normal values; for others nearly right once n is large. Source: Student 1908, Biometrika 6.
    """
    from scipy import special

    numbers = array(values)
    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / len(numbers) ** 0.5
    half = float(special.stdtrit(len(numbers) - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - half, mean + half)


def bootstrap(
    values: Values,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any statistic of independent values, by drawing them anew: the BCa interval, second-order correct.

    `statistic` takes an array and `axis`, as np.mean and np.median do. For differences pass `paired(a, b)`. Below
    about FEW values it is too narrow: take `student_t`. Source: Efron 1987, JASA 82.
    """
    from scipy import stats

    numbers = array(values)
    value = float(statistic(numbers, axis=-1))
    if np.ptp(numbers) == 0:
        return Interval(value, value, value)
    drawn = stats.bootstrap(
        (numbers,), statistic, confidence_level=level, n_resamples=resamples, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(value, float(drawn.low), float(drawn.high))


def of_mean(values: Values, level: float = 0.95) -> Interval:
    """The mean of independent values by the method that suits their number: Student's t below FEW, BCa from there."""
    return student_t(values, level) if len(array(values)) < FEW else bootstrap(values, level=level)


def variance(values: Values, level: float = 0.95) -> Interval:
    """The variance of independent normal values: (n - 1) s^2 over the quantiles of chi^2 with n - 1 degrees."""
    from scipy import stats

    numbers = array(values)
    n, s2 = len(numbers), float(numbers.var(ddof=1))
    low, high = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return Interval(s2, (n - 1) * s2 / float(low), (n - 1) * s2 / float(high))


def wilson(hits: int, n: int, level: float = 0.95) -> Interval:
    """A share from `hits` in n independent trials: inside [0, 1] even for 0 or n hits (Wilson 1927, JASA 22)."""
    from scipy import stats

    ends = stats.binomtest(int(hits), int(n)).proportion_ci(level, method="wilson")
    return Interval(hits / n, float(ends.low), float(ends.high))


def newcombe(a: Interval, b: Interval) -> Interval:
    """The difference of two independent shares, a - b, from the Wilson interval of each.

    low = d - sqrt((a - low_a)^2 + (high_b - b)^2),  high = d + sqrt((high_a - a)^2 + (b - low_b)^2)
    Source: Newcombe 1998, method 10, Statistics in Medicine 17.
    """
    down = ((a.value - a.low) ** 2 + (b.high - b.value) ** 2) ** 0.5
    up = ((a.high - a.value) ** 2 + (b.value - b.low) ** 2) ** 0.5
    return Interval(a.value - b.value, a.value - b.value - down, a.value - b.value + up)


def jackknife(statistic: Callable[[np.ndarray], float], n: int, groups: int = 20) -> Interval:
    """statistic(rows) of all n rows, with an interval from leaving out each of `groups` groups of rows in turn.

    For one number of a whole set, such as an FD, whose rows cannot be drawn twice. rows: integer indices.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 11.5.
    """
    rows = np.arange(n)
    whole = float(statistic(rows))
    left = np.array([float(statistic(rows[rows % groups != k])) for k in range(groups)])
    half = 1.96 * float((groups - 1) * left.var()) ** 0.5
    return Interval(whole, whole - half, whole + half)


def rounded(value: Any, places: int = 4) -> Any:
    """The same with every number in it rounded: a card claims no digits that it does not have."""
    if isinstance(value, dict):
        return {key: rounded(inner, places) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner, places) for inner in value]
    return round(value, places) if isinstance(value, float) else value
