"""Attention blocks written out, and where MobileNetV2 has them; test_parity.py has its sizes."""

import importlib

import pytest
import torch
from torch import Tensor, nn

from benchbox import specs
from benchbox.networks.attention import CBAM, CoordinateAttention, GatedLayer
from benchbox.networks.layers import SqueezeExcite
from benchbox.networks.mobilenetv2 import AFTER_DEPTHWISE, InvertedResidual, mobilenetv2
from benchbox.specs import Builder, Selection
from tests.helpers.parity import VARIANTS, drawn, layers, on_meta, params

KINDS = {"se": SqueezeExcite, "cbam": CBAM, "ca": CoordinateAttention, "dfc": GatedLayer}
SIZES = {name.partition("+")[2] or "none": size for name, size in VARIANTS.items()}


def params_m(module: nn.Module) -> float:
    return round(params(module) / 1e6, 3)


@pytest.mark.parametrize(
    ("attention", "reduction", "size"),
    [("se", 16, 4.077), ("se", 32, 3.800), ("cbam", 16, 4.078), ("ca", 24, 4.088)],
)
def test_other_reductions_miss_the_published_size(
    attention: str, reduction: int, size: float
) -> None:
    assert params_m(on_meta(mobilenetv2, attention=attention, reduction=reduction)) == size


@pytest.mark.parametrize("attention", KINDS)
def test_a_block_stands_where_it_belongs(attention: str) -> None:
    first, *others = layers(on_meta(mobilenetv2, attention=attention), InvertedResidual)
    kind = KINDS[attention]
    if attention == "dfc":
        assert not layers(first, kind)
        assert all(isinstance(block.conv[0], kind) for block in others)
    else:
        assert isinstance(first.conv[0][-1], kind)
        assert all(isinstance(block.conv[1][-1], kind) for block in others)
        assert all(isinstance(block.conv[1][-2], nn.ReLU6) for block in others)


def dense(conv: nn.Conv2d, values: Tensor) -> Tensor:
    """A 1x1 convolution on a vector of channels, or on several of them in a row."""
    assert conv.bias is not None
    return (values.T @ conv.weight.flatten(1).T + conv.bias).T


def map_of(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(1, channels, 5, 8, generator=generator, dtype=torch.float64)


def test_cbam_weighs_channels_and_then_places() -> None:
    module, x = drawn(CBAM(16, 4)), map_of(16)
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


def test_coordinate_attention_weighs_each_row_and_each_column() -> None:
    module, x = drawn(CoordinateAttention(16)), map_of(16)
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
        on_meta(mobilenetv2, **args)


def test_the_bundled_experiment_has_each_variant_and_what_its_paper_prints() -> None:
    (spec,) = specs.find("attention")
    cases = {str(case.labels["attention"]): case for case in spec.cases(Selection())}
    assert list(cases) == ["none", *AFTER_DEPTHWISE, "dfc"]
    for attention, case in cases.items():
        assert isinstance(case.source, Builder)
        module, _, name = case.source.reference.partition(":")
        build = getattr(importlib.import_module(module), name)
        params, macs = SIZES[attention]
        assert params_m(on_meta(build, **case.args)) == params
        if attention == "dfc":
            assert case.paper.params_m is None, "no source prints it"
        else:
            assert case.paper.params_m == pytest.approx(params, abs=0.01)
            assert case.paper.macs_m == pytest.approx(macs, rel=0.015)
            assert case.paper.source
