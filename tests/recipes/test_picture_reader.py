"""The reader of pictures reads as well as its card says, and adherence counts what a prompt asked for and no more."""

from math import isnan

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import ATTRIBUTES, complete, draw_scenes, labels, parse, pictures, scene
from cs348k_diffusion.data.pictures.splits import READER
from cs348k_diffusion.metrics import frechet
from cs348k_diffusion.nets import AttributeReader
from cs348k_diffusion.recipes import adherence, balanced_accuracy, read_attributes
from cs348k_diffusion.recipes.classifiers.picture_reader import augment, library, reader

FRESH = 77  # a world that nobody was trained on


@pytest.fixture(scope="module")
def reader_of_pictures():
    return recipes.features("pictures")


@pytest.fixture(scope="module")
def fresh():
    """1,200 pictures, a quarter with held-out pairs, and their labels."""
    images, true = library(1200, FRESH)
    return images.float() / 127.5 - 1, true


# --- what ships -----------------------------------------------------------------------------------------------------


def test_the_card_promises_98_percent_of_the_worst_attribute():
    metrics = recipes.card("picture_reader")["metrics"]
    assert set(metrics["balanced_accuracy"]) == set(ATTRIBUTES)
    assert metrics["worst_clean"] == min(metrics["balanced_accuracy"].values()) >= 0.98
    assert metrics["worst_augmented"] == min(metrics["augmented"].values()) >= 0.97


@pytest.mark.parametrize("way", ["clean", "augmented"])
def test_the_reader_reads_as_well_as_its_card_says(reader_of_pictures, fresh, way):
    """Balanced accuracy p over k values of at least 5 % of 1,200 pictures: 4 binomial deviations below the card's."""
    images, true = fresh
    images = images if way == "clean" else augment(images, torch.Generator().manual_seed(1))
    read = read_attributes(reader_of_pictures, images)
    card = recipes.card("picture_reader")["metrics"]["balanced_accuracy" if way == "clean" else way]
    for name, values in true.items():
        counts = torch.bincount(values, minlength=len(ATTRIBUTES[name])).double()
        p = max(0.5, min(card[name], 1 - 1 / 1200))
        error = (p * (1 - p) * (1 / counts[counts > 0]).sum()) ** 0.5 / int((counts > 0).sum())
        assert balanced_accuracy(read[name], values) > card[name] - 4 * float(error) - 0.005, name


def test_the_reader_reads_held_out_pairs(reader_of_pictures):
    drawn = pictures(200, 32, FRESH, held_out=True)
    met = adherence(drawn.scenes, read_attributes(reader_of_pictures, drawn.images))
    assert float(met["colour"].mean()) > 0.97


def test_the_reader_is_frozen_and_small(reader_of_pictures):
    assert not any(parameter.requires_grad for parameter in reader_of_pictures.parameters())
    assert (recipes.cards.WEIGHTS_DIR / "picture_reader.safetensors").stat().st_size < 2e6
    assert not recipes.load("picture_reader").training


def test_features_know_real_pictures_from_grey_ones(reader_of_pictures):
    """The Frechet distance of two real draws is small beside that to the same pictures with their colour taken away."""
    real, again = (pictures(400, 32, FRESH, start).images for start in (0, 400))
    grey = again.mean(1, keepdim=True).expand_as(again)
    features = [reader_of_pictures.features(x) for x in (real, again, grey)]
    assert features[0].shape == (400, 128)
    assert frechet(features[0], features[2]) > 10 * frechet(features[0], features[1])


# --- reading --------------------------------------------------------------------------------------


def test_reading_is_for_one_size(reader_of_pictures):
    with pytest.raises(ValueError, match="32 x 32 pixels"):
        reader_of_pictures(torch.zeros(1, 3, 64, 64))


def test_a_reader_can_be_built_for_other_attributes_and_sizes():
    out = AttributeReader({"a": 2, "b": 5}, size=16, width=8, hidden=16)(torch.zeros(3, 3, 16, 16))
    assert {name: tuple(logits.shape) for name, logits in out.items()} == {"a": (3, 2), "b": (3, 5)}


