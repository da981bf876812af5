"""Checks of notebook 04: what a network may predict, the steps back to data, and the pieces of a U-Net."""

import math

import pytest
import torch
import torch.nn.functional as F

from cs348k_diffusion.exercises import Exercise, expect, picture, run_against, same_form
from cs348k_diffusion.schedule import cosine, exploding, linear_beta, straight

EXERCISES = (
    Exercise(
        "E4.1",
        "x0_and_eps",
        "One velocity, two guesses",
        gives="x0: tensor, eps: tensor",
        hints=(
            "Two equations, two unknowns: x = alpha x0 + sigma eps and v = alpha eps - sigma x0. Multiply the first by "
            "alpha and the second by sigma, and subtract.",
            "(x, v) is (x0, eps) turned by an angle. Which matrix turns it back?",
            "alpha x - sigma v: put in both equations, and eps drops out. What is left, with alpha^2 + sigma^2 = 1?",
        ),
        withheld=("denoiser.x0_from_v", "denoiser.eps_from_x0", "denoiser.NetDenoiser"),
    ),
    Exercise(
        "E4.2",
        "ancestral_step",
        "The ancestral step",
        gives="x_s: tensor",
        hints=(
            "If x_s were known, x_t would be (alpha_t / alpha_s) x_s plus noise of variance "
            "b2 = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2. Multiply it with N(x_s; alpha_s x0, sigma_s^2).",
            "Precisions add, 1 / variance = 1 / sigma_s^2 + (alpha_t / alpha_s)^2 / b2, and the mean weighs the two "
            "means by them. Multiply out what is 0/0 at s = 0.",
            "variance = b2 sigma_s^2 / sigma_t^2, which is 0 at s = 0; x0_hat's weight in the mean is "
            "alpha_s b2 / sigma_t^2. What is x_t's?",
        ),
        withheld=(
            "sampling.step",
            "sampling.ancestral",
            "sampling.ancestral_step",
            "sampling.ddpm",
            "sampling.ddim",
            "sampling.sample",
            "forward.forward_kernel",
        ),
        ours="sampling.ancestral_step",
    ),
    Exercise(
        "E4.3",
        "ddim_step",
        "The DDIM step",
        gives="x_s: tensor",
        hints=(
            "x_t and x0_hat together name the noise: solve x_t = alpha_t x0_hat + sigma_t eps_hat for eps_hat.",
            "Put the same two, x0_hat and eps_hat, together again, as the forward process would at time s.",
            "eps_hat = (x_t - alpha_t * x0_hat) / sigma_t. Nothing divides by alpha_t, which may be 0.",
        ),
        withheld=(
            "sampling.step",
            "sampling.ddim_step",
            "sampling.ddim",
            "sampling.ddpm",
            "sampling.sample",
            "denoiser.eps_from_x0",
        ),
        ours="sampling.ddim_step",
    ),
    Exercise(
        "E4.4",
        "time_embedding",
        "The time embedding",
        gives="the rows: tensor",
        hints=(
            "Which width / 2 numbers from 1 to 1000 have one ratio between neighbours?",
            "First the frequencies: torch.linspace of exponents 0 to 1, and 1000 to that power. Then all products of a "
            "time and a frequency.",
            "angles = t[:, None] * frequencies has shape (batch, width / 2); the result has twice as many columns.",
        ),
        withheld=("nets.embed.sinusoids", "nets.embed.TimeAndLabel"),
        ours="nets.embed.sinusoids",
    ),
    Exercise(
        "E4.5",
        "ResBlock",
        "The residual block",
        hints=(
            "Read the docstring's formula from the inside out, one layer a line. What comes first?",
            "The embedding enters through film, after the second norm and before the second silu. In __init__, zero "
            "the weight and the bias of conv_out.",
            "The first half is r = self.conv_in(F.silu(self.norm_in(h))); the second half begins with self.norm_out.",
        ),
        withheld=("nets.unet.ResidualBlock", "nets.unet.UNet"),
        ours="nets.unet.ResidualBlock",
        seconds=20,
    ),
    Exercise(
        "E4.6",
        "test_step",
        "A property test for a step",
        hints=(
            "What is the answer when s = t? And when s = 0? Both are known without any formula.",
            "A third one: with the same x0_hat, a step from t to r and another from r to s must land where one step "
            "from t to s lands.",
            "Draw x_t and x0_hat with torch.randn, and compare with torch.testing.assert_close(..., rtol=1e-3, "
            "atol=1e-4); try times below 1, where nothing cancels.",
        ),
    ),
)

