"""MobileNetV2: Sandler et al., arXiv 1801.04381; the form and names are torchvision's.

With `attention`, the variants that Coordinate Attention (arXiv 2103.02907) and GhostNetV2 (arXiv
2211.12905) compare: SE, CBAM and CA weigh the expanded width, after each depthwise convolution;
DFC stands parallel to the 1x1 convolution that expands, so that the first block, which expands
nothing, has none; of an odd map it keeps the last row and column.
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from benchbox.networks.attention import CBAM, CoordinateAttention, GatedLayer
from benchbox.networks.dfc import DFC, check
from benchbox.networks.layers import SqueezeExcite, calibrated, conv_bn, make_divisible

# Table 2: expansion, output channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def relu6() -> nn.Module:
    """Return a ReLU6 that works in place."""
    return nn.ReLU6(inplace=True)


def squeeze_excite(channels: int, reduction: int) -> nn.Module:
    """Return SE with a sigmoid, squeezed to c / reduction, but 8 channels at least."""
    return SqueezeExcite(channels, max(8, channels // reduction), nn.Sigmoid())


# Reductions 24, 24 and 32 are what meets the published sizes: 3.89, 3.89 and 3.95 M params.
AFTER_DEPTHWISE: Mapping[str, tuple[Callable[[int, int], nn.Module], int]] = {
    "se": (squeeze_excite, 24),
    "cbam": (CBAM, 24),
    "ca": (CoordinateAttention, 32),
}
ATTENTIONS = ("none", *AFTER_DEPTHWISE, "dfc")


class InvertedResidual(nn.Module):
    """Figure 3b: expand by a 1x1 convolution, filter depthwise, project without activation.

    `expansion` 1 leaves the first convolution out. The input is added where stride and channels
    allow it. Raises ValueError for an attention that is not known, or that has no `reduction`.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        expansion: int,
        attention: str = "none",
        reduction: int | None = None,
    ) -> None:
        super().__init__()
        _check(attention, reduction)
        expanded = c_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            expand = nn.Sequential(*conv_bn(c_in, expanded, activation=relu6))
            if attention == "dfc":
                layers.append(GatedLayer(expand, DFC(c_in, expanded, keep_odd=True)))
            else:
                layers.append(expand)
        depthwise = conv_bn(expanded, expanded, 3, stride=stride, groups=expanded, activation=relu6)
        if attention in AFTER_DEPTHWISE:
            build, usual = AFTER_DEPTHWISE[attention]
            depthwise.append(build(expanded, reduction or usual))
        layers.append(nn.Sequential(*depthwise))
        self.conv = nn.Sequential(*layers, *conv_bn(expanded, c_out))
        self.has_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """Table 2."""

    def __init__(self, width: float, attention: str, reduction: int | None) -> None:
        super().__init__()
        if not width > 0:
            raise ValueError(f"width is {width}; it must be positive")
        c = make_divisible(32 * width, 8)
        last = make_divisible(1280 * max(1.0, width), 8)
        features: list[nn.Module] = [nn.Sequential(*conv_bn(3, c, 3, stride=2, activation=relu6))]
        for expansion, channels, blocks, first_stride in STAGES:
            c_out = make_divisible(channels * width, 8)
            for index in range(blocks):
                stride = 1 if index else first_stride
                features.append(InvertedResidual(c, c_out, stride, expansion, attention, reduction))
                c = c_out
        features.append(nn.Sequential(*conv_bn(c, last, activation=relu6)))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, 1000))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, 1000)."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def mobilenetv2(
    width: float = 1.0, *, attention: str = "none", reduction: int | None = None
) -> MobileNetV2:
    """Return MobileNetV2 with all channels times `width`, in eval mode; (n, 3, h, w) -> (n, 1000).

    `attention` is none, se, cbam, ca or dfc; `reduction` (24, 24, 32 by default) how far the
    middle three squeeze channels. Raises ValueError for any other.
    """
    return calibrated(MobileNetV2(width, attention, reduction))


def _check(attention: str, reduction: int | None) -> None:
    check("attention", attention, ATTENTIONS)
    if reduction is not None and attention not in AFTER_DEPTHWISE:
        raise ValueError(f"attention {attention!r} has no reduction; leave it out")
    if reduction is not None and reduction < 1:
        raise ValueError(f"reduction is {reduction}; it must be 1 or more")
