"""Slips of a reader of 08, by exercise, and the names that the checks print for them; all are rejected."""

from itertools import pairwise

import torch
import torch.nn.functional as F

from cs348k_diffusion import ddim_step

SLIPS = {}


def coding(
    centred=lambda x: x - x.mean(0),
    matrix=lambda c: c.T @ c / len(c),
    basis=lambda w, d, c: w.flip(1).T[:d],
    error=lambda v, d, c, b, x: v.flip(0)[d:].sum(),
):
    def best_linear_code(x, d):
        c = centred(x)
        values, vectors = torch.linalg.eigh(matrix(c))
        kept = basis(vectors, d, c)
        return kept, error(values, d, c, kept, x)

    return best_linear_code


def lost(c, b):
    return (c - c @ b.T @ b).square().sum(1)


def centred_in_place(x, d):
    x -= x.mean(0)
    return coding()(x, d)


SLIPS["E8.1"] = {
    "columns": coding(basis=lambda w, d, c: w.flip(1)[:, :d]),
    "columns as eigh has them": coding(basis=lambda w, d, c: w[:, -d:]),
    "last columns as rows": coding(basis=lambda w, d, c: w[:, -d:].T),
    "one variance too few": coding(error=lambda v, d, c, b, x: v.flip(0)[d + 1 :].sum()),
    "torch.cov": coding(matrix=lambda c: torch.cov(c.T).reshape(c.shape[1], -1)),
    "torch.cov of rows": coding(centred=lambda x: x, matrix=torch.cov),
    "centred by rows": coding(centred=lambda x: x - x.mean(1, keepdim=True)),
    "one mean": coding(centred=lambda x: x - x.mean()),
    "not centred": coding(centred=lambda x: x),
    "correlations": coding(centred=lambda x: (x - x.mean(0)) / x.std(0, correction=0)),
    "the mean is not added again": coding(error=lambda v, d, c, b, x: (x - c @ b.T @ b).square().sum(1).mean()),
    "mse": coding(error=lambda v, d, c, b, x: F.mse_loss(c @ b.T @ b, c)),
    "float": coding(error=lambda v, d, c, b, x: v.flip(0)[d:].sum().item()),
    "not divided": coding(matrix=lambda c: c.T @ c),
    "divided by p": coding(matrix=lambda c: c.T @ c / c.shape[1]),
    "first rows of V": coding(basis=lambda w, d, c: w.flip(1)[:d]),
    "standard deviations": coding(error=lambda v, d, c, b, x: v.flip(0)[d:].clamp(min=0).sqrt().sum()),
    "one axis": coding(error=lambda v, d, c, b, x: v.flip(0)[d:].sum(0, keepdim=True)),
    "each row": coding(error=lambda v, d, c, b, x: lost(c, b)),
    "first row": coding(error=lambda v, d, c, b, x: lost(c, b)[0]),
    "codes": coding(basis=lambda w, d, c: c @ w.flip(1)[:, :d]),
    "long directions": coding(
        basis=lambda w, d, c: w.flip(1).T[:d] * (c @ w.flip(1)[:, :d]).norm(dim=0)[:, None],
    ),
    "in place": centred_in_place,
}


def moments(z, data, axes=(0, 2, 3), correction=0):
    return data.mean(axes, keepdim=True), data.std(axes, keepdim=True, correction=correction)


def scaling(there=lambda z, m, s: (z - m) / s, back=lambda z, m, s: z * s + m, of=moments, **named):
    def standardise_codes(z, data, back_=False):
        m, s = of(z, data, **named)
        return (back if back_ else there)(z, m, s)

    return standardise_codes


def in_place(z, m, s):
    return z.sub_(m).div_(s)


