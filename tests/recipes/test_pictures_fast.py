"""The distilled student of prompted pictures: it begins as its teacher, hears scale and stride, and keeps its card."""

import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion import recipes
from cs348k_diffusion.data.pictures import asked, parse, pictures
from cs348k_diffusion.nets import FastTextUNet, TextUNet
from cs348k_diffusion.recipes.distilled import fewer_steps, pictures_fast
from cs348k_diffusion.recipes.pictures import TOKENIZER, satisfied
from tests.untrained import awake

SMALL = {"width": 16, "mults": (1, 2), "attention": ("", "all"), "length": TOKENIZER.length, "words_width": 16}


def test_a_student_begins_as_a_copy_of_its_teacher_and_then_hears_scale_and_stride():
    teacher, student = awake(TextUNet(40, **SMALL)), FastTextUNet(40, **SMALL)
    assert set(student.load_state_dict(teacher.state_dict(), strict=False).unexpected_keys) == set()
    x, t, tokens = torch.randn(2, 3, 8, 8), torch.tensor([0.3, 1.0]), TOKENIZER(["a red cat", "two trees"])
    told = {"scale": torch.tensor([1.0, 6.0]), "stride": torch.tensor([0.25, 1.0])}
    with torch.no_grad():
        assert_close(student(x, t, tokens, **told), teacher(x, t, tokens))
        awake(student)
        said = student(x, t, tokens, **told)
        for name in told:
            assert (student(x, t, tokens, **{**told, name: told[name].flip(0)}) - said).abs().max() > 1e-4, name
    assert_close(student.null["scale"], torch.ones(1))


def test_a_shortened_caption_says_less_and_nothing_else():
    for k, text in enumerate(pictures(40, 16, 3).captions):
        short = pictures_fast.shortened(text, k)
        whole, less = asked(parse(text)), asked(parse(short))
        gone = {group.kind for group in parse(text).groups} - {group.kind for group in parse(short).groups}
        wrong = {name for name, label in less.items() if label != whole.get(name)}
        assert wrong <= {f"{kind}_count" for kind in gone}, (text, short)
        assert len(short.split()) <= len(text.split())


def test_a_batch_is_shared_among_numbers_of_steps_and_updates_among_stages():
    for shares in fewer_steps.REHEARSAL.values():
        for batch in (64, 8):
            rows = fewer_steps.rows_of(shares, batch)
            assert sum(rows.values()) == batch
    assert fewer_steps.shared(pictures_fast.RECIPE.steps, pictures_fast.STAGES) == pictures_fast.STAGES


def test_training_goes_through_all_stages_and_counts_on(monkeypatch):
    monkeypatch.setattr(pictures_fast, "TRAIN_SIZE", 16)
    model = pictures_fast.denoiser()
    steps = [p.step for p in pictures_fast.training(model, 4, 8, torch.Generator().manual_seed(0))]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == sum(fewer_steps.shared(4, pictures_fast.STAGES).values())


def test_the_shipped_student_keeps_what_its_card_says():
    """30 prompts of a world that the card has not seen, within 4 binomial deviations; and other steps are refused."""
    draw, card = recipes.load_pipeline("pictures_fast"), recipes.card("pictures_fast")["metrics"]["satisfied"]
    prompts = pictures(30, 32, seed=8).captions
    for n in (1, 4):
        p = card[f"evaluations_{n}"]["share"]
        found = float(satisfied(prompts, draw.images(prompts, seed=1, steps=n))["all"].mean())
        assert abs(found - p) < 4 * (p * (1 - p) / 30) ** 0.5, n
    for steps, scale in ((3, 3.0), (2, 8.0)):
        with pytest.raises(ValueError, match="1, 2, 4 steps at scales 1 to 6"):
            draw(prompts[:1], scale, steps=steps)


def test_more_evaluations_keep_no_fewer_prompts_and_are_nearer_to_true_pictures():
    metrics = recipes.card("pictures_fast")["metrics"]
    shares, fds = ([each[f"evaluations_{n}"] for n in (1, 2, 4)] for each in (metrics["satisfied"], metrics["fd"]))
    assert [one["share"] for one in shares] == sorted(one["share"] for one in shares)
    assert fds == sorted(fds, reverse=True)
    taught = recipes.card("pictures")["metrics"]["adherence"]["generated"]["all"]["share"]
    assert all(one["share"] <= taught for one in shares)
    usual = metrics["by_scale"][f"{pictures_fast.SCALE:g}"]
    assert usual["evaluations_1"]["interval_95"][0] > usual["evaluations_2"]["drop"]  # one loses clearly more than two


def test_the_card_compares_student_and_teacher_at_every_scale():
    """At the usual scale with the numbers of both cards: same prompts, same noise."""
    metrics = recipes.card("pictures_fast")["metrics"]
    usual = metrics["by_scale"][f"{pictures_fast.SCALE:g}"]
    assert usual["teacher"] == recipes.card("pictures")["metrics"]["adherence"]["generated"]["all"]
    for steps in pictures_fast.STEPS:
        name = f"evaluations_{steps}"
        assert usual[name]["satisfied"] == metrics["satisfied"][name]
        for row in metrics["by_scale"].values():
            shares = row["teacher"]["share"] - row[name]["satisfied"]["share"]
            assert row[name]["drop"] == pytest.approx(shares, abs=1e-4)
            assert row[name]["interval_95"][0] <= row[name]["drop"] <= row[name]["interval_95"][1]


def test_a_student_is_compared_on_the_prompts_and_the_noise_of_its_teacher():
    prompts = pictures(6, 32, seed=8).captions
    row = pictures_fast.beside_teacher(recipes.load("pictures_fast"), prompts, 3.0)
    images = recipes.load_pipeline("pictures").images(prompts, 3.0, seed=0)
    assert row["teacher"]["share"] == pytest.approx(float(satisfied(prompts, images)["all"].mean()))
    assert row["evaluations_2"]["satisfied"]["n"] == len(prompts)
