"""No exercise's answer can be had from the package: by import, file, git, inspect, linecache or bytecode."""

import ast
import inspect
import sys

import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.grading.subject.subject import Subject
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.workers import withheld
from cs348k_diffusion.grading.workers.copies import copy_for, without_bodies
from cs348k_diffusion.grading.workers.pool import ForkServer, SpawnedWorkers
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers in a sandbox are Linux's")
CLOSED = {exercise.id: exercise.withheld for exercise in registry().values() if exercise.withheld}


def search(asked, root):
    """Runs in a worker: what a thorough student gets hold of, as a list of (way, module, name, text)."""
    import gc
    import importlib
    import inspect
    import linecache
    import os
    import pathlib
    import sys

    found = []
    for module_name, name in asked:
        full = f"cs348k_diffusion.{module_name}"
        module = importlib.import_module(full)
        value = getattr(module, name)
        try:
            value(1, 2, 3)
            found.append(("call", module_name, name, "it answered"))
        except RuntimeError as error:
            if "asks you to write this" not in str(error):
                found.append(("call", module_name, name, str(error)))
        ways = {
            "inspect": lambda module=module: inspect.getsource(module),
            "file": lambda module=module: pathlib.Path(module.__file__).read_text(),
            "linecache": lambda module=module: "".join(linecache.getlines(module.__file__)),
            "loader": lambda module=module, full=full: module.__loader__.get_source(full),
        }
        for way, read in ways.items():
            try:
                found.append((way, module_name, name, read()))
            except Exception:
                continue
        del sys.modules[full]
        try:
            importlib.import_module(full)
            getattr(sys.modules[full], name)(1, 2, 3)
            found.append(("fresh import", module_name, name, "it answered"))
        except Exception as error:
            if "asks you to write this" not in str(error):
                found.append(("fresh import", module_name, name, str(error)))
        for each in gc.get_objects():
            mine = inspect.isfunction(each) and each.__module__ == full and each.__name__ == name
            if mine and "asks you to write this" not in str(each.__code__.co_consts):
                found.append(("garbage", module_name, name, "its bytecode"))
    home = os.path.dirname(root)
    for name in (".git", "solutions", "tests", "notebooks", "cs348k_diffusion/exercises", "cs348k_diffusion/grading"):
        if os.path.exists(os.path.join(home, name)):
            found.append(("disk", name, "", "it is there"))
    caches = [top for top, _, _ in os.walk(root) if top.endswith("__pycache__")]
    return found + [("bytecode", cache, "", "it is there") for cache in caches]


@pytest.fixture(scope="module")
def server():
    started = ForkServer()
    yield started
    started.close()


def body_of(module, name):
    """The text of a withheld definition without its first line, or None for a short one."""
    path = withheld.ROOT / f"{module.replace('.', '/')}.py"
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    text = path.read_text()
    for statement in ast.parse(text).body:
        if name in withheld.bound(statement):
            lines = [line.strip() for line in ast.unparse(statement).splitlines()[1:]]
            plain = [line for line in lines if len(line) > 30 and not line.startswith(('"', "'"))]
            return plain[-1] if plain else None
    raise AssertionError(f"{module}.{name} is not there")


@pytest.mark.parametrize("exercise", CLOSED)
def test_nothing_withheld_is_within_reach(server, exercise):
    units = withheld.reaching(CLOSED[exercise])
    asked = [unit for unit in units if ".".join(unit) in CLOSED[exercise]]
    text = f"{inspect.getsource(search)}\ndef answer(asked, root):\n    return search(asked, root)"
    job = Job(exercise, "answer", Submission([(1, text)]).needed("answer"), units)
    link = RemoteLink(server, job, 30)
    link.reseed(0)
    found = Subject(link)(asked, str(withheld.ROOT))
    link.close()
    if "own root" not in server.held:
        found = [each for each in found if each[0] not in ("disk", "bytecode")]
    texts = [(way, module, name, text) for way, module, name, text in found if way in WAYS]
    assert [each for each in found if each[0] not in WAYS] == []
    for way, module, name, text in texts:
        body = body_of(module, name)
        plain = "\n".join(line.strip() for line in ast.unparse(ast.parse(text)).splitlines())
        assert body is None or body not in plain, f"{exercise}: {module}.{name} by {way}"


WAYS = ("inspect", "file", "linecache", "loader")


def test_every_withheld_name_is_gone_from_its_copy(tmp_path):
    for exercise, names in CLOSED.items():
        units = withheld.reaching(names)
        copy = copy_for(units, exercise, tmp_path)
        assert not (copy / "exercises").exists()
        for module, name in units:
            path = copy / f"{module.replace('.', '/')}.py"
            path = path if path.exists() else path.with_suffix("") / "__init__.py"
            (stub,) = [each for each in ast.parse(path.read_text()).body if name in withheld.bound(each)]
            assert "asks you to write this" in ast.unparse(stub), f"{exercise}: {module}.{name}"
            assert len(stub.body) == 1


def test_what_is_around_a_withheld_body_stays():
    text = "import a\n\n@a.b\ndef f(x):\n    return 1\n\nX: int = 2\nY, Z = 3, 4\n\n\ndef g():\n    return f\n"
    made = without_bodies(text, ["f", "Y"], "E9.9")
    space = {}
    exec(made.replace("import a", ""), space)
    assert (space["X"], space["g"]()) == (2, space["f"])
    with pytest.raises(RuntimeError, match=r"E9\.9 asks you to write this"):
        space["f"](1)


def test_names_passed_on_by_another_module_are_followed():
    reached = withheld.reaching(["nets.unet.UNet"])
    assert ("recipes.pictures", "Recipe") not in reached
    assert any(module.startswith("recipes") for module, _ in reached)


def test_without_a_sandbox_the_copy_is_imported(tmp_path):
    units = withheld.reaching(["procedural.leaf.accept"])
    text = (
        "def answer(kind):\n    from cs348k_diffusion.procedural import leaf\n"
        "    return leaf.__file__ if kind else leaf.accept(1, 2, 3)"
    )
    link = RemoteLink(SpawnedWorkers(), Job("E1.4", "answer", Submission([(1, text)]).needed("answer"), units), 60)
    link.reseed(0)
    assert not Subject(link)(True).startswith(str(withheld.ROOT))
    with pytest.raises(Exception, match=r"E1\.4 asks you to write this"):
        Subject(link)(False)
    link.close()
