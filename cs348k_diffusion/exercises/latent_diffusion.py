"""Checks of notebook 08: the code's draw and its price, standardised codes, the best linear code, sampling in codes."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from cs348k_diffusion.exercises import (
    Counted,
    Exercise,
    StudentError,
    agree,
    expect,
    must,
    run_against,
    same_form,
    varied,
)
from cs348k_diffusion.schedule import cosine, straight

EXERCISES = (
    Exercise(
        "E8.1",
        "best_linear_code",
        "The best linear code",
        gives="basis: tensor, error: tensor",
        hints=(
            "Of all directions, along which one do the rows differ most? What do you lose by leaving a direction out?",
            "Directions and variances are eigenvectors and eigenvalues of the covariance, which is about the rows' own "
            "mean. torch.linalg.eigh sorts them: in which order, and where in the matrix is one eigenvector?",
            "Divide by n for the variance of these very rows. Keep the last d columns, turned into rows with the "
            "greatest variance first; the error of a row is what the others' eigenvalues sum to.",
        ),
        withheld=("latent.PCACodec",),
        draws=True,  # torch.pca_lowrank does, and with q = p it is exact
    ),
    Exercise(
        "E8.2",
        "standardise_codes",
        "Codes of unit variance, and back",
        gives="codes: tensor",
        hints=(
            "A schedule is made for data of unit variance. Unit variance over what: examples, places, channels?",
            "Each channel has one mean and one standard deviation, over all examples and places of the data's codes. "
            "They belong to the data; the batch in hand may hold a single code.",
            "Reduce `data` over the axes 0, 2 and 3, and keep these axes so that the result broadcasts. The inverse "
            "undoes the two operations in the opposite order.",
        ),
        withheld=("latent.NetCodec",),
    ),
    Exercise(
        "E8.3",
        "multiply_adds",
        "Multiply-adds against f",
        gives="count: number",
        hints=(
            "How many numbers does one 3 x 3 convolution write, and how many products does each of them need?",
            "A convolution from a to b channels costs 9 a b at every place, and a code has (side / f)^2 places. One "
            "evaluation is a convolution in, the layers in the middle, and a convolution out.",
            "What happens once for each step, and what happens once for each picture? Keep them apart, and add.",
        ),
    ),
    Exercise(
        "E8.4",
        "code_and_price",
        "A draw of the code, and its price",
        gives="z: tensor, kl: tensor",
        hints=(
            "Where must the randomness enter, so that z still has a derivative with respect to mean and log_var?",
            "A normal number with another mean and another width is the standard one, stretched and moved. log_var is "
            "the logarithm of a variance: how do you get a standard deviation from it without dividing?",
            "The mean of a square is a variance plus the square of a mean: for noise that is 1, and for z? Put both "
            "into (z^2 - noise^2 - log_var) / 2; nothing random is left. Which axes does an example's total run over?",
        ),
        withheld=("latent.sampled_code", "latent.kl_to_normal"),
    ),
    Exercise(
        "E8.5",
        "draw_in_codes",
        "Sampling in codes",
        gives="pictures: tensor",
        hints=(
            "Which of the functions that you were given takes a code, and which one gives a picture? Who needs a "
            "picture on the way?",
            "The loop is that of notebook 04: a guess, then one DDIM step from t to s, for each pair of neighbours in "
            "`times`. The loop knows codes only.",
            "Do not clip the guess: pictures have a range, codes have none. After the last step, and only there, "
            "decode.",
        ),
        withheld=(
            "sampling.sample",
            "sampling.ddim",
            "sampling.ddpm",
            "pipeline.Pipeline",
            "latent.decoded",
            "latent.draw_in_codes",
        ),
        ours="latent.draw_in_codes",
    ),
    Exercise(
        "E8.6",
        "test_codec",
        "A property test for a codec",
        hints=(
            "You do not know which d numbers a codec keeps. What can you know without that: about the codes of the "
            "data, about a picture that has been through once, about the promised error?",
            "Decoding and encoding again must change nothing. Codes of the data have mean 0 and variance 1 in each "
            "channel. What about one example alone, and a picture that is moved by 4 pixels, down or to the side?",
            "Start with the codes of the data, channel by channel, with correction=0; then decode, encode, decode "
            "again, and compare. Rolling a picture by 4 pixels rolls its code by 1. Linear: the picture halfway "
            "between two has the code halfway, and the other way round. Nearest: what is lost is at right angles to "
            "all that decode can add. A piece has 16 numbers: a mean over pixels is not the promised sum.",
        ),
        too_long="your test is run on every codec in turn: give a whole batch to encode and decode, not piece by piece",
    ),
)

MAPS = ((5, 2, 3, 3), (1, 3, 2, 4), (4, 1, 1, 2), (2, 4, 1, 1), (3, 2, 4, 1))  # shapes of codes to try


# ---- E8.1 ----------------------------------------------------------------------------------------------------------


def rows_of():
    """(x, d): rows with unlike variances and a mean, more rows than numbers; d up to p."""
    for (n, p), d in (((40, 6), 2), ((9, 3), 3), ((14, 8), 1), ((30, 5), 4), ((12, 2), 1)):
        for case in varied(((n, p),), dtypes=(torch.float64,) if n % 2 else (torch.float32,), seed=n):
            spread = torch.logspace(0.3, -0.7, p, dtype=case.dtype)[torch.randperm(p, generator=case.generator)]
            mix = torch.linalg.qr(case.normal(p, p).double())[0].to(case.dtype)
            yield (case.normal() * spread) @ mix + case.normal(p, scale=3), d


def svd(x):
    """Directions and variances by the singular value decomposition of the centred rows, greatest first."""
    _, s, v = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=True)
    variances = torch.zeros(x.shape[1], dtype=torch.float64)
    variances[: len(s)] = s**2 / len(x)
    return v, variances


def best_basis(x, d):
    """The d first directions."""
    return svd(x)[0][:d].to(x.dtype)


def uncentred(x):
    _, _, v = torch.linalg.svd(x.double(), full_matrices=True)
    return v.to(x.dtype)


def otherwise_centred(change):
    """The directions where the rows are moved or scaled otherwise, the greatest first."""
    return lambda x, d: uncentred(change(x))[:d]


def agreeing(basis):
    """A basis in a form that does not know the sign of a direction: each row times its transpose."""
    return basis[:, :, None] * basis[:, None, :]


def of_eigh(x):
    """What torch.linalg.eigh gives: eigenvectors as columns, that of the smallest variance first."""
    centred = (x - x.mean(0)).double()
    return torch.linalg.eigh(centred.T @ centred / len(x))[1].to(x.dtype)


COLUMN = "an eigenvector is a column of eigh's matrix: "
ROW_MISTAKES = {  # seen in the squares alone: the sign of each column is chance
    COLUMN + "these are its first rows": lambda x, d: of_eigh(x)[:d],
    COLUMN + "these are its last rows": lambda x, d: of_eigh(x)[-d:],
    COLUMN + "these are its last rows, the last first": lambda x, d: of_eigh(x).flip(0)[:d],
    COLUMN + "these are its first rows, turned round": lambda x, d: of_eigh(x).flip(1)[:d],
}


BASIS_MISTAKES = {
    "the rows are not centred: the first direction points at their mean": lambda x, d: uncentred(x)[:d],
    "the smallest variances are kept: eigh sorts upwards": lambda x, d: svd(x)[0].flip(0)[:d].to(x.dtype),
    "the smallest of the kept comes first": lambda x, d: best_basis(x, d).flip(0),
    "the first d numbers are kept, whatever their variance": lambda x, d: torch.eye(x.shape[1], dtype=x.dtype)[:d],
    "directions are scaled by their standard deviation: they must have length 1": lambda x, d: (
        best_basis(x, d) * svd(x)[1][:d, None].sqrt().to(x.dtype)
    ),
    "d + 1 directions": lambda x, d: svd(x)[0][: d + 1].to(x.dtype),
    "directions are columns: rows are asked for": lambda x, d: best_basis(x, d).T,
    "directions are columns, the smallest of the kept first: rows are asked for": lambda x, d: (
        best_basis(x, d).flip(0).T
    ),
    "directions are as long as the column of codes: they must have length 1": lambda x, d: (
        best_basis(x, d) * (len(x) * svd(x)[1][:d, None]).sqrt().to(x.dtype)
    ),
    "the codes of the rows are returned, not the directions": lambda x, d: (x - x.mean(0)) @ best_basis(x, d).T,
    "torch.cov takes rows for variables: these are directions among examples": lambda x, d: (
        torch.linalg.eigh(torch.cov(x))[1].flip(1).T[:d]
    ),
    "the mean of each row is taken away, not the rows' mean": otherwise_centred(lambda x: x - x.mean(1, keepdim=True)),
    "one mean of all numbers is taken away: each column has its own": otherwise_centred(lambda x: x - x.mean()),
    "the columns are divided by their standard deviation: that finds directions of other rows": otherwise_centred(
        lambda x: (x - x.mean(0)) / x.std(0, correction=0)
    ),
}


def dropped(x, d):
    """The exact error: what is left of the rows when their best d-dimensional part is taken away."""
    basis, centred = svd(x)[0][:d], (x - x.mean(0)).double()
    left = centred - centred @ basis.T @ basis
    return left.square().sum(1).mean().to(x.dtype)


def left_of(x, d, size=torch.square):
    """The size of what each row loses, summed over its numbers."""
    centred, basis = x - x.mean(0), best_basis(x, d)
    return size(centred - centred @ basis.T @ basis).sum(1)


def left_by(basis, rows):
    """The mean over the rows of |row - its reconstruction|^2."""
    return (rows - rows @ basis.T @ basis).square().sum(1).mean()


ERROR_MISTAKES = {
    "what is kept, not what is dropped": lambda x, d: svd(x)[1][:d].sum().to(x.dtype),
    "the mean of the dropped variances, not their sum": lambda x, d: dropped(x, d) / max(x.shape[1] - d, 1),
    "for each number of a row; the whole row's is asked for": lambda x, d: dropped(x, d) / x.shape[1],
    "divided by n - 1: the error of these very rows is asked for": lambda x, d: dropped(x, d) * len(x) / (len(x) - 1),
    "singular values are not variances: square them": lambda x, d: (
        torch.linalg.svdvals(x - x.mean(0))[d:].sum() / len(x)
    ),
    "summed over the rows": lambda x, d: dropped(x, d) * len(x),
    "the root of the squared error": lambda x, d: dropped(x, d).sqrt(),
    "a share of the variance": lambda x, d: (svd(x)[1][d:].sum() / svd(x)[1].sum()).to(x.dtype),
    "standard deviations are added where variances add": lambda x, d: svd(x)[1][d:].sqrt().sum().to(x.dtype),
    "the largest variances are dropped": lambda x, d: svd(x)[1].flip(0)[d:].sum().to(x.dtype),
    "the largest of the dropped variances, not their sum": lambda x, d: (
        svd(x)[1][d].to(x.dtype) if d < x.shape[1] else x.new_zeros(())
    ),
    "the smallest variance, not the sum of all that are dropped": lambda x, d: svd(x)[1][-1].to(x.dtype),
    "the median over the rows, not their mean": lambda x, d: left_of(x, d).median(),
    "the row that loses most, not the mean over the rows": lambda x, d: left_of(x, d).max(),
    "lengths of what is lost, not their squares": lambda x, d: left_of(x, d).sqrt().mean(),
    "sizes of numbers, not their squares": lambda x, d: left_of(x, d, torch.abs).mean(),
    "rows that are not centred are projected: their mean is lost, too": lambda x, d: left_by(best_basis(x, d), x),
    "the mean is not added to the reconstruction again": lambda x, d: (
        (x - (x - x.mean(0)) @ best_basis(x, d).T @ best_basis(x, d)).square().sum(1).mean()
    ),
    "divided by the length of a row, not by the number of rows": lambda x, d: dropped(x, d) * len(x) / x.shape[1],
    "one error for each row: their mean is asked for": left_of,
    "the error of the first row alone": lambda x, d: left_of(x, d)[0],
    "a tensor of one number, (1,), for one without axes, ()": lambda x, d: dropped(x, d).view(1),
    "one direction too many is dropped": lambda x, d: svd(x)[1][d - 1 :].sum().to(x.dtype),
    "one direction too few is dropped": lambda x, d: svd(x)[1][d + 1 :].sum().to(x.dtype),
}


@pytest.mark.exercise("E8.1", points=2)
def test_keeps_the_directions_of_greatest_variance(best_linear_code):
    says = "basis must hold the d directions of greatest variance as rows of length 1, the greatest first"
    agree(
        lambda x, d: best_linear_code(x, d)[0].square(),
        lambda x, d: best_basis(x, d).square(),
        rows_of(),
        says=f"{says} (first without signs: as squares).",
        mistakes={
            name: lambda x, d, wrong=wrong: wrong(x, d).square()
            for name, wrong in {**BASIS_MISTAKES, **ROW_MISTAKES}.items()
        },
        rtol=2e-3,
        atol=2e-3,
    )
    agree(
        lambda x, d: agreeing(best_linear_code(x, d)[0]),
        lambda x, d: agreeing(best_basis(x, d)),
        rows_of(),
        says=f"{says} (each row is compared up to its sign, as products of its numbers).",
        mistakes={"signs within a direction are lost": lambda x, d: agreeing(best_basis(x, d).abs())},
        rtol=2e-3,
        atol=2e-3,
    )


def is_of_its_own_basis(basis, error, x, d):
    """Whether an error is that of the basis beside it: a slip in the basis costs only the check of the basis.

    Rows that were not centred count where the basis is not the best one either.
    """
    same_form(basis, best_basis(x, d))
    if error.dtype != x.dtype or error.ndim or not torch.allclose(basis @ basis.T, torch.eye(d).to(x), atol=1e-3):
        return False
    best = torch.allclose(agreeing(basis), agreeing(best_basis(x, d)), rtol=2e-3, atol=2e-3)
    rows = [x - x.mean(0)] if best else [x - x.mean(0), x]
    return any(torch.isclose(error, left_by(basis, each), rtol=1e-3, atol=1e-5) for each in rows)


def error_of(best_linear_code):
    """The error of an answer; the true one where it is that of the answer's own basis."""

    def error(x, d):
        basis, found = best_linear_code(x, d)
        return dropped(x, d) if is_of_its_own_basis(basis.detach(), found.detach(), x, d) else found

    return error


