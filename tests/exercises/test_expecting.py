"""What `expect`, `agree` and `run_against` say: one slip, one name, given only where its formula fits."""

import pytest
import torch

from cs348k_diffusion.exercises import Wrong, agree, expect, run_against, same_form, varied
from cs348k_diffusion.exercises.framework.expecting import (
    Evidence,
    collecting_evidence,
    explaining,
    of_one_slip,
    settled,
)
from cs348k_diffusion.exercises.framework.forms import names_of, problem
from cs348k_diffusion.exercises.framework.inputs import salted
from cs348k_diffusion.grading.subject.subject import local

MISTAKES = {"squared": lambda x, k: x**2, "half": lambda x, k: x / 2, "k + 1": lambda x, k: (k + 1) * x}


def wrong(subject, inputs, mistakes=None):
    with pytest.raises(Wrong) as raised:
        agree(subject, lambda x, k: k * x, inputs, "k x", mistakes or MISTAKES)
    return raised.value


def inputs():
    return [(case.normal(), 3.0) for case in varied()]


def test_a_name_is_given_only_if_its_formula_fits_every_input():
    assert wrong(lambda x, k: x**2, inputs()).names == ("squared",)
    assert wrong(lambda x, k: x**2 if len(x) > 1 else x, inputs()).names == ()
    assert "tried x of shape (5, 2), k = 3" in str(wrong(lambda x, k: x**2, inputs()))
    assert "x of shape (1, 3) in float64" in str(wrong(lambda x, k: x if x.dtype == torch.float64 else k * x, inputs()))


def test_names_that_cannot_be_told_apart_are_merged():
    twos = [(torch.full((3,), 2.0), 3.0)]
    both = wrong(lambda x, k: x * 2, twos, {"squared": lambda x, k: x**2, "twice": lambda x, k: 2 * x})
    assert str(both).endswith("the mistake is: squared, or: twice")
    same = {f"name {n}": lambda x, k: x * 2 for n in range(4)}
    assert wrong(lambda x, k: x * 2, twos, same).names == ()


def test_a_name_refuted_by_another_test_of_the_exercise_is_not_given():
    one, two = torch.ones(2), torch.full((2,), 2.0)
    with collecting_evidence() as evidence:
        with pytest.raises(Wrong) as raised:
            expect(one, 3 * one, "", {"squared": one**2, "unchanged": one})
        expect(two, two, "", {"squared": two**2, "unchanged": two})
    assert raised.value.names == ("squared", "unchanged")
    assert explaining(raised.value.names, evidence) == ["unchanged"]
    assert raised.value.with_names(()) == "\ngot 1, expected 3 at index 0 (2 of 2 values differ)"


def test_a_mistake_whose_formula_fails_is_not_a_name():
    assert wrong(lambda x, k: x.sin(), inputs(), {"bad": lambda x, k: x.no_such_thing}).names == ()


def test_names_may_be_made_for_each_input_and_all_are_tried():
    def slips(x, k):
        return {"four times": 4 * x, "k + 1": (k + 1) * x}

    error = wrong(lambda x, k: (k + 1) * x, [(torch.ones(2), 3.0), (torch.ones(2), 5.0)], slips)
    assert error.names == ("k + 1",)


def of(got, mistakes, guesses=None):
    return Evidence(got, mistakes, None, None, lambda: guesses or {})


def test_one_name_stands_for_all_failed_checks_where_it_explains_them_all():
    one, two = torch.ones(3), torch.full((3,), 2.0)
    a, b = of(one, {"this": one, "that": one}), of(two, {"this": two, "other": two})
    assert of_one_slip([(["this", "that"], [a]), (["this", "other"], [b]), ([], [])]) == [["this"], ["this"], []]
    assert of_one_slip([(["that"], [a]), (["other"], [b])]) == [["that"], ["other"]]


def test_a_check_that_guesses_is_silent_where_another_knows():
    one, two = torch.ones(3), torch.full((3,), 2.0)
    a, b = of(one, {"listed": one}), of(two, {}, {"a guess": two})
    assert of_one_slip([(["listed"], [a]), (["a guess"], [b])]) == [["listed"], []]
    also = of(one, {"listed": one}, {"a guess": one})
    assert of_one_slip([(["listed"], [also]), (["a guess"], [b])]) == [["listed"], ["listed"]]
    assert of_one_slip([(["a guess"], [b])]) == [["a guess"]]


def test_calls_that_are_counted_say_nothing_of_a_guess_about_a_tensor():
    values, calls = of(torch.ones(6), {}, {"twice the result": torch.ones(6)}), of(1, {}, {"twice the result": 2})
    error = Wrong("says", "problem", ["twice the result"], evidence=[values])
    assert settled(error, [values, calls]) == ["twice the result"]
    other = of(torch.ones(6), {}, {"twice the result": 2 * torch.ones(6)})
    assert settled(error, [values, calls, other]) == []


