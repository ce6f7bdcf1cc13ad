"""Attention blocks held against the same written out and ONNX Runtime; MobileNetV2 with each."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbox import specs
from benchbox.networks.attention import CBAM, CoordinateAttention, GatedLayer
from benchbox.networks.dfc import DFC, SelfAttention
from benchbox.networks.layers import SqueezeExcite
from benchbox.networks.mobilenetv2 import AFTER_DEPTHWISE, InvertedResidual, mobilenetv2
from benchbox.specs import Selection
from tests.helpers.parity import VARIANTS, drawn, layers, on_meta, params

C_IN, C_OUT = 8, 12
SIZES = [(8, 6), (7, 7), (5, 9), (2, 1), (1, 1)]
Gate = Callable[..., nn.Module]
each_gate = pytest.mark.parametrize("gate", [DFC, SelfAttention])


def image(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, C_IN, height, width, generator=generator, dtype=torch.float64)


def nearest(y: Tensor, height: int, width: int) -> Tensor:
    rows = torch.arange(height) * y.shape[2] // height
    columns = torch.arange(width) * y.shape[3] // width
    return y[:, :, rows][..., columns]


def test_self_attention_is_what_it_is_by_hand() -> None:
    attention, x = drawn(SelfAttention(C_IN, C_OUT)), image(6, 4)
    qkv = attention.qkv(functional.avg_pool2d(x, 2))
    query, key, value = qkv.flatten(2).transpose(1, 2).split(C_IN // 4, dim=2)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    mixed = mixed.transpose(1, 2).unflatten(2, (3, 2))
    expected = torch.sigmoid(attention.expand(mixed))
    torch.testing.assert_close(attention(x), nearest(expected, 6, 4))


@each_gate
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("options", [{}, {"upsample": "bilinear"}, {"pool": "max"}])
def test_a_gate_has_the_size_of_its_input_and_lies_in_0_to_1(
    gate: Gate, height: int, width: int, options: dict[str, str]
) -> None:
    y = drawn(gate(C_IN, C_OUT, **options))(image(height, width))
    assert y.shape == (2, C_OUT, height, width)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1


@each_gate
def test_the_options_are_pooling_upsampling_and_the_place_of_the_sigmoid(gate: Gate) -> None:
    def gated(**options: str) -> Tensor:
        result: Tensor = drawn(gate(C_IN, C_OUT, **options))(image(6, 6))
        return result

    def apart(one: Tensor, other: Tensor) -> float:
        return float((one - other).abs().max())

    default, late = gated(), gated(sigmoid="after")
    assert apart(default, late) < 1e-6  # the nearest and a function of single values commute
    assert apart(default, gated(pool="max")) > 0.01
    smooth, late_smooth = gated(upsample="bilinear"), gated(upsample="bilinear", sigmoid="after")
    assert apart(default, smooth) > 0.01
    assert apart(smooth, late_smooth) > 1e-5
    low = torch.logit(default[..., ::2, ::2])  # of which the gate's rounding is a part
    expected = torch.sigmoid(functional.interpolate(low, (6, 6), mode="bilinear"))
    torch.testing.assert_close(late_smooth, expected, atol=1e-3, rtol=0)


@each_gate
@pytest.mark.parametrize("option", ["pool", "upsample", "sigmoid", "kernel"])
def test_another_option_is_refused(gate: Gate, option: str) -> None:
    if (gate, option) != (SelfAttention, "kernel"):
        with pytest.raises(ValueError, match=f"{option} is 4; it must be "):
            gate(C_IN, C_OUT, **{option: 4})


KINDS = {"se": SqueezeExcite, "cbam": CBAM, "ca": CoordinateAttention, "dfc": GatedLayer}
SIZES = {name.partition("+")[2] or "none": size for name, size in VARIANTS.items()}


def params_m(module: nn.Module) -> float:
    return round(params(module) / 1e6, 3)


@pytest.mark.parametrize(
    ("attention", "reduction", "size"), [("se", 16, 4.077), ("cbam", 16, 4.078), ("ca", 24, 4.088)]
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
    assert cases.pop("dfc").paper.params_m is None, "no source prints it"
    for attention, case in cases.items():
        assert params_m(on_meta(mobilenetv2, **case.args)) == SIZES[attention][0]
        assert case.paper.params_m == pytest.approx(SIZES[attention][0], abs=0.01)
        assert case.paper.macs_m == pytest.approx(SIZES[attention][1], rel=0.015)
