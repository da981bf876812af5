"""Slips of a reader of 01, as a student writes them, and the names that the checks print; all are rejected."""

import math
import textwrap
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from cs348k_diffusion.procedural.policies import POLICIES
from cs348k_diffusion.procedural.policy import BALANCED, Policy, falling
from tests.answers.autodiff_and_moves import EXAMPLE
from tests.answers.autodiff_and_moves import RULES as RULE_NAMES

CELL = {  # what the notebook has imported
    "math": math, "np": np, "torch": torch, "F": F, "replace": replace, "POLICIES": POLICIES, "BALANCED": BALANCED,
    "Policy": Policy, "falling": falling, "EXAMPLE": EXAMPLE, "RULE_NAMES": RULE_NAMES,
}  # fmt: skip


def written(head, bodies):
    """The functions with this first line and these bodies, by the names of the slips."""
    found = {}
    for slip, body in bodies.items():
        space = dict(CELL)
        exec(f"def {head}:\n{textwrap.indent(body, '    ')}\n", space)
        found[slip] = space[head.partition("(")[0]]
    return found


SLIPS = {}
SLIPS["E1.1"] = written(
    "way_back(l1, a1, l2, a2)",
    {
        "bend taken off the angle": """\
l = l1 + l2
return l, a1 - a2 / 2, l1 / l, a2 / 2
""",
        "share of the upper half": """\
l = l1 + l2
return l, a1 + a2 / 2, l2 / l, a2 / 2
""",
        "v is the whole bend": """\
l = l1 + l2
return l, a1 + a2 / 2, l1 / l, a2
""",
        "v and the angle with the whole bend": """\
l = l1 + l2
v = a2
return l, a1 + v, l1 / l, v
""",
        "v negative": """\
l = l1 + l2
v = -a2 / 2
return l, a1 - v, l1 / l, v
""",
        "u is the ratio of the halves": "return l1 + l2, a1 + a2 / 2, l1 / l2, a2 / 2",
        "the angle is left at a1": """\
l = l1 + l2
return l, a1, l1 / l, a2 / 2
""",
        "u before the angle": """\
l = l1 + l2
return l, l1 / l, a1 + a2 / 2, a2 / 2
""",
        "straight line from end to end": """\
x = l1 * math.sin(a1) + l2 * math.sin(a1 + a2)
y = l1 * math.cos(a1) + l2 * math.cos(a1 + a2)
return math.hypot(x, y), math.atan2(x, y), l1 / (l1 + l2), a2 / 2
""",
        "angle weighted by the lengths": """\
l = l1 + l2
u = l1 / l
return l, u * a1 + (1 - u) * (a1 + a2), u, a2 / 2
""",
        "length: the mean of the halves": "return (l1 + l2) / 2, a1 + a2 / 2, l1 / (l1 + l2), a2 / 2",
        "a2 taken from the ground": """\
l = l1 + l2
v = (a2 - a1) / 2
return l, a1 + v, l1 / l, v
""",
        "mean of the angles": """\
l = l1 + l2
return l, (a1 + a2) / 2, l1 / l, a2 / 2
""",
        "v forgotten": """\
l = l1 + l2
return l, a1 + a2 / 2, l1 / l
""",
        "no return": """\
l = l1 + l2
result = l, a1 + a2 / 2, l1 / l, a2 / 2
""",
        "prints": """\
l = l1 + l2
print(l, a1 + a2 / 2, l1 / l, a2 / 2)
""",
        "whole-number division": """\
l = l1 + l2
v = a2 // 2
return l, a1 + v, l1 / l, v
""",
        "precedence in u": """\
v = a2 / 2
return l1 + l2, a1 + v, l1 / l1 + l2, v
""",
        "v without its sign": """\
l = l1 + l2
v = abs(a2) / 2
return l, a1 + v, l1 / l, v
""",
        "length: l1 / u with u one half": "return 2 * l1, a1 + a2 / 2, 0.5, a2 / 2",
        "rounded": """\
l = l1 + l2
return tuple(round(value, 3) for value in (l, a1 + a2 / 2, l1 / l, a2 / 2))
""",
        "turned into [0, 2 pi)": """\
l = l1 + l2
return l, (a1 + a2 / 2) % (2 * math.pi), l1 / l, a2 / 2
""",
        "u kept from the ends": """\
l = l1 + l2
return l, a1 + a2 / 2, min(max(l1 / l, 0.1), 0.9), a2 / 2
""",
        "v is a quarter": """\
l = l1 + l2
v = a2 / 2
return l, a1 + v, l1 / l, v / 2
""",
    },
)
SLIPS["E1.2"] = written(
    "soft_disc(points, centres, radii, softness)",
    {
        "inside and outside swapped": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((d - radii[:, None]) / softness)
""",
        "squares of both": """\
d = (points[None] - centres[:, None]).square().sum(-1)
return torch.sigmoid((radii[:, None].square() - d) / softness)
""",
        "distance squared": """\
d = (points[None] - centres[:, None]).square().sum(-1)
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "softness forgotten": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid(radii[:, None] - d)
""",
        "times softness": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii[:, None] - d) * softness)
""",
        "pixels first": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii[:, None] - d) / softness).T
