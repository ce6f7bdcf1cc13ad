"""Picture of all networks, FLOPs against latency, drawn from a record of `benchbox run models`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchbox.records import Record, Run
from tools.docs import plot
from tools.docs.plot import BLUE, BROWN, GREEN, PINK, PURPLE, RED, Place, Plot


class Label(NamedTuple):
    """A text beside the member of a family, so far from its point."""

    member: str
    text: str
    dx: int
    dy: int
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Family:
    """A family of networks: colour and mark of its points, and the texts beside them."""

    colour: str
    mark: str
    labels: Sequence[Label]


# In the order of drawing; a case belongs to the family with the longest key that fits it.
FAMILIES = {
    "shufflenetv1": Family(
        BROWN,
        "square",
        (
            Label("g1", "ShuffleNet without groups", 12, 16),
            Label("g8", "with 8 groups", 0, -12, "middle"),
        ),
    ),
    "shufflenetv2": Family(BLUE, "disc", (Label("x2_0", "ShuffleNetV2 x2.0", -2, 26),)),
    "shufflenetv2_tv": Family(
        BLUE, "ring", (Label("x0_5", "ShuffleNetV2 x0.5 (ring: torchvision)", 14, 20),)
    ),
    "ghostnet": Family(
        PURPLE, "disc", (Label("x0_5", "GhostNet x0.5", 12, 16), Label("x1_3", "x1.3", 12, 5))
    ),
    "ghostnetv2": Family(
        RED, "disc", (Label("x1_6", "GhostNetV2 x1.6 (ring: V3)", -14, -10, "end"),)
    ),
    "ghostnetv3": Family(RED, "ring", (Label("x0_5", "GhostNetV3 x0.5", 0, -16, "middle"),)),
    "ghostnetv3_train": Family(
        PINK, "square", (Label("x1_6", "GhostNetV3 x1.6 as trained", -14, 0, "end"),)
    ),
    "mobilenetv2": Family(GREEN, "square", (Label("x1_0", "MobileNetV2", 12, 5),)),
    "mobilenetv3": Family(
        GREEN,
        "disc",
        (Label("small", "MobileNetV3 small", 12, 8), Label("large", "large", 0, -12, "middle")),
    ),
}


class Point(NamedTuple):
    """A network: its family's key, its own part of the name, and its place in the picture."""

    family: str
    member: str
    at: Place


def draw(run: Run) -> str:
    """Draw the networks of a record as an SVG."""
    axes = Plot(
        "FLOPs do not rank networks",
        run,
        macs=(30, 1200),
        ms=(1.2, 50.0),
        macs_ticks=(40, 80, 160, 320, 640),
        ms_ticks=(2, 4, 8, 16, 32),
        rates=(20, 40, 80),
    )
    points = [_point(record, axes) for record in run.records]
    body = [
        part
        for key, family in FAMILIES.items()
        for part in _family(family, [point for point in points if point.family == key])
    ]
    return axes.svg(len(points), body)


def _point(record: Record, axes: Plot) -> Point:
    assert record.cost and record.latency and record.latency.p50_s
    key = max((key for key in FAMILIES if _belongs(record.case, key)), key=len)
    member = record.case.removeprefix(f"{key.removesuffix('_train')}_").removesuffix("_train")
    return Point(key, member, axes.place(record.cost["macs"] / 1e6, record.latency.p50_s * 1e3))


def _belongs(case: str, key: str) -> bool:
    return case.startswith(f"{key.removesuffix('_train')}_") and (
        case.endswith("_train") or not key.endswith("_train")
    )


def _family(family: Family, points: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{point.at.x:.1f},{point.at.y:.1f}" for point in points)
    if len(points) > 1:
        yield f'<polyline class="line" stroke="{family.colour}" points="{path}"/>'
    for point in points:
        yield plot.mark(family.mark, point.at, family.colour)
        for label in family.labels:
            if label.member == point.member:
                place = Place(point.at.x + label.dx, point.at.y + label.dy)
                yield plot.text(place, label.text, "family", label.anchor, family.colour)
