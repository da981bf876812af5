"""Figures, grids and presenting: the pixels that are shown, the text that goes with them, and what must not change."""

import base64
import json
import re
import sys
import threading
import time
from importlib.resources import files
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image

from cs348k_diffusion import lab
from cs348k_diffusion.lab import (
    density_image,
    draw_density,
    draw_loss,
    draw_points,
    draw_score,
    figure,
    house_style,
    image_grid,
    present,
    progress,
    show_figure,
    show_trajectory,
)
from cs348k_diffusion.lab.plot import HOUSE

LIMITS = (-2.0, 4.0, -1.0, 3.0)


def log_normal(x):
    return -((x - torch.tensor([1.0, 2.0])) ** 2).sum(1) / 2


def picture(page):
    address = re.search(r'src="data:image/png;base64,([^"]+)"', page.html)[1]
    return np.asarray(Image.open(BytesIO(base64.b64decode(address))).convert("RGBA"))


def test_a_figure_becomes_html_with_its_text_and_is_closed():
    fig, ax = pyplot.subplots()
    ax.plot([0, 1])
    page = show_figure(ax, alt="a line", caption="It rises & ends.")
    assert 'alt="a line"' in page.html
    assert "<figcaption>It rises &amp; ends.</figcaption>" in page.html
    assert not pyplot.fignum_exists(fig.number)
    assert repr(page) == "<figure>"
    pages = []
    for _ in range(2):
        fig, ax = figure(size=(3, 2))
        ax.plot([0, 1])
        pages.append(show_figure(fig, alt="a line"))
    assert pages[0].html == pages[1].html
    assert 'width="288"' in pages[0].html
    assert picture(pages[0]).shape == (384, 576, 4)  # twice as fine as the page


def test_a_figure_needs_a_text():
    with pytest.raises(ValueError, match="every picture needs alt"):
        show_figure(figure()[0], alt="")
    with pytest.raises(TypeError, match="takes a matplotlib Figure"):
        lab.show_figure.__wrapped__("no", alt="x") if hasattr(lab.show_figure, "__wrapped__") else show_figure(
            "no", alt="x"
        )


def test_two_threads_leave_no_style_behind():
    """`explore` draws in a thread of its own while the next cell makes its figure."""
    before, inside, enter = dict(mpl.rcParams), threading.Event(), threading.Event()

    def draw():
        enter.wait()
        inside.set()
        with house_style():
            time.sleep(0.05)

    thread = threading.Thread(target=draw)
    thread.start()
    with house_style():
        enter.set()
        inside.wait()
        time.sleep(0.02)  # without a lock the thread is in its block by now, and ends it after this one
    thread.join()
    assert dict(mpl.rcParams) == before


def test_the_house_style_is_for_the_figure_alone():
    before = dict(mpl.rcParams)
    _, ax = figure(1, 2)
    assert ax[0].xaxis.label.get_size() == 14
    ax[0].plot([0, 1])
    assert ax[0].lines[0].get_color() == "#0072B2"
    with house_style():
        assert mpl.rcParams["image.cmap"] == "cividis"
    assert dict(mpl.rcParams) == before


