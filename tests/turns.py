"""Dear tests take turns: each day another share of them runs, and in so many days all.

A share is fixed for its day, so what fails today fails again in a minute; CS348K_ALL_<NAME>=1 runs everything.
"""

import datetime
import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def everything(name: str) -> bool:
    """Whether CS348K_ALL_{name} asks for all."""
    return bool(os.environ.get(f"CS348K_ALL_{name}"))


def todays(things: Iterable[T], days: int, name: str) -> list[T]:
    """Every `days`-th of the things, another share each day; all of them with CS348K_ALL_{name}=1."""
    every = list(things)
    return every if everything(name) else every[datetime.date.today().toordinal() % days :: days]
