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
    ("08", "3.42"): "the mean FD of three seeds, from the card, tested below",
    ("08", "3.15"): "the same",
    ("08", "7.08"): "the same",
    ("08", "3.23"): "the same",
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
