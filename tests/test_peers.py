"""The benchmark beside other libraries: what its page says of known numbers, and what its clock counts."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def peers(monkeypatch):
    """The modules of the benchmarks by name, imported as their scripts do."""
    for room in ("peers", "timing", "."):
        monkeypatch.syspath_prepend(str(FOLDER / room))
    names = ("contestants", "contest", "environments", "page", "table", "classes", "scaling")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


def row(contestant, seed, fd, updates=100):
    counted = {"updates": updates, "batch": 10, "trained": 100.0, "drew": 2.0, "drawings": 1000, "parameters": 2e6}
    return {"contestant": contestant, "seed": seed, "seconds": 60, "fd": fd, "texture": 2 * fd, **counted}


def result(*rows):
    seeds = len({row["seed"] for row in rows})
    return {
        "machine": "abacus, 2 cores; torch 2",
        "settings": {"seconds": [60], "seeds": seeds, "n": 8, "evaluations": 2},
        "rows": [*rows],
        "floors": [{"fd": 0.5, "texture": 1.0}, {"fd": 1.5, "texture": 3.0}],
    }


def test_a_ratio_is_to_the_best_of_the_others_seed_by_seed(peers):
    table = peers["table"]
    rows = [row(table.OURS, seed, fd) for seed, fd in enumerate([1.0, 2.0, 4.0])]
    rows += [row("good", seed, fd) for seed, fd in enumerate([8.0, 16.0, 32.0])]
    rows += [row("bad", seed, 90.0, updates=25) for seed in range(3)]
    told = dict(line.split(": ", 1) for line in table.ratios(result(*rows), 60))
    assert told["FD"] == "8.0 times as good as good's [8.0, 8.0], 3 seeds"  # the same in each seed: no spread
    assert told["examples a second"].startswith("1.0 times as good as good's")


def test_one_seed_has_no_interval(peers):
    table = peers["table"]
    found = result(row(table.OURS, 0, 1.0, updates=400), row("other", 0, 3.0))
    assert "FD: 3.0 times as good as other's, one seed: no interval" in table.ratios(found, 60)
    assert "examples a second: 4.0 times as good as other's, one seed: no interval" in table.ratios(found, 60)


def test_the_page_has_the_floor_and_marks_what_changed(peers, tmp_path):
    page = peers["page"]
    before, now = (result(row(peers["table"].OURS, 0, fd), row("other", 0, 3.0)) for fd in (1.5, 1.25))
    (tmp_path / "peers_quick.json").write_text(json.dumps(now))
    text = page.write_page(tmp_path, {"peers_quick": before}).read_text()
    assert "| cs348k_diffusion | 2.0 | 10.0 | 2.0 | 1.25 (was 1.50) | 2.5 (was 3.0) |" in text
    assert "| other | 2.0 | 10.0 | 2.0 | 3.00 | 6.0 |" in text
    assert "| true pictures (floor) | | | | 1.00 | 2.0 |" in text
    assert "abacus, 2 cores" in text


def test_the_page_tells_how_long_tiles_take_beside_torch(peers, tmp_path):
    row = {"n": 1024, "pass": "both", "causal": True, "tiled_ms": 3.0, "torch_ms": 2.0}
    result = {"machine": "abacus", "d": 64, "tile": 512, "rounds": 7}
    rows = [row | {"ratio": 1.5, "interval_95": [1.25, 1.75]}]
    (tmp_path / "tiled.json").write_text(json.dumps(result | {"rows": rows}))
    assert "| 1024 | both | yes | 3.0 | 2.0 | 1.50 [1.25, 1.75] |" in peers["page"].write_page(tmp_path, {}).read_text()


def test_the_clock_runs_between_batches_only(peers, monkeypatch):
    contest, clock, asked = peers["contest"], [0.0], []
    monkeypatch.setattr(contest.time, "process_time", lambda: clock[0])

    def update(images, fraction):
        asked.append((len(images), fraction))
        clock[0] += 2.0

    contestant = peers["contestants"].Contestant(torch.nn.Identity(), 3, update, lambda n, evaluations: None)
    assert contest.trained(contestant, torch.zeros(9, 1), 7.0, 1.0, 10.0) == (3, 7.0)  # from second 1 to second 7
    assert asked == [(3, pytest.approx(0.1)), (3, pytest.approx(0.3)), (3, pytest.approx(0.5))]


def test_ours_is_the_shipped_recipe_without_captions(peers):
    contestant = peers["contestants"].CONTESTANTS["cs348k_diffusion"].build(0)
    before = [parameter.clone() for parameter in contestant.network.parameters()]
    contestant.update(torch.zeros(2, 3, 32, 32), 0.0)
    assert any((a != b).any() for a, b in zip(before, contestant.network.parameters(), strict=True))
    drawn, _ = peers["contest"].drawn(contestant, 3, 2, at_once=2)
    assert drawn.shape == (3, 3, 32, 32) and abs(drawn).max() <= 1
    assert peers["environments"].python("cs348k_diffusion") == Path(sys.executable)


def test_a_queue_of_hand_ins_by_hand(peers):
    """Three come at once and one later; each takes 10 seconds."""
    times = peers["classes"].np.array([0.0, 0.0, 0.0, 25.0])
    assert peers["classes"].waits(times, 10.0, 1).tolist() == [10, 20, 30, 15]
    assert peers["classes"].waits(times, 10.0, 2).tolist() == [10, 10, 20, 10]


def test_half_of_a_week_s_hand_ins_come_in_its_last_hours(peers):
    classes = peers["classes"]
    times = classes.arrivals(1000)
    late = (times > classes.WEEK - classes.RUSH).sum()
    assert 500 <= late < 540 and (times[1:] >= times[:-1]).all() and times[-1] < classes.WEEK


def test_the_cost_of_a_student_is_the_slope(peers, tmp_path):
    classes = peers["classes"]
    rows = [{"n": n, "seconds": 3.0 + 0.5 * n} for n in classes.SIZES]
    each, (low, high) = classes.slope(rows, "seconds")
    assert each == pytest.approx(0.5) and low == pytest.approx(high)
    result = {
        "machine": "abacus", "rows": rows, "students": 3000, "core_hours": 0.4, "gigabytes": 1.5,
        "seconds_a_student": {"one worker": [0.5, 0.4, 0.6], "two workers": [0.25, 0.2, 0.3]},
        "parent_seconds_a_student": [0.1, 0.09, 0.11], "workers_where_the_parent_is_the_limit": 5.0,
        "longest_wait_seconds": {"1": 7.0}, "all_at_once_minutes": {"1": 25.0},
    }  # fmt: skip
    (tmp_path / "classes.json").write_text(json.dumps(result))
    text = peers["page"].write_page(tmp_path, {}).read_text()
    assert "0.50 [0.40, 0.60] seconds with one worker" in text and "| 1 | 7 s | 25 min |" in text


def test_a_power_law_is_continued_as_it_is(peers, tmp_path):
    """Seconds that grow as the square root: 100 times the parameters and pictures take 1,000 times as long."""
    rows = [{"parameters": n, "seconds": n**0.5 / 1000} for n in (1e6, 4e6, 9e6, 16e6)]
    value, low, high = peers["scaling"].extrapolated(rows, 100, 1_000_000, 3600)
    assert value == pytest.approx(1000) and low == pytest.approx(value) and high == pytest.approx(value)
    rows[1]["seconds"] *= 1.1
    value, low, high = peers["scaling"].extrapolated(rows, 100, 1_000_000, 3600)
    assert low < 1000 < high and low < value < high
    power = {"all": peers["scaling"].fitted(rows).slope, "the three widest": 0.5}
    result = {"machine": "abacus", "rows": rows, "power": power, "core_hours": {"1": [1, 1, 1], "10": [32, 30, 34]}}
    (tmp_path / "scaling.json").write_text(json.dumps(result))
    assert "- 10 times the parameters and pictures: 32 [30, 34] core-hours" in (
        peers["page"].write_page(tmp_path, {}).read_text()
    )
