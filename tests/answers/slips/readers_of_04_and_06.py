"""Slips that a reader of notebooks 04 and 06 tried, by exercise: all are rejected, but for those in `HARMLESS`."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cs348k_diffusion.nets import Film, zeroed
from cs348k_diffusion.nets.unet import group_norm

SLIPS = {}


def ab(schedule, x, t, s):
    (a, b), (c, d) = schedule(t, x), schedule(s, x)
    return a, b, c, d


SLIPS["E4.1"] = {
    "x0 in float32": lambda x, v, a, s: ((a * x - s * v).float().to(x.dtype), s * x + a * v),
    "list": lambda x, v, a, s: [a * x - s * v, s * x + a * v],
    "dict": lambda x, v, a, s: {"x0": a * x - s * v, "eps": s * x + a * v},
    "stack": lambda x, v, a, s: torch.stack([a * x - s * v, s * x + a * v]),
    "x0 negated": lambda x, v, a, s: (s * v - a * x, s * x + a * v),
    "both negative": lambda x, v, a, s: (s * v - a * x, -s * x - a * v),
    "eps twice": lambda x, v, a, s: (s * x + a * v, s * x + a * v),
    "x0 twice": lambda x, v, a, s: (a * x - s * v, a * x - s * v),
    "divide alpha2+sigma2 of wrong": lambda x, v, a, s: ((a * x - s * v) / (a + s), (s * x + a * v) / (a + s)),
    "x - s v over a, v": lambda x, v, a, s: ((x - s * v) / a if a else x, v),
    "guard by eps": lambda x, v, a, s: ((x - s * (s * x + a * v)) / (a + 1e-3), s * x + a * v),
    "clamped": lambda x, v, a, s: ((a * x - s * v).clamp(-1, 1), s * x + a * v),
    "sigma from alpha": lambda x, v, a, s: (a * x - (1 - a) * v, (1 - a) * x + a * v),
    "sqrt alpha": lambda x, v, a, s: (a**0.5 * x - s * v, s * x + a**0.5 * v),
    "eps from x0 guard": lambda x, v, a, s: (a * x - s * v, (x - a * (a * x - s * v)) / max(s, 1e-8)),
    "x0 half": lambda x, v, a, s: ((a * x - s * v) / 2, (s * x + a * v) / 2),
    "mul by -1 sigma": lambda x, v, a, s: (a * x + -s * v, s * x - a * v),
    "3 values": lambda x, v, a, s: (a * x - s * v, s * x + a * v, v),
    "item": lambda x, v, a, s: ((a * x - s * v).mean(), (s * x + a * v).mean()),
    "x,v": lambda x, v, a, s: (x, v),
}


def anc(f):
    def step(schedule, x, x0, t, s, z):
        at, st, as_, ss = ab(schedule, x, t, s)
        k = at / as_
        b2 = st**2 - k**2 * ss**2
        return f(x, x0, z, at, st, as_, ss, k, b2)

    return step


def mean(x, x0, at, st, as_, ss, k, b2):
    return (as_ * b2 * x0 + k * ss**2 * x) / st**2


SLIPS["E4.2"] = {
    "noise not rooted sd ss*b2": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: mean(x, x0, at, st, as_, ss, k, b2) + b2 * ss**2 / st**2 * z
    ),
    "noise ignored": anc(lambda x, x0, z, at, st, as_, ss, k, b2: mean(x, x0, at, st, as_, ss, k, b2)),
    "max with eps": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            mean(x, x0, at, st, as_, ss, k, b2) + (b2 * ss**2 / st**2).clamp(min=1e-3).sqrt() * z
        )
    ),
    "eps form": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: as_ * x0 + ss * ((x - at * x0) / st) + (b2 * ss**2 / st**2).sqrt() * z
    ),
    "k for at": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_ * b2 * x0 + at * ss**2 * x) / st**2 + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "as^2": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_**2 * b2 * x0 + k * ss**2 * x) / st**2 + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "b2 sqrt in mean": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_ * b2.sqrt() * x0 + k * ss**2 * x) / st**2 + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "st missing in sd": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: mean(x, x0, at, st, as_, ss, k, b2) + b2.sqrt() * ss * z
    ),
    "minus x_t": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_ * b2 * x0 - k * ss**2 * x) / st**2 + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "noise twice": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            mean(x, x0, at, st, as_, ss, k, b2) + 2 * (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "forward": anc(lambda x, x0, z, at, st, as_, ss, k, b2: k * x + b2.sqrt() * z),
    "forward inverse": anc(lambda x, x0, z, at, st, as_, ss, k, b2: x / k + b2.sqrt() * z),
    "renoise": anc(lambda x, x0, z, at, st, as_, ss, k, b2: as_ * x0 + ss * z),
    "t0 guard": lambda schedule, x, x0, t, s, z: (
        anc(
            lambda x, x0, z, at, st, as_, ss, k, b2: (
                mean(x, x0, at, st, as_, ss, k, b2) + (b2 * ss**2 / st**2).sqrt() * z
            )
        )(schedule, x, x0, t, s, z)
        if s > 0
        else x
    ),
    "sum weights": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_ * b2 * x0 + k * ss**2 * x) / (b2 + ss**2) + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "sd by b2+ss": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            mean(x, x0, at, st, as_, ss, k, b2) + (b2 * ss**2 / (b2 + ss**2)).sqrt() * z
        )
    ),
    "eta half": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            mean(x, x0, at, st, as_, ss, k, b2) + 0.5 * (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "clip x0": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            mean(x, x0.clamp(-1, 1), at, st, as_, ss, k, b2) + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
    "schedule(float) 0d": lambda schedule, x, x0, t, s, z: x * float(schedule.alpha(torch.tensor(t))),
    "k inverse": anc(
        lambda x, x0, z, at, st, as_, ss, k, b2: (
            (as_ * b2 * x0 + ss**2 * x / k) / st**2 + (b2 * ss**2 / st**2).sqrt() * z
        )
    ),
}


def dd(f):
    def step(schedule, x, x0, t, s):
        at, st, as_, ss = ab(schedule, x, t, s)
        return f(x, x0, at, st, as_, ss, (x - at * x0) / st)

    return step


SLIPS["E4.3"] = {
    "x+": dd(lambda x, x0, at, st, as_, ss, e: x + as_ * x0 + ss * e),
    "sign of noise read": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * (at * x0 - x) / st),
    "x0 from eps only": dd(lambda x, x0, at, st, as_, ss, e: as_ / at * (x - st * e) + ss * e),
    "st^2": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * (x - at * x0) / st**2),
    "no paren": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * (x - at * x0 / st)),
    "at twice": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * (x - at**2 * x0) / st),
    "sqrt(as)": dd(lambda x, x0, at, st, as_, ss, e: as_.sqrt() * x0 + ss * e),
    "sqrt both": dd(lambda x, x0, at, st, as_, ss, e: as_.sqrt() * x0 + ss.sqrt() * e),
    "1-as": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + (1 - as_) * e),
    "lerp": dd(lambda x, x0, at, st, as_, ss, e: x0 + (x - x0) * ss / st),
    "ratio only": dd(lambda x, x0, at, st, as_, ss, e: ss / st * x),
    "clamped": dd(lambda x, x0, at, st, as_, ss, e: (as_ * x0 + ss * e).clamp(-1, 1)),
    "clamped x0": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0.clamp(-1, 1) + ss * e),
    "mean eps": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * e.mean(0, keepdim=True)),
    "if s==0": lambda schedule, x, x0, t, s: (
        x if s == 0 else dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * e)(schedule, x, x0, t, s)
    ),
    "noise": lambda schedule, x, x0, t, s: dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * torch.randn_like(x))(
        schedule, x, x0, t, s
    ),
    "eps+1e-3": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * (x - at * x0) / (st + 1e-3)),
    "tuple": dd(lambda x, x0, at, st, as_, ss, e: (as_ * x0 + ss * e, x0)),
    "int time": dd(lambda x, x0, at, st, as_, ss, e: as_ * x0 + ss * e / at),
    "swap x": dd(lambda x, x0, at, st, as_, ss, e: as_ * x + ss * e),
}


def em(f):
    return lambda t, w: f(t, w, 1000 ** torch.linspace(0, 1, w // 2).to(t))


SLIPS["E4.4"] = {
    "sin only concat neg": em(lambda t, w, f: torch.cat([(t[:, None] * f).sin(), -(t[:, None] * f).cos()], 1)),
    "no outer": em(lambda t, w, f: torch.cat([f.sin(), f.cos()])),
    "t+f": em(lambda t, w, f: torch.cat([(t[:, None] + f).sin(), (t[:, None] + f).cos()], 1)),
    "logspace 0..1000": lambda t, w: torch.cat(
        [(t[:, None] * torch.linspace(0, 1000, w // 2)).sin(), (t[:, None] * torch.linspace(0, 1000, w // 2)).cos()], 1
    ),
    "width freq halves": lambda t, w: torch.cat(
        [
            (t[:, None] * 1000 ** torch.linspace(0, 1, w)[: w // 2].to(t)).sin(),
            (t[:, None] * 1000 ** torch.linspace(0, 1, w)[: w // 2].to(t)).cos(),
        ],
        1,
    ),
    "100": lambda t, w: torch.cat(
        [
            (t[:, None] * 100 ** torch.linspace(0, 1, w // 2).to(t)).sin(),
            (t[:, None] * 100 ** torch.linspace(0, 1, w // 2).to(t)).cos(),
        ],
        1,
    ),
    "degrees": em(lambda t, w, f: torch.cat([(t[:, None] * f).deg2rad().sin(), (t[:, None] * f).deg2rad().cos()], 1)),
    "normalised": em(lambda t, w, f: F.normalize(torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1))),
    "sin twice with shift pi": em(
        lambda t, w, f: torch.cat([(t[:, None] * f).sin(), (t[:, None] * f + math.pi).sin()], 1)
    ),
    "angles": em(lambda t, w, f: torch.cat([t[:, None] * f, t[:, None] * f], 1)),
    "fixed 32": lambda t, w: em(lambda t, w, f: torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1))(t, 32),
    "t int": em(lambda t, w, f: torch.cat([(t.round()[:, None] * f).sin(), (t.round()[:, None] * f).cos()], 1)),
    "tan": em(lambda t, w, f: torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).tan()], 1)),
    "squeeze": em(lambda t, w, f: torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1).squeeze()),
    "1/f": em(lambda t, w, f: torch.cat([(t[:, None] / f).sin(), (t[:, None] / f).cos()], 1)),
    "flat": em(lambda t, w, f: torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1).flatten()),
    "transposed": em(lambda t, w, f: torch.cat([(t * f[:, None]).sin(), (t * f[:, None]).cos()], 0)),
    "1000t": em(lambda t, w, f: torch.cat([(1000 * t[:, None] / f).sin(), (1000 * t[:, None] / f).cos()], 1)),
    "half": em(lambda t, w, f: 0.5 * torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1)),
    "sqrt2": em(lambda t, w, f: 2**0.5 * torch.cat([(t[:, None] * f).sin(), (t[:, None] * f).cos()], 1)),
}


class B(nn.Module):
    def __init__(self, i, o, w):
        super().__init__()
        self.norm_in, self.norm_out = group_norm(i), group_norm(o)
        self.conv_in = nn.Conv2d(i, o, 3, padding=1)
        self.conv_out = zeroed(nn.Conv2d(o, o, 3, padding=1))
        self.film = Film(w, o)
        self.skip = nn.Identity() if i == o else nn.Conv2d(i, o, 1)

    def forward(self, h, emb):
        r = self.conv_in(F.silu(self.norm_in(h)))
        return self.skip(h) + self.conv_out(F.silu(self.film(self.norm_out(r), emb)))


def fw(rule):
    return type("ResBlock", (B,), {"forward": rule})


def ini(f):
    class R(B):
        def __init__(self, i, o, w):
            super().__init__(i, o, w)
            f(self, i, o, w)

    return R


class NoSuper(nn.Module):
    def __init__(self, i, o, w):
        self.norm_in = group_norm(i)


SLIPS["E4.5"] = {
    "no super": NoSuper,
    "two args": type("ResBlock", (nn.Module,), {"__init__": lambda self, i, o: None}),
    "padding 0": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 3))),
    "stride 2": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 3, padding=1, stride=2))),
    "dilation": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 3, padding=2, dilation=2))),
    "grouped conv": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 3, padding=1, groups=8))),
    "circular": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 3, padding=1, padding_mode="circular"))),
    "1x1 conv_in": ini(lambda b, i, o, w: setattr(b, "conv_in", nn.Conv2d(i, o, 1))),
    "layernorm": ini(lambda b, i, o, w: setattr(b, "norm_in", nn.GroupNorm(1, i))),
    "dropout": fw(
        lambda b, h, e: (
            b.skip(h) + b.conv_out(F.dropout(F.silu(b.film(b.norm_out(b.conv_in(F.silu(b.norm_in(h)))), e)), 0.1))
        )
    ),
    "only weight zero": ini(lambda b, i, o, w: nn.init.ones_(b.conv_out.bias)),
    "conv_in zeroed too": ini(lambda b, i, o, w: zeroed(b.conv_in)),
    "film linear": fw(
        lambda b, h, e: (
            b.skip(h)
            + b.conv_out(
                F.silu(b.norm_out(b.conv_in(F.silu(b.norm_in(h)))) + b.film.linear(e).chunk(2, 1)[1][:, :, None, None])
            )
        )
    ),
    "norm of emb": fw(
        lambda b, h, e: (
            b.skip(h) + b.conv_out(F.silu(b.film(b.norm_out(b.conv_in(F.silu(b.norm_in(h)))), F.normalize(e))))
        )
    ),
    "skip normed": fw(
        lambda b, h, e: (
            b.skip(b.norm_in(h)) + b.conv_out(F.silu(b.film(b.norm_out(b.conv_in(F.silu(b.norm_in(h)))), e)))
        )
    ),
    "h += ": fw(lambda b, h, e: h.add_(0) * 1.0 if False else b.skip(F.silu(h, inplace=True)) + 0 * e.sum()),
    "norms swapped": fw(
        lambda b, h, e: (
            b.skip(h) + b.conv_out(F.silu(b.film(b.norm_in(b.conv_in(F.silu(b.norm_out(h)))), e)))
            if h.shape[1] == b.conv_in.out_channels
            else B.forward(b, h, e)
        )
    ),
    "list": fw(lambda b, h, e: [B.forward(b, h, e)]),
    "args swapped": fw(lambda b, e, h: B.forward(b, h, e)),
    "detach h": fw(lambda b, h, e: B.forward(b, h.detach(), e)),
}


def att(f, ax=-1):
    return lambda q, k, v: torch.softmax(f(q, k), ax) @ v


SLIPS["E6.1"] = {
    "T": lambda q, k, v: (
        torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), -1) @ v
        if q.ndim == 2
        else torch.softmax(q @ k.transpose(0, 1) / math.sqrt(q.shape[-1]), -1) @ v
    ),
    "swap 0 1": lambda q, k, v: torch.softmax(q @ k.transpose(1, 0) / math.sqrt(q.shape[-1]), -1) @ v,
    "d**2": att(lambda q, k: q @ k.mT / q.shape[-1] ** 2),
    "shape[-2]": att(lambda q, k: q @ k.mT / math.sqrt(q.shape[-2])),
    "shape[0]": att(lambda q, k: q @ k.mT / math.sqrt(q.shape[0])),
    "len(q)": att(lambda q, k: q @ k.mT / math.sqrt(len(k))),
    "sqrt both": att(lambda q, k: (q / math.sqrt(q.shape[-1])) @ (k / math.sqrt(q.shape[-1])).mT),
    "neg": att(lambda q, k: -q @ k.mT / math.sqrt(q.shape[-1])),
    "sigmoid": lambda q, k, v: torch.sigmoid(q @ k.mT / math.sqrt(q.shape[-1])) @ v,
    "log_softmax": lambda q, k, v: torch.log_softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v,
    "normalised": att(lambda q, k: F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT),
    "double softmax": att(lambda q, k: torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)),
    "causal": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    "P": lambda q, k, v: torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1),
    "S clamped": att(lambda q, k: (q @ k.mT / math.sqrt(q.shape[-1])).clamp(-5, 5)),
    "float": lambda q, k, v: F.scaled_dot_product_attention(q.float(), k.float(), v.float()),
    "squeeze": lambda q, k, v: F.scaled_dot_product_attention(q, k, v).squeeze(),
    "v v": lambda q, k, v: att(lambda q, k: q @ k.mT / math.sqrt(q.shape[-1]))(q, k, k),
    "q q": lambda q, k, v: att(lambda q, k: q @ k.mT / math.sqrt(q.shape[-1]))(k, k, v),
    "distance": att(lambda q, k: -torch.cdist(q, k)),
}


def pc(m, f=lambda x, m: (x - m).exp(), l=lambda f: f.sum(-1, keepdim=True)):
    def p(x):
        mm = m(x)
        ff = f(x, mm)
        return mm, ff, l(ff)

    return p


def mx(x):
    return x.amax(-1, keepdim=True)


SLIPS["E6.2"] = {
    "max tuple": lambda x: (x.max(-1, keepdim=True), (x - mx(x)).exp(), (x - mx(x)).exp().sum(-1, keepdim=True)),
    "dim 0": pc(lambda x: x.amax(0, keepdim=True)),
    "dim 1": pc(lambda x: x.amax(1 if x.ndim > 1 else 0, keepdim=True)),
    "sum all": pc(mx, l=lambda f: f.sum()),
    "sum 0": pc(mx, l=lambda f: f.sum(0, keepdim=True)),
    "max+eps": pc(mx, l=lambda f: f.sum(-1, keepdim=True) + 1e-3),
    "relu max": pc(lambda x: mx(x).clamp(min=0)),
    "2**": pc(mx, f=lambda x, m: 2 ** (x - m)),
    "exp(x)/exp(m)": pc(mx, f=lambda x, m: x.exp() / m.exp()),
    "lse": lambda x: (x.logsumexp(-1, keepdim=True), *pc(mx)(x)[1:]),
    "argmax": lambda x: (x.argmax(-1, keepdim=True), *pc(mx)(x)[1:]),
    "f - 1": pc(mx, f=lambda x, m: torch.expm1(x - m)),
    "m neg": lambda x: (-mx(x), *pc(mx)(x)[1:]),
    "l of x": lambda x: (mx(x), (x - mx(x)).exp(), x.exp().sum(-1, keepdim=True)),
    "two": lambda x: (mx(x), (x - mx(x)).exp()),
    "std": pc(mx, f=lambda x, m: ((x - m) / x.std()).exp()),
    "clamped": pc(mx, f=lambda x, m: (x - m).clamp(min=-10).exp()),
    "float": lambda x: tuple(p.float() for p in pc(mx)(x)),
    "squeeze": lambda x: tuple(p.squeeze() for p in pc(mx)(x)),
    "topk": pc(lambda x: x.sort(-1).values[..., :1]),
}


def mg(f):
    return lambda a, b: f(*a, *b)


M = torch.maximum
SLIPS["E6.3"] = {
    "add": mg(lambda ma, la, oa, mb, lb, ob: (M(ma, mb), la + lb, oa + ob)),
    "avg": mg(lambda ma, la, oa, mb, lb, ob: (M(ma, mb), (la + lb) / 2, (oa + ob) / 2)),
    "la m": mg(
        lambda ma, la, oa, mb, lb, ob: (M(ma, mb), (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb, oa + ob)
    ),
    "m sum": mg(
        lambda ma, la, oa, mb, lb, ob: (
            ma + mb,
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "max scalar": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb).max().expand_as(ma).clone(),
            la * (ma - M(ma, mb).max()).exp() + lb * (mb - M(ma, mb).max()).exp(),
            oa * (ma - M(ma, mb).max()).exp() + ob * (mb - M(ma, mb).max()).exp(),
        )
    ),
    "l times l": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)).exp() * la * (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "weighted by l": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            la * (ma - M(ma, mb)).exp() * oa + lb * (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "factor a-b": mg(lambda ma, la, oa, mb, lb, ob: (M(ma, mb), (ma - mb).exp() * la + lb, (ma - mb).exp() * oa + ob)),
    "where": mg(lambda ma, la, oa, mb, lb, ob: (M(ma, mb), torch.where(ma > mb, la, lb), torch.where(ma > mb, oa, ob))),
    "minus": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)).exp() * la - (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa - (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "no exp": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)) * la + (mb - M(ma, mb)) * lb,
            (ma - M(ma, mb)) * oa + (mb - M(ma, mb)) * ob,
        )
    ),
    "square exp": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (2 * (ma - M(ma, mb))).exp() * la + (2 * (mb - M(ma, mb))).exp() * lb,
            (2 * (ma - M(ma, mb))).exp() * oa + (2 * (mb - M(ma, mb))).exp() * ob,
        )
    ),
    "m_a returned": mg(
        lambda ma, la, oa, mb, lb, ob: (
            ma,
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "order m o l": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
        )
    ),
    "a only": lambda a, b: a,
    "b only": lambda a, b: b,
    "clamp -1e9": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb).clamp(min=-50),
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "logaddexp": mg(
        lambda ma, la, oa, mb, lb, ob: (
            torch.logaddexp(ma, mb),
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
    "o cat": mg(
        lambda ma, la, oa, mb, lb, ob: (
            M(ma, mb),
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            torch.cat([oa, ob]),
        )
    ),
    "m cat": mg(
        lambda ma, la, oa, mb, lb, ob: (
            torch.cat([ma, mb], 1).amax(1),
            (ma - M(ma, mb)).exp() * la + (mb - M(ma, mb)).exp() * lb,
            (ma - M(ma, mb)).exp() * oa + (mb - M(ma, mb)).exp() * ob,
        )
    ),
}


def c(n, r):
    return -(-n // r)


SLIPS["E6.5"] = {
    f"f{i}": f
    for i, f in enumerate(
        [
            lambda n, d, r: 2 * n * d * (1 + c(n, r)) + 2 * n,
            lambda n, d, r: n * d * c(n, r) * 2,
            lambda n, d, r: n * d + c(n, r) * n * d + n * d,
            lambda n, d, r: n * d + c(n, r) * 2 * r * d + n * d,
            lambda n, d, r: 3 * n * d + n * d * c(n, r),
            lambda n, d, r: 2 * n * d * (1 + round(n / r)),
            lambda n, d, r: 2 * n * d * (1 + max(1, n // r)),
            lambda n, d, r: 4 * n * d + n * n,
            lambda n, d, r: 4 * n * d * n // r,
            lambda n, d, r: 2 * n * d * (1 + c(n, r)) * 4,
            lambda n, d, r: 2 * n * (1 + c(n, r)),
            lambda n, d, r: 2 * d * (1 + c(n, r)),
            lambda n, d, r: torch.tensor(2 * n * d * (1 + c(n, r))),
            lambda n, d, r: 2 * n * d * (1 + c(d, r)),
            lambda n, d, r: 2 * n * d * (1 + r),
            lambda n, d, r: 2 * n * d * (1 + c(n, r) ** 2),
            lambda n, d, r: n * d * (2 + c(n, r) * c(n, r)),
            lambda n, d, r: 2 * n * d * (1 + math.ceil(n // r)),
            lambda n, d, r: 2 * n * d * (1 + (n + r) // r),
            lambda n, d, r: 2 * n * d + 2 * n * d * n,
        ]
    )
}


def hid(f):
    def h(s, i, j, causal, mask):
        r, cc = s.shape
        a = (i + torch.arange(r))[:, None]
        b = (j + torch.arange(cc))[None]
        return f(s, i, j, causal, mask, a, b, r, cc)

    return h


def both(
    s,
    i,
    j,
    causal,
    mask,
    a,
    b,
    r,
    cc,
    fill=-torch.inf,
    ca=lambda a, b: b > a,
    mk=lambda mask, i, j, r, cc: ~mask[j : j + cc],
):
    hidden = torch.zeros(r, cc, dtype=torch.bool)
    if causal:
        hidden = hidden | ca(a, b)
    if mask is not None:
        hidden = hidden | mk(mask, i, j, r, cc)
    return s.masked_fill(hidden, fill)


SLIPS["E6.7"] = {
    "nan": hid(lambda *g: both(*g, fill=torch.nan)),
    "+inf": hid(lambda *g: both(*g, fill=torch.inf)),
    "-1e4": hid(lambda *g: both(*g, fill=-1e4)),
    "finfo": hid(lambda s, *g: both(s, *g, fill=torch.finfo(s.dtype).min)),
    "off by one": hid(lambda *g: both(*g, ca=lambda a, b: b > a + 1)),
    "only i": hid(lambda s, i, j, ca, m, a, b, r, cc: both(s, i, j, ca, m, a, b - j, r, cc)),
    "only j": hid(lambda s, i, j, ca, m, a, b, r, cc: both(s, i, j, ca, m, a - i, b, r, cc)),
    "i mask": hid(
        lambda *g: both(*g, mk=lambda m, i, j, r, cc: ~m[i : i + cc] if len(m[i : i + cc]) == cc else ~m[:cc])
    ),
    "tril": lambda s, i, j, ca, m: s.tril().masked_fill(s.tril() == 0, -torch.inf) if ca else s,
    "s*mask": hid(lambda s, i, j, ca, m, a, b, r, cc: s * (m[j : j + cc] if m is not None else 1)),
    "bool": hid(lambda s, i, j, ca, m, a, b, r, cc: both(s, i, j, ca, m, a, b, r, cc) == -torch.inf),
    "none": lambda s, i, j, ca, m: None,
    "s": lambda s, i, j, ca, m: s,
    "mask required": hid(
        lambda s, i, j, ca, m, a, b, r, cc: s.masked_fill(~m[j : j + cc] | ((b > a) & ca), -torch.inf)
    ),
    "last tile j+len": hid(lambda *g: both(*g, mk=lambda m, i, j, r, cc: ~m[-cc:])),
    "diag cross": hid(lambda *g: both(*g, ca=lambda a, b: b != a)),
    "abs": hid(lambda *g: both(*g, ca=lambda a, b: (b - a).abs() > 0)),
    "softmaxed": hid(lambda *g: both(*g).softmax(-1)),
    "xor": hid(
        lambda s, i, j, ca, m, a, b, r, cc: s.masked_fill(
            ((b > a) & ca) ^ (~m[j : j + cc] if m is not None else torch.zeros(cc, dtype=torch.bool)), -torch.inf
        )
    ),
    "inplace": lambda s, i, j, ca, m: hid(both)(s, i, j, ca, m) if not ca else s.copy_(hid(both)(s, i, j, ca, m)),
}


def bw(f):
    def g(q, k, v, do, lse, D):
        sc = 1 / math.sqrt(q.shape[1])
        return f(q, k, v, do, lse, D, sc)

    return g


def std(q, k, v, do, lse, D, sc, P=lambda s, l: torch.exp(s - l[:, None]), dS=lambda p, dp, D: p * (dp - D[:, None])):
    p = P(sc * q @ k.T, lse)
    ds = dS(p, do @ v.T, D)
    return sc * ds @ k, sc * ds.T @ q, p.T @ do


SLIPS["E6.8"] = {
    "P no exp": bw(lambda *g: std(*g, P=lambda s, l: s - l[:, None])),
    "lse col": bw(lambda *g: std(*g, P=lambda s, l: torch.exp(s - l.mean()))),
    "P/l": bw(lambda *g: std(*g, P=lambda s, l: torch.exp(s) / l[:, None])),
    "1-P": bw(lambda *g: std(*g, dS=lambda p, dp, D: p * (1 - p) * dp)),
    "D mean": bw(lambda *g: std(*g, dS=lambda p, dp, D: p * (dp - D.mean()))),
    "D twice": bw(lambda *g: std(*g, dS=lambda p, dp, D: p * (dp - 2 * D[:, None]))),
    "neg dS": bw(lambda *g: std(*g, dS=lambda p, dp, D: -p * (dp - D[:, None]))),
    "D tile": bw(lambda *g: std(*g, dS=lambda p, dp, D: p * (dp - (p * dp).sum(1, keepdim=True)))),
    "scale sq": bw(
        lambda q, k, v, do, lse, D, sc: tuple(
            x * (sc if n < 2 else 1) for n, x in enumerate(std(q, k, v, do, lse, D, sc))
        )
    ),
    "dV scaled": bw(lambda *g: (*std(*g)[:2], g[-1] * std(*g)[2])),
    "dV by V": bw(
        lambda q, k, v, do, lse, D, sc: (
            *std(q, k, v, do, lse, D, sc)[:2],
            torch.exp(sc * q @ k.T - lse[:, None]).T @ (q @ k.T @ v)[:, : v.shape[1]],
        )
    ),
    "dQ x q": bw(
        lambda q, k, v, do, lse, D, sc: (std(q, k, v, do, lse, D, sc)[0] + q, *std(q, k, v, do, lse, D, sc)[1:])
    ),
    "dq zero": bw(lambda q, k, *g: (0 * q, *std(q, k, *g)[1:])),
    "rows sum": bw(lambda *g: tuple(x.sum(0) for x in std(*g))),
    "mean": bw(lambda *g: tuple(x / len(g[0]) for x in std(*g))),
    "kT q": bw(lambda *g: tuple(x.T for x in std(*g))),
    "dict": bw(lambda *g: dict(zip("qkv", std(*g)))),
    "list": bw(lambda *g: list(std(*g))),
    "float": bw(lambda *g: tuple(x.float() for x in std(*g))),
    "softmax col": bw(lambda *g: std(*g, P=lambda s, l: torch.softmax(s, 0))),
}

HARMLESS = {("E4.1", "x0 in float32"), ("E4.1", "list"), ("E6.8", "list")}  # rounded last, or a list for a tuple
