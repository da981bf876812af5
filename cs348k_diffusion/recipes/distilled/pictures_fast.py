"""A sentence becomes a picture in one, two or four evaluations: the text-to-picture model, distilled.

One student for every guidance scale from 1 to 6 and for three numbers of steps: it is told the scale and its stride.
Teacher of the first stage: the shipped model under guidance in 16 steps, 32 evaluations a picture. Then 8, 4, 2 and 1
steps, each stage taught by the one before; later stages rehearse what earlier ones learned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion.data import batches
from cs348k_diffusion.data.pictures import WORDS, caption, parse, pictures
from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.denoiser import Denoiser, NetDenoiser, clip
from cs348k_diffusion.distill import Teacher, grid_times, guided, progressive_target, truncated_snr
from cs348k_diffusion.metrics import frechet
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.nets import FastTextUNet
from cs348k_diffusion.noise import uniform
from cs348k_diffusion.pipeline import Pipeline, Prompts, with_inputs
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes import pictures as teaching
from cs348k_diffusion.recipes.classifiers.picture_reader import frozen
from cs348k_diffusion.recipes.pictures import ATTENTION, SCALE, SIZE, TOKENIZER, autocast_bf16
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.running import Run
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Cond, Progress, Target, denoising, fit, warm_cosine

STEPS = (1, 2, 4)  # evaluations a picture that the student knows
LOWEST, HIGHEST = 1.0, 6.0  # of the scales
TRAIN_SIZE, SHORTENED = 6_000, 0.25  # pictures drawn for training; the share of captions that lose some of their parts
PEAK, EMA = 1e-3, 0.96
STAGES = {8: 120, 4: 100, 2: 130, 1: 200}  # steps of the student, and updates
REHEARSAL = {
    8: {8: 1.0},
    4: {4: 1.0},
    2: {2: 0.625, 4: 0.375},
    1: {1: 0.53125, 2: 0.25, 4: 0.21875},
}  # shares of a batch


def denoiser() -> NetDenoiser:
    """The untrained student: the teacher's network, told scale and stride too."""
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


