"""Slips that no list holds: named by a simple change of an argument or of the result that gives the same numbers."""

import pytest
import torch

from cs348k_diffusion.exercises import Wrong, agree, expect, varied
from cs348k_diffusion.exercises.framework.expecting import collecting_evidence, explaining, settled
from cs348k_diffusion.exercises.framework.guesses import changes


def right(x, noise, share):
    return (2 - share) * x + share**2 * noise.abs()


def names(answer, listed=None):
    inputs = [(case.normal(), case.normal(), case.number(0.2, 0.8)) for case in varied()]
    with pytest.raises(Wrong) as raised:
        agree(answer, right, inputs, "says", listed or {})
    return raised.value.names


SLIPS = {
    "twice `share`": lambda x, noise, share: right(x, noise, 2 * share),
    "`x` has the wrong sign": lambda x, noise, share: right(-x, noise, share),
    "one `noise`, the first, for all": lambda x, noise, share: right(x, noise[:1].expand_as(x), share),
    "`x` and `noise` are swapped": lambda x, noise, share: right(noise, x, share),
    "`noise` is cut off at -1 and 1": lambda x, noise, share: right(x, noise.clamp(-1, 1), share),
    "`x` itself is returned": lambda x, noise, share: x,
    "half of the result": lambda x, noise, share: right(x, noise, share) / 2,
    "the result is cut off at -1 and 1": lambda x, noise, share: right(x, noise, share).clamp(-1, 1),
    "the result divided by `share`": lambda x, noise, share: right(x, noise, share) / share,
    "`x` stands where `noise` belongs": lambda x, noise, share: right(x, x, share),
    "`x` is not used: 0 stands in its place": lambda x, noise, share: share**2 * noise.abs(),
    "`x` has the factor 1": lambda x, noise, share: x + share**2 * noise.abs(),
    "the factor of `x` is squared": lambda x, noise, share: (2 - share) ** 2 * x + share**2 * noise.abs(),
    "`x` has the wrong factor": lambda x, noise, share: (2 - share**3) * x + share**2 * noise.abs(),
    "`x` and `noise` have the wrong factors": lambda x, noise, share: right(x, noise, share) + share * x - 3 * noise,
    "the result has the wrong factor": lambda x, noise, share: (1 + share**3) * right(x, noise, share),
    "one number too many is added to the result": lambda x, noise, share: right(x, noise, share) + share**3,
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_that_is_not_listed_is_named_by_what_it_changes(name):
    assert names(SLIPS[name]) == (name,)


def test_what_is_listed_goes_first():
    assert names(SLIPS["twice `share`"], {"a name of its own": SLIPS["twice `share`"]}) == ("a name of its own",)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, noise, share: right(x, noise, share) + 0.01 * x.sin(),
        lambda x, noise, share: x * torch.nan,
        lambda x, noise, share: right(x, noise, 2 * share) if len(x) > 1 else x,
        lambda x, noise, share: right(x, noise, share) if len(x) > 1 else 2 * x,
    ],
)
def test_what_fits_nowhere_or_only_here_and_there_has_no_name(answer):
    assert names(answer) == ()


def test_a_single_number_is_not_called_cut_off():
    with pytest.raises(Wrong) as raised:
        agree(lambda x: x.sum().sin(), lambda x: x.sum(), [(case.normal(),) for case in varied()], "says")
    assert raised.value.names == ()


def test_a_guess_that_is_refuted_gives_way_to_a_factor_that_fits():
    def first(x, k):
        return (k + 1) * x + k

    inputs = [(case.normal(), 1.0) for case in varied()]
    with collecting_evidence() as evidence:
        with pytest.raises(Wrong) as raised:
            agree(lambda x, k: 2 * (k + 1) * x + k, first, inputs, "says")
        agree(first, first, [(case.normal(), 1.0) for case in varied()], "says")
    assert "twice `x`" in raised.value.names
    assert settled(raised.value, evidence) == ["`x` has the wrong factor"]


def test_a_few_numbers_that_agree_by_chance_have_no_name():
    with pytest.raises(Wrong) as raised:
        expect(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0]), "says")
    assert raised.value.names == ()


def test_one_value_of_several_is_named():
    want = torch.linspace(1, 2, 6), torch.linspace(3, 5, 6)
    with pytest.raises(Wrong) as raised:
        expect((want[0], want[1] ** 2), want, "says", names=("alpha", "sigma"))
    assert raised.value.names == ("sigma is squared",)


def test_a_guess_that_another_test_refutes_is_taken_back():
    one, other = torch.linspace(1, 2, 6), torch.linspace(2, 4, 6)
    with collecting_evidence() as evidence:
        with pytest.raises(Wrong) as raised:
            expect(2 * one, one, "says")
        expect(other, other, "says")
    assert raised.value.names == ("twice the result",)
    assert explaining(raised.value.names, evidence) == []


def test_whole_numbers_flags_and_functions_change_in_ways_of_their_own():
    assert "{} is one too large" in changes(3)
    assert "one {}, the largest, for all" in changes(torch.arange(3))
    assert not changes(True)
    assert not changes(torch.tensor([True]))
    assert not changes(torch.sin)


def times(schedule, score, x, t, s):
    (a, b), (c, d) = schedule(t, x), schedule(s, x)
    return c * (x + b**2 * score(x, t)) / a + d * x.sin()


def schedule(t, x):
    return torch.as_tensor(1 - 0.5 * t), torch.as_tensor(0.1 + 0.6 * t)


def score(x, t):
    return x.cos() * (1 + t)


HANDED = {
    "alpha and sigma are swapped": lambda a, b, c, d, g, x, t: d * (x + a**2 * g(x, t)) / b + c * x.sin(),
    "sigma at t is squared": lambda a, b, c, d, g, x, t: c * (x + b**4 * g(x, t)) / a + d * x.sin(),
    "the root of alpha at s": lambda a, b, c, d, g, x, t: c**0.5 * (x + b**2 * g(x, t)) / a + d * x.sin(),
    "what `score` answers has the wrong sign": lambda a, b, c, d, g, x, t: c * (x - b**2 * g(x, t)) / a + d * x.sin(),
    "`score` is told 0 as its second argument": lambda a, b, c, d, g, x, t: c * (x + b**2 * g(x, 0)) / a + d * x.sin(),
}


@pytest.mark.parametrize("name", HANDED)
def test_a_slip_with_a_function_that_was_handed_in_is_named(name):
    def answer(schedule, score, x, t, s):
        return HANDED[name](*schedule(t, x), *schedule(s, x), score, x, t)

    inputs = [(schedule, score, case.normal(), t, t / 3) for case, t in zip(varied(), (0.9, 0.5, 0.3, 0.7))]
    with pytest.raises(Wrong) as raised:
        agree(answer, times, inputs, "says")
    assert raised.value.names == (name,)


def test_a_factor_that_may_differ_for_each_example_needs_more_numbers_than_examples():
    one, other = torch.linspace(1, 2, 6)[:, None], torch.tensor([[3.0], [1.0], [4.0], [1.0], [5.0], [9.0]])
    with pytest.raises(Wrong) as raised:
        agree(lambda x: x + other, lambda x: x, [(one,)], "says")
    assert raised.value.names == ()
