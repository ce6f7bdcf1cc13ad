"""Names of nodes: as they are exported, and the modules in those of others."""

import onnx
import onnx_ir
import pytest

from benchbox.export import names
from tests.helpers import onnx_models

SCOPES = "pkg.torch.onnx.name_scopes"


def named(*given: str) -> onnx.ModelProto:
    """A chain of convolutions with these names."""
    body = " ".join(f"t{at + 1} = Conv(t{at}, w)" for at in range(len(given)))
    text = f"g (float[1,8,4,4] t0) => (float[1,8,4,4] t{len(given)}) {{ {body} }}"
    model = onnx_models.text(text, *onnx_models.weights(w=(8, 8, 1, 1)))
    for node, name in zip(model.graph.node, given, strict=True):
        node.name = name
    return model


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("backbone.blocks.4.conv/Conv_1", "backbone.blocks.4.conv"),  # benchbox's
        ("/features/features.0/features.0.1/Conv", "features.0.1"),  # of torch's older exporter
        ("/layers.3/self_attn/q_proj/MatMul", "layers.3.self_attn.q_proj"),
        ("model/block1_conv1/Conv2D", "model.block1_conv1"),
        ("features.0.conv.Conv_7", "features.0.conv"),
        ("features.0.proj", "features.0.proj"),
        ("/Conv", ""),
    ],
)
def test_a_module_is_read_from_a_name(name: str, module: str) -> None:
    assert names.modules(named("/first/Conv", name))[name] == module


def test_a_node_without_a_module_is_of_the_one_before_it_or_else_after() -> None:
    found = names.modules(named("Conv_0", "/a/Conv", "Conv_2", "/b/Conv"))
    assert [*found.values()] == ["a", "a", "a", "b"]


def test_nothing_names_modules_where_names_are_bare() -> None:
    assert names.modules(named("Conv_0", "", "/Conv", "node_conv2d_1")) == {}


def test_scopes_of_torchs_exporter_count_before_the_name() -> None:
    model = named("node_conv2d", "node_conv2d_1")
    for node, scopes in zip(
        model.graph.node, (["", "body", "body.0@1", "conv2d"], ["conv2d_1"]), strict=True
    ):
        node.metadata_props.add(key=SCOPES, value=repr(scopes))
    assert [*names.modules(model).values()] == ["body.0", "body.0"]
    model.graph.node[0].metadata_props[0].value = "no list"
    assert names.modules(model) == {}


def test_each_node_has_a_name_of_its_own_in_the_end() -> None:
    model = named("a", "", "a", "Conv_1")
    assert names.complete(model)
    found = [node.name for node in model.graph.node]
    assert len(set(found)) == 4
    assert found[1:] == ["Conv_1_1", "a", "Conv_1"]
    assert not names.complete(model)


def test_exported_nodes_are_named_after_the_module_that_torch_notes() -> None:
    text = (
        "g (float[1,8,4,4] x) => (float[1,8,4,4] y) "
        "{ a = Conv(x, w) b = Relu(a) c, d = Split<axis = 1, num_outputs = 2>(b) y = Add(c, d) }"
    )
    model = onnx_models.text(text, *onnx_models.weights(w=(8, 8, 1, 1)))
    model.graph.node[0].input[1] = model.graph.initializer[0].name = "body.conv.weight"
    model.graph.input[0].name = model.graph.node[0].input[0] = "body/Relu"
    scopes = ["", "body", "body.norm", "norm"], ["", "body", "relu"], None, ["", "add"]
    for node, each in zip(model.graph.node, scopes, strict=True):
        if each:
            node.metadata_props.add(key=SCOPES, value=repr(each))
    ir_model = onnx_ir.from_proto(model)
    names.assign(ir_model)
    found = onnx_ir.to_proto(ir_model)
    onnx.checker.check_model(found)
    assert {node.name: list(node.output) for node in found.graph.node} == {
        "body.conv/Conv": ["body.conv/Conv"],  # whose norm was folded into it
        "body/Relu": ["b"],  # an input has that name
        "body/Split": ["body/Split", "body/Split:1"],  # a rewrite made it
        "/Add": ["y"],
    }
