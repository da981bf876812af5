"""The stored result of notebook 09: its words follow from its intervals, and it is about the weights that ship."""

from cs348k_diffusion import recipes
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.claim import word_of
from cs348k_diffusion.metrics.intervals import Interval


def test_every_word_follows_from_its_interval():
    claims = result("superresolution")["claims"]
    assert {one["id"] for one in claims} == {f"S{k}" for k in range(1, 8)}
    for one in claims:
        low, high = one["interval_95"]
        assert low <= one["value"] <= high
        assert one["word"] == word_of(Interval(one["value"], low, high), one["threshold"]), one


def test_it_is_about_the_weights_that_ship():
    for name, digest in result("superresolution")["weights_sha256"].items():
        assert recipes.card(name)["sha256"] == digest