SLIPS["E8.2"] = {
    "of z": scaling(of=lambda z, data: moments(z, z)),
    "n - 1": scaling(correction=1),
    "all channels": scaling(axes=(0, 1, 2, 3)),
    "each place": scaling(axes=(0,)),
    "each column": scaling(axes=(0, 1, 2)),
    "no axes kept": scaling(of=lambda z, data: (data.mean((0, 2, 3)), data.std((0, 2, 3), correction=0))),
    "back in the wrong order": scaling(back=lambda z, m, s: (z + m) * s),
    "back minus": scaling(back=lambda z, m, s: z * s - m),
    "back divides": scaling(back=lambda z, m, s: z / s + m),
    "back without mean": scaling(back=lambda z, m, s: z * s),
    "back without deviation": scaling(back=lambda z, m, s: z + m),
    "back of z": scaling(back=lambda z, m, s: scaling()(z, z, True)),
    "variance": scaling(of=lambda z, data: (moments(z, data)[0], moments(z, data)[1] ** 2)),
    "no return": scaling(there=lambda z, m, s: None),
    "in place": scaling(there=in_place),
    "0.01 more": scaling(of=lambda z, data: (moments(z, data)[0], moments(z, data)[1] + 0.01)),
    "one deviation": scaling(of=lambda z, data: (moments(z, data)[0], data.std(correction=0))),
    "one mean": scaling(of=lambda z, data: (data.mean(), moments(z, data)[1])),
    "mean of deviations": scaling(
        of=lambda z, data: (moments(z, data)[0], moments(z, data, (2, 3))[1].mean(0, keepdim=True))
    ),
    "own example": scaling(of=lambda z, data: moments(z, data[: len(z)], (2, 3))),
    "the data": lambda z, data, back=False: scaling()(z if back else data, data, back),
    "clipped": scaling(there=lambda z, m, s: ((z - m) / s).clamp(-3, 3)),
}


