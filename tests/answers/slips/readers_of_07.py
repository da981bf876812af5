"""Slips of a reader of 07, by exercise, and the names that the checks print for them; all are rejected."""

import torch

from cs348k_diffusion.sampling import step


def written(source):
    """The function that this source defines, as a student's cell would."""
    space = {"torch": torch, "step": step}
    exec(source, space)
    return next(value for name, value in space.items() if name in NAMES)


def taking(head, bodies):
    """What a student's cells define that begin with this head, by name of the slip."""
    return {slip: written(f"{head}\n{body.rstrip()}\n") for slip, body in bodies.items()}


def changed(source, *pairs):
    """The right answer with pieces of its source replaced."""
    for old, new in pairs:
        assert old in source, old
        source = source.replace(old, new)
    return written(source)


NAMES = ("pad_captions", "read_caption", "drop_captions", "guided_sample", "kept_shares", "test_encoder")

READ = """def read_caption(h, words, mask, w_q, w_k, w_v, w_o):
    rows = h.flatten(2).mT
    q, k, v = rows @ w_q, words @ w_k, words @ w_v
    s = q @ k.mT / q.shape[-1]**0.5
    s = s.masked_fill(~mask[:, None], float("-inf"))
    out = s.softmax(-1) @ v @ w_o
    return h + out.mT.unflatten(-1, h.shape[2:])
"""

GUIDE = """def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    x = noise
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((2 * n,), t)
        c, u = model(torch.cat([x, x]), tt, both).chunk(2)
        x = step(schedule, x, u + scale * (c - u), t, s)
    return x
"""

PAD = """def pad_captions(rows, width):
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens != 0
"""

COUNT = """def kept_shares(asked, seen):
    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) / on.sum(0), (right | ~on).all(1)
"""

SLIPS = {}
SLIPS["E7.1"] = taking(
    "def pad_captions(rows, width):",
    {
        "mask inverted": """    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens == 0
""",
        "left padded": """    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        if r:
            tokens[i, -len(r):] = torch.tensor(r)
    return tokens, tokens != 0
""",
        "floats": """    tokens = torch.zeros(len(rows), width)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r)
    return tokens, tokens != 0
""",
        "longest row": """    width = max(len(r) for r in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens != 0
""",
        "extends lists": """    for r in rows:
        while len(r) < width:
            r.append(0)
    tokens = torch.tensor(rows)
    return tokens, tokens != 0
""",
        "numpy out": """    import numpy as np
    tokens = np.zeros((len(rows), width), dtype=np.int64)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = r
    return tokens, tokens != 0
""",
        "int32": """    tokens = torch.zeros(len(rows), width, dtype=torch.int32)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.int32)
    return tokens, tokens != 0
""",
        "drops empty": """    rows = [r for r in rows if r]
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens != 0
""",
        "pads minus one": """    tokens = torch.full((len(rows), width), -1)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens != -1
""",
        "start token": """    tokens = torch.zeros(len(rows), width + 1, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, 1:len(r) + 1] = torch.tensor(r, dtype=torch.long)
    mask = tokens != 0
    mask[:, 0] = True
    return tokens, mask
""",
        "transposed": """    from torch.nn.utils.rnn import pad_sequence
    tokens = pad_sequence([torch.tensor(r + [0] * (width - len(r))) for r in rows])
    return tokens, tokens != 0
""",
        "mask off by one": """    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    lengths = torch.tensor([len(r) for r in rows])
    return tokens, torch.arange(width) <= lengths[:, None]
""",
        "hard width twelve": """    tokens = torch.zeros(len(rows), 12, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long)
    return tokens, tokens != 0
""",
        "lists": """    padded = [r + [0] * (width - len(r)) for r in rows]
    return padded, [[w != 0 for w in r] for r in padded]
""",
        "minus index": """    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    for i, r in enumerate(rows):
        tokens[i, :len(r)] = torch.tensor(r, dtype=torch.long) - 1
    return tokens, torch.arange(width) < torch.tensor([[len(r)] for r in rows])
""",
        "pad empty crash": """    pad = torch.nn.functional.pad
    tokens = torch.stack([pad(torch.tensor(r), (0, width - len(r))) for r in rows])
    return tokens, tokens != 0
""",
    },
) | {
    "int mask": changed(PAD, ("tokens != 0", "(tokens != 0).long()")),
    "only tokens": changed(PAD, ("tokens, tokens != 0", "tokens")),
    "swapped": changed(PAD, ("tokens, tokens != 0", "tokens != 0, tokens")),
    "no return": changed(PAD, ("return tokens,", "mask =")),
    "drops last word": changed(PAD, ("] = torch.tensor(r", " - 1] = torch.tensor(r[:-1]")),
    "mask above one": changed(PAD, ("!= 0", "> 1")),
    "mask of rows": changed(PAD, ("tokens != 0", "(tokens != 0).any(1)")),
}

