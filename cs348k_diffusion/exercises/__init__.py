'''Exercises: what a student is asked to write, and the pytest tests that check it.

One module per notebook holds its `EXERCISES` and their tests. A complete one looks like this:

    """Checks of notebook 02: noise added once, in closed form."""
    import torch
    import pytest
    from cs348k_diffusion.exercises import Exercise, expect

    EXERCISES = (
        Exercise(
            "E2.2", "noise_once", "The closed form",
            hints=("What is the variance of a sum of independent normals?", "alpha_bar is a product; take its root."),
            withheld=("forward.noise_once",),
            ours="forward.noise_once",
        ),
    )

    @pytest.mark.exercise("E2.2", points=2)
    def test_matches_the_closed_form(noise_once):
        g = torch.Generator().manual_seed(0)
        x0, eps = torch.randn(5, 2, generator=g), torch.randn(5, 2, generator=g)
        alpha_bar = torch.tensor(0.25)
        expect(
            noise_once(x0, alpha_bar, eps),
            0.5 * x0 + 0.75**0.5 * eps,
            says="x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps does not hold",
            mistakes={"variance for standard deviation": 0.25 * x0 + 0.75 * eps},
        )

The argument named like the exercise receives the student's implementation. `EXERCISES` holds literals only: it is
read from the text of the module, never imported, so that pytest is the first to import it and rewrites its asserts.
'''

from cs348k_diffusion.exercises.catalogue import Check, Exercise, FreeText, checks_of, find, of_notebook, registry
from cs348k_diffusion.exercises.errors import NotYet, StudentError
from cs348k_diffusion.exercises.expecting import Counted, expect, largest_tensor, picture, run_against

__all__ = [
    "Check", "Counted", "Exercise", "FreeText", "NotYet", "StudentError", "checks_of", "expect", "find",
    "largest_tensor", "of_notebook", "picture", "registry", "run_against",
]  # fmt: skip
