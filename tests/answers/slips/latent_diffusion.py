"""Slips in notebook 08."""

import torch

from cs348k_diffusion.sampling import ddim_step


def coding(matrix=lambda centred, x: centred.T @ centred / len(x), pick=lambda vectors, d: vectors.flip(1).T[:d],
           error=lambda values, d: values[: len(values) - d].sum()):  # fmt: skip
    def code(x, d):
        centred = x - x.mean(0)
        values, vectors = torch.linalg.eigh(matrix(centred, x))
        return pick(vectors, d), error(values, d)

    return code


def standardising(there, undo, axes=(0, 2, 3)):
    def standardise(z, data, back=False):
        mean, std = data.mean(axes, keepdim=True), data.std(axes, keepdim=True, correction=0)
        return undo(z, mean, std) if back else there(z, mean, std)

    return standardise


def cost(places):
    return lambda f, side, d, width, layers, steps, decoder: (
        steps * places(side, f) * 9 * (2 * d * width + layers * width**2) + decoder
    )


def drawing(z_of=lambda mean, log_var, noise: mean + (log_var / 2).exp() * noise,
            kl_of=lambda mean, log_var: (mean**2 + log_var.exp() - 1 - log_var) / 2,
            summed=lambda kl: kl.flatten(1).sum(1)):  # fmt: skip
    return lambda mean, log_var, noise: (z_of(mean, log_var, noise), summed(kl_of(mean, log_var)))


def walking(guess_at=lambda denoise, z, t, s: denoise(z, torch.full((len(z),), t, dtype=z.dtype)),
            move=ddim_step, end=lambda decode, z: decode(z)):  # fmt: skip
    def draw(schedule, denoise, decode, noise, times):
        z = noise
        for t, s in zip(times[:-1].tolist(), times[1:].tolist()):
            z = move(schedule, z, guess_at(denoise, z, t, s), t, s)
        return end(decode, z)

    return draw


def one_leap(schedule, denoise, decode, noise, times):
    t, s = times[0].item(), times[-1].item()
    return decode(ddim_step(schedule, noise, denoise(noise, torch.full((len(noise),), t, dtype=noise.dtype)), t, s))


def to_zero(schedule, denoise, decode, noise, times):
    times = torch.cat([times, times.new_zeros(1)]) if times[-1] > 0 else times
    return walking()(schedule, denoise, decode, noise, times)


def starts_fresh(schedule, denoise, decode, noise, times):
    return walking()(schedule, denoise, decode, torch.zeros_like(noise), times)


def codec_only_mean(codec):
    encode, _, data, _ = codec
    torch.testing.assert_close(encode(data).mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-3)


def codec_only_error(codec):
    encode, decode, data, error = codec
    assert abs(16 * float((decode(encode(data)) - data).square().mean()) - error) < 1e-3


