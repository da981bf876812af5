"""Two exercises for hostile submissions, one of which the package answers. A second of CPU time each."""

import pytest
import torch

from cs348k_diffusion.exercises import Exercise, expect

EXERCISES = (
    Exercise("E8.1", "double", "Twice", seconds=1),
    Exercise("E8.2", "noise_once", "One step of noise", withheld=("forward.noise_once",), seconds=1),
)


@pytest.mark.exercise("E8.1", points=1)
def test_keeps_the_shape(double):
    x = torch.zeros(2, 3)
    got = double(x)
    assert isinstance(got, torch.Tensor) and got.shape == x.shape, "double(x) must be a tensor of the shape of x"


@pytest.mark.exercise("E8.1", points=2)
def test_is_twice(double):
    x = torch.randn(3, generator=torch.Generator().manual_seed(0))
    got = double(x)
    expected = 2 * x
    expect(got, expected, "double(x) must be 2 x")


@pytest.mark.exercise("E8.2", points=2)
def test_keeps_unit_variance(noise_once):
    x, noise = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(0))
    got = noise_once(x, 0.19, noise)
    expected = 0.9 * x + 0.19**0.5 * noise
    expect(got, expected, "x keeps sqrt(1 - beta) of itself and gets sqrt(beta) of noise")
