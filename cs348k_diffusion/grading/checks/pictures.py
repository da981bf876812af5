"""Yours beside the target, drawn without a plotting library: pixels as PNG (Pillow), points and curves as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

SIZE = 160  # CSS pixels of each picture
HEAVY = 100_000  # characters of HTML, and values of a tensor, beyond which a feedback page does without


def beside(got: Any, want: Any, caption: str = "") -> str:
    """HTML of two pictures side by side, "yours" and "target", with a caption.

    Tensors: images (C, H, W) or (H, W) in [-1, 1], points (N, 2), curves (N,). Anything else is left out.
    """
    pair = (("yours", got), ("target", want))
    figures = [(name, draw(value, want, name)) for name, value in pair]
    cells = "".join(
        f'<figure style="display:inline-block;margin:4px">{svg}<figcaption>{name}</figcaption></figure>'
        for name, svg in figures
        if svg
    )
    return f"<div>{escape(caption)}<br>{cells}</div>" if cells else ""


def small(drawn: Sequence[tuple[Any, Any, str]]) -> str:
    """The last of these pictures as `beside` draws it; "" where it cannot be drawn or is heavy: a student made it."""
    if not drawn or any(isinstance(value, Tensor) and value.numel() > HEAVY for value in drawn[-1]):
        return ""
    try:
        html = beside(*drawn[-1])
    except (RuntimeError, ValueError, IndexError, TypeError):
        return ""
    return html if len(html) <= HEAVY else ""


def draw(value: Any, frame: Any, alt: str) -> str:
    """One picture, with the axes that `frame` needs; "" when there is nothing to draw."""
    if not isinstance(value, Tensor) or not isinstance(frame, Tensor) or not value.numel():
        return ""
    value, frame = value.detach().float().cpu(), frame.detach().float().cpu()
    if value.ndim == 2 and value.shape[1] == 2:
        return _points(value[:1000], frame, alt)
    if value.ndim == 1:
        return _curve(value[:1000], frame, alt)
    return _image(value, alt) if value.ndim in (2, 3) and value.shape[0] in (1, 3, value.shape[-2]) else ""


def _image(value: Tensor, alt: str) -> str:
    pixels = ((value.nan_to_num().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    pixels = pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous()
    data = base64.b64encode(png(pixels)).decode()
    style = f"width:{SIZE}px;image-rendering:pixelated"
    return f'<img alt="{escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'


def png(pixels: Tensor) -> bytes:
    """A PNG file of (H, W, 3) bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG")
    return file.getvalue()


def _points(value: Tensor, frame: Tensor, alt: str) -> str:
    low, high = frame.min(0).values, frame.max(0).values
    at = _scaled(value, low, high)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{SIZE - y:.1f}" r="1.5"/>' for x, y in at.tolist())
    return _svg(f'<g fill="currentColor" fill-opacity=".5">{dots}</g>', alt)


def _curve(value: Tensor, frame: Tensor, alt: str) -> str:
    heights = _scaled(value, frame.min(), frame.max())
    across = torch.linspace(0, SIZE, len(value))
    line = " ".join(f"{x:.1f},{SIZE - y:.1f}" for x, y in zip(across.tolist(), heights.tolist()))
    return _svg(f'<polyline fill="none" stroke="currentColor" points="{line}"/>', alt)


def _scaled(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """To [5 %, 95 %] of the picture where the frame's values go; what lies outside is clipped at the edge."""
    unit = (value - low) / (high - low).clamp_min(1e-6)
    return (unit.nan_to_num(0.5).clamp(-0.05, 1.05) * 0.9 + 0.05) * SIZE


def _svg(body: str, alt: str) -> str:
    box = f'viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}"'
    return f'<svg role="img" aria-label="{escape(alt)}" {box} style="border:1px solid currentColor">{body}</svg>'
