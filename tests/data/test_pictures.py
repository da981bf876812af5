"""The drawn world: what a caption says is there, what a label says can be seen, and every machine draws the same."""

import hashlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch.testing import assert_close

from cs348k_diffusion import cli
from cs348k_diffusion.data import load_folder
from cs348k_diffusion.data.pictures import (
    ATTRIBUTES,
    COLOURS,
    HELD_OUT,
    WORDS,
    Group,
    Scene,
    asked,
    caption,
    complete,
    draw_scenes,
    drawing,
    labels,
    parse,
    pictures,
    scene,
    write_folder,
)
from cs348k_diffusion.data.pictures.captions import BRIEF
from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.layout import arrange
from cs348k_diffusion.data.pictures.paint import SUN, THINGS

PIXELS = [  # the channels of every ninth pixel of four pictures
    [
        [132, 132, 132, 132, 205, 205, 200, 200, 225, 198, 168, 142],
        [99, 99, 99, 99, 153, 153, 140, 140, 67, 37, 140, 129],
        [142, 142, 142, 142, 131, 131, 141, 142, 61, 51, 125, 141],
    ],
    [
        [218, 19, 19, 19, 35, 42, 33, 33, 223, 69, 80, 72],
        [210, 26, 26, 26, 47, 57, 44, 44, 225, 98, 99, 93],
        [180, 65, 65, 65, 94, 93, 95, 95, 217, 75, 71, 73],
    ],
    [
        [151, 147, 133, 133, 197, 136, 141, 189, 141, 141, 141, 141],
        [116, 116, 100, 100, 148, 142, 148, 155, 148, 148, 148, 148],
        [131, 149, 142, 142, 135, 99, 103, 128, 103, 103, 103, 103],
    ],
    [
        [125, 19, 19, 19, 55, 70, 68, 40, 26, 31, 41, 103],
        [124, 26, 26, 26, 61, 71, 70, 49, 56, 58, 151, 95],
        [126, 64, 64, 65, 98, 97, 95, 95, 130, 127, 87, 89],
    ],
]
KEYS = st.integers(0, 2**32 - 1)


def picture(prompt, size=64, seed=0, index=0):
    """One picture that does what the prompt asks."""
    return draw_scenes([complete(parse(prompt), seed, index)], size, seed, index)[0]


def near(image, colour, reach=0.35):
    """Where the picture has that colour, about: (size, size) of bool."""
    return (image - torch.tensor(colour)[:, None, None]).norm(dim=0) < reach


# --- the same everywhere --------------------------------------------------------------------------------------------


def test_captions_and_scenes_are_those_of_every_machine():
    """A change here is a change of the data set: every model trained on it, and the reader, must be trained again."""
    scenes = [scene(seed, i, held_out) for seed in (0, 348) for held_out in (False, True) for i in range(250)]
    text = "\n".join(f"{caption(each, 7, i)}|{caption(each)}|{asked(each)}" for i, each in enumerate(scenes))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "d21b022f1c2d05ef3337f5847c34f299cff4feb6ece35a3bdba0f1ad311cce15"
    )


def test_pixels_are_those_of_every_machine_to_one_level():
    drawn = pictures(4, 32, seed=348).images.add(1).mul(127.5)
    assert_close(drawn[:, :, 5::9, 4::9], torch.tensor(PIXELS).float().view(4, 3, 3, 4), rtol=0, atol=1.01)


def test_a_picture_does_not_depend_on_what_was_drawn_before_it():
    together, alone = pictures(70, 16, seed=3), pictures(1, 16, seed=3, start=68)
    assert alone.captions == together.captions[68:69]
    assert alone.scenes == together.scenes[68:69]
    assert_close(alone.images, together.images[68:69], rtol=0, atol=1e-5)
    assert (pictures(1, 16, seed=4, start=68).images - alone.images).abs().max() > 0.1


def test_dice_are_fair_and_keyed():
    rng = KeyedDraws(1, 2, 3)
    values = torch.tensor([rng.uniform() for _ in range(3000)])
    assert abs(float(values.mean()) - 0.5) < 4 / (12 * 3000) ** 0.5
    counts = torch.bincount(torch.tensor([rng.pick(range(5)) for _ in range(5000)])).double()
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5  # chi-squared, 4 degrees of freedom, 99.9 %
    assert abs(sum(rng.chance(30) for _ in range(3000)) / 3000 - 0.3) < 4 * (0.21 / 3000) ** 0.5
    keys = [(1, 2, 3), (2, 1, 3), (1, 3, 2), (1, 2, 4), (1, 2, 0), (1, 0, 0)]
    assert len({KeyedDraws(*key).uniform() for key in keys}) == len(keys)
    with pytest.raises(ValueError, match="seed is a whole number from 0"):
        scene(-1, 0)


