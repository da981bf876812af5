"""A sentence becomes a picture in one, two or four evaluations: the text-to-picture model, distilled.

One student for every guidance scale from 1 to 6 (see `fewer_steps`). A quarter of the captions are shortened, so that
it follows short prompts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import WORDS, caption, parse, pictures
from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.metrics import frechet
from cs348k_diffusion.metrics.intervals import of_mean, paired, rounded
from cs348k_diffusion.nets import FastTextUNet
from cs348k_diffusion.noise import uniform
from cs348k_diffusion.pipeline import Pipeline, Prompts, with_inputs
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes import pictures as teaching
from cs348k_diffusion.recipes.classifiers.picture_reader import frozen
from cs348k_diffusion.recipes.distilled.fewer_steps import (
    HIGHEST,
    LOWEST,
    SETTINGS,
    STEPS,
    Distillation,
    distilling,
    shared,
)
from cs348k_diffusion.recipes.pictures import ATTENTION, SCALE, SIZE, TOKENIZER
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.schedule import cosine

SCALES = (1.0, 2.0, 3.0, 4.0, 6.0)  # at which the card compares student and teacher
TRAIN_SIZE, SHORTENED = 20_000, 0.25  # pictures drawn for training; the share of captions that lose some of their parts
STAGES = {8: 600, 4: 600, 2: 600, 1: 900}  # steps of the student, and updates


def denoiser() -> NetDenoiser:
    """The untrained student: the teacher's network, which receives scale and stride too."""
    return NetDenoiser(FastTextUNet(len(WORDS), attention=ATTENTION, length=TOKENIZER.length), cosine(), predict="v")


def shortened(text: str, index: int) -> str:
    """The caption after some of its parts are left out, each with probability 1/2; `index` decides which.

    What may go: the second group with its relation, sizes, colours, species, season, sky and light.
    """
    rng, scene = KeyedDraws(0, index, stream=3), parse(text)
    groups = scene.groups[:1] if rng.chance(50) else scene.groups
    groups = tuple(
        group._replace(
            size="" if rng.chance(50) else group.size,
            colour=None if rng.chance(50) else group.colour,
            species=None if rng.chance(50) else group.species,
        )
        for group in groups
    )
    season, sky, light = (None if rng.chance(50) else part for part in (scene.season, scene.sky, scene.light))
    relation = scene.relation if len(groups) > 1 else None
    return caption(scene._replace(groups=groups, relation=relation, season=season, sky=sky, light=light))


