"""One sentence about how an answer differs from the truth: in type, number, shape, dtype or value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cs348k_diffusion.exercises.framework.forms import kind_of

# Relative and absolute, as torch.testing.assert_close has them; its own first call loads sympy for a second, too long
# for a check. Shape and dtype are compared before, for isclose would broadcast.
TOLERANCES = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}


def difference(
    got: Any, want: Any, rtol: float | None = None, atol: float | None = None, names: Sequence[str] = ()
) -> str | None:
    """One sentence about how an answer differs from the truth, or None when they agree; `names` of a tuple's values."""
    if isinstance(want, Tensor):
        return _tensor_difference(got, want, rtol, atol)
    if isinstance(want, tuple | list):
        return _sequence_difference(got, want, names, lambda a, b: difference(a, b, rtol, atol))
    if isinstance(want, Mapping):
        return _mapping_difference(got, want, rtol, atol)
    if isinstance(want, float):
        return _number_difference(got, want, rtol, atol)
    if type(got) is not type(want):
        return f"wrong type: got {kind_of(got)}, expected {want!r}"
    return None if got == want else f"got {got!r}, expected {want!r}"


def agrees(got: Any, want: Any, rtol: float | None = None, atol: float | None = None) -> bool:
    """Whether `difference` has nothing to say; of tensors it is found without the words."""
    if isinstance(got, Tensor) and isinstance(want, Tensor):
        if got.shape != want.shape or got.dtype != want.dtype or (~torch.isfinite(got) & torch.isfinite(want)).any():
            return False
        return bool(_close(got, want, rtol, atol).all())
    return difference(got, want, rtol, atol) is None


def form_difference(got: Any, want: Any, names: Sequence[str] = ()) -> str | None:
    """As `difference`, but blind to values."""
    if isinstance(want, Tensor):
        return _tensor_form(got, want)
    if isinstance(want, tuple | list):
        return _sequence_difference(got, want, names, form_difference)
    if isinstance(want, float):
        return _number_form(got, f"{want:.6g}")
    return None if type(got) is type(want) else f"wrong type: got {kind_of(got)}, expected {kind_of(want)}"


def _tensor_form(got: Any, want: Tensor) -> str | None:
    if not isinstance(got, Tensor):
        missing = ": is a `return` missing?" if got is None else ""
        return f"not a tensor: got {kind_of(got)}, expected a tensor of shape {tuple(want.shape)}{missing}"
    if got.shape != want.shape:
        return f"wrong shape: got {tuple(got.shape)}, expected {tuple(want.shape)}"
    if got.dtype != want.dtype:
        both = got.is_floating_point() and want.is_floating_point()
        remedy = ": make new tensors like the input (x.new_zeros)" if both else ""
        return f"wrong dtype: got {got.dtype}, expected {want.dtype}{remedy}"
    return None


def _tensor_difference(got: Any, want: Tensor, rtol: float | None, atol: float | None) -> str | None:
    problem = _tensor_form(got, want)
    if problem:
        return problem
    bad = ~torch.isfinite(got) & torch.isfinite(want)
    if bad.any():
        return f"NaN or infinity: {int(bad.sum())} of {bad.numel()} values are not finite"
    close = _close(got, want, rtol, atol)
    return None if close.all() else _farthest(got.detach(), want.detach(), close)


def _close(got: Tensor, want: Tensor, rtol: float | None, atol: float | None) -> Tensor:
    usual = TOLERANCES.get(want.dtype, (0.0, 0.0))
    rtol, atol = (usual[0] if rtol is None else rtol), (usual[1] if atol is None else atol)
    return torch.isclose(got.detach(), want.detach(), rtol=rtol, atol=atol, equal_nan=True)


def _farthest(got: Tensor, want: Tensor, close: Tensor) -> str:
    gap = (got.double() - want.double()).abs().nan_to_num(torch.inf).masked_fill(close, 0.0)
    index: tuple[int, ...] = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape)) if gap.ndim else ()
    place = f" at index {index[0] if len(index) == 1 else index}" if index else ""
    off = int((~close).sum())
    many = f" ({off} of {gap.numel()} values differ)" if gap.numel() > 1 else ""
    one, other = got[index].item(), want[index].item()
    rounded = not isinstance(one, complex) and torch.allclose(got.double(), want.double(), rtol=1e-5, atol=1e-6)
    digits = ".12g" if rounded else ".6g"
    why = ": rounding, as if float32 were used on the way" if rounded and want.dtype == torch.float64 else ""
    return f"got {one:{digits}}, expected {other:{digits}}{place}{many}{why}"


def _sequence_difference(
    got: Any, want: Sequence, names: Sequence[str], compare: Callable[[Any, Any], str | None]
) -> str | None:
    listed = f"{len(want)} values" + (f" ({', '.join(names)})" if names else "")
    if not isinstance(got, tuple | list):
        return f"wrong type: got {kind_of(got)}, expected {listed}"
    if len(got) != len(want):
        return f"wrong number of values: got {len(got)}, expected {listed}"
    called = names if len(names) == len(want) else [f"value {i + 1} of {len(want)}" for i in range(len(want))]
    found = ((name, compare(a, b)) for name, a, b in zip(called, got, want))
    return next((f"{name}: {problem}" for name, problem in found if problem), None)


def _mapping_difference(got: Any, want: Mapping, rtol: float | None, atol: float | None) -> str | None:
    if not isinstance(got, Mapping):
        return f"not a dictionary: got {kind_of(got)}"
    if set(got) != set(want):
        return f"wrong keys: got {sorted(map(str, got))}, expected {sorted(map(str, want))}"
    found = ((key, difference(got[key], want[key], rtol, atol)) for key in want)
    return next((f"{key}: {problem}" for key, problem in found if problem), None)


def _number_form(got: Any, want: str) -> str | None:
    number = isinstance(got, int | float) and not isinstance(got, bool)
    return None if number else f"not a number: got {kind_of(got)}, expected {want}"


def _number_difference(got: Any, want: float, rtol: float | None, atol: float | None) -> str | None:
    problem = _number_form(got, f"{want:.6g}")
    if problem:
        return problem
    rtol, atol = (1e-6 if rtol is None else rtol), (1e-9 if atol is None else atol)
    close = abs(got - want) <= atol + rtol * abs(want) or (got != got and want != want) or got == want
    return None if close else f"got {got:.6g}, expected {want:.6g}"
