"""Answers to notebook 07: right ones written differently, and wrong ones by name."""

import itertools

import torch
from torch.nn import functional as F

from cs348k_diffusion import step


def pad_by_sequence(rows, width):
    tokens = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in [*rows, [0] * width]], batch_first=True
    )[:-1]
    return tokens, tokens > 0


def pad_by_lists(rows, width):
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.long)
    return tokens, torch.arange(width).expand(len(rows), width) < lengths[:, None]


def pad_by_padding(rows, width):
    found = [F.pad(torch.tensor(row, dtype=torch.long), (0, width - len(row))) for row in rows]
    return torch.stack(found), torch.stack(found).bool()


def pad_in_the_lists(rows, width):
    for row in rows:
        row += [0] * (width - len(row))
    tokens = torch.tensor(rows, dtype=torch.long)
    return tokens, tokens != 0


def pad_to_the_longest(rows, width):
    tokens, mask = pad_by_lists(rows, width)
    longest = max(map(len, rows))
    return tokens[:, :longest], mask[:, :longest]


def padding(change):
    return lambda rows, width: change(*pad_by_lists(rows, width))


def pad_in_front(rows, width):
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], dtype=torch.long)
    return tokens, tokens != 0


def pad_one_too_many(rows, width):
    tokens, mask = pad_by_lists(rows, width)
    return tokens, torch.arange(width).expand(mask.shape) <= mask.sum(1, keepdim=True)


def read_by_einsum(h, words, mask, w_q, w_k, w_v, w_o):
    q = torch.einsum("bchw,cd->bhwd", h, w_q)
    s = torch.einsum("bhwd,bmd->bhwm", q, words @ w_k) * w_q.shape[1] ** -0.5
    p = torch.where(mask[:, None, None], s, torch.tensor(-torch.inf)).softmax(3)
    return h + torch.einsum("bhwm,bme,ec->bchw", p, words @ w_v, w_o)


def read_by_torch(h, words, mask, w_q, w_k, w_v, w_o):
    rows = h.permute(0, 2, 3, 1).reshape(len(h), -1, h.shape[1])
    seen = F.scaled_dot_product_attention(rows @ w_q, words @ w_k, words @ w_v, attn_mask=mask[:, None])
    return h + (seen @ w_o).view(len(h), *h.shape[2:], -1).permute(0, 3, 1, 2)


def reading(hide=None, scale=None, dim=-1, swap=False, back=None):
    """Cross-attention with one part replaced."""

    def read_caption(h, words, mask, w_q, w_k, w_v, w_o):
        q, k, v = h.flatten(2).transpose(1, 2) @ w_q, words @ w_k, words @ w_v
        k, v = (v, k) if swap else (k, v)
        s = q @ k.transpose(1, 2) / (q.shape[-1] ** 0.5 if scale is None else scale(words))
        p = s.masked_fill(~mask[:, None], -torch.inf).softmax(dim) if hide is None else hide(s, mask[:, None])
        away = p @ v @ w_o
        return h + away.transpose(1, 2).unflatten(2, h.shape[2:]) if back is None else back(h, away)

    return read_caption


def read_pixel_by_pixel(h, words, mask, w_q, w_k, w_v, w_o):
    new = h.clone()
    for y in range(h.shape[2]):
        for x in range(h.shape[3]):
            s = torch.einsum("bd,bmd->bm", h[:, :, y, x] @ w_q, words @ w_k) / w_q.shape[1] ** 0.5
            p = s.masked_fill(mask.logical_not(), float("-inf")).softmax(1)
            new[:, :, y, x] += torch.einsum("bm,bme->be", p, words @ w_v) @ w_o
    return new


def read_visible_words(h, words, mask, w_q, w_k, w_v, w_o):
    """Caption by caption, and without the hidden words."""
    read = []
    for picture, caption, there in zip(h, words, mask):
        seen, rows = caption[there], picture.flatten(1).T
        p = torch.softmax(rows @ w_q @ (seen @ w_k).T * w_k.shape[1] ** -0.5, 1)
        read.append(picture + (p @ (seen @ w_v @ w_o)).T.reshape(picture.shape))
    return torch.stack(read)


def read_in_place(h, *rest):
    return h.copy_(read_by_torch(h, *rest))


