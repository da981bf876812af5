"""A number in a sentence of a notebook is one that a reader can see: in an output, a figure, the code or a stored card.

Decimals and percentages are looked up after rounding to the digits of the sentence. What a notebook takes from
elsewhere is listed here, with where it is from.
"""

from __future__ import annotations

import html
import json
import re
import statistics
from functools import cache
from pathlib import Path

import pytest

from cs348k_diffusion.evaluate import RESULTS

SOLUTIONS = sorted((Path(__file__).parents[1] / "solutions").glob("*.ipynb"))
FROM_ELSEWHERE = {
    ("01", "0.125"): "2 / 16: how wide a pixel of 16 is in [-1, 1]",
    ("01", "2.01"): "a number that parts cannot have",
    ("02", "0.0001"): "Ho et al. 2020, section 4",
    ("04", "0.001"): "how far apart the two times of the next cell's figure are",
    ("08", "0.7"): "parameters in millions, on the card of the study",
    ("08", "0.84"): "parameters in millions, on the card of the study",
    ("11", "2.5"): "half of 5 %",
    ("11", "0.85"): "the expected minimum of three standard normal draws is -0.846",
    ("11", "0.0625"): "2 / 2^5, the sign test on five pairs",
    ("11", "0.031"): "2 / 2^6, the sign test on six pairs",
}
NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]\d)|(?<![\w.])\d+(?= ?%)")
# formulas, code, links, references and comments are not sentences
APART = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|arXiv:\S+|<!--.*?-->", re.DOTALL)


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def shown(cell: dict) -> str:
    """What a reader sees of a code cell: its code, what it printed, and the words of its pictures and players."""
    parts = ["".join(cell["source"])]
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        page = re.sub(r"data:[^\"]*", "", "".join(data.get("text/html", "")))
        films = " ".join(re.findall(r'"captions":\[[^\]]*\]', page))
        alts = " ".join(re.findall(r'alt="([^"]*)"', page))
        words = re.sub(r"<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
        parts += ["".join(output.get("text", "")), "".join(data.get("text/plain", "")), films, alts, words]
    return html.unescape("\n".join(parts))


@cache
def stored(name: str) -> tuple[float, ...]:
    """Every number of a stored result."""
    text = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
    return tuple(float(number) for number in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e-?\d+)?(?!\w)", text))


def to_be_seen(path: Path) -> list[float]:
    """The numbers that this notebook shows, or reads from a stored result that it names."""
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    text = "\n".join(map(shown, code))
    numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+\.\d+|\d+", text)]
    read = [card.stem for card in RESULTS.glob("*.json") if f'"{card.stem}"' in text]
    return numbers + [abs(number) for name in read for number in stored(name)]


def unseen(path: Path) -> list[str]:
    """Numbers of sentences that are nowhere to be seen, each with the words around it."""
    pool, found = to_be_seen(path), []
    for cell in cells(path):
        if cell["cell_type"] != "markdown":
            continue
        text = APART.sub("", "".join(cell["source"]))
        for match in NUMBER.finditer(text):
            number = match[0]
            digits = len(number.partition(".")[2])
            ways = {float(number), float(number) / 100} if "." not in number else {float(number)}
            seen = any(
                abs(round(each, digits + 2 * (way < 1 and "." not in number)) - way) < 1e-9
                for each in pool
                for way in ways
            )
            if not seen and (path.name[:2], number) not in FROM_ELSEWHERE:
                found.append(f"{number} in ...{text[max(0, match.start() - 60) : match.end() + 20]!r}")
    return found


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_every_number_in_a_sentence_can_be_seen(path):
    assert unseen(path) == []


def test_a_number_that_nothing_shows_is_found(tmp_path):
    notebook = {
        "cells": [
            {"cell_type": "code", "source": ["x = 0.4137"], "outputs": [{"text": ["96 of 100, loss 0.2504\n"]}]},
            {
                "cell_type": "markdown",
                "source": ["The loss is 0.25, x is 0.414, not 0.43, and $a = 7.7$; 41 % or 87 %."],
            },
        ]
    }
    path = tmp_path / "99_made_up.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert [line.split()[0] for line in unseen(path)] == ["0.43", "87"]


def test_what_comes_from_elsewhere_is_still_in_its_notebook():
    text = {path.name[:2]: path.read_text(encoding="utf-8") for path in SOLUTIONS}
    assert [key for key in FROM_ELSEWHERE if key[1] not in text[key[0]]] == []


def test_means_of_the_latent_study_are_those_of_its_sentence():
    """FD of f = 8 and f = 2 after 4 and 20 core-seconds, each the mean over three seeds."""
    runs = json.loads((RESULTS / "latent_claims.json").read_text(encoding="utf-8"))["runs"]
    means = [
        statistics.mean(run["fd"] for run in runs if (run["f"], run["budget"]) == (f, budget))
        for f in (8, 2)
        for budget in (4, 20)
    ]
    (path,) = (path for path in SOLUTIONS if path.name.startswith("08"))
    text = " ".join("".join(cell["source"]) for cell in cells(path)).replace("\n", " ")
    said = re.search(r"FD falls only from ([\d.]+) to ([\d.]+) between .*? from ([\d.]+) to ([\d.]+),", text)
    assert said is not None
    assert list(map(float, said.groups())) == [round(mean, 2) for mean in means]


def test_textures_of_the_latent_study_are_printed():
    """The whole numbers of its sentence, in the table above it: the mean of the seeds, rounded."""
    table = shown_by("08", 'found = result("latent_claims")').rsplit("texture", 1)[1]
    sentence = re.search(
        r"after 2 core-seconds samples are nearer \((\d+)\) than what the codec makes of true pictures \((\d+)\), "
        r".*?\(to (\d+) after 20; with \$f = 4\$ from (\d+) after 4 to (\d+)\)",
        text_of("08"),
    )
    rows = {row: line.split() for row, line in re.findall(r"^ *(\d+ core|codec)[-\w ]*? +(\d.*)$", table, re.MULTILINE)}
    places = [("2 core", 3), ("codec", 3), ("20 core", 3), ("4 core", 2), ("20 core", 2)]
    assert sentence is not None
    assert list(sentence.groups()) == [rows[row][column] for row, column in places]


def text_of(number: str) -> str:
    """All text of a solution, in one line."""
    (path,) = (path for path in SOLUTIONS if path.name.startswith(number))
    return " ".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown").replace(
        "\n", " "
    )


