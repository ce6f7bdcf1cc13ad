"""Backbones of the YOLO detectors, a host's own or a GhostNet, alone or with neck and head."""

from collections.abc import Callable, Mapping

from torch import nn

from benchbox.networks.detector import Detector
from benchbox.networks.yolo11 import yolo11, yolo11_ghostnetv3
from benchbox.networks.yolov8 import yolov8, yolov8_ghostnetv2
from benchbox.networks.yolov10 import yolov10, yolov10_ghostnet

# Each host, and the host on the backbone that articles give it.
HOSTS: Mapping[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "yolov8": (yolov8, yolov8_ghostnetv2),
    "yolov10": (yolov10, yolov10_ghostnet),
    "yolo11": (yolo11, yolo11_ghostnetv3),
}


def backbone(
    host: str,
    scale: str = "n",
    width: float = 1.0,
    *,
    last_conv: bool | None = None,
    alone: bool = True,
) -> nn.Module:
    """The backbone of `host`, or the whole of it unless `alone`; (n, 3, h, w) -> three maps.

    With `last_conv` it is a GhostNet of that `width` with or without its last convolution,
    `blocks.9`. Raises ValueError for another host or scale.
    """
    if host not in HOSTS:
        raise ValueError(f"host is {host!r}; it must be one of {', '.join(HOSTS)}")
    own, ghost = HOSTS[host]
    module = own(scale) if last_conv is None else ghost(scale, width, last_conv=last_conv)
    assert isinstance(module, Detector), "built here"
    return module.backbone if alone else module
