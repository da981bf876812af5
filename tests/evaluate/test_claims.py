"""The course's claims: well formed, stored, in README as stored; and a handful run again, others on other days."""

import datetime
import functools
import importlib
import inspect
import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cs348k_diffusion.commands import claims as command
from cs348k_diffusion.evaluate import registry, result
from cs348k_diffusion.evaluate.claim import WORDS, label
from cs348k_diffusion.evaluate.report import table_of_claims
from cs348k_diffusion.evaluate.study import function_of

ROOT = Path(__file__).parents[2]
EVERY = registry.every_claim()
FAST = [id for id, claim in EVERY.items() if claim.card or registry.replayed(claim).seconds < 2]
CHOSEN = random.Random(datetime.date.today().toordinal()).sample(FAST, 5)


@pytest.mark.parametrize("claim", EVERY.values(), ids=EVERY.keys())
def test_a_claim_is_whole(claim):
    assert len(claim.idea) <= 120 and claim.source
    assert claim.expected in WORDS
    assert not re.search(r"\b(fd|kid|psnr|ssim)\b", claim.metric), "an abbreviation has capitals in sentences"
    assert claim.seeds >= 3
    assert callable(function_of(claim.experiment))
    assert list((ROOT / "solutions").glob(f"{claim.notebook}_*.ipynb"))
    settings = [label(levels) for levels in claim.settings()]
    assert len(set(settings)) == len(settings)
    assert {label(levels) for levels in (claim.proposed, *claim.alternatives)} <= set(settings)
    assert not claim.remark or (not claim.remark[0].islower() and claim.remark.endswith("."))


@pytest.mark.parametrize("claim", EVERY.values(), ids=EVERY.keys())
def test_a_claim_says_how_it_was_tuned(claim):
    """Tuned here, by so many tries of each; or by the study behind its card, which says so; or not at all."""
    stored = json.loads(registry.STORED.read_text("utf-8"))["claims"][claim.id]
    if claim.tries:
        assert claim.trials == len(claim.tries) >= 2 and not claim.card and claim.alternatives
        for levels, given in zip(stored["tuned"], (claim.proposed, *claim.alternatives), strict=True):
            assert levels in [{**given, **tried} for tried in claim.tries]
    else:
        assert "tuned" not in stored
        words = {9: "nine trials for each policy"}
        said = result(claim.card).get("tuning", "") if claim.card else ""
        assert words[claim.trials] in said if claim.trials else not said


def test_some_claim_of_the_course_is_tuned_and_some_show_their_parts():
    assert any(claim.tries for claim in EVERY.values())
    shown = {id for id, claim in EVERY.items() if registry.replayed(claim).verdict.parts}
    assert shown == {id for id, claim in EVERY.items() if len(claim.factors) > 1} >= {"M2", "S6a", "S6b"}


@pytest.mark.parametrize("name", sorted({claim.card for claim in EVERY.values()} - {""}))
def test_a_card_has_the_study_that_made_it(name):
    """`--full` runs it; the card says how, too, and the results of a study are never left without it."""
    study = importlib.import_module(f"cs348k_diffusion.evaluate.studies.{name}")
    assert [*inspect.signature(study.main).parameters] == ["folder"]
    assert result(name)["command"] == f"python -m {study.__name__}"


def test_every_stored_result_is_read_by_a_claim_or_made_by_a_study():
    stored = {path.stem for path in registry.RESULTS.glob("*.json")} - {"claims"}
    assert stored == {path.stem for path in (registry.RESULTS.parent / "studies").glob("[!_]*.py")}


@pytest.mark.parametrize("claim", EVERY.values(), ids=EVERY.keys())
def test_what_differs_from_the_literature_is_discussed(claim):
    assert registry.replayed(claim).verdict.word == claim.expected or claim.remark


@pytest.mark.parametrize("id", CHOSEN)
def test_a_claim_run_again_gives_the_stored_interval(id):
    """Other processors round otherwise, and chains amplify that: a tenth of the interval's width is allowed."""
    stored, now = registry.replayed(EVERY[id]), registry.run_claim(EVERY[id], quiet=True)
    assert now.verdict.word == stored.verdict.word
    for one, other in zip(stored.verdict.findings, now.verdict.findings, strict=True):
        width = one.interval.high - one.interval.low
        assert other.interval == pytest.approx(one.interval, abs=0.1 * width + 1e-5, rel=0.02)


