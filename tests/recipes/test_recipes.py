"""Recipes: what ships is what its card says, trains again, and draws digits as good as stated."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from cs348k_diffusion import clip, ddim, last, path, recipes
from cs348k_diffusion.data import load_digits, two_moons
from cs348k_diffusion.data.pictures import pictures
from cs348k_diffusion.denoiser import NetDenoiser
from cs348k_diffusion.evaluate import result
from cs348k_diffusion.metrics import sliced_wasserstein
from cs348k_diffusion.nets import TextUNet
from cs348k_diffusion.recipes import cards
from cs348k_diffusion.recipes import pictures as painting
from cs348k_diffusion.recipes.classifiers.digits_classifier import random_shift
from cs348k_diffusion.recipes.pictures import TOKENIZER, autocast_bf16, batches, noisy_times, satisfied, share
from cs348k_diffusion.schedule import cosine
from cs348k_diffusion.training import denoising
from tests.untrained import awake

SHIPPED = [name for name, recipe in recipes.RECIPES.items() if recipe.shipped]


@pytest.fixture(scope="module")
def digits():
    return recipes.load("digits")


@pytest.fixture(scope="module")
def drawn(digits):
    """360 samples, as many as real digits are held out, of the same classes."""
    y = load_digits("held_out")[1]
    noise = digits.schedule.prior((len(y), 1, 8, 8), torch.Generator().manual_seed(5))
    return last(ddim(clip(digits.given(y=y), -1, 1), noise, path(16))).x, y


# --- loading --------------------------------------------------------------------------------------------------------


def test_load_gives_a_denoiser_ready_to_sample(digits):
    assert isinstance(digits, NetDenoiser)
    assert not digits.training
    assert {(p.dtype, p.device.type) for p in digits.parameters()} == {(torch.float32, "cpu")}
    assert_close(digits.null["y"], torch.tensor([10]))


def test_loading_leaves_the_readers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    recipes.load("digits_classifier")
    assert_close(torch.rand(2), expected)


def test_unknown_names_are_answered_with_the_known_ones():
    for function in (recipes.load, recipes.train, recipes.training):
        with pytest.raises(KeyError, match="digits, digits_classifier, two_moons"):
            function("mnist")
    with pytest.raises(KeyError, match="trains in seconds"):
        recipes.load("two_moons")
    with pytest.raises(KeyError, match="digits"):
        recipes.card("mnist")
    with pytest.raises(KeyError, match="'digits' and 'pictures' only"):
        recipes.features("two_moons")


def test_damaged_weights_are_refused(tmp_path):
    for suffix in ("json", "safetensors"):
        name = f"digits_classifier.{suffix}"
        (tmp_path / name).write_bytes((cards.WEIGHTS_DIR / name).read_bytes())
    model = recipes.RECIPES["digits_classifier"].build()
    cards.restore(model, "digits_classifier", tmp_path)
    raw = bytearray((tmp_path / "digits_classifier.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "digits_classifier.safetensors").write_bytes(raw)
    with pytest.raises(ValueError, match=r"damaged.*cs348k train digits_classifier"):
        cards.restore(model, "digits_classifier", tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_tells_the_whole_story(name):
    card = recipes.card(name)
    wanted = "about data command parameters batch settings torch seed steps device cpu_minutes metrics sha256"
    assert set(wanted.split()) <= set(card)
    recipe = recipes.RECIPES[name]
    assert (card["steps"], card["batch"], card["settings"]) == (recipe.steps, recipe.batch, recipe.settings)
    assert (card["about"], card["data"]) == (recipe.about, recipe.data)
    assert card["parameters"] == sum(p.numel() for p in recipe.build().parameters())
    assert ["sha256", card["sha256"]] in [line.split() for line in card.table().splitlines()]


def test_everything_that_ships_is_small_and_has_a_card():
    weights = list(cards.WEIGHTS_DIR.glob("*.safetensors"))
    assert sorted(file.stem for file in weights) == sorted(SHIPPED)
    assert sum(file.stat().st_size for file in weights) < 30e6


# --- quality of what ships ------------------------------------------------------------------------------------------


def test_the_classifier_reads_digits_that_it_has_never_seen():
    network, (x, y) = recipes.features("digits"), load_digits("held_out")
    right = int((network(x).argmax(1) == y).sum())
    assert_close(right / len(y), recipes.card("digits_classifier")["metrics"]["accuracy_held_out"], rtol=0, atol=0.003)
    assert right / len(y) >= 0.985
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_samples_are_of_the_class_asked_for(drawn):
    """The card's accuracy p: 360 samples miss it by 4 binomial deviations once in 16,000 seeds."""
    p, report = recipes.card("digits")["metrics"]["samples"]["accuracy"], recipes.digit_report(*drawn)
    assert p >= 0.98
    assert report.accuracy > p - 4 * (p * (1 - p) / 360) ** 0.5 - 1 / 360


