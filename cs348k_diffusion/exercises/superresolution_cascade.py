"""Checks of notebook 09: resizing, what regression and a draw can reach, and the pieces of a cascade of upsamplers."""

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import (
    Counted,
    Exercise,
    StudentError,
    Wrong,
    agree,
    expect,
    generator,
    picture,
    run_against,
    varied,
)
from cs348k_diffusion.exercises.framework.difference import agrees, form_difference

EXERCISES = (
    Exercise(
        "E9.1",
        "resize_matrix",
        "Bicubic by hand",
        gives="weights: tensor",
        hints=(
            "Lay both rows of pixels over the same piece of the line. Where, counted in old pixels, is the middle of "
            "new "
            "pixel i?",
            "Old pixel j has its middle at j + 1/2, new pixel i at (i + 1/2) n / size. The kernel takes the distance "
            "between the two, and each row of weights is then divided by its sum.",
            "When n > size, a kernel of the usual width skips old pixels. Divide the distances by n / size before "
            "calling the kernel; when n < size, by 1.",
        ),
        withheld=("cascade.resize_matrix", "cascade.resize"),
        ours="cascade.resize_matrix",
    ),
    Exercise(
        "E9.2",
        "expected_psnr",
        "What the best can reach",
        gives="psnr: object",
        hints=(
            "Given the small picture, the truth is itself a draw from the posterior. How far from the posterior's "
            "mean is "
            "it, squared and on average, in terms of cov?",
            "The mean of k draws differs from the truth by two independent parts: the truth's own deviation, and that "
            "of the mean of the draws. Their variances add.",
            "The error of a pixel is a factor times the mean of cov's diagonal: 1 for the mean, 2 for one draw. Which "
            "factor belongs to the mean of k draws? Then PSNR = 10 log10(2^2 / error).",
        ),
    ),
    Exercise(
        "E9.3",
        "with_low_res",
        "Conditioning by concatenation",
        gives="channels: tensor",
        hints=(
            "A convolution reads all channels at a place together. What must be true of the small picture before it "
            "can "
            "be a channel beside the noisy one?",
            "Enlarge it to the size of x and concatenate along the axis of channels. What can take its place when "
            "nothing is known, so that the number of channels stays the same?",
            "For None, zeros shaped like x; else the enlarged picture, which must first be expanded where its batch "
            "is 1 "
            "and that of x is not.",
        ),
        withheld=("nets.upsampler.with_low_res", "nets.upsampler.UpsamplerUNet"),
        ours="nets.upsampler.with_low_res",
    ),
    Exercise(
        "E9.4",
        "training_pair",
        "Noise augmentation",
        gives="residual: tensor, low_res: tensor",
        hints=(
            "Which small picture will the network see when it is used, the clean one or the noisy one? Its condition "
            "and the picture that the residual is added to must both come from that one.",
            "low_res = shrink(high) + level * noise, one level for each example: level needs as many axes as the "
            "picture.",
            "The residual is high minus an enlarged picture, divided by spread. Enlarge the small picture that you "
            "return.",
        ),
        withheld=("cascade.training_pair", "cascade.augment", "cascade.Upsampler"),
        ours="cascade.training_pair",
    ),
    Exercise(
        "E9.5",
        "run_stages",
        "A cascade is a fold",
        gives="film: list",
        hints=(
            "What does stage 1 start from: the picture that you were given, or something that stage 0 made?",
            "Keep one variable, the picture so far. Every stage is called once on it, and its last frame becomes the "
            "new "
            "picture so far.",
            "In a loop over enumerate(stages): call the stage once, keep its frames with its number, and only then "
            "let x "
            "be the last of them.",
        ),
        withheld=("cascade.cascade",),
    ),
    Exercise(
        "E9.6",
        "test_upsampler",
        "A property test for an upsampler",
        hints=(
            "You cannot know what the large picture should look like. You do know what it becomes when it is shrunk "
            "again.",
            "What should happen to a picture of one colour, to one picture without its neighbours in the batch, and to "
            "a picture that is moved by one small pixel, down or to the side, away from the borders?",
            "Four assertions. Means of 4 x 4 blocks give x back; a constant stays constant; one example gives the same "
            "alone as in a batch; and x moved by 1, down and to the side, gives the result moved by 4, away from the "
            "borders.",
        ),
    ),
)


def draws(*shape, seed=0, dtype=torch.float32):
    """Standard normal numbers."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


# ---- E9.1 ----------------------------------------------------------------------------------------------------------


def keys(a):
    """Keys' cubic with parameter a, from its definition."""

    def kernel(x):
        d = x.abs()
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))

    return kernel


def tent(x):
    """The kernel of linear interpolation."""
    return (1 - x.abs()).clamp(min=0)


def table(kernel, n, size, centre=None, stretch=None, normalise: int | None = 1):
    """The matrix, entry by entry, with slips to order."""
    centre = centre or (lambda i: (i + 0.5) * n / size - 0.5)
    width = max(n / size, 1.0) if stretch is None else stretch
    places = torch.tensor([[(j - centre(i)) / width for j in range(n)] for i in range(size)])
    weights = kernel(places)
    return weights / weights.sum(normalise, keepdim=True) if normalise is not None else weights


