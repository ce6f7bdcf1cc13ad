"""Attention blocks that weigh a feature map, each of them (n, c, h, w) -> (n, c, h, w).

CBAM                 Woo et al., arXiv 1807.06521
CoordinateAttention  Hou et al., arXiv 2103.02907
GatedLayer           a layer's output times a gate of its input, as GhostNetV2 places its DFC

Squeeze-and-Excitation is in layers.py, DFC in dfc.py.
"""

import torch
from torch import Tensor, nn

from benchbox.networks.layers import conv_bn, relu


class CBAM(nn.Module):
    """Weighs channels by their mean and maximum, then places by theirs (section 3, figure 2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), relu(), nn.Conv2d(squeezed, channels, 1)
        )
        self.spatial = nn.Sequential(*conv_bn(2, 1, 7))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.shared(mean) + self.shared(largest))
        across = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1)
        return x * torch.sigmoid(self.spatial(across))


class CoordinateAttention(nn.Module):
    """Weighs each row and each column of every channel (section 3.2, figure 2c).

    The means of the rows and those of the columns pass one 1x1 convolution to
    max(8, c // reduction) channels together, and one each back.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        squeezed = max(8, channels // reduction)
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.BatchNorm2d(squeezed), nn.Hardswish()
        )
        self.of_rows = nn.Conv2d(squeezed, channels, 1)
        self.of_columns = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        along = self.reduce(torch.cat((rows, columns.transpose(2, 3)), dim=2))
        rows, columns = along.split(x.shape[2:], dim=2)
        weight_of_row = torch.sigmoid(self.of_rows(rows))
        weight_of_column = torch.sigmoid(self.of_columns(columns.transpose(2, 3)))
        return x * weight_of_row * weight_of_column


class GatedLayer(nn.Module):
    """The output of `layer` times that of `gate`; both have the same shape."""

    def __init__(self, layer: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h, w)."""
        weighed: Tensor = self.layer(x) * self.gate(x)
        return weighed
