"""Alterations of graphs: what would prove a part, carried out on models that still run."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchbox import costs
from benchbox.analysis.profile import Node, nodes_of
from benchbox.insight.alteration import Alteration, alterations
from benchbox.insight.blame import blames
from benchbox.insight.expected import expected
from benchbox.insight.file_graph import FileGraph
from benchbox.insight.folded import folded
from benchbox.insight.parts import Explained, explain
from benchbox.insight.predict.optimise import Optimiser
from benchbox.insight.surgery import altered
from benchbox.insight.widths import widened
from benchbox.runner.profile import file_nodes
from benchbox.specs import TensorSpec
from tests.helpers import onnx_models, profiled
from tests.insight.test_parts import KNOWN

WEIGHTS = {
    "w30": (30, 32, 1, 1),
    "dw30": (30, 1, 3, 3),
    "back30": (32, 30, 1, 1),
    "wide": (32, 32, 1, 1),
    "dw": (32, 1, 3, 3),
    "down": (8, 32, 1, 1),
    "up": (32, 8, 1, 1),
    "fc": (32, 64),
    "fc2": (64, 10),
    "c64": (64,),
    "grouped": (32, 4, 3, 3),
}
CONSTANTS = {"apart": [1, 2, 16, 8, 8], "whole": [1, 32, 8, 8]}
HEAD = "net (float[1,32,8,8] x) => (float[1,32,8,8] y) {"
SHUFFLED = f"""{HEAD} a = Conv(x, wide) b = Reshape(a, apart)
    c = Transpose<perm = [0, 2, 1, 3, 4]>(b) d = Reshape(c, whole) y = Conv(d, wide) }}"""
GATED = f"""{HEAD} a = Conv(x, wide) p = GlobalAveragePool(a) q = Conv(p, down) r = Relu(q)
    s = Conv(r, up) t = HardSigmoid(s) b = Mul(a, t) h = Tanh(b) c = Conv(h, wide)
    y = Add(x, c) }}"""
DEPTHWISE = f"""{HEAD} a = Conv(x, wide) b = Conv<group = 32, pads = [1, 1, 1, 1]>(a, dw)
    c = Relu(b) y = Conv(c, wide) }}"""
GROUPED = f"""{HEAD} a = Conv<group = 8, pads = [1, 1, 1, 1]>(x, grouped) y = Conv(a, wide) }}"""
CLASSIFIER = """net (float[1,32,8,8] x) => (float[1,10] y) { a = Conv(x, wide)
    p = GlobalAveragePool(a) f = Flatten(p) g = Gemm(f, fc, c64) h = HardSwish(g)
    y = MatMul(h, fc2) }"""


def model(text: str) -> onnx.ModelProto:
    found = onnx_models.naming(text, WEIGHTS, CONSTANTS)
    for node in found.graph.node:
        node.name = f"n_{node.output[0]}"
    return found


def shape(of: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in of.graph.input
    }


def facts(of: onnx.ModelProto) -> list[dict[str, Any]]:
    """The nodes that run of a model as an agent reports them."""
    with Optimiser() as optimiser:
        return [
            {**profiled.node(each.name, each.type, [10.0] * 8), "inputs": each.inputs}
            | {"outputs": each.outputs}
            for each in optimiser.operators(of, shape(of))
        ]


def file(of: onnx.ModelProto) -> list[Any]:
    case = SimpleNamespace(inputs=[TensorSpec(name, size) for name, size in shape(of).items()])
    return file_nodes(of, case, SimpleNamespace(observed={}))  # type: ignore[arg-type]


def explained(of: onnx.ModelProto, **us: float) -> Explained:
    """A model explained, each of whose nodes took 10 us, or what is given for its result."""
    nodes = facts(of)
    for each in nodes:
        name = each["name"].removeprefix("n_").removesuffix("_nchwc")
        each["us"] = [us.get(name, 10.0)] * 8
    latency_ms = sum(each["us"][0] for each in nodes) / 1e3
    latencies = {"default": latency_ms, "profiled": latency_ms}
    return explain(profiled.estimated(*nodes, file=file(of), added_us=0.0, **latencies), KNOWN)


def first(text: str, part: str, **us: float) -> tuple[onnx.ModelProto, Explained, Alteration]:
    """A model, its explanation, and what is altered first where a part is blamed."""
    found = model(text)
    why = explained(found, **us)
    (blame,) = [each for each in blames(why) if each.part == part]
    return found, why, next(alterations(blame, why, FileGraph(found, shape(found))))


def run(of: onnx.ModelProto) -> list[str]:
    """The types of the nodes of a model that is valid and runs."""
    onnx.checker.check_model(of, full_check=True)
    session = ort.InferenceSession(of.SerializeToString())
    session.run(None, {name: np.ones(size, np.float32) for name, size in shape(of).items()})
    return [node.op_type for node in of.graph.node]


def test_a_sentence_about_channels_is_checked_by_channels_alone() -> None:
    text = f"{HEAD} a = Conv(x, w30) b = Conv<group = 30>(a, dw30) y = Conv(b, back30) }}"
    found = model(text.replace("[1,32,8,8] y", "[1,32,6,6] y"))
    why = explained(found, b=100)
    blame, *_ = blames(why)
    assert [*alterations(blame, why, FileGraph(found, shape(found)))] == [Alteration({30: 32})]


@pytest.mark.parametrize(
    ("text", "part", "us", "counts", "left"),
    [
        (SHUFFLED, "data movement", {}, {"shuffle": 1}, ["Conv", "Identity", "Conv"]),
        # The squeeze goes with its product, and the longer branch stands for the sum.
        (
            GATED,
            "element-wise and pooling",
            {},
            {"Tanh": 1, "Mul": 1, "Add": 1},
            ["Conv", "Identity", "Identity", "Conv", "Identity"],
        ),
        # What a convolution computes at once goes with it.
        (DEPTHWISE, "blocked depthwise", {"c": 100.0}, {"Conv": 1}, ["Conv", "Identity", "Conv"]),
    ],
)
def test_what_is_left_out_leaves_a_graph_that_runs(
    text: str, part: str, us: dict[str, float], counts: dict[str, int], left: list[str]
) -> None:
    found, why, alteration = first(text, part, **us)
    assert alteration.counts == counts
    before = found.SerializeToString()
    made, shapes = altered(found, shape(found), alteration)
    assert (run(made), shapes) == (left, shape(found))
    assert found.SerializeToString() == before
    then = expected(why, nodes(made))
    assert then.parts[part] < 0.5 * why.parts[part]  # type: ignore[index]
    assert then.profile.latency_s < why.profile.latency_s


def nodes(of: onnx.ModelProto) -> list[Node]:
    made = facts(of)
    return [*nodes_of(made, file(of), [0.0] * len(made), [0.0] * len(made), 0.0)]


def test_weights_that_are_read_once_are_halved_where_no_others_read_the_results() -> None:
    found, why, alteration = first(CLASSIFIER, "weights read once", g=60, y=60)
    assert alteration.narrowed == {"g": 32, "y": 5}
    made, _ = altered(found, shape(found), alteration)
    run(made)
    arrays = {each.name: tuple(each.dims) for each in made.graph.initializer}
    assert {*arrays.values()} >= {(32, 32), (32, 5), (32,)} and (64, 10) not in arrays.values()
    then = expected(why, nodes(made))
    halves = why.parts["weights read once"] / 2
    assert then.parts["weights read once"] == pytest.approx(halves, rel=0.6)


def test_groups_that_fill_no_block_are_merged() -> None:
    found, why, alteration = first(GROUPED, "plain grouped", a=200)
    assert alteration.groups == {"a": (8, 2)}
    made, _ = altered(found, shape(found), alteration)
    run(made)
    assert costs.count(made).macs > costs.count(found).macs
    then = expected(why, nodes(made))
    assert all(each.kernel.is_blocked for each in then.nodes if each.kernel.kind == "grouped")
    assert then.parts["plain grouped"] == 0 < why.parts["plain grouped"]


def test_an_unaltered_graph_is_expected_to_take_what_it_takes() -> None:
    found = model(GATED)
    why = explained(found, a=33, c=44)
    assert expected(why, nodes(found)).profile.latency_s == pytest.approx(why.profile.latency_s)


def test_what_others_read_too_stays() -> None:
    found = model(GATED.replace("float[1,32,8,8] y)", "float[1,32,8,8] y, float[1,8,1,1] r)"))
    why = explained(found)
    graph = FileGraph(found, shape(found))
    by_part = {each.part: [*alterations(each, why, graph)] for each in blames(why)}
    (gate,) = by_part["weights read once"][-1:]
    made, _ = altered(found, shape(found), gate)
    assert "GlobalAveragePool" in run(made)
    assert gate.counts == {"Mul": 1}


def test_nothing_is_altered_for_what_no_alteration_proves() -> None:
    found = model(DEPTHWISE)
    why = explained(found, a=500)
    (blame,) = [each for each in blames(why) if each.part == "kernels below peak"]
    assert [*alterations(blame, why, FileGraph(found, shape(found)))] == []


BEHIND = """net (float[1,32,8,8] x) => (float[1,64] y) { s = Shape(x) g = Gather<axis = 0>(s, one)
    h = Div(g, two) i = Cast<to = 7>(h) b = Slice(x, nought, i, one) w = Identity(half)
    c = Conv(b, w) d = GlobalAveragePool(c) f = Flatten(d) t = Transpose(fc) u = Transpose(t)
    v = Shape<start = 1>(b) k = Squeeze(nought) l = Gather<axis = 0>(f, k) y = MatMul(f, u) }"""


def test_constants_are_computed_and_what_follows_from_known_shapes() -> None:
    numbers = {"nought": [0], "one": [1], "two": [2]}
    shapes = {"half": (32, 16, 1, 1), "fc": (32, 64)}
    found = onnx_models.naming(BEHIND, shapes, numbers)
    made = folded(found, shape(found), {"b": (1, 16, 8, 8)})
    assert run(made) == ["Slice", "Conv", "GlobalAveragePool", "Flatten", "Gather", "MatMul"]
    arrays = {w.name: onnx.numpy_helper.to_array(w) for w in made.graph.initializer}
    assert arrays["v"].tolist() == [16, 8, 8] and arrays["u"].shape == (32, 64)
    assert arrays["k"].shape == ()
    narrow, _ = widened(made, shape(made), {}, {"c": 8})
    assert "Conv" in run(narrow)
