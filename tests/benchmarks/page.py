"""The page of `make bench`, results/README.md: the course beside its peers, then what is timed alone, by section."""

import json
from collections.abc import Callable
from pathlib import Path

from peers.table import section

NAMES = {
    "peers": "Drawn pictures",
    "peers_fashion": "Fashion-MNIST",
    "peers_quick": "Quick",
    "peers_quick_fashion": "Quick, Fashion-MNIST",
}
INTRO = """\
# Measured beside other libraries

Made by `make bench` (`make bench QUICK=1` in ten minutes); how each contestant is set up stands in
[contestants.py](../peers/contestants.py). All train unconditionally on the same 10,000 pictures of 32 x 32, drawn
ones or (`run.py --data fashion`) clothes, one thread, the same seconds of processor time, and draw with the same
number of network evaluations. FD is in the features of the course's reader of attributes, for clothes in those of a
small classifier of them; texture in features that nobody trained; the floor of each is what as many true pictures
have. After the minute of the quick run nobody's pictures have formed: its FD and texture only show that the benchmark
runs. A number in brackets, "(was ...)", stood there when the page was made the last time.
"""


def write_page(folder: Path, before: dict[str, dict]) -> Path:
    """Write README.md from the results that lie in the folder; before: by name, the results that it replaces."""
    found = {name: folder / f"{name}.json" for name in NAMES}
    parts = [
        section(NAMES[name], json.loads(path.read_text()), before.get(name))
        for name, path in found.items()
        if path.is_file()
    ]
    for name, told in SECTIONS.items():
        if (path := folder / f"{name}.json").is_file():
            parts.append(told(json.loads(path.read_text())))
    page = folder / "README.md"
    page.write_text("\n".join([INTRO, *parts]))
    return page


def limits_section(result: dict) -> str:
    """How near each network comes to the processor's limit, in which way, and where its time goes."""
    names = [name for name, part in result.items() if isinstance(part, dict)]
    lines = [
        "## The processor's limit\n",
        f"One evaluation of a network for {result['batch']} pictures, one thread; share: of the multiply-adds a second "
        "that a product of two 1024 x 1024 matrices reaches on the same core in the same minute. "
        f"{result['machine']}.\n",
        "| network | million multiply-adds a picture | way | seconds | share |",
        "|---|---:|---|---:|---:|",
    ]
    for name in names:
        each = result[name]["multiply_adds_a_picture"] / 1e6
        ways = {way: took for way, took in result[name]["ways"].items() if "share" in took}
        lines += [
            f"| {name} | {each:.0f} | {way} | {took['seconds']:.3f} | {took['share']:.2f} |"
            for way, took in ways.items()
        ]
    lines.append("")
    for name in names:
        spent = ", ".join(f"{share:.0%} {which}" for which, share in result[name]["operators"].items())
        lines.append(f"- {name}, as it is: {spent}")
    return "\n".join([*lines, ""])


def tiles_section(result: dict) -> str:
    """How many times the time of torch's own attention the tiled one takes, size by size."""
    lines = [
        "## Attention in tiles\n",
        f"One head, d = {result['d']}, float32, one thread, tiles of {result['tile']} rows: its time over that of "
        f"torch's own `scaled_dot_product_attention`, {result['rounds']} paired rounds. {result['machine']}.\n",
        "| N | pass | causal | tiled, ms | torch, ms | ratio, 95 % interval |",
        "|---:|---|---|---:|---:|---:|",
    ]
    for row in result["rows"]:
        low, high = row["interval_95"]
        lines.append(
            f"| {row['n']} | {row['pass']} | {'yes' if row['causal'] else 'no'} | {row['tiled_ms']:.1f} | "
            f"{row['torch_ms']:.1f} | {row['ratio']:.2f} [{low:.2f}, {high:.2f}] |"
        )
    return "\n".join([*lines, ""])


def classes_section(result: dict) -> str:
    """What a hand-in costs to grade, and what a large course needs."""
    alone, two = (
        "{:.2f} [{:.2f}, {:.2f}]".format(*result["seconds_a_student"][name]) for name in ("one worker", "two workers")
    )
    handing = "{:.3f} [{:.3f}, {:.3f}]".format(*result["parent_seconds_a_student"])
    lines = [
        "## Grading a class\n",
        f"Notebook 02, solved. {result['machine']}.\n",
        f"- A hand-in takes {alone} seconds with one worker, {two} with two (the slope over "
        f"{sorted({row['n'] for row in result['rows']})} students).",
        f"- The process that hands out the work spends {handing} of them: from "
        f"{result['workers_where_the_parent_is_the_limit']:.0f} workers on, it is the limit.",
        f"- {result['students']:,} students a week need {result['core_hours']:.1f} core-hours and "
        f"{result['gigabytes']:.1f} GB a notebook, hand-ins and marks.\n",
        "| workers | longest wait for marks in a week, half of it handed in within six hours | all at once |",
        "|---:|---:|---:|",
        *(
            f"| {k} | {wait:.0f} s | {result['all_at_once_minutes'][k]:.0f} min |"
            for k, wait in result["longest_wait_seconds"].items()
        ),
    ]
    return "\n".join([*lines, ""])


def scaling_section(result: dict) -> str:
    """What a longer training of a larger model would take."""
    rows, power = result["rows"], result["power"]
    hours = {int(k): [f"{each:,.0f}" for each in ends] for k, ends in result["core_hours"].items() if int(k) > 1}
    least, most = (f"{rows[k]['parameters'] / 1e6:.1f}" for k in (0, -1))
    lines = [
        "## Training ten and a hundred times as much\n",
        f"The 64-pixel model at {len(rows)} widths, {least} to {most} million parameters: "
        "seconds an update grow as parameters to the "
        f"power {power['all']:.2f} (the three widest: "
        f"{power['the three widest']:.2f}, so what follows is a lower bound). {result['machine']}.\n",
        *(
            f"- {k} times the parameters and pictures: {value} [{low}, {high}] core-hours"
            for k, (value, low, high) in hours.items()
        ),
    ]
    return "\n".join([*lines, ""])


SECTIONS: dict[str, Callable[[dict], str]] = {
    "limits": limits_section,
    "tiled": tiles_section,
    "classes": classes_section,
    "scaling": scaling_section,
}