def shown_by(number: str, code: str) -> str:
    """What a reader sees of the one cell of a solution that holds this code."""
    (path,) = (path for path in SOLUTIONS if path.name.startswith(number))
    (cell,) = (cell for cell in cells(path) if cell["cell_type"] == "code" and code in "".join(cell["source"]))
    return shown(cell)


def means(card: str, key: str, name: str) -> dict[tuple, float]:
    """The mean of a measure over the runs of a stored result that share method and scale."""
    runs = json.loads((RESULTS / f"{card}.json").read_text(encoding="utf-8"))["runs"]
    found: dict[tuple, list[float]] = {}
    for run in runs:
        found.setdefault((run.get(key, ""), run["scale"]), []).append(run[name])
    return {where: statistics.mean(values) for where, values in found.items()}


def test_the_race_of_samplers_ends_as_its_fold_says():
    needs = dict(re.findall(r"([\w+()-]+): (\d+|never)[,.]", shown_by("04", "reached = {")))
    assert "DPM-Solver++(2M), which uses each guess twice: with 4 it just reaches the band" in text_of("04")
    assert "From 8 on all three are inside" in text_of("04")
    assert needs == {"DDPM": "8", "DDIM": "8", "DPM-Solver++(2M)": "4"}


def test_guidance_overshoots_by_what_its_fold_says():
    ((mean, spread),) = re.findall(r"scale 3: guided mean ([\d.]+) .*?, std ([\d.]+)", shown_by("05", "guided mean"))
    assert "about half a unit beyond 1, a whole standard deviation of the class" in text_of("05")
    assert 1.45 < float(mean) < 1.6
    assert float(spread) < 0.5


def test_curves_of_guidance_are_as_the_text_says():
    fd, recall = means("guidance_digits", "method", "fd"), means("guidance_digits", "method", "recall")
    real = json.loads((RESULTS / "guidance_digits.json").read_text(encoding="utf-8"))["held_out_real"]["fd"]
    cfg = sorted(scale for method, scale in fd if method == "cfg")
    aware = {scale: value for (method, scale), value in fd.items() if method == "noise-aware classifier"}
    assert "its recall falls from scale 1 to 2, and its FD only rises" in text_of("05")
    assert recall["cfg", 1] > recall["cfg", 2]
    assert sorted(cfg, key=lambda scale: fd["cfg", scale]) == cfg
    assert "At scale 1 its FD is below that of real digits, as the noise-aware classifier's is from 2 on" in text_of(
        "05"
    )
    assert fd["cfg", 1] < real
    assert [scale for scale, value in sorted(aware.items()) if value < real] == [2, 4, 8]


