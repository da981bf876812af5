"""A long training survives its process: checkpoints on disk, written whole or not at all, never a pickle.

A checkpoint is a JSON file that names the safetensors files of every process with their sha256. It is replaced in one
step, after they are written, so that a kill at any moment leaves either the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


from cs348k_diffusion.training import Fitting, Progress

FORMAT = 1  # of the files; another is refused


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of one training lie, and what they must be of.

    identity: whatever makes it this training and no other (recipe, version, seed, steps, ...), as JSON values; a
    checkpoint with another identity is refused by name. rank, size: of this process among those of the training;
    together: waits for all of them.
    """

    folder: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    rank: int = 0
    size: int = 1
    together: Callable[[], None] = lambda: None

    @property
    def manifest(self) -> Path:
        """The JSON file that is the checkpoint; without it there is none."""
        return self.folder / "checkpoint.json"

    def save(self, training: Fitting) -> None:
        """Write where `training` stands, and remove the checkpoint before it."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self._part(training.done, self.rank), save(training.state()))
        self.together()
        if self.rank == 0:
            parts = [self._part(training.done, rank) for rank in range(self.size)]
            digests = {part.name: _digest(part) for part in parts}
            contents = {"format": FORMAT, **self.identity, "processes": self.size, "done": training.done}
            _write(self.manifest, json.dumps({**contents, "sha256": digests}, indent=2).encode())
            for old in set(self.folder.glob("update-*.safetensors")) - set(parts):
                old.unlink()
        self.together()

    def restore(self, training: Fitting) -> int:
        """Bring `training`, not begun yet, to where the checkpoint stands; returns the updates done, 0 without one.

        Raises ValueError, saying what differs, for the checkpoint of another training, and for a damaged file.
        """
        from safetensors.torch import load

        if not self.manifest.is_file():
            return 0
        contents = self._contents()
        part = self._part(contents["done"], self.rank)
        raw = part.read_bytes() if part.is_file() else b""
        if hashlib.sha256(raw).hexdigest() != contents["sha256"].get(part.name):
            raise ValueError(f"the checkpoint file {part} is missing or damaged: begin anew with --restart")
        training.restore(load(raw))
        return training.done

    def clear(self) -> None:
        """Remove the checkpoint, manifest first."""
        if self.rank == 0 and self.folder.is_dir():
            self.manifest.unlink(missing_ok=True)
            for old in self.folder.glob("update-*.safetensors*"):
                old.unlink()
        self.together()

    def _contents(self) -> dict[str, Any]:
        try:
            contents = json.loads(self.manifest.read_text(encoding="utf-8"))
            found = {"format": contents["format"], "processes": contents["processes"]} | {
                name: contents.get(name) for name in self.identity
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the checkpoint {self.manifest} is damaged: begin anew with --restart") from error
        wanted = {"format": FORMAT, "processes": self.size, **self.identity}
        if others := [name for name, value in wanted.items() if found[name] != value]:
            told = ", ".join(f"{name} {found[name]!r} (not {wanted[name]!r})" for name in others)
            raise ValueError(f"the checkpoint {self.manifest} is of another training: {told}; begin anew with --restart")
        return contents

    def _part(self, done: int, rank: int) -> Path:
        return self.folder / f"update-{done:07}-process-{rank}.safetensors"


def kept(training: Fitting, checkpoints: Checkpoints, due: Callable[[int], bool]) -> Iterator[Progress]:
    """The steps of `training` from its checkpoint on, with a new checkpoint after each update that is `due`."""
    checkpoints.restore(training)
    for progress in training:
        yield progress
        if due(progress.step):
            checkpoints.save(training)


def _write(path: Path, contents: bytes) -> None:
    """All of the file or none of it, also when the machine stops: written beside it, flushed, and moved over it."""
    half = path.with_suffix(path.suffix + ".half")
    with half.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
