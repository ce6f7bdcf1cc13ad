"""Attention blocks written out, and where MobileNetV2 has them; test_parity.py has its sizes."""

import importlib

import pytest
import torch
from torch import Tensor, nn

from benchbox import specs
from benchbox.networks.attention import CBAM, CoordinateAttention, GatedLayer
from benchbox.networks.layers import SqueezeExcite
from benchbox.networks.mobilenetv2 import AFTER_DEPTHWISE, InvertedResidual, mobilenetv2
from benchbox.specs import BlockSpec, Builder, Case, Selection
from tests.helpers import parity
from tests.helpers.parity import created

KINDS = {"se": SqueezeExcite, "cbam": CBAM, "ca": CoordinateAttention, "dfc": GatedLayer}
SIZES = {name.partition("+")[2]: size for name, size in parity.VARIANTS.items()}


def params_m(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("attention", "reduction", "size"),
    [("se", 16, 4.077), ("se", 32, 3.800), ("cbam", 16, 4.078), ("ca", 24, 4.088)],
)
def test_other_reductions_miss_the_published_size(
    attention: str, reduction: int, size: float
) -> None:
    with torch.device("meta"):
        assert round(params_m(mobilenetv2(attention=attention, reduction=reduction)), 3) == size


@pytest.mark.parametrize("attention", KINDS)
def test_a_block_stands_where_it_belongs(attention: str) -> None:
    first, *others = parity.layers(created(f"mobilenetv2+{attention}"), InvertedResidual)
    kind = KINDS[attention]
    if attention == "dfc":
        assert not any(isinstance(layer, kind) for layer in first.modules())
        assert all(isinstance(block.conv[0], kind) for block in others)
    else:
        assert isinstance(first.conv[0][-1], kind)
        assert all(isinstance(block.conv[1][-1], kind) for block in others)
        assert all(isinstance(block.conv[1][-2], nn.ReLU6) for block in others)


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
