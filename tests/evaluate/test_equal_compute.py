"""The study behind S7: equal cost in training and in drawing, resumable, and read as it is stored."""

from collections import Counter

import pytest
import torch

from cs348k_diffusion import recipes
from cs348k_diffusion.evaluate import registry, result
from cs348k_diffusion.evaluate.studies import equal_compute as study
from cs348k_diffusion.recipes.stages import half_width

READ = [claim for claim in registry.every_claim().values() if claim.card == "equal_compute"]


def test_every_way_spends_the_same_on_training():
    """Less than an update of each part is left over."""
    for budget in study.BUDGETS:
        for parts in half_width.WAYS.values():
            costs = {part: 3 * half_width.BATCH * study.cost_of(part) for part in parts}
            spent = sum(study.updates_of(part, budget) * cost for part, cost in costs.items())
            assert budget * 1e12 - sum(costs.values()) < spent <= budget * 1e12
    assert all(sum(half_width.PARTS[part].share for part in parts) == 1 for parts in half_width.WAYS.values())


def test_every_way_spends_the_same_on_a_picture():
    """Less than a step is left over; a guided step is two evaluations."""
    for way, parts in half_width.WAYS.items():
        other = {"codes": study.decoder_cost(), "cascade": study.cost_of("upsampler")}.get(way, 0)
        step = 2 * study.cost_of(parts[0])
        spent = study.steps_of(way) * step + other
        assert study.sampling_cost() - step < spent <= study.sampling_cost()


def test_a_draw_evaluates_as_often_as_is_counted(tmp_path, small_world):
    """Guidance evaluates twice a step."""
    train_all(tmp_path)
    for way, parts in half_width.WAYS.items():
        drawn, counts = study.pipeline(tmp_path, way, 1.0), Counter()

        def count(net, inputs, counts=counts):
            counts[type(net).__name__] += len(inputs[0])

        nets = [study.trained(tmp_path, part, 1.0).net for part in parts]
        hooks = [net.register_forward_pre_hook(count) for net in nets]
        assert drawn.images(["a cat"], seed=1).shape == (1, 3, 64, 64)
        for hook in hooks:
            hook.remove()
        assert counts["TextUNet"] == 2 * drawn.steps
        assert counts["UpsamplerUNet"] == (way == "cascade")


def train_all(folder):
    for part in half_width.PARTS:
        half_width.train(folder, part, study.updates_of(part, 1.0))


@pytest.fixture
def small_world(monkeypatch):
    """A world of sixteen pictures, and two updates a part."""
    monkeypatch.setattr(half_width, "TRAIN_SIZE", 16)
    monkeypatch.setattr(half_width, "BATCH", 4)
    monkeypatch.setattr(study, "updates_of", lambda part, budget: int(2 * budget))
    monkeypatch.setattr(study, "STEPS", 2)
    cached = (half_width.drawn, half_width.trained, study.sampling_cost)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


@pytest.mark.parametrize("part", ["small", "upsampler"])
def test_a_training_goes_on_where_it_was_killed(tmp_path, small_world, part):
    """In two sittings it ends with the weights of one, and what is finished is not trained again."""
    half_width.train(tmp_path / "one", part, 4)
    for updates in (2, 4, 4):
        half_width.train(tmp_path / "two", part, updates)
    here, there = (half_width.trained(tmp_path / name, part, 4).state_dict() for name in ("one", "two"))
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert half_width.seconds_of(tmp_path / "two", part, 4) > half_width.seconds_of(tmp_path / "two", part, 2)


def test_the_card_has_every_run_at_equal_cost():
    card = result("equal_compute")
    compared = {(run["way"], run["budget"]) for run in card["runs"]}
    assert compared == {(way, budget) for way in half_width.WAYS for budget in study.BUDGETS}
    for run in card["runs"]:
        assert len(run["sets"]) == study.SETS
        assert run["steps"] == study.steps_of(run["way"])
        assert run["updates"] == {part: study.updates_of(part, run["budget"]) for part in half_width.WAYS[run["way"]]}
        assert run["adherence"]["all"]["n"] == study.SETS * study.N
    for name, digest in card["weights_sha256"].items():
        assert recipes.card(name)["sha256"] == digest


def test_true_pictures_are_nearer_than_anything_drawn():
    """To others, that is: their distance is the floor. Their adherence to prompts of others is chance."""
    card = result("equal_compute")
    floor = card["other_true_pictures"]
    for metric in ("fd", "texture"):
        nearest = min(one[metric] for run in card["runs"] for one in run["sets"])
        assert max(one[metric] for one in floor["sets"]) < nearest
    assert floor["adherence"]["all"]["share"] < 0.05


@pytest.mark.parametrize("claim", READ, ids=lambda claim: claim.id)
def test_every_claim_reads_its_stored_values(claim):
    found = registry.run_claim(claim, quiet=True)
    assert found.results is not None
    assert len(found.results.values(claim.metric, claim.proposed)) == study.SETS == claim.seeds
    assert str(found.verdict) == str(registry.replayed(claim).verdict)
