"""A recording as one piece of HTML: a slider, Play, and the frames in it; no kernel, no network, nothing to install.

The frames travel as bytes (zlib, base64) beside the part of `player.js` that draws them on a canvas. Where scripts do
not run (a notebook not yet trusted, a page that shows outputs only) there is a poster: five moments, first to last.
"""

import base64
import json
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw
from torch import Tensor

from cs348k_diffusion.lab.frames import (
    Limits,
    Recording,
    caption_of,
    columns_for,
    encode,
    frame_of,
    is_points,
    limits_of,
    step_of,
    tiled,
)
from cs348k_diffusion.lab.page import Html, img_tag, need_alt, png_url

MOST_BYTES = 900_000  # of frames: with the poster and the script the player stays under 1 MB
MOMENT, SHARP = 150, 1.5  # CSS pixels of one moment of the poster, and dots per pixel where it is not made of pixels
PLAY = "play(document.currentScript.previousElementSibling,"
BLUE, GREY = (62, 146, 204), (128, 128, 128)  # readable on a white ground and on a dark one


class Look(TypedDict, total=False):
    """How frames are drawn; all of it optional.

    label: a heading. fps: frames per second of Play. limits: (x0, x1, y0, y1) of points, else all of them fit.
    background: (density (H, W), (x0, x1, y0, y1)), row 0 at y0. classes: (N,) whole numbers that colour the points.
    trail: how many earlier frames each point is joined to by a line. columns: of an image grid. each: what a frame is,
    "proposal" for "proposal 16" below it, or a function of its number that says it; items with a label() say it.
    """

    label: str
    fps: float
    limits: Limits
    background: tuple[Float[Tensor, "h w"], Limits]
    classes: Int[Tensor, " n"]
    trail: int
    columns: int
    each: str | Callable[[int], str]


def show_trajectory(
    states: Iterable[Any], *, alt: str, show: Callable[[Any], Tensor] | None = None, **look: Unpack[Look]
) -> Html:
    """A recording to scrub and play: any iterable of things with `frame()`, or of Tensors.

    points (N, 2) are drawn on equal axes whose limits hold for the whole recording; images (B, C, H, W), C = 1 or 3, in
    [-1, 1], as a grid of unsmoothed pixels. At most 60 frames and 1 MB are kept, the first and the last among them.
    Raises ValueError without `alt`, without a frame, or where frames differ in shape.
    """
    return player({"": record(states, show, look.get("each", "frame"))}, alt, **look)


def compare(
    runs: Mapping[str, Iterable[Any]], *, alt: str, show: Callable[[Any], Tensor] | None = None, **look: Unpack[Look]
) -> Html:
    """Several recordings under one slider: `compare({"DDPM": states, "DDIM": states}, alt=...)`.

    Point clouds share their limits. Recordings of different lengths are shown at the same fraction of each.
    """
    if not isinstance(runs, Mapping) or not runs:
        raise TypeError('compare takes a dict of recordings, such as {"DDPM": states, "DDIM": states}')
    each = look.get("each", "frame")
    return player({str(name): record(states, show, each) for name, states in runs.items()}, alt, **look)


def record(
    states: Iterable[Any], show: Callable[[Any], Tensor] | None = None, each: str | Callable[[int], str] = "frame"
) -> Recording:
    """Run through `states` and keep what a player needs; ValueError if there was nothing to see."""
    recording, k = Recording(), -1
    for k, item in enumerate(check_runs(states)):
        note(recording, item, k, frame_of(item, show), each)
    if k < 0:
        raise ValueError(
            "nothing to show: there was no state (an iterator can be run through only once;"
            " keep list(...) of it to show it twice)"
        )
    return recording.close()


def note(
    recording: Recording, item: Any, k: int, frame: Tensor | None, each: str | Callable[[int], str] = "frame"
) -> None:
    """Add one item to the recording: its frame, if it has one now, and its loss, if it has one."""
    if frame is not None:
        recording.add(frame, caption_of(item, k, each), step_of(item, k))
    if hasattr(item, "loss"):
        recording.curve.add(step_of(item, k), float(item.loss))


def check_runs(states: Any) -> Iterable[Any]:
    """`states` itself; TypeError unless it is something to step through."""
    if isinstance(states, (Tensor, str)) or hasattr(states, "frame") or not hasattr(states, "__iter__"):
        raise TypeError(
            f"a {type(states).__name__} does not run step by step; give an iterator or a list of states,"
            " such as ddim(model, noise, path(50)) or fit(model, ...)"
        )
    return states


