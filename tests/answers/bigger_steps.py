"""Answers to notebook 10: right ones written differently, and wrong ones by name."""

import torch

# E10.1


def half_log_snr(schedule, *times):
    t = torch.tensor(times, dtype=torch.float64)
    return (schedule.alpha(t) / schedule.sigma(t)).log().tolist()


def plain_step(schedule, x_t, guess, t, s):
    t, s = (torch.as_tensor(time, dtype=torch.float64) for time in (t, s))
    alpha_t, sigma_t, alpha_s, sigma_s = schedule.alpha(t), schedule.sigma(t), schedule.alpha(s), schedule.sigma(s)
    return float(alpha_s) * guess + float(sigma_s) / float(sigma_t) * (x_t - float(alpha_t) * guess)


def two_m_by_weights(schedule, x_t, new, old, r, t, s):
    before, now, after = half_log_snr(schedule, r, t, s)
    share = (after - now) / (now - before) / 2
    return plain_step(schedule, x_t, (1 + share) * new - share * old, t, s)


def two_m_by_integral(schedule, x_t, new, old, r, t, s):
    from cs348k_diffusion import step

    lam = schedule.log_snr(torch.tensor([r, t, s], dtype=torch.float64))
    slope = (new - old) / float(lam[1] - lam[0])
    return step(schedule, x_t, new + slope * float(lam[2] - lam[1]) / 2, t, s)


def two_m(share, give=None):
    """A wrong step: another share of new - old, or another result."""

    def two_m_step(schedule, x_t, new, old, r, t, s):
        guess = new + share(half_log_snr(schedule, r, t, s), (r, t, s)) * (new - old)
        return guess if give else plain_step(schedule, x_t, guess, t, s)

    return two_m_step


def two_m_from_r(schedule, x_t, new, old, r, t, s):
    guess = new + usual_share(half_log_snr(schedule, r, t, s), (r, t, s)) * (new - old)
    return plain_step(schedule, x_t, guess, r, s)


def usual_share(lam, times):
    return (lam[2] - lam[1]) / (lam[1] - lam[0]) / 2


# E10.2


def ends(schedule, t, s, like):
    return [*schedule(t, like), *schedule(s, like)]


def two_steps_by_eps(teacher, schedule, x_t, t, s):
    return two_steps_by_way_of(0.5 * t + 0.5 * s, teacher, schedule, x_t, t, s)


def two_steps_by_way_of(middle, teacher, schedule, x_t, t, s):
    alpha_t, sigma_t, alpha_m, sigma_m = ends(schedule, t, middle, x_t)
    alpha_s, sigma_s = schedule(s, x_t)
    guess = teacher(x_t, t)
    x_m = alpha_m * guess + sigma_m * (x_t - alpha_t * guess) / sigma_t
    guess = teacher(x_m, middle)
    x_s = alpha_s * guess + sigma_s * (x_m - alpha_m * guess) / sigma_m
    return (sigma_t * x_s - sigma_s * x_t) / (sigma_t * alpha_s - sigma_s * alpha_t)


def two_steps_by_a_line(teacher, schedule, x_t, t, s):
    from cs348k_diffusion import step

    x, now = x_t, t
    for later in ((t + s) / 2, s):
        x, now = step(schedule, x, teacher(x, now), now, later), later
    none = step(schedule, x_t, torch.zeros_like(x_t), t, s)
    one = step(schedule, x_t, torch.ones_like(x_t), t, s)
    return (x - none) / (one - none)


def two_steps_by_one_middle(teacher, schedule, x_t, t, s):
    return two_steps_by_way_of(((t + s) / 2).mean().expand(len(t)), teacher, schedule, x_t, t, s)


def two_steps_asked_at_the_end(teacher, schedule, x_t, t, s):
    from cs348k_diffusion import step

    m = (t + s) / 2
    x_m = step(schedule, x_t, teacher(x_t, t), t, m)
    x_s = step(schedule, x_m, teacher(x_m, s), m, s)
    alpha_t, sigma_t, alpha_s, sigma_s = ends(schedule, t, s, x_t)
    return (sigma_t * x_s - sigma_s * x_t) / (sigma_t * alpha_s - sigma_s * alpha_t)


