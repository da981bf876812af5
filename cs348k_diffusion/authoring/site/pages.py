"""The notebooks as Sphinx reads them, and the pages made from them: the first page, the lecture and the gallery."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nbformat import NotebookNode
from PIL import Image, ImageFilter

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.authoring.outputs import images
from cs348k_diffusion.authoring.site import lecture_page
from cs348k_diffusion.lab.player import BLUE

SPARSE = 12  # of 255: the mean opacity of a poster that is nearly empty
PLAYER = '<div class="tp">'
SEVERAL = re.compile(r'"captions":\["(?:[^"\\]|\\.)*",')  # a player of one frame, as `explore` leaves it, is a figure
CARD = 'role="group" aria-label="check"'  # what `check` shows under an exercise
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<name>\w+\.ipynb)\)")
PROMISE = re.compile(r"\*\*about\*\* (?P<minutes>\d+) minutes.*?\*\*(?P<points>\d+) points?\*\*", re.DOTALL)


class Picture(NamedTuple):
    """A film or a figure of a notebook: where it is, what it shows (its alt text) and its address (data:)."""

    anchor: str
    alt: str
    address: str
    film: bool

    def file(self, notebook: str) -> str:
        """The name of its thumbnail."""
        return f"{notebook}-{self.anchor}.png"


@dataclass(frozen=True)
class Lesson:
    """What the first page and the gallery say of a notebook."""

    name: str  # 02_forward_noising
    title: str  # 02 Forward noising
    question: str
    minutes: str
    points: str
    pictures: tuple[Picture, ...]


def write(source: Path, root: Path, solutions: bool, which: Sequence[str] = ()) -> list[Lesson]:
    """Write the pages' sources into the folder `source`; returns the notebooks that are among them."""
    (source / "notebooks").mkdir(parents=True)
    lessons, paths = [], chosen(root / "solutions", which)
    for path in paths:
        notebook = shown(path, root, solutions)
        _keep_links(notebook, {path.name for path in paths})
        lessons.append(lesson(path.stem, notebook))
        (source / "notebooks" / path.name).write_text(handout.text(notebook), encoding="utf-8")
    (source / "_static").mkdir()
    for name in ("site.css", "site.js", "one_file.css"):
        (source / "_static" / name).write_text(text_of(name), encoding="utf-8")
    (source / "symbols.md").write_text(symbols([one.name for one in lessons]), encoding="utf-8")
    (source / "index.md").write_text(index(lessons, solutions), encoding="utf-8")
    (source / "gallery.md").write_text(gallery(lessons), encoding="utf-8")
    (source / "lecture.md").write_text(
        lecture_page.write({one.name[:2]: one.name for one in lessons}, {one.name[:2]: one.title for one in lessons}),
        encoding="utf-8",
    )
    (source / "_static" / "gallery").mkdir()
    for one in lessons:
        for picture in one.pictures:
            thumbnail(picture).save(source / "_static" / "gallery" / picture.file(one.name), optimize=True)
    return lessons


def chosen(folder: Path, which: Sequence[str]) -> list[Path]:
    """The solutions whose names begin with one of these numbers, or all of them. ValueError where there is none."""
    found = [path for path in sorted(folder.glob("*.ipynb")) if not which or path.name.startswith(tuple(which))]
    if not found:
        wanted = (
            f" that begins with {' or '.join(which)}" if which else ": the site is made from the instructor's clone"
        )
        raise ValueError(f"{folder} has no notebook{wanted}")
    return found


# One notebook


def shown(path: Path, root: Path, solutions: bool) -> NotebookNode:
    """The notebook with its stored outputs: as students get it, or solved.

    Students see neither solutions nor the cards of the checks; hidden code is folded, and every picture has an anchor.
    """
    solved = handout.read(path)
    worth = handout.points_of(path.stem, root / "cs348k_diffusion" / "exercises")
    outputs = {cell.id: cell.get("outputs", []) for cell in solved.cells}
    notebook = handout.notebook_of(solved.cells) if solutions else handout.student_notebook(solved, worth)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_anchored(o, cell.id) for o in outputs[cell.id] if solutions or not _is_card(o)]
            cell.execution_count = None
            if cell.metadata.get("jupyter", {}).get("source_hidden"):
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        if cell.cell_type == "markdown" and cell is not notebook.cells[0]:
            cell.source = re.sub(r"^# ", "## ", cell.source, flags=re.MULTILINE)  # a page has one title
        if solutions:
            cell.source = "\n".join(line for line in cell.source.splitlines() if not handout.MARKER.fullmatch(line))
    return notebook


