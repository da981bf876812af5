"""Answers to notebook 08: right ones written differently, and wrong ones by name."""

from itertools import pairwise

import torch
import torch.nn.functional as F

from cs348k_diffusion import ddim_step

# E8.1


def best_linear_code_by_svd(x, d):
    _, s, v = torch.linalg.svd(x - x.mean(0, keepdim=True), full_matrices=True)
    return v[:d], (s[d:] ** 2).sum() / len(x)


def best_linear_code_by_reconstruction(x, d):
    centred = x - x.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0).reshape(x.shape[1], -1))
    basis = vectors[:, -d:].flip(-1).T
    left = centred - centred @ basis.T @ basis
    return basis, left.pow(2).sum(-1).mean()


def best_linear_code_by_rows(x, d):
    """Wrong: each row loses its own mean."""
    rows = x - x.mean(1, keepdim=True)
    return torch.linalg.svd(rows, full_matrices=True)[2][:d], best_linear_code_by_svd(x, d)[1]


def best_linear_code_of_singular_values(x, d):
    """Wrong: singular values are summed."""
    _, s, v = torch.linalg.svd(x - x.mean(0), full_matrices=True)
    return v[:d], s[d:].sum() / len(x)


def linear(basis=None, error=None, centre=True, divide=len):
    """A wrong answer: another basis(vectors, values, d) or error(values, d, p); values and vectors ascend."""

    def best_linear_code(x, d):
        rows = x - x.mean(0) if centre else x
        values, vectors = torch.linalg.eigh(rows.T @ rows / divide(x))
        kept = vectors.flip(1).T[:d] if basis is None else basis(vectors, values, d)
        return kept, values[:-d].sum() if error is None else error(values, d, x.shape[1])

    return best_linear_code


# E8.2


def standardise_codes_by_channels(z, data, back=False):
    found = torch.empty_like(z)
    for c in range(z.shape[1]):
        mean, std = data[:, c].mean(), data[:, c].var(correction=0) ** 0.5
        found[:, c] = z[:, c] * std + mean if back else (z[:, c] - mean) / std
    return found


def standardise_codes_by_flattening(z, data, back=False):
    rows = data.transpose(0, 1).flatten(1)
    mean, std = rows.mean(1)[:, None, None], rows.std(1, unbiased=False)[:, None, None]
    return torch.addcmul(mean, std, z) if back else z / std - mean / std


def stretched(z, data, back=False):
    """Wrong: to the range from -1 to 1."""
    low, high = data.amin((0, 2, 3), keepdim=True), data.amax((0, 2, 3), keepdim=True)
    return (z + 1) / 2 * (high - low) + low if back else 2 * (z - low) / (high - low) - 1


def scaled(mean=None, std=None, there=None, back=None):
    """A wrong answer: other moments of (z, data), or another formula (z, mean, std)."""

    def standardise_codes(z, data, back_=False):
        m = data.mean((0, 2, 3), keepdim=True) if mean is None else mean(z, data)
        s = data.std((0, 2, 3), keepdim=True, correction=0) if std is None else std(z, data)
        if back_:
            return z * s + m if back is None else back(z, m, s)
        return (z - m) / s if there is None else there(z, m, s)

    return standardise_codes


# E8.3


