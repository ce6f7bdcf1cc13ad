"""Widths and blocks of MobileNetV2 and V3; test_parity.py holds the networks against references."""

import pytest
import torch
from torch import nn

from benchbox.networks.mobilenetv2 import InvertedResidual, mobilenetv2
from benchbox.networks.mobilenetv3 import mobilenetv3_large, mobilenetv3_small
from tests.helpers.parity import on_meta


@pytest.mark.parametrize(
    ("build", "width", "shapes"),
    [
        (mobilenetv2, 0.35, {"features.0.0": (16, 3, 3, 3), "classifier.1": (1000, 1280)}),
        (mobilenetv2, 1.4, {"features.0.0": (48, 3, 3, 3), "features.18.0": (1792, 448, 1, 1)}),
        (mobilenetv3_small, 0.75, {"features.12.0": (432, 72, 1, 1), "classifier.0": (768, 432)}),
        (
            mobilenetv3_large,
            1.25,
            {"features.16.0": (1200, 200, 1, 1), "classifier.3": (1000, 1600)},
        ),
    ],
)
def test_widths_round_to_multiples_of_8_and_the_last_layer_never_narrows(
    build: type[nn.Module], width: float, shapes: dict[str, tuple[int, ...]]
) -> None:
    module = on_meta(build, width)
    found = {key: tuple(module.get_parameter(f"{key}.weight").shape) for key in shapes}
    assert found == shapes


@pytest.mark.parametrize("build", [mobilenetv2, mobilenetv3_small, mobilenetv3_large])
def test_a_width_that_is_not_positive_is_refused(build: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="width is 0; it must be positive"):
        build(0)


@pytest.mark.parametrize(
    ("c_out", "stride", "has_shortcut"), [(16, 1, True), (24, 1, False), (16, 2, False)]
)
def test_a_block_adds_its_input_where_the_shapes_agree(
    c_out: int, stride: int, has_shortcut: bool
) -> None:
    block = InvertedResidual(16, c_out, stride, 6).eval()
    x = torch.randn(1, 16, 8, 8)
    y, inner = block(x), block.conv(x)
    assert y.shape == (1, c_out, 8 // stride, 8 // stride)
    assert torch.equal(y, inner + x if has_shortcut else inner)
