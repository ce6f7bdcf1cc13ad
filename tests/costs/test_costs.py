import math
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx.defs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from benchbox.costs import count, unknown_tensors
from benchbox.costs.macs import COUNTED, FREE
from benchbox.errors import GraphError
from tests.helpers.onnx_models import (
    DATA,
    FLOAT,
    INT32,
    INT64,
    MICROSOFT,
    UINT8,
    Dims,
    K,
    convolution,
    einsum,
    model,
    one,
    product,
    text,
    weight,
    weights,
)

# Multiply-accumulates


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        # a convolution sums over a kernel for each output element
        (convolution(DATA, K), 4 * 6 * 6 * 27),
        (convolution((2, 3, 8, 8), K, pads=[1, 1, 1, 1]), 2 * 4 * 8 * 8 * 27),
        (convolution(DATA, K, strides=[2, 2]), 4 * 3 * 3 * 27),
        (convolution((1, 6, 8, 8), (6, 1, 3, 3), group=6), 6 * 6 * 6 * 9),
        (convolution((1, 3, 8), (4, 3, 3)), 4 * 6 * 9),
        (convolution((0, 3, 8, 8), K), 0),
        # a transposed one spreads each input element
        (one("ConvTranspose", {"x": (1, 4, 5, 5)}, weight("w", 4, 6, 3, 3)), 4 * 25 * 6 * 9),
        (one("ConvTranspose", {"x": (1, 4, 5, 5)}, weight("w", 4, 3, 3, 3), group=2), 4 * 25 * 27),
        # matrices either way round
        (product((2, 5), (5, 7), "Gemm"), 70),
        (product((5, 2), (7, 5), "Gemm", transA=1, transB=1), 70),
        (product((5, 2), (7, 5), "FusedGemm", transA=1, transB=1, domain=MICROSOFT), 70),
        (product(DATA, K, "FusedConv", domain=MICROSOFT), 4 * 36 * 27),
        # batched and broadcast
        (product((2, 5), (5, 7)), 70),
        (product((3, 1, 2, 5), (4, 5, 7)), 12 * 70),
        (product((5,), (5, 7)), 35),
        (product((2, 5), (5,)), 10),
        (product((2, 0), (0, 7)), 0),
        # two operands meet once for every combination of indices
        (einsum("ij,jk->ik", (2, 3), (3, 4)), 24),
        (einsum("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)), 120),
        (einsum("...ij,jk", (6, 5, 2, 3), (3, 4)), 720),
        (einsum("i,j->ij", (2,), (3,)), 6),
        (einsum("ij->ji", (2, 3)), 0),
        # a weight larger than any memory
        (one("MatMul", {"a": (2, 1 << 20)}, TensorProto(name="w", dims=[1 << 20, 1 << 30],
                                                        data_type=FLOAT)), 1 << 51),
    ],
)  # fmt: skip
def test_an_operator_costs_the_products_that_it_sums(built: onnx.ModelProto, expected: int) -> None:
    cost = count(built)
    assert cost.known_macs == cost.macs == expected
    assert sum(cost.ops.values()) == 1


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "output", "expected"),
    [
        ("nchwc.Conv", ((1, 8, 8, 8), (16, 8, 3, 3)), {}, (1, 16, 6, 6), 16 * 36 * 72),
        ("NhwcFusedConv", ((1, 8, 8, 3), K), {}, (1, 6, 6, 4), 4 * 36 * 27),
        ("FusedMatMul", ((3, 5, 2), (3, 5, 7)), {"transA": 1}, (3, 2, 7), 210),
        ("FusedMatMul", ((5, 3, 2), (5, 3, 7)), {"transA": 1, "transBatchA": 1, "transBatchB": 1},
         (3, 2, 7), 210),
    ],
)  # fmt: skip
def test_a_fused_operator_is_counted_once_its_output_is_observed(
    op: str, shapes: Sequence[Dims], attributes: dict[str, int], output: Dims, expected: int
) -> None:
    *inner, name = op.split(".")
    domain = ".".join([MICROSOFT, *inner])
    built = product(*shapes, name, domain=domain, **attributes)
    assert count(built).uncounted == (f"{domain}:{name} (shape of 'y' unknown)",)
    cost = count(built, tensor_shapes={"y": output})  # type: ignore[dict-item]
    assert cost.known_macs == expected
    assert cost.memory_access_bytes == 4 * sum(map(math.prod, (*shapes, output)))


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_counts_its_gates_at_every_step(
    op: str, gates: int, directions: int
) -> None:
    rows = gates * 8
    layer = weights(w=(directions, rows, 5), r=(directions, rows, 8), b=(directions, 2 * rows))
    states = [weight("lengths", 3, dtype=INT32), weight("h", directions, 3, 8)]
    way = "bidirectional" if directions == 2 else "forward"
    cost = count(one(op, {"x": (7, 3, 5)}, *layer, *states, hidden_size=8, direction=way))
    assert cost.known_macs == 7 * 3 * directions * rows * (5 + 8)
    assert cost.params == directions * rows * (5 + 8 + 2)


