"""Data: drawn in code, inside a dependency, or your own; images in [-1, 1] of shape (n, channels, height, width)."""

from cs348k_diffusion.data.batches import Batches, Stream, batches
from cs348k_diffusion.data.digits import load_digits
from cs348k_diffusion.data.fashion import load_fashion
from cs348k_diffusion.data.folder import load_folder
from cs348k_diffusion.data.points import (
    Blobs,
    checkerboard,
    eight_gaussians,
    ncsn_toy,
    ring_of_gaussians,
    swiss_roll,
    two_moons,
)

__all__ = [
    "Batches",
    "Blobs",
    "Stream",
    "batches",
    "checkerboard",
    "eight_gaussians",
    "load_digits",
    "load_fashion",
    "load_folder",
    "ncsn_toy",
    "ring_of_gaussians",
    "swiss_roll",
    "two_moons",
]
