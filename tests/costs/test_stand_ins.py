"""Shapes of ONNX Runtime's own operators, known without a run."""

import pytest

from benchbox.costs import count, unknown_tensors
from tests.helpers.onnx_models import INT8, MICROSOFT, text, weight


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ("a = com.microsoft.QuickGelu(x) y = Relu(a)", []),
        ("a, , , b = com.microsoft.SkipLayerNormalization(x, x, v) y = Add(a, b)", []),
        ("a = com.microsoft.MatMulNBits<K=8, N=5, bits=4, block_size=32>(x, p, v) y = Exp(a)", []),
        ("a = com.microsoft.FusedMatMul<alpha=0.5>(x, m) y = Relu(a)", []),
        ("a = com.microsoft.FusedMatMul<transA=1>(x, x) y = Relu(a)", ["a", "y"]),
        ("a = com.microsoft.MatMulNBits(x, p, v) y = Exp(a)", ["a", "y"]),
        ("a = com.microsoft.Blorp(x) y = Exp(a)", ["a", "y"]),
    ],
)
def test_what_follows_an_operator_of_onnx_runtime_has_its_shape(
    body: str, unknown: list[str]
) -> None:
    built = text(
        f"g (float[2,4,8] x) => (y) {{ {body} }}",
        weight("v", 8), weight("m", 8, 5), weight("p", 5, 1, 16, dtype=INT8),
    )  # fmt: skip
    assert unknown_tensors(built) == unknown
    if not unknown:
        assert (count(built).memory_access_bytes or 0) > 2 * 2 * 4 * 5 * 4


def test_quantised_operators_need_no_run() -> None:
    operators = """g (uint8[1,8,16,16] x) => (y) {
        a = com.microsoft.QLinearAdd(x, s, z, x, s, z, s, z)
        b = com.microsoft.QLinearConcat<axis=1>(s, z, a, s, z, x, s, z)
        c = com.microsoft.QLinearAveragePool<kernel_shape=[2,2], strides=[2,2]>(b, s, z, s, z)
        d = com.microsoft.QLinearGlobalAveragePool(c, s, z, s, z) y = Flatten(d) }"""
    built = text(operators, weight("s"), weight("z", dtype=2))
    assert unknown_tensors(built) == []
    cost = count(built)
    assert set(cost.ops) == {*(f"{MICROSOFT}:QLinear{name}" for name in (
        "Add", "AveragePool", "Concat", "GlobalAveragePool")), "Flatten"}  # fmt: skip
    size, scales = 8 * 256, 3 * 5 + 3 * 5 + 2 * 5 + 2 * 5
    moved = 3 * size - size + 4 * size + (2 + 0.5) * size + (0.5 + 1 / 128) * size
    assert cost.memory_access_bytes is not None
    assert 0 <= cost.memory_access_bytes - moved <= scales
