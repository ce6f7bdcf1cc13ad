import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.defs
import pytest
import torch
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser
from torch.utils.flop_counter import FlopCounterMode

from benchbox.costs import Cost, count, unknown_tensors
from benchbox.costs.macs import COUNTED, FREE
from benchbox.errors import GraphError

FLOAT = TensorProto.FLOAT
INT8 = TensorProto.INT8
UINT8 = TensorProto.UINT8
INT32 = TensorProto.INT32
INT64 = TensorProto.INT64
Dims = Sequence[int | str]


def weight(name: str, *dims: int, dtype: int = FLOAT) -> TensorProto:
    size = math.prod(dims) * helper.tensor_dtype_to_np_dtype(dtype).itemsize
    return helper.make_tensor(name, dtype, dims, bytes(size), raw=True)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims | None],
    weights: Sequence[TensorProto] = (),
    outputs: Sequence[str] = ("y",),
    dtype: int = FLOAT,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()],
        [helper.make_value_info(name, onnx.TypeProto()) for name in outputs],
        list(weights),
    )
    domains = ["", "com.microsoft", "custom", *{function.domain for function in functions}]
    opsets = [helper.make_opsetid(domain, 1 if domain else 18) for domain in dict.fromkeys(domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def one(
    op: str, inputs: Mapping[str, Dims | None], *weights: TensorProto, **attributes: Any
) -> onnx.ModelProto:
    names = [*inputs, *(tensor.name for tensor in weights)]
    return model([helper.make_node(op, names, ["y"], **attributes)], inputs, weights)


def text(body: str, opset: int = 18) -> onnx.ModelProto:
    return parser.parse_model(
        f'<ir_version: 9, opset_import: ["": {opset}, "com.microsoft": 1, "custom": 1]> {body}'
    )


# Multiply-accumulates


@pytest.mark.parametrize(
    ("data", "kernel", "attributes", "expected"),
    [
        ((1, 3, 8, 8), (4, 3, 3, 3), {}, 4 * 6 * 6 * 27),
        ((2, 3, 8, 8), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}, 2 * 4 * 8 * 8 * 27),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"strides": [2, 2]}, 4 * 3 * 3 * 27),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"dilations": [2, 2]}, 4 * 4 * 4 * 27),
        ((1, 6, 8, 8), (4, 3, 3, 3), {"group": 2}, 4 * 6 * 6 * 27),
        ((1, 6, 8, 8), (6, 1, 3, 3), {"group": 6}, 6 * 6 * 6 * 9),
        ((1, 3, 8), (4, 3, 3), {}, 4 * 6 * 9),
        ((1, 3, 4, 5, 6), (4, 3, 2, 2, 2), {}, 4 * 3 * 4 * 5 * 24),
        ((0, 3, 8, 8), (4, 3, 3, 3), {}, 0),
    ],
)
def test_a_convolution_sums_over_a_kernel_for_each_output_element(
    data: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], expected: int
) -> None:
    cost = count(
        one("Conv", {"x": data}, weight("w", *kernel), weight("b", kernel[0]), **attributes)
    )
    assert cost.known_macs == cost.macs == expected
    assert cost.params == math.prod(kernel) + kernel[0]
    assert cost.ops == {"Conv": 1}