@pytest.mark.parametrize(
    ("body", "operands", "dtype", "macs", "params"),
    [
        (
            "(uint8[1,3,8,8] x) => (y) { c = QLinearConv(x, s, z, w, s, z, s, z) "
            "y = QLinearMatMul(c, s, z, f, s, z, s, z) }",
            {"w": K, "f": (6, 5)}, UINT8, 4 * 36 * 27 + 4 * 36 * 5, 108 + 30,
        ),
        (
            "(uint8[1,3,8,8] x) => (c, y) { c = ConvInteger(x, w) y = MatMulInteger(x, f) }",
            {"w": K, "f": (8, 5)}, UINT8, 4 * 36 * 27 + 3 * 64 * 5, 108 + 40,
        ),
        (
            "(float[1,3,8,8] x) => (y) { xq = QuantizeLinear(x, s, z) "
            "xd = DequantizeLinear(xq, s, z) wd = DequantizeLinear(w, s, z) "
            "bd = DequantizeLinear(b, s, z) y = Conv(xd, wd, bd) }",
            {"w": K, "b": (4,)}, UINT8, 4 * 36 * 27, 108 + 4,
        ),
        (
            "(float[1,8] x) => (y) <float[5] t = {1,1,1,1,1}> { q, d, z1 = DynamicQuantizeLinear(x)"
            " i = MatMulInteger(q, w, z1, z) c = Cast<to=1>(i) p = Mul(d, t) y = Mul(c, p) }",
            {"w": (8, 5)}, UINT8, 40, 40,
        ),
    ],
    ids=["quantised", "integer", "dequantised", "dynamic"],
)  # fmt: skip
def test_quantised_operators_count_as_those_they_replace_without_their_scales(
    body: str, operands: dict[str, Sequence[int]], dtype: int, macs: int, params: int
) -> None:
    scales = [weight("s"), weight("z", dtype=UINT8)]
    cost = count(text(f"g {body}", *weights(dtype, **operands), *scales))
    assert (cost.known_macs, cost.params, cost.weight_bytes) == (macs, params, params)


def test_every_standard_operator_is_counted_or_free_or_on_this_list() -> None:
    named = {
        "AffineGrid", "CausalConvWithState", "DFT", "Det", "FlexAttention", "If",
        "ImageDecoder", "LinearAttention", "Loop", "MelWeightMatrix", "RegexFullMatch", "STFT",
        "Scan", "SequenceMap", "StringConcat", "StringNormalizer", "StringSplit",
        "TfIdfVectorizer",
    }  # fmt: skip
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert standard - FREE - set(COUNTED) <= named
    assert not FREE & set(COUNTED)


