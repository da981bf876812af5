"""Captions on their way into a network: padding is nothing, no caption is something, and every word can be heard."""

import threading

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.data.pictures import WORDS
from cs348k_diffusion.denoiser import NetDenoiser, drop_condition
from cs348k_diffusion.nets import CaptionEncoder, TextBlock, TextUNet, Tokenizer, unknown, visible, word_maps
from cs348k_diffusion.nets.text_unet import Conditioning
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising, fit
from tests.untrained import awake

LONG = "two orange cats left of a tall red tree at night"
LIKE = {"width": 16, "mults": (1, 2), "attention": ("words", "all"), "length": 16, "words_width": 16}


def a_net(**changes):
    torch.manual_seed(0)
    return awake(TextUNet(len(WORDS), **(LIKE | changes))).double()


def an_encoder():
    torch.manual_seed(0)
    return awake(CaptionEncoder(len(WORDS), length=16, width=16)).double()


def inputs(n=3, size=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, size, size, generator=generator, dtype=torch.float64), torch.full((n,), 0.5).double()


@pytest.fixture
def tokenize():
    return Tokenizer(WORDS, 16)


# ---- the tokenizer ---------------------------------------------------------------------------------------------------


def test_tokens_are_read_back_as_the_words(tokenize):
    tokens = tokenize([LONG, "A red tree."])
    assert tokens.shape == (2, 16) and tokens.dtype == torch.long
    assert tokenize.read(tokens[0]) == LONG.split()
    assert tokenize.read(tokens[1]) == ["a", "red", "tree"]


def test_every_word_has_a_number_of_its_own_and_none_is_padding(tokenize):
    numbers = [int(tokenize(word)[0, 0]) for word in WORDS]
    assert sorted(numbers) == list(range(1, len(WORDS) + 1))


def test_the_empty_caption_is_the_null_caption(tokenize):
    assert_close(tokenize(""), CaptionEncoder(len(WORDS), length=16).null)


def test_no_captions_give_no_rows(tokenize):
    assert tokenize([]).shape == (0, 16)


@pytest.mark.parametrize(("word", "near"), [("catz", "cat"), ("trea", "tree"), ("purpel", "purple")])
def test_an_unknown_word_is_named_with_the_nearest_known_one(tokenize, word, near):
    with pytest.raises(ValueError, match=rf"{word!r}; did you mean '{near}"):
        tokenize(f"a red {word}")


def test_every_unknown_word_is_named(tokenize):
    with pytest.raises(ValueError, match=r"(?s)'purpel'; did you mean 'purple.*'catt'; did you mean 'cat'"):
        tokenize("a purpel catt")


def test_a_word_near_to_none_gets_the_whole_list(tokenize):
    with pytest.raises(ValueError, match=r"the words are: .*orange"):
        tokenize("a red zzzz")
    assert "did you mean" not in unknown("zzzz", WORDS)


def test_a_caption_that_is_too_long_says_by_how_much(tokenize):
    with pytest.raises(ValueError, match="at most 16 words, this one has 17"):
        tokenize("red " * 17)


# ---- the encoder -----------------------------------------------------------------------------------------------------


def test_padding_changes_nothing_wherever_it_stands(tokenize):
    encoder, row = an_encoder(), tokenize("two orange cats")[0].tolist()
    a, b, c = (token for token in row if token)
    rows = [[a, b, c], [0, 0, 0, a, b, c], [a, 0, b, 0, 0, c, 0, 0, 0, 0]]
    wanted = encoder(torch.tensor(rows[:1]))
    for padded in rows[1:]:
        words = encoder(torch.tensor([padded]))
        assert_close(words.vectors[words.mask], wanted.vectors[0])
        assert_close(words.pooled, wanted.pooled)


def test_the_order_of_words_matters(tokenize):
    encoder = an_encoder()
    one, other = (encoder(tokenize(c)) for c in ("a cat left of a house", "a house left of a cat"))
    assert (one.pooled - other.pooled).abs().max() > 1e-3


def test_the_null_caption_is_the_start_alone_and_finite(tokenize):
    words = an_encoder()(tokenize(""))
    assert words.mask.tolist() == [[True] + [False] * 16]
    assert_close(words.pooled, words.vectors[:, 0])
    assert words.vectors.isfinite().all()


def test_the_mask_is_true_for_words(tokenize):
    assert visible(tokenize("a red tree")).tolist() == [[True] * 3 + [False] * 13]


# ---- the network -----------------------------------------------------------------------------------------------------


def test_a_new_net_answers_the_same_to_every_caption(tokenize):
    torch.manual_seed(0)
    net, (x, t) = TextUNet(len(WORDS), **LIKE).double(), inputs()
    out = net(x, t, tokenize(["a red tree", "a blue house", ""]))
    assert_close(out, net(x, t))
    assert_close(out, out.mean((0, 2, 3), keepdim=True).expand_as(out), atol=0.2, rtol=0)  # the last bias, at most


def test_a_text_block_starts_as_its_shortcut(tokenize):
    h = torch.randn(2, 16, 4, 4)
    given = Conditioning(torch.randn(2, 8), torch.randn(2, 5, 12), torch.ones(2, 5, dtype=torch.bool))
    assert_close(TextBlock(16, 16, 8, 12, "all")(h, given), h, rtol=0, atol=0)


def test_padding_does_not_reach_the_picture(tokenize):
    net, (x, t), tokens = a_net(), inputs(1), tokenize("two orange cats")
    wanted = net(x, t, tokens)
    assert_close(net(x, t, tokens[:, :3]), wanted)
    assert_close(net(x, t, torch.cat([tokens[:, 5:], tokens[:, :5]], 1)), wanted)
    assert (net(x, t, tokenize("three orange cats")) - wanted).abs().max() > 1e-4


