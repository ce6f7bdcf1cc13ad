"""Labels of points: each beside its own point, else at the end of a line from it, or left out."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import Literal, NamedTuple

from benchbox.report.charts.style import LETTER

Align = Literal["left", "center", "right"]
Place = tuple[float, float]
MOST = 120  # points, beyond which they are a cloud without labels
MARK = 4.0  # half the width of a mark, in pixels
AXIS = 2.0  # free beside an axis
BESIDE = (MARK + 2, MARK + 5)  # from the middle of a point to its label
LED = (MARK + 10, MARK + 18, MARK + 28, MARK + 40)  # likewise, where a line leads to the label
OPEN = MARK + 5  # between a label at the end of a line and other points
HAIR = 0.5  # half the width of such a line
TURNS = 32  # directions around a point


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

    def nearest(self, x: float, y: float) -> Place:
        """The place in it that is nearest to a point."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def distance(self, x: float, y: float) -> float:
        """How far a point is from it."""
        return math.dist((x, y), self.nearest(x, y))


class LabelledPoint(NamedTuple):
    """A point of a plot, and the texts of which one is to be its label."""

    place: Place
    texts: tuple[str, ...] = ()


class Label(NamedTuple):
    """A text with its place: the middle of its height, and the end that `align` says.

    `led` is the point from which a line leads to it, if there is one.
    """

    text: str
    x: float
    y: float
    align: Align
    led: Place | None = None


def box(label: Label, font: float) -> Box:
    """What a label covers."""
    width = LETTER * font * len(label.text)
    left = label.x - {"left": 0.0, "center": width / 2, "right": width}[label.align]
    return Box(left, label.y - 0.55 * font, left + width, label.y + 0.55 * font)


def mark(x: float, y: float, half: float = MARK) -> Box:
    """What a point covers."""
    return Box(x - half, y - half, x + half, y + half)


def is_inside(own: Box, size: tuple[float, float]) -> bool:
    """Whether a box is in a plot of this width and height, free of its axes."""
    across, up = own.left >= AXIS and own.right <= size[0], own.bottom <= size[1] - AXIS
    return across and up and own.top >= 0


def leader(label: Label, font: float) -> tuple[Place, Place] | None:
    """The ends of the line from a point to its label, if there is one."""
    if label.led is None:
        return None
    end = box(label, font).nearest(*label.led)
    part = MARK / math.dist(label.led, end)
    x, y = (one + (other - one) * part for one, other in zip(label.led, end, strict=True))
    return (x, y), end


def covers(label: Label, font: float) -> list[Box]:
    """What a label covers, with the line that leads to it."""
    return [box(label, font), *_line(label, font)]


def _line(label: Label, font: float) -> Iterator[Box]:
    """What the line to a label covers, bit by bit."""
    if ends := leader(label, font):
        (x0, y0), (x1, y1) = ends
        steps = math.ceil(math.dist(*ends))
        for step in range(1, steps):
            yield mark(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps, HAIR)


def placed(
    points: Sequence[LabelledPoint],
    size: tuple[float, float],
    font: float,
    taken: Sequence[Box] = (),
) -> list[Label | None]:
    """The label of each point, the first first; none where none fits or the point has no text.

    First come those with room beside their points, then those with a line to theirs. Points on
    one another share a text that both have. Of the texts of a point the first that fits is taken.
    `size` is the width and height of the plot; lines alone may cross what is `taken`.
    """
    found: list[Label | None] = [None] * len(points)
    if sum(bool(point.texts) for point in points) > MOST:
        return found
    for distances, index in product((BESIDE, LED), range(len(points))):
        if found[index]:
            continue
        (x, y), texts = own = points[index]
        others = [each.place for each in points if not _is_one(each, own)]
        pairs = zip(found, points, strict=True)
        shared = (each for each, at in pairs if each and each.text in texts and _is_one(at, own))
        labels = [each for label in filter(None, found) for each in covers(label, font)]
        covered = [*taken, *labels, *(mark(*point.place) for point in points)]
        crossed = [*labels, *(mark(*place, MARK - 1) for place in others)]  # their ink alone
        free = (
            label
            for text, far in product(texts, distances)
            for label in _candidates(x, y, text, far, font)
            if _is_own(label, own.place, others, font)
            and is_inside(box(label, font), size)
            and not any(map(box(label, font).meets, covered))
            and not any(bit.meets(each) for bit in _line(label, font) for each in crossed)
        )
        found[index] = next(chain(shared, free), None)
    return found


def _is_one(point: LabelledPoint, other: LabelledPoint) -> bool:
    """Whether two points stand on one another, so that a text is beside both."""
    return math.dist(point.place, other.place) < MARK


def _is_own(label: Label, own: Place, others: Sequence[Place], font: float) -> bool:
    """Whether a reader takes a label for that of its own point."""
    place = box(label, font)
    least = OPEN if label.led else place.distance(*own)
    return all(place.distance(*other) > least for other in others)


def _candidates(x: float, y: float, text: str, far: float, font: float) -> Iterator[Label]:
    """Places around a point at a distance, the best first."""
    up = far + 0.45 * font
    if far > BESIDE[-1]:
        for turn in range(TURNS):
            across, down = (f(math.tau * turn / TURNS) for f in (math.cos, math.sin))
            align: Align = "center" if abs(across) < 0.3 else "left" if across > 0 else "right"
            yield Label(text, x + across * far, y + down * up, align, (x, y))
        return
    yield Label(text, x + far, y, "left")
    yield Label(text, x - far, y, "right")
    yield Label(text, x, y - up, "center")
    yield Label(text, x, y + up, "center")
    for dx, align in ((0.7 * far, "left"), (-0.7 * far, "right")):
        for dy in (-0.7 * up, 0.7 * up):
            yield Label(text, x + dx, y + dy, align)
