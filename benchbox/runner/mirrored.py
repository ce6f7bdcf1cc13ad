"""Two graphs timed in mirrored rounds: A B B A, so that a drift is the same for both."""

import math
from collections.abc import Callable, Sequence

from benchbox.analysis.stats import Interval, quantile, ratio_interval
from benchbox.errors import CaseError
from benchbox.sampling.session import Session, Timed

ROUNDS, MOST_ROUNDS = 24, 96
BURST_S = 0.05
CALIBRATING_CALLS = 3
MOST_CALLS = 1000  # of a burst
UNDISTURBED = 0.1  # the quantile of a burst: what disturbs a call only adds to it


def ratio(
    session: Session,
    graphs: tuple[str, str],
    expected_s: Sequence[float],
    notify: Callable[[float], None] = lambda _: None,
    width: float = math.inf,
) -> Interval | None:
    """The latency of the second loaded graph over the first's, with its 95% interval.

    `expected_s` is what a call of each should take. Rounds go on, up to four times as many, until
    the interval is as narrow as `width`. Raises CaseError where a graph fails.
    """
    first = [(name, CALIBRATING_CALLS) for name in graphs]
    limits = [CALIBRATING_CALLS * each for each in expected_s]
    calls_s = [min(_samples(timed)) / 1e9 for timed in session.time(first, limits)]
    # As many of both: of fewer calls on a busy machine the fastest are slower.
    count = max(1, min(MOST_CALLS, round(BURST_S / min(calls_s))))
    order = (0, 1, 1, 0)
    rounds: tuple[dict[tuple[int, int], float], ...] = ({}, {})
    found, most = None, ROUNDS if math.isinf(width) else MOST_ROUNDS
    for number in range(most):
        taken = [0.0, 0.0]
        bursts = [(graphs[index], count) for index in order]
        limits = [count * calls_s[index] for index in order]
        for index, timed in zip(order, session.time(bursts, limits), strict=True):
            taken[index] += quantile(_samples(timed), UNDISTURBED)
        for index in (0, 1):
            rounds[index][0, number] = taken[index]
        notify((number + 1) / most)
        if (number + 1) % ROUNDS == 0:
            found = ratio_interval(rounds[1], rounds[0])
            if found and found.high - found.low <= width:
                break
    return found


def _samples(timed: Timed) -> Sequence[int]:
    if timed.error is not None:
        raise CaseError(timed.error)
    return timed.latencies_ns
