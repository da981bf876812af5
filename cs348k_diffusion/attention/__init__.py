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
LOG2_E = math.log2(math.e)  # in tiles exp(x) is taken as 2^(x log2 e): torch.exp2 needs a quarter of torch.exp's time


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

    causal: query i sees keys 0 .. i; mask: True for the keys that may be seen (a padding mask), (M,) or one for each
    head; scale: 1 / sqrt(d) unless given. A query that sees no key gets zeros, a log-sum-exp of -inf, and gradients of
    zero. Half precision is summed, and its log-sum-exp returned, in float32. Raises ValueError for shapes, types or a
    mask that do not fit.
    """
    k, v, mask, scale = checked(q, k, v, mask, scale)
    m, f, l = _rows(_logits(q, k, causal, mask, scale))
    out = f @ v.to(f.dtype) / _nonzero(l)
    return Attended(out.to(q.dtype), _log_sum_exp(m, l))


def attention_map(q: Tensor, k: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """P = softmax(scale Q K^T), (..., N, M): which keys each query looks at; zeros where it sees none.

    Arguments and errors as for `dense_attention`.
    """
    k, _, mask, scale = checked(q, k, k, mask, scale)
    _, f, l = _rows(_logits(q, k, False, mask, scale))
    return (f / _nonzero(l)).to(q.dtype)


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
    k, v, mask, scale = checked(q, k, v, mask, scale)
    flat, mask = flattened(q, k, v), None if mask is None else mask.reshape(math.prod(q.shape[:-2]), k.shape[-2])
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
    log_sum_exp = q.new_empty(q.shape[:-1], dtype=wide(q))
    room = _room(q, k, tile)
    for i in range(0, q.shape[1], tile):
        rows = slice(i, i + tile)
        qi = scale * LOG2_E * q[:, rows].to(wide(q))
        out[:, rows], log_sum_exp[:, rows] = _one_row_of_tiles(qi, i, k, v, tile, causal, mask, room)
    return out, log_sum_exp


def _one_row_of_tiles(q, i, k, v, tile, causal, mask, room) -> tuple[Tensor, Tensor]:
    """Algorithm 1's inner loop for the queries i, i + 1, ...: m, l and O after every tile of keys.

    q comes times scale * log2 e, so that S and m are logits in base 2; l and O are what they would be in base e.
    """
    m = q.new_full((*q.shape[:2], 1), -torch.inf)
    l = torch.zeros_like(m)
    o = q.new_zeros(*q.shape[:2], v.shape[-1])
    for j in range(0, _end(i, q, k, causal), tile):
        s = _hide(_product(q, k[:, j : j + tile], room), i, j, causal, mask)
        m_new = torch.maximum(m, s.amax(-1, keepdim=True))
        f = s.sub_(_finite(m_new)).exp2_()
        shrink = m.sub_(_finite(m_new)).exp2_()
        l.mul_(shrink).add_(f.sum(-1, keepdim=True))
        o.mul_(shrink).baddbmm_(f, v[:, j : j + tile].to(f.dtype))
        m = m_new
    return o / _nonzero(l), _log_sum_exp(m / LOG2_E, l)


def _walk_back(saved: tuple[Tensor, ...], d_out: Tensor, d_log_sum_exp: Tensor, how: tuple):
    """Algorithm 4: P again from the log-sum-exp, then dV = P^T dO, dS = P (dO V^T - D), dQ = dS K, dK = dS^T Q."""
    (q, k, v, out, log_sum_exp), (tile, causal, mask, scale) = saved, how
    dq, dk, dv = (torch.zeros_like(x, dtype=wide(x)) for x in (q, k, v))
    lse = LOG2_E * _finite(log_sum_exp)[..., None]
    d_out = d_out.to(wide(q))
    row_sum = (d_out * out).sum(-1, keepdim=True) - d_log_sum_exp[..., None]
    room_p, room_ds = _room(q, k, tile), _room(q, k, tile)
    for i in range(0, q.shape[1], tile):
        rows = slice(i, i + tile)
        qi, d_oi = scale * LOG2_E * q[:, rows].to(dq.dtype), d_out[:, rows]
        for j in range(0, _end(i, qi, k, causal), tile):
            keys = slice(j, j + tile)
            p = _hide(_product(qi, k[:, keys], room_p), i, j, causal, mask).sub_(lse[:, rows]).exp2_()
            dv[:, keys].baddbmm_(p.transpose(1, 2), d_oi)
            ds = _product(d_oi, v[:, keys], room_ds).sub_(row_sum[:, rows]).mul_(p)
            dq[:, rows].baddbmm_(ds, k[:, keys].to(ds.dtype), alpha=scale)
            dk[:, keys].baddbmm_(ds.transpose(1, 2), qi, alpha=1 / LOG2_E)
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _room(q: Tensor, k: Tensor, tile: int) -> Tensor:
    """Memory for one tile, used again for each: fetching fresh memory every time costs more than the additions."""
    return q.new_empty(len(q), min(tile, q.shape[1]), min(tile, k.shape[1]), dtype=wide(q))


def _product(a: Tensor, b: Tensor, room: Tensor) -> Tensor:
    """a b^T for one tile, written into `room`."""
    return torch.bmm(a, b.to(a.dtype).transpose(1, 2), out=room[:, : a.shape[1], : b.shape[1]])


def _end(i: int, q: Tensor, k: Tensor, causal: bool) -> int:
    """How many keys the tile of queries that begins with query i has to look at."""
    return min(i + q.shape[1], k.shape[1]) if causal else k.shape[1]


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


def _nonzero(l: Tensor) -> Tensor:
    """l with 0 (a row that has seen no key) replaced by 1: its output and its gradients are 0 and not 0/0."""
    return l.masked_fill(l == 0, 1.0)


def _log_sum_exp(m: Tensor, l: Tensor) -> Tensor:
    return (_finite(m) + torch.log(_nonzero(l))).masked_fill(l == 0, -torch.inf).squeeze(-1)


def _logits(q: Tensor, k: Tensor, causal: bool, mask: Tensor | None, scale: float) -> Tensor:
    s = (scale * q.to(wide(q))) @ k.to(wide(k)).transpose(-1, -2)
    return _hide(s.to(wide(q)), 0, 0, causal, mask)


def _rows(s: Tensor) -> SoftmaxParts:
    """m, f and l of rows of logits, finite where a row is all -inf or has no entry; m needs no gradient: it cancels."""
    m = _finite(s.detach().amax(-1, keepdim=True)) if s.shape[-1] else s.new_zeros(*s.shape[:-1], 1)
    f = torch.exp(s - m)
    return SoftmaxParts(m, f, f.sum(-1, keepdim=True))


# ---- the front door: what may come in ------------------------------------------------------------------------------


def wide(x: Tensor) -> torch.dtype:
    """The type that sums over rows of x are kept in: float32 for half precision, else x's own."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def flattened(*tensors: Tensor) -> list[Tensor]:
    """Each (..., N, d) with all its leading axes as one: (heads, N, d)."""
    return [x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in tensors]


