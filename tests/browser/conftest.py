"""A JupyterLab with settings of its own and a real browser, one of each for all tests; a page that sees no network.

Needs playwright (which brings no browser here) and Chromium: Debian's, or the one CS348K_CHROMIUM names. Without them
the tests are skipped, except where CI=true, where that is a failure.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[2]
SETTINGS = {  # no pop-ups, every cell in the page, nothing saved behind a test's back
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
NOT_STARTED_BY_A_TEST = ("CS348K_STRICT", "PYTEST_VERSION", "PYTEST_CURRENT_TEST", "CI")  # a person's kernel has none
PLACE = re.compile(r"(?:https?|blob|file):[^\s)]+")  # in the stack of an error
THEIRS = re.compile(r"/static/lab/|/lab/extensions/@jupyter-widgets/")  # files of JupyterLab and its widget manager
PATIENCE = 120_000  # milliseconds: only there so that a broken page ends


def missing(what):
    """Skip, or fail where the browser is promised."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


@pytest.fixture(scope="session")
def chromium():
    names = (os.environ.get("CS348K_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, (shutil.which(name) for name in names if name)), None)
    if found is None:
        missing("no Chromium: install Debian's `chromium`, or name one in CS348K_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: pip install playwright (no browser download is needed)")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


class Server:
    """A JupyterLab on this machine: its address, and the folder it serves."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder

    def write(self, name, *cells):
        notebook = new_notebook(cells=[new_code_cell(cell, id=f"cell-{k}") for k, cell in enumerate(cells)])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / f"{name}.ipynb")


@pytest.fixture(scope="session")
def server(tmp_path_factory, chromium):
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "notebooks"
    folder.mkdir()
    (home / "config" / "labconfig").mkdir(parents=True)
    (home / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {key: value for key, value in os.environ.items() if key not in NOT_STARTED_BY_A_TEST}
    for variable in ("CONFIG", "DATA", "RUNTIME"):
        env[f"JUPYTER_{variable}_DIR"] = str(home / variable.lower())
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--IdentityProvider.token=", "--expose-app-in-browser", f"--ServerApp.root_dir={folder}"]
    log = home / "server.log"
    with log.open("w") as told:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=told, stderr=told, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield Server(url, folder)
    finally:
        for end in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, end)
                process.wait(10)


def wait_for(url, process, log):
    for _ in range(1500):
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/api/status", timeout=5).read()
            return
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.2)
    raise AssertionError("the server did not answer:\n" + log.read_text()[-3000:])


class Sight:
    """A page and what one sees on it. `troubles` collects page errors and every request that left this machine.

    JupyterLab and its widget manager throw now and then for reasons of their own (a kernel that ends, a notebook that
    is closed, a cell redrawn while it is removed); an error counts unless every place it passed through is in their
    files. A widget's code is a blob: it counts.
    """

    def __init__(self, page):
        self.page, self.troubles = page, []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", self.note)
        page.route("**/*", self.allow)

    def note(self, error):
        places = PLACE.findall(error.stack or "")
        theirs = places and all(THEIRS.search(place) for place in places)
        if not theirs and "Canceled future" not in str(error):  # JupyterLab's own without a place: a kernel was ended
            self.troubles.append(f"page error: {error}\n{error.stack}")

    def allow(self, route):
        local = route.request.url.startswith(("http://127.0.0.1", "file:", "data:", "blob:"))
        if not local:
            self.troubles.append(f"asked for {route.request.url}")
        route.continue_() if local else route.abort()

    # JupyterLab
    def open(self, name):
        self.command("docmanager:open", path=f"{name}.ipynb")
        found = "[...jupyterapp.shell.widgets('main')].find(w => w.context?.path === n)"
        active = "jupyterapp.shell.currentWidget === w"
        ready = f"w?.context.isReady && (jupyterapp.shell.activateById(w.id), {active})"
        self.page.wait_for_function(f"n => {{ const w = {found}; return {ready} }}", arg=f"{name}.ipynb")
        self.cell(0).wait_for()
        return self

    def close(self):
        """Save, end the kernel and close the notebook."""
        shut = "await w.context.save(); await w.sessionContext.shutdown(); w.dispose()"
        self.page.evaluate(f"async () => {{ const w = jupyterapp.shell.currentWidget; {shut} }}")

    def command(self, name, wait=True, **arguments):
        run = "jupyterapp.commands.execute(name, given)"
        wrapped = f"async () => {{ await {run} }}" if wait else f"() => {{ {run} }}"
        self.page.evaluate(f"([name, given]) => ({wrapped})()", [name, arguments])

    def run_all(self, wait=True):
        self.kernel_idle()
        self.command("notebook:run-all-cells", wait)
        if wait:
            self.kernel_idle()

    def run_cell(self, index, wait=False):
        self.page.evaluate("k => { jupyterapp.shell.currentWidget.content.activeCellIndex = k }", index)
        self.command("notebook:run-cell", wait)

    def kernel_idle(self):
        status = "jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status"
        self.page.wait_for_function(f"() => {status} === 'idle'")

    def outputs(self, index):
        """The outputs of a cell as they would be saved."""
        cell = "jupyterapp.shell.currentWidget.content.model.cells.get(k).toJSON()"
        return self.page.evaluate(f"k => {cell}.outputs", index)

    def printed(self, index):
        """What a cell has printed, once it has."""
        count = "jupyterapp.shell.currentWidget.content.model.cells.get(k).outputs.length"
        self.page.wait_for_function(f"k => {count}", arg=index)
        return "".join(output.get("text", "") for output in self.outputs(index))

    def cell(self, index):
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell").nth(index)

    def output(self, index):
        return self.cell(index).locator(".jp-Cell-outputArea")

    # pictures
    def picture(self, canvas):
        """What the canvas shows, as a short string; two are equal when every pixel is."""
        return hashlib.sha1(canvas.evaluate("c => c.toDataURL()").encode()).hexdigest()

    def wait_for_change(self, canvas, before):
        """Wait until the canvas shows something else than `before`; returns what."""
        for _ in range(PATIENCE // 50):
            if (now := self.picture(canvas)) != before:
                return now
            self.page.wait_for_timeout(50)
        raise AssertionError("the picture did not change")


@pytest.fixture(scope="session")
def lab(browser, server):
    """JupyterLab in a page; notebooks are opened and closed in it."""
    place = browser.new_context(viewport={"width": 1200, "height": 900})
    sight = Sight(place.new_page())
    sight.page.goto(f"{server.url}/lab/workspaces/tests", wait_until="domcontentloaded")
    sight.page.wait_for_function("() => window.jupyterapp?.commands.hasCommand('docmanager:open')")
    sight.page.evaluate("async () => { await jupyterapp.restored }")
    yield sight
    place.close()


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory):
    """The students' site with all its notebooks, each as one file too; its page that draws is without the runtime."""
    from cs348k_diffusion.authoring import site

    out = tmp_path_factory.mktemp("site") / "pages"
    assert site.build(out, one_file=True) == []
    return out


@pytest.fixture(scope="session")
def axe():
    """axe(page, where): what axe-core finds there that keeps people out, by rule, with the first place of each.

    all=True: what it calls minor or moderate, too; rules: those alone.
    """
    try:
        import axe_playwright_python
    except ImportError:
        missing("no axe-core: pip install axe-playwright-python")
    script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    run = """async ([where, all, rules]) => (await axe.run(where, rules ? { runOnly: rules } : {})).violations
      .filter((found) => all || ["serious", "critical"].includes(found.impact))
      .map((found) => [found.id, found.nodes[0].html, found.nodes[0].failureSummary])"""

    def look(page, where="html", all=False, rules=None):
        if not page.evaluate("() => Boolean(window.axe)"):
            page.evaluate(script)
        return page.evaluate(run, [where, all, rules])

    return look


@pytest.fixture
def plain_page(browser):
    """A page without a network, in the dark, for files."""
    place = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True, color_scheme="dark")
    yield Sight(place.new_page())
    place.close()
