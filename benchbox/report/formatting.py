"""Formatting of numbers: digits, units, the sign of a ratio; no other module does it.

A figure ends where its 95% interval says that it is uncertain. `width` is always the absolute
half-width of that interval, and 0 stands for a figure that has none.
"""

import math
from collections.abc import Iterable
from itertools import groupby

from benchbox.analysis.latency import GOOD, Basis
from benchbox.analysis.stats import Interval

UNKNOWN = "-"
MILLI = 1e3
MEGA = 1e6
KILO = 1e3
NEAR_ONE = 1.1
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def mark(basis: Basis) -> str:
    """The mark of a figure that is not of the machine's usual state."""
    return "" if basis in GOOD else "~"


def width(interval: Interval | None) -> float:
    """The half-width of an interval in the unit of its value, 0 where there is none."""
    return 0.0 if interval is None else interval.half_width * interval.value


def significant(value: float, digits: int = 3) -> str:
    """The value with that many digits, and never fewer than its whole part has."""
    return f"{value:.{max(0, digits - 1 - _exponent(value))}f}"


def figure(value: float, width: float = 0.0) -> str:
    """The value to the digit that its half-width leaves certain, else with 3 digits."""
    if not _has_width(value, width):
        return significant(value)
    return _rounded(value, _decimals(value, width))


def estimate(value: float, width: float = 0.0) -> str:
    """`1.234 ± 0.008`, or the value alone where there is no interval."""
    if not _has_width(value, width):
        return significant(value)
    decimals = _decimals(value, width)
    return f"{_rounded(value, decimals)} ± {_rounded(width, decimals)}"


def ratio(value: float, width: float = 0.0) -> str:
    """`2.31x`, with no more than two decimals, or two digits where it is below a tenth."""
    certain = _has_width(value, width)
    decimals = _decimals(value, width) if certain else max(0, 2 - _exponent(value))
    most = max(2, 1 - _exponent(value)) if value > 0 else 2
    return f"{_rounded(value, min(most, decimals))}x"


def bounds(interval: Interval) -> str:
    """`2.29x to 2.33x`, with a third decimal where the ends are near to 1."""
    low, high = interval.low, interval.high
    if low < NEAR_ONE and high > 1 / NEAR_ONE and high / low < NEAR_ONE:
        return f"{low:.3f}x to {high:.3f}x"
    return f"{ratio(low)} to {ratio(high)}"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds, without their unit."""
    return UNKNOWN if seconds is None else significant(seconds * MILLI)


def in_seconds(seconds: float | None) -> str:
    """Seconds, without their unit."""
    return UNKNOWN if seconds is None else significant(seconds)


def millions(count: float | None) -> str:
    """A count in millions, or bytes in MB, without the unit."""
    return UNKNOWN if count is None else significant(count / MEGA)


def scaled(count: float | None, digits: int = 3) -> str:
    """A count with M or K, as fits: `1.37 M`, `41.0 K`, `864`."""
    if count is None:
        return UNKNOWN
    if count >= MEGA:
        return f"{significant(count / MEGA, digits)} M"
    return f"{significant(count / KILO, digits)} K" if count >= KILO else f"{count:g}"


def whole(count: int | None) -> str:
    """A whole number."""
    return UNKNOWN if count is None else str(count)


def as_printed(figure: float | None) -> str:
    """A figure with the digits that its source printed."""
    return UNKNOWN if figure is None else f"{figure:g}"


def accuracy(percent: float | None) -> str:
    """An accuracy in percent as papers print it, without the sign."""
    return UNKNOWN if percent is None else f"{percent:.1f}"


def percent(share: float | None) -> str:
    """A share, rounded down: 100% means all of it, and 0% means nothing."""
    if share is None:
        return UNKNOWN
    return "<1%" if 0 < share < 0.01 else f"{math.floor(share * 100 + 1e-9)}%"


def size(count: int) -> str:
    """Bytes with the unit that suits them: `653 kB`."""
    of, unit = next(((s, u) for s, u in SIZES if count >= s), (1, "B"))
    return f"{significant(count / of) if of > 1 else count} {unit}"


def duration(seconds: float, digits: int = 3) -> str:
    """A duration with the unit that suits it: `200 ms`, `34 s`, `4.6 min`, `2.5 h`."""
    sizes = ((3600.0, "h", 2), (60.0, "min", 2), (1.0, "s", 1), (1e-3, "ms", 1), (1e-6, "us", 0))
    size, unit = next((size, unit) for size, unit, least in sizes if seconds >= least * size)
    return f"{_plain(seconds / size, digits)} {unit}"


def per(rate: float) -> str:
    """A rate per second as it is written: `5/s`, `12/m`, `10/h`."""
    sizes = ((1, "s", 1.0), (60, "m", 1.0), (3600, "h", 0.0))
    size, unit = next((size, unit) for size, unit, least in sizes if rate * size >= least)
    return f"{_plain(rate * size, 4)}/{unit}"


def threads(*counts: int) -> str:
    """`1 thread`, `4 threads`, `1, 2, 4 threads`."""
    return f"{', '.join(map(str, counts))} thread{'' if counts == (1,) else 's'}"


def per_second(unit: str | None) -> str:
    """A throughput's unit as it is printed, that of `batches_per_s` or of `images_per_s`."""
    return "batches/s" if unit == "batches_per_s" else "images/s"


def _plain(value: float, digits: int) -> str:
    """A value with at most that many digits, and never with an exponent."""
    return f"{float(f'{value:.{digits}g}'):.10f}".rstrip("0").rstrip(".")


def _has_width(value: float, width: float) -> bool:
    return value > 0 and 0 < width < math.inf


def _exponent(value: float) -> int:
    """The power of ten of the value's first digit."""
    return int(f"{value:.2e}".partition("e")[2])


def _decimals(value: float, width: float) -> int:
    """After how many decimals the figure ends; negative for tens, hundreds and so on.

    That is the first digit of the half-width, or its second where the first is a 1 (rounding a 1 to
    one digit changes it by up to half) or where nothing would be left of the value.
    """
    digit, _, exponent = f"{width:.1e}".partition("e")
    first = -int(exponent)
    if digit.startswith("1"):
        return first + 1
    return max(first, min(-_exponent(value), first + 1))


def _rounded(value: float, decimals: int) -> str:
    return f"{round(value, decimals):.{max(0, decimals)}f}"


def cpu_list(cpus: Iterable[int]) -> str:
    """Processors as the kernel lists them: 0-3,6."""
    runs = groupby(enumerate(sorted(set(cpus))), lambda pair: pair[1] - pair[0])
    ends = [[cpu for _, cpu in run] for _, run in runs]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in ends)