def test_a_grid_shows_each_pixel_as_a_square_of_its_value():
    x = torch.tensor([-1.0, -0.5, 0.0, 1.0]).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    shown = picture(image_grid(x, alt="four greys", columns=2, scale=3))
    assert shown.shape == (51, 51, 4)  # two of 24 and a gap of 3
    for k, value in enumerate((0, 64, 128, 255)):
        top, left = 27 * (k // 2), 27 * (k % 2)
        assert np.unique(shown[top : top + 24, left : left + 24, :3]).tolist() == [value]
    assert shown[:, 24:27, 3].max() == 0  # the gap takes the colour of the page


def test_a_grid_of_colours_and_labels():
    x = torch.zeros(3, 3, 4, 4)
    x[:, 0] = 1.0
    plain = image_grid(x, alt="orange", scale=2)
    assert picture(plain)[0, 0].tolist() == [255, 128, 128, 255]
    labelled = picture(image_grid(x, alt="orange", scale=8, labels=["a", 2, "c"]))
    assert (labelled[..., 3] > 0)[:20].any()
    assert labelled[25, 5].tolist() == [255, 128, 128, 255]
    with pytest.raises(ValueError, match="3 images, 1 labels"):
        image_grid(x, alt="orange", labels=["a"])
    with pytest.raises(ValueError, match=r"have shape \(3, 2, 4, 4\)"):
        image_grid(torch.zeros(3, 2, 4, 4), alt="two channels")
    with pytest.raises(ValueError, match="every picture needs alt"):
        image_grid(x, alt=" ")


def test_a_density_is_where_it_should_be_and_serves_as_background():
    density, extent = density_image(log_normal, LIMITS, count=61)
    row, column = divmod(int(density.argmax()), 61)
    assert (column / 60 * 6 - 2, row / 60 * 4 - 1) == pytest.approx((1.0, 2.0))
    assert density.max() == 1
    torch.testing.assert_close(density[45, 40], torch.tensor(0.5).exp() ** -1, atol=1e-4, rtol=0)
    assert extent == LIMITS
    assert "recording" in repr(show_trajectory([torch.zeros(1, 2)], alt="x", background=(density, extent)))


def test_what_is_drawn_on_an_axis_is_what_was_given():
    _, ax = figure()
    draw_density(ax, log_normal, LIMITS)
    draw_points(ax, torch.tensor([[9.0, 9.0], [0.0, 1.0]]), label="samples")
    assert (*ax.get_xlim(), *ax.get_ylim()) == LIMITS  # a density has set the limits
    assert ax.collections[0].get_offsets().tolist() == [[9, 9], [0, 1]]
    _, ax = figure()
    draw_points(ax, torch.randn(10, 2), classes=torch.tensor([0, 1] * 5))
    assert [len(c.get_offsets()) for c in ax.collections] == [5, 5]
    with pytest.raises(ValueError, match=r"have shape \(4, 3\)"):
        draw_points(ax, torch.zeros(4, 3))


def test_a_score_field_points_uphill():
    _, ax = figure()
    draw_score(ax, lambda x: torch.tensor([1.0, 2.0]) - x, LIMITS, count=7)
    arrows = ax.collections[0]
    start, along = np.asarray(arrows.get_offsets()), np.stack([arrows.U, arrows.V], 1)
    uphill = np.array([1.0, 2.0]) - start
    length = np.linalg.norm(uphill, axis=1)
    far = length > 1e-3
    np.testing.assert_allclose(along[far], (uphill / np.sqrt(length)[:, None])[far], rtol=1e-4)


def test_a_loss_curve_and_its_moving_average():
    _, ax = figure()
    draw_loss(ax, {"a": [2.0] * 100, "b": range(100)})
    smooth = [line.get_ydata() for line in ax.lines[::2]]
    np.testing.assert_allclose(smooth[0], 2.0)  # also at the ends
    np.testing.assert_allclose(smooth[1][5:-5], np.arange(5, 95))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "loss")


def test_presenting_leaves_nothing_in_a_file():
    assert present(2).html == present(1, False).html == ""
    assert repr(present(2)) == "<presenting at 2x>"
    with pytest.raises(ValueError, match="zoom=9"):
        present(9)


def test_progress_hands_everything_on_and_is_silent_where_nobody_looks(monkeypatch, capsys):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("CS348K_STRICT", raising=False)
    assert list(progress(range(3), "counting")) == [0, 1, 2]
    assert "counting" in capsys.readouterr().err
    for variable, value in (("CI", "true"), ("CS348K_STRICT", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert list(progress(iter("ab"))) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


def test_names_load_when_used_and_unknown_ones_are_told():
    assert set(lab._HOME) <= set(dir(lab))
    with pytest.raises(AttributeError, match="no 'show_movie'; it has"):
        _ = lab.show_movie
    for name, home in lab._HOME.items():
        assert getattr(lab, name).__module__ == f"cs348k_diffusion.lab.{home}"
        assert f"cs348k_diffusion.lab.{home}" in sys.modules


def test_figures_and_players_have_the_same_colours():
    """The last of a figure is black and the last two of a player are its own; grounds differ, light here and dark."""
    source = (files("cs348k_diffusion.lab") / "player.js").read_text(encoding="utf-8")
    (light,) = re.findall(r"const LIGHT = (\[.*\]);", source)
    figures = [each["color"] for each in HOUSE["axes.prop_cycle"]]
    assert json.loads(light)[:6] == figures[:6]
