"""Small exercises, one for each thing a check may do with an answer."""

import pytest
import torch

from cs348k_diffusion.exercises import Counted, Exercise, StudentError, expect, picture, run_against

EXERCISES = (
    Exercise("E9.1", "double", "Twice", hints=("What is x + x?", "2 * x"), ours="forward.noise_once"),
    Exercise("E9.2", "walk", "An iterator that calls back", seconds=3),
    Exercise("E9.3", "Layer", "A module with state", seconds=3),
    Exercise("E9.4", "test_even", "A property test", seconds=3),
    Exercise("E9.5", "noised", "Withheld names", withheld=("forward.add_noise",), seconds=3),
    Exercise("E9.6", "coin", "A stochastic check"),
)


@pytest.mark.exercise("E9.1", points=1)
def test_keeps_the_shape(double):
    assert double(torch.zeros(2, 3)).shape == (2, 3)


@pytest.mark.exercise("E9.1", points=2)
def test_is_twice(double):
    x = torch.randn(3, generator=torch.Generator().manual_seed(0))
    got = double(x)
    picture(got, 2 * x, "twice")
    expect(got, 2 * x, "double(x) must be 2 x", mistakes={"squared": x**2, "half": x / 2})


@pytest.mark.exercise("E9.2", points=2)
def test_walks_downhill(walk):
    slope = Counted(lambda x: 2 * x)
    steps = walk(slope, torch.ones(2), torch.Generator().manual_seed(0)).iterate(3)
    expect(steps, [torch.full((2,), 0.5**n) for n in (1, 2, 3)], "each step halves x")
    assert slope.calls == 3, "one slope for each step"
    expect(slope.seen[1][0][0], torch.full((2,), 0.5), "the second slope is that of the second point")


@pytest.mark.exercise("E9.3", points=2)
def test_is_linear(Layer):
    layer, x = Layer.construct(2, 2), torch.tensor([[1.0, 2.0]])
    layer.load_state({"weight": torch.eye(2)})
    expect(layer(x), x, "with the identity as weight, x comes back")
    expect(layer.vjp((x,), torch.ones(1, 2)), (torch.ones(1, 2),), "the gradient is the weight's")
    expect(layer.parameter_grads((x,), torch.ones(1, 2)), {"weight": torch.tensor([[1.0, 2.0], [1.0, 2.0]])}, "weights")
    expect(layer.state(), {"weight": torch.eye(2)}, "a call must not change the weight")


@pytest.mark.exercise("E9.4", points=2)
def test_tells_even_from_odd(test_even):
    right = [lambda n: n % 2 == 0, lambda n: not n & 1]
    wrong = {"odd for even": lambda n: n % 2 == 1, "always true": lambda n: True, "zero is odd": lambda n: n in (2, 4)}
    run_against(test_even, right, wrong)


@pytest.mark.exercise("E9.5", points=1)
def test_halves(noised):
    expect(noised(torch.ones(2), torch.ones(2)), torch.ones(2), "half of each")


@pytest.mark.exercise("E9.5", points=1)
def test_refuses_nan(noised):
    with pytest.raises(StudentError) as raised:
        noised(torch.tensor([torch.nan]), torch.ones(1))
    assert raised.value.kind == "ValueError"


@pytest.mark.exercise("E9.6", points=1, stochastic=True)
def test_is_fair_for_one_of_two_seeds(coin, seed):
    expect(coin(), float(seed), "heads for the second seed")
