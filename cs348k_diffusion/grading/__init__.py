"""Marks, fairly: the same pytest checks answer in the notebook, at the command line and for a whole class.

check, hint, mine_or_ours     what a notebook calls (`checks.check`)
grade, check_notebook         a folder of submissions, or one notebook (`batch.run`)

A student's code meets a check only as a `Subject` (`subject`): in the notebook it is their live function, in batch a
process of its own (`workers` start it, `worker` is what runs in it) that sees inputs and hands back plain values.
"""

from importlib import import_module

_HOMES = {
    "check": "checks.check", "hint": "checks.check", "mine_or_ours": "checks.check",
    "grade": "batch.run", "check_notebook": "batch.run",
}  # fmt: skip
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
