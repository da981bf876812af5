"""How fast the page answers: a key on the player's slider, a step under `watch`, the Stop button."""

import statistics

from tests.browser.conftest import browser, chromium, lab, server  # noqa: F401 (fixtures)

SETUP = """
import time
import torch
from cs348k_diffusion.lab import live, show_trajectory, watch
from cs348k_diffusion.sampling import State

def states(count, shape=(1000, 2), pause=0.0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for k in range(count):
        time.sleep(pause)
        yield State(k, 1 - k / count, x * (1 - k / count), x)

def milliseconds_a_step(run):
    start = time.perf_counter()
    run(states(500))
    return 2 * (time.perf_counter() - start)

last = []
def noted(item):
    last.append(time.time())
    return item.frame()
"""
CELLS = (
    SETUP,
    'show_trajectory(states(51), alt="points")',
    'show_trajectory(states(51, (16, 1, 28, 28)), alt="pictures")',
    "shown = milliseconds_a_step(lambda it: watch(it, alt='points'))\nprint(shown - milliseconds_a_step(list))",
    'run = live(states(10**6, pause=0.02), noted, alt="points")',
    "print(last[-1])",
)
PIXELS = """([canvas, slider]) => new Promise(done => {
  const now = () => canvas.toDataURL(), before = now();
  slider.focus();
  slider.addEventListener('keydown', () => {
    const start = performance.now();
    const look = () => now() !== before ? done(performance.now() - start) : requestAnimationFrame(look);
    requestAnimationFrame(look);
  }, {once: true});
  document.title = 'ready';
})"""
LIMITS = {"key": 100, "step": 2.0, "stop": 1.0}


def key_to_pixels(sight, index, times=12):
    """Median milliseconds from a key to other pixels."""
    canvas = sight.output(index).locator("canvas").first.element_handle()
    slider = sight.output(index).locator("input[type=range]").element_handle()
    found = []
    for _ in range(times):
        sight.page.evaluate("arguments => { window.answer = (" + PIXELS + ")(arguments) }", [canvas, slider])
        sight.page.keyboard.press("ArrowRight")
        found.append(sight.page.evaluate("() => window.answer"))
    return statistics.median(found)


def test_the_page_answers_at_once(lab, server):  # noqa: F811
    server.write("times", *CELLS)
    lab.open("times").kernel_idle()
    for index in range(5):
        lab.run_cell(index, wait=True)
    for index, what in ((1, "1,000 points"), (2, "16 pictures of 28 x 28")):
        median = key_to_pixels(lab, index)
        print(f"\n{what}: {median:.0f} ms from a key to other pixels", end="")
        assert median < LIMITS["key"]
    extra = float(lab.printed(3))
    print(f"\nwatch: {extra:.2f} ms a step beside the run itself (the player at its end included)", end="")
    assert extra < LIMITS["step"]
    caption = lab.output(4).locator(".tp-caption").first
    caption.wait_for()
    lab.page.evaluate("() => addEventListener('click', () => { window.pressed = Date.now() / 1000 }, true)")
    lab.output(4).get_by_role("button", name="Stop").click()
    lab.output(4).locator("input[type=range]").wait_for()
    pressed, shown = lab.page.evaluate("() => [window.pressed, Date.now() / 1000]")
    lab.run_cell(5)
    stopped = float(lab.printed(5))
    print(f"\nStop: last step after {stopped - pressed:.2f} s, the recording there after {shown - pressed:.2f} s")
    assert stopped - pressed < LIMITS["stop"]
    lab.close()
