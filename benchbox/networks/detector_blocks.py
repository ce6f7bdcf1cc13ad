"""Blocks that the YOLO detectors share, each of them (n, c_in, h, w) -> (n, c_out, h, w).

A convolution is one with batch norm and SiLU unless said otherwise; "linear" is one without SiLU.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchbox.networks.branches import Branch, Foldable, summed
from benchbox.networks.ghostnet import GhostModule
from benchbox.networks.layers import Activation, conv_bn, silu

HEAD_CHANNELS = 64  # of an attention head


def conv(
    c_in: int,
    c_out: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = silu,
) -> nn.Module:
    """A convolution, its batch norm, and the activation if any."""
    layers = conv_bn(c_in, c_out, kernel, stride=stride, groups=groups, activation=activation)
    return nn.Sequential(OrderedDict(zip(("conv", "bn", "act"), layers, strict=False)))


def depthwise(
    c: int, kernel: int = 3, *, stride: int = 1, activation: Activation | None = silu
) -> nn.Module:
    """A depthwise convolution."""
    return conv(c, c, kernel, stride=stride, groups=c, activation=activation)


def halving(c_in: int, c_out: int) -> nn.Module:
    """A 3x3 convolution of stride 2."""
    return conv(c_in, c_out, 3, stride=2)


class Residual(nn.Sequential):
    """Layers, and what went into them added."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        y = x
        for layer in self:
            y = layer(y)
        return x + y


def bottleneck(c: int, hidden: int, *, add: bool) -> nn.Module:
    """Two 3x3 convolutions, by way of `hidden` channels."""
    return (Residual if add else nn.Sequential)(conv(c, hidden, 3), conv(hidden, c, 3))


class C2f(nn.Module):
    """Half of the channels through n pieces; every piece's output is kept for the last convolution.

    `ratio` is that of the channels of a piece to those that come out.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        piece: Callable[[int], nn.Module],
        n: int = 1,
        ratio: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(c_out * ratio)
        self.cv1 = conv(c_in, 2 * hidden)
        self.cv2 = conv((2 + n) * hidden, c_out)
        self.m = nn.ModuleList(piece(hidden) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        parts = list(self.cv1(x).chunk(2, 1))
        for piece in self.m:
            parts.append(piece(parts[-1]))
        result: Tensor = self.cv2(torch.cat(parts, 1))
        return result


class C3(nn.Module):
    """Half of the channels through `pieces`, the other half past them."""

    def __init__(self, c_in: int, c_out: int, piece: Callable[[int], nn.Module], n: int) -> None:
        super().__init__()
        half = c_out // 2
        self.cv1 = conv(c_in, half)
        self.cv2 = conv(c_in, half)
        self.cv3 = conv(2 * half, c_out)
        self.m = nn.Sequential(*(piece(half) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        result: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))
        return result


def c2f(c_in: int, c_out: int, n: int = 1, *, add: bool = False) -> nn.Module:
    """YOLOv8's block: C2f of bottlenecks that keep their width."""
    return C2f(c_in, c_out, lambda c: bottleneck(c, c, add=add), n)