SCHEDULES = (cosine(), linear_beta(1000), straight())


def draws(*shape, seed=0):
    """Two independent tensors of standard normal numbers."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g), torch.randn(shape, generator=g)


def numbers(schedule, t, s):
    """alpha_t, sigma_t, alpha_s, sigma_s as plain floats."""
    times = torch.tensor([t, s], dtype=torch.float64)
    (alpha_t, alpha_s), (sigma_t, sigma_s) = schedule.alpha(times).tolist(), schedule.sigma(times).tolist()
    return alpha_t, sigma_t, alpha_s, sigma_s


def pair(value):
    """Two tensors of one shape, or a failure that says what is missing."""
    same_form(value, (value[0], value[0]), ("x0", "eps"))
    return value


@pytest.mark.exercise("E4.1", points=1)
def test_gives_back_the_clean_image(x0_and_eps):
    x0, eps = draws(3, 1, 4, 4)
    for angle in (0.0, 0.3, 1.2, math.pi / 2):
        alpha, sigma = math.cos(angle), math.sin(angle)
        x, v = alpha * x0 + sigma * eps, alpha * eps - sigma * x0
        got, _ = pair(x0_and_eps(x, v, alpha, sigma))
        expect(
            got,
            x0,
            says=f"x0 must come back from x and v; tried alpha = {alpha:.2f}, sigma = {sigma:.2f}.",
            mistakes={
                "the sign of v": alpha * x + sigma * v,
                "alpha and sigma are swapped": sigma * x - alpha * v,
                "x0 and eps are returned in the wrong order": eps,
                "divides by alpha, as for eps-prediction": (x - sigma * v) / alpha if alpha > 1e-9 else x0 * torch.nan,
            },
            atol=1e-5,
            rtol=1e-5,
        )


@pytest.mark.exercise("E4.1", points=1)
def test_gives_back_the_noise(x0_and_eps):
    x0, eps = draws(5, 2, seed=1)
    for angle in (0.0, 0.3, 1.2, math.pi / 2):
        alpha, sigma = math.cos(angle), math.sin(angle)
        x, v = alpha * x0 + sigma * eps, alpha * eps - sigma * x0
        _, got = pair(x0_and_eps(x, v, alpha, sigma))
        expect(
            got,
            eps,
            says=f"eps must come back from x and v, also where sigma = 0; tried sigma = {sigma:.2f}.",
            mistakes={
                "the sign of v": sigma * x - alpha * v,
                "alpha and sigma are swapped": alpha * x + sigma * v,
                "x0 and eps are returned in the wrong order": x0,
                "v is returned as if it were eps": v,
                "divides by sigma, which is 0 at the data": lambda: eps * torch.nan,
            },
            atol=1e-5,
            rtol=1e-5,
        )


def posterior(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s):
    """Mean and variance of x_s by Bayes' rule on precisions: the prior N(alpha_s x0, sigma_s^2) meets the step to t."""
    keep = alpha_t / alpha_s
    b2 = sigma_t**2 - keep**2 * sigma_s**2  # the variance that the step from s to t adds
    precision = 1 / sigma_s**2 + keep**2 / b2
    return (alpha_s * x0_hat / sigma_s**2 + keep * x_t / b2) / precision, 1 / precision, b2


MOVES = ((0.8, 0.6), (0.35, 0.3), (0.05, 0.02))


