"""The lecture's attention module: S = Q K^T, P = softmax(S) over rows, O = P V; and the same without storing S.

    m(x) = max_i x_i,   f(x) = [exp(x_1 - m), ..., exp(x_B - m)],   l(x) = sum_i f(x)_i,   softmax(x) = f(x) / l(x)

A row's m and l can be merged from those of its pieces, so softmax needs only one tile of S at a time. The slide leaves
out the factor 1 / sqrt(d); every function here has it as `scale`. Shapes: (..., N, d), with batch and heads in front.
Source: Dao et al. 2022 (FlashAttention), section 3.1 and algorithms 1 and 4, arXiv:2205.14135.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

TILE = 512  # rows: a tile of float32 is 1 MB, which a processor's cache still holds


def naive_softmax(x: Float[Tensor, "... n"]) -> Float[Tensor, "... n"]:
    """exp(x_i) / sum_j exp(x_j), as written: overflows above 88.7 in float32 and bfloat16, above 11.09 in float16."""
    f = torch.exp(x)
    return f / f.sum(-1, keepdim=True)


class SoftmaxParts(NamedTuple):
    """m, f and l of a block of rows: softmax = f / l. m and l keep a last axis of size 1."""

    m: Tensor
    f: Tensor
    l: Tensor


def softmax_parts(x: Float[Tensor, "... n"]) -> SoftmaxParts:
    """m(x) = max x, f(x) = exp(x - m), l(x) = sum f: no exponent is above 0, so nothing overflows."""
    m = x.amax(-1, keepdim=True)
    f = torch.exp(x - m)
    return SoftmaxParts(m, f, f.sum(-1, keepdim=True))


def stable_softmax(x: Float[Tensor, "... n"]) -> Float[Tensor, "... n"]:
    """f(x) / l(x), the slide's softmax."""
    _, f, l = softmax_parts(x)
    return f / l


def merge_parts(a: SoftmaxParts, b: SoftmaxParts) -> SoftmaxParts:
    """The parts of [x_a x_b] from the parts of x_a and of x_b.

    m = max(m_a, m_b),   f = [e^(m_a - m) f_a, e^(m_b - m) f_b],   l = e^(m_a - m) l_a + e^(m_b - m) l_b
    """
    m = torch.maximum(a.m, b.m)
    shrink_a, shrink_b = torch.exp(a.m - m), torch.exp(b.m - m)
    return SoftmaxParts(m, torch.cat([shrink_a * a.f, shrink_b * b.f], -1), shrink_a * a.l + shrink_b * b.l)


class Attended(NamedTuple):
    """Attention's output (..., N, d_v) and the log-sum-exp of each row of scaled logits, (..., N)."""

    out: Tensor
    log_sum_exp: Tensor


def dense_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... m d_k"],
    v: Float[Tensor, "... m_v e"],
    causal: bool = False,
    mask: Bool[Tensor, "... m"] | None = None,
    scale: float | None = None,
) -> Attended:
    """softmax(scale Q K^T) V with all of S in memory: N M numbers for each head.

    causal: query i sees keys 0 .. i; mask: True for the keys that may be seen (a padding mask); scale: 1 / sqrt(d)
    unless given. A query that sees no key gets zeros, and a log-sum-exp of -inf. Raises ValueError for shapes that do
    not fit.
    """
    scale = _scale(q, k, v, scale)
    s = scale * q @ k.transpose(-1, -2)
    s = _hide(s, 0, 0, causal, mask)
    m = _finite(s.amax(-1, keepdim=True))
    f = torch.exp(s - m)
    l = f.sum(-1, keepdim=True)
    return Attended(f @ v / l.clamp(min=torch.finfo(l.dtype).tiny), (m + torch.log(l)).squeeze(-1))


