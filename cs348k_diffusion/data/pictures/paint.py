"""The paint box: the colours of things, of the sky at each time of day and of the ground in each season."""

from __future__ import annotations

from cs348k_diffusion.procedural.render import rgb

Colour = tuple[float, float, float]

THINGS = {
    "red": rgb("#dd2233"),
    "orange": rgb("#fb8b12"),
    "green": rgb("#14924a"),
    "blue": rgb("#2b5fe0"),
    "purple": rgb("#8f3bd1"),
    "white": rgb("#fbf8f2"),
}
BARK, SNOW, BLOSSOM, DARK, INK = map(rgb, ("#6a4630", "#f7fbff", "#ffd3e6", "#3b2f3a", "#1c1a26"))
PINK, PANE, LAMP, STAR, SUN, MOON, CLOUD = map(
    rgb, ("#f3a0ab", "#bfe3f7", "#ffdf6b", "#fff6d0", "#ffd83d", "#fdf3c8", "#ffffff")
)
SKY = {
    "day": (rgb("#6db7ec"), rgb("#d3edfa")),
    "dusk": (rgb("#5b4a8f"), rgb("#f4a78d")),
    "night": (rgb("#0a0f2e"), rgb("#27336b")),
}
GROUND = {"spring": rgb("#c2e26e"), "summer": rgb("#86bd58"), "autumn": rgb("#d6b878"), "winter": rgb("#dde8f3")}
TINT = {"day": (rgb("#ffffff"), 0.0), "dusk": (rgb("#6a4a80"), 0.38), "night": (rgb("#0e1640"), 0.55)}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """a with a share of b, in [0, 1], mixed in."""
    red, green, blue = ((1 - share) * p + share * q for p, q in zip(a, b, strict=True))
    return red, green, blue


def shade(colour: Colour, by: float) -> Colour:
    """The colour lighter (by > 0) or darker (by < 0), by in [-1, 1]."""
    return mix(colour, (1.0, 1.0, 1.0) if by > 0 else (-1.0, -1.0, -1.0), abs(by))
