"""Labels of points: each as near to its point as nothing else stands, or left out."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from benchbox.report.charts.style import LETTER

Align = Literal["left", "center", "right"]
Point = tuple[float, float, *tuple[str, ...]]
MOST = 300  # points, beyond which they are a cloud without labels
MARK = 4.0  # half the width of a mark, in pixels
AXIS = 2.0  # free beside an axis


class Box(NamedTuple):
    """What a text or a mark covers, in pixels from the top left."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class Label(NamedTuple):
    """A text with its place: the middle of its height, and the end that `align` says."""

    text: str
    x: float
    y: float
    align: Align


def box(label: Label, font: float) -> Box:
    """What a label covers."""
    width = LETTER * font * len(label.text)
    left = label.x - {"left": 0.0, "center": width / 2, "right": width}[label.align]
    return Box(left, label.y - 0.55 * font, left + width, label.y + 0.55 * font)


def mark(x: float, y: float) -> Box:
    """What a point covers."""
    return Box(x - MARK, y - MARK, x + MARK, y + MARK)


def is_inside(own: Box, size: tuple[float, float]) -> bool:
    """Whether a box is in a plot of this width and height, free of its axes."""
    across, up = own.left >= AXIS and own.right <= size[0], own.bottom <= size[1] - AXIS
    return across and up and own.top >= 0


def placed(
    points: Sequence[Point],
    size: tuple[float, float],
    font: float,
    taken: Sequence[Box] = (),
) -> list[Label]:
    """The labels of points, the first first; one that fits nowhere near is left out.

    Of the texts of a point the first that fits is taken. `size` is the width and height of the
    plot; nothing but points may be outside it.
    """
    if len(points) > MOST:
        return []
    covered = [*taken, *(mark(x, y) for x, y, *_ in points)]
    found = []
    for x, y, *texts in points:
        for label in chain.from_iterable(_candidates(x, y, text, font) for text in texts):
            own = box(label, font)
            if is_inside(own, size) and not any(map(own.meets, covered)):
                covered.append(own)
                found.append(label)
                break
    return found


def _candidates(x: float, y: float, text: str, font: float) -> Iterator[Label]:
    """Places around a point, the nearest first."""
    for far in (MARK + 2, MARK + 5, MARK + 9):
        up = far + 0.45 * font
        yield Label(text, x + far, y, "left")
        yield Label(text, x - far, y, "right")
        yield Label(text, x, y - up, "center")
        yield Label(text, x, y + up, "center")
        for dx, align in ((0.7 * far, "left"), (-0.7 * far, "right")):
            for dy in (-0.7 * up, 0.7 * up):
                yield Label(text, x + dx, y + dy, align)  # type: ignore[arg-type]