def test_null_none_and_the_empty_caption_are_one_thing(tokenize):
    net, (x, t) = a_net(), inputs()
    wanted = net(x, t)
    assert wanted.isfinite().all()
    assert_close(net(x, t, **net.null), wanted)
    assert_close(net(x, t, tokenize(["", "", ""])), wanted)


def test_a_caption_is_heard_by_its_own_picture_only(tokenize):
    net, (x, t) = a_net(), inputs(2)
    one = net(x, t, tokenize(["a red tree", "a blue house"]))
    other = net(x, t, tokenize(["a red tree", "two cats"]))
    assert_close(one[0], other[0])
    assert (one[1] - other[1]).abs().max() > 1e-4


@pytest.mark.parametrize("conditioning", ["cross", "pooled", "none"])
def test_gradients_reach_the_words_that_are_heard(tokenize, conditioning):
    net, (x, t), tokens = a_net(conditioning=conditioning), inputs(2), tokenize(["a red tree", "two orange cats"])
    net(x, t, tokens).square().sum().backward()
    touched = net.captions.word.weight.grad
    touched = set() if touched is None else set(touched.abs().sum(1).nonzero().flatten().tolist())
    assert touched - {0} == (set() if conditioning == "none" else set(tokens.flatten().tolist()) - {0})
    assert net.captions.start.grad.abs().sum() > 0


def test_the_three_ways_of_hearing_have_the_same_parameters():
    shapes = [[p.shape for p in a_net(conditioning=way).parameters()] for way in ("cross", "pooled", "none")]
    assert shapes[0] == shapes[1] == shapes[2]


def test_another_way_of_hearing_is_refused():
    with pytest.raises((ValueError, TypeError), match="conditioning"):  # in tests, beartype is first to say so
        a_net(conditioning="everything")


def test_what_is_heard_differs_as_it_says(tokenize):
    (x, t), tokens = inputs(1), tokenize(["a red tree"])
    outs = {way: a_net(conditioning=way)(x, t, tokens) for way in ("cross", "pooled", "none")}
    assert_close(outs["none"], a_net()(x, t))
    assert (outs["cross"] - outs["pooled"]).abs().max() > 1e-4
    assert (outs["pooled"] - outs["none"]).abs().max() > 1e-4


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="multiples"):
        a_net()(torch.zeros(1, 3, 10, 10).double(), torch.zeros(1).double())


# ---- where words are looked at ---------------------------------------------------------------------------------------


def test_word_maps_are_shares_and_padding_has_none(tokenize):
    net, (x, t), tokens = a_net(), inputs(2), tokenize(["a red tree", "two orange cats left of a house"])
    maps = word_maps(net, x, t, tokens)
    assert maps.shape == (2, 17, 8, 8)
    assert_close(maps.sum(1), torch.ones(2, 8, 8).double())
    assert_close(maps[0, 4:], torch.zeros(13, 8, 8).double(), rtol=0, atol=0)
    assert maps[0, :4].std() > 0


def test_word_maps_do_not_hear_what_another_thread_asks_of_the_net(tokenize):
    net, (x, t), tokens = a_net(), inputs(1), tokenize("a red tree")
    alone = word_maps(net, x, t, tokens)

    def meanwhile(*given):
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=net, args=(*inputs(3), tokens))
            other.start()
            other.join()

    with net.captions.register_forward_pre_hook(meanwhile):
        assert_close(word_maps(net, x, t, tokens), alone, rtol=0, atol=0)


def test_word_maps_leave_no_hooks_and_need_words(tokenize):
    net, (x, t) = a_net(), inputs(1)
    word_maps(net, x, t, tokenize("a cat"))
    assert not any(module._forward_pre_hooks for module in net.modules())
    with pytest.raises(ValueError, match="conditioning"):
        word_maps(a_net(conditioning="pooled"), x, t, tokenize("a cat"))


# ---- with the core ---------------------------------------------------------------------------------------------------


def test_given_and_drop_bind_and_lose_captions(tokenize):
    net, (x, t) = a_net(), inputs(2)
    model = NetDenoiser(net, cosine())
    tokens = tokenize(["a red tree", "two cats"])
    assert_close(model.given(caption=tokens)(x, t), model(x, t, caption=tokens))
    assert_close(model.given(caption=tokens[:1])(x, t)[0], model(x, t, caption=tokens)[0])
    lost = drop_condition({"caption": tokens}, model.null, 1.0)
    assert_close(model(x, t, **lost), model.given()(x, t))


def test_a_net_learns_what_a_caption_says(tokenize):
    torch.manual_seed(0)
    colours = {"red": (0.8, -0.8, -0.8), "blue": (-0.8, -0.8, 0.8)}
    tokens = tokenize([f"a {colour} house" for colour in colours]).repeat(8, 1)
    x0 = torch.tensor(list(colours.values())).repeat(8, 1)[:, :, None, None].expand(-1, -1, 8, 8)
    model = NetDenoiser(TextUNet(len(WORDS), **LIKE), cosine())
    generator = torch.Generator().manual_seed(0)
    examples = iter(lambda: (x0, {"caption": tokens}), None)
    trained = list(fit(model, examples, 80, denoising(dropout=0.1), lr=4e-3, ema=0.9, generator=generator))[-1].model
    x, t = model.schedule.prior((2, 3, 8, 8), generator), torch.ones(2)
    guess = trained(x, t, caption=tokens[:2]).mean((2, 3))
    assert guess[0, 0] > 0.4 > -0.4 > guess[0, 2] and guess[1, 2] > 0.4 > -0.4 > guess[1, 0]
