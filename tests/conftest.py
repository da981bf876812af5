"""What holds in every test: one torch thread, no network, and shapes and types checked as annotated."""

import os
import runpy
import sys
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported, by whatever comes first

OFFLINE = str(Path(__file__).parent / "offline")
if OFFLINE not in os.environ.get("PYTHONPATH", "").split(os.pathsep):  # for kernels and workers that tests start
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
if not getattr(sys, "works_offline", False):  # and for this process
    runpy.run_path(str(Path(OFFLINE) / "sitecustomize.py"))

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

import tests.type_rules  # noqa: F401 (the hook below names it)

torch.set_num_threads(1)
checked = [name for name in sys.modules if name.startswith("cs348k_diffusion.")]
assert not checked, f"imported before the annotations could be checked: {checked}"
install_import_hook("cs348k_diffusion", "tests.type_rules.checked")

FIRST = ("test_hostile.py", "test_site.py", "test_release.py")  # what they share is dear


def pytest_collection_modifyitems(items):
    """What a dear module's tests share is made by one process of two: only the last of the list move over."""
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture
def as_students_run_them():
    """Without the checks of shapes and types, which draw random numbers and slow hundreds of thousands of calls."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
