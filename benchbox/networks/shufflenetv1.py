"""ShuffleNet: Zhang et al., arXiv 1707.01083; the form and names are the authors' implementation's.

That one departs from the paper's figures in two ways. It shuffles after the depthwise convolution,
not before it, and deals the channels out the other way round. At stride 2 the ReLU is on the branch
alone: the other half is a mean of what a ReLU left, so one after both would change nothing.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from benchbox.networks.layers import calibrated, channel_shuffle, conv_bn, relu

# Table 1: groups of the 1x1 convolutions, output channels of the stem and of stages 2, 3 and 4.
CHANNELS = {
    1: (24, 144, 288, 576),
    2: (24, 200, 400, 800),
    3: (24, 240, 480, 960),
    4: (24, 272, 544, 1088),
    8: (24, 384, 768, 1536),
}
REPEATS = (4, 8, 4)  # units of a stage; the first has stride 2
CLASSES = 1000


class Unit(nn.Module):
    """Figure 2b and c: a bottleneck of group convolutions, and a shortcut.

    At stride 1 the two are added; at stride 2 they stand beside each other, the shortcut pooled.
    `first_groups` are those of the first convolution, where they are others than `groups`. Raises
    ValueError unless `c_out` is a multiple of 4 x groups.
    """

    def __init__(
        self, c_in: int, c_out: int, groups: int, stride: int = 1, first_groups: int | None = None
    ) -> None:
        super().__init__()
        if c_out % (4 * groups):
            raise ValueError(f"c_out is {c_out}; {groups} groups need a multiple of {4 * groups}")
        middle = c_out // 4
        self.groups, self.stride = groups, stride
        self.branch_main_1 = nn.Sequential(
            *conv_bn(c_in, middle, groups=first_groups or groups, activation=relu),
            *conv_bn(middle, middle, 3, stride=stride, groups=middle),
        )
        c_branch = c_out if stride == 1 else c_out - c_in
        self.branch_main_2 = nn.Sequential(*conv_bn(middle, c_branch, groups=groups))
        if stride > 1:
            self.branch_proj = nn.AvgPool2d(3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        y: Tensor = self.branch_main_1(x)
        if self.groups > 1:
            y = channel_shuffle(y, y.shape[1] // self.groups)
        y = self.branch_main_2(y)
        if self.stride == 1:
            return torch.relu(x + y)
        return torch.cat((self.branch_proj(x), torch.relu(y)), 1)


class GlobalMean(nn.Module):
    """The mean over all pixels, of images of any size."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c)."""
        return x.mean((2, 3))


def shufflenetv1(groups: int = 3) -> nn.Module:
    """Return ShuffleNet 1x with 1, 2, 3, 4 or 8 groups, in eval mode; (n, 3, h, w) -> (n, 1000).

    Raises ValueError for any other number of groups.
    """
    if groups not in CHANNELS:
        raise ValueError(f"groups is {groups}; Table 1 has {', '.join(map(str, CHANNELS))}")
    c_stem, *stages = CHANNELS[groups]
    units: list[nn.Module] = []
    c_in = c_stem
    for c_out, repeat in zip(stages, REPEATS, strict=True):
        # The stem's 24 channels are too few to be grouped, says the paper.
        first_groups = 1 if c_in == c_stem else groups
        units.append(Unit(c_in, c_out, groups, stride=2, first_groups=first_groups))
        units += [Unit(c_out, c_out, groups) for _ in range(repeat - 1)]
        c_in = c_out
    layers = OrderedDict(
        first_conv=nn.Sequential(*conv_bn(3, c_stem, 3, stride=2, activation=relu)),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        features=nn.Sequential(*units),
        globalpool=GlobalMean(),
        classifier=nn.Sequential(nn.Linear(c_in, CLASSES, bias=False)),
    )
    return calibrated(nn.Sequential(layers))
