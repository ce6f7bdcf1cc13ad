"""Memory of a graph as it is loaded: constants folded, QDQ pairs fused, rows of tables read."""

import onnx
import pytest

from benchbox.costs import count
from tests.helpers.onnx_models import INT8, MICROSOFT, UINT8, text, weight, weights

QDQ = """g (float[1,8,16,16] x) => (float[1,8,16,16] y) {
    xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z) wd = DequantizeLinear(w, s, zw)
    c = Conv(xd, wd) cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z)
    a = Add(cd, xd) aq = QuantizeLinear(a, s, z) y = DequantizeLinear(aq, s, z) }"""
QOPERATORS = """g (float[1,8,16,16] x) => (float[1,8,16,16] y) {
    xq = QuantizeLinear(x, s, z) cq = QLinearConv(xq, s, z, w, s, zw, s, z)
    aq = com.microsoft.QLinearAdd(cq, s, z, xq, s, z, s, z) y = DequantizeLinear(aq, s, z) }"""
MAP, SCALES = 8 * 16 * 16, 2 * (4 + 1)  # the pairs at both ends read a scale and a zero point


def quantised(body: str) -> onnx.ModelProto:
    scales = [weight("s"), weight("z", dtype=UINT8), weight("zw", dtype=INT8)]
    return text(body, weight("w", 8, 8, 1, 1, dtype=INT8), *scales)


def test_a_qdq_pair_is_part_of_the_operator_beside_it() -> None:
    cost = count(quantised(QDQ))
    ends, conv, add = 2 * (4 * MAP + MAP), 2 * MAP + 64, 3 * MAP
    assert cost.memory_access_bytes == ends + conv + add + SCALES
    assert cost.peak_activation_bytes == 4 * MAP + MAP
    assert (cost.known_macs, cost.params, cost.weight_bytes) == (MAP * 8, 64, 64)
    assert cost.ops["QuantizeLinear"] == 3  # the file has them


def test_quantised_operators_move_as_much_as_fused_pairs() -> None:
    pairs, operators = count(quantised(QDQ)), count(quantised(QOPERATORS))
    assert operators.uncounted == ()
    assert operators.peak_activation_bytes == pairs.peak_activation_bytes
    assert pairs.memory_access_bytes is not None
    assert operators.memory_access_bytes is not None
    more = operators.memory_access_bytes - pairs.memory_access_bytes
    assert 0 <= more < 32  # the scales that its operators read


def test_a_pair_whose_float_is_used_elsewhere_is_work() -> None:
    body = """g (float[100] x) => (float[100] y, float[100] a) {
        a = Relu(x) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }"""
    assert count(quantised(body)).memory_access_bytes == 2 * 400 + 2 * (400 + 100 + 5)


@pytest.mark.parametrize("is_read_twice", [False, True])
def test_a_dynamically_quantised_product_is_one_operator(is_read_twice: bool) -> None:
    second = "n = Clip(q)" if is_read_twice else ""
    body = f"""g (float[1,16,32] x) => (float[1,16,8] y) {{
        q, qs, qz = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, qz, zw) f = Cast<to=1>(i)
        k = Mul(qs, s) m = Mul(f, k) y = Add(m, b) {second} }}"""
    tensors = [
        weight("w", 32, 8, dtype=INT8),
        weight("zw", dtype=INT8),
        weight("s"),
        weight("b", 8),
    ]
    cost = count(text(body, *tensors))
    product = 32 * 8 + 4 * 16 * 8 + 1 + 1 + 4 + 4 * 8  # weights, output, zero points, scale, bias
    quantised, floats = 16 * 32, 4 * 16 * 32
    apart = floats + quantised + 4 + 1 + quantised + 2 * quantised  # Relu reads and writes it
    assert cost.memory_access_bytes == product + (apart if is_read_twice else floats)
    assert cost.known_macs == 16 * 32 * 8


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        ("k = Exp(c) k2 = MatMul(k, k) y = Add(x, k2)", 3 * 64),
        ("n = RandomUniformLike(c) y = Add(x, n)", 2 * 64 + 3 * 64),  # is new in every call
        ("q = QuantizeLinear(c, s, z) d = DequantizeLinear(q, s, z) y = Add(x, d)", 2 * 64 + 16),
    ],
)
def test_what_depends_on_constants_alone_costs_nothing(body: str, moved: int) -> None:
    built = quantised(f"g (float[4,4] x) => (float[4,4] y) {{ {body} }}")
    built.graph.initializer.append(weight("c", 4, 4))
    cost = count(built)
    assert (cost.known_macs, cost.memory_access_bytes) == (0, moved)