def batches(batch: int, generator: torch.Generator, device: torch.device) -> Batches:
    """Batches of (pictures, {"caption": tokens}) for ever, a share of the captions shortened."""

    @cache  # not before the first batch
    def drawn() -> tuple[Tensor, Tensor, Tensor]:
        world = pictures(TRAIN_SIZE, SIZE, PICTURES.training)
        short = [shortened(text, k) for k, text in enumerate(world.captions)]
        return to_bytes(world.images), TOKENIZER(world.captions), TOKENIZER(short)

    def look_up(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        images, whole, short = drawn()
        cut = uniform(len(rows), generator) < SHORTENED
        tokens = torch.where(cut[:, None], short[rows], whole[rows])
        return from_bytes(images[rows].to(device)), {"caption": tokens.to(device)}

    return Batches(TRAIN_SIZE, batch, look_up, generator)


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Distillation:
    """From the shipped teacher's weights through all stages, whose updates are shares of `steps`."""
    master = cards.restore(teaching.denoiser(), "pictures")
    stock = batches(batch, generator, next(model.parameters()).device)
    return distilling(model, master, stock, shared(steps, STAGES), batch, generator, limits=(-1, 1), bound=1.5)


def drawing(model: NetDenoiser) -> Pipeline:
    """How the student draws: one evaluation a step, in 1, 2 or 4 steps, at scales from 1 to 6."""
    bind = with_inputs(*STEPS, low=LOWEST, high=HIGHEST)
    return Pipeline(model, (3, SIZE, SIZE), Prompts(TOKENIZER, parse), SCALE, max(STEPS), bind=bind)


@torch.no_grad()
def evaluate(model: NetDenoiser) -> dict[str, Any]:
    """As the teacher's card, in 1, 2 and 4 evaluations at the usual scale; the floor of FD stands there.

    by_scale: the teacher's and the student's shares of prompts satisfied at each scale (see `beside_teacher`).
    """
    n, world, look = teaching.EVAL_SIZE, PICTURES.evaluation, frozen()
    more = pictures(teaching.TWO_SAMPLE_N, SIZE, world)
    others = pictures(teaching.TWO_SAMPLE_N, SIZE, world, start=teaching.TWO_SAMPLE_N).images
    prompts, true = more.captions[:n], more.images[:n]
    there, found = look.features(true), {}
    for steps in STEPS:
        draw = partial(drawing(model).images, steps=steps, seed=1)
        first = draw(prompts, seed=0)  # the noise of the teacher's card
        found[f"evaluations_{steps}"] = {
            "satisfied": teaching.share(teaching.satisfied(prompts, first)["all"]),
            "fd": frechet(look.features(first), there),
            "texture": teaching.textures(first, true, others),
            "two_sample": teaching.two_sample_accuracy(others, draw(more.captions)),
            "short_prompts": teaching.short_prompts(draw),
        }
    parts = {part: {name: said[part] for name, said in found.items()} for part in next(iter(found.values()))}
    by_scale = {f"{scale:g}": beside_teacher(model, prompts, scale) for scale in SCALES}
    return rounded({"scale": SCALE, **parts, "teacher": teacher(), "by_scale": by_scale, "n": n})


def teacher() -> dict[str, Any]:
    """What the teacher's card says of its own pictures."""
    said = cards.card("pictures")["metrics"]
    return {
        "evaluations": 2 * teaching.CALLS,
        "satisfied": said["adherence"]["generated"]["all"],
        **{name: said[name] for name in ("fd", "texture", "two_sample")},
    }


@torch.no_grad()
def beside_teacher(model: NetDenoiser, prompts: Sequence[str], scale: float) -> dict[str, Any]:
    """Prompts satisfied by teacher and student at one scale, from the same prompts and noise.

    drop: the teacher's share minus the student's, with the 95 % interval of the paired difference.
    """
    master = cards.restore(teaching.denoiser(), "pictures")
    taught = teaching.satisfied(prompts, teaching.drawing(master).images(prompts, scale, seed=0))["all"]
    row: dict[str, Any] = {"teacher": teaching.share(taught)}
    for steps in STEPS:
        mine = teaching.satisfied(prompts, drawing(model).images(prompts, scale, seed=0, steps=steps))["all"]
        drop = of_mean(paired(taught, mine))
        row[f"evaluations_{steps}"] = {
            "satisfied": teaching.share(mine),
            "drop": drop.value,
            "interval_95": list(drop.ends),
        }
    return row


RECIPE = Recipe(
    name="pictures_fast",
    about="pictures from a prompt in 1, 2 or 4 evaluations, distilled from `pictures`, 32 x 32",
    data=f"{TRAIN_SIZE:,} pictures of data.pictures, world {PICTURES.training}, {SHORTENED:.0%} of captions shortened",
    steps=sum(STAGES.values()),
    batch=64,
    build=denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "teacher": "pictures, guided DDIM in 16 steps, x0_hat clipped to [-1, 1]",
        "stages": ", ".join(f"{n} steps: {updates} updates" for n, updates in STAGES.items()),
        "target": "two steps of the teacher in one (implied_x0), clamped to [-1.5, 1.5]",
        **SETTINGS,
        "samples": "DDIM in 1, 2 or 4 steps, one evaluation each, x0_hat clipped to [-1, 1]",
        "falls_short": "the goal was the teacher's share of prompts within 0.02, interval and all, at 4 and at 2 "
        "evaluations and at every scale, and its two_sample accuracy; see by_scale",
    },
    pipeline=drawing,
    shipped=True,
)