def test_values_out_of_range_are_read_as_the_nearest_in_range(reader_of_pictures):
    x = pictures(8, 32, FRESH).images
    for name, values in read_attributes(reader_of_pictures, x.clamp(-1, 1)).items():
        assert_close(read_attributes(reader_of_pictures, torch.where(x > 0.9, x + 3, x))[name].shape, values.shape)
    bright = torch.where(x > 0.99, 5.0, x)
    assert_close(read_attributes(reader_of_pictures, bright), read_attributes(reader_of_pictures, bright.clamp(-1, 1)))


def test_augmented_pictures_are_the_same_pictures(fresh):
    x = fresh[0][:64]
    bad = augment(x, torch.Generator().manual_seed(0))
    assert bad.shape == x.shape
    assert 0.02 < float((bad - x).abs().mean()) < 0.3
    assert_close(bad, augment(x, torch.Generator().manual_seed(0)))


def test_training_looks_at_the_pictures():
    """After sixty updates the loss is below the entropy of the labels, the best there is without looking."""
    torch.manual_seed(0)
    recipe = recipes.RECIPES["picture_reader"]
    losses = [progress.loss for progress in recipe.training(reader(), 60, 16, torch.Generator().manual_seed(0))]
    shares = [torch.bincount(values) / len(values) for values in library(960, READER.training)[1].values()]
    assert sum(losses[-10:]) / 10 < sum(float(torch.special.entr(share).sum()) for share in shares) - 0.5


# --- adherence ------------------------------------------------------------------------------------------------------


def one(prompt, shown):
    return {name: float(value) for name, value in adherence([parse(prompt)], shown).items()}


@pytest.fixture
def shown():
    """Two orange cats left of a red pine in summer by day under the sun, as labels."""
    return labels([parse("two orange cats left of a red pine tree in summer by day under the sun")])


def test_what_was_asked_for_and_is_there_counts(shown):
    met = one("two orange cats left of a red pine tree in summer by day under the sun", shown)
    assert set(met) == {"object", "count", "colour", "relation", "sky", "light", "season", "species", "all"}
    assert set(met.values()) == {1.0}


def test_what_was_not_asked_for_does_not_count(shown):
    met = one("two orange cats left of a red tree", shown)
    assert [name for name, value in met.items() if isnan(value)] == ["sky", "light", "season", "species"]
    assert met["all"] == 1


@pytest.mark.parametrize(
    ("prompt", "wrong"),
    [
        ("three orange cats left of a red tree", {"count"}),
        ("two green cats left of a red tree", {"colour"}),
        ("two red cats left of an orange tree", {"colour"}),
        ("two orange cats right of a red tree", {"relation"}),
        ("a red tree left of two orange cats", {"relation"}),
        ("two orange cats left of a red house", {"object", "count", "colour", "relation"}),
        ("two orange cats", {"object", "count"}),
        ("two orange cats left of a red tree at night", {"sky"}),
        ("two orange cats left of a red tree at dusk under the moon", {"sky", "light"}),
        ("two orange cats left of a red oak tree in winter", {"season", "species"}),
    ],
)
def test_each_mistake_counts_where_it_belongs(shown, prompt, wrong):
    met = one(prompt, shown)
    assert {name for name, value in met.items() if value == 0} == wrong | {"all"}


def test_the_other_way_round_is_the_same_relation(shown):
    assert one("a red tree right of two orange cats", shown)["relation"] == 1


def test_every_scene_adheres_to_itself():
    scenes = [scene(4, i) for i in range(300)]
    assert adherence(scenes, labels(scenes))["all"].min() == 1
    shuffled = adherence(scenes[1:] + scenes[:1], labels(scenes))
    assert shuffled["all"].mean() < 0.05
    with pytest.raises(ValueError, match="one prompt for each picture"):
        adherence(scenes[1:], labels(scenes))


def test_balanced_accuracy_is_no_reward_for_the_commonest_answer():
    true = torch.tensor([0] * 90 + [1] * 10)
    assert balanced_accuracy(torch.zeros(100, dtype=torch.long), true) == pytest.approx(0.5)
    assert balanced_accuracy(true, true) == 1
    assert balanced_accuracy(1 - true, true) == 0


def test_the_reader_reads_a_prompt_of_ones_own(reader_of_pictures):
    """The course's sentence, drawn twenty times."""
    prompt = parse("two orange cats left of a tall red tree at night")
    images = draw_scenes([complete(prompt, 1, i) for i in range(20)], 32, seed=1)
    assert float(adherence([prompt] * 20, read_attributes(reader_of_pictures, images))["all"].mean()) >= 0.9
