"""How close is a picture to one certain other?  Pixel by pixel (PSNR) and by local structure (SSIM).

Both reward the mean of all possible answers, which is not a likely picture: put a distance between sets beside them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WINDOW, WIDTH = 11, 1.5  # pixels of SSIM's window, and the standard deviation of its weights


def psnr(x: Float[Tensor, "n ..."], truth: Float[Tensor, "n ..."], span: float = 2.0) -> Float[Tensor, " n"]:
    """The peak signal-to-noise ratio of each picture, 10 log10(span^2 / mean squared error), in dB.

    span: the width of the range of values, 2 for pictures in [-1, 1]. Infinite for equal pictures. Half precision is
    summed in float32. Raises ValueError for pictures of two shapes, and for values that are not finite.
    """
    x, truth = _beside(x, truth, span)
    return 10 * torch.log10(span**2 / (x - truth).square().flatten(1).mean(1))


def ssim(
    x: Float[Tensor, "n channels height width"], truth: Float[Tensor, "n channels height width"], span: float = 2.0
) -> Float[Tensor, " n"]:
    """Structural similarity of each picture, in [-1, 1], 1 for equal ones: a mean over places and channels.

    (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2)),
    c_1 = (0.01 span)^2, c_2 = (0.03 span)^2
    with means m and (co)variances s under a Gaussian window of 11 x 11 pixels, standard deviation 1.5, that fits into
    the picture. Raises ValueError for pictures smaller than the window, of two shapes, or not finite.
    Source: Wang et al. 2004, eq. 13, IEEE TIP 13.
    """
    x, truth = _beside(x, truth, span)
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM looks through windows of {WINDOW} pixels, the pictures have {tuple(x.shape[-2:])}")
    x, y = x + span / 2, truth + span / 2  # the constants are meant for values from 0 on
    mean_x, mean_y, xx, yy, xy = _blur(torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 2)).unflatten(
        0, (5, *x.shape[:2])
    )
    c_1, c_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    light = (2 * mean_x * mean_y + c_1) / (mean_x**2 + mean_y**2 + c_1)
    structure = (2 * (xy - mean_x * mean_y) + c_2) / (xx - mean_x**2 + yy - mean_y**2 + c_2)
    return (light * structure).flatten(1).mean(1)


def _beside(x: Tensor, truth: Tensor, span: float) -> tuple[Tensor, Tensor]:
    if x.shape != truth.shape:
        raise ValueError(f"each picture has its own truth, of its shape: got {tuple(x.shape)} and {tuple(truth.shape)}")
    if not x.is_floating_point() or not truth.is_floating_point():
        raise ValueError(f"pictures are floating-point numbers, in [-1, 1] for span = 2: got {x.dtype}, {truth.dtype}")
    if not 0 < span < float("inf"):
        raise ValueError(f"span is the width of a range of values, a number above 0: got {span:g}")
    if bad := int((~(x.isfinite() & truth.isfinite())).flatten(1).any(1).sum()):
        raise ValueError(f"{bad} of {len(x)} pictures, or their truths, are not finite (NaN or infinity)")
    return (x, truth) if x.dtype == truth.dtype == torch.float64 else (x.float(), truth.float())


def _blur(planes: Float[Tensor, "m height width"]) -> Tensor:
    line = torch.exp(-((torch.arange(WINDOW).to(planes) - WINDOW // 2) ** 2) / (2 * WIDTH**2))
    window = torch.outer(line, line) / line.sum() ** 2
    return F.conv2d(planes[:, None], window[None, None])[:, 0]
