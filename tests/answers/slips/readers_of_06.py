"""Slips of another reader of 06, by exercise, and the names that the checks print for them; all are rejected.

Most are a right answer with some of its text exchanged, as a student exchanges it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def written(name, text):
    """What this text defines under the name."""
    space = {"math": math, "torch": torch, "F": F, "nn": nn}
    exec(text, space)
    return space[name]


def body(name, arguments):
    """A way to write functions of this name by their bodies."""

    def of(*lines):
        return written(name, f"def {name}({arguments}):\n" + "\n".join(f"    {line}" for line in lines))

    return of


def edited(name, text):
    """A way to write the right answer with some of its text exchanged."""

    def of(*changes):
        new = text
        for old, instead in changes:
            assert old in new, old
            new = new.replace(old, instead)
        return written(name, new)

    return of


SLIPS = {}
scaled_attention = body("scaled_attention", "q, k, v")
SLIPS["E6.1"] = {
    "k.T on last two of 2d only (k.T)": scaled_attention(
        "return torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), -1) @ v"
    ),
    "root of the number of keys": scaled_attention("return torch.softmax(q @ k.mT / math.sqrt(k.shape[-2]), -1) @ v"),
    "root of the number of queries": scaled_attention("return torch.softmax(q @ k.mT / math.sqrt(len(q)), -1) @ v"),
    "root of v's width": scaled_attention("return torch.softmax(q @ k.mT / math.sqrt(v.shape[-1]), -1) @ v"),
    "scale after softmax": scaled_attention("return torch.softmax(q @ k.mT, -1) / math.sqrt(q.shape[-1]) @ v"),
    "scales O": scaled_attention("return torch.softmax(q @ k.mT, -1) @ v / math.sqrt(q.shape[-1])"),
    "times root": scaled_attention("return torch.softmax(q @ k.mT * math.sqrt(q.shape[-1]), -1) @ v"),
    "softmax dim=1": scaled_attention("return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=1) @ v"),
    "softmax dim=0": scaled_attention("return torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=0) @ v"),
    "hard-coded 8": scaled_attention("return torch.softmax(q @ k.mT / 8, -1) @ v"),
    "both q and k divided by root d": scaled_attention(
        "r = math.sqrt(q.shape[-1])", "return torch.softmax((q / r) @ (k / r).mT, -1) @ v"
    ),
    "scales twice (sdpa of scaled q)": scaled_attention(
        "return F.scaled_dot_product_attention(q / math.sqrt(q.shape[-1]), k, v)"
    ),
    "naive exp without division": scaled_attention("return torch.exp(q @ k.mT / math.sqrt(q.shape[-1])) @ v"),
    "in place on q": scaled_attention("q /= math.sqrt(q.shape[-1])", "return torch.softmax(q @ k.mT, -1) @ v"),
    "log_softmax": scaled_attention("return torch.log_softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v"),
    "float32 cast": scaled_attention(
        "s = (q.float() @ k.float().mT) / math.sqrt(q.shape[-1])", "return torch.softmax(s, -1) @ v.float()"
    ),
    "returns P too": scaled_attention("p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)", "return p @ v, p"),
    "causal by mistake": scaled_attention(
        "s = q @ k.mT / math.sqrt(q.shape[-1])",
        "s = s.masked_fill(torch.ones_like(s).triu(1).bool(), -math.inf)",
        "return s.softmax(-1) @ v",
    ),
    "sigmoid": scaled_attention("return torch.sigmoid(q @ k.mT / math.sqrt(q.shape[-1])) @ v"),
    "keys and queries swapped": scaled_attention("return torch.softmax(k @ q.mT / math.sqrt(q.shape[-1]), -1) @ v"),
    "keys queries swapped, transposed back, softmax over queries": scaled_attention(
        "return torch.softmax(k @ q.mT / math.sqrt(q.shape[-1]), -1).mT @ v"
    ),
    "flatten all batch into one": scaled_attention(
        "s = q.reshape(-1, q.shape[-1]) @ k.reshape(-1, k.shape[-1]).T / math.sqrt(q.shape[-1])",
        "return (s.softmax(-1) @ v.reshape(-1, v.shape[-1])).reshape(*q.shape[:-1], v.shape[-1])",
    ),
    "no return": scaled_attention("o = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v"),
    "naive exp overflow": scaled_attention(
        "f = torch.exp(q @ k.mT / math.sqrt(q.shape[-1]))", "return f / f.sum(-1, keepdim=True) @ v"
    ),
    "numpy": scaled_attention(
        "return torch.from_numpy(torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1).detach().numpy() @ "
        "v.detach().numpy())"
    ),
}

softmax_pieces = body("softmax_pieces", "x")
SLIPS["E6.2"] = {
    "no keepdim": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m[..., 0], f, f.sum(-1)"
    ),
    "l without keepdim": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1)"
    ),
    "global max": softmax_pieces(
        "m = x.max()", "f = torch.exp(x - m)", "return m.expand(*x.shape[:-1], 1), f, f.sum(-1, keepdim=True)"
    ),
    "max over dim 0": softmax_pieces(
        "m = x.amax(0, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(0, keepdim=True)"
    ),
    "abs max": softmax_pieces(
        "m = x.abs().amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "max clamped at 0": softmax_pieces(
        "m = x.amax(-1, keepdim=True).clamp(min=0)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "f already divided": softmax_pieces(
        "m = x.amax(-1, keepdim=True)",
        "f = torch.softmax(x, -1)",
        "return m, f, torch.exp(x - m).sum(-1, keepdim=True)",
    ),
    "f is softmax l is its sum": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.softmax(x, -1)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "l of exp x": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "return m, torch.exp(x - m), torch.exp(x).sum(-1, keepdim=True)"
    ),
    "f without max": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "m minus x": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(m - x)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "order f l m": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return f, f.sum(-1, keepdim=True), m"
    ),
    "order m l f": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f.sum(-1, keepdim=True), f"
    ),
    "argmax": softmax_pieces(
        "m = x.argmax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "max returns pair": softmax_pieces(
        "m = x.max(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "mean in place of max": softmax_pieces(
        "m = x.mean(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "min in place of max": softmax_pieces(
        "m = x.amin(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "x in place": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "x -= m", "f = x.exp()", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "mean l": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.mean(-1, keepdim=True)"
    ),
    "log l": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True).log()"
    ),
    "log-sum-exp as l": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, m + f.sum(-1, keepdim=True).log()"
    ),
    "float32 computing": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp((x - m).float())", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "2**": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp2(x - m)", "return m, f, f.sum(-1, keepdim=True)"
    ),
    "l - 1 (leaves the max out)": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True) - 1"
    ),
    "2d only dim=1": softmax_pieces(
        "m = x.amax(1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(1, keepdim=True)"
    ),
    "l eps": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "return m, f, f.sum(-1, keepdim=True) + 1e-6"
    ),
    "returns softmax only": softmax_pieces("return torch.softmax(x, -1)"),
    "softmax as fourth": softmax_pieces(
        "m = x.amax(-1, keepdim=True)", "f = torch.exp(x - m)", "l = f.sum(-1, keepdim=True)", "return m, f, l, f / l"
    ),
}

merge_blocks = body("merge_blocks", "a, b")
SLIPS["E6.3"] = {
    "plain sums": merge_blocks("ma, la, oa = a", "mb, lb, ob = b", "return torch.maximum(ma, mb), la + lb, oa + ob"),
    "o not rescaled": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, oa + ob",
    ),
    "l not rescaled": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, la + lb, fa * oa + fb * ob",
    ),
    "sign of exponent": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(m - ma), torch.exp(m - mb)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "factors swapped": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fb * la + fa * lb, fb * oa + fa * ob",
    ),
    "only old rescaled, new not": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa = torch.exp(ma - m)",
        "return m, fa * la + lb, fa * oa + ob",
    ),
    "only new rescaled": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fb = torch.exp(mb - m)",
        "return m, la + fb * lb, oa + fb * ob",
    ),
    "o divided by l": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "l = fa * la + fb * lb",
        "return m, l, (fa * oa + fb * ob) / l",
    ),
    "o as if divided before": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "l = fa * la + fb * lb",
        "return m, l, fa * la * oa + fb * lb * ob",
    ),
    "global max of rows": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.max(ma.max(), mb.max()).expand_as(ma)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "python if on rows (all)": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "if (ma > mb).all():",
        "    f = torch.exp(mb - ma)",
        "    return ma, la + f * lb, oa + f * ob",
        "f = torch.exp(ma - mb)",
        "return mb, lb + f * la, ob + f * oa",
    ),
    "max sum of m": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = ma + mb",
        ("return m, torch.exp(ma - m) * la + torch.exp(mb - m) * lb, torch.exp(ma - m) * oa + torch.exp(mb - m) * ob"),
    ),
    "minimum": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.minimum(ma, mb)",
        ("return m, torch.exp(ma - m) * la + torch.exp(mb - m) * lb, torch.exp(ma - m) * oa + torch.exp(mb - m) * ob"),
    ),
    "in place on a": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "la *= torch.exp(ma - m)",
        "oa *= torch.exp(ma - m)",
        "return m, la + torch.exp(mb - m) * lb, oa + torch.exp(mb - m) * ob",
    ),
    "raw exp of m (overflows)": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        (
            "return m, (torch.exp(ma) * la + torch.exp(mb) * lb) / torch.exp(m), (torch.exp(ma) * oa + "
            "torch.exp(mb) * ob) / torch.exp(m)"
        ),
    ),
    "returns list order l m o": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return fa * la + fb * lb, m, fa * oa + fb * ob",
    ),
    "m keeps a's": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "fa, fb = torch.exp(ma - ma), torch.exp(mb - ma)",
        "return ma, la + fb * lb, oa + fb * ob",
    ),
    "clamps -inf to 0": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "ma, mb = (x.masked_fill(x.isinf(), 0) for x in (ma, mb))",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "if la.sum() == 0 return a (wrong one)": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "if (la == 0).all():",
        "    return a",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "m squeezed": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m[:, 0], (fa * la + fb * lb)[:, 0], fa * oa + fb * ob",
    ),
    "log-sum-exp as m": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.logaddexp(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "mean of m": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = (ma + mb) / 2",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa * la + fb * lb, fa * oa + fb * ob",
    ),
    "weights normalised": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "s = fa + fb",
        "return m, (fa * la + fb * lb) / s, (fa * oa + fb * ob) / s",
    ),
    "l rescaled twice": merge_blocks(
        "ma, la, oa = a",
        "mb, lb, ob = b",
        "m = torch.maximum(ma, mb)",
        "fa, fb = torch.exp(ma - m), torch.exp(mb - m)",
        "return m, fa**2 * la + fb**2 * lb, fa * oa + fb * ob",
    ),
    "concats": merge_blocks(
        "ma, la, oa = a", "mb, lb, ob = b", "return torch.maximum(ma, mb), torch.cat([la, lb]), torch.cat([oa, ob])"
    ),
}

attention_in_tiles_edited = edited(
    "attention_in_tiles",
    """def attention_in_tiles(q, k, v, tile):
    outs, lses = [], []
    d = q.shape[1]
    for qs in q.split(tile):
        n = len(qs)
        m = q.new_full((n, 1), -math.inf)
        l = q.new_zeros(n, 1)
        o = q.new_zeros(n, v.shape[1])
        for ks, vs in zip(k.split(tile), v.split(tile)):
            s = qs @ ks.T / math.sqrt(d)
            mb = s.amax(1, keepdim=True)
            new = torch.maximum(m, mb)
            f = torch.exp(s - new)
            w = torch.exp(m - new)
            l = w * l + f.sum(1, keepdim=True)
            o = w * o + f @ vs
            m = new
        outs.append(o / l)
        lses.append((m + l.log())[:, 0])
    return torch.cat(outs), torch.cat(lses)
