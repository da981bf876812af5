"""The deck in a browser: walked by Page Down in both sizes and themes, live on a key, and alive again after a kill."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from cs348k_diffusion.authoring import lecture
from cs348k_diffusion.authoring.lecture.slides import SLIDES
from tests.turns import todays

pytestmark = pytest.mark.browser
SMALLEST = {1920: 44, 1280: 32, 1024: 32}  # pixels of a letter's height, by the width of the window
IN_CHARTS = {**SMALLEST, 1280: 29}  # the same, of letters that are part of a picture: as many on 1280 as 44 are on 1920
LOOKED_AT = (Path(__file__).parent / "looked_at.js").read_text(encoding="utf-8")
STRIP = 6  # pixels: a line of a chart is thinner, the paper around a figure is not
MOST_WHITE = 0.2  # of a page in the dark: white strokes of digits, and no white paper
SHOWN = "() => document.querySelector('.page:not([hidden]) .picture img').getAttribute('src')"
WORDS = "text => document.querySelector('.page:not([hidden]) .words').textContent.includes(text)"
MOVED = """() => {
  const live = document.querySelector(".page:not([hidden]) .live");
  return live.querySelector(".words").textContent || live.querySelector("img[src]");
}"""
# a film has its canvases, and they are drawn
DRAWN = """() => {
  const film = document.querySelector(".page:not([hidden]) .film");
  const soon = new Promise(done => setTimeout(() => done(true), 150));
  return !film.querySelector(".tp") || film.querySelector(".tp canvas") && soon;
}"""
HALFWAY = """() => {
  const slider = document.querySelector(".page:not([hidden]) .film input");
  slider.value = Math.floor(slider.max / 2);
  slider.dispatchEvent(new Event("input"));
}"""
# a film shows another picture at its other end; a figure is there
SCRUBBED = """() => {
  const film = document.querySelector(".page:not([hidden]) .film"), slider = film.querySelector("input[type=range]");
  if (!slider) return Boolean(film.querySelector("img")?.naturalWidth || film.querySelector("canvas")?.width);
  const seen = (at) => {
    slider.value = at;
    slider.dispatchEvent(new Event("input"));
    return [...film.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()).join();
  };
  return film.getClientRects().length > 0 && seen(slider.min) !== seen(slider.max);
}"""
STATE = "() => document.querySelector('.page:not([hidden]) .state').textContent"


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    path = tmp_path_factory.mktemp("lecture") / "deck.html"
    path.write_text(lecture.page(), encoding="utf-8")
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1024, 768), (1280, 720)])
def test_page_down_walks_every_page_and_all_is_large_enough(browser, deck, width, height, theme):
    place = browser.new_context(viewport={"width": width, "height": height}, offline=True, color_scheme=theme)
    page, errors = place.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(LOOKED_AT)
    page.goto(deck.as_uri())
    least = [SMALLEST[width], IN_CHARTS[width]]
    for number, slide in enumerate(SLIDES, start=1):
        page.wait_for_function("n => document.querySelector('.page:not([hidden])').id === `page-${n}`", arg=number)
        assert page.inner_text(".page:not([hidden]) h1") == slide.title
        page.wait_for_function(DRAWN)
        assert page.evaluate("least => amiss(...least)", least) == [], slide.title
        if page.query_selector(".page:not([hidden]) .film input"):
            page.evaluate(HALFWAY)  # other frames have other captions
            assert page.evaluate("least => amiss(...least)", least) == [], slide.title
        if theme == "dark":
            page.wait_for_timeout(300)  # until films are drawn, and figures recoloured
            seen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
            white = seen.min(2) > 240
            assert white.mean() < MOST_WHITE, slide.title
            rows = np.lib.stride_tricks.sliding_window_view(white.mean(1), STRIP)
            assert rows.min(1).max() < 0.5, f"a white strip: {slide.title}"
        page.keyboard.press("PageDown")
    page.keyboard.press("1")
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    assert page.inner_text(".page:not([hidden]) h1") == SLIDES[9].title
    before = page.evaluate("document.querySelector('.page:not([hidden]) .film input').value")
    page.keyboard.press(".")
    assert page.evaluate("document.querySelector('.page:not([hidden]) .film input').value") != before
    page.keyboard.press("c")
    assert "def demo(beta)" in page.inner_text("#code pre")
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    assert "cs348k lecture" in page.evaluate(STATE)
    assert errors == []
    place.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_CONFIG_DIR": str(home / "config")}
    command = [sys.executable, "-m", "cs348k_diffusion.cli", "lecture", "--no-browser"]
    process = subprocess.Popen(
        command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        line = process.stdout.readline()
        while not (found := re.match(r"http://127\.0\.0\.1:\d+/\S+", line)):
            assert process.poll() is None, line
            line = process.stdout.readline()
        yield found[0], process.pid
        assert {path.name for path in home.iterdir()} <= {"runtime", "config"}  # nothing is written where it was begun
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "without encryption" not in process.stdout.read()  # a kernel's warning, in the speaker's terminal


def test_a_page_is_live_on_a_key_stops_and_lives_again_after_its_kernel_is_killed(browser, served):
    url, server = served
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.set_default_timeout(120_000)
    assert page.goto(url.rsplit("/", 1)[0] + "/deck.html").status == 404  # whoever guesses a name gets no token
    page.goto(f"{url}#10")
    page.keyboard.press("l")
    page.wait_for_function(SHOWN)
    page.wait_for_function(WORDS, arg="step 30")
    page.fill(".page:not([hidden]) .live input[type=range]", "0.5")
    page.wait_for_function(WORDS, arg=" 0% of")
    for kernel in psutil.Process(server).children(recursive=True):
        kernel.kill()
    page.wait_for_function("() => document.querySelector('.page:not([hidden]) .state').textContent.includes('gone')")
    assert page.is_visible(".page:not([hidden]) .film")
    page.keyboard.press("l")
    page.wait_for_function(SHOWN)
    page.keyboard.press("2")  # another page knows nothing of this one, and is a film again
    page.keyboard.press("Enter")
    assert page.is_visible(".page:not([hidden]) .film")
    page.keyboard.press("l")
    page.wait_for_function(SHOWN)
    page.keyboard.press("s")
    page.wait_for_function("() => document.querySelector('.page:not([hidden]) .state').textContent === 'stopped'")
    page.close()


def test_every_page_comes_alive_and_again_after_its_kernel_was_killed(browser, served):
    """A third of the pages each day; all with CS348K_ALL_PAGES=1."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    page.goto(f"{served[0]}#1")

    def live(title):
        page.keyboard.press("l")
        page.wait_for_function(MOVED)
        page.wait_for_timeout(300)
        assert not re.search(r"Error\b|gone|failed", page.inner_text(".page:not([hidden])")), title

    today = todays(range(len(SLIDES)), 3, "PAGES")
    for number, slide in enumerate(SLIDES):
        if number:
            page.keyboard.press("PageDown")
        assert page.inner_text(".page:not([hidden]) h1") == slide.title
        if number not in today:
            continue
        live(slide.title)
        kernel = page.evaluate("live.kernel.id")  # the other, in reserve, lives on
        (mine,) = [each for each in psutil.Process(served[1]).children() if kernel in " ".join(each.cmdline())]
        mine.kill()
        page.locator(".page:not([hidden]) .film").wait_for(state="visible")
        assert page.evaluate(SCRUBBED), slide.title
        live(slide.title)
    page.close()


