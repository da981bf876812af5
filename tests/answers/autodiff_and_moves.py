"""Answers to notebook 01: right ones written differently, and wrong ones by name."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F

from cs348k_diffusion.procedural.policy import BALANCED, Policy, falling

# ---- E1.1 ------------------------------------------------------------------------------------------------------------


def way_back_by_shares(l1, a1, l2, a2):
    whole, bend = sum((l1, l2)), 0.5 * a2
    return whole, bend + a1, 1 - l2 / whole, bend


def way_back_by_solving(l1, a1, l2, a2):
    angles = torch.linalg.solve(torch.tensor([[1.0, -1.0], [0.0, 2.0]]).double(), torch.tensor([a1, a2]).double())
    return [l1 + l2, float(angles[0]), l1 / (l1 + l2), float(angles[1])]


def way_back_with_a_vector(l1, a1, l2, a2):
    """Start at the lower half and walk on: the whole is as long as both, and points half-way between the two."""
    lower, upper = a1, a1 + a2
    middle = math.atan2(math.sin(lower) + math.sin(upper), math.cos(lower) + math.cos(upper))
    middle += math.pi * round(((lower + upper) / 2 - middle) / math.pi)
    return math.fsum((l1, l2)), middle, 1 / (1 + l2 / l1), middle - lower


# ---- E1.2 ------------------------------------------------------------------------------------------------------------


def disc_by_hypot(points, centres, radii, softness):
    x, y = (points[None] - centres[:, None]).unbind(-1)
    distance = (x * x + y * y).clamp(min=1e-14).sqrt()
    return 1 - torch.sigmoid((distance - radii.view(-1, 1)) / softness)


def disc_by_tanh(points, centres, radii, softness):
    distance = torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")
    return (1 + torch.tanh((radii.unsqueeze(1) - distance) / (2 * softness))) / 2


def disc_by_norm(points, centres, radii, softness):
    distance = torch.linalg.norm(points.unsqueeze(0) - centres.unsqueeze(1), dim=-1)
    return torch.special.expit((radii.unsqueeze(-1) - distance).div(softness))


def disc_in_place(points, centres, radii, softness):
    covered = disc_by_hypot(points, centres, radii, softness)
    with torch.no_grad():
        radii.zero_()
    return covered


def disc_by_coordinates(points, centres, radii, softness):
    return torch.sigmoid((radii[:, None] - (points - centres[:, None]).abs().sum(-1)) / softness)


def disc(formula, tiny=1e-12):
    """A wrong disc: `formula` of the distance, the radius and the softness."""

    def soft_disc(points, centres, radii, softness):
        square = (points - centres[:, None]).square().sum(-1)
        return formula((square + tiny).sqrt(), radii[:, None], softness)

    return soft_disc


def disc_by_exp(points, centres, radii, softness):
    """Overflows: exp(1000 / 1) is infinite, and infinity over infinity is NaN."""
    distance = (points - centres[:, None]).square().sum(-1).add(1e-12).sqrt()
    grown = ((radii[:, None] - distance) / softness).exp()
    return grown / (1 + grown)


# ---- E1.4 ------------------------------------------------------------------------------------------------------------


def accept_by_minimum(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    gain = (log_p_new + log_q_back) - (log_p_old + log_q_there)
    return uniform < gain.clamp(max=0).exp()


def accept_by_exponential(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    waiting = -uniform.log()
    return waiting > (log_p_old + log_q_there) - (log_p_new + log_q_back)


def accept_one_by_one(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    rows = torch.stack([log_p_old, log_p_new, log_q_there, log_q_back, uniform], 1).tolist()
    gains = [new - old + back - there for old, new, there, back, _ in rows]
    return torch.tensor([gain >= 0 or row[4] < math.exp(gain) for gain, row in zip(gains, rows)])


def rule(decision):
    """A wrong accept rule, of the gain in log p, the ratio of the proposals and the uniform number."""

    def accept(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
        return decision(log_p_new - log_p_old, log_q_back - log_q_there, uniform)

    return accept


def accept_underflowing(log_p_old, log_p_new, log_q_there, log_q_back, uniform):
    return uniform < log_p_new.exp() * log_q_back.exp() / (log_p_old.exp() * log_q_there.exp())


# ---- E1.3 ------------------------------------------------------------------------------------------------------------


def descent_by_backward(loss, x, steps, size):
    x = x.clone()
    for _ in range(steps):
        leaf = x.clone().requires_grad_(True)
        loss(leaf).backward()
        x = torch.sub(x, leaf.grad, alpha=size)
        yield x


def descent_by_optimiser(loss, x, steps, size):
    leaf = torch.nn.Parameter(x.clone())
    optimiser = torch.optim.SGD([leaf], lr=size)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(leaf).backward()
        optimiser.step()
        yield leaf.detach().clone()


def slope_of(loss, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]


def descent(update, first=False, before=False, at_start=False, last_only=False, fewer=0):
    """A wrong descent: x <- update(x, slope, size)."""

    def gradient_descent(loss, x, steps, size):
        start = x
        if first:
            yield x
        for k in range(steps - fewer):
            if before:
                yield x
            x = update(x, slope_of(loss, start if at_start else x), size)
            if not before and not (last_only and k < steps - 1):
                yield x

    return gradient_descent


def plain_step(x, slope, size):
    return x - size * slope


def descent_without_zeroing(loss, x, steps, size):
    leaf = x.clone().requires_grad_()
    for _ in range(steps):
        loss(leaf).backward()
        with torch.no_grad():
            leaf -= size * leaf.grad
        yield leaf.detach().clone()


def descent_in_place(loss, x, steps, size):
    x = x.clone()
    for _ in range(steps):
        x -= size * slope_of(loss, x)
        yield x


def descent_from_the_start(loss, x, steps, size):
    for _ in range(steps):
        yield x - size * slope_of(loss, x)


def descent_as_list(loss, x, steps, size):
    return [x := plain_step(x, slope_of(loss, x), size) for _ in range(steps)]


def descent_looking_twice(loss, x, steps, size):
    for _ in range(steps):
        loss(x)
        x = plain_step(x, slope_of(loss, x), size)
        yield x


def descent_recursive(loss, x, steps, size):
    if steps:
        with torch.enable_grad():
            leaf = torch.tensor(x.tolist(), dtype=x.dtype, requires_grad=True)
            slope = torch.autograd.grad(loss(leaf), leaf)[0]
        lower = torch.add(x, slope, alpha=-size)
        yield lower
        yield from descent_recursive(loss, lower, steps - 1, size)


def descent_shrinking(loss, x, steps, size):
    for k in range(steps):
        x = plain_step(x, slope_of(loss, x), size / (k + 1))
        yield x


def descent_of_steps(loss, x, steps, size):
    for _ in range(steps):
        new = plain_step(x, slope_of(loss, x), size)
        yield new - x
        x = new


def descent_by_differences(loss, x, steps, size):
    x = x.double()
    for _ in range(steps):
        slope, h = torch.zeros_like(x), 1e-4
        for k in range(x.numel()):
            shift = torch.zeros_like(x).view(-1)
            shift[k] = h
            shift = shift.view_as(x)
            slope.view(-1)[k] = (loss(x + shift) - loss(x - shift)) / (2 * h)
        x = x - size * slope
        yield x.float()


# ---- E1.6 ------------------------------------------------------------------------------------------------------------

RULES = ("modify_params", "add_leaf", "remove_leaf", "split_branch", "merge_branch", "remove_branch", "add_anywhere")
EXAMPLE = {
    1: (0, 0.5, 0.1),
    2: (1, 0.2),
    3: (1, 0.4, -0.6),
    4: (1, 0.3, 0.7),
    5: (3, 0.3, 0.2),
    6: (5, 0.1),
    7: (4, 0.15),
}


def test_all_rules(journey):
    for rule in RULES:
        for seed in range(20):
            after, back = journey(EXAMPLE, rule, seed)
            assert after != EXAMPLE, f"{rule} did nothing"
            assert back == EXAMPLE, f"{rule} cannot be undone"


def test_on_a_tree_of_my_own(journey):
    parts = {2: (0, 0.7, 0.0), 5: (2, 0.2, 0.3), 6: (5, 0.1), 9: (2, 0.3, -0.5), 11: (9, 0.25, 0.1), 12: (11, 0.2)}
    for seed in range(12):
        for rule in sorted(RULES):
            after, back = journey(dict(parts), rule, seed)
            assert sorted(back.items()) == sorted(parts.items())
            assert sorted(after.items()) != sorted(parts.items())


def undo_test(rules=RULES, seeds=20, same=None, moves=True, before=None):
    """A property test with something left out."""

    def test_undo(journey):
        for rule in rules:
            for seed in range(seeds):
                after, back = journey(EXAMPLE, rule, seed)
                if moves:
                    assert after != EXAMPLE
                assert (same or dict.__eq__)(back, EXAMPLE)

    return test_undo


def nearly(back, parts):
    flat = [[value for i in sorted(tree) for value in tree[i]] for tree in (back, parts)]
    return back.keys() == parts.keys() and all(abs(x - y) < 1e-6 for x, y in zip(*flat))


def same_count(back, parts):
    return len(back) == len(parts)


def same_numbers(back, parts):
    return sorted(part[1:] for part in back.values()) == sorted(part[1:] for part in parts.values())


def same_branches(back, parts):
    return {i: p for i, p in back.items() if len(p) == 3} == {i: p for i, p in parts.items() if len(p) == 3}


def in_order(back, parts):
    return list(back) == list(parts) and back == parts


def test_that_raises(journey):
    for rule in RULES:
        for seed in range(20):
            after, back = journey(EXAMPLE, rule, seed)
            if after == EXAMPLE or back != EXAMPLE:
                raise ValueError(rule)


# ---- E1.7 ------------------------------------------------------------------------------------------------------------


def split_by_distributions(length, v, spread, branches, pairs):
    log_v = torch.distributions.Normal(0.0, torch.tensor(spread, dtype=torch.float64)).log_prob(
        torch.tensor(v).double()
    )
    return float(math.log(branches / pairs) - log_v) + math.log(2 * length)


def split_by_ratio(length, v, spread, branches, pairs):
    chance_of_v = math.exp(-((v / spread) ** 2) / 2) / math.sqrt(2 * math.pi * spread**2)
    return math.log((1 / pairs) * 2 * length / (chance_of_v / branches))


def split_ratio(there=0, back=0, jacobian=lambda length: 2 * length, bend=lambda v, spread: (v, spread)):
    """A wrong ratio: other counts, another Jacobian, another density of v."""

    def split_log_ratio(length, v, spread, branches, pairs):
        v, spread = bend(v, spread)
        log_v = -((v / spread) ** 2) / 2 - math.log(spread * math.sqrt(2 * math.pi))
        return math.log((1 if there else branches) / (1 if back else pairs)) - log_v + math.log(jacobian(length))

    return split_log_ratio


# ---- E1.8 ------------------------------------------------------------------------------------------------------------


def bounded_by_tanh(x, low, high):
    middle, reach = (low + high) / 2, (high - low) / 2
    return middle + reach * torch.tanh(x / 2), math.log(high - low) - F.softplus(x) - F.softplus(-x)


def bounded_by_weights(x, low, high):
    log_share = torch.stack([F.logsigmoid(-x), F.logsigmoid(x)])
    theta = (log_share.exp() * log_share.new_tensor([low, high]).view(2, *[1] * x.ndim)).sum(0)
    return theta, log_share.sum(0) + math.log(high - low)


def bounded_by_softplus(x, low, high):
    e = torch.exp(-x.abs())
    share = torch.where(x > 0, 1 / (1 + e), e / (1 + e))
    return torch.lerp(torch.full_like(x, low), torch.full_like(x, high), share), (
        math.log(high - low) - x.abs() - 2 * torch.log1p(e)
    )


def squash(theta=None, log_jacobian=None):
    """A wrong bijection."""

    def bounded(x, low, high):
        right_theta, right_log = bounded_by_tanh(x, low, high)
        return (
            right_theta if theta is None else theta(x, low, high),
            right_log if log_jacobian is None else log_jacobian(x, low, high),
        )

    return bounded


# ---- E1.9 ------------------------------------------------------------------------------------------------------------


def ratio_by_distances(x, y, score_x, score_y, step):
    there = torch.cdist(y[:, None], (x + step * score_x)[:, None]).flatten().square()
    back = torch.cdist(x[:, None], (y + step * score_y)[:, None]).flatten().square()
    return (there - back) / (4 * step)


def ratio_by_expanding(x, y, score_x, score_y, step):
    cross = -((y - x) * (score_x + score_y)).sum(1) / 2
    return cross + step / 4 * (score_x.square().sum(1) - score_y.square().sum(1))


def ratio_by_distributions(x, y, score_x, score_y, step):
    def move(start, score):
        spread = (2 * step) ** 0.5 * torch.ones_like(start)
        return torch.distributions.Independent(torch.distributions.Normal(start + step * score, spread), 1)

    return move(y, score_y).log_prob(x) - move(x, score_x).log_prob(y)


def langevin(ratio):
    """A wrong ratio, made of log_q(start, end, score, step) without its constant."""

    def log_q(start, end, score, step):
        return -(end - start - step * score).square().sum(1) / (4 * step)

    return lambda x, y, score_x, score_y, step: ratio(log_q, x, y, score_x, score_y, step)


# ---- E1.5 ------------------------------------------------------------------------------------------------------------

GROWING = {"modify_params": 0.3, "add_anywhere": 0.3, "add_leaf": 0.15, "remove_branch": 0.15, "remove_leaf": 0.1}


def taking_turns():
    """Five Adam steps in every tenth step, moves in between."""

    def turn(now):
        return now.step % 10 == 0

    return Policy(
        rates=lambda now: {} if turn(now) else GROWING,
        inner_steps=lambda now: 5 if turn(now) else 0,
        temperature=falling(1e-3, 2e-5),
    )


def grow_first():
    """Moves for two thirds of the budget, then nothing but gradients."""
    return Policy(
        rates=lambda now: GROWING if now.spent < 0.65 else {},
        inner_steps=lambda now: 0 if now.spent < 0.65 else 5,
        step_size=lambda now: 0.05 if now.spent < 0.9 else 0.02,
        temperature=falling(1e-3, 2e-5),
    )


def policy(**dials):
    """A wrong answer: a policy with these dials."""
    return lambda: replace(taking_turns(), **dials)


RIGHT = {
    "E1.1": [way_back_by_shares, way_back_by_solving, way_back_with_a_vector],
    "E1.2": [disc_by_hypot, disc_by_tanh, disc_by_norm],
    "E1.4": [accept_by_minimum, accept_one_by_one, accept_by_exponential],
    "E1.3": [descent_by_backward, descent_by_optimiser, descent_recursive],
    "E1.5": [taking_turns, grow_first],
    "E1.6": [test_all_rules, test_on_a_tree_of_my_own],
    "E1.7": [split_by_distributions, split_by_ratio],
    "E1.8": [bounded_by_tanh, bounded_by_weights, bounded_by_softplus],
    "E1.9": [ratio_by_distances, ratio_by_expanding, ratio_by_distributions],
}
WRONG = {
    "E1.1": {
        "the angle of the first half is kept": lambda l1, a1, l2, a2: (l1 + l2, a1, l1 / (l1 + l2), a2 / 2),
        "both angles are added in full": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2, l1 / (l1 + l2), a2 / 2),
        "both angles are taken from straight up": lambda l1, a1, l2, a2: (
            l1 + l2,
            (a1 + a2) / 2,
            l1 / (l1 + l2),
            (a2 - a1) / 2,
        ),
        "v has the wrong sign": lambda l1, a1, l2, a2: (l1 + l2, a1 - a2 / 2, l1 / (l1 + l2), -a2 / 2),
        "the straight line from end to end": lambda l1, a1, l2, a2: (
            math.hypot(l1 + l2 * math.cos(a2), l2 * math.sin(a2)),
            a1 + a2 / 2,
            l1 / (l1 + l2),
            a2 / 2,
        ),
        "u is the share of the second half": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l2 / (l1 + l2), a2 / 2),
        "u is the ratio of the halves": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l1 / l2, a2 / 2),
        "u is a length, not a share": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l1, a2 / 2),
        "v is the whole bend": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l1 / (l1 + l2), a2),
        "u and v are returned in the wrong order": lambda l1, a1, l2, a2: (
            l1 + l2,
            a1 + a2 / 2,
            a2 / 2,
            l1 / (l1 + l2),
        ),
        "the order is length, angle, u, v": lambda l1, a1, l2, a2: (l1 + l2, l1 / (l1 + l2), a1 + a2 / 2, a2 / 2),
        "got 2 values, expected 4": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2),
        "v is subtracted": lambda l1, a1, l2, a2: (l1 + l2, a1 - a2 / 2, l1 / (l1 + l2), a2 / 2),
        "but not in the angle": lambda l1, a1, l2, a2: (l1 + l2, a1 + a2 / 2, l1 / (l1 + l2), -a2 / 2),
        "weighted by length": lambda l1, a1, l2, a2: (
            l1 + l2,
            a1 + l2 * a2 / (l1 + l2),
            l1 / (l1 + l2),
            a2 / 2,
        ),
    },
    "E1.2": {
        "inside and outside are swapped": disc(lambda d, r, s: torch.sigmoid((d - r) / s)),
        "multiplied by softness": disc(lambda d, r, s: torch.sigmoid((r - d) * s)),
        "softness is forgotten": disc(lambda d, r, s: torch.sigmoid(r - d)),
        "squared distance instead of distance": disc(lambda d, r, s: torch.sigmoid((r**2 - d**2) / s)),
        "the squared distance is compared": disc(lambda d, r, s: torch.sigmoid((r - d**2) / s)),
        "the radius is taken for a diameter": disc(lambda d, r, s: torch.sigmoid((r / 2 - d) / s)),
        "tanh": disc(lambda d, r, s: torch.tanh((r - d) / s)),
        "a hard edge": disc(lambda d, r, s: (d < r).to(d.dtype)),
        "NaN in the gradient where softness": disc(lambda d, r, s: 1 / (1 + torch.exp((d - r) / s))),
        "detached gradient": disc(lambda d, r, s: torch.sigmoid((r - d) / s).detach()),
        "one radius for all discs": disc(lambda d, r, s: torch.sigmoid((r[0] - d) / s)),
        "wrong shape": disc(lambda d, r, s: torch.sigmoid((r - d) / s).T),
        "logits": disc(lambda d, r, s: (r - d) / s),
        "NaN in the gradient": disc(lambda d, r, s: torch.sigmoid((r - d) / s), tiny=0.0),
        "NaN or infinity": disc_by_exp,
        "|x| + |y|": disc_by_coordinates,
        "only the distance is divided": disc(lambda d, r, s: torch.sigmoid(r - d / s)),
        "a linear ramp": disc(lambda d, r, s: (0.5 + (r - d) / s / 4).clamp(0, 1)),
        "a bell curve": disc(lambda d, r, s: torch.exp(-(((d - r) / s) ** 2))),
        "the axes of length 1": disc(lambda d, r, s: torch.sigmoid((r - d) / s).squeeze()),
        "changes its argument radii": disc_in_place,
    },
    "E1.4": {
        "greedy: only what is better": rule(lambda gain, q, uniform: gain > 0),
        "greedy, with the proposals": rule(lambda gain, q, uniform: gain + q > 0),
        "old and new are swapped": rule(lambda gain, q, uniform: uniform.log() < q - gain),
        "the way there and the way back are swapped": rule(lambda gain, q, uniform: uniform.log() < gain - q),
        "the proposals are forgotten": rule(lambda gain, q, uniform: uniform.log() < gain),
        "only the proposals count": rule(lambda gain, q, uniform: uniform.log() < q),
        "uniform is compared with a logarithm": rule(lambda gain, q, uniform: uniform < gain + q),
        "uniform is on the wrong side": rule(lambda gain, q, uniform: uniform.log() > gain + q),
        "everything is accepted": rule(lambda gain, q, uniform: uniform < 2),
        "<= takes what is impossible": rule(lambda gain, q, uniform: uniform.log() <= gain + q),
        "takes a NaN": rule(lambda gain, q, uniform: ~(uniform.log() >= gain + q)),
        "p underflows": accept_underflowing,
        "wrong dtype": rule(lambda gain, q, uniform: (gain + q).exp().clamp(max=1)),
        "half of the gain": rule(lambda gain, q, uniform: uniform.log() < gain / 2 + q),
        "an epsilon in the logarithm of uniform": lambda old, new, there, back, u: (
            (u + 1e-3).log() < new - old + back - there
        ),
        "1 - `uniform`": lambda old, new, there, back, u: (1 - u).log() < new - old + back - there,
        "one `uniform`, the first, for all": lambda old, new, there, back, u: u[:1].log() < new - old + back - there,
        "the whole ratio is upside down": rule(lambda gain, q, uniform: uniform.log() < -gain - q),
        "both proposals are added": lambda old, new, there, back, uniform: uniform.log() < new - old + back + there,
        "only the way there counts": lambda old, new, there, back, uniform: uniform.log() < new - old - there,
    },
    "E1.3": {
        "uphill": descent(lambda x, slope, size: x + size * slope),
        "the step size is forgotten": descent(lambda x, slope, size: x - slope),
        "the gradient is divided by its length": descent(lambda x, slope, size: x - size * slope / slope.norm()),
        "only the sign of the gradient": descent(lambda x, slope, size: x - size * slope.sign()),
        "the gradient is taken at the start only": descent(plain_step, at_start=True),
        "every step begins at the start": descent_from_the_start,
        "gradients pile up": descent_without_zeroing,
        "changes what it has yielded": descent_in_place,
        "half a step": descent(lambda x, slope, size: x - size * slope / 2),
        "yields the x before the step": descent(plain_step, before=True),
        "yields the start, too": descent(plain_step, first=True),
        "yields only the last x": descent(plain_step, last_only=True),
        "one step too few": descent(plain_step, fewer=1),
        "expected walk, an iterator": descent_as_list,
        "the loss is evaluated twice": descent_looking_twice,
        "differences instead of autodiff": descent_by_differences,
        "the gradient is clipped": descent(lambda x, slope, size: x - size * slope.clamp(-1, 1)),
        "the step shrinks": descent_shrinking,
        "twice the step": descent(lambda x, slope, size: x - 2 * size * slope),
        "the mean over the numbers": descent(lambda x, slope, size: x - size * slope / x.numel()),
        "yields the steps": descent_of_steps,
    },
    "E1.5": {
        "moves alone": lambda: Policy(temperature=falling(1e-3, 2e-5)),
        "gradients alone": lambda: Policy(rates={}, inner_steps=10),
        "too hot": policy(temperature=10.0),
        "it stopped early": policy(stop=lambda now: now.spent > 0.3),
        "gradients eat the budget": policy(rates=dict(BALANCED), inner_steps=25),
        "rates name rules that do not exist": policy(rates={"grow": 1.0}),
        "let it return a Policy": lambda: {"rates": dict(BALANCED), "inner_steps": 2},
        "temperature must be positive": policy(temperature=0.0),
    },
    "E1.6": {
        "the move does nothing": undo_test(moves=False),
        "wrong only now and then": undo_test(seeds=3),
        "a merge is not undone": undo_test(rules=RULES[:4] + RULES[5:]),
        "off by 1e-9": undo_test(same=nearly),
        "under a new id": undo_test(same=same_numbers),
        "undo does nothing": undo_test(same=same_count, rules=("modify_params",)),
        "comes back without its leaf": undo_test(same=same_branches),
        "It rejects": undo_test(same=in_order),
        "Only a failing assert counts as rejecting": test_that_raises,
        "the parent of a leaf comes back wrong": undo_test(same=same_numbers),
        "one part too many": undo_test(rules=RULES[:1] + RULES[2:6]),
    },
    "E1.7": {
        "the way there and the way back are swapped": lambda length, v, spread, branches, pairs: (
            2 * math.log(2 * length) - split_by_ratio(length, v, spread, branches, pairs)
        ),
        "the density of v is forgotten": lambda length, v, spread, branches, pairs: math.log(
            2 * length * branches / pairs
        ),
        "the choice of the branch is forgotten": split_ratio(there=1),
        "the choice of the pair is forgotten": split_ratio(back=1),
        "branches and pairs are swapped": lambda length, v, spread, branches, pairs: split_by_ratio(
            length, v, spread, pairs, branches
        ),
        "the constant of the normal is forgotten": lambda length, v, spread, branches, pairs: (
            math.log(2 * length * branches / pairs) + (v / spread) ** 2 / 2
        ),
        "spread is taken for a variance": split_ratio(bend=lambda v, spread: (v, spread**0.5)),
        "half of v, or twice": split_ratio(bend=lambda v, spread: (2 * v, spread)),
        "the Jacobian is forgotten": split_ratio(jacobian=lambda length: 1.0),
        "the Jacobian without its 2": split_ratio(jacobian=lambda length: length),
        "the Jacobian without its length": split_ratio(jacobian=lambda length: 2.0),
        "the Jacobian is upside down": split_ratio(jacobian=lambda length: 1 / (2 * length)),
        "no logarithm": lambda *given: math.exp(split_by_ratio(*given)),
        "the normal lacks its 1/2": lambda length, v, spread, branches, pairs: (
            split_by_ratio(length, v, spread, branches, pairs) + (v / spread) ** 2 / 2
        ),
        "the constant of the normal lacks the spread": lambda length, v, spread, branches, pairs: (
            math.log(2 * length * branches / pairs * math.sqrt(2 * math.pi)) + (v / spread) ** 2 / 2
        ),
        "to base 10": lambda *given: split_by_ratio(*given) / math.log(10),
        "the square of the length": split_ratio(jacobian=lambda length: 2 * length**2),
    },
    "E1.8": {
        "low is forgotten": squash(lambda x, low, high: (high - low) * torch.sigmoid(x)),
        "stretched by high": squash(lambda x, low, high: low + high * torch.sigmoid(x)),
        "the range (0, 1)": squash(lambda x, low, high: torch.sigmoid(x)),
        "tanh": squash(lambda x, low, high: low + (high - low) * torch.tanh(x)),
        "projection": squash(lambda x, low, high: x.clamp(low, high)),
        "upside down": squash(lambda x, low, high: high - (high - low) * torch.sigmoid(x)),
        "no logarithm": squash(None, lambda x, low, high: (high - low) * torch.sigmoid(x) * torch.sigmoid(-x)),
        "the width is forgotten": squash(None, lambda x, low, high: F.logsigmoid(x) + F.logsigmoid(-x)),
        "only sigmoid(x)": squash(None, lambda x, low, high: math.log(high - low) + F.logsigmoid(x)),
        "underflows": squash(
            None, lambda x, low, high: ((high - low) * torch.sigmoid(x) * (1 - torch.sigmoid(x))).log()
        ),
        "wrong shape": squash(
            None, lambda x, low, high: (math.log(high - low) + F.logsigmoid(x) + F.logsigmoid(-x)).sum()
        ),
        "expected 2 values": lambda x, low, high: low + (high - low) * torch.sigmoid(x),
        "sigmoid(x) twice": squash(None, lambda x, low, high: math.log(high - low) + 2 * F.logsigmoid(x)),
        "log(... + 1e-08)": squash(
            None,
            lambda x, low, high: ((high - low) * (F.logsigmoid(x) + F.logsigmoid(-x)).exp() + 1e-8).log(),
        ),
        "the width itself": squash(None, lambda x, low, high: high - low + F.logsigmoid(x) + F.logsigmoid(-x)),
        "a tanh that was stretched": squash(lambda x, low, high: low + (high - low) * torch.sigmoid(2 * x)),
    },
    "E1.9": {
        "the way there and the way back are swapped": langevin(
            lambda q, x, y, sx, sy, step: q(x, y, sx, step) - q(y, x, sy, step)
        ),
        "the variance is step": langevin(lambda q, x, y, sx, sy, step: 2 * (q(y, x, sy, step) - q(x, y, sx, step))),
        "the variance is 4 step": langevin(lambda q, x, y, sx, sy, step: (q(y, x, sy, step) - q(x, y, sx, step)) / 2),
        "the score at x is used both ways": langevin(
            lambda q, x, y, sx, sy, step: q(y, x, sx, step) - q(x, y, sx, step)
        ),
        "the scores are swapped": langevin(lambda q, x, y, sx, sy, step: q(y, x, sx, step) - q(x, y, sy, step)),
        "the drift is forgotten": langevin(lambda q, x, y, sx, sy, step: q(y, x, 0, step) - q(x, y, 0, step)),
        "the drift points downhill": langevin(lambda q, x, y, sx, sy, step: q(y, x, -sy, step) - q(x, y, -sx, step)),
        "the mean over coordinates": langevin(
            lambda q, x, y, sx, sy, step: (q(y, x, sy, step) - q(x, y, sx, step)) / x.shape[1]
        ),
        "wrong shape": langevin(lambda q, x, y, sx, sy, step: (q(y, x, sy, step) - q(x, y, sx, step)).sum()),
        "2 step is taken for a standard deviation": langevin(
            lambda q, x, y, sx, sy, step: (q(y, x, sy, step) - q(x, y, sx, step)) / (2 * step)
        ),
        "the score at y is used both ways": langevin(
            lambda q, x, y, sx, sy, step: q(y, x, sy, step) - q(x, y, sy, step)
        ),
        "only the way back": lambda x, y, score_x, score_y, step: (
            torch.distributions.Normal(y + step * score_y, (2 * step) ** 0.5).log_prob(x).sum(1)
        ),
    },
}
TUNING = "another policy that mixes moves and gradients, and as good a one"
EQUIVALENT = {
    "E1.3": {
        "line 8: x.detach() -> x": "x is detached at the end of each round, too",
        "line 10: (x - size * slope).detach() -> x - size * slope": "x is detached at the start of each round, too",
    },
    "E1.5": {
        "line 5: 10 -> 11": TUNING,
        "line 5: 10 -> 9": TUNING,
        "line 9: 0.3 -> 1.3": TUNING,
        "line 9: 0.3 -> 0.6": TUNING,
        "line 9: 0.2 -> 1.2": TUNING,
        "line 10: 5 -> 6": TUNING,
        "line 10: 5 -> 4": TUNING,
        "line 10: 0 -> 1": TUNING,
    },
    "E1.6": {
        "line 11: 20 -> 21": "every broken journey shows within four seeds",
        "line 11: 20 -> 19": "every broken journey shows within four seeds",
    },
}
