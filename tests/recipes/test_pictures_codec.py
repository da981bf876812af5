"""The shipped codec is what its card says, and keeps what a mean error does not see."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import complete, draw_scenes, parse, pictures
from cs348k_diffusion.data.pictures.splits import PICTURES
from cs348k_diffusion.latent import Codec
from cs348k_diffusion.metrics import psnr
from cs348k_diffusion.metrics.intervals import wilson
from cs348k_diffusion.recipes.stages import pictures_codec
from cs348k_diffusion.training import Phases


@pytest.fixture(scope="module")
def codec():
    return recipes.load("pictures_codec")


def test_it_is_a_codec_of_twelve_times_fewer_numbers(codec):
    assert isinstance(codec, Codec)
    assert codec.shape((3, 64, 64)) == (4, 16, 16)


def test_reconstructions_are_as_near_as_the_card_says(codec):
    """48 pictures beside the card's 500: within four of their standard errors."""
    x = pictures(48, 64, PICTURES.evaluation).images
    error = psnr(pictures_codec.round_trip(codec, x), x)
    assert abs(error.mean() - recipes.card("pictures_codec")["metrics"]["psnr"]["mean"]) < 4 * error.std() / 48**0.5


def test_codes_are_standardised(codec):
    with torch.no_grad():
        z = codec.encode(pictures(64, 64, PICTURES.evaluation).images)
    assert_close(z.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=0.1)
    assert_close(z.std((0, 2, 3)), torch.ones(4), rtol=0, atol=0.1)


def test_eyes_survive(codec):
    """Where a cat with eyes and the same cat without differ, their reconstructions differ at least half as much."""
    scenes = [complete(parse("a big orange cat by day"), 6, k) for k in range(24)]
    seeing, blind = draw_scenes(scenes, 64, 6), draw_scenes(scenes, 64, 6, lacks=["eyes"])
    there = (seeing - blind).abs().amax(1, keepdim=True).gt(0.3).expand_as(seeing)
    made = pictures_codec.round_trip(codec, seeing) - pictures_codec.round_trip(codec, blind)
    assert there.any()
    assert made[there].mean() < 0.5 * (seeing - blind)[there].mean() < 0  # eyes are dark


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_a_share_on_a_card_has_the_interval_of_its_number(name):
    """Wilson's interval of value and n, wherever a card has a share or an accuracy with an interval."""

    def shares(part):
        if isinstance(part, dict):
            if {"interval_95", "n"} <= part.keys() and (value := part.get("share", part.get("accuracy"))) is not None:
                yield value, part["n"], part["interval_95"]
            for each in part.values():
                yield from shares(each)

    for value, n, ends in shares(recipes.card(name)["metrics"] if recipes.RECIPES[name].shipped else {}):
        assert wilson(round(value * n), n).ends == pytest.approx(ends, abs=2e-3), (value, n)


def test_the_worst_pixels_count_in_the_second_phase_only():
    run = pictures_codec.training(pictures_codec.codec(), 17, 2, torch.Generator().manual_seed(0))
    assert isinstance(run, Phases)
    assert (run.steps, [steps for steps, _ in run._phases]) == (17, [10, 7])
    x, model = pictures(2, 64, PICTURES.evaluation).images, pictures_codec.codec()
    values = [
        pictures_codec.loss(model, x, torch.Generator().manual_seed(0), worst).item() for worst in (0.0, 1.0, 2.0)
    ]
    assert values[0] < values[1]
    assert values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-4)
