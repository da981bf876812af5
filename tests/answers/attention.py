"""Answers to notebook 06: right ones written differently, and wrong ones by name."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def scaled_by_einsum(q, k, v):
    s = torch.einsum("...nd,...md->...nm", q, k) * q.shape[-1] ** -0.5
    f = torch.exp(s - s.max(-1, keepdim=True).values)
    return torch.einsum("...nm,...me->...ne", f / f.sum(-1, keepdim=True), v)


def scaled_by_bmm(q, k, v):
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (q, k, v)]
    s = torch.baddbmm(torch.zeros(1, dtype=q.dtype), flat[0], flat[1].mT, beta=0, alpha=flat[0].shape[-1] ** -0.5)
    return torch.bmm(s.softmax(2), flat[2]).reshape(*q.shape[:-1], v.shape[-1])


def scaled_bare(q, k, v):
    f = torch.exp(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]))
    return f @ v / f.sum(-1, keepdim=True)


def scaled_by_torch(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def scaled(weigh=None, axis=-1, after=1.0):
    """E6.1 with the logits, the axis or the output replaced."""

    def scaled_attention(q, k, v):
        s = q @ k.transpose(-1, -2)
        p = torch.softmax(s / math.sqrt(q.shape[-1]) if weigh is None else weigh(s, q, k), axis)
        return p @ v * (q.shape[-1] ** -0.5 if after != 1.0 else 1.0)

    return scaled_attention


def pieces_by_max(x):
    m = torch.max(x, dim=-1, keepdim=True).values
    f = torch.exp(torch.sub(x, m))
    return [m, f, torch.sum(f, -1, keepdim=True)]


def pieces_by_logsumexp(x):
    m = x.sort(-1).values[..., -1:]
    return m, torch.softmax(x, -1) * (x.logsumexp(-1, keepdim=True) - m).exp(), (
        x.logsumexp(-1, keepdim=True) - m
    ).exp()  # fmt: skip


def pieces(
    top=lambda x: x.amax(-1, keepdim=True), f=lambda x, m: torch.exp(x - m), l=lambda f: f.sum(-1, keepdim=True)
):
    """E6.2 with one of its three parts replaced."""

    def softmax_pieces(x):
        m = top(x)
        values = f(x, m)
        return m, values, l(values)

    return softmax_pieces


def pieces_row_by_row(x):
    """One row after the other, in Python."""
    found = [(row.max(), (row - row.max()).exp()) for row in x.reshape(-1, x.shape[-1]).unbind()]
    m, f = torch.stack([m for m, _ in found]), torch.stack([f for _, f in found])
    return m.reshape(*x.shape[:-1], 1), f.reshape(x.shape), f.sum(1).reshape(*x.shape[:-1], 1)


def pieces_without_maximum(x):
    f = torch.exp(x)
    return x.amax(-1, keepdim=True), f, f.sum(-1, keepdim=True)


def pieces_divided(x):
    m, f, l = pieces()(x)
    return m, f / l, l


def merged_by_cat(a, b):
    m = torch.cat([a[0], b[0]], 1).amax(1, keepdim=True)
    factors = [(one[0] - m).exp() for one in (a, b)]
    return m, *(sum(factor * one[part] for factor, one in zip(factors, (a, b))) for part in (1, 2))


def merged_by_addcmul(a, b):
    (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
    m = torch.where(m_a > m_b, m_a, m_b)
    s_a, s_b = (m_a - m).exp(), (m_b - m).exp()
    return m, torch.addcmul(s_a * l_a, s_b, l_b), torch.addcmul(s_a * o_a, s_b, o_b)


def merged_by_stack(a, b):
    m, l, o = (torch.stack(each) for each in zip(a, b))
    top = torch.amax(m, 0)
    share = torch.exp(m - top)
    return top, (share * l).sum(0), (share * o).sum(0)


def merged_from_a(a, b):
    (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
    return m_a, l_a + (m_b - m_a).exp() * l_b, o_a + (m_b - m_a).exp() * o_b


def merged_bare(a, b):
    (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
    return torch.maximum(m_a, m_b), m_a.exp() * l_a + m_b.exp() * l_b, m_a.exp() * o_a + m_b.exp() * o_b


def merged_as_quotients(a, b):
    (m, l, _), (m_a, l_a, o_a), (m_b, l_b, o_b) = merged()(a, b), a, b
    return m, l, ((m_a - m).exp() * l_a * o_a + (m_b - m).exp() * l_b * o_b) / l


def merged_in_place(a, b):
    m, l, o = merged()(a, b)
    return m, a[1].copy_(l), o


def merged(l=(True, True), o=(True, True), top=torch.maximum, sign=1, swap=False, divide=False):
    """E6.3 with rescaling left out where False, or another slip."""

    def merge_blocks(a, b):
        (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
        m = top(m_a, m_b)
        s_a, s_b = torch.exp(sign * (m_a - m)), torch.exp(sign * (m_b - m))
        s_a, s_b = (s_b, s_a) if swap else (s_a, s_b)
        one = torch.ones_like(s_a)
        new_l = (s_a if l[0] else one) * l_a + (s_b if l[1] else one) * l_b
        new_o = (s_a if o[0] else one) * o_a + (s_b if o[1] else one) * o_b
        return m, new_l, new_o / new_l if divide else new_o

    return merge_blocks


def tiles_by_merging(q, k, v, tile):
    """Blocks of keys for all queries of a tile, merged one after the other by recursion."""

    def of(rows, keys, values):
        if len(keys) > tile:
            (m, l, o), (m_b, l_b, o_b) = of(rows, keys[:tile], values[:tile]), of(rows, keys[tile:], values[tile:])
            top = torch.maximum(m, m_b)
            return top, (m - top).exp() * l + (m_b - top).exp() * l_b, (m - top).exp() * o + (m_b - top).exp() * o_b
        s = rows @ keys.T
        m = s.amax(1, keepdim=True)
        return m, (s - m).exp().sum(1, keepdim=True), (s - m).exp() @ values

    parts = [of(rows / math.sqrt(q.shape[1]), k, v) for rows in q.split(tile)]
    return torch.cat([o / l for _, l, o in parts]), torch.cat([(m + l.log()).squeeze(1) for m, l, _ in parts])


def tiles_by_log_sum_exp(q, k, v, tile):
    """Each tile finished by itself, then averaged by the weights of their log-sum-exps."""
    out, log_sum_exp = [], []
    for rows in q.split(tile):
        o, total = torch.zeros(len(rows), v.shape[1], dtype=q.dtype), torch.full((len(rows),), -math.inf, dtype=q.dtype)
        for keys, values in zip(k.split(tile), v.split(tile)):
            s = rows @ keys.T * q.shape[1] ** -0.5
            new = torch.logaddexp(total, s.logsumexp(1))
            o = (total - new).exp()[:, None] * o + (s - new[:, None]).exp() @ values
            total = new
        out, log_sum_exp = [*out, o], [*log_sum_exp, total]
    return torch.cat(out), torch.cat(log_sum_exp)


def tiles_in_buffers(q, k, v, tile):
    """Rows are written into one tensor: in place, but where autograd does not mind."""
    out, log_sum_exp = q.new_empty(len(q), v.shape[1]), q.new_empty(len(q))
    for i in range(0, len(q), tile):
        here, m, l, o = slice(i, i + tile), None, 0.0, 0.0
        for keys, values in zip(torch.split(k, tile), torch.split(v, tile)):
            s = q[here] @ keys.T / math.sqrt(q.shape[-1])
            top = s.max(1, keepdim=True)[0] if m is None else torch.maximum(m, s.max(1, keepdim=True)[0])
            keep = 0.0 if m is None else (m - top).exp()
            m, l, o = top, keep * l + (s - top).exp().sum(1, keepdim=True), keep * o + (s - top).exp() @ values
        out[here], log_sum_exp[here] = o / l, (m + l.log()).flatten()
    return out, log_sum_exp


def keys_in_tiles_only(q, k, v, tile):
    """Tiles of keys, but all queries at once."""
    m, l, o = torch.full_like(q[:, :1], -math.inf), torch.zeros_like(q[:, :1]), q.new_zeros(len(q), v.shape[1])
    for keys, values in zip(k.split(tile), v.split(tile)):
        s = q @ keys.T / math.sqrt(q.shape[1])
        top = torch.maximum(m, s.amax(1, keepdim=True))
        l, o = (
            (m - top).exp() * l + (s - top).exp().sum(1, keepdim=True),
            (m - top).exp() * o + (s - top).exp() @ values,
        )
        m = top
    return o / l, (m + l.log())[:, 0]


def starting_at(start):
    """m begins with a number, not with -inf."""

    def attention_in_tiles(q, k, v, tile):
        extra = torch.zeros_like(q[:, :1])
        found = []
        for i in range(0, len(q), tile):
            rows, m, l, o = q[i : i + tile], extra[i : i + tile] + start, 0.0, 0.0
            for keys, values in zip(k.split(tile), v.split(tile)):
                s = rows @ keys.T / math.sqrt(q.shape[1])
                top = torch.maximum(m, s.amax(1, keepdim=True))
                f, m, shrink = (s - top).exp(), top, (m - top).exp()
                l, o = shrink * l + f.sum(1, keepdim=True), shrink * o + f @ values
            found.append((o / l, (m + l.log())[:, 0]))
        return torch.cat([o for o, _ in found]), torch.cat([l for _, l in found])

    return attention_in_tiles


def second_value(change):
    """The right O with another second value."""

    def attention_in_tiles(q, k, v, tile):
        out, log_sum_exp = tiles()(q, k, v, tile)
        m = (q @ k.T / math.sqrt(q.shape[1])).amax(1)
        return out, change(m, (log_sum_exp - m).exp())

    return attention_in_tiles


def divided_each_time(q, k, v, tile):
    parts = []
    for rows in (q / math.sqrt(q.shape[1])).split(tile):
        m, l, o = torch.full_like(rows[:, :1], -math.inf), 0.0, 0.0
        for keys, values in zip(k.split(tile), v.split(tile)):
            s = rows @ keys.T
            top = torch.maximum(m, s.amax(1, keepdim=True))
            l, o = (
                (m - top).exp() * l + (s - top).exp().sum(1, keepdim=True),
                (m - top).exp() * o + (s - top).exp() @ values,
            )
            m, o = top, o / l
        parts.append((o, (m + l.log())[:, 0]))
    return torch.cat([o for o, _ in parts]), torch.cat([l for _, l in parts])


def nothing_at_all(q, k, v, tile):
    return None


def tiles(*, scale=True, peak=True, shrink_o=True, shrink_l=True, whole=False, detach=False, own=False, divide=True):
    """E6.4 with one thing left out."""

    def attention_in_tiles(q, k, v, tile):
        if detach:
            k, v = k.detach(), v.detach()
        out, sums = [], []
        for i in range(0, len(q), tile):
            rows = q[i : i + tile] / (math.sqrt(q.shape[1]) if scale else 1.0)
            m, l, o = (
                torch.full_like(rows[:, :1], -math.inf),
                torch.zeros_like(rows[:, :1]),
                v.new_zeros(len(rows), v.shape[1]),
            )
            for j in range(0, len(k) // tile * tile if whole else len(k), tile):
                s = rows @ k[j : j + tile].T
                top = torch.maximum(m, s.amax(1, keepdim=True)) if peak else torch.zeros_like(m)
                f, shrink = (s - top).exp(), (m - top).exp()
                f = f / f.sum(1, keepdim=True) if own else f
                l = (shrink if shrink_l else 1.0) * l + f.sum(1, keepdim=True)
                o = (shrink if shrink_o else 1.0) * o + f @ v[j : j + tile]
                m = top
            out.append(
                (o / l if divide else o).expand(-1, v.shape[1]) if o.ndim == 2 else v.new_zeros(len(rows), v.shape[1])
            )
            sums.append((m + l.log())[:, 0])
        return torch.cat(out), torch.cat(sums)

    return attention_in_tiles


def untiled(q, k, v, tile):
    s = q @ k.T / math.sqrt(q.shape[1])
    return torch.softmax(s, 1) @ v, s.logsumexp(1)


def queries_in_tiles_only(q, k, v, tile):
    parts = [untiled(rows, k, v, tile) for rows in q.split(tile)]
    return torch.cat([o for o, _ in parts]), torch.cat([l for _, l in parts])


def in_a_buffer_of_float32(q, k, v, tile):
    out, log_sum_exp = tiles()(q, k, v, tile)
    return torch.zeros(out.shape) + out.float(), log_sum_exp


def rounded_to_float32(q, k, v, tile):
    out, log_sum_exp = tiles()(q.float(), k.float(), v.float(), tile)
    return out.to(q.dtype), log_sum_exp.to(q.dtype)


def over_columns(q, k, v, tile):
    s = q @ k.T / math.sqrt(q.shape[1])
    return torch.softmax(s, 0) @ v, s.logsumexp(1)


def without_m(q, k, v, tile):
    out, log_sum_exp = tiles()(q, k, v, tile)
    return out, log_sum_exp - (q @ k.T / math.sqrt(q.shape[1])).amax(1)


def only_out(q, k, v, tile):
    return tiles()(q, k, v, tile)[0]


def moved_by_walking(n, d, rows):
    count = 0
    for start in range(0, n, rows):
        here = min(rows, n - start)
        count += here * d + n * (d + d) + here * d
    return count


def moved_by_divmod(n, d, rows):
    whole, rest = divmod(n, rows)
    return 2 * n * d + (whole + (rest > 0)) * (n * d + n * d)


def moved_by_floor(n, d, rows):
    return 2 * n * d * (1 + (n + rows - 1) // rows)


class LookByTorch(nn.Module):
    """The same block on PyTorch's own attention."""

    def __init__(self, width, heads, context_width):
        super().__init__()
        self.heads = heads
        self.to_out = nn.Linear(width, width)
        for parameter in self.to_out.parameters():
            parameter.data.zero_()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context_width, width, bias=False) for _ in range(2))

    def forward(self, x, tokens, mask=None):
        b, n, width = x.shape
        q, k, v = (h.view(b, -1, self.heads, width // self.heads).transpose(1, 2) for h in self.made(x, tokens))
        seen = None if mask is None else mask.view(b, 1, 1, -1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return x + self.to_out(o.transpose(1, 2).reshape(b, n, width))

    def made(self, x, tokens):
        return self.to_q(x), self.to_k(tokens), self.to_v(tokens)


class LookHeadByHead(LookByTorch):
    """The same block, one head after the other."""

    axis, residual, scale, fill = -1, True, None, -math.inf

    def forward(self, x, tokens, mask=None):
        found = [self.head(*parts, mask) for parts in zip(*(self.slices(h) for h in self.made(x, tokens)))]
        out = self.to_out(torch.cat(found, -1))
        return x + out if self.residual else out

    def slices(self, h):
        return h.chunk(self.heads, -1)

    def head(self, q, k, v, mask):
        s = torch.bmm(q, k.transpose(1, 2)) * (q.shape[-1] ** -0.5 if self.scale is None else self.scale)
        if mask is not None:
            s = torch.where(mask[:, None], s, self.fill)
        return torch.softmax(s, self.axis) @ v


class LookByEinsum(LookByTorch):
    """The same block with einsum; the heads are cut by reshaping the weights."""

    def forward(self, x, tokens, mask=None):
        h, width = self.heads, x.shape[-1]
        weights = [layer.weight.view(h, width // h, -1) for layer in (self.to_q, self.to_k, self.to_v)]
        q, k, v = (torch.einsum("bnc,hdc->bhnd", of, w) for of, w in zip((x, tokens, tokens), weights))
        s = torch.einsum("bhnd,bhmd->bhnm", q, k) / (width // h) ** 0.5
        if mask is not None:
            s = s + torch.zeros_like(s).masked_fill(mask.logical_not()[:, None, None, :], float("-inf"))
        return x + self.to_out(torch.einsum("bhnm,bhmd->bnhd", s.softmax(-1), v).flatten(-2))


class JoinedWrongly(LookByTorch):
    def forward(self, x, tokens, mask=None):
        b, n, width = x.shape
        q, k, v = (h.view(b, -1, self.heads, width // self.heads).transpose(1, 2) for h in self.made(x, tokens))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask.view(b, 1, 1, -1))
        return x + self.to_out(o.reshape(b, n, width))


class AddedBefore(LookByTorch):
    def forward(self, x, tokens, mask=None):
        return super().forward(x, tokens, mask) - x + self.to_out(x) - self.to_out.bias


class MaskedByHead(LookByTorch):
    def forward(self, x, tokens, mask=None):
        b, _, width = x.shape
        q, k, v = (h.view(b, -1, self.heads, width // self.heads).transpose(1, 2) for h in self.made(x, tokens))
        s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        s = s if mask is None else s.masked_fill(~mask[:, None], -math.inf)
        return x + self.to_out((s.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Interleaved(LookByTorch):
    def forward(self, x, tokens, mask=None):
        q, k, v = (h.unflatten(-1, (-1, self.heads)).permute(0, 3, 1, 2) for h in self.made(x, tokens))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None])
        return x + self.to_out(o.permute(0, 2, 3, 1).flatten(2))


class WithBias(LookByTorch):
    def __init__(self, width, heads, context_width):
        super().__init__(width, heads, context_width)
        self.to_q = nn.Linear(width, width)


class IgnoresContext(LookByTorch):
    def __init__(self, width, heads, context_width):
        super().__init__(width, heads, width)


class FullWidthHeads(LookByTorch):
    def __init__(self, width, heads, context_width):
        super().__init__(width, heads, context_width)
        self.to_q = nn.Linear(width, width * heads, bias=False)


class NoResidual(LookHeadByHead):
    residual = False


class OneHead(LookHeadByHead):
    def slices(self, h):
        return (h,)


class ScaleOfWidth(LookHeadByHead):
    def head(self, q, k, v, mask):
        return super().head(q * (q.shape[-1] / self.to_q.in_features) ** 0.5, k, v, mask)


class NoScale(LookHeadByHead):
    scale = 1.0


class OverColumns(LookHeadByHead):
    axis = -2


class FromX(LookHeadByHead):
    def made(self, x, tokens):
        tokens = x if self.to_k.in_features == x.shape[-1] else tokens
        return super().made(x, tokens)


class Swapped(LookHeadByHead):
    def made(self, x, tokens):
        q, k, v = super().made(x, tokens)
        return q, v, k


class CutWrongly(LookByTorch):
    def forward(self, x, tokens, mask=None):
        q, k, v = (h.reshape(len(x), self.heads, h.shape[1], -1) for h in self.made(x, tokens))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None])
        return x + self.to_out(o.transpose(1, 2).flatten(2))


class SeesPadding(LookHeadByHead):
    def forward(self, x, tokens, mask=None):
        return super().forward(x, tokens, None)


class InvertedMask(LookHeadByHead):
    def forward(self, x, tokens, mask=None):
        return super().forward(x, tokens, None if mask is None else ~mask)


class ZeroForHidden(LookHeadByHead):
    fill = 0.0


class SmallForHidden(LookHeadByHead):
    fill = -1e4


class HiddenLate(LookHeadByHead):
    def head(self, q, k, v, mask):
        p = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, -1)
        return (p if mask is None else p * mask[:, None]) @ v


class NotZeroed(LookHeadByHead):
    def __init__(self, width, heads, context_width):
        super().__init__(width, heads, context_width)
        self.to_out.reset_parameters()


class DetachedWords(LookHeadByHead):
    def made(self, x, tokens):
        q, k, v = super().made(x, tokens)
        return q, k.detach(), v.detach()


class OtherNames(nn.Module):
    def __init__(self, width, heads, context_width):
        super().__init__()
        self.query = nn.Linear(width, width)

    def forward(self, x, tokens, mask=None):
        return x


def hidden_by_triangle(s, i, j, causal, mask):
    rows, columns = s.shape
    seen = torch.ones(rows, columns, dtype=torch.bool)
    if causal:
        seen = seen.tril(i - j)
    if mask is not None:
        seen = seen & mask[j : j + columns].expand(rows, columns)
    return torch.where(seen, s, -math.inf)


def hidden_one_by_one(s, i, j, causal, mask):
    out = s.clone()
    for r in range(s.shape[0]):
        for c in range(s.shape[1]):
            if (causal and j + c > i + r) or (mask is not None and not mask[j + c]):
                out[r, c] = -math.inf
    return out


def hides(
    future=lambda a, b: b > a, fill=-math.inf, corner=True, swap=False, keys=lambda mask, i, j, r, c: ~mask[j : j + c]
):
    """E6.7 with one of its rules replaced."""

    def hide_tile(s, i, j, causal, mask):
        rows, columns = s.shape
        a, b = torch.arange(rows)[:, None], torch.arange(columns)[None]
        if corner:
            a, b = (a + j, b + i) if swap else (a + i, b + j)
        hidden = future(a, b) if causal else torch.zeros(rows, columns, dtype=torch.bool)
        if mask is not None:
            hidden = hidden | keys(mask, i, j, rows, columns)
        return s.masked_fill(hidden, fill)

    return hide_tile


def hidden_by_infinities(s, i, j, causal, mask):
    extra = torch.zeros_like(s)
    if causal:
        extra += torch.full_like(s, -math.inf).triu(i - j + 1)
    seen = torch.ones(j + s.shape[1], dtype=torch.bool) if mask is None else mask
    return s + extra.masked_fill(~seen.narrow(0, j, s.shape[1]), -math.inf).nan_to_num(nan=-math.inf, neginf=-math.inf)


def hides_in_place(s, i, j, causal, mask):
    return s.copy_(hides()(s, i, j, causal, mask))


def hides_by_both(s, i, j, causal, mask):
    if mask is None or not causal:
        return hides()(s, i, j, causal, mask)
    both = hides()(s, i, j, True, None).isinf() & hides()(s, i, j, False, mask).isinf()
    return s.masked_fill(both, -math.inf)


def hides_always(s, i, j, causal, mask):
    return hides()(s, i, j, True, mask)


def hides_never_the_future(s, i, j, causal, mask):
    return hides()(s, i, j, False, mask)


def hides_one_or_the_other(s, i, j, causal, mask):
    return hides()(s, i, j, causal and mask is None, mask)


def backward_by_autograd(q, k, v, d_o, log_sum_exp, row_dot):
    """The tile's share of <dO, O>, with D holding what the other tiles do to the sum, differentiated."""
    with torch.enable_grad():
        q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
        p = torch.exp(q @ k.T * q.shape[1] ** -0.5 - log_sum_exp[:, None])
        weight = (d_o @ v.detach().T - row_dot[:, None]).detach()
        return torch.autograd.grad((p * weight).sum() + ((p.detach() @ v) * d_o).sum(), (q, k, v))


def backward_by_einsum(q, k, v, d_o, log_sum_exp, row_dot):
    logits = torch.einsum("id,jd->ij", q, k) / q.shape[1] ** 0.5
    p = torch.exp(logits - log_sum_exp.unsqueeze(1))
    d_s = (torch.einsum("ie,je->ij", d_o, v) - row_dot.unsqueeze(1)) * p / q.shape[1] ** 0.5
    return [torch.einsum("ij,jd->id", d_s, k), torch.einsum("ij,id->jd", d_s, q), torch.einsum("ij,ie->je", p, d_o)]


def backward_by_row(q, k, v, d_o, log_sum_exp, row_dot):
    """Query by query."""
    c, found = q.shape[1] ** -0.5, []
    for one, up, total, dot in zip(q, d_o, log_sum_exp, row_dot):
        p = (c * k @ one - total).exp()
        d_s = c * p * (v @ up - dot)
        found.append((d_s @ k, torch.outer(d_s, one), torch.outer(p, up)))
    return torch.stack([d_q for d_q, _, _ in found]), sum(d_k for _, d_k, _ in found), sum(d_v for _, _, d_v in found)


def backward_with(probabilities=None, slope=None, scales=(True, True), order=(0, 1, 2), turn=True):
    """E6.8 with another P, another dS~, a scale left out on one side, or the results in another order."""

    def tile_backward(q, k, v, d_o, log_sum_exp, row_dot):
        c, total = q.shape[1] ** -0.5, log_sum_exp[:, None]
        p = torch.exp(c * q @ k.T - total) if probabilities is None else probabilities(q @ k.T, c, total)
        d_p, dot = d_o @ v.T, row_dot[:, None]
        d_s = p * (d_p - dot) if slope is None else slope(p, d_p, dot)
        to_q, to_k = (c if scaled else 1.0 for scaled in scales)
        found = to_q * d_s @ k, to_k * (d_s.T if turn else d_s) @ q, p.T @ d_o
        return tuple(found[n] for n in order)

    return tile_backward


def backward(softmax=False, d=True, brackets=True, scale=True, swap=False):
    """E6.8 with one slip."""

    def tile_backward(q, k, v, d_o, log_sum_exp, row_dot):
        c = q.shape[1] ** -0.5
        p = torch.softmax(c * q @ k.T, 1) if softmax else torch.exp(c * q @ k.T - log_sum_exp[:, None])
        row_dot = row_dot[:, None] if d else 0.0
        d_s = p * (d_o @ v.T - row_dot) if brackets else p * (d_o @ v.T) - row_dot
        c = c if scale else 1.0
        d_q, d_k, d_v = c * d_s @ k, c * d_s.T @ q, p.T @ d_o
        return (d_q, d_v, d_k) if swap else (d_q, d_k, d_v)

    return tile_backward


def test_against_the_formula(attend):
    g = torch.Generator().manual_seed(1)
    for n, m, tile, size in ((4, 6, 4, 1.0), (3, 9, 2, 5.0), (8, 5, 5, 300.0), (5, 8, 3, 2000.0)):
        q, k, v = (torch.randn(shape, generator=g) for shape in ((n, 4), (m, 4), (m, 2)))
        k, q[0] = k.abs(), -1.0  # the logits of the first query are all negative
        p = (size * q @ k.T / 2).double().softmax(1).float()
        assert torch.allclose(attend(size * q, k, v, tile), p @ v, rtol=1e-2, atol=1e-2)


def test_three_laws(attend):
    g = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(shape, generator=g) for shape in ((6, 4), (10, 4), (10, 3)))
    one = attend(3 * q, k, v, 10)
    for tile in (1, 3, 64):
        assert (attend(3 * q, k, v, tile) - one).abs().max() < 1e-3, "the tile must not matter"
    assert (attend(900 * q, k, v, 4) - v[(q @ k.T).argmax(1)]).abs().max() < 0.05, "large logits choose one key"
    shares = attend(torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.eye(4)[:2], torch.eye(2), 1)
    assert (shares[0, 0] / shares[0, 1] - math.e).abs() < 1e-3, "2 / sqrt(4) = 1 more makes e times the weight"
    low = attend(-900 * torch.ones(1, 4), torch.ones(3, 4), v[:3], 2)
    assert (low - v[:3].mean(0)).abs().max() < 1e-3, "equal logits, however low, are equal weights"


def asks(*, size=1.0, tiles=(3,), formula=True, low=False, queries=4):
    """A property test that looks at some things only."""

    def test_tiles(attend):
        g = torch.Generator().manual_seed(3)
        q, k, v = (torch.randn(shape, generator=g) for shape in ((queries, 6), (7, 6), (7, 2)))
        if low:
            k, q[0] = k.abs(), -3.0
        want = torch.softmax(size * q @ k.T / math.sqrt(6), 1) @ v
        for tile in tiles:
            got = attend(size * q, k, v, tile)
            assert not formula or (got - want).abs().max() < 1e-2

    return test_tiles


def test_too_strict(attend):
    asks(size=1.0, tiles=(1, 3, 20))(attend)
    q = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    assert torch.equal(attend(q, q, q, 2), torch.softmax(q @ q.T / math.sqrt(6), 1) @ q)


def test_rows_only(attend):
    v = torch.ones(7, 2)
    for size in (1.0, 1000.0):
        for tile in (2, 7):
            assert (attend(size * torch.ones(4, 6), torch.ones(7, 6), v, tile) - 1).abs().max() < 1e-3


def test_crashes(attend):
    if (attend(torch.ones(2, 4), torch.eye(4), torch.eye(4), 4) - 0.25).abs().max() > 1e-3:
        raise ValueError("wrong")
    asks(size=1000.0, tiles=(3, 20))(attend)
    asks(size=2.0, tiles=(3, 20))(attend)


RIGHT = {
    "E6.1": [scaled_by_einsum, scaled_by_torch, scaled_by_bmm],
    "E6.2": [pieces_by_max, pieces_by_logsumexp, pieces_row_by_row],
    "E6.3": [merged_by_cat, merged_by_addcmul, merged_by_stack],
    "E6.4": [tiles_by_merging, tiles_by_log_sum_exp, tiles_in_buffers],
    "E6.5": [moved_by_walking, moved_by_floor, moved_by_divmod],
    "E6.6": [LookByTorch, LookHeadByHead, LookByEinsum],
    "E6.7": [hidden_by_triangle, hidden_one_by_one, hidden_by_infinities],
    "E6.8": [backward_by_autograd, backward_by_einsum, backward_by_row],
    "E6.9": [test_against_the_formula, test_three_laws],
}
WRONG = {
    "E6.1": {
        "forgotten 1/sqrt(d)": scaled(lambda s, q, k: s),
        "softmax over columns": scaled(axis=-2),
        "divides by d instead of sqrt(d)": scaled(lambda s, q, k: s / q.shape[-1]),
        "multiplies by sqrt(d)": scaled(lambda s, q, k: s * math.sqrt(q.shape[-1])),
        "no softmax": lambda q, k, v: q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) @ v,
        "1/sqrt(d) comes after the softmax": scaled(lambda s, q, k: s, after=0.0),
        "1/sqrt(number of keys) instead of 1/sqrt(d)": scaled(lambda s, q, k: s / math.sqrt(k.shape[-2])),
        "all keys count the same": scaled(lambda s, q, k: torch.zeros_like(s)),
        "wrong shape": lambda q, k, v: F.scaled_dot_product_attention(q, k, v).transpose(-1, -2),
        "over the batch, or the queries": scaled(axis=0),
        "softmax(dim = 1)": scaled(axis=1),
        "1/sqrt(width of V)": lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(v.shape[-1]), -1) @ v,
        "only the best key counts": lambda q, k, v: F.one_hot((q @ k.mT).argmax(-1), k.shape[-2]).to(v.dtype) @ v,
        "a softmax by hand that overflows": scaled_bare,
    },
    "E6.2": {
        "no max subtraction": pieces_without_maximum,
        "one maximum for the whole block": pieces(lambda x: x.max().expand(*x.shape[:-1], 1)),
        "f is divided by l already": pieces_divided,
        "l is the mean, not the sum": pieces(l=lambda f: f.mean(-1, keepdim=True)),
        "f is x - m: the exponential is missing": pieces(f=lambda x, m: x - m),
        "the sign: exp(m - x)": pieces(f=lambda x, m: torch.exp(m - x)),
        "l comes before f": lambda x: (pieces()(x)[0], pieces()(x)[2], pieces()(x)[1]),
        "l has lost its last axis": pieces(l=lambda f: f.sum(-1)),
        "m and l have lost their last axis": lambda x: (x.amax(-1), pieces()(x)[1], pieces()(x)[2][..., 0]),
        "f is the softmax, and l its sum": pieces(f=lambda x, m: torch.softmax(x, -1)),
        "the largest absolute value": pieces(lambda x: x.abs().amax(-1, keepdim=True)),
        "the mean is subtracted": pieces(lambda x: x.mean(-1, keepdim=True)),
        "l is log(l)": pieces(l=lambda f: f.sum(-1, keepdim=True).log()),
        "m is the smallest number": pieces(lambda x: x.amin(-1, keepdim=True)),
    },
    "E6.3": {
        "missing rescale of O": merged(o=(False, False)),
        "missing rescale of l": merged(l=(False, False)),
        "nothing is rescaled": merged(l=(False, False), o=(False, False)),
        "only the first block is rescaled": merged(l=(True, False), o=(True, False)),
        "the exponent has the wrong sign": merged(sign=-1),
        "the smaller maximum is kept": merged(top=torch.minimum),
        "the factors of the two blocks are swapped": merged(swap=True),
        "O is divided by l already": merged(divide=True),
        "got 2 values, expected 3": lambda a, b: merged()(a, b)[1:],
        "the new maximum is not subtracted": merged_bare,
        "measured from a's maximum": merged_from_a,
        "o is taken for a quotient": merged_as_quotients,
        "only the second block is rescaled": merged(l=(False, True), o=(False, True)),
        "changes its argument a": merged_in_place,
        "o and l are swapped": lambda a, b: (merged()(a, b)[0], merged()(a, b)[2], merged()(a, b)[1]),
    },
    "E6.4": {
        "no max subtraction": tiles(peak=False),
        "untiled": untiled,
        "tiles cut only the queries": queries_in_tiles_only,
        "works only for tile sizes that divide": tiles(whole=True),
        "K and V are detached": tiles(detach=True),
        "missing rescale of O": tiles(shrink_o=False),
        "missing rescale of l": tiles(shrink_l=False),
        "softmax over columns": over_columns,
        "forgotten 1/sqrt(d)": tiles(scale=False),
        "each tile is divided by its own sum": tiles(own=True),
        "O is never divided by l": tiles(divide=False),
        "m is forgotten": without_m,
        "wrong dtype": in_a_buffer_of_float32,
        "rounding, as if float32": rounded_to_float32,
        "expected 2 values": only_out,
        "tiles cut only the keys": keys_in_tiles_only,
        "Does m start at 0": starting_at(0.0),
        "logits can be below": starting_at(-1e4),
        "O is divided by l after every tile": divided_each_time,
        "the sign": second_value(lambda m, l: m - l.log()),
        "the logarithm is missing": second_value(lambda m, l: m + l),
        "m alone": second_value(lambda m, l: m),
        "log_sum_exp: wrong shape": second_value(lambda m, l: (m + l.log())[:, None]),
        "got None": nothing_at_all,
    },
    "E6.5": {
        "floor for ceil": lambda n, d, rows: 2 * n * d * (1 + n // rows),
        "a division that is not rounded up": lambda n, d, rows: 2 * n * d * (1 + n / rows),
        "V is forgotten": lambda n, d, rows: n * d * (2 + -(-n // rows)),
        "O is forgotten": lambda n, d, rows: n * d * (1 + 2 * -(-n // rows)),
        "K and V come past once only": lambda n, d, rows: 4 * n * d,
        "S is moved too": lambda n, d, rows: 2 * n * d * (1 + -(-n // rows)) + n * n,
        "Q is loaded for every tile of keys": lambda n, d, rows: n * d * (1 + 3 * -(-n // rows)),
        "K and V come past for every query": lambda n, d, rows: 2 * n * d * (1 + n),
        "one tile too many": lambda n, d, rows: 2 * n * d * (2 + n // rows),
        "a float": lambda n, d, rows: float(moved_by_floor(n, d, rows)),
        "m and l are moved too": lambda n, d, rows: moved_by_floor(n, d, rows) + 2 * n,
        "Q and O cross for every tile": lambda n, d, rows: 4 * n * d * -(-n // rows),
    },
    "E6.6": {
        "x is not added": NoResidual,
        "the heads are not apart": OneHead,
        "1/sqrt(width) instead of 1/sqrt(width of a head)": ScaleOfWidth,
        "forgotten 1/sqrt(d)": NoScale,
        "softmax over columns": OverColumns,
        "K and V come from x": FromX,
        "K and V are swapped": Swapped,
        "the heads are cut without transpose": CutWrongly,
        "the mask is not used": SeesPadding,
        "the mask is inverted": InvertedMask,
        "0 instead of -inf": ZeroForHidden,
        "-10000 instead of -inf": SmallForHidden,
        "hidden after the softmax": HiddenLate,
        "to_out is not zeroed": NotZeroed,
        "K and V are detached": DetachedWords,
        "The parameters must be": OtherNames,
        "joined without transposing back": JoinedWrongly,
        "x is added before to_out": AddedBefore,
        "puts the batch where the heads are": MaskedByHead,
        "every heads-th number": Interleaved,
        "to_q.bias": WithBias,
        "to_k.weight has shape": IgnoresContext,
        "to_q.weight has shape": FullWidthHeads,
    },
    "E6.7": {
        "the tile's corner (i, j) is forgotten": hides(corner=False),
        "the diagonal is hidden too": hides(lambda a, b: b >= a),
        "the past is hidden, not the future": hides(lambda a, b: b < a),
        "i and j are swapped": hides(swap=True),
        "0 instead of -inf": hides(fill=0.0),
        "causal is not used": hides_never_the_future,
        "hides the future although causal is False": hides_always,
        "the mask is not cut to this tile's keys": hides(keys=lambda mask, i, j, r, c: ~mask[:c]),
        "the mask is inverted": hides(keys=lambda mask, i, j, r, c: mask[j : j + c]),
        "the mask hides rows instead of columns": hides(keys=lambda mask, i, j, r, c: ~mask[i : i + r, None]),
        "the mask is not used": lambda s, i, j, causal, mask: hides()(s, i, j, causal, None),
        "causal is not used once there is a mask": hides_one_or_the_other,
        "-1e9 instead of -inf": hides(fill=-1e9),
        "only what both rules hide": hides_by_both,
        "the mask is not used once causal": lambda s, i, j, causal, mask: hides()(
            s, i, j, causal, None if causal else mask
        ),
        "changes its argument s": hides_in_place,
    },
    "E6.8": {
        "P is the softmax of the tile alone": backward(softmax=True),
        "D is forgotten": backward(d=False),
        "D is subtracted outside the brackets": backward(brackets=False),
        "forgotten 1/sqrt(d) in the backward pass": backward(scale=False),
        "dK and dV are swapped": backward(swap=True),
        "got 2 values, expected 3": lambda *args: backward()(*args)[:2],
        "dQ and dK are swapped": backward_with(order=(1, 0, 2)),
        "not dV, dQ, dK": backward_with(order=(2, 0, 1)),
        "forgotten 1/sqrt(d) in dQ": backward_with(scales=(False, True)),
        "forgotten 1/sqrt(d) in dK": backward_with(scales=(True, False)),
        "forgotten 1/sqrt(d) in S~": backward_with(lambda s, c, total: torch.exp(s - total)),
        "log_sum_exp is not subtracted": backward_with(lambda s, c, total: torch.exp(c * s)),
        "D is added": backward_with(slope=lambda p, d_p, dot: p * (d_p + dot)),
        "dS~ is not multiplied by P": backward_with(slope=lambda p, d_p, dot: d_p - dot),
        "the transpose is missing": backward_with(turn=False),
    },
    "E6.9": {
        "no max subtraction": asks(size=1.0, tiles=(3, 20)),
        "works only for tile sizes that divide the number of keys": asks(size=1000.0, tiles=(1, 7)),
        "missing rescale of O": asks(size=3.0, tiles=(20,)),
        "averages the values": asks(formula=False),
        "forgotten 1/sqrt(d)": test_rows_only,
        "It rejects": test_too_strict,
        "Only a failing assert counts": test_crashes,
        "m starts at 0": asks(size=1000.0, tiles=(3, 20), queries=5),
        "the number of queries": asks(size=2.0, tiles=(1, 2), low=True),
    },
}
TURNED = "the same two axes change places"
SIZES = "other sizes and other numbers ask the same"
LARGE = "as long as one of them is small and the other overflows a bare exponential"
TILES = "as long as one tile size does not divide 7"
POSITIVE = "with keys in [0, 1) some query has only negative logits by itself"
EQUIVALENT = {
    "E6.1": {"line 8: k.transpose(-1, -2) -> k.transpose(-2, -1)": TURNED},
    "E6.3": {"line 8: (a, b) -> (b, a)": "the two blocks play the same part"},
    "E6.6": {
        "line 26: h.unflatten(-1, (self.heads, -1)).transpose(1, 2) -> "
        "h.unflatten(-1, (self.heads, -1)).transpose(2, 1)": TURNED,
        "line 27: k.transpose(-1, -2) -> k.transpose(-2, -1)": TURNED,
        "line 27: -2 -> 2": "of four axes, 2 is the last but one",
        "line 31: o.transpose(1, 2) -> o.transpose(2, 1)": TURNED,
    },
    "E6.7": {
        "line 11: (j + torch.arange(columns))[None] -> j + torch.arange(columns)": "a row broadcasts by itself",
        "line 13: hidden | ~mask[j:j + columns] -> ~mask[j:j + columns] | hidden": "or commutes",
    },
    "E6.9": {
        "line 10: q[0] = -1.0 -> (dropped)": POSITIVE,
        "line 9: torch.randn(5, 8) -> torch.rand(5, 8)": SIZES,
        "line 9: 5 -> 6": SIZES,
        "line 9: 5 -> 4": SIZES,
        "line 9: torch.randn(7, 8) -> torch.rand(7, 8)": SIZES,
        "line 9: torch.randn(7, 3) -> torch.rand(7, 3)": SIZES,
        "line 9: 3 -> 4": SIZES,
        "line 9: 3 -> 2": SIZES,
        "line 11: (2.0, 1000.0) -> (1000.0, 2.0)": LARGE,
        "line 11: 2.0 -> 3.0": LARGE,
        "line 11: 2.0 -> 1.0": LARGE,
        "line 11: 2.0 -> 4.0": LARGE,
        "line 11: 1000.0 -> 1001.0": LARGE,
        "line 11: 1000.0 -> 999.0": LARGE,
        "line 11: 1000.0 -> 2000.0": LARGE,
        "line 13: (3, 20) -> (20, 3)": TILES,
        "line 13: 3 -> 4": TILES,
        "line 13: 3 -> 2": TILES,
        "line 13: 20 -> 21": TILES,
        "line 13: 20 -> 19": TILES,
    },
}
