"""Guidance on digits at equal evaluations: what each method and scale does to accuracy, diversity and FD, three seeds.

    python -m cs348k_diffusion.evaluate.studies.guidance_digits

Recomputes `evaluate.result("guidance_digits")`, read by notebook 05: about 3 core-minutes. In each seed
every setting starts from the same noise, so that differences can be taken in pairs. The unit of cost is one evaluation
of the U-Net for one image. A classifier's own work, there and back, is half of that on a CPU and is not counted: at
"equal evaluations" classifier guidance costs 1.5 times as much.
"""

import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from cs348k_diffusion import clip, ddim, keyed_generator, last, path, recipes
from cs348k_diffusion.evaluate.studies import from_command_line
from cs348k_diffusion.guidance import classifier_log_prob, guide, in_interval, steer
from cs348k_diffusion.metrics.intervals import rounded
from cs348k_diffusion.recipes import cards

SEEDS, INTERVAL = 3, (0.3, 0.8)
LABELS = torch.arange(10).repeat(36)
SCALES = {
    "conditional": (1.0,),
    "cfg": (1.0, 1.25, 1.5, 2.0, 3.0, 5.0),
    "interval": (2.0, 3.0, 5.0),
    "noise-aware classifier": (1.0, 2.0, 4.0, 8.0),
    "clean classifier": (4.0, 16.0),
}
STEPS = {"cfg": 8, "interval": 8}  # of two evaluations each, in the interval; the others: 16 of one


def denoiser(method: str, scale: float, models: dict):
    """The guided denoiser of a method, for LABELS, clipped to the pixels' range."""
    cond, uncond, y = models["digits"].given(y=LABELS), models["digits"].given(), LABELS
    made = {
        "conditional": lambda: cond,
        "cfg": lambda: guide(cond, uncond, scale),
        "interval": lambda: in_interval(guide(cond, uncond, scale), cond, *INTERVAL),
        "noise-aware classifier": lambda: steer(uncond, classifier_log_prob(models["noisy"], y), scale),
        "clean classifier": lambda: steer(uncond, classifier_log_prob(lambda x, t: models["clean"](x), y), scale),
    }
    return clip(made[method]())


def evaluations(method: str, steps: int) -> int:
    """Evaluations of a U-Net for one image."""
    inside = sum(INTERVAL[0] <= t <= INTERVAL[1] for t in path(steps)[:-1].tolist())
    return {"cfg": 2 * steps, "interval": steps + inside}.get(method, steps)


def spread(images: Tensor, labels: Tensor) -> float:
    """Diversity: the mean distance, in pixel values, between two images of one class."""
    return sum(float(torch.pdist(images[labels == k].flatten(1)).mean()) for k in range(10)) / 10


def measures(images: Tensor, labels: Tensor) -> dict[str, float]:
    """What is kept of a set of 360 images."""
    report = recipes.digit_report(images, labels)
    with torch.no_grad():
        said = -float(F.cross_entropy(recipes.features()(images), labels))
    kept = {name: getattr(report, name) for name in ("accuracy", "fd", "precision", "recall", "nearest")}
    return {**kept, "log_p": said, "diversity": spread(images, labels)}


def run(seed: int, models: dict) -> list[dict]:
    """Every method at every scale, from one noise."""
    noise, rows = torch.randn(len(LABELS), 1, 8, 8, generator=keyed_generator(5, 100 + seed)), []
    for method, scales in SCALES.items():
        for scale in scales:
            steps = STEPS.get(method, 16)
            images = last(ddim(denoiser(method, scale, models), noise, path(steps))).x
            row = {"method": method, "scale": scale, "steps": steps, "evaluations": evaluations(method, steps)}
            rows.append({**row, "seed": seed, **measures(images, LABELS)})
            print(rounded(rows[-1]), flush=True)
    return rows


def write(rows: list[dict], seconds: float, folder: str) -> None:
    """The card: every run, and the held-out real digits measured in the same way."""
    from cs348k_diffusion.data import load_digits

    card = {
        "name": "guidance_digits",
        "about": "360 digits a seed for each way and scale of guiding, measured beside the 360 held-out real digits",
        "command": "python -m cs348k_diffusion.evaluate.studies.guidance_digits",
        "settings": {
            "sampler": "DDIM, x0_hat clipped to [-1, 1]",
            "interval": list(INTERVAL),
            "seeds": SEEDS,
            "n": len(LABELS),
        },
        "weights_sha256": {
            name: cards.card(name)["sha256"] for name in ("digits", "digits_classifier", "digits_noisy_classifier")
        },
        "torch": torch.__version__,
        "cpu_seconds": round(seconds),
        "held_out_real": rounded(measures(*load_digits("held_out"))),
        "runs": rounded(rows),
    }
    cards.write_card(card, Path(folder))


def main(folder: str) -> None:
    """Run every seed, and write the card after each."""
    torch.set_num_threads(1)
    began, rows = time.process_time(), []
    models = {"digits": recipes.load("digits"), "clean": recipes.features()}
    models["noisy"] = recipes.load("digits_noisy_classifier").requires_grad_(False)
    for seed in range(SEEDS):
        rows += run(seed, models)
        write(rows, time.process_time() - began, folder)


if __name__ == "__main__":
    from_command_line(main)
