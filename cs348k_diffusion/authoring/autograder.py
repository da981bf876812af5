"""The zip that Gradescope wants: setup.sh, run_autograder, the package and your held-back checks.

It holds no solutions and no tests. Gradescope unpacks it into /autograder/source, calls setup.sh once, and for every
hand-in run_autograder, which starts `grading.batch.gradescope` (gradescope-autograders.readthedocs.io, "specs").
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from cs348k_diffusion.authoring.release import PLAIN, ReleaseError, package, write_zip
from cs348k_diffusion.exercises.framework.catalogue import FOLDER
from cs348k_diffusion.grading.batch.plan import plan_for

ROOT = Path(__file__).parents[2]
SETUP = """#!/usr/bin/env bash
# Gradescope calls this once, as root on Ubuntu, when it builds the autograder.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")/course"
usable() {{ "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }}
found=
for python in python3.13 python3.12 python3.11 python3; do
  if usable "$python"; then found=$python; break; fi
done
for version in 3.13 3.12 3.11; do
  if [ -z "$found" ] && apt-get install -y "python$version" "python$version-venv"; then found=python$version; fi
done
"${{found:-python3}}" -I cs348k_diffusion/course/install.py lab {pip_args}
.venv/bin/python -m compileall -q cs348k_diffusion
"""
RUN = """#!/usr/bin/env bash
# Gradescope calls this for every hand-in; it stands beside source/, submission/ and results/.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$root/source/course"
OMP_NUM_THREADS=1 exec .venv/bin/python -m cs348k_diffusion.grading.batch.gradescope "$root"
"""


def write_autograder(
    out_zip: Path,
    *,
    only: Sequence[str] = (),
    held_back: Path | None = None,
    pip_args: Sequence[str] = (),
    root: Path = ROOT,
) -> list[str]:
    """Write the zip and return the ids of the exercises it grades.

    only: exercise ids or notebook words, all of the course without; held_back: a folder of check modules of your own;
    pip_args: options for pip in setup.sh. Raises LookupError for `only`, ReleaseError away from the instructor's clone.
    """
    plan = plan_for({}, only, FOLDER, held_back, ())
    if not (root / "pyproject.toml").exists():
        raise ReleaseError(f"{root} has no pyproject.toml: an autograder is made from the instructor's clone")
    paths = [*package(root), *(root / name for name in (*PLAIN, "README.md") if (root / name).exists())]
    files = {f"course/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}
    files |= {f"held_back/{path.name}": path.read_bytes() for path in plan.files if path.parent != FOLDER}
    files["settings.json"] = json.dumps({"only": sorted(plan.exercises)}).encode()
    files["setup.sh"] = SETUP.format(pip_args=shlex.join(pip_args)).encode()
    files["run_autograder"] = RUN.encode()
    write_zip(out_zip, files, scripts=("setup.sh", "run_autograder"))
    return list(plan.exercises)
