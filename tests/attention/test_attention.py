"""Attention: tiles against the dense formula, gradients, memory that grows like N, overflow where the lecture says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cs348k_diffusion.attention import (
    Attention,
    SoftmaxParts,
    attention_map,
    dense_attention,
    merge_parts,
    naive_softmax,
    softmax_parts,
    stable_softmax,
    tiled_attention,
)
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.exercises import largest_tensor


def qkv(*batch, n=37, m=29, d=8, e=5, seed=0, dtype=torch.float64, size=1.0):
    g = torch.Generator().manual_seed(seed)
    shapes = ((*batch, n, d), (*batch, m, d), (*batch, m, e))
    return tuple(size * torch.randn(shape, generator=g, dtype=dtype) for shape in shapes)


def test_dense_attention_is_torchs_own():
    q, k, v = qkv(2, 3)
    want = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(dense_attention(q, k, v).out, want)
    torch.testing.assert_close(attention_map(q, k) @ v, want)
    unscaled = torch.softmax(q @ k.transpose(-1, -2), -1) @ v  # the slide's S, without 1 / sqrt(d)
    torch.testing.assert_close(dense_attention(q, k, v, scale=1.0).out, unscaled)


def test_dense_log_sum_exp_and_causal_mask_are_torchs():
    q, k, v = qkv(2, n=11, m=11)
    logits = (q @ k.transpose(-1, -2) / math.sqrt(8)).masked_fill(torch.ones(11, 11).triu(1).bool(), -torch.inf)
    got = dense_attention(q, k, v, causal=True)
    torch.testing.assert_close(got.log_sum_exp, logits.logsumexp(-1))
    torch.testing.assert_close(got.out, torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))


@settings(deadline=None, max_examples=30)
@given(
    tile=st.integers(1, 50),
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    causal=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_tiled_equals_dense_for_any_tile(tile, n, m, causal, padded, seed):
    m = n if causal else m
    q, k, v = qkv(2, 2, n=n, m=m, seed=seed, size=3.0)
    mask = torch.rand(2, 1, m, generator=torch.Generator().manual_seed(seed)) > 0.4 if padded else None
    dense, tiled = dense_attention(q, k, v, causal, mask), tiled_attention(q, k, v, tile, causal, mask)
    torch.testing.assert_close(tiled.out, dense.out, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tiled.log_sum_exp, dense.log_sum_exp, rtol=1e-12, atol=1e-12)


def test_a_query_that_sees_nothing_gets_zeros():
    q, k, v = qkv(2, n=4, m=6)
    mask = torch.tensor([[False] * 6, [True] * 6])
    for out, log_sum_exp in (dense_attention(q, k, v, mask=mask), tiled_attention(q, k, v, 4, mask=mask)):
        torch.testing.assert_close(out[0], torch.zeros(4, 5, dtype=out.dtype))
        assert bool((log_sum_exp[0] == -torch.inf).all()) and bool(log_sum_exp[1].isfinite().all())


@pytest.mark.parametrize("causal", [False, True])
def test_the_backward_pass_is_the_derivative(causal):
    q, k, v = (x.requires_grad_() for x in qkv(2, n=5, m=5, d=3, e=2))
    mask = torch.tensor([[True] * 5, [True] * 4 + [False]])
    for tile in (3, 16):
        assert torch.autograd.gradcheck(lambda *a, tile=tile: tiled_attention(*a, tile, causal, mask), (q, k, v))


def test_gradients_equal_the_dense_ones_in_float32():
    leaves = [x.requires_grad_() for x in qkv(1, 2, n=65, m=65, dtype=torch.float32)]
    cotangent = torch.randn(1, 2, 65, 5, generator=torch.Generator().manual_seed(1))
    want = torch.autograd.grad(dense_attention(*leaves).out, leaves, cotangent)
    got = torch.autograd.grad(tiled_attention(*leaves, tile=24).out, leaves, cotangent)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def slope(sizes, values):
    x, y = (torch.tensor(z, dtype=torch.float64).log() for z in (sizes, values))
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def test_memory_grows_like_n_when_tiled_and_like_n_squared_when_dense():
    sizes = (128, 256, 512, 1024)
    inputs = [qkv(n=n, m=n, d=16, e=16, dtype=torch.float32) for n in sizes]
    dense = [largest_tensor(dense_attention, *x) for x in inputs]
    tiled = [largest_tensor(tiled_attention, *x, tile=32) for x in inputs]
    assert abs(slope(sizes, dense) - 2) < 0.1
    assert abs(slope(sizes, tiled) - 1) < 0.1
    assert max(tiled) <= 1024 * 16 * 4  # no tensor larger than the output


def test_memory_of_the_backward_pass_grows_like_n_too():
    def both_ways(n):
        leaves = [x.requires_grad_() for x in qkv(n=n, m=n, d=16, e=16, dtype=torch.float32)]
        return largest_tensor(lambda: tiled_attention(*leaves, tile=32).out.sum().backward())

    sizes = (128, 256, 512)
    assert abs(slope(sizes, [both_ways(n) for n in sizes]) - 1) < 0.1


def test_the_stored_measurements_say_what_the_notebook_says():
    card = result("attention_costs")
    extra = {(r["method"], r["n"]): r["extra_mib"] for r in card["rows"] if r["pass"] == "forward"}
    large = (2048, 4096, 8192)
    assert all(abs(slope(large, [extra[name, n] for n in large]) - 2) < 0.1 for name in ("naive", "stable"))
    assert all(slope((*large, 16384), [extra[name, n] for n in (*large, 16384)]) < 1.1 for name in ("tiled", "torch"))
    reached = card["at_8192"]["forward"]
    assert reached["stable_over_tiled_time"] >= 2.5
    assert reached["stable_over_tiled_memory"] >= 50
    assert reached["tiled_over_torch_time"] <= 1.6


def test_softmax_parts_merge_into_the_whole():
    x = 30 * torch.randn(6, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = softmax_parts(x)
    for cut in (1, 17, 49):
        merged = merge_parts(softmax_parts(x[:, :cut]), softmax_parts(x[:, cut:]))
        torch.testing.assert_close(merged, whole)
    three = merge_parts(softmax_parts(x[:, :9]), merge_parts(softmax_parts(x[:, 9:20]), softmax_parts(x[:, 20:])))
    torch.testing.assert_close(three.f / three.l, torch.softmax(x, -1))
    assert isinstance(three, SoftmaxParts)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float16, 11.09), (torch.float32, 88.72), (torch.bfloat16, 88.5)], ids=str
)
def test_naive_softmax_overflows_where_the_exponential_does(dtype, limit):
    below, above = torch.tensor([limit - 0.6, 0.0], dtype=dtype), torch.tensor([limit + 0.6, 0.0], dtype=dtype)
    assert bool(naive_softmax(below).isfinite().all())
    assert bool(naive_softmax(above).isnan().any())
    torch.testing.assert_close(stable_softmax(above), torch.tensor([1.0, 0.0], dtype=dtype))


def test_float32_tiles_are_as_accurate_as_the_dense_formula():
    q, k, v = qkv(n=200, m=200, d=32, e=8, size=4.0)
    truth = dense_attention(q, k, v).out
    low = [x.float() for x in (q, k, v)]
    dense_error = (dense_attention(*low).out - truth).abs().max()
    tiled_error = (tiled_attention(*low, tile=64).out - truth).abs().max()
    assert tiled_error <= 2 * dense_error + 1e-7


def test_a_new_attention_block_changes_nothing_and_padding_is_not_seen():
    torch.manual_seed(0)
    block = Attention(16, heads=4, context_width=6)
    x, tokens = torch.randn(2, 9, 16), torch.randn(2, 5, 6)
    torch.testing.assert_close(block(x, tokens), x)
    torch.nn.init.normal_(block.to_out.weight)
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    changed = tokens.clone()
    changed[0, 2:] = 100.0
    torch.testing.assert_close(block(x, tokens, mask), block(x, changed, mask))
    assert (block(x, tokens) - block(x, changed)).abs().max() > 1e-3


def test_maps_are_rows_of_probabilities():
    torch.manual_seed(1)
    block = Attention(8, heads=2)
    maps = block.maps(torch.randn(3, 6, 8))
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 2, 6))
    assert bool((maps >= 0).all())


def test_attention_block_is_torchs_multihead_attention():
    torch.manual_seed(2)
    block, oracle = Attention(12, heads=3), torch.nn.MultiheadAttention(12, 3, batch_first=True)
    torch.nn.init.normal_(block.to_out.weight)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([block.to_q.weight, block.to_kv.weight]))
        oracle.in_proj_bias.zero_()
        oracle.out_proj.weight.copy_(block.to_out.weight)
        oracle.out_proj.bias.copy_(block.to_out.bias)
    x = torch.randn(2, 7, 12)
    normed = block.norm(x)
    torch.testing.assert_close(block(x) - x, oracle(normed, normed, normed)[0], rtol=1e-4, atol=1e-5)


def test_bad_shapes_are_explained():
    q, k, v = qkv(2)
    with pytest.raises(ValueError, match="equal leading axes"):
        dense_attention(q, k[:1], v)
    with pytest.raises(ValueError, match="at least one row"):
        tiled_attention(q, k, v, tile=0)
    with pytest.raises(ValueError, match="not a multiple"):
        Attention(10, heads=4)
