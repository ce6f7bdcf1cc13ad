"""Widths and units of ShuffleNets and MobileNets; test_parity.py holds them against references."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchbox.networks import shufflenetv1, shufflenetv2
from benchbox.networks.mobilenetv2 import InvertedResidual, mobilenetv2
from benchbox.networks.mobilenetv3 import mobilenetv3_large, mobilenetv3_small
from tests.helpers.parity import on_meta

WIDTHS = "0.5, 1.0, 1.5, 2.0"
GROUPS = "1, 2, 3, 4, 8"


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        (shufflenetv2.shufflenetv2, 0.25, f"width is 0.25; .* {WIDTHS}"),
        (shufflenetv2.shufflenetv2_tv, 0, f"width is 0; .* {WIDTHS}"),
        (shufflenetv1.shufflenetv1, 5, f"groups is 5; .* {GROUPS}"),
        (mobilenetv2, 0, "width is 0; it must be positive"),
        (mobilenetv3_small, 0, "width is 0; it must be positive"),
        (shufflenetv2.Unit, 7, "7 channels"),
        (lambda c_out: shufflenetv1.Unit(24, c_out, groups=3), 20, "20; 3 groups need .* of 12"),
    ],
)
def test_what_the_tables_have_not_is_refused(
    build: Callable[..., Any], wrong: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(wrong)


def test_the_authors_unit_passes_the_even_channels_and_torchvisions_the_first_half() -> None:
    x = torch.randn(2, 12, 7, 7)
    y = shufflenetv2.Unit(12).eval()(x)
    assert torch.equal(y[:, :6], x[:, ::2])
    assert not torch.equal(y[:, 6:], x[:, 1::2])
    y = shufflenetv2.TorchvisionUnit(12).eval()(x)
    assert torch.equal(y[:, ::2], x[:, :6])
    assert not torch.equal(y[:, 1::2], x[:, 6:])


def test_at_stride_2_all_channels_go_through_both_branches() -> None:
    x = torch.randn(2, 12, 8, 8)
    authors = shufflenetv2.Downsampling(12, 32).eval()
    expected = (authors.branch_proj(x), authors.branch_main(x))
    assert [y.shape[1] for y in expected] == [12, 20]
    assert torch.equal(authors(x), torch.cat(expected, 1))
    torchvisions = shufflenetv2.TorchvisionDownsampling(12, 32).eval()
    y = torchvisions(x)
    assert torch.equal(y[:, ::2], torchvisions.branch1(x))
    assert torch.equal(y[:, 1::2], torchvisions.branch2(x))


def test_shufflenets_unit_adds_its_input_or_sets_its_mean_beside() -> None:
    x = torch.rand(2, 24, 8, 8)
    unit = shufflenetv1.Unit(24, 24, groups=3).eval()
    for parameter in unit.branch_main_2.parameters():
        parameter.zero_()
    assert torch.equal(unit(x), x)
    unit = shufflenetv1.Unit(24, 60, groups=3, stride=2).eval()
    y = unit(torch.ones(1, 24, 8, 8))
    assert y.shape == (1, 60, 4, 4)
    assert y[0, 0, 0, 0] == pytest.approx(4 / 9)  # the border counts as zeros
    assert y[0, 0, 1, 1] == pytest.approx(1)


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
