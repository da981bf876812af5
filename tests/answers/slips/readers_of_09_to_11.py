"""Slips of a reader of 09 to 11, by exercise, and the names that the checks print for them; all are rejected."""

import math
import statistics

import torch
import torch.nn.functional as F

from cs348k_diffusion.sampling import step
from tests.answers.evaluating_an_idea import GAPS, OURS, PLAIN, claimed, ends


def resizing(
    centre=lambda i, n, s: (i + 0.5) * n / s,
    old=lambda n: torch.arange(n) + 0.5,
    width=lambda n, s: max(n / s, 1.0),
    norm=lambda w: w / w.sum(1, keepdim=True),
    post=lambda w: w,
    kern=lambda k: k,
):
    def resize_matrix(kernel, n, size):
        d = old(n) - centre(torch.arange(size), n, size)[:, None]
        return post(norm(kern(kernel)(d / width(n, size))))

    return resize_matrix


SLIPS = {}
SLIPS["E9.1"] = {
    "ceil width": resizing(width=lambda n, s: max(math.ceil(n / s), 1)),
    "int division": resizing(centre=lambda i, n, s: (i + 0.5) * (n // s)),
    "width times": resizing(post=lambda w: w, width=lambda n, s: 1 / max(n / s, 1.0)),
    "norm by max": resizing(norm=lambda w: w / w.max(1, keepdim=True).values),
    "clamp neg": resizing(norm=lambda w: w.clamp(min=0) / w.clamp(min=0).sum(1, keepdim=True)),
    "norm whole": resizing(norm=lambda w: w / w.sum()),
    "divide by width": resizing(norm=lambda w: w * 1.0, kern=lambda k: k),
    "half pixel only old": resizing(centre=lambda i, n, s: i * n / s),
    "half added after scaling": resizing(centre=lambda i, n, s: i * n / s + 0.5),
    "abs dist": resizing(kern=lambda k: lambda d: k(d.abs().floor())),
    "min width": resizing(width=lambda n, s: min(n / s, 1.0)),
    "eps": resizing(norm=lambda w: w / (w.sum(1, keepdim=True) + 1e-2)),
    "linspace": resizing(centre=lambda i, n, s: torch.linspace(0, n - 1, s) + 0.5),
    "linspace0n": resizing(centre=lambda i, n, s: torch.linspace(0, n, s)),
    "sqrt width": resizing(width=lambda n, s: max(n / s, 1.0) ** 0.5),
    "softmax0": resizing(norm=lambda w: w.abs() / w.abs().sum(1, keepdim=True)),
}


def psnr_of(e, top=4.0, out=lambda e, top: 10 * torch.log10(top / e)):
    return lambda cov, k: float(out(torch.as_tensor(e(cov, k)), top))


SLIPS["E9.2"] = {
    "median": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().median()),
    "max var": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().max()),
    "1/k only if finite": psnr_of(lambda c, k: (1 + (1 / k if k < 10 else 0)) * c.diagonal().mean()),
    "sqrt diag": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().sqrt().mean()),
    "log2": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().mean(), out=lambda e, t: 10 * torch.log2(t / e)),
    "rmse": psnr_of(lambda c, k: ((1 + 1 / k) * c.diagonal().mean()).sqrt()),
    "frob": psnr_of(lambda c, k: (1 + 1 / k) * c.norm() / len(c)),
    "eig max": psnr_of(lambda c, k: (1 + 1 / k) * torch.linalg.eigvalsh(c).max()),
    "det": psnr_of(lambda c, k: (1 + 1 / k) * torch.linalg.det(c.double()).abs().clamp(min=1e-12) ** (1 / len(c))),
    "d-1": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().sum() / max(len(c) - 1, 1)),
    "top 2": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().mean(), top=2.0),
    "mean of cov all": psnr_of(lambda c, k: (1 + 1 / k) * c.abs().mean()),
    "ln": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().mean(), out=lambda e, t: 10 * torch.log(t / e)),
    "no 10": psnr_of(lambda c, k: (1 + 1 / k) * c.diagonal().mean(), out=lambda e, t: torch.log10(t / e)),
    "first pixel": psnr_of(lambda c, k: (1 + 1 / k) * c[0, 0]),
    "two to one": psnr_of(lambda c, k: (2 if k == 1 else 1) * c.diagonal().mean()),
}


def joining(
    shown=lambda x, l, e: e(l, x.shape[-1]).expand_as(x),
    zero=lambda x: torch.zeros_like(x),
    j=lambda x, s: torch.cat([x, s], 1),
):
    return lambda x, low_res, enlarge: j(x, zero(x) if low_res is None else shown(x, low_res, enlarge))


SLIPS["E9.3"] = {
    "enlarge(x)": joining(lambda x, l, e: e(x, x.shape[-1])),
    "repeat": joining(lambda x, l, e: e(l, x.shape[-1]).repeat(len(x), 1, 1, 1)),
    "size of batch": joining(lambda x, l, e: e(l, x.shape[0])),
    "enlarged twice": joining(lambda x, l, e: e(e(l, x.shape[-1]), x.shape[-1]).expand_as(x)),
    "stack": joining(j=lambda x, s: torch.stack([x, s], 1)),
    "mean": joining(j=lambda x, s: torch.cat([x, (x + s) / 2], 1)),
    "nan": joining(zero=lambda x: torch.full_like(x, float("nan"))),
    "minus one": joining(zero=lambda x: -torch.ones_like(x)),
    "drop when 1": joining(
        lambda x, l, e: (e(l, x.shape[-1]) if len(l) == len(x) else torch.zeros_like(x)).expand_as(x)
    ),
    "first channel": joining(lambda x, l, e: e(l[:, :1], x.shape[-1]).expand_as(x)),
    "shown first none right": joining(j=lambda x, s: torch.cat([s, x], 1)),
    "clamp": joining(lambda x, l, e: e(l, x.shape[-1]).expand_as(x).clamp(-1, 1)),
    "half": joining(lambda x, l, e: 0.5 * e(l, x.shape[-1]).expand_as(x)),
    "last of low": joining(lambda x, l, e: e(l[-1:], x.shape[-1]).expand_as(x)),
    "none is x": lambda x, low_res, enlarge: (
        x if low_res is None else torch.cat([x, enlarge(low_res, x.shape[-1]).expand_as(x)], 1)
    ),
}


def pairing(
    low=lambda s, l, n, h, e, sp: s + l * n,
    res=lambda h, e, low, sp, s, l, n: (h - e(low)) / sp,
    out=lambda r, l: (r, l),
):
    def training_pair(high, shrink, enlarge, level, noise, spread):
        s = shrink(high)
        l = level.view(-1, 1, 1, 1)
        lo = low(s, l, noise, high, enlarge, spread)
        return out(res(high, enlarge, lo, spread, s, l, noise), lo)

    return training_pair


SLIPS["E9.4"] = {
    "noise minus mean": pairing(low=lambda s, l, n, h, e, sp: s + l * (n - n.mean())),
    "level max": pairing(low=lambda s, l, n, h, e, sp: s + l.max() * n),
    "vp": pairing(low=lambda s, l, n, h, e, sp: (1 - l) * s + l * n),
    "abs noise": pairing(low=lambda s, l, n, h, e, sp: s + l * n.abs()),
    "residual plus noise": pairing(res=lambda h, e, low, sp, s, l, n: (h - e(low) + e(l * n)) / sp),
    "residual of low detail": pairing(res=lambda h, e, low, sp, s, l, n: (low - s) / sp),
    "divide after": pairing(res=lambda h, e, low, sp, s, l, n: h - e(low) / sp),
    "times sqrt spread": pairing(res=lambda h, e, low, sp, s, l, n: (h - e(low)) / sp**0.5),
    "added": pairing(res=lambda h, e, low, sp, s, l, n: (h + e(low)) / sp),
    "level 1-": pairing(low=lambda s, l, n, h, e, sp: s + (1 - l) * n),
    "level*spread": pairing(low=lambda s, l, n, h, e, sp: s + l * sp * n),
    "level twice": pairing(low=lambda s, l, n, h, e, sp: s + 2 * l * n),
    "low clean given": pairing(
        res=lambda h, e, low, sp, s, l, n: (h - e(low)) / sp, out=lambda r, l: (r, l.clamp(-1, 1))
    ),
    "residual at small size": pairing(res=lambda h, e, low, sp, s, l, n: (s - low) / sp),
    "plus spread": pairing(res=lambda h, e, low, sp, s, l, n: (h - e(low)) / (1 + sp)),
    "detached": pairing(res=lambda h, e, low, sp, s, l, n: (h - e(low)) / sp - 0.5),
}


