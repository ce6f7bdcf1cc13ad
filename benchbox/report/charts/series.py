"""Chart of calls in the order taken."""

from benchbox.report.charts.calls import UNDISTURBED, spaced
from benchbox.report.charts.panel import Panel
from benchbox.report.charts.style import (
    QUIET,
    Size,
    Spec,
    colour,
    data,
    domain,
    logarithmic,
    shape,
    tooltip,
)

MOST_SAMPLES = 2000  # of a drawing; a page has all of the panel


def samples(panel: Panel, size: Size) -> Spec | None:
    """Calls in the order taken, over the p50 of its case, by what disturbed it."""
    if not panel.samples:
        return None
    most = len(panel.samples) if size.interactive else MOST_SAMPLES
    shown = [panel.samples[i] for i in spaced(len(panel.samples), most)]
    some = f" ({len(shown)} of {panel.calls}, evenly spaced)" if len(shown) < panel.calls else ""
    calm = sum(row["cause"] == UNDISTURBED for row in panel.samples) / len(panel.samples)
    y = logarithmic("over", "latency / p50 of its case", domain(row["over"] for row in shown))
    x: Spec = {
        "field": "n",
        "type": "quantitative",
        "scale": {"domain": [0, panel.calls], "nice": False},
        "axis": {"title": f"call, in the order taken{some}"},
    }
    spec: Spec = {
        "description": f"{panel.calls} calls in the order taken{some}, {calm:.0%} of them "
        f"undisturbed; others: {', '.join(panel.causes[1:]) or 'none'}",
        "width": size.width,
        "height": size.height * 2 // 3,
        "layer": [
            {
                "data": {"values": [{"at": start - 0.5} for start in panel.starts]},
                "mark": {"type": "rule", "color": QUIET, "strokeDash": [3, 2]},
                "encoding": {"x": {**x, "field": "at"}},
            },
            {
                "data": data(panel, "samples") if size.interactive else {"values": shown},
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": size.font,
                    "fillOpacity": 0.7,
                    "aria": False,  # a mark for each of thousands of calls tells nobody anything
                },
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": colour("cause", panel.causes, size),
                    "shape": shape("cause", panel.causes, size),
                    "tooltip": tooltip(
                        ("case", "case", ""),
                        ("ms", "ms", ".4~g"),
                        ("cause", "disturbed by", ""),
                        ("process", "process", ""),
                    ),
                },
            },
        ],
    }
    if size.interactive:
        spec["params"] = [{"name": "shown", "value": ""}]
        spec["layer"][1]["transform"] = [{"filter": "!shown || datum.case == shown"}]
    return spec
