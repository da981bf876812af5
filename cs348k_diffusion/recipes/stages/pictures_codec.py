"""The drawn world in fewer numbers: 64 x 64 pictures to 16 x 16 x 4 codes, twelve times fewer, and back.

Faces are few pixels, and a mean error hardly sees them: after a first phase, at 35 dB, dark cats have no eyes. So in a
second phase the worst pixels count for themselves, and beside PSNR stands a network trained to tell reconstructions
from pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.latent import NetCodec, kl_to_normal, picture_loss, sampled_code, worst_error
from cs348k_diffusion.metrics import psnr
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.nets import Decoder, Encoder
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.pictures import autocast_bf16, textures, two_sample_accuracy
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.training import Fitting, Phases, fit, warm_cosine

SIZE, F, D = 64, 4, 4
TRAIN_SIZE, EVAL_SIZE = 20_000, 500  # pictures for training, and for PSNR
TWO_SAMPLE_N = 2_000  # pictures of each kind for the two-sample test
KL = 1e-3
PEAK, LATER_PEAK, EMA = 2e-3, 1e-3, 0.998
FIRST = 5000 / 8500  # the share of the updates before the worst pixels count
FOLLOW = 0.99  # the memory of the mean and spread of codes while the encoder still moves


def codec() -> NetCodec:
    """The untrained codec."""
    return NetCodec(Encoder(3, F, D, width=16), Decoder(3, F, D, width=24), F, D)


def batches(n: int, batch: int, generator: torch.Generator, device: torch.device) -> Batches:
    """Batches of pictures for ever, from n drawn once and kept as bytes."""

    @cache  # not before the first batch
    def drawn() -> Tensor:
        return to_bytes(pictures(n, SIZE, PICTURES.training).images)

    return Batches(n, batch, lambda rows: from_bytes(drawn()[rows].to(device)), generator)


def loss(
    model: NetCodec, x: Float[Tensor, "n 3 h w"], generator: torch.Generator | None = None, worst: float = 0.0
) -> Float[Tensor, ""]:
    """picture_loss of pictures decoded from sampled codes + KL of the codes + worst times `worst_error`.

    The codec's mean and std follow the codes. Among several processes the worst pixels, the mean and the std are those
    of each one's share of the batch; without `worst` their mean gradient is that of the whole batch.
    """
    mean, log_var = model.encoder(x)
    model.follow(mean, FOLLOW)
    made = model.decoder(sampled_code(mean, log_var, noise_like(mean, generator)))
    value = picture_loss(made, x) + KL * kl_to_normal(mean, log_var)
    return value + worst * worst_error(made, x) if worst else value


def training(model: NetCodec, steps: int, batch: int, generator: torch.Generator) -> Phases:
    """Train on pictures without their captions; in the second phase the worst pixels count too."""
    device = next(model.parameters()).device
    first = max(1, round(FIRST * steps))
    stock = batches(min(TRAIN_SIZE, steps * batch), batch, generator, device)

    def phase(updates: int, peak: float, worst: float) -> tuple[int, Callable[[NetCodec], Fitting]]:
        def fitting(model: NetCodec) -> Fitting:
            value = autocast_bf16(partial(loss, worst=worst), device)
            return fit(model, stock, updates, value, lr=warm_cosine(peak), ema=EMA, generator=generator)

        return updates, fitting

    return Phases(model, [phase(first, PEAK, 0.0), phase(steps - first, LATER_PEAK, 1.0)])


@torch.no_grad()
def round_trip(model: NetCodec, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """decode(encode(x)), cut off to [-1, 1], some at a time."""
    return torch.cat([model.decode(model.encode(part)).clamp(-1, 1) for part in x.split(100)])


@torch.no_grad()
def evaluate(model: NetCodec) -> dict[str, Any]:
    """PSNR, how well reconstructions are told from pictures, the texture distance beside its floor. For the card."""
    x, others = (pictures(TWO_SAMPLE_N, SIZE, PICTURES.evaluation, start=start).images for start in (0, TWO_SAMPLE_N))
    made = round_trip(model, x)
    z = torch.cat([model.encode(part) for part in x[:EVAL_SIZE].split(100)])
    error = psnr(made[:EVAL_SIZE], x[:EVAL_SIZE])
    mean, half = float(error.mean()), 1.96 * float(error.std()) / EVAL_SIZE**0.5
    return rounded(
        {
            "psnr": {
                "mean": mean,
                "interval_95": [mean - half, mean + half],
                "n": EVAL_SIZE,
            },
            "two_sample": two_sample_accuracy(others, made),
            "texture": textures(made, x, others),
            "codes": {"mean": z.mean((0, 2, 3)).tolist(), "std": z.std((0, 2, 3)).tolist()},
        }
    )


RECIPE = Recipe(
    name="pictures_codec",
    about=f"64 x 64 pictures to codes of {SIZE // F} x {SIZE // F} x {D} numbers, and back",
    data=f"{TRAIN_SIZE:,} pictures of data.pictures, world {PICTURES.training}; "
    f"evaluated in world {PICTURES.evaluation}",
    steps=8500,
    batch=16,
    build=codec,
    training=training,
    evaluate=evaluate,
    settings={
        "net": f"Encoder(3, {F}, {D}, width=16), Decoder(3, {F}, {D}, width=24)",
        "loss": f"picture_loss + {KL:g} KL; after {FIRST:.0%} of the updates + worst_error",
        "lr": f"warm_cosine({PEAK:g}), then warm_cosine({LATER_PEAK:g})",
        "products": "bfloat16 where the processor has it",
        "ema": EMA,
    },
    shipped=True,
)


@cache
def frozen() -> NetCodec:
    """The trained codec: eval mode, no gradients."""
    return cards.restore(codec(), "pictures_codec").requires_grad_(False)
