"""How long until a page of the deck moves?  Seconds from its key, on the clock and of the processor, page by page.

    OMP_NUM_THREADS=1 python tests/benchmarks/timing/lecture.py [--walk]

`cs348k lecture` is opened in Chromium at 1920 x 1080; on each page L is pressed, and a second later S. A kernel waits
before each key with everything imported, as after a minute of talk; with --walk the key comes as soon as the page is
there. At last every kernel is killed, and L pressed again. Processor seconds are those of the server and its kernels.
Written: tests/benchmarks/results/lecture.json, from which docs/lecture.md has its numbers.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

from cs348k_diffusion.authoring.lecture.slides import SLIDES, timetable
from cs348k_diffusion.evaluate.report import made

sys.path.insert(0, str(Path(__file__).parents[3]))
from stored import store

from tests.browser.conftest import FLAGS

PAGE = Path(__file__).parents[3] / "docs" / "lecture.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
FIRST = """() => {
  const live = document.querySelector(".page:not([hidden]) .live");
  const shown = () => live.querySelector(".words").textContent || live.querySelector("img[src]");
  window.first = new Promise((done) => addEventListener("keydown", () => {
    const start = performance.now();
    const look = () => { if (shown()) { watch.disconnect(); done((performance.now() - start) / 1000); } };
    const watch = new MutationObserver(look);
    watch.observe(live, { subtree: true, childList: true, attributes: true });
  }, { once: true, capture: true }));
}"""
STOPPED = """() => {
  const state = document.querySelector(".page:not([hidden]) .state");
  window.stopped = new Promise((done) => addEventListener("keydown", () => {
    const start = performance.now(), seconds = () => (performance.now() - start) / 1000;
    const still = () => state.textContent === "stopped";
    const look = () => still() ? done(seconds()) : seconds() > 3 ? done(null) : setTimeout(look, 5);
    look();
  }, { once: true, capture: true }));
}"""
WAITS = 1.0  # seconds after the first picture until Stop is pressed


def family(server: int) -> list[psutil.Process]:
    """The server and its kernels."""
    whole = psutil.Process(server)
    return [whole, *whole.children(recursive=True)]


def spent(server: int) -> dict[int, float]:
    """Processor seconds of each of them so far."""
    found = {}
    for each in family(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[each.pid] = sum(each.cpu_times()[:2])
    return found


def settle(server: int) -> None:
    """Wait until none of them computes."""
    before = spent(server)
    while True:
        time.sleep(1.0)
        now = spent(server)
        if now.keys() == before.keys() and sum(now.values()) - sum(before.values()) < 0.05:
            return
        before = now


@contextlib.contextmanager
def deck(home: Path) -> Iterator[tuple[str, int]]:
    """A deck that is served: its address, and the server's process."""
    env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_CONFIG_DIR": str(home / "config")}
    command = [sys.executable, "-m", "cs348k_diffusion.cli", "lecture", "--no-browser"]
    server = subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield next(line.strip() for line in server.stdout or () if line.startswith("http")), server.pid
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def press(page: Page, server: int, ready: bool = True) -> dict[str, float | None]:
    """Seconds until the open page moves after L, and until its kernel is free after S; None where it was already."""
    if ready:
        settle(server)
    page.evaluate(FIRST)
    before, load = spent(server), os.getloadavg()[0]
    page.keyboard.press("l")
    seconds = page.evaluate("() => window.first")
    processor = sum(took - before.get(one, 0.0) for one, took in spent(server).items())
    page.wait_for_timeout(1000 * WAITS)
    page.evaluate(STOPPED)
    page.keyboard.press("s")
    return {"seconds": seconds, "processor": processor, "stop": page.evaluate("() => window.stopped"), "load": load}


def press_after_a_kill(page: Page, server: int) -> dict[str, float | None]:
    """The same for the page before, where every kernel, also the one that waits, was killed while it was live."""
    page.keyboard.press("PageUp")
    press(page, server)
    for kernel in family(server)[1:]:
        kernel.kill()
    page.locator(".page:not([hidden]) .film").wait_for(state="visible")
    return press(page, server, ready=False)


def write_page(found: dict[str, Any]) -> None:
    """Put the numbers into docs/lecture.md, where older ones stand."""
    rows, killed = found["rows"], found["killed"]
    loads, stops = [row["load"] for row in rows], [row["stop"] for row in rows if row["stop"] is not None]
    told = (
        f"{found['machine']}, with a load of {min(loads):.0f} to {max(loads):.0f} by other programs. "
        f"After S a kernel was free within {max(stops):.1f} s (the picture stands still at once); after all were "
        f"killed, L had a page moving in {killed['seconds']:.1f} s."
    )
    before, _, after = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    made_here = "\n".join([BEGIN, "", *textwrap.wrap(told, 118), "", *timetable(rows), "", END])
    PAGE.write_text(before + made_here + after.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--walk", action="store_true")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, deck(Path(home)) as (url, server), sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=given.chromium, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(120_000)
        page.goto(url)
        settle(server)
        rows = []
        for number, slide in enumerate(SLIDES, start=1):
            rows.append({"page": number, "demo": slide.demo, **press(page, server, not given.walk)})
            print(rows[-1], flush=True)
            page.keyboard.press("PageDown")
        killed = press_after_a_kill(page, server)
        print("after a kill", killed)
        chromium.close()
    if not given.walk:
        store("lecture", found := {"machine": made(), "rows": rows, "killed": killed})
        write_page(found)


if __name__ == "__main__":
    main()
