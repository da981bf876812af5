"""One slip costs one check: the second check of an exercise takes what the answer itself gave to the first."""

import pytest
import torch

from cs348k_diffusion.exercises.framework.catalogue import checks_of, registry
from tests.answers import Given, records_of


def uncentred(x, d):
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return vectors.flip(1).T[:d], values[: len(values) - d].sum()


def smallest_first(x, d):
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    return vectors.T[:d], values[d:].sum()


def of_a_sample(z, data, back=False):
    mean, std = data.mean((0, 2, 3), keepdim=True), data.std((0, 2, 3), keepdim=True)
    return z * std + mean if back else (z - mean) / std


def by_variance(z, data, back=False):
    mean, variance = data.mean((0, 2, 3), keepdim=True), data.var((0, 2, 3), keepdim=True, correction=0)
    return z * variance + mean if back else (z - mean) / variance


def passed(id, answer):
    records = records_of([registry()[id]], [Given("one slip", {id: answer})])
    assert {record.test for record in records} == {check.test for check in checks_of(registry()[id])}
    return {record.test for record in records if record.status == "passed"}


@pytest.mark.parametrize(
    ("id", "slip", "other"),
    [
        ("E8.1", uncentred, "test_knows_what_is_lost"),
        ("E8.1", smallest_first, "test_knows_what_is_lost"),
        ("E8.2", of_a_sample, "test_undoes_itself"),
        ("E8.2", by_variance, "test_undoes_itself"),
    ],
)
def test_a_slip_leaves_the_other_check_its_points(id, slip, other):
    assert passed(id, slip) == {other}


@pytest.mark.parametrize(
    ("id", "answer"),
    [
        ("E8.1", lambda x, d: (x.new_zeros(d, x.shape[1]), x.square().sum(1).mean())),
        ("E8.2", lambda z, data, back=False: z),
    ],
)
def test_an_answer_that_does_nothing_earns_nothing(id, answer):
    assert passed(id, answer) == set()


def test_a_right_basis_does_not_excuse_the_error_of_another():
    def answer(x, d):
        centred = x - x.mean(0)
        basis = torch.linalg.eigh(centred.T @ centred)[1].flip(1).T[:d]
        return basis, (x - x @ basis.T @ basis).square().sum(1).mean()

    assert passed("E8.1", answer) == {"test_keeps_the_directions_of_greatest_variance"}
