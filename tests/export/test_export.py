"""Modules of builders as graphs: exact, named, and refused where they cannot be built."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from benchbox.errors import SpecError
from benchbox.export import cache, user_builder
from benchbox.export.graph import OPSET
from benchbox.specs import Builder, Case, TensorSpec
from tests.export.conftest import IMAGE, MINE, Exporter, Inputs

EVERY: Inputs = (TensorSpec("x", (1, 3, 16, 16)), TensorSpec("y", (3, 4, 5)))

ODD: Inputs = (TensorSpec("x", (1, 4, 5, 9)),)


@pytest.mark.slow
def test_a_module_becomes_a_graph_that_equals_it(exporter: Exporter) -> None:
    graph = exporter.graph(exporter.case("conv", c=6))
    assert (graph.opset, graph.batch_norm, graph.beside) == (18, "none", [])
    assert graph.max_abs_error is not None
    assert 0 <= graph.max_abs_error <= 1e-4
    assert graph.cost.known_macs == 4 * 6 * 8 * 8
    assert graph.cost.params == 4 * 6 + 6
    assert graph.versions == cache.versions()
    assert graph.size_bytes == graph.path.stat().st_size
    model = onnx.load(graph.path)
    onnx.checker.check_model(model)
    assert [i.name for i in model.graph.input] == ["x"]
    assert model.opset_import[0].version == OPSET
    (graph.path.parent / cache.FACTS).unlink()
    assert exporter.graph(exporter.case("conv", c=6)).sha256 == graph.sha256, "the same bytes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs", "batch_norm"),
    [
        ("normed", IMAGE, "folded"),
        ("norm_first", IMAGE, "kept"),
        ("embed", (TensorSpec("ids", (1, 5), "int64"), TensorSpec("mask", (1, 5), "bool")), "none"),
    ],
)
def test_inputs_are_named_and_what_became_of_batch_norm_is_said(
    exporter: Exporter, name: str, inputs: Inputs, batch_norm: str
) -> None:
    graph = exporter.graph(exporter.case(name, inputs))
    assert graph.batch_norm == batch_norm
    assert ("BatchNormalization" in graph.cost.ops) == (batch_norm == "kept")
    assert [i.name for i in onnx.load(graph.path).graph.input] == [each.name for each in inputs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "names"),
    [
        (
            "everything",
            "down.0/Conv down.1/Relu deep/Conv wide/Conv /Add up/ConvTranspose /ReduceMean "
            "head/Gemm /Transpose /MatMul /MatMul_1 rows/MatMul rows/Add",
        ),
        ("twice", "body.0/Conv body.1/Relu body.0/Conv_1 body.1/Relu_1"),
    ],
)
def test_nodes_carry_the_path_of_their_module(exporter: Exporter, name: str, names: str) -> None:
    graph = exporter.graph(exporter.case(name, EVERY if name == "everything" else IMAGE))
    found = onnx.load(graph.path).graph
    assert [node.name for node in found.node] == names.split()
    results = {node.output[0] for node in found.node} - {each.name for each in found.output}
    assert results < set(names.split())
    if name == "everything":
        assert (graph.cost.known_macs, graph.cost.params) == (29612, 560), "FlopCounterMode's"


@pytest.mark.slow
@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_a_gate_is_resized_to_an_odd_size_by_one_operator(
    exporter: Exporter, upsample: str
) -> None:
    ops = exporter.graph(exporter.case("gate", ODD, upsample=upsample)).cost.ops
    assert "Resize" in ops
    assert not ops.keys() & {"Shape", "Gather", "Cast", "Slice", "Expand", "Unsqueeze"}


READER = """
import json, pathlib, torch
def build():
    return torch.nn.Linear(8, json.loads((pathlib.Path(__file__).parent / "size.json").read_text()))