def staging(first=0, num=lambda k, j, f: k, nxt=lambda f, x: f[-1], take=lambda f: f, feed=lambda x, x0: x):
    def run_stages(stages, x):
        film = []
        x0 = x
        for k, st in enumerate(stages, first):
            f = st(feed(x, x0))
            film += [(num(k, j, f), fr) for j, fr in enumerate(take(f))]
            x = nxt(f, x)
        return film

    return run_stages


def callstwice(stages, x):
    film = []
    for k, st in enumerate(stages):
        film += [(k, f) for f in st(x)]
        x = st(x)[-1]
    return film


def film_append(stages, x):
    film = []
    for k, st in enumerate(stages):
        x = st(x)[-1]
        film.append((k, x))
    return film


def only_first_stage(stages, x):
    for k, st in enumerate(stages):
        return [(k, f) for f in st(x)]


def extend(stages, x):
    film = []
    for k, st in enumerate(stages):
        fr = st(x)
        film.extend(zip([k], fr))
        x = fr[-1]
    return film


SLIPS["E9.5"] = {
    "twice called": callstwice,
    "last only": film_append,
    "first stage only": only_first_stage,
    "zip one": extend,
    "mean of frames": staging(nxt=lambda f, x: sum(f) / len(f)),
    "all but last": staging(take=lambda f: f[:-1]),
    "reversed frames": staging(take=lambda f: f[::-1]),
    "skip first frame": staging(take=lambda f: f[1:]),
    "second frame": staging(nxt=lambda f, x: f[min(1, len(f) - 1)]),
    "number counts down": lambda stages, x: [(len(stages) - 1 - k, f) for k, f in staging()(stages, x)],
    "number of frames": staging(num=lambda k, j, f: len(f)),
    "not updated": staging(nxt=lambda f, x: x),
    "clamped": staging(nxt=lambda f, x: f[-1].clamp(-1, 1)),
    "dict": lambda stages, x: dict(staging()(stages, x)),
    "frames as tensor": lambda stages, x: [
        (k, torch.stack([f for n, f in staging()(stages, x) if n == k])) for k in range(len(stages))
    ],
    "detach last dup": lambda stages, x: (lambda r: [*r, r[-1]])(staging()(stages, x)),
}


def two_m(ahead, t_of=lambda r, t, s: (r, t, s)):
    def two_m_step(schedule, x_t, new, old, r, t, s):
        b, n, a = schedule.log_snr(torch.tensor([r, t, s], dtype=torch.float64)).tolist()
        return step(schedule, x_t, ahead(new, old, b, n, a, r, t, s), t, s)

    return two_m_step


SLIPS["E10.1"] = {
    "plus old": two_m(lambda n, o, b, c, a, r, t, s: n + (a - c) / (2 * (c - b)) * (n + o)),
    "minus": two_m(lambda n, o, b, c, a, r, t, s: n - (a - c) / (2 * (c - b)) * (n - o)),
    "no half": two_m(lambda n, o, b, c, a, r, t, s: n + (a - c) / (c - b) * (n - o)),
    "ratio upside": two_m(lambda n, o, b, c, a, r, t, s: n + (c - b) / (2 * (a - c)) * (n - o)),
    "t not lambda": two_m(lambda n, o, b, c, a, r, t, s: n + (t - s) / (2 * (r - t)) * (n - o)),
    "half fixed": two_m(lambda n, o, b, c, a, r, t, s: 1.5 * n - 0.5 * o),
    "whole": two_m(lambda n, o, b, c, a, r, t, s: n + (a - b) / (2 * (c - b)) * (n - o)),
    "over whole": two_m(lambda n, o, b, c, a, r, t, s: n + (a - c) / (2 * (a - b)) * (n - o)),
    "quarter": two_m(lambda n, o, b, c, a, r, t, s: n + (a - c) / (4 * (c - b)) * (n - o)),
    "from old": two_m(lambda n, o, b, c, a, r, t, s: o + (a - c) / (2 * (c - b)) * (n - o)),
    "mean": two_m(lambda n, o, b, c, a, r, t, s: (n + o) / 2),
    "squared ratio": two_m(lambda n, o, b, c, a, r, t, s: n + ((a - c) / (c - b)) ** 2 / 2 * (n - o)),
    "exp": two_m(lambda n, o, b, c, a, r, t, s: n + math.exp(-(a - c) / 2) / 2 * (n - o)),
    "no old": two_m(lambda n, o, b, c, a, r, t, s: n),
    "step from r": lambda schedule, x_t, new, old, r, t, s: (
        lambda l: step(schedule, x_t, new + (l[2] - l[1]) / (2 * (l[1] - l[0])) * (new - old), r, s)
    )(schedule.log_snr(torch.tensor([r, t, s], dtype=torch.float64)).tolist()),
    "returns ahead": lambda schedule, x_t, new, old, r, t, s: (
        lambda l: new + (l[2] - l[1]) / (2 * (l[1] - l[0])) * (new - old)
    )(schedule.log_snr(torch.tensor([r, t, s], dtype=torch.float64)).tolist()),
    "to middle": lambda schedule, x_t, new, old, r, t, s: (
        lambda l: step(schedule, x_t, new + (l[2] - l[1]) / (2 * (l[1] - l[0])) * (new - old), t, (t + s) / 2)
    )(schedule.log_snr(torch.tensor([r, t, s], dtype=torch.float64)).tolist()),
}


def solving(
    mid=lambda t, s: (t + s) / 2,
    second=lambda te, xt, h, t, m, s: te(h, m),
    solve=lambda xs, xt, at, st, as_, ss, k: (xs - k * xt) / (as_ - k * at),
    first=lambda te, xt, t: te(xt, t),
    fromx=lambda xt, h: h,
):
    def two_steps_in_one(teacher, schedule, x_t, t, s):
        m = mid(t, s)
        h = step(schedule, x_t, first(teacher, x_t, t), t, m)
        xs = step(schedule, fromx(x_t, h), second(teacher, x_t, h, t, m, s), m, s)
        (at, st), (as_, ss) = schedule(t, x_t), schedule(s, x_t)
        return solve(xs, x_t, at, st, as_, ss, ss / st)

    return two_steps_in_one


SLIPS["E10.2"] = {
    "geo mid": solving(mid=lambda t, s: (t * s).sqrt()),
    "mid t": solving(mid=lambda t, s: t - (t - s) / 4),
    "second asks t": solving(second=lambda te, xt, h, t, m, s: te(h, t)),
    "second asks x_t": solving(second=lambda te, xt, h, t, m, s: te(xt, m)),
    "second at s": solving(second=lambda te, xt, h, t, m, s: te(h, s)),
    "mean of guesses": solving(
        solve=lambda xs, xt, at, st, as_, ss, k: xs,
    ),
    "not divided": solving(solve=lambda xs, xt, at, st, as_, ss, k: xs - k * xt),
    "plus k at": solving(solve=lambda xs, xt, at, st, as_, ss, k: (xs - k * xt) / (as_ + k * at)),
    "divide by as": solving(solve=lambda xs, xt, at, st, as_, ss, k: (xs - k * xt) / as_),
    "k upside": solving(
        solve=lambda xs, xt, at, st, as_, ss, k: (
            (xs - xt * st / ss.clamp(min=1e-3)) / (as_ - at * st / ss.clamp(min=1e-3))
        )
    ),
    "alpha ratio": solving(solve=lambda xs, xt, at, st, as_, ss, k: (xs - as_ / at * xt) / (ss - as_ / at * st)),
    "second from x_t": solving(fromx=lambda xt, h: xt),
    "mid float": solving(mid=lambda t, s: ((t + s) / 2).mean().expand_as(t)),
    "x0 from s": solving(solve=lambda xs, xt, at, st, as_, ss, k: (xs - ss * xt) / as_),
    "clamped": solving(solve=lambda xs, xt, at, st, as_, ss, k: ((xs - k * xt) / (as_ - k * at)).clamp(-1, 1)),
    "k squared": solving(solve=lambda xs, xt, at, st, as_, ss, k: (xs - k**2 * xt) / (as_ - k**2 * at)),
    "avg two": lambda teacher, schedule, x_t, t, s: (
        lambda a: (a + teacher(step(schedule, x_t, a, t, (t + s) / 2), (t + s) / 2)) / 2
    )(teacher(x_t, t)),
}


