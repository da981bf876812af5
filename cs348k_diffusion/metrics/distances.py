"""How far are samples from data?  Each metric looks at one thing, and each has a floor that is not zero.

Two honest draws of the same data differ too, and more so the fewer they are: put `real_floor` beside every number, at
the same number of images. Nothing here knows where its features come from: pass points, pixels or a classifier's
hidden layer, one row for each example. A metric that needs random numbers takes a generator.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


def sliced_wasserstein(
    a: Float[Tensor, "n dim"],
    b: Float[Tensor, "m dim"],
    directions: int = 128,
    generator: torch.Generator | None = None,
) -> float:
    """The 2-Wasserstein distance between shadows, root mean square over random directions.

    SW^2 = mean over u of  integral over q in [0, 1] of  (F_a^-1(q; u) - F_b^-1(q; u))^2
    F^-1(q; u) is the quantile function of u . x for a unit vector u; n and m may differ, and the integral is exact.
    In the units of the data. On the line it is the distance itself. Without `generator` the directions are the same in
    every call. Source: Bonneel et al. 2015, JMIV 51.
    """
    _paired(a, b)
    if directions < 1:
        raise ValueError(f"shadows need at least one direction, got directions = {directions}")
    generator = generator or torch.Generator().manual_seed(0)
    u = torch.randn(a.shape[1], directions if a.shape[1] > 1 else 1, generator=generator).to(a)
    u = u / u.norm(dim=0)
    left, right, mass = _couple(len(a), len(b))
    gap = (a @ u).sort(dim=0).values[left.to(a.device)] - (b @ u).sort(dim=0).values[right.to(b.device)]
    return float((mass.to(gap)[:, None] * gap.double() ** 2).sum(0).mean().sqrt())


def _couple(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which sorted point of n goes with which of m, and how much mass: whole numbers, out of n m, keep it exact."""
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return starts // m, starts // n, (ends - starts).double() / (n * m)


