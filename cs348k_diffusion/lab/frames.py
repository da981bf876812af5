"""A frame is a Tensor, points (N, 2) or images (B, C, H, W) in [-1, 1]; here frames become bytes, few enough to store.

Images are 8 bit with the range fixed at [-1, 1], so brightness means the same in every frame. Points are 12 bit
within limits fixed over the whole recording: a cloud that shrinks is seen to shrink. A recording keeps 60 frames or
fewer: when it is full every other one goes and from then on half as many are kept, so they are evenly spaced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

MOST_FRAMES, MOST_POINTS, MOST_IMAGES = 60, 2000, 64
LEVELS, MISSING = 4095, 65535
Limits = tuple[float, float, float, float]


def frame_of(item: Any, show: Callable[[Any], Tensor] | None = None) -> Tensor | None:
    """The Tensor to draw for `item`: `show(item)`, the item itself, or `item.frame()`; None if it only has a loss."""
    if show is not None:
        return show(item)
    if isinstance(item, Tensor):
        return item
    if hasattr(item, "frame"):
        return item.frame()
    if hasattr(item, "loss"):
        return None
    raise TypeError(
        f"a {type(item).__name__} has no frame() to draw and no loss to plot: pass show=function of one such item"
        " that returns points (N, 2) or images (B, C, H, W) in [-1, 1]"
    )


def caption_of(item: Any, k: int, each: str | Callable[[int], str] = "frame") -> str:
    """`item.label()`, or what frame k of a run is: the word `each` and its number, or `each(k)`."""
    if hasattr(item, "label"):
        return str(item.label())
    return f"{each} {k}" if isinstance(each, str) else each(k)


def step_of(item: Any, k: int) -> float:
    """Where the item stands on the axis of the loss curve: its `step`, or how many came before it."""
    return float(getattr(item, "step", k))


def drawable(frame: Tensor) -> np.ndarray:
    """The part of a frame that is kept: float32 (n, 2), or uint8 (b, h, w, c); ValueError for any other shape."""
    if not isinstance(frame, Tensor):
        raise TypeError(
            f"a frame is a Tensor, points (N, 2) or images (B, C, H, W); this one is a {type(frame).__name__}"
        )
    frame = frame.detach()
    if frame.ndim == 2 and frame.shape[1] == 2 and len(frame):
        return frame[:MOST_POINTS].to("cpu", torch.float32).numpy()
    if frame.ndim == 4 and frame.shape[1] in (1, 3) and frame.numel():
        return pixels(frame[:MOST_IMAGES])
    raise ValueError(
        f"a frame is points (N, 2) or images (B, 1 or 3, H, W) in [-1, 1]; this one has shape {tuple(frame.shape)}"
    )


def pixels(images: Float[Tensor, "b c h w"]) -> np.ndarray:
    """Images in [-1, 1] as uint8 (b, h, w, c): round(127.5 (x + 1)), clipped; NaN is drawn as mid-grey."""
    bright = ((images.detach().float().nan_to_num(0.0).clamp(-1, 1) + 1) * 127.5).round()
    return bright.to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def columns_for(count: int) -> int:
    """Columns of a grid of so many pictures: up to three in one row, more in a square."""
    return count if count <= 3 else int(np.ceil(np.sqrt(count)))


def tiled(images: np.ndarray, columns: int | None = None, scale: int = 1, gap: int | None = None) -> Image.Image:
    """uint8 images (b, h, w, c) as one picture, `scale` picture pixels to each of theirs, gaps transparent.

    gap: in pixels of the images; a fourteenth of their height without it, none for a single image.
    """
    count, high, wide, _ = images.shape
    columns = columns or columns_for(count)
    if gap is None:
        gap = max(1, round(high / 14)) if count > 1 else 0
    sheet = np.zeros((-(-count // columns) * (high + gap) - gap, columns * (wide + gap) - gap, 4), np.uint8)
    for k, image in enumerate(images):
        y, x = k // columns * (high + gap), k % columns * (wide + gap)
        sheet[y : y + high, x : x + wide] = np.dstack(
            [np.broadcast_to(image, (high, wide, 3)), np.full((high, wide), 255, np.uint8)]
        )
    return Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1))


def is_points(kept: np.ndarray) -> bool:
    """Whether a kept frame is points (n, 2), not images."""
    return kept.ndim == 2


def limits_of(frames: Sequence[np.ndarray], margin: float = 0.06) -> Limits:
    """(x0, x1, y0, y1) around every finite point of every frame, with a margin; (-1, 1, -1, 1) if there is none."""
    points = np.concatenate(frames)
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return (-1.0, 1.0, -1.0, 1.0)
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    pad = margin * (float((high - low).max()) or 1.0) + 1e-5 * float(np.abs(points).max())
    x0, y0, x1, y1 = (float(f"{v:.6g}") for v in (*(low - pad), *(high + pad)))
    return (x0, x1, y0, y1)


def encode(kept: np.ndarray, limits: Limits | None) -> bytes:
    """One frame as bytes: images as they are; points in 4096 levels of `limits`, all low bytes, then all high bytes."""
    if not is_points(kept):
        return kept.tobytes()
    x0, x1, y0, y1 = limits or limits_of([kept])
    scaled = (kept.T - np.array([[x0], [y0]])) / np.array([[x1 - x0], [y1 - y0]])
    seen = (np.isfinite(scaled) & (scaled >= 0) & (scaled <= 1)).all(0)  # outside the limits: not drawn
    level = np.where(seen, np.rint(np.where(seen, scaled, 0) * LEVELS), MISSING).astype(np.uint16)
    return (level & 255).astype(np.uint8).tobytes() + (level >> 8).astype(np.uint8).tobytes()


@dataclass
class Curve:
    """A loss curve in at most 256 means of equally many steps."""

    most: int = 256
    width: int = 1
    means: list[tuple[float, float]] = field(default_factory=list)
    open: list[tuple[float, float]] = field(default_factory=list)

    def add(self, step: float, loss: float) -> None:
        self.open.append((step, loss))
        if len(self.open) == self.width:
            self.means.append(_mean(self.open))
            self.open = []
        if len(self.means) == self.most:
            self.means = [_mean(self.means[k : k + 2]) for k in range(0, self.most, 2)]
            self.width *= 2

    def points(self) -> dict[str, list[float]]:
        """{"step": [...], "loss": [...]}, finite and rounded to what a picture can show."""
        all_means = self.means + ([_mean(self.open)] if self.open else [])
        finite = [(s, v) for s, v in all_means if np.isfinite(v)]
        return {"step": [round(s, 1) for s, _ in finite], "loss": [float(f"{v:.4g}") for _, v in finite]}


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(s for s, _ in pairs) / len(pairs), sum(v for _, v in pairs) / len(pairs)


@dataclass
class Recording:
    """What is kept of a run: at most 60 frames evenly spaced and the last one, their captions, and the losses."""

    frames: list[np.ndarray] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    curve: Curve = field(default_factory=Curve)
    total: int = 0
    seen: int = 0
    stride: int = 1
    latest: tuple[Tensor, str, float] | None = None

    def add(self, frame: Tensor, caption: str, step: float) -> None:
        """Take note of the next frame, kept or not."""
        if self.latest and frame.shape != self.latest[0].shape:
            raise ValueError(
                f"all frames must have one shape: {tuple(self.latest[0].shape)} and then {tuple(frame.shape)}"
            )
        self.latest, self.total = (frame, caption, step), len(frame)
        if self.seen % self.stride == 0:
            self._keep(frame, caption, step)
        self.seen += 1

    def _keep(self, frame: Tensor, caption: str, step: float) -> None:
        if len(self.frames) == MOST_FRAMES:
            self.frames, self.captions, self.marks = self.frames[::2], self.captions[::2], self.marks[::2]
            self.stride *= 2
        self.frames.append(drawable(frame).copy())  # a copy: a sampler may go on to write into its own tensor
        self.captions.append(caption)
        self.marks.append(step)

    def close(self) -> "Recording":
        """The last frame is always kept."""
        if self.latest and (self.seen - 1) % self.stride:
            self._keep(*self.latest)
        return self

    def thinned(self, stride: int, most: int) -> "Recording":
        """Every stride-th frame and the last one, with at most `most` points or images in each."""
        chosen = sorted({*range(0, len(self.frames), stride), len(self.frames) - 1})
        return Recording(
            [self.frames[k][:most] for k in chosen],
            [self.captions[k] for k in chosen],
            [self.marks[k] for k in chosen],
            self.curve,
            self.total,
        )

    def note(self) -> str:
        """ "first 64 of 1797 shown", or nothing."""
        shown = len(self.frames[0]) if self.frames else self.total
        return f" (first {shown:,} of {self.total:,} shown)" if shown < self.total else ""
