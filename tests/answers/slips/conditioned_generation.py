"""Slips in notebook 07."""

import itertools

import torch

from cs348k_diffusion.sampling import step


def padding(place, mask_of=lambda tokens, rows, width: tokens != 0, fill=0, dtype=torch.long):
    def pad(rows, width):
        tokens = torch.full((len(rows), width), fill, dtype=dtype)
        for k, row in enumerate(rows):
            place(tokens, k, row)
        return tokens, mask_of(tokens, rows, width)

    return pad


def put(tokens, k, row):
    tokens[k, : len(row)] = torch.tensor(row)


def put_first_only(tokens, k, row):
    tokens[k, : len(row)] = torch.tensor(rows_sorted(row))


def rows_sorted(row):
    return sorted(row)


def repeated(rows, width):
    tokens = torch.tensor([(row * width)[:width] if row else [0] * width for row in rows])
    return tokens, torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]


def reading(score=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
            hide=lambda s, mask: s.masked_fill(~mask[:, None], -torch.inf),
            share=lambda s: s.softmax(-1), out=lambda h, o: h + o):  # fmt: skip
    def read(h, words, mask, w_q, w_k, w_v, w_o):
        pixels = h.flatten(2).transpose(1, 2)
        q, k, v = pixels @ w_q, words @ w_k, words @ w_v
        o = (share(hide(score(q, k), mask)) @ v @ w_o).transpose(1, 2).unflatten(2, h.shape[2:])
        return out(h, o)

    return read


def sampling(mix, times_of=lambda t, s: (t, s), null_of=lambda null, tokens: null.expand_as(tokens), start=None):
    def sample(model, tokens, null, noise, times, scale, schedule):
        x, both = noise, torch.cat([tokens, null_of(null, tokens)])
        for t, s in itertools.pairwise(times):
            asked, (now, then) = t, times_of(t, s)
            guesses = model(torch.cat([x, x]), torch.full((len(both),), asked), both).chunk(2)
            x = step(schedule, x, mix(*guesses, scale), now, then)
        return x

    return sample


def usual(cond, uncond, scale):
    return uncond + scale * (cond - uncond)


def encoder_of_one(encode):
    said = encode(torch.tensor([[3, 1, 4, 2]]))
    torch.testing.assert_close(encode(torch.tensor([[3, 1, 4, 2, 0, 0]])), said, rtol=1e-3, atol=1e-4)


def encoder_of_orders(encode):
    one, other = encode(torch.tensor([[3, 1, 4, 2], [3, 1, 2, 4]]))
    assert (one - other).abs().max() > 1e-3


SLIPS = {
    "E7.1": {
        "the words are sorted": padding(put_first_only),
        "the caption is repeated": repeated,
        "the mask by length <=": padding(
            put,
            lambda tokens, rows, width: torch.arange(width) <= torch.tensor([len(row) for row in rows])[:, None],
        ),
    },
    "E7.2": {
        "multiplied by sqrt(d)": reading(score=lambda q, k: q @ k.mT * q.shape[-1] ** 0.5),
        "a minus in the scores": reading(score=lambda q, k: -q @ k.mT / q.shape[-1] ** 0.5),
        "no softmax": reading(share=lambda s: s.masked_fill(s == -torch.inf, 0.0)),
    },
    "E7.3": {
        "u <= share": lambda tokens, null, share, u: torch.where((u > 1 - share)[:, None], tokens, null),
        "the share is squared": lambda tokens, null, share, u: torch.where((u < share**2)[:, None], null, tokens),
        "in the opposite order": lambda tokens, null, share, u: torch.where((u.flip(0) < share)[:, None], null, tokens),
    },
    "E7.4": {
        "cond + scale uncond": sampling(lambda c, u, w: c + w * u),
        "scale times the guess": sampling(lambda c, u, w: w * usual(c, u, w)),
        "scale is rooted": sampling(lambda c, u, w: u + w**0.5 * (c - u)),
    },
    "E7.5": {
        "the mean of all": lambda asked, seen: ((asked == seen).float().mean(0), (asked == seen).all(1)),
        "misses among those asked": lambda asked, seen: (
            ((asked >= 0) & (asked != seen)).sum(0) / (asked >= 0).sum(0),
            ((asked == seen) | (asked < 0)).all(1),
        ),
        "any": lambda asked, seen: (
            ((asked >= 0) & (asked == seen)).sum(0) / (asked >= 0).sum(0),
            ((asked == seen) & (asked >= 0)).any(1),
        ),
    },
    "E7.6": {
        "padding behind alone": encoder_of_one,
        "the order alone": encoder_of_orders,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E7.1": {
        "the words are sorted": ("the words are sorted",),
        "the mask by length <=": ("the mask shows one word too many",),
    },
    "E7.2": {
        "multiplied by sqrt(d)": ("multiplied by sqrt(d), not divided",),
        "a minus in the scores": ("the scores have the wrong sign",),
        "no softmax": ("no softmax",),
    },
    "E7.3": {
        "u <= share": ("1 - share of them are lost, not share",),
        "the share is squared": (
            "`share` is squared",
            "the root of `u`",
        ),
        "in the opposite order": ("`u` is in the opposite order",),
    },
    "E7.4": {
        "scale is rooted": ("the root of `scale`",),
    },
    "E7.5": {
        "the mean of all": ("-1 is compared too, so that what is not asked counts as missed",),
        "misses among those asked": ("the share of misses",),
        "any": ("one attribute kept is not a prompt fully satisfied",),
    },
    "E7.6": {
        "padding behind alone": ("It accepts",),
        "the order alone": ("It accepts",),
    },
}
