"""What runs on Gradescope when a student hands in: `python -m cs348k_diffusion.grading.batch.gradescope /autograder`.

It grades ROOT/submission and writes ROOT/results/results.json. The zip around it is made by `authoring.autograder`
(gradescope-autograders.readthedocs.io, "specs").
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, registry
from cs348k_diffusion.grading.batch.local import grade_here
from cs348k_diffusion.grading.batch.plan import plan_for
from cs348k_diffusion.grading.gradebook.reports import gradescope, in_order
from cs348k_diffusion.grading.records import NOT_JUDGED
from cs348k_diffusion.grading.submissions.source import notebooks_in
from cs348k_diffusion.grading.tables import write_whole


def run(root: Path) -> dict[str, Any]:
    """Grade root/submission and write root/results/results.json, which is returned.

    Nothing is written when the grading itself goes wrong: Gradescope then says so, and nobody has a 0 for it.
    """
    start, source, known = time.monotonic(), root / "source", registry()
    only = json.loads((source / "settings.json").read_text(encoding="utf-8"))["only"]
    held_back = source / "held_back"
    hidden = [root / name for name in ("submission", "results", "submission_metadata.json")]
    students = {"you": notebooks_in(root / "submission")}
    places = tuple(str(path) for path in (*hidden, held_back))
    plan = plan_for(students, only, FOLDER, held_back if held_back.is_dir() else None, places)
    (graded,) = grade_here(list(students.items()), plan)
    if any(record.message == NOT_JUDGED for record in graded.records):
        raise RuntimeError(NOT_JUDGED)
    result = gradescope(in_order(graded.records, known), known, graded.notes)
    result["execution_time"] = round(time.monotonic() - start)
    write_whole(root / "results" / "results.json", json.dumps(result, indent=1, ensure_ascii=False))
    return result


if __name__ == "__main__":
    done = run(Path(sys.argv[1]))
    print(f"{done['score']:g} of {sum(test['max_score'] for test in done['tests']):g} points")
