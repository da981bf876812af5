"""Studies: the whole design on the same seeds, cached, resumed after a kill, at equal cost, wherever it runs."""

import functools
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cs348k_diffusion.evaluate import registry
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.evaluate.study import digest_of, function_of, resolve, run_study, tune, tuned

HERE = "tests.evaluate.test_study:"


def noisy(seed, arm, gain=1.0):
    """A made-up experiment: arm "b" loses `gain` less than "a", seed by seed."""
    difficulty = float(np.random.default_rng(seed).normal())
    return {"loss": difficulty - gain * (arm == "b") + 0.01 * seed, "cost": 10.0}


def logged(seed, arm):
    """`noisy`, noting each call in a file, and killing its process at the third where that is asked for."""
    log = Path(os.environ["STUDY_LOG"])
    calls = log.read_text().splitlines() if log.exists() else []
    if len(calls) == 3 and os.environ.get("STUDY_KILL"):
        os._exit(9)
    log.write_text("\n".join([*calls, f"{arm} {seed}"]))
    return noisy(seed, arm)


def costly(seed, arm):
    return {"loss": 0.0, "cost": 10.0 if arm == "a" else 20.0}


def uncounted(seed, arm):
    return {"loss": 0.0}


def claim(experiment=HERE + "noisy", **changes):
    given = {"seeds": 4, "budget": 10.0, "metric": "loss", "better": "less"}
    arms = {"proposed": {"arm": "b"}, "alternatives": ({"arm": "a"},)}
    return Claim("X1", "b loses less than a", experiment=experiment, **(given | arms | changes))


def test_every_setting_runs_on_every_seed():
    results = run_study(claim(), quiet=True)
    assert sorted((run.levels["arm"], run.seed) for run in results.runs) == [(a, s) for a in "ab" for s in range(4)]
    expected = [noisy(seed, "a")["loss"] - noisy(seed, "b")["loss"] for seed in range(4)]
    np.testing.assert_allclose(
        results.values("loss", {"arm": "a"}) - results.values("loss", {"arm": "b"}), expected, atol=1e-12
    )


def test_a_factorial_design_is_the_product_of_its_factors():
    factors = {"arm": ("a", "b"), "gain": (0.0, 1.0, 3.0)}
    design = claim(factors=factors, proposed={"arm": "b", "gain": 1.0}, alternatives=({"arm": "a", "gain": 1.0},))
    table = run_study(design, quiet=True).factorial("loss", factors)
    assert table.shape == (2, 3, 4)
    np.testing.assert_allclose(table[0] - table[1], np.array([0.0, 1.0, 3.0])[:, None] * np.ones(4), atol=1e-12)


def test_a_study_resolves_a_claim():
    verdict, results = resolve(claim(), quiet=True)
    assert verdict.word == "supported"
    assert verdict.weakest.interval.value == pytest.approx(1.0)
    assert results.costs() == {"arm b": 10.0, "arm a": 10.0}


PROBE = """
import sys
from tests.evaluate.test_study import claim, HERE
from cs348k_diffusion.evaluate.study import run_study
results = run_study(claim(HERE + "logged"), sys.argv[1], quiet=True)
print(sorted(results.values("loss", {"arm": "b"}).tolist()))
"""


def test_a_killed_study_goes_on_where_it_stopped(tmp_path):
    """The process dies inside the fourth run; the next call runs that one and the four left, and no other twice."""
    env = {**os.environ, "STUDY_LOG": str(tmp_path / "log"), "PYTHONPATH": "."}
    command = [sys.executable, "-c", PROBE, str(tmp_path / "kept")]
    killed = subprocess.run(command, env={**env, "STUDY_KILL": "1"}, capture_output=True, text=True)
    assert killed.returncode == 9
    assert len(list((tmp_path / "kept").glob("*.json"))) == 3
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    calls = (tmp_path / "log").read_text().splitlines()
    assert sorted(calls) == sorted(f"{arm} {seed}" for arm in "ab" for seed in range(4))
    assert json.loads(done.stdout) == pytest.approx(sorted(noisy(seed, "b")["loss"] for seed in range(4)))


def test_the_cache_knows_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_LOG", str(tmp_path / "log"))
    one = claim(logged)
    first = run_study(one, tmp_path / "kept", quiet=True)
    again = run_study(replace(one, seeds=5), tmp_path / "kept", quiet=True)
    assert len((tmp_path / "log").read_text().splitlines()) == 10  # eight, then the fifth seed of both
    np.testing.assert_array_equal(first.values("loss", {"arm": "a"}), again.values("loss", {"arm": "a"})[:4])


def test_another_experiment_has_another_name():
    exec(compile("def f(seed): return {'cost': 1}", "<one>", "exec"), one := {})
    exec(compile("def f(seed): return {'cost': 2}", "<two>", "exec"), two := {})

    class Arm:
        def __call__(self, seed):
            return {"cost": 1}

    partly = [functools.partial(each, folder=place) for each in (noisy, logged) for place in "xy"]
    different = [noisy, logged, one["f"], two["f"], *partly, Arm(), Arm()]
    assert len({digest_of(each) for each in different}) == len(different)
    assert digest_of(functools.partial(noisy, folder="x")) == digest_of(partly[0])