def mmd(a: Float[Tensor, "n dim"], b: Float[Tensor, "m dim"], kernel: Kernel | None = None) -> float:
    """The squared maximum mean discrepancy, without bias: zero on average, and so often negative, when a and b agree.

    MMD^2 = mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j) - 2 mean over i, j of k(a_i, b_j)
    The default kernel is a Gaussian as wide as the median distance between two different points of a and b together;
    `cubic_kernel` on a classifier's features is the KID. Raises ValueError with fewer than two points on a side.
    Source: Gretton et al. 2012, lemma 6, JMLR 13; Binkowski et al. 2018, arXiv:1801.01401.
    """
    _paired(a, b)
    kernel = kernel or gaussian_kernel(_median_distance(torch.cat([a, b])))
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    within = sum((k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (aa, bb))
    return float(within - 2 * ab.mean())


def gaussian_kernel(scale: float) -> Kernel:
    """k(x, y) = exp(-|x - y|^2 / (2 scale^2)). Raises ValueError unless scale > 0."""
    if not scale > 0:
        raise ValueError(f"a Gaussian kernel has a width above 0, got scale = {scale:g}")
    return lambda x, y: torch.exp(-(_distances(x, y).double() ** 2) / (2 * scale**2))


def cubic_kernel(x: Float[Tensor, "n dim"], y: Float[Tensor, "m dim"]) -> Float[Tensor, "n m"]:
    """k(x, y) = (x . y / dim + 1)^3, the kernel of the KID."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def frechet(a: Float[Tensor, "n dim"], b: Float[Tensor, "m dim"]) -> float:
    """The squared Frechet distance between Gaussians fitted to a and b ("FD"; with Inception features, "FID").

    It is too large, even when a and b agree, by about `frechet_bias(cov, n) + frechet_bias(cov, m)`: compare only
    numbers taken at equal n, or use `frechet_corrected` or `frechet_extrapolated`. Raises ValueError with fewer than
    two points on a side. Source: Heusel et al. 2017, eq. 6, arXiv:1706.08500.
    """
    _paired(a, b)
    return frechet_of_gaussians(*_moments(a), *_moments(b))


def frechet_of_gaussians(
    mean_a: Float[Tensor, " dim"], cov_a: Float[Tensor, "dim dim"], mean_b: Float[Tensor, " dim"], cov_b: Tensor
) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) for covariances A and B: exact, in float64.

    Raises ValueError for values that are not finite. Source: Dowson & Landau 1982, J. Multivariate Analysis 12.
    """
    if not all(bool(each.isfinite().all()) for each in (mean_a, cov_a, mean_b, cov_b)):
        raise ValueError("a mean or a covariance is not finite (NaN or infinity): no distance to it exists")
    a, b = cov_a.double(), cov_b.double()
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    spread = (a.trace() + b.trace() - 2 * cross).clamp(min=0)  # rounding makes it -1e-16 where A = B
    return float(((mean_a - mean_b).double() ** 2).sum() + spread)


def frechet_bias(cov: Float[Tensor, "dim dim"], n: int) -> float:
    """What n Gaussian examples with covariance `cov` add to the Frechet distance, on average, to first order in 1/n.

    bias = [ tr(cov) + 1/2 sum_ij (1 + [i = j]) l_i l_j / (l_i + l_j) ] / n,   l the eigenvalues of cov
    For cov = I it is [dim (dim + 1) / 4 + dim] / n, a law worth knowing: 64 features and 1,000 images give 1.1.
    It needs n well above dim. Source: second-order expansion of the Bures distance (Bhatia et al. 2019, Expo. Math.);
    that the bias exists, Chong & Forsyth 2020, arXiv:1911.07023.
    """
    if n < 1 or not bool(cov.isfinite().all()):
        raise ValueError(f"the bias is that of n >= 1 examples with a finite covariance; got n = {n}")
    l = torch.linalg.eigvalsh(cov.double()).clamp(min=0)
    pairs = l[:, None] * l / (l[:, None] + l).clamp(min=torch.finfo(l.dtype).tiny)
    return float((l.sum() + (pairs.sum() + pairs.diagonal().sum()) / 2) / n)


def frechet_corrected(a: Float[Tensor, "n dim"], b: Float[Tensor, "m dim"]) -> float:
    """`frechet(a, b)` less the bias expected of its n and m examples; near zero, either side of it, when a and b agree.

    Right for features that are nearly Gaussian; where they are not, `frechet_extrapolated` assumes less.
    """
    _paired(a, b)
    cov = (_moments(a)[1] + _moments(b)[1]) / 2
    return frechet(a, b) - frechet_bias(cov, len(a)) - frechet_bias(cov, len(b))


def frechet_extrapolated(
    a: Float[Tensor, "n dim"],
    b: Float[Tensor, "m dim"],
    shares: tuple[float, ...] = (0.4, 0.5, 0.65, 0.8, 1.0),
    repeats: int = 8,
    generator: torch.Generator | None = None,
) -> float:
    """The Frechet distance of infinitely many examples: FD of random shares of a and b, on a line in 1 / share.

    FD(share) = FD_infinity + slope / share, fitted by least squares; the intercept is returned. It assumes only that
    the bias goes as 1/n, so the smallest share must still hold several times `dim` examples; ValueError otherwise.
    Source: Chong & Forsyth 2020, arXiv:1911.07023.
    """
    if len(set(shares)) < 2 or repeats < 1 or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"a line needs two or more different shares in (0, 1], got {shares} with repeats = {repeats}")
    if min(len(a), len(b)) * min(shares) < 2 * a.shape[1]:
        raise ValueError(
            f"too few examples to extrapolate: {min(shares):g} of {min(len(a), len(b))} is less than twice the "
            f"{a.shape[1]} features; bring more examples or leave out the smallest shares"
        )
    pairs = [(share, _subset(a, share, generator), _subset(b, share, generator)) for share in shares * repeats]
    value = torch.tensor([frechet(left, right) for _, left, right in pairs], dtype=torch.float64)
    line = torch.stack([torch.ones(len(pairs)), torch.tensor([1 / share for share, _, _ in pairs])], dim=1).double()
    return float(torch.linalg.lstsq(line, value[:, None]).solution[0])


def real_floor(
    metric: Metric, real: Tensor, size: int, repeats: int = 20, generator: torch.Generator | None = None
) -> Float[Tensor, " repeats"]:
    """metric(real part, other real part) over random disjoint parts of `size` examples: what a perfect model scores.

    Returns all the values: take their mean for the floor and their quantiles for its width. Without `generator` the
    parts are the same in every call. Raises ValueError when two parts of that size do not fit into `real`.
    """
    generator = generator or torch.Generator().manual_seed(0)
    if not 0 < 2 * size <= len(real):
        raise ValueError(f"two disjoint parts of {size} do not fit into {len(real)} real examples")
    orders = (torch.randperm(len(real), generator=generator).to(real.device) for _ in range(repeats))
    values = [metric(real[order[:size]], real[order[size : 2 * size]]) for order in orders]
    return torch.tensor(values, dtype=torch.float64)


