"""Pictures in motion, in a file: a GIF that rests on its end."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def save_gif(frames: Sequence[Image.Image], path: Path, each: int, last: int) -> None:
    """Write the frames as a GIF that begins again for ever; `each` and `last`: how long they stay, in milliseconds."""
    durations = [*[each] * (len(frames) - 1), last]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
