"""ShuffleNetV2: Ma et al., arXiv 1807.11164, as its authors implement it and as torchvision does.

The two differ in more than the names of a state_dict, so weights do not transfer:

- The authors shuffle where a unit of stride 1 starts, torchvision where every unit ends.
- At stride 2 the authors' projection keeps its c_in channels and the main branch adds the others;
  torchvision's two have c_out / 2 each. The paper's multiply-accumulates are those of the former.
- The authors' classifier has no bias, and at width 2.0 a dropout before it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchbox.networks.layers import calibrated, channel_shuffle, conv_bn, relu
from benchbox.networks.shufflenetv1 import CLASSES, REPEATS, GlobalMean

# Table 5: by width, output channels of the stem, of stages 2, 3 and 4, and of the last convolution.
CHANNELS = {
    0.5: (24, 48, 96, 192, 1024),
    1.0: (24, 116, 232, 464, 1024),
    1.5: (24, 176, 352, 704, 1024),
    2.0: (24, 244, 488, 976, 2048),
}


def main_branch(c_in: int, c: int, c_out: int, stride: int = 1) -> nn.Sequential:
    """Return the branch of figure 3c; (n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
    return nn.Sequential(
        *conv_bn(c_in, c, activation=relu),
        *conv_bn(c, c, 3, stride=stride, groups=c),
        *conv_bn(c, c_out, activation=relu),
    )


def projection(c_in: int, c_out: int) -> nn.Sequential:
    """Return the left branch of figure 3d; (n, c_in, h, w) -> (n, c_out, h / 2, w / 2)."""
    return nn.Sequential(
        *conv_bn(c_in, c_in, 3, stride=2, groups=c_in), *conv_bn(c_in, c_out, activation=relu)
    )


class Unit(nn.Module):
    """Figure 3c, the authors': of shuffled channels one half as it is, the other through a branch.

    Raises ValueError for an odd number of channels.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        half = _half(c)
        self.branch_main = main_branch(half, half, half)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        even, odd = channel_shuffle(x, x.shape[1] // 2).chunk(2, dim=1)
        return torch.cat((even, self.branch_main(odd)), 1)


class Downsampling(nn.Module):
    """Figure 3d, the authors': a projection of all channels, beside a branch of all channels."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.branch_main = main_branch(c_in, _half(c_out), c_out - c_in, stride=2)
        self.branch_proj = projection(c_in, c_in)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / 2, w / 2)."""
        return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)


def shufflenetv2(width: float = 1.0) -> nn.Module:
    """Return the authors' ShuffleNetV2 in eval mode; (n, 3, h, w) -> (n, 1000).

    Widths are 0.5, 1.0, 1.5 and 2.0; raises ValueError for any other.
    """
    channels = _channels(width)
    stages = _stages(channels, Unit, Downsampling)
    layers = OrderedDict(
        first_conv=nn.Sequential(*conv_bn(3, channels[0], 3, stride=2, activation=relu)),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        features=nn.Sequential(*(unit for stage in stages for unit in stage)),
        conv_last=nn.Sequential(*conv_bn(*channels[-2:], activation=relu)),
        globalpool=GlobalMean(),
        dropout=nn.Dropout(0.2 if width == 2.0 else 0.0),
        classifier=nn.Sequential(nn.Linear(channels[-1], CLASSES, bias=False)),
    )
    return calibrated(nn.Sequential(layers))


class TorchvisionUnit(nn.Module):
    """Figure 3c, torchvision's: the first half as it is, the second through a branch, shuffled.

    Raises ValueError for an odd number of channels.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        half = _half(c)
        self.branch2 = main_branch(half, half, half)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        first, second = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat((first, self.branch2(second)), 1), 2)


class TorchvisionDownsampling(nn.Module):
    """Figure 3d, torchvision's: two branches of all channels, of equal width, shuffled."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        half = _half(c_out)
        self.branch1 = projection(c_in, half)
        self.branch2 = main_branch(c_in, half, half, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / 2, w / 2)."""
        return channel_shuffle(torch.cat((self.branch1(x), self.branch2(x)), 1), 2)


def shufflenetv2_tv(width: float = 1.0) -> nn.Module:
    """Return torchvision's ShuffleNetV2 in eval mode; (n, 3, h, w) -> (n, 1000).

    Widths are 0.5, 1.0, 1.5 and 2.0; raises ValueError for any other.
    """
    channels = _channels(width)
    stage2, stage3, stage4 = _stages(channels, TorchvisionUnit, TorchvisionDownsampling)
    layers = OrderedDict(
        conv1=nn.Sequential(*conv_bn(3, channels[0], 3, stride=2, activation=relu)),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        stage2=stage2,
        stage3=stage3,
        stage4=stage4,
        conv5=nn.Sequential(*conv_bn(*channels[-2:], activation=relu)),
        mean=GlobalMean(),
        fc=nn.Linear(channels[-1], CLASSES),
    )
    return calibrated(nn.Sequential(layers))


def _channels(width: float) -> tuple[int, ...]:
    if width not in CHANNELS:
        raise ValueError(f"width is {width}; Table 5 has {', '.join(map(str, CHANNELS))}")
    return CHANNELS[width]


def _half(c: int) -> int:
    if c % 2:
        raise ValueError(f"{c} channels have no halves; give an even number")
    return c // 2


def _stages(
    channels: tuple[int, ...],
    unit: Callable[[int], nn.Module],
    downsampling: Callable[[int, int], nn.Module],
) -> Iterator[nn.Sequential]:
    """Yield stages 2, 3 and 4: a unit of stride 2, then units of stride 1."""
    for (c_in, c_out), repeat in zip(pairwise(channels[:-1]), REPEATS, strict=True):
        units = (unit(c_out) for _ in range(repeat - 1))
        yield nn.Sequential(downsampling(c_in, c_out), *units)
