"""YOLO11 (Ultralytics, 2024), and with GhostNetV3 as its backbone.

What users export keeps GhostNetV3's branches, for their tools fold those of their own modules only:
the form with `_train`. It equals the folded one.
"""

from functools import partial

from torch import nn

from benchbox.networks import ghostnet, ghostnetv3
from benchbox.networks.detector import Backbone, Head, Layer, Neck, detector, widths
from benchbox.networks.detector_blocks import PSA, SPPF, c3k2, conv, halving

NECK: dict[str, Layer] = {
    "c3k2_1": c3k2,
    "c3k2_2": c3k2,
    "conv_1": halving,
    "c3k2_3": c3k2,
    "conv_2": halving,
    "c3k2_4": partial(c3k2, deep=True),
}


def yolo11(scale: str = "n", head: str = "decoded") -> nn.Module:
    """YOLO11 n or s; (n, 3, h, w) -> what `head`, "raw" or "decoded", says.

    Raises ValueError for another scale or head.
    """
    c1, c2, c3, c4, c5 = widths(scale)
    backbone = Backbone(
        conv(3, c1, 3, stride=2),
        halving(c1, c2),
        c3k2(c2, c3, ratio=0.25),
        halving(c3, c3),
        c3k2(c3, c4, ratio=0.25),
        halving(c4, c4),
        c3k2(c4, c4, deep=True),
        halving(c4, c5),
        c3k2(c5, c5, deep=True),
        SPPF(c5, c5),
        PSA(c5),
    )
    return detector(backbone, Neck(scale, (c4, c4, c5), NECK), Head(scale, head, is_light=True))


def yolo11_ghostnetv3(
    scale: str = "n",
    width: float = 1.0,
    *,
    taps: str = "last",
    last_conv: bool = False,
    is_fused: bool = True,
    head: str = "decoded",
) -> nn.Module:
    """YOLO11's neck and head on GhostNetV3, whose `width` is not that of the scale; as `yolo11`.

    `is_fused` folds the branches of its backbone. `taps` and `last_conv` are those of
    `ghostnet.Backbone`, for whose values ValueError is raised.
    """
    backbone = ghostnet.Backbone(width, ghostnetv3.bottleneck, taps=taps, last_conv=last_conv)
    c5 = widths(scale)[-1]
    context = nn.Sequential(SPPF(backbone.channels[-1], c5), PSA(c5))
    neck = Neck(scale, backbone.channels, NECK, context)
    return detector(backbone, neck, Head(scale, head, is_light=True), is_fused=is_fused)