def read_mixed(h, *rest):
    rows = h.reshape(len(h), -1, h.shape[1]).transpose(1, 2).reshape(h.shape)
    return h + read_by_torch(rows, *rest) - rows


def reading_by_width(width):
    """sqrt of another width than that of the queries."""
    return lambda h, words, mask, w_q, w_k, w_v, w_o: read_by_torch(
        h, words, mask, w_q * (w_q.shape[1] / width(h, w_v)) ** 0.5, w_k, w_v, w_o
    )


def naive_softmax(s, mask):
    f = torch.exp(s) * mask
    return f / f.sum(-1, keepdim=True)


def drop_by_loop(tokens, null, share, u):
    return torch.stack([null[0] if one < share else row for row, one in zip(tokens, u)])


def drop_by_index(tokens, null, share, u):
    kept = tokens.clone()
    kept[u < share] = null
    return kept


def drop_by_mixing(tokens, null, share, u):
    gone = (u < share).long().unsqueeze(1)
    return gone * null + (1 - gone) * tokens


def drop_where(flags):
    """Other captions are lost: flags(u, share)."""
    return lambda tokens, null, share, u: torch.where(flags(u, share)[:, None], null, tokens)


def drop_across(tokens, null, share, u):
    return torch.where(u < share, null, tokens)


def drop_in_place(tokens, null, share, u):
    tokens[u < share] = null
    return tokens


def guided_by_rows(model, tokens, null, noise, times, scale, schedule):
    n, x = len(noise), noise
    everything = torch.cat([null.repeat(n, 1), tokens])
    for k in range(len(times) - 1):
        guess = model(x.repeat(2, *[1] * (x.ndim - 1)), torch.ones(2 * n) * times[k], everything)
        x = step(schedule, x, (1 - scale) * guess[:n] + scale * guess[n:], times[k], times[k + 1])
    return x


def guided_by_hand(model, tokens, null, noise, times, scale, schedule):
    x = noise
    for k in range(len(times) - 1):
        t, s = times[k], times[k + 1]
        batch = torch.stack([x, x], 1).flatten(0, 1)
        asked = torch.stack([tokens, null.expand_as(tokens)], 1).flatten(0, 1)
        guess = model(batch, torch.full((len(batch),), t), asked).unflatten(0, (-1, 2))
        x0_hat = guess[:, 1] + scale * (guess[:, 0] - guess[:, 1])
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t, x), schedule(s, x)
        x = alpha_s * x0_hat + sigma_s * (x - alpha_t * x0_hat) / sigma_t
    return x


def guiding(mix=lambda cond, uncond, scale: uncond + scale * (cond - uncond), cut=lambda times: times, twice=False):
    """A guided sampler with one part replaced."""

    def guided_sample(model, tokens, null, noise, times, scale, schedule):
        x, nulls = noise, null.expand_as(tokens)
        for t, s in zip(cut(times), cut(times)[1:]):
            now = torch.full((len(x),), t)
            if twice:
                cond, uncond = model(x, now, tokens), model(x, now, nulls)
            else:
                both = model(torch.cat([x, x]), torch.cat([now, now]), torch.cat([tokens, nulls]))
                cond, uncond = both.chunk(2)
            x = step(schedule, x, mix(cond, uncond, scale), t, s)
        return x

    return guided_sample


def guided_with_a_while(model, tokens, null, noise, times, scale, schedule):
    x, left = noise.clone(), [*times]
    t = left.pop(0)
    while left:
        s, n = left.pop(0), len(x)
        guess = model(torch.cat((x, x)), torch.tensor([t] * (2 * n)), torch.cat((tokens, null.repeat(n, 1))))
        x0_hat = torch.lerp(guess[n:], guess[:n], scale)
        x, t = step(schedule, x, x0_hat, t, s), s
    return x


def guided_after_the_steps(model, tokens, null, noise, times, scale, schedule):
    """Mixes where two steps lead: a step is affine in x0_hat, so it is the same."""
    x, n = noise, len(noise)
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in itertools.pairwise(times):
        guess = model(torch.cat([x, x]), torch.full((2 * n,), t), both)
        cond, uncond = step(schedule, torch.cat([x, x]), guess, t, s).tensor_split(2)
        x = uncond + scale * (cond - uncond)
    return x


