"""GhostNet (arXiv 1911.11907), and the skeleton that it shares with GhostNetV2 and V3.

A ghost module computes half of its channels with a 1x1 convolution and the other half from those
with a cheap depthwise one. Names in the state_dict are those of the authors' implementation.
Dropout, which does nothing in eval mode, is left out.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchbox.networks.layers import (
    Activation,
    SqueezeExcite,
    calibrated,
    conv_bn,
    make_divisible,
    relu,
)

DIVISOR = 4  # of every channel count, so the halves of a ghost module are equal
FEATURES = 1280  # at every width
CLASSES = 1000

# Table 1: kernel of the depthwise convolutions, expanded and output channels, whether there is
# Squeeze-and-Excitation, stride. A stage is one strided layer, or the layers up to the next one.
STAGES = (
    ((3, 16, 16, False, 1),),
    ((3, 48, 24, False, 2),),
    ((3, 72, 24, False, 1),),
    ((5, 72, 40, True, 2),),
    ((5, 120, 40, True, 1),),
    ((3, 240, 80, False, 2),),
    (
        (3, 200, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
    ),
    ((5, 672, 160, True, 2),),
    (
        (5, 960, 160, False, 1),
        (5, 960, 160, True, 1),
        (5, 960, 160, False, 1),
        (5, 960, 160, True, 1),
    ),
)
STEM = 16
LAYERS = sum(map(len, STAGES))
# The stages that give a detector's maps of stride 8, 16 and 32.
TAPS = {"last": (4, 6, 8), "first": (3, 5, 7)}


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table at some width: the `index`-th bottleneck of the network, from 0."""

    index: int
    kernel: int
    c_in: int
    expanded: int
    c_out: int
    squeezed: int | None
    stride: int


def ghostnet(width: float = 1.0) -> nn.Module:
    """GhostNet; (n, 3, h, w) -> (n, 1000). Raises ValueError for a width that is not positive."""
    return calibrated(GhostNet(width, bottleneck))


def bottleneck(layer: Layer) -> nn.Module:
    """The ghost bottleneck of a row of the table."""
    ghost1 = GhostModule(layer.c_in, layer.expanded, relu)
    ghost2 = GhostModule(layer.expanded, layer.c_out, None)
    return Bottleneck(layer, ghost1, ghost2)


class GhostModule(nn.Module):
    """The ghost module (section 3.1): half of the channels, and their ghosts.

    1x1 convolution to c_out / 2 channels, 3x3 depthwise convolution of those, one beside the other;
    both with batch norm and, if there is one, `activation`. Detectors have other kernels and a
    stride.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        activation: Activation | None,
        *,
        kernel: int = 1,
        stride: int = 1,
        cheap_kernel: int = 3,
    ) -> None:
        super().__init__()
        half = c_out // 2
        primary = conv_bn(c_in, half, kernel, stride=stride, activation=activation)
        cheap = conv_bn(half, half, cheap_kernel, groups=half, activation=activation)
        self.primary_conv = nn.Sequential(*primary)
        self.cheap_operation = nn.Sequential(*cheap)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        primary = self.primary_conv(x)
        return torch.cat([primary, self.cheap_operation(primary)], 1)


class Bottleneck(nn.Module):
    """The ghost bottleneck (section 3.2): one ghost module expands, another one reduces.

    Between them a depthwise convolution where the stride is 2, and Squeeze-and-Excitation where the
    layer has it. The shortcut is a depthwise and a 1x1 convolution where shapes differ.
    """

    def __init__(self, layer: Layer, ghost1: nn.Module, ghost2: nn.Module) -> None:
        super().__init__()
        self._is_strided = layer.stride > 1
        self.ghost1 = ghost1
        if self._is_strided:
            self.add_downsampling(layer)
        self.se: nn.Module = nn.Identity()
        if layer.squeezed is not None:
            self.se = SqueezeExcite(layer.expanded, layer.squeezed, nn.Hardsigmoid())
        self.ghost2 = ghost2
        self.shortcut = _shortcut(layer)

    def add_downsampling(self, layer: Layer) -> None:
        """Add the strided depthwise convolution between the ghost modules."""
        c = layer.expanded
        self.conv_dw, self.bn_dw = conv_bn(c, c, layer.kernel, stride=layer.stride, groups=c)

    def downsample(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h / 2, w / 2)."""
        result: Tensor = self.bn_dw(self.conv_dw(x))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        y = self.ghost1(x)
        if self._is_strided:
            y = self.downsample(y)
        result: Tensor = self.ghost2(self.se(y)) + self.shortcut(x)
        return result


