"""From a caption to a picture: the modern U-Net on the drawn world, and how well it does what it is asked.

Adherence is read off generated pictures by the frozen reader of attributes, for prompts drawn anew that chose no
guidance scale (the grammar is small: about a third of the sentences also stood under a training picture). Beside it
stand what the reader says of true pictures of the same prompts (it errs too), and of other prompts' (chance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import count
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs348k_diffusion.cascade import resize
from cs348k_diffusion.data import Batches
from cs348k_diffusion.data.images import from_bytes, to_bytes
from cs348k_diffusion.data.pictures import LONGEST, WORDS, Pictures, Scene, caption, parse, pictures, scene
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.metrics import frechet, texture_distance, two_sample_test
from cs348k_diffusion.metrics.intervals import Interval, newcombe, rounded, wilson
from cs348k_diffusion.nets import TextUNet, Tokenizer
from cs348k_diffusion.pipeline import Pipeline, Prompts
from cs348k_diffusion.recipes.classifiers.picture_reader import adherence, frozen, read_attributes
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import (
    Batch,
    Fitting,
    Phases,
    denoising,
    fit,
    uniform_times,
    warm_cosine,
)

TRAIN_SIZE, CHOOSING_SIZE, EVAL_SIZE, HELD_OUT_SIZE = 60_000, 200, 500, 300  # pictures; the others are prompts
SCALES = (1.0, 2.0, 3.0, 5.0, 8.0)
SIZE, CALLS, SCALE = 32, 20, 3.0
# from the largest size to the smallest; self-attention counts and places things, the caption says which
ATTENTION = ("", "all", "all")
PEAK, EMA = 2e-3, 0.999
WORDINGS = (0, 1, 2)  # of each training caption, in the second phase; in the first its own, which names all colours
FIRST, SECOND, LATER_PEAK = 24_000, 3_000, 1e-3  # updates of the two phases, and the second one's learning rate
TOKENIZER = Tokenizer(WORDS, LONGEST)
SHORT_PROMPTS = ("a cat", "two cats", "three cats", "a tree", "two trees", "three trees", "a house", "two houses")
DRAWS_EACH = 32  # pictures of each short prompt
LENGTHS = {"2": 2, "3 to 4": 4, "5 to 6": 6, "7 to 9": 9, "10 to 12": 12, "13 and more": LONGEST}  # most words
WRITTEN_EACH = 100  # prompts of each length
TWO_SAMPLE_N = 4_000  # pictures of each kind for the two-sample test, half of them unseen
LONG_PROMPT = "two orange cats left of a tall red tree at night"
PREVIEW_PROMPTS = ("a cat", "two cats", "three trees", "a house", LONG_PROMPT) * 3


def denoiser() -> NetDenoiser:
    """The untrained model: a U-Net of 2.5 million parameters that reads captions and predicts v."""
    return NetDenoiser(TextUNet(len(WORDS), attention=ATTENTION, length=TOKENIZER.length), cosine(), predict="v")


@lru_cache(1)
def training_pictures(n: int) -> tuple[Tensor, Tensor]:
    """The training world's first n pictures, as bytes, and the tokens of their captions in every wording."""
    made = pictures(n, SIZE, PICTURES.training)
    return to_bytes(made.images), caption_tokens(made.scenes, WORDINGS)


