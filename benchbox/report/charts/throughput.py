"""Lines of equal throughput in a plot of FLOPs against latency, and their names."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from benchbox.report.charts.labels import Box, Label, box, is_inside
from benchbox.report.charts.plot import Plot
from benchbox.report.charts.style import share

RATES = tuple(n * 10**power for power in range(-3, 5) for n in (1, 2, 5))  # of GMAC/s
NEAR = 1.6  # times the throughput of a case, of lines worth drawing
SHORTEST = 0.35  # of the plot's width, of a line of equal throughput


class RateLine(NamedTuple):
    """The line of a rate in GMAC/s, with the FLOPs at its ends and its name."""

    rate: float
    low: float
    high: float
    name: Label


def lines(plot: Plot, throughputs: Sequence[float], taken: Sequence[Box]) -> list[RateLine]:
    """The lines around some throughputs, but for those whose name has no room among `taken`.

    Each name is beside its line, as high as nothing else stands and no line crosses it.
    """
    rates = list(_rates(plot, min(throughputs) / NEAR, max(throughputs) * NEAR))
    starts = [plot.pixels(low, low / rate) for rate, low, _ in rates]
    covered, found = list(taken), list[RateLine]()
    for rate, low, high in rates:
        places = (plot.pixels(at, at / rate) for at in _down(low, high))
        for label in chain.from_iterable(_beside(plot, f"{rate:g} GMAC/s", *at) for at in places):
            own = box(label, plot.size.font)
            is_met = any(map(own.meets, covered)) or any(plot.crosses(*at, own) for at in starts)
            if not is_met and is_inside(own, (plot.size.width, plot.size.height)):
                covered.append(own)
                found.append(RateLine(rate, low, high, label))
                break
    return found


def _rates(plot: Plot, least: float, most: float) -> Iterator[tuple[float, float, float]]:
    """The round throughputs whose lines are long enough, with the FLOPs at both ends."""
    for rate in filter(lambda rate: least < rate < most, RATES):
        low = max(plot.across[0], plot.up[0] * rate)
        high = min(plot.across[1], plot.up[1] * rate)
        if low < high and share(high, plot.across) - share(low, plot.across) > SHORTEST:
            yield rate, low, high


def _down(low: float, high: float) -> Iterator[float]:
    """Places on a line of a logarithmic axis, from its upper end on."""
    yield from (low * (high / low) ** (part / 40) for part in range(40, 0, -1))


def _beside(plot: Plot, text: str, x: float, y: float) -> Iterator[Label]:
    """A label above a place on a line that rises, and one below."""
    up = 0.6 * plot.size.font
    yield Label(text, x - 1, y - up, "right")
    yield Label(text, x + 1, y + up, "left")
