"""Charts with a row for each case: over FLOPs, parts of the time, and processes."""

import math
from collections.abc import Sequence

from benchbox.report.charts.panel import Panel, Row
from benchbox.report.charts.style import (
    COLOURS,
    LETTER,
    QUIET,
    TIP,
    Size,
    Spec,
    colour,
    data,
    shape,
    tooltip,
)

MOST_BARS = 60


def over_flops(panel: Panel, size: Size) -> Spec | None:
    """Latency over what FLOPs alone say, as bars; the reference of each group is 1."""
    rows = [row for row in panel.rows if row["latency_over_flops"]]
    if all(row["latency_over_flops"] == 1 for row in rows):
        return None
    rows.sort(key=lambda row: -abs(math.log(row["latency_over_flops"])))
    rows = sorted(rows[:MOST_BARS], key=lambda row: row["latency_over_flops"])
    y, known = _cases(panel, "rows", rows)
    x: Spec = {
        "field": "latency_over_flops",
        "type": "quantitative",
        "axis": {"title": "relative latency / relative FLOPs"},
    }
    first, last = rows[0], rows[-1]
    return {
        "description": "Relative latency over relative FLOPs, 1 where FLOPs alone set the time: "
        f"from {first['latency_over_flops']:.2g} ({first['name']}) "
        f"to {last['latency_over_flops']:.2g} ({last['name']})",
        "width": _width(size, rows),
        "height": {"step": size.step},
        "layer": [
            {
                **known,
                "mark": {"type": "bar", "height": {"band": 0.75}, "color": COLOURS[0]},
                "encoding": {"y": y, "x": x, "tooltip": TIP},
            },
            {
                **known,
                "mark": {"type": "rule"},
                "encoding": {"y": y, "x": {**x, "field": "over_low"}, "x2": {"field": "over_high"}},
            },
            {
                "data": {"values": [{"one": 1}]},
                "mark": {"type": "rule", "color": QUIET, "strokeDash": [3, 2]},
                "encoding": {"x": {**x, "field": "one"}},
            },
        ],
    }


def profile(panel: Panel, size: Size) -> Spec | None:
    """Where the time goes: shares of time beside those of FLOPs and of memory."""
    if not panel.shares:
        return None
    parts = [
        row["part"]
        for row in sorted(panel.shares, key=lambda row: row["place"])  # the order of categories
    ]
    names = list(dict.fromkeys(parts))
    cases = list(dict.fromkeys(row["case"] for row in panel.shares))
    header = {
        "labelAngle": 0,
        "labelAnchor": "start",
        "labelOrient": "top",
        "labelPadding": 0,
        "title": None,
    }
    return {
        "description": f"Shares of time, FLOPs and memory of {', '.join(cases)} "
        f"by {', '.join(names)}",
        "data": data(panel, "shares"),
        "width": size.width,
        "height": {"step": size.step},
        "mark": "bar",
        "encoding": {
            "row": {"field": "case", "sort": cases, "header": header, "spacing": 10},
            "y": {
                "field": "kind",
                "type": "nominal",
                "sort": ["time", "FLOPs", "memory"],
                "title": None,
            },
            "x": {
                "field": "share",
                "type": "quantitative",
                "stack": "normalize",
                "axis": {"format": ".0%", "title": "share"},
            },
            "color": colour("part", names, size),
            "order": {"field": "place"},
            "tooltip": tooltip(
                ("case", "case", ""),
                ("part", "part", ""),
                ("kind", "of", ""),
                ("share", "share", ".1%"),
            ),
        },
    }


def processes(panel: Panel, size: Size) -> Spec | None:
    """The p50 of each process over that of its case, with the interval of that."""
    if not panel.processes:
        return None
    rows = panel.processes[: MOST_BARS * 3]
    y, known = _cases(panel, "processes", rows)
    x: Spec = {
        "field": "over",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": "p50 of a process / p50", "format": ".4~g"},
    }
    numbers = list(dict.fromkeys(row["process"] for row in rows))
    once = {"filter": {"field": "process", "equal": numbers[0]}}
    apart = max(abs(row["over"] - 1) for row in rows)
    return {
        "description": f"p50 of {len(numbers)} processes over that of all of them, "
        f"at most {apart:.1%} apart",
        "width": _width(size, rows),
        "height": {"step": size.step},
        "layer": [
            {
                **known,
                "transform": [*known["transform"], once],
                "mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.25},
                "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                **known,
                "mark": {"type": "point", "filled": True, "size": size.font * 4},
                "encoding": {
                    "y": y,
                    "x": x,
                    "color": colour("process", numbers, size),
                    "shape": shape("process", numbers, size),
                    "tooltip": tooltip(
                        ("name", "case", ""),
                        ("process", "process", ""),
                        ("over", "p50 / p50", ".3f"),
                    ),
                },
            },
        ],
    }


def _cases(panel: Panel, kind: str, rows: Sequence[Row]) -> tuple[Spec, Spec]:
    """An axis with the cases of rows in this order, and the data without other cases."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    chosen = {"filter": {"field": "name", "oneOf": names}}
    axis = {"field": "name", "type": "nominal", "sort": names, "title": None}
    return axis, {"data": data(panel, kind), "transform": [chosen]}


def _width(size: Size, rows: Sequence[Row]) -> int:
    """The width of the plot beside the names of its cases: the chart is as wide as others are."""
    longest = max(LETTER * size.font * len(row["name"]) for row in rows)
    return round(size.width + size.axis - min(longest, size.name_limit))
