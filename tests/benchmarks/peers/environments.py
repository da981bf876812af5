"""An environment for each library beside the course's: its own packages, and torch and NumPy of the course."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from contestants import CONTESTANTS

ROOT = Path(__file__).parents[3]
HOME = ROOT / "build" / "peers"  # `make clean` removes it
COURSE = "course.pth"  # a line in it is a folder where Python looks too


def python(name: str) -> Path:
    """The Python in which that contestant runs, made and filled on the first call. CalledProcessError without pip."""
    installs = CONTESTANTS[name].installs
    if not installs:
        return Path(sys.executable)
    home, ready = HOME / "environments" / name, HOME / "environments" / f"{name}.json"
    interpreter = home / "bin" / "python"
    if not ready.is_file() or json.loads(ready.read_text()) != list(installs):
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps", *installs]
        subprocess.run(pip, check=True)
        inside = sysconfig.get_path("purelib", "venv", {"base": str(home)})
        Path(inside, COURSE).write_text(sysconfig.get_path("purelib") + "\n")
        ready.write_text(json.dumps(list(installs)))
    return interpreter


def environment() -> dict[str, str]:
    """The variables of a contestant's process: one thread, nothing to download."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
