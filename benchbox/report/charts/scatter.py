"""Scatter plots: FLOPs against latency, and accuracy against latency."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from benchbox.report.charts import throughput
from benchbox.report.charts.labels import (
    MARK,
    Box,
    Label,
    LabelledPoint,
    covers,
    leader,
    mark,
    placed,
)
from benchbox.report.charts.panel import Panel, Row
from benchbox.report.charts.plot import Plot
from benchbox.report.charts.style import (
    COLOURS,
    HALO,
    QUIET,
    TIP,
    Size,
    Spec,
    colour,
    data,
    domain,
    logarithmic,
    shape,
)
from benchbox.report.formatting import significant

LATENCY = "p50 latency (ms)"
HEAD = 5  # of an arrow, in pixels
RING, INK = 16, "currentColor"  # of a page, whatever its theme
THIN = {"type": "line", "strokeWidth": 1}
FADED = 0.15  # what was not chosen
MOST_NAMES = 5  # of cases left out


def flops(panel: Panel, size: Size) -> Spec | None:
    """FLOPs against latency, with lines of equal throughput and of families.

    From a detector there are arrows to its variants instead.
    """
    rows = [row for row in panel.rows if _has_flops(row)]
    if not rows:
        return None
    every = list(filter(_has_flops, panel.every))
    plot = Plot(
        size,
        domain(row["macs_m"] for row in every),
        domain(value for row in every for value in _ends(row)),
    )
    throughputs = [row["macs_m"] / row["latency_p50_ms"] for row in rows]
    members = Counter(row["family"] for row in rows)
    points = [
        LabelledPoint(
            plot.pixels(row["macs_m"], row["latency_p50_ms"]),
            # The family of one case is but a colour.
            (row["name"], row["label"])[members[row["family"]] > 1 :],
        )
        for row in rows
    ]
    labels = placed(points, (size.width, size.height), size.font)
    taken = [own for label in filter(None, labels) for own in covers(label, size.font)]
    taken += [mark(*point.place) for point in points]
    lines = throughput.lines(plot, throughputs, taken)
    x = logarithmic("macs_m", "FLOPs (millions of multiply-accumulates)", plot.across)
    y = logarithmic("latency_p50_ms", LATENCY, plot.up)
    ends = [
        {"rate": line.rate, "x": at, "y": at / line.rate}
        for line in lines
        for at in (line.low, line.high)
    ]
    return {
        "description": f"FLOPs against latency of {len(rows)} cases: "
        f"{_span(row['macs_m'] for row in rows)} M FLOPs, "
        f"{_span(row['latency_p50_ms'] for row in rows)} ms, {_span(throughputs)} GMAC/s"
        f"{_left_out(panel)}",
        **_unlabelled(rows, labels),
        **_chosen(size),
        "width": size.width,
        "height": size.height,
        "layer": [
            {
                "data": {"values": ends},
                "mark": {**THIN, "strokeDash": [2, 3], "color": QUIET},
                "encoding": {
                    "x": {**x, "field": "x"},
                    "y": {**y, "field": "y"},
                    "detail": {"field": "rate"},
                },
            },
            _texts(plot.rows(line.name for line in lines), x, y, color=QUIET),
            _families(panel, plot, x, y),
            *_arrows(panel, rows, plot, x, y),
            *_points(panel, plot, x, y, bars="y"),
            *_labels(labels, plot, x, y),
        ],
    }


def _unlabelled(rows: Sequence[Row], labels: Sequence[Label | None]) -> Spec:
    """The names of the cases that had no room for a label, for who draws the chart."""
    names = [row["name"] for row, label in zip(rows, labels, strict=True) if label is None]
    return {"usermeta": {"unlabelled": names}}


def _left_out(panel: Panel) -> str:
    """The cases that have a latency and no FLOPs: a logarithmic axis has no place for them."""
    names = [row["name"] for row in panel.rows if row["latency_p50_ms"] and not row["macs_m"]]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"; without FLOPs and not shown: {', '.join(names[:MOST_NAMES])}{more}" if names else ""


def _chosen(size: Size) -> Spec:
    """The family that a page shows, empty for all, and the case that has a ring there."""
    names = ("shown", "ringed")
    return {"params": [{"name": each, "value": ""} for each in names]} if size.interactive else {}


def pareto(panel: Panel, size: Size) -> Spec | None:
    """Published accuracy against latency, with the front that nothing faster reaches."""
    rows = [row for row in panel.rows if _has_accuracy(row)]
    if not rows:
        return None
    every = list(filter(_has_accuracy, panel.every))
    low, *_, high = sorted([row["accuracy"] for row in every] * 2)
    room = (high - low) * 0.06 + 0.2
    plot = Plot(
        size,
        domain(value for row in every for value in _ends(row)),
        (low - room, high + room),
        is_linear=True,
    )
    y: Spec = {
        "field": "accuracy",
        "type": "quantitative",
        "scale": {"domain": list(plot.up), "nice": False},
        "axis": {"title": f"{panel.accuracy}, as published (%)"},
    }
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["accuracy"])
    places = [plot.pixels(row["latency_p50_ms"], row["accuracy"]) for row in front]
    points = [LabelledPoint(at, (row["name"],)) for at, row in zip(places, front, strict=True)][
        ::-1
    ]
    points += [
        LabelledPoint(plot.pixels(row["latency_p50_ms"], row["accuracy"]))
        for row in rows
        if not row["front"]
    ]
    steps = list(_steps(places))
    labels = placed(points, (size.width, size.height), size.font, steps)[: len(front)]
    x = logarithmic("latency_p50_ms", LATENCY, plot.across)
    names = ", ".join(row["case"] for row in front)
    spec: Spec = {
        "description": f"Published accuracy against latency of {len(rows)} cases. "
        f"On the Pareto front, from the fastest: {names}",
        **_unlabelled(front[::-1], labels),
        **_chosen(size),
        "width": size.width,
        "height": size.height,
        "layer": [
            {
                "data": data(panel, "rows"),
                "transform": [{"filter": "datum.front"}],
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "color": QUIET,
                    "strokeWidth": 1,
                },
                "encoding": {"x": x, "y": y},
            },
            *_points(panel, plot, x, y, bars="x"),
            *_labels(labels, plot, x, y),
        ],
    }
    return _with_budget(spec, x) if size.interactive else spec


def _with_budget(spec: Spec, x: Spec) -> Spec:
    """The chart with a line at the budget, which the page sets."""
    line = {
        "data": {"values": [{}]},
        "transform": [{"calculate": "budget", "as": "at"}, {"filter": "datum.at > 0"}],
        "mark": {"type": "rule", "color": COLOURS[1], "strokeDash": [5, 3], "clip": True},
        "encoding": {"x": {**x, "field": "at"}},
    }
    params = [*spec["params"], {"name": "budget", "value": 0}]
    return {**spec, "params": params, "layer": [*spec["layer"], line]}


def _steps(front: Sequence[tuple[float, float]]) -> Iterator[Box]:
    """What the line of the front covers: across from each point, and up to the next."""
    for (x, y), (next_x, next_y) in pairwise(front):
        yield Box(x + MARK, y - 1, next_x, y + 1)
        yield Box(next_x - 1, next_y + MARK, next_x + 1, y)


def _families(panel: Panel, plot: Plot, x: Spec, y: Spec) -> Spec:
    """A layer with a line through the cases of each family."""
    encoding = {"x": x, "y": y, "color": _by_family(colour, panel, plot, x, y)}
    known = _known(panel, x, y)
    known["transform"] = [*known["transform"], {"filter": "datum.series"}]
    detail = {"detail": {"field": "series"}}
    return {**known, "mark": {**THIN, "opacity": 0.4}, "encoding": encoding | detail}


def _arrows(panel: Panel, rows: Sequence[Row], plot: Plot, x: Spec, y: Spec) -> Iterator[Spec]:
    """Layers with an arrow from each detector to its variants, which ends beside their points."""
    hosts = {row["key"]: row for row in rows}
    values, heads = [], []
    for row in rows:
        host = hosts.get(row["host"])
        if host is None or host is row:
            continue
        ends = [(each["macs_m"], each["latency_p50_ms"]) for each in (host, row)]
        (x0, y0), (x1, y1) = (plot.pixels(*end) for end in ends)
        part = 1 - min(0.5, (MARK + HEAD / 2) / max(math.hypot(x1 - x0, y1 - y0), 1e-9))
        at = [before * (after / before) ** part for before, after in zip(*ends, strict=True)]
        own = {"family": row["family"], "x": at[0], "y": at[1]}
        values.append({**own, "x2": ends[0][0], "y2": ends[0][1]})
        angle = math.degrees(math.atan2(x1 - x0, y0 - y1))  # clockwise from above
        heads.append({**own, "angle": angle})
    if not values:
        return
    colours = {"color": _by_family(colour, panel, plot, x, y)}
    encoding = {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}, **colours}
    yield {
        "data": {"values": values},
        "mark": {**THIN, "type": "rule", "opacity": 0.6},
        "encoding": {**encoding, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
    }
    turned = {"field": "angle", "type": "quantitative", "scale": None}
    yield {
        "data": {"values": heads},
        "mark": {"type": "point", "shape": "triangle", "filled": True, "size": HEAD**2},
        "encoding": {**encoding, "angle": turned},
    }


def _by_family(channel: Callable[..., Spec], panel: Panel, plot: Plot, x: Spec, y: Spec) -> Spec:
    """A colour or a shape for each family; the legend has those drawn of all runs of the name."""
    fields = [axis["field"] for axis in (x, y)]
    drawn = {row["family"] for row in panel.every if all(row[field] for field in fields)}
    return channel("family", panel.families, plot.size, drawn)


def _known(panel: Panel, x: Spec, y: Spec) -> Spec:
    """The rows that have both values."""
    fields = " && ".join(f"datum.{axis['field']} > 0" for axis in (x, y))
    return {"data": data(panel, "rows"), "transform": [{"filter": fields}]}


def _points(panel: Panel, plot: Plot, x: Spec, y: Spec, *, bars: str) -> Iterator[Spec]:
    """The layers of the cases: their intervals along `bars`, and their points."""
    known = _known(panel, x, y)
    hues, shapes = (_by_family(each, panel, plot, x, y) for each in (colour, shape))
    encoding = {"x": x, "y": y, "color": hues}
    ends = {bars: {**encoding[bars], "field": "latency_ci_low_ms"}}
    ends[f"{bars}2"] = {"field": "latency_ci_high_ms"}
    yield {**known, "mark": {"type": "rule"}, "encoding": encoding | ends}
    chosen = {"test": "!shown || datum.family == shown", "value": 1}
    opacity = {"opacity": {"condition": chosen, "value": FADED}} if plot.size.interactive else {}
    yield {
        **known,
        "mark": {"type": "point", "filled": True, "opacity": 1},
        "encoding": {
            **encoding,
            "shape": shapes,
            "tooltip": TIP,
            **opacity,
        },
    }
    if plot.size.interactive:
        ringed = [*known["transform"], {"filter": "datum.key == ringed"}]
        ring = {"type": "point", "stroke": INK, "opacity": 1, "size": RING**2, "strokeWidth": 2}
        yield {**known, "transform": ringed, "mark": ring, "encoding": {"x": x, "y": y}}


def _labels(labels: Iterable[Label | None], plot: Plot, x: Spec, y: Spec) -> Iterator[Spec]:
    """Layers of the labels of points, and of the lines that lead to them."""
    known = list(dict.fromkeys(filter(None, labels)))
    lines = []
    for ends in filter(None, (leader(label, plot.size.font) for label in known)):
        (x0, y0), (x1, y1) = (plot.values(*end) for end in ends)
        lines.append({"x": x0, "y": y0, "x2": x1, "y2": y1})
    if lines:
        places = {"x": {**x, "field": "x"}, "y": {**y, "field": "y"}}
        yield {
            "data": {"values": lines},
            "mark": {"type": "rule", "strokeWidth": 0.5},
            "encoding": {**places, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
        }
    yield _texts(plot.rows(known), x, y)


def _texts(rows: Sequence[Row], x: Spec, y: Spec, **mark: object) -> Spec:
    """A layer of labels, clear of the lines behind them."""
    text = {"type": "text", "align": {"expr": "datum.align"}, "baseline": "middle"}
    return {
        "data": {"values": list(rows)},
        "encoding": {
            "x": {**x, "field": "x"},
            "y": {**y, "field": "y"},
            "text": {"field": "text"},
        },
        "layer": [
            {"mark": {**text, "style": HALO, "strokeWidth": 2, "strokeJoin": "round"}},
            {"mark": {**text, **mark}},
        ],
    }


def _has_flops(row: Row) -> bool:
    return bool(row["macs_m"] and row["latency_p50_ms"])


def _has_accuracy(row: Row) -> bool:
    return row["accuracy"] is not None and bool(row["latency_p50_ms"])


def _ends(row: Row) -> Iterator[float]:
    """The latency of a row and the ends of its interval."""
    names = ("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms")
    yield from (row[name] for name in names if row[name])


def _span(values: Iterable[float]) -> str:
    low, *_, high = sorted([*values] * 2)
    return f"{significant(low)} to {significant(high)}"