def counting(places=lambda f, side, d: (side // f) ** 2, weights=lambda d, w, n: 9 * (2 * d * w + n * w * w), **slip):
    total = slip.get("total", lambda places, weights, steps, decoder: steps * places * weights + decoder)

    def multiply_adds(f, side, d, width, layers, steps, decoder):
        return total(places(f, side, d), weights(d, width, layers), steps, decoder * slip.get("of", lambda f: 1)(f))

    return multiply_adds


def without_padding(f, side, d, width, layers, steps, decoder):
    size, total = side // f, 0
    for a, b in [(d, width)] + [(width, width)] * layers + [(width, d)]:
        size = max(size - 2, 0)
        total += 9 * a * b * size * size
    return steps * total + decoder


def once_in_and_out(f, side, d, width, layers, steps, decoder):
    return 9 * (side // f) ** 2 * (2 * d * width + steps * layers * width**2) + decoder


def whole_in_and_out(f, side, d, width, layers, steps, decoder):
    return 9 * steps * (2 * d * width * side**2 + layers * width**2 * (side // f) ** 2) + decoder


SLIPS["E8.3"] = {
    "f once": counting(lambda f, side, d: side * side // f),
    "all places": counting(lambda f, side, d: side * side),
    "decoder in every step": counting(total=lambda p, w, steps, decoder: steps * (p * w + decoder)),
    "in only": counting(weights=lambda d, w, n: 9 * (d * w + n * w * w)),
    "layers - 2": counting(weights=lambda d, w, n: 9 * (2 * d * w + (n - 2) * w * w)),
    "layers - 1": counting(weights=lambda d, w, n: 9 * (2 * d * w + (n - 1) * w * w)),
    "in and out once": once_in_and_out,
    "twice": counting(total=lambda p, w, steps, decoder: 2 * steps * p * w + decoder),
    "all twice": counting(total=lambda p, w, steps, decoder: 2 * (steps * p * w + decoder)),
    "width ** layers": counting(weights=lambda d, w, n: 9 * (2 * d * w + w**n)),
    "width not squared": counting(weights=lambda d, w, n: 9 * (2 * d * w + n * w)),
    "9 for layers": counting(weights=lambda d, w, n: 2 * d * w + 9 * n * w * w),
    "9 for ends": counting(weights=lambda d, w, n: 18 * d * w + n * w * w),
    "no padding": without_padding,
    "3 channels out": counting(weights=lambda d, w, n: 9 * ((d + 3) * w + n * w * w)),
    "decoder from f = 2 on": counting(of=lambda f: f > 1),
    "side // f**2": counting(lambda f, side, d: side // f**2),
    "numbers for places": counting(lambda f, side, d: d * (side // f) ** 2),
    "biases": counting(weights=lambda d, w, n: 9 * (2 * d * w + n * w * w) + (n + 1) * w + d),
    "parameters": counting(lambda f, side, d: 1),
    "a step more": counting(total=lambda p, w, steps, decoder: (steps + 1) * p * w + decoder),
    "a step less": counting(total=lambda p, w, steps, decoder: (steps - 1) * p * w + decoder),
    "millions": counting(total=lambda p, w, steps, decoder: (steps * p * w + decoder) / 1e6),
    "a tensor": counting(total=lambda p, w, steps, decoder: torch.tensor(steps * p * w + decoder)),
    "decoder twice": counting(of=lambda f: 2),
    "whole ends": whole_in_and_out,
    "layers or 1": counting(weights=lambda d, w, n: 9 * (2 * d * w + (n or 1) * w * w)),
}


def of_examples(terms):
    return terms.flatten(1).sum(1)


def pricing(z=lambda m, v, e: m + (v / 2).exp() * e, terms=lambda m, v, e, z: m**2 + v.exp() - 1 - v, **slip):
    total = slip.get("total", lambda each: of_examples(each) / 2)

    def code_and_price(mean, log_var, noise):
        code = z(mean, log_var, noise)
        return code, total(terms(mean, log_var, noise, code))

    return code_and_price


def swapped(mean, log_var, noise):
    return pricing()(mean, log_var, noise)[::-1]


def without_gradients(mean, log_var, noise):
    return pricing()(mean.detach(), log_var.detach(), noise)


SLIPS["E8.4"] = {
    "exp": pricing(lambda m, v, e: m + v.exp() * e),
    "root": pricing(lambda m, v, e: m + v.sqrt() * e),
    "not halved": pricing(total=of_examples),
    "one draw": pricing(terms=lambda m, v, e, z: z**2 - e**2 - v),
    "noise^2": pricing(terms=lambda m, v, e, z: m**2 + v.exp() - e**2 - v),
    "z^2": pricing(terms=lambda m, v, e, z: z**2 - 1 - v),
    "no 1": pricing(terms=lambda m, v, e, z: m**2 + v.exp() - v),
    "no variance": pricing(terms=lambda m, v, e, z: m**2 - 1 - v),
    "no mean": pricing(terms=lambda m, v, e, z: v.exp() - 1 - v),
    "variance squared": pricing(terms=lambda m, v, e, z: m**2 + v.exp() ** 2 - 1 - v),
    "deviation": pricing(terms=lambda m, v, e, z: m**2 + (v / 2).exp() - 1 - v),
    "half log_var": pricing(terms=lambda m, v, e, z: m**2 + v.exp() - 1 - v / 2),
    "second axis": pricing(total=lambda each: each.sum(1) / 2),
    "mean of numbers": pricing(total=lambda each: each.flatten(1).mean(1) / 2),
    "sum of all": pricing(total=lambda each: each.sum() / 2),
    "mean of examples": pricing(total=lambda each: of_examples(each).mean() / 2),
    "std detached": pricing(lambda m, v, e: m + (v / 2).exp().detach() * e),
    "all detached": without_gradients,
    "swapped": swapped,
    "sign": pricing(total=lambda each: -of_examples(each) / 2),
    "first halved": pricing(terms=lambda m, v, e, z: m**2 / 2 + v.exp() - 1 - v, total=of_examples),
    "1 once": pricing(terms=lambda m, v, e, z: m**2 + v.exp() - v, total=lambda each: (of_examples(each) - 1) / 2),
    "own noise": pricing(lambda m, v, e: m + (v / 2).exp() * torch.randn_like(e)),
    "cut log_var": pricing(lambda m, v, e: m + (v.clamp(min=0) / 2).exp() * e),
    "float32": lambda m, v, e: tuple(each.float() for each in pricing()(m, v, e)),
}


def many(z, t):
    return torch.full((len(z),), float(t), dtype=z.dtype)


def walking(
    first=lambda schedule, noise, times, decode: noise,
    asks=lambda denoise, z, t, s: denoise(z, many(z, t)),
    step=lambda schedule, z, guess, t, s, noise: ddim_step(schedule, z, guess, t, s),
    path=lambda times: times,
    last=lambda decode, denoise, z, guess, s: decode(z),
):
    def draw_in_codes(schedule, denoise, decode, noise, times):
        z = first(schedule, noise, times, decode)
        for t, s in pairwise(path(times).tolist()):
            guess = asks(denoise, z, t, s)
            z = step(schedule, z, guess, t, s, noise)
        return last(decode, denoise, z, guess, s)

    return draw_in_codes


def again(schedule, z, guess, t, s, noise, own=False):
    at, to = torch.tensor([t], dtype=z.dtype), torch.tensor([s], dtype=z.dtype)
    fresh = (z - guess) / schedule.sigma(at) if own else noise
    return schedule.alpha(to) * guess + schedule.sigma(to) * fresh


def one_by_one(schedule, denoise, decode, noise, times):
    return torch.cat([walking()(schedule, denoise, decode, each[None], times) for each in noise])


SLIPS["E8.5"] = {
    "t alone": walking(asks=lambda denoise, z, t, s: denoise(z, t)),
    "t with axes": walking(asks=lambda denoise, z, t, s: denoise(z, many(z, t).view(-1, 1, 1, 1))),
    "clipped": walking(asks=lambda denoise, z, t, s: denoise(z, many(z, t)).clamp(-1, 1)),
    "clipped at 3": walking(asks=lambda denoise, z, t, s: denoise(z, many(z, t)).clamp(-3, 3)),
    "not decoded": walking(last=lambda decode, denoise, z, guess, s: z),
    "last guess": walking(last=lambda decode, denoise, z, guess, s: decode(guess)),
    "another guess": walking(last=lambda decode, denoise, z, guess, s: decode(denoise(z, many(z, s)))),
    "first step only": walking(path=lambda times: times[:2]),
    "asked at s": walking(asks=lambda denoise, z, t, s: denoise(z, many(z, s))),
    "first noise again": walking(step=again),
    "alpha forgotten": walking(step=lambda *given: again(*given, own=True)),
    "scaled noise": walking(first=lambda schedule, noise, times, _: noise * schedule.sigma(times[:1]).to(noise.dtype)),
    "from the noise": walking(step=lambda schedule, z, guess, t, s, noise: ddim_step(schedule, noise, guess, t, s)),
    "decoded first": walking(
        first=lambda schedule, noise, times, decode: decode(noise), last=lambda decode, denoise, z, guess, s: z
    ),
    "cut off": walking(last=lambda decode, denoise, z, guess, s: decode(z).clamp(-1, 1)),
    "times of its own": walking(path=lambda times: torch.linspace(1, 0, len(times))),
    "one by one": one_by_one,
    "two guesses": walking(asks=lambda denoise, z, t, s: (denoise(z, many(z, t)) + denoise(z, many(z, t))) / 2),
    "guess for a step": walking(step=lambda schedule, z, guess, t, s, noise: guess),
}


def codec_test(*parts, axis=-1):
    """The parts of a whole test: m and v by channels, M and V by all of them; o is the order of the batch alone."""

    def test_codec(codec):
        encode, decode, data, error = codec
        z = encode(data)
        made, mixed = decode(z), (data + data.flip(0)) / 2
        close = {
            "m": lambda: z.mean((0, 2, 3)),
            "v": lambda: z.var((0, 2, 3), correction=0) - 1,
            "M": lambda: z.mean(),
            "V": lambda: z.var(correction=0) - 1,
            "n": lambda: 10 * (z.var((0, 2, 3)) - 1),
            "t": lambda: decode(encode(made)) - made,
            "T": lambda: made - data,
            "b": lambda: encode(data[:1]) - z[:1],
            "o": lambda: encode(data.flip(0)) - z.flip(0),
            "p": lambda: encode(data.roll(4, axis)) - z.roll(4 // 4, axis),
            "P": lambda: encode(data.roll(1, axis)) - z,
            "e": lambda: encode(mixed) - (z + z.flip(0)) / 2,
            "s": lambda: encode(2 * data) - 2 * z,
            "d": lambda: decode((z + z.flip(0)) / 2) - (made + made.flip(0)) / 2,
            "l": lambda: 16 * (made - data).square().mean() - error,
            "L": lambda: (16 * (made - data).square().mean() - error).clamp(min=0),
            "a": lambda: (made - data).square().mean() - error,
        }
        for part in parts:
            assert close[part]().abs().max() < 1e-3, part

    return test_codec


WHOLE = "mvtbpedl"
SLIPS["E8.6"] = {
    "shapes": codec_test(),
    **{f"without {part}": codec_test(*WHOLE.replace(part, "")) for part in "mvbpl"},
    **{f"{part} alone": codec_test(part) for part in "mvtbpedlnTPsa"},
    "linear is not asked": codec_test(*"mvtbpl"),
    "places by rows alone": codec_test(*WHOLE, axis=-2),
    "mean of all channels": codec_test(*WHOLE.replace("m", "M")),
    "variance of all channels": codec_test(*WHOLE.replace("v", "V")),
    "order of the batch": codec_test(*WHOLE.replace("b", "o")),
    "decode is linear": codec_test(*WHOLE.replace("e", "")),
    "promises too much": codec_test(*WHOLE.replace("l", "L")),
}


def upsampler_test(*parts, of=torch.randn):
    def test_upsampler(upsample):
        x = of(3, 3, 16, 16, generator=torch.Generator().manual_seed(4))
        big = upsample(x)
        close = {
            "m": lambda: F.avg_pool2d(big, 4) - x,
            "M": lambda: big.mean((2, 3)) - x.mean((2, 3)),
            "s": lambda: big[..., ::4, ::4] - x,
            "c": lambda: upsample(torch.full_like(x, 0.4)) - 0.4,
            "C": lambda: upsample(torch.full_like(x, 0.4)).mean() - 0.4,
            "0": lambda: upsample(torch.zeros_like(x)),
            "a": lambda: upsample(x[1:2]) - big[1:2],
            "f": lambda: upsample(x[:1]) - big[:1],
            "o": lambda: upsample(x.flip(0)) - big.flip(0),
            "p": lambda: (upsample(x.roll(2, -1)) - big.roll(8, -1))[..., 20:-20],
            "r": lambda: (upsample(x.roll(2, -2)) - big.roll(8, -2))[..., 20:-20, :],
            "b": lambda: upsample(x.roll(2, -1)) - big.roll(8, -1),
            "l": lambda: upsample(x + x.flip(0)) - big - big.flip(0),
            "h": lambda: upsample(x.flip(-1)) - big.flip(-1),
            "k": lambda: upsample(x[:, :1]) - big[:, :1],
            "n": lambda: big - x.repeat_interleave(4, -1).repeat_interleave(4, -2),
            "R": lambda: big - big.clamp(x.min(), x.max()),
        }
        for part in parts:
            assert close[part]().abs().max() < 1e-3, part

    return test_upsampler


SLIPS["E9.6"] = {
    "shapes": upsampler_test(),
    **{f"{part} alone": upsampler_test(part) for part in "mMsc0faprblhknR"},
    "no example alone": upsampler_test(*"mcp"),
    "first example alone": upsampler_test(*"mcfp"),
    "order of the batch": upsampler_test(*"mcop"),
    "places by rows alone": upsampler_test(*"mcar"),
    "mean of one colour": upsampler_test(*"mCap"),
    "no means": upsampler_test(*"cap"),
    "positive colours": upsampler_test(*"mcap", of=torch.rand),
}


def student_test(size, limit, steps=(1, 2, 4), alone=(1, 2, 4, 16), coordinates=(0, 1), together=max):
    def test_student(draw):
        z = torch.randn(500, 2, generator=torch.Generator().manual_seed(5))
        gaps = [float(size(draw(z, n) - draw(z, 16))) for n in steps]
        assert together(gaps) < limit, "far from its teacher"
        for n in alone:
            assert (draw(z[:1], n) - draw(z, n)[:1]).abs().max() < 1e-3, "neighbours matter"
        for n in (1, 2, 4, 16):
            assert all(draw(z, n)[:, k].std() > 0.4 for k in coordinates), "the noise does not matter"

    return test_student


def rms(gap):
    return gap.square().mean().sqrt()


SLIPS["E10.7"] = {
    **{f"{n} alone": student_test(rms, 0.15, steps=(n,)) for n in (1, 2, 4)},
    "allclose": student_test(lambda gap: gap.abs().max(), 1e-3),
    "worst point": student_test(lambda gap: gap.abs().max(), 0.15),
    "no size": student_test(lambda gap: gap.mean().abs(), 0.15),
    "mean size": student_test(lambda gap: gap.abs().mean(), 0.15),
    "mean size below 0.2": student_test(lambda gap: gap.abs().mean(), 0.2),
    "median": student_test(lambda gap: gap.abs().median(), 0.15),
    "no root": student_test(lambda gap: gap.square().mean(), 0.1),
    "sum": student_test(lambda gap: gap.norm(), 0.15),
    "too wide": student_test(rms, 0.3),
    "too narrow": student_test(rms, 0.05),
    "mean over steps": student_test(rms, 0.2, together=lambda gaps: sum(gaps) / len(gaps)),
    "first coordinate": student_test(lambda gap: rms(gap[:, 0]), 0.15),
    "second coordinate": student_test(lambda gap: rms(gap[:, 1]), 0.15),
    "noise of the second": student_test(rms, 0.15, coordinates=(1,)),
    "no noise": student_test(rms, 0.15, coordinates=()),
    "no neighbours": student_test(rms, 0.15, alone=()),
    "neighbours of the teacher": student_test(rms, 0.15, alone=(16,)),
    "neighbours at 1 step": student_test(rms, 0.15, alone=(1,)),
    "other steps": student_test(rms, 0.15, steps=(1, 2, 4, 8)),
    "least gap": student_test(rms, 0.15, together=min),
}


NAMED = {  # a test's own sentences are looked at elsewhere: here it must not pass
    "E8.1": {
        "columns": ("directions are columns: rows are asked for",),
        "columns as eigh has them": ("directions are columns, the smallest of the kept first: rows are asked for",),
        "last columns as rows": ("the smallest of the kept comes first",),
        "one variance too few": ("one direction too few is dropped",),
        "torch.cov": ("divided by n - 1: the error of these very rows is asked for",),
        "torch.cov of rows": ("torch.cov takes rows for variables: these are directions among examples",),
        "centred by rows": ("the mean of each row is taken away, not the rows' mean",),
        "one mean": ("one mean of all numbers is taken away: each column has its own",),
        "not centred": ("the rows are not centred: the first direction points at their mean",),
        "correlations": ("the columns are divided by their standard deviation: that finds directions of other rows",),
        "the mean is not added again": ("the mean is not added to the reconstruction again",),
        "mse": ("for each number of a row; the whole row's is asked for",),
        "not divided": ("summed over the rows",),
        "divided by p": ("divided by the length of a row, not by the number of rows",),
        "first rows of V": ("an eigenvector is a column of eigh's matrix: these are its first rows, turned round",),
        "standard deviations": ("standard deviations are added where variances add",),
        "one axis": ("a tensor of one number, (1,), for one without axes, ()",),
        "each row": ("one error for each row: their mean is asked for",),
        "first row": ("the error of the first row alone",),
        "codes": ("the codes of the rows are returned, not the directions",),
        "long directions": ("directions are as long as the column of codes: they must have length 1",),
    },
    "E8.2": {
        "of z": ("measured on the codes in hand, not on the data",),
        "n - 1": ("the variance of a sample (n - 1): these codes are all there are",),
        "all channels": ("one mean and one standard deviation for all channels together",),
        "each place": ("a mean for each place: channels are standardised, not places",),
        "each column": ("a mean for each column: channels are the second axis",),
        "back in the wrong order": ("back in the wrong order: first times the deviation, then plus the mean",),
        "back minus": ("the mean is taken away on the way back, too",),
        "back divides": ("divided by the deviation on the way back, too",),
        "back without mean": ("the mean does not come back",),
        "back without deviation": ("the deviation does not come back",),
        "back of z": ("the way back takes mean and deviation of the codes in hand",),
        "variance": ("divided by the variance, not by its root",),
        "one deviation": ("one standard deviation for all channels together",),
        "one mean": ("one mean for all channels together",),
        "mean of deviations": ("the mean of the examples' deviations: one deviation over all of them is asked for",),
        "own example": ("each code by its own example of the data",),
        "the data": ("the data come back, standardised, not z",),
    },
    "E8.3": {
        "f once": ("a side is f times shorter, and a picture has two",),
        "all places": ("f is not used",),
        "decoder in every step": ("the decoder runs once a picture, not once a step",),
        "in only": ("one of the convolutions in and out is forgotten",),
        "layers - 2": ("in and out are counted among the layers: the layers come between",),
        "layers - 1": ("a layer too few",),
        "in and out once": ("the convolutions in and out run once, not in every step",),
        "twice": ("multiplications and additions counted apart",),
        "all twice": ("twice the result",),
        "width ** layers": ("layers in the exponent: each of them costs width^2",),
        "width not squared": ("a layer costs width, not its square",),
        "9 for layers": ("the kernel's 9 is forgotten for in and out",),
        "9 for ends": ("the kernel's 9 is forgotten for the layers",),
        "no padding": ("the code shrinks at every convolution: these keep its size",),
        "3 channels out": ("the last convolution gives d channels, not the 3 of a picture",),
        "decoder from f = 2 on": ("the decoder is left out at f = 1",),
        "side // f**2": ("the square is of side / f, not of f alone",),
        "numbers for places": ("times d: the weights of a convolution have it already",),
        "biases": ("biases are counted, which multiply nothing",),
        "parameters": ("the places are forgotten: every weight is used at each of them",),
        "a step more": ("`steps` is one too large",),
        "a step less": ("`steps` is one too small",),
        "millions": ("in millions",),
        "decoder twice": ("the decoder is counted twice: once a picture",),
        "whole ends": ("the convolutions in and out run on codes, not on pictures",),
        "layers or 1": ("one layer at least, where layers may be 0",),
    },
    "E8.4": {
        "exp": ("noise times the variance: its square root is wanted",),
        "root": ("the root of log_var, which may be negative: the standard deviation is exp(log_var / 2)",),
        "not halved": ("not halved",),
        "one draw": ("one draw's log q(z) - log p(z): its mean over all draws is asked for, the closed form",),
        "noise^2": ("noise^2 is left as it is: its mean is 1",),
        "z^2": ("z^2 is left as it is: its mean is that of the mean squared, and the variance",),
        "no 1": ("the -1 is missing: the price of N(0, 1) itself must be 0",),
        "no variance": ("the variance is missing in the mean of z^2",),
        "no mean": ("the mean is left out",),
        "variance squared": ("the variance is squared",),
        "deviation": ("the standard deviation stands for the variance",),
        "half log_var": ("half the log-variance",),
        "second axis": ("summed over the second axis alone: an example may have further ones",),
        "mean of numbers": ("the mean over numbers, where their sum is asked for",),
        "sum of all": ("one number for the whole batch",),
        "mean of examples": ("one number for the whole batch: the mean of its examples",),
        "std detached": ("the standard deviation is detached: no gradient of z reaches log_var",),
        "all detached": (
            "z is detached (detach, item, no_grad): no gradient comes through",
            "kl is detached (detach, item, no_grad): no gradient comes through",
        ),
        "swapped": ("z and kl are swapped",),
        "sign": ("the wrong sign",),
        "first halved": ("only the mean's square is halved",),
        "1 once": ("1 is taken away once for an example, not once for each number",),
    },
    "E8.5": {
        "clipped": ("the guess is clipped to [-1, 1]: pictures have a range, codes have none",),
        "not decoded": ("the last code is returned, not decoded",),
        "last guess": ("the last guess is decoded, not the last code",),
        "another guess": ("a guess more than steps",),
        "first step only": ("it returns after the first step: `return` stands in the loop",),
        "asked at s": ("the denoiser is asked at time s, where z is not yet",),
        "first noise again": ("the first noise is added anew at each step, not what is left of it in the code",),
        "alpha forgotten": ("the code's noise is (z - alpha guess) / sigma: alpha is forgotten",),
        "scaled noise": ("the noise is multiplied by sigma: it is at times[0] already",),
        "decoded first": ("decoded before the walk: its steps are for codes",),
        "cut off": ("the pictures are cut off to [-1, 1] in the end",),
        "times of its own": ("`times` is not used: these are even steps from 1 to 0",),
        "one by one": ("one example at a time: a batch goes through together",),
        "two guesses": ("two guesses a step",),
        "guess for a step": ("the guess takes the code's place: there is no step",),
    },
}
