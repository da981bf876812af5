"""Real handwritten digits, 8x8 pixels, that come inside scikit-learn: nothing to download.

1,797 images by 43 writers, reduced from 32x32 bitmaps by counting dark pixels in 4x4 blocks (0 to 16). They are
shuffled once, in an order that never changes; the last 360 are held out, so that memorising can be seen.
Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI repository.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

HELD_OUT = 360
_SPLITS = {"all": slice(None), "train": slice(None, -HELD_OUT), "held_out": slice(-HELD_OUT, None)}


def load_digits(split: str = "all") -> tuple[Float[Tensor, "n 1 8 8"], Int[Tensor, " n"]]:
    """Images in [-1, 1] and their labels 0 .. 9.

    split: "train" (1,437 images), "held_out" (360) or "all" (1,797: the two one after the other). Raises ValueError
    for another split. A pixel has 17 levels: x = count / 8 - 1.
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, _SPLITS))}, got {split!r}")
    from sklearn import datasets

    counts, targets = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(348).permutation(len(counts))  # a stream that is frozen for ever
    images = torch.from_numpy(counts[order]).float().view(-1, 1, 8, 8) / 8 - 1
    labels = torch.from_numpy(targets[order]).long()
    return images[_SPLITS[split]], labels[_SPLITS[split]]
