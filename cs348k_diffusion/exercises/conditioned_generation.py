"""Checks of notebook 07: captions as tokens, pixels that ask words, prompts that count, and reading what came out."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from cs348k_diffusion.exercises import Counted, Exercise, agree, expect, generator, run_against, varied
from cs348k_diffusion.exercises.framework.difference import agrees
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.sampling import ddim, step
from cs348k_diffusion.schedule import cosine, straight

EXERCISES = (
    Exercise(
        "E7.1",
        "pad_captions",
        "Captions of one length",
        gives="tokens: tensor, mask: tensor",
        hints=(
            "What must stand in a row of an empty caption, and of which kind are token numbers?",
            "Start from zeros of the final shape, of whole numbers, and fill in each row from the left.",
            "torch.zeros(..., dtype=torch.long), then a slice of row k for its words. No word has the number 0, so the "
            "mask needs no counting.",
        ),
        withheld=("nets.caption.Tokenizer", "nets.caption.visible"),
    ),
    Exercise(
        "E7.2",
        "read_caption",
        "Pixels ask, words answer",
        gives="h: tensor",
        hints=(
            "Which axes does the picture have, and which should its rows of pixels have?",
            "h.flatten(2) is (batch, C, HW): pixels come last and must come second. Then it is notebook 06: scores, "
            "hidden words at -inf, a softmax over words.",
            "The mask (batch, M) needs an axis for the pixels in its middle. To make a picture of the rows again, "
            "first transpose, then unflatten(2, h.shape[2:]): a reshape alone shuffles pixels.",
        ),
        withheld=(
            "attention.dense_attention",
            "attention.tiled_attention",
            "attention.attention_map",
            "attention.Attention",
            "nets.caption.Layer",
        ),
    ),
    Exercise(
        "E7.3",
        "drop_captions",
        "Lose some captions",
        gives="tokens: tensor",
        hints=(
            "One number u decides. About a word, or about a whole row?",
            "torch.where chooses between two tensors that broadcast: null (1, m) and tokens (batch, m).",
            "u < share has shape (batch,). As a column, [:, None], it speaks of rows.",
        ),
        withheld=("denoiser.drop_condition",),
    ),
    Exercise(
        "E7.4",
        "guided_sample",
        "The guided sampler",
        gives="x: tensor",
        hints=(
            "How many steps are there between five times, and at which of its two times is x when the model is asked?",
            "Both guesses come from one call: x twice below each other, the captions and then as many nulls. chunk(2) "
            "takes the answer apart again.",
            "zip(times, times[1:]) gives the pairs (t, s); the mixed guess goes into step(schedule, x, x0_hat, t, s). "
            "The model wants one time for each row of its batch.",
        ),
        withheld=("guidance.guide", "sampling.ddim", "sampling.sample", "pipeline.Pipeline"),
    ),
    Exercise(
        "E7.5",
        "kept_shares",
        "Does it follow its prompt?",
        gives="shares: tensor, full: tensor",
        hints=(
            "Over what is a share taken, if three of five prompts ask for an attribute?",
            "Two masks of shape (n, k): what is asked, and what is asked and right. Both are needed, for both answers.",
            "Sum the masks over the prompts; 0 / 0 is nan by itself. A prompt is fully satisfied when each attribute "
            "is right or not asked for.",
        ),
        withheld=("recipes.classifiers.picture_reader.adherence",),
    ),
    Exercise(
        "E7.6",
        "test_encoder",
        "A property test for caption encoders",
        gives="the test: nothing",
        hints=(
            "What may be changed in a caption without changing what it says?",
            "Padding may: behind, in front and between, in any amount. The order of the words may not, nor one word.",
            "Three more: a caption means the same whatever else is in the batch; padding alone gives finite numbers; "
            "captions that differ in their last word differ.",
        ),
        withheld=("nets.caption.CaptionEncoder",),
        stars=1,
    ),
)

ROWS = [[3, 1, 4, 1, 5], [9], [], [2, 6, 5, 3, 5, 8]]


def filled(rows, width, left=False):
    """The rows as a tensor, padded with zeros behind, or in front."""
    pad = [[0] * (width - len(row)) for row in rows]
    return torch.tensor([(p + r) if left else (r + p) for r, p in zip(rows, pad)], dtype=torch.long)


def padding(change):
    """The right tokens and mask, spoiled afterwards: change(rows, width, tokens, mask)."""

    def answer(rows, width):
        tokens = filled(rows, width)
        return change(rows, width, tokens, tokens != 0)

    return answer


def shown(rows, width, extra):
    """A mask by counting: how many words a row has, and some more."""
    return torch.arange(width) < torch.tensor([[len(row) + extra] for row in rows])


def last_repeated(rows, width, tokens, mask):
    return torch.tensor([row + [row[-1] if row else 0] * (width - len(row)) for row in rows]), mask


def started(rows, width, tokens, mask):
    zeros = torch.zeros(len(rows), 1, dtype=torch.long)
    return torch.cat([zeros, tokens], 1), torch.cat([zeros == 0, mask], 1)


PAD_MISTAKES = {
    "the mask is True for padding": padding(lambda rows, width, tokens, mask: (tokens, ~mask)),
    "the padding comes first": padding(
        lambda rows, width, tokens, mask: (filled(rows, width, left=True), filled(rows, width, left=True) != 0)
    ),
    "the mask shows one word too many": padding(lambda rows, width, tokens, mask: (tokens, shown(rows, width, 1))),
    "the mask shows one word too few": padding(lambda rows, width, tokens, mask: (tokens, shown(rows, width, -1))),
    "the mask comes first": padding(lambda rows, width, tokens, mask: (mask, tokens)),
    "the mask is numbers, not bool": padding(lambda rows, width, tokens, mask: (tokens, mask.float())),
    "the mask is whole numbers, not bool": padding(lambda rows, width, tokens, mask: (tokens, mask.long())),
    "tokens are not whole numbers (torch.long)": padding(lambda rows, width, tokens, mask: (tokens.float(), mask)),
    "tokens are int32, not torch.long (int64)": padding(lambda rows, width, tokens, mask: (tokens.int(), mask)),
    "the mask hides nothing": padding(lambda rows, width, tokens, mask: (tokens, torch.ones_like(mask))),
    "the padding is -1, not 0": padding(lambda rows, width, tokens, mask: (torch.where(mask, tokens, -1), mask)),
    "the last word is repeated in place of padding": padding(last_repeated),
    "the words are sorted": padding(
        lambda rows, width, tokens, mask: (filled([sorted(row) for row in rows], width), mask)
    ),
    "the words are in reverse order": padding(
        lambda rows, width, tokens, mask: (filled([row[::-1] for row in rows], width), mask)
    ),
    "as wide as the longest caption, not `width`": padding(
        lambda rows, width, tokens, mask: (tokens[:, : max(map(len, rows))], mask[:, : max(map(len, rows))])
    ),
    "12 columns, not `width`": padding(lambda rows, width, tokens, mask: (filled(rows, 12), filled(rows, 12) != 0)),
    "the columns are the captions: (width, len(rows))": padding(lambda rows, width, tokens, mask: (tokens.T, mask.T)),
    "a start stands before each caption": padding(started),
    "the empty captions are left out": padding(
        lambda rows, width, tokens, mask: (tokens[mask.any(1)], mask[mask.any(1)])
    ),
    "an empty caption makes all tokens floats: torch.tensor([]) is one": padding(
        lambda rows, width, tokens, mask: (tokens if all(rows) else tokens.float(), mask)
    ),
    "the last word of each caption is left out": padding(
        lambda rows, width, tokens, mask: (tokens * shown(rows, width, -1), shown(rows, width, -1))
    ),
    "the mask hides the word 1: words are those above 0": padding(
        lambda rows, width, tokens, mask: (tokens, tokens > 1)
    ),
    "the mask says which captions have words, not where they are": padding(
        lambda rows, width, tokens, mask: (tokens, mask.any(1))
    ),
    "1 is subtracted from each word": padding(lambda rows, width, tokens, mask: (tokens - mask.long(), mask)),
}


@pytest.mark.exercise("E7.1", points=2)
def test_fills_up_with_zeros_and_says_where_words_are(pad_captions):
    (case,) = varied(((1,),), seed=71)
    drawn = [case.integers(1, 99, length).tolist() for length in (2, 5, 1)]
    agree(
        pad_captions,
        lambda rows, width: (filled(rows, width), filled(rows, width) != 0),
        [(ROWS, 9), (ROWS, 6), ([[7]], 1), ([[]], 3), ([[40, 2, 40]], 3), ([[], [], [1]], 2), (drawn, 6)],
        says="Tokens with zeros behind them, then a mask that is True for words.",
        mistakes=PAD_MISTAKES,
        names=("tokens", "mask"),
    )


def normal(*shapes, seed, dtype=torch.float32):
    g = generator(seed)
    return [torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes]


def looking(h, words, mask, w_q, w_k, w_v, w_o, how=""):
    """Cross-attention written pixel by pixel; `how` names a mistake to make."""
    b, _, height, width = h.shape
    out = torch.empty(b, w_o.shape[1], height, width, dtype=h.dtype)
    d = {
        "unscaled": 1,
        "multiplied": 1 / w_k.shape[1],
        "width of words": len(w_k),
        "width of values": w_v.shape[1],
        "width of pixels": h.shape[1],
    }
    for i in range(b):
        keys, values = words[i] @ w_k, words[i] @ w_v
        if how == "swapped":
            keys, values = values, keys
        for y in range(height):
            for x in range(width):
                s = keys @ (h[i, :, y, x] @ w_q)
                s = s / (w_k.shape[1] if how == "divided by d" else d.get(how, w_k.shape[1]) ** 0.5)
                s = -s if how == "minus" else s
                if how == "zero":
                    s = torch.where(mask[i], s, 0.0)
                elif how not in ("unmasked", "late"):
                    s = torch.where(~mask[i] if how == "inverted" else mask[i], s, -torch.inf)
                p = s.softmax(0) * (mask[i] if how == "late" else 1)
                p = torch.where(mask[i], s, 0.0) if how == "linear" else p
                out[i, :, y, x] = p @ values @ w_o
    return out if how == "alone" else h + out


def a_look(seed, scale=1.0, sizes=(2, 4, 2, 3, 5, 6, 3, 3), dtype=torch.float32, hides=True):
    """h, words, mask and weights; sizes: batch, C, H, W, M, D, d, e; hides: whether some words are hidden."""
    b, c, height, width, m, wide, d, e = sizes
    shapes = (b, c, height, width), (b, m, wide), (c, d), (wide, d), (wide, e), (e, c)
    h, words, w_q, w_k, w_v, w_o = normal(*shapes, seed=seed, dtype=dtype)
    mask = torch.tensor([[True, True, False, True, False], [True, False, False, False, False]])[:b, :m]
    return scale * h, words, mask | (not hides), w_q, w_k, w_v, w_o


def overflowing(top):
    """The whole answer with a softmax by hand: top(s) is what it subtracts from the scores s before exp."""

    def look(h, words, mask, w_q, w_k, w_v, w_o):
        s = h.flatten(2).mT @ w_q @ (words @ w_k).mT / w_q.shape[1] ** 0.5
        s = s.masked_fill(~mask[:, None], -torch.inf)
        f = (s - top(s)).exp()
        return h + (f / f.sum(2, keepdim=True) @ (words @ w_v) @ w_o).mT.unflatten(2, h.shape[2:])

    return look


def hiding_with(score):
    """The whole answer where hidden words get a score instead of -inf."""

    def look(h, words, mask, w_q, w_k, w_v, w_o):
        s = h.flatten(2).mT @ w_q @ (words @ w_k).mT / w_q.shape[1] ** 0.5
        p = s.masked_fill(~mask[:, None], score).softmax(2)
        return h + (p @ (words @ w_v) @ w_o).mT.unflatten(2, h.shape[2:])

    return look


WAYS = {
    "the mask is not used": "unmasked",
    "the mask is applied after the softmax, so that the shares do not sum to 1": "late",
    "hidden words get the score 0 instead of -inf": "zero",
    "the mask is upside down": "inverted",
    "sqrt(d) is missing": "unscaled",
    "divided by d instead of sqrt(d)": "divided by d",
    "multiplied by sqrt(d), not divided": "multiplied",
    "the scores have the wrong sign": "minus",
    "no softmax": "linear",
    "sqrt of the width of the words instead of that of the queries": "width of words",
    "sqrt of the width of the values instead of that of the queries": "width of values",
    "sqrt of the channels of the picture instead of that of the queries": "width of pixels",
    "keys and values are swapped": "swapped",
    "h itself is not added": "alone",
}


def shuffled(h, *rest):
    right = looking(h, *rest)
    return h + (right - h).flatten(2).transpose(1, 2).reshape(right.shape)


def over_pixels(late):
    """The whole answer with one softmax over all pixels for each word; late: the mask comes after it."""

    def look(h, words, mask, w_q, w_k, w_v, w_o):
        s = h.flatten(2).mT @ w_q @ (words @ w_k).mT / w_q.shape[1] ** 0.5
        hidden = ~mask[:, None]
        p = s.softmax(1).masked_fill(hidden, 0.0) if late else s.masked_fill(hidden, -torch.inf).softmax(1)
        return h + (p @ (words @ w_v) @ w_o).mT.unflatten(2, h.shape[2:])

    return look


def put_back(turn):
    """The right answer, but for the order of the pixels of what is added: turn(added, height, width)."""

    def look(h, *rest):
        return h + turn(looking(h, *rest, how="alone"), *h.shape[2:])

    return look


def mixed(h, *rest):
    turned = h.reshape(len(h), -1, h.shape[1]).transpose(1, 2).reshape(h.shape)
    return h + looking(turned, *rest, how="alone")


LOOK_MISTAKES = {
    **{name: (lambda *given, how=how: looking(*given, how=how)) for name, how in WAYS.items()},
    "pixels and channels are mixed: flatten(2), then transpose": mixed,
    "pixels are shuffled: transpose back before unflatten": shuffled,
    "the answer is subtracted": lambda h, *rest: 2 * h - looking(h, *rest),
    "a batch of one loses its axis": lambda *given: looking(*given).squeeze(0),
    "W_O is forgotten": lambda h, words, mask, w_q, w_k, w_v, w_o: looking(
        h, words, mask, w_q, w_k, w_v, torch.eye(*w_o.shape, dtype=h.dtype)
    ),
    "the softmax runs over pixels instead of words": over_pixels(late=False),
    "the softmax runs over pixels instead of words, and the mask comes after it": over_pixels(late=True),
    "height and width are swapped where the picture becomes rows": put_back(
        lambda added, height, width: added.mT.flatten(2).unflatten(2, (height, width))
    ),
    "height and width are swapped where the rows become a picture": put_back(
        lambda added, height, width: added.flatten(2).unflatten(2, (width, height)).mT
    ),
    "the rows of pixels are returned, not a picture": lambda *given: looking(*given).flatten(2).mT,
    "exp of large scores is infinite: torch.softmax subtracts the largest first": overflowing(torch.zeros_like),
    "the largest score of all is subtracted: each pixel needs its own": overflowing(lambda s: s.max()),
}


@pytest.mark.exercise("E7.2", points=3)
def test_takes_from_each_word_by_softmax(read_caption):
    #         batch, C, H, W, M, D, d, e
    sizes = ((2, 4, 2, 3, 5, 6, 4, 4), (2, 4, 3, 2, 5, 6, 2, 5), (1, 3, 1, 2, 4, 3, 3, 3), (1, 1, 1, 1, 1, 1, 1, 1))
    types = (torch.float32, torch.float64, torch.float32, torch.float64)
    agree(
        read_caption,
        lambda h, words, mask, w_q, w_k, w_v, w_o: looking(h, words, mask, w_q, w_k, w_v, w_o),
        [a_look(seed + 1, sizes=size, dtype=dtype) for seed, (size, dtype) in enumerate(zip(sizes, types))]
        + [a_look(9, sizes=(2, 3, 2, 2, 4, 5, 2, 3), hides=False)],
        mistakes=LOOK_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
        says="h plus softmax(Q K^T / sqrt(d)) V W_O, with hidden words left out, does not hold.",
    )


@pytest.mark.exercise("E7.2", points=2)
def test_hidden_words_do_not_matter_and_large_scores_do_no_harm(read_caption):
    h, words, mask, w_q, w_k, w_v, w_o = a_look(3, scale=200.0)
    weights = (w_q, w_k, w_v, w_o)
    other = torch.where(mask[..., None], words, 7 - words)
    got = read_caption(h, other, mask, *weights)
    low = [hiding_with(score)(h, other, mask, *weights) for score in (-10.0, -20.0, -50.0, -100.0, -1000.0)]
    mistakes = {
        **{name: partial(wrong, h, other, mask, *weights) for name, wrong in LOOK_MISTAKES.items()},
        "hidden words get a low score, but others are lower still: -inf is the lowest": lambda: next(
            (each for each in low if agrees(got, each, 1e-3, 1e-2)), low[0]
        ),
    }
    expect(
        got,
        looking(h, words, mask, *weights),
        says="Whatever stands where the mask is False, and however large the scores, the answer is the same.",
        mistakes=mistakes,
        rtol=1e-3,
        atol=1e-2,
    )


def losing(flags):
    """flags(u, share), (batch,), as a whole answer: the captions that are lost."""
    return lambda tokens, null, share, u: torch.where(flags(u, share)[:, None], null, tokens)


LOSS_MISTAKES = {
    "keeps what should be lost": losing(lambda u, share: u >= share),
    "the lost captions are 0, not the null caption": lambda tokens, null, share, u: tokens * (u >= share)[:, None],
    "the first ones are lost, whatever u says": losing(lambda u, share: torch.arange(len(u)) < round(share * len(u))),
    "always the same number is lost, by rank of u": losing(
        lambda u, share: u.argsort().argsort() < int(share * len(u))
    ),
    "one draw decides for the whole batch": losing(lambda u, share: (u < share)[:1].expand(len(u))),
    "one draw decides for the whole batch: `any`": losing(lambda u, share: (u < share).any().expand(len(u))),
    "nothing is lost": lambda tokens, null, share, u: tokens,
    "u = share is lost too": losing(lambda u, share: u <= share),
    "1 - share of them are lost, not share": losing(lambda u, share: u <= 1 - share),
    "1 - share of them are lost: u < 1 - share": losing(lambda u, share: u < 1 - share),
    "u > 1 - share: as many, but not those that u < share says": losing(lambda u, share: u > 1 - share),
    "u runs along the words, not the captions: u < share needs an axis behind": lambda tokens, null, share, u: (
        torch.where((u < share).repeat(tokens.shape[1]).view(tokens.shape), null, tokens)
    ),
    "the lost captions are left out": lambda tokens, null, share, u: tokens[u >= share],
    "keeps what should be lost, and u = share, too": losing(lambda u, share: u > share),
    "0.1 stands in place of `share`": losing(lambda u, share: u < 0.1),
    "the first ones are lost, whatever u says, int(share * batch) of them": losing(
        lambda u, share: torch.arange(len(u)) < int(share * len(u))
    ),
    "only the first of the lost captions is replaced": losing(
        lambda u, share: (u < share) & ((u < share).cumsum(0) == 1)
    ),
    "only the first word of a lost caption is replaced": lambda tokens, null, share, u: torch.where(
        (u < share)[:, None] & (torch.arange(tokens.shape[1]) == 0), null, tokens
    ),
    "the null caption is added, not put in its place": lambda tokens, null, share, u: (
        tokens + null * (u < share)[:, None]
    ),
    "the lost captions come last: each belongs in its own row": lambda tokens, null, share, u: torch.cat(
        [tokens[u >= share], null.expand(int((u < share).sum()), -1)]
    ),
    "the tokens become floats: they are whole numbers": lambda tokens, null, share, u: lost_captions(
        tokens, null, share, u
    ).float(),
    "says who is lost, and returns no captions": lambda tokens, null, share, u: u < share,
}


def lost_captions(tokens, null, share, u):
    """Row by row."""
    return torch.stack([null[0] if one < share else row for one, row in zip(u.tolist(), tokens)])


@pytest.mark.exercise("E7.3", points=2)
def test_loses_whole_captions_where_u_is_small(drop_captions):
    square, tokens = torch.arange(1, 10).view(3, 3), torch.arange(1, 19).view(6, 3)
    u = torch.tensor([0.9, 0.05, 0.2, 0.125, 0.75, 0.0])
    nulls = torch.tensor([[40, 41, 42]]), torch.tensor([[0, 0, 0]])
    inputs = [(square, nulls[0], 0.5, torch.tensor([0.2, 0.7, 0.4]))]
    inputs += [(tokens, null, share, u) for null in nulls for share in (0.5, 0.0, 0.125, 1.0)]
    inputs += [(tokens[:1], nulls[0], 0.95, u[:1]), (tokens[:, :1], torch.tensor([[7]]), 0.3, u)]
    (case,) = varied(((9, 4),), seed=73)
    inputs.append((case.integers(1, 50), case.integers(50, 60, 1, 4), case.number(0.3, 0.7), case.uniform(0, 1, 9)))
    agree(
        drop_captions,
        lost_captions,
        inputs,
        says="Rows with u < share become the null caption, the others stay.",
        mistakes=LOSS_MISTAKES,
    )


@pytest.mark.exercise("E7.3", points=1)
def test_loses_the_right_share(drop_captions):
    tokens = torch.arange(1, 2001).view(1000, 2)
    agree(
        drop_captions,
        lost_captions,
        [(tokens, torch.zeros(1, 2, dtype=torch.long), 0.1, torch.rand(1000, generator=generator(8)))],
        says="With share = 0.1 about one caption in ten is lost, exactly those with u < 0.1.",
        mistakes=LOSS_MISTAKES,
    )


# Inside of the model that is handed in, the same under every key: what it is asked about is drawn by key.
TABLE = torch.randn(10, 2, generator=torch.Generator().manual_seed(7))


def answer(x, t, tokens):
    """A model with a mind of its own: its guess depends on x, on t and on every word."""
    if t.shape != x.shape[:1] or tokens.shape[:1] != x.shape[:1]:
        told = ", ".join(f"{name} {tuple(each.shape)}" for name, each in (("x", x), ("t", t), ("tokens", tokens)))
        raise ValueError(f"model(x, t, tokens) wants a row of tokens and a number t for each row of x; got {told}")
    return 0.4 * x + TABLE[tokens].mean(1) * (1 + t[:, None])


class Answering:
    """`answer` with its tokens filled in, as the package's own sampler wants it."""

    def __init__(self, tokens, schedule, ask=None):
        self.tokens, self.schedule, self.ask = tokens, schedule, ask or answer

    def __call__(self, x, t):
        return self.ask(x, t, self.tokens.expand(len(x), -1))