""",
)
SLIPS["E6.4"] = {
    "whole S": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    s = q @ k.T / math.sqrt(q.shape[1])\n"
            "    return s.softmax(1) @ v, s.logsumexp(1)"
        ),
    ),
    "only queries in tiles": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    o, l = [], []\n"
            "    for qs in q.split(tile):\n"
            "        s = qs @ k.T / math.sqrt(q.shape[1])\n"
            "        o.append(s.softmax(1) @ v); l.append(s.logsumexp(1))\n"
            "    return torch.cat(o), torch.cat(l)"
        ),
    ),
    "only keys in tiles": attention_in_tiles_edited(("for qs in q.split(tile):", "for qs in [q]:")),
    "no scale": attention_in_tiles_edited(("s = qs @ ks.T / math.sqrt(d)", "s = qs @ ks.T")),
    "divides by d": attention_in_tiles_edited(("math.sqrt(d)", "d")),
    "root of tile": attention_in_tiles_edited(("math.sqrt(d)", "math.sqrt(tile)")),
    "root of len(k)": attention_in_tiles_edited(("math.sqrt(d)", "math.sqrt(len(k))")),
    "o not rescaled": attention_in_tiles_edited(("o = w * o + f @ vs", "o = o + f @ vs")),
    "l not rescaled": attention_in_tiles_edited(("l = w * l + f", "l = l + f")),
    "neither rescaled": attention_in_tiles_edited(
        ("o = w * o + f @ vs", "o = o + f @ vs"), ("l = w * l + f", "l = l + f")
    ),
    "w inverted": attention_in_tiles_edited(("w = torch.exp(m - new)", "w = torch.exp(new - m)")),
    "m not updated": attention_in_tiles_edited(("            m = new\n", "")),
    "f with the tile's own max": attention_in_tiles_edited(("f = torch.exp(s - new)", "f = torch.exp(s - mb)")),
    "o not divided": attention_in_tiles_edited(("outs.append(o / l)", "outs.append(o)")),
    "lse: log l only": attention_in_tiles_edited(("(m + l.log())[:, 0]", "l.log()[:, 0]")),
    "lse: m - log l": attention_in_tiles_edited(("m + l.log()", "m - l.log()")),
    "lse: m + l": attention_in_tiles_edited(("m + l.log()", "m + l")),
    "lse shape (N,1)": attention_in_tiles_edited(("(m + l.log())[:, 0]", "m + l.log()")),
    "lse log2": attention_in_tiles_edited(("l.log()", "l.log2()")),
    "m starts at 0": attention_in_tiles_edited(("q.new_full((n, 1), -math.inf)", "q.new_zeros(n, 1)")),
    "m starts at -1e4": attention_in_tiles_edited(("-math.inf", "-1e4")),
    "m starts at -1e9": attention_in_tiles_edited(("-math.inf", "-1e9")),
    "o width of q": attention_in_tiles_edited(("v.shape[1]", "d")),
    "detached tile s": attention_in_tiles_edited(
        ("s = qs @ ks.T / math.sqrt(d)", "s = (qs @ ks.T / math.sqrt(d)).detach()")
    ),
    "drops last tile": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    outs, lses = [], []\n"
            "    d = q.shape[1]\n"
            "    for qs in q.split(tile):\n"
            "        n = len(qs)\n"
            "        m = q.new_full((n, 1), -math.inf)\n"
            "        l = q.new_zeros(n, 1)\n"
            "        o = q.new_zeros(n, v.shape[1])\n"
            "        for j in range(0, len(k) // tile * tile, tile):\n"
            "            ks, vs = k[j:j + tile], v[j:j + tile]\n"
            "            s = qs @ ks.T / math.sqrt(d)\n"
            "            mb = s.amax(1, keepdim=True)\n"
            "            new = torch.maximum(m, mb)\n"
            "            f = torch.exp(s - new)\n"
            "            w = torch.exp(m - new)\n"
            "            l = w * l + f.sum(1, keepdim=True)\n"
            "            o = w * o + f @ vs\n"
            "            m = new\n"
            "        outs.append(o / l)\n"
            "        lses.append((m + l.log())[:, 0])\n"
            "    return torch.cat(outs), torch.cat(lses)"
        ),
    ),
    "drops last tile of queries": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    outs, lses = [], []\n"
            "    d = q.shape[1]\n"
            "    for i in range(0, len(q) // tile * tile, tile):\n"
            "        qs = q[i:i + tile]\n"
            "        n = len(qs)\n"
            "        m = q.new_full((n, 1), -math.inf)\n"
            "        l = q.new_zeros(n, 1)\n"
            "        o = q.new_zeros(n, v.shape[1])\n"
            "        for ks, vs in zip(k.split(tile), v.split(tile)):\n"
            "            s = qs @ ks.T / math.sqrt(d)\n"
            "            mb = s.amax(1, keepdim=True)\n"
            "            new = torch.maximum(m, mb)\n"
            "            f = torch.exp(s - new)\n"
            "            w = torch.exp(m - new)\n"
            "            l = w * l + f.sum(1, keepdim=True)\n"
            "            o = w * o + f @ vs\n"
            "            m = new\n"
            "        outs.append(o / l)\n"
            "        lses.append((m + l.log())[:, 0])\n"
            "    return torch.cat(outs), torch.cat(lses)"
        ),
    ),
    "len(k)//tile chunks": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    outs, lses = [], []\n"
            "    d = q.shape[1]\n"
            "    for qs in q.split(tile):\n"
            "        n = len(qs)\n"
            "        m = q.new_full((n, 1), -math.inf)\n"
            "        l = q.new_zeros(n, 1)\n"
            "        o = q.new_zeros(n, v.shape[1])\n"
            "        for ks, vs in zip(k.chunk(max(len(k) // tile, 1)), v.chunk(max(len(k) // tile, 1))):\n"
            "            s = qs @ ks.T / math.sqrt(d)\n"
            "            mb = s.amax(1, keepdim=True)\n"
            "            new = torch.maximum(m, mb)\n"
            "            f = torch.exp(s - new)\n"
            "            w = torch.exp(m - new)\n"
            "            l = w * l + f.sum(1, keepdim=True)\n"
            "            o = w * o + f @ vs\n"
            "            m = new\n"
            "        outs.append(o / l)\n"
            "        lses.append((m + l.log())[:, 0])\n"
            "    return torch.cat(outs), torch.cat(lses)"
        ),
    ),
    "split keys by number of queries loop": written(
        "attention_in_tiles",
        (
            "def attention_in_tiles(q, k, v, tile):\n"
            "    outs, lses = [], []\n"
            "    d = q.shape[1]\n"
            "    for qs in q.split(tile):\n"
            "        n = len(qs)\n"
            "        m = q.new_full((n, 1), -math.inf)\n"
            "        l = q.new_zeros(n, 1)\n"
            "        o = q.new_zeros(n, v.shape[1])\n"
            "        for ks, vs in zip(k[:len(q)].split(tile), v[:len(q)].split(tile)):\n"
            "            s = qs @ ks.T / math.sqrt(d)\n"
            "            mb = s.amax(1, keepdim=True)\n"
            "            new = torch.maximum(m, mb)\n"
            "            f = torch.exp(s - new)\n"
            "            w = torch.exp(m - new)\n"
            "            l = w * l + f.sum(1, keepdim=True)\n"
            "            o = w * o + f @ vs\n"
            "            m = new\n"
            "        outs.append(o / l)\n"
            "        lses.append((m + l.log())[:, 0])\n"
            "    return torch.cat(outs), torch.cat(lses)"
        ),
    ),
    "state outside the query loop": attention_in_tiles_edited(
        (
            "    for qs in q.split(tile):\n        n = len(qs)\n        m =",
            (
                "    n = min(tile, len(q))\n"
                "    m, l, o = q.new_full((n, 1), -math.inf), q.new_zeros(n, 1), q.new_zeros(n, v.shape[1])\n"
                "    for qs in q.split(tile):\n"
                "        n = len(qs)\n"
                "        mm ="
            ),
        ),
        ("        l = q.new_zeros(n, 1)\n        o = q.new_zeros(n, v.shape[1])\n", ""),
    ),
    "divided inside": attention_in_tiles_edited(
        ("o = w * o + f @ vs", "o = (w * o + f @ vs) / l"), ("outs.append(o / l)", "outs.append(o)")
    ),
    "clamps logits": attention_in_tiles_edited(
        ("s = qs @ ks.T / math.sqrt(d)", "s = (qs @ ks.T / math.sqrt(d)).clamp(-80, 80)")
    ),
    "eps in l": attention_in_tiles_edited(("outs.append(o / l)", "outs.append(o / (l + 1e-6))")),
    "tile max scalar": attention_in_tiles_edited(("mb = s.amax(1, keepdim=True)", "mb = s.max()")),
    "no max at all": attention_in_tiles_edited(("new = torch.maximum(m, mb)", "new = torch.zeros_like(m)")),
    "only O": attention_in_tiles_edited(("return torch.cat(outs), torch.cat(lses)", "return torch.cat(outs)")),
    "swapped outputs": attention_in_tiles_edited(
        ("return torch.cat(outs), torch.cat(lses)", "return torch.cat(lses), torch.cat(outs)")
    ),
}

numbers_moved = body("numbers_moved", "n, d, rows")
SLIPS["E6.5"] = {
    "floor": numbers_moved("return 2 * n * d + 2 * n * d * (n // rows)"),
    "true division": numbers_moved("return int(2 * n * d + 2 * n * d * n / rows)"),
    "forgets V": numbers_moved("return 2 * n * d + n * d * -(-n // rows)"),
    "forgets O": numbers_moved("return n * d + 2 * n * d * -(-n // rows)"),
    "forgets Q": numbers_moved("return n * d + 2 * n * d * -(-n // rows)"),
    "no Q nor O": numbers_moved("return 2 * n * d * -(-n // rows)"),
    "Q and O every tile": numbers_moved("return 4 * n * d * -(-n // rows)"),
    "K, V once": numbers_moved("return 4 * n * d"),
    "padded last tile": numbers_moved("t = -(-n // rows)", "return 2 * t * rows * d + 2 * n * d * t"),
    "floor + 1": numbers_moved("return 2 * n * d + 2 * n * d * (n // rows + 1)"),
    "S counted": numbers_moved("return 2 * n * d + 2 * n * d * -(-n // rows) + 2 * n * n"),
    "m and l stored": numbers_moved("return 2 * n * d + 2 * n * d * -(-n // rows) + 2 * n"),
    "bytes": numbers_moved("return 4 * (2 * n * d + 2 * n * d * -(-n // rows))"),
    "d squared": numbers_moved("return 2 * n * d * d + 2 * n * d * -(-n // rows)"),
    "float": numbers_moved("return 2 * n * d + 2 * n * d * float(-(-n // rows))"),
    "tensor": numbers_moved("return torch.tensor(2 * n * d + 2 * n * d * -(-n // rows))"),
    "round": numbers_moved("return 2 * n * d + 2 * n * d * round(n / rows)"),
    "O read and written": numbers_moved("return 3 * n * d + 2 * n * d * -(-n // rows)"),
    "O through every tile of keys": numbers_moved("t = -(-n // rows)", "return n * d + 2 * n * d * t + 2 * n * d * t"),
    "keys only rows per tile": numbers_moved("t = -(-n // rows)", "return 2 * n * d + 2 * rows * d * t"),
    "t squared tiles": numbers_moved("t = -(-n // rows)", "return 2 * n * d + 2 * rows * d * t * t"),
    "max(1, floor)": numbers_moved("return 2 * n * d + 2 * n * d * max(1, n // rows)"),
    "no d": numbers_moved("return 2 * n + 2 * n * -(-n // rows)"),
}

CrossAttention_edited = edited(
    "CrossAttention",
    """class CrossAttention(nn.Module):
    def __init__(self, width, heads, context_width):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Linear(width, width)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x, tokens, mask=None):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for t in (self.to_q(x), self.to_k(tokens), self.to_v(tokens)))
        s = q @ k.mT / math.sqrt(q.shape[-1])
        if mask is not None:
            s = s.masked_fill(~mask[:, None, None, :], -math.inf)
        o = (torch.softmax(s, -1) @ v).transpose(1, 2).flatten(2)
        return x + self.to_out(o)
