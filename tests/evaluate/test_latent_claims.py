"""The study behind L1 to L5: whole, resumable, the same for the same seed, and read as it is stored."""

import json
import math

import pytest

from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.claims import latent as claims
from cs348k_diffusion.evaluate.studies import latent_claims as study


def test_the_card_has_every_run_and_its_floors():
    card = result("latent_claims")
    asked = {(f, seed, budget) for f in study.NETS for seed in study.SEEDS for budget in study.BUDGETS}
    runs = {(run["f"], run["seed"], run["budget"]): run for run in card["runs"]}
    assert set(runs) == asked and len(card["runs"]) == len(asked)
    assert all(run["updates"] == round(run["budget"] * study.RATES[run["f"]]) for run in card["runs"])
    alone = {row["f"]: row["fd"] for row in card["reconstructed"]}
    assert list(alone) == list(study.NETS)
    assert all(run["fd"] > card["true_pictures"]["fd"] for run in card["runs"])


def test_the_experiments_read_the_card():
    runs = [run for run in result("latent_claims")["runs"] if (run["seed"], run["budget"]) == (1, 9)]
    nearest = min(runs, key=lambda run: run["fd"])["f"]
    assert claims.best_f(1, 9)["log2 of the best f by FD"] == math.log2(nearest)
    one = next(run for run in runs if run["f"] == 4)
    assert claims.at_budget(1, 4, 9)["log10 FD"] == pytest.approx(math.log10(one["fd"]))
    assert claims.speed_up(2, 1)["speed-up / f^2"] == 1


def test_a_finished_run_is_read_and_not_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return [{"fd": 1.5}]

    for _ in range(2):
        assert study.finished(tmp_path / "work" / "run_4_0.json", make) == [{"fd": 1.5}]
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["run_4_0.json"]


def test_a_run_is_the_same_for_the_same_seed(monkeypatch):
    for name, value in {"TRAIN_SIZE": 32, "EVAL_SIZE": 16, "CALLS": 2, "BUDGETS": (1, 2), "RATES": {8: 2.0}}.items():
        monkeypatch.setattr(study, name, value)
    for cached in (study.drawn, study.true_pictures, study.codec_of):
        cached.cache_clear()
    first, again, other = (study.trained(8, seed) for seed in (1, 1, 2))
    for cached in (study.drawn, study.true_pictures, study.codec_of):
        cached.cache_clear()
    assert [row["updates"] for row in first] == [2, 4]
    assert [row["fd"] for row in first] == [row["fd"] for row in again] != [row["fd"] for row in other]
    assert json.dumps(first)


def test_the_linear_error_falls_with_d_and_rises_with_f():
    errors = [claims.linear_error(0, f, d)["log10 of the error"] for f, d in ((2, 4), (4, 8), (4, 4), (8, 4))]
    assert errors == sorted(errors)