def walking(times=lambda times: times, scale=lambda scale: scale, null=lambda null: null, ask=None):
    """DDIM steps of the package under guidance, with one thing replaced, as a whole answer."""

    changed_null, changed_times, changed_scale = null, times, scale

    def walk(model, tokens, null, noise, times, scale, schedule):
        cond, uncond = Answering(tokens, schedule, ask), Answering(changed_null(null), schedule, ask)
        times, x = changed_times(times), noise
        for state in ddim(guide(cond, uncond, changed_scale(scale)), noise, torch.tensor(times)) if times[1:] else ():
            x = state.x
        return x

    return walk


def mixing(cond, uncond, scale):
    return uncond + scale * (cond - uncond)


def looping(
    go=lambda to, cond, uncond, scale: to(mixing(cond, uncond, scale)),
    asked=lambda t, s: t,
    about=lambda x, noise: x,
    order=lambda x: torch.cat([x, x]),
):
    """The loop that the exercise asks for, with one thing replaced, as a whole answer: all x, from the noise on.

    go(to, cond, uncond, scale) is the next x; to(x0_hat) is where a step with this guess leads.
    """

    def walk(model, tokens, null, noise, times, scale, schedule):
        n, walked = len(tokens), [noise]
        both = torch.cat([tokens, null.expand(n, -1)])
        for t, s in pairwise(times):
            x = walked[-1]
            cond, uncond = model(order(about(x, noise)), torch.full((2 * n,), float(asked(t, s))), both).chunk(2)
            walked.append(go(lambda guess, x=x, t=t, s=s: step(schedule, x, guess, t, s), cond, uncond, scale))
        return walked

    return walk


