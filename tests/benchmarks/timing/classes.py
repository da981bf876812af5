"""What a hand-in costs to grade, and what a course of 3,000 students a week then needs: measured, then simulated.

    python tests/benchmarks/timing/classes.py

Classes of 4 to 32 copies of the solved notebook 02 are graded by one worker and by two, on a machine that does nothing
else. The time grows by so much with each student: the slope of a straight line is the cost of a hand-in. So does the
processor time of the process that hands out the work, which is one however many workers there are. With these numbers a
week of the large course is simulated: hand-ins come evenly, but half of them in the last six hours; each is graded when
it has come and a worker is free. Written: tests/benchmarks/results/classes.json.
"""

import heapq
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from stored import store

from cs348k_diffusion.evaluate.report import made

ROOT = Path(__file__).parents[3]
SIZES, JOBS, STUDENTS, CORES = (4, 8, 16, 32), (1, 2), 3000, (1, 2, 4, 8, 16)
WEEK, RUSH = 7 * 24 * 3600, 6 * 3600  # seconds of a week, and of its end, in which half of the hand-ins come
SOLVED, ONE_THREAD = next(ROOT.glob("solutions/02_*.ipynb")), {"OMP_NUM_THREADS": "1"}
GRADE = """
import resource, sys
from pathlib import Path
from cs348k_diffusion.grading import grade
if __name__ == "__main__":
    grade(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]))
    spent = resource.getrusage(resource.RUSAGE_SELF)
    print(spent.ru_utime + spent.ru_stime)
"""


def graded(n: int, jobs: int) -> dict:
    """Seconds for n students, processor seconds of the process that hands out the work, and the bytes of the marks."""
    with tempfile.TemporaryDirectory() as folder:
        hand_ins, marks, script = (Path(folder) / name for name in ("in", "out", "run.py"))
        hand_ins.mkdir()
        for k in range(n):
            shutil.copy(SOLVED, hand_ins / f"student{k:03}.ipynb")
        script.write_text(GRADE)
        began = time.monotonic()
        command = [sys.executable, script, hand_ins, marks, str(jobs)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
        took, parent = time.monotonic() - began, float(done.stdout.split()[-1])
        size = sum(path.stat().st_size for path in marks.rglob("*") if path.is_file())
        return {"n": n, "jobs": jobs, "seconds": took, "parent": parent, "bytes": size}


def slope(rows: list[dict], key: str) -> tuple[float, list[float]]:
    """How much `key` grows with each student, by least squares, and the 95 % interval of that."""
    from scipy import stats

    line = stats.linregress([row["n"] for row in rows], [row[key] for row in rows])
    half = float(stats.t.ppf(0.975, len(rows) - 2)) * line.stderr
    return line.slope, [line.slope - half, line.slope + half]


def arrivals(n: int, seed: int = 0) -> np.ndarray:
    """When n hand-ins come, in seconds of a week, sorted: half evenly over it, half evenly over its last six hours."""
    generator = np.random.default_rng(seed)
    spread = generator.uniform(0, WEEK, n - n // 2)
    return np.sort(np.concatenate([spread, generator.uniform(WEEK - RUSH, WEEK, n // 2)]))


def waits(times: np.ndarray, seconds: float, workers: int) -> np.ndarray:
    """How long each hand-in waits for its marks: first come, first served, each by one of the workers."""
    free, found = [0.0] * workers, []
    for came in times:
        done = max(came, heapq.heappop(free)) + seconds
        heapq.heappush(free, done)
        found.append(done - came)
    return np.array(found)


def main() -> None:
    rows = [graded(n, jobs) for n in SIZES for jobs in JOBS]
    alone, two = ([row for row in rows if row["jobs"] == jobs] for jobs in JOBS)
    (each, each_ends), (each_of_two, two_ends) = slope(alone, "seconds"), slope(two, "seconds")
    handing, handing_ends = slope(two, "parent")
    times = arrivals(STUDENTS)
    found = {
        "machine": made(),
        "rows": rows,
        "seconds_a_student": {"one worker": [each, *each_ends], "two workers": [each_of_two, *two_ends]},
        "parent_seconds_a_student": [handing, *handing_ends],
        "students": STUDENTS,
        "core_hours": STUDENTS * each / 3600,
        "gigabytes": STUDENTS * (slope(two, "bytes")[0] + SOLVED.stat().st_size) / 1e9,
        "workers_where_the_parent_is_the_limit": each / handing,
        "longest_wait_seconds": {str(k): float(waits(times, max(each, k * handing), k).max()) for k in CORES},
        "all_at_once_minutes": {str(k): STUDENTS * max(each / k, handing) / 60 for k in CORES},
    }
    store("classes", found)


if __name__ == "__main__":
    main()
