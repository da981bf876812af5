"""What a training cell costs, said before it runs; and one switch that shortens every such cell."""

import os

QUICK_SHARE = 8


def budget(count: int, what: str = "updates", *, minutes: float) -> int:
    """Say how much a cell is about to do, and return how much: `count`, or an eighth of it under CS348K_QUICK=1.

    minutes: on a quiet laptop with two cores. Budgets are counted in updates or evaluations, since seconds differ from
    machine to machine. The quick run is for looking a notebook over; its results mean nothing.
    """
    time = f"about {minutes * 60:.0f} seconds" if minutes < 1.5 else f"about {minutes:.0f} minutes"
    if os.environ.get("CS348K_QUICK", "") in ("", "0"):
        print(f"{count} {what}: {time} on a quiet two-core laptop.")
        return count
    few = max(1, count // QUICK_SHARE)
    print(f"CS348K_QUICK: {few} {what} instead of {count}. Do not read anything into the result.")
    return few