def losing(error):
    """The right basis, with error(what each row loses, variances smallest first, d)."""

    def code(x, d):
        centred = x - x.mean(0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
        basis = vectors.flip(1).T[:d]
        return basis, error(centred - centred @ basis.T @ basis, values, d)

    return code


def not_centred(x, d):
    basis, _ = coding()(x, d)
    return basis, (x - x @ basis.T @ basis).square().sum(1).mean()


SLIPS = {
    "E8.1": {
        "the largest lost variance": losing(
            lambda lost, values, d: values.flip(0)[d] if d < len(values) else 0 * values[0]
        ),
        "the smallest variance": losing(lambda lost, values, d: values[0]),
        "the median row": losing(lambda lost, values, d: lost.square().sum(1).median()),
        "the worst row": losing(lambda lost, values, d: lost.square().sum(1).max()),
        "lengths of rows": losing(lambda lost, values, d: lost.norm(dim=1).mean()),
        "sizes of numbers": losing(lambda lost, values, d: lost.abs().sum(1).mean()),
        "rows with their mean": not_centred,
        "something else": losing(lambda lost, values, d: lost.square().sum(1).mean().sin()),
        "not divided by n": coding(matrix=lambda c, x: c.T @ c),
        "a mean that is subtracted twice": coding(matrix=lambda c, x: (c - x.mean(0)).T @ (c - x.mean(0)) / len(x)),
        "the largest variances are the error": coding(error=lambda values, d: values[-d:].sum()),
    },
    "E8.2": {
        "the root of the deviation": standardising(
            lambda z, m, s: (z - m) / s.sqrt(), lambda z, m, s: z * s.sqrt() + m
        ),
        "multiplied": standardising(lambda z, m, s: (z - m) * s, lambda z, m, s: z / s + m),
        "the mean is added": standardising(lambda z, m, s: (z + m) / s, lambda z, m, s: z * s - m),
    },
    "E8.3": {
        "side / f once": cost(places=lambda side, f: side // f),
        "side times f": cost(places=lambda side, f: (side * f) ** 2),
        "side^2 / f": cost(places=lambda side, f: side**2 // f),
    },
    "E8.4": {
        "one number of noise for each example": drawing(
            lambda m, v, e: m + (v / 2).exp() * e.flatten(1)[:, :1].view(-1, *(1,) * (m.ndim - 1))
        ),
        "one number of noise for all": drawing(lambda m, v, e: m + (v / 2).exp() * e.flatten()[0]),
        "the price of a single draw": lambda m, v, e: (
            (z := m + (v / 2).exp() * e),
            ((z**2 - e**2 - v) / 2).flatten(1).sum(1),
        ),
        "exp(log_var) for its root": drawing(z_of=lambda m, v, e: m + v.exp() * e),
        "exp(2 log_var)": drawing(z_of=lambda m, v, e: m + (2 * v).exp() * e),
        "the root of log_var": drawing(z_of=lambda m, v, e: m + v.abs().sqrt() * e),
    },
    "E8.5": {
        "one leap": one_leap,
        "always down to 0": to_zero,
        "from zeros": starts_fresh,
    },
    "E8.6": {
        "only the mean": codec_only_mean,
        "only the error": codec_only_error,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E8.1": {
        "the largest lost variance": ("the largest of the dropped variances, not their sum",),
        "the smallest variance": ("the smallest variance, not the sum of all that are dropped",),
        "the median row": ("the median over the rows, not their mean",),
        "the worst row": ("the row that loses most, not the mean over the rows",),
        "lengths of rows": ("lengths of what is lost, not their squares",),
        "sizes of numbers": ("sizes of numbers, not their squares",),
        "rows with their mean": ("rows that are not centred are projected: their mean is lost, too",),
        "not divided by n": ("summed over the rows",),
        "a mean that is subtracted twice": ("the rows are not centred: the first direction points at their mean",),
        "the largest variances are the error": ("what is kept, not what is dropped",),
    },
    "E8.2": {
        "the root of the deviation": ("divided by the root of the deviation",),
        "multiplied": ("multiplied by the standard deviation, not divided",),
        "the mean is added": ("the mean is added, not taken away",),
    },
    "E8.3": {
        "side / f once": ("one side only: places are rows times columns",),
        "side times f": ("multiplied by f, not divided",),
        "side^2 / f": ("a side is f times shorter, and a picture has two",),
    },
    "E8.4": {
        "one number of noise for each example": ("one number of `noise` for each example",),
        "one number of noise for all": ("one number of `noise`, the first, for all",),
        "the price of a single draw": ("one draw's log q(z) - log p(z)",),
        "exp(log_var) for its root": ("noise times the variance: its square root is wanted",),
        "exp(2 log_var)": ("noise times exp(2 log_var): the root is exp(log_var / 2)",),
        "the root of log_var": ("the standard deviation is exp(log_var / 2), not the root of log_var",),
    },
    "E8.5": {
        "one leap": ("one leap, from the first time to the last",),
        "always down to 0": ("it walks on to time 0, where `times` ends above",),
        "from zeros": ("`noise` is not used: 0 stands in its place",),
    },
    "E8.6": {
        "only the mean": ("It accepts",),
        "only the error": ("It accepts",),
    },
}
