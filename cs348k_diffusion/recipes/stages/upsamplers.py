"""The stages of a cascade on the drawn world: 8 pixels from noise, by an exact density; from 8 to 32; from 32 to 64.

The upsamplers learn the residual of bicubic enlargement from small pictures with noise of a random level, half of them
with none; the level is a condition. The same network serves regression: its guess at t = 1 is the residual's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.cascade import (
    Stage,
    Upsampler,
    bicubic,
    diffusion,
    first,
    regression,
    resize,
    training_pair,
)
from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import Pictures, Scene, labels, pictures
from cs348k_diffusion.data.pictures.splits import UPSAMPLERS
from cs348k_diffusion.exact import Mixture
from cs348k_diffusion.metrics import frechet, psnr, ssim
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.nets.upsampler import UpsamplerUNet
from cs348k_diffusion.noise import keyed_generator, noise_like, uniform
from cs348k_diffusion.recipes.classifiers.picture_reader import frozen, read_attributes
from cs348k_diffusion.recipes.pictures import autocast_bf16
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import State, path
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, denoising, fit, warm_cosine

TRAIN_SIZE = {32: 12_000, 64: 3_000}  # pictures drawn for training, by their size
NOISIEST = 0.5  # the highest level of augmentation, a standard deviation in a picture's own units
SIZES = {32: 8, 64: 32}  # from the small picture to the large one
SPREADS = {32: 0.155, 64: 0.066}  # standard deviation of what bicubic enlargement misses
PEAK, EMA = 2e-3, 0.998
SHARES = {32: 0.6, 64: 1.0}  # how much of the learning rate's cosine is walked before training ends
EVAL_SIZE, CALLS = 200, 10  # pictures for the evaluation of a stage; steps of a draw


def upsampler(size: int) -> Upsampler:
    """The untrained stage to `size` pixels: a U-Net of 0.8 million parameters that predicts v of the residual."""
    return Upsampler(UpsamplerUNet(fold=size // 16), cosine(), size, SPREADS[size])


def levels(n: int, generator: torch.Generator | None = None) -> Tensor:
    """Levels of augmentation for n examples: 0 for about half of them, else evenly spread up to `NOISIEST`."""
    return (2 * uniform(n, generator) - 1).clamp(min=0) * NOISIEST


def batches(model: Upsampler, n: int, batch: int, generator: torch.Generator, device: torch.device) -> Batches:
    """The residual batches of a shipped stage, from n pictures drawn once and kept as bytes."""

    @cache  # not before the first batch
    def drawn() -> Tensor:
        return to_bytes(pictures(n, model.size, UPSAMPLERS.training).images)

    return residual_batches(model, SIZES[model.size], drawn, n, batch, generator, device)


def residual_batches(
    model: Upsampler,
    small: int,
    drawn: Callable[[], Tensor],
    n: int,
    batch: int,
    generator: torch.Generator,
    device: torch.device,
) -> Batches:
    """Batches of (residuals, {"low_res", "level"}) for ever; drawn(): n large pictures, as bytes.

    small: rows of the small pictures that the model enlarges.
    """
    shrink, enlarge = partial(resize, size=small), partial(resize, size=model.size)

    def look_up(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        high = from_bytes(drawn()[rows].to(device))
        level = levels(batch, generator).to(high)
        noise = noise_like(shrink(high), generator)
        residual, low = training_pair(high, shrink, enlarge, level, noise, model.spread)
        return residual, {"low_res": low, "level": level}

    return Batches(n, batch, look_up, generator)


def _training(model: Upsampler, steps: int, batch: int, generator: torch.Generator) -> Fitting:
    device = next(model.parameters()).device
    stock = batches(model, min(TRAIN_SIZE[model.size], steps * batch), batch, generator, device)
    share, rate = SHARES[model.size], warm_cosine(PEAK)
    loss = autocast_bf16(denoising(), device)
    return fit(model, stock, steps, loss, lr=lambda done: rate(share * done), ema=EMA, generator=generator)


@lru_cache
def small_world(n: int = 200, width: float = 0.35) -> Mixture:
    """A first stage without training: a density of pictures of 8 x 8 pixels, (192,) each, by kernels on n of them.

    p(x) = 1/n sum_i N(x; x_i, width^2 cov),   cov the covariance of the pictures
    Its draws lie near one of the pictures, with flaws that no true picture has.
    """
    x = resize(pictures(n, 32, UPSAMPLERS.training).images, 8).flatten(1)
    cov = width**2 * torch.cov(x.T) + 1e-4 * torch.eye(x.shape[1])
    return Mixture(x, cov.expand(n, *cov.shape))


def from_noise(steps: int = CALLS, n: int = 1, seed: int = 0) -> Stage:
    """The stage that starts a cascade: n pictures of 8 x 8 pixels from noise, by `small_world`'s exact denoiser."""
    denoise = small_world().denoiser(cosine())
    start = first(denoise, denoise.schedule.prior((n, 192), keyed_generator(9, seed)), path(steps))

    def stage(low: Tensor | None) -> Iterator[State]:
        for state in start(low):
            yield state._replace(x=state.x.view(n, 3, 8, 8), x0_hat=state.x0_hat.view(n, 3, 8, 8))

    return stage