SLIPS["E7.2"] = {
    "no scale": changed(READ, (" / q.shape[-1]**0.5", "")),
    "divides by d": changed(READ, ("q.shape[-1]**0.5", "q.shape[-1]")),
    "scale of channels": changed(READ, ("q.shape[-1]**0.5", "h.shape[1]**0.5")),
    "scale of values": changed(READ, ("q.shape[-1]**0.5", "v.shape[-1]**0.5")),
    "scale of words": changed(READ, ("q.shape[-1]**0.5", "words.shape[-1]**0.5")),
    "multiplies root": changed(READ, ("/ q.shape[-1]**0.5", "* q.shape[-1]**0.5")),
    "softmax pixels": changed(READ, ("s.softmax(-1)", "s.softmax(1)")),
    "no residual": changed(READ, ("return h + out", "return out")),
    "mask not inverted": changed(READ, ("~mask[:, None]", "mask[:, None]")),
    "mask after": changed(
        READ,
        (
            '    s = s.masked_fill(~mask[:, None], float("-inf"))\n    out = s.softmax(-1) @ v @ w_o',
            "    p = s.softmax(-1) * mask[:, None]\n    out = p @ v @ w_o",
        ),
    ),
    "no mask": changed(READ, ('    s = s.masked_fill(~mask[:, None], float("-inf"))\n', "")),
    "mask zero": changed(READ, ('float("-inf")', "0.0")),
    "mask times": changed(READ, ('s.masked_fill(~mask[:, None], float("-inf"))', "s * mask[:, None]")),
    "mask minus hundred": changed(READ, ('float("-inf")', "-100.0")),
    "values zeroed": changed(
        READ,
        ('    s = s.masked_fill(~mask[:, None], float("-inf"))\n', ""),
        ("words @ w_v\n", "(words * mask[..., None]) @ w_v\n"),
    ),
    "reshape instead": changed(READ, ("h.flatten(2).mT", "h.reshape(h.shape[0], -1, h.shape[1])")),
    "reshape back": changed(READ, ("out.mT.unflatten(-1, h.shape[2:])", "out.reshape(h.shape)")),
    "swapped hw": changed(
        READ, ("out.mT.unflatten(-1, h.shape[2:])", "out.mT.unflatten(-1, (h.shape[3], h.shape[2])).mT")
    ),
    "permute wrong": changed(READ, ("h.flatten(2).mT", "h.permute(0, 3, 2, 1).flatten(1, 2)")),
    "in place": written("""def read_caption(h, words, mask, w_q, w_k, w_v, w_o):
    rows = h.flatten(2).mT
    q, k, v = rows @ w_q, words @ w_k, words @ w_v
    s = q @ k.mT / q.shape[-1]**0.5
    s = s.masked_fill(~mask[:, None], float("-inf"))
    h += (s.softmax(-1) @ v @ w_o).mT.unflatten(-1, h.shape[2:])
    return h
"""),
    "no w o": changed(READ, ("@ v @ w_o", "@ v")),
    "naive softmax": changed(
        READ, ("    out = s.softmax(-1) @ v @ w_o", "    e = s.exp()\n    out = e / e.sum(-1, keepdim=True) @ v @ w_o")
    ),
    "k v swapped": changed(READ, ("words @ w_k, words @ w_v", "words @ w_v, words @ w_k")),
    "values from picture": changed(READ, ("words @ w_k, words @ w_v", "words @ w_k, rows @ w_v")),
    "returns rows": changed(READ, ("return h + out.mT.unflatten(-1, h.shape[2:])", "return rows + out")),
    "global max": changed(
        READ,
        (
            "    out = s.softmax(-1) @ v @ w_o",
            "    e = (s - s.max()).exp()\n    out = e / e.sum(-1, keepdim=True) @ v @ w_o",
        ),
    ),
    "square hw": changed(READ, ("h.shape[2:]", "(int(out.shape[1]**0.5), int(out.shape[1]**0.5))")),
    "q softmaxed": changed(READ, ("s.softmax(-1)", "s.softmax(-1).round(decimals=2)")),
    "numpy out": changed(
        READ,
        (
            "return h + out.mT.unflatten(-1, h.shape[2:])",
            "return (h + out.mT.unflatten(-1, h.shape[2:])).detach().numpy()",
        ),
    ),
}

