"""Slips in notebook 04."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cs348k_diffusion.nets import Film, zeroed
from cs348k_diffusion.nets.unet import group_norm


def ancestral(mean, deviation=lambda a, b, c, d, k, b2: (b2 * d**2 / b**2).sqrt()):
    """A step with another mean(x, x0, alpha_t, sigma_t, alpha_s, sigma_s, keep, b2)."""

    def step(schedule, x_t, x0_hat, t, s, noise):
        (a, b), (c, d) = schedule(t, x_t), schedule(s, x_t)
        k = a / c
        b2 = b**2 - k**2 * d**2
        return mean(x_t, x0_hat, a, b, c, d, k, b2) + deviation(a, b, c, d, k, b2) * noise

    return step


def ddim(formula):
    def step(schedule, x_t, x0_hat, t, s):
        return formula(x_t, x0_hat, *schedule(t, x_t), *schedule(s, x_t))

    return step


def embedding(frequencies, rows=lambda angles: torch.cat([angles.sin(), angles.cos()], 1)):
    return lambda t, width: rows(t[:, None] * frequencies(width // 2))


def geometric(m):
    return 1000 ** torch.linspace(0, 1, m)


class Block(nn.Module):
    """The block, each of whose steps another may change."""

    def __init__(self, channels_in, channels_out, width):
        super().__init__()
        self.norm_in = group_norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_out = group_norm(channels_out)
        self.film = Film(width, channels_out)
        self.conv_out = zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def inner(self, h, emb):
        r = self.conv_in(F.silu(self.norm_in(h)))
        return self.conv_out(F.silu(self.film(self.norm_out(r), emb)))

    def forward(self, h, emb):
        return self.skip(h) + self.inner(h, emb)


class HalvedSum(Block):
    def forward(self, h, emb):
        return (self.skip(h) + self.inner(h, emb)) / math.sqrt(2)


class SkipOfTheNormed(Block):
    def forward(self, h, emb):
        return self.skip(self.norm_in(h)) + self.inner(h, emb)


class SiluAtTheEnd(Block):
    def forward(self, h, emb):
        return F.silu(self.skip(h) + self.inner(h, emb))


def steps_to_the_end(step):
    x, guess = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(step(x, guess, 0.8, 0.0), guess, rtol=1e-3, atol=1e-4)


def steps_from_one(step):
    x, guess = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(step(x, guess, 1.0, 1.0), x, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(step(x, guess, 1.0, 0.0), guess, rtol=1e-3, atol=1e-4)


SLIPS = {
    "E4.1": {
        "sigma is used as a variance": lambda x, v, a, s: (a * x - s**2 * v, s * x + a * v),
        "the wrong way round, for both": lambda x, v, a, s: (s * x - a * v, a * x + s * v),
        "the minus goes to the other": lambda x, v, a, s: (a * x + s * v, s * x - a * v),
    },
    "E4.2": {
        "divided by sigma_t once": ancestral(lambda x, x0, a, b, c, d, k, b2: (c * b2 * x0 + k * d**2 * x) / b),
        "sigma_s for its square": ancestral(lambda x, x0, a, b, c, d, k, b2: (c * b2 * x0 + k * d * x) / b**2),
        "the coefficients are swapped": ancestral(lambda x, x0, a, b, c, d, k, b2: (k * d**2 * x0 + c * b2 * x) / b**2),
    },
    "E4.3": {
        "a plus in the noise": ddim(lambda x, x0, a, b, c, d: c * x0 + d * (x + a * x0) / b),
        "the roles of the times": ddim(lambda x, x0, a, b, c, d: a * x0 + b * (x - c * x0) / (d + 1e-6)),
        "noise and guess are swapped": ddim(lambda x, x0, a, b, c, d: d * x0 + c * (x - a * x0) / b),
    },
    "E4.4": {
        "tangents": embedding(geometric, lambda angles: torch.cat([angles.sin(), angles.tan()], 1)),
        "the sine twice": embedding(geometric, lambda angles: torch.cat([angles.sin(), angles.sin()], 1)),
        "minus the cosine": embedding(geometric, lambda angles: torch.cat([angles.sin(), -angles.cos()], 1)),
    },
    "E4.5": {
        "divided by sqrt(2)": HalvedSum,
        "the skip of what was normed": SkipOfTheNormed,
        "silu at the end": SiluAtTheEnd,
    },
    "E4.6": {
        "only the end": steps_to_the_end,
        "only from t = 1": steps_from_one,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E4.1": {
        "sigma is used as a variance": ("x0: sigma is taken for a variance and squared",),
        "the wrong way round, for both": ("alpha and sigma are swapped, for x0 and for eps",),
        "the minus goes to the other": ("the sign of v, for x0 and for eps",),
    },
    "E4.2": {
        "divided by sigma_t once": (
            "divided by sigma_t, not by its square",
            "the result has the wrong factor",
        ),
        "sigma_s for its square": ("sigma_s is not squared",),
        "the coefficients are swapped": (
            "x_t and x0_hat are swapped",
            "`x_t` and `x0_hat` are swapped",
        ),
    },
    "E4.3": {
        "a plus in the noise": ("`x0_hat` has the wrong factor",),
        "the roles of the times": ("`x_t` and `x0_hat` have the wrong factors",),
        "noise and guess are swapped": ("alpha_s and sigma_s are swapped",),
    },
    "E4.4": {
        "tangents": ("sines and tangents",),
        "the sine twice": ("sines only",),
        "minus the cosine": ("the cosines have the wrong sign",),
    },
    "E4.5": {
        "divided by sqrt(2)": (
            "the sum is divided by sqrt(2)",
            "the result is sqrt(2) times too small",
        ),
        "the skip of what was normed": ("the shortcut starts after the first norm",),
        "silu at the end": ("one more silu, after the sum",),
    },
    "E4.6": {
        "only the end": ("It accepts",),
        "only from t = 1": ("It accepts",),
    },
}
