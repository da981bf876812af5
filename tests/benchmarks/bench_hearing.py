"""Every word, their mean, or nothing: what must a network hear of a caption?  Three seeds each; results on a card.

    python tests/benchmarks/bench_hearing.py cs348k_diffusion/recipes/weights

Writes the card "hearing": three ways of hearing (see `TextUNet`), the same parameters and updates. Small, and read
without a reader that errs: scenes and captions are those of the drawn world, but a thing is a square of its colour, in
the half of an 8x8 picture where the relation puts it. Kinds, skies and lights are not drawn.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from cs348k_diffusion.data import batches
from cs348k_diffusion.data.pictures import COLOURS, Scene, caption, parse, scene
from cs348k_diffusion.data.pictures.paint import THINGS
from cs348k_diffusion.denoiser import NetDenoiser, clip
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.nets import TextUNet
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.digits import rounded
from cs348k_diffusion.recipes.pictures import TOKENIZER
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, path
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising, fit, warm_cosine

HEARS, SEEDS, STEPS, BATCH, JUDGED, SCALE = ("cross", "pooled", "none"), (0, 1, 2), 2000, 64, 500, 2.0
T_TWO = 4.303  # the 97.5 % quantile of Student's t with two degrees of freedom: three seeds
CELLS = 4  # each way; a cell is 2x2 pixels
PAINT = torch.stack([THINGS[colour] for colour in COLOURS])
HALVES = {"left of": (1, 0), "right of": (1, 1), "above": (0, 0)}  # axis (0 down, 1 across), and the half of the first


def scenes(n: int, seed: int) -> list[Scene]:
    """The first n scenes of a world whose groups can be told apart by colour."""
    drawn, index = [], 0
    while len(drawn) < n:
        one = scene(seed, index)
        drawn += [one] if len({group.colour for group in one.groups}) == len(one.groups) else []
        index += 1
    return drawn


def places(k: int, relation: str | None, generator: torch.Generator) -> Tensor:
    """The cells where group k may stand, in random order: (n, 2) rows and columns."""
    cells = torch.cartesian_prod(torch.arange(CELLS), torch.arange(CELLS))
    if relation is not None:
        axis, half = HALVES[relation]
        cells = cells[(cells[:, axis] >= CELLS // 2) == (half != k)]
    return cells[torch.randperm(len(cells), generator=generator)]


def squares(scenes: list[Scene], seed: int) -> Tensor:
    """Pictures (n, 3, 8, 8) in [-1, 1]: grey, with a square of its colour for each thing."""
    cells = torch.zeros(len(scenes), 3, CELLS, CELLS)
    for i, one in enumerate(scenes):
        generator = keyed_generator(seed, i)
        for k, group in enumerate(one.groups):
            for row, column in places(k, one.relation, generator)[: group.count].tolist():
                cells[i, :, row, column] = PAINT[COLOURS.index(group.colour or "")]
    return cells.repeat_interleave(2, 2).repeat_interleave(2, 3)


def read(image: Tensor) -> dict[str, Tensor]:
    """Colour -> the cells (n, 2) whose nearest colour it is, in one picture; grey cells are left out."""
    cells = image.unflatten(1, (CELLS, 2)).unflatten(3, (CELLS, 2)).mean((2, 4)).flatten(1).T
    nearest = torch.cdist(cells, torch.cat([PAINT, torch.zeros(1, 3)])).argmin(1).view(CELLS, CELLS)
    found = {colour: (nearest == k).nonzero() for k, colour in enumerate(COLOURS)}
    return {colour: where for colour, where in found.items() if len(where)}


def kept(prompt: Scene, image: Tensor) -> dict[str, float]:
    """1 where the picture does what the prompt asks, 0 where not, nan where it does not ask."""
    seen, nobody = read(image), torch.empty(0, 2)
    colour = float(set(seen) == {group.colour for group in prompt.groups})
    count = float(all(len(seen.get(group.colour or "", nobody)) == group.count for group in prompt.groups))
    relation = float("nan")
    if prompt.relation is not None:
        axis, half = HALVES[prompt.relation]
        sides = [(seen.get(group.colour or "", nobody)[:, axis] >= CELLS / 2) for group in prompt.groups]
        relation = float(all(len(s) and bool((s == (half != k)).all()) for k, s in enumerate(sides)))
    return {"relation": relation, "count": count, "colour": colour, "all": float(colour and count and relation != 0)}


def trained(hears: str, seed: int) -> NetDenoiser:
    """The network after its updates."""
    torch.manual_seed(seed)
    net = TextUNet(len(TOKENIZER.words), width=32, mults=(1, 2), looks=("all", "all"), words_width=64, hears=hears)
    world, generator = scenes(20_000, seed=10), torch.Generator().manual_seed(seed)
    images, tokens = squares(world, seed=10), TOKENIZER([caption(one, 10, i) for i, one in enumerate(world)])
    rows = batches(torch.arange(len(images)), size=BATCH, generator=generator)
    supply = ((images[row], {"caption": tokens[row]}) for row in rows)
    model, loss = NetDenoiser(net, cosine()), denoising(dropout=0.1)
    return last(fit(model, supply, STEPS, loss, lr=warm_cosine(2e-3), ema=0.99, generator=generator)).model


def judged(model: NetDenoiser, prompts: list[str], seed: int) -> dict[str, Tensor]:
    """For each part of a prompt 1, 0 or nan, for each prompt; `chance` with the pictures of other prompts."""
    tokens = TOKENIZER(prompts)
    noise = model.schedule.prior((len(prompts), 3, 8, 8), torch.Generator().manual_seed(seed))
    asked = clip(guide(model.given(caption=tokens), model.given(), SCALE))
    images = last(ddim(asked, noise, path(20))).x
    parts = [kept(parse(prompt), image) for prompt, image in zip(prompts, images, strict=True)]
    return {part: torch.tensor([row[part] for row in parts]) for part in parts[0]}


def main(folder: str) -> None:
    """Train and judge every arm, and write the card."""
    began, world = time.process_time(), scenes(JUDGED, seed=11)
    prompts = [caption(one, 11, i) for i, one in enumerate(world)]
    arms, parameters = {}, set()
    for hears in HEARS:
        runs = []
        for seed in SEEDS:
            model = trained(hears, seed)
            parameters.add(sum(p.numel() for p in model.parameters()))
            runs.append(judged(model, prompts, seed))
            print(hears, seed, {part: round(float(v.nanmean()), 3) for part, v in runs[-1].items()}, flush=True)
        arms[hears] = {part: spread([run[part] for run in runs]) for part in runs[0]}
    drops = {f"{a} - {b}": compared(arms[a], arms[b]) for a, b in (("cross", "pooled"), ("pooled", "none"))}
    (count,) = parameters
    cards.write_card(
        rounded(
            {
                "name": "hearing",
                "about": "what a network must hear of a caption: every word, their mean, or nothing",
                "command": "python tests/benchmarks/bench_hearing.py FOLDER",
                "data": "scenes and captions of data.pictures, drawn as coloured squares, 8x8; 500 other prompts",
                "settings": {"steps": STEPS, "batch": BATCH, "scale": SCALE, "seeds": list(SEEDS), "lr": "2e-3"},
                "parameters": count,
                "cpu_minutes": (time.process_time() - began) / 60,
                "torch": torch.__version__,
                "arms": arms,
                "differences": drops,
                "true_pictures": truth(world, prompts),
            }
        ),
        folder,
    )


def spread(runs: list[Tensor]) -> dict:
    """The share over all seeds, and each seed's."""
    return {"share": float(torch.cat(runs).nanmean()), "by_seed": [float(run.nanmean()) for run in runs]}


def compared(one: dict, other: dict) -> dict:
    """The difference of two arms, part by part, with its 95 % interval over seeds (Student's t)."""
    out = {}
    for part in one:
        gaps = torch.tensor(one[part]["by_seed"]) - torch.tensor(other[part]["by_seed"])
        mean, half = float(gaps.mean()), T_TWO * float(gaps.std()) / len(gaps) ** 0.5
        out[part] = {"mean": mean, "interval_95": [mean - half, mean + half]}
    return out


def truth(world: list[Scene], prompts: list[str]) -> dict[str, float]:
    """What the reading says of true pictures: 1 everywhere, or the reading is wrong."""
    images = squares(world, seed=11)
    parts = [kept(parse(prompt), image) for prompt, image in zip(prompts, images, strict=True)]
    return {part: float(torch.tensor([row[part] for row in parts]).nanmean()) for part in parts[0]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1] if len(sys.argv) > 1 else "trained")
