from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from benchbox import export
from benchbox.costs import count
from benchbox.errors import CaseError, GraphError
from benchbox.specs import Selection, onnx_inputs
from tests.helpers.onnx_models import (
    DATA,
    FLOAT,
    K,
    convolution,
    einsum,
    model,
    one,
    product,
    text,
    weight,
)


@pytest.mark.parametrize(
    "built",
    [
        model([helper.make_node("Conv", [], ["y"])], {}),
        model([helper.make_node("MatMul", ["x", "x"], [])], {"x": (3, 3)}, outputs=()),
        convolution(DATA, K, group=0),
        convolution(DATA, (4, 2, 3, 3)),
        convolution(DATA, (4, 3)),
        product((2, 3), (4, 5), "Gemm"),
        product((2, 3, 4), (4, 5), "Gemm"),
        product((2, 3), (4, 5)),
        product((), (4, 5)),
        einsum("ijk,jk", (2, 3), (3, 4)),
        einsum("ij", (2, 3), (3, 4)),
        einsum("ij,jk->ik", (2, 3), (4, 5)),
        einsum(None, (2, 3), (3, 4)),
        one("LSTM", {"x": (7, 3, 5), "w": (1, 32, 4), "r": (1, 32, 8)}, hidden_size=8),
        one("LSTM", {"x": (7, 3), "w": (1, 32, 4), "r": (1, 32, 8)}, hidden_size=8),
        one("If", {"c": ()}),
        model([helper.make_node("Relu", ["nothing"], ["y"])], {}),
        model([helper.make_node("Relu", ["y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])], {}),
        model([helper.make_node("Relu", ["x"], ["y"])] * 2, {"x": (1,)}),
        model([], {"x": (1,)}),
        onnx.load_model_from_string(  # a name that is no UTF-8
            one("Relu", {"x": (1,)}).SerializeToString().replace(b"\x01x", b"\x01\xff")
        ),
        one("Relu", {}, TensorProto(name="x", dims=[-3], data_type=FLOAT)),
        one("Relu", {}, TensorProto(name="x", dims=[3], data_type=99)),
    ],
)
def test_a_malformed_graph_is_refused_in_one_line(built: onnx.ModelProto) -> None:
    with pytest.raises(GraphError) as caught:
        count(built)
    assert "\n" not in str(caught.value)


def test_graphs_at_which_counting_would_not_end_are_refused_before(tmp_path: Path) -> None:
    """ONNX Runtime opens and runs a file before anything of it is counted, in a process of its own.

    At such an equation onnx's inference of shapes never ends; deeper bodies are not even parsed.
    """
    nested = one("Relu", {"x": (1,)})
    graph = nested.graph
    for _ in range(30):
        attribute = graph.node.add(op_type="Loop").attribute.add(name="body")
        attribute.type, graph = attribute.GRAPH, attribute.g
        graph.name = "body"
    endless = {
        "equation": einsum(b"ij\x80,jk", (2, 3), (3, 4)),
        "nested": nested,
        "recursive": text(
            "g (float[1] x) => (y) { y = lib.F(x) }"
            '<opset_import: ["lib": 1], domain: "lib"> F (a) => (b) { b = lib.F(a) }'
        ),
    }
    cases = []
    for name, built in endless.items():
        (tmp_path / f"{name}.onnx").write_bytes(built.SerializeToString())
        cases += onnx_inputs.spec(tmp_path / f"{name}.onnx").cases(Selection())
    outcomes = export.prepare(cases)
    for case in cases:
        assert isinstance(outcomes[case.key], CaseError)
        assert "\n" not in str(outcomes[case.key])
        assert "the export process" not in str(outcomes[case.key])  # it did not die of it


def sample() -> onnx.ModelProto:
    body = """g (float[N,3,8,8] x, bool c) => (y) <int64[2] s = {0, -1}> {
        a = Conv<kernel_shape = [3, 3], group = 1>(x, w)
        b = Reshape(a, s)
        d = Gemm<transB = 1>(b, b)
        e = Gemm<transB = 1>(d, d)
        z = If (c) <then_branch = t () => (p) { p = Relu(e) },
                    else_branch = f () => (p) { q = MatMul(e, e) p = Identity(q) }>
        y = Clip(z)
    }"""
    return text(body, weight("w", *K))


@settings(max_examples=60)
@given(data=st.data())
def test_no_loss_of_a_part_ends_in_anything_but_a_graph_error(data: st.DataObject) -> None:
    built = sample()
    node = data.draw(st.sampled_from(list(built.graph.node)))
    part = data.draw(st.sampled_from([node.attribute, node.input, node.output, built.graph.node,
                                      built.graph.input, built.graph.initializer,
                                      built.graph.output, built.opset_import]))  # fmt: skip
    if part:
        del part[data.draw(st.integers(0, len(part) - 1))]
    for attribute in node.attribute:
        attribute.type = data.draw(
            st.sampled_from([attribute.type, attribute.FLOAT, attribute.INT])
        )
    for shapes in ({}, {"x": (2, 3, 8, 8)}):
        try:
            cost = count(built, shapes)
        except GraphError as error:
            assert "\n" not in str(error)
        else:
            assert cost.macs >= 0
            assert cost == count(built, shapes)
