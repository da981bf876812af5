"""Notebook 03: the package's own answers, which `mine_or_ours` hands out, pass the checks that students meet."""

import functools
import random
from collections.abc import Iterator

import torch
from torch.testing import assert_close

from cs348k_diffusion.exact import Mixture, mixture_score
from cs348k_diffusion.exercises.framework.catalogue import of_notebook
from cs348k_diffusion.grading.checks.check import ours
from cs348k_diffusion.langevin import anneal, annealed_langevin
from cs348k_diffusion.noise import noise_like
from cs348k_diffusion.running import last
from tests.answers import Given, records_of
from tests.oracles import normal, seeded


def quiet(answer):
    """The same answer, with Python's random numbers put back: beartype draws some when it checks a sequence."""

    @functools.wraps(answer)
    def called(*args, **named):
        result = kept(lambda: answer(*args, **named))
        return walked(result) if isinstance(result, Iterator) else result

    return called


def kept(action):
    state = random.getstate()
    try:
        return action()
    finally:
        random.setstate(state)


def walked(items):
    end = object()
    while (item := kept(lambda: next(items, end))) is not end:
        yield item


def test_the_packages_own_answers_pass():
    exercises = [exercise for exercise in of_notebook("score_and_langevin") if exercise.ours]
    source = Given("the package", {exercise.id: quiet(ours(exercise)) for exercise in exercises})
    records = records_of(exercises, [source])
    assert len({record.exercise for record in records}) == 5
    assert [record for record in records if record.status != "passed"] == []


def test_round_mixtures_agree_with_general_ones():
    x, means = normal(50, 3, seed=1), normal(4, 3, seed=2)
    weights, stds = torch.tensor([0.1, 0.2, 0.3, 0.4]).double(), torch.tensor([0.3, 0.5, 1.0, 2.0]).double()
    assert_close(
        mixture_score(x, weights, means, stds), Mixture(means, stds**2, weights).score(x), rtol=1e-10, atol=1e-10
    )


def test_the_ladder_is_annealed_langevin_with_its_step_sizes_filled_in():
    x, sigmas, generator = normal(6, 2), [2.0, 1.0, 0.5], seeded(3)
    *_, end = anneal(lambda x, sigma: -x / (1 + sigma**2), x, sigmas, 0.1, 4, lambda x: noise_like(x, generator))
    scores = [lambda x, sigma=sigma: -x / (1 + sigma**2) for sigma in sigmas]
    assert_close(end, last(annealed_langevin(scores, x, [1.6, 0.4, 0.1], 4, seeded(3))).x, rtol=1e-12, atol=1e-12)
