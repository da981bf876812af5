"""Every word, their mean, or nothing: what must a network hear of a caption?  Several seeds; results on a card.

    python -m cs348k_diffusion.evaluate.studies.text_conditioning

Three ways of conditioning (see `TextUNet`) with the same parameters and updates. Small, and read
without a reader that errs: two groups and their relation come from the drawn world, but a thing is a square of its
colour, in the half of an 8x8 picture where the relation puts it. Kinds are said but not drawn, nothing else is said;
each sentence that judges also stands among the lessons. 600 updates are what "every word" needed in a first trial.
The card is written after every seed, and a second call goes on where the first was stopped; about 7 core-minutes.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor

from cs348k_diffusion.data import batches
from cs348k_diffusion.data.pictures import WORDS, Group, Scene, caption, scene
from cs348k_diffusion.data.pictures.paint import THINGS
from cs348k_diffusion.denoiser import NetDenoiser, clip
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.metrics.intervals import rounded, student_t
from cs348k_diffusion.nets import TextUNet, Tokenizer
from cs348k_diffusion.nets.text_unet import TextConditioning
from cs348k_diffusion.noise import keyed_generator
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, path
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising, fit, warm_cosine

Arms = dict[str, list[dict[str, float]]]  # for each conditioning, its runs, one a seed
ARMS: tuple[TextConditioning, ...] = ("cross", "pooled", "none")
PARTS, TRAIN_SIZE, EVAL_SIZE = ("colour", "count", "relation", "all"), 6_000, 300
SEEDS = {600: 6, 1000: 6}  # updates: how many seeds
SETTINGS = {"batch": 32, "lr": 4e-3, "ema": 0.99, "dropout": 0.1, "scale": 2.0, "calls": 12}
CELLS = 4  # each way; a cell is 2x2 pixels
COLOURS = ("red", "blue", "white")
PAINT = torch.tensor([THINGS[colour] for colour in COLOURS])
HALVES = {"left of": (1, 0), "right of": (1, 1), "above": (0, 0)}  # axis (0 down, 1 across), and the half of the first
TOKENIZER = Tokenizer(WORDS, length=8)


def scenes(n: int, seed: int) -> list[Scene]:
    """The first n scenes of a world with two groups, told apart by colours in COLOURS, and nothing else to say."""
    drawn, index = [], 0
    while len(drawn) < n:
        one = scene(seed, index)
        groups = tuple(group._replace(size="", species=None) for group in one.groups)
        if len({group.colour for group in groups} & set(COLOURS)) == 2:
            drawn.append(Scene(groups, one.relation, None))
        index += 1
    return drawn


def places(group: Group, k: int, relation: str, generator: torch.Generator) -> list[tuple[int, int]]:
    """The cells of group k, a row and a column each: a line from the edge, one of the two in its half."""
    axis, half = HALVES[relation]
    line = int(torch.randint(CELLS // 2, (), generator=generator)) + CELLS // 2 * (half != k)
    return [(line, n) if axis == 0 else (n, line) for n in range(group.count)]


def squares(scenes: list[Scene], seed: int) -> Tensor:
    """Pictures (n, 3, 8, 8) in [-1, 1]: grey, with a square of its colour for each thing."""
    cells = torch.zeros(len(scenes), 3, CELLS, CELLS)
    for i, one in enumerate(scenes):
        generator = keyed_generator(seed, i)
        for k, group in enumerate(one.groups):
            for row, column in places(group, k, one.relation or "", generator):
                cells[i, :, row, column] = PAINT[COLOURS.index(group.colour or "")]
    return cells.repeat_interleave(2, 2).repeat_interleave(2, 3)


def read(image: Tensor) -> dict[str, Tensor]:
    """Colour -> the cells (n, 2) whose nearest colour it is, in one picture; grey cells are left out."""
    cells = image.unflatten(1, (CELLS, 2)).unflatten(3, (CELLS, 2)).mean((2, 4)).flatten(1).T
    nearest = torch.cdist(cells, torch.cat([PAINT, torch.zeros(1, 3)])).argmin(1).view(CELLS, CELLS)
    found = {colour: (nearest == k).nonzero() for k, colour in enumerate(COLOURS)}
    return {colour: where for colour, where in found.items() if len(where)}


def satisfied(prompt: Scene, image: Tensor) -> dict[str, bool]:
    """Whether the picture has the colours asked for and no other, as many of each, and each on its side."""
    seen, (axis, half) = read(image), HALVES[prompt.relation or ""]
    where = [seen.get(group.colour or "", torch.empty(0, 2)) for group in prompt.groups]
    colour = set(seen) == {group.colour for group in prompt.groups}
    count = all(len(cells) == group.count for cells, group in zip(where, prompt.groups, strict=True))
    sides = [(cells[:, axis] >= CELLS // 2) == (half != k) for k, cells in enumerate(where)]
    relation = all(len(side) > 0 and bool(side.all()) for side in sides)
    return {"colour": colour, "count": count, "relation": relation, "all": colour and count and relation}


def shares(prompts: list[Scene], images: Tensor) -> dict[str, float]:
    """How many of the pictures keep each part of their prompts."""
    rows = [satisfied(prompt, image) for prompt, image in zip(prompts, images, strict=True)]
    return {part: sum(row[part] for row in rows) / len(rows) for part in PARTS}


def same_words(one: Scene, index: int) -> Scene:
    """One of the scenes that have the same words in some order, each as likely: colours or groups change places."""
    first, second = one.groups
    swapped = (first._replace(colour=second.colour), second._replace(colour=first.colour))
    every = [one._replace(groups=groups) for pair in (one.groups, swapped) for groups in (pair, pair[::-1])]
    same = [other for other in every if sorted(caption(other).split()) == sorted(caption(one).split())]
    return same[index % len(same)]


@cache
def lessons() -> tuple[Tensor, Tensor]:
    """The pictures to learn from, and their captions as tokens."""
    world = scenes(TRAIN_SIZE, seed=10)
    return squares(world, seed=10), TOKENIZER([caption(one) for one in world])


def network(conditioning: TextConditioning) -> TextUNet:
    """The same size for every conditioning."""
    size = {"width": 32, "mults": (1,), "attention": ("all",), "length": 8, "words_width": 64}
    return TextUNet(len(WORDS), conditioning=conditioning, **size)


def trained(conditioning: TextConditioning, steps: int, seed: int) -> tuple[NetDenoiser, float]:
    """The network after its updates, and its mean loss over the last hundred."""
    torch.manual_seed(seed)
    (images, tokens), generator = lessons(), torch.Generator().manual_seed(seed)
    rows = batches(torch.arange(TRAIN_SIZE), size=SETTINGS["batch"], generator=generator)
    examples = ((images[row], {"caption": tokens[row]}) for row in rows)
    model, loss = NetDenoiser(network(conditioning), cosine(), "x0"), denoising(dropout=SETTINGS["dropout"])
    rate, ema = warm_cosine(SETTINGS["lr"]), SETTINGS["ema"]
    states = list(fit(model, examples, steps, loss, lr=rate, ema=ema, generator=generator))
    average = states[-1].model
    assert isinstance(average, NetDenoiser)
    return average, sum(state.loss for state in states[-100:]) / 100


def drawn(model: NetDenoiser, prompts: list[Scene], seed: int) -> Tensor:
    """A picture for each prompt."""
    tokens = TOKENIZER([caption(one) for one in prompts])
    noise = model.schedule.prior((len(prompts), 3, 8, 8), torch.Generator().manual_seed(seed))
    asked = clip(guide(model.given(caption=tokens), model.given(), SETTINGS["scale"]))
    return last(ddim(asked, noise, path(SETTINGS["calls"]))).x


def run(conditioning: TextConditioning, steps: int, seed: int, prompts: list[Scene]) -> dict[str, float]:
    """One network trained and evaluated: the shares of its pictures that keep each part, its loss and its cost."""
    began = time.process_time()
    model, loss = trained(conditioning, steps, seed)
    found = shares(prompts, drawn(model, prompts, seed))
    return {"seed": seed, **found, "loss": loss, "cpu_seconds": time.process_time() - began}


def over_seeds(values: list[float]) -> dict[str, float | list[float]]:
    """The mean of one value a seed, and its 95 % interval (Student's t)."""
    found = student_t(values)
    return {"mean": found.value, "interval_95": list(found.ends)}


def arms(runs: Arms) -> dict[str, dict]:
    """Every arm over the seeds, part by part."""
    return {arm: {part: over_seeds([one[part] for one in runs[arm]]) for part in PARTS} for arm in ARMS}


def differences(runs: Arms) -> dict[str, dict]:
    """What an arm keeps more than the next one, from the same seeds."""
    return {
        f"{one} - {other}": {
            part: over_seeds([a[part] - b[part] for a, b in zip(runs[one], runs[other], strict=True)]) for part in PARTS
        }
        for one, other in (("cross", "pooled"), ("pooled", "none"))
    }


def marks(prompts: list[Scene]) -> dict[str, dict[str, float]]:
    """True pictures: of the prompt, of the same words in any order, of another prompt."""
    other = {
        "true_pictures": prompts,
        "same_words": [same_words(one, i) for i, one in enumerate(prompts)],
        "other_prompts": prompts[1:] + prompts[:1],
    }
    return {name: shares(prompts, squares(ones, seed=12)) for name, ones in other.items()}


def before(folder: str) -> dict[str, Arms]:
    """The runs of an earlier call with the same settings; none where there is no such card."""
    try:
        card = result("text_conditioning", folder)
    except KeyError:
        card = {}
    none_yet = {str(steps): {arm: [] for arm in ARMS} for steps in SEEDS}
    return none_yet | (card["runs"] if card.get("settings") == SETTINGS else {})


def main(folder: str) -> None:
    """Train and evaluate every arm, seed by seed, and write the card after each seed."""
    prompts, runs = scenes(EVAL_SIZE, seed=11), before(folder)
    for steps, seeds in SEEDS.items():
        for seed in range(len(runs[str(steps)]["none"]), seeds):
            for arm in ARMS:
                runs[str(steps)][arm].append(run(arm, steps, seed, prompts))
                print(arm, steps, rounded(runs[str(steps)][arm][-1]), flush=True)
            write(runs, prompts, folder)


def write(runs: dict[str, Arms], prompts: list[Scene], folder: str) -> None:
    """The card; intervals where there are two seeds or more."""
    several = {steps: of for steps, of in runs.items() if len(of["none"]) > 1}
    card = {
        "name": "text_conditioning",
        "about": "what a network must hear of a caption: every word, their mean, or nothing; 95 % intervals over seeds",
        "command": "python -m cs348k_diffusion.evaluate.studies.text_conditioning",
        "data": f"two groups of coloured squares, 8x8, captioned; {EVAL_SIZE} evaluated, in sentences seen in training",
        "settings": SETTINGS,
        "parameters": sum(p.numel() for p in network("cross").parameters()),
        "cpu_minutes": sum(one["cpu_seconds"] for of in runs.values() for arm in of.values() for one in arm) / 60,
        "torch": torch.__version__,
        "marks": marks(prompts),
        "arms": {steps: arms(of) for steps, of in several.items()},
        "differences": {steps: differences(of) for steps, of in several.items()},
        "runs": runs,
    }
    cards.write_card(rounded(card), folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    from_command_line(main)
