"""Checks of notebook 07: captions as tokens, pixels that ask words, prompts that count, and reading what came out."""

import pytest
import torch

from cs348k_diffusion.exercises import Counted, Exercise, expect, run_against
from cs348k_diffusion.guidance import guide
from cs348k_diffusion.sampling import ddim
from cs348k_diffusion.schedule import cosine, straight

EXERCISES = (
    Exercise(
        "E7.1",
        "pad_captions",
        "Captions of one length",
        hints=(
            "Start from a tensor of zeros of the final shape, of whole numbers (torch.long), and fill in each row from "
            "the left.",
            "No word has the number 0, so the mask needs no counting: tokens != 0.",
        ),
        withheld=("nets.caption.Tokenizer", "nets.caption.visible"),
    ),
    Exercise(
        "E7.2",
        "read_caption",
        "Pixels ask, words answer",
        hints=(
            "h.flatten(2).transpose(1, 2) is a row for each pixel. q comes from pixels, k and v from words; the scores "
            "q k^T / sqrt(d) have shape (batch, pixels, words).",
            "Scores of hidden words become -inf before the softmax over words: "
            "masked_fill(~mask[:, None], -torch.inf). At the end .transpose(1, 2).unflatten(2, h.shape[2:]) is an "
            "image again; add it to h.",
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
        hints=(
            "One number u decides for a whole row. u < share is True for the captions to lose.",
            "torch.where(lost[:, None], null, tokens) chooses row by row.",
        ),
        withheld=("denoiser.drop",),
    ),
    Exercise(
        "E7.4",
        "guided_sample",
        "The guided sampler",
        hints=(
            "One call for both guesses: torch.cat([x, x]) with torch.cat([tokens, null, null, ...]), then .chunk(2).",
            "x0_hat = uncond + scale (cond - uncond) goes into step(schedule, x, x0_hat, t, s), for each pair of "
            "neighbouring times (t, s).",
        ),
        withheld=("guidance.guide", "sampling.ddim", "sampling.sample", "pipeline.Pipeline"),
    ),
    Exercise(
        "E7.5",
        "kept_shares",
        "Did it do what it was asked?",
        hints=(
            "Two masks of shape (n, k): asks = asked >= 0, and right = asks & (asked == seen). A share is right ones "
            "over asked ones, column by column.",
            "A prompt is kept in full when each attribute is right or not asked for: (right | ~asks).all(1).",
        ),
        withheld=("recipes.picture_reader.adherence",),
    ),
    Exercise(
        "E7.6",
        "test_encoder",
        "A property test for caption encoders",
        hints=(
            "Encode one caption, then the same words with padding behind, in front and between: all must agree. Two "
            "captions that differ in the order of their words must not.",
            "Three more: a caption means the same whatever else is in the batch; the caption of padding alone gives "
            "finite numbers; captions that differ in their last word differ.",
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


@pytest.mark.exercise("E7.1", points=2)
def test_fills_up_with_zeros_and_says_where_words_are(pad_captions):
    for rows, width in ((ROWS, 6), (ROWS, 9), ([[7]], 1)):
        tokens = filled(rows, width)
        mask = tokens != 0
        late = torch.arange(width) <= torch.tensor([[len(row)] for row in rows])
        left = filled(rows, width, left=True)
        expect(
            pad_captions(rows, width),
            (tokens, mask),
            says=f"Tokens with zeros behind them, then a mask that is True for words; tried {len(rows)} rows, {width}.",
            mistakes={
                "the mask is True for padding": (tokens, ~mask),
                "the padding comes first": (left, left != 0),
                "the mask shows one word too many": (tokens, late),
                "the mask comes first": (mask, tokens),
                "the mask is numbers, not bool": (tokens, mask.float()),
                "tokens are not whole numbers (torch.long)": (tokens.float(), mask),
                "the mask hides nothing": (tokens, torch.ones_like(mask)),
            },
        )


def normal(*shapes, seed):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=g) for shape in shapes]


def looking(h, words, mask, w_q, w_k, w_v, w_o, how=""):
    """Cross-attention written pixel by pixel; `how` names a mistake to make."""
    b, _, height, width = h.shape
    out = torch.empty(b, w_o.shape[1], height, width)
    if how == "pixels":  # one softmax over all pixels for each word
        q = h.flatten(2).transpose(1, 2) @ w_q
        p = (q @ (words @ w_k).transpose(1, 2) / w_q.shape[1] ** 0.5).softmax(1) * mask[:, None]
        return h + (p @ (words @ w_v) @ w_o).transpose(1, 2).view(b, -1, height, width)
    d = {"unscaled": 1, "width of words": len(w_k), "width of values": w_v.shape[1], "width of pixels": h.shape[1]}
    for i in range(b):
        keys, values = words[i] @ w_k, words[i] @ w_v
        if how == "swapped":
            keys, values = values, keys
        for y in range(height):
            for x in range(width):
                s = keys @ (h[i, :, y, x] @ w_q)
                s = s / d.get(how, w_k.shape[1]) ** 0.5
                if how == "zero":
                    s = torch.where(mask[i], s, torch.zeros(()))
                elif how not in ("unmasked", "late"):
                    s = torch.where(~mask[i] if how == "inverted" else mask[i], s, torch.tensor(-torch.inf))
                p = s.softmax(0) * (mask[i] if how == "late" else 1)
                out[i, :, y, x] = p @ values @ w_o
    return out if how == "alone" else h + out


def a_look(seed, scale=1.0, e=3):
    h, words, w_q, w_k, w_v, w_o = normal((2, 4, 2, 3), (2, 5, 6), (4, 3), (6, 3), (6, e), (e, 4), seed=seed)
    mask = torch.tensor([[True, True, False, True, False], [True, False, False, False, False]])
    return scale * h, words, mask, w_q, w_k, w_v, w_o


WAYS = {
    "the mask is not used": "unmasked",
    "the mask is applied after the softmax, so that the shares do not sum to 1": "late",
    "hidden words get the score 0 instead of -inf": "zero",
    "the mask is upside down": "inverted",
    "sqrt(d) is missing": "unscaled",
    "sqrt of the width of the words instead of that of the queries": "width of words",
    "sqrt of the width of the values instead of that of the queries": "width of values",
    "sqrt of the channels of the picture instead of that of the queries": "width of pixels",
    "the softmax runs over pixels instead of words": "pixels",
    "keys and values are swapped": "swapped",
    "h itself is not added": "alone",
}


def mislooked(h, *rest):
    """What each likely mistake gives."""
    right = looking(h, *rest)
    shuffled = (right - h).flatten(2).transpose(1, 2).reshape(right.shape)
    mixed = h.reshape(len(h), -1, h.shape[1]).transpose(1, 2).reshape(h.shape)
    ways = {name: how for name, how in WAYS.items() if how != "swapped" or rest[3].shape == rest[4].shape}
    return {
        **{name: (lambda how=how: looking(h, *rest, how=how)) for name, how in ways.items()},
        "pixels and channels are mixed: flatten(2), then transpose": lambda: h + looking(mixed, *rest, how="alone"),
        "pixels are shuffled: transpose back before unflatten": h + shuffled,
        "the answer is subtracted": 2 * h - right,
    }


@pytest.mark.exercise("E7.2", points=3)
def test_takes_from_each_word_by_softmax(read_caption):
    for seed, e in ((1, 3), (2, 5)):
        given = a_look(seed, e=e)
        expect(
            read_caption(*given),
            looking(*given),
            mistakes=mislooked(*given),
            rtol=1e-4,
            atol=1e-5,
            says=f"h plus softmax(Q K^T / sqrt(d)) V W_O, with hidden words left out; tried d = 3, e = {e}.",
        )
    h, *rest = given
    kept = read_caption.construct(h, *rest)  # some picture that stays where the answer runs: the next h
    before = kept.data.clone()
    read_caption(kept, *rest)
    expect(kept.data, before, says="h is changed in place: the caller's pixels must stay as they are.")


@pytest.mark.exercise("E7.2", points=2)
def test_hidden_words_do_not_matter_and_large_scores_do_no_harm(read_caption):
    h, words, mask, w_q, w_k, w_v, w_o = a_look(3, scale=200.0)
    weights = (w_q, w_k, w_v, w_o)
    other = torch.where(mask[..., None], words, 7 - words)
    expect(
        read_caption(h, other, mask, *weights),
        looking(h, words, mask, *weights),
        says="Whatever stands where the mask is False, and however large the scores, the answer is the same.",
        mistakes={"the mask is not used": lambda: looking(h, other, mask, *weights, how="unmasked")},
        rtol=1e-3,
        atol=1e-2,
    )


@pytest.mark.exercise("E7.3", points=2)
def test_loses_whole_captions_where_u_is_small(drop_captions):
    tokens = torch.arange(1, 19).view(6, 3)
    u = torch.tensor([0.05, 0.9, 0.2, 0.1, 0.75, 0.0])
    for null in (torch.tensor([[0, 0, 0]]), torch.tensor([[40, 41, 42]])):
        for share in (0.0, 0.5, 0.1, 1.0):
            lost = u < share
            first, ranked = torch.arange(6) < round(share * 6), u.argsort().argsort() < int(share * 6)
            expect(
                drop_captions(tokens.clone(), null, share, u),
                torch.stack([null[0] if gone else row for gone, row in zip(lost, tokens)]),
                says=f"Rows with u < share become the null caption, the others stay; tried share = {share}.",
                mistakes={
                    "keeps what should be lost": torch.where(lost[:, None], tokens, null),
                    "the lost captions are 0, not the null caption": tokens * ~lost[:, None],
                    "the first ones are lost, whatever u says": torch.where(first[:, None], null, tokens),
                    "always the same number is lost, by rank of u": torch.where(ranked[:, None], null, tokens),
                    "one draw decides for the whole batch": null.expand(6, 3).clone() if lost[0] else tokens,
                    "nothing is lost": tokens,
                    "u = share is lost too": torch.where((u <= share)[:, None], null, tokens),
                    "single words are lost, not captions": torch.where((u < share).repeat(3).view(6, 3), null, tokens),
                },
            )
    kept = drop_captions.construct(tokens, torch.tensor([[0, 0, 0]]), 0.0, u)  # tokens that stay where the answer runs
    drop_captions(kept, torch.tensor([[0, 0, 0]]), 0.5, u)
    expect(kept.data, tokens, says="tokens are changed in place: the caller's captions must stay as they are.")


@pytest.mark.exercise("E7.3", points=1)
def test_loses_the_right_share(drop_captions):
    tokens = torch.arange(1, 2001).view(1000, 2)
    u = torch.rand(1000, generator=torch.Generator().manual_seed(8))
    left = drop_captions(tokens, torch.zeros(1, 2, dtype=torch.long), 0.1, u)
    expect(
        int((left == 0).all(1).sum()),
        int((u < 0.1).sum()),
        says="With share = 0.1 about one caption in ten is lost, exactly those with u < 0.1.",
        mistakes={"keeps what should be lost": int((u >= 0.1).sum()), "nothing is lost": 0},
    )


TABLE = torch.randn(10, 2, generator=torch.Generator().manual_seed(7))


def answer(x, t, tokens):
    """A model with a mind of its own: its guess depends on x, on t and on every word."""
    if t.shape != x.shape[:1] or tokens.shape[:1] != x.shape[:1]:
        told = ", ".join(f"{name} {tuple(each.shape)}" for name, each in (("x", x), ("t", t), ("tokens", tokens)))
        raise ValueError(f"model(x, t, tokens) wants a row of tokens and a number t for each row of x; got {told}")
    return 0.4 * x + TABLE[tokens].mean(1) * (1 + t[:, None])


class Answering:
    """`answer` with its tokens filled in, as the package's own sampler wants it."""

    def __init__(self, tokens, schedule):
        self.tokens, self.schedule = tokens, schedule

    def __call__(self, x, t):
        return answer(x, t, self.tokens.expand(len(x), -1))


def guided(schedule, tokens, null, noise, times, scale):
    both = guide(Answering(tokens, schedule), Answering(null, schedule), scale)
    return list(ddim(both, noise, torch.tensor(times)))[-1].x


NULL = torch.tensor([[8, 0, 0, 0]])
TOKENS = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 9]])
TIMES = [1.0, 0.8, 0.55, 0.3, 0.0]
EARLY = [1.0, 0.6, 0.2]  # ends where there is still noise