def player(recordings: Mapping[str, Recording], alt: str, *, at_end: bool = False, **look: Unpack[Look]) -> Html:
    """The HTML of recordings under one slider, thinned until it is at most 1 MB; warns where that is not possible."""
    alt, limits = need_alt(alt), _limits(recordings, look)
    packed = _packed(recordings, limits)
    while len(packed) > MOST_BYTES and (smaller := _smaller(recordings)):
        recordings, packed = smaller, _packed(smaller, limits)
    if len(packed) > MOST_BYTES:
        size = f"{len(packed) / 1e6:.1f} MB"
        warnings.warn(f"this recording takes {size} of the notebook: show smaller images", stacklevel=3)
    spec = {
        "panels": [panel(name, r, limits, look, len(recordings)) for name, r in recordings.items() if r.frames],
        "curve": _curve(recordings),
        "alt": alt,
        "label": look.get("label", ""),
        "fps": look.get("fps", 12),
        "first": max(len(r.frames) for r in recordings.values()) - 1 if at_end else 0,
    }
    return Html(_page(_poster(recordings, limits, look, alt), spec, packed), _name(recordings))


def _packed(recordings: Mapping[str, Recording], limits: Limits | None) -> str:
    """Every frame of every recording, one after the other."""
    frames = b"".join(encode(frame, limits) for r in recordings.values() for frame in r.frames)
    return base64.b64encode(zlib.compress(frames, 6)).decode()


def _smaller(recordings: Mapping[str, Recording]) -> dict[str, Recording] | None:
    """Half the frames while there are more than 20, then half the points or images of each; None when that is done."""
    frames = max(len(r.frames) for r in recordings.values())
    many = max(len(frame) for r in recordings.values() for frame in r.frames[:1])
    if frames <= 20 and many == 1:
        return None
    stride, most = (2, many) if frames > 20 else (1, many // 2)
    return {name: r.thinned(stride, most) for name, r in recordings.items()}


def _page(poster: str, spec: dict[str, Any], packed: str) -> str:
    described = json.dumps(spec, separators=(",", ":")).replace("</", "<\\/")  # a caption must not end the script
    script = f'(()=>{{{source()}{PLAY}{described},"{packed}")}})()'
    return f'<style>{asset("player.css")}</style><div class="tp">{poster}</div><script>{script}</script>'


def panel(name: str, recording: Recording, limits: Limits | None, look: Look, of: int = 1) -> dict[str, Any]:
    """What `player.js` must know to draw the frames of one recording; `of` panels stand side by side."""
    first = recording.frames[0]
    captions = [caption + recording.note() for caption in recording.captions]
    shared = {"name": name, "count": len(first), "captions": captions, "size": {1: 340, 2: 300}.get(of, 230)}
    if not is_points(first):
        shape = dict(zip(("height", "width", "channels"), first.shape[1:], strict=True))
        columns = look.get("columns") or columns_for(len(first))
        return shared | shape | {"kind": "images", "columns": columns, "bytes": first.size}
    points = {"kind": "points", "bytes": 4 * len(first), "limits": limits, "trail": look.get("trail", 0)}
    return shared | points | _colouring(look, len(first))


def _colouring(look: Look, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "background" in look:
        density, extent = look["background"]
        height, width = density.shape
        found["background"] = {"width": width, "height": height, "extent": list(extent), "pixels": veil(density)}
    if "classes" in look:
        if len(look["classes"]) < count:
            raise ValueError(
                f"classes names the class of each point: {count} points, but {len(look['classes'])} classes"
            )
        found["classes"] = [int(c) for c in look["classes"][:count]]
    return found


def veil(density: Float[Tensor, "h w"]) -> str:
    """A density as packed bytes, 0 where it is 0 and 255 at its highest."""
    bright = (density.detach().cpu().float() / density.max().clamp_min(1e-30).cpu() * 255).clamp(0, 255)
    return base64.b64encode(zlib.compress(bright.to(torch.uint8).numpy().tobytes(), 9)).decode()


def _limits(recordings: Mapping[str, Recording], look: Look) -> Limits | None:
    """One set of limits for every frame of every recording; None for images."""
    clouds = [frame for r in recordings.values() for frame in r.frames if is_points(frame)]
    if not clouds:
        return None
    x0, x1, y0, y1 = look.get("limits") or limits_of(clouds)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"limits are (x0, x1, y0, y1) with x0 < x1 and y0 < y1; these are {(x0, x1, y0, y1)}")
    return (float(x0), float(x1), float(y0), float(y1))


def _curve(recordings: Mapping[str, Recording]) -> dict[str, Any] | None:
    """The losses of a single recording, and the training step at which each of its frames was taken."""
    recording = next(iter(recordings.values()))
    points = recording.curve.points()
    return {**points, "marks": recording.marks, "size": 340} if len(recordings) == 1 and points["step"] else None


def _name(recordings: Mapping[str, Recording]) -> str:
    names = " and ".join(filter(None, recordings))
    lengths = ", ".join(str(len(r.frames)) for r in recordings.values())
    return f"recording{' of ' + names if names else ''}: {lengths} frames"


@cache
def asset(name: str) -> str:
    """A file of this folder."""
    return (files("cs348k_diffusion.lab") / name).read_text("utf-8")


@cache
def source() -> str:
    """`player.js` without its comments and up to its second use, whose export an inline script may not have."""
    lines = asset("player.js").split("// ---- the other use")[0].splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("//"))


