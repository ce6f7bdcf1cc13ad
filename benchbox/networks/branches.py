"""Re-parameterisation: convolutions trained as sums of branches and deployed as one.

Every branch is linear and has its own batch norm, so the sum folds into one convolution.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def fuse(module: nn.Module) -> nn.Module:
    """Return a copy in which every layer in branches is one convolution with a bias.

    It equals the original in eval mode, up to rounding. A module without such layers is copied as
    it is.
    """
    fused = copy.deepcopy(module)
    for part in list(fused.modules()):
        if isinstance(part, Foldable):
            part.fold()
    return fused


class Foldable(nn.Module, ABC):
    """A module that has layers in branches, until they are folded."""

    @abstractmethod
    def fold(self) -> None:
        """Put one convolution in the place of every layer in branches."""


class Branch(nn.Module):
    """A convolution without a bias that keeps the size, and its batch norm."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        result: Tensor = self.bn(self.conv(x))
        return result


@torch.no_grad()
def summed(branches: Sequence[nn.Module]) -> nn.Conv2d:
    """Return the convolution that equals the sum of the branches."""
    like = next(branch.conv for branch in branches if isinstance(branch, Branch))
    kernels, biases = zip(*(_folded(branch, like) for branch in branches), strict=True)
    conv = copy.deepcopy(like)
    conv.weight = nn.Parameter(torch.stack(kernels).sum(0).to(like.weight))
    conv.bias = nn.Parameter(torch.stack(biases).sum(0).to(like.weight))
    return conv


def _folded(branch: nn.Module, like: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return a branch's kernel, as large as that of `like`, and its bias; both in float64."""
    norm = branch.bn if isinstance(branch, Branch) else branch
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    if isinstance(branch, Branch):
        missing = (like.kernel_size[0] - branch.conv.kernel_size[0]) // 2
        kernel = functional.pad(branch.conv.weight.double(), [missing] * 4)
    else:
        kernel = nn.init.dirac_(torch.empty_like(like.weight, dtype=torch.float64), like.groups)
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return kernel * scale.view(-1, 1, 1, 1), bias
