"""Operators sorted into categories, and the estimate of a profile."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from benchbox.analysis.attention import with_attention
from benchbox.analysis.operators import CATEGORIES, OPERATORS, Operation, classify
from benchbox.analysis.origins import FileNode
from benchbox.analysis.parts import split
from benchbox.analysis.profile import estimate, typical
from tests.helpers.profiled import Costs, estimated, node, reply

# categories

IMAGE = (1, 8, 6, 6)
MATMUL = "Gemm MatMul FusedMatMul MatMulInteger QGemm QLinearMatMul MatMulNBits Einsum"
ATTENTION = "BiasSoftmax Attention MultiHeadAttention GroupQueryAttention QAttention"


@pytest.mark.parametrize(
    ("operation", "category"),
    [
        (Operation("Conv", [IMAGE, (16, 8, 3, 3)], [(1, 16, 6, 6)]), "convolution"),
        (Operation("Conv", [IMAGE, (8, 1, 3, 3)], [IMAGE]), "depthwise"),
        (Operation("Conv", [IMAGE, (16, 1, 3, 3)], [(1, 16, 6, 6)]), "depthwise"),
        (Operation("Conv", [(1, 1, 6, 6), (16, 1, 3, 3)]), "convolution"),
        (Operation("Conv", [(1, 8, 6), (8, 1, 3)]), "depthwise"),
        (Operation("Conv", [None, (8, 1, 3, 3)]), "convolution"),
        (Operation("NhwcFusedConv", [(1, 6, 6, 8), (8, 1, 3, 3)]), "depthwise"),
        (Operation("NhwcFusedConv", [(1, 6, 6, 1), (8, 1, 3, 3)]), "convolution"),
        (Operation("QLinearConv", [IMAGE, (), (), (8, 1, 3, 3)]), "depthwise"),
        (Operation("ConvTranspose", [IMAGE, (8, 1, 3, 3)], [(1, 8, 8, 8)]), "depthwise"),
        (Operation("ConvTranspose", [IMAGE, (8, 1, 3, 3)], [(1, 1, 8, 8)]), "convolution"),
        (Operation("ConvInteger", [IMAGE, (16, 8, 3, 3)]), "convolution"),
        (Operation("Add", [IMAGE, IMAGE], [IMAGE]), "element-wise"),
        (Operation("Concat"), "data movement"),
        *((Operation(each), "matmul") for each in MATMUL.split()),
        *((Operation(each), "attention") for each in ATTENTION.split()),
        (Operation("GemmaRotaryEmbedding"), "other"),
        (Operation("NobodyKnows"), "other"),
    ],
)
def test_an_operator_belongs_to_one_category(operation: Operation, category: str) -> None:
    assert classify([operation]) == [category]


def test_every_operator_of_the_table_is_one_that_onnx_or_its_runtime_has() -> None:
    assert OPERATORS.keys() <= {schema.name for schema in get_all_operator_schema()}
    assert set(OPERATORS.values()) <= set(CATEGORIES)


RELU = Operation("Relu", [IMAGE], [IMAGE])


def rearranged(
    shape: Sequence[int], split: Sequence[int], order: Sequence[int], after: Sequence[int]
) -> list[Operation]:
    """A tensor split, transposed and put together again."""
    transposed = [split[axis] for axis in order]
    return [
        Operation("Reshape", [shape, (len(split),)], [split]),
        Operation("Transpose", [split], [transposed]),
        Operation("Reshape", [transposed, (len(after),)], [after]),
    ]


SHUFFLE = rearranged(IMAGE, (1, 2, 4, 6, 6), (0, 2, 1, 3, 4), IMAGE)
ON_A_POINT = rearranged((1, 8, 1, 1), (1, 2, 4, 1, 1), (0, 2, 1, 3, 4), (1, 8, 1, 1))
# As its authors write it: the batch with the channels, the halves first.
HALVES_FIRST = rearranged((3, 8, 6, 6), (12, 2, 36), (1, 0, 2), (2, 3, 4, 6, 6))


@pytest.mark.parametrize("operations", [SHUFFLE, ON_A_POINT, HALVES_FIRST])
def test_a_shuffle_is_found_by_its_shapes(operations: list[Operation]) -> None:
    assert classify(operations) == ["shuffle"] * 3
    first, second, third = operations
    apart = classify([first, RELU, second, RELU, third])
    assert apart == ["shuffle", *["element-wise", "shuffle"] * 2]
    assert classify(operations * 2) == ["shuffle"] * 6
    assert classify(operations[:2]) == ["data movement"] * 2
    assert classify(operations[::-1]) == ["data movement"] * 3


def test_shuffles_side_by_side_have_their_own_reshapes() -> None:
    first, second, third = SHUFFLE
    assert classify([first, first, second, second, third, third]) == ["shuffle"] * 6
    assert classify([*SHUFFLE, second]) == [*["shuffle"] * 3, "data movement"]


@pytest.mark.parametrize(
    "operations",
    [
        rearranged(IMAGE, (1, 2, 2, 2, 6, 6), (0, 1, 4, 2, 5, 3), (1, 2, 12, 12)),
        rearranged((2, 10, 64), (2, 10, 4, 16), (0, 2, 1, 3), (8, 10, 16)),
        rearranged((2, 10, 64), (2, 10, 1, 64), (0, 2, 1, 3), (2, 10, 64)),
        rearranged(IMAGE, (1, 2, 4, 6, 6), (0, 1, 2, 4, 3), IMAGE),
        [*rearranged(IMAGE, (1, 2, 4, 36), (), ())[:1], *SHUFFLE[1:]],
    ],
    ids=["depth to space", "heads of an attention", "one head", "rows and columns", "other shape"],
)
def test_what_only_looks_like_a_shuffle_is_data_movement(operations: list[Operation]) -> None:
    assert classify(operations) == ["data movement"] * 3


# the estimate


def test_shares_are_those_without_what_the_profiler_added() -> None:
    found = estimated(node("a", "Conv", [32] * 8), node("b", "Add", [12] * 8))
    assert [each.share for each in found.nodes] == pytest.approx([0.75, 0.25])
    assert [each.time_s for each in found.nodes] == pytest.approx([0.75e-3, 0.25e-3])
    parts = [(part.name, part.nodes) for part in split(found)]
    assert parts == [("convolution", 1), ("element-wise", 1)]
    assert found.overhead_s == pytest.approx(2e-6)
    assert (found.slowdown, found.disturbance) == pytest.approx((1.5, 1.0))
    assert found.covered == pytest.approx(44 / 540)
    assert (found.latency_s, found.unoptimised_s) == pytest.approx((1e-3, 2e-3))
    assert (found.calls, found.file_nodes) == (8, 9)


@pytest.mark.parametrize(
    ("nodes", "added_us", "own_us"),
    [  # no more is written than most of the shortest node; the rest slows all alike
        (
            [node("a", "Conv", [100] * 8), node("b", "Reshape", [4] * 8)],
            *(5, [96.6 * 94 / 97.2, 0.6 * 94 / 97.2]),
        ),
        # what runs several times in a call was written down each time
        ([node("a", "Conv", [40] * 8), node("b", "Add", [40] * 8, count=10)], 2, [38, 20]),
        # a branch that is rarely taken
        ([node("a", "Conv", [40] * 8), node("b", "Add", [0] * 7 + [50], 1 / 8)], 2, [37.75, 0]),
        # too short for the profiler's clock
        ([node("a", "Add", [0] * 8), node("b", "Add", [0] * 8)], 2, [0, 0]),
        # a busy machine, where calls with the profiler seem to be faster
        ([node("a", "Conv", [40] * 8), node("b", "Add", [10] * 8)], -5, [40, 10]),
    ],
)
def test_what_the_profiler_added_is_taken_off(
    nodes: list[dict[str, Any]], added_us: float, own_us: list[float]
) -> None:
    found = estimated(*nodes, added_us=added_us).nodes
    assert [each.own_s * 1e6 for each in found] == pytest.approx(own_us)
    total = sum(own_us)
    shares = [us / total if total else 1 / 2 for us in own_us]
    assert [each.share for each in found] == pytest.approx(shares)


def test_no_node_takes_less_than_nothing_where_calls_take_long_to_open() -> None:
    nodes = node("a", "Conv", [12] * 8), node("b", "Add", [6] * 8)
    found = estimated(*nodes, added_us=12.5, default=0.01, profiled=0.029)
    assert [each.own_s for each in found.nodes] == [0, 0]
    assert [each.share for each in found.nodes] == pytest.approx([6.9 / 7.8, 0.9 / 7.8])


@pytest.mark.parametrize(
    "cpu_ns", [None, {"default": [900_000] * 10, "profiled": [1_500_000] * 10}]
)
def test_a_disturbed_call_changes_no_node(cpu_ns: dict[str, list[int]] | None) -> None:
    """Of one thread what calls waited is known, of several the fastest tell."""
    waited = [0] * 4 + [800, 0, 9000, 0, 0, 0]
    convolution = [30 + (9000 if us == 9000 else 0) for us in waited]
    addition = [12 + (800 if us == 800 else 0) for us in waited]
    answer = reply(node("a", "Conv", convolution), node("b", "Add", addition))
    answer["latencies_ns"]["profiled"] = [1_500_000 + us * 1000 for us in waited]
    found = estimate(answer | {"cpu_ns": cpu_ns}, 1)
    assert [each.profiled_s for each in found.nodes] == pytest.approx([30e-6, 12e-6])
    assert (found.latency_s, found.slowdown) == pytest.approx(
        (0.9e-3, 5 / 3) if cpu_ns else (1e-3, 1.5)
    )


def test_what_waits_in_each_call_takes_its_share_of_the_processor() -> None:
    answer = reply(node("a", "Conv", [60] * 8), node("b", "Add", [24] * 8))
    cpu_ns = {"default": [500_000] * 8, "profiled": [750_000] * 8}
    found = estimate(answer | {"cpu_ns": cpu_ns}, 1)
    assert [each.profiled_s for each in found.nodes] == pytest.approx([30e-6, 12e-6])


def test_the_latency_is_that_of_calls_that_nothing_disturbed() -> None:
    answer = reply(node("a", "Conv", [30] * 8))
    answer["latencies_ns"]["default"] = [1_000_000] * 4 + [3_000_000] * 16
    found = estimate(answer, 1)
    assert (found.latency_s, found.disturbance) == pytest.approx((1e-3, 3.0))


def test_costs_on_paper_are_set_beside_what_ran() -> None:
    costs: Costs = {"convolution": (300, 20), "depthwise": (100, 40), "element-wise": (0, 20)}
    found = estimated(node("a", "Conv", [30] * 8), costs=costs)
    assert [(p.name, p.nodes, p.macs_share, p.memory_share) for p in split(found)] == [
        ("convolution", 1, 0.75, 0.25),
        ("depthwise", 0, 0.25, 0.5),
        ("element-wise", 0, 0.0, 0.25),
    ]
    unknown = estimated(node("a", "Conv", [30] * 8), costs={"convolution": (300, None)})
    (part,) = split(unknown)
    assert (part.memory_share, part.macs_share) == (None, 1.0)


def test_what_is_typical_leaves_the_extremes_out() -> None:
    several = [5], [1, 2, 3], [0, 4, 6, 99], [1, 1, 1, 9, 9], [*range(10)]
    assert [typical(each) for each in several] == pytest.approx([5, 2, 5, 1, 4.5])


# the file's nodes behind those that ran


def of_file(
    name: str, op: str, *reads: str, module: str | None = None, macs: int = 0, **shapes: Any
) -> FileNode:
    """A node that makes a tensor of its own name and an `o`, with its costs."""
    operation = Operation(op, shapes.get("inputs", ()), shapes.get("outputs", ()))
    (category,) = classify([operation])
    return FileNode(name, operation, category, module, macs, 0, reads, [f"{name}o"])


DEPTHWISE = {"inputs": [IMAGE, (8, 1, 5, 5)], "outputs": [IMAGE]}
FILE = [
    of_file("s/Conv", "Conv", "x", module="s.conv", macs=10),
    of_file("s/Relu", "Relu", "s/Convo", module="s.act"),
    of_file("b/Conv_1", "Conv", "s/Reluo", module="b.0.conv", macs=20, **DEPTHWISE),
    of_file("b/Add", "Add", "b/Conv_1o", "s/Reluo", module="b.0"),
    of_file("b/Mul", "Mul", "b/Addo", module="b.1"),
    of_file("h", "MatMul", "b/Mulo", module="", macs=70),
]


@pytest.mark.parametrize(
    ("name", "op", "module", "category"),
    [
        ("s/Conv", "Conv", "s.conv", "convolution"),
        ("s/Reluo_nchwc", "Conv", "s.conv", "convolution"),
        ("b/Conv_1_token_7", "QLinearConv", "b.0.conv", "depthwise"),
        ("b/Addo_nchwc", "Conv", "b.0.conv", "depthwise"),
        ("b/Mul/QuickGeluFusion/", "QuickGelu", "b.1", "element-wise"),
        ("h/MatMulAddFusion", "Gemm", "", "matmul"),
        ("InsertedPrecisionFreeCast_b/Mulo", "Cast", "b.1", "data movement"),
    ],
)
def test_a_node_is_of_the_module_of_what_it_is_named_after(
    name: str, op: str, module: str, category: str
) -> None:
    (found,) = estimated(node(name, op, [30] * 8), file=FILE).nodes
    assert (found.module, found.category) == (module, category)
    assert found.kernel == ((5, 5) if category == "depthwise" else ())


def test_what_is_named_after_nothing_is_of_the_module_next_to_it() -> None:
    names = "ReorderInput s/Conv ReorderOutput h/Conv b/Conv_1 Transpose_token_2 h Gelu"
    nodes = [node(name, name.partition("_")[0], [30] * 8) for name in names.split()]
    found = estimated(*nodes, file=FILE).nodes
    modules = ["s.conv", "s.conv", "s.conv", "", "b.0.conv", "b.0.conv", "", ""]
    assert [each.module for each in found] == modules
    assert [each.name for each in found if each.origin is None] == [
        *("ReorderInput", "ReorderOutput", "Transpose_token_2", "Gelu")
    ]


@pytest.mark.parametrize(
    ("depth", "parts"),
    [
        (None, {"s": 0.1, "b": 0.2, "": 0.7}),
        (1, {"s": 0.1, "b": 0.2, "": 0.7}),
        (2, {"s.conv": 0.1, "s.act": 0.0, "b.0": 0.2, "b.1": 0.0, "": 0.7}),
    ],
)
def test_modules_to_any_depth_add_up(depth: int | None, parts: dict[str, float]) -> None:
    names = {"s/Conv": "Conv", "s/Relu": "Relu", "b/Conv_1": "Conv", "b/Mul": "Mul", "h": "MatMul"}
    found = estimated(*(node(*each, [30] * 8) for each in names.items()), file=FILE)
    split_up = split(found, "module", depth)
    assert {part.name: part.macs_share for part in split_up} == parts
    assert [*parts] == [part.name for part in split_up]
    assert sum(part.share or 0.0 for part in split_up) == pytest.approx(1.0)
    assert sum(part.nodes for part in split_up) == len(names)


def test_modules_below_one_that_holds_all_are_told_apart() -> None:
    file = [of_file(name, "Relu", module=f"net.{name}") for name in "ab"]
    found = estimated(*(node(name, "Relu", [30] * 8) for name in "ab"), file=file)
    assert [part.name for part in split(found, "module")] == ["net.a", "net.b"]


WRITTEN_OUT = {
    "proj": ("MatMul", "x"),
    "k": ("Transpose", "x"),
    "qk": ("MatMul", "proj", "k"),
    "scaled": ("Mul", "qk"),
    "masked": ("Add", "scaled", "mask"),
    "soft": ("Softmax", "masked"),
    "t": ("Transpose", "soft"),
    "av": ("MatMul", "x", "t"),
    "out": ("Gemm", "av"),
    "classes": ("Softmax", "out"),
}


def chain(nodes: dict[str, tuple[str, ...]]) -> list[str]:
    """The nodes that are attention, of those whose results have their names."""
    file = [
        replace(of_file(name, op, *reads), makes=[name]) for name, (op, *reads) in nodes.items()
    ]
    return [each.name for each in with_attention(file) if each.category == "attention"]


def test_a_softmax_between_two_products_of_activations_is_attention() -> None:
    assert chain(WRITTEN_OUT) == ["qk", "scaled", "masked", "soft", "t", "av"]
    assert chain({**WRITTEN_OUT, "qk": ("MatMul", "proj")}) == []
    assert chain({**WRITTEN_OUT, "t": ("Conv", "soft")}) == []
    assert chain({**WRITTEN_OUT, "scaled": ("Mul", "masked")}) == []


def test_types_are_those_that_ran_the_slowest_first() -> None:
    found = estimated(node("a", "Add", [12] * 8), node("h", "Gemm", [32] * 8), file=FILE)
    parts = [(part.name, part.share, part.macs) for part in split(found, "type")]
    assert parts == [("Gemm", 0.75, None), ("Add", 0.25, None)]


def test_shares_that_the_profiler_drowns_are_none() -> None:
    found = estimated(node("h", "Gemm", [32] * 8), file=FILE, profiled=3.1)
    part, *_ = split(found, "module", 1)
    assert (part.share, part.time_s, part.macs_share) == (None, None, 0.7)
