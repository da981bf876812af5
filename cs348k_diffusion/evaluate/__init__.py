"""Evaluating a technical idea: studies, what they found, and the verdict.

`studies/` holds what takes too long to run live, a module each that writes one card; `results/` the cards, with the
command that recomputes them. `result("tree_policies")` reads one.
"""

from pathlib import Path

from cs348k_diffusion.recipes.cards import Card, card

RESULTS = Path(__file__).parent / "results"


def result(name: str, folder: str | Path = RESULTS) -> Card:
    """The stored result of a study; raises KeyError, with the names that exist, for another."""
    return card(name, folder)
