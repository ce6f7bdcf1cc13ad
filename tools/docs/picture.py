"""Scatter plot of FLOPs against latency as SVG, drawn from a record of `benchbox run models`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from benchbox import records

WIDTH, HEIGHT = 880, 560
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 56, 52  # margins of the axes
MACS = (30, 1200)  # millions, both ends of the horizontal axis
MS = (1.2, 50.0)
BLUE, GREEN, BROWN = "#388bfd", "#2da44e", "#bf8700"
RED, PINK, PURPLE = "#e5534b", "#d2569d", "#986ee2"
RATES = (20, 40, 80)  # billions of multiply-accumulates a second, a diagonal each

# Both themes of a page: the card behind the plot makes it readable on either.
STYLE = """\
svg { --card: #ffffff; --ink: #1f2328; --quiet: #59636e; --grid: #e4e8ec; }
@media (prefers-color-scheme: dark) {
  svg { --card: #161b22; --ink: #e6edf3; --quiet: #9198a1; --grid: #2b323b; }
}
text { font: 13px system-ui, "Segoe UI", Arial, sans-serif; fill: var(--ink); }
.card { fill: var(--card); }
.grid { stroke: var(--grid); }
.rate { stroke: var(--quiet); stroke-dasharray: 2 5; }
.quiet, .member { fill: var(--quiet); }
.member { font-size: 11px; }
.title { font-size: 16px; font-weight: 600; }
.family { font-weight: 600; }
.line { fill: none; stroke-width: 1.5; opacity: 0.6; }
.mark { stroke-width: 2; }"""


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
    x: float
    y: float


def draw(path: Path) -> str:
    """Draw the networks of a record as an SVG."""
    run = records.read(path)
    points = [_point(record) for record in run.records]
    host = run.context.host["cpu"].replace("(R)", "").replace(" Processor", "")
    threads = f"{run.context.threads} thread{'s' if run.context.threads > 1 else ''}"
    subtitle = f"{host} ({run.context.device}, {threads}, batch 1), {run.context.created[:10]}"
    parts = [*_frame(subtitle), *_rates()]
    for key, family in FAMILIES.items():
        parts += _family(family, [point for point in points if point.family == key])
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="FLOPs against latency of {len(points)} networks">\n'
        f"<style>\n{STYLE}\n</style>\n{body}\n</svg>\n"
    )


def _point(record: records.Record) -> Point:
    assert record.cost and record.latency and record.latency.p50_s
    key = max((key for key in FAMILIES if _belongs(record.case, key)), key=len)
    member = record.case.removeprefix(f"{key.removesuffix('_train')}_").removesuffix("_train")
    return Point(key, member, _x(record.cost["macs"] / 1e6), _y(record.latency.p50_s * 1e3))


def _belongs(case: str, key: str) -> bool:
    return case.startswith(f"{key.removesuffix('_train')}_") and (
        case.endswith("_train") or not key.endswith("_train")
    )


def _x(macs: float) -> float:
    return LEFT + _share(macs, MACS) * (WIDTH - LEFT - RIGHT)


def _y(ms: float) -> float:
    return HEIGHT - BOTTOM - _share(ms, MS) * (HEIGHT - TOP - BOTTOM)


def _share(value: float, ends: tuple[float, float]) -> float:
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def _frame(subtitle: str) -> Iterator[str]:
    """Card, grid, ticks and titles."""
    yield f'<rect class="card" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    for macs in (40, 80, 160, 320, 640):
        yield _line(_x(macs), TOP, _x(macs), HEIGHT - BOTTOM, "grid")
        yield _text(_x(macs), HEIGHT - BOTTOM + 18, f"{macs} M", "quiet", "middle")
    for ms in (2, 4, 8, 16, 32):
        yield _line(LEFT, _y(ms), WIDTH - RIGHT, _y(ms), "grid")
        yield _text(LEFT - 8, _y(ms) + 4, f"{ms} ms", "quiet", "end")
    yield _text(LEFT, 24, "FLOPs do not rank networks", "title")
    yield _text(LEFT, 43, f"p50 latency of one inference on {subtitle}", "quiet")
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 12, "FLOPs (multiply-accumulates)", "", "middle")


def _rates() -> Iterator[str]:
    """Diagonals, each at one speed in multiply-accumulates a second."""
    for rate in RATES:
        low, high = max(MACS[0], MS[0] * rate), min(MACS[1], MS[1] * rate)
        yield _line(_x(low), _y(low / rate), _x(high), _y(high / rate), "rate")
        yield _text(_x(high) - 6, _y(high / rate) + 4, f"{rate} GMAC/s", "member", "end")


def _family(family: Family, points: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{point.x:.1f},{point.y:.1f}" for point in points)
    if len(points) > 1:
        yield f'<polyline class="line" stroke="{family.colour}" points="{path}"/>'
    for point in points:
        yield _mark(family, point)
        for label in family.labels:
            if label.member == point.member:
                place = point.x + label.dx, point.y + label.dy
                yield _text(*place, label.text, "family", label.anchor, family.colour)


def _mark(family: Family, point: Point) -> str:
    x, y, colour = point.x, point.y, family.colour
    if family.mark == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour}"/>'
    if family.mark == "ring":
        return (
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{colour}"/>'
        )
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(
    x: float, y: float, text: str, style: str = "", anchor: str = "start", fill: str = ""
) -> str:
    colour = f' style="fill: {fill}"' if fill else ""
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{colour}>'
        f"{escape(text)}</text>"
    )