def guided_at_one(model, tokens, null, noise, times, scale, schedule):
    return guided_by_rows(lambda x, t, c: model(x, torch.ones_like(t), c), tokens, null, noise, times, scale, schedule)


def guided_in_one_step(model, tokens, null, noise, times, scale, schedule):
    return guided_by_rows(model, tokens, null, noise, [times[0], times[-1]], scale, schedule)


def guided_too_late(model, tokens, null, noise, times, scale, schedule):
    return guided_by_rows(lambda x, t, c: model(x, t - 0.05, c), tokens, null, noise, times, scale, schedule)


def guided_in_place(model, tokens, null, noise, times, scale, schedule):
    return noise.copy_(guided_by_rows(model, tokens, null, noise, times, scale, schedule))


def guided_guess(model, tokens, null, noise, times, scale, schedule):
    return guided_by_rows(model, tokens, null, noise, [*times[:-1], 0.0], scale, schedule)


def guided_by_zeros(model, tokens, null, noise, times, scale, schedule):
    return guided_by_rows(model, tokens, null * 0, noise, times, scale, schedule)


def shares_by_nan(asked, seen):
    kept = torch.where(asked < 0, torch.nan, (asked == seen).float())
    return kept.nanmean(0), (kept != 0).all(1)


def shares_by_loop(asked, seen):
    columns = [[(a == s) for a, s in zip(x, y) if a >= 0] for x, y in zip(asked.T.tolist(), seen.T.tolist())]
    shares = [sum(column) / len(column) if column else float("nan") for column in columns]
    full = [all(a in (-1, s) for a, s in zip(x, y)) for x, y in zip(asked.tolist(), seen.tolist())]
    return torch.tensor(shares), torch.tensor(full)


def shares_by_bincount(asked, seen):
    n, k = asked.shape
    where = asked.ge(0).nonzero()
    column, good = where[:, 1], torch.eq(asked, seen)[asked.ge(0)]
    total, hits = torch.bincount(column, minlength=k), torch.bincount(column[good], minlength=k)
    wrong = torch.bincount(where[:, 0][~good], minlength=n)
    return hits / total, wrong == 0


def counting(share=None, full=None):
    """kept_shares with one of its answers replaced: a function of (asks, right)."""

    def kept_shares(asked, seen):
        asks = asked >= 0
        right = asks & (asked == seen)
        one = right.sum(0) / asks.sum(0) if share is None else share(asks, right)
        return one, (right | ~asks).all(1) if full is None else full(asks, right)

    return kept_shares


def test_by_copies(encode):
    rows = [[3, 1, 4, 2, 0, 0], [0, 0, 3, 1, 4, 2], [3, 0, 1, 4, 0, 2], [3, 4, 1, 2, 0, 0], [3, 1, 4, 5, 0, 0]]
    vectors = [encode(torch.tensor([row])) for row in [*rows, [0] * 6]]
    together = encode(torch.tensor([*rows, [0] * 6]))
    assert torch.isfinite(together).all()
    assert torch.allclose(torch.cat(vectors), together, atol=1e-4)
    assert torch.allclose(together[0], together[1], atol=1e-4) and torch.allclose(together[0], together[2], atol=1e-4)
    assert torch.allclose(encode(torch.tensor([[3, 1, 4, 2]])), together[:1], atol=1e-4)
    assert (together[3:5] - together[0]).abs().amax(1).min() > 1e-3


def test_by_swapping(encode):
    g = torch.Generator().manual_seed(5)
    for _ in range(3):
        words = (torch.randperm(9, generator=g)[:5] + 1).tolist()
        said = encode(torch.tensor([words]))
        places = [[0, *words], [*words, 0, 0], [*words[:2], 0, *words[2:]]]
        for place in places:
            torch.testing.assert_close(encode(torch.tensor([place, place[::-1]]))[:1], said, rtol=1e-3, atol=1e-4)
        for other in ([words[1], words[0], *words[2:]], [*words[:3], words[4], words[3]], [*words[:4], 10]):
            assert not torch.allclose(encode(torch.tensor([other])), said, atol=1e-3)
    assert not encode(torch.zeros(2, 4, dtype=torch.long)).isnan().any()