def test_samples_are_as_far_from_the_training_digits_as_held_out_ones(drawn):
    """One group of 360 on either side; groups of samples scatter by a third of their mean (see the card)."""
    report, real = recipes.digit_report(*drawn), recipes.digit_report(*load_digits("held_out"))
    assert report.fd < 2 * real.fd
    assert report.precision > real.precision - 0.1
    assert report.recall > real.recall - 0.15
    assert report.entropy > 0.99


def test_the_model_has_not_memorised(drawn):
    report, real = recipes.digit_report(*drawn), recipes.digit_report(*load_digits("held_out"))
    assert report.nearest > 0.75 * real.nearest
    copies = load_digits("train")[0][:360]
    assert recipes.digit_report(copies, drawn[1]).nearest == 0


def test_a_report_sees_bad_digits(drawn):
    images, y = drawn
    good, real = recipes.digit_report(images, y), recipes.digit_report(*load_digits("held_out"))
    noisy = recipes.digit_report((images + 0.5 * torch.randn_like(images)).clamp(-1, 1), y)
    assert noisy.fd > 2 * max(good.fd, real.fd)
    assert noisy.precision < good.precision - 0.2
    assert recipes.digit_report(images, (y + 1) % 10).accuracy < 0.02
    one_class = recipes.digit_report(images[y == 3].repeat(20, 1, 1, 1)[:360], torch.full((360,), 3))
    assert one_class.entropy < 0.2
    with pytest.raises(ValueError, match="360"):
        recipes.digit_report(images[:100], y[:100])


def test_the_stored_short_runs_meet_the_course_s_promise():
    """After 480 and 1,000 updates, median of three seeds: the numbers the digits notebook promises."""
    runs = result("digits_budget")["runs"]
    assert sorted({run["seed"] for run in runs}) == [0, 1, 2]

    def median(steps, number):
        return sorted(number(run["metrics"]) for run in runs if run["steps"] == steps)[1]

    assert median(480, lambda m: m["samples"]["accuracy"]) >= 0.97
    assert median(480, lambda m: m["fd_ratio"]) <= 2.5
    assert median(1000, lambda m: m["fd_ratio"]) <= 1.3
    assert median(1000, lambda m: m["samples"]["nearest"]) > 0.75 * runs[0]["metrics"]["held_out_real"]["nearest"]


def test_nudged_images_are_shifted_copies():
    x = load_digits()[0][:200]
    moved = random_shift(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1.0)
    shifts = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    which = (shifts - moved).abs().sum((2, 3, 4))
    assert_close(which.min(0).values, torch.zeros(200))
    assert which.argmin(0).unique().numel() == 9


# --- training again -------------------------------------------------------------------------------------------------


def test_points_train_in_seconds_to_the_density():
    """Two real draws of 2,000 are 0.03 apart; untrained, the model is 0.5 away."""
    model = recipes.train("two_moons", steps=400)
    noise = model.schedule.prior((2000, 2), torch.Generator().manual_seed(1))
    samples = last(ddim(model, noise, path(30))).x
    real = two_moons(2000, torch.Generator().manual_seed(2))
    assert sliced_wasserstein(samples, real, generator=torch.Generator().manual_seed(3)) < 0.1


