"""The course around the package: installing it, opening it, and checking the machine that it runs on."""

from __future__ import annotations

import os
from pathlib import Path


class CourseError(Exception):
    """Something the reader can mend; its text is one sentence."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old one or the whole new one."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
