"""The course beside its peers, as tables: ratios with their intervals, and what a number was before it changed."""

import math
from collections.abc import Callable
from statistics import mean

from cs348k_diffusion.metrics.intervals import student_t

OURS = "cs348k_diffusion"


def section(title: str, result: dict, before: dict | None = None) -> str:
    """One result: the machine, a table for each length of training, and the ratios."""
    settings = result["settings"]
    lines = [
        f"## {title}\n",
        f"{result['machine']}. {settings['n']} pictures a contestant, {settings['evaluations']} evaluations each, "
        f"{settings['seeds']} seed{'s' * (settings['seeds'] > 1)}.\n",
    ]
    for seconds in settings["seconds"]:
        lines += table(result, seconds, before)
    return "\n".join(lines)


def table(result: dict, seconds: int, before: dict | None) -> list[str]:
    """The rows of one length of training, ours first, and below it how many times better ours is than the best peer."""
    names = list(dict.fromkeys(row["contestant"] for row in result["rows"]))
    floors = [mean(floor[key] for floor in result["floors"]) for key in ("fd", "texture")]

    def cells(name: str) -> str:
        shown = []
        for read, form in COLUMNS.values():
            now = mean(values(result, name, seconds, read))
            was = mean(values(before, name, seconds, read)) if before and name in known(before, seconds) else now
            shown.append(
                form.format(now) + (f" (was {form.format(was)})" if form.format(was) != form.format(now) else "")
            )
        return f"| {name} | {' | '.join(shown)} |"

    return [
        f"### {seconds} seconds of training\n",
        f"| | {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *map(cells, names),
        f"| true pictures (floor) | | | | {floors[0]:.2f} | {floors[1]:.1f} |\n",
        *(f"- {line}" for line in ratios(result, seconds)),
        "",
    ]


COLUMNS: dict[str, tuple[Callable[[dict], float], str]] = {
    "million parameters": (lambda row: row["parameters"] / 1e6, "{:.1f}"),
    "examples a second": (lambda row: row["updates"] * row["batch"] / row["trained"], "{:.1f}"),
    "ms an evaluation of a picture": (lambda row: 1000 * row["drew"] / row["drawings"], "{:.1f}"),
    "FD": (lambda row: row["fd"], "{:.2f}"),
    "texture": (lambda row: row["texture"], "{:.1f}"),
}


def known(result: dict, seconds: int) -> set[str]:
    """Who has a row of that length of training."""
    return {row["contestant"] for row in result["rows"] if row["seconds"] == seconds}


def values(result: dict, name: str, seconds: int, read: Callable[[dict], float]) -> list[float]:
    """read(row) of each seed, in the order of the seeds."""
    rows = [row for row in result["rows"] if (row["contestant"], row["seconds"]) == (name, seconds)]
    return [read(row) for row in sorted(rows, key=lambda row: row["seed"])]


def ratios(result: dict, seconds: int) -> list[str]:
    """In words, how many times as good as the best of the others ours is, column by column."""
    told = []
    for column, (read, _) in list(COLUMNS.items())[1:]:
        upward = column == "examples a second"
        peers = sorted(known(result, seconds) - {OURS})
        best = (max if upward else min)(peers, key=lambda name: mean(values(result, name, seconds, read)))
        pairs = zip(values(result, best, seconds, read), values(result, OURS, seconds, read), strict=True)
        logs = [math.log(ours / peer if upward else peer / ours) for peer, ours in pairs]
        if len(logs) > 1:
            low, high = (math.exp(end) for end in student_t(logs).ends)
            interval = f" [{low:.1f}, {high:.1f}], {len(logs)} seeds"
        else:
            interval = ", one seed: no interval"
        told.append(f"{column}: {math.exp(mean(logs)):.1f} times as good as {best}'s{interval}")
    return told