def laws(*kept):
    """A property test with some of its laws only."""

    def test_encoder(encode):
        def one(*row):
            return encode(torch.tensor([row]))

        said = one(3, 1, 4)
        if "behind" in kept:
            assert (one(3, 1, 4, 0, 0) - said).abs().max() < 1e-3
        if "front" in kept:
            assert (one(0, 3, 1, 4) - said).abs().max() < 1e-3
        if "between" in kept:
            assert (one(3, 0, 1, 4) - said).abs().max() < 1e-3
        if "order" in kept:
            assert (one(1, 3, 4) - said).abs().max() > 1e-3
        if "last" in kept:
            assert (one(3, 1, 5) - said).abs().max() > 1e-3
        if "alone" in kept:
            assert (encode(torch.tensor([[3, 1, 4], [5, 6, 7]]))[:1] - said).abs().max() < 1e-3
        if "finite" in kept:
            assert one(0, 0, 0).isfinite().all()

    return test_encoder


LAWS = ("behind", "front", "between", "order", "last", "alone", "finite")


def all_but(*missing):
    return laws(*(law for law in LAWS if law not in missing))


def test_too_strict(encode):
    all_but()(encode)
    assert encode(torch.zeros(1, 3, dtype=torch.long)).abs().max() < 1e-3


