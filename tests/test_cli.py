"""The command line: it answers, it writes what it says, and what goes wrong is one sentence and status 2."""

import hashlib
import io
import json
import math
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from typer.main import get_command

from cs348k_diffusion import cli, recipes
from cs348k_diffusion.commands import sample
from cs348k_diffusion.course import doctor, workspace

COMMANDS = [
    "lab",
    "update",
    "doctor",
    "check",
    "claims",
    "sample",
    "pictures",
    "train",
    "upscale",
    "fit-tree",
    "grade",
    "collect",
    "similar",
    "release",
    "gradescope",
    "lecture",
    "site",
]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the command line in an empty folder; returns the exit status, and what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["cs348k", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def untrained(monkeypatch):
    """The digits model before training: as quick, and there whether or not weights are."""
    torch.manual_seed(0)
    model = recipes.RECIPES["digits"].build().eval()
    monkeypatch.setattr(recipes, "load", lambda name: model)


def test_help_lists_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    assert re.findall(r"^│ (\w[\w-]*) ", out, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"cs348k {command}" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "nothing"], "there is no recipe 'nothing'; there are digits"),
        (["sample", "tree"], "how many comes first"),
        (["sample", ""], "the prompt is empty"),
        (["sample", "two_moons"], "comes without weights"),
        (["sample", "a red catt by day"], 'the word "catt" is not known here; the nearest is "cat"'),
        (["sample", "a red cat by day under the moon"], "no moon in this sky"),
        (["sample", "a red cat", "--label", 3], "leave out --label"),
        (["sample", "a red cat", "--size", 48], "prompts are drawn 32 or 64 pixels wide, not 48"),
        (["sample", "digits", "--cascade"], "--cascade draws prompts, and 'digits' is the name of a model"),
        (["sample", "a cat", "--cascade", "--model", "pictures"], "--cascade is a model itself: leave out --model"),
        (["train", "nothing"], "there is no recipe 'nothing'"),
        (["train", "digits", "--device", "cuda", "--steps", 1], "this machine has no cuda device"),
        (["train", "digits", "--device", "tpu", "--steps", 1], "no device 'tpu'; there are: cpu"),
        (["sample", "digits", "--scale", "nan"], "the scale of guidance is a number, 0 or more, got nan"),
        (["sample", "digits", "--out", "nowhere/six.png"], "there is no folder nowhere to write six.png to"),
        (["sample", "digits", "--out", "."], "is a folder: give --out the name of a file in it"),
        (["sample", "digits", "--out", "six.bmp"], "samples are written as .png, or as .gif with --gif"),
        *[([command, "--seed", 2**70], "--seed takes a whole number from 0 to") for command in ("sample", "pictures")],
        (["train", "digits", "--seed", -1], "--seed takes a whole number from 0 to"),
        (["upscale", "mine.png", "--out", "./mine.png"], "mine.png is the picture itself: give --out another name"),
        (["upscale", "mine.png", "--out", "nowhere/six.png"], "there is no folder nowhere to write six.png to"),
        (["check", "nowhere.ipynb"], "there is no notebook nowhere.ipynb"),
        (["grade", "nowhere"], "nowhere is not a folder"),
        (["grade", "nowhere", "--extensions", "later.csv"], "give --roster"),
    ],
)
def test_a_mistake_is_one_sentence(run, words, said):
    status, _, err = run(*words)
    assert status == 2
    assert err.startswith("cs348k: ")
    assert said in err
    assert err.count("\n") == 1


MAKES_FOLDERS = "pictures train claims grade collect similar release gradescope site".split()


