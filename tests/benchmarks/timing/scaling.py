"""What training the 64-pixel model would take with 10 and 100 times the parameters and pictures.

    python tests/benchmarks/timing/scaling.py

The seconds of processor time of an update are measured at widths that span more than a decade of parameters, and a
power law is fitted: log seconds = a + b log parameters. Extrapolated is the time of the shipped recipe, as often over
its data: updates grow with the pictures, seconds an update with the parameters. The interval is the fit's own; that the
law goes on beyond what was measured is an assumption, and where the widest nets' power is larger, a lower bound.
Written: tests/benchmarks/results/scaling.json. One thread.
"""

import math
import time
from statistics import median

import torch
from scipy import stats
from stored import store

from cs348k_diffusion.data.pictures import WORDS
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.evaluate.report import made
from cs348k_diffusion.nets import TextUNet
from cs348k_diffusion.recipes import RECIPES
from cs348k_diffusion.recipes.pictures import ATTENTION, TOKENIZER, autocast_bf16, noisy_times
from cs348k_diffusion.recipes.pictures_64 import CODE
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising, update

WIDTHS, ROUNDS, TIMES = (16, 24, 32, 48, 64, 80), 4, (1, 10, 100)


def measured(width: int) -> dict:
    """Parameters of the model at a width (multiples of its 8 groups), and the median seconds of an update of 64."""
    torch.manual_seed(0)
    net = TextUNet(len(WORDS), CODE[0], width, attention=ATTENTION, length=TOKENIZER.length, fold=1)
    model = NetDenoiser(net, cosine(), predict="v").train()
    batch = (torch.randn(64, *CODE), {"caption": torch.randint(1, len(WORDS), (64, TOKENIZER.length))})
    loss = autocast_bf16(denoising(dropout=0.1, times=noisy_times), torch.device("cpu"))
    optimizer, took = torch.optim.AdamW(model.parameters(), lr=1e-4), []
    for _ in range(ROUNDS + 1):  # the first one allocates
        began = time.process_time()
        update(model, batch, loss, optimizer)
        took.append(time.process_time() - began)
    count = sum(each.numel() for each in model.parameters())
    return {"width": width, "parameters": count, "seconds": median(took[1:])}


def fitted(rows: list[dict]):
    """The straight line through the logarithms of parameters and seconds (SciPy's)."""
    return stats.linregress([math.log(row["parameters"]) for row in rows], [math.log(row["seconds"]) for row in rows])


def extrapolated(rows: list[dict], times: float, parameters: int, updates: int) -> list[float]:
    """Core-hours with `times` the parameters and pictures, and the ends of the fitted line's 95 % interval there."""
    x, line = [math.log(row["parameters"]) for row in rows], fitted(rows)
    at, middle = math.log(times * parameters), sum(x) / len(x)
    spread = sum((each - middle) ** 2 for each in x)
    error = line.stderr * math.sqrt(spread) * math.sqrt(1 / len(x) + (at - middle) ** 2 / spread)
    half, value = float(stats.t.ppf(0.975, len(x) - 2)) * error, line.intercept + line.slope * at
    return [math.exp(end) * updates * times / 3600 for end in (value, value - half, value + half)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows, recipe = [measured(width) for width in WIDTHS], RECIPES["pictures_64"]
    own = next(row for row in rows if row["width"] == 32)["parameters"]
    found = {
        "machine": made(),
        "rows": rows,
        "updates": recipe.steps,
        "power": {"all": fitted(rows).slope, "the three widest": fitted(rows[-3:]).slope},
        "core_hours": {str(k): extrapolated(rows, k, own, recipe.steps) for k in TIMES},
    }
    store("scaling", found)
