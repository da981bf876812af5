"""The Triton kernel against the dense formula, in Triton's interpreter: every line of it runs on a CPU."""

import importlib

import pytest
import torch

from cs348k_diffusion.attention import dense_attention

pytest.importorskip("triton", reason="Triton is not installed: it exists for Linux (pip install -e '.[triton]')")
triton_attention = importlib.import_module("cs348k_diffusion.attention.triton").triton_attention


def qkv(*batch, n, m, d, e, size=1.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(n + m)
    return tuple(
        size * torch.randn(s, generator=g, dtype=dtype) for s in ((*batch, n, d), (*batch, m, d), (*batch, m, e))
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("n", "m", "d", "e"), [(64, 64, 16, 16), (37, 37, 8, 5), (20, 50, 24, 16), (1, 3, 16, 32)])
def test_the_kernel_is_the_dense_formula(n, m, d, e, causal, padded):
    m = n if causal else m
    q, k, v = qkv(2, n=n, m=m, d=d, e=e, size=3.0)
    mask = torch.rand(2, m, generator=torch.Generator().manual_seed(1)) > 0.4 if padded else None
    want = dense_attention(q, k, v, causal, mask)
    for tile in (16, 32):
        got = triton_attention(q, k, v, tile, causal, mask)
        torch.testing.assert_close(got.out, want.out, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(got.log_sum_exp, want.log_sum_exp, rtol=1e-5, atol=1e-5)


def test_large_logits_do_not_overflow_and_heads_stay_apart():
    q, k, v = qkv(2, 3, n=33, m=40, d=16, e=16, size=12.0)
    torch.testing.assert_close(triton_attention(q, k, v).out, dense_attention(q, k, v).out, rtol=1e-4, atol=1e-4)


def test_a_query_that_sees_nothing_gets_zeros():
    q, k, v = qkv(2, n=4, m=6, d=8, e=8)
    out, log_sum_exp = triton_attention(q, k, v, mask=torch.tensor([[False] * 6, [True] * 6]))
    assert bool((out[0] == 0).all()) and bool((log_sum_exp[0] == -torch.inf).all())
    torch.testing.assert_close(out[1], dense_attention(q, k, v).out[1])


def test_half_precision_is_summed_in_float32():
    q, k, v = qkv(1, n=48, m=48, d=16, e=16, dtype=torch.float16)
    truth = dense_attention(*(x.double() for x in (q, k, v))).out
    torch.testing.assert_close(triton_attention(q, k, v).out.double(), truth, rtol=2e-3, atol=2e-3)


def test_tiles_it_cannot_have_are_explained():
    q, k, v = qkv(n=8, m=8, d=8, e=8)
    for tile in (8, 48):
        with pytest.raises(ValueError, match="powers of two"):
            triton_attention(q, k, v, tile)