SLIPS["E7.3"] = taking(
    "def drop_captions(tokens, null, share, u):",
    {
        "keeps instead": "    return torch.where(u[:, None] < share, tokens, null)",
        "above": "    return torch.where(u[:, None] > share, null, tokens)",
        "at or below": "    return torch.where(u[:, None] <= share, null, tokens)",
        "zeros not null": "    return torch.where(u[:, None] < share, 0, tokens)",
        "in place": """    tokens[u < share] = null
    return tokens
""",
        "own random": "    return torch.where(torch.rand(len(tokens), 1) < share, null, tokens)",
        "per token": "    return torch.where(torch.rand(tokens.shape) < share, null, tokens)",
        "no axis": "    return torch.where(u < share, null, tokens)",
        "removed": "    return tokens[u >= share]",
        "times mask": "    return tokens * (u >= share)[:, None]",
        "times mask float": """    lost = (u[:, None] < share).float()
    return lost * null + (1 - lost) * tokens
""",
        "one minus share": "    return torch.where(u[:, None] < 1 - share, null, tokens)",
        "first ones": """    n = int(share * len(tokens))
    out = tokens.clone()
    out[:n] = null
    return out
""",
        "smallest ones": """    n = int(share * len(tokens))
    out = tokens.clone()
    out[u.argsort()[:n]] = null
    return out
""",
        "loop first only": """    out = tokens.clone()
    for i in range(len(u)):
        if u[i] < share:
            out[i] = null[0]
            return out
    return out
""",
        "all or none": "    return null.expand_as(tokens) if u[0] < share else tokens",
        "returns mask": "    return u < share",
        "no return": """    out = tokens.clone()
    out[u < share] = null
""",
        "hard share": "    return torch.where(u[:, None] < 0.1, null, tokens)",
        "floats": "    return torch.where(u[:, None] < share, null.float(), tokens.float())",
        "first token": """    out = tokens.clone()
    out[u < share, 0] = null[0, 0]
    return out
""",
        "null twice": "    return torch.cat([tokens, null])",
        "mean u": "    return torch.where(u.mean() < share, null, tokens)",
        "inverse index": """    out = null.repeat(len(tokens), 1)
    out[u < share] = tokens[u < share]
    return out
""",
        "adds null": """    out = tokens.clone()
    out[u < share] += null
    return out
""",
        "alias loop": """    out = tokens
    for i, number in enumerate(u):
        if number < share:
            out[i] = null
    return out
""",
        "sorted rows": """    lost = u < share
    return torch.cat([tokens[~lost], null.expand(int(lost.sum()), -1)])
""",
    },
)

