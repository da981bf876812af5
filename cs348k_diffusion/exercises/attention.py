"""Checks of notebook 06: softmax in pieces, attention in tiles and what it moves, and words that pixels look at."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import Exercise, expect, run_against

EXERCISES = (
    Exercise(
        "E6.1",
        "scaled_attention",
        "S, P and O",
        hints=(
            "One line of the slide is one line of code: S = Q K^T / sqrt(d), P = softmax of S over its rows, O = P V.",
            "k.transpose(-1, -2) turns the last two axes only, whatever stands in front; d is q.shape[-1]; a softmax "
            "over rows runs along the last axis.",
        ),
        withheld=("attention.dense_attention", "attention.attention_map", "attention.tiled_attention"),
    ),
    Exercise(
        "E6.2",
        "softmax_pieces",
        "m, f and l",
        hints=(
            "m is the largest number of each row: x.amax(-1, keepdim=True). Every row has its own.",
            "f = (x - m).exp() and l = f.sum(-1, keepdim=True). No division: the slide's softmax is f / l.",
        ),
        withheld=("attention.softmax_parts", "attention._rows"),
        ours="attention.softmax_parts",
    ),
    Exercise(
        "E6.3",
        "merge_blocks",
        "Two blocks become one",
        hints=(
            "The new maximum is torch.maximum(m_a, m_b). What was computed with m_a is too large or too small by a "
            "factor e^(m_a - m).",
            "With s_a = exp(m_a - m) and s_b = exp(m_b - m): l = s_a l_a + s_b l_b and o = s_a o_a + s_b o_b.",
        ),
        withheld=("attention.merge_parts", "attention._one_row_of_tiles"),
    ),
    Exercise(
        "E6.4",
        "attention_in_tiles",
        "Attention in tiles",
        hints=(
            "Two loops: over tiles of queries, range(0, len(q), tile), and inside it over tiles of keys. Start a row "
            "of tiles with m = -inf, l = 0, o = 0 and merge each tile into them. A slice past the end is cut for you.",
            "In the inner loop: s = q_i @ k_j.T / sqrt(d), m_new = maximum(m, rowmax(s)), f = exp(s - m_new), shrink = "
            "exp(m - m_new), l = shrink l + rowsum(f), o = shrink o + f @ v_j. After it: o / l and m + log(l). Collect "
            "them in lists and use torch.cat, so that autograd can follow. q.new_zeros makes new tensors in q's dtype.",
        ),
        withheld=(
            "attention.tiled_attention",
            "attention.dense_attention",
            "attention.attention_map",
            "attention._one_row_of_tiles",
        ),
        ours="attention.tiled_attention",
    ),
    Exercise(
        "E6.5",
        "numbers_moved",
        "What the tiles move",
        hints=(
            "Q comes in once and O goes out once: n d numbers each. How often do K and V come past?",
            "Once for each tile of queries, and there are ceil(n / rows) of those: the last may be smaller, but K and "
            "V come past in full.",
        ),
        withheld=("attention.memory_traffic.tiled", "attention.memory_traffic.FastMemory"),
        stars=1,
    ),
    Exercise(
        "E6.6",
        "CrossAttention",
        "Pixels look at words",
        hints=(
            "Q = to_q(x), K = to_k(tokens), V = to_v(tokens), each cut into heads: q.unflatten(-1, (heads, -1)) has "
            "shape (batch, N, heads, width / heads), and transpose(1, 2) puts the heads next to the batch.",
            "S has shape (batch, heads, N, M) and the mask (batch, M): s.masked_fill(~mask[:, None, None], -inf). "
            "At the end, o.transpose(1, 2).flatten(2) puts the heads side by side again; then x + to_out(o).",
        ),
        withheld=("attention.Attention", "attention.dense_attention", "attention.attention_map", "attention._hide"),
        seconds=20,
    ),
    Exercise(
        "E6.7",
        "hide_tile",
        "What a query may not see",
        hints=(
            "Row r of the tile is query i + r, and column c is key j + c. Write both as tensors, one as a column and "
            "one as a row, and compare them.",
            "hidden = (j + torch.arange(columns))[None] > (i + torch.arange(rows))[:, None] if causal; and the keys of "
            "this tile are mask[j : j + columns]. s.masked_fill(hidden, -torch.inf).",
        ),
        withheld=("attention._hide",),
        stars=1,
    ),
    Exercise(
        "E6.8",
        "tile_backward",
        "Backwards through one tile",
        hints=(
            "Compute P again: with S~ = Q K^T / sqrt(d), exp(S~ - log_sum_exp) is the finished softmax, no matter how "
            "small the tile is. Then dV = P^T dO, and dP = dO V^T.",
            "The softmax's derivative, row by row: dS~ = P * (dP - D). S~ = Q K^T / sqrt(d), so dQ = dS~ K / sqrt(d) "
            "and dK = dS~^T Q / sqrt(d).",
        ),
        withheld=("attention.tiled_attention", "attention._walk_back"),
        stars=1,
    ),
    Exercise(
        "E6.9",
        "test_tiles",
        "A property test for tiles",
        hints=(
            "What must not matter? The size of the tile, and the order of the keys (if the values move with them). Try "
            "tile sizes that do not divide the number of keys.",
            "Large logits find a missing maximum: multiply q by 1000. One comparison with softmax(q k^T / sqrt(d)) v, "
            "written with torch.softmax, with ordinary logits settles the scale and the axis.",
        ),
        stars=1,
    ),
)


def draws(*shapes, seed=0, size=1.0, dtype=torch.float64):
    """Independent tensors of normal numbers, the first (the queries) `size` times as large."""
    g = torch.Generator().manual_seed(seed)
    first, *others = (torch.randn(shape, generator=g, dtype=dtype) for shape in shapes)
    return (size * first, *others)


def require(holds, says):
    """Fail with this sentence alone, without the numbers that an assert would add."""
    if not holds:
        pytest.fail(says, pytrace=False)


def values(got, count, names):
    """`count` values, or a failure that says what is missing."""
    require(isinstance(got, tuple | list) and len(got) == count, f"wrong number of values: return ({names})")
    return got


def softmax_mistakes(q, k, v):
    """What attention becomes with one slip."""
    s, d = q @ k.transpose(-1, -2), q.shape[-1]
    return {
        "forgotten 1/sqrt(d)": torch.softmax(s, -1) @ v,
        "softmax over columns: every row of P must sum to 1": torch.softmax(s / math.sqrt(d), -2) @ v,
        "divides by d instead of sqrt(d)": torch.softmax(s / d, -1) @ v,
        "multiplies by sqrt(d)": torch.softmax(s * math.sqrt(d), -1) @ v,
        "no softmax": s / math.sqrt(d) @ v,
        "1/sqrt(d) comes after the softmax": torch.softmax(s, -1) @ v / math.sqrt(d),
        "1/sqrt(number of keys) instead of 1/sqrt(d)": torch.softmax(s / math.sqrt(k.shape[-2]), -1) @ v,
        "all keys count the same": v.mean(-2, keepdim=True).expand_as(s @ v),
    }


@pytest.mark.exercise("E6.1", points=1)
def test_is_the_slide_with_the_scale(scaled_attention):
    q, k, v = draws((5, 6), (7, 6), (7, 3), size=2.0)
    expect(
        scaled_attention(q, k, v),
        F.scaled_dot_product_attention(q, k, v),
        says="O = softmax(Q K^T / sqrt(d)) V does not hold; tried 5 queries, 7 keys, d = 6.",
        mistakes=softmax_mistakes(q, k, v),
    )


@pytest.mark.exercise("E6.1", points=1)
def test_leaves_batch_and_heads_alone(scaled_attention):
    q, k, v = draws((2, 3, 4, 8), (2, 3, 4, 8), (2, 3, 4, 5), seed=1, size=2.0, dtype=torch.float32)
    expect(
        scaled_attention(q, k, v),
        F.scaled_dot_product_attention(q, k, v),
        rtol=1e-4,
        atol=1e-5,
        says="Axes in front (batch, heads) must stay apart; tried shape (2, 3, 4, 8).",
        mistakes=softmax_mistakes(q, k, v),
    )


@pytest.mark.exercise("E6.2", points=1)
def test_are_the_slides_m_f_and_l(softmax_pieces):
    (x,) = draws((2, 4, 6), seed=2, size=2.0)
    m = torch.tensor([[[max(row)] for row in rows] for rows in x.tolist()], dtype=x.dtype)
    f, whole, bare = torch.exp(x - m), torch.exp(x - x.max()), torch.exp(x)
    l = f.sum(-1, keepdim=True)
    expect(
        values(softmax_pieces(x), 3, "m, f, l"),
        (m, f, l),
        says="m is the largest of each row, f = exp(x - m), l is the sum of f; m and l keep a last axis of size 1.",
        mistakes={
            "no max subtraction": (m, bare, bare.sum(-1, keepdim=True)),
            "one maximum for the whole block, not one a row": lambda: (
                x.max().expand_as(m), whole, whole.sum(-1, keepdim=True),
            ),
            "f is divided by l already": (m, f / l, l),
            "l is the mean, not the sum": (m, f, f.mean(-1, keepdim=True)),
            "l sums x - m: the exponential is missing": (m, f, (x - m).sum(-1, keepdim=True)),
            "f is x - m: the exponential is missing": (m, x - m, (x - m).sum(-1, keepdim=True)),
            "the sign: exp(m - x)": (m, torch.exp(m - x), torch.exp(m - x).sum(-1, keepdim=True)),
            "l comes before f": (m, l, f),
        },
    )  # fmt: skip


@pytest.mark.exercise("E6.2", points=1)
def test_never_overflow(softmax_pieces):
    x = torch.tensor([[1000.0, 999.0, 0.0], [-1000.0, -1001.0, -1000.5], [0.0, 1.0, 2.0]])
    _, f, l = values(softmax_pieces(x), 3, "m, f, l")
    whole = torch.exp(x - x.max())
    expect(
        f / l,
        torch.softmax(x.double(), -1).float(),
        says="f / l must be the softmax of each row, however large the numbers and however different the rows.",
        mistakes={
            "no max subtraction": lambda: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True),
            "one maximum for the whole block, not one a row": lambda: whole / whole.sum(-1, keepdim=True),
        },
        rtol=1e-5,
        atol=1e-6,
    )


def block(x, v):
    """(m, l, o) of a block of logits and its values."""
    m = x.amax(-1, keepdim=True)
    f = torch.exp(x - m)
    return m, f.sum(-1, keepdim=True), f @ v


def merge_mistakes(a, b):
    """What the merge becomes with one slip."""
    (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
    m = torch.maximum(m_a, m_b)
    s_a, s_b = torch.exp(m_a - m), torch.exp(m_b - m)
    l, o = s_a * l_a + s_b * l_b, s_a * o_a + s_b * o_b
    low = torch.minimum(m_a, m_b)
    g_a, g_b = torch.exp(m_a - low), torch.exp(m_b - low)
    return {
        "missing rescale of O": (m, l, o_a + o_b),
        "missing rescale of l": (m, l_a + l_b, o),
        "nothing is rescaled": (m, l_a + l_b, o_a + o_b),
        "only the first block is rescaled": (m, s_a * l_a + l_b, s_a * o_a + o_b),
        "the exponent has the wrong sign": (m, l_a / s_a + l_b / s_b, o_a / s_a + o_b / s_b),
        "the smaller maximum is kept": (low, g_a * l_a + g_b * l_b, g_a * o_a + g_b * o_b),
        "the factors of the two blocks are swapped": (m, s_b * l_a + s_a * l_b, s_b * o_a + s_a * o_b),
        "O is divided by l already": (m, l, o / l),
        "the maxima are added": (m_a + m_b, l, o),
    }  # fmt: skip


@pytest.mark.exercise("E6.3", points=2)
def test_is_the_block_of_both(merge_blocks):
    x, v = draws((4, 9), (9, 3), seed=3, size=3.0)
    for cut in (2, 8):
        a, b = block(x[:, :cut], v[:cut]), block(x[:, cut:], v[cut:])
        expect(
            values(merge_blocks(a, b), 3, "m, l, o"),
            block(x, v),
            says=f"Merging the blocks of the first {cut} and the last {9 - cut} keys must give the block of all 9.",
            mistakes=merge_mistakes(a, b),
            rtol=1e-9,
            atol=1e-12,
        )


@pytest.mark.exercise("E6.3", points=1)
def test_survives_extremes(merge_blocks):
    (v,) = draws((2, 3), seed=4)
    high = torch.tensor([[900.0, 901.0], [-900.0, -901.0]], dtype=v.dtype)
    low = torch.tensor([[-900.0, -899.0], [-905.0, -904.0]], dtype=v.dtype)
    full, small, both = block(high, v), block(low, v), block(torch.cat([high, low], 1), v.repeat(2, 1))
    nothing = (torch.full((2, 1), -torch.inf, dtype=v.dtype), torch.zeros(2, 1, dtype=v.dtype), torch.zeros_like(v))
    for a, b, want in ((full, nothing, full), (nothing, full, full), (full, small, both), (small, full, both)):
        expect(
            values(merge_blocks(a, b), 3, "m, l, o"),
            want,
            says="Maxima 1800 apart, and a block that has seen no key (m = -inf, l = 0, o = 0), must leave no NaN.",
            mistakes=merge_mistakes(a, b),
            rtol=1e-9,
            atol=1e-12,
        )


def walk(q, k, v, tile, slip=""):
    """The tiled algorithm with one slip: (O, log-sum-exp)."""
    m, l, o = torch.full((len(q), 1), -torch.inf).to(q), q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[1])
    whole = len(k) // tile * tile if slip == "drops the rest" else len(k)
    for j in range(0, whole, tile):
        s = q @ k[j : j + tile].T / (1 if slip == "no scale" else math.sqrt(q.shape[1]))
        m_new = torch.maximum(m, s.amax(1, keepdim=True))
        if slip == "no max":
            m_new = torch.zeros_like(m)
        f, shrink = torch.exp(s - m_new), torch.exp(m - m_new)
        f = f / f.sum(1, keepdim=True) if slip == "own sum" else f
        l = (1 if slip == "l" else shrink) * l + f.sum(1, keepdim=True)
        o = (1 if slip == "o" else shrink) * o + f @ v[j : j + tile]
        m = m_new
    return (o if slip == "undivided" else o / l), (m + torch.log(l))[:, 0]


def tile_mistakes(q, k, v, tile):
    """What O becomes with one slip; computed when needed."""
    s = q @ k.T / math.sqrt(q.shape[1])
    return {
        "forgotten 1/sqrt(d)": lambda: walk(q, k, v, tile, "no scale")[0],
        "missing rescale of O": lambda: walk(q, k, v, tile, "o")[0],
        "missing rescale of l": lambda: walk(q, k, v, tile, "l")[0],
        "softmax over columns": lambda: torch.softmax(s, 0) @ v,
        "each tile is divided by its own sum": lambda: walk(q, k, v, tile, "own sum")[0],
        "works only for tile sizes that divide the number of keys": lambda: walk(q, k, v, tile, "drops the rest")[0],
        "O is never divided by l": lambda: walk(q, k, v, tile, "undivided")[0],
        "no max subtraction": lambda: walk(q, k, v, tile, "no max")[0],
    }


@pytest.mark.exercise("E6.4", points=1)
def test_any_tile_size_gives_the_dense_answer(attention_in_tiles):
    q, k, v = draws((13, 6), (11, 6), (11, 4), seed=5, size=2.0)
    want = F.scaled_dot_product_attention(q, k, v)
    for tile in (1, 4, 11, 3, 50):
        out, _ = values(attention_in_tiles(q, k, v, tile), 2, "out, log_sum_exp")
        rest = " (it need not divide 13 or 11)" if 11 % tile else ""
        expect(
            out,
            want,
            says=f"O must be that of softmax(Q K^T / sqrt(d)) V; tried 13 queries, 11 keys in "
            f"float64, tile = {tile}{rest}.",
            mistakes=tile_mistakes(q, k, v, tile),
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.exercise("E6.4", points=1)
def test_large_logits_do_no_harm(attention_in_tiles):
    q, k, v = draws((9, 8), (10, 8), (10, 3), seed=6, size=200.0, dtype=torch.float32)
    want = F.scaled_dot_product_attention(q.double(), k.double(), v.double()).float()
    for tile in (4, 10):
        out, _ = values(attention_in_tiles(q, k, v, tile), 2, "out, log_sum_exp")
        expect(
            out,
            want,
            says="With logits of a few hundred O must stay exact and finite.",
            mistakes=tile_mistakes(q, k, v, tile),
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.exercise("E6.4", points=1)
def test_returns_the_log_sum_exp(attention_in_tiles):
    q, k, v = draws((7, 4), (10, 4), (10, 2), seed=7, size=3.0)
    s = q @ k.T / 2
    m = s.amax(1)
    l = torch.exp(s - m[:, None]).sum(1)
    for tile in (3, 10):
        _, got = values(attention_in_tiles(q, k, v, tile), 2, "out, log_sum_exp")
        expect(
            got,
            torch.logsumexp(s, 1),
            says="The second value is log sum exp of each row of S / sqrt(d), shape (N,): m + log(l).",
            mistakes={
                "log(l) alone: m is forgotten": l.log(),
                "m + l: the logarithm is missing": m + l,
                "l itself": l,
                "m alone": m,
                "forgotten 1/sqrt(d)": torch.logsumexp(2 * s, 1),
                "missing rescale of l": lambda tile=tile: walk(q, k, v, tile, "l")[1],
            },
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.exercise("E6.4", points=3)
def test_never_holds_all_of_s(attention_in_tiles):
    q, k, v = draws((32, 8), (4096, 8), (4096, 8), seed=8, dtype=torch.float32)
    largest, keys, s = attention_in_tiles.largest(q, k, v, 16), 4 * k.numel(), 4 * 32 * 4096
    said = f"With 32 queries, 4096 keys and tile = 16 the largest tensor had {largest / 1024:.0f} KiB"
    require(largest < s, f"untiled: all of S is there at once. {said}; S has {s // 1024}.")
    require(largest <= 1.5 * keys, f"only the queries are tiled: S has whole rows. {said}; K has {keys // 1024}.")
    small, large = (attention_in_tiles.memory(*draws(*[(n, 8)] * 3, dtype=torch.float32), 128) for n in (512, 2048))
    grown = (large - small) / 2**20
    require(grown < 8, f"untiled: from N = 512 to 2048 the memory grew by {grown:.0f} MiB; S alone needs 15 MiB more.")
    out, _ = values(attention_in_tiles(q, k, v, 16), 2, "out, log_sum_exp")
    expect(
        out,
        F.scaled_dot_product_attention(q, k, v),
        says="Memory counts once O is that of dense attention; tried 32 queries, 4096 keys, tile = 16.",
        mistakes=tile_mistakes(q, k, v, 16),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.exercise("E6.4", points=1)
def test_lets_gradients_through(attention_in_tiles):
    inputs = draws((6, 4), (7, 4), (7, 3), seed=9, size=2.0)
    (cotangent,) = draws((6, 3), seed=10)
    got = attention_in_tiles.vjp((*inputs, 3), (cotangent, None), wrt=(0, 1, 2))
    leaves = [x.clone().requires_grad_() for x in inputs]
    want = torch.autograd.grad(F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2]), leaves, cotangent)
    for name, one, other in zip("QKV", got, want):
        expect(
            one,
            other,
            says=f"The gradient with respect to {name} must be that of dense attention.",
            mistakes={f"{'Q is' if name == 'Q' else 'K and V are'} detached": torch.zeros_like(other)},
            rtol=1e-7,
            atol=1e-9,
        )


@pytest.mark.exercise("E6.5", points=2)
def test_counts_what_crosses(numbers_moved):
    for n, d, rows in ((64, 8, 16), (100, 4, 7), (10, 3, 1), (50, 16, 49), (50, 16, 50), (9, 2, 64)):
        q_and_o, passes, kv = 2 * n * d, -(-n // rows), 2 * n * d
        expect(
            numbers_moved(n, d, rows),
            q_and_o + passes * kv,
            says=f"Q in once, O out once, K and V past every tile of queries; tried n = {n}, d = {d}, rows = {rows}.",
            mistakes={
                "floor for ceil: the last, smaller tile is forgotten": q_and_o + n // rows * kv,
                "a division that is not rounded up": q_and_o + n / rows * kv,
                "V is forgotten": q_and_o + passes * kv // 2,
                "O is forgotten": n * d + passes * kv,
                "K and V come past once only": q_and_o + kv,
                "S is moved too": q_and_o + passes * kv + n * n,
                "Q is loaded for every tile of keys": n * d + passes * (kv + n * d),
                "K and V come past for every query": q_and_o + n * kv,
            },
        )


LAYERS = {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.weight", "to_out.bias"}


def filled(block, seed, sharp=1.0):
    """Fill a block with random parameters, so that nothing hides behind a zero; returns them. sharp: of the queries."""
    state, g = block.state(), torch.Generator().manual_seed(seed)
    require(set(state) == LAYERS, f"The parameters must be {sorted(LAYERS)}, got {sorted(state)}.")
    new = {name: 0.5 * torch.randn(value.shape, generator=g) for name, value in state.items()}
    new["to_q.weight"] *= sharp
    block.load_state(new)
    return new


def cut(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def look(state, x, tokens, mask, heads, scale=None, axis=-1, cutter=cut, fill=-torch.inf, late=False):
    """x + to_out(O) by its formula, with places for slips."""
    q, k, v = x @ state["to_q.weight"].T, tokens @ state["to_k.weight"].T, tokens @ state["to_v.weight"].T
    q, k, v = (cutter(h, heads) for h in (q, k, v))
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    seen = torch.ones_like(s, dtype=torch.bool) if mask is None else mask[:, None, None].expand_as(s)
    p = torch.softmax(s, axis) * seen if late else torch.softmax(s.masked_fill(~seen, fill), axis)
    o = (p @ v).transpose(1, 2).flatten(2)
    return x + o @ state["to_out.weight"].T + state["to_out.bias"]


def look_mistakes(state, x, tokens, heads):
    """What the block becomes with one slip."""
    width = x.shape[-1]
    right = look(state, x, tokens, None, heads)
    kv_swapped = state | {"to_k.weight": state["to_v.weight"], "to_v.weight": state["to_k.weight"]}
    return {
        "x is not added": lambda: right - x,
        "the heads are not apart": lambda: look(state, x, tokens, None, 1),
        "1/sqrt(width) instead of 1/sqrt(width of a head)": lambda: look(state, x, tokens, None, heads, width**-0.5),
        "forgotten 1/sqrt(d)": lambda: look(state, x, tokens, None, heads, 1.0),
        "softmax over columns": lambda: look(state, x, tokens, None, heads, axis=-2),
        "K and V come from x": lambda: look(state, x, x, None, heads),
        "K and V are swapped": lambda: look(kv_swapped, x, tokens, None, heads),
        "the heads are cut without transpose": lambda: look(state, x, tokens, None, heads, cutter=cut_wrongly),
    }


def cut_wrongly(x, heads):
    return x.reshape(len(x), heads, x.shape[1], -1)


def example(width=8, context=8, words=5, seed=11):
    return draws((2, 6, width), (2, words, context), seed=seed, size=1.5, dtype=torch.float32)


@pytest.mark.exercise("E6.6", points=1)
def test_starts_by_changing_nothing(CrossAttention):
    block = CrossAttention.construct(8, 2, 6)
    names = set(block.state())
    require(names == LAYERS, f"The parameters must be {sorted(LAYERS)}, got {sorted(names)}.")
    x, tokens = example(context=6)
    expect(
        block(x, tokens),
        x,
        says="A new block must pass x through unchanged: if it does not, to_out is not zeroed.",
        mistakes={"x is not added": torch.zeros_like(x)},
    )


@pytest.mark.exercise("E6.6", points=2)
def test_computes_the_formula(CrossAttention):
    for context, heads in ((8, 2), (6, 4)):
        block = CrossAttention.construct(8, heads, context)
        state = filled(block, seed=12)
        x, tokens = example(context=context)
        mistakes = look_mistakes(state, x, tokens, heads)
        if context != 8:
            mistakes.pop("K and V come from x")
        expect(
            block(x, tokens),
            look(state, x, tokens, None, heads),
            says=f"With random parameters it must equal its formula; tried width 8, {heads} heads, words of {context}.",
            mistakes=mistakes,
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.exercise("E6.6", points=1)
def test_does_not_see_padding(CrossAttention):
    x, tokens = example(seed=14)
    mask = torch.tensor([[True, True, False, False, False], [True, True, True, True, False]])
    for sharp, size in ((1.0, "ordinary logits"), (1e5, "logits of some 100000")):
        block = CrossAttention.construct(8, 2, 8)
        right = partial(look, filled(block, seed=13, sharp=sharp), x, tokens, heads=2)
        expect(
            block(x, tokens, mask),
            right(mask=mask),
            says=f"Where mask is False stands padding: no pixel may look there, and rows of P sum to 1; tried {size}.",
            mistakes={
                "the mask is not used": lambda right=right: right(mask=None),
                "the mask is inverted": lambda right=right: right(mask=~mask),
                "-10000 instead of -inf: large logits are lower still": lambda right=right: right(mask=mask, fill=-1e4),
                "0 instead of -inf: padding still gets e^0": lambda right=right: right(mask=mask, fill=0.0),
                "hidden after the softmax: rows no longer sum to 1": lambda right=right: right(mask=mask, late=True),
            },
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.exercise("E6.6", points=1)
def test_teaches_pixels_and_words(CrossAttention):
    block = CrossAttention.construct(8, 2, 8)
    state = {name: value.double() for name, value in filled(block, seed=15).items()}
    x, tokens = example(seed=16)
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    (cotangent,) = draws((2, 6, 8), seed=17, dtype=torch.float32)
    got = block.vjp((x, tokens, mask), cotangent, wrt=(0, 1))
    leaves = x.double().requires_grad_(), tokens.double().requires_grad_()
    want = torch.autograd.grad(look(state, *leaves, mask, 2), leaves, cotangent.double())
    for name, one, other in zip(("x", "the tokens"), got, want):
        expect(
            one,
            other.float(),
            says=f"The gradient with respect to {name} must be that of the formula.",
            mistakes={
                "K and V are detached": torch.zeros_like(one),
                "Q is detached": cotangent,
            },
            rtol=1e-2,
            atol=1e-3,
        )


def hidden(rows, columns, i, j, late=0):
    """True where key j + c comes after query i + r, by counting."""
    return torch.tensor([[j + c > i + r - late for c in range(columns)] for r in range(rows)])


@pytest.mark.exercise("E6.7", points=2)
def test_hides_the_future(hide_tile):
    for rows, columns, i, j in ((4, 4, 0, 0), (3, 5, 6, 4), (4, 3, 8, 0), (2, 4, 2, 9), (5, 4, 3, 5)):
        (s,) = draws((rows, columns), seed=18)
        expect(
            hide_tile(s, i, j, True, None),
            s.masked_fill(hidden(rows, columns, i, j), -torch.inf),
            says=f"Query i + r may see keys 0 .. i + r and no other; tried a tile of {rows} x {columns} at ({i}, {j}).",
            mistakes={
                "the tile's corner (i, j) is forgotten": s.masked_fill(hidden(rows, columns, 0, 0), -torch.inf),
                "a query may see itself: the diagonal is hidden too": s.masked_fill(
                    hidden(rows, columns, i, j, 1), -torch.inf
                ),
                "the past is hidden, not the future": s.masked_fill(~hidden(rows, columns, i, j, 1), -torch.inf),
                "i and j are swapped": s.masked_fill(hidden(rows, columns, j, i), -torch.inf),
                "0 instead of -inf: exp(0) is 1": s.masked_fill(hidden(rows, columns, i, j), 0.0),
                "causal is not used": s,
            },
        )
    expect(
        hide_tile(s, 3, 5, False, None),
        s,
        says="Without causal and without a mask nothing is hidden.",
        mistakes={"hides the future although causal is False": s.masked_fill(hidden(5, 4, 3, 5), -torch.inf)},
    )


@pytest.mark.exercise("E6.7", points=1)
def test_hides_padding(hide_tile):
    mask = torch.tensor([True, False, True, True, False, True, True, False, False, True])
    tiles = (
        (3, 3, 0, 0, False),
        (3, 4, 1, 4, False),
        (4, 4, 3, 4, True),
        (5, 2, 0, 8, False),
    )
    for rows, columns, i, j, causal in tiles:
        (s,) = draws((rows, columns), seed=19)
        future = hidden(rows, columns, i, j) & causal
        expect(
            hide_tile(s, i, j, causal, mask),
            s.masked_fill(future | ~mask[j : j + columns], -torch.inf),
            says=f"mask, one entry for each key of all, is True for those that may be seen; tried keys {j} to "
            f"{j + columns - 1}.",
            mistakes={
                "the mask is not cut to this tile's keys": s.masked_fill(future | ~mask[:columns], -torch.inf),
                "the mask is inverted": s.masked_fill(future | mask[j : j + columns], -torch.inf),
                "the mask hides rows instead of columns": s.masked_fill(future | ~mask[i : i + rows, None], -torch.inf),
                "the mask is not used": s.masked_fill(future, -torch.inf),
                "causal is not used once there is a mask": s.masked_fill(~mask[j : j + columns], -torch.inf),
            },
        )


def dense_gradients(q, k, v, d_o):
    """(O, log-sum-exp, dQ, dK, dV) by autograd."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2])
    return out.detach(), torch.logsumexp(q @ k.T / math.sqrt(q.shape[1]), 1), *torch.autograd.grad(out, leaves, d_o)


