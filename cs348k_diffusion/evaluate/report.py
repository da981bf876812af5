"""What was found about a claim, on one page: question, verdict, figure, numbers, design, limits and how to repeat it.

The page is one HTML file that needs nothing else, wide or on a phone; `markdown` says the same in text, and
`table_of_claims` makes one table of many claims. Everything written on a page is escaped by the template.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cs348k_diffusion.evaluate.claim import Claim, Finding, Verdict, label, profile

WIDTH, MARGIN, ROW = 440, 26, 80  # of the figure, in its own units


def number(value: float) -> str:
    """Three digits, as few characters as they need."""
    return f"{value:.3g}"


def sentence(claim: Claim, verdict: Verdict) -> str:
    """The verdict in a sentence, with its interval and the effect that four of five studies of this size find."""
    one = verdict.weakest
    what = _difference(claim, one) if claim.of_gain else f"{claim.metric} is {number(one.interval.value)}"
    of, needed = (" of the gain", "a gain of ") if claim.of_gain else ("", "")
    found = f"Four of five such studies would find an effect of {number(one.detectable)}."
    return (
        f"Over {len(one.values)} seeds, {what} (95 % interval{of}: {number(one.interval.low)} to "
        f"{number(one.interval.high)}); the claim needs {needed}{need(claim)}. "
        f"{found if one.detectable else 'All seeds agree exactly.'}"
    )


def _difference(claim: Claim, one: Finding) -> str:
    gain = one.interval.value
    word = "higher" if (claim.better == "more") == (gain >= 0) else "lower"
    if claim.interaction:
        return f"{claim.metric} is {number(abs(gain))} {word} with all parts than if what each changes were added up"
    (against,) = (each for each in claim.alternatives if label(each) == one.against)
    setting = ", ".join(f"{name.replace('_', ' ')} = {level}" for name, level in against.items())
    return f"{claim.metric} is {number(abs(gain))} {word} than with {setting}"


def need(claim: Claim) -> str:
    """What the interval has to be for the claim to be supported: "more than 0"."""
    if claim.of_gain:
        return f"more than {number(claim.threshold)}"
    return f"{claim.better} than {number(claim.threshold)}"


def described(claim: Claim, costs: Mapping[str, float]) -> list[tuple[str, str]]:
    """The design as pairs of a heading and a text."""
    others = "; ".join(label(levels) for levels in claim.alternatives)
    others = "the sum of what each part does alone" if claim.interaction else others
    spent = "; ".join(f"{name}: {cost:,.0f}" for name, cost in costs.items())
    unequal = "" if max(costs.values()) <= 1.02 * min(costs.values()) else ", which is not equal"
    rows = [
        ("Proposed", label(claim.proposed)),
        ("Alternatives", others or f"none: the metric must be {need(claim)}"),
        ("Factors", "; ".join(f"{name}: {', '.join(map(str, levels))}" for name, levels in claim.factors.items())),
        ("Tuning trials", trials(claim)),
        ("Measured", f"{claim.metric}, {claim.better} is better"),
        ("Seeds", f"{claim.seeds}, the same for every setting; differences are taken seed by seed"),
        (
            "Cost of a run",
            f"{spent} {claim.unit}{unequal}" + (f" (budget {claim.budget:,.0f})" if claim.budget < 1e300 else ""),
        ),
        ("Source", claim.source),
    ]
    return [(name, text) for name, text in rows if text]


def trials(claim: Claim) -> str:
    """How many tuning trials the idea and its alternatives got: as many each, of every claim."""
    given = ", on seeds that judge nothing" if claim.trials else ": every setting is as given"
    each = " each" if len(claim.alternatives) > 1 else ""
    return f"idea {claim.trials}, alternatives {claim.trials}{each}{given}"


def readings(parts: Sequence[Finding]) -> list[tuple[str, Finding, str]]:
    """Each part of a design by name, with what its interval says in a word."""
    alone = {"supported": "helps", "refuted": "hurts"}
    together = {"supported": "more than the sum", "refuted": "less than the sum"}
    return [(one.against, one, (together if " x " in one.against else alone).get(one.word, one.word)) for one in parts]


def responsible(claim: Claim, parts: Sequence[Finding]) -> str:
    """Which part of the idea is responsible, in plain sentences; "" where the design has no parts."""
    if not parts:
        return ""
    said, seeds = [], len(parts[0].values)
    heads = {
        "helps": "Responsible, averaged over the other parts",
        "hurts": "What hurts",
        "not resolved": f"Not resolved by {seeds} seeds",
    }
    for reading, head in heads.items():
        names = [name for name, _, each in readings(parts) if each == reading and name in claim.proposed]
        if names:
            said.append(f"{head}: {_listed([label({name: claim.proposed[name]}) for name in names])}.")
        elif reading == "helps":
            said.append("No part is seen to help by itself.")
    seen = [(name, each) for name, _, each in readings(parts) if "the sum" in each]
    why = {"more": "a part of the gain needs them all", "less": "one does a part of another's work"}
    for name, each in seen:
        said.append(f"{_listed(name.split(' x ')).capitalize()} together gain {each}: {why[each.split()[0]]}.")
    return " ".join(said if seen else [*said, "No interaction is seen: what the parts change adds up."])


def _listed(names: Sequence[str]) -> str:
    *most, last = (name.replace("_", " ") for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def limits(claim: Claim, verdict: Verdict) -> str:
    """What the study leaves open."""
    one, n = verdict.weakest, len(verdict.weakest.values)
    (share,) = profile(one.values, [one.threshold], "more" if claim.of_gain else claim.better)
    return (
        f"{round(share.value * n)} of {n} seeds pass by themselves; of many seeds it would be {share.low:.0%} to "
        f"{share.high:.0%} (95 % interval). "
        f"Nothing about other data, models or budgets than those above, and nothing about effects much smaller than "
        f"{number(one.detectable)}: {n} seeds do not resolve them. A verdict from one interval is "
        "wrong in one of twenty studies; where many claims are judged together, correct for their number (Holm)."
    )


def made() -> str:
    """Where numbers come from: processor and versions, without the machine's name."""
    import torch

    cpus = Path("/proc/cpuinfo")  # Linux; elsewhere only the kind of processor is known
    named = re.search(r"^model name\s*: (.+)$", cpus.read_text(), re.MULTILINE) if cpus.is_file() else None
    cores, kind = os.cpu_count(), named[1] if named else platform.machine()
    return f"{kind}, {cores} cores, {platform.system()}; Python {platform.python_version()}, torch {torch.__version__}"