""",
)
SLIPS["E6.6"] = {
    "no residual": CrossAttention_edited(("return x + self.to_out(o)", "return self.to_out(o)")),
    "residual inside: to_out(x+o)": CrossAttention_edited(("return x + self.to_out(o)", "return self.to_out(x + o)")),
    "residual from o": CrossAttention_edited(("return x + self.to_out(o)", "return o + self.to_out(o)")),
    "to_out not zeroed": CrossAttention_edited(
        ("        nn.init.zeros_(self.to_out.weight)\n        nn.init.zeros_(self.to_out.bias)\n", "")
    ),
    "bias not zeroed": CrossAttention_edited(("        nn.init.zeros_(self.to_out.bias)\n", "")),
    "to_out without bias": CrossAttention_edited(
        (
            (
                "nn.Linear(width, width)\n"
                "        nn.init.zeros_(self.to_out.weight)\n"
                "        nn.init.zeros_(self.to_out.bias)"
            ),
            "nn.Linear(width, width, bias=False)\n        nn.init.zeros_(self.to_out.weight)",
        )
    ),
    "q with bias": CrossAttention_edited(
        ("self.to_q = nn.Linear(width, width, bias=False)", "self.to_q = nn.Linear(width, width)")
    ),
    "k from context_width to context_width": CrossAttention_edited(
        ("self.to_k = nn.Linear(context_width, width, bias=False)", "self.to_k = nn.Linear(width, width, bias=False)")
    ),
    "scale by width": CrossAttention_edited(("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1])")),
    "scale by heads": CrossAttention_edited(("math.sqrt(q.shape[-1])", "math.sqrt(self.heads)")),
    "no scale": CrossAttention_edited((" / math.sqrt(q.shape[-1])", "")),
    "scale by d": CrossAttention_edited(("math.sqrt(q.shape[-1])", "q.shape[-1]")),
    "mask inverted": CrossAttention_edited(("~mask[", "mask[")),
    "mask ignored": CrossAttention_edited(("if mask is not None:", "if False:")),
    "mask after softmax (no renorm)": CrossAttention_edited(
        (
            (
                "        if mask is not None:\n"
                "            s = s.masked_fill(~mask[:, None, None, :], -math.inf)\n"
                "        o = (torch.softmax(s, -1) @ v)"
            ),
            (
                "        p = torch.softmax(s, -1)\n"
                "        if mask is not None:\n"
                "            p = p * mask[:, None, None, :]\n"
                "        o = (p @ v)"
            ),
        )
    ),
    "mask with 0 logit": CrossAttention_edited(("-math.inf", "0.0")),
    "mask with -10": CrossAttention_edited(("-math.inf", "-10.0")),
    "mask times S": CrossAttention_edited(
        ("s.masked_fill(~mask[:, None, None, :], -math.inf)", "s * mask[:, None, None, :]")
    ),
    "mask required (crash on None)": CrossAttention_edited(
        ("        if mask is not None:\n            s =", "        s =")
    ),
    "mask of batch 0 only": CrossAttention_edited(("~mask[:, None, None, :]", "~mask[0]")),
    "zeroes v instead of mask": CrossAttention_edited(
        (
            "            s = s.masked_fill(~mask[:, None, None, :], -math.inf)",
            "            v = v * mask[:, None, :, None]",
        )
    ),
    "zeroes tokens instead": CrossAttention_edited(
        (
            "        q, k, v =",
            ("        if mask is not None:\n            tokens = tokens * mask[..., None]\n        q, k, v ="),
        ),
        ("            s = s.masked_fill(~mask[:, None, None, :], -math.inf)", "            pass"),
    ),
    "head last split (d, heads)": CrossAttention_edited(
        ("t.unflatten(-1, (self.heads, -1)).transpose(1, 2)", "t.unflatten(-1, (-1, self.heads)).movedim(-1, 1)")
    ),
    "view without transpose": CrossAttention_edited(
        ("t.unflatten(-1, (self.heads, -1)).transpose(1, 2)", "t.reshape(len(t), self.heads, t.shape[1], -1)"),
        (".transpose(1, 2).flatten(2)", ".reshape(x.shape)"),
    ),
    "merge without transpose": CrossAttention_edited((".transpose(1, 2).flatten(2)", ".reshape(x.shape)")),
    "one head only": CrossAttention_edited(("(self.heads, -1)", "(1, -1)")),
    "softmax over queries": CrossAttention_edited(("torch.softmax(s, -1)", "torch.softmax(s, -2)")),
    "softmax over heads": CrossAttention_edited(("torch.softmax(s, -1)", "torch.softmax(s, 1)")),
    "k from x": CrossAttention_edited(("self.to_k(tokens)", "self.to_k(x)")),
    "v is k": CrossAttention_edited(("self.to_v(tokens)", "self.to_k(tokens)")),
    "in place x": CrossAttention_edited(("return x + self.to_out(o)", "x += self.to_out(o)\n        return x")),
    "names wq": CrossAttention_edited(("to_q", "w_q")),
    "forgets super": CrossAttention_edited(("        super().__init__()\n", "")),
    "to_out twice": CrossAttention_edited(("return x + self.to_out(o)", "return x + self.to_out(self.to_out(o))")),
    "mean over heads": CrossAttention_edited(
        (
            "        o = (torch.softmax(s, -1) @ v).transpose(1, 2).flatten(2)",
            "        o = (torch.softmax(s, -1) @ v).mean(1).repeat(1, 1, self.heads)",
        )
    ),
}

hide_tile_edited = edited(
    "hide_tile",
    """def hide_tile(s, i, j, causal, mask):
    rows, cols = s.shape
    b = torch.arange(j, j + cols)
    a = torch.arange(i, i + rows)[:, None]
    hide = torch.zeros(rows, cols, dtype=torch.bool)
    if causal:
        hide = hide | (b > a)
    if mask is not None:
        hide = hide | ~mask[j:j + cols]
    return s.masked_fill(hide, -math.inf)
