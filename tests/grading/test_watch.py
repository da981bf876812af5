"""What the proxy reports for every exercise: changed arguments, own random numbers, forms, time, prints."""

import contextlib
import copy
import io
import random
import time

import numpy as np
import pytest
import torch

from cs348k_diffusion.exercises import Exercise, StudentError
from cs348k_diffusion.grading.records import OutOfTime
from cs348k_diffusion.grading.subject.budget import Budget
from cs348k_diffusion.grading.subject.subject import local

ANY = Exercise("E9.9", "anything", "Anything")


def asked(function, *args, exercise=ANY, **named):
    with pytest.raises(StudentError) as raised:
        local(function).of(exercise)(*args, **named)
    return str(raised.value)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (lambda x: x.mul_(2), torch.ones(3)),
        (lambda x: x.data.mul_(2), torch.ones(3)),
        (lambda x: np.multiply(x.numpy(), 2, out=x.numpy()) is None, torch.ones(3)),
        (lambda x: x.clamp_(0, 1).clone(), torch.tensor([torch.nan, 2.0])),
        (lambda x: x.append(1), [1, 2]),
        (lambda x: x.pop("a"), {"a": 1.0}),
        (lambda x: x["a"][0].add_(1), {"a": [torch.ones(2)]}),
    ],
)
def test_a_changed_argument_is_named(function, argument):
    assert "changes its argument x; later cells still need it" in asked(function, argument)
    assert "changes its argument x" in asked(function, x=argument)


def test_what_an_exercise_is_meant_to_change_may_change():
    local(lambda x: x.mul_(2)).of(Exercise("E9.9", "f", "", changes=("x",)))(torch.ones(3))
    nan = torch.tensor([torch.nan])
    assert torch.isnan(local(lambda x: x + 1).of(ANY)(nan)).all()


def test_a_changed_argument_is_seen_through_gradients_and_iterators():
    with pytest.raises(StudentError, match="changes its argument"):
        local(lambda x: x.mul_(2)).of(ANY).vjp((torch.ones(3),), torch.ones(3))
    with pytest.raises(StudentError, match="changes its argument y"):
        local(lambda x, y: x * y.mul_(2)).of(ANY).vjp((torch.ones(3), torch.ones(3)), torch.ones(3))

    def chain(x):
        while True:
            x += 1
            yield x.clone()

    with pytest.raises(StudentError, match="changes its argument x"):
        local(chain).of(ANY)(torch.zeros(2)).iterate(3)


def test_an_iterator_that_yields_one_tensor_again_and_again_is_named():
    def chain(x):
        x = x.clone()
        while True:
            x += 1
            yield x

    with pytest.raises(StudentError, match="changes what it has yielded"):
        local(chain).of(ANY)(torch.zeros(2)).iterate(3)


def test_an_iterator_may_go_on_after_others_drew():
    chain = local(lambda n: iter(range(n))).of(ANY)(5)
    assert chain.iterate(2) == [0, 1]
    torch.rand(1)
    assert chain.iterate(2) == [2, 3]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(2),
        lambda: torch.manual_seed(5),
        lambda: np.random.rand(),  # noqa: NPY002
        random.random,
    ],
)
def test_random_numbers_of_ones_own_are_named(draw):
    def noised(x, noise):
        draw()
        return x + noise

    assert "draws random numbers of its own: use noise" in asked(noised, torch.ones(2), torch.ones(2))
    local(noised).of(Exercise("E9.9", "noised", "", draws=True))(torch.ones(2), torch.ones(2))
    local(noised).of(Exercise("E9.9", "test_noised", ""))(torch.ones(2), torch.ones(2))


def test_the_form_is_looked_at_before_the_check_sees_it():
    exercise = Exercise("E9.9", "f", "", gives="alpha: tensor, sigma: tensor")
    assert asked(lambda: None, exercise=exercise) == (
        "wrong result: got None, expected 2 values, (alpha, sigma): is a `return` missing?"
    )
    assert len(local(lambda: (torch.ones(1), torch.ones(1))).of(exercise)()) == 2


def test_the_notebook_has_the_workers_limit_on_computing_time():
    def endless():
        while True:
            with contextlib.suppress(Exception):
                sum(range(1000))

    budget = Budget(1)
    budget.left = 0.2
    with pytest.raises(OutOfTime, match="used more than 1 s of computing time"):
        local(endless, budget=budget)()
    assert local(lambda: 1, budget=Budget(1))() == 1


def test_an_answer_that_sleeps_is_stopped_in_the_notebook(monkeypatch):
    monkeypatch.setattr("cs348k_diffusion.grading.subject.budget.IDLE", 0.2)
    with pytest.raises(OutOfTime, match="without computing anything"):
        local(lambda: time.sleep(60), budget=Budget(5))()


def test_prints_are_shown():
    shown = io.StringIO()
    local(lambda: print("x is", 3), prints=shown)()
    assert shown.getvalue() == "x is 3\n"


def test_a_function_that_is_handed_in_can_be_copied_and_differentiated():
    def square(x):
        return (x * x).sum()

    x = torch.tensor([1.0, 2.0])
    assert local(lambda f, x: copy.deepcopy(f)(x))(square, x) == 5
    assert torch.equal(local(lambda f, x: torch.func.grad(f)(x))(square, x), 2 * x)