RIGHT = {
    "E7.1": [pad_by_sequence, pad_by_lists, pad_by_padding],
    "E7.2": [read_by_einsum, read_by_torch, read_pixel_by_pixel, read_visible_words],
    "E7.3": [drop_by_loop, drop_by_index, drop_by_mixing],
    "E7.4": [guided_by_rows, guided_by_hand, guided_with_a_while, guided_after_the_steps],
    "E7.5": [shares_by_nan, shares_by_loop, shares_by_bincount],
    "E7.6": [test_by_copies, test_by_swapping],
}
WRONG = {
    "E7.1": {
        "the mask is True for padding": padding(lambda tokens, mask: (tokens, ~mask)),
        "the padding comes first": pad_in_front,
        "the mask shows one word too many": pad_one_too_many,
        "the mask comes first": padding(lambda tokens, mask: (mask, tokens)),
        "the mask is numbers, not bool": padding(lambda tokens, mask: (tokens, mask.float())),
        "tokens are not whole numbers": padding(lambda tokens, mask: (tokens.float(), mask)),
        "the mask hides nothing": padding(lambda tokens, mask: (tokens, torch.ones_like(mask))),
        "wrong shape": padding(lambda tokens, mask: (tokens[:, :-1], mask[:, :-1])),
        "one word too few": lambda rows, width: (
            pad_by_lists(rows, width)[0],
            torch.arange(width) < torch.tensor([[len(row) - 1] for row in rows]),
        ),
        "int32": padding(lambda tokens, mask: (tokens.int(), mask)),
        "the padding is -1": padding(lambda tokens, mask: (torch.where(mask, tokens, -1), mask)),
        "reverse order": lambda rows, width: pad_by_lists([row[::-1] for row in rows], width),
        "changes its argument rows": pad_in_the_lists,
        "as wide as the longest caption": pad_to_the_longest,
    },
    "E7.2": {
        "the mask is not used": reading(hide=lambda s, mask: s.softmax(-1)),
        "the mask is applied after the softmax": reading(hide=lambda s, mask: s.softmax(-1) * mask),
        "hidden words get the score 0": reading(hide=lambda s, mask: (s * mask).softmax(-1)),
        "the mask is upside down": reading(hide=lambda s, mask: s.masked_fill(mask, -torch.inf).softmax(-1)),
        "sqrt(d) is missing": reading(scale=lambda words: 1.0),
        "sqrt of the width of the words": reading(scale=lambda words: words.shape[-1] ** 0.5),
        "the softmax runs over pixels": reading(hide=lambda s, mask: s.softmax(1) * mask),
        "keys and values are swapped": reading(swap=True),
        "h itself is not added": reading(back=lambda h, away: away.transpose(1, 2).unflatten(2, h.shape[2:])),
        "pixels are shuffled": reading(back=lambda h, away: h + away.reshape(h.shape)),
        "the answer is subtracted": reading(back=lambda h, a: h - a.transpose(1, 2).unflatten(2, h.shape[2:])),
        "NaN": reading(hide=naive_softmax),
        "sqrt of the width of the values": reading_by_width(lambda h, w_v: w_v.shape[1]),
        "sqrt of the channels of the picture": reading_by_width(lambda h, w_v: h.shape[1]),
        "pixels and channels are mixed": read_mixed,
        "changes its argument h": read_in_place,
        "divided by d instead of sqrt(d)": lambda h, words, mask, w_q, *rest: read_by_torch(
            h, words, mask, w_q * w_q.shape[1] ** -0.5, *rest
        ),
        "wrong shape": lambda *given: read_by_torch(*given).squeeze(0),
    },
    "E7.3": {
        "`any`": lambda tokens, null, share, u: torch.where((u < share).any(), null.expand_as(tokens), tokens),
        "the mean of `u` for all": lambda tokens, null, share, u: torch.where(
            u.mean() < share, null.expand_as(tokens), tokens
        ),
        "keeps what should be lost": lambda tokens, null, share, u: torch.where((u < share)[:, None], tokens, null),
        "the lost captions are 0": lambda tokens, null, share, u: tokens * (u >= share)[:, None],
        "the first ones are lost": lambda tokens, null, share, u: torch.where(
            (torch.arange(len(u)) < round(share * len(u)))[:, None], null, tokens
        ),
        "one draw decides for the whole batch": lambda tokens, null, share, u: (
            null.expand_as(tokens).clone() if u[0] < share else tokens.clone()
        ),
        "nothing is lost": lambda tokens, null, share, u: tokens.clone(),
        "u = share is lost too": lambda tokens, null, share, u: torch.where((u <= share)[:, None], null, tokens),
        "wrong dtype": lambda tokens, null, share, u: torch.where((u < share)[:, None], null, tokens).float(),
        "always the same number is lost": lambda tokens, null, share, u: torch.where(
            (u.argsort().argsort() < int(share * len(u)))[:, None], null, tokens
        ),
        "changes its argument tokens": drop_in_place,
        "u < share needs an axis behind": drop_across,
        "u > 1 - share": drop_where(lambda u, share: u > 1 - share),
        "left out": lambda tokens, null, share, u: tokens[u >= share],
    },
    "E7.4": {
        "the CFG paper's w": guiding(lambda cond, uncond, scale: cond + scale * (cond - uncond)),
        "cond and uncond are swapped": guiding(lambda cond, uncond, scale: cond + scale * (uncond - cond)),
        "guidance is not used": guiding(lambda cond, uncond, scale: cond),
        "the caption is not used": guiding(lambda cond, uncond, scale: uncond),
        "the difference has the wrong sign": guiding(lambda cond, uncond, scale: uncond + scale * (uncond - cond)),
        "the last step is missing": guiding(cut=lambda times: times[:-1]),
        "the first step is missing": guiding(cut=lambda times: times[1:]),
        "two calls a step": guiding(twice=True),
        "changes its argument noise": guided_in_place,
        "returns the last guess": guided_guess,
        "the null caption is all 0": guided_by_zeros,
        "returns the noise": lambda model, tokens, null, noise, times, scale, schedule: noise,
        "uncond + scale": guided_too_late,
        "scale - 1 for scale": guiding(lambda cond, uncond, scale: uncond + (scale - 1) * (cond - uncond)),
        "scale is squared": guiding(lambda cond, uncond, scale: uncond + scale**2 * (cond - uncond)),
        "asked at t = 1 in every step": guided_at_one,
        "one big step": guided_in_one_step,
    },
    "E7.5": {
        "divides by all prompts": counting(share=lambda asks, right: right.float().mean(0)),
        "what is not asked counts as kept": counting(share=lambda asks, right: (right | ~asks).float().mean(0)),
        "in full: what is not asked counts as missed": counting(full=lambda asks, right: right.all(1)),
        "nan is replaced by 0": counting(share=lambda asks, right: right.sum(0) / asks.sum(0).clamp(min=1)),
        "one attribute kept is not a prompt fully satisfied": counting(full=lambda asks, right: right.any(1)),
        "shares by prompt, not by attribute": counting(share=lambda asks, right: right.sum(1) / asks.sum(1)),
        "the share of misses": counting(share=lambda asks, right: 1 - right.sum(0) / asks.sum(0)),
        "in full as numbers, not bool": counting(full=lambda asks, right: (right | ~asks).all(1).float()),
        "-1 is compared too": lambda asked, seen: (
            (asked == seen).float().mean(0),
            (asked == seen).all(1),
        ),
        "nan is replaced by 1": counting(share=lambda asks, right: (right.sum(0) / asks.sum(0)).nan_to_num(1.0)),
        "one share for all attributes": counting(share=lambda asks, right: right.sum() / asks.sum()),
        "counts, not shares": counting(share=lambda asks, right: right.sum(0)),
        "full comes first": lambda asked, seen: shares_by_nan(asked, seen)[::-1],
        "0 is taken for not asked": lambda asked, seen: counting()(torch.where(asked == 0, -1, asked), seen),
    },
    "E7.6": {
        "padding is a word like any other": all_but("behind", "front", "between"),
        "padding in front is skipped": all_but("behind", "between"),
        "places count columns, not words": all_but("front", "between"),
        "the order of the words is lost": all_but("order"),
        "the last word is not heard": all_but("last"),
        "other captions of the batch are heard": all_but("alone"),
        "NaN for a caption of padding alone": all_but("finite"),
        "It rejects": test_too_strict,
        "says the same for every caption": all_but("order", "last"),
    },
}
TURN = "transpose(1, 2) and transpose(2, 1) are the same"
ORDER = "the captions may be tried in any order"
WORDS = "any other words, or another place for them, will do"
EITHER = "a wrong encoder gives no difference at all, a right one differs in every number, up and down"
SEEN = "what was read is never -1, so an attribute that nobody asks for is never equal"
EQUIVALENT = {
    "E7.2": {
        "line 12: h.flatten(2).transpose(1, 2) -> h.flatten(2).transpose(2, 1)": TURN,
        "line 14: k.transpose(1, 2) -> k.transpose(2, 1)": TURN,
        "line 16: (shares @ v @ w_o).transpose(1, 2) -> (shares @ v @ w_o).transpose(2, 1)": TURN,
    },
    "E7.5": {
        "line 10: asks & (asked == seen) -> asked == seen": SEEN,
        "line 10: asks & (asked == seen) -> (asked == seen) & asks": "the order of the two masks does not matter",
        "line 11: right | ~asks -> ~asks | right": "the order of the two masks does not matter",
    },
    "E7.6": {
        "line 9: ([3, 1, 4, 2, 0, 0, 0], [0, 0, 3, 1, 4, 2], [3, 0, 1, 4, 0, 2]) -> "
        "([0, 0, 3, 1, 4, 2], [3, 1, 4, 2, 0, 0, 0], [3, 0, 1, 4, 0, 2])": ORDER,
        "line 12: ([3, 1, 2, 4], [1, 3, 4, 2], [3, 1, 4, 5]) -> ([1, 3, 4, 2], [3, 1, 2, 4], [3, 1, 4, 5])": ORDER,
        **{
            f"line 12: {slip}": WORDS
            for slip in (
                *("3 -> 4", "3 -> 2", "1 -> 2", "1 -> 0", "2 -> 3", "2 -> 1", "4 -> 5", "4 -> 3", "5 -> 6", "5 -> 4"),
                *(
                    "1 -> 2 #2",
                    "1 -> 0 #2",
                    "3 -> 4 #2",
                    "3 -> 2 #2",
                    "4 -> 5 #2",
                    "4 -> 3 #2",
                    "2 -> 3 #2",
                    "2 -> 1 #2",
                ),
            )
        },
        "line 13: (encode(torch.tensor([other])) - said).abs().max() -> "
        "(encode(torch.tensor([other])) - said).abs().min()": EITHER,
        "line 13: (encode(torch.tensor([other])) - said).abs() -> encode(torch.tensor([other])) - said": EITHER,
        **{
            f"line 14: {slip}": WORDS
            for slip in ("5 -> 6", "5 -> 4", "6 -> 7", "6 -> 5", "0 -> 1", "0 -> -1", "0 -> 1 #2", "0 -> -1 #2")
        },
        "line 16: torch.zeros(1, 4, dtype=torch.long) -> torch.zeros(4, 1, dtype=torch.long)": WORDS,
        "line 16: 1 -> 2": WORDS,
        "line 16: 4 -> 5": WORDS,
        "line 16: 4 -> 3": WORDS,
    },
}
