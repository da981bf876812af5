"""The shipped 64-pixel model draws what it is asked, in codes, and its card says what it does not do."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import recipes
from cs348k_diffusion.metrics.intervals import wilson
from cs348k_diffusion.recipes import pictures, pictures_64
from cs348k_diffusion.recipes.classifiers import faces
from cs348k_diffusion.running import last


@pytest.fixture(scope="module")
def draw():
    return recipes.load_pipeline("pictures_64")


def test_a_prompt_without_a_colour_is_drawn(draw):
    """ "a cat" beside the card: 16 pictures of the shortest prompts miss its share by no more than chance allows."""
    prompts = ["a cat", "three trees"] * 8
    kept = pictures.satisfied(prompts, draw.images(prompts, seed=3))["all"]
    shares = [recipes.card("pictures_64")["metrics"]["short_prompts"][text]["share"] for text in prompts[:2]]
    assert wilson(int(kept.sum()), 16).high >= sum(shares) / 2 - 0.05


def test_it_walks_in_codes_and_decodes_what_is_shown(draw):
    states = list(draw(["a red cat by day"], seed=1, steps=3))
    assert [tuple(state.x.shape) for state in states] == [(1, 3, 64, 64)] * len(states)
    assert_close(draw.images(["a red cat by day"], seed=1, steps=3), states[-1].x)
    assert draw.codec is not None
    assert draw.codec.shape(draw.shape) == pictures_64.CODE


def test_batches_hold_codes_and_every_wording():
    stock = pictures_64.batches(6, 6, torch.Generator().manual_seed(0), torch.device("cpu"))
    codes, cond = next(stock)
    assert codes.shape == (6, *pictures_64.CODE)
    assert codes.dtype == torch.float32
    more = torch.cat([next(stock)[1]["caption"] for _ in range(12)] + [cond["caption"]])
    assert len(more.unique(dim=0)) > 6  # of six pictures: some of them in two wordings or three


def test_the_reader_of_faces_can_tell():
    """From the card: whole faces on true cats, none on cats without eyes; below them what the model draws."""
    seen = recipes.card("pictures_64")["metrics"]["faces"]
    assert seen["true_pictures"]["interval_95"][0] > 0.9
    assert seen["true_without_eyes"]["interval_95"][1] < 0.1
    assert seen["true_without_eyes_and_ears"]["interval_95"][1] < 0.1
    assert seen["true_without_ears"]["interval_95"][1] < 0.4


def test_prompts_for_faces_are_of_one_big_cat_that_was_trained():
    prompts = faces.face_prompts(25)
    assert len(prompts) == 25
    assert all(text.startswith("a big ") and " cat " in text and "blue" not in text for text in prompts)
    assert last(pictures_64.drawing(pictures_64.denoiser())(prompts[:2], steps=1)).x.shape == (2, 3, 64, 64)
