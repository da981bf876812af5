"""Checks of notebook 06: softmax in pieces, attention in tiles and what it moves, and words that pixels look at."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import Exercise, agree, expect, generator, run_against, same_form, varied

EXERCISES = (
    Exercise(
        "E6.1",
        "scaled_attention",
        "S, P and O",
        gives="O: tensor",
        hints=(
            "Which number of the shapes is d, and along which axis must the weights sum to 1?",
            "One line of the slide is one line of code. k.transpose(-1, -2) turns the last two axes only, whatever "
            "stands in front.",
            "Begin with S, divided by the root of q.shape[-1]; a softmax over rows runs along the last axis.",
        ),
        withheld=("attention.dense_attention", "attention.attention_map", "attention.tiled_attention"),
    ),
    Exercise(
        "E6.2",
        "softmax_pieces",
        "m, f and l",
        gives="m: tensor, f: tensor, l: tensor",
        hints=(
            "Where does one row end? Which axis is it?",
            "m is the largest number of each row, and every row has its own. Nothing is divided yet: the softmax will "
            "be f / l.",
            "amax and sum take the axis and keepdim=True, which leaves an axis of size 1 to subtract and divide by.",
        ),
        withheld=("attention.softmax_parts", "attention._rows"),
        ours="attention.softmax_parts",
    ),
    Exercise(
        "E6.3",
        "merge_blocks",
        "Two blocks become one",
        gives="m: tensor, l: tensor, o: tensor",
        hints=(
            "What would the maximum of all keys be? And what did each block use in its place?",
            "What was computed with m_a is too large, in each row by one factor: times e^(m_a - m) it is right. The "
            "same factor serves l and o.",
            "Write the two factors, s_a and s_b, first; torch.maximum takes the larger of two tensors number by "
            "number. exp(-inf) is 0, so an empty block needs no case of its own.",
        ),
        withheld=("attention.merge_parts", "attention._one_row_of_tiles"),
    ),
    Exercise(
        "E6.4",
        "attention_in_tiles",
        "Attention in tiles",
        gives="O: tensor, log_sum_exp: tensor",
        hints=(
            "What must be remembered of the keys seen so far? E6.3 merges two such memories.",
            "Two loops: over tiles of queries, range(0, len(q), tile), and inside it over tiles of keys. A slice past "
            "the end is cut for you. Before the first key: m = -inf, l = 0, o = 0.",
            "In the inner loop a tile of S gives its own m, f and f @ v_j, which E6.3's rule merges into m, l and o. "
            "Divide once, after the last key. Collect the rows in a list for torch.cat, so that autograd can follow.",
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
        gives="numbers: number",
        hints=(
            "What comes in once, what goes out once, and what comes past again and again?",
            "K and V come past in full for each tile of queries. How many of those are there, when the last may be "
            "smaller?",
            "math.ceil rounds up, and so does -(-n // rows). How many numbers has Q?",
        ),
        withheld=("attention.memory_traffic.tiled", "attention.memory_traffic.FastMemory"),
        stars=1,
    ),
    Exercise(
        "E6.6",
        "CrossAttention",
        "Pixels look at words",
        gives="block: module",
        hints=(
            "Which of Q, K and V comes from the picture, and which from the tokens? What are their shapes?",
            "Heads are cut from the last axis: q.unflatten(-1, (heads, -1)) is (batch, N, heads, width / heads), and "
            "transpose(1, 2) puts the heads next to the batch. The mask (batch, M) needs two axes in its middle.",
            "Hide before the softmax, with -inf. To put the heads side by side again, first transpose(1, 2), then "
            "flatten(2).",
        ),
        withheld=("attention.Attention", "attention.dense_attention", "attention.attention_map", "attention._hide"),
        seconds=20,
    ),
    Exercise(
        "E6.7",
        "hide_tile",
        "What a query may not see",
        gives="s: tensor",
        hints=(
            "Which query is row r of this tile, and which key is column c?",
            "Write both numbers as tensors, one as a column and one as a row, and compare them: that is the causal "
            "rule. The mask speaks of all keys; this tile has only some.",
            "The keys of this tile are mask[j : j + columns]. A number is hidden if one rule or the other hides it: "
            "masked_fill with -torch.inf.",
        ),
        withheld=("attention._hide",),
        stars=1,
    ),
    Exercise(
        "E6.8",
        "tile_backward",
        "Backwards through one tile",
        gives="dQ: tensor, dK: tensor, dV: tensor",
        hints=(
            "What is P of this tile, if the sum over all keys is already known?",
            "exp(S~ - log_sum_exp) is the finished softmax, however small the tile. dP follows from O = P V, and "
            "P's rows were made by a softmax: D is what all keys have in common.",
            "S~ = Q K^T / sqrt(d): the factor comes back in dQ and in dK. log_sum_exp and D belong to rows, so they "
            "need an axis behind.",
        ),
        withheld=("attention.tiled_attention", "attention._walk_back"),
        stars=1,
    ),
    Exercise(
        "E6.9",
        "test_tiles",
        "A property test for tiles",
        gives="the test: nothing",
        hints=(
            "What must not matter? Two answers that have to agree make a test.",
            "The size of the tile must not matter. Try some that do not divide the number of keys, nor that of the "
            "queries, and one that is larger than both.",
            "Large logits find what overflows: try very large ones, and a query whose logits are all very negative. "
            "One comparison with a softmax of your own settles the scale and the axis.",
        ),
        stars=1,
    ),
)


def draws(*shapes, seed=0, size=1.0, dtype=torch.float64):
    """Independent tensors of normal numbers, the first (the queries) `size` times as large."""
    g = generator(seed)
    first, *others = (torch.randn(shape, generator=g, dtype=dtype) for shape in shapes)
    return (size * first, *others)


def require(holds, says):
    """Fail with this sentence alone, without the numbers that an assert would add."""
    if not holds:
        pytest.fail(says, pytrace=False)


def weighted(weigh, axis=-1, after=lambda o, q: o):
    """Attention with the logits, the axis or the output replaced, as a whole answer."""

    def answer(q, k, v):
        return after(torch.softmax(weigh(q @ k.transpose(-1, -2), q, k, v), axis) @ v, q)

    return answer


def root(s, q, k, v):
    return s / math.sqrt(q.shape[-1])


def bare(q, k, v):
    f = torch.exp(root(q @ k.transpose(-1, -2), q, k, v))
    return f / f.sum(-1, keepdim=True) @ v


SOFTMAX_MISTAKES = {
    "forgotten 1/sqrt(d)": weighted(lambda s, q, k, v: s),
    "softmax over columns: every row of P must sum to 1": weighted(root, -2),
    "softmax(dim = 1), which is the last axis only where nothing stands in front: use -1": weighted(root, 1),
    "softmax(dim = 0): over the batch, or the queries": weighted(root, 0),
    "divides by d instead of sqrt(d)": weighted(lambda s, q, k, v: s / q.shape[-1]),
    "multiplies by sqrt(d)": weighted(lambda s, q, k, v: s * math.sqrt(q.shape[-1])),
    "no softmax": lambda q, k, v: root(q @ k.transpose(-1, -2), q, k, v) @ v,
    "1/sqrt(d) comes after the softmax": weighted(lambda s, q, k, v: s, after=lambda o, q: o / q.shape[-1] ** 0.5),
    "1/sqrt(number of keys) instead of 1/sqrt(d)": weighted(lambda s, q, k, v: s / math.sqrt(k.shape[-2])),
    "1/sqrt(width of V) instead of 1/sqrt(d)": weighted(lambda s, q, k, v: s / math.sqrt(v.shape[-1])),
    "all keys count the same": lambda q, k, v: v.mean(-2, keepdim=True).expand(*q.shape[:-1], v.shape[-1]),
    "only the best key counts: that is the hard choice, not softmax": lambda q, k, v: (
        F.one_hot((q @ k.transpose(-1, -2)).argmax(-1), k.shape[-2]).to(v.dtype) @ v
    ),
    "no max subtraction: a softmax by hand that overflows": bare,
    "O is transposed": lambda q, k, v: F.scaled_dot_product_attention(q, k, v).transpose(-1, -2),
    "the sign: small logits count most": weighted(lambda s, q, k, v: -root(s, q, k, v)),
    "divides by d^2 instead of sqrt(d)": weighted(lambda s, q, k, v: s / q.shape[-1] ** 2),
    "1/sqrt(number of queries) instead of 1/sqrt(d)": weighted(lambda s, q, k, v: s / math.sqrt(q.shape[-2])),
    "softmax is taken twice": weighted(lambda s, q, k, v: torch.softmax(root(s, q, k, v), -1)),
    "log_softmax instead of softmax": lambda q, k, v: torch.log_softmax(root(q @ k.transpose(-1, -2), q, k, v), -1) @ v,
    "sigmoid instead of softmax": lambda q, k, v: torch.sigmoid(root(q @ k.transpose(-1, -2), q, k, v)) @ v,
    "q and k are brought to length 1": lambda q, k, v: (
        torch.softmax(F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2), -1) @ v
    ),
    "causal: the later keys are hidden": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "K in the place of V": lambda q, k, v: F.scaled_dot_product_attention(q, k, k),
    "K in the place of Q": lambda q, k, v: F.scaled_dot_product_attention(k, k, v),
    "the axes of length 1 are squeezed away": lambda q, k, v: F.scaled_dot_product_attention(q, k, v).squeeze(),
    "P itself, without V": lambda q, k, v: torch.softmax(root(q @ k.transpose(-1, -2), q, k, v), -1),
    "1/sqrt(len(q)), and len is the first axis: d is the last one of q": weighted(
        lambda s, q, k, v: s / math.sqrt(len(q))
    ),
    "1/8, the root of 64, instead of 1/sqrt(d) of this q": weighted(lambda s, q, k, v: s / 8),
    "the exponentials are not divided by their sum": lambda q, k, v: (
        torch.exp(root(q @ k.transpose(-1, -2), q, k, v)) @ v
    ),
    "the axes in front are run together, and every query sees the keys of all": lambda q, k, v: one_piece(
        q.flatten(0, -2), k.flatten(0, -2), v.flatten(0, -2)
    ).unflatten(0, q.shape[:-1]),
}


def attention_inputs(shapes, seed):
    """(q, k, v) for some ((front, N, M), d, e), in both dtypes and of ordinary and large logits."""
    for k, ((front, n, m), d, e) in enumerate(shapes):
        (case,) = varied(((n, d),), (torch.float64, torch.float32)[k % 2 : k % 2 + 1], seed=seed + k)
        yield case.normal(*front, n, d, scale=2.0), case.normal(*front, m, d), case.normal(*front, m, e)


def one_piece(q, k, v):
    """PyTorch's own."""
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.exercise("E6.1", points=1)
def test_is_the_slide_with_the_scale(scaled_attention):
    flat = ((((), 5, 7), 6, 3), (((), 1, 4), 2, 5), (((), 3, 1), 1, 1), (((), 4, 4), 9, 9))
    q, k, v = draws((4, 8), (6, 8), (6, 3), seed=1, size=3000.0)
    agree(
        scaled_attention,
        one_piece,
        [*attention_inputs(flat, seed=20), (q, k, v)],
        says="O = softmax(Q K^T / sqrt(d)) V does not hold.",
        mistakes=SOFTMAX_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )
    inputs, (cotangent,) = draws((3, 4), (5, 4), (5, 2), seed=2), draws((3, 2), seed=3)
    leaves = [x.clone().requires_grad_() for x in inputs]
    for name, got, want in zip(
        "QKV",
        scaled_attention.vjp(inputs, cotangent, wrt=(0, 1, 2)),
        torch.autograd.grad(one_piece(*leaves), leaves, cotangent),
    ):
        expect(got, want, says=f"Autograd must be able to follow: no NumPy, no detach; tried the gradient of {name}.")


