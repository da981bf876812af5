"""Checks of notebook 00: one warm-up exercise, to see how checks, hints and points work."""

import pytest

from cs348k_diffusion.exercises import Exercise, agree, varied

EXERCISES = (
    Exercise(
        "E0.1",
        "fade",
        "Fade a picture",
        gives="the mixture: tensor",
        hints=(
            "What is left of the picture when share is 0.25? Three quarters.",
            "A mixture is a sum of two parts, and the two proportions add up to 1.",
            "Begin with the picture's part: its proportion is 1 - share. The noise's part has the same shape.",
        ),
    ),
)
MISTAKES = {
    "picture and noise are swapped": lambda picture, noise, share: share * picture + (1 - share) * noise,
    "the picture is not faded": lambda picture, noise, share: picture + share * noise,
    "the noise is at full strength": lambda picture, noise, share: (1 - share) * picture + noise,
    "ignores share: always half and half": lambda picture, noise, share: (picture + noise) / 2,
    "the noise is subtracted": lambda picture, noise, share: (1 - share) * picture - share * noise,
    "square roots, as for variances: that is notebook 02": lambda picture, noise, share: (
        (1 - share) ** 0.5 * picture + share**0.5 * noise
    ),
    "both shares are squared": lambda picture, noise, share: (1 - share) ** 2 * picture + share**2 * noise,
    "the root of share for the noise": lambda picture, noise, share: (1 - share) * picture + share**0.5 * noise,
    "1 + share for 1 - share": lambda picture, noise, share: (1 + share) * picture + share * noise,
    "divided by its deviation, as if variances had to be kept": lambda picture, noise, share: (
        ((1 - share) * picture + share * noise) / ((1 - share) ** 2 + share**2) ** 0.5
    ),
    "nothing is weighted: both are at full strength": lambda picture, noise, share: picture + noise,
    "1 - share * picture lacks its brackets: (1 - share) * picture": lambda picture, noise, share: (
        1 - share * picture + share * noise
    ),
    "the two are multiplied, not added": lambda picture, noise, share: (1 - share) * picture * share * noise,
    "the noise is forgotten": lambda picture, noise, share: (1 - share) * picture,
    "the picture is forgotten": lambda picture, noise, share: share * noise,
    "both are multiplied by share": lambda picture, noise, share: share * (picture + noise),
    "both are multiplied by 1 - share": lambda picture, noise, share: (1 - share) * (picture + noise),
    "the result is cut off at -1 and 1": lambda picture, noise, share: ((1 - share) * picture + share * noise).clamp(
        -1, 1
    ),
}


@pytest.mark.exercise("E0.1", points=1)
def test_mixes_in_proportion(fade):
    shares = (0.25, 0.0, 1.0, 0.7, 0.001, 0.5, 0.9)
    agree(
        fade,
        lambda picture, noise, share: picture + share * (noise - picture),
        [(2 * case.normal(), 2 * case.normal(), share) for case, share in zip(varied(), shares)],
        says="The two must be mixed in the proportion (1 - share) : share.",
        mistakes=MISTAKES,
    )