def test_sixty_four_pictures_are_one_draw_of_few_shapes(monkeypatch):
    """Time is shapes times pixels, so these are what is counted: one pass, fewer than 100 shapes for any picture."""
    seen = []

    def counting(parts, *rest, **more):
        seen.append(parts.mask.sum(1))
        return real(parts, *rest, **more)

    real = drawing.draw
    monkeypatch.setattr(drawing, "draw", counting)
    pictures(64, 32)
    assert [len(shapes) for shapes in seen] == [64]
    assert int(seen[0].max()) < 100
    assert float(seen[0].double().mean()) < 60


# --- scenes ---------------------------------------------------------------------------------------------------------


@given(seed=KEYS, index=KEYS, held_out=st.booleans())
@settings(max_examples=200, deadline=None)
def test_scenes_keep_the_rules_of_the_world(seed, index, held_out):
    made = scene(seed, index, held_out)
    assert 1 <= sum(group.count for group in made.groups) <= 4
    assert len({group.kind for group in made.groups}) == len(made.groups)
    assert (made.relation is None) == (len(made.groups) == 1)
    assert any((group.colour, group.kind) in HELD_OUT for group in made.groups) == held_out
    assert not (made.season == "winter" and any(group.colour == "white" for group in made.groups))
    assert (made.sky, made.light) not in {("day", "moon"), ("night", "sun")}
    assert all((group.species is not None) == (group.kind == "tree") for group in made.groups)


def test_every_value_of_every_attribute_is_common():
    """The rarest of each comes up in at least 5 % of the pictures; held-out pairs in none."""
    true = labels([scene(5, i) for i in range(4000)])
    for name, values in ATTRIBUTES.items():
        shares = torch.bincount(true[name], minlength=len(values)) / 4000
        unseen = {values.index(colour) for colour, kind in HELD_OUT if name == f"{kind}_colour"}
        assert {k for k, share in enumerate(shares) if share == 0} == unseen, name
        assert all(share > 0.05 for k, share in enumerate(shares) if k not in unseen), name


def test_held_out_pictures_show_every_unseen_pair_and_the_training_world_none():
    pairs = {(g.colour, g.kind) for i in range(300) for g in scene(0, i, held_out=True).groups}
    assert set(HELD_OUT) <= pairs
    text = " ".join(caption(scene(0, i)) for i in range(3000))
    assert not re.search(r"blue cat|purple house|white (\w+ )?tree", text)


def test_labels_are_what_the_scene_says():
    one = Scene(
        (Group(2, "", "orange", "cat"), Group(1, "tall", "red", "tree", "pine")), "left of", "night", "moon", "spring"
    )
    other = Scene((Group(3, "", "white", "house"), Group(1, "small", "green", "cat")), "above", "day", None, "autumn")
    true = labels([one, other])
    said = {name: [ATTRIBUTES[name][int(k)] for k in values] for name, values in true.items()}
    assert said == {
        "cat_count": ["2", "1"], "house_count": ["0", "3"], "tree_count": ["1", "0"],
        "cat_colour": ["orange", "green"], "house_colour": ["none", "white"], "tree_colour": ["red", "none"],
        "relation": ["left of", "below"], "sky": ["night", "day"], "light": ["moon", "none"],
        "season": ["spring", "autumn"], "species": ["pine", "none"],
    }  # fmt: skip


# --- captions -------------------------------------------------------------------------------------------------------