@pytest.mark.exercise("E4.2", points=2)
def test_has_the_mean_of_the_posterior(ancestral_step):
    x_t, x0_hat = draws(4, 2, seed=2)
    for schedule in SCHEDULES:
        for t, s in MOVES:
            alpha_t, sigma_t, alpha_s, sigma_s = numbers(schedule, t, s)
            mean, _, _ = posterior(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s)
            eps_hat = (x_t - alpha_t * x0_hat) / sigma_t
            expect(
                ancestral_step(schedule, x_t, x0_hat, t, s, torch.zeros_like(x_t)),
                mean,
                says=f"Without noise, land on the mean of q(x_s | x_t, x0); tried {schedule.name}, {t} to {s}.",
                mistakes={
                    "all the noise is kept: that is DDIM": alpha_s * x0_hat + sigma_s * eps_hat,
                    "x_t is forgotten: the mean is not alpha_s x0_hat": alpha_s * x0_hat,
                    "t and s are swapped": posterior(x_t, x0_hat, alpha_s, sigma_s, alpha_t, sigma_t)[0],
                    "returns x0_hat": x0_hat,
                    "returns x_t unchanged": x_t,
                },
                rtol=1e-4,
                atol=1e-5,
            )


@pytest.mark.exercise("E4.2", points=2)
def test_has_the_variance_of_the_posterior(ancestral_step):
    x_t, noise = draws(3, 1, 2, 2, seed=3)
    x0_hat = noise.flip(0)
    for schedule in SCHEDULES:
        for t, s in MOVES:
            alpha_t, sigma_t, alpha_s, sigma_s = numbers(schedule, t, s)
            _, variance, b2 = posterior(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s)
            with_noise = ancestral_step(schedule, x_t, x0_hat, t, s, noise)
            expect(
                with_noise - ancestral_step(schedule, x_t, x0_hat, t, s, torch.zeros_like(noise)),
                math.sqrt(variance) * noise,
                says=f"The noise must have the posterior's standard deviation; tried {schedule.name}, {t} to {s}.",
                mistakes={
                    "variance for standard deviation": variance * noise,
                    "the variance of the step from s to t (beta) instead of the posterior's": math.sqrt(b2) * noise,
                    "no noise is added: that is DDIM": torch.zeros_like(noise),
                    "all of the noise at s is drawn anew": sigma_s * noise,
                    "the noise has the wrong sign": -math.sqrt(variance) * noise,
                },
                rtol=1e-3,
                atol=1e-5,
            )


@pytest.mark.exercise("E4.2", points=1)
def test_holds_at_both_ends(ancestral_step):
    x_t, noise = draws(3, 2, seed=4)
    x0_hat = x_t.flip(0)
    for schedule in SCHEDULES:
        expect(
            ancestral_step(schedule, x_t, x0_hat, 0.2, 0.0, noise),
            x0_hat,
            says=f"The step to s = 0 must land on x0_hat, without noise; tried {schedule.name}.",
            mistakes={"noise is added at the last step": lambda: x0_hat + 0.2 * noise},
            atol=1e-5,
            rtol=1e-4,
        )
    alpha_s, sigma_s = (
        value.item() for value in (cosine().alpha(torch.tensor(0.9)), cosine().sigma(torch.tensor(0.9)))
    )
    expect(
        ancestral_step(cosine(), x_t, x0_hat, 1.0, 0.9, noise),
        alpha_s * x0_hat + sigma_s * noise,
        says="At t = 1 the cosine schedule has no signal: x_t says nothing, and x_s is alpha_s x0_hat + sigma_s noise.",
        mistakes={"divides by alpha_t, which is 0 at t = 1": lambda: x_t * torch.nan},
        atol=1e-4,
        rtol=1e-3,
    )


