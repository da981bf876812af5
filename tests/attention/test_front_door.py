"""One property for every attention: the softmax of each row over the keys that it may see, and its gradients."""

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from cs348k_diffusion.attention import attention_map, dense_attention, tiled_attention

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SIZES = st.integers(0, 7)


def oracle(q, k, v, causal, mask):
    """Row by row in float64, over the visible keys alone; a row that sees none has zeros and -inf."""
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    lse = torch.full(q.shape[:-1], -torch.inf, dtype=torch.float64)
    rows_out, rows_lse = [], []
    for head in range(len(q)):
        for i in range(q.shape[1]):
            seen = [j for j in range(k.shape[1]) if (not causal or j <= i) and (mask is None or bool(mask[head, j]))]
            logits = k[head, seen] @ q[head, i] / q.shape[-1] ** 0.5
            rows_out.append(torch.softmax(logits, 0) @ v[head, seen] if seen else out[head, i])
            rows_lse.append(torch.logsumexp(logits, 0) if seen else lse[head, i])
    if not rows_out:
        return out, lse
    return torch.stack(rows_out).view_as(out), torch.stack(rows_lse).view_as(lse)


def gradients(out, lse, inputs, g):
    """Of a random sum over out and over the finite log-sum-exps; zeros where nothing depends on an input."""
    finite = lse.isfinite()
    total = (out.double() * torch.randn(out.shape, generator=g, dtype=torch.float64)).sum()
    total = total + (lse.masked_fill(~finite, 0.0).double() * torch.randn(lse.shape, generator=g).double()).sum()
    found = torch.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else [None] * len(inputs)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, found, strict=True)]


def problem(n, m, masked, dtype, seed):
    g = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(shape, generator=g).to(dtype) for shape in ((2, n, 4), (2, m, 4), (2, m, 3))]
    return tensors, (torch.rand(2, m, generator=g) > 0.5 if masked else None)


@settings(max_examples=150, deadline=None)
@given(SIZES, SIZES, st.integers(1, 8), st.booleans(), st.booleans(), st.sampled_from(list(TOLERANCE)), SIZES)
def test_dense_and_tiled_are_the_softmax_over_what_may_be_seen(n, m, tile, causal, masked, dtype, seed):
    tensors, mask = problem(n, m, masked, dtype, seed)
    exact = [x.double().requires_grad_() for x in tensors]
    want = oracle(*exact, causal, mask)
    wanted = gradients(*want, exact, torch.Generator().manual_seed(1))
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for attend in (dense_attention, lambda *args: tiled_attention(*args[:3], tile, *args[3:])):
        given_ = [x.clone().requires_grad_() for x in tensors]
        out, lse = attend(*given_, causal, mask)
        assert out.dtype == dtype
        assert lse.dtype == (dtype if dtype.itemsize > 2 else torch.float32)
        assert_close(out.double(), want[0].detach(), **close)
        assert_close(lse.double(), want[1].detach(), **({"rtol": 1e-5, "atol": 1e-5} if dtype.itemsize < 8 else close))
        for x, grad in zip(gradients(out, lse, given_, torch.Generator().manual_seed(1)), wanted, strict=True):
            assert_close(x.double(), grad, rtol=2 * TOLERANCE[dtype], atol=2 * TOLERANCE[dtype])


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.booleans(), st.sampled_from(list(TOLERANCE)), SIZES)
def test_a_map_is_what_the_values_are_weighted_by(n, m, masked, dtype, seed):
    (q, k, _), mask = problem(n, m, masked, dtype, seed)
    weights = oracle(q.double(), k.double(), torch.eye(m).double().expand(2, m, m), False, mask)[0]
    found = attention_map(q, k, mask)
    assert found.dtype == dtype
    assert_close(found.double(), weights, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.booleans(), st.booleans(), st.sampled_from([torch.float32, torch.float16]), SIZES)