SLIPS["E7.4"] = {
    "one plus scale": changed(GUIDE, ("u + scale * (c - u)", "c + scale * (c - u)")),
    "swapped": changed(GUIDE, ("u + scale * (c - u)", "c + scale * (u - c)")),
    "guess swapped": changed(GUIDE, ("c, u = model", "u, c = model")),
    "no uncond": changed(GUIDE, ("u + scale * (c - u)", "scale * c")),
    "difference only": changed(GUIDE, ("u + scale * (c - u)", "scale * (c - u)")),
    "cond only": changed(GUIDE, ("u + scale * (c - u)", "c")),
    "two calls": written("""def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    x = noise
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((n,), t)
        c, u = model(x, tt, tokens), model(x, tt, null.expand(n, -1))
        x = step(schedule, x, u + scale * (c - u), t, s)
    return x
"""),
    "last step missing": changed(GUIDE, ("zip(times[:-1], times[1:])", "zip(times[:-2], times[1:-1])")),
    "first step missing": changed(GUIDE, ("zip(times[:-1], times[1:])", "zip(times[1:-1], times[2:])")),
    "one more to zero": changed(GUIDE, ("zip(times[:-1], times[1:])", "zip(times, times[1:] + [0.0])")),
    "returns guess": written("""def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    x = noise
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((2 * n,), t)
        c, u = model(torch.cat([x, x]), tt, both).chunk(2)
        x0 = u + scale * (c - u)
        x = step(schedule, x, x0, t, s)
    return x0
"""),
    "starts each step from noise": changed(GUIDE, ("torch.cat([x, x])", "torch.cat([noise, noise])")),
    "step swapped times": changed(GUIDE, ("t, s)\n    return", "s, t)\n    return")),
    "time of target": changed(GUIDE, ("torch.full((2 * n,), t)", "torch.full((2 * n,), s)")),
    "t scalar": changed(GUIDE, ("tt = torch.full((2 * n,), t)", "tt = torch.tensor(t)")),
    "t half": changed(GUIDE, ("torch.full((2 * n,), t)", "torch.full((n,), t)")),
    "null zero": changed(GUIDE, ("null.expand(n, -1)", "torch.zeros_like(tokens)")),
    "interleaved": changed(GUIDE, ("torch.cat([x, x])", "x.repeat_interleave(2, 0)")),
    "own noise": changed(GUIDE, ("x = noise", "x = torch.randn_like(noise)")),
    "clips": changed(
        GUIDE,
        (
            "x = step(schedule, x, u + scale * (c - u), t, s)",
            "x = step(schedule, x, (u + scale * (c - u)).clamp(-1, 1), t, s)",
        ),
    ),
    "null not expanded": changed(GUIDE, ("null.expand(n, -1)", "null")),
    "reversed times": changed(GUIDE, ("zip(times[:-1], times[1:])", "zip(times[::-1][:-1], times[::-1][1:])")),
    "in place": changed(
        GUIDE,
        (
            "        x = step(schedule, x, u + scale * (c - u), t, s)",
            "        x.copy_(step(schedule, x, u + scale * (c - u), t, s))",
        ),
    ),
    "no return": changed(GUIDE, ("    return x\n", "")),
    "return in loop": changed(GUIDE, ("    return x\n", "        return x\n")),
    "dtype t": changed(GUIDE, ("torch.full((2 * n,), t)", "torch.full((2 * n,), int(t))")),
    "list of states": written("""def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    xs = [noise]
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((2 * n,), t)
        c, u = model(torch.cat([xs[-1], xs[-1]]), tt, both).chunk(2)
        xs.append(step(schedule, xs[-1], u + scale * (c - u), t, s))
    return torch.stack(xs)
"""),
    "guides the state": changed(
        GUIDE,
        (
            "        x = step(schedule, x, u + scale * (c - u), t, s)",
            "        x = step(schedule, x, c, t, s) + scale * (c - u)",
        ),
    ),
    "scale minus one": changed(GUIDE, ("u + scale * (c - u)", "u + (scale - 1) * (c - u)")),
    "mean of both": changed(GUIDE, ("u + scale * (c - u)", "(scale * c + u) / (1 + scale)")),
    "stepped on both": written("""def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    x = torch.cat([noise, noise])
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((2 * n,), t)
        c, u = model(x, tt, both).chunk(2)
        x = step(schedule, x, torch.cat([u + scale * (c - u), u]), t, s)
    return x[:n]
"""),
    "returns both": written("""def guided_sample(model, tokens, null, noise, times, scale, schedule):
    n = len(tokens)
    x = torch.cat([noise, noise])
    both = torch.cat([tokens, null.expand(n, -1)])
    for t, s in zip(times[:-1], times[1:]):
        tt = torch.full((2 * n,), t)
        c, u = model(x, tt, both).chunk(2)
        mixed = u + scale * (c - u)
        x = step(schedule, x, torch.cat([mixed, mixed]), t, s)
    return x
"""),
}