def test_training_writes_weights_and_card_and_repeats_itself(tmp_path):
    model = recipes.train("two_moons", tmp_path, seed=7, steps=20)
    card = recipes.card("two_moons", tmp_path)
    assert (card["seed"], card["steps"], card["device"]) == (7, 20, "cpu")
    assert set(card["metrics"]) == {"sliced_wasserstein", "two_real_draws"}
    again = cards.restore(recipes.RECIPES["two_moons"].build(), "two_moons", tmp_path)
    repeated = last(recipes.training("two_moons", seed=7, steps=20)).model
    for one, two, three in zip(model.parameters(), again.parameters(), repeated.parameters(), strict=True):
        assert_close(one, three, rtol=0, atol=0)
        assert_close(two, one.half().float(), rtol=0, atol=0)


def test_a_card_is_written_into_a_folder_that_is_not_there_yet(tmp_path):
    cards.write_card({"name": "costs", "n": 1}, tmp_path / "a" / "b")
    assert recipes.card("costs", tmp_path / "a" / "b") == {"name": "costs", "n": 1}


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    model = torch.nn.Linear(2, 2)
    model.weight.data.fill_(1e6)
    with pytest.raises(ValueError, match="float16"):
        cards.save(model, {"name": "huge"}, tmp_path)
    assert list(tmp_path.iterdir()) == []


TEAMWORK = """
import json, sys
from cs348k_diffusion import recipes
model = recipes.train("two_moons", seed=1, steps=5)
json.dump([float(parameter.double().sum()) for parameter in model.parameters()], sys.stdout)
"""


def test_two_processes_train_one_model():
    """What torchrun does, without its launcher: two processes that find each other by four environment variables."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    there = os.pathsep.join([str(Path(recipes.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    shared = {**os.environ, "PYTHONPATH": there, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    team = [
        subprocess.Popen(
            [sys.executable, "-c", TEAMWORK], env={**shared, "RANK": rank}, stdout=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    first, second = (json.loads(member.communicate(timeout=300)[0]) for member in team)
    assert first == second
    alone = [float(p.double().sum()) for p in recipes.train("two_moons", seed=1, steps=5).parameters()]
    assert first != alone


@pytest.mark.parametrize("default", [torch.float64, torch.float16])
def test_weights_are_float32_whatever_the_default_is(default):
    torch.set_default_dtype(default)
    try:
        model = recipes.load("digits")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    x, t = torch.zeros(1, 1, 8, 8), torch.full((1,), 0.5)
    assert_close(model.given()(x, t), recipes.load("digits").given()(x, t), rtol=0, atol=0)


# --- pictures from prompts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def painter():
    return recipes.load_pipeline("pictures")


def test_a_painting_repeats_itself_and_hears_its_prompt_and_seed(painter):
    prompts = ["a red house by day", "two green trees at night"]
    one = painter.images(prompts, seed=3, steps=3)
    assert one.shape == (2, 3, 32, 32)
    assert one.abs().max() <= 1.0001
    assert_close(painter.images(prompts, seed=3, steps=3), one)
    assert (painter.images(prompts, seed=4, steps=3) - one).abs().max() > 0.1
    assert (painter.images(prompts[::-1], seed=3, steps=3) - one).abs().max() > 0.1


def test_scale_0_ignores_the_prompt_and_scale_1_is_the_plain_conditional(painter):
    prompts = ["three white cats at night"]
    ignored = [painter.images([p], scale=0.0, steps=3) for p in (prompts[0], "a red tree by day")]
    assert_close(*ignored)
    noise = painter.model.schedule.prior((1, 3, 32, 32), torch.Generator().manual_seed(0))
    plain = last(ddim(clip(painter.model.given(caption=TOKENIZER(prompts))), noise, path(3))).x
    assert_close(painter.images(prompts, scale=1.0, steps=3), plain, rtol=1e-4, atol=1e-4)


def test_prompted_pictures_keep_what_the_card_says(painter):
    """40 prompts of a world that the card has not seen: each share within 4 binomial deviations of the card's."""
    metrics = recipes.card("pictures")["metrics"]
    prompts = pictures(40, 32, seed=8).captions
    found = satisfied(prompts, painter.images(prompts, metrics["scale"], seed=1))
    for part in ("sky", "object", "colour", "all"):
        p, n = metrics["adherence"]["generated"][part]["share"], int((~found[part].isnan()).sum())
        slack = 4 * (max(p * (1 - p), 0.02) / n) ** 0.5 + 1 / n
        assert abs(float(found[part].nanmean()) - p) < slack, part


