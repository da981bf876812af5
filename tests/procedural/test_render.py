"""Drawing: true distances, coverage that adds up, the painter's order, and gradients that are right at the edges."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cs348k_diffusion.procedural.grammar import Grammar, sample_tree
from cs348k_diffusion.procedural.pack import pack
from cs348k_diffusion.procedural.render import (
    KINDS,
    Style,
    capsule,
    crescent,
    custom_edge,
    default_softness,
    disc,
    distances,
    draw,
    ellipse,
    hard_edge,
    lay_over,
    pixel_centres,
    polygon,
    rgb,
    soft_edge,
    stack,
    tree_parts,
    union,
)

RED, BLUE, GREEN = (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0)
SHAPES = {
    "capsule": capsule((-0.5, -0.3), (0.4, 0.5), 0.2, 0.1, RED),
    "disc": disc((0.1, -0.2), 0.45, RED),
    "ellipse": ellipse((0.1, 0.1), (0.6, 0.3), 0.7, RED),
    "polygon": polygon([(-0.6, -0.5), (0.6, -0.4), (0.3, 0.5), (-0.4, 0.6)], RED),
    "crescent": crescent((0.0, 0.0), 0.6, (0.3, 0.2), 0.5, RED),
}


def sample_edge(name, count=4001):
    """Points on the edge of the shape, from its own definition."""
    s = np.linspace(0, 1, count)
    turn = np.stack([np.cos(2 * math.pi * s), np.sin(2 * math.pi * s)])
    if name == "disc":
        return (np.array([[0.1], [-0.2]]) + 0.45 * turn).T
    if name == "ellipse":
        x, y = 0.6 * turn[0], 0.3 * turn[1]
        c, d = math.cos(0.7), math.sin(0.7)
        return np.stack([0.1 + c * x - d * y, 0.1 + d * x + c * y]).T
    if name == "polygon":
        corners = np.array([(-0.6, -0.5), (0.6, -0.4), (0.3, 0.5), (-0.4, 0.6)])
        return np.concatenate([a + s[:, None] * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])
    raise AssertionError(name)


# ---- distances -------------------------------------------------------------------------------------------------------


def test_pixels_run_from_the_top_left():
    x, y = pixel_centres((2, 4), torch.zeros(1)).unflatten(1, (2, 4))
    assert_close(x[0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    assert_close(y[:, 0], torch.tensor([0.5, -0.5]))


@pytest.mark.parametrize("name", ["disc", "polygon", "ellipse"])
def test_distances_are_distances_to_the_edge(name):
    """Against the nearest of 4001 points of the edge: exact for disc and polygon, near the edge for an ellipse."""
    at = pixel_centres(41, torch.zeros(1, dtype=torch.float64)).T.numpy()
    truth = np.sqrt(((at[:, None] - sample_edge(name)[None]) ** 2).sum(-1)).min(1)
    d = distances(stack([[SHAPES[name]]], torch.float64), 41)[0, 0].numpy()
    where = {"disc": truth > 0, "polygon": d < 0, "ellipse": truth < 0.06}[name]
    tolerance = 0.012 if name == "ellipse" else 1e-3
    assert where.sum() > 100
    np.testing.assert_allclose(np.abs(d)[where], truth[where], atol=tolerance)


def test_the_distance_to_a_tapered_branch():
    """Beside the middle, beyond each end, and inside."""
    parts = stack([[capsule((-0.5, 0.0), (0.5, 0.0), 0.2, 0.1, RED)]], torch.float64)
    near = {"atol": 1e-5, "rtol": 0}  # the root is rounded off at its zero
    d = distances(parts, (3, 5)).view(3, 5)  # x = -0.8, -0.4, 0, 0.4, 0.8; y = 2/3, 0, -2/3
    assert_close(d[1], torch.tensor([0.3 - 0.2, -0.19, -0.15, -0.11, 0.3 - 0.1], dtype=torch.float64), **near)
    assert_close(float(d[0, 2]), 2 / 3 - 0.15, **near)
    assert_close(float(d[2, 4]), math.hypot(0.3, 2 / 3) - 0.1, **near)


def test_a_crescent_is_a_disc_less_a_disc():
    at = pixel_centres(33, torch.zeros(1))
    moon = distances(stack([[SHAPES["crescent"]]]), 33)[0, 0] < 0
    whole, bite = (at**2).sum(0) < 0.36, ((at - torch.tensor([[0.3], [0.2]])) ** 2).sum(0) < 0.25
    assert torch.equal(moon, whole & ~bite)
    assert 0 < int(moon.sum()) < int(whole.sum())


def test_corners_may_run_either_way_and_may_be_few():
    triangle = [(-0.5, -0.5), (0.5, -0.5), (0.0, 0.6)]
    ways = draw(stack([[polygon(triangle, RED)], [polygon(triangle[::-1], RED)]]), 32).image
    assert_close(ways[0], ways[1])
    area = float((1 - (ways[0, 1] + 1) / 2).mean()) * 4  # red has no green
    assert_close(area, 0.5 * 1.0 * 1.1, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: polygon([(0, 0), (1, 0)], RED), "three to 6 corners, got 2"),
        (lambda: polygon([(0, 0), (1, 0), (0.2, 0.2), (0, 1)], RED), "not convex"),
        (lambda: rgb("green"), "#rrggbb"),
        (lambda: rgb("#12345"), "#rrggbb"),
        (lambda: draw(stack([[]]), 8, softness=0.0), "positive length in world units, got 0.0; use hard_edge"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_colours_by_code():
    assert rgb("#ff0080")[:2] == (1.0, -1.0)
    assert_close(rgb("#ff0080")[2], 128 / 127.5 - 1)


# ---- coverage, union, the painter's order ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_the_covered_area_is_the_shapes_area(name):
    x, y = sample_edge("polygon", 2)[::2].T
    shoelace = 0.5 * abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()))
    areas = {"disc": math.pi * 0.45**2, "ellipse": math.pi * 0.6 * 0.3, "polygon": shoelace}
    alpha = draw(stack([[SHAPES[name]]]), 64).alpha
    hard = draw(stack([[SHAPES[name]]]), 512, edge=hard_edge).alpha
    assert_close(4 * float(alpha.mean()), areas.get(name, 4 * float(hard.mean())), rtol=0.01, atol=0)
    assert_close(hard, hard.round(), atol=1e-5, rtol=0)


def test_union_and_order_by_the_rule_of_one_coat_at_a_time():
    torch.manual_seed(0)
    a, colour = torch.rand(2, 5, 7, dtype=torch.float64) * 0.999, torch.rand(2, 5, 3, dtype=torch.float64)
    behind = torch.rand(2, 3, 7, dtype=torch.float64)
    coat = behind
    for i in range(5):
        coat = coat + a[:, i, None] * (colour[:, i, :, None] - coat)
    image, alpha = lay_over(a, colour, behind)
    assert_close(image, coat)
    assert_close(alpha, union(a))
    assert_close(union(a[:, :2]), a[:, 0] + a[:, 1] - a[:, 0] * a[:, 1])


def test_the_later_part_is_in_front():
    image = draw(stack([[disc((0, 0), 0.8, RED), disc((0, 0), 0.4, BLUE)]]), 33).image[0]
    assert_close(image[:, 16, 16], torch.tensor(BLUE), atol=1e-4, rtol=0)
    assert_close(image[:, 16, 26], torch.tensor(RED), atol=1e-4, rtol=0)
    assert_close(image[:, 0, 0], torch.ones(3), atol=1e-4, rtol=0)


def test_opacity_mixes_and_backgrounds_may_be_pictures():
    sky = torch.linspace(-1, 1, 16).view(1, 1, 16, 1).expand(1, 3, 16, 16)
    image = draw(stack([[disc((0, 0), 0.5, GREEN, opacity=0.25)]]), 16, background=sky).image[0]
    assert_close(image[:, 8, 8], 0.75 * sky[0, :, 8, 8] + 0.25 * torch.tensor(GREEN), atol=1e-4, rtol=0)
    assert_close(image[:, :, 0], sky[0, :, :, 0], atol=1e-4, rtol=0)


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch():
    """Padding and masks: alone, or beside pictures with more parts of all kinds."""
    scenes = [list(SHAPES.values()), [SHAPES["disc"]], [], [SHAPES["polygon"], SHAPES["capsule"]]]
    together = draw(stack(scenes), 24).image
    for scene, image in zip(scenes, together, strict=True):
        assert_close(draw(stack([scene]), 24).image[0], image)
    assert_close(together[2], torch.ones(3, 24, 24))


# ---- gradients -------------------------------------------------------------------------------------------------------


def picture_of(parts, size=9, softness=0.1):
    return lambda numbers: draw(parts._replace(numbers=numbers), size, softness).image


HEXAGON = polygon([(-0.6, -0.5), (0.2, -0.6), (0.65, -0.1), (0.5, 0.4), (0.0, 0.67), (-0.5, 0.33)], RED)


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_are_central_differences(name):
    shape = HEXAGON if name == "polygon" else SHAPES[name]  # with six corners none is a copy of another
    parts = stack([[shape, disc((0.31, 0.27), 0.33, GREEN, opacity=0.6)]], torch.float64)
    assert torch.autograd.gradcheck(picture_of(parts), parts.numbers.clone().requires_grad_(), atol=1e-5)


@pytest.mark.parametrize("end", ["low", "high"])
def test_gradients_of_a_whole_tree_are_right_at_the_ends_of_its_constraints(end):
    grammar = Grammar()
    rng = np.random.default_rng(12)
    tree = next(tree for tree in iter(lambda: sample_tree(grammar, rng), None) if 8 <= len(tree.parts) <= 12)
    forest = pack([tree], grammar, torch.float64)
    theta = torch.where(forest.used, getattr(forest, end), 0.0).requires_grad_()

    def picture(theta):
        return draw(tree_parts(forest._replace(theta=theta), Style()), 9, 0.1).image

    assert torch.autograd.gradcheck(picture, theta, atol=1e-5)


def test_nothing_is_nan_where_distances_vanish():
    """A pixel at the very centre of a disc, and on the axis of a branch; a leaf is a branch without length."""
    parts = stack([[disc((0.0, 0.0), 0.3, RED), capsule((0.0, -0.5), (0.0, 0.5), 0.1, 0.1, BLUE), SHAPES["ellipse"]]])
    numbers = parts.numbers.requires_grad_()
    (gradient,) = torch.autograd.grad(draw(parts._replace(numbers=numbers), 33).image.square().sum(), numbers)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().sum()) > 0


def area_and_slope(edge, radius=0.5, size=256, softness=0.01):
    parts = stack([[disc((0.0, 0.0), 0.0, RED)]], torch.float64)
    r = torch.tensor(radius, dtype=torch.float64, requires_grad=True)
    numbers = torch.cat([parts.numbers[..., :4], r.expand(1, 1, 2), parts.numbers[..., 6:]], -1)
    area = 4 * draw(parts._replace(numbers=numbers), size, softness, edge=edge).alpha.mean()
    return float(area.detach()), float(torch.autograd.grad(area, r)[0])


def test_a_hard_edge_has_the_wrong_gradient_and_central_differences_see_it():
    """An area of pi r^2 grows by 2 pi r; autodiff through the hard edge says 0, the soft and the custom edge do not."""
    truth = 2 * math.pi * 0.5
    areas = [area_and_slope(hard_edge, 0.5 + h)[0] for h in (-0.05, 0.05)]
    assert_close((areas[1] - areas[0]) / 0.1, truth, rtol=0.02, atol=0)
    assert area_and_slope(hard_edge)[1] == 0
    assert_close(area_and_slope(soft_edge)[1], truth, rtol=0.01, atol=0)
    assert_close(area_and_slope(custom_edge)[1], truth, rtol=0.01, atol=0)
    assert area_and_slope(custom_edge)[0] == area_and_slope(hard_edge)[0]


def test_gradients_die_away_from_the_edge():
    """Claim M3: a small disc 0.8 from its target feels nothing with crisp edges, and something with soft ones."""

    def pull(softness):
        parts = stack([[disc((-0.4, 0.0), 0.2, RED)]], torch.float64)
        goal = draw(stack([[disc((0.4, 0.0), 0.2, RED)]], torch.float64), 257, softness).image
        numbers = parts.numbers.requires_grad_()
        energy = (draw(parts._replace(numbers=numbers), 257, softness).image - goal).square().mean()
        slope = torch.autograd.grad(energy, numbers)[0][0, 0]
        return float(-(slope[0] + slope[2]))  # both ends of the disc move together; positive: towards the target

    assert abs(pull(0.02)) < 1e-6
    assert pull(0.2) > 1e-2


# ---- trees -----------------------------------------------------------------------------------------------------------


def test_a_forest_is_drawn_tree_by_tree():
    grammar, style, rng = Grammar(), Style(), np.random.default_rng(2)
    trees = [sample_tree(grammar, rng) for _ in range(6)]
    together = draw(tree_parts(pack(trees, grammar), style), 24, background=style.sky).image
    for tree, image in zip(trees, together, strict=True):
        alone = draw(tree_parts(pack([tree], grammar), style), 24, background=style.sky).image[0]
        assert_close(alone, image, atol=1e-5, rtol=0)


def test_the_default_softness_is_a_quarter_of_a_pixel():
    assert default_softness(32) == 0.25 * 2 / 32
    assert default_softness((16, 64)) == 0.25 * 2 / 64
    assert KINDS[0] == "capsule"  # drawn without sorting