def multiply_adds_by_layers(f, side, d, width, layers, steps, decoder):
    total = 0
    for fine, coarse in [(d, width)] + [(width, width)] * layers + [(width, d)]:
        total += fine * coarse * 3 * 3 * (side // f) * (side // f)
    return steps * total + decoder


def multiply_adds_by_weights(f, side, d, width, layers, steps, decoder):
    weights = 9 * width * (layers * width + d + d)
    return float(decoder) + steps * weights * (side / f) ** 2


def multiply_adds_by_numpy(f, side, d, width, layers, steps, decoder):
    import numpy as np

    places = np.int64(side // f) ** 2
    layout = [(d, width), *[(width, width)] * layers, (width, d)]
    return steps * sum(9 * fine * coarse * places for fine, coarse in layout) + decoder


def count(places=None, kernel=9, ends=2, twice=1, decodings=None, times=None, layer=2, short=0):
    """A wrong count."""

    def multiply_adds(f, side, d, width, layers, steps, decoder):
        at = (side // f) ** 2 if places is None else places(side, f)
        one = twice * kernel * at * (ends * d * width + (layers - short) * width**layer)
        return (steps if times is None else times) * one + decoder * (1 if decodings is None else decodings(steps))

    return multiply_adds


# E8.4


def code_and_price_by_parts(mean, log_var, noise):
    variance = log_var.exp()
    kl = -0.5 * (1 + log_var - mean**2 - variance)
    return noise * variance.sqrt() + mean, kl.reshape(len(mean), -1).sum(dim=-1)


def code_and_price_by_distributions(mean, log_var, noise):
    axes = tuple(range(1, mean.ndim))
    std = torch.exp(log_var * 0.5)
    normal = torch.distributions.Normal(mean, std)
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    return torch.addcmul(mean, std, noise), kl.sum(axes)


def priced(draw=None, price=None):
    """A wrong answer: another draw(mean, log_var, noise), or another price(mean, log_var)."""

    def code_and_price(mean, log_var, noise):
        z, kl = code_and_price_by_parts(mean, log_var, noise)
        z = z if draw is None else draw(mean, log_var, noise)
        return z, kl if price is None else price(mean, log_var)

    return code_and_price


def half(total):
    return total.flatten(1).sum(1) / 2


def silent(which, *names, all_=False):
    """A wrong answer: right values, but some arguments are detached in z (0) or kl (1), or the whole result is."""

    def code_and_price(mean, log_var, noise):
        given = {"mean": mean, "log_var": log_var, "noise": noise}
        cut = {name: value.detach() if name in names else value for name, value in given.items()}
        found, other = code_and_price_by_parts(**cut), code_and_price_by_parts(**given)
        mine = found[which].detach() if all_ else found[which]
        return (mine, other[1]) if which == 0 else (other[0], mine)

    return code_and_price


@torch.no_grad()
def code_and_price_without_gradients(mean, log_var, noise):
    return code_and_price_by_parts(mean, log_var, noise)


def code_and_price_with_std_as_a_number(mean, log_var, noise):
    std = (log_var / 2).exp().detach()
    return mean + std * noise, (mean**2 + std**2 - 1 - log_var).flatten(1).sum(1) / 2


# E8.5


def draw_in_codes_by_formula(schedule, denoise, decode, noise, times):
    z = noise
    for k in range(len(times) - 1):
        now, then = (times[i].expand(len(z)).to(z) for i in (k, k + 1))
        x0 = denoise(z, now)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(now, z), schedule(then, z)
        z = alpha_s * x0 + sigma_s * (z - alpha_t * x0) / sigma_t
    return decode(z)


def draw_in_codes_by_recursion(schedule, denoise, decode, noise, times):
    if len(times) == 1:
        return decode(noise)
    t, s = float(times[0]), float(times[1])
    guess = denoise(noise, torch.full((len(noise),), t, dtype=noise.dtype))
    return draw_in_codes_by_recursion(schedule, denoise, decode, ddim_step(schedule, noise, guess, t, s), times[1:])


def walking(guess=None, each=None, end=None, times_=None, at=None, step=None, form=torch.full):
    """A wrong walk: another guess, something at each code, another end(decode, z, x0), other times, a slip."""

    def draw_in_codes(schedule, denoise, decode, noise, times):
        z = x0 = noise
        moments = times if times_ is None else times_(times)
        for t, s in pairwise(moments.tolist()):
            x0 = denoise(z, form((len(z),), t if at is None else at(t, s), dtype=z.dtype))
            x0 = x0 if guess is None else guess(x0)
            z = ddim_step(schedule, z, x0, *((t, s) if step is None else step(t, s)))
            z = z if each is None else each(z, decode)
        return decode(z) if end is None else end(decode, z, x0)

    return draw_in_codes


def asked_late(schedule, denoise, decode, noise, times):
    z = noise
    for t, s in pairwise(times.tolist()):
        z = ddim_step(schedule, z, denoise(z, torch.full((len(z),), s, dtype=z.dtype)), t, s)
    return decode(z)


def started_anew(schedule, denoise, decode, noise, times):
    for t, s in pairwise(times.tolist()):
        z = ddim_step(schedule, noise, denoise(noise, torch.full((len(noise),), t, dtype=noise.dtype)), t, s)
    return decode(z)


def without_steps(schedule, denoise, decode, noise, times):
    z = noise
    for t in times[:-1].tolist():
        z = denoise(z, torch.full((len(z),), t, dtype=z.dtype))
    return decode(z)


def decoding_each(z, decode):
    decode(z)
    return z


def draw_in_codes_the_other_way_round(schedule, denoise, decode, noise, times):
    return walking()(schedule, lambda z, t: denoise(t, z), decode, noise, times)


def draw_in_codes_of_noise(schedule, denoise, decode, noise, times):
    return decode(noise)


# E8.6


def test_by_hand(codec):
    encode, decode, data, error = codec
    z = encode(data)
    assert z.shape == (len(data), 3, 4, 4), "three numbers for each piece"
    for c in range(3):
        assert abs(float(z[:, c].mean())) < 1e-3, "the mean of a channel"
        assert abs(float(z[:, c].square().mean()) - 1) < 1e-3, "the variance of a channel"
    made = decode(z)
    assert (decode(encode(made)) - made).abs().max() < 1e-3, "a second pass changes it"
    for k in (0, 5):
        assert (encode(data[k : k + 1]) - z[k : k + 1]).abs().max() < 1e-3, "neighbours matter"
    assert (encode(data.roll(4, -1)) - z.roll(1, -1)).abs().max() < 1e-3, "the column matters"
    assert (encode(data.roll(4, -2)) - z.roll(1, -2)).abs().max() < 1e-3, "the row matters"
    a, b = data[:7], data[7:14]
    middle = (z[:7] + z[7:14]) / 2
    assert (encode((a + b) / 2) - middle).abs().max() < 1e-3, "encode is not linear"
    assert (decode(middle) - (made[:7] + made[7:14]) / 2).abs().max() < 1e-3, "decode is not linear"
    for c in range(3):
        for size in (0.05, -0.05):
            other = z.clone()
            other[:, c] += size
            nearer = (made - data).square().sum((1, 2, 3)) - (decode(other) - data).square().sum((1, 2, 3))
            assert nearer.max() < 1e-3, "a nearby code is better"
    lost = (made - data).square().flatten(1).sum(1).mean() / 16
    assert abs(float(lost) - error) < 1e-3, "not the promised error"


def test_by_statistics(codec):
    encode, decode, data, error = codec
    rows = encode(data).transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(3), rtol=0, atol=1e-3)
    torch.testing.assert_close(rows.std(1, correction=0), torch.ones(3), rtol=0, atol=1e-3)
    some = data[:4]
    once = decode(encode(some))
    torch.testing.assert_close(decode(encode(once)), once, rtol=0, atol=1e-3)
    alone = torch.cat([encode(one[None]) for one in some])
    torch.testing.assert_close(alone, encode(some), rtol=0, atol=1e-3)
    torch.testing.assert_close(encode(some.roll((4, 12), (2, 3))), alone.roll((1, 3), (2, 3)), rtol=0, atol=1e-3)
    assert abs(16 * float(F.mse_loss(decode(encode(data)), data)) - error) < 1e-3
    torch.testing.assert_close(encode((data[:1] + data[1:2]) / 2), (alone[:1] + alone[1:2]) / 2, rtol=0, atol=1e-3)
    third = decode(0.3 * alone[:1] + 0.7 * alone[1:2])
    torch.testing.assert_close(third, 0.3 * once[:1] + 0.7 * once[1:2], rtol=0, atol=1e-3)
    none = torch.zeros(1, 3, 1, 1)
    basis = (decode(torch.eye(3)[..., None, None]) - decode(none)).flatten(1).T
    piece = data[:, 0, 4:8, 8:12].flatten(1) - decode(none).flatten()
    best = torch.linalg.lstsq(basis, piece.T).solution.T
    torch.testing.assert_close(encode(data)[:, :, 1, 2], best, rtol=0, atol=1e-2)


def some_of(*checks, tolerance=1e-3, best=False, correction=0):
    """A property test made of some of the checks only."""

    def test_codec(codec):
        encode, decode, data, error = codec
        z = encode(data)
        made = decode(z)
        close = {"rtol": 0.0, "atol": tolerance}
        if "mean" in checks:
            torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), **close)
        if "variance" in checks:
            torch.testing.assert_close(z.var((0, 2, 3), correction=correction), torch.ones(3), **close)
        if "twice" in checks:
            torch.testing.assert_close(decode(encode(made)), made, **close)
        if "batch" in checks:
            torch.testing.assert_close(encode(data[2:3]), z[2:3], **close)
        if "columns" in checks:
            torch.testing.assert_close(encode(data.roll(4, -1)), z.roll(1, -1), **close)
        if "rows" in checks:
            torch.testing.assert_close(encode(data.roll(4, -2)), z.roll(1, -2), **close)
        if "linear" in checks:
            torch.testing.assert_close(encode((data + data.roll(1, 0)) / 2), (z + z.roll(1, 0)) / 2, **close)
        if "back" in checks:
            torch.testing.assert_close(decode((z + z.roll(1, 0)) / 2), (made + made.roll(1, 0)) / 2, **close)
        if "nearest" in checks:
            assert ((data - made) * (made.roll(1, 0) - made)).sum((1, 2, 3)).abs().max() <= tolerance
        if "error" in checks:
            assert abs(16 * float((made - data).square().mean()) - error) <= tolerance
        if best:
            assert 16 * float((made - data).square().mean()) < 0.02

    return test_codec