@pytest.mark.parametrize("group", [1, 2])
def test_a_transposed_convolution_spreads_each_input_element(group: int) -> None:
    kernel = weight("w", 4, 6 // group, 3, 3)
    cost = count(one("ConvTranspose", {"x": (1, 4, 5, 5)}, kernel, strides=[2, 2], group=group))
    assert cost.known_macs == 4 * 5 * 5 * (6 // group) * 9


@pytest.mark.parametrize("op", ["FusedConv", "NhwcFusedConv"])
def test_a_fused_convolution_is_counted_once_its_output_is_observed(op: str) -> None:
    data = (1, 3, 8, 8) if op == "FusedConv" else (1, 8, 8, 3)
    output = (1, 4, 6, 6) if op == "FusedConv" else (1, 6, 6, 4)
    built = one(op, {"x": data}, weight("w", 4, 3, 3, 3), domain="com.microsoft")
    assert count(built).uncounted == (f"com.microsoft:{op} (shape of 'y' unknown)",)
    cost = count(built, tensor_shapes={"y": output})
    assert cost.known_macs == 4 * 6 * 6 * 27
    assert cost.memory_access_bytes == 4 * (192 + 108 + 144)


def test_a_deformable_convolution_counts_as_a_convolution() -> None:
    data = {"x": (1, 3, 8, 8), "w": (4, 3, 3, 3), "offset": (1, 18, 6, 6)}
    cost = count(one("DeformConv", data), tensor_shapes={"y": (1, 4, 6, 6)})
    assert cost.known_macs == 4 * 6 * 6 * 27


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
def test_gemm_multiplies_two_matrices_either_way_round(left: int, right: int) -> None:
    first, second = ((5, 2) if left else (2, 5)), ((7, 5) if right else (5, 7))
    shapes = {"a": first, "b": second}
    assert count(one("Gemm", shapes, transA=left, transB=right)).known_macs == 2 * 5 * 7
    fused = one("FusedGemm", shapes, transA=left, transB=right, domain="com.microsoft")
    assert count(fused).known_macs == 2 * 5 * 7


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((2, 5), (5, 7), 2 * 5 * 7),
        ((3, 2, 5), (3, 5, 7), 3 * 2 * 5 * 7),
        ((3, 1, 2, 5), (4, 5, 7), 3 * 4 * 2 * 5 * 7),
        ((5,), (5, 7), 5 * 7),
        ((2, 5), (5,), 2 * 5),
        ((5,), (5,), 5),
        ((2, 0), (0, 7), 0),
    ],
)
def test_matmul_is_batched_and_broadcast(
    first: tuple[int, ...], second: tuple[int, ...], expected: int
) -> None:
    assert count(one("MatMul", {"a": first, "b": second})).known_macs == expected


@pytest.mark.parametrize(
    ("first", "second", "attributes"),
    [
        ((3, 2, 5), (3, 5, 7), {}),
        ((3, 5, 2), (3, 5, 7), {"transA": 1}),
        ((3, 2, 5), (3, 7, 5), {"transB": 1}),
        ((2, 3, 5), (3, 5, 7), {"transBatchA": 1}),
        ((5, 3, 2), (5, 3, 7), {"transA": 1, "transBatchA": 1, "transBatchB": 1}),
    ],
)
def test_fused_matmul_finds_the_shared_dimension(
    first: tuple[int, ...], second: tuple[int, ...], attributes: dict[str, int]
) -> None:
    built = one("FusedMatMul", {"a": first, "b": second}, domain="com.microsoft", **attributes)
    assert count(built, tensor_shapes={"y": (3, 2, 7)}).known_macs == 3 * 2 * 5 * 7


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 24),
        ("bij, bjk -> bik", [(5, 2, 3), (5, 3, 4)], 120),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)], 120),
        ("...ij,jk", [(6, 5, 2, 3), (3, 4)], 720),
        ("i,j->ij", [(2,), (3,)], 6),
        ("ij->ji", [(2, 3)], 0),
    ],
)
def test_einsum_of_two_operands_meets_every_combination_of_indices(
    equation: str, shapes: list[tuple[int, ...]], expected: int
) -> None:
    inputs = {f"x{at}": shape for at, shape in enumerate(shapes)}
    assert count(one("Einsum", inputs, equation=equation)).known_macs == expected


def test_einsum_of_three_operands_is_named() -> None:
    built = one("Einsum", {"a": (2, 3), "b": (3, 4), "c": (4, 5)}, equation="ij,jk,kl->il")
    assert count(built).uncounted == ("Einsum (3 operands)",)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_counts_its_gates_at_every_step(
    op: str, gates: int, directions: int
) -> None:
    weights = [
        weight("w", directions, gates * 8, 5),
        weight("r", directions, gates * 8, 8),
        weight("b", directions, 2 * gates * 8),
        weight("lengths", 3, dtype=INT32),
        weight("h", directions, 3, 8),
    ]
    way = "bidirectional" if directions == 2 else "forward"
    cost = count(one(op, {"x": (7, 3, 5)}, *weights, hidden_size=8, direction=way))
    assert cost.known_macs == 7 * 3 * directions * gates * (5 + 8) * 8
    assert cost.params == directions * gates * 8 * (5 + 8 + 2)


