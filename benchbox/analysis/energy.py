"""Energy per inference: what a device used during blocks of calls, less what it used while idle."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchbox.analysis import stats
from benchbox.analysis.quantities import Amount, Count, Number
from benchbox.analysis.samples import NS, Burst, figures

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
    known = [burst for burst in figures(bursts) if _power_w(burst) is not None]
    rounds: dict[tuple[int, int], list[float]] = {}
    for burst in known:
        rounds.setdefault((burst.session, burst.round), []).append(_per_call_mj(burst))
    if not rounds:
        return None
    values = [fmean(each) for each in rounds.values()]
    interval = stats.median_interval(values)
    return Energy(
        mj=interval.value if interval else median(values),
        low_mj=interval.low if interval else None,
        high_mj=interval.high if interval else None,
        power_w=median(power for burst in known if (power := _power_w(burst)) is not None),
        idle_w=median(burst.seen["idle_w"] for burst in known),
        rounds=len(values),
    )


def _power_w(burst: Burst) -> float | None:
    """The mean power of a block, None where the device did not tell all that it needs."""
    seen = burst.seen
    if not {"energy_mj", "energy_ns", "idle_w"} <= seen.keys():
        return None
    if seen["energy_mj"] <= 0 or seen["energy_ns"] < sum(burst.latencies_ns) or seen["idle_w"] < 0:
        return None
    return seen["energy_mj"] / MILLI / (seen["energy_ns"] * NS)


def _per_call_mj(burst: Burst) -> float:
    """Power above idle for as long as a call takes; at a rate, all of the block by its calls.

    A block has more than the timed calls in it: those that settle it, and the sentinel's readings.
    """
    power_w, calls = _power_w(burst), len(burst.latencies_ns)
    assert power_w is not None, "it is known"
    if burst.kind == "paced":
        lasted_s = burst.seen["energy_ns"] * NS / calls
    else:
        lasted_s = sum(burst.latencies_ns) * NS / calls
    return (power_w - burst.seen["idle_w"]) * lasted_s * MILLI
