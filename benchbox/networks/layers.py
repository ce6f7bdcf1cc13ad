"""Layers that several families share."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]
Kernel = int | tuple[int, int]
Module = TypeVar("Module", bound=nn.Module)

CALIBRATION = 4  # images for the statistics of batch norms; of 2 those of small maps are chance


def make_divisible(value: float, divisor: int) -> int:
    """Return the multiple of `divisor` nearest to `value`, never less than 90% of it.

    The rounding of channel counts in the MobileNets (divisor 8) and the GhostNets (divisor 4).
    """
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def conv_bn(
    c_in: int,
    c_out: int,
    kernel: Kernel = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    eps: float = 1e-5,
) -> list[nn.Module]:
    """Return a convolution that keeps the size, its batch norm, and the activation if any.

    (n, c_in, h, w) -> (n, c_out, h / stride, w / stride). The convolution has no bias. A list, so
    that a Sequential may hold several of them, numbered through.
    """
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    conv = nn.Conv2d(
        c_in, c_out, (height, width), stride, padding=padding, groups=groups, bias=False
    )
    norm = nn.BatchNorm2d(c_out, eps=eps)
    return [conv, norm] if activation is None else [conv, norm, activation()]


def relu() -> nn.Module:
    """Return a ReLU that works in place."""
    return nn.ReLU(inplace=True)


class SqueezeExcite(nn.Module):
    """Squeeze-and-Excitation (arXiv 1709.01507): every channel weighed by a gate in 0 to 1.

    Global mean, 1x1 convolution to `squeezed` channels, ReLU, 1x1 convolution back, `gate`; both
    with a bias. `names` are what implementations call the two in a state_dict.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        gate: nn.Module,
        names: tuple[str, str] = ("conv_reduce", "conv_expand"),
    ) -> None:
        super().__init__()
        self._names = names
        self.add_module(names[0], nn.Conv2d(channels, squeezed, 1))
        self.add_module(names[1], nn.Conv2d(squeezed, channels, 1))
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        reduce, expand = (self.get_submodule(name) for name in self._names)
        weight: Tensor = self.gate(expand(torch.relu(reduce(x.mean((2, 3), keepdim=True)))))
        return x * weight


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Return the channels dealt out of `groups` equal stacks in turn (ShuffleNet, 1707.01083).

    (n, c, h, w) -> (n, c, h, w); `channel_shuffle(x, c / groups)` undoes it.
    """
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def silu() -> nn.Module:
    """Return a SiLU that works in place."""
    return nn.SiLU(inplace=True)


def calibrated(
    module: Module, channels: int = 3, size: int = 224, images: int = CALIBRATION
) -> Module:
    """Return the module in eval mode, its batch norms holding the statistics of random images.

    So activations stay near unit scale at any depth, as in a trained network, and no denormals
    arise. Weights are drawn first, so that seeding torch decides everything. A module of torch's
    meta device holds no numbers; it is put into eval mode.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return module.eval()
    norms = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            norms.append((layer, layer.momentum))
    module.eval()
    for norm, _ in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, here of one
        norm.train()
    shape = (images, channels, size, size)
    with torch.no_grad():
        module(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    for norm, momentum in norms:
        norm.momentum = momentum
    return module.eval()
