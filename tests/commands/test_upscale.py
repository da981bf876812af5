"""`cs348k upscale`: what it writes, and what it says about files that are no pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from cs348k_diffusion.cascade import resize
from cs348k_diffusion.commands.upscale import upscaled
from cs348k_diffusion.data.pictures import pictures


@pytest.fixture
def picture(tmp_path):
    """A picture of the drawn world as a file."""
    x = pictures(1, 64, seed=3).images[0]
    file = tmp_path / "picture.png"
    Image.fromarray(((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(file)
    return file


@pytest.mark.parametrize(("times", "size"), [(4, 8), (2, 32), (8, 8)])
def test_all_ways_give_back_what_was_given_when_they_are_shrunk(picture, times, size):
    given, *large = upscaled(picture, times, draws=2, steps=4, seed=0)
    low = given[:, ::times, ::times]
    truth = Image.open(picture).resize((size, size), Image.Resampling.BICUBIC)
    wanted = torch.from_numpy(np.array(truth)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(low, wanted.float())
    assert len(large) == 4
    torch.testing.assert_close(large[0], resize(low, times * size).clamp(-1, 1))
    for x in large:
        assert (resize(x, size) - low).square().mean().sqrt() < 0.1
    assert not torch.equal(large[2], large[3])


def test_the_same_seed_draws_the_same(picture):
    one, same, other = (upscaled(picture, 4, 1, 3, seed)[-1] for seed in (1, 1, 2))
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 0.05


def test_bad_input_is_one_sentence(picture, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no picture .*none\.png"):
        upscaled(tmp_path / "none.png", 4, 1, 1, 0)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png is not an image that can be read"):
        upscaled(tmp_path / "text.png", 4, 1, 1, 0)
    with pytest.raises(ValueError, match="there is a model for --times 2, 4, 8; got 3"):
        upscaled(picture, 3, 1, 1, 0)
