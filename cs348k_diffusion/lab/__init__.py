"""What notebooks show: recordings that scrub without a kernel, runs watched as they go, figures with a text.

`watch(ddim(model, noise, path(50)), alt="noise becomes digits")` is the word every notebook uses. Anything with a
`frame()` can be watched: a Tensor of points (N, 2), or of images (B, C, H, W) in [-1, 1]. Everything shown carries
`alt`, the sentence a reader gets who cannot see the picture. Modules load when one of their names is used.
"""

from importlib import import_module

_HOME = {
    "compare": "player",
    "show_trajectory": "player",
    "LiveCanvas": "watching",
    "Running": "watching",
    "live": "watching",
    "watch": "watching",
    "budget": "presenting",
    "explore": "exploring",
    "density_image": "plot",
    "draw_density": "plot",
    "draw_loss": "plot",
    "draw_points": "plot",
    "draw_score": "plot",
    "figure": "plot",
    "house_style": "plot",
    "image_grid": "plot",
    "show_figure": "plot",
    "present": "presenting",
    "progress": "presenting",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"cs348k_diffusion.lab has no {name!r}; it has {', '.join(sorted(_HOME))}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_HOME])