def back(q, k, v, d_o, lse, row_dot, slip=""):
    """One tile's gradients, with one slip."""
    c = 1 / math.sqrt(q.shape[1])
    s = q @ k.T * c
    p = torch.softmax(s, 1) if slip == "own softmax" else torch.exp(s - lse[:, None])
    d_p = d_o @ v.T
    d_s = p * d_p - row_dot[:, None] if slip == "brackets" else p * (d_p - (0 if slip == "no D" else row_dot[:, None]))
    c = 1 if slip == "no scale" else c
    return c * d_s @ k, c * d_s.T @ q, p.T @ d_o


BACKWARD = {
    "P is the softmax of the tile alone, not exp(S~ - log_sum_exp)": "own softmax",
    "D is forgotten": "no D",
    "D is subtracted outside the brackets: dS~ = P (dP - D)": "brackets",
    "forgotten 1/sqrt(d) on the way back": "no scale",
}


def by_tiles(tile_backward, tile):
    """What the student's function gives for each tile of keys, what is right, and what slips give."""
    q, k, v, d_o = draws((6, 4), (7, 4), (7, 3), (6, 3), seed=20, size=2.0)
    out, lse, d_q, d_k, d_v = dense_gradients(q, k, v, d_o)
    row_dot, got, slips = (d_o * out).sum(1), [], {name: [] for name in BACKWARD}
    for j in range(0, 7, tile):
        given = (q, k[j : j + tile], v[j : j + tile], d_o, lse, row_dot)
        got.append(values(tile_backward(*given), 3, "dq, dk, dv"))
        for name, slip in BACKWARD.items():
            slips[name].append(back(*given, slip))
    return got, (d_q, d_k, d_v), slips


