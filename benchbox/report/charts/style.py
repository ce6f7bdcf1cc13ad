"""Style of charts: sizes, colours and shapes that are told apart without colours, axes."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchbox.report.charts.panel import Panel

Spec = dict[str, Any]
Ends = tuple[float, float]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# Okabe and Ito's colours, without the yellow that no white page shows; a grey stands for black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#767676")
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
QUIET = "#888888"  # readable on white and on black
HALO = "halo"  # of a text, in the colour of what is behind it
FAMILY = "Benchbox Sans"  # in font/, so that a figure is the same everywhere
# For programs that read no embedded font: the same widths.
FONT = f"{FAMILY}, Liberation Sans, Arial, Helvetica, sans-serif"
LETTER = 0.56  # width of a letter over the size of its font: more than most have
SYMBOL = 3.5  # of a legend with the room around it, likewise
ROOM = 1.25  # around the figures of a logarithmic axis
NICE = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,))
FEWEST_TICKS, MOST_TICKS = 3, 7


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a chart: its plot in pixels (of 1/72 inch on paper), and its font.

    An `interactive` one is on a page, with a budget and a choice of cases; others are `paper_mm`
    wide with all around the plot.
    """

    width: int
    height: int
    font: int
    paper_mm: int = 0
    interactive: bool = False

    @property
    def axis(self) -> int:
        """The width of an axis of numbers, with its title."""
        return self.font * 4

    @property
    def name_limit(self) -> int:
        """The longest that a name may be beside a plot; the rest is cut."""
        return (self.width + self.axis) * 2 // 3

    @property
    def step(self) -> int:
        """The height of a row of a chart with a row for each case."""
        return self.font + 4


COLUMN = Size(200, 150, 7, paper_mm=84)  # a column of a paper
WIDE = Size(440, 270, 8, paper_mm=174)  # both
PAGE = Size(500, 340, 11, interactive=True)
PHONE = Size(250, 250, 10, interactive=True)


def config(size: Size) -> Spec:
    """The look of all charts of a size; a page adds the colours of its theme."""
    texts = {"labelFontSize": size.font, "titleFontSize": size.font, "labelLimit": size.name_limit}
    return {
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **texts,
            "titleFontWeight": "normal",
            "gridOpacity": 0.5,
        },
        "axisQuantitative": {
            "labelOverlap": "parity",
            "labelSeparation": size.font / 2,
            "labelFlush": False,
        },
        "legend": {
            **texts,
            "orient": "bottom",
            "title": None,
            "columnPadding": size.font,
            "symbolOpacity": 1,
            "symbolSize": 6 * size.font,
        },
        "point": {"size": 5 * size.font},
        "header": texts,
        "text": {"fontSize": size.font},
        "style": {HALO: {"stroke": "white"}},
        "title": {"fontSize": size.font + 1, "fontWeight": "normal", "anchor": "start"},
    }


def domain(values: Iterable[float]) -> Ends:
    """The ends of a logarithmic axis around some values."""
    known = [value for value in values if value > 0]
    return min(known) / ROOM, max(known) * ROOM


def share(value: float, ends: Ends) -> float:
    """Where a value is on a logarithmic axis, from 0 to 1."""
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def value_at(place: float, ends: Ends) -> float:
    """The value at a place on a logarithmic axis."""
    return float(ends[0] * (ends[1] / ends[0]) ** place)


def ticks(ends: Ends) -> list[float]:
    """The round values on a logarithmic axis, as many as there is room for.

    Where it is so short that hardly any is in it, they are those of a linear one.
    """
    powers = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    for steps in NICE:
        found = [float(f"{n * 10.0**power:.6g}") for power in powers for n in steps]
        inside = [tick for tick in found if ends[0] <= tick <= ends[1]]
        if len(inside) <= MOST_TICKS:
            break
    if len(inside) >= FEWEST_TICKS:
        return inside
    power = 10.0 ** math.floor(math.log10(ends[1] - ends[0]))
    widths = (2 * power, power, power / 2, power / 5)
    step = next(width for width in widths if (ends[1] - ends[0]) / width > FEWEST_TICKS)
    places = range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)
    return [float(f"{place * step:.6g}") for place in places]


def logarithmic(field: str, title: str | list[str], ends: Ends) -> Spec:
    """A logarithmic axis."""
    found = ticks(ends)
    known = {"values": found} if found else {}
    axis = {"title": title, "format": "~g", "labelOverlap": "greedy", **known}
    scale = {"type": "log", "domain": list(ends), "nice": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def colour(
    field: str, names: Sequence[str], size: Size, drawn: Collection[str] | None = None
) -> Spec:
    """A colour for each name; the eighth begins again. The legend has those `drawn`, or all."""
    return _nominal(field, names, COLOURS, size, drawn)


def shape(
    field: str, names: Sequence[str], size: Size, drawn: Collection[str] | None = None
) -> Spec:
    """A shape for each name; no two of a colour, as 7 colours and 6 make an odd number."""
    shapes = [SHAPES[(i + 6 * (i // len(COLOURS))) % len(SHAPES)] for i in range(len(names))]
    return _nominal(field, names, shapes, size, drawn)


def _nominal(
    field: str,
    names: Sequence[str],
    values: Sequence[str],
    size: Size,
    drawn: Collection[str] | None,
) -> Spec:
    own = [values[index % len(values)] for index in range(len(names))]
    scale = {"domain": list(names), "range": own}
    shown = [name for name in names if drawn is None or name in drawn]
    entry = (max(map(len, shown), default=0) * LETTER + SYMBOL) * size.font
    columns = max(1, int((size.width + size.axis) / entry))
    entries = {"symbolLimit": len(shown), "columns": columns, "values": shown}
    legend = entries if len(shown) > 1 else None
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}


def tooltip(*fields: tuple[str, str, str]) -> list[Spec]:
    """What shows over a mark: fields with their titles and formats."""
    return [
        {"field": field, "title": title, **({"format": form} if form else {})}
        for field, title, form in fields
    ]


TIP = tooltip(
    ("case", "case", ""),
    ("family", "family", ""),
    ("macs_m", "FLOPs (M)", ".4~g"),
    ("params", "params", ",d"),
    ("memory_access_bytes", "memory (bytes)", ",d"),
    ("p50", "p50 (ms)", ""),
    ("latency_p90_ms", "p90 (ms)", ".4~r"),
    ("rate", "images/s", ""),
    ("relative", "relative", ""),
    ("over", "over FLOPs", ""),
    ("accuracy", "published accuracy (%)", ".1f"),
    ("verdict", "verdict", ""),
    ("quiet_share", "quiet share", ".0%"),
    ("status", "status", ""),
)


def data(panel: Panel, kind: str) -> Spec:
    """A data set of a panel, by its name."""
    return {"name": f"{kind}{panel.index}"}
