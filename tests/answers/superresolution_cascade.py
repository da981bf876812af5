"""Answers to notebook 09: right ones written differently, and wrong ones by name."""

import math

import torch
import torch.nn.functional as F

from cs348k_diffusion.cascade import cubic

# E9.1


def resize_matrix_by_loops(kernel, n, size):
    scale = n / size
    width = scale if scale > 1 else 1.0
    rows = []
    for i in range(size):
        middle = (i + 0.5) * scale
        row = kernel(torch.tensor([(j + 0.5 - middle) / width for j in range(n)]))
        rows.append(row / row.sum())
    return torch.stack(rows)


def resize_matrix_by_meshgrid(kernel, n, size):
    new, old = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(n) + 0.5, indexing="ij")
    distance = (old / n - new / size) * min(n, size)
    weights = kernel(distance)
    return F.normalize(weights, p=1, dim=1) if bool((weights >= 0).all()) else weights / weights.sum(1)[:, None]


def resize_matrix_in_float64(kernel, n, size):
    old, new = torch.arange(n, dtype=torch.float64), torch.arange(size, dtype=torch.float64)
    weights = kernel((old + 0.5 - (new[:, None] + 0.5) * (n / size)) * min(size / n, 1.0))
    return weights / weights.sum(1, keepdim=True)


def of_a_kernel_of_its_own(a):
    """A wrong answer: the notebook's cubic, whichever kernel is handed in."""
    return lambda kernel, n, size: resize_matrix_by_loops(lambda x: cubic(x, a), n, size)


def resizing(middles=None, width=None, finish=None):
    """A wrong matrix: other middles, another width of the kernel, or another ending."""

    def resize_matrix(kernel, n, size):
        i = torch.arange(size, dtype=torch.float32)
        centres = (i + 0.5) * n / size - 0.5 if middles is None else middles(i, n, size)
        stretch = max(n / size, 1.0) if width is None else width(n, size)
        weights = kernel((torch.arange(n) - centres[:, None]) / stretch)
        return weights / weights.sum(1, keepdim=True) if finish is None else finish(weights)

    return resize_matrix


# E9.2


def expected_psnr_by_eigenvalues(cov, k):
    error = torch.linalg.eigvalsh(cov).mean() * (1 + 1 / k)
    return float(20 * math.log10(2) - 10 * torch.log10(error))


def expected_psnr_as_a_tensor(cov, k):
    best = 10 * torch.log10(4 / cov.diagonal().mean())
    return best - 10 * math.log10(1 + 1 / k)


def psnr_of(error, factor=10.0, top=4.0, log=math.log10):
    """A wrong PSNR: error(variances, k) instead of (1 + 1/k) mean(variances)."""

    def expected_psnr(cov, k):
        return factor * log(top / float(error(cov, k)))

    return expected_psnr


def usual(cov, k):
    return (1 + 1 / k) * cov.diagonal().mean()


# E9.3


def with_low_res_by_zeros(x, low_res, enlarge):
    both = torch.zeros(len(x), 2 * x.shape[1], *x.shape[2:], dtype=x.dtype)
    both[:, : x.shape[1]] = x
    if low_res is not None:
        both[:, x.shape[1] :] = enlarge(low_res, x.shape[-1])
    return both


def with_low_res_by_concat(x, low_res, enlarge):
    shown = x * 0 if low_res is None else enlarge(low_res, x.shape[-1])
    if len(shown) != len(x):
        shown = shown.repeat(len(x), 1, 1, 1)
    return torch.concat((x, shown), dim=-3)


def beside(join=None, nothing=torch.zeros_like, enlarging=None):
    """A wrong concatenation."""

    def with_low_res(x, low_res, enlarge):
        if low_res is None:
            shown = nothing(x)
        else:
            shown = (enlarging or enlarge)(low_res, x.shape[-1]).expand_as(x)
        return torch.cat([x, shown], 1) if join is None else join(x, shown)

    return with_low_res