def test_the_letters_of_a_chart_that_is_drawn_live_are_as_large(browser, served):
    for width, height in ((1920, 1080), (1024, 768)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        page.goto(f"{served[0]}#{1 + [slide.demo for slide in SLIDES].index('forks')}")
        page.keyboard.press("l")
        page.wait_for_function(SHOWN)
        shown = page.evaluate("""() => {
          const image = document.querySelector(".page:not([hidden]) .picture img"), box = image.getBoundingClientRect();
          return Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
        }""")
        assert 12 / 72 * 264 * shown > SMALLEST[width] - 0.5  # 12 points at 264 dots an inch
        page.close()


def test_the_notes_follow_and_lead_and_can_be_loaded_again(browser, deck, axe):
    place = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page, errors = place.new_page(), []
    place.set_default_timeout(120_000)
    place.on("weberror", lambda error: errors.append(str(error.error)))
    page.goto(deck.as_uri())

    def opened():
        with place.expect_page() as found:
            page.keyboard.press("n")
        return found.value

    def both_show(number):
        page.wait_for_function("n => document.querySelector('.page:not([hidden])').id === `page-${n}`", arg=number)
        slide, after = SLIDES[number - 1 : number + 1]
        told = "told => told.every(([id, text]) => document.getElementById(id)?.textContent === text)"
        texts = [["title", f"{number}. {slide.title}"], ["notes", slide.notes], ["next", after.title]]
        notes.wait_for_function(told, arg=texts)
        shown = notes.frame_locator("iframe").locator(".page:not([hidden]) h1")
        shown.filter(has_text=after.title).wait_for()

    notes = opened()
    both_show(1)
    page.keyboard.press("PageDown")
    both_show(2)
    for key, number in (("PageDown", 3), ("PageUp", 2), ("PageDown", 3)):
        notes.keyboard.press(key)  # a clicker, where the notes are in front
        both_show(number)
    page.reload()
    both_show(3)
    began = page.evaluate("clock.began")
    notes.reload()
    both_show(3)
    assert page.evaluate("clock.began") == began < page.evaluate("Date.now()")
    page.keyboard.press("r")
    assert page.evaluate("clock.began") > began
    notes.wait_for_function("() => / spent 0:0/.test(document.getElementById('clock').textContent)")
    planned = SLIDES[0].seconds + SLIDES[1].seconds + SLIDES[2].seconds, sum(slide.short for slide in SLIDES[:3])
    long, short = (f"{seconds // 60}:{seconds % 60:02}" for seconds in planned)
    assert f"end of this page {long}; in ten minutes: {short}" in notes.inner_text("#clock")
    assert "--script 80" in notes.inner_text("main")
    assert axe(notes) == []
    notes.close()
    page.wait_for_function("() => notes.closed")
    page.keyboard.press("PageDown")
    notes = opened()
    both_show(4)
    assert errors == []
    place.close()


def test_a_sentence_is_drawn_as_it_is_typed(browser, served, axe):
    page = browser.new_page(viewport={"width": 1024, "height": 768})
    page.set_default_timeout(120_000)
    page.goto(f"{served[0]}#{len(SLIDES)}")
    page.keyboard.press("l")
    page.wait_for_function(SHOWN)
    first = page.evaluate(SHOWN)
    page.fill(".page:not([hidden]) .live input[type=text]", "two red cats by day")
    page.wait_for_function(
        "() => document.querySelector('.page:not([hidden]) .words').textContent.startsWith('two red')"
    )
    second = page.evaluate(SHOWN)
    assert second != first
    page.fill(".page:not([hidden]) .live input[type=text]", "two red cats by da")
    page.wait_for_function(WORDS, arg="is not known")
    assert page.evaluate(SHOWN) == second
    assert axe(page) == []
    page.close()
