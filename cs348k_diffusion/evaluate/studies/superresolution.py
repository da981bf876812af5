"""Bicubic, regression or diffusion; augmentation or none; where to spend the steps: superresolution on the drawn world.

    python -m cs348k_diffusion.evaluate.studies.superresolution

Recomputes `evaluate.result("superresolution")`, which notebook 09 reads: about a core-minute. Every picture is enlarged
in every way; differences are paired by picture, intervals are 95 %. Those of FD come from a jackknife over pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cs348k_diffusion import recipes
from cs348k_diffusion.cascade import Stage, Upsampler, bicubic, diffusion, regression, resize
from cs348k_diffusion.data.pictures import Pictures, pictures
from cs348k_diffusion.evaluate import RESULTS, result
from cs348k_diffusion.evaluate.claim import word_of
from cs348k_diffusion.metrics import frechet, psnr, ssim
from cs348k_diffusion.metrics.intervals import Interval, jackknife, of_mean, rounded
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.stages.upsamplers import EVALUATION_WORLD, agreement, features, from_noise, small_world
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import path
from cs348k_diffusion.schedule import cosine

N, DRAWS, CALLS = 160, 4, 10  # pictures; draws of each; steps of a draw
LEVELS = (0.0, 0.1, 0.2, 0.4)  # of noise in the small picture, when it is enlarged
SPLITS = ((24, 4), (16, 8), (8, 12))  # steps at 8 and at 32 pixels, at nearly equal cost


def enlarge(stage: Stage, low: Tensor) -> Tensor:
    """The stage's last pictures, in parts that fit a processor's cache."""
    return torch.cat([last(stage(part)).x for part in low.split(48)])


def by_method(low: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The pictures from 8 pixels by each method, and all draws, (DRAWS, N, 3, 32, 32)."""
    drawing = cast(Upsampler, recipes.load("upsampler_32"))
    draws = [enlarge(diffusion(drawing, path(CALLS), generator=keyed_generator(9, 100, k)), low) for k in range(DRAWS)]
    found = {"bicubic": enlarge(bicubic(32), low), "regression": enlarge(regression(drawing), low)}
    found |= {"one draw": draws[0], f"mean of {DRAWS} draws": torch.stack(draws).mean(0)}
    return found, torch.stack(draws)


def row(interval: Interval) -> dict[str, Any]:
    """An interval as the card has it."""
    return {"value": interval.value, "interval_95": list(interval.ends)}


def fd(images: Tensor, true: Tensor) -> Interval:
    """FD of two sets of features with its jackknife interval."""
    return jackknife(lambda rows: frechet(images[rows], true[rows]), len(true))


def fd_gap(worse: Tensor, better: Tensor, true: Tensor) -> Interval:
    """How much further `worse` is than `better`."""
    return jackknife(lambda r: frechet(worse[r], true[r]) - frechet(better[r], true[r]), len(true))


def claim(id: str, text: str, value: Interval, threshold: float = 0.0) -> dict[str, Any]:
    """A claim that `value` is above the threshold, and its verdict."""
    return {"id": id, "claim": text, **row(value), "threshold": threshold, "word": word_of(value, threshold)}


def compared(low: Tensor, true: Pictures) -> dict[str, Any]:
    """S1 to S5: the ways from 8 to 32 pixels."""
    images, draws = by_method(low)
    seen, truth = {name: features(x) for name, x in images.items()}, features(true.images)
    others = features(pictures(N, 32, EVALUATION_WORLD, start=N).images)
    close = {name: psnr(x, true.images) for name, x in images.items()}
    read = {name: agreement(x, true.scenes) for name, x in images.items()}
    back = {name: (resize(x, 8) - low).square().flatten(1).mean(1).sqrt() for name, x in images.items()}
    table = {
        name: {
            "psnr": row(of_mean(close[name])),
            "ssim": row(of_mean(ssim(x, true.images))),
            "fd": row(fd(seen[name], truth)),
            "agreement": row(of_mean(read[name])),
            "shrunk_rms": row(of_mean(back[name])),
        }
        for name, x in images.items()
    }
    by_k = {str(k): row(of_mean(psnr(draws[:k].mean(0), true.images))) for k in (1, 2, 4)}
    spread = draws.var(0).flatten(1).mean(1).sqrt()
    claims = [
        claim("S1", "PSNR: regression beats one draw", of_mean(close["regression"] - close["one draw"])),
        claim("S1", "PSNR: one draw beats bicubic", of_mean(close["one draw"] - close["bicubic"])),
        claim("S2", "FD: one draw is nearer than regression", fd_gap(seen["regression"], seen["one draw"], truth)),
        claim("S2", "FD: regression is nearer than bicubic", fd_gap(seen["bicubic"], seen["regression"], truth)),
        claim("S3", "draws of one small picture differ: a pixel varies by more than 0.02", of_mean(spread), 0.02),
        claim(
            "S3",
            f"PSNR: the mean of {DRAWS} draws beats one draw",
            of_mean(close[f"mean of {DRAWS} draws"] - close["one draw"]),
        ),
        claim(
            "S4",
            "shrunk again, a draw is at most 1.5 times as far from the input as regression",
            of_mean(1.5 * back["regression"] - back["one draw"]),
        ),
        claim("S5", "the reader agrees with the truth more for a draw", of_mean(read["one draw"] - read["regression"])),
    ]
    floor = {"fd": frechet(others, truth), "agreement": row(of_mean(agreement(true.images, true.scenes)))}
    return {"methods": table, "psnr_by_k": by_k, "true_pictures": floor, "claims": claims}


