"""The attention blocks, and MobileNetV2 with each of them, held against the published sizes."""

import importlib
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchbox import specs
from benchbox.networks.attention import CBAM, CoordinateAttention, GatedLayer
from benchbox.networks.layers import SqueezeExcite
from benchbox.networks.mobilenetv2 import AFTER_DEPTHWISE, InvertedResidual, mobilenetv2
from benchbox.specs import BlockSpec, Builder, Case, Selection

# Millions of params and of multiply-accumulates. DFC keeps the odd row and column of a 7x7 map.
SIZES = {
    "none": (3.505, 300.8),
    "se": (3.891, 301.2),
    "cbam": (3.890, 303.8),
    "ca": (3.952, 306.8),
    "dfc": (4.370, 343.4),
}
KINDS = {"se": SqueezeExcite, "cbam": CBAM, "ca": CoordinateAttention, "dfc": GatedLayer}
each_attention = pytest.mark.parametrize("attention", SIZES)
each_block = pytest.mark.parametrize("attention", KINDS)


@cache
def created(attention: str) -> nn.Module:
    """A network that no test may change."""
    torch.manual_seed(0)
    return mobilenetv2(attention=attention)


def image(height: int = 224, width: int = 224, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))


def params_m(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@each_attention
def test_a_variant_has_the_published_size(attention: str) -> None:
    module = created(attention)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(image())
    macs_m = counted.get_total_flops() / 2e6
    assert (round(params_m(module), 3), round(macs_m, 1)) == SIZES[attention]


@pytest.mark.parametrize(
    ("attention", "reduction", "size"),
    [("se", 16, 4.077), ("se", 32, 3.800), ("cbam", 16, 4.078), ("ca", 24, 4.088)],
)
def test_other_reductions_miss_the_published_size(
    attention: str, reduction: int, size: float
) -> None:
    with torch.device("meta"):
        assert round(params_m(mobilenetv2(attention=attention, reduction=reduction)), 3) == size


@each_block
def test_a_block_stands_where_it_belongs(attention: str) -> None:
    first, *others = [m for m in created(attention).modules() if isinstance(m, InvertedResidual)]
    kind = KINDS[attention]
    if attention == "dfc":
        assert not any(isinstance(layer, kind) for layer in first.modules())
        assert all(isinstance(block.conv[0], kind) for block in others)
    else:
        assert isinstance(first.conv[0][-1], kind)
        assert all(isinstance(block.conv[1][-1], kind) for block in others)
        assert all(isinstance(block.conv[1][-2], nn.ReLU6) for block in others)


@each_block
def test_activations_are_near_unit_scale_and_none_is_denormal(attention: str) -> None:
    found: dict[str, Tensor] = {}
    module = created(attention)
    handles = [
        layer.register_forward_hook(lambda *call, key=key: found.update({key: call[2].clone()}))
        for key, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
    ]
    with torch.no_grad():
        module(image())
    for handle in handles:
        handle.remove()
    assert len(found) == len(handles)
    for key, output in found.items():
        is_of_one = key.startswith("features.1.conv.0.3.shared")  # CBAM's 32 / 24: it may be cut
        assert is_of_one or 0.05 < float(output.std()) < 20, key
        size = output.abs()
        assert not ((size > 0) & (size < torch.finfo(torch.float32).tiny)).any(), key


@each_block
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_other_sizes_and_batches_are_taken(attention: str, height: int, width: int) -> None:
    images = image(height, width, count=2)
    with torch.no_grad():
        both, first = created(attention)(images), created(attention)(images[:1])
    assert both.shape == (2, 1000)
    # Random weights enlarge rounding errors from block to block.
    assert float((both[:1] - first).abs().max()) < 0.02 * float(first.std())


@each_block
def test_a_variant_is_the_same_each_time(attention: str) -> None:
    torch.manual_seed(0)
    again = mobilenetv2(attention=attention).state_dict()
    assert all(torch.equal(again[k], v) for k, v in created(attention).state_dict().items())


def random(module: nn.Module) -> nn.Module:
    """The module in eval mode with random numbers for all of its floating values, in float64."""
    generator = torch.Generator().manual_seed(3)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
    return module.double().eval()


def dense(conv: nn.Conv2d, values: Tensor) -> Tensor:
    """A 1x1 convolution on a vector of channels, or on several of them in a row."""
    assert conv.bias is not None
    return (values.T @ conv.weight.flatten(1).T + conv.bias).T


def map_of(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(1, channels, 5, 8, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_cbam_weighs_channels_and_then_places() -> None:
    module, x = random(CBAM(16, 4)), map_of(16)
    reduce, _, expand = module.shared
    flat = x[0].flatten(1)
    pooled = torch.stack((flat.mean(1), flat.max(1).values), dim=1)
    channels = torch.sigmoid(dense(expand, torch.relu(dense(reduce, pooled))).sum(1))
    weighed = x[0] * channels[:, None, None]
    conv, norm = module.spatial
    across = torch.stack((weighed.max(0).values, weighed.mean(0)))[None]
    places = torch.sigmoid(norm(nn.functional.conv2d(across, conv.weight, padding=3)))
    assert torch.allclose(module(x), weighed * places[0])
    assert conv.weight.shape == (1, 2, 7, 7)


@torch.no_grad()
def test_coordinate_attention_weighs_each_row_and_each_column() -> None:
    module, x = random(CoordinateAttention(16)), map_of(16)
    conv, norm, _ = module.reduce
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()

    def weights(means: Tensor, expand: nn.Conv2d) -> Tensor:
        y = (dense(conv, means) - norm.running_mean[:, None]) * scale[:, None]
        y = y + norm.bias[:, None]
        return torch.sigmoid(dense(expand, y * (y + 3).clamp(0, 6) / 6))

    rows = weights(x[0].mean(2), module.of_rows)[:, :, None]
    columns = weights(x[0].mean(1), module.of_columns)[:, None, :]
    assert torch.allclose(module(x), x * rows * columns)
    assert conv.out_channels == 8, "16 / 32 channels would be none"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"attention": "eca"}, "attention is 'eca'; it must be 'none', 'se', 'cbam', 'ca' or"),
        ({"attention": "dfc", "reduction": 8}, "attention 'dfc' has no reduction"),
        ({"reduction": 8}, "attention 'none' has no reduction"),
        ({"attention": "se", "reduction": 0}, "reduction is 0; it must be 1 or more"),
    ],
)
def test_an_argument_that_means_nothing_is_refused(args: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mobilenetv2(**args)


def spec() -> BlockSpec:
    (found,) = specs.find("attention")
    return found


def build(case: Case) -> nn.Module:
    assert isinstance(case.source, Builder)
    module, _, name = case.source.reference.partition(":")
    with torch.device("meta"):
        built = getattr(importlib.import_module(module), name)(**case.args)
    assert isinstance(built, nn.Module)
    return built


def test_the_bundled_experiment_has_each_variant_beside_the_plain_network() -> None:
    cases = spec().cases(Selection())
    assert [case.labels["attention"] for case in cases] == ["none", *AFTER_DEPTHWISE, "dfc"]
    assert [round(params_m(build(case)), 3) for case in cases] == [p for p, _ in SIZES.values()]


def test_the_bundled_experiment_prints_what_its_paper_prints() -> None:
    for case in spec().cases(Selection()):
        params, macs = SIZES[str(case.labels["attention"])]
        if case.labels["attention"] == "dfc":
            assert case.paper.params_m is None, "no source prints it"
        else:
            assert case.paper.params_m == pytest.approx(params, abs=0.01)
            assert case.paper.macs_m == pytest.approx(macs, rel=0.015)
            assert case.paper.source
