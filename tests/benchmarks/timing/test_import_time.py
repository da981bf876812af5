"""`import cs348k_diffusion`, with every name of the core used, costs within 1.05x of `import torch`.

CPU seconds, so that other programs on the machine count little; the two are timed in turns.
"""

import subprocess
import sys
from statistics import median

CORE = "from cs348k_diffusion import cosine, NetDenoiser, ddim, fit, langevin_step, Mixture"
RUNS = 5


def seconds(statement: str) -> float:
    """The CPU time that a fresh Python takes for a statement."""
    probe = f"import time; start = time.process_time(); {statement}; print(time.process_time() - start)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_the_package_costs_no_more_than_torch():
    seconds(CORE)  # the first run fills the disk's cache
    pairs = [(seconds("import torch"), seconds(CORE)) for _ in range(RUNS)]
    torch, core = (median(times) for times in zip(*pairs, strict=True))
    print(f"\nimport torch {torch:.2f} s, the core of the package {core:.2f} s: {core / torch:.2f}x")
    assert core <= 1.05 * torch


def test_help_answers_at_once():
    took = median(seconds("import cs348k_diffusion.cli") for _ in range(RUNS))
    print(f"\nimport cs348k_diffusion.cli {took:.2f} s")
    assert took <= 0.5
