"""The font of formulas: STIX Two Math, which comes with ziamath, cut down to the characters that formulas use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

RANGES = (
    (0x20, 0x7E),  # ASCII
    (0xA0, 0xFF),
    (0x2C6, 0x2DC),  # accents: hat, tilde, bar
    (0x300, 0x338),
    (0x391, 0x3F6),  # Greek
    (0x2010, 0x2064),  # dashes, primes, dots, invisible operators
    (0x20D0, 0x20E1),
    (0x2102, 0x2135),  # letters such as the real numbers and the ell
    (0x2190, 0x21D5),  # arrows
    (0x2200, 0x22FF),  # operators
    (0x2308, 0x230B),
    (0x23DC, 0x23E1),  # braces over and under
    (0x27E8, 0x27EF),
    (0x2A7D, 0x2A7E),
    (0x1D400, 0x1D467),  # bold and italic letters
    (0x1D49C, 0x1D4B5),  # script capitals
    (0x1D538, 0x1D56B),  # double-struck
    (0x1D6A4, 0x1D71B),  # bold and italic Greek
)


def characters() -> Iterator[int]:
    """Every code point that stays."""
    for first, last in RANGES:
        yield from range(first, last + 1)


def write(path: Path) -> None:
    """Write the font as WOFF, about 180 kB."""
    from fontTools.subset import Options, Subsetter, load_font, save_font

    logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # Sphinx has every logger speak
    options = Options(flavor="woff", hinting=False, desubroutinize=True, layout_features=["ssty", "dtls", "flac"])
    with (files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf").open("rb") as file:
        font = load_font(file, options)
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=list(characters()))
        subsetter.subset(font)
        save_font(font, str(path), options)
