"""Intervals cover the truth as often as they say, counted exactly or by simulation with fixed seeds."""

import numpy as np
import pytest
import torch
from scipy import stats

from cs348k_diffusion.metrics import intervals
from cs348k_diffusion.metrics.intervals import (
    FEW,
    Interval,
    bootstrap,
    jackknife,
    newcombe,
    of_mean,
    paired,
    rounded,
    student_t,
    variance,
    wilson,
)


def coverage(interval, draw, truth, repeats=800):
    """The share of `repeats` intervals that hold the truth."""
    rng = np.random.default_rng(3)
    found = [interval(draw(rng)) for _ in range(repeats)]
    return sum(one.low <= truth <= one.high for one in found) / repeats


@pytest.mark.parametrize("n", [3, 6, 12])
def test_students_t_covers_normal_means(n):
    assert 0.93 < coverage(student_t, lambda rng: rng.normal(0.3, 2.0, n), 0.3, 2000) < 0.97


@pytest.mark.parametrize(
    ("draw", "truth"),
    [(lambda rng: rng.normal(0.3, 2.0, 60), 0.3), (lambda rng: rng.gamma(4.0, 0.25, 80), 1.0)],
    ids=["normal", "skewed"],
)
def test_the_bootstrap_covers_means_of_many(draw, truth):
    assert 0.93 < coverage(lambda values: bootstrap(values, resamples=600), draw, truth) < 0.97


def test_below_few_values_the_bootstrap_would_be_too_narrow():
    """Why `of_mean` does not use it there: at n = 8 it misses the truth more often than one time in ten."""
    assert coverage(lambda v: bootstrap(v, resamples=600), lambda rng: rng.normal(0, 1, 8), 0.0, 600) < 0.9


def test_the_mean_gets_the_method_that_suits_its_number():
    few, many = np.random.default_rng(0).normal(size=FEW - 1), np.random.default_rng(0).normal(size=FEW)
    assert of_mean(few) == student_t(few)
    assert of_mean(many) == bootstrap(many)


def test_the_bootstrap_agrees_with_scipy_and_repeats():
    values = np.random.default_rng(5).gamma(2.0, size=80)
    expected = stats.bootstrap((values,), np.mean, n_resamples=2000, rng=np.random.default_rng(0)).confidence_interval
    assert bootstrap(values).ends == pytest.approx((expected.low, expected.high))
    assert bootstrap(torch.tensor(values)) == bootstrap(values)


def test_variance_covers():
    assert 0.93 < coverage(variance, lambda rng: rng.normal(0.0, 1.5, 12), 2.25, 2000) < 0.97


def test_wilson_interval_covers_the_true_share():
    """Counted exactly over the binomial distribution: 93 to 97 % coverage at n = 200, p = 0.9."""
    n, p = 200, 0.9
    inside = [wilson(hits, n).low <= p <= wilson(hits, n).high for hits in range(n + 1)]
    assert 0.93 < stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() < 0.97
    assert wilson(0, 10).low == pytest.approx(0, abs=1e-12)


def test_wilson_is_its_closed_form():
    z, n, share = stats.norm.ppf(0.975), 17, 5 / 17
    middle, half = share + z**2 / (2 * n), z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    expected = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    assert wilson(5, 17).ends == pytest.approx(expected)


def test_a_difference_of_shares_covers_the_true_one():
    """Newcombe's interval, counted exactly over two binomials: 93 to 98 % coverage at n = 60 and 40."""
    n, m, p, q = 60, 40, 0.85, 0.6
    one, two = [wilson(hits, n) for hits in range(n + 1)], [wilson(hits, m) for hits in range(m + 1)]
    inside = np.array([[(d := newcombe(a, b)).low <= p - q <= d.high for b in two] for a in one])
    pmf = np.outer(stats.binom.pmf(range(n + 1), n, p), stats.binom.pmf(range(m + 1), m, q))
    assert 0.93 < pmf[inside].sum() < 0.98


def test_newcombe_is_the_published_example():
    """Newcombe 1998, table II, case (a): 56 of 70 and 48 of 80, method 10 gives 0.0524 to 0.3339."""
    assert newcombe(wilson(56, 70), wilson(48, 80)).ends == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(2.0, 3.0, 400)
    found = jackknife(lambda rows: float(values[rows].mean()), 400, groups=400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(1.96 * values.std(ddof=1) / 20, rel=1e-9)


def test_pairing_keeps_what_differs():
    assert paired([1.0, 5.0], torch.tensor([0.5, 4.0])).tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match="equal numbers, got 2 and 3"):
        paired([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("interval", [student_t, bootstrap, of_mean, variance])
def test_one_value_or_a_broken_one_has_no_interval(interval):
    with pytest.raises(ValueError, match="at least two values, got 1"):
        interval([1.0])
    with pytest.raises(ValueError, match="1 of 3 values are not finite"):
        interval([1.0, float("nan"), 2.0])


def test_equal_values_have_a_point():
    assert of_mean([2.0] * 4) == bootstrap([2.0] * 60) == Interval(2.0, 2.0, 2.0)


def test_an_interval_reads_well():
    assert str(Interval(0.12345, -0.1, 0.3)) == "+0.123 [-0.1, +0.3]"
    assert Interval(1.0, 0.5, 3.0).arms == (0.5, 2.0)


def test_rounding_reaches_what_is_nested():
    assert rounded({"a": [0.123456, (1.99999, "x")], "b": 3}) == {"a": [0.1235, [2.0, "x"]], "b": 3}


def test_importing_the_module_does_not_import_scipy():
    assert "scipy" not in vars(intervals)