def precision_recall(real: Float[Tensor, "n dim"], fake: Float[Tensor, "m dim"], k: int = 3) -> tuple[float, float]:
    """Precision, the share of fakes that lie among the real, and recall, the share of the real that the fakes reach.

    x lies among a set when it is no further from one of its members than that member's k-th nearest neighbour in the
    set. Both are below 1 for two honest draws: take the floor. Raises ValueError unless each side has more than k.
    Source: Kynkaanniemi et al. 2019, eq. 1 and 2, arXiv:1904.06991.
    """
    _paired(real, fake)
    if k < 1:
        raise ValueError(f"the nearest neighbour is the first: k is at least 1, got {k}")
    if min(len(real), len(fake)) <= k:
        raise ValueError(
            f"the {k}-th neighbour needs more than {k} examples, got {len(real)} real and {len(fake)} fake"
        )
    return float(_among(fake, real, k).double().mean()), float(_among(real, fake, k).double().mean())


def nearest_distance(x: Float[Tensor, "n ..."], others: Float[Tensor, "m ..."]) -> Float[Tensor, " n"]:
    """For each x the Euclidean distance to the nearest of `others`: near zero throughout when a model has memorised.

    Read it beside the distances of held-out real data to the same training set.
    """
    if not len(others) or x.shape[1:] != others.shape[1:]:
        raise ValueError(f"the nearest of none, or of another shape: got {tuple(x.shape)} and {tuple(others.shape)}")
    x, others = x.flatten(1), others.flatten(1)
    _finite(x, others)
    return torch.cat([_distances(part, others).min(dim=1).values for part in x.split(512)])


def class_entropy(labels: Int[Tensor, " n"], classes: int) -> float:
    """The entropy of the share of each class, divided by log(classes): 1 when all are equally frequent, 0 when one is.

    A model that has dropped a class can hide from the Frechet distance, not from this. Raises ValueError without
    labels, for labels outside 0 .. classes - 1, and for fewer than two classes.
    """
    if classes < 2 or not len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        seen = f"{len(labels)} labels from {int(labels.min())} to {int(labels.max())}" if len(labels) else "no labels"
        raise ValueError(f"entropy is that of labels 0 .. {classes - 1} of two or more classes; got {seen}")
    share = labels.bincount(minlength=classes).double() / len(labels)
    return float(torch.special.entr(share).sum() / torch.log(torch.tensor(classes, dtype=torch.float64)))


def _paired(a: Tensor, b: Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.shape[1]:
        raise ValueError(
            f"metrics compare rows of features, (n, dim) with (m, dim): got {tuple(a.shape)} and {tuple(b.shape)}; "
            "flatten images or take a classifier's features"
        )
    if min(len(a), len(b)) < 2:
        raise ValueError(f"at least two examples on each side, got {len(a)} and {len(b)}")
    _finite(a, b)


def _finite(*tensors: Tensor) -> None:
    for x in tensors:
        if bad := int((~x.isfinite()).flatten(1).any(1).sum()):
            raise ValueError(f"{bad} of {len(x)} examples are not finite (NaN or infinity): no distance to them exists")


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.double().mean(0), torch.cov(x.double().T).reshape(x.shape[1], x.shape[1])


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # not by |x|^2 - 2xy + |y|^2, which loses half of the digits: an exact copy would seem to be 0.001 away
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _median_distance(x: Tensor) -> float:
    some = x[:: max(1, len(x) // 1000)].unique(dim=0)  # copies of one point say nothing about scale
    return float(torch.pdist(some.double()).median()) if len(some) > 1 else 1.0


def _among(x: Tensor, members: Tensor, k: int) -> Bool[Tensor, " n"]:
    radius = _distances(members, members).kthvalue(k + 1, dim=1).values  # the nearest member of all is itself
    return torch.cat([(_distances(part, members) <= radius).any(dim=1) for part in x.split(512)])


def _subset(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    chosen = torch.randperm(len(x), generator=generator)[: round(share * len(x))]
    return x[chosen.to(x.device)]
