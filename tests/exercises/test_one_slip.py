"""One slip costs one check: the second check of an exercise takes what the answer itself gave to the first."""

import pytest
import torch

from cs348k_diffusion.exercises.framework.catalogue import checks_of, registry
from cs348k_diffusion.exercises.framework.difference import difference
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


def test_a_low_resolution_picture_that_is_wrong_leaves_the_residual_its_points():
    def answer(high, shrink, enlarge, level, noise, spread):
        low_res = shrink(high) + level[0] * noise
        return (high - enlarge(low_res)) / spread, low_res

    assert passed("E9.4", answer) == {"test_the_residual_is_what_is_missing_from_what_the_network_sees"}


def film(stages, x):
    found = []
    for number, stage in enumerate(stages):
        frames = stage(x)
        found.append([[number, frame] for frame in frames])
        x = frames[-1]
    return tuple(pair for rows in found for pair in rows)


def lesson(model, x_t, t, y, null, u, low, high):
    scale = low + (high - low) * u
    cond, uncond = model(x_t, t, y), model(x_t, t, null.expand(len(x_t)))
    return [uncond + scale.view(-1, *(1,) * (x_t.ndim - 1)) * (cond - uncond), scale]


@pytest.mark.parametrize(("id", "answer"), [("E9.5", film), ("E10.4", lesson)])
def test_a_tuple_for_a_list_or_a_list_for_a_tuple_is_right(id, answer):
    assert passed(id, answer) == {check.test for check in checks_of(registry()[id])}


def test_a_root_in_float32_is_right_in_the_first_kernel():
    def answer(x, beta, noise):
        return (torch.tensor(1 - beta).sqrt() * x.float() + torch.tensor(beta).sqrt() * noise.float()).to(x.dtype)

    assert passed("E2.1", answer) == {check.test for check in checks_of(registry()["E2.1"])}


def test_float32_on_the_way_of_a_float64_answer_is_said():
    want = torch.linspace(1, 2, 5, dtype=torch.float64).sqrt()
    assert difference(want * (1 + 5e-7), want).endswith("rounding, as if float32 were used on the way")
