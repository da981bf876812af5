"""Where onnxruntime-web is: npm's package, 14 MB of WebAssembly by others, which the course neither has nor fetches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

VERSION = "1.30.0"  # tested; the page needs no other
PARTS = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
HOW = f"npm pack onnxruntime-web@{VERSION} && tar xzf onnxruntime-web-{VERSION}.tgz, then cs348k site --runtime package"
MISSING = f"the page that draws is without its runtime, 14 MB that the course does not have: {HOW}"


def find(folder: Path | None = None) -> Path | None:
    """The folder given, or named by CS348K_ONNXRUNTIME_WEB, or onnxruntime-web in the user's cache; None without."""
    import pooch

    if folder is None and (named := os.environ.get("CS348K_ONNXRUNTIME_WEB")):
        folder = Path(named)
    kept = pooch.os_cache("cs348k_diffusion") / "onnxruntime-web"
    return folder or (kept if kept.is_dir() else None)


def copy(runtime: Path, folder: Path) -> int:
    """Copy what the page loads into `folder`; returns its bytes. ValueError where `runtime` lacks a part."""
    places = [next((runtime / part / name for part in ("dist", ".") if (runtime / part / name).is_file()), None)
              for name in PARTS]  # fmt: skip
    lost = [name for name, place in zip(PARTS, places, strict=True) if place is None]
    if lost:
        raise ValueError(f"{runtime} is not a folder of onnxruntime-web: it has no {lost[0]}; {HOW}")
    for place in filter(None, places):
        shutil.copyfile(place, folder / place.name)
    return sum(place.stat().st_size for place in filter(None, places))
