"""What a check tries is salted by the key of the grading: nobody passes one by a table of what it always tries."""

import ast

import jaxtyping
import pytest
import torch

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, checks_of, registry
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from tests.answers import Given, definition, runs

WITHOUT_INPUTS = {"E1.5", "E11.7"}  # they take no arguments
EXERCISES = [e for e in registry().values() if not e.name.startswith("test_") and e.id not in WITHOUT_INPUTS]
CONSTANT = {  # the functions and names of exercises/ that may draw with a seed of their own, and why
    "conditioned_generation.TABLE": "inside of a model that is handed in; the noise that it is asked about is keyed",
    "conditioned_generation.weights": "subjects of a property test: how far wrong ones are off is measured",
    "latent_diffusion.RANDOM": "subjects of a property test",
    "latent_diffusion.data_of": "subjects of a property test",
}
RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "bernoulli", "multinomial"}


def described(value):
    """A value in a form that compares, whatever it holds; functions are alike."""
    if isinstance(value, torch.Tensor):
        return "tensor", str(value.dtype), tuple(value.shape), value.detach().flatten().tolist()
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, dict):
        return {str(name): described(each) for name, each in value.items()}
    return value if isinstance(value, bool | int | float | str) else "an object"


def watched(answer, calls):
    """The answer, each call's arguments added to `calls`; of a module, those of its forward."""
    if not isinstance(answer, type):
        return lambda *args, **named: (calls.append(repr(described((args, named)))), answer(*args, **named))[1]

    class Watched(answer):
        def forward(self, *args, **named):
            calls.append(repr(described((args, named))))
            return super().forward(*args, **named)

    return Watched


def tried(exercise, key):
    """test -> the arguments of each call that it makes under this key."""
    calls, found, failed = [], {}, []

    def done(record):
        found[record.test] = set(calls)
        failed.extend([record.message] if record.status != "passed" else [])
        calls.clear()

    source = Given("watched", {exercise.id: watched(runs(definition(exercise)), calls)})
    grader = Grader([exercise], [source], done, key=key)
    run_checks([FOLDER / f"{exercise.word}.py"], grader)
    assert not grader.errors + failed, f"under the key {key!r}: {grader.errors + failed}"
    return found


@pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.id for exercise in EXERCISES])
def test_every_check_tries_something_new_under_another_key(exercise):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        one, other = tried(exercise, "one key"), tried(exercise, "another")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert set(other) == {check.test for check in checks_of(exercise)}
    known = [test for test, calls in other.items() if calls and calls <= one[test]]
    assert not known, f"a table of answers passes {known}: draw at least one of their inputs with generator or varied"


def places(module):
    """Where a module of checks draws with a seed of its own, or once for all keys as it is imported."""
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        inside = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement):
            called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            keyed = any(keyword.arg == "generator" for keyword in getattr(node, "keywords", ()))
            own = called == "manual_seed" or (called in RANDOM and not keyed)
            if own or (called in ("generator", "varied") and not inside):
                target = getattr(statement, "targets", [statement])[0]
                yield f"{module.stem}.{getattr(statement, 'name', getattr(target, 'id', ''))}"


def test_numbers_with_a_seed_of_their_own_are_listed_with_a_reason():
    found = {place for module in FOLDER.glob("*.py") for place in places(module)}
    assert found == set(CONSTANT)


@pytest.mark.parametrize(
    "line",
    [
        "def f():\n    return torch.randn(3, generator=torch.Generator().manual_seed(0))",
        "X = torch.randn(3, generator=generator(0))",
        "def f():\n    return torch.rand(3)",
    ],
)
def test_a_seed_of_its_own_is_found(line, tmp_path):
    (tmp_path / "checks.py").write_text(line)
    assert list(places(tmp_path / "checks.py"))
