"""The tiles of `attention.tiled_attention` as one GPU kernel, in Triton: S and P never leave the chip.

One program for each tile of queries (and each head): it loads its queries once, walks over the tiles of keys, and keeps
m, l and O in registers. A GPU runs them side by side. Where there is no GPU, Triton's interpreter runs the same code in
NumPy (set TRITON_INTERPRET=1 before the first import): slow, and good enough to test every line of it.
Source: Dao et al. 2022 (FlashAttention), algorithm 1, arXiv:2205.14135; its loops turned inside out as in Dao 2023,
arXiv:2307.08691.
"""

from __future__ import annotations

import math

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from jaxtyping import Bool, Float
from torch import Tensor
from triton import knobs  # pyright: ignore[reportMissingImports]

from cs348k_diffusion.attention import Attended, checked, flattened

SMALLEST = 16  # a GPU's matrix units multiply no smaller tiles


def triton_attention(
    q: Float[Tensor, "... n d"],
    k: Float[Tensor, "... m d"],
    v: Float[Tensor, "... m e"],
    tile: int = 64,
    causal: bool = False,
    mask: Bool[Tensor, "... m"] | None = None,
    scale: float | None = None,
) -> Attended:
    """The numbers of `tiled_attention`, without a backward pass; tile: a power of two, at least 16.

    Arguments and results as there. Raises ValueError for another tile, or for tensors that are not on a GPU (unless
    Triton's interpreter was asked for).
    """
    k, v, mask, scale = checked(q, k, v, mask, scale)
    _check(q, tile)
    n, m, d, e = q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]
    flat = [x.contiguous() for x in flattened(q, k, v)]
    seen = None if mask is None else mask.reshape(len(flat[0]), m).to(torch.int8).contiguous()
    out, log_sum_exp = q.new_zeros(len(flat[0]), n, e), torch.full((len(flat[0]), n), -math.inf, device=q.device)
    widths = {"D": _power(d), "E": _power(e), "TILE": tile, "CAUSAL": causal, "MASKED": mask is not None}
    if n and m and len(out):  # without keys it stays as it is: zeros, and -inf
        _kernel[(triton.cdiv(n, tile), len(flat[0]))](*flat, seen, out, log_sum_exp, scale, n, m, d, e, **widths)  # pyright: ignore
    return Attended(out.view(*q.shape[:-1], e), log_sum_exp.view(q.shape[:-1]))


@triton.jit
def _kernel(
    Q, K, V, MASK, OUT, LSE, scale, n, m, d, e,
    D: tl.constexpr, E: tl.constexpr, TILE: tl.constexpr, CAUSAL: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * TILE + tl.arange(0, TILE)
    at_d, at_e = tl.arange(0, D)[None, :], tl.arange(0, E)[None, :]
    q = tl.load(Q + head * n * d + i[:, None] * d + at_d, mask=(i[:, None] < n) & (at_d < d), other=0.0)
    top = tl.full([TILE], float("-inf"), tl.float32)
    l = tl.zeros([TILE], tl.float32)
    o = tl.zeros([TILE, E], tl.float32)
    stop = tl.minimum(m, tl.program_id(0) * TILE + TILE) if CAUSAL else m
    for start in range(0, stop, TILE):
        j = start + tl.arange(0, TILE)
        there = j[:, None] < m
        k_at = K + head * m * d + j[:, None] * d + at_d
        v_at = V + head * m * e + j[:, None] * e + at_e
        k = tl.load(k_at, mask=there & (at_d < d), other=0.0)
        v = tl.load(v_at, mask=there & (at_e < e), other=0.0)
        seen = j[None, :] < m
        if CAUSAL:
            seen = seen & (j[None, :] <= i[:, None])
        if MASKED:
            allowed = tl.load(MASK + head * m + j, mask=j < m, other=0)
            seen = seen & (allowed != 0)[None, :]
        s = scale * tl.dot(q, tl.trans(k), input_precision="ieee")
        s = tl.where(seen, s, float("-inf"))
        new_top = tl.maximum(top, tl.max(s, 1))
        # 0 for a row that has seen no key yet
        finite = tl.where(new_top == float("-inf"), 0.0, new_top)
        f = tl.exp(s - finite[:, None])
        shrink = tl.exp(top - finite)
        l = shrink * l + tl.sum(f, 1)
        o = shrink[:, None] * o + tl.dot(f.to(v.dtype), v, input_precision="ieee")
        top = new_top
    l = tl.where(l == 0.0, 1.0, l)  # it has seen none at all
    o = o / l[:, None]
    tl.store(OUT + head * n * e + i[:, None] * e + at_e, o.to(q.dtype), mask=(i[:, None] < n) & (at_e < e))
    tl.store(LSE + head * n + i, top + tl.log(l), mask=i < n)


def _power(width: int) -> int:
    return max(SMALLEST, triton.next_power_of_2(width))


def _check(q: Tensor, tile: int) -> None:
    if q.dtype == torch.float64:
        raise ValueError("the kernel sums in float32: use tiled_attention for float64")
    if tile < SMALLEST or tile & (tile - 1):
        raise ValueError(f"Triton's tiles are powers of two from {SMALLEST} on, got tile = {tile}")
    if not q.is_cuda and not knobs.runtime.interpret:
        raise ValueError("q is not on a GPU: move q, k and v there, or set TRITON_INTERPRET=1 before Python starts")