@pytest.mark.exercise("E6.1", points=1)
def test_leaves_batch_and_heads_alone(scaled_attention):
    deep = (((2, 3), 4, 6), 8, 5), (((1, 2), 3, 3), 4, 4), (((3,), 2, 5), 6, 1), (((1, 1), 1, 1), 2, 2)
    agree(
        scaled_attention,
        one_piece,
        attention_inputs(deep, seed=30),
        says="Axes in front (batch, heads) must stay apart.",
        mistakes=SOFTMAX_MISTAKES,
        rtol=1e-4,
        atol=1e-5,
    )


def pieces(top=None, f=None, l=None, out=lambda m, f, l: (m, f, l)):
    """m, f and l with one of them replaced, as a whole answer."""

    def answer(x):
        m = x.amax(-1, keepdim=True) if top is None else top(x)
        values = torch.exp(x - m) if f is None else f(x, m)
        return out(m, values, values.sum(-1, keepdim=True) if l is None else l(values, x - m))

    return answer


def plain_exp(x):
    f = torch.exp(x)
    return x.amax(-1, keepdim=True), f, f.sum(-1, keepdim=True)


def right_pieces(x):
    """By Python's own max, row by row."""
    rows = [max(row) for row in x.reshape(-1, x.shape[-1]).tolist()]
    m = torch.tensor(rows, dtype=x.dtype).view(*x.shape[:-1], 1)
    f = torch.exp(x - m)
    return m, f, f @ x.new_ones(x.shape[-1], 1)


PIECES = {
    "no max subtraction": plain_exp,
    "one maximum for the whole block, not one a row": pieces(lambda x: x.max().expand(*x.shape[:-1], 1)),
    "the mean is subtracted, not the maximum": pieces(lambda x: x.mean(-1, keepdim=True)),
    "the largest absolute value, not the largest number": pieces(lambda x: x.abs().amax(-1, keepdim=True)),
    "m is the smallest number, not the largest": pieces(lambda x: x.amin(-1, keepdim=True)),
    "f is divided by l already": pieces(out=lambda m, f, l: (m, f / l, l)),
    "f is the softmax, and l its sum, 1": pieces(f=lambda x, m: torch.softmax(x, -1)),
    "l is the mean, not the sum": pieces(l=lambda f, d: f.mean(-1, keepdim=True)),
    "l is log(l)": pieces(l=lambda f, d: f.sum(-1, keepdim=True).log()),
    "l sums x - m: the exponential is missing": pieces(l=lambda f, d: d.sum(-1, keepdim=True)),
    "f is x - m: the exponential is missing": pieces(f=lambda x, m: x - m),
    "the sign: exp(m - x)": pieces(f=lambda x, m: torch.exp(m - x)),
    "m is the largest of each column: dim = -1 is the row": pieces(lambda x: x.amax(0, keepdim=True)),
    "m is the largest along dim 1, which is the row of a matrix only": pieces(
        lambda x: x.amax(min(1, x.ndim - 1), keepdim=True)
    ),
    "l is one sum for the whole block": pieces(l=lambda f, d: f.sum()),
    "l sums each column, not each row": pieces(l=lambda f, d: f.sum(0, keepdim=True)),
    "m is at least 0": pieces(lambda x: x.amax(-1, keepdim=True).clamp(min=0)),
    "m is the log-sum-exp, not the maximum": pieces(out=lambda m, f, l: (m + l.log(), f, l)),
    "m is the place of the maximum, not the maximum": lambda x: (
        x.argmax(-1, keepdim=True),
        *right_pieces(x)[1:],
    ),
    "m has the wrong sign": pieces(out=lambda m, f, l: (-m, f, l)),
    "f is exp(x - m) - 1": pieces(f=lambda x, m: torch.expm1(x - m)),
    "l sums exp(x), the maximum is not subtracted there": lambda x: (
        *right_pieces(x)[:2],
        x.exp().sum(-1, keepdim=True),
    ),
    "exp(x) / exp(m) overflows: subtract before exp": pieces(f=lambda x, m: x.exp() / m.exp()),
    "2 to the power, not e": pieces(f=lambda x, m: torch.exp2(x - m)),
    "l comes before f": pieces(out=lambda m, f, l: (m, l, f)),
    "l has lost its last axis: keepdim=True": pieces(l=lambda f, d: f.sum(-1)),
    "m has lost its last axis: keepdim=True": pieces(out=lambda m, f, l: (m.squeeze(-1), f, l)),
    "m and l have lost their last axis: keepdim=True": pieces(out=lambda m, f, l: (m.squeeze(-1), f, l.squeeze(-1))),
    "the axes of length 1 are squeezed away": pieces(out=lambda m, f, l: (m.squeeze(), f.squeeze(), l.squeeze())),
    "l is the log-sum-exp, m + log(l)": pieces(out=lambda m, f, l: (m, f, m + l.log())),
    "l = exp(log-sum-exp - m): of large numbers rounding leaves little": pieces(
        out=lambda m, f, l: (m, f, torch.exp(m + l.log() - m))
    ),
    "the order is m, f, l, not f, l, m": pieces(out=lambda m, f, l: (f, l, m)),
    "m is the place of the maximum (argmax), not the maximum": pieces(lambda x: x.argmax(-1, keepdim=True)),
    "all is taken along dim 0: dim = -1 is the row": lambda x: along(x, 0),
    "all is taken along dim 1, which is the row of a matrix only": lambda x: along(x, 1),
}


def along(x, axis):
    """m, f and l along an axis that may not be the last."""
    m = x.amax(axis, keepdim=True)
    f = torch.exp(x - m)
    return m, f, f.sum(axis, keepdim=True)


PARTS = ("m", "f", "l")
SMALL = (1e-5, 1e-6, 1e-7, 1e-8)
ADDED = {
    f"{small:g} is added to l": pieces(l=lambda f, d, small=small: f.sum(-1, keepdim=True) + small) for small in SMALL
}


@pytest.mark.exercise("E6.2", points=1)
def test_are_the_slides_m_f_and_l(softmax_pieces):
    shapes = ((2, 4, 6), (3, 5), (7,), (1, 4), (3, 1), (2, 1, 2, 3), (1,))
    agree(
        softmax_pieces,
        right_pieces,
        [(case.normal(scale=2.0),) for case in varied(shapes, seed=2)],
        says="m is the largest of each row, f = exp(x - m), l is the sum of f; m and l keep a last axis of size 1.",
        mistakes=PIECES,
        rtol=1e-5,
        atol=1e-6,
        names=PARTS,
    )
    (double,) = (case.normal(scale=2.0) for case in varied(((3, 5),), (torch.float64,), seed=4))
    expect(
        tuple(softmax_pieces(double)),
        right_pieces(double),
        says="m, f and l must be exact in float64, too: no float32 on the way, and nothing added to l, never below 1.",
        mistakes={name: lambda answer=answer: answer(double) for name, answer in (PIECES | ADDED).items()},
        rtol=1e-10,
        atol=1e-12,
        names=PARTS,
    )


def quotient(softmax_pieces, parts):
    """f / l of an answer whose form is right."""
    return lambda x: (lambda m, f, l: f / l)(*same_form(softmax_pieces(x), parts(x), PARTS))


@pytest.mark.exercise("E6.2", points=1)
def test_never_overflow(softmax_pieces):
    x = torch.tensor([[1000.0, 999.0, 0.0], [-1000.0, -1001.0, -1000.5], [0.0, 1.0, 2.0]])
    (case,) = varied(((3, 4),), seed=3)
    agree(
        quotient(softmax_pieces, right_pieces),
        lambda x: torch.softmax(x.double(), -1).to(x.dtype),
        [(x,), (x.double(),), (x[1:2],), (torch.full((2, 4), -5000.0),), (case.normal(scale=300.0),)],
        says="f / l must be the softmax of each row, however large the numbers and however different the rows.",
        mistakes={
            name: lambda x, name=name: (lambda m, f, l: f / l)(*PIECES[name](x))
            for name in (
                "no max subtraction",
                "one maximum for the whole block, not one a row",
                "the mean is subtracted, not the maximum",
                "the largest absolute value, not the largest number",
                "m is the smallest number, not the largest",
                "the sign: exp(m - x)",
                "l is the log-sum-exp, m + log(l)",
                "l = exp(log-sum-exp - m): of large numbers rounding leaves little",
            )
        },
        rtol=1e-5,
        atol=1e-6,
    )


