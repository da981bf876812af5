"""Times and paths that make no sense are refused before they become NaN, a repeated time or a walk up and down."""

import math

import pytest
import torch

from cs348k_diffusion.sampling import edm_path, implied_x0, langevin_share, log_snr_path, step
from cs348k_diffusion.schedule import cosine, exploding, straight

ONES = torch.ones(2, 3)
SCHEDULES = {"cosine": cosine(), "straight": straight(), "exploding": exploding(300.0)}
CALLS = {
    "up, then to the data": lambda s: log_snr_path(s, 4, 0.005, 0.0),
    "from the data to the data": lambda s: log_snr_path(s, 4, 0.0, 0.0),
    "no bend": lambda s: edm_path(s, 4, rho=0.0),
    "a bend of NaN": lambda s: edm_path(s, 4, rho=math.nan),
    "a bend without end": lambda s: edm_path(s, 4, rho=math.inf),
    "noise up to NaN": lambda s: edm_path(s, 4, sigma_max=math.nan),
    "noise that there never is": lambda s: edm_path(s, 4, sigma_max=1e60, sigma_min=1e50),
    "the guess behind no step": lambda s: implied_x0(s, ONES, ONES, 0.5, 0.5),
    "the guess behind one step of two": lambda s: implied_x0(s, ONES, ONES, torch.tensor([0.5, 0.6]), 0.5),
    "the guess without noise": lambda s: implied_x0(s, ONES, ONES, 0.0, 0.5),
    "Langevin without noise": lambda s: langevin_share(s, 0.0, 0.1),
    "Langevin at NaN": lambda s: langevin_share(s, math.nan, 0.1),
    "Langevin beyond the end": lambda s: langevin_share(s, 1.5, 0.1),
    "noise at NaN": lambda s: s.prior((2, 2), t=math.nan),
    "noise before the beginning": lambda s: s.prior((2, 2), t=-0.5),
    "noise beyond the end": lambda s: s.prior((2, 2), t=torch.tensor(1.5)),
    "a step to NaN": lambda s: step(s, ONES, ONES, 0.5, math.nan),
    "a step from beyond the end": lambda s: step(s, ONES, ONES, 1.5, 0.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("call", CALLS)
def test_times_that_make_no_sense_are_refused(schedule, call):
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        CALLS[call](SCHEDULES[schedule])