@pytest.mark.exercise("E4.3", points=2)
def test_keeps_the_noise_it_read(ddim_step):
    x0_hat, eps_hat = draws(4, 1, 3, 3, seed=5)
    for schedule in (*SCHEDULES, exploding(10.0)):
        for t, s in (*MOVES, (0.6, 0.8), (0.5, 0.5)):
            alpha_t, sigma_t, alpha_s, sigma_s = numbers(schedule, t, s)
            x_t = alpha_t * x0_hat + sigma_t * eps_hat
            expect(
                ddim_step(schedule, x_t, x0_hat, t, s),
                alpha_s * x0_hat + sigma_s * eps_hat,
                says=f"x_s must hold the same x0_hat and the same noise as x_t; tried {schedule.name}, {t} to {s}.",
                mistakes={
                    "sigma_t where sigma_s belongs": alpha_s * x0_hat + sigma_t * eps_hat,
                    "alpha_t where alpha_s belongs": alpha_t * x0_hat + sigma_s * eps_hat,
                    "x_t is used as the noise": alpha_s * x0_hat + sigma_s * x_t,
                    "the noise is dropped": alpha_s * x0_hat,
                    "the noise has the wrong sign": alpha_s * x0_hat - sigma_s * eps_hat,
                    "the noise is not divided by sigma_t": alpha_s * x0_hat + sigma_s * sigma_t * eps_hat,
                    "x0_hat is not scaled by alpha_t when the noise is read": alpha_s * x0_hat
                    + sigma_s * (x_t - x0_hat) / sigma_t,
                },
                rtol=1e-3,
                atol=1e-4,
            )


@pytest.mark.exercise("E4.3", points=1)
def test_lands_on_x0_hat_at_the_end(ddim_step):
    x_t, x0_hat = draws(2, 5, seed=6)
    for schedule in SCHEDULES:
        expect(
            ddim_step(schedule, x_t, x0_hat, 1.0, 0.0),
            x0_hat,
            says=f"One step from pure noise to s = 0 must land on x0_hat; tried {schedule.name}.",
            mistakes={"divides by alpha_t, which is 0 at t = 1": lambda: x_t * torch.nan},
            atol=1e-4,
            rtol=1e-4,
        )


@pytest.mark.exercise("E4.4", points=1)
def test_is_sines_then_cosines(time_embedding):
    times = torch.linspace(0, 1, 1001)[:500:8]
    clocks = times[:, None] * 1000 ** torch.linspace(0, 1, 16)
    rows = time_embedding(times, 32)
    if isinstance(rows, torch.Tensor) and rows.shape == (63, 32):
        picture(rows.T, torch.cat([clocks.sin(), clocks.cos()], dim=1).T, "time runs to the right")
    t = torch.tensor([0.0, 0.001, 0.5])
    w = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    a = t[:, None] * w
    lower = t[:, None] * 1000 ** (torch.arange(4) / 4)
    expect(
        time_embedding(t, 8),
        torch.cat([a.sin(), a.cos()], dim=1),
        says="width = 8 means the sines of t, 10 t, 100 t and 1000 t, and then their cosines.",
        mistakes={
            "cosines first": torch.cat([a.cos(), a.sin()], dim=1),
            "sines and cosines take turns": torch.stack([a.sin(), a.cos()], dim=2).flatten(1),
            "m instead of m - 1: the fastest frequency is not 1000": torch.cat([lower.sin(), lower.cos()], dim=1),
            "frequencies evenly spaced instead of in geometric progression": lambda: torch.cat(
                [f(t[:, None] * torch.linspace(1, 1000, 4)) for f in (torch.sin, torch.cos)], dim=1
            ),
            "the frequencies run from 1 down to 1/1000": torch.cat(
                [(t[:, None] / w).sin(), (t[:, None] / w).cos()], dim=1
            ),
        },
        atol=2e-4,
        rtol=1e-4,
    )


@pytest.mark.exercise("E4.4", points=1)
def test_tells_neighbouring_times_apart(time_embedding):
    t = torch.linspace(0, 1, 1001)
    rows = time_embedding(t, 32)
    expect(tuple(rows.shape), (1001, 32), says="One row for each time, one column for each of `width` numbers.")
    expect(
        rows.square().sum(1),
        torch.full((1001,), 16.0),
        rtol=1e-3,
        atol=1e-3,
        says="sin^2 + cos^2 = 1 for each of the 16 frequencies.",
    )
    gap = (rows[1:] - rows[:-1]).square().sum(1).sqrt().min()
    # the fastest pair alone moves by 2 sin(0.5) = 0.96 between t and t + 1/1000
    assert gap > 0.9, f"Neighbouring times 1/1000 apart must differ: the closest two rows differ by only {gap:.2g}."