SLIPS["E7.5"] = taking(
    "def kept_shares(asked, seen):",
    {
        "counts open as right": """    right = (asked == seen) | (asked == -1)
    return right.float().mean(0), right.all(1)
""",
        "counts open as wrong": """    right = asked == seen
    return right.float().mean(0), right.all(1)
""",
        "zero for nan": """    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) / on.sum(0).clamp(min=1), (right | ~on).all(1)
""",
        "share full": """    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) / on.sum(0), (right | ~on).all(1).float()
""",
        "mean full": """    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) / on.sum(0), (right | ~on).all(1).float().mean()
""",
        "in place": """    on = asked != -1
    shares = ((asked == seen) & on).sum(0) / on.sum(0)
    asked[~on] = seen[~on]
    return shares, (asked == seen).all(1)
""",
        "wrong share": """    on = asked != -1
    wrong = (asked != seen) & on
    return wrong.sum(0) / on.sum(0), ~wrong.any(1)
""",
        "integer division": """    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) // on.sum(0), (right | ~on).all(1)
""",
        "indexing flattens": """    on = asked != -1
    return (asked[on] == seen[on]).float().mean(), ((asked == seen) | ~on).all(1)
""",
        "open prompt false": """    on = asked != -1
    right = (asked == seen) & on
    return right.sum(0) / on.sum(0), (right | ~on).all(1) & on.any(1)
""",
        "numpy out": """    import numpy as np
    a, s = asked.numpy(), seen.numpy()
    on = a != -1
    right = (a == s) & on
    return right.sum(0) / on.sum(0), (right | ~on).all(1)
""",
        "share of full": """    on = asked != -1
    right = (asked == seen) & on
    full = (right | ~on).all(1)
    return (full[:, None] & on).sum(0) / on.sum(0), full
""",
    },
) | {
    "full wrong": changed(COUNT, ("(right | ~on)", "right")),
    "any not all": changed(COUNT, ("(right | ~on).all", "right.any")),
    "one for nan": changed(COUNT, ("right.sum(0) / on.sum(", "(right.sum(0) / on.sum(0)).nan_to_num(1.")),
    "wrong axis": changed(COUNT, ("0) / on.sum(0), (right | ~on).all(1", "1) / on.sum(1), (right | ~on).all(0")),
    "greater zero": changed(COUNT, ("!= -1", "> 0")),
    "one number": changed(COUNT, ("0) / on.sum(0", ") / on.sum(")),
    "divided by n": changed(COUNT, ("on.sum(0", "len(asked")),
    "per prompt share": changed(COUNT, ("(right | ~on).all", "right.sum(1) / on.sum")),
    "swapped": changed(
        COUNT, ("right.sum(0) / on.sum(0), (right | ~on).all(1", "(right | ~on).all(1), right.sum(0) / on.sum(0")
    ),
    "count not share": changed(COUNT, (" / on.sum(0)", "")),
    "first prompt only": changed(
        COUNT, ("(right | ~on).all(1", "torch.stack([all(r[o].tolist()) for r, o in zip(right, on[:1].expand_as(on))]")
    ),
    "close counts": changed(COUNT, ("asked == seen", "seen >= asked")),
    "right in full from shares": changed(COUNT, ("(right | ~on).all(1)", "right.sum(1) / on.sum(1) == 1")),
}