@pytest.mark.exercise("E6.8", points=2)
def test_gives_the_values_their_gradient(tile_backward):
    got, (_, d_k, d_v), slips = by_tiles(tile_backward, 3)
    expect(
        torch.cat([one[2] for one in got]),
        d_v,
        says="dV of each tile must be autograd's, in rows of this tile's values: P^T dO.",
        mistakes={name: lambda all=all: torch.cat([one[2] for one in all]) for name, all in slips.items()}
        | {"dK and dV are swapped": d_k},
        rtol=1e-7,
        atol=1e-9,
    )


@pytest.mark.exercise("E6.8", points=3)
def test_gives_queries_and_keys_their_gradients(tile_backward):
    for tile in (3, 7):
        got, (d_q, d_k, _), slips = by_tiles(tile_backward, tile)
        expect(
            torch.cat([one[1] for one in got]),
            d_k,
            says=f"dK of each tile must be autograd's; tried 6 queries, 7 keys in tiles of {tile}.",
            mistakes={name: lambda all=all: torch.cat([one[1] for one in all]) for name, all in slips.items()},
            rtol=1e-7,
            atol=1e-9,
        )
        expect(
            torch.stack([one[0] for one in got]).sum(0),
            d_q,
            says=f"The dQ of all tiles must add up to autograd's; tried 6 queries, 7 keys in tiles of {tile}.",
            mistakes={name: lambda all=all: torch.stack([one[0] for one in all]).sum(0) for name, all in slips.items()},
            rtol=1e-7,
            atol=1e-9,
        )


