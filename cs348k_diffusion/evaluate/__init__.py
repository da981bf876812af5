"""Evaluating a technical idea: a claim that can turn out false, a study of it, the verdict, and a report.

`Claim` says what is compared, on which seeds and at what cost; `resolve(claim)` runs that (`run_study`) and reads the
verdict from intervals (`judge`). `claims/` holds the course's claims, `studies/` what takes too long to run live, and
`results/` what they found, with the command that recomputes it. `result("tree_policies")` reads one.
"""

from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate.claim import Claim, Finding, Verdict, corrected, effects, judge, profile
from cs348k_diffusion.evaluate.study import Results, resolve, run_study, tune, tuned
from cs348k_diffusion.recipes.cards import Card, card

__all__ = [
    "Claim",
    "Finding",
    "Results",
    "Verdict",
    "corrected",
    "effects",
    "judge",
    "profile",
    "resolve",
    "result",
    "run_study",
    "runs",
    "tune",
    "tuned",
]
RESULTS = Path(__file__).parent / "results"


def result(name: str, folder: str | Path = RESULTS) -> Card:
    """The stored result of a study; raises KeyError, with the names that exist, for another."""
    return card(name, folder)


def runs(name: str, folder: str | Path = RESULTS, **levels: Any) -> list[dict[str, Any]]:
    """The runs of a stored result that have these levels (seed=0, method="one draw")."""
    wanted = levels.items()
    return [run for run in result(name, folder)["runs"] if all(run.get(key) == level for key, level in wanted)]
