"""Claims of notebook 10: students against teachers and solvers, T1 to T8, read from the card `bigger_steps`.

A seed has a noise of its own, the same for every method; on digits and points also a student of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import runs
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.recipes import cards

HERE, CARD = "cs348k_diffusion.evaluate.claims.bigger_steps:", "bigger_steps"


def rows_of(seed: int, part: str, folder: Path = FOLDER, **levels: Any) -> list[dict[str, Any]]:
    """The card's rows of one seed and part that have these levels."""
    return runs(CARD, folder, seed=seed, part=part, **levels)


def digits(seed: int, method: str, evaluations: int, folder: Path = FOLDER) -> dict[str, float]:
    """FD, recall and distance to the teacher's ends of 1,080 digits by one method."""
    (row,) = rows_of(seed, "digits", folder, method=method, evaluations=evaluations)
    return {"FD": row["fd"], "recall": row["recall"], "distance": row["distance"], "cost": evaluations}


def knee(seed: int, folder: Path = FOLDER) -> dict[str, float]:
    """FD in one evaluation of the student as a multiple of that in four."""
    one, four = (digits(seed, "student", n, folder)["FD"] for n in (1, 4))
    return {"FD ratio": one / four, "cost": 1}


def nearness(seed: int, folder: Path = FOLDER) -> dict[str, float]:
    """The student's squared distance to the teacher's ends, over DDIM's: the largest over 1, 2, 4 and 8 evaluations."""
    ratios = {n: [digits(seed, method, n, folder)["distance"] for method in ("student", "DDIM")] for n in (1, 2, 4, 8)}
    return {"largest ratio": max(student / ddim for student, ddim in ratios.values()), "cost": 8}


def adherence(seed: int, method: str, evaluations: int, scale: float, folder: Path = FOLDER) -> dict[str, float]:
    """The share of prompts that are fully satisfied."""
    (row,) = rows_of(seed, "pictures", folder, method=method, evaluations=evaluations, scale=scale)
    return {"satisfied": row["satisfied"], "cost": evaluations}


def predictions(seed: int, method: str, folder: Path = FOLDER) -> dict[str, float]:
    """Squared distance of a one-step student to its teacher's ends, on points."""
    (row,) = rows_of(seed, "prediction", folder, method=method)
    return {"distance": row["distance"], "cost": 1}


def price(seed: int, folder: Path = FOLDER) -> dict[str, float]:
    """What all halvings cost, as a share of the teacher's own training, both in processor time."""
    (row,) = rows_of(seed, "digits cost", folder)
    return {"share": row["seconds"] / 60 / cards.card("digits")["cpu_minutes"], "cost": row["seconds"]}


def densities(seed: int, method: str, folder: Path = FOLDER) -> dict[str, float]:
    """Sliced Wasserstein distance of 4,000 points to the data."""
    (row,) = rows_of(seed, "density", folder, method=method)
    return {"distance": row["distance"], "cost": 4 if method.startswith("teacher") else 1}


def by(method: str, evaluations: int) -> dict[str, Any]:
    """The levels of a way to draw digits."""
    return {"method": method, "evaluations": evaluations}


def at(method: str, evaluations: int, scale: float) -> dict[str, Any]:
    """The levels of a way to draw pictures."""
    return {**by(method, evaluations), "scale": scale}


SAME: dict[str, Any] = {"seeds": 3, "unit": "evaluations a picture", "notebook": "10", "card": CARD}
FEW = "Three sets of 100 prompts are too few; the 500 of its card say"
CLAIMS = (
    Claim(
        "T1a", "Digits: 4 steps of a student are nearer to the data than 8 of DDIM",
        "FD", "less", by("student", 4), HERE + "digits", (by("DDIM", 8),),
        source="Salimans & Ho 2022, table 2", **SAME,
    ),
    Claim(
        "T1b", "Digits: 8 steps of a student are no farther from the data than its teacher's 16, up to 0.05 of FD",
        "FD", "less", by("student", 8), HERE + "digits", (by("DDIM", 16),), threshold=-0.05,
        source="Salimans & Ho 2022, table 2", **SAME,
    ),
    Claim(
        "T2", "Digits: the knee is at one step: FD in 1 step is more than 1.5 times that in 4",
        "FD ratio", "more", {}, HERE + "knee", threshold=1.5,
        source="Salimans & Ho 2022, table 2: 9.12 and 3.00", **SAME,
        remark="The paper's factor is that of photographs, CIFAR-10; digits of 8 x 8 pixels are simpler.",
    ),
    Claim(
        "T3", "Digits: at 1, 2, 4 and 8 steps a student ends less than half as far from its teacher as DDIM (squared)",
        "largest ratio", "less", {}, HERE + "nearness", threshold=0.5,
        source="what progressive distillation asks for", **SAME,
        remark="It does at 1, 2 and 4 steps, in every seed. At 8, DDIM is near the teacher's 16 steps itself.",
    ),
    Claim(
        "T4", "Digits: 4 steps of a student are nearer to the data than 8 of the best solver, 2M",
        "FD", "less", by("student", 4), HERE + "digits", (by("2M", 8),),
        source="Salimans & Ho 2022; Lu et al. 2022", expected="not resolved", **SAME,
        remark="2M at 8 evaluations is as near to the data as the teacher's 16 steps; the student spends half as many.",
    ),
    Claim(
        "T5a", "Pictures: 2 evaluations of the student keep more prompts than 4 of guided DDIM (2 x 2)",
        "satisfied", "more", at("student", 2, 3.0), HERE + "adherence", (at("DDIM", 4, 3.0),),
        source="Meng et al. 2023", **SAME,
    ),
    *(
        Claim(
            f"T5{letter}",
            f"Pictures at scale {scale:g}: 4 evaluations keep as many prompts as the teacher's, up to 0.05",
            "satisfied", "more", at("student", 4, scale), HERE + "adherence", (at("DDIM", evaluations, scale),),
            threshold=-0.05, source="Meng et al. 2023: one student serves every scale", remark=said, **SAME,
        )
        for letter, scale, evaluations, said in (
            ("b", 1.0, 16, f"{FEW} -.006 [-.040, .024]."),
            ("c", 3.0, 32, f"{FEW} -.014 [-.034, .004]."),
            ("d", 6.0, 32, ""),
        )
    ),
    Claim(
        "T6", "Points: a one-step student that predicts eps ends farther from its teacher than one of v or x0",
        "distance", "more", {"method": "eps"}, HERE + "predictions", ({"method": "v"}, {"method": "x0"}),
        source="Salimans & Ho 2022, section 4", **SAME,
    ),
    Claim(
        "T7", "Digits: all halvings together cost less than the teacher's own training",
        "share", "less", {}, HERE + "price", threshold=1.0,
        source="Salimans & Ho 2022, section 5", **SAME,
    ),
    Claim(
        "T8a", "Digits: regression does not beat its teacher: 4 steps are at most 0.02 of FD nearer to the data",
        "FD", "more", by("student", 4), HERE + "digits", (by("DDIM", 16),), threshold=-0.02,
        source="DMD2 (Yin et al. 2024) needed another loss", **SAME,
    ),
    Claim(
        "T8b", "Points: distribution matching in 1 step beats the 4 steps of its teacher, and their regression in 1",
        "distance", "less", {"method": "matching, 1 step"}, HERE + "densities",
        ({"method": "teacher, 4 steps"}, {"method": "regression, 1 step"}),
        source="Yin et al. 2024 (DMD2)", **SAME,
    ),
)  # fmt: skip
