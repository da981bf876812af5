"""How long until a page of the deck moves, stops, and lives again?  Seconds of each page from its key, on the clock.

    OMP_NUM_THREADS=1 python tests/benchmarks/timing/lecture.py [--rounds 2] [--walk] [--pages 8 14 --more]

`cs348k lecture` is opened in Chromium at 1920 x 1080; on each page L is pressed, and a second later S. Then every
kernel is killed, also the one that waits, its film is scrubbed, and L is pressed again. A kernel waits before the first
key with everything imported, as after a minute of talk; with --walk the key comes as soon as the page is there.
Processor seconds are those of the server and its kernels; the best of the rounds counts, and with --more also of those
that are stored. A walk through all pages that waits, or more of it, is written after each round:
tests/benchmarks/results/lecture.json, from which docs/lecture.md has its numbers.
"""

import argparse
import contextlib
import json
import os
import re
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
from stored import RESULTS, store

from tests.browser.conftest import FLAGS
from tests.browser.test_lecture import SCRUBBED

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
LIMITS = {"seconds": 3.0, "stop": 1.0, "revived": 10.0}


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
    before, load = spent(server), os.getloadavg()[0]
    seconds = moved(page)
    processor = sum(took - before.get(one, 0.0) for one, took in spent(server).items())
    page.wait_for_timeout(1000 * WAITS)
    page.evaluate(STOPPED)
    page.keyboard.press("Escape" if page.locator(".page:not([hidden]) .live input[type=text]").count() else "s")
    return {"seconds": seconds, "processor": processor, "stop": page.evaluate("() => window.stopped"), "load": load}


def moved(page: Page) -> float:
    """Seconds from the key L until the open page moves."""
    page.evaluate(FIRST)
    page.keyboard.press("l")
    seconds = page.evaluate("() => window.first")
    if re.search(r"Error\b", told := page.inner_text(".page:not([hidden]) .words")):
        raise RuntimeError(f"the page shows an error: {told}")
    return seconds


def press_after_a_kill(page: Page, server: int) -> dict[str, float | bool]:
    """Seconds until the live page is a film again after every kernel was killed, and, after L, until it moves."""
    began = time.perf_counter()
    for kernel in family(server)[1:]:
        kernel.kill()
    page.locator(".page:not([hidden]) .film").wait_for(state="visible")
    film = time.perf_counter() - began
    return {"film": film, "scrubbed": page.evaluate(SCRUBBED), "revived": moved(page)}


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one page as one row: the shortest times, and what held in all of them."""
    row = rounds[0] | {"scrubbed": all(each["scrubbed"] for each in rounds)}
    for name in ("seconds", "processor", "stop", "load", "film", "revived"):
        row[name] = min((each[name] for each in rounds if each[name] is not None), default=None)
    return row | {"rounds": sum(each.get("rounds", 1) for each in rounds)}


def over(rows: list[dict[str, Any]]) -> list[str]:
    """What is over its limit, in words."""
    slow = [
        f"page {row['page']} ({row['demo']}): {name} {row[name]:.1f} s, limit {limit:.0f} s, load {row['load']:.1f}"
        for row in rows
        for name, limit in LIMITS.items()
        if (row[name] or 0) > limit
    ]
    return slow + [f"page {row['page']} ({row['demo']}): its film stood still" for row in rows if not row["scrubbed"]]


def write_page(found: dict[str, Any]) -> None:
    """Put the numbers into docs/lecture.md, where older ones stand."""
    rows = found["rows"]
    loads, tries = ([row[name] for row in rows] for name in ("load", "rounds"))
    stop, film, revived = (max(row[name] or 0 for row in rows) for name in ("stop", "film", "revived"))
    counted = f"{min(tries)}" if min(tries) == max(tries) else f"{min(tries)} to {max(tries)}"
    told = (
        f"{found['machine']}, with a load of {min(loads):.1f} to {max(loads):.1f}, this walk's own programs with it; "
        f"rounds: {counted}, of which the best counts. After S a kernel was free within {stop:.2f} s (the picture "
        f"stands still at once). After all kernels were killed, a page was its film again within {film:.1f} s, "
        f"and L had it moving within {revived:.1f} s."
    )
    before, _, after = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    made_here = "\n".join([BEGIN, "", *textwrap.wrap(told, 118), "", *timetable(rows), "", END])
    PAGE.write_text(before + made_here + after.partition(END)[2], encoding="utf-8")


def walk(page: Page, server: int, numbers: list[int], ready: bool) -> list[dict[str, Any]]:
    """One row a page."""
    rows = []
    for number in numbers:
        page.evaluate("page => go(page)", number - 1)
        row = {"page": number, "demo": SLIDES[number - 1].demo, **press(page, server, ready)}
        rows.append(row | press_after_a_kill(page, server))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--walk", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pages", type=int, nargs="*", default=[*range(1, len(SLIDES) + 1)])
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    given = parser.parse_args()
    known = json.loads((RESULTS / "lecture.json").read_text(encoding="utf-8"))["rows"] if given.more else []
    with tempfile.TemporaryDirectory() as home, deck(Path(home)) as (url, server), sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=given.chromium, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(120_000)
        page.goto(url)
        for _ in range(given.rounds):
            rows = known + walk(page, server, given.pages, not given.walk)
            known = [best([row for row in rows if row["page"] == k]) for k in sorted({row["page"] for row in rows})]
            if not given.walk and len(known) == len(SLIDES):
                store("lecture", found := {"machine": made(), "rows": known})
                write_page(found)
        chromium.close()
    print(*over(known) or ["nothing is over its limit"], sep="\n")


if __name__ == "__main__":
    main()
