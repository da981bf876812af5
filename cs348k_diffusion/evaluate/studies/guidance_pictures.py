"""How much should a prompt count?  Prompts satisfied, diversity and FD against the guidance scale, on a card.

    python -m cs348k_diffusion.evaluate.studies.guidance_pictures

Recomputes `evaluate.result("guidance_pictures")`, read by notebook 07: about 5 core-minutes. Every scale starts
from the same noise and spends 40 evaluations a picture: 20 steps of two under guidance, 40 of one at scales 0 and 1,
which need only one of the two guesses. Diversity at each scale is also compared with that at scale 1, prompt by prompt.
"""

import time

import torch
from torch import Tensor

from cs348k_diffusion import clip, ddim, keyed_generator, last, path, recipes
from cs348k_diffusion.data.pictures import complete, draw_scenes, parse, pictures
from cs348k_diffusion.data.pictures.splits import GUIDANCE
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.metrics import frechet
from cs348k_diffusion.metrics.intervals import Interval, jackknife, rounded, student_t
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes.classifiers.picture_reader import frozen
from cs348k_diffusion.recipes.pictures import TOKENIZER, satisfied, share

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
EVAL_SIZE, EVALUATIONS, GROUPS = 500, 40, 20  # prompts; evaluations a picture; groups of the jackknife
DRAWN_OFTEN, DRAWS = 100, 4  # prompts that are drawn more often, and how often


def drawn(model, prompts: list[str], scale: float, noise: Tensor) -> Tensor:
    """One picture for each prompt, fifty at a time."""
    tokens, images = TOKENIZER(prompts), []
    for rows in torch.arange(len(prompts)).split(50):
        told, free = model.given(caption=tokens[rows]), model.given()
        asked = {0.0: free, 1.0: told}.get(scale) or guide(told, free, scale)
        steps = EVALUATIONS if scale in (0.0, 1.0) else EVALUATIONS // 2
        images.append(last(ddim(clip(asked), noise[rows], path(steps))).x)
    return torch.cat(images)


def spread(images: Tensor) -> Tensor:
    """For each prompt the mean distance, in pixel values, between two of its pictures: (prompts,)."""
    groups = images.view(DRAWN_OFTEN, DRAWS, -1)
    return torch.stack([torch.pdist(group).mean() for group in groups])


def gains(spreads: dict[float, Tensor]) -> dict[str, dict]:
    """What each scale adds to the distance of two pictures at scale 1, by its name: paired, prompt by prompt."""
    return {f"{scale:g}": described(student_t(each - spreads[1.0])) for scale, each in spreads.items() if scale != 1}


def described(found: Interval) -> dict:
    """An interval as the card holds it."""
    return {"value": found.value, "interval_95": list(found.ends)}


@torch.no_grad()
def main(folder: str) -> None:
    """Draw, evaluate and write the card."""
    began, model, reader = time.process_time(), recipes.load("pictures"), frozen()
    true = pictures(EVAL_SIZE, 32, GUIDANCE)
    often = [prompt for prompt in true.captions[:DRAWN_OFTEN] for _ in range(DRAWS)]
    there = reader.features(true.images)
    noise = torch.randn(EVAL_SIZE + len(often), 3, 32, 32, generator=keyed_generator(GUIDANCE, 1))
    runs, spreads = [], {}
    for scale in SCALES:
        images = drawn(model, [*true.captions, *often], scale, noise)
        here, spreads[scale] = reader.features(images[:EVAL_SIZE]), spread(images[EVAL_SIZE:])
        runs.append(
            {
                "scale": scale,
                "satisfied": share(satisfied(true.captions, images[:EVAL_SIZE])["all"]),
                "fd": described(jackknife(lambda rows, here=here: frechet(here[rows], there[rows]), EVAL_SIZE, GROUPS)),
                "diversity": described(student_t(spreads[scale])),
            }
        )
        print(rounded(runs[-1]), flush=True)
    others = reader.features(pictures(5 * EVAL_SIZE, 32, GUIDANCE, start=EVAL_SIZE).images).split(EVAL_SIZE)
    scenes = [complete(parse(prompt), GUIDANCE, k) for k, prompt in enumerate(often)]
    card = {
        "name": "guidance_pictures",
        "about": "prompts fully satisfied, FD and diversity of prompted pictures against the guidance scale",
        "command": "python -m cs348k_diffusion.evaluate.studies.guidance_pictures",
        "data": f"{EVAL_SIZE} prompts of world {GUIDANCE}; diversity: {DRAWN_OFTEN} of them, {DRAWS} pictures each",
        "weights": recipes.card("pictures")["sha256"],
        "settings": {"evaluations": EVALUATIONS, "sampler": "DDIM, x0_hat clipped to [-1, 1]"},
        "cpu_minutes": (time.process_time() - began) / 60,
        "torch": torch.__version__,
        "floor": sorted(frechet(there, other) for other in others),
        "true_diversity": described(student_t(spread(draw_scenes(scenes, 32, GUIDANCE)))),
        "diversity_minus_scale_1": gains(spreads),
        "runs": runs,
    }
    cards.write_card(rounded(card), folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    from_command_line(main)
