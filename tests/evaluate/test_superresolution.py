"""The stored result of notebook 09: every setting in every seed, and it is about the weights that ship."""

import pytest

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


def test_an_unknown_letter_is_refused_by_name():
    with pytest.raises(ValueError, match="MEDGASLT, a number and perhaps a letter, not 'X1'"):
        registry._place("X1")