@pytest.mark.exercise("E8.1", points=2)
def test_knows_what_is_lost(best_linear_code):
    agree(
        error_of(best_linear_code),
        dropped,
        rows_of(),
        says="error must be the mean over the rows of |row - its reconstruction|^2, summed over a row's numbers.",
        mistakes=ERROR_MISTAKES,
        rtol=1e-3,
        atol=1e-5,
    )


# ---- E8.2 ----------------------------------------------------------------------------------------------------------


def moments(data):
    """Mean and standard deviation of each channel, channel by channel."""
    rows = [data[:, c].reshape(-1) for c in range(data.shape[1])]
    mean = torch.stack([row.sum() / len(row) for row in rows])
    var = torch.stack([(row * row).sum() / len(row) for row in rows]) - mean**2
    return mean.view(-1, 1, 1), var.sqrt().view(-1, 1, 1)


def there(z, data, back):
    """The truth, in float64 on the way."""
    mean, std = moments(data.double())
    return (z.double() * std + mean if back else (z.double() - mean) / std).to(z.dtype)


def with_moments(mean_of, std_of):
    """A wrong answer that takes mean and standard deviation elsewhere."""

    def wrong(z, data, back):
        mean, std = mean_of(z, data), std_of(z, data)
        return z * std + mean if back else (z - mean) / std

    return wrong


