"""Energy per inference: what a device used during blocks of calls, less what it used while idle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchbox.analysis import stats
from benchbox.analysis.quantities import Amount, Count, Number
from benchbox.analysis.samples import NS, Burst, figures
from benchbox.analysis.sustained import Window

MILLI = 1e3  # in a whole


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one call in mJ above idle, the median of rounds with its 95% interval.

    `power_w` was drawn during the calls, `idle_w` beforehand, with nothing loaded.
    """

    mj: Number
    low_mj: Number | None
    high_mj: Number | None
    power_w: Amount
    idle_w: Amount
    rounds: Count


def estimate(bursts: Sequence[Burst]) -> Energy | None:
    """The energy of one call, None where no block has any."""
    rounds: dict[tuple[int, int], list[float]] = {}
    drawn = list[tuple[float, float]]()
    for burst in figures(bursts):
        power_w = _power_w(burst.seen)
        if power_w is not None and burst.seen["energy_ns"] >= sum(burst.latencies_ns):
            drawn.append((power_w, burst.seen["idle_w"]))
            rounds.setdefault((burst.session, burst.round), []).append(_per_call_mj(burst, power_w))
    return _of([fmean(each) for each in rounds.values()], drawn)


def of_windows(windows: Sequence[Window]) -> Energy | None:
    """The energy of one call of a load that lasts, None where no window has any."""
    known = [(p, w) for w in windows if (p := _power_w(w.seen)) is not None]
    drawn = [(power_w, window.seen["idle_w"]) for power_w, window in known]
    values = [(power_w - w.seen["idle_w"]) * w.p50_s * MILLI for power_w, w in known]
    return _of(values, drawn)


def _of(values: Sequence[float], drawn: Sequence[tuple[float, float]]) -> Energy | None:
    """The energy by values that are independent, and by the power drawn and while idle."""
    if not values:
        return None
    interval = stats.median_interval(values)
    return Energy(
        mj=interval.value if interval else median(values),
        low_mj=interval.low if interval else None,
        high_mj=interval.high if interval else None,
        power_w=median(power_w for power_w, _ in drawn),
        idle_w=median(idle_w for _, idle_w in drawn),
        rounds=len(values),
    )


def _power_w(seen: Mapping[str, float]) -> float | None:
    """The mean power of a block, None where the device did not tell all that it needs."""
    if not {"energy_mj", "energy_ns", "idle_w"} <= seen.keys():
        return None
    if min(seen["energy_mj"], seen["energy_ns"]) <= 0 or seen["idle_w"] < 0:
        return None
    return seen["energy_mj"] / MILLI / (seen["energy_ns"] * NS)


def _per_call_mj(burst: Burst, power_w: float) -> float:
    """Power above idle for as long as a call takes; at a rate, all of the block by its calls.

    A block has more than the timed calls in it: those that settle it, and the sentinel's readings.
    """
    calls = len(burst.latencies_ns)
    if burst.kind == "paced":
        lasted_s = burst.seen["energy_ns"] * NS / calls
    else:
        lasted_s = sum(burst.latencies_ns) * NS / calls
    return (power_w - burst.seen["idle_w"]) * lasted_s * MILLI
