"""Integers made up for a graph, by what it does with them."""

from typing import Any

import pytest

from benchbox.export.made_up import made_up
from tests.helpers.onnx_models import text

TABLE = "float[50,4] t"


def how(inputs: str, body: str) -> dict[str, Any]:
    """How integers are made for a graph; the inputs' sizes are those in their declarations."""
    model = text(f"g ({inputs}) => (float[?,?] y) {{ {body} }}")
    kinds = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool"}
    return dict(
        made_up(
            model,
            [
                {
                    "name": value.name,
                    "shape": [d.dim_value for d in value.type.tensor_type.shape.dim],
                    "dtype": kinds[value.type.tensor_type.elem_type],
                }
                for value in model.graph.input
            ],
        )
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Gather<axis = 0>(t, ids)", {"below": 50}),
        ("y = Gather<axis = -1>(t, ids)", {"below": 4}),
        ("y = GatherElements<axis = 1>(t, ids)", {"below": 4}),
        ("c = Cast<to = 7>(ids) u = Squeeze(c) y = Gather(t, u)", {"below": 50}),
        ("k = Constant<value_ints = [2]>() y = Gather(t, ids)", {"below": 50}),
        ("k = Constant<value = int64[1] {10}>() a = Add(ids, k) y = Gather(t, a)", {"below": 40}),
        ("k = Constant<value = int64[1] {10}>() a = Add(k, ids) y = Gather(t, a)", {"below": 40}),
        ("k = Constant<value = int64[1] {5}>() a = Mul(ids, k) y = Gather(t, a)", {"below": 10}),
        ("a = Add(ids, ids) y = Gather(t, a)", {"below": 25}),
        ("y = Gather(t, ids) b = Gather<axis = 1>(t, ids)", {"below": 4}),
        ("y = Cast<to = 1>(ids)", None),
        ("f = Cast<to = 1>(ids) y = Add(f, f)", None),
        ("k, l = TopK(t, ids) y = Identity(t)", {"number": 4}),
        ("a = Constant<value = int64[1] {0}>() y = Slice(t, a, ids, a)", {"number": 50}),
        ("y = Expand(t, ids)", {}),
        ("k = Constant<value = int64[1] {1}>() e = Equal(ids, k) y = Compress(t, e)", {}),
    ],
)
def test_an_index_is_spread_over_its_table(body: str, expected: dict[str, int] | None) -> None:
    found = how(f"int64[2,2] ids, {TABLE}", body)
    assert found == ({} if expected is None else {"ids": expected})


RNN = "float[9,1,3] x, int32[1] n, float[1,12,3] w, float[1,12,4] r"
LOOP = """k = Constant<value = bool {1}>() y = Loop<body = b (int64 i, bool c, float[4] s) =>
    (bool d, float[4] o) { d = Identity(c) v = Gather<axis = 0>(t, i) o = Add(s, v) }>(n, k, z)"""
BRANCH = """c = Constant<value = int64 {16000}>() e = Equal(sr, c)
    y = If<then_branch = a () => (float[50,4] p) { p = Relu(t) },
           else_branch = b () => (float[50,4] q) { q = Neg(t) }>(e)"""


@pytest.mark.parametrize(
    ("inputs", "body", "expected"),
    [
        (RNN, "y = GRU<hidden_size = 4>(x, w, r, , n)", {"n": {"number": 9}}),
        (RNN, "y = GRU<hidden_size = 4, layout = 1>(x, w, r, , n)", {"n": {"number": 1}}),
        ("float[7,2] x, int64[2] n", "y = ReverseSequence(x, n)", {"n": {"number": 7}}),
        (f"int64 n, float[4] z, {TABLE}", LOOP, {"n": {"number": 50}}),
        (f"int64 sr, {TABLE}", BRANCH, {"sr": {}}),
        (f"uint8[2] ids, {TABLE}", "y = Gather(t, ids)", {"ids": {"below": 50}}),
        ("uint8[2] ids, float[999,4] t", "y = Gather(t, ids)", {"ids": {"below": 256}}),
        ("float[4] x", "y = Relu(x)", {}),
    ],
)
def test_lengths_take_the_most_and_others_stay_small(
    inputs: str, body: str, expected: dict[str, Any]
) -> None:
    assert how(inputs, body) == expected
