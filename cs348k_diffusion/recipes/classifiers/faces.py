"""Has the cat a face?  A small reader, trained anew on true pictures with and without eyes or ears, then counted with.

Attributes do not ask for faces, so a model can lose them and keep every prompt. The reader sees pictures of 64 pixels,
slightly moved, blurred and noisy, so that it learns of faces and not of how clean a picture is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.data import batches
from cs348k_diffusion.data.pictures import COLOURS, HELD_OUT, complete, draw_scenes, parse
from cs348k_diffusion.data.pictures.splits import FACES
from cs348k_diffusion.metrics.intervals import wilson
from cs348k_diffusion.metrics.two_sample import discriminator
from cs348k_diffusion.recipes.classifiers.picture_reader import augment
from cs348k_diffusion.running import last
from cs348k_diffusion.training import fit, warm_cosine

SIZE = 64
TRAIN_SIZE, STEPS, BATCH = 900, 500, 32  # pictures of each kind, updates, pictures in an update
LACKS = ((), ("eyes",), ("ears",), ("eyes", "ears"))


def face_prompts(n: int) -> list[str]:
    """n prompts for one big cat: colours and skies in turn."""
    colours = [colour for colour in COLOURS if (colour, "cat") not in HELD_OUT]
    rows = [f"a big {colour} cat {sky}" for sky, colour in product(("by day", "at dusk", "at night"), colours)]
    return [rows[k % len(rows)] for k in range(n)]


def cats(n: int, world: int, lacks: Sequence[str] = ()) -> Float[Tensor, "n 3 64 64"]:
    """True pictures for `face_prompts`, or such cats as lack something."""
    return draw_scenes(
        [complete(parse(text), world, k) for k, text in enumerate(face_prompts(n))], SIZE, world, 0, lacks
    )


def _loss(model: nn.Module, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator | None) -> Tensor:
    x, cond = batch
    return F.binary_cross_entropy_with_logits(model(augment(x, generator))[:, 0], cond["y"])


@cache
def face_reader(seed: int = 0) -> nn.Module:
    """The trained reader: its logit is positive for a cat with two eyes and two ears. About a minute of one core."""
    without = [cats(TRAIN_SIZE // 3, FACES.training, lacks) for lacks in LACKS[1:]]
    x = torch.cat([cats(TRAIN_SIZE, FACES.training), *without])
    y = (torch.arange(len(x)) < TRAIN_SIZE).float()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = discriminator(pool=nn.AdaptiveMaxPool2d(1))  # a face is somewhere, not on average
    stock = batches(x, y, BATCH, generator)
    run = fit(net, stock, STEPS, _loss, lr=warm_cosine(3e-3), ema=0.98, generator=generator)
    return last(run).model.eval().requires_grad_(False)


@torch.no_grad()
def has_face(images: Float[Tensor, "n 3 64 64"]) -> Bool[Tensor, " n"]:
    """Whether the reader sees a whole face in each picture of one cat."""
    return torch.cat([face_reader()(part.clamp(-1, 1))[:, 0] > 0 for part in images.split(100)])


def face_report(images: Float[Tensor, "n 3 64 64"]) -> dict[str, Any]:
    """The share of pictures, drawn for `face_prompts`, with a face; beside true cats and such as lack something."""
    n = len(images)
    rows = {"generated": images, "true_pictures": cats(n, FACES.evaluation)}
    rows |= {"true_without_" + "_and_".join(lacks): cats(n, FACES.evaluation, lacks) for lacks in LACKS[1:]}
    found = {name: wilson(int(has_face(x).sum()), n) for name, x in rows.items()}
    return {name: {"share": each.value, "interval_95": list(each.ends), "n": n} for name, each in found.items()}