@given(seed=KEYS, index=KEYS, held_out=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_full_caption_can_be_read_back(seed, index, held_out):
    made = scene(seed, index, held_out)
    assert parse(caption(made)) == made


@given(seed=KEYS, index=KEYS, key=KEYS)
@settings(max_examples=300, deadline=None)
def test_a_caption_never_lies_and_always_names_its_groups(seed, index, key):
    made = scene(seed, index)
    text = caption(made, key, index)
    said = parse(text)
    assert set(text.split()) <= set(WORDS)
    assert asked(said).items() <= asked(made).items()
    assert [(g.count, g.colour, g.kind) for g in said.groups] == [(g.count, g.colour, g.kind) for g in made.groups]
    assert said.relation == made.relation
    assert all(a.size in ("", b.size) for a, b in zip(said.groups, made.groups, strict=True))


def test_captions_leave_things_out_as_often_as_not():
    said = [parse(caption(scene(1, i), 1, i)) for i in range(2000)]
    for share, low, high in (
        (sum(s.sky is not None for s in said) / 2000, 0.7, 0.8),
        (sum(s.season is not None for s in said) / 2000, 0.35, 0.45),
        (sum(s.light is not None for s in said) / 2000, 0.2, 0.4),
    ):
        assert low < share < high


@given(seed=KEYS, index=KEYS, wording=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_another_wording_never_lies_and_keeps_counts_kinds_and_relation(seed, index, wording):
    made = scene(seed, index)
    said = parse(caption(made, seed, index, wording))
    assert asked(said).items() <= asked(made).items()
    assert [(g.count, g.kind) for g in said.groups] == [(g.count, g.kind) for g in made.groups]
    assert said.relation == made.relation


def test_each_optional_part_is_left_out_of_a_share_of_the_other_wordings_by_itself():
    """Shares of those that could say it, and the pairs of parts as often together as chance has it."""
    pairs = [(made, parse(caption(made, 3, i, 1 + i % 3))) for i in range(3000) for made in [scene(3, i)]]
    first = [(made.groups[0], said.groups[0], made, said) for made, said in pairs]
    left_out = {
        "colour": [s.colour is None for _, s, _, _ in first],
        "size": [s.size == "" for g, s, _, _ in first if g.size],
        "species": [s.species is None for g, s, _, _ in first if g.species],
        "sky": [said.sky is None for _, _, _, said in first],
        "season": [said.season is None for _, _, _, said in first],
        "light": [said.light is None for _, _, made, said in first if made.light],
    }
    for name, missing in left_out.items():
        want = 1 - BRIEF[name] / 100
        assert abs(sum(missing) / len(missing) - want) < 4 * (want * (1 - want) / len(missing)) ** 0.5, name
    both = sum(said.groups[0].colour is None and said.sky is None for _, said in pairs) / 3000
    want = (1 - BRIEF["colour"] / 100) * (1 - BRIEF["sky"] / 100)
    assert abs(both - want) < 4 * (want * (1 - want) / 3000) ** 0.5


def test_the_shortest_wordings_come_up():
    left = {"a cat", "two cats", "three trees", "a tree", "a house"}
    for i in range(4000):
        drawn = scene(0, i)
        left -= {caption(drawn, 0, i, wording) for wording in (1, 2, 3)}
        if not left:
            break
    assert not left
    with pytest.raises(ValueError, match="wording is a whole number from 0, got -1"):
        caption(scene(0, 0), 0, 0, -1)


def test_words_are_the_whole_vocabulary_once():
    assert len(set(WORDS)) == len(WORDS)
    used = {word for i in range(3000) for word in caption(scene(2, i)).split()}
    assert used == set(WORDS)


def test_the_sentence_of_the_course_is_a_caption():
    prompt = parse("Two orange cats left of a tall red tree at night.")
    assert prompt == Scene((Group(2, "", "orange", "cat"), Group(1, "tall", "red", "tree")), "left of", "night")
    assert asked(prompt) == {
        "cat_count": 2, "house_count": 0, "tree_count": 1, "cat_colour": 2, "tree_colour": 1, "relation": 1, "sky": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a purpel cat", r'the word "purpel" is not known here; the nearest is "purple"'),
        ("a red dog", r'the word "dog" is not known here; the words are: a, an, two'),
        ("a purpel dog", 'the word "purpel" is .*"purple"; the word "dog" is not known here; the words are: a, an'),
        ("a red car", 'the word "car" is not known here; the words are'),
        ("tree", 'cannot read "tree" in "tree"; how many comes first'),
        ("a tall red", "say what it is: cat, house or tree"),
        ("a big white by day", "say what it is"),
        ("four red cats", 'the word "four" is not known here; there are a, two or three of a kind'),
        ("a red cat below a house", 'turn it round and say "above"'),
        ("a red cat; and a house", 'joined by "left of", "right of" or "above"'),
        (" . ", "the prompt is empty; say what to draw"),
        ("a red cat left of " * 8, "a caption has at most 24 words, this one has 40: say less"),
        ("red cat", 'cannot read "red cat" in "red cat"; how many comes first'),
        ("the red cat", "how many comes first"),
        ("a red tall tree", "the order is how many, size, colour, species"),
        ("two cat", "two goes with cats"),
        ("a red cats", "a goes with cat"),
        ("a tall red cat", "a cat is small or big"),
        ("a red oak house", "only trees have species"),
        ("a red cat left of a blue cat", "different kinds"),
        ("three red cats above two blue houses", "5 things are too many"),
        ("a red cat at night under the sun", "no sun in this sky"),
        ("a red cat by day under the moon", "no moon in this sky"),
        ("a red cat at night in winter", 'cannot read "at night in winter" .*, in this order: in winter, at night'),
        ("a red cat left of a house above a tree", 'cannot read "above a tree" .* at most two groups'),
        ("a cat left of", 'cannot read "left of" .* a group of things is missing after "left of"'),
        ("a tree above", 'a group of things is missing after "above"'),
        ("a tree left a cat", 'cannot read "left a cat" .*; say "left of"'),
        ("a cat red", "the order is how many, size, colour, species"),
        ("a cat small left of a tree", "the order is how many, size, colour, species"),
        ("a cat night", 'cannot read "night" .*after the things come'),
    ],
)
def test_prompts_that_cannot_be_are_told_so(text, says):
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_a_prompt_is_completed_with_what_it_asks_for():
    prompt = parse("a house above two trees under the moon")
    for index in range(50):
        full = complete(prompt, seed=1, index=index)
        assert asked(prompt).items() <= asked(full).items()
        assert full.sky in ("dusk", "night")
        assert labels([full])["house_colour"] > 0
    with pytest.raises(ValueError, match="no moon in the sky by day"):
        complete(prompt._replace(sky="day"))


def test_prompts_with_gaps_are_not_drawn():
    for prompt in ("a red cat", "a tree in winter at night"):
        with pytest.raises(ValueError, match="prompt with gaps"):
            labels([parse(prompt)])
        with pytest.raises(ValueError, match="prompt with gaps"):
            draw_scenes([parse(prompt)])


# --- drawings agree with labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 32, 64])
def test_pictures_are_rgb_in_range(size):
    drawn = pictures(3, size)
    assert drawn.images.shape == (3, 3, size, size)
    assert drawn.images.dtype == torch.float32
    assert drawn.images.abs().max() <= 1
    assert drawn.images.std() > 0.2
    assert pictures(0, size).images.shape == (0, 3, size, size)


def test_sizes_show_the_same_picture():
    fine, middle, coarse = (pictures(40, size, seed=6).images for size in (64, 32, 16))
    for small, large in ((middle, fine), (coarse, middle)):
        assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.04


@pytest.mark.parametrize("kind", ["cat", "house", "tree"])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_colour_asked_for_is_the_colour_that_is_drawn(kind, colour):
    """Of all paints, the one asked for covers most: measured beside the same scene with its things in another paint."""
    for index, sky in enumerate(("by day", "at dusk", "at night")):
        image = picture(f"a {colour} {kind} in summer {sky}", index=index)
        other = picture(f"a {'red' if colour != 'red' else 'blue'} {kind} in summer {sky}", index=index)
        gained = {name: int(near(image, paint).sum()) - int(near(other, paint).sum()) for name, paint in THINGS.items()}
        assert max(gained, key=gained.__getitem__) == colour
        assert gained[colour] > 60  # of 4,096 pixels


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["poplar tree", "house"])
def test_as_many_things_as_asked_for_stand_apart(count, kind):
    for index in range(8):
        words = {1: "a", 2: "two", 3: "three"}[count]
        image = picture(f"{words} red {kind}{'s' if count > 1 else ''} in summer by day", index=index)
        bodies = ndimage.label((image[0] - image[1:].amax(0) > 0.35).numpy(), structure=torch.ones(3, 3))[0]
        sizes = torch.bincount(torch.from_numpy(bodies).flatten())[1:]
        assert int((sizes > 30).sum()) == count