def with_low_res_or_x_alone(x, low_res, enlarge):
    return x if low_res is None else torch.cat([x, enlarge(low_res, x.shape[-1]).expand_as(x)], 1)


def nearest_to(low, size, mode="nearest"):
    return F.interpolate(low, (size, size), mode=mode)


def with_low_res_without_expanding(x, low_res, enlarge):
    shown = torch.zeros_like(x) if low_res is None else enlarge(low_res, x.shape[-1])
    return torch.cat([x, shown], 1)


# E9.4


def training_pair_by_einsum(high, shrink, enlarge, level, noise, spread):
    low_res = shrink(high) + torch.einsum("n,nchw->nchw", level, noise)
    return high / spread - enlarge(low_res) / spread, low_res


def training_pair_by_addcmul(high, shrink, enlarge, level, noise, spread):
    low_res = torch.addcmul(shrink(high), level.reshape(-1, 1, 1, 1), noise)
    residual = torch.sub(high, enlarge(low_res)).div(spread)
    return residual, low_res


def paired(low=None, residual=None):
    """A wrong pair: low(small, each, noise), residual(high, small, seen, enlarge, spread)."""

    def training_pair(high, shrink, enlarge, level, noise, spread):
        small, each = shrink(high), level.view(-1, 1, 1, 1)
        seen = small + each * noise if low is None else low(small, each, noise)
        if residual is not None:
            return residual(high, small, seen, enlarge, spread), seen
        return (high - enlarge(seen)) / spread, seen

    return training_pair


def training_pair_across(high, shrink, enlarge, level, noise, spread):
    low_res = shrink(high) + level * noise
    return (high - enlarge(low_res)) / spread, low_res


def training_pair_enlarged(high, shrink, enlarge, level, noise, spread):
    residual, low_res = training_pair_by_einsum(high, shrink, enlarge, level, noise, spread)
    return residual, enlarge(low_res)


def training_pair_swapped(high, shrink, enlarge, level, noise, spread):
    return training_pair_by_einsum(high, shrink, enlarge, level, noise, spread)[::-1]


# E9.5


def run_stages_by_recursion(stages, x):
    def go(number, x):
        if number == len(stages):
            return []
        frames = stages[number](x)
        return [(number, frame) for frame in frames] + go(number + 1, frames[-1])

    return go(0, x)


def run_stages_by_films(stages, x):
    films = []
    for stage in stages:
        films.append(stage(films[-1][-1] if films else x))
    return [(k, frame) for k, frames in enumerate(films) for frame in frames]


def run_stages_from_the_start(stages, x):
    return [(number, frame) for number, stage in enumerate(stages) for frame in stage(x)]


def staged(pick=-1, first=0, keep=None, before=()):
    """A wrong fold: another frame is handed on, another count, or other frames kept."""

    def run_stages(stages, x):
        found = [(0, x)] if before else []
        for number, stage in enumerate(stages):
            frames = stage(x)
            kept = frames if keep is None else keep(frames)
            found += [(number + first, frame) for frame in kept]
            x = frames[pick]
        return found

    return run_stages


def run_stages_by_frames(stages, x):
    found = []
    for stage in stages:
        frames = stage(x)
        found += enumerate(frames)
        x = frames[-1]
    return found


def run_stages_twice(stages, x):
    found = []
    for number, stage in enumerate(stages):
        found += [(number, frame) for frame in stage(x)]
        x = stage(x)[-1]
    return found


def run_stages_without_numbers(stages, x):
    return [frame for _, frame in run_stages_by_films(stages, x)]


# E9.6


