"""No property earns points before the value itself is right: answers that compute nothing get none, in any exercise."""

import json
import sys

import pytest

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.grading.batch.run import check_notebook

FUNCTIONS = [each for each in registry().values() if not each.name.startswith("test_") and each.name[0].islower()]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers in a sandbox are Linux's")


def earned(tmp_path, value):
    """Points by exercise for functions that return one value whatever they are given."""
    text = "\n".join(f"def {each.name}(*a, **k):\n    return {value}" for each in FUNCTIONS)
    path = tmp_path / "empty.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": text}]}))
    graded = check_notebook(path, only=[each.id for each in FUNCTIONS])
    return {record.exercise: record.earned for record in graded.records if record.earned}


def test_functions_that_return_nothing_earn_nothing(tmp_path):
    assert earned(tmp_path, "None") == {}
