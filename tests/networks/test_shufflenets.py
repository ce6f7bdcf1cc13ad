"""Widths and units of the ShuffleNets; test_parity.py holds the networks against references."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchbox.networks import shufflenetv1, shufflenetv2
from tests.helpers.parity import created

WIDTHS = "0.5, 1.0, 1.5, 2.0"
GROUPS = "1, 2, 3, 4, 8"


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        *((shufflenetv2.shufflenetv2, w, f"width is {w}; .* {WIDTHS}") for w in (0.25, 0, 3.0)),
        *((shufflenetv2.shufflenetv2_tv, w, f"width is {w}; .* {WIDTHS}") for w in (0.25, 0, 3.0)),
        *((shufflenetv1.shufflenetv1, g, f"groups is {g}; .* {GROUPS}") for g in (0, 5, 16)),
        (shufflenetv2.Unit, 7, "7 channels"),
        (lambda c_out: shufflenetv1.Unit(24, c_out, groups=3), 20, "20; 3 groups need .* of 12"),
    ],
)
def test_what_the_tables_have_not_is_refused(
    build: Callable[..., Any], wrong: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(wrong)


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(RuntimeError, match="4 channels"):
        created("shufflenetv2_x0_5")(torch.zeros(1, 4, 64, 64))


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