def test_the_card_of_pictures_adds_up():
    metrics = recipes.card("pictures")["metrics"]
    by_scale = metrics["satisfied_by_scale"]
    assert by_scale[f"{metrics['scale']:g}"] == max(by_scale.values())
    for who, parts in metrics["adherence"].items():
        for part, said in parts.items():
            low, high = said["interval_95"]
            assert 0 <= low <= said["share"] <= high <= 1, (who, part)
    shares = {who: {part: said["share"] for part, said in parts.items()} for who, parts in metrics["adherence"].items()}
    for part in ("object", "colour", "count", "relation", "sky", "all"):
        assert metrics["adherence"]["generated"][part]["interval_95"][0] > shares["chance"][part], part
        assert shares["true_pictures"][part] >= shares["generated"][part] - 0.02, part
    for part, drop in metrics["drop_on_held_out_pairs"].items():
        assert drop["drop"] == pytest.approx(shares["generated"][part] - shares["held_out_pairs"][part], abs=2e-4)
        assert drop["interval_95"][0] <= drop["drop"] <= drop["interval_95"][1]
    assert metrics["fd"]["generated"] > metrics["fd"]["floor"] > 0


def test_times_of_training_lean_to_noise():
    times = noisy_times(1000, torch.Generator().manual_seed(0))
    assert 0 < times.min() <= times.max() <= 1
    assert scipy.stats.kstest(times.numpy(), lambda t: t**1.5).statistic < 2e-3


def test_the_pictures_hear_their_own_captions_first_and_every_wording_at_the_end(monkeypatch):
    heard = []

    def batches_of(n, batch, generator, device, wordings):
        heard.append((n, wordings))
        return batches(n, batch, generator, device, wordings)

    monkeypatch.setattr(painting, "batches", batches_of)
    run = painting.training(painting.denoiser(), 9, 1, torch.Generator().manual_seed(0))
    assert [progress.step for progress in run] == [*range(1, 10)]
    assert heard == [(9, 1), (9, 3)]
    for wordings in (1, 3):
        stock = batches(6, 6, torch.Generator().manual_seed(0), torch.device("cpu"), wordings)
        tokens = torch.cat([next(stock)[1]["caption"] for _ in range(20)])
        assert 6 * wordings - 3 < len(tokens.unique(dim=0)) <= 6 * wordings  # two wordings may be the same words


