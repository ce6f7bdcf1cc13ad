"""Charts of histories: the p50 of cases from run to run, and the levels between their steps."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from benchbox.errors import UsageError
from benchbox.lines import one_line
from benchbox.records.history import History
from benchbox.report.charts.panel import Row
from benchbox.report.charts.style import (
    QUIET,
    Size,
    Spec,
    colour,
    domain,
    logarithmic,
    shape,
    tooltip,
)
from benchbox.report.formatting import MILLI
from benchbox.report.history import by_machine, changed, sentence

MOST_CASES = 16
MOST_POINTS = 1500
LETTER_PX = 6  # of a title
NEWEST = 3  # steps that are said
BEGUN: Spec = {
    "field": "utc",
    "type": "temporal",
    "scale": {"type": "utc"},
    "axis": {"title": "begun (UTC)"},
}


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
    y = logarithmic("ms", "p50 latency (ms)", domain(ends))
    hues = colour("case", names, size)
    encoding = {"x": BEGUN, "y": y, "color": hues}
    tips = tooltip(("case", "case", ""), ("ms", "p50 (ms)", ".4~g"), ("run", "run", ""))
    return {
        "title": {"text": wrap(one_line(place), (size.width + size.axis) // LETTER_PX)},
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


POINTS, LEVELS, STEPS = "history-points", "history-levels", "history-steps"


def datasets(found: Sequence[History]) -> Mapping[str, Sequence[Row]]:
    """The data of the chart of a page."""
    places = [(one_line(place), each) for place, own in by_machine(found) for each in own]
    return {
        POINTS: [{**row, "machine": place} for place, each in places for row in _points(each, 1)],
        LEVELS: [
            {**row, "case": one_line(each.name), "machine": place}
            for number, (place, each) in enumerate(places)
            for row in _levels(each, number)
        ],
        STEPS: [
            {
                "case": one_line(each.name),
                "machine": place,
                "utc": step.after.created,
                "ratio": step.ratio.value,
                "low": step.ratio.low,
                "high": step.ratio.high,
                "changed": one_line(changed(step)),
            }
            for place, each in places
            for step in each.steps
        ],
    }


def cases(found: Sequence[History]) -> list[str]:
    """The cases of the chart of a page, those with steps first."""
    return list(dict.fromkeys(one_line(h.name) for h in sorted(found, key=lambda h: not h.steps)))


def on_page(found: Sequence[History], size: Size) -> Spec:
    """The p50 of the case that is chosen on the page, with a line for each machine."""
    places = [one_line(place) for place, _ in by_machine(found)]
    steps = sorted(one_line(sentence(step, each)) for each in found for step in each.steps)
    said = f"{len(steps)} steps, the newest: {'; '.join(steps[-NEWEST:])}" if steps else "no step"
    y: Spec = {
        "field": "ms",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": "p50 latency (ms)"},
    }
    hues = {"color": colour("machine", places, size)}
    if len(places) > 1:
        hues["color"]["legend"] |= {"columns": 1, "labelLimit": size.width}

    def layer(name: str, mark: Spec, **encoding: Spec | list[Spec]) -> Spec:
        chosen = {"filter": "datum.case == shown"}
        return {"data": {"name": name}, "transform": [chosen], "mark": mark, "encoding": encoding}

    dashed = layer(
        STEPS,
        {"type": "rule", "strokeDash": [3, 2], "strokeWidth": 2, "color": QUIET},
        x=BEGUN,
        tooltip=tooltip(
            ("utc", "since", ""),
            ("ratio", "latency over before", ".3~g"),
            ("low", "95% from", ".3~g"),
            ("high", "to", ".3~g"),
            ("changed", "changed", ""),
        ),
    )
    return {
        "description": f"p50 of {len(cases(found))} cases from run to run: {said}",
        "width": size.width,
        "height": size.height * 2 // 3,
        "params": [{"name": "shown", "value": cases(found)[0]}],
        "layer": [
            *([dashed] if steps else []),  # of none dates have no ends, of which Vega complains
            layer(
                POINTS,
                {"type": "rule", "opacity": 0.5},
                x=BEGUN,
                y={**y, "field": "low"},
                y2={"field": "high"},
                **hues,
            ),
            layer(
                LEVELS,
                {"type": "line", "strokeWidth": 1.5},
                x=BEGUN,
                y=y,
                detail={"field": "level"},
                **hues,
            ),
            layer(
                POINTS,
                {"type": "point", "filled": True, "opacity": 1},
                x=BEGUN,
                y=y,
                shape=shape("machine", places, size) | {"legend": hues["color"]["legend"]},
                tooltip=tooltip(
                    ("machine", "machine", ""),
                    ("ms", "p50 (ms)", ".4~g"),
                    ("low", "95% from", ".4~g"),
                    ("high", "to", ".4~g"),
                    ("run", "run", ""),
                ),
                **hues,
            ),
        ],
    }


def _points(history: History, step: int) -> list[Row]:
    return [
        {
            "case": one_line(history.name),
            "utc": point.created,
            "run": one_line(point.path.name),
            "ms": point.set_back.value * MILLI,
            "low": point.set_back.low * MILLI,
            "high": point.set_back.high * MILLI,
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
