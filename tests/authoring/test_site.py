"""The site: complete, without a network, and without solutions where students read it."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cs348k_diffusion.authoring import handout, lecture, site
from cs348k_diffusion.authoring.lecture.slides import SLIDES
from cs348k_diffusion.authoring.site import extension, pages, reference

ROOT = Path(__file__).parents[2]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
SMALL = ("00", "02")
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href", "use": "href"}
NOT_READ = ("script", "style", "pre", "code")


class Page(HTMLParser):
    """What a page loads, the text that a reader sees outside of code, and all of its text."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.read, self.text, self.within, self.formulas = [], "", "", [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADS.get(tag, ""), "")
        self.loads += [address] if address else []
        self.within += [tag] if tag in NOT_READ else []
        self.formulas += tag == "math"

    def handle_endtag(self, tag):
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data):
        self.text += data
        self.read += "" if self.within else data


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The students' site of two notebooks: its folder."""
    out = tmp_path_factory.mktemp("site") / "pages"
    assert site.build(out, which=SMALL, one_file=True) == []
    return out


def named(which):
    return [path for path in SOLUTIONS if path.name.startswith(which)]


def lines_of_solutions(path):
    """The lines that the student's notebook has not, markers aside."""
    solved = handout.read(path)
    given = handout.student_notebook(solved, handout.points_of(path.stem))
    kept = {line.strip() for cell in given.cells for line in cell.source.splitlines()}
    lines = {line.strip() for cell in solved.cells for line in cell.source.splitlines()}
    return {line for line in lines - kept if len(line) > 12 and not handout.MARKER.fullmatch(line)}


def test_nothing_is_loaded_from_elsewhere(built):
    for path in built.rglob("*.html"):
        outside = [address for address in Page(path).loads if re.match(r"(https?:)?//", address)]
        assert outside == [], path.name
    for path in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_what_is_loaded_is_there(built):
    for path in built.rglob("*.html"):
        for address in Page(path).loads:
            file = re.split(r"[?#]", address)[0]
            assert not file or file.startswith("data:") or (path.parent / file).is_file(), f"{path.name}: {address}"


