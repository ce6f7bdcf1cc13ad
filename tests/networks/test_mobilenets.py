"""Widths and blocks of MobileNetV2 and V3; test_parity.py holds the networks against references."""

import pytest
import torch
from torch import nn

from benchbox.networks.mobilenetv2 import InvertedResidual, mobilenetv2
from benchbox.networks.mobilenetv3 import mobilenetv3_large, mobilenetv3_small


def test_widths_round_to_multiples_of_8_and_the_last_layer_never_narrows() -> None:
    with torch.device("meta"):
        narrow, wide = mobilenetv2(0.35), mobilenetv2(1.4)
        small, large = mobilenetv3_small(0.75), mobilenetv3_large(1.25)
    assert shape(narrow, "features.0.0") == (16, 3, 3, 3)
    assert shape(narrow, "classifier.1") == (1000, 1280)
    assert shape(wide, "features.0.0") == (48, 3, 3, 3)
    assert shape(wide, "features.18.0") == (1792, 448, 1, 1)
    assert shape(small, "features.12.0") == (432, 72, 1, 1)
    assert shape(small, "classifier.0") == (768, 432)
    assert shape(large, "features.16.0") == (1200, 200, 1, 1)
    assert shape(large, "classifier.3") == (1000, 1600)


def shape(module: nn.Module, key: str) -> tuple[int, ...]:
    return tuple(module.get_parameter(f"{key}.weight").shape)


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
    with torch.no_grad():
        y, inner = block(x), block.conv(x)
    assert y.shape == (1, c_out, 8 // stride, 8 // stride)
    assert torch.equal(y, inner + x if has_shortcut else inner)
