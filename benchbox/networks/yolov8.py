"""YOLOv8 (Ultralytics, 2023), with Ghost modules in place, and with GhostNetV2 as its backbone.

Ghost modules in place are those of Ultralytics' own yolov8-ghost: cheap operations of 5x5, SiLU,
and bottlenecks that narrow.
"""

from collections.abc import Callable

from torch import nn

from benchbox.networks import ghostnet, ghostnetv2
from benchbox.networks.detector import Backbone, Head, Layer, Neck, detector, widths
from benchbox.networks.detector_blocks import SPPF, c2f, c3ghost, conv, ghost_halving, halving


def yolov8(scale: str = "n", head: str = "decoded") -> nn.Module:
    """YOLOv8 n or s; (n, 3, h, w) -> what `head`, "raw" or "decoded", says.

    Raises ValueError for another scale or head.
    """
    return _yolov8(scale, head, halving, c2f)


def yolov8_ghost(scale: str = "n", head: str = "decoded") -> nn.Module:
    """YOLOv8 of ghost modules: all but the stem, the pooling and the head; as `yolov8`."""
    return _yolov8(scale, head, ghost_halving, c3ghost)


def yolov8_ghostnetv2(
    scale: str = "n",
    width: float = 1.0,
    *,
    taps: str = "last",
    last_conv: bool = True,
    head: str = "decoded",
) -> nn.Module:
    """YOLOv8's neck and head on GhostNetV2, whose `width` is not that of the scale; as `yolov8`.

    `taps` and `last_conv` are those of `ghostnet.Backbone`, for whose values ValueError is raised.
    """
    bottleneck = ghostnetv2.bottlenecks()
    backbone = ghostnet.Backbone(width, bottleneck, taps=taps, last_conv=last_conv)
    context = SPPF(backbone.channels[-1], widths(scale)[-1])
    neck = Neck(scale, backbone.channels, neck_layers(halving, c2f), context)
    return detector(backbone, neck, Head(scale, head, is_light=False))


def neck_layers(down: Layer, merge: Layer) -> dict[str, Layer]:
    """The layers of YOLOv8's neck, in the order of `Neck`."""
    merges = {"c2f_1": merge, "c2f_2": merge}
    return {**merges, "conv_1": down, "c2f_3": merge, "conv_2": down, "c2f_4": merge}


def _yolov8(scale: str, head: str, down: Layer, merge: Callable[..., nn.Module]) -> nn.Module:
    c1, c2, c3, c4, c5 = widths(scale)
    backbone = Backbone(
        conv(3, c1, 3, stride=2),
        down(c1, c2),
        merge(c2, c2, add=True),
        down(c2, c3),
        merge(c3, c3, 2, add=True),
        down(c3, c4),
        merge(c4, c4, 2, add=True),
        down(c4, c5),
        merge(c5, c5, add=True),
        SPPF(c5, c5),
    )
    neck = Neck(scale, (c3, c4, c5), neck_layers(down, merge))
    return detector(backbone, neck, Head(scale, head, is_light=False))