def test_quantised_operators_count_as_the_ones_they_replace() -> None:
    scale, zero = weight("s"), weight("z", dtype=UINT8)
    kernel, factor = weight("w", 4, 3, 3, 3, dtype=UINT8), weight("f", 6, 5, dtype=UINT8)
    convolved = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["c"])
    multiplied = helper.make_node("QLinearMatMul", ["c", "s", "z", "f", "s", "z", "s", "z"], ["y"])
    built = model(
        [convolved, multiplied], {"x": (1, 3, 8, 8)}, [scale, zero, kernel, factor], dtype=UINT8
    )
    cost = count(built)
    assert cost.known_macs == 4 * 36 * 27 + 4 * 6 * 6 * 5
    assert cost.params == cost.weight_bytes == 108 + 30


def test_integer_operators_count_and_their_integers_are_weights() -> None:
    convolved = helper.make_node("ConvInteger", ["x", "w"], ["c"])
    multiplied = helper.make_node("MatMulInteger", ["x", "f"], ["y"])
    weights = [weight("w", 4, 3, 3, 3, dtype=UINT8), weight("f", 8, 5, dtype=INT8)]
    cost = count(model([convolved, multiplied], {"x": (1, 3, 8, 8)}, weights, ("c", "y"), UINT8))
    assert cost.known_macs == 4 * 36 * 27 + 3 * 8 * 8 * 5
    assert cost.params == 108 + 40


def test_every_standard_operator_is_counted_or_free_or_on_this_list() -> None:
    named = {
        "AffineGrid", "Attention", "CausalConvWithState", "DFT", "Det", "FlexAttention", "If",
        "ImageDecoder", "LinearAttention", "Loop", "MelWeightMatrix", "RegexFullMatch", "STFT",
        "Scan", "SequenceMap", "StringConcat", "StringNormalizer", "StringSplit",
        "TfIdfVectorizer",
    }  # fmt: skip
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert standard - FREE - set(COUNTED) <= named
    assert not FREE & set(COUNTED)


def test_an_operator_that_cannot_be_counted_is_named_with_how_often() -> None:
    nodes = [
        helper.make_node("LSTMX", ["x"], ["a"], domain="custom"),
        helper.make_node("DFT", ["x"], ["b"]),
        helper.make_node("DFT", ["x"], ["c"]),
        helper.make_node("Conv", ["a", "w"], ["y"]),
    ]
    cost = count(model(nodes, {"x": (1, 3, 8, 2)}, [weight("w", 4, 3, 3, 3)]))
    assert cost.uncounted == ("Conv (shape of 'a' unknown)", "DFT x 2", "custom:LSTMX")
    assert cost.known_macs is None
    assert cost.memory_access_bytes is None
    assert cost.peak_activation_bytes is None
    assert cost.ops == {"Conv": 1, "DFT": 2, "custom:LSTMX": 1}


# Bodies and functions


def test_an_if_between_free_branches_costs_nothing() -> None:
    cost = count(
        text("""g (float[2,3] x, bool c) => (float[2,3] y) {
            y = If (c) <then_branch = t () => (a) { a = Relu(x) },
                        else_branch = e () => (a) { b = Neg(x) a = Exp(b) }>
        }""")
    )
    assert cost.known_macs == 0
    assert cost.ops == {"Exp": 1, "If": 1, "Neg": 1, "Relu": 1}
    assert cost.memory_access_bytes is None


def test_an_if_with_a_product_in_a_branch_is_named_and_its_weights_count() -> None:
    cost = count(
        text("""g (float[2,3] x, bool c) => (float[2,3] y) {
            y = If (c) <then_branch = t () => (a) <float[3,3] w = {1,2,3,4,5,6,7,8,9}>
                            { a = MatMul(x, w) },
                        else_branch = e () => (a) { a = Relu(x) }>
        }""")
    )
    assert cost.uncounted == ("If (has a body)",)
    assert cost.params == 9


def test_a_loop_is_named_and_what_it_captures_counts_as_used() -> None:
    cost = count(
        text("""g (int64 n, float[2,3] x) => (float[2,3] y) <float[2,3] w = {1,2,3,4,5,6}> {
            t = Constant <value = bool {1}> ()
            y = Loop (n, t, x) <body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
                { on = Identity(go) r = Add(s, w) }>
        }""")
    )
    assert cost.uncounted == ("Loop (has a body)",)
    assert cost.params == 6
    assert cost.peak_activation_bytes is not None


