"""Where every random number of the package comes from.

Noise is drawn in float32 where the generator lives (the CPU unless you say otherwise) and then moved: the same seed
gives the same picture, to rounding, on every device.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def noise_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise with the shape, dtype and device of x."""
    device = generator.device if generator is not None else "cpu"
    return torch.randn(x.shape, generator=generator, device=device, dtype=torch.float32).to(x)


def uniform(n: int, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
    """n independent numbers in [0, 1), float32, on the generator's device."""
    device = generator.device if generator is not None else "cpu"
    return torch.rand(n, generator=generator, device=device, dtype=torch.float32)


def keyed_generator(seed: int, *key: int) -> torch.Generator:
    """A generator that depends only on (seed, *key): example 17 is the same whatever was drawn before it.

    The key is hashed by NumPy's SeedSequence, so neighbouring keys give unrelated streams.
    """
    words = np.random.SeedSequence((seed, *key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
