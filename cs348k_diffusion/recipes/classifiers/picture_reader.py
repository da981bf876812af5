"""The feature network behind all picture metrics: a small network that reads what is in a picture.

It reads how many cats, houses and trees there are, their colours, how they stand to each other, sky, light, season and
species. Generated pictures are never quite clean, so it learns from pictures that are moved, blurred, tinted and noisy,
and a quarter of them show the pairs of colour and kind that picture models never see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import ATTRIBUTES, KINDS, Scene, asked, labels, pictures
from cs348k_diffusion.data.pictures.splits import READER
from cs348k_diffusion.nets import AttributeReader
from cs348k_diffusion.noise import noise_like, uniform
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.training import Fitting, fit, warm_cosine

TRAIN_SIZE, EVAL_SIZE = 32_768, 4_000  # pictures drawn once for training; pictures for its evaluation
SHIFT = 2  # pixels
BLUR = (torch.tensor([1.0, 2.0, 1.0])[:, None] * torch.tensor([1.0, 2.0, 1.0]) / 16).expand(3, 1, 3, 3)


def reader() -> AttributeReader:
    """The untrained network: 0.7 million parameters, for pictures of 32 x 32 pixels."""
    return AttributeReader({name: len(values) for name, values in ATTRIBUTES.items()})


def library(n: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """n pictures as bytes (n, 3, 32, 32), the last quarter with held-out pairs, and their labels."""
    drawn = [pictures(n - n // 4, 32, seed), pictures(n // 4, 32, seed, held_out=True)]
    images = torch.cat([to_bytes(part.images) for part in drawn])
    return images, labels([scene for part in drawn for scene in part.scenes])


def augment(x: Float[Tensor, "n 3 h w"], generator: torch.Generator | None = None) -> Float[Tensor, "n 3 h w"]:
    """Pictures as a model might draw them: moved by up to 2 pixels, half of them blurred, tinted, and noisy."""
    n, _, height, width = x.shape
    wide = F.pad(x, (SHIFT,) * 4, mode="replicate")
    down, across = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=generator)
    rows, columns, each = down + torch.arange(height), across + torch.arange(width), torch.arange(n)[:, None, None]
    x = wide.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    soft = F.conv2d(F.pad(x, (1,) * 4, mode="replicate"), BLUR, groups=3)
    x = torch.lerp(x, soft, (2 * uniform(n, generator) - 1).clamp(min=0).view(n, 1, 1, 1))
    tint = 0.08 * noise_like(x[:, :, :1, :1], generator)
    noise = 0.15 * uniform(n, generator).view(n, 1, 1, 1) * noise_like(x, generator)
    return (1 + 0.1 * noise_like(x[:, :1, :1, :1], generator)) * x + tint + noise


def attribute_loss(
    model: nn.Module, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator | None
) -> Tensor:
    """The loss: the sum over attributes of the cross-entropy of their values, for augmented pictures. A scalar."""
    x, cond = batch
    said = model(augment(x, generator))
    return torch.stack([F.cross_entropy(said[name], cond[name]) for name in said]).sum()


def _batches(n: int, batch: int, generator: torch.Generator) -> Batches:
    drawn = cache(partial(library, n, READER.training))  # not before the first batch

    def look_up(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        images, true = drawn()
        return from_bytes(images[rows]), {name: values[rows] for name, values in true.items()}

    return Batches(n, batch, look_up, generator)


def _training(model: nn.Module, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    examples = _batches(min(TRAIN_SIZE, steps * batch), batch, generator)
    return fit(model, examples, steps, attribute_loss, lr=warm_cosine(2e-3), ema=0.998, generator=generator)


def frozen() -> AttributeReader:
    """The reader that ships with the package; `.features(x)` and logits by attribute."""
    return cards.restore(reader(), RECIPE.name).requires_grad_(False)


# ---- reading pictures, and comparing what was read with what was asked ---------------------------------------------


@torch.no_grad()
def read_attributes(model: nn.Module, images: Float[Tensor, "n 3 h w"]) -> dict[str, Int[Tensor, " n"]]:
    """What the reader sees in each picture: for each attribute in `ATTRIBUTES` the place of its value, (n,).

    images in [-1, 1], 32 x 32 pixels; values outside are cut off. model: `load("picture_reader")`.
    """
    said = [model(part.clamp(-1, 1)) for part in images.split(256)]
    return {name: torch.cat([logits[name].argmax(1) for logits in said]).cpu() for name in ATTRIBUTES}


PARTS = {
    "object": [f"{kind}_count" for kind in KINDS],
    "colour": [f"{kind}_colour" for kind in KINDS],
    "count": [f"{kind}_count" for kind in KINDS],
    **{name: [name] for name in ("relation", "sky", "light", "season", "species")},
}
"""What a prompt may ask for, and the attributes that answer it."""


def adherence(prompts: Sequence[Scene], read: Mapping[str, Tensor]) -> dict[str, Float[Tensor, " n"]]:
    """Did each picture do what its prompt asks?  1 yes, 0 no, nan where it does not ask; `.nanmean()` is a share.

    prompts: `parse(text)` for each picture; read: `read_attributes` of the pictures. Keys: object (the kinds asked for
    are there and no others), count (so many of each kind), colour (of each kind asked for), relation, sky, light,
    season, species, and "all": every one that is asked for. Raises ValueError unless each picture has one prompt.
    """
    if any(len(values) != len(prompts) for values in read.values()):
        raise ValueError(f"one prompt for each picture: got {len(prompts)} prompts for {len(read['sky'])} pictures")
    rows = [
        _satisfied(asked(prompt), {name: int(values[i]) for name, values in read.items()})
        for i, prompt in enumerate(prompts)
    ]
    return {part: torch.tensor([row[part] for row in rows]) for part in [*PARTS, "all"]}


def _satisfied(wanted: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, float]:
    satisfied: dict[str, float] = {}
    for part, names in PARTS.items():
        pairs = [(wanted[name], seen[name]) for name in names if name in wanted]
        if part == "object":
            pairs = [(min(a, 1), min(b, 1)) for a, b in pairs]
        satisfied[part] = float(all(a == b for a, b in pairs)) if pairs else float("nan")
    if satisfied["object"] == 0 and "relation" in wanted:  # whatever stands left of what, it is not what was asked for
        satisfied["relation"] = 0.0
    return {**satisfied, "all": float(all(value != 0 for value in satisfied.values()))}


def balanced_accuracy(read: Int[Tensor, " n"], true: Int[Tensor, " n"]) -> float:
    """The share read rightly, averaged over the true values: guessing the commonest one gains nothing."""
    right = [float((read[true == value] == value).double().mean()) for value in true.unique()]
    return sum(right) / len(right)


def _evaluate(model: nn.Module) -> dict[str, Any]:
    images, true = library(EVAL_SIZE, READER.evaluation)
    x, generator = from_bytes(images), torch.Generator().manual_seed(0)
    model = model.cpu().eval()
    scores = {}
    for way, seen in {"clean": x, "augmented": augment(x, generator)}.items():
        read = read_attributes(model, seen)
        scores[way] = {name: round(balanced_accuracy(read[name], true[name]), 4) for name in ATTRIBUTES}
    worst = {f"worst_{way}": min(by_name.values()) for way, by_name in scores.items()}
    return {"pictures": EVAL_SIZE, **worst, "balanced_accuracy": scores["clean"], "augmented": scores["augmented"]}


RECIPE = Recipe(
    name="picture_reader",
    about="reads the attributes of drawn or generated pictures, 32 x 32; features for their Frechet distance",
    data=f"{TRAIN_SIZE:,} pictures of data.pictures, world {READER.training}, a quarter with held-out pairs; "
    f"evaluated in world {READER.evaluation}",
    steps=3000,
    batch=64,
    build=reader,
    training=_training,
    evaluate=_evaluate,
    settings={
        "net": "AttributeReader(width=32, hidden=192)",
        "lr": "warm_cosine(2e-3)",
        "ema": 0.998,
        "augmentation": "shifts by 2 pixels, blur, tint, contrast, noise up to 0.15",
    },
    shipped=True,
)
