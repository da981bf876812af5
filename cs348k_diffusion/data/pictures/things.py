"""Cats and houses, drawn from a handful of shapes each, of height about 1 and standing at (0, 0)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cs348k_diffusion.data.pictures.backdrop import Setting
from cs348k_diffusion.data.pictures.keyed import KeyedDraws
from cs348k_diffusion.data.pictures.layout import Thing
from cs348k_diffusion.data.pictures.paint import DARK, INK, LAMP, PANE, PINK, SNOW, Colour, shade
from cs348k_diffusion.procedural.render import Part, capsule, disc, ellipse, polygon


class Pen:
    """Draws in the thing's own coordinates: x mirrored when it faces left, scaled, and moved to where it stands."""

    def __init__(self, thing: Thing, facing: int):
        self.at, self.scale, self.facing = thing.at, thing.upwards, facing
        self.parts: list[Part] = []

    def put(self, x: float, y: float) -> tuple[float, float]:
        return self.at[0] + self.facing * self.scale * x, self.at[1] + self.scale * y

    def stroke(self, x0: float, y0: float, x1: float, y1: float, r0: float, r1: float, colour: Colour) -> None:
        ends = self.put(x0, y0), self.put(x1, y1)
        self.parts.append(capsule(*ends, r0 * self.scale, r1 * self.scale, colour))

    def dot(self, x: float, y: float, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        self.parts.append(disc(self.put(x, y), radius * self.scale, colour, opacity))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self.parts.append(ellipse(self.put(x, y), (rx * self.scale, ry * self.scale), 0.0, colour))

    def box(self, left: float, low: float, right: float, high: float, colour: Colour) -> None:
        self.shape([(left, low), (right, low), (right, high), (left, high)], colour)

    def shape(self, corners: Sequence[tuple[float, float]], colour: Colour) -> None:
        self.parts.append(polygon([self.put(*corner) for corner in corners], colour))


def cat(thing: Thing, colour: Colour, rng: KeyedDraws, lacks: Collection[str] = ()) -> list[Part]:
    """A cat, sitting or walking, that faces left or right; lacks: "eyes" or "ears" that are left out."""
    pen = Pen(thing, rng.pick((-1, 1)))
    dark, lift = shade(colour, -0.3), rng.uniform(-0.08, 0.08)
    if thing.form == "sitting":
        pen.stroke(-0.2, 0.1, -0.42, 0.3 + lift, 0.07, 0.07, dark)
        pen.stroke(-0.42, 0.3 + lift, -0.36, 0.5 + lift, 0.07, 0.05, dark)
        pen.stroke(0.0, 0.22, 0.04, 0.48, 0.26, 0.18, colour)
        pen.stroke(0.12, 0.06, 0.12, 0.3, 0.07, 0.07, shade(colour, 0.18))
        _head(pen, 0.06, 0.72, colour, lacks)
    else:
        pen.stroke(-0.42, 0.46, -0.6, 0.72 + lift, 0.07, 0.06, dark)
        pen.stroke(-0.6, 0.72 + lift, -0.54, 0.88 + lift, 0.06, 0.05, dark)
        for x, paint in ((-0.26, dark), (0.3, dark), (-0.38, colour), (0.18, colour)):
            pen.stroke(x, 0.3, x + rng.uniform(-0.05, 0.05), 0.06, 0.08, 0.06, paint)
        pen.stroke(-0.3, 0.4, 0.24, 0.42, 0.2, 0.18, colour)
        _head(pen, 0.38, 0.66, colour, lacks)
    return pen.parts


def _head(pen: Pen, x: float, y: float, colour: Colour, lacks: Collection[str]) -> None:
    for side in () if "ears" in lacks else (-1, 1):
        pen.shape(
            [(x + side * 0.24, y + 0.04), (x + side * 0.03, y + 0.18), (x + side * 0.22, y + 0.36)],
            shade(colour, -0.18),
        )
    pen.oval(x, y, 0.26, 0.22, colour)
    for side in () if "eyes" in lacks else (-1, 1):
        pen.dot(x + 0.03 + side * 0.11, y + 0.03, 0.055, INK)
    pen.dot(x + 0.03, y - 0.07, 0.035, PINK)


def house(thing: Thing, colour: Colour, setting: Setting, rng: KeyedDraws) -> list[Part]:
    """A house with a pitched roof, a door, windows lit after dark, and a chimney that sometimes smokes."""
    pen = Pen(thing, rng.pick((-1, 1)))
    half, eaves, top = (0.5, 0.58, rng.uniform(1.0, 1.12)) if thing.form == "cottage" else (0.37, 0.84, 1.34)
    pen.box(0.44 * half, top - 0.42, 0.76 * half, top, DARK)
    if rng.chance(40) and not setting.hill:  # smoke would rise into what stands above
        for k, drift in enumerate((0.0, 0.08, 0.2)):
            pen.dot(0.6 * half + drift, top + 0.12 + 0.16 * k, 0.07 + 0.03 * k, SNOW, 0.55 - 0.1 * k)
    pen.box(-half, 0.0, half, eaves, colour)
    pen.shape([(-half - 0.12, eaves - 0.04), (half + 0.12, eaves - 0.04), (0.0, top)], shade(colour, -0.42))
    if setting.season == "winter":
        for side in (-1, 1):
            pen.stroke(side * half, eaves + 0.09, 0.0, top, 0.05, 0.06, SNOW)
    pen.box(0.16 * half, 0.0, 0.64 * half, 0.36, DARK)
    for y in (0.2,) if thing.form == "cottage" else (0.14, 0.52):
        pen.box(-0.72 * half, y, -0.2 * half, y + 0.24, PANE if setting.sky == "day" else LAMP)
    return pen.parts
