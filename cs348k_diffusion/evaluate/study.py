"""Run the design of a claim: every setting on the same seeds, each run within the budget, nothing run twice.

A run is cached by its content (the experiment's source, its levels, its seed), one small file each, so that a study
that was killed goes on where it stopped. Runs are spread over processes, or over a Dask cluster where a scheduler is
given.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cs348k_diffusion.cluster import cluster
from cs348k_diffusion.evaluate.claim import Claim, Levels, Verdict, factorial, judge, label

Experiment = Callable[..., Mapping[str, float]]


@dataclass(frozen=True)
class Row:
    """One run: what it was asked to do and the numbers it returned, "cost" among them."""

    levels: Mapping[str, Any]
    seed: int
    numbers: Mapping[str, float]


@dataclass
class Results:
    """All runs of a study, ready to be compared seed by seed."""

    runs: list[Row] = field(default_factory=list)

    def values(self, metric: str, levels: Levels) -> np.ndarray:
        """The metric of one setting, in the order of the seeds. KeyError names the settings and metrics there are."""
        mine = sorted((run for run in self.runs if dict(run.levels) == dict(levels)), key=lambda run: run.seed)
        if not mine or metric not in mine[0].numbers:
            settings = sorted({label(run.levels) for run in self.runs})
            have = f"metrics {', '.join(mine[0].numbers)}" if mine else f"settings {'; '.join(settings)}"
            raise KeyError(f"no {metric!r} of {label(levels)}: there are {have}")
        return np.array([run.numbers[metric] for run in mine])

    def costs(self) -> dict[str, float]:
        """The mean cost of a run of each setting."""
        names = dict.fromkeys(label(run.levels) for run in self.runs)
        mine = {name: [run.numbers["cost"] for run in self.runs if label(run.levels) == name] for name in names}
        return {name: float(np.mean(costs)) for name, costs in mine.items()}

    def factorial(self, metric: str, factors: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The metric as a table with one axis for each factor, its levels in order, and seeds last."""
        return factorial(lambda levels: self.values(metric, levels), factors)


def run_study(
    claim: Claim,
    folder: str | Path | None = None,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    quiet: bool = False,
) -> Results:
    """All runs of a claim's design: its settings on seeds 0, 1, ...; paired, since every setting gets the same seeds.

    folder: where finished runs are kept (none: nothing is kept); jobs: how many processes, which needs an experiment
    that can be imported; scheduler: a Dask cluster, "tcp://10.0.0.1:8786", with the errors of `cluster`. Raises
    ValueError for a run that reports no "cost", or one above the claim's budget: settings that cost unlike amounts
    cannot be compared; and for a claim that is not yet `tuned`.
    """
    from tqdm.auto import tqdm

    if claim.tries:
        raise ValueError(f"{claim.id} is to be tuned first: run_study(tuned(claim)), as `resolve` does")
    todo = [(levels, seed) for seed in range(claim.seeds) for levels in claim.settings()]
    cache = RunCache(folder, claim.experiment)
    known = [run for levels, seed in todo if (run := cache.find(levels, seed))]
    have = {(label(run.levels), run.seed) for run in known}
    missing = [(levels, seed) for levels, seed in todo if (label(levels), seed) not in have]
    bar = tqdm(total=len(todo), initial=len(known), desc=claim.id, disable=quiet, leave=False, unit="run")
    with bar, contextlib.closing(_done(claim.experiment, missing, jobs, scheduler)) as done:
        for run in done:
            known.append(cache.keep(_within_budget(run, claim)))
            bar.update()
    return Results(known)


def resolve(claim: Claim, folder: str | Path | None = None, **options: Any) -> tuple[Verdict, Results]:
    """The verdict on a claim from a study of it (options as for `run_study`), and the runs behind it."""
    claim = tuned(claim)
    results = run_study(claim, folder, **options)
    return judge(claim, lambda levels: results.values(claim.metric, levels)), results


def tuned(claim: Claim) -> Claim:
    """The claim with the best of its tries in each setting that is compared, as many for each; itself without tries.

    Raises ValueError where there are fewer tries than `trials`.
    """
    if not claim.tries:
        return claim
    compared = (claim.proposed, *claim.alternatives)
    spaces = {label(levels): [{**levels, **more} for more in claim.tries] for levels in compared}
    mine, *others = tune(claim.experiment, spaces, claim.trials, claim.metric, claim.better).values()
    return replace(claim, proposed=mine, alternatives=tuple(others), tries=())


def _within_budget(run: Row, claim: Claim) -> Row:
    cost = run.numbers.get("cost")
    if cost is None:
        raise ValueError(f"{claim.id}: a run of {label(run.levels)} reports no 'cost'; count its {claim.unit}")
    if cost > claim.budget * (1 + 1e-9):
        raise ValueError(
            f"{claim.id}: {label(run.levels)} spent {cost:g} {claim.unit}, the budget is {claim.budget:g}: "
            "compare settings at equal cost"
        )
    return run