def checked(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor, Bool[Tensor, "... m"] | None, float]:
    """k, v, the mask with k's leading axes, and the scale; raises ValueError, in one sentence, for what does not fit.

    Rows of k and v that the mask hides are 0: padding may hold NaN, and 0 NaN is NaN.
    """
    shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
    heads = q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not heads or q.shape[-1:] != k.shape[-1:] or k.shape[-2:-1] != v.shape[-2:-1]:
        raise ValueError(
            f"attention needs q (..., N, d), k (..., M, d), v (..., M, e) with equal leading axes; got {shapes}"
        )
    if q.ndim < 2 or not q.shape[-1]:
        raise ValueError(f"queries and keys are rows of at least one number; got {shapes}")
    if not q.is_floating_point() or not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v are of one floating type; got {q.dtype}, {k.dtype} and {v.dtype}")
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"scale is a finite number, got {scale}")
    if mask is not None:
        mask = _checked_mask(mask, k.shape[:-1])
        k, v = (x.masked_fill(~mask[..., None], 0.0) for x in (k, v))
    return k, v, mask, 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _checked_mask(mask: Tensor, shape: torch.Size) -> Tensor:
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask is boolean, True for the keys that may be seen; got {mask.dtype}")
    fits = all(a in (1, b) for a, b in zip(reversed(mask.shape), reversed(shape), strict=False))
    if not fits or not 1 <= mask.ndim <= len(shape) or mask.shape[-1] != shape[-1]:
        raise ValueError(
            f"a mask says which of the M = {shape[-1]} keys may be seen, the same for every query: (M,) or something "
            f"that broadcasts to {tuple(shape)}; got {tuple(mask.shape)}"
        )
    return mask.expand(shape)


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