# ---- how good is an upsampler --------------------------------------------------------------------------------------


def unseen(size: int, n: int) -> Pictures:
    """n pictures that no stage was trained on."""
    return pictures(n, size, UPSAMPLERS.evaluation)


def agreement(images: Float[Tensor, "n 3 h w"], scenes: Sequence[Scene]) -> Float[Tensor, " n"]:
    """For each picture the share of attributes that the frozen reader reads as the scene has them (at 32 pixels)."""
    read, true = read_attributes(frozen(), resize(images, 32)), labels(scenes)
    return torch.stack([(read[name] == true[name]).double() for name in true]).mean(0)


@torch.no_grad()
def features(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n dim"]:
    """The reader's features, in which FD is measured: at the picture's own size, a mean over places."""
    reader = frozen()
    return torch.cat([reader.features(part.clamp(-1, 1)) for part in images.split(128)])


def report(images: Tensor, true: Pictures) -> dict[str, Any]:
    """PSNR, SSIM and agreement with 95 % intervals over pictures, FD, and how far shrinking back misses the input."""
    low = partial(resize, size=SIZES[images.shape[-1]])
    return {
        "psnr": _mean(psnr(images, true.images)),
        "ssim": _mean(ssim(images, true.images)),
        "agreement": _mean(agreement(images, true.scenes)),
        "fd": frechet(features(images), features(true.images)),
        "shrunk_rms": float((low(images) - low(true.images)).square().mean().sqrt()),
    }


def _mean(values: Tensor) -> dict[str, Any]:
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return {"mean": mean, "interval_95": [mean - half, mean + half]}


def evaluate(model: Upsampler) -> dict[str, Any]:
    """The report of the stage beside those of bicubic and of the pictures themselves; FD's floor. For the card."""
    true = unseen(model.size, EVAL_SIZE)
    others = pictures(EVAL_SIZE, model.size, UPSAMPLERS.evaluation, start=EVAL_SIZE)
    low = resize(true.images, SIZES[model.size])
    stages = {
        "draw": diffusion(model, path(CALLS), generator=torch.Generator().manual_seed(0)),
        "mean": regression(model),
        "bicubic": bicubic(model.size),
    }
    rows = {name: torch.cat([last(stage(part)).x for part in low.split(50)]) for name, stage in stages.items()}
    floor = frechet(features(others.images), features(true.images))
    found = {name: report(images, true) for name, images in rows.items()}
    found["true_pictures"] = {"agreement": _mean(agreement(true.images, true.scenes)), "fd_of_others": floor}
    return rounded({**found, "n": EVAL_SIZE})


def _recipe(size: int, steps: int) -> Recipe:
    low = SIZES[size]
    return Recipe(
        name=f"upsampler_{size}",
        about=f"pictures of trees, cats and houses from {low} x {low} to {size} x {size} pixels",
        data=f"{TRAIN_SIZE[size]:,} pictures of data.pictures, world {UPSAMPLERS.training}, "
        f"shrunk by `cascade.resize`; evaluated in world {UPSAMPLERS.evaluation}",
        steps=steps,
        batch=32,
        build=partial(upsampler, size),
        training=_training,
        evaluate=evaluate,
        settings={
            "net": f"UpsamplerUNet(fold={size // 16}, width=32, mults=(1, 2, 2))",
            "schedule": "cosine",
            "predict": "v",
            "target": f"(high - up(low_res)) / {SPREADS[size]:g}",
            "augmentation": f"half with 0, half uniform up to {NOISIEST:g}",
            "lr": f"warm_cosine({PEAK:g}), ended after {SHARES[size]:.0%} of it",
            "products": "bfloat16 where the processor has it",
            "ema": EMA,
            "samples": f"DDIM, {CALLS} steps, clipped to [-1, 1]; mean: one evaluation at t = 1",
        },
        shipped=True,
    )


RECIPES = (_recipe(32, 3000), _recipe(64, 3000))