def test_an_operator_that_cannot_be_counted_is_named_with_how_often() -> None:
    body = "(float[1,3,8,2] x) => (y) { a = custom.LSTMX(x) b = DFT(x) c = DFT(x) y = Conv(a, w) }"
    cost = count(text(f"g {body}", weight("w", *K)))
    assert cost.uncounted == ("Conv (shape of 'a' unknown)", "DFT x 2", "custom:LSTMX")
    assert (cost.known_macs, cost.memory_access_bytes, cost.peak_activation_bytes) == (None,) * 3
    assert cost.ops == {"Conv": 1, "DFT": 2, "custom:LSTMX": 1}
    three = count(einsum("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)))
    assert three.uncounted == ("Einsum (3 operands)",)


# Bodies and functions


def test_a_body_costs_nothing_if_all_in_it_is_free_and_is_named_otherwise() -> None:
    between = """g (float[2,3] x, bool c) => (float[2,3] y) {
        y = If (c) <then_branch = t () => (a) %s,
                    else_branch = e () => (a) { b = Neg(x) a = Exp(b) }>
    }"""
    free = count(text(between % "{ a = Relu(x) }"))
    assert free.known_macs == 0
    assert free.ops == {"Exp": 1, "If": 1, "Neg": 1, "Relu": 1}
    assert free.memory_access_bytes is None
    weighted = count(text(between % "<float[3,3] w = {1,2,3,4,5,6,7,8,9}> { a = MatMul(x, w) }"))
    assert (weighted.uncounted, weighted.params) == (("If (has a body)",), 9)
    loop = count(
        text("""g (int64 n, float[2,3] x) => (float[2,3] y) <float[2,3] w = {1,2,3,4,5,6}> {
            t = Constant <value = bool {1}> ()
            y = Loop (n, t, x) <body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] r)
                { on = Identity(go) r = Add(s, w) }>
        }""")
    )
    assert (loop.uncounted, loop.params) == (("Loop (has a body)",), 6), "what it captures is used"
    assert loop.peak_activation_bytes is not None


def test_functions_are_counted_by_what_they_hold() -> None:
    built = text(
        "g (float[2,4] x) => (y) { h = lib.Block(x, w) y = lib.Block(h, w) }"
        '<opset_import: ["": 18], domain: "lib"> '
        "Block (a, w) => (b) { m = MatMul(a, w) b = Relu(m) }",
        weight("w", 4, 4),
    )
    cost = count(built)
    assert (cost.known_macs, cost.params) == (2 * 2 * 4 * 4, 16)
    assert cost.ops == {"MatMul": 2, "Relu": 2}


# Shapes


@pytest.mark.parametrize("size", ["N", -1])
def test_dynamic_inputs_are_fixed_by_the_callers_shapes(size: int | str) -> None:
    built = one("MatMul", {"a": (size, 5)}, weight("w", 5, 7))
    before = built.SerializeToString()
    assert count(built).uncounted == ("MatMul (shape of 'a' unknown)",)
    assert unknown_tensors(built) == ["a", "y"]
    assert count(built, {"a": (3, 5)}).known_macs == 3 * 5 * 7
    assert unknown_tensors(built, {"a": (3, 5)}) == []
    assert built.SerializeToString() == before
    body = "g (float[N,5] x) => (y) <float[N,5] h> { h = custom.Magic(x) y = MatMul(h, w) }"
    assert count(text(body, weight("w", 5, 7)), {"x": (3, 5)}).macs == 3 * 5 * 7, "all of that name"


def test_observed_shapes_win_over_inferred_ones() -> None:
    body = "g (float[3,5] x) => (y) { h = custom.Magic(x) y = MatMul(h, w) }"
    built = text(body, weight("w", 5, 7))
    assert unknown_tensors(built) == ["h", "y"]
    cost = count(built, tensor_shapes={"h": (4, 5), "y": (4, 7)})
    assert (cost.macs, cost.uncounted) == (4 * 5 * 7, ("custom:Magic",))


def test_reshape_targets_that_are_computed_are_followed() -> None:
    built = text(
        """g (float[N,4,6] x) => (y) <int64[1] rest = {-1}, int64[1] zero = {0}> {
        s = Shape(x) n = Gather(s, zero) t = Concat<axis = 0>(n, rest)
        f = Reshape(x, t) y = Gemm(f, w)
        }""",
        weight("w", 24, 2),
    )
    assert count(built, {"x": (3, 4, 6)}).known_macs == 3 * 24 * 2


def test_shapes_that_cannot_be_are_refused() -> None:
    built = one("MatMul", {"a": ("N", 5)}, weight("w", 5, 7))
    for shape in ((1, 2, 3), (3, 6), (-3, 5)):
        with pytest.raises(GraphError, match="cannot have the shape"):
            count(built, {"a": shape})
    with pytest.raises(GraphError, match="no input is named 'z'"):
        count(built, {"z": (1,)})
    with pytest.raises(GraphError, match="below zero"):
        count(one("Relu", {"x": ("N",)}), tensor_shapes={"x": (-1,)})


def test_weights_in_external_data_need_not_be_there(tmp_path: Path) -> None:
    built = one("Gemm", {"x": (2, 64)}, weight("w", 64, 32), weight("b", 32))
    path = tmp_path / "model.onnx"
    onnx.save_model(
        built, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (tmp_path / "weights.bin").unlink()
    cost = count(onnx.load_model(path, load_external_data=False))
    assert (cost.known_macs, cost.params) == (2 * 64 * 32, 64 * 32 + 32)


# Weights


@pytest.mark.parametrize(
    ("built", "params"),
    [
        pytest.param(
            one("BatchNormalization", {"x": (1, 8, 4, 4)},
                *weights(scale=(8,), bias=(8,), mean=(8,), var=(8,))),
            16, id="running statistics are none",
        ),
        pytest.param(
            text("""g (float[2,3] x) => (y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
                a = MatMul(x, w) t = Transpose(w) b = MatMul(a, t) i = Identity(t) y = Gemm(b, i)
            }"""),
            9, id="a shared one counts once however it is reached",
        ),
        pytest.param(
            text("g (float[2,3] x) => (y) { a = Mul(x, lone) y = PRelu(a, slope) }",
                 *weights(unused=(9,), lone=(1,), slope=(1,))),
            1, id="unused ones and lone factors are none",
        ),
        pytest.param(
            text("""g (float[1,3,4,4] x) => (y) <float[4] scales = {1, 1, 2, 2},
                    int64[2] shape = {1, -1}> {
                a = Clip(x, low, high) b = Resize(a, , scales) c = Pad(b, pads, value)
                d = Dropout(c, ratio) y = Reshape(d, shape)
            }""", *weights(low=(1,), high=(1,), value=(1,), ratio=(1,)),
                 weight("pads", 8, dtype=INT64)),
            0, id="limits, sizes and scales are none",
        ),
    ],
)  # fmt: skip
def test_a_weight_is_a_constant_that_was_learnt(built: onnx.ModelProto, params: int) -> None:
    cost = count(built)
    assert (cost.params, cost.weight_bytes) == (params, 4 * params)


def test_a_constant_node_and_a_sparse_constant_are_weights() -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight("", 64, 64)),
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
    nodes.insert(0, helper.make_node("Constant", [], ["s"], sparse_value=sparse))
    assert count(model(nodes, {"x": (2, 64)})) == cost
    assert cost.ops == {"MatMul": 2}
    assert cost.memory_access_bytes == 4 * (2 * 64 + 64 * 64 + 2 * 64) + 4 * (2 * 64 + 64 * 5 + 10)


# Memory


sizes = st.integers(min_value=1, max_value=64)


@settings(max_examples=50)
@given(h=sizes, w=sizes, c1=sizes, c2=sizes)
def test_a_1x1_convolution_moves_hw_c1_plus_c2_plus_c1c2(h: int, w: int, c1: int, c2: int) -> None:
    cost = count(one("Conv", {"x": (1, c1, h, w)}, weight("w", c2, c1, 1, 1)))
    assert cost.memory_access_bytes == 4 * (h * w * (c1 + c2) + c1 * c2)
    assert cost.known_macs == h * w * c1 * c2


def test_renaming_moves_nothing_and_elements_below_a_byte_are_packed() -> None:
    cost = count(
        text("""g (float[2,6] x) => (y) <int64[1] s = {12}> {
            a = Mul(x, x)
            b = Reshape(a, s)
            c = Identity(b)
            y = Relu(c)
        }""")
    )
    assert cost.memory_access_bytes == 4 * (12 + 12) + 4 * (12 + 12)
    packed = "g (int4[3,3] x) => (float[3,3] y) <float s = {1.0}> { y = DequantizeLinear(x, s) }"
    assert count(text(packed, opset=21)).memory_access_bytes == 5 + 4 + 36


@pytest.mark.parametrize(
    ("body", "peak"),
    [
        ("(float[10] x) => (float[10] y) { a = Relu(x) b = Relu(a) y = Relu(b) }", 2 * 40),
        ("(float[10] x) => (float[10] y) { a = Relu(x) b = Relu(a) y = Add(b, x) }", 3 * 40),
        ("(float[10] x) => (float[10] y) { a = Identity(x) y = Relu(a) }", 2 * 40),  # renamed
        ("(float[10] x) => (float[10] y) { a = Exp(x) b = Relu(x) y = Relu(b) }", 2 * 40),  # unused
        (  # a body's own tensors are alive beside those around it
            "(float[10] x, bool c) => (float[10] y) { y = If (c) <"
            "then_branch = t () => (a) { b = Exp(x) a = Relu(b) },"
            "else_branch = e () => (a) { a = Relu(x) }> }",
            40 + 1 + 40 + 80,
        ),
    ],
)
def test_the_peak_is_the_most_that_is_alive_at_once(body: str, peak: int) -> None:
    assert count(text(f"g {body}")).peak_activation_bytes == peak


def test_nodes_may_stand_in_any_order() -> None:
    body = """a = MatMul(x, w) c = ReduceSum(a) d = Cast<to = 9>(c)
    y = If<then_branch = t () => (float[2,4] p) { p = Relu(a) },
           else_branch = e () => (float[2,4] q) { q = Neg(a) }>(d)"""
    built = text(f"g (float[2,3] x) => (float[2,4] y) {{ {body} }}", weight("w", 3, 4))
    expected = count(built)
    nodes = list(built.graph.node)
    del built.graph.node[:]
    built.graph.node.extend(reversed(nodes))
    assert count(built) == expected
    assert expected.macs == 24


def test_open_sizes_without_a_name_are_not_one() -> None:
    built = text("g (float[?,3] x) => (float[?,?] y) { y = MatMul(x, w) }", weight("w", 3, 5))
    for value in (*built.graph.input, *built.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.dim_param = "?"
    cost = count(built, {"x": (8, 3)})
    assert (cost.macs, cost.memory_access_bytes) == (120, 4 * (24 + 15 + 40))
