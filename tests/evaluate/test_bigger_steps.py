"""The stored result of notebook 10: whole on every seed, about the weights that ship, and read as it is written."""

from collections import Counter

import pytest

from cs348k_diffusion import recipes
from cs348k_diffusion.evaluate import registry, result
from cs348k_diffusion.evaluate.claims import bigger_steps as claims
from cs348k_diffusion.evaluate.studies import bigger_steps

CARD = result("bigger_steps")


def test_it_is_about_the_weights_that_ship():
    for name, digest in CARD["weights_sha256"].items():
        assert recipes.card(name)["sha256"] == digest


def test_every_seed_has_every_way_once():
    def ways(seed):
        rows = [row for row in CARD["runs"] if row["seed"] == seed]
        return Counter((r["part"], r.get("method"), r.get("evaluations"), r.get("scale")) for r in rows)

    first = ways(0)
    assert set(first.values()) == {1}
    assert {row["seed"] for row in CARD["runs"]} == set(range(CARD["settings"]["seeds"]))
    assert all(ways(seed) == first for seed in range(CARD["settings"]["seeds"]))
    drawn = {(method, n, scale) for method, n, scale, _ in bigger_steps.picture_ways()}
    assert drawn == {way[1:] for way in first if way[0] == "pictures"}


def test_a_claim_reads_the_rows_of_its_seed():
    (row,) = [
        row for row in CARD["runs"]
        if (row["seed"], row["part"], row.get("method"), row.get("evaluations")) == (2, "digits", "student", 4)
    ]  # fmt: skip
    assert claims.digits(2, "student", 4)["FD"] == row["fd"]
    ratios = [
        claims.digits(1, "student", n)["distance"] / claims.digits(1, "DDIM", n)["distance"] for n in (1, 2, 4, 8)
    ]
    assert claims.nearness(1)["largest ratio"] == max(ratios)
    with pytest.raises(ValueError, match="unpack"):
        claims.digits(0, "student", 3)


def test_distances_stand_above_their_floor():
    """Eight true Gaussians drawn again are nearer to the data than any sampler, up to the noise of three seeds."""
    assert {claim.id for claim in registry.chosen(["T"])} >= {"T1a", "T2", "T3", "T4", "T6", "T7", "T8a", "T8b"}
    for seed in range(CARD["settings"]["seeds"]):
        floor = claims.densities(seed, "true points")["distance"]
        assert floor < claims.densities(seed, "teacher, 4 steps")["distance"]


def test_a_seed_that_is_kept_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(bigger_steps, "of_digits", lambda seed: iter([{"part": "digits", "fd": 0.123456789}]))
    for name in ("by_prediction", "by_density", "of_pictures"):
        monkeypatch.setattr(bigger_steps, name, lambda seed: iter([]))
    first = bigger_steps.of_seed(4, tmp_path)
    assert first == [{"seed": 4, "part": "digits", "fd": 0.12346}]
    monkeypatch.setattr(bigger_steps, "of_digits", lambda seed: pytest.fail("run again"))
    assert bigger_steps.of_seed(4, tmp_path) == first
