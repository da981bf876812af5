"""What a long training prints on its way, and the contact sheets that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cs348k_diffusion import recipes
from cs348k_diffusion.checkpoints import Standing
from cs348k_diffusion.commands.sample import save_grid

SHEETS = 10  # contact sheets of a training, evenly spread


def reporter(name: str, out: Path, echo: Callable[[str], object]) -> Callable[[Standing], None]:
    """A function that prints where training is, and now and then draws what the model can do into NAME.png."""
    recipe = recipes.RECIPES.get(name)

    def report(standing: Standing) -> None:
        echo(standing.label())
        tenth = -(-standing.steps // SHEETS)
        if recipe and recipe.pipeline and (standing.done % tenth == 0 or standing.done == standing.steps):
            draw = recipe.pipeline(standing.progress.model)
            prompts = list(recipe.preview_prompts) or draw.condition.default(15)
            save_grid(draw.images(prompts, steps=min(10, draw.steps)), out / f"{name}.png")
            echo(f"{out / name}.png: what it draws after {standing.done:,} updates")

    return report
