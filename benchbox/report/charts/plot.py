"""Plot of a scatter chart: from values on its axes to pixels, and back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchbox.report.charts.labels import Box, Label
from benchbox.report.charts.panel import Row
from benchbox.report.charts.style import Ends, Size, share, value_at


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot's pixels: a logarithmic axis across, and one up that may be linear."""

    size: Size
    across: Ends
    up: Ends
    is_linear: bool = False

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is, from the top left."""
        low, high = self.up
        height = (y - low) / (high - low) if self.is_linear else share(y, self.up)
        return share(x, self.across) * self.size.width, (1 - height) * self.size.height

    def crosses(self, x: float, y: float, own: Box) -> bool:
        """Whether the line of equal throughput through a point crosses a box."""
        rise = math.log(self.across[1] / self.across[0]) / math.log(self.up[1] / self.up[0])
        rise *= self.size.height / self.size.width
        return own.top + rise * own.left < y + rise * x < own.bottom + rise * own.right

    def values(self, x: float, y: float) -> tuple[float, float]:
        """The values of the axes at a place."""
        (low, high), height = self.up, 1 - y / self.size.height
        up = low + (high - low) * height if self.is_linear else value_at(height, self.up)
        return value_at(x / self.size.width, self.across), up

    def rows(self, labels: Iterable[Label]) -> list[Row]:
        """Labels as data, at values of the axes."""
        found = []
        for label in labels:
            x, y = self.values(label.x, label.y)
            found.append({"x": x, "y": y, "text": label.text, "align": label.align})
        return found
