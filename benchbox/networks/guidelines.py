"""Micro-networks of ShuffleNetV2's guidelines G1 to G4 (arXiv 1807.11164, Tables 1-4).

Each is a stack of `repeat` equal blocks. Convolutions are bare, without bias or normalisation: the
paper's text and figures show none. Weights are drawn so that activations keep unit scale from block
to block, whatever the depth.
"""

import math

import torch
from torch import Tensor, nn


def channel_ratio(c1: int, c2: int, repeat: int = 10) -> nn.Module:
    """G1, Table 1: blocks of 1x1 convolutions c1 -> c2 -> c1; (n, c1, h, w) in and out."""
    blocks = [(_conv(c1, c2), _conv(c2, c1)) for _ in range(repeat)]
    return nn.Sequential(*(layer for block in blocks for layer in block))


def group_convolution(c: int, groups: int, repeat: int = 10) -> nn.Module:
    """G2, Table 2: 1x1 convolutions c -> c in `groups` groups; (n, c, h, w) in and out."""
    return nn.Sequential(*(_conv(c, c, groups=groups) for _ in range(repeat)))


def fragments(c: int, count: int, parallel: bool, repeat: int = 10) -> nn.Module:
    """G3, Table 3 and appendix figure 1: blocks of `count` 1x1 convolutions c -> c.

    In series they follow each other; in parallel they read the same input and are summed element by
    element. (n, c, h, w) in and out.
    """
    if parallel:
        return nn.Sequential(*(Parallel(c, count) for _ in range(repeat)))
    return nn.Sequential(*(_conv(c, c) for _ in range(repeat * count)))


def elementwise(c: int, middle: int, relu: bool, shortcut: bool, repeat: int = 10) -> nn.Module:
    """G4, Table 4: bottlenecks with or without ReLU and shortcut; (n, c, h, w) in and out."""
    return nn.Sequential(*(Bottleneck(c, middle, relu, shortcut) for _ in range(repeat)))


class Parallel(nn.Module):
    """`count` 1x1 convolutions of the same input, summed."""

    def __init__(self, c: int, count: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_conv(c, c, gain=1 / count) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        first, *others = self.branches
        total: Tensor = first(x)
        for branch in others:
            total = total + branch(x)
        return total


class Bottleneck(nn.Module):
    """ResNet's bottleneck: 1x1 c -> middle, 3x3 middle -> middle, 1x1 middle -> c.

    With `shortcut` the input is added to the result; with `relu` a ReLU follows each of the first
    two convolutions and the end of the block.
    """

    def __init__(self, c: int, middle: int, relu: bool, shortcut: bool) -> None:
        super().__init__()
        gain = 2.0 if relu else 1.0
        self.reduce = _conv(c, middle, gain=gain)
        self.conv = _conv(middle, middle, kernel=3, gain=gain)
        # A shortcut adds a variance of its own in each block; a small branch keeps the sum near 1.
        self.expand = _conv(middle, c, gain=0.1 if shortcut else gain)
        self.activation = nn.ReLU() if relu else nn.Identity()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        y = self.activation(self.reduce(x))
        y = self.activation(self.conv(y))
        y = self.expand(y)
        if self.shortcut:
            y = x + y
        result: Tensor = self.activation(y)
        return result


def _conv(c_in: int, c_out: int, kernel: int = 1, groups: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """Return a bare convolution whose output has `gain` times the variance of its input."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    fan_in = kernel * kernel * c_in // groups
    with torch.no_grad():
        nn.init.normal_(conv.weight, std=math.sqrt(gain / fan_in))
    return conv
