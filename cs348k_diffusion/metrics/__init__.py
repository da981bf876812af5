"""How far are samples from data, and how sure is that?  A metric looks at one thing and has a floor above zero."""

from cs348k_diffusion.metrics.distances import (
    class_entropy,
    cubic_kernel,
    frechet,
    frechet_bias,
    frechet_corrected,
    frechet_extrapolated,
    frechet_of_gaussians,
    gaussian_kernel,
    mmd,
    nearest_distance,
    precision_recall,
    real_floor,
    sliced_wasserstein,
)
from cs348k_diffusion.metrics.fidelity import psnr, ssim
from cs348k_diffusion.metrics.texture import texture, texture_distance
from cs348k_diffusion.metrics.two_sample import TwoSample, two_sample_test

__all__ = [
    "TwoSample",
    "class_entropy",
    "cubic_kernel",
    "frechet",
    "frechet_bias",
    "frechet_corrected",
    "frechet_extrapolated",
    "frechet_of_gaussians",
    "gaussian_kernel",
    "mmd",
    "nearest_distance",
    "precision_recall",
    "psnr",
    "real_floor",
    "sliced_wasserstein",
    "ssim",
    "texture",
    "texture_distance",
    "two_sample_test",
]