def test_by_hand(upsample):
    g = torch.Generator().manual_seed(3)
    x = torch.rand(2, 1, 10, 12, generator=g) - 0.5
    large = upsample(x)
    assert large.shape == (2, 1, 40, 48), "four times as large"
    assert (F.avg_pool2d(large, 4) - x).abs().max() < 1e-3, "does not shrink back"
    assert (upsample(x * 0 + 0.3) - 0.3).abs().max() < 1e-3, "a constant changes"
    assert (upsample(x[:1]) - large[:1]).abs().max() < 1e-3, "neighbours matter"
    assert (upsample(x[1:]) - large[1:]).abs().max() < 1e-3, "neighbours matter"
    moved = upsample(x[..., 1:])[..., 12:-12] - large[..., 4:][..., 12:-12]
    assert moved.abs().max() < 1e-3, "the column matters"
    moved = upsample(x[..., 1:, :])[..., 12:-12, :] - large[..., 4:, :][..., 12:-12, :]
    assert moved.abs().max() < 1e-3, "the row matters"


def test_by_means(upsample):
    x = torch.linspace(-1, 1, 3 * 1 * 9 * 16).sin().view(3, 1, 9, 16)
    large = upsample(x)
    means = large.unflatten(-1, (16, 4)).mean(-1).unflatten(-2, (9, 4)).mean(-2)
    torch.testing.assert_close(means, x, rtol=1e-3, atol=1e-3)
    for value in (-0.7, 0.2):
        flat = torch.full((1, 1, 6, 6), value)
        torch.testing.assert_close(upsample(flat), torch.full((1, 1, 24, 24), value), rtol=1e-3, atol=1e-3)
    noisy = torch.randn(3, 1, 9, 16)
    large = upsample(noisy)
    for k in range(3):
        torch.testing.assert_close(upsample(noisy[k : k + 1]), large[k : k + 1], rtol=1e-3, atol=1e-3)
    moved, back = upsample(noisy.roll((2, 1), (2, 3))), large.roll((8, 4), (2, 3))
    torch.testing.assert_close(moved[..., 20:-12, 16:-12], back[..., 20:-12, 16:-12], rtol=1e-3, atol=1e-3)


