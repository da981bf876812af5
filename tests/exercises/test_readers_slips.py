"""Slips of readers, `readers_of_*.py` in tests/answers/slips: rejected, and by the names that are listed.

Each exercise meets two of a reader's slips, others each day; all with CS348K_ALL_SLIPS=1.
"""

import datetime
import importlib
import random
from pathlib import Path

import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from tests.answers import Given, names_in, records_of, slips
from tests.turns import everything

pytestmark = pytest.mark.usefixtures("as_students_run_them")

SAMPLE = 2
PATHS = sorted(Path(slips.__file__).parent.glob("readers_of_*.py"))
READERS = {path.stem: importlib.import_module(f"{slips.__name__}.{path.stem}") for path in PATHS}
CASES = [(reader, id) for reader, module in READERS.items() for id in module.SLIPS if hasattr(module, "NAMED")]


def chosen(reader, id):
    """The slips that an exercise meets today."""
    every = READERS[reader].SLIPS[id]
    few = random.Random(f"{id} {datetime.date.today()}").sample(list(every), min(SAMPLE, len(every)))
    return every if everything("SLIPS") else {name: every[name] for name in few}


@pytest.mark.parametrize(("reader", "id"), CASES)
def test_a_readers_slips_are_rejected_by_their_names(reader, id):
    tried = chosen(reader, id)
    records = records_of([registry()[id]], [Given(name, {id: slip}) for name, slip in tried.items()])
    for name in tried:
        failed = [record for record in records if record.student == name and record.status != "passed"]
        assert failed, f"{name} is accepted"
        assert {record.status for record in failed} == {"failed"}, failed
        told = tuple(dict.fromkeys(each for record in failed for each in names_in(record.message)))
        assert told == READERS[reader].NAMED.get(id, {}).get(name, ()), name