def test_verdicts_on_guidance_are_those_of_the_lines():
    lines = re.findall(
        r"^(\d) .* (supported|refuted|not resolved)$", shown_by("05", "def claim") + shown_by("05", "plain ="), re.M
    )
    words = {claim: [word for number, word in lines if number == claim] for claim in "12345"}
    assert set(words["3"]) == set(words["5"]) == {"supported"}
    assert "Two claims hold in every line" in text_of("05")
    assert all(len(set(words[claim])) > 1 for claim in "124")
    assert words["4"] == ["supported", "not resolved", "refuted"]


def test_strong_guidance_empties_clumps_as_the_text_says():
    (points,) = re.findall(r"scale 4: \[(\d+), (\d+), (\d+)\]", shown_by("07", "landed = {"))
    assert "four of five points of *left* are in the middle one" in text_of("07")
    assert round(5 * int(points[1]) / sum(map(int, points))) == 4


def test_scales_of_pictures_are_as_the_text_says():
    runs = json.loads((RESULTS / "guidance_pictures.json").read_text(encoding="utf-8"))["runs"]
    at = {run["scale"]: run for run in runs}
    assert "At scale 1 one prompt in seven is not fully satisfied" in text_of("07")
    assert round(1 / (1 - at[1]["satisfied"]["share"])) == 7
    assert round(1 / (1 - at[2]["satisfied"]["share"]), -1) == 30
    assert sorted(sorted(at, key=lambda scale: at[scale]["fd"]["value"])[:2]) == [1.5, 2]
    assert "the bars overlap, because prompts differ" in text_of("07").lower()
    ends = [at[scale]["diversity"]["interval_95"] for scale in at if scale >= 1]
    assert max(low for low, _ in ends) < min(high for _, high in ends)


def test_two_pictures_come_closer_prompt_by_prompt_as_the_text_says():
    card = json.loads((RESULTS / "guidance_pictures.json").read_text(encoding="utf-8"))
    change = {scale: found["interval_95"] for scale, found in card["diversity_minus_scale_1"].items()}
    assert "Less diversity: **supported** from 1 to 3, by about a twentieth" in text_of("07")
    assert "At 5 it is **not resolved**, at 8 the distance is larger" in text_of("07")
    assert all(change[scale][1] < 0 for scale in ("1.5", "2", "3"))
    assert change["5"][0] < 0 < change["5"][1]
    assert change["8"][0] > 0
    at_1 = next(run["diversity"]["value"] for run in card["runs"] if run["scale"] == 1)
    assert all(15 < -at_1 / card["diversity_minus_scale_1"][scale]["value"] < 25 for scale in ("1.5", "2", "3"))


def test_walks_of_a_learned_score_end_within_the_floor_as_the_text_says():
    printed = shown_by("03", "real_floor(sliced_wasserstein, blurred")
    (floor,) = re.findall(r"at most ([\d.]+)", printed)
    walks = re.findall(r"1,000 true points, (?:learned|exact) score: ([\d.]+)", printed)
    assert "Both distances are below the maximum of the floor" in text_of("03")
    assert len(walks) == 2
    assert max(map(float, walks)) < float(floor)


def test_guiding_in_the_middle_does_what_the_text_says():
    rows = re.findall(r"accuracy ([\d.]+) +FD ([\d.]+)", shown_by("05", "class Within"))
    (_, _), (accuracy, fd), (accuracy_within, fd_within) = [tuple(map(float, row)) for row in rows]
    assert "12 evaluations do what 16 did: every digit is read as asked, and FD is lower" in text_of("05")
    assert accuracy == accuracy_within == 1.0
    assert fd_within < fd


def test_own_pieces_do_what_the_packages_do():
    """Printed differences of 06 and 07 between an answer and the package: rounding, and no more."""
    places = (("06", "your block, its weights"), ("06", "tile_backward(q_[rows]"), ("07", "read_caption(normed"))
    lines = [shown_by(number, code) for number, code in places]
    apart = [float(found) for line in lines for found in re.findall(r"at most (\d+e-\d+)", line)]
    assert len(apart) == 5
    assert max(apart) < 1e-5


def test_largest_tensors_grow_as_the_fold_says():
    kib = re.findall(r"N = +(\d+) +(\w+) +largest tensor +(\d+) KiB", shown_by("06", "largest_tensor(way"))
    held = {(name, int(n)): int(size) for n, name, size in kib}
    assert "sixteenfold where all of S is held, fourfold with tiles" in text_of("06")
    assert [held[name, 1024] // held[name, 256] for name in ("naive", "stable", "tiled")] == [16, 16, 4]