def over(*axes, of=1, correction=0):
    """Functions (z, data) -> moments over these axes, of z (of=0) or of the data (of=1)."""
    return (
        lambda *given: given[of].mean(axes, keepdim=True),
        lambda *given: given[of].std(axes, keepdim=True, correction=correction),
    )


def stretched(z, data, back):
    """Each channel's smallest value of the data at -1, the largest at 1."""
    low, high = data.amin((0, 2, 3), keepdim=True), data.amax((0, 2, 3), keepdim=True)
    return low + (z + 1) / 2 * (high - low) if back else 2 * (z - low) / (high - low) - 1


MEAN, STD = over(0, 2, 3)
SCALE_MISTAKES = {
    "measured on the codes in hand, not on the data": with_moments(*over(0, 2, 3, of=0)),
    "one mean and one standard deviation for all channels together": with_moments(*over(0, 1, 2, 3)),
    "a mean for each place: channels are standardised, not places": with_moments(*over(0)),
    "each example of the data by itself": lambda z, data, back: with_moments(*over(2, 3))(z, data[:1], back),
    "divided by the variance, not by its root": with_moments(MEAN, lambda z, data: STD(z, data) ** 2),
    "the variance of a sample (n - 1): these codes are all there are": with_moments(*over(0, 2, 3, correction=1)),
    "the root of the mean square: the mean stays in it": with_moments(
        MEAN, lambda z, data: data.square().mean((0, 2, 3), keepdim=True).sqrt()
    ),
    "the mean size of the deviations, not the standard deviation": with_moments(
        MEAN, lambda z, data: (data - MEAN(z, data)).abs().mean((0, 2, 3), keepdim=True)
    ),
    "the mean is added, not taken away": with_moments(lambda z, data: -MEAN(z, data), STD),
    "a mean for each column: channels are the second axis": with_moments(*over(0, 1, 2)),
    "the mean of the examples' deviations: one deviation over all of them is asked for": with_moments(
        MEAN, lambda z, data: data.std((2, 3), keepdim=True, correction=0).mean(0, keepdim=True)
    ),
    "each code by its own example of the data": lambda z, data, back: with_moments(*over(2, 3))(
        z, data[: len(z)], back
    ),
    "the data come back, standardised, not z": lambda z, data, back: there(z if back else data, data, back),
    "multiplied by the standard deviation, not divided": with_moments(MEAN, lambda z, data: 1 / STD(z, data)),
    "divided by the root of the deviation": with_moments(MEAN, lambda z, data: STD(z, data).sqrt()),
    "one standard deviation for all channels together": with_moments(MEAN, over(0, 1, 2, 3)[1]),
    "one mean for all channels together": with_moments(over(0, 1, 2, 3)[0], STD),
    "the first channel's mean and deviation for all": with_moments(
        lambda z, data: MEAN(z, data)[:, :1], lambda z, data: STD(z, data)[:, :1]
    ),
    "the mean is not taken away": with_moments(lambda z, data: 0.0, STD),
    "the width is left as it is": with_moments(MEAN, lambda z, data: 1.0),
    "the mean of the codes in hand, the deviation of the data": with_moments(over(0, 2, 3, of=0)[0], STD),
    "the mean of the data, the deviation of the codes in hand": with_moments(MEAN, over(0, 2, 3, of=0)[1]),
    "stretched to the range from -1 to 1: unit variance is asked for": stretched,
    "the mean is taken away on the way back, too": lambda z, data, back: (
        z * STD(z, data) - MEAN(z, data) if back else there(z, data, False)
    ),
    "divided by the deviation on the way back, too": lambda z, data, back: (
        z / STD(z, data) + MEAN(z, data) if back else there(z, data, False)
    ),
    "the mean does not come back": lambda z, data, back: z * STD(z, data) if back else there(z, data, False),
    "the deviation does not come back": lambda z, data, back: z + MEAN(z, data) if back else there(z, data, False),
    "the way back takes mean and deviation of the codes in hand": lambda z, data, back: (
        there(z, z, True) if back else there(z, data, False)
    ),
    "back is not looked at": lambda z, data, back: there(z, data, False),
    "there and back are swapped": lambda z, data, back: there(z, data, not back),
    "back in the wrong order: first times the deviation, then plus the mean": lambda z, data, back: (
        (z + MEAN(z, data)) * STD(z, data) if back else there(z, data, False)
    ),
    "divided first, then moved by the mean": lambda z, data, back: (
        there(z, data, True) if back else z / STD(z, data) - MEAN(z, data)
    ),
}


def codes(back):
    """(z, data, back): data of several codes, one place, one channel; channels of unlike centres and widths."""
    for case in varied(MAPS, seed=82):
        channels = case.shape[1]
        width, centre = case.uniform(0.3, 3, channels, 1, 1), case.normal(channels, 1, 1, scale=2)
        data = case.normal(max(4, case.batch), *case.shape[1:]) * width + centre
        yield case.normal(), data, back


