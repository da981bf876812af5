"""`cs348k claims`: resolve the claims of the course, or replay what is stored about them, and write their reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from cs348k_diffusion.cluster import answers
from cs348k_diffusion.evaluate import registry, report
from cs348k_diffusion.evaluate.registry import Resolution


def resolve_claims(
    ids: Iterable[str] = (),
    full: bool = False,
    replay: bool = False,
    work: Path | None = None,
    jobs: int = 1,
    dask: str = "",
) -> Iterator[Resolution]:
    """The claims of these ids, one after another: run now, or replayed from the package's own results.

    full: a claim whose runs are read from the card of a study has that study run again, into `work`; replay: nothing is
    run. Runs in `work` are kept there and not run twice; a card is read each time. dask: a scheduler's address, whose
    cluster takes the runs instead of `jobs` processes. Raises KeyError for an unknown id.
    """
    import torch

    if dask:
        answers(dask)  # before anything has run
    torch.set_num_threads(1)  # a run is small: two threads on it are slower than one
    for claim in registry.chosen(ids):
        if replay:
            yield registry.replayed(claim)
            continue
        if full and claim.card:
            claim = registry.rerun_card(claim, (work or Path("claims")) / "cards")
        if claim.card:  # lies here and is only read
            yield registry.run_claim(claim)
        else:
            yield registry.run_claim(claim, work / "runs" if work else None, jobs=jobs, scheduler=dask or None)


def line(found: Resolution) -> str:
    """A claim in one line: id, verdict, interval, seeds, and "!" where the literature says otherwise."""
    claim, verdict = found.claim, found.verdict
    mark = " " if verdict.word == claim.expected else "!"
    how = f"card {claim.card}" if claim.card else f"{found.seconds:.1f} s"
    seeds = f"{len(verdict.weakest.values)} seeds, {how}"
    return f"{mark} {claim.id:<4} {verdict.word:<13}{verdict.weakest.interval!s:<28} {seeds:<30} {claim.idea}"


def write_report(found: Resolution, out: Path) -> Path:
    """The claim's page and its text, in a folder."""
    return report.write(out, found.claim, found.verdict, found.costs, f"cs348k claims {found.claim.id} --full")


def print_claims(ids: Iterable[str], full: bool, replay: bool, out: Path | None, jobs: int, dask: str) -> None:
    """A line for each claim as it is resolved, with its report if `out` is a folder; then how many of each verdict."""
    words: Counter[str] = Counter()
    unlike = 0
    for found in resolve_claims(ids, full, replay, out, jobs, dask):
        typer.echo(line(found))
        words[found.verdict.word] += 1
        unlike += found.verdict.word != found.claim.expected
        if out is not None:
            write_report(found, out)
    typer.echo(", ".join(f"{count} {word}" for word, count in words.items()) + f"; {unlike} unlike the literature (!)")
    if out is not None:
        typer.echo(f"{out}: a page for each")
