"""Codecs: the best linear one against its closed forms, the learned one's parts against torch's own and by hand."""

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import ddim, keyed_generator, last, path
from cs348k_diffusion.exact import ExactDenoiser, gaussian
from cs348k_diffusion.latent import (
    Codec,
    NetCodec,
    PCACodec,
    code_shape,
    decoded,
    draw_in_codes,
    kl_to_normal,
    picture_loss,
    sampled_code,
    worst_error,
)
from cs348k_diffusion.metrics import psnr
from cs348k_diffusion.nets import Decoder, Encoder
from cs348k_diffusion.schedule import cosine


def gaussian_pictures(n=400, size=8, channels=2):
    """Pictures whose pixels vary together, in float64, and the covariance that they were drawn with."""
    generator = keyed_generator(7, size)
    p = channels * size**2
    mix = torch.randn(p, p, generator=generator, dtype=torch.float64) / p**0.5 * torch.linspace(2, 0.1, p)
    x = torch.randn(n, p, generator=generator, dtype=torch.float64) @ mix.T + 0.3
    return x.view(n, channels, size, size), mix @ mix.T


def patches_of(x, f):
    n, c, h, w = x.shape
    return x.view(n, c, h // f, f, w // f, f).permute(0, 2, 4, 1, 3, 5).reshape(-1, c * f * f)


# --- the best linear codec ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "d"), [(8, 1), (8, 40), (4, 5), (2, 8), (1, 1)])
def test_the_error_is_the_sum_of_the_variances_left_out(f, d):
    x, _ = gaussian_pictures()
    codec = PCACodec.of(x, f, d)
    error = patches_of(codec.decode(codec.encode(x)) - x, f).square().sum(1).mean()
    assert_close(float(error), codec.error, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_it_is_the_singular_value_decomposition_of_the_patches(d):
    x, _ = gaussian_pictures(60)
    rows = patches_of(x, 4).numpy()
    centred = rows - rows.mean(0)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    best = (u[:, :d] * s[:d]) @ v[:d] + rows.mean(0)
    codec = PCACodec.of(x, 4, d)
    assert_close(patches_of(codec.decode(codec.encode(x)), 4).numpy(), best, rtol=1e-9, atol=1e-9)


def test_codes_are_standardised_and_uncorrelated():
    x, _ = gaussian_pictures()
    z = PCACodec.of(x, 4, 6).encode(x).transpose(0, 1).flatten(1)
    assert_close(z @ z.T / z.shape[1], torch.eye(6, dtype=z.dtype), rtol=0, atol=1e-9)
    assert_close(z.mean(1), torch.zeros(6, dtype=z.dtype), rtol=0, atol=1e-9)


def test_with_every_direction_kept_nothing_is_lost():
    x, _ = gaussian_pictures()
    codec = PCACodec.of(x, 2, 8)
    assert_close(codec.decode(codec.encode(x)), x)
    assert codec.error == 0


def test_decoded_samples_of_gaussian_data_have_the_truncated_covariance():
    """Codes of whole Gaussian pictures are N(0, I); decoding is linear: the covariance is known, not estimated."""
    x, _ = gaussian_pictures(2000, size=4)
    d, p = 5, 32
    codec = PCACodec.of(x, 4, d)
    origin = codec.decode(torch.zeros(1, d, 1, 1, dtype=x.dtype))
    linear = (codec.decode(torch.eye(d, dtype=x.dtype)[:, :, None, None]) - origin).flatten(1).T
    values, vectors = np.linalg.eigh(np.cov(x.flatten(1).numpy().T, bias=True))
    kept = (vectors[:, -d:] * values[-d:]) @ vectors[:, -d:].T
    assert linear.shape == (p, d)
    assert_close((linear @ linear.T).numpy(), kept, rtol=1e-9, atol=1e-9)


def test_diffusion_on_the_codes_gives_samples_of_that_covariance():
    x, _ = gaussian_pictures(2000, size=4)
    codec = PCACodec.of(x, 4, 3)
    exact = ExactDenoiser(gaussian(torch.zeros(3, dtype=x.dtype), 1.0), cosine())
    noise = torch.randn(4000, 3, generator=keyed_generator(1), dtype=x.dtype)
    z = last(ddim(exact, noise, path(30))).x.view(4000, *codec.shape((2, 4, 4)))
    drawn = codec.decode(z).flatten(1)
    want = (codec.basis.T * codec.variances[:3]) @ codec.basis
    spread = (want.diag()[:, None] * want.diag() + want**2).sqrt() / 4000**0.5  # standard error of a covariance
    assert ((drawn.T.cov() - want).abs() < 5 * spread + 2e-3).all()


def test_no_other_linear_codec_of_the_same_size_is_better():
    x, _ = gaussian_pictures()
    rows = patches_of(x, 4)
    rows = rows - rows.mean(0)
    best = PCACodec.of(x, 4, 4).error
    for seed in range(5):
        other, _ = torch.linalg.qr(torch.randn(32, 4, generator=keyed_generator(seed), dtype=x.dtype))
        assert (rows - rows @ other @ other.T).square().sum(1).mean() > best


@pytest.mark.parametrize(
    ("f", "d", "says"), [(3, 1, "multiples of 3"), (4, 0, "from 1 to 32"), (4, 33, "from 1 to 32, the number of dir")]
)
def test_what_cannot_be_a_linear_codec_is_refused(f, d, says):
    with pytest.raises(ValueError, match=says):
        PCACodec.of(gaussian_pictures()[0], f, d)


# --- a learned codec ------------------------------------------------------------------------------------------------


def learned(f=4, d=3):
    torch.manual_seed(0)
    return NetCodec(Encoder(3, f, d, width=8), Decoder(3, f, d, width=8, depth=1), f, d)


@pytest.mark.parametrize(("f", "d"), [(1, 3), (2, 4), (4, 8), (8, 4), (16, 2)])
def test_codes_have_the_shape_that_the_codec_says(f, d):
    codec, x = learned(f, d), torch.rand(2, 3, 32, 16)
    assert isinstance(codec, Codec)
    z = codec.encode(x)
    assert z.shape == (2, *codec.shape(x.shape[1:])) == (2, d, 32 // f, 16 // f)
    assert codec.decode(z).shape == x.shape


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"1, 2, 4, 8 or 16, got 3"):
        Encoder(f=3)
    with pytest.raises(ValueError, match=r"1, 2, 4, 8 or 16, got 32"):
        Decoder(f=32)
    with pytest.raises(ValueError, match=r"multiples of 4, got \(6, 8\)"):
        Encoder(f=4, width=8)(torch.zeros(1, 3, 6, 8))
    with pytest.raises(ValueError, match=r"multiples of 4, got 6 and 8"):
        code_shape((3, 6, 8), 4, 1)


def test_standardised_codes_have_mean_0_and_variance_1_and_decode_to_the_same_pictures():
    codec, x = learned(), torch.rand(12, 3, 16, 16, generator=keyed_generator(3)) * 2 - 1
    with torch.no_grad():
        before = codec.decode(codec.encode(x))
        codec.standardise(x.split(5))
        z = codec.encode(x)
        after = codec.decode(z)
    assert_close(z.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    assert_close(z.var((0, 2, 3), correction=0), torch.ones(3), rtol=1e-4, atol=0)
    assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert set(codec.state_dict()) >= {"mean", "std"}  # they travel with the weights


def test_the_kl_term_is_torchs_own():
    mean, log_var = torch.randn(2, 5, 3, 2, 2, generator=keyed_generator(4))
    normal = torch.distributions.Normal
    want = torch.distributions.kl_divergence(normal(mean, (log_var / 2).exp()), normal(0.0, 1.0)).mean()
    assert_close(kl_to_normal(mean, log_var), want)
    assert kl_to_normal(torch.zeros(3), torch.zeros(3)) == 0


def test_a_sampled_code_has_its_mean_and_spread_and_lets_gradients_through():
    mean, log_var = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.5, -3.0], requires_grad=True)
    noise = torch.tensor([0.7, -1.1])
    z = sampled_code(mean, log_var, noise)
    assert_close(z, torch.tensor([1 + 0.7 * np.exp(0.25), -2 - 1.1 * np.exp(-1.5)], dtype=torch.float32))
    z.sum().backward()
    assert_close(mean.grad, torch.ones(2))
    assert_close(log_var.grad, (noise * (log_var / 2).exp() / 2).detach())


def test_the_loss_and_the_psnr_by_hand():
    x = torch.zeros(1, 1, 2, 2)
    made = torch.tensor([[[[0.0, 0.4], [0.0, 0.0]]]])
    # mean |error| 0.1; one of two differences of 0.4 each way, so 2 (0.2 + 0.2); 2 mean(error^2) = 2 * 0.04
    assert_close(picture_loss(made, x), torch.tensor(0.1 + 0.8 + 0.08))
    assert picture_loss(x, x) == 0
    assert psnr(made, x).item() == pytest.approx(10 * np.log10(4 / 0.04), rel=1e-5)
    assert psnr(torch.full_like(x, 9.0).clamp(-1, 1), torch.ones_like(x)).item() == float("inf")


def test_the_worst_pixels_by_hand():
    x = torch.zeros(1, 3, 10, 10)
    made = x.clone()
    made[0, :, 0, 0], made[0, :, 0, 1], made[0, 0, 0, 2] = 0.9, -0.5, 0.3  # means over channels .9, .5, .1
    assert worst_error(made, x, share=0.02).item() == pytest.approx(0.7)
    assert worst_error(made, x, share=0.03).item() == pytest.approx(0.5)
    assert worst_error(made, x, share=0.001).item() == pytest.approx(0.9)  # one pixel at least
    assert worst_error(made, x, share=1.0).item() == pytest.approx(0.015)


def test_mean_and_spread_follow_codes():
    codec = NetCodec(Encoder(1, 2, 3, 8), Decoder(1, 2, 3, 8), 2, 3)
    z = 2 + 3 * torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    codec.follow(z, 0.75)
    assert_close(codec.mean, z.mean((0, 2, 3))[:, None, None] / 4)
    assert_close(codec.std, 0.75 + z.std((0, 2, 3), correction=0)[:, None, None] / 4)


def test_a_walk_of_codes_is_watched_decoded_and_otherwise_decoded_once():
    calls = []

    class Counting:
        def encode(self, x):
            return x

        def decode(self, z):
            calls.append(len(z))
            return 10 * z

        def shape(self, picture):
            return tuple(picture)

    exact = ExactDenoiser(gaussian(torch.zeros(2, dtype=torch.float64), 1.0), cosine())
    noise = torch.randn(3, 2, generator=keyed_generator(5), dtype=torch.float64)
    codes, seen = list(ddim(exact, noise, path(4))), list(decoded(ddim(exact, noise, path(4)), Counting()))
    assert len(calls) == 2 * len(codes)  # x and x0_hat of every State
    for code, picture in zip(codes, seen, strict=True):
        assert_close(picture.x, 10 * code.x)
        assert_close(picture.x0_hat, 10 * code.x0_hat)
        assert (picture.index, picture.t) == (code.index, code.t)
    before = len(calls)
    next(itertools.islice(decoded(ddim(exact, noise, path(4)), Counting()), 0, 1))
    assert len(calls) == before + 2  # nothing is decoded that nobody looks at


def test_drawing_in_codes_is_ddim_and_decodes_once():
    exact = ExactDenoiser(gaussian(torch.full((2,), 3.0, dtype=torch.float64), 0.5), cosine())
    noise, calls = torch.randn(3, 2, generator=keyed_generator(5), dtype=torch.float64), []
    for times in (path(4), torch.tensor([0.8, 0.3])):
        made = draw_in_codes(cosine(), exact, lambda z: calls.append(len(z)) or 10 * z, noise, times)
        assert_close(made, 10 * last(ddim(exact, noise, times)).x)
    assert calls == [3, 3]
