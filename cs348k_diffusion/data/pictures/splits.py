"""Which seed of the drawn world is for what: nothing is chosen, evaluated or shown on what it was trained on.

All pictures of one seed are a world, and worlds share no picture. A new recipe takes two that stand nowhere here.
Two seeds have two uses: 6 (upsamplers, guidance) and 7 (upsamplers, faces). Those models never meet, and the pictures
differ (the other captions), but what a scene leaves open is drawn from the same numbers. Stored results depend on it.
"""

from __future__ import annotations

from typing import NamedTuple


class Split(NamedTuple):
    """The seeds of a model: of its training, of the evaluation on its card, and of the choice of a setting."""

    training: int
    evaluation: int
    choosing: int = -1  # no world has that seed


PICTURES = Split(0, 5, choosing=4)  # pictures, pictures_64, pictures_cascade, pictures_fast and pictures_codec
READER = Split(2, 3)  # the reader of attributes, by whose features and answers all of these are evaluated
UPSAMPLERS = Split(6, 7)
FACES = Split(7, 8)  # the reader of faces, on the card of pictures_64
LATENT = Split(60, 61)  # the study of codes; from 62 on two for each seed of the claims about linear codes
EQUAL = Split(80, 81)  # the study of three ways to 64 pixels at equal compute
GUIDANCE = 6  # the study of guidance scales evaluates `pictures` here
README = 9  # prompts of the pictures at the top of README