def two_steps(solve=None, second=None, guess=None):
    """A wrong target: solved differently, another second guess, or a guess in place of what is solved for."""

    def two_steps_in_one(teacher, schedule, x_t, t, s):
        middle = (t + s) / 2
        alpha_t, sigma_t, alpha_m, sigma_m = ends(schedule, t, middle, x_t)
        alpha_s, sigma_s = schedule(s, x_t)
        one = teacher(x_t, t)
        x_m = alpha_m * one + sigma_m * (x_t - alpha_t * one) / sigma_t
        two = teacher(x_m, middle) if second is None else second(teacher, x_t, x_m, t, middle)
        x_s = alpha_s * two + sigma_s * (x_m - alpha_m * two) / sigma_m
        if guess is not None:
            return guess(one, two, x_s)
        if solve is not None:
            return solve(x_t, x_s, alpha_t, sigma_t, alpha_s, sigma_s)
        return (sigma_t * x_s - sigma_s * x_t) / (sigma_t * alpha_s - sigma_s * alpha_t)

    return two_steps_in_one


def third_evaluation(teacher, schedule, x_t, t, s):
    found = two_steps_by_eps(teacher, schedule, x_t, t, s)
    teacher(found, s)
    return found


# E10.3


def counts(steps, end):
    found, n = [], steps
    while n > end and n % 2 == 0:
        n //= 2
        found.append(n)
    if not found or n != end:
        raise ValueError(f"{steps} does not halve to {end}")
    return found


def halve_by_recursion(train, teacher, steps, end):
    if steps % 2 or steps // 2 < end or (steps // 2 > end and not power_of_two(steps // 2, end)):
        raise ValueError("no way")
    n = steps // 2
    student = train(teacher, n)
    return [(n, student), *(halve_by_recursion(train, student, n, end) if n > end else [])]