@pytest.mark.parametrize("relation", ["left of", "right of", "above"])
def test_relations_can_be_seen(relation):
    """Centres of mass of the two colours."""
    for index in range(12):
        image = picture(f"a red house {relation} two purple poplar trees in summer by day", index=index)
        first, second = ((near(image, THINGS[c], 0.5)).nonzero().double().mean(0) for c in ("red", "purple"))
        down, across = (second - first).tolist()
        assert {"left of": across, "right of": -across, "above": down}[relation] > 12  # of 64 pixels


def test_day_dusk_and_night_are_plainly_different():
    drawn = pictures(300, 16, seed=8)
    top = drawn.images[:, :, :4].mean(dim=(2, 3))
    sky = labels(drawn.scenes)["sky"]
    typical = torch.stack([top[sky == k].mean(0) for k in range(3)])
    assert_close((top[:, None] - typical).norm(dim=2).argmin(1), sky)


def test_a_sun_is_never_hidden_and_never_invented():
    drawn = pictures(300, 32, seed=9)
    yellow = [int(near(image[:, :22], SUN, 0.3).sum()) for image in drawn.images]
    light = labels(drawn.scenes)["light"].tolist()
    assert min(n for n, lit in zip(yellow, light, strict=True) if lit == 1) >= 8


def test_groups_stand_as_their_relation_says_and_inside_the_picture():
    for i in range(400):
        made = scene(11, i)
        things = arrange(made, KeyedDraws(11, i, 3))
        assert len(things) == sum(group.count for group in made.groups)
        assert all(abs(t.at[0]) + t.width / 2 < 1.001 and t.at[1] > -1 and t.at[1] + t.height < 1 for t in things)
        if made.relation:
            first, second = ([t for t in things if t.group == group] for group in made.groups)
            if made.relation == "right of":
                first, second = second, first
            if made.relation == "above":
                gap = min(t.at[1] for t in first) - max(t.at[1] + t.height for t in second)
            else:
                gap = min(t.at[0] - t.width / 2 for t in second) - max(t.at[0] + t.width / 2 for t in first)
            assert gap > (-0.1 if made.relation == "above" else 0.2)


