"""What a metric cannot tell it refuses by name: no NaN, no infinity, no number that broadcasting made."""

import inspect
import math

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.metrics import distances, fidelity

A, B = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1
NAN = torch.full_like(X, math.nan)
PICTURES = {
    "one channel for three": (X, X[:, :1]),
    "one picture for all": (X, X[0]),
    "a batch of one": (X, X[:1]),
    "NaN": (X, NAN),
    "infinity": (X / 0, X),
    "whole numbers": ((X > 0).long(), (X > 0).long()),
    "no span": (X, X, 0.0),
    "span of NaN": (X, X, math.nan),
}
CALLS = {
    "no direction": lambda: distances.sliced_wasserstein(A, B, 0),
    "no features": lambda: inspect.unwrap(distances.sliced_wasserstein)(A[:, :0], B[:, :0]),
    "no features for mmd": lambda: inspect.unwrap(distances.mmd)(A[:, :0], B[:, :0]),
    "no features for frechet": lambda: inspect.unwrap(distances.frechet)(A[:, :0], B[:, :0]),
    "a kernel without width": lambda: distances.mmd(A, B, distances.gaussian_kernel(0.0)),
    "a kernel as wide as NaN": lambda: distances.mmd(A, B, distances.gaussian_kernel(math.nan)),
    "the bias of none": lambda: distances.frechet_bias(torch.eye(2), 0),
    "the bias of NaN": lambda: distances.frechet_bias(torch.full((2, 2), math.nan), 9),
    "a Gaussian of NaN": lambda: distances.frechet_of_gaussians(A[0] * math.nan, torch.eye(3), B[0], torch.eye(3)),
    "a line through one share": lambda: distances.frechet_extrapolated(A, B, shares=(1.0, 1.0)),
    "a share above all": lambda: distances.frechet_extrapolated(A, B, shares=(1.0, 2.0)),
    "a line through nothing": lambda: distances.frechet_extrapolated(A, B, repeats=0),
    "the nearest but none": lambda: distances.precision_recall(A, B, 0),
    "the nearest but minus one": lambda: distances.precision_recall(A, B, -1),
}


@pytest.mark.parametrize("metric", [fidelity.psnr, fidelity.ssim])
@pytest.mark.parametrize("pictures", PICTURES)
def test_pictures_that_cannot_be_compared_are_refused(metric, pictures):
    with pytest.raises(ValueError, match=r"its own truth|not finite|floating-point|width of a range"):
        inspect.unwrap(metric)(*PICTURES[pictures])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    x, y = (300 * X).to(dtype), (-300 * X).to(dtype)  # squares beyond the end of float16
    assert_close(fidelity.psnr(x, y, 600.0), fidelity.psnr(x.float(), y.float(), 600.0))
    assert_close(fidelity.ssim(x, y, 600.0), fidelity.ssim(x.float(), y.float(), 600.0))


@pytest.mark.parametrize("call", CALLS)
def test_a_number_that_does_not_exist_is_refused(call):
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        CALLS[call]()
