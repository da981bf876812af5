"""The shipped upsampler is what its card says, and the stages of the cascade fit together."""

import pytest
import torch

from cs348k_diffusion import last, path, recipes
from cs348k_diffusion.cascade import cascade, diffusion, resize
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.data.pictures.splits import UPSAMPLERS
from cs348k_diffusion.metrics import psnr
from cs348k_diffusion.recipes.stages import upsamplers


def test_regression_beats_a_draw_and_bicubic_on_pictures_never_seen():
    true = pictures(24, 32, UPSAMPLERS.evaluation, start=5000)
    model, low = recipes.load("upsampler_32"), resize(true.images, 8)
    drawn = last(diffusion(model, path(10), generator=torch.Generator().manual_seed(0))(low)).x
    mean = last(upsamplers.regression(model)(low)).x
    close = [float(psnr(x, true.images).mean()) for x in (mean, drawn, resize(low, 32))]
    card = recipes.card("upsampler_32")["metrics"]
    expected = [card[name]["psnr"]["mean"] for name in ("mean", "draw", "bicubic")]
    torch.testing.assert_close(torch.tensor(close), torch.tensor(expected), atol=1.5, rtol=0)  # 24 pictures
    assert close[0] > close[1] + 1
    assert (resize(drawn, 8) - low).square().mean().sqrt() < 2 * card["draw"]["shrunk_rms"]


def test_levels_are_zero_for_half_and_reach_the_noisiest():
    found = upsamplers.levels(20_000, torch.Generator().manual_seed(0))
    assert float((found == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    assert 0 <= float(found.min()) <= float(found.max()) <= upsamplers.NOISIEST
    assert float(found[found > 0].mean()) == pytest.approx(upsamplers.NOISIEST / 2, abs=0.01)


def test_training_pairs_have_unit_scale_and_give_the_picture_back():
    model = upsamplers.upsampler(32)
    residual, cond = next(upsamplers.batches(model, 64, 64, torch.Generator().manual_seed(0), torch.device("cpu")))
    clean = residual[cond["level"] == 0]
    assert float(clean.std()) == pytest.approx(1, abs=0.2)
    high = model.picture(cond["low_res"], residual)
    assert -1.001 <= float(high.min()) <= float(high.max()) <= 1.001


def test_a_cascade_from_noise_draws_near_the_small_pictures_and_enlarges_what_it_drew():
    world = upsamplers.small_world()
    stages = [upsamplers.from_noise(12, n=3), diffusion(recipes.load("upsampler_32"), path(4))]
    states = list(cascade(stages))
    assert [s.stage for s in states] == [0] * 12 + [1] * 4
    small, large = states[11].x, states[-1].x
    typical = world.log_prob(world.sample(200, torch.Generator().manual_seed(1)))
    assert (world.log_prob(small.flatten(1)) > typical.min() - 3 * typical.std()).all()
    assert (resize(large, 8) - small.clamp(-1, 1)).square().mean().sqrt() < 0.1