def by_softmax(q, k, v, tile):
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


def in_double(q, k, v, tile):
    return walk(q.double(), k.double(), v.double(), tile)[0].to(q.dtype)


def slipped(slip):
    return lambda q, k, v, tile: walk(q, k, v, tile, slip)[0]


RIGHT_TILES = [by_softmax, in_double, lambda q, k, v, tile: walk(q, k, v, tile)[0]]
WRONG_TILES = {
    "averages the values, whatever Q and K are": lambda q, k, v, tile: v.mean(0).expand(len(q), -1).clone(),
    "forgotten 1/sqrt(d)": slipped("no scale"),
    "no max subtraction": slipped("no max"),
    "works only for tile sizes that divide the number of keys": slipped("drops the rest"),
    "missing rescale of O": slipped("o"),
    "missing rescale of l": slipped("l"),
    "each tile is divided by its own sum": slipped("own sum"),
    "softmax over columns": lambda q, k, v, tile: torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 0) @ v,
    "sees the first tile only": lambda q, k, v, tile: walk(q, k[:tile], v[:tile], tile)[0],
}


@pytest.mark.exercise("E6.9", points=2)
def test_accepts_right_tiles_and_rejects_the_crude_ones(test_tiles):
    crude = ("averages the values, whatever Q and K are", "sees the first tile only")
    run_against(test_tiles, RIGHT_TILES, {name: WRONG_TILES[name] for name in crude})


@pytest.mark.exercise("E6.9", points=3)
def test_rejects_the_subtle_tiles_too(test_tiles):
    run_against(test_tiles, RIGHT_TILES, WRONG_TILES, seed=1)
