"""Slips of a reader of 09 to 11 (tests/answers/slips): rejected, and by the names that are listed.

Each exercise meets two of them, others each day; all with CS348K_ALL_SLIPS=1.
"""

import datetime
import os
import random

import jaxtyping
import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from tests.answers import Given, records_of
from tests.answers.slips import readers_of_09_to_11 as readers_slips

EVERY = bool(os.environ.get("CS348K_ALL_SLIPS"))
SAMPLE = 2


@pytest.fixture(autouse=True)
def as_students_run_them():
    """Without the checks of shapes and types, as in tests/test_answers.py."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def chosen(id):
    """The slips that an exercise meets today."""
    slips = readers_slips.S[id]
    return list(slips) if EVERY else random.Random(f"{id} {datetime.date.today()}").sample(list(slips), SAMPLE)


@pytest.mark.parametrize("id", readers_slips.S)
def test_a_readers_slips_are_rejected_by_their_names(id):
    slips = chosen(id)
    records = records_of([registry()[id]], [Given(slip, {id: readers_slips.S[id][slip]}) for slip in slips])
    for slip in slips:
        failed = [record for record in records if record.student == slip and record.status != "passed"]
        assert failed, f"{slip} is accepted"
        assert {record.status for record in failed} == {"failed"}, failed
        lines = [line for record in failed for line in record.message.splitlines() if line.startswith(LIKELY)]
        printed = tuple(dict.fromkeys(line.removeprefix(LIKELY) for line in lines))
        assert printed == readers_slips.NAMES.get(id, {}).get(slip, ()), slip