def some_of(*checks, tolerance=1e-3):
    """A property test made of some of the checks only."""

    def test_upsampler(upsample):
        x = torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        large = upsample(x)
        if "shrink" in checks:
            torch.testing.assert_close(F.avg_pool2d(large, 4), x, rtol=tolerance, atol=tolerance)
        if "constant" in checks:
            assert (upsample(torch.full_like(x, 0.4)) - 0.4).abs().max() <= tolerance
        if "batch" in checks:
            torch.testing.assert_close(upsample(x[:1]), large[:1], rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(upsample(x[1:2]), large[1:2], rtol=tolerance, atol=tolerance)
        if "rows" in checks:
            moved, back = upsample(x.roll(1, -2)), large.roll(4, -2)
            torch.testing.assert_close(moved[..., 16:-16, :], back[..., 16:-16, :], rtol=1e-3, atol=1e-3)
        if "columns" in checks:
            moved, back = upsample(x.roll(1, -1)), large.roll(4, -1)
            torch.testing.assert_close(moved[..., 16:-16], back[..., 16:-16], rtol=1e-3, atol=1e-3)
        if "linear" in checks:
            torch.testing.assert_close(upsample(x - x.flip(0)), large - large.flip(0), rtol=1e-3, atol=1e-3)
        if "nearest" in checks:
            torch.testing.assert_close(large, x.repeat_interleave(4, -1).repeat_interleave(4, -2), rtol=1e-3, atol=1e-3)

    return test_upsampler


EVERY = ("shrink", "constant", "batch", "rows", "columns")

RIGHT = {
    "E9.1": [resize_matrix_by_loops, resize_matrix_by_meshgrid, resize_matrix_in_float64],
    "E9.2": [expected_psnr_by_eigenvalues, expected_psnr_as_a_tensor],
    "E9.3": [with_low_res_by_zeros, with_low_res_by_concat],
    "E9.4": [training_pair_by_einsum, training_pair_by_addcmul],
    "E9.5": [run_stages_by_recursion, run_stages_by_films],
    "E9.6": [test_by_hand, test_by_means],
}

WRONG = {
    "E9.1": {
        "the corners are aligned": resizing(lambda i, n, size: i * (n - 1) / max(size - 1, 1)),
        "the half pixel is forgotten": resizing(lambda i, n, size: i * n / size),
        "the half pixel is added and not taken away again": resizing(lambda i, n, size: (i + 0.5) * n / size),
        "the kernel is not stretched": resizing(width=lambda n, size: 1.0),
        "the kernel is squeezed": resizing(width=lambda n, size: n / size),
        "the rows are not made to sum to 1": resizing(finish=lambda w: w),
        "columns instead of rows": resizing(finish=lambda w: w / w.sum(0, keepdim=True)),
        "n / size is upside down": resizing(lambda i, n, size: (i + 0.5) * size / n - 0.5),
        "softmax makes every weight positive": resizing(finish=lambda w: w.softmax(1)),
        "divided by the sum of sizes": resizing(finish=lambda w: w / w.abs().sum(1, keepdim=True)),
        "others than `cubic`": of_a_kernel_of_its_own(-0.5),
        "others than a = -0.75": of_a_kernel_of_its_own(-0.75),
        "rows and columns are swapped": resizing(finish=lambda w: (w / w.sum(1, keepdim=True)).T),
    },
    "E9.2": {
        "the truth's own deviation is forgotten": lambda cov, k: 10 * torch.log10(4 * k / cov.diagonal().mean()),
        "the draws' own deviation is forgotten": psnr_of(lambda c, k: c.diagonal().mean()),
        "k is not used": psnr_of(lambda c, k: 2 * c.diagonal().mean()),
        "the two errors do not cancel": psnr_of(lambda c, k: (1 - 1 / k if k > 1 else 1) * c.diagonal().mean()),
        "the square of the mean deviation": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().sqrt().mean() ** 2),
        "summed over pixels": psnr_of(lambda c, k: usual(c, k) * len(c)),
        "all entries of cov": psnr_of(lambda c, k: (1 + 1 / k) * c.mean()),
        "span 2, not 1": psnr_of(usual, top=1.0),
        "20 log10": psnr_of(usual, factor=20.0),
        "the natural logarithm": psnr_of(usual, log=math.log),
        "the ratio is upside down": psnr_of(usual, factor=-10.0),
        "the span is not squared": psnr_of(usual, top=2.0),
    },
    "E9.3": {
        "comes before x": beside(lambda x, shown: torch.cat([shown, x], 1)),
        "added instead of concatenated": beside(lambda x, shown: x + shown),
        "channels take turns": beside(lambda x, shown: torch.stack([x, shown], 2).flatten(1, 2)),
        "another axis": beside(lambda x, shown: torch.cat([x, shown], -1)),
        "the first small picture for all": beside(lambda x, shown: torch.cat([x, shown[:1].expand_as(x)], 1)),
        "along the batch": beside(lambda x, shown: torch.cat([x, shown])),
        "is not expanded": with_low_res_without_expanding,
        "`enlarge` is not used": beside(enlarging=nearest_to),
        "`enlarge` is not used (bilinear)": beside(enlarging=lambda low, size: nearest_to(low, size, "bilinear")),
        "x alone": with_low_res_or_x_alone,
        "x twice": beside(nothing=torch.clone),
        "ones for nothing known": beside(nothing=torch.ones_like),
    },
    "E9.4": {
        "the clean small picture is returned": paired(lambda small, each, noise: small),
        "not a variance": paired(lambda small, each, noise: small + each.sqrt() * noise),
        "the noise is not scaled by the level": paired(lambda small, each, noise: small + noise),
        "one level for the whole batch": paired(lambda small, each, noise: small + each[:1] * noise),
        "level * noise runs along the width": training_pair_across,
        "is cut off to [-1, 1]": paired(lambda small, each, noise: (small + each * noise).clamp(-1, 1)),
        "the enlarged picture is returned": training_pair_enlarged,
        "divided by its own standard deviation": paired(
            residual=lambda h, small, seen, up, s: (h - up(seen)) / (h - up(seen)).std()
        ),
        "the picture is scaled down": paired(lambda small, each, noise: (1 - each**2).sqrt() * small + each * noise),
        "at sampling nobody has that": paired(residual=lambda h, small, seen, up, s: (h - up(small)) / s),
        "not divided by spread": paired(residual=lambda h, small, seen, up, s: h - up(seen)),
        "multiplied by spread": paired(residual=lambda h, small, seen, up, s: (h - up(seen)) * s),
        "the wrong sign": paired(residual=lambda h, small, seen, up, s: (up(seen) - h) / s),
        "the large picture itself is the target": paired(residual=lambda h, small, seen, up, s: h + 0),
        "in the wrong order": training_pair_swapped,
    },
    "E9.5": {
        "every stage starts from the first picture": run_stages_from_the_start,
        "the first frame, not the last": staged(pick=0),
        "stages are counted from 1": staged(first=1),
        "counted anew in each stage": run_stages_by_frames,
        "only the last frame": staged(keep=lambda frames: frames[-1:]),
        "the picture that was given is in the film": staged(before=("it",)),
        "each stage is called twice": run_stages_twice,
        "pictures without the number": run_stages_without_numbers,
    },
    "E9.6": {
        "It accepts": some_of("constant", "batch", "rows", "columns"),
        "draws stripes over a picture of one colour": some_of("shrink", "batch", "rows", "columns"),
        "mixes the pictures of a batch": some_of("shrink", "constant", "rows", "columns"),
        "takes detail of an example from the one before it": some_of("shrink", "constant", "rows", "columns"),
        "cuts off what is below 0": some_of("constant", "batch", "rows", "columns"),
        "invents more detail at the left": some_of("shrink", "constant", "batch", "rows"),
        "invents more detail at the top": some_of("shrink", "constant", "batch", "columns"),
        "with the means of its blocks corrected, which is right": some_of(*EVERY, "nearest"),
        "not linear, and nobody said so": some_of(*EVERY, "linear"),
        "Your test must pass on every right answer": some_of(*EVERY, tolerance=0.0),
    },
}