# Running


def _done(what: Experiment | str, todo: list, jobs: int, scheduler: str | None) -> Generator[Row, None, None]:
    """The runs as they finish."""
    if scheduler is not None:
        yield from _by_dask(what, todo, scheduler)
    elif jobs > 1 and len(todo) > 1:
        yield from _by_processes(what, todo, jobs)
    else:
        yield from (_one(what, levels, seed) for levels, seed in todo)


def _one(what: Experiment | str, levels: Levels, seed: int) -> Row:
    numbers = function_of(what)(seed, **levels)
    return Row(dict(levels), seed, {name: float(value) for name, value in numbers.items()})


def _by_processes(what: Experiment | str, todo: list, jobs: int) -> Generator[Row, None, None]:
    # started afresh, not forked: a process that has run torch threads must not be copied
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_one_thread) as pool:
        tasks = [pool.submit(_one, what, levels, seed) for levels, seed in todo]
        try:
            yield from (task.result() for task in as_completed(tasks))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _by_dask(what: Experiment | str, todo: list, scheduler: str) -> Generator[Row, None, None]:
    with cluster(scheduler) as client:
        from distributed import as_completed as finished

        tasks: Any = [client.submit(_one, what, levels, seed, pure=False) for levels, seed in todo]
        waiting: Any = finished(tasks, loop=client.loop)
        yield from (task.result() for task in waiting)


def function_of(what: Experiment | str) -> Experiment:
    """The experiment itself, of a function or of its name "module:function". ValueError for a name without a colon."""
    if callable(what):
        return what
    module, colon, name = what.partition(":")
    if not colon:
        raise ValueError(f"an experiment is a function or 'module:function', got {what!r}")
    return getattr(importlib.import_module(module), name)


# Keeping


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, whatever other processes write there."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


class RunCache:
    """A folder of finished runs, found by content; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, what: Experiment | str):
        self.folder = Path(folder) if folder is not None else None
        self.source = digest_of(function_of(what)) if folder is not None else ""

    def path(self, levels: Levels, seed: int) -> Path:
        """The file of a run; another source, level or seed has another name."""
        assert self.folder is not None
        asked = json.dumps([self.source, dict(levels), seed], sort_keys=True, default=repr)
        return self.folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"

    def find(self, levels: Levels, seed: int) -> Row | None:
        """A finished run, or None."""
        if self.folder is None or not (path := self.path(levels, seed)).is_file():
            return None
        return Row(dict(levels), seed, json.loads(path.read_text(encoding="utf-8"))["numbers"])

    def keep(self, run: Row) -> Row:
        """Write a run, whole or not at all: a study may be killed at any moment."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.path(run.levels, run.seed)
            kept = {"levels": dict(run.levels), "seed": run.seed, "numbers": dict(run.numbers)}
            write_whole(path, json.dumps(kept, default=repr))
        return run


def digest_of(function: Experiment) -> str:
    """A name for an experiment's source: of its whole module where it has a file, else of the function alone.

    A partial function is named by what it calls and with what; another callable object by its `repr`.
    """
    if isinstance(function, functools.partial):
        given = [digest_of(function.func), function.args, sorted(function.keywords.items())]
        return hashlib.sha256(repr(given).encode()).hexdigest()
    module = inspect.getmodule(function)
    try:
        home = module if module is not None and getattr(module, "__file__", None) else function
        source = inspect.getsource(home)  # type: ignore[arg-type]
    except (OSError, TypeError):
        source = repr(getattr(function, "__code__", function))
    return hashlib.sha256(f"{getattr(function, '__qualname__', repr(function))}\n{source}".encode()).hexdigest()


def tune(
    experiment: Experiment | str,
    spaces: Mapping[str, Sequence[Levels]],
    trials: int,
    metric: str,
    better: str = "less",
    seeds: Sequence[int] = (1000, 1001),
) -> dict[str, Levels]:
    """The best settings of each method after the same number of trials each, on seeds that judge nothing later.

    spaces: method -> the settings to try, of which the first `trials` are. Raises ValueError where a method has fewer:
    a method that is tuned more than its alternatives wins by that.
    """
    short = [name for name, space in spaces.items() if len(space) < trials]
    if short:
        raise ValueError(f"{', '.join(short)} can be tried in fewer than {trials} ways: give each the same number")
    sign = 1 if better == "less" else -1

    def loss(levels: Levels) -> float:
        return sign * float(np.mean([_one(experiment, levels, seed).numbers[metric] for seed in seeds]))

    return {name: min(space[:trials], key=loss) for name, space in spaces.items()}
