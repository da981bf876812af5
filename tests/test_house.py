"""The house is in order: what README and CONTRIBUTING say is true, the locks hold, the top level is clean."""

import ast
import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cs348k_diffusion.authoring.handout import points_of
from cs348k_diffusion.cli import app
from cs348k_diffusion.exercises.framework.catalogue import registry

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/for_students.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(
    line.split("==") for line in (ROOT / "lock.txt").read_text().splitlines() if "==" in line and line[0] != "#"
)
FREE = {"triton"}  # PyTorch's build for NVIDIA names the one triton that fits it; a pin of ours would fight that
TOP = set(
    ".ci .gitattributes .gitignore .pre-commit-config.yaml CHANGELOG.md CONTRIBUTING.md LICENSE Makefile README.md "
    "cs348k_diffusion docs lock.txt notebooks pyproject.toml solutions tests".split()
)


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tracked():
    """The files that git knows or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def python_files():
    return sorted((ROOT / "cs348k_diffusion").rglob("*.py"))


def commands():
    """Every `cs348k` command with the options it takes."""
    group = typer.main.get_command(app)
    return {name: {flag for p in c.params for flag in p.opts} | {"--help"} for name, c in group.commands.items()}


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_in_the_text_exists(name):
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^\s*)make ([a-z]+)", page(name), re.MULTILINE)) <= targets
    both = re.findall(r"`make ([a-z]+ [a-z]+)`", page(name))  # such as `make notebooks outputs`
    assert {word for each in both for word in each.split()} <= targets


@pytest.mark.parametrize("name", PAGES)
def test_every_command_line_in_the_text_is_understood(name):
    for line in re.findall(r"(?:^|[`\\])cs348k (.+?)(?:`|$)", page(name), re.MULTILINE):
        command, *words = shlex.split(line, comments=True)
        assert command in commands(), line
        options = {word for word in words if word.startswith("--")}
        assert command == "lab" or options <= commands()[command], line


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_block_can_be_typed(name):
    """A line that is there to be copied has all its arguments, each of the kind that the command takes."""
    group = typer.main.get_command(app)
    lines = re.findall(r"^ *(?:\.venv[/\\]\w+[/\\])?cs348k (.+)$", page(name), re.MULTILINE)
    for line in lines:
        command, *words = shlex.split(line, comments=True)
        group.commands[command].make_context(command, words)
    assert lines or name == "CONTRIBUTING.md"


@pytest.mark.parametrize("name", PAGES)
def test_every_module_and_source_file_in_the_text_exists(name):
    for module in re.findall(r"python -m ([\w.]+)", page(name)):
        assert importlib.util.find_spec(module), module
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in tracked()]
    for file in re.findall(r"`([\w./]+\.(?:py|js))`", page(name)):
        assert any(each.endswith(f"/{file}") for each in files), file


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    links = re.findall(r"\]\((?!http)([^)#]*)(#[^)]*)?\)", page(name))
    for target, anchor in links:
        file = (ROOT / name).parent / target if target else ROOT / name
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = {f"#{re.sub(r'[^a-z0-9 -]', '', heading.lower()).replace(' ', '-')}" for heading in headings}
        assert not anchor or anchor in slugs, f"{target}{anchor}"


def test_the_table_of_notebooks_has_their_points():
    rows = re.findall(
        r"^\| \[(\d\d_(\w+))\]\(notebooks/\1\.ipynb\) \|.*\| (\d+) \| (\d+) \|$", page("README.md"), re.MULTILINE
    )
    points = {word: sum(worth.points for worth in points_of(word).values()) for _, word, _, _ in rows}
    assert {word: int(said) for _, word, _, said in rows} == points
    assert sorted(name for name, *_ in rows) == sorted(path.stem for path in (ROOT / "solutions").glob("*.ipynb"))


def test_the_minutes_are_those_that_the_notebooks_promise():
    for name, minutes in re.findall(r"^\| \[(\d\d_\w+)\].*\| (\d+) \| \d+ \|$", page("README.md"), re.MULTILINE):
        assert f"**about** {minutes} minutes" in page(f"solutions/{name}.ipynb"), name


def test_contributing_names_folders_that_exist():
    layout = re.search(r"## Layout\n\n```\n(.*?)```", page("CONTRIBUTING.md"), re.DOTALL)[1]
    for line in layout.splitlines()[1:]:
        name = line.split("  ")[1 if line.startswith("  ") else 0].strip()
        folder = ROOT / ("cs348k_diffusion" if line.startswith("  ") else "")
        places = [folder / name] if "/" in name or "." in name else [folder / f"{word}.py" for word in name.split()]
        assert all(place.exists() for place in places), line


def test_the_top_level_is_what_a_newcomer_needs():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} - TOP == set()


def test_no_file_names_a_place_on_this_machine():
    places = [str(place).encode() for place in (ROOT, Path.home()) if len(place.parts) > 1]
    texts = {path: path.read_bytes() for path in tracked() if path.suffix not in (".safetensors", ".npz", ".png")}
    assert [path for path, text in texts.items() if any(place + b"/" in text for place in places)] == []


def test_every_dependency_is_locked_at_a_version_it_allows():
    locked = {canonicalize_name(name): version for name, version in LOCK.items()}
    extras = PROJECT["optional-dependencies"]["dev"]
    backend = tomllib.loads(page("pyproject.toml"))["build-system"]["requires"]
    every = map(Requirement, [*PROJECT["dependencies"], *extras, *backend])
    for requirement in [one for one in every if one.name not in FREE]:
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_lock_serves_every_platform():
    assert LOCK["torch"] == "2.13.0"
    assert not [row for row in LOCK if re.match(r"nvidia|cuda|triton", row)]
    assert not [version for version in LOCK.values() if not re.fullmatch(r"[\w.]+", version)]


def test_every_dependency_is_justified():
    tables = page("CONTRIBUTING.md").partition("## Dependencies")[2]
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^\| (.*?) \|", tables, re.MULTILINE))))
    listed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert {Requirement(each).name for each in listed} <= named


def test_ci_runs_the_tests_that_contributors_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert re.search(r"^make test", page(".ci/run"), re.MULTILINE)


def test_functions_stay_short():
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
                assert lines <= 50, f"{path.name}: {node.name} has {lines} lines"


# What can be counted: a newcomer finds a file in a folder of a dozen, and reads it in one sitting.
LONGEST, MOST_FILES = 350, 12
LONG = "exercises"  # a check module has all of a notebook's checks
FULL = {
    "cs348k_diffusion": "the core stays flat, one lecture word a file",
    "cs348k_diffusion/exercises": "one module a notebook",
    "cs348k_diffusion/recipes/weights": "data",
}
# Names that the field does not use, and what it says instead. Defined nowhere in the package.
BANNED = {
    "zygote": "ForkServer", "nursery": "workers", "servant": "ObjectServer", "leans_on": "depends_on",
    "lent": "fallbacks", "worths": "points_of", "inward": "self_attn", "pull": "likelihood_score",
    "eyes": "features", "seen_badly": "augment", "nudged": "random_shift", "naming": "label_loss",
    "brief": "autocast_bf16", "supply": "batches", "STORE": "TRAIN_SIZE", "SHELF": "WEIGHTS_DIR",
    "Dice": "KeyedRandom", "dice": "rng", "Forge": "FitContext", "wander": "langevin_updates", "Dial": "Scheduled",
    "judged": "evaluated", "JUDGED": "EVAL_SIZE", "_judge": "evaluate", "Within": "InInterval",
    "EVALUATED": "EVAL_SIZE", "TOLD": "TWO_SAMPLE_N", "ASKED": "DRAWS_EACH", "LEARNED": "TRAIN_SIZE",
    "LOOKED_AT": "PREVIEW_PROMPTS", "judge_net": "discriminator", "hears": "conditioning", "Walked": "History",
    "Shelf": "RunCache", "Seen": "Cutout", "Enrolled": "RosterRow", "Graded": "StudentResult", "Resolved": "Resolution",
    "Flawed": "FlawedReport", "Spawned": "SpawnedWorkers", "Submitted": "WorkerSource", "Found": "Upload",
}  # fmt: skip
PARTICIPLE = re.compile(r"_?[A-Z][a-z]*(ed|wn|ven|ght|ound|een|esh)")
WRAPPERS = {"Guided", "Steered", "Clipped", "Given", "Staged", "Attended", "_Tiled", "Shown", "Bound"}
"""What is made of another of its kind is named by what was done to that: `Guided`, a denoiser, is made of two."""
BANNED_FUNCTIONS = {
    "measured": "linear_measurement_log_prob", "classified": "classifier_log_prob", "inpainted": "inpainting_log_prob",
    "within": "in_interval", "drop": "drop_condition", "kept": "satisfied",
}  # fmt: skip
"""Good words for a variable, not for what a function does."""


def names_in(tree):
    """Every name that a module defines: functions, classes, arguments, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_files_are_read_in_one_sitting():
    lines = {path: len(path.read_text().splitlines()) for path in python_files() if LONG not in path.parts}
    assert {str(path): count for path, count in lines.items() if count > LONGEST} == {}