KEYS, SHARPER = keys(-0.5), keys(-0.75)
CALLED = {KEYS: "Keys' cubic with a = -0.5", SHARPER: "with a = -0.75", tent: "the tent max(1 - |x|, 0)"}


def single(got):
    """A matrix in float64, as Python's numbers make it, in float32: either is right."""
    return got.float() if isinstance(got, torch.Tensor) and got.dtype == torch.float64 else got


def cut_weights(weights):
    return weights / weights.sum(1, keepdim=True)


def summing(matrix):
    """The matrix; ValueError where rounding decides whether a row can be made to sum to 1."""
    if not (matrix.sum(1) - 1).abs().max() < 1e-3:
        raise ValueError("a row of zeros")
    return matrix


def resizing_mistakes(kernel, n, size):
    """What the usual slips give, as functions."""
    return {
        "the corners are aligned: a pixel has its middle half a pixel inside": lambda: table(
            kernel, n, size, centre=lambda i: i * (n - 1) / max(size - 1, 1)
        ),
        "1 / size instead of n / size": lambda: table(kernel, n, size, centre=lambda i: (i + 0.5) / size - 0.5),
        "a whole pixel is added, not half of one": lambda: table(
            kernel, n, size, centre=lambda i: (i + 1) * n / size - 0.5
        ),
        "the half pixel is forgotten": lambda: table(kernel, n, size, centre=lambda i: i * n / size),
        "the half pixel is added and not taken away again": lambda: table(
            kernel, n, size, centre=lambda i: (i + 0.5) * n / size
        ),
        "the kernel is not stretched where the picture shrinks": lambda: table(kernel, n, size, stretch=1.0),
        "the kernel is squeezed where the picture grows": lambda: summing(table(kernel, n, size, None, n / size)),
        "the kernel is squeezed where the picture grows, and not stretched where it shrinks": lambda: summing(
            table(kernel, n, size, None, min(n / size, 1.0))
        ),
        "the kernel is stretched by a whole number: n / size is rounded up": lambda: table(
            kernel, n, size, stretch=max(math.ceil(n / size), 1)
        ),
        "the kernel is stretched by the root of n / size": lambda: table(
            kernel, n, size, stretch=max(n / size, 1.0) ** 0.5
        ),
        "n / size is rounded down": lambda: table(kernel, n, size, centre=lambda i: (i + 0.5) * (n // size) - 0.5),
        "the half pixel is added to the old pixels alone": lambda: table(
            kernel, n, size, centre=lambda i: i * n / size - 0.5
        ),
        "new pixels run from edge to edge: their middles lie half a pixel inside": lambda: table(
            kernel, n, size, centre=lambda i: i * n / max(size - 1, 1) - 0.5
        ),
        "rows and columns are swapped": lambda: table(kernel, n, size).T,
        "n / size is upside down": lambda: table(kernel, n, size, centre=lambda i: (i + 0.5) * size / n - 0.5),
        "n and size are swapped": lambda: table(kernel, size, n),
        "`kernel` is not used: the check hands in others than `cubic`, a = -0.5": lambda: table(KEYS, n, size),
        "`kernel` is not used: the check hands in others than a = -0.75": lambda: table(SHARPER, n, size),
        **weight_mistakes(kernel, n, size),
    }


def weight_mistakes(kernel, n, size):
    """What the usual slips make of each row's sum, as functions."""
    return {
        "the rows are not made to sum to 1": lambda: table(kernel, n, size, normalise=None),
        "columns instead of rows are made to sum to 1": lambda: table(kernel, n, size, normalise=0),
        "negative weights are cut off": lambda: cut_weights(table(kernel, n, size, normalise=None).clamp(min=0)),
        "negative weights are taken for positive ones": lambda: cut_weights(
            table(kernel, n, size, normalise=None).abs()
        ),
        "each row is divided by its largest weight, not by its sum": lambda: (
            (w := table(kernel, n, size, normalise=None)) / w.amax(1, keepdim=True)
        ),
        "all weights are divided by the sum of all: each row must sum to 1": lambda: (
            (w := table(kernel, n, size, normalise=None)) / w.sum()
        ),
        "softmax makes every weight positive: divide by the row's sum": lambda: table(
            kernel, n, size, normalise=None
        ).softmax(1),
        "divided by the sum of sizes: negative weights count as negative": lambda: F.normalize(
            table(kernel, n, size, normalise=None), p=1, dim=1
        ),
    }


def judge_matrix(resize_matrix, inputs, says):
    """resize_matrix on (kernel, n, size), with the usual slips; a row of 8 pixels on its way to 32 is shown."""

    def subject(kernel, n, size):
        got = single(resize_matrix(kernel, n, size))
        if isinstance(got, torch.Tensor) and got.shape == (32, 8):
            row = torch.tensor([0.0, 0, 1, 1, 0, 1, 0, 0])
            picture(got.float() @ row, table(kernel, 8, 32) @ row, "a row of 8 pixels on its way to 32")
        return got

    agree(
        subject,
        lambda kernel, n, size: table(kernel, n, size),
        inputs,
        says=f"n pixels must become size by the kernel handed in ({', '.join(CALLED.values())}): {says}",
        mistakes=resizing_mistakes,
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.exercise("E9.1", points=2)
def test_enlarges_rows_of_pixels(resize_matrix):
    (case,) = varied(((1,),), seed=91)
    old, more = case.integers(4, 12, 2).tolist()
    inputs = ((KEYS, 8, 32), (SHARPER, 5, 7), (tent, 1, 3), (KEYS, 6, 6), (SHARPER, old, old + more))
    judge_matrix(resize_matrix, inputs, "a row of n weights for each new pixel.")


@pytest.mark.exercise("E9.1", points=2)
def test_shrinks_rows_without_passing_pixels_over(resize_matrix):
    (case,) = varied(((1,),), seed=92)
    new, more = case.integers(4, 12, 2).tolist()
    inputs = ((KEYS, 32, 8), (SHARPER, 13, 5), (tent, 9, 1), (KEYS, 2 * new + more, new))
    judge_matrix(resize_matrix, inputs, "each of the n must count.")


# ---- E9.2 ----------------------------------------------------------------------------------------------------------


def number(value):
    """A number, also when it comes as a tensor of one."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def finite(k):
    """k; ValueError for infinitely many, where a formula says nothing."""
    if not math.isfinite(k):
        raise ValueError("infinitely many")
    return k


def decibel(error):
    return 10 * math.log10(4 / error)


def psnr_mistakes(cov, k):
    """What the usual slips give, in dB."""
    spread, d = float(cov.trace()), len(cov)
    error = (1 + 1 / k) * spread / d
    return {
        "the truth's own deviation is forgotten": lambda: decibel(spread / d / k) if math.isfinite(k) else math.inf,
        "the draws' own deviation is forgotten": lambda: decibel(spread / d),
        "k is not used: a mean of k draws varies by 1/k of what one draw does": lambda: decibel(2 * spread / d),
        "1 - 1/k: the two errors do not cancel, they add": lambda: decibel((1 - 1 / k) * spread / d),
        "k instead of 1/k": lambda: decibel((1 + k) * spread / d) if math.isfinite(k) else -math.inf,
        "1/(1 + k) instead of 1 + 1/k": lambda: decibel(spread / d / (1 + k)) if math.isfinite(k) else math.inf,
        "k/(1 + k) instead of (1 + k)/k": lambda: decibel(finite(k) / (1 + k) * spread / d),
        "1/(k - 1) instead of 1/k": lambda: decibel((1 + 1 / (finite(k) - 1)) * spread / d),
        "1/(k + 1) instead of 1/k": lambda: decibel((1 + 1 / (k + 1)) * spread / d),
        "2/k: the two errors differ, only the draws' is divided by k": lambda: decibel(2 * spread / d / finite(k)),
        "1/k is added to the mean variance, not multiplied with it": lambda: decibel(spread / d + 1 / k),
        "10 log10 is for ratios of squares, 20 log10 for their roots": lambda: 5 * math.log10(4 / error),
        "pictures in [-1, 1] span 2, not 255": lambda: 10 * math.log10(255**2 / error),
        "the logarithm has no factor 10: decibel": lambda: math.log10(4 / error),
        "the variance of each pixel has its own PSNR, and their mean is taken": lambda: float(
            (10 * (4 / ((1 + 1 / k) * cov.diagonal().double())).log10()).mean()
        ),
        "1/k^2 instead of 1/k": lambda: decibel((1 + 1 / k**2) * spread / d),
        "1/sqrt(k) instead of 1/k: variances are averaged": lambda: decibel((1 + k**-0.5) * spread / d),
        "the square of the mean deviation, not the mean variance": lambda: decibel(
            (1 + 1 / k) * float(cov.diagonal().sqrt().mean()) ** 2
        ),
        "deviations are added where variances add": lambda: decibel((1 + k**-0.5) ** 2 * spread / d),
        "the error is summed over pixels, not averaged": lambda: decibel(error * d),
        "all entries of cov instead of its diagonal": lambda: decibel((1 + 1 / k) * float(cov.mean())),
        "pictures in [-1, 1] span 2, not 1": lambda: decibel(4 * error),
        "20 log10 is for ratios of amplitudes; this one is of squares": lambda: 2 * decibel(error),
        "the natural logarithm": lambda: 10 * math.log(4 / error),
        "the ratio is upside down": lambda: -decibel(error),
        "the span is not squared": lambda: 10 * math.log10(2 / error),
        "the logarithm to base 2, not 10": lambda: 10 * math.log2(4 / error),
        "the root of the error: the squared one is asked for": lambda: 10 * math.log10(4 / error**0.5),
    } | {
        f"{name} for their mean": functools.partial(decibel, (1 + 1 / k) * float(value))
        for name, value in spreads(cov).items()
    }


def spreads(cov):
    """What may be taken for the mean variance of the pixels, by name."""
    variances = cov.diagonal()
    return {
        "the median of the variances": variances.median(),
        "the largest of the variances": variances.max(),
        "the smallest of the variances": variances.min(),
        "the first pixel's variance": variances[0],
        "standard deviations": variances.sqrt().mean(),
        "the largest eigenvalue": torch.linalg.eigvalsh(cov)[-1],
        "the sizes of all entries": cov.abs().mean(),
        "the length of all entries over d": cov.norm() / len(cov),
        "the sum of the variances over d - 1": variances.sum() / max(len(cov) - 1, 1),
    }


def covariance(d, seed, dtype=torch.float32):
    """A covariance whose off-diagonal matters: positive correlations."""
    root = draws(d, d, seed=seed, dtype=dtype).abs() * 0.1
    return root @ root.T


def judge_psnr(expected_psnr, inputs, says):
    """expected_psnr on (cov, k), with the usual slips."""
    agree(
        lambda cov, k: number(expected_psnr(cov, k)),
        lambda cov, k: decibel((1 + 1 / k) * float(cov.trace()) / len(cov)),
        inputs,
        says=says,
        mistakes=psnr_mistakes,
        rtol=1e-4,
    )


@pytest.mark.exercise("E9.2", points=1)
def test_knows_what_the_mean_reaches(expected_psnr):
    inputs = [(covariance(d, seed), math.inf) for d, seed in ((16, 1), (1, 2), (5, 3))]
    judge_psnr(expected_psnr, inputs, "The mean of infinitely many draws is the posterior mean.")


@pytest.mark.exercise("E9.2", points=2)
def test_knows_what_draws_lose(expected_psnr):
    sizes = ((16, 4, torch.float32), (9, 32, torch.float64), (2, 1, torch.float32), (1, 7, torch.float32))
    inputs = [(covariance(d, 10 + d, dtype), k) for d, k, dtype in sizes]
    judge_psnr(expected_psnr, inputs, "PSNR of the mean of k draws, over all pixels.")


# ---- E9.3 ----------------------------------------------------------------------------------------------------------


def blocks(low, size):
    """Enlarging by repeated pixels, then marked, so that no other way of enlarging gives the same."""
    grown = low.repeat_interleave(size // low.shape[-1], -1).repeat_interleave(size // low.shape[-2], -2)
    return 0.9 * grown + 0.05


def concatenation_mistakes(x, low):
    """What the usual slips give, as functions."""
    grown = blocks(low, x.shape[-1]).expand_as(x)
    return {
        "the enlarged picture comes before x": lambda: torch.cat([grown, x], 1),
        "added instead of concatenated": lambda: x + grown,
        "channels take turns": lambda: torch.stack([x, grown], 2).flatten(1, 2),
        "joined along another axis than that of the channels": lambda: torch.cat([x, grown], -1),
        "joined below x, along the height": lambda: torch.cat([x, grown], -2),
        "x twice: the small picture is not used": lambda: torch.cat([x, x], 1),
        "x twice, once enlarged": lambda: torch.cat([x, blocks(x, x.shape[-1])], 1),
        "the mean small picture for all": lambda: torch.cat([x, grown.mean(0, keepdim=True).expand_as(x)], 1),
        "x less the enlarged picture": lambda: torch.cat([x, x - grown], 1),
        "the enlarged picture less x": lambda: torch.cat([x, grown - x], 1),
        "the small picture is enlarged twice": lambda: torch.cat([x, blocks(grown, x.shape[-1])], 1),
        "the small picture's first channel for all": lambda: torch.cat(
            [x, blocks(low[:, :1], x.shape[-1]).expand_as(x)], 1
        ),
        "the small picture is cut off to [-1, 1]": lambda: torch.cat([x, grown.clamp(-1, 1)], 1),
        "half of the enlarged picture": lambda: torch.cat([x, grown / 2], 1),
        "twice the enlarged picture": lambda: torch.cat([x, grown * 2], 1),
        "the mean of x and the enlarged picture": lambda: torch.cat([x, (x + grown) / 2], 1),
        "stacked along a new axis: channels are axis 1": lambda: torch.stack([x, grown], 1),
        "one small picture for all is not used: 0 stands in its place": lambda: torch.cat(
            [x, grown if len(low) == len(x) else 0 * x], 1
        ),
        "the first small picture for all": lambda: torch.cat([x, grown[:1].expand_as(x)], 1),
        "joined along the batch, torch.cat's default: channels are axis 1": lambda: torch.cat([x, grown], 0),
        **{
            f"`enlarge` is not used{by}": lambda mode=mode: torch.cat(
                [x, F.interpolate(low, x.shape[-2:], mode=mode).expand_as(x)], 1
            )
            for mode, by in (("nearest", ""), ("bilinear", " (bilinear)"), ("bicubic", " (bicubic)"))
        },
    }


def expanded(with_low_res, x, low):
    """with_low_res(x, low, blocks), or a failure that says when only the batch of 1 stops it."""
    try:
        return with_low_res(x, low, blocks)
    except StudentError as error:
        if len(low) == len(x):
            raise
        with_low_res(x, low.expand(len(x), -1, -1, -1).contiguous(), blocks)  # raises where that does not help
        name = "one small picture for all of x is not expanded to x's batch"
        raise Wrong("low_res may have a batch of 1 for all of x.", str(error), [name]) from error


def pictures_to_join():
    """(x, low): batches of several and of one, one small picture for all among them."""
    for batch, of, channels, small, size in ((2, 2, 3, 4, 16), (3, 1, 1, 8, 16), (1, 1, 2, 8, 8), (4, 4, 1, 2, 4)):
        dtype = torch.float64 if batch == 3 else torch.float32
        x = draws(batch, channels, size, size, seed=size, dtype=dtype)
        yield x, draws(of, channels, small, small, seed=3, dtype=dtype)


@pytest.mark.exercise("E9.3", points=1)
def test_puts_the_enlarged_picture_beside_x(with_low_res):
    agree(
        lambda x, low: expanded(with_low_res, x, low),
        lambda x, low: torch.cat([x, blocks(low, x.shape[-1]).expand_as(x)], 1),
        pictures_to_join(),
        says="x first, then the enlarged picture, as channels.",
        mistakes=concatenation_mistakes,
    )


@pytest.mark.exercise("E9.3", points=1)
def test_has_a_value_for_nothing_known(with_low_res):
    agree(
        lambda x: with_low_res(x, None, blocks),
        lambda x: torch.cat([x, torch.zeros_like(x)], 1),
        [(draws(*shape, seed=5),) for shape in ((2, 3, 8, 8), (1, 1, 4, 4))],
        says="Without a small picture the channels are still there, and 0.",
        mistakes={
            "x alone: the network needs the same number of channels": lambda x: x,
            "added instead of concatenated": lambda x: x,
            "stacked along a new axis: channels are axis 1": lambda x: torch.stack([x, 0 * x], 1),
            "-1 for nothing known": lambda x: torch.cat([x, 0 * x - 1], 1),
            "the mean of x for nothing known": lambda x: torch.cat([x, 0 * x + x.mean()], 1),
            "half of x for nothing known": lambda x: torch.cat([x, x / 2], 1),
            "x twice: nothing known is 0, not x": lambda x: torch.cat([x, x], 1),
            "ones for nothing known": lambda x: torch.cat([x, torch.ones_like(x)], 1),
            "the enlarged picture comes before x": lambda x: torch.cat([torch.zeros_like(x), x], 1),
            "zeros are enlarged like a picture: 0 itself is asked for": lambda x: torch.cat(
                [x, torch.full_like(x, 0.05)], 1
            ),
            "one channel of 0, whatever x has: as many as x's are asked for": lambda x: torch.cat([x, 0 * x[:, :1]], 1),
            "0 in place of x, too": lambda x: torch.cat([0 * x, 0 * x], 1),
        },
    )


# ---- E9.4 ----------------------------------------------------------------------------------------------------------


def halved(high):
    """Half the size, by means of 2 x 2 blocks, and marked."""
    return 0.8 * F.avg_pool2d(high, 2)


def doubled(low):
    """Twice the size, by repeated pixels, and marked."""
    return 1.1 * low.repeat_interleave(2, -1).repeat_interleave(2, -2)


def augmentation_cases():
    """(high, level, noise, spread): batches of several and of one, levels that differ, and 0."""
    for n, channels, size, seed in ((4, 3, 8, 1), (1, 1, 4, 2), (8, 2, 8, 3)):
        dtype = torch.float64 if n == 8 else torch.float32
        high = draws(n, channels, size, size, seed=seed, dtype=dtype)
        noise = draws(n, channels, size // 2, size // 2, seed=seed + 9, dtype=dtype)
        yield high, torch.linspace(0.5, 0.0, n, dtype=dtype) if n > 1 else torch.tensor([0.3]), noise, 0.25


ACROSS = "level * noise runs along the width, a level a column: give level three axes more, level.view(-1, 1, 1, 1)"


def across(small, level, noise):
    """Each column with a level of its own, as torch broadcasts (batch,); NaN where the sizes do not allow it."""
    return small + level * noise if len(level) in (1, noise.shape[-1]) else small * torch.nan


def pair(value, high, noise):
    """Two values, or a failure that says what is missing."""
    assert isinstance(value, tuple | list) and len(value) == 2, "wrong number of values: return (residual, low_res)"
    shapes = [getattr(one, "shape", None) for one in value]
    swapped = "the two results are in the wrong order: the residual, as large as high, comes first"
    assert shapes != [noise.shape, high.shape], swapped
    return value


def condition_mistakes(high, level, noise, spread):
    """What the usual slips make of the small picture."""
    small, each = halved(high), level.view(-1, 1, 1, 1)
    return {
        "the clean small picture is returned": small,
        "level is a standard deviation, not a variance": small + each.sqrt() * noise,
        "the noise is not scaled by the level": small + noise,
        "the level is squared: it is a standard deviation already": small + each**2 * noise,
        "the picture is multiplied by the noise: it is added": small * (1 + each * noise),
        "the noise alone, without the picture": each * noise,
        "one level for the whole batch": small + level[0] * noise,
        "the mean level for every example": small + level.mean() * noise,
        "the picture is scaled down as noise comes in; here it is not": (1 - each**2).sqrt() * small + each * noise,
        "the picture is scaled by 1 - level; here it is not": (1 - each) * small + each * noise,
        "noise is subtracted": small - each * noise,
        "the noise is scaled by spread, too": small + each * spread * noise,
        "the small picture is divided by spread: that is for the residual": (small + each * noise) / spread,
        "one noise, the first, for all examples": small + each * noise[:1],
        ACROSS: across(small, level, noise),
        "the small picture is cut off to [-1, 1]": (small + each * noise).clamp(-1, 1),
        "the enlarged picture is returned, not the small one": doubled(small + each * noise),
        "noise is added before the picture is shrunk": halved(high + doubled(each * noise)),
    }


def residual_mistakes(high, level, noise, spread, given):
    """What the usual slips make of the residual, for the small picture that was returned."""
    small = halved(high)
    seen = given if form_difference(given, small) is None else small + level.view(-1, 1, 1, 1) * noise
    missing = high - doubled(seen)
    clean = {
        "the residual of the clean small picture: at sampling nobody has that": (high - doubled(small)) / spread,
        "the residual of the clean small picture, not divided by spread": high - doubled(small),
    }
    return ({} if agrees(seen, small) else clean) | {
        "not divided by spread": missing,
        "multiplied by spread": missing * spread,
        "divided by a variance: spread is a standard deviation": missing / spread**2,
        "the wrong sign": -missing / spread,
        "the wrong sign, and not divided by spread": -missing,
        "the large picture itself is the target": high,
        "the large picture divided by spread": high / spread,
        "the large picture alone is divided by spread": high / spread - doubled(seen),
        "the enlarged picture alone is divided by spread": high - doubled(seen) / spread,
        "the sum of both pictures, not their difference": (high + doubled(seen)) / spread,
        "divided by its own standard deviation, not by spread": missing / missing.std(),
        "the noisy small picture is cut off to [-1, 1]": (high - doubled(seen.clamp(-1, 1))) / spread,
        "the residual is cut off to [-1, 1]": (missing / spread).clamp(-1, 1),
        "what is missing from the large picture shrunk and enlarged: it was shrunk twice": (
            (high - doubled(halved(doubled(seen)))) / spread
        ),
        ACROSS: (high - doubled(across(small, level, noise))) / spread,
    }


@pytest.mark.exercise("E9.4", points=2)
def test_the_small_picture_has_noise_of_its_own_level(training_pair):
    agree(
        lambda high, level, noise, spread: training_values(training_pair, high, level, noise, spread)[1],
        lambda high, level, noise, spread: halved(high) + level.view(-1, 1, 1, 1) * noise,
        augmentation_cases(),
        says="The condition must be shrink(high) + level * noise, a level for each example.",
        mistakes=condition_mistakes,
        rtol=1e-4,
        atol=1e-5,
    )


def training_values(training_pair, high, level, noise, spread):
    return pair(training_pair(high, halved, doubled, level, noise, spread), high, noise)


@pytest.mark.exercise("E9.4", points=2)
def test_the_residual_is_what_is_missing_from_what_the_network_sees(training_pair):
    """A slip in the small picture costs the other check alone: this one takes the picture that was returned."""
    given = []

    def residual(high, level, noise, spread):
        given.append(training_values(training_pair, high, level, noise, spread))
        return given[-1][0]

    def right(high, level, noise, spread):
        found, low = given[-1]
        fits = form_difference(low, noise) is None and agrees(found, (high - doubled(low)) / spread, 1e-4, 1e-4)
        return found if fits else (high - doubled(halved(high) + level.view(-1, 1, 1, 1) * noise)) / spread

    agree(
        residual,
        right,
        augmentation_cases(),
        says="enlarge(low_res) + spread * residual must be the large picture, for the low_res that is returned.",
        mistakes=lambda high, level, noise, spread: residual_mistakes(high, level, noise, spread, given[-1][1]),
        rtol=1e-4,
        atol=1e-4,
    )


# ---- E9.5 ----------------------------------------------------------------------------------------------------------


def stages_of(sizes, limit=3):
    """Stages that enlarge to these sizes in several frames: the last is the picture, the others are on the way."""

    def stage(size, count):
        def frames(x):
            grown = 0.9 * F.interpolate(x, size=(size, size), mode="nearest") + 0.1
            return [grown * (k + 1) / count + (count - 1 - k) for k in range(count)]

        return frames

    return [Counted(stage(size, 1 + k % 3), limit) for k, size in enumerate(sizes)]


def film(stages, x):
    """The truth: [(number, picture), ...]."""
    found = []
    for number, stage in enumerate(stages):
        frames = stage(x)
        found += [(number, frame) for frame in frames]
        x = frames[-1]
    return found


def fed(sizes, x, follow):
    """A film whose stages start from follow(frames of the one before)."""
    found = []
    for number, stage in enumerate(stages_of(sizes)):
        frames = stage(x)
        found += [(number, frame) for frame in frames]
        x = follow(frames)
    return found


def slips(sizes, x):
    """What the usual slips give."""
    right = film(stages_of(sizes), x)
    last = dict(right)
    return {
        "every stage starts from the first picture": lambda: [
            (number, frame) for number, stage in enumerate(stages_of(sizes)) for frame in stage(x)
        ],
        "the next stage starts from the first frame, not the last": lambda: fed(sizes, x, lambda frames: frames[0]),
        "the frames of a stage stay together in a list": lambda: [
            (number, [frame for n, frame in right if n == number]) for number in range(len(sizes))
        ],
        "the stages run from the last to the first": lambda: film(stages_of(sizes)[::-1], x),
        "only the last frame of each stage is kept": lambda: list(last.items()),
        "only the first frame of each stage is kept": lambda: [
            pair for k, pair in enumerate(right) if k == 0 or right[k - 1][0] != pair[0]
        ],
        "the first frame of each stage is left out": lambda: [
            pair for k, pair in enumerate(right) if k > 0 and right[k - 1][0] == pair[0]
        ],
        "the last frame of each stage is left out": lambda: [
            pair for pair, following in itertools.pairwise(right) if following[0] == pair[0]
        ],
        "only the first stage runs": lambda: [pair for pair in right if pair[0] == 0],
        "the frames of a stage are turned round": lambda: [
            pair for number in range(len(sizes)) for pair in reversed(right) if pair[0] == number
        ],
        "the next stage starts from the mean of the frames, not the last": lambda: fed(
            sizes, x, lambda frames: sum(frames) / len(frames)
        ),
        "the next stage starts from the second frame, not the last": lambda: fed(
            sizes, x, lambda frames: frames[min(1, len(frames) - 1)]
        ),
        "what the next stage starts from is cut off to [-1, 1]": lambda: fed(
            sizes, x, lambda frames: frames[-1].clamp(-1, 1)
        ),
        "the frames of a stage are stacked into one tensor": lambda: [
            (number, torch.stack([frame for n, frame in right if n == number])) for number in range(len(sizes))
        ],
        "the last frame is there twice": lambda: [*right, right[-1]],
        "only the last stage's frames are kept": lambda: [row for row in right if row[0] == len(sizes) - 1],
        "the picture that was given is in the film": lambda: [(0, x), *right],
        **misnumbered(sizes, right),
    }


def misnumbered(sizes, right):
    """The right frames, with the usual slips in their numbers."""
    return {
        "stages are counted from 1": lambda: [(number + 1, frame) for number, frame in right],
        "frames are counted, not stages": lambda: [(k, frame) for k, (_, frame) in enumerate(right)],
        "frames are counted anew in each stage": lambda: [
            (sum(n == number for n, _ in right[:k]), frame) for k, (number, frame) in enumerate(right)
        ],
        "stages are counted down": lambda: [(len(sizes) - 1 - number, frame) for number, frame in right],
        "the number of frames for the number of the stage": lambda: [
            (sum(n == number for n, _ in right), frame) for number, frame in right
        ],
        "pictures without the number of their stage": lambda: [frame for _, frame in right],
        "the picture comes before the number": lambda: [(frame, number) for number, frame in right],
    }


@pytest.mark.exercise("E9.5", points=2)
def test_each_stage_starts_where_the_one_before_ended(run_stages):
    agree(
        lambda sizes, x: run_stages(stages_of(sizes), x),
        lambda sizes, x: film(stages_of(sizes), x),
        [
            (sizes, draws(batch, 1, 4, 4, seed=len(sizes)))
            for sizes, batch in (((8, 16, 32), 2), ((4,), 1), ((4, 4, 8, 8), 1))
        ],
        says="All frames of all stages in order, each with its stage's number.",
        mistakes=slips,
    )


@pytest.mark.exercise("E9.5", points=1)
def test_every_stage_runs_once(run_stages):
    stages, x = stages_of((8, 8, 16), limit=20), draws(1, 2, 4, 4, seed=8)
    run_stages(stages, x)
    expect(
        [stage.calls for stage in stages],
        [1, 1, 1],
        says="A stage is costly: it must be called once, and its frames kept.",
        mistakes={
            "each stage is called twice": [2, 2, 2],
            "a stage never runs": [0, 0, 0],
            "the last stage never runs": [1, 1, 0],
            "every stage runs again for each later one": [3, 2, 1],
        },
    )


# ---- E9.6 ----------------------------------------------------------------------------------------------------------


def nearest(x):
    """Repeated pixels: right, and dull."""
    return x.repeat_interleave(4, -1).repeat_interleave(4, -2)


def consistent(mode, share=1.0):
    """Smooth enlargement, corrected so that the means of its blocks are the small picture; or a share of the way."""

    def upsample(x):
        smooth = F.interpolate(x, scale_factor=4, mode=mode)
        return smooth + share * nearest(x - F.avg_pool2d(smooth, 4))

    return upsample


def with_detail(detail):
    """Right but for some detail; `detail` is a function of x, shaped like the result."""
    return lambda x: nearest(x) + detail(x)


def edges(x):
    """Horizontal contrast of the small picture, per large pixel: 0 where it is constant."""
    return nearest(x - x.roll(1, -1))


def stripes(x):
    """Columns +1, -1, -1, +1 in every block: its means are 0."""
    return torch.tensor([1.0, -1, -1, 1]).to(x).repeat(x.shape[-1]).expand_as(nearest(x))


def upright(function):
    """What a function of x and its columns does, done to its rows."""
    return lambda x: function(x.mT).mT


def last_digit(x):
    """Right to rounding."""
    return nearest(x) + 1e-6 * stripes(x) * edges(x).sign()


def crispened(x):
    """More contrast where neighbours differ in any channel: right, though neither linear nor channel by channel."""
    return nearest(x) + 0.2 * stripes(x) * edges(x.mean(1, keepdim=True)).abs()


def slope(x):
    """From -1 at the left border to 1 at the right one."""
    return torch.linspace(-1, 1, 4 * x.shape[-1]).to(x).expand_as(nearest(x))


def as_promised(upsample):
    """The function as the docstring has it: what it does not promise to take raises ValueError."""

    def checked(x):
        if x.ndim != 4 or x.dtype != torch.float32 or min(x.shape[2:]) < 6:
            said = "upsample takes float32 pictures (batch, channels, h, w), h and w at least 6"
            raise ValueError(f"{said}, got shape {tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}")
        return upsample(x).contiguous()

    return checked


def of_the_one_before(x):
    """Each example's contrast from its predecessor, the first one's from itself."""
    return edges(torch.cat([x[:1], x[:-1]]))


RIGHT_UPSAMPLERS = {
    "repeated pixels": nearest,
    "bicubic, with the means of its blocks corrected": consistent("bicubic"),
    "bilinear, with the means of its blocks corrected": consistent("bilinear"),
    "repeated pixels, with more contrast at edges (not linear, and nobody said so)": crispened,
    "repeated pixels, but for their last digits": last_digit,
}
RIGHT_UPSAMPLERS = {name: as_promised(upsample) for name, upsample in RIGHT_UPSAMPLERS.items()}
REPEATED, BICUBIC, BILINEAR, CRISP, ROUNDED = RIGHT_UPSAMPLERS
STRICTER = {
    CRISP: "Ask for no more than the exercise says: not for linearity, mirror images, or each channel by itself.",
    (BICUBIC, BILINEAR): "Near the borders a place may be treated otherwise: compare moved pictures 4 small pixels and "
    "more from there.",
    (BICUBIC, BILINEAR, CRISP): "Ask for no more than the exercise says: not for one certain way to enlarge, a small "
    "pixel somewhere in its block, or the range of the small picture.",
    (BICUBIC, BILINEAR, CRISP, ROUNDED): "Compare with a tolerance of 1e-3, not exactly.",
}
WRONG_UPSAMPLERS = {
    "cuts off what is below 0": lambda x: nearest(x.clamp(min=0)),
    "takes detail of an example from the one before it": with_detail(lambda x: 0.2 * stripes(x) * of_the_one_before(x)),
    "does not enlarge faithfully: too bright": lambda x: nearest(x) + 0.1,
    "is a nearest neighbour moved by two pixels": lambda x: nearest(x).roll(2, -1),
    "loses contrast": lambda x: 0.8 * nearest(x),
    "is bicubic, and the means of its blocks are corrected halfway": consistent("bicubic", 0.5),
    "mirrors the picture": lambda x: nearest(x).flip(-1),
    "draws stripes over a picture of one colour": with_detail(lambda x: 0.1 * stripes(x)),
    "draws stripes that grow with the colour": with_detail(lambda x: 0.3 * stripes(x) * nearest(x)),
    "mixes the pictures of a batch": with_detail(lambda x: 0.2 * stripes(x) * edges(x).mean(0, keepdim=True)),
    "invents more detail at the left than at the right": with_detail(lambda x: 0.3 * stripes(x) * edges(x) * slope(x)),
    "turns the picture upside down": upright(lambda x: nearest(x).flip(-1)),
    "invents more detail at the top than at the bottom": upright(
        with_detail(lambda x: 0.3 * stripes(x) * edges(x) * slope(x))
    ),
    "forgets the other examples: the first one for all": lambda x: nearest(x[:1]).expand(len(x), -1, -1, -1),
}
WRONG_UPSAMPLERS = {name: as_promised(upsample) for name, upsample in WRONG_UPSAMPLERS.items()}


@pytest.mark.exercise("E9.6", points=2)
def test_accepts_right_upsamplers_and_rejects_the_crude_ones(test_upsampler):
    crude = ("does not enlarge faithfully: too bright", "is a nearest neighbour moved by two pixels", "loses contrast")
    run_against(test_upsampler, RIGHT_UPSAMPLERS, {name: WRONG_UPSAMPLERS[name] for name in crude}, stricter=STRICTER)


@pytest.mark.exercise("E9.6", points=3)
def test_rejects_the_subtle_ones_too(test_upsampler):
    run_against(test_upsampler, RIGHT_UPSAMPLERS, WRONG_UPSAMPLERS, seed=1, stricter=STRICTER)
