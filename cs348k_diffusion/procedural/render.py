"""A soft, differentiable rasteriser: from shapes to a picture, and from the picture back to the shapes.

A pixel asks every shape "how far am I from your edge?" (signed distance d, negative inside) and turns the answer into
coverage a = sigmoid(-d / softness). Shapes are laid over each other like paint, the later over the earlier. Every step
has a derivative, so a loss on pixels can move a shape's edge. A hard edge (a = 1 inside, 0 outside) draws the same
picture and has the derivative 0 everywhere: autodiff answers, and the answer is wrong.

World coordinates: x to the right and y up, both in [-1, 1] from edge to edge; colours are in [-1, 1] too.
Shapes of many pictures are drawn at once: `stack` pads the shorter lists and a mask says what is real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs348k_diffusion.procedural.pack import Forest, skeleton

WIDTH = 12  # numbers per shape: the longest shape is a polygon with six corners
FAR = 1e3  # the distance of a shape that is not there
OPAQUE = 1 - 1e-6  # log(1 - a) must stay finite
TINY = 1e-12


class Part(NamedTuple):
    """One shape of one picture: what it is, its numbers, its colour and how opaque it is."""

    kind: str
    numbers: tuple[float, ...]
    colour: tuple[float, float, float]
    opacity: float = 1.0


class Parts(NamedTuple):
    """The shapes of many pictures as tensors, back to front; where `mask` is False there is no shape."""

    kind: Int[Tensor, "batch parts"]
    numbers: Float[Tensor, "batch parts width"]
    colour: Float[Tensor, "batch parts 3"]
    opacity: Float[Tensor, "batch parts"]
    mask: Bool[Tensor, "batch parts"]


class Picture(NamedTuple):
    """What `draw` returns: the picture in [-1, 1] and the share of each pixel that the shapes cover, in [0, 1]."""

    image: Float[Tensor, "batch 3 height width"]
    alpha: Float[Tensor, "batch height width"]


# ---- shapes ----------------------------------------------------------------------------------------------------------


def rgb(code: str) -> tuple[float, float, float]:
    """The colour "#rrggbb" with its three channels in [-1, 1]; raises ValueError for anything else."""
    digits = code.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f'a colour is written "#rrggbb" with hexadecimal digits, got {code!r}') from None
    return red / 127.5 - 1, green / 127.5 - 1, blue / 127.5 - 1


Point = Sequence[float]


def _three(colour: Point) -> tuple[float, float, float]:
    red, green, blue = colour
    return red, green, blue


def capsule(start: Point, end: Point, start_radius: float, end_radius: float, colour: Point, opacity: float = 1.0):
    """A tapered branch: the hull, nearly, of a disc at `start` and a disc at `end`."""
    return Part("capsule", (*start, *end, start_radius, end_radius), _three(colour), opacity)


def disc(centre: Point, radius: float, colour: Point, opacity: float = 1.0) -> Part:
    """A disc: a capsule whose two ends are one."""
    return Part("capsule", (*centre, *centre, radius, radius), _three(colour), opacity)


def ellipse(centre: Point, radii: Point, angle: float, colour: Point, opacity: float = 1.0) -> Part:
    """An ellipse with half-axes `radii`, its first axis turned counter-clockwise by `angle` radians."""
    return Part("ellipse", (*centre, *radii, angle), _three(colour), opacity)


def polygon(corners: Sequence[Point], colour: Point, opacity: float = 1.0) -> Part:
    """A convex polygon with three to six corners, in either direction of travel.

    Raises ValueError for other numbers of corners and for corners that are not convex.
    """
    if not 3 <= len(corners) <= WIDTH // 2:
        raise ValueError(f"a polygon has three to {WIDTH // 2} corners, got {len(corners)}: cut it into convex pieces")
    a, b, c = torch.tensor([[*corners[i:], *corners[:i]] for i in range(3)], dtype=torch.float64)
    turns = ((b - a)[:, 0] * (c - b)[:, 1] - (b - a)[:, 1] * (c - b)[:, 0]).tolist()
    if min(turns) < 0 < max(turns):
        raise ValueError(f"the corners {list(corners)} are not convex: cut the shape into convex polygons")
    forward = corners if sum(turns) > 0 else corners[::-1]
    padded = [*forward, *[forward[-1]] * (WIDTH // 2 - len(forward))]
    return Part("polygon", tuple(value for corner in padded for value in corner), _three(colour), opacity)


def crescent(centre: Point, radius: float, bite: Point, bite_radius: float, colour: Point, opacity: float = 1.0):
    """A disc from which another disc, centred at `bite`, has been taken away: a moon."""
    return Part("crescent", (*centre, radius, *bite, bite_radius), _three(colour), opacity)


def stack(pictures: Sequence[Sequence[Part]], dtype: torch.dtype = torch.float32) -> Parts:
    """Lists of shapes, one list per picture, as one padded batch."""
    longest = max([1, *map(len, pictures)])
    nothing = Part(KINDS[0], (0.0,) * WIDTH, (0.0, 0.0, 0.0), 0.0)
    rows = [[*shapes, *[nothing] * (longest - len(shapes))] for shapes in pictures]
    size = (len(rows), longest)

    def table(numbers: Callable[[Part], Sequence[float]]) -> Tensor:
        return torch.tensor([v for row in rows for part in row for v in numbers(part)], dtype=dtype).view(*size, -1)

    return Parts(
        kind=torch.tensor([KINDS.index(part.kind) for row in rows for part in row]).view(size),
        numbers=table(lambda part: part.numbers + (0.0,) * (WIDTH - len(part.numbers))),
        colour=table(lambda part: part.colour),
        opacity=table(lambda part: (part.opacity,)).squeeze(-1),
        mask=torch.arange(longest) < torch.tensor([[len(shapes)] for shapes in pictures]),
    )


# ---- signed distances ------------------------------------------------------------------------------------------------


Numbers = Float[Tensor, "*shape numbers"]
Pixels = Float[Tensor, "2 pixels"]
Distances = Float[Tensor, "*shape pixels"]


def pixel_centres(size: int | tuple[int, int], like: Tensor) -> Pixels:
    """World coordinates of the centres of the pixels, row by row from the top left; size is (height, width)."""
    height, width = (size, size) if isinstance(size, int) else size
    x = (2 * torch.arange(width, dtype=like.dtype, device=like.device) + 1) / width - 1
    y = 1 - (2 * torch.arange(height, dtype=like.dtype, device=like.device) + 1) / height
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).flatten(1)


def capsule_distance(numbers: Numbers, at: Pixels) -> Distances:
    """Distance to a segment from (x0, y0) to (x1, y1), less a radius that runs from r0 to r1 along it.

    In the segment's frame (u along it from its start, w across it) and with c = clamp(u, 0, length):
    d = |(u - c, w)| - (r0 + c / length (r1 - r0)). A disc is a segment without length.
    """
    x0, y0, x1, y1, r0, r1 = numbers[..., :6].unbind(-1)
    length = _norm(x1 - x0, y1 - y0)
    point = length < 1e-5
    cos, sin = torch.where(point, 1.0, (x1 - x0) / length), torch.where(point, 0.0, (y1 - y0) / length)
    frame = torch.stack([cos, sin, -cos * x0 - sin * y0, -sin, cos, sin * x0 - cos * y0], -1).unflatten(-1, (2, 3))
    u, w = (frame @ torch.cat([at, torch.ones_like(at[:1])])).unbind(-2)
    end = torch.where(point, 0.0, length)[..., None]
    c = u.clamp(torch.zeros_like(end), end)
    return _norm(u - c, w) - torch.addcmul(r0[..., None], c, ((r1 - r0) / length)[..., None])


def ellipse_distance(numbers: Numbers, at: Pixels) -> Distances:
    """Distance to an ellipse (cx, cy, rx, ry, angle), right to first order at the edge.

    d = k (k - 1) / |grad|,  k = |(x / rx, y / ry)|,  |grad| = |(x / rx^2, y / ry^2)|.  Source: I. Quilez, sdEllipsoid.
    """
    cx, cy, rx, ry, angle = numbers[..., :5, None].unbind(-2)
    cos, sin, px, py = angle.cos(), angle.sin(), at[0] - cx, at[1] - cy
    x, y = (cos * px + sin * py) / rx, (cos * py - sin * px) / ry
    k = _norm(x, y)
    return k * (k - 1) / _norm(x / rx, y / ry)


def polygon_distance(numbers: Numbers, at: Pixels) -> Distances:
    """Distance to a convex polygon with counter-clockwise corners: the largest distance to its half-planes.

    d = max_k n_k . (p - c_k); exact inside and beside an edge, too small beyond a corner. Repeated corners are ignored
    (for gradients they are corners of their own).
    """
    corners = numbers[..., :WIDTH].unflatten(-1, (-1, 2))
    edges = corners.roll(-1, -2) - corners
    length = edges.norm(dim=-1)
    x, y = edges.unbind(-1)
    normals = torch.stack([y, -x], -1) / length.clamp(min=TINY)[..., None]
    planes = normals @ at - (normals * corners).sum(-1, keepdim=True)
    return planes.masked_fill(length[..., None] < 1e-9, -FAR).amax(-2)


def crescent_distance(numbers: Numbers, at: Pixels) -> Distances:
    """Distance to a disc (cx, cy, r) less a disc (ox, oy, s): max(|p - c| - r, s - |p - o|)."""
    cx, cy, r, ox, oy, s = numbers[..., :6, None].unbind(-2)
    return torch.maximum(_norm(at[0] - cx, at[1] - cy) - r, s - _norm(at[0] - ox, at[1] - oy))


def _norm(x: Tensor, y: Tensor) -> Tensor:
    square = torch.addcmul(torch.addcmul(x.new_tensor(TINY), x, x), y, y)  # TINY: a finite derivative at the origin
    return square.sqrt()


DISTANCE = {
    "capsule": capsule_distance,
    "ellipse": ellipse_distance,
    "polygon": polygon_distance,
    "crescent": crescent_distance,
}
KINDS = tuple(DISTANCE)


def distances(parts: Parts, size: int | tuple[int, int]) -> Float[Tensor, "batch parts pixels"]:
    """Signed distance from every pixel to every shape; meaningless where there is no shape."""
    at = pixel_centres(size, parts.numbers)
    if not bool(parts.kind.any()):  # only capsules, as in a tree: no sorting by kind
        return capsule_distance(parts.numbers, at)
    d = parts.numbers.new_full((*parts.mask.shape, at.shape[1]), FAR)
    for index, distance in enumerate(DISTANCE.values()):
        rows = parts.mask & (parts.kind == index)
        if rows.any():
            d = d.index_put((rows,), distance(parts.numbers[rows], at))
    return d


# ---- from distance to coverage: three kinds of edge ------------------------------------------------------------------

Edge = Callable[[Tensor, float], Tensor]


def soft_edge(d: Float[Tensor, "*any"], softness: float) -> Float[Tensor, "*any"]:
    """Coverage that fades over the edge: a = sigmoid(-d / softness); softness in world units."""
    return torch.sigmoid(d * (-1 / softness))


def hard_edge(d: Float[Tensor, "*any"], softness: float) -> Float[Tensor, "*any"]:
    """Coverage 1 inside and 0 outside. Autodiff gives the derivative 0: true at almost every d, useless at all."""
    return d.neg().sign().clamp(min=0)


class _StepWithDerivative(torch.autograd.Function):
    """The hard step, with the derivative that its picture has on average over a pixel."""

    @staticmethod
    def forward(ctx, d: Tensor, softness: float) -> Tensor:
        ctx.save_for_backward(d)
        ctx.softness = softness
        return (d < 0).to(d.dtype)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        (d,) = ctx.saved_tensors
        a = torch.sigmoid(d * (-1 / ctx.softness))
        return grad * a * (1 - a) * (-1 / ctx.softness), None


def custom_edge(d: Float[Tensor, "*any"], softness: float) -> Float[Tensor, "*any"]:
    """A hard edge with a derivative of our own: da/dd = -delta(d), the delta function smeared over `softness`.

    The integral over pixels then has the right derivative: an area of pi r^2 changes by 2 pi r for each unit of r.
    """
    return _StepWithDerivative.apply(d, softness)  # type: ignore[return-value]


# ---- from coverage to a picture --------------------------------------------------------------------------------------


def union(coverage: Float[Tensor, "batch parts *pixels"]) -> Float[Tensor, "batch *pixels"]:  # noqa: UP037
    """The share of a pixel under at least one shape, if the shapes lie independently: 1 - prod_i (1 - a_i)."""
    return 1 - (1 - coverage).prod(1)


def lay_over(
    coverage: Float[Tensor, "batch parts pixels"],
    colour: Float[Tensor, "batch parts 3"],
    background: Float[Tensor, "batch 3 pixels"],
) -> tuple[Float[Tensor, "batch 3 pixels"], Float[Tensor, "batch pixels"]]:
    """The painter's order: part i is seen through the parts in front of it, the background through all of them.

    picture = sum_i colour_i a_i prod_{j > i} (1 - a_j) + background prod_j (1 - a_j). Returns it and the union.
    """
    through = torch.log1p(-coverage)
    count = coverage.shape[1]
    in_front = torch.ones(count, count, dtype=through.dtype, device=through.device).triu(1)
    seen = coverage * (in_front @ through).exp()
    clear = through.sum(1).exp()
    return colour.transpose(1, 2) @ seen + background * clear[:, None], 1 - clear


def default_softness(size: int | tuple[int, int]) -> float:
    """A quarter of a pixel: edges as crisp as anti-aliased ones."""
    return 0.5 / (size if isinstance(size, int) else max(size))


def draw(
    parts: Parts,
    size: int | tuple[int, int],
    softness: float | None = None,
    background: Tensor | Point = (1.0, 1.0, 1.0),
    edge: Edge = soft_edge,
) -> Picture:
    """Draw every picture of the batch: distance, coverage, paint.

    size is (height, width) or one number for a square; softness is in world units (a quarter of a pixel by default);
    background is a colour, or a tensor that broadcasts to (batch, 3, height, width). Returns `Picture`.
    Source: soft coverage as in SoftRas, Liu et al. 2019, arXiv:1904.01786.
    """
    height, width = (size, size) if isinstance(size, int) else size
    softness = default_softness(size) if softness is None else softness
    if not (math.isfinite(softness) and softness > 0):
        raise ValueError(f"softness is a positive length in world units, got {softness}; use hard_edge for none")
    coverage = edge(distances(parts, size), softness) * (parts.opacity * parts.mask * OPAQUE)[..., None]
    behind = torch.as_tensor(background, dtype=coverage.dtype, device=coverage.device)
    behind = behind.view(3, 1, 1) if behind.ndim == 1 else behind
    behind = behind.expand(len(coverage), 3, height, width).flatten(2)
    image, alpha = lay_over(coverage, parts.colour, behind)
    return Picture(image.unflatten(-1, (height, width)), alpha.unflatten(-1, (height, width)))


# ---- trees -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """What a tree's parameters leave open: colours in [-1, 1], the half-width of a twig, and where the trunk stands."""

    wood: tuple[float, float, float] = rgb("#6b4a36")
    leaf: tuple[float, float, float] = rgb("#5f9e3f")
    sky: tuple[float, float, float] = rgb("#f4efe4")
    twig: float = 0.03
    ground: tuple[float, float] = (0.0, -0.95)


def tree_parts(forest: Forest, style: Style) -> Parts:
    """Every branch as a tapered capsule and every leaf as a disc over it; differentiable in `forest.theta`.

    The half-width of a branch is twig * sqrt(number of twigs it carries), da Vinci's rule.
    """
    start, tip = skeleton(forest, style.ground)
    wood = forest.branch[..., None]
    radii = torch.where(wood, style.twig * forest.girth.sqrt(), forest.theta[..., :1])
    numbers = torch.cat([start, tip, radii], -1)
    palette = numbers.new_tensor([style.leaf, style.wood])
    return Parts(
        kind=torch.zeros_like(forest.branch, dtype=torch.long),
        numbers=numbers,
        colour=palette[forest.branch.long()],
        opacity=forest.mask.to(numbers.dtype),
        mask=forest.mask,
    )
