"""Quantisation of a graph to int8, and the kernels that run it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchbox import export
from benchbox.agent.ort.runtime import OnnxRuntime
from benchbox.errors import CaseError
from benchbox.export import entries, int8, ort_call
from benchbox.export.graph import Graph
from benchbox.specs import Case, OnnxFile, TensorSpec
from tests.conftest import WriteOnnx

NET = """g (float[1,8,8,8] x) => (float[1,4] y) {
    w = ConstantOfShape<value = float[1] {0.1}>(ws) m = ConstantOfShape<value = float[1] {0.2}>(ms)
    c = Conv(x, w) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, m) }"""
SHAPES = "<int64[4] ws = {8,8,3,3}, int64[2] ms = {8,4}>"
FEEDS = {"x": np.random.default_rng(0).standard_normal((1, 8, 8, 8), dtype=np.float32)}
AGAIN = """
import sys; from pathlib import Path; import numpy as np; from benchbox.export import int8
data = np.random.default_rng(0).standard_normal((1, 8, 8, 8), dtype=np.float32)
int8.quantise(Path(sys.argv[1]), Path(sys.argv[2]), {"x": data}, is_dynamic=False)
"""


@pytest.fixture
def net(write_onnx: WriteOnnx, shared_cache: Path) -> Path:
    assert shared_cache
    entries.graphs().mkdir(parents=True, exist_ok=True)
    return write_onnx("net", NET.replace(" {\n", f" {SHAPES} {{\n", 1))


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def kernels(path: Path) -> Mapping[str, int]:
    inputs = [{"name": "x", "shape": [1, 8, 8, 8], "dtype": "float32"}]
    load = {"provider": "CPUExecutionProvider", "seed": 0, "types": "operators", "inputs": inputs}
    return OnnxRuntime().types(load | {"path": str(path)}) or {}


def test_a_static_graph_runs_integer_kernels(net: Path, tmp_path: Path) -> None:
    target = tmp_path / "int8.onnx"
    int8.quantise(net, target, FEEDS, is_dynamic=False)
    model = onnx.load(target)
    assert {opset.domain for opset in model.opset_import} == {""}
    (scales,) = (
        onnx.numpy_helper.to_array(each).shape
        for each in model.graph.initializer
        if each.name == "w_scale"
    )
    assert scales == (8,), "one for each channel"
    assert {"QLinearConv:uint8", "QLinearGlobalAveragePool:uint8"} <= kernels(target).keys()


def test_equal_graphs_become_equal_bytes(net: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.onnx", tmp_path / "there.onnx"
    int8.quantise(net, here, FEEDS, is_dynamic=False)
    command = [sys.executable, "-c", AGAIN, str(net), str(there)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert here.read_bytes() == there.read_bytes()


def test_a_dynamic_graph_quantises_activations_in_the_call(net: Path, tmp_path: Path) -> None:
    target = tmp_path / "dynamic.onnx"
    int8.quantise(net, target, FEEDS, is_dynamic=True)
    assert {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"} <= operators(target)
    assert any(name.startswith(("ConvInteger", "DynamicQuantize")) for name in kernels(target))


def test_a_graph_of_an_older_opset_is_quantised_by_channel(net: Path, tmp_path: Path) -> None:
    old, target = tmp_path / "old.onnx", tmp_path / "int8.onnx"
    model = onnx.load(net)
    model.opset_import[0].version = 11
    onnx.save(model, old)
    int8.quantise(old, target, FEEDS, is_dynamic=False)
    assert "QuantizeLinear" in operators(target)


ATTENTION = """<ir_version: 10, opset_import: ["" : 23]>
g (float[1,2,8,8] x) => (float[1,2,8,8] y) <int64[2] s = {8,8}> {
    w = ConstantOfShape<value = float[1] {0.1}>(s) a = MatMul(x, w) y = Attention(a, x, x) }"""


@pytest.mark.parametrize("is_dynamic", [False, True])
@pytest.mark.usefixtures("net")
def test_attention_of_onnx_stays_as_it_is(tmp_path: Path, is_dynamic: bool) -> None:
    source, target = tmp_path / "attention.onnx", tmp_path / "int8.onnx"
    onnx.save(onnx.parser.parse_model(ATTENTION), source)
    feeds = {"x": FEEDS["x"][:, :2]}
    int8.quantise(source, target, feeds, is_dynamic=is_dynamic)
    assert "Attention" in operators(target)
    assert ort_call.run(target, feeds)[0].shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{ y = Sin(x) }", "nothing in it can be made int8: it has Sin"),
        ("{ y = nowhere.Blorp(x) }", "it cannot be made int8: "),
    ],
)
@pytest.mark.usefixtures("net")
def test_what_cannot_be_quantised_fails_the_case(
    write_onnx: WriteOnnx, tmp_path: Path, body: str, sentence: str
) -> None:
    path = write_onnx("bad", f"g (float[1,8,8,8] x) => (float[1,8,8,8] y) {body}")
    with pytest.raises(CaseError, match=sentence):
        int8.quantise(path, tmp_path / "int8.onnx", FEEDS, is_dynamic=False)


def test_calibration_looks_a_table_up_all_over(net: Path, write_onnx: WriteOnnx) -> None:
    path = write_onnx("ids", "g (int64[1,8] i) => (y) { x = Gather(t, i) y = MatMul(x, w) }")
    model = onnx.load(path)
    tables = {"t": np.arange(400.0).reshape(100, 4), "w": np.ones((4, 4))}
    for name, table in tables.items():
        tensor = onnx.numpy_helper.from_array(table.astype(np.float32), name)
        model.graph.initializer.append(tensor)
    onnx.save(model, path)
    inputs = (TensorSpec("i", (1, 8), "int64"),)
    case = Case("ids", "ids", {}, {}, inputs, 1, OnnxFile(path), conversion="int8")
    graph = export.prepare([case])[case.key]
    assert isinstance(graph, Graph) and net
    initializers = onnx.load(graph.path).graph.initializer
    (scale,) = (onnx.numpy_helper.to_array(t) for t in initializers if t.name == "y_scale")
    assert scale > 500 / 255, "of the sums of 0 to 1594, of which ids of 0 and 1 give 6 and 22"
