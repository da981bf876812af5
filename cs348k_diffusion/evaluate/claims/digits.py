"""Claims of notebooks 04 and 05 on real digits: guidance at equal evaluations, and training longer.

Their runs are read from cards: 360 digits a seed with each method and scale (`guidance_digits`, 3 core-minutes), and
training runs (`digits_budget`, 12). In each seed every setting starts from the same noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.evaluate.claim import Claim

HERE, CARD = "cs348k_diffusion.evaluate.claims.digits:", "guidance_digits"


def guided(seed: int, method: str, scale: float, folder: Path = FOLDER) -> dict[str, float]:
    """Accuracy, FD, recall and diversity of 360 digits, with one method at one scale."""
    runs = result(CARD, folder)["runs"]
    (row,) = (run for run in runs if (run["seed"], run["method"], run["scale"]) == (seed, method, scale))
    same = {name: row[name] for name in ("accuracy", "recall", "diversity")}
    return {**same, "FD": row["fd"], "cost": row["evaluations"]}


def trained(seed: int, updates: int, folder: Path = FOLDER) -> dict[str, float]:
    """FD of digits after some updates, as a multiple of that of held-out real ones, from the stored runs."""
    runs = result("digits_budget", folder)["runs"]
    (ratio,) = (run["metrics"]["fd_ratio"] for run in runs if (run["seed"], run["steps"]) == (seed, updates))
    return {"FD ratio": ratio, "cost": updates}


def at(method: str, scale: float) -> dict[str, Any]:
    """The levels of a setting."""
    return {"method": method, "scale": scale}


AWARE, CLEAN = "noise-aware classifier", "clean classifier"
SAME: dict[str, Any] = {"seeds": 3, "budget": 16, "unit": "evaluations a picture", "notebook": "05", "card": CARD}
CLAIMS = (
    Claim(
        "D5", "Twice the training brings samples nearer to the data",
        "FD ratio", "less", {"updates": 1000}, HERE + "trained", ({"updates": 480},),
        seeds=3, budget=1000, unit="updates", source="common experience", notebook="04", card="digits_budget",
    ),
    Claim(
        "G1a", "A larger scale is obeyed more often: accuracy with a noise-aware classifier, scale 8 against 1",
        "accuracy", "more", at(AWARE, 8.0), HERE + "guided", (at(AWARE, 1.0),),
        source="Dhariwal & Nichol 2021, table 4", **SAME,
    ),
    Claim(
        "G1b", "A larger scale costs diversity: recall of classifier-free guidance, scale 5 against 1",
        "recall", "less", at("cfg", 5.0), HERE + "guided", (at("cfg", 1.0),),
        source="Dhariwal & Nichol 2021, table 4", **SAME,
    ),
    Claim(
        "G1c", "A larger scale draws a class together: pixel distances within a class, scale 5 against 1",
        "diversity", "less", at("cfg", 5.0), HERE + "guided", (at("cfg", 1.0),),
        source="Ho & Salimans 2022, figure 3", **SAME,
        remark="Digits grow bolder with the scale, and bold strokes are farther apart in pixels than thin ones.",
    ),
    Claim(
        "G2a", "A little guidance brings samples nearer to the data: FD, scale 1.5 against 1",
        "FD", "less", at("cfg", 1.5), HERE + "guided", (at("cfg", 1.0),),
        source="Ho & Salimans 2022, table 1", **SAME,
        remark="Guidance mends models that are too vague; ours has seen each digit over two hundred times.",
    ),
    Claim(
        "G2b", "Much guidance takes them away again: FD, scale 5 against 1",
        "FD", "more", at("cfg", 5.0), HERE + "guided", (at("cfg", 1.0),),
        source="Ho & Salimans 2022, table 1", **SAME,
    ),
    Claim(
        "G4", "A classifier that guides must know noise: lower FD than with one trained on clean digits",
        "FD", "less", at(AWARE, 4.0), HERE + "guided", (at(CLEAN, 4.0), at(CLEAN, 16.0)),
        source="Ho & Salimans 2022", **SAME,
    ),
    Claim(
        "G6", "At equal evaluations classifier-free guidance comes nearer to the data than a classifier",
        "FD", "less", at("cfg", 1.5), HERE + "guided", (at(AWARE, 4.0),),
        source="Ho & Salimans 2022, table 1: 3.02 against 2.97", **SAME, expected="not resolved",
    ),
    Claim(
        "G7", "At scale 3 guiding only in the middle, t in [0.3, 0.8], is nearer to the data than guiding throughout",
        "FD", "less", at("interval", 3.0), HERE + "guided", (at("cfg", 3.0),),
        source="Kynkaanniemi et al. 2024", **SAME,
    ),
)  # fmt: skip