def test_functions_are_counted_by_what_they_hold() -> None:
    function = helper.make_function(
        "lib", "Block", ["a", "w"], ["b"],
        [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Relu", ["m"], ["b"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Block", ["x", "w"], ["h"], domain="lib"),
        helper.make_node("Block", ["h", "w"], ["y"], domain="lib"),
    ]
    cost = count(model(nodes, {"x": (2, 4)}, [weight("w", 4, 4)], functions=[function]))
    assert cost.known_macs == 2 * 2 * 4 * 4
    assert cost.params == 16
    assert cost.ops == {"MatMul": 2, "Relu": 2}


def calls(name: str, *called: str) -> onnx.FunctionProto:
    nodes = [helper.make_node(call, ["a"], ["b" if at == 0 else f"b{at}"], domain="lib")
             for at, call in enumerate(called)]  # fmt: skip
    opsets = [helper.make_opsetid("lib", 1)]
    return helper.make_function("lib", name, ["a"], ["b"], nodes, opsets)


def test_functions_that_never_end_or_explode_are_refused() -> None:
    start = [helper.make_node("F0", ["x"], ["y"], domain="lib")]
    with pytest.raises(GraphError, match="calls itself"):
        count(model(start, {"x": (1,)}, functions=[calls("F0", "F1"), calls("F1", "F0")]))
    towers = [calls(f"F{at}", *[f"F{at + 1}"] * 10) for at in range(12)]
    with pytest.raises(GraphError, match="inline to more than"):
        count(model(start, {"x": (1,)}, functions=towers))


# Shapes


def test_dynamic_inputs_are_fixed_by_the_callers_shapes() -> None:
    built = one("MatMul", {"a": ("N", 5)}, weight("w", 5, 7))
    before = built.SerializeToString()
    assert count(built).uncounted == ("MatMul (shape of 'a' unknown)",)
    assert unknown_tensors(built) == ["a", "y"]
    assert count(built, {"a": (3, 5)}).known_macs == 3 * 5 * 7
    assert unknown_tensors(built, {"a": (3, 5)}) == []
    assert built.SerializeToString() == before


def test_a_dimension_below_zero_is_a_dynamic_one() -> None:
    built = one("MatMul", {"a": (-1, 5)}, weight("w", 5, 7))
    assert unknown_tensors(built) == ["a", "y"]
    assert count(built, {"a": (3, 5)}).known_macs == 3 * 5 * 7


def test_fixing_one_input_fixes_every_dimension_of_that_name() -> None:
    built = text("""g (float[N,5] x) => (float[M,7] y) <float[N,5] h, float[5,7] w> {
        h = custom.Magic(x)
        y = MatMul(h, w)
    }""")
    built.graph.initializer.append(weight("w", 5, 7))
    assert count(built, {"x": (3, 5)}).macs == 3 * 5 * 7


def test_observed_shapes_win_over_inferred_ones() -> None:
    nodes = [
        helper.make_node("Magic", ["x"], ["h"], domain="custom"),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    built = model(nodes, {"x": (3, 5)}, [weight("w", 5, 7)])
    assert unknown_tensors(built) == ["h", "y"]
    cost = count(built, tensor_shapes={"h": (4, 5), "y": (4, 7)})
    assert cost.macs == 4 * 5 * 7
    assert cost.uncounted == ("custom:Magic",)


def test_reshape_targets_that_are_computed_are_followed() -> None:
    built = text("""g (float[N,4,6] x) => (y) <int64[1] rest = {-1}, int64[1] zero = {0}> {
        s = Shape(x)
        n = Gather(s, zero)
        t = Concat<axis = 0>(n, rest)
        f = Reshape(x, t)
        y = Gemm(f, w)
    }""")
    built.graph.initializer.append(weight("w", 24, 2))
    assert count(built, {"x": (3, 4, 6)}).known_macs == 3 * 24 * 2


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"z": (1,)}, "no input is named 'z'"),
        ({"a": (1, 2, 3)}, "cannot have the shape"),
        ({"a": (3, 6)}, "cannot have the shape"),
        ({"a": (-3, 5)}, "cannot have the shape"),
    ],
)
def test_input_shapes_that_cannot_be_are_refused(
    shapes: dict[str, tuple[int, ...]], problem: str
) -> None:
    with pytest.raises(GraphError, match=problem):
        count(one("MatMul", {"a": ("N", 5)}, weight("w", 5, 7)), shapes)


