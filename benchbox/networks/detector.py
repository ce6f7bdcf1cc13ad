"""Frame of the YOLO detectors: backbone, neck and head, and the boxes that the head decodes."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchbox.networks.branches import fuse
from benchbox.networks.detector_blocks import conv, depthwise
from benchbox.networks.layers import calibrated

SIZE = 640  # height and width of an image, by default
STRIDES = (8, 16, 32)
CLASSES = 80
TIMID = 0.1  # of the last weights of random class branches
SIDES = 4  # left, top, right, bottom
BINS = 16  # of the distance from an anchor to each side
DETECTIONS = 300
EPS = 1e-3  # of every batch norm, those of a foreign backbone too
WIDTHS = {"n": 0.25, "s": 0.5}
HEADS = ("raw", "decoded", "detections")

Layer = Callable[[int, int], nn.Module]


def widths(scale: str) -> tuple[int, int, int, int, int]:
    """Channels of the maps of stride 2 to 32; raises ValueError for another scale than n and s."""
    if scale not in WIDTHS:
        raise ValueError(f"scale is {scale!r}; it must be {' or '.join(map(repr, WIDTHS))}")
    c1, c2, c3, c4, c5 = (math.ceil(c * WIDTHS[scale] / 8) * 8 for c in (64, 128, 256, 512, 1024))
    return c1, c2, c3, c4, c5


class Backbone(nn.Sequential):
    """Layers, numbered as the authors do; `taps` give the maps of stride 8 and 16."""

    def __init__(self, *layers: nn.Module, taps: tuple[int, int] = (4, 6)) -> None:
        super().__init__(*layers)
        self._taps = taps

    def forward(self, x: Tensor) -> list[Tensor]:
        """(n, 3, h, w) -> the maps of stride 8, 16 and 32."""
        maps = []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in self._taps:
                maps.append(x)
        return [*maps, x]


class Neck(nn.Module):
    """Top-down and bottom-up paths over the maps of stride 8, 16 and 32.

    `layers` are two that merge on the way up and, on the way down, twice one of stride 2 and one
    that merges. `scale` gives the channels of the results, `taps` are those of the maps. `context`
    is what looks at the last map first, where it does not end the backbone.
    """

    def __init__(
        self,
        scale: str,
        taps: Sequence[int],
        layers: Mapping[str, Layer],
        context: nn.Module | None = None,
    ) -> None:
        super().__init__()
        *_, c3, c4, c5 = widths(scale)
        tap3, tap4, _ = taps
        channels = (
            *((c5 + tap4, c4), (c4 + tap3, c3)),
            *((c3, c3), (c3 + c4, c4), (c4, c4), (c4 + c5, c5)),
        )
        if context is not None:
            self.context = context
        for (name, layer), (c_in, c_out) in zip(layers.items(), channels, strict=True):
            self.add_module(name, layer(c_in, c_out))
        self._names = list(layers)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of stride 8, 16 and 32 in, and out."""
        tap3, tap4, tap5 = maps
        up1, up2, down1, merge1, down2, merge2 = map(self.get_submodule, self._names)
        if hasattr(self, "context"):
            tap5 = self.context(tap5)
        middle = up1(torch.cat([_doubled(tap5), tap4], 1))
        first = up2(torch.cat([_doubled(middle), tap3], 1))
        second = merge1(torch.cat([down1(first), middle], 1))
        third = merge2(torch.cat([down2(second), tap5], 1))
        return [first, second, third]


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """Distances to the four sides, in bins, and classes at every place of three maps.

    `output` is "raw", (n, 144, places): 64 box channels and 80 classes before the sigmoid; or
    "decoded", (n, 84, places): boxes in pixels, as corners or as centre and size, and scores; or
    "detections", (n, 300, 6): the corners, score and class of the best, for heads trained so that
    no boxes need to be suppressed. Class branches are light, of depthwise convolutions, or full.
    """

    def __init__(
        self, scale: str, output: str, *, is_light: bool, has_corners: bool = False
    ) -> None:
        super().__init__()
        *_, c3, c4, c5 = widths(scale)
        c_box, c_class = max(SIDES * BINS, c3 // 4), max(CLASSES, c3)
        classes = _light if is_light else _full
        self.box = nn.ModuleList(_full(c, c_box, SIDES * BINS) for c in (c3, c4, c5))
        self.classes = nn.ModuleList(classes(c, c_class, CLASSES) for c in (c3, c4, c5))
        bins = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)
        self.bins = nn.Parameter(bins, requires_grad=False)
        self._has_corners = has_corners
        allowed = HEADS if has_corners else HEADS[:2]
        if output not in allowed:
            *others, last = map(repr, allowed)
            raise ValueError(f"head is {output!r}; it must be {', '.join(others)} or {last}")
        self.output = output
        self.best = Best()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of stride 8, 16 and 32 -> what `output` says."""
        distances, classes = (
            torch.cat([branch(x).flatten(2) for branch, x in zip(branches, maps, strict=True)], 2)
            for branches in (self.box, self.classes)
        )
        if self.output == "raw":
            return torch.cat([distances, classes], 1)
        boxes, scores = self._boxes(distances, maps), torch.sigmoid(classes)
        if self.output == "decoded":
            return torch.cat([boxes, scores], 1)
        chosen: Tensor = self.best(boxes, scores)
        return chosen

    @torch.no_grad()
    def spread(self) -> None:
        """Give random class branches small weights where the best are chosen.

        Else hundreds of scores round to 1, and no comparison tells one choice from another.
        """
        if self._has_corners:
            for branch in self.classes:
                *_, last = branch.children()
                assert isinstance(last, nn.Conv2d)
                last.weight.mul_(TIMID)

    def _boxes(self, distances: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """(n, 64, places) -> (n, 4, places), in pixels."""
        n, _, places = distances.shape
        shares = torch.softmax(distances.view(n, SIDES, BINS, places).transpose(1, 2), 1)
        distance = functional.conv2d(shares, self.bins).view(n, SIDES, places)
        before, after = distance.chunk(2, 1)
        anchors, strides = _anchors(maps)
        first, last = anchors - before, anchors + after
        pair = (first, last) if self._has_corners else ((first + last) / 2, last - first)
        return torch.cat(pair, 1) * strides


def _full(c_in: int, hidden: int, c_out: int) -> nn.Module:
    return nn.Sequential(
        conv(c_in, hidden, 3), conv(hidden, hidden, 3), nn.Conv2d(hidden, c_out, 1)
    )


def _light(c_in: int, hidden: int, c_out: int) -> nn.Module:
    first = nn.Sequential(depthwise(c_in), conv(c_in, hidden))
    second = nn.Sequential(depthwise(hidden), conv(hidden, hidden))
    return nn.Sequential(first, second, nn.Conv2d(hidden, c_out, 1))


def _anchors(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The centres of all places, (2, places), x before y, and the stride of each, (1, places)."""
    anchors, strides = [], []
    for x, stride in zip(maps, STRIDES, strict=True):
        rows, columns = (torch.arange(size).to(x) + 0.5 for size in x.shape[2:])
        y, across = torch.meshgrid(rows, columns, indexing="ij")
        anchors.append(torch.stack([across.flatten(), y.flatten()]))
        strides.append(torch.full_like(anchors[-1][:1], stride))
    return torch.cat(anchors, 1), torch.cat(strides, 1)