def _shortcut(layer: Layer) -> nn.Module:
    if layer.stride == 1 and layer.c_in == layer.c_out:
        return nn.Identity()
    c = layer.c_in
    return nn.Sequential(
        *conv_bn(c, c, layer.kernel, stride=layer.stride, groups=c), *conv_bn(c, layer.c_out)
    )


class Features(nn.Module):
    """The skeleton (Table 1) without the head: a stem, and the bottlenecks that `bottleneck` makes.

    `channels` are those that each of the blocks gives. Raises ValueError for a width that is not
    positive.
    """

    def __init__(self, width: float, bottleneck: Callable[[Layer], nn.Module]) -> None:
        super().__init__()
        if not isinstance(width, int | float) or not 0 < width < math.inf:
            raise ValueError(f"width is {width!r}; it must be a positive number")
        stem = make_divisible(STEM * width, DIVISOR)
        self.conv_stem, self.bn1, self.act1 = conv_bn(3, stem, 3, stride=2, activation=relu)
        stages = list(_stages(width, stem))
        last = stages[-1][-1]
        blocks = [nn.Sequential(*map(bottleneck, stage)) for stage in stages]
        blocks.append(nn.Sequential(_conv_bn_relu(last.c_out, last.expanded)))
        self.blocks = nn.Sequential(*blocks)
        self.channels = [*(stage[-1].c_out for stage in stages), last.expanded]

    def stem(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, c, h / 2, w / 2)."""
        result: Tensor = self.act1(self.bn1(self.conv_stem(x)))
        return result


class GhostNet(Features):
    """The skeleton with the head."""

    def __init__(self, width: float, bottleneck: Callable[[Layer], nn.Module]) -> None:
        super().__init__(width, bottleneck)
        features = self.channels[-1]
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(features, FEATURES, 1)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 1000)."""
        x = self.blocks(self.stem(x))
        x = torch.relu(self.conv_head(self.global_pool(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class Backbone(Features):
    """A GhostNet as the backbone of a detector: maps of stride 8, 16 and 32.

    `taps` says which maps: of each stride the "last", that of stride 32 after the final 1x1
    convolution if there is `last_conv`; or the "first", right after the stride, as timm's
    `features_only` takes them, without that convolution. What comes after them is not built.
    Raises ValueError for other values.
    """

    def __init__(
        self,
        width: float,
        bottleneck: Callable[[Layer], nn.Module],
        *,
        taps: str = "last",
        last_conv: bool = True,
    ) -> None:
        super().__init__(width, bottleneck)
        if not isinstance(taps, str) or taps not in TAPS:
            raise ValueError(f"taps is {taps!r}; it must be 'last' or 'first'")
        if taps == "first" and last_conv:
            raise ValueError("taps='first' ends before the last convolution; set last_conv=False")
        self._taps = (*TAPS[taps][:2], len(STAGES)) if last_conv else TAPS[taps]
        del self.blocks[self._taps[-1] + 1 :]
        self.channels = [self.channels[index] for index in self._taps]

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, 3, h, w) -> the maps of stride 8, 16 and 32."""
        x, maps = self.stem(x), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._taps:
                maps.append(x)
        return maps


def _stages(width: float, c_in: int) -> Iterator[list[Layer]]:
    """Yield the layers of each stage at that width, the first of them with `c_in` channels."""
    index = 0
    for rows in STAGES:
        layers = []
        for kernel, expanded, c_out, has_se, stride in rows:
            expanded, c_out = (make_divisible(c * width, DIVISOR) for c in (expanded, c_out))
            squeezed = make_divisible(expanded / 4, DIVISOR) if has_se else None
            layers.append(Layer(index, kernel, c_in, expanded, c_out, squeezed, stride))
            index, c_in = index + 1, c_out
        yield layers


def _conv_bn_relu(c_in: int, c_out: int) -> nn.Module:
    layers = conv_bn(c_in, c_out, activation=relu)
    return nn.Sequential(OrderedDict(zip(("conv", "bn1", "act1"), layers, strict=True)))