def block_by_hand(state, h, emb, groups=8):
    """The residual block's formula, from the parameters alone."""

    def norm(x, name):
        return F.group_norm(x, groups, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x, name, padding):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    r = conv(F.silu(norm(h, "norm_in")), "conv_in", 1)
    film = F.linear(F.silu(emb), state["film.linear.weight"], state["film.linear.bias"])
    scale, shift = film[:, :, None, None].chunk(2, dim=1)
    normed = norm(r, "norm_out")
    plain = conv(F.silu(normed), "conv_out", 1)
    r = conv(F.silu(normed * (1 + scale) + shift), "conv_out", 1)
    skip = conv(h, "skip", 0) if "skip.weight" in state else h
    return skip + r, {
        "the embedding is not used": lambda: skip + plain,
        "the skip connection is missing": lambda: r,
        "the second silu is missing": lambda: skip + conv(normed * (1 + scale) + shift, "conv_out", 1),
        "film comes before the second norm": lambda: (
            skip
            + conv(
                F.silu(norm(conv(F.silu(norm(h, "norm_in")), "conv_in", 1) * (1 + scale) + shift, "norm_out")),
                "conv_out",
                1,
            )
        ),
        "the first norm is missing": lambda: (
            skip + conv(F.silu(norm(conv(F.silu(h), "conv_in", 1), "norm_out") * (1 + scale) + shift), "conv_out", 1)
        ),
    }


def layers(block, skip):
    """The block's parameters by name; fails unless they are called and sized as the docstring says."""
    state = block.state()
    names = {name.rpartition(".")[0] for name in state}
    wanted = {"norm_in", "conv_in", "norm_out", "film.linear", "conv_out"} | ({"skip"} if skip else set())
    if names != wanted:
        pytest.fail(f"The layers with parameters must be {sorted(wanted)}, got {sorted(names)}.", pytrace=False)
    out, modulated = len(state["conv_out.bias"]), len(state["film.linear.bias"]) // 2
    if out != modulated:
        pytest.fail(f"film must modulate channels_out = {out} channels, but is built for {modulated}.", pytrace=False)
    return state


def randomised(block, skip, seed):
    """Fill a block with random parameters, so that nothing hides behind a zero; returns them."""
    g = torch.Generator().manual_seed(seed)
    state = {name: 0.3 * torch.randn(value.shape, generator=g) for name, value in layers(block, skip).items()}
    block.load_state(state)
    return state


@pytest.mark.exercise("E4.5", points=1)
def test_has_the_layers_of_the_docstring(ResBlock):
    for channels_in, channels_out in ((16, 16), (16, 32)):
        layers(ResBlock.construct(channels_in, channels_out, 24), skip=channels_in != channels_out)


@pytest.mark.exercise("E4.5", points=2)
def test_computes_the_formula(ResBlock):
    g = torch.Generator().manual_seed(7)
    for channels_in, channels_out in ((16, 16), (16, 32)):
        block = ResBlock.construct(channels_in, channels_out, 24)
        state = randomised(block, skip=channels_in != channels_out, seed=8)
        h, emb = torch.randn(2, channels_in, 4, 6, generator=g), torch.randn(2, 24, generator=g)
        want, mistakes = block_by_hand(state, h, emb)
        expect(
            block(h, emb),
            want,
            mistakes=mistakes,
            rtol=1e-3,
            atol=1e-4,
            says=f"With random parameters it must equal its formula; tried {channels_in} to {channels_out} channels.",
        )


