"""`cs348k fit-tree`: pictures of all kinds become targets, bad ones are refused in one sentence, trees come back."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.testing import assert_close

from cs348k_diffusion import cli
from cs348k_diffusion.commands import fit_tree
from cs348k_diffusion.procedural.fit import sharp_loss
from cs348k_diffusion.procedural.grammar import Grammar, from_json, to_json, validate
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.render import Style, draw, tree_parts
from cs348k_diffusion.procedural.targets import sapling
from cs348k_diffusion.procedural.tree import Branch, Leaf, Tree

GOAL = Tree({1: Branch(0, 0.7, 0.0), 2: Leaf(1, 0.2), 3: Branch(1, 0.5, -0.6), 4: Leaf(3, 0.15)}, 5)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call `cs348k fit-tree` in an empty folder; returns the exit status, and what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["cs348k", "fit-tree", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


def portrait(size=64, tree=GOAL):
    """The goal, drawn by the renderer, as a picture."""
    image = draw(tree_parts(pack([tree], Grammar()), Style()), size, background=Style().sky).image[0]
    return Image.fromarray(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def spot(mode="RGBA", size=(60, 80), inside=(20, 10, 40, 30), paint=(200, 0, 0, 255), ground=(0, 0, 0, 0)):
    """A rectangle on a ground."""
    picture = Image.new("RGBA", size, ground)
    ImageDraw.Draw(picture).rectangle(inside, fill=paint)
    return picture.convert(mode)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_a_tree_is_fitted_written_and_gone_on_with(run, tmp_path):
    portrait().save(tmp_path / "goal.png")
    status, out, err = run("goal.png", "--budget", 600, "--size", 16, "--gif", "--seed", 1)
    assert status == 0, err
    assert "tree.json: " in out
    assert "tree.gif: the fit in motion" in out
    assert Image.open(tmp_path / "tree.png").size == (2 * fit_tree.VIEW, fit_tree.VIEW)
    tree = validate(from_json((tmp_path / "tree.json").read_text()), Grammar())
    target = fit_tree.target_of(fit_tree.read_picture(tmp_path / "goal.png", 16))
    before, after = sharp_loss([sapling(), tree], target).tolist()
    assert after < 0.5 * before
    status, out, _ = run("goal.png", "--start", "tree.json", "--out", "more.json", "--budget", 40, "--size", 16)
    assert status == 0
    assert not (tmp_path / "more.gif").exists()
    more = from_json((tmp_path / "more.json").read_text())
    assert len(more.parts) >= 2
    assert float(sharp_loss([more], target)) < before


def test_a_film_shows_the_target_beside_the_tree_and_rests_at_the_end(run, tmp_path):
    portrait().save(tmp_path / "goal.png")
    assert run("goal.png", "--budget", 200, "--size", 16, "--gif", "--out", "film.json")[0] == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (2 * fit_tree.VIEW, fit_tree.VIEW)
        assert 2 < film.n_frames <= 61
        film.seek(film.n_frames - 1)
        assert film.info["duration"] >= fit_tree.HOLD  # Pillow shows equal frames as one, for the sum of their times
        pixels = np.array(film.convert("RGB")).astype(int)
    tree = from_json((tmp_path / "film.json").read_text())
    left, right = pixels[:, : fit_tree.VIEW], pixels[:, fit_tree.VIEW :]
    for shown, wanted in ((left, portrait(16)), (right, portrait(fit_tree.VIEW, tree))):
        wanted = np.array(wanted.resize((fit_tree.VIEW, fit_tree.VIEW), 0)).astype(int)
        assert np.abs(shown - wanted).mean() < 6  # a GIF has 256 colours, and the border's colour is a median


def test_an_outline_and_a_region_are_targets_of_their_own(run, tmp_path):
    spot(inside=(25, 20, 35, 79)).save(tmp_path / "trunk.png")
    for kind in ("silhouette", "region"):
        status, out, _ = run("trunk.png", f"--{kind}", "--budget", 150, "--size", 16, "--out", f"{kind}.json")
        assert status == 0, out
        assert from_json((tmp_path / f"{kind}.json").read_text()).parts
    seen = fit_tree.read_picture(tmp_path / "trunk.png", 16)
    drawn = draw(tree_parts(pack([sapling()], Grammar()), Style()), 16)
    energies = [float(fit_tree.target_of(seen, kind).energy(drawn)) for kind in fit_tree.KINDS]
    assert_close(energies[1], float(((drawn.alpha - seen.mask) ** 2).mean()))
    assert len(set(energies)) == 3


def test_the_picture_is_never_written_over(run, tmp_path):
    """Not by the PNG or the GIF that go with the tree, whose default name is tree.json."""
    for name in ("tree.png", "tree.gif"):
        portrait().save(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        status, out, _ = run(name, "--gif", "--budget", 40, "--size", 16)
        assert status == 0
        assert (tmp_path / name).read_bytes() == before
        assert f"{name.replace('.', '_fit.')}: the " in out
        assert (tmp_path / name.replace(".", "_fit.")).is_file()
        for written in tmp_path.glob("tree*"):
            written.unlink()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["goal.png", "--silhouette", "--region"], "two different targets"),
        (["goal.png", "--out", "tree.png"], "a name that ends in .json, not 'tree.png'"),
        (["goal.png", "--out", "nowhere/tree.json"], "there is no folder nowhere"),
        (["goal.png", "--start", "nowhere.json"], "nowhere.json does not exist"),
        (["goal.png", "--start", "goal.png"], "goal.png: "),
        (["goal.png", "--start", "wild.json"], "wild.json: part 1: length is 3, the grammar allows 0.08 to 0.8"),
        (["goal.png", "--start", "other.json"], "other.json: not a tree: 'parts'; expected {\"next_id\": ..."),
        (["missing.png"], "missing.png does not exist"),
        (["."], "is a folder, not a picture"),
    ],
)
def test_a_mistake_is_one_sentence(run, tmp_path, words, says):
    portrait(16).save(tmp_path / "goal.png")
    (tmp_path / "wild.json").write_text(to_json(Tree({1: Branch(0, 3.0, 0.0)}, 2)))
    (tmp_path / "other.json").write_text(json.dumps({"weights": 1}))
    status, _, err = run(*words, "--budget", 10)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "tree.json").exists()


# ---- pictures --------------------------------------------------------------------------------------------------------


def bad_pictures(folder):
    """One of each kind that cannot be a target, by name."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.png").write_text("not a picture\n")
    portrait(64).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:500])
    Image.new("1", (8000, 8000)).save(folder / "huge.png")
    Image.new("1", (20000, 20000)).save(folder / "bomb.png")
    Image.new("RGB", (20, 20), (40, 90, 10)).save(folder / "plain.png")
    Image.new("RGBA", (20, 20), (40, 90, 10, 0)).save(folder / "clear.png")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.png", "is empty"),
        ("words.png", "is not an image that can be read here: use PNG, JPEG, GIF or WebP"),
        ("cut.jpg", "cannot be read as an image .* is it cut short"),
        ("huge.png", "is huge, 8000 x 8000 pixels; make it smaller than 40 megapixels"),
        ("bomb.png", "is huge"),
        ("plain.png", "has one colour only"),
        ("clear.png", "has one colour only"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_pictures_are_refused(tmp_path, name, says):
    bad_pictures(tmp_path)
    with pytest.raises(ValueError, match=says):
        fit_tree.read_picture(tmp_path / name, 16)


def test_what_is_transparent_is_background(tmp_path):
    """A spot on nothing: white behind it, and the mask is what can be seen; the picture stands on the lower edge."""
    spot(size=(40, 80), inside=(10, 40, 29, 79)).save(tmp_path / "spot.png")
    seen = fit_tree.read_picture(tmp_path / "spot.png", 16)
    mask = torch.zeros(16, 16)
    mask[8:, 6:10] = 1
    assert_close(seen.mask, mask)
    assert_close(seen.image[1:], (1 - 2 * mask).expand(2, -1, -1))
    assert_close(seen.image[0], 1 - 2 * mask * (1 - 200 / 255))
    assert seen.background == (1.0, 1.0, 1.0)


def test_without_transparency_the_border_is_background(tmp_path):
    spot("RGB", (64, 32), (16, 8, 47, 23), ground=(0, 90, 180, 255)).save(tmp_path / "spot.png")
    seen = fit_tree.read_picture(tmp_path / "spot.png", 16)
    mask = torch.zeros(16, 16)
    mask[10:14, 4:12] = 1
    assert_close(seen.mask, mask)
    assert_close(torch.tensor(seen.background), torch.tensor([0, 90, 180]) / 127.5 - 1)
    assert_close(seen.image[:, 0, 0], torch.tensor(seen.background))


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_pictures_of_every_mode_are_read(tmp_path, mode):
    """A bright spot on black, in all the ways in which a file may hold it."""
    picture = spot(ground=(0, 0, 0, 255), paint=(255, 255, 255, 255))
    if mode == "I;16":
        picture = Image.fromarray(np.array(picture.convert("L")).astype(np.uint16) * 257)
    path = tmp_path / ("spot.tiff" if mode == "CMYK" else "spot.png")
    (picture if mode == "I;16" else picture.convert(mode)).save(path)
    seen = fit_tree.read_picture(path, 20)
    assert_close(seen.image, (2 * seen.mask - 1).expand(3, -1, -1), atol=0.02, rtol=0)
    assert_close(float(seen.mask.mean()), 21 * 21 / 80**2, atol=2e-3, rtol=0)


def test_a_picture_of_floating_point_numbers_is_refused_by_name(tmp_path):
    spot(ground=(0, 0, 0, 255), paint=(255, 255, 255, 255)).convert("F").save(tmp_path / "spot.tiff")
    with pytest.raises(ValueError, match="floating-point numbers"):
        fit_tree.read_picture(tmp_path / "spot.tiff", 20)


def test_a_poor_fit_is_pointed_to_silhouettes_and_a_good_one_is_not(run, tmp_path):
    """A purple rectangle has no colour of a tree's; the goal itself fits to a few per cent."""
    spot(inside=(5, 5, 55, 75), paint=(160, 0, 200, 255)).save(tmp_path / "purple.png")
    portrait().save(tmp_path / "goal.png")
    _, poor, _ = run("purple.png", "--budget", 150, "--size", 16)
    _, good, _ = run("goal.png", "--budget", 900, "--size", 16)
    assert "--silhouette" in poor
    assert "sapling" not in good
    assert fit_tree.left_over(tmp_path / "goal.png", "image", 16, GOAL) < 0.05
    assert fit_tree.left_over(tmp_path / "goal.png", "image", 16, sapling()) == 1
