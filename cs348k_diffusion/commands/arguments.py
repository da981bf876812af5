"""What several commands ask of an argument and of the console."""

from __future__ import annotations

import io
import sys
from pathlib import Path

MOST_SEED = 2**62  # every generator takes it, and some more


def seed_of(seed: int) -> int:
    """The seed, from 0 to 2^62; ValueError for another."""
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"--seed takes a whole number from 0 to {MOST_SEED}, got {seed}")
    return seed


def few_at_once(n: int, few: int = 16) -> None:
    """One thread for a small batch: two gain little there, and lose much where another program wants the processor."""
    import torch  # the command line answers without it

    if n <= few:
        torch.set_num_threads(1)


def writable(path: Path) -> Path:
    """The path of a file to be written; ValueError, before the work and not after it, where its folder is missing."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give --out the name of a file in it")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} to: make it first")
    return path


def say_everything() -> None:
    """Have a console that cannot print a letter (cp1252, ASCII) print an escape in its place, and not stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