@pytest.mark.exercise("E4.5", points=1)
def test_starts_as_its_own_shortcut(ResBlock):
    g = torch.Generator().manual_seed(11)
    h, emb = torch.randn(2, 16, 4, 4, generator=g), torch.randn(2, 8, generator=g)
    expect(
        ResBlock.construct(16, 16, 8)(h, emb),
        h,
        mistakes={"the skip connection is missing": torch.zeros_like(h)},
        says="A new block must pass h through unchanged: if it does not, conv_out is not zeroed.",
    )


@pytest.mark.exercise("E4.5", points=1)
def test_lets_gradients_through(ResBlock):
    block = ResBlock.construct(16, 32, 8)
    state = {name: value.double() for name, value in randomised(block, skip=True, seed=9).items()}
    g = torch.Generator().manual_seed(10)
    h, emb = torch.randn(1, 16, 4, 4, generator=g), torch.randn(1, 8, generator=g)
    cotangent = torch.randn(1, 32, 4, 4, generator=g)
    got = block.vjp((h, emb), cotangent, wrt=(0, 1))
    leaves = h.double().requires_grad_(), emb.double().requires_grad_()
    want = torch.autograd.grad(block_by_hand(state, *leaves)[0], leaves, cotangent.double())
    for name, one, other in zip(("h", "emb"), got, want):
        expect(
            one,
            other.float(),
            rtol=1e-2,
            atol=1e-3,
            says=f"The gradient with respect to {name} must be that of the formula.",
            mistakes={"the gradient is cut off (detach or no_grad)": torch.zeros_like(one)},
        )


def parts(schedule, x_t, x0_hat, t, s):
    """What every step is made of."""
    alpha_t, sigma_t = schedule(t, x_t)
    alpha_s, sigma_s = schedule(s, x_t)
    return alpha_t, sigma_t, alpha_s, sigma_s, (x_t - alpha_t * x0_hat) / sigma_t


def right_step(schedule):
    """A right, noise-free step of this schedule, as a plain function."""

    def step(x_t, x0_hat, t, s):
        _, _, alpha_s, sigma_s, eps_hat = parts(schedule, x_t, x0_hat, t, s)
        return alpha_s * x0_hat + sigma_s * eps_hat

    return step


def wrong_step(formula):
    """A wrong step of the cosine schedule: formula(x0_hat, eps_hat, x_t, alpha_t, sigma_t, alpha_s, sigma_s)."""

    def step(x_t, x0_hat, t, s):
        alpha_t, sigma_t, alpha_s, sigma_s, eps_hat = parts(cosine(), x_t, x0_hat, t, s)
        return formula(x0_hat, eps_hat, x_t, alpha_t, sigma_t, alpha_s, sigma_s)

    return step


RIGHT_STEPS = [right_step(schedule) for schedule in SCHEDULES]
WRONG_STEPS = {
    "lands on x0_hat at once": wrong_step(lambda x0, eps, x, at, st, as_, ss: x0),
    "does not move": wrong_step(lambda x0, eps, x, at, st, as_, ss: x),
    "sigma_t where sigma_s belongs": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0 + st * eps),
    "drops the noise": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0),
    "the noise has the wrong sign": wrong_step(lambda x0, eps, x, at, st, as_, ss: as_ * x0 - ss * eps),
    "alpha_t where alpha_s belongs": wrong_step(lambda x0, eps, x, at, st, as_, ss: at * x0 + ss * eps),
    "wrong only between the ends": wrong_step(
        lambda x0, eps, x, at, st, as_, ss: as_ * x0 + ss * (1 - 0.3 * as_ * (st - ss)) * eps
    ),
    "arrives only when it starts at t = 1": lambda x_t, x0_hat, t, s: x_t + (x0_hat - x_t) * (t - s),
}


@pytest.mark.exercise("E4.6", points=2)
def test_accepts_right_steps_and_rejects_the_crude_ones(test_step):
    crude = ("lands on x0_hat at once", "does not move")
    run_against(test_step, RIGHT_STEPS, {name: WRONG_STEPS[name] for name in crude})


@pytest.mark.exercise("E4.6", points=3)
def test_rejects_the_subtle_steps_too(test_step):
    run_against(test_step, RIGHT_STEPS, WRONG_STEPS, seed=1)
