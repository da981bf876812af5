"""The deck of lecture 7: its pages are the lecture's, its films are stored, its demos run from nothing."""

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cs348k_diffusion.authoring import lecture
from cs348k_diffusion.authoring.lecture import demos, stage
from cs348k_diffusion.authoring.lecture.larger import LargerFigure, redraw
from cs348k_diffusion.authoring.lecture.slides import LONG, SHORT, SLIDES, script, timetable
from cs348k_diffusion.authoring.site.extension import mathml

ROOT = Path(__file__).parents[2]
LIMITS = {"seconds": 3, "stop": 1, "revived": 10}  # of a stored measurement: until it moves, stops, lives again
TITLES = (  # of the slides of lecture 7, Spring 2026, in their order; a title that stands twice has two pages
    "Discussion of Designing for AutoDiff + Intro to Generative AI",
    "Discussion of Design for AutoDiff",
    "Procedural modeling as a sequence of moves",
    "Optimization to fit a target",
    "Evaluating a technical idea",
    "Evaluating a technical idea",
    "A significant fraction of your project grade",
    "Micro-intro to diffusion-based generation",
    "Suppose you are given a dataset of images",
    "Diffusion-based image synthesis",
    "Diffusion-based image synthesis",
    "Guided diffusion",
    "Bayes for score function",
    "Conditioned generation",
    "Performance/efficiency optimizations",
    "A basic U-Net architecture",
    "Attention module",
    "Performance challenges of inference",
    "Superresolution",
    "Cascade of diffusion models",
    "Bicubic upsampling vs. two forms of learned upsampling",
    "Perform diffusion in lower-dimensional latent space",
    "Perform diffusion in latent space",
    "Learn to take larger steps",
    "Learn to take larger steps",
)


def test_every_slide_of_the_lecture_has_its_page_in_order():
    assert len(SLIDES) == len(TITLES)
    for slide, title in zip(SLIDES, TITLES, strict=True):
        assert slide.title.partition(":")[0] == title.partition(":")[0]
        assert slide.notes


def test_every_page_has_one_demo_of_its_own():
    assert sorted(slide.demo for slide in SLIDES) == sorted(demos.DEMOS)


@pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.title)
def test_labels_that_were_drawn_into_a_grid_of_pictures_are_written_by_the_deck(slide):
    """In a picture they are small, and grey in both themes: thin letters on transparent paper."""
    html = lecture.stored(*slide.shown)
    whole = np.asarray(images_of(html)[0].convert("RGBA")) if html.startswith("<figure") else None  # no film's poster
    if not slide.labels:
        assert whole is None or not ((whole[..., 3] > 0) & (whole[..., 3] < 255)).any()
        return
    html = lecture.in_tiles(html, slide.labels)
    assert re.findall(r"<span>(.*?)</span>", html) == list(slide.labels)
    kept = [np.asarray(image) for image in images_of(html)]
    assert all((each[..., 3].mean(1) > 128).all() for each in kept)  # no row of letters is left
    opaque = sum(int((each[..., 3] == 255).sum()) for each in kept)
    assert 0.97 * (whole[..., 3] == 255).sum() < opaque <= (whole[..., 3] == 255).sum()  # and no picture is lost


def test_labels_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ValueError, match="3 labels for 2 rows of 12 pictures"):
        lecture.in_tiles(lecture.stored("09", "s027"), ("one", "two", "three"))


@pytest.mark.parametrize("slide", [slide for slide in SLIDES if slide.redrawn], ids=lambda slide: slide.title)
def test_a_figure_in_larger_letters_keeps_its_text_and_its_sheet(slide):
    (image,) = images_of(shown := lecture.shown(slide))
    across, down = slide.redrawn.size
    assert abs(image.width / image.height - across / down) < 0.01
    assert re.findall('alt="[^"]*"', shown) == re.findall('alt="[^"]*"', lecture.stored(*slide.shown))
    assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    letters, width = re.search(r'data-letters="([\d.]+)".* width="(\d+)"', shown).groups()
    assert float(letters) / int(width) * 984 > 31.5  # where the sheet is as wide as a window of 1024 pixels