def test_inputs_have_variety_and_the_key_salts_them():
    cases = list(varied())
    assert {len(case.shape) for case in cases} == {1, 2, 3, 4}
    assert any(case.batch == 1 for case in cases)
    assert any(case.batch > 1 and 1 in case.shape[1:] for case in cases)
    assert {case.dtype for case in cases} == {torch.float32, torch.float64}
    drawn = [next(varied()).normal() for _ in range(2)]
    assert torch.equal(*drawn)
    for key, same in (("a", True), ("b", False)):
        with salted("a"):
            first = next(varied()).normal()
        with salted(key):
            assert torch.equal(next(varied()).normal(), first) == same
    assert not torch.equal(first, drawn[0])


@pytest.mark.parametrize(
    ("value", "gives", "words"),
    [
        (None, "x_t: tensor", "got None, expected x_t, a tensor: is a `return` missing?"),
        ([1.0], "x_t: tensor", "got a list, expected x_t, a tensor: torch.stack"),
        (torch.ones(3), "a: tensor, s: tensor", "got a tensor of shape (3,), expected 2 values, (a, s)"),
        ((torch.ones(3),), "a: tensor, s: tensor", "got 1 value, expected 2 values"),
        ((torch.ones(3), 2.0), "a: tensor, s: tensor", "got a float, expected s, a tensor"),
        (True, "n: number", "got a bool, expected n, a number"),
        (True, "the test: nothing", "got a bool, expected nothing from the test"),
        (None, "the tree: object", "got None, expected the tree, an object"),
    ],
)
def test_the_form_of_a_result(value, gives, words):
    assert words in problem(value, gives)


def test_a_result_of_the_right_form_has_no_problem():
    assert problem((torch.ones(1), torch.ones(2)), "a: tensor, s: tensor") is None
    assert problem(3, "n: number") is None
    assert problem(local(lambda: iter([1]))(), "chain: iterator") is None
    assert problem(object(), "") is None
    assert names_of("a: tensor, s: tensor") == ("a", "s")
    assert names_of("x: tensor") == ()
    with pytest.raises(ValueError, match="kind of value"):
        names_of("x: tensr")


def test_same_form_is_blind_to_values():
    same_form(torch.full((2,), torch.nan), torch.ones(2))
    same_form((torch.ones(1), 2.0), (torch.zeros(1), 1.0))
    for got in (None, torch.ones(3), torch.ones(2).double(), [1.0, 1.0]):
        with pytest.raises(Wrong, match="another form"):
            same_form(got, torch.ones(2))
    with pytest.raises(Wrong, match="sigma: wrong shape"):
        same_form((torch.ones(1), torch.ones(1)), (torch.ones(1), torch.ones(())), ("alpha", "sigma"))


def even(n):
    """The remainder."""
    return n % 2 == 0


RIGHT = {"the remainder": even, "the last bit": lambda n: not n & 1}
ODD = {"odd for even": lambda n: n % 2 == 1, "always true": lambda n: True, "zero is odd": lambda n: n in (2, 4)}


def judged(test, right=RIGHT, **named):
    with pytest.raises(Wrong) as raised:
        run_against(local(test), right, ODD, **named)
    return raised.value


def test_a_property_test_earns_its_share_and_the_accepted_are_named():
    def half(f):
        assert f(2), "2 is even"

    def all_(f):
        half(f)
        assert f(0)
        assert not f(3)

    run_against(local(all_), RIGHT, ODD)
    error = judged(half)
    assert error.share == pytest.approx(1 / 3)
    assert "It accepts 2 of 3 wrong answers: always true; zero is odd" in str(error)


def test_a_rejected_right_subject_is_named_and_costs_all():
    def picky(f):
        assert f(0) is True, "not a bool"

    error = judged(lambda f: picky(f), {"the remainder": even, "the last bit, as a number": lambda n: 1 - (n & 1)})
    assert (error.share, "It rejects: the last bit, as a number, which is right: AssertionError" in str(error)) == (
        0,
        True,
    )
    error = judged(lambda f: picky(f), [even, lambda n: 1 - (n & 1)], stricter={"right answer 2": "1 is true."})
    assert str(error).endswith("1 is true.")


def test_a_bool_returned_and_an_exception_do_not_count():
    assert "returned a bool: nobody looks at that" in str(judged(lambda f: bool(f(3))))

    def raising(f):
        if not f(2):
            raise ValueError("odd")

    error = judged(raising)
    assert "Only a failing assert counts as rejecting, but your test raised ValueError: odd" in str(error)
    assert error.share == 0
    assert "it raised TypeError" in str(judged(lambda f: f(0) + None))
