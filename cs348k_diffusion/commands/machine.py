"""What `cs348k doctor` prints: each finding with a mark, and what to do about it."""

from __future__ import annotations

import typer

from cs348k_diffusion.course.doctor import examine


def print_findings() -> bool:
    """Print what was found out about this machine; returns whether something keeps the course from running."""
    broken = False
    for finding in examine():
        broken = broken or finding.breaks
        mark, colour = ("no", "red") if finding.breaks else ("!", "yellow") if finding.do else ("ok", "green")
        typer.echo(f"{typer.style(f'{mark:>3}', fg=colour, bold=True)}  {finding.what:<10} {finding.seen}")
        if finding.do:
            typer.echo(f"{'':16}-> {finding.do}")
    return broken