@pytest.mark.exercise("E8.2", points=2)
def test_gives_each_channel_of_the_data_mean_0_and_variance_1(standardise_codes):
    agree(
        standardise_codes,
        there,
        codes(False),
        says="Less the channel's mean over `data`, then divided by its standard deviation there.",
        mistakes=SCALE_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


def there_and_back(standardise):
    """z standardised and undone by the same answer: a slip in its moments costs only the check before this one."""

    def both(z, data):
        found = same_form(standardise(z, data, False), z)
        must(not found.equal(z), "With back=False z comes back as it was: there is nothing to undo.")
        return standardise(found, data, True)

    return both


@pytest.mark.exercise("E8.2", points=1)
def test_undoes_itself(standardise_codes):
    agree(
        there_and_back(standardise_codes),
        lambda z, data: z,
        [(z, data) for z, data, _ in codes(True)],
        says="With back=True, what back=False gives must become the codes that they were.",
        mistakes={
            name: lambda z, data, wrong=wrong: wrong(wrong(z, data, False), data, True)
            for name, wrong in SCALE_MISTAKES.items()
        },
        rtol=1e-4,
        atol=1e-5,
    )


# ---- E8.3 ----------------------------------------------------------------------------------------------------------


def counted(f, side, d, width, layers, steps, decoder):
    """The truth, counted by PyTorch while the convolutions run (two operations a multiply-add)."""
    plan = [(d, width), *[(width, width)] * layers, (width, d)]
    x = torch.zeros(1, d, side // f, side // f, device="meta")
    with FlopCounterMode(display=False) as flops:
        for fine, coarse in plan:
            x = F.conv2d(x, torch.zeros(coarse, fine, 3, 3, device="meta"), padding=1)
    return float(steps * flops.get_total_flops() // 2 + decoder)


def formula(f, side, d, width, layers, steps, decoder, **slip):
    """The count with slips to order."""
    places = slip.get("places", (side // f) ** 2)
    ends = slip.get("ends", 2 * d * width)
    weights = ends + slip.get("middle", slip.get("deep", layers) * width**2)
    return float(slip.get("times", steps) * slip.get("kernel", 9) * places * weights + slip.get("out", decoder))


def shrinking(f, side, d, width, layers, steps, decoder):
    """The count without padding: every convolution leaves two rows and columns fewer."""
    plan, size = [(d, width), *[(width, width)] * layers, (width, d)], side // f
    sizes = [max(size - 2 * k, 0) for k in range(1, len(plan) + 1)]
    return float(steps * sum(9 * a * b * n**2 for (a, b), n in zip(plan, sizes)) + decoder)


COUNT_MISTAKES = {
    "a side is f times shorter, and a picture has two": lambda f, side, *rest: formula(
        f, side, *rest, places=side * side // f
    ),
    "one side only: places are rows times columns": lambda f, side, *rest: formula(f, side, *rest, places=side // f),
    "multiplied by f, not divided": lambda f, side, *rest: formula(f, side, *rest, places=(side * f) ** 2),
    "f is not used": lambda f, side, *rest: formula(f, side, *rest, places=side**2),
    "a 3 x 3 kernel has 9 weights": lambda *given: formula(*given, kernel=3),
    "the kernel is forgotten": lambda *given: formula(*given, kernel=1),
    "multiplications and additions counted apart": lambda *given: formula(*given, out=0, kernel=18) + given[6],
    "the decoder runs once a picture, not once a step": lambda *given: formula(*given, out=given[5] * given[6]),
    "the decoder is forgotten": lambda *given: formula(*given, out=0),
    "the steps are forgotten": lambda *given: formula(*given, times=1),
    "the convolutions in and out are forgotten": lambda *given: formula(*given, ends=0),
    "one of the convolutions in and out is forgotten": lambda *given: formula(*given, ends=given[2] * given[3]),
    "in and out count as layers": lambda *given: formula(*given, ends=2 * given[3] ** 2),
    "a layer too few": lambda *given: formula(*given, deep=given[4] - 1),
    "a layer too many": lambda *given: formula(*given, deep=given[4] + 1),
    "the decoder runs once a picture, not at every place": lambda f, side, *rest: formula(
        f, side, *rest, out=rest[-1] * (side // f) ** 2
    ),
    "the layers between have width channels on both sides, not d": lambda f, side, d, width, layers, *rest: formula(
        f, side, d, width, layers, *rest, deep=layers * d
    ),
    "the places are forgotten: every weight is used at each of them": lambda *given: formula(*given, places=1),
    "the square is of side / f, not of f alone": lambda f, side, *rest: formula(f, side, *rest, places=side // f**2),
    "times d: the weights of a convolution have it already": lambda *given: formula(
        *given, places=given[2] * (given[1] // given[0]) ** 2
    ),
    "in and out are counted among the layers: the layers come between": lambda *given: formula(
        *given, deep=given[4] - 2
    ),
    "the convolutions in and out run once, not in every step": lambda f, side, d, width, layers, steps, decoder: (
        formula(f, side, d, width, layers, steps, decoder, ends=0) + 18 * d * width * (side // f) ** 2
    ),
    "the convolutions in and out run on codes, not on pictures": lambda f, side, d, width, layers, steps, decoder: (
        formula(f, side, d, width, layers, steps, decoder, ends=0) + steps * 18 * d * width * side**2
    ),
    "the last convolution gives d channels, not the 3 of a picture": lambda *given: formula(
        *given, ends=(given[2] + 3) * given[3]
    ),
    "the kernel's 9 is forgotten for in and out": lambda *given: formula(*given, ends=2 * given[2] * given[3] / 9),
    "the kernel's 9 is forgotten for the layers": lambda *given: formula(*given, middle=given[4] * given[3] ** 2 / 9),
    "layers in the exponent: each of them costs width^2": lambda *given: formula(*given, middle=given[3] ** given[4]),
    "one layer at least, where layers may be 0": lambda *given: formula(*given, deep=max(given[4], 1)),
    "biases are counted, which multiply nothing": lambda *given: formula(
        *given, ends=2 * given[2] * given[3] + ((given[4] + 1) * given[3] + given[2]) / 9
    ),
    "the code shrinks at every convolution: these keep its size": shrinking,
    "the decoder is counted twice: once a picture": lambda *given: formula(*given, out=2 * given[6]),
    "the decoder is left out at f = 1": lambda *given: formula(*given, out=given[6] * (given[0] > 1)),
    "in millions": lambda *given: formula(*given) / 1e6,
    "a layer costs width, not its square": lambda f, side, d, width, layers, steps, decoder: float(
        steps * 9 * (side // f) ** 2 * (2 * d * width + layers * width) + decoder
    ),
}
SIZES = (
    (1, 32, 3, 16, 4, 20, 0), (4, 32, 4, 16, 4, 20, 5_000_000), (8, 64, 16, 48, 7, 1, 123_456),
    (2, 6, 1, 8, 1, 3, 10), (1, 8, 3, 5, 2, 4, 777), (16, 16, 5, 24, 2, 50, 1_000), (1, 1, 1, 1, 0, 1, 0),
)  # fmt: skip


@pytest.mark.exercise("E8.3", points=3)
def test_counts_as_pytorch_does(multiply_adds):
    (case,) = varied(((7,),), seed=83)
    f, places, *rest = case.integers(2, 12).tolist()
    agree(
        lambda *given: as_float(multiply_adds(*given)),
        counted,
        [*SIZES, (f, f * places, *rest)],
        says="steps evaluations of all convolutions at (side / f)^2 places, and one decoding.",
        mistakes=COUNT_MISTAKES,
    )


def as_float(value):
    """A whole number or a float, as a float."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# ---- E8.4 ----------------------------------------------------------------------------------------------------------


def drawn(mean, log_var, noise):
    """The draw, from the normal distribution's own affine map."""
    return torch.addcmul(mean, torch.exp(0.5 * log_var), noise)


def price(mean, log_var):
    """The divergence of each example by torch.distributions, an independent route."""
    one = torch.distributions.Normal(mean, log_var.exp().sqrt())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return torch.distributions.kl_divergence(one, standard).flatten(1).sum(1)


def terms(mean, log_var):
    """The four terms of a number's divergence, not yet halved."""
    return mean**2 + log_var.exp() - 1 - log_var


DRAW_MISTAKES = {
    "noise times the variance: its square root is wanted": lambda m, v, e: m + v.exp() * e,
    "noise times exp(2 log_var): the root is exp(log_var / 2)": lambda m, v, e: m + (2 * v).exp() * e,
    "noise times the log-variance": lambda m, v, e: m + v * e,
    "the standard deviation is exp(log_var / 2), not the root of log_var": lambda m, v, e: m + v.abs().sqrt() * e,
    "the root of log_var, which may be negative: the standard deviation is exp(log_var / 2)": lambda m, v, e: (
        m + v.sqrt() * e
    ),
    "z and kl are swapped": lambda m, v, e: price(m, v),
    "exp(-log_var / 2): the wrong sign": lambda m, v, e: m + (-v / 2).exp() * e,
    "the mean is stretched, too": lambda m, v, e: (v / 2).exp() * (m + e),
    "noise of standard deviation 1, whatever log_var says": lambda m, v, e: m + e,
    "the mean alone, without noise": lambda m, v, e: m,
    "noise is subtracted": lambda m, v, e: m - (v / 2).exp() * e,
}
PRICE_MISTAKES = {
    "not halved": lambda m, v, e: terms(m, v).flatten(1).sum(1),
    "the mean over numbers, where their sum is asked for": lambda m, v, e: terms(m, v).flatten(1).mean(1) / 2,
    "one number for the whole batch": lambda m, v, e: terms(m, v).sum() / 2,
    "one number for each number of the code": lambda m, v, e: terms(m, v) / 2,
    "the wrong sign": lambda m, v, e: -terms(m, v).flatten(1).sum(1) / 2,
    "log_var with the wrong sign": lambda m, v, e: (m**2 + v.exp() - 1 + v).flatten(1).sum(1) / 2,
    "the size of the mean, not its square": lambda m, v, e: (m.abs() + v.exp() - 1 - v).flatten(1).sum(1) / 2,
    "summed over the last axis alone: an example has further ones": lambda m, v, e: terms(m, v).sum(-1) / 2,
    "the mean is not squared": lambda m, v, e: (m + v.exp() - 1 - v).flatten(1).sum(1) / 2,
    "log_var is used as a variance": lambda m, v, e: (m**2 + v - 1 - v.abs().log()).flatten(1).sum(1) / 2,
    "the -1 is missing: the price of N(0, 1) itself must be 0": lambda m, v, e: (terms(m, v) + 1).flatten(1).sum(1) / 2,
    "one draw's log q(z) - log p(z): its mean over all draws is asked for, the closed form": lambda m, v, e: (
        ((m + (v / 2).exp() * e) ** 2 - e**2 - v).flatten(1).sum(1) / 2
    ),
    "noise^2 is left as it is: its mean is 1": lambda m, v, e: (terms(m, v) + 1 - e**2).flatten(1).sum(1) / 2,
    "z^2 is left as it is: its mean is that of the mean squared, and the variance": lambda m, v, e: (
        (drawn(m, v, e) ** 2 - 1 - v).flatten(1).sum(1) / 2
    ),
    "the variance is missing in the mean of z^2": lambda m, v, e: (terms(m, v) - v.exp()).flatten(1).sum(1) / 2,
    "the variance is squared": lambda m, v, e: (m**2 + (2 * v).exp() - 1 - v).flatten(1).sum(1) / 2,
    "the standard deviation stands for the variance": lambda m, v, e: (
        (m**2 + (v / 2).exp() - 1 - v).flatten(1).sum(1) / 2
    ),
    "half the log-variance": lambda m, v, e: (terms(m, v) + v / 2).flatten(1).sum(1) / 2,
    "only the mean's square is halved": lambda m, v, e: (terms(m, v) - m**2 / 2).flatten(1).sum(1),
    "1 is taken away once for an example, not once for each number": lambda m, v, e: (
        ((terms(m, v) + 1).flatten(1).sum(1) - 1) / 2
    ),
    "summed over the second axis alone: an example may have further ones": lambda m, v, e: terms(m, v).sum(1) / 2,
    "one number for the whole batch: the mean of its examples": lambda m, v, e: price(m, v).mean(),
    "z and kl are swapped": drawn,
    "the log-variance is missing": lambda m, v, e: (terms(m, v) + v).flatten(1).sum(1) / 2,
    "the mean is left out": lambda m, v, e: (terms(m, v) - m**2).flatten(1).sum(1) / 2,
    "in bits; nats are asked for": lambda m, v, e: terms(m, v).flatten(1).sum(1) / 2 / 0.6931471805599453,
    "the other direction: KL(N(0, 1) || N(mean, variance))": lambda m, v, e: (
        ((1 + m**2) / v.exp() - 1 + v).flatten(1).sum(1) / 2
    ),
}


def prices():
    """(mean, log_var, noise) of codes with 2 to 4 axes, one example among them."""
    for case in varied(((5, 2), (1, 3), (2, 1, 3, 4), (3, 1), (1, 1, 1, 1), (4, 2, 3, 3))):
        yield case.normal(scale=1.5), case.uniform(-4, 2, *case.shape), case.normal()


def slopes(code_and_price, which):
    """A function of (mean, log_var, noise): gradients of z (0) or kl (1) with respect to mean and log_var, or zeros."""

    def found(mean, log_var, noise):
        weights = (cotangent(mean), None) if which == 0 else (None, cotangent(mean[:, :1].flatten(1)[:, 0]))
        try:
            return code_and_price.vjp((mean, log_var, noise), weights, wrt=(0, 1))
        except StudentError as error:
            if error.kind != "detached gradient":
                raise
            return torch.zeros_like(mean), torch.zeros_like(log_var)

    return found


def cotangent(x):
    """Weights shaped like x, all different."""
    return torch.linspace(0.5, 1.5, x.numel(), dtype=x.dtype).view(x.shape)


def draw_slopes(mean, log_var, noise):
    """Of the sum of weights times z, by hand."""
    weights = cotangent(mean)
    return weights, weights * noise * (log_var / 2).exp() / 2


def price_slopes(mean, log_var, noise):
    """Of the sum of weights times kl, by hand."""
    weights = cotangent(mean[:, :1].flatten(1)[:, 0]).view(-1, *(1,) * (mean.ndim - 1))
    return weights * mean, weights * (log_var.exp() - 1) / 2


def cut(right, *zeroed):
    """The gradients of `right`, zero where nothing comes through."""
    return lambda *given: tuple(0 * g if k in zeroed else g for k, g in enumerate(right(*given)))


DRAW_CUTS = {
    "z is detached (detach, item, no_grad): no gradient comes through": cut(draw_slopes, 0, 1),
    "the standard deviation is detached: no gradient of z reaches log_var": cut(draw_slopes, 1),
    "the mean is detached: no gradient of z reaches it": cut(draw_slopes, 0),
}
PRICE_CUTS = {
    "kl is detached (detach, item, no_grad): no gradient comes through": cut(price_slopes, 0, 1),
    "log_var is detached: no gradient of kl reaches it": cut(price_slopes, 1),
    "the mean is detached: no gradient of kl reaches it": cut(price_slopes, 0),
    "exp(log_var) is detached": lambda m, v, e: (price_slopes(m, v, e)[0], price_slopes(m, 0 * v - 1e9, e)[1]),
}


@pytest.mark.exercise("E8.4", points=2)
def test_draws_by_stretching_and_moving_the_noise(code_and_price):
    agree(
        lambda *args: code_and_price(*args)[0],
        drawn,
        prices(),
        says="z must have mean `mean` and standard deviation exp(log_var / 2), with noise as its source.",
        mistakes=DRAW_MISTAKES,
        rtol=1e-5,
    )
    agree(
        slopes(code_and_price, 0),
        draw_slopes,
        prices(),
        says="z must let gradients through: to mean, and by the noise to log_var.",
        mistakes=DRAW_CUTS,
        rtol=1e-4,
        atol=1e-6,
        names=("gradient for mean", "gradient for log_var"),
    )


@pytest.mark.exercise("E8.4", points=2)
def test_prices_each_example_in_nats(code_and_price):
    agree(
        lambda *args: code_and_price(*args)[1],
        lambda mean, log_var, noise: price(mean, log_var),
        prices(),
        says="kl must be KL(N(mean, exp(log_var)) || N(0, 1)) of each example, summed over its numbers: (batch,).",
        mistakes=PRICE_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )
    agree(
        slopes(code_and_price, 1),
        price_slopes,
        prices(),
        says="kl is a part of the loss: it must let gradients through to mean and log_var.",
        mistakes=PRICE_CUTS,
        rtol=1e-4,
        atol=1e-5,
        names=("gradient for mean", "gradient for log_var"),
    )


# ---- E8.5 ----------------------------------------------------------------------------------------------------------


def tame_guess(x, t):
    """A denoiser of codes: towards a wide Gaussian, so that guesses leave [-1, 1]. It asks for t of its own form."""
    assert isinstance(x, torch.Tensor) and x.ndim > 1, "denoise takes (z, t), in this order: z is the code"
    many = f"torch.full(({len(x)},), t, dtype=z.dtype)"
    got = f"of shape {tuple(t.shape)}" if isinstance(t, torch.Tensor) else f"a {type(t).__name__}"
    assert got == f"of shape ({len(x)},)", f"denoise takes t as a tensor (batch,): got {got}; {many} is one"
    return 3.0 * x / (1 + 4 * t.view(-1, *(1,) * (x.ndim - 1)) ** 2) + 0.4


def unfolded(z):
    """A decoder from (n, 4 c, h, w) to (n, c, 2 h, 2 w), which no network of codes could read."""
    return 0.5 * F.pixel_shuffle(z, 2) - 0.2


def walked(
    schedule, denoise, decode, noise, times,
    guess=lambda x0: x0, each=lambda z: z, final=None, late=False, anew=False, turn=False,
):  # fmt: skip
    """DDIM in float64, with slips to order; late: the guess is for s; anew: steps from the noise; turn: from s to t."""
    z, moments_ = noise.double(), times.double().tolist()
    x0 = z
    for t, s in pairwise(moments_):
        a = torch.tensor([[s], [t]] if turn else [[t], [s]], dtype=torch.float64)
        (alpha_t, alpha_s), (sigma_t, sigma_s) = schedule.alpha(a), schedule.sigma(a)
        z = noise.double() if anew else z
        x0 = guess(denoise(z, torch.full((len(z),), s if late else t, dtype=torch.float64)))
        z = each(alpha_s * x0 + sigma_s * (z - alpha_t * x0) / sigma_t)
    end = (decode or (lambda z: z))(z) if final is None else final(z, x0)
    return end.to(noise.dtype)


def guesses_alone(denoise, z, times):
    """A guess of the guess of the guess."""
    for t in times[:-1].tolist():
        z = denoise(z, torch.full((len(z),), t, dtype=z.dtype))
    return z


def renoised(schedule, denoise, decode, noise, times, own=False):
    """Steps that add the first noise again; own: the code's noise, worked out without alpha."""
    z = noise.double()
    for t, s in pairwise(times.double().tolist()):
        at, to = torch.tensor([t], dtype=torch.float64), torch.tensor([s], dtype=torch.float64)
        x0 = denoise(z, torch.full((len(z),), t, dtype=torch.float64))
        z = schedule.alpha(to) * x0 + schedule.sigma(to) * ((z - x0) / schedule.sigma(at) if own else noise.double())
    return decode(z).to(noise.dtype)


def one_guess_more(schedule, denoise, decode, noise, times):
    """A guess of the last code is decoded. ValueError above time 0: there a step to time 0 gives the same."""
    if times[-1] > 0:
        raise ValueError("a step to time 0 ends there as well")
    return walked(schedule, denoise, decode, noise, times, final=lambda z, _: decode(denoise(z, 0 * z[:, 0, 0, 0])))


WALK_MISTAKES = {
    "the guess is clipped to [-1, 1]: pictures have a range, codes have none": lambda *given: walked(
        *given, guess=lambda x0: x0.clamp(-1, 1)
    ),
    "codes are clipped at every step": lambda *given: walked(*given, each=lambda z: z.clamp(-1, 1)),
    "the pictures are cut off to [-1, 1] in the end": lambda *given: walked(*given).clamp(-1, 1),
    "the last code is returned, not decoded": lambda s, denoise, decode, noise, times: walked(
        s, denoise, None, noise, times
    ),
    "the noise is decoded, not what became of it": lambda s, denoise, decode, noise, times: decode(noise),
    "the last guess is decoded, not the last code": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, times, final=lambda z, x0: decode(x0)
    ),
    "the denoiser is asked at time s, where z is not yet": lambda *given: walked(*given, late=True),
    "every step starts from the noise, not from where the last one ended": lambda *given: walked(*given, anew=True),
    "the guess takes the code's place: there is no step": lambda s, denoise, decode, noise, times: decode(
        guesses_alone(denoise, noise, times)
    ),
    "the last step is missing": lambda s, denoise, decode, noise, times: walked(s, denoise, decode, noise, times[:-1]),
    "the first step is missing": lambda s, denoise, decode, noise, times: walked(s, denoise, decode, noise, times[1:]),
    "one leap, from the first time to the last": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, times[[0, -1]]
    ),
    "it walks on to time 0, where `times` ends above": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, torch.cat([times, times.new_zeros(int(times[-1] > 0))])
    ),
    "the times are walked from the last to the first": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, times.flip(0)
    ),
    "t and s are swapped in the step": lambda *given: walked(*given, turn=True),
    "it returns after the first step: `return` stands in the loop": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, times[:2]
    ),
    "a guess more than steps": one_guess_more,
    "the first noise is added anew at each step, not what is left of it in the code": renoised,
    "the code's noise is (z - alpha guess) / sigma: alpha is forgotten": lambda *given: renoised(*given, own=True),
    "the noise is multiplied by sigma: it is at times[0] already": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise * s.sigma(times[:1].to(noise.dtype)), times
    ),
    "decoded before the walk: its steps are for codes": lambda s, denoise, decode, noise, times: walked(
        s, denoise, None, decode(noise), times
    ),
    "`times` is not used: these are even steps from 1 to 0": lambda s, denoise, decode, noise, times: walked(
        s, denoise, decode, noise, torch.linspace(1, 0, len(times))
    ),
    "decoded twice": lambda s, denoise, decode, noise, times: (
        decode(decode(walked(s, denoise, None, noise, times))) if noise.shape[1] % 16 == 0 else None
    ),
}


def walks():
    """(schedule, denoise, decode, noise, times): several codes and one, both dtypes, an end with noise left."""
    for case in varied(((3, 4, 2, 2), (1, 8, 1, 3), (2, 4, 3, 1)), seed=84):
        schedule = straight() if case.batch == 1 else cosine()
        for times in ([0.9, 0.5, 0.25], [1.0, 0.7, 0.45, 0.2, 0.0], [0.8, 0.1]):
            yield schedule, tame_guess, unfolded, case.normal(), torch.tensor(times)


@pytest.mark.exercise("E8.5", points=2)
def test_walks_in_codes_and_ends_as_pictures(draw_in_codes):
    agree(
        draw_in_codes,
        lambda schedule, denoise, decode, noise, times: walked(schedule, denoise, decode, noise, times),
        walks(),
        says="Guess and step from each time to the next, in codes; then decode what is left at the last time.",
        mistakes=WALK_MISTAKES,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E8.5", points=1)
def test_decodes_once(draw_in_codes):
    for times in ([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], [0.7, 0.3]):
        denoise, decode = Counted(tame_guess, 40), Counted(unfolded, 40)
        (case,) = varied(((2, 4, 2, 2),), seed=85)
        noise, steps = case.normal(), len(times) - 1
        draw_in_codes(cosine(), denoise, decode, noise, torch.tensor(times))
        expect(
            [denoise.calls, decode.calls],
            [steps, 1],
            says=f"[guesses, decodings] of a walk of {steps} steps: each guess and each decoding costs time.",
            mistakes={
                "decoded after every step: nobody looks at those pictures": [steps, steps],
                "decoded after every step and at the end": [steps, steps + 1],
                "one example at a time: a batch goes through together": [steps * 2, 2],
                "the last code is returned, not decoded": [steps, 0],
                "a guess more than steps": [steps + 1, 1],
                "two guesses a step": [2 * steps, 1],
                "it returns after the first step: `return` stands in the loop": [1, 1],
                "the last step is missing": [steps - 1, 1],
                "the first step is missing": [steps - 1, 1],
            },
        )


# ---- E8.6 ----------------------------------------------------------------------------------------------------------


def data_of(n=24, seed=86):
    """Smooth pictures (n, 1, 16, 16) that look alike everywhere: waves of random directions, with a mean.

    The same under every key: how far each wrong codec is off was measured with them.
    """
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    found = 0.3 + 0 * x.expand(n, 16, 16)
    for _ in range(6):
        k = torch.randint(-2, 3, (n, 2, 1, 1), generator=g)
        phase, size = 6.283 * torch.rand(n, 1, 1, generator=g), torch.rand(n, 1, 1, generator=g)
        found = found + 0.3 * size * torch.cos(0.3927 * (k[:, 0] * x + k[:, 1] * y) + phase)
    return found[:, None]


def pieces(x):
    """(n, 1, h, w) to (n, h/4, w/4, 16)."""
    return x.unfold(2, 4, 4).unfold(3, 4, 4)[:, 0].flatten(3)


def whole(p):
    """Pieces back to pictures."""
    n, rows, columns, _ = p.shape
    return p.view(n, rows, columns, 4, 4).transpose(2, 3).reshape(n, 1, 4 * rows, 4 * columns)


DATA = data_of()
ROWS = pieces(DATA).flatten(0, 2).double()
CENTRE = ROWS.mean(0)
VARIANCES, VECTORS = torch.linalg.eigh((ROWS - CENTRE).T @ (ROWS - CENTRE) / len(ROWS))


def as_promised(encode, decode):
    """Both as the docstring has them: what it does not promise to take raises ValueError."""

    def checked(function, x, channels, multiple, what):
        fits = x.ndim == 4 and x.shape[1] == channels and not any(side % multiple for side in x.shape[2:])
        if not fits or x.dtype != torch.float32:
            raise ValueError(f"{what}, got shape {tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}")
        return function(x).contiguous()

    return (
        lambda x: checked(encode, x, 1, 4, "encode takes float32 pictures (batch, 1, h, w), h and w multiples of 4"),
        lambda z: checked(decode, z, 3, 1, "decode takes float32 codes (batch, 3, rows, columns)"),
    )


def codec_of(
    directions,
    change=lambda z, x: z,
    undo=lambda z, x: z,
    promised=None,
    centre=CENTRE,
    lift=CENTRE,
    reads=None,
    correction=0,
):
    """(encode, decode, data, error) of the code that keeps these directions, standardised; `change` spoils it.

    reads: the directions that encode measures along, where they are not those that decode adds up.
    """
    basis = directions.double()
    reads = basis if reads is None else reads
    z = (ROWS - CENTRE) @ reads.T
    offset, width = z.mean(0), z.std(0, correction=correction)
    left = (ROWS - CENTRE) - z @ basis
    error = float(left.square().sum(1).mean()) if promised is None else promised

    def encode(x):
        found = ((pieces(x).double() - centre) @ reads.T - offset) / width
        return change(found.permute(0, 3, 1, 2), x).to(x.dtype)

    def decode(z):
        found = undo(z.double(), z).permute(0, 2, 3, 1) * width + offset
        return whole(found @ basis + lift).to(z.dtype)

    return *as_promised(encode, decode), DATA, error


BEST = VECTORS.flip(1).T[:3]
SECOND = VECTORS.flip(1).T[[0, 1, 5]]  # directions 1, 2 and 6
RANDOM = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(4)).double())[0].T
FLAT = torch.linalg.qr(torch.stack([CENTRE.double(), *BEST]).T)[0].T[1:]  # all at right angles to the mean
OTHERS = VECTORS.flip(1).T[[1, 2, 5]]
SLANTED = OTHERS + torch.stack([0 * BEST[0], 0 * BEST[0], BEST[0]])  # reads direction 1 as if it were direction 6
BEST_ERROR = float(VARIANCES.flip(0)[3:].sum())
FADED_ERROR = BEST_ERROR + float((0.2**2 * VARIANCES.flip(0)[:3]).sum())  # when 0.8 of what is kept comes back


def bent(z, back=False):
    """asinh(2 z), standardised on the data, and back: a code that is as good as a linear one, and is not linear."""
    known = (ROWS - CENTRE) @ BEST.T
    known = torch.asinh(2 * known / known.std(0, correction=0))
    mean, std = known.mean(0).view(3, 1, 1), known.std(0, correction=0).view(3, 1, 1)
    return torch.sinh(z * std + mean) / 2 if back else (torch.asinh(2 * z) - mean) / std


def lost_by(x):
    """(n, h/4, w/4): the squared error of each piece under the best directions, 0 for what they can make."""
    rows = pieces(x).double() - CENTRE
    return (rows - rows @ BEST.T @ BEST).square().sum(-1)


def adding_what_is_lost():
    """A codec whose first number grows by half of what a piece loses, standardised: not linear, but decode is."""
    lost = lost_by(DATA)
    number = ((pieces(DATA).double() - CENTRE) @ BEST[0]) / VARIANCES[-1].sqrt() + lost / 2
    mean, std = number.mean(), number.std(correction=0)

    def standardised(z, back=False):
        first = z[:, :1] * std + mean if back else (z[:, :1] - mean) / std
        return torch.cat([first, z[:, 1:]], 1)

    return codec_of(
        BEST,
        change=lambda z, x: standardised(torch.cat([z[:, :1] + lost_by(x)[:, None] / 2, z[:, 1:]], 1)),
        undo=lambda z, _: standardised(z, back=True),
        promised=BEST_ERROR + float((lost / 2).square().mean() * VARIANCES[-1]),
    )


def bulging():
    """The best three directions; decode adds a square of the first number, along the fourth: made pictures come back.

    Only decode is not linear, and the pictures that it makes are no flat space: encode does not find the nearest.
    """
    encode, decode, *_ = codec_of(BEST)
    fourth = VECTORS.flip(1).T[3]

    def bulged(z):
        return decode(z) + whole((z.double()[:, :1] ** 2 - 1).permute(0, 2, 3, 1) / 5 * fourth).to(z.dtype)

    return encode, bulged, DATA, 16 * float((bulged(encode(DATA)) - DATA).square().mean())


def stored():
    """Pieces are looked up: each gives way to the nearest of 64 stored ones, whose code it gets, standardised."""
    known = ROWS[::6]
    taken = torch.cdist(ROWS, known).argmin(1)
    codes = (known - CENTRE) @ BEST.T
    codes = (codes - codes[taken].mean(0)) / codes[taken].std(0, correction=0)

    def encode(x):
        return codes[torch.cdist(pieces(x).double(), known).argmin(-1)].permute(0, 3, 1, 2).to(x.dtype)

    def decode(z):
        return whole(known[torch.cdist(z.double().permute(0, 2, 3, 1), codes).argmin(-1)]).to(z.dtype)

    return *as_promised(encode, decode), DATA, float((known[taken] - ROWS).square().sum(1).mean())


def lossless():
    """A right codec of data that it can make: nothing is lost."""
    encode, decode, *_ = codec_of(BEST)
    made = decode(encode(DATA))
    return encode, decode, made, 16 * float((decode(encode(made)) - made).square().mean())


def patterned():
    """Codes whose mean is 0 in each picture: they leave out how bright it is, and each piece has one pattern more."""
    encode, decode, data, error = codec_of(FLAT)
    pattern = (FLAT[0] / 2).view(4, 4).repeat(4, 4).to(data.dtype)
    return lambda x: encode(x - pattern), lambda z: decode(z) + pattern, data + pattern, error


def turned():
    """The best three directions, turned among themselves; standardised again."""
    angle = torch.tensor(0.7).double()
    turn = torch.eye(3).double()
    turn[0, 0], turn[0, 1], turn[1, 0], turn[1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    return turn @ BEST


def apart(z):
    """1/2, -1/2 and 0 for the three channels."""
    return torch.tensor([0.5, -0.5, 0.0]).to(z).view(3, 1, 1)


RIGHT_CODECS = {
    "the best three directions": codec_of(BEST),
    "the best three directions, turned among themselves": codec_of(turned()),
    "three directions at random, with their own error promised": codec_of(RANDOM),
}
STRICTER = {
    "three directions at random, with their own error promised": "A codec need not be the best: another may lose less.",
}
TAKES = {
    "Measure std or var with correction=0: their default divides by n - 1, and for 384 codes a channel that alone is "
    "more than the tolerance.": codec_of(BEST, correction=1),
    "The promised error is for each piece of 16 numbers, not for one of them.": codec_of(
        BEST, promised=BEST_ERROR / 16
    ),
    "The promised error is for each piece of 16 numbers, not for a picture.": codec_of(BEST, promised=BEST_ERROR * 16),
    "The error need not be small: decode(encode(x)) is not x, only what decode has made comes back.": lossless(),
    "Codes have mean 0 and variance 1 over the whole of data, not in each picture.": patterned(),
    "A linear codec still moves by the mean: encode(2 x) is not 2 encode(x), nor encode(x + y) the sum.": codec_of(
        FLAT
    ),
}
WRONG_CODECS = {
    "decodes without adding the mean": codec_of(BEST, lift=0 * CENTRE),
    "decodes with half the contrast": codec_of(BEST, undo=lambda z, _: z / 2),
    "codes are not standardised: twice too wide": codec_of(BEST, change=lambda z, x: 2 * z, undo=lambda z, _: z / 2),
    "codes of one channel are not standardised": codec_of(
        BEST,
        change=lambda z, x: z * torch.tensor([1.0, 1, 3]).to(z).view(3, 1, 1),
        undo=lambda z, _: z / torch.tensor([1.0, 1, 3]).to(z).view(3, 1, 1),
    ),
    "codes have a mean that is not 0": codec_of(BEST, change=lambda z, x: z + 0.5, undo=lambda z, _: z - 0.5),
    "channels have means of 1/2 and -1/2, which cancel": codec_of(
        BEST, change=lambda z, x: z + apart(z), undo=lambda z, _: z - apart(z)
    ),
    "channels have variances of 3/2 and 1/2, whose mean is 1": codec_of(
        BEST, change=lambda z, x: z * (1 + apart(z)).sqrt(), undo=lambda z, _: z / (1 + apart(z)).sqrt()
    ),
    "adds four times the mean of the batch in hand, which is 0 for data": codec_of(
        BEST, change=lambda z, x: z + 4 * z.mean((0, 2, 3), keepdim=True)
    ),
    "encode is not linear, though decode is: it adds what a piece loses": adding_what_is_lost(),
    "mixes the pictures of a batch": codec_of(
        BEST, change=lambda z, x: z + 0.2 * (z.roll(1, 0) - z) if len(z) > 1 else z
    ),
    "gives a picture that comes alone half its code": codec_of(BEST, change=lambda z, x: z if len(z) > 1 else z / 2),
    "treats places unlike: codes are mirrored, and decoded from there": codec_of(
        BEST, change=lambda z, x: z.flip(-1), undo=lambda z, _: z.flip(-1)
    ),
    "treats places unlike: codes stand upside down, and are decoded from there": codec_of(
        BEST, change=lambda z, x: z.flip(-2), undo=lambda z, _: z.flip(-2)
    ),
    "treats places unlike: rows of codes are columns, and are decoded from there": codec_of(
        BEST, change=lambda z, x: z.mT, undo=lambda z, _: z.mT
    ),
    "keeps worse directions and promises the error of the best": codec_of(SECOND, promised=BEST_ERROR),
    "decodes with 0.8 of the contrast, and promises the error of that": codec_of(
        BEST, undo=lambda z, _: 0.8 * z, promised=FADED_ERROR
    ),
    "is not linear: it bends its codes, and back": codec_of(
        BEST, change=lambda z, x: bent(z), undo=lambda z, _: bent(z, back=True)
    ),
    "decode is not linear, though encode is: it bulges": bulging(),
    "is not linear: it looks pieces up among 64 stored ones": stored(),
    "decode(encode(x)) is not the nearest, though what decode makes comes back": codec_of(OTHERS, reads=SLANTED),
    "promises twice its error": codec_of(BEST, promised=2 * BEST_ERROR),
    "promises the error of a number, not of a piece": codec_of(BEST, promised=BEST_ERROR / 16),
}
CRUDE = (
    "decodes without adding the mean",
    "decodes with half the contrast",
    "codes are not standardised: twice too wide",
)


@pytest.mark.exercise("E8.6", points=2)
def test_accepts_right_codecs_and_rejects_the_crude_ones(test_codec):
    run_against(test_codec, RIGHT_CODECS, {name: WRONG_CODECS[name] for name in CRUDE}, stricter=STRICTER, takes=TAKES)


@pytest.mark.exercise("E8.6", points=3)
def test_rejects_the_subtle_codecs_too(test_codec):
    run_against(test_codec, RIGHT_CODECS, WRONG_CODECS, seed=1, stricter=STRICTER, takes=TAKES)
