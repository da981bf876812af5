"""Every claim of the course in one list, with what is stored about it; `cs348k claims` resolves them.

A stored result holds the values of each setting over the seeds, from which the verdict is read anew. Claims whose runs
take too long read them from the card of a study, and `--full` runs that study again.
`python -m cs348k_diffusion.evaluate.registry` runs and stores all of them, and prints README's table.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cs348k_diffusion.evaluate.claim import Claim, Levels, Verdict, judge, label
from cs348k_diffusion.evaluate.study import Results, function_of, run_study, tuned

RESULTS = Path(__file__).parent / "results"
STORED = RESULTS / "claims.json"
ROOM = "cs348k_diffusion.evaluate"
LETTERS = "MEDGASLT"  # of the parts of the lecture, in the order of the table
SUBJECTS = ("trees", "exact_scores", "digits", "attention", "bigger_steps", "planted", "latent", "superresolution")


class Resolution(NamedTuple):
    """A claim, its verdict, the mean cost of each setting, seconds of processor time, and its runs where it was run."""

    claim: Claim
    verdict: Verdict
    costs: dict[str, float]
    seconds: float
    results: Results | None = None


@functools.cache
def every_claim() -> dict[str, Claim]:
    """All claims by id, in the order of `LETTERS`. ValueError for an id used twice or of another form."""
    found: dict[str, Claim] = {}
    for subject in SUBJECTS:
        for claim in importlib.import_module(f"{ROOM}.claims.{subject}").CLAIMS:
            if claim.id in found:
                raise ValueError(f"the claim {claim.id} stands in two subjects")
            found[claim.id] = claim
    return {id: found[id] for id in sorted(found, key=_place)}


def _place(id: str) -> tuple[int, int, str]:
    named = re.fullmatch(rf"([{LETTERS}])(\d+)[a-z]*", id)
    if not named:
        raise ValueError(f"a claim's id is one of the letters {LETTERS}, a number and perhaps a letter, not {id!r}")
    return LETTERS.index(named[1]), int(named[2]), id


def chosen(ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids ("G1a"), or of these beginnings ("G", "G1"); all for none. KeyError names what exists."""
    every, found = every_claim(), []
    for wanted in ids:
        mine = [claim for id, claim in every.items() if id == wanted] or [
            claim for id, claim in every.items() if id.startswith(wanted)
        ]
        if not mine:
            raise KeyError(f"there is no claim {wanted!r}; there are {', '.join(every)}")
        found += mine
    return list({claim.id: claim for claim in found}.values()) or list(every.values())


def run_claim(claim: Claim, folder: Path | None = None, **options: Any) -> Resolution:
    """Tune a claim and run its study now (options as for `run_study`); one that reads a card reads it."""
    began = time.process_time()
    claim = tuned(claim)
    results = run_study(claim, folder, **options)
    verdict = judge(claim, lambda levels: results.values(claim.metric, levels))
    return Resolution(claim, verdict, results.costs(), time.process_time() - began, results)


def rerun_card(claim: Claim, folder: Path) -> Claim:
    """Run the whole study behind a claim's card, into a folder; the same claim, reading that card."""
    _run_card(claim.card, str(folder))
    return replace(claim, experiment=functools.partial(function_of(claim.experiment), folder=folder))


@functools.cache  # several claims read one card
def _run_card(name: str, folder: str) -> None:
    importlib.import_module(f"{ROOM}.studies.{name}").main(folder)


def replayed(claim: Claim) -> Resolution:
    """The stored result of a claim; KeyError where none is stored."""
    rows = _stored().get(claim.id)
    if rows is None:
        raise KeyError(f"nothing is stored about {claim.id}: run `cs348k claims {claim.id}`")

    if claim.tries:
        mine, *others = rows["tuned"]
        claim = replace(claim, proposed=mine, alternatives=tuple(others), tries=())

    def values(levels: Levels) -> list[float]:
        return rows["values"][label(levels)]

    return Resolution(replace(claim, seeds=rows["seeds"]), judge(claim, values), rows["costs"], rows["cpu_seconds"])


def _stored() -> dict[str, Any]:
    return json.loads(STORED.read_text(encoding="utf-8"))["claims"] if STORED.is_file() else {}


def store(found: Iterable[Resolution]) -> None:
    """Write what was found about claims into the package's own results, beside what is stored about the others."""
    import torch

    claims = _stored()
    for claim, _, costs, seconds, results in found:
        assert results is not None, "what was replayed is stored already"
        values = {label(levels): results.values(claim.metric, levels).tolist() for levels in claim.settings()}
        best = {"tuned": claim.settings()} if every_claim()[claim.id].tries else {}
        claims[claim.id] = {
            "values": {name: [float(f"{value:.6g}") for value in row] for name, row in values.items()},
            "costs": costs,
            "seeds": claim.seeds,
            "cpu_seconds": round(seconds, 1),
            "torch": torch.__version__,
            **best,
        }
    command = "python -m cs348k_diffusion.evaluate.registry"
    card = {"name": "claims", "about": "the claims of the course, each over its seeds", "command": command}
    ordered = {id: claims[id] for id in every_claim() if id in claims}
    STORED.write_text(json.dumps({**card, "claims": ordered}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run every claim, or those that are named; store what was found, and print the table of README."""
    import torch

    from cs348k_diffusion.evaluate.report import table_of_claims

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("ids", nargs="*", help="such as G1a, or G for all its; all without")
    claims = chosen(parser.parse_args().ids)
    torch.set_num_threads(1)
    store([run_claim(claim) for claim in claims])
    found = [replayed(claim) for claim in every_claim().values()]
    print(table_of_claims((one.claim, one.verdict) for one in found))


if __name__ == "__main__":
    main()