def c3k2(c_in: int, c_out: int, *, deep: bool = False, ratio: float = 0.5) -> nn.Module:
    """YOLO11's block: C2f of one bottleneck, or of a C3 with two if it is `deep`."""

    def piece(c: int) -> nn.Module:
        if deep:
            return C3(c, c, lambda half: bottleneck(half, half, add=True), 2)
        return bottleneck(c, c // 2, add=True)

    return C2f(c_in, c_out, piece, ratio=ratio)


class SPPF(nn.Module):
    """Three chained 5x5 max pools, side by side, of half the channels that come in."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.cv1 = conv(c_in, c_in // 2)
        self.cv2 = conv(2 * c_in, c_out)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        result: Tensor = self.cv2(torch.cat(parts, 1))
        return result


class Attention(nn.Module):
    """Self-attention over all places, in heads of 64 channels, with a convolution for position.

    A key has half of the channels of a head's values.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self._heads = max(c // HEAD_CHANNELS, 1)
        self._value = c // self._heads
        self._key = self._value // 2
        self.qkv = conv(c, c + 2 * self._key * self._heads, activation=None)
        self.proj = conv(c, c, activation=None)
        self.pe = depthwise(c, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        n, _, h, w = x.shape
        qkv = self.qkv(x).view(n, self._heads, 2 * self._key + self._value, h * w)
        query, key, value = qkv.split([self._key, self._key, self._value], 2)
        weights = torch.softmax(query.transpose(2, 3) @ key * self._key**-0.5, -1)
        mixed = (value @ weights.transpose(2, 3)).reshape(x.shape)
        result: Tensor = self.proj(mixed + self.pe(value.reshape(x.shape)))
        return result


class PSA(nn.Module):
    """Half of the channels through n blocks of attention and two 1x1 convolutions (C2PSA too)."""

    def __init__(self, c: int, n: int = 1) -> None:
        super().__init__()
        half = c // 2
        self.cv1 = conv(c, 2 * half)
        self.cv2 = conv(2 * half, c)
        self.m = nn.Sequential(*(_attended(half) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        past, through = self.cv1(x).chunk(2, 1)
        result: Tensor = self.cv2(torch.cat([past, self.m(through)], 1))
        return result


def _attended(c: int) -> nn.Module:
    feed_forward = Residual(conv(c, 2 * c), conv(2 * c, c, activation=None))
    return nn.Sequential(OrderedDict(attn=Residual(Attention(c)), ffn=feed_forward))


def scdown(c_in: int, c_out: int) -> nn.Module:
    """YOLOv10's stride: a 1x1 convolution, then a linear depthwise one of stride 2."""
    return nn.Sequential(conv(c_in, c_out), depthwise(c_out, stride=2, activation=None))


class RepDW(Foldable):
    """A depthwise 7x7 convolution, trained as the sum of one and of a 3x3 one; then SiLU."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv: nn.Module = Branch(c, c, 7, 1, c)
        self.conv1: nn.Module | None = Branch(c, c, 3, 1, c)
        self.act = silu()

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        y = self.conv(x)
        result: Tensor = self.act(y if self.conv1 is None else y + self.conv1(x))
        return result

    def fold(self) -> None:
        """Put one 7x7 convolution in the place of the two."""
        if self.conv1 is not None:
            self.conv = summed([self.conv, self.conv1]).train(self.training)
            self.conv1 = None


def c2fcib(c_in: int, c_out: int) -> nn.Module:
    """YOLOv10's compact inverted block of large kernels, in C2f's frame."""

    def piece(c: int) -> nn.Module:
        return Residual(
            depthwise(c), conv(c, 2 * c), RepDW(2 * c), conv(2 * c, c), depthwise(c)
        )  # fmt: skip

    return C2f(c_in, c_out, piece)


def ghost_conv(
    c_in: int, c_out: int, kernel: int = 1, *, stride: int = 1, activation: Activation | None = silu
) -> nn.Module:
    """A ghost module as detectors have it: any kernel, and a 5x5 cheap operation."""
    return GhostModule(c_in, c_out, activation, kernel=kernel, stride=stride, cheap_kernel=5)


def ghost_halving(c_in: int, c_out: int) -> nn.Module:
    """A 3x3 ghost module of stride 2."""
    return ghost_conv(c_in, c_out, 3, stride=2)


def ghost_bottleneck(c: int) -> nn.Module:
    """Two ghost modules by way of half the channels, the second one linear."""
    return Residual(ghost_conv(c, c // 2), ghost_conv(c // 2, c, activation=None))


def c3ghost(c_in: int, c_out: int, n: int = 1, *, add: bool = True) -> nn.Module:
    """C3 of ghost bottlenecks, which always `add`, in the place of `c2f`."""
    del add
    return C3(c_in, c_out, ghost_bottleneck, n)