def power_of_two(n, end):
    return n % end == 0 and (n // end) & (n // end - 1) == 0


def halve_by_counts(train, teacher, steps, end):
    found = []
    for n in counts(steps, end):
        found.append((n, train(found[-1][1] if found else teacher, n)))
    return found


def halving(number=lambda n: n, teaches=True, down_to=None, look=counts, keep=lambda teacher, rows: rows):
    """A wrong loop."""

    def halve(train, teacher, steps, end):
        found, now = [], teacher
        for n in look(steps, end if down_to is None else down_to):
            student = train(now, number(n))
            found.append((n, student))
            now = student if teaches else teacher
        return keep((steps, teacher), found)

    return halve


def without_looking(steps, end):
    found = []
    while steps // 2 >= end:
        steps //= 2
        found.append(steps)
    return found


def halve_then_look(train, teacher, steps, end):
    found, n = [], steps
    while n > end and n % 2 == 0:
        n //= 2
        teacher = train(teacher, n)
        found.append((n, teacher))
    if n != end or not found:
        raise ValueError("that did not halve")
    return found


def halve_with_an_assert(train, teacher, steps, end):
    assert steps > end and steps % end == 0 and power_of_two(steps, end)
    return halve_by_counts(train, teacher, steps, end)


def powers_of_two(steps, end):
    if steps & (steps - 1) or end & (end - 1):
        raise ValueError("not a power of two")
    return counts(steps, end)


def one_round_too_many(steps, end):
    return [*counts(steps, end), end // 2] if end > 1 else counts(steps, end)


# E10.4


def lesson_by_lerp(model, x_t, t, y, null, u, low, high):
    scale = torch.lerp(torch.full_like(u, low), torch.full_like(u, high), u)
    cond, uncond = model(x_t, t, y), model(x_t, t, null.repeat(len(x_t)))
    return torch.lerp(uncond, cond, scale.reshape(-1, *[1] * (x_t.dim() - 1))), scale


def lesson_in_one_call(model, x_t, t, y, null, u, low, high):
    scale = (1 - u) * low + u * high
    both = model(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([y, null.expand(len(y))]))
    cond, uncond = both.chunk(2)
    w = scale
    while w.ndim < x_t.ndim:
        w = w.unsqueeze(-1)
    return w * cond + (1 - w) * uncond, scale


def lesson(mix=None, scale=None, give=None):
    """A wrong lesson: another mixture, another scale, or other results."""

    def guided_lesson(model, x_t, t, y, null, u, low, high):
        w = low + (high - low) * u if scale is None else scale(u, low, high)
        cond, uncond = model(x_t, t, y), model(x_t, t, null.expand(len(x_t)))
        each = w.view(-1, *(1,) * (x_t.ndim - 1))
        target = uncond + each * (cond - uncond) if mix is None else mix(cond, uncond, each)
        return (target, w) if give is None else give(target, w, u)

    return guided_lesson


def lesson_with_three_guesses(model, x_t, t, y, null, u, low, high):
    scale = low + (high - low) * u
    without = null.expand(len(x_t))
    each = scale.view(-1, *(1,) * (x_t.ndim - 1))
    difference = model(x_t, t, y) - model(x_t, t, without)
    return model(x_t, t, without) + each * difference, scale


def lesson_with_one_null(model, x_t, t, y, null, u, low, high):
    scale = low + (high - low) * u
    cond, uncond = model(x_t, t, y), model(x_t, t, null)
    return uncond + scale.view(-1, *(1,) * (x_t.ndim - 1)) * (cond - uncond), scale


def lesson_by_examples(model, x_t, t, y, null, u, low, high):
    scale = low + (high - low) * u
    rows = []
    for k in range(len(x_t)):
        one = slice(k, k + 1)
        cond, uncond = model(x_t[one], t[one], y[one]), model(x_t[one], t[one], null)
        rows.append(uncond + scale[k] * (cond - uncond))
    return torch.cat(rows), scale


# E10.5


def consistency_by_precision(net, schedule, x, t, spread):
    alpha, sigma = schedule(t, x)
    signal, noise = (alpha * spread) ** 2, sigma**2
    share = signal / (signal + noise)
    inner = net(x / (signal + noise).sqrt(), t)
    alpha = alpha.clamp(min=1e-30)
    return torch.where(alpha > 1e-6, share * x / alpha, share * x) + spread * (1 - share).sqrt() * inner


def consistency_by_angle(net, schedule, x, t, spread):
    alpha, sigma = schedule(t, x)
    r = torch.hypot(alpha * spread, sigma)
    cos, sin = alpha * spread / r, sigma / r
    return spread * (cos * (x / r) + sin * net(x / r, t))


def consistency_of_another_r(net, schedule, x, t, spread):
    alpha, sigma = schedule(t, x)
    r = (spread**2 + sigma**2).sqrt()
    return alpha * spread**2 / r**2 * x + sigma * spread / r * net(x / r, t)


def consistency_by_time(net, schedule, x, t, spread):
    alpha, sigma = schedule(t, x)
    weight = t.to(x).view(-1, *(1,) * (x.ndim - 1))
    return (1 - weight) * x + weight * net(x / torch.hypot(alpha * spread, sigma), t)


def consistency_without_a_root(net, schedule, x, t, spread):
    alpha, sigma = schedule(t, x)
    r = alpha**2 * spread**2 + sigma**2
    return alpha * spread**2 / r**2 * x + sigma * spread / r * net(x / r, t)


def consistency_without_alpha(net, schedule, x, t, spread):
    _, sigma = schedule(t, x)
    r = (spread**2 + sigma**2).sqrt()
    return spread**2 / r**2 * x + sigma * spread / r * net(x / r, t)


def skipping(skip=None, out=None, into=None):
    """A wrong consistency function: other factors of (alpha, sigma, spread, r)."""

    def consistency_function(net, schedule, x, t, spread):
        alpha, sigma = schedule(t, x)
        r = (alpha**2 * spread**2 + sigma**2).sqrt()
        numbers = alpha, sigma, spread, r
        c_skip = alpha * spread**2 / r**2 if skip is None else skip(*numbers)
        c_out = sigma * spread / r if out is None else out(*numbers)
        c_in = 1 / r if into is None else into(*numbers)
        return c_skip * x + c_out * net(c_in * x, t)

    return consistency_function


# E10.6


def move_by_einsum(real, fake, schedule, x, t, noise):
    alpha, sigma = schedule.alpha(t).to(x), schedule.sigma(t).to(x)
    x_t = torch.einsum("n,nd->nd", alpha, x) + torch.einsum("n,nd->nd", sigma, noise)
    return torch.einsum("n,nd->nd", alpha, real(x_t, t) - fake(x_t, t))


def move_by_guesses(real, fake, schedule, x, t, noise):
    alpha, sigma = schedule(t, x)
    x_t = torch.addcmul(alpha * x, sigma, noise)
    toward, away = x_t + sigma**2 * real(x_t, t), x_t + sigma**2 * fake(x_t, t)
    return alpha / sigma**2 * (toward - away)


def moving(how):
    """A wrong direction: how(real, fake, x, x_t, t, alpha, sigma)."""

    def matching_move(real, fake, schedule, x, t, noise):
        alpha, sigma = schedule(t, x)
        return how(real, fake, x, alpha * x + sigma * noise, t, alpha, sigma)

    return matching_move


# E10.7


def test_by_hand(draw):
    z = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    taught = draw(z, 16)
    for n in (4, 2, 1):
        mine = draw(z, n)
        assert mine.shape == taught.shape, "another shape"
        assert ((mine - taught) ** 2).mean() < 0.03, f"{n} steps draw something else"
        assert all(mine[:, k].std() > 0.2 for k in range(2)), "the noise does not matter"
        assert (draw(z[:5], n) - mine[:5]).abs().max() < 1e-2, "neighbours matter"


def test_by_two_noises(draw):
    first = torch.linspace(-2, 2, 41)
    z = torch.stack([first, first.roll(7)], 1)
    other = torch.stack([first.flip(0), first.roll(3)], 1)
    for n in (1, 2, 4):
        far = (draw(z, n) - draw(z, 16)).square().mean().sqrt()
        assert far < 0.2, far
        moved = (draw(z, n) - draw(other, n)).square().mean(0).sqrt()
        assert bool((moved > 0.2).all()), moved
        alone = torch.cat([draw(z[k : k + 1], n) for k in (0, 20)])
        assert torch.allclose(alone, draw(z, n)[[0, 20]], atol=1e-3)


def some_of(*checks, steps=(1, 2, 4), tolerance=0.15):
    """A property test made of some of the checks only."""

    def test_student(draw):
        z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        for n in steps:
            mine = draw(z, n)
            if "teacher" in checks:
                assert (mine - draw(z, 16)).square().mean().sqrt() <= tolerance
            if "density" in checks:
                assert (mine.mean(0) - draw(z, 16).mean(0)).abs().max() < 0.5
                assert (mine.std(0) - draw(z, 16).std(0)).abs().max() < 0.2
            if "varies" in checks:
                assert (mine.std(0) > 0.2).all()
            if "varies together" in checks:
                assert mine.std() > 0.2
            if "alone" in checks:
                assert (draw(z[:1], n) - mine[:1]).abs().max() < 1e-3

    return test_student


def close_by(size, limit):
    """A property test that measures the distance from the teacher by `size`, not by a root mean square."""

    def test_student(draw):
        some_of("varies", "alone")(draw)
        z = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
        assert all(size(draw(z, n) - draw(z, 16)) < limit for n in (1, 2, 4)), "far from its teacher"

    return test_student


def test_by_the_worst_point(draw):
    z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    for n in (1, 2, 4):
        assert (draw(z, n) - draw(z, 16)).abs().max() < 0.1
        assert (draw(z, n).std(0) > 0.2).all()
        assert (draw(z[:1], n) - draw(z, n)[:1]).abs().max() < 1e-3


def test_that_returns(draw):
    z = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    return bool((draw(z, 1) - draw(z, 16)).square().mean() < 0.02)


EVERY = ("teacher", "varies", "alone")

RIGHT = {
    "E10.1": [two_m_by_weights, two_m_by_integral],
    "E10.2": [two_steps_by_eps, two_steps_by_a_line],
    "E10.3": [halve_by_recursion, halve_by_counts],
    "E10.4": [lesson_by_lerp, lesson_in_one_call],
    "E10.5": [consistency_by_precision, consistency_by_angle],
    "E10.6": [move_by_einsum, move_by_guesses],
    "E10.7": [test_by_hand, test_by_two_noises],
}

WRONG = {
    "E10.1": {
        "the old guess is not used": two_m(lambda lam, times: 0.0),
        "at the end of the step, not in its middle": two_m(lambda lam, times: 2 * usual_share(lam, times)),
        "read off backwards": two_m(lambda lam, times: -usual_share(lam, times)),
        "times are not lambdas": two_m(lambda lam, times: usual_share(times, times)),
        "alpha / sigma itself": two_m(lambda lam, times: usual_share([2.718281828459045**each for each in lam], times)),
        "the step starts at r": two_m_from_r,
        "taken for equally long": two_m(lambda lam, times: 0.5),
        "the ratio of the steps is upside down": two_m(lambda lam, times: 0.25 / usual_share(lam, times)),
        "the two guesses are averaged": two_m(lambda lam, times: -0.5),
        "the slope is not divided": two_m(lambda lam, times: (lam[2] - lam[1]) / 2),
        "the guess is returned": two_m(usual_share, give="guess"),
        "r and t are swapped": lambda schedule, x_t, new, old, r, t, s: two_m_by_weights(
            schedule, x_t, new, old, t, r, s
        ),
    },
    "E10.2": {
        "its second step is lost": two_steps(guess=lambda one, two, x_s: one + 0),
        "meant for the second step alone": two_steps(guess=lambda one, two, x_s: two + 0),
        "the two guesses are averaged": two_steps(guess=lambda one, two, x_s: (one + two) / 2),
        "x_s is returned": two_steps(guess=lambda one, two, x_s: x_s),
        "asked at x_t, which has moved": two_steps(second=lambda teacher, x_t, x_m, t, m: teacher(x_t, m)),
        "asked at time t, not at the middle": two_steps(second=lambda teacher, x_t, x_m, t, m: teacher(x_m, t)),
        "asked at time s, not at the middle": two_steps_asked_at_the_end,
        "taken for signal": two_steps(solve=lambda x_t, x_s, a_t, s_t, a_s, s_s: x_s / a_s),
        "is not taken away": two_steps(solve=lambda x_t, x_s, a_t, s_t, a_s, s_s: x_s / (a_s - s_s / s_t * a_t)),
        "one middle for the whole batch": two_steps_by_one_middle,
        "t and s are swapped": two_steps(
            solve=lambda x_t, x_s, a_t, s_t, a_s, s_s: (s_t * x_t - s_s * x_s) / (s_t * a_s - s_s * a_t)
        ),
        "is upside down": two_steps(
            solve=lambda x_t, x_s, a_t, s_t, a_s, s_s: (x_s - s_t / s_s * x_t) / (a_s - s_t / s_s * a_t)
        ),
        "a third evaluation": third_evaluation,
    },
    "E10.3": {
        "each student is trained twice": lambda train, teacher, steps, end: halving()(
            lambda now, n: (train(now, n), train(now, n))[1], teacher, steps, end
        ),
        "the first teacher teaches every student": halving(teaches=False),
        "its teacher's number of steps": halving(number=lambda n: 2 * n),
        "as many steps as the teacher": halving(look=lambda steps, end: [steps, *counts(steps, end)]),
        "the last halving is missing": halving(look=lambda steps, end: counts(steps, end)[:-1]),
        "one halving too many": halving(look=one_round_too_many),
        "the first teacher is in the list": halving(keep=lambda first, rows: [first, *rows]),
        "only the last student is kept": halving(keep=lambda first, rows: rows[-1:]),
        "in the wrong order": halving(keep=lambda first, rows: rows[::-1]),
        "without their number of steps": halving(keep=lambda first, rows: [student for _, student in rows]),
        "nothing was raised": halving(look=without_looking),
        "powers of two alone are accepted": halving(look=powers_of_two),
        "before anything is trained": halve_then_look,
        "not AssertionError": halve_with_an_assert,
    },
    "E10.4": {
        "one scale for the whole batch": lesson(lambda c, n, w: n + w.flatten()[0] * (c - n)),
        "for the whole batch, and it is told": lesson(
            scale=lambda u, low, high: (low + (high - low) * u[0]).expand(len(u))
        ),
        "one label for each row": lesson_with_one_null,
        "the mean scale for every example": lesson(lambda c, n, w: n + w.mean() * (c - n)),
        "the paper's w": lesson(lambda c, n, w: n + (1 + w) * (c - n)),
        "cond and uncond are swapped": lesson(lambda c, n, w: c + w * (n - c)),
        "starts from the guess without a label": lesson(lambda c, n, w: c + w * (c - n)),
        "the scale is not used": lesson(lambda c, n, w: c + 0),
        "is left out": lesson(lambda c, n, w: w * c),
        "the scale starts at 0": lesson(scale=lambda u, low, high: high * u),
        "the span is high - low": lesson(scale=lambda u, low, high: low + high * u),
        "label 0 means something": lambda model, x_t, t, y, null, *rest: lesson()(model, x_t, t, y, 0 * null, *rest),
        "the scale grows by a factor": lesson(scale=lambda u, low, high: low * (high / low) ** u),
        "u is told": lesson(give=lambda target, w, u: (target, u.clone())),
        "low and high are swapped": lesson(scale=lambda u, low, high: high - (high - low) * u),
        "in the wrong order": lesson(give=lambda target, w, u: (w, target)),
        "asked for twice": lesson_with_three_guesses,
        "all examples in one call": lesson_by_examples,
    },
    "E10.5": {
        "the network is asked twice": lambda net, schedule, x, t, spread: (
            consistency_by_precision(net, schedule, x, t, spread) / 2
            + consistency_by_precision(net, schedule, x, t, spread) / 2
        ),
        "`spread` is squared": lambda net, schedule, x, t, spread: consistency_by_precision(
            net, schedule, x, t, spread**2
        ),
        "added whole": skipping(out=lambda a, s, d, r: torch.ones_like(a)),
        "the network alone": skipping(skip=lambda a, s, d, r: 0 * a),
        "handed through whole at every t": skipping(skip=lambda a, s, d, r: torch.ones_like(a)),
        "not divided by the variance": skipping(skip=lambda a, s, d, r: a * d**2),
        "divided by a standard deviation": skipping(skip=lambda a, s, d, r: a * d**2 / r),
        "that is the correlation": skipping(skip=lambda a, s, d, r: a * d / r),
        "the factors of d = 1": skipping(skip=lambda a, s, d, r: a, out=lambda a, s, d, r: s),
        "r is the variance": consistency_without_a_root,
        "c_skip and c_out are those of x_t = x0 + sigma eps": skipping(
            skip=lambda a, s, d, r: d**2 / (s**2 + d**2), out=lambda a, s, d, r: s * d / (s**2 + d**2) ** 0.5
        ),
        "all three factors are those of x_t = x0 + sigma eps": consistency_without_alpha,
        "alpha is forgotten in c_skip": skipping(skip=lambda a, s, d, r: d**2 / r**2),
        "alpha is forgotten in r": consistency_of_another_r,
        "mixed by t, not by variances": consistency_by_time,
        "asked at time 0": lambda net, schedule, x, t, spread: consistency_by_angle(
            lambda x, t: net(x, torch.zeros_like(t)), schedule, x, t, spread
        ),
        "c_out is a variance": skipping(out=lambda a, s, d, r: (s * d / r) ** 2),
        "c_out is not divided by r": skipping(out=lambda a, s, d, r: s * d),
        "spread is forgotten": skipping(out=lambda a, s, d, r: s / r),
        "not shown x / r": skipping(into=lambda a, s, d, r: torch.ones_like(a)),
        "answer is subtracted": skipping(out=lambda a, s, d, r: -s * d / r),
        "taken for a variance": lambda net, schedule, x, t, spread: consistency_by_angle(
            net, schedule, x, t, spread**0.5
        ),
    },
    "E10.6": {
        "flee from the data": moving(lambda real, fake, x, x_t, t, a, s: a * (fake(x_t, t) - real(x_t, t))),
        "alpha is forgotten": moving(lambda real, fake, x, x_t, t, a, s: real(x_t, t) - fake(x_t, t)),
        "asked at x, without noise": moving(lambda real, fake, x, x_t, t, a, s: a * (real(x, t) - fake(x, t))),
        "own score is left out": moving(lambda real, fake, x, x_t, t, a, s: a * real(x_t, t)),
        "alpha twice": moving(lambda real, fake, x, x_t, t, a, s: a**2 * (real(x_t, t) - fake(x_t, t))),
        "divided by alpha": moving(lambda real, fake, x, x_t, t, a, s: (real(x_t, t) - fake(x_t, t)) / a),
        "sigma where alpha belongs": moving(lambda real, fake, x, x_t, t, a, s: s * (real(x_t, t) - fake(x_t, t))),
        "the direction alone": moving(lambda real, fake, x, x_t, t, a, s: x + a * (real(x_t, t) - fake(x_t, t))),
    },
    "E10.7": {
        "It accepts": some_of("varies", "alone"),
        "draws other pictures from the same noise": some_of("density", "varies", "alone"),
        "has forgotten 4 steps": some_of(*EVERY, steps=(1, 2)),
        "fails at 2 steps": some_of(*EVERY, steps=(1, 4)),
        "a teacher that ignores the noise too": some_of("teacher", "alone"),
        "whose first coordinate ignores the noise": some_of("teacher", "varies together", "alone"),
        "mixes the examples of a batch": some_of("teacher", "varies"),
        "mixes the examples at 2 and 4 steps": some_of("teacher", "varies"),
        "misses by 0.31, all of it in one number of 13": close_by(lambda gap: gap.abs().mean(), 0.15),
        "misses its teacher in the first coordinate": close_by(lambda gap: gap[:, 1].square().mean().sqrt(), 0.15),
        "misses its teacher in the second coordinate": close_by(lambda gap: gap[:, 0].square().mean().sqrt(), 0.15),
        "It rejects: a student that misses its teacher": some_of(*EVERY, tolerance=1e-3),
        "misses by 0.08, most of it in a few points": test_by_the_worst_point,
        "Your test returned": test_that_returns,
        "1 of 18 wrong answers: misses its teacher by 0.26 everywhere": close_by(lambda gap: gap.abs().max(), 0.5),
        "It accepts 3 of 18 wrong answers: misses by 0.31, all of it in one number of 13; misses by 0.35": some_of(
            *EVERY, tolerance=0.38
        ),
        "misses by 0.35, all of it in a quarter of the points": close_by(lambda gap: gap.abs().mean(), 0.2),
        "misses its teacher by 0.26 everywhere": close_by(lambda gap: gap.square().mean(), 0.15),
    },
}

EQUIVALENT = {
    "E10.3": {"line 13: steps -> train": "the words of the error are free"},
    "E10.7": {
        "line 9: 200 -> 199": "one noise fewer",
        "line 9: 200 -> 201": "one noise more",
        "line 9: 0 -> 1": "another seed",
        "line 9: torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) -> torch.randn(200, 2)": "other noise",
        "line 9: torch.Generator().manual_seed(0) -> torch.Generator()": "a generator with the seed it is born with",
        "line 9: torch.Generator() -> torch": "torch.manual_seed gives a generator too",
        "line 10: (1, 2, 4) -> (2, 1, 4)": "the same steps in another order",
        "line 14: 0.3 -> 0.6": "right students vary by more than 0.6",
        "line 16: (alone - points[:7]).abs() -> alone - points[:7]": "fourteen differences have both signs",
        "line 16: 0.05 -> 0.1": "right students agree to rounding, wrong ones are off by more",
    },
}