"""


@pytest.mark.slow
def test_a_graph_is_made_anew_when_what_its_builder_read_has_changed(
    exporter: Exporter, tmp_path: Path
) -> None:
    (tmp_path / "reader.py").write_text(READER)
    source = Builder("reader.py:build", tmp_path / "reader.py")
    case = Case("reader", "reader", {}, {}, IMAGE, 1, source)
    params = []
    for text in ("4", "6", "6 "):
        (tmp_path / "size.json").write_text(text)
        assert cache.lookup(cache.key(case), case) is None
        params.append(exporter.graph(case).cost.params)
    assert params == [36, 54, 54]
    shutil.copytree(tmp_path, copy := tmp_path / "copy")
    moved = replace(case, source=Builder("reader.py:build", copy / "reader.py"))
    assert cache.lookup(cache.key(moved), moved)
    (copy / "size.json").unlink()
    assert cache.lookup(cache.key(moved), moved) is None
    assert cache.lookup(cache.key(case), case)


@pytest.mark.slow
def test_a_builder_that_raises_fails_its_case_alone(exporter: Exporter) -> None:
    failing = exporter.case("scaled", by=-1.0)
    line = 1 + MINE[: MINE.index("raise ValueError")].count("\n")
    said = f"ValueError: negative scales do not exist (mine.py:{line})"
    assert exporter.error(failing) == ("case", said)
    ended = exporter.case("scaled", by=0)
    assert exporter.error(ended) == ("case", "BaseException: none at all")
    kind, error = exporter.error(exporter.case("scaled", wrong=1))
    assert (kind, "unexpected keyword argument 'wrong'" in error) == ("case", True)
    assert exporter.graph(exporter.case("scaled", by=2.0)).cost.ops
    kind, error = exporter.error(exporter.case("scaled", by=3e38))
    assert (kind, error.startswith("output 1 is not finite")) == ("case", True)
    assert "of 256 values" in error
    kind, error = exporter.error(exporter.case("branch"))
    assert kind == "case"
    assert re.search(r"\(mine.py:\d+\)$", error), error
    assert "\x1b" not in error
    assert "Exception summary" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_module", "builder 'mine.py:no_module' returned list, not an nn.Module"),
        ("not_callable", "has no callable 'not_callable'"),
    ],
)
def test_a_builder_that_can_never_work_is_a_spec_error(
    exporter: Exporter, name: str, reason: str
) -> None:
    kind, error = exporter.error(exporter.case(name))
    assert kind == "spec"
    assert reason in error


@pytest.mark.usefixtures("restored_path")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def build(:", "SyntaxError"),
        ("raise SystemExit('usage: me')", "SystemExit: usage: me"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_builder_that_does_not_import_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / f"broken_{abs(hash(text))}.py"
    path.write_text(text)
    with pytest.raises(SpecError, match=f"does not import: .*{reason}"):
        user_builder.resolve("broken.py:build", str(path))


@pytest.mark.usefixtures("restored_path")
def test_a_builder_imports_what_lies_beside_it_and_not_beside_another(tmp_path: Path) -> None:
    for width in (8, 16):
        (tmp_path / str(width)).mkdir()
        (tmp_path / str(width) / "beside_both.py").write_text(f"WIDTH = {width}")
        lone = tmp_path / str(width) / "lone.py"
        lone.write_text("from beside_both import WIDTH\ndef build(): return WIDTH")
        with user_builder.own_modules():
            assert user_builder.resolve("lone.py:build", str(lone))() == width


def test_a_module_in_the_current_folder_is_found_last(in_tmp: Path) -> None:
    (in_tmp / "my_blocks.py").write_text("def build(): return 8")
    (in_tmp / "json.py").write_text("raise SystemExit('the wrong json')")
    (in_tmp / "my_json.py").write_text("from json import dumps\ndef build(): return dumps")
    assert user_builder.resolve("my_blocks:build", None)() == 8
    assert user_builder.resolve("my_json:build", None)() is json.dumps
    for name in ("my_blocks", "my_json"):
        sys.modules.pop(name)