def looped(**replaced):
    return lambda *given: looping(**replaced)(*given)[-1]


def apart(model, tokens, null, noise, times, scale, schedule):
    """The two halves of the batch walk apart: the guess without a caption is of another x."""
    x, n = torch.cat([noise, noise]), len(tokens)
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in pairwise(times):
        cond, uncond = model(x, torch.full((2 * n,), t), both).chunk(2)
        x = step(schedule, x, torch.cat([mixing(cond, uncond, scale), uncond]), t, s)
    return x[:n]


AT_THE_NEXT = "the model is asked at the time of the next x, not of this one"
WHOLE_TIMES = "the times are rounded down to whole numbers"
STOPS_EARLY = "returns after the first step: `return` stands in the loop"
NULL = torch.tensor([[8, 0, 0, 0]])
TOKENS = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 9]])
TIMES = [1.0, 0.8, 0.55, 0.3, 0.0]
EARLY = [1.0, 0.6, 0.2]  # ends where there is still noise
WALK_MISTAKES = {
    "the null caption is all 0, not `null`": walking(null=torch.zeros_like),
    "returns the last guess, not x": walking(times=lambda times: [*times[:-1], 0.0]),
    "the CFG paper's w, which is scale - 1": walking(scale=lambda scale: scale + 1),
    "scale - 1 for scale": walking(scale=lambda scale: scale - 1),
    "cond and uncond are swapped": walking(scale=lambda scale: 1 - scale),
    "guidance is not used": walking(scale=lambda scale: 1.0),
    "the caption is not used": walking(scale=lambda scale: 0.0),
    "the difference has the wrong sign": walking(scale=lambda scale: -scale),
    "scale is squared": walking(scale=lambda scale: scale**2),
    "the last step is missing": walking(times=lambda times: times[:-1]),
    "the first step is missing": walking(times=lambda times: times[1:]),
    "one big step, from the first time to the last": walking(times=lambda times: [times[0], times[-1]]),
    "the model is asked at t = 1 in every step": walking(
        ask=lambda x, t, tokens: answer(x, torch.ones_like(t), tokens)
    ),
    "returns the noise": lambda model, tokens, null, noise, times, scale, schedule: noise,
    "scale times the guess with the caption: the guess without is missing": looped(go=lambda to, c, u, w: to(w * c)),
    "the difference alone: the guess without the caption is not added": looped(go=lambda to, c, u, w: to(w * (c - u))),
    "a weighted mean of the guesses": looped(go=lambda to, c, u, w: to((w * c + u) / (1 + w))),
    "the guess is clipped to [-1, 1]": looped(go=lambda to, c, u, w: to(mixing(c, u, w).clamp(-1, 1))),
    "guidance is added to x, not to the guess": looped(go=lambda to, c, u, w: to(c) + w * (c - u)),
    "the model is asked about the noise in every step, not about x": looped(about=lambda x, noise: noise),
    "x is repeated row by row, the captions are not: pairs do not match": looped(
        order=lambda x: x.repeat_interleave(2, 0)
    ),
    AT_THE_NEXT: looped(asked=lambda t, s: s),
    WHOLE_TIMES: looped(asked=lambda t, s: int(t)),
    STOPS_EARLY: lambda *given: looping()(*given)[1],
    "the guess without a caption is of another x: both walk apart": apart,
    "all x are returned, not the last": lambda *given: torch.stack(looping()(*given)),
    "both halves of the batch are returned": lambda *given: looping()(*given)[-1].repeat(2, 1),
}


