"""Guidance against the exact posterior: Bayes' rule on scores, classifier-free guidance, intervals, measurements."""

import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.denoiser import eps_from_x0, v_from_x0, x0_from_eps, x0_from_v
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.exact import Mixture, gaussian
from cs348k_diffusion.guidance import (
    bayes_x0,
    classifier_log_prob,
    classifier_score,
    gradient,
    guide,
    in_interval,
    inpainting_log_prob,
    linear_measurement_log_prob,
    steer,
)
from cs348k_diffusion.recipes.classifiers.digits_noisy_classifier import accuracy_by_time
from cs348k_diffusion.running import last
from cs348k_diffusion.sampling import ddim, ddpm, path
from cs348k_diffusion.schedule import cosine, linear_beta, straight

SCHEDULES = (cosine(), linear_beta(1000), straight())


def two_classes(dtype=torch.float64):
    """The two classes N(-1, 0.5^2) and N(+1, 0.5^2) of issue and paper, in 1-D."""
    return Mixture(torch.tensor([[-1.0], [1.0]], dtype=dtype), 0.25, labels=torch.tensor([0, 1]))


def blobs():
    """Five blobs in the plane, in three classes."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(5, 2, generator=g, dtype=torch.float64)
    return Mixture(means, 0.05, torch.arange(1.0, 6.0), torch.tensor([0, 0, 1, 2, 2]))


def points(n=64, d=2, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_steering_by_the_exact_classifier_is_the_conditional_denoiser(schedule):
    exact, x = blobs().denoiser(schedule), points()
    for t in (0.02, 0.4, 0.9):
        time = torch.full((64,), t, dtype=torch.float64)
        for y in range(3):
            steered = steer(exact, exact.log_likelihood(y))(x, time)
            torch.testing.assert_close(steered, exact.given(y)(x, time), rtol=1e-9, atol=1e-9)


def test_the_gradient_of_a_classifier_is_the_difference_of_scores():
    """logits = log p_t(x, y) of the mixture: a classifier that knows everything; each example has its own y."""
    exact, x, y = blobs().denoiser(cosine()), points(), torch.arange(64) % 3

    def classifier(x, t):
        return torch.stack([exact.given(k).log_prob(x, t) for k in range(3)], dim=1)

    for t in (0.02, 0.4, 0.9):
        time = torch.full((64,), t, dtype=torch.float64)
        likelihood_score = classifier_score(classifier, x, time, y)
        torch.testing.assert_close(
            likelihood_score, exact.given(y).score(x, t) - exact.score(x, t), rtol=1e-9, atol=1e-9
        )
        want = exact.given(y)(x, time)
        torch.testing.assert_close(bayes_x0(cosine(), x, t, exact(x, t), likelihood_score), want, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            steer(exact, classifier_log_prob(classifier, y))(x, time), want, rtol=1e-9, atol=1e-9
        )


def test_samples_under_steer_have_the_posterior_moments():
    data, n = blobs(), 8000
    exact = data.denoiser(cosine())
    start = torch.randn(n, 2, generator=torch.Generator().manual_seed(2))
    out = last(ddpm(steer(exact, exact.log_likelihood(2)), start, path(100), torch.Generator().manual_seed(3))).x
    truth = Mixture(data.means[3:], 0.05, torch.tensor([4.0, 5.0]))
    mean, cov = truth.moments()
    # 4.5 standard errors of a mean of n draws, and an allowance of 0.02 for 100 discrete steps
    bound = 4.5 * (cov.diagonal() / n).sqrt() + 0.02
    assert bool(((out.mean(0) - mean).abs() < bound).all())
    torch.testing.assert_close(out.T.double().cov(), cov, rtol=0.1, atol=0.02)


def test_a_classifier_of_clean_data_steers_to_the_wrong_place():
    data = two_classes()
    exact = data.denoiser(cosine())

    def clean_classifier(x, t):  # p(y = 1 | x) of clean data, applied to noisy x as it is
        return torch.nn.functional.logsigmoid(8 * x[:, 0])

    start = points(4000, 1, seed=4)
    right = last(ddim(steer(exact, exact.log_likelihood(1)), start, path(100))).x
    wrong = last(ddim(steer(exact, clean_classifier), start, path(100))).x
    assert abs(right.mean() - 1) < 0.05  # standard error 0.008, and 100 steps
    assert abs(wrong.mean() - 1) > 0.15  # off by more than twenty standard errors


def test_scale_one_is_conditional_and_scale_zero_unconditional():
    exact, x = blobs().denoiser(cosine()), points()
    t = torch.full((64,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(guide(exact.given(1), exact.given(), 1.0)(x, t), exact.given(1)(x, t), rtol=0, atol=0)
    torch.testing.assert_close(guide(exact.given(1), exact.given(), 0.0)(x, t), exact(x, t), rtol=0, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_guidance_is_the_same_in_every_space(schedule):
    exact, x = blobs().denoiser(schedule), points()
    t = torch.full((64,), 0.6, dtype=torch.float64)
    cond, uncond = exact.given(0)(x, t), exact(x, t)
    want = guide(exact.given(0), exact.given(), 3.0)(x, t)
    for to, back in ((eps_from_x0, x0_from_eps), (v_from_x0, x0_from_v)):
        mixed = torch.lerp(to(schedule, x, t, uncond), to(schedule, x, t, cond), 3.0)
        torch.testing.assert_close(back(schedule, x, t, mixed), want, rtol=1e-12, atol=1e-12)


def test_steer_and_guide_agree_at_any_scale():
    exact, x = blobs().denoiser(cosine()), points()
    t = torch.full((64,), 0.3, dtype=torch.float64)
    steered = steer(exact, exact.log_likelihood(1), 2.5)(x, t)
    torch.testing.assert_close(steered, guide(exact.given(1), exact.given(), 2.5)(x, t), rtol=1e-9, atol=1e-9)


def test_guidance_overshoots_the_tilted_density():
    """Guided means 1.32, 1.51, 1.80 at scale 2, 3, 5, where p(x) p(y|x)^scale has 1.04, 1.05, 1.07."""
    data = two_classes()
    exact, start = data.denoiser(cosine()), points(8000, 1, seed=5)
    grid = torch.linspace(-4, 5, 4001, dtype=torch.float64)[:, None]
    for scale, guided, tilted in ((2, 1.32, 1.04), (3, 1.51, 1.05), (5, 1.80, 1.07)):
        out = last(ddim(guide(exact.given(1), exact.given(), scale), start, path(100))).x
        assert abs(out.mean() - guided) < 0.03  # 4.5 standard errors of 0.004, reference rounded to 0.01, 100 steps
        log = data.log_prob(grid) + scale * torch.nn.functional.logsigmoid(8 * grid[:, 0])
        assert abs((log.softmax(0) @ grid[:, 0]) - tilted) < 0.01


def test_steer_returns_the_plain_guess_where_there_is_no_signal():
    exact, x = two_classes().denoiser(cosine()), points(8, 1)
    t = torch.ones(8, dtype=torch.float64)
    torch.testing.assert_close(steer(exact, exact.log_likelihood(1), 5.0)(x, t), exact(x, t))


def test_steer_works_under_no_grad_and_inference_mode_and_leaves_them_alone():
    exact, x, t = two_classes().denoiser(cosine()), points(8, 1), torch.full((8,), 0.4, dtype=torch.float64)
    want = steer(exact, exact.log_likelihood(0))(x, t)
    with torch.inference_mode():
        inside = x.clone()
        torch.testing.assert_close(steer(exact, exact.log_likelihood(0))(inside, t), want)
        assert torch.is_inference_mode_enabled()
    with torch.no_grad():
        torch.testing.assert_close(steer(exact, exact.log_likelihood(0))(x, t), want)
        assert not torch.is_grad_enabled()


def test_within_uses_each_denoiser_in_its_interval_only():
    calls = []

    class Spy:
        schedule = cosine()

        def __init__(self, name):
            self.name = name

        def __call__(self, x, t):
            calls.append(self.name)
            return torch.full_like(x, 1.0 if self.name == "inside" else 2.0)

    both = in_interval(Spy("inside"), Spy("outside"), 0.3, 0.6)
    for t, name, value in ((0.2, "outside", 2.0), (0.3, "inside", 1.0), (0.6, "inside", 1.0), (0.9, "outside", 2.0)):
        calls.clear()
        torch.testing.assert_close(both(torch.zeros(3, 1), torch.full((3,), t)), torch.full((3, 1), value))
        assert calls == [name]
    mixed = both(torch.zeros(2, 1), torch.tensor([0.5, 0.9]))
    torch.testing.assert_close(mixed, torch.tensor([[1.0], [2.0]]))


def test_a_linear_measurement_of_gaussian_data_gives_the_exact_posterior():
    """Data N(0, I), the first coordinate seen with noise 0.3: x1 | y is N(y / 1.09, 0.09 / 1.09), x2 is untouched."""
    exact = gaussian(torch.zeros(2, dtype=torch.float64), 1.0).denoiser(cosine())
    mask = torch.tensor([1.0, 0.0], dtype=torch.float64)
    y, std = torch.tensor([1.5, 0.0], dtype=torch.float64), 0.3
    seen = linear_measurement_log_prob(exact, lambda x: x * mask, y, std)
    out = last(ddpm(steer(exact, seen), points(20_000, 2, seed=6), path(200), torch.Generator().manual_seed(7))).x
    torch.testing.assert_close(out.mean(0), torch.tensor([1.5 / 1.09, 0.0]).double(), rtol=0.02, atol=0.03)
    torch.testing.assert_close(out.var(0), torch.tensor([0.09 / 1.09, 1.0]).double(), rtol=0.06, atol=0.01)


def test_inpainting_keeps_what_is_known():
    exact = gaussian(torch.zeros(3, dtype=torch.float64), 1.0).denoiser(cosine())
    known, mask = torch.tensor([[0.7, -0.4, 9.0]]).double(), torch.tensor([1.0, 1.0, 0.0]).double()
    out = last(ddim(steer(exact, inpainting_log_prob(exact, known, mask)), points(500, 3, seed=8), path(100))).x
    torch.testing.assert_close(out[:, :2].mean(0), known[0, :2], atol=0.03, rtol=0)
    assert abs(out[:, 2].std() - 1) < 0.15  # 4.7 standard errors of a standard deviation of 500 draws


def test_bad_input_is_explained():
    exact = two_classes().denoiser(cosine())
    with pytest.raises(ValueError, match="one noise level"):
        guide(exact, two_classes().denoiser(straight()), 2.0)
    with pytest.raises(ValueError, match="low <= high"):
        in_interval(exact, exact, 0.6, 0.3)
    with pytest.raises(ValueError, match="one number an example"):
        gradient(lambda x, t: x.sum(), points(4, 1), torch.ones(4).double())


def test_the_shipped_classifier_reads_noisy_digits_as_its_card_says():
    """The same 1,440 noisy digits as on the card; at t = 0.6 a reader of clean digits knows one in five."""
    classifier, card = recipes.load("digits_noisy_classifier"), recipes.card("digits_noisy_classifier")["metrics"]
    found = accuracy_by_time(classifier, tuple(card["times"]))
    torch.testing.assert_close(found, card["accuracy_held_out"], rtol=0, atol=0.003)
    (clean,) = accuracy_by_time(lambda x, t: recipes.features()(x), (0.6,))
    assert clean < 0.3 < 0.55 < found[3]


def test_the_stored_sweep_is_of_the_shipped_weights_and_complete():
    card = result("guidance_digits")
    assert card["weights_sha256"] == {name: recipes.card(name)["sha256"] for name in card["weights_sha256"]}
    seeds = {}
    for run in card["runs"]:
        seeds.setdefault((run["method"], run["scale"]), set()).add(run["seed"])
        assert run["evaluations"] == (12 if run["method"] == "interval" else 16)
    assert all(found == set(range(card["settings"]["seeds"])) for found in seeds.values())


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("fd", ("clean classifier", 16.0), ("noise-aware classifier", 4.0)),  # G4
        ("accuracy", ("noise-aware classifier", 8.0), ("noise-aware classifier", 1.0)),  # G1
        ("fd", ("cfg", 5.0), ("cfg", 1.0)),  # G2
        ("fd", ("cfg", 3.0), ("interval", 3.0)),  # G7
    ],
)
def test_the_stored_sweep_says_what_the_notebook_says(name, more, less):
    """In every seed, from the same noise."""
    runs = {(r["method"], r["scale"], r["seed"]): r[name] for r in result("guidance_digits")["runs"]}
    assert all(runs[(*more, seed)] > runs[(*less, seed)] for seed in range(3))
