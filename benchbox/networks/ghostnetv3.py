"""GhostNetV3 (arXiv 2404.11202): GhostNetV2 trained in parallel branches and deployed without them.

In training the convolutions of the ghost modules and of the strides are sums of branches. Every
branch is linear and has its own batch norm, so the sum folds into one convolution. Names in the
state_dict are those of the authors' implementation, in both forms.
"""

import torch
from torch import Tensor, nn

from benchbox.networks.branches import Branch, Foldable, fuse, summed
from benchbox.networks.dfc import DFC
from benchbox.networks.ghostnet import Bottleneck, GhostNet, Layer
from benchbox.networks.ghostnetv2 import ALL, gated_layers
from benchbox.networks.layers import calibrated, relu

BRANCHES = 3  # of the full kernel
FOLDED = {"primary": "primary_conv.0", "cheap": "cheap_operation.0", "dw": "conv_dw"}


def ghostnetv3(width: float = 1.0) -> nn.Module:
    """GhostNetV3 as it is deployed; (n, 3, h, w) -> (n, 1000).

    Raises ValueError for a width that is not positive.
    """
    return fuse(ghostnetv3_train(width))


def ghostnetv3_train(width: float = 1.0) -> nn.Module:
    """GhostNetV3 as it is trained, equal to what is deployed; (n, 3, h, w) -> (n, 1000).

    Raises ValueError for a width that is not positive.
    """
    return calibrated(GhostNet(width, bottleneck))


def bottleneck(layer: Layer) -> nn.Module:
    """The bottleneck of a row of the table, as it is trained."""
    first, last = gated_layers(ALL)
    dfc = DFC(layer.c_in, layer.expanded) if first <= layer.index <= last else None
    ghost1 = BranchedGhostModule(layer.c_in, layer.expanded, relu(), dfc)
    ghost2 = BranchedGhostModule(layer.expanded, layer.c_out, nn.Identity(), None)
    return BranchedBottleneck(layer, ghost1, ghost2)


class Branched(Foldable):
    """A module of layers in branches, each by its name.

    A layer is the sum of BRANCHES convolutions, of a 1x1 convolution if the others are larger, and
    of the batch norm of the input itself if the shapes allow it.
    """

    def add_layer(
        self, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        """Add the layer `name`: (n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        if stride == 1 and c_in == c_out:
            self.add_module(f"{name}_rpr_skip", nn.BatchNorm2d(c_in))
        full = [Branch(c_in, c_out, kernel, stride, groups) for _ in range(BRANCHES)]
        self.add_module(f"{name}_rpr_conv", nn.ModuleList(full))
        if kernel > 1:
            self.add_module(f"{name}_rpr_scale", Branch(c_in, c_out, 1, stride, groups))

    def layer(self, name: str, x: Tensor) -> Tensor:
        """Return what the layer `name`, in branches or folded, makes of `x`."""
        first, *others = self._branches(name) or [self.get_submodule(FOLDED[name])]
        total: Tensor = first(x)
        for branch in others:
            total = total + branch(x)
        return total

    def fold(self) -> None:
        """Put one convolution in the place of every layer in branches."""
        for name, path in FOLDED.items():
            branches = self._branches(name)
            if branches:
                conv = summed(branches)
                for child in self._children(name):
                    delattr(self, child)
                key, _, is_in_sequential = path.partition(".")
                folded = nn.Sequential(conv) if is_in_sequential else conv
                self.add_module(key, folded.train(self.training))

    def _children(self, name: str) -> list[str]:
        return [child for child, _ in self.named_children() if child.startswith(f"{name}_rpr_")]

    def _branches(self, name: str) -> list[nn.Module]:
        found: list[nn.Module] = []
        for child in map(self.get_submodule, self._children(name)):
            found += child if isinstance(child, nn.ModuleList) else [child]
        return found


class BranchedGhostModule(Branched):
    """The ghost module with both of its convolutions in branches, gated by DFC where it has one."""

    def __init__(self, c_in: int, c_out: int, activation: nn.Module, dfc: DFC | None) -> None:
        super().__init__()
        self.short_conv: nn.Module | None = dfc
        self.add_layer("primary", c_in, c_out // 2, 1)
        self.add_layer("cheap", c_out // 2, c_out // 2, 3, groups=c_out // 2)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        primary = self.activation(self.layer("primary", x))
        cheap = self.activation(self.layer("cheap", primary))
        result = torch.cat([primary, cheap], 1)
        return result if self.short_conv is None else result * self.short_conv(x)


class BranchedBottleneck(Branched, Bottleneck):
    """The ghost bottleneck with its strided convolution in branches."""

    def add_downsampling(self, layer: Layer) -> None:
        """Add the strided depthwise convolution between the ghost modules."""
        c = layer.expanded
        self.add_layer("dw", c, c, layer.kernel, stride=layer.stride, groups=c)

    def downsample(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h / 2, w / 2)."""
        return self.layer("dw", x)
