"""Small models that draw 64 pixels from a prompt, at half the width of the recipes: pixels, a cascade, codes.

The study of equal compute trains them, each to a number of updates, and goes on where it was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from cs348k_diffusion.cascade import Upsampler, resize
from cs348k_diffusion.checkpoints import Checkpoints, interruptible
from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import WORDS, pictures
from cs348k_diffusion.data.pictures.splits import EQUAL
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.nets import TextUNet
from cs348k_diffusion.nets.upsampler import UpsamplerUNet
from cs348k_diffusion.recipes.pictures import ATTENTION, TOKENIZER, autocast_bf16, caption_tokens, noisy_times
from cs348k_diffusion.recipes.stages import pictures_codec
from cs348k_diffusion.recipes.stages.upsamplers import residual_batches
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, denoising, fit

TRAIN_SIZE, BATCH, RATE, EMA = 3000, 16, 1e-3, 0.998
SMALL, SIZE = 16, 64  # rows of the cascade's first picture, and of all others
SPREAD = 0.127  # standard deviation of what bicubic enlargement from 16 to 64 pixels misses
SAVED = 100  # updates between two checkpoints


# ---- what is trained ----------------------------------------------------------------------------------------------


class Network(NamedTuple):
    """How a network is built, the shape of what it draws, and the share of its way's budget that trains it."""

    build: Callable[[], NetDenoiser]
    shape: tuple[int, int, int]
    share: float = 1.0


def text_model(channels: int = 3, fold: int = 1) -> NetDenoiser:
    """The model of `pictures` and `pictures_64` at half its width, on 16 x 16 places; pixels of 64 rows need 32 x 32.

    Folded by 4, three colours of noise would have to pass through two channels a pixel.
    """
    net = TextUNet(len(WORDS), channels, 16, attention=ATTENTION, length=TOKENIZER.length, fold=fold)
    return NetDenoiser(net, cosine(), predict="v")


def small_model() -> NetDenoiser:
    """The first model of `pictures_cascade` at half its width, on 16 x 16 pixels: 8 x 8 places."""
    net = TextUNet(len(WORDS), width=24, mults=(1, 2), attention=("words", "all"), length=TOKENIZER.length, fold=2)
    return NetDenoiser(net, cosine(), predict="v")


def upsampler() -> Upsampler:
    """An upsampler from 16 to 64 pixels, at half the width of those that ship."""
    return Upsampler(UpsamplerUNet(fold=4, width=16), cosine(), SIZE, SPREAD)


PARTS = {
    "pixels": Network(partial(text_model, fold=2), (3, SIZE, SIZE)),
    "small": Network(small_model, (3, SMALL, SMALL), 0.6),
    "upsampler": Network(upsampler, (3, SIZE, SIZE), 0.4),
    "codes": Network(partial(text_model, 4), (4, 16, 16)),
}
WAYS = {"pixels": ("pixels",), "cascade": ("small", "upsampler"), "codes": ("codes",)}


# ---- the data --------------------------------------------------------------------------------------------------------


@cache
def drawn() -> tuple[Tensor, Tensor]:
    """The training pictures, as bytes, and the tokens of their captions."""
    made = [pictures(500, SIZE, EQUAL.training, start=start) for start in range(0, TRAIN_SIZE, 500)]
    scenes = [scene for some in made for scene in some.scenes]
    return torch.cat([to_bytes(some.images) for some in made]), caption_tokens(scenes, (0,))[0]


def encoded(part: str, x: Tensor) -> Tensor:
    """What a part that reads captions draws, of pictures of 64 pixels."""
    if part == "small":
        return resize(x, SMALL)
    return pictures_codec.frozen().encode(x) if part == "codes" else x


def captioned_batches(part: str, generator: torch.Generator) -> Batches:
    """Batches of (what the part draws, {"caption": tokens}) for ever."""
    images, tokens = drawn()
    with torch.no_grad():
        x = torch.cat([encoded(part, from_bytes(some)) for some in images.split(100)])

    def look_up(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return x[rows], {"caption": tokens[rows]}

    return Batches(len(images), BATCH, look_up, generator)


# ---- training --------------------------------------------------------------------------------------------------------


def training(part: str, updates: int, seed: int = 0) -> Fitting:
    """The training of a part; its learning rate is constant, so that a longer one goes on where a shorter one ends."""
    torch.manual_seed(seed)
    model, generator, device = PARTS[part].build(), torch.Generator().manual_seed(seed), torch.device("cpu")
    if isinstance(model, Upsampler):
        stock = residual_batches(model, SMALL, lambda: drawn()[0], TRAIN_SIZE, BATCH, generator, device)
    else:
        stock = captioned_batches(part, generator)
    loss = denoising() if isinstance(model, Upsampler) else denoising(dropout=0.1, times=noisy_times)
    return fit(model, stock, updates, autocast_bf16(loss, device), lr=RATE, ema=EMA, generator=generator)


def weights_of(work: Path, part: str, updates: int) -> Path:
    """Where the weights of a part after so many updates lie."""
    return work / f"{part}_{updates}.safetensors"


def train(work: Path, part: str, updates: int) -> None:
    """Train a part from where its last checkpoint in the folder stands, and keep its averaged weights."""
    if weights_of(work, part, updates).is_file():
        return
    identity = {"study": "equal_compute", "part": part, "torch": torch.__version__}
    kept, run = Checkpoints(work / f"checkpoint_{part}", identity), training(part, updates)
    for standing in interruptible(run, kept, every=SAVED):
        print(f"{part}: {standing.label()}", flush=True)
    state = {name: value.contiguous() for name, value in run.average.state_dict().items()}
    save_file(state, weights_of(work, part, updates), {"cpu_seconds": f"{kept.notes()['cpu_seconds']:.1f}"})


@cache
def trained(work: Path, part: str, updates: int) -> NetDenoiser:
    """A part after so many updates, in eval mode, without gradients."""
    model = PARTS[part].build()
    model.load_state_dict(load_file(weights_of(work, part, updates)))
    return model.eval().requires_grad_(False)


def seconds_of(work: Path, part: str, updates: int) -> float:
    """Core-seconds that the training took, on the machine that trained it."""
    with safe_open(weights_of(work, part, updates), "pt") as file:
        return float(file.metadata()["cpu_seconds"])
