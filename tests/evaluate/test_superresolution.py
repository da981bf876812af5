"""The stored result of notebook 09: every setting in every seed, and it is about the weights that ship."""

import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.evaluate import registry, result
from cs348k_diffusion.evaluate.studies import superresolution as study


def test_it_is_about_the_weights_that_ship():
    for name, digest in result("superresolution")["weights_sha256"].items():
        assert recipes.card(name)["sha256"] == digest


READ = [claim for claim in registry.every_claim().values() if claim.card == "superresolution"]


@pytest.mark.parametrize("claim", READ, ids=lambda claim: claim.id)
def test_every_claim_finds_a_row_in_every_seed(claim):
    """And its stored values are the card's."""
    found = registry.run_claim(claim, quiet=True)
    assert found.results is not None
    assert len(found.results.values(claim.metric, claim.proposed)) == study.SEEDS
    assert str(found.verdict) == str(registry.replayed(claim).verdict)


def test_the_splits_cost_nearly_the_same():
    rows = [row for row in result("superresolution")["runs"] if row["part"] == "allocation"]
    costs = [row["gigaflops"] for row in rows]
    assert len(rows) == study.SEEDS * len(study.SPLITS)
    assert max(costs) < 1.02 * min(costs)


METHODS = ("bicubic", "regression", "one draw", "mean of 4 draws")


def test_every_way_has_every_metric_and_the_floors_of_true_pictures():
    """A distance of textures in every seed, and one two-sample test of all seeds' pictures; true ones pass it."""
    card = result("superresolution")
    for name, part in [*((method, "method") for method in METHODS), ("true pictures", "true pictures")]:
        rows = [row for row in card["runs"] if row["part"] == part and row.get("method", part) == name]
        assert [row["seed"] for row in rows] == list(range(study.SEEDS))
        assert all({"fd", "texture", "agreement"} <= set(row) and row["texture"] > 0 for row in rows)
    told = card["two_sample"]
    assert tuple(told) == (*METHODS, "true pictures")
    for name, found in told.items():
        assert found["n"] == study.SEEDS * study.N == 800
        low, high = found["interval_95"]
        assert low <= found["accuracy"] <= high, name
    assert told["true pictures"]["interval_95"][0] < 0.5 < told["true pictures"]["interval_95"][1]


def test_every_way_is_told_from_other_true_pictures(monkeypatch):
    monkeypatch.setattr(study, "two_sample_accuracy", lambda true, drawn: (float(true), float(drawn)))
    images = {"bicubic": torch.tensor(1.0), "true pictures": torch.tensor(2.0), study.OTHERS: torch.tensor(3.0)}
    assert study.told_apart(images) == {"bicubic": (3.0, 1.0), "true pictures": (3.0, 2.0)}


def test_an_unknown_letter_is_refused_by_name():
    with pytest.raises(ValueError, match="MEDGASLT, a number and perhaps a letter, not 'X1'"):
        registry._place("X1")
