"""YOLOv10 (arXiv 2405.14458), with Ghost modules in place, and with GhostNet as its backbone.

Only the one-to-one head is there, as in a deployed graph: no boxes need to be suppressed.
"""

from collections.abc import Callable

from torch import nn

from benchbox.networks import ghostnet
from benchbox.networks.detector import Backbone, Head, Layer, Neck, detector, widths
from benchbox.networks.detector_blocks import (
    PSA,
    SPPF,
    c2f,
    c2fcib,
    c3ghost,
    conv,
    ghost_halving,
    halving,
    scdown,
)


def yolov10(scale: str = "n", head: str = "detections") -> nn.Module:
    """YOLOv10 n or s; (n, 3, h, w) -> what `head`, "raw", "decoded" or "detections", says.

    Raises ValueError for another scale or head.
    """
    return _yolov10(scale, head, halving, c2f)


def yolov10_ghost(scale: str = "n", head: str = "detections") -> nn.Module:
    """YOLOv10 with ghost modules for its 3x3 convolutions of stride 2 and its C2f; as `yolov10`."""
    return _yolov10(scale, head, ghost_halving, c3ghost)


def yolov10_ghostnet(
    scale: str = "n",
    width: float = 1.0,
    *,
    taps: str = "last",
    last_conv: bool = True,
    head: str = "detections",
) -> nn.Module:
    """YOLOv10's neck and head on GhostNet, whose `width` is not that of the scale; as `yolov10`.

    `taps` and `last_conv` are those of `ghostnet.Backbone`, for whose values ValueError is raised.
    """
    backbone = ghostnet.Backbone(width, ghostnet.bottleneck, taps=taps, last_conv=last_conv)
    c5 = widths(scale)[-1]
    context = nn.Sequential(SPPF(backbone.channels[-1], c5), PSA(c5))
    neck = Neck(scale, backbone.channels, _neck_layers(halving, c2f), context)
    return detector(backbone, neck, _head(scale, head))


def _yolov10(scale: str, head: str, down: Layer, merge: Callable[..., nn.Module]) -> nn.Module:
    c1, c2, c3, c4, c5 = widths(scale)
    backbone = Backbone(
        conv(3, c1, 3, stride=2),
        down(c1, c2),
        merge(c2, c2, add=True),
        down(c2, c3),
        merge(c3, c3, 2, add=True),
        scdown(c3, c4),
        merge(c4, c4, 2, add=True),
        scdown(c4, c5),
        merge(c5, c5, add=True) if scale == "n" else c2fcib(c5, c5),
        SPPF(c5, c5),
        PSA(c5),
    )
    neck = Neck(scale, (c3, c4, c5), _neck_layers(down, merge))
    return detector(backbone, neck, _head(scale, head))


def _neck_layers(down: Layer, merge: Layer) -> dict[str, Layer]:
    merges = {"c2f_1": merge, "c2f_2": merge}
    return {**merges, "conv_1": down, "c2f_3": merge, "scdown_1": scdown, "c2fcib_1": c2fcib}


def _head(scale: str, output: str) -> Head:
    return Head(scale, output, is_light=True, has_corners=True)
