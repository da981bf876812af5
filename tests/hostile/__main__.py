"""`python -m tests.hostile IN OUT`: grade the folder IN as the batch does, and say what the parent weighed."""

import json
import sys
from pathlib import Path

from cs348k_diffusion.grading import batch


def peak_bytes() -> int:
    """The most memory that this program held; getrusage would begin with what the process that started it held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    inbox, out = map(Path, sys.argv[1:])
    batch.grade(inbox, out, checks=Path(__file__).parent / "checks", jobs=2)
    (out / "parent.json").write_text(json.dumps({"peak_bytes": peak_bytes()}))
