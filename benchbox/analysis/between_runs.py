"""Ratio of a case in two runs: no round is shared, so nothing cancels, and the interval says so."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchbox.analysis import adjusted, stats
from benchbox.analysis.adjusted import RUN_SD, UNKNOWN_TAU, Z95, Adjustment
from benchbox.analysis.latency import GOOD, Latency
from benchbox.analysis.levels import Usual
from benchbox.analysis.stats import MARGIN, Interval, Verdict, verdict

# What two runs differ by in one state of the machine, as a standard deviation of ln: no less than
# its rounds tell, and, where no graph tells, what the worst of twelve rows did in five runs.
LEAST_SPREAD, UNKNOWN_SPREAD = math.sqrt(2) * RUN_SD, 0.03
FEWEST_CONTROLS = 3  # graphs that did not change, to tell it for two runs


@dataclass(frozen=True, slots=True)
class Figure:
    """A latency of a run, and how it was adjusted, None where it was not."""

    latency: Latency
    adjustment: Adjustment | None = None

    @property
    def usual(self) -> Usual | None:
        """The machine's usual state that it was set back to."""
        found = self.adjustment
        if found is None:
            return None
        return Usual(found.usual_compute_ns, found.usual_stream_ns, found.usual_refill_ns)


@dataclass(frozen=True, slots=True)
class RunRatio:
    """The latency in the second run over that in the first.

    `carried` is ln of what the machine's usual state had changed between them, which is taken out;
    `is_usual` whether both figures are of a usual state.
    """

    interval: Interval
    carried: float
    is_usual: bool

    def verdict(self, margin: float = MARGIN) -> Verdict:
        """The verdict on the second run by the whole interval."""
        return verdict(self.interval if self.is_usual else None, margin)


def ratio(
    before: Figure, after: Figure, spread: float = UNKNOWN_SPREAD, *, same_machine: bool = True
) -> RunRatio | None:
    """The ratio of two runs with its 95% interval, None where a figure has none.

    The parts of the half-width are independent: both intervals, which have what processes differ by
    where they are adjusted, the error of the slopes times what the usual state had changed, and the
    `spread` of runs.
    """
    ends = before.latency.interval, after.latency.interval
    if ends[0] is None or ends[1] is None:
        return None
    carried, error = _carried(before, after) if same_machine else (0.0, 0.0)
    half_width = math.hypot(
        *(math.log1p(end.half_width) for end in ends if end),
        *map(_processes, (before, after)),
        Z95 * error,
        Z95 * spread,
    )
    value = after.latency.p50_s / before.latency.p50_s * math.exp(-carried)
    more = math.exp(min(half_width, adjusted.WIDEST))
    is_usual = {before.latency.basis, after.latency.basis} <= {*GOOD}
    return RunRatio(Interval(value, value / more, value * more), carried, is_usual)


def spread(controls: Iterable[float]) -> float:
    """The spread between two runs, by graphs that did not change: their ratios should all be 1.

    Of few it is itself uncertain, so that Z95 of it is as wide as Student's t asks for.
    """
    squares = [math.log(ratio) ** 2 for ratio in controls]
    if len(squares) < FEWEST_CONTROLS:
        return UNKNOWN_SPREAD
    found = math.sqrt(sum(squares) / len(squares))
    return max(LEAST_SPREAD, found * stats.student(len(squares)) / Z95)


def _carried(before: Figure, after: Figure) -> tuple[float, float]:
    """Ln of the second latency over what it would be in the first's usual state, and its error."""
    usual, now = before.usual, after.usual
    if usual is None or now is None or after.adjustment is None:
        return 0.0, 0.0
    apart, slopes = usual.apart(now), after.adjustment.slopes
    moved = adjusted.moved(slopes, apart)
    return max(-adjusted.WIDEST, min(moved, adjusted.WIDEST)), adjusted.error_of(slopes, apart)


def _processes(figure: Figure) -> float:
    """The part of a half-width that processes make, where the interval lacks it."""
    if figure.adjustment is not None:
        return 0.0
    found = figure.latency.between_sd
    tau = UNKNOWN_TAU if found is None else found
    return Z95 * tau / math.sqrt(len(figure.latency.sessions_p50_s) or 1)
