"""Three ways to draw 64 pixels from a prompt, trained and sampled at equal compute: pixels, a cascade, codes.

    python -m cs348k_diffusion.evaluate.studies.equal_compute

Recomputes `evaluate.result("equal_compute")`, which notebook 09 and the claims S7a to S7c read; killed and started
again it goes on where it was. Compute is counted in multiply-adds: of a training, those of a forward pass times three
times its examples; of a drawing, those of all evaluations and of the decoder. The networks are those of the recipes at
half their width. Each way is trained once: intervals are over sets of prompts, with noise of their own, not over
trainings. The learning rate is constant, so the model after fewer updates is the one that a shorter run would have
given. The codec is the shipped one: its training is not counted, its decoder is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cs348k_diffusion.cascade import regression
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import Pictures, parse, pictures
from cs348k_diffusion.data.pictures.splits import EQUAL
from cs348k_diffusion.evaluate.studies import finished, from_command_line
from cs348k_diffusion.evaluate.studies.latent_claims import strip
from cs348k_diffusion.evaluate.studies.superresolution import flops
from cs348k_diffusion.metrics import frechet, texture_distance
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.pipeline import Pipeline, Prompts
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.pictures import TOKENIZER, satisfied, share
from cs348k_diffusion.recipes.pictures_cascade import LIMITS
from cs348k_diffusion.recipes.stages import half_width, pictures_codec
from cs348k_diffusion.recipes.stages.half_width import PARTS, SIZE, SMALL, WAYS
from cs348k_diffusion.recipes.stages.upsamplers import features

BUDGETS = (0.5, 2.0)  # of training a way, in 10^12 multiply-adds
SETS, N, SCALE = 5, 40, 3.0  # sets of prompts, prompts in a set, scale of guidance
STEPS = 8  # of the codes; the others take as many as cost the same


# ---- what it costs ---------------------------------------------------------------------------------------------------


@cache
def cost_of(part: str) -> int:
    """Multiply-adds of one evaluation of a part for one picture."""
    build, shape, _ = PARTS[part]
    cond = {"low_res": torch.zeros(1, 3, SMALL, SMALL)} if part == "upsampler" else {"caption": TOKENIZER(["a cat"])}
    model = build().eval()
    return flops(lambda x, t: model(x, torch.full((1,), t), **cond), torch.zeros(1, *shape)) // 2


def updates_of(part: str, budget: float) -> int:
    """How many updates of a part its share of the budget allows: a forward pass costs once, its gradients twice."""
    return int(PARTS[part].share * budget * 1e12 / (3 * half_width.BATCH * cost_of(part)))


@cache
def decoder_cost() -> int:
    """Multiply-adds of the shipped codec's decoder for one picture."""
    return flops(lambda z, _: pictures_codec.frozen().decode(z), torch.zeros(1, 4, 16, 16)) // 2


@cache
def sampling_cost() -> int:
    """Multiply-adds of drawing one picture from codes, two evaluations a step: what every way may spend."""
    return 2 * STEPS * cost_of("codes") + decoder_cost()


def steps_of(way: str) -> int:
    """Steps under guidance that a way may take; a cascade enlarges once, by the mean."""
    other = {"codes": decoder_cost(), "cascade": cost_of("upsampler")}.get(way, 0)
    return (sampling_cost() - other) // (2 * cost_of(WAYS[way][0]))


# ---- drawing ---------------------------------------------------------------------------------------------------------


def trained(work: Path, part: str, budget: float) -> Any:
    """A part after its share of a budget."""
    return half_width.trained(work, part, updates_of(part, budget))


def pipeline(work: Path, way: str, budget: float) -> Pipeline:
    """How a trained way draws; the last picture of a cascade is the mean of all that the small one allows."""
    kept: dict[str, Any] = {"shape": (3, SIZE, SIZE)}
    if way == "cascade":
        enlarge = regression(trained(work, "upsampler", budget))
        kept = {"shape": (3, SMALL, SMALL), "limits": LIMITS, "stages": (lambda generator: enlarge,)}
    elif way == "codes":
        kept |= {"limits": None, "codec": pictures_codec.frozen()}
    model, prompts = trained(work, WAYS[way][0], budget), Prompts(TOKENIZER, parse)
    return Pipeline(model, condition=prompts, scale=SCALE, steps=steps_of(way), **kept)


# ---- how well --------------------------------------------------------------------------------------------------------


