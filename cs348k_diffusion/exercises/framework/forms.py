"""What an exercise's answer gives back, in the words of its `gives`, and whether a value is of that form.

"x_t: tensor" is one tensor, "alpha: tensor, sigma: tensor" a tuple of two with these names. The kinds: tensor, number,
text, list, dict, iterator, module, function, object (anything that is not None) and nothing (a property test's).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

KINDS = ("tensor", "number", "text", "list", "dict", "iterator", "module", "function", "object", "nothing")
REMEDIES = {
    "a numpy.ndarray": "stay with torch, or torch.from_numpy(...)",
    "a list": "torch.stack(...) or torch.tensor(...) makes a tensor of it",
    "a tuple": "return one value",
    "a generator": "`return` instead of `yield`",
    "None": "is a `return` missing?",
}


def named(gives: str) -> list[tuple[str, str]]:
    """Names and kinds: "alpha: tensor, sigma: tensor" is [("alpha", "tensor"), ("sigma", "tensor")]. ValueError."""
    parts = [part.partition(":") for part in gives.split(",")] if gives else []
    found = [(name.strip(), kind.strip()) for name, _, kind in parts]
    if unknown := [kind for _, kind in found if kind not in KINDS]:
        raise ValueError(f"gives={gives!r}: {unknown[0]!r} is no kind of value; write name: kind, with {KINDS}")
    return found


def names_of(gives: str) -> tuple[str, ...]:
    """The names of the values of a tuple; none where a single value comes back."""
    found = named(gives)
    return tuple(name for name, _ in found) if len(found) > 1 else ()


def problem(value: Any, gives: str) -> str | None:
    """One sentence about a value of the wrong form: what came, what should, what to look at. None where it fits."""
    wanted = named(gives)
    if len(wanted) == 1:
        return _problem(value, *wanted[0])
    if not wanted:
        return None
    listed = f"{len(wanted)} values, ({', '.join(name for name, _ in wanted)})"
    if not isinstance(value, tuple | list):
        return f"got {kind_of(value)}, expected {listed}{_remedy(value)}"
    if len(value) != len(wanted):
        return f"got {len(value)} value{'s' * (len(value) != 1)}, expected {listed}"
    return next((found for one, each in zip(value, wanted) if (found := _problem(one, *each))), None)


def _problem(value: Any, name: str, kind: str) -> str | None:
    if _fits(value, kind):
        return None
    expected = f"nothing from {name}" if kind == "nothing" else f"{name}, {_article(kind)}"
    return f"got {kind_of(value)}, expected {expected}{_remedy(value, kind)}"


def _fits(value: Any, kind: str) -> bool:
    held = isinstance(getattr(value, "kind", None), str)  # a handle on what stays on the student's side
    if kind == "iterator":
        return held and getattr(value, "_iterator", False)
    if kind in ("module", "function"):
        return held and not getattr(value, "_iterator", False)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    plain = {"tensor": Tensor, "text": str, "list": list | tuple, "dict": dict, "nothing": type(None)}
    return value is not None if kind == "object" else isinstance(value, plain[kind])


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _remedy(value: Any, kind: str = "tensor") -> str:
    remedy = REMEDIES.get(kind_of(value)) if kind == "tensor" or value is None else None
    remedy = "let the function `yield x` after every update" if kind == "iterator" else remedy
    return f": {remedy}" if remedy else ""


def kind_of(value: Any) -> str:
    """What a value is, in words: "a tensor of shape (3,)", "None", "a float"."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    kind = getattr(value, "kind", None)  # a handle on something that does not cross the proxy knows its type
    return kind if isinstance(kind, str) else "None" if value is None else f"a {type(value).__name__}"