@pytest.mark.parametrize("has", [True, False])
def test_products_in_bfloat16_change_the_loss_little_and_the_weights_type_not_at_all(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    torch.manual_seed(0)
    net = awake(TextUNet(40, width=16, mults=(1, 2), attention=("", "all"), length=TOKENIZER.length, words_width=16))
    model, whole = NetDenoiser(net, cosine()), denoising(dropout=0.1)
    batch = next(batches(8, 8, torch.Generator().manual_seed(0), torch.device("cpu")))
    said = [
        loss(model, batch, torch.Generator().manual_seed(1))
        for loss in (whole, autocast_bf16(whole, torch.device("cpu")))
    ]
    assert_close(said[1], said[0], rtol=2e-2 if has else 0, atol=0)
    assert bool(said[0] != said[1]) == has
    said[1].backward()
    assert {parameter.grad.dtype for parameter in net.parameters() if parameter.grad is not None} == {torch.float32}


def test_the_shipped_pictures_do_what_they_are_asked():
    """The promise of the recipe, from its card: lower ends of the 95 % intervals over 500 prompts."""
    kept_by = recipes.card("pictures")["metrics"]["adherence"]["generated"]
    promised = {"object": 0.95, "colour": 0.9, "count": 0.8, "relation": 0.85, "sky": 0.95}
    assert {part: kept_by[part]["interval_95"][0] >= least for part, least in promised.items()} == dict.fromkeys(
        promised, True
    )


def test_the_shipped_pictures_hear_prompts_of_two_words():
    """Short prompts, each drawn 32 times: the whole caption's colours are in none of them."""
    for name in ("pictures", "pictures_64"):
        for prompt, said in recipes.card(name)["metrics"]["short_prompts"].items():
            assert said["share"] > 0.8, (name, prompt)


def test_the_stored_ways_of_hearing_say_what_the_notebook_says():
    """A reading that never errs, as many seeds in each arm, intervals as scipy has them, and the order of the arms."""
    card = result("text_conditioning")
    assert set(card["marks"]["true_pictures"].values()) == {1.0}
    for steps, runs in card["runs"].items():
        assert {tuple(run["seed"] for run in arm) for arm in runs.values()} == {tuple(range(len(runs["none"])))}
        for name, parts in card["differences"][steps].items():
            arm, other = (runs[arm] for arm in name.split(" - "))
            for part, said in parts.items():
                gaps = [a[part] - b[part] for a, b in zip(arm, other, strict=True)]
                expected = scipy.stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
                assert said["interval_95"] == pytest.approx(expected, abs=5e-4), (steps, name, part)
                assert said["interval_95"][0] > 0 or name == "cross - pooled", "the mean beats nothing"
        every, mean = runs["cross"], runs["pooled"]
        assert all(a[part] > b[part] for part in ("count", "relation") for a, b in zip(every, mean, strict=True))
        assert len(every) == 6
    above = {
        (steps, part)
        for steps, gaps in card["differences"].items()
        for part, said in gaps["cross - pooled"].items()
        if said["interval_95"][0] > 0
    }
    assert above == {(steps, part) for steps in ("600", "1000") for part in ("colour", "count", "relation", "all")}
    early, late = ([run["relation"] for run in card["runs"][steps]["pooled"]] for steps in ("600", "1000"))
    assert max(abs(share - card["marks"]["same_words"]["relation"]) for share in early) < 0.1
    assert sum(share > 0.95 for share in late) == 1


def test_the_stored_scales_say_what_the_notebook_says():
    """Of the weights that ship; prompts kept and FD get better from 1 to 2 and worse from 2 to 8, beyond their bars."""
    card = result("guidance_pictures")
    assert card["weights"] == recipes.card("pictures")["sha256"]
    runs = {run["scale"]: run for run in card["runs"]}
    (kept_1, kept_2, kept_8), (fd_1, fd_2, fd_8) = (
        [runs[scale][part]["interval_95"] for scale in (1.0, 2.0, 8.0)] for part in ("satisfied", "fd")
    )
    assert kept_1[1] < kept_2[0] > kept_8[1]
    assert fd_1[0] > fd_2[1] < fd_8[0]
    assert min(runs, key=lambda scale: runs[scale]["fd"]["value"]) == 2.0
    assert {run["satisfied"]["n"] for run in card["runs"]} == {500}
    bars = [run["diversity"]["interval_95"] for scale, run in runs.items() if scale > 0]
    assert max(low for low, _ in bars) < min(high for _, high in bars), "not resolved without pairs"
    change = card["diversity_minus_scale_1"]
    assert set(change) == {f"{scale:g}" for scale in runs if scale != 1}
    for scale, found in change.items():
        gain = runs[float(scale)]["diversity"]["value"] - runs[1.0]["diversity"]["value"]
        assert found["value"] == pytest.approx(gain, abs=2e-4), "paired: the same mean, a narrower interval"
    assert change["3"]["interval_95"][1] < 0


def test_shares_count_what_was_asked():
    assert share(torch.tensor([1.0, 0.0, float("nan"), 1.0]))["share"] == pytest.approx(2 / 3)
    assert share(torch.tensor([float("nan")]))["n"] == 0
