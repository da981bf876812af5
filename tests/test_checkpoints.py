"""Training that is killed and goes on: the same weights to the last bit, or a refusal that says what is wrong."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import checkpoints as module
from cs348k_diffusion import denoising, fit, recipes, warm_cosine
from cs348k_diffusion.checkpoints import MANIFEST, Checkpoints, Standing, interruptible
from cs348k_diffusion.data import Batches, Stream, batches
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.nets import PointNet, UNet
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Fitting, Phases, Progress

STEPS = 24


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(seed=0):
    """A small picture model that knows classes: convolutions in channels_last, norms and an embedding."""
    torch.manual_seed(seed)
    return NetDenoiser(UNet(1, width=8, mults=(1, 2), classes=3), cosine())


def training(steps=STEPS, seed=5):
    """A new training, its data shuffled and its labels dropped by one generator."""
    generator = seeded(seed)
    x, y = torch.randn(10, 1, 4, 4, generator=seeded(1)), torch.arange(10) % 3
    examples = batches(x, y, 4, generator)
    return fit(model_of(), examples, steps, denoising(dropout=0.3), lr=warm_cosine(1e-2), ema=0.9, generator=generator)


def phased():
    def first(model):
        return fit(
            model, Stream(lambda g: torch.randn(4, 2, generator=g), seeded(2)), 7, denoising(), generator=seeded(3)
        )

    def second(model):
        return fit(
            model, batches(torch.eye(2), size=3, generator=seeded(4)), 6, denoising(), lr=1e-2, generator=seeded(6)
        )

    torch.manual_seed(0)
    return Phases(NetDenoiser(PointNet(width=8, depth=1), cosine()), ((7, first), (6, second)))


def weights(run):
    return {**run.state(), **{f"averaged {name}": value for name, value in run.average.state_dict().items()}}


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def killed_at(make, kept, moments):
    """Train, and forget everything but the checkpoints after each of the moments (updates done in all)."""
    for moment in moments:
        run, every = make(), 3
        for standing in interruptible(run, kept, every):
            assert isinstance(standing, Standing)
            if run.done >= moment:
                break
        del run
    run = make()
    for _ in interruptible(run, kept, 3):
        pass
    return run


# --- the same weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [training, phased])
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_and_continued_the_weights_are_the_same(make, seed, tmp_path):
    whole = make()
    for _ in whole:
        pass
    moments = sorted(random.Random(seed).sample(range(1, whole.steps), 3))
    same(weights(killed_at(make, Checkpoints(tmp_path, {"recipe": "tiny"}), moments)), weights(whole))


def test_a_state_taken_at_any_update_leads_to_the_same_end():
    whole = training()
    states = [run_state(whole) for _ in whole]
    for state in states[::5]:
        again = training()
        again.restore(state)
        for _ in again:
            pass
        same(weights(again), weights(whole))


def run_state(run):
    return run.state()


def test_a_state_is_a_copy_and_restoring_twice_is_refused():
    run = training()
    next(run)
    state = run.state()
    before = {name: value.clone() for name, value in state.items()}
    next(run)
    same(state, before)
    with pytest.raises(ValueError, match="has begun"):
        run.restore(state)


def test_phases_count_on_and_the_second_begins_with_the_average_of_the_first():
    run = phased()
    seen = [(progress.step, {k: v.clone() for k, v in progress.model.state_dict().items()}) for progress in run]
    assert [step for step, _ in seen] == list(range(1, 14))
    assert (run.steps, run.done) == (13, 13)
    second = phased()
    for _ in range(8):
        next(second)
    # the average of the second phase's first update: 2/11 of what it began with, 9/11 of the updated model
    began, now = seen[6][1], {name: value for name, value in second.state().items() if name.startswith("model/")}
    for name, average in seen[7][1].items():
        assert_close(average, 2 / 11 * began[name] + 9 / 11 * now[f"model/{name}"])


KILLED = """
import sys
from pathlib import Path
from cs348k_diffusion import recipes
recipes.train("two_moons", Path(sys.argv[1]), seed=3, steps=120, tell=lambda at: print(at.done, flush=True))
"""


def test_a_process_that_is_killed_goes_on_where_it_stopped(tmp_path):
    """The real thing: SIGKILL, in the middle of an update or of a write, then the same command again."""
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    while int(process.stdout.readline()) < 30:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    at = json.loads((folder / "two_moons.checkpoint" / MANIFEST).read_text())["done"]
    assert 30 <= at < 120
    told = []
    model = recipes.train("two_moons", folder, seed=3, steps=120, tell=told.append)
    assert told[0].done == at + 1
    whole = recipes.train("two_moons", seed=3, steps=120)
    same(model.state_dict(), whole.state_dict())
    assert not (folder / "two_moons.checkpoint").exists()  # with the weights there, it has done its work
    assert recipes.card("two_moons", folder)["cpu_minutes"] > 0


def environment(**more):
    there = os.pathsep.join([str(Path(recipes.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": there, "OMP_NUM_THREADS": "1", **more}


TEAM = """
import json, sys
from pathlib import Path
from cs348k_diffusion import recipes
import os
folder, stop = Path(sys.argv[1]), int(sys.argv[2])
def tell(at):
    if at.done == stop: os._exit(9)