def _keep_links(notebook: NotebookNode, names: set[str]) -> None:
    """Links to notebooks that are not in the site become plain text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: link[0] if link["name"] in names else link["text"], cell.source)


def _is_card(output: NotebookNode) -> bool:
    return CARD in output.get("data", {}).get("text/html", "")


def _anchored(output: NotebookNode, cell: str) -> NotebookNode:
    """The output, with a target for the gallery in front of a picture."""
    shown = output.get("data", {}).get("text/html", "")
    if images(shown):
        output.data["text/html"] = f'<span class="picture-target" id="picture-{cell}"></span>{shown}'
    return output


def lesson(name: str, notebook: NotebookNode) -> Lesson:
    """What there is to say of a notebook, from its first cell and its pictures. ValueError without a title."""
    first = notebook.cells[0].source
    title = re.match(r"# (.+)", first)
    if not title:
        raise ValueError(f"{name}: the first line of the first cell is not a title")
    question = re.search(r"^\*(?!\*)(.+?)\*$", first, re.DOTALL | re.MULTILINE)
    promise = PROMISE.search(first)
    asked = " ".join(question[1].split()) if question else ""
    minutes, points = (promise["minutes"], promise["points"]) if promise else ("", "")
    return Lesson(name, title[1], asked, minutes, points, tuple(pictures(notebook)))


def pictures(notebook: NotebookNode) -> Iterator[Picture]:
    """Its films (by their posters) and figures, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/html", "")
            for image in images(text)[:1]:
                film = PLAYER in text and bool(SEVERAL.search(text))
                yield Picture(f"picture-{cell.id}", image.get("alt") or "", image.get("src") or "", film)


# The pages made from all of them


def index(lessons: Sequence[Lesson], solutions: bool) -> str:
    """The first page: what the course is, and a table of its notebooks."""
    rows = [
        f"| [{one.title}](notebooks/{one.name}.ipynb) | {one.question} | {one.minutes} | {one.points} |"
        for one in lessons
    ]
    edition = "\n\nThis is the instructor's edition: it has the solutions.\n" if solutions else ""
    opening = text_of("index.md")
    contents = "\n".join(f"notebooks/{one.name}" for one in lessons)
    return (
        opening.replace("<!-- edition -->", edition)
        .replace("<!-- rows -->", "\n".join(rows))
        .replace("<!-- notebooks -->", contents)
    )


def symbols(names: Sequence[str]) -> str:
    """Letters and words; a notebook is linked by its number, and stays a number where it is not in the site."""
    numbers = {name[:2]: name for name in names}

    def link(found: re.Match[str]) -> str:
        name = numbers.get(found["number"])
        return f"| [{found['number']}](notebooks/{name}.ipynb) |" if name else f"| {found['number']} |"

    return re.sub(r"\| (?P<number>\d\d) \|$", link, text_of("symbols.md"), flags=re.MULTILINE)


def text_of(name: str) -> str:
    """A file of this folder."""
    return (files("cs348k_diffusion.authoring.site") / name).read_text(encoding="utf-8")


def gallery(lessons: Sequence[Lesson]) -> str:
    """All films and figures, notebook by notebook; each leads to its place."""
    opening = "Five moments of each film; the link leads to the film itself. [The lecture](lecture.md) has its own."
    parts = ["# Films and figures", "", opening, ""]
    for one in lessons:
        films = [picture for picture in one.pictures if picture.film]
        figures = [picture for picture in one.pictures if not picture.film]
        parts += [f"## {one.title}", "", '<div class="films">', *(_tile(one, film) for film in films), "</div>", ""]
        parts += ['<div class="figures">', *(_tile(one, figure) for figure in figures), "</div>", ""]
    return "\n".join(parts)


def _tile(lesson: Lesson, picture: Picture) -> str:
    alt = html.escape(picture.alt)
    address, file = f"notebooks/{lesson.name}.html#{picture.anchor}", f"_static/gallery/{picture.file(lesson.name)}"
    return f'<a class="tile" href="{address}"><img alt="" loading="lazy" src="{file}"><span>{alt}</span></a>'


def thumbnail(picture: Picture) -> Image.Image:
    """A picture at most 720 pixels wide, in 128 colours; where it is a few dots on nothing, the dots are larger."""
    image = Image.open(BytesIO(base64.b64decode(picture.address.partition(",")[2]))).convert("RGBA")
    cover = image.getchannel("A")
    if picture.film and np.asarray(cover).mean() < SPARSE:
        image = Image.new("RGBA", image.size, (*BLUE, 0))
        image.putalpha(cover.filter(ImageFilter.MaxFilter(5)))
    image.thumbnail((720, 720))
    return image.quantize(128)
