"""Catalogue of the networks: each name with its builder and its published figures.

Published figures are those that papers print, some read in a figure or in another's list, as their
source says: params and multiply-accumulates in millions, ImageNet top-1 accuracy or COCO mAP in
percent. One that could not be confirmed is left out. Nothing here imports torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from benchbox.errors import SpecError

Scalar = str | int | float | bool
Image = tuple[int, ...]  # channels, frames of a video, height, width
IMAGE: Image = (3, 224, 224)
DETECTOR_IMAGE: Image = (3, 640, 640)
STRIDE = 32  # of all of them together; height and width of an image are multiples of it


@dataclass(frozen=True, slots=True)
class Paper:
    """Published figures of a network; None for one that could not be confirmed."""

    params_m: float | None = None
    macs_m: float | None = None
    top1_percent: float | None = None
    source: str = ""
    map_percent: float | None = None  # mAP 50-95
    cpu_onnx_ms: float | None = None
    t4_tensorrt_ms: float | None = None

    def untimed(self) -> "Paper":
        """The figures without latencies, which are of one image in the type they were taken in."""
        return replace(self, cpu_onnx_ms=None, t4_tensorrt_ms=None)


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name: `builder` is `module:callable`, called with `args`.

    `image` is its input by default, `spec` the bundled one that has it, `labels` what it is called
    there beside its name. A detector takes one of `heads` as its argument `head`. Height and width
    of an image are multiples of `stride`.
    """

    name: str
    builder: str
    args: Mapping[str, Scalar] = field(default_factory=dict)
    paper: Paper = field(default_factory=Paper)
    image: Image = IMAGE
    spec: str = "models"
    heads: tuple[str, ...] = ()
    labels: Mapping[str, Scalar] = field(default_factory=dict)
    stride: int = STRIDE


def _widths(
    family: str,
    builder: str,
    source: str,
    figures: Mapping[float, tuple[float | None, float | None, float | None]],
    ending: str = "",
) -> Iterable[Network]:
    """Yield the networks of a family, one for each width."""
    for width, printed in figures.items():
        name = f"{family}_x{width:.1f}{ending}".replace(".", "_")
        has_any = any(value is not None for value in printed)
        paper = Paper(*printed, source if has_any else "")
        yield Network(name, f"benchbox.networks.{builder}", {"width": width}, paper)


def _shufflenetv1() -> Iterable[Network]:
    builder = "benchbox.networks.shufflenetv1:shufflenetv1"
    source = "ShuffleNet, arXiv 1707.01083, Table 2; params: the authors' README"
    figures = {
        1: (None, 143, 66.4),
        2: (None, 140, 67.3),
        3: (1.9, 137, 67.4),
        4: (None, 133, 67.2),
        8: (2.4, 137, 67.6),
    }
    for groups, printed in figures.items():
        paper = Paper(*printed, source)
        yield Network(f"shufflenetv1_g{groups}", builder, {"groups": groups}, paper)


HALVED = "FLOPs halved, which count multiplications and additions"
T4 = "T4: by Ultralytics, TensorRT 10 in float16"
V8 = f"Ultralytics' documentation of YOLOv8 ({HALVED}; CPU: ONNX; {T4})"
V8_GHOST = f"Ultralytics' yolov8-ghost.yaml ({HALVED})"
V10 = f"YOLOv10, arXiv 2405.14458, and its README ({HALVED}; {T4})"
V11 = f"Ultralytics' documentation of YOLO11 ({HALVED}; CPU: ONNX; {T4})"
DETECTORS = {
    "yolov8n": Paper(3.2, 4350, None, V8, 37.3, 80.4, 1.47),
    "yolov8s": Paper(11.2, 14300, None, V8, 44.9, 128.4, 2.66),
    "yolov8n_ghost": Paper(macs_m=2900, source=V8_GHOST),
    "yolov8s_ghost": Paper(macs_m=8200, source=V8_GHOST),
    "yolov8n_ghostnetv2_x1_0": Paper(),
    "yolov8s_ghostnetv2_x1_0": Paper(),
    "yolov10n": Paper(2.3, 3350, None, V10, 38.5, None, 1.56),
    "yolov10s": Paper(7.2, 10800, None, V10, 46.3, None, 2.66),
    "yolov10n_ghost": Paper(),
    "yolov10s_ghost": Paper(),
    "yolov10n_ghostnet_x1_0": Paper(),
    "yolov10s_ghostnet_x1_0": Paper(),
    "yolo11n": Paper(2.6, 3250, None, V11, 39.5, 56.1, 1.5),
    "yolo11s": Paper(9.4, 10750, None, V11, 47.0, 90.0, 2.5),
    "yolo11n_ghostnetv3_x1_0": Paper(),
    "yolo11s_ghostnetv3_x1_0": Paper(),
    "yolo11n_ghostnetv3_x1_0_train": Paper(),
    "yolo11s_ghostnetv3_x1_0_train": Paper(),
}


