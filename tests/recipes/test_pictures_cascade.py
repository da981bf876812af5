"""The shipped cascade draws what it is asked, from 8 to 64 pixels, and as well as its card says."""

import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.cascade import resize
from cs348k_diffusion.metrics.intervals import wilson
from cs348k_diffusion.recipes import pictures, pictures_cascade


@pytest.fixture(scope="module")
def draw():
    return recipes.load_pipeline("pictures_cascade")


def test_the_caption_is_kept_as_often_as_the_card_says(draw):
    prompts = ["a cat", "three trees"] * 12
    fulfilled = pictures.satisfied(prompts, draw.images(prompts, seed=3))["all"]
    shares = [recipes.card("pictures_cascade")["metrics"]["short_prompts"][text]["share"] for text in prompts[:2]]
    interval = wilson(int(fulfilled.sum()), len(prompts))
    assert interval.low - 0.05 <= sum(shares) / 2 <= interval.high + 0.05


def test_each_stage_keeps_what_the_one_before_drew(draw):
    states = list(draw(["a red cat by day"] * 2, seed=1))
    ends = {state.stage: state.x for state in states}
    assert [tuple(x.shape[1:]) for x in ends.values()] == [(3, size, size) for size in (8, 32, 64)]
    assert (resize(ends[1], 8) - ends[0]).square().mean().sqrt() < 0.2  # a little noise was added between
    assert (resize(ends[2], 32) - ends[1]).square().mean().sqrt() < 0.1


def test_the_same_seed_draws_the_same_and_another_does_not(draw):
    one, same, other = (draw.images(["two trees"], seed=seed, steps=4) for seed in (1, 1, 2))
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 0.1


def test_batches_hold_small_pictures_and_every_wording():
    stock = pictures_cascade.batches(6, 6, torch.Generator().manual_seed(0), torch.device("cpu"))
    found = [next(stock) for _ in range(13)]
    assert {tuple(images.shape) for images, _ in found} == {(6, 3, 8, 8)}
    assert len(torch.cat([cond["caption"] for _, cond in found]).unique(dim=0)) > 6  # some of the six in two wordings
