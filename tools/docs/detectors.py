"""Picture of the detectors, arrows from host to variant, from a record of `run detectors`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchbox.records import Run
from tools.docs import plot
from tools.docs.plot import BLUE, GREEN, PURPLE, Label, Place, Plot

COLOURS = {"yolov8": BLUE, "yolov10": GREEN, "yolo11": PURPLE}
NAMES = {"yolov8": "YOLOv8", "yolov10": "YOLOv10", "yolo11": "YOLO11"}
# By where a detector has Ghost modules: its mark, and what it means.
MARKS = {
    "none": ("disc", "host"),
    "modules": ("square", "Ghost modules in place"),
    "backbone": ("ring", "on a GhostNet backbone"),
    "backbone_train": ("ring", ""),
}
VARIANTS = {
    "ghost": "Ghost",
    "ghostnet": "GhostNet",
    "ghostnetv2": "GhostNetV2",
    "ghostnetv3": "GhostNetV3",
}
ROOM = 1.2  # around the figures
NICE = (1, 1.5, 2, 3, 4, 6, 8)  # of ticks, times a power of ten
RATES = (5, 10, 20, 40, 80, 160)
SHORTEST = 240  # pixels of a diagonal
LEGEND = Place(plot.WIDTH - plot.RIGHT - 180, plot.HEIGHT - plot.BOTTOM - 60)


class Point(NamedTuple):
    """A detector: its host, where it has Ghost modules, its label, and its place."""

    host: str
    ghost: str
    words: str
    at: Place

    @property
    def colour(self) -> str:
        """The colour of its host's family."""
        return COLOURS[self.host[:-1]]


def draw(run: Run) -> str:
    """Draw the detectors of a record as an SVG."""
    figures = [
        (record.cost["macs"] / 1e6, record.latency.p50_s * 1e3, record.labels, record.case)
        for record in run.records
        if record.cost and record.latency
    ]
    axes = _axes(run, [macs for macs, *_ in figures], [ms for _, ms, *_ in figures])
    points = [
        Point(str(labels["host"]), str(labels["ghost"]), _words(case), axes.place(macs, ms))
        for macs, ms, labels, case in figures
    ]
    return axes.svg(len(points), _body(axes, points))


def _axes(run: Run, macs: Sequence[float], ms: Sequence[float]) -> Plot:
    across, up = ((min(values) / ROOM, max(values) * ROOM) for values in (macs, ms))
    plain = Plot(
        "What Ghosts save, in FLOPs and in time", run, across, up, _ticks(across), _ticks(up), RATES
    )
    long = [rate for rate, low, high in plain.ends() if high.x - low.x > SHORTEST]
    return replace(plain, rates=long)


def _ticks(ends: tuple[float, float]) -> list[float]:
    """The round figures between two ends."""
    low, high = ends
    ticks = [n * 10**power for power in range(6) for n in NICE]
    return [tick for tick in ticks if low < tick < high]


def _words(case: str) -> str:
    """A short name: YOLOv8n for a host, the kind of Ghost for a variant."""
    host, _, variant = case.partition("_")
    if not variant:
        return f"{NAMES[host[:-1]]}{host[-1]}"
    kind = VARIANTS[variant.partition("_")[0]]
    return f"{kind} as trained" if variant.endswith("_train") else kind


def _body(axes: Plot, points: Sequence[Point]) -> Iterator[str]:
    hosts = {point.host: point for point in points if point.ghost == "none"}
    taken = [plot.around(point.at) for point in points]
    for rate, _, high in axes.ends():
        taken.append(plot.covered_by(Place(high.x - 6, high.y + 4), f"{rate:g} GMAC/s", "end"))
    for point in points:
        if point.ghost != "none" and (host := hosts.get(point.host)):
            yield from plot.arrow(host.at, point.at, point.colour)
            taken += plot.along(host.at, point.at)
    for point in points:
        yield plot.mark(MARKS[point.ghost][0], point.at, point.colour)
    legend = list(_legend())
    yield from (part for _, _, parts in legend for part in parts)
    taken += [plot.covered_by(at, words, "start") for at, words, _ in legend]
    first = sorted(points, key=lambda point: point.ghost != "none")
    yield from plot.labels([Label(each.at, each.words, each.colour) for each in first], taken)


def _legend() -> Iterator[tuple[Place, str, tuple[str, str]]]:
    """Each mark with its meaning, and where that stands."""
    for index, (kind, meaning) in enumerate(filter(all, MARKS.values())):
        at = Place(LEGEND.x, LEGEND.y + 20 * index)
        mark = plot.mark(kind, Place(at.x - 16, at.y - 4), "var(--quiet)")
        yield at, meaning, (mark, plot.text(at, meaning, "quiet"))