def captioned_batches(
    batch: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Batches of (pictures, {"caption": ..., "scale": ...}) for ever; the scale is uniform in [1, 6]."""
    world = pictures(TRAIN_SIZE, SIZE, teaching.TRAINING_WORLD)
    images, whole = world.images.add(1).mul(127.5).round().byte(), TOKENIZER(world.captions)
    short = TOKENIZER([shortened(text, k) for k, text in enumerate(world.captions)])
    for rows in batches(torch.arange(TRAIN_SIZE), size=batch, generator=generator):
        cut = uniform(batch, generator) < SHORTENED
        scale = LOWEST + (HIGHEST - LOWEST) * uniform(batch, generator)
        tokens = torch.where(cut[:, None], short[rows], whole[rows])
        yield images[rows].to(device).float() / 127.5 - 1, {"caption": tokens.to(device), "scale": scale.to(device)}


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Run[Progress]:
    """From the shipped teacher's weights through all stages, whose updates are shares of `steps`."""
    return Run(_stages(model, steps, batch, generator), f"distilling, {steps} steps")


def _stages(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Iterator[Progress]:
    device = next(model.parameters()).device
    master = _teacher().to(device)
    model.net.load_state_dict(master.net.state_dict(), strict=False)
    stock, teachers, done = captioned_batches(batch, generator, device), {8: _clipped(guided(master))}, 0
    for n, updates in _shared(steps).items():
        rows = _rows(REHEARSAL[n], batch)
        loss = denoising(_lesson(teachers, rows), truncated_snr, times=_times(rows))
        lessons = _with_strides(stock, rows, device)
        progress = None
        for progress in fit(
            model, lessons, updates, autocast_bf16(loss, device), lr=warm_cosine(PEAK), ema=EMA, generator=generator
        ):
            yield progress._replace(step=done + progress.step)
        assert progress is not None
        done += updates
        model.load_state_dict(progress.model.state_dict())
        teachers[n // 2] = _striding(copy.deepcopy(model).eval(), 1 / n)


def _teacher() -> NetDenoiser:
    return cards.restore(teaching.denoiser(), "pictures")


def _shared(steps: int) -> dict[int, int]:
    """`steps` updates shared among the stages as STAGES shares its own, at least one each."""
    whole = sum(STAGES.values())
    return {n: max(1, round(steps * updates / whole)) for n, updates in STAGES.items()}


def _rows(shares: Mapping[int, float], batch: int) -> dict[int, int]:
    """How many examples of a batch learn each number of steps; the first takes what rounding leaves."""
    rows = {n: round(share * batch) for n, share in shares.items()}
    first = next(iter(rows))
    return {**rows, first: batch - sum(rows.values()) + rows[first]}


def _clipped(teacher: Teacher) -> Teacher:
    """The teacher without the stride, which it does not know, its guesses clipped to the range of pictures."""
    return lambda cond: clip(teacher({name: value for name, value in cond.items() if name != "stride"}), -1, 1)


def _striding(student: NetDenoiser, stride: float) -> Teacher:
    """A student of an earlier stage as the teacher of the next: it takes steps of `stride`."""

    def teacher(cond: Cond) -> Denoiser:
        return student.given(**{**cond, "stride": torch.full_like(cond["stride"], stride)})

    return teacher


def _lesson(teachers: Mapping[int, Teacher], rows: Mapping[int, int]) -> Target:
    """The targets of a batch whose first rows[n] examples learn n steps, the next another number, and so on."""

    def target(x0: Tensor, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        parts, start = [], 0
        for n, count in rows.items():
            here = slice(start, start + count)
            own = {name: value[here] for name, value in cond.items()}
            parts.append(progressive_target(teachers[n], 1 / n)(x0[here], x_t[here], t[here], own))
            start += count
        return torch.cat(parts).clamp(-1.5, 1.5)

    return target


def _times(rows: Mapping[int, int]):
    def times(n: int, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
        return torch.cat([grid_times(steps)(count, generator) for steps, count in rows.items()])

    return times


def _with_strides(
    stock: Iterator[tuple[Tensor, dict[str, Tensor]]], rows: Mapping[int, int], device: torch.device
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    strides = torch.cat([torch.full((count,), 1 / n) for n, count in rows.items()]).to(device)
    for images, cond in stock:
        yield images, {**cond, "stride": strides}


def drawing(model: NetDenoiser) -> Pipeline:
    """How the student draws: one evaluation a step, in 1, 2 or 4 steps, at scales from 1 to 6."""
    bind = with_inputs(*STEPS, low=LOWEST, high=HIGHEST)
    return Pipeline(model, (3, SIZE, SIZE), Prompts(TOKENIZER, parse), SCALE, 2, bind=bind)


@torch.no_grad()
def evaluate(model: NetDenoiser) -> dict[str, Any]:
    """Prompts kept, and FD, in 1, 2 and 4 evaluations at the usual scale; their floors stand on the teacher's card."""
    true, look = pictures(teaching.EVALUATED, SIZE, teaching.EVALUATION_WORLD), frozen()
    drawn = {f"evaluations_{n}": drawing(model).images(true.captions, steps=n) for n in STEPS}
    satisfied = {
        name: teaching.share(teaching.satisfied(true.captions, images)["all"]) for name, images in drawn.items()
    }
    there = look.features(true.images)
    fd = {name: frechet(look.features(images), there) for name, images in drawn.items()}
    return rounded({"scale": SCALE, "kept": satisfied, "fd": fd, "n": teaching.EVALUATED})


RECIPE = Recipe(
    name="pictures_fast",
    about="pictures from a prompt in 1, 2 or 4 evaluations, distilled from `pictures`, 32 x 32",
    data=f"{TRAIN_SIZE:,} pictures of data.pictures, world {teaching.TRAINING_WORLD}, "
    f"{SHORTENED:.0%} of captions shortened",
    steps=sum(STAGES.values()),
    batch=64,
    build=denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "teacher": "pictures, guided DDIM in 16 steps, x0_hat clipped to [-1, 1]",
        "stages": ", ".join(f"{n} steps: {updates} updates" for n, updates in STAGES.items()),
        "rehearsal": "shares of a batch by steps, in the last two stages: 2: 5/8, 4: 3/8; 1: 17/32, 2: 1/4, 4: 7/32",
        "target": "two steps of the teacher in one (implied_x0), clamped to [-1.5, 1.5]",
        "weight": "clamp(SNR, 1, 25) in x0-space",
        "scale": f"uniform in [{LOWEST:g}, {HIGHEST:g}], a condition of the student",
        "lr": f"warm_cosine({PEAK:g}) in each stage",
        "ema": EMA,
        "samples": "DDIM in 1, 2 or 4 steps, one evaluation each, x0_hat clipped to [-1, 1]",
    },
    pipeline=drawing,
    shipped=True,
)