def test_weights_in_external_data_need_not_be_there(tmp_path: Path) -> None:
    built = one("Gemm", {"x": (2, 64)}, weight("w", 64, 32), weight("b", 32))
    path = tmp_path / "model.onnx"
    onnx.save_model(
        built, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (tmp_path / "weights.bin").unlink()
    cost = count(onnx.load_model(path, load_external_data=False))
    assert cost.known_macs == 2 * 64 * 32
    assert cost.params == 64 * 32 + 32


def test_a_weight_larger_than_any_memory_is_counted_by_its_shape() -> None:
    huge = TensorProto(name="w", dims=[1 << 20, 1 << 30], data_type=FLOAT)
    cost = count(one("MatMul", {"a": (2, 1 << 20)}, huge))
    assert cost.known_macs == 1 << 51
    assert cost.weight_bytes == 1 << 52


# Weights


def test_running_statistics_of_batch_normalisation_are_no_weights() -> None:
    statistics = [weight(name, 8) for name in ("scale", "bias", "mean", "var")]
    assert count(one("BatchNormalization", {"x": (1, 8, 4, 4)}, *statistics)).params == 16


def test_a_shared_weight_counts_once_however_it_is_reached() -> None:
    cost = count(
        text("""g (float[2,3] x) => (y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
            a = MatMul(x, w)
            t = Transpose(w)
            b = MatMul(a, t)
            i = Identity(t)
            y = Gemm(b, i)
        }""")
    )
    assert cost.params == 9
    assert cost.weight_bytes == 36


def test_an_unused_constant_and_a_lone_factor_are_no_weights() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "lone"], ["a"]),
        helper.make_node("PRelu", ["a", "slope"], ["y"]),
    ]
    weights = [weight("unused", 9), weight("lone", 1), weight("slope", 1)]
    assert count(model(nodes, {"x": (2, 3)}, weights)).params == 1


def test_a_constant_node_and_a_sparse_constant_are_weights() -> None:
    dense = helper.make_node("Constant", [], ["w"], value=weight("", 64, 64))
    nodes = [
        dense,
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "s"], ["y"]),
    ]
    built = model(nodes, {"x": (2, 64)})
    values = helper.make_tensor("s", FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("", INT64, [2], [3, 70])
    sparse = helper.make_sparse_tensor(values, indices, [64, 5])
    built.graph.sparse_initializer.append(sparse)
    cost = count(built)
    assert cost.params == 64 * 64 + 64 * 5
    assert cost.ops == {"MatMul": 2}
    assert cost.memory_access_bytes == 4 * (2 * 64 + 64 * 64 + 2 * 64) + 4 * (2 * 64 + 64 * 5 + 10)


def test_limits_sizes_and_scales_are_no_weights() -> None:
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("Resize", ["a", "", "scales"], ["b"]),
        helper.make_node("Pad", ["b", "pads", "value"], ["c"]),
        helper.make_node("Dropout", ["c", "ratio"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["y"]),
    ]
    scales = helper.make_tensor("scales", FLOAT, [4], [1.0, 1.0, 2.0, 2.0])
    shape = helper.make_tensor("shape", INT64, [2], [1, -1])
    lone = [weight(name, 1) for name in ("low", "high", "value", "ratio")]
    cost = count(
        model(nodes, {"x": (1, 3, 4, 4)}, [*lone, scales, shape, weight("pads", 8, dtype=INT64)])
    )
    assert cost.params == cost.weight_bytes == 0
    assert cost.known_macs == 0


def test_quantised_weights_behind_a_dequantisation_count_without_their_scales() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["y"]),
    ]
    weights = [
        weight("xs"), weight("xz", dtype=INT8), weight("w", 4, 3, 3, 3, dtype=INT8),
        weight("ws", 4), weight("wz", 4, dtype=INT8), weight("b", 4, dtype=INT32), weight("bs", 4),
    ]  # fmt: skip
    cost = count(model(nodes, {"x": (1, 3, 8, 8)}, weights))
    assert cost.params == 108 + 4
    assert cost.weight_bytes == 108 + 4 * 4
    assert cost.known_macs == 4 * 36 * 27


# Memory


sizes = st.integers(min_value=1, max_value=64)


