"""Students: killed and continued they are the same, they begin as their teacher, and digits keep their card."""

import random

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import recipes
from cs348k_diffusion.checkpoints import Checkpoints, Standing
from cs348k_diffusion.commands.training import reporter
from cs348k_diffusion.data import Batches, load_digits
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.distill import conditional, guided
from cs348k_diffusion.nets import FastTextUNet, FastUNet, TextUNet, UNet
from cs348k_diffusion.recipes.distilled import digits_fast
from cs348k_diffusion.recipes.distilled.fewer_steps import distilling
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import Progress
from tests.test_checkpoints import killed_at, same, weights
from tests.untrained import awake

STAGES = {8: 2, 4: 1, 2: 3, 1: 2}


def distillation(kind):
    """A tiny student of every stage: of labels without guidance, or of captions under it."""
    torch.manual_seed(0)
    generator, small = torch.Generator().manual_seed(4), {"width": 8, "mults": (1, 2)}
    x, draws = torch.randn(12, 1, 4, 4, generator=generator), torch.arange(12) % 3
    if kind == "labels":
        taught, nets = conditional, [net(1, **small, classes=3) for net in (UNet, FastUNet)]
        conditions = {"y": draws}
    else:
        small |= {"channels": 1, "fold": 1, "attention": ("", "all"), "length": 4, "words_width": 8}
        taught, nets = guided, [net(5, **small) for net in (TextUNet, FastTextUNet)]
        conditions = {"caption": draws[:, None].expand(12, 4) + 1}
    master, student = (NetDenoiser(net, cosine()) for net in nets)
    awake(master)

    def look_up(rows):
        return x[rows], {name: value[rows] for name, value in conditions.items()}

    stock = Batches(12, 8, look_up, generator)
    return distilling(student, master, stock, STAGES, 8, generator, limits=(-1, 1), bound=1.5, taught=taught)


@pytest.mark.parametrize(("kind", "seed"), [("labels", 0), ("labels", 1), ("captions", 2)])
def test_a_student_that_is_killed_at_random_updates_goes_on_to_the_same_weights(kind, seed, tmp_path):
    """Kept every 3 updates, so that it stops within stages and between them."""
    whole = distillation(kind)
    for _ in whole:
        pass
    assert (whole.steps, whole.done, len(whole.students)) == (8, 8, 3)
    moments = sorted(random.Random(seed).sample(range(1, whole.steps), 2))
    same(weights(killed_at(lambda: distillation(kind), Checkpoints(tmp_path), moments)), weights(whole))


def test_each_stage_is_taught_by_the_stage_before():
    """A student is what its stage ended as, and later updates leave it as it was."""
    run, ends = distillation("labels"), {}
    for progress in run:
        if progress.step in (2, 3, 6):
            ends[progress.step] = {name: value.clone() for name, value in progress.model.state_dict().items()}
    for student, end in zip(run.students, ends.values(), strict=True):
        same(dict(student.state_dict()), end)


def test_a_student_of_digits_begins_as_its_teacher_and_then_hears_its_stride():
    teacher, student = awake(UNet(1, width=8, mults=(1, 2), classes=3)), FastUNet(1, width=8, mults=(1, 2), classes=3)
    assert student.load_state_dict(teacher.state_dict(), strict=False).unexpected_keys == []
    x, t, y = torch.randn(2, 1, 4, 4), torch.tensor([0.3, 1.0]), torch.tensor([0, 2])
    stride = torch.tensor([0.25, 1.0])
    with torch.no_grad():
        assert_close(student(x, t, y, stride), teacher(x, t, y))
        awake(student)
        assert_close(student(x, t, y, torch.tensor([0.5])), student(x, t, y, torch.full((2,), 0.5)))
        assert_close(student(x, t, y), student(x, t, y, torch.zeros(2)))
        assert (student(x, t, y, stride) - student(x, t, y, stride.flip(0))).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["digits_fast", "pictures_fast"])
def test_the_contact_sheet_of_a_student_takes_steps_that_it_knows(name, tmp_path):
    told, model = [], recipes.load(name)
    reporter(name, tmp_path, told.append)(Standing(10, 100, 0.1, 0.1, Progress(10, 0.1, model)))
    assert (tmp_path / f"{name}.png").is_file()
    assert "after 10 updates" in told[-1]


def test_the_shipped_student_of_digits_keeps_what_its_card_says():
    """360 digits of a noise that the card has not seen, within 4 binomial deviations; other requests are refused."""
    draw, said = recipes.load_pipeline("digits_fast"), recipes.card("digits_fast")["metrics"]
    labels = load_digits("held_out")[1]
    for n in (1, 2, 4):
        p = said["accuracy"][f"evaluations_{n}"]["share"]
        report = recipes.digit_report(draw.images(labels.tolist(), seed=50, steps=n), labels)
        assert abs(report.accuracy - p) < 4 * (p * (1 - p) / 360) ** 0.5 + 1 / 360, n
        assert report.fd < 2 * said["fd"][f"evaluations_{n}"]["mean"], n
    for steps, scale in ((3, 1.0), (2, 2.0)):
        with pytest.raises(ValueError, match="1, 2, 4 steps at scale 1, got"):
            draw([1], scale, steps=steps)


def test_the_card_of_the_student_of_digits_adds_up():
    said = recipes.card("digits_fast")["metrics"]
    assert said["n"] == said["seeds"] * 1797
    for n in digits_fast.STEPS:
        way, drop = f"evaluations_{n}", said["drop"][f"evaluations_{n}"]
        lost = said["accuracy"][f"teacher_{digits_fast.USUAL}"]["share"] - said["accuracy"][way]["share"]
        assert drop["drop"] == pytest.approx(lost, abs=2e-4)
        assert drop["interval_95"][0] <= drop["drop"] <= drop["interval_95"][1]
        assert said["fd"][way]["mean"] < said["fd"][f"teacher_{n}"]["mean"]  # what the training bought
        above = said["fd"][way]["mean"] - said["fd"][f"teacher_{digits_fast.USUAL}"]["mean"]
        assert said["fd_above_teacher"][way]["mean"] == pytest.approx(above, abs=2e-4)
        for each in (said["fd"][way], said["fd_above_teacher"][way]):
            assert each["interval_95"][0] < each["mean"] < each["interval_95"][1]
