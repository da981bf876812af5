"""Fashion-MNIST: 70,000 pictures of clothes, 28x28 grey, ten classes; too big to ship, so downloaded once or read
from a folder.

The published files are checked against their checksums; files in a folder of your own against shapes and counts,
since some copies hold the same images in another order (by class, even). They are shuffled on loading, always alike.
Source: Xiao et al. 2017, arXiv:1708.07747 (MIT licence).
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs348k_diffusion.data.images import from_bytes

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MIRROR = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
_SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}


def load_fashion(
    split: str = "train", folder: str | os.PathLike[str] | None = None, size: int = 32
) -> tuple[Float[Tensor, "n 1 size size"], Int[Tensor, " n"]]:
    """Images in [-1, 1] and labels 0 .. 9 (named in CLASSES), shuffled in an order that never changes.

    split: "train" (60,000) or "test" (10,000). size: 28 as published, 32 with a black border of two pixels, or 16,
    that shrunk by averaging 2x2 pixels. The files come from `folder`, else from the folder named by the environment
    variable CS348K_FASHION_DIR, else they are downloaded once (30 MB) and cached.
    Raises ValueError for another split or size, or for a file that is not what it should be; FileNotFoundError for a
    missing file; ConnectionError when they cannot be downloaded.
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if size not in (16, 28, 32):
        raise ValueError(f"size must be 16, 28 or 32, got {size}")
    prefix, count = _SPLITS[split]
    folder = folder or os.environ.get("CS348K_FASHION_DIR")
    images = _checked(f"{prefix}-images-idx3-ubyte.gz", folder, (count, 28, 28))
    labels = _checked(f"{prefix}-labels-idx1-ubyte.gz", folder, (count,)).long()
    if int(labels.max()) > 9:
        raise ValueError(f"labels of Fashion-MNIST lie in 0..9, the file holds {int(labels.max())}")
    order = torch.from_numpy(np.random.RandomState(348).permutation(count))  # a stream frozen for ever
    return _resized(images[order], size), labels[order]


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The bytes of one IDX file (gzipped or not) as a uint8 tensor of the shape its header gives.

    Header: two zero bytes, 8 for "unsigned byte", the number of axes, then each length as a big-endian 32-bit number.
    Raises ValueError when the file is damaged or is no IDX file of bytes.
    """
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is cut short or damaged ({error}); delete it and fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an IDX file of bytes: it starts with {raw[:4].hex(' ')}, not 00 00 08")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    if len(raw) - start != int(np.prod(shape)):
        raise ValueError(f"{path} promises shape {shape} but holds {len(raw) - start} bytes; fetch it again")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=start).view(shape)


def _checked(name: str, folder: str | os.PathLike[str] | None, shape: tuple[int, ...]) -> Tensor:
    path = _in_folder(Path(folder), name) if folder else _downloaded(name)
    array = read_idx(path)
    if tuple(array.shape) != shape:
        raise ValueError(f"{path} holds shape {tuple(array.shape)}, Fashion-MNIST has {shape} there: another data set?")
    return array


def _in_folder(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / name.removesuffix(".gz")):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no {name} (or the same without .gz) in {folder}: put the four files {', '.join(CHECKSUMS)} there, "
        "or leave `folder` and CS348K_FASHION_DIR out to download them"
    )


def _downloaded(name: str) -> Path:
    import pooch

    cache = pooch.os_cache("cs348k_diffusion") / "fashion-mnist"
    try:
        return Path(pooch.retrieve(MIRROR + name, CHECKSUMS[name], fname=name, path=cache, progressbar=False))
    except OSError as error:
        raise ConnectionError(
            f"could not download {name} of Fashion-MNIST ({error}). Without a network, get the four files elsewhere "
            "and name their folder: load_fashion(folder=...) or the environment variable CS348K_FASHION_DIR"
        ) from error


def _resized(images: Tensor, size: int) -> Tensor:
    x = from_bytes(images.unsqueeze(1))
    if size == 28:
        return x
    x = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    return x if size == 32 else torch.nn.functional.avg_pool2d(x, 2)
