"""What a student meets in the notebook: expect, check, hint, mine_or_ours, and NotYet as one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cs348k_diffusion.exercises import Counted, NotYet, StudentError, expect, find, largest_tensor, registry
from cs348k_diffusion.exercises.framework.catalogue import checks_of, of_notebook
from cs348k_diffusion.exercises.framework.difference import difference
from cs348k_diffusion.grading.checks import check as checking
from cs348k_diffusion.grading.checks.card import as_html
from cs348k_diffusion.grading.subject.budget import Budget
from cs348k_diffusion.grading.subject.subject import local

TOYS = Path(__file__).parents[1] / "toy_exercises"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def double(x):
    return 2 * x


def run(function):
    return checking.run_check(function, TOYS)


def named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("got", "want", "words"),
    [
        (torch.ones(2), torch.ones(3), "wrong shape"),
        (torch.ones(2, 1), torch.ones(2), "wrong shape"),
        (torch.ones(2).double(), torch.ones(2), "wrong dtype: got torch.float64, expected torch.float32: make new"),
        (torch.ones(2), torch.ones(2).long(), "wrong dtype: got torch.float32, expected torch.int64"),
        (torch.ones(2).double() + 3e-7, torch.ones(2).double(), "(2 of 2 values differ): rounding, as if float32"),
        (torch.tensor([-torch.inf, 1.0]), torch.tensor([-torch.inf, 2.0]), "got 1, expected 2 at index 1 (1 of 2"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "NaN"),
        (torch.tensor([1.0, torch.inf]), torch.ones(2), "NaN or infinity"),
        (1.0, torch.ones(()), "not a tensor"),
        (None, torch.ones(()), "got None"),
        (torch.tensor([[1.0, 1.0], [1.0, 1.5]]), torch.ones(2, 2), "got 1.5, expected 1 at index (1, 1) (1 of 4"),
        (torch.tensor([True]), torch.tensor([False]), "got 1, expected 0"),
        (torch.tensor(2), torch.tensor(3), "got 2, expected 3"),
        (2.0, 1.0, "got 2, expected 1"),
        (torch.ones(()), 1.0, "not a number"),
        (True, 1.0, "not a number"),
        (1, True, "wrong type"),
        ((1.0,), (1.0, 2.0), "wrong number of values"),
        ([torch.ones(1), torch.zeros(1)], (torch.ones(1), torch.ones(1)), "value 2 of 2: got 0"),
        ({"a": 1.0}, {"b": 1.0}, "wrong keys"),
        ({"a": 1.0}, {"a": 2.0}, "a: got 1"),
        (1.0, {"a": 2.0}, "not a dictionary"),
    ],
)
def test_expect_says_how_an_answer_differs(got, want, words):
    assert words in difference(got, want)
    with pytest.raises(AssertionError, match=r"^the property\n"):
        expect(got, want, "the property")


def test_expect_is_as_strict_as_assert_close():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        want = torch.full((1,), 3.0, dtype=dtype)
        for gap in (0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1):
            got = (want.double() * (1 + gap)).to(dtype)
            try:
                torch.testing.assert_close(got, want)
                close = True
            except AssertionError:
                close = False
            assert (difference(got, want) is None) == close, (dtype, gap)


def test_expect_names_the_likely_mistake():
    x = torch.tensor([1.0, 3.0])
    with pytest.raises(AssertionError, match="mistake is: squared"):
        expect(x**2, 2 * x, "twice", mistakes={"half": x / 2, "squared": lambda: x**2})
    with pytest.raises(AssertionError) as raised:
        expect(x**3, 2 * x, "twice", mistakes={"half": x / 2})
    assert "mistake" not in str(raised.value)
    expect((2 * x, {"a": float("nan")}), (2 * x, {"a": float("nan")}), "equal, NaN expected")


def test_largest_tensor_sees_what_a_view_holds():
    assert largest_tensor(lambda: torch.zeros(10)[:2] + torch.zeros(2).expand(1000, 2).sum()) == 40
    assert largest_tensor(lambda: torch.zeros(300, 2) @ torch.zeros(2, 300)) == 300 * 300 * 4


def test_the_registry_is_read_without_importing():
    assert list(registry(TOYS)) == [f"E9.{n}" for n in range(1, 7)]
    exercise = find(double, TOYS)
    assert (exercise.id, exercise.word) == ("E9.1", "toys")
    assert find("E9.1", TOYS) == find("double", TOYS) == exercise
    assert [(check.test, check.points) for check in checks_of(exercise, TOYS)] == [
        ("test_keeps_the_shape", 1),
        ("test_is_twice", 2),
    ]
    assert len(of_notebook("09_toys", TOYS)) == 6
    with pytest.raises(LookupError, match="did you mean double"):
        find("doubel", TOYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EXERCISES = (Exercise(NAME, 'f', 'F'),)", "line 1"),
        ("EXERCISES = (Exercise('E1.1', 'f', 'F'), Exercise('E1.2', 'f', 'F'))", "used twice"),
        ("EXERCISES = (1,)", "Exercise"),
    ],
)
def test_a_bad_catalogue_is_refused(tmp_path, text, words):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ValueError, match=words):
        registry(tmp_path)


def test_check_passes_a_right_answer_and_remembers(capsys):
    checking.check(double, TOYS)
    shown = capsys.readouterr().out
    assert "E9.1 Twice: 3 of 3 points" in shown
    assert "✓ passed: is twice (2 points)" in shown
    assert "This notebook so far: 3 of 12 points." in shown
    assert json.loads(Path(".progress.json").read_text())["E9.1"] == {"earned": 3, "named": "", "points": 3}


def test_check_names_the_mistake_and_offers_a_hint(capsys):
    checking.check(named("double", lambda x: x**2), TOYS)
    shown = capsys.readouterr().out
    assert "E9.1 Twice: 1 of 3 points" in shown
    assert "double(x) must be 2 x" in shown
    assert "Likely mistake: squared" in shown
    assert "hint(double)" in shown


def test_check_strict_raises(monkeypatch):
    monkeypatch.setenv("CS348K_STRICT", "1")
    checking.check(double, TOYS)
    with pytest.raises(AssertionError, match="squared"):
        checking.check(named("double", lambda x: x**2), TOYS)


def test_unsolved_is_one_line_and_never_stops(capsys):
    def double(x):
        raise NotYet("E9.1")

    checking.check(double, TOYS)
    checking.check("E9.6", TOYS)  # not even defined
    assert capsys.readouterr().out == "E9.1: not yet\nE9.6: not yet\n"
    assert NotYet("E9.1")._render_traceback_() == ["E9.1: not yet"]


def test_an_answer_that_raises_is_told_in_words():
    outcome = run(named("double", lambda x: x.no_such_thing))
    assert outcome.points == (0, 3)
    assert all("your code raised AttributeError" in record.message for record in outcome.records)


@pytest.mark.parametrize("error", [SystemExit, RecursionError, GeneratorExit])
def test_no_exception_of_an_answer_stops_the_notebook(error):
    def double(x):
        raise error

    assert run(double).records[0].status in ("failed", "error")


def test_an_interrupt_passes_through():
    def double(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(double)


def test_hints_come_one_by_one(capsys):
    gentle, strong = "E9.1, hint 1 of 2: What is x + x?", "E9.1, hint 2 of 2: 2 * x"
    checking.hint("double", TOYS)
    assert capsys.readouterr().out.splitlines() == [gentle, "(hint(double) again for the next one)"]
    for _ in range(2):  # a hint that was read in another session is not lost
        checking.hint("double", TOYS)
        assert capsys.readouterr().out.splitlines() == [gentle, strong]
    checking.hint("E9.6", TOYS)
    assert capsys.readouterr().out == "E9.6 has no hints.\n"


def test_hint_speaks_first_to_the_mistake_that_was_named(capsys):
    run(named("double", lambda x: x**2))
    checking.hint("double", TOYS)
    assert capsys.readouterr().out.startswith(
        "E9.1, your last check: squared. Where does your code do this?\nE9.1, hint 1"
    )
    run(double)
    checking.hint("double", TOYS)
    assert "your last check" not in capsys.readouterr().out


def test_prints_are_shown_and_counted(capsys):
    def double(x):
        for n in range(20):
            print("line", n)
        return 2 * x

    assert run(double).passed
    shown = capsys.readouterr().out
    assert "line 11\n" in shown
    assert "line 12\n" not in shown
    assert "... and 28 more lines printed" in shown


def test_the_notebook_has_the_same_time_limit(monkeypatch):
    monkeypatch.setattr(checking, "Budget", lambda seconds: checking_budget(seconds, 0.2))

    def walk(slope, x, generator):
        while True:
            pass

    (record,) = run(walk).records
    assert (record.status, record.message) == ("timeout", "used more than 3 s of computing time")


def test_an_exercise_says_what_to_do_where_time_runs_out(monkeypatch):
    monkeypatch.setattr(checking, "Budget", lambda seconds: checking_budget(seconds, 0.2))

    def my_claim():
        while True:
            pass

    first = checking.run_check(my_claim).records[0]
    assert first.status == "timeout"
    assert "copy what it printed" in first.message


def checking_budget(seconds, left):
    budget = Budget(seconds)
    budget.left = left
    return budget


def test_settings_of_torch_are_set_aside():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        assert run(named("double", lambda x: x * torch.tensor([2.0]))).passed
        assert torch.get_default_dtype() == torch.float64
        assert not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def test_mine_or_ours(capsys):
    from cs348k_diffusion.forward import noise_once

    assert checking.mine_or_ours(double, TOYS) is double
    assert capsys.readouterr().out == ""
    assert checking.mine_or_ours(named("double", lambda x: x), TOYS) is noise_once
    assert "does not pass its check yet; using the package's, forward.noise_once" in capsys.readouterr().out
    with pytest.raises(LookupError, match="write coin first"):
        checking.mine_or_ours(named("coin", lambda: 7.0), TOYS)


def test_a_check_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    run(double)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_inputs_are_copies():
    def spoil(x):
        return x.mul_(0)

    x = torch.ones(3)
    expect(local(spoil)(x), torch.zeros(3), "the answer")
    expect(x, torch.ones(3), "the input")


def test_a_tensor_that_equals_everything_is_taken_by_its_bytes():
    class Anything(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return True

    got = local(lambda x: torch.zeros(3).as_subclass(Anything))(torch.ones(3))
    assert type(got) is torch.Tensor
    expect(got, torch.zeros(3), "its bytes")


def test_a_stochastic_check_fails_only_if_two_seeds_fail():
    assert run(named("coin", lambda: 0.0)).passed
    assert run(named("coin", lambda: 1.0)).passed
    assert not run(named("coin", lambda: 2.0)).passed


def test_the_card_is_safe_html_with_a_picture():
    def double(x):
        raise ValueError("<script>alert(1)</script>")

    assert "<script>" not in as_html(run(double))
    page = as_html(run(named("double", lambda x: 3 * x)))
    assert page.count('role="img"') == 2
    assert "Likely mistake" not in page


def test_counted_counts_and_limits():
    counted = Counted(lambda x: x + 1, limit=2)
    x = torch.ones(1)
    counted(x)
    x += 1
    expect(counted.seen[0][0][0], torch.ones(1), "as it was when passed")
    counted(x)
    with pytest.raises(RuntimeError, match="more than 2 times"):
        counted(x)
    assert counted.calls == 2


def test_an_assert_in_a_callback_is_the_verdict_even_if_swallowed():
    def answer(f):
        try:
            f(torch.ones(1))
        except Exception:
            return 1.0

    def strict(x):
        raise AssertionError("t must have shape (batch,)")

    with pytest.raises(AssertionError, match="shape"):
        local(answer)(strict)


def test_student_error_reads_as_a_sentence():
    assert str(StudentError("ValueError", "bad", "line 3")) == "your code raised ValueError: bad (line 3)"
    assert str(StudentError("detached gradient", "no way back")) == "detached gradient: no way back"
    assert str(StudentError("", "ended its process")) == "your code ended its process"


def test_importing_the_package_does_not_import_pytest():
    code = "import sys, cs348k_diffusion.exercises; print('pytest' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