def test_folders_are_taken_in_at_a_glance():
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in tracked())
    of_package = {folder: count for folder, count in counts.items() if folder.startswith("cs348k_diffusion")}
    crowded = {folder for folder, count in of_package.items() if count > MOST_FILES}
    assert crowded <= FULL.keys(), f"more than {MOST_FILES} files: {crowded - FULL.keys()}"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT / "cs348k_diffusion")))
def test_names_are_the_fields(path):
    tree = ast.parse(path.read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = {name: BANNED[name] for name in names_in(tree) if name in BANNED}
    found |= {name: word for name, word in BANNED_FUNCTIONS.items() if name in functions}
    assert not found, f"{path.name}: instead of the key say the value: {found}"


@pytest.mark.parametrize("path", [p for p in python_files() if LONG not in p.parts], ids=lambda path: path.name)
def test_what_is_raised_is_plain_english(path):
    """ "X is no number" is "X is not a number"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and node.exc:
            text = "".join(
                part.value
                for part in ast.walk(node.exc)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )
            assert not re.search(r"(?i)(?<!there )\b(is|are) no (?!longer|more|further)", text), text


def test_a_class_is_named_by_a_noun():
    named = {
        node.name: path.name
        for path in python_files()
        if LONG not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and PARTICIPLE.fullmatch(node.name)
    }
    assert named.keys() <= WRAPPERS, named


def test_what_only_exercises_use_says_so():
    """A public function that is there for students to build has a line that names its notebook."""
    texts = {path: path.read_text() for path in python_files() if not {"exercises", "evaluate"} & set(path.parts)}
    for exercise in registry().values():
        part, _, name = exercise.ours.rpartition(".")
        home = ROOT / "cs348k_diffusion" / f"{part.replace('.', '/')}.py"
        if not home.is_file():
            continue
        used = any(re.search(rf"\b{name}\(", text) for path, text in texts.items() if path != home)
        tree = ast.parse(texts[home])
        calls = {getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)}
        docs = [ast.get_docstring(node) or "" for node in tree.body if getattr(node, "name", "") == name]
        head = ast.get_docstring(tree) or ""
        assert used or name in calls or any("Notebook" in doc for doc in [*docs, head]), exercise.ours


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT / "cs348k_diffusion")))
def test_a_module_opens_with_its_idea(path):
    text = path.read_text()
    doc = ast.get_docstring(ast.parse(text))
    assert doc, "no docstring"
    assert path.name == "__init__.py" or len(doc.splitlines()) <= 12


@pytest.mark.parametrize("address", [("example.org", 80), ("192.0.2.1", 80), ("2001:db8::1", 80)])
def test_the_tests_cannot_reach_a_network(address):
    with pytest.raises(ConnectionRefusedError, match="offline"):
        socket.create_connection(address, timeout=1)


def test_nor_can_what_they_start():
    probe = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert "the tests work offline" in done.stderr


def test_this_machine_can_still_be_reached():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            assert client.getpeername()[0] == "127.0.0.1"