def having(option):
    """Every command with an option, and words for the arguments that it needs."""
    for name, command in get_command(cli.app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        parameters = {each.name: each for each in command.params}
        if option in parameters:
            needed = ["x" for each in command.params if each.param_type_name == "argument" and each.required]
            yield pytest.param([name, *needed], parameters[option], id=name)


@pytest.mark.parametrize(("words", "option"), list(having("seed")))
@pytest.mark.parametrize("seed", [-1, 2**62 + 1, 2**70])
def test_a_seed_that_no_generator_takes_is_refused_by_every_command(run, words, option, seed):
    status, _, err = run(*words, "--seed", seed)
    assert status == 2
    assert err == f"cs348k: --seed takes a whole number from 0 to {2**62}, got {seed}\n"


@pytest.mark.parametrize(("words", "option"), list(having("out")))
def test_a_file_that_cannot_be_written_is_told_before_the_work_by_every_command(run, words, option):
    if words[0] in MAKES_FOLDERS:
        pytest.skip("makes the folders on the way to what it writes")
    ending = Path(str(option.default)).suffix or {"sample": ".png", "lecture": ".html"}[words[0]]
    status, _, err = run(*words, "--out", f"nowhere/made{ending}")
    assert status == 2
    assert err.startswith("cs348k: there is no folder nowhere")


def test_nothing_is_drawn_for_a_file_that_cannot_be_written(run, monkeypatch):
    monkeypatch.setattr(recipes, "load", lambda name: pytest.fail("the model was loaded first"))
    assert run("sample", "digits", "--out", "nowhere/six.png")[0] == 2


def test_a_console_that_cannot_print_a_name_prints_an_escape(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["cs348k", "check", "猫.ipynb"])
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with pytest.raises(SystemExit):
        cli.main()
    sys.stdout.flush()
    assert b"there is no notebook \\u732b.ipynb" in written.getvalue()


def test_lab_understands_its_own_arguments_and_jupyters(run, tmp_path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "notebooks" / workspace.START)
    status, _, err = run("lab", "--no-browser", "--folder", "here", "--port", "eight")
    assert status == 2
    assert "--port needs a number" in err
    assert not (tmp_path / "here").exists()  # nothing is made for a call that cannot work


def test_a_bug_shows_its_traceback_on_request(run, monkeypatch):
    monkeypatch.setenv("CS348K_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["cs348k", "check", "nowhere.ipynb"])
    with pytest.raises(FileNotFoundError):
        cli.main()


def test_sample_writes_a_grid(run, untrained, tmp_path):
    status, out, _ = run("sample", "digits", "--n", 6, "--steps", 2, "--out", "six.png")
    assert status == 0
    assert "six.png" in out
    with Image.open(tmp_path / "six.png") as picture:
        assert picture.size == (3 * 68 + 4, 2 * 68 + 4)  # three columns, two rows, 8x8 drawn as 64x64
        assert len(set(picture.convert("L").resize((24, 16)).tobytes())) > 10


def test_a_gif_shows_every_step_and_rests_at_the_end(run, untrained, tmp_path):
    run("sample", "digits", "--n", 4, "--steps", 5, "--gif")
    with Image.open(tmp_path / "digits.gif") as picture:
        assert picture.n_frames == 5
        picture.seek(4)
        assert picture.info["duration"] == 1500


@pytest.mark.parametrize(
    ("asked", "drawn_by"),
    [
        ({}, "pictures_64"),
        ({"steps": 4, "walk": True}, "pictures_64"),
        ({"size": 32}, "pictures_fast"),
        ({"size": 32, "steps": 4, "scale": 6.0}, "pictures_fast"),
        ({"size": 32, "steps": 3}, "pictures"),
        ({"size": 32, "scale": 0.0}, "pictures"),
        ({"size": 32, "scale": math.nan}, "pictures"),  # which then says what a scale is
        ({"size": 32, "walk": True}, "pictures"),
        ({"model": "pictures"}, "pictures"),
        ({"cascade": True}, "pictures_cascade"),
    ],
)
def test_a_student_draws_where_it_can(asked, drawn_by):
    assert sample.model_for("a red cat", **asked) == drawn_by
    assert sample.model_for("digits", steps=asked.get("steps")) == "digits"


def test_sample_draws_a_prompt_in_two_sizes(run, tmp_path):
    for size in (32, 64):
        status, _, _ = run("sample", "a cat", "--n", 1, "--steps", 1, "--size", size, "--out", f"{size}.png")
        assert status == 0
    small, large = (np.asarray(Image.open(tmp_path / f"{size}.png").convert("RGB"))[4:68, 4:68] for size in (32, 64))
    assert (small[::2, ::2] == small[1::2, 1::2]).all()  # 32 pixels, each drawn twice as large
    assert not (large[::2, ::2] == large[1::2, 1::2]).all()


def test_sample_draws_a_prompt_by_a_cascade_and_its_film_grows(run, tmp_path):
    status, out, _ = run("sample", "a red cat", "--n", 1, "--steps", 2, "--cascade", "--gif")
    assert status == 0
    assert "13 steps" in out  # 2 at 8 pixels, 10 at 32, 1 at 64
    with Image.open(tmp_path / "picture.gif") as film:
        assert film.n_frames == 13
        first = np.asarray(film.convert("RGB"))[4:68, 4:68]
        film.seek(12)
        end = np.asarray(film.convert("RGB"))[4:68, 4:68]
    assert (first[::8, ::8] == first[7::8, 7::8]).all()  # 8 pixels, each drawn eight times as large
    assert not (end[::2, ::2] == end[1::2, 1::2]).all()


def test_sample_draws_a_prompt(run, tmp_path):
    status, out, _ = run("sample", "two red cats at night", "--n", 2, "--steps", 2, "--scale", 2, "--out", "cats.png")
    assert status == 0
    assert "cats.png: 2 samples of two red cats at night" in out
    with Image.open(tmp_path / "cats.png") as picture:
        assert picture.mode == "RGB"
        assert picture.size == (2 * 68 + 4, 68 + 4)
    status, _, _ = run("sample", "a blue house", "--n", 1, "--steps", 3, "--gif")
    assert status == 0
    with Image.open(tmp_path / "picture.gif") as film:
        assert film.n_frames == 3


def test_a_seed_says_which_samples(run, untrained, tmp_path):
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        run("sample", "digits", "--n", 2, "--steps", 2, "--seed", seed, "--out", f"{name}.png")
    one, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


def test_a_label_that_does_not_exist_is_named(run, untrained):
    status, _, err = run("sample", "digits", "--label", 10)
    assert status == 2
    assert "the labels are 0 to 9" in err


def test_a_grid_shows_each_image_in_its_place():
    images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    sheet = sample.grid(images).convert("L")
    assert [sheet.getpixel(place) for place in ((36, 36), (104, 36), (172, 36))] == [0, 128, 255]


def test_doctor_finds_damaged_weights(monkeypatch, tmp_path):
    folder = tmp_path / "recipes" / "weights"
    folder.mkdir(parents=True)
    monkeypatch.setattr(doctor, "PACKAGE", tmp_path)
    (folder / "a.safetensors").write_bytes(b"weights")
    (folder / "a.json").write_text(json.dumps({"sha256": hashlib.sha256(b"weights").hexdigest()}))
    assert [finding.breaks for finding in doctor.look_at_weights()] == [False]
    (folder / "a.safetensors").write_bytes(b"damaged")
    (finding,) = doctor.look_at_weights()
    assert finding.breaks
    assert finding.seen == "damaged: a"
    (folder / "a.safetensors").unlink()
    assert [finding.breaks for finding in doctor.look_at_weights()] == [True]


def test_doctor_names_a_package_that_is_too_old(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda _: ["numpy>=999", "no-such-package", "ruff>=999; extra=='dev'"]
    )
    (finding,) = doctor.look_at_packages()
    assert finding.breaks
    assert re.fullmatch(r"numpy \S+ \(needs >=999\), no-such-package missing \(needs \)", finding.seen)


def test_doctor_reports_a_look_that_fails_and_goes_on(monkeypatch):
    def look_at_trouble():
        raise OSError("no such thing")
        yield

    monkeypatch.setattr(doctor, "LOOKS", (look_at_trouble, doctor.look_at_python))
    first, second = doctor.examine()
    assert (first.what, first.breaks) == ("trouble", True)
    assert (second.what, second.do) == ("Python", "")


def test_doctor_is_content_with_this_machine(run):
    status, out, _ = run("doctor")
    assert status == 0, out


def test_update_says_so_when_there_is_nothing_to_do(run, tmp_path):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "notebooks" / workspace.START)
    assert run("update")[1] == "Your notebooks are the newest there are.\n"


@pytest.mark.parametrize("address", ["10.0.0.1", "8786", "http://10.0.0.1:8786", "tcp://x:port", "tcp://127.0.0.1:1"])
def test_an_address_where_no_dask_scheduler_is_ends_in_one_sentence(run, address):
    pytest.importorskip("distributed")
    status, out, err = run("claims", "G3", "--dask", address)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1
    assert ("has the form tcp://HOST:PORT" in err or "no Dask scheduler answers" in err) and address in err
