"""The student as a file that a browser evaluates: its network as ONNX, with weights in float16, compressed.

    v = net(x, t, caption, scale, stride)

The schedule, the step and the noise are a page of JavaScript beside it, walk.js. Weights are shipped in float16, so
nothing is lost; each is cast to float32 when the model is loaded, and all arithmetic is float32.
"""

from __future__ import annotations

import gzip
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cs348k_diffusion import recipes

NAME = "pictures_fast"
INPUTS = ("x", "t", "caption", "scale", "stride")
OPSET = 17
LIMIT = 5_000_000  # bytes that a visitor loads
EXTRA = "the page that draws needs onnx: install the course with its extra, cs348k_diffusion[site]"


def student() -> bytes:
    """The shipped student as ONNX, compressed by gzip: one picture at a time, at most 5 MB.

    Inputs: x (1, 3, 32, 32); t, scale and stride (1,), float32; caption (1, 24), int64. Output: v, shaped like x.
    Raises RuntimeError without the package `onnx`, ValueError above 5 MB.
    """
    made = gzip.compress(exported(recipes.load_pipeline(NAME).model.net, example()), 9, mtime=0)
    if len(made) > LIMIT:
        raise ValueError(f"{NAME} takes {len(made) / 1e6:.1f} MB as ONNX, a page loads at most {LIMIT / 1e6:.0f}")
    return made


def example() -> tuple[torch.Tensor, ...]:
    """One input of each kind."""
    draw = recipes.load_pipeline(NAME)
    caption = draw.condition(["a cat"])["caption"]
    return torch.zeros(1, *draw.shape), torch.ones(1), caption, torch.ones(1), torch.ones(1)


def exported(net: nn.Module, inputs: tuple[torch.Tensor, ...]) -> bytes:
    """The network as ONNX for inputs of these shapes. RuntimeError without `onnx`."""
    try:
        import onnx
    except ImportError as error:
        raise RuntimeError(EXTRA) from error
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants, which is what is wanted
        path = Path(folder) / "network.onnx"
        # the older of torch's two exporters: the other needs onnxscript too
        torch.onnx.export(
            net.eval(), inputs, path, dynamo=False, opset_version=OPSET, input_names=INPUTS, output_names=["v"]
        )
        model = onnx.load(path)
    halve(model)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def halve(model: Any) -> None:
    """Store the weights in float16; a node casts each to the float32 that the others expect."""
    from onnx import TensorProto, helper, numpy_helper

    casts, graph = [], model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            name = weight.name
            stored = numpy_helper.to_array(weight).astype("float16")
            weight.CopyFrom(numpy_helper.from_array(stored, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