def block(x, v):
    """(m, l, o) of a block of logits and its values."""
    m = x.amax(-1, keepdim=True)
    f = torch.exp(x - m)
    return m, f.sum(-1, keepdim=True), f @ v


def merging(rule):
    """A rule of (m, s_a, l_a, o_a, s_b, l_b, o_b), s the factors e^(m_a - m) and e^(m_b - m), as a whole answer."""

    def answer(a, b):
        (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
        m = torch.maximum(m_a, m_b)
        return rule(m, torch.exp(m_a - m), l_a, o_a, torch.exp(m_b - m), l_b, o_b)

    return answer


def measured_from(top):
    """Everything is measured from another maximum: top(m_a, m_b)."""

    def answer(a, b):
        (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
        m = top(m_a, m_b)
        s_a, s_b = torch.exp(m_a - m), torch.exp(m_b - m)
        return m, s_a * l_a + s_b * l_b, s_a * o_a + s_b * o_b

    return answer


def bare_merge(a, b):
    (m_a, l_a, o_a), (m_b, l_b, o_b) = a, b
    return torch.maximum(m_a, m_b), m_a.exp() * l_a + m_b.exp() * l_b, m_a.exp() * o_a + m_b.exp() * o_b


def USUAL(m, s, l, o, r, k, p):
    """The right rule."""
    return m, s * l + r * k, s * o + r * p


MERGE_MISTAKES = {
    "missing rescale of O": merging(lambda m, s, l, o, r, k, p: (m, s * l + r * k, o + p)),
    "missing rescale of l": merging(lambda m, s, l, o, r, k, p: (m, l + k, s * o + r * p)),
    "nothing is rescaled": merging(lambda m, s, l, o, r, k, p: (m, l + k, o + p)),
    "only the first block is rescaled": merging(lambda m, s, l, o, r, k, p: (m, s * l + k, s * o + p)),
    "only the second block is rescaled": merging(lambda m, s, l, o, r, k, p: (m, l + r * k, o + r * p)),
    "the exponent has the wrong sign": merging(lambda m, s, l, o, r, k, p: (m, l / s + k / r, o / s + p / r)),
    "the new maximum is not subtracted: exp(m_a), not exp(m_a - m)": bare_merge,
    "the smaller maximum is kept": measured_from(torch.minimum),
    "everything is measured from a's maximum, not from the larger one": measured_from(lambda m_a, m_b: m_a),
    "everything is measured from b's maximum, not from the larger one": measured_from(lambda m_a, m_b: m_b),
    "one maximum for all rows": measured_from(lambda m_a, m_b: torch.maximum(m_a, m_b).max().expand_as(m_a)),
    "the factors of the two blocks are swapped": merging(lambda m, s, l, o, r, k, p: (m, r * l + s * k, r * o + s * p)),
    "O is divided by l already": merging(
        lambda m, s, l, o, r, k, p: (m, s * l + r * k, (s * o + r * p) / (s * l + r * k))
    ),
    "o is taken for a quotient o / l: it is the undivided sum": merging(
        lambda m, s, l, o, r, k, p: (m, s * l + r * k, (s * l * o + r * k * p) / (s * l + r * k))
    ),
    "o is the average of the two": merging(lambda m, s, l, o, r, k, p: (m, s * l + r * k, (s * o + r * p) / 2)),
    "a is returned, b is forgotten": lambda a, b: a,
    "b is returned, a is forgotten": lambda a, b: b,
    "half of the sums: their mean": merging(lambda m, s, l, o, r, k, p: (m, (s * l + r * k) / 2, (s * o + r * p) / 2)),
    "the factors are multiplied with each other": merging(
        lambda m, s, l, o, r, k, p: (m, s * r * (l + k), s * r * (o + p))
    ),
    "l and o are averaged": merging(lambda m, s, l, o, r, k, p: (m, (l + k) / 2, (o + p) / 2)),
    "the two l are multiplied": merging(lambda m, s, l, o, r, k, p: (m, s * l * r * k, s * o + r * p)),
    "o is weighted by l, which it holds already": merging(
        lambda m, s, l, o, r, k, p: (m, s * l + r * k, s * l * o + r * k * p)
    ),
    "the blocks are subtracted": merging(lambda m, s, l, o, r, k, p: (m, s * l - r * k, s * o - r * p)),
    "the factors are squared": merging(lambda m, s, l, o, r, k, p: (m, s * s * l + r * r * k, s * s * o + r * r * p)),
    "the exponential is missing: m_a - m is no factor": merging(
        lambda m, s, l, o, r, k, p: (m, s.log() * l + r.log() * k, s.log() * o + r.log() * p)
    ),
    "m of a is returned, not the larger one": lambda a, b: (a[0], *merging(USUAL)(a, b)[1:]),
    "the two m are added": lambda a, b: (a[0] + b[0], *merging(USUAL)(a, b)[1:]),
    "m is the log-sum-exp of the two, not the larger": lambda a, b: (
        torch.logaddexp(a[0], b[0]),
        *merging(USUAL)(a, b)[1:],
    ),
    "exp(m_a - m_b) instead of exp(m_a - m)": lambda a, b: (
        torch.maximum(a[0], b[0]),
        (a[0] - b[0]).exp() * a[1] + b[1],
        (a[0] - b[0]).exp() * a[2] + b[2],
    ),
    "the block with the larger maximum is taken, the other is forgotten": lambda a, b: tuple(
        torch.where(a[0] > b[0], x, y) for x, y in zip(a, b)
    ),
    "m has lost its last axis": lambda a, b: (torch.maximum(a[0], b[0])[:, 0], *merging(USUAL)(a, b)[1:]),
    "the maxima are added": merging(lambda m, s, l, o, r, k, p: (m + m, s * l + r * k, s * o + r * p)),
    "l is the larger one, not the sum": merging(
        lambda m, s, l, o, r, k, p: (m, torch.maximum(s * l, r * k), s * o + r * p)
    ),
    "the order is m, l, o: o and l are swapped": merging(lambda m, s, l, o, r, k, p: (m, s * o + r * p, s * l + r * k)),
    "the order is m, l, o: m and l are swapped": merging(lambda m, s, l, o, r, k, p: (s * l + r * k, m, s * o + r * p)),
    "m and l have lost their last axis": merging(
        lambda m, s, l, o, r, k, p: (m[:, 0], (s * l + r * k)[:, 0], s * o + r * p)
    ),
    "one comparison for all rows: each row has its own larger maximum": lambda a, b: measured_from(
        lambda m_a, m_b: m_a if (m_a > m_b).all() else m_b
    )(a, b),
    "everything is measured from m_a + m_b, not from the larger one": measured_from(torch.add),
    "everything is measured from the mean of the two m, not from the larger one": measured_from(
        lambda m_a, m_b: (m_a + m_b) / 2
    ),
    "everything is measured from the log-sum-exp of the two m, not from the larger one": measured_from(torch.logaddexp),
    "the factors are divided by their sum": merging(
        lambda m, s, l, o, r, k, p: (m, (s * l + r * k) / (s + r), (s * o + r * p) / (s + r))
    ),
    "l is rescaled twice": merging(lambda m, s, l, o, r, k, p: (m, s * s * l + r * r * k, s * o + r * p)),
    "o is rescaled twice": merging(lambda m, s, l, o, r, k, p: (m, s * l + r * k, s * s * o + r * r * p)),
    "the blocks are put one below the other: l and o are sums": merging(
        lambda m, s, l, o, r, k, p: (m, torch.cat([l, k]), torch.cat([o, p]))
    ),
    "-inf is replaced by 0, which may be the larger one": lambda a, b: merging(USUAL)(
        *((m.masked_fill(m.isinf(), 0), l, o) for m, l, o in (a, b))
    ),
}
MERGED = ("m", "l", "o")


def two_blocks(x, v, cut):
    return block(x[:, :cut], v[:cut]), block(x[:, cut:], v[cut:])


@pytest.mark.exercise("E6.3", points=2)
def test_is_the_block_of_both(merge_blocks):
    inputs, wholes = [], {}
    for case, (keys, e) in zip(
        varied(((4, 9), (1, 5), (3, 2)), (torch.float64, torch.float32), seed=3), ((9, 3), (5, 1), (2, 2))
    ):
        x, v = case.normal(scale=3.0), case.normal(keys, e)
        for cut in (1, keys - 1):
            inputs.append(two_blocks(x, v, cut))
            wholes[id(inputs[-1][0])] = block(x, v)
    agree(
        merge_blocks,
        lambda a, b: wholes[id(a)],
        inputs,
        says="Merging the blocks of some keys and of the others must give the block of all.",
        mistakes=MERGE_MISTAKES,
        rtol=1e-5,
        atol=1e-6,
        names=MERGED,
    )


def finite(answer):
    """The values of a mistake where all are finite: NaN alone is no evidence of which slip it was."""

    def checked(*args):
        values = answer(*args)
        if not all(bool(value.isfinite().all()) for value in values):
            raise ValueError("not finite: not considered")
        return values

    return checked


@pytest.mark.exercise("E6.3", points=1)
def test_survives_extremes(merge_blocks):
    (v,) = draws((2, 3), seed=4)
    high = torch.tensor([[900.0, 901.0], [-900.0, -901.0]], dtype=v.dtype)
    low = torch.tensor([[-900.0, -899.0], [-905.0, -904.0]], dtype=v.dtype)
    full, small, both = block(high, v), block(low, v), block(torch.cat([high, low], 1), v.repeat(2, 1))
    nothing = (torch.full((2, 1), -torch.inf, dtype=v.dtype), torch.zeros(2, 1, dtype=v.dtype), torch.zeros_like(v))
    pairs = [(full, small), (small, full), (full, nothing), (nothing, full), (nothing, small)]
    wants = {
        (id(a), id(b)): both if b is not nothing and a is not nothing else b if a is nothing else a for a, b in pairs
    }
    agree(
        merge_blocks,
        lambda a, b: wants[id(a), id(b)],
        pairs,
        says="Maxima 1800 apart, and a block that has seen no key (m = -inf, l = 0, o = 0), must leave no NaN. "
        "(exp(m_a) / exp(m) overflows where exp(m_a - m) does not.)",
        mistakes={name: finite(answer) for name, answer in MERGE_MISTAKES.items()},
        rtol=1e-9,
        atol=1e-12,
        names=MERGED,
    )


def walk(q, k, v, tile, slip=""):
    """The tiled algorithm with one slip: (O, log-sum-exp)."""
    start = 0.0 if slip == "m at 0" else -torch.inf
    m, l, o = torch.full((len(q), 1), start).to(q), q.new_zeros(len(q), 1), q.new_zeros(len(q), v.shape[1])
    whole = len(k) // tile * tile if slip == "drops the rest" else len(k)
    for j in range(1 if slip == "late" else 0, whole, tile):
        roots = {"no scale": 1, "by d": q.shape[1], "by tile": math.sqrt(tile), "by keys": math.sqrt(len(k))}
        s = q @ k[j : j + tile].T / roots.get(slip, math.sqrt(q.shape[1]))
        m_new = torch.maximum(m, s.amax(1, keepdim=True))
        if slip == "one m":
            m_new = m_new.max().expand_as(m)
        if slip == "own m":
            m_new = s.amax(1, keepdim=True)
        if slip == "no max":
            m_new = torch.zeros_like(m)
        f, shrink = torch.exp(s - m_new), torch.exp(m_new - m if slip == "upside down" else m - m_new)
        f = torch.exp(s - s.amax(1, keepdim=True)) if slip == "own f" else f
        f = f / f.sum(1, keepdim=True) if slip == "own sum" else f
        l = (1 if slip in ("l", "none") else shrink) * l + f.sum(1, keepdim=True)
        o = (1 if slip in ("o", "none") else shrink) * o + f @ v[j : j + tile]
        o = o / l if slip == "divided in the loop" else o
        m = m if slip == "m kept" else m_new
    return (o if slip in ("undivided", "divided in the loop") else o / l), (m + torch.log(l))[:, 0]


def sum_exp(change):
    """The right O with another second value: change(m, l)."""

    def answer(q, k, v, tile):
        s = q @ k.T / math.sqrt(q.shape[1])
        m = s.amax(1)
        return torch.softmax(s, 1) @ v, change(m, torch.exp(s - m[:, None]).sum(1))

    return answer


def added(q, k, v, tile, small):
    """A small number is added to l where O is divided by it."""
    s = q @ k.T / math.sqrt(q.shape[1])
    f = torch.exp(s - s.amax(1, keepdim=True))
    return f @ v / (f.sum(1, keepdim=True) + small), torch.logsumexp(s, 1)


def one_maximum(q, k, v, tile):
    """One m for all queries of a tile."""
    rows = [walk(q[i : i + tile], k, v, tile, "one m") for i in range(0, len(q), tile)]
    return tuple(torch.cat(each) for each in zip(*rows))


def over_columns(q, k, v, tile):
    s = q @ k.T / math.sqrt(q.shape[1])
    return torch.softmax(s, 0) @ v, torch.logsumexp(s, 0)


TILE_MISTAKES = {
    name: partial(walk, slip=slip)
    for name, slip in {
        "forgotten 1/sqrt(d)": "no scale",
        "divided by d instead of sqrt(d)": "by d",
        "the first key is left out": "late",
        "missing rescale of O": "o",
        "missing rescale of l": "l",
        "each tile is divided by its own sum": "own sum",
        "works only for tile sizes that divide the number of keys": "drops the rest",
        "O is never divided by l": "undivided",
        "O is divided by l after every tile, not once at the end": "divided in the loop",
        "no max subtraction": "no max",
        "m is the maximum of this tile alone, not of all keys so far": "own m",
        "f is measured from this tile's own maximum, not from the new m": "own f",
        "nothing is rescaled when m grows": "none",
        "the factor is upside down: exp(m_new - m)": "upside down",
        "the new m is not kept: every tile begins at -inf": "m kept",
        "1/sqrt(tile) instead of 1/sqrt(d)": "by tile",
        "1/sqrt(number of keys) instead of 1/sqrt(d)": "by keys",
    }.items()
}
SUM_MISTAKES = {
    "log(l) alone: m is forgotten": lambda m, l: l.log(),
    "m + l: the logarithm is missing": lambda m, l: m + l,
    "l itself, not log sum exp": lambda m, l: l,
    "m alone, not log sum exp": lambda m, l: m,
    "m - log(l): the sign": lambda m, l: m - l.log(),
    "log to base 2, not e": lambda m, l: m + l.log2(),
}
IN_THE_SUM = (
    "forgotten 1/sqrt(d)",
    "missing rescale of l",
    "nothing is rescaled when m grows",
    "f is measured from this tile's own maximum, not from the new m",
    "the new m is not kept: every tile begins at -inf",
    "the factor is upside down: exp(m_new - m)",
    "1/sqrt(tile) instead of 1/sqrt(d)",
    "1/sqrt(number of keys) instead of 1/sqrt(d)",
)
TILED = ("O", "log_sum_exp")


def dense(q, k, v, tile):
    return F.scaled_dot_product_attention(q, k, v), torch.logsumexp(q @ k.T / math.sqrt(q.shape[1]), 1)


def few_keys(q, k, v, tile):
    """As many keys as there are queries, and no more."""
    return dense(q, k[: len(q)], v[: len(q)], tile)


def first_of(attention_in_tiles, which):
    """One of the two values, once the form of both is right."""

    def checked(q, k, v, tile):
        got = attention_in_tiles(q, k, v, tile)
        if isinstance(got, tuple | list) and len(got) == 2 and all(isinstance(each, torch.Tensor) for each in got):
            shapes, whole = [tuple(each.shape) for each in got], len(q) // tile * tile
            ends = f"of {len(q)} rows the last {len(q) - whole} are missing, with tile = {tile}"
            cut = shapes == [(whole, v.shape[1]), (whole,)] and whole < len(q)
            require(not cut, f"The last tile of queries, which may be smaller, is left out: {ends}.")
            swapped = shapes == [(len(q),), (len(q), v.shape[1])]
            require(not swapped, "The order is O, log_sum_exp: judging by their shapes, the two are swapped.")
        return same_form(got, dense(q, k, v, tile), TILED)[which]

    return checked


def one_of(answers, which):
    return {name: lambda *args, answer=answer: answer(*args)[which] for name, answer in answers.items()}


@pytest.mark.exercise("E6.4", points=1)
def test_any_tile_size_gives_the_dense_answer(attention_in_tiles):
    q, k, v = draws((13, 6), (11, 6), (11, 4), seed=5, size=2.0)
    few = draws((1, 2), (1, 2), (1, 1), seed=6, dtype=torch.float32)
    some = draws((5, 1), (3, 1), (3, 2), seed=7, dtype=torch.float32)
    agree(
        first_of(attention_in_tiles, 0),
        lambda q, k, v, tile: dense(q, k, v, tile)[0],
        [(q, k, v, tile) for tile in (4, 1, 11, 3, 50)] + [(*few, 1), (*few, 8), (*some, 2)],
        says="O must be that of softmax(Q K^T / sqrt(d)) V, whatever the size of the tile.",
        mistakes=one_of(TILE_MISTAKES | {"softmax over columns": over_columns}, 0),
        rtol=1e-5,
        atol=1e-6,
    )
    agree(
        first_of(attention_in_tiles, 0),
        lambda q, k, v, tile: dense(q, k, v, tile)[0],
        [(q, k, v, 4)],
        says="O must be exact in float64, too: no float32 on the way, and nothing added to l, never below 1.",
        mistakes=one_of({f"{small:g} is added to l": partial(added, small=small) for small in SMALL}, 0),
        rtol=1e-10,
        atol=1e-12,
    )


@pytest.mark.exercise("E6.4", points=1)
def test_large_logits_do_no_harm(attention_in_tiles):
    mix, v = draws((8, 8), (10, 3), seed=6, size=200.0, dtype=torch.float32)
    axes = torch.linalg.qr(mix)[0]  # each query meets one key, and no other: what l or the scale is does not matter
    k = 20 * torch.cat([axes, -axes[:2]])
    q = (20 + 5 * torch.arange(9.0))[:, None] * k[[*range(8), 3]] / 20
    agree(
        first_of(attention_in_tiles, 0),
        lambda q, k, v, tile: dense(q.double(), k.double(), v.double(), tile)[0].float(),
        [(q, k, v, tile) for tile in (4, 10)],
        says="With logits of a few hundred O must stay exact and finite.",
        mistakes=one_of(TILE_MISTAKES | {"one m for all queries of a tile": one_maximum}, 0),
        rtol=1e-3,
        atol=1e-4,
    )
    low = torch.cat([100.0 * torch.arange(10.0)[:, None] + 30000.0, k[:, 1:]], 1)  # every logit is below -10000
    far = (torch.tensor([[-8.0, 0, 0, 0, 0, 0, 0, 0]]).expand(9, 8).contiguous(), low, v, 4)
    out = first_of(attention_in_tiles, 0)(*far)
    require(
        out.isfinite().all(),
        "NaN or infinity where all logits of a row are very negative. Does m start at 0, or at another number that "
        "logits can be below? Then every exponential is 0, and 0/0 is NaN. Only -inf is below all.",
    )
    expect(
        out,
        dense(*(x.double() if isinstance(x, torch.Tensor) else x for x in far))[0].float(),
        says="With logits below -10000 O must stay exact: is m -inf before the first key, and no logit changed?",
        rtol=1e-2,
        atol=1e-2,
    )
    lowest = q.new_zeros(9, 8).index_fill(1, torch.tensor(0), -1.0), k.new_full((10, 8), 1e30), v, 4
    require(
        first_of(attention_in_tiles, 0)(*lowest).isfinite().all(),
        "NaN or infinity where all logits are about -1e29: m starts at a number that they are below. Only -inf is "
        "below all.",
    )


@pytest.mark.exercise("E6.4", points=1)
def test_returns_the_log_sum_exp(attention_in_tiles):
    q, k, v = draws((7, 4), (10, 4), (10, 2), seed=7, size=3.0)
    few = draws((1, 9), (1, 9), (1, 1), seed=8)
    agree(
        first_of(attention_in_tiles, 1),
        lambda q, k, v, tile: dense(q, k, v, tile)[1],
        [(q, k, v, 3), (q, k, v, 10), (*few, 2)],
        says="The second value is log sum exp of each row of S / sqrt(d), shape (N,): m + log(l).",
        mistakes=one_of(
            {name: sum_exp(change) for name, change in SUM_MISTAKES.items()}
            | {name: TILE_MISTAKES[name] for name in IN_THE_SUM}
            | {"no more keys are seen than there are queries": few_keys},
            1,
        ),
        rtol=1e-8,
        atol=1e-10,
    )


@pytest.mark.exercise("E6.4", points=3)
def test_never_holds_all_of_s(attention_in_tiles):
    for n, m in ((128, 1024), (1024, 128)):
        q, k, v = draws((n, 8), (m, 8), (m, 8), seed=8, dtype=torch.float32)
        says = f"O must be right where its memory is looked at; tried {n} queries, {m} keys and tile = 64."
        expect(first_of(attention_in_tiles, 0)(q, k, v, 64), dense(q, k, v, 64)[0], says=says, rtol=1e-3, atol=1e-4)
        largest, allowed, s = attention_in_tiles.largest(q, k, v, 64), 4 * 8 * max(n, m), 4 * n * m
        say = f"With {n} queries, {m} keys and tile = 64 the largest tensor had {largest / 1024:.0f} KiB"
        require(largest < s, f"untiled: all of S is there at once. {say}; S has {s // 1024}.")
        which = "queries: S has whole rows" if m > n else "keys: S has whole columns"
        biggest = f"{'K' if m > n else 'Q'} has {allowed // 1024}"
        require(largest <= 1.5 * allowed, f"tiles cut only the {which}. {say}; {biggest}.")
    q, k, v = draws((64, 8), (1023, 8), (1023, 8), seed=9, dtype=torch.float32)  # which 512 does not divide
    largest, allowed = attention_in_tiles.largest(q, k, v, 512), 4 * 64 * 512
    more = f"{largest / 1024:.0f} KiB; 64 x 512 numbers have {allowed // 1024}"
    require(
        largest <= 1.5 * allowed, f"A tile is larger than `tile`: with 64 queries, 1023 keys and tile = 512, {more}."
    )
    small, large = (attention_in_tiles.memory(*draws(*[(n, 8)] * 3, dtype=torch.float32), 128) for n in (512, 2048))
    grown = (large - small) / 2**20
    require(grown < 8, f"untiled: from N = 512 to 2048 the memory grew by {grown:.0f} MiB; S alone needs 15 MiB more.")


@pytest.mark.exercise("E6.4", points=1)
def test_lets_gradients_through(attention_in_tiles):
    inputs = draws((6, 4), (8, 4), (8, 3), seed=9, size=2.0)
    (cotangent,) = draws((6, 3), seed=10)
    got = attention_in_tiles.vjp((*inputs, 3), (cotangent, None), wrt=(0, 1, 2))
    leaves = [x.clone().requires_grad_() for x in inputs]
    want = torch.autograd.grad(F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2]), leaves, cotangent)
    for name, one, other in zip("QKV", got, want):
        expect(
            one,
            other,
            says=f"The gradient with respect to {name} must be that of dense attention.",
            mistakes={
                f"{'Q is' if name == 'Q' else 'K and V are'} detached": torch.zeros_like(other),
                "missing rescale of O": lambda name=name: sloped(inputs, cotangent, "o")["QKV".index(name)],
                "missing rescale of l": lambda name=name: sloped(inputs, cotangent, "l")["QKV".index(name)],
                "forgotten 1/sqrt(d)": lambda name=name: sloped(inputs, cotangent, "no scale")["QKV".index(name)],
            },
            rtol=1e-7,
            atol=1e-9,
        )