class Best(nn.Module):
    """The best detections: of the best places, those classes with the best scores."""

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """(n, 4, places) and (n, classes, places) -> (n, up to 300, 6).

        A place may be there with several classes.
        """
        classes, places = scores.shape[1:]
        count = min(DETECTIONS, places)
        chosen = scores.amax(1).topk(count).indices.unsqueeze(1)
        boxes = boxes.gather(2, chosen.expand(-1, SIDES, -1)).transpose(1, 2)
        scores = scores.gather(2, chosen.expand(-1, classes, -1)).transpose(1, 2)
        values, index = scores.flatten(1).topk(count)
        rows = (index // classes).unsqueeze(2).expand(-1, -1, SIDES)
        kinds = (index % classes).unsqueeze(2).to(values)
        return torch.cat([boxes.gather(1, rows), values.unsqueeze(2), kinds], 2)


class Detector(nn.Module):
    """A detector; (n, 3, h, w) -> what its head gives."""

    def __init__(self, backbone: nn.Module, neck: Neck, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head

    @property
    def output_kind(self) -> str:
        """What the head gives, as the check of an export needs to know."""
        return self.head.output

    @property
    def chooser(self) -> str:
        """The path of the module that chooses detections; empty where nothing is chosen."""
        return "head.best" if self.head.output == HEADS[-1] else ""

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w), h and w multiples of 32, -> what the head gives."""
        if any(side % STRIDES[-1] for side in x.shape[-2:]):
            sides = "x".join(map(str, x.shape[-2:]))
            raise ValueError(f"a detector takes images of multiples of 32, not of {sides}")
        result: Tensor = self.head(self.neck(self.backbone(x)))
        return result


def with_eps(module: nn.Module) -> nn.Module:
    """The module, its batch norms with the eps of detectors."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = EPS
    return module


def detector(backbone: nn.Module, neck: Neck, head: Head, *, is_fused: bool = False) -> nn.Module:
    """The detector of these parts, calibrated, with branches folded if it `is_fused`."""
    module = calibrated(with_eps(Detector(backbone, neck, head)), size=SIZE, images=1)
    head.spread()
    return fuse(module) if is_fused else module