def test_the_readme_has_the_stored_verdicts():
    found = [registry.replayed(claim) for claim in EVERY.values()]
    table = table_of_claims((one.claim, one.verdict) for one in found)
    between = re.search(r"<!-- claims -->\n(.*?)<!-- /claims -->", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert between is not None and between[1] == table, "print it: python -m cs348k_diffusion.evaluate.registry"


def test_all_of_them_fit_an_hour_of_one_core():
    assert sum(registry.replayed(claim).seconds for claim in EVERY.values()) < 3600


def test_claims_are_chosen_by_id_or_letter():
    assert [claim.id for claim in registry.chosen(["G3", "A1"])] == ["G3", "A1"]
    assert {claim.id[0] for claim in registry.chosen(["M"])} == {"M"}
    assert [claim.id for claim in registry.chosen([])] == list(EVERY)
    with pytest.raises(KeyError, match="no claim 'X9'; there are M1a"):
        registry.chosen(["X9"])


def test_the_command_writes_a_page_and_keeps_its_runs(tmp_path):
    (found,) = command.resolve_claims(["G3"], work=tmp_path)
    page = command.write_report(found, tmp_path).read_text("utf-8")
    assert found.verdict.word in page and "cs348k claims G3 --full" in page
    assert len(list((tmp_path / "runs").glob("*.json"))) == EVERY["G3"].seeds
    assert "supported" in command.line(found) and "G3" in command.line(found)


def test_the_command_runs_on_a_dask_cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, protocol="inproc") as there:
        (found,) = command.resolve_claims(["G3"], dask=there.scheduler_address)
    assert found.verdict.weakest.interval == registry.run_claim(EVERY["G3"], quiet=True).verdict.weakest.interval


def test_the_command_counts_verdicts_and_those_unlike_the_literature(capsys):
    command.print_claims(["G"], full=False, replay=True, out=None, jobs=1, dask="")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "7 supported, 2 refuted, 1 not resolved; 2 unlike the literature (!)"
    assert [line.split()[1] for line in lines[:-1] if line.startswith("!")] == ["G1c", "G2a"]


def test_a_card_that_was_run_again_is_the_one_that_is_read(tmp_path, monkeypatch):
    """With --full the study behind the card runs first; here a stand-in that writes a changed card."""
    from cs348k_diffusion.evaluate.studies import digits_budget

    ran = []

    def changed(folder):
        ran.append(folder)
        card = json.loads((registry.RESULTS / "digits_budget.json").read_text())
        for run in card["runs"]:
            run["metrics"]["fd_ratio"] = 9.0 - run["seed"] + (run["steps"] == 1000)
        Path(folder).mkdir(parents=True)
        (Path(folder) / "digits_budget.json").write_text(json.dumps(card))

    monkeypatch.setattr(digits_budget, "main", changed)
    (found,) = command.resolve_claims(["D5"], full=True, work=tmp_path)
    registry.rerun_card(EVERY["D5"], tmp_path / "cards")
    assert len(ran) == 1  # once for all claims that read it
    assert found.verdict.word == "refuted"
    assert found.verdict.weakest.interval.value == pytest.approx(-1.0)
    (now,) = command.resolve_claims(["D5"], work=tmp_path)
    assert now.verdict.word == registry.replayed(EVERY["D5"]).verdict.word  # the package's own card again


def test_claims_that_read_one_card_keep_their_runs_apart(tmp_path):
    """Two experiments of one module, called with one folder, at the same settings and seeds."""
    cards = Counter(claim.card for claim in EVERY.values() if claim.card)
    many = cards.most_common(1)[0][0]
    for claim in [claim for claim in EVERY.values() if claim.card == many]:
        reading = replace(claim, experiment=functools.partial(function_of(claim.experiment), folder=registry.RESULTS))
        assert registry.run_claim(reading, tmp_path, quiet=True).verdict.word == registry.replayed(claim).verdict.word
