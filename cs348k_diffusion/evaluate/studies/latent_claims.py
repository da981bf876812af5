"""Diffusion on codes at equal compute: reconstruction against f and d, distance against f at four budgets, speed.

    python -m cs348k_diffusion.evaluate.studies.latent_claims

Recomputes `evaluate.result("latent_claims")`, which notebook 08 reads: about 7 core-minutes; killed and started again
it goes on after the last finished run. Pictures of 32 x 32 in linear codes (`PCACodec`), which are exact: no verdict
depends on how long a codec was trained; f = 1 are the pixels, in other colours. A budget is a number of updates, those
that so many core-seconds allowed where they were timed (`RATES`). The learning rate is constant: the model after fewer
updates is the one that a shorter run would have given.
"""

from __future__ import annotations

import base64
import copy
import io
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from cs348k_diffusion.data import batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import LATENT
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.studies import finished, from_command_line
from cs348k_diffusion.latent import PCACodec
from cs348k_diffusion.metrics import frechet, psnr, texture_distance
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.nets import UNet
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.pictures import autocast_bf16
from cs348k_diffusion.recipes.stages.upsamplers import features
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import path, sample
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising, fit

SEEDS, BUDGETS = (0, 1, 2), (2, 4, 9, 20)  # core-seconds of diffusion training
TRAIN_SIZE, EVAL_SIZE, CALLS = 3000, 300, 12  # pictures for training; pictures in a distance; steps of a draw


class Setting(NamedTuple):
    """A code of d numbers a place, and the width and multiples of the U-Net that walks there."""

    d: int
    width: int
    mults: tuple[int, ...]


NETS = {
    1: Setting(3, 16, (1, 2, 4, 4)),
    2: Setting(4, 32, (1, 2, 2)),
    4: Setting(4, 32, (1, 2, 2)),
    8: Setting(8, 64, (1, 1)),
}
RATES = {1: 4.0, 2: 8.5, 4: 22.0, 8: 40.0}  # updates of 64 in a core-second


@cache
def drawn() -> Tensor:
    """The training pictures, as bytes."""
    return to_bytes(pictures(TRAIN_SIZE, 32, LATENT.training).images)


@cache
def true_pictures() -> tuple[Tensor, Tensor]:
    """Two sets of true pictures: those that are compared with, and others."""
    true, others = (pictures(EVAL_SIZE, 32, LATENT.evaluation, start=start).images for start in (0, EVAL_SIZE))
    return true, others


@torch.no_grad()
def in_parts(function: Any, x: Tensor, size: int = 100) -> Tensor:
    """function(x), some at a time."""
    return torch.cat([function(part) for part in x.split(size)])


# ---- the runs, each kept as soon as it is finished ------------------------------------------------------------------


@cache
def codec_of(f: int, d: int) -> PCACodec:
    """The best linear codec of f x f pieces; with f = 1 and d = 3, pixels in other colours, standardised."""
    return PCACodec.of(from_bytes(drawn()), f, d)


def distances(images: Tensor) -> dict[str, float]:
    """FD in the reader's features and the texture distance, to the true_pictures pictures."""
    true, _ = true_pictures()
    return {"fd": frechet(features(images), features(true)), "texture": texture_distance(images.clamp(-1, 1), true)}


def reconstructed(f: int) -> dict[str, Any]:
    """What the codec alone loses, on pictures that nothing was made from."""
    d, (_, others) = NETS[f].d, true_pictures()
    codec = codec_of(f, d)
    made = codec.decode(codec.encode(others))
    return {"f": f, "d": d, "numbers": d * (32 // f) ** 2, "psnr": float(psnr(made, others).mean()), **distances(made)}


def trained(f: int, seed: int) -> list[dict[str, Any]]:
    """One training, judged at every budget."""
    torch.manual_seed(seed)
    d, width, mults = NETS[f]
    codec = codec_of(f, d)
    codes = in_parts(lambda part: codec.encode(from_bytes(part)), drawn())
    model, generator = NetDenoiser(UNet(d, width, mults), cosine()), torch.Generator().manual_seed(seed)
    moments = {round(budget * RATES[f]): budget for budget in BUDGETS}
    loss, rows, spent, began = autocast_bf16(denoising(), torch.device("cpu")), [], 0.0, time.process_time()
    for progress in fit(model, batches(codes, None, 64, generator), max(moments), loss, generator=generator):
        if progress.step in moments:
            spent += time.process_time() - began
            row = evaluated(copy.deepcopy(progress.model), codec, f, seed)
            rows.append({"f": f, "seed": seed, "budget": moments[progress.step], "updates": progress.step,
                         "cpu_seconds": spent, **row})  # fmt: skip
            print({name: value for name, value in rows[-1].items() if name != "pictures"}, flush=True)
            began = time.process_time()
    return rows


def evaluated(model: Any, codec: PCACodec, f: int, seed: int) -> dict[str, Any]:
    """Distances of EVAL_SIZE samples, their core-seconds, and the first three pictures."""
    began = time.process_time()
    noise = torch.randn(EVAL_SIZE, NETS[f].d, 32 // f, 32 // f, generator=torch.Generator().manual_seed(1000 + seed))
    images = in_parts(lambda z: codec.decode(last(sample(model, z, path(CALLS))).x), noise)
    seconds = time.process_time() - began
    return {**distances(images), "sampling_seconds": seconds, "pictures": strip(images[:3]) if seed == 0 else ""}


def strip(images: Tensor) -> str:
    """Pictures side by side as a PNG in base64."""
    whole = to_bytes(torch.cat(list(images.clamp(-1, 1)), 2)).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def main(folder: str) -> None:
    """Train, judge and write the card; a run that was finished before is read from the folder."""
    torch.set_num_threads(1)
    work = Path(folder) / "latent_claims"
    runs = []
    for seed in SEEDS:
        for f in sorted(NETS, reverse=True):
            runs += finished(work / f"run_{f}_{seed}.json", lambda f=f, seed=seed: trained(f, seed))
    _, others = true_pictures()
    card = {
        "name": "latent_claims",
        "about": "diffusion on linear codes of drawn pictures at equal compute: four f, four budgets, three seeds",
        "command": "python -m cs348k_diffusion.evaluate.studies.latent_claims",
        "settings": {
            "pictures": TRAIN_SIZE,
            "judged": EVAL_SIZE,
            "steps": CALLS,
            "worlds": [LATENT.training, LATENT.evaluation],
            "nets": {f: f"UNet({d}, {width}, {mults})" for f, (d, width, mults) in NETS.items()},
            "parameters": {f: sum(p.numel() for p in UNet(*NETS[f]).parameters()) for f in NETS},
            "updates_a_core_second": RATES,
            "batch": 64,
            "lr": 1e-3,
        },
        "reader_sha256": cards.card("picture_reader")["sha256"],
        "torch": torch.__version__,
        "threads": 1,
        "true_pictures": distances(others),
        "reconstructed": [reconstructed(f) for f in NETS],
        "runs": runs,
    }
    cards.write_card(rounded(card), folder)
    for row in result("latent_claims", folder)["reconstructed"]:
        print(row)


if __name__ == "__main__":
    from_command_line(main)
