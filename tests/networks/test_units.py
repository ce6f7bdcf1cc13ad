"""The guidelines' blocks and the units of Table 1b, and the spec of the units."""

from functools import cache

import pytest
import torch
from torch import nn

from benchbox import specs
from benchbox.networks import guidelines, units
from benchbox.networks.guidelines import Bottleneck, Parallel
from benchbox.networks.mobilenetv2 import InvertedResidual
from benchbox.networks.shufflenetv1 import Unit as ShuffleNetUnit
from benchbox.networks.shufflenetv2 import Unit as ShuffleNetV2Unit
from benchbox.specs import Builder, Case, Platform, Selection
from tests.helpers.parity import layers, params

# Multiply-accumulates per pixel of one unit of 48 channels; of ShuffleNet's with 4 groups.
MACS = {
    "shufflenetv2": 2 * 24**2 + 9 * 24,
    "shufflenetv1": 2 * 48 * 12 // 4 + 9 * 12,
    "mobilenetv2": 2 * 48 * 288 + 9 * 288,
    "xception": 2 * 48 * 12 + 9 * 12,
}
UNITS = {
    "shufflenetv2": (ShuffleNetV2Unit, None),
    "shufflenetv1": (ShuffleNetUnit, 4),
    "mobilenetv2": (InvertedResidual, None),
    "xception": (ShuffleNetUnit, 1),
}
KINDS = list(MACS)


@cache
def cases(platform: Platform = "arm") -> list[Case]:
    (spec,) = specs.find("units")
    return spec.cases(Selection(channels=platform))


@cache
def small(kind: str) -> nn.Module:
    """Three units of 48 channels, which no test may change."""
    torch.manual_seed(0)
    return units.unit(kind, c=48, repeat=3, size=14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_keeps_the_shape_and_has_the_multiply_accumulates_of_its_arithmetic(
    kind: str,
) -> None:
    for shape in ((1, 48, 14, 14), (2, 48, 9, 5)):
        y = small(kind)(torch.randn(shape))
        assert y.shape == shape
        assert 0.05 <= float(y.std()) <= 20
    own = list(small(kind).children())
    assert [(type(unit), getattr(unit, "groups", None)) for unit in own] == [UNITS[kind]] * 3
    convolutions = layers(small(kind), nn.Conv2d)
    assert all(c.stride == (1, 1) and c.bias is None for c in convolutions)
    # At stride 1 each weight meets every pixel once.
    assert sum(c.weight.numel() for c in convolutions) == 3 * MACS[kind]


def test_weights_follow_from_the_seed_and_statistics_from_the_size() -> None:
    def built(size: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return units.shufflenetv2_unit(48, repeat=3, size=size).state_dict()

    same, other = built(14), built(7)
    for key, value in small("shufflenetv2").state_dict().items():
        assert torch.equal(same[key], value), key
        differs = key.endswith(("running_mean", "running_var"))
        assert torch.equal(other[key], value) != differs, key


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("shufflenetv2", {"c": 7}, "7 channels have no halves"),
        ("shufflenetv1", {"c": 24}, "4 groups need a multiple of 16"),
        ("shufflenetv1", {"c": 48, "groups": 8}, "8 groups need a multiple of 32"),
        ("xception", {"c": 6}, "1 groups need a multiple of 4"),
        ("resnet", {"c": 64}, "kind is 'resnet'; there are shufflenetv2, shufflenetv1,"),
        *((kind, {"c": 48, "width": 2}, "width") for kind in KINDS),
    ],
)
def test_what_cannot_be_built_is_refused(
    kind: str, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        units.unit(kind, **arguments)


def test_a_case_is_built_as_it_is_labelled_beside_shufflenetv2s() -> None:
    groups: dict[str, list[object]] = {}
    for case in cases():
        groups.setdefault(case.group, []).append(case.labels["unit"])
        assert case.reference == f"unit=shufflenetv2,{case.group}"
        assert isinstance(case.source, Builder)
        assert case.source.reference == "benchbox.networks.units:unit"
        size = case.args["size"]
        assert str(case.inputs[0]) == f"x=1x{case.args['c']}x{size}x{size}"
        assert str(case.labels["c"]).endswith(f"@{size}x{size}")
        assert (case.args["kind"], case.args["repeat"]) == (case.labels["unit"], 10)
    assert list(groups.values()) == [KINDS] * 6


def test_figures_that_look_mis_ordered_are_told_of() -> None:
    """A unit that is slower than the one of twice its channels, which does more."""
    figures = {case.name: case.published or 0 for case in cases("gpu")}
    for case in cases("gpu"):
        c, _, size = str(case.labels["c"]).partition("@")
        here = figures[case.name]
        wider = figures.get(f"unit={case.labels['unit']},c={2 * int(c)}@{size}", 0)
        assert bool(case.note) == (here < wider)
        assert not case.note or (f"({here:g})" in case.note and f"({wider:g})" in case.note)
    assert not any(case.note for case in cases("arm"))


def images(channels: int, size: int = 7, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, generator=generator)


@pytest.mark.parametrize(
    ("module", "channels", "expected"),
    [
        (guidelines.channel_ratio(6, 36), 6, 10 * 2 * 6 * 36),
        (guidelines.group_convolution(24, 8), 24, 10 * 24 * 24 // 8),
        (guidelines.fragments(8, 4, parallel=False), 8, 40 * 8 * 8),
        (guidelines.fragments(8, 4, parallel=True, repeat=3), 8, 12 * 8 * 8),
        (guidelines.elementwise(8, 3, True, True), 8, 10 * (8 * 3 + 9 * 3 * 3 + 3 * 8)),
    ],
)
def test_a_network_keeps_its_shape_and_has_the_weights_of_its_convolutions(
    module: nn.Module, channels: int, expected: int
) -> None:
    x = images(channels)
    assert module(x).shape == x.shape
    assert params(module) == expected
    assert all(conv.bias is None for conv in layers(module, nn.Conv2d))


@pytest.mark.parametrize("platform", ["gpu", "arm"])
@pytest.mark.parametrize("name", ["g1", "g2", "g3", "g4"])
def test_activations_stay_finite_and_near_unit_scale(name: str, platform: Platform) -> None:
    """In the smallest cases; the larger ones differ from them in width alone."""
    (spec,) = specs.find(f"{name}:scale=1")
    for case in spec.cases(Selection(platform)):
        assert isinstance(case.source, specs.Builder)
        torch.manual_seed(0)
        module = getattr(guidelines, case.source.reference.partition(":")[2])(**case.args).eval()
        y = module(images(case.inputs[0].shape[1], size=28, count=1))
        assert y.isfinite().all()
        assert 0.05 <= float(y.std()) <= 20


def test_parallel_fragments_are_summed_and_those_in_series_follow_each_other() -> None:
    module, x = Parallel(6, 3), images(6)
    expected = torch.stack([branch(x) for branch in module.branches]).sum(0)
    torch.testing.assert_close(module(x), expected)
    assert len(module.branches) == 3
    series = guidelines.fragments(6, 2, parallel=False, repeat=1)
    first, second = series.children()
    torch.testing.assert_close(series(x), second(first(x)))


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