@pytest.mark.exercise("E7.4", points=3)
def test_walks_as_the_mixture_of_two_guesses_says(guided_sample):
    (noise,) = normal((3, 2), seed=5)
    for schedule in (cosine(), straight()):
        for scale, times in ((3.0, TIMES), (1.0, TIMES), (0.0, TIMES), (3.0, EARLY)):

            def walk(tokens=TOKENS, null=NULL, times=times, scale=scale, schedule=schedule):
                return guided(schedule, tokens, null, noise, times, scale)

            expect(
                guided_sample(answer, TOKENS, NULL, noise, times, scale, schedule),
                walk(),
                says=f"DDIM steps with uncond + scale (cond - uncond); scale {scale:g}, {schedule.name}, {times}.",
                mistakes={
                    "the null caption is all 0, not `null`": lambda walk=walk: walk(null=torch.zeros_like(NULL)),
                    "returns the last guess, not x": lambda walk=walk, times=times: walk(times=[*times[:-1], 0.0]),
                    "the CFG paper's w, which is scale - 1": lambda walk=walk, scale=scale: walk(scale=scale + 1),
                    "cond and uncond are swapped": lambda walk=walk, scale=scale: walk(scale=1 - scale),
                    "guidance is not used": lambda walk=walk: walk(scale=1.0),
                    "the caption is not used": lambda walk=walk: walk(scale=0.0),
                    "the difference has the wrong sign": lambda walk=walk, scale=scale: walk(scale=-scale),
                    "the last step is missing": lambda walk=walk, times=times: walk(times=times[:-1]),
                    "the first step is missing": lambda walk=walk, times=times: walk(times=times[1:]),
                    "returns the noise": noise,
                },
                rtol=1e-3,
                atol=1e-4,
            )
    kept = guided_sample.construct(answer, TOKENS, NULL, noise, TIMES, 1.0, cosine())  # stays where the answer runs
    before = kept.data.clone()
    guided_sample(answer, TOKENS, NULL, kept, TIMES, 1.0, cosine())
    expect(kept.data, before, says="noise is changed in place: the caller's noise must stay as it is.")