def test_every_film_is_there(built):
    for path in named(SMALL):
        films = path.read_text(encoding="utf-8").count('<div class=\\"tp\\">')
        assert films > 0
        assert (built / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8").count(pages.PLAYER) == films


def test_a_notebook_as_one_file_holds_all_it_needs(built):
    for path in named(SMALL):
        file = built / "one_file" / path.name.replace(".ipynb", ".html")
        text, page = file.read_text(encoding="utf-8"), Page(file)
        assert file.stat().st_size < 3_000_000
        assert [address for address in page.loads if not address.startswith("data:")] == []
        assert "math.woff" not in text
        assert text.count(pages.PLAYER) == (built / "notebooks" / file.name).read_text("utf-8").count(pages.PLAYER)
        assert not re.search(r'<a class="reference internal" href="[^#]', text)


def test_every_picture_of_the_gallery_leads_to_its_place(built):
    links = re.findall(r'class="tile" href="([^"#]+)#([^"]+)"', (built / "gallery.html").read_text(encoding="utf-8"))
    assert len(links) > 8
    for page, anchor in links:
        assert f'id="{anchor}"' in (built / page).read_text(encoding="utf-8"), anchor


def test_the_lecture_has_the_slides_of_the_notebooks_that_are_there(built):
    text, page = (built / "lecture.html").read_text(encoding="utf-8"), Page(built / "lecture.html")
    shown = [slide for slide in SLIDES if slide.shown[0] in SMALL]
    assert [slide.title for slide in SLIDES if f"{SLIDES.index(slide) + 1}. {slide.title}" in page.read] == [
        slide.title for slide in shown
    ]
    assert page.formulas == sum(len(slide.formulas) for slide in shown)
    assert text.count(pages.PLAYER) == sum(pages.PLAYER in lecture.stored(*slide.shown) for slide in shown) > 0
    links = re.findall(r'href="(notebooks/[^"#]+)#([^"]+)"', text)
    assert len(links) == len(shown) > 2
    for name, anchor in links:
        assert f'id="{anchor}"' in (built / name).read_text(encoding="utf-8"), anchor


def test_formulas_are_rendered(built):
    words = [cell.source for cell in handout.read(SOLUTIONS[2]).cells if cell.cell_type == "markdown"]
    formulas = len(re.findall(r"\$\$.+?\$\$|\$[^$]+?\$", "\n".join(words), re.DOTALL))
    assert formulas > 20
    assert Page(built / "notebooks" / f"{SOLUTIONS[2].stem}.html").formulas == formulas
    for path in built.rglob("*.html"):
        assert "$" not in Page(path).read, path.name


def test_a_formula_that_mathml_cannot_show_is_refused():
    with pytest.raises(ValueError, match="nosuchcommand"):
        extension.mathml(r"\nosuchcommand{x}", "inline")


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_students_see_no_solution(path):
    """Neither in a cell nor in an output, and no card that says what was right."""
    secrets = lines_of_solutions(path)
    assert secrets
    shown = pages.shown(path, ROOT, solutions=False)
    texts = [cell.source for cell in shown.cells]
    texts += [text for cell in shown.cells for o in cell.get("outputs", []) for text in o.get("data", {}).values()]
    texts += [o.get("text", "") for cell in shown.cells for o in cell.get("outputs", [])]
    every = "\n".join(texts)
    assert [line for line in secrets if line in every] == []
    assert pages.CARD not in every


def test_no_page_of_the_students_site_has_a_solution(built):
    every = "\n".join(Page(path).text for path in built.rglob("*.html"))
    every += (built / "searchindex.js").read_text(encoding="utf-8")
    for path in named(SMALL):
        assert [line for line in lines_of_solutions(path) if line in every] == [], path.name


@pytest.mark.parametrize("path", named(SMALL), ids=lambda path: path.stem)
def test_the_instructors_edition_has_the_solutions_without_their_markers(path):
    every = "\n".join(cell.source for cell in pages.shown(path, ROOT, solutions=True).cells)
    assert [line for line in lines_of_solutions(path) if line not in every] == []
    assert "### BEGIN SOLUTION" not in every


def test_a_second_site_takes_the_place_of_the_first_and_warns_of_nothing(built, tmp_path, capsys):
    shutil.copytree(built, tmp_path / "pages")
    (tmp_path / "pages" / "old.html").write_text("old")
    assert site.build(tmp_path / "pages", solutions=True, which=("02",)) == []
    assert not (tmp_path / "pages" / "old.html").exists()
    every = Page(tmp_path / "pages" / "notebooks" / f"{SOLUTIONS[2].stem}.html").text
    assert [line for line in lines_of_solutions(SOLUTIONS[2]) if line not in every] == []
    assert capsys.readouterr() == ("", "")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(site.SiteError, match="something else"):
        site.build(tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_without_sphinx_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "furo", None)
    with pytest.raises(RuntimeError, match=r"cs348k_diffusion\[site\]"):
        site.build(tmp_path / "out")


def test_a_docstring_of_plain_text_keeps_its_letters():
    lines = ["x_t = |a| * b, see `path(n)`.", "", "  x -> y", "  z_", "done"]
    assert [line for line in reference.rst(lines) if line] == [
        r"x\_t = \|a\| \* b, see ``path(n)``.", "::", "     x -> y", "     z_", "done",
    ]  # fmt: skip


def test_an_equation_in_a_docstring_stays_as_it_is():
    lines = [
        "One step.",
        "",
        "x_t = alpha x0 + sigma eps,   eps ~ N(0, I)",
        "",
        "A sentence = text, with a dot.",
    ]
    assert [line for line in reference.rst(lines) if line] == [
        "One step.", "::", "   x_t = alpha x0 + sigma eps,", "   eps ~ N(0, I)", "A sentence = text, with a dot.",
    ]  # fmt: skip


def test_every_module_that_readers_use_has_a_page(tmp_path):
    names = reference.modules()
    assert {"schedule", "sampling", "nets.unet", "attention"} <= set(names)
    assert not {name for name in names if name.startswith(("grading", "authoring", "exercises"))}
    reference.write(tmp_path / "reference", names)
    written = "\n".join(path.read_text(encoding="utf-8") for path in (tmp_path / "reference").glob("*.rst"))
    assert [name for name in names if f".. automodule:: cs348k_diffusion.{name}\n" not in written] == []
