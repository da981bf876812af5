'''Exercises: what a student is asked to write, and the pytest tests that check it.

One module per notebook holds its `EXERCISES` and their tests. A complete one looks like this:

    """Checks of notebook 02: noise added once, in closed form."""
    import math
    import pytest
    from cs348k_diffusion.exercises import Exercise, agree, varied

    EXERCISES = (
        Exercise(
            "E2.2", "noise_once", "The closed form",
            gives="x_t: tensor",
            hints=(
                "What is the variance of a sum of independent normals?",
                "alpha_bar is a product of 1 - beta; both coefficients are roots.",
                "Begin with torch.cumprod(1 - betas, 0).",
            ),
            withheld=("forward.noise_once",),
            ours="forward.noise_once",
        ),
    )
    MISTAKES = {"variance for standard deviation": lambda x0, bar, eps: bar * x0 + (1 - bar) * eps}

    @pytest.mark.exercise("E2.2", points=2)
    def test_matches_the_closed_form(noise_once):
        agree(
            noise_once,
            lambda x0, bar, eps: math.sqrt(bar) * x0 + math.sqrt(1 - bar) * eps,
            [(case.normal(), case.number(0, 1), case.normal()) for case in varied()],
            says="x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps does not hold.",
            mistakes=MISTAKES,
        )

The argument named like the exercise receives the student's implementation. `EXERCISES` holds literals only: it is
read from the text of the module, never imported, so that pytest is the first to import it and rewrites its asserts.
'''

from cs348k_diffusion.exercises.framework.catalogue import (
    Check,
    Exercise,
    FreeText,
    checks_of,
    find,
    of_notebook,
    registry,
)
from cs348k_diffusion.exercises.framework.errors import NotYet, StudentError
from cs348k_diffusion.exercises.framework.expecting import Wrong, agree, expect, must, same_form
from cs348k_diffusion.exercises.framework.inputs import Case, generator, normals, varied
from cs348k_diffusion.exercises.framework.observing import Counted, largest_tensor, picture
from cs348k_diffusion.exercises.framework.properties import run_against

__all__ = [
    "Case", "Check", "Counted", "Exercise", "FreeText", "NotYet", "StudentError", "Wrong", "agree", "checks_of",
    "expect", "find", "generator", "largest_tensor", "must", "normals", "of_notebook", "picture", "registry",
    "run_against", "same_form", "varied",
]  # fmt: skip
