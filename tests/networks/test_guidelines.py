from typing import Any

import pytest
import torch
from torch import nn

from benchbox import specs
from benchbox.networks import guidelines
from benchbox.networks.guidelines import Bottleneck, Parallel
from benchbox.specs import Case, Platform, Selection
from tests.helpers.parity import layers, params


def cases(platform: Platform) -> list[Any]:
    """The smallest cases; the larger ones differ from them in width alone."""
    found = [case for spec in specs.find("all:scale=1") for case in spec.cases(Selection(platform))]
    return [pytest.param(case, id=f"{case.key}-{platform}") for case in found]


def images(channels: int, size: int = 7, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, generator=generator)


@pytest.mark.parametrize(
    ("module", "channels", "expected"),
    [
        (guidelines.channel_ratio(6, 36), 6, 10 * 2 * 6 * 36),
        (guidelines.channel_ratio(6, 36, repeat=1), 6, 2 * 6 * 36),
        (guidelines.group_convolution(24, 1), 24, 10 * 24 * 24),
        (guidelines.group_convolution(24, 8), 24, 10 * 24 * 24 // 8),
        (guidelines.fragments(8, 1, parallel=False), 8, 10 * 8 * 8),
        (guidelines.fragments(8, 4, parallel=False), 8, 40 * 8 * 8),
        (guidelines.fragments(8, 4, parallel=True, repeat=3), 8, 12 * 8 * 8),
        (guidelines.elementwise(8, 3, True, True), 8, 10 * (8 * 3 + 9 * 3 * 3 + 3 * 8)),
        (guidelines.elementwise(8, 3, False, False), 8, 10 * (8 * 3 + 9 * 3 * 3 + 3 * 8)),
    ],
)
def test_a_network_keeps_its_shape_and_has_the_weights_of_its_convolutions(
    module: nn.Module, channels: int, expected: int
) -> None:
    x = images(channels)
    assert module(x).shape == x.shape
    assert params(module) == expected
    assert all(conv.bias is None for conv in layers(module, nn.Conv2d))


@pytest.mark.parametrize("case", [*cases("gpu"), *cases("arm")])
def test_activations_stay_finite_and_near_unit_scale(case: Case) -> None:
    assert isinstance(case.source, specs.Builder)
    torch.manual_seed(0)
    module = getattr(guidelines, case.source.reference.partition(":")[2])(**case.args).eval()
    y = module(images(case.inputs[0].shape[1], size=28, count=1))
    assert y.isfinite().all()
    assert 0.05 <= float(y.std()) <= 20


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parallel_fragments_read_one_input_and_are_summed(count: int) -> None:
    module, x = Parallel(6, count), images(6)
    expected = torch.stack([branch(x) for branch in module.branches]).sum(0)
    torch.testing.assert_close(module(x), expected)
    assert len(module.branches) == count


def test_fragments_in_series_follow_each_other() -> None:
    module, x = guidelines.fragments(6, 2, parallel=False, repeat=1), images(6)
    first, second = module.children()
    torch.testing.assert_close(module(x), second(first(x)))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
def test_a_bottleneck_has_relu_and_shortcut_as_asked(relu: bool, shortcut: bool) -> None:
    module, x = Bottleneck(6, 3, relu, shortcut), images(6)
    act = torch.relu if relu else torch.clone
    expected = module.expand(act(module.conv(act(module.reduce(x)))))
    expected = act(x + expected if shortcut else expected)
    torch.testing.assert_close(module(x), expected)
    assert (module(x) >= 0).all() == relu


@torch.enable_grad()
def test_groups_do_not_mix_channels() -> None:
    module = guidelines.group_convolution(8, 4, repeat=1)
    x = torch.zeros(1, 8, 1, 1, requires_grad=True)
    module(x)[0, 0].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().ne(0).tolist() == [True, True, *[False] * 6]
