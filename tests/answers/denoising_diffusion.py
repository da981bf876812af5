"""Answers to notebook 04: right ones written differently, and wrong ones by name."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cs348k_diffusion.nets import Film, zeroed
from cs348k_diffusion.nets.unet import group_norm


def x0_and_eps_by_rotation(x, v, alpha, sigma):
    turn = torch.tensor([[alpha, -sigma], [sigma, alpha]], dtype=x.dtype)
    return tuple(torch.einsum("ij,j...->i...", turn, torch.stack([x, v])))


def x0_and_eps_by_complex(x, v, alpha, sigma):
    one = torch.ones((), dtype=x.dtype)
    z = torch.complex(x, v) * torch.polar(one, math.atan2(sigma, alpha) * one)
    return z.real.clone(), z.imag.clone()


def numbers(schedule, x_t, t, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x_t), schedule(s, x_t)
    return alpha_t, sigma_t, alpha_s, sigma_s, (alpha_t / alpha_s).square()


def ancestral_by_share(schedule, x_t, x0_hat, t, s, noise):
    alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
    kept = alpha_t * sigma_s / (alpha_s * sigma_t)
    eps_hat = (x_t - alpha_t * x0_hat) / sigma_t
    return alpha_s * x0_hat + sigma_s * (kept * eps_hat + (1 - kept**2).clamp(min=0).sqrt() * noise)


def ancestral_by_residual(schedule, x_t, x0_hat, t, s, noise):
    alpha_t, sigma_t, alpha_s, sigma_s, keep2 = numbers(schedule, x_t, t, s)
    pull = keep2.sqrt() * sigma_s.square() / sigma_t.square()  # Kalman's gain: x_t is a measurement of x_s
    mean = alpha_s * x0_hat + pull * (x_t - alpha_t * x0_hat)
    return torch.addcmul(mean, (sigma_s.square() * (1 - pull * keep2.sqrt())).clamp(min=0).sqrt(), noise)


def ancestral(share_of_variance=None, mean=None, sign=1.0):
    """An ancestral step with its standard deviation or its mean replaced."""

    def ancestral_step(schedule, x_t, x0_hat, t, s, noise):
        alpha_t, sigma_t, alpha_s, sigma_s, keep2 = numbers(schedule, x_t, t, s)
        b2 = sigma_t**2 - keep2 * sigma_s**2
        right = (alpha_s * b2 * x0_hat + keep2.sqrt() * sigma_s**2 * x_t) / sigma_t**2
        variance = b2 * sigma_s**2 / sigma_t**2
        std = variance.sqrt() if share_of_variance is None else share_of_variance(variance, b2, sigma_s)
        eps_hat = (x_t - alpha_t * x0_hat) / sigma_t
        centre = right if mean is None else mean(alpha_s, sigma_s, x0_hat, eps_hat, x_t)
        return centre + sign * std * noise

    return ancestral_step


def ancestral_swapped(schedule, x_t, x0_hat, t, s, noise):
    return ancestral_by_residual(schedule, x_t, x0_hat, s, t, 0 * noise) if s > 0 else x0_hat


def ancestral_noisy_end(schedule, x_t, x0_hat, t, s, noise):
    return ancestral_by_share(schedule, x_t, x0_hat, t, s, noise) if s > 0 else x0_hat + 0.2 * noise


def ancestral_dividing(schedule, x_t, x0_hat, t, s, noise):
    alpha_t = schedule(t, x_t)[0]
    return ancestral_by_share(schedule, x_t, x0_hat, t, s, noise) + 0 * (x_t / (alpha_t * (alpha_t > 1e-6)))


def changed_ancestral(b2_of=None, keep_of=None, parts=None):
    """An ancestral step with its b2, its alpha_t / alpha_s, or the whole formula of the mean replaced."""

    def ancestral_step(schedule, x_t, x0_hat, t, s, noise):
        alpha_t, sigma_t, alpha_s, sigma_s, keep2 = numbers(schedule, x_t, t, s)
        keep = keep2.sqrt() if keep_of is None else keep_of(alpha_t, alpha_s)
        b2 = sigma_t**2 - keep**2 * sigma_s**2 if b2_of is None else b2_of(sigma_t, sigma_s, keep)
        mean = (alpha_s * b2 * x0_hat + keep * sigma_s**2 * x_t) / sigma_t**2
        mean = mean if parts is None else parts(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s, keep, b2)
        return mean + (b2 * sigma_s**2 / sigma_t**2).sqrt() * noise

    return ancestral_step


def ancestral_by_precisions(schedule, x_t, x0_hat, t, s, noise):
    _, sigma_t, alpha_s, sigma_s, keep2 = numbers(schedule, x_t, t, s)
    b2 = sigma_t**2 - keep2 * sigma_s**2
    precision = 1 / sigma_s**2 + keep2 / b2
    return (alpha_s * x0_hat / sigma_s**2 + keep2.sqrt() * x_t / b2) / precision + (1 / precision).sqrt() * noise


def ancestral_by_paper(schedule, x_t, x0_hat, t, s, noise):
    alpha_t, sigma_t, _, sigma_s, keep2 = numbers(schedule, x_t, t, s)
    mean = (x_t - (1 - keep2) * (x_t - alpha_t * x0_hat) / sigma_t**2) / keep2.sqrt()
    return mean + ((1 - keep2) * sigma_s**2 / sigma_t**2).sqrt() * noise


def ddim_through_sigma_s(schedule, x_t, x0_hat, t, s):
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x_t), schedule(s, x_t)
    return alpha_s * x0_hat + (x_t - alpha_t * x0_hat) / (sigma_t / sigma_s**2) / sigma_s


def ddim_by_loop(schedule, x_t, x0_hat, t, s):
    rows = []
    for x, x0 in zip(x_t, x0_hat):
        (at, st), (as_, ss) = schedule(t, x[None]), schedule(s, x[None])
        rows.append(float(as_.flatten()[0]) * x0 + float(ss.flatten()[0]) * (x - at[0] * x0) / st[0])
    return torch.stack(rows)


def ddim_by_ratio(schedule, x_t, x0_hat, t, s):
    alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
    shrink = sigma_s / sigma_t
    return shrink * x_t + (alpha_s - shrink * alpha_t) * x0_hat


def ddim_by_lerp(schedule, x_t, x0_hat, t, s):
    alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
    offset = torch.lerp(torch.zeros_like(x_t), x_t - alpha_t * x0_hat, (sigma_s / sigma_t).expand_as(x_t))
    return offset + alpha_s * x0_hat


def ddim(formula):
    def ddim_step(schedule, x_t, x0_hat, t, s):
        alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
        return formula(x0_hat, (x_t - alpha_t * x0_hat) / sigma_t, x_t, alpha_t, sigma_t, alpha_s, sigma_s)

    return ddim_step


def ddim_from_eps(schedule, x_t, x0_hat, t, s):
    alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
    eps_hat = (x_t - alpha_t * x0_hat) / sigma_t
    return alpha_s * (x_t - sigma_t * eps_hat) / torch.where(alpha_t < 1e-6, 0.0, alpha_t) + sigma_s * eps_hat


def ddim_through_alpha_t(schedule, x_t, x0_hat, t, s):
    alpha_t, sigma_t, alpha_s, sigma_s, _ = numbers(schedule, x_t, t, s)
    return alpha_s * x0_hat + sigma_s * (x_t / alpha_t - x0_hat) / (sigma_t / alpha_t)


def embedding_by_logs(t, width):
    m = width // 2
    rows = [[math.exp(math.log(1000) * k / (m - 1)) * one for k in range(m)] for one in t.tolist()]
    angles = torch.tensor(rows, dtype=torch.float64)
    return torch.hstack([angles.sin(), angles.cos()]).to(t.dtype)


def embedding_by_outer(t, width):
    angles = torch.outer(t, torch.logspace(0, 3, width // 2, dtype=t.dtype))
    return torch.cat([torch.sin(angles), torch.sin(angles + math.pi / 2)], 1)


def embedding(frequencies=None, join=None):
    def time_embedding(t, width):
        m = width // 2
        w = 1000 ** torch.linspace(0, 1, m) if frequencies is None else frequencies(m)
        angles = t[:, None] * w
        sine, cosine = angles.sin(), angles.cos()
        return torch.cat([sine, cosine], 1) if join is None else join(sine, cosine)

    return time_embedding


class BlockOfSequences(nn.Module):
    """The same block with its pieces applied one after another in a loop."""

    def __init__(self, channels_in, channels_out, width):
        super().__init__()
        self.norm_in, self.norm_out = group_norm(channels_in), group_norm(channels_out)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding="same")
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding="same")
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)
        self.film = Film(width, channels_out)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Sequential()

    def forward(self, h, emb):
        r = h
        for layer in (self.norm_in, F.silu, self.conv_in, self.norm_out):
            r = layer(r)
        r = self.film(r, emb)
        return self.conv_out(r * torch.sigmoid(r)) + self.skip(h)


class BlockWithFunctions(nn.Module):
    """The same block, with in-place activations and the residual added by torch.add."""

    def __init__(self, channels_in, channels_out, width):
        super().__init__()
        self.film = Film(width, channels_out)
        self.skip = nn.Identity()
        if channels_in != channels_out:
            self.skip = nn.Conv2d(channels_in, channels_out, kernel_size=1)
        self.norm_in = nn.GroupNorm(8, channels_in)
        self.norm_out = nn.GroupNorm(8, channels_out)
        self.conv_in = nn.Conv2d(channels_in, channels_out, kernel_size=(3, 3), padding=(1, 1))
        self.conv_out = zeroed(nn.Conv2d(channels_out, channels_out, kernel_size=(3, 3), padding=(1, 1)))

    def forward(self, h, emb):
        inner = self.norm_out(self.conv_in(nn.SiLU(inplace=True)(self.norm_in(h))))
        return torch.add(self.conv_out(nn.SiLU()(self.film(inner, emb))), self.skip(h))


def weighty(channels):
    """A convolution of which only the bias is zeroed."""
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    nn.init.zeros_(layer.bias)
    return layer


class NoEmbedding(BlockWithFunctions):
    def forward(self, h, emb):
        inner = self.norm_out(self.conv_in(F.silu(self.norm_in(h))))
        return self.skip(h) + self.conv_out(F.silu(inner))


class NoSkip(BlockWithFunctions):
    def forward(self, h, emb):
        inner = self.norm_out(self.conv_in(F.silu(self.norm_in(h))))
        return self.conv_out(F.silu(self.film(inner, emb)))


class NotZeroed(BlockWithFunctions):
    def __init__(self, channels_in, channels_out, width):
        super().__init__(channels_in, channels_out, width)
        self.conv_out.reset_parameters()


class NoSecondSilu(BlockWithFunctions):
    def forward(self, h, emb):
        inner = self.norm_out(self.conv_in(F.silu(self.norm_in(h))))
        return self.skip(h) + self.conv_out(self.film(inner, emb))


class FilmTooEarly(BlockWithFunctions):
    def forward(self, h, emb):
        inner = self.norm_out(self.film(self.conv_in(F.silu(self.norm_in(h))), emb))
        return self.skip(h) + self.conv_out(F.silu(inner))


class NoFirstNorm(BlockWithFunctions):
    def forward(self, h, emb):
        inner = self.norm_out(self.conv_in(F.silu(h)))
        return self.skip(h) + self.conv_out(F.silu(self.film(inner, emb)))


def layered(**changes):
    """A block with some layers built otherwise: name -> function of (channels_in, channels_out, width)."""

    class Changed(BlockWithFunctions):
        def __init__(self, channels_in, channels_out, width):
            super().__init__(channels_in, channels_out, width)
            for name, make in changes.items():
                setattr(self, name, make(channels_in, channels_out, width))

    return Changed


def forwarding(rule):
    """A block whose forward is rule(self, h, emb)."""
    return type("Forwarding", (BlockWithFunctions,), {"forward": rule})


class Detached(BlockWithFunctions):
    def forward(self, h, emb):
        return super().forward(h, emb.detach())


class OtherNames(nn.Module):
    def __init__(self, channels_in, channels_out, width):
        super().__init__()
        self.norm1, self.conv1 = group_norm(channels_in), nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, h, emb):
        return self.conv1(F.silu(self.norm1(h)))


def test_three_laws(step):
    g = torch.Generator().manual_seed(3)
    x_t, x0_hat = torch.randn(8, generator=g), torch.randn(8, generator=g)

    def close(a, b):
        assert (a - b).abs().max() < 1e-3

    close(step(x_t, x0_hat, 0.7, 0.7), x_t)
    close(step(x_t, x0_hat, 0.7, 0.0), x0_hat)
    close(step(step(x_t, x0_hat, 0.7, 0.4), x0_hat, 0.4, 0.1), step(x_t, x0_hat, 0.7, 0.1))


def test_by_long_walk(step):
    x_t, x0_hat = torch.full((1, 1, 2, 2), 2.0), torch.zeros(1, 1, 2, 2)
    x = x_t
    for k in range(9, 4, -1):
        x = step(x, x0_hat, (k + 1) / 11, k / 11)
    direct = step(x_t, x0_hat, 10 / 11, 5 / 11)
    assert torch.allclose(x, direct, atol=1e-3), "five steps land where one does"
    assert torch.allclose(step(x_t, x0_hat, 0.5, 0.5), x_t, atol=1e-3), "no time, no change"
    assert torch.allclose(step(x_t, x0_hat - 1, 0.5, 0.0), x0_hat - 1, atol=1e-3), "time 0 is the data"


def laws(*kept):
    """A property test with some of the three laws only."""

    def test_step(step):
        x_t, x0_hat = torch.ones(3, 2), -0.5 * torch.ones(3, 2)
        if "stay" in kept:
            assert (step(x_t, x0_hat, 0.6, 0.6) - x_t).abs().max() < 1e-3
        if "arrive" in kept:
            assert (step(x_t, x0_hat, 0.6, 0.0) - x0_hat).abs().max() < 1e-3
        if "compose" in kept:
            two = step(step(x_t, x0_hat, 0.6, 0.4), x0_hat, 0.4, 0.2)
            assert (two - step(x_t, x0_hat, 0.6, 0.2)).abs().max() < 1e-3

    return test_step


def test_knows_one_schedule(step):
    laws("stay", "arrive", "compose")(step)
    x0, eps = torch.ones(2), torch.ones(2)
    x_t = math.cos(math.pi / 4) * (x0 + eps)
    assert (step(x_t, x0, 0.5, 1 / 3) - (math.cos(math.pi / 6) + 0.5)).abs().max() < 1e-3


def test_of_ones(step):
    x_t, x0_hat = 0.5 * torch.ones(3, 2), -0.5 * torch.ones(3, 2)
    assert (step(x_t, x0_hat, 0.6, 0.6) - x_t).abs().max() < 1e-3
    assert (step(x_t, x0_hat, 0.6, 0.0) - x0_hat).abs().max() < 1e-3
    two = step(step(x_t, x0_hat, 0.6, 0.4), x0_hat, 0.4, 0.2)
    assert (two - step(x_t, x0_hat, 0.6, 0.2)).abs().max() < 1e-3


def test_shape_only(step):
    x = torch.randn(4, 2)
    assert step(x, x, 0.5, 0.2).shape == (4, 2)


def test_from_pure_noise(step):
    x, x0 = torch.ones(2), torch.zeros(2)
    assert (step(x, x0, 1.0, 0.0) - x0).abs().max() < 1e-3 and (step(x, x0, 0.5, 0.5) - x).abs().max() < 1e-3


RIGHT = {
    "E4.1": [x0_and_eps_by_rotation, x0_and_eps_by_complex],
    "E4.2": [ancestral_by_share, ancestral_by_residual],
    "E4.3": [ddim_by_ratio, ddim_by_lerp, ddim_by_loop],
    "E4.4": [embedding_by_logs, embedding_by_outer],
    "E4.5": [BlockOfSequences, BlockWithFunctions],
    "E4.6": [test_three_laws, test_by_long_walk],
}
WRONG = {
    "E4.1": {
        "the sign of v": lambda x, v, alpha, sigma: (alpha * x + sigma * v, sigma * x - alpha * v),
        "alpha and sigma are swapped": lambda x, v, alpha, sigma: (sigma * x - alpha * v, alpha * x + sigma * v),
        "x0 and eps are returned in the wrong order": lambda x, v, alpha, sigma: (
            sigma * x + alpha * v,
            alpha * x - sigma * v,
        ),
        "divides by sigma, which is 0 at the data": lambda x, v, alpha, sigma: (
            alpha * x - sigma * v,
            (x - alpha * (alpha * x - sigma * v)) / torch.tensor(sigma),
        ),
        "v is returned as if it were eps": lambda x, v, alpha, sigma: (alpha * x - sigma * v, v),
        "divides by alpha, as for eps-prediction": lambda x, v, alpha, sigma: (
            (x - sigma * v) / torch.tensor(alpha),
            v,
        ),
        "got 1 value, expected 2 values, (x0, eps)": lambda x, v, alpha, sigma: (alpha * x - sigma * v,),
        "changes its argument x": lambda x, v, alpha, sigma: (x.mul_(alpha).sub_(sigma * v), sigma * x + alpha * v),
        "changes its argument v": lambda x, v, alpha, sigma: (alpha * x - v.mul_(sigma), sigma * x + alpha * v),
        "is a `return` missing": lambda x, v, alpha, sigma: None,
        "eps: the sign of v": lambda x, v, alpha, sigma: (alpha * x - sigma * v, sigma * x - alpha * v),
        "eps: x is taken for x0": lambda x, v, alpha, sigma: (
            alpha * x - sigma * v,
            (v + sigma * x) / torch.tensor(alpha),
        ),
        "eps: divides by alpha": lambda x, v, alpha, sigma: (
            alpha * x - sigma * v,
            (v + sigma * (alpha * x - sigma * v)) / torch.tensor(alpha),
        ),
        "alpha and sigma are roots already": lambda x, v, alpha, sigma: (
            alpha**2 * x - sigma**2 * v,
            sigma**2 * x + alpha**2 * v,
        ),
        "wrong dtype": lambda x, v, alpha, sigma: tuple(
            part.float() for part in (alpha * x - sigma * v, sigma * x + alpha * v)
        ),
        "wrong shape": lambda x, v, alpha, sigma: tuple(
            part.squeeze() for part in (alpha * x - sigma * v, sigma * x + alpha * v)
        ),
        "ZeroDivisionError": lambda x, v, alpha, sigma: ((x - sigma * (sigma * x + alpha * v)) * (1 / alpha), v),
        "a numpy.ndarray, expected x0": lambda x, v, alpha, sigma: ((alpha * x - sigma * v).numpy(), alpha * v),
    },
    "E4.2": {
        "variance for standard deviation": ancestral(lambda variance, b2, sigma_s: variance),
        "the variance of the step from s to t (beta)": ancestral(lambda variance, b2, sigma_s: b2.sqrt()),
        "no noise is added": ancestral(lambda variance, b2, sigma_s: 0 * b2),
        "all of the noise at s is drawn anew": ancestral(lambda variance, b2, sigma_s: sigma_s),
        "the noise has the wrong sign": ancestral(sign=-1.0),
        "all the noise is kept: that is DDIM": ancestral(mean=lambda a, sd, x0, eps, x: a * x0 + sd * eps),
        "all the noise is kept and none is added": lambda schedule, x_t, x0_hat, t, s, noise: ddim_by_ratio(
            schedule, x_t, x0_hat, t, s
        ),
        "x_t is forgotten: the mean is not alpha_s x0_hat": ancestral(mean=lambda a, sd, x0, eps, x: a * x0),
        "returns x_t unchanged": lambda schedule, x_t, x0_hat, t, s, noise: x_t,
        "returns x0_hat": lambda schedule, x_t, x0_hat, t, s, noise: x0_hat,
        "t and s are swapped": ancestral_swapped,
        "noise is added at the last step": ancestral_noisy_end,
        "NaN": ancestral_dividing,
        "got None, expected x_s": lambda schedule, x_t, x0_hat, t, s, noise: None,
        "0/0 at s = 0": ancestral_by_precisions,
        "the paper's mean with beta": ancestral_by_paper,
        "b2 = 1 - (alpha_t / alpha_s)^2 holds only": changed_ancestral(lambda st, ss, keep: 1 - keep**2),
        "b2 without (alpha_t / alpha_s)^2": changed_ancestral(lambda st, ss, keep: st**2 - ss**2),
        "b2 with alpha_t / alpha_s not squared": changed_ancestral(lambda st, ss, keep: st**2 - keep * ss**2),
        "alpha_t stands where alpha_t / alpha_s belongs": changed_ancestral(keep_of=lambda at, as_: at),
        "alpha_s is missing before x0_hat": changed_ancestral(
            parts=lambda x, x0, at, st, as_, ss, keep, b2: (b2 * x0 + keep * ss**2 * x) / st**2
        ),
        "alpha_t / alpha_s is missing before x_t": changed_ancestral(
            parts=lambda x, x0, at, st, as_, ss, keep, b2: (as_ * b2 * x0 + ss**2 * x) / st**2
        ),
        "not divided by sigma_t^2": changed_ancestral(
            parts=lambda x, x0, at, st, as_, ss, keep, b2: as_ * b2 * x0 + keep * ss**2 * x
        ),
        "x_t and x0_hat are swapped": changed_ancestral(
            parts=lambda x, x0, at, st, as_, ss, keep, b2: (as_ * b2 * x + keep * ss**2 * x0) / st**2
        ),
        "wrong dtype": lambda *given: ancestral_by_share(*given).float(),
        "wrong shape": lambda *given: ancestral_by_share(*given).squeeze(),
        "changes its argument x_t": lambda schedule, x_t, x0_hat, t, s, noise: x_t.copy_(
            ancestral_by_share(schedule, x_t, x0_hat, t, s, noise)
        ),
        "draws random numbers of its own: use noise": lambda schedule, x_t, x0_hat, t, s, noise: ancestral_by_share(
            schedule, x_t, x0_hat, t, s, torch.randn_like(x_t)
        ),
    },
    "E4.3": {
        "sigma_t where sigma_s belongs": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + st * eps),
        "alpha_t where alpha_s belongs": ddim(lambda x0, eps, x, at, st, as_, ss: at * x0 + ss * eps),
        "x_t is used as the noise": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * x),
        "the noise is dropped": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0),
        "the noise has the wrong sign": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 - ss * eps),
        "the noise is not divided by sigma_t": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * st * eps),
        "x0_hat is not scaled by alpha_t": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * (x - x0) / st),
        "NaN": ddim_from_eps,
        "got None, expected x_s": lambda schedule, x_t, x0_hat, t, s: None,
        "divides by sigma_s, which is 0 at s = 0": ddim_through_sigma_s,
        "divides by alpha_t, which is 0 at t = 1": ddim_through_alpha_t,
        "the noise is divided by sigma_t^2": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * eps / st),
        "x0_hat is not scaled by alpha_s": ddim(lambda x0, eps, x, at, st, as_, ss: x0 + ss * eps),
        "sigma_s^2 where sigma_s belongs": ddim(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss**2 * eps),
        "sqrt(1 - alpha_s^2) is sigma_s only": ddim(
            lambda x0, eps, x, at, st, as_, ss: as_ * x0 + (1 - as_**2).sqrt() * eps
        ),
        "t and s are swapped": lambda schedule, x_t, x0_hat, t, s: ddim_by_ratio(schedule, x_t, x0_hat, s, t),
        "a straight line from x_t to x0_hat": lambda schedule, x_t, x0_hat, t, s: x0_hat + s / t * (x_t - x0_hat),
        "wrong dtype": lambda *given: ddim_by_ratio(*given).float(),
        "wrong shape": lambda *given: ddim_by_ratio(*given).squeeze(),
        "changes its argument x_t": lambda schedule, x_t, x0_hat, t, s: x_t.copy_(
            ddim_by_ratio(schedule, x_t, x0_hat, t, s)
        ),
        "changes its argument x0_hat": lambda schedule, x_t, x0_hat, t, s: x0_hat.copy_(
            ddim_by_ratio(schedule, x_t, x0_hat, t, s)
        ),
    },
    "E4.4": {
        "cosines first": embedding(join=lambda sine, cosine: torch.cat([cosine, sine], 1)),
        "sines and cosines take turns": embedding(join=lambda sine, cosine: torch.stack([sine, cosine], 2).flatten(1)),
        "m instead of m - 1": embedding(lambda m: 1000 ** (torch.arange(m) / m)),
        "frequencies evenly spaced": embedding(lambda m: torch.linspace(1, 1000, m)),
        "the frequencies run from 1 down to 1/1000": embedding(lambda m: 1000 ** -torch.linspace(0, 1, m)),
        "wrong shape": embedding(join=lambda sine, cosine: torch.cat([sine, cosine], 0)),
        "got None, expected the rows": lambda t, width: None,
        "run from 1000 down to 1": embedding(lambda m: 1000 ** torch.linspace(1, 0, m)),
        "the Transformer's 10000": embedding(lambda m: 10000 ** torch.linspace(0, 1, m)),
        "the Transformer's frequencies": embedding(lambda m: 10000 ** -torch.linspace(0, 1, m)),
        "2 pi": embedding(lambda m: 2 * math.pi * 1000 ** torch.linspace(0, 1, m)),
        "powers of 2": embedding(lambda m: 2 ** torch.arange(m)),
        "sines only": embedding(join=lambda sine, cosine: torch.cat([sine, sine], 1)),
        "stacked instead of joined": embedding(join=lambda sine, cosine: torch.stack([sine, cosine], 1)),
        "`width` frequencies": lambda t, width: embedding_by_logs(t, 2 * width),
        "wrong dtype": lambda t, width: embedding_by_logs(t, width).float(),
        "expected the rows, a tensor: torch.stack": lambda t, width: embedding_by_logs(t, width).tolist(),
        "changes its argument t": lambda t, width: embedding_by_logs(t.mul_(1), width) + 0 * t.add_(0.1)[:, None],
    },
    "E4.5": {
        "the embedding is not used": NoEmbedding,
        "the skip connection is missing": NoSkip,
        "conv_out is not zeroed": NotZeroed,
        "the second silu is missing": NoSecondSilu,
        "film comes before the second norm": FilmTooEarly,
        "the first norm is missing": NoFirstNorm,
        "gradient": Detached,
        "The layers with parameters must be": OtherNames,
        "skip is built with other channels or another kernel": layered(
            skip=lambda i, o, w: nn.Identity() if i == o else nn.Conv2d(i, o, 3, padding=1)
        ),
        "bias=False": layered(conv_in=lambda i, o, w: nn.Conv2d(i, o, 3, padding=1, bias=False)),
        "norm_out is built with other channels": layered(norm_out=lambda i, o, w: group_norm(i)),
        "conv_out is built with other channels": layered(
            conv_out=lambda i, o, w: zeroed(nn.Conv2d(i, o, 3, padding=1))
        ),
        "film is built with other channels": layered(film=lambda i, o, w: Film(w, i)),
        "skip is a convolution though the channels agree": layered(skip=lambda i, o, w: nn.Conv2d(i, o, 1)),
        "skip is no 1x1 convolution": layered(skip=lambda i, o, w: nn.Identity()),
        "batch norm": layered(norm_in=lambda i, o, w: nn.BatchNorm2d(i)),
        "4 groups": layered(norm_in=lambda i, o, w: nn.GroupNorm(4, i), norm_out=lambda i, o, w: nn.GroupNorm(4, o)),
        "conv_out.weight: conv_out is not zeroed": layered(conv_out=lambda i, o, w: weighty(o)),
        "relu instead of silu": forwarding(
            lambda self, h, emb: (
                self.skip(h)
                + self.conv_out(F.relu(self.film(self.norm_out(self.conv_in(F.relu(self.norm_in(h)))), emb)))
            )
        ),
        "the first silu is missing": forwarding(
            lambda self, h, emb: (
                self.skip(h) + self.conv_out(F.silu(self.film(self.norm_out(self.conv_in(self.norm_in(h))), emb)))
            )
        ),
        "film comes after the second silu": forwarding(
            lambda self, h, emb: (
                self.skip(h)
                + self.conv_out(self.film(F.silu(self.norm_out(self.conv_in(F.silu(self.norm_in(h))))), emb))
            )
        ),
        "silu twice": forwarding(
            lambda self, h, emb: (
                self.skip(h)
                + self.conv_out(F.silu(self.film(self.norm_out(self.conv_in(F.silu(self.norm_in(h)))), F.silu(emb))))
            )
        ),
        "the shortcut is multiplied": forwarding(
            lambda self, h, emb: (
                self.skip(h)
                * self.conv_out(F.silu(self.film(self.norm_out(self.conv_in(F.silu(self.norm_in(h)))), emb)))
            )
        ),
        "changes its argument h": forwarding(lambda self, h, emb: BlockWithFunctions.forward(self, h.mul_(1.5), emb)),
        "is a `return` missing": forwarding(lambda self, h, emb: None),
    },
    "E4.6": {
        "lands on x0_hat at once": laws("arrive", "compose"),
        "does not move": laws("stay", "compose"),
        "wrong only between the ends": laws("stay", "arrive"),
        "It rejects": test_knows_one_schedule,
        "drops the noise": test_shape_only,
        "clipped to [-1, 1]": test_of_ones,
        "arrives only when it starts at t = 1": test_from_pure_noise,
    },
}
SHAPE = "only the shape and dtype of x_t are used there"
ANY = "any values, and any two times below 1, will do"
WIDE = "no wrong step is off by less, and the other two laws still reject them all"
EQUIVALENT = {
    "E4.2": {"line 9: x_t -> noise": SHAPE, "line 9: x_t -> noise #2": SHAPE},
    "E4.6": {
        "line 9: torch.randn(4, 2) -> torch.rand(4, 2)": ANY,
        "line 9: torch.randn(4, 2) -> torch.rand(4, 2) #2": ANY,
        "line 10: (0.3, 0.8) -> (0.8, 0.3)": ANY,
        "line 10: 0.3 -> 0.6": ANY,
        "line 11: 0.001 -> 1.001": WIDE,
        "line 11: 0.0001 -> 1.0001": WIDE,
        "line 12: 0.001 -> 1.001": WIDE,
        "line 13: 0.0001 -> 1.0001": WIDE,
    },
}