def batches(
    n: int, batch: int, generator: torch.Generator, device: torch.device, wordings: int = len(WORDINGS)
) -> Batches:
    """Batches of (pictures, {"caption": tokens}) for ever, from n pictures drawn once, not before the first batch.

    wordings: of each picture's captions, its own first; which of them a batch gets is drawn each time.
    """

    def look_up(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        images, tokens = training_pictures(n)
        which = choose_wordings(len(rows), wordings, generator)
        return from_bytes(images[rows].to(device)), {"caption": tokens[which, rows].to(device)}

    return Batches(n, batch, look_up, generator)


def caption_tokens(scenes: Sequence[Scene], wordings: Sequence[int]) -> Int[Tensor, "wordings n m"]:
    """The tokens of each wording of the captions of the training world's first pictures."""
    captions = [[caption(each, PICTURES.training, i, wording) for i, each in enumerate(scenes)] for wording in wordings]
    return torch.stack([TOKENIZER(each) for each in captions])


def choose_wordings(n: int, wordings: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Which wording each of n captions gets: all are equally likely; nothing is drawn where there is but one."""
    return torch.randint(wordings, (n,), generator=generator) if wordings > 1 else torch.zeros(n, dtype=torch.long)


def training(model: NetDenoiser, steps: int, batch: int, generator: torch.Generator) -> Phases:
    """Train on captioned pictures, 10 % of them without their caption; then on captions as people write them too."""
    device = next(model.parameters()).device
    n = min(TRAIN_SIZE, steps * batch)
    loss = autocast_bf16(denoising(dropout=0.1, times=noisy_times), device)

    def phase(updates: int, wordings: int, peak: float) -> tuple[int, Callable[[NetDenoiser], Fitting]]:
        def begin(model: NetDenoiser) -> Fitting:
            stock = batches(n, batch, generator, device, wordings)
            return fit(model, stock, updates, loss, lr=warm_cosine(peak), ema=EMA, generator=generator)

        return updates, begin

    first = -(-steps * FIRST // (FIRST + SECOND))
    return Phases(model, [phase(first, 1, PEAK), phase(steps - first, len(WORDINGS), LATER_PEAK)])


def noisy_times(n: int, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
    """n times with density 1.5 sqrt(t): what is drawn, and how often, is decided where there is much noise."""
    return uniform_times(n, generator) ** (2 / 3)


def autocast_bf16(loss: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """The same loss with products in bfloat16 where the device has them (a quarter less time); weights stay float32."""
    abilities = getattr(torch.cpu, "get_capabilities", dict)()
    has = device.type == "cuda" or bool(abilities.get("avx512_bf16"))

    def autocast_bf16(model: nn.Module, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=has):
            return loss(model, batch, generator)

    return autocast_bf16


def drawing(model: NetDenoiser) -> Pipeline:
    """How the model draws: DDIM under guidance, x0_hat clipped to [-1, 1], two evaluations a step."""
    return Pipeline(model, (3, SIZE, SIZE), Prompts(TOKENIZER, parse), SCALE, CALLS)


# ---- how well --------------------------------------------------------------------------------------------------------


def satisfied(prompts: Sequence[str], images: Float[Tensor, "n 3 size size"]) -> dict[str, Tensor]:
    """For each part of a prompt (object, colour, count, relation, sky, ...): 1 where the reader finds it, else 0.

    nan where the prompt does not ask for it; "all" is everything that it asks for. Larger pictures are shrunk to the
    reader's 32 pixels.
    """
    if images.shape[-1] != 32:
        images = resize(images.clamp(-1, 1), 32).clamp(-1, 1)
    return adherence([parse(prompt) for prompt in prompts], read_attributes(frozen(), images))


def captioned(n: int) -> str:
    """The line of a card about n pictures with captions in all wordings, and the worlds of choice and evaluation."""
    return (
        f"{n:,} pictures of data.pictures with captions in {len(WORDINGS)} wordings, world {PICTURES.training}; "
        f"scale chosen in world {PICTURES.choosing}, evaluated in world {PICTURES.evaluation}; "
        "pairs in HELD_OUT never trained"
    )


def share(values: Float[Tensor, " n"]) -> dict[str, Any]:
    """The share of ones among the values that are not nan, with its 95 % interval (Wilson) and its n."""
    asked = values[~values.isnan()]
    if not len(asked):
        return {"share": float("nan"), "interval_95": [0.0, 1.0], "n": 0}
    hits = int(asked.sum())
    return {"share": hits / len(asked), "interval_95": list(wilson(hits, len(asked)).ends), "n": len(asked)}


def choose_scale(
    draw: Callable[[Sequence[str], float], Tensor],
    scales: Sequence[float] = SCALES,
    satisfied: Callable[[Sequence[str], Tensor], dict[str, Tensor]] = satisfied,
    n: int = CHOOSING_SIZE,
) -> dict[str, float]:
    """For each scale the share of prompts that are fully satisfied, on n prompts used for nothing else.

    draw(prompts, scale): their pictures.
    """
    prompts = pictures(n, SIZE, PICTURES.choosing).captions
    return {f"{scale:g}": float(satisfied(prompts, draw(prompts, scale))["all"].mean()) for scale in scales}


def short_prompts(
    draw: Callable[[Sequence[str]], Tensor], satisfied: Callable[[Sequence[str], Tensor], dict[str, Tensor]] = satisfied
) -> dict[str, Any]:
    """For each of the shortest prompts the share of its pictures that show what it asks for; draw(prompts): those."""
    return {text: share(satisfied([text] * DRAWS_EACH, draw([text] * DRAWS_EACH))["all"]) for text in SHORT_PROMPTS}


def written_prompts(each: int = WRITTEN_EACH) -> list[str]:
    """Prompts as people write them, `each` of every length in `LENGTHS`, from the shortest.

    They are the first captions of those lengths in the evaluation world, in the wording that leaves colours out too.
    """
    found: dict[str, list[str]] = {length: [] for length in LENGTHS}
    world = PICTURES.evaluation
    for index in count():
        text = caption(scene(world, index), world, index, WORDINGS[1])
        alike = found[length_of(text)]
        if len(alike) < each:
            alike.append(text)
        elif all(len(texts) == each for texts in found.values()):
            break
    return [text for texts in found.values() for text in texts]


def length_of(prompt: str) -> str:
    """The name in `LENGTHS` of a prompt's number of words."""
    return next(name for name, most in LENGTHS.items() if len(prompt.split()) <= most)


def as_written(
    draw: Callable[[Sequence[str]], Tensor],
    satisfied: Callable[[Sequence[str], Tensor], dict[str, Tensor]] = satisfied,
    each: int = WRITTEN_EACH,
) -> dict[str, dict[str, Any]]:
    """The share of `written_prompts` that are fully satisfied, by words, groups, and what they say or leave out.

    The parts overlap: prompts without a colour are short, too. No reader reads sizes; a prompt that says one is
    satisfied by what else it asks for.
    """
    prompts = written_prompts(each)
    asked, kept = [parse(text) for text in prompts], satisfied(prompts, draw(prompts))["all"]

    def shares(names: Sequence[str]) -> dict[str, Any]:
        return {one: share(kept[[name == one for name in names]]) for one in dict.fromkeys(names)}

    said = {
        "colour": [any(group.colour for group in prompt.groups) for prompt in asked],
        "size": [any(group.size for group in prompt.groups) for prompt in asked],
        "sky": [prompt.sky is not None for prompt in asked],
    }
    return {
        "words": shares([length_of(text) for text in prompts]),
        "groups": shares(["two" if prompt.relation else "one" for prompt in asked]),
        **{part: shares(["said" if has else "left out" for has in rows]) for part, rows in said.items()},
    }


def two_sample_accuracy(true: Float[Tensor, "n 3 h w"], drawn: Float[Tensor, "n 3 h w"]) -> dict[str, Any]:
    """How often a network trained on half of them tells which of the others are drawn; the prompts are not the same."""
    with torch.enable_grad():
        test = two_sample_test(true, drawn.clamp(-1, 1))
    return {
        "accuracy": test.accuracy.value,
        "interval_95": list(test.accuracy.ends),
        "n": (len(true) + len(drawn)) // 2,
    }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """before - after, two shares, with the 95 % interval of their difference (Newcombe)."""
    one, other = (Interval(each["share"], *each["interval_95"]) for each in (before, after))
    drop = newcombe(one, other)
    return {"drop": drop.value, "interval_95": list(drop.ends)}


def evaluate(model: NetDenoiser) -> dict[str, Any]:
    """Adherence beside true pictures and chance, on unseen pairs, of short prompts; FD; two-sample. For the card."""
    by_scale = choose_scale(drawing(model).images)
    scale = float(max(by_scale, key=lambda name: by_scale[name]))
    draw, more = partial(drawing(model).images, scale=scale, seed=1), pictures(TWO_SAMPLE_N, SIZE, PICTURES.evaluation)
    others = pictures(TWO_SAMPLE_N, SIZE, PICTURES.evaluation, start=TWO_SAMPLE_N).images
    true = pictures(EVAL_SIZE, SIZE, PICTURES.evaluation)
    unseen = pictures(HELD_OUT_SIZE, SIZE, PICTURES.evaluation, held_out=True)
    drawn, odd = (drawing(model).images(each.captions, scale) for each in (true, unseen))
    asked = {
        "generated": satisfied(true.captions, drawn),
        "true_pictures": satisfied(true.captions, true.images),
        "chance": satisfied(true.captions, drawn.roll(1, 0)),
        "held_out_pairs": satisfied(unseen.captions, odd),
        "held_out_true_pictures": satisfied(unseen.captions, unseen.images),
    }
    shares = {who: {part: share(values) for part, values in parts.items()} for who, parts in asked.items()}
    drops = {part: difference(shares["generated"][part], shares["held_out_pairs"][part]) for part in ("colour", "all")}
    chosen = {"scale": scale, "satisfied_by_scale": by_scale}
    return rounded(
        {
            **chosen,
            "adherence": shares,
            "drop_on_held_out_pairs": drops,
            "short_prompts": short_prompts(draw),
            "as_written": as_written(draw),
            "fd": distance(drawn, true),
            "texture": textures(drawn, true.images, others),
            "two_sample": two_sample_accuracy(others, draw(more.captions)),
        }
    )


def textures(drawn: Tensor, true: Tensor, others: Tensor) -> dict[str, Any]:
    """How far the textures of drawn pictures are from true ones, beside as many true pictures of other prompts."""
    n = len(drawn)
    return {
        "distance": texture_distance(drawn.clamp(-1, 1), true),
        "floor": texture_distance(others[:n], true),
        "n": n,
    }


def distance(drawn: Tensor, true: Pictures, floors: int = 5) -> dict[str, Any]:
    """FD of drawn pictures to true ones of the same prompts, beside that of true pictures of other prompts."""
    reader, n = frozen(), len(drawn)
    others = pictures(floors * n, SIZE, PICTURES.evaluation, start=n).images
    with torch.no_grad():
        here, there, rest = (reader.features(images) for images in (drawn, true.images, others))
    floor = [frechet(there, part) for part in rest.split(n)]
    return {"generated": frechet(here, there), "floor": sum(floor) / floors, "largest_floor": max(floor), "n": n}


RECIPE = Recipe(
    name="pictures",
    about="pictures of trees, cats and houses from a prompt, 32 x 32",
    data=f"{TRAIN_SIZE:,} pictures of data.pictures with captions, world {PICTURES.training}, in the second phase in "
    f"{len(WORDINGS)} wordings; scale chosen in world {PICTURES.choosing}, evaluated in world {PICTURES.evaluation}; "
    "pairs in HELD_OUT never trained",
    steps=FIRST + SECOND,
    batch=64,
    build=denoiser,
    training=training,
    evaluate=evaluate,
    settings={
        "net": 'TextUNet(40, width=32, mults=(1, 2, 4), attention=("", "all", "all"))',
        "schedule": "cosine",
        "predict": "v",
        "dropout": 0.1,
        "times": "uniform ** (2 / 3)",
        "captions": f"{FIRST:,} updates with the pictures' own, then {SECOND:,} with {len(WORDINGS)} wordings of them",
        "lr": f"warm_cosine({PEAK:g}), then warm_cosine({LATER_PEAK:g})",
        "products": "bfloat16 where the processor has it",
        "ema": EMA,
        "samples": f"DDIM, {CALLS} steps, guidance, x0_hat clipped to [-1, 1]",
    },
    pipeline=drawing,
    preview_prompts=PREVIEW_PROMPTS,
    shipped=True,
)
