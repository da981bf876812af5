"""The networks, by properties: none of these tests would pass for a net that ignores its time, label or neighbours."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.nets import Classifier, Film, LabelEmbedding, PointNet, ResidualBlock, UNet, sinusoids
from tests.untrained import awake


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return awake(UNet(width=16, mults=(1, 2), classes=10))


@pytest.fixture
def pointnet():
    torch.manual_seed(0)
    return awake(PointNet(width=32, depth=2, classes=3))


def images(n=4, size=8, seed=1):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_sinusoids_are_the_formula():
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    frequencies = [1.0, 10.0, 100.0, 1000.0]
    expected = torch.stack([torch.sin(t * w) for w in frequencies] + [torch.cos(t * w) for w in frequencies], dim=1)
    assert_close(sinusoids(t, 8), expected)


def test_time_embedding_tells_neighbours_apart_and_never_repeats():
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    e = sinusoids(t, 64)
    assert (e[1:] - e[:-1]).norm(dim=1).min() > 0.5  # of a norm of sqrt(32) = 5.7
    distance = torch.cdist(e, e) + 10 * torch.eye(len(t))
    assert distance.min() > 0.5


def test_time_embedding_rejects_odd_widths():
    with pytest.raises(ValueError, match="even"):
        sinusoids(torch.zeros(2), 7)


@pytest.mark.parametrize("net", [UNet(width=16, mults=(1, 2), classes=10), PointNet(classes=10)])
def test_a_new_net_answers_zero(net):
    x = images() if isinstance(net, UNet) else torch.randn(4, 2)
    assert_close(net(x, torch.rand(4), y=torch.arange(4)), torch.zeros_like(x), rtol=0, atol=0)


def test_a_new_residual_block_is_its_shortcut():
    block, h = ResidualBlock(16, 16, 8), torch.randn(2, 16, 4, 4)
    assert_close(block(h, torch.randn(2, 8)), h, rtol=0, atol=0)


def test_a_residual_block_is_its_formula():
    torch.manual_seed(0)
    block = awake(ResidualBlock(16, 32, 8)).double()
    h, emb = torch.randn(2, 16, 4, 4, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)

    def normed(z, norm):  # GroupNorm, written out
        groups = z.view(2, 8, -1)
        groups = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
        return groups.view_as(z) * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    def silu(z):
        return z / (1 + torch.exp(-z))

    modulation = silu(emb) @ block.film.linear.weight.T + block.film.linear.bias
    scale, shift = modulation[:, :32, None, None], modulation[:, 32:, None, None]
    r = block.conv_in(silu(normed(h, block.norm_in)))
    r = block.conv_out(silu(normed(r, block.norm_out) * (1 + scale) + shift))
    assert_close(block(h, emb), block.skip(h) + r)


def test_film_modulates_each_channel_of_any_shape():
    film, emb = Film(8, 3), torch.randn(2, 8)
    plane, row = torch.randn(2, 3, 4, 4), torch.randn(2, 3)
    assert_close(film(plane, emb)[:, :, 1, 2], film(plane[:, :, 1, 2], emb))
    with torch.no_grad():
        film.linear.weight.zero_()
        film.linear.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 5.0]))
    assert_close(film(row, emb), row * torch.tensor([2.0, 1.0, 1.0]) + torch.tensor([0.0, 0.0, 5.0]))


def test_no_label_is_the_null_label(unet, pointnet):
    for net, x, classes in ((unet, images(), 10), (pointnet, torch.randn(4, 2), 3)):
        t = torch.rand(len(x))
        assert_close(net.null["y"], torch.tensor([classes]))
        assert_close(net(x, t), net(x, t, y=torch.full((4,), classes)))
        assert_close(net(x, t), net(x, t, **net.null))
        assert (net(x, t) - net(x, t, y=torch.zeros(4, dtype=torch.long))).abs().max() > 1e-3


def test_one_label_serves_the_whole_batch(unet):
    x, t = images(), torch.rand(4)
    assert_close(unet(x, t, y=torch.tensor([3])), unet(x, t, y=torch.full((4,), 3)))


def test_labels_outside_the_classes_are_named(unet):
    for label in (-1, 11):
        with pytest.raises(ValueError, match=r"0\.\.9, or be 10"):
            unet(images(1), torch.rand(1), y=torch.tensor([label]))
    with pytest.raises(ValueError, match="without classes"):
        UNet(width=16, mults=(1,))(images(1), torch.rand(1), y=torch.tensor([0]))
    assert UNet(width=16, mults=(1,)).null == {}


def test_label_embedding_has_one_row_more_than_classes():
    table = LabelEmbedding(10, 4)
    assert table.null == 10
    assert_close(table(torch.tensor([10, 2])), table.table.weight[[10, 2]])


def test_examples_do_not_see_each_other(unet, pointnet):
    for net, x in ((unet, images(6)), (pointnet, torch.randn(6, 2))):
        t, y = torch.rand(6), torch.tensor([0, 1, 2, 0, 1, 2])
        alone = torch.cat([net(x[i : i + 1], t[i : i + 1], y=y[i : i + 1]) for i in range(6)])
        assert_close(net(x, t, y=y), alone, rtol=1e-4, atol=1e-5)


def test_time_and_far_pixels_matter(unet):
    x, t = images(1), torch.tensor([0.5])
    assert (unet(x, t) - unet(x, t + 0.01)).abs().max() > 1e-3
    moved = x.clone()
    moved[0, 0, 0, 0] += 1
    assert (unet(x, t) - unet(moved, t))[0, 0, -1, -1].abs() > 1e-5


def test_the_memory_layout_changes_nothing(unet):
    x, t = images(), torch.rand(4)
    plain = awake(UNet(width=16, mults=(1, 2), classes=10))
    plain.load_state_dict(unet.state_dict())
    plain = plain.to(memory_format=torch.contiguous_format)
    assert unet.middle.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert_close(unet(x, t), plain(x, t), rtol=1e-4, atol=1e-5)
    assert_close(unet(x.contiguous(memory_format=torch.channels_last), t), unet(x, t))


def test_channels_in_and_out_may_differ():
    net = awake(UNet(channels=6, channels_out=3, width=16, mults=(1, 2)))
    assert net(torch.randn(2, 6, 8, 8), torch.rand(2)).shape == (2, 3, 8, 8)


def test_three_sizes_and_three_channels():
    net = awake(UNet(channels=3, width=16, mults=(1, 2, 2)))
    assert net(torch.randn(2, 3, 8, 12), torch.rand(2)).shape == (2, 3, 8, 12)
    with pytest.raises(ValueError, match="multiples of 4"):
        net(torch.randn(2, 3, 8, 10), torch.rand(2))
    with pytest.raises(ValueError, match="multiples of 8"):
        UNet(width=20)


def test_the_course_unet_has_the_stated_size():
    count = sum(parameter.numel() for parameter in UNet(width=32, mults=(1, 2, 2), classes=10).parameters())
    assert 0.7e6 < count < 0.8e6


def test_every_parameter_learns(unet):
    x, y = images(), torch.arange(4)
    unet(x, torch.rand(4), y=y).square().mean().backward()
    silent = [name for name, parameter in unet.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []


def test_classifier_is_linear_in_its_features():
    net, x = Classifier(width=16), images(5)
    assert net.features(x).shape == (5, 32)
    assert_close(net(x), net.features(x) @ net.head.weight.T + net.head.bias)
    assert_close(Classifier(channels=3, width=16, strides=(1, 2))(torch.randn(2, 3, 16, 16)).shape, torch.Size([2, 10]))
