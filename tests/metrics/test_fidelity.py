"""PSNR and SSIM against their definitions, window by window."""

import math

import pytest
import torch

from cs348k_diffusion.metrics.fidelity import psnr, ssim


def test_psnr_is_ten_decibels_for_a_tenth_of_the_square():
    x = torch.zeros(2, 1, 4, 4)
    y = torch.stack([torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 2.0)])
    torch.testing.assert_close(psnr(x, y), torch.tensor([20.0, 0.0]))
    torch.testing.assert_close(psnr(x, y, span=1.0), torch.tensor([20.0, 0.0]) - 20 * math.log10(2))


def by_windows(x, y, span):
    """SSIM's definition, one window at a time, in Python."""
    at = torch.arange(11.0, dtype=torch.float64) - 5
    w = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    w = w / w.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb, ab = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            found.append((2 * ma * mb + c1) * (2 * ab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return torch.stack(found).mean()


def test_ssim_is_its_definition():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 13, 12, generator=g, dtype=torch.float64) * 2 - 1
    y = (x + 0.3 * torch.randn(x.shape, generator=g, dtype=torch.float64)).clamp(-1, 1)
    want = torch.stack([by_windows(a[0] + 1, b[0] + 1, 2.0) for a, b in zip(x, y)])
    torch.testing.assert_close(ssim(x, y), want)
    torch.testing.assert_close(ssim(x, x), torch.ones(2, dtype=torch.float64))


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="windows of 11 pixels"):
        ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