@cache
def asked(one: int) -> Pictures:
    """The true pictures of a set of prompts; sets from SETS on are the others, for floors."""
    return pictures(N, SIZE, EQUAL.evaluation, start=one * N)


def images_of(path: Path, draw: Callable[[int], Tensor]) -> Tensor:
    """The pictures of all sets, in [-1, 1], drawn by draw(set) unless they are kept already."""
    if not path.is_file():
        made = torch.cat([draw(one) for one in range(SETS)])
        part = path.with_suffix(".part")  # written whole or not at all
        save_file({"images": to_bytes(made.clamp(-1, 1)).contiguous()}, part)
        part.replace(path)
    return from_bytes(load_file(path)["images"])


def evaluated(images: Tensor) -> dict[str, Any]:
    """A row for each set, adherence by part of a prompt over all sets, and the first three pictures.

    A row: the shares of prompts that are satisfied and of their parts, FD, and the distance of textures.
    """
    parts = satisfied([prompt for one in range(SETS) for prompt in asked(one).captions], images)
    single = torch.stack([each for name, each in parts.items() if name != "all"])
    rows = []
    for one, x in enumerate(images.split(N)):
        true, mine = asked(one).images, slice(one * N, (one + 1) * N)
        distances = {"fd": frechet(features(x), features(true)), "texture": texture_distance(x, true)}
        rows.append({"all": float(parts["all"][mine].mean()), "parts": float(single[:, mine].nanmean()), **distances})
    adherence = {part: share(each) for part, each in parts.items()}
    return {"sets": rows, "adherence": adherence, "pictures": strip(images[:3])}


def run_of(work: Path, way: str, budget: float) -> dict[str, Any]:
    """What a trained way draws at the equal cost, and how good it is."""
    updates = {part: updates_of(part, budget) for part in WAYS[way]}
    seconds = sum(half_width.seconds_of(work, part, done) for part, done in updates.items())
    walk = pipeline(work, way, budget)
    images = images_of(
        work / f"images_{way}_{budget:g}.safetensors",
        lambda one: walk.images(asked(one).captions, seed=1000 * one),
    )
    row = {"way": way, "budget": budget, "steps": walk.steps, "updates": updates, "core_minutes": seconds / 60}
    return {**row, **evaluated(images)}


def others() -> dict[str, Any]:
    """As many true pictures of other prompts: the floor of distances, and chance for adherence."""
    return evaluated(torch.cat([asked(SETS + one).images for one in range(SETS)]))


def settings() -> dict[str, Any]:
    """What was trained on what, and what it cost: for the card."""
    return {
        "pictures": half_width.TRAIN_SIZE,
        "worlds": [EQUAL.training, EQUAL.evaluation],
        "batch": half_width.BATCH,
        "lr": half_width.RATE,
        "ema": half_width.EMA,
        "training_seeds": 1,
        "budgets_in_1e12_multiply_adds": BUDGETS,
        "sets": SETS,
        "prompts_a_set": N,
        "scale": SCALE,
        "shares": {name: part.share for name, part in PARTS.items()},
        "parameters": {name: sum(p.numel() for p in part.build().parameters()) for name, part in PARTS.items()},
        "multiply_adds_of_an_evaluation": {name: cost_of(name) for name in PARTS},
        "multiply_adds_of_a_picture": sampling_cost(),
        "multiply_adds_of_the_decoder": decoder_cost(),
    }


def main(folder: str) -> None:
    """Train, draw, judge and write the card; what was finished before is read from the folder."""
    torch.set_num_threads(1)
    work, runs = Path(folder) / "equal_compute", []
    for budget in BUDGETS:
        for way, parts in WAYS.items():
            for part in parts:
                half_width.train(work, part, updates_of(part, budget))
            runs.append(finished(work / f"run_{way}_{budget:g}.json", partial(run_of, work, way, budget)))
            print(way, budget, runs[-1]["sets"], flush=True)
    card = {
        "name": "equal_compute",
        "about": "64 pixels from a prompt, by pixels, a cascade and codes, at equal compute in training and drawing",
        "command": "python -m cs348k_diffusion.evaluate.studies.equal_compute",
        "settings": settings(),
        "weights_sha256": {name: cards.card(name)["sha256"] for name in ("pictures_codec", "picture_reader")},
        "torch": torch.__version__,
        "threads": 1,
        "other_true_pictures": finished(work / "others.json", others),
        "runs": runs,
    }
    cards.write_card(rounded(card), folder)


if __name__ == "__main__":
    from_command_line(main)
