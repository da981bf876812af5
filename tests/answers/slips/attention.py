"""Slips in notebook 06."""

import math

import torch
from torch import nn


def attending(logits, share=lambda s: s.softmax(-1), out=lambda p, v: p @ v):
    return lambda q, k, v: out(share(logits(q, k)), v)


def scaled(q, k):
    return q @ k.mT / math.sqrt(q.shape[-1])


def merging(formula):
    """Blocks merged by formula(m, a's factor, b's factor, l_a, l_b, o_a, o_b)."""

    def merge(a, b):
        (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
        m = torch.maximum(m_a, m_b)
        return formula(m, (m_a - m).exp(), (m_b - m).exp(), l_a, l_b, o_a, o_b)

    return merge


def tiled(shrink=lambda old, new: torch.exp(old - new), scale=math.sqrt, log=lambda m, l: m + l.log(), end=True, skip=0,
          out=lambda o, l: o / l, peak=lambda s: s.amax(1, keepdim=True)):  # fmt: skip
    """Attention in tiles, one part of it changed."""

    def attend(q, k, v, tile):
        rows_out, sums_out = [], []
        for i in range(0, len(q), tile):
            rows = q[i : i + tile] / scale(q.shape[1])
            m, l, o = torch.full_like(rows[:, :1], -torch.inf), 0.0, 0.0
            for j in range(skip, len(k), tile):
                s = rows @ k[j : j + tile].T
                new = torch.maximum(m, peak(s))
                f, less = torch.exp(s - new), shrink(m, new)
                l, o, m = less * l + f.sum(1, keepdim=True), less * o + f @ v[j : j + tile], new
            rows_out.append(out(o, l))
            sums_out.append(log(m, l)[:, 0])
        return torch.cat(rows_out), torch.cat(sums_out)

    return attend


class Cross(nn.Module):
    def __init__(self, width, heads, context_width):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Linear(width, width)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def cut(self, h):
        return h.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def logits(self, q, k):
        return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])

    def hide(self, s, mask):
        return s if mask is None else s.masked_fill(~mask[:, None, None], -torch.inf)

    def share(self, s):
        return s.softmax(-1)

    def join(self, x, o):
        return x + self.to_out(o.transpose(1, 2).flatten(2))

    def forward(self, x, tokens, mask=None):
        q, k, v = self.cut(self.to_q(x)), self.cut(self.to_k(tokens)), self.cut(self.to_v(tokens))
        return self.join(x, self.share(self.hide(self.logits(q, k), mask)) @ v)


class DividedByD(Cross):
    def logits(self, q, k):
        return q @ k.transpose(-1, -2) / q.shape[-1]


class DividedByHeads(Cross):
    def logits(self, q, k):
        return q @ k.transpose(-1, -2) / math.sqrt(self.heads)


class MaskAlongQueries(Cross):
    def hide(self, s, mask):
        return s if mask is None else s * mask[:, None, None]


def hiding(hidden_of, value=-torch.inf):
    def hide_tile(s, i, j, causal, mask):
        rows, columns = torch.arange(s.shape[0])[:, None], torch.arange(s.shape[1])[None]
        return s.masked_fill(hidden_of(rows, columns, i, j, causal, mask, s), value)

    return hide_tile


def future(rows, columns, i, j, causal):
    return (j + columns > i + rows) if causal else torch.zeros(len(rows), columns.shape[1], dtype=torch.bool)


def unseen(columns, j, mask):
    return ~mask[j : j + columns.shape[1]] if mask is not None else torch.zeros(columns.shape[1], dtype=torch.bool)


def backward(d_q=lambda c, ds, k: c * ds @ k, d_k=lambda c, ds, q: c * ds.T @ q, d_v=lambda p, do: p.T @ do,
             d_s=lambda p, dp, dot: p * (dp - dot), p_of=lambda s, lse: torch.exp(s - lse)):  # fmt: skip
    def tile_backward(q, k, v, d_o, log_sum_exp, row_dot):
        c = 1 / math.sqrt(q.shape[1])
        p = p_of(c * q @ k.T, log_sum_exp[:, None])
        ds = d_s(p, d_o @ v.T, row_dot[:, None])
        return d_q(c, ds, k), d_k(c, ds, q), d_v(p, d_o)

    return tile_backward


def tiles_one_size(attend):
    q, k, v = torch.randn(8, 8), torch.randn(8, 8), torch.randn(8, 3)
    want = (q @ k.T / math.sqrt(8)).softmax(1) @ v
    torch.testing.assert_close(attend(q, k, v, 4), want, rtol=1e-3, atol=1e-3)


def tiles_forgot_the_root(attend):
    q, k, v = torch.randn(5, 8), torch.randn(7, 8), torch.randn(7, 3)
    for tile in (3, 20):
        torch.testing.assert_close(attend(q, k, v, tile), (q @ k.T).softmax(1) @ v, rtol=1e-3, atol=1e-3)


