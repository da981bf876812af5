"""Marks as text: what `cs348k check` prints of one notebook, and `cs348k grade` of a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.grading.checks.card import split
from cs348k_diffusion.grading.gradebook.feedback import group
from cs348k_diffusion.grading.gradebook.roster import extended, read_roster
from cs348k_diffusion.grading.gradebook.rules import NOT_ON_ROSTER, NOT_SUBMITTED, Late, Rules, StudentRow
from cs348k_diffusion.grading.records import IN_NOTEBOOK, StudentResult, property_of
from cs348k_diffusion.grading.submissions import similarity
from cs348k_diffusion.grading.submissions.side_by_side import write_page
from cs348k_diffusion.grading.tables import counted, moment

MOST_CHANGES = 20  # that are printed; the file has all


def print_marks(title: str, graded: StudentResult) -> None:
    """A student's marks: one line an exercise, and why points are missing."""
    typer.secho(f"\n{title}", bold=True)
    results = group(graded.records, registry())
    for exercise, records in results:
        earned, points = (sum(getattr(record, part) for record in records) for part in ("earned", "points"))
        colour = "green" if earned == points else "yellow" if earned else None
        typer.secho(f"  {earned:>4g}/{points:<4g} {exercise.id:<6} {exercise.title}", fg=colour)
        blank = [record.message for record in records if record.status == "not yet"]
        if blank and "(" in blank[0]:
            typer.echo(f"{'':14}{blank[0].partition('(')[2].removesuffix(')')}")
        for record in records:
            if record.status not in ("passed", "not yet"):
                reason = record.message.partition(IN_NOTEBOOK)[2]
                says, likely, _ = split(record)
                typer.echo(f"{'':14}{property_of(record.test)}: {says}")
                typer.echo(f"{'':14}Likely mistake: {likely}" if likely else "", nl=bool(likely))
                typer.echo(f"{'':14}{IN_NOTEBOOK}{reason}" if reason else "", nl=bool(reason))
    for note in graded.notes:
        typer.secho(f"  {note}", fg="yellow")
    typer.secho(f"  {sum(r.earned for r in results):>4g}/{sum(r.points for r in results):<4g} in all", bold=True)


def rules_of(roster: Path | None, extensions: Path | None, due: str, late_days: int, late_penalty: float) -> Rules:
    """What the options of `cs348k grade` say; ValueError for what does not go together."""
    if extensions and not roster:
        raise ValueError("--extensions changes due times on the roster: give --roster")
    enrolled, time = read_roster(roster) if roster else None, moment(due, "--due")
    if extensions and enrolled:
        enrolled = extended(enrolled, extensions)
    return Rules(enrolled, Late(time, late_days, late_penalty) if time else None)


def print_class(rows: Mapping[str, StudentRow], out: Path) -> None:
    """What an instructor should know of a grading: who is missing, what waits to be read, which marks changed."""
    for which, does, do in (
        (NOT_SUBMITTED, "student handed in nothing", "students handed in nothing"),
        (NOT_ON_ROSTER, "student is not on the roster", "students are not on the roster"),
    ):
        names = [student for student, row in rows.items() if which in [*row.notes, *row.remarks]]
        typer.echo(
            f"{len(names)} {does if len(names) == 1 else do}: {', '.join(names)}" if names else "", nl=bool(names)
        )
    if waiting := sum(record.status == "waiting" for row in rows.values() for record in row.records):
        what = "answer waits" if waiting == 1 else "answers wait"
        typer.echo(f"{waiting} {what} to be read in {out / 'answers'}; the points go into {out / 'texts.csv'}")
    requests = [request for row in rows.values() for request in row.regrades.values() if request.status == "open"]
    if requests:
        names = ", ".join(f"{request.student} {request.exercise}" for request in requests)
        what = "regrade request is" if len(requests) == 1 else "regrade requests are"
        typer.echo(f"{len(requests)} {what} open in {out / 'overrides.csv'}: {names}")
    changed = [change for row in rows.values() for change in row.changes]
    for change in changed[:MOST_CHANGES]:
        typer.echo(f"  {change}")
    if changed:
        what = "mark differs" if len(changed) == 1 else "marks differ"
        typer.echo(f"{len(changed)} {what} from the gradebook before: {out / 'changes.csv'}")
    typer.echo(f"{counted(len(rows), 'student')}: {out / 'gradebook.csv'}, and a page each in {out / 'feedback'}")
    typer.echo(
        f"The class at a glance: {out / 'class.html'}; without names, to project: {out / 'class_to_project.html'}"
    )


def print_similar(folder: Path, out: Path, threshold: float, most: int = 20) -> None:
    """The pairs of answers that are alike after renaming, into a table; the first `most` of them printed."""
    pairs = similarity.similar(folder, threshold)
    similarity.write_pairs(pairs, out)
    write_page(pairs, out.with_suffix(".html"))
    for pair in pairs[:most]:
        typer.echo(f"  {pair.one}, {pair.other}: " + ", ".join(f"{id} {score:.2f}" for id, score in pair.alike.items()))
    typer.echo(f"{out}: {counted(len(pairs), 'pair')} to look at, side by side in {out.with_suffix('.html')}")
    typer.echo("Answers can be alike for good reasons.")