@pytest.mark.parametrize(
    ("size", "moved"), [("4", 3 * 64), ("N", 16 + 64 + 3 * 64)], ids=["fixed", "open"]
)
def test_a_shape_is_known_at_loading_where_no_input_is_open(size: str, moved: int) -> None:
    body = "s = Shape(x) m = ConstantOfShape(s) y = Add(x, m)"
    built = text(f"g (float[{size},4] x) => (y) {{ {body} }}")
    assert count(built, {"x": (4, 4)}).memory_access_bytes == moved


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        ("y = Gather(t, i)", 3 * 8 + 2 * 3 * 64 * 4),
        ("y = Gather<axis=1>(t, i)", 3 * 8 + 2 * 1000 * 3 * 4),
        ("y = Gather(few, i)", 3 * 8 + 2 * 64 * 4 + 3 * 64 * 4),  # no more than the table has
        ("y = Slice(t, b, e) z = Gather(t, i)", 2 * 8 + 2 * 16 * 64 * 4 + 24 + 2 * 3 * 64 * 4),
        ("h = Gather(t, i) y = Gather(h, i)", 2 * (3 * 8 + 2 * 3 * 64 * 4)),
    ],
)
def test_a_look_up_reads_rows_not_the_table(body: str, moved: int) -> None:
    head = "g (int64[3] i, float[1000,64] t, float[2,64] few) => (y)"
    built = text(f"{head} <int64[1] b = {{0}}, int64[1] e = {{16}}> {{ {body} }}")
    assert count(built).memory_access_bytes == moved


def test_an_embedding_layer_reads_the_rows_of_its_three_tables() -> None:
    tables = weights(word=(5000, 64), position=(512, 64), segment=(2, 64), g=(64,), b=(64,))
    built = text(
        f"g (int32[1,10] i, int32[1,10] t) => (y) {{ "
        f"y, m = {MICROSOFT}.EmbedLayerNormalization(i, t, word, position, segment, g, b) }}",
        *tables,
    )
    cost = count(built, tensor_shapes={"y": (1, 10, 64), "m": (1,)})
    rows = 10 * 64 * 4
    assert cost.memory_access_bytes == 2 * 40 + 2 * rows + 2 * 64 * 4 + 2 * 256 + rows + 4
    assert (cost.known_macs, cost.params) == (0, sum(64 * n for n in (5000, 512, 2, 1, 1)))


def test_tables_of_constants_are_told_from_weights() -> None:
    built = text(
        "g (float[1,4,8] x) => (y) { a = MatMul(x, w) b = Add(a, grid) y = Mul(b, scale) }",
        *weights(w=(8, 8), grid=(1, 4, 8), scale=(8,)),
    )
    cost = count(built)
    assert (cost.params, cost.table_params) == (64 + 32 + 8, 32)


def test_weights_below_a_byte_count_by_element() -> None:
    product = f"y = {MICROSOFT}.MatMulNBits<K=64, N=32, bits=4, block_size=32>(x, w, scales)"
    built = text(
        f"g (float[1,10,64] x) => (y) {{ {product} }}",
        weight("w", 32, 2, 16, dtype=UINT8),
        weight("scales", 64),
    )
    cost = count(built)
    assert (cost.known_macs, cost.params, cost.weight_bytes) == (640 * 32, 64 * 32, 1024)
    looked_up = text(
        f"g (int32[3] i) => (y) {{ y = {MICROSOFT}.GatherBlockQuantized<bits=4>(t, i, s) }}",
        weight("t", 100, 32, dtype=UINT8),
        weight("s", 100, 2),
    )
    cost = count(looked_up, tensor_shapes={"y": (3, 64)})
    assert cost.params == 6400