def attention_map(q: Tensor, k: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """P = softmax(scale Q K^T), (..., N, M): which keys each query looks at."""
    s = (1 / math.sqrt(q.shape[-1]) if scale is None else scale) * q @ k.transpose(-1, -2)
    return stable_softmax(_hide(s, 0, 0, False, mask))


def tiled_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... m d_k"],
    v: Float[Tensor, "... m_v e"],
    tile: int = TILE,
    causal: bool = False,
    mask: Bool[Tensor, "... m"] | None = None,
    scale: float | None = None,
) -> Attended:
    """The same numbers as `dense_attention`, in tiles: O(N) extra memory, forward and backward.

    For each tile of queries, walk over the tiles of keys and keep (m, l, O) up to date; the backward pass computes each
    tile of P again from the log-sum-exp. Any tile size, divisor or not. Raises ValueError for tile < 1.
    """
    if tile < 1:
        raise ValueError(f"a tile holds at least one row, got tile = {tile}")
    scale = _scale(q, k, v, scale)
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (q, k, v)]
    if mask is not None:
        mask = mask.expand(*k.shape[:-2], k.shape[-2]).reshape(-1, k.shape[-2])
    out, log_sum_exp = _Tiled.apply(*flat, tile, causal, mask, scale)
    return Attended(out.view(*q.shape[:-1], v.shape[-1]), log_sum_exp.view(q.shape[:-1]))


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q, k, v, tile, causal, mask, scale):
        out, log_sum_exp = _walk(q, k, v, tile, causal, mask, scale)
        ctx.save_for_backward(q, k, v, out, log_sum_exp)
        ctx.how = (tile, causal, mask, scale)
        return out, log_sum_exp

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out, d_log_sum_exp):
        return *_walk_back(ctx.saved_tensors, d_out, d_log_sum_exp, ctx.how), None, None, None, None


def _walk(q, k, v, tile, causal, mask, scale) -> tuple[Tensor, Tensor]:
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    log_sum_exp = q.new_empty(q.shape[:-1])
    room = _room(q, k, tile)
    for i in range(0, q.shape[1], tile):
        rows = slice(i, i + tile)
        out[:, rows], log_sum_exp[:, rows] = _one_row_of_tiles(scale * q[:, rows], i, k, v, tile, causal, mask, room)
    return out, log_sum_exp


def _one_row_of_tiles(q, i, k, v, tile, causal, mask, room) -> tuple[Tensor, Tensor]:
    """Algorithm 1's inner loop for the queries i, i + 1, ...: m, l and O after every tile of keys."""
    m = q.new_full((*q.shape[:2], 1), -torch.inf)
    l = torch.zeros_like(m)
    o = q.new_zeros(*q.shape[:2], v.shape[-1])
    for j in range(0, i + q.shape[1] if causal else k.shape[1], tile):
        s = _hide(_product(q, k[:, j : j + tile], room), i, j, causal, mask)
        m_new = torch.maximum(m, s.amax(-1, keepdim=True))
        f = s.sub_(_finite(m_new)).exp_()
        shrink = m.sub_(_finite(m_new)).exp_()
        l.mul_(shrink).add_(f.sum(-1, keepdim=True))
        o.mul_(shrink).baddbmm_(f, v[:, j : j + tile])
        m = m_new
    return o / l.clamp(min=torch.finfo(l.dtype).tiny), (_finite(m) + torch.log(l)).squeeze(-1)