""",
        "plain root": """\
d = (points[None] - centres[:, None]).square().sum(-1).sqrt()
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "root with where": """\
q = (points[None] - centres[:, None]).square().sum(-1)
d = torch.where(q > 0, q.sqrt(), torch.zeros_like(q))
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "hypot": """\
o = points[None] - centres[:, None]
d = torch.hypot(o[..., 0], o[..., 1])
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "large epsilon": """\
d = ((points[None] - centres[:, None]).square().sum(-1) + 1e-3).sqrt()
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "sum of the sides": """\
d = (points[None] - centres[:, None]).abs().sum(-1)
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "larger of the sides": """\
d = (points[None] - centres[:, None]).abs().amax(-1)
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "exp written out": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return 1 / (1 + torch.exp((d - radii[:, None]) / softness))
""",
        "no gradient": """\
with torch.no_grad():
    d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
    return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "centres detached": """\
d = torch.linalg.norm(points[None] - centres.detach()[:, None], dim=-1)
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "radii detached": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii.detach()[:, None] - d) / softness)
""",
        "hard edge": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return (d < radii[:, None]).to(d.dtype)
""",
        "first radius for all": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii[0] - d) / softness)
""",
        "a ramp": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return ((radii[:, None] - d) / softness + 0.5).clamp(0, 1)
""",
        "tanh without its half": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return (1 + torch.tanh((radii[:, None] - d) / softness)) / 2
""",
        "joined discs": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii[:, None] - d) / softness).amax(0)
""",
        "precedence": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid(radii[:, None] - d / softness)
""",
        "radii along the pixels": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii - d) / softness)
""",
        "diameter": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.sigmoid((radii[:, None] / 2 - d) / softness)
""",
        "tiny epsilon in the root, outside it": """\
d = (points[None] - centres[:, None]).square().sum(-1).sqrt() + 1e-8
return torch.sigmoid((radii[:, None] - d) / softness)
""",
        "tensor made anew": """\
d = torch.linalg.norm(points[None] - centres[:, None], dim=-1)
return torch.tensor(torch.sigmoid((radii[:, None] - d) / softness).tolist())
""",
        "a bell": """\
q = (points[None] - centres[:, None]).square().sum(-1)
return torch.exp(-q / (2 * radii[:, None].square()))
""",
    },
)
SLIPS["E1.3"] = written(
    "gradient_descent(loss, x, steps, size)",
    {
        "uphill": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x + size * g
    yield x
""",
        "the start as well": """\
yield x
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    yield x
""",
        "one too few": """\
for _ in range(1, steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    yield x
""",
        "before the step": """\
for _ in range(steps):
    yield x
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
""",
        "one tensor for all": """\
x = x.clone()
for _ in range(steps):
    y = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x -= size * g
    yield x
""",
        "the caller's tensor": """\
for _ in range(steps):
    y = x.detach().clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x -= size * g
    yield x.clone()
""",
        "gradients add up": """\
y = x.detach().clone().requires_grad_()
for _ in range(steps):
    loss(y).backward()
    with torch.no_grad():
        y -= size * y.grad
    yield y.detach().clone()
""",
        "two gradients a step": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    yield x
""",
        "smaller and smaller steps": """\
for k in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * (1 - k / steps) * g
    yield x
""",
        "length of the gradient taken out": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g / g.norm()
    yield x
""",
        "only the sign of the gradient": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g.sign()
    yield x
""",
        "momentum": """\
m = 0
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    m = 0.9 * m + g
    x = x - size * m
    yield x
""",
        "only if it gets better": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    new = x - size * g
    if loss(new) < loss(x):
        x = new
    yield x
""",
        "loss for gradient": """\
for _ in range(steps):
    x = x - size * loss(x)
    yield x
""",
        "the losses": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    yield loss(x)
""",
        "Adam": """\
y = x.detach().clone().requires_grad_()
opt = torch.optim.Adam([y], lr=size)
for _ in range(steps):
    opt.zero_grad()
    loss(y).backward()
    opt.step()
    yield y.detach().clone()
""",
        "SGD, not copied": """\
y = x.detach().clone().requires_grad_()
opt = torch.optim.SGD([y], lr=size)
for _ in range(steps):
    opt.zero_grad()
    loss(y).backward()
    opt.step()
    yield y.detach()
""",
        "stops where it is flat": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    if g.norm() < 1e-4:
        return
    x = x - size * g
    yield x
""",
        "only the last": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
