"""Slips in notebook 09."""

import torch
import torch.nn.functional as F


def resizing(new=lambda size, n: (torch.arange(size) + 0.5) * n / size, old=lambda n: torch.arange(n) + 0.5,
             stretch=lambda n, size: max(n / size, 1.0), rows=lambda w: w / w.sum(1, keepdim=True)):  # fmt: skip
    def matrix(kernel, n, size):
        return rows(kernel((old(n) - new(size, n)[:, None]) / stretch(n, size)))

    return matrix


def decibels(error=lambda cov, k: (1 + 1 / k) * cov.diagonal().mean(), span=4.0, factor=10.0):
    return lambda cov, k: float(factor * torch.log10(span / error(cov, k)))


def joined(shown, join=lambda x, shown: torch.cat([x, shown], 1), nothing=torch.zeros_like):
    def answer(x, low_res, enlarge):
        return join(x, nothing(x) if low_res is None else shown(x, low_res, enlarge))

    return answer


def enlarged(x, low_res, enlarge):
    return enlarge(low_res, x.shape[-1]).expand_as(x)


def pairing(low=lambda small, level, noise: small + level * noise,
            residual=lambda high, big, spread: (high - big) / spread, given=lambda low, small: low):  # fmt: skip
    def pair(high, shrink, enlarge, level, noise, spread):
        small = shrink(high)
        low_res = low(small, level.view(-1, 1, 1, 1), noise)
        return residual(high, enlarge(low_res), spread), given(low_res, small)

    return pair


def stages(start=0, number=lambda k, j: k, follow=lambda x, frames: frames[-1], frames_of=lambda frames: frames):
    def run(stages, x):
        film = []
        for k, stage in enumerate(stages, start):
            frames = stage(x)
            film += [(number(k, j), frame) for j, frame in enumerate(frames_of(frames))]
            x = follow(x, frames)
        return film

    return run


def nested(stages, x):
    film = []
    for k, stage in enumerate(stages):
        frames = stage(x)
        film.append((k, frames))
        x = frames[-1]
    return film


def frame_first(stages, x):
    film = []
    for k, stage in enumerate(stages):
        frames = stage(x)
        film += [(frame, k) for frame in frames]
        x = frames[-1]
    return film


def last_stage_alone(stages, x):
    for stage in stages:
        frames = stage(x)
        x = frames[-1]
    return [(len(stages) - 1, frame) for frame in frames]


def in_the_opposite_order(stages, x):
    film = []
    for k, stage in enumerate(stages[::-1]):
        frames = stage(x)
        film += [(k, frame) for frame in frames]
        x = frames[-1]
    return film


def pictures():
    return torch.linspace(0, 50, 3 * 12 * 12).view(3, 1, 12, 12).sin()


def upsampler_colour(upsample):
    flat = upsample(torch.full((1, 1, 8, 8), 0.4))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.4), rtol=1e-3, atol=1e-3)


def upsampler_means(upsample):
    x = pictures()
    torch.testing.assert_close(F.avg_pool2d(upsample(x), 4), x, rtol=1e-3, atol=1e-3)


SLIPS = {
    "E9.1": {
        "n instead of size": resizing(new=lambda size, n: (torch.arange(size) + 0.5) / size),
        "a whole pixel for half of one": resizing(new=lambda size, n: (torch.arange(size) + 1) * n / size),
        "the old half is forgotten": resizing(old=lambda n: torch.arange(n).float()),
        "the new half alone": resizing(new=lambda size, n: torch.arange(size) * n / size + 0.5),
    },
    "E9.2": {
        "1 + k": decibels(lambda cov, k: (1 + k) * cov.diagonal().mean()),
        "1 / (1 + k)": decibels(lambda cov, k: 1 / (1 + k) * cov.diagonal().mean()),
        "1 + 1 / (k + 1)": decibels(lambda cov, k: (1 + 1 / (1 + k)) * cov.diagonal().mean()),
        "1 - 1/k": decibels(lambda cov, k: (1 - 1 / k + 1e-9) * cov.diagonal().mean()),
        "k for 1/k": decibels(lambda cov, k: (1 + min(k, 1e6)) * cov.diagonal().mean()),
        "1/k^2": decibels(lambda cov, k: (1 + 1 / k**2) * cov.diagonal().mean()),
        "1/sqrt(k)": decibels(lambda cov, k: (1 + 1 / k**0.5) * cov.diagonal().mean()),
    },
    "E9.3": {
        "x is enlarged, too": joined(lambda x, low, enlarge: enlarge(x, x.shape[-1])),
        "the small picture's size": joined(lambda x, low, enlarge: enlarge(low, low.shape[-1] * 2).expand_as(x)),
        "the mean of the batch": joined(
            lambda x, low, enlarge: enlarge(low.mean(0, keepdim=True), x.shape[-1]).expand_as(x)
        ),
        "subtracted from x": joined(lambda x, low, enlarge: x - enlarged(x, low, enlarge)),
    },
    "E9.4": {
        "no noise": pairing(lambda small, level, noise: small),
        "no noise, not divided": pairing(lambda small, level, noise: small, lambda high, big, spread: high - big),
        "the level is squared": pairing(low=lambda small, level, noise: small + level**2 * noise),
        "the noise is subtracted": pairing(low=lambda small, level, noise: small - level * noise),
        "the picture is multiplied": pairing(low=lambda small, level, noise: small * (1 + level * noise)),
        "noise alone": pairing(low=lambda small, level, noise: level * noise),
    },
    "E9.5": {
        "the frame comes first": frame_first,
        "nested": nested,
        "the last stage alone": last_stage_alone,
        "from the last stage": in_the_opposite_order,
    },
    "E9.6": {
        "only the colour": upsampler_colour,
        "only the means": upsampler_means,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E9.1": {
        "n instead of size": ("1 / size instead of n / size",),
        "a whole pixel for half of one": ("a whole pixel is added, not half of one",),
        "the old half is forgotten": ("the half pixel is added and not taken away again",),
        "the new half alone": ("the half pixel is forgotten",),
    },
    "E9.2": {
        "1 + k": ("k instead of 1/k",),
        "1 / (1 + k)": ("1/(1 + k) instead of 1 + 1/k",),
        "1 + 1 / (k + 1)": ("1/(k + 1) instead of 1/k",),
        "1 - 1/k": ("1 - 1/k: the two errors do not cancel, they add",),
        "k for 1/k": ("k instead of 1/k",),
        "1/k^2": ("1/k^2 instead of 1/k",),
        "1/sqrt(k)": ("1/sqrt(k) instead of 1/k: variances are averaged",),
    },
    "E9.3": {
        "x is enlarged, too": ("x twice, once enlarged",),
        "the mean of the batch": ("the mean small picture for all",),
        "subtracted from x": ("x less the enlarged picture",),
    },
    "E9.4": {
        "no noise": ("the clean small picture is returned",),
        "no noise, not divided": ("the clean small picture is returned", "not divided by spread"),
        "the level is squared": ("the level is squared: it is a standard deviation already",),
        "the noise is subtracted": ("noise is subtracted",),
        "the picture is multiplied": ("the picture is multiplied by the noise: it is added",),
        "noise alone": ("the noise alone, without the picture",),
    },
    "E9.5": {
        "the frame comes first": ("the picture comes before the number",),
        "nested": ("the frames of a stage stay together in a list",),
        "the last stage alone": ("only the last stage's frames are kept",),
        "from the last stage": ("the stages run from the last to the first",),
    },
    "E9.6": {
        "only the colour": ("It accepts",),
        "only the means": ("It accepts",),
    },
}
