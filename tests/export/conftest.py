"""Files of builders, and cases whose weights are in a file beside their graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchbox.specs import Case, OnnxFile, TensorSpec


def builders(folders: pytest.TempPathFactory, text: str) -> Path:
    path = folders.mktemp("builders") / "mine.py"
    path.write_text(text)
    return path


def external_case(folder: Path) -> Case:
    """A case of a product whose weight, 64x64, is in w.bin beside its file."""
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 64]) for n in "xy")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return Case("e", "e", {}, {}, (TensorSpec("x", (1, 64)),), 1, OnnxFile(path))