def test_so_is_the_kernel(n, m, causal, masked, dtype, seed):
    pytest.importorskip("triton", reason="Triton exists for Linux")
    triton_attention = importlib.import_module("cs348k_diffusion.attention.triton").triton_attention
    tensors, mask = problem(n, m, masked, dtype, seed)
    out, lse = triton_attention(*tensors, 16, causal, mask)
    want = oracle(*(x.double() for x in tensors), causal, mask)
    assert (out.dtype, lse.dtype) == (dtype, torch.float32)
    assert_close(out.double(), want[0], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_close(lse.double(), want[1], rtol=2e-3, atol=2e-3)


def test_logits_that_half_precision_cannot_hold_are_summed_in_float32():
    q = k = torch.full((1, 3, 4), 200.0, dtype=torch.float16)  # logits of 80,000; float16 ends at 65,504
    v = torch.tensor([[[1.0], [2.0], [3.0]]]).half()
    for attend in (dense_attention, tiled_attention):
        out, lse = attend(q, k, v)
        assert_close(out, torch.full((1, 3, 1), 2.0).half())
        assert_close(lse, torch.full((1, 3), 80_000.0) + torch.log(torch.tensor(3.0)))


Q, K, V = torch.randn(2, 5, 4), torch.randn(2, 6, 4), torch.randn(2, 6, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mask": torch.ones(2, 7, dtype=torch.bool)}, r"which of the M = 6 keys .* got \(2, 7\)"),
        ({"mask": torch.ones(5, 6, dtype=torch.bool)}, r"the same for every query.* got \(5, 6\)"),
        ({"mask": torch.ones(2, 5, 6, dtype=torch.bool)}, r"got \(2, 5, 6\)"),
        ({"mask": torch.ones(2, 1, dtype=torch.bool)}, r"got \(2, 1\)"),
        ({"mask": torch.tensor(True)}, r"got \(\)"),
        ({"mask": torch.ones(2, 6)}, "boolean"),
        ({"k": K.double()}, "one floating type"),
        ({"q": Q.long(), "k": K.long(), "v": V.long()}, "one floating type"),
        ({"v": V[:1]}, "equal leading axes"),
        ({"v": V[:, :5]}, "equal leading axes"),
        ({"q": Q[..., :0], "k": K[..., :0]}, "at least one number"),
    ],
)
def test_the_door_names_what_does_not_fit(change, says):
    given_ = {"q": Q, "k": K, "v": V, **change}
    for attend in (dense_attention.__wrapped__, tiled_attention.__wrapped__):  # what a caller without type checks meets
        with pytest.raises(ValueError, match=says):
            attend(**given_)


def test_a_mask_serves_all_heads_that_it_broadcasts_to():
    q, k, v = Q[:, None].expand(2, 3, 5, 4), K[:, None].expand(2, 3, 6, 4), V[:, None].expand(2, 3, 6, 3)
    mask = torch.rand(2, 1, 6, generator=torch.Generator().manual_seed(0)) > 0.4
    for attend in (dense_attention, tiled_attention):
        assert_close(attend(q, k, v, mask=mask).out[:, 1], attend(Q, K, V, mask=mask[:, 0]).out)
        assert_close(attend(Q, K, V, mask=mask[0, 0]).out[0], attend(Q[0], K[0], V[0], mask=mask[0, 0]).out)


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf")])
def test_what_stands_in_hidden_keys_does_not_matter(padding):
    mask = torch.tensor([True, False, True, True, False, False])
    hidden = ~mask[:, None]
    for attend in (dense_attention, tiled_attention, lambda *a, mask: tiled_attention(*a, 2, mask=mask)):
        clean = [x.clone().requires_grad_() for x in (Q, K, V)]
        dirty = [Q.clone().requires_grad_(), *(x.masked_fill(hidden, padding).requires_grad_() for x in (K, V))]
        found, wanted = (attend(*given_, mask=mask) for given_ in (dirty, clean))
        assert_close(found, wanted)
        for one, other in zip(
            *(torch.autograd.grad(each.out.sum(), x) for each, x in ((found, dirty), (wanted, clean)))
        ):
            assert_close(one, other)
    assert_close(attention_map(Q, K.masked_fill(hidden, padding), mask), attention_map(Q, K, mask))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_is_a_finite_number(scale):
    for attend in (dense_attention, tiled_attention):
        with pytest.raises(ValueError, match="finite"):
            attend(Q, K, V, scale=scale)