def _detectors() -> Iterable[Network]:
    for name, paper in DETECTORS.items():
        host, _, variant = name.partition("_")
        family, scale = host[:-1], host[-1]
        callable_name = "_".join(filter(None, (family, variant.partition("_x")[0])))
        args: dict[str, Scalar] = {"scale": scale}
        if name.endswith("_train"):
            args["is_fused"] = False
        yield Network(
            name,
            f"benchbox.networks.{family}:{callable_name}",
            args,
            paper,
            DETECTOR_IMAGE,
            "detectors",
            ("raw", "decoded", "detections")[: 3 if family == "yolov10" else 2],
            {"host": host, "ghost": _ghost(variant)},
        )


def _ghost(variant: str) -> str:
    """Where a variant of a detector has Ghost modules."""
    if variant in ("", "ghost"):
        return "modules" if variant else "none"
    return "backbone_train" if variant.endswith("_train") else "backbone"


NOTHING = (None, None, None)
SHUFFLENETV2 = {
    0.5: (1.4, 41, 60.3),
    1.0: (2.3, 146, 69.4),
    1.5: (3.5, 299, 72.6),
    2.0: (7.4, 591, 74.9),
}
GHOSTNET = {0.5: (2.6, 42, 66.2), 1.0: (5.2, 141, 73.9), 1.3: (7.3, 226, 75.7)}
GHOSTNETV2 = {1.0: (None, 167, 75.3), 1.3: (None, 269, 76.9), 1.6: (None, 399, 77.8)}
GHOSTNETV3 = {0.5: NOTHING, 1.0: (6.1, 170, 77.1), 1.3: (8.9, 269, 79.1), 1.6: (12.3, 400, 80.4)}
MOBILENETV3_TABLE = "MobileNetV3, arXiv 1905.02244, Table 3"

_ALL = [
    *_widths(
        "shufflenetv2",
        "shufflenetv2:shufflenetv2",
        "ShuffleNet V2, arXiv 1807.11164, Tables 5 and 8",
        SHUFFLENETV2,
    ),
    *_widths(
        "shufflenetv2_tv",
        "shufflenetv2:shufflenetv2_tv",
        "ShuffleNet V2, arXiv 1807.11164, Tables 5 and 8",
        SHUFFLENETV2,
    ),
    *_shufflenetv1(),
    *_widths(
        "ghostnet",
        "ghostnet:ghostnet",
        "GhostNet, arXiv 1911.11907, by PaddleClas' list and GhostNetV2's Figure 1",
        GHOSTNET,
    ),
    *_widths(
        "ghostnetv2",
        "ghostnetv2:ghostnetv2",
        "GhostNetV2, arXiv 2211.12905, abstract and Figure 1",
        GHOSTNETV2,
    ),
    *_widths(
        "ghostnetv3",
        "ghostnetv3:ghostnetv3",
        "GhostNetV3, arXiv 2404.11202, and iFormer, arXiv 2501.15369",
        GHOSTNETV3,
    ),
    *_widths(
        "ghostnetv3",
        "ghostnetv3:ghostnetv3_train",
        "",
        dict.fromkeys(GHOSTNETV3, NOTHING),  # the papers print the form that is deployed
        ending="_train",
    ),
    *_widths("mobilenetv2", "mobilenetv2:mobilenetv2", MOBILENETV3_TABLE, {1.0: (3.4, 300, 72.0)}),
    Network(
        "mobilenetv3_small",
        "benchbox.networks.mobilenetv3:mobilenetv3_small",
        paper=Paper(top1_percent=67.4, source=MOBILENETV3_TABLE),
    ),
    Network(
        "mobilenetv3_large",
        "benchbox.networks.mobilenetv3:mobilenetv3_large",
        paper=Paper(5.4, 219, 75.2, MOBILENETV3_TABLE),
    ),
    *_detectors(),
]
NETWORKS: Mapping[str, Network] = {network.name: network for network in _ALL}


def families() -> list[str]:
    """Return the bare names that stand for an x1_0."""
    return [name.replace("_x1_0", "") for name in NETWORKS if "_x1_0" in name]


def find(name: str) -> Network | None:
    """Return the network that `name` means, a bare family its x1_0; None for no network's name.

    Raises SpecError for a family without an x1_0, which could be any of its members.
    """
    family = name.removesuffix("_train")
    train = name[len(family) :]
    for full in (name, f"{name}_x1_0", f"{family}_x1_0{train}"):
        if full in NETWORKS:
            return NETWORKS[full]
    members = [full for full in NETWORKS if full.startswith(f"{name}_")]
    if members:
        raise SpecError(f"{name!r} may be {_either(members)}; name one of them")
    return None


def named(name: str) -> Network:
    """Return the network of that name; raises SpecError, with the nearest names, for none."""
    network = find(name)
    if network is None:
        close = get_close_matches(name, [*families(), *NETWORKS], n=2, cutoff=0.4)
        raise SpecError(
            f"unknown network {name!r}{meant(close)}; `benchbox list networks` shows them"
        )
    return network


def meant(close: Sequence[str]) -> str:
    """What a name may have been meant as, in brackets."""
    return f" (did you mean {_either(close)}?)" if close else ""


def _either(names: Iterable[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last