def sloped(inputs, cotangent, slip):
    """The gradients of the tiled algorithm with one slip."""
    q, k, v = (x.clone().requires_grad_() for x in inputs)
    return torch.autograd.grad(walk(q, k, v, 3, slip)[0], (q, k, v), cotangent)


TRAFFIC_MISTAKES = {
    "floor for ceil: the last, smaller tile is forgotten": lambda n, d, rows: 2 * n * d * (1 + n // rows),
    "one tile too many where rows divides n": lambda n, d, rows: 2 * n * d * (2 + n // rows),
    "a division that is not rounded up": lambda n, d, rows: 2 * n * d * (1 + n / rows),
    "V is forgotten": lambda n, d, rows: n * d * (2 + -(-n // rows)),
    "Q is forgotten, or O is forgotten": lambda n, d, rows: n * d * (1 + 2 * -(-n // rows)),
    "Q and O are forgotten": lambda n, d, rows: 2 * n * d * -(-n // rows),
    "K and V come past once only": lambda n, d, rows: 4 * n * d,
    "S is moved too": lambda n, d, rows: 2 * n * d * (1 + -(-n // rows)) + n * n,
    "m and l are moved too": lambda n, d, rows: 2 * n * d * (1 + -(-n // rows)) + 2 * n,
    "Q is loaded for every tile of keys": lambda n, d, rows: n * d * (1 + 3 * -(-n // rows)),
    "Q and O cross for every tile of queries": lambda n, d, rows: 4 * n * d * -(-n // rows),
    "K and V come past for every query": lambda n, d, rows: 2 * n * d * (1 + n),
    "K or V past every tile, the other once": lambda n, d, rows: n * d * (3 + -(-n // rows)),
    "K and V of the size of a tile of queries": lambda n, d, rows: 2 * n * d + 2 * rows * d * -(-n // rows),
    "rounded to the nearest, not up": lambda n, d, rows: 2 * n * d * (1 + round(n / rows)),
    "floor for ceil, and at least one": lambda n, d, rows: 2 * n * d * (1 + max(1, n // rows)),
    "S is moved instead of Q, K and V again: that is untiled": lambda n, d, rows: 4 * n * d + n * n,
    "bytes instead of numbers": lambda n, d, rows: 8 * n * d * (1 + -(-n // rows)),
    "d is forgotten": lambda n, d, rows: 2 * n * (1 + -(-n // rows)),
    "n is forgotten": lambda n, d, rows: 2 * d * (1 + -(-n // rows)),
    "one pass for each row of a tile, not for each tile": lambda n, d, rows: 2 * n * d * (1 + rows),
    "tiles of d instead of n": lambda n, d, rows: 2 * n * d * (1 + -(-d // rows)),
    "a pass for each pair of tiles": lambda n, d, rows: 2 * n * d * (1 + (-(-n // rows)) ** 2),
    "a quotient cut by int(): the number of tiles must be rounded up": lambda n, d, rows: int(
        2 * n * d * (1 + n / rows)
    ),
    "the last tile of queries counts as a full one": lambda n, d, rows: 2 * d * -(-n // rows) * (rows + n),
    "S is written and read too": lambda n, d, rows: 2 * n * d * (1 + -(-n // rows)) + 2 * n * n,
    "Q or O crosses twice": lambda n, d, rows: n * d * (3 + 2 * -(-n // rows)),
    "O is loaded and stored in every pass": lambda n, d, rows: n * d * (1 + 4 * -(-n // rows)),
    "K and V in tiles of `rows`, the last of them full": lambda n, d, rows: (
        2 * n * d + 2 * rows * d * (-(-n // rows)) ** 2
    ),
    "Q and O have d^2 numbers for each query": lambda n, d, rows: 2 * n * d * (d + -(-n // rows)),
    "a float: count with whole numbers, // or math.ceil": lambda n, d, rows: float(2 * n * d * (1 + -(-n // rows))),
}


@pytest.mark.exercise("E6.5", points=2)
def test_counts_what_crosses(numbers_moved):
    g = generator(5)
    drawn = [[int(torch.randint(1, top, (), generator=g)) for top in (300, 40, 60)] for _ in range(6)]
    agree(
        numbers_moved,
        lambda n, d, rows: sum(2 * min(rows, n - i) * d + 2 * n * d for i in range(0, n, rows)),
        [(100, 4, 7), (64, 8, 16), (10, 3, 1), (50, 16, 49), (50, 16, 50), (9, 2, 64), (1, 1, 1), *map(tuple, drawn)],
        says="Q in once, O out once, K and V past every tile of queries.",
        mistakes=TRAFFIC_MISTAKES,
    )


def shapes_of(width, context):
    """The shapes of the parameters that the docstring asks for."""
    square, wide = (width, width), (width, context)
    return {
        "to_q.weight": square,
        "to_k.weight": wide,
        "to_v.weight": wide,
        "to_out.weight": square,
        "to_out.bias": (width,),
    }


def same_layers(state, width, context):
    """Fail, in the student's words, unless the parameters have the names and shapes of the docstring."""
    want = shapes_of(width, context)
    extra, absent = sorted(set(state) - set(want)), sorted(set(want) - set(state))
    biased = [name for name in extra if name in ("to_q.bias", "to_k.bias", "to_v.bias")]
    require(not biased, f"{' and '.join(biased)}: to_q, to_k and to_v have no bias (bias=False).")
    listed = f"The parameters must be {sorted(want)}"
    require(not extra and not absent, f"{listed}; missing: {absent or 'none'}, not expected: {extra or 'none'}.")
    for name, shape in want.items():
        got = tuple(state[name].shape)
        layer = name.partition(".")[0]
        why = (
            "context_width is the width of the tokens, which K and V are made of"
            if layer in ("to_k", "to_v")
            else ("heads share the width: each has width / heads numbers of it")
        )
        require(
            got == shape,
            f"{name} has shape {got}, expected {shape}, for width = {width}, context_width = {context}: {why}.",
        )


def filled(block, width, context, seed, sharp=1.0):
    """Fill a block with random parameters, so that nothing hides behind a zero; returns them. sharp: of the queries."""
    state, g = block.state(), generator(seed)
    same_layers(state, width, context)
    new = {name: 0.5 * torch.randn(value.shape, generator=g) for name, value in sorted(state.items())}
    new["to_q.weight"] *= sharp
    block.load_state(new)
    return new


def cut(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(o):
    return o.transpose(1, 2).flatten(2)


def look(
    state,
    x,
    tokens,
    mask,
    heads,
    scale=None,
    axis=-1,
    cutter=cut,
    fill=-torch.inf,
    late=False,
    spread=None,
    join=joined,
):
    """x + to_out(O) by its formula, with places for slips."""
    q, k, v = x @ state["to_q.weight"].T, tokens @ state["to_k.weight"].T, tokens @ state["to_v.weight"].T
    q, k, v = (cutter(h, heads) for h in (q, k, v))
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    seen = torch.ones_like(s, dtype=torch.bool)
    if mask is not None:
        seen = (mask[:, None, None] if spread is None else spread(mask)).expand_as(s)
    p = torch.softmax(s, axis) * seen if late else torch.softmax(s.masked_fill(~seen, fill), axis)
    return x + join(p @ v) @ state["to_out.weight"].T + state["to_out.bias"]


def inside(state, x, tokens, mask, heads):
    """x is added in front of to_out."""
    right = look(state, x, tokens, mask, heads)
    return right - x + x @ state["to_out.weight"].T


def plain_out(state):
    """A to_out that changes nothing."""
    width = len(state["to_out.bias"])
    return {"to_out.weight": torch.eye(width).to(state["to_out.bias"]), "to_out.bias": 0 * state["to_out.bias"]}


def look_mistakes(heads):
    """What the block becomes with one slip: functions of (state, x, tokens, mask)."""

    def of(**slip):
        return lambda state, x, tokens, mask: look(state, x, tokens, mask, heads, **slip)

    return slips_of_layers(heads) | {
        "the heads are not apart": lambda state, x, tokens, mask: look(state, x, tokens, mask, 1),
        "1/sqrt(width) instead of 1/sqrt(width of a head)": lambda state, x, tokens, mask: look(
            state, x, tokens, mask, heads, x.shape[-1] ** -0.5
        ),
        "1/sqrt(heads) instead of 1/sqrt(width of a head)": of(scale=heads**-0.5),
        "1/(width of a head) instead of 1/sqrt(width of a head)": lambda state, x, tokens, mask: look(
            state, x, tokens, mask, heads, heads / x.shape[-1]
        ),
        "forgotten 1/sqrt(d)": of(scale=1.0),
        "softmax over columns": of(axis=-2),
        "softmax over the heads": of(axis=1),
        "the heads are cut without transpose": of(cutter=cut_wrongly),
        "the heads are joined without transposing back": of(join=join_wrongly),
        "the heads are cut and joined without transpose": of(cutter=cut_wrongly, join=join_wrongly),
        "head h takes every heads-th number, not the h-th slice": of(
            cutter=cut_between, join=lambda o: o.permute(0, 2, 3, 1).flatten(2)
        ),
        "head h is cut as every heads-th number, and joined as the h-th slice": of(cutter=cut_between),
        "the heads are averaged: they belong side by side": of(join=lambda o: o.mean(1).repeat(1, 1, o.shape[1])),
        "the mask is not used": lambda state, x, tokens, mask: look(state, x, tokens, None, heads),
        "the first example's mask for all": of(spread=lambda mask: mask[:1, None, None]),
        "padding's tokens are set to 0, and still get e^0": lambda state, x, tokens, mask: look(
            state, x, tokens * mask[..., None], None, heads
        ),
        "the mask is inverted": lambda state, x, tokens, mask: look(state, x, tokens, ~mask, heads),
        "-10000 instead of -inf: large logits are lower still": of(fill=-1e4),
        "0 instead of -inf: padding still gets e^0": of(fill=0.0),
        "hidden after the softmax: rows no longer sum to 1": of(late=True),
        "mask[:, None] puts the batch where the heads are: it needs two axes in its middle": of(
            spread=lambda mask: mask[:, None]
        ),
    }


def slips_of_layers(heads):
    """What the block becomes where a layer, or x itself, stands at another place."""

    def found(state, x, tokens, mask):
        return look(state, x, tokens, mask, heads) - x

    def with_layers(change):
        return lambda state, x, tokens, mask: look(state | change(state), x, tokens, mask, heads)

    return {
        "x is not added": found,
        "x is added before to_out, not after it": lambda state, x, tokens, mask: inside(state, x, tokens, mask, heads),
        "O is added in the place of x": lambda state, x, tokens, mask: (
            found(state, x, tokens, mask) + found(state | plain_out(state), x, tokens, mask)
        ),
        "to_out is applied twice": lambda state, x, tokens, mask: (
            x + found(state, x, tokens, mask) @ state["to_out.weight"].T + state["to_out.bias"]
        ),
        "K and V come from x": lambda state, x, tokens, mask: look(state, x, x, None, heads),
        "K and V are swapped": with_layers(
            lambda state: {"to_k.weight": state["to_v.weight"], "to_v.weight": state["to_k.weight"]}
        ),
        "K serves as V too": with_layers(lambda state: {"to_v.weight": state["to_k.weight"]}),
    }


def cut_between(x, heads):
    return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


def join_wrongly(o):
    return o.reshape(len(o), o.shape[2], -1)


def cut_wrongly(x, heads):
    return x.reshape(len(x), heads, x.shape[1], -1)


def example(batch=2, n=6, width=8, context=8, words=5, seed=11):
    return draws((batch, n, width), (batch, words, context), seed=seed, size=1.5, dtype=torch.float32)


@pytest.mark.exercise("E6.6", points=1)
def test_starts_by_changing_nothing(CrossAttention):
    for width, heads, context in ((8, 2, 6), (12, 3, 5), (4, 1, 4)):
        block = CrossAttention.construct(width, heads, context)
        same_layers(block.state(), width, context)
        x, tokens = example(width=width, context=context)
        expect(
            block(x, tokens),
            x,
            says="A new block must pass x through unchanged: if it does not, to_out is not zeroed.",
            mistakes={"x is not added": torch.zeros_like(x)},
        )


def blocks(CrossAttention, cases, seed):
    """Subjects, truths and inputs for `agree`: blocks of several sizes, filled with random parameters."""
    inputs, made = [], {}
    for k, (batch, n, words, width, heads, context, mask, sharp) in enumerate(cases):
        block = CrossAttention.construct(width, heads, context)
        state = filled(block, width, context, seed + k, sharp)
        x, tokens = example(batch, n, width, context, words, seed=seed + 10 + k)
        inputs.append((x, tokens, mask))
        made[id(x)] = block, state, heads
    return inputs, made


def compare_blocks(CrossAttention, cases, seed, says, slips):
    inputs, made = blocks(CrossAttention, cases, seed)

    def subject(x, tokens, mask):
        block = made[id(x)][0]
        return block(x, tokens) if mask is None else block(x, tokens, mask)

    def truth(x, tokens, mask):
        return look(made[id(x)][1], x, tokens, mask, made[id(x)][2])

    def slip(name):
        return lambda x, tokens, mask: look_mistakes(made[id(x)][2])[name](made[id(x)][1], x, tokens, mask)

    mistakes = {name: slip(name) for name in look_mistakes(2) if name in slips}
    agree(subject, truth, inputs, says=says, mistakes=mistakes, rtol=1e-3, atol=1e-4)


MASKING = (
    "the mask is not used",
    "the first example's mask for all",
    "padding's tokens are set to 0, and still get e^0",
    "the mask is inverted",
    "-10000 instead of -inf: large logits are lower still",
    "0 instead of -inf: padding still gets e^0",
    "hidden after the softmax: rows no longer sum to 1",
    "mask[:, None] puts the batch where the heads are: it needs two axes in its middle",
)


@pytest.mark.exercise("E6.6", points=2)
def test_computes_the_formula(CrossAttention):
    #        batch, N, M, width, heads, context_width
    cases = ((2, 6, 5, 8, 2, 8, None, 1.0), (3, 4, 7, 8, 4, 6, None, 1.0), (1, 1, 1, 6, 3, 2, None, 1.0),
             (1, 5, 2, 4, 1, 9, None, 1.0), (2, 3, 3, 12, 2, 12, None, 1.0))  # fmt: skip
    compare_blocks(
        CrossAttention,
        cases,
        seed=12,
        says="With random parameters it must equal its formula.",
        slips=[name for name in look_mistakes(2) if name not in MASKING],
    )


@pytest.mark.exercise("E6.6", points=1)
def test_does_not_see_padding(CrossAttention):
    two = torch.tensor([[True, True, False, False, False], [True, True, True, True, False]])
    three = torch.tensor([[False, True, True], [True, False, False], [True, True, True]])
    cases = ((2, 6, 5, 8, 2, 8, two, 1.0), (3, 4, 3, 8, 2, 8, three, 1.0), (2, 6, 5, 8, 2, 8, two, 1e5),
             (1, 3, 5, 8, 4, 6, two[:1], 1.0))  # fmt: skip
    compare_blocks(
        CrossAttention,
        cases,
        seed=40,
        says="Where mask is False stands padding: no pixel may look there, and rows of P sum to 1; tried ordinary "
        "logits and some of 100000.",
        slips=MASKING,
    )


@pytest.mark.exercise("E6.6", points=1)
def test_teaches_pixels_and_words(CrossAttention):
    block = CrossAttention.construct(8, 2, 8)
    state = {name: value.double() for name, value in filled(block, 8, 8, seed=15).items()}
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
            mistakes={"Q is detached": cotangent} if name == "x" else {"K and V are detached": torch.zeros_like(one)},
            rtol=1e-2,
            atol=1e-3,
        )


def hidden(rows, columns, i, j, late=0):
    """True where key j + c comes after query i + r, by counting."""
    return torch.tensor([[j + c > i + r - late for c in range(columns)] for r in range(rows)])


def hiding(where, fill=-torch.inf):
    """A rule for what is hidden, where(s, i, j, causal, mask), as a whole answer."""
    return lambda s, i, j, causal, mask: torch.where(where(s, i, j, causal, mask), fill, s)


def future(s, i, j, causal, mask, late=0):
    return hidden(len(s), s.shape[1], i, j, late) & causal


def padded(s, i, j, causal, mask):
    rows, columns = s.shape
    return (torch.zeros(columns, dtype=torch.bool) if mask is None else ~mask[j : j + columns]).expand(rows, columns)


def unseen(s, i, j, causal, mask):
    return future(s, i, j, causal, mask) | padded(s, i, j, causal, mask)


HIDE_MISTAKES = {
    "the tile's corner (i, j) is forgotten": hiding(
        lambda s, i, j, c, m: future(s, 0, 0, c, m) | padded(s, i, j, c, m)
    ),
    "a query may see itself: the diagonal is hidden too": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m, 1) | padded(s, i, j, c, m)
    ),
    "the past is hidden, not the future": hiding(
        lambda s, i, j, c, m: (~hidden(len(s), s.shape[1], i, j, 1) & c) | padded(s, i, j, c, m)
    ),
    "i and j are swapped": hiding(lambda s, i, j, c, m: future(s, j, i, c, m) | padded(s, i, j, c, m)),
    "0 instead of -inf: exp(0) is 1": hiding(unseen, 0.0),
    "-10000 instead of -inf": hiding(unseen, -1e4),
    "-1e9 instead of -inf": hiding(unseen, -1e9),
    "the smallest finite number instead of -inf": lambda s, *given: hiding(unseen, torch.finfo(s.dtype).min)(s, *given),
    "NaN instead of -inf": hiding(unseen, torch.nan),
    "+inf instead of -inf": hiding(unseen, torch.inf),
    "one key of the future is still seen": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m, -1) | padded(s, i, j, c, m)
    ),
    "j is forgotten in causal": hiding(lambda s, i, j, c, m: future(s, i, 0, c, m) | padded(s, i, j, c, m)),
    "i is forgotten in causal": hiding(lambda s, i, j, c, m: future(s, 0, j, c, m) | padded(s, i, j, c, m)),
    "only a query's own key is seen": hiding(
        lambda s, i, j, c, m: (
            ((future(s, i, j, c, m) | ~hidden(len(s), s.shape[1], i, j, 1)) & c) | padded(s, i, j, c, m)
        )
    ),
    "nothing is hidden": lambda s, i, j, causal, mask: s,
    "i and j are the places of the corner in S, not numbers of tiles": hiding(
        lambda s, i, j, c, m: future(s, i * len(s), j * s.shape[1], c, m) | padded(s, i, j, c, m)
    ),
    "a tile that is hidden as a whole is returned as it is": lambda s, *given: (
        s if unseen(s, *given).all() else hiding(unseen)(s, *given)
    ),
    "the corners alone are compared: a tile may be hidden in part wherever it is": hiding(
        lambda s, i, j, c, m: (
            (torch.full(s.shape, j > i) if j != i else future(s, i, j, c, m)) & c | padded(s, i, j, c, m)
        )
    ),
    "only tiles on the diagonal, i = j, are looked at": hiding(
        lambda s, i, j, c, m: future(s, i, j, c and i == j, m) | padded(s, i, j, c, m)
    ),
    "the mask is cut at i, not at j": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m) | padded(s, j, j if m is None else i, c, m)
    ),
    "returns which are hidden, not the tile": unseen,
    "softmax is taken: that comes later": lambda *given: hiding(unseen)(*given).softmax(-1),
    "the last keys of the mask, not those of the tile": hiding(
        lambda s, i, j, c, m: (
            future(s, i, j, c, m) | (padded(s, i, j, c, m) if m is None else padded(s, i, len(m) - s.shape[1], c, m))
        )
    ),
    "causal is not used": hiding(padded),
    "hides the future although causal is False": hiding(
        lambda s, i, j, c, m: hidden(len(s), s.shape[1], i, j) | padded(s, i, j, c, m)
    ),
    "the mask is not cut to this tile's keys": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m) | padded(s, i, 0, c, m)
    ),
    "the mask is inverted": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m) | padded(s, i, j, c, None if m is None else ~m)
    ),
    "the mask hides rows instead of columns": hiding(
        lambda s, i, j, c, m: (
            future(s, i, j, c, m) if m is None else future(s, i, j, c, m) | ~m[i : i + len(s), None].expand_as(s)
        )
    ),
    "the mask is not used": hiding(future),
    "causal is not used once there is a mask": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m) if m is None else padded(s, i, j, c, m)
    ),
    "the mask is not used once causal is True": hiding(
        lambda s, i, j, c, m: future(s, i, j, c, m) if c else padded(s, i, j, c, m)
    ),
    "only what both rules hide is hidden: `or`, not `and`": hiding(
        lambda s, i, j, c, m: (
            unseen(s, i, j, c, m) if m is None or not c else future(s, i, j, c, m) & padded(s, i, j, c, m)
        )
    ),
}


def without_nan(hide_tile):
    """The answer, unless it has NaN where nothing is hidden: 0 times -inf."""

    def checked(s, i, j, causal, mask):
        out = hide_tile(s, i, j, causal, mask)
        if isinstance(out, torch.Tensor) and out.shape == s.shape:
            lost = out.isnan() & ~unseen(s, i, j, causal, mask)
            says = "NaN where a key may be seen: 0 times -inf is NaN. masked_fill leaves those numbers as they are."
            require(not lost.any(), says)
        return out

    return checked


def tile_of(rows, columns, seed):
    return draws((rows, columns), seed=seed, dtype=torch.float32 if seed % 2 else torch.float64)[0]


@pytest.mark.exercise("E6.7", points=2)
def test_hides_the_future(hide_tile):
    tiles = ((3, 5, 6, 4), (4, 4, 0, 0), (4, 3, 8, 0), (2, 4, 2, 9), (5, 4, 3, 5), (1, 1, 3, 3), (1, 6, 2, 0))
    inputs = [(tile_of(r, c, 60 + k), i, j, True, None) for k, (r, c, i, j) in enumerate(tiles)]
    inputs.append((tile_of(5, 4, 70), 3, 5, False, None))
    agree(
        without_nan(hide_tile),
        hiding(unseen),
        inputs,
        says="Query i + r may see the keys 0 .. i + r and no other; without causal and mask nothing is hidden.",
        mistakes=HIDE_MISTAKES,
    )


@pytest.mark.exercise("E6.7", points=1)
def test_hides_padding(hide_tile):
    mask = torch.tensor([True, False, True, True, False, True, True, False, False, True])
    tiles = ((3, 4, 1, 4, False), (3, 3, 0, 0, False), (4, 4, 3, 4, True), (5, 2, 0, 8, False), (1, 1, 4, 7, False))
    agree(
        without_nan(hide_tile),
        hiding(unseen),
        [(tile_of(r, c, 80 + k), i, j, causal, mask) for k, (r, c, i, j, causal) in enumerate(tiles)],
        says="mask, one entry for each key of all, is True for those that may be seen.",
        mistakes=HIDE_MISTAKES,
    )


def dense_gradients(q, k, v, d_o):
    """(O, log-sum-exp, dQ, dK, dV) by autograd."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2])
    return out.detach(), torch.logsumexp(q @ k.T / math.sqrt(q.shape[1]), 1), *torch.autograd.grad(out, leaves, d_o)


def back(q, k, v, d_o, lse, row_dot, slip=""):
    """One tile's gradients, with one slip."""
    c, d = 1 / (q.shape[1] if slip == "by d" else math.sqrt(q.shape[1])), row_dot[:, None]
    c = {"by e": v.shape[1] ** -0.5, "by keys": len(k) ** -0.5}.get(slip, c)
    d = row_dot if slip == "D in columns" else d
    s = q @ k.T * (1 if slip == "raw" else c)
    less = {"no L": 0, "plus L": -lse[:, None], "scaled L": c * lse[:, None], "L in columns": lse}
    p = torch.softmax(s, 1) if slip == "own softmax" else torch.exp(s - less.get(slip, lse[:, None]))
    d_p = d_o @ v.T
    d_s = p * (d_p - d)
    if slip == "linear":
        d_s = (s - lse[:, None]) * (d_p - d)
        p = s - lse[:, None]
    if slip == "divided":
        p = torch.exp(s) / lse[:, None]
        d_s = p * (d_p - d)
    if slip in ("twice D", "minus", "mean D", "sigmoid", "tile D"):
        d_s = {
            "twice D": p * (d_p - 2 * d), "minus": -p * (d_p - d), "mean D": p * (d_p - d.mean()),
            "sigmoid": p * (1 - p) * d_p, "tile D": p * (d_p - (p * d_p).sum(1, keepdim=True)),
        }[slip]  # fmt: skip
    if slip in ("no D", "brackets", "plus", "no P"):
        d_s = {"no D": p * d_p, "brackets": p * d_p - d, "plus": p * (d_p + d), "no P": d_p - d}[slip]
    to_q, to_k = (1 if slip in ("no scale", side) else c for side in ("no scale in dQ", "no scale in dK"))
    turned = d_s if slip == "untransposed" else d_s.T
    to_v = c if slip == "scaled dV" else 1
    to_q, to_k = {"twice scaled": (c * c, c * c), "multiplied": (1 / c, 1 / c)}.get(slip, (to_q, to_k))
    from_q = d_p if slip == "dQ of dP" else d_s
    turned = p.T if slip == "dK of P" else turned
    down = {"dV untransposed": p, "dV of dS": d_s.T}.get(slip, p.T)
    found = to_q * from_q @ k, to_k * turned @ q, to_v * down @ d_o
    return [found[n] for n in ORDERS.get(slip, (0, 1, 2))]


ORDERS = {"dq, dv, dk": (0, 2, 1), "dv, dk, dq": (2, 1, 0), "dk, dq, dv": (1, 0, 2), "dk, dv, dq": (1, 2, 0),
          "dv, dq, dk": (2, 0, 1)}  # fmt: skip
BACKWARD = {
    "P is the softmax of the tile alone, not exp(S~ - log_sum_exp)": "own softmax",
    "log_sum_exp is not subtracted: exp(S~) is not P yet": "no L",
    "forgotten 1/sqrt(d) in S~": "raw",
    "divided by d instead of sqrt(d)": "by d",
    "1/sqrt(width of V) instead of 1/sqrt(d)": "by e",
    "1/sqrt(number of keys) instead of 1/sqrt(d)": "by keys",
    "log_sum_exp is added: exp(S~ - log_sum_exp)": "plus L",
    "log_sum_exp is divided by sqrt(d), but it is of S~ already": "scaled L",
    "log_sum_exp belongs to rows: it needs an axis behind": "L in columns",
    "D belongs to rows: it needs an axis behind": "D in columns",
    "dQ is made of dP, not of dS~": "dQ of dP",
    "dK is made of P, not of dS~": "dK of P",
    "dV is made of dS~, not of P": "dV of dS",
    "D is forgotten": "no D",
    "D is added: dS~ = P (dP - D)": "plus",
    "D is subtracted outside the brackets: dS~ = P (dP - D)": "brackets",
    "dS~ is not multiplied by P": "no P",
    "the exponential is missing: S~ - log_sum_exp is log P": "linear",
    "divided by log_sum_exp, which is a logarithm: exp(S~ - log_sum_exp)": "divided",
    "D counts twice": "twice D",
    "the sign of dS~": "minus",
    "one D for all rows": "mean D",
    "p (1 - p) is the sigmoid's slope, not softmax's": "sigmoid",
    "D of this tile's keys alone: it is given, from all keys": "tile D",
    "1/sqrt(d) twice in the backward pass": "twice scaled",
    "sqrt(d) for 1/sqrt(d) in the backward pass": "multiplied",
    "dV has no factor 1/sqrt(d)": "scaled dV",
    "forgotten 1/sqrt(d) in the backward pass": "no scale",
    "forgotten 1/sqrt(d) in dQ": "no scale in dQ",
    "forgotten 1/sqrt(d) in dK": "no scale in dK",
    "dK = dS~ Q: the transpose is missing": "untransposed",
    "dV = P dO: the transpose is missing": "dV untransposed",
    "dK and dV are swapped: the order is dQ, dK, dV": "dq, dv, dk",
    "dQ and dV are swapped: the order is dQ, dK, dV": "dv, dk, dq",
    "dQ and dK are swapped: the order is dQ, dK, dV": "dk, dq, dv",
    "the order is dQ, dK, dV, not dK, dV, dQ": "dk, dv, dq",
    "the order is dQ, dK, dV, not dV, dQ, dK": "dv, dq, dk",
}
GRADIENTS = ("dQ", "dK", "dV")


def gradient_tiles():
    """Tiles of several sizes, and one in which all tensors have one shape; and autograd's gradients, by tile."""
    inputs, rights = [], {}
    for k, (n, m, d, e, tile) in enumerate(((5, 5, 5, 5, 5), (6, 7, 4, 3, 3), (6, 7, 4, 3, 7), (1, 2, 1, 1, 1))):
        q, keys, v, d_o = draws((n, d), (m, d), (m, e), (n, e), seed=90 + k, size=2.0)
        out, lse, *_ = dense_gradients(q, keys, v, d_o)
        for j in range(0, m, tile):
            given = q, keys[j : j + tile], v[j : j + tile], d_o, lse, (d_o * out).sum(1)
            inputs.append(given)
            rights[id(given[1])] = tile_gradients(q, keys, v, d_o, slice(j, j + tile))
    return inputs, rights


def tile_gradients(q, k, v, d_o, here):
    """By autograd: what the keys `here` add to dQ, and their own dK and dV."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    s = q @ k.T / math.sqrt(q.shape[1])
    through = torch.zeros(len(k), dtype=torch.bool)
    through[here] = True
    cut_off = torch.where(through, s, s.detach())  # as if only the tile's logits depended on anything
    d_q = torch.autograd.grad(torch.softmax(cut_off, 1) @ v.detach(), q, d_o, retain_graph=True)[0]
    d_k, d_v = torch.autograd.grad(torch.softmax(s, 1) @ v, (k, v), d_o)
    return d_q, d_k[here], d_v[here]


def part_of(tile_backward, rights, n):
    """One of the three gradients, once the form of all is right."""

    def checked(q, k, v, d_o, log_sum_exp, row_dot):
        got = tile_backward(q, k, v, d_o, log_sum_exp, row_dot)
        named_order(got, (q, k, v))
        return same_form(got, rights[id(k)], GRADIENTS)[n]

    return checked


def named_order(got, like):
    """Fail with the order where three shapes are those of dQ, dK and dV in another order."""
    shapes = [tuple(getattr(each, "shape", ())) for each in got]
    want = [tuple(each.shape) for each in like]
    if shapes == want or not isinstance(got, tuple | list) or len(got) != 3:
        return
    orders = {tuple(want[n] for n in order): name for name, order in ORDERS.items()}
    found = orders.get(tuple(shapes))
    name = next((name for name, slip in BACKWARD.items() if slip == found), "")
    require(found is None, f"Judging by the shapes of your three values: {name}.")


@pytest.mark.exercise("E6.8", points=2)
def test_gives_the_values_their_gradient(tile_backward):
    inputs, rights = gradient_tiles()
    agree(
        part_of(tile_backward, rights, 2),
        lambda q, k, v, d_o, log_sum_exp, row_dot: rights[id(k)][2],
        inputs,
        says="dV of each tile must be autograd's, in rows of this tile's values: P^T dO.",
        mistakes={name: lambda *given, slip=slip: back(*given, slip=slip)[2] for name, slip in BACKWARD.items()},
        rtol=1e-7,
        atol=1e-9,
    )


@pytest.mark.exercise("E6.8", points=3)
def test_gives_queries_and_keys_their_gradients(tile_backward):
    inputs, rights = gradient_tiles()
    agree(
        lambda *given: tuple(part_of(tile_backward, rights, n)(*given) for n in (0, 1)),
        lambda q, k, v, d_o, log_sum_exp, row_dot: rights[id(k)][:2],
        inputs,
        says="dQ and dK of each tile must be autograd's: this tile's share of dQ, and the dK of its keys.",
        mistakes={
            name: lambda *given, slip=slip: tuple(back(*given, slip=slip)[:2]) for name, slip in BACKWARD.items()
        },
        rtol=1e-7,
        atol=1e-9,
        names=GRADIENTS[:2],
    )


def by_softmax(q, k, v, tile):
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


def in_double(q, k, v, tile):
    return walk(q.double(), k.double(), v.double(), tile)[0].to(q.dtype)


def slipped(slip):
    return lambda q, k, v, tile: walk(q, k, v, tile, slip)[0]


def rest_of_queries(q, k, v, tile):
    out = by_softmax(q, k, v, tile)
    out[len(q) // tile * tile :] = 0
    return out


RIGHT_TILES = {
    "softmax(Q K^T / sqrt(d)) V in one piece": by_softmax,
    "the tiles computed in float64": in_double,
    "the tiles of E6.4": lambda q, k, v, tile: walk(q, k, v, tile)[0],
}
WRONG_TILES = {
    "averages the values, whatever Q and K are": lambda q, k, v, tile: v.mean(0).expand(len(q), -1).clone(),
    "forgotten 1/sqrt(d)": slipped("no scale"),
    "no max subtraction": slipped("no max"),
    "works only for tile sizes that divide the number of keys": slipped("drops the rest"),
    "missing rescale of O": slipped("o"),
    "missing rescale of l": slipped("l"),
    "each tile is divided by its own sum": slipped("own sum"),
    "softmax over columns": lambda q, k, v, tile: torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 0) @ v,
    "works only for tile sizes that divide the number of queries": rest_of_queries,
    "m starts at 0: NaN where all logits are very negative": slipped("m at 0"),
    "O is divided by l after every tile": slipped("divided in the loop"),
    "sees the first tile only": lambda q, k, v, tile: walk(q, k[:tile], v[:tile], tile)[0],
}


@pytest.mark.exercise("E6.9", points=2)
def test_accepts_right_tiles_and_rejects_the_crude_ones(test_tiles):
    crude = ("averages the values, whatever Q and K are", "sees the first tile only")
    run_against(test_tiles, RIGHT_TILES, {name: WRONG_TILES[name] for name in crude})


@pytest.mark.exercise("E6.9", points=3)
def test_rejects_the_subtle_tiles_too(test_tiles):
    run_against(test_tiles, RIGHT_TILES, WRONG_TILES, seed=1)
