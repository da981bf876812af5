"""Run the solutions and store what they show: `python -m cs348k_diffusion.authoring.outputs [02 ...]`.

Every notebook runs from the top in a fresh kernel, on one thread, with CS348K_STRICT=1, so that a failing check stops
it. Players and pictures with alt text are kept; widget views and stderr, which mean nothing once the kernel is gone,
are dropped. A picture without alt text, a repr with a memory address and more than 3 MB are errors.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from cs348k_diffusion.authoring.handout import KEPT, METADATA, read, text

LIMIT = 3_000_000  # bytes of a stored notebook
WIDGET = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}\b|\bid=\d{12,}\b")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class OutputError(ValueError):
    """A notebook whose outputs cannot be stored; the text lists every reason."""


def store(path: Path, timeout: int = 300) -> float:
    """Run the notebook and write its outputs into it; returns the seconds it took. Raises OutputError."""
    notebook = read(path)
    start = time.monotonic()
    execute(notebook, path.name, timeout)
    seconds = time.monotonic() - start
    tidy(notebook)
    new = text(notebook)
    if problems := [*output_problems(notebook), *size_problems(new)]:
        raise OutputError("\n".join(f"{path.name}: {problem}" for problem in problems))
    path.write_text(new, encoding="utf-8", newline="\n")
    return seconds


def execute(notebook: NotebookNode, name: str, timeout: int = 300, blank: bool = False) -> None:
    """Run every cell in a fresh kernel of this Python, in an empty folder, on one thread.

    A blank student notebook (`blank`) runs on after an error, as it does for a student who runs all cells.
    Raises OutputError naming the cell that failed, took too long or killed the kernel.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as ipython:
        given = ONE_THREAD | {
            "IPYTHONDIR": ipython,
            "CS348K_STRICT": "" if blank else "1",
            "CS348K_QUICK": "1" if blank else "",
        }
        client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", record_timing=False)
        client.allow_errors, client.resources = blank, {"metadata": {"path": folder}}
        client.extra_arguments = ["--log-level=ERROR"]  # a kernel on loopback warns that it is not encrypted
        try:
            with environment(given):
                client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise OutputError(f"{name}: {error}") from error


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, for the kernels started inside; the old ones afterwards."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


# What is kept


def tidy(notebook: NotebookNode) -> None:
    """Keep what still means something without a kernel; count the cells from 1; fix the metadata."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat_minor = 5
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT if key in cell.metadata})
        if cell.cell_type == "code":
            cell.outputs = list(stored(cell.outputs))
            count += bool(cell.source.strip())
            cell.execution_count = count if cell.source.strip() else None
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count


def stored(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs to store: no stderr, no widget views, neighbouring prints as one."""
    last = None
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if "data" in output and output.data.pop(WIDGET, None) is not None:
            output.data.pop("text/plain", None)  # only the widget's repr
            if not output.data:
                continue
        if output.output_type == "stream" and last is not None and last.output_type == "stream":
            last.text += output.text
            continue
        last = output
        yield output


# What is refused


def output_problems(notebook: NotebookNode) -> Iterator[str]:
    """Errors, pictures without alt text and memory addresses among the outputs, each with its cell's id."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from (f"cell {cell.id!r}: {problem}" for problem in _problems(output))


def _problems(output: NotebookNode) -> Iterator[str]:
    data = output.get("data", {})
    if output.output_type == "error":
        yield f"ends in {output.ename}: {output.evalue}"
    for kind in data:
        if kind.startswith("image/"):
            yield f"shows a bare {kind}, which has no alt text: use show_figure(fig, alt=...) or image_grid(x, alt=...)"
    for tag in images(data.get("text/html", "")):
        if not (tag.get("alt") or "").strip():
            yield f"holds an <img> without alt text: {str(tag.get('src'))[:40]}"
    if ADDRESS.search(data.get("text/plain", "") + output.get("text", "")):
        yield "shows a memory address, which differs in every run: assign the value, or end the line with a semicolon"


def size_problems(stored: str) -> Iterator[str]:
    """One sentence when the file would exceed the limit."""
    size = len(stored.encode())
    if size > LIMIT:
        yield f"stores {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}: show fewer frames, or smaller pictures"


def images(html: str) -> list[dict[str, str | None]]:
    """The attributes of every <img> in a piece of HTML (those written by a script do not count)."""
    finder = _Images()
    finder.feed(html)
    return finder.found


class _Images(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))


def chosen(folder: Path, which: list[str]) -> list[Path]:
    """The solutions whose names begin with one of these numbers (all, when none is given)."""
    found = [path for path in sorted(folder.glob("*.ipynb")) if not which or path.name.startswith(tuple(which))]
    if not found:
        raise OutputError(f"{folder}: no notebook begins with {' or '.join(which) or 'anything'}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run solutions one after the other and store their outputs; 1 when one of them cannot be stored."""
    parser = argparse.ArgumentParser(prog="python -m cs348k_diffusion.authoring.outputs", description=main.__doc__)
    parser.add_argument("which", nargs="*", metavar="NN", help="numbers of the notebooks, like 02; all of them without")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"))
    given, failed = parser.parse_args(arguments), False
    for path in chosen(given.solutions, given.which):
        try:
            print(f"{path.name}: {store(path):.0f} s, {path.stat().st_size / 1e6:.2f} MB", flush=True)
        except OutputError as error:
            failed = True
            print(error, file=sys.stderr, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