def test_sizes_are_drawn_as_said():
    def height(size, kind):
        things = arrange(complete(parse(f"a {size} red {kind} by day")), KeyedDraws(0, 0, 3))
        return things[0].height

    for kind, large in (("cat", "big"), ("house", "big"), ("tree", "tall")):
        assert height("small", kind) * 1.2 < height("", kind) < height(large, kind) / 1.2


# --- a folder -------------------------------------------------------------------------------------------------------


def test_a_folder_holds_what_was_drawn(tmp_path):
    folder = write_folder(tmp_path / "new" / "pictures", 5, 16, seed=2)
    rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    drawn = pictures(5, 16, seed=2)
    assert [row["caption"] for row in rows] == drawn.captions
    assert [[Group(**group) for group in row["groups"]] for row in rows] == [list(s.groups) for s in drawn.scenes]
    for row, image, true in zip(rows, drawn.images, drawn.scenes, strict=True):
        with Image.open(folder / row["file"]) as stored:
            pixels = torch.from_numpy(np.array(stored)).permute(2, 0, 1)
        assert_close(pixels / 127.5 - 1, image, rtol=0, atol=0.51 / 127.5)
        assert {name: ATTRIBUTES[name].index(value) for name, value in row["attributes"].items()} == asked(true)


def test_the_folder_can_be_loaded_again(tmp_path):
    images, captions = load_folder(write_folder(tmp_path / "drawn", 3, 32, seed=2), size=32)
    drawn = pictures(3, 32, seed=2)
    assert captions == drawn.captions
    assert_close(images, drawn.images, rtol=0, atol=0.51 / 127.5)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a cat", "line 2: expected"),
        ('{"file": "000000.png"}', "line 2: expected"),
        ('["x"]', "line 2: expected"),
        ('{"file": "cat.png", "caption": ""}', "line 2: there is no image 'cat.png'"),
    ],
)
def test_broken_lines_of_captions_are_named(tmp_path, line, says):
    folder = write_folder(tmp_path / "drawn", 1, 16)
    with (folder / "captions.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=says):
        load_folder(folder, size=16)


def command(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["cs348k", "pictures", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, "".join(capsys.readouterr())


def test_the_command_writes_a_folder_once(monkeypatch, capsys, tmp_path):
    words = ("--n", 2, "--size", 16, "--out", tmp_path / "drawn", "--held-out")
    assert command(monkeypatch, capsys, *words)[0] == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"000000.png", "000001.png", "captions.jsonl"}
    status, said = command(monkeypatch, capsys, *words)
    assert status == 2
    assert "is not empty: name a new folder" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", 48], "16, 32 or 64 pixels"),
        (["--n", 0], "--n"),
        (["--seed", 2**32], "2^32"),
        (["--seed", -1], "--seed"),
    ],
)
def test_the_command_says_what_is_wrong_and_leaves_nothing(monkeypatch, capsys, tmp_path, words, says):
    status, said = command(monkeypatch, capsys, *words, "--out", tmp_path / "none")
    assert status == 2
    assert says in said
    assert not (tmp_path / "none").exists()


def test_a_file_in_the_way_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    status, said = command(monkeypatch, capsys, "--n", 1, "--out", tmp_path / "taken")
    assert status == 2
    assert "taken" in said
