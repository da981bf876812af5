"""A walk does nothing until someone walks it, and says so; the public names and their stub agree."""

import ast
from pathlib import Path

import pytest

import cs348k_diffusion
from cs348k_diffusion.running import Run, last

STUB = Path(cs348k_diffusion.__file__).with_suffix(".pyi")


def walk(visited, n=3):
    for k in range(n):
        visited.append(k)
        yield k


def test_a_run_is_lazy_and_says_so():
    visited = []
    run = Run(walk(visited), "walking")
    assert not visited
    assert repr(run) == "<walking: not run yet: use watch(...) or last(...)>"
    assert next(run) == 0
    assert visited == [0]
    assert repr(run) == "<walking: 1 step taken>"
    assert list(run) == [1, 2]
    assert repr(run) == "<walking: 3 steps taken>"


def test_last_walks_to_the_end():
    visited = []
    assert last(Run(walk(visited), "walking")) == 2
    assert visited == [0, 1, 2]
    assert last([4, None]) is None


def test_last_of_a_walk_already_taken_says_what_to_do():
    run = Run(walk([]), "walking")
    last(run)
    with pytest.raises(ValueError, match="walked before; make a new one"):
        last(run)
    with pytest.raises(ValueError, match="empty"):
        last([])


def test_an_error_inside_a_walk_reaches_the_caller():
    def broken():
        yield 1
        raise FloatingPointError("inside")

    with pytest.raises(FloatingPointError, match="inside"):
        last(Run(broken(), "breaking"))


def test_the_stub_names_what_the_package_loads_lazily():
    """Editors and pyright read __init__.pyi; it promises what __init__.py delivers, from the same places."""
    promised = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names), "a stub exports only `name as name`"
            promised |= {alias.name: node.module.removeprefix("cs348k_diffusion.") for alias in node.names}
    assert promised == cs348k_diffusion._HOME


@pytest.mark.parametrize("home", sorted(set(cs348k_diffusion._HOME.values())))
def test_every_public_name_loads(home):
    for name in (name for name, where in cs348k_diffusion._HOME.items() if where == home):
        assert getattr(cs348k_diffusion, name) is not None, name
        assert name in dir(cs348k_diffusion)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ddmp'"):
        cs348k_diffusion.ddmp  # noqa: B018