EVERY = ("mean", "variance", "twice", "batch", "rows", "columns", "linear", "back", "nearest", "error")


def without(*names):
    return some_of(*(name for name in EVERY if name not in names))


RIGHT = {
    "E8.1": [best_linear_code_by_svd, best_linear_code_by_reconstruction],
    "E8.2": [standardise_codes_by_channels, standardise_codes_by_flattening],
    "E8.3": [multiply_adds_by_numpy, multiply_adds_by_layers, multiply_adds_by_weights],
    "E8.4": [code_and_price_by_parts, code_and_price_by_distributions],
    "E8.5": [draw_in_codes_by_formula, draw_in_codes_by_recursion],
    "E8.6": [test_by_hand, test_by_statistics],
}

WRONG = {
    "E8.1": {
        "the rows are not centred": linear(centre=False),
        "the smallest variances are kept": linear(lambda v, _, d: v.T[:d]),
        "the smallest of the kept comes first": linear(lambda v, _, d: v[:, -d:].T),
        "these are its first rows": linear(lambda v, _, d: v[:d]),
        "these are its last rows, the last first": linear(lambda v, _, d: v.flip(0)[:d]),
        "signs within a direction": linear(lambda v, _, d: v.flip(1).T[:d].abs()),
        "directions are scaled": linear(lambda v, e, d: (v * e.clamp(min=0).sqrt()).flip(1).T[:d]),
        "what is kept, not what is dropped": linear(error=lambda e, d, p: e[-d:].sum()),
        "the mean of the dropped variances": linear(error=lambda e, d, p: e[:-d].sum() / max(p - d, 1)),
        "for each number of a row": linear(error=lambda e, d, p: e[:-d].sum() / p),
        "divided by n - 1": linear(divide=lambda x: len(x) - 1),
        "the root of the squared error": linear(error=lambda e, d, p: e[:-d].sum().clamp(min=0).sqrt()),
        "a share of the variance": linear(error=lambda e, d, p: e[:-d].sum() / e.sum()),
        "the mean of each row is taken away": best_linear_code_by_rows,
        "these are its first rows, turned round": linear(lambda v, _, d: v.flip(1)[:d]),
        "singular values are not variances": best_linear_code_of_singular_values,
        "the largest variances are dropped": linear(error=lambda e, d, p: e[d:].sum()),
    },
    "E8.2": {
        "measured on the codes in hand": scaled(
            lambda z, data: z.mean((0, 2, 3), keepdim=True),
            lambda z, data: z.std((0, 2, 3), keepdim=True, correction=0),
        ),
        "for all channels together": scaled(lambda z, data: data.mean(), lambda z, data: data.std(correction=0)),
        "channels are standardised, not places": scaled(
            lambda z, data: data.mean(0), lambda z, data: data.std(0, correction=0)
        ),
        "divided by the variance": scaled(std=lambda z, data: data.var((0, 2, 3), keepdim=True, correction=0)),
        "the variance of a sample": scaled(std=lambda z, data: data.std((0, 2, 3), keepdim=True)),
        "back is not looked at": scaled(back=lambda z, m, s: (z - m) / s),
        "there and back are swapped": scaled(there=lambda z, m, s: z * s + m, back=lambda z, m, s: (z - m) / s),
        "back in the wrong order": scaled(back=lambda z, m, s: (z + m) * s),
        "the mean of the codes in hand": scaled(lambda z, data: z.mean((0, 2, 3), keepdim=True)),
        "stretched to the range": stretched,
        "taken away on the way back, too": scaled(back=lambda z, m, s: z * s - m),
        "divided first, then moved": scaled(there=lambda z, m, s: z / s - m),
    },
    "E8.3": {
        "a side is f times shorter, and a picture has two": count(places=lambda side, f: side * side // f),
        "one side only": count(places=lambda side, f: side // f),
        "f is not used": count(places=lambda side, f: side**2),
        "a 3 x 3 kernel has 9 weights": count(kernel=3),
        "multiplications and additions counted apart": count(twice=2),
        "not once a step": count(decodings=lambda steps: steps),
        "the decoder is forgotten": count(decodings=lambda steps: 0),
        "the steps are forgotten": count(times=1),
        "the convolutions in and out are forgotten": count(ends=0),
        "one of the convolutions in and out": count(ends=1),
        "a layer too few": count(short=1),
        "a layer costs width": count(layer=1),
        "a layer too many": count(short=-1),
        "not at every place": lambda f, side, d, width, layers, steps, decoder: multiply_adds_by_layers(
            f, side, d, width, layers, steps, decoder * (side // f) ** 2
        ),
        "width channels on both sides": lambda f, side, d, width, layers, steps, decoder: (
            steps * 9 * (side // f) ** 2 * d * (2 * width + layers * width**2) + decoder
        ),
    },
    "E8.4": {
        "noise times the variance": priced(lambda m, v, e: m + v.exp() * e),
        "noise times the log-variance": priced(lambda m, v, e: m + v * e),
        "the mean is stretched, too": priced(lambda m, v, e: (v / 2).exp() * (m + e)),
        "the mean alone, without noise": priced(lambda m, v, e: m + 0 * e),
        "not halved": priced(price=lambda m, v: (m**2 + v.exp() - 1 - v).flatten(1).sum(1)),
        "where their sum is asked for": priced(price=lambda m, v: (m**2 + v.exp() - 1 - v).flatten(1).mean(1) / 2),
        "one number for the whole batch": priced(price=lambda m, v: (m**2 + v.exp() - 1 - v).sum() / 2),
        "log_var is used as a variance": priced(price=lambda m, v: half(m**2 + v - 1 - v.abs().log())),
        "the -1 is missing": priced(price=lambda m, v: half(m**2 + v.exp() - v)),
        "log_var with the wrong sign": priced(price=lambda m, v: half(m**2 + v.exp() - 1 + v)),
        "the size of the mean": priced(price=lambda m, v: half(m.abs() + v.exp() - 1 - v)),
        "summed over the last axis alone": priced(price=lambda m, v: (m**2 + v.exp() - 1 - v).sum(-1) / 2),
        "in bits": priced(price=lambda m, v: half(m**2 + v.exp() - 1 - v) / torch.log(torch.tensor(2.0)).item()),
        "no gradient comes through": code_and_price_without_gradients,
        "z is detached (detach": silent(0, all_=True),
        "the standard deviation is detached": silent(0, "log_var"),
        "the mean is detached: no gradient of z": silent(0, "mean"),
        "kl is detached": silent(1, all_=True),
        "log_var is detached: no gradient of kl": silent(1, "log_var"),
        "exp(log_var) is detached": code_and_price_with_std_as_a_number,
        "the other direction": priced(price=lambda m, v: half((1 + m**2) * (-v).exp() - 1 + v)),
    },
    "E8.5": {
        "the guess is clipped to [-1, 1]": walking(guess=lambda x0: x0.clamp(-1, 1)),
        "codes are clipped at every step": walking(each=lambda z, decode: z.clamp(-1, 1)),
        "the last code is returned, not decoded": walking(end=lambda decode, z, x0: z),
        "the last guess is decoded, not the last code": walking(end=lambda decode, z, x0: decode(x0)),
        "asked at time s, where z is not yet": asked_late,
        "every step starts from the noise": started_anew,
        "the guess takes the code's place": without_steps,
        "the noise is decoded": draw_in_codes_of_noise,
        "the last step is missing": walking(times_=lambda times: times[:-1]),
        "the first step is missing": walking(times_=lambda times: times[1:]),
        "t and s are swapped in the step": walking(step=lambda t, s: (s, t)),
        "denoise takes (z, t), in this order": draw_in_codes_the_other_way_round,
        "denoise takes t as a tensor (batch,): got a float": walking(form=lambda shape, t, dtype: t),
        "decoded after every step and at the end": walking(each=decoding_each),
        "the pictures are cut off": walking(end=lambda decode, z, x0: decode(z).clamp(-1, 1)),
    },
    "E8.6": {
        "decodes without adding the mean": some_of("variance", "batch", "columns"),
        "codes are not standardised: twice too wide": without("variance"),
        "codes have a mean that is not 0": without("mean"),
        "mixes the pictures of a batch": without("batch", "twice", "variance", "back", "nearest", "error"),
        "codes are mirrored": without("columns"),
        "codes stand upside down": without("rows"),
        "rows of codes are columns": without("rows", "columns"),
        "gives a picture that comes alone half its code": without("batch"),
        "promises the error of a number": without("error"),
        "0.8 of the contrast": without("twice", "nearest"),
        "is not linear: it bends": without("linear", "back"),
        "it looks pieces up among 64 stored ones": without("linear", "back", "nearest"),
        "encode is not linear, though decode is": without("linear", "nearest"),
        "decode is not linear, though encode is": without("back", "nearest"),
        "is not the nearest, though what decode makes comes back": without("nearest"),
        "four times the mean of the batch in hand": without("batch", "linear"),
        "channels have means of 1/2 and -1/2": without("mean"),
        "channels have variances of 3/2 and 1/2": without("variance"),
        "It rejects: three directions at random": some_of(*EVERY, best=True),
        "Your test must pass on every right answer": some_of(*EVERY, tolerance=0.0),
        "Measure std or var with correction=0": some_of(*EVERY, correction=1),
    },
}

EQUIVALENT = {
    "E8.2": {f"line {n}: (0, 2, 3) -> (2, 0, 3)": "the same axes in another order" for n in (10, 11)},
    "E8.6": {
        **{f"line {n}: (0, 2, 3) -> (2, 0, 3)": "the same axes in another order" for n in (17, 18)},
        "line 17: z.mean((0, 2, 3)) -> z.sum((0, 2, 3))": "a sum is 0 where a mean is",
        "line 17: torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), **close) -> "
        "torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3))": "right ones have 0 to rounding",
        "line 18: torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones(3), **close) -> "
        "torch.testing.assert_close(z.var((0, 2, 3), correction=0), torch.ones(3))": "right ones have 1 to rounding",
        "line 19: torch.testing.assert_close(encode(data[2:3]), z[2:3], **close) -> "
        "torch.testing.assert_close(encode(data[2:3]), z[2:3])": "right codecs give one example's code to rounding",
        "line 21: torch.testing.assert_close(encode(moved), there, **close) -> "
        "torch.testing.assert_close(encode(moved), there)": "right codecs move codes with pieces to rounding",
        "line 23: torch.testing.assert_close(encode(both), (z[:9] + z[9:18]) / 2, **close) -> "
        "torch.testing.assert_close(encode(both), (z[:9] + z[9:18]) / 2)": "right codecs take a mean to the mean",
        "line 25: ((data - made) * (made.roll(1, 0) - made)).sum((1, 2, 3)) -> "
        "((data - made) * (made.roll(1, 0) - made)).mean((1, 2, 3))": "a mean is 0 where a sum is",
        "line 25: data - made -> made - data": "0 with another sign",
        "line 25: made.roll(1, 0) - made -> made - made.roll(1, 0)": "0 with another sign",
        "line 25: 1 -> 2": "the picture after the next one does as well",
        "line 25: (1, 2, 3) -> (2, 1, 3)": "the same axes in another order",
        "line 26: torch.testing.assert_close(along, torch.zeros(24), **close) -> "
        "torch.testing.assert_close(along, torch.zeros(24))": "right codecs give the nearest to rounding",
        "line 27: float((made - data).square().mean()) -> (made - data).square().mean()": "a tensor compares as well",
    },
}
