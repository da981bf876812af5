"""Nothing is chosen, evaluated or shown on what it was trained on: the seeds of the drawn world, and who uses them."""

import ast
import json
import re
from pathlib import Path

import pytest

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import splits
from cs348k_diffusion.data.pictures.splits import FACES, GUIDANCE, LATENT, PICTURES, READER, README, UPSAMPLERS, Split

ROOT = Path(__file__).parents[2]
MODELS = {
    **dict.fromkeys(("pictures", "pictures_64", "pictures_cascade", "pictures_fast", "pictures_codec"), PICTURES),
    **dict.fromkeys(("upsampler_32", "upsampler_64"), UPSAMPLERS),
    "picture_reader": READER,
}
# Where a number is measured or a picture shown, and all that had seen pictures before that.
MEASURED = {
    "cards of the picture models": (PICTURES.evaluation, (PICTURES, READER)),
    "the guidance scale on those cards": (PICTURES.choosing, (PICTURES, READER)),
    "cards of the upsamplers": (UPSAMPLERS.evaluation, (UPSAMPLERS, READER)),
    "the card of the reader": (READER.evaluation, (READER,)),
    "faces on the card of pictures_64": (FACES.evaluation, (FACES, PICTURES)),
    "the study of codes": (LATENT.evaluation, (LATENT, READER)),
    "the study of guidance": (GUIDANCE, (PICTURES, READER)),
    "README": (README, (PICTURES, READER)),
}
CODE = [
    path
    for folder in ("cs348k_diffusion", "solutions", "tests/recipes")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".ipynb") and re.search(r"\bpictures\(", path.read_text(encoding="utf-8"))
]


def sources(path):
    """The code of a module, of the strings in it that are code (demos), or of a notebook's cells."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    text = path.read_text(encoding="utf-8")
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return [text, *(each for each in strings if isinstance(each, str) and "pictures(" in each and "\n" in each)]


def seeds_in(source):
    """The seeds that stand as numbers in calls of `pictures`."""
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:  # prose
        return
    for call in calls:
        if getattr(call.func, "id", getattr(call.func, "attr", "")) == "pictures":
            given = {k.arg: k.value for k in call.keywords} | dict(zip(("n", "size", "seed"), call.args, strict=False))
            seed = given.get("seed", ast.Constant(0))
            yield from [seed.value] if isinstance(seed, ast.Constant) else []


def test_a_split_has_a_world_for_each_purpose():
    every = {name: each for name, each in vars(splits).items() if isinstance(each, Split)}
    assert len(every) >= 5
    for name, split in every.items():
        assert len(set(split)) == 3, name


@pytest.mark.parametrize("what", MEASURED)
def test_no_part_was_trained_on_what_is_measured(what):
    world, parts = MEASURED[what]
    assert world not in {part.training for part in parts}
    assert world == PICTURES.choosing or world not in {part.choosing for part in parts}


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_cards_name_these_worlds(name):
    worlds = set(map(int, re.findall(r"world (\d+)", recipes.card(name)["data"])))
    assert worlds <= set(MODELS[name]) and MODELS[name].training in worlds


def test_every_recipe_of_pictures_is_listed():
    drawn = {name for name, recipe in recipes.RECIPES.items() if "data.pictures" in recipe.data}
    assert drawn == MODELS.keys()


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_shown_on_what_it_was_trained_on(path):
    text = "\n".join(sources(path))
    used = {split for name, split in MODELS.items() if re.search(rf"\"{name}\"|\b{name}\.frozen|import {name}\b", text)}
    seeds = {seed for source in sources(path) for seed in seeds_in(source)}
    assert seeds & {split.training for split in used} == set(), f"{path.name} draws from a training world"


def test_the_search_finds_seeds():
    found = {path.stem: {seed for source in sources(path) for seed in seeds_in(source)} for path in CODE}
    assert found["08_latent_diffusion"] == {80, 81} and {5, 7, 62, 63} <= found["demos_second_half"]
