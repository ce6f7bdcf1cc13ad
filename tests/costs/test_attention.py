"""Multiply-accumulates of attention: what the same graph written out in products has."""

from collections.abc import Sequence
from typing import Any

import onnx
import pytest

from benchbox.costs import count
from benchbox.errors import GraphError
from tests.helpers.onnx_models import MICROSOFT, model, text, weight

B, H, S, L, D = 2, 4, 6, 10, 8
WIDE, PRODUCTS = H * D, B * H * S * L * 2 * D
Shapes = Sequence[Sequence[int] | None]


def cost_of(op: str, shapes: Shapes, outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    inputs = {f"i{at}": shape for at, shape in enumerate(shapes) if shape is not None}
    names = [f"i{at}" if shape is not None else "" for at, shape in enumerate(shapes)]
    domain = "" if op == "Attention23" else MICROSOFT
    node = onnx.helper.make_node(
        op.removesuffix("23"), names, list(outputs), domain=domain, **attributes
    )
    built = model([node], inputs, outputs=outputs)
    built.opset_import[0].version = 23
    return count(built)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "macs"),
    [
        ("Attention23", [(B, H, S, D), (B, H, L, D), (B, H, L, D)], {}, PRODUCTS),
        ("Attention23", [(B, S, WIDE), (B, L, WIDE // 2), (B, L, WIDE // 2)],
         {"q_num_heads": H, "kv_num_heads": H // 2}, PRODUCTS),
        ("Attention23", [(B, H, S, D), (B, H, S, D), (B, H, S, D), None,
                         (B, H, L - S, D), (B, H, L - S, D)], {}, PRODUCTS),
        ("Attention23", [(B, H, S, D), (B, H, L, D), (B, H, L, 3 * D)], {"is_causal": 1},
         2 * PRODUCTS),
        ("MultiHeadAttention", [(B, S, WIDE), (B, L, WIDE), (B, L, WIDE)], {"num_heads": H},
         PRODUCTS),
        ("MultiHeadAttention", [(B, S, WIDE), (B, H, L, D), (B, H, L, D)], {"num_heads": H},
         PRODUCTS),
        ("MultiHeadAttention", [(B, S, WIDE), (B, L, H, 2, D)], {"num_heads": H}, PRODUCTS),
        ("MultiHeadAttention", [(B, L, H, 3, D)], {"num_heads": H}, PRODUCTS * L // S),
        ("MultiHeadAttention", [(B, S, WIDE), (B, S, WIDE), (B, S, WIDE), None, None, None,
                                (B, H, L - S, D), (B, H, L - S, D)], {"num_heads": H}, PRODUCTS),
        ("Attention", [(B, L, 16), (16, 3 * WIDE)], {"num_heads": H},
         PRODUCTS * L // S + B * L * 16 * 3 * WIDE),
        ("Attention", [(B, S, 16), (16, 3 * WIDE), None, None, (2, B, H, L - S, D)],
         {"num_heads": H}, PRODUCTS + B * S * 16 * 3 * WIDE),
        ("Attention", [(B, L, 16), (16, 2 * WIDE + 8)],
         {"num_heads": H, "qkv_hidden_sizes": [WIDE, WIDE, 8]},
         B * L * L * (WIDE + 8) + B * L * 16 * (2 * WIDE + 8)),
        ("QAttention", [(B, L, 16), (16, 3 * WIDE)], {"num_heads": H},
         PRODUCTS * L // S + B * L * 16 * 3 * WIDE),
        ("GroupQueryAttention", [(B, S, WIDE), (B, S, D), (B, S, D), (B, 1, L - S, D),
                                 (B, 1, L - S, D)], {"num_heads": H, "kv_num_heads": 1}, PRODUCTS),
        ("GroupQueryAttention", [(B, L, WIDE + 2 * D), None, None],
         {"num_heads": H, "kv_num_heads": 1}, PRODUCTS * L // S),
        ("DynamicQuantizeLSTM", [(5, B, 16), (2, 16, 4 * D), (2, D, 4 * D)], {"hidden_size": D},
         5 * B * 2 * (16 + D) * 4 * D),
        ("MatMulNBits", [(B, S, 16), (D, 1, 8), (D,)], {"K": 16, "N": D, "bits": 4},
         B * S * 16 * D),
        ("MatMulBnb4", [(B, S, 16), (64,), (D,)], {"K": 16, "N": D}, B * S * 16 * D),
    ],
)  # fmt: skip
def test_attention_counts_as_its_products(
    op: str, shapes: Shapes, attributes: dict[str, Any], macs: int
) -> None:
    cost = cost_of(op, shapes, **attributes)
    assert (cost.known_macs, cost.uncounted) == (macs, ())


def test_attention_with_an_unknown_past_is_named() -> None:
    cost = cost_of("MultiHeadAttention", [(B, S, WIDE), ("n", 2, 3)], num_heads=H)  # type: ignore[list-item]
    assert cost.uncounted == (f"{MICROSOFT}:MultiHeadAttention (shape of 'i1' unknown)",)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "problem"),
    [
        ("MultiHeadAttention", [(B, S, WIDE), (B, L, WIDE)], {}, "num_heads is 0"),
        ("MultiHeadAttention", [(B, S, WIDE)], {"num_heads": 2}, "neither keys nor packed"),
        ("Attention", [(B, S, 16), (8, 24)], {"num_heads": 2}, "cannot be projected by"),
        ("Attention", [(B, 16), (16, 24)], {"num_heads": 2}, "no batch of sequences"),
    ],
)
def test_attention_that_cannot_be_is_refused(
    op: str, shapes: Shapes, attributes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(GraphError, match=problem):
        cost_of(op, shapes, **attributes)


def test_masks_and_position_tables_are_no_weights() -> None:
    attend = f"{MICROSOFT}.MultiHeadAttention<num_heads=4>(r, x, x, bias, , mask)"
    built = text(
        f"g (float[1,6,32] x, int64[1] p) => (y) {{ "
        f"r = {MICROSOFT}.RotaryEmbedding(x, p, cos, sin) y = {attend} }}",
        weight("bias", 96), weight("mask", 1, 1, 6, 6), weight("cos", 10, 4), weight("sin", 10, 4),
    )  # fmt: skip
    assert count(built).params == 96
