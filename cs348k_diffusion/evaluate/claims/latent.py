"""Claims of notebook 08, L1 to L5: diffusion on linear codes, read from the card `latent_claims`; L1 is run here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.evaluate import RESULTS as FOLDER
from cs348k_diffusion.evaluate import result, runs
from cs348k_diffusion.evaluate.claim import Claim
from cs348k_diffusion.evaluate.studies.latent_claims import BUDGETS, CALLS, NETS
from cs348k_diffusion.latent import PCACodec


def linear_error(seed: int, f: int, d: int) -> dict[str, float]:
    """log10 of the mean squared error of the best linear code, on pictures of a world that it was not made from."""
    made_from, others = pictures(200, 32, 62 + 2 * seed).images, pictures(200, 32, 63 + 2 * seed).images
    codec = PCACodec.of(made_from, f, d)
    error = (codec.decode(codec.encode(others)) - others).square().mean()
    return {"log10 of the error": float(error.log10()), "cost": d * (32 // f) ** 2}


def run_of(seed: int, f: int, budget: int, folder: Path = FOLDER) -> dict[str, Any]:
    """The stored run of a seed and f, as it was at a budget."""
    (row,) = runs("latent_claims", folder, seed=seed, f=f, budget=budget)
    return row


def at_budget(seed: int, f: int, budget: int, folder: Path = FOLDER) -> dict[str, float]:
    """log10 FD of the samples, how far it is above that of the codec alone, and pictures in a core-second."""
    row, card = run_of(seed, f, budget, folder), result("latent_claims", folder)
    (alone,) = (one["fd"] for one in card["reconstructed"] if one["f"] == f)
    speed = card["settings"]["judged"] / row["sampling_seconds"]
    return {
        "log10 FD": math.log10(row["fd"]),
        "FD above the codec's": row["fd"] - alone,
        "log2 of pictures a core-second": math.log2(speed),
        "cost": budget,
    }


def best_f(seed: int, budget: int, folder: Path = FOLDER) -> dict[str, float]:
    """log2 of the f whose samples are nearest to the data, by FD and by texture."""
    best = {name: min(NETS, key=lambda f: run_of(seed, f, budget, folder)[name]) for name in ("fd", "texture")}
    fd, texture = math.log2(best["fd"]), math.log2(best["texture"])
    return {"log2 of the best f by FD": fd, "log2 of the best f by texture": texture, "cost": budget}


def gained(seed: int, f: int, folder: Path = FOLDER) -> dict[str, float]:
    """How much log10 FD falls from the second budget to the last."""
    early, late = (math.log10(run_of(seed, f, budget, folder)["fd"]) for budget in (BUDGETS[1], BUDGETS[-1]))
    return {"log10 FD gained": early - late, "cost": BUDGETS[-1]}


def speed_up(seed: int, f: int, folder: Path = FOLDER) -> dict[str, float]:
    """How many times more pictures a core-second than from pixels, divided by f^2."""
    slow, fast = (run_of(seed, each, BUDGETS[-1], folder)["sampling_seconds"] for each in (1, f))
    return {"speed-up / f^2": slow / fast / f**2, "cost": CALLS}


HERE, CARD = "cs348k_diffusion.evaluate.claims.latent:", "latent_claims"
LONG, SHORT = BUDGETS[-1], BUDGETS[0]
SAME: dict[str, Any] = {
    "seeds": 3, "source": "Rombach et al. 2022, figure 6", "notebook": "08", "card": CARD, "unit": "core-seconds",
}  # fmt: skip
CLAIMS = (
    Claim(
        "L1a", "At equal d the error of the best linear code is smaller at f = 2 than at 4 and 8",
        "log10 of the error", "less", {"f": 2, "d": 4}, HERE + "linear_error",
        ({"f": 4, "d": 4}, {"f": 8, "d": 4}), unit="numbers", notebook="08", source="Rombach et al. 2022, table 8",
    ),
    Claim(
        "L1b", "At f = 4 the error of the best linear code is smaller with d = 16 numbers a place than with 4 or 8",
        "log10 of the error", "less", {"f": 4, "d": 16}, HERE + "linear_error",
        ({"f": 4, "d": 4}, {"f": 4, "d": 8}), unit="numbers", notebook="08", source="Rombach et al. 2022, table 8",
    ),
    Claim(
        "L2", "After 20 core-seconds FD against f is a U: f = 4 is nearer to the data than pixels and than f = 8",
        "log10 FD", "less", {"f": 4, "budget": LONG}, HERE + "at_budget",
        ({"f": 1, "budget": LONG}, {"f": 8, "budget": LONG}), **SAME,
    ),
    Claim(
        "L3a", "The longer the training, the smaller the best f by FD: its log2 after 2 core-seconds and after 20",
        "log2 of the best f by FD", "more", {"budget": SHORT}, HERE + "best_f", ({"budget": LONG},), **SAME,
    ),
    Claim(
        "L3b", "The same by the distance of textures",
        "log2 of the best f by texture", "more", {"budget": SHORT}, HERE + "best_f", ({"budget": LONG},), **SAME,
    ),
    Claim(
        "L4a", "Samples a second grow with f: f = 8 against 4, 2 and 1",
        "log2 of pictures a core-second", "more", {"f": 8, "budget": LONG}, HERE + "at_budget",
        tuple({"f": f, "budget": LONG} for f in (4, 2, 1)), **SAME,
    ),
    Claim(
        "L4b", "They grow by less than f^2: the speed-up at f = 8, divided by 64, is below 1",
        "speed-up / f^2", "less", {"f": 8}, HERE + "speed_up", threshold=1.0, **SAME,
    ),
    Claim(
        "L5a", "The codec's own FD is the floor of the samples': at f = 8 the difference is above 0",
        "FD above the codec's", "more", {"f": 8, "budget": LONG}, HERE + "at_budget", threshold=0.0, **SAME,
    ),
    Claim(
        "L5b", "At large f samples soon stop getting better: log10 FD gained from 4 to 20 core-seconds, f = 8 and 2",
        "log10 FD gained", "less", {"f": 8}, HERE + "gained", ({"f": 2},), **SAME,
    ),
)  # fmt: skip
