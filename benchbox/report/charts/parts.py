"""Parts of latencies as stacked bars over the arithmetic floor: the paper's Figure 2 in time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchbox.insight.parts import OUTSIDE
from benchbox.lines import one_line
from benchbox.report.charts.style import LETTER, Size, Spec, colour, tooltip

COLOURS = {
    "arithmetic at peak": "#222222",
    "padding": "#882255",
    "kernels below peak": "#767676",
    "weights read once": "#BBBBBB",
    "blocked depthwise": "#D55E00",
    "plain depthwise": "#E69F00",
    "plain grouped": "#CC79A7",
    "layout conversion": "#0072B2",
    "data movement": "#009E73",
    "element-wise and pooling": "#56B4E9",
    OUTSIDE: "#EEEEEE",
}


def parts(explained: Sequence[Mapping[str, Any]], size: Size) -> Spec:
    """A bar for each case as `explain --export-json` has it, the slowest first.

    A tick is the latency. What is outside of nodes is drawn where it is more than nothing.
    """
    counts = Counter(each["case"] for each in explained)
    rows = [
        {
            "name": one_line(_name(each, alone=counts[each["case"]] == 1)),
            "part": part,
            "place": place,
            "ms": ms,
            "latency_ms": each["latency_ms"],
        }
        for each in sorted(explained, key=lambda each: -each["latency_ms"])
        for place, part in enumerate(COLOURS)
        if (ms := _ms(each, part)) > 0
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    shown = [part for part in COLOURS if any(row["part"] == part for row in rows)]
    y = {"field": "name", "type": "nominal", "sort": names, "title": None}
    longest = max(LETTER * size.font * len(name) for name in names)
    scale = {"domain": shown, "range": [COLOURS[part] for part in shown]}
    return {
        "description": f"Latency of {', '.join(names)} by parts: {', '.join(shown)}",
        "data": {"values": rows},
        "width": round(size.width + size.axis - min(longest, size.name_limit)),
        "height": {"step": size.step},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.75}},
                "encoding": {
                    "y": y,
                    "x": {"field": "ms", "type": "quantitative", "axis": {"title": "ms"}},
                    "color": {**colour("part", shown, size), "scale": scale},
                    "order": {"field": "place"},
                    "tooltip": tooltip(
                        ("name", "case", ""), ("part", "part", ""), ("ms", "ms", ".3f")
                    ),
                },
            },
            {
                "mark": {"type": "tick", "color": "#222222", "thickness": 1.5},
                "encoding": {"y": y, "x": {"field": "latency_ms", "type": "quantitative"}},
            },
        ],
    }


def _name(case: Mapping[str, Any], *, alone: bool) -> str:
    return str(case["case"]) if alone else f"{case['spec']}: {case['case']}"


def _ms(case: Mapping[str, Any], part: str) -> float:
    known = {**case["parts_ms"], OUTSIDE: case["outside_of_nodes_ms"]}
    return float(known.get(part, 0.0))
