"""Figures in the house style: large letters, colours that colour-blind readers can tell apart, and a text for each.

`fig, ax = figure()` makes one without pyplot (whose global state is not safe in threads); `draw_*` put things on an
axis; `show_figure(fig, alt="...")` is the last line of the cell. Colours are cividis and okabe_ito throughout.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from cycler import cycler
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cs348k_diffusion.lab.frames import Limits, pixels, tiled
from cs348k_diffusion.lab.page import Html, img_tag, need_alt, png_url

HOUSE: dict[Any, Any] = {
    "axes.labelsize": 14,
    "axes.prop_cycle": cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 15,
    "figure.constrained_layout.use": True,
    "figure.dpi": 96,
    "font.size": 13,
    "image.cmap": "cividis",
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
}
STYLING = threading.RLock()


@contextmanager
def house_style() -> Iterator[None]:
    """The house style for a `with` block; nothing outside of it changes.

    One thread at a time: matplotlib's settings are global, and of two blocks that overlap the second would bring the
    first one's back after both have ended.
    """
    with STYLING, mpl.rc_context(HOUSE):
        yield


def figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **subplots: Any
) -> tuple[Figure, Any]:
    """A figure and its axes in the house style; `size` in inches, by default 5 x 3.6 for each of the axes."""
    with house_style():
        fig = Figure(figsize=size or (5 * columns, 3.6 * rows))
        return fig, fig.subplots(rows, columns, **subplots)


def show_figure(fig: Figure | Axes, *, alt: str, caption: str | None = None) -> Html:
    """A figure (or the one an axis is on) as HTML with a text; ValueError without `alt`. A pyplot figure is closed."""
    alt, whole = need_alt(alt), fig.get_figure(root=True) if isinstance(fig, Axes) else fig
    if not isinstance(whole, Figure):
        raise TypeError(f"show_figure takes a matplotlib Figure or Axes, not a {type(fig).__name__}")
    file = BytesIO()
    with house_style():
        whole.savefig(file, dpi=2 * 96, facecolor="white")
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(whole)
    image = Image.open(file).convert("RGB").quantize(256)  # flat colours: a third of the bytes
    return Html(img_tag(png_url(image), alt, round(image.width / 2), caption), "figure")


def figure_frame(fig: Figure) -> Float[Tensor, "1 3 height width"]:
    """A figure as a frame in [-1, 1] for `explore` and `watch`: a slider then moves the whole figure.

    It draws without the house style, which a figure has from its making: the next cell may be making one meanwhile.
    """
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    colours = torch.tensor(np.asarray(canvas.buffer_rgba())[..., :3]).float() / 127.5 - 1
    return colours.permute(2, 0, 1)[None]


def image_grid(
    x: Float[Tensor, "b c h w"],
    *,
    alt: str,
    columns: int | None = None,
    scale: int | None = None,
    labels: Iterable[Any] | None = None,
) -> Html:
    """Images in [-1, 1], C = 1 or 3, as a grid, each pixel `scale` pixels wide; the range is never stretched.

    `labels`: one short text for each image, written above it. Raises ValueError for another shape or without `alt`.
    """
    alt = need_alt(alt)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x):
        raise ValueError(f"image_grid takes images (B, 1 or 3, H, W) in [-1, 1]; these have shape {tuple(x.shape)}")
    columns = columns or min(len(x), 10)
    scale = scale or max(1, round(640 / (max(columns, 6) * x.shape[3])))
    if labels is None:
        picture = tiled(pixels(x), columns, scale)
        return Html(img_tag(png_url(picture), alt, picture.width), f"grid of {len(x)} images")
    return _labelled_grid(x, alt, columns, scale, [str(label) for label in labels])


def _labelled_grid(x: Tensor, alt: str, columns: int, scale: int, labels: Sequence[str]) -> Html:
    if len(labels) != len(x):
        raise ValueError(f"one label for each image: {len(x)} images, {len(labels)} labels")
    font, head, gap = ImageFont.load_default(14), 20, max(4, scale)
    tiles = [tiled(image[None], 1, scale) for image in pixels(x)]
    wide, high = tiles[0].width + gap, tiles[0].height + head + gap
    grid = Image.new("RGBA", (columns * wide - gap, -(-len(x) // columns) * high - gap), (0, 0, 0, 0))
    draw = ImageDraw.Draw(grid)
    for k, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = k % columns * wide, k // columns * high
        draw.text(
            (left + tile.width / 2, top + head - 5), label, (118, 118, 118), font, anchor="ms"
        )  # 4.5:1 on white, 4 on black
        grid.paste(tile, (left, top + head))
    return Html(img_tag(png_url(grid), alt, grid.width), f"grid of {len(x)} images")


def lattice(limits: Limits, count: int) -> Float[Tensor, "n 2"]:
    """count x count points over `limits` = (x0, x1, y0, y1); the first row lies at y0."""
    x0, x1, y0, y1 = limits
    y, x = torch.meshgrid(torch.linspace(y0, y1, count), torch.linspace(x0, x1, count), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def density_image(
    log_density: Callable[[Tensor], Tensor], limits: Limits, count: int = 120
) -> tuple[Float[Tensor, "h w"], Limits]:
    """exp(log_density), up to a factor, on a lattice: a `background` for `show_trajectory` and `watch`.

    `log_density` takes points (N, 2) and returns (N,). Its highest value becomes 1.
    """
    with torch.no_grad():
        height = log_density(lattice(limits, count)).detach().float().reshape(count, count)
    return (height - height.max()).exp(), limits


def draw_density(ax: Axes, log_density: Callable[[Tensor], Tensor], limits: Limits, count: int = 200) -> None:
    """exp(log_density) over `limits` in cividis, equal axes."""
    density, _ = density_image(log_density, limits, count)
    ax.imshow(density.numpy(), origin="lower", extent=limits, cmap="cividis", aspect="equal", interpolation="bilinear")
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")


def draw_points(
    ax: Axes,
    x: Float[Tensor, "n d"],
    *,
    classes: Int[Tensor, " n"] | None = None,
    label: str | None = None,
    **style: Any,
) -> None:
    """Points as small translucent dots; over a density in white, else in the next colour, or in one colour a class."""
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"draw_points takes points (N, 2); these have shape {tuple(x.shape)}")
    points, size = x.detach().cpu().numpy(), float(np.clip(6000 / max(len(x), 1), 3, 30))
    look: dict[str, Any] = (
        {"s": size, "alpha": 0.7, "linewidths": 0} | ({"color": "white"} if ax.images else {}) | style
    )
    ax.set_aspect("equal")
    ax.set_autoscale_on(not ax.images)  # a density has set the limits
    if classes is None:
        ax.scatter(*points.T, label=label, **look)
        return
    for k in sorted(set(classes.tolist())):
        ax.scatter(*points[classes.cpu().numpy() == k].T, label=f"{label or 'class'} {k}", **look | {"color": f"C{k}"})


def draw_score(ax: Axes, score: Callable[[Tensor], Tensor], limits: Limits, count: int = 18, **style: Any) -> None:
    """A field of arrows, (N, 2) -> (N, 2): their directions, and the square roots of their lengths so that all show."""
    x = lattice(limits, count)
    field = score(x).detach()
    length = field.norm(dim=1, keepdim=True).clamp_min(1e-12)
    arrows = (field / length.sqrt()).cpu().numpy()
    look: dict[str, Any] = {
        "color": "white" if ax.images else "C0",
        "width": 0.0035,
        "pivot": "mid",
        "alpha": 0.9,
    } | style
    ax.quiver(*x.numpy().T, *arrows.T, **look)
    ax.set_xlim(*limits[:2])
    ax.set_ylim(*limits[2:])
    ax.set_aspect("equal")


def draw_loss(ax: Axes, losses: Sequence[float] | Mapping[str, Sequence[float]]) -> None:
    """Losses against training step, thin, and their moving average, thick; a dict draws a curve for each name."""
    for name, values in (losses if isinstance(losses, Mapping) else {"": losses}).items():
        raw = np.asarray([float(v) for v in values])
        reach = len(raw) // 40
        window = np.ones(2 * reach + 1)
        smooth = np.convolve(raw, window, "same") / np.convolve(np.ones(len(raw)), window, "same")
        (line,) = ax.plot(smooth, label=name or None)
        ax.plot(raw, color=line.get_color(), alpha=0.3, linewidth=1)
    ax.set_xlabel("training step")
    ax.set_ylabel("loss")
    if isinstance(losses, Mapping):
        ax.legend(frameon=False)
