"""Units of four networks, each in a stack: ShuffleNetV2's appendix, Table 1b (arXiv 1807.11164).

All have stride 1 and keep their c channels, with batch norms and activations as in the networks.
`size` is the height and width of the images that the batch norms take their statistics from; the
stack itself takes images of any size.
"""

from collections.abc import Callable, Mapping

from torch import nn

from benchbox.networks import shufflenetv1, shufflenetv2
from benchbox.networks.layers import calibrated
from benchbox.networks.mobilenetv2 import InvertedResidual


def unit(kind: str, **arguments: int) -> nn.Module:
    """Return `<kind>_unit(**arguments)`, so that cases of one spec may name their kind.

    Raises ValueError for a kind that is none of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](**arguments)


def shufflenetv2_unit(c: int, repeat: int = 10, size: int = 56) -> nn.Module:
    """Return units of the authors' ShuffleNetV2; (n, c, h, w) in and out.

    c^2 / 2 + 9c / 2 multiply-accumulates per pixel and unit. Raises ValueError unless c is even.
    """
    return _stacked(lambda: shufflenetv2.Unit(c), c, repeat, size)


def shufflenetv1_unit(c: int, groups: int = 4, repeat: int = 10, size: int = 56) -> nn.Module:
    """Return units of the authors' ShuffleNet; (n, c, h, w) in and out.

    c^2 / 2g + 9c / 4 multiply-accumulates per pixel and unit; those of 4 groups have as many as
    ShuffleNetV2's of c / 2 channels. Raises ValueError unless c is a multiple of 4 x groups.
    """
    return _stacked(lambda: shufflenetv1.Unit(c, c, groups), c, repeat, size)


def mobilenetv2_unit(c: int, repeat: int = 10, size: int = 56) -> nn.Module:
    """Return MobileNetV2's inverted residuals, expanded sixfold; (n, c, h, w) in and out.

    12c^2 + 54c multiply-accumulates per pixel and unit.
    """
    return _stacked(lambda: InvertedResidual(c, c, stride=1, expansion=6), c, repeat, size)


def xception_unit(c: int, repeat: int = 10, size: int = 56) -> nn.Module:
    """Return Xception-like units; (n, c, h, w) in and out.

    ShuffleNet's paper (section 4.1.1) gives its unit that name when it has one group: a residual of
    1x1, depthwise 3x3 and 1x1 convolutions, c^2 / 2 + 9c / 4 multiply-accumulates per pixel and
    unit. Raises ValueError unless c is a multiple of 4.
    """
    return _stacked(lambda: shufflenetv1.Unit(c, c, groups=1), c, repeat, size)


KINDS: Mapping[str, Callable[..., nn.Module]] = {
    "shufflenetv2": shufflenetv2_unit,
    "shufflenetv1": shufflenetv1_unit,
    "mobilenetv2": mobilenetv2_unit,
    "xception": xception_unit,
}


def _stacked(build: Callable[[], nn.Module], c: int, repeat: int, size: int) -> nn.Module:
    return calibrated(nn.Sequential(*(build() for _ in range(repeat))), channels=c, size=size)
