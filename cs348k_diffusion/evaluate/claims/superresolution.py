"""Claims of notebook 09, S1 to S7: ways to enlarge pictures, read from the cards `superresolution`, `equal_compute`.

A seed has pictures (of the second card, prompts) and noise of its own, the same for every way. FD is of as many
pictures for every setting. No model is trained twice: an interval says nothing about another training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import runs
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.evaluate.studies.equal_compute import BUDGETS

HERE, CARD = "cs348k_diffusion.evaluate.claims.superresolution:", "superresolution"
EQUAL, LONG = "equal_compute", max(BUDGETS)


def row_of(seed: int, part: str, folder: Path = FOLDER, **levels: Any) -> dict[str, Any]:
    """The card's one row of a seed and part that has these levels."""
    (row,) = runs(CARD, folder, seed=seed, part=part, **levels)
    return row


def way(seed: int, method: str, folder: Path = FOLDER) -> dict[str, float]:
    """PSNR, FD, the reader's agreement, and how far one way to enlarge is from its input when shrunk again (RMS)."""
    row, evaluations = row_of(seed, "method", folder, method=method), {"one draw": 10, "mean of 4 draws": 40}
    numbers = {name: row[name] for name in ("agreement", "shrunk_rms")}
    return {**numbers, "PSNR": row["psnr"], "FD": row["fd"], "cost": evaluations.get(method, 1)}


def spread(seed: int, folder: Path = FOLDER) -> dict[str, float]:
    """The standard deviation of a pixel over draws from one small picture."""
    return {"std": row_of(seed, "spread", folder)["std"], "cost": 10}


def misses(seed: int, folder: Path = FOLDER) -> dict[str, float]:
    """How far a draw is from its input when shrunk again, as a multiple of regression's distance."""
    draw, regression = (way(seed, method, folder)["shrunk_rms"] for method in ("one draw", "regression"))
    return {"ratio": draw / regression, "cost": 10}


def augmented(seed: int, start: str, level: float, folder: Path = FOLDER) -> dict[str, float]:
    """FD at 32 pixels from true or generated small pictures, at a level of augmentation."""
    return {"FD": row_of(seed, "augmentation", folder, start=start, level=level)["fd"], "cost": 10}


def split(seed: int, low: int, high: int, folder: Path = FOLDER) -> dict[str, float]:
    """FD at 32 pixels after `low` steps at 8 pixels and `high` at 32; its cost is in gigaflops a picture."""
    row = row_of(seed, "allocation", folder, low=low, high=high)
    return {"FD": row["fd"], "cost": row["gigaflops"]}


def at_equal_compute(seed: int, way: str, budget: float, folder: Path = FOLDER) -> dict[str, float]:
    """FD and adherence of one set of prompts at 64 pixels, of a way that was trained and drawn at equal cost."""
    (run,) = runs(EQUAL, folder, way=way, budget=budget)
    row = run["sets"][seed]
    return {"FD": row["fd"], "share of parts": row["parts"], "cost": budget}


SAME: dict[str, Any] = {
    "seeds": 5, "source": "Saharia et al. 2021, tables 1 and 2", "notebook": "09", "card": CARD,
}  # fmt: skip
CASCADES: dict[str, Any] = {**SAME, "source": "Ho et al. 2021, Cascaded Diffusion Models"}
AUGMENTED: dict[str, Any] = {**CASCADES, "factors": {"start": ("true", "generated"), "level": (0.0, 0.1)}}
DRAW, REGRESSION, BICUBIC = ({"method": name} for name in ("one draw", "regression", "bicubic"))
TRAINED = f"{LONG:g}e12 multiply-adds of training"
PIXELS, CASCADE, CODES = ({"way": way, "budget": LONG} for way in ("pixels", "cascade", "codes"))
EQUALLY: dict[str, Any] = {**CASCADES, "card": EQUAL, "unit": "10^12 multiply-adds"}
CLAIMS = (
    Claim(
        "S1a", "PSNR in dB, from 8 to 32 pixels: regression is above one draw of diffusion",
        "PSNR", "more", REGRESSION, HERE + "way", (DRAW,), **SAME,
    ),
    Claim(
        "S1b", "PSNR in dB, from 8 to 32 pixels: one draw is above bicubic",
        "PSNR", "more", DRAW, HERE + "way", (BICUBIC,), **SAME,
    ),
    Claim(
        "S2a", "FD, from 8 to 32 pixels: one draw is nearer to true pictures than regression",
        "FD", "less", DRAW, HERE + "way", (REGRESSION,), **SAME,
        remark="Both are as near as other true pictures; the draws' fine speckle costs what their edges gain.",
    ),
    Claim(
        "S2b", "FD, from 8 to 32 pixels: regression is nearer to true pictures than bicubic",
        "FD", "less", REGRESSION, HERE + "way", (BICUBIC,), **SAME,
    ),
    Claim(
        "S3a", "Draws from one small picture differ: a pixel's standard deviation is above 0.02",
        "std", "more", {}, HERE + "spread", threshold=0.02, **SAME,
    ),
    Claim(
        "S3b", "PSNR in dB, from 8 to 32 pixels: the mean of four draws is above one draw",
        "PSNR", "more", {"method": "mean of 4 draws"}, HERE + "way", (DRAW,), **SAME,
    ),
    Claim(
        "S4", "Shrunk again, a draw is at most 1.5 times as far from its input as regression",
        "ratio", "less", {}, HERE + "misses", threshold=1.5, **SAME,
    ),
    Claim(
        "S5", "A reader of attributes agrees with the truth more on one draw than on regression",
        "agreement", "more", DRAW, HERE + "way", (REGRESSION,), **SAME,
        remark="Less, not more: our draws are speckled after minutes of training, and the reader knows blur.",
    ),
    Claim(
        "S6a", "On generated small pictures augmentation helps: FD at level 0.1 is below that at level 0",
        "FD", "less", {"start": "generated", "level": 0.1}, HERE + "augmented",
        ({"start": "generated", "level": 0.0},), **AUGMENTED,
        remark="Our first stage is an exact density whose flaws are mild; noise hides more than it mends.",
    ),
    Claim(
        "S6b", "On true small pictures it does not: FD at level 0 is below that at level 0.1",
        "FD", "less", {"start": "true", "level": 0.0}, HERE + "augmented", ({"start": "true", "level": 0.1},),
        **AUGMENTED,
    ),
    Claim(
        "S7a", f"At equal cost ({TRAINED}) a cascade to 64 pixels is nearer to the data than pixels alone: FD",
        "FD", "less", CASCADE, HERE + "at_equal_compute", (PIXELS,), **EQUALLY,
    ),
    Claim(
        "S7b", "And it draws more of what its prompt asks for: the share of the prompt's parts that a reader finds",
        "share of parts", "more", CASCADE, HERE + "at_equal_compute", (PIXELS,), **EQUALLY,
    ),
    Claim(
        "S7c", "Codes, whose codec is given, are nearer still after that much training: FD below the cascade's",
        "FD", "less", CODES, HERE + "at_equal_compute", (CASCADE,), **{**EQUALLY, "source": "Rombach et al. 2022"},
    ),
    Claim(
        "S7d", "At equal cost many steps low and few high beat the reverse: FD of 24 and 4 steps against 8 and 12",
        "FD", "less", {"low": 24, "high": 4}, HERE + "split", ({"low": 8, "high": 12},), unit="gigaflops", **CASCADES,
        remark="Our first stage is exact and done after 8 steps; the network at 32 pixels uses the others better.",
    ),
)  # fmt: skip