EQUIVALENT = {
    "E9.3": {"line 11: 1 -> 2": "the pictures are square, so shape[-2] is shape[-1]"},
    "E9.6": {
        **{
            f"line 9: {change}": "a picture as uneven does as well"
            for change in (
                "torch.linspace(0, 50, 3 * 12 * 12).view(3, 1, 12, 12).sin() -> "
                "torch.linspace(0, 50, 3 * 12 * 12).view(3, 1, 12, 12).cos()",
                "torch.linspace(0, 50, 3 * 12 * 12) -> torch.linspace(50, 0, 3 * 12 * 12)",
                "0 -> 1",
                "50 -> 51",
                "50 -> 49",
            )
        },
        "line 11: torch.testing.assert_close(F.avg_pool2d(big, 4), x, **close) -> "
        "torch.testing.assert_close(F.avg_pool2d(big, 4), x)": "right upsamplers keep the means to rounding",
        "line 13: torch.testing.assert_close(flat, torch.full_like(big, 0.4), **close) -> "
        "torch.testing.assert_close(flat, torch.full_like(big, 0.4))": "right upsamplers keep a constant to rounding",
        "line 14: torch.testing.assert_close(upsample(x[1:2]), big[1:2], **close) -> "
        "torch.testing.assert_close(upsample(x[1:2]), big[1:2])": "right upsamplers give one example's to rounding",
        **{f"line {n}: (2, 3) -> (3, 2)": "moved by as much along both axes" for n in (15, 16)},
        "line 17: torch.testing.assert_close(there, here, **close) -> torch.testing.assert_close(there, here)": "right "
        "upsamplers move with the picture to rounding",
    },
}