""",
)
hide_tile = body("hide_tile", "s, i, j, causal, mask")
SLIPS["E6.7"] = {
    "local indices causal": hide_tile_edited(
        ("torch.arange(j, j + cols)", "torch.arange(cols)"), ("torch.arange(i, i + rows)", "torch.arange(rows)")
    ),
    ">= hides itself": hide_tile_edited(("b > a", "b >= a")),
    "hides earlier": hide_tile_edited(("b > a", "b < a")),
    "i and j swapped": hide_tile_edited(
        ("torch.arange(j, j + cols)", "torch.arange(i, i + cols)"),
        ("torch.arange(i, i + rows)", "torch.arange(j, j + rows)"),
    ),
    "mask not sliced": hide_tile_edited(("~mask[j:j + cols]", "~mask[:cols]")),
    "mask sliced at i": hide_tile_edited(("~mask[j:j + cols]", "~mask[i:i + cols]")),
    "mask inverted": hide_tile_edited(("~mask[", "mask[")),
    "mask on rows": hide_tile_edited(("~mask[j:j + cols]", "~mask[i:i + rows][:, None]")),
    "either instead of both (elif)": hide_tile_edited(("if mask is not None:", "elif mask is not None:")),
    "and in place of or": hide_tile_edited(
        ("hide = hide | ~mask[j:j + cols]", "hide = hide & ~mask[j:j + cols] if causal else hide | ~mask[j:j + cols]")
    ),
    "in place": hide_tile_edited(("return s.masked_fill(hide, -math.inf)", "return s.masked_fill_(hide, -math.inf)")),
    "0 in place of -inf": hide_tile_edited(("-math.inf", "0.0")),
    "-1e9": hide_tile_edited(("-math.inf", "-1e9")),
    "finfo min": hide_tile_edited(("-math.inf", "torch.finfo(s.dtype).min")),
    "adds -inf * bool (nan)": hide_tile_edited(
        ("return s.masked_fill(hide, -math.inf)", "return s + hide * -math.inf")
    ),
    "mask whole": hide_tile_edited(("~mask[j:j + cols]", "~mask")),
    "causal ignored": hide_tile_edited(("if causal:", "if False:")),
    "mask ignored": hide_tile_edited(("if mask is not None:", "if False:")),
    "tile 16 j*cols": hide_tile_edited(
        ("torch.arange(j, j + cols)", "torch.arange(j * cols, j * cols + cols)"),
        ("torch.arange(i, i + rows)", "torch.arange(i * rows, i * rows + rows)"),
    ),
    "returns bool": hide_tile_edited(("return s.masked_fill(hide, -math.inf)", "return hide")),
    "fully hidden tile left alone": hide_tile_edited(
        ("return s.masked_fill", "if hide.all():\n        return s\n    return s.masked_fill")
    ),
    "full -inf if j > i": hide_tile_edited(
        (
            "if causal:\n        hide = hide | (b > a)",
            (
                "if causal and j > i:\n"
                "        hide = torch.ones_like(hide)\n"
                "    elif causal and j == i:\n"
                "        hide = hide | (b > a)"
            ),
        )
    ),
    "triu only on diagonal tiles": hide_tile_edited(("if causal:", "if causal and i == j:")),
    "softmaxed": hide_tile_edited(
        ("return s.masked_fill(hide, -math.inf)", "return torch.softmax(s.masked_fill(hide, -math.inf), -1)")
    ),
    "triu(1) square assumption": hide_tile_edited(
        ("hide = hide | (b > a)", "hide = hide | torch.ones(rows, cols).triu(1 + j - i).bool()")
    ),
    "float32 result": hide_tile_edited(("return s.masked_fill", "return s.float().masked_fill")),
    "s.clone but mask where returns None": hide_tile(
        "out = s.clone()",
        "if mask is not None:",
        "    out[:, ~mask[j:j + s.shape[1]]] = -math.inf",
        "if causal:",
        "    b = torch.arange(s.shape[1]) + j",
        "    a = torch.arange(s.shape[0]) + i",
        "    out[b[None] > a[:, None]] = -math.inf",
    ),
    "if mask (bool of tensor)": hide_tile_edited(("if mask is not None:", "if mask:")),
}

tile_backward_edited = edited(
    "tile_backward",
    """def tile_backward(q, k, v, d_o, log_sum_exp, row_dot):
    root = math.sqrt(q.shape[-1])
    p = torch.exp(q @ k.T / root - log_sum_exp[:, None])
    dp = d_o @ v.T
    ds = p * (dp - row_dot[:, None])
    return ds @ k / root, ds.T @ q / root, p.T @ d_o
