"""What people see at a glance and a Frechet distance in a classifier's features does not: both tests must see it."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.data.pictures import complete, draw_scenes, parse, pictures
from cs348k_diffusion.metrics.texture import texture, texture_distance
from cs348k_diffusion.metrics.two_sample import discriminator, two_sample_test

N = 320


@pytest.fixture(scope="module")
def worlds():
    """Two disjoint sets of drawn pictures of 32 x 32 pixels."""
    return pictures(N, 32, seed=20).images, pictures(N, 32, seed=21).images


def blurred(x):
    """Half of each pixel from the mean of its 3 x 3 neighbours."""
    return torch.lerp(x, torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), 0.5)


def tinted(x):
    """Red 0.06 up, blue 0.06 down, of a range of 2."""
    return (x + torch.tensor([0.06, 0.0, -0.06])[:, None, None]).clamp(-1, 1)


def chequered(x):
    """Every second pixel 0.03 brighter, the others 0.03 darker."""
    places = torch.arange(x.shape[-1])
    return (x + 0.03 * (1 - 2 * ((places + places[:, None]) % 2))).clamp(-1, 1)


def test_true_pictures_cannot_be_told_from_true_pictures(worlds):
    test = two_sample_test(*worlds, passes=4)
    assert test.accuracy.low < 0.5 < test.accuracy.high


@pytest.mark.parametrize("flaw", [tinted, chequered])
def test_the_network_sees_each_flaw(worlds, flaw):
    test = two_sample_test(worlds[0], flaw(worlds[1]), passes=4)
    assert test.accuracy.low > 0.6


@pytest.mark.parametrize("flaw", [blurred, chequered])
def test_the_texture_distance_sees_each_flaw(worlds, flaw):
    """Four times further than data from data. (A tint moves every pixel less than scenes differ: not for this one.)"""
    floor = texture_distance(worlds[1], worlds[0])
    assert texture_distance(flaw(worlds[1]), worlds[0]) > 4 * floor


def test_cats_without_eyes_are_seen_by_both():
    """Cats on pictures of 64 x 64 pixels, the same but for two eyes, a few pixels each."""
    scenes = [complete(parse("a big white cat by day"), 3, i) for i in range(160)]
    true, eyeless = draw_scenes(scenes, 64, 3), draw_scenes(scenes, 64, 3, lacks=["eyes"])
    changed = (true - eyeless).abs().amax(1).gt(0.3).flatten(1).sum(1)
    assert 1 <= changed.double().mean() < 60  # of 4,096 pixels
    floor = texture_distance(true[80:], true[:80])
    assert texture_distance(eyeless[80:], true[:80]) > 4 * floor
    test = two_sample_test(*(x[:, :, 8:56, 8:56] for x in (true, eyeless)), passes=20)
    assert test.accuracy.low > 0.8


def test_the_surest_pictures_are_the_ones_with_the_flaw(worlds):
    false = worlds[1].clone()
    spoilt = torch.arange(N) % 2 == 0
    false[spoilt] = chequered(chequered(chequered(false[spoilt])))
    test = two_sample_test(worlds[0], false, passes=4)
    surest = test.surest_false[:40]
    assert spoilt[N // 2 :][surest].double().mean() > 0.9
    assert len(test.logits) == N
    assert_close(test.logits[N // 2 :][test.surest_false], test.logits[N // 2 :].sort(descending=True).values)
    assert_close(test.logits[: N // 2][test.surest_true], test.logits[: N // 2].sort().values)


def test_the_test_repeats_itself_and_leaves_the_reader_s_random_numbers_alone(worlds):
    torch.manual_seed(0)
    one = two_sample_test(worlds[0][:32], worlds[1][:32], passes=1)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert_close(two_sample_test(worlds[0][:32], worlds[1][:32], passes=1).logits, one.logits, rtol=0, atol=0)
    assert_close(torch.rand(1), drawn, rtol=0, atol=0)
    assert 40_000 < sum(p.numel() for p in discriminator().parameters()) < 46_000


def test_texture_does_not_see_where_things_stand_and_flat_pictures_have_none(worlds):
    x = worlds[0][:8]
    assert_close(texture(x)[:, :6], texture(x.roll(5, 3))[:, :6])
    flat = texture(torch.full((2, 3, 16, 16), 0.4))
    assert_close(flat[:, 3:], torch.zeros_like(flat[:, 3:]), rtol=0, atol=1e-5)
    assert texture_distance(x, x) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("n", "m"), [(8, 6), (2, 2)])
def test_sets_of_another_size_are_refused(n, m, worlds):
    with pytest.raises(ValueError, match=f"got {n} and {m}"):
        two_sample_test(worlds[0][:n], worlds[1][:m])
