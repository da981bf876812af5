"""The page on which the distilled student draws what a visitor types, in the browser and nowhere else.

The page itself is small: the grammar of sentences, in JavaScript. The student (as ONNX) and the runtime that evaluates
it are loaded by a click. The runtime is npm's onnxruntime-web, which is not part of the course: see `runtime`.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from cs348k_diffusion.authoring.site.drawing import runtime as npm
from cs348k_diffusion.data.pictures import captions, world

SCRIPTS = ("draw.css", "draw.js", "sentence.js")  # what the page loads at once
WORKER = ("walk.js", "worker.js")  # what a click loads, with the runtime and the model
MODEL = "student.onnx.gz"


def write(source: Path, runtime: Path | None) -> None:
    """Write the page, and what it loads, into the site's sources; without a runtime the page says that it is missing.

    runtime: a folder of npm's onnxruntime-web. Raises ValueError where that is something else, RuntimeError without
    the package `onnx`.
    """
    folder = source / "_static" / "drawing"
    folder.mkdir(parents=True)
    for name in SCRIPTS if runtime is None else (*SCRIPTS, *WORKER):
        (folder / name).write_text(text_of(name), encoding="utf-8")
    if runtime is None:
        (source / "draw.md").write_text(page(text_of("missing.html").format(how=escape(npm.HOW))), encoding="utf-8")
        return
    from cs348k_diffusion.authoring.site.drawing.export import student

    size = npm.copy(runtime, folder)
    model = student()
    (folder / MODEL).write_bytes(model)
    (source / "draw.md").write_text(page(form(size, len(model))), encoding="utf-8")


def page(body: str) -> str:
    """The page's source, around what stands where the pictures will."""
    return text_of("page.md").replace("<!-- body -->", body)


def form(runtime: int, model: int) -> str:
    """What is typed and what is drawn; runtime, model: how many bytes a click loads."""
    text = text_of("form.html").replace("{megabytes}", f"{(runtime + model) / 1e6:.0f}")
    return text.replace("{bytes}", str(runtime + model)).replace("{grammar}", json.dumps(grammar()))


def grammar() -> dict[str, object]:
    """What the page must know of `data.pictures.captions` to read a sentence as `parse` does."""

    def pattern(python: str) -> str:
        return "^" + python.replace("(?P<", "(?<")

    return {
        "words": captions.WORDS,
        "longest": captions.LONGEST,
        "counts": captions.COUNTS,
        "kinds": world.KINDS,
        "sizes": world.SIZES,
        "sky": captions.SKY,
        "lights": world.LIGHTS,
        "most": world.MOST,
        "instead": captions.INSTEAD,
        "near": captions.NEAR,
        "examples": captions.EXAMPLES,
        "after": captions.AFTER,
        "group": pattern(captions.GROUP.pattern),
        "relation": pattern(captions.RELATION.pattern),
        "tail": pattern(captions.TAIL.pattern),
    }


def text_of(name: str) -> str:
    """A file of this folder."""
    return (files("cs348k_diffusion.authoring.site.drawing") / name).read_text(encoding="utf-8")
