"""A picture of your own made larger: what is given, bicubic, the mean of what is possible, and some draws of it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from cs348k_diffusion import recipes
from cs348k_diffusion.cascade import Upsampler, bicubic, cascade, diffusion, regression
from cs348k_diffusion.commands.arguments import few_at_once
from cs348k_diffusion.data.folder import read_image
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import path

# how many times larger -> from how many pixels, and by which models, one after the other
STAGES = {2: (32, ("upsampler_64",)), 4: (8, ("upsampler_32",)), 8: (8, ("upsampler_32", "upsampler_64"))}
WARNING = "the model knows only the drawn world of `cs348k pictures`: details of any other picture mean nothing"


def upscaled(picture: Path, times: int, draws: int, steps: int, seed: int) -> Float[Tensor, "n 3 size size"]:
    """The picture as it is given to the model, its enlargement by bicubic and by regression, and `draws` by diffusion.

    The central square of the picture is shrunk to what the first stage takes: 8 pixels for times = 4 and 8, 32 for 2.
    All results have the large size. Raises ValueError for a factor without a stage and for a file that is not a
    picture, FileNotFoundError where there is none.
    """
    if times not in STAGES:
        raise ValueError(f"there is a model for --times {', '.join(map(str, STAGES))}; got {times}")
    if not picture.is_file():
        raise FileNotFoundError(f"there is no picture {picture} (looked from {Path.cwd()})")
    few_at_once(draws)
    size, names = STAGES[times]
    models = [cast(Upsampler, recipes.load(name)) for name in names]
    low, generator = read_image(picture, size)[None], torch.Generator().manual_seed(seed)
    given = low.repeat_interleave(times, -1).repeat_interleave(times, -2)
    mean = last(cascade([regression(model) for model in models], low)).x
    drawing = [diffusion(model, path(steps), generator=generator) for model in models]
    drawn = last(cascade(drawing, low.expand(draws, -1, -1, -1))).x
    return torch.cat([given, last(bicubic(size * times)(low)).x, mean, drawn]).clamp(-1, 1)
