"""Names of nodes in files of others: the modules in them, and those that are missing."""

import onnx
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
