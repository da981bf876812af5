"""Metrics against closed forms, and their noise against the laws it should obey."""

import inspect  # to call a function as a user does, without the checks of annotations that tests add
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.metrics import (
    class_entropy,
    cubic_kernel,
    frechet,
    frechet_bias,
    frechet_corrected,
    frechet_extrapolated,
    frechet_of_gaussians,
    gaussian_kernel,
    mmd,
    nearest_distance,
    precision_recall,
    real_floor,
    sliced_wasserstein,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=generator(seed), dtype=torch.float64)


def covariance(dim, seed=0):
    """A covariance whose eigenvalues differ and whose axes are tilted."""
    axes = torch.linalg.qr(normal(dim, dim, seed)).Q
    return axes @ torch.diag(torch.linspace(0.1, 3, dim, dtype=torch.float64)) @ axes.T


def is_zero_on_average(values, sigmas=4.0):
    """A mean within `sigmas` of its own standard errors: a right estimator fails once in 16,000 seeds."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return abs(float(values.mean())) < sigmas * float(values.std()) / math.sqrt(len(values))


# --- sliced Wasserstein ---------------------------------------------------------------------------------------------


def test_wasserstein_on_the_line_by_hand():
    a, b = torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [0.0], [2.0]])
    assert_close(sliced_wasserstein(a, b), math.sqrt((0 / 3) + 1 / 6 + 4 / 6 + 1 / 3))


@pytest.mark.parametrize(("n", "m"), [(7, 5), (6, 6), (4, 12), (1000, 37)])
def test_wasserstein_on_the_line_is_the_distance_of_quantiles(n, m):
    a, b = normal(n, 1, seed=1), 2 * normal(m, 1, seed=2) + 1
    q = (np.arange(n * m * 4) + 0.5) / (n * m * 4)  # finer than every jump of either quantile function
    gap = [np.quantile(x.squeeze(1).numpy(), q, method="inverted_cdf") for x in (a, b)]
    assert_close(sliced_wasserstein(a, b), float(np.sqrt(np.mean((gap[0] - gap[1]) ** 2))))


def test_sliced_wasserstein_of_a_shift():
    """E (u . c)^2 = |c|^2 / dim, with variance |c|^4 / 8 in the plane."""
    a, c = normal(50, 2), torch.tensor([3.0, -4.0], dtype=torch.float64)
    square = sliced_wasserstein(a, a + c, directions=4096, generator=generator()) ** 2
    assert abs(square / (25 / 2) - 1) < 4 * math.sqrt(1 / 2 / 4096)


def test_sliced_wasserstein_sees_a_wrong_variance():
    a, b = normal(4000, 3, seed=1), normal(4000, 3, seed=2)
    assert sliced_wasserstein(a, b, generator=generator()) < sliced_wasserstein(a, 1.1 * b, generator=generator()) / 1.5


# --- MMD ------------------------------------------------------------------------------------------------------------


def test_a_metric_without_a_generator_is_a_function_of_its_arguments():
    a, b = normal(300, 2), 1.2 * normal(300, 2, seed=5)
    torch.manual_seed(0)
    first = sliced_wasserstein(a, b), real_floor(sliced_wasserstein, a, 100, repeats=3).tolist()
    torch.manual_seed(1)
    assert (sliced_wasserstein(a, b), real_floor(sliced_wasserstein, a, 100, repeats=3).tolist()) == first


def test_mmd_with_a_linear_kernel_is_the_squared_gap_of_means_less_its_noise():
    a, b = normal(9, 4, seed=1), normal(13, 4, seed=2) + 0.5
    noise = a.var(0).sum() / len(a) + b.var(0).sum() / len(b)
    expected = (a.mean(0) - b.mean(0)).square().sum() - noise
    assert_close(mmd(a, b, kernel=lambda x, y: x @ y.T), float(expected))


@pytest.mark.parametrize("kernel", [None, gaussian_kernel(1.0), cubic_kernel])
def test_mmd_is_zero_on_average_between_draws_of_the_same_density(kernel):
    values = [mmd(normal(12, 3, 2 * i), normal(20, 3, 2 * i + 1), kernel) for i in range(600)]
    assert is_zero_on_average(values)
    assert min(values) < 0


def test_mmd_of_two_gaussians():
    """On the line, with scale h: MMD^2 = 2 h (h^2 + 2)^(-1/2) (1 - exp(-c^2 / (2 (h^2 + 2)))) for a shift c."""
    h, c = 0.7, 1.5
    exact = 2 * h / math.sqrt(h**2 + 2) * (1 - math.exp(-(c**2) / (2 * (h**2 + 2))))
    values = [mmd(normal(100, 1, 2 * i), normal(100, 1, 2 * i + 1) + c, gaussian_kernel(h)) for i in range(100)]
    assert is_zero_on_average(torch.tensor(values) - exact)


# --- Frechet --------------------------------------------------------------------------------------------------------


def test_frechet_of_aligned_gaussians():
    mean, a, b = torch.tensor([1.0, -2.0]), torch.diag(torch.tensor([4.0, 1.0])), torch.diag(torch.tensor([1.0, 9.0]))
    assert_close(frechet_of_gaussians(mean, a, torch.zeros(2), b), 5.0 + 1.0 + 4.0)


def test_frechet_of_tilted_gaussians_against_a_matrix_square_root():
    from scipy.linalg import sqrtm

    a, b, mean = covariance(6, 1), covariance(6, 2), normal(1, 6)[0]
    expected = float(mean @ mean + a.trace() + b.trace()) - 2 * float(np.trace(sqrtm(a.numpy() @ b.numpy()).real))
    assert_close(frechet_of_gaussians(mean, a, torch.zeros(6), b), expected)
    assert_close(frechet_of_gaussians(torch.zeros(6), b, mean, a), expected)


def test_frechet_of_a_flat_covariance():
    flat = torch.zeros(3, 3, dtype=torch.float64)
    assert_close(frechet_of_gaussians(torch.ones(3), flat, torch.ones(3), covariance(3)), float(covariance(3).trace()))


def test_frechet_fits_the_gaussians():
    root = torch.linalg.cholesky(covariance(4))
    a, b = normal(200_000, 4, seed=1) @ root.T, 2 * normal(200_000, 4, seed=2) @ root.T + 1
    assert_close(frechet(a, b), 4 + float(covariance(4).trace()), rtol=0.01, atol=0)


def test_the_bias_of_white_features_is_the_known_law():
    for dim in (1, 16, 64):
        assert_close(frechet_bias(torch.eye(dim), 1000), (dim * (dim + 1) / 4 + dim) / 1000)


@pytest.mark.parametrize("cov", [torch.eye(6, dtype=torch.float64), covariance(6)], ids=["white", "tilted"])
def test_the_bias_law_holds(cov):
    """Mean FD of n examples to their own density, minus the law: zero within its standard error and 3 % of the law."""
    root, zero = torch.linalg.cholesky(cov), torch.zeros(6, dtype=torch.float64)
    for n in (150, 600):
        draws = (normal(n, 6, seed) @ root.T for seed in range(300))
        values = torch.tensor([frechet_of_gaussians(x.mean(0), torch.cov(x.T), zero, cov) for x in draws])
        law = frechet_bias(cov, n)
        assert abs(float(values.mean()) - law) < 0.03 * law + 4 * float(values.std()) / math.sqrt(300)


def test_correction_and_extrapolation_remove_the_bias():
    pairs = [(normal(200, 6, 2 * i), normal(300, 6, 2 * i + 1)) for i in range(60)]
    raw = torch.tensor([frechet(a, b) for a, b in pairs])
    allowed = 0.05 * frechet_bias(torch.eye(6), 120)
    assert raw.mean() > 10 * raw.std() / math.sqrt(60)
    corrected = torch.tensor([frechet_corrected(a, b) for a, b in pairs])
    assert abs(corrected.mean()) < allowed + 4 * corrected.std() / math.sqrt(60)
    extrapolated = torch.tensor([frechet_extrapolated(a, b, repeats=4, generator=generator()) for a, b in pairs])
    assert abs(extrapolated.mean()) < 3 * allowed + 4 * extrapolated.std() / math.sqrt(60)


def test_extrapolation_keeps_a_true_distance():
    a, b = normal(2000, 4, 1), normal(2000, 4, 2) + 0.5
    found = frechet_extrapolated(a, b, generator=generator())
    assert abs(found - 1) < 4 * 2 * math.sqrt(2 / 2000)  # sd of |mean gap|^2 is 2 |gap| sqrt(2 / n)


def test_extrapolation_wants_enough_examples():
    with pytest.raises(ValueError, match="too few"):
        frechet_extrapolated(normal(30, 8), normal(30, 8))


# --- floor, neighbours, entropy -------------------------------------------------------------------------------------


def test_the_floor_compares_disjoint_parts_of_the_size_asked():
    real = torch.arange(100.0)[:, None]
    floor = real_floor(lambda a, b: float(len(torch.cat([a, b]).unique())), real, 40, repeats=5)
    assert_close(floor, torch.full((5,), 80.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="do not fit"):
        real_floor(sliced_wasserstein, real, 51)


def test_the_floor_of_the_frechet_distance_is_twice_its_bias():
    floor = real_floor(frechet, normal(4000, 4), 400, repeats=40, generator=generator())
    assert_close(float(floor.mean()), 2 * frechet_bias(torch.eye(4), 400), rtol=0.25, atol=0)


def test_precision_and_recall_of_a_known_overlap():
    """Real on [0, 1], fake on [0.5, 1.5]: half of the fakes lie among the real, half of the real are reached."""
    real, fake = torch.linspace(0, 1, 1001)[:, None], torch.linspace(0.5, 1.5, 1001)[:, None]
    precision, recall = precision_recall(real, fake)
    assert_close((precision, recall), (0.5, 0.5), rtol=0, atol=0.01)


def test_precision_and_recall_tell_few_modes_from_bad_samples():
    real = torch.cat([normal(200, 2, 1), normal(200, 2, 2) + 20])
    one_mode, noise = normal(400, 2, 3), 60 * normal(400, 2, 4)
    precision, recall = precision_recall(real, one_mode)
    assert precision > 0.85
    assert recall < 0.55
    assert precision_recall(real, noise)[0] < 0.1
    assert precision_recall(real, real.clone()) == (1.0, 1.0)


def test_copies_are_at_distance_zero():
    train = 100 + torch.randn(700, 1, 8, 8, generator=generator())
    assert_close(nearest_distance(train[:600], train), torch.zeros(600), rtol=0, atol=0)
    moved = train.clone()
    moved[:, 0, 0, 0] += 0.25
    assert_close(nearest_distance(moved, train), torch.full((700,), 0.25), rtol=1e-4, atol=0)


def test_entropy_of_classes():
    assert_close(class_entropy(torch.arange(10).repeat(7), 10), 1.0)
    assert_close(class_entropy(torch.full((5,), 3), 10), 0.0)
    assert_close(class_entropy(torch.tensor([0, 0, 1, 1]), 4), 0.5)


def test_samples_that_have_collapsed_are_measured_all_the_same():
    """All points in one place: no spread, no scale of their own, and still a distance."""
    ones, twos = torch.ones(6, 2), 2 * torch.ones(4, 2)
    for metric in (sliced_wasserstein, mmd, frechet):
        assert_close(metric(ones, ones[:4]), 0.0, rtol=0, atol=1e-12)
    assert_close(frechet(ones, twos), 2.0)
    assert_close(sliced_wasserstein(ones[:, :1], twos[:, :1]), 1.0)
    assert_close(mmd(ones, twos), 2 - 2 * math.exp(-0.5))  # the kernel is as wide as the one distance there is
    assert precision_recall(ones, torch.ones(5, 2)) == (1.0, 1.0)
    assert precision_recall(ones, torch.full((5, 2), 2.0)) == (0.0, 0.0)
    assert frechet_corrected(ones, twos) == pytest.approx(2.0)


def test_copies_do_not_narrow_the_kernel():
    """Three quarters of the samples are one point: the kernel keeps the scale of the data, and MMD sees it."""
    real = torch.randn(200, 2, generator=generator())
    stuck = torch.cat([torch.zeros(150, 2), torch.randn(50, 2, generator=generator(1))])
    kernel = gaussian_kernel(float(torch.pdist(torch.cat([real, stuck]).unique(dim=0)).median()))
    assert_close(mmd(real, stuck), mmd(real, stuck, kernel), rtol=1e-4, atol=1e-6)
    assert mmd(real, stuck) > 5 * abs(mmd(real, torch.randn(200, 2, generator=generator(2))))


def test_what_is_not_a_number_is_refused_by_name():
    good, bad = torch.randn(8, 2, generator=generator()), torch.zeros(8, 2)
    bad[3, 1], bad[5, 0] = math.nan, math.inf
    metrics = (sliced_wasserstein, mmd, frechet, frechet_corrected, precision_recall, nearest_distance)
    for metric in metrics:
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="2 of 8 examples are not finite"):
                metric(*pair)
    with pytest.raises(ValueError, match="the nearest of none"):
        nearest_distance(good, good[:0])
    for labels, classes in (
        (torch.tensor([0, 3]), 3),
        (torch.tensor([-1]), 3),
        (torch.empty(0).long(), 3),
        ((good[:, 0] > 9).long(), 1),
    ):
        with pytest.raises(ValueError, match="entropy is that of labels"):
            class_entropy(labels, classes)


def test_metrics_say_what_they_want():
    for metric in (sliced_wasserstein, mmd, frechet, precision_recall):
        with pytest.raises(ValueError, match="rows of features"):
            inspect.unwrap(metric)(torch.zeros(5, 1, 8, 8), torch.zeros(5, 1, 8, 8))
        with pytest.raises(ValueError, match="at least two"):
            metric(torch.zeros(1, 2), torch.zeros(5, 2))
    with pytest.raises(ValueError, match="neighbour"):
        precision_recall(torch.zeros(3, 2), torch.zeros(5, 2))