def _walk_back(saved: tuple[Tensor, ...], d_out: Tensor, d_log_sum_exp: Tensor, how: tuple):
    """Algorithm 4: P again from the log-sum-exp, then dV = P^T dO, dS = P (dO V^T - D), dQ = dS K, dK = dS^T Q."""
    (q, k, v, out, log_sum_exp), (tile, causal, mask, scale) = saved, how
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    lse = _finite(log_sum_exp)[..., None]
    pull = (d_out * out).sum(-1, keepdim=True) - d_log_sum_exp[..., None]
    room_p, room_ds = _room(q, k, tile), _room(q, k, tile)
    for i in range(0, q.shape[1], tile):
        rows = slice(i, i + tile)
        qi, d_oi = scale * q[:, rows], d_out[:, rows]
        for j in range(0, i + qi.shape[1] if causal else k.shape[1], tile):
            keys = slice(j, j + tile)
            p = _hide(_product(qi, k[:, keys], room_p), i, j, causal, mask).sub_(lse[:, rows]).exp_()
            dv[:, keys].baddbmm_(p.transpose(1, 2), d_oi)
            ds = _product(d_oi, v[:, keys], room_ds).sub_(pull[:, rows]).mul_(p)
            dq[:, rows].baddbmm_(ds, k[:, keys], alpha=scale)
            dk[:, keys].baddbmm_(ds.transpose(1, 2), qi)
    return dq, dk, dv


def _room(q: Tensor, k: Tensor, tile: int) -> Tensor:
    """Memory for one tile, used again for each: fetching fresh memory every time costs more than the additions."""
    return q.new_empty(len(q), min(tile, q.shape[1]), min(tile, k.shape[1]))


def _product(a: Tensor, b: Tensor, room: Tensor) -> Tensor:
    """a b^T for one tile, written into `room`."""
    return torch.bmm(a, b.transpose(1, 2), out=room[:, : a.shape[1], : b.shape[1]])


def _hide(s: Tensor, i: int, j: int, causal: bool, mask: Tensor | None) -> Tensor:
    """The tile of logits whose corner is (i, j), with -inf where a query may not look."""
    rows, columns = s.shape[-2:]
    if causal and j + columns - 1 > i:
        ahead = torch.ones(rows, columns, dtype=torch.bool, device=s.device).triu(i - j + 1)
        s = s.masked_fill(ahead, -torch.inf)
    if mask is not None:
        s = s.masked_fill(~mask[..., None, j : j + columns], -torch.inf)
    return s


def _finite(m: Tensor) -> Tensor:
    """m with -inf (a row that has seen no key yet) replaced by 0, so that exp(-inf - m) is 0 and not NaN."""
    return m.masked_fill(m == -torch.inf, 0.0)


def _scale(q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> float:
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2] or q.shape[:-2] != k.shape[:-2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(
            f"attention needs q (..., N, d), k (..., M, d), v (..., M, e) with equal leading axes; got {shapes}"
        )
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


class Attention(nn.Module):
    """Multi-head attention of `x` to `context`: to itself (self-attention), or to a caption's tokens (cross-attention).

    O = concat_h softmax(Q_h K_h^T / sqrt(d_h)) V_h,   Q = x W_Q,   K, V = context W_K, context W_V
    out = x + O W_O, with W_O = 0 at the start, so a new block changes nothing.

    x: (batch, N, width); context: (batch, M, context_width). Raises ValueError unless heads divides width.
    Source: Vaswani et al. 2017, section 3.2, arXiv:1706.03762; Rombach et al. 2022, section 3.3, arXiv:2112.10752.
    """

    def __init__(self, width: int, heads: int = 4, context_width: int | None = None):
        super().__init__()
        if width % heads:
            raise ValueError(f"the heads share the width evenly: {width} is not a multiple of {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(context_width or width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x after one look around; mask: (batch, M), True for the tokens of context that may be seen."""
        q, k, v = self._heads(x, context)
        o, _ = dense_attention(q, k, v, mask=None if mask is None else mask[:, None])
        return x + self.to_out(o.transpose(1, 2).flatten(2))

    def maps(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Float[Tensor, "b h n m"]:
        """Where each query looks, for plotting: (batch, heads, N, M), rows sum to 1."""
        q, k, _ = self._heads(x, context)
        return attention_map(q, k, None if mask is None else mask[:, None])

    def _heads(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        x = self.norm(x)
        k, v = self.to_kv(x if context is None else context).chunk(2, dim=-1)
        q, k, v = (h.unflatten(-1, (self.heads, -1)).transpose(1, 2) for h in (self.to_q(x), k, v))
        return q, k, v
