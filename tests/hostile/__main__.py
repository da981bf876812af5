"""`python -m tests.hostile IN OUT`: grade the folder IN as the batch does, and say what the parent weighed."""

import json
import sys
from pathlib import Path

from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.workers.remote import peak_of

if __name__ == "__main__":
    inbox, out = map(Path, sys.argv[1:])
    batch.grade(inbox, out, checks=Path(__file__).parent / "checks", jobs=2)
    (out / "parent.json").write_text(json.dumps({"peak_bytes": peak_of("self")}))
