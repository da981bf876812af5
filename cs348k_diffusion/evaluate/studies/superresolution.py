"""Bicubic, regression or diffusion; augmentation or none; where to spend the steps: superresolution on the drawn world.

    python -m cs348k_diffusion.evaluate.studies.superresolution

Recomputes `evaluate.result("superresolution")`, which notebook 09 and the claims S1 to S7 read: three core-minutes.
Each seed has pictures and noise of its own; every picture is enlarged in every way. FD of a way is to the pictures that
were shrunk; the distance of textures and the two-sample test are to others, as they are for the pictures that were
shrunk: their floor, in the row "true pictures". A two-sample test needs more pictures than a seed has: it pools them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import trange

from cs348k_diffusion import recipes
from cs348k_diffusion.cascade import Stage, Upsampler, bicubic, diffusion, regression, resize
from cs348k_diffusion.data.pictures import Pictures, pictures
from cs348k_diffusion.data.pictures.splits import UPSAMPLERS
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.metrics import frechet, psnr, ssim, texture_distance
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.pictures import two_sample_accuracy
from cs348k_diffusion.recipes.stages.upsamplers import agreement, features, from_noise, small_world
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import path
from cs348k_diffusion.schedule import cosine

SEEDS, N, DRAWS, CALLS = 5, 160, 4, 10  # pictures a seed; draws of each; steps of a draw
LEVELS = (0.0, 0.1, 0.2, 0.4)  # of noise in the small picture, when it is enlarged
SPLITS = ((24, 4), (16, 8), (8, 12))  # steps at 8 and at 32 pixels, at nearly equal cost
OTHERS = "other true pictures"
Row = dict[str, Any]


def enlarge(stage: Stage, low: Tensor) -> Tensor:
    """The stage's last pictures, in parts that fit a processor's cache."""
    return torch.cat([last(stage(part)).x for part in low.split(48)])


def to_32() -> Upsampler:
    """The stage from 8 to 32 pixels."""
    return cast(Upsampler, recipes.load("upsampler_32"))


def drawn(seed: int, low: Tensor) -> Tensor:
    """The draws from 8 to 32 pixels, (draws, n, 3, 32, 32)."""
    generators = [keyed_generator(9, 100, k, seed) for k in range(DRAWS)]
    return torch.stack([enlarge(diffusion(to_32(), path(CALLS), generator=each), low) for each in generators])


def ways(low: Tensor, draws: Tensor) -> dict[str, Tensor]:
    """The pictures of 32 pixels that each way makes of small ones."""
    images = {"bicubic": enlarge(bicubic(32), low), "regression": enlarge(regression(to_32()), low)}
    return {**images, "one draw": draws[0], f"mean of {DRAWS} draws": draws.mean(0)}


def compared(images: dict[str, Tensor], draws: Tensor, low: Tensor, true: Pictures, others: Tensor) -> list[Row]:
    """S1 to S5: the ways from 8 to 32 pixels, and the mean of k draws; others: true pictures that were not shrunk."""
    truth = features(true.images)
    rows: list[Row] = [
        {
            "part": "method",
            "method": name,
            "psnr": float(psnr(x, true.images).mean()),
            "ssim": float(ssim(x, true.images).mean()),
            "fd": frechet(features(x), truth),
            "texture": texture_distance(x.clamp(-1, 1), others),
            "agreement": float(agreement(x, true.scenes).mean()),
            "shrunk_rms": float((resize(x, 8) - low).square().mean().sqrt()),
        }
        for name, x in images.items()
    ]
    for k in (1, 2, DRAWS):
        rows.append({"part": "draws", "k": k, "psnr": float(psnr(draws[:k].mean(0), true.images).mean())})
    return [*rows, {"part": "spread", "std": float(draws.var(0).mean().sqrt())}]


def augmented(seed: int, low: Tensor, truth: Tensor) -> list[Row]:
    """S6: FD at 32 pixels by level of augmentation, from true pictures of 8 pixels and from generated ones."""
    model = to_32()
    starts = {"true": low, "generated": last(from_noise(24, N, seed)(None)).x}
    return [
        {"part": "augmentation", "start": name, "level": level, "fd": frechet(features(x), truth)}
        for name, small in starts.items()
        for level in LEVELS
        for x in [enlarge(diffusion(model, path(CALLS), level, keyed_generator(9, 200, seed)), small)]
    ]


def allocated(seed: int, truth: Tensor) -> list[Row]:
    """S7, its second half: many steps at 8 pixels and few at 32, or the reverse, at equal cost; FD at 32 pixels."""
    model, exact = to_32(), small_world().denoiser(cosine())
    conditioned = partial(model, low_res=torch.zeros(1, 3, 8, 8))
    costs = flops(exact, torch.zeros(1, 192)), flops(conditioned, torch.zeros(1, 3, 32, 32))
    rows = []
    for low_steps, high_steps in SPLITS:
        small = last(from_noise(low_steps, N, seed)(None)).x
        x = enlarge(diffusion(model, path(high_steps), 0.0, keyed_generator(9, 300, seed)), small)
        cost = (low_steps * costs[0] + high_steps * costs[1]) / 1e9
        steps = {"low": low_steps, "high": high_steps, "gigaflops": cost}
        rows.append({"part": "allocation", **steps, "fd": frechet(features(x), truth)})
    return rows


def runs_of(seed: int) -> tuple[list[Row], dict[str, Tensor]]:
    """All rows of one seed, the distances of true pictures among them; and the pictures: enlarged, shrunk and others.

    Other true pictures are the floor of FD, the shrunk ones that of texture; the reader errs on true pictures too.
    """
    true, others = (pictures(N, 32, UPSAMPLERS.evaluation, start=(2 * seed + k) * N) for k in range(2))
    low, more = resize(true.images, 8), features(others.images)
    draws = drawn(seed, low)
    images = ways(low, draws)
    floor = {
        "part": "true pictures",
        "fd": frechet(more, features(true.images)),
        "texture": texture_distance(true.images, others.images),
        "agreement": float(agreement(true.images, true.scenes).mean()),
    }
    found = compared(images, draws, low, true, others.images)
    rows = [*found, *augmented(seed, low, more), *allocated(seed, more), floor]
    images |= {"true pictures": true.images, OTHERS: others.images}
    return [{"seed": seed, **row} for row in rows], images


def told_apart(images: dict[str, Tensor]) -> dict[str, Any]:
    """The two-sample test of each way against other true pictures, and of the pictures that were shrunk: its floor."""
    return {name: two_sample_accuracy(images[OTHERS], x) for name, x in images.items() if name != OTHERS}


@torch.no_grad()
def flops(denoise: Callable[[Tensor, float], Tensor], x: Tensor) -> int:
    """Floating point operations of one evaluation for one picture."""
    with FlopCounterMode(display=False) as counter:
        denoise(x, 0.5)
    return counter.get_total_flops()


def main(folder: str) -> None:
    """Enlarge, evaluate and write the card."""
    torch.set_num_threads(1)
    runs, sets = zip(*(runs_of(seed) for seed in trange(SEEDS, desc="superresolution")))
    pooled = {name: torch.cat([each[name] for each in sets]) for name in sets[0]}
    card = {
        "name": "superresolution",
        "about": "bicubic, regression and diffusion from 8 to 32 pixels; augmentation; the split of steps",
        "command": "python -m cs348k_diffusion.evaluate.studies.superresolution",
        "settings": {"pictures": N, "draws": DRAWS, "steps": CALLS, "world": UPSAMPLERS.evaluation},
        "weights_sha256": {name: cards.card(name)["sha256"] for name in ("upsampler_32", "picture_reader")},
        "torch": torch.__version__,
        "two_sample": rounded(told_apart(pooled)),
        "runs": rounded([row for rows in runs for row in rows]),
    }
    cards.write_card(card, folder)


if __name__ == "__main__":
    from_command_line(main)