@pytest.mark.exercise("E7.4", points=3)
def test_walks_as_the_mixture_of_two_guesses_says(guided_sample):
    (noise,) = normal((3, 2), seed=5)
    (one,) = normal((1, 2), seed=6)
    inputs = [
        (answer, TOKENS, NULL, noise, times, scale, schedule)
        for schedule in (cosine(), straight())
        for scale, times in ((3.0, TIMES), (1.0, TIMES), (0.0, TIMES), (3.0, EARLY))
    ]
    inputs.append((answer, TOKENS[1:2], NULL, one, [0.9, 0.4], 2.5, cosine()))
    agree(
        guided_sample,
        walking(),
        inputs,
        says="DDIM steps with uncond + scale (cond - uncond), from times[0] to times[-1].",
        mistakes=WALK_MISTAKES,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.exercise("E7.4", points=2)
def test_asks_the_model_once_a_step(guided_sample):
    model, (noise,) = Counted(answer, limit=100), normal((3, 2), seed=6)
    guided_sample(model, TOKENS, NULL, noise, TIMES, 3.0, cosine())
    times = [sorted({round(float(value), 4) for value in args[1]}) for args, _ in model.seen]
    expect(
        model.calls,
        4,
        says="Five times are four steps, and one call of the model a step: both guesses in one batch.",
        mistakes={
            "two calls a step: put both guesses into one batch": 8,
            "the last time is asked too": 5,
            STOPS_EARLY: 1,
        },
    )
    expect(
        times,
        [[1.0], [0.8], [0.55], [0.3]],
        says="Each call asks at the time where x is now, for every row.",
        mistakes={AT_THE_NEXT: [[0.8], [0.55], [0.3], [0.0]], WHOLE_TIMES: [[1.0], [0.0], [0.0], [0.0]]},
    )


def counting(share=lambda a, r: r.sum(0) / a.sum(0), full=lambda a, r: (r | ~a).all(1)):
    """Both answers from two masks, what is asked and what is asked and right, as a whole answer."""

    def answer(asked, seen):
        asks = asked >= 0
        right = asks & (asked == seen)
        return share(asks, right), full(asks, right)

    return answer


COUNT_MISTAKES = {
    "divides by all prompts": counting(share=lambda a, r: r.float().mean(0)),
    "what is not asked counts as kept": counting(share=lambda a, r: (r | ~a).float().mean(0)),
    "in full: what is not asked counts as missed": counting(full=lambda a, r: r.all(1)),
    "nan is replaced by 0: nothing asked is not nothing kept": counting(
        share=lambda a, r: (r.sum(0) / a.sum(0)).nan_to_num()
    ),
    "nan is replaced by 1: nothing asked is not all kept": counting(
        share=lambda a, r: (r.sum(0) / a.sum(0)).nan_to_num(1.0)
    ),
    "one attribute kept is not a prompt fully satisfied": counting(full=lambda a, r: r.any(1)),
    "shares by prompt, not by attribute": counting(share=lambda a, r: r.sum(1) / a.sum(1)),
    "one share for all attributes": counting(share=lambda a, r: r.sum() / a.sum()),
    "counts, not shares": counting(share=lambda a, r: r.sum(0)),
    "the share of misses": counting(share=lambda a, r: 1 - r.sum(0) / a.sum(0)),
    "in full as numbers, not bool": counting(full=lambda a, r: (r | ~a).all(1).float()),
    "in full: the share of prompts, not each prompt": counting(full=lambda a, r: (r | ~a).all(1).float().mean()),
    "full comes first": lambda asked, seen: counting()(asked, seen)[::-1],
    "0 is taken for not asked: -1 is": lambda asked, seen: counting()(asked - (asked == 0).long(), seen),
    "-1 is compared too, so that what is not asked counts as missed": counting(
        share=lambda a, r: r.float().mean(0), full=lambda a, r: r.all(1)
    ),
    "the axes are swapped: shares by prompt, in full by attribute": counting(
        share=lambda a, r: r.sum(1) / a.sum(1), full=lambda a, r: (r | ~a).all(0)
    ),
    "in full: a prompt's share of kept attributes, not whether all are": counting(
        full=lambda a, r: r.sum(1) / a.sum(1)
    ),
    "a prompt that asks nothing counts as not satisfied": counting(full=lambda a, r: (r | ~a).all(1) & a.any(1)),
    "shares of the prompts fully satisfied, not of the attributes kept": counting(
        share=lambda a, r: ((r | ~a).all(1, keepdim=True) & a).sum(0) / a.sum(0)
    ),
    "more than was asked counts as kept: it must be equal": lambda asked, seen: counting()(
        asked, torch.where(asked >= 0, seen.minimum(asked), seen)
    ),
}


def by_hand(asked, seen):
    """Column by column, and row by row, in Python."""
    pairs = [[(a == s) for a, s in zip(x, y) if a >= 0] for x, y in zip(asked.T.tolist(), seen.T.tolist())]
    shares = [sum(column) / len(column) if column else float("nan") for column in pairs]
    full = [all(a in (-1, s) for a, s in zip(x, y)) for x, y in zip(asked.tolist(), seen.tolist())]
    return torch.tensor(shares), torch.tensor(full)


@pytest.mark.exercise("E7.5", points=3)
def test_counts_only_what_was_asked(kept_shares):
    asked = torch.tensor([[2, 1, -1], [0, -1, -1], [1, 3, -1], [2, 2, -1], [-1, -1, -1]])
    seen = torch.tensor([[2, 0, 1], [0, 3, 2], [0, 3, 0], [2, 2, 1], [1, 1, 1]])
    (case,) = varied(((9, 5),), seed=7)
    drawn = case.integers(-1, 3), case.integers(0, 3)
    agree(
        kept_shares,
        by_hand,
        [(asked, seen), (asked[1:4], seen[1:4]), drawn, (asked[:1, :2], seen[:1, :2]), (asked[4:], seen[4:])],
        says="Per attribute: right ones over those that ask for it, nan where none does; and who kept everything.",
        mistakes=COUNT_MISTAKES,
        names=("shares", "full"),
    )


# ---- subjects of the property test -----------------------------------------------------------------------------------


def weights(*shape, seed):
    """Numbers of the encoders, the same under every key: how far each wrong one is off was measured with them."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


WORD, PLACE, TURN = weights(20, 6, seed=1), weights(40, 6, seed=2), weights(6, 6, seed=3) / 2.5


def pooled(place=lambda mask: mask.cumsum(1), hidden=lambda mask: mask, count=lambda mask: mask.sum(1) + 1):
    """An encoder that adds up word times place over the visible columns, and divides by their number (and one)."""

    def encode(tokens):
        mask = tokens != 0
        vectors = WORD[tokens] * PLACE[place(mask)]
        return (vectors * hidden(mask)[..., None]).sum(1) / count(mask)[:, None]

    return encode


def folded(start=0.0, pads=lambda row: [token for token in row if token]):
    """An encoder that reads one word after another: h <- tanh(h TURN + word)."""

    def encode(tokens):
        rows = []
        for row in tokens.tolist():
            h = torch.full((6,), start)
            for token in pads(row):
                h = torch.tanh(h @ TURN + WORD[token])
            rows.append(h)
        return torch.stack(rows)

    return encode


def trimmed(row):
    """Padding at the front is skipped, what comes later is read."""
    words = [k for k, token in enumerate(row) if token]
    return row[words[0] :] if words else []


def only(choose):
    """The right encoder, reading only the words that `choose` keeps."""
    return folded(pads=lambda row: choose([token for token in row if token]))


def crowded(tokens):
    whole = pooled()(tokens)
    return whole + 0.3 * (whole.mean(0) - whole) if len(tokens) > 1 else whole


def rounded(tokens):
    """Right to the last digits of float32: they depend on the number of columns, as where sums run in another order."""
    return (3 + pooled()(tokens)) * (1 + tokens.shape[1] % 5 * 2.0**-23)


TO_ROUNDING = "an encoder whose last digits vary with the padding"
FROM_ANOTHER_START = "one word read after another, from another start"
STRICTER = {
    TO_ROUNDING: "Does your test want equal digits? Sums round: give it a tolerance (assert_close has one).",
    (
        TO_ROUNDING,
        FROM_ANOTHER_START,
    ): "Does your test want zeros for a caption of padding alone? Nobody promised them.",
}
RIGHT_ENCODERS = {
    TO_ROUNDING: rounded,
    "word times place, added up over the words": pooled(),
    "one word read after another": folded(),
    FROM_ANOTHER_START: folded(start=0.5),
}
WRONG_ENCODERS = {
    "says the same for every caption": lambda tokens: torch.ones(len(tokens), 6),
    "padding is a word like any other": folded(pads=lambda row: row),
    "the mean is taken over the padding too": pooled(count=lambda mask: torch.full((len(mask),), mask.shape[1])),
    "places count columns, not words": pooled(place=lambda mask: torch.arange(mask.shape[1]).expand(mask.shape)),
    "the order of the words is lost": pooled(place=lambda mask: torch.zeros_like(mask, dtype=torch.long)),
    "NaN for a caption of padding alone": pooled(count=lambda mask: mask.sum(1)),
    "other captions of the batch are heard": crowded,
    "padding in front is skipped, between and behind it is not": folded(pads=trimmed),
    "the last word is not heard": only(lambda words: words[:-1]),
    "stops at the first padding": folded(pads=lambda row: row[: row.index(0)] if 0 in row else row),
}


@pytest.mark.exercise("E7.6", points=2)
def test_accepts_right_encoders_and_rejects_the_crude_ones(test_encoder):
    crude = ("says the same for every caption", "padding is a word like any other")
    run_against(test_encoder, RIGHT_ENCODERS, {name: WRONG_ENCODERS[name] for name in crude}, stricter=STRICTER)


@pytest.mark.exercise("E7.6", points=3)
def test_rejects_the_subtle_encoders_too(test_encoder):
    run_against(test_encoder, RIGHT_ENCODERS, WRONG_ENCODERS, seed=1, stricter=STRICTER)
