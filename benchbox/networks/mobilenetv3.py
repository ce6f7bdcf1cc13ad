"""MobileNetV3: Howard et al., arXiv 1905.02244; the form and names are torchvision's.

Its Small ends in 1024 features and has no SE after the last convolution, as the paper's final
version; the first version on arXiv had 1280 and one.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from benchbox.networks.layers import (
    Activation,
    SqueezeExcite,
    calibrated,
    conv_bn,
    make_divisible,
    relu,
)


class Row(NamedTuple):
    """One row of Table 1 or 2, a bottleneck."""

    kernel: int
    expanded: int
    c_out: int
    has_se: bool
    activation: Activation
    stride: int


RE, HS = relu, nn.Hardswish
LARGE = (  # Table 1
    Row(3, 16, 16, False, RE, 1),
    Row(3, 64, 24, False, RE, 2),
    Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2),
    Row(5, 120, 40, True, RE, 1),
    Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2),
    Row(3, 200, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1),
    Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2),
    Row(5, 960, 160, True, HS, 1),
    Row(5, 960, 160, True, HS, 1),
)
SMALL = (  # Table 2
    Row(3, 16, 16, True, RE, 2),
    Row(3, 72, 24, False, RE, 2),
    Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1),
    Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2),
    Row(5, 576, 96, True, HS, 1),
    Row(5, 576, 96, True, HS, 1),
)


class Bottleneck(nn.Module):
    """Figure 4: MobileNetV2's block with SE on the expanded width and a choice of activation.

    No 1x1 convolution comes first where it would expand nothing.
    """

    def __init__(self, c_in: int, row: Row) -> None:
        super().__init__()
        kernel, expanded, c_out, has_se, activation, stride = row
        layers: list[nn.Module] = []
        if expanded != c_in:
            layers.append(nn.Sequential(*conv_bn(c_in, expanded, activation=activation)))
        depthwise = conv_bn(
            expanded, expanded, kernel, stride=stride, groups=expanded, activation=activation
        )
        layers.append(nn.Sequential(*depthwise))
        if has_se:
            squeezed = make_divisible(expanded // 4, 8)
            layers.append(SqueezeExcite(expanded, squeezed, nn.Hardsigmoid(), ("fc1", "fc2")))
        layers.append(nn.Sequential(*conv_bn(expanded, c_out)))
        self.block = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        y: Tensor = self.block(x)
        return x + y if self.has_shortcut else y


class MobileNetV3(nn.Module):
    """Tables 1 and 2: `rows` between the first convolution and a head of `hidden` features."""

    def __init__(self, rows: Sequence[Row], hidden: int, width: float) -> None:
        super().__init__()
        if not width > 0:
            raise ValueError(f"width is {width}; it must be positive")
        scaled = partial(_scaled, width)
        c = scaled(16)
        features: list[nn.Module] = [nn.Sequential(*conv_bn(3, c, 3, stride=2, activation=HS))]
        for row in rows:
            row = row._replace(expanded=scaled(row.expanded), c_out=scaled(row.c_out))
            features.append(Bottleneck(c, row))
            c = row.c_out
        features.append(nn.Sequential(*conv_bn(c, 6 * c, activation=HS)))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Linear(6 * c, scaled(hidden)),
            HS(),
            nn.Dropout(0.2),
            nn.Linear(scaled(hidden), 1000),
        )
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps, layer.momentum = 1e-3, 0.01

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 1000)."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def mobilenetv3_large(width: float = 1.0) -> MobileNetV3:
    """Return Large with all channels times `width`, in eval mode; (n, 3, h, w) -> (n, 1000).

    Raises ValueError for a width that is not positive.
    """
    return calibrated(MobileNetV3(LARGE, 1280, width))


def mobilenetv3_small(width: float = 1.0) -> MobileNetV3:
    """Return Small with all channels times `width`, in eval mode; (n, 3, h, w) -> (n, 1000).

    Raises ValueError for a width that is not positive.
    """
    return calibrated(MobileNetV3(SMALL, 1024, width))


def _scaled(width: float, channels: int) -> int:
    return make_divisible(channels * width, 8)
