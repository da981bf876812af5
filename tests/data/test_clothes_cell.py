"""Notebook 08 on Fashion-MNIST: with a student's files it measures, without them it says so and fetches nothing."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from cs348k_diffusion.data.fashion import CHECKSUMS
from cs348k_diffusion.latent import PCACodec

NOTEBOOK = Path(__file__).parents[2] / "solutions" / "08_latent_diffusion.ipynb"


def run(monkeypatch, folder: str) -> None:
    monkeypatch.setenv("CS348K_FASHION_DIR", folder)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (source,) = ("".join(cell["source"]) for cell in cells if cell["id"] == "clothes")
    exec(source, {"torch": torch, "Tensor": torch.Tensor, "PCACodec": PCACodec})


@pytest.fixture
def folder(tmp_path):
    """Files of the right shapes; the pictures are smooth, so that a linear code has something to leave out."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.rand(10_000, 7, 7, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
    grain = torch.rand(10_000, 28, 28, generator=generator)
    arrays = {
        "images-idx3": (200 * waves + 55 * grain).byte(),
        "labels-idx1": torch.arange(10_000).remainder(10).byte(),
    }
    for name in CHECKSUMS:
        if name.startswith("t10k"):
            array = next(value for kind, value in arrays.items() if kind in name)
            head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            (tmp_path / name).write_bytes(gzip.compress(head + array.numpy().tobytes(), 1))
    return tmp_path


def test_with_the_files_both_comparisons_get_a_verdict(folder, monkeypatch, capsys):
    run(monkeypatch, str(folder))
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [f"log10 error of f = 4, d = 8 lower than of f = {f}, d = {d}" for f, d in ((8, 8), (4, 4))]
    words = ("supported", "refuted", "not resolved")
    assert all(line.startswith("    by +0.") and line.endswith(words) for line in lines[1::2])


def test_without_them_one_sentence_says_what_to_do(monkeypatch, capsys):
    monkeypatch.delattr("pooch.retrieve")  # nothing is fetched that was not asked for
    run(monkeypatch, "")
    told = capsys.readouterr().out
    assert "Set FOLDER" in told
    assert "DOWNLOAD = True" in told
