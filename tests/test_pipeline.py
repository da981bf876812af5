"""A pipeline draws what its parts say: the same walk as by hand, decoded, enlarged, or by a student."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from cs348k_diffusion.cascade import bicubic, cascade, resize
from cs348k_diffusion.denoiser import NetDenoiser, clip
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.pipeline import Labels, Pipeline, Prompts, Unconditional, with_guidance, with_inputs
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, multistep, path, sample
from cs348k_diffusion.schedule import cosine


class Net(nn.Module):
    """Answers x + y / 4 for class y, and counts how often it was asked."""

    scales: list

    def __init__(self):
        super().__init__()
        self.null = {"y": torch.tensor([3])}
        self.gain, self.calls, self.scales = nn.Parameter(torch.ones(())), 0, []

    def forward(self, x, t, y=None, scale=None, stride=None):
        self.calls += 1
        self.scales.append((scale, stride))
        y = torch.tensor([3]) if y is None else y
        return self.gain * x + (y.to(x) / 4).view(-1, 1, 1, 1)


class Halves:
    """A codec whose codes are every other pixel; decoding repeats them."""

    def __init__(self):
        self.decoded = 0

    def decode(self, z):
        assert not torch.is_grad_enabled()
        self.decoded += 1
        return z.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def shape(self, picture):
        return (picture[0], picture[1] // 2, picture[2] // 2)


def model():
    return NetDenoiser(Net(), cosine(), predict="x0")


def noise(n, *shape, seed=0):
    return cosine().prior((n, *shape), torch.Generator().manual_seed(seed))


def test_it_is_the_walk_that_one_would_write_by_hand():
    net, y = model(), torch.tensor([0, 2])
    states = list(Pipeline(net, (1, 4, 4), Labels(3))([0, 2], scale=2.5, seed=7, steps=5))
    by_hand = ddim(clip(guide(net.given(y=y), net.given(), 2.5)), noise(2, 1, 4, 4, seed=7), path(5))
    for state, other in zip(states, by_hand, strict=True):
        assert_close(state.x, other.x, rtol=0, atol=0)
        assert_close(state.x0_hat, other.x0_hat, rtol=0, atol=0)
        assert (state.index, state.t, state.stage) == (other.index, other.t, 0)


@pytest.mark.parametrize(("scale", "each"), [(0.0, 1), (1.0, 1), (3.0, 2)])
def test_guidance_costs_a_second_evaluation_only_where_it_says_something(scale, each):
    net = model()
    drawn = Pipeline(net, (1, 4, 4), Labels(3)).images([1], scale, steps=4)
    assert net.net.calls == 4 * each
    both = guide(net.given(y=torch.tensor([1])), net.given(), scale)
    assert_close(drawn, last(ddim(clip(both), noise(1, 1, 4, 4), path(4))).x, rtol=0, atol=0)


def test_nothing_happens_before_it_is_walked_and_grad_mode_is_the_callers():
    net = model()
    walk = Pipeline(net, (1, 4, 4), Labels(3), codec=Halves(), stages=(lambda _: bicubic(8),))([1])
    assert net.net.calls == 0
    assert "drawing 1 pictures, 20 steps: not run yet" in repr(walk)
    for _ in walk:
        assert torch.is_grad_enabled()


def test_codes_are_walked_and_pictures_come_out_decoded():
    net, codec = model(), Halves()
    draw = Pipeline(net, (1, 4, 4), Labels(3), steps=3, limits=None, codec=codec)
    states = list(draw([0, 1], scale=1.0))
    plain = list(ddim(net.given(y=torch.tensor([0, 1])), noise(2, 1, 2, 2), path(3)))
    assert [state.x.shape for state in states] == [(2, 1, 4, 4)] * 3
    for state, code in zip(states, plain, strict=True):
        assert_close(state.x[..., ::2, ::2], code.x, rtol=0, atol=0)
    assert codec.decoded == 6  # x and x0_hat of each state
    assert_close(draw.images([0, 1], scale=1.0), states[-1].x, rtol=0, atol=0)
    assert codec.decoded == 8  # the end alone


def test_stages_enlarge_what_came_before_and_draw_with_the_same_generator():
    net, seen = model(), []

    def make(generator):
        seen.append(torch.randn(1, generator=generator))
        return bicubic(8)

    draw = Pipeline(net, (1, 4, 4), Labels(3), steps=2, stages=(make,))
    states = list(draw([1], seed=3))
    assert [state.stage for state in states] == [0, 0, 1]
    assert_close(states[-1].x, resize(states[-2].x, 8))
    assert_close(draw.images([1], seed=3), states[-1].x)
    generator = torch.Generator().manual_seed(3)
    noise_first, after = torch.randn(1, 1, 4, 4, generator=generator), torch.randn(1, generator=generator)
    assert noise_first.shape == (1, 1, 4, 4)
    assert seen == [after, after]
    assert_close(last(cascade([bicubic(8)], states[1].x)).x, states[-1].x)


def test_a_rule_and_a_path_of_its_own():
    net = model()
    draw = Pipeline(net, (1, 4, 4), Labels(3), times=lambda n: path(n, end=0.1), solver=multistep, steps=6)
    by_hand = sample(clip(net.given(y=torch.tensor([2]))), noise(1, 1, 4, 4), path(6, end=0.1), solver=multistep)
    assert_close(draw.images([2]), last(by_hand).x, rtol=0, atol=0)


def test_a_student_gets_scale_and_stride_as_inputs_and_draws_previews():
    net = model()
    assert isinstance(net.net, Net)
    student = Pipeline(net, (1, 4, 4), Labels(3), scale=3.0, steps=2, bind=with_inputs(1, 2, 4, low=1, high=6))
    draw = Pipeline(model(), (1, 4, 4), Labels(3), scale=3.0, fast=student)
    assert len(list(draw.preview([1], scale=5.0))) == 2
    assert net.net.calls == 2
    assert [(float(scale), float(stride)) for scale, stride in net.net.scales] == [(5.0, 0.5)] * 2
    assert len(list(Pipeline(model(), (1, 4, 4), Labels(3)).preview([1]))) == 4
    for steps, scale in ((3, 2.0), (2, 0.5), (2, 7.0)):
        with pytest.raises(ValueError, match="this student draws in 1, 2, 4 steps at scales 1 to 6"):
            student([1], scale, steps=steps)


def test_part_k_starts_from_the_noise_of_seed_plus_k():
    draw = Pipeline(model(), (1, 2, 2), Labels(3), steps=2)
    parts = [draw.images([0, 1], seed=5), draw.images([2], seed=6)]
    assert_close(draw.images([0, 1, 2], seed=5, at_once=2), torch.cat(parts), rtol=0, atol=0)


def test_what_cannot_be_asked_is_named():
    assert Labels(3).default(5) == [0, 1, 2, 0, 1]
    assert Unconditional().default(2) == [None, None]
    assert Unconditional()([None]) == {}
    with pytest.raises(ValueError, match=r"no label 4; the labels are 0 to 2"):
        Labels(3)([4])
    with pytest.raises(ValueError, match="no prompt and no label, got 'a cat'"):
        Unconditional()(["a cat"])
    draw = Pipeline(model(), (1, 4, 4), Labels(3))
    for scale in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale of guidance is a number"):
            draw([1], scale)
    with pytest.raises(ValueError, match="nothing to draw"):
        draw.images([])


def test_prompts_are_parsed_before_they_are_tokens_and_the_empty_one_is_no_caption():
    heard = []
    prompts = Prompts(lambda texts: torch.tensor([[len(text)] for text in texts]), heard.append)
    assert prompts(["a cat", ""])["caption"].tolist() == [[5], [0]]
    assert heard == ["a cat"]
    assert prompts.default(2) == ["", ""]


def test_without_conditions_there_is_nothing_to_guide():
    net = model()
    assert with_guidance(net, {}, 5.0, 20) == net.given()