def test_the_smallest_letters_of_a_figure_are_found_and_powers_of_ten_are_numbers():
    cells = [{"id": "one", "cell_type": "code", "source": [
        "fig, ax = figure(size=(4, 3))\n",
        "ax.semilogy([1e-6, 1e3]); ax.minorticks_off(); ax.set_xticks(())\n",
        "ax.text(0, 1, 'small', size=SIZE)\n",
    ]}]  # fmt: skip
    assert redraw(cells, LargerFigure(("one",), (4, 3), (("SIZE", "30"),)))[2] == 12 * 96 / 72  # the numbers
    assert redraw(cells, LargerFigure(("one",), (4, 3), (("SIZE", "9"),)))[2] == 9 * 96 / 72
    small = (("'small', size=SIZE", "'$x^2$', size=13"),)
    assert redraw(cells, LargerFigure(("one",), (4, 3), small))[2] == pytest.approx(0.7 * 13 * 96 / 72)


def test_words_that_a_figure_has_not_cannot_be_put_shorter():
    cells = [{"id": "one", "cell_type": "code", "source": ["figure(size=(1, 1))"]}]
    with pytest.raises(ValueError, match="cell one has no 'long'"):
        redraw(cells, LargerFigure(("one",), (1, 1), (("long", "short"),)))
    with pytest.raises(ValueError, match="there is no cell two"):
        redraw(cells, LargerFigure(("two",), (1, 1)))


def images_of(html):
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in re.findall(r'png;base64,([^"]*)"', html)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_wide_figure_is_cut_into_equal_pieces_with_every_pixel(count):
    def images(html):
        return [np.asarray(each.convert("RGB")) for each in images_of(html)]

    (whole,) = images(lecture.stored("02", "digits"))
    pieces = images(lecture.in_pieces(lecture.stored("02", "digits"), count))
    assert len(pieces) == count and np.ptp([each.shape[1] for each in pieces]) <= 1
    assert np.array_equal(np.concatenate(pieces, 1), whole)


def test_what_a_picture_costs_adds_up(monkeypatch):
    said, place = [], {}
    monkeypatch.setattr(stage, "_send", lambda picture, words: said.append(words))
    exec(demos.source("budget"), place)
    for steps in (1, 4):
        place["demo"](steps)
        spent = place["spent"]
        assert 0 < spent["Attention"] + spent["Conv2d"] <= spent["network"] <= spent["all"]
    assert said[-1].startswith("one picture, 4 steps: ") and "Attention: " in said[-1]


def test_a_page_waits_for_nothing_that_it_does_not_show():
    """The waiting kernel never imports what makes sites, nor, before it is ready, what few demos need."""
    asked = [sys.executable, "-c", f"{lecture.WARM}\nimport sys; print(*sys.modules)"]
    loaded = {*subprocess.run(asked, text=True, stdout=subprocess.PIPE, check=True).stdout.split()}
    heavy = {"nbformat", "jsonschema", "sphinx", "jinja2", "typer", "sklearn", "scipy", "matplotlib"}
    assert heavy & loaded == set()
    assert "torch" in loaded


def test_formulas_are_drawn_without_a_script():
    formulas = [formula for slide in SLIDES for formula in slide.formulas]
    assert len(formulas) >= 10
    assert all(mathml(formula, "block").startswith("<math") for formula in formulas)


@pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.title)
def test_what_a_page_opens_on_is_stored_and_described(slide):
    assert re.search(r'alt="[^"]{10,}"', lecture.stored(*slide.shown))


def test_a_cell_without_a_film_is_named():
    with pytest.raises(ValueError, match="notebook 02 has no cell 'nowhere'"):
        lecture.stored("02", "nowhere")