def figure_of(claim: Claim, findings: Sequence[Finding]) -> dict[str, Any]:
    """Places in the drawing: for each comparison its seeds as dots, its interval as a bar, its threshold as a line."""
    every = [value for one in findings for value in (*one.values, *one.interval, one.threshold)]
    low, high = min(every), max(every)
    span = (high - low) or abs(high) or 1.0
    left, scale = low - 0.04 * span, (WIDTH - 2 * MARGIN) / (1.08 * span)

    def x(value: float) -> float:
        return round(MARGIN + (value - left) * scale, 1)

    kind = f"differences in {claim.metric}, in the idea's favour" if claim.of_gain else claim.metric
    return {
        "height": ROW * len(findings) + 50,
        "ticks": [{"x": x(value), "text": number(value)} for value in _ticks(low, high)],
        "rows": [_row(one, 40 + ROW * k, x) for k, one in enumerate(findings)],
        "caption": f"Dots: seeds ({kind}). Bar: mean and 95 % interval. Dashed: what the claim must pass.",
        "alt": "; ".join(f"{one.against}: {one.interval}, {one.word}" for one in findings),
    }


def _row(one: Finding, y: float, x: Any) -> dict[str, Any]:
    dots = [{"x": x(value), "y": y + 5 * (k % 3) - 7} for k, value in enumerate(one.values[:200])]
    ends = {"low": x(one.interval.low), "high": x(one.interval.high), "value": x(one.interval.value)}
    return {"name": one.against, "y": y, "threshold": x(one.threshold), "dots": dots, **ends}


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between low and high, at most `most`."""
    from math import ceil, floor, log10

    if high <= low:
        return [low]
    size = 10.0 ** floor(log10((high - low) / most))
    step = next(size * k for k in (1, 2, 5, 10) if (high - low) / (size * k) <= most)
    return [round(k * step, 12) for k in range(ceil(low / step), floor(high / step) + 1)]


def page(claim: Claim, verdict: Verdict, costs: Mapping[str, float], command: str, origin: str | None = None) -> str:
    """The whole report as one HTML file. `origin` says where the numbers were computed (by default: here)."""
    html = _template().render(
        claim=claim,
        verdict=verdict,
        sentence=sentence(claim, verdict),
        figure=figure_of(claim, verdict.findings),
        heading="gained over" if claim.of_gain else "must be",
        parts=readings(verdict.parts),
        responsible=responsible(claim, verdict.parts),
        design=described(claim, costs),
        limits=limits(claim, verdict),
        command=command,
        made=origin or made(),
        number=number,
    )
    return re.sub(r" (?=%|= )|(?<= =) ", "\u00a0", html)  # "95 %" and "f = 4" stay on one line


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("report.html")


def markdown(
    claim: Claim, verdict: Verdict, costs: Mapping[str, float], command: str, origin: str | None = None
) -> str:
    """The same report as Markdown."""
    rows = [
        f"| {cell(one.against)} | {number(one.interval.value)} | {number(one.interval.low)} to "
        f"{number(one.interval.high)} | {number(one.detectable)} | {one.word} |"
        for one in verdict.findings
    ]
    other = (
        f"**Otherwise than the literature**, which says: {claim.expected}." if verdict.word != claim.expected else ""
    )
    parts = [
        f"# {claim.id}: {claim.idea}",
        f"**{verdict.word}**. {sentence(claim, verdict)}",
        " ".join(filter(None, [other, claim.remark])),
        "\n".join(["| against | mean | 95 % interval | could be seen | verdict |", "|---|---|---|---|---|", *rows]),
        responsible(claim, verdict.parts),
        "\n".join(_parts_table(verdict.parts)),
        "\n".join(f"- {name}: {text}" for name, text in described(claim, costs)),
        limits(claim, verdict),
        f"`{command}` ({origin or made()})",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _parts_table(parts: Sequence[Finding]) -> list[str]:
    rows = ["| part | gain | 95 % interval | |", "|---|---|---|---|"]
    for name, one, said in readings(parts):
        mean, low, high = map(number, one.interval)
        rows.append(f"| {name} | {mean} | {low} to {high} | {said} |")
    return rows if parts else []


def table_of_claims(found: Iterable[tuple[Claim, Verdict]]) -> str:
    """One Markdown table: claim, source, verdict, interval and where; a verdict unlike the literature's is bold."""
    rows = [
        "| | claim | source | our verdict | effect, 95 % interval | needs | where |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim, verdict in found:
        one = verdict.weakest
        word = verdict.word if verdict.word == claim.expected else f"**{verdict.word}**"
        interval = f"{number(one.interval.value)} [{number(one.interval.low)}, {number(one.interval.high)}]"
        need = f"> {number(claim.threshold)}" if claim.of_gain or claim.better == "more" else f"< {claim.threshold:g}"
        cells = (claim.id, claim.idea, claim.source, word, interval, need, claim.notebook)
        rows.append(f"| {' | '.join(map(cell, cells))} |")
    return "\n".join(rows) + "\n"


def cell(text: str) -> str:
    """A text that can stand in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def write(folder: str | Path, claim: Claim, verdict: Verdict, costs: Mapping[str, float], command: str) -> Path:
    """Write ID.html and ID.md into a folder that is made if need be; returns the path of the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{claim.id}.md").write_text(markdown(claim, verdict, costs, command), encoding="utf-8")
    path = folder / f"{claim.id}.html"
    path.write_text(page(claim, verdict, costs, command), encoding="utf-8")
    return path
