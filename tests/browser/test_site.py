"""The site opened from disk, without a network: films move, formulas stay in the column, nothing is asked for."""

from pathlib import Path

import pytest

from cs348k_diffusion.authoring import lecture
from cs348k_diffusion.authoring.lecture.slides import SLIDES
from cs348k_diffusion.authoring.site import pages

pytestmark = pytest.mark.browser
NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "solutions").glob("*.ipynb"))
FILMS = [f"{folder}/{name}" for folder in ("notebooks", "one_file") for name in NAMES]
PAGES = (
    "index",
    "lecture",
    "gallery",
    "symbols",
    "search",
    "draw",
    "reference/index",
    "reference/sampling",
    "reference/nets",
)
WEIGHT = 25_000_000  # bytes of the site, without the copies in one file
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


CRAMPED = """() => [...document.querySelectorAll("article .table-wrapper:not(.stacked) tbody tr")]
  .filter(row => row.closest("table").tHead && row.offsetHeight > 160).map(row => row.innerText)"""


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


# films whose first and last pictures are the same, by what they show; a player of one frame is a figure
STILL = """() => [...document.querySelectorAll(".tp")].filter((player) => {
  const slider = player.querySelector("input[type=range]");
  const seen = (at) => {
    slider.value = at;
    slider.dispatchEvent(new Event("input"));
    return [...player.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()).join();
  };
  return slider && seen(slider.min) === seen(slider.max);
}).map((player) => player.querySelector("canvas").getAttribute("aria-label"))"""


def open_page(page, folder, name):
    page.goto(f"{(folder / name).as_uri()}.html")
    page.wait_for_function("() => !document.querySelector('.tp img')")  # each poster has given way to its canvas


def asked_outside(page):
    return [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))]


def test_the_site_is_light(whole_site):
    sizes = {path: path.stat().st_size for path in whole_site.rglob("*") if path.is_file()}
    assert sum(size for path, size in sizes.items() if "one_file" not in path.parts) < WEIGHT


@pytest.mark.parametrize("reader", ["light"], indirect=True)
def test_pages_keep_to_a_phones_width_and_ask_for_nothing(whole_site, reader):
    for name in (*PAGES, *FILMS):
        open_page(reader, whole_site, name)
        assert reader.evaluate(SIDEWAYS) == 0, name
        assert reader.evaluate(OUT_OF_COLUMN) == [], name
        assert reader.evaluate(CRAMPED) == [], name
    assert asked_outside(reader) == []
    assert reader.errors == []


def test_every_player_moves_and_no_output_keeps_anybody_out(whole_site, plain_page, axe):
    page, players = plain_page.page, 0
    for name in FILMS:
        open_page(page, whole_site, name)
        players += page.locator(".tp input[type=range]").count()
        assert page.evaluate(STILL) == [], name
        if name.startswith("notebooks"):
            assert axe(page, ".cell_output", all=True) == [], name
            page.evaluate("() => { document.body.dataset.theme = 'light' }")
            assert axe(page, ".cell_output", rules=["color-contrast"]) == [], name
    open_page(page, whole_site, "gallery")
    assert players == 2 * page.locator(".films .tile").count() > 0
    assert plain_page.troubles == []


SECTION = """([number, title]) => {
  const section = [...document.querySelectorAll("article section section")][number - 1];
  const boxes = [...section.querySelectorAll("math")].map((each) => each.getBoundingClientRect().height);
  return {
    title: section.querySelector("h2").innerText.startsWith(`${number}. ${title}`), formulas: boxes.length,
    drawn: boxes.every((height) => height > 8), film: Boolean(section.querySelector(".cell_output :is(canvas, img)")),
  };
}"""


def test_the_lecture_has_every_page_of_the_deck_and_its_films_move(whole_site, plain_page, axe):
    page = plain_page.page
    open_page(page, whole_site, "lecture")
    for number, slide in enumerate(SLIDES, start=1):
        seen = page.evaluate(SECTION, [number, slide.title])
        assert seen == {"title": True, "formulas": len(slide.formulas), "drawn": True, "film": True}, slide.title
    assert page.evaluate(STILL) == []
    films = [slide for slide in SLIDES if pages.SEVERAL.search(lecture.stored(*slide.shown))]
    assert page.locator(".tp input[type=range]").count() == len(films) > 10
    assert axe(page, all=True, rules=["image-alt", "heading-order", "duplicate-id", "color-contrast"]) == []
    assert plain_page.troubles == []
    for name in ("index", "gallery"):
        open_page(page, whole_site, name)
        assert page.locator('article a[href="lecture.html"]').count() == 1


def test_a_picture_of_the_gallery_leads_to_its_film(whole_site, reader):
    open_page(reader, whole_site, "gallery")
    reader.locator(".films .tile").first.click()
    reader.wait_for_url("**/notebooks/*.html#picture-*")
    target = reader.locator(f"#{reader.url.partition('#')[2]}")
    reader.wait_for_function("n => Math.abs(n.getBoundingClientRect().top) < innerHeight", arg=target.element_handle())


def test_formulas_are_drawn_and_what_scrolls_is_reached_by_the_keyboard(whole_site, reader):
    open_page(reader, whole_site, "notebooks/02_forward_noising")
    sizes = reader.evaluate("() => [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)")
    assert len(sizes) > 20
    assert min(sizes) > 4  # a lone comma is small
    reader.wait_for_function("() => document.fonts.check('16px \"STIX Two Math, cut\"')")
    wide = "[...document.querySelectorAll('div.math, pre')].filter(n => n.scrollWidth > n.clientWidth + 1)"
    reader.wait_for_function(f"() => {wide}.every(n => n.tabIndex === 0)")


def test_search_finds_a_word_from_disk(whole_site, reader):
    reader.goto(f"{(whole_site / 'search.html').as_uri()}?q=schedule")
    reader.locator("#search-results li a").first.wait_for()
    assert asked_outside(reader) == []


def test_the_players_follow_the_theme_that_the_reader_chooses(whole_site, reader):
    open_page(reader, whole_site, "notebooks/02_forward_noising")
    button = reader.locator(".tp button").first
    seen = set()
    for theme in ("light", "dark"):
        reader.evaluate("theme => { document.body.dataset.theme = theme }", theme)
        seen.add(button.evaluate("b => getComputedStyle(b).color"))
    assert len(seen) == 2
