"""Checks of notebook 00: one warm-up exercise, to see how checks, hints and points work."""

import pytest
import torch

from cs348k_diffusion.exercises import Exercise, expect

EXERCISES = (
    Exercise(
        "E0.1",
        "fade",
        "Fade a picture",
        hints=(
            "What is left of the picture when share is 0.25? Three quarters.",
            "Multiply the picture by 1 - share, the noise by share, and add the two.",
        ),
    ),
)


@pytest.mark.exercise("E0.1", points=1)
def test_mixes_in_proportion(fade):
    picture, noise = torch.tensor([[1.0, -1.0, 0.5]]), torch.tensor([[0.0, 2.0, -0.5]])
    for share, want in ((0.0, picture), (0.25, torch.tensor([[0.75, -0.25, 0.25]])), (1.0, noise)):
        expect(
            fade(picture, noise, share),
            want,
            says=f"The two must be mixed in the proportion (1 - share) : share; tried share = {share}.",
            mistakes={
                "picture and noise are swapped": share * picture + (1 - share) * noise,
                "the picture is not faded": picture + share * noise,
                "the noise is at full strength": (1 - share) * picture + noise,
                "ignores share: always half and half": (picture + noise) / 2,
                "the noise is subtracted": (1 - share) * picture - share * noise,
                "square roots, as for variances: that is notebook 02": (1 - share) ** 0.5 * picture
                + share**0.5 * noise,
            },
        )