""",
)
SLIPS["E6.8"] = {
    "no scale in grads": tile_backward_edited(("ds @ k / root, ds.T @ q / root", "ds @ k, ds.T @ q")),
    "no scale in p": tile_backward_edited(("q @ k.T / root", "q @ k.T")),
    "d not root": tile_backward_edited(("math.sqrt(q.shape[-1])", "q.shape[-1]")),
    "D forgotten": tile_backward_edited(("dp - row_dot[:, None]", "dp")),
    "D added": tile_backward_edited(("dp - row_dot", "dp + row_dot")),
    "sign flipped": tile_backward_edited(("dp - row_dot[:, None]", "row_dot[:, None] - dp")),
    "D times p forgot": tile_backward_edited(("p * (dp - row_dot[:, None])", "p * dp - row_dot[:, None]")),
    "D per column": tile_backward_edited(("row_dot[:, None]", "row_dot[None, :]")),
    "L per column": tile_backward_edited(("log_sum_exp[:, None]", "log_sum_exp[None]")),
    "L added": tile_backward_edited(("- log_sum_exp", "+ log_sum_exp")),
    "L forgotten": tile_backward_edited((" - log_sum_exp[:, None]", "")),
    "softmax of the tile": tile_backward_edited(
        ("torch.exp(q @ k.T / root - log_sum_exp[:, None])", "torch.softmax(q @ k.T / root, 1)")
    ),
    "local D from tile": tile_backward_edited(("row_dot[:, None]", "(dp * p).sum(1, keepdim=True)")),
    "L divided not subtracted": tile_backward_edited(
        ("torch.exp(q @ k.T / root - log_sum_exp[:, None])", "torch.exp(q @ k.T / root) / log_sum_exp[:, None]")
    ),
    "order dq dv dk": tile_backward_edited(
        ("ds @ k / root, ds.T @ q / root, p.T @ d_o", "ds @ k / root, p.T @ d_o, ds.T @ q / root")
    ),
    "order dk dq": tile_backward_edited(("ds @ k / root, ds.T @ q / root", "ds.T @ q / root, ds @ k / root")),
    "dv from ds": tile_backward_edited(("p.T @ d_o", "ds.T @ d_o")),
    "dv scaled": tile_backward_edited(("p.T @ d_o", "p.T @ d_o / root")),
    "dk from p": tile_backward_edited(("ds.T @ q", "p.T @ q")),
    "dp in place of ds in dq": tile_backward_edited(("ds @ k / root", "dp @ k / root")),
    "dk scaled twice": tile_backward_edited(("ds.T @ q / root", "ds.T @ q / root / root")),
    "only dq scaled": tile_backward_edited(("ds.T @ q / root", "ds.T @ q")),
    "dp uses k": tile_backward_edited(("d_o @ v.T", "d_o @ k.T")),
    "p(1-p) diagonal": tile_backward_edited(("p * (dp - row_dot[:, None])", "p * (1 - p) * dp")),
    "s unscaled but L right, scaled after exp": tile_backward_edited(
        ("q @ k.T / root - log_sum_exp[:, None])", "(q @ k.T - log_sum_exp[:, None]) / root)")
    ),
    "row_dot in place": tile_backward_edited(
        ("dp = d_o @ v.T", "dp = d_o @ v.T\n    log_sum_exp *= 1.0\n    d_o *= 1.0\n    q /= root\n    "),
        ("ds @ k / root, ds.T @ q / root", "ds @ k / root, ds.T @ q"),
    ),
    "L squeezed wrong keepdim": tile_backward_edited(("log_sum_exp[:, None]", "log_sum_exp")),
    "float32": tile_backward_edited(
        (
            "p = torch.exp(q",
            (
                "q, k, v, d_o, log_sum_exp, row_dot = (t.float() for t in (q, k, v, d_o, log_sum_exp, row_dot))\n"
                "    p = torch.exp(q"
            ),
        )
    ),
    "root of v width": tile_backward_edited(("math.sqrt(q.shape[-1])", "math.sqrt(v.shape[-1])")),
    "root of k rows": tile_backward_edited(("math.sqrt(q.shape[-1])", "math.sqrt(len(k))")),
    "dq transposed back": tile_backward_edited(("ds @ k / root", "(k.T @ ds.T) / root")),
}

test_tiles = body("test_tiles", "attend")
SLIPS["E6.9"] = {
    "small, one tile": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(8, 4), torch.randn(8, 4), torch.randn(8, 4)",
        "torch.testing.assert_close(attend(q, k, v, 4), ref(q, k, v))",
    ),
    "shape only": test_tiles(
        "q, k, v = torch.randn(8, 4), torch.randn(8, 4), torch.randn(8, 4)", "assert attend(q, k, v, 4).shape == (8, 4)"
    ),
    "exact equality": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "assert torch.equal(attend(q, k, v, 3), ref(q, k, v))",
    ),
    "too tight": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    torch.testing.assert_close(attend(q, k, v, 3), ref(q, k, v), rtol=0, atol=1e-8)",
    ),
    "no negative": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "  for t in (1, 3, 4, 20):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    torch.testing.assert_close(attend(q, k, v, t), ref(q, k, v), rtol=1e-3, atol=1e-3)",
    ),
    "only tile divides": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "  for o in (0, -300):",
        "   for t in (1, 2, 4):",
        "    q, k, v = s * torch.randn(8, 4), torch.randn(8, 4), torch.randn(8, 4)",
        "    q[:, 0] = 1; k[:, 0] = o",
        "    torch.testing.assert_close(attend(q, k, v, t), ref(q, k, v), rtol=1e-3, atol=1e-3)",
    ),
    "loose tolerance": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "  for o in (0, -300):",
        "   for t in (1, 3, 4, 20):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    q[:, 0] = 1; k[:, 0] = o",
        "    torch.testing.assert_close(attend(q, k, v, t), ref(q, k, v), rtol=1, atol=1)",
    ),
    "returns bool, no assert": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "return torch.allclose(attend(q, k, v, 3), ref(q, k, v), atol=1e-3)",
    ),
    "always raises": test_tiles("assert False"),
    "passes everything": test_tiles("pass"),
    "reference without scale": test_tiles(
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "torch.testing.assert_close(attend(q, k, v, 3), torch.softmax(q @ k.T, -1) @ v)",
    ),
    "reference softmax dim 0": test_tiles(
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "torch.testing.assert_close(attend(q, k, v, 3), torch.softmax(q @ k.T / 2, 0) @ v)",
    ),
    "expects a pair": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "o, lse = attend(q, k, v, 3)",
        "torch.testing.assert_close(o, ref(q, k, v))",
    ),
    "raises ValueError": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "if not torch.allclose(attend(q, k, v, 3), ref(q, k, v), atol=1e-3):",
        "    raise ValueError('wrong')",
    ),
    "naive overflow reference": test_tiles(
        "torch.manual_seed(0)",
        "for s in (1, 300):",
        "  for t in (1, 3, 20):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    f = torch.exp(q @ k.T / 2)",
        ("    torch.testing.assert_close(attend(q, k, v, t), f / f.sum(1, keepdim=True) @ v, rtol=1e-3, atol=1e-3)"),
    ),
    "compares tiles with each other": test_tiles(
        "torch.manual_seed(0)",
        "for s in (1, 30):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    a = attend(q, k, v, 20)",
        "    for t in (1, 2, 3, 5):",
        "        torch.testing.assert_close(attend(q, k, v, t), a, rtol=1e-3, atol=1e-3)",
    ),
    "unseeded flaky": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "for s in (1, 1e4):",
        "    q, k, v = s * torch.randn(7, 4), s * torch.randn(10, 4), torch.randn(10, 4)",
        "    torch.testing.assert_close(attend(q, k, v, 3), ref(q, k, v))",
    ),
    "tests own function": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "q, k, v = torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "torch.testing.assert_close(attention_in_tiles(q, k, v, 3)[0], ref(q, k, v))",
    ),
    "v constant (rows sum to one)": test_tiles(
        "torch.manual_seed(0)",
        "for s in (1, 100, -100):",
        "    q, k = s * torch.randn(7, 4), torch.randn(10, 4)",
        "    v = torch.ones(10, 3)",
        "    for t in (1, 3, 20):",
        "        torch.testing.assert_close(attend(q, k, v, t), torch.ones(7, 3))",
    ),
    "only isfinite": test_tiles(
        "torch.manual_seed(0)",
        "for s in (1, 1000):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    assert attend(q, k, v, 3).isfinite().all()",
    ),
    "N = M = tile": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "    q, k, v = s * torch.randn(8, 8), torch.randn(8, 8), torch.randn(8, 8)",
        "    torch.testing.assert_close(attend(q, k, v, 8), ref(q, k, v), rtol=1e-3, atol=1e-3)",
    ),
    "e = d only mean error": test_tiles(
        "ref = lambda q, k, v: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v",
        "torch.manual_seed(0)",
        "for s in (1, 100):",
        "  for t in (1, 3, 4, 20):",
        "    q, k, v = s * torch.randn(7, 4), torch.randn(10, 4), torch.randn(10, 4)",
        "    assert (attend(q, k, v, t) - ref(q, k, v)).mean() < 1e-3",
    ),
}


NAMED = {
    "E6.1": {
        "root of the number of keys": ("1/sqrt(number of keys) instead of 1/sqrt(d)",),
        "root of the number of queries": ("1/sqrt(len(q)), and len is the first axis: d is the last one of q",),
        "root of v's width": ("1/sqrt(width of V) instead of 1/sqrt(d)",),
        "scale after softmax": ("1/sqrt(d) comes after the softmax",),
        "scales O": ("1/sqrt(d) comes after the softmax",),
        "times root": ("multiplies by sqrt(d)",),
        "softmax dim=1": ("softmax(dim = 1), which is the last axis only where nothing stands in front: use -1",),
        "softmax dim=0": ("softmax(dim = 0): over the batch, or the queries",),
        "hard-coded 8": ("1/8, the root of 64, instead of 1/sqrt(d) of this q",),
        "both q and k divided by root d": ("divides by d instead of sqrt(d)",),
        "scales twice (sdpa of scaled q)": ("divides by d instead of sqrt(d)",),
        "naive exp without division": ("the exponentials are not divided by their sum",),
        "log_softmax": ("log_softmax instead of softmax",),
        "causal by mistake": ("causal: the later keys are hidden",),
        "sigmoid": ("sigmoid instead of softmax",),
        "keys queries swapped, transposed back, softmax over queries": (
            "softmax over columns: every row of P must sum to 1",
        ),
        "flatten all batch into one": ("the axes in front are run together, and every query sees the keys of all",),
        "naive exp overflow": ("no max subtraction: a softmax by hand that overflows",),
    },
    "E6.2": {
        "no keepdim": ("m and l have lost their last axis: keepdim=True",),
        "l without keepdim": ("l has lost its last axis: keepdim=True",),
        "global max": ("one maximum for the whole block, not one a row",),
        "max over dim 0": ("all is taken along dim 0: dim = -1 is the row",),
        "abs max": ("the largest absolute value, not the largest number",),
        "max clamped at 0": ("m is at least 0",),
        "f already divided": ("f is divided by l already",),
        "f is softmax l is its sum": ("f is the softmax, and l its sum, 1",),
        "l of exp x": ("l sums exp(x), the maximum is not subtracted there",),
        "f without max": ("no max subtraction",),
        "m minus x": ("the sign: exp(m - x)",),
        "order f l m": ("the order is m, f, l, not f, l, m",),
        "order m l f": ("l comes before f",),
        "argmax": ("m is the place of the maximum (argmax), not the maximum",),
        "mean in place of max": ("the mean is subtracted, not the maximum",),
        "min in place of max": ("m is the smallest number, not the largest",),
        "mean l": ("l is the mean, not the sum",),
        "log l": ("l is log(l)",),
        "log-sum-exp as l": ("l is the log-sum-exp, m + log(l)",),
        "2**": ("2 to the power, not e",),
        "l - 1 (leaves the max out)": ("one number too many is added to l",),
        "2d only dim=1": ("all is taken along dim 1, which is the row of a matrix only",),
        "l eps": ("1e-06 is added to l",),
    },
    "E6.3": {
        "plain sums": ("nothing is rescaled",),
        "o not rescaled": ("missing rescale of O",),
        "l not rescaled": ("missing rescale of l",),
        "sign of exponent": ("the exponent has the wrong sign",),
        "factors swapped": ("the factors of the two blocks are swapped",),
        "only old rescaled, new not": ("only the first block is rescaled",),
        "only new rescaled": ("only the second block is rescaled",),
        "o divided by l": ("O is divided by l already",),
        "o as if divided before": ("o is weighted by l, which it holds already",),
        "global max of rows": ("one maximum for all rows",),
        "python if on rows (all)": ("one comparison for all rows: each row has its own larger maximum",),
        "max sum of m": ("everything is measured from m_a + m_b, not from the larger one",),
        "minimum": ("the smaller maximum is kept",),
        "returns list order l m o": ("the order is m, l, o: m and l are swapped",),
        "m keeps a's": ("everything is measured from a's maximum, not from the larger one",),
        "clamps -inf to 0": ("-inf is replaced by 0, which may be the larger one",),
        "m squeezed": ("m and l have lost their last axis",),
        "log-sum-exp as m": ("everything is measured from the log-sum-exp of the two m, not from the larger one",),
        "mean of m": ("everything is measured from the mean of the two m, not from the larger one",),
        "weights normalised": ("the factors are divided by their sum",),
        "l rescaled twice": ("l is rescaled twice",),
        "concats": ("the blocks are put one below the other: l and o are sums",),
    },
    "E6.4": {
        "no scale": ("forgotten 1/sqrt(d)",),
        "divides by d": ("divided by d instead of sqrt(d)",),
        "root of tile": ("1/sqrt(tile) instead of 1/sqrt(d)",),
        "root of len(k)": ("1/sqrt(number of keys) instead of 1/sqrt(d)",),
        "o not rescaled": ("missing rescale of O",),
        "l not rescaled": ("missing rescale of l",),
        "neither rescaled": ("nothing is rescaled when m grows",),
        "w inverted": ("the factor is upside down: exp(m_new - m)",),
        "m not updated": ("the new m is not kept: every tile begins at -inf",),
        "f with the tile's own max": ("f is measured from this tile's own maximum, not from the new m",),
        "o not divided": ("O is never divided by l",),
        "lse: log l only": ("log(l) alone: m is forgotten",),
        "lse: m - log l": ("m - log(l): the sign",),
        "lse: m + l": ("m + l: the logarithm is missing",),
        "lse log2": ("log to base 2, not e",),
        "detached tile s": ("Q is detached",),
        "drops last tile": ("works only for tile sizes that divide the number of keys",),
        "split keys by number of queries loop": ("no more keys are seen than there are queries",),
        "divided inside": ("O is divided by l after every tile, not once at the end",),
        "eps in l": ("1e-06 is added to l",),
        "tile max scalar": ("one m for all queries of a tile",),
        "no max at all": ("no max subtraction",),
    },
    "E6.5": {
        "floor": ("floor for ceil: the last, smaller tile is forgotten",),
        "true division": ("a quotient cut by int(): the number of tiles must be rounded up",),
        "forgets V": ("V is forgotten",),
        "forgets O": ("Q is forgotten, or O is forgotten",),
        "forgets Q": ("Q is forgotten, or O is forgotten",),
        "no Q nor O": ("Q and O are forgotten",),
        "Q and O every tile": ("Q and O cross for every tile of queries",),
        "K, V once": ("K and V come past once only",),
        "padded last tile": ("the last tile of queries counts as a full one",),
        "floor + 1": ("one tile too many where rows divides n",),
        "S counted": ("S is written and read too",),
        "m and l stored": ("m and l are moved too",),
        "bytes": ("bytes instead of numbers",),
        "d squared": ("Q and O have d^2 numbers for each query",),
        "float": ("a float: count with whole numbers, // or math.ceil",),
        "round": ("rounded to the nearest, not up",),
        "O read and written": ("Q or O crosses twice",),
        "O through every tile of keys": ("O is loaded and stored in every pass",),
        "keys only rows per tile": ("K and V of the size of a tile of queries",),
        "t squared tiles": ("K and V in tiles of `rows`, the last of them full",),
        "max(1, floor)": ("floor for ceil, and at least one",),
        "no d": ("d is forgotten",),
    },
    "E6.6": {
        "no residual": ("x is not added",),
        "residual inside: to_out(x+o)": ("x is added before to_out, not after it",),
        "residual from o": ("O is added in the place of x",),
        "scale by width": ("1/sqrt(width) instead of 1/sqrt(width of a head)",),
        "scale by heads": ("1/sqrt(heads) instead of 1/sqrt(width of a head)",),
        "no scale": ("forgotten 1/sqrt(d)",),
        "scale by d": ("1/(width of a head) instead of 1/sqrt(width of a head)",),
        "mask inverted": ("the mask is inverted",),
        "mask ignored": ("the mask is not used",),
        "mask after softmax (no renorm)": ("hidden after the softmax: rows no longer sum to 1",),
        "mask with 0 logit": ("0 instead of -inf: padding still gets e^0",),
        "mask times S": ("0 instead of -inf: padding still gets e^0",),
        "mask of batch 0 only": ("the first example's mask for all",),
        "zeroes v instead of mask": ("hidden after the softmax: rows no longer sum to 1",),
        "zeroes tokens instead": ("padding's tokens are set to 0, and still get e^0",),
        "head last split (d, heads)": ("head h is cut as every heads-th number, and joined as the h-th slice",),
        "view without transpose": ("the heads are cut and joined without transpose",),
        "merge without transpose": ("the heads are joined without transposing back",),
        "one head only": ("the heads are not apart",),
        "softmax over queries": ("softmax over columns",),
        "softmax over heads": ("softmax over the heads",),
        "v is k": ("K serves as V too",),
        "to_out twice": ("to_out is applied twice",),
        "mean over heads": ("the heads are averaged: they belong side by side",),
    },
    "E6.7": {
        "local indices causal": ("the tile's corner (i, j) is forgotten",),
        ">= hides itself": ("a query may see itself: the diagonal is hidden too",),
        "hides earlier": ("the past is hidden, not the future",),
        "i and j swapped": ("i and j are swapped",),
        "mask not sliced": ("the mask is not cut to this tile's keys",),
        "mask sliced at i": ("the mask is cut at i, not at j",),
        "mask inverted": ("the mask is inverted",),
        "mask on rows": ("the mask hides rows instead of columns",),
        "either instead of both (elif)": ("the mask is not used once causal is True",),
        "and in place of or": ("only what both rules hide is hidden: `or`, not `and`",),
        "0 in place of -inf": ("0 instead of -inf: exp(0) is 1",),
        "-1e9": ("-1e9 instead of -inf",),
        "finfo min": ("the smallest finite number instead of -inf",),
        "causal ignored": ("causal is not used",),
        "mask ignored": ("the mask is not used",),
        "tile 16 j*cols": ("i and j are the places of the corner in S, not numbers of tiles",),
        "returns bool": ("returns which are hidden, not the tile",),
        "fully hidden tile left alone": ("a tile that is hidden as a whole is returned as it is",),
        "full -inf if j > i": ("the corners alone are compared: a tile may be hidden in part wherever it is",),
        "triu only on diagonal tiles": ("only tiles on the diagonal, i = j, are looked at",),
        "softmaxed": ("softmax is taken: that comes later",),
        "triu(1) square assumption": ("i and j are swapped",),
    },
    "E6.8": {
        "no scale in grads": ("forgotten 1/sqrt(d) in the backward pass",),
        "no scale in p": ("forgotten 1/sqrt(d) in S~",),
        "d not root": ("divided by d instead of sqrt(d)",),
        "D forgotten": ("D is forgotten",),
        "D added": ("D is added: dS~ = P (dP - D)",),
        "sign flipped": ("the sign of dS~",),
        "D times p forgot": ("D is subtracted outside the brackets: dS~ = P (dP - D)",),
        "D per column": ("D belongs to rows: it needs an axis behind",),
        "L per column": ("log_sum_exp belongs to rows: it needs an axis behind",),
        "L added": ("log_sum_exp is added: exp(S~ - log_sum_exp)",),
        "L forgotten": ("log_sum_exp is not subtracted: exp(S~) is not P yet",),
        "softmax of the tile": ("P is the softmax of the tile alone, not exp(S~ - log_sum_exp)",),
        "local D from tile": ("D of this tile's keys alone: it is given, from all keys",),
        "L divided not subtracted": ("divided by log_sum_exp, which is a logarithm: exp(S~ - log_sum_exp)",),
        "dv from ds": ("dV is made of dS~, not of P",),
        "dv scaled": ("dV has no factor 1/sqrt(d)",),
        "dk from p": ("dK is made of P, not of dS~",),
        "dp in place of ds in dq": ("dQ is made of dP, not of dS~",),
        "dk scaled twice": ("dK has the wrong factor",),
        "only dq scaled": ("forgotten 1/sqrt(d) in dK",),
        "p(1-p) diagonal": ("p (1 - p) is the sigmoid's slope, not softmax's",),
        "s unscaled but L right, scaled after exp": ("log_sum_exp is divided by sqrt(d), but it is of S~ already",),
        "L squeezed wrong keepdim": ("log_sum_exp belongs to rows: it needs an axis behind",),
        "root of v width": ("1/sqrt(width of V) instead of 1/sqrt(d)",),
        "root of k rows": ("1/sqrt(number of keys) instead of 1/sqrt(d)",),
    },
}