SLIPS["E7.6"] = taking(
    "def test_encoder(encode):",
    {
        "nothing": "    encode(torch.tensor([[1, 2, 3]]))",
        "always raises": "    raise AssertionError('no')",
        "only amount": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    torch.testing.assert_close(a, b)
""",
        "prints": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    if not torch.allclose(a, b):
        print("wrong")
""",
        "returns bool": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    return bool(torch.allclose(a, b, atol=1e-5))
""",
        "bitwise": """    a = encode(torch.tensor([[3, 4, 5]]))
    assert torch.equal(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    assert torch.equal(a, encode(torch.tensor([[0, 3, 4, 5]])))
    assert not torch.allclose(a, encode(torch.tensor([[5, 4, 3]])))
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "too strict": """    a = encode(torch.tensor([[3, 4, 5]]))
    torch.testing.assert_close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])), rtol=0, atol=1e-9)
    assert (a - encode(torch.tensor([[5, 4, 3]]))).abs().min() > 1e-3
""",
        "order same": """    a = encode(torch.tensor([[3, 4, 5]]))
    torch.testing.assert_close(a, encode(torch.tensor([[5, 4, 3]])))
""",
        "padding is zero": "    assert (encode(torch.zeros(1, 4, dtype=torch.long)) == 0).all()",
        "raises value error": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    if not torch.allclose(a, b, atol=1e-5):
        raise ValueError("padding matters")
""",
        "float tokens": """    a = encode(torch.tensor([[3., 4., 5.]]))
    torch.testing.assert_close(a, encode(torch.tensor([[3., 4., 5., 0.]])))
""",
        "one dim": """    a = encode(torch.tensor([3, 4, 5]))
    torch.testing.assert_close(a, encode(torch.tensor([3, 4, 5, 0])))
""",
        "too large word": """    a = encode(torch.tensor([[3, 14, 25]]))
    torch.testing.assert_close(a, encode(torch.tensor([[3, 14, 25, 0]])))
""",
        "no padding alone": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    close(a, encode(torch.tensor([[0, 3, 4, 5]])))
    assert not torch.allclose(a, encode(torch.tensor([[5, 4, 3]])), atol=1e-4)
    assert not torch.allclose(a, encode(torch.tensor([[3, 4, 6]])), atol=1e-4)
    both = encode(torch.tensor([[3, 4, 5, 0], [1, 2, 3, 4]]))
    close(both[:1], a)
""",
        "no neighbours": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    close(a, encode(torch.tensor([[0, 3, 4, 5]])))
    assert not torch.allclose(a, encode(torch.tensor([[5, 4, 3]])), atol=1e-4)
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "no order": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    close(a, encode(torch.tensor([[0, 3, 4, 5]])))
    assert not torch.allclose(a, encode(torch.tensor([[3, 4, 6]])), atol=1e-4)
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "no words": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    close(a, encode(torch.tensor([[0, 3, 4, 5]])))
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "no place": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
    assert not torch.allclose(a, encode(torch.tensor([[5, 4, 3]])), atol=1e-4)
    assert not torch.allclose(a, encode(torch.tensor([[3, 4, 6]])), atol=1e-4)
    both = encode(torch.tensor([[3, 4, 5, 0], [1, 2, 3, 4]]))
    close(both[:1], a)
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "batch of copies": """    close = lambda x, y: torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    a = encode(torch.tensor([[3, 4, 5]]))
    both = encode(torch.tensor([[3, 4, 5], [3, 4, 5]]))
    close(both[:1], a)
    close(both[1:], a)
    close(a, encode(torch.tensor([[3, 4, 5, 0, 0]])))
""",
        "wrong width": "    assert encode(torch.tensor([[3, 4, 5]])).shape == (1, 8)",
        "empty tensor": """    a = encode(torch.zeros(1, 0, dtype=torch.long))
    assert a.isfinite().all()
""",
        "nan blind": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    c = encode(torch.zeros(1, 3, dtype=torch.long))
    assert not (a - b).abs().max() > 1e-4
    assert not c.abs().max() > 1e6
""",
        "sign wrong": """    a = encode(torch.tensor([[3, 4, 5]]))
    b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
    assert (a - b).max() < 1e-4
    assert encode(torch.zeros(1, 3, dtype=torch.long)).isfinite().all()
""",
        "own encoder": """    encode = lambda tokens: tokens.float()
    a = encode(torch.tensor([[3, 4, 5]]))
    torch.testing.assert_close(a, encode(torch.tensor([[3, 4, 5]])))
""",
        "catches": """    try:
        a = encode(torch.tensor([[3, 4, 5]]))
        b = encode(torch.tensor([[3, 4, 5, 0, 0]]))
        torch.testing.assert_close(a, b)
    except AssertionError:
        pass
""",
    },
)


NAMED = {  # the names that may be printed; a slip that is not here has none
    "E7.1": {
        "mask inverted": ("the mask is True for padding",),
        "left padded": ("the padding comes first",),
        "floats": ("tokens are not whole numbers (torch.long)",),
        "int mask": ("the mask is whole numbers, not bool",),
        "longest row": ("as wide as the longest caption, not `width`",),
        "swapped": ("the mask comes first",),
        "int32": ("tokens are int32, not torch.long (int64)",),
        "drops empty": ("the empty captions are left out",),
        "pads minus one": ("the padding is -1, not 0",),
        "start token": ("a start stands before each caption",),
        "transposed": ("the columns are the captions: (width, len(rows))",),
        "mask off by one": ("the mask shows one word too many",),
        "mask above one": ("the mask hides the word 1: words are those above 0",),
        "hard width twelve": ("12 columns, not `width`",),
        "mask of rows": ("the mask says which captions have words, not where they are",),
        "minus index": ("1 is subtracted from each word",),
        "pad empty crash": ("an empty caption makes all tokens floats: torch.tensor([]) is one",),
    },
    "E7.2": {
        "no scale": ("sqrt(d) is missing",),
        "divides by d": ("divided by d instead of sqrt(d)",),
        "scale of channels": ("sqrt of the channels of the picture instead of that of the queries",),
        "scale of values": ("sqrt of the width of the values instead of that of the queries",),
        "scale of words": ("sqrt of the width of the words instead of that of the queries",),
        "multiplies root": ("multiplied by sqrt(d), not divided",),
        "softmax pixels": ("the softmax runs over pixels instead of words",),
        "no residual": ("h itself is not added",),
        "mask not inverted": ("the mask is upside down",),
        "mask after": ("the mask is applied after the softmax, so that the shares do not sum to 1",),
        "no mask": ("the mask is not used",),
        "mask zero": ("hidden words get the score 0 instead of -inf",),
        "mask times": ("hidden words get the score 0 instead of -inf",),
        "mask minus hundred": ("hidden words get a low score, but others are lower still: -inf is the lowest",),
        "values zeroed": ("the mask is applied after the softmax, so that the shares do not sum to 1",),
        "reshape instead": ("pixels and channels are mixed: flatten(2), then transpose",),
        "reshape back": ("pixels are shuffled: transpose back before unflatten",),
        "swapped hw": ("height and width are swapped where the rows become a picture",),
        "permute wrong": ("height and width are swapped where the picture becomes rows",),
        "no w o": ("W_O is forgotten",),
        "naive softmax": ("exp of large scores is infinite: torch.softmax subtracts the largest first",),
        "k v swapped": ("keys and values are swapped",),
        "returns rows": ("the rows of pixels are returned, not a picture",),
        "global max": ("the largest score of all is subtracted: each pixel needs its own",),
    },
    "E7.3": {
        "keeps instead": ("keeps what should be lost",),
        "above": ("keeps what should be lost, and u = share, too",),
        "at or below": ("u = share is lost too",),
        "zeros not null": ("the lost captions are 0, not the null caption",),
        "no axis": ("u runs along the words, not the captions: u < share needs an axis behind",),
        "removed": ("the lost captions are left out",),
        "times mask": ("the lost captions are 0, not the null caption",),
        "times mask float": ("the tokens become floats: they are whole numbers",),
        "one minus share": ("1 - share of them are lost: u < 1 - share",),
        "first ones": ("the first ones are lost, whatever u says, int(share * batch) of them",),
        "smallest ones": ("always the same number is lost, by rank of u",),
        "loop first only": ("only the first of the lost captions is replaced",),
        "all or none": ("one draw decides for the whole batch",),
        "returns mask": ("says who is lost, and returns no captions",),
        "hard share": ("0.1 stands in place of `share`",),
        "floats": ("the tokens become floats: they are whole numbers",),
        "first token": ("only the first word of a lost caption is replaced",),
        "mean u": ("the mean of `u` for all",),
        "inverse index": ("keeps what should be lost",),
        "adds null": ("the null caption is added, not put in its place",),
        "sorted rows": ("the lost captions come last: each belongs in its own row",),
    },
    "E7.4": {
        "one plus scale": ("the CFG paper's w, which is scale - 1",),
        "swapped": ("cond and uncond are swapped",),
        "guess swapped": ("cond and uncond are swapped",),
        "no uncond": ("scale times the guess with the caption: the guess without is missing",),
        "difference only": ("the difference alone: the guess without the caption is not added",),
        "cond only": ("guidance is not used",),
        "two calls": ("two calls a step: put both guesses into one batch",),
        "last step missing": ("the last step is missing",),
        "first step missing": ("the first step is missing",),
        "returns guess": ("returns the last guess, not x",),
        "starts each step from noise": ("the model is asked about the noise in every step, not about x",),
        "time of target": ("the model is asked at the time of the next x, not of this one",),
        "null zero": ("the null caption is all 0, not `null`",),
        "interleaved": ("x is repeated row by row, the captions are not: pairs do not match",),
        "clips": ("the guess is clipped to [-1, 1]",),
        "return in loop": ("returns after the first step: `return` stands in the loop",),
        "dtype t": ("the times are rounded down to whole numbers",),
        "list of states": ("all x are returned, not the last",),
        "guides the state": ("guidance is added to x, not to the guess",),
        "scale minus one": ("scale - 1 for scale",),
        "mean of both": ("a weighted mean of the guesses",),
        "stepped on both": ("the guess without a caption is of another x: both walk apart",),
        "returns both": ("both halves of the batch are returned",),
    },
    "E7.5": {
        "counts open as right": ("what is not asked counts as kept",),
        "counts open as wrong": ("-1 is compared too, so that what is not asked counts as missed",),
        "full wrong": ("in full: what is not asked counts as missed",),
        "any not all": ("one attribute kept is not a prompt fully satisfied",),
        "zero for nan": ("nan is replaced by 0: nothing asked is not nothing kept",),
        "one for nan": ("nan is replaced by 1: nothing asked is not all kept",),
        "wrong axis": ("the axes are swapped: shares by prompt, in full by attribute",),
        "greater zero": ("0 is taken for not asked: -1 is",),
        "share full": ("in full as numbers, not bool",),
        "mean full": ("in full: the share of prompts, not each prompt",),
        "one number": ("one share for all attributes",),
        "divided by n": ("divides by all prompts",),
        "per prompt share": ("in full: a prompt's share of kept attributes, not whether all are",),
        "wrong share": ("the share of misses",),
        "swapped": ("full comes first",),
        "indexing flattens": ("one share for all attributes",),
        "open prompt false": ("a prompt that asks nothing counts as not satisfied",),
        "count not share": ("counts, not shares",),
        "close counts": ("more than was asked counts as kept: it must be equal",),
        "share of full": ("shares of the prompts fully satisfied, not of the attributes kept",),
        "right in full from shares": ("a prompt that asks nothing counts as not satisfied",),
    },
}
