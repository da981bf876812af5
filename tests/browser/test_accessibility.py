"""axe-core finds nothing serious on any kind of page: the site, the deck, what graders write, outputs in JupyterLab."""

import pytest

from cs348k_diffusion.authoring import lecture
from cs348k_diffusion.authoring.lecture.slides import SLIDES
from cs348k_diffusion.exercises import Exercise
from cs348k_diffusion.grading.gradebook.class_page import PAGES, write_class
from cs348k_diffusion.grading.gradebook.feedback import write_feedback
from cs348k_diffusion.grading.gradebook.rules import StudentRow
from cs348k_diffusion.grading.records import Record

pytestmark = pytest.mark.browser
SITE = ("index", "lecture", "gallery", "symbols", "search", "draw", "reference/index", "reference/sampling")
NOTEBOOKS = ("notebooks/02_forward_noising", "one_file/02_forward_noising")
EXERCISES = {id: Exercise(id, "half", "Half of it", hints=("Divide.",), word="toy") for id in ("E9.1", "E9.2", "E9.3")}
OUTPUTS = (
    """import torch
from cs348k_diffusion import NotYet, check
from cs348k_diffusion.lab import compare, explore, figure, live, show_figure, show_trajectory
from cs348k_diffusion.sampling import State

def states(count, shape):
    x = torch.randn(shape)
    yield from (State(k, 1 - k / (count - 1), x * k / count, x) for k in range(count))

def grey(level, kind, preview, cancelled):
    yield torch.full((2, 1, 8, 8), level / 100)

def noise_once(x0, noise, beta):
    raise NotYet
""",
    'show_trajectory(states(9, (200, 2)), alt="points")',
    'show_trajectory(states(9, (4, 1, 8, 8)), alt="four pictures")',
    'compare({"slow": states(9, (50, 2)), "fast": states(6, (50, 2))}, alt="two clouds")',
    'fig, ax = figure()\nax.plot([1, 3, 2])\nshow_figure(fig, alt="a line")',
    'live(states(9, (4, 1, 8, 8)), alt="four pictures")',
    'explore(grey, alt="two grey squares", level=(0, 90), kind=["dark", "light"])',
    "check(noise_once)",
)


@pytest.fixture(params=["light", "dark"])
def page(browser, request):
    """A phone in someone's hand, without a network."""
    place = browser.new_context(viewport={"width": 390, "height": 844}, offline=True, color_scheme=request.param)
    page = place.new_page()
    page.set_default_timeout(120_000)
    yield page
    place.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What is written for a class: a student who is right, wrong and blank, and one who handed in nothing."""
    out = tmp_path_factory.mktemp("class")
    slip = "The values differ.\nThis is what you get when the mistake is: off by one"
    outcomes = [("E9.1", "passed", 2, ""), ("E9.2", "failed", 0, slip), ("E9.3", "not yet", 0, "E9.3: not yet")]
    records = [Record("Ann", id, "test_half", 2, earned, status, why) for id, status, earned, why in outcomes]
    rows = {"Ann": StudentRow("Ann", records, [], "Ann A."), "Ben": StudentRow("Ben", [], [], "Ben B.")}
    write_class(rows, EXERCISES, out)
    more = {"notes": ["cell 3 does not parse"], "comments": {"E9.1": "well done"}, "hints_used": {"E9.2": 1}}
    write_feedback(records, "Ann", out / "feedback.html", exercises=EXERCISES, **more)
    return out


@pytest.mark.parametrize("name", [*SITE, *NOTEBOOKS])
def test_pages_of_the_site(page, axe, whole_site, name):
    page.goto(f"{(whole_site / name).as_uri()}.html")
    page.wait_for_function("() => !document.querySelector('.tp img')")
    assert axe(page) == []


@pytest.mark.parametrize("name", ["feedback.html", *PAGES])
def test_pages_for_students_and_for_the_class(page, axe, written, name):
    page.goto((written / name).as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert axe(page) == []


def test_every_page_of_the_deck(page, axe, tmp_path):
    (tmp_path / "deck.html").write_text(lecture.page(), encoding="utf-8")
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto((tmp_path / "deck.html").as_uri())
    for slide in SLIDES:
        assert axe(page) == [], slide.title
        page.keyboard.press("PageDown")
    page.keyboard.press("?")
    assert axe(page) == []


def test_what_notebooks_show_in_jupyterlab(lab, server, axe):
    server.write("accessible", *OUTPUTS)
    lab.open("accessible").run_all()
    assert [o["evalue"] for k in range(len(OUTPUTS)) for o in lab.outputs(k) if o["output_type"] == "error"] == []
    for k in range(1, len(OUTPUTS)):
        lab.output(k).locator("canvas, img, .jp-RenderedHTML, .jp-RenderedText").first.wait_for()
        lab.output(k).evaluate("(node, k) => { node.id = `output-${k}` }", k)
        assert axe(lab.page, f"#output-{k}") == [], OUTPUTS[k]
    lab.close()
