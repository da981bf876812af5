"""The pictures at the top of README.md: what the shipped model draws for the first 120 prompts of a world of their own.

    python -m cs348k_diffusion.authoring.readme_pictures docs/prompted.png

Nothing is chosen: every picture is the first one drawn for its prompt. Prints the prompts, row by row.
"""

import sys
from pathlib import Path

import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.commands.sample import grid
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import README

COLUMNS, ROWS = 15, 8


def main(out: Path) -> None:
    """Draw, and write one PNG."""
    prompts = pictures(COLUMNS * ROWS, 64, README).captions
    drawn = recipes.load_pipeline("pictures_64").images(prompts)
    grid(drawn, COLUMNS).save(out, optimize=True)
    for k in range(0, len(prompts), COLUMNS):
        print(f"row {k // COLUMNS + 1}: {'; '.join(prompts[k : k + COLUMNS])}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
