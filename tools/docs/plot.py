"""Scatter plot of FLOPs against latency as SVG: axes, marks, arrows, labels that do not overlap."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.sax.saxutils import escape

from benchbox.records import Run

WIDTH, HEIGHT = 880, 560
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 56, 52  # margins of the axes
BLUE, GREEN, BROWN = "#388bfd", "#2da44e", "#bf8700"
RED, PINK, PURPLE = "#e5534b", "#d2569d", "#986ee2"
LETTER = 7.6  # pixels of a letter of a label

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


class Place(NamedTuple):
    """A point of the picture, in pixels."""

    x: float
    y: float


class Box(NamedTuple):
    """What a text or a mark covers."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True, slots=True)
class Plot:
    """Axes of multiply-accumulates, in millions, and of milliseconds; both logarithmic.

    `rates` are billions of multiply-accumulates a second, each of them a diagonal.
    """

    title: str
    run: Run
    macs: tuple[float, float]
    ms: tuple[float, float]
    macs_ticks: Sequence[float]
    ms_ticks: Sequence[float]
    rates: Sequence[float] = field(default=())

    def place(self, macs: float, ms: float) -> Place:
        """Where a network stands."""
        x = LEFT + _share(macs, self.macs) * (WIDTH - LEFT - RIGHT)
        return Place(x, HEIGHT - BOTTOM - _share(ms, self.ms) * (HEIGHT - TOP - BOTTOM))

    def svg(self, count: int, body: Iterable[str]) -> str:
        """The picture of `count` networks, with the `body` above the axes."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'role="img" aria-label="FLOPs against latency of {count} networks">\n'
            f"<style>\n{STYLE}\n</style>\n"
            + "\n".join([*self._frame(), *self._diagonals(), *body])
            + "\n</svg>\n"
        )

    def ends(self) -> Iterator[tuple[float, Place, Place]]:
        """Each rate with the ends of its diagonal."""
        for rate in self.rates:
            low = max(self.macs[0], self.ms[0] * rate)
            high = min(self.macs[1], self.ms[1] * rate)
            yield rate, self.place(low, low / rate), self.place(high, high / rate)

    def _frame(self) -> Iterator[str]:
        """Card, grid, ticks and titles."""
        context = self.run.context
        host = context.host["cpu"].replace("(R)", "").replace(" Processor", "")
        threads = f"{context.threads} thread{'s' if context.threads > 1 else ''}"
        subtitle = f"{host} ({context.device}, {threads}, batch 1), {context.created[:10]}"
        yield f'<rect class="card" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        for macs in self.macs_ticks:
            x = self.place(macs, self.ms[0]).x
            yield line(Place(x, TOP), Place(x, HEIGHT - BOTTOM), "grid")
            label = f"{macs:g} M" if macs < 1000 else f"{macs / 1000:g} G"
            yield text(Place(x, HEIGHT - BOTTOM + 18), label, "quiet", "middle")
        for ms in self.ms_ticks:
            y = self.place(self.macs[0], ms).y
            yield line(Place(LEFT, y), Place(WIDTH - RIGHT, y), "grid")
            yield text(Place(LEFT - 8, y + 4), f"{ms:g} ms", "quiet", "end")
        yield text(Place(LEFT, 24), self.title, "title")
        yield text(Place(LEFT, 43), f"p50 latency of one inference on {subtitle}", "quiet")
        middle = Place((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12)
        yield text(middle, "FLOPs (multiply-accumulates)", "", "middle")

    def _diagonals(self) -> Iterator[str]:
        for rate, low, high in self.ends():
            yield line(low, high, "rate")
            yield text(Place(high.x - 6, high.y + 4), f"{rate:g} GMAC/s", "member", "end")


def _share(value: float, ends: tuple[float, float]) -> float:
    return math.log(value / ends[0]) / math.log(ends[1] / ends[0])


def mark(kind: str, at: Place, colour: str) -> str:
    """A square, a ring, or a disc."""
    x, y = at
    if kind == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour}"/>'
    if kind == "ring":
        return (
            f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{colour}"/>'
        )
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'


def arrow(start: Place, end: Place, colour: str) -> Iterator[str]:
    """An arrow between two marks, which it does not touch."""
    from_mark, to_mark, half = 9.0, 11.0, 4.0
    dx, dy, length = _direction(start, end)
    if length < from_mark + to_mark:
        return
    tip = Place(end.x - to_mark * dx, end.y - to_mark * dy)
    foot = Place(tip.x - 2 * half * dx, tip.y - 2 * half * dy)
    first = Place(start.x + from_mark * dx, start.y + from_mark * dy)
    shaft = f'x1="{first.x:.1f}" y1="{first.y:.1f}" x2="{foot.x:.1f}" y2="{foot.y:.1f}"'
    yield f'<line class="line" stroke="{colour}" {shaft}/>'
    corners = [tip, *(Place(foot.x - s * half * dy, foot.y + s * half * dx) for s in (-1, 1))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    yield f'<polygon points="{points}" fill="{colour}" opacity="0.8"/>'


def _direction(start: Place, end: Place) -> tuple[float, float, float]:
    """The unit vector from one place to another, and how far it is."""
    length = math.hypot(end.x - start.x, end.y - start.y)
    return (end.x - start.x) / (length or 1), (end.y - start.y) / (length or 1), length


def line(start: Place, end: Place, style: str) -> str:
    """A line from one place to another."""
    ends = f'x1="{start.x:.1f}" y1="{start.y:.1f}" x2="{end.x:.1f}" y2="{end.y:.1f}"'
    return f'<line class="{style}" {ends}/>'


def text(at: Place, words: str, style: str = "", anchor: str = "start", fill: str = "") -> str:
    """A text that begins, ends or has its middle there."""
    colour = f' style="fill: {fill}"' if fill else ""
    return (
        f'<text class="{style}" x="{at.x:.1f}" y="{at.y:.1f}" text-anchor="{anchor}"{colour}>'
        f"{escape(words)}</text>"
    )


class Label(NamedTuple):
    """A text to be placed beside a mark."""

    at: Place
    words: str
    colour: str


def labels(wanted: Sequence[Label], taken: Sequence[Box]) -> Iterator[str]:
    """Place each text as near to its mark as nothing else is; `taken` is where it may not be."""
    covered = list(taken)
    for label in wanted:
        at, anchor, box = next(
            (each for each in _candidates(label) if not any(map(each[2].meets, covered))),
            next(_candidates(label)),
        )
        covered.append(box)
        yield text(at, label.words, "family", anchor, label.colour)


def around(at: Place, half: float = 9.0) -> Box:
    """What a mark covers."""
    return Box(at.x - half, at.y - half, at.x + half, at.y + half)


def along(start: Place, end: Place, step: float = 5.0) -> Iterator[Box]:
    """What a line covers."""
    dx, dy, length = _direction(start, end)
    for index in range(int(length / step) + 1):
        yield around(Place(start.x + index * step * dx, start.y + index * step * dy), step / 2)


def covered_by(at: Place, words: str, anchor: str) -> Box:
    """What a text covers, by the widest that fonts make it."""
    width = LETTER * len(words)
    left = at.x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return Box(left, at.y - 11, left + width, at.y + 4)


def _candidates(label: Label) -> Iterator[tuple[Place, str, Box]]:
    """Places for a text around its mark that are within the axes, the nearest first."""
    for far in range(12, 90, 6):
        near = 0.7 * far
        for dx, dy, anchor in (
            *((far, 4, "start"), (-far, 4, "end"), (0, -far, "middle"), (0, far + 9, "middle")),
            *((near, -near, "start"), (near, near + 9, "start")),
            *((-near, -near, "end"), (-near, near + 9, "end")),
        ):
            at = Place(label.at.x + dx, label.at.y + dy)
            box = covered_by(at, label.words, anchor)
            if box.left > LEFT and box.right < WIDTH - RIGHT and TOP < box.top < HEIGHT - BOTTOM:
                yield at, anchor, box