def augmented(low: Tensor, truth: Tensor) -> dict[str, Any]:
    """S6: FD at 32 pixels by level of augmentation, from true pictures of 8 pixels and from generated ones."""
    model = cast(Upsampler, recipes.load("upsampler_32"))
    starts = {"true": low, "generated": last(from_noise(24, N)(None)).x}
    seen = {
        name: [
            features(enlarge(diffusion(model, path(CALLS), level, keyed_generator(9, 200)), low)) for level in LEVELS
        ]
        for name, low in starts.items()
    }
    rows = {name: [{"level": s, **row(fd(x, truth))} for s, x in zip(LEVELS, xs)] for name, xs in seen.items()}
    best = {name: min(range(1, len(LEVELS)), key=lambda k: rows[name][k]["value"]) for name in starts}
    helps = fd_gap(seen["generated"][0], seen["generated"][best["generated"]], truth)
    needless = fd_gap(seen["true"][best["true"]], seen["true"][0], truth)
    claims = [
        claim("S6", f"FD, generated small pictures: level {LEVELS[best['generated']]:g} beats level 0", helps),
        claim("S6", f"FD, true small pictures: level 0 beats level {LEVELS[best['true']]:g}", needless),
    ]
    return {"augmentation": rows, "claims": claims}


def allocated(truth: Tensor) -> dict[str, Any]:
    """S7, its second half: many steps at 8 pixels and few at 32, or the reverse, at equal cost; FD at 32 pixels."""
    model = cast(Upsampler, recipes.load("upsampler_32"))
    exact, zeros = small_world().denoiser(cosine()), {"low_res": torch.zeros(1, 3, 8, 8)}
    costs = flops(exact, torch.zeros(1, 192)), flops(partial(model, **zeros), torch.zeros(1, 3, 32, 32))
    seen, rows = [], []
    for low_steps, high_steps in SPLITS:
        low = last(from_noise(low_steps, N)(None)).x
        seen.append(features(enlarge(diffusion(model, path(high_steps), 0.0, keyed_generator(9, 300)), low)))
        cost = (low_steps * costs[0] + high_steps * costs[1]) / 1e9
        rows.append({"low": low_steps, "high": high_steps, "gigaflops": cost, **row(fd(seen[-1], truth))})
    text = f"FD: {SPLITS[0][0]} steps low and {SPLITS[0][1]} high beat {SPLITS[-1][0]} low and {SPLITS[-1][1]} high"
    return {"allocation": rows, "claims": [claim("S7", text, fd_gap(seen[-1], seen[0], truth))]}


@torch.no_grad()
def flops(denoise: Callable[[Tensor, float], Tensor], x: Tensor) -> int:
    """Floating point operations of one evaluation for one picture."""
    with FlopCounterMode(display=False) as counter:
        denoise(x, 0.5)
    return counter.get_total_flops()


def main(folder: str) -> None:
    """Enlarge, evaluate and write the card."""
    torch.set_num_threads(1)
    true, low = pictures(N, 32, EVALUATION_WORLD), resize(pictures(N, 32, EVALUATION_WORLD).images, 8)
    others = features(pictures(N, 32, EVALUATION_WORLD, start=N).images)
    parts = [compared(low, true), augmented(low, others), allocated(others)]
    found = {key: value for part in parts for key, value in part.items()}
    card = {
        "name": "superresolution",
        "about": "bicubic, regression and diffusion from 8 to 32 pixels; augmentation; the split of steps",
        "command": "python -m cs348k_diffusion.evaluate.studies.superresolution",
        "settings": {"pictures": N, "draws": DRAWS, "steps": CALLS, "world": EVALUATION_WORLD},
        "weights_sha256": {name: cards.card(name)["sha256"] for name in ("upsampler_32", "picture_reader")},
        "torch": torch.__version__,
        **rounded({**found, "claims": [one for part in parts for one in part["claims"]]}),
    }
    cards.write_card(card, folder)
    for one in result("superresolution", folder)["claims"]:
        print(one["id"], one["claim"], one["value"], one["interval_95"], one["word"])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(RESULTS))
