"""The model of the page that draws, and what the page says where a part of it is missing."""

import gzip
import re
import sys
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from typer.testing import CliRunner

from cs348k_diffusion import recipes
from cs348k_diffusion.authoring import site
from cs348k_diffusion.authoring.site import drawing
from cs348k_diffusion.authoring.site.drawing import export, runtime
from cs348k_diffusion.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture
def npm(tmp_path):
    """A folder that looks like npm's package."""
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name in runtime.PARTS:
        (tmp_path / "package" / "dist" / name).write_bytes(name.encode())
    return tmp_path / "package"


def test_the_file_is_the_network_to_rounding_and_small():
    """By onnx's own evaluator, at inputs that the export has not seen."""
    from onnx import load_from_string
    from onnx.reference import ReferenceEvaluator

    made = export.student()
    assert len(made) <= export.LIMIT
    run = ReferenceEvaluator(load_from_string(gzip.decompress(made)))
    draw, generator = recipes.load_pipeline(export.NAME), torch.Generator().manual_seed(0)
    for text, t, scale, stride in (
        ("two orange cats left of a tall red tree at night", 1.0, 3.0, 1.0),
        ("a cat", 0.25, 6.0, 0.25),
    ):
        x = torch.randn(1, *draw.shape, generator=generator)
        inputs = (
            x,
            torch.tensor([t]),
            draw.condition([text])["caption"],
            torch.tensor([scale]),
            torch.tensor([stride]),
        )
        with torch.no_grad():
            want = draw.model.net(*inputs)
        with np.errstate(all="ignore"):
            got = run.run(None, {name: value.numpy() for name, value in zip(export.INPUTS, inputs, strict=True)})[0]
        torch.testing.assert_close(torch.tensor(got), want, atol=1e-4, rtol=1e-4)


def test_without_onnx_one_sentence_says_what_to_install(npm, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RuntimeError, match=r"cs348k_diffusion\[site\]"):
        drawing.write(tmp_path, npm)


def test_the_runtime_is_copied_from_the_package_or_its_dist(npm, tmp_path):
    for k, folder in enumerate((npm, npm / "dist")):
        (tmp_path / f"out{k}").mkdir()
        assert runtime.copy(folder, tmp_path / f"out{k}") == sum(map(len, runtime.PARTS))
        assert {path.name for path in (tmp_path / f"out{k}").iterdir()} == set(runtime.PARTS)


def test_another_folder_is_refused_by_the_part_it_lacks(npm, tmp_path):
    (npm / "dist" / runtime.PARTS[2]).unlink()
    with pytest.raises(ValueError, match=f"has no {runtime.PARTS[2]}; npm pack onnxruntime-web@"):
        runtime.copy(npm, tmp_path)


def test_the_runtime_may_wait_in_the_users_cache(npm, tmp_path, monkeypatch):
    monkeypatch.delenv("CS348K_ONNXRUNTIME_WEB", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    assert runtime.find() is None
    kept = tmp_path / "cache" / "cs348k_diffusion" / "onnxruntime-web"
    kept.mkdir(parents=True)
    assert runtime.find() == kept
    monkeypatch.setenv("CS348K_ONNXRUNTIME_WEB", str(tmp_path))
    assert runtime.find() == tmp_path
    assert runtime.find(npm) == npm


def test_the_command_says_how_to_get_the_runtime_and_builds_the_rest(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(site, "build", lambda out, *_, **named: asked.update(named) or [])
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    monkeypatch.delenv("CS348K_ONNXRUNTIME_WEB", raising=False)
    done = CliRunner().invoke(app, ["site", "--out", str(tmp_path / "site")])
    assert done.exit_code == 0
    assert runtime.MISSING in done.stderr
    assert asked["runtime"] is None
    done = CliRunner().invoke(app, ["site"], env={"CS348K_ONNXRUNTIME_WEB": str(tmp_path)})
    assert done.stderr == ""
    assert asked["runtime"] == tmp_path


def test_without_the_runtime_the_page_says_so(tmp_path):
    drawing.write(tmp_path, None)
    page = (tmp_path / "draw.md").read_text(encoding="utf-8")
    assert "without the runtime" in page
    assert "npm pack onnxruntime-web@" in page
    assert not [path for path in (tmp_path / "_static").rglob("*") if path.name in (*drawing.WORKER, drawing.MODEL)]


def test_ci_fetches_the_version_that_the_page_names():
    assert set(re.findall(r"onnxruntime-web@([\d.]+)", (ROOT / ".ci" / "run").read_text())) == {runtime.VERSION}
