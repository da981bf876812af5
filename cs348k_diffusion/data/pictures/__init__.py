"""The drawn, captioned world: pictures of trees, cats and houses from a seed, with their true attributes."""

from cs348k_diffusion.data.pictures.captions import LONGEST, WORDS, caption, parse
from cs348k_diffusion.data.pictures.drawing import Pictures, draw_scenes, pictures
from cs348k_diffusion.data.pictures.export import write_folder
from cs348k_diffusion.data.pictures.world import (
    ATTRIBUTES,
    COLOURS,
    HELD_OUT,
    KINDS,
    Group,
    Scene,
    asked,
    complete,
    labels,
    scene,
)

__all__ = [
    "ATTRIBUTES",
    "COLOURS",
    "HELD_OUT",
    "KINDS",
    "LONGEST",
    "WORDS",
    "Group",
    "Pictures",
    "Scene",
    "asked",
    "caption",
    "complete",
    "draw_scenes",
    "labels",
    "parse",
    "pictures",
    "scene",
    "write_folder",
]
