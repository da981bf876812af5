"""What a recording keeps, and the HTML it becomes: decoded again and compared with the tensors it was made of."""

import base64
import json
import re
import warnings
import zlib
from html.parser import HTMLParser
from io import BytesIO
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from cs348k_diffusion.lab import compare, show_trajectory
from cs348k_diffusion.lab.frames import MOST_FRAMES, Curve, Recording, tiled
from cs348k_diffusion.lab.player import player, record, source
from cs348k_diffusion.sampling import State

LIMITS = (-3.0, 5.0, -2.0, 2.0)


def states(frames):
    for k, x in enumerate(frames):
        yield State(k, 1 - k / len(frames), x, x)


def cloud(count=30, points=40, seed=0):
    return list(torch.randn(count, points, 2, generator=torch.Generator().manual_seed(seed)))


def images(count=30, shape=(9, 1, 6, 4), seed=0):
    return list(torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 3 - 1.5)


class Parts(HTMLParser):
    """The tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def taken_apart(page):
    """The spec and the bytes that a player would draw."""
    call = page.html[page.html.rindex("play(document.currentScript.previousElementSibling,") :]
    spec, _ = json.JSONDecoder().raw_decode(call[call.index("{") :])
    packed = re.search(r',"([A-Za-z0-9+/=]*)"\)', call)[1]
    return spec, zlib.decompress(base64.b64decode(packed))


def points_in(data, panel, start=0):
    """(frames, n, 2) as `player.js` reads them: low bytes then high bytes, x then y, 4095 levels of the limits."""
    frames, n = len(panel["captions"]), panel["count"]
    raw = np.frombuffer(data, np.uint8, frames * 4 * n, start).reshape(frames, 2, 2, n).astype(int)
    level = raw[:, 0] + 256 * raw[:, 1]
    x0, x1, y0, y1 = panel["limits"]
    low, span = np.array([[x0], [y0]]), np.array([[x1 - x0], [y1 - y0]])
    placed = np.where(level == 65535, np.nan, low + span * level / 4095)
    return torch.from_numpy(placed).transpose(1, 2).float()


def test_points_come_back_to_within_a_hundredth_of_a_percent_of_the_picture():
    frames = cloud()
    spec, data = taken_apart(show_trajectory(states(frames), alt="a cloud", limits=(-6.0, 6.0, -6.0, 6.0)))
    torch.testing.assert_close(
        points_in(data, spec["panels"][0]), torch.stack(frames), atol=12 / 4095 / 2 + 1e-6, rtol=0
    )
    assert spec["panels"][0]["captions"][3] == "step 3, t = 0.900"


def test_images_come_back_in_eight_bits_of_a_fixed_range():
    frames = images(shape=(4, 3, 6, 5))
    spec, data = taken_apart(show_trajectory(frames, alt="pictures"))
    panel = spec["panels"][0]
    shape = (30, panel["count"], panel["height"], panel["width"], panel["channels"])
    shown = torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy()).permute(0, 1, 4, 2, 3) / 127.5 - 1
    torch.testing.assert_close(shown, torch.stack(frames).clamp(-1, 1), atol=0.5 / 127.5 + 1e-6, rtol=0)


def test_limits_hold_every_point_of_every_recording_and_are_shared():
    small, large = cloud(seed=1), [7 * x for x in cloud(count=10, seed=2)]
    spec, data = taken_apart(compare({"small": small, "large": large}, alt="two clouds"))
    first, second = spec["panels"]
    assert first["limits"] == second["limits"]
    placed = points_in(data, second, start=first["bytes"] * len(first["captions"]))
    assert not placed.isnan().any()
    torch.testing.assert_close(placed, torch.stack(large), atol=0.02, rtol=0)


def test_a_point_that_is_not_finite_or_outside_given_limits_is_left_out_and_moves_no_other():
    x = torch.tensor([[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 0.0], [4.0, 1.0], [6.0, 0.0]])
    spec, data = taken_apart(show_trajectory([x], alt="five points", limits=LIMITS))
    placed = points_in(data, spec["panels"][0])[0]
    assert placed.isnan().any(1).tolist() == [False, True, True, False, True]
    torch.testing.assert_close(placed[[0, 3]], x[[0, 3]], atol=8 / 4095, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 59, 60, 61, 119, 120, 121, 122, 1000])
def test_at_most_sixty_frames_evenly_spaced_with_the_first_and_the_last(count):
    recording = record(torch.full((1, 2), float(k)) for k in range(count))
    kept = [int(frame[0, 0]) for frame in recording.frames]
    assert len(kept) == len(recording.captions) == len(recording.marks) <= MOST_FRAMES
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert len(set(np.diff(kept[:-1]))) <= 1
    assert len(kept) == count if count <= MOST_FRAMES else len(kept) > MOST_FRAMES / 2


def test_a_frame_is_kept_as_it_was_when_it_was_shown():
    def in_place():
        x = torch.zeros(1, 2)
        for k in range(3):
            yield x.fill_(k)

    assert [frame[0, 0] for frame in record(in_place()).frames] == [0, 1, 2]


def test_a_player_of_noise_stays_under_a_megabyte_and_says_what_it_left_out():
    page = show_trajectory(images(count=60, shape=(80, 3, 14, 14)), alt="noise")
    assert len(page.html) < 1_000_000
    spec, _ = taken_apart(page)
    captions = spec["panels"][0]["captions"]
    assert len(captions) > 10
    assert captions[0].startswith("frame 0 (first ")
    assert "of 80 shown" in captions[0]
    assert captions[-1].startswith("frame 59 ")


def test_what_cannot_be_made_small_warns():
    with pytest.warns(UserWarning, match=r"MB of the notebook: show smaller images"):
        show_trajectory(images(count=2, shape=(1, 3, 500, 500)), alt="large")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show_trajectory(images(), alt="small")


def test_the_page_is_self_contained_stable_and_described():
    pages = [show_trajectory(states(cloud()), alt='the "cloud" < 1', label="A & B") for _ in range(2)]
    assert pages[0].html == pages[1].html
    assert repr(pages[0]) == "<recording: 30 frames>"
    assert pages[0]._repr_html_() is pages[0].html
    parts = Parts(pages[0].html).tags
    assert [tag for tag, _ in parts] == ["style", "div", "figure", "img", "figcaption", "script"]
    assert all("id" not in attributes for _, attributes in parts)
    assert dict(parts[3:4])["img"]["alt"] == 'the "cloud" < 1'
    assert dict(parts[3:4])["img"]["src"].startswith("data:image/png;base64,")
    for outside in ("http", "//cdn", "import(", "import ", "fetch(", "export "):
        assert outside not in pages[0].html
    assert "data-lm-suppress-shortcuts" in source()


def test_a_frame_is_called_what_it_is():
    def captions(page):
        return [panel["captions"] for panel in taken_apart(page)[0]["panels"]]

    frames = cloud(count=3)
    assert captions(show_trajectory(frames, alt="x", each="proposal")) == [["proposal 0", "proposal 1", "proposal 2"]]
    assert captions(show_trajectory(frames, alt="x")) == [["frame 0", "frame 1", "frame 2"]]
    halves = compare({"a": frames, "b": frames}, alt="x", each=lambda k: f"t = {k / 2}")
    assert captions(halves) == 2 * [["t = 0.0", "t = 0.5", "t = 1.0"]]
    assert captions(show_trajectory(states(frames), alt="x", each="proposal"))[0][0].startswith("step 0, t = ")


def test_text_cannot_end_the_script():
    page = show_trajectory([torch.zeros(1, 2)], alt="</script><img src=x>", label="</script>")
    assert page.html.count("</script>") == 1
    assert taken_apart(page)[0]["alt"] == "</script><img src=x>"


def poster(page):
    address = dict(Parts(page.html).tags)["img"]["src"]
    return Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA")


def test_the_poster_shows_moments_from_first_to_last():
    frames = [torch.full((1, 1, 8, 8), v) for v in (-1.0, 1.0)]
    strip = np.asarray(poster(show_trajectory(frames, alt="black, then white")))
    assert strip[4, 4].tolist() == [0, 0, 0, 255]
    assert strip[4, -4].tolist() == [255, 255, 255, 255]
    assert poster(show_trajectory(cloud(), alt="points")).getchannel("A").getextrema()[1] > 200


def test_background_and_classes_reach_the_page():
    density, extent = torch.tensor([[0.0, 1.0], [2.0, 4.0]]), (-1.0, 1.0, -2.0, 2.0)
    page = show_trajectory(cloud(points=3), alt="points", background=(density, extent), classes=torch.tensor([2, 0, 1]))
    panel = taken_apart(page)[0]["panels"][0]
    assert list(zlib.decompress(base64.b64decode(panel["background"]["pixels"]))) == [0, 63, 127, 255]
    assert (panel["classes"], tuple(panel["background"]["extent"])) == ([2, 0, 1], extent)
    with pytest.raises(ValueError, match="3 points, but 2 classes"):
        show_trajectory(cloud(points=3), alt="points", classes=torch.tensor([1, 1]))


class Step(NamedTuple):
    step: int
    loss: float


@pytest.mark.parametrize("count", [1, 255, 256, 257, 5000])
def test_a_loss_curve_keeps_the_mean_of_all_losses_in_few_numbers(count):
    curve = Curve()
    losses = torch.rand(count, generator=torch.Generator().manual_seed(0)).tolist()
    for k, loss in enumerate(losses):
        curve.add(k, loss)
    points, whole = curve.points(), len(curve.means) * curve.width
    assert len(points["loss"]) <= 256
    assert len(points["loss"]) >= min(count, 100)
    if whole:
        assert np.mean(points["loss"][: len(curve.means)]) == pytest.approx(np.mean(losses[:whole]), rel=1e-3)
    assert points["step"] == sorted(points["step"])


def test_training_without_pictures_shows_its_curve():
    spec, _ = taken_apart(player({"": record(Step(k, 1 / (k + 1)) for k in range(50))}, "loss falls"))
    assert spec["panels"] == []
    assert spec["curve"]["step"] == list(range(50))
    assert spec["curve"]["loss"][:3] == [1.0, 0.5, 0.3333]


@pytest.mark.parametrize(
    ("frames", "error", "says"),
    [
        (torch.zeros(4, 2), TypeError, "does not run step by step"),
        (State(0, 1.0, torch.zeros(1, 2), torch.zeros(1, 2)), TypeError, "does not run step by step"),
        ([], ValueError, "nothing to show"),
        ([torch.zeros(4, 3)], ValueError, r"this one has shape \(4, 3\)"),
        ([torch.zeros(1, 2, 8, 8)], ValueError, r"this one has shape \(1, 2, 8, 8\)"),
        ([torch.zeros(0, 2)], ValueError, r"this one has shape \(0, 2\)"),
        ([torch.zeros(4, 2), torch.zeros(5, 2)], ValueError, "all frames must have one shape"),
        ([object()], TypeError, "no frame\\(\\) to draw and no loss"),
    ],
)
def test_errors_say_what_was_expected(frames, error, says):
    with pytest.raises(error, match=says):
        show_trajectory(frames, alt="x")


def test_every_picture_needs_a_text():
    for alt in ("", "  "):
        with pytest.raises(ValueError, match="every picture needs alt"):
            show_trajectory(cloud(), alt=alt)
    with pytest.raises(TypeError, match="takes a dict of recordings"):
        compare({}, alt="nothing")
    with pytest.raises(ValueError, match="x0 < x1"):
        show_trajectory(cloud(), alt="x", limits=(1.0, -1.0, 0.0, 1.0))


def test_a_thinned_recording_keeps_both_ends():
    recording = Recording()
    for k in range(10):
        recording.add(torch.full((5, 2), float(k)), str(k), k)
    thin = recording.thinned(2, 3)
    assert thin.captions == ["0", "2", "4", "6", "8", "9"]
    assert thin.frames[0].shape == (3, 2)
    assert thin.note() == " (first 3 of 5 shown)"


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (9, 3)])
def test_up_to_three_pictures_stand_in_one_row(count, columns):
    spec, _ = taken_apart(show_trajectory(images(shape=(count, 1, 6, 4)), alt="noise"))
    assert spec["panels"][0]["columns"] == columns
    assert tiled(np.zeros((count, 6, 4, 1), np.uint8), gap=0).width == 4 * columns


def test_a_gradient_has_no_bands_in_the_poster_and_its_gaps_stay_empty():
    across, down = torch.meshgrid(torch.linspace(-1, 1, 60), torch.linspace(-1, 1, 60), indexing="xy")
    frame = torch.stack([across, down, -across])[None]
    strip = poster(show_trajectory([frame, frame], alt="a plane of colours"))
    seen = np.asarray(strip.convert("RGBA")).astype(int)
    gap = seen[..., 3] == 0
    assert gap.any() and gap.all(0).sum() * len(seen) == gap.sum()
    steps = np.abs(np.diff(seen[:, ~gap.all(0), :3][:, :60], axis=1)).max(2)
    assert np.quantile(steps, 0.99) < 26  # of 255; with 64 colours it is 38