@pytest.mark.exercise("E7.4", points=2)
def test_asks_the_model_once_a_step(guided_sample):
    model, (noise,) = Counted(answer, limit=100), normal((3, 2), seed=6)
    guided_sample(model, TOKENS, NULL, noise, TIMES, 3.0, cosine())
    times = [sorted({round(float(value), 4) for value in args[1]}) for args, _ in model.seen]
    expect(
        model.calls,
        4,
        says="Five times are four steps, and one call of the model a step: both guesses in one batch.",
        mistakes={"two calls a step: put both guesses into one batch": 8, "the last time is asked too": 5},
    )
    expect(times, [[1.0], [0.8], [0.55], [0.3]], says="Each call asks at the time where x is now, for every row.")


@pytest.mark.exercise("E7.5", points=3)
def test_counts_only_what_was_asked(kept_shares):
    asked = torch.tensor([[2, 1, -1], [0, -1, -1], [1, 3, -1], [2, 2, -1], [-1, -1, -1]])
    seen = torch.tensor([[2, 0, 1], [0, 3, 2], [0, 3, 0], [2, 2, 1], [1, 1, 1]])
    asks, same = asked >= 0, asked == seen
    right = asks & same
    share, full = right.sum(0) / asks.sum(0), (right | ~asks).all(1)
    for rows in (slice(None), slice(1, 4)):
        a, r, e = asks[rows], right[rows], same[rows]
        want = (r.sum(0) / a.sum(0), full[rows])
        expect(
            kept_shares(asked[rows], seen[rows]),
            want,
            says="Per attribute: right ones over those that ask for it, nan where none does; and who kept everything.",
            mistakes={
                "divides by all prompts": (r.double().mean(0).float(), want[1]),
                "what is not asked counts as kept": ((r | ~a).float().mean(0), want[1]),
                "what is not asked counts as missed": (want[0], r.all(1)),
                "nan is replaced by 0: nothing asked is not nothing kept": (want[0].nan_to_num(), want[1]),
                "one attribute kept is not a prompt kept in full": (want[0], r.any(1)),
                "shares by prompt, not by attribute": lambda a=a, r=r, want=want: (r.sum(1) / a.sum(1), want[1]),
                "the share of misses": (1 - want[0], want[1]),
                "in full as numbers, not bool": (want[0], want[1].float()),
                "does not look at what is asked": (e.float().mean(0), e.all(1)),
            },
        )
    expect(tuple(share.shape), (3,), says="One share for each attribute.")


# ---- subjects of the property test -----------------------------------------------------------------------------------


def weights(*shape, seed):
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


RIGHT_ENCODERS = [pooled(), folded(), folded(start=0.5)]
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
    run_against(test_encoder, RIGHT_ENCODERS, {name: WRONG_ENCODERS[name] for name in crude})


@pytest.mark.exercise("E7.6", points=3)
def test_rejects_the_subtle_encoders_too(test_encoder):
    run_against(test_encoder, RIGHT_ENCODERS, WRONG_ENCODERS, seed=1)
