"""Where every random number of the package comes from.

Noise is drawn in float32 where the generator lives (the CPU unless you say otherwise) and then moved: the same seed
gives the same picture, to rounding, on every device.
"""

from __future__ import annotations

from typing import Any

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


def per_example(values: Tensor, like: Tensor) -> Tensor:
    """A number, or one for each example (batch,), shaped to multiply `like` (batch, ...)."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def keyed_generator(seed: int, *key: int) -> torch.Generator:
    """A generator that depends only on (seed, *key): example 17 is the same whatever was drawn before it.

    The key is hashed by NumPy's SeedSequence, so neighbouring keys give unrelated streams.
    """
    words = np.random.SeedSequence((seed, *key)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


class KeyedRandom:
    """Random numbers that depend only on (seed, chain, step): a counter-based generator, set to the step's counter."""

    def __init__(self, seed: int, chain: int):
        self._bits = np.random.Philox(key=[seed, chain])
        self._state: Any = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, step: int) -> np.random.Generator:
        """The generator for one step; valid until the next call."""
        self._state["state"]["counter"][:] = (0, 0, 0, step)
        self._state["buffer_pos"], self._state["has_uint32"] = 4, 0
        self._bits.state = self._state
        return self._generator
