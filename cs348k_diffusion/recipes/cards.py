"""Weights on disk, each with a card that says how they were made; never a pickle.

`name.safetensors` holds float16; `name.json` the recipe, the seed, the command, the data, the metrics beside those of
real data, and the sha256 of the weights, which is checked on loading. A card without weights is a stored result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

WEIGHTS_DIR = Path(__file__).parent / "weights"
Model = TypeVar("Model", bound=nn.Module)


class Card(dict[str, Any]):
    """What is known about a model or a stored result; a dict, and `table()` prints it."""

    def table(self) -> str:
        """The card as lines of name and value, nested names joined by dots."""
        rows = list(_flat(self))
        return "\n".join(f"{name:{max(len(name) for name, _ in rows)}}  {value}" for name, value in rows)


def _flat(contents: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in contents.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def card_names() -> list[str]:
    """The names of all cards that come with the package."""
    return sorted(path.stem for path in WEIGHTS_DIR.glob("*.json"))


def card(name: str, folder: str | Path = WEIGHTS_DIR) -> Card:
    """The card of that name; raises KeyError, with the names that exist, for another."""
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        raise KeyError(f"there is no card {name!r} in {folder}; the package's own are {', '.join(card_names())}")
    return Card(json.loads(path.read_text(encoding="utf-8")))


def save(model: nn.Module, contents: dict[str, Any], folder: str | Path) -> Path:
    """Write the model's weights, in float16, and `contents` as their card; returns the path of the weights.

    contents needs a "name"; the sha256 is added. Raises ValueError for weights that are not finite in float16.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{contents['name']}.safetensors"
    state = {key: _half(value.detach().cpu()) for key, value in model.state_dict().items()}
    if bad := [key for key, value in state.items() if not bool(value.isfinite().all())]:
        raise ValueError(f"weights that float16 cannot hold, in {', '.join(bad[:3])}: did the training diverge?")
    save_file(state, path)
    write_card({**contents, "sha256": _digest(path)}, folder)
    return path


def write_card(contents: dict[str, Any], folder: str | Path) -> None:
    """Write `contents` to name.json, in a folder that is made if need be."""
    path = Path(folder) / f"{contents['name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def restore(model: Model, name: str, folder: str | Path = WEIGHTS_DIR) -> Model:
    """Fill the model with the weights of that name, as float32, and return it in eval mode.

    Raises ValueError when the file is not the one the card describes, KeyError when there is no such card.
    """
    from safetensors.torch import load_file

    path, expected = Path(folder) / f"{name}.safetensors", card(name, folder).get("sha256")
    if expected is None or not path.is_file():
        raise KeyError(f"the card {name!r} has no weights beside it in {folder}")
    if (found := _digest(path)) != expected:
        raise ValueError(
            f"{path.name} is damaged or is not what its card describes (sha256 {found[:12]}..., expected "
            f"{expected[:12]}...): install the package again, or retrain with `cs348k train {name}`"
        )
    model.float().load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return model.eval()


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half().contiguous()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
