"""Graphs with other widths: what follows suit, and what cannot be altered."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchbox import costs
from benchbox.errors import GraphError
from benchbox.insight.widths import widened
from tests.helpers import onnx_models

SHUFFLE = """shuffle (float[1,3,8,8] x) => (float[1,5] y) {
    a = Conv(x, w3_4) b = Conv(x, w3_8) c = Concat<axis = 1>(a, b)
    d = Reshape(c, apart) e = Transpose<perm = [0, 2, 1, 3, 4]>(d) f = Reshape(e, whole)
    g, h = Split<axis = 1>(f, halves)
    i = Conv(h, w6_6) j = Relu(i) k = Conv<group = 6, pads = [1, 1, 1, 1]>(j, dw)
    l = Concat<axis = 1>(g, k) m = GlobalAveragePool(l) n = Flatten(m) y = Gemm(n, fc)
}"""
RESIDUAL = """residual (float[1,8,8,8] x) => (float[1,6,8,8] y) {
    a = Conv(x, w8_6) b = BatchNormalization(a, s, s, s, s) c = Conv(b, w6_3)
    d = Concat<axis = 1>(c, c) e = Add(b, d) f = GlobalAveragePool(e) g = Sigmoid(f)
    h = Mul(e, g) i = Add(h, bias) y = Conv<group = 2>(i, grouped)
}"""
SLICED = """sliced (float[1,4,6,6] x) => (float[1,5,6,6] y) {
    a = Conv(x, w4_3) b = Concat<axis = 1>(a, a) y = Slice(b, from, to, axis)
}"""
UP = """up (float[1,3,8,8] x) => (float[1,2,8,8] y) {
    a = Conv<strides = [2, 2]>(x, w12_3) b = Slice(a, zero, half, axis)
    c = Slice(a, half, end, axis) d = Add(b, c)
    e = ConvTranspose<strides = [2, 2], kernel_shape = [2, 2]>(d, up_4) y = Conv(e, w2_4)
}"""
GROUPED = """odd (float[1,6,4,4] x) => (float[1,6,4,4] y) { y = Conv<group = 2>(x, grouped) }"""
OTHERS = {
    "apart": [1, 6, 2, 8, 8],
    "whole": [1, 12, 8, 8],
    "halves": [6, 6],
    "from": [0],
    "to": [5],
    "axis": [1],
    "zero": [0],
    "half": [6],
    "end": [12],
}
WEIGHTS = {
    "w3_4": (4, 3, 1, 1),
    "w3_8": (8, 3, 1, 1),
    "w6_6": (6, 6, 1, 1),
    "dw": (6, 1, 3, 3),
    "fc": (12, 5),
    "w8_6": (6, 8, 1, 1),
    "s": (6,),
    "w6_3": (3, 6, 1, 1),
    "w4_3": (3, 4, 1, 1),
    "bias": (1, 6, 1, 1),
    "w12_3": (12, 3, 1, 1),
    "up_4": (6, 4, 2, 2),
    "w2_4": (2, 4, 1, 1),
    "grouped": (6, 3, 1, 1),
}


def model(text: str) -> onnx.ModelProto:
    return onnx_models.naming(text, WEIGHTS, OTHERS)


@pytest.mark.parametrize(
    ("text", "x", "to", "output", "widths"),
    [
        # Halves of 8 need 16 to be split, and these a wider convolution before the concatenation.
        (SHUFFLE, (1, 3, 8, 8), {6: 8}, (1, 5), {"b": 12, "k": 8, "l": 16}),
        # Twice 4 channels are added to 6, which have to be 8; the input is widened as well.
        (RESIDUAL, (1, 16, 8, 8), {8: 16, 3: 4}, (1, 8, 8, 8), {"b": 8, "e": 8, "i": 8}),
        (SLICED, (1, 4, 6, 6), {3: 4, 5: 6}, (1, 6, 6, 6), {"b": 8}),
        (UP, (1, 3, 8, 8), {12: 16, 4: 8}, (1, 2, 8, 8), {"b": 8, "c": 8, "e": 8}),
        (SLICED, (1, 4, 6, 6), {}, (1, 5, 6, 6), {"b": 6}),
    ],
)
def test_what_depends_on_a_width_follows_suit(
    text: str,
    x: tuple[int, ...],
    to: dict[int, int],
    output: tuple[int, ...],
    widths: dict[str, int],
) -> None:
    original = model(text)
    before = original.SerializeToString()
    shape = tuple(d.dim_value for d in original.graph.input[0].type.tensor_type.shape.dim)
    altered, inputs = widened(original, {"x": shape}, to)
    assert original.SerializeToString() == before
    assert inputs == {"x": x}
    named = {name: onnx.helper.make_empty_tensor_value_info(name) for name in widths}
    altered.graph.output.extend(named.values())
    session = ort.InferenceSession(altered.SerializeToString())
    first, *others = session.run(None, {"x": np.ones(x, np.float32)})
    assert first.shape == output
    assert np.isfinite(first).all()
    assert {name: each.shape[1] for name, each in zip(widths, others, strict=True)} == widths
    changed = costs.count(altered, inputs).macs != costs.count(original, {"x": shape}).macs
    assert changed == bool(to)


@pytest.mark.parametrize(
    ("text", "to", "reason"),
    [
        (GROUPED, {6: 7}, "2 groups do not divide"),
        (SHUFFLE.replace("Conv(x, w3_4)", "Conv(x, q)").replace("a =", "q = Identity(w3_4) a =", 1),
         {4: 8}, "weights that are no constants"),
        (SLICED.replace("from, to", "to, to"), {3: 4, 5: 6}, "a slice of changed channels"),
    ],
)  # fmt: skip
def test_what_cannot_be_altered_says_so(text: str, to: dict[int, int], reason: str) -> None:
    found = model(text)
    shape = tuple(d.dim_value for d in found.graph.input[0].type.tensor_type.shape.dim)
    with pytest.raises(GraphError, match=reason):
        widened(found, {"x": shape}, to)


IMAGE = """image (float[1,3,8,8] x) => (float[1,12] y, float[1,6,8,8] z) {
    a = Conv(x, w6_3w) b = Relu(a) c = Conv(b, w12_6) d = GlobalAveragePool(c) y = Flatten(d)
    e = Conv(b, w6_6) z = Conv<group = 6, pads = [1, 1, 1, 1]>(e, dw)
}"""


def test_what_is_given_of_an_image_stays_as_wide() -> None:
    weights = onnx_models.weights(
        w6_3w=(6, 3, 1, 1), w12_6=(12, 6, 1, 1), w6_6=(6, 6, 1, 1), dw=(6, 1, 3, 3)
    )
    altered, _ = widened(onnx_models.text(IMAGE, *weights), {"x": (1, 3, 8, 8)}, {6: 8, 12: 16})
    session = ort.InferenceSession(altered.SerializeToString())
    y, z = session.run(None, {"x": np.ones((1, 3, 8, 8), np.float32)})
    assert (y.shape, z.shape) == ((1, 12), (1, 6, 8, 8))
    arrays = {each.name: each.dims for each in altered.graph.initializer}
    assert [*arrays[altered.graph.node[0].input[1]]] == [8, 3, 1, 1]