ends = [recipes.train("two_moons", folder / part, seed=1, steps=6, tell=tell) for part in ("killed", "whole")]
json.dump([[float(parameter.double().sum()) for parameter in model.parameters()] for model in ends], sys.stdout)
"""


def team(folder, stop):
    """Two gloo processes, as torchrun starts them; the first stops dead after `stop` updates, the other with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", TEAM, str(folder), str(stop)]
    members = [
        subprocess.Popen(command, env=environment(**shared, RANK=rank), stdout=subprocess.PIPE, stderr=-3, text=True)
        for rank in "01"
    ]
    if stop > 0:
        assert members[0].wait(timeout=300) == 9
        members[1].kill()
    return [member.communicate(timeout=300)[0] for member in members]


def test_two_processes_that_are_killed_go_on_as_two(tmp_path):
    team(tmp_path, stop=3)
    kept = tmp_path / "killed" / "two_moons.checkpoint"
    assert {"0", "1"} <= {path.stem[-1] for path in kept.glob("*.safetensors")}
    first, second = map(json.loads, team(tmp_path, stop=-1))
    assert first == second
    assert first[0] == first[1]  # killed and continued, as never killed


# --- written whole, or not at all -----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [1, 2])
def test_a_kill_while_writing_leaves_the_checkpoint_before(write, tmp_path, monkeypatch):
    kept, run = Checkpoints(tmp_path), training()
    next(run)
    kept.save(run)
    next(run)
    left = [write]

    def dying(source, target):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        os.rename(source, target)

    monkeypatch.setattr(module.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        kept.save(run)
    monkeypatch.undo()
    again = training()
    kept.restore(again)
    assert again.done == 1
    next(again)
    kept.save(again)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "update-0000002-process-0.safetensors"]


def test_no_pickle_is_written(tmp_path):
    run = training()
    next(run)
    Checkpoints(tmp_path).save(run)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


# --- refused by name ------------------------------------------------------------------------------------------------


def saved(folder, **identity):
    run = training()
    next(run)
    Checkpoints(folder, {"recipe": "digits", "version": "1", "steps": STEPS, **identity}).save(run)
    return Checkpoints(folder, {"recipe": "digits", "version": "1", "steps": STEPS})


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"recipe": "pictures"}, "its recipe is 'pictures', not 'digits'"),
        ({"version": "0.9"}, "its version is '0.9', not '1'"),
        ({"steps": 5, "recipe": "points"}, "its recipe is 'points', not 'digits'; its steps is 5, not 24"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused_by_name(other, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        saved(tmp_path, **other).restore(training())


def test_on_another_number_of_processes_the_weights_go_on_and_each_has_its_own_draws(tmp_path):
    whole, kept, members = training(), saved(tmp_path), []
    next(whole)
    for rank in range(2):
        members.append(training(seed=5 + rank))
        Checkpoints(tmp_path, kept.identity, rank, 2).restore(members[-1])
    before, *after = (run.state() for run in (whole, *members))
    for state in after:
        same({k: v for k, v in state.items() if k not in module.PRIVATE},
             {k: v for k, v in before.items() if k not in module.PRIVATE})  # fmt: skip
    draws = [state["fit/generator"] for state in (before, *after, training().state())]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(draws, 2))
    assert all(next(run).step == 2 for run in members)


@pytest.mark.parametrize("damage", [b"", b"\0" * 2000, None])
def test_a_damaged_file_is_refused_by_name(damage, tmp_path):
    kept = saved(tmp_path)
    part = next(tmp_path.glob("*.safetensors"))
    part.unlink() if damage is None else part.write_bytes(damage)
    run = training()
    with pytest.raises(ValueError, match=rf"{part.name} is missing or damaged: begin anew with --restart"):
        kept.restore(run)
    assert run.done == 0


@pytest.mark.parametrize("text", ["", "[1]", '{"format": 1}', "{"])
def test_a_damaged_manifest_is_refused_by_name(text, tmp_path):
    kept = saved(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=rf"{MANIFEST} is damaged: begin anew with --restart"):
        kept.restore(training())


def test_restart_begins_anew_whatever_is_there(tmp_path):
    folder = tmp_path / "two_moons.checkpoint"
    folder.mkdir()
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        recipes.train("two_moons", tmp_path, steps=5)
    model = recipes.train("two_moons", tmp_path, steps=5, restart=True)
    same(model.state_dict(), recipes.train("two_moons", steps=5).state_dict())
    assert not folder.exists()


# --- what it depends on ---------------------------------------------------------------------------------------------


def test_batches_that_do_not_know_their_place_are_refused():
    run = fit(model_of(), iter([torch.zeros(2, 1, 4, 4)] * 3), 3, denoising(), generator=seeded())
    next(run)
    with pytest.raises(TypeError, match="do not know where they are"):
        run.state()


def test_batches_go_on_in_the_middle_of_a_pass():
    one, other = (Batches(7, 3, lambda rows: rows, seeded(1)) for _ in range(2))
    drawn = [next(one) for _ in range(4)]
    state = one.state()
    rest = [next(one) for _ in range(5)]
    other.restore(state)
    assert_close([next(other) for _ in range(5)], rest)
    assert len(drawn) == 4


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_every_recipe_can_be_kept(name):
    """Its training is one that can be kept, and its batches know where they are, before any of them is drawn."""
    run = recipes.training(name, steps=2)
    assert isinstance(run, Fitting | Phases)
    state, again = run.state(), recipes.training(name, steps=2)
    assert isinstance(again, Fitting | Phases)
    again.restore(state)
    assert int(state["fit/done"]) == again.done == 0


def test_a_standing_says_how_long_it_takes():
    at = Standing(500, 24000, 0.1234, 0.25, Progress(500, 0.2, torch.nn.Identity()))
    assert at.label() == "update 500 of 24,000, loss 0.1234, 0.25 s an update, 1 h 38 min left"
    assert at._replace(done=23900).label().endswith("0 min left")
