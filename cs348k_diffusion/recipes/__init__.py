"""What was trained, how, and how good it is: recipes, weights that ship with the package, and their cards.

`load("digits")` hands out a trained model, `load_pipeline("digits")` what draws with it, `card("digits")` says how it
was made and what it scores beside real data, `train("digits", "weights/")` makes it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from cs348k_diffusion import __version__
from cs348k_diffusion.checkpoints import Checkpoints, Standing, interruptible
from cs348k_diffusion.nets import AttributeReader, Classifier
from cs348k_diffusion.parallel import share_gradients, team, together
from cs348k_diffusion.pipeline import Pipeline
from cs348k_diffusion.recipes import cards, digits, pictures, pictures_64, pictures_cascade, points
from cs348k_diffusion.recipes.cards import card
from cs348k_diffusion.recipes.classifiers import digits_classifier, digits_noisy_classifier, picture_reader
from cs348k_diffusion.recipes.classifiers.picture_reader import adherence, balanced_accuracy, read_attributes
from cs348k_diffusion.recipes.digits import digit_report
from cs348k_diffusion.recipes.distilled import digits_fast, pictures_fast
from cs348k_diffusion.recipes.recipe import Recipe
from cs348k_diffusion.recipes.stages import pictures_codec, upsamplers
from cs348k_diffusion.running import last
from cs348k_diffusion.training import Fitting, Phases

__all__ = [
    "RECIPES",
    "Recipe",
    "adherence",
    "balanced_accuracy",
    "card",
    "digit_report",
    "features",
    "load",
    "load_pipeline",
    "read_attributes",
    "train",
    "training",
]

_ALL = (
    digits.RECIPE,
    digits_classifier.RECIPE,
    *points.RECIPES,
    digits_noisy_classifier.RECIPE,
    picture_reader.RECIPE,
    pictures.RECIPE,
    *upsamplers.RECIPES,
    digits_fast.RECIPE,
    pictures_fast.RECIPE,
    pictures_codec.RECIPE,
    pictures_64.RECIPE,
    pictures_cascade.RECIPE,
)
RECIPES = {recipe.name: recipe for recipe in _ALL}
CHECKPOINTS = 100  # of a training, evenly spread


def load(name: str) -> nn.Module:
    """The trained model of that name, on the CPU, in eval mode; for "digits" a NetDenoiser.

    Raises KeyError, with the names that exist, for another; ValueError when the weights are damaged.
    """
    recipe = _find(name)
    if not recipe.shipped:
        raise KeyError(f"{name!r} comes without weights, it trains in seconds: train({name!r})")
    return cards.restore(_built(recipe, seed=0), name)


def load_pipeline(name: str) -> Pipeline:
    """What draws with the trained model of that name: `load_pipeline("pictures")(["a red cat by day"], seed=1)`.

    Raises KeyError as `load` does, ValueError, with the names of those that do, for a model that draws no images.
    """
    recipe, model = _find(name), load(name)
    if recipe.pipeline is None:
        drawing = [other.name for other in RECIPES.values() if other.pipeline]
        raise ValueError(f"{name} draws no images; those that do: {', '.join(drawing)}")
    return recipe.pipeline(model)


def features(name: str = "digits") -> Classifier | AttributeReader:
    """The frozen network in whose features samples of `name` are measured: `.features(x)`, and called, logits.

    For "digits" a classifier, for "pictures" the reader of attributes. Raises KeyError when there is none of that name.
    """
    networks = {"digits": digits.classifier, "pictures": picture_reader.frozen}
    if name not in networks:
        raise KeyError(f"there are features for {' and '.join(map(repr, networks))} only, not for {name!r}")
    return networks[name]()


def training(name: str, seed: int = 0, steps: int | None = None, device: str = "cpu") -> Fitting | Phases:
    """The recipe's training as a Run of Progress, to be watched; `.model` of the last is the trained model."""
    recipe = _find(name)
    generator = torch.Generator().manual_seed(seed)
    return recipe.training(_built(recipe, seed).to(device), steps or recipe.steps, recipe.batch, generator)


def train(
    name: str,
    folder: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "cpu",
    restart: bool = False,
    tell: Callable[[Standing], object] = lambda standing: None,
) -> nn.Module:
    """Train the recipe from scratch; with a folder, evaluate the model and write its weights and card there.

    With a folder it can be interrupted: a hundred times on the way it writes a checkpoint there and calls `tell`, and
    called again it goes on from the checkpoint, or begins anew if `restart`. On one CPU the weights are the same as
    without the interruption. Under torchrun the processes share each batch, on one GPU each if `device` is "cuda", and
    the first one calls `tell`, evaluates and writes. Raises KeyError, with the names that exist, for an unknown name,
    and ValueError for a device that is not there and for a checkpoint that is damaged or of another training.
    """
    recipe, began = _find(name), time.process_time()
    check_device(device)
    steps = steps or recipe.steps
    rank, size = team(device)
    model = _built(recipe, seed).to(f"cuda:{rank}" if device == "cuda" and size > 1 else device)
    if size > 1:
        share_gradients(model, size)
    generator = torch.Generator().manual_seed(seed * size + rank)
    run = recipe.training(model, steps, recipe.batch // size, generator)
    if folder is None:
        return _finished(recipe, last(run).model, folder, rank, _made(seed, steps, device, size, began))
    identity = {"recipe": name, "version": __version__, "seed": seed, "steps": steps, "batch": recipe.batch}
    checkpoints = Checkpoints(Path(folder) / f"{name}.checkpoint", identity, rank, size, together)
    if restart:
        checkpoints.clear()
    for standing in interruptible(run, checkpoints, every=max(1, steps // CHECKPOINTS)):
        if rank == 0:
            tell(standing)
    began = time.process_time() - checkpoints.notes()["cpu_seconds"]
    model = _finished(recipe, run.average, folder, rank, _made(seed, steps, device, size, began))
    checkpoints.clear()
    return model


def _made(seed: int, steps: int, device: str, size: int, began: float) -> dict[str, object]:
    minutes = round((time.process_time() - began) / 60, 2)
    return {"seed": seed, "steps": steps, "device": device, "processes": size, "cpu_minutes": minutes}


def _finished(
    recipe: Recipe, model: nn.Module, folder: str | Path | None, rank: int, made: dict[str, object]
) -> nn.Module:
    if folder is not None and rank == 0:
        cards.save(model, {**_described(recipe, model), **made, "metrics": recipe.evaluate(model)}, folder)
    return model


def check_device(device: str) -> None:
    """Raises ValueError, in one sentence, for a device that torch does not know or that this machine does not have."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = device.partition(":")[0]
    if not there.get(kind, False):
        missing = f"this machine has no {kind} device that torch can use" if kind in there else f"no device {device!r}"
        raise ValueError(f"{missing}; there are: {', '.join(name for name, here in there.items() if here)}")


def _find(name: str) -> Recipe:
    if name not in RECIPES:
        raise KeyError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def _built(recipe: Recipe, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # so that loading a model does not move the reader's random numbers
        torch.manual_seed(seed)
        return recipe.build()


def _described(recipe: Recipe, model: nn.Module) -> dict[str, object]:
    return {
        "name": recipe.name,
        "about": recipe.about,
        "data": recipe.data,
        "command": f"cs348k train {recipe.name}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": recipe.batch,
        "settings": recipe.settings,
        "torch": torch.__version__,
    }