def halving(
    check=lambda steps, end: (lambda q: steps % end == 0 and q > 1 and q & (q - 1) == 0)(steps // end),
    nx=lambda n: n // 2,
    stop=lambda n, end: n > end,
    teach=lambda te, st: st,
    entry=lambda n, s: (n, s),
    start=lambda n: n,
):
    def halve(train, teacher, steps, end):
        if not check(steps, end):
            raise ValueError("no")
        out = []
        n = steps
        while stop(n, end):
            n = nx(n)
            s = train(teacher, start(n))
            out.append(entry(n, s))
            teacher = teach(teacher, s)
        return out

    return halve


SLIPS["E10.3"] = {
    "no check": halving(check=lambda s, e: True),
    "always first teacher": halving(teach=lambda te, st: te),
    "allow equal": halving(check=lambda s, e: (lambda q: s % e == 0 and q >= 1 and q & (q - 1) == 0)(s // e)),
    "even only": halving(check=lambda s, e: s % 2 == 0 and s > e),
    "divisible only": halving(check=lambda s, e: s % e == 0 and s > e),
    "reversed": lambda train, teacher, steps, end: halving()(train, teacher, steps, end)[::-1],
    "dict": lambda train, teacher, steps, end: dict(halving()(train, teacher, steps, end)),
    "last only": lambda train, teacher, steps, end: halving()(train, teacher, steps, end)[-1:],
    "include teacher": lambda train, teacher, steps, end: [(steps, teacher), *halving()(train, teacher, steps, end)],
    "train told 2n": halving(start=lambda n: 2 * n),
    "swap": halving(entry=lambda n, s: (s, n)),
    "students only": halving(entry=lambda n, s: s),
    "AssertionError": lambda train, teacher, steps, end: (
        (_ for _ in ()).throw(AssertionError("no"))
        if not (lambda q: steps % end == 0 and q > 1 and q & (q - 1) == 0)(steps // end)
        else halving()(train, teacher, steps, end)
    ),
    "stops early": halving(stop=lambda n, end: n > 2 * end),
    "minus 2": halving(nx=lambda n: n - 2 if n > 2 else n // 2),
    "power of two steps": halving(check=lambda s, e: s & (s - 1) == 0 and s > e),
    "returns empty": lambda train, teacher, steps, end: (
        halving()(train, teacher, steps, end)
        if (lambda q: steps % end == 0 and q > 1 and q & (q - 1) == 0)(steps // end)
        else []
    ),
    "ratio rounds": halving(check=lambda s, e: s > e and math.log2(s // e).is_integer()),
}


def telling(
    scale=lambda u, l, h: l + (h - l) * u,
    mix=lambda c, u, e: u + e * (c - u),
    n=lambda null, x: null.expand(len(x)),
    ex=lambda s, x: s.view(-1, *(1,) * (x.ndim - 1)),
    out=lambda a, s: (a, s),
    t2=lambda t: t,
):
    def guided_lesson(model, x_t, t, y, null, u, low, high):
        s = scale(u, low, high)
        c, un = model(x_t, t, y), model(x_t, t2(t), n(null, x_t))
        return out(mix(c, un, ex(s, x_t)), s)

    return guided_lesson


SLIPS["E10.4"] = {
    "high-low swapped": telling(scale=lambda u, l, h: h + (l - h) * u),
    "no low": telling(scale=lambda u, l, h: (h - l) * u),
    "low times": telling(scale=lambda u, l, h: l + h * u),
    "log uniform": telling(scale=lambda u, l, h: l * (h / l) ** u if l > 0 else l + (h - l) * u),
    "rounded": telling(scale=lambda u, l, h: (l + (h - l) * u).round()),
    "1+s": telling(mix=lambda c, u, e: u + (1 + e) * (c - u)),
    "c + e": telling(mix=lambda c, u, e: c + e * (c - u)),
    "one scale": telling(ex=lambda s, x: s[0]),
    "mean scale": telling(ex=lambda s, x: s.mean()),
    "swap mix": telling(mix=lambda c, u, e: c + e * (u - c)),
    "scaled e c": telling(mix=lambda c, u, e: u + e * c),
    "t2=0": telling(t2=lambda t: t * 0),
    "zeros null": telling(n=lambda null, x: torch.zeros(len(x), dtype=null.dtype)),
    "told 1": telling(out=lambda a, s: (a, torch.ones_like(s))),
    "scale returned shaped": telling(out=lambda a, s: (a, s.view(-1, *(1,) * (a.ndim - 1)))),
    "told u": lambda model, x_t, t, y, null, u, low, high: (telling()(model, x_t, t, y, null, u, low, high)[0], u),
    "clamped": telling(mix=lambda c, u, e: (u + e * (c - u)).clamp(-1, 1)),
    "mid": telling(scale=lambda u, l, h: (l + h) / 2 + 0 * u),
}


def consistent(
    skip=lambda a, b, r, d: a * d**2 / r**2,
    out=lambda a, b, r, d: b * d / r,
    r_=lambda a, b, d: (a**2 * d**2 + b**2).sqrt(),
    inp=lambda x, r: x / r,
    tt=lambda t: t,
):
    def consistency_function(net, schedule, x, t, spread):
        a, b = schedule(t, x)
        r = r_(a, b, spread)
        return skip(a, b, r, spread) * x + out(a, b, r, spread) * net(inp(x, r), tt(t))

    return consistency_function


SLIPS["E10.5"] = {
    "no r": consistent(inp=lambda x, r: x),
    "times r": consistent(inp=lambda x, r: x * r),
    "r no sqrt": consistent(r_=lambda a, b, d: a**2 * d**2 + b**2),
    "r no d": consistent(r_=lambda a, b, d: (a**2 + b**2).sqrt()),
    "skip no alpha": consistent(skip=lambda a, b, r, d: d**2 / r**2),
    "skip d": consistent(skip=lambda a, b, r, d: a * d / r**2),
    "skip r": consistent(skip=lambda a, b, r, d: a * d**2 / r),
    "out no d": consistent(out=lambda a, b, r, d: b / r),
    "out no r": consistent(out=lambda a, b, r, d: b * d),
    "out neg": consistent(out=lambda a, b, r, d: -b * d / r),
    "out r2": consistent(out=lambda a, b, r, d: b * d / r**2),
    "edm": consistent(
        skip=lambda a, b, r, d: d**2 / (b**2 + d**2), out=lambda a, b, r, d: b * d / (b**2 + d**2).sqrt()
    ),
    "skip 1": consistent(skip=lambda a, b, r, d: 1.0),
    "skip 1-t": lambda net, schedule, x, t, spread: (lambda a, b, r, tv: (1 - tv) * x + tv * net(x / r, t))(
        *schedule(t, x),
        (schedule(t, x)[0] ** 2 * spread**2 + schedule(t, x)[1] ** 2).sqrt(),
        t.view(-1, *(1,) * (x.ndim - 1)),
    ),
    "t=0 asked": consistent(tt=lambda t: t * 0),
    "alpha2": consistent(skip=lambda a, b, r, d: a**2 * d**2 / r**2),
    "sum": consistent(r_=lambda a, b, d: a * d + b),
}


def moving(f, noised=lambda x, a, b, n: a * x + b * n, tt=lambda t: t):
    def matching_move(real, fake, schedule, x, t, noise):
        a, b = schedule(t, x)
        xt = noised(x, a, b, noise)
        return f(real(xt, tt(t)), fake(xt, tt(t)), a, b, x, xt)

    return matching_move


SLIPS["E10.6"] = {
    "swap": moving(lambda r, f, a, b, x, xt: a * (f - r)),
    "no alpha": moving(lambda r, f, a, b, x, xt: r - f),
    "a2": moving(lambda r, f, a, b, x, xt: a**2 * (r - f)),
    "sigma": moving(lambda r, f, a, b, x, xt: b * (r - f)),
    "sigma2": moving(lambda r, f, a, b, x, xt: b**2 * (r - f)),
    "half": moving(lambda r, f, a, b, x, xt: a * (r - f) / 2),
    "minus noise": moving(lambda r, f, a, b, x, xt: a * (r - f), noised=lambda x, a, b, n: a * x - b * n),
    "no sigma": moving(lambda r, f, a, b, x, xt: a * (r - f), noised=lambda x, a, b, n: a * x + n),
    "x plus sigma n": moving(lambda r, f, a, b, x, xt: a * (r - f), noised=lambda x, a, b, n: x + b * n),
    "swapped ab": moving(lambda r, f, a, b, x, xt: a * (r - f), noised=lambda x, a, b, n: b * x + a * n),
    "real only": moving(lambda r, f, a, b, x, xt: a * r),
    "fake only": moving(lambda r, f, a, b, x, xt: -a * f),
    "normalised": moving(lambda r, f, a, b, x, xt: a * (r - f) / (r - f).norm(dim=1, keepdim=True)),
    "a over b2": moving(lambda r, f, a, b, x, xt: a / b**2 * (r - f)),
    "real + x": moving(lambda r, f, a, b, x, xt: x + a * (r - f)),
    "t=0": moving(lambda r, f, a, b, x, xt: a * (r - f), tt=lambda t: t * 0 + 1e-3),
    "mean over batch": moving(lambda r, f, a, b, x, xt: (a * (r - f)).mean(0, keepdim=True).expand_as(x)),
    "a times real minus fake": moving(lambda r, f, a, b, x, xt: a * r - f),
}


def quantiles(v, l=0.025, h=0.975):
    return (float(v.quantile(l)), float(v.quantile(h)))


SLIPS["E11.1"] = {
    "one-sided 5": lambda a, b, p: quantiles((a - b)[p].mean(1), 0.05, 0.95),
    "percent sorted idx": lambda a, b, p: (lambda s: (float(s[int(0.025 * len(s))]), float(s[int(0.975 * len(s))])))(
        (a - b)[p].mean(1).sort().values
    ),
    "lower interp": lambda a, b, p: (
        lambda m: (float(m.quantile(0.025, interpolation="lower")), float(m.quantile(0.975, interpolation="higher")))
    )((a - b)[p].mean(1)),
    "median dim": lambda a, b, p: quantiles((a - b)[p].median(1).values),
    "a mean - b single": lambda a, b, p: quantiles(a[p].mean(1) - b[p][:, 0]),
    "ratio of means": lambda a, b, p: quantiles(a[p].mean(1) / b[p].mean(1)),
    "abs": lambda a, b, p: quantiles((a - b).abs()[p].mean(1)),
    "mean +- std": lambda a, b, p: (lambda m: (float(m.mean() - m.std()), float(m.mean() + m.std())))(
        (a - b)[p].mean(1)
    ),
    "min max": lambda a, b, p: (float((a - b)[p].mean(1).min()), float((a - b)[p].mean(1).max())),
    "picks T": lambda a, b, p: quantiles((a - b)[p.T].mean(1)),
    "unique picks": lambda a, b, p: quantiles(torch.stack([(a - b)[r.unique()].mean() for r in p])),
    "only half": lambda a, b, p: quantiles((a - b)[p[: len(p) // 2]].mean(1)),
    "centered": lambda a, b, p: quantiles((a - b)[p].mean(1) - (a - b).mean()),
    "trimmed": lambda a, b, p: quantiles((a - b)[p].sort(1).values[:, :-1].mean(1)),
    "swapped ends": lambda a, b, p: quantiles((a - b)[p].mean(1))[::-1],
    "relative": lambda a, b, p: quantiles(((a - b) / b)[p].mean(1)),
    "n-1": lambda a, b, p: quantiles((a - b)[p].sum(1) / max(len(a) - 1, 1)),
}


def runs(f, r=math.ceil):
    return lambda differences, effect: r(f(float(differences.std()), abs(effect), len(differences), differences))


SLIPS["E11.2"] = {
    "int": runs(lambda s, e, n, g: (2.8 * s / e) ** 2, int),
    "2 for 1.96": runs(lambda s, e, n, g: ((2 + 0.84) * s / e) ** 2),
    "2.8/n": runs(lambda s, e, n, g: (2.8 * s / e) ** 2 / n),
    "times n": runs(lambda s, e, n, g: n * (2.8 * s / e) ** 2),
    "at least 2": runs(lambda s, e, n, g: max(2, (2.8 * s / e) ** 2)),
    "at least 6": runs(lambda s, e, n, g: max(6, (2.8 * s / e) ** 2)),
    "mad": runs(lambda s, e, n, g: (2.8 * float((g - g.median()).abs().median()) / e) ** 2),
    "ceil inside": runs(lambda s, e, n, g: math.ceil(2.8 * s / e) ** 2),
    "sum of ceil": runs(lambda s, e, n, g: math.ceil((1.96 * s / e) ** 2) + math.ceil((0.84 * s / e) ** 2)),
    "var/effect": runs(lambda s, e, n, g: 2.8**2 * s**2 / e),
    "2.8 not squared": runs(lambda s, e, n, g: 2.8 * (s / e) ** 2),
    "sd not squared": runs(lambda s, e, n, g: 2.8**2 * s / e**2),
    "sign": lambda differences, effect: math.ceil((2.8 * float(differences.std())) ** 2 / (effect * abs(effect))),
    "1.96*0.84": runs(lambda s, e, n, g: (1.96 * 0.84 * s / e) ** 2),
    "2.33": runs(lambda s, e, n, g: ((2.576 + 0.84) * s / e) ** 2),
    "half": runs(lambda s, e, n, g: (2.8 * s / e) ** 2 / 2),
    "t": runs(lambda s, e, n, g: ((2.36 + 0.84) * s / e) ** 2),
    "str": runs(lambda s, e, n, g: (2.8 * s / e) ** 2, lambda v: torch.tensor(math.ceil(v))),
}


def fitting(u, w=None, out=lambda i, s, u, y: i):
    def fd_of_all(sizes, values):
        x, y = u(sizes.double()), values.double()
        ww = torch.ones_like(x) if w is None else w(sizes.double())
        ww = ww / ww.sum()
        mx, my = (ww * x).sum(), (ww * y).sum()
        s = (ww * (x - mx) * (y - my)).sum() / (ww * (x - mx) ** 2).sum()
        return float(out(my - s * mx, s, x, y))

    return fd_of_all


SLIPS["E11.3"] = {
    "weights N": fitting(lambda n: 1 / n, lambda n: n),
    "weights sqrt": fitting(lambda n: 1 / n, lambda n: n**0.5),
    "min": lambda s, v: float(v.min()),
    "last": lambda s, v: float(v[-1]),
    "richardson": lambda s, v: float((s[-1] * v[-1] - s[0] * v[0]) / (s[-1] - s[0])) if s[-1] != s[0] else 0.0,
    "first two": lambda s, v: float((s[1] * v[1] - s[0] * v[0]) / (s[1] - s[0])),
    "quadratic": lambda s, v: (
        float(
            torch.linalg.lstsq(
                torch.stack([torch.ones_like(s), 1 / s, 1 / s**2], 1).double(), v.double()[:, None]
            ).solution[0]
        )
        if len(s) > 2
        else 2.0
    ),
    "exp": fitting(lambda n: torch.exp(-n / 1000)),
    "at mean": fitting(lambda n: 1 / n, out=lambda i, s, u, y: i + s * u.mean()),
    "at max N": fitting(lambda n: 1 / n, out=lambda i, s, u, y: i + s * u.min()),
    "clamped": fitting(lambda n: 1 / n, out=lambda i, s, u, y: i.clamp(min=0)),
    "abs": fitting(lambda n: 1 / n, out=lambda i, s, u, y: abs(i)),
    "slope/N": fitting(lambda n: 1 / n, out=lambda i, s, u, y: y.mean() - s / (1 / u).mean()),
    "median pair": lambda s, v: (
        float(((s * v)[1:] - (s * v)[:-1]).sum() / (s[1:] - s[:-1]).sum()) if s[-1] != s[0] else 0.0
    ),
    "n v line": lambda s, v: (
        lambda x, y: float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    )(s.double(), (s * v).double()),
    "swap": lambda s, v: (
        lambda x, y: (lambda k: float(x.mean() - k * y.mean()))(
            ((x - x.mean()) * (y - y.mean())).sum() / ((y - y.mean()) ** 2).sum()
        )
    )(1 / s.double(), v.double()),
    "unique": lambda s, v: (
        lambda u, y: (lambda k: float(y.mean() - k * u.mean()))(
            ((u - u.mean()) * (y - y.mean())).sum() / ((u - u.mean()) ** 2).sum()
        )
    )(
        *(
            lambda d: (
                1 / torch.tensor(list(d), dtype=torch.float64),
                torch.tensor(list(d.values()), dtype=torch.float64),
            )
        )(dict(zip(s.tolist(), v.tolist())))
    ),
}


def cells(f):
    return lambda table: f(table[0, 0], table[1, 0], table[0, 1], table[1, 1])


def effects(n, a, b, c):
    return ((a + c - n - b) / 2, (b + c - n - a) / 2)


SLIPS["E11.4"] = {
    "index order": lambda t: (
        (t[:, 1] - t[:, 0]).mean(0),
        (t[1] - t[0]).mean(0),
        t[1, 1] - t[1, 0] - t[0, 1] + t[0, 0],
    ),
    "sum": lambda t: ((t[1] - t[0]).sum(0), (t[:, 1] - t[:, 0]).sum(0), t[1, 1] - t[1, 0] - t[0, 1] + t[0, 0]),
    "mean dim1": lambda t: ((t[1] - t[0]).mean(1), (t[:, 1] - t[:, 0]).mean(1), t[1, 1] - t[1, 0] - t[0, 1] + t[0, 0]),
    "inter half": cells(lambda n, a, b, c: (*effects(n, a, b, c), (c - a - b + n) / 2)),
    "inter c-a": cells(lambda n, a, b, c: (*effects(n, a, b, c), c - a)),
    "inter c-b": cells(lambda n, a, b, c: (*effects(n, a, b, c), c - b)),
    "inter a-n": cells(lambda n, a, b, c: (*effects(n, a, b, c), a - n)),
    "inter mean": cells(lambda n, a, b, c: (*effects(n, a, b, c), (n + a + b + c) / 4)),
    "inter product": cells(lambda n, a, b, c: (*effects(n, a, b, c), effects(n, a, b, c)[0] * effects(n, a, b, c)[1])),
    "inter abs": cells(lambda n, a, b, c: (*effects(n, a, b, c), (c - a - b + n).abs())),
    "first max": cells(lambda n, a, b, c: (torch.maximum(a - n, c - b), torch.maximum(b - n, c - a), c - a - b + n)),
    "first only off": cells(lambda n, a, b, c: (a - n, effects(n, a, b, c)[1], c - a - b + n)),
    "second only on": cells(lambda n, a, b, c: (effects(n, a, b, c)[0], c - a, c - a - b + n)),
    "relative": cells(lambda n, a, b, c: (effects(n, a, b, c)[0] / n, effects(n, a, b, c)[1] / n, c - a - b + n)),
    "scaled": cells(lambda n, a, b, c: ((a + c) / 2, (b + c) / 2, c - a - b + n)),
    "sign of second": cells(lambda n, a, b, c: (effects(n, a, b, c)[0], -effects(n, a, b, c)[1], c - a - b + n)),
    "wrong order": cells(lambda n, a, b, c: (c - a - b + n, *effects(n, a, b, c))),
    "mean seeds inter": cells(lambda n, a, b, c: (*effects(n, a, b, c), (c - a - b + n).mean().expand_as(n))),
    "two": cells(lambda n, a, b, c: effects(n, a, b, c)),
    "stack": cells(lambda n, a, b, c: torch.stack([*effects(n, a, b, c), c - a - b + n])),
}


def tuning(
    tries=lambda B, m, s: B // m // s,
    judge=statistics.fmean,
    seeds_of=lambda s: s,
    key=min,
    sub=lambda sp, k: sp[:k],
    res=lambda sp, i: sp[i],
):
    def tuned_alike(loss, settings, budget, seeds):
        k = tries(budget, len(settings), len(seeds))
        out = {}
        for n, sp in settings.items():
            c = sub(sp, k)
            m = [judge([loss(n, x, q) for q in seeds_of(seeds)]) for x in c]
            out[n] = res(c, m.index(key(m)))
        return out

    return tuned_alike


def greedy(loss, settings, budget, seeds):
    out = {}
    k = budget // len(settings) // len(seeds)
    for n, sp in settings.items():
        best = None
        for x in sp[:k]:
            m = sum(loss(n, x, q) for q in seeds)
            if best is not None and m > best:
                break
            best = m
            out[n] = x
    return out


def perseed(loss, settings, budget, seeds):
    k = budget // len(settings) // len(seeds)
    out = {}
    for n, sp in settings.items():
        wins = [min(sp[:k], key=lambda x: loss(n, x, q)) for q in seeds]
        out[n] = max(wins, key=wins.count)
    return out


SLIPS["E11.5"] = {
    "last settings": tuning(sub=lambda sp, k: sp[-k:]),
    "every other": tuning(sub=lambda sp, k: sp[::2][:k]),
    "product": tuning(judge=math.prod),
    "std": tuning(judge=lambda v: statistics.pstdev(v)),
    "mean+std": tuning(judge=lambda v: statistics.fmean(v) + statistics.pstdev(v)),
    "abs": tuning(judge=lambda v: sum(abs(x) for x in v)),
    "squares": tuning(judge=lambda v: sum(x * x for x in v)),
    "greedy": greedy,
    "vote": perseed,
    "budget per seed": tuning(tries=lambda B, m, s: B // s),
    "budget//m": tuning(tries=lambda B, m, s: B // m),
    "index returned": tuning(res=lambda sp, i: i),
    "tuple": lambda loss, settings, budget, seeds: (lambda b: {n: (x, 0.0) for n, x in b.items()})(
        tuning()(loss, settings, budget, seeds)
    ),
    "list": lambda loss, settings, budget, seeds: list(tuning()(loss, settings, budget, seeds).values()),
    "min 2 settings": tuning(tries=lambda B, m, s: max(2, B // m // s)),
    "capped by shortest": lambda loss, settings, budget, seeds: tuning(
        tries=lambda B, m, s: min(B // m // s, min(map(len, settings.values())))
    )(loss, settings, budget, seeds),
    "one seed more": tuning(seeds_of=lambda s: [*s, s[-1] + 1]),
    "only best overall": lambda loss, settings, budget, seeds: (
        lambda b: {min(b, key=lambda n: loss(n, b[n], seeds[0])): 0}
    )(tuning()(loss, settings, budget, seeds)),
    "round": tuning(tries=lambda B, m, s: max(1, round(B / m / s))),
    "unspent": tuning(tries=lambda B, m, s: max(1, (B - 1) // m // s)),
    "budget//(m+s)": tuning(tries=lambda B, m, s: max(1, B // (m + s))),
}


def auditing(**ch):
    t = {
        "minimum": lambda r, A: any(abs(a["shown"] - sum(a["runs"]) / len(a["runs"])) > 1e-6 for a in A),
        "cost": lambda r, A: len({a["evaluations"] for a in A}) > 1,
        "samples": lambda r, A: len({a["samples"] for a in A}) > 1,
        "tuning": lambda r, A: len({a["trials"] for a in A}) > 1,
        "checkpoint": lambda r, A: r["chosen_on"] == r["judged_on"],
        "star": lambda r, A: r["star"] and any(len(a["runs"]) < 6 for a in A),
    } | ch
    return lambda report: [n for n, f in t.items() if f(report, list(report["arms"].values()))]


SLIPS["E11.6"] = {
    "shown==min": auditing(minimum=lambda r, A: any(a["shown"] == min(a["runs"]) for a in A)),
    "exact": auditing(minimum=lambda r, A: any(a["shown"] != statistics.fmean(a["runs"]) for a in A)),
    "isclose rel": auditing(
        minimum=lambda r, A: any(not math.isclose(a["shown"], statistics.fmean(a["runs"]), rel_tol=1e-3) for a in A)
    ),
    "ours only min": auditing(minimum=lambda r, A: abs(A[0]["shown"] - statistics.fmean(A[0]["runs"])) > 1e-6),
    "first vs last": auditing(cost=lambda r, A: A[0]["evaluations"] != A[-1]["evaluations"]),
    "ours more": auditing(cost=lambda r, A: A[0]["evaluations"] > max(a["evaluations"] for a in A[1:])),
    "samples <1000": auditing(samples=lambda r, A: any(a["samples"] < 1000 for a in A)),
    "trials sum": auditing(tuning=lambda r, A: sum(a["trials"] for a in A) != 27),
    "checkpoint test": auditing(checkpoint=lambda r, A: r["chosen_on"] == "test"),
    "checkpoint ne": auditing(checkpoint=lambda r, A: r["chosen_on"] != r["judged_on"]),
    "star <=6": auditing(star=lambda r, A: r["star"] and any(len(a["runs"]) <= 6 for a in A)),
    "star <5": auditing(star=lambda r, A: r["star"] and any(len(a["runs"]) < 5 for a in A)),
    "star all": auditing(star=lambda r, A: r["star"] and all(len(a["runs"]) < 6 for a in A)),
    "star nostar": auditing(star=lambda r, A: any(len(a["runs"]) < 6 for a in A)),
    "return first": lambda rep: auditing()(rep)[:1],
    "set": lambda rep: set(auditing()(rep)),
    "bools": lambda rep: [n in auditing()(rep) for n in ("minimum", "cost", "samples", "tuning", "checkpoint", "star")],
    "capital": lambda rep: [n.capitalize() for n in auditing()(rep)],
    "evals": lambda rep: [{"cost": "evaluations"}.get(n, n) for n in auditing()(rep)],
}
SLIPS["E11.7"] = {
    "t of n": claimed(interval=ends(GAPS, 2.571)),
    "z99": claimed(interval=ends(GAPS, 2.576)),
    "se only": claimed(interval=ends(GAPS, 1.0)),
    "unpaired t": claimed(
        interval=(lambda m, s: (m - 2.179 * s, m + 2.179 * s))(
            statistics.fmean(GAPS), (statistics.variance(OURS) / 7 + statistics.variance(PLAIN) / 7) ** 0.5
        )
    ),
    "ours minus plain": claimed(interval=ends([-g for g in GAPS])),
    "mean only": claimed(interval=(statistics.fmean(GAPS),) * 2),
    "arms min": claimed(interval=(0.0, 0.12)),
    "ours interval": claimed(interval=ends(OURS)),
    "percent": claimed(interval=tuple(100 * e for e in ends(GAPS))),
    "relative": claimed(interval=tuple(e / statistics.fmean(PLAIN) for e in ends(GAPS))),
    "verdict yes": claimed(verdict="yes"),
    "two levels": claimed(limits=[(8, 0.2), (8, 0.1), (8, 0.01)]),
    "gain stays": claimed(limits=[(8, 0.1), (16, 0.1), (64, 0.1)]),
    "limits text": claimed(limits="until 64 steps"),
    "cost text": claimed(cost={"ours": "16 evals", "plain": "16 evals"}),
    "five seeds": claimed(arms={"ours": OURS[:5], "plain": PLAIN[:5]}, interval=ends(GAPS[:5], 2.776)),
    "better bigger": claimed(better="smaller"),
    "idea short": claimed(idea="2M is better"),
}


def upsampler_test(*parts):
    def test_upsampler(upsample):
        x = torch.linspace(0, 50, 3 * 12 * 12).view(3, 1, 12, 12).sin()
        big = upsample(x)
        k = {"rtol": 1e-3, "atol": 1e-3}
        if "m" in parts:
            torch.testing.assert_close(F.avg_pool2d(big, 4), x, **k)
        if "c" in parts:
            torch.testing.assert_close(upsample(torch.full_like(x, 0.4)), torch.full_like(big, 0.4), **k)
        if "a" in parts:
            torch.testing.assert_close(upsample(x[1:2]), big[1:2], **k)
        if "r" in parts:
            torch.testing.assert_close(upsample(x.roll(1, -1))[..., 16:-16], big.roll(4, -1)[..., 16:-16], **k)
        if "s" in parts:
            assert big.shape[-1] == 48
        if "n" in parts:
            assert (F.interpolate(big, (12, 12)) - x).abs().max() < 0.1
        if "R" in parts:
            torch.testing.assert_close(upsample(x.roll(1, -1)), big.roll(4, -1), **k)
        if "e" in parts:
            assert torch.equal(F.avg_pool2d(big, 4), x)
        if "M" in parts:
            assert (big.mean() - x.mean()).abs() < 1e-3
        if "C" in parts:
            assert (upsample(torch.zeros_like(x)) == 0).all()

    return test_upsampler


SLIPS["E9.6"] = {n: upsampler_test(*n) for n in ("mca", "mcr", "mar", "car", "s", "nc", "mcaR", "ecar", "Mcar", "mCar")}


def student_test(*parts):
    def test_student(draw):
        z = torch.randn(100, 2, generator=torch.Generator().manual_seed(2))
        for n in (1, 2, 4):
            a, b = draw(z, n), draw(z, 16)
            if "t" in parts:
                assert (a - b).square().mean().sqrt() < 0.15
            if "T" in parts:
                assert torch.allclose(a, b, atol=0.1)
            if "e" in parts:
                assert torch.equal(a, b)
            if "m" in parts:
                assert (a.mean(0) - b.mean(0)).abs().max() < 0.1
            if "d" in parts:
                assert (a.std(0) - b.std(0)).abs().max() < 0.1
            if "s" in parts:
                assert a.std(0).min() > 0.3
            if "S" in parts:
                assert a.std() > 0.3
            if "a" in parts:
                assert (draw(z[:7], n) - a[:7]).abs().max() < 0.05
            if "x" in parts:
                assert (a - b).abs().max() < 0.3
            if "M" in parts:
                assert (a - b).abs().mean() < 0.15
        if "1" in parts:
            assert (draw(z, 1) - draw(z, 16)).square().mean().sqrt() < 0.15

    return test_student


SLIPS["E10.7"] = {n: student_test(*n) for n in ("t", "ts", "ta", "Tsa", "esa", "mdsa", "tSa", "xsa", "1sa", "msa")}


NAMED = {
    "E9.1": {
        "ceil width": ("the kernel is stretched by a whole number: n / size is rounded up",),
        "int division": ("n / size is rounded down",),
        "norm by max": ("each row is divided by its largest weight, not by its sum",),
        "clamp neg": ("negative weights are cut off",),
        "norm whole": ("all weights are divided by the sum of all: each row must sum to 1",),
        "divide by width": ("the rows are not made to sum to 1",),
        "half pixel only old": ("the half pixel is added to the old pixels alone",),
        "half added after scaling": ("the half pixel is forgotten",),
        "min width": ("the kernel is squeezed where the picture grows, and not stretched where it shrinks",),
        "eps": ("the result has the wrong factor",),
        "linspace": ("the corners are aligned: a pixel has its middle half a pixel inside",),
        "linspace0n": ("new pixels run from edge to edge: their middles lie half a pixel inside",),
        "sqrt width": ("the kernel is stretched by the root of n / size",),
        "softmax0": ("negative weights are taken for positive ones",),
    },
    "E9.2": {
        "median": ("the median of the variances for their mean",),
        "max var": ("the largest of the variances for their mean",),
        "sqrt diag": ("standard deviations for their mean",),
        "log2": ("the logarithm to base 2, not 10",),
        "rmse": ("the root of the error: the squared one is asked for",),
        "frob": ("the length of all entries over d for their mean",),
        "eig max": ("the largest eigenvalue for their mean",),
        "d-1": ("the sum of the variances over d - 1 for their mean",),
        "top 2": ("the span is not squared",),
        "mean of cov all": ("all entries of cov instead of its diagonal, or: the sizes of all entries for their mean",),
        "ln": ("the natural logarithm",),
        "no 10": ("the logarithm has no factor 10: decibel",),
        "first pixel": ("the first pixel's variance for their mean",),
    },
    "E9.3": {
        "enlarge(x)": ("x twice, once enlarged",),
        "enlarged twice": ("the small picture is enlarged twice",),
        "stack": ("stacked along a new axis: channels are axis 1",),
        "mean": ("the mean of x and the enlarged picture", "half of x for nothing known"),
        "minus one": ("-1 for nothing known",),
        "drop when 1": ("one small picture for all is not used: 0 stands in its place",),
        "first channel": ("the small picture's first channel for all",),
        "shown first none right": ("the enlarged picture comes before x",),
        "clamp": ("the small picture is cut off to [-1, 1]",),
        "half": ("half of the enlarged picture",),
        "last of low": ("one `low`, the last, for all",),
        "none is x": ("x alone: the network needs the same number of channels",),
    },
    "E9.4": {
        "noise minus mean": ("one number too many is added to the result",),
        "level max": ("one level for the whole batch",),
        "vp": ("the picture is scaled by 1 - level; here it is not",),
        "abs noise": ("the absolute value of `noise`",),
        "residual plus noise": ("the residual of the clean small picture: at sampling nobody has that",),
        "divide after": ("the enlarged picture alone is divided by spread",),
        "times sqrt spread": ("the result has the wrong factor",),
        "added": ("the sum of both pictures, not their difference",),
        "level 1-": ("1 - `level`, or: the factor of `noise` is 1 minus what it should be",),
        "level*spread": ("the noise is scaled by spread, too",),
        "level twice": ("twice `level`, or: twice `noise`",),
        "low clean given": ("the small picture is cut off to [-1, 1]",),
        "plus spread": ("1 + `spread`",),
        "detached": ("one number too many is added to the result",),
    },
    "E9.5": {
        "twice called": ("each stage is called twice",),
        "last only": ("only the last frame of each stage is kept",),
        "first stage only": ("only the first stage runs",),
        "zip one": ("only the first frame of each stage is kept",),
        "mean of frames": ("the next stage starts from the mean of the frames, not the last",),
        "all but last": ("the last frame of each stage is left out",),
        "reversed frames": ("the frames of a stage are turned round",),
        "skip first frame": ("the first frame of each stage is left out",),
        "second frame": ("the next stage starts from the second frame, not the last",),
        "number counts down": ("stages are counted down",),
        "number of frames": ("the number of frames for the number of the stage",),
        "not updated": ("every stage starts from the first picture",),
        "clamped": ("what the next stage starts from is cut off to [-1, 1]",),
        "frames as tensor": ("the frames of a stage are stacked into one tensor",),
        "detach last dup": ("the last frame is there twice",),
    },
    "E10.1": {
        "plus old": ("`old` has the wrong factor",),
        "minus": ("the line is read off backwards: new and old are swapped",),
        "no half": ("the line is read off at the end of the step, not in its middle",),
        "ratio upside": ("the ratio of the steps is upside down",),
        "t not lambda": ("times are not lambdas: steps are measured in log(alpha / sigma)",),
        "half fixed": ("the two steps are taken for equally long",),
        "whole": ("`new` and `old` have the wrong factors",),
        "over whole": ("`new` and `old` have the wrong factors",),
        "quarter": ("`new` and `old` have the wrong factors",),
        "from old": ("`new` and `old` have the wrong factors",),
        "mean": ("the two guesses are averaged: that looks back, not ahead",),
        "squared ratio": ("`new` and `old` have the wrong factors",),
        "exp": ("`new` and `old` have the wrong factors",),
        "no old": ("the old guess is not used: that is DDIM",),
        "step from r": ("the step starts at r, where x_t is not",),
        "returns ahead": ("the guess is returned, not x at time s",),
    },
    "E10.2": {
        "geo mid": ("the middle is at sqrt(t s): its time is (t + s) / 2",),
        "second asks t": ("the second guess is asked at time t, not at the middle",),
        "second asks x_t": ("the second guess is asked at x_t, which has moved",),
        "second at s": ("the second guess is asked at time s, not at the middle",),
        "mean of guesses": ("x_s is returned: the student answers with an x0_hat",),
        "not divided": ("the result has the wrong factor",),
        "plus k at": ("added where it is subtracted: alpha_s - sigma_s / sigma_t alpha_t",),
        "divide by as": ("alpha_t is forgotten where x0_hat is solved for",),
        "alpha ratio": ("the noise is solved for, not x0_hat",),
        "second from x_t": ("the second step starts at x_t, not at the middle's x",),
        "mid float": ("one middle for the whole batch: each example has its own",),
        "x0 from s": ("(x_s - sigma_s x_t) / alpha_s: that takes x_t for noise",),
        "clamped": ("the result is cut off at -1 and 1",),
        "k squared": ("sigma_s / sigma_t is squared",),
        "avg two": ("the two guesses are averaged",),
    },
    "E10.3": {
        "always first teacher": ("the first teacher teaches every student",),
        "reversed": ("students come in the wrong order",),
        "last only": ("only the last student is kept",),
        "include teacher": ("the first teacher is in the list",),
        "train told 2n": ("the student is trained for its teacher's number of steps",),
        "swap": ("the student comes before its number of steps",),
        "students only": ("students without their number of steps",),
        "stops early": ("the last halving is missing",),
        "power of two steps": ("powers of two alone are accepted: end may be any number",),
    },
    "E10.4": {
        "high-low swapped": ("low and high are swapped: the scale runs from high down to low",),
        "no low": ("low is not added: the scale runs from 0 to high - low",),
        "low times": ("the scale may pass high: the span is high - low",),
        "log uniform": ("the scale grows by a factor; it grows along a line",),
        "rounded": ("the scale is rounded to a whole number",),
        "1+s": ("the paper's w, which is the scale less 1, or: guidance starts from the guess without a label",),
        "c + e": ("the paper's w, which is the scale less 1, or: guidance starts from the guess without a label",),
        "one scale": ("one scale for the whole batch",),
        "mean scale": ("the mean scale for every example",),
        "swap mix": ("cond and uncond are swapped",),
        "scaled e c": ("the scale times the guess with a label, without the difference",),
        "t2=0": ("one number too many is added to target",),
        "zeros null": ("label 0 means something: without a label is `null`",),
        "told 1": ("scale is cut off at -1 and 1, or: scale is cut off at 0 and 1, or: scale is always 1",),
        "told u": ("u is told, not the scale",),
        "clamped": ("target is cut off at -1 and 1",),
        "mid": ("one scale for all, in the middle",),
    },
    "E10.5": {
        "no r": ("the network is not shown x / r",),
        "times r": ("the network is shown x r",),
        "r no sqrt": ("r is the variance: take its root",),
        "r no d": ("spread is forgotten in r",),
        "skip no alpha": ("alpha is forgotten in c_skip",),
        "skip d": ("spread is not squared in c_skip",),
        "skip r": ("c_skip is divided by a standard deviation",),
        "out no d": ("spread is forgotten in c_out",),
        "out no r": ("c_out is not divided by r",),
        "out neg": ("the network's answer is subtracted",),
        "out r2": ("c_out is divided by the variance, not by its root",),
        "edm": ("alpha is forgotten: c_skip and c_out are those of x_t = x0 + sigma eps",),
        "skip 1": ("x is handed through whole at every t",),
        "skip 1-t": ("x and the network's answer are mixed by t, not by variances",),
        "t=0 asked": ("the network is asked at time 0, not at t",),
        "alpha2": ("alpha is squared in c_skip",),
        "sum": ("r adds standard deviations: variances add",),
    },
    "E10.6": {
        "swap": ("the samples' score less the data's: they would flee from the data",),
        "no alpha": ("alpha is forgotten: x_t moves by alpha where x moves by 1",),
        "a2": ("alpha twice",),
        "sigma": ("sigma where alpha belongs",),
        "sigma2": ("the result has the wrong factor",),
        "half": ("half of the result",),
        "minus noise": ("`noise` has the wrong sign",),
        "no sigma": ("the noise is not multiplied by sigma",),
        "x plus sigma n": ("x is not multiplied by alpha before the noise comes",),
        "swapped ab": ("`x` and `noise` are swapped",),
        "real only": ("the samples' own score is left out: all would end on a peak",),
        "fake only": ("the data's score is left out",),
        "normalised": ("the result has the wrong factor",),
        "a over b2": ("divided by sigma^2: scores are no noise",),
        "real + x": ("x itself is moved and returned: the direction alone is asked for",),
        "t=0": ("the scores are asked at time 0, not at t",),
        "mean over batch": ("the mean over the batch for every example",),
        "a times real minus fake": ("alpha times the data's score alone: it belongs to the difference",),
    },
    "E11.1": {
        "one-sided 5": ("a 90 % interval: 5 % are left out on each side",),
        "percent sorted idx": (
            "quantiles are not interpolated (entries int(0.025 n) and int(0.975 n)): torch.quantile does it by default",
        ),
        "lower interp": ("quantiles are not interpolated (the wider one): torch.quantile does it by default",),
        "median dim": ("the median of each draw",),
        "a mean - b single": ("the first seed of each draw for b, the mean for a",),
        "ratio of means": ("a ratio of means, not a mean difference",),
        "abs": ("sizes of differences: their signs are lost",),
        "mean +- std": ("mean +- one standard deviation of the draws' means: that covers two thirds",),
        "min max": ("the smallest and the largest mean: 2.5 % are left out on each side",),
        "picks T": ("the mean is taken over the draws, not over the seeds",),
        "unique picks": ("each seed counts once in a draw, however often it was drawn",),
        "only half": ("only the first half of the draws",),
        "centered": ("the mean of all differences is taken away",),
        "trimmed": ("the largest difference of each draw is left out",),
        "swapped ends": ("the upper end comes first",),
        "relative": ("differences relative to b",),
        "n-1": ("the sum of each draw is divided by n - 1",),
    },
    "E11.2": {
        "int": ("rounded down: then it is not quite enough",),
        "2 for 1.96": ("2 for 1.96",),
        "2.8/n": ("divided by the pilot's runs, or: the standard error for the standard deviation",),
        "times n": ("times the pilot's runs",),
        "at least 2": ("two at least: one run may be enough",),
        "at least 6": ("six at least: that is for a star",),
        "mad": ("the median of the deviations for their standard deviation",),
        "ceil inside": ("rounded up before it is squared",),
        "sum of ceil": ("two numbers of runs are added, one for 1.96, one for 0.84",),
        "var/effect": ("the effect is not squared",),
        "2.8 not squared": ("1.96 + 0.84 is not squared",),
        "sd not squared": ("the spread is not squared",),
        "sign": ("a negative effect gives a negative number",),
        "1.96*0.84": ("1.96 and 0.84 are multiplied, not added",),
        "2.33": ("2.576 for 1.96: that is for 99 %",),
        "half": ("half as many",),
    },
    "E11.3": {
        "weights N": ("each N counts by its size: all N count alike",),
        "weights sqrt": ("each N counts by its root: all N count alike",),
        "min": ("the smallest value still carries its bias",),
        "last": ("the last value still carries its bias",),
        "richardson": ("only the first and the last are used",),
        "first two": ("only the first two are used",),
        "at mean": ("the mean over all N: the line's height at the mean of 1 / N",),
        "at max N": ("its value at the largest N, not at 1 / N = 0",),
        "clamped": ("cut off at 0: a line may end below",),
        "abs": ("the size of the value: a line may end below 0",),
        "slope/N": ("1 / mean of N for the mean of 1 / N",),
        "median pair": ("only the first and the last are used",),
        "n v line": (
            "N FD is fitted against N: that weighs large N more, or: each N counts by its square: all N count alike",
        ),
        "swap": ("1 / N and FD have changed places: FD is fitted, not N",),
        "unique": ("an N that comes twice counts once",),
    },
    "E11.4": {
        "index order": ("the two parts are swapped",),
        "sum": ("sums over the other part, not means",),
        "inter half": ("half the interaction",),
        "inter c-a": ("the interaction is the second part's change where the first is on",),
        "inter c-b": ("the interaction is the first part's change where the second is on",),
        "inter a-n": ("the interaction is the first part's change where the second is off",),
        "inter mean": ("the interaction is the mean of all four",),
        "inter product": ("the interaction is no product of the two effects",),
        "inter abs": ("the interaction is the size of the difference: its sign is lost",),
        "first max": ("the larger of the two changes, not their mean",),
        "first only off": ("the first effect only where the second part is off",),
        "second only on": ("the second effect only where the first part is on",),
        "relative": ("relative to what neither gives",),
        "scaled": ("the effects are means where the part is on, not differences",),
        "sign of second": ("the second effect has the wrong sign",),
        "wrong order": ("the interaction comes first",),
        "mean seeds inter": ("the interaction is averaged over the seeds",),
    },
    "E11.5": {
        "last settings": ("the last settings are tried, not the first",),
        "every other": ("every other setting is tried, not the first ones",),
        "product": ("a setting is judged by the product of its losses, not by their mean",),
        "std": ("a setting is judged by its spread, not by its mean",),
        "mean+std": ("a setting is judged by its mean and its spread, not by its mean alone",),
        "abs": ("a setting is judged by the sizes of its losses, not by their mean",),
        "squares": ("a setting is judged by the squares of its losses, not by their mean",),
        "greedy": ("the search ends at the first setting that is worse: all of the share are tried",),
        "vote": ("a setting is judged by how often it wins, not by its mean",),
        "budget per seed": ("the budget is spent on each method, not shared among them",),
        "budget//m": ("the seeds are not counted: a setting costs one call for each",),
        "index returned": ("the place of the setting is returned, not the setting",),
        "list": ("a list of settings is returned: a dictionary by name is asked for",),
        "min 2 settings": ("two settings at least, whatever the budget",),
        "capped by shortest": ("no more settings than the shortest list has, for any method",),
        "only best overall": ("the winner is asked for once more, on one seed",),
        "round": ("the share is rounded to the nearest number: it may be too much",),
        "unspent": ("one call of the budget is kept back",),
        "budget//(m+s)": ("shared among methods and seeds together: budget // (methods + seeds)",),
    },
    "E11.7": {
        "t of n": (
            "t of n - 2 degrees of freedom: n - 1, or: mean +- 2.576 standard errors: a 99 % "
            "interval, and not Student's t",
        ),
        "z99": (
            "t of n - 2 degrees of freedom: n - 1, or: mean +- 2.576 standard errors: a 99 % "
            "interval, and not Student's t",
        ),
        "se only": ("one standard error each way: that covers two thirds",),
        "unpaired t": ("unpaired, with Student's t: the two spreads are added",),
        "ours minus plain": ("the sign: positive must mean that ours is better",),
        "mean only": ("the mean alone, without a width",),
        "ours interval": ("the interval of 'ours' alone",),
        "percent": ("in per cent: copy the numbers as they are",),
        "relative": ("relative to the alternative's mean",),
    },
}
