"""Chart of histories: the p50 of cases from run to run, and the levels between their steps."""

from collections.abc import Sequence

from benchbox.errors import UsageError
from benchbox.lines import one_line
from benchbox.records.history import History
from benchbox.report.charts.panel import Row
from benchbox.report.charts.style import (
    Size,
    Spec,
    colour,
    domain,
    logarithmic,
    shape,
    tooltip,
)
from benchbox.report.formatting import MILLI
from benchbox.report.history import by_machine

MOST_CASES = 16
MOST_POINTS = 1500


def chart(found: Sequence[History], size: Size) -> Spec:
    """A plot for each machine; raises UsageError for more cases than can be told apart."""
    if len({each.name for each in found}) > MOST_CASES:
        raise UsageError(f"a figure has room for {MOST_CASES} cases; name those that it is to show")
    parts = [_plot(own, place, size) for place, own in by_machine(found)]
    return {"vconcat": parts, "description": "p50 from run to run"}


def _plot(found: Sequence[History], place: str, size: Size) -> Spec:
    names = list(dict.fromkeys(one_line(each.name) for each in found))
    step = -(-sum(len(each.rows) for each in found) // MOST_POINTS)
    points = [row for each in found for row in _points(each, step)]
    levels = [row for number, each in enumerate(found) for row in _levels(each, number)]
    ends = [row[end] for row in points for end in ("low", "high", "ms")]
    x: Spec = {
        "field": "utc",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": "begun (UTC)"},
    }
    y = logarithmic("ms", "p50 latency (ms)", domain(ends))
    hues = colour("case", names, size)
    encoding = {"x": x, "y": y, "color": hues}
    tips = tooltip(("case", "case", ""), ("ms", "p50 (ms)", ".4~g"), ("run", "run", ""))
    return {
        "title": {"text": one_line(place), "limit": size.width + size.axis},
        "width": size.width,
        "height": size.height,
        "layer": [
            {
                "data": {"values": points},
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {**encoding, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "data": {"values": levels},
                "mark": {"type": "line", "strokeWidth": 1},
                "encoding": {**encoding, "detail": {"field": "level"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": size.font, "opacity": 0.8},
                "encoding": {**encoding, "shape": shape("case", names, size), "tooltip": tips},
            },
        ],
    }


def _points(history: History, step: int) -> list[Row]:
    return [
        {
            "case": one_line(history.name),
            "utc": point.created,
            "run": one_line(point.path.name),
            "ms": point.p50_s * MILLI,
            "low": (point.interval.low if point.interval else point.p50_s) * MILLI,
            "high": (point.interval.high if point.interval else point.p50_s) * MILLI,
        }
        for point in map(history.point, range(0, len(history.rows), step))
    ]


def _levels(history: History, number: int) -> list[Row]:
    """Both ends of each level."""
    return [
        {
            "case": one_line(history.name),
            "level": f"{number} {level.start}",
            "utc": history.point(end).created,
            "ms": level.interval.value * MILLI,
        }
        for level in history.levels
        for end in (level.start, level.end - 1)
    ]