@settings(max_examples=50, deadline=None)
@given(h=sizes, w=sizes, c1=sizes, c2=sizes)
def test_a_1x1_convolution_moves_hw_c1_plus_c2_plus_c1c2(h: int, w: int, c1: int, c2: int) -> None:
    cost = count(one("Conv", {"x": (1, c1, h, w)}, weight("w", c2, c1, 1, 1)))
    assert cost.memory_access_bytes == 4 * (h * w * (c1 + c2) + c1 * c2)
    assert cost.known_macs == h * w * c1 * c2


def test_renaming_moves_nothing_and_a_tensor_read_twice_is_read_once() -> None:
    cost = count(
        text("""g (float[2,6] x) => (y) <int64[1] s = {12}> {
            a = Mul(x, x)
            b = Reshape(a, s)
            c = Identity(b)
            y = Relu(c)
        }""")
    )
    assert cost.memory_access_bytes == 4 * (12 + 12) + 4 * (12 + 12)


def test_elements_below_a_byte_are_packed() -> None:
    built = text("""g (int4[3,3] x) => (float[3,3] y) <float s = {1.0}> {
        y = DequantizeLinear(x, s)
    }""", 21)  # fmt: skip
    assert count(built).memory_access_bytes == 5 + 4 + 36


def test_the_peak_is_the_most_that_is_alive_at_once() -> None:
    chain = text("g (float[10] x) => (float[10] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    assert count(chain).peak_activation_bytes == 2 * 40
    residual = text("g (float[10] x) => (float[10] y) { a = Relu(x) b = Relu(a) y = Add(b, x) }")
    assert count(residual).peak_activation_bytes == 3 * 40
    renamed = text("g (float[10] x) => (float[10] y) { a = Identity(x) y = Relu(a) }")
    assert count(renamed).peak_activation_bytes == 2 * 40
    unused = text("g (float[10] x) => (float[10] y) { a = Exp(x) b = Relu(x) y = Relu(b) }")
    assert count(unused).peak_activation_bytes == 3 * 40 - 40


def test_a_bodys_own_tensors_are_alive_beside_those_around_it() -> None:
    cost = count(
        text("""g (float[10] x, bool c) => (float[10] y) {
            y = If (c) <then_branch = t () => (a) { b = Exp(x) a = Relu(b) },
                        else_branch = e () => (a) { a = Relu(x) }>
        }""")
    )
    assert cost.peak_activation_bytes == 40 + 1 + 40 + 80


# The whole


def test_a_cost_survives_being_written_as_plain_values() -> None:
    cost = count(one("DFT", {"x": (1, 8, 2)}))
    assert Cost.from_json(cost.to_json()) == cost
    assert cost.to_json()["uncounted"] == ["DFT"]


def test_counting_is_imported_without_onnx() -> None:
    program = (
        "import sys, benchbox.costs; sys.exit('onnx' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.deep = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = torch.nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.up = torch.nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = torch.nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.down(x))
        x = self.up(x + self.wide(self.deep(x)))
        return torch.as_tensor(self.head(x.mean((2, 3))))


class Product(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(x, x.transpose(1, 2)) @ x


MODULES: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "grouped": (lambda: torch.nn.Conv2d(4, 8, 3, groups=2), (1, 4, 9, 9)),
    "depthwise": (lambda: torch.nn.Conv2d(4, 4, 3, groups=4, dilation=2), (2, 4, 9, 9)),
    "linear": (lambda: torch.nn.Linear(5, 7), (3, 5)),
    "linear of more dimensions": (lambda: torch.nn.Linear(5, 7), (2, 3, 5)),
    "batched product": (Product, (3, 4, 5)),
    "residual": (Residual, (1, 3, 16, 16)),
}


def exported(module: torch.nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=18, verbose=False
        )
    assert program is not None
    return program.model_proto


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_counts_agree_with_torch(name: str) -> None:
    build, shape = MODULES[name]
    module, example = build().eval(), torch.zeros(shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    cost = count(exported(module, example))
    assert cost.known_macs == counter.get_total_flops() // 2
    assert cost.params == sum(parameter.numel() for parameter in module.parameters())


# Malformed models


@pytest.mark.parametrize(
    "built",
    [
        model([helper.make_node("Conv", [], ["y"])], {}),
        model([helper.make_node("MatMul", ["x", "x"], [])], {"x": (3, 3)}, outputs=()),
        one("Conv", {"x": (1, 3, 8, 8), "w": (4, 3, 3, 3)}, group=0),
        one("Conv", {"x": (1, 3, 8, 8), "w": (4, 3, 3, 3)}, group="two"),
        one("Conv", {"x": (1, 3, 8, 8), "w": (4, 2, 3, 3)}),
        one("Conv", {"x": (1, 3, 8, 8), "w": (4, 3)}),
        one("Gemm", {"a": (2, 3), "b": (4, 5)}),
        one("Gemm", {"a": (2, 3, 4), "b": (4, 5)}),
        one("MatMul", {"a": (2, 3), "b": (4, 5)}),
        one("MatMul", {"a": (), "b": (4, 5)}),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation="ij"),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation="i,jk->\n"),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation="i$,j->"),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation=b"ij\x80,jk"),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation="ijk,jk"),
        one("Einsum", {"a": (2, 3), "b": (4, 5)}, equation="ij,jk->ik"),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}, equation=7),
        one("Einsum", {"a": (2, 3), "b": (3, 4)}),
        one("LSTM", {"x": (7, 3, 5), "w": (1, 32, 4), "r": (1, 32, 8)}, hidden_size=8),
        one("LSTM", {"x": (7, 3), "w": (1, 32, 4), "r": (1, 32, 8)}, hidden_size=8),
        one("If", {"c": ()}),
        model([helper.make_node("Cast", [], ["y"], to=1)], {}),
        model([helper.make_node("Relu", ["nothing"], ["y"])], {}),
        model([helper.make_node("Relu", ["y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])], {}),
        model([helper.make_node("Relu", ["x"], ["y"])] * 2, {"x": (1,)}),
        model([], {"x": (1,)}),
        one("Relu", {}, TensorProto(name="x", dims=[-3], data_type=FLOAT)),
        one("Relu", {}, TensorProto(name="x", dims=[3], data_type=99)),
    ],
)  # fmt: skip
def test_a_malformed_graph_is_refused_in_one_line(built: onnx.ModelProto) -> None:
    with pytest.raises(GraphError) as caught:
        count(built)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [60, 2000])
def test_bodies_nested_without_an_end_are_refused(depth: int) -> None:
    built = one("Relu", {"x": (1,)})
    graph = built.graph
    for _ in range(depth):
        attribute = graph.node.add(op_type="Loop").attribute.add(name="body")
        attribute.type, graph = attribute.GRAPH, attribute.g
        graph.name = "body"
    with pytest.raises(GraphError, match="corrupt"):
        count(built)


def test_shapes_below_zero_are_refused() -> None:
    with pytest.raises(GraphError, match="below zero"):
        count(one("Relu", {"x": ("N",)}), tensor_shapes={"x": (-1,)})


def sample() -> onnx.ModelProto:
    built = text("""g (float[N,3,8,8] x, bool c) => (y) <int64[2] s = {0, -1}> {
        a = Conv<kernel_shape = [3, 3], group = 1>(x, w)
        b = Reshape(a, s)
        d = Einsum<equation = "ij,kj->ik">(b, b)
        e = Gemm<transB = 1>(d, d)
        z = If (c) <then_branch = t () => (p) { p = Relu(e) },
                    else_branch = f () => (p) { q = MatMul(e, e) p = Identity(q) }>
        y = Clip(z)
    }""")
    built.graph.initializer.append(weight("w", 4, 3, 3, 3))
    return built


SAMPLE = sample().SerializeToString()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_loss_of_bytes_ends_in_anything_but_a_graph_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SAMPLE) - 1))
    cut = data.draw(st.integers(0, 6))
    put = data.draw(st.binary(max_size=4))
    try:
        built = onnx.load_model_from_string(SAMPLE[:start] + put + SAMPLE[start + cut :])
    except DecodeError:
        return
    counts_or_refuses(built)


@settings(max_examples=200, deadline=None)
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
    counts_or_refuses(built)


def counts_or_refuses(built: onnx.ModelProto) -> None:
    for shapes in ({}, {"x": (2, 3, 8, 8)}):
        try:
            cost = count(built, shapes)
        except GraphError as error:
            assert "\n" not in str(error)
        else:
            assert cost.macs >= 0
            assert cost == count(built, shapes)