def test_processes_find_the_same(tmp_path):
    here, there = (run_study(claim(), quiet=True, jobs=jobs) for jobs in (1, 2))
    for arm in "ab":
        np.testing.assert_array_equal(here.values("loss", {"arm": arm}), there.values("loss", {"arm": arm}))


def test_a_dask_cluster_finds_the_same():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="inproc"
    ) as cluster:
        there = run_study(claim(), quiet=True, scheduler=cluster.scheduler_address)
    np.testing.assert_array_equal(
        there.values("loss", {"arm": "b"}), run_study(claim(), quiet=True).values("loss", {"arm": "b"})
    )


def test_unequal_cost_is_refused():
    with pytest.raises(ValueError, match=r"arm b spent 20 evaluations, the budget is 10: compare settings at equal"):
        run_study(claim(costly), quiet=True)


def test_an_uncounted_run_is_refused():
    with pytest.raises(ValueError, match="reports no 'cost'; count its evaluations"):
        run_study(claim(uncounted), quiet=True)


def test_a_missing_metric_or_setting_is_named():
    results = run_study(claim(), quiet=True)
    with pytest.raises(KeyError, match="there are metrics loss, cost"):
        results.values("los", {"arm": "a"})
    with pytest.raises(KeyError, match="there are settings arm a; arm b"):
        results.values("loss", {"arm": "c"})


def test_a_name_of_an_experiment():
    assert function_of(HERE + "noisy") is noisy or function_of(HERE + "noisy").__name__ == "noisy"
    with pytest.raises(ValueError, match="'module:function', got 'noisy'"):
        function_of("noisy")


def rate(seed, rate, best):
    return {"loss": (rate - best) ** 2, "cost": 1.0}


def test_methods_are_tuned_by_equal_trials():
    spaces = {
        "one": [{"rate": r, "best": 2.0} for r in (1.0, 2.0, 3.0)],
        "other": [{"rate": r, "best": 3.0} for r in (1.0, 2.0, 3.0)],
    }
    assert tune(rate, spaces, 2, "loss") == {"one": {"rate": 2.0, "best": 2.0}, "other": {"rate": 2.0, "best": 3.0}}
    assert tune(rate, spaces, 3, "loss", "more")["one"] == {"rate": 1.0, "best": 2.0}
    with pytest.raises(ValueError, match="other can be tried in fewer than 3 ways"):
        tune(rate, {**spaces, "other": spaces["other"][:2]}, 3, "loss")


def test_help_runs_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["study", "--help"])
    monkeypatch.setattr(registry, "run_claim", lambda claim: pytest.fail("a claim was run"))
    for program in (registry.main, lambda: from_command_line(lambda folder: pytest.fail("the study was run"))):
        with pytest.raises(SystemExit):
            program()
        assert capsys.readouterr().out.startswith("usage:")
    for study in Path(registry.__file__).parent.glob("studies/[a-z]*.py"):
        assert study.read_text().endswith("    from_command_line(main)\n"), study


ASKED = []


def counted_rate(seed, best, rate=9.0):
    ASKED.append((best, rate, seed))
    return {"loss": (rate - best) ** 2 + 1e-3 * best * (seed % 4), "cost": 1.0}


def test_a_claim_is_tuned_alike_on_seeds_that_judge_nothing():
    """Idea and alternative get the best of as many tries, the rest of the tries is not run, and seeds are apart."""
    ASKED.clear()
    tries = tuple({"rate": rate} for rate in (2.0, 4.0, 3.0, 1.0))
    parts = {"experiment": counted_rate, "proposed": {"best": 1.0}, "alternatives": ({"best": 3.0},), "budget": 1.0}
    untuned = claim(**parts, tries=tries, trials=3)
    found = tuned(untuned)
    assert (found.proposed, *found.alternatives) == ({"best": 1.0, "rate": 2.0}, {"best": 3.0, "rate": 3.0})
    assert Counter(best for best, _, _ in ASKED) == {1.0: 6, 3.0: 6}
    assert tuned(found) is found and found.trials == 3
    ASKED.clear()
    verdict, results = resolve(untuned, quiet=True)
    judged = {(best, rate, seed) for best, rate, seed in ASKED if seed < untuned.seeds}
    assert judged == {(best, rate, seed) for best, rate in ((1.0, 2.0), (3.0, 3.0)) for seed in range(untuned.seeds)}
    assert verdict.word == "refuted" and len(results.runs) == 2 * untuned.seeds
    with pytest.raises(ValueError, match="is to be tuned first"):
        run_study(untuned, quiet=True)
    with pytest.raises(ValueError, match="can be tried in fewer than 5 ways"):
        tuned(claim(**parts, tries=tries, trials=5))
