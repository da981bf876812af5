"""The page on a claim, on a phone: nothing is cut off, and nothing has to be pushed aside to be read."""

import pytest

from cs348k_diffusion.evaluate import registry, report

CUT = """() => [document.documentElement, ...document.querySelectorAll('.wide')].filter(
    part => part.scrollWidth > part.clientWidth + 1).length"""
OUTSIDE = """() => { const edge = document.querySelector('svg').getBoundingClientRect();
    return [...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect()).filter(
        box => box.left < edge.left - 1 || box.right > edge.right + 1).length }"""


@pytest.mark.parametrize("width", [360, 1100])
def test_every_report_fits_its_window(browser, width):
    place = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    sheet, wrong = place.new_page(), []
    for claim in registry.every_claim().values():
        found = registry.replayed(claim)
        sheet.set_content(report.page(found.claim, found.verdict, found.costs, "cs348k claims", "here"))
        wrong += [claim.id] * (sheet.evaluate(CUT) + sheet.evaluate(OUTSIDE))
    place.close()
    assert not wrong
