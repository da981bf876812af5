"""The site opened from disk, without a network: films move, formulas stay in the column, nothing is asked for."""

import os
from pathlib import Path

import pytest

from cs348k_diffusion.authoring import site

pytestmark = pytest.mark.browser
FILMS = ("notebooks/00_start_here", "notebooks/02_forward_noising", "one_file/02_forward_noising")
PAGES = ("index", "gallery", "symbols", "search", *FILMS)
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
OUT_OF_COLUMN = """() => { // Furo lets the boxes of headings and tables out by half a rem
  const column = document.querySelector("article").getBoundingClientRect();
  const scrolls = node => node && node.tagName !== "ARTICLE" &&
    (["auto", "scroll"].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
  return [...document.querySelectorAll("article *")].filter(node => {
    const box = node.getBoundingClientRect();
    return box.width && box.right > column.right + 9 && !scrolls(node);
  }).map(node => node.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "pages"
    site.build(out, which=("00", "02"), one_file=True)
    return out


@pytest.fixture(params=["light", "dark"])
def reader(browser, request):
    """A phone in someone's hand, without a network."""
    place = browser.new_context(viewport={"width": 390, "height": 844}, offline=True, color_scheme=request.param)
    page = place.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    place.close()


def open_page(page, built, name):
    page.goto(f"{(built / name).as_uri()}.html")


def asked_outside(page):
    return [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))]


def test_pages_keep_to_a_phones_width_and_ask_for_nothing(built, reader):
    for name in PAGES:
        open_page(reader, built, name)
        assert reader.evaluate(SIDEWAYS) == 0, name
        assert reader.evaluate(OUT_OF_COLUMN) == [], name
    assert asked_outside(reader) == []
    assert reader.errors == []


def test_every_player_moves(built, reader):
    for name in FILMS:
        open_page(reader, built, name)
        players = reader.locator(".tp")
        assert players.count() > 0
        for k in range(players.count()):
            canvas, slider = players.nth(k).locator("canvas").first, players.nth(k).locator("input[type=range]")
            before = canvas.evaluate("c => c.toDataURL()")
            slider.press("End")
            slider.press("ArrowLeft")
            assert canvas.evaluate("c => c.toDataURL()") != before, f"{name}: player {k}"
    assert asked_outside(reader) == []


def test_a_picture_of_the_gallery_leads_to_its_film(built, reader):
    open_page(reader, built, "gallery")
    reader.locator(".films .tile").first.click()
    reader.wait_for_url("**/notebooks/*.html#picture-*")
    target = reader.locator(f"#{reader.url.partition('#')[2]}")
    reader.wait_for_function("n => Math.abs(n.getBoundingClientRect().top) < innerHeight", arg=target.element_handle())


def test_formulas_are_drawn_and_what_scrolls_is_reached_by_the_keyboard(built, reader):
    open_page(reader, built, "notebooks/02_forward_noising")
    sizes = reader.evaluate("() => [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
    assert len(sizes) > 20
    assert min(sizes) > 4  # a lone comma is small
    reader.wait_for_function("() => document.fonts.check('16px \"STIX Two Math, cut\"')")
    wide = "[...document.querySelectorAll('div.math, pre')].filter(n => n.scrollWidth > n.clientWidth + 1)"
    reader.wait_for_function(f"() => {wide}.every(n => n.tabIndex === 0)")


def test_search_finds_a_word_from_disk(built, reader):
    reader.goto(f"{(built / 'search.html').as_uri()}?q=schedule")
    reader.locator("#search-results li a").first.wait_for()
    assert asked_outside(reader) == []


def test_the_players_follow_the_theme_that_the_reader_chooses(built, reader):
    open_page(reader, built, "notebooks/02_forward_noising")
    button = reader.locator(".tp button").first
    seen = set()
    for theme in ("light", "dark"):
        reader.evaluate("theme => { document.body.dataset.theme = theme }", theme)
        seen.add(button.evaluate("b => getComputedStyle(b).color"))
    assert len(seen) == 2


@pytest.mark.skipif("CS348K_AXE" not in os.environ, reason="CS348K_AXE names no axe.min.js (npm pack axe-core)")
def test_axe_finds_nothing_serious(built, reader):
    for name in PAGES:
        open_page(reader, built, name)
        reader.evaluate(Path(os.environ["CS348K_AXE"]).read_text(encoding="utf-8"))
        found = reader.evaluate("async () => (await axe.run()).violations.map(v => [v.impact, v.id, v.nodes[0].html])")
        assert [each for each in found if each[0] in ("serious", "critical")] == [], name
