"""How near the pictures' network comes to the processor's limit, and where its time goes.

    python tests/benchmarks/timing/limits.py

The multiply-adds of one evaluation are counted (torch.utils.flop_counter), timed, and set beside what a plain product
of two 1024 x 1024 matrices reaches on the same core in the same minute; the two are timed in turns. Options: the memory
layout channels_last, and products in bfloat16. Written: tests/benchmarks/results/limits.json. One thread.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from stored import store
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from cs348k_diffusion import recipes
from cs348k_diffusion.evaluate.report import made

SIDE, ROUNDS = 1024, 7
SETTINGS = {"pictures": (3, 32, 32), "pictures_64": (4, 16, 16)}  # the shape that each one's network sees
BATCH = 32


def seconds(call: Callable[[], object]) -> float:
    """Seconds of processor time of one call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def shares(calls: dict[str, Callable[[], object]], multiply_adds: float) -> dict[str, dict[str, float]]:
    """Of each call the median seconds, and its share of a matrix product's multiply-adds a second, round by round."""
    a, b = torch.randn(2, SIDE, SIDE)
    for call in calls.values():
        call()
    rounds = [(seconds(lambda: a @ b), {name: seconds(call) for name, call in calls.items()}) for _ in range(ROUNDS)]
    rates = [SIDE**3 / product for product, _ in rounds]
    return {
        name: {
            "seconds": median(took[name] for _, took in rounds),
            "share": median(multiply_adds / took[name] / rate for rate, (_, took) in zip(rates, rounds, strict=True)),
        }
        for name in calls
    } | {"matrix product": {"seconds": median(took for took, _ in rounds), "giga_multiply_adds": median(rates) / 1e9}}


def where(call: Callable[[], object], most: int = 6) -> dict[str, float]:
    """The operators that take most of the time, with their share of it."""
    with profile(activities=[ProfilerActivity.CPU]) as told:
        call()
    rows = sorted(told.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return {row.key: row.self_cpu_time_total / total for row in rows[:most]}


@torch.no_grad()
def limits(name: str, shape: tuple[int, ...]) -> dict:
    """What one evaluation of that recipe's network costs, for a batch of BATCH captioned pictures."""
    pipeline = recipes.load_pipeline(name)
    model, generator = pipeline.model, torch.Generator().manual_seed(0)
    x, t = torch.randn(BATCH, *shape, generator=generator), torch.full((BATCH,), 0.5)
    caption = torch.randint(1, 30, (BATCH, model.net.captions.null.shape[-1]), generator=generator)
    with FlopCounterMode(display=False) as counter:
        model(x, t, caption=caption)
    multiply_adds = counter.get_total_flops() / 2
    last = recipes.load(name).to(memory_format=torch.channels_last)
    columns = x.contiguous(memory_format=torch.channels_last)

    def halved() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model(x, t, caption=caption)

    calls = {
        "as it is": lambda: model(x, t, caption=caption),
        "channels_last": lambda: last(columns, t, caption=caption),
        "bfloat16": halved,
    }
    return {
        "multiply_adds_a_picture": multiply_adds / BATCH,
        "ways": shares(calls, multiply_adds),
        "operators": where(calls["as it is"]),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {name: limits(name, shape) for name, shape in SETTINGS.items()}
    abilities = sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)
    store("limits", {"machine": made(), "batch": BATCH, "processor": abilities, **found})