def test_the_page_has_everything_and_asks_for_nothing():
    page = lecture.page()
    assert page.count('<section class="page"') == len(SLIDES)
    asked = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page)
    assert asked == []
    told = json.loads(re.search(r"const LECTURE = (.*);</script>", page)[1])
    assert told["token"] is None
    assert set(told["demos"]) == {slide.demo for slide in SLIDES if slide.demo}
    assert json.loads(re.search(r"const LECTURE = (.*);</script>", lecture.page("secret"))[1])["token"] == "secret"


def test_the_scripts_take_the_minutes_that_they_promise():
    assert abs(sum(slide.seconds for slide in SLIDES) - 60 * LONG) <= 60
    assert abs(sum(slide.short for slide in SLIDES) - 60 * SHORT) <= 20
    assert len(script()) == len(SLIDES) + 1
    assert script(short=True)[-1].split()[0] == f"{sum(slide.short for slide in SLIDES) // 60}:00"


def test_the_page_on_the_lecture_has_both_scripts_with_the_measured_seconds():
    found = json.loads((ROOT / "tests" / "benchmarks" / "results" / "lecture.json").read_text(encoding="utf-8"))
    told = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in timetable(found["rows"]) if line not in told] == []
    # a new kernel takes seconds of a whole core: its time says nothing where others have the cores
    held = [(row, name) for row in found["rows"] for name in LIMITS if name != "revived" or row["load"] <= 2]
    assert [(row["page"], name) for row, name in held if (row[name] or 0) > LIMITS[name]] == []
    assert all(row["scrubbed"] for row in found["rows"])


def test_the_command_writes_a_file_or_a_script_and_refuses_another_length(tmp_path):
    said = []
    lecture.give(said.append, tmp_path / "deck.html", None, 8348, False)
    assert (tmp_path / "deck.html").read_text(encoding="utf-8") == lecture.page()
    lecture.give(said.append, None, SHORT, 8348, False)
    assert said[1:] == script(short=True)
    with pytest.raises(ValueError, match="for 80 minutes and one for 10, not for 30"):
        lecture.give(said.append, None, 30, 8348, False)


def test_gaps_between_pictures_let_the_page_through(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: sent.append(data))
    stage.show(torch.zeros(4, 1, 2, 2), "four")
    image = Image.open(io.BytesIO(base64.b64decode(sent[0]["image/png"])))
    assert set(np.unique(np.asarray(image.convert("RGBA"))[..., 3])) == {0, 255}


class Enough(Exception):
    """The demo has shown something."""


@pytest.mark.parametrize("name", demos.DEMOS)
def test_a_demo_shows_something_from_nothing(name, monkeypatch):
    """Its code runs in an empty namespace, as it does in a fresh kernel; it is stopped at its second picture."""
    sent = []

    def send(picture, words):
        sent.append((picture, words))
        if len(sent) == 2:
            raise Enough

    monkeypatch.setattr(stage, "_send", send)
    place = {}
    exec(compile(demos.source(name), name, "exec"), place)
    with contextlib.suppress(Enough):
        place["demo"](demos.DEMOS[name].control.first)
    picture, words = sent[0]
    assert words
    assert picture is None or len(picture.convert("L").getcolors(maxcolors=picture.width * picture.height) or ()) > 1


def test_a_rule_changes_the_tree_and_an_unfinished_word_keeps_the_picture(monkeypatch):
    sent = []
    monkeypatch.setattr(stage, "_send", lambda picture, words: sent.append((picture, words)))
    place = {}
    exec(demos.source("rules"), place)
    place["demo"]("begin again")
    before = len(place["tree"].parts)
    place["demo"]("add_anywhere")
    assert len(place["tree"].parts) > before
    place = {}
    exec(demos.source("typed"), place)
    place["demo"]("a red tre")
    picture, words = sent[-1]
    assert picture is None  # the deck leaves the last one where it is
    assert '"tre" is not known here' in words