def renewed(html: str) -> str:
    """A stored recording, drawn by `player.js` as it is now; any other HTML as it is."""
    before, play, after = html.partition(PLAY)
    start = before.rfind("<script>(()=>{")
    return f"{before[:start]}<script>(()=>{{{source()}{play}{after}" if play and start >= 0 else html


def _poster(recordings: Mapping[str, Recording], limits: Limits | None, look: Look, alt: str) -> str:
    """A film strip: a row for each recording, five moments in each."""
    moments = [[_moment(r.frames[k], limits, look) for k in _moments(len(r.frames))] for r in recordings.values()]
    rows = [row for row in moments if row] or [[_moment_of_curve(r.curve.points())] for r in recordings.values()]
    wide, high = max(i.width for row in rows for i in row), max(i.height for row in rows for i in row)
    gap = wide // 10
    strip = Image.new("RGBA", (max(map(len, rows)) * (wide + gap) - gap, len(rows) * (high + gap) - gap), (0, 0, 0, 0))
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            strip.paste(image, (c * (wide + gap), r * (high + gap)))
    images = limits is None and any(r.frames for r in recordings.values())
    few = _few_shades(strip) if images else strip.quantize(64)
    return img_tag(png_url(few), alt, round(strip.width / (1 if images else SHARP)), look.get("label"))


def _few_shades(strip: Image.Image) -> Image.Image:
    """The same pictures in a third of the bytes: 16 greys, or 255 colours, near enough for a gradient without bands."""
    red, green, blue, alpha = strip.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        return Image.merge("LA", (red.point([round(v / 17) * 17 for v in range(256)]), alpha))
    few = strip.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.putpalette([*(few.getpalette() or ())[:765], 0, 0, 0])  # the last stands for the gaps
    few.paste(255, mask=alpha.point([255 * (v < 128) for v in range(256)]))
    few.info["transparency"] = 255
    return few


def _moments(count: int) -> list[int]:
    return sorted({round(k * (count - 1) / 4) for k in range(5)}) if count else []


def _moment(frame: np.ndarray, limits: Limits | None, look: Look) -> Image.Image:
    if not is_points(frame):
        image = tiled(frame, look.get("columns"), max(1, round(MOMENT / (np.sqrt(len(frame)) * frame.shape[2]))))
        image.thumbnail((160, 160))
        return image
    side, (x0, x1, y0, y1) = round(SHARP * MOMENT), limits or limits_of([frame])
    half = max(x1 - x0, y1 - y0) / 2
    at = (frame - [(x0 + x1) / 2, (y0 + y1) / 2]) / half * [0.5, -0.5] + 0.5
    cover = np.zeros((side, side))
    finite = at[np.isfinite(at).all(1)]
    for dx, dy, share in ((0, 0, 0.6), (1, 0, 0.3), (-1, 0, 0.3), (0, 1, 0.3), (0, -1, 0.3)):
        x, y = (np.rint(finite * side) + np.array([dx, dy])).T.astype(int)
        inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        np.add.at(cover, (y[inside], x[inside]), share)
    dots = Image.fromarray((np.minimum(cover, 1) * 15).astype(np.uint8) * 17)  # 16 shades: half the bytes
    image = Image.new("RGBA", (side, side), (*BLUE, 0))
    image.putalpha(dots)
    ImageDraw.Draw(image).rectangle((0, 0, side - 1, side - 1), outline=(*GREY, 110))
    return image


def _moment_of_curve(points: dict[str, list[float]]) -> Image.Image:
    image = Image.new("RGBA", (3 * MOMENT, round(SHARP * MOMENT)), (*BLUE, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, image.width - 1, image.height - 1), outline=(*GREY, 110))
    if len(points["loss"]) > 1:
        step, loss = np.array(points["step"]), np.array(points["loss"])
        x, y = (step - step[0]) / max(np.ptp(step), 1e-9), loss / max(loss.max(), 1e-9)
        draw.line(
            [
                (8 + u * (image.width - 16), image.height - 8 - v * (image.height - 16))
                for u, v in zip(x, y, strict=True)
            ],
            (*BLUE, 255),
            3,
        )
    return image
