"""What there is in the drawn world: one or two groups of trees, cats or houses, a sky, a light and a season.

A scene holds the true attributes of a picture. `scene(seed, index)` draws one; three pairs of colour and kind never
come up unless they are asked for (`HELD_OUT`), so a model's way with the unseen can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from cs348k_diffusion.data.pictures.keyed import KeyedDraws

KINDS = ("cat", "house", "tree")
COLOURS = ("red", "orange", "green", "blue", "purple", "white")
SPECIES = ("oak", "pine", "poplar")
SIZES = {"cat": ("small", "", "big"), "house": ("small", "", "big"), "tree": ("small", "", "tall")}
RELATIONS = ("left of", "right of", "above")
SKIES = ("day", "dusk", "night")
LIGHTS = {"day": (None, "sun"), "dusk": (None, "sun", "moon"), "night": (None, "moon")}
SEASONS = ("spring", "summer", "autumn", "winter")
HELD_OUT = (("blue", "cat"), ("purple", "house"), ("white", "tree"))
MOST = 4  # objects in a picture


class Group(NamedTuple):
    """Like things that stand together: count of them (1 to 3), their size ("" is the usual one), colour, kind, species.

    In a prompt, None (and "" for the size) is what the prompt does not say. Only trees have a species.
    """

    count: int
    size: str
    colour: str | None
    kind: str
    species: str | None = None


class Scene(NamedTuple):
    """The attributes of a picture: groups[0] is `relation` groups[1], if there are two.

    In a prompt, None is what the prompt does not say; in the scene of a picture only `light` may be None (no light)
    and, when there is one group, `relation`.
    """

    groups: tuple[Group, ...]
    relation: str | None
    sky: str | None
    light: str | None = None
    season: str | None = None


def scene(seed: int, index: int, held_out: bool = False) -> Scene:
    """Scene number `index` of the world `seed`, the same on every machine.

    held_out: whether its first or second group is one of the pairs in HELD_OUT; otherwise none is. Two groups differ in
    kind; there are at most 4 objects; nothing white stands in snow.
    """
    rng = KeyedDraws(seed, index, stream=0)
    first, second, *_ = _shuffled(KINDS, rng)
    kinds = [first] if rng.chance(35) else [first, second]
    unseen = rng.pick(range(len(kinds))) if held_out else -1
    groups: list[Group] = []
    for k, kind in enumerate(kinds):
        room = MOST - sum(group.count for group in groups) - (len(kinds) - 1 - k)
        groups.append(_group(kind, room, k == unseen, rng))
    if len(groups) > 1 and rng.chance(50):  # so that the larger group is as often the second
        groups.reverse()
    relation = rng.pick(RELATIONS) if len(groups) > 1 else None
    sky = rng.pick(SKIES)
    return Scene(tuple(groups), relation, sky, rng.pick(LIGHTS[sky]), rng.pick(_seasons(groups)))


def _shuffled(options: Sequence[str], rng: KeyedDraws) -> list[str]:
    rest, out = list(options), []
    while rest:
        out.append(rest.pop(rng.pick(range(len(rest)))))
    return out


def _seasons(groups: Sequence[Group]) -> Sequence[str]:
    return SEASONS[:3] if any(group.colour == "white" for group in groups) else SEASONS


def _group(kind: str, room: int, unseen: bool, rng: KeyedDraws) -> Group:
    count = rng.pick([n for n in (1, 1, 2, 2, 3, 3) if n <= room])
    colours = [c for c in COLOURS if ((c, kind) in HELD_OUT) == unseen]
    size = rng.pick([size for size in SIZES[kind] if count < 3 or size not in ("big", "tall")])
    return Group(count, size, rng.pick(colours), kind, rng.pick(SPECIES) if kind == "tree" else None)


# ---- attributes as numbers -------------------------------------------------------------------------------------------

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    **{f"{kind}_count": ("0", "1", "2", "3") for kind in KINDS},
    **{f"{kind}_colour": ("none", *COLOURS) for kind in KINDS},
    "relation": ("none", "left of", "right of", "above", "below"),
    "sky": SKIES,
    "light": ("none", "sun", "moon"),
    "season": SEASONS,
    "species": ("none", *SPECIES),
}
"""Every attribute with its values; a label is the place of a value in its row. "relation" is that of the kind
that comes first in KINDS (cat, house, tree) to the other, so that one picture has one answer."""

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below"}


def asked(prompt: Scene) -> dict[str, int]:
    """What a prompt asks for, as labels by attribute; what it leaves open is not there.

    Kinds that it does not name are asked to be absent (count 0).
    """
    values: dict[str, str | None] = {f"{kind}_count": "0" for kind in KINDS}
    for group in prompt.groups:
        values[f"{group.kind}_count"] = str(group.count)
        values[f"{group.kind}_colour"] = group.colour
        values["species"] = group.species or values.get("species")
    values |= {"relation": _canonical(prompt), "sky": prompt.sky, "light": prompt.light, "season": prompt.season}
    return {name: ATTRIBUTES[name].index(value) for name, value in values.items() if value is not None}


def labels(scenes: Sequence[Scene]) -> dict[str, Int[Tensor, " n"]]:
    """The labels of pictures: for each attribute in ATTRIBUTES a tensor of whole numbers, one for each scene.

    Raises ValueError for a prompt with gaps: only a complete scene has labels.
    """
    rows = [asked(whole(scene)) for scene in scenes]
    return {name: torch.tensor([row.get(name, 0) for row in rows], dtype=torch.long) for name in ATTRIBUTES}


def whole(scene: Scene) -> Scene:
    """The scene itself; raises ValueError if it is a prompt with gaps, which cannot be drawn."""
    trees = [group for group in scene.groups if group.kind == "tree"]
    gaps = [group for group in scene.groups if not group.colour] + [tree for tree in trees if not tree.species]
    if gaps or not scene.sky or not scene.season:
        raise ValueError(f"{scene} is a prompt with gaps: `complete` it before it is drawn or labelled")
    return scene


def _canonical(scene: Scene) -> str | None:
    if scene.relation is None:
        return None
    first, second = (KINDS.index(group.kind) for group in scene.groups)
    return scene.relation if first < second else OPPOSITE[scene.relation]


def complete(prompt: Scene, seed: int = 0, index: int = 0) -> Scene:
    """A scene that does what the prompt asks, its gaps filled by chance: what to draw for a prompt of your own."""
    rng = KeyedDraws(seed, index, stream=1)
    sky = prompt.sky or rng.pick([sky for sky in SKIES if prompt.light is None or prompt.light in LIGHTS[sky]])
    if prompt.light not in LIGHTS[sky]:
        raise ValueError(f"there is no {prompt.light} in the sky by {sky} here; choose from {LIGHTS[sky]}")
    groups = tuple(
        group._replace(
            colour=group.colour or rng.pick([c for c in COLOURS if (c, group.kind) not in HELD_OUT]),
            species=group.species or (rng.pick(SPECIES) if group.kind == "tree" else None),
        )
        for group in prompt.groups
    )
    light = prompt.light or rng.pick(LIGHTS[sky])
    return Scene(groups, prompt.relation, sky, light, prompt.season or rng.pick(_seasons(groups)))
