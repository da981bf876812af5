"""A long training survives its process: checkpoints on disk, written whole or not at all, never a pickle.

A checkpoint is a JSON file that names the safetensors files of every process, with their sha256. It is replaced in one
step once they are written, so that a kill at any moment leaves the old one or the new one, and none that is half done.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cs348k_diffusion.training import Fitting, Phases, Progress

FORMAT = 1  # of the files; another is refused
MANIFEST = "checkpoint.json"
PRIVATE = {"batches/order", "batches/generator", "fit/generator"}  # what each process has of its own


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of one training lie, and of what they must be.

    identity: what makes it this training and no other (recipe, version, seed, steps, ...), as JSON values. rank, size:
    of this process among those that train together; together: waits for all of them.
    """

    folder: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
    rank: int = 0
    size: int = 1
    together: Callable[[], None] = lambda: None

    def save(self, training: Fitting | Phases, **notes: Any) -> None:
        """Write where `training` stands, with `notes` (JSON values), and then remove the checkpoint before it."""
        from safetensors.torch import save

        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self._part(training.done, self.rank), save(training.state()))
        self.together()
        if self.rank == 0:
            parts = [self._part(training.done, rank) for rank in range(self.size)]
            contents = {
                "format": FORMAT,
                "processes": self.size,
                **self.identity,
                "done": training.done,
                "notes": notes,
            }
            contents["sha256"] = {part.name: _digest(part.read_bytes()) for part in parts}
            _write(self.folder / MANIFEST, json.dumps(contents, indent=2).encode())
            self._sweep(set(parts))
        self.together()

    def restore(self, training: Fitting | Phases) -> dict[str, Any]:
        """Bring `training`, not begun yet, to where the checkpoint stands; returns its notes, {} where there is none.

        On another number of processes than it was written by, the weights, the average and the moments are what they
        were; each process begins a pass over the data of its own, with random numbers of its own. Raises ValueError,
        saying what differs, for the checkpoint of another training, and for a damaged file.
        """
        from safetensors.torch import load

        if not (self.folder / MANIFEST).is_file():
            return {}
        contents = self._contents()
        same_team = contents["processes"] == self.size
        part = self._part(contents["done"], self.rank if same_team else 0)
        raw = part.read_bytes() if part.is_file() else b""
        if _digest(raw) != contents["sha256"].get(part.name):
            raise ValueError(f"the checkpoint file {part} is missing or damaged: begin anew with --restart")
        state = load(raw)
        training.restore(state if same_team else {name: state[name] for name in state if name not in PRIVATE})
        return contents["notes"]

    def notes(self) -> dict[str, Any]:
        """The notes of the checkpoint; {} where there is none. Raises ValueError like `restore`."""
        return self._contents()["notes"] if (self.folder / MANIFEST).is_file() else {}

    def clear(self) -> None:
        """Remove the checkpoint."""
        if self.rank == 0:
            (self.folder / MANIFEST).unlink(missing_ok=True)
            self._sweep(set())
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()
        self.together()

    def _sweep(self, wanted: set[Path]) -> None:
        for old in set(self.folder.glob("update-*")) - wanted:
            old.unlink()

    def _part(self, done: int, rank: int) -> Path:
        return self.folder / f"update-{done:07}-process-{rank}.safetensors"

    def _contents(self) -> dict[str, Any]:
        path, wanted = self.folder / MANIFEST, {"format": FORMAT, **self.identity}
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
            found = {name: contents[name] for name in wanted}
            assert isinstance(contents["processes"], int)
            assert isinstance(contents["done"], int)
            assert isinstance(contents["sha256"], dict)
            assert isinstance(contents["notes"], dict)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ValueError(f"the checkpoint {path} is damaged: begin anew with --restart") from error
        if others := [
            f"{name} is {found[name]!r}, not {wanted[name]!r}" for name in wanted if found[name] != wanted[name]
        ]:
            raise ValueError(
                f"the checkpoint {path} is of another training: its {'; its '.join(others)}. Train as it was begun, "
                "write to another folder, or begin anew with --restart"
            )
        return contents


class Standing(NamedTuple):
    """Where a long training stands: updates done and in all, the mean loss since the last one told, and the pace."""

    done: int
    steps: int
    loss: float
    seconds_per_update: float
    progress: Progress

    def label(self) -> str:
        """One line for a terminal, with the time that is left at this pace."""
        minutes = round(self.seconds_per_update * (self.steps - self.done) / 60)
        left = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
        return (
            f"update {self.done:,} of {self.steps:,}, loss {self.loss:.4f}, "
            f"{self.seconds_per_update:.3g} s an update, {left} left"
        )


def interruptible(training: Fitting | Phases, checkpoints: Checkpoints, every: int) -> Iterator[Standing]:
    """Walk `training` from its checkpoint to the end; after every `every` updates save it and yield a Standing.

    The last update is saved too, so that what comes after training can be interrupted as well. Its notes hold the
    processor seconds spent so far. Raises ValueError for a checkpoint that is not of this training.
    """
    spent = checkpoints.restore(training).get("cpu_seconds", 0.0) - time.process_time()
    losses: list[float] = []
    began, first = time.perf_counter(), training.done
    for progress in training:
        losses.append(progress.loss)
        if training.done % every == 0 or training.done == training.steps:
            checkpoints.save(training, cpu_seconds=round(spent + time.process_time(), 1))
            pace = (time.perf_counter() - began) / (training.done - first)
            yield Standing(training.done, training.steps, sum(losses) / len(losses), pace, progress)
            losses.clear()


def _write(path: Path, contents: bytes) -> None:
    """All of the file or none of it, also when the machine stops: written beside it, flushed, and moved over it."""
    half = path.with_name(path.name + ".half")
    with half.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