SLIPS = {
    "E6.1": {
        "the square of d": attending(lambda q, k: q @ k.mT / q.shape[-1] ** 2),
        "the root around the product": attending(lambda q, k: (q @ k.mT).abs().sqrt() / math.sqrt(q.shape[-1])),
        "a sigmoid": attending(scaled, torch.sigmoid),
    },
    "E6.2": {
        "the mean for the maximum in m": lambda x: (
            x.mean(-1, keepdim=True),
            (x - x.mean(-1, keepdim=True)).exp(),
            (x - x.mean(-1, keepdim=True)).exp().sum(-1, keepdim=True),
        ),
        "f to base 2": lambda x: (
            x.amax(-1, keepdim=True),
            2 ** (x - x.amax(-1, keepdim=True)),
            (2 ** (x - x.amax(-1, keepdim=True))).sum(-1, keepdim=True),
        ),
        "m is the largest f": lambda x: (
            x.amax(-1, keepdim=True).exp(),
            (x - x.amax(-1, keepdim=True)).exp(),
            (x - x.amax(-1, keepdim=True)).exp().sum(-1, keepdim=True),
        ),
    },
    "E6.3": {
        "the factors are multiplied": merging(
            lambda m, a, b, la, lb, oa, ob: (m, a * b * (la + lb), a * b * (oa + ob))
        ),
        "a minus": merging(lambda m, a, b, la, lb, oa, ob: (m, a * la - b * lb, a * oa - b * ob)),
        "the mean": merging(lambda m, a, b, la, lb, oa, ob: (m, (a * la + b * lb) / 2, (a * oa + b * ob) / 2)),
    },
    "E6.4": {
        "a shrink upside down": tiled(shrink=lambda old, new: torch.exp(new - old).nan_to_num(0, 0, 0)),
        "the first tile of keys is skipped": tiled(skip=1),
        "divided by d": tiled(scale=lambda d: d),
    },
    "E6.5": {
        "queries for tiles": lambda n, d, rows: n * d + n // rows * 2 * n * d + n * d + 2 * n * d,
        "keys cross in half": lambda n, d, rows: n * d + math.ceil(n / rows) * n * d + 2 * n * d,
        "the width is forgotten": lambda n, d, rows: n + math.ceil(n / rows) * 2 * n + n,
    },
    "E6.6": {
        "divided by d": DividedByD,
        "sqrt(heads)": DividedByHeads,
        "the mask is multiplied": MaskAlongQueries,
    },
    "E6.7": {
        ">= for >": hiding(
            lambda r, c, i, j, causal, mask, s: (
                ((j + c >= i + r) if causal else future(r, c, i, j, causal)) | unseen(c, j, mask)
            )
        ),
        "one more is seen": hiding(
            lambda r, c, i, j, causal, mask, s: (
                ((j + c > i + r + 1) if causal else future(r, c, i, j, causal)) | unseen(c, j, mask)
            )
        ),
        "i is forgotten": hiding(lambda r, c, i, j, causal, mask, s: future(r, c, 0, j, causal) | unseen(c, j, mask)),
    },
    "E6.8": {
        "dQ has the wrong sign": backward(d_q=lambda c, ds, k: -c * ds @ k),
        "divided by d": backward(d_q=lambda c, ds, k: c**2 * ds @ k, d_k=lambda c, ds, q: c**2 * ds.T @ q),
        "multiplied by sqrt(d)": backward(d_q=lambda c, ds, k: ds @ k / c, d_k=lambda c, ds, q: ds.T @ q / c),
    },
    "E6.9": {
        "one size that divides": tiles_one_size,
        "the root is forgotten in the test": tiles_forgot_the_root,
    },
}


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E6.1": {
        "the square of d": ("divides by d^2 instead of sqrt(d)",),
        "a sigmoid": ("sigmoid instead of softmax",),
    },
    "E6.2": {
        "the mean for the maximum in m": ("the mean is subtracted, not the maximum",),
        "f to base 2": ("2 to the power, not e",),
        "m is the largest f": ("the exponential of m",),
    },
    "E6.3": {
        "the factors are multiplied": ("the factors are multiplied with each other",),
        "a minus": ("the blocks are subtracted",),
        "the mean": ("half of the sums: their mean",),
    },
    "E6.4": {
        "the first tile of keys is skipped": ("the first key is left out",),
        "divided by d": ("divided by d instead of sqrt(d)",),
    },
    "E6.5": {
        "queries for tiles": ("one tile too many where rows divides n",),
        "keys cross in half": ("K or V past every tile, the other once",),
        "the width is forgotten": ("d is forgotten",),
    },
    "E6.6": {
        "divided by d": ("1/(width of a head) instead of 1/sqrt(width of a head)",),
        "sqrt(heads)": ("1/sqrt(heads) instead of 1/sqrt(width of a head)",),
        "the mask is multiplied": ("0 instead of -inf: padding still gets e^0",),
    },
    "E6.7": {
        ">= for >": ("a query may see itself: the diagonal is hidden too",),
        "one more is seen": ("one key of the future is still seen",),
        "i is forgotten": ("i is forgotten in causal",),
    },
    "E6.8": {
        "dQ has the wrong sign": ("dQ has the wrong sign",),
        "divided by d": ("1/sqrt(d) twice in the backward pass",),
        "multiplied by sqrt(d)": ("sqrt(d) for 1/sqrt(d) in the backward pass",),
    },
    "E6.9": {
        "one size that divides": ("It accepts",),
        "the root is forgotten in the test": ("It rejects",),
    },
}