yield x
""",
        "gradient cut to length 1": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g / g.norm().clamp(min=1)
    yield x
""",
        "float32": """\
x = x.float()
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    yield x
""",
        "gradient of the start": """\
y = x.detach().requires_grad_()
(g,) = torch.autograd.grad(loss(y), y)
for _ in range(steps):
    x = x - size * g
    yield x
""",
        "size squared": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * size * g
    yield x
""",
        "look ahead": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    z = (x - size * g).detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(z), z)
    x = x - size * g
    yield x
""",
        "yield after the loop of all": """\
xs = []
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g
    xs.append(x)
yield xs
""",
        "noise added": """\
for _ in range(steps):
    y = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(y), y)
    x = x - size * g + 0.01 * torch.randn_like(x)
    yield x
""",
    },
)
SLIPS["E1.4"] = written(
    "accept(log_p_old, log_p_new, log_q_there, log_q_back, uniform)",
    {
        "proposals the wrong way round": """\
return uniform.log() < log_p_new - log_p_old + log_q_there - log_q_back
""",
        "proposals forgotten": "return uniform.log() < log_p_new - log_p_old",
        "old and new swapped": "return uniform.log() < log_p_old - log_p_new + log_q_there - log_q_back",
        "out of the logarithm too early": """\
p_old, p_new, there, back = (v.exp() for v in (log_p_old, log_p_new, log_q_there, log_q_back))
return uniform < p_new * back / (p_old * there)
""",
        "two factors out of the logarithm": """\
return uniform < (log_p_new - log_p_old).exp() * (log_q_back - log_q_there).exp()
""",
        "accepts what it should refuse": """\
return uniform.log() > log_p_new + log_q_back - log_p_old - log_q_there
""",
        "at most, not below": "return uniform.log() <= log_p_new + log_q_back - log_p_old - log_q_there",
        "uniform against a logarithm": "return uniform < log_p_new + log_q_back - log_p_old - log_q_there",
        "its own uniform numbers": """\
uniform = torch.rand_like(log_p_old)
return uniform.log() < log_p_new + log_q_back - log_p_old - log_q_there
""",
        "one answer for all": """\
return bool((uniform.log() < log_p_new + log_q_back - log_p_old - log_q_there).all())
""",
        "zeros and ones": "return (uniform.log() < log_p_new + log_q_back - log_p_old - log_q_there).float()",
        "the probability": "return (log_p_new + log_q_back - log_p_old - log_q_there).exp().clamp(max=1)",
        "Python's min": "return uniform < min(1, (log_p_new + log_q_back - log_p_old - log_q_there).exp())",
        "only what is better": "return log_p_new + log_q_back > log_p_old + log_q_there",
        "better is always taken": """\
a = (log_p_new + log_q_back - log_p_old - log_q_there).exp()
return (log_p_new > log_p_old) | (uniform < a)
""",
        "min before the proposals": """\
return uniform.log() < (log_p_new - log_p_old).clamp(max=0) + log_q_back - log_q_there
""",
        "two mins": """\
return uniform.log() < (log_p_new - log_p_old).clamp(max=0) + (log_q_back - log_q_there).clamp(
    max=0
)
""",
        "one minus uniform": "return torch.log1p(-uniform) < log_p_new + log_q_back - log_p_old - log_q_there",
        "only the way back": "return uniform.log() < log_p_new + log_q_back - log_p_old",
        "only the way there": "return uniform.log() < log_p_new - log_p_old - log_q_there",
        "a list of answers": """\
return [
    math.log(u) < n + b - o - t if u > 0 else True
    for o, n, t, b, u in zip(log_p_old, log_p_new, log_q_there, log_q_back, uniform)
]
""",
        "mean over the chains": """\
a = (log_p_new + log_q_back - log_p_old - log_q_there).exp().clamp(max=1).mean()
return uniform < a
""",
        "base two": "return uniform < 2 ** (log_p_new + log_q_back - log_p_old - log_q_there)",
        "ratio of the logarithms": "return uniform < (log_p_new + log_q_back) / (log_p_old + log_q_there)",
        "minus infinity replaced": """\
big = torch.finfo(log_p_old.dtype).min
old, new = (v.clamp(min=-1e4) for v in (log_p_old, log_p_new))
return uniform.log() < new + log_q_back - old - log_q_there
""",
        "epsilon under the logarithm": """\
return (uniform + 1e-3).log() < log_p_new + log_q_back - log_p_old - log_q_there
""",
        "argument changed in place": """\
log_p_new += log_q_back
log_p_new -= log_p_old + log_q_there
return uniform.log() < log_p_new
""",
        "numpy": """\
a = (log_p_new + log_q_back - log_p_old - log_q_there).numpy()
return np.log(uniform.numpy()) < a
""",
        "a sigmoid": "return uniform < torch.sigmoid(log_p_new + log_q_back - log_p_old - log_q_there)",
        "half precision": """\
a = (log_p_new + log_q_back - log_p_old - log_q_there).half()
return uniform.half().log() < a
""",
    },
)
SLIPS["E1.5"] = written(
    "my_policy()",
    {
        "moves only": "return Policy(temperature=falling(1e-3, 2e-5))",
        "the class": "return Policy",
        "a dict": "return dict(rates=BALANCED, inner_steps=5)",
        "the slide's names": """\
return Policy(rates={"addLeaf": 1, "splitBranch": 1}, inner_steps=5)
""",
        "temperature below 0": "return Policy(temperature=-1e-3, inner_steps=2)",
        "heats": "return Policy(temperature=falling(2e-5, 1e-3))",
        "softness zero": "return Policy(softness=0.0, inner_steps=2)",
        "half an inner step": "return Policy(inner_steps=0.5)",
        "no rates": "return Policy(rates=None)",
        "function without its argument": "return Policy(softness=lambda: 0.1)",
        "no return": "Policy(temperature=falling(1e-3, 2e-5), inner_steps=3)",
        "minus one": "return Policy(inner_steps=-1)",
        "nothing to do": "return Policy(rates={}, inner_steps=0)",
        "no such count": "return Policy(inner_steps=lambda now: 5 if now.moves > 20 else 0)",
        "steps by name": """\
return Policy(inner_steps="10")
""",
        "a share for the spent": """\
return Policy(temperature=falling(1e-3, 2e-5), rates={"add_leaf": 1, "add_anywhere": 1})
""",
        "a policy and its name": """\
return "mine", Policy(inner_steps=3)
""",
    },
)
SLIPS["E1.6"] = written(
    "test_undo(journey)",
    {
        "one seed": """\
for rule in RULE_NAMES:
    after, back = journey(dict(EXAMPLE), rule, 0)
    assert after != EXAMPLE
    assert back == EXAMPLE
""",
        "one rule": """\
for seed in range(24):
    after, back = journey(dict(EXAMPLE), "split_branch", seed)
    assert after != EXAMPLE
    assert back == EXAMPLE
""",
        "nearly equal": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert set(back) == set(EXAMPLE)
        for i in back:
            assert np.allclose(back[i], EXAMPLE[i])
""",
        "only the ids": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert set(back) == set(EXAMPLE)
""",
        "only the parts, not their ids": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert sorted(back.values()) == sorted(EXAMPLE.values())
""",
        "order as well": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert list(back.items()) == list(EXAMPLE.items())
""",
        "a move that does nothing": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert back == EXAMPLE
""",
        "returns the answer": """\
good = True
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        good = good and after != EXAMPLE and back == EXAMPLE
return good
""",
        "ValueError": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        if back != EXAMPLE or after == EXAMPLE:
            raise ValueError(rule)
""",
        "errors swallowed": """\
try:
    for rule in RULE_NAMES:
        for seed in range(24):
            after, back = journey(dict(EXAMPLE), rule, seed)
            assert after != EXAMPLE
            assert back == EXAMPLE
except AssertionError:
    print("broken")
""",
        "only another object": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after is not back
""",
        "only the number of parts": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert len(back) == len(EXAMPLE)
""",
        "or for and": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE or back == EXAMPLE
""",
        "returns in the loop": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert back == EXAMPLE
        return
""",
        "the number of parts must change": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert len(after) != len(EXAMPLE)
        assert back == EXAMPLE
""",
        "only the numbers": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert {i: p[1:] for i, p in back.items()} == {i: p[1:] for i, p in EXAMPLE.items()}
""",
        "only the parents": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert {i: p[0] for i, p in back.items()} == {i: p[0] for i, p in EXAMPLE.items()}
""",
        "rounded": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert {i: [round(v, 4) for v in p] for i, p in back.items()} == {
            i: [round(v, 4) for v in p] for i, p in EXAMPLE.items()
        }
""",
        "asserted after the loops": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        pass
assert after != EXAMPLE
assert back == EXAMPLE
""",
        "skips what did not change": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        if after == EXAMPLE:
            continue
        assert back == EXAMPLE
""",
        "another start than EXAMPLE": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey({1: (0, 0.5, 0.1)}, rule, seed)
        assert after != back
""",
        "every second rule": """\
for k, rule in enumerate(RULE_NAMES):
    if k % 2 == 0:
        for seed in range(24):
            after, back = journey(dict(EXAMPLE), rule, seed)
            assert after != EXAMPLE and back == EXAMPLE
""",
        "a sum of numbers": """\
for rule in RULE_NAMES:
    for seed in range(24):
        after, back = journey(dict(EXAMPLE), rule, seed)
        assert after != EXAMPLE
        assert sum(map(sum, back.values())) == sum(map(sum, EXAMPLE.values()))
""",
    },
)
SLIPS["E1.7"] = written(
    "split_log_ratio(length, v, spread, branches, pairs)",
    {
        "upside down": """\
return -(
    math.log(branches / pairs)
    + math.log(2 * length)
    + v * v / (2 * spread**2)
    + math.log(spread)
    + 0.5 * math.log(2 * math.pi)
)
""",
        "J without the 2": """\
return (
    math.log(branches / pairs)
    + math.log(length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "J is 2": """\
return (
    math.log(branches / pairs)
    + math.log(2)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "J with its sign": """\
return (
    math.log(branches / pairs)
    + math.log(-2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "J forgotten": """\
return (
    math.log(branches / pairs)
    + 0
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "J under the line": """\
return (
    math.log(branches / pairs)
    + -math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "bell not normalised": """\
return math.log(branches / pairs) + math.log(2 * length) + (v * v / (2 * spread**2))
""",
        "spread missing in the bell": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + 0.5 * math.log(2 * math.pi))
)
""",
        "the half in the exponent": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / spread**2 + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "spread taken for the variance": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / (2 * spread) + 0.5 * math.log(2 * math.pi * spread))
)
""",
        "counts swapped": """\
return (
    math.log(pairs / branches)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "counts forgotten": """\
return (
    0
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "only the branches": """\
return (
    math.log(branches)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "counts as numbers": """\
return (
    branches
    - pairs
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "the whole bend": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + ((2 * v) ** 2 / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "bell of the merge": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (-(v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi)))
)
""",
        "sign of the exponent": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (-v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "no logarithm": """\
return math.exp(
    math.log(branches / pairs)
    + math.log(2 * length)
    + v * v / (2 * spread**2)
    + math.log(spread)
    + 0.5 * math.log(2 * math.pi)
)
""",
        "base 10": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + v * v / (2 * spread**2)
    + math.log(spread)
    + 0.5 * math.log(2 * math.pi)
) / math.log(10)
""",
        "2 pi without its root": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + math.log(2 * math.pi))
)
""",
        "precedence in the exponent": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / 2 * spread**2 + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "one more branch": """\
return (
    math.log((branches + 1) / pairs)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "one more pair": """\
return (
    math.log(branches / (pairs + 1))
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "length squared": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length**2)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "v in the exponent not squared": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
        "density of u twice": """\
return (
    math.log(branches / pairs)
    + math.log(2 * length)
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
    + math.log(length)
)
""",
        "log of 2, times length": """\
return (
    math.log(branches / pairs)
    + math.log(2) * length
    + (v * v / (2 * spread**2) + math.log(spread) + 0.5 * math.log(2 * math.pi))
)
""",
    },
)
SLIPS["E1.8"] = written(
    "bounded(x, low, high)",
    {
        "logarithm of a product": """\
s = torch.sigmoid(x)
theta = low + (high - low) * torch.sigmoid(x)
return theta, ((high - low) * s * (1 - s)).log()
""",
        "half in logarithms": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + F.logsigmoid(x) + torch.log1p(-torch.sigmoid(x))
""",
        "width missing in theta": """\
return low + torch.sigmoid(x), math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "width missing in the factor": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "dx / dtheta": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, -(math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x))
""",
        "only one of the two": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + F.logsigmoid(x)
""",
        "tanh": """\
return (low + high) / 2 + (high - low) / 2 * torch.tanh(x), math.log(high - low) + math.log(
    2
) + F.logsigmoid(2 * x) + F.logsigmoid(-2 * x)
""",
        "tanh for theta alone": """\
return (low + high) / 2 + (high - low) / 2 * torch.tanh(x), math.log(high - low) + F.logsigmoid(
    x
) + F.logsigmoid(-x)
""",
        "one sum": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, (math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)).sum()
""",
        "factor first": """\
theta = low + (high - low) * torch.sigmoid(x)
return math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x), theta
""",
        "x cut at 20": """\
x = x.clamp(-20, 20)
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "epsilon": """\
s = torch.sigmoid(x)
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + (s * (1 - s) + 1e-12).log()
""",
        "high for the width": """\
return low + high * torch.sigmoid(x), math.log(high) + F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "only theta": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta
""",
        "no logarithm": """\
s = torch.sigmoid(x)
theta = low + (high - low) * torch.sigmoid(x)
return theta, (high - low) * s * (1 - s)
""",
        "softplus without its minus": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + F.softplus(x) + F.softplus(-x)
""",
        "x forgotten": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) - 2 * F.softplus(-x)
""",
        "logs subtracted": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high) - math.log(low) + F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "the tail everywhere": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) - x.abs()
""",
        "exp that overflows": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) - x - 2 * torch.log(1 + torch.exp(-x))
""",
        "float64": """\
x = x.double()
theta = low + (high - low) * torch.sigmoid(x)
return theta, math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)
""",
        "in place": """\
s = x.sigmoid_()
return low + (high - low) * s, math.log(high - low) + s.log() + (1 - s).log()
""",
        "falls": """\
return high - (high - low) * torch.sigmoid(x), math.log(high - low) + F.logsigmoid(
    x
) + F.logsigmoid(-x)
""",
        "slope by autograd": """\
z = x.detach().clone().requires_grad_()
theta = low + (high - low) * torch.sigmoid(z)
(g,) = torch.autograd.grad(theta.sum(), z)
return theta.detach(), g.log()
""",
        "cut to the range": "return x.clamp(low, high), torch.zeros_like(x)",
        "the slope s (1 + s)": """\
theta = low + (high - low) * torch.sigmoid(x)
s = torch.sigmoid(x)
return theta, math.log(high - low) + F.logsigmoid(x) + torch.log1p(s)
""",
        "width times logarithm": """\
theta = low + (high - low) * torch.sigmoid(x)
return theta, (high - low) * (F.logsigmoid(x) + F.logsigmoid(-x))
""",
        "numpy": """\
s = 1 / (1 + np.exp(-x.numpy()))
return low + (high - low) * s, math.log(high - low) + np.log(s) + np.log(1 - s)
""",
        "logit": """\
t = (x - low) / (high - low)
return torch.log(t / (1 - t)), -torch.log(t * (1 - t))
""",
    },
)
SLIPS["E1.9"] = written(
    "langevin_log_ratio(x, y, score_x, score_y, step)",
    {
        "there minus back": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (back - there) / (4 * step)
""",
        "twice the step under the line": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / (2 * step)
""",
        "step once": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / step
""",
        "step forgotten": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / 4
""",
        "one slope for both": """\
back = (x - y - step * score_x).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "slopes swapped": """\
back = (x - y - step * score_x).square().sum(1)
there = (y - x - step * score_y).square().sum(1)
return (there - back) / (4 * step)
""",
        "one number": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return ((there - back) / (4 * step)).sum()
""",
        "mean over the numbers": """\
back = (x - y - step * score_y).square().mean(1)
there = (y - x - step * score_x).square().mean(1)
return (there - back) / (4 * step)
""",
        "no drift": """\
back = (x - y).square().sum(1)
there = (y - x).square().sum(1)
return (there - back) / (4 * step)
""",
        "plus the drift": """\
back = (x - y + step * score_y).square().sum(1)
there = (y - x + step * score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "drift back in the other direction": """\
back = (x - y + step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "step squared": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return (there - back) / (4 * step**2)
""",
        "keeps a dimension": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return ((there - back) / (4 * step))[:, None]
""",
        "only the way back": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return -back / (4 * step)
""",
        "sum over the chains": """\
back = (x - y - step * score_y).square().sum(0)
there = (y - x - step * score_x).square().sum(0)
return (there - back) / (4 * step)
""",
        "variance for standard deviation": """\
def q(a, b, s):
    return torch.distributions.Normal(a + step * s, 2 * step).log_prob(b).sum(1)

return q(y, x, score_y) - q(x, y, score_x)
""",
        "step for 2 step": """\
def q(a, b, s):
    return torch.distributions.Normal(a + step * s, step**0.5).log_prob(b).sum(1)

return q(y, x, score_y) - q(x, y, score_x)
""",
        "not summed": """\
def q(a, b, s):
    return torch.distributions.Normal(a + step * s, (2 * step) ** 0.5).log_prob(b)

return q(y, x, score_y) - q(x, y, score_x)
""",
        "drift without the step": """\
back = (x - y - score_y).square().sum(1)
there = (y - x - score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "the ratio": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return ((there - back) / (4 * step)).exp()
""",
        "lengths not squared": """\
back = (x - y - step * score_y).norm(dim=1)
there = (y - x - step * score_x).norm(dim=1)
return (there - back) / (4 * step)
""",
        "half the drift": """\
back = (x - y - step / 2 * score_y).square().sum(1)
there = (y - x - step / 2 * score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "both added": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
return -(there + back) / (4 * step)
""",
        "argument changed in place": """\
x -= y
back = (x - step * score_y).square().sum(1)
there = (x + step * score_x).square().sum(1)
return (there - back) / (4 * step)
""",
        "first order": "return -((y - x) * (score_x + score_y)).sum(1) / 2",
        "second term upside down": """\
return (
    -((y - x) * (score_x + score_y)).sum(1) / 2
    - step * (score_x.square() - score_y.square()).sum(1) / 4
)
""",
        "no return": """\
back = (x - y - step * score_y).square().sum(1)
there = (y - x - step * score_x).square().sum(1)
ratio = (there - back) / (4 * step)
""",
        "x counted as the score of x": """\
back = (x - y + step * y).square().sum(1)
there = (y - x + step * x).square().sum(1)
return (there - back) / (4 * step)
""",
    },
)

NAMED = {
    "E1.1": {
        "bend taken off the angle": ("v is subtracted, as in the split: the merge adds it",),
        "share of the upper half": ("u is the share of the second half",),
        "v is the whole bend": ("v is the whole bend, not half of it",),
        "v and the angle with the whole bend": ("twice `a2`",),
        "v negative": ("v has the wrong sign, but not in the angle",),
        "u is the ratio of the halves": ("u is the ratio of the halves",),
        "the angle is left at a1": ("the angle of the first half is kept",),
        "u before the angle": ("the order is length, angle, u, v; yours is length, u, angle, v",),
        "straight line from end to end": ("the straight line from end to end, and its direction",),
        "angle weighted by the lengths": ("the mean of the two angles, weighted by length",),
        "length: the mean of the halves": ("half of length",),
        "a2 taken from the ground": ("both angles are taken from straight up",),
        "mean of the angles": ("the mean of the two numbers a1 and a2, but a2 counts from the first half",),
        "whole-number division": ("// rounds a2 / 2 down to a whole number",),
        "precedence in u": ("l1 / l1 + l2 divides before it adds: brackets are missing",),
        "v without its sign": ("the absolute value of `a2`",),
        "length: l1 / u with u one half": ("`l1` stands where `l2` belongs",),
        "rounded": ("rounded to three digits",),
        "turned into [0, 2 pi)": ("the angle is turned into [0, 2 pi): it has a sign",),
        "v is a quarter": ("half of v",),
    },
    "E1.2": {
        "inside and outside swapped": ("inside and outside are swapped",),
        "squares of both": ("squared distance instead of distance",),
        "distance squared": ("the squared distance is compared with the radius",),
        "softness forgotten": ("softness is forgotten",),
        "times softness": ("multiplied by softness instead of divided",),
        "pixels first": ("one row for each point, not for each disc",),
        "large epsilon": ("an epsilon of 0.001 under the root: that is a distance of 0.032 at the centre",),
        "sum of the sides": ("|x| + |y| instead of the distance",),
        "larger of the sides": ("the larger of |x| and |y| instead of the distance",),
        "centres detached": ("the centres are detached",),
        "radii detached": ("the radii are detached",),
        "hard edge": ("a hard edge",),
        "first radius for all": ("one radius for all discs",),
        "a ramp": ("a linear ramp of width softness, not a sigmoid",),
        "tanh without its half": ("half of `softness`",),
        "precedence": ("only the distance is divided by softness",),
        "diameter": ("the radius is taken for a diameter",),
        "a bell": ("a bell curve as wide as the radius, not a sigmoid",),
    },
    "E1.3": {
        "uphill": ("uphill",),
        "the start as well": ("yields the start, too",),
        "one too few": ("one step too few",),
        "before the step": ("yields the x before the step",),
        "gradients add up": ("gradients pile up from step to step",),
        "two gradients a step": ("the loss is evaluated twice in each step",),
        "smaller and smaller steps": ("the step shrinks with each step: size * (1 - k / steps)",),
        "length of the gradient taken out": ("the gradient is divided by its length",),
        "only the sign of the gradient": ("only the sign of the gradient",),
        "momentum": ("momentum 0.9 is added to each step",),
        "only if it gets better": ("the loss is evaluated three times in each step",),
        "Adam": ("Adam, which takes steps of length `size` in each number",),
        "stops where it is flat": ("the walk ends where the slope is next to nothing",),
        "only the last": ("yields only the last x",),
        "gradient cut to length 1": ("the gradient is cut to length 1",),
        "gradient of the start": ("the gradient is taken at the start only",),
        "size squared": ("the square of the step size",),
        "look ahead": ("the loss is evaluated twice in each step",),
    },
    "E1.4": {
        "proposals the wrong way round": ("the way there and the way back are swapped",),
        "proposals forgotten": ("the proposals are forgotten",),
        "old and new swapped": ("the whole ratio is upside down",),
        "out of the logarithm too early": ("p underflows: stay with logarithms",),
        "two factors out of the logarithm": ("each ratio leaves its logarithm by itself: 0 times infinity is NaN",),
        "accepts what it should refuse": ("uniform is on the wrong side",),
        "at most, not below": ("<= takes what is impossible when uniform is 0",),
        "uniform against a logarithm": ("uniform is compared with a logarithm",),
        "only what is better": ("greedy, with the proposals counted in",),
        "better is always taken": ("what is better is always taken, and the proposals count for worse moves alone",),
        "min before the proposals": ("the minimum with 1 is taken before the proposals count",),
        "two mins": ("each of the two ratios has a minimum with 1 of its own",),
        "one minus uniform": ("1 - `uniform`",),
        "only the way back": ("only the way back counts",),
        "only the way there": ("only the way there counts",),
        "mean over the chains": ("one chance for all chains, the mean of theirs",),
        "base two": ("a power of 2, not of e",),
        "ratio of the logarithms": ("the ratio of the logarithms, not their difference",),
        "minus infinity replaced": ("a number stands for -inf: an impossible place is as good as another",),
        "epsilon under the logarithm": ("an epsilon in the logarithm of uniform: rare moves are never taken",),
        "a sigmoid": ("ratio / (1 + ratio) for min(1, ratio): balanced, but it refuses more",),
        "half precision": ("half precision: three digits are not enough",),
    },
    "E1.7": {
        "upside down": ("the whole ratio is upside down",),
        "J without the 2": ("the Jacobian without its 2",),
        "J is 2": ("the Jacobian without its length",),
        "J forgotten": ("the Jacobian is forgotten",),
        "J under the line": ("the Jacobian is upside down",),
        "bell not normalised": ("the constant of the normal is forgotten",),
        "spread missing in the bell": ("the constant of the normal lacks the spread",),
        "the half in the exponent": ("the normal lacks its 1/2: -(v / spread)^2",),
        "spread taken for the variance": ("spread is taken for a variance",),
        "counts swapped": ("branches and pairs are swapped",),
        "counts forgotten": ("neither choice is counted",),
        "only the branches": ("the choice of the pair is forgotten",),
        "counts as numbers": ("the numbers of choices themselves, not their logarithms",),
        "the whole bend": ("half of v, or twice",),
        "bell of the merge": ("the density of v has the wrong sign",),
        "sign of the exponent": ("the exponent of the normal has the wrong sign",),
        "no logarithm": ("no logarithm",),
        "base 10": ("log to base 10, not e",),
        "2 pi without its root": ("2 pi without its root",),
        "precedence in the exponent": ("v^2 / 2 * spread^2 multiplies by the spread: brackets are missing",),
        "one more branch": ("`branches` is one too large",),
        "one more pair": ("`pairs` is one too large",),
        "length squared": ("the square of the length",),
        "v in the exponent not squared": ("v is not squared",),
        "density of u twice": ("the square of the length",),
        "log of 2, times length": ("log(2) * length, not log(2 * length)",),
    },
    "E1.8": {
        "logarithm of a product": ("underflows: log(sigmoid) far out is -inf",),
        "half in logarithms": ("log(1 - sigmoid(x)) is -inf far out: log sigmoid(-x) is not",),
        "width missing in theta": ("the width is missing in theta",),
        "width missing in the factor": ("the width is forgotten",),
        "dx / dtheta": ("upside down: that is log |d x / d theta|",),
        "only one of the two": ("only sigmoid(x), not times sigmoid(-x)",),
        "tanh": ("sigmoid(2 x): a tanh that was stretched",),
        "tanh for theta alone": ("sigmoid(2 x): a tanh that was stretched",),
        "one sum": ("summed over all parameters",),
        "factor first": ("theta comes first, then the logarithm of the factor",),
        "x cut at 20": ("x is cut off at 20: beyond it the slope stays as it is",),
        "epsilon": ("an epsilon in the log, log(... + 1e-12): far out it alone is left, but for the width",),
        "high for the width": ("stretched by high instead of high - low",),
        "no logarithm": ("no logarithm",),
        "softplus without its minus": ("softplus with the wrong sign: log sigmoid(x) = -softplus(-x)",),
        "x forgotten": ("sigmoid(x) twice, not times sigmoid(-x)",),
        "logs subtracted": ("log(high) - log(low), not log(high - low)",),
        "the tail everywhere": ("-|x| alone holds far out only",),
        "exp that overflows": ("exp(-x) overflows where x is far below 0",),
        "falls": ("upside down",),
        "slope by autograd": ("underflows: log(sigmoid) far out is -inf",),
        "cut to the range": ("projection: cut off at the ends",),
        "width times logarithm": (
            "the logarithm of the width is multiplied, not added: the width times log(sigmoid(x) sigmoid(-x))",
        ),
    },
    "E1.9": {
        "there minus back": ("the way there and the way back are swapped",),
        "twice the step under the line": ("the variance is step, not 2 step",),
        "step once": ("the result is 4 times too large",),
        "step forgotten": ("the result times `step`",),
        "one slope for both": ("the score at x is used both ways",),
        "slopes swapped": ("the scores are swapped",),
        "one number": ("summed over the batch",),
        "mean over the numbers": ("the mean over coordinates, not their sum",),
        "no drift": ("the drift is forgotten",),
        "plus the drift": ("the drift points downhill",),
        "drift back in the other direction": ("`score_y` has the wrong sign",),
        "step squared": ("divided by 4 step^2",),
        "only the way back": ("only the way back, without the constant",),
        "variance for standard deviation": ("2 step is taken for a standard deviation",),
        "step for 2 step": ("the variance is step, not 2 step",),
        "drift without the step": ("the step is missing in the drift",),
        "the ratio": ("the exponential of the result",),
        "lengths not squared": ("the lengths, not their squares",),
        "half the drift": ("the drift is step / 2 score",),
        "both added": ("there and back are added, without their constants",),
        "first order": ("the squares of the drifts are forgotten",),
        "second term upside down": ("the scores are swapped",),
        "x counted as the score of x": ("minus the numbers at the start stand for its score",),
    },
}
