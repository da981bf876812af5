"""Prompts worded as people write them: which they are, what is counted, and what the cards of both models say."""

import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import COLOURS
from cs348k_diffusion.metrics.intervals import wilson
from cs348k_diffusion.recipes import pictures


def said_by(texts):
    """Prompts that say a colour are not satisfied, for a test of the parts."""
    return {"all": torch.tensor([float(not any(colour in text for colour in COLOURS)) for text in texts])}


def test_prompts_as_people_write_them_are_of_every_length_and_counted_by_what_they_say():
    prompts = pictures.written_prompts(4)
    lengths = [pictures.length_of(text) for text in prompts]
    assert lengths == [length for length in pictures.LENGTHS for _ in range(4)]
    assert [len(text.split()) for text in prompts[:4]] == [2] * 4
    parts = pictures.as_written(lambda texts: torch.zeros(len(texts)), lambda texts, images: said_by(texts), each=4)
    assert {part: sum(one["n"] for one in shares.values()) for part, shares in parts.items()} == dict.fromkeys(
        ("words", "groups", "colour", "size", "sky"), 24
    )
    assert parts["colour"]["said"]["share"] == 0 and parts["colour"]["left out"]["share"] == 1
    assert parts["words"]["2"]["share"] == 1 and parts["words"]["13 and more"]["share"] == 0
    relations = sum(" of " in text or " above " in text for text in prompts)
    assert parts["groups"]["two"]["n"] == relations


@pytest.mark.parametrize("name", ["pictures", "pictures_64"])
def test_the_cards_say_what_becomes_of_prompts_as_people_write_them(name):
    """Shares and intervals of whole counts, of the same 600 prompts in every part; two words are heard."""
    parts = recipes.card(name)["metrics"]["as_written"]
    assert set(parts) == {"words", "groups", "colour", "size", "sky"}
    assert list(parts["words"]) == list(pictures.LENGTHS)
    assert {one["n"] for one in parts["words"].values()} == {pictures.WRITTEN_EACH}
    counted = {
        part: [(round(one["share"] * one["n"]), one["n"]) for one in rows.values()] for part, rows in parts.items()
    }
    assert len({tuple(map(sum, zip(*rows))) for rows in counted.values()}) == 1, "each part is of all prompts"
    for part, rows in parts.items():
        for (hits, n), one in zip(counted[part], rows.values(), strict=True):
            assert one["share"] == pytest.approx(hits / n, abs=1e-4)
            assert one["interval_95"] == pytest.approx(wilson(hits, n).ends, abs=1e-4)
    assert parts["words"]["2"]["share"] > 0.9
